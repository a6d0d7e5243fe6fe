"""Abstract values: what expressions of a `@cu` function stand for while it is interpreted.

A value is a `Number`, a tuple of values, a `Sequence`, or something that can be called. Sequences are lazy: a
length, and a function from a place to the element there, so that what only moves or maps elements costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from hotloop.dtypes import DType, as_dtype, bool_, float64, int64
from hotloop.ir.graph import Node, constant, convert

Value = Any  # Number | tuple[Value, ...] | Sequence | Callable


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """A scalar. weak: a Python number, whose type yields to that of any other operand (NEP 50)."""

    node: Node
    weak: bool = False

    @property
    def dtype(self) -> DType:
        """The type that it is computed in."""
        return self.node.dtype

    def __repr__(self) -> str:
        return _WEAK[self.dtype.kind] if self.weak else self.dtype.name


_WEAK = {"bool": "bool", "int": "int", "float": "float"}


@dataclass(slots=True, eq=False)
class Sequence:
    """A sequence: `length` elements (an int64 scalar), of which element(place) gives the one at a place in range.

    depth: how many loops over elements were around where it was made: at 0 it can be put in memory.
    arrays: where its elements are, if they are in memory: see `Stored`.
    keep: whether the element at a place is counted at all, of what `filter` left: None for most.
    shape: lengths of the axes, of what `ndindex` gives: what is mapped over it has rows.
    """

    length: Node
    element: Callable[[Node], Value]
    depth: int
    stored: Stored | None = None
    keep: Callable[[Node], Node] | None = None
    shape: tuple[Node, ...] | None = None
    nested: Any = None  # the same elements as a sequence of rows, of what several `for` in one comprehension make
    lift: Any = None  # how a sequence that is the element of another becomes part of a ragged one in memory
    forced: list[Any] = field(default_factory=list)
    cost: int = -1  # operations of an element; -1: not known yet

    def __repr__(self) -> str:
        return "a sequence"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Elements in memory. arrays: registers in the structure of an element (nested tuples of registers).

    shape: lengths of all axes. offsets: of ragged sequences, the register of where each row starts, one more than rows.
    offset: where in the arrays the first element is.
    """

    arrays: Any
    shape: tuple[Node, ...]
    offsets: tuple[Node, ...] = ()
    offset: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """A function of the user: its definition and the variables that it sees."""

    node: Any  # ast.FunctionDef | ast.Lambda
    module: Any  # Module
    variables: Any  # Variables around it, or None
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Builtin:
    """A primitive or scalar function: `rule` takes the interpreter, the place of the call, and the arguments."""

    name: str
    rule: Callable[..., Value]


def weak(number: bool | int | float) -> Number:
    """Return a Python number as a value."""
    if isinstance(number, bool):
        return Number(constant(number, bool_, structural=False))
    return Number(constant(number, int64 if isinstance(number, int) else float64, structural=False), weak=True)


def strong(number: int | float | bool, dtype: DType) -> Number:
    """Return a constant of a type."""
    return Number(constant(number, dtype, structural=False))


@cache
def promoted(a: DType, b: DType) -> DType:
    """Return the type that NumPy computes in for operands of two types."""
    return as_dtype(np.promote_types(a.numpy, b.numpy))


def joint_type(numbers: list[Number]) -> DType:
    """Return the type in which numbers meet: NumPy 2's promotion."""
    found: DType | None = None
    for number in numbers:
        if not number.weak:
            found = number.dtype if found is None else promoted(found, number.dtype)
    weaks = [number.dtype for number in numbers if number.weak]
    if found is None:
        return float64 if float64 in weaks else int64
    if float64 in weaks and not found.is_float:
        return float64
    return int64 if weaks and found is bool_ else found


def as_type(number: Number, dtype: DType) -> Node:
    """Return a number's node converted to a type."""
    node = number.node
    if number.weak and node.is_const and dtype is not bool_ and node.dtype is not dtype:
        value = node.attr.value
        return constant(float(value) if dtype.is_float else value, dtype, structural=False)
    return convert(node, dtype)


def leaves(value: Value) -> list[Any]:
    """Return the leaves of nested tuples, left to right."""
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def rebuilt(value: Value, found: Any) -> Value:
    """Return the structure of `value` with its leaves replaced by those of the iterator `found`."""
    if isinstance(value, tuple):
        return tuple([rebuilt(item, found) for item in value])
    return next(found)


def mapped(function: Callable[[Any], Any], value: Value) -> Value:
    """Return the structure of `value` with each leaf replaced by function(leaf)."""
    if isinstance(value, tuple):
        return tuple([mapped(function, item) for item in value])
    return function(value)


def describe(value: Value) -> str:
    """Return the type of a value as messages say it."""
    if isinstance(value, tuple):
        return "(" + ", ".join(map(describe, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, Sequence):
        return "a sequence" if value.stored is None else _stored(value.stored)
    if isinstance(value, (Closure, Builtin)):
        return f"the function {value.name}"
    return repr(value)


def _stored(stored: Stored) -> str:
    inner = describe(mapped(lambda register: Number(register), stored.arrays))
    depth = len(stored.shape) + len(stored.offsets)
    return "[" * depth + inner + "]" * depth
