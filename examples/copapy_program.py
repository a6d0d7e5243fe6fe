"""A program written for Copapy: only the import line names hotloop.

It uses the names and habits of that package: writable values, vectors, tensors and quaternions, `iif`,
`grad`, `jit`, the filters, and a `Target` that is written, run and read.
"""

from __future__ import annotations

import math

import numpy as np

import hotloop as cp


def balance() -> dict[str, object]:
    """Scalars: a small controller with a choice, limits and a gradient."""
    angle = cp.value(0.2)
    speed = cp.value(-1.5)
    force = cp.clamp(-(12.0 * angle + 3.0 * speed), -4.0, 4.0)
    brake = cp.iif(cp.abs(speed) > 1.0, force * 0.5, force)
    energy = 0.5 * speed**2 + 9.81 * (1 - cp.cos(angle))
    by_angle, by_speed = cp.grad(energy, (angle, speed))

    tg = cp.Target()
    tg.compile(force, brake, energy, by_angle, by_speed)
    tg.run()
    first = tg.read_value((force, brake, energy, by_angle, by_speed))
    tg.write_value(angle, -0.5)
    tg.write_value(speed, 0.25)
    tg.run()
    return {"first": first, "second": tg.read_value((force, brake, energy, by_angle, by_speed))}


def shoulder() -> dict[str, object]:
    """Vectors, tensors and quaternions: where a tool on a turned arm points."""
    turn = cp.value(math.pi / 6)
    tool = cp.vector([0.3, 0.0, 0.1])
    q = cp.quaternion.from_euler(0.0, 0.0, turn)
    by_quaternion = q.rotate_vector(tool)
    by_axis = cp.rotate_vector(tool, cp.vector([0.0, 0.0, 1.0]), turn)
    c, s = cp.cos(turn), cp.sin(turn)
    by_matrix = cp.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ tool
    goal = cp.vector([0.1, 0.3, 0.1])
    gap, off = cp.distance(by_matrix, goal), cp.angle_between(by_matrix, goal)

    tg = cp.Target()
    tg.compile(by_quaternion, by_axis, by_matrix, gap, off)
    tg.run()
    parts = [tg.read_value(part) for part in (by_quaternion, by_axis, by_matrix)]
    return {"parts": parts, "gap": tg.read_value(gap), "off": tg.read_value(off)}


def spread() -> dict[str, object]:
    """Filters and reductions: what five range sensors agree on."""
    ranges = cp.vector([cp.value(x) for x in (2.0, 2.1, 9.0, 1.9, 2.2)])
    middle, average, order = cp.filters.median(ranges), cp.filters.mean(ranges), cp.filters.argsort(ranges)
    trusted = cp.minimum(ranges, 3.0).sum() / 5

    tg = cp.Target()
    tg.compile(middle, average, order, trusted)
    tg.run()
    return {name: tg.read_value(x) for name, x in (("middle", middle), ("average", average), ("order", order), ("trusted", trusted))}


@cp.jit
def orbit(x: float, y: float) -> tuple[object, object]:
    """Return radius and angle of a point."""
    return cp.sqrt(x * x + y * y), cp.atan2(y, x)


def reference() -> dict[str, dict[str, object]]:
    """Compute the same in NumPy, float64."""

    def scalars(angle: float, speed: float) -> list[float]:
        force = min(max(-(12 * angle + 3 * speed), -4.0), 4.0)
        energy = 0.5 * speed**2 + 9.81 * (1 - math.cos(angle))
        return [force, force * 0.5 if abs(speed) > 1 else force, energy, 9.81 * math.sin(angle), speed]

    c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)
    tip, goal = np.array([0.3 * c, 0.3 * s, 0.1]), np.array([0.1, 0.3, 0.1])
    off = math.acos(tip @ goal / np.linalg.norm(tip) / np.linalg.norm(goal))
    ranges = np.array([2.0, 2.1, 9.0, 1.9, 2.2])
    return {
        "balance": {"first": scalars(0.2, -1.5), "second": scalars(-0.5, 0.25)},
        "shoulder": {"parts": [tip, tip, tip], "gap": np.linalg.norm(tip - goal), "off": off},
        "spread": {
            "middle": np.median(ranges), "average": ranges.mean(), "order": np.argsort(ranges), "trusted": np.minimum(ranges, 3).sum() / 5,
        },
        "orbit": {"polar": [math.hypot(3, 4), math.atan2(4, 3)]},
    }  # fmt: skip


def main() -> dict[str, dict[str, object]]:
    """Run all parts; return what they found."""
    found = {"balance": balance(), "shoulder": shoulder(), "spread": spread(), "orbit": {"polar": orbit(3.0, 4.0)}}
    for name, parts in found.items():
        print(name, parts)
    return found


if __name__ == "__main__":
    main()
