"""`Sequence`: the operations of one scope in order, as arrays of numbers in which repetitions can be looked for.

A scope is a program outside its loops, or the body of one loop. Leaves are what a scope only reads:
constants, cells, elements of arrays in memory, params, and what is computed outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hotloop import _graph
from hotloop.ir.graph import CONST, INPUT, PARAM, STATE, Node
from hotloop.ir.loop import dependents
from hotloop.ir.op import Op
from hotloop.ops.shape import take
from hotloop.passes.unroll import LOOKUP

Ints = np.ndarray[Any, np.dtype[np.int64]]

SLOTS = 3  # operands of a row at most
NONE = -1  # no operand in a slot; a leaf is its number, as -2 - number

_CELLS = (INPUT, STATE)
_LEAVES = (CONST, *_CELLS, PARAM)


class Operations:
    """The operations of a scope and where their operands are.

    nodes: in an order in which operands come before users; leaves: what they read besides.
    kinds: for each operation a number, equal for what may be one instruction of a loop.
    operands: SLOTS rows of positions in `nodes`; leaves are negative. swaps: whether the first two operands may be swapped.
    shapes: `kinds` with the kinds of leaves, by which periods are guessed. last: the position of the last user, or `beyond` for
    what the scope gives.
    """

    def __init__(self, nodes: Sequence[Node], outputs: Iterable[Node]) -> None:
        """Give numbers to the operations `nodes`, operands first, of a scope that gives `outputs`."""
        self.nodes = list(nodes)
        self.leaves: list[Node] = []
        self.beyond = len(self.nodes)
        count = len(self.nodes)
        self.position = {node.id: i for i, node in enumerate(self.nodes)}
        self._others: list[int] = []  # positions of what loops cannot repeat
        self._leaf_numbers: dict[int, int] = {}
        self._kind_numbers: dict[object, int] = {}
        self._leaf_kinds: list[int] = []
        self.kinds: Ints = np.empty(count, np.int64)
        self.operands: Ints = np.full((SLOTS, count), NONE, np.int64)
        self.swaps = np.zeros(count, bool)
        self._number_all()
        self.last = self._last_uses(outputs)
        self.shapes = self._shapes()
        self._rows: dict[int, tuple[list[Node], int]] | None = None

    def at(self, place: int) -> Node:
        """Return the node that an entry of `operands` stands for."""
        return self.nodes[place] if place >= 0 else self.leaves[-2 - place]

    def row_of(self, node: Node) -> tuple[list[Node], int] | None:
        """Return the scalar cells that lie beside a cell in memory, itself among them, and its place; None of others."""
        if node.shape or node.op not in _CELLS:
            return None
        self._rows = self._rows_of_cells() if self._rows is None else self._rows
        return self._rows[node.id]

    def _rows_of_cells(self) -> dict[int, tuple[list[Node], int]]:
        """Return for each scalar cell those that lie beside it, and its place among them: memory has the order of ids."""
        seen = {leaf.id: leaf for node in self.leaves for leaf in (node, *node.args) if leaf.op in _CELLS}
        rows: dict[int, tuple[list[Node], int]] = {}
        row: list[Node] = []
        for number in sorted(seen):
            cell = seen[number]
            if cell.shape or not row or row[0].dtype is not cell.dtype:
                row = []
            if not cell.shape:
                rows[number] = row, len(row)
                row.append(cell)
        return rows

    def _number_all(self) -> None:
        kinds, numbers, position, leaf = self._kind_numbers, [], self.position.get, self._leaf
        plain: dict[Op, bool] = {}
        columns: list[list[int]] = [[NONE] * len(self.nodes) for _ in range(SLOTS)]
        for i, node in enumerate(self.nodes):
            op, args = node.op, node.args
            known = plain.get(op)
            if known is None:
                known = plain[op] = is_plain(node)
            if not known:
                self._others.append(i)
                numbers.append(kinds.setdefault(node.id, len(kinds)))
                continue
            array = args[0].id if op is LOOKUP else None  # there are no tables of arrays
            numbers.append(kinds.setdefault((op, node.dtype, node.attr, args[-1].dtype, array), len(kinds)))
            for slot, arg in enumerate(args):
                place = position(arg.id)
                columns[slot][i] = leaf(arg) if place is None else place
            if op.commutative:
                self.swaps[i] = True
                if columns[0][i] < 0 <= columns[1][i]:
                    columns[0][i], columns[1][i] = columns[1][i], columns[0][i]
        self.kinds[:] = numbers
        self.operands[:] = columns

    def _leaf(self, node: Node) -> int:
        number = self._leaf_numbers.get(node.id)
        if number is None:
            number = self._leaf_numbers[node.id] = len(self.leaves)
            self.leaves.append(node)
            key = ("leaf", node.op, node.dtype, node.args[0].id if node.op is take else None)
            self._leaf_kinds.append(self._kind_numbers.setdefault(key, len(self._kind_numbers)))
        return -2 - number

    def _last_uses(self, outputs: Iterable[Node]) -> Ints:
        last: Ints = np.full(len(self.nodes), -1, np.int64)
        for row in self.operands:
            users = np.nonzero(row >= 0)[0]
            np.maximum.at(last, row[users], users)
        position = self.position
        for i in self._others:
            for arg in self.nodes[i].args:
                for source in (arg, *(arg.args if is_leaf(arg) else ())):
                    place = position.get(source.id)
                    if place is not None:
                        last[place] = max(last[place], i)
        for output in outputs:
            if output.id in position:
                last[position[output.id]] = self.beyond
        return last

    def _shapes(self) -> Ints:
        kinds = np.array([*self._leaf_kinds, 0], np.int64) + 1
        found = self.kinds * 1_000_003
        for row in self.operands:
            leaf = np.where(row < NONE, kinds[np.clip(-2 - row, 0, len(kinds) - 1)], 0)
            found = found * 31 + np.where(row >= 0, 7, leaf)
        return found


def is_plain(node: Node) -> bool:
    """Whether a node is an operation that loops can repeat: a scalar row, or a look-up."""
    return (bool(node.op.types.overloads) or node.op is LOOKUP) and len(node.args) <= SLOTS


def is_leaf(node: Node) -> bool:
    """Whether a node is nothing that is computed: a constant, a cell, a param, an element in memory."""
    return node.op in _LEAVES or node.op is take


def operations(outputs: Sequence[Node], variables: Sequence[Node]) -> list[Node]:
    """Return what a scope computes, operands first; variables: the params of its loop, none outside of loops."""
    found = dependents(outputs, variables) if variables else _graph.reachable(list(outputs), lambda _: ())
    return [node for node in found if not is_leaf(node)]


def line_through(places: Sequence[int]) -> tuple[int, int] | None:
    """Return (first, step) of numbers that ascend or descend evenly, else None."""
    first, step = places[0], places[1] - places[0]
    return (first, step) if all(place == first + i * step for i, place in enumerate(places)) else None
