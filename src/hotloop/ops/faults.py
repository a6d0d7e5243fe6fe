"""What checked mode reports: for each kind of row, the conditions under which it went wrong.

A fault is (condition, text): the condition is a bool node of the result's shape or (), the text one of
the constants below, which `passes.check` turns into an exception.
"""

from __future__ import annotations

from hotloop.dtypes import bool_, int32, int64
from hotloop.ir.graph import Node, constant, convert
from hotloop.ops.algebra import call

DIVISION = "division by zero"
INVALID = "invalid operation: the result is not a number"
OVERFLOW = "overflow: the result does not fit its type"
LOG_OF_ZERO = "logarithm of zero"
NEGATIVE_SHIFT = "shift by a negative count"
LOSSY = "conversion of a number that the integer type cannot hold"
BOUNDS = "index out of range"

Faults = list[tuple[Node, str]]


def _every(row: str, operands: tuple[Node, ...], join: str) -> Node:
    total = call(row, operands[0])
    for operand in operands[1:]:
        total = call(join, total, call(row, operand))
    return total


def _zero(node: Node) -> Node:
    return call("eq", node, constant(0, node.dtype))


def _not(node: Node) -> Node:
    return call("invert", node)


def of_float(out: Node, *operands: Node) -> Faults:
    """NaN out of operands that are none, infinity out of finite operands."""
    if not out.dtype.is_float:
        return []
    invalid = call("and", call("isnan", out), _not(_every("isnan", operands, "or")))
    overflow = call("and", call("isinf", out), _every("isfinite", operands, "and"))
    return [(invalid, INVALID), (overflow, OVERFLOW)]


def of_add(out: Node, x: Node, y: Node) -> Faults:
    """Of a sum: an integer wraps if both operands have the other sign than the result."""
    if out.dtype.is_float:
        return of_float(out, x, y)
    signs = call("and", call("xor", x, out), call("xor", y, out))
    return [(call("lt", signs, constant(0, out.dtype)), OVERFLOW)]


def of_sub(out: Node, x: Node, y: Node) -> Faults:
    """Of a difference: an integer wraps if operands differ in sign and the result's is not x's."""
    if out.dtype.is_float:
        return of_float(out, x, y)
    signs = call("and", call("xor", x, y), call("xor", x, out))
    return [(call("lt", signs, constant(0, out.dtype)), OVERFLOW)]


def of_mul(out: Node, x: Node, y: Node) -> Faults:
    """Of a product: int32 is compared with int64, int64 is divided back."""
    if out.dtype.is_float:
        return of_float(out, x, y)
    if out.dtype is int32:
        exact = call("mul", convert(x, int64), convert(y, int64))
        return [(call("ne", exact, convert(out, int64)), OVERFLOW)]
    wrong = call("and", _not(_zero(x)), call("ne", call("floordiv", out, x), y))
    return [(call("or", wrong, _extreme(y, x)), OVERFLOW)]


def _extreme(x: Node, y: Node) -> Node:
    """Whether x is the smallest integer and y is -1: then x * y and x // y wrap."""
    smallest = call("eq", x, constant(x.dtype.limits[0], x.dtype))
    return call("and", smallest, call("eq", y, constant(-1, y.dtype)))


def of_div(out: Node, x: Node, y: Node) -> Faults:
    """Of a quotient."""
    return [(_zero(y), DIVISION), *of_float(out, x, y)]


def of_floordiv(out: Node, x: Node, y: Node) -> Faults:
    """Of //, by Python's rule."""
    if out.dtype.is_float:
        return of_div(out, x, y)
    return [(_zero(y), DIVISION), (_extreme(x, y), OVERFLOW)]


def of_mod(out: Node, x: Node, y: Node) -> Faults:
    """Of %, by Python's rule."""
    return [(_zero(y), DIVISION), *of_float(out, x, y)]


def of_neg(out: Node, x: Node) -> Faults:
    """Of a negation and an absolute value: the smallest integer has no opposite."""
    if out.dtype.is_float:
        return []
    return [(call("eq", x, constant(x.dtype.limits[0], x.dtype)), OVERFLOW)]


def of_log(out: Node, x: Node) -> Faults:
    """Of a logarithm."""
    return [(_zero(x), LOG_OF_ZERO), *of_float(out, x)]


def of_shift(out: Node, x: Node, y: Node) -> Faults:
    """Of a shift."""
    return [(call("lt", y, constant(0, y.dtype)), NEGATIVE_SHIFT)]


def of_to_float32(out: Node, x: Node) -> Faults:
    """Of a conversion to float32: only float64 holds what it cannot."""
    return of_float(out, x) if x.dtype.is_float else []


def of_to_int(out: Node, x: Node) -> Faults:
    """Of a conversion to an integer: NaN and what lies outside the type."""
    if x.dtype is bool_ or (x.dtype is int32 and out.dtype is int64):
        return []
    if not x.dtype.is_float:
        return [(call("ne", convert(out, x.dtype), x), LOSSY)]
    top = float(1 << (8 * out.dtype.size - 1))  # a power of two: exact in every float type
    above = call("ge", x, constant(top, x.dtype))
    # truncation reaches the smallest integer from just above the one below it
    margin = 1.0 if top < 1.0 / {4: 2.0**-24, 8: 2.0**-53}[x.dtype.size] else 0.0
    below = call("le" if margin else "lt", x, constant(-top - margin, x.dtype))
    return [(call("or", call("isnan", x), call("or", above, below)), LOSSY)]
