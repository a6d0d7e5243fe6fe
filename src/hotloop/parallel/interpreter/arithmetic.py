"""Operators and scalar functions on abstract numbers: NumPy 2's types, Python's meaning of `//`, `%` and `**`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from hotloop.dtypes import DType, bool_, float64, int64
from hotloop.errors import HotloopError, TypeMismatch
from hotloop.frontend.power import power
from hotloop.ir.graph import Node, apply, constant, convert, exact_numbers
from hotloop.ir.op import REGISTRY, Op
from hotloop.parallel.interpreter.values import Number, as_type, joint_type

ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Pow: "pow",
    ast.LShift: "lshift", ast.RShift: "rshift", ast.BitOr: "or", ast.BitXor: "xor", ast.BitAnd: "and",
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "pow": "**", "lshift": "<<", "rshift": ">>",
    "or": "|", "xor": "^", "and": "&", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
}  # fmt: skip
_ON_BOOLS = {"add": "or", "mul": "and"}  # as NumPy's bools are added and multiplied
_BITS = {"lshift", "rshift", "or", "xor", "and"}
_COMPARE = {"lt", "le", "gt", "ge", "eq", "ne"}


class Mixed(HotloopError):
    """Two strong types meet where that is forbidden."""


def binary(name: str, x: Number, y: Number, strict: bool = False) -> Number:
    """Return the result of a binary operator, by the name of its row.

    strict: refuse operands of two strong types. Raises: TypeMismatch, Mixed, and what constants raise.
    """
    if strict and not (x.weak or y.weak) and x.dtype is not y.dtype:
        raise Mixed
    dtype = joint_type([x, y])
    if dtype is bool_ and name not in _COMPARE:
        if name in _ON_BOOLS:
            name = _ON_BOOLS[name]
        elif name == "sub":
            raise TypeMismatch("bools cannot be subtracted; use != or ^.")
        elif name not in _BITS:
            dtype = float64 if name == "div" else int64
    if name == "div" and not dtype.is_float:
        dtype = float64
    if name in _BITS and dtype.is_float:
        raise TypeMismatch(f"{SIGNS[name]} takes integers and bools, not {x!r} and {y!r}. Convert first: int64(x).")
    a, b = as_type(x, dtype), as_type(y, dtype)
    weak = x.weak and y.weak
    if name == "pow":
        return Number(_power(a, b, y), weak)
    made = apply(REGISTRY[name], a, b)
    return Number(made, weak and name not in _COMPARE)


def _power(base: Node, exponent: Node, given: Number) -> Node:
    if exponent.is_const:
        number = given.node.attr.value
        if base.dtype.is_int and number < 0:
            raise TypeMismatch("integers to negative powers are not integers. Convert first: float64(x) ** n.")
        with exact_numbers():
            return power(base, number if base.dtype.is_float else int(number))
    if base.dtype.is_float:
        return apply(REGISTRY["pow"], base, exponent)
    raise NeedsLoop


class NeedsLoop(HotloopError):
    """An integer to the power of a run-time integer: the caller writes the loop."""


def unary(name: str, x: Number) -> Number:
    """Return the result of a unary operator: "neg", "pos", "invert", "not", "abs"."""
    if name == "not":
        return Number(apply(REGISTRY["invert"], truth(x)))
    if name == "invert":
        if x.dtype.is_float:
            raise TypeMismatch(f"~ takes integers and bools, not {x!r}.")
        return Number(apply(REGISTRY["invert"], x.node), x.weak)
    if x.dtype is bool_:
        if name == "neg":
            raise TypeMismatch("a bool cannot be negated by -; use not, or int64(x).")
        return x
    return x if name == "pos" else Number(apply(REGISTRY[name], x.node), x.weak)


def truth(x: Number) -> Node:
    """Return the bool of a number."""
    return convert(x.node, bool_)


def extremum(name: str, *numbers: Number) -> Number:
    """Return the smallest ("minimum") or largest of numbers; NaN wins, as in NumPy."""
    dtype = joint_type(list(numbers))
    row = REGISTRY[{"minimum": "and", "maximum": "or"}[name] if dtype is bool_ else name]
    made = as_type(numbers[0], dtype)
    for number in numbers[1:]:
        made = apply(row, made, as_type(number, dtype))
    return Number(made, all(number.weak for number in numbers))


def function_of_floats(op: Op) -> Callable[..., Number]:
    """Return an elementary function: of integers it gives float64, as in NumPy."""

    def function(*numbers: Number) -> Number:
        dtype = joint_type(list(numbers))
        dtype = dtype if dtype.is_float else float64
        return Number(apply(op, *[as_type(number, dtype) for number in numbers]), all(number.weak for number in numbers))

    return function


def rounding(op: Op) -> Callable[[Number], Number]:
    """Return a row that leaves integers as they are: floor, ceil, trunc, round."""
    return lambda x: Number(apply(op, x.node), x.weak) if x.dtype.is_float else x


def asking(op: Op, of_integers: bool) -> Callable[[Number], Number]:
    """Return a question about floats; `of_integers` is the answer for integers."""
    return lambda x: Number(apply(op, x.node)) if x.dtype.is_float else Number(constant(of_integers, bool_, structural=False))


def cast(x: Number, dtype: DType, weak: bool = False) -> Number:
    """Return a number converted: floats to integers truncate."""
    return Number(as_type(x, dtype) if not (x.dtype.is_float and not dtype.is_float) else convert(x.node, dtype), weak)


def joined(x: Number, y: Number) -> Number:
    """Return x in the type that holds x and y: what a name is that is either of them."""
    dtype = joint_type([x, y])
    weak = x.weak and y.weak
    return x if x.dtype is dtype and x.weak == weak else Number(as_type(x, dtype), weak)


def bound(dtype: DType, largest: bool) -> Any:
    """Return the largest or smallest number of a type."""
    if dtype.is_float:
        return float("inf") if largest else float("-inf")
    return dtype.limits[1] if largest else dtype.limits[0]
