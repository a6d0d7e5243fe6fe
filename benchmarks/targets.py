"""Control programs on every target beside C: bytes of code and data, instructions of a step, counted in an emulator.

Peers are the C of each program by hand (`step(x, out)`, with musl's mathematics) and the C that hotloop exports,
both by zig at -Os, -O2 and -O3. All results are checked against plain Python first. Code counts all that is linked,
mathematics included; "own" is the program without it. Instructions are those of one step on the program's inputs.
On Cortex-M4F the estimate of cycles is printed too (docs/notes/cycles.md).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import measure, peers, targets_c, targets_forms
from benchmarks.measure import Report, say
from benchmarks.programs import ALL, Program
from hotloop.errors import TargetError

LEVELS = ("-Os", "-O2", "-O3")
WITHOUT_UNIT = ("armv7m", "riscv32")
LEFT_OUT = ("demodulation",)  # blocks of samples: no microcontroller's program
# C by hand at -O2, by arm-none-eabi-gcc and newlib on a Cortex-M4F: bytes without mathematics, instructions of a step
GIVEN = {
    "inverse_kinematics": (264, 12709), "arm": (1160, 1561), "ekf": (2008, 7685), "attitude": (720, 469),
    "biquad": (668, 310), "mpc": (1000, 8591), "network": (6904, 13738),
}  # fmt: skip


@dataclass(slots=True)
class Row:
    """One way to run a program on one target."""

    label: str
    code: int
    own: int | None
    data: int | None
    stack: int
    instructions: int
    cycles: str = ""


def own_rows(program: Program, target: str) -> list[Row]:
    """Compile each form of a program, check and count it."""
    return [_own(program, target, form) for form in targets_forms.forms(program)]


def _own(program: Program, target: str, form: str) -> Row:
    import hotloop as hl

    inputs, outputs = targets_forms.traced(program, form)
    machine = hl.Target(arch=target, emulate=True)
    machine.compile(outputs)
    for x in (*program.samples(3)[1:], program.flat):
        for cell, numbers in zip(inputs, targets_forms.groups(program, form, x), strict=True):
            machine.write_value(cell, numbers)
        machine.run()
        found = np.concatenate([np.ravel(machine.read_array(y)) for y in outputs])
        measure.check_equal(f"{program.name}, {form} on {target}", found, program.oracle(x), rtol=program.rtol, atol=program.atol)
    running: Any = machine.compiled.program  # an Emulated
    return Row(
        f"hotloop, {form}", running.code_size, None, running.data_size, running.stack_used, running.instructions, _cycles(running, target)
    )


def _cycles(running: Any, target: str) -> str:
    if target != "armv7em" or peers.missing(["capstone"]):
        return ""
    from hotloop.runtime.cycles import estimate

    found = estimate(running)
    return f"{found.likely:,.0f} ({found.low:,.0f} to {found.high:,.0f})"


def c_rows(program: Program, target: str, levels: Sequence[str]) -> list[Row]:
    """Compile C by hand and exported C; what zig cannot build for a target is reported and left out."""
    if target not in targets_c.TRIPLES:
        return []
    outputs = len(program.oracle(program.flat))
    rows = []
    for level in levels:
        rows += _attempt(f"C {level}", program, target, lambda at=level: targets_c.by_hand(program.c, target, at, program.flat, outputs))
        rows += _attempt(f"exported C {level}", program, target, lambda at=level: _exported(program, target, at))
    return rows


def _attempt(label: str, program: Program, target: str, build: Callable[[], targets_c.Measured]) -> list[Row]:
    try:
        one = build()
    except (peers.CompileError, TargetError) as fault:
        say(f"    {program.name}, {label} for {target}: left out, {str(fault)[:200]}")
        return []
    measure.check_equal(
        f"{program.name}, {label} on {target}", one.found, program.oracle(program.flat), rtol=program.rtol, atol=program.atol
    )
    return [Row(label, one.code, one.own, None, one.stack, one.instructions)]


def _exported(program: Program, target: str, level: str) -> targets_c.Measured:
    import hotloop as hl
    from hotloop.backends.csource import c_source
    from hotloop.compiler import one_lane_program

    form = targets_forms.forms(program)[-1]
    _, outputs = targets_forms.traced(program, form)
    machine = hl.Target(arch=target)
    machine.compile(outputs)
    listing = one_lane_program(list(machine.named.values()), machine.options)
    given = [(f"in{k}", np.asarray(x, np.float32)) for k, x in enumerate(targets_forms.groups(program, form, program.flat))]
    return targets_c.exported(c_source(listing, "program"), target, level, [f"out{k}" for k in range(len(outputs))], given)


def _table(rows: Sequence[Row]) -> str:
    heads = ["", "code", "own", "data", "stack", "instructions", "cycles of an M4"]
    lines = [
        [one.label, one.code, *(("-" if x is None else x) for x in (one.own, one.data)), one.stack, one.instructions, one.cycles or "-"]
        for one in rows
    ]
    return measure.table(heads, lines)


def _best(rows: Sequence[Row], code: float, instructions: float) -> Row:
    """Return the form whose worse ratio is the least."""
    return min(rows, key=lambda one: max(one.code / code, one.instructions / instructions))


def _judge(report: Report, found: dict[str, dict[str, list[Row]]]) -> None:
    for target, programs in found.items():
        if target in WITHOUT_UNIT:
            continue
        for peer in ("C -O3", "exported C -O3"):
            sizes, counts = {}, {}
            for name, rows in programs.items():
                beside = next((one for one in rows if one.label == peer), None)
                if beside is None:
                    continue
                best = _best([one for one in rows if one.label.startswith("hotloop")], beside.code, beside.instructions)
                sizes[name], counts[name] = best.code / beside.code, best.instructions / beside.instructions
            report.worst(f"{target}: code of hotloop / {peer}", sizes, 2)
            report.worst(f"{target}: instructions of hotloop / {peer}", counts, 1.6)
    _judge_given(report, found.get("armv7em", {}))


def _judge_given(report: Report, programs: dict[str, list[Row]]) -> None:
    sizes, counts = {}, {}
    for name, rows in programs.items():
        hand = next((one for one in rows if one.label == "C -O2"), None)
        best = min((one for one in rows if one.label.startswith("hotloop")), key=lambda one: one.instructions)
        counts[name] = best.instructions / GIVEN[name][1]
        if hand:
            sizes[name] = best.code / hand.code
    report.worst("Cortex-M4F: instructions of hotloop / C -O2 by gcc, as given", counts, 1.5)
    report.worst("Cortex-M4F: code of hotloop / C -O2, mathematics included", sizes, 3)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table for each target and program, then what was to be met."""
    from hotloop.runtime.emulator import emulates
    from hotloop.stencils.library import available

    targets = [name for name in available() if emulates(name) and not name.startswith("x86")]
    names = [name for name in ALL if name not in LEFT_OUT]
    options = measure.arguments(__doc__, argv, names=[*targets, *names])
    chosen = [name for name in names if name in options.names] or names
    report = Report("every target: bytes and instructions beside C")
    report.open(["unicorn", "capstone", "ziglang"])
    found: dict[str, dict[str, list[Row]]] = {}
    for target in [name for name in targets if name in options.names] or targets:
        found[target] = {}
        for name in chosen:
            rows = [*own_rows(ALL[name], target), *c_rows(ALL[name], target, LEVELS[-1:] if options.quick else LEVELS)]
            found[target][name] = rows
            say(f"\n{target}: {ALL[name].title}\n{_table(rows)}")
    _judge(report, found)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
