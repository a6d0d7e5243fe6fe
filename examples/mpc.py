"""Model-predictive control of a cart: ten steps ahead, ten projected-gradient iterations a step.

The cost is written as what it is, a simulation of the cart; `hl.grad` differentiates it through the
simulation. The plan is a state, shifted by one step: each step starts from the plan before.
"""

from __future__ import annotations

import numpy as np

import hotloop as hl

DT = 0.1
HORIZON = ITERATIONS = 10
LIMIT = 1.0  # of the force
RATE = 2.6  # of the descent: one over the largest curvature of the cost
STEPS = 60


def move(position: hl.value, speed: hl.value, force: hl.value) -> tuple[hl.value, hl.value]:
    """Return position and speed of the cart after a step."""
    return position + DT * speed + (DT * DT / 2) * force, speed + DT * force


def cost(position: hl.value, speed: hl.value, forces: hl.vector) -> hl.value:
    """Return what a plan costs: distance from zero, speed and force, summed over the horizon."""
    total = 0.0
    for force in forces:
        position, speed = move(position, speed, force)
        total = total + position * position + 0.1 * speed * speed + 0.05 * force * force
    return total


def plan(position: hl.value, speed: hl.value) -> hl.vector:
    """Return the forces of the next ten steps."""
    kept = hl.state(np.zeros(HORIZON, np.float32), name="plan")

    def descend(forces: hl.vector) -> hl.vector:
        slope = hl.grad(cost(position, speed, forces), forces)
        return hl.clamp(forces - RATE * slope, -LIMIT, LIMIT)

    forces = hl.loop(ITERATIONS, descend, kept)
    kept.next = hl.concat([forces[1:], forces[-1:]])
    return forces


def program() -> tuple[hl.value, hl.value, hl.value]:
    """Return position, speed and force of the cart under its controller: all of it is one program."""
    position = hl.state(2.0, name="position")
    speed = hl.state(0.0, name="speed")
    force = plan(position, speed)[0]
    position.next, speed.next = move(position, speed, force)
    return position, speed, force


def condensed() -> tuple[np.ndarray, np.ndarray]:
    """Return H and F: the gradient of the cost is H u + F (position, speed)."""
    a, b = np.array([[1, DT], [0, 1]]), np.array([DT * DT / 2, DT])
    powers = [np.linalg.matrix_power(a, k) for k in range(HORIZON + 1)]
    free = np.concatenate(powers[1:])
    forced = np.zeros((2 * HORIZON, HORIZON))
    for i in range(HORIZON):
        for j in range(i + 1):
            forced[2 * i : 2 * i + 2, j] = powers[i - j] @ b
    weight = np.diag([1.0, 0.1] * HORIZON)
    return 2 * (forced.T @ weight @ forced + 0.05 * np.eye(HORIZON)), 2 * forced.T @ weight @ free


def reference() -> np.ndarray:
    """Compute position, speed and force over time in NumPy, float64, from the condensed problem."""
    h, f = condensed()
    x, u, found = np.array([2.0, 0.0]), np.zeros(HORIZON), []
    for _ in range(STEPS):
        for _ in range(ITERATIONS):
            u = np.clip(u - RATE * (h @ u + f @ x), -LIMIT, LIMIT)
        force = u[0]
        x = np.array(move(*x, force))
        u = np.append(u[1:], u[-1])
        found.append([*x, force])
    return np.array(found)


def main(arch: str = "native") -> np.ndarray:
    """Drive the cart for six seconds; return position, speed and force, one row a step."""
    position, speed, force = program()
    tg = hl.Target(arch)
    tg.compile(position, speed, force)

    found = []
    for step in range(STEPS):
        tg.run()
        found.append(tg.read_value([position, speed, force]))
        if step % 12 == 11:
            print(f"{DT * (step + 1):3.1f} s: position {found[-1][0]:6.3f} m, speed {found[-1][1]:6.3f} m/s, force {found[-1][2]:6.3f}")
    return np.array(found)


if __name__ == "__main__":
    main()
