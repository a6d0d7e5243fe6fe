"""Places and conditions that are linear in an index: on which ranges of it loads stay inside arrays, and what conditions are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hotloop.dtypes import int64
from hotloop.ir.graph import CONST, Node
from hotloop.ir.op import REGISTRY
from hotloop.ops.shape import length_of

_ADD, _SUB = REGISTRY["add"], REGISTRY["sub"]
_LT, _LE, _GT, _GE = (REGISTRY[name] for name in ("lt", "le", "gt", "ge"))


@dataclass(frozen=True, slots=True)
class Affine:
    """step * index + the sum of factor * node over `terms` + constant; no factor is 0, terms ascend by id."""

    step: int
    terms: tuple[tuple[int, int], ...]  # (id of the node, factor)
    constant: int

    def plus(self, other: Affine, factor: int = 1) -> Affine:
        """Return self + factor * other."""
        terms = dict(self.terms)
        for number, times in other.terms:
            terms[number] = terms.get(number, 0) + factor * times
        left = tuple(sorted((number, times) for number, times in terms.items() if times))
        return Affine(self.step + factor * other.step, left, self.constant + factor * other.constant)

    def plus_number(self, number: int) -> Affine:
        """Return self + number."""
        return Affine(self.step, self.terms, self.constant + number)


@dataclass(frozen=True, slots=True)
class Fact:
    """That a linear expression is not negative."""

    of: Affine

    def opposite(self) -> Fact:
        """Return that it is negative."""
        return Fact(Affine(0, (), -1).plus(self.of, -1))

    def implies(self, other: Fact) -> bool:
        """Whether the other one holds where this does."""
        return (self.of.step, self.of.terms) == (other.of.step, other.of.terms) and self.of.constant <= other.of.constant

    def excludes(self, other: Fact) -> bool:
        """Whether both never hold."""
        both = self.of.plus(other.of)
        return not both.step and not both.terms and both.constant < 0


class Analysis:
    """Linear expressions of one index; nodes that `varies` does not hold for are terms."""

    def __init__(self, index: Node, varies: Callable[[Node], bool]) -> None:
        self.index = index
        self.varies = varies
        self.nodes: dict[int, Node] = {}  # the terms, by id
        self._known: dict[int, Affine | None] = {}

    def affine(self, node: Node) -> Affine | None:
        """Return an int64 as a linear expression, or None if it is none."""
        if node.id not in self._known:
            self._known[node.id] = self._affine(node)
        return self._known[node.id]

    def _affine(self, node: Node) -> Affine | None:
        if node is self.index:
            return Affine(1, (), 0)
        if node.op is CONST:
            return Affine(0, (), int(node.attr.value))
        if node.op in (_ADD, _SUB):
            x, y = [self.affine(arg) for arg in node.args]
            return None if x is None or y is None else x.plus(y, 1 if node.op is _ADD else -1)
        if self.varies(node):
            return None
        self.nodes[node.id] = node
        return Affine(0, ((node.id, 1),), 0)

    def fact(self, condition: Node) -> Fact | None:
        """Return a comparison of int64 that depends on the index as a fact, or None if it is none."""
        if condition.op not in (_LT, _LE, _GT, _GE) or condition.args[0].dtype is not int64:
            return None
        x, y = [self.affine(arg) for arg in condition.args]
        if x is None or y is None:
            return None
        low, high = (x, y) if condition.op in (_LT, _LE) else (y, x)
        found = high.plus(low, -1)
        if condition.op in (_LT, _GT):
            found = found.plus_number(-1)
        return Fact(found) if abs(found.step) == 1 else None

    def inside(self, array: Node, place: Affine) -> list[Fact]:
        """Return the facts that a place lies in an array."""
        count = self.affine(length_of(array, (0,)))
        assert count is not None, "a length varies with nothing"
        return [Fact(place), Fact(count.plus(place, -1).plus_number(-1))]


def settled(condition: Fact, facts: Iterable[Fact]) -> bool | None:
    """Return what facts say of a condition, None if nothing."""
    opposite = condition.opposite()
    for fact in facts:
        if fact.implies(condition):
            return True
        if fact.implies(opposite):
            return False
    return None


def possible(facts: Iterable[Fact]) -> bool:
    """Whether no two facts exclude each other."""
    known = list(facts)
    return not any(x.excludes(y) for k, x in enumerate(known) for y in known[:k])


def strongest(facts: Iterable[Fact]) -> list[Fact]:
    """Return facts without those that others imply, and without that an index is not negative."""
    found: dict[tuple[int, tuple[tuple[int, int], ...]], Fact] = {}
    for fact in facts:
        key = fact.of.step, fact.of.terms
        if key not in found or fact.of.constant < found[key].of.constant:
            found[key] = fact
    return [fact for fact in found.values() if not (fact.of.step == 1 and not fact.of.terms and fact.of.constant >= 0)]


__all__ = ["Affine", "Analysis", "Fact", "possible", "settled", "strongest"]
