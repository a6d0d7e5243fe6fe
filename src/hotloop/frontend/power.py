"""Powers: `x ** y` for traced scalars and arrays, and `pow`."""

from __future__ import annotations

from hotloop.dtypes import bool_, float32, float64, int32
from hotloop.ir.graph import Node, Number, apply, convert, exact
from hotloop.ops.arith import div, mul
from hotloop.ops.elementary import pow_
from hotloop.ops.shape import filled

_LARGEST_SQUARED = 64  # a float's error grows with the exponent; beyond, the pow row is better and cheaper


def power(base: Node | Number, exponent: Node | Number) -> Node:
    """Return base ** exponent.

    An int to the power of an int constant stays an int, by squaring, and wraps as products do; a
    negative constant exponent gives a float. A float to the power of a whole constant is a
    product (by squaring, up to 64; with Python's exact numbers only the square), else the `pow` row.
    A traced exponent gives a float. Cost: at most 2 log2(n) products, or one pow.
    """
    if isinstance(exponent, Node) and exponent.is_const and exponent.shape == () and not exponent.dtype.is_float:
        exponent = int(exponent.attr.value)
    if isinstance(base, Node) and not isinstance(exponent, Node):
        if base.dtype.is_float or isinstance(exponent, float):
            return _float_power(_as_float(base), exponent)
        return _int_power(base, int(exponent))
    return apply(pow_, base, exponent)


def _as_float(base: Node) -> Node:
    if base.dtype.is_float:
        return base
    return convert(base, float64 if exact() or base.dtype.size == 8 else float32)


def _int_power(base: Node, exponent: int) -> Node:
    if exponent < 0:
        return _float_power(_as_float(base), exponent)
    base = convert(base, int32) if base.dtype is bool_ else base
    return _squared(base, exponent) if exponent else _ones(base)


def _float_power(base: Node, exponent: Number) -> Node:
    whole = isinstance(exponent, int) or exponent.is_integer()
    if not whole or abs(exponent) > (2 if exact() else _LARGEST_SQUARED) or (exact() and exponent == -2):
        return apply(pow_, base, exponent)
    count = int(exponent)
    if count == 0:
        return _ones(base)
    product = _squared(base, abs(count))
    return product if count > 0 else apply(div, 1.0, product)


def _ones(base: Node) -> Node:
    return filled(1, base.dtype, base.shape, structural=False)  # x ** 0 is 1 for every x, NaN too


def _squared(base: Node, exponent: int) -> Node:
    """Multiply by squaring: x**5 = x * (x*x) * (x*x)."""
    result: Node | None = None
    while True:
        if exponent & 1:
            result = base if result is None else apply(mul, result, base)
        exponent >>= 1
        if not exponent:
            assert result is not None
            return result
        base = apply(mul, base, base)
