"""Inverse kinematics of a planar arm with two joints: 48 steps of gradient descent from given angles.

Computed: links 1.8 and 2.0 long; at each step the gradient, with respect to both angles, of the
squared distance between the end of the arm and the target, times 0.1, is taken off the angles. The
results are the two angles, the position of the inner joint, and the squared distance that is left.
Traced peers differentiate by their own `grad`; Python, C and Numba have the derivative by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.programs.program import Array, Program, Scalar, Space

STEPS = 48
L1, L2, RATE = 1.8, 2.0, 0.1


def _error(m: Space, a: Scalar, b: Scalar, target: Sequence[Scalar]) -> Scalar:
    dx = target[0] - (L1 * m.cos(a) + L2 * m.cos(a + b))
    dy = target[1] - (L1 * m.sin(a) + L2 * m.sin(a + b))
    return dx * dx + dy * dy


def _slope(m: Space, a: Scalar, b: Scalar, target: Sequence[Scalar]) -> Sequence[Scalar]:
    if m.grad:
        return m.grad(lambda a, b: _error(m, a, b, target), [a, b])
    px, py = L2 * m.cos(a + b), L2 * m.sin(a + b)
    x, y = L1 * m.cos(a) + px, L1 * m.sin(a) + py
    dx, dy = target[0] - x, target[1] - y
    return 2 * (dx * y - dy * x), 2 * (dx * py - dy * px)


def step(m: Space, angles: Sequence[Scalar], target: Sequence[Scalar]) -> Sequence[Scalar]:
    """Descend 48 times; return angles (2), inner joint (2), squared error."""

    def descend(a: Scalar, b: Scalar) -> Sequence[Scalar]:
        da, db = _slope(m, a, b, target)
        return a - RATE * da, b - RATE * db

    a, b = m.repeat(STEPS, descend, angles)
    return [a, b, L1 * m.cos(a), L1 * m.sin(a), _error(m, a, b, target)]


_L1, _L2, _RATE, _TWO = (np.float32(x) for x in (L1, L2, RATE, 2.0))


def loops(x: Array, out: Array) -> None:
    """Descend 48 times, as Numba likes it."""
    a, b, tx, ty = x[0], x[1], x[2], x[3]
    for _ in range(STEPS):
        px, py = _L2 * math.cos(a + b), _L2 * math.sin(a + b)
        ex, ey = _L1 * math.cos(a) + px, _L1 * math.sin(a) + py
        dx, dy = tx - ex, ty - ey
        a -= _RATE * (_TWO * (dx * ey - dy * ex))
        b -= _RATE * (_TWO * (dx * py - dy * px))
    out[0], out[1], out[2], out[3] = a, b, _L1 * math.cos(a), _L1 * math.sin(a)
    dx, dy = tx - out[2] - _L2 * math.cos(a + b), ty - out[3] - _L2 * math.sin(a + b)
    out[4] = dx * dx + dy * dy


C = """
#include <math.h>
void step(const float *restrict x, float *restrict out) {
    const float l1 = 1.8f, l2 = 2.0f, rate = 0.1f, tx = x[2], ty = x[3];
    float a = x[0], b = x[1];
    for (int i = 0; i < 48; i++) {
        float px = l2 * cosf(a + b), py = l2 * sinf(a + b);
        float ex = l1 * cosf(a) + px, ey = l1 * sinf(a) + py;
        float dx = tx - ex, dy = ty - ey;
        a -= rate * (2.0f * (dx * ey - dy * ex));
        b -= rate * (2.0f * (dx * py - dy * px));
    }
    float jx = l1 * cosf(a), jy = l1 * sinf(a);
    float dx = tx - jx - l2 * cosf(a + b), dy = ty - jy - l2 * sinf(a + b);
    out[0] = a; out[1] = b; out[2] = jx; out[3] = jy; out[4] = dx * dx + dy * dy;
}
"""

PROGRAM = Program(
    "inverse_kinematics",
    "2-joint arm, inverse kinematics, 48 gradient steps",
    {"angles": (0.1, 0.2), "target": (0.7, 0.7)},
    step,
    loops,
    C,
    rtol=1e-4,
    atol=2e-5,
)
