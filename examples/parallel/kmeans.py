"""k-means: points go to the nearest of k centres, centres to the mean of their points, until none moves.

The nearest centre is the smallest of pairs (distance, number). `scatter_reduce` adds up the points of each centre, one
sum of tuples (x, y, 1) for each; their order is fixed, so that the result has the same bits on any number of cores.
"""

from __future__ import annotations

import numpy as np

from hotloop import cu, cuarray, parallel
from hotloop.parallel import replicate, scatter_reduce


@cu
def nearest(point, centres):
    """Return the number of the centre nearest to a point."""
    x, y = point
    return min([((x - cx) ** 2 + (y - cy) ** 2, k) for k, (cx, cy) in enumerate(centres)])[1]


@cu
def moved(points, labels, centres):
    """Return the means of the points of each centre; a centre without points stays."""

    def plus(a, b):
        return a[0] + b[0], a[1] + b[1], a[2] + b[2]

    ones = [(x, y, 1) for x, y in points]
    sums = scatter_reduce(plus, ones, labels, replicate((0.0, 0.0, 0), len(centres)))
    return [(x / n, y / n) if n > 0 else centre for (x, y, n), centre in zip(sums, centres)]


@cu
def kmeans(points, centres, limit):
    """Return the centres, the number of each point's centre, and how many rounds it took."""
    labels = [nearest(point, centres) for point in points]
    rounds, changes = 1, len(points)
    while changes > 0 and rounds < limit:
        centres = moved(points, labels, centres)
        new = [nearest(point, centres) for point in points]
        changes = sum([a != b for a, b in zip(labels, new)])
        labels = new
        rounds += 1
    return centres, labels, rounds


def clouds(count: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points in k clouds, and k of them to start from."""
    rng = np.random.default_rng(3)
    middles = rng.uniform(-10, 10, (k, 2))
    points = middles[rng.integers(0, k, count)] + rng.standard_normal((count, 2))
    return points, points[rng.choice(count, k, replace=False)]


def reference(count: int, k: int, limit: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Compute the same in NumPy."""
    points, centres = clouds(count, k)

    def nearest_of_all() -> np.ndarray:
        return ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2).argmin(axis=1)

    labels, rounds, changes = nearest_of_all(), 1, count
    while changes > 0 and rounds < limit:
        centres = np.array([points[labels == c].mean(axis=0) if (labels == c).any() else centres[c] for c in range(k)])
        new = nearest_of_all()
        labels, changes, rounds = new, int((labels != new).sum()), rounds + 1
    return centres, labels, rounds


def main(count: int = 20_000, k: int = 5, limit: int = 100) -> tuple[cuarray, cuarray, int]:
    """Print centres and sizes of the clusters; return the result."""
    points, start = clouds(count, k)
    centres, labels, rounds = kmeans(parallel.zip(*points.T), parallel.zip(*start.T), limit)
    sizes = np.bincount(labels, minlength=k)
    print(f"{count} points, {rounds} rounds")
    for (x, y), size in zip(centres, sizes, strict=True):
        print(f"centre ({x:7.3f}, {y:7.3f}) of {size:6} points")
    return centres, labels, rounds


if __name__ == "__main__":
    main()
