"""Arithmetic rows: sums, products, quotients with Python's rules, extrema, rounding, sqrt, fma."""

from __future__ import annotations

from typing import Any

import numpy as np

from hotloop.dtypes import COMPUTE
from hotloop.ir.graph import Node, constant
from hotloop.ir.op import Op, arithmetic, floating, same, truediv
from hotloop.ops import faults
from hotloop.ops.algebra import absorbs, call, equals, is_op, negative_zero, power_of_two, zero_like

# ------------------------------------------------------------------------------------- identities


def _neutral_zero(node: Node) -> bool:
    # x + 0.0 changes -0.0 to 0.0, so only integers, structural zeros and -0.0 vanish
    return absorbs(node) or negative_zero(node)


def _add(x: Node, y: Node) -> Node | None:
    if y.is_const and _neutral_zero(y):
        return x
    return y if x.is_const and _neutral_zero(x) else None


def _sub(x: Node, y: Node) -> Node | None:
    if equals(y, 0):  # x - 0.0 is x for every x
        return x
    if absorbs(x):
        return call("neg", y)
    if x is y and not x.dtype.is_float:  # not for floats: inf - inf is NaN
        return constant(0, x.dtype, structural=False)
    return None


def _mul(x: Node, y: Node) -> Node | None:
    for a, b in ((x, y), (y, x)):
        if not b.is_const:
            continue
        if equals(b, 1):
            return a
        if absorbs(b):
            return b
        if equals(b, -1):
            return call("neg", a)
    return None


def _div(x: Node, y: Node) -> Node | None:
    if equals(y, 1):
        return x
    if absorbs(x):
        return x
    if power_of_two(y):  # the reciprocal is exact, so the product rounds as the quotient
        return call("mul", x, 1.0 / y.attr.value)
    return None


def _neg(x: Node) -> Node | None:
    return x.args[0] if is_op(x, "neg") else None


def _same_operand(x: Node, y: Node) -> Node | None:
    return x if x is y else None


# ----------------------------------------------------------------------------------- NumPy meaning


def _py_floordiv(x: Any, y: Any) -> Any:
    """Python's //: floats as CPython's float_floor_div, integers by zero give 0."""
    if np.asarray(x).dtype.kind != "f":
        safe = np.where(y == 0, np.asarray(y).dtype.type(1), y)
        return np.where(y == 0, np.asarray(y).dtype.type(0), np.floor_divide(x, safe))
    return np.floor_divide(x, y)


def _py_mod(x: Any, y: Any) -> Any:
    """Python's %: the sign of the divisor; integers by zero give 0."""
    if np.asarray(x).dtype.kind != "f":
        safe = np.where(y == 0, np.asarray(y).dtype.type(1), y)
        return np.where(y == 0, np.asarray(y).dtype.type(0), np.remainder(x, safe))
    return np.remainder(x, y)


def _minimum(x: Any, y: Any) -> Any:
    """NaN if either is NaN; -0.0 is below 0.0."""
    if np.asarray(x).dtype.kind != "f":
        return np.minimum(x, y)
    return np.where(x == y, np.where(np.signbit(x), x, y), np.minimum(x, y))


def _sign(x: Any) -> Any:
    return np.sign(x)


def _fma(x: Any, y: Any, z: Any) -> Any:
    from hotloop.ir.fold import exact_fma

    return exact_fma(x, y, z)


# ------------------------------------------------------------------------------------------- rows

add: Op = Op(
    "add", arithmetic(2), np.add, c="{x} + {y}", vjp=lambda g, out, x, y: (g, g), simplify=_add, alike=False,
    operator="add", commutative=True, faults=faults.of_add, doc="Sum; integers wrap.",
)
sub: Op = Op(
    "sub", arithmetic(2), np.subtract, c="{x} - {y}", vjp=lambda g, out, x, y: (g, -g), simplify=_sub,
    operator="sub", faults=faults.of_sub, doc="Difference; integers wrap.",
)
mul: Op = Op(
    "mul", arithmetic(2), np.multiply, c="{x} * {y}", vjp=lambda g, out, x, y: (g * y, g * x), simplify=_mul, alike=False,
    operator="mul", commutative=True, faults=faults.of_mul, doc="Product; integers wrap.",
)
div: Op = Op(
    "div", truediv(), np.divide, c="{x} / {y}", vjp=lambda g, out, x, y: (g / y, -(g * out) / y), simplify=_div, alike=False, powers=True,
    operator="truediv", divides=True, faults=faults.of_div, singular=True, doc="Quotient as a float; by zero gives inf or NaN.",
)
floordiv: Op = Op(
    "floordiv", arithmetic(2), _py_floordiv, c={"int": "hl_op_floordiv_{t}({x}, {y})", "float": "hl_floordiv_{t}({x}, {y})"},
    lanes={"float": "hl_floordiv_{s}({x}, {y})"},
    vjp=lambda g, out, x, y: (None, None), operator="floordiv", divides=True,
    faults=faults.of_floordiv, doc="Python's //, rounded down; an integer by zero gives 0 (checked mode raises).",
)
mod: Op = Op(
    "mod", arithmetic(2), _py_mod, c={"int": "hl_op_mod_{t}({x}, {y})", "float": "hl_mod_{t}({x}, {y})"},
    lanes={"float": "hl_mod_{s}({x}, {y})"},
    vjp=lambda g, out, x, y: (g, -g * call("floordiv", x, y)), operator="mod", divides=True,
    faults=faults.of_mod, singular=True, doc="Python's %, with the sign of the divisor; an integer by zero gives 0 (checked mode raises).",
)
neg: Op = Op(
    "neg", arithmetic(1), np.negative, c="-{x}", vjp=lambda g, out, x: (-g,), simplify=_neg, alike=False,
    operator="neg", faults=faults.of_neg, doc="Negation; the smallest integer stays as it is.",
)
abs_: Op = Op(
    "abs", arithmetic(1), np.abs, c={"int": "hl_op_abs_{t}({x})", "float": "hl_op_abs_{t}({x})"},
    vjp=lambda g, out, x: (g * call("sign", x),), operator="abs", public=True,
    faults=faults.of_neg, doc="Absolute value; the smallest integer stays as it is. Derivative at 0: 0.",
)
sign: Op = Op(
    "sign", arithmetic(1), _sign, c={"int": "(({x} > 0) - ({x} < 0))", "float": "hl_op_sign_{t}({x})"}, lanes="hl_op_sign_{t}({x})",
    vjp=lambda g, out, x: (None,), public=True, doc="-1, 0 or 1, of the operand's type; NaN stays NaN.",
)
minimum: Op = Op(
    "minimum", same(2, COMPUTE[1:], COMPUTE[1]), _minimum,
    c={"int": "({x} < {y} ? {x} : {y})", "float": "hl_op_minimum_{t}({x}, {y})"},
    lanes="hl_op_minimum_{t}({x}, {y})",
    vjp=lambda g, out, x, y: _to_chosen(g, x, y, "lt", "le"),
    jvp=lambda out, operands, tangents: _of_chosen(operands, tangents, "lt", "le"),
    simplify=_same_operand, commutative=True, public=True,
    doc="The smaller; NaN if either is NaN. Equal operands share the gradient; all of it goes to the one that is no constant.",
)
maximum: Op = Op(
    "maximum", same(2, COMPUTE[1:], COMPUTE[1]), lambda x, y: -_minimum(-x, -y) if np.asarray(x).dtype.kind == "f" else np.maximum(x, y),
    c={"int": "({x} > {y} ? {x} : {y})", "float": "hl_op_maximum_{t}({x}, {y})"},
    lanes="hl_op_maximum_{t}({x}, {y})",
    vjp=lambda g, out, x, y: _to_chosen(g, x, y, "gt", "ge"),
    jvp=lambda out, operands, tangents: _of_chosen(operands, tangents, "gt", "ge"),
    simplify=_same_operand, commutative=True, public=True,
    doc="The larger; NaN if either is NaN. Equal operands share the gradient; all of it goes to the one that is no constant.",
)
floor: Op = Op(
    "floor", floating(1), np.floor, c="hl_floor_{t}({x})", vjp=lambda g, out, x: (None,), public=True,
    doc="Round down, as a float.",
)
ceil: Op = Op(
    "ceil", floating(1), np.ceil, c="hl_ceil_{t}({x})", vjp=lambda g, out, x: (None,), public=True,
    doc="Round up, as a float.",
)
round_: Op = Op(
    "round", floating(1), np.rint, c="hl_round_{t}({x})", vjp=lambda g, out, x: (None,), public=True,
    doc="Round to the nearest integer, ties to even, as a float.",
)
trunc: Op = Op(
    "trunc", floating(1), np.trunc, c="hl_trunc_{t}({x})", vjp=lambda g, out, x: (None,), public=True,
    doc="Round towards zero, as a float.",
)
copysign: Op = Op(
    "copysign", floating(2), np.copysign, c="hl_copysign_{t}({x}, {y})",
    vjp=lambda g, out, x, y: (g * call("copysign", 1.0, x) * call("copysign", 1.0, y), None), public=True,
    doc="The magnitude of x with the sign of y.",
)
sqrt: Op = Op(
    "sqrt", floating(1), np.sqrt, c="hl_op_sqrt_{t}({x})",
    vjp=lambda g, out, x: (g / (out + out),), public=True,
    domain=((0.0, 1e6),), faults=faults.of_float, singular=True, doc="Square root; NaN below zero.",
)
norm: Op = Op(
    "norm", floating(1), np.sqrt, c="hl_op_sqrt_{t}({x})", vjp=lambda g, out, x: (_norm_gradient(g, out),),
    faults=faults.of_float, domain=((0.0, 1e6),), doc="Square root as the last step of a norm: its derivative at 0 is 0.",
)
fma: Op = Op(
    "fma", floating(3), _fma, c="hl_fma_{t}({x}, {y}, {z})", vjp=lambda g, out, x, y, z: (g * y, g * x, g), public=True,
    faults=faults.of_float, doc="x * y + z with one rounding.",
)


def _norm_gradient(g: Node, out: Node) -> Node:
    positive = out > 0.0
    return call("select", positive, g, zero_like(g)) / call("select", positive, out + out, 1.0)


def _to_chosen(g: Node, x: Node, y: Node, better: str, as_good: str) -> tuple[Node | None, Node | None]:
    """Return the gradient of an extremum: all to the chosen operand; equals share it, but a constant takes none."""
    zero = zero_like(g)
    if y.is_const:
        return call("select", call(as_good, x, y), g, zero), None
    if x.is_const:
        return None, call("select", call(as_good, y, x), g, zero)
    tie = call("select", call("eq", x, y), g * 0.5, zero)
    return call("select", call(better, x, y), g, tie), call("select", call(better, y, x), g, tie)


def _of_chosen(operands: tuple[Node, Node], tangents: tuple[Node | None, Node | None], better: str, as_good: str) -> Node:
    """Return the tangent of an extremum, by the same rule."""
    (x, y), (by_x, by_y) = operands, tangents
    if y.is_const or x.is_const:
        by, one, other = (by_y, y, x) if x.is_const else (by_x, x, y)
        assert by is not None, "a constant has no tangent"
        return call("select", call(as_good, one, other), by, zero_like(by))
    known = by_x if by_x is not None else by_y
    assert known is not None, "at least one operand has a tangent"
    by_x, by_y = zero_like(known) if by_x is None else by_x, zero_like(known) if by_y is None else by_y
    return call("select", call(better, x, y), by_x, call("select", call(better, y, x), by_y, (by_x + by_y) * 0.5))
