"""Fused array expressions beside C with vector mathematics, Numba, JAX, numexpr and NumPy: float32 and float64, 100 to 10,000,000 elements.

Results go to given arrays (sums are numbers). C is gcc -O3 -march=native -ffast-math, whose functions are libmvec's, called
by ctypes with prepared pointers. It is kept to vectors as wide as hotloop's, AVX2; where the machine has AVX-512, "C AVX-512"
is the same with them. "C strict" is the loop without -ffast-math; ratios to C are to the faster one. "fast" is fast=True.
Every peer is checked against NumPy in float64 at every size before it is timed. One core first, then two, each in a
process of its own. First results are of functions and constants that no peer has seen, at 100 elements.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks import expressions, measure, peers, sides
from benchmarks.expressions import C_ONE_CORE, C_WIDER, DTYPES, EXPRESSIONS, ONE_CORE, Expression, Peer
from benchmarks.measure import Many, Report, Timing, say

Array = np.ndarray[Any, Any]
SIZES = (100, 10_000, 1_000_000, 10_000_000)
PARALLEL_SIZES = SIZES[2:]
ULPS = 16  # that errors may have, of the largest element: libmvec's functions have up to 4
COMPUTED = ("sine", "total")  # not bound by memory while they fit the caches
FIRSTS = 7


class Cell(NamedTuple):
    """What one figure is of."""

    expression: str
    dtype: str
    size: int
    label: str


Found = dict[Cell, Timing]


def environment(cores: int) -> dict[str, str]:
    """Return the variables that hold every peer to so many cores."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "HOTLOOP")
    found = {f"{name}_NUM_THREADS": str(cores) for name in names} | {"NPROC": str(cores)}
    if cores == 1:
        return found | {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    # OpenMP's threads wait busily for more work: long enough for the next call, too short to disturb the next peer
    return found | {"GOMP_SPINCOUNT": "20000"}


# --------------------------------------------------------------------------------------------- measuring


def _data(largest: int, dtype: str) -> tuple[list[Array], Array]:
    random = np.random.default_rng(3)
    return [random.standard_normal(largest).astype(dtype) for _ in range(3)], np.empty(largest, dtype)


def _contenders(cores: int, largest: int, options: argparse.Namespace) -> dict[str, Peer]:
    found = {}
    for label, (package, make) in expressions.contenders(cores, largest).items():
        if peers.installed(package) and measure.wanted(label, options):
            peer = make() if package == "hotloop" else sides.attempt(label, make)
            if peer:
                found[label] = peer
    return found


def _checked(name: str, many: Many, out: Array, expression: Expression, want: Any, scale: float) -> bool:
    out.fill(np.nan)
    got = many(1)
    got = out if got is None else got
    allowed = ULPS * float(np.finfo(out.dtype).eps) * scale
    measure.check_equal(name, got if expression.reduces else np.asarray(got), want, rtol=0, atol=allowed)
    return True


Built = Mapping[str, tuple[Peer, Any]]


def _cell(expression: Expression, functions: Built, arrays: Sequence[Array], out: Array, repeats: int) -> dict[str, Timing]:
    """Check and time all peers on one expression, type and size."""
    want, scale = expressions.oracle(expression, arrays)
    loops, before = {}, {}
    for label, (peer, function) in functions.items():
        many = measure.turns(peer.text(expression), {"function": function} | peer.names(expression, arrays, out))
        if peer.before:
            peer.before()
            before[label] = peer.before
        name = f"{expression.title}, {out.dtype}, {len(out):,}, {label} of {peer.package}"
        check = functools.partial(_checked, name, many, out, expression, want, scale)
        if sides.attempt(name, check):
            loops[label] = many
    return measure.interleaved(loops, repeats=repeats, before=before)


def _built(contenders: Mapping[str, Peer], expression: Expression, dtype: str) -> dict[str, tuple[Peer, Any]]:
    found = {}
    for label, peer in contenders.items():
        function = sides.attempt(f"{label} of {peer.package}", functools.partial(peer.build, peer.define(expression, dtype)))
        if function:
            found[label] = (peer, function)
    return found


def measured(cores: int, sizes: Sequence[int], dtypes: Sequence[str], options: argparse.Namespace) -> tuple[Found, Found]:
    """Time all cells on so many cores, and, on one, the first results; called in a process of its own."""
    np.seterr(all="ignore")
    contenders = _contenders(cores, max(sizes), options)
    found, firsts = Found(), Found()
    for dtype in dtypes:
        operands, result = _data(max(sizes), dtype)
        for expression in EXPRESSIONS:
            functions = _built(contenders, expression, dtype)
            for size in sizes:
                arrays = [x[:size] for x in operands[: len(expression.operands)]]
                repeats = options.repeats if size <= 1_000_000 else measure.LEAST_REPEATS
                timed = _cell(expression, functions, arrays, result[:size], repeats)
                found |= {Cell(expression.name, dtype, size, label): one for label, one in timed.items()}
            if cores == 1:
                arrays = [x[:100] for x in operands[: len(expression.operands)]]
                for label in [label for label in functions if label != "NumPy"]:
                    first = functools.partial(_first, contenders[label], expression, dtype, arrays)
                    if one := sides.attempt(f"{label} of {contenders[label].package}", first):
                        firsts[Cell(expression.name, dtype, 100, label)] = one
        say(f"    {dtype}, {cores} cores: measured")
    return found, firsts


_factors: Iterator[int] = itertools.count(3)


def _first(peer: Peer, expression: Expression, dtype: str, arrays: Sequence[Array]) -> Timing:
    """Time from a new function, or a new text, to its result."""
    out = np.empty(len(arrays[0]), dtype)
    call = compile(peer.text(expression), "call", "eval")
    names = peer.names(expression, arrays, out)
    samples: list[float] = []
    while len(samples) < FIRSTS and sum(samples) < 0.5:
        defined = peer.define(expression.scaled(next(_factors)), dtype)
        if peer.before:
            peer.before()
        start = time.perf_counter()
        function = peer.build(defined)
        eval(call, {"function": function, **names})
        samples.append(time.perf_counter() - start)
        names = peer.names(expression, arrays, out)  # JAX's given array is gone
    return measure.timing(samples)


# ------------------------------------------------------------------------------------------- reporting


def _of(found: Found, expression: str, dtype: str, size: int) -> dict[str, Timing]:
    return {cell.label: one for cell, one in found.items() if cell[:3] == (expression, dtype, size)}


def _ratio(row: Mapping[str, Timing], own: str, *labels: str) -> float | None:
    """Return own's time beside the best of some peers."""
    times = [row[label].median for label in labels if label in row]
    return row[own].median / min(times) if times and own in row else None


BESIDE = {"/C": ("C", "C strict"), "/AVX-512": (C_WIDER,), "/Numba": ("Numba", "Numba fast"), "/JAX": ("JAX",)}


def _rows(found: Found, expression: Expression) -> list[tuple[str, int, dict[str, Timing]]]:
    places = dict.fromkeys(cell[1:3] for cell in found if cell.expression == expression.name)
    return [(dtype, size, _of(found, expression.name, dtype, size)) for dtype, size in places]


def _table(found: Found, expression: Expression) -> str:
    """Lay out one expression: microseconds of every peer, hotloop's spread, and ratios."""
    labels = list(dict.fromkeys(cell.label for cell in found))
    heads = [head for head, names in BESIDE.items() if any(name in labels for name in names)]
    rows = []
    for dtype, size, row in _rows(found, expression):
        times = [row[label].us if label in row else None for label in labels]
        spread = sides.percent(row["hotloop"]) if "hotloop" in row else "-"
        ratios = [_ratio(row, "hotloop", *BESIDE[head]) for head in heads]
        rows.append([dtype, f"{size:.0e}", *times, spread, *ratios, _ratio(row, "fast", "C")])
    return measure.table([expression.title, "n", *labels, "spread", *heads, "fast/C"], rows)


def _judge(report: Report, found: Found, expression: Expression) -> None:
    """Hold the worst size of each type against the targets: 1.1 times C, ahead of Numba and JAX."""
    for dtype in DTYPES:
        rows = [(size, row) for kind, size, row in _rows(found, expression) if kind == dtype]
        for own, limits in (("hotloop", {"/C": 1.1, "/Numba": 1.0, "/JAX": 1.0}), ("fast", {"/C": 1.1})):
            for head, limit in limits.items():
                ratios = {f"{size:.0e}": ratio for size, row in rows if (ratio := _ratio(row, own, *BESIDE[head]))}
                report.worst(f"{expression.title}, {dtype}: {own}{head}", ratios, limit)


def _report_firsts(report: Report, firsts: Found) -> None:
    labels = list(dict.fromkeys(cell.label for cell in firsts))
    rows = []
    for expression, dtype in itertools.product(EXPRESSIONS, DTYPES):
        row = _of(firsts, expression.name, dtype, 100)
        if row:
            rows.append([expression.title, dtype, *(row[label].ms if label in row else None for label in labels)])
            if "hotloop" in row:
                report.at_most(f"{expression.title}, {dtype}: first result", row["hotloop"].ms, 1.0, " ms")
    say("\nms to the first result of a new expression\n" + measure.table(["", "", *labels], rows))


def _report_parallel(report: Report, found: Found) -> None:
    """Print what the second core brings, and hold it against the target where memory is not the limit."""
    rows = []
    for expression in EXPRESSIONS:
        say("\n" + _table(found, expression))
        for dtype, size, row in _rows(found, expression):
            own, c = _ratio(row, ONE_CORE, "hotloop"), _ratio(row, C_ONE_CORE, "C")
            rows.append([expression.title, dtype, f"{size:.0e}", own, c])
            if own and expression.name in COMPUTED and size == PARALLEL_SIZES[0]:
                report.at_least(f"{expression.title}, {dtype}, {size:.0e}: faster by the second core", own, 1.7, "x")
    say("\nfaster by the second core\n" + measure.table(["", "", "n", "hotloop", "C with OpenMP"], rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return how many targets were missed."""
    options = measure.arguments(__doc__, argv)
    report = Report("fused: array expressions into given outputs")
    report.open(peers.ARRAY_PACKAGES)
    for package in peers.missing(peers.ARRAY_PACKAGES):
        say(f"    {package} is not installed: left out")
    if options.quick:
        options.repeats = measure.LEAST_REPEATS
    sizes, parallel = (SIZES[:3], PARALLEL_SIZES[:1]) if options.quick else (SIZES, PARALLEL_SIZES)
    found, firsts = measure.isolated(measured, environment(1), 1, sizes, DTYPES, options)
    say("\nmicroseconds, one core")
    for expression in EXPRESSIONS:
        say("\n" + _table(found, expression))
        _judge(report, found, expression)
    _report_firsts(report, firsts)
    say(f"\nmicroseconds, two cores (load {os.getloadavg()[0]:.1f} before)")
    found, _ = measure.isolated(measured, environment(2), 2, parallel, DTYPES[:1] if options.quick else DTYPES, options)
    _report_parallel(report, found)
    return report.close()


if __name__ == "__main__":
    sys.exit(main() > 0)
