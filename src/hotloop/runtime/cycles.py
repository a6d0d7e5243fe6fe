"""Estimates the clock cycles of Thumb code on Cortex-M4 and Cortex-M7 from tables; docs/notes/cycles.md says how far to trust them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from hotloop.errors import TargetError
from hotloop.image import Image
from hotloop.runtime.emulator import CODE, Emulated

Cost = tuple[float, float, float]  # fewest, likely, most


class Cycles(NamedTuple):
    """Clock cycles of one run, memory without wait states: between `low` and `high`, most likely about `likely`."""

    core: str
    instructions: int
    low: float
    likely: float
    high: float

    def __str__(self) -> str:
        return f"{self.likely:.0f} cycles on {self.core} ({self.low:.0f} to {self.high:.0f}; {self.instructions} instructions)"


class Core(NamedTuple):
    """The table of one core: cycles by the name of an instruction, without condition and width.

    costs: of what is not `usual`. each: added for every register of instructions that move several.
    refill: of the pipeline, after a jump; missed: more for a conditional branch.
    paired: of a load or store that follows another one. stall: where the next instruction needs a floating-point result.
    """

    usual: Cost
    costs: Mapping[str, Cost]
    each: Cost
    refill: Cost
    missed: Cost
    paired: Cost
    stall: Cost


def _table(*rows: tuple[str, Cost]) -> dict[str, Cost]:
    return {name: cost for names, cost in rows for name in names.split()}


_ARITHMETIC = frozenset(
    (
        "vadd",
        "vsub",
        "vmul",
        "vnmul",
        "vmla",
        "vmls",
        "vnmla",
        "vnmls",
        "vfma",
        "vfms",
        "vfnma",
        "vfnms",
        "vdiv",
        "vsqrt",
        "vcvt",
        "vcvtr",
        "vcvtb",
        "vcvtt",
    )
)
_SINGLE = frozenset(("ldr", "ldrb", "ldrh", "ldrsb", "ldrsh", "str", "strb", "strh", "vldr", "vstr"))
_SEVERAL = frozenset(("ldm", "stm", "ldmdb", "stmdb", "push", "pop", "vldmia", "vstmia", "vldmdb", "vstmdb", "vpush", "vpop"))

# ARM DDI 0439B (Cortex-M4 TRM r0p1), table 3-1 for integers, table 7-1 for floating point. P, the refill, is 1 to 3;
# loads and stores that follow each other are pipelined (3.3.3); stores wait for nothing while the write buffer has room.
# A floating-point result that the next instruction consumes takes one cycle more (7.2.3), an addend does not.
CORTEX_M4 = Core(
    usual=(1, 1, 1),
    costs=_table(
        ("ldr ldrb ldrh ldrsb ldrsh vldr", (2, 2, 2)),
        ("str strb strh vstr", (1, 1, 2)),
        ("ldrd strd", (3, 3, 3)),
        ("ldm stm ldmdb stmdb push pop vldmia vstmia vldmdb vstmdb vpush vpop", (1, 1, 1)),
        ("sdiv udiv", (2, 7, 12)),
        ("it", (0, 1, 1)),
        ("tbb tbh", (2, 2, 2)),
        ("vdiv vsqrt", (14, 14, 14)),
        ("vmla vmls vnmla vnmls vfma vfms vfnma vfnms", (3, 3, 3)),
    ),
    each=(1, 1, 1),
    refill=(1, 2, 3),
    missed=(0, 0, 0),
    paired=(1, 1, 2),
    stall=(1, 1, 1),
)

# ARM publishes no table for the Cortex-M7. Assumed: two instructions start in one cycle, at best and half of the time; data in
# tightly coupled memory or the cache; one floating-point unit, results after three cycles; branches that are foreseen cost
# nothing more, others eight cycles, one in ten.
CORTEX_M7 = Core(
    usual=(0.5, 0.75, 1),
    costs=_table(
        ("ldr ldrb ldrh ldrsb ldrsh vldr", (0.5, 1, 2)),
        ("ldrd strd", (0.5, 1, 2)),
        ("sdiv udiv", (2, 7, 12)),
        ("it", (0, 0.5, 1)),
        ("tbb tbh", (1, 2, 10)),
        ("vdiv vsqrt", (14, 15, 16)),
        ("vadd vsub vmul vnmul vcvt vcvtr", (0.5, 1, 1)),
        ("vmla vmls vnmla vnmls vfma vfms vfnma vfnms", (0.5, 1, 3)),
    ),
    each=(0.5, 0.5, 1),
    refill=(0, 0.5, 2),
    missed=(0, 0.8, 8),
    paired=(0.5, 0.75, 2),
    stall=(1, 1.5, 3),
)

CORES = {"cortex-m4": CORTEX_M4, "cortex-m7": CORTEX_M7}


def estimate(subject: Image | Emulated | bytes, core: str = "cortex-m4", *, limit: int = 100_000_000) -> Cycles:
    """Estimate the cycles of one run.

    subject: an image for armv7em or armv7m, which runs once in the emulator on its initial data, at most `limit`
        instructions; an `Emulated` one, whose last run counts; or the bytes of straight code.
    core: "cortex-m4" or "cortex-m7". Where an image has no branch that depends on data, all runs take the same instructions.
    Raises: TargetError for other targets and cores, and where capstone is not installed.
    """
    if core not in CORES:
        raise TargetError(f"there is no table of cycles for {core!r}. Use one of {', '.join(CORES)}.")
    table = CORES[core]
    if isinstance(subject, bytes):
        count, cost = _straight(table, subject)
        return Cycles(core, count, *cost)
    image = subject.image if isinstance(subject, Emulated) else subject
    if image.target not in ("armv7em", "armv7m"):
        raise TargetError(f"cycles are estimated for armv7em and armv7m, not for {image.target}.")
    program = subject
    if not isinstance(program, Emulated):
        program = Emulated(program, limit=limit)
        program.run()
    return _counted(core, program)


def _counted(core: str, program: Emulated) -> Cycles:
    """Sum over the blocks of the last run."""
    table, total = CORES[core], (0.0, 0.0, 0.0)
    for (address, size), times in program.blocks.items():
        start = address - CODE
        _, cost = _straight(table, program.image.code[start : start + size])
        total = _plus(total, cost, times)
        total = _plus(total, table.refill, program.jumps[address, size])
    return Cycles(core, program.instructions, *total)


def _straight(table: Core, code: bytes) -> tuple[int, Cost]:
    """Return how many instructions a block has, and what they cost but for the jump at its end."""
    total: Cost = (0.0, 0.0, 0.0)
    before: Any = None  # Any: capstone's instruction
    found = _disassembled(code)
    for one in found:
        total = _plus(total, _cost(table, one, before), 1)
        before = one
    return len(found), total


def _cost(table: Core, one: Any, before: Any) -> Cost:
    """Return the cost of an instruction after another one."""
    name = one.insn_name()
    cost = table.costs.get(name, table.usual)
    if name in _SINGLE and before is not None and before.insn_name() in _SINGLE:
        cost = table.paired
    if name in _SEVERAL:
        cost = _plus(cost, table.each, _words(one))
    if name == "b" and one.mnemonic != "b" and one.mnemonic != "b.w":
        cost = _plus(cost, table.missed, 1)
    if before is not None and _waits(one, before):
        cost = _plus(cost, table.stall, 1)
    return cost


def _words(one: Any) -> int:
    """Return how many words an instruction moves that lists registers."""
    names = [one.reg_name(operand.reg) for operand in one.operands if operand.type == 1]
    names = names if one.insn_name() in ("push", "pop", "vpush", "vpop") else names[1:]
    return sum(2 if name.startswith("d") else 1 for name in names)


def _waits(one: Any, before: Any) -> bool:
    """Return whether an instruction consumes the floating-point result of the one before it."""
    if before.insn_name() not in _ARITHMETIC or not before.operands:
        return False
    result = before.operands[0].reg
    read = [operand.reg for operand in one.operands[1:] if operand.type == 1]
    if one.insn_name() in ("vcmp", "vcmpe", "vstr"):
        read.append(one.operands[0].reg)
    return result in read


def _plus(a: Cost, b: Cost, times: float) -> Cost:
    return (a[0] + b[0] * times, a[1] + b[1] * times, a[2] + b[2] * times)


def _disassembled(code: bytes) -> Sequence[Any]:
    try:
        capstone = import_module("capstone")
    except ImportError:
        raise TargetError("an estimate of cycles needs capstone: pip install 'hotloop[emulate]'") from None
    machine = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    machine.detail = True
    found = list(machine.disasm(code, 0))
    decoded = sum(one.size for one in found)
    if decoded != len(code):
        raise TargetError(f"this is no Thumb code: what stands at {decoded:#x} is no instruction")
    return found
