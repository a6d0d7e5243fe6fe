"""Bodies that attract one another: for each body a sum of vectors over all bodies, and steps of leapfrog in a loop.

Positions and speeds are sequences of tuples (x, y, z). Leapfrog keeps the energy: the table shows how well.
"""

from __future__ import annotations

import numpy as np

from hotloop import cu, cuarray, parallel
from hotloop.parallel import reduce, sqrt

SOFTENING = 0.05  # keeps near passes from throwing bodies out


@cu
def plus(a, b):
    """Return the sum of two vectors."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@cu
def plus_times(a, factor, b):
    """Return a + factor b."""
    return a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]


@cu
def distance(p, q):
    """Return the softened distance of two points."""
    dx, dy, dz = q[0] - p[0], q[1] - p[1], q[2] - p[2]
    return sqrt(dx * dx + dy * dy + dz * dz + SOFTENING**2)


@cu
def pull(p, q, mass):
    """Return the acceleration at p by a mass at q."""
    d = distance(p, q)
    strength = mass / (d * d * d)
    return strength * (q[0] - p[0]), strength * (q[1] - p[1]), strength * (q[2] - p[2])


@cu
def accelerations(positions, masses):
    """Return the acceleration of each body by all others."""

    def by_all(p):
        return reduce(plus, [pull(p, q, mass) for q, mass in zip(positions, masses)], (0.0, 0.0, 0.0))

    return [by_all(p) for p in positions]


@cu
def energy(positions, speeds, masses):
    """Return the energy of all motion and attraction."""
    kinetic = sum([0.5 * mass * (v[0] ** 2 + v[1] ** 2 + v[2] ** 2) for v, mass in zip(speeds, masses)])

    def potential(i, p):
        return sum([-masses[i] * masses[j] / distance(p, positions[j]) for j in range(i)])

    return kinetic + sum([potential(i, p) for i, p in enumerate(positions)])


@cu
def leapfrog(positions, speeds, masses, dt, steps):
    """Return positions and speeds after so many steps."""
    pulls = accelerations(positions, masses)
    for _ in range(steps):
        halfway = [plus_times(v, 0.5 * dt, a) for v, a in zip(speeds, pulls)]
        positions = [plus_times(p, dt, v) for p, v in zip(positions, halfway)]
        pulls = accelerations(positions, masses)
        speeds = [plus_times(v, 0.5 * dt, a) for v, a in zip(halfway, pulls)]
    return positions, speeds


def cluster(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return positions, speeds and masses of a cloud that turns."""
    rng = np.random.default_rng(1)
    positions = rng.standard_normal((count, 3))
    speeds = 0.3 * np.cross([0.0, 0.0, 1.0], positions) + 0.05 * rng.standard_normal((count, 3))
    return positions, speeds, np.full(count, 1.0 / count)


def reference(count: int, dt: float, steps: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Compute the motion in NumPy; return positions, speeds and the energy."""
    p, v, m = cluster(count)

    def pulls() -> np.ndarray:
        apart = p[None, :, :] - p[:, None, :]
        distances = np.sqrt((apart**2).sum(axis=2) + SOFTENING**2)
        return (apart * (m / distances**3)[:, :, None]).sum(axis=1)

    for _ in range(steps):
        v = v + 0.5 * dt * pulls()
        p = p + dt * v
        v = v + 0.5 * dt * pulls()
    distances = np.sqrt(((p[None] - p[:, None]) ** 2).sum(axis=2) + SOFTENING**2)
    below = np.tril_indices(count, -1)
    return p, v, float(0.5 * (m * (v**2).sum(axis=1)).sum() - (np.outer(m, m) / distances)[below].sum())


def main(count: int = 256, dt: float = 0.01, steps: int = 25, rows: int = 5) -> tuple[cuarray, cuarray, list[float]]:
    """Print a table of times and energies; return positions, speeds and energies."""
    p, v, masses = cluster(count)
    positions, speeds = parallel.zip(*p.T), parallel.zip(*v.T)  # sequences of tuples
    energies = [energy(positions, speeds, masses)]
    print(f"{'time':>6} {'energy':>12} {'change':>9}    of {count} bodies")
    print(f"{0:6.2f} {energies[0]:12.8f}")
    for row in range(1, rows + 1):
        positions, speeds = leapfrog(positions, speeds, masses, dt, steps)
        energies.append(energy(positions, speeds, masses))
        print(f"{row * steps * dt:6.2f} {energies[-1]:12.8f} {energies[-1] / energies[0] - 1.0:9.1e}")
    return positions, speeds, energies


if __name__ == "__main__":
    main()
