"""Reductions by any associative operator on vectors of lanes: each lane takes a segment of the chunk.

What they give is combined in order, so the operator need not be commutative. Elements are read lane by lane, since
segments are far from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from hotloop.dtypes import DType, bool_, int64
from hotloop.ir.graph import Node, constant
from hotloop.ir.op import REGISTRY, wide_short
from hotloop.ir.program import IN_MEMORY, Program
from hotloop.ir.sweep import Operator, Reduce
from hotloop.ops.shape import LANES
from hotloop.passes.lanes import Lanes, Wide
from hotloop.passes.sweeps.lanes import SweepLanes
from hotloop.passes.sweeps.serial import Function, Serial, Values
from hotloop.passes.sweeps.versions import Version, Versions
from hotloop.passes.wide import MASKS

_OR = REGISTRY["or"]


class Segments(Serial):
    """Writes the functions of one task."""

    def run(self) -> Program:
        """Write the function that executes a chunk."""
        return _Segments(self, self.task.ends()).run()


@dataclass(slots=True)
class _Part:
    """A reduction while it is written. has, states: short name of the type, and its value, of what is carried; rooms: for each lane."""

    reduce: Reduce
    body: SweepLanes
    shorts: list[str]
    rooms: list[int]


class _Segments(Function):
    """The function that executes a chunk."""

    def run(self) -> Program:
        """Write the segments of a chunk from low to high, then the states that they give."""
        builder = self.builder
        builder.add(self.outside)
        self._make_bodies()
        for body in (self.body, *[part.body for part in self.parts]):
            body.settle(self._splatted)
        zero = self.number(0)
        count = self.integer("maximum", self.integer("sub", self.high, self.low), zero)
        size = self.integer("rshift", self.integer("add", count, self.number(LANES - 1)), self.number(LANES.bit_length() - 1))
        self._groups(zero, size)
        self.store_states(self._joined_lanes(zero))
        return builder.program()

    def _make_bodies(self) -> None:
        """Look up what is reduced, and the operators, all with lanes of one width."""
        reduces = self.task.reduces
        ends = [node for reduce in reduces for node in (*reduce.values, *([] if reduce.keep is None else [reduce.keep]))]
        versions = [Versions(ends, self.index).careful(plain=True)]
        versions += [_version(reduce.operator) for reduce in reduces]

        def make(narrowest: int | None) -> list[SweepLanes]:
            registers = 2 if narrowest == 8 else 1  # fewer than 8 lanes would wait for each other
            return [SweepLanes(self.builder, self.frame, self.node, version, (), False, narrowest, registers) for version in versions]

        found = make(min(body.narrowest for body in make(None)))
        self.body, self.slice = found[0], found[0].slice
        self.parts = [self._part(reduce, body) for reduce, body in zip(reduces, found[1:], strict=True)]

    def _part(self, reduce: Reduce, body: SweepLanes) -> _Part:
        dtypes = [bool_, *[value.dtype for value in reduce.values]]
        rooms = [self.builder.memory.room(LANES * dtype.size) for dtype in dtypes]
        return _Part(reduce, body, [wide_short(dtype, body.lane(dtype)) for dtype in dtypes], rooms)

    def _splatted(self, body: Lanes, node: Node) -> Wide:
        return body.splat(self.builder.use(node), node.dtype)

    # -- lanes -----------------------------------------------------------------------------------------

    def _groups(self, zero: int, size: int) -> None:
        """Write a loop over as many segments at a time as there are lanes in a slice."""
        builder, body = self.builder, self.body
        condition = self.emit("lt.i64.i64", bool_, zero, self.number(LANES))
        first = builder.new_value(None, int64)
        loop = builder.begin_range(self.node, self.number(LANES), condition, [(first, zero)])
        begin = self.integer("add", self.low, self.integer("mul", first, size))
        steps = self._spread(size)
        starts = self._each("add.i64w.i64w", "i64w", self._same(begin), steps)
        end = self._same(self.high)
        ends = self._each("minimum.i64w.i64w", "i64w", self._each("add.i64w.i64w", "i64w", starts, self._same(size)), end)
        carried = [("i64w", starts)]
        for part in self.parts:
            carried.append((part.shorts[0], body.constant(False, bool_)))
            carried += [(s, body.constant(0, v.dtype)) for s, v in zip(part.shorts[1:], part.reduce.values, strict=True)]
        given = self._segment(size, carried, ends)[1:]
        for part in self.parts:
            for (short, value), room, dtype in zip(given, part.rooms, [bool_, *[v.dtype for v in part.reduce.values]], strict=False):
                per_part = self.vector_bytes // value.lane
                for k, register in enumerate(value.parts):
                    self.emit(f"store.{short}", None, register, first, immediate=room + k * per_part * dtype.size)
            given = given[len(part.rooms) :]
        following = self.integer("add", first, self.number(self.slice))
        builder.end_loop(self.node, loop, [following], self.number(LANES))

    def _same(self, scalar: int) -> Wide:
        return self.body.splat(scalar, int64)

    def _spread(self, size: int) -> Wide:
        """Return 0, size, 2 size, ... in the lanes."""
        per_part = self.vector_bytes // 8
        numbers = [np.arange(start, start + per_part, dtype=np.int64) for start in range(0, self.slice, per_part)]
        places = [self.builder.memory.vector(each.tobytes()) for each in numbers]
        lanes = Wide(8, tuple([self.builder.new_wide("i64w", place, IN_MEMORY) for place in places]))
        return self._each("mul.i64w.i64w", "i64w", self._same(size), lanes)

    def _each(self, name: str, short: str, x: Wide, y: Wide) -> Wide:
        return Wide(8, tuple([self.body.emit(name, short, pair) for pair in zip(x.parts, y.parts, strict=True)]))

    def _segment(self, size: int, carried: Sequence[tuple[str, Wide]], ends: Wide) -> list[tuple[str, Wide]]:
        """Write a loop over the elements of segments, one of each at a time; return what is carried out of it."""
        builder, body = self.builder, self.body
        zero = self.number(0)
        condition = self.emit("lt.i64.i64", bool_, zero, size)
        trip = builder.new_value(None, int64)
        pairs, wides = body.carry([value for _, value in carried], [short for short, _ in carried])
        loop = builder.begin_range(self.node, size, condition, [(trip, zero), *pairs])
        place, *state = wides
        inside = body.narrow(self._each("lt.i64w.i64w", MASKS[8], place, ends))
        values, _ = body.results_of(lambda _: place, inside)
        following: list[Wide] = []
        for part in self.parts:
            count = len(part.rooms)
            keep = inside if part.reduce.keep is None else body.both(inside, body.narrow(values[count - 1]))
            following += self._combined_lanes(part, state[:count], values[: count - 1], keep)
            state, values = state[count:], values[count - 1 + (part.reduce.keep is not None) :]
        place = self._each("add.i64w.i64w", "i64w", place, self._same(self.number(1)))
        results = [self.integer("add", trip, self.number(1)), *[register for wide in (place, *following) for register in wide.parts]]
        builder.end_loop(self.node, loop, results, size)
        return [(short, value) for (short, _), value in zip(carried, wides, strict=True)]

    def _combined_lanes(self, part: _Part, state: Sequence[Wide], values: Sequence[Wide], keep: Wide) -> list[Wide]:
        """Combine elements with what their lanes have; a lane that has nothing takes the element."""
        body, (has, *old) = part.body, state
        operands = [*old, *values]
        numbers = {leaf.id: k for k, leaf in enumerate((*part.reduce.operator.left, *part.reduce.operator.right))}
        new, _ = body.results_of(partial(_operand, body, operands, numbers), body.both(keep, has))
        found = [body.combine(_OR, bool_, has, keep)]
        for short, x, mine, value in zip(part.shorts[1:], new, old, values, strict=True):
            x, value = [body.narrow(each) if short.startswith("b") else each for each in (x, value)]
            first = self._chosen(short, has, x, value)
            found.append(self._chosen(short, keep, first, mine))
        return found

    def _chosen(self, short: str, mask: Wide, x: Wide, y: Wide) -> Wide:
        name = f"select.{MASKS[x.lane]}.{short}.{short}"
        columns = zip(self.body.with_lanes(mask, x.lane).parts, x.parts, y.parts, strict=True)
        return Wide(x.lane, tuple([self.body.emit(name, short, column) for column in columns]))

    # -- what lanes give -------------------------------------------------------------------------------

    def _joined_lanes(self, zero: int) -> Values:
        """Combine what lanes give, in order; return the states."""
        carried: list[tuple[DType, int]] = []
        for part in self.parts:
            for dtype in (bool_, *[value.dtype for value in part.reduce.values]):
                carried.append((dtype, self.builder.use(constant(False if dtype is bool_ else 0, dtype))))

        def lane(number: int, values: Values) -> Values:
            given: Values = []
            for part in self.parts:
                count = len(part.rooms)
                dtypes = [bool_, *[value.dtype for value in part.reduce.values]]
                more = [self.emit(f"get.{d.short}", d, number, immediate=room) for d, room in zip(dtypes, part.rooms, strict=True)]
                given += self.joined_kept(part.reduce, values[:count], more)
                values = values[count:]
            return given

        found, states = self.loop(zero, self.number(LANES), carried, lane), []
        for part in self.parts:
            states += found[0 if part.reduce.keep is not None else 1 : len(part.rooms)]
            found = found[len(part.rooms) :]
        return states


def _version(operator: Operator) -> Version:
    return Version(list(operator.combined), [], {}, [*operator.left, *operator.right])


def _operand(body: SweepLanes, operands: Sequence[Wide], numbers: dict[int, int], leaf: int) -> Wide:
    return operands[numbers[body.leaves[leaf].id]]
