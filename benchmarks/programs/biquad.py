"""One sample through a cascade of eight biquad sections, direct form II transposed.

Computed: a Butterworth low-pass of order 16 with its corner at 0.05 of the sample rate, as eight
second-order sections with constant coefficients: y = b0 x + s1, s1 = b1 x - a1 y + s2, s2 = b2 x - a2 y.
17 results: the sample and the new states.
Source of the coefficients: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.programs.program import Array, Program, Scalar, Space, c_array

SECTIONS = 8


def _section(k: int, corner: float) -> tuple[float, float, float, float, float]:
    w = 2 * math.pi * corner
    alpha = math.sin(w) * math.cos((2 * k + 1) * math.pi / (4 * SECTIONS))
    gain = (1 - math.cos(w)) / 2
    return gain / (1 + alpha), 2 * gain / (1 + alpha), gain / (1 + alpha), -2 * math.cos(w) / (1 + alpha), (1 - alpha) / (1 + alpha)


COEFFICIENTS = np.array([_section(k, 0.05) for k in range(SECTIONS)], np.float32)
_ROWS = [[float(x) for x in row] for row in COEFFICIENTS]


def step(m: Space, sample: Sequence[Scalar], states: Sequence[Scalar]) -> Sequence[Scalar]:
    """Return the filtered sample and the 16 new states."""
    x = sample[0]
    kept: list[Scalar] = []
    for k, (b0, b1, b2, a1, a2) in enumerate(_ROWS):
        y = b0 * x + states[2 * k]
        kept += [b1 * x - a1 * y + states[2 * k + 1], b2 * x - a2 * y]
        x = y
    return [x, *kept]


def loops(v: Array, out: Array) -> None:
    """Compute the same in a loop over the sections, as Numba likes it."""
    x = v[0]
    for k in range(SECTIONS):
        y = COEFFICIENTS[k, 0] * x + v[1 + 2 * k]
        out[1 + 2 * k] = COEFFICIENTS[k, 1] * x - COEFFICIENTS[k, 3] * y + v[2 + 2 * k]
        out[2 + 2 * k] = COEFFICIENTS[k, 2] * x - COEFFICIENTS[k, 4] * y
        x = y
    out[0] = x


C = (
    c_array("c", COEFFICIENTS)
    + """
void step(const float *restrict v, float *restrict out) {
    float x = v[0];
    for (int k = 0; k < 8; k++) {
        float y = c[k][0] * x + v[1 + 2 * k];
        out[1 + 2 * k] = c[k][1] * x - c[k][3] * y + v[2 + 2 * k];
        out[2 + 2 * k] = c[k][2] * x - c[k][4] * y;
        x = y;
    }
    out[0] = x;
}
"""
)

PROGRAM = Program(
    "biquad",
    "8-section biquad cascade, one sample",
    {"sample": (0.8,), "states": tuple(0.05 * math.cos(1.3 * k) for k in range(16))},
    step,
    loops,
    C,
    rtol=1e-5,
    atol=1e-6,
)
