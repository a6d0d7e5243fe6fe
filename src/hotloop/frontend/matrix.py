"""`tensor` (= `matrix`): a traced array of any number of axes; and what makes arrays of constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from hotloop._graph import wrap
from hotloop.dtypes import as_dtype
from hotloop.errors import ShapeError, TypeMismatch
from hotloop.frontend import linalg
from hotloop.frontend.array import Array, Operand
from hotloop.frontend.length import dims
from hotloop.frontend.literals import array_node, node_of
from hotloop.frontend.reductions import axes_of, total
from hotloop.frontend.scalar import value
from hotloop.frontend.vector import input_array
from hotloop.ir.dim import is_sized
from hotloop.ir.graph import Node, Number, constant, default_dtype, exact, user_line
from hotloop.ops.shape import Index, concatenate, filled, reshape_to, spread_by, take_by

Lengths = int | Sequence[int]


class tensor(Array, rank=2):  # the public name, as Copapy has it
    """A traced array of any number of axes, with NumPy's operators, broadcasting and indexing.

    source: a number, traced scalar, nested lists of these, a NumPy array, or another traced array.
    Python numbers are constants: floats float32, ints int32; NumPy's keep their type.
    shape: reshape to it; -1 once. dtype: convert.
    Raises: TypeMismatch for other elements, ShapeError for rows of different lengths.
    """

    __slots__ = ()

    def __init__(self, source: Operand, shape: Lengths | None = None, dtype: Any = None) -> None:  # Any: every spelling
        self.node = array_node(source, "tensor()", None if dtype is None else as_dtype(dtype))
        if shape is not None:
            self.node = self.reshape(shape).node

    @classmethod
    def input(cls, init: Operand, name: str | None = None, dtype: Any = None) -> Self:
        """Return a tensor that the host can write between runs, as one input; init gives its first values.

        Cost: one node, whatever the size; `write_value` copies it at once.
        """
        return cls.of(input_array(init, "tensor.input()", None, name, dtype))

    def trace(self) -> value:
        """Return the sum of the diagonal of a matrix."""
        return wrap(total(_main_diagonal(self.node), None, False))

    def diagonal(self) -> Array:
        """Return the diagonal of a matrix."""
        return self.like(_main_diagonal(self.node))  # type: ignore[no-any-return]

    def inverse(self) -> Array:
        """Return the inverse of a square matrix (see `hotloop.inverse`)."""
        return linalg.inverse(self)

    def det(self) -> value:
        """Return the determinant of a square matrix (see `hotloop.det`)."""
        return linalg.det(self)


matrix = tensor


def _main_diagonal(node: Node) -> Node:
    if len(node.shape) != 2:
        raise ShapeError(f"{user_line()}: a diagonal needs a matrix, not shape {node.shape}.")
    rows, columns = node.shape
    return take_by(node, Index(np.arange(min(rows, columns)) * (columns + 1)))


def _constants(array: np.ndarray[Any, Any], dtype: Any) -> tensor:
    """Return a tensor of constants, of the trace's type for such numbers; its zeros absorb."""
    example = array.dtype.type(0).item()
    chosen = default_dtype(example) if dtype is None else as_dtype(dtype)
    return tensor.of(constant(array, chosen, structural=not exact()))


def _filled(number: Number, shape: Lengths, dtype: Any) -> tensor:
    """Return a tensor of one constant; with lengths of traced arrays of any size it is repeated when it is used."""
    given = dims(shape if isinstance(shape, (tuple, list)) else (shape,))
    if is_sized(given):
        return _constants(np.full(_lengths(shape), number), dtype)
    chosen = default_dtype(np.asarray(number).item()) if dtype is None else as_dtype(dtype)
    return tensor.of(filled(number, chosen, given, structural=not exact()))


def _lengths(shape: Lengths) -> tuple[int, ...]:
    lengths = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if any(not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 0 for n in lengths):
        raise ShapeError(f"{user_line()}: a shape is made of numbers of elements, 0 or more, not {shape!r}.")
    return tuple(int(n) for n in lengths)


def zeros(shape: Lengths, dtype: Any = None) -> tensor:
    """Return constant zeros, floats unless dtype says otherwise. In traced programs they vanish from sums and products."""
    return _filled(0.0, shape, dtype)


def ones(shape: Lengths, dtype: Any = None) -> tensor:
    """Return constant ones, floats unless dtype says otherwise. They vanish from products."""
    return _filled(1.0, shape, dtype)


def full(shape: Lengths, fill: Number, dtype: Any = None) -> tensor:
    """Return an array of one constant number."""
    return _filled(fill, shape, dtype)


def eye(rows: int, cols: int | None = None, dtype: Any = None) -> tensor:
    """Return a constant matrix with ones on the diagonal; its zeros and ones vanish from products."""
    height, width = _lengths((rows, rows if cols is None else cols))
    return _constants(np.eye(height, width), dtype)


def identity(size: int, dtype: Any = None) -> tensor:
    """Return the constant identity matrix."""
    return eye(size, dtype=dtype)


def arange(start: Number, stop: Number | None = None, step: Number = 1, dtype: Any = None) -> tensor:
    """Return constants from start (or 0) up to stop, as np.arange: ints give ints."""
    for number in (start, stop, step):
        if number is not None and not isinstance(number, (int, float, np.integer, np.floating)):
            raise TypeMismatch(f"{user_line()}: arange needs numbers that are known now, not {number!r}.")
    if step == 0:
        raise ShapeError(f"{user_line()}: arange with step 0.")
    return _constants(np.arange(0 if stop is None else start, start if stop is None else stop, step), dtype)


def diagonal(vec: Operand) -> Array:
    """Return the square matrix with `vec` on the diagonal and constant zeros beside it; of a matrix, its diagonal."""
    node = array_node(vec, "diagonal()")
    if len(node.shape) != 1:
        return tensor.of(node).diagonal()
    size = node.shape[0]
    return tensor.of(spread_by(node, Index(np.arange(size) * (size + 1)), (size, size)))


def concat(arrays: Sequence[Operand], axis: int = 0) -> Any:  # Any: vector or tensor
    """Join arrays along an axis; vectors and lists give a vector. Raises ShapeError."""
    nodes = _nodes(arrays, "concat")
    if any(not node.shape for node in nodes):
        raise ShapeError(f"{user_line()}: concat joins arrays along an axis, but a scalar has none. Use vector([...]).")
    (place,) = axes_of(axis, nodes[0].shape)
    return _joined(concatenate(nodes, place), arrays)


def stack(arrays: Sequence[Operand], axis: int = 0) -> Any:  # Any: vector or tensor
    """Join arrays of one shape along a new axis. Raises ShapeError."""
    nodes = _nodes(arrays, "stack")
    shape = nodes[0].shape
    for node in nodes:
        if node.shape != shape:
            raise ShapeError(f"{user_line()}: stack of shapes {shape} and {node.shape}.")
    (place,) = axes_of(axis, (1, *shape))
    opened = (*shape[:place], 1, *shape[place:])
    return _joined(concatenate([reshape_to(node, opened) for node in nodes], place), arrays)


def _nodes(arrays: Sequence[Operand], what: str) -> list[Node]:
    found = [node_of(array) for array in arrays]
    nodes = [node for node in found if node is not None]
    if len(nodes) != len(found) or not nodes:
        raise TypeMismatch(f"{user_line()}: {what} takes a sequence of arrays, not {arrays!r}.")
    return nodes


def _joined(node: Node, arrays: Sequence[Operand]) -> Any:  # Any: vector or tensor
    tensors = any(isinstance(array, tensor) for array in arrays)
    return (tensor if tensors or len(node.shape) != 1 else Array.vector_class).of(node)


__all__ = ["arange", "concat", "diagonal", "eye", "full", "identity", "matrix", "ones", "stack", "tensor", "zeros"]
