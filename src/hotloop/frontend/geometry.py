"""Functions of vectors and points, interpolation and selection: what is made of several rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hotloop._graph import wrap
from hotloop.dtypes import bool_
from hotloop.errors import ShapeError, TypeMismatch
from hotloop.frontend.array import Array, Operand, combine_powers, elementwise, matmul
from hotloop.frontend.functions import maximum, minimum
from hotloop.frontend.literals import array_node, node_of
from hotloop.frontend.quaternion import quaternion
from hotloop.frontend.reductions import norm as norm_of
from hotloop.frontend.scalar import value
from hotloop.ir.graph import Node, apply, user_line
from hotloop.ops import arith, elementary, logic
from hotloop.ops.shape import product

_PLAIN = (bool, int, float, np.generic, np.ndarray)


def pow(x: Operand, y: Operand) -> Any:
    """Return x ** y; an int stays an int where y is an int constant.

    Numbers alone give numbers: an int for ints with y >= 0, else a float, by the `pow` row (NaN for a
    negative x with a fractional y).
    """
    if isinstance(x, (bool, int)) and isinstance(y, (bool, int)) and y >= 0 and not isinstance(x, np.generic):
        return int(x) ** int(y)
    if isinstance(x, _PLAIN) and isinstance(y, _PLAIN):
        return elementwise(elementary.pow_, x, y)
    if isinstance(x, value):
        return x**y
    found = combine_powers(x, y)
    if found is NotImplemented:
        raise TypeMismatch(f"{user_line()}: pow does not take ({type(x).__name__}, {type(y).__name__}).")
    return found


def clamp(x: Operand, min_value: Operand, max_value: Operand) -> Any:
    """Return x limited to [min_value, max_value]: a select, NaN stays NaN, inf becomes the limit.

    Where the limits cross, max_value wins. The gradient is 1 inside and at the limits, 0 outside.
    """
    return minimum(maximum(x, min_value), max_value)


def where(condition: Operand, x: Operand, y: Operand) -> Any:
    """Return x where the condition holds (is not zero), else y, element by element.

    Both are computed, but the side not taken poisons nothing: not the value and not the gradient.
    """
    if isinstance(x, quaternion) and isinstance(y, quaternion):
        return quaternion.of(apply(logic.select, _truth(condition), x.node, y.node))
    return elementwise(logic.select, _truth_operand(condition), x, y)


def _truth_operand(condition: Operand) -> Any:
    if isinstance(condition, _PLAIN):
        return np.asarray(condition) != 0 if isinstance(condition, (np.generic, np.ndarray)) else bool(condition)
    if getattr(condition, "dtype", None) is bool_:
        return condition
    return elementwise(logic.ne, condition, 0)


def _truth(condition: Operand) -> Node:
    node = node_of(_truth_operand(condition))
    if node is None or node.shape:
        raise TypeMismatch(f"{user_line()}: a choice between quaternions needs one condition, not {condition!r}.")
    return node


def lerp(a: Operand, b: Operand, t: Operand) -> Any:
    """Return a + (b - a) * t: a at t = 0; at t = 1 b up to rounding."""
    return a + (b - a) * t


def radians(degrees: Operand) -> Any:
    """Return an angle in radians."""
    return elementwise(arith.mul, degrees, math.pi / 180.0)


def degrees(radians: Operand) -> Any:
    """Return an angle in degrees."""
    return elementwise(arith.mul, radians, 180.0 / math.pi)


def get_42(x: Operand = 0) -> Any:
    """Return 42.0, traced if x is: a link test for debugging."""
    return x * 0 + 42.0 if isinstance(x, (Array, value)) else 42.0


# ---------------------------------------------------------------------------------------- vectors


def _pair(a: Operand, b: Operand, what: str) -> tuple[Node, Node]:
    x, y = array_node(a, what), array_node(b, what)
    if len(x.shape) != 1 or x.shape != y.shape:
        raise ShapeError(f"{user_line()}: {what} needs two vectors of one length, not shapes {x.shape} and {y.shape}.")
    return x, y


def _length(x: Node) -> Node:
    return norm_of(x, None, None, False)


def dot(a: Operand, b: Operand) -> Any:
    """Return the matrix product a @ b; of two vectors their scalar product."""
    if isinstance(a, quaternion):
        return a.dot(b)
    return matmul(a, b)


def cross(a: Operand, b: Operand) -> Array:
    """Return the cross product of two vectors of 3 elements. Raises ShapeError."""
    return Array.vector_class(a).cross(b)


def norm(x: Operand) -> value:
    """Return the root of the sum of squares of all elements; its derivative at zero is 0."""
    return wrap(_length(array_node(x, "norm")))


def normalize(x: Operand) -> Any:
    """Return x divided by its norm; zeros stay zeros, a zero quaternion becomes the identity."""
    return x.normalize() if isinstance(x, Array) else Array.tensor_class(x).normalize()


def distance(v1: Operand, v2: Operand) -> value:
    """Return the Euclidean distance of two points; its derivative is 0 where they coincide. Raises ShapeError."""
    x, y = _pair(v1, v2, "distance")
    return wrap(_length(apply(arith.sub, x, y)))


def scalar_projection(v1: Operand, v2: Operand) -> value:
    """Return the length of v1 along v2, negative against it; along a zero vector 0. Raises ShapeError."""
    x, y = _pair(v1, v2, "scalar_projection")
    return wrap(_safe_quotient(product(x, y), _length(y)))


def vector_projection(v1: Operand, v2: Operand) -> Array:
    """Return the part of v1 that is parallel to v2; of a zero vector zero. Raises ShapeError."""
    x, y = _pair(v1, v2, "vector_projection")
    return Array.vector_class.of(y * _safe_quotient(product(x, y), product(y, y)))


def _safe_quotient(x: Node, y: Node) -> Node:
    return apply(arith.div, x, apply(logic.select, apply(logic.eq, y, 0), 1, y))


def angle_between(v1: Operand, v2: Operand) -> value:
    """Return the angle of two vectors in [0, pi] radians, to the last bits also for parallel ones; 0 with a zero vector.

    Cost: 4 norms, 1 atan2. Raises ShapeError.
    Source: Kahan, "How futile are mindless assessments of roundoff", section 12.
    """
    x, y = _pair(v1, v2, "angle_between")
    a, b = apply(arith.mul, x, _length(y)), apply(arith.mul, y, _length(x))
    half = apply(elementary.atan2, _length(apply(arith.sub, a, b)), _length(apply(arith.add, a, b)))
    return wrap(apply(arith.mul, half, 2.0))


def rotate_vector(v: Operand, axis: Operand, angle: Operand) -> Array:
    """Return v turned about `axis` (of any length but 0) by `angle` radians, right-handed. Raises ShapeError.

    About a zero axis nothing turns at angle 0. Source: Rodrigues' formula.
    """
    x, y = _pair(v, axis, "rotate_vector")
    turn = node_of(angle)
    if x.shape != (3,) or turn is None or turn.shape:
        raise ShapeError(f"{user_line()}: rotate_vector needs vectors of 3 elements and a scalar angle, not {x.shape} and {angle!r}.")
    k = Array.vector_class.of(y).normalize()
    cosine, sine = wrap(apply(elementary.cos, turn)), wrap(apply(elementary.sin, turn))
    point = Array.vector_class.of(x)
    return point * cosine + k.cross(point) * sine + k * (k.dot(point) * (1.0 - cosine))  # type: ignore[no-any-return]


__all__ = [
    "angle_between", "clamp", "cross", "degrees", "distance", "dot", "get_42", "lerp", "norm", "normalize", "pow", "radians",
    "rotate_vector", "scalar_projection", "vector_projection", "where",
]
