"""The Mandelbrot set: a `while` loop of its own for each pixel, over a grid of two dimensions.

`ndindex` counts the places of the picture; what is mapped over it is an array of that shape.
Pixels leave their loops after as many steps as they need.
"""

from __future__ import annotations

import numpy as np

from hotloop import cu, cuarray
from hotloop.parallel import ndindex

LEFT, RIGHT, TOP, BOTTOM = -2.0, 0.6, 1.2, -1.2
SHADES = " .:-=+*#%@"


@cu
def escape(x, y, limit):
    """Return after how many steps z = z² + c leaves the circle of radius 2; limit if it does not."""
    re, im, steps = 0.0, 0.0, 0
    while steps < limit and re * re + im * im <= 4.0:
        re, im = re * re - im * im + x, 2.0 * re * im + y
        steps += 1
    return steps


@cu
def mandelbrot(rows, columns, limit):
    """Return the picture, rows of counts."""
    wide, high = (RIGHT - LEFT) / columns, (BOTTOM - TOP) / rows
    return [escape(LEFT + (j + 0.5) * wide, TOP + (i + 0.5) * high, limit) for i, j in ndindex(rows, columns)]


def reference(rows: int, columns: int, limit: int) -> np.ndarray:
    """Compute the picture in NumPy, all pixels in step."""
    x = LEFT + (np.arange(columns) + 0.5) * ((RIGHT - LEFT) / columns)
    y = TOP + (np.arange(rows)[:, None] + 0.5) * ((BOTTOM - TOP) / rows)
    re, im, counts = (np.zeros((rows, columns), kind) for kind in (float, float, np.int64))
    for _ in range(limit):
        inside = re * re + im * im <= 4.0
        counts += inside
        re, im = np.where(inside, re * re - im * im + x, re), np.where(inside, 2.0 * re * im + y, im)
    return counts


def main(rows: int = 30, columns: int = 72, limit: int = 200) -> cuarray:
    """Print the picture; return it."""
    counts = mandelbrot(rows, columns, limit)
    for row in counts:
        print("".join(SHADES[min(int(np.log2(count + 1) * 1.3), len(SHADES) - 1)] for count in row))
    return counts


if __name__ == "__main__":
    main()
