"""Widening: a program traced with float32 made anew in float64, inputs, states and constants too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hotloop._graph import set_origin
from hotloop.dtypes import DType, float32, float64
from hotloop.ir.graph import (
    CONST,
    INPUT,
    ITEM,
    LOOP,
    PARAM,
    STATE,
    Body,
    Node,
    apply,
    constant,
    convert,
    input_node,
    param_node,
    reachable,
    state_node,
    structure,
)  # fmt: skip
from hotloop.ir.loop import captures
from hotloop.ir.rewrite import walk
from hotloop.ops.logic import to_float32


def widen(outputs: Sequence[Node]) -> dict[Node, Node]:
    """Return for each node of a program the node that computes it in float64; outputs without float32 too.

    Constants and initial values are what the user wrote, before they were rounded to float32. Integers
    and bools stay what they are. States get cells of their own. Cost: linear.
    """
    states = [node for node in reachable(outputs) if node.op is STATE]
    nexts = [node.attr.next for node in states if node.attr.next is not None]
    fresh: dict[Node, Node] = {}
    try:
        for node in walk([*outputs, *states, *nexts]):
            set_origin(node)
            if node not in fresh:
                fresh[node] = _widened(node, fresh)
    finally:
        set_origin(None)
    for state in states:
        if state.attr.next is not None:
            fresh[state].attr.next = fresh[state.attr.next]
    return fresh


def _wide(dtype: DType) -> DType:
    return float64 if dtype is float32 else dtype


def _widened(node: Node, fresh: dict[Node, Node]) -> Node:
    dtype = _wide(node.dtype)
    if node.op is CONST:
        return node if dtype is node.dtype else constant(node.attr.exact, dtype, structural=node.attr.structural)
    if node.op is INPUT:
        return node if dtype is node.dtype else input_node(np.asarray(node.attr.exact), dtype, node.attr.name)
    if node.op is STATE:
        return state_node(np.asarray(node.attr.exact), dtype, node.attr.name)
    if node.op is PARAM:
        return node if dtype is node.dtype else param_node(dtype, node.shape)
    if node.op is LOOP:
        return _widened_loop(node, fresh)
    args = [fresh[arg] for arg in node.args]
    if node.op is ITEM or not node.op.types.overloads:
        return structure(node.op, args, node.attr, dtype, node.shape)
    if node.op is to_float32:
        return convert(args[0], float64)
    if node.op.divides and args[0].op is CONST and args[1].op is CONST:
        return structure(node.op, args, None, dtype, node.shape)  # x / (y - y) must not raise now
    return apply(node.op, *args)


def _widened_loop(loop: Node, fresh: dict[Node, Node]) -> Node:
    body: Body = loop.attr
    params = tuple([fresh[param] for param in body.params])
    results = tuple([fresh[result] for result in body.results])
    condition = None if body.condition is None else fresh[body.condition]
    made = Body(params, results, body.trips, None if body.index is None else fresh[body.index], condition)
    inits = [fresh[arg] for arg in loop.args[: len(params)]]
    return structure(LOOP, (*inits, *captures(made)), made, results[0].dtype, results[0].shape)

