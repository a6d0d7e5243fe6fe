"""Comparison, logic, bit, selection and conversion rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from hotloop.dtypes import DType, bool_, float32, float64, int32, int64
from hotloop.ir.graph import CONST, Node, constant
from hotloop.ir.op import Op, bitwise, choice, comparison, conversion, integral, predicate
from hotloop.ops import faults
from hotloop.ops.algebra import absorbs, call, equals, is_op, zero_like

# ------------------------------------------------------------------------------------- identities


def _and(x: Node, y: Node) -> Node | None:
    if x is y:
        return x
    for a, b in ((x, y), (y, x)):
        if absorbs(b) or (b.dtype is bool_ and equals(b, 0)):
            return b
        if equals(b, 1 if b.dtype is bool_ else -1):
            return a
    return None


def _or(x: Node, y: Node) -> Node | None:
    if x is y:
        return x
    for a, b in ((x, y), (y, x)):
        if equals(b, 0):
            return a
        if equals(b, 1 if b.dtype is bool_ else -1):
            return b
    return None


def _xor(x: Node, y: Node) -> Node | None:
    if x is y:
        return constant(0, x.dtype, structural=False)
    for a, b in ((x, y), (y, x)):
        if equals(b, 0):
            return a
    return None


def _invert(x: Node) -> Node | None:
    return x.args[0] if is_op(x, "invert") else None


def _shift(x: Node, y: Node) -> Node | None:
    return x if equals(y, 0) else None


def _select(c: Node, x: Node, y: Node) -> Node | None:
    if x is y:
        return x
    if c.op is CONST and not c.shape:
        return x if c.attr.value else y
    return None


def _reflexive(x: Node, y: Node) -> Node | None:
    # x <= x holds for integers; not for floats: NaN
    return constant(True, bool_, structural=False) if x is y and not x.dtype.is_float and not x.shape else None


def _irreflexive(x: Node, y: Node) -> Node | None:
    return constant(False, bool_, structural=False) if x is y and not x.shape and not x.dtype.is_float else None


# ----------------------------------------------------------------------------------- NumPy meaning


def _bits(x: Any) -> int:
    return 8 * int(np.asarray(x).dtype.itemsize)


def _lshift(x: Any, y: Any) -> Any:
    inside = (y >= 0) & (y < _bits(x))
    return np.where(inside, np.left_shift(x, np.where(inside, y, 0)), 0).astype(np.asarray(x).dtype)


def _rshift(x: Any, y: Any) -> Any:
    count = np.minimum(np.maximum(y, 0), _bits(x) - 1)
    return np.where(y >= 0, np.right_shift(x, count), 0).astype(np.asarray(x).dtype)


def _to_int(dtype: DType) -> Any:
    low, high = dtype.limits
    top = float(2 ** (8 * dtype.size - 1))

    def cast(x: Any) -> Any:
        x = np.asarray(x)
        if x.dtype.kind != "f":
            return x.astype(dtype.numpy)
        inside = (x >= -top) & (x < top)
        small = np.where(inside, x, 0).astype(dtype.numpy)
        return np.where(inside, small, np.where(x >= top, high, np.where(x < -top, low, 0))).astype(dtype.numpy)

    return cast


def _to_float(dtype: DType) -> Any:
    return lambda x: np.asarray(x).astype(dtype.numpy)


def _convert_back(g: Node, out: Node, x: Node) -> tuple[Node | None]:
    return (call(f"to_{x.dtype.name}", g) if x.dtype.is_float and x.dtype is not g.dtype else g,)


def _selected(condition: Node, x: Node | None, y: Node | None) -> Node | None:
    """Return the tangent of a selection."""
    known = y if x is None else x
    if known is None:
        return None
    zero = zero_like(known)
    return call("select", condition, zero if x is None else x, zero if y is None else y)


def _to_whole(g: Node, out: Node, x: Node) -> tuple[Node | None]:
    # a float is rounded, which is constant but for steps; other integers are the same number
    return (None if x.dtype.is_float else g,)


def _no_gradient(g: Node, out: Node, *operands: Node) -> tuple[None, ...]:
    return (None,) * len(operands)


# ------------------------------------------------------------------------------------------- rows

# a true lane of a mask is -1, so masks are compared the other way round
lt: Op = Op(
    "lt", comparison(), np.less, c="{x} < {y}", lanes={"bool": "{y} < {x}"}, vjp=_no_gradient, simplify=_irreflexive, operator="lt",
    doc="Less than.",
)
le: Op = Op(
    "le", comparison(), np.less_equal, c="{x} <= {y}", lanes={"bool": "{y} <= {x}"}, vjp=_no_gradient, simplify=_reflexive, operator="le",
    doc="Less than or equal.",
)
gt: Op = Op(
    "gt", comparison(), np.greater, c="{x} > {y}", lanes={"bool": "{y} > {x}"}, vjp=_no_gradient, simplify=_irreflexive, operator="gt",
    doc="Greater than.",
)
ge: Op = Op(
    "ge", comparison(), np.greater_equal, c="{x} >= {y}", lanes={"bool": "{y} >= {x}"}, vjp=_no_gradient, simplify=_reflexive,
    operator="ge", doc="Greater than or equal.",
)
eq: Op = Op(
    "eq", comparison(), np.equal, c="{x} == {y}", vjp=_no_gradient, simplify=_reflexive, commutative=True, operator="eq",
    doc="Equal; -0.0 equals 0.0, NaN nothing."
)
ne: Op = Op(
    "ne", comparison(), np.not_equal, c="{x} != {y}", vjp=_no_gradient, simplify=_irreflexive, commutative=True, operator="ne",
    doc="Not equal."
)
isnan: Op = Op("isnan", predicate(), np.isnan, c="{x} != {x}", vjp=_no_gradient, public=True, doc="Whether x is NaN.")
isinf: Op = Op(
    "isinf", predicate(), np.isinf, c="hl_op_abs_{t}({x}) == hl_op_inf_{t}()", vjp=_no_gradient, public=True, doc="Whether x is infinite."
)
isfinite: Op = Op(
    "isfinite", predicate(), np.isfinite, c="hl_op_abs_{t}({x}) < hl_op_inf_{t}()", vjp=_no_gradient, public=True,
    doc="Whether x is finite."
)
and_: Op = Op(
    "and", bitwise(2), np.bitwise_and, c="{x} & {y}", vjp=_no_gradient, simplify=_and, operator="and", commutative=True,
    doc="Bits set in both; of bools, whether both hold.",
)
or_: Op = Op(
    "or", bitwise(2), np.bitwise_or, c="{x} | {y}", vjp=_no_gradient, simplify=_or, operator="or", commutative=True,
    doc="Bits set in either; of bools, whether either holds.",
)
xor: Op = Op(
    "xor", bitwise(2), np.bitwise_xor, c="{x} ^ {y}", vjp=_no_gradient, simplify=_xor, operator="xor", commutative=True,
    doc="Bits set in one of both; of bools, whether they differ.",
)
invert: Op = Op(
    "invert", bitwise(1), np.invert, c={"int": "~{x}", "bool": "!{x}"}, lanes="~{x}", vjp=_no_gradient, simplify=_invert, alike=False,
    operator="invert", doc="All bits flipped; of a bool, not.",
)
lshift: Op = Op(
    "lshift", integral(2), _lshift, c="hl_op_lshift_{t}({x}, {y})", vjp=_no_gradient, simplify=_shift, operator="lshift",
    faults=faults.of_shift, doc="Shift left; bits beyond the type are lost, a negative count gives 0 (checked mode raises).",
)
rshift: Op = Op(
    "rshift", integral(2), _rshift, c="hl_op_rshift_{t}({x}, {y})", vjp=_no_gradient, simplify=_shift, operator="rshift",
    faults=faults.of_shift, doc="Shift right, filling with the sign; a negative count gives 0 (checked mode raises).",
)
select: Op = Op(
    "select", choice(), np.where,
    c={"bool": "{x} ? {y} : {z}", "int": "{x} ? {y} : {z}", "float": "hl_op_select_{t}({x}, {y}, {z})"},
    lanes="hl_op_select_{t}({x}, {y}, {z})",
    vjp=lambda g, out, c, x, y: (None, call("select", c, g, zero_like(g)), call("select", c, zero_like(g), g)),
    jvp=lambda out, operands, tangents: _selected(operands[0], *tangents[1:]),
    simplify=_select, doc="The second operand where the first holds, else the third; the other side poisons nothing.",
)


def _bool_of(x: Any) -> Any:
    return np.asarray(x) != 0


to_bool: Op = Op("to_bool", conversion(bool_), _bool_of, c="{x} != 0", vjp=_no_gradient, doc="Whether x is not zero.")
to_int32: Op = Op(
    "to_int32", conversion(int32), _to_int(int32), c={"bool": "(int32_t){x}", "int": "(int32_t){x}", "float": "hl_op_i32_{t}({x})"},
    lanes="hl_op_{r}_{t}({x})",
    vjp=_to_whole, faults=faults.of_to_int, doc="Convert to int32: floats truncate and saturate, NaN gives 0; int64 wraps.",
)
to_int64: Op = Op(
    "to_int64", conversion(int64), _to_int(int64), c={"bool": "(int64_t){x}", "int": "(int64_t){x}", "float": "hl_op_i64_{t}({x})"},
    lanes="hl_op_{r}_{t}({x})",
    vjp=_to_whole, faults=faults.of_to_int, doc="Convert to int64: floats truncate and saturate, NaN gives 0.",
)
to_float32: Op = Op(
    "to_float32", conversion(float32), _to_float(float32), c="(float){x}", lanes="hl_op_{r}_{t}({x})", vjp=_convert_back,
    faults=faults.of_to_float32, doc="Convert to float32, rounding to nearest.",
)
to_float64: Op = Op(
    "to_float64", conversion(float64), _to_float(float64), c="(double){x}", lanes="hl_op_{r}_{t}({x})", vjp=_convert_back,
    doc="Convert to float64, rounding to nearest.",
)
