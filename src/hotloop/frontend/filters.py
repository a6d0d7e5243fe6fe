"""Sorting, ranking and averaging of traced arrays: `hotloop.filters`.

Traced values cannot be compared while tracing, so sorting is a network: a fixed sequence of
compare-and-swaps (Batcher's), about n log2(n)**2 / 4 of them, each stage one operation on arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from hotloop.dtypes import bool_, float64, int32
from hotloop.errors import RangeError, ShapeError
from hotloop.frontend.array import Array, Operand
from hotloop.frontend.literals import array_node
from hotloop.frontend.reductions import axes_of
from hotloop.frontend.reductions import mean as mean_of
from hotloop.ir.graph import Node, apply, constant, convert, default_dtype, user_line
from hotloop.ops import arith, logic
from hotloop.ops.shape import Index, concatenate, take_by, transpose_by

Pairs = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def sort(x: Operand, axis: int = -1) -> Any:  # Any: vector or tensor
    """Return the elements in ascending order along an axis, NaN last, as np.sort.

    Cost: about n log2(n)**2 / 4 compare-and-swaps of 3 operations, constant time.
    """
    array = _array(x, "sort")
    node, place = _moved(array.node, axis)
    (ordered,) = _network(_numbers(node), None)
    return array.like(_back(ordered, place))


def argsort(x: Operand, axis: int = -1) -> Any:  # Any: vector or tensor
    """Return the places (int32) of the elements in ascending order, as np.argsort(kind="stable").

    Equal elements keep their order, NaN comes last. Cost: about n log2(n)**2 / 4 compare-and-swaps of
    10 operations, constant time.
    """
    array = _array(x, "argsort")
    node, place = _moved(array.node, axis)
    numbers = np.arange(node.shape[0], dtype=np.int32).reshape(-1, *[1] * (len(node.shape) - 1))
    places = constant(np.broadcast_to(numbers, node.shape))
    _, order = _network(_numbers(node), places)
    return array.like(_back(order, place))


def median(x: Operand, axis: int = -1) -> Any:  # Any: value, vector or tensor
    """Return the middle element, or the mean of the two middle ones, as a float; NaN if there is one."""
    return quantile(x, 0.5, axis)


def quantile(x: Operand, q: float, axis: int = -1) -> Any:  # Any: value, vector or tensor
    """Return the element at fraction q of the sorted ones, interpolated linearly, as np.quantile; NaN if there is one."""
    if not 0.0 <= q <= 1.0:
        raise RangeError(f"{user_line()}: quantile needs q in [0, 1], not {q!r}.")
    array = _array(x, "quantile")
    node, _ = _moved(_float(array.node), axis)
    (ordered,) = _network(node, None)
    count = node.shape[0]
    at = q * (count - 1)
    low, part = math.floor(at), at - math.floor(at)
    below, last = _row(ordered, low), _row(ordered, count - 1)
    found = below
    if part == 0.5:
        found = apply(arith.mul, apply(arith.add, below, _row(ordered, low + 1)), 0.5)
    elif part:
        above = apply(arith.mul, _row(ordered, low + 1), part)
        found = apply(arith.add, apply(arith.mul, below, 1.0 - part), above)
    return array.like(apply(logic.select, apply(logic.ne, last, last), last, found))


def mean(x: Operand, axis: int | None = None) -> Any:  # Any: value, vector or tensor
    """Return the arithmetic mean, a float."""
    array = _array(x, "mean")
    return array.like(mean_of(array.node, axis, False))


def homogenize_vector(x: Operand) -> Array:
    """Return the vector of all elements in one type."""
    return _array(x, "homogenize_vector")


# ------------------------------------------------------------------------------------- the network


def _array(x: Operand, what: str) -> Array:
    if isinstance(x, Array):
        return x
    node = array_node(x, f"{what}()")
    return (Array.vector_class if len(node.shape) == 1 else Array.tensor_class).of(node)


def _numbers(node: Node) -> Node:
    return convert(node, int32) if node.dtype is bool_ else node


def _float(node: Node) -> Node:
    if node.dtype.is_float:
        return node
    return convert(node, float64 if node.dtype.size == 8 else default_dtype(0.0))


def _moved(node: Node, axis: int) -> tuple[Node, int]:
    """Return the array with the axis in front, and where it was. Raises ShapeError without elements."""
    (place,) = axes_of(axis, node.shape)
    if not math.prod(node.shape):
        raise ShapeError(f"{user_line()}: sorting or a median of no elements (shape {node.shape}).")
    order = (place, *[i for i in range(len(node.shape)) if i != place])
    return (transpose_by(node, order) if place else node), place


def _back(node: Node, place: int) -> Node:
    order = [*range(1, len(node.shape))]
    order.insert(place, 0)
    return transpose_by(node, tuple(order)) if place else node


def _rows(node: Node, rows: np.ndarray[Any, Any]) -> Node:
    places = np.arange(math.prod(node.shape)).reshape(node.shape)
    return take_by(node, Index(places[rows]))


def _row(node: Node, row: int) -> Node:
    return take_by(node, Index(np.arange(math.prod(node.shape)).reshape(node.shape)[row]))


def _stages(count: int) -> Iterator[Pairs]:
    """Yield the stages of Batcher's odd-even merge sort: lower and upper partners.

    Source: Knuth, "The Art of Computer Programming", volume 3, algorithm 5.2.2M.
    """
    top = 1 << max((count - 1).bit_length() - 1, 0)
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while d > 0:
            lower = np.array([i for i in range(count - d) if i & p == r], np.int64)
            if lower.size:
                yield lower, lower + d
            d, q, r = q - p, q >> 1, p
        p >>= 1


def _network(keys: Node, payload: Node | None) -> tuple[Node, ...]:
    """Sort axis 0 of the keys; a payload of distinct numbers moves along and breaks ties."""
    arrays = [keys] if payload is None else [keys, payload]
    count = keys.shape[0]
    for lower, upper in _stages(count):
        rest = np.setdiff1d(np.arange(count), np.concatenate([lower, upper]))
        whence = np.argsort(np.concatenate([lower, upper, rest]))
        low, high = [_rows(x, lower) for x in arrays], [_rows(x, upper) for x in arrays]
        swap = _out_of_order(low, high)
        for i, x in enumerate(arrays):
            parts = [apply(logic.select, swap, high[i], low[i]), apply(logic.select, swap, low[i], high[i])]
            joined = concatenate([*parts, *([_rows(x, rest)] if rest.size else [])], 0)
            arrays[i] = _rows(joined, whence)
    return tuple(arrays)


def _out_of_order(low: list[Node], high: list[Node]) -> Node:
    """Tell where the upper partner must come before the lower one."""
    a, b = low[0], high[0]
    swap = apply(logic.lt, b, a)
    same = apply(logic.eq, a, b)
    if a.dtype.is_float:
        a_nan, b_number = apply(logic.ne, a, a), apply(logic.eq, b, b)
        swap = apply(logic.or_, swap, apply(logic.and_, a_nan, b_number))
        same = apply(logic.or_, same, apply(logic.and_, a_nan, apply(logic.invert, b_number)))
    if len(low) == 1:
        return swap
    return apply(logic.or_, swap, apply(logic.and_, same, apply(logic.lt, high[1], low[1])))


__all__ = ["argsort", "homogenize_vector", "mean", "median", "quantile", "sort"]
