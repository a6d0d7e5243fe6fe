"""Loops of steps that keep what they carry, trip by trip, so that they can be undone from the last trip to the first.

Scalars are kept in arrays by trip, arrays one behind the other in one long array. These grow to the double when they are full,
so that no trip is run twice to count them. Memory: what a loop carries, times its trips; what nothing reads again is not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hotloop.dtypes import int64
from hotloop.ir.graph import Node, apply, constant, param_node
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Alias, Allocate, Compute, If, Step, Store, Sweep, While, array_register, at
from hotloop.ops.shape import length_of
from hotloop.passes.adjoint.loops import ONE, ZERO
from hotloop.passes.adjoint.regions import Loop, as_steps, assigned

add, sub, mul, gt, ge, maximum = (REGISTRY[name] for name in ("add", "sub", "mul", "gt", "ge", "maximum"))
TWO, FIRST = constant(2, int64, structural=False), constant(16, int64, structural=False)  # trips that there is room for at first


@dataclass(slots=True, eq=False)
class _Kept:
    """Where one array is kept: elements of all trips, and by trip where they start and how many they are."""

    array: Node
    elements: Node
    filled: Node
    starts: Node
    lengths: Node


class Tape:
    """What one loop keeps. trips: the register of how many trips are on the tape."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.trips = param_node(int64, ())
        self.room = param_node(int64, ())  # for how many trips there is
        self.scalars = {param: array_register(param.dtype) for param in loop.params if not param.shape}
        self.arrays = [
            _Kept(param, array_register(param.dtype), param_node(int64, ()), array_register(int64), array_register(int64))
            for param in loop.params if param.shape
        ]  # fmt: skip

    def _by_trip(self) -> list[tuple[Node, Node]]:
        """Return the arrays that have an element for each trip, and what goes there."""
        found = [(tape, param) for param, tape in self.scalars.items()]
        found += [(kept.starts, kept.filled) for kept in self.arrays]
        return found + [(kept.lengths, length_of(kept.array, (0,))) for kept in self.arrays]

    def run(self, faults: bool) -> list[Step]:
        """Return the steps of the loop that put what is carried on the tape at each trip."""
        loop = self.loop
        start: list[Step] = [*assigned(loop.params, loop.inits), Compute((self.trips, self.room), (ZERO, FIRST))]
        start += [Allocate(tape, FIRST) for tape, _ in self._by_trip()]
        for kept in self.arrays:
            start += [Compute((kept.filled,), (ZERO,)), Allocate(kept.elements, length_of(kept.array, (0,)))]
        body = [*self._push(), *as_steps(loop.body, faults), *assigned(loop.params, loop.nexts)]
        return [*start, While(as_steps(loop.head, faults), loop.condition, body)]

    def _push(self) -> list[Step]:
        steps: list[Step] = []
        by_trip = self._by_trip()
        if by_trip:
            more: list[Step] = [Compute((self.room,), (apply(mul, self.room, TWO),))]
            more += [step for tape, _ in by_trip for step in _grown(tape, self.room)]
            steps.append(If(apply(ge, self.trips, self.room), more, []))
            steps.append(_one([Store(tape, self.trips, value) for tape, value in by_trip]))
        for kept in self.arrays:
            count, room = length_of(kept.array, (0,)), length_of(kept.elements, (0,))
            end, index = param_node(int64, ()), param_node(int64, ())
            steps.append(Compute((end,), (apply(add, kept.filled, count),)))
            steps.append(If(apply(gt, end, room), _grown(kept.elements, apply(maximum, apply(mul, room, TWO), end)), []))
            steps.append(Sweep(count, index, (Store(kept.elements, apply(add, kept.filled, index), at(kept.array, index)),)))
            steps.append(Compute((kept.filled,), (end,)))
        steps.append(Compute((self.trips,), (apply(add, self.trips, ONE),)))
        return steps

    def undo(self, body: Sequence[Step]) -> Step:
        """Return the loop that runs `body` for each trip, the last one first, with what was carried into the trip."""
        steps: list[Step] = [Compute((self.trips,), (apply(sub, self.trips, ONE),))]
        if self.scalars:
            steps.append(Compute(tuple(self.scalars), tuple([at(tape, self.trips) for tape in self.scalars.values()])))
        for kept in self.arrays:
            start, count, index = (param_node(int64, ()) for _ in range(3))
            steps.append(Compute((start, count), (at(kept.starts, self.trips), at(kept.lengths, self.trips))))
            steps.append(Allocate(kept.array, count))
            steps.append(Sweep(count, index, (Store(kept.array, index, at(kept.elements, apply(add, start, index))),)))
        return While([], apply(gt, self.trips, ZERO), [*steps, *body])


def _one(effects: Sequence[Store]) -> Sweep:
    return Sweep(ONE, param_node(int64, ()), tuple(effects))


def _grown(array: Node, length: Node) -> list[Step]:
    """Return the steps that let an array have more elements."""
    more, index, size = array_register(array.dtype), param_node(int64, ()), param_node(int64, ())
    count = length_of(array, (0,))
    copied = Sweep(count, index, (Store(more, index, at(array, index)),))
    return [Compute((size,), (length,)), Allocate(more, size), copied, Alias((array,), (more,))]


__all__ = ["Tape"]
