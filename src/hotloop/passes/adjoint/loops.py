"""Loops over elements as reverse mode sees them.

Some happen once or not at all; some sum or choose over a counter, and their derivative is a loop of the same kind; all
others are made loops of steps first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hotloop.dtypes import bool_, int64
from hotloop.ir.graph import ITEM, LOOP, Body, Node, apply, constant, convert, param_node
from hotloop.ir.loop import build_loop, dependents, substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.rewrite import walk
from hotloop.ops.algebra import absorbs, equals
from hotloop.passes.adjoint.activity import behind, flowing

add, sub, mul, lt, gt, select = (REGISTRY[name] for name in ("add", "sub", "mul", "lt", "gt", "select"))
_EXTREMES = (REGISTRY["minimum"], REGISTRY["maximum"])
FALSE = constant(False, bool_, structural=False)
TRUE = constant(True, bool_, structural=False)
ZERO, ONE = constant(0, int64, structural=False), constant(1, int64, structural=False)


@dataclass(frozen=True, slots=True, eq=False)
class Dim:
    """What an index runs over: low, low + 1, ... below high; both may depend on the indices of outer dims."""

    index: Node
    low: Node
    high: Node

    @property
    def extent(self) -> Node:
        """How many they are; may be negative."""
        return self.high if equals(self.low, 0) else apply(sub, self.high, self.low)


@dataclass(frozen=True, slots=True, eq=False)
class Summation:
    """A loop over a counter, whose results are sums, minima and maxima of what each trip adds.

    addends: number of a result -> what a trip adds to a sum; chosen: -> what a trip offers to an extremum.
    """

    dim: Dim
    addends: dict[int, Node]
    chosen: dict[int, Node]


def depends(node: Node, sources: Iterable[Node]) -> bool:
    """Whether a node depends on one of others."""
    return bool(dependents([node], sources))


# ------------------------------------------------------------------------------------------------ branches


def switch_of(loop: Node) -> int | None:
    """Return the number of the carried bool that lets a loop happen once or not at all, None if there is none."""
    body: Body = loop.attr
    for number, param in enumerate(body.params):
        if body.condition is param and body.trips is None and body.results[number] is FALSE:
            return number
    return None


def where(condition: Node, switch: Node, nodes: Sequence[Node]) -> list[Node]:
    """Return nodes, which may depend on `switch`, computed only if a condition holds; else zeros."""
    inside = [node for node in nodes if depends(node, [switch])]
    if not inside:
        return [apply(select, condition, node, zero(node)) for node in nodes]
    fresh = param_node(bool_, ())
    moved = substitute(inside, {switch.id: fresh})
    params = tuple([param_node(node.dtype, ()) for node in moved])
    found = build_loop([condition, *map(zero, moved)], Body((fresh, *params), (FALSE, *moved), None, None, fresh))
    known = {node.id: result for node, result in zip(inside, found[1:], strict=True)}
    return [known[node.id] if node.id in known else apply(select, condition, node, zero(node)) for node in nodes]


def zero(node: Node) -> Node:
    """Return the zero of a node's type."""
    return constant(False if node.dtype is bool_ else 0, node.dtype, structural=False)


# ------------------------------------------------------------------------------------------------ sums


def summed(dim: Dim, values: Sequence[Node]) -> list[Node]:
    """Return the sums of values over a dim, one after the other."""
    varying = [value for value in values if depends(value, [dim.index])]
    known: dict[int, Node] = {}
    if varying:
        index, *sums = params = [param_node(int64, ()), *[param_node(value.dtype, ()) for value in varying]]
        moved = substitute(varying, {dim.index.id: index})
        results = [apply(add, index, ONE), *[apply(add, total, value) for total, value in zip(sums, moved, strict=True)]]
        found = build_loop([dim.low, *map(zero, varying)], Body(tuple(params), tuple(results), None, None, apply(lt, index, dim.high)))
        known = {value.id: total for value, total in zip(varying, found[1:], strict=True)}
    return [known[value.id] if value.id in known else _many(dim, value) for value in values]


def _many(dim: Dim, value: Node) -> Node:
    count = dim.extent
    product = apply(mul, value, convert(count, value.dtype))
    return apply(select, apply(gt, count, ZERO), product, zero(value))


def summation(loop: Node, wanted: Iterable[int]) -> Summation | None:
    """Return a loop as sums and extrema over a counter as far as its `wanted` results go, None if it is another."""
    body: Body = loop.attr
    if body.trips is not None:
        return None
    wanted = set(wanted)
    counters = {k: step for k in range(len(body.params)) if (step := _step(body, k)) is not None}
    others = [param for k, param in enumerate(body.params) if k not in counters]
    addends: dict[int, Node] = {}
    chosen: dict[int, Node] = {}
    for k in wanted:
        node, param = body.results[k], body.params[k]
        addend = _addend(node, param)
        offered = None if addend is not None else _offered(node, param)
        found = addend if addend is not None else offered
        if found is None or any(depends(found, [other]) for other in others):
            return None
        (chosen if addend is None else addends)[k] = found
    dim, known = _dim(loop, counters)
    numbers = [*addends, *chosen]
    moved = dict(zip(numbers, substitute([*addends.values(), *chosen.values()], known), strict=True))
    return Summation(dim, {k: moved[k] for k in addends}, {k: moved[k] for k in chosen})


def _step(body: Body, k: int) -> int | None:
    """Return by how much an integer grows in each trip, None if that is no constant."""
    param, result = body.params[k], body.results[k]
    if param.dtype is not int64 or result.op not in (add, sub):
        return None
    x, y = result.args
    if result.op is add and y is param:
        x, y = y, x
    return None if x is not param or not y.is_const else int(y.attr.value) if result.op is add else -int(y.attr.value)


def _addend(node: Node, param: Node) -> Node | None:
    """Return what a node is more than `param`, None if it is not a sum of `param` and something independent of it."""
    if node is param:
        return constant(0.0, param.dtype, structural=True) if param.dtype.is_float else None
    if node.op is add:
        x, y = node.args if depends(node.args[0], [param]) else reversed(node.args)
        return None if depends(y, [param]) else _plus(add, _addend(x, param), y)
    if node.op is sub and not depends(node.args[1], [param]):
        return _plus(sub, _addend(node.args[0], param), node.args[1])
    if node.op is select and not depends(node.args[0], [param]):
        sides = [_addend(side, param) if depends(side, [param]) else None for side in node.args[1:]]
        if sides[0] is not None and sides[1] is not None:
            return apply(select, node.args[0], sides[0], sides[1])
    if node.op is ITEM and (number := switch_of(node.args[0])) is not None:
        return _addend_in_branch(node, number, param)
    return None


def _plus(op: object, x: Node | None, y: Node) -> Node | None:
    if x is None:
        return None
    return y if op is add and absorbs(x) else apply(op, x, y)  # type: ignore[arg-type]  # a row


def _addend_in_branch(item: Node, number: int, param: Node) -> Node | None:
    """Return the addend of what a branch gives: there `param` stands behind a choice by the switch."""
    loop = item.args[0]
    body: Body = loop.attr
    switch, result = body.params[number], body.results[item.attr]
    edges = [node for node in walk([result]) if node.op is select and node.args[0] is switch and node.args[1] is param]
    if len(edges) != 1 or depends(loop.args[number], [param]):
        return None
    stand_in = param_node(param.dtype, ())
    (moved,) = substitute([result], {edges[0].id: stand_in})
    addend = _addend(moved, stand_in)
    if addend is None or depends(addend, [param, *[other for other in body.params if other is not switch]]):
        return None
    return where(loop.args[number], switch, [addend])[0]


def _offered(node: Node, param: Node) -> Node | None:
    """Return what a trip offers to an extremum."""
    if node.op not in _EXTREMES or param not in node.args:
        return None
    other = node.args[1] if node.args[0] is param else node.args[0]
    return None if depends(other, [param]) else other


def _dim(loop: Node, counters: dict[int, int]) -> tuple[Dim, dict[int, Node]]:
    """Return what a loop counts over, and its counters in terms of the index."""
    body: Body = loop.attr
    index = param_node(int64, ())
    first = next((k for k, step in counters.items() if step == 1), None)
    driver = next((k for k, step in counters.items() if step == 1 and _limit(body, k) is not None), None)
    if driver is not None:
        first, limit = driver, _limit(body, driver)
        assert limit is not None, "just found"
        low, high = loop.args[driver], limit
    else:
        low = ZERO if first is None else loop.args[first]
        high = apply(add, low, trips(loop))
    known = {}
    for k, step in counters.items():
        gone = apply(mul, apply(sub, index, low), constant(step, int64, structural=False))
        known[body.params[k].id] = index if k == first else apply(add, loop.args[k], gone)
    return Dim(index, low, high), known


def _limit(body: Body, k: int) -> Node | None:
    """Return what the condition asks a counter to be below, if that is all it asks."""
    condition = body.condition
    if condition is None or condition.op is not lt or condition.args[0] is not body.params[k]:
        return None
    limit: Node = condition.args[1]
    return None if depends(limit, body.params) else limit


def trips(loop: Node) -> Node:
    """Return how often a loop happens, by a loop that carries no more than it must."""
    body: Body = loop.attr
    assert body.condition is not None, "a while loop"
    needed: set[int] = set()
    stack = [body.condition]
    while stack:
        node = stack.pop()
        new = [k for k, param in enumerate(body.params) if k not in needed and depends(node, [param])]
        needed.update(new)
        stack += [body.results[k] for k in new]
    kept = sorted(needed)
    fresh = [param_node(body.params[k].dtype, ()) for k in kept]
    trip = param_node(int64, ())
    *results, condition = substitute(
        [*[body.results[k] for k in kept], body.condition], {body.params[k].id: param for k, param in zip(kept, fresh, strict=True)}
    )  # fmt: skip
    counting = Body((*fresh, trip), (*results, apply(add, trip, ONE)), None, None, condition)
    return build_loop([*[loop.args[k] for k in kept], ZERO], counting)[-1]


# ------------------------------------------------------------------------------------------ which are hard


def hard_loop(ends: Sequence[Node], sources: set[int]) -> Node | None:
    """Return an outermost loop in which there is one whose derivative is no such loop, None if there is none.

    Only what lies between the registers `sources` and the float `ends` counts.
    """
    if not any(node.op is LOOP for node in walk(ends)):
        return None
    moving = flowing(ends, sources)
    wanted: dict[int, tuple[Node, set[int]]] = {}
    for node in behind(ends).values():
        if node.op is ITEM and node.id in moving:
            wanted.setdefault(node.args[0].id, (node.args[0], set()))[1].add(node.attr)
    hard = [loop for loop, numbers in wanted.values() if switch_of(loop) is None and summation(loop, numbers) is None]
    if not hard:
        return None
    bad = {loop.id for loop in hard}
    for loop, _ in sorted(wanted.values(), key=lambda pair: pair[0].id):
        is_hard = loop.id in bad or any(node.id in bad for node in walk([*loop.attr.results]))
        if is_hard and _is_outermost(loop, ends):
            return loop
    raise AssertionError("a loop is in none")


def _is_outermost(loop: Node, ends: Sequence[Node]) -> bool:
    """Whether a loop is in no other: it is among the operands of what ends need."""
    stack = list(ends)
    seen = {node.id for node in stack}
    while stack:
        node = stack.pop()
        if node is loop:
            return True
        for arg in node.args:
            if arg.id not in seen and arg.id >= loop.id:
                seen.add(arg.id)
                stack.append(arg)
    return False


__all__ = [
    "FALSE", "ONE", "TRUE", "ZERO", "Dim", "Summation", "depends", "hard_loop", "summation", "summed", "switch_of", "trips", "where",
    "zero",
]  # fmt: skip
