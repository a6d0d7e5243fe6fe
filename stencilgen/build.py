"""Builds stencil libraries: plans register choices, compiles them, learns fields, writes the file."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hotloop.stencils.format import COLUMNS, DISPLACEMENT, IMMEDIATE, RELATIVE, TARGET, Library
from stencilgen import elf
from stencilgen.learn import Choice, Code, Plan, Variant, classes_of, learn, plans
from stencilgen.rows import basic_specs, row_specs, wide_specs
from stencilgen.source import Spec, declaration, function, helper, prelude, register_class
from stencilgen.target import FLAGS, TARGETS, Target

ROOT = Path(__file__).parent.parent
HEADERS = ROOT / "src" / "hotloop" / "ops" / "c"
INLINE_LIMIT = 48  # bytes of code beyond which a stencil calls a helper
INLINE_LIMIT_WIDE = 80  # the same on lanes, where a call costs all registers
CHUNKS = 4  # C files compiled side by side

# AMD64 psABI table 4.9
R_PC32, R_PLT32, R_32, R_32S = 2, 4, 10, 11


def compiler() -> list[str]:
    """Return the command of the build-time C compiler."""
    return [sys.executable, "-m", "ziglang", "cc"]


def build(output_dir: Path, cache_dir: Path) -> list[Path]:
    """Write one library per target into `output_dir`, from the cache where nothing has changed."""
    output_dir.mkdir(parents=True, exist_ok=True)
    cache_dir.mkdir(parents=True, exist_ok=True)
    written = []
    for target in TARGETS:
        digest = digest_of(target)
        cached = cache_dir / f"{target.name}-{digest[:24]}.stencils"
        if not cached.exists():
            temporary = cached.with_suffix(f".{os.getpid()}")
            make(target, digest).save(temporary)
            temporary.replace(cached)
        path = output_dir / f"{target.name}.stencils"
        path.write_bytes(cached.read_bytes())
        written.append(path)
    return written


def digest_of(target: Target) -> str:
    """Return a digest of all that decides the bytes of a library."""
    version = subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True, check=True).stdout
    state = hashlib.sha256(version + repr((target, FLAGS)).encode())
    sources = [*HEADERS.glob("*.h"), *Path(__file__).parent.glob("*.py"), *(ROOT / "src" / "hotloop" / "ops").glob("*.py")]
    more = [ROOT / "src" / "hotloop" / name for name in ("stencils/format.py", "ir/op.py", "ir/program.py")]
    for path in sorted([*sources, *more]):
        state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()


@dataclass(slots=True)
class Job:
    """One spec with its plans, and what the compiler made of it."""

    spec: Spec
    plans: list[Plan]
    codes: list[dict[Choice, Code]] = field(default_factory=list)
    variants: list[Variant] | None = None


def make(target: Target, digest: str) -> Library:
    """Compile and assemble the library of one target.

    Helpers are compiled first: an operation whose function is long is not tried as a stencil.
    """
    rows, basics = [*row_specs(target), *wide_specs(target)], basic_specs()
    helpers = {s.name: s for _, _, forms in rows for s in forms if s.fixed}
    items = Items()
    with tempfile.TemporaryDirectory() as folder:
        # helpers may have tables; those must be found wherever the program is loaded
        for unit in _compile(target, _helper_texts(target, list(helpers.values())), Path(folder), "-fPIC"):
            items.add_object(unit)
        long = {name for name, s in helpers.items() if len(items.found["function", _helper_name(s)][0]) > _limit(s)}
        specs = [s for _, _, forms in rows for s in forms if s.fixed or forms[-1].name not in long] + basics
        jobs = {spec.name: Job(spec, plans(target, spec)) for spec in specs}
        objects = _compile(target, _chunks(target, list(jobs.values()), helpers), Path(folder))
    for job in jobs.values():
        _read_codes(job, objects, items)
        job.variants = _learn(job)
    return _assemble(target, digest, rows, basics, jobs, items)


def _limit(spec: Spec) -> float:
    if spec.long:
        return math.inf
    return INLINE_LIMIT_WIDE if spec.wide else INLINE_LIMIT


# --------------------------------------------------------------------------------------- compiling


def _symbol(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def _helper_name(spec: Spec) -> str:
    return "helper_" + _symbol(spec.name.removesuffix("#helper"))


def _text_of(spec: Spec) -> str:
    """Return a call of the helper for a spec in fixed registers, else its own text."""
    if not spec.fixed:
        return spec.text
    return f"{_helper_name(spec)}({', '.join(['{x}', '{y}', '{z}'][: len(spec.sources)])})"


def _chunks(target: Target, jobs: list[Job], helpers: dict[str, Spec]) -> list[str]:
    declarations = "".join(declaration(target, _helper_name(s), s) for s in helpers.values())
    head = prelude(target) + declarations
    chunks = [[head] for _ in range(CHUNKS)]
    for number, job in enumerate(jobs):
        operands = [operand for operand, _ in job.spec.operands()]
        spec = job.spec
        fixed = {i + 1: i for i in range(len(spec.sources))} | {0: 0} if spec.fixed else {}
        for which, plan in enumerate(job.plans):
            for choice in sorted(plan.choices()):
                registers = fixed | dict(zip(operands, choice, strict=True))
                symbol = symbol_of(spec, which, choice)
                changed = replace(spec, text=_text_of(spec))
                chunks[number % CHUNKS].append(function(target, symbol, changed, registers))
    return ["".join(chunk) for chunk in chunks]


def _helper_texts(target: Target, helpers: list[Spec]) -> list[str]:
    """Return one C file of helpers for each number of lanes that elementary.h is compiled for; 1 is first."""
    counts = [1 if not s.wide else target.wide * 8 // int(s.sources[-1][1:3]) for s in helpers]
    return [_helper_text(target, lanes, [s for s, n in zip(helpers, counts, strict=True) if n == lanes]) for lanes in sorted(set(counts))]


def _helper_text(target: Target, lanes: int, helpers: list[Spec]) -> str:
    bodies = "".join(helper(target, _helper_name(s), s) for s in helpers)
    head = f"#define HL_LANES {lanes}\n"
    if lanes > 1:
        return f'{head}#include "elementary.h"\n{prelude(target)}{bodies}'
    registers = [*["data" if n == "ctx" else "u" for n in target.parameters], *["w"] * (target.vectors + target.scratch_vectors)]
    enter = f"void enter(char *data);\nvoid enter(char *data) {{ long u; R w; NEXT({', '.join(registers)}); }}\n"
    # slow paths keep what helpers must keep, so that the fast paths need not save it
    head += f"#define HL_SLOW static inline __attribute__((noinline, cold, {target.convention}))\n"
    return f'{head}#include "elementary.h"\n{prelude(target)}{bodies}{enter}'


def symbol_of(spec: Spec, which: int, choice: Choice) -> str:
    """Return the C name of one variant's code for one choice of registers."""
    return f"s_{_symbol(spec.name)}_{which}_{'_'.join(map(str, choice))}"


def _compile(target: Target, texts: Iterable[str], folder: Path, *flags: str) -> list[elf.ObjectFile]:
    def one(numbered: tuple[int, str]) -> elf.ObjectFile:
        number, text = numbered
        source, output = folder / f"{number}.c", folder / f"{number}.o"
        source.write_text(text)
        command = [*compiler(), "-target", target.triple, f"-mcpu={target.cpu}", *FLAGS, *target.flags, *flags]
        command += [f"-DHL_WIDE={target.wide}", f"-I{HEADERS}"]
        done = subprocess.run([*command, "-c", str(source), "-o", str(output)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"stencils of {target.name} do not compile:\n{done.stderr[:4000]}")
        return elf.read(output.read_bytes())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, enumerate(texts)))


# ----------------------------------------------------------------------------------------- reading


class Items:
    """Helper functions and constants that stencils refer to, each once, with what they refer to."""

    def __init__(self) -> None:
        self.found: dict[object, tuple[bytes, int, tuple[tuple[int, int, object, int], ...]]] = {}

    def constant(self, section: elf.Section, at: int) -> object:
        """Return the key of the constant in a mergeable section; equal constants are one."""
        size = section.entry_size or len(section.data)
        data = section.data[at : at + size]
        key = ("constant", data)
        self.found.setdefault(key, (data, max(section.align, 1), ()))
        return key

    def add_object(self, unit: elf.ObjectFile) -> None:
        """Take every function of an object that defines helpers."""
        for name, index in unit.functions.items():
            section = unit.sections[index]
            self.found[_function_key(unit, name)] = (section.data, 16, patches_of(unit, section, self))


def _function_key(unit: elf.ObjectFile, name: str) -> object:
    """Return the key of a function; slow paths are compiled with each number of lanes, under one name."""
    return ("function", name) if name.startswith("helper_") or name == "enter" else ("function", name, id(unit))


def patches_of(unit: elf.ObjectFile, section: elf.Section, items: Items) -> tuple[tuple[int, int, object, int], ...]:
    """Turn relocations into neutral patches (position, kind, item, addend)."""
    found = []
    for hole in section.relocations:
        name, kind = hole.symbol.name, hole.type
        if name == "HOLE_OFFSET":
            assert kind in (R_32, R_32S), f"{section.name}: HOLE_OFFSET by relocation {kind}"
            found.append((hole.offset, DISPLACEMENT, None, hole.addend))
        elif name == "HOLE_IMMEDIATE":
            assert kind in (R_32, R_32S), f"{section.name}: HOLE_IMMEDIATE by relocation {kind}"
            found.append((hole.offset, IMMEDIATE, None, hole.addend))
        else:
            assert kind in (R_PC32, R_PLT32), f"{section.name}: {name} by relocation {kind}"
            found.append(_relative(unit, section, hole, items))
    return tuple(found)


def _relative(unit: elf.ObjectFile, section: elf.Section, hole: elf.Relocation, items: Items) -> tuple[int, int, object, int]:
    name = hole.symbol.name
    if name in ("NEXT", "TARGET", "NEXT_WIDE"):
        return hole.offset, TARGET, name.removesuffix("_WIDE"), hole.addend
    index = hole.symbol.section
    if index is None:
        assert name.startswith("helper_"), f"{section.name} refers to {name}, which nothing defines"
        return hole.offset, RELATIVE, ("function", name), hole.addend
    refers = unit.sections[index]
    if refers.executable:
        named = next(n for n, i in unit.functions.items() if i == index)
        return hole.offset, RELATIVE, _function_key(unit, named), hole.addend
    if refers.entry_size and name:  # a mergeable constant; the symbol is its start, the addend where the operand ends
        return hole.offset, RELATIVE, items.constant(refers, hole.symbol.value), hole.addend
    key = ("table", refers.data)
    items.found.setdefault(key, (refers.data, refers.align, ()))
    return hole.offset, RELATIVE, key, hole.symbol.value + hole.addend


def _read_codes(job: Job, objects: list[elf.ObjectFile], items: Items) -> None:
    for which, plan in enumerate(job.plans):
        codes: dict[Choice, Code] = {}
        for choice in plan.choices():
            symbol = symbol_of(job.spec, which, choice)
            unit = next(unit for unit in objects if symbol in unit.functions)
            codes[choice] = _without_jump(unit, unit.sections[unit.functions[symbol]], items)
        job.codes.append(codes)


def _without_jump(unit: elf.ObjectFile, section: elf.Section, items: Items) -> Code:
    """Return code and patches less the jump to NEXT that ends every stencil; b"" where it is not the end."""
    data, patches = bytearray(section.data), list(patches_of(unit, section, items))
    end = len(data) - 5  # jmp rel32 is E9 cd; jcc rel32 is 0F 80+cc cd, where cc ^ 1 is the opposite (Intel SDM vol. 2)
    patches.sort(key=lambda patch: patch[0])
    if [p[2] for p in patches if p[1] == TARGET] == ["NEXT", "TARGET"] and patches[-2][0] == end - 4 and data[end - 6] == 0x0F:
        data[end - 5] ^= 1
        patches[-2:] = [(end - 4, TARGET, "TARGET", -4), (end + 1, TARGET, "NEXT", -4)]
    nexts = [p for p in patches if p[2] == "NEXT"]
    if not nexts and section.name.split("__")[-1].startswith(("s_leave", "s_return", "s_jump")):
        return bytes(data), tuple((at, k, None, add) for at, k, _, add in patches)  # control never goes on
    if len(nexts) != 1 or nexts[0][0] != end + 1 or data[end] != 0xE9:
        return b"", ()
    return bytes(data[:end]), tuple((at, k, None if k == TARGET else item, add) for at, k, item, add in patches if item != "NEXT")


def _learn(job: Job) -> list[Variant] | None:
    found = []
    for plan, codes in zip(job.plans, job.codes, strict=True):
        base = codes[plan.base][0]
        empty_ok = job.spec.name.startswith("move")
        variant = learn(plan, codes) if base or empty_ok else None
        if variant is None or len(base) > _limit(job.spec):
            return None
        found.append(variant)
    return found


# --------------------------------------------------------------------------------------- assembling


def _assemble(
    target: Target, digest: str, rows: list[tuple[str, bool, list[Spec]]], basics: list[Spec], jobs: dict[str, Job], items: Items
) -> Library:
    tables = Tables(target)
    names, overloads, called = {}, [], []
    for name, commutative, specs in rows:
        memory = next((s for s in specs if s.memory), None)
        made = [s for s in specs if s is not memory and s.name in jobs and jobs[s.name].variants is not None]
        assert made, f"no stencil for {name}"
        chosen = min(made, key=lambda s: (s.fixed, len(jobs[s.name].codes[0][jobs[s.name].plans[0].base][0])))
        if chosen.fixed:
            called.append(name)
        usable = memory is not None and not chosen.fixed and jobs[memory.name].variants is not None
        second = tables.add(jobs[memory.name]) if usable and memory is not None else -1
        names[name] = len(overloads)
        overloads.append((tables.add(jobs[chosen.name]), second, int(commutative)))
    for spec in basics:
        assert jobs[spec.name].variants is not None, f"no stencil for {spec.name}"
        names[spec.name] = len(overloads)
        overloads.append((tables.add(jobs[spec.name]), -1, 0))
    tables.add_items(items)
    meta = {
        "target": target.name, "digest": digest, "compiler": "zig cc (ziglang)", "flags": [*FLAGS, *target.flags], "names": names,
        "vectors": target.vectors, "integers": target.integers, "wide": target.wide, "scratch_vectors": target.scratch_vectors,
        "enter": tables.item_numbers[("function", "enter")], "called": called,
        "saved_vectors": sum(1 << r for r in target.saved_vectors), "saved_integers": sum(1 << r for r in target.saved_integers),
        "kept_integers": sum(1 << r for r in target.kept_integers),
        "classes": _groups(target.vector_classes) + _groups(target.integer_classes),
    }  # fmt: skip
    return tables.library(meta, overloads)


def _groups(classes: tuple[tuple[int, ...], ...]) -> list[int]:
    """Return the number of the group of each of 16 registers."""
    return [next((g for g, group in enumerate(classes) if r in group), 0) for r in range(16)]


class Tables:
    """The arrays of a Library while they grow."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.stencils: list[tuple[int, ...]] = []
        self.variants: list[tuple[int, ...]] = []
        self.fields: list[tuple[int, int]] = []
        self.xors: list[tuple[int, int]] = []
        self.known_xors: dict[tuple[tuple[int, int], ...], int] = {}
        self.patches: list[tuple[int, int, object, int]] = []
        self.items: list[tuple[int, ...]] = []
        self.item_numbers: dict[object, int] = {}
        self.code = bytearray()
        self.used: list[object] = []

    def add(self, job: Job) -> int:
        """Add a learned stencil and return its row."""
        spec = job.spec
        assert job.variants is not None
        first = len(self.variants)
        operands = [operand for operand, _ in spec.operands()]
        for variant in job.variants:
            start = len(self.fields)
            for o in range(len(operands)):
                self.fields.extend(self._xors(variant.fields.get((o, r), ())) for r in range(16))
            self.variants.append((self._code(variant.code), len(variant.code), *self._patches(variant.patches), start))
        self.stencils.append(self._row(spec, operands, first, any(v.early for v in job.variants)))
        return len(self.stencils) - 1

    def _row(self, spec: Spec, operands: list[int], first: int, early: bool) -> tuple[int, ...]:
        count = len(spec.sources)
        classes = [register_class(s) for s in spec.sources] + [0] * (3 - count)
        fixed = [i if spec.fixed else -1 for i in range(count)] + [-1] * (3 - count)
        lost = [r for r in range(self.target.vectors) if spec.wide or r not in self.target.saved_vectors]
        clobbered_v = sum(1 << r for r in lost) if spec.fixed else 0
        clobbered_i = sum(1 << r for r in range(self.target.integers) if r not in self.target.saved_integers) if spec.fixed else 0
        fields = operands + [-1] * (4 - len(operands))
        radix = [len(groups) for groups in classes_of(self.target, spec)]
        radix += [1] * (4 - len(radix))
        dst = register_class(spec.dst) if spec.dst else 0
        row = (
            dst, 0 if spec.fixed and dst else -1, count, *classes, *fixed, 0 if spec.tied else -1,
            int(spec.memory is not None), int(early), clobbered_v, clobbered_i, first, len(operands), *fields, *radix,
        )  # fmt: skip
        assert len(row) == len(COLUMNS)
        return row

    def _xors(self, bytes_: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        if bytes_ not in self.known_xors:
            self.known_xors[bytes_] = len(self.xors)
            self.xors.extend(bytes_)
        return self.known_xors[bytes_], len(bytes_)

    def _code(self, data: bytes) -> int:
        self.code += data
        return len(self.code) - len(data)

    def _patches(self, patches: tuple[tuple[int, int, object, int], ...]) -> tuple[int, int]:
        self.patches.extend(patches)
        self.used.extend(item for _, kind, item, _ in patches if kind == RELATIVE)
        return len(self.patches) - len(patches), len(patches)

    def add_items(self, items: Items) -> None:
        """Add all items that stencils need, and what those need."""
        wanted: list[object] = [("function", "enter"), *self.used]
        while wanted:
            key = wanted.pop(0)
            if key in self.item_numbers:
                continue
            data, align, patches = items.found[key]
            self.item_numbers[key] = len(self.items)
            while len(self.code) % align:
                self.code.append(0)
            self.items.append((self._code(data), len(data), align, *self._patches(patches)))
            wanted.extend(item for _, kind, item, _ in patches if kind == RELATIVE)

    def library(self, meta: dict[str, object], overloads: list[tuple[int, int, int]]) -> Library:
        """Return the finished library."""
        patches = [(at, kind, self.item_numbers.get(item, 0), add) for at, kind, item, add in self.patches]

        def table(rows: list[tuple[int, ...]], width: int) -> np.ndarray:  # type: ignore[type-arg]
            return np.array(rows, np.int32).reshape(-1, width)

        return Library(
            meta, table(self.stencils, len(COLUMNS)), table(self.variants, 5), table(self.fields, 2), table(self.xors, 2),
            table(patches, 4), table(self.items, 5), table(overloads, 3), bytes(self.code),
        )  # fmt: skip


if __name__ == "__main__":
    for path in build(ROOT / "src/hotloop/stencils/data", Path(tempfile.gettempdir()) / "hotloop-stencils"):
        print(path)  # noqa: T201
