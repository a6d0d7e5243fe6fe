"""The demo's first job: find the heartbeats in an electrocardiogram, one sample at a time.

`step` is one plain Python function. Plain Python, NumPy's float32 and hotloop run the same lines:
hotloop traces them once, and what they return becomes the states of the next run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RATE = 360.0  # samples a second, as in the MIT-BIH recordings
Number = Any  # a Python number, a NumPy scalar or a traced value: step() does not care
Samples = np.ndarray[Any, Any]
Choose = Callable[[Number, Number, Number], Number]  # (condition, a, b): a where the condition holds


@dataclass(frozen=True, slots=True)
class Recording:
    """Samples to run over, and where they are from."""

    samples: Samples
    source: str
    real: bool


def recording() -> Recording:
    """Return the ECG that PyWavelets ships or, without that package, a made-up one."""
    try:
        import pywt.data
    except ImportError:
        made_up = "NOT real input: a synthetic chirp, because PyWavelets is not installed (pip install 'hotloop[demo]')"
        return Recording(chirp(), made_up, real=False)
    samples = np.asarray(pywt.data.ecg(), np.float32)
    return Recording(samples, f"{len(samples)} samples of a real electrocardiogram (PyWavelets' data.ecg, taken as 360 Hz)", real=True)


def chirp(size: int = 1024) -> Samples:
    """Return pulses that come faster and faster, on a slow wave with noise."""
    t = np.arange(size) / RATE
    phase = 0.9 * t + 0.12 * t * t
    pulse = np.exp(-(((phase % 1.0 - 0.5) / 0.022) ** 2))
    noise = np.random.default_rng(0).standard_normal(size)
    wave: Samples = 300 * pulse + 40 * np.sin(2 * np.pi * 0.3 * t) + 3 * noise - 60
    return wave.astype(np.float32)


# ------------------------------------------------------------------------------------ the filters


def biquad(kind: str, frequency: float, quality: float) -> tuple[float, float, float, float, float]:
    """Return b0, b1, b2, a1, a2 of a second-order section.

    Source: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
    """
    w = 2 * math.pi * frequency / RATE
    alpha, cosine = math.sin(w) / (2 * quality), math.cos(w)
    edge = {"low": (1 - cosine) / 2, "high": (1 + cosine) / 2, "notch": 1.0}[kind]
    middle = {"low": 1 - cosine, "high": -(1 + cosine), "notch": -2 * cosine}[kind]
    b0, b1, b2, a1, a2 = (c / (1 + alpha) for c in (edge, middle, edge, -2 * cosine, 1 - alpha))
    return b0, b1, b2, a1, a2


# Where QRS complexes have their energy: above 5 Hz, and below 30 Hz by a Butterworth filter of order 4; mains notched out.
BAND = (biquad("notch", 60.0, 2.0), biquad("high", 5.0, 0.5), biquad("low", 30.0, 0.541196), biquad("low", 30.0, 1.306563))
ENVELOPE = biquad("low", 8.0, 0.5)
FADE = math.exp(-1 / (2.5 * RATE))  # the level that thresholds follow falls by 1/e in 2.5 s
FORGET = math.exp(-1 / (0.2 * RATE))  # the height a peak must have to be the latest, in 0.2 s
SHARE = 0.25  # of the level: above it is a beat
QUIET = 100.0  # counts squared: below it nothing is a beat


def cascade(x: Number, sections: Sequence[Sequence[float]], states: Sequence[Number]) -> tuple[Number, list[Number]]:
    """Return one filtered sample and the new states, two a section (direct form II transposed)."""
    kept: list[Number] = []
    for k, (b0, b1, b2, a1, a2) in enumerate(sections):
        y = b0 * x + states[2 * k]
        kept += [b1 * x - a1 * y + states[2 * k + 1], b2 * x - a2 * y]
        x = y
    return x, kept


# ----------------------------------------------------------------------------------- the detector

START = (0.0, False, *[0.0] * (2 * len(BAND)), *[0.0] * 2, 0.0, 0.0, 0, 0, False)
OUTPUTS = ("band", "envelope", "threshold", "beat", "place")


def step(x: Number, states: Sequence[Number], choose: Choose) -> tuple[list[Number], list[Number]]:
    """Take one sample; return OUTPUTS and the states for the next.

    band: the filtered sample. envelope: its smoothed power. threshold: a quarter of a slowly fading
    peak of the envelope. beat: true for one step, when the envelope falls below the threshold.
    place: the number of the sample at which the latest high peak of the band was.
    """
    origin, started, *filters, level, peak, place, now, above = states
    origin = choose(started, origin, x)  # the first sample, so that the filters start at rest
    band, band_states = cascade(x - origin, BAND, filters[:-2])
    envelope, envelope_states = cascade(band * band, (ENVELOPE,), filters[-2:])

    level = choose(envelope > level, envelope, level * FADE)
    threshold = choose(level * SHARE > QUIET, level * SHARE, QUIET)
    beat = above & (envelope <= threshold)

    higher = band > peak
    place = choose(higher, now, place)
    peak = choose(higher, band, peak * FORGET)

    kept = [origin, started | True, *band_states, *envelope_states, level, peak, place, now + 1, envelope > threshold]
    return [band, envelope, threshold, beat, place], kept


def pick(condition: bool, a: Number, b: Number) -> Number:
    """Return a where the condition holds, else b: `choose` for numbers."""
    return a if condition else b


def delay() -> int:
    """Return by how many samples the peak of a beat is late in the band: measured on a triangle of 35 ms."""
    half = round(0.0175 * RATE)
    states: Sequence[Number] = [0.0] * (2 * len(BAND))
    found = []
    for k in range(4 * half):
        band, states = cascade(max(0.0, 1 - abs(k - half) / half), BAND, states)
        found.append(band)
    return found.index(max(found)) - half


def in_python(samples: Samples) -> list[list[Number]]:
    """Run over the recording in plain Python: floats, which are 64 bits wide."""
    states: Sequence[Number] = START
    found = []
    for x in samples.tolist():
        outputs, states = step(x, states, pick)
        found.append(outputs)
    return found


def in_numpy(samples: Samples) -> list[list[Number]]:
    """Run over the recording in NumPy's float32 and int32: the definition of the right bits."""
    kinds = {float: np.float32, int: np.int32, bool: np.bool_}
    states: Sequence[Number] = [kinds[type(state)](state) for state in START]
    found = []
    for x in samples:
        outputs, states = step(x, states, pick)
        found.append(outputs)
    return found


def peaks(track: Samples) -> list[int]:
    """Return the samples of the beats: rows of `track` are steps, columns OUTPUTS."""
    beats = track[:, OUTPUTS.index("beat")] != 0
    return [int(place) - delay() for place in track[beats, OUTPUTS.index("place")]]
