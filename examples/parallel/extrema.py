"""The smallest and the largest number of a sequence and where they are, in one pass: a reduction of tuples.

`reduce` takes any associative function, of tuples as well as of numbers. Here an element is
(smallest, its place, largest, its place), and two of them are combined into one of the same kind.
"""

from __future__ import annotations

import numpy as np

from hotloop import cu
from hotloop.parallel import reduce


@cu
def combined(a, b):
    """Return the extrema of two parts of a sequence, of which `a` comes first; the first place counts."""
    low, low_place, high, high_place = a
    low_b, low_place_b, high_b, high_place_b = b
    if low_b < low:
        low, low_place = low_b, low_place_b
    if high_b > high:
        high, high_place = high_b, high_place_b
    return low, low_place, high, high_place


@cu
def extrema(x):
    """Return (smallest, its place, largest, its place)."""
    return reduce(combined, [(a, i, a, i) for i, a in enumerate(x)])


def numbers(size: int) -> np.ndarray:
    """Return a random walk."""
    return np.cumsum(np.random.default_rng(1).standard_normal(size))


def reference(size: int) -> tuple[float, int, float, int]:
    """Compute the same in NumPy, in four passes."""
    x = numbers(size)
    return float(x.min()), int(x.argmin()), float(x.max()), int(x.argmax())


def main(size: int = 1_000_000) -> tuple[float, int, float, int]:
    """Print the extrema of a random walk; return them."""
    found = extrema(numbers(size))
    low, low_place, high, high_place = found
    print(f"of {size} steps: lowest {low:.4f} at {low_place}, highest {high:.4f} at {high_place}")
    return found


if __name__ == "__main__":
    main()
