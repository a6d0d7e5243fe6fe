"""Optical flow by Horn and Schunck: how each point of a picture moves from one frame to the next.

Two frames give at each point one equation for two unknowns, the speed (u, v); smoothness gives the rest. The sparse
linear system is solved by conjugate gradients, preconditioned by the inverse of each point's own 2x2 block. A vector of
the solver is a sequence of tuples, one speed for each point, and its matrix is never stored: `product` computes with it.

Source: Horn and Schunck, "Determining optical flow", Artificial Intelligence 17, 1981.
"""

from __future__ import annotations

import numpy as np

from hotloop import cu, cuarray
from hotloop.parallel import maximum, minimum

ALPHA = 0.05  # how much smoothness counts, squared


@cu
def slopes(first, second):
    """Return (along x, along y, along time), the derivatives of brightness, for all points row by row."""
    rows, columns = first.shape

    def mean(i, j):
        return 0.5 * (first[i, j] + second[i, j])

    def point(i, j):
        up, down, left, right = maximum(i - 1, 0), minimum(i + 1, rows - 1), maximum(j - 1, 0), minimum(j + 1, columns - 1)
        return 0.5 * (mean(i, right) - mean(i, left)), 0.5 * (mean(down, j) - mean(up, j)), second[i, j] - first[i, j]

    return [point(k // columns, k % columns) for k in range(rows * columns)]


@cu
def product(speeds, gradients, rows, columns):
    """Return the matrix of the normal equations times a vector of speeds."""

    def point(k):
        i, j = k // columns, k % columns
        (u, v), (ex, ey, _) = speeds[k], gradients[k]
        along = ex * u + ey * v
        up, down = speeds[k - columns if i > 0 else k], speeds[k + columns if i < rows - 1 else k]
        left, right = speeds[k - 1 if j > 0 else k], speeds[k + 1 if j < columns - 1 else k]
        rough_u = 4.0 * u - up[0] - down[0] - left[0] - right[0]
        rough_v = 4.0 * v - up[1] - down[1] - left[1] - right[1]
        return ex * along + ALPHA * rough_u, ey * along + ALPHA * rough_v

    return [point(k) for k in range(rows * columns)]


@cu
def preconditioned(vector, gradients):
    """Return each point's 2x2 block of the matrix, inverted, times the point's part of a vector."""

    def point(r, gradient):
        ex, ey, _ = gradient
        a, b, c = ex * ex + 4.0 * ALPHA, ex * ey, ey * ey + 4.0 * ALPHA
        scale = 1.0 / (a * c - b * b)
        return scale * (c * r[0] - b * r[1]), scale * (a * r[1] - b * r[0])

    return map(point, vector, gradients)


@cu
def dot(x, y):
    """Return the inner product of two vectors."""
    return sum([a[0] * b[0] + a[1] * b[1] for a, b in zip(x, y)])


@cu
def plus_times(x, factor, y):
    """Return x + factor y."""
    return [(a[0] + factor * b[0], a[1] + factor * b[1]) for a, b in zip(x, y)]


@cu
def flow(first, second, tolerance, limit):
    """Return the speed (u, v) of each point in points a frame, and how many steps of conjugate gradients it took."""
    rows, columns = first.shape
    gradients = slopes(first, second)
    speeds = [(0.0, 0.0) for _ in gradients]
    residual = [(-ex * et, -ey * et) for ex, ey, et in gradients]
    direction = preconditioned(residual, gradients)
    size = dot(residual, direction)
    steps, enough = 0, size * tolerance**2
    while size > enough and steps < limit:
        image = product(direction, gradients, rows, columns)
        length = size / dot(direction, image)
        speeds = plus_times(speeds, length, direction)
        residual = plus_times(residual, -length, image)
        better = preconditioned(residual, gradients)
        before, size = size, dot(residual, better)
        direction = plus_times(better, size / before, direction)
        steps += 1
    return speeds, steps


def frames(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return two pictures of hills, and the speeds between them: slow turning about the middle, and a drift."""
    i, j = np.mgrid[0:rows, 0:columns].astype(float)
    u, v = 0.4 - 0.02 * (i - rows / 2), 0.2 + 0.02 * (j - columns / 2)

    def picture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.sin(0.45 * x) * np.cos(0.35 * y) + 0.5 * np.sin(0.2 * x + 0.3 * y)

    return picture(j, i), picture(j - u, i - v), u, v


def reference(rows: int, columns: int) -> np.ndarray:
    """Solve the same equations directly, in NumPy: one speed (u, v) for each row."""
    first, second, _, _ = frames(rows, columns)
    around = np.pad(0.5 * (first + second), 1, mode="edge")
    ex, ey = (0.5 * (around[1:-1, 2:] - around[1:-1, :-2])).ravel(), (0.5 * (around[2:, 1:-1] - around[:-2, 1:-1])).ravel()
    et, count = (second - first).ravel(), rows * columns
    rough = np.zeros((count, count))
    for k in range(count):
        i, j = divmod(k, columns)
        for near, inside in ((k - columns, i > 0), (k + columns, i < rows - 1), (k - 1, j > 0), (k + 1, j < columns - 1)):
            if inside:
                rough[k, k] += ALPHA
                rough[k, near] -= ALPHA
    matrix = np.block([[np.diag(ex * ex) + rough, np.diag(ex * ey)], [np.diag(ex * ey), np.diag(ey * ey) + rough]])
    return np.linalg.solve(matrix, np.concatenate([-ex * et, -ey * et])).reshape(2, count).T


def main(rows: int = 32, columns: int = 48, tolerance: float = 1e-8, limit: int = 1_000) -> tuple[cuarray, int]:
    """Print speeds at some points beside the true ones; return all of them."""
    first, second, u, v = frames(rows, columns)
    speeds, steps = flow(first, second, tolerance, limit)
    print(f"{rows} x {columns} points, {steps} steps of conjugate gradients")
    print(f"{'row':>4} {'column':>7} {'u':>8} {'v':>8}    {'true u':>8} {'true v':>8}")
    for i, j in ((rows * a // 4, columns * b // 4) for a in (1, 2, 3) for b in (1, 2, 3)):
        found = speeds[i * columns + j]
        print(f"{i:4} {j:7} {found[0]:8.3f} {found[1]:8.3f}    {u[i, j]:8.3f} {v[i, j]:8.3f}")
    return speeds, steps


if __name__ == "__main__":
    main()
