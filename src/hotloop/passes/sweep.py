"""Pass `sweep`: sums and dot products of long arrays become loops over vectors of lanes.

A `SWEEP` node computes the partial results of one reduction in the fixed order of `ops.shape.fold_halves`:
element i goes to lane i mod LANES, blocks of LANES in ascending order. What is left of the order, the
elements that fill no vector and the last halves, is scalar. So the bits are those of the reference for
every width of the hardware. Element-wise operands are fused into the loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from operator import is_

import numpy as np

from hotloop.dtypes import DType
from hotloop.ir.graph import PARAM, Node, param_node, structure
from hotloop.ir.loop import rebuild, substitute
from hotloop.ir.op import Op, untyped
from hotloop.ir.rewrite import walk
from hotloop.ops.algebra import call
from hotloop.ops.shape import LANES, broadcast, element, fold_terms, matmul, sum_

SHORTEST = 24  # elements; below, straight scalar code is faster (benchmarks/dot.py)
LONGEST_BODY = 24  # operations fused into one loop: what registers hold


SWEEP = Op("sweep", untyped(), np.asarray, doc="Partial sums of a long array; attr is a `Sweep`, operands are its streams and scalars.")


class Sweep:
    """What one sweep computes: `result` of scalar params, summed over `count` elements.

    streams: the params that run over arrays, the first operands of the node; the other operands are
    scalars that `result` uses. lanes: how many partial sums are left, of `width` lanes a vector.
    """

    __slots__ = ("count", "lanes", "result", "streams", "width")

    def __init__(self, streams: tuple[Node, ...], result: Node, count: int, width: int) -> None:
        self.streams = streams
        self.result = result
        self.count = count
        self.width = width
        whole = count % width == 0 and count >= LANES
        self.lanes = width if whole else min(count, LANES) // width * width

    @property
    def rest(self) -> range:
        """The elements that fill no vector."""
        return range(self.count - self.count % self.width, self.count)

    def __repr__(self) -> str:
        return f"{self.count} elements of {len(self.streams)} streams"


def sweep(outputs: Sequence[Node], vector_bytes: int) -> list[Node]:
    """Return `outputs` with long reductions as sweeps; vector_bytes is the width of the target's registers."""
    nodes = walk(outputs)
    if not any(node.op in (sum_, matmul) for node in nodes):
        return list(outputs)
    bound: set[int] = set()
    fresh: dict[int, Node] = {}
    for node in nodes:
        if node.op is PARAM or any(arg.id in bound for arg in node.args):
            bound.add(node.id)  # inside a loop: left to scalar code
        current = node
        if any(arg.id in fresh for arg in node.args):
            current = rebuild(node, [fresh.get(arg.id, arg) for arg in node.args])
        if node.id not in bound:
            current = _swept(current, vector_bytes) or current
        if current is not node:
            fresh[node.id] = current
    return [fresh.get(output.id, output) for output in outputs]


def _swept(node: Node, vector_bytes: int) -> Node | None:
    """Return the scalar that a long reduction is, or None if this is none."""
    if node.shape or not node.dtype.is_float or not node.args or math.prod(node.args[0].shape) < SHORTEST:
        return None
    if node.op is sum_:
        return _sum(node.args[0], None, node.dtype, vector_bytes)
    if node.op is matmul:
        return _sum(node.args[0], node.args[1], node.dtype, vector_bytes)
    return None


def _sum(x: Node, y: Node | None, dtype: DType, vector_bytes: int) -> Node | None:
    body = _Body(x.shape)
    result = body.scalar(x) if y is None else call("mul", body.scalar(x), body.scalar(y))
    if body.size > LONGEST_BODY or not body.streams:
        return None
    count = math.prod(x.shape)
    made = Sweep(tuple(body.params), result, count, vector_bytes // dtype.size)
    node = structure(SWEEP, (*body.streams, *_scalars(result, body.params)), made, dtype, (made.lanes,))
    lanes = [element(node, j) for j in range(made.lanes)]
    for i in made.rest:
        mapping = {param.id: element(stream, i) for param, stream in zip(body.params, body.streams, strict=True)}
        (term,) = substitute([result], mapping)
        place = i % LANES
        if place < len(lanes):
            lanes[place] = call("add", lanes[place], term)
        else:
            lanes.append(term)
    total: Node = fold_terms(len(lanes), lanes.__getitem__, partial(call, "add"))
    return total


def _scalars(result: Node, params: Iterable[Node]) -> list[Node]:
    """Return the operands of a body that do not depend on its params: computed once, before the loop."""
    inside = {param.id for param in params}
    found: dict[int, Node] = {}
    for node in walk([result]):
        if any(arg.id in inside for arg in node.args):
            inside.add(node.id)
            found.update({arg.id: arg for arg in node.args if arg.id not in inside})
    return list(found.values())


class _Body:
    """The scalar form of an element-wise expression; what is not element-wise becomes a stream."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.streams: list[Node] = []
        self.params: list[Node] = []
        self.size = 0
        self._known: dict[int, Node] = {}

    def scalar(self, root: Node) -> Node:
        """Return `root` at one place of the shape."""
        stack = [root]
        while stack:
            node = stack[-1]
            if node.id in self._known:
                stack.pop()
                continue
            if not self._fuses(node):
                self._known[node.id] = self._leaf(node)
                continue
            waiting = [arg for arg in node.args if arg.id not in self._known]
            if waiting:
                stack.extend(waiting)
                continue
            self._known[node.id] = rebuild(node, [self._known[arg.id] for arg in node.args])
            self.size += 1
        return self._known[root.id]

    def _fuses(self, node: Node) -> bool:
        return node.shape == self.shape and node.op.wide is not None and all(arg.dtype is node.dtype for arg in node.args)

    def _leaf(self, node: Node) -> Node:
        if not node.shape:
            return node
        if node.op is broadcast and not node.args[0].shape:
            return node.args[0]
        param = param_node(node.dtype, ())
        self.streams.append(node)
        self.params.append(param)
        return param


def with_operands(node: Node, args: Sequence[Node]) -> Node:
    """Return a sweep on other streams and scalars."""
    if all(map(is_, node.args, args)):
        return node
    made: Sweep = node.attr
    first = len(made.streams)
    changed = {old.id: new for old, new in zip(node.args[first:], args[first:], strict=True) if old is not new}
    (result,) = substitute([made.result], changed)
    return structure(SWEEP, args, Sweep(made.streams, result, made.count, made.width), node.dtype, node.shape)
