"""Loops inside of bodies that run again from their start for each trip that is undone.

That needs no memory, and costs the square of the trips: the way for few trips, where what the loop takes from outside is the
same in all of them. Whether trips are few is known when the function runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hotloop.dtypes import int64
from hotloop.ir.graph import ITEM, Body, Node, apply, param_node
from hotloop.ir.loop import build_loop, substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.rewrite import variables, walk
from hotloop.ir.sweep import AT
from hotloop.passes.adjoint.activity import behind, flowing
from hotloop.passes.adjoint.loops import ONE, ZERO, Dim, Summation, depends, summation, switch_of, trips, where

add, lt, maximum = (REGISTRY[name] for name in ("add", "lt", "maximum"))
FEW = 64  # trips up to which a loop is rather run again than kept trip by trip


def most_trips(ends: Sequence[Node], sources: set[int]) -> Node | None:
    """Return how many trips the loops behind `ends` take at most that are no sums; None if one of them cannot be run again.

    sources: ids of registers whose derivatives matter.
    """
    moving = flowing(ends, sources)
    found: Node = ZERO
    for loop, numbers in outermost_loops(ends, moving):
        count = _most_trips(loop, numbers, sources, moving)
        if count is None:
            return None
        found = apply(maximum, found, count)
    return found


def outermost_loops(ends: Sequence[Node], moving: set[int]) -> list[tuple[Node, set[int]]]:
    """Return loops that `ends` need as floats, and the numbers of the results that they need; not those inside of others."""
    found: dict[int, tuple[Node, set[int]]] = {}
    stack = [end for end in ends if end.id in moving]
    seen = {node.id for node in stack}
    while stack:
        node = stack.pop()
        if node.op is ITEM:
            found.setdefault(node.args[0].id, (node.args[0], set()))[1].add(node.attr)
        args = node.args[0].args if node.op is ITEM else () if node.op is AT else node.args
        for arg in args:
            if arg.id in moving and arg.id not in seen:
                seen.add(arg.id)
                stack.append(arg)
    return list(found.values())


def _most_trips(loop: Node, numbers: Iterable[int], sources: set[int], moving: set[int]) -> Node | None:
    body: Body = loop.attr
    switch = switch_of(loop)
    if switch is not None:
        inner = _within([body.results[k] for k in numbers], sources, moving)
        return None if inner is None else where(loop.args[switch], body.params[switch], [inner])[0]
    sums = summation(loop, numbers)
    if sums is not None:
        inner = _within([*sums.addends.values(), *sums.chosen.values()], sources, moving)
        return None if inner is None else _largest(sums, inner)
    used = carried_with(loop, numbers)
    ends = [body.results[k] for k in used]
    inside = walk(ends)
    bound = [variable for node in (loop, *inside) if isinstance(node.attr, Body) for variable in variables(node.attr)]
    if any(node.op is AT and node.args[0].id in sources and depends(node, bound) for node in inside):
        return None
    nested = _within(ends, sources, moving)
    return trips(loop) if nested is ZERO else None


def _within(ends: Sequence[Node], sources: set[int], moving: set[int]) -> Node | None:
    """Do what `most_trips` does for what a loop computes."""
    found: Node = ZERO
    for loop, numbers in outermost_loops(ends, moving | flowing(ends, sources)):
        count = _most_trips(loop, numbers, sources, moving)
        if count is None:
            return None
        found = apply(maximum, found, count)
    return found


def _largest(sums: Summation, value: Node) -> Node:
    """Return the largest of values over a dim."""
    dim: Dim = sums.dim
    if not depends(value, [dim.index]):
        return value
    index, most = param_node(int64, ()), param_node(int64, ())
    (moved,) = substitute([value], {dim.index.id: index})
    results = (apply(add, index, ONE), apply(maximum, most, moved))
    return build_loop([dim.low, ZERO], Body((index, most), results, None, None, apply(lt, index, dim.high)))[1]


def carried_with(loop: Node, numbers: Iterable[int]) -> list[int]:
    """Return the numbers of carried floats that some results of a loop depend on as floats, these among them."""
    body: Body = loop.attr
    found = set(numbers)
    while True:
        reached = behind([body.results[k] for k in found])
        more = {k for k, param in enumerate(body.params) if param.id in reached} | found
        if more == found:
            return sorted(found)
        found = more


def state_at(loop: Node, trip: Node, nodes: Sequence[Node]) -> dict[int, Node]:
    """Return what the carried variables are before a trip that nodes depend on, by the ids of the params."""
    body: Body = loop.attr
    needed: set[int] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        more = [k for k, param in enumerate(body.params) if k not in needed and depends(node, [param])]
        needed.update(more)
        stack += [body.results[k] for k in more]
    kept = sorted(needed)
    count, params = param_node(int64, ()), [param_node(body.params[k].dtype, ()) for k in kept]
    results = substitute([body.results[k] for k in kept], {body.params[k].id: param for k, param in zip(kept, params, strict=True)})
    running = Body((*params, count), (*results, apply(add, count, ONE)), None, None, apply(lt, count, trip))
    found = build_loop([*[loop.args[k] for k in kept], ZERO], running)
    return {body.params[k].id: node for k, node in zip(kept, found, strict=False)}


__all__ = ["FEW", "carried_with", "most_trips", "state_at"]
