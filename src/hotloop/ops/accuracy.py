"""Accuracy of the elementary functions of `hotloop/ops/c`, as measured.

A bound is the largest error found, in units in the last place of the exact result (ULP), rounded up
with some room for points not tried. float32 functions of one argument were run over all 2^32 bit
patterns in steps of 61 against float64; functions of two arguments, and all of float64, over twenty
million points each against x86's 80-bit long double, dense where a function is hard: multiples of
pi/2, log near 1, asin near 1, pow near its limits, arguments of any exponent.
`tests/ops/test_accuracy.py` repeats that with fewer points against mpmath. 0.5 means correctly
rounded, 0 exact.
"""

from __future__ import annotations

# Each name stands for two bounds: float32, then float64.
BOUNDS: dict[str, tuple[float, float]] = {
    "sin": (0.86, 0.86),
    "cos": (0.86, 0.86),
    "tan": (0.70, 0.70),
    "asin": (0.78, 0.84),
    "acos": (0.74, 0.80),
    "atan": (0.90, 0.94),
    "atan2": (0.92, 0.94),
    "sinh": (0.62, 0.62),
    "cosh": (0.70, 0.70),
    "tanh": (0.60, 0.62),
    "asinh": (0.72, 0.70),
    "acosh": (0.64, 0.68),
    "atanh": (0.70, 0.70),
    "exp": (0.78, 0.78),
    "exp2": (0.78, 0.78),
    "expm1": (0.76, 0.76),
    "log": (0.70, 0.68),
    "log2": (0.74, 0.74),
    "log10": (0.68, 0.68),
    "log1p": (0.76, 0.74),
    "pow": (0.80, 0.80),
    "cbrt": (0.51, 0.51),
    "hypot": (0.76, 0.76),
    "floor": (0.0, 0.0),
    "ceil": (0.0, 0.0),
    "round": (0.0, 0.0),
    "trunc": (0.0, 0.0),
    "copysign": (0.0, 0.0),
    "fmod": (0.0, 0.0),
    "floordiv": (0.0, 0.0),
    "mod": (0.0, 0.0),
    "fma": (0.5, 0.5),
}

# Under fast=True, in kernels of targets with fused multiply-add: the functions of `c/fast.h`, measured likewise.
FAST_BOUNDS: dict[str, tuple[float, float]] = {
    "sin": (2.9, 3.2),
    "cos": (2.9, 3.2),
    "exp": (2.5, 3.0),
    "exp2": (2.4, 2.8),
    "log": (2.2, 3.2),
    "log2": (2.3, 3.2),
    "tanh": (3.5, 3.4),
    "atan": (2.9, 3.6),
    "atan2": (3.2, 3.6),
}
