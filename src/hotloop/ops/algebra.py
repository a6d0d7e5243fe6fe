"""Questions that rows ask about constants when they simplify."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hotloop.ir.graph import CONST, Node, apply, constant
from hotloop.ir.op import REGISTRY


def equals(node: Node, number: float) -> bool:
    """Tell whether `node` is a constant with this value everywhere; 0 does not equal -0.0."""
    if node.op is not CONST:
        return False
    value = node.attr.value
    if isinstance(value, np.ndarray):
        return bool(np.all(value == number)) and (number != 0 or not np.signbit(value).any())
    return bool(value == number) and (number != 0 or math.copysign(1.0, value) == math.copysign(1.0, number))


def negative_zero(node: Node) -> bool:
    """Tell whether `node` is the constant -0.0."""
    return node.op is CONST and node.dtype.is_float and not node.shape and equals(node, -0.0)


def absorbs(node: Node) -> bool:
    """Tell whether `node` is a zero that makes a product zero: an integer's, or a structural one."""
    return equals(node, 0) and (not node.dtype.is_float or node.attr.structural)


def is_op(node: Node, name: str) -> bool:
    """Tell whether `node` was made by the row of this name (rows refer to later rows by name)."""
    return node.op is REGISTRY.get(name)


def call(name: str, *operands: Any) -> Node:  # Any: nodes and numbers
    """Apply the row of this name; for rows that refer to rows declared later."""
    return apply(REGISTRY[name], *operands)


def zero_like(node: Node) -> Node:
    """Return the structural zero of a node's type."""
    return constant(0, node.dtype, structural=True)


def power_of_two(node: Node) -> bool:
    """Tell whether `node` is a scalar float constant whose reciprocal is exact and normal."""
    if node.op is not CONST or node.shape or not node.dtype.is_float:
        return False
    mantissa, exponent = math.frexp(node.attr.value)
    return abs(mantissa) == 0.5 and abs(exponent - 1) < (126 if node.dtype.size == 4 else 1022)
