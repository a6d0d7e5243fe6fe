"""A cascade of biquads: a Butterworth low-pass of order 8 as four second-order sections.

Each section keeps two states (direct form II transposed). The response measured on the program's own
impulse response is compared with the formula.
Source of the coefficients: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
"""

from __future__ import annotations

import math

import numpy as np

import hotloop as hl

RATE = 48_000.0  # samples a second
CORNER = 2_000.0
SECTIONS = 4
STEPS = 2048


def section(k: int) -> tuple[float, float, float, float, float]:
    """Return b0, b1, b2, a1, a2 of section k."""
    w = 2 * math.pi * CORNER / RATE
    alpha = math.sin(w) * math.cos((2 * k + 1) * math.pi / (4 * SECTIONS))
    gain = (1 - math.cos(w)) / 2
    b0, b1, b2, a1, a2 = (c / (1 + alpha) for c in (gain, 2 * gain, gain, -2 * math.cos(w), 1 - alpha))
    return b0, b1, b2, a1, a2


def biquad(x: hl.value, k: int) -> hl.value:
    """Return one sample filtered by section k."""
    b0, b1, b2, a1, a2 = section(k)
    s1, s2 = hl.state(0.0), hl.state(0.0)
    y = b0 * x + s1
    s1.next = b1 * x - a1 * y + s2
    s2.next = b2 * x - a2 * y
    return y


def cascade(x: hl.value) -> hl.value:
    """Return one sample filtered by all sections."""
    for k in range(SECTIONS):
        x = biquad(x, k)
    return x


def reference() -> np.ndarray:
    """Compute the impulse response in NumPy's float32, sample by sample: the same bits."""
    rows = np.array([section(k) for k in range(SECTIONS)], np.float32)
    states = np.zeros((SECTIONS, 2), np.float32)
    found = []
    for step in range(STEPS):
        x = np.float32(step == 0)
        for (b0, b1, b2, a1, a2), s in zip(rows, states, strict=True):
            y = b0 * x + s[0]
            s[:] = b1 * x - a1 * y + s[1], b2 * x - a2 * y
            x = y
        found.append(x)
    return np.array(found)


def response(frequency: np.ndarray) -> np.ndarray:
    """Return the magnitude of the cascade at frequencies in Hz, from its coefficients."""
    z = np.exp(-2j * np.pi * frequency / RATE)
    found = np.ones_like(z)
    for b0, b1, b2, a1, a2 in map(section, range(SECTIONS)):
        found *= (b0 + b1 * z + b2 * z * z) / (1 + a1 * z + a2 * z * z)
    return np.abs(found)


def main(arch: str = "native") -> np.ndarray:
    """Return the impulse response of the compiled filter."""
    x = hl.value(0.0, name="x")
    y = cascade(x)
    tg = hl.Target(arch)
    tg.compile(y)

    found = []
    for step in range(STEPS):
        tg.write_value(x, float(step == 0))
        tg.run()
        found.append(tg.read_value(y))
    impulse = np.array(found, np.float32)
    measured = np.abs(np.fft.rfft(impulse.astype(float)))
    frequency = np.fft.rfftfreq(STEPS, 1 / RATE)
    for wanted in (500.0, CORNER, 4000.0):
        k = int(np.argmin(np.abs(frequency - wanted)))
        found, formula = (20 * np.log10(level) for level in (measured[k], response(frequency[k : k + 1])[0]))
        print(f"{frequency[k]:6.0f} Hz: {found:7.2f} dB, by the formula {formula:7.2f} dB")
    return impulse


if __name__ == "__main__":
    main()
