"""axpy, the "hello, world" of data-parallel languages: a x + y, one element at a time and all at once.

The comprehension says what one element of the result is. hotloop compiles it at the first call, for the types of
the arguments at hand, and runs it on all cores.
"""

from __future__ import annotations

import numpy as np

from hotloop import cu, cuarray


@cu
def axpy(a, x, y):
    """Return a x + y."""
    return [a * xi + yi for xi, yi in zip(x, y)]


def arguments(size: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Return a number and two sequences."""
    rng = np.random.default_rng(1)
    return 2.5, rng.standard_normal(size), rng.standard_normal(size)


def reference(size: int) -> np.ndarray:
    """Compute the same in NumPy."""
    a, x, y = arguments(size)
    return a * x + y


def main(size: int = 8) -> cuarray:
    """Print a table of x, y and the result; return it."""
    a, x, y = arguments(size)
    found = axpy(a, x, y)
    print(f"{'x':>8} {'y':>8} {'a x + y':>8}    a = {a}")
    for row in zip(x, y, found, strict=True):
        print("{:8.3f} {:8.3f} {:8.3f}".format(*row))
    return found


if __name__ == "__main__":
    main()
