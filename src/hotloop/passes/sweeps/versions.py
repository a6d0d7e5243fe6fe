"""Versions of a body for vectors of lanes: what it is on those elements for which all that it reads in order lies inside of arrays.

There a comparison of the index often has one outcome, and with it a choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hotloop.dtypes import bool_, float64, int32, int64
from hotloop.ir.graph import LOOP, Node, apply, constant, param_node, structure
from hotloop.ir.loop import substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.rewrite import variables, walk
from hotloop.ir.sweep import AT
from hotloop.passes.sweeps.affine import Affine, Analysis, Fact, possible, settled, strongest

_COUNTED = {REGISTRY["to_float64"], REGISTRY["to_int32"]}
_TO_FLOAT32, _TO_INT64 = REGISTRY["to_float32"], REGISTRY["to_int64"]
MOST = 3  # versions of one body, and conditions that are assumed for one
LARGE = 150  # operations from which on there is one version


class Read(NamedTuple):
    """A load of elements in order: the array and the place."""

    array: Node
    place: Affine


@dataclass(slots=True)
class Version:
    """A body for the elements for which facts hold: its results, and what params in it stand for.

    reads: param -> elements in order; counts: params that are the index, in their own type.
    """

    ends: list[Node]
    facts: list[Fact]
    reads: dict[Node, Read]
    counts: list[Node]


class Versions:
    """Makes the versions of a body, which computes `ends` for an index."""

    def __init__(self, ends: Sequence[Node], index: Node) -> None:
        self.ends = list(ends)
        self.index = index
        self._varying: dict[int, bool] = {}
        self.analysis = Analysis(index, self.varies)
        self.walk(ends)

    def varies(self, node: Node) -> bool:
        """Whether a node that `walk` has found depends on the index, or on what a loop carries."""
        found = self._varying.get(node.id)
        return found if found is not None else any(map(self.varies, node.args))  # a new sum of terms

    def walk(self, ends: Iterable[Node]) -> list[Node]:
        """Return all nodes that `ends` need, bodies of loops entered, operands before users."""
        nodes = walk(ends)
        for loop in nodes:
            if loop.op is LOOP:
                self._varying.update(dict.fromkeys([param.id for param in variables(loop.attr)], True))
        for node in nodes:
            if node.id not in self._varying:
                self._varying[node.id] = node is self.index or any(self._varying[arg.id] for arg in node.args)
        return nodes

    def careful(self, plain: bool = False) -> Version:
        """Return the body that reads lane by lane, for any elements. plain: the index is an int64 alone, in any order."""
        if not plain:
            return self._version(self.ends, [], [])
        index = param_node(int64, ())
        return Version(substitute(self._near(self.ends, set()), {self.index.id: index}), [], {}, [index])

    def fast(self) -> list[Version]:
        """Return bodies that read in order: one, or several where conditions divide the elements, the most reading one first."""
        found: list[Version] = []
        self._divide(self.ends, [], found)
        return found[: MOST if len(self._varying) < LARGE else 1]

    def _divide(self, ends: list[Node], assumed: list[Fact], found: list[Version]) -> None:
        """Settle conditions by what is read, then by assuming them either way."""
        if len(found) >= MOST:
            return
        reads = self._reads(ends)
        facts = assumed + [fact for _, read in reads for fact in self.analysis.inside(*read)]
        sure = possible(facts)
        conditions = [(node, fact) for node in self.walk(ends) if node.dtype is bool_ and (fact := self.analysis.fact(node)) is not None]
        known = {node.id: settled(fact, facts if sure else assumed) for node, fact in conditions}
        mapping = {number: constant(holds, bool_, structural=False) for number, holds in known.items() if holds is not None}
        if mapping:
            self._divide(substitute(ends, mapping), assumed, found)
        elif conditions and len(assumed) < MOST:
            self._assume(ends, *conditions[0], assumed, found)
        elif sure:
            found.append(self._version(ends, reads, facts))

    def _assume(self, ends: list[Node], condition: Node, fact: Fact, assumed: list[Fact], found: list[Version]) -> None:
        sides = []
        # of two with as many loads, the one where a condition fails is kept: most ask whether an index is negative
        for holds, side in ((False, fact.opposite()), (True, fact)):
            if possible([*assumed, side]):
                taken = substitute(ends, {condition.id: constant(holds, bool_, structural=False)})
                sides.append((len(self._reads(taken)), taken, [*assumed, side]))
        for _, taken, more in sorted(sides, key=lambda found: -found[0]):
            self._divide(taken, more, found)

    def _reads(self, ends: Iterable[Node]) -> list[tuple[Node, Read]]:
        """Return the loads whose elements lie in order."""
        loads = [(node, self.analysis.affine(node.args[1])) for node in self.walk(ends) if node.op is AT]
        return [(node, Read(node.args[0], place)) for node, place in loads if place is not None and place.step == 1]

    def _version(self, ends: list[Node], reads: Sequence[tuple[Node, Read]], facts: list[Fact]) -> Version:
        """Return a version with params in place of what is read and of the index."""
        ends = self._near(ends, {node.id for node, _ in reads})
        mapping = {}
        params = {}
        for node, read in reads:
            mapping[node.id] = param = param_node(node.dtype, ())
            params[param] = read
        counts = [param_node(dtype, ()) for dtype in (int64, int32, float64)]
        mapping[self.index.id] = counts[0]
        for node in self.walk(ends):
            if node.args and node.args[0] is self.index and node.op in _COUNTED:
                mapping[node.id] = next(count for count in counts if count.dtype is node.dtype)
            elif node.args and node.args[0] is self.index and node.op is _TO_FLOAT32:  # exact in float64: it is rounded once
                mapping[node.id] = apply(_TO_FLOAT32, counts[2])
        ends = substitute(ends, mapping)
        used = {node.id for node in self.walk(ends)}
        kept = {param: read for param, read in params.items() if param.id in used}
        return Version(ends, strongest(facts), kept, [count for count in counts if count.id in used])

    def _near(self, ends: list[Node], read: set[int]) -> list[Node]:
        """Return a body in which lanes of 4 bytes find their places by indices that are no wider."""
        mapping = {}
        for node in self.walk(ends):
            if node.op is AT and node.id not in read and node.dtype.size <= 4 and node.args[1].op is _TO_INT64:
                place = node.args[1].args[0]
                if place.dtype is int32 and self.varies(place):
                    mapping[node.id] = structure(AT, (node.args[0], place), None, node.dtype, ())
        return substitute(ends, mapping)
