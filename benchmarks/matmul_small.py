"""Products of small matrices, 3x3 to 32x32, one and batches of 100, beside C loops of fixed sizes and NumPy, float32 and float64.

Traced programs on input matrices (native time of a step), and functions under hl.jit on NumPy arrays (time of a call). C is
what a library of fixed sizes such as Eigen amounts to: unrolled loops with constant bounds and restrict, a row of the result in
registers (of five forms tried the fastest at every size), by gcc -O3 -march=native, with vectors as wide as hotloop's, with and
without -ffast-math; ratios are to the faster one. NumPy: `@` and einsum, with out=.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import measure, peers, sides
from benchmarks.measure import Many, Report, Timing, say
from benchmarks.sides import Side

Array = np.ndarray[Any, Any]
SIZES = (3, 4, 6, 12, 32)
BATCHES = (1, 100)
DTYPES = ("float32", "float64")
PACKAGES = ("hotloop", "numpy")
C_LABELS, NUMPY_LABELS, OWN, FAST, JIT = ("C", "C fast-math"), ("NumPy @", "NumPy einsum"), "hotloop", "hotloop fast", "hotloop jit"


def _data(size: int, batch: int, dtype: str, shift: float = 0.0) -> Array:
    """Return both operands, (2, batch, size, size), or (2, size, size) where there is one product."""
    k = np.arange(2 * batch * size * size) + shift
    found: Array = np.sin(k * 0.7 + 0.1).astype(dtype)
    return found.reshape((2, size, size) if batch == 1 else (2, batch, size, size))


# ------------------------------------------------------------------------------------------------ sides


def hotloop(data: Array, *, fast: bool = False) -> Side:
    """The product of two input matrices, traced."""
    import hotloop as hl

    a, b = (hl.tensor.input(x, name=name) for x, name in zip(data, "ab", strict=True))
    result = a @ b
    target = hl.Target(fast=fast)
    target.compile(result)

    def evaluate(given: Array) -> Array:
        target.write_value(a, given[0])
        target.write_value(b, given[1])
        target.run()
        return np.asarray(target.read_value(result))

    return Side(evaluate, target.run, target.run_many, keep=[a, b])


def jitted(data: Array) -> Side:
    """The product under hl.jit, on NumPy arrays, into a given array."""
    import hotloop as hl

    def product(a: Any, b: Any) -> Any:
        return a @ b

    return _called("function(a, b, out=out)", hl.jit(product), data)


def numpy(data: Array, *, einsum: bool = False) -> Side:
    """NumPy's product into a given array."""
    if einsum:
        return _called("function('...ij,...jk->...ik', a, b, out=out)", np.einsum, data)
    return _called("function(a, b, out)", np.matmul, data)


def _called(call: str, function: Callable[..., Any], data: Array) -> Side:
    kept, out = data.copy(), np.empty_like(data[0])
    many: Many = measure.turns(call, {"function": function, "a": kept[0], "b": kept[1], "out": out})

    def evaluate(given: Array) -> Array:
        kept[:] = given
        out.fill(np.nan)
        many(1)
        return np.array(out)

    return Side(evaluate, functools.partial(many, 1), keep=[many])


C = """
void step(const %(kind)s *restrict x, %(kind)s *restrict out) {
    const %(kind)s *a = x, *b = x + %(batch)d * %(n)d * %(n)d;
    for (int t = 0; t < %(batch)d; t++, a += %(n)d * %(n)d, b += %(n)d * %(n)d, out += %(n)d * %(n)d)
        for (int i = 0; i < %(n)d; i++) {
            %(kind)s row[%(n)d] = {0};
            #pragma GCC unroll 32
            for (int k = 0; k < %(n)d; k++)
                #pragma GCC unroll 32
                for (int j = 0; j < %(n)d; j++) row[j] += a[i * %(n)d + k] * b[k * %(n)d + j];
            for (int j = 0; j < %(n)d; j++) out[i * %(n)d + j] = row[j];
        }
}
"""


def c(data: Array, *, flags: Sequence[str] = ()) -> Side:
    """Loops of fixed sizes in C."""
    size, batch = data.shape[-1], data[0].size // data.shape[-1] ** 2
    kind = "float" if data.dtype == np.float32 else "double"
    text = C % {"kind": kind, "n": size, "batch": batch}
    built = peers.library(text, (*flags, *peers.same_width()), compiler=peers.c_compiler())
    address = ctypes.cast(built.step, ctypes.c_void_p).value
    assert address
    step = peers.Native(address, np.ravel(data).copy(), np.zeros(data[0].size, data.dtype), built)
    side = sides.native_side(step)
    return Side(lambda given: side.evaluate(np.ravel(given)).reshape(data[0].shape), side.call, side.many, keep=[side])


BUILDS: dict[str, tuple[str, Callable[[Array], Side]]] = {
    OWN: ("hotloop", hotloop),
    FAST: ("hotloop", functools.partial(hotloop, fast=True)),
    JIT: ("hotloop", jitted),
    C_LABELS[0]: ("numpy", c),
    C_LABELS[1]: ("numpy", functools.partial(c, flags=peers.FAST)),
    NUMPY_LABELS[0]: ("numpy", numpy),
    NUMPY_LABELS[1]: ("numpy", functools.partial(numpy, einsum=True)),
}


# ------------------------------------------------------------------------------------------- measuring


def _checked(name: str, build: Callable[[Array], Side], data: Array, again: Array) -> Side:
    """Build one side and check it on two inputs against the product in float64."""
    side = build(data)
    for given in (again, data):
        a, b = given.astype(float)
        allowed = float(np.finfo(data.dtype).eps) * data.shape[-1]
        measure.check_equal(name, side.evaluate(given), a @ b, rtol=0, atol=2 * allowed)
    return side


def _gather(size: int, batch: int, dtype: str, options: argparse.Namespace) -> dict[str, Side]:
    data, again = (_data(size, batch, dtype, shift) for shift in (0.0, 0.5))
    found = {}
    for label, (package, build) in BUILDS.items():
        if peers.installed(package) and measure.wanted(label, options):
            name = f"{label}, {batch} of {size}x{size}, {dtype}"
            side = sides.attempt(name, functools.partial(_checked, name, build, data, again))
            if side:
                found[label] = side
    return found


Times = dict[str, Timing]


def _times(found: dict[str, Side], options: argparse.Namespace) -> tuple[Times, Times]:
    if options.quick:
        return sides.measured(found, repeats=measure.LEAST_REPEATS, sample_s=0.0005)
    return sides.measured(found, repeats=options.repeats)


def _best(times: Times, labels: Sequence[str]) -> float | None:
    found = [times[label].ns for label in labels if label in times]
    return min(found) if found else None


def _ratio(own: float | None, peer: float | None) -> float | None:
    return own / peer if own and peer else None


HEADS = (
    "product",
    "",
    OWN,
    FAST,
    *C_LABELS,
    "spread",
    "/C",
    "fast/C",
    f"{OWN}, call",
    f"{JIT}, call",
    *NUMPY_LABELS,
    "/NumPy",
    "jit/NumPy",
)


def _row(name: str, dtype: str, calls: Times, steps: Times) -> tuple[list[object], dict[str, float | None]]:
    """Lay out one product, in nanoseconds; the ratios also by their heads."""
    own, fast, jit = (_best(times, [label]) for times, label in ((steps, OWN), (steps, FAST), (calls, JIT)))
    run, c, numpy = _best(calls, [OWN]), _best(steps, C_LABELS), _best(calls, NUMPY_LABELS)
    step = {"/C": _ratio(own, c), "fast/C": _ratio(fast, c)}
    call = {"/NumPy": _ratio(run, numpy), "jit/NumPy": _ratio(jit, numpy)}
    spread = sides.percent(steps[OWN]) if OWN in steps else "-"
    times = [_best(steps, [label]) for label in C_LABELS]
    numpys = [_best(calls, [label]) for label in NUMPY_LABELS]
    return [name, dtype, own, fast, *times, spread, *step.values(), run, jit, *numpys, *call.values()], step | call


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return how many targets were missed."""
    options = measure.arguments(__doc__, argv)
    report = Report("matmul_small: products of small matrices")
    report.open(PACKAGES)
    rows = []
    for batch in BATCHES:
        ratios: dict[str, dict[str, float]] = {}
        for size, dtype in itertools.product(SIZES[::2] if options.quick else SIZES, DTYPES):
            found = _gather(size, batch, dtype, options)
            name = f"{size}x{size}" if batch == 1 else f"{batch} of {size}x{size}"
            row, beside = _row(name, dtype, *_times(found, options))
            rows.append(row)
            for head, ratio in beside.items():
                if ratio:
                    ratios.setdefault(head, {})[f"{name} {dtype}"] = ratio
        for head, found_ratios in ratios.items():
            report.worst(f"{'one product' if batch == 1 else f'{batch} products'}: {'hotloop' * (head[0] == '/')}{head}", found_ratios, 1.0)
    say(f"\nnanoseconds: steps of native code, then calls from Python\n{measure.table(HEADS, rows)}")
    return report.close()


if __name__ == "__main__":
    sys.exit(main() > 0)
