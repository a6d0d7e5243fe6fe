"""A Kalman filter that tracks a moving point in the plane from noisy positions.

Four states (position and speed, x and y), two measurements. The matrices of the model are constants,
so the zeros and ones in them cost nothing; the estimate and its covariance are states of the program.
"""

from __future__ import annotations

import numpy as np

import hotloop as hl

DT = 0.1
STEPS = 300
SIGMA = 0.5  # of a measured position, metres
ACCELERATION = 0.4  # of the point, m/s2, at random

MOTION = np.array([[1, 0, DT, 0], [0, 1, 0, DT], [0, 0, 1, 0], [0, 0, 0, 1]])
LOOK = np.array([[1, 0, 0, 0], [0, 1, 0, 0]])
_PUSH = np.array([[DT * DT / 2, 0], [0, DT * DT / 2], [DT, 0], [0, DT]])
DRIFT = ACCELERATION**2 * _PUSH @ _PUSH.T
NOISE = SIGMA**2 * np.eye(2)


def constant(matrix: np.ndarray) -> hl.tensor:
    """Return a matrix of constants in the program's float32."""
    return hl.tensor(matrix.tolist())


def inverse(m: hl.tensor) -> hl.tensor:
    """Return the inverse of a 2x2 matrix."""
    scale = 1.0 / (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0])
    return hl.tensor([[m[1, 1] * scale, -m[0, 1] * scale], [-m[1, 0] * scale, m[0, 0] * scale]])


def kalman(measured: hl.vector) -> hl.vector:
    """Return the estimate (x, y, speed x, speed y) after a measurement."""
    motion, look = constant(MOTION), constant(LOOK)
    x = hl.state(np.zeros(4, np.float32), name="estimate")
    p = hl.state(10 * np.eye(4, dtype=np.float32), name="covariance")

    x_before = motion @ x
    p_before = motion @ p @ motion.T + constant(DRIFT)
    gain = p_before @ look.T @ inverse(look @ p_before @ look.T + constant(NOISE))
    x_after = x_before + gain @ (measured - look @ x_before)
    x.next = x_after
    p.next = (hl.eye(4) - gain @ look) @ p_before
    return x_after


def recording() -> tuple[np.ndarray, np.ndarray]:
    """Return the true positions and what a sensor of SIGMA makes of them."""
    rng = np.random.default_rng(1)
    speed = np.array([1.0, 0.5]) + np.cumsum(ACCELERATION * DT * rng.standard_normal((STEPS, 2)), axis=0)
    truth = np.cumsum(speed * DT, axis=0)
    return truth, truth + SIGMA * rng.standard_normal((STEPS, 2))


def reference() -> np.ndarray:
    """Compute the estimates in NumPy, float64."""
    x, p, found = np.zeros(4), 10 * np.eye(4), []
    for measured in recording()[1]:
        x, p = MOTION @ x, MOTION @ p @ MOTION.T + DRIFT
        gain = p @ LOOK.T @ np.linalg.inv(LOOK @ p @ LOOK.T + NOISE)
        x, p = x + gain @ (measured - LOOK @ x), (np.eye(4) - gain @ LOOK) @ p
        found.append(x)
    return np.array(found)


def main(arch: str = "native") -> np.ndarray:
    """Filter the recording; return the estimates, one row a step."""
    measured = hl.vector.input([0.0, 0.0], name="measured")
    estimate = kalman(measured)
    tg = hl.Target(arch)
    tg.compile(estimate)

    truth, positions = recording()
    found = []
    for position in positions:
        tg.write_value(measured, position)
        tg.run()
        found.append(tg.read_value(estimate))
    estimates = np.array(found)
    raw, filtered = (np.sqrt(np.mean((p[50:] - truth[50:]) ** 2)) for p in (positions, estimates[:, :2]))
    print(f"position error: measured {raw:.3f} m, filtered {filtered:.3f} m (root mean square)")
    return estimates


if __name__ == "__main__":
    main()
