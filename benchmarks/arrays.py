"""Array functions by call overhead, reductions and layouts of operands, beside NumPy and Numba, on one core.

hotloop: functions under hl.jit on NumPy arrays; results that are arrays go to given arrays everywhere. Layouts are views made
before the call: every second element, backwards, transposed, rows and columns broadcast. Numba: loops, strict and fastmath,
compiled for each layout; the faster one is in the ratio. Checked against NumPy in float64.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import measure, peers, sides
from benchmarks.fused import environment
from benchmarks.measure import Many, Report, Timing, say

Array = np.ndarray[Any, Any]
SIDES = (100, 1000)  # of square matrices; vectors have as many elements
DTYPES = ("float32", "float64")
PACKAGES = ("hotloop", "numpy", "numba")
FUNCTIONS = ("sum", "prod", "min", "argmin", "mean", "dot")
NUMBAS = ("Numba", "Numba fast")
CALL = "call"
Found = dict[tuple[int, str, int], dict[str, Timing]]  # by the number of the case, the type and the side


def _vectors(side: int, dtype: str) -> list[Array]:
    random = np.random.default_rng(9)
    return [random.standard_normal(side * side).astype(dtype) for _ in range(3)]


def _halves(side: int, dtype: str) -> list[Array]:
    return [np.repeat(x, 2)[::2] for x in _vectors(side, dtype)[:2]]


def _backwards(side: int, dtype: str) -> list[Array]:
    a, b, _ = _vectors(side, dtype)
    return [a[::-1], b]


def _matrices(side: int, dtype: str) -> list[Array]:
    return [x.reshape(side, side) for x in _vectors(side, dtype)[:2]]


def _transposed(side: int, dtype: str) -> list[Array]:
    a, b = _matrices(side, dtype)
    return [a.T, b]


def _row(side: int, dtype: str) -> list[Array]:
    a, b = _matrices(side, dtype)
    return [a, b[:1]]


def _column(side: int, dtype: str) -> list[Array]:
    a, b = _matrices(side, dtype)
    return [a, np.ascontiguousarray(b[:, :1])]


Operands = Callable[[int, str], list[Array]]


@dataclass(frozen=True, slots=True)
class Case:
    """A function: as text for hotloop and for the oracle, as a call of NumPy's, and as the loops of Numba."""

    title: str
    text: str
    operands: Operands
    count: int  # of the operands that it has
    numpy: str
    loops: str
    kind: str = ""  # CALL: at 100 elements too

    def names(self, side: int, dtype: str) -> dict[str, Array]:
        """Return the operands by name."""
        return dict(zip("abc"[: self.count], self.operands(side, dtype), strict=False))


_EACH = "for i in range(len(a)): "
_RUNNING = "total = a[0] * 0\n    for i in range(len(a)): total += {0}\n    return total{1}"
_PAIRS = "for i in range(out.shape[0]):\n        for j in range(out.shape[1]): out[i, j] = a[i, j] + b[{0}]"
_BY_AXIS = "out[:] = 0\n    for i in range(a.shape[0]):\n        for j in range(a.shape[1]): out[{0}] += a[i, j]"
_LEAST = "place = 0\n    for i in range(len(a)):\n        if a[i] < a[place]: place = i\n    return "

CASES = (
    Case("a + b * c", "a + b * c", _vectors, 3, "np.add(a, np.multiply(b, c, out), out)", f"{_EACH}out[i] = a[i] + b[i] * c[i]", CALL),
    Case("sum(a)", "sum(a)", _vectors, 1, "np.sum(a)", _RUNNING.format("a[i]", "")),
    Case("mean(a)", "mean(a)", _vectors, 1, "np.mean(a)", _RUNNING.format("a[i]", " / len(a)")),
    Case("dot(a, b)", "dot(a, b)", _vectors, 2, "np.dot(a, b)", _RUNNING.format("a[i] * b[i]", "")),
    Case("min(a)", "min(a)", _vectors, 1, "np.min(a)", f"{_LEAST}a[place]"),
    Case("argmin(a)", "argmin(a)", _vectors, 1, "np.argmin(a)", f"{_LEAST}place"),
    Case("sum, axis 0", "sum(a, axis=0)", _matrices, 1, "np.sum(a, axis=0, out=out)", _BY_AXIS.format("j")),
    Case("sum, axis 1", "sum(a, axis=1)", _matrices, 1, "np.sum(a, axis=1, out=out)", _BY_AXIS.format("i")),
    Case("a[::2] + b[::2]", "a + b", _halves, 2, "np.add(a, b, out)", f"{_EACH}out[i] = a[i] + b[i]"),
    Case("a[::-1] + b", "a + b", _backwards, 2, "np.add(a, b, out)", f"{_EACH}out[i] = a[i] + b[i]"),
    Case("a.T + b", "a + b", _transposed, 2, "np.add(a, b, out)", _PAIRS.format("i, j")),
    Case("a + row", "a + b", _row, 2, "np.add(a, b, out)", _PAIRS.format("0, j")),
    Case("a + column", "a + b", _column, 2, "np.add(a, b, out)", _PAIRS.format("i, 0")),
)


# ------------------------------------------------------------------------------------------------ sides


def _function(case: Case, body: str, extra: str, space: Mapping[str, Any]) -> Any:
    place = dict(space)
    exec(f"def function({', '.join('abc'[: case.count])}{extra}):\n    {body}\n", place)
    return place["function"]


def _arguments(case: Case) -> str:
    return ", ".join("abc"[: case.count])


def hotloop(case: Case, names: Mapping[str, Array], out: Array | None) -> Many:
    """The case under hl.jit."""
    import hotloop as hl

    written = _function(case, f"return {case.text}", "", {name: getattr(hl, name) for name in FUNCTIONS})
    given = "" if out is None else ", out=out"
    return measure.turns(f"function({_arguments(case)}{given})", {"function": hl.jit(written), **names, "out": out})


def numpy(case: Case, names: Mapping[str, Array], out: Array | None) -> Many:
    """NumPy's function into a given array."""
    return measure.turns(case.numpy, {"np": np, **names, "out": out})


def numba(case: Case, names: Mapping[str, Array], out: Array | None, *, fast: bool = False) -> Many:
    """Loops in Numba."""
    from numba import njit

    given = "" if out is None else ", out"
    compiled = njit(error_model="numpy", fastmath=fast)(_function(case, case.loops, given, {}))
    return measure.turns(f"function({_arguments(case)}{given})", {"function": compiled, **names, "out": out})


BUILDS: dict[str, tuple[str, Callable[..., Many]]] = {
    "hotloop": ("hotloop", hotloop),
    "NumPy": ("numpy", numpy),
    NUMBAS[0]: ("numba", numba),
    NUMBAS[1]: ("numba", functools.partial(numba, fast=True)),
}


# ------------------------------------------------------------------------------------------- measuring


def _bound(case: Case, dtype: str, operands: Mapping[str, Array], want: Array) -> float:
    """Return the error that is allowed: of the largest element, or of the sum of sizes where the elements are summed."""
    summed = ("sum", "mean", "dot")
    terms = math.prod((np.abs(x.astype(float)) for x in operands.values()), start=np.float64(1))
    largest = terms.sum() / max(want.size, 1) if case.text.startswith(summed) else np.abs(want).max()
    share = 1 / terms.size if case.text.startswith("mean") else 1
    return float(16 * np.finfo(dtype).eps * largest * share)


def _checked(name: str, build: Callable[..., Many], case: Case, dtype: str, side: int) -> Many:
    operands = case.names(side, dtype)
    doubles = {key: x.astype(float) for key, x in operands.items()}
    want = np.asarray(eval(case.text, {key: getattr(np, key) for key in FUNCTIONS}, doubles))
    out = np.full(want.shape, np.nan, dtype) if want.ndim else None
    many = build(case, operands, out)
    got = many(1)
    measure.check_equal(name, got if out is None else out, want, rtol=0, atol=_bound(case, dtype, operands, want))
    return many


def measured(cases: Sequence[int], sides_of: Sequence[int], options: argparse.Namespace) -> Found:
    """Time cases by number; called in a process of its own, with one thread for every peer."""
    found = {}
    if peers.installed("hotloop"):
        import hotloop as hl

        hl.set_threads(1)  # type: ignore[attr-defined, unused-ignore]
    for number, dtype in ((number, dtype) for number in cases for dtype in DTYPES):
        case = CASES[number]
        for side in (10, *sides_of) if case.kind == CALL else sides_of:
            loops: dict[str, Many] = {}
            for label, (package, build) in BUILDS.items():
                name = f"{label}, {case.title}, {dtype}, {side * side:,}"
                if peers.installed(package) and measure.wanted(label, options):
                    many = sides.attempt(name, functools.partial(_checked, name, build, case, dtype, side))
                    loops |= {label: many} if many else {}
            found[number, dtype, side] = measure.interleaved(loops, repeats=options.repeats)
    return found


def _beside(times: Mapping[str, Timing], labels: Sequence[str]) -> float | None:
    found = [times[label].median for label in labels if label in times]
    return times["hotloop"].median / min(found) if found and "hotloop" in times else None


def _table(found: Found) -> str:
    rows = []
    for (number, dtype, side), times in found.items():
        labels = [times[label].us if label in times else None for label in BUILDS]
        spread = sides.percent(times["hotloop"]) if "hotloop" in times else "-"
        rows.append([CASES[number].title, dtype, f"{side * side:,}", *labels, spread, _beside(times, ["NumPy"]), _beside(times, NUMBAS)])
    return measure.table(["", "", "n", *BUILDS, "spread", "/NumPy", "/Numba"], rows)


def _judge(report: Report, found: Found) -> None:
    for number, case in enumerate(CASES):
        own = {f"{dtype} {side * side:,}": times for (of, dtype, side), times in found.items() if of == number}
        ratios = {place: ratio for place, times in own.items() if (ratio := _beside(times, ["NumPy"]))}
        report.worst(f"{case.title}: beside NumPy", ratios, 1.0)
        if case.kind == CALL:
            for place in [place for place in own if place.endswith(" 100") and "hotloop" in own[place]]:
                report.at_most(f"{case.title}, {place}: a call into a given array", own[place]["hotloop"].us, 1.0, " us")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return how many targets were missed."""
    options = measure.arguments(__doc__, argv)
    report = Report("arrays: calls, reductions and layouts of array functions, one core")
    report.open(PACKAGES)
    if options.quick:
        options.repeats = measure.LEAST_REPEATS
    for package in peers.missing(PACKAGES):
        say(f"    {package} is not installed: left out")
    found = measure.isolated(measured, environment(1), range(len(CASES)), SIDES[:1] if options.quick else SIDES, options)
    say("\nmicroseconds\n" + _table(found))
    _judge(report, found)
    return report.close()


if __name__ == "__main__":
    sys.exit(main() > 0)
