"""An attitude filter: which way is up, from a gyroscope that drifts and an accelerometer that shakes.

Mahony's complementary filter on quaternions: the gyroscope is integrated, the accelerometer pulls the
result towards gravity, and what it keeps pulling against is learnt as the bias of the gyroscope.
Source: Mahony, Hamel, Pflimlin, "Nonlinear complementary filters on the special orthogonal group", 2008.
"""

from __future__ import annotations

import numpy as np

import hotloop as hl

DT = 0.005  # 200 Hz
STEPS = 6000
KP, KI = 1.5, 0.3
BIAS = np.array([0.03, -0.02, 0.015])  # of the gyroscope, rad/s


def attitude(gyro: hl.vector, accel: hl.vector) -> tuple[hl.quaternion, hl.vector]:
    """Return the rotation from the body to the world, and the bias found so far."""
    q = hl.state(hl.quaternion.identity(), name="rotation")
    bias = hl.state(np.zeros(3, np.float32), name="bias")

    expected = q.conjugate().rotate_vector([0.0, 0.0, 1.0])  # up, as the body sees it
    error = accel.normalize().cross(expected)
    rate = gyro - bias + KP * error
    turned = (q @ hl.quaternion.from_rotation_vector(rate * DT)).normalize()

    q.next = turned
    bias.next = bias - KI * DT * error
    return turned, bias


def recording() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the true up-vector in the body's frame, and what both sensors say, from a swaying flight."""
    rng = np.random.default_rng(2)
    t = DT * np.arange(STEPS)
    rate = np.stack([0.5 * np.sin(0.9 * t), 0.4 * np.cos(0.7 * t), 0.3 * np.sin(0.4 * t)], axis=1)
    q = _product(np.array([1.0, 0, 0, 0]), _exponential(np.array([0.4, -0.3, 0.0])))
    up = []
    for turn in rate:
        q = _product(q, _exponential(turn * DT))
        w, x, y, z = q
        up.append([2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z])
    truth = np.array(up)
    gyro = rate + BIAS + 0.02 * rng.standard_normal((STEPS, 3))
    return truth, gyro, 9.81 * truth + 0.5 * rng.standard_normal((STEPS, 3))


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    (aw, *av), (bw, *bv) = a, b
    return np.array([aw * bw - np.dot(av, bv), *(aw * np.array(bv) + bw * np.array(av) + np.cross(av, bv))])


def _exponential(rotation: np.ndarray) -> np.ndarray:
    half = np.linalg.norm(rotation) / 2
    return np.array([np.cos(half), *(np.sinc(half / np.pi) / 2 * rotation)])


def _up(q: np.ndarray) -> np.ndarray:
    conjugate = q * [1, -1, -1, -1]
    return _product(_product(conjugate, np.array([0.0, 0, 0, 1])), q)[1:]


def reference() -> np.ndarray:
    """Compute the rotations in NumPy, float64."""
    q, bias, found = np.array([1.0, 0, 0, 0]), np.zeros(3), []
    for gyro, accel in zip(*recording()[1:], strict=True):
        error = np.cross(accel / np.linalg.norm(accel), _up(q))
        q = _product(q, _exponential((gyro - bias + KP * error) * DT))
        q, bias = q / np.linalg.norm(q), bias - KI * DT * error
        found.append(q)
    return np.array(found)


def main(arch: str = "native") -> np.ndarray:
    """Filter the flight; return the rotations, one row a step."""
    gyro = hl.vector.input([0.0, 0.0, 0.0], name="gyro")
    accel = hl.vector.input([0.0, 0.0, 9.81], name="accel")
    rotation, bias = attitude(gyro, accel)
    tg = hl.Target(arch)
    tg.compile(rotation, bias)

    truth, rates, forces = recording()
    found = []
    for rate, force in zip(rates, forces, strict=True):
        tg.write_value(gyro, rate)
        tg.write_value(accel, force)
        tg.run()
        found.append(list(tg.read_value(rotation)))
    rotations = np.array(found)
    tilt = [np.degrees(np.arccos(np.clip(np.dot(_up(q), up), -1, 1))) for q, up in zip(rotations[-1000:], truth[-1000:], strict=True)]
    print(f"up is known to {np.mean(tilt):.2f} degrees (largest {np.max(tilt):.2f}) over the last five seconds")
    print(f"bias found: {np.round(tg.read_value(bias), 3)} rad/s, true: {BIAS}")
    return rotations


if __name__ == "__main__":
    main()
