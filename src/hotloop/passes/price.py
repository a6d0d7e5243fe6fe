"""What operations cost, in additions: the model by which algebra keeps the cheaper of two forms."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hotloop.ir.graph import CONST, INPUT, ITEM, LOOP, PARAM, STATE, Node, Shape
from hotloop.ir.op import Op
from hotloop.ir.rewrite import Scopes, walk
from hotloop.ops import arith, shape

DIVISION = 5
ELEMENTARY = 15
LONG = 1024  # elements for which a length that is a run-time value is taken

_FREE = {CONST, INPUT, STATE, PARAM, LOOP, ITEM, shape.broadcast, shape.reshape}
_DIVISIONS = {arith.div, arith.sqrt, arith.floordiv, arith.mod}


def _unit(op: Op) -> int:
    if op in _FREE:
        return 0
    if op in _DIVISIONS:
        return DIVISION
    return ELEMENTARY if any(op.ulp) else 1


class Prices:
    """The price of a row on a shape, remembered; one of these lives as long as a pass."""

    def __init__(self) -> None:
        self._units: dict[Op, int] = {}
        self._sizes: dict[Shape, int] = {(): 1}

    def size(self, shape: Shape) -> int:
        """Return the number of elements of a shape."""
        found = self._sizes.get(shape)
        if found is None:
            found = self._sizes[shape] = math.prod(length if isinstance(length, int) else LONG for length in shape)
        return found

    def unit(self, op: Op) -> int:
        """Return the price of a row per element."""
        found = self._units.get(op)
        if found is None:
            found = self._units[op] = _unit(op)
        return found

    def of(self, node: Node) -> int:
        """Return the price of computing a node once."""
        op = node.op
        if not node.shape and op.lower is None:
            return self.unit(op)
        if op is shape.matmul:
            left = node.args[0].shape
            return 2 * left[-1] * self.size(node.shape)
        if op.lower is not None and node.args:  # reductions read more than they write
            return self.unit(op) * max(self.size(node.shape), self.size(node.args[0].shape))
        return self.unit(op) * self.size(node.shape)


def cost(outputs: Iterable[Node]) -> int:
    """Return the price of one run of a program, in additions.

    Addition and multiplication 1, division and square root 5, elementary functions 15, array rows
    times their size; what is in a loop counts for each trip, in a while loop for ten.
    """
    nodes = walk(outputs)
    prices, scopes = Prices(), Scopes(nodes)
    if not scopes.trips:
        return sum(map(prices.of, nodes))
    return sum(prices.of(node) * scopes.repeats(node) for node in nodes)
