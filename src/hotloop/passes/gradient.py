"""Derivatives of a graph as more graph: reverse mode (`gradients`) and forward mode (`tangents`).

Both visit only the nodes between the given variables and the outputs, without recursion over depth,
and use each row's `vjp`. Cotangents and tangents are floats: int32 and bool count as float32, int64 as
float64. What a `select` does not take contributes nothing, even where its derivative is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hotloop import _graph
from hotloop.dtypes import DType, float32, float64, int64
from hotloop.errors import GradientError
from hotloop.ir.graph import ITEM, LOOP, Body, Node, apply, constant, convert, param_node, source_line, structure
from hotloop.ir.loop import build_loop, dependents, rebind, rebuild, substitute, unroll_loop
from hotloop.ops.algebra import absorbs, call
from hotloop.ops.arith import add
from hotloop.ops.logic import select
from hotloop.ops.movement import collected, distributed, origins
from hotloop.ops.shape import broadcast_to, filled, sum_to
from hotloop.passes.guard import Guard

LONGEST = 2_000_000  # operations of a loop that reverse mode expands: seconds and a gigabyte beyond
# (loop, cotangents of its results by number, operands that matter) -> the part of each such operand; None is zero
Through = Callable[[Node, dict[int, Node], Sequence[Node]], Sequence[Node | None]]


def derivative_dtype(dtype: DType) -> DType:
    """Return the float type of derivatives by and of values of this type."""
    if dtype.is_float:
        return dtype
    return float64 if dtype is int64 else float32


def zeros(like: Node) -> Node:
    """Return the zero derivative of a node: structural, so that it vanishes where it is used."""
    dtype = derivative_dtype(like.dtype)
    return filled(0.0, dtype, like.shape, structural=True)


def ones(like: Node) -> Node:
    """Return a derivative of 1 for each element of a node."""
    dtype = derivative_dtype(like.dtype)
    return filled(1.0, dtype, like.shape, structural=False)


def gradients(y: Node, wrt: Sequence[Node], seed: Node | None = None) -> list[Node]:
    """Return the derivative of `y` by each node of `wrt`, in the shape of that node.

    An array `y` counts as the sum of its elements, weighted by `seed` if given. A node of `wrt` may be
    any node; what does not influence `y` gives structural zeros. Loops of static trips are expanded.
    Raises GradientError for a row without derivative and for a while loop.
    """
    return cotangents([y], [ones(y) if seed is None else seed], wrt)


def cotangents(outputs: Sequence[Node], seeds: Sequence[Node], wrt: Sequence[Node]) -> list[Node]:
    """Return the sum of outputs[i] weighted by seeds[i], derived by each node of `wrt`.

    Elements of an array of `wrt` are independent of each other, whatever they were packed of. Of two
    nodes of which one depends on the other, the first one's derivative includes the way through the other.
    """
    groups = [origins(node) for node in wrt]
    united = list({node.id: node for group in groups for node in group}.values())
    parts: dict[int, Node | None] = {}
    separate = _related(wrt, groups, united)
    if not separate:
        parts = dict(zip([node.id for node in united], pull(outputs, seeds, united), strict=True))
    found = []
    for node, group in zip(wrt, groups, strict=True):
        if separate:
            parts = dict(zip([origin.id for origin in group], pull(outputs, seeds, group), strict=True))
        total = collected(node, parts)
        found.append(zeros(node) if total is None else total)
    return found


def _related(wrt: Sequence[Node], groups: Sequence[Sequence[Node]], united: Sequence[Node]) -> bool:
    """Whether one variable depends on another."""
    if len({node.id for node in wrt}) < 2:
        return False
    tops = {node.id for node in wrt}
    if any(node.id in tops for group in groups for node in group[1:]):
        return True
    views = {node.id for group in groups for node in group if len(origins(node)) > 1}
    return bool(dependents([arg for node in united if node.id not in views for arg in node.args], united))


def pull(outputs: Sequence[Node], seeds: Sequence[Node], wrt: Sequence[Node], through: Through | None = None) -> list[Node | None]:
    """Return the sum of outputs[i] weighted by seeds[i], derived by each node of `wrt`; None is zero.

    Nodes of `wrt` count as independent of each other. through: derives while loops, which have no derivative here.
    """
    between = dependents(outputs, wrt)
    sweep = _Sweep(between, through)
    held = _graph.hold_origin()
    try:
        for output, seed in zip(outputs, seeds, strict=True):
            if output in sweep.inside:
                sweep.add(output, convert(seed, derivative_dtype(output.dtype)), None)
        wanted = set(wrt)
        for node in reversed(between):
            if node not in wanted:
                sweep.visit(node)
    finally:
        if held:
            _graph.set_origin(None)
    return [sweep.cotangents.get(node) for node in wrt]


class _Sweep:
    """One walk from outputs to variables: the cotangents found so far, and where they are zero."""

    def __init__(self, between: list[Node], through: Through | None = None) -> None:
        self.between = between
        self.through = through
        self.inside = set(between)
        self.cotangents: dict[Node, Node] = {}
        self._guards: dict[Node, Guard] = {}  # where a cotangent is not zero, if known
        self._items: dict[Node, dict[int, Node]] = {}
        self._wild: set[Node] | None = None

    def add(self, node: Node, part: Node, guard: Guard | None) -> None:
        """Add a part of a node's cotangent, brought to the node's shape and derivative type."""
        if absorbs(part):
            return
        if part.shape != node.shape:
            if guard is not None and guard.shape:
                guard = None
            part = sum_to(part, node.shape) if len(part.shape) >= len(node.shape) else part
            part = broadcast_to(part, node.shape)
        part = convert(part, derivative_dtype(node.dtype))
        before = self.cotangents.get(node)
        if before is None:
            self.cotangents[node] = part
            if guard is not None:
                self._guards[node] = guard
            return
        self.cotangents[node] = apply(add, before, part)
        known = self._guards.get(node)
        if known is not guard:
            self._guards.pop(node, None)
            if known is not None and guard is not None and known.joins(guard):
                self._guards[node] = known.either(guard)

    def visit(self, node: Node) -> None:
        """Hand a node's cotangent on to its operands."""
        op, cotangents = node.op, self.cotangents
        if op is LOOP:
            self._visit_loop(node)
            return
        cotangent = cotangents.get(node)
        args = node.args
        if cotangent is None or not args:
            return
        if op is ITEM:
            self._items.setdefault(args[0], {})[node.attr] = cotangent
            return
        vjp = op.vjp
        if vjp is None:
            raise _no_derivative(node)
        guard = self._guards.get(node)
        attributes = node.attr
        parts = vjp(cotangent, node, *args, **attributes) if attributes else vjp(cotangent, node, *args)
        for arg, part in zip(args, parts, strict=True):
            if part is None or arg not in self.inside:
                continue
            plain = part.dtype is arg.dtype and part.shape == arg.shape and not part.is_const
            if guard is None and plain and part.op is not select:  # the common case of what follows
                before = cotangents.get(arg)
                if before is None:
                    cotangents[arg] = part
                else:
                    cotangents[arg] = apply(add, before, part)
                    self._guards.pop(arg, None)
            elif part is cotangent:
                self.add(arg, part, guard if guard is None or arg.shape == node.shape or not guard.shape else None)
            else:
                self._add_guarded(node, arg, part, guard)

    def _add_guarded(self, node: Node, arg: Node, part: Node, guard: Guard | None) -> None:
        """Add a part that was computed from a cotangent: zero times infinity must stay zero."""
        if guard is not None and guard.shape and not (guard.shape == node.shape == part.shape and node.op.types.overloads):
            guard = None
        own, taken = _condition(part) if part.op is select else (None, None)
        if guard is not None and taken is not self.cotangents[node] and self._may_poison(node):
            part = call("select", guard.build(), part, constant(0, part.dtype, structural=True))
        if own is not None:
            guard = guard.both(own) if guard is not None and own.joins(guard) else own
        self.add(arg, part, guard)

    def _may_poison(self, node: Node) -> bool:
        """Whether the derivative of `node` may be infinite or NaN while all inputs are finite."""
        if self._wild is None:
            self._wild = set()
            for inner in self.between:
                if inner.op.singular or inner.op in (LOOP, ITEM) or any(self._is_wild(arg) for arg in inner.args):
                    self._wild.add(inner)
        return node in self._wild

    def _is_wild(self, arg: Node) -> bool:
        assert self._wild is not None
        return arg in self._wild if arg in self.inside else bool(arg.args)

    def _visit_loop(self, loop: Node) -> None:
        items = self._items.get(loop)
        if items is None:
            return
        if loop.attr.trips is None and self.through is not None:
            sources = [arg for arg in dict.fromkeys(loop.args) if arg in self.inside]
            for source, part in zip(sources, self.through(loop, items, sources), strict=True):
                if part is not None:  # of what the loop has overwritten it is zero, and stays so
                    self.add(source, part, None if part.is_const else Guard(call("ne", part, constant(0.0, part.dtype, structural=False))))
            return
        if loop.attr.trips is None:
            raise GradientError(
                f"{source_line(loop)}: a while loop has no reverse derivative, because the number of its trips is known only "
                "when it runs. Use hl.jvp, or hl.loop with a constant count."
            )
        size = loop.attr.trips * len(dependents(loop.attr.results, loop.attr.params))
        if size > LONGEST:
            raise GradientError(
                f"{source_line(loop)}: reverse mode copies the body of a loop for each trip, here {size} operations. Use hl.jvp or "
                "hl.jacobian by few values, which keep the loop, or fewer trips."
            )
        # stand-ins for the operands: an expanded body may look through an array at what it was packed of
        operands = {arg.id: arg for arg in loop.args if arg in self.inside}
        stand_ins = {number: param_node(arg.dtype, arg.shape) for number, arg in operands.items()}
        unrolled = unroll_loop(rebuild(loop, [stand_ins.get(arg.id, arg) for arg in loop.args]))
        parts = pull([unrolled[k] for k in items], list(items.values()), list(stand_ins.values()))
        known = [(source, part) for source, part in zip(operands.values(), parts, strict=True) if part is not None]
        actual = {stand_in.id: operands[number] for number, stand_in in stand_ins.items()}
        for (source, _), part in zip(known, substitute([part for _, part in known], actual), strict=True):
            self.add(source, part, None)


def _condition(part: Node) -> tuple[Guard | None, Node | None]:
    """Return the guard of a select between something and a structural zero, and the something."""
    condition, taken, other = part.args
    if absorbs(other):
        return Guard(condition), taken
    return (Guard(call("invert", condition)), other) if absorbs(taken) else (None, None)


def _no_derivative(node: Node) -> GradientError:
    return GradientError(
        f"{source_line(node)}: {node.op} has no derivative. Take the gradient by a value that does not pass through it, "
        "or write it with operations that have one."
    )


# ------------------------------------------------------------------------------------ forward mode


def tangents(outputs: Sequence[Node], wrt: Sequence[Node], given: Sequence[Node]) -> list[Node]:
    """Return the derivative of each output along the direction `given`, one tangent per node of `wrt`.

    Loops stay loops, while loops too: they carry the tangents beside the values.
    Raises GradientError for a row without derivative.
    """
    start: dict[int, tuple[Node, Node]] = {}
    for node, tangent in zip(wrt, given, strict=True):
        for origin, part in distributed(node, convert(tangent, derivative_dtype(node.dtype))):
            known = start.get(origin.id)
            start[origin.id] = (origin, part if known is None else call("add", known[1], part))
    found = push(outputs, [origin for origin, _ in start.values()], [part for _, part in start.values()])
    return [zeros(node) if tangent is None else tangent for node, tangent in zip(outputs, found, strict=True)]


def push(outputs: Sequence[Node], wrt: Sequence[Node], given: Sequence[Node]) -> list[Node | None]:
    """Do what `tangents` does, with None where a tangent is zero everywhere."""
    fixed = {node.id for node in wrt}
    found = {node.id: tangent for node, tangent in zip(wrt, given, strict=True) if not absorbs(tangent)}
    loops: dict[int, list[Node | None]] = {}
    for node in dependents(outputs, wrt):
        if node.id in fixed:
            continue
        if node.op is LOOP:
            loops[node.id] = _push_loop(node, [found.get(arg.id) for arg in node.args])
            continue
        given_here = [found.get(arg.id) for arg in node.args]
        result = loops[node.args[0].id][node.attr] if node.op is ITEM else _tangent(node, given_here)
        if result is not None and not absorbs(result):
            found[node.id] = result
    return [found.get(output.id) for output in outputs]


def _tangent(node: Node, given: list[Node | None]) -> Node | None:
    """Return the tangent of one operation from those of its operands."""
    if all(tangent is None for tangent in given):
        return None
    row, args, dtype = node.op, node.args, derivative_dtype(node.dtype)
    attributes: dict[str, Any] = node.attr or {}  # Any: what the row's builder put there
    if row.jvp is not None:
        result: Node | None = row.jvp(node, args, given, **attributes)
        return _fitted(result, node)
    if row.linear:
        filled = [convert(zeros(arg) if t is None else t, dtype) for arg, t in zip(args, given, strict=True)]
        return structure(row, filled, node.attr, dtype, node.shape)
    if row.vjp is None:
        raise _no_derivative(node)
    total: Node | None = None
    for place, tangent in enumerate(given):
        if tangent is None:
            continue
        if row.types.overloads:  # an elementwise derivative is diagonal: it is its own transpose
            part = row.vjp(broadcast_to(tangent, node.shape), node, *args)[place]
        else:
            part = _transposed(node, attributes, place, tangent)
        if part is not None:
            part = _fitted(part, node)
            total = part if total is None else call("add", total, part)
    return total


def _transposed(node: Node, attributes: dict[str, Any], place: int, tangent: Node) -> Node | None:
    """Return the tangent through an array row: vjp is linear in its cotangent, and its transpose is jvp."""
    assert node.op.vjp is not None
    dummy = param_node(derivative_dtype(node.dtype), node.shape)
    part = node.op.vjp(dummy, node, *node.args, **attributes)[place]
    return None if part is None else pull([part], [tangent], [dummy])[0]


def _fitted(tangent: Node | None, node: Node) -> Node | None:
    if tangent is None:
        return None
    tangent = convert(tangent, derivative_dtype(node.dtype))
    return tangent if tangent.shape == node.shape else broadcast_to(tangent, node.shape)


def _push_loop(loop: Node, given: list[Node | None]) -> list[Node | None]:
    """Return the tangents of a loop's results, by a loop that carries values and tangents."""
    body: Body = loop.attr
    count = len(body.params)
    outer = [(arg, t) for arg, t in zip(loop.args[count:], given[count:], strict=True) if t is not None]
    active = _active(body, {k for k in range(count) if given[k] is not None}, [arg for arg, _ in outer])
    if not active:
        return [None] * count
    moving = [param_node(derivative_dtype(body.params[k].dtype), body.params[k].shape) for k in active]
    sources = [body.params[k] for k in active] + [arg for arg, _ in outer]
    ends = [body.results[k] for k in active]
    found_ends = push(ends, sources, moving + [t for _, t in outer])
    results = [zeros(end) if t is None else t for end, t in zip(ends, found_ends, strict=True)]
    starts = [zeros(body.params[k]) if (t := given[k]) is None else t for k in active]
    joint = Body((*body.params, *moving), (*body.results, *results), body.trips, body.index, body.condition)
    joint = rebind(joint, range(count + len(active)), {})
    carried = build_loop([*loop.args[:count], *starts], joint)
    found: list[Node | None] = [None] * count
    for place, k in enumerate(active):
        found[k] = carried[count + place]
    return found


def _active(body: Body, active: set[int], outer: list[Node]) -> list[int]:
    """Which carried variables depend on what has a tangent, in any trip."""
    while True:
        sources = [body.params[k] for k in active] + outer
        reached = {node.id for node in dependents(body.results, sources)}
        more = active | {k for k, result in enumerate(body.results) if result.id in reached}
        if more == active:
            return sorted(active)
        active = more


__all__ = ["Through", "cotangents", "derivative_dtype", "gradients", "ones", "pull", "push", "tangents", "zeros"]
