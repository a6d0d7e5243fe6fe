"""`BodyWriter`: the body of one kernel, as a graph of scalars, and the streams that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from hotloop import _graph
from hotloop.ir.graph import INPUT, ITEM, PARAM, STATE, Node, Shape, constant, param_node, structure
from hotloop.ir.loop import rebuild
from hotloop.ir.op import Op
from hotloop.ops.algebra import call
from hotloop.ops.shape import Index, matmul, take_by
from hotloop.passes.kernel import KERNEL, RESULT, SCALAR, Kernel, Result, Stream, View, axes_view, kernel_of_one, row_major, size, view
from hotloop.passes.loops import LONGEST_APART


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """What a kernel iterates: arrays of `shape`, axis order[d] as dimension d; the first `kept` are not reduced."""

    shape: Shape
    order: tuple[int, ...]
    kept: int

    @classmethod
    def of_product(cls, node: Node) -> Self:
        """Return the space of a matrix product: the axes of its result, then the inner one."""
        shape = (*node.shape, node.args[0].shape[-1])
        return cls(shape, tuple(range(len(shape))), len(shape) - 1)


class BodyWriter:
    """Collects what one kernel gives, with params for what it reads."""

    def __init__(self, space: Space, sizes_known: bool, contract: bool, one_lane: bool, inside: Callable[[Node], bool]) -> None:
        self.space = space
        self.contract = contract
        self.sizes_known = sizes_known
        self.one_lane = one_lane
        self.inside = inside  # whether the kernel computes a node, and does not read it
        self.nodes: list[Node] = []
        self.given: list[Result] = []
        self.streams: dict[tuple[int, tuple[int, ...], int], tuple[Stream, Node]] = {}
        self.scalars: dict[int, tuple[Node, Node]] = {}  # id -> param, node
        self.known: dict[int, Node] = {}

    def add(self, node: Node, fold: Op | None) -> None:
        """Let the kernel give `node`: an element-wise node, or a reduction by `fold`."""
        _graph.set_origin(node)
        if node.op is matmul and node.shape:
            value = call("mul", self._factor(node, 0), self._factor(node, 1))
        elif node.op is matmul:
            value = call("mul", *[self._element(arg) for arg in node.args])
        else:
            value = self._element(node if fold is None else node.args[0])
        self.nodes.append(node)
        self.given.append(Result(value, fold, node.shape))

    def results(self, fresh: Mapping[int, Node]) -> dict[int, Node]:
        """Make the kernel node, on operands as `fresh` has them, and return for each node its result."""
        space, whole = self.space, len(self.space.shape)
        shape = tuple([space.shape[axis] for axis in space.order])
        kept = 0 if space.kept == whole and any(result.fold for result in self.given) else space.kept
        streams, bases = [s for s, _ in self.streams.values()], [base for _, base in self.streams.values()]
        params, scalars = [p for p, _ in self.scalars.values()], [node for _, node in self.scalars.values()]
        final = [fresh.get(base.id, base) for base in bases]
        lane = self._lane(kept, shape, streams, final)
        if self.sizes_known:
            first = kept if lane >= kept else lane
            if self.one_lane:  # only what is reduced by loops must be a line
                first, lane = self._line(kept, shape)
            moved = [_along_lanes(stream, base, shape, first, lane) for stream, base in zip(streams, final, strict=True)]
            streams, final = [stream for stream, _ in moved], [base for _, base in moved]
        kernel = Kernel(shape, kept, lane, tuple(streams), tuple(params), tuple(self.given), self.contract)
        args = [*final, *[fresh.get(node.id, node) for node in scalars]]
        _graph.set_origin(self.nodes[0])
        made = structure(KERNEL, args, kernel, self.nodes[0].dtype, ())
        return {node.id: structure(RESULT, (made,), k, node.dtype, node.shape) for k, node in enumerate(self.nodes)}

    def _lane(self, kept: int, shape: Shape, streams: Sequence[Stream], bases: Sequence[Node]) -> int:
        """Return the dimension that lanes run along: the last one, or the last kept one if fewer arrays must be moved for it."""
        last = len(shape) - 1
        if not self.sizes_known:
            return last
        last = _last_long(shape, kept if kept <= last else 0, last)
        column = _last_long(shape, 0, kept - 1)
        if kept in (0, len(shape)) or shape[column] < 3:
            return last
        pairs = [(stream.steps, size(base.shape)) for stream, base in zip(streams, bases, strict=True) if not base.is_const]
        moves = [sum(count for steps, count in pairs if steps[lane] not in (0, 1)) for lane in (column, last)]
        return column if moves[0] <= moves[1] else last

    def _line(self, kept: int, shape: Shape) -> tuple[int, int]:
        """Return the dimensions, from first to last, that loops walk as one."""
        last = len(shape) - 1
        several = len([n for n in shape[kept:] if n != 1]) > 1
        return (kept, last) if several and (kept == 0 or size(shape[kept:]) > LONGEST_APART) else (last + 1, last)

    # -- the body --------------------------------------------------------------------------------

    def _element(self, root: Node) -> Node:
        """Return `root` at one place of the iteration, as a scalar."""
        stack = [root]
        while stack:
            node = stack[-1]
            if node.id in self.known:
                stack.pop()
                continue
            if node.shape != self.space.shape or not self.inside(node):
                self.known[node.id] = self._leaf(node)
                continue
            waiting = [arg for arg in node.args if arg.id not in self.known]
            if waiting:
                stack.extend(waiting)
                continue
            self.known[node.id] = rebuild(node, [self.known[arg.id] for arg in node.args])
        return self.known[root.id]

    def _leaf(self, node: Node) -> Node:
        if not node.shape:
            return self._scalar(node)
        if node.is_const:
            bits = node.attr.value.reshape(-1)
            if bits.size and bits.tobytes() == bits[:1].tobytes() * bits.size:
                return constant(bits[0].item(), node.dtype)
        found = (view if self.sizes_known else axes_view)(node, self.space.shape)
        if not found.base.shape:
            return self._scalar(found.base)
        return self._stream(found, tuple([found.steps[axis] for axis in self.space.order]))

    def _factor(self, product: Node, which: int) -> Node:
        """Return the element of an operand of a matrix product; the dimensions are batch, rows, columns, inner."""
        x, y = product.args
        node = product.args[which]
        found = view(node, node.shape)
        if not found.base.shape:
            return self._scalar(found.base)
        rows, columns = len(x.shape) > 1, len(y.shape) > 1
        dims = len(self.space.shape)
        batch = dims - 1 - rows - columns
        steps = [0] * dims
        own = list(found.steps)
        steps[-1] = own.pop(-1 if which == 0 or not columns else -2)
        if which == 0 and rows:
            steps[batch] = own.pop()
        if which == 1 and columns:
            steps[-2] = own.pop()
        lengths = node.shape[: len(own)]
        for k, step in enumerate(reversed(own)):
            steps[batch - 1 - k] = step if lengths[len(own) - 1 - k] != 1 else 0
        return self._stream(found, tuple(steps))

    def _scalar(self, node: Node) -> Node:
        if node.is_const:
            return node
        if node.id not in self.scalars:
            self.scalars[node.id] = param_node(node.dtype, ()), node
        return self.scalars[node.id][0]

    def _stream(self, found: View, steps: tuple[int, ...]) -> Node:
        key = found.base.id, steps, found.offset
        if key not in self.streams:
            self.streams[key] = Stream(param_node(found.base.dtype, ()), steps, found.offset), found.base
        return self.streams[key][0].param


def _last_long(shape: Shape, first: int, last: int) -> int:
    """Return the last dimension of first ... last that is longer than 1, or the last one."""
    return next((d for d in range(last, first - 1, -1) if shape[d] != 1), last)


def _along_lanes(stream: Stream, base: Node, shape: Shape, first: int, lane: int) -> tuple[Stream, Node]:
    """Return a stream whose elements lie side by side along the dimensions from `first` to `lane`, moving the array if they do not."""
    line = [(stream.steps[d], step) for d, step in enumerate(row_major(shape[first : lane + 1]), first) if shape[d] != 1]
    if all(step == 0 for step, _ in line) or all(step == wanted for step, wanted in line):
        return stream, base
    order = [d for d in range(len(shape)) if d != lane and (stream.steps[d] or d >= first)] + [lane]
    lengths = tuple([shape[d] for d in order])
    steps = tuple([stream.steps[d] for d in order])
    own = dict(zip(order, row_major(lengths), strict=True))
    moved = Stream(stream.param, tuple([own.get(d, 0) for d in range(len(shape))]), 0)
    return moved, copied(View(base, steps, stream.offset), lengths)


def copied(found: View, shape: Shape) -> Node:
    """Return a view as an array of its own, with elements side by side."""
    base, last = found.base, _last_long(shape, 0, len(shape) - 1)
    if base.op not in (INPUT, STATE, RESULT, PARAM, ITEM):  # constants, and packed scalars, which are packed anew
        places = np.asarray(found.offset)
        for length, step in zip(shape, found.steps, strict=True):
            places = places[..., None] + step * np.arange(length)
        return take_by(base, Index(places))
    lane = last if found.steps[last] == 1 else SCALAR
    kernel = kernel_of_one(base.dtype, shape, found.steps, offset=found.offset, lane=lane)
    return structure(RESULT, (structure(KERNEL, (base,), kernel, base.dtype, ()),), 0, base.dtype, shape)
