"""The demo's second job: a robot arm of three joints follows a path, by inverse kinematics.

For every point of the path, gradient descent on the squared distance of the hand, started from the
angles of the point before. hotloop differentiates the distance itself; Python and NumPy have the
derivative by hand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import hotloop as hl

LINKS = (1.0, 0.8, 0.6)  # metres
START = (0.059, 1.152, 1.161)  # radians, each joint from the link before: the hand at the start of the path
DESCENTS = 24
RATE = 0.15
Points = np.ndarray[Any, Any]


def path(size: int = 240) -> Points:
    """Return the points of a heart, once around, in metres: shape (size, 2)."""
    t = np.linspace(0, 2 * np.pi, size, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([0.9 + x / 26, 1.0 + y / 26], axis=1).astype(np.float32)


def hand(angles: hl.vector) -> hl.vector:
    """Return where the hand is."""
    x = y = turned = 0.0
    for length, angle in zip(LINKS, angles, strict=True):
        turned = turned + angle
        x, y = x + length * hl.cos(turned), y + length * hl.sin(turned)
    return hl.vector([x, y])


def follow(goal: hl.vector) -> hl.vector:
    """Return the angles that bring the hand to the goal; they are the start for the next goal."""
    angles = hl.state(np.array(START, np.float32), name="angles")

    def descend(q: hl.vector) -> hl.vector:
        miss = goal - hand(q)
        lower: hl.vector = q - RATE * hl.grad(miss @ miss, q)
        return lower

    found: hl.vector = hl.loop(DESCENTS, descend, angles)
    angles.next = found
    return found


def in_python(points: Points) -> Points:
    """Follow the path in plain Python: floats, which are 64 bits wide."""
    a, b, c = START
    found = []
    for goal_x, goal_y in points.tolist():
        for _ in range(DESCENTS):
            x3, y3 = LINKS[2] * math.cos(a + b + c), LINKS[2] * math.sin(a + b + c)
            x2, y2 = x3 + LINKS[1] * math.cos(a + b), y3 + LINKS[1] * math.sin(a + b)
            x1, y1 = x2 + LINKS[0] * math.cos(a), y2 + LINKS[0] * math.sin(a)
            dx, dy = 2 * RATE * (goal_x - x1), 2 * RATE * (goal_y - y1)
            a += dy * x1 - dx * y1
            b += dy * x2 - dx * y2
            c += dy * x3 - dx * y3
        found.append((a, b, c))
    return np.array(found)


def in_numpy(points: Points) -> Points:
    """Follow the path in NumPy, float64, with arrays of three."""
    angles, lengths = np.array(START), np.array(LINKS)
    found = []
    for goal in points.astype(float):
        for _ in range(DESCENTS):
            turned = np.cumsum(angles)
            links = lengths * np.array([np.cos(turned), np.sin(turned)])
            levers = np.cumsum(links[:, ::-1], axis=1)[:, ::-1]  # from each joint to the hand
            dx, dy = 2 * RATE * (goal - levers[:, 0])
            angles = angles + dy * levers[0] - dx * levers[1]
        found.append(angles)
    return np.array(found)


def joints(angles: Points) -> Points:
    """Return where shoulder, elbow, wrist and hand are: shape (..., 4, 2)."""
    turned = np.cumsum(angles, axis=-1)
    links = np.asarray(LINKS)[:, None] * np.stack([np.cos(turned), np.sin(turned)], axis=-1)
    return np.concatenate([np.zeros_like(links[..., :1, :]), np.cumsum(links, axis=-2)], axis=-2)
