"""Kernels: loops over arrays as nodes of the graph, and views: how a kernel reads an array that was moved.

A `KERNEL` node's operands are the arrays that it reads and then the scalars; `RESULT` nodes stand for
what it gives: arrays that it writes, or what is left of reductions. Its body is a graph of scalars on
params, computed at every place of the iteration space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hotloop.dtypes import DType
from hotloop.ir.graph import Node, Shape, param_node
from hotloop.ir.op import Op, untyped
from hotloop.ops.shape import Index, broadcast, reshape, take, transpose

KERNEL = Op("kernel", untyped(), np.asarray, doc="A loop over arrays; attr is a `Kernel`, operands are its arrays, then its scalars.")
RESULT = Op("result", untyped(), np.asarray, doc="One result of a kernel, by number: an array in memory, or a reduced scalar.")


SCALAR = -1  # in place of the dimension of lanes


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """An array as a kernel walks it.

    param: its element at the place of iteration, in the body. steps: for each dimension of the iteration
    what one step adds to the flat place in the array; 0 where it stays. Where lengths are run-time
    values: the axis that the dimension walks, or -1. offset: elements before the first.
    """

    param: Node
    steps: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a kernel gives: `value` of the body at every place, or reduced by the binary row `fold`."""

    value: Node
    fold: Op | None
    shape: Shape


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """An iteration space, what is read, what is given.

    shape: lengths of the iteration; the first `kept` are axes of the results, the others are reduced.
    lane: the dimension that vectors of lanes run along, or SCALAR for a copy element by element. contract: sums of products may be fused
    multiply-adds, in any order.
    """

    shape: Shape
    kept: int
    lane: int
    streams: tuple[Stream, ...]
    scalars: tuple[Node, ...]
    results: tuple[Result, ...]
    contract: bool = False

    def __repr__(self) -> str:
        return f"{list(self.shape)}, {len(self.streams)} arrays"


def kernel_of_one(
    dtype: DType, shape: Shape, steps: tuple[int, ...], *, offset: int = 0, lane: int = 0, fold: Op | None = None
) -> Kernel:  # fmt: skip
    """Return the kernel that copies one array, or reduces all of it by `fold`."""
    param = param_node(dtype, ())
    result = Result(param, fold, () if fold else shape)
    return Kernel(shape, 0 if fold else len(shape), lane, (Stream(param, steps, offset),), (), (result,))


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """An array seen through movements: `base` and, for each axis of what is seen, its steps (see `Stream`)."""

    base: Node
    steps: tuple[int, ...]
    offset: int = 0


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Return what one step along each axis adds to the flat place."""
    steps, step = [], 1
    for length in reversed(shape):
        steps.append(step)
        step *= length
    return tuple(reversed(steps))


def axes_view(node: Node, shape: Shape) -> View:
    """Return `node`, broadcast to `shape`, as a base whose axes are walked: steps are axis numbers, or -1."""
    axes = _broadcast_axes(list(range(len(shape))), node.shape, shape)
    while True:
        if node.op is broadcast:
            axes = _broadcast_axes(axes, node.args[0].shape, node.shape)
        elif node.op is transpose:
            order = node.attr["axes"]
            axes = [-1 if axis < 0 else order[axis] for axis in axes]
        elif node.op is reshape and _long(node.shape) == _long(node.args[0].shape):
            axes = _renumbered(axes, node.shape, node.args[0].shape)
        else:
            return View(node, tuple(axes))
        node = node.args[0]


def view(node: Node, shape: Shape) -> View:
    """Return `node`, broadcast to `shape`, as a base in memory and static steps through it."""
    found = axes_view(node, shape)
    node = found.base
    own, offset = row_major(node.shape), 0
    if node.op is take:
        affine = _affine(node.attr["index"])
        if affine is None:
            return View(node, _steps(found.steps, own))
        own, offset = affine
        node = node.args[0]
    steps = _steps(found.steps, own)
    while True:  # from here on only flat places count
        if node.op is reshape:
            node = node.args[0]
        elif node.op is take and (line := _line(node.attr["index"])) is not None:
            steps, offset = tuple([step * line[1] for step in steps]), line[0] + offset * line[1]
            node = node.args[0]
        else:
            return View(node, steps, offset)


def _steps(axes: Sequence[int], own: Sequence[int]) -> tuple[int, ...]:
    return tuple([0 if axis < 0 else own[axis] for axis in axes])


def _broadcast_axes(axes: list[int], inner: Shape, outer: Shape) -> list[int]:
    """Return axes of an array of shape `outer` as axes of the array of shape `inner` that was broadcast to it."""
    extra = len(outer) - len(inner)
    return [-1 if axis < extra or (inner[axis - extra] == 1 and outer[axis] != 1) else axis - extra for axis in axes]


def _long(shape: Shape) -> list[int]:
    return [length for length in shape if length != 1]


def _renumbered(axes: list[int], outer: Shape, inner: Shape) -> list[int]:
    """Return axes of `outer` as axes of `inner`, which differ in axes of length 1."""
    places = iter([place for place, length in enumerate(inner) if length != 1])
    number = [-1 if length == 1 else next(places) for length in outer]
    return [-1 if axis < 0 else number[axis] for axis in axes]


def _affine(index: Index) -> tuple[tuple[int, ...], int] | None:
    """Return the steps and the offset of a static index if they are the same everywhere."""
    flat = index.flat
    offset = int(flat.flat[0]) if flat.size else 0
    seconds = [tuple([int(k == axis) for k in range(flat.ndim)]) for axis in range(flat.ndim)]  # one step along each axis
    steps = tuple([int(flat[second]) - offset if n > 1 else 0 for second, n in zip(seconds, flat.shape, strict=True)])
    expected: Any = np.asarray(offset)
    for axis, (n, step) in enumerate(zip(flat.shape, steps, strict=True)):
        expected = expected + (np.arange(n) * step).reshape([n if k == axis else 1 for k in range(flat.ndim)])
    return (steps, offset) if np.array_equal(np.broadcast_to(expected, flat.shape), flat) else None


def _line(index: Index) -> tuple[int, int] | None:
    """Return (offset, step) if the places of an index are on one line, in row-major order."""
    flat = index.flat.reshape(-1)
    if flat.size < 2:
        return (int(flat[0]), 1) if flat.size else None
    offset, step = int(flat[0]), int(flat[1] - flat[0])
    return (offset, step) if np.array_equal(flat, offset + step * np.arange(flat.size)) else None


def size(shape: Shape) -> int:
    """Return the number of places of a static shape."""
    return math.prod(shape)
