"""Reductions as functions: sum, mean, min, max and such of vectors, tensors and lists."""

from __future__ import annotations

from typing import Any

from hotloop.errors import TypeMismatch
from hotloop.frontend.array import Array, Axis, Operand
from hotloop.frontend.functions import maximum, minimum
from hotloop.frontend.literals import array_node
from hotloop.ir.graph import user_line


def _array(x: Operand, what: str) -> Array:
    return x if isinstance(x, Array) else Array.tensor_class.of(array_node(x, what))


def sum(x: Operand, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the sum, in hotloop's fixed order: for n numbers a tree, where Python's sum is a chain."""
    return _array(x, "sum()").sum(axis, keepdims)


def prod(x: Operand, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the product, in hotloop's fixed order."""
    return _array(x, "prod()").prod(axis, keepdims)


def mean(x: Operand, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the arithmetic mean, a float."""
    return _array(x, "mean()").mean(axis, keepdims)


def var(x: Operand, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """Return the variance, with divisor n - ddof."""
    return _array(x, "var()").var(axis, keepdims, ddof)


def std(x: Operand, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """Return the standard deviation, with divisor n - ddof."""
    return _array(x, "std()").std(axis, keepdims, ddof)


def min(*x: Operand, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the smallest element of an array or list, or of several arguments, as Python's min; NaN if there is one."""
    return _extremum("min", minimum, x, axis, keepdims)


def max(*x: Operand, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the largest element of an array or list, or of several arguments, as Python's max; NaN if there is one."""
    return _extremum("max", maximum, x, axis, keepdims)


def _extremum(name: str, pairwise: Any, x: tuple[Operand, ...], axis: Axis, keepdims: bool) -> Any:
    if not x:
        raise TypeMismatch(f"{user_line()}: {name}() needs an argument.")
    if len(x) == 1:
        array = _array(x[0], f"{name}()")
        return array.min(axis, keepdims) if pairwise is minimum else array.max(axis, keepdims)
    found = x[0]
    for other in x[1:]:
        found = pairwise(found, other)
    return found


def any(x: Operand, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return whether any element is not zero."""
    return _array(x, "any()").any(axis, keepdims)


def all(x: Operand, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return whether all elements are not zero."""
    return _array(x, "all()").all(axis, keepdims)


def argmin(x: Operand, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the place (int32) of the first smallest element, or of the first NaN."""
    return _array(x, "argmin()").argmin(axis, keepdims)


def argmax(x: Operand, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the place (int32) of the first largest element, or of the first NaN."""
    return _array(x, "argmax()").argmax(axis, keepdims)


__all__ = ["all", "any", "argmax", "argmin", "max", "mean", "min", "prod", "std", "sum", "var"]
