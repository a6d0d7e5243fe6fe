"""Steps that add parts of derivatives to where they belong: sums where only sums are needed, stores where no two parts
meet at one element, and sequential scatters where they may.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hotloop.dtypes import int64
from hotloop.ir.graph import LOOP, Node, apply, constant, param_node
from hotloop.ir.loop import dependents, substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import (
    AT, Allocate, Effect, Fold, Inner, Operator, Scan, Scatter, Step, Store, Sweep, array_register, at,
)  # fmt: skip
from hotloop.ops.algebra import absorbs, equals
from hotloop.passes.affine import Analysis
from hotloop.passes.sweep_adjoints import Adjoints, in_registers
from hotloop.passes.sweep_loops import ONE, ZERO, Dim, depends, summed, zero
from hotloop.passes.sweep_parts import Part

add, sub, mul, select, maximum = (REGISTRY[name] for name in ("add", "sub", "mul", "select", "maximum"))
floordiv, mod = REGISTRY["floordiv"], REGISTRY["mod"]
DEAR = 12  # operations that are rather kept in memory than computed again for each element that needs them
_OUTSIDE = constant(-1, int64, structural=False)


@dataclass(slots=True)
class _Group:
    """Parts over the same dims: `kept` decide the place, `over` are summed."""

    kept: tuple[Dim, ...]
    over: tuple[Dim, ...]
    parts: list[Part]


@dataclass(slots=True)
class _Rows:
    """A sweep with an inner loop: count, index, outer index by that, loop, and the place of a pair of indices among all `total`."""

    count: Node
    index: Node
    mapping: dict[int, Node]
    inner: Inner
    place: Node
    total: Node


def add_parts(parts: Iterable[Part], adjoints: Adjoints, distinct: Iterable[Node] = ()) -> None:
    """Append steps that add parts to derivatives. distinct: places of which no two elements of a sweep have one."""
    writer = _Writer(adjoints, {node.id for node in distinct})
    groups: dict[tuple[int, ...], _Group] = {}
    for part in parts:
        kept = _kept(part)
        over = tuple([dim for dim in part.dims if dim not in kept])
        key = (*[dim.index.id for dim in kept], -1, *[dim.index.id for dim in over], -1, *[dim.high.id for dim in part.dims])
        groups.setdefault(key, _Group(kept, over, [])).parts.append(part)
    for group in groups.values():
        writer.add(group)


def _kept(part: Part) -> tuple[Dim, ...]:
    """Return the dims that the place depends on, and those that the bounds of these depend on."""
    kept: set[int] = set()
    nodes = [] if part.place is None else [part.place]
    for dim in reversed(part.dims):
        if nodes and dependents(nodes, [dim.index]):
            kept.add(dim.index.id)
            nodes += [dim.low, dim.high]
    return tuple([dim for dim in part.dims if dim.index.id in kept])


def _cost(node: Node) -> int:
    return sum(100 if inner.op is LOOP else 1 for inner in walk([node]) if inner.args and inner.op is not AT)


class _Writer:
    def __init__(self, adjoints: Adjoints, distinct: set[int]) -> None:
        self.adjoints = adjoints
        self.distinct = distinct

    @property
    def steps(self) -> list[Step]:
        """The steps so far."""
        return self.adjoints.steps

    def add(self, group: _Group) -> None:
        """Add all parts of a group."""
        if not group.kept:
            self._totals(group)
            return
        waiting = group.parts
        while waiting:  # parts of one array are added one after the other
            batch = {part.target.id: part for part in reversed(waiting)}
            taken = {id(part) for part in batch.values()}
            self._spread(group.kept, group.over, [part for part in waiting if id(part) in taken])
            waiting = [part for part in waiting if id(part) not in taken]

    # -- totals ------------------------------------------------------------------------------------

    def _totals(self, group: _Group) -> None:
        """Add what goes to scalar registers, or to one place."""
        values = [part.value for part in group.parts]
        totals = self._folded(group.over, values) if group.over else in_registers(values, self.steps)
        for part, total in zip(group.parts, totals, strict=True):
            if part.place is None:
                self.adjoints.add(part.target, total)
            else:
                self.adjoints.add_at(part.target, in_registers([part.place], self.steps)[0], total)

    def _folded(self, dims: Sequence[Dim], values: Sequence[Node]) -> list[Node]:
        """Return registers with the sums of values over dims."""
        values = _summed_over(dims[1:], values)
        count, index, mapping = self._sweep_over(dims[0])
        into = [param_node(value.dtype, ()) for value in values]
        moved = substitute(values, mapping)
        self.steps.append(Sweep(count, index, tuple([Fold(total, add, value) for total, value in zip(into, moved, strict=True)])))
        return into

    def _sweep_over(self, dim: Dim) -> tuple[Node, Node, dict[int, Node]]:
        """Return the count and index of a sweep over a dim, and the dim's index in terms of it."""
        if equals(dim.low, 0):
            return dim.high, dim.index, {}
        index = param_node(int64, ())
        return dim.extent, index, {dim.index.id: apply(add, dim.low, index)}

    # -- elements ----------------------------------------------------------------------------------

    def _spread(self, kept: tuple[Dim, ...], over: tuple[Dim, ...], parts: Sequence[Part]) -> None:
        """Add parts to elements of different arrays."""
        before = [dim for dim in over if _is_before(dim, kept[0], parts[0].dims)]
        values = [part.value for part in parts]
        if before:
            values = self._hoisted(before, [*kept, *over], values)
        values = _summed_over(over, values)
        ways = [self._way(part, kept) for part in parts]
        stored, scattered = [], []
        for part, value, (place, outside) in zip(parts, values, ways, strict=True):
            assert part.place is not None, "a scalar has no dims that are kept"
            if place is None:
                scattered.append((part.target, part.place, value))
                continue
            stored.append((part.target, place, value))
            if outside is not None:
                self._spill(part, outside, kept, value)
        if len(kept) > 2:
            kept, mapping = self._flattened(kept)
            stored, scattered = [_moved(triples, mapping) for triples in (stored, scattered)]
        if stored:
            self._store(kept, stored)
        if scattered:
            self._scatter(kept, scattered)

    def _way(self, part: Part, kept: tuple[Dim, ...]) -> tuple[Node | None, Node | None]:
        """Return a place at which parts never meet, or None; and where it does not hold, if at some indices it does not."""
        place = part.place
        assert place is not None, "a scalar has no place"
        if place.id in self.distinct and len(kept) == len(part.dims):
            return place, None
        if len(kept) == 1:
            return _alone(place, kept[0])
        return (place, None) if len(kept) == 2 and _is_row_major(place, kept) else (None, None)

    def _spill(self, part: Part, inside: Node, kept: tuple[Dim, ...], value: Node) -> None:
        """Add what the indices give for which `inside` does not hold: they all have one place."""
        if value.op is select and value.args[0] is inside and absorbs(value.args[2]):
            return
        rest = apply(select, inside, zero(value), value)
        assert part.place is not None, "a scalar has no place"
        (total,) = self._folded(kept, [rest])
        self.adjoints.add_at(part.target, part.place.args[2], total)

    def _store(self, kept: tuple[Dim, ...], triples: Sequence[tuple[Node, Node, Node]]) -> None:
        count, index, mapping = self._sweep_over(kept[0])
        effects: list[Effect] = []
        nodes = substitute([node for _, place, value in triples for node in (place, value)], mapping)
        for (array, _, _), place, value in zip(triples, nodes[::2], nodes[1::2], strict=True):
            covers = len(kept) == 1 and place is index and self.adjoints.lengths.is_length(count, array)
            total, new = self.adjoints.begin(array, covers)
            effects.append(Store(total, place, value if new else apply(add, at(total, place), value)))
        self.steps.append(Sweep(count, index, tuple(effects), _inner(kept, mapping)))

    def _scatter(self, kept: tuple[Dim, ...], triples: Sequence[tuple[Node, Node, Node]]) -> None:
        """Add one after the other; what takes long, and what loops give, is computed before, on all threads."""
        if len(kept) == 2:
            count, index, triples = self._in_rows(kept, triples)
        else:
            count, index, mapping = self._sweep_over(kept[0])
            triples = _moved(triples, mapping)
            if max(_cost(value) for _, _, value in triples) > DEAR:
                arrays = self._kept_in_memory(count, index, [value for _, _, value in triples])
                triples = [(target, place, at(array, index)) for (target, place, _), array in zip(triples, arrays, strict=True)]
        for array, place, value in triples:
            total, _ = self.adjoints.begin(array, False)
            left, right = param_node(value.dtype, ()), param_node(value.dtype, ())
            plus = Operator((left,), (right,), (apply(add, left, right),))
            self.steps.append(Sweep(count, index, (Scatter((total,), place, (value,), None, plus),)))

    def _in_rows(self, kept: tuple[Dim, ...], triples: Sequence[tuple[Node, Node, Node]]) -> tuple[Node, Node, list[tuple[Node, Node, Node]]]:
        """Return count and index of all pairs of two indices, and places and values in memory by it."""
        rows = self._rows_of(*kept)
        nodes = list(dict.fromkeys(node for _, place, value in triples for node in (place, value)))
        arrays = [array_register(node.dtype) for node in nodes]
        moved = substitute(nodes, rows.mapping)
        stores = tuple([Store(array, rows.place, node) for array, node in zip(arrays, moved, strict=True)])
        self.steps.extend([*[Allocate(array, rows.total) for array in arrays], Sweep(rows.count, rows.index, stores, rows.inner)])
        index = param_node(int64, ())
        known = {node.id: at(array, index) for node, array in zip(nodes, arrays, strict=True)}
        return rows.total, index, [(array, known[place.id], known[value.id]) for array, place, value in triples]

    def _rows_of(self, outer: Dim, inner: Dim) -> _Rows:
        """Return a sweep over one dim with another inside, and where each pair of indices lies if all lie in order."""
        count, row, mapping = self._sweep_over(outer)
        width = apply(maximum, inner.extent, ZERO)
        width, low, high = substitute([width, inner.low, inner.high], mapping)
        if not depends(width, [row]):
            (total,) = in_registers([apply(mul, apply(maximum, count, ZERO), width)], self.steps)
            start = apply(mul, row, width)
        else:
            offsets, total = array_register(int64), param_node(int64, ())
            left, right = param_node(int64, ()), param_node(int64, ())
            plus = Operator((left,), (right,), (apply(add, left, right),))
            self.steps.extend([
                Allocate(offsets, count), Sweep(count, row, (Scan((offsets,), row, plus, (width,), (ZERO,), True),)),
                Sweep(count, row, (Fold(total, add, width),)),
            ])  # fmt: skip
            start = at(offsets, row)
        place = apply(add, start, apply(sub, inner.index, low))
        return _Rows(count, row, mapping, Inner(inner.index, low, high), place, total)

    def _kept_in_memory(self, count: Node, index: Node, values: Sequence[Node]) -> list[Node]:
        arrays = [array_register(value.dtype) for value in values]
        self.steps.extend([Allocate(array, count) for array in arrays])
        self.steps.append(Sweep(count, index, tuple([Store(array, index, value) for array, value in zip(arrays, values, strict=True)])))
        return arrays

    # -- several dims ------------------------------------------------------------------------------

    def _hoisted(self, before: Sequence[Dim], dims: Sequence[Dim], values: Sequence[Node]) -> list[Node]:
        """Put into memory what would be computed again for each element, since an outer dim is summed inside."""
        if len(before) != 1 or not equals(before[0].low, 0):
            return list(values)
        (dim,) = before
        others = {other.index.id for other in dims if other is not dim}
        found: dict[int, Node] = {}
        for value in values:
            _maximal(value, dim.index, others, found)
        dear = [node for node in found.values() if _cost(node) > DEAR]
        if not dear:
            return list(values)
        arrays = self._kept_in_memory(dim.high, dim.index, dear)
        return substitute(values, {node.id: at(array, dim.index) for node, array in zip(dear, arrays, strict=True)})

    def _flattened(self, kept: tuple[Dim, ...]) -> tuple[tuple[Dim, ...], dict[int, Node]]:
        """Return two dims that stand for more: the last one, and one for all others; and the indices in terms of theirs."""
        outer = kept[0]
        mapping: dict[int, Node] = {}
        for dim in kept[1:-1]:
            low, high = substitute([dim.low, dim.high], mapping)
            outer, more = self._joint(outer, Dim(dim.index, low, high))
            mapping = {number: substitute([node], more)[0] for number, node in mapping.items()} | more
        low, high = substitute([kept[-1].low, kept[-1].high], mapping)
        return (outer, Dim(kept[-1].index, low, high)), mapping

    def _joint(self, outer: Dim, inner: Dim) -> tuple[Dim, dict[int, Node]]:
        """Return a dim for all pairs of two indices, and these in terms of its own."""
        index = param_node(int64, ())
        width = apply(maximum, inner.extent, ZERO)
        if not depends(width, [outer.index]) and not depends(inner.low, [outer.index]):
            safe = apply(maximum, width, ONE)
            first = apply(add, outer.low, apply(floordiv, index, safe))
            second = apply(add, inner.low, apply(mod, index, safe))
            count = apply(mul, apply(maximum, outer.extent, ZERO), width)
            return Dim(index, ZERO, in_registers([count], self.steps)[0]), {outer.index.id: first, inner.index.id: second}
        return self._joint_ragged(outer, inner, index)

    def _joint_ragged(self, outer: Dim, inner: Dim, index: Node) -> tuple[Dim, dict[int, Node]]:
        rows = self._rows_of(outer, inner)
        first, second = array_register(int64), array_register(int64)
        value = substitute([outer.index], rows.mapping)[0]
        stores = (Store(first, rows.place, value), Store(second, rows.place, inner.index))
        self.steps.extend([Allocate(first, rows.total), Allocate(second, rows.total), Sweep(rows.count, rows.index, stores, rows.inner)])
        return Dim(index, ZERO, rows.total), {outer.index.id: at(first, index), inner.index.id: at(second, index)}


def _summed_over(dims: Sequence[Dim], values: Sequence[Node]) -> list[Node]:
    found = list(values)
    for dim in reversed(dims):
        found = summed(dim, found)
    return found


def _is_before(dim: Dim, other: Dim, dims: Sequence[Dim]) -> bool:
    return dims.index(dim) < dims.index(other)


def _moved(triples: Sequence[tuple[Node, Node, Node]], mapping: dict[int, Node]) -> list[tuple[Node, Node, Node]]:
    nodes = iter(substitute([node for _, place, value in triples for node in (place, value)], mapping))
    return [(array, next(nodes), next(nodes)) for array, _, _ in triples]


def _inner(kept: tuple[Dim, ...], mapping: dict[int, Node]) -> Inner | None:
    if len(kept) == 1:
        return None
    low, high = substitute([kept[1].low, kept[1].high], mapping)
    return Inner(kept[1].index, low, high)


def _alone(place: Node, dim: Dim) -> tuple[Node | None, Node | None]:
    """Return what `_Writer._way` does, for places that are linear in an index, or that are where a condition holds."""
    analysis = Analysis(dim.index, lambda node: depends(node, [dim.index]))

    def linear(node: Node) -> bool:
        found = analysis.affine(node)
        return found is not None and found.step != 0

    if linear(place):
        return place, None
    if place.op is select and linear(place.args[1]) and not depends(place.args[2], [dim.index]):
        return apply(select, place.args[0], place.args[1], _OUTSIDE), place.args[0]
    return None, None


def _is_row_major(place: Node, dims: tuple[Dim, ...]) -> bool:
    """Whether a place is outer * width + inner, for an inner index from 0 below width."""
    steps = _steps(place, [dim.index for dim in dims])
    if steps is None:
        return False
    for inner, outer in (dims, dims[::-1]):
        width = inner.high
        widths = {width.id, *([arg.id for arg in width.args] if width.op is maximum else ())}
        if equals(inner.low, 0) and equals(steps.get(inner.index.id, ZERO), 1) and steps.get(outer.index.id, ZERO).id in widths:
            return True
    return False


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


def _maximal(value: Node, index: Node, others: set[int], found: dict[int, Node]) -> None:
    """Find the largest graphs within one that depend on an index, and on none of the other dims."""
    free: dict[int, bool] = {}
    for node in walk([value]):
        free[node.id] = node.id not in others and all(free.get(arg.id, False) for arg in node.args)
    inside = {node.id for node in dependents([value], [index])}
    stack, seen = [value], set()
    while stack:
        node = stack.pop()
        if node.id in seen or not node.args:
            continue
        seen.add(node.id)
        if free[node.id] and node.id in inside and node.op is not LOOP:
            found[node.id] = node
        else:
            stack.extend(node.args)
