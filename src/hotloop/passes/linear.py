"""Reductions and matrix products are linear: of a sum they are the sum of what they make of its terms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hotloop.ir.graph import Node, Shape
from hotloop.ops.shape import broadcast, broadcast_to, matmul, product, reduce, sum_
from hotloop.passes.collect import ONE, Monomial, Number, Powers, Product, Sum, join

if TYPE_CHECKING:
    from hotloop.passes.algebra import Algebra

REDUCTIONS = (matmul, sum_)
TERMS = 16  # a product of sums is multiplied out to at most so many terms

Part = tuple[Number, Powers, Node | None]  # coefficient, powers of scalars, array (None: ones)


def expand(algebra: Algebra, node: Node) -> Sum | Product | None:
    """Return a reduction as a sum over the terms of its operands, None where there is nothing to gain."""
    args = node.args
    if node.id not in algebra.absorbed and all(isinstance(algebra.found[arg.id], Node) for arg in args):
        return None
    parts = [_parts(algebra, arg) for arg in args]
    if math.prod(map(len, parts)) > TERMS:
        return None
    price = algebra.prices.of(node) + sum([form.price for arg in args if not isinstance(form := algebra.found[arg.id], Node)])
    total = Sum({}, price)
    for x in parts[0]:
        for y in parts[1] if node.op is matmul else [None]:
            atom = _sum(algebra, node, x) if y is None else _product(algebra, node, x, y)
            if atom is None:
                return None
            coefficient, key = atom
            coefficient = algebra.arithmetic(node.dtype).fit(total.terms.get(key, 0) + coefficient)
            if coefficient:
                total.terms[key] = coefficient
            else:
                total.terms.pop(key, None)
    return total


def _parts(algebra: Algebra, arg: Node) -> list[Part]:
    """Split an array into terms: a coefficient, scalars, and an array of its own shape."""
    form = algebra.found[arg.id]
    if isinstance(form, Node):
        if form.op is broadcast and not form.args[0].shape:
            return [(1, ((form.args[0], 1),), None)]
        return [(1, (), form)]
    if isinstance(form, Product):
        return [(form.coefficient, *_divided(algebra, form.powers, arg))]
    terms = form.terms.items()
    return [(form.sign * c, *_divided(algebra, dict(key) if isinstance(key, tuple) else {key: 1}, arg)) for key, c in terms]


def _divided(algebra: Algebra, powers: dict[Node, int], arg: Node) -> tuple[Powers, Node | None]:
    scalars = tuple([(base, e) for base, e in powers.items() if not base.shape])
    arrays = [(base, e) for base, e in powers.items() if base.shape]
    if not arrays:
        return scalars, None
    arithmetic = algebra.arithmetic(arg.dtype)
    arithmetic.spent = 0
    array = arithmetic.product(1, arrays)
    if arithmetic.spent:
        algebra.owed[array] = algebra.owed.get(array, 0) + arithmetic.spent
    return scalars, array if array.shape == arg.shape else broadcast_to(array, arg.shape)


def _owe(algebra: Algebra, atom: Node, *operands: Node) -> Node:
    """Charge whoever uses `atom` first for it and for the arrays that were made for it."""
    arithmetic = algebra.arithmetic(atom.dtype)
    arithmetic.spent = 0
    arithmetic.adopt(atom)
    price = arithmetic.spent + sum([algebra.owed.pop(operand, 0) for operand in operands])
    if price:
        algebra.owed[atom] = algebra.owed.get(atom, 0) + price
    return atom


def _sum(algebra: Algebra, node: Node, part: Part) -> tuple[Number, Monomial] | None:
    coefficient, scalars, array = part
    axes: tuple[int, ...] = node.attr["axes"]
    shape: Shape = node.args[0].shape
    if array is None:
        return _term(coefficient * math.prod([shape[axis] for axis in axes]), scalars, None)
    return _term(coefficient, scalars, _owe(algebra, reduce(sum_, array, axes), array))


def _product(algebra: Algebra, node: Node, x: Part, y: Part) -> tuple[Number, Monomial] | None:
    left, right = node.args
    scale = x[0] * y[0]
    scalars = (*x[1], *y[1])
    if x[2] is None and y[2] is None:
        return _term(scale * left.shape[-1], scalars, None)
    if x[2] is None:  # ones @ b is the sum of each column
        if len(left.shape) > 1 or y[2] is None:
            return None
        return _term(scale, scalars, _owe(algebra, reduce(sum_, y[2], (max(0, len(right.shape) - 2),)), y[2]))
    if y[2] is None:  # a @ ones is the sum of each row
        if len(right.shape) > 1:
            return None
        return _term(scale, scalars, _owe(algebra, reduce(sum_, x[2], (len(left.shape) - 1,)), x[2]))
    a, b = x[2], y[2]
    if len(left.shape) == len(right.shape) == 1 and a.id > b.id:  # a dot product commutes
        a, b = b, a
    return _term(scale, scalars, _owe(algebra, product(a, b), a, b))


def _term(coefficient: Number, scalars: Powers, atom: Node | None) -> tuple[Number, Monomial]:
    powers: dict[Node, int] = {}
    for base, exponent in scalars:
        join(powers, base, exponent)
    if atom is not None:
        join(powers, atom, 1)
    return coefficient, Product(1, powers, 0).monomial() if powers else ONE
