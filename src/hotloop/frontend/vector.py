"""`vector`: a traced array with one axis."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from hotloop.dtypes import as_dtype
from hotloop.errors import ShapeError, TypeMismatch
from hotloop.frontend.array import Array, Operand
from hotloop.frontend.literals import array_node
from hotloop.ir.graph import Node, input_node, user_line


class vector(Array, rank=1):  # the public name, as Copapy has it
    """A traced vector: `vector([x, y, 1.0])` packs traced scalars and constants into one array.

    source: an iterable of numbers and traced scalars, a NumPy array with one axis, or a traced array.
    Python numbers are constants: floats float32, ints int32; NumPy's keep their type; dtype converts.
    `vector.input` makes elements that the host can write.
    Raises: TypeMismatch for other elements, ShapeError unless there is one axis.
    """

    __slots__ = ()

    def __init__(self, source: Operand, dtype: Any = None) -> None:  # Any: every spelling of a type
        node = array_node(source, "vector()", None if dtype is None else as_dtype(dtype))
        if len(node.shape) != 1:
            raise ShapeError(f"{user_line()}: vector() needs one axis, not shape {node.shape}. Use tensor() or .flatten().")
        self.node = node

    @classmethod
    def input(cls, init: Operand, name: str | None = None, dtype: Any = None) -> Self:
        """Return a vector that the host can write between runs, as one input; init gives its first values.

        Cost: one node, whatever the length; `write_value` copies it at once.
        """
        return cls.of(input_array(init, "vector.input()", 1, name, dtype))

def input_array(init: Operand, what: str, rank: int | None, name: str | None, dtype: Any) -> Node:
    """Return one input node of the shape and first values of `init`, which must be known now."""
    node = array_node(init, what, None if dtype is None else as_dtype(dtype))
    if not node.is_const:
        raise TypeMismatch(f"{user_line()}: {what} needs first values that are known now, not traced ones.")
    if rank is not None and len(node.shape) != rank:
        raise ShapeError(f"{user_line()}: {what} needs {rank} axis, not shape {node.shape}.")
    return input_node(np.asarray(node.attr.exact), node.dtype, name)
