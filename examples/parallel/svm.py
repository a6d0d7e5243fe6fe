"""Training a support vector machine: sequential minimal optimisation, in which each step is parallel.

A step picks the two points that break the conditions of the optimum most (one reduction of tuples), solves for the
weights of these two, and corrects the error of every point. All steps run in one call.

Source: Keerthi et al., "Improvements to Platt's SMO algorithm for SVM classifier design", Neural Computation 13, 2001.
"""

from __future__ import annotations

import math

import numpy as np

from hotloop import cu, cuarray, parallel
from hotloop.parallel import maximum, minimum, reduce

GAMMA = 0.5  # how fast points cease to be alike with their distance
MOST = 10.0  # what a weight can be
TOLERANCE = 1e-3


@cu
def alike(p, q):
    """Return how alike two points are: 1 for the same, 0 for those far apart."""
    return math.exp(-GAMMA * ((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2))


@cu
def worst_pair(errors, weights, labels):
    """Return (lowest error, its place) of weights that may rise along their labels, (highest error, its place) of those that may fall."""

    def candidate(i, error, weight, label):
        may_rise = weight < MOST if label > 0.0 else weight > 0.0
        may_fall = weight > 0.0 if label > 0.0 else weight < MOST
        return (error if may_rise else math.inf, i), (error if may_fall else -math.inf, i)

    def worse(a, b):
        (low, high), (low_b, high_b) = a, b
        return low if low[0] <= low_b[0] else low_b, high if high[0] >= high_b[0] else high_b

    return reduce(worse, [candidate(i, e, w, y) for i, (e, w, y) in enumerate(zip(errors, weights, labels))])


@cu
def train(points, labels, limit):
    """Return the weights of the points, the threshold, and how many steps it took."""
    weights = [0.0 for _ in points]
    errors = [-y for y in labels]  # what the machine says of a point, less its label
    steps = 0
    (low, i), (high, j) = worst_pair(errors, weights, labels)
    while high - low > 2.0 * TOLERANCE and steps < limit:
        # both move along their labels by the same amount, as far as neither leaves [0, MOST]
        room_i = MOST - weights[i] if labels[i] > 0.0 else weights[i]
        room_j = weights[j] if labels[j] > 0.0 else MOST - weights[j]
        best = (high - low) / maximum(2.0 - 2.0 * alike(points[i], points[j]), 1e-12)
        step = minimum(best, minimum(room_i, room_j))
        first, second = points[i], points[j]
        errors = [e + step * (alike(first, p) - alike(second, p)) for e, p in zip(errors, points)]
        moved_i, moved_j = weights[i] + labels[i] * step, weights[j] - labels[j] * step
        weights = [moved_i if k == i else moved_j if k == j else w for k, w in enumerate(weights)]
        steps += 1
        (low, i), (high, j) = worst_pair(errors, weights, labels)
    return weights, 0.5 * (low + high), steps


@cu
def classify(points, labels, weights, threshold, unknown):
    """Return the class of each unknown point: 1.0 or -1.0."""

    def side(u):
        said = sum([w * y * alike(p, u) for w, y, p in zip(weights, labels, points)]) - threshold
        return 1.0 if said >= 0.0 else -1.0

    return [side(u) for u in unknown]


def moons(count: int, seed: int) -> tuple[cuarray, np.ndarray]:
    """Return points in two crescents that reach into one another, and which of them each is in."""
    rng = np.random.default_rng(seed)
    angle, labels = rng.uniform(0.0, np.pi, count), np.where(rng.random(count) < 0.5, 1.0, -1.0)
    x = np.where(labels > 0.0, np.cos(angle), 1.0 - np.cos(angle)) + 0.15 * rng.standard_normal(count)
    y = np.where(labels > 0.0, np.sin(angle), 0.5 - np.sin(angle)) + 0.15 * rng.standard_normal(count)
    return parallel.zip(x, y), labels


def reference(count: int, limit: int) -> tuple[np.ndarray, float, int]:
    """Train in NumPy, by the same steps: weights, threshold, steps."""
    points, labels = moons(count, 1)
    x, y = map(np.asarray, points.fields)
    kernel = np.exp(-GAMMA * ((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2))
    weights, errors, steps = np.zeros(count), -labels, 0
    while True:
        rise = np.where(labels > 0, weights < MOST, weights > 0)
        fall = np.where(labels > 0, weights > 0, weights < MOST)
        i, j = np.where(rise, errors, np.inf).argmin(), np.where(fall, errors, -np.inf).argmax()
        low, high = errors[i], errors[j]
        if high - low <= 2 * TOLERANCE or steps == limit:
            return weights, (low + high) / 2, steps
        room_i = MOST - weights[i] if labels[i] > 0 else weights[i]
        room_j = weights[j] if labels[j] > 0 else MOST - weights[j]
        step = min((high - low) / max(2 - 2 * kernel[i, j], 1e-12), room_i, room_j)
        errors = errors + step * (kernel[i] - kernel[j])
        weights[i] += labels[i] * step
        weights[j] -= labels[j] * step
        steps += 1


def main(count: int = 400, limit: int = 20_000, width: int = 64) -> tuple[cuarray, float, int, float]:
    """Train, classify points never seen, and draw what is what; return weights, threshold, steps and the share that is right."""
    points, labels = moons(count, 1)
    weights, threshold, steps = train(points, labels, limit)
    unknown, truth = moons(count, 2)
    right = float(np.mean(np.asarray(classify(points, labels, weights, threshold, unknown)) == truth))
    support = int(np.count_nonzero(weights))
    print(f"{count} points, {steps} steps, {support} of them are support vectors; {100 * right:.1f} % of {count} others are right")
    xs, ys = np.meshgrid(np.linspace(-1.5, 2.5, width), np.linspace(1.5, -1.0, width // 3))
    plane = np.asarray(classify(points, labels, weights, threshold, parallel.zip(xs.ravel(), ys.ravel())))
    print("\n".join("".join("+" if side > 0 else "." for side in row) for row in plane.reshape(xs.shape)))
    return weights, threshold, steps, right


if __name__ == "__main__":
    main()
