"""A small neural network, 12-32-32-4, tanh in both hidden layers, linear at the end.

Computed: y = W3 tanh(W2 tanh(W1 x + b1) + b2) + b3 with constant pseudo-random weights. 4 results.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from benchmarks.programs.program import Array, Program, Scalar, Space, Tensor, c_array

SIZES = (12, 32, 32, 4)


def _layers() -> list[tuple[Array, Array]]:
    random = np.random.default_rng(5)
    pairs = itertools.pairwise(SIZES)
    layers = [(random.normal(0, n**-0.5, (k, n)), random.normal(0, 0.1, k)) for n, k in pairs]
    return [(w.astype(np.float32), b.astype(np.float32)) for w, b in layers]


LAYERS = _layers()


def step(m: Space, x: Sequence[Scalar]) -> Sequence[Scalar]:
    """Return the four outputs."""
    for number, (weights, bias) in enumerate(LAYERS):
        x = [sum(float(w) * v for w, v in zip(row, x, strict=True)) + float(b) for row, b in zip(weights, bias, strict=True)]
        if number < 2:
            x = [m.tanh(v) for v in x]
    return x


def arrays(m: Tensor, x: Tensor) -> list[Tensor]:
    """Compute the same with matrices."""
    for number, (weights, bias) in enumerate(LAYERS):
        x = m.array(weights) @ x + m.array(bias)
        if number < 2:
            x = m.tanh(x)
    return [x]


(_W1, _B1), (_W2, _B2), (_W3, _B3) = LAYERS


def loops(x: Array, out: Array) -> None:
    """Compute the same in loops, as Numba likes it."""
    first, second = np.empty(32, np.float32), np.empty(32, np.float32)
    for i in range(32):
        total = _B1[i]
        for j in range(12):
            total += _W1[i, j] * x[j]
        first[i] = math.tanh(total)
    for i in range(32):
        total = _B2[i]
        for j in range(32):
            total += _W2[i, j] * first[j]
        second[i] = math.tanh(total)
    for i in range(4):
        total = _B3[i]
        for j in range(32):
            total += _W3[i, j] * second[j]
        out[i] = total


def _c() -> str:
    constants = "".join(c_array(f"w{i}", w.T) + c_array(f"b{i}", b) for i, (w, b) in enumerate(LAYERS))
    body = ""
    for i, (w, _) in enumerate(LAYERS):
        rows, columns = w.shape
        source, target = ("x" if i == 0 else f"y{i - 1}"), ("out" if i == 2 else f"y{i}")
        body += f"    float y{i}[{rows}];\n    for (int i = 0; i < {rows}; i++) y{i}[i] = b{i}[i];\n"
        body += f"    for (int j = 0; j < {columns}; j++) for (int i = 0; i < {rows}; i++) y{i}[i] += w{i}[j][i] * {source}[j];\n"
        last = f"y{i}[i]" if i == 2 else f"tanhf(y{i}[i])"
        body += f"    for (int i = 0; i < {rows}; i++) {target}[i] = {last};\n"
    return f"#include <math.h>\n{constants}void step(const float *restrict x, float *restrict out) {{\n{body}}}\n"


C = _c()

PROGRAM = Program(
    "network",
    "neural network 12-32-32-4, tanh",
    {"x": tuple(math.sin(1.7 * k) for k in range(12))},
    step,
    loops,
    C,
    rtol=2e-5,
    atol=2e-6,
    arrays=arrays,
)
