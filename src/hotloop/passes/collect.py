"""Sums and products as tables, in which like terms and equal factors meet: the data of `algebra`.

A `Sum` maps monomials to coefficients, a `Product` maps bases to exponents. A monomial is a node,
or the powers of a product as a tuple, or `ONE` for the constant term. Both carry the price of the
operations they stand for, so what is built from them can be compared with what was there.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from hotloop.ir.graph import CONST, Node, Shape
from hotloop.ops.arith import add, mul, neg, norm, sqrt, sub
from hotloop.ops.shape import broadcast

if TYPE_CHECKING:
    from hotloop.passes.combine import Arithmetic

Number = int | float
Powers = tuple[tuple[Node, int], ...]
Monomial = Node | Powers
Entry = tuple[Number, Monomial]
Signed = tuple[int, Node]
Term = tuple[int, Node | None, Node, Node]  # sign, constant of a product of three, factors: a constant comes first
Terms = tuple[list[Signed], list[Term], dict[Node, Number]]

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


def separate(root: Node, found: Mapping[int, Node], absorbed: Container[int], fma: bool) -> Terms | None:
    """Return a sum as signed nodes, signed products of two and what nodes met; None if there may be more to gather.

    That is like products, nested ones, constants and, without fma, common factors: with it they save nothing.
    """
    items: list[Signed] = []
    products: list[Term] = []
    seen: set[object] = set()
    again: set[int] = set()
    shape = root.shape
    stack: list[Signed] = [(1, root)]
    while stack:
        sign, node = stack.pop()
        inner = node is root or node.id in absorbed
        op, args = node.op, node.args
        if inner and (op is add or op is sub):
            stack.append((sign if op is add else -sign, args[1]))
            stack.append((sign, args[0]))
            continue
        if inner and op is neg:
            stack.append((-sign, args[0]))
            continue
        if not inner:
            leaf = found[node.id]
            key = _leaf(leaf, shape)
            items.append((sign, leaf))
        elif op is mul and (factors := _factors(args, found, absorbed)) is not None:
            scale, p, q = factors
            if scale is not None and not fma:
                return None
            key = _product(p, q, shape, seen, fma)
            products.append((sign, *factors))
        else:
            return None
        if key is None:
            return None
        if key in seen:
            if not fma or shape or not isinstance(key, int):
                return None
            again.add(key)
        seen.add(key)
    return items, products, _meet(again, items, products) if again else {}


def _meet(again: set[int], items: list[Signed], products: list[Term]) -> dict[Node, Number]:
    """Take the terms of the nodes with these numbers out, and return their sums: x + 3*x -> x: 4."""
    total: dict[Node, Number] = {}
    for sign, node in items:
        if node.id in again:
            total[node] = total.get(node, 0) + sign
    for sign, _, p, node in products:
        if node.id in again and p.op is CONST:
            total[node] = total.get(node, 0) + sign * p.attr.value
    items[:] = [item for item in items if item[1] not in total]
    products[:] = [term for term in products if term[2].op is not CONST or term[3] not in total]
    return total


def _factors(args: Sequence[Node], found: Mapping[int, Node], absorbed: Container[int]) -> tuple[Node | None, Node, Node] | None:
    """Return the factors of a product of two nodes or of two and a constant, None if it has others."""
    x, y = args
    if x.id in absorbed:
        x, y = y, x
    scale: Node | None = None
    if y.id in absorbed:
        if x.id in absorbed or y.op is not mul or y.args[0].op is not CONST or y.args[1].id in absorbed:
            if x.id in absorbed or y.op is not mul or y.args[1].op is not CONST or y.args[0].id in absorbed:
                return None
            y, scale = y.args
        else:
            scale, y = y.args
    p, q = found[x.id], found[y.id]
    if q.op is CONST:
        p, q = q, p
    if scale is not None and (p.op is CONST or scale.shape or not literal(scale)):
        return None
    return scale, p, q


def _leaf(leaf: Node, shape: Shape) -> object:
    """Return what no other leaf may be, None if the leaf is not simple."""
    if leaf.op is CONST:
        return ONE if not shape and literal(leaf) else None
    return None if leaf.shape != shape or leaf.op is broadcast else leaf.id


def _product(p: Node, q: Node, shape: Shape, seen: set[object], fma: bool) -> object:
    """Return what no other product may be, None if the product is not simple."""
    first, second = _leaf(p, shape), _leaf(q, shape)
    if first is None or second is None or second is ONE or (p is q and p.op in (sqrt, norm)):
        return None
    if not fma:
        for factor in (abs(p.attr.value) + 0.5j if first is ONE else first, second):
            if factor in seen:
                return None
            seen.add(factor)
        return (p.id, q.id)
    if first is ONE:
        return second
    return (first, second) if p.id < q.id else (second, first)


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
