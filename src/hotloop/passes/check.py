"""Checked mode: watch every operation that can go wrong, and tell which one did first.

`instrument` adds one output to a program: 0, or the code of the first operation (in order of the
program) whose row reports a fault (`Op.faults`). `raise_fault` turns the code into an exception that
names the user's line. What a `select` does not take is not watched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hotloop import _graph
from hotloop.dtypes import int32
from hotloop.errors import BoundsError, CheckError, DivisionByZero, HotloopError
from hotloop.ir.graph import ITEM, LOOP, Body, Node, constant, param_node, source_line, structure
from hotloop.ir.loop import captures, dependents, rebind, rebuild, substitute
from hotloop.ops import faults
from hotloop.ops.algebra import call, equals
from hotloop.ops.logic import select
from hotloop.ops.shape import any_, reduce
from hotloop.passes.guard import Guard

LIMIT = 1 << 30  # the code of the first site; later sites have smaller ones, so the largest is first

_ERRORS: Mapping[str, type[HotloopError]] = {faults.DIVISION: DivisionByZero, faults.BOUNDS: BoundsError}
_CURES = {
    faults.DIVISION: "Use hl.iif(b != 0, a / b, c): the side not taken is not checked.",
    faults.INVALID: "Limit the operand first, with hl.maximum, hl.clamp or hl.iif.",
    faults.OVERFLOW: "Use a larger type (dtype=), or limit the operands with hl.clamp.",
}


def instrument(outputs: Sequence[Node]) -> tuple[list[Node], Node, list[str]]:
    """Return `outputs` to compute instead, a fault code (int32, 0 for none), and what the codes stand for.

    outputs: everything the program computes, next values of states included. Loops carry the code of
    their first fault. Cost: linear; at run time 2 to 8 operations for each that can fail.
    """
    watch = _Watch()
    fresh, code = watch.scope(_closure(outputs), outputs)
    return [fresh.get(node.id, node) for node in outputs], code, watch.sites


def raise_fault(code: int, sites: Sequence[str]) -> None:
    """Raise what a fault code stands for; 0 raises nothing."""
    if code:
        site = sites[LIMIT - code]
        kind = next((error for text, error in _ERRORS.items() if f": {text}" in site), CheckError)
        raise kind(site)


def _closure(outputs: Sequence[Node]) -> list[Node]:
    """All nodes that outputs need, operands first; bodies of loops are not entered."""
    seen = {node.id: node for node in outputs}
    stack = list(seen.values())
    while stack:
        for arg in stack.pop().args:
            if arg.id not in seen:
                seen[arg.id] = arg
                stack.append(arg)
    return [seen[number] for number in sorted(seen)]


class _Watch:
    """The sites found so far."""

    def __init__(self) -> None:
        self.sites: list[str] = []

    def scope(self, nodes: Sequence[Node], ends: Sequence[Node]) -> tuple[dict[int, Node], Node]:
        """Watch the nodes of a program or of a body; return what replaces nodes, by id, and the fault code."""
        fresh: dict[int, Node] = {}
        codes: dict[int, Node] = {}
        code = constant(0, int32)
        try:
            for node in nodes:
                _graph.set_origin(node)
                args = [fresh.get(arg.id, arg) for arg in node.args]
                if node.op is LOOP:
                    fresh[node.id], codes[node.id] = self._loop(node, args)
                elif any(new is not old for new, old in zip(args, node.args, strict=True)):
                    fresh[node.id] = rebuild(node, args)
            demands = _demands(nodes, ends, fresh)
            for node in nodes:
                _graph.set_origin(node)
                if node.id in demands:
                    code = self._watched(node, demands[node.id], codes.get(node.id), fresh, code)
        finally:
            _graph.set_origin(None)
        return fresh, code

    def _watched(self, node: Node, demand: Guard | None, inner: Node | None, fresh: Mapping[int, Node], code: Node) -> Node:
        """Add a node's faults to the code of those before it."""
        if inner is not None:
            return call("maximum", code, inner if demand is None else call("select", _some(demand.build()), inner, 0))
        if node.op.faults is None:
            return code
        args = [fresh.get(arg.id, arg) for arg in node.args]
        attributes: dict[str, Any] = node.attr or {}  # Any: what the row's builder put there
        for condition, text in node.op.faults(fresh.get(node.id, node), *args, **attributes):
            if demand is not None:
                guard = demand.build()
                condition = call("and", condition, guard if guard.shape in ((), condition.shape) else _some(guard))
            if equals(condition, 0):
                continue
            number = constant(LIMIT - len(self.sites), int32)
            self.sites.append(_site(node, text))
            code = call("maximum", code, call("select", _some(condition), number, constant(0, int32)))
        return code

    def _loop(self, loop: Node, args: Sequence[Node]) -> tuple[Node, Node]:
        """Return a loop that also carries the code of its first fault, and that code after the loop."""
        body: Body = loop.attr
        count = len(body.params)
        mapping = {old.id: new for old, new in zip(loop.args[count:], args[count:], strict=True)}
        body = rebind(body, range(count), mapping)
        variables = [*body.params, *([] if body.index is None else [body.index])]
        ends = [*body.results, *([] if body.condition is None else [body.condition])]
        fresh, code = self.scope(dependents(ends, variables), ends)
        condition = body.condition and fresh.get(body.condition.id, body.condition)
        fault = param_node(int32, ())
        params = (*body.params, fault)
        following = call("select", call("ne", fault, 0), fault, code)
        results = (*[fresh.get(result.id, result) for result in body.results], following)
        body = Body(params, results, body.trips, body.index, condition)
        made = structure(LOOP, (*args[:count], constant(0, int32), *captures(body)), body, loop.dtype, loop.shape)
        total = structure(ITEM, (made,), count, int32, ())
        return made, total if condition is None else self._after(made, condition, total)

    def _after(self, loop: Node, condition: Node, total: Node) -> Node:
        """Also watch the last evaluation of a while loop's condition, after which the body does not run."""
        body: Body = loop.attr
        variables = [*body.params, *([] if body.index is None else [body.index])]
        _, code = self.scope(dependents([condition], variables), [condition])
        if code.is_const or body.index is not None:
            return total
        last = {param.id: structure(ITEM, (loop,), k, param.dtype, param.shape) for k, param in enumerate(body.params)}
        return call("maximum", total, substitute([code], last)[0])


def _some(condition: Node) -> Node:
    return reduce(any_, condition, tuple(range(len(condition.shape)))) if condition.shape else condition


def _site(node: Node, text: str) -> str:
    types = ", ".join(f"{arg.dtype}{list(arg.shape) if arg.shape else ''}" for arg in node.args)
    cure = _CURES.get(text, "")
    return f"{source_line(node)}: {text} ({node.op} of {types}).{' ' if cure else ''}{cure}"


def _demands(nodes: Sequence[Node], ends: Sequence[Node], fresh: Mapping[int, Node]) -> dict[int, Guard | None]:
    """Where the value of each node is used: None is everywhere, a missing node nowhere."""
    demands: dict[int, Guard | None] = {end.id: None for end in ends}

    def want(node: Node, demand: Guard | None) -> None:
        if node.id in demands:
            known = demands[node.id]
            demand = known.either(demand) if known is not None and demand is not None and known.joins(demand) else None
        demands[node.id] = demand

    for node in reversed(nodes):
        if node.id not in demands:
            continue
        demand = demands[node.id]
        args = node.args
        if node.op is select:
            condition = fresh.get(args[0].id, args[0])
            want(args[0], _fitting(demand, node, args[0]))
            for arg, side in ((args[1], Guard(condition)), (args[2], Guard(call("invert", condition)))):
                taken = side if demand is None else (demand.both(side) if demand.joins(side) else demand)
                want(arg, _fitting(taken, node, arg))
            continue
        for arg in args:
            want(arg, _fitting(demand, node, arg))
    return demands


def _fitting(demand: Guard | None, node: Node, arg: Node) -> Guard | None:
    """Return the demand on an operand: element by element where the row works so, else on the whole."""
    if demand is None or not demand.shape:
        return demand
    if node.op.types.overloads and demand.shape == node.shape == arg.shape:
        return demand
    return Guard(_some(demand.build()))


__all__ = ["instrument", "raise_fault"]
