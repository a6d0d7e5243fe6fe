"""Builds stencil libraries: plans register choices, compiles them, learns fields, writes the file."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

from hotloop.stencils.format import Library
from stencilgen import elf, passing, pinning
from stencilgen.learn import Choice, plans
from stencilgen.reading import Items, Job, learn_job, read_codes, usual_stack
from stencilgen.rows import basic_specs, row_specs, wide_specs
from stencilgen.source import HOLE_OFFSET, Spec, declaration, helper, is_wide
from stencilgen.tables import assemble
from stencilgen.target import FLAGS, TARGETS, Passing, Target

ROOT = Path(__file__).parent.parent
HEADERS = ROOT / "src" / "hotloop" / "ops" / "c"
INLINE_LIMIT_WIDE = 80  # bytes of code on lanes beyond which a stencil calls a helper, since a call costs all registers
CHUNKS = 4  # C files compiled side by side


def compiler() -> list[str]:
    """Return the command of the build-time C compiler."""
    return [sys.executable, "-m", "ziglang", "cc"]


def build(output_dir: Path, cache_dir: Path) -> list[Path]:
    """Write one library per target into `output_dir`, from the cache where nothing has changed."""
    output_dir.mkdir(parents=True, exist_ok=True)
    cache_dir.mkdir(parents=True, exist_ok=True)
    # compiling uses all cores, learning one: two targets at a time keep them busy
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=get_context("fork")) as pool:
        kept = list(pool.map(_kept, range(len(TARGETS)), [cache_dir] * len(TARGETS)))
    written = []
    for target, source in zip(TARGETS, kept, strict=True):
        path = output_dir / f"{target.name}.stencils"
        path.write_bytes(source.read_bytes())
        written.append(path)
    return written


def _kept(number: int, cache_dir: Path) -> Path:
    """Return the library of a target, by its number, in the cache; it is made if it is not there."""
    target = TARGETS[number]
    digest = digest_of(target)
    cached = cache_dir / f"{target.name}-{digest[:24]}.stencils"
    if not cached.exists():
        temporary = cached.with_suffix(f".{os.getpid()}")
        make(target, digest).save(temporary)
        temporary.replace(cached)
    return cached


def digest_of(target: Target) -> str:
    """Return a digest of all that decides the bytes of a library."""
    version = subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True, check=True).stdout
    state = hashlib.sha256(version + repr((target, FLAGS)).encode())
    sources = [*HEADERS.glob("*.[ch]"), *Path(__file__).parent.glob("*.py"), *(ROOT / "src" / "hotloop" / "ops").glob("*.py")]
    more = [ROOT / "src" / "hotloop" / name for name in ("stencils/format.py", "ir/op.py", "ir/program.py")]
    for path in sorted([*sources, *more]):
        state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()


def make(target: Target, digest: str) -> Library:
    """Compile and assemble the library of one target.

    Helpers are compiled first: an operation whose function is long is not tried as a stencil.
    """
    rows, basics = [*row_specs(target), *wide_specs(target)], basic_specs(target)
    helpers = {s.name: s for _, _, forms in rows for s in forms if s.fixed and not _in_place(s)}
    items = Items(target)
    with tempfile.TemporaryDirectory() as folder:
        # helpers may have tables; those must be found wherever the program is loaded
        flags = (f"-mcpu={target.helper_cpu or target.cpu}", *target.flags, *target.helper_flags)
        for unit in _compile(target, _helper_texts(target, list(helpers.values())), Path(folder), flags):
            items.add_object(unit)
        long = {name for name, s in helpers.items() if len(items.found["function", _helper_name(s)][0]) > _longest(target, s)}
        specs = [s for _, _, forms in rows for s in forms if s.fixed or forms[-1].name not in long] + basics
        jobs = {spec.name: Job(spec, plans(target, spec)) for spec in specs}
        objects = _compile(
            target,
            _chunks(target, list(jobs.values()), helpers),
            Path(folder),
            (f"-mcpu={target.cpu}", *target.flags, *target.stencil_flags),
        )
    stack = usual_stack(objects)
    for job in jobs.values():
        read_codes(job, objects, items, _symbols_of, stack)
        job.variants = learn_job(job, _limit(target, job.spec))
    return assemble(target, digest, rows, basics, jobs, items, _compiled_by(target))


def _compiled_by(target: Target) -> dict[str, object]:
    return {"compiler": "zig cc (ziglang)", "flags": [*FLAGS, *target.flags]}


def _longest(target: Target, helper: Spec) -> int:
    """Return the bytes of a helper beyond which its operation is not tried as a stencil."""
    return INLINE_LIMIT_WIDE if helper.wide else target.inline * (1 if isinstance(target.shell, Passing) else 2)


def _limit(target: Target, spec: Spec) -> float:
    if spec.long or spec.assembly or spec.fixed:
        return math.inf
    return INLINE_LIMIT_WIDE if spec.wide else target.inline


def _shell(target: Target) -> ModuleType:
    return passing if isinstance(target.shell, Passing) else pinning


# --------------------------------------------------------------------------------------- compiling


def _symbol(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def _helper_name(spec: Spec) -> str:
    return "helper_" + _symbol(spec.name.removesuffix("#helper"))


def _in_place(spec: Spec) -> bool:
    """Tell whether an operation in fixed registers is no call: it reads or writes the data, which a helper does not know."""
    return HOLE_OFFSET in spec.text


def _text_of(spec: Spec) -> str:
    """Return a call of the helper for a spec in fixed registers, else its own text."""
    if not spec.fixed or _in_place(spec):
        return spec.text
    return f"{_helper_name(spec)}({', '.join(['{x}', '{y}', '{z}'][: len(spec.sources)])})"


def _chunks(target: Target, jobs: list[Job], helpers: dict[str, Spec]) -> list[str]:
    shell = _shell(target)
    declarations = "".join(declaration(shell.called(target, s), _helper_name(s), s) for s in helpers.values())
    head = shell.prelude(target) + declarations
    chunks = [[head] for _ in range(CHUNKS)]
    for number, job in enumerate(jobs):
        operands = [operand for operand, _ in job.spec.operands()]
        spec = job.spec
        fixed = {i + 1: i for i in range(len(spec.sources))} | {0: 0} if spec.fixed else {}
        for which, plan in enumerate(job.plans):
            for choice in sorted(plan.choices(), key=str):
                registers = fixed | dict(zip(operands, choice, strict=False))
                numbers = {choice[-2]: choice[-1]} if len(choice) > len(operands) else {}
                text = shell.function(target, symbol_of(spec, which, choice), replace(spec, text=_text_of(spec)), registers, **numbers)
                chunks[number % CHUNKS].append(text)
    return ["".join(chunk) for chunk in chunks]


def _helper_texts(target: Target, helpers: list[Spec]) -> list[str]:
    """Return one C file of helpers for each number of lanes that elementary.h is compiled for; 1 is first."""
    counts = [target.wide * 8 // _lane_bits(s) if s.wide else 1 for s in helpers]
    return [_helper_text(target, lanes, [s for s, n in zip(helpers, counts, strict=True) if n == lanes]) for lanes in sorted(set(counts))]


def _lane_bits(spec: Spec) -> int:
    short = next(short for short in (*reversed(spec.sources), spec.dst) if short is not None and is_wide(short))
    return int(short[1:3])


def _helper_text(target: Target, lanes: int, helpers: list[Spec]) -> str:
    bodies = "".join(helper(_shell(target).called(target, s), _helper_name(s), s) for s in helpers)
    if not isinstance(target.shell, Passing):
        return f"#define HL_LANES {lanes}\n{pinning.prelude(target)}{bodies}"
    head = f"#define HL_LANES {lanes}\n"
    if lanes > 1:
        return f'{head}#include "elementary.h"\n{passing.prelude(target)}{bodies}'
    shell = passing.shell_of(target)
    registers = [*["data" if n == "ctx" else "u" for n in shell.parameters], *["w"] * (target.vectors + target.scratch_vectors)]
    enter = f"void enter(char *data);\nvoid enter(char *data) {{ long u; R w; NEXT({', '.join(registers)}); }}\n"
    # slow paths keep what helpers must keep, so that the fast paths need not save it
    head += f"#define HL_SLOW static inline __attribute__((noinline, cold, {shell.convention}))\n"
    return f'{head}#include "elementary.h"\n{passing.prelude(target)}{bodies}{enter}'


def symbol_of(spec: Spec, which: int, choice: Choice) -> str:
    """Return the C name of one variant's code for one choice of registers."""
    return f"s_{_symbol(spec.name)}_{which}_{'_'.join(map(str, choice))}"


def _symbols_of(job: Job, which: int) -> list[tuple[Choice, str]]:
    return [(choice, symbol_of(job.spec, which, choice)) for choice in job.plans[which].choices()]


def _compile(target: Target, texts: Iterable[str], folder: Path, flags: Sequence[str]) -> list[elf.ObjectFile]:
    def one(numbered: tuple[int, str]) -> elf.ObjectFile:
        number, text = numbered
        source, output = folder / f"{number}.c", folder / f"{number}.o"
        source.write_text(text)
        command = [*compiler(), "-target", target.triple, *FLAGS, *flags, f"-DHL_WIDE={target.wide}", f"-I{HEADERS}"]
        done = subprocess.run([*command, "-c", str(source), "-o", str(output)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"stencils of {target.name} do not compile:\n{done.stderr[:4000]}")
        return elf.read(output.read_bytes())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, enumerate(texts)))


if __name__ == "__main__":
    for path in build(ROOT / "src/hotloop/stencils/data", Path(tempfile.gettempdir()) / "hotloop-stencils"):
        print(path)  # noqa: T201
