"""Sweeps as functions over a range of elements, written on vectors of lanes, where the body allows it."""

from __future__ import annotations

from hotloop.passes.effects import Task
from hotloop.passes.serial import Serial


def strips(task: Task) -> bool:
    """Whether a task can be written on vectors of lanes."""
    return False


class Strip(Serial):
    """Writes the functions of one task."""
