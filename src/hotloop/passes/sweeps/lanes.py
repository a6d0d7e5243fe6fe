"""`SweepLanes`: the body of a sweep on vectors of lanes, with loads at the places of each lane, and loops that lanes leave one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hotloop.dtypes import bool_, int32, int64
from hotloop.ir.graph import CONST, ITEM, LOOP, PARAM, Body, Node
from hotloop.ir.loop import dependents
from hotloop.ir.op import REGISTRY, Op, wide_short
from hotloop.ir.program import WIDE_NUMBER, overloads
from hotloop.ir.rewrite import ends, walk
from hotloop.ir.sweep import AT
from hotloop.passes.kernel import Kernel, Result, Stream
from hotloop.passes.lanes import Factors, Lanes, LaneStep, Read, Wide
from hotloop.passes.sweeps.versions import Version
from hotloop.passes.wide import MASKS, form_of

if TYPE_CHECKING:
    from hotloop.passes.linearize import Builder
    from hotloop.passes.sweeps.frame import Frame

_AND, _OR, _SELECT = (REGISTRY[name] for name in ("and", "or", "select"))
LIVE = 6  # values of a loop up to which it takes two registers of each, to hide the latency of one


class _Loop(NamedTuple):
    """A loop, looked up: what decides whether a lane goes on, the rest of the body."""

    body: Body
    test: list[LaneStep]
    rest: list[LaneStep]


def has_lanes(nodes: Iterable[Node]) -> bool:
    """Whether nodes can be written on vectors of lanes."""
    return all(map(_has_lanes, nodes))


def _has_lanes(node: Node) -> bool:
    if node.op is LOOP:
        return node.attr.trips is None and node.attr.index is None
    return node.op in (AT, PARAM, ITEM) or form_of(node) is not None


def registers_of(version: Version) -> int:
    """Return how many registers of the narrowest lanes a slice takes: more than one where loops leave room for them."""
    loops = [node for node in walk(version.ends) if node.op is LOOP]
    return 2 if loops and all(sum(not arg.is_const for arg in loop.args) <= LIVE for loop in loops) else 1


class SweepLanes(Lanes):
    """Writes one version of the body of a sweep.

    active: the lanes whose elements count; the others run no loops. splatted: gives a scalar in all lanes.
    """

    def __init__(
        self, builder: Builder, frame: Frame, node: Node, version: Version, folds: Sequence[Op], contract: bool, narrowest: int | None,
        registers: int,
    ) -> None:  # fmt: skip
        """Look all operations up. folds: of the last of the version's results; the others are not reduced."""
        self.frame = frame
        self.version = version
        self.leaves = [*version.reads, *version.counts]
        self.loops: dict[int, _Loop] = {}
        self.items: dict[int, tuple[int, int]] = {}
        self.active: Wide | None = None
        self._after: dict[int, list[Wide]] = {}
        rows: list[Op | None] = [*[None] * (len(version.ends) - len(folds)), *folds]
        results = tuple([Result(value, fold, ()) for value, fold in zip(version.ends, rows, strict=True)])
        kernel = Kernel((), 0, 0, tuple([Stream(leaf, (), 0) for leaf in self.leaves]), (), results, contract)
        super().__init__(builder, node, builder.vector_bytes, kernel, narrowest, registers)
        self.together = 1 if self.loops else self.together  # loops of two slices run one after the other

    # -- looking up --------------------------------------------------------------------------------

    def step(self, node: Node) -> LaneStep:
        """Look an operation up; loads at places of each lane are operations, and so are loops."""
        if node.op is AT:
            return self._gather(node)
        if node.op is LOOP:
            return self._loop(node)
        if node.op is ITEM:
            self.items[node.id] = node.args[0].id, node.attr
            self.lane_of[node.id] = self.lane(node.dtype)
            return LaneStep(node.id, (), (), 0, 0, False, ())
        return super().step(node)

    def _gather(self, node: Node) -> LaneStep:
        array, place = node.args
        lane = self.lane_of[node.id] = self.lane(node.dtype)
        joins = place.dtype is int64 and lane == 4
        short = wide_short(node.dtype, lane)
        name = f"gather.{short}.i32w" if place.dtype is int32 else f"gather.{short}.i64w{'.i64w' if joins else ''}"
        return LaneStep(node.id, (place.id,), (overloads()[name],), WIDE_NUMBER[short], lane, joins, (False,), self.frame.array(array))

    def _loop(self, node: Node) -> LaneStep:
        body: Body = node.attr
        assert body.condition is not None, "asked by has_lanes"
        self.lane_of.update({param.id: self.lane(param.dtype) for param in body.params})
        members = [member for member in dependents(ends(body), body.params) if member.op is not PARAM]
        tested = {member.id for member in dependents([body.condition], body.params)}
        test = [self.step(member) for member in members if member.id in tested]
        self.loops[node.id] = _Loop(body, test, [self.step(member) for member in members if member.id not in tested])
        return LaneStep(node.id, tuple([arg.id for arg in node.args if not arg.shape]), (), 0, 0, False, ())

    # -- values ------------------------------------------------------------------------------------

    def settle(self, splatted: Callable[[Lanes, Node], Wide]) -> None:
        """Write what is the same at every element into all lanes; it has been computed."""
        steps, known = list(self.steps), set(self.number)
        for step in steps:
            known.add(step.id)
            if step.id in self.loops:
                loop = self.loops[step.id]
                known.update(param.id for param in loop.body.params)
                steps += [*loop.test, *loop.rest]
        wanted = {arg for step in steps for arg in step.args} | {end.id for end in self.values}
        wanted |= {end.id for pair in self.factors for end in pair or ()}
        wanted |= {end.id for loop in self.loops.values() for end in ends(loop.body)}
        for node in self.outside:
            if node.id in wanted and node.id not in known:
                self.fixed[node.id] = self.constant(node.attr.value, node.dtype) if node.op is CONST else splatted(self, node)

    def results_of(self, read: Read, active: Wide | None) -> tuple[list[Wide], list[Wide | Factors]]:
        """Write the body at one slice, of which some lanes count; return the results, and those that are reduced."""
        self.active = active
        found = self.results(read)
        count = len(found) - len(self.folds)
        return [self.plain(value, result.dtype) for value, result in zip(found[:count], self.values, strict=False)], found[count:]

    def write(self, step: LaneStep, found: dict[int, Wide]) -> None:
        """Write one operation."""
        if step.overloads:
            super().write(step, found)
        elif step.id in self.items:
            loop, place = self.items[step.id]
            found[step.id] = self._after[loop][place]
        else:
            self._after[step.id] = self._write_loop(step, found)
            found[step.id] = self._after[step.id][0]

    def _write_loop(self, step: LaneStep, found: dict[int, Wide]) -> list[Wide]:
        """Write a loop that runs while any lane goes on; the others keep what they have."""
        loop, builder, outer = self.loops[step.id], self.builder, self.active
        inits = [found[arg] for arg, _ in zip(step.args, loop.body.params, strict=False)]
        inits = [self._as(x, param) for x, param in zip(inits, loop.body.params, strict=True)]
        shorts = [MASKS[self.narrowest], *[wide_short(p.dtype, x.lane) for p, x in zip(loop.body.params, inits, strict=True)]]
        pairs, (going, *params) = self.carry([outer or self.constant(True, bool_), *inits], shorts)
        which = builder.begin_while(self.node, pairs)
        found.update(zip([param.id for param in loop.body.params], params, strict=True))
        for inner in loop.test:
            self.write(inner, found)
        assert loop.body.condition is not None, "asked by has_lanes"
        active = self.each(_AND, (bool_, bool_), MASKS[self.narrowest], self.narrowest, (going, self.narrow(found[loop.body.condition.id])))
        builder.leave_unless(self.node, which, self.any(active))
        self.active = active
        for inner in loop.rest:
            self.write(inner, found)
        self.active = outer
        given = [active]
        for param, old, result in zip(loop.body.params, params, loop.body.results, strict=True):
            short, mask = wide_short(param.dtype, old.lane), self.with_lanes(active, old.lane)
            name = f"select.{MASKS[old.lane]}.{short}.{short}"
            columns = zip(mask.parts, self._as(found[result.id], param).parts, old.parts, strict=True)
            given.append(Wide(old.lane, tuple([self.emit(name, short, column) for column in columns])))
        builder.end_loop(self.node, which, [part for wide in given for part in wide.parts])
        return params

    def _as(self, value: Wide, param: Node) -> Wide:
        """Return a value with the lanes that a carried variable has."""
        return self.narrow(value) if param.dtype is bool_ else value

    def narrow(self, mask: Wide) -> Wide:
        """Return a mask with the narrowest lanes."""
        return self.with_lanes(mask, self.narrowest)

    def both(self, x: Wide, y: Wide) -> Wide:
        """Return where two masks of the narrowest lanes hold."""
        return self.each(_AND, (bool_, bool_), MASKS[x.lane], x.lane, (x, y))

    def any(self, mask: Wide) -> int:
        """Return whether a mask of the narrowest lanes holds anywhere."""
        short, found = MASKS[mask.lane], mask.parts[0]
        for part in mask.parts[1:]:
            found = self.emit(f"or.{short}.{short}", short, (found, part))
        return self.builder.emit(self.node, f"fold_or.{short}", self.builder.new_value(None, bool_), (found,), 0)
