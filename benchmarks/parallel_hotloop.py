# ruff: noqa: B905 - zip is the primitive
"""The data-parallel functions of `benchmarks.parallel`, as a user of hotloop writes them; indices are checked in all of them."""

from __future__ import annotations

from hotloop import cu
from hotloop.parallel import argsort, exp, gather, histogram, log, ndindex, op_add, permute, reduce, scan, sort, sort_by_key, sqrt, unzip


@cu
def axpy(a, x, y):
    return [a * p + q for p, q in zip(x, y)]


@cu
def total(x):
    return sum(x)


@cu
def dot(x, y):
    return sum([p * q for p, q in zip(x, y)])


@cu
def prefix(x):
    return scan(op_add, x)


@cu
def above(x):
    return [a for a in x if a > 0.5]


@cu
def ordered(x):
    return sort(x)


@cu
def order(x):
    return argsort(x)


@cu
def by_key(keys, values):
    return sort_by_key(keys, values)


@cu
def bins(places, count):
    return histogram(places, count)


@cu
def gathered(x, places):
    return gather(x, places)


@cu
def scattered(x, places):
    return permute(x, places)


@cu
def normal(d):
    k = 1.0 / (1.0 + 0.2316419 * abs(d))
    tail = k * (0.31938153 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))))
    below = 0.3989422804014327 * exp(-0.5 * d * d) * tail
    return 1.0 - below if d > 0.0 else below


@cu
def option(spot, strike, years):
    rate, volatility = 0.02, 0.3
    root = volatility * sqrt(years)
    d = (log(spot / strike) + (rate + 0.5 * volatility * volatility) * years) / root
    return spot * normal(d) - strike * exp(-rate * years) * normal(d - root)


@cu
def options(spots, strikes, years):
    return map(option, spots, strikes, years)


options_fast = cu(options.__wrapped_function__, fast=True)


@cu
def escape(x, y, limit):
    a, b, k = 0.0, 0.0, 0
    while k < limit and a * a + b * b < 4.0:
        a, b = a * a - b * b + x, 2.0 * a * b + y
        k += 1
    return k


@cu
def mandelbrot(rows, columns, limit):
    return [escape(3.0 * j / columns - 2.0, 2.0 * i / rows - 1.0, limit) for i, j in ndindex(rows, columns)]


@cu
def product(values, columns, starts, x):
    return [sum([values[k] * x[columns[k]] for k in range(starts[i], starts[i + 1])]) for i in range(len(starts) - 1)]


@cu
def nearest(x, y, centres):
    return min([((x - p) * (x - p) + (y - q) * (y - q), k) for k, (p, q) in enumerate(centres)])[1]


@cu
def labels(xs, ys, ps, qs):
    centres = zip(ps, qs)
    return [nearest(x, y, centres) for x, y in zip(xs, ys)]


@cu
def plus(a, b):
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@cu
def pull(p, q, mass):
    x, y, z = q[0] - p[0], q[1] - p[1], q[2] - p[2]
    squared = x * x + y * y + z * z + 0.0025
    strength = mass / (squared * sqrt(squared))
    return strength * x, strength * y, strength * z


@cu
def accelerations(x, y, z, masses):
    bodies = zip(x, y, z)
    return unzip([reduce(plus, [pull(p, q, mass) for q, mass in zip(bodies, masses)], (0.0, 0.0, 0.0)) for p in bodies])


accelerations_fast = cu(accelerations.__wrapped_function__, fast=True)


@cu
def relaxed(u):
    rows, columns = u.shape

    def point(i, j):
        if i == 0 or j == 0 or i == rows - 1 or j == columns - 1:
            return u[i, j]
        return 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])

    return [point(i, j) for i, j in ndindex(rows, columns)]


@cu
def generation(cells):
    rows, columns = cells.shape

    def cell(i, j):
        up, down, left, right = (i - 1) % rows, (i + 1) % rows, (j - 1) % columns, (j + 1) % columns
        around = (
            cells[up, left] + cells[up, j] + cells[up, right] + cells[i, left] + cells[i, right]
            + cells[down, left] + cells[down, j] + cells[down, right]
        )  # fmt: skip
        return 1 if around == 3 or (around == 2 and cells[i, j] == 1) else 0

    return [cell(i, j) for i, j in ndindex(rows, columns)]


@cu
def three(x, y, z):
    return [a * b + c for a, b, c in zip(x, y, z)]


@cu
def step(a, b, c):
    return a * b + c


@cu
def three_named(x, y, z):
    return map(step, x, y, z)
