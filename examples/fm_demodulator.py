"""An FM receiver's back end: blocks of I/Q samples become audio.

A block of 64 complex samples is two vectors. Quadrature discriminator: the angle between each sample
and the one before it, which for the first of a block is a state; then the mean of every eight.
"""

from __future__ import annotations

import math

import numpy as np

import hotloop as hl

RATE = 192_000.0  # complex samples a second
BLOCK, DECIMATION = 64, 8
DEVIATION = 20_000.0  # Hz for a full-scale tone
TONE = 1_000.0
BLOCKS = 300


def demodulate(i: hl.vector, q: hl.vector) -> hl.vector:
    """Return BLOCK / DECIMATION audio samples, full scale 1."""
    last = hl.state(np.array([1, 0], np.float32), name="last sample")
    i_before = hl.concat([last[:1], i[:-1]])
    q_before = hl.concat([last[1:], q[:-1]])
    last.next = hl.vector([i[-1], q[-1]])

    along = i * i_before + q * q_before  # z * conj(z before): its angle is the change of phase
    across = q * i_before - i * q_before
    frequency = hl.atan2(across, along) * (RATE / (2 * math.pi * DEVIATION))
    return frequency.reshape(-1, DECIMATION).mean(axis=1)


def recording() -> np.ndarray:
    """Return noisy complex samples of a tone, BLOCK a row."""
    rng = np.random.default_rng(3)
    t = np.arange(BLOCKS * BLOCK) / RATE
    phase = 2 * np.pi * DEVIATION * np.cumsum(np.sin(2 * np.pi * TONE * t)) / RATE
    noise = 0.01 * (rng.standard_normal(t.size) + 1j * rng.standard_normal(t.size))
    return (np.exp(1j * phase) + noise).reshape(BLOCKS, BLOCK)


def reference() -> np.ndarray:
    """Compute the audio in NumPy, all at once."""
    z = np.concatenate([[1.0], recording().ravel()])
    frequency = np.angle(z[1:] * z[:-1].conj()) * RATE / (2 * np.pi * DEVIATION)
    return frequency.reshape(-1, DECIMATION).mean(axis=1)


def main(arch: str = "native") -> np.ndarray:
    """Demodulate the recording; return the audio."""
    i = hl.vector.input(np.ones(BLOCK, np.float32), name="i")
    q = hl.vector.input(np.zeros(BLOCK, np.float32), name="q")
    audio = demodulate(i, q)
    tg = hl.Target(arch)
    tg.compile(audio)

    found = []
    for block in recording():
        tg.write_value(i, block.real)
        tg.write_value(q, block.imag)
        tg.run()
        found.extend(tg.read_value(audio))
    heard = np.array(found)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(heard.size))) ** 2
    peak = int(np.argmax(spectrum))
    tone = spectrum[peak - 3 : peak + 4].sum()
    print(f"tone at {peak * RATE / DECIMATION / heard.size:.0f} Hz, {10 * np.log10(tone / (spectrum.sum() - tone)):.0f} dB above the rest")
    return heard


if __name__ == "__main__":
    main()
