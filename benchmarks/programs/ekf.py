"""One predict-and-update step of an extended Kalman filter: a unicycle that sees one landmark.

State (x, y, heading, speed), full 4x4 covariance. Computed:
    predict  x += v cos(h) dt, y += v sin(h) dt, h += w dt, v += a dt;  P = F P F' + Q
    measure  range = |landmark - position|, bearing = atan2(dy, dx) - h
    update   S = H P H' + R,  K = P H' S^-1,  state += K (z - h),  P = (I - K H) P
The error of the bearing is wrapped by atan2(sin, cos). 20 results: state and covariance.
Source of the form: Thrun, Burgard, Fox, "Probabilistic Robotics", 2005, chapters 3.3 and 7.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.programs.program import Array, Program, Scalar, Space, Tensor

Q = (1e-4, 1e-4, 4e-5, 2.5e-3)
R = (0.01, 0.0009)

Matrix = list[list[Scalar]]


def _times(x: Matrix, y: Matrix) -> Matrix:
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*y, strict=True)] for row in x]


def _transposed(x: Matrix) -> Matrix:
    return [list(row) for row in zip(*x, strict=True)]


def _predict(m: Space, x: Sequence[Scalar], p: Matrix, u: Sequence[Scalar], dt: Scalar) -> tuple[list[Scalar], Matrix]:
    c, s = m.cos(x[2]), m.sin(x[2])
    moved = [x[0] + x[3] * c * dt, x[1] + x[3] * s * dt, x[2] + u[1] * dt, x[3] + u[0] * dt]
    f = [[1, 0, -x[3] * s * dt, c * dt], [0, 1, x[3] * c * dt, s * dt], [0, 0, 1, 0], [0, 0, 0, 1]]
    spread = _times(_times(f, p), _transposed(f))
    return moved, [[spread[i][j] + Q[i] if i == j else spread[i][j] for j in range(4)] for i in range(4)]


def _measure(m: Space, x: Sequence[Scalar], z: Sequence[Scalar], landmark: Sequence[Scalar]) -> tuple[list[Scalar], Matrix]:
    dx, dy = landmark[0] - x[0], landmark[1] - x[1]
    square = dx * dx + dy * dy
    distance = m.sqrt(square)
    h = [[-dx / distance, -dy / distance, 0, 0], [dy / square, -dx / square, -1, 0]]
    turn = z[1] - (m.atan2(dy, dx) - x[2])
    return [z[0] - distance, m.atan2(m.sin(turn), m.cos(turn))], h


def step(
    m: Space,
    state: Sequence[Scalar],
    covariance: Sequence[Scalar],
    u: Sequence[Scalar],
    z: Sequence[Scalar],
    landmark: Sequence[Scalar],
    dt: Sequence[Scalar],
) -> Sequence[Scalar]:
    """Return the new state (4) and covariance (4x4)."""
    p = [[covariance[4 * i + j] for j in range(4)] for i in range(4)]
    x, p = _predict(m, state, p, u, dt[0])
    error, h = _measure(m, x, z, landmark)
    ph = _times(p, _transposed(h))
    s = _times(h, ph)
    s[0][0], s[1][1] = s[0][0] + R[0], s[1][1] + R[1]
    inverse = 1.0 / (s[0][0] * s[1][1] - s[0][1] * s[1][0])
    k = _times(ph, [[s[1][1] * inverse, -s[0][1] * inverse], [-s[1][0] * inverse, s[0][0] * inverse]])
    x = [x[i] + k[i][0] * error[0] + k[i][1] * error[1] for i in range(4)]
    less = _times(k, _times(h, p))
    return [*x, *(p[i][j] - less[i][j] for i in range(4) for j in range(4))]


def arrays(m: Tensor, state: Tensor, covariance: Tensor, u: Tensor, z: Tensor, landmark: Tensor, dt: Tensor) -> list[Tensor]:
    """Compute the same with 4x4 matrices."""
    x, p, dt = state, covariance.reshape((4, 4)), dt[0]
    c, s = m.cos(x[2]), m.sin(x[2])
    f = m.array([[1.0, 0, -x[3] * s * dt, c * dt], [0, 1, x[3] * c * dt, s * dt], [0, 0, 1, 0], [0, 0, 0, 1]])
    x = x + m.array([x[3] * c, x[3] * s, u[1], u[0]]) * dt
    p = f @ p @ f.T + m.array([[Q[i] if i == j else 0.0 for j in range(4)] for i in range(4)])
    dx, dy = landmark[0] - x[0], landmark[1] - x[1]
    square = dx * dx + dy * dy
    distance = m.sqrt(square)
    h = m.array([[-dx / distance, -dy / distance, 0, 0], [dy / square, -dx / square, -1, 0]])
    turn = z[1] - (m.atan2(dy, dx) - x[2])
    error = m.array([z[0] - distance, m.atan2(m.sin(turn), m.cos(turn))])
    ph = p @ h.T
    v = h @ ph + m.array([[R[0], 0.0], [0.0, R[1]]])
    inverse = m.array([[v[1, 1], -v[0, 1]], [-v[1, 0], v[0, 0]]]) / (v[0, 0] * v[1, 1] - v[0, 1] * v[1, 0])
    k = ph @ inverse
    return [x + k @ error, p - k @ (h @ p)]


_Q, _R0, _R1, _ONE = np.array(Q, np.float32), np.float32(R[0]), np.float32(R[1]), np.float32(1)


def loops(x: Array, out: Array) -> None:
    """Compute the same with loops over small arrays on the stack, as Numba likes it."""
    c, s, dt, v = math.cos(x[2]), math.sin(x[2]), x[26], x[3]
    out[0], out[1], out[2], out[3] = x[0] + v * c * dt, x[1] + v * s * dt, x[2] + x[21] * dt, v + x[20] * dt
    f0, f1, g0, g1 = -v * s * dt, c * dt, v * c * dt, s * dt
    p = out[4:20].reshape(4, 4)
    for j in range(4):
        a, b = x[12 + j], x[16 + j]
        p[0, j], p[1, j] = x[4 + j] + f0 * a + f1 * b, x[8 + j] + g0 * a + g1 * b
        p[2, j], p[3, j] = a, b
    for i in range(4):
        a, b = p[i, 2], p[i, 3]
        p[i, 0], p[i, 1] = p[i, 0] + f0 * a + f1 * b, p[i, 1] + g0 * a + g1 * b
        p[i, i] += _Q[i]
    dx, dy = x[24] - out[0], x[25] - out[1]
    square = dx * dx + dy * dy
    distance = math.sqrt(square)
    h0, h1, k0, k1 = -dx / distance, -dy / distance, dy / square, -dx / square
    turn = x[23] - (math.atan2(dy, dx) - out[2])
    e0, e1 = x[22] - distance, math.atan2(math.sin(turn), math.cos(turn))
    r0, r1 = h0 * p[:, 0] + h1 * p[:, 1], k0 * p[:, 0] + k1 * p[:, 1] - p[:, 2]
    s00, s01 = h0 * r0[0] + h1 * r0[1] + _R0, h0 * r1[0] + h1 * r1[1]
    s10, s11 = k0 * r0[0] + k1 * r0[1] - r0[2], k0 * r1[0] + k1 * r1[1] - r1[2] + _R1
    inverse = _ONE / (s00 * s11 - s01 * s10)
    a0, a1 = h0 * p[0] + h1 * p[1], k0 * p[0] + k1 * p[1] - p[2]
    for i in range(4):
        gain0 = (r0[i] * s11 - r1[i] * s10) * inverse
        gain1 = (r1[i] * s00 - r0[i] * s01) * inverse
        out[i] += gain0 * e0 + gain1 * e1
        for j in range(4):
            p[i, j] -= gain0 * a0[j] + gain1 * a1[j]


C = """
#include <math.h>
void step(const float *restrict x, float *restrict out) {
    static const float q[4] = {1e-4f, 1e-4f, 4e-5f, 2.5e-3f};
    const float *p0 = x + 4, dt = x[26], v = x[3], c = cosf(x[2]), s = sinf(x[2]);
    float px = x[0] + v * c * dt, py = x[1] + v * s * dt, h = x[2] + x[21] * dt, w = v + x[20] * dt;
    float f0 = -v * s * dt, f1 = c * dt, g0 = v * c * dt, g1 = s * dt, p[4][4];
    for (int j = 0; j < 4; j++) {
        float a = p0[8 + j], b = p0[12 + j];
        p[0][j] = p0[j] + f0 * a + f1 * b; p[1][j] = p0[4 + j] + g0 * a + g1 * b; p[2][j] = a; p[3][j] = b;
    }
    for (int i = 0; i < 4; i++) {
        float a = p[i][2], b = p[i][3];
        p[i][0] += f0 * a + f1 * b; p[i][1] += g0 * a + g1 * b; p[i][i] += q[i];
    }
    float dx = x[24] - px, dy = x[25] - py, square = dx * dx + dy * dy, distance = sqrtf(square);
    float h0 = -dx / distance, h1 = -dy / distance, k0 = dy / square, k1 = -dx / square;
    float turn = x[23] - (atan2f(dy, dx) - h), e0 = x[22] - distance, e1 = atan2f(sinf(turn), cosf(turn));
    float r[4][2], a[2][4];
    for (int i = 0; i < 4; i++) {
        r[i][0] = h0 * p[i][0] + h1 * p[i][1]; r[i][1] = k0 * p[i][0] + k1 * p[i][1] - p[i][2];
        a[0][i] = h0 * p[0][i] + h1 * p[1][i]; a[1][i] = k0 * p[0][i] + k1 * p[1][i] - p[2][i];
    }
    float s00 = h0 * r[0][0] + h1 * r[1][0] + 0.01f, s01 = h0 * r[0][1] + h1 * r[1][1];
    float s10 = k0 * r[0][0] + k1 * r[1][0] - r[2][0], s11 = k0 * r[0][1] + k1 * r[1][1] - r[2][1] + 0.0009f;
    float inverse = 1.0f / (s00 * s11 - s01 * s10), moved[4] = {px, py, h, w};
    for (int i = 0; i < 4; i++) {
        float gain0 = (r[i][0] * s11 - r[i][1] * s10) * inverse, gain1 = (r[i][1] * s00 - r[i][0] * s01) * inverse;
        out[i] = moved[i] + gain0 * e0 + gain1 * e1;
        for (int j = 0; j < 4; j++) out[4 + 4 * i + j] = p[i][j] - (gain0 * a[0][j] + gain1 * a[1][j]);
    }
}
"""

PROGRAM = Program(
    "ekf",
    "extended Kalman filter step, unicycle with range and bearing",
    {
        "state": (1.0, 2.0, 0.4, 1.5),
        "covariance": (0.2, 0.01, 0.02, 0.0, 0.01, 0.25, 0.01, 0.02, 0.02, 0.01, 0.05, 0.01, 0.0, 0.02, 0.01, 0.1),
        "u": (0.3, 0.2),
        "z": (5.1, 0.55),
        "landmark": (4.0, 6.0),
        "dt": (0.05,),
    },
    step,
    loops,
    C,
    rtol=5e-4,
    atol=2e-5,
    arrays=arrays,
)
