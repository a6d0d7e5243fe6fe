"""Inverse, determinant, solution of linear systems and Cholesky factor of small traced matrices."""

from __future__ import annotations

import numpy as np

from hotloop._graph import wrap
from hotloop.dtypes import DType, float64, int32, promote
from hotloop.errors import ShapeError
from hotloop.frontend.array import Array, Operand
from hotloop.frontend.literals import array_node, scalars
from hotloop.frontend.reductions import place_of
from hotloop.frontend.scalar import value
from hotloop.ir.graph import Node, apply, constant, convert, default_dtype, user_line
from hotloop.ops import arith, logic
from hotloop.ops.shape import Index, amax, concatenate, gather_from, pack_of, product, reshape_to, take_by

_CLOSED = 3  # up to this size by cofactors: no pivots, no branches; beyond by elimination


def inverse(matrix: Operand) -> Array:
    """Return the inverse of a square matrix; of a singular one inf and NaN.

    Cost: up to 3x3 cofactors and one division; beyond Gauss-Jordan elimination with partial
    pivoting, about n**3 products and n divisions, constant time.
    """
    node = _square(matrix, "inverse")
    if node.shape[0] <= _CLOSED:
        adjugate, determinant = _cofactors(node)
        return Array.tensor_class.of(apply(arith.mul, adjugate, 1.0 / determinant))
    return Array.tensor_class.of(_eliminated(node, constant(np.eye(node.shape[0]), node.dtype, structural=True))[0])


def det(matrix: Operand) -> value:
    """Return the determinant of a square matrix, by cofactors up to 3x3, else by elimination with partial pivoting."""
    node = _square(matrix, "det")
    if node.shape[0] <= _CLOSED:
        return wrap(_cofactors(node)[1])
    return wrap(_eliminated(node, None)[1])


def solve(matrix: Operand, right: Operand) -> Array:
    """Return x with matrix @ x = right, for a vector or the columns of a matrix; inf and NaN for a singular matrix.

    Cost: as `inverse`. Raises ShapeError.
    """
    node = _square(matrix, "solve")
    other = array_node(right, "solve")
    if len(other.shape) not in (1, 2) or other.shape[0] != node.shape[0]:
        raise ShapeError(f"{user_line()}: solve of a matrix of shape {node.shape} for a right side of shape {other.shape}.")
    joint = promote(node.dtype, other.dtype)
    node, other = convert(node, joint), convert(other, joint)
    if node.shape[0] <= _CLOSED:
        adjugate, determinant = _cofactors(node)
        found = apply(arith.div, product(adjugate, other), determinant)
    else:
        columns = other if len(other.shape) == 2 else reshape_to(other, (*other.shape, 1))
        found = reshape_to(_eliminated(node, columns)[0], other.shape)
    kind = Array.vector_class if len(found.shape) == 1 and not isinstance(right, Array.tensor_class) else Array.tensor_class
    return kind.of(found)


def cholesky(matrix: Operand) -> Array:
    """Return the lower triangle L with L @ L.T = matrix, which must be symmetric and positive definite.

    Only the lower triangle is read. NaN where it is not positive definite. Cost: n**3 / 6 products, n roots.
    """
    node = _square(matrix, "cholesky")
    size = node.shape[0]
    a = [scalars(node)[i * size : (i + 1) * size] for i in range(size)]
    zero = constant(0.0, node.dtype, structural=True)
    lower = [[zero] * size for _ in range(size)]
    for j in range(size):
        diagonal = a[j][j]
        for k in range(j):
            diagonal = diagonal - lower[j][k] * lower[j][k]
        lower[j][j] = apply(arith.sqrt, diagonal)
        for i in range(j + 1, size):
            rest = a[i][j]
            for k in range(j):
                rest = rest - lower[i][k] * lower[j][k]
            lower[i][j] = rest / lower[j][j]
    return Array.tensor_class.of(pack_of([item for row in lower for item in row], (size, size)))


# ----------------------------------------------------------------------------------------- methods


def _square(matrix: Operand, what: str) -> Node:
    node = array_node(matrix, what)
    if len(node.shape) != 2 or node.shape[0] != node.shape[1] or not node.shape[0]:
        raise ShapeError(f"{user_line()}: {what} needs a square matrix, not shape {node.shape}.")
    return node if node.dtype.is_float else convert(node, _float_of(node.dtype))


def _float_of(dtype: DType) -> DType:
    return float64 if dtype.size == 8 else default_dtype(0.0)


def _cofactors(node: Node) -> tuple[Node, Node]:
    """Return the adjugate and the determinant of a matrix of up to 3x3."""
    size = node.shape[0]
    m = scalars(node)
    if size == 1:
        return constant(np.ones((1, 1), node.dtype.numpy)), m[0]
    if size == 2:
        a, b, c, d = m
        return pack_of([d, -b, -c, a], (2, 2)), a * d - b * c
    a, b, c, d, e, f, g, h, i = m
    rows = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    determinant = a * rows[0][0] + b * rows[1][0] + c * rows[2][0]
    return pack_of([item for row in rows for item in row], (3, 3)), determinant


def _eliminated(matrix: Node, right: Node | None) -> tuple[Node, Node]:
    """Return the solution for the columns of `right`, and the determinant: Gauss-Jordan with partial pivoting."""
    size = matrix.shape[0]
    m = matrix if right is None else concatenate([matrix, right], 1)
    determinant: Node | None = None
    for k in range(size):
        lower = _block(m, slice(k, None))
        place = place_of(amax, apply(arith.abs_, _block(lower, slice(None), k)), 0, False)
        pivot_row, first = gather_from(lower, place), _block(lower, 0)
        pivot = _block(pivot_row, k)
        signed = apply(logic.select, apply(logic.eq, place, 0), pivot, -pivot)
        determinant = signed if determinant is None else determinant * signed
        here = constant(np.arange(size - k, dtype=np.int32).reshape(-1, 1), int32)
        rest = apply(logic.select, apply(logic.eq, here, place), reshape_to(first, (1, *first.shape)), lower)
        scaled = reshape_to(apply(arith.div, pivot_row, pivot), (1, m.shape[1]))
        above = [_cleared(_block(m, slice(0, k)), scaled, k)] if k else []
        below = [_cleared(_block(rest, slice(1, None)), scaled, k)] if k < size - 1 else []
        m = concatenate([*above, scaled, *below], 0)
    assert determinant is not None
    return _block(m, slice(None), slice(size, None)), determinant


def _cleared(rows: Node, pivot_row: Node, column: int) -> Node:
    """Subtract the pivot row so often that a column becomes zero."""
    factors = reshape_to(_block(rows, slice(None), column), (rows.shape[0], 1))
    return apply(arith.sub, rows, apply(arith.mul, factors, pivot_row))


def _block(node: Node, *key: int | slice) -> Node:
    return take_by(node, Index(np.arange(int(np.prod(node.shape))).reshape(node.shape)[key]))


__all__ = ["cholesky", "det", "inverse", "solve"]
