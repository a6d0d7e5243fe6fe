"""Building and rewriting loops: what a body captures, substitution, expansion.

A body's nodes are ordinary nodes that depend on its PARAM nodes; the LOOP node lists as operands the
outer nodes they use. Nothing here recurses over the depth of a graph, only over nested loops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import is_

from hotloop import _graph
from hotloop.dtypes import int32
from hotloop.errors import TraceError
from hotloop.ir.graph import ITEM, LOOP, PARAM, Body, Node, apply, constant, param_node, source_line, structure


def dependents(outputs: Iterable[Node], sources: Iterable[Node]) -> list[Node]:
    """Return the nodes that `outputs` need and that depend on `sources`, operands before users.

    Sources among them are listed too. Only nodes younger than the oldest source are visited, so the
    cost is that of the graph between the two, not of the whole program. Bodies of loops are not
    entered: what they use is among the loop's operands.
    """
    return _graph.dependents(list(outputs), list(sources))


def check_scopes(outputs: Iterable[Node]) -> None:
    """Raise TraceError if a value that exists only inside the body of a loop is used outside of it."""
    stack = list(outputs)
    seen = {node.id for node in stack}
    while stack:
        node = stack.pop()
        for arg in node.args or (node,):
            if arg.op is PARAM:
                raise TraceError(
                    f"{source_line(node)}: this value exists only inside the body of its loop. Return it from the body to use it "
                    "after the loop: hl.loop(n, body, *init) gives what the body returns last."
                )
            if arg.id not in seen:
                seen.add(arg.id)
                stack.append(arg)


def captures(body: Body) -> tuple[Node, ...]:
    """Return the outer nodes that a body uses directly, each once, in order of first use."""
    bound = list(body.params) if body.index is None else [*body.params, body.index]
    ends = list(body.results) if body.condition is None else [*body.results, body.condition]
    inside = dependents(ends, bound)
    own = {node.id for node in inside} | {node.id for node in bound}
    outer = {arg.id: arg for node in inside for arg in node.args if arg.id not in own}
    outer.update({end.id: end for end in ends if end.id not in own})
    return tuple(outer.values())


def build_loop(inits: Sequence[Node], body: Body) -> list[Node]:
    """Return what each carried variable is after the loop.

    No trip at all gives the inits, one trip the body itself. Variables that the body hands on
    unchanged are not carried. Types and shapes of inits, params and results agree already.
    """
    if body.trips == 0:
        return list(inits)
    if body.trips == 1:
        return expand(inits, body)
    moving = [k for k, param in enumerate(body.params) if body.results[k] is not param]
    if len(moving) < len(body.params):
        fixed = {body.params[k].id: inits[k] for k in range(len(inits)) if k not in moving}
        body = rebind(body, moving, fixed)
    ends = list(inits)
    if moving:
        args = (*[inits[k] for k in moving], *captures(body))
        loop = structure(LOOP, args, body, body.results[0].dtype, body.results[0].shape)
        for place, k in enumerate(moving):
            result = body.results[place]
            ends[k] = structure(ITEM, (loop,), place, result.dtype, result.shape)
    return ends


def rebind(body: Body, kept: Sequence[int], mapping: Mapping[int, Node]) -> Body:
    """Return a copy of a body with fresh params for `kept`, and other nodes replaced by `mapping`."""
    params = tuple(param_node(body.params[k].dtype, body.params[k].shape) for k in kept)
    index = None if body.index is None else param_node(int32, ())
    replaced = dict(mapping)
    replaced.update({body.params[k].id: fresh for k, fresh in zip(kept, params, strict=True)})
    if body.index is not None and index is not None:
        replaced[body.index.id] = index
    ends = [body.results[k] for k in kept]
    if body.condition is not None:
        ends.append(body.condition)
    changed = substitute(ends, replaced)
    condition = None if body.condition is None else changed.pop()
    return Body(params, tuple(changed), body.trips, index, condition)


def substitute(outputs: Sequence[Node], mapping: Mapping[int, Node]) -> list[Node]:
    """Return `outputs` with nodes replaced: mapping goes from id to a node of equal type and shape.

    Everything that depends on a replaced node is built anew, and so folded and simplified anew; it
    keeps its source line.
    """
    if not mapping:
        return list(outputs)
    oldest = min(mapping)
    stack = [output for output in outputs if output.id >= oldest]
    seen = {node.id: node for node in stack}
    while stack:
        node = stack.pop()
        for arg in () if node.id in mapping else node.args:
            if arg.id >= oldest and arg.id not in seen:
                seen[arg.id] = arg
                stack.append(arg)
    fresh = dict(mapping)
    try:
        for number in sorted(seen):
            node = seen[number]
            if number not in fresh and any(arg.id in fresh for arg in node.args):
                _graph.set_origin(node)
                fresh[number] = rebuild(node, [fresh.get(arg.id, arg) for arg in node.args])
    finally:
        _graph.set_origin(None)
    return [fresh.get(output.id, output) for output in outputs]


def rebuild(node: Node, args: Sequence[Node]) -> Node:
    """Return the operation of `node` on other operands, of the same types and shapes."""
    if node.op is LOOP:
        return _rebuild_loop(node, args)
    if all(map(is_, node.args, args)):
        return node
    if node.op.types.overloads and not (node.op.divides and args[0].is_const and args[1].is_const):
        return apply(node.op, *args)
    # also x / 0 that only became constant here: it must not raise DivisionByZero
    return structure(node.op, args, node.attr, node.dtype, node.shape)


def _rebuild_loop(loop: Node, args: Sequence[Node]) -> Node:
    body: Body = loop.attr
    count = len(body.params)
    mapping = {old.id: new for old, new in zip(loop.args[count:], args[count:], strict=True) if old is not new}
    body = rebind(body, range(count), mapping)
    return structure(LOOP, (*args[:count], *captures(body)), body, loop.dtype, loop.shape)


def expand(inits: Sequence[Node], body: Body) -> list[Node]:
    """Return what the carried variables are after a loop of static trips, with no loop."""
    assert body.trips is not None, "only loops of static trips can be expanded"
    carried = list(inits)
    for trip in range(body.trips):
        mapping = {param.id: value for param, value in zip(body.params, carried, strict=True)}
        if body.index is not None:
            mapping[body.index.id] = constant(trip, int32, structural=False)
        carried = substitute(body.results, mapping)
    return carried


def unroll_loop(loop: Node) -> list[Node]:
    """Return the carried variables of a LOOP node after all its static trips, with no loop."""
    return expand(loop.args[: len(loop.attr.params)], loop.attr)
