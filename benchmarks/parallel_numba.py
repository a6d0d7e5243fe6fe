"""The functions of `benchmarks.parallel` as loops for Numba; arguments are operands, results, memory to work in.

`prange` is `range` on one core. A name that ends in `_parallel` is that function for several cores, where it is another one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

try:
    from numba import get_num_threads, njit, prange
except ImportError:  # nothing here is called then
    prange = range


def compiled(name: str, *, parallel: bool, fast: bool) -> Any:
    """Return a function under njit, not compiled for any types yet."""
    function = globals()[name]
    if parallel:
        function = globals().get(f"{name}_parallel", function)
    return njit(error_model="numpy", parallel=parallel, fastmath=fast)(function)


def axpy(a, x, y, out):
    for i in prange(len(x)):
        out[i] = a * x[i] + y[i]


def three(x, y, z, out):
    for i in prange(len(x)):
        out[i] = x[i] * y[i] + z[i]


def total(x):
    result = x[0] * 0
    for i in prange(len(x)):
        result += x[i]
    return result


def dot(x, y):
    result = x[0] * 0
    for i in prange(len(x)):
        result += x[i] * y[i]
    return result


def prefix(x, out):
    running = x[0] * 0
    for i in range(len(x)):
        running += x[i]
        out[i] = running


def prefix_parallel(x, out):
    parts, n = get_num_threads(), len(x)
    totals = np.zeros(parts + 1, x.dtype)
    for part in prange(parts):
        running = x[0] * 0
        for i in range(n * part // parts, n * (part + 1) // parts):
            running += x[i]
        totals[part + 1] = running
    totals = np.cumsum(totals)
    for part in prange(parts):
        running = totals[part]
        for i in range(n * part // parts, n * (part + 1) // parts):
            running += x[i]
            out[i] = running


def above(x, out, spare):
    k = 0
    for i in range(len(x)):
        out[k] = x[i]
        k += x[i] > 0.5
    return k


def above_parallel(x, out, spare):
    parts, n = get_num_threads(), len(x)
    starts = np.zeros(parts + 1, np.int64)
    for part in prange(parts):
        low, high = n * part // parts, n * (part + 1) // parts
        k = low + part
        for i in range(low, high):
            spare[k] = x[i]
            k += x[i] > 0.5
        starts[part + 1] = k - (low + part)
    starts = np.cumsum(starts)
    for part in prange(parts):
        low, start = n * part // parts + part, starts[part]
        for i in range(starts[part + 1] - start):
            out[start + i] = spare[low + i]
    return starts[parts]


def ordered(x, out, keys, other, spare):
    out[:] = np.sort(x)


def order(x, out, keys, other, spare):
    out[:] = np.argsort(x, kind="mergesort")


def by_key(x, values, out, moved, keys, other, spare):
    places = np.argsort(x, kind="mergesort")
    for i in prange(len(x)):
        out[i], moved[i] = x[places[i]], values[places[i]]


def bins(places, count, out):
    out[:] = 0
    for i in range(len(places)):
        out[places[i]] += 1


def bins_parallel(places, count, out):
    parts, n = get_num_threads(), len(places)
    found = np.zeros((parts, count), np.int64)
    for part in prange(parts):
        for i in range(n * part // parts, n * (part + 1) // parts):
            found[part, places[i]] += 1
    for k in prange(count):
        sum_of_parts = 0
        for part in range(parts):
            sum_of_parts += found[part, k]
        out[k] = sum_of_parts


def gathered(x, places, out):
    for i in prange(len(places)):
        out[i] = x[places[i]]


def scattered(x, places, out):
    for i in prange(len(places)):
        out[places[i]] = x[i]


def options(spots, strikes, years, out):
    T = spots.dtype.type
    one, half, slope, density = T(1), T(0.5), T(0.2316419), T(0.3989422804014327)
    a, b, c, d, e = T(0.31938153), T(-0.356563782), T(1.781477937), T(-1.821255978), T(1.330274429)
    rate, volatility = T(0.02), T(0.3)
    for i in prange(len(spots)):
        root = volatility * math.sqrt(years[i])
        first = (math.log(spots[i] / strikes[i]) + (rate + half * volatility * volatility) * years[i]) / root
        second = first - root
        k, m = one / (one + slope * abs(first)), one / (one + slope * abs(second))
        p = density * math.exp(-half * first * first) * (k * (a + k * (b + k * (c + k * (d + k * e)))))
        q = density * math.exp(-half * second * second) * (m * (a + m * (b + m * (c + m * (d + m * e)))))
        p = one - p if first > 0 else p
        q = one - q if second > 0 else q
        out[i] = spots[i] * p - strikes[i] * math.exp(-rate * years[i]) * q


def mandelbrot(rows, columns, limit, out):
    for i in prange(rows):
        for j in range(columns):
            x, y = 3.0 * j / columns - 2.0, 2.0 * i / rows - 1.0
            a, b, k = 0.0, 0.0, 0
            while k < limit and a * a + b * b < 4.0:
                a, b = a * a - b * b + x, 2.0 * a * b + y
                k += 1
            out[i, j] = k


def product(values, columns, starts, x, out):
    for i in prange(len(out)):
        result = values[0] * 0
        for k in range(starts[i], starts[i + 1]):
            result += values[k] * x[columns[k]]
        out[i] = result


def labels(xs, ys, ps, qs, out):
    for i in prange(len(xs)):
        least, label = np.inf, 0
        for k in range(len(ps)):
            x, y = xs[i] - ps[k], ys[i] - qs[k]
            d = x * x + y * y
            if d < least:
                least, label = d, k
        out[i] = label


def accelerations(x, y, z, masses, ax, ay, az):
    for i in prange(len(x)):
        a, b, c = 0.0, 0.0, 0.0
        for j in range(len(x)):
            dx, dy, dz = x[j] - x[i], y[j] - y[i], z[j] - z[i]
            squared = dx * dx + dy * dy + dz * dz + 0.0025
            strength = masses[j] / (squared * math.sqrt(squared))
            a += strength * dx
            b += strength * dy
            c += strength * dz
        ax[i], ay[i], az[i] = a, b, c


def relaxed(u, out):
    rows, columns = u.shape
    out[0], out[-1] = u[0], u[-1]
    for i in prange(1, rows - 1):
        out[i, 0], out[i, -1] = u[i, 0], u[i, -1]
        for j in range(1, columns - 1):
            out[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])


def generation(cells, out):
    rows, columns = cells.shape
    for i in prange(rows):
        up, down = (i - 1) % rows, (i + 1) % rows
        for j in range(columns):
            left = j - 1 if j > 0 else columns - 1
            right = j + 1 if j < columns - 1 else 0
            around = (
                cells[up, left] + cells[up, j] + cells[up, right] + cells[i, left] + cells[i, right]
                + cells[down, left] + cells[down, j] + cells[down, right]
            )  # fmt: skip
            out[i, j] = around == 3 or (around == 2 and cells[i, j] == 1)
