"""What `benchmarks.parallel` measures: operands and results of each function by size, and the same in NumPy, which is the oracle.

The name of a case is that of its function in `parallel_hotloop`, `parallel_numba` and `parallel_c`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SIZES = (10_000, 1_000_000, 10_000_000)
EXACT = 0.0


@dataclass(slots=True)
class Data:
    """Arguments of a function: operands, then for loops what they write to and work in, then for C the sizes."""

    operands: tuple[Any, ...]
    outputs: tuple[Array, ...] = ()
    spares: tuple[Array, ...] = ()
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A function and its operands.

    numpy: the function in NumPy, given operands and outputs; `oracle` the same if it is not for timing. gives: "arrays",
    "number", or "kept", of which the loops return how many there are. ulps: that errors may have; differing: the part of
    elements that may differ. computes: not bound by memory. fast: under fast=True, -ffast-math, fastmath.
    """

    name: str
    title: str
    make: Callable[[int, Any], Data]
    numpy: Callable[..., Any] | None = None
    oracle: Callable[..., Any] | None = None
    dtypes: tuple[str, ...] = ("float64",)
    sizes: tuple[int, ...] = SIZES
    gives: str = "arrays"
    ulps: float = EXACT
    differing: float = 0.0
    computes: bool = False
    fast: bool = False
    sorts: bool = False

    @property
    def own(self) -> str:
        """The name of the function in `parallel_hotloop`."""
        return f"{self.name}_fast" if self.fast else self.name

    def wanted(self, data: Data) -> Any:
        """Return what the function has to give, in float64 where its elements are floats."""
        outputs = tuple(x.astype(float) if x.dtype.kind == "f" else x.copy() for x in data.outputs)
        operands = [x.astype(float) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in data.operands]
        function = self.oracle or self.numpy
        assert function
        return function(*operands, *outputs)


def _random() -> np.random.Generator:
    return np.random.default_rng(7)


def _vectors(count: int, n: int, dtype: Any) -> list[Array]:
    random = _random()
    if np.dtype(dtype).kind == "i":
        return [random.integers(0, 1 << 30, n).astype(dtype) for _ in range(count)]
    return [random.random(n).astype(dtype) for _ in range(count)]


# ----------------------------------------------------------------------------------------- maps and sums


def _axpy(n: int, dtype: Any) -> Data:
    return Data((2.0, *_vectors(2, n, dtype)), (np.empty(n, dtype),), (), (n,))


def _numpy_axpy(a: float, x: Array, y: Array, out: Array) -> Array:
    np.multiply(x, a, out=out)
    return np.add(out, y, out=out)


def _total(n: int, dtype: Any) -> Data:
    return Data(tuple(_vectors(1, n, dtype)), sizes=(n,))


def _dot(n: int, dtype: Any) -> Data:
    return Data(tuple(_vectors(2, n, dtype)), sizes=(n,))


def _options(n: int, dtype: Any) -> Data:
    random = _random()
    operands = [random.uniform(low, high, n).astype(dtype) for low, high in ((10, 100), (10, 100), (0.1, 2))]
    return Data(tuple(operands), (np.empty(n, dtype),), (), (n,))


def _normal(d: Array) -> Array:
    k = 1 / (1 + 0.2316419 * np.abs(d))
    tail = k * (0.31938153 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))))
    below = 0.3989422804014327 * np.exp(-0.5 * d * d) * tail
    return np.where(d > 0, 1 - below, below)


def _numpy_options(spots: Array, strikes: Array, years: Array, _: Array) -> Array:
    root = 0.3 * np.sqrt(years)
    d = (np.log(spots / strikes) + (0.02 + 0.5 * 0.3 * 0.3) * years) / root
    return spots * _normal(d) - strikes * np.exp(-0.02 * years) * _normal(d - root)


# ------------------------------------------------------------------------------------ scans, filters, sorts


def _each(n: int, dtype: Any) -> Data:
    return Data(tuple(_vectors(1, n, dtype)), (np.empty(n, dtype),), (), (n,))


def _numpy_prefix(x: Array, out: Array) -> Array:
    return np.cumsum(x, out=out)


def _above(n: int, dtype: Any) -> Data:
    return Data(tuple(_vectors(1, n, dtype)), (np.empty(n + 1, dtype),), (np.empty(n + 256, dtype),), (n,))


def _numpy_above(x: Array, *_: Array) -> Array:
    return x[x > 0.5]


def _keys(n: int, dtype: Any) -> tuple[Array, ...]:
    return np.empty(n, dtype), np.empty(n, dtype), np.empty(n, np.int64)


def _ordered(n: int, dtype: Any) -> Data:
    return Data(tuple(_vectors(1, n, dtype)), (np.empty(n, dtype),), _keys(n, dtype), (n,))


def _order(n: int, dtype: Any) -> Data:
    return Data(tuple(_vectors(1, n, dtype)), (np.empty(n, np.int64),), _keys(n, dtype), (n,))


def _by_key(n: int, dtype: Any) -> Data:
    keys, values = _random().integers(0, n, n).astype(dtype), np.arange(n)
    return Data((keys, values), (np.empty(n, dtype), np.empty(n, np.int64)), _keys(n, dtype), (n,))


def _numpy_ordered(x: Array, *_: Array) -> Array:
    return np.sort(x)


def _numpy_order(x: Array, *_: Array) -> Array:
    return np.argsort(x, kind="stable")


def _numpy_by_key(keys: Array, values: Array, *_: Array) -> tuple[Array, Array]:
    places = np.argsort(keys, kind="stable")
    return keys[places], values[places]


def _bins(count: int) -> Callable[[int, Any], Data]:
    def make(n: int, _: Any) -> Data:
        return Data((_random().integers(0, count, n), count), (np.empty(count, np.int64),), (), (n,))

    return make


def _numpy_bins(places: Array, count: int, _: Array) -> Array:
    return np.bincount(places, minlength=count)


def _moved(n: int, dtype: Any) -> Data:
    return Data((*_vectors(1, n, dtype), _random().permutation(n)), (np.empty(n, dtype),), (), (n,))


def _numpy_gathered(x: Array, places: Array, _: Array) -> Array:
    return x[places]


def _numpy_scattered(x: Array, places: Array, out: Array) -> Array:
    out[places] = x
    return out


# ------------------------------------------------------------------------------- rows, pairs, two dimensions


def _mandelbrot(n: int, _: Any) -> Data:
    side = math.isqrt(n)
    return Data((side, side, 100), (np.empty((side, side), np.int64),))


def _numpy_mandelbrot(rows: int, columns: int, limit: int, _: Array) -> Array:
    x, y = 3.0 * np.arange(columns) / columns - 2.0, 2.0 * np.arange(rows) / rows - 1.0
    c = (x + 1j * y[:, None]).ravel()
    z, counts, left = np.zeros_like(c), np.full(c.size, limit), np.arange(c.size)
    for k in range(limit):
        inside = z.real**2 + z.imag**2 < 4.0
        counts[left[~inside]] = k
        left, z, c = left[inside], z[inside], c[inside]
        z = z * z + c
    return counts.reshape(rows, columns)


def _product(longest: int) -> Callable[[int, Any], Data]:
    def make(n: int, dtype: Any) -> Data:
        random = _random()
        starts = np.concatenate([[0], np.cumsum(random.integers(0, longest, n))])
        columns, values = random.integers(0, n, starts[-1]), random.random(starts[-1]).astype(dtype)
        return Data((values, columns, starts, random.random(n).astype(dtype)), (np.empty(n, dtype),), (), (n,))

    return make


def _numpy_product(values: Array, columns: Array, starts: Array, x: Array, _: Array) -> Array:
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    return np.bincount(rows, values * x[columns], len(starts) - 1)


def _labels(n: int, dtype: Any) -> Data:
    points, centres = _vectors(2, n, dtype), [x[:16].copy() for x in _vectors(4, n, dtype)[2:]]
    return Data((*points, *centres), (np.empty(n, np.int64),), (), (n, 16))


def _numpy_labels(xs: Array, ys: Array, ps: Array, qs: Array, _: Array) -> Array:
    return ((xs - ps[:, None]) ** 2 + (ys - qs[:, None]) ** 2).argmin(axis=0)


def _bodies(n: int, dtype: Any) -> Data:
    side = math.isqrt(n)
    return Data(tuple(_vectors(4, side, dtype)), tuple(np.empty(side, dtype) for _ in range(3)), (), (side,))


def _numpy_bodies(x: Array, y: Array, z: Array, masses: Array, *_: Array) -> tuple[Array, ...]:
    apart = [a - a[:, None] for a in (x, y, z)]
    squared = apart[0] ** 2 + apart[1] ** 2 + apart[2] ** 2 + 0.0025
    strength = masses / (squared * np.sqrt(squared))
    return tuple((strength * a).sum(axis=1) for a in apart)


def _plate(n: int, dtype: Any) -> Data:
    side = math.isqrt(n)
    cells = _vectors(1, side * side, dtype)[0].reshape(side, side)
    return Data((cells % 2 if np.dtype(dtype).kind == "i" else cells,), (np.empty((side, side), dtype),), (), (side, side))


def _numpy_relaxed(u: Array, out: Array) -> Array:
    out[:] = u
    inner = out[1:-1, 1:-1]
    np.add(u[:-2, 1:-1], u[2:, 1:-1], out=inner)
    inner += u[1:-1, :-2]
    inner += u[1:-1, 2:]
    inner *= 0.25
    return out


def _numpy_generation(cells: Array, _: Array) -> Array:
    rows = np.roll(cells, 1, 0) + cells + np.roll(cells, -1, 0)
    around = np.roll(rows, 1, 1) + rows + np.roll(rows, -1, 1) - cells
    return ((around == 3) | ((around == 2) & (cells == 1))).astype(cells.dtype)


# ------------------------------------------------------------------------------------------------ the cases

FLOATS, DOUBLE, INTEGER = ("float64", "float32"), ("float64",), ("int64",)
NUMBERS = (*FLOATS, *INTEGER)
LESS = SIZES[:2]  # where the largest would take too long
ROWS = (100_000,)
ROUNDED = 64.0

CASES = (
    Case("axpy", "a x + y", _axpy, _numpy_axpy, dtypes=FLOATS, ulps=2),
    Case("total", "sum", _total, np.sum, dtypes=FLOATS, gives="number", ulps=4096),
    Case("dot", "dot", _dot, np.dot, gives="number", ulps=4096),
    Case("options", "Black-Scholes", _options, _numpy_options, dtypes=FLOATS, ulps=ROUNDED, computes=True),
    Case("options", "Black-Scholes, fast", _options, _numpy_options, dtypes=FLOATS, ulps=ROUNDED, computes=True, fast=True),
    Case("mandelbrot", "Mandelbrot, 100 turns", _mandelbrot, oracle=_numpy_mandelbrot, sizes=LESS, differing=0.005, computes=True),
    Case("prefix", "inclusive scan", _each, _numpy_prefix, dtypes=(*DOUBLE, *INTEGER), ulps=4096),
    Case("above", "filter, half kept", _above, _numpy_above, gives="kept"),
    Case("ordered", "sort", _ordered, _numpy_ordered, dtypes=NUMBERS, sorts=True),
    Case("order", "argsort", _order, _numpy_order, dtypes=(*DOUBLE, *INTEGER), sorts=True),
    Case("by_key", "sort by key", _by_key, _numpy_by_key, dtypes=INTEGER, sorts=True),
    Case("bins", "histogram, 256 bins", _bins(256), _numpy_bins, dtypes=INTEGER),
    Case("bins", "histogram, 1e5 bins", _bins(100_000), _numpy_bins, dtypes=INTEGER),
    Case("gathered", "gather", _moved, _numpy_gathered, dtypes=FLOATS),
    Case("scattered", "scatter (permute)", _moved, _numpy_scattered),
    Case("product", "CSR x vector, rows of 0-19", _product(20), oracle=_numpy_product, sizes=ROWS, ulps=ROUNDED),
    Case("product", "CSR x vector, rows of 0-199", _product(200), oracle=_numpy_product, sizes=ROWS, ulps=ROUNDED),
    Case("labels", "k-means, nearest of 16", _labels, _numpy_labels, sizes=LESS, differing=1e-4, computes=True),
    Case("accelerations", "N-body, n pairs", _bodies, _numpy_bodies, ulps=4096, computes=True),
    Case("accelerations", "N-body, n pairs, fast", _bodies, _numpy_bodies, ulps=4096, computes=True, fast=True),
    Case("relaxed", "Jacobi step", _plate, _numpy_relaxed, ulps=2),
    Case("generation", "Game of Life", _plate, _numpy_generation, dtypes=("int32",), computes=True),
)
