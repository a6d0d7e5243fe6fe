"""Time to trace and compile programs of 10 to a million scalar operations, float32, as a user sees it.

The program is a fixed pseudo-random mix of + - * and square roots over 24 inputs and 16 constants, in which
every value is used and a few dozen are alive at a time; trace is Python executing it on traced values,
compile is Target.compile and the first run. The garbage collector stays on. hotloop must give the bits
of NumPy's float32, the peers 2e-3 (CasADi regroups); what is not used elsewhere is an output.
"""

from __future__ import annotations

import functools
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import measure, peers, sides
from benchmarks.measure import Report, Timing, say

Array = np.ndarray[Any, Any]
Scalar = Any  # a float, or a traced scalar of any of the peers

INPUTS, CONSTANTS, ALIVE = 24, 16, 40
SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
MOST = {"Copapy": 3_000, "CasADi + C compiler": 30_000}
EXTRA = {"Copapy": (3_000,), "CasADi + C compiler": (30_000,)}
LIMIT_S = 120.0

ADD, SUBTRACT, MULTIPLY, SQRT, SHIFT, SCALE = range(6)
Plan = list[tuple[int, int, int]]


def inputs() -> list[float]:
    """Return the first values of the inputs, exact in float32."""
    return [float(np.float32(0.5 + 0.06 * k)) for k in range(INPUTS)]


def constants() -> list[float]:
    """Return the constants, exact in float32: half of them between 0.3 and 0.9, half between -1 and 1."""
    return [float(np.float32(0.3 + 0.08 * k if k < 8 else (k - 12) * 0.23 + 0.1)) for k in range(CONSTANTS)]


@functools.cache
def plan(size: int) -> tuple[Plan, list[int]]:
    """Return the operations as (kind, place, place or constant) and the places of the outputs.

    Each operation takes one value that was never used when more than ALIVE of them wait, so that none is dead.
    Kinds are chosen by the values at hand so that magnitudes stay between 1/64 and 1.5, where rounding errors fade instead of growing.
    """
    choose = random.Random(size)
    numbers, values = _float32(constants()), _float32(inputs())
    waiting = list(range(INPUTS))
    steps: Plan = []
    while len(steps) < size:
        a = waiting.pop(choose.randrange(len(waiting))) if len(waiting) > ALIVE or choose.random() < 0.5 else _recent(choose, values)
        b = _recent(choose, values)
        kind, b, result = _fitting(choose, values, numbers, a, b)
        steps.append((kind, a, b))
        waiting = [place for place in waiting if place != a and (kind > MULTIPLY or place != b)]
        waiting.append(len(values))
        values.append(result)
    return steps, [place for place in waiting if place >= INPUTS]


def _float32(numbers: Sequence[float]) -> list[Scalar]:
    return [np.float32(x) for x in numbers]


def _recent(choose: random.Random, values: Sequence[Scalar]) -> int:
    return max(0, len(values) - 1 - choose.randrange(ALIVE))


def _fitting(choose: random.Random, values: Sequence[Scalar], numbers: Sequence[Scalar], a: int, b: int) -> tuple[int, int, Scalar]:
    x, y = values[a], values[b]
    for kind in choose.choices(range(6), weights=(3, 3, 5, 1, 2, 4), k=3):
        constant = choose.randrange(CONSTANTS)
        if kind == SQRT and x < 0.25:
            continue
        number = numbers[constant]
        result = (x + y, x - y, x * y, np.sqrt(abs(x)), x + number, x * number)[kind]
        if 1 / 64 < abs(result) < 1.5:
            return kind, constant if kind > MULTIPLY else b, result
    if abs(x) > 1:
        return SCALE, 0, x * numbers[0]
    return SHIFT, 7, x + numbers[7]


def execute(steps: Plan, values: Sequence[Scalar], numbers: Sequence[Scalar], sqrt: Callable[[Scalar], Scalar]) -> list[Scalar]:
    """Run the plan on numbers or on traced scalars."""
    done = list(values)
    push = done.append
    for kind, a, b in steps:
        if kind == ADD:
            push(done[a] + done[b])
        elif kind == SUBTRACT:
            push(done[a] - done[b])
        elif kind == MULTIPLY:
            push(done[a] * done[b])
        elif kind == SCALE:
            push(done[a] * numbers[b])
        elif kind == SHIFT:
            push(done[a] + numbers[b])
        else:
            push(sqrt(done[a]))
    return done


def oracle(size: int) -> Array:
    """Return the outputs in NumPy's float32."""
    steps, places = plan(size)
    done = execute(steps, _float32(inputs()), _float32(constants()), np.sqrt)
    return np.array([done[place] for place in places], np.float32)


@dataclass(frozen=True, slots=True)
class Compiled:
    """Seconds of one compilation, and the results of the first run."""

    trace: float
    compile: float
    results: Array


def hotloop(size: int) -> Compiled:
    """Trace and compile by hotloop, strict."""
    import hotloop as hl

    steps, places = plan(size)
    start = time.perf_counter()
    done = execute(steps, [hl.value(x) for x in inputs()], constants(), hl.sqrt)
    outputs = [done[place] for place in places]
    traced = time.perf_counter()
    target = hl.Target()
    target.compile(outputs)
    target.run()
    return Compiled(traced - start, time.perf_counter() - traced, sides.numbers(target.read_value(outputs)))


def copapy(size: int) -> Compiled:
    """Trace and compile by Copapy."""
    import copapy as cp

    steps, places = plan(size)
    start = time.perf_counter()
    done = execute(steps, [cp.value(x) for x in inputs()], constants(), cp.sqrt)
    outputs = [done[place] for place in places]
    traced = time.perf_counter()
    target = cp.Target()
    target.compile(outputs)
    target.run()
    return Compiled(traced - start, time.perf_counter() - traced, np.array(target.read_value(outputs), np.float32))


def casadi(size: int) -> Compiled:
    """Trace by CasADi (SX), write C, compile it with gcc -O3 and load it."""
    import casadi as ca

    steps, places = plan(size)
    start = time.perf_counter()
    x = ca.SX.sym("x", INPUTS)
    done = execute(steps, ca.vertsplit(x), constants(), ca.sqrt)
    function = ca.Function("step", [x], [ca.vertcat(*[done[place] for place in places])])
    traced = time.perf_counter()
    flags = (*peers.REALLY_FLOAT, "-ffp-contract=off")
    call, _, out, _ = sides.casadi_step(function, np.array(inputs(), np.float32), flags, None, limit_s=LIMIT_S)
    call()
    return Compiled(traced - start, time.perf_counter() - traced, out)


def python(size: int) -> Compiled:
    """Execute the same plan on Python floats: what the interpreter alone needs for the trace."""
    steps, _ = plan(size)
    start = time.perf_counter()
    execute(steps, inputs(), constants(), math.sqrt)
    return Compiled(time.perf_counter() - start, 0.0, oracle(size))


SIDES: dict[str, tuple[str, Callable[[int], Compiled]]] = {
    "hotloop": ("hotloop", hotloop),
    "Copapy": ("copapy", copapy),
    "CasADi + C compiler": ("casadi", casadi),
    "Python alone": ("numpy", python),
}


def _checked(label: str, build: Callable[[int], Compiled], size: int) -> Compiled:
    one, want = build(size), oracle(size)
    if one.results.tobytes() != want.tobytes():
        tolerance = 0.0 if label == "hotloop" else 2e-3
        measure.check_equal(label, one.results, want, rtol=tolerance, atol=tolerance or 1e-30)
    return one


def _measure(label: str, build: Callable[[int], Compiled], size: int, repeats: int) -> tuple[Timing, Timing] | None:
    """Compile repeatedly, checking the bits each time; fewer than seven samples where one is long."""
    trace: list[float] = []
    total: list[float] = []
    begun = time.perf_counter()
    while len(trace) < repeats and (not trace or time.perf_counter() - begun < 20):
        one = sides.attempt(f"{size} operations, {label}", functools.partial(_checked, label, build, size))
        if one is None:
            return None
        trace.append(one.trace)
        total.append(one.trace + one.compile)
    return measure.timing(trace), measure.timing(total)


def _warm(chosen: Sequence[str]) -> None:
    for label in chosen:
        sides.attempt(label, functools.partial(SIDES[label][1], 10))


def _sizes(label: str, quick: bool) -> list[int]:
    most = min(MOST.get(label, SIZES[-1]), 10_000 if quick else SIZES[-1])
    return sorted({size for size in (*SIZES, *EXTRA.get(label, ())) if size <= most})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return how many targets were missed."""
    options = measure.arguments(__doc__, argv)
    report = Report("compile: trace + compile time over program size, float32 scalars")
    report.open(peers.PACKAGES)
    chosen = [label for label, (package, _) in SIDES.items() if peers.installed(package) and measure.wanted(label, options)]
    _warm(chosen)
    rows: list[list[object]] = []
    cost: dict[int, float] = {}
    for label in chosen:
        for size in _sizes(label, options.quick):
            found = _measure(label, SIDES[label][1], size, measure.LEAST_REPEATS)
            if found is None:
                break
            trace, total = found
            each = total.us / size
            rows.append([label, f"{size:,}", trace.ms, total.ms - trace.ms, each, sides.percent(total), str(total.samples)])
            if label == "hotloop":
                cost[size] = each
    say("\n" + measure.table(["", "operations", "trace ms", "compile ms", "us an op", "spread", "samples"], rows))
    for size in [size for size in cost if size >= 1_000]:
        report.at_most(f"{size:,} operations: trace + compile an operation", cost[size], 5, " us")
    if len(cost) > 4:
        largest = max(cost)
        report.at_most(f"linear: cost at {largest:,} beside 10,000", cost[largest] / cost[10_000], 1.5, "x")
    return report.close()


if __name__ == "__main__":
    sys.exit(main() > 0)
