"""Inverse kinematics of a planar arm: 48 steps of gradient descent as one native loop.

The error is written once, as an engineer would; `hl.grad` differentiates it, and `hl.loop` keeps the
48 steps one piece of code. Run it: `python examples/inverse_kinematics.py`.
"""

from __future__ import annotations

import numpy as np

import hotloop as hl

UPPER, FORE = 1.8, 2.0  # lengths of the links in metres
RATE, STEPS = 0.05, 48
START = (0.5, 1.5)  # the angles the descent starts from: elbow bent


def hand(angles: hl.vector) -> hl.vector:
    """Return where the hand is for the two joint angles."""
    a, b = angles[0], angles[0] + angles[1]
    return hl.vector([UPPER * hl.cos(a) + FORE * hl.cos(b), UPPER * hl.sin(a) + FORE * hl.sin(b)])


def solve(goal: hl.vector, start: hl.vector) -> hl.vector:
    """Return the joint angles that bring the hand to the goal."""

    def descend(angles: hl.vector) -> hl.vector:
        miss = goal - hand(angles)
        return angles - RATE * hl.grad(miss @ miss, angles)

    return hl.loop(STEPS, descend, start)


def reference(goal: np.ndarray) -> np.ndarray:
    """Compute the same in NumPy, float64, with the derivative by hand."""
    a, b = START
    for _ in range(STEPS):
        fore = FORE * np.array([np.cos(a + b), np.sin(a + b)])
        reach = UPPER * np.array([np.cos(a), np.sin(a)]) + fore
        miss = goal - reach
        a, b = a - RATE * 2 * (miss[0] * reach[1] - miss[1] * reach[0]), b - RATE * 2 * (miss[0] * fore[1] - miss[1] * fore[0])
    return np.array([a, b])


GOALS = np.array([[1.9, 1.2], [0.8, 2.2], [-0.6, 2.4], [-1.4, 1.8]])


def main(arch: str = "native") -> np.ndarray:
    """Reach for four goals; return the angles, one row for each goal."""
    goal = hl.vector.input(GOALS[0], name="goal", dtype="float32")
    start = hl.vector.input(START, name="start")
    angles = solve(goal, start)
    reached = hand(angles)

    tg = hl.Target(arch)
    tg.compile(angles, reached)
    found = []
    for point in GOALS:
        tg.write_value(goal, point)
        tg.run()
        found.append(tg.read_value(angles))
        x, y = tg.read_value(reached)
        miss = 1000 * np.hypot(x - point[0], y - point[1])
        print(f"goal ({point[0]:5.2f}, {point[1]:5.2f}): hand at ({x:5.2f}, {y:5.2f}), {miss:.2f} mm away")
    return np.array(found)


if __name__ == "__main__":
    main()
