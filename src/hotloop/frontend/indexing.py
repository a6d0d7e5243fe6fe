"""Indexing of arrays: `node[key]` and `node[key] = item` for every key that NumPy takes, and traced places.

A static key is applied to the array of flat places, so NumPy itself is the rule; the result is one
`take` row. A traced integer becomes a `gather`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hotloop.dtypes import bool_, promote
from hotloop.errors import BoundsError, ShapeError, TypeMismatch
from hotloop.frontend.literals import node_of, scalars
from hotloop.ir.dim import ask, is_sized
from hotloop.ir.graph import Node, apply, constant, convert, user_line
from hotloop.ops.logic import and_, eq, select
from hotloop.ops.shape import Index, clamped_place, concatenate, gather_from, pack, pack_of, reshape_to, take_by, transpose_by

Key = Any  # Any: int, slice, None, Ellipsis, list, array, traced integer, or a tuple of these
_PACKED_LIMIT = 1024  # assigning elements of packs and constants up to this size stays a pack
_SMALL = 16  # other arrays up to this size are split into elements


def taken(node: Node, key: Key) -> Node:
    """Return `node[key]`. Raises BoundsError, TypeMismatch for a traced mask or a float."""
    parts = _parts(key)
    if any(isinstance(part, Node) for part in parts):
        return _gathered(node, parts)
    if not is_sized(node.shape):
        return _of_any_size(node, parts)
    return take_by(node, Index(_places(node.shape, parts)))


def _of_any_size(node: Node, parts: tuple[Any, ...]) -> Node:
    """Do what needs no length: new axes, whole axes, element 0 of an axis of length 1. Raises: NeedsSize for the rest."""
    shape = node.shape
    whole = len(shape) - sum(part is not None and part is not Ellipsis for part in parts)
    found: list[int] = []
    axis = 0
    for part in parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis):
        if part is None:
            found.append(1)
            continue
        step = whole if part is Ellipsis else 1
        block = shape[axis : axis + step]
        if part is Ellipsis or (isinstance(part, slice) and part == slice(None)):
            found.extend(block)
        elif not (type(part) is int and part in (0, -1) and block == (1,)):
            ask(shape)
        axis += step
    if axis != len(shape) or whole < 0:
        ask(shape)
    return reshape_to(node, tuple(found))


def replaced(node: Node, key: Key, item: Node) -> Node:
    """Return `node` with `node[key]` replaced by `item`, broadcast to its shape; types promote.

    Cost: none for elements of packed scalars, else one copy of the array. A traced place compares
    every place with it, and is clamped as in reading.
    """
    parts = _parts(key)
    if any(isinstance(part, Node) for part in parts):
        return _scattered(node, parts, item)
    places = _places(node.shape, parts)
    item = _broadcast(item, places.shape)
    size = math.prod(node.shape)
    if size <= _SMALL or (size <= _PACKED_LIMIT and (node.op is pack or node.is_const)):
        elements = scalars(node)
        for place, scalar in zip(places.flat, scalars(item), strict=True):
            elements[place] = scalar
        return pack_of(elements, node.shape) if elements else node
    joint = promote(node.dtype, item.dtype)
    node, item = convert(node, joint), convert(item, joint)
    sources = np.arange(size)
    sources[places.reshape(-1)] = size + np.arange(places.size)
    both = concatenate([reshape_to(node, (size,)), reshape_to(item, (places.size,))], 0)
    return take_by(both, Index(sources.reshape(node.shape)))


def _parts(key: Key) -> tuple[Any, ...]:
    return tuple(_part(part) for part in (key if isinstance(key, tuple) else (key,)))


def _part(part: Any) -> Any:  # Any: one part of a key
    traced_list = isinstance(part, list) and any(hasattr(place, "node") for place in part)
    node = node_of(part) if traced_list else getattr(part, "node", None)
    if not isinstance(node, Node):
        return part
    if node.is_const:
        return np.asarray(node.attr.value, node.dtype.numpy)
    if node.dtype is bool_:
        raise TypeMismatch(
            f"{user_line()}: a traced mask cannot index, because the shape of the result would depend on values. "
            "Use hl.where(mask, a, b), or multiply by the mask and sum."
        )
    return node


def _places(shape: tuple[int, ...], parts: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    """Return the flat places that a static key selects."""
    if len(parts) == len(shape) and all(type(part) is int for part in parts):
        place = 0
        for part, length in zip(parts, shape, strict=True):
            if not -length <= part < length:
                raise BoundsError(f"{user_line()}: index {part} is outside an axis of length {length} (shape {shape}).")
            place = place * length + part % length
        return np.asarray(place)
    try:
        return np.asarray(np.arange(math.prod(shape)).reshape(shape)[parts])
    except IndexError as error:
        raise BoundsError(f"{user_line()}: {error} (shape {shape}).") from None


def _broadcast(item: Node, shape: tuple[int, ...]) -> Node:
    if item.shape == shape:
        return item
    try:
        places = np.broadcast_to(np.arange(math.prod(item.shape)).reshape(item.shape), shape)
    except ValueError:
        raise ShapeError(f"{user_line()}: cannot assign an array of shape {item.shape} to places of shape {shape}.") from None
    return take_by(item, Index(places))


# ------------------------------------------------------------------------------- traced places


def _static_and_traced(node: Node, parts: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[tuple[int, Node]]]:
    """Split a key: the static key, with ':' for traced parts, and their axes in its result."""
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > len(node.shape):
        raise BoundsError(f"{user_line()}: {used} indices for an array of shape {node.shape}.")
    if not any(part is Ellipsis for part in parts):
        parts = (*parts, Ellipsis)
    static: list[Any] = []
    traced: list[tuple[int, Node]] = []
    axis = 0
    for part in parts:
        if isinstance(part, Node):
            traced.append((axis, part))
            static.append(slice(None))
        elif part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)):
            static.append(part)
        else:
            raise TypeMismatch(f"{user_line()}: a traced index cannot be combined with a list or mask; index twice: x[i][list].")
        axis += len(node.shape) - used if part is Ellipsis else not isinstance(part, (int, np.integer))
    return tuple(static), traced


def _gathered(node: Node, parts: tuple[Any, ...]) -> Node:
    static, traced = _static_and_traced(node, parts)
    if sum(index.shape != () for _, index in traced) > 1:
        raise TypeMismatch(f"{user_line()}: only one index can be a traced array; index twice: x[i][:, j].")
    found = take_by(node, Index(_places(node.shape, static)))
    for axis, index in reversed(traced):
        front = [axis, *(i for i in range(len(found.shape)) if i != axis)]
        found = gather_from(transpose_by(found, tuple(front)) if axis else found, index)
        extra = len(index.shape)
        if axis and extra:  # the axes of the index go where the indexed axis was
            back = [*range(extra, extra + axis), *range(extra), *range(extra + axis, len(found.shape))]
            found = transpose_by(found, tuple(back))
    return found


def _scattered(node: Node, parts: tuple[Any, ...], item: Node) -> Node:
    static, traced = _static_and_traced(node, parts)
    if any(index.shape != () for _, index in traced):
        raise TypeMismatch(f"{user_line()}: only a scalar can be a traced index in an assignment.")
    block = take_by(node, Index(_places(node.shape, static)))
    axes = [axis for axis, _ in traced]
    result = tuple(length for axis, length in enumerate(block.shape) if axis not in axes)
    opened = tuple(1 if axis in axes else length for axis, length in enumerate(block.shape))
    item = reshape_to(_broadcast(item, result), opened)
    hit: Node | None = None
    for axis, index in traced:
        here = _is_place(index, block.shape[axis], axis, len(block.shape))
        hit = here if hit is None else apply(and_, hit, here)
    assert hit is not None
    return replaced(node, static, apply(select, hit, item, block))


def _is_place(index: Node, length: int, axis: int, rank: int) -> Node:
    if not index.dtype.is_int:
        raise TypeMismatch(f"{user_line()}: an index must be an integer, not {index.dtype}. Use x.astype('int32').")
    places = np.arange(length).reshape([length if i == axis else 1 for i in range(rank)])
    return apply(eq, clamped_place(index, length), constant(places, index.dtype))
