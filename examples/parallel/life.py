"""Conway's Game of Life on a torus: each cell looks at its eight neighbours.

Generations follow one another in a loop in compiled code. Indices wrap around by `%`, which is never negative.
"""

from __future__ import annotations

import numpy as np

from hotloop import cu, cuarray
from hotloop.parallel import ndindex


@cu
def generation(cells):
    """Return the cells a generation later: 1 for those that live, 0 for the others."""
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
def life(cells, generations):
    """Return the cells after so many generations."""
    for _ in range(generations):
        cells = generation(cells)
    return cells


def gliders(rows: int, columns: int) -> np.ndarray:
    """Return a world with two gliders and a blinker."""
    cells = np.zeros((rows, columns), np.int64)
    glider = np.array([[0, 1, 0], [0, 0, 1], [1, 1, 1]])
    cells[1:4, 1:4] = glider
    cells[6:9, 20:23] = glider[:, ::-1]
    cells[4, 12:15] = 1
    return cells


def reference(rows: int, columns: int, generations: int) -> np.ndarray:
    """Compute the same in NumPy."""
    cells = gliders(rows, columns)
    for _ in range(generations):
        around = sum(np.roll(cells, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) - cells
        cells = ((around == 3) | ((around == 2) & (cells == 1))).astype(np.int64)
    return cells


def main(rows: int = 12, columns: int = 36, generations: int = 24) -> cuarray:
    """Print the world at the start, halfway and at the end; return the last one."""
    cells = cuarray(gliders(rows, columns))
    for half in range(3):
        print(f"generation {half * generations // 2}")
        print("\n".join("".join(" #"[cell] for cell in row) for row in cells))
        cells = life(cells, generations // 2) if half < 2 else cells
    return cells


if __name__ == "__main__":
    main()
