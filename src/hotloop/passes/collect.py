"""Sums and products as tables, in which like terms and equal factors meet: the data of `algebra`.

A `Sum` maps monomials to coefficients, a `Product` maps bases to exponents. A monomial is a node,
or the powers of a product as a tuple, or `ONE` for the constant term. Both carry the price of the
operations they stand for, so what is built from them can be compared with what was there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hotloop.ir.graph import CONST, Node
from hotloop.ops.arith import norm, sqrt
from hotloop.ops.shape import broadcast

if TYPE_CHECKING:
    from hotloop.passes.combine import Arithmetic

Number = int | float
Powers = tuple[tuple[Node, int], ...]
Monomial = Node | Powers
Entry = tuple[Number, Monomial]

ONE: Powers = ()


class Sum:
    """A linear combination; `sign` times what the terms say."""

    __slots__ = ("price", "sign", "terms")

    def __init__(self, terms: dict[Monomial, Number], price: int, sign: int = 1) -> None:
        self.terms = terms
        self.price = price
        self.sign = sign


class Product:
    """A coefficient times powers of nodes."""

    __slots__ = ("coefficient", "powers", "price")

    def __init__(self, coefficient: Number, powers: dict[Node, int], price: int) -> None:
        self.coefficient = coefficient
        self.powers = powers
        self.price = price

    def monomial(self) -> Monomial:
        """Return the powers as a key of a sum's terms."""
        without_roots(self.powers)
        if len(self.powers) == 1:
            ((base, exponent),) = self.powers.items()
            return base if exponent == 1 else ((base, exponent),)
        return tuple(sorted(self.powers.items(), key=_by_base))


def without_roots(powers: dict[Node, int]) -> None:
    """Replace squares of square roots by what is under the root: sqrt(x)**2 -> x, x / sqrt(x) -> sqrt(x)."""
    for root in [base for base in powers if base.op in (sqrt, norm)]:
        inner, exponent = root.args[0], powers[root]
        whole = int(exponent / 2)
        if exponent % 2 and inner in powers and (powers[inner] > 0) != (exponent > 0):
            whole += 1 if exponent > 0 else -1
        if whole:
            join(powers, root, -2 * whole)
            join(powers, inner, whole)


def _by_base(power: tuple[Node, int]) -> int:
    return power[0].id


def join(powers: dict[Node, int], base: Node, exponent: int) -> None:
    """Multiply powers by base ** exponent."""
    total = powers.get(base, 0) + exponent
    if total:
        powers[base] = total
    else:
        del powers[base]


def term(form: Node | Product) -> tuple[Monomial, Number]:
    """Return a node or product as a monomial and its coefficient."""
    if isinstance(form, Product):
        return form.monomial(), form.coefficient
    number = literal(form) if form.op is CONST else None
    return (bare(form), 1) if number is None else (ONE, number)


def bare(node: Node) -> Node:
    """Return the scalar that a broadcast repeats: sums and products repeat it themselves."""
    return node.args[0] if node.op is broadcast and not node.args[0].shape else node


def literal(node: Node) -> Number | None:
    """Return the number of a finite scalar constant."""
    if node.op is not CONST or node.shape:
        return None
    value: Number = node.attr.value
    return value if isinstance(value, int) or math.isfinite(value) else None


def gather(x: Node | Sum | Product, y: Node | Sum | Product, sign: int, arithmetic: Arithmetic) -> Sum:
    """Return x + sign * y; uses sums up, and costs what the smaller has terms."""
    if not isinstance(x, Sum):
        if isinstance(y, Sum):
            y.sign *= sign
            x, y, sign = y, x, 1
        else:
            x = alone(x)
    if not isinstance(y, Sum):
        key, coefficient = term(y)
        if isinstance(y, Product):
            x.price += y.price
        include(x.terms, key, coefficient * sign * x.sign, arithmetic)
        return x
    price, sign = x.price + y.price, sign * y.sign
    if len(y.terms) > len(x.terms):
        x.sign, sign, x, y = sign, x.sign, y, x
        x.sign = y.sign
    x.price = price
    for key, coefficient in y.terms.items():
        include(x.terms, key, coefficient * sign * x.sign, arithmetic)
    return x


def alone(form: Node | Product) -> Sum:
    """Return the sum of one term."""
    key, coefficient = term(form)
    return Sum({key: coefficient} if coefficient else {}, form.price if isinstance(form, Product) else 0)


def include(terms: dict[Monomial, Number], key: Monomial, coefficient: Number, arithmetic: Arithmetic) -> None:
    """Add a term."""
    before = terms.get(key)
    if before is None:
        if coefficient:
            terms[key] = arithmetic.fit(coefficient)
        return
    coefficient = arithmetic.fit(before + coefficient)
    if coefficient:
        terms[key] = coefficient
    else:
        del terms[key]
