"""`fast`: algebra on the graph that may change the last bits of floats, and what NaN and inf do.

Trees of single-use sums and products are gathered into tables (`collect`), in which like terms and
factors meet, and are built again (`combine`) with common factors taken out, as short chains. A reduction or
matrix product of a sum is the sum of reductions. Of the old and the new form the cheaper is kept
(`price`). Integers wrap, so for them all this is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from hotloop import _graph
from hotloop.dtypes import DType, bool_
from hotloop.ir.graph import CONST, LOOP, Node
from hotloop.ir.op import Op
from hotloop.ir.rewrite import Scopes, count_uses, rebuild, rebuild_loop, walk
from hotloop.ops.arith import add, div, mul, neg, norm, sqrt, sub
from hotloop.ops.elementary import pow_
from hotloop.ops.shape import broadcast_to
from hotloop.passes.collect import Number, Product, Sum, bare, gather, join, literal, separate, without_roots
from hotloop.passes.combine import Arithmetic, Unfit
from hotloop.passes.linear import REDUCTIONS, expand
from hotloop.passes.price import Prices, cost
from hotloop.passes.reciprocal import share_reciprocals

Form = Node | Sum | Product

SCALED = 16  # terms that a constant factor is multiplied into, at most: keeps chains of a*x + b linear
POWER = 64  # largest constant exponent that becomes a product


def fast(outputs: Sequence[Node], fma: bool = False) -> list[Node]:
    """Return `outputs` rewritten by algebra that real numbers obey and floats nearly do.

    fma: the target has an instruction for it. States are leaves: pass their next values as outputs.
    Cost: near linear, no recursion; never more than before by the model of `price`.
    """
    return share_reciprocals(Algebra(outputs, fma).run())


class Algebra:
    """One run of the pass."""

    def __init__(self, outputs: Sequence[Node], fma: bool) -> None:
        self.outputs = outputs
        self.nodes = walk(outputs)
        self.fma = fma
        self.prices, self.scopes = Prices(), Scopes(self.nodes)
        self.ready: dict[int, int] = {}
        self.found: dict[int, Form] = {}
        self.differences: set[Node] = set()  # made for a product around them
        self.owed: dict[Node, int] = {}  # reductions that a form stands for and that nothing built needs yet
        self.absorbed = self._absorbed()
        self._arithmetic: dict[DType, Arithmetic] = {}

    def _absorbed(self) -> set[int]:
        """Return the ids of nodes that are part of their only user's tree."""
        uses, scope = count_uses(self.nodes, self.outputs), self.scopes.of
        absorbed: set[int] = set()
        candidates = {node.id for node in self.nodes if node.op in _HANDLERS and uses[node.id] == 1}
        for node in self.nodes:
            if node.op in _HANDLERS and node.dtype is not bool_:
                for arg in node.args:
                    number = arg.id
                    if number in candidates and arg.dtype is node.dtype and (not scope or scope[number] == scope[node.id]):
                        absorbed.add(number)
        return absorbed

    def arithmetic(self, dtype: DType) -> Arithmetic:
        """Return the builder of a dtype."""
        found = self._arithmetic.get(dtype)
        if found is None:
            found = self._arithmetic[dtype] = Arithmetic(dtype, self.prices, self.scopes, self.ready, self.fma)
            constants = [node for node in self.nodes if node.op is CONST and node.dtype is dtype]
            found.numbers.update({number: node for node in constants if (number := literal(node))})
        return found

    def run(self) -> list[Node]:
        """Visit all nodes, operands first."""
        found, absorbed = self.found, self.absorbed
        try:
            for node in self.nodes:
                if not node.args:
                    found[node.id] = node
                elif node.id not in absorbed:
                    _graph.set_origin(node)
                    if node.op not in _HANDLERS or node.dtype is bool_:
                        found[node.id] = self.plain(node)
                    else:
                        found[node.id] = self._separate(node) or self._gathered(node)
        finally:
            _graph.set_origin(None)
        return [self.node_of(output) for output in self.outputs]

    def _separate(self, root: Node) -> Node | None:
        """Return a tree as chains of fma if nothing in it can meet, the common case; None if something might."""
        if self.scopes.trips:
            return None
        arithmetic = self.arithmetic(root.dtype)
        terms = separate(root, cast(dict[int, Node], self.found), self.absorbed, arithmetic.fma)  # leaves are nodes
        if terms is None:
            return None
        try:
            return arithmetic.chains(terms)
        except Unfit:
            return None

    def _gathered(self, root: Node) -> Node:
        """Gather a tree, operands first, and build it again."""
        absorbed = self.absorbed
        tree = [root]
        for node in tree:
            tree.extend([arg for arg in node.args if arg.id in absorbed])
        for node in sorted(tree, key=_id) if len(tree) > 1 else tree:
            _graph.set_origin(node)
            try:
                self.found[node.id] = _HANDLERS[node.op](self, node)
            except Unfit:
                self.found[node.id] = self.straight(node)
        return self.node_of(root)

    # -------------------------------------------------------------------------------- settling

    def node_of(self, node: Node) -> Node:
        """Return what became of `node` as a node, built now if it is still a form."""
        form = self.found[node.id]
        if not isinstance(form, Node):
            coefficient, base = self._settle(node, form)
            form = self.found[node.id] = self.arithmetic(node.dtype).scaled(coefficient, base)
        return form

    def _settle(self, node: Node, form: Sum | Product, content: bool = False) -> tuple[Number, Node]:
        """Build a form, or the tree it came from if that is cheaper: (coefficient, node).

        With `content`, what all terms of a sum share is left as coefficient for a product around it.
        """
        arithmetic = self.arithmetic(node.dtype)
        arithmetic.spent = 0
        coefficient: Number
        try:
            if isinstance(form, Product):
                without_roots(form.powers)
                if form.coefficient == -1:
                    self._flip(form, arithmetic)
                coefficient, base = 1, arithmetic.product(form.coefficient, form.powers.items())
            else:
                apart = content and form.sign < 0  # a product can join it with other signs
                terms = form.terms if apart or form.sign > 0 else {key: arithmetic.fit(-c) for key, c in form.terms.items()}
                coefficient, base = arithmetic.sum(terms)
                coefficient = -coefficient if apart else coefficient
                if not content:
                    coefficient, base = 1, arithmetic.scaled(coefficient, base)
        except Unfit:
            return 1, self.straight(node)
        owed = self._owed(form) if self.owed else {}
        form.price -= arithmetic.spent + sum(owed.values())
        if form.price < 0:
            return 1, self.straight(node)
        for atom in owed:
            del self.owed[atom]
        if base.shape != node.shape:
            base = broadcast_to(base, node.shape)
        return coefficient, base

    def _flip(self, form: Product, arithmetic: Arithmetic) -> None:
        """Turn -(x - y) * z into (y - x) * z where the difference was made for this product."""
        for base, exponent in form.powers.items():
            if exponent in (1, -1) and base in self.differences:
                x, y = base.args
                if base.op is add:
                    x, y = arithmetic.number(-y.attr.value), x
                flipped = arithmetic.make(sub, y, x) if base.op is sub else arithmetic.make(sub, x, y)
                if flipped not in form.powers:
                    arithmetic.spent -= self.prices.of(base)
                    form.coefficient = 1
                    form.powers = {flipped if b is base else b: e for b, e in form.powers.items()}
                    return

    def _owed(self, form: Sum | Product) -> dict[Node, int]:
        if isinstance(form, Product):
            bases = list(form.powers)
        else:
            bases = [b for key in form.terms for b in (dict(key) if isinstance(key, tuple) else (key,))]
        return {base: self.owed[base] for base in bases if base in self.owed}

    def plain(self, node: Node) -> Node:
        """Rebuild a node that starts no tree."""
        if node.op is LOOP:
            return rebuild_loop(node, _Nodes(self))
        return self._on(node, [self.node_of(arg) for arg in node.args])

    def _on(self, node: Node, args: list[Node]) -> Node:
        simpler = None if node.op.fast is None else node.op.fast(*args)
        rebuilt = rebuild(node, args) if simpler is None else simpler
        if rebuilt.id not in self.ready:
            self.arithmetic(node.dtype).learn(rebuilt)
        return rebuilt

    def straight(self, root: Node) -> Node:
        """Rebuild a tree as it was."""
        built: dict[int, Node] = {}
        stack = [root]
        while stack:
            node = stack[-1]
            waiting = [a for a in node.args if a.id in self.absorbed and a.id not in built and not isinstance(self.found[a.id], Node)]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            args = [built[a.id] if a.id in built else self.node_of(a) for a in node.args]
            built[node.id] = self._on(node, args)
            self.owed.pop(built[node.id], None)
        return built[root.id]

    # --------------------------------------------------------------------------------- reading

    def product_of(self, node: Node) -> Product:
        """Return what became of `node` as a product."""
        form = self.found[node.id]
        if isinstance(form, Product):
            return form
        if isinstance(form, Sum):
            coefficient, base = self._settle(node, form, content=True)
            self.found[node.id] = base if coefficient == 1 else form
            if base.op is sub or (base.op is add and base.args[1].op is CONST and not base.args[1].shape):
                self.differences.add(base)
            number = literal(base)
            # what the form could have cost and did not is left for the coefficient
            price = form.price if coefficient != 1 else 0
            return Product(coefficient, {base: 1}, price) if number is None else Product(coefficient * number, {}, 0)
        number = literal(form) if form.op is CONST else None
        return Product(1, {bare(form): 1}, 0) if number is None else Product(number, {}, 0)

    def whole(self, node: Node, *args: Node) -> bool:
        """Whether nothing can be gathered here: no tree below, none above, no constants, roots or twins."""
        if node.id in self.absorbed or args[0] is args[-1]:
            return False
        for arg in args:
            form = self.found[arg.id]
            if not isinstance(form, Node) or form.op in (CONST, sqrt, norm):
                return False
        return True


class _Nodes(dict[int, Node]):
    """What became of nodes, by id, for `rebuild_loop`."""

    def __init__(self, algebra: Algebra) -> None:
        super().__init__()
        self._found = algebra.found

    def __missing__(self, number: int) -> Node:
        form = self._found[number]
        assert isinstance(form, Node), "results and operands of loops are never part of a tree"
        return form


def _id(node: Node) -> int:
    return node.id


# ------------------------------------------------------------------------------------ the handlers


def _add(algebra: Algebra, node: Node, sign: int = 1) -> Form:
    x, y = node.args
    if algebra.whole(node, x, y):
        return algebra.plain(node)
    total = gather(algebra.found[x.id], algebra.found[y.id], sign, algebra.arithmetic(node.dtype))
    total.price += algebra.prices.of(node)
    return total


def _sub(algebra: Algebra, node: Node) -> Form:
    return _add(algebra, node, -1)


def _neg(algebra: Algebra, node: Node) -> Form:
    (x,) = node.args
    form = algebra.found[x.id]
    if isinstance(form, Sum):
        form.sign = -form.sign
    else:
        form = algebra.product_of(x)
        form.coefficient = algebra.arithmetic(node.dtype).fit(-form.coefficient)
    form.price += algebra.prices.of(node)
    return form


def _mul(algebra: Algebra, node: Node) -> Form:
    x, y = node.args
    if algebra.whole(node, x, y):
        return algebra.plain(node)
    arithmetic, price = algebra.arithmetic(node.dtype), algebra.prices.of(node)
    for a, b in ((x, y), (y, x)):
        form, other = algebra.found[a.id], algebra.found[b.id]
        number = literal(other) if isinstance(other, Node) else None
        if number is not None and isinstance(form, Sum) and len(form.terms) <= SCALED:
            form.terms = {key: arithmetic.fit(c * number) for key, c in form.terms.items() if number}
            form.price += price
            return form
    return _joined(algebra, node, algebra.product_of(x), algebra.product_of(y))


def _div(algebra: Algebra, node: Node) -> Form:
    x, y = node.args
    if algebra.whole(node, x, y):
        return algebra.plain(node)
    under = algebra.product_of(y)
    if not under.coefficient:
        return algebra.straight(node)
    over = algebra.product_of(x)
    coefficient = algebra.arithmetic(node.dtype).fit(1 / under.coefficient)
    inverse = Product(coefficient, {base: -e for base, e in under.powers.items()}, under.price)
    return _joined(algebra, node, over, inverse)


def _joined(algebra: Algebra, node: Node, x: Product, y: Product) -> Product:
    """Multiply two products, using both up; costs what the smaller has factors."""
    if len(y.powers) > len(x.powers):
        x, y = y, x
    arithmetic = algebra.arithmetic(node.dtype)
    x.coefficient = arithmetic.fit(x.coefficient * y.coefficient)
    x.price += y.price + algebra.prices.of(node)
    if not x.coefficient:
        x.powers = {}
        return x
    for base, exponent in y.powers.items():
        join(x.powers, base, exponent)
    return x


def _pow(algebra: Algebra, node: Node) -> Form:
    x, y = node.args
    exponent = literal(algebra.node_of(y))
    if exponent is None or abs(exponent) > POWER or 2 * exponent != int(2 * exponent) or not exponent:
        return algebra.plain(node)
    arithmetic, price = algebra.arithmetic(node.dtype), algebra.prices.of(node)
    whole = int(exponent)
    if whole != exponent:
        base = algebra.node_of(x)
        powers = {base: whole} if whole else {}
        powers[arithmetic.make(sqrt, base)] = 1 if exponent > 0 else -1
        return Product(1, powers, price)
    product = algebra.product_of(x)
    if abs(product.coefficient) not in (0, 1):
        arithmetic.fit(2.0 ** min(1e4, max(-1e4, whole * float(np.log2(abs(product.coefficient))))))
    product.coefficient = arithmetic.fit(product.coefficient**whole) if product.coefficient else 0
    product.powers = {base: e * whole for base, e in product.powers.items()}
    product.price += price
    return product


def _reduction(algebra: Algebra, node: Node) -> Form:
    form = expand(algebra, node)
    return algebra.plain(node) if form is None else form


_HANDLERS: dict[Op, Callable[[Algebra, Node], Form]] = {
    **{add: _add, sub: _sub, neg: _neg, mul: _mul, div: _div, pow_: _pow},
    **dict.fromkeys(REDUCTIONS, _reduction),
}

__all__ = ["Algebra", "cost", "fast"]
