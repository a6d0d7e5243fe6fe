"""Pass `unroll`: arrays become scalars, so that zeros and ones in them vanish and registers hold them.

Each array node turns into an object array of scalar nodes by its row's own meaning (`Op.lower`), so
order and rounding are those of the reference. Elements of input and state arrays stay loads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from hotloop.ir.graph import CONST, INPUT, ITEM, LOOP, PARAM, STATE, Body, Node, apply, constants, param_node, reachable, structure
from hotloop.ir.loop import captures
from hotloop.ops.shape import element, pack
from hotloop.passes.sweep import SWEEP, Sweep, with_operands

Scalars = np.ndarray[Any, Any]  # of nodes, dtype object


def unroll(outputs: Sequence[Node]) -> dict[int, Scalars]:
    """Return for each reachable node id its scalar nodes, as an array of the node's shape.

    Empty if the program has no arrays: then every node stands for itself.
    """
    nodes = reachable(outputs)
    if not any(node.shape for node in nodes):
        return {}
    found: dict[int, Scalars] = {}
    for node in nodes:
        if node.id not in found:
            found[node.id] = _scalars(node, found)
    return found


def scalars_of(found: dict[int, Scalars], node: Node) -> list[Node]:
    """Return the scalar nodes of `node` in row-major order."""
    return list(found[node.id].flat) if node.id in found else [node]


def _array(items: Sequence[Node], shape: tuple[int, ...]) -> Scalars:
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


def _scalars(node: Node, found: dict[int, Scalars]) -> Scalars:
    op = node.op
    if op is LOOP:
        return _loop(node, found)
    if op is ITEM:
        return _item(node, found)
    if not node.shape and not node.args:
        return _array([node], ())
    if op is CONST:
        structural = node.attr.structural
        return _array(constants(node.attr.value.reshape(-1).tolist(), node.dtype, structural), node.shape)
    if op is SWEEP:
        return _sweep(node, found)
    if op in (INPUT, STATE):
        return _array([element(node, i) for i in range(math.prod(node.shape))], node.shape)
    if op is PARAM:
        return _array([param_node(node.dtype, ()) for _ in range(math.prod(node.shape))], node.shape)
    operands = [found[arg.id] for arg in node.args]
    if op.lower is not None:
        result = op.lower(*operands, **(node.attr or {}))
        return result if isinstance(result, np.ndarray) and result.dtype == object else _array([result], ())
    if not node.shape:
        new = tuple(operand.item() for operand in operands)
        return _array([node if new == node.args else apply(op, *new)], ())
    same = all(operand.shape == node.shape for operand in operands)
    spread = [operand.reshape(-1).tolist() for operand in (operands if same else np.broadcast_arrays(*operands))]
    return _array(list(map(partial(apply, op), *spread)), node.shape)


def _sweep(node: Node, found: dict[int, Scalars]) -> Scalars:
    """Rebuild a sweep on streams that lie in memory or are packed scalars; its elements are loads."""
    made: Sweep = node.attr
    streams = [_stream(arg, found[arg.id]) for arg in node.args[: len(made.streams)]]
    scalars = [found[arg.id].item() for arg in node.args[len(made.streams) :]]
    fresh = with_operands(node, [*streams, *scalars])
    return _array([element(fresh, i) for i in range(made.lanes)], node.shape)


def _stream(arg: Node, scalars: Scalars) -> Node:
    if arg.op in (INPUT, STATE, CONST):
        return arg
    return structure(pack, list(scalars.flat), {"shape": arg.shape}, arg.dtype, arg.shape)


def _loop(node: Node, found: dict[int, Scalars]) -> Scalars:
    """Rebuild a loop on scalars; the result lists its scalar results in order of the carried arrays."""
    body: Body = node.attr
    params = [p for param in body.params for p in found[param.id].flat]
    results = [r for result in body.results for r in found[result.id].flat]
    condition = None if body.condition is None else found[body.condition.id].item()
    index = None if body.index is None else found[body.index.id].item()
    inits = [i for init in node.args[: len(body.params)] for i in found[init.id].flat]
    scalar = Body(tuple(params), tuple(results), body.trips, index, condition)
    loop = structure(LOOP, (*inits, *captures(scalar)), scalar, params[0].dtype, ())
    return _array([structure(ITEM, (loop,), i, param.dtype, ()) for i, param in enumerate(params)], (len(params),))


def _item(node: Node, found: dict[int, Scalars]) -> Scalars:
    loop = node.args[0]
    sizes = [math.prod(p.shape) for p in loop.attr.params]
    start = sum(sizes[: node.attr])
    return found[loop.id][start : start + sizes[node.attr]].reshape(node.shape)
