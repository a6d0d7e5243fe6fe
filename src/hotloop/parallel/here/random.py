"""Random numbers by counter: number i of a seed is a function of both, so that every place and thread gets the same ones.

The functions are written in the language of @cu functions: on `here` Python runs them, elsewhere they are compiled.
Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011: Threefry-2x32 with 20 rounds,
its key the seed, its counter i, each as two words of 32 bits, the lower one first.
"""

from __future__ import annotations

from typing import Any

from hotloop.parallel.here.scalars import ELEMENTARY, float64, int32, int64

Number = Any
_sqrt, _log, _cos = ELEMENTARY["sqrt"], ELEMENTARY["log"], ELEMENTARY["cos"]


def _round(x: Number, y: Number, by: int) -> Any:
    """Mix two words; the second is rotated to the left. A shift to the right keeps the sign, so a mask takes it away."""
    total = x + y
    return total, ((y << by) | ((y >> (32 - by)) & ((1 << by) - 1))) ^ total


def _even(x: Number, y: Number) -> Any:
    x, y = _round(x, y, 13)
    x, y = _round(x, y, 15)
    x, y = _round(x, y, 26)
    return _round(x, y, 6)


def _odd(x: Number, y: Number) -> Any:
    x, y = _round(x, y, 17)
    x, y = _round(x, y, 29)
    x, y = _round(x, y, 16)
    return _round(x, y, 24)


def threefry(low_key: Number, high_key: Number, low: Number, high: Number) -> Any:
    """Return the two words (int32) that Threefry-2x32-20 makes of a key and a counter of two words each."""
    third = low_key ^ high_key ^ 0x1BD11BDA
    x, y = _even(low + low_key, high + high_key)
    x, y = _odd(x + high_key, y + (third + 1))
    x, y = _even(x + third, y + (low_key + 2))
    x, y = _odd(x + low_key, y + (high_key + 3))
    x, y = _even(x + high_key, y + (third + 4))
    return x + third, y + (low_key + 5)


def random_bits(seed: Number, i: Number) -> Number:
    """Return 64 random bits as an int64: number i of a seed. Both are integers of up to 64 bits."""
    key = int64(seed)
    counter = int64(i)
    low, high = threefry(int32(key), int32(key >> 32), int32(counter), int32(counter >> 32))
    return (int64(high) << 32) | (int64(low) & 0xFFFFFFFF)


def random_uniform(seed: Number, i: Number) -> Number:
    """Return a random float64 in [0, 1), a multiple of 2**-53: number i of a seed."""
    return float64((random_bits(seed, i) >> 11) & 0x1FFFFFFFFFFFFF) * 1.1102230246251565e-16


def random_normal(seed: Number, i: Number) -> Number:
    """Return a random float64 of the normal distribution with mean 0 and deviation 1: number i of a seed.

    Source: Box, Muller, "A note on the generation of random normal deviates", 1958. The angle is number i of another
    seed, which is larger by 0x9E3779B97F4A7C15 (modulo 2**64).
    """
    radius = _sqrt(-2.0 * _log(1.0 - random_uniform(seed, i)))
    return radius * _cos(6.283185307179586 * random_uniform(int64(seed) + -7046029254386353131, i))
