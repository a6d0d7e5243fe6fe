"""One step of model-predictive control by projected gradient: double integrator, horizon 10, 10 iterations.

Computed: position p, speed v, force u in [-1, 1], dt = 0.1; cost = the sum over 10 steps of
(p - goal)^2 + 0.1 v^2 + 0.05 u^2, condensed to a quadratic in u with Hessian H and gradient H u + F e, where
e = (p - goal, v). From a given start, ten times: u = clip(u - (H u + F e) / L), L the largest eigenvalue of H.
H / L (10x10) and F / L (10x2) are constants of the program. 10 results: the forces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.programs.program import Array, Program, Scalar, Space, Tensor, c_array

HORIZON = ITERATIONS = 10


def _condense(dt: float) -> tuple[Array, Array]:
    a, b = np.array([[1, dt], [0, 1]]), np.array([dt * dt / 2, dt])
    powers = [np.linalg.matrix_power(a, k) for k in range(HORIZON + 1)]
    free = np.concatenate(powers[1:])
    forced = np.zeros((2 * HORIZON, HORIZON))
    for i in range(HORIZON):
        for j in range(i + 1):
            forced[2 * i : 2 * i + 2, j] = powers[i - j] @ b
    weight = np.diag([1.0, 0.1] * HORIZON)
    hessian = 2 * (forced.T @ weight @ forced + 0.05 * np.eye(HORIZON))
    largest = np.linalg.eigvalsh(hessian)[-1]
    return (hessian / largest).astype(np.float32), (2 * forced.T @ weight @ free / largest).astype(np.float32)


H, F = _condense(0.1)
_H, _F = [[float(x) for x in row] for row in H], [[float(x) for x in row] for row in F]


def step(m: Space, start: Sequence[Scalar], goal: Sequence[Scalar], u: Sequence[Scalar]) -> Sequence[Scalar]:
    """Return the ten forces after ten iterations."""
    e, v = start[0] - goal[0], start[1]
    pull = [row[0] * e + row[1] * v for row in _F]

    def iterate(*u: Scalar) -> Sequence[Scalar]:
        slopes = [sum(h * x for h, x in zip(row, u, strict=True)) + f for row, f in zip(_H, pull, strict=True)]
        return [m.minimum(m.maximum(x - s, -1.0), 1.0) for x, s in zip(u, slopes, strict=True)]

    return list(m.repeat(ITERATIONS, iterate, list(u)))


def arrays(m: Tensor, start: Tensor, goal: Tensor, u: Tensor) -> list[Tensor]:
    """Compute the same with a matrix-vector product an iteration."""
    pull = m.array(_F) @ m.array([start[0] - goal[0], start[1]])
    h = m.array(_H)
    for _ in range(ITERATIONS):
        u = m.minimum(m.maximum(u - (h @ u + pull), -1.0), 1.0)
    return [u]


_ONE = np.float32(1)


def loops(x: Array, out: Array) -> None:
    """Compute the same in loops, as Numba likes it."""
    e, v = x[0] - x[2], x[1]
    slope = np.empty(HORIZON, np.float32)
    out[:] = x[3:]
    for _ in range(ITERATIONS):
        for i in range(HORIZON):
            slope[i] = F[i, 0] * e + F[i, 1] * v
        for j in range(HORIZON):
            for i in range(HORIZON):
                slope[i] += H[j, i] * out[j]
        for i in range(HORIZON):
            out[i] = min(max(out[i] - slope[i], -_ONE), _ONE)


C = (
    c_array("h", H)
    + c_array("f", F.T)
    + """
void step(const float *restrict x, float *restrict out) {
    float e = x[0] - x[2], v = x[1], u[10], pull[10];
    for (int i = 0; i < 10; i++) { u[i] = x[3 + i]; pull[i] = f[0][i] * e + f[1][i] * v; }
    for (int n = 0; n < 10; n++) {
        float s[10];
        for (int i = 0; i < 10; i++) s[i] = pull[i];
        for (int j = 0; j < 10; j++)  /* H is symmetric: columns as rows, so that the inner loop is SIMD */
            for (int i = 0; i < 10; i++) s[i] += h[j][i] * u[j];
        for (int i = 0; i < 10; i++) {
            float y = u[i] - s[i];
            y = y < -1.0f ? -1.0f : y;
            u[i] = y > 1.0f ? 1.0f : y;
        }
    }
    for (int i = 0; i < 10; i++) out[i] = u[i];
}
"""
)

PROGRAM = Program(
    "mpc",
    "model-predictive control step, horizon 10, 10 projected-gradient iterations",
    {"start": (0.4, -0.1), "goal": (0.1,), "u": tuple(0.1 * k - 0.5 for k in range(HORIZON))},
    step,
    loops,
    C,
    rtol=5e-5,
    atol=5e-6,
    arrays=arrays,
)
