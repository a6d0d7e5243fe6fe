"""Rebuilding a graph node by node, and the facts passes ask about it: order, uses, scopes.

States are leaves here: a cell belongs to every program that uses it, so a pass cannot change its
`next`. Who wants next values rewritten passes them as further outputs and reads them back.
Nothing here recurses, whatever the depth of a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import is_

from hotloop import _graph
from hotloop.ir.graph import LOOP, PARAM, STATE, Body, Node, structure
from hotloop.ir.loop import captures, rebuild

Visit = Callable[[Node, Sequence[Node]], Node]


def walk(outputs: Iterable[Node]) -> list[Node]:
    """Return all nodes that `outputs` need, operands before users; bodies of loops are entered."""
    return _graph.reachable(list(outputs), _inside)


def _inside(node: Node) -> Sequence[Node]:
    return () if node.op is STATE else ends(node.attr)


def ends(body: Body) -> list[Node]:
    """Return the nodes that a body computes for its loop: results, then the condition, if any."""
    return [*body.results, *([] if body.condition is None else [body.condition])]


def variables(body: Body) -> list[Node]:
    """Return the params that a body binds, its index included."""
    return [*body.params, *([] if body.index is None else [body.index])]


def count_uses(nodes: Iterable[Node], outputs: Iterable[Node]) -> dict[int, int]:
    """Return how often each node is used: as operand, as output, or as result of a loop's body."""
    nodes = list(nodes)
    uses = dict.fromkeys([node.id for node in nodes], 0)
    for node in nodes:
        for arg in node.args:
            uses[arg.id] += 1
    for node in chain(outputs, *[ends(node.attr) for node in nodes if node.op is LOOP]):
        uses[node.id] += 1
    return uses


class Scopes:
    """Which loops each node runs in, as bits: bit k stands for the loop numbered k.

    A node that depends on no param of a loop runs outside of it, wherever it was written.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        nodes = list(nodes)
        loops = [node for node in nodes if node.op is LOOP]
        self.of: dict[int, int] = {}
        self.trips = [10 if loop.attr.trips is None else loop.attr.trips for loop in loops]
        if not loops:
            return
        bound = {param.id: 1 << k for k, loop in enumerate(loops) for param in variables(loop.attr)}
        for node in nodes:
            self.of[node.id] = bound.get(node.id, 0) | self.joint(node.args)
        outer = [self.of[loop.id] for loop in loops]  # a loop in a loop: its params run in both
        changed = True
        while changed:
            nested = [mask | self._outer(mask, outer) for mask in outer]
            changed, outer = nested != outer, nested
        for number, mask in self.of.items():
            if mask:
                self.of[number] = mask | self._outer(mask, outer)

    @staticmethod
    def _outer(mask: int, outer: Sequence[int]) -> int:
        joined = 0
        while mask:
            low = mask & -mask
            joined |= outer[low.bit_length() - 1]
            mask ^= low
        return joined

    def joint(self, nodes: Iterable[Node]) -> int:
        """Return the loops that any of `nodes` runs in."""
        mask = 0
        for node in nodes:
            mask |= self.of.get(node.id, 0)
        return mask

    def repeats(self, node: Node) -> int:
        """Return how often a node runs in one run of the program; a while loop counts as 10 trips."""
        mask, times = self.of.get(node.id, 0), 1
        while mask:
            low = mask & -mask
            times *= self.trips[low.bit_length() - 1]
            mask ^= low
        return times


def rebuild_loop(loop: Node, fresh: Mapping[int, Node]) -> Node:
    """Return a LOOP node with the same params, its inits and body taken from `fresh` by id."""
    body: Body = loop.attr
    condition = None if body.condition is None else fresh[body.condition.id]
    results = tuple([fresh[result.id] for result in body.results])
    inits = [fresh[arg.id] for arg in loop.args[: len(body.params)]]
    if results == body.results and condition is body.condition and all(map(is_, inits, loop.args)):
        return loop
    body = Body(body.params, results, body.trips, body.index, condition)
    return structure(LOOP, (*inits, *captures(body)), body, loop.dtype, loop.shape)


def rewrite(outputs: Sequence[Node], visit: Visit) -> list[Node]:
    """Return `outputs` with each node replaced by visit(node, new operands), operands first.

    visit gets neither loops (they are rebuilt from what became of their bodies) nor leaves; it
    returns a node of the same type and shape, usually `rebuild(node, args)`. New nodes keep the
    source line of the node they are made for.
    """
    fresh: dict[int, Node] = {}
    try:
        for node in walk(outputs):
            _graph.set_origin(node)
            if node.op is LOOP:
                fresh[node.id] = rebuild_loop(node, fresh)
            else:
                args = node.args
                fresh[node.id] = visit(node, [fresh[arg.id] for arg in args]) if args else node
    finally:
        _graph.set_origin(None)
    return [fresh[output.id] for output in outputs]


__all__ = ["PARAM", "Scopes", "count_uses", "ends", "rebuild", "rebuild_loop", "rewrite", "variables", "walk"]
