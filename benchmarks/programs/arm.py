"""Forward kinematics of the UR5 arm and the 3x6 Jacobian of its tool's position.

Computed: the 3x4 transform of the tool (rotation and position, by rows) and d position / d angles
(by rows), 30 results from 6 angles, by multiplying out the six Denavit-Hartenberg transforms; column i of
the Jacobian is the axis of joint i crossed with the way from that joint to the tool.
Source: Universal Robots, "DH Parameters for calculations of kinematics and dynamics", UR5: a2 = -0.425,
a3 = -0.39225, d1 = 0.089159, d4 = 0.10915, d5 = 0.09465, d6 = 0.0823, alpha = (pi/2, 0, 0, pi/2, -pi/2, 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.programs.program import Array, Program, Scalar, Space, Tensor

# a, d, cos(alpha), sin(alpha): the quarter turns are exact
LINKS = (
    (0, 0.089159, 0, 1),
    (-0.425, 0, 1, 0),
    (-0.39225, 0, 1, 0),
    (0, 0.10915, 0, 1),
    (0, 0.09465, 0, -1),
    (0, 0.0823, 1, 0),
)


def _link(m: Space, angle: Scalar, a: float, d: float, ca: float, sa: float) -> list[list[Scalar]]:
    c, s = m.cos(angle), m.sin(angle)
    return [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]


def _cross(u: Sequence[Scalar], v: Sequence[Scalar]) -> list[Scalar]:
    return [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]


def _times(x: list[list[Scalar]], y: list[list[Scalar]]) -> list[list[Scalar]]:
    return [[sum(row[k] * y[k][j] for k in range(4)) for j in range(4)] for row in x]


def step(m: Space, angles: Sequence[Scalar]) -> Sequence[Scalar]:
    """Return the tool's transform (3x4) and the Jacobian of its position (3x6)."""
    frame: list[list[Scalar]] = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    joints = []
    for angle, link in zip(angles, LINKS, strict=True):
        joints.append(([row[2] for row in frame], [row[3] for row in frame]))
        frame = _times(frame, _link(m, angle, *link))
    tool = [row[3] for row in frame]
    columns = [_cross(axis, [p - o for p, o in zip(tool, origin, strict=True)]) for axis, origin in joints]
    return [*(x for row in frame for x in row), *(column[i] for i in range(3) for column in columns)]


def arrays(m: Tensor, angles: Tensor) -> list[Tensor]:
    """Compute the same with 4x4 matrices."""
    frame = m.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    joints = []
    for i, link in enumerate(LINKS):
        joints.append((frame[:3, 2], frame[:3, 3]))
        frame = frame @ m.array(_link(m, angles[i], *link))
    tool = frame[:3, 3]
    columns = [_cross(axis, tool - origin) for axis, origin in joints]
    return [frame[:3, :], m.array([[column[i] for column in columns] for i in range(3)])]


_ZERO, _D1, _A2, _A3, _D4, _D5, _D6 = (np.float32(x) for x in (0, 0.089159, -0.425, -0.39225, 0.10915, 0.09465, 0.0823))


def loops(x: Array, out: Array) -> None:
    """Compute the same in closed form (joints 2, 3 and 4 are parallel), as Numba likes it."""
    c1, s1, c2, s2 = math.cos(x[0]), math.sin(x[0]), math.cos(x[1]), math.sin(x[1])
    c23, s23 = math.cos(x[1] + x[2]), math.sin(x[1] + x[2])
    c4, s4 = math.cos(x[1] + x[2] + x[3]), math.sin(x[1] + x[2] + x[3])
    c5, s5, c6, s6 = math.cos(x[4]), math.sin(x[4]), math.cos(x[5]), math.sin(x[5])
    side, along, down = (s1, -c1, _ZERO), (c1 * c4, s1 * c4, s4), (c1 * s4, s1 * s4, -c4)
    elbow, wrist = (c1 * c2, s1 * c2, s2), (c1 * c23, s1 * c23, s23)
    for i in range(3):
        x5 = along[i] * c5 + side[i] * s5
        z5 = side[i] * c5 - along[i] * s5
        o1 = _D1 if i == 2 else _ZERO
        o2 = o1 + _A2 * elbow[i]
        o3 = o2 + _A3 * wrist[i]
        o4 = o3 + _D4 * side[i]
        o5 = o4 + _D5 * down[i]
        out[4 * i], out[4 * i + 1] = c6 * x5 - s6 * down[i], -s6 * x5 - c6 * down[i]
        out[4 * i + 2], out[4 * i + 3] = z5, o5 + _D6 * z5
        out[13 + 6 * i], out[14 + 6 * i], out[15 + 6 * i], out[16 + 6 * i], out[17 + 6 * i] = o1, o2, o3, o4, o5
    tool = (out[3], out[7], out[11])
    out[12], out[18], out[24] = -tool[1], tool[0], _ZERO
    last = (out[2], out[6], out[10])
    for j in range(1, 6):
        axis = side if j < 4 else (down if j == 4 else last)
        w0, w1, w2 = tool[0] - out[12 + j], tool[1] - out[18 + j], tool[2] - out[24 + j]
        out[12 + j] = axis[1] * w2 - axis[2] * w1
        out[18 + j] = axis[2] * w0 - axis[0] * w2
        out[24 + j] = axis[0] * w1 - axis[1] * w0


C = """
#include <math.h>
static void column(const float *z, const float *o, const float *p, float *out) {
    float x = p[0] - o[0], y = p[1] - o[1], w = p[2] - o[2];
    out[0] = z[1] * w - z[2] * y; out[6] = z[2] * x - z[0] * w; out[12] = z[0] * y - z[1] * x;
}
void step(const float *restrict q, float *restrict out) {
    float c1 = cosf(q[0]), s1 = sinf(q[0]), c2 = cosf(q[1]), s2 = sinf(q[1]);
    float q23 = q[1] + q[2], q4 = q23 + q[3];
    float c23 = cosf(q23), s23 = sinf(q23), c4 = cosf(q4), s4 = sinf(q4);
    float c5 = cosf(q[4]), s5 = sinf(q[4]), c6 = cosf(q[5]), s6 = sinf(q[5]);
    float z0[3] = {0, 0, 1}, o0[3] = {0, 0, 0}, o1[3] = {0, 0, 0.089159f};
    float z1[3] = {s1, -c1, 0}, x4[3] = {c1 * c4, s1 * c4, s4}, z4[3] = {c1 * s4, s1 * s4, -c4};
    float x2[3] = {c1 * c2, s1 * c2, s2}, x3[3] = {c1 * c23, s1 * c23, s23};
    float o2[3], o3[3], o4[3], o5[3], z5[3], p[3];
    for (int i = 0; i < 3; i++) {
        float x5 = x4[i] * c5 + z1[i] * s5;
        z5[i] = z1[i] * c5 - x4[i] * s5;
        o2[i] = o1[i] + -0.425f * x2[i];
        o3[i] = o2[i] + -0.39225f * x3[i];
        o4[i] = o3[i] + 0.10915f * z1[i];
        o5[i] = o4[i] + 0.09465f * z4[i];
        p[i] = o5[i] + 0.0823f * z5[i];
        out[4 * i] = c6 * x5 - s6 * z4[i];
        out[4 * i + 1] = -s6 * x5 - c6 * z4[i];
        out[4 * i + 2] = z5[i];
        out[4 * i + 3] = p[i];
    }
    column(z0, o0, p, out + 12); column(z1, o1, p, out + 13); column(z1, o2, p, out + 14);
    column(z1, o3, p, out + 15); column(z4, o4, p, out + 16); column(z5, o5, p, out + 17);
}
"""

PROGRAM = Program(
    "arm",
    "UR5 forward kinematics and 3x6 Jacobian",
    {"angles": (0.3, -1.1, 1.4, -0.8, 1.2, 0.4)},
    step,
    loops,
    C,
    rtol=2e-5,
    atol=1e-6,
    arrays=arrays,
)
