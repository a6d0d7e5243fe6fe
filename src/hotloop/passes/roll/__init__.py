"""Pass `roll`: copies of one body that follow one another become a loop, where code shall be small.

A Python loop that was traced n times is n copies of its body in the graph. What they take from the copy before is
carried; what differs from copy to copy is looked up in an array in memory at the number of the trip; what is needed of every
copy is put there. The first and last copies, which often differ, may stay outside. Why like this: docs/notes/roll.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from hotloop import _graph
from hotloop.dtypes import DType, int64
from hotloop.ir.graph import LOOP, Body, Node, structure
from hotloop.ir.loop import captures
from hotloop.ir.rewrite import ends, variables
from hotloop.passes.price import Prices
from hotloop.passes.roll.rebuild import build, renew, renew_leaf
from hotloop.passes.roll.runs import SHORTEST, find_runs
from hotloop.passes.roll.segment import SAVED, Outer, Segment, best_segment
from hotloop.passes.roll.sequence import Operations, is_leaf, operations

LARGEST = 100_000  # operations of a scope that is looked at
TRIED = 24  # runs that are looked at closely
ROUNDS = 3  # loops in loops in loops
DEEPEST = 4  # loops around a body that is rolled


def roll(outputs: Sequence[Node], index: DType = int64) -> list[Node]:
    """Return scalar nodes computed in loops where that is clearly shorter; the same bits.

    index: the type of places in arrays. Returns nodes as they are where nothing repeats.
    Cost: linear, a few microseconds an operation.
    """
    return _Roller(index).scope(list(outputs), ())


class _Roller:
    """Rolls scopes; the bodies of loops are scopes too."""

    def __init__(self, index: DType) -> None:
        self.index = index
        self.prices = Prices()
        self.depth = 0  # of the loop whose body is rolled

    def scope(self, outputs: list[Node], bound: Sequence[Node]) -> list[Node]:
        """Roll what one scope computes, and then the bodies of its loops. bound: the params of its own loop."""
        for _ in range(ROUNDS):
            nodes = operations(outputs, bound)
            if len(nodes) > LARGEST:
                return outputs
            found = Operations(nodes, outputs)
            segments = self._chosen(found)
            if not segments:
                return self._replaced(found, [], outputs) if any(node.op is LOOP for node in nodes) else outputs
            early = _early(found, segments)
            if early:
                other = Operations(early, outputs)
                again = self._chosen(other)
                if _saved(again) > _saved(segments):
                    found, segments = other, again
            outputs = self._replaced(found, segments, outputs)
        return self._replaced(Operations(operations(outputs, bound), outputs), [], outputs)

    def _chosen(self, found: Operations) -> list[Segment]:
        """Return segments that do not overlap, those that save most first, in order of position."""
        chosen: list[Segment] = []
        if len(found.nodes) <= SHORTEST:
            return chosen
        runs = [run for run in find_runs(found) if run.saved >= max(SAVED, len(found.nodes) // 50)]
        for run in runs[:TRIED]:
            if any(run.start < segment.stop and segment.start < run.stop for segment in chosen):
                continue
            segment = best_segment(found, run, self.prices)
            if segment is not None:
                chosen.append(segment)
        return sorted(chosen, key=lambda segment: segment.start)

    def _replaced(self, found: Operations, segments: list[Segment], outputs: list[Node]) -> list[Node]:
        """Return `outputs` with loops in place of segments; without any, with the bodies of loops rolled."""
        nodes = found.nodes
        fresh: dict[int, Node] = {}
        waiting = segments[::-1]
        place = 0
        try:
            while place < len(nodes):
                if waiting and waiting[-1].start == place:
                    place = waiting[-1].stop
                    build(found, waiting.pop(), fresh, self.index)
                    continue
                node = nodes[place]
                _graph.set_origin(node)
                made = renew(node, fresh)
                if node.op is LOOP and not segments:
                    fresh[node.id] = self._loop(made)
                place += 1
        finally:
            _graph.set_origin(None)
        return [renew_leaf(output, fresh) if output.args else output for output in outputs]

    def _loop(self, loop: Node) -> Node:
        """Return a loop with its body rolled, unless it is deep inside: what a loop brings with it could roll without end."""
        if self.depth == DEEPEST:
            return loop
        body: Body = loop.attr
        before = ends(body)
        self.depth += 1
        after = self.scope(before, variables(body))
        self.depth -= 1
        if all(new is old for new, old in zip(after, before, strict=True)):
            return loop
        condition = after.pop() if body.condition is not None else None
        made = Body(body.params, tuple(after), body.trips, body.index, condition)
        return structure(LOOP, (*loop.args[: len(body.params)], *captures(made)), made, loop.dtype, loop.shape)


def _saved(segments: Sequence[Segment]) -> float:
    return sum(segment.saved for segment in segments)


def _early(found: Operations, segments: Sequence[Segment]) -> list[Node]:
    """Return operations in an order in which what all copies of a loop need comes first, [] if it does.

    The first copy is where it was computed: without it, that is a copy like the others.
    """
    wanted = {o.place for s in segments for row in s.operands for o in row if isinstance(o, Outer) and s.start - 2 * s.period <= o.place}
    stack = [place for place in wanted if place >= 0]
    first = set(stack)
    while stack:
        node = found.nodes[stack.pop()]
        for arg in node.args:
            for source in (arg, *(arg.args if is_leaf(arg) else ())):
                place = found.position.get(source.id)
                if place is not None and place not in first:
                    first.add(place)
                    stack.append(place)
    if not first or max(first) == len(first) - 1:
        return []
    ahead = sorted(first)
    return [found.nodes[i] for i in ahead] + [node for i, node in enumerate(found.nodes) if i not in first]
