"""One step of a quaternion attitude filter from gyroscope and accelerometer (Madgwick's, without magnetometer).

Computed: the gradient of the distance between the measured and the expected direction of gravity,
normalised, times beta, is taken off the rate of the quaternion (scalar first); that rate is integrated
over dt and the quaternion normalised. 4 results.
Source: Madgwick, "An efficient orientation filter for inertial and inertial/magnetic sensor arrays", 2010, eqs. 12, 25, 26, 33.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.programs.program import Array, Program, Scalar, Space


def _unit(m: Space, v: Sequence[Scalar]) -> list[Scalar]:
    inverse = 1.0 / m.sqrt(sum(x * x for x in v))
    return [x * inverse for x in v]


def _gradient(q: Sequence[Scalar], a: Sequence[Scalar]) -> list[Scalar]:
    w, x, y, z = q
    f = [2 * (x * z - w * y) - a[0], 2 * (w * x + y * z) - a[1], 2 * (0.5 - x * x - y * y) - a[2]]
    return [
        -2 * y * f[0] + 2 * x * f[1],
        2 * z * f[0] + 2 * w * f[1] - 4 * x * f[2],
        -2 * w * f[0] + 2 * z * f[1] - 4 * y * f[2],
        2 * x * f[0] + 2 * y * f[1],
    ]


def step(m: Space, q: Sequence[Scalar], gyro: Sequence[Scalar], accel: Sequence[Scalar], settings: Sequence[Scalar]) -> Sequence[Scalar]:
    """Return the next quaternion; settings are dt and beta."""
    dt, beta = settings
    w, x, y, z = q
    gx, gy, gz = gyro
    turn = [-x * gx - y * gy - z * gz, w * gx + y * gz - z * gy, w * gy - x * gz + z * gx, w * gz + x * gy - y * gx]
    slope = _unit(m, _gradient(q, _unit(m, accel)))
    rate = [0.5 * t - beta * s for t, s in zip(turn, slope, strict=True)]
    return _unit(m, [a + r * dt for a, r in zip(q, rate, strict=True)])


_ONE, _HALF, _TWO, _FOUR = (np.float32(x) for x in (1, 0.5, 2, 4))


def loops(v: Array, out: Array) -> None:
    """Compute the same on scalars, as Numba likes it."""
    w, x, y, z, gx, gy, gz, ax, ay, az, dt, beta = v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11]
    n = _ONE / math.sqrt(ax * ax + ay * ay + az * az)
    f0 = _TWO * (x * z - w * y) - ax * n
    f1 = _TWO * (w * x + y * z) - ay * n
    f2 = _TWO * (_HALF - x * x - y * y) - az * n
    s0 = -_TWO * y * f0 + _TWO * x * f1
    s1 = _TWO * z * f0 + _TWO * w * f1 - _FOUR * x * f2
    s2 = -_TWO * w * f0 + _TWO * z * f1 - _FOUR * y * f2
    s3 = _TWO * x * f0 + _TWO * y * f1
    n = beta / math.sqrt(s0 * s0 + s1 * s1 + s2 * s2 + s3 * s3)
    a = w + (_HALF * (-x * gx - y * gy - z * gz) - s0 * n) * dt
    b = x + (_HALF * (w * gx + y * gz - z * gy) - s1 * n) * dt
    c = y + (_HALF * (w * gy - x * gz + z * gx) - s2 * n) * dt
    d = z + (_HALF * (w * gz + x * gy - y * gx) - s3 * n) * dt
    n = _ONE / math.sqrt(a * a + b * b + c * c + d * d)
    out[0], out[1], out[2], out[3] = a * n, b * n, c * n, d * n


C = """
#include <math.h>
void step(const float *restrict v, float *restrict out) {
    float w = v[0], x = v[1], y = v[2], z = v[3], gx = v[4], gy = v[5], gz = v[6];
    float ax = v[7], ay = v[8], az = v[9], dt = v[10], beta = v[11];
    float n = 1.0f / sqrtf(ax * ax + ay * ay + az * az);
    float f0 = 2 * (x * z - w * y) - ax * n, f1 = 2 * (w * x + y * z) - ay * n;
    float f2 = 2 * (0.5f - x * x - y * y) - az * n;
    float s0 = -2 * y * f0 + 2 * x * f1, s1 = 2 * z * f0 + 2 * w * f1 - 4 * x * f2;
    float s2 = -2 * w * f0 + 2 * z * f1 - 4 * y * f2, s3 = 2 * x * f0 + 2 * y * f1;
    n = beta / sqrtf(s0 * s0 + s1 * s1 + s2 * s2 + s3 * s3);
    float a = w + (0.5f * (-x * gx - y * gy - z * gz) - s0 * n) * dt;
    float b = x + (0.5f * (w * gx + y * gz - z * gy) - s1 * n) * dt;
    float c = y + (0.5f * (w * gy - x * gz + z * gx) - s2 * n) * dt;
    float d = z + (0.5f * (w * gz + x * gy - y * gx) - s3 * n) * dt;
    n = 1.0f / sqrtf(a * a + b * b + c * c + d * d);
    out[0] = a * n; out[1] = b * n; out[2] = c * n; out[3] = d * n;
}
"""

PROGRAM = Program(
    "attitude",
    "quaternion attitude filter step (Madgwick)",
    {"q": (0.9, 0.1, -0.3, 0.3), "gyro": (0.02, -0.3, 0.15), "accel": (1.1, 0.4, 9.6), "settings": (0.005, 0.04)},
    step,
    loops,
    C,
    rtol=1e-5,
    atol=1e-6,
)
