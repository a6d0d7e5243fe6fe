"""The cheapest way to compute a sum or product: common factors outside, fma, chains as short as can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from hotloop.dtypes import DType
from hotloop.ir.graph import CONST, Node, apply, constant
from hotloop.ir.op import Op
from hotloop.ir.rewrite import Scopes
from hotloop.ops.arith import add, div, fma, mul, neg, sub
from hotloop.passes.collect import ONE, Entry, Monomial, Number, Plain, Product, join
from hotloop.passes.price import Prices

NESTING = 8  # common factors taken out of common factors, at most
CHAIN = 8  # products accumulated by fma one after the other; longer sums get two chains, then four


class Unfit(Exception):
    """A coefficient that the type cannot hold with full precision."""


class Arithmetic:
    """Builds nodes of one dtype, counting what they cost and how late they are ready."""

    def __init__(self, dtype: DType, prices: Prices, scopes: Scopes, ready: dict[int, int], contract: bool) -> None:
        self.dtype = dtype
        self._is_float = dtype.is_float
        self.prices = prices
        self.scopes = scopes
        self.ready = ready  # node id -> length of the longest chain of operations up to it
        self.fma = contract and dtype.is_float
        self.spent = 0
        self.numbers: dict[Number, Node] = {}
        if dtype.is_float:
            limits = np.finfo(dtype.numpy)
            self._least, self._most = float(limits.tiny), float(limits.max)

    # ------------------------------------------------------------------------------- coefficients

    def fit(self, number: Number) -> Number:
        """Return a coefficient as the dtype can hold it: integers wrap, floats must be normal."""
        if self._is_float:
            if number and not self._least <= abs(number) <= self._most:
                raise Unfit
            return number
        low, high = self.dtype.limits
        return number if low <= number <= high else int((number - low) % (2 * (high + 1)) + low)

    def number(self, value: Number) -> Node:
        """Return the node of a coefficient."""
        found = self.numbers.get(value)
        if found is None:
            found = self.numbers[value] = constant(self.fit(value), self.dtype, structural=True)
        return found

    # --------------------------------------------------------------------------------- operations

    def make(self, op: Op, *args: Node) -> Node:
        """Apply a row; what did not exist yet is added to `spent`."""
        return self.adopt(apply(op, *args))

    def adopt(self, node: Node) -> Node:
        """Count a node that was just made."""
        if node.id not in self.ready and node.op is not CONST:
            self.learn(node)
            self.spent += self.prices.of(node)
        return node

    def learn(self, node: Node) -> None:
        """Note when a node is ready and in which loops it runs."""
        ready, args = self.ready, node.args
        latest = 0
        for arg in args:
            when = ready.get(arg.id, 0)
            if when > latest:
                latest = when
        ready[node.id] = self.prices.unit(node.op) + latest
        if self.scopes.trips and node.id not in self.scopes.of:
            self.scopes.of[node.id] = self.scopes.joint(args)

    def _rank(self, node: Node) -> tuple[int, int, int, int]:
        """Outer loops first, then small shapes, then what is ready first."""
        scope = self.scopes.of.get(node.id, 0).bit_count()
        return scope, self.prices.size(node.shape), self.ready.get(node.id, 0), node.id

    def _collapse(self, items: list[tuple[int, Node]], op: Op) -> tuple[int, Node]:
        """Combine signed nodes to one, cheap and early ones first, in a chain as short as can be."""
        if len(items) < 3:
            if len(items) == 2:
                self._merge(items, op)
            return items[0]
        ranks = sorted([(*self._rank(item[1]), k) for k, item in enumerate(items)])
        stack: list[tuple[int, Node]] = []
        last: tuple[int, int] | None = None
        for scope, size, ready, _, k in ranks:
            fresh = (scope, size) != last
            while len(stack) > 1 and (fresh or self._ready(stack[-1]) < ready):
                self._merge(stack, op)
            last = (scope, size)
            stack.append(items[k])
            while len(stack) > 1 and self._ready(stack[-2]) <= self._ready(stack[-1]):
                self._merge(stack, op)
        while len(stack) > 1:
            self._merge(stack, op)
        return stack[0]

    def _ready(self, item: tuple[int, Node]) -> int:
        return self.ready.get(item[1].id, 0)

    def _merge(self, stack: list[tuple[int, Node]], op: Op) -> None:
        sign_y, y = stack.pop()
        sign_x, x = stack.pop()
        if op is mul:
            stack.append((sign_x * sign_y, self.make(mul, x, y)))
        elif sign_x == sign_y:
            stack.append((sign_x, self.make(add, x, y)))
        elif sign_x > 0:
            stack.append((1, self.make(sub, x, y)))
        else:
            stack.append((1, self.make(sub, y, x)))

    # ----------------------------------------------------------------------------------- products

    def multiply(self, factors: list[Node]) -> Node:
        """Return the product of nodes."""
        return factors[0] if len(factors) == 1 else self._collapse([(1, node) for node in factors], mul)[1]

    def _raise(self, powers: list[tuple[Node, int]], first: Iterable[Node] = ()) -> list[Node]:
        """Return factors whose product is that of positive powers: squares of squares, shared."""
        factors = [*first, *[base for base, exponent in powers if exponent & 1]]
        halves = [(base, exponent >> 1) for base, exponent in powers if exponent > 1]
        if halves:
            root = self.multiply(self._raise(halves))
            factors.append(self.make(mul, root, root))
        return factors

    def scaled(self, coefficient: Number, node: Node) -> Node:
        """Return coefficient * node."""
        if coefficient == 1:
            return node
        if coefficient == -1:
            return self.make(neg, node)
        return self.make(mul, node, self.number(coefficient))

    def product(self, coefficient: Number, powers: Iterable[tuple[Node, int]]) -> Node:
        """Return coefficient times powers, with one division at most."""
        powers = list(powers)
        over = [(base, exponent) for base, exponent in powers if exponent > 0]
        under = [(base, -exponent) for base, exponent in powers if exponent < 0]
        if not powers or not coefficient:
            return self.number(coefficient)
        if not over:
            return self.make(div, self.number(coefficient), self.multiply(self._raise(under)))
        factors = self._raise(over, [] if coefficient in (1, -1) else [self.number(coefficient)])
        if coefficient == -1:  # the smallest factor takes the sign
            factors.sort(key=self._rank)
            factors[0] = self.make(neg, factors[0])
        node = self.multiply(factors)
        return self.make(div, node, self.multiply(self._raise(under))) if under else node

    # --------------------------------------------------------------------------------------- sums

    def sum(self, terms: dict[Monomial, Number], nesting: int = NESTING) -> tuple[Number, Node]:
        """Return (coefficient, node) whose product is the sum: what all terms share stays outside."""
        offset = terms.get(ONE, 0)
        entries: list[Entry] = [(c, key) for key, c in terms.items() if key is not ONE]
        if not entries:
            return 1, self.number(offset)
        if nesting and sum([isinstance(key, tuple) for _, key in entries]) > 1:
            entries = list(self._factored(entries, nesting))
        groups: dict[Number, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(abs(entry[0]), []).append(entry)
        if len(groups) == 1 and not offset:
            ((coefficient, group),) = groups.items()
            sign, node = self._signed(group)
            return sign * coefficient, node
        return self._weighted(groups, offset)

    def _weighted(self, groups: dict[Number, list[Entry]], offset: Number) -> tuple[Number, Node]:
        """Sum groups of terms that have one magnitude each."""
        plain: list[Entry] = []
        for coefficient, group in groups.items():
            if coefficient == 1 or len(group) == 1:
                plain.extend(group)
            else:
                sign, node = self._signed(group)
                plain.append((sign * coefficient, node))
        return self._signed(plain, offset)

    def _signed(self, entries: list[Entry], offset: Number = 0) -> tuple[Number, Node]:
        """Add entries up; magnitudes are multiplied in only if they differ or there is an offset."""
        magnitudes = {abs(c) for c, _ in entries}
        unit = len(magnitudes) == 1 and not offset
        items: list[tuple[int, Node]] = [(1, self.number(offset))] if offset else []
        pending: list[tuple[int, Node, Node]] = []
        for c, key in entries:
            weight, sign = 1 if unit else abs(c), 1 if c > 0 else -1
            split = None
            if self.fma and len(entries) + len(items) > 1:
                if weight != 1:  # the constant takes the sign
                    weight, sign = sign * weight, 1
                split = self._split(weight, key)
            if split is not None:
                pending.append((sign, *split))
            elif isinstance(key, tuple):
                items.append((sign, self.product(weight, key)))
            else:
                items.append((sign, self.scaled(weight, key)))
        if pending:
            self._accumulate(items, pending)
        return self._collapse(items, add)

    def chains(self, total: Plain) -> Node:
        """Add up a plain sum, early products first, by a chain or a few of fma."""
        items: list[tuple[int, Node]] = [(1, self.number(total.offset))] if total.offset else []
        products: list[tuple[int, Node, Node]] = []
        for node, c in total.nodes.items():
            if c == 1 or c == -1:
                items.append((int(c), node))
            elif c:
                products.append((1, self.number(c), node))
        ready = self.ready
        for (p, q), c in total.products.items():
            if ready.get(p.id, 0) > ready.get(q.id, 0):  # as in `_split`: the early factor is overwritten
                p, q = q, p
            if c == 1 or c == -1:
                products.append((int(c), p, q))
            elif c:
                products.append((1, p, self.make(mul, self.number(c), q)))
        if not self.fma or len(items) + len(products) < 2:
            items += [(sign, self.make(mul, p, q)) for sign, p, q in products]
            return self.scaled(*self._collapse(items, add)) if items else self.number(0)
        if len(products) > 1:
            products.sort(key=self._late)
        for wanted in (1, -1):
            group = [product for product in products if product[0] == wanted]
            count = _parallel(len(group))
            for start in range(count):
                begin = next((k for k, item in enumerate(items) if item[0] == wanted), None) if start == 0 else None
                sum_ = None if begin is None else items.pop(begin)[1]
                for _, p, q in group[start::count]:
                    sum_ = self.make(mul, p, q) if sum_ is None else self.make(fma, p, q, sum_)
                assert sum_ is not None
                items.append((wanted, sum_))
        return self.scaled(*self._collapse(items, add))

    def _late(self, product: tuple[int, Node, Node]) -> int:
        return max(self.ready.get(product[1].id, 0), self.ready.get(product[2].id, 0))

    def _split(self, weight: Number, key: Monomial) -> tuple[Node, Node] | None:
        """Return a term as two factors for fma, or None if it is no product."""
        if not isinstance(key, tuple):
            return None if weight == 1 else (self.number(weight), key)
        if any(exponent < 0 for _, exponent in key):
            return None
        factors = self._raise(list(key), [] if weight == 1 else [self.number(weight)])
        if len(factors) < 2:  # a square, already made: x*x + y -> fma(x, x, y) is left to `product`
            return None
        factors.sort(key=self._rank)
        return self.multiply(factors[:-1]), factors[-1]

    def _accumulate(self, items: list[tuple[int, Node]], pending: list[tuple[int, Node, Node]]) -> None:
        """Turn products to add into chains of fma, a few side by side if there are many."""
        for wanted in (1, -1):
            products = [(p, q) for sign, p, q in pending if sign == wanted]
            chains = _parallel(len(products))
            for start in range(chains):
                begin = next((k for k, item in enumerate(items) if item[0] == wanted and self._joins(item[1], products[start])), None)
                total = items.pop(begin)[1] if begin is not None and start == 0 else None
                for p, q in products[start::chains]:
                    total = self.make(mul, p, q) if total is None else self.make(fma, p, q, total)
                assert total is not None
                items.append((wanted, total))

    def _joins(self, node: Node, factors: tuple[Node, Node]) -> bool:
        """Whether adding `node` to a product first costs nothing: same shape, same loop."""
        scope = self.scopes.joint(factors)
        shape = max((f.shape for f in factors), key=self.prices.size)
        return node.shape == shape and self.scopes.of.get(node.id, 0) == scope

    # ----------------------------------------------------------------------------- common factors

    def _factored(self, entries: list[Entry], nesting: int) -> Iterator[Entry]:
        """Take bases that several products share out of them: a*x + a*y -> a*(x + y)."""
        places = _shared(entries)
        if not places:
            yield from entries
            return
        taken = [False] * len(entries)
        for (base, positive), members in sorted(places.items(), key=lambda place: (-len(place[1]), place[0][0].id)):
            group = [k for k in members if not taken[k]]
            if sum(isinstance(entries[k][1], tuple) for k in group) < 2:
                continue
            for k in group:
                taken[k] = True
            least = min(_exponent(entries[k][1], base) for k in group) if positive else -1
            inner: dict[Monomial, Number] = {}
            for k in group:
                coefficient, key = entries[k]
                rest = _without(key, base, least)
                inner[rest] = inner.get(rest, 0) + coefficient
            coefficient, node = self.sum(inner, nesting - 1)
            powers = {base: least}
            join(powers, node, 1)
            yield coefficient, Product(1, powers, 0).monomial()
        for k, entry in enumerate(entries):
            if not taken[k]:
                yield entry


def _parallel(products: int) -> int:
    """Return how many chains of fma run side by side: as few as hide its latency, for each ends in an addition."""
    return min(1, products) if products <= CHAIN else 2 if products <= 2 * CHAIN else 4


def _shared(entries: list[Entry]) -> dict[tuple[Node, bool], list[int]]:
    """Return for each base of a product the entries that have it, if they are several."""
    places: dict[tuple[Node, bool], list[int]] = {}
    for k, (_, key) in enumerate(entries):
        if isinstance(key, tuple):
            for base, exponent in key:
                places.setdefault((base, exponent > 0), []).append(k)
    places = {place: members for place, members in places.items() if len(members) > 1}
    if places:
        for k, (_, key) in enumerate(entries):
            if not isinstance(key, tuple) and (key, True) in places:
                places[key, True].append(k)
    return places


def _exponent(key: Monomial, base: Node) -> int:
    return dict(key)[base] if isinstance(key, tuple) else 1


def _without(key: Monomial, base: Node, exponent: int) -> Monomial:
    """Return a monomial divided by base ** exponent."""
    if not isinstance(key, tuple):
        return ONE
    rest = tuple([(b, e - exponent) if b is base else (b, e) for b, e in key if b is not base or e != exponent])
    return rest[0][0] if len(rest) == 1 and rest[0][1] == 1 else rest
