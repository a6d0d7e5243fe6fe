"""Keeping in memory what a nest of loops would compute again and again: what depends on an inner index but not on an outer one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hotloop.dtypes import int64
from hotloop.ir.graph import ITEM, LOOP, Node, apply, param_node
from hotloop.ir.loop import substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import AT, Allocate, Fold, Inner, Operator, Scan, Step, Store, Sweep, array_register, at
from hotloop.ops.algebra import equals
from hotloop.passes.adjoint.adjoints import in_registers
from hotloop.passes.adjoint.loops import ZERO, Dim, depends

add, sub, mul, maximum = (REGISTRY[name] for name in ("add", "sub", "mul", "maximum"))
LONG = 10  # operations that an elementary function is counted as
DEAR = 12  # operations that are rather kept in memory than computed again for each element that needs them


def cost(node: Node) -> int:
    """Return about how many operations a node takes; loops are many."""
    return sum(_price(inner) for inner in walk([node]) if inner.args and inner.op not in (AT, ITEM))


def _price(node: Node) -> int:
    return 100 if node.op is LOOP else LONG if any(node.op.ulp) else 1


def sweep_over(dim: Dim) -> tuple[Node, Node, dict[int, Node]]:
    """Return the count and index of a sweep over a dim, and the dim's index in terms of it."""
    if equals(dim.low, 0):
        return dim.high, dim.index, {}
    index = param_node(int64, ())
    return dim.extent, index, {dim.index.id: apply(add, dim.low, index)}


@dataclass(slots=True)
class Rows:
    """A sweep over one dim with another inside.

    Count, index, the outer index by that, loop; and by the indices of the dims where a pair of them lies among all `total`.
    """

    count: Node
    index: Node
    mapping: dict[int, Node]
    inner: Inner
    place: Node
    total: Node

    @classmethod
    def of(cls, outer: Dim, inner: Dim, steps: list[Step]) -> Rows:
        """Append the steps that find out how many pairs there are."""
        count, row, mapping = sweep_over(outer)
        width = apply(maximum, inner.extent, ZERO)
        width, low, high = substitute([width, inner.low, inner.high], mapping)
        if not depends(width, [row]):
            (total,) = in_registers([apply(mul, apply(maximum, count, ZERO), width)], steps)
            start = apply(mul, row, width)
        else:
            offsets, total = array_register(int64), param_node(int64, ())
            left, right = param_node(int64, ()), param_node(int64, ())
            plus = Operator((left,), (right,), (apply(add, left, right),))
            steps.extend([
                Allocate(offsets, count), Sweep(count, row, (Scan((offsets,), row, plus, (width,), (ZERO,), True),)),
                Sweep(count, row, (Fold(total, add, width),)),
            ])  # fmt: skip
            start = at(offsets, row)
        if mapping:
            (start,) = substitute([start], {row.id: apply(sub, outer.index, outer.low)})
        place = apply(add, start, apply(sub, inner.index, inner.low))
        return cls(count, row, mapping, Inner(inner.index, low, high), place, total)

    def sweep(self, arrays: Sequence[Node], nodes: Sequence[Node]) -> Sweep:
        """Return the sweep that stores nodes for all pairs."""
        place, *moved = substitute([self.place, *nodes], self.mapping)
        stores = tuple([Store(array, place, node) for array, node in zip(arrays, moved, strict=True)])
        return Sweep(self.count, self.index, stores, self.inner)


def kept_in_memory(dims: Sequence[Dim], nodes: Sequence[Node], steps: list[Step]) -> list[Node]:
    """Append steps that store nodes for all indices of one or two dims; return the loads that give them back."""
    arrays = [array_register(node.dtype) for node in nodes]
    if len(dims) == 2:
        rows = Rows.of(dims[0], dims[1], steps)
        steps.extend([*[Allocate(array, rows.total) for array in arrays], rows.sweep(arrays, nodes)])
        return [at(array, rows.place) for array in arrays]
    count, index, mapping = sweep_over(dims[0])
    stores = [Store(array, index, node) for array, node in zip(arrays, substitute(nodes, mapping), strict=True)]
    steps.extend([*[Allocate(array, count) for array in arrays], Sweep(count, index, tuple(stores))])
    place = dims[0].index if not mapping else apply(sub, dims[0].index, dims[0].low)
    return [at(array, place) for array in arrays]


class Hoist:
    """Hoists what is dear out of loops, the same thing once. dims: all dims, in the order in which the sweep has them."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self._loads: dict[int, Node] = {}

    def hoisted(self, nest: Sequence[Dim], dims: Sequence[Dim], values: Sequence[Node]) -> list[Node]:
        """Return values, of which what is dear and would be computed in a loop that it does not depend on is in memory.

        nest: dims in the order of the loops, the outermost first; dims: the same in the order in which bounds depend on them.
        """
        found: dict[int, dict[int, Node]] = {}
        for value in values:
            _collect(value, nest, found)
        for mask, nodes in found.items():
            inside = {dim.index.id for k, dim in enumerate(nest) if mask >> k & 1}
            over = [dim for dim in dims if dim.index.id in inside]
            new = [node for node in nodes.values() if node.id not in self._loads]
            if new and len(over) <= 2:
                self._loads.update(zip([node.id for node in new], kept_in_memory(over, new, self.steps), strict=True))
        wanted = {number for nodes in found.values() for number in nodes}
        return substitute(values, {number: load for number, load in self._loads.items() if number in wanted})


def _collect(value: Node, nest: Sequence[Dim], found: dict[int, dict[int, Node]]) -> None:
    """Find the largest dear graphs within a value that depend on dims which are not the outermost ones, by those dims."""
    masks = _masks(value, nest)
    outermost = {(1 << k) - 1 for k in range(len(nest) + 1)}
    stack, seen = [value], {value.id}
    while stack:
        node = stack.pop()
        mask = masks[node.id]
        if mask not in outermost and node.op is not LOOP and cost(node) > DEAR and _bounds_within(mask, nest):
            found.setdefault(mask, {})[node.id] = node
            continue
        for arg in node.args:
            if arg.id not in seen and masks[arg.id]:
                seen.add(arg.id)
                stack.append(arg)


def _bounds_within(mask: int, nest: Sequence[Dim]) -> bool:
    """Whether the bounds of some dims depend on no other dims."""
    others = [dim.index for k, dim in enumerate(nest) if not mask >> k & 1]
    return not any(depends(node, others) for k, dim in enumerate(nest) if mask >> k & 1 for node in (dim.low, dim.high))


def _masks(value: Node, nest: Sequence[Dim]) -> dict[int, int]:
    """Return for each node which dims it depends on, as bits."""
    bits = {dim.index.id: 1 << k for k, dim in enumerate(nest)}
    found: dict[int, int] = {}
    for node in walk([value]):
        mask = bits.get(node.id, 0)
        for arg in node.args:
            mask |= found[arg.id]
        found[node.id] = mask
    return found


__all__ = ["DEAR", "Hoist", "Rows", "cost", "kept_in_memory", "sweep_over"]
