"""Heat in a plate: Laplace's equation in two dimensions by Jacobi's method.

Each sweep makes a new array of which each point is the mean of its four neighbours in the old one; the edges stay.
The loop around the sweeps runs in compiled code as well, until nothing changes by more than a tolerance.
"""

from __future__ import annotations

import numpy as np

from hotloop import cu, cuarray
from hotloop.parallel import ndindex

SHADES = " .:-=+*#%@"


@cu
def relaxed(u):
    """Return the plate after one sweep."""
    rows, columns = u.shape

    def point(i, j):
        if i == 0 or j == 0 or i == rows - 1 or j == columns - 1:
            return u[i, j]
        return 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])

    return [point(i, j) for i, j in ndindex(rows, columns)]


@cu
def solve(u, tolerance, limit):
    """Return the plate in equilibrium, and how many sweeps that took."""
    rows, columns = u.shape
    change, sweeps = tolerance, 0
    while change >= tolerance and sweeps < limit:
        new = relaxed(u)
        change = max([abs(new[i, j] - u[i, j]) for i in range(rows) for j in range(columns)])
        u = new
        sweeps += 1
    return u, sweeps


def plate(rows: int, columns: int) -> np.ndarray:
    """Return a plate of 0 degrees whose upper edge is at 100, and whose left edge warms up from bottom to top."""
    u = np.zeros((rows, columns))
    u[:, 0] = np.linspace(100.0, 0.0, rows)
    u[0, :] = 100.0
    return u


def reference(rows: int, columns: int, tolerance: float, limit: int) -> tuple[np.ndarray, int]:
    """Compute the same in NumPy."""
    u, sweeps, change = plate(rows, columns), 0, tolerance
    while change >= tolerance and sweeps < limit:
        new = u.copy()
        new[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
        u, change, sweeps = new, np.abs(new - u).max(), sweeps + 1
    return u, sweeps


def main(rows: int = 24, columns: int = 60, tolerance: float = 1e-3, limit: int = 10_000) -> tuple[cuarray, int]:
    """Print the temperatures as shades; return them."""
    u, sweeps = solve(plate(rows, columns), tolerance, limit)
    for row in u:
        print("".join(SHADES[min(int(heat / 10.0), 9)] for heat in row))
    print(f"{sweeps} sweeps until nothing changes by {tolerance}; {u[rows // 2, columns // 2]:.2f} degrees in the middle")
    return u, sweeps


if __name__ == "__main__":
    main()
