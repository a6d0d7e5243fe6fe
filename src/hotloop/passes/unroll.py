"""Pass `unroll`: arrays become scalars, so that zeros and ones in them vanish and registers hold them.

Each array node turns into an object array of scalar nodes by its row's own meaning (`Op.lower`), so
order and rounding are those of the reference. Elements of arrays in memory (inputs, states, results of
kernels, arrays that loops carry for kernels) are loads, and there are none of arrays that only kernels read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from hotloop.dtypes import DType, int64
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
    constants,
    convert,
    param_node,
    reachable,
    structure,
)
from hotloop.ir.loop import captures
from hotloop.ir.op import Op, untyped
from hotloop.ops.algebra import call
from hotloop.ops.shape import clamped_place, element, gather, pack, take
from hotloop.passes.kernel import KERNEL, RESULT

LOOKUP = Op("lookup", untyped(), np.asarray, doc="An element of an array in memory at a run-time flat place, which is inside.")

Scalars = np.ndarray[Any, Any]  # of nodes, dtype object


def unroll(outputs: Sequence[Node], index: DType = int64) -> dict[int, Scalars]:
    """Return for each node id that matters its scalar nodes, as an array of the node's shape.

    An array in memory that no scalar code reads is one node, in an array of shape ().
    Empty if the program has no arrays: then every node stands for itself. index: the type of run-time places.
    """
    nodes = reachable(outputs)
    if not any(node.shape for node in nodes):
        return {}
    return _Unroller(nodes, outputs, index).found


def scalars_of(found: dict[int, Scalars], node: Node) -> list[Node]:
    """Return the scalar nodes of `node` in row-major order, or the one node that is an array in memory."""
    if node.id not in found or (node.shape and node.op in (INPUT, STATE, CONST)):
        return [node]
    scalars = found[node.id]
    if node.shape and node.op in (RESULT, ITEM) and scalars.size:
        first: Node = scalars.flat[0]
        array = first.args[0] if first.op is take else first
        if array.shape:
            return [array]
    return list(scalars.flat)


def _array(items: Sequence[Node], shape: tuple[int, ...]) -> Scalars:
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


class _Unroller:
    """Makes the scalars of each node that is needed, operands first."""

    def __init__(self, nodes: Sequence[Node], outputs: Sequence[Node], index: DType) -> None:
        self.index = index
        self.found: dict[int, Scalars] = {}
        self.elements: set[int] = set()  # nodes whose elements are needed
        self.whole: set[int] = set()  # nodes that are needed as arrays in memory
        self.carried: set[int] = set()  # params of loops that are arrays in memory
        read = {arg.id for node in nodes if node.op is KERNEL for arg in node.args}
        for node in nodes:
            if node.op is LOOP:
                body: Body = node.attr
                pairs = zip(body.params, body.results, strict=True)
                self.carried.update(p.id for p, result in pairs if p.shape and (p.id in read or result.op is RESULT))
        self._find_needed(nodes, outputs)
        for node in nodes:
            if node.id in self.elements or node.id in self.whole:
                self.found[node.id] = self._scalars(node)

    def _in_memory(self, node: Node) -> bool:
        """Whether a node is an array that lies in memory."""
        if not node.shape:
            return False
        if node.op is ITEM:
            return node.args[0].attr.params[node.attr].id in self.carried
        return node.op in (INPUT, STATE, RESULT) or node.id in self.carried

    def _need(self, node: Node) -> None:
        """Need a node as an operand of a kernel, an output or a carried array: as a whole if that is what it is."""
        if node.shape and node.op in (INPUT, STATE, CONST):
            return
        (self.whole if self._in_memory(node) else self.elements).add(node.id)

    def _find_needed(self, nodes: Sequence[Node], outputs: Sequence[Node]) -> None:
        for output in outputs:
            self._need(output)
        for node in reversed(nodes):
            if node.id not in self.whole and node.id not in self.elements:
                continue
            if node.id in self.elements and self._in_memory(node):
                self.whole.add(node.id)
            if node.op is LOOP:
                self._need_loop(node)
            elif node.op is KERNEL:
                for arg in node.args:
                    self._need(arg)
            elif node.op in (RESULT, ITEM):
                self.elements.add(node.args[0].id)
            elif node.op is take and not node.shape and self._in_memory(node.args[0]):
                self._need(node.args[0])
            elif node.op is gather and self._is_table(node.args[0]):
                self._need(node.args[0])
                self.elements.add(node.args[1].id)
            else:
                self.elements.update(arg.id for arg in node.args)

    def _need_loop(self, node: Node) -> None:
        body: Body = node.attr
        for param, init, result in zip(body.params, node.args, body.results, strict=False):
            if param.id in self.carried:
                self._need(init)
                self._need(result)
                self.whole.add(param.id)
            else:
                self.elements.update((param.id, init.id, result.id))
        self.elements.update(inner.id for inner in (body.index, body.condition) if inner is not None)
        for arg in node.args[len(body.params) :]:
            if not arg.shape:
                self.elements.add(arg.id)

    # -- nodes -------------------------------------------------------------------------------------

    def _scalars(self, node: Node) -> Scalars:
        op, found = node.op, self.found
        if op is LOOP:
            return self._loop(node)
        if op is ITEM:
            return self._item(node)
        if op is KERNEL:
            return _array([structure(KERNEL, [self._operand(arg) for arg in node.args], node.attr, node.dtype, ())], ())
        if op is RESULT:
            return self._elements(node, structure(RESULT, (found[node.args[0].id].item(),), node.attr, node.dtype, node.shape))
        if node.id in self.carried:
            return self._elements(node, node)
        if not node.shape and not node.args:
            return _array([node], ())
        if op is CONST:
            structural = node.attr.structural
            return _array(constants(node.attr.value.reshape(-1).tolist(), node.dtype, structural), node.shape)
        if op in (INPUT, STATE):
            return self._elements(node, node, True)
        if op is PARAM:
            return _array([param_node(node.dtype, ()) for _ in range(math.prod(node.shape))], node.shape)
        if op is take and not node.shape and self._in_memory(node.args[0]):
            return _array([element(self._operand(node.args[0]), int(node.attr["index"].flat))], ())
        if op is gather and self._is_table(node.args[0]):
            return self._looked_up(node)
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

    def _is_table(self, node: Node) -> bool:
        """Whether look-ups may address the elements of an array: others are chosen among its scalars."""
        return self._in_memory(node) or (node.op is CONST and bool(node.shape))

    def _looked_up(self, node: Node) -> Scalars:
        """Return the rows of an array at run-time places, by address."""
        table, index = node.args
        array, row = self._operand(table), math.prod(table.shape[1:])
        items = []
        for place in self.found[index.id].flat:
            first = convert(clamped_place(place, table.shape[0]), self.index)
            first = call("mul", first, row) if row != 1 else first
            places = [call("add", first, j) if j else first for j in range(row)]
            items += [structure(LOOKUP, (array, at), None, table.dtype, ()) for at in places]
        return _array(items, node.shape)

    def _elements(self, node: Node, array: Node, always: bool = False) -> Scalars:
        """Return loads of the elements of an array in memory, or the array itself if no element is needed."""
        if not node.shape or not (always or node.id in self.elements):
            return _array([array], ())
        return _array([element(array, i) for i in range(math.prod(node.shape))], node.shape)

    def _operand(self, arg: Node) -> Node:
        """Return an operand of a kernel: an array in memory, packed scalars, or a scalar."""
        if arg.shape and arg.op in (INPUT, STATE, CONST):
            return arg
        scalars = self.found[arg.id]
        first: Node = scalars.flat[0]
        if not arg.shape or first.shape:
            return first
        if self._in_memory(arg):
            return first.args[0]  # its elements are loads from it
        return structure(pack, list(scalars.flat), {"shape": arg.shape}, arg.dtype, arg.shape)

    # -- loops -------------------------------------------------------------------------------------

    def _parts(self, node: Node, param: Node) -> list[Node]:
        """Return what a loop carries for a param: one array in memory, or scalars."""
        return [self._operand(node)] if param.id in self.carried else list(self.found[node.id].flat)

    def _loop(self, node: Node) -> Scalars:
        """Rebuild a loop on scalars and arrays in memory; its scalars are its results, in order of what is carried."""
        body: Body = node.attr
        found = self.found
        params = [p for param in body.params for p in self._parts(param, param)]
        results = [r for param, result in zip(body.params, body.results, strict=True) for r in self._parts(result, param)]
        condition = None if body.condition is None else found[body.condition.id].item()
        index = None if body.index is None else found[body.index.id].item()
        inits = [i for param, init in zip(body.params, node.args, strict=False) for i in self._parts(init, param)]
        scalar = Body(tuple(params), tuple(results), body.trips, index, condition)
        loop = structure(LOOP, (*inits, *captures(scalar)), scalar, params[0].dtype, ())
        return _array([structure(ITEM, (loop,), i, param.dtype, param.shape) for i, param in enumerate(params)], (len(params),))

    def _item(self, node: Node) -> Scalars:
        loop = node.args[0]
        sizes = [1 if p.id in self.carried else math.prod(p.shape) for p in loop.attr.params]
        start = sum(sizes[: node.attr])
        parts = self.found[loop.id][start : start + sizes[node.attr]]
        if self._in_memory(node):
            return self._elements(node, parts[0])
        return parts.reshape(node.shape)
