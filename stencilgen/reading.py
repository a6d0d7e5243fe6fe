"""Reads compiled objects: helper functions and constants (`Items`), stencils, and their relocations as neutral patches."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import ziglang

from hotloop.stencils.format import DISPLACEMENT, IMMEDIATE, RELATIVE, TARGET
from stencilgen import elf, forms, pinning
from stencilgen.forms import Form
from stencilgen.learn import Choice, Code, Plan, Variant, learn
from stencilgen.source import Spec
from stencilgen.target import FLAGS, Pinning, Target

Patch = tuple[int, int, object, int, Form]  # position, kind, item, addend, how
Item = tuple[bytes, int, tuple[Patch, ...], int]  # bytes, alignment, patches, bytes of stack
DIVISION = Path(__file__).parent.parent / "src" / "hotloop" / "ops" / "c" / "division.c"
UNKNOWN_STACK = 128  # more than any function of the runtime library takes by itself


@dataclass(slots=True)
class Job:
    """One spec with its plans, and what the compiler made of it."""

    spec: Spec
    plans: list[Plan]
    codes: list[dict[Choice, Code]] = field(default_factory=list)
    variants: list[Variant] | None = None


class Items:
    """Helper functions and constants that stencils refer to, each once, with what they refer to."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.found: dict[object, Item] = {}
        self._runtime: list[elf.ObjectFile] = []

    def constant(self, section: elf.Section, at: int) -> object:
        """Return the key of the constant in a mergeable section; equal constants are one."""
        size = section.entry_size or len(section.data)
        data = section.data[at : at + size]
        key = ("constant", data)
        self.found.setdefault(key, (data, max(section.align, 1), (), 0))
        return key

    def add_object(self, unit: elf.ObjectFile) -> None:
        """Take every function of an object that defines helpers."""
        for name, index in unit.functions.items():
            self._add(unit, unit.sections[index], _function_key(unit, name))

    def _add(self, unit: elf.ObjectFile, section: elf.Section, key: object) -> None:
        self.found[key] = (section.data, 16, (), 0)  # known, in case that it refers to itself
        data, patches = patched(self, unit, section)
        self.found[key] = (data, max(section.align, 4), patches, UNKNOWN_STACK if section.stack is None else section.stack)

    def runtime(self, name: str) -> object:
        """Return the key of a function of the compiler's runtime library: arithmetic that the target's hardware lacks."""
        key = ("function", name)
        if key not in self.found:
            if not self._runtime:
                self._runtime = [elf.read(data) for data in runtime_libraries(self.target)]
            unit = next((unit for unit in self._runtime if name in unit.functions), None)
            assert unit is not None, f"{self.target.name}: {name} is nowhere defined"
            self._add(unit, unit.sections[unit.functions[name]], key)
        return key

    def is_runtime(self, unit: elf.ObjectFile) -> bool:
        """Tell whether an object is a runtime library."""
        return any(unit is one for one in self._runtime)


def runtime_libraries(target: Target) -> list[bytes]:
    """Return objects with the arithmetic that hardware lacks, one section a function: ours first, then zig's (MIT licence)."""
    zig = [sys.executable, "-m", "ziglang"]
    where = ["-target", target.triple, f"-mcpu={target.helper_cpu or target.cpu}"]
    own = [*zig, "cc", *where, *FLAGS, *target.flags, *target.helper_flags, "-c", str(DIVISION), "-o"]
    source = Path(ziglang.__file__).parent / "lib" / "compiler_rt.zig"
    small = ["-OReleaseSmall", "-ffunction-sections", "-fdata-sections", "-fstrip", "-fsingle-threaded", "-fPIC"]
    theirs = [*zig, "build-obj", str(source), *where, *small]
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder) / "own.o", Path(folder) / "theirs.o"
        for command in ([*own, str(outputs[0])], [*theirs, f"-femit-bin={outputs[1]}"]):
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
            if done.returncode:
                raise RuntimeError(f"the runtime library of {target.name} does not compile:\n{done.stderr[:4000]}")
        return [output.read_bytes() for output in outputs]


def _function_key(unit: elf.ObjectFile, name: str) -> object:
    """Return the key of a function; slow paths are compiled with each number of lanes, under one name."""
    return ("function", name) if name.startswith("helper_") or name == "enter" else ("function", name, id(unit))


def patched(items: Items, unit: elf.ObjectFile, section: elf.Section) -> tuple[bytes, tuple[Patch, ...]]:
    """Return the code with its fields cleared, and relocations as neutral patches."""
    data, found = bytearray(section.data), []
    for hole in section.relocations:
        if items.target.relocations is forms.RISCV and hole.type in forms.RISCV_IGNORED:
            continue
        for at, form, symbol, addend in _fields(items.target, section, hole):
            word = int.from_bytes(data[at : at + form.size], "little")
            if addend is None:
                addend = form.decoded(word)
            data[at : at + form.size] = form.cleared(word).to_bytes(form.size, "little")
            kind, item, addend = _referred(items, unit, section, symbol, addend)
            found.append((at, kind, item, addend, form))
    return bytes(data), tuple(found)


def _fields(target: Target, section: elf.Section, hole: elf.Relocation) -> list[tuple[int, Form, elf.Symbol, int | None]]:
    """Return the fields that a relocation fills: (position, form, symbol, addend)."""
    if target.relocations is forms.RISCV:
        assert hole.addend is not None
        if hole.type in forms.RISCV_CALLS:
            return [
                (hole.offset, forms.RISCV_HIGH, hole.symbol, hole.addend),
                (hole.offset + 4, forms.RISCV_LOW, hole.symbol, hole.addend + 4),
            ]
        if hole.type in forms.RISCV_LOWS:  # counts from the high part, which says what it refers to
            high = next(h for h in section.relocations if h.offset == hole.symbol.value and h.type == 23)
            assert high.addend is not None
            return [(hole.offset, target.relocations[hole.type], high.symbol, high.addend + hole.offset - high.offset)]
    form = target.relocations.get(hole.type)
    assert form is not None, f"{target.name}: {section.name} refers to {hole.symbol.name} by relocation {hole.type}"
    return [(hole.offset, form, hole.symbol, hole.addend)]


def _referred(items: Items, unit: elf.ObjectFile, section: elf.Section, symbol: elf.Symbol, addend: int) -> tuple[int, object, int]:
    """Return (kind, item, addend) of what a relocation refers to."""
    name = symbol.name
    if name == "HOLE_OFFSET":
        return DISPLACEMENT, None, addend
    if name == "HOLE_IMMEDIATE":
        return IMMEDIATE, None, addend
    if name in ("NEXT", "TARGET", "NEXT_WIDE"):
        return TARGET, name.removesuffix("_WIDE"), addend
    index = symbol.section
    if index is None:
        if name.startswith("helper_"):
            return RELATIVE, ("function", name), addend
        return RELATIVE, items.runtime(name), addend
    assert index in unit.sections, f"{items.target.name}: {section.name} refers to {name}, a global variable"
    refers = unit.sections[index]
    if refers.executable:
        return RELATIVE, _function_key_of(unit, index, items), (symbol.value & ~1) + addend
    if refers.entry_size and name:  # a mergeable constant; the symbol is its start, the addend where the operand ends
        return RELATIVE, items.constant(refers, symbol.value), addend
    assert not refers.relocations, f"{items.target.name}: {refers.name} has pointers"
    key = ("table", refers.data)
    items.found.setdefault(key, (refers.data, max(refers.align, 1), (), 0))
    return RELATIVE, key, symbol.value + addend


def _function_key_of(unit: elf.ObjectFile, index: int, items: Items) -> object:
    named = next(n for n, i in unit.functions.items() if i == index)
    if items.is_runtime(unit):
        return items.runtime(named)
    return _function_key(unit, named)


# ------------------------------------------------------------------------------------------ stencils


def usual_stack(objects: list[elf.ObjectFile]) -> int:
    """Return what the functions of pinned stencils take of the stack: all save the same registers, and more is spilled values."""
    found = Counter(section.stack for unit in objects for section in unit.sections.values() if section.stack is not None)
    return found.most_common(1)[0][0]


def read_codes(
    job: Job, objects: list[elf.ObjectFile], items: Items, symbols: Callable[[Job, int], list[tuple[Choice, str]]], stack: int
) -> None:
    """Collect the code of every choice of a job. symbols: (choice, C name) of each by the number of the plan; stack: see `usual_stack`."""
    for which, _ in enumerate(job.plans):
        codes: dict[Choice, Code] = {}
        for choice, symbol in symbols(job, which):
            unit = next(unit for unit in objects if symbol in unit.functions)
            section = unit.sections[unit.functions[symbol]]
            pinned = isinstance(items.target.shell, Pinning)
            codes[choice] = _pinned(unit, section, items, stack, job.spec.fixed) if pinned else _passed(unit, section, items)
        job.codes.append(codes)


def _pinned(unit: elf.ObjectFile, section: elf.Section, items: Items, stack: int, calls: bool) -> Code:
    """Return what stands between the marks, or b"" where it does not stand there alone, or has values on the stack."""
    aligned = 16 if calls else 0  # it may be aligned for a call, and hold an operand of it: `enter` leaves room for that
    if section.stack is None or section.stack > stack + aligned:
        return b"", ()
    place = pinning.between(items.target, section.data)
    inside = [h for h in section.relocations if place is not None and place[0] <= h.offset < place[1]]
    named = [(h, unit.sections.get(h.symbol.section)) for h in inside if h.symbol.section is not None]
    # code of this object, the stencil's own or a function that was not inlined, is not in the library
    local = [h for h, refers in named if refers and refers.executable and not (refers is section and h.type in forms.RISCV_LOWS)]
    if place is None or local or any(h.type not in items.target.relocations and not _special(items.target, h) for h in inside):
        return b"", ()
    start, end = place
    only = elf.Section(section.name, section.data, section.align, section.executable, section.entry_size, inside)
    data, patches = patched(items, unit, only)
    moved = tuple((at - start, kind, None if kind == TARGET else item, addend, form) for at, kind, item, addend, form in patches)
    return data[start:end], moved


def _special(target: Target, hole: elf.Relocation) -> bool:
    return target.relocations is forms.RISCV and hole.type in (*forms.RISCV_CALLS, *forms.RISCV_LOWS, *forms.RISCV_IGNORED)


def _passed(unit: elf.ObjectFile, section: elf.Section, items: Items) -> Code:
    """Return code and patches less the jump to NEXT that ends every stencil; b"" where it is not the end."""
    cleared, found = patched(items, unit, section)
    data, patches = bytearray(cleared), sorted(found, key=lambda patch: patch[0])
    end = len(data) - 5  # jmp rel32 is E9 cd; jcc rel32 is 0F 80+cc cd, where cc ^ 1 is the opposite (Intel SDM vol. 2)
    if [p[2] for p in patches if p[1] == TARGET] == ["NEXT", "TARGET"] and patches[-2][0] == end - 4 and data[end - 6] == 0x0F:
        data[end - 5] ^= 1
        patches[-2:] = [(end - 4, TARGET, "TARGET", -4, forms.WORD), (end + 1, TARGET, "NEXT", -4, forms.WORD)]
    nexts = [p for p in patches if p[2] == "NEXT"]
    if not nexts and section.name.split("__")[-1].startswith(("s_leave", "s_return", "s_jump")):
        return bytes(data), tuple((at, k, None, add, form) for at, k, _, add, form in patches)  # control never goes on
    if len(nexts) != 1 or nexts[0][0] != end + 1 or data[end] != 0xE9:
        return b"", ()
    kept = [p for p in patches if p[2] != "NEXT"]
    return bytes(data[:end]), tuple((at, k, None if k == TARGET else item, add, form) for at, k, item, add, form in kept)


def learn_job(job: Job, limit: float) -> list[Variant] | None:
    """Return the variants of a job, or None where fields do not explain them or the code is longer than `limit`."""
    found = []
    for plan, codes in zip(job.plans, job.codes, strict=True):
        base = codes[plan.base][0]
        empty_ok = job.spec.name.startswith("move") or job.spec.assembly
        variant = learn(plan, codes) if base or empty_ok else None
        if variant is None or len(base) > limit:
            return None
        found.append(variant)
    return found
