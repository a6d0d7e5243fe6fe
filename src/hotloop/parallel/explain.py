"""What became of a `@cu` function, as text: its procedure, its machine code, and what was fused with what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hotloop.compiler import CompiledParallel, Options, compile_parallel
from hotloop.ir.graph import LOOP, source_line
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import (
    AT,
    Allocate,
    Compute,
    Copy,
    Fault,
    Filter,
    Fold,
    If,
    Reduce,
    Scan,
    Scatter,
    Sort,
    SortBy,
    Step,
    Store,
    Sweep,
    While,
)  # fmt: skip
from hotloop.ir.sweep_text import procedure_text
from hotloop.ops.logic import or_
from hotloop.passes.sweeps.merge import nodes_of

if TYPE_CHECKING:
    from hotloop.ir.sweep import Procedure

_CALLED = {Store: "writes an array", Fold: "reduces", Reduce: "reduces", Scan: "scans", Filter: "filters", Scatter: "scatters"}


def graph_text(procedure: Procedure) -> str:
    """Return the steps that a function became."""
    return procedure_text(procedure)


def source_text(procedure: Procedure, options: Options) -> str:
    """Return the generated program: instructions of each sweep, with the user's lines."""
    compiled = compile_parallel(procedure, options)
    return "\n".join([f"{name}:\n{program.listing()}\n" for name, program in compiled.linked.programs])


def explanation(procedure: Procedure, options: Options) -> str:
    """Return a line for each step: what it does, for which lines of the user, and how; then totals."""
    compiled = compile_parallel(procedure, options)
    lines = list(_lines(procedure.steps, 0))
    return "\n".join([*lines, "", _totals(procedure, compiled)]) + "\n"


def _lines(steps: Sequence[Step], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for step in steps:
        match step:
            case Sweep():
                yield pad + _sweep_line(step)
            case While():
                yield f"{pad}loop:"
                yield from _lines([*step.head, *step.body], depth + 1)
            case If():
                yield f"{pad}if, for what is not known before the call:"
                yield from _lines(step.then, depth + 1)
                yield f"{pad}else:"
                yield from _lines(step.otherwise, depth + 1)
            case Sort() | SortBy():
                yield f"{pad}sort, stable, on all threads" if isinstance(step, Sort) else f"{pad}merge sort, stable, by a compiled order"
            case Copy():
                yield f"{pad}copy of an array, since what was given does not change"


def _sweep_line(sweep: Sweep) -> str:
    checks = [effect for effect in sweep.effects if isinstance(effect, Fold) and effect.op is or_]
    rest = [effect for effect in sweep.effects if effect not in checks]
    done = Counter(_CALLED[type(effect)] for effect in rest)
    what = ", ".join([f"{verb}{f' ({count} times)' if count > 1 else ''}" for verb, count in done.items()]) or "checks"
    nodes = walk([node for effect in sweep.effects for node in nodes_of(effect)])
    operations = sum(node.op is not AT for node in nodes if node.args)
    loads = sum(node.op is AT for node in nodes)
    loops = sum(node.op is LOOP for node in nodes)
    where = sorted({source_line(node) for node in nodes if node.args})
    more = f", {loops} inner loops" if loops else ""
    checked = f", {len(checks)} checks" if checks and rest else ""
    return f"sweep: {what}; {operations} operations, {loads} loads{more}{checked}; from {', '.join(where[:6])}"


def _totals(procedure: Procedure, compiled: CompiledParallel) -> str:
    counts: Counter[type] = Counter()
    _count(procedure.steps, counts)
    linked = compiled.linked
    return (
        f"{counts[Sweep]} sweeps, {counts[Allocate]} arrays in memory, {counts[Fault]} faults to look for, {counts[Compute]} scalar steps; "
        f"{len(linked.code):,} bytes of code, {len(linked.data):,} of data for each thread, {linked.stack:,} of stack at most"
    )


def _count(steps: Sequence[Step], counts: Counter[type]) -> None:
    for step in steps:
        counts[type(step)] += 1
        if isinstance(step, While):
            _count([*step.head, *step.body], counts)
        elif isinstance(step, If):
            _count([*step.then, *step.otherwise], counts)
