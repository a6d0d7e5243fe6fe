"""FM demodulation of a block of 256 complex samples: angles between successive samples, then an FIR filter that keeps every fourth.

Computed: the angle of conj(z[n-1]) z[n] for each of the 256 samples z = i + j q, z[-1] being the last sample of the block
before; then y[k] = the sum over t < 32 of taps[31-t] angle[4 k - 28 + t], with the last 28 angles of the block before.
The taps are a Hamming-windowed low-pass at 0.1 of the sample rate. 64 results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.programs.program import Array, Program, Scalar, Space, Tensor, c_array

BLOCK, TAPS, KEPT = 256, 32, 4
RESULTS, PAST = BLOCK // KEPT, TAPS - KEPT


def _taps() -> Array:
    n = np.arange(TAPS) - (TAPS - 1) / 2
    low = np.sinc(0.2 * n) * np.hamming(TAPS)
    return np.asarray(low / low.sum(), np.float32)


TAP = _taps()
_TAP = [float(x) for x in TAP]


def step(m: Space, i: Sequence[Scalar], q: Sequence[Scalar], before: Sequence[Scalar], history: Sequence[Scalar]) -> Sequence[Scalar]:
    """Return the 64 results."""
    angles = list(history)
    a, b = before
    for x, y in zip(i, q, strict=True):
        angles.append(m.atan2(a * y - b * x, a * x + b * y))
        a, b = x, y
    return [sum(tap * angles[KEPT * k + t] for t, tap in enumerate(reversed(_TAP))) for k in range(RESULTS)]


def arrays(m: Tensor, i: Tensor, q: Tensor, before: Tensor, history: Tensor) -> list[Tensor]:
    """Compute the same on vectors: every fourth angle is a row of its own, over which eight taps slide.

    NumPy's convolve is faster than that for NumPy, though it computes what is not kept as well.
    """
    a, b = m.concat([before[:1], i[:-1]]), m.concat([before[1:], q[:-1]])
    angles = m.concat([history, m.atan2(a * q - b * i, a * i + b * q)])
    if m.convolve:
        return [m.convolve(angles, TAP, "valid")[::KEPT]]
    rows = [angles[phase::KEPT] for phase in range(KEPT)]
    taps = _TAP[::-1]
    return [sum(rows[t % KEPT][t // KEPT : t // KEPT + RESULTS] * taps[t] for t in range(TAPS))]


def loops(x: Array, out: Array) -> None:
    """Compute the same in loops, as Numba likes it."""
    angles = np.empty(PAST + BLOCK, np.float32)
    angles[:PAST] = x[2 * BLOCK + 2 :]
    a, b = x[2 * BLOCK], x[2 * BLOCK + 1]
    for n in range(BLOCK):
        i, q = x[n], x[BLOCK + n]
        angles[PAST + n] = math.atan2(a * q - b * i, a * i + b * q)
        a, b = i, q
    for k in range(RESULTS):
        total = np.float32(0)
        for t in range(TAPS):
            total += TAP[TAPS - 1 - t] * angles[KEPT * k + t]
        out[k] = total


C = (
    "#include <math.h>\n"
    + c_array("taps", TAP[::-1])
    + """
void step(const float *restrict x, float *restrict out) {
    const float *i = x, *q = x + 256, *before = x + 512, *history = x + 514;
    float angles[28 + 256];
    for (int n = 0; n < 28; n++) angles[n] = history[n];
    angles[28] = atan2f(before[0] * q[0] - before[1] * i[0], before[0] * i[0] + before[1] * q[0]);
    for (int n = 1; n < 256; n++) angles[28 + n] = atan2f(i[n-1] * q[n] - q[n-1] * i[n], i[n-1] * i[n] + q[n-1] * q[n]);
    for (int k = 0; k < 64; k++) {
        float sum = 0;
        for (int t = 0; t < 32; t++) sum += taps[t] * angles[4 * k + t];
        out[k] = sum;
    }
}
"""
)


def _signal() -> tuple[tuple[float, ...], tuple[float, ...]]:
    n = np.arange(-1, BLOCK)
    phase = 0.3 * n + 2 * np.sin(0.11 * n)
    return tuple((0.8 * np.cos(phase)).tolist()), tuple((0.8 * np.sin(phase)).tolist())


_I, _Q = _signal()

PROGRAM = Program(
    "demodulation",
    "FM demodulation of 256 samples, FIR of 32 taps, every fourth kept",
    {"i": _I[1:], "q": _Q[1:], "before": (_I[0], _Q[0]), "history": tuple(0.3 + 0.2 * math.cos(0.11 * k) for k in range(PAST))},
    step,
    loops,
    C,
    rtol=2e-5,
    atol=4e-6,
    arrays=arrays,
)
