"""A segment becomes a loop: its body on params and look-ups, and nodes for what is needed of it outside."""

from __future__ import annotations

import numpy as np

from hotloop import _graph
from hotloop.dtypes import DType, int32
from hotloop.ir.graph import Body, Node, constant, convert, param_node, structure
from hotloop.ir.loop import build_loop, dependents, rebuild
from hotloop.ops.algebra import call
from hotloop.ops.shape import element, pack
from hotloop.passes.record import ROOM, UPDATE
from hotloop.passes.roll.segment import Carry, Line, Operand, Outer, Segment, Table, counted, places_of
from hotloop.passes.roll.sequence import Operations
from hotloop.passes.unroll import LOOKUP


def renew(node: Node, fresh: dict[int, Node]) -> Node:
    """Return a node on what became of its operands, and remember it."""
    known = fresh.get(node.id)
    if known is not None or not node.args:
        return node if known is None else known
    args = [fresh.get(arg.id, arg) if arg.id in fresh or not arg.args else renew_leaf(arg, fresh) for arg in node.args]
    made = node if all(new is old for new, old in zip(args, node.args, strict=True)) else rebuild(node, args)
    fresh[node.id] = made
    return made


def renew_leaf(node: Node, fresh: dict[int, Node]) -> Node:
    """Return an element of an array on what became of the array; anything else as it is."""
    known = fresh.get(node.id)
    if known is None:
        array = fresh.get(node.args[0].id) if len(node.args) == 1 and not node.shape and node.args[0].shape else None
        known = fresh[node.id] = node if array is None or array is node.args[0] else rebuild(node, [array])
    return known


def build(found: Operations, segment: Segment, fresh: dict[int, Node], index: DType) -> None:
    """Build the loop of a segment, and remember in `fresh` what stands for the nodes of it that are needed outside."""
    _Loop(found, segment, fresh, index).build()


class _Loop:
    """A loop while it is built."""

    def __init__(self, found: Operations, segment: Segment, fresh: dict[int, Node], index: DType) -> None:
        self.found = found
        self.segment = segment
        self.fresh = fresh
        self.index = index
        self.trip = param_node(int32, ())
        self.params = {carry: param_node(self._node(0, carry.position).dtype, ()) for carry in segment.carries}
        self.tables = {table: self._looked_up(table) for table in segment.ways}
        self.body: list[Node] = []
        self.carried: list[tuple[Node, Node, Node]] = []  # param, init, result
        self.finals: dict[tuple[int, int], Node] = {}  # position, trips back -> param that nothing in the body reads

    def build(self) -> None:
        """Build the body, what it carries, and what is taken of it."""
        segment = self.segment
        for position, operands in enumerate(segment.operands):
            node = self._node(segment.count - 1, position)
            _graph.set_origin(node)
            self.body.append(rebuild(node, [self._operand(operand) for operand in operands]))
        for carry, param in self.params.items():
            self.carried.append((param, self._outer(carry.inits[0]), self._follower(carry)))
        wanted: list[tuple[Node, Node, int | None]] = []  # node, param that gives it in the end, place in an array
        for position, copies in segment.given.items():
            record = None if segment.late(position) else self._recorded(position)
            for copy in copies:
                param = record or self._kept(position, segment.count - 1 - copy)
                wanted.append((self._node(copy, position), param, copy if record else None))
        params, inits, results = zip(*self.carried, strict=True)
        trip = self.trip if dependents(results, [self.trip]) else None
        ends = build_loop(inits, Body(params, results, segment.count, trip, None))
        given = {param.id: end for param, end in zip(params, ends, strict=True)}
        for node, param, place in wanted:
            end = given[param.id]
            self.fresh[node.id] = end if place is None else element(end, place)

    def _node(self, copy: int, position: int) -> Node:
        return self.found.nodes[self.segment.start + copy * self.segment.period + position]

    def _outer(self, place: int) -> Node:
        """Return what became of a node that is computed outside."""
        node = self.found.at(place)
        known = self.fresh.get(node.id)
        return known or (renew_leaf(node, self.fresh) if node.args else node)

    def _operand(self, operand: Operand) -> Node:
        if isinstance(operand, int):
            return self.body[operand]
        if isinstance(operand, Outer):
            return self._outer(operand.place)
        return self.params[operand] if isinstance(operand, Carry) else self.tables[operand]

    def _follower(self, carry: Carry) -> Node:
        """Return what a carried value is in the next trip: younger by one."""
        rest = carry.inits[1:]
        return self.params[Carry(carry.position, rest)] if rest else self.body[carry.position]

    def _kept(self, position: int, back: int) -> Node:
        """Return a param that is in the end what a position gave `back` trips before the last."""
        for carry, param in self.params.items():
            if carry.position == position and len(carry.inits) == back + 1:
                return param
        known = self.finals.get((position, back))
        if known is None:
            dtype = self._node(0, position).dtype
            known = self.finals[position, back] = param_node(dtype, ())
            result = self._kept(position, back - 1) if back else self.body[position]
            self.carried.append((known, constant(0, dtype, structural=False), result))
        return known

    def _recorded(self, position: int) -> Node:
        """Return a param that is an array in memory in which each trip puts what a position gives."""
        value, shape = self.body[position], (self.segment.count,)
        param = param_node(value.dtype, shape)
        room = structure(ROOM, (), shape, value.dtype, shape)
        result = structure(UPDATE, (param, self._place(0, 1), value), None, value.dtype, shape)
        self.carried.append((param, room, result))
        return param

    def _place(self, first: int, step: int) -> Node:
        """Return first + step * trip, of the type of places in arrays."""
        place = self.trip if step == 1 else call("mul", self.trip, step)
        return convert(call("add", place, first) if first else place, self.index)

    def _looked_up(self, table: Table) -> Node:
        """Return the item of a table at the number of the trip."""
        line = counted([self.found.at(place) for place in table.items])
        if line is not None:
            return call("add", call("mul", self.trip, line[1]), line[0])
        way = self.segment.ways[table]
        if isinstance(way.array, tuple):
            items = [self._outer(place) for place in table.items]
            way = places_of(items) or Line(_packed([self._outer(place) for place in way.array]), way.places)
        assert isinstance(way.array, Node)
        array = self.fresh.get(way.array.id, way.array)
        if way.line is not None:
            return _look_up(array, self._place(*way.line))
        places = constant(np.array(way.places, self.index.numpy), self.index, structural=False)
        return _look_up(array, _look_up(places, self._place(0, 1)))


def _packed(items: list[Node]) -> Node:
    return structure(pack, items, {"shape": (len(items),)}, items[0].dtype, (len(items),))


def _look_up(array: Node, place: Node) -> Node:
    return structure(LOOKUP, (array, place), None, array.dtype, ())
