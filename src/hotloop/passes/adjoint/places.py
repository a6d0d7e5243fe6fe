"""Places of elements in terms of indices: where they are linear, and where no two combinations of indices have one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hotloop.dtypes import int64
from hotloop.ir.graph import Node, apply, constant
from hotloop.ir.op import REGISTRY
from hotloop.ops.algebra import equals
from hotloop.passes.adjoint.loops import ONE, ZERO, Dim, depends
from hotloop.passes.sweeps.affine import Affine, Analysis

add, sub, mul, select, maximum = (REGISTRY[name] for name in ("add", "sub", "mul", "select", "maximum"))
OUTSIDE = constant(-1, int64, structural=False)
Bounds = frozenset[tuple[int, int]]  # ids of lengths of which the first is known to be at most the second, if anything runs below it


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """place = step * index + offset where `condition` holds, if there is one; elsewhere it is `other`."""

    place: Node
    step: int
    offset: Node
    condition: Node | None = None
    other: Node | None = None


def linear(place: Node, dim: Dim) -> Linear | None:
    """Return a place as a linear expression of an index, None if it is none."""
    analysis = Analysis(dim.index, lambda node: depends(node, [dim.index]))
    found = analysis.affine(place)
    if found is not None and found.step:
        return Linear(place, found.step, _offset(found, analysis))
    if place.op is select and not depends(place.args[2], [dim.index]):
        found = analysis.affine(place.args[1])
        if found is not None and found.step:
            return Linear(place.args[1], found.step, _offset(found, analysis), place.args[0], place.args[2])
    return None


def _offset(found: Affine, analysis: Analysis) -> Node:
    total = constant(found.constant, int64, structural=False)
    for number, factor in found.terms:
        total = apply(add, total, apply(mul, analysis.nodes[number], constant(factor, int64, structural=False)))
    return total


def is_row_major(place: Node, dims: Sequence[Dim], bounds: Bounds) -> bool:
    """Whether a place is outer * width + inner + something, for an inner index that takes no more than `width` values."""
    steps = _steps(place, [dim.index for dim in dims])
    if steps is None:
        return False
    return any(
        equals(steps.get(inner.index.id, ZERO), 1) and _fits(inner, steps.get(outer.index.id, ZERO), bounds)
        for inner, outer in (dims, dims[::-1])
    )


def _fits(dim: Dim, width: Node, bounds: Bounds) -> bool:
    """Whether an index that is not negative is known to stay below a width."""
    if not dim.low.is_const or dim.low.attr.value < 0:
        return False
    names: list[Node] = []
    stack = [dim.high]
    while stack:  # what is at least as large as the bound, unless that is negative
        node = stack.pop()
        names.append(node)
        if node.op is maximum:
            stack += [arg for arg in node.args if not arg.is_const]
        elif node.op is sub and node.args[1].is_const and node.args[1].attr.value >= 0:
            stack.append(node.args[0])
        elif node.op is add and node.args[0].is_const and node.args[0].attr.value <= 0:
            stack.append(node.args[1])
    return width in names or any((name.id, width.id) in bounds for name in names)


def _steps(place: Node, indices: Sequence[Node]) -> dict[int, Node] | None:
    """Return by how much a place grows with each index, None if it is not linear in them."""
    if place in indices:
        return {place.id: ONE}
    if not depends(place, indices):
        return {}
    if place.op is add:
        found, other = [_steps(arg, indices) for arg in place.args]
        if found is None or other is None:
            return None
        return found | {number: apply(add, found[number], step) if number in found else step for number, step in other.items()}
    if place.op is sub and not depends(place.args[1], indices):
        return _steps(place.args[0], indices)
    if place.op is mul:
        x, y = place.args if depends(place.args[0], indices) else place.args[::-1]
        inner = None if depends(y, indices) else _steps(x, indices)
        return None if inner is None else {number: apply(mul, step, y) for number, step in inner.items()}
    return None


__all__ = ["OUTSIDE", "Bounds", "Linear", "is_row_major", "linear"]
