"""Reductions of arrays, on nodes: axes as NumPy's, empty arrays, means, norms, places of extrema."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hotloop.dtypes import bool_, int32
from hotloop.errors import ShapeError, TypeMismatch
from hotloop.ir.dim import is_sized
from hotloop.ir.graph import Node, Shape, apply, constant, convert, user_line
from hotloop.ir.op import Op
from hotloop.ops import arith, logic
from hotloop.ops.shape import all_, amax, amin, any_, length_of, places_of, prod, reduce, reshape_to, sum_

Axis = int | Sequence[int] | None


def axes_of(axis: Axis, shape: Shape, ascending: bool = True) -> tuple[int, ...]:
    """Return axes as numbers from 0, ascending or as given. Raises ShapeError outside the shape or twice."""
    if axis is None:
        return tuple(range(len(shape)))
    given = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    for one in given:
        if not -len(shape) <= one < len(shape):
            raise ShapeError(f"{user_line()}: axis {one} of an array of shape {shape}: it has {len(shape)} axes.")
    normal = tuple(one % len(shape) for one in given)
    if len(set(normal)) != len(normal):
        raise ShapeError(f"{user_line()}: axis {given} names an axis twice.")
    return tuple(sorted(normal)) if ascending else normal


def reduced(op: Op, x: Node, axis: Axis, keepdims: bool) -> Node:
    """Return a reduction row over `axis`."""
    axes = axes_of(axis, x.shape)
    return _kept(reduce(op, x, axes), x, axes, keepdims)


def _kept(result: Node, x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
    if not keepdims:
        return result
    return reshape_to(result, tuple(1 if axis in axes else length for axis, length in enumerate(x.shape)))


def _of_none(op: Op, number: int, x: Node, axis: Axis, keepdims: bool) -> Node:
    """Return a reduction that has a neutral element: that of no elements is the element."""
    axes = axes_of(axis, x.shape)
    if all(x.shape[axis] != 0 for axis in axes):
        return reduced(op, x, axis, keepdims)
    kept = tuple(length for axis, length in enumerate(x.shape) if axis not in axes)
    dtype = bool_ if op in (any_, all_) else int32 if x.dtype is bool_ else x.dtype
    return _kept(constant(np.full(kept, number, dtype.numpy)), x, axes, keepdims)


def total(x: Node, axis: Axis, keepdims: bool) -> Node:
    """Return the sum; of no elements 0."""
    x = convert(x, int32) if x.dtype is bool_ else x
    return _of_none(sum_, 0, x, axis, keepdims)


def multiplied(x: Node, axis: Axis, keepdims: bool) -> Node:
    """Return the product; of no elements 1."""
    x = convert(x, int32) if x.dtype is bool_ else x
    return _of_none(prod, 1, x, axis, keepdims)


def holds(x: Node, axis: Axis, keepdims: bool, every: bool) -> Node:
    """Return whether every, or any, element is not zero."""
    x = x if x.dtype is bool_ else apply(logic.ne, x, 0)
    return _of_none(all_ if every else any_, every, x, axis, keepdims)


def _count(x: Node, axis: Axis) -> int | None:
    """Return the number of elements that a mean is of, None if it is known only when the function is called."""
    lengths = [x.shape[one] for one in axes_of(axis, x.shape)]
    if not is_sized(lengths):
        return None
    count = math.prod(lengths)
    if not count:
        raise ShapeError(f"{user_line()}: mean of no elements (shape {x.shape}).")
    return count


def _divided(sums: Node, count: int | None, x: Node, axis: Axis, ddof: int = 0) -> Node:
    """Return sums divided by the number of elements of `x` along axis, less `ddof`."""
    if count is not None:
        return apply(arith.div, sums, count - ddof)
    length = apply(arith.sub, length_of(x, axes_of(axis, x.shape)), ddof)
    return apply(arith.div, sums, convert(length, sums.dtype))


def mean(x: Node, axis: Axis, keepdims: bool) -> Node:
    """Return the arithmetic mean, a float."""
    count = _count(x, axis)
    return _divided(total(x, axis, keepdims), count, x, axis)


def variance(x: Node, axis: Axis, keepdims: bool, ddof: int) -> Node:
    """Return the mean squared distance from the mean, with divisor n - ddof."""
    count = _count(x, axis)
    if count is not None and count <= ddof:
        raise ShapeError(f"{user_line()}: variance of {count} elements with ddof={ddof}.")
    away = apply(arith.sub, x, mean(x, axis, True))
    return _divided(total(apply(arith.mul, away, away), axis, keepdims), count, x, axis, ddof)


def deviation(x: Node, axis: Axis, keepdims: bool, ddof: int) -> Node:
    """Return the standard deviation; its derivative is 0 where all elements are equal."""
    return apply(arith.norm, variance(x, axis, keepdims, ddof))


def norm(x: Node, order: float | None, axis: Axis, keepdims: bool) -> Node:
    """Return the norm of order None or 2 (root of squares), 1 or inf."""
    if order == 1:
        return total(apply(arith.abs_, x), axis, keepdims)
    if order == math.inf:
        return reduced(amax, apply(arith.abs_, x), axis, keepdims)
    if order not in (None, 2):
        raise TypeMismatch(f"{user_line()}: norm of order {order!r}. Use 1, 2 or inf.")
    return apply(arith.norm, total(apply(arith.mul, x, x), axis, keepdims))


def place_of(op: Op, x: Node, axis: int | None, keepdims: bool) -> Node:
    """Return the first place of the minimum or maximum (`op` amin, amax) or of the first NaN, as int32."""
    if not is_sized(x.shape):
        return _place_in_any_size(op, x, axis, keepdims)
    if axis is None:
        flat = reshape_to(x, (math.prod(x.shape),))
        return _kept(place_of(op, flat, 0, False), x, axes_of(None, x.shape), keepdims)
    axes = axes_of(axis, x.shape)
    hit = _extreme(op, x, axes)
    length = x.shape[axes[0]]
    places = np.arange(length, dtype=np.int32).reshape([length if i == axes[0] else 1 for i in range(len(x.shape))])
    return reduced(amin, apply(logic.select, hit, constant(places), constant(length, int32)), axes, keepdims)


def _extreme(op: Op, x: Node, axes: tuple[int, ...]) -> Node:
    """Return where the elements are that a place is looked for of."""
    x = convert(x, int32) if x.dtype is bool_ else x
    hit = apply(logic.eq, x, reduced(op, x, axes, True))
    # a NaN makes the extremum NaN, which equals nothing: then only NaNs hit
    return apply(logic.or_, hit, apply(logic.ne, x, x)) if x.dtype.is_float else hit


def _place_in_any_size(op: Op, x: Node, axis: int | None, keepdims: bool) -> Node:
    axes = axes_of(axis, x.shape)
    beyond = constant(int32.limits[1], int32)
    return reduced(amin, apply(logic.select, _extreme(op, x, axes), places_of(x, axes), beyond), axes, keepdims)
