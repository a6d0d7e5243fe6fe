# ruff: noqa: F821, ANN001, ANN201, ANN202, B905, D103 - names that are defined nowhere are primitives, as in any @cu function
# mypy: ignore-errors
"""Primitives written in the language itself: read by the interpreter as any `@cu` function, never run by Python."""

from __future__ import annotations

from types import FunctionType

# ----------------------------------------------------------------------------------------------- combining


def prod(x):
    return reduce(op_mul, x, 1)


def adjacent_difference(x):
    return [a - b for a, b in zip(x, shift(x, -1, cast_to_el(0, x)))]


def segmented_reduce(op, ragged, init):
    return map(lambda row: reduce(op, row, init), ragged)


# ------------------------------------------------------------------------------------------ distinct elements


def unique(x):
    y = sort(x)
    return [a for i, a, b in zip(indices(y), y, shift(y, -1, cast_to_el(0, y))) if i < 1 or _differ(a, b)]


def unique_counts(x):
    y = sort(x)
    first = [(a, i) for i, a, b in zip(indices(y), y, shift(y, -1, cast_to_el(0, y))) if i < 1 or _differ(a, b)]
    values, starts = unzip(first)
    return values, [end - start for start, end in zip(starts, shift(starts, 1, len(y)))]


def _differ(a, b):
    return a != b and (a == a or b == b)  # all NaN are one


# ------------------------------------------------------------------------------------------- largest elements


def largest_of(x, k):
    # A sample of 1024 elements says what is large; what is below that need not be sorted. Twice as many as are needed,
    # and 20 of the sample more, are taken for large, so that there are hardly ever too few.
    n = len(x)
    size = minimum(n, 1024)
    sample = sort(cmp_gt, [x[i * n // size] for i in range(size)])
    place = 2 * k * size // maximum(n, 1) + 20
    bound = sample[place] if place < size else min_bound_el(x)
    few = sum([a >= bound for a in x]) < k  # or the bound is NaN
    above = [(a, i) for i, a in enumerate(x) if few or a >= bound]
    values, places = unzip(sort(lambda a, b: a[0] > b[0], above))
    return take(values, k), take(places, k)


# --------------------------------------------------------------------------------------------- random numbers

# Number i of a seed. Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011:
# Threefry-2x32 with 20 rounds, its key the seed, its counter i, each as two words of 32 bits, the lower one first.


def random_bits(seed, i):
    key = int64(seed)
    counter = int64(i)
    low, high = _threefry(int32(key), int32(key >> 32), int32(counter), int32(counter >> 32))
    return (int64(high) << 32) | (int64(low) & 0xFFFFFFFF)


def random_uniform(seed, i):
    return float64((random_bits(seed, i) >> 11) & 0x1FFFFFFFFFFFFF) * 1.1102230246251565e-16


def random_normal(seed, i):
    # Box and Muller, "A note on the generation of random normal deviates", 1958
    radius = sqrt(-2.0 * log(1.0 - random_uniform(seed, i)))
    return radius * cos(6.283185307179586 * random_uniform(int64(seed) + -7046029254386353131, i))


def _threefry(low_key, high_key, low, high):
    third = low_key ^ high_key ^ 0x1BD11BDA
    x, y = _even(low + low_key, high + high_key)
    x, y = _odd(x + high_key, y + (third + 1))
    x, y = _even(x + third, y + (low_key + 2))
    x, y = _odd(x + low_key, y + (high_key + 3))
    x, y = _even(x + high_key, y + (third + 4))
    return x + third, y + (low_key + 5)


def _even(x, y):
    x, y = _round(x, y, 13)
    x, y = _round(x, y, 15)
    x, y = _round(x, y, 26)
    return _round(x, y, 6)


def _odd(x, y):
    x, y = _round(x, y, 17)
    x, y = _round(x, y, 29)
    x, y = _round(x, y, 16)
    return _round(x, y, 24)


def _round(x, y, by):
    total = x + y
    # a shift to the right keeps the sign, so a mask takes it away
    return total, ((y << by) | ((y >> (32 - by)) & ((1 << by) - 1))) ^ total


_PUBLIC = (
    prod, adjacent_difference, segmented_reduce, unique, unique_counts, random_bits, random_uniform, random_normal,
)  # fmt: skip
_OWN = (largest_of, _differ, _threefry, _even, _odd, _round)
LIBRARY: dict[str, FunctionType] = {function.__name__: function for function in (*_PUBLIC, *_OWN)}
