"""Derivatives of what is computed for an element, as parts: how much of a derivative goes to a register or to an element.

A part is a graph over the indices of its dims: of the sweep, and of the loops inside of its body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from hotloop.dtypes import int64
from hotloop.errors import DivisionByZero, GradientError
from hotloop.ir.graph import ITEM, PARAM, Body, Node, apply, constant, param_node, source_line, structure
from hotloop.ir.loop import build_loop, substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import AT
from hotloop.passes.adjoint.again import carried_with, state_at
from hotloop.passes.adjoint.loops import ONE, ZERO, Dim, Summation, summation, summed, switch_of, trips, where, zero
from hotloop.passes.gradient import pull, zeros

add, sub, div, eq, gt, select = (REGISTRY[name] for name in ("add", "sub", "div", "eq", "gt", "select"))


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """For each combination of the indices of dims, `value` is added to the derivative of an array's element at `place`.

    Of a scalar register the place is None.
    """

    target: Node
    place: Node | None
    value: Node
    dims: tuple[Dim, ...]


def parts_of(outputs: Sequence[Node], seeds: Sequence[Node], dims: Sequence[Dim], active: Callable[[Node], bool]) -> list[Part]:
    """Return the sum of outputs weighted by seeds, over all indices of dims, derived by the registers that are active."""
    collector = _Collector(active, tuple(dims))
    collector.derive(outputs, seeds, ())
    return _joined(collector.found)


def derivatives(output: Node, sources: Sequence[Node]) -> list[Node | None]:
    """Return the derivative of a float by others that it is computed from, loops on the way included; None is zero."""
    return _Collector(lambda _: False, ()).derive([output], [constant(1.0, output.dtype, structural=False)], sources)


def _joined(parts: Iterable[Part]) -> list[Part]:
    """Add up parts of one element, and leave out zeros."""
    found: dict[tuple[object, ...], Part] = {}
    for part in parts:
        key = part.target.id, part.place and part.place.id, part.dims
        known = found.get(key)
        found[key] = part if known is None else replace(known, value=apply(add, known.value, part.value))
    return list(found.values())


class _Collector:
    def __init__(self, active: Callable[[Node], bool], dims: tuple[Dim, ...]) -> None:
        self.active = active
        self.dims = dims
        self.found: list[Part] = []

    def derive(self, outputs: Sequence[Node], seeds: Sequence[Node], sources: Sequence[Node]) -> list[Node | None]:
        """Return the derivatives by `sources`; those by registers and elements that lie before them become parts."""
        known = {source.id for source in sources}
        below = _below(outputs, known)
        loads = [node for node in below if node.op is AT]
        registers = [node for node in below if node.op is PARAM and self.active(node)]
        leaves = [*sources, *loads, *registers]
        parts = self._pulled(outputs, seeds, leaves)
        for leaf, part in zip(leaves[len(sources) :], parts[len(sources) :], strict=True):
            target, place = (leaf.args[0], leaf.args[1]) if leaf.op is AT else (leaf, None)
            if part is not None and self.active(target):
                self.found.append(Part(target, place, part, self.dims))
        return parts[: len(sources)]

    def _pulled(self, outputs: Sequence[Node], seeds: Sequence[Node], leaves: Sequence[Node]) -> list[Node | None]:
        """Return derivatives by leaves; a constant over a constant zero is infinite, as it is when the function runs."""
        mark = len(self.found)
        try:
            return pull(outputs, seeds, leaves, self._through)
        except DivisionByZero:
            del self.found[mark:]
        stand_ins = [param_node(seed.dtype, ()) if seed.is_const else seed for seed in seeds]
        parts = pull(outputs, stand_ins, leaves, self._through)
        known = {stand_in.id: seed for stand_in, seed in zip(stand_ins, seeds, strict=True) if stand_in is not seed}
        self.found[mark:] = [replace(part, value=substitute([part.value], known)[0]) for part in self.found[mark:]]
        return [None if part is None else substitute([part], known)[0] for part in parts]

    def _through(self, loop: Node, items: dict[int, Node], sources: Sequence[Node]) -> list[Node | None]:
        body: Body = loop.attr
        items = {k: cotangent for k, cotangent in items.items() if body.results[k].dtype.is_float}
        if not items:
            return [None] * len(sources)
        switch = switch_of(loop)
        if switch is not None:
            return self._branch(loop, switch, items, sources)
        sums = summation(loop, items)
        return self._again(loop, items, sources) if sums is None else self._sum(loop, sums, items, sources)

    # -- branches ----------------------------------------------------------------------------------

    def _branch(self, loop: Node, number: int, items: dict[int, Node], sources: Sequence[Node]) -> list[Node | None]:
        body: Body = loop.attr
        switch, holds = body.params[number], loop.args[number]
        inits = {param.id: init for param, init in zip(body.params, loop.args, strict=False) if param is not switch}
        outputs = substitute([body.results[k] for k in items], inits)
        mark = len(self.found)
        parts = self.derive(outputs, list(items.values()), sources)
        given = iter(where(holds, switch, [part for part in parts if part is not None]))
        parts = [None if part is None else next(given) for part in parts]
        self.found[mark:] = [self._guarded(part, holds, switch) for part in self.found[mark:]]
        for k, cotangent in items.items():
            init = loop.args[k]
            if not init.is_const and init in sources:
                rest = apply(select, holds, zeros(init), cotangent)
                place = list(sources).index(init)
                before = parts[place]
                parts[place] = rest if before is None else apply(add, before, rest)
        return parts

    def _guarded(self, part: Part, holds: Node, switch: Node) -> Part:
        """Return a part that was found inside of a branch, as it is outside."""
        nodes = [part.value, *([] if part.place is None else [part.place])]
        value, *place = where(holds, switch, nodes)
        dims = part.dims[: len(self.dims)]
        mapping: dict[int, Node] = {}
        for dim in part.dims[len(self.dims) :]:
            low, high = where(holds, switch, substitute([dim.low, dim.high], mapping))
            dims = (*dims, Dim(dim.index, low, high))
        return Part(part.target, place[0] if place else None, value, dims)

    # -- sums --------------------------------------------------------------------------------------

    def _sum(self, loop: Node, sums: Summation, items: dict[int, Node], sources: Sequence[Node]) -> list[Node | None]:
        seeds = [items[k] for k in sums.addends]
        to_inits = {k: items[k] for k in sums.addends}
        for k, offered in sums.chosen.items():
            result = _item(loop, k)
            share = _share(sums.dim, offered, loop.args[k], result, items[k])
            seeds.append(apply(select, apply(eq, offered, result), share, zeros(result)))
            to_inits[k] = apply(select, apply(eq, loop.args[k], result), share, zeros(result))
        self.dims = (*self.dims, sums.dim)
        parts = self.derive([*sums.addends.values(), *sums.chosen.values()], seeds, sources)
        self.dims = self.dims[:-1]
        totals = iter(summed(sums.dim, [part for part in parts if part is not None]))
        found: list[Node | None] = [None if part is None else next(totals) for part in parts]
        places = {source.id: place for place, source in enumerate(sources)}
        for k, part in to_inits.items():
            place = places.get(loop.args[k].id)
            if place is not None:
                before = found[place]
                found[place] = part if before is None else apply(add, before, part)
        return found

    # -- other loops -------------------------------------------------------------------------------

    def _again(self, loop: Node, items: dict[int, Node], sources: Sequence[Node]) -> list[Node | None]:
        """Undo trip by trip, the last one first: the loop runs again up to the trip, see `sweep_again`."""
        body: Body = loop.attr
        carried = carried_with(loop, items)
        weights = [param_node(body.params[k].dtype, ()) for k in carried]
        params, mark = [body.params[k] for k in carried], len(self.found)
        parts = self.derive([body.results[k] for k in carried], weights, [*params, *sources])
        if len(self.found) > mark:
            raise GradientError(
                f"{source_line(loop)}: the operator of a reduction or scan reads elements in a loop, and has no derivative here."
            )
        trip = param_node(int64, ())
        before = apply(sub, trip, ONE)
        given = [part for part in parts[len(carried) :] if part is not None]
        nexts = [zero(param) if part is None else part for param, part in zip(params, parts, strict=False)]
        moved = substitute([*nexts, *given], state_at(loop, before, [*nexts, *given]))
        totals = [param_node(part.dtype, ()) for part in given]
        sums = [apply(add, total, part) for total, part in zip(totals, moved[len(carried) :], strict=True)]
        undoing = Body((trip, *weights, *totals), (before, *moved[: len(carried)], *sums), None, None, apply(gt, trip, ZERO))
        starts = [items[k] if k in items else zero(body.params[k]) for k in carried]
        _, *ends = build_loop([trips(loop), *starts, *map(zero, given)], undoing)
        rest = iter(ends[len(carried) :])
        found = [None if part is None else next(rest) for part in parts[len(carried) :]]
        places = {source.id: place for place, source in enumerate(sources)}
        for k, part in zip(carried, ends, strict=False):
            place = places.get(loop.args[k].id)
            if place is not None:
                known = found[place]
                found[place] = part if known is None else apply(add, known, part)
        return found


def _below(outputs: Sequence[Node], known: set[int]) -> list[Node]:
    """Return the nodes that outputs need, but those that only known ones need; bodies of loops are not entered."""
    stack = [output for output in outputs if output.id not in known]
    found = {node.id: node for node in stack}
    while stack:
        for arg in stack.pop().args:
            if arg.id not in found and arg.id not in known:
                found[arg.id] = arg
                stack.append(arg)
    return list(found.values())


def _item(loop: Node, k: int) -> Node:
    """Return what a loop gives for a carried variable."""
    result: Node = loop.attr.results[k]
    return structure(ITEM, (loop,), k, result.dtype, result.shape)


def _share(dim: Dim, offered: Node, init: Node, result: Node, cotangent: Node) -> Node:
    """Return what each of the places gets that attain an extremum."""

    def hit(node: Node) -> Node:
        return apply(
            select, apply(eq, node, result), constant(1.0, result.dtype, structural=False), constant(0.0, result.dtype, structural=False)
        )

    (count,) = summed(dim, [hit(offered)])
    if not init.is_const:
        count = apply(add, count, hit(init))
    return apply(div, cotangent, count)


__all__ = ["Part", "derivatives", "parts_of"]
