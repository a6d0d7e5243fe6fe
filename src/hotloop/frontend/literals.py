"""Nodes made of what users write beside traced values: numbers, nested lists, NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hotloop.dtypes import COMPUTE, DType, check_range, int64, promote
from hotloop.errors import RangeError, ShapeError, TypeMismatch
from hotloop.frontend.length import Length
from hotloop.ir.graph import Node, Shape, constant, convert, exact, literal_dtype, user_line
from hotloop.ops.shape import concatenate, element, pack, pack_of, reshape_to

_NUMBERS = (bool, int, float)
_NESTED = (list, tuple, range)
_SCALARS_LIMIT = 1024  # rows of up to so many elements in all become one pack of scalars


def node_of(source: Any, beside: DType | None = None) -> Node | None:  # Any: whatever a user writes
    """Return the node of a traced value, number, nested list or NumPy array; None for anything else.

    Python numbers, in lists too, take the type `beside` where it can hold them; NumPy's keep their own.
    """
    traced = source if isinstance(source, Node) else getattr(source, "node", None)
    if isinstance(traced, Node):
        return traced
    if isinstance(source, (np.ndarray, np.generic)) or hasattr(source, "__array__"):
        return _array_node(np.asarray(source), beside)
    if isinstance(source, _NUMBERS):
        return constant(source, literal_dtype(source, beside))
    if isinstance(source, _NESTED):
        return _nested_node(source, beside)
    return source.beside(beside) if isinstance(source, Length) else None


def array_node(source: Any, what: str, dtype: DType | None = None) -> Node:  # Any: whatever a user writes
    """Return the node of anything `node_of` takes, or of an iterable of such things; else raise TypeMismatch."""
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes, dict, set, frozenset, np.ndarray, *_NESTED)):
        source = source if hasattr(source, "node") else list(source)
    node = node_of(source, dtype)
    if node is None:
        raise TypeMismatch(f"{user_line()}: {what} takes numbers, traced values, and lists or arrays of them, not {source!r}.")
    return node if dtype is None else convert(node, dtype)


def computed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a NumPy array of a type that programs compute in: int8 becomes int32, float16 float32."""
    if array.dtype.name in {dtype.name for dtype in COMPUTE}:
        return array
    match array.dtype.kind, array.dtype.itemsize:
        case ("i" | "u", 1 | 2):
            return array.astype(np.int32)
        case ("u", 4):
            return array.astype(np.int64)
        case ("u", 8):
            if array.size:
                check_range(int(array.max()), int64)
            return array.astype(np.int64)
        case ("f", 2):
            return array.astype(np.float32)
    raise TypeMismatch(f"{user_line()}: NumPy arrays of {array.dtype} cannot be traced. Use bool, integers, float32 or float64.")


def _array_node(array: np.ndarray[Any, Any], beside: DType | None) -> Node:
    if array.dtype == object:
        return reshape_to(_nested_node(array.reshape(-1).tolist(), beside), array.shape)
    return constant(computed(array))


def _nested_node(source: Sequence[Any], beside: DType | None) -> Node:
    leaves, shape = _flatten(source)
    kinds = set(map(type, leaves))
    if kinds <= set(_NUMBERS):
        return _number_node(leaves, shape, kinds, beside)
    nodes = [_leaf(leaf) for leaf in leaves]
    joint = beside
    for node in nodes:
        if isinstance(node, Node):
            joint = node.dtype if joint is None else promote(joint, node.dtype)
    complete = [n if isinstance(n, Node) else constant(n, literal_dtype(n, joint)) for n in nodes]
    return pack_of(complete, shape) if all(n.shape == () for n in complete) else _stacked(complete, shape)


def _number_node(leaves: list[Any], shape: Shape, kinds: set[type], beside: DType | None) -> Node:
    kind = float if float in kinds else int if int in kinds else bool
    dtype = literal_dtype(kind(0), beside)
    finite = [x for x in leaves if x - x == 0]
    for extreme in (min(finite, default=0), max(finite, default=0)):  # NumPy would wrap it in silence
        try:
            check_range(extreme, dtype)
        except RangeError as error:
            raise RangeError(f"{user_line()}: {error}") from None
    return constant(np.array(leaves, np.float64 if dtype.is_float else dtype.numpy).reshape(shape), dtype, structural=not exact())


def _leaf(leaf: Any) -> Node | bool | int | float:
    if type(leaf) in _NUMBERS:
        return leaf  # type: ignore[no-any-return]
    node = node_of(leaf)
    if node is None:
        raise TypeMismatch(f"{user_line()}: {leaf!r} of type {type(leaf).__name__} cannot be an element of an array.")
    return node


def _flatten(source: Sequence[Any]) -> tuple[list[Any], Shape]:
    """Return what nested lists hold in row-major order, and the shape of the nesting."""
    if not any(isinstance(item, _NESTED) for item in source):
        return list(source), (len(source),)
    if any(_has_axes(item) for item in source):
        return [_rows_node(source)], ()
    parts = [_flatten(item) if isinstance(item, _NESTED) else ([item], ()) for item in source]
    shapes = [shape for _, shape in parts]
    if any(shape != shapes[0] for shape in shapes):
        different = next(i for i, shape in enumerate(shapes) if shape != shapes[0])
        raise ShapeError(
            f"{user_line()}: rows of different lengths: row 0 has shape {shapes[0]}, row {different} has {shapes[different]}."
        )
    return [leaf for leaves, _ in parts for leaf in leaves], (len(parts), *shapes[0])


def _has_axes(item: Any) -> bool:
    return not isinstance(item, _NESTED) and bool(getattr(item, "shape", ()))


def _rows_node(rows: Sequence[Any]) -> Node:
    """Return the array whose rows are arrays and lists; numbers in lists take the arrays' type."""
    arrays = [None if isinstance(row, _NESTED) else node_of(row) for row in rows]
    joint: DType | None = None
    for node in arrays:
        if node is not None:
            joint = node.dtype if joint is None else promote(joint, node.dtype)
    complete = [_nested_node(row, joint) if isinstance(row, _NESTED) else _leaf(row) for row in rows]
    return _stacked([n if isinstance(n, Node) else constant(n, literal_dtype(n, joint)) for n in complete], (len(rows),))


def _stacked(nodes: list[Node], shape: Shape) -> Node:
    """Join arrays of one shape along new leading axes of lengths `shape`."""
    inner = nodes[0].shape
    for i, node in enumerate(nodes):
        if node.shape != inner:
            raise ShapeError(f"{user_line()}: rows of different shapes: row 0 has {inner}, row {i} has {node.shape}.")
    size = math.prod(inner)
    if len(nodes) * size <= _SCALARS_LIMIT and all(n.is_const or n.op is pack for n in nodes):
        return pack_of([scalar for node in nodes for scalar in scalars(node)], (*shape, *inner))
    joined = concatenate([reshape_to(node, (1, *inner)) for node in nodes], 0)
    return reshape_to(joined, (*shape, *inner))


def scalars(node: Node) -> list[Node]:
    """Return the elements of an array in row-major order."""
    return list(node.args) if node.op is pack else [element(node, i) for i in range(math.prod(node.shape))]
