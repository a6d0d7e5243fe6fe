"""Sums and products as tables, in which like terms and equal factors meet: the data of `algebra`.

A `Sum` maps monomials to coefficients, a `Product` maps bases to exponents. A monomial is a node,
or the powers of a product as a tuple, or `ONE` for the constant term. Both carry the price of the
operations they stand for, so what is built from them can be compared with what was there.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from hotloop.ir.graph import CONST, Node
from hotloop.ops.arith import add, mul, neg, norm, sqrt, sub
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


class Plain:
    """A sum of coefficients times nodes or products of two: what most sums are, and quickly read and built."""

    __slots__ = ("nodes", "offset", "products")

    def __init__(self) -> None:
        self.nodes: dict[Node, Number] = {}
        self.products: dict[tuple[Node, Node], Number] = {}
        self.offset: Number = 0


def separate(root: Node, found: Mapping[int, Node], absorbed: Container[int], fma: bool) -> Plain | None:
    """Return a tree of scalars as a plain sum, None if it is none or if common factors may be worth taking out.

    With fma they save nothing; without it, that is where a node or a coefficient occurs twice.
    """
    if root.shape:
        return None
    total = Plain()
    nodes, products = total.nodes, total.products
    stack: list[tuple[Number, Node]] = [(1, root)]
    while stack:
        scale, node = stack.pop()
        op, args = node.op, node.args
        if node is not root and node.id not in absorbed:
            leaf = found[node.id]
            if leaf.op is not CONST:
                nodes[leaf] = nodes.get(leaf, 0) + scale
                continue
            number = literal(leaf)
            if number is None:
                return None
            total.offset += scale * number
        elif op is add or op is sub:
            stack.append((scale if op is add else -scale, args[1]))
            stack.append((scale, args[0]))
        elif op is neg:
            stack.append((-scale, args[0]))
        elif op is mul:
            factors = _factors(args, found, absorbed)
            if factors is None:
                return None
            coefficient, p, q = factors
            if q is None:
                if p.id not in absorbed:
                    nodes[p] = nodes.get(p, 0) + scale * coefficient
                elif abs(scale) == 1:
                    stack.append((scale * coefficient, p))
                else:  # a*(b*(x + y) + z): what is nested stays so
                    return None
                continue
            if coefficient == 1 and abs(scale) != 1:  # a factor around the sum saves an operation
                return None
            pair = (p, q) if p.id < q.id else (q, p)
            products[pair] = products.get(pair, 0) + scale * coefficient
        else:
            return None
    return None if not fma and _alike(total) else total


def _factors(args: Sequence[Node], found: Mapping[int, Node], absorbed: Container[int]) -> tuple[Number, Node, Node | None] | None:
    """Return a product as a constant and one node, sum (that is absorbed) or two nodes; None if it is no such product."""
    coefficient: Number = 1
    factors: list[Node] = []
    waiting = [args[1], args[0]]
    while waiting:
        node = waiting.pop()
        if node.id not in absorbed:
            leaf = found[node.id]
            if leaf.op is not CONST:
                factors.append(leaf)
                continue
            number = literal(leaf)
            if not number:
                return None
            coefficient *= number
        elif node.op is mul:
            waiting += (node.args[1], node.args[0])
        elif node.op in (add, sub, neg):
            factors.append(node)
        else:
            return None
    if len(factors) == 1:
        return coefficient, factors[0], None
    if len(factors) != 2 or factors[0].id in absorbed or factors[1].id in absorbed:
        return None
    p, q = factors
    return None if p is q and p.op in (sqrt, norm) else (coefficient, p, q)


def _alike(total: Plain) -> bool:
    """Whether a node or a coefficient occurs in several terms."""
    bases = [*total.nodes, *[base for p, q in total.products for base in {p, q}]]
    magnitudes = [abs(c) for c in (*total.nodes.values(), *total.products.values()) if abs(c) != 1]
    return len(set(bases)) < len(bases) or len(set(magnitudes)) < len(magnitudes)


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
