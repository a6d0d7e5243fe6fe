"""Pass `unroll`: arrays become scalars, so that zeros and ones in them vanish and registers hold them.

Each array node turns into an object array of scalar nodes by its row's own meaning (`Op.lower`), so
order and rounding are those of the reference. Elements of arrays in memory (inputs, states, results of
kernels) are loads, and there are none of arrays that only kernels read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from hotloop.ir.graph import CONST, INPUT, ITEM, LOOP, PARAM, STATE, Body, Node, apply, constants, param_node, reachable, structure
from hotloop.ir.loop import captures
from hotloop.ir.rewrite import ends as body_ends
from hotloop.ir.rewrite import variables
from hotloop.ops.shape import element, pack, take
from hotloop.passes.kernel import KERNEL, RESULT

Scalars = np.ndarray[Any, Any]  # of nodes, dtype object


def unroll(outputs: Sequence[Node]) -> dict[int, Scalars]:
    """Return for each node id that matters its scalar nodes, as an array of the node's shape.

    An array that a kernel gives and that no scalar code reads is one node, in an array of shape ().
    Empty if the program has no arrays: then every node stands for itself.
    """
    nodes = reachable(outputs)
    if not any(node.shape for node in nodes):
        return {}
    element_wise, whole = _needed(nodes, outputs)
    found: dict[int, Scalars] = {}
    for node in nodes:
        if node.id in element_wise or node.id in whole:
            found[node.id] = _scalars(node, found, node.id in element_wise)
    return found


def scalars_of(found: dict[int, Scalars], node: Node) -> list[Node]:
    """Return the scalar nodes of `node` in row-major order, or the one node that is an array in memory."""
    if node.id not in found or (node.shape and node.op in (INPUT, STATE, CONST)):
        return [node]
    scalars = found[node.id]
    if node.op is RESULT and node.shape:
        first: Node = scalars.flat[0]
        return [first.args[0] if first.op is take else first]
    return list(scalars.flat)


def _needed(nodes: Sequence[Node], outputs: Sequence[Node]) -> tuple[set[int], set[int]]:
    """Return the ids of nodes whose elements are needed, and of those that are needed as a whole."""
    elements: set[int] = set()
    whole: set[int] = set()

    def need(node: Node) -> None:
        if not (node.shape and node.op in (INPUT, STATE, CONST)):
            (whole if node.op is RESULT and node.shape else elements).add(node.id)

    for output in outputs:
        need(output)
    for node in reversed(nodes):
        if node.id in whole:
            need(node.args[0])
        elif node.op is KERNEL and node.id in elements:
            for arg in node.args:
                need(arg)
        elif node.id in elements:
            single = node.op is take and not node.shape
            for arg in () if single and arg_in_memory(node) else node.args:
                elements.add(arg.id)
            if single and node.args[0].op is RESULT:
                whole.add(node.args[0].id)
            if node.op is RESULT and node.shape:
                whole.add(node.id)
            if node.op is LOOP:
                elements.update(inner.id for inner in (*body_ends(node.attr), *variables(node.attr)))
    return elements, whole


def arg_in_memory(node: Node) -> bool:
    """Whether the operand of a `take` is an array in memory, so that its elements need no nodes of their own."""
    return node.args[0].op in (INPUT, STATE, RESULT)


def _array(items: Sequence[Node], shape: tuple[int, ...]) -> Scalars:
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


def _scalars(node: Node, found: dict[int, Scalars], by_element: bool) -> Scalars:
    op = node.op
    if op is LOOP:
        return _loop(node, found)
    if op is ITEM:
        return _item(node, found)
    if op is KERNEL:
        return _array([structure(KERNEL, [_operand(arg, found) for arg in node.args], node.attr, node.dtype, ())], ())
    if op is RESULT:
        whole = structure(RESULT, (found[node.args[0].id].item(),), node.attr, node.dtype, node.shape)
        if not node.shape or not by_element:
            return _array([whole], ())
        return _array([element(whole, i) for i in range(math.prod(node.shape))], node.shape)
    if not node.shape and not node.args:
        return _array([node], ())
    if op is CONST:
        structural = node.attr.structural
        return _array(constants(node.attr.value.reshape(-1).tolist(), node.dtype, structural), node.shape)
    if op in (INPUT, STATE):
        return _array([element(node, i) for i in range(math.prod(node.shape))], node.shape)
    if op is PARAM:
        return _array([param_node(node.dtype, ()) for _ in range(math.prod(node.shape))], node.shape)
    if op is take and not node.shape and arg_in_memory(node):
        array = node.args[0]
        whole = found[array.id].flat[0] if array.op is RESULT else array
        whole = whole.args[0] if whole.op is take else whole
        return _array([element(whole, int(node.attr["index"].flat))], ())
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


def _operand(arg: Node, found: dict[int, Scalars]) -> Node:
    """Return an operand of a kernel: an array in memory, packed scalars, or a scalar."""
    if arg.shape and arg.op in (INPUT, STATE, CONST):
        return arg
    scalars = found[arg.id]
    first: Node = scalars.flat[0]
    if not arg.shape or (first.op is RESULT and first.shape):
        return first
    if arg.op is RESULT:
        return first.args[0]  # its elements are loads from it
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
