"""The sum of ten shifted dot products, `sum((v1 + i) @ v2 for i in range(10))`, from 10 to 600 elements, float32.

Both vectors are inputs that are written at run time. Strict peers compute the ten products as written;
the fast group may use algebra (hotloop's fast=True, C with -ffast-math on the same loop and on the same
graph of scalar operations, Numba with fastmath). NumPy runs in its two usual forms. No data moves while timing.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import measure, peers, sides
from benchmarks.measure import Report, say
from benchmarks.sides import Side

Array = np.ndarray[Any, Any]
SIZES = (10, 60, 100, 300, 600)
TERMS = 10


def _data(size: int, shift: float = 0.0) -> tuple[Array, Array]:
    k = np.arange(size)
    return np.sin(k * 0.7 + shift).astype(np.float32), np.cos(k * 0.3 + shift).astype(np.float32)


def oracle(v1: Array, v2: Array) -> float:
    """Compute the sum in float64."""
    a, b = v1.astype(float), v2.astype(float)
    return float(sum((a + i) @ b for i in range(TERMS)))


def hotloop(size: int, *, fast: bool = False) -> Side:
    """The expression as written, on two input vectors of hotloop."""
    import hotloop as hl

    v1, v2 = (sides.hotloop_input(x, name) for x, name in zip(_data(size), ("v1", "v2"), strict=True))
    result = sum((v1 + i) @ v2 for i in range(TERMS))
    target = hl.Target(fast=fast)
    target.compile(result)

    def evaluate(x: Array) -> Array:
        target.write_value(v1, x[:size])
        target.write_value(v2, x[size:])
        target.run()
        return np.asarray(target.read_value(result))

    return Side(evaluate, target.run, target.run_many)


def copapy(size: int) -> Side:
    """The expression as written, on two vectors of Copapy's values."""
    import copapy as cp

    v1, v2 = (cp.vector([cp.value(float(x)) for x in data]) for data in _data(size))
    result = sum((v1 + i) @ v2 for i in range(TERMS))
    target = cp.Target()
    target.compile(result)

    def evaluate(x: Array) -> Array:
        target.write_value([*v1.values, *v2.values], x.tolist())
        target.run()
        return np.asarray(target.read_value(result))

    return Side(evaluate, target.run, peers.copapy_many(target))


LOOP = """
void step(const float *restrict x, float *restrict out) {
    const float *v1 = x, *v2 = x + %(n)d;
    float total = 0;
    for (int i = 0; i < 10; i++) {
        float sum = 0;
        for (int k = 0; k < %(n)d; k++) sum += (v1[k] + (float)i) * v2[k];
        total += sum;
    }
    out[0] = total;
}
"""


def _graph(size: int) -> str:
    """The same graph of scalar operations, one statement each: what a tracer of scalars hands to a C compiler."""
    loads = "".join(f"float a{k} = x[{k}], b{k} = x[{size + k}];\n" for k in range(size))
    terms = ""
    for i in range(TERMS):
        terms += f"float s{i} = (a0 + {i}.0f) * b0;\n"
        terms += "".join(f"s{i} += (a{k} + {i}.0f) * b{k};\n" for k in range(1, size))
    total = " + ".join(f"s{i}" for i in range(TERMS))
    return f"void step(const float *restrict x, float *restrict out) {{\n{loads}{terms}out[0] = {total};\n}}\n"


def c(size: int, *, flags: Sequence[str] = (), unrolled: bool = False, gcc: bool = False) -> Side:
    """The loops in C, or the same graph of scalar operations."""
    text = _graph(size) if unrolled else LOOP % {"n": size}
    built = peers.library(text, flags, compiler=peers.gcc() if gcc else peers.zig())
    return sides.native_side(peers.native(built, np.concatenate(_data(size)), 1))


def numba(size: int, *, fast: bool = False) -> Side:
    """The loops in Numba."""
    from numba import njit

    def loops(x: Array, out: Array) -> None:
        n = len(x) // 2
        total = np.float32(0)
        for i in range(TERMS):
            part = np.float32(0)
            for k in range(n):
                part += (x[k] + np.float32(i)) * x[n + k]
            total += part
        out[0] = total

    compiled = njit(fastmath=fast, error_model="numpy")(loops)
    return sides.numba_side(compiled, np.concatenate(_data(size)), 1)


def numpy(size: int, *, together: bool = True) -> Side:
    """NumPy: all ten shifts at once, `np.sum((v1 + i) @ v2)` with i of shape (10, 1), or as a Python sum."""
    v1, v2 = _data(size)
    shifts = np.arange(TERMS, dtype=np.float32)[:, None]

    def call() -> Any:
        return np.sum((v1 + shifts) @ v2) if together else sum((v1 + i) @ v2 for i in range(TERMS))

    def evaluate(x: Array) -> Array:
        v1[:], v2[:] = x[:size], x[size:]
        return np.asarray(call())

    return Side(evaluate, call)


GRAPHS = ("C -ffast-math, graph", "gcc -ffast-math, graph")
LOOPS, LOOPS_FROM = {"hotloop": "C", "hotloop fast": "C -ffast-math"}, 60
GROUPS: dict[str, tuple[str, Callable[[int], Side]]] = {
    "hotloop": ("hotloop", hotloop),
    "hotloop fast": ("hotloop", functools.partial(hotloop, fast=True)),
    "Copapy": ("copapy", copapy),
    "NumPy": ("numpy", numpy),
    "NumPy, as written": ("numpy", functools.partial(numpy, together=False)),
    "Numba": ("numba", numba),
    "Numba fastmath": ("numba", functools.partial(numba, fast=True)),
    "C": ("ziglang", c),
    "C -ffast-math": ("ziglang", functools.partial(c, flags=peers.FAST)),
    GRAPHS[0]: ("ziglang", functools.partial(c, flags=peers.FAST, unrolled=True)),
    GRAPHS[1]: ("numpy", functools.partial(c, flags=peers.FAST, unrolled=True, gcc=True)),
}


def _gather(size: int, options: argparse.Namespace) -> dict[str, Side]:
    found = {}
    for label, (package, build) in GROUPS.items():
        if not peers.installed(package) or not measure.wanted(label, options):
            continue
        side = sides.attempt(f"dot {size}, {label}", functools.partial(_checked, label, build, size))
        if side:
            found[label] = side
    return found


def _checked(label: str, build: Callable[[int], Side], size: int) -> Side:
    """Check three inputs; the tolerance is that of a float32 sum of 10 * size terms."""
    side = build(size)
    for shift in (0.5, 1.5, 0.0):
        v1, v2 = _data(size, shift)
        bound = 1e-6 * float(sum(np.abs((v1 + i) * v2).sum() for i in range(TERMS)))
        got = np.ravel(side.evaluate(np.concatenate([v1, v2])))
        measure.check_equal(f"dot {size}, {label}", got, [oracle(v1, v2)], rtol=0, atol=bound)
    return side


def _judge(report: Report, size: int, calls: dict[str, measure.Timing], steps: dict[str, measure.Timing]) -> None:
    if "hotloop" not in calls:
        return
    own = calls["hotloop"].us
    if "Copapy" in calls:
        report.at_least(f"{size}: run() faster than Copapy", calls["Copapy"].us / own, 10 if size == SIZES[-1] else 5, "x")
        report.at_least(f"{size}: machine code faster than Copapy's", steps["Copapy"].ns / steps["hotloop"].ns, 5, "x")
    for label in ("NumPy", "NumPy, as written"):
        if label in calls:
            report.at_least(f"{size}: run() faster than {label}", calls[label].us / own, 1, "x")
    for mine, peer in LOOPS.items() if size >= LOOPS_FROM else ():
        if mine in steps and peer in steps:
            report.at_most(f"{size}: {mine} beside the loops of {peer}", steps[mine].ns / steps[peer].ns, 1.15, "x")
    graphs = [steps[label].ns for label in GRAPHS if label in steps]
    if graphs and "hotloop fast" in steps:
        report.at_most(f"{size}: fast=True beside C -ffast-math on the graph", steps["hotloop fast"].ns / min(graphs), 1.0, "x")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return how many targets were missed."""
    options = measure.arguments(__doc__, argv)
    report = Report("dot: sum((v1 + i) @ v2 for i in range(10)), float32")
    report.open(peers.PACKAGES)
    for package in peers.missing(peers.PACKAGES):
        say(f"    {package} is not installed: left out")
    for size in SIZES[::2] if options.quick else SIZES:
        found = _gather(size, options)
        calls, steps = sides.measured(found, repeats=options.repeats)
        say(f"\n{size} elements\n{sides.table(calls, steps)}")
        _judge(report, size, calls, steps)
    return report.close()


if __name__ == "__main__":
    sys.exit(main() > 0)
