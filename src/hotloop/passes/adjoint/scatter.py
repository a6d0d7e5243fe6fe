"""Steps that add parts of derivatives to where they belong.

Sums where only sums are needed; for places that are linear in an index each element collects its parts; elsewhere
stores where no two parts meet, and sequential scatters where they may.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hotloop.dtypes import int64
from hotloop.ir.graph import Node, apply, param_node
from hotloop.ir.loop import dependents, substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Allocate, Effect, Fold, Inner, Operator, Scatter, Step, Store, Sweep, array_register, at
from hotloop.ops.algebra import absorbs, equals
from hotloop.ops.shape import length_of
from hotloop.passes.adjoint.adjoints import Adjoints, in_registers
from hotloop.passes.adjoint.hoist import DEAR, Hoist, Rows, cost, kept_in_memory, sweep_over
from hotloop.passes.adjoint.loops import ONE, ZERO, Dim, depends, summed, zero
from hotloop.passes.adjoint.parts import Part
from hotloop.passes.adjoint.places import OUTSIDE, Bounds, Linear, is_row_major, linear

add, sub, mul, select = (REGISTRY[name] for name in ("add", "sub", "mul", "select"))
minimum, maximum, floordiv, mod, and_, ge, lt = (REGISTRY[name] for name in ("minimum", "maximum", "floordiv", "mod", "and", "ge", "lt"))
AGAIN = 48  # operations of a part that is rather computed again at each element that collects it than kept in memory
Triple = tuple[Node, Node, Node]  # array, place, value


@dataclass(slots=True)
class _Group:
    """Parts over the same dims: `kept` decide the place, `over` are summed."""

    kept: tuple[Dim, ...]
    over: tuple[Dim, ...]
    parts: list[Part]


def add_parts(parts: Iterable[Part], adjoints: Adjoints, distinct: Iterable[Node] = (), bounds: Bounds = frozenset()) -> None:
    """Append steps that add parts to derivatives.

    distinct: places of which no two elements of a sweep have one. bounds: what is known of lengths.
    """
    writer = _Writer(adjoints, {node.id for node in distinct}, bounds)
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


class _Writer:
    def __init__(self, adjoints: Adjoints, distinct: set[int], bounds: Bounds) -> None:
        self.adjoints = adjoints
        self.distinct = distinct
        self.bounds = bounds
        self.hoist = Hoist(adjoints.steps)

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
        if len(group.kept) == 1:
            own = [part for part in waiting if part.place is group.kept[0].index and equals(group.kept[0].low, 0)]
            if own:
                self._store_own(group.kept[0], group.over, own)
            collected = [
                (part, found) for part in waiting if part not in own and (found := self._collectable(part, group.kept[0])) is not None
            ]
            if collected:
                self._collect(group.kept[0], group.over, collected)
            taken = {id(part) for part in (*own, *[part for part, _ in collected])}
            waiting = [part for part in waiting if id(part) not in taken]
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
        values = _summed_over(dims[1:], self.hoist.hoisted(dims, dims, values))
        count, index, mapping = sweep_over(dims[0])
        into = [param_node(value.dtype, ()) for value in values]
        moved = substitute(values, mapping)
        self.steps.append(Sweep(count, index, tuple([Fold(total, add, value) for total, value in zip(into, moved, strict=True)])))
        return into

    # -- elements that collect their parts -----------------------------------------------------------

    def _store_own(self, dim: Dim, over: tuple[Dim, ...], parts: Sequence[Part]) -> None:
        """Append the sweeps in which each element adds what goes to its own place, if the array has it."""
        values = _summed_over(over, self.hoist.hoisted([dim, *over], parts[0].dims, [part.value for part in parts]))
        safe = [self.adjoints.lengths.is_length(dim.high, part.target) or self._has_all(part.target, dim.high) for part in parts]
        if not all(safe) and len(parts) > 1 and max(map(cost, values)) > AGAIN:  # computed once, for sweeps of several lengths
            values = kept_in_memory([dim], values, self.steps)
        effects: list[Effect] = []
        for part, value, inside in zip(parts, values, safe, strict=True):
            total, new = self.adjoints.begin(part.target, self.adjoints.lengths.is_length(dim.high, part.target))
            stored = value if new else apply(add, at(total, dim.index), value)
            if inside:
                effects.append(Store(total, dim.index, stored))
                continue
            count = apply(minimum, dim.high, self.adjoints.lengths.length(part.target))
            self.steps.append(Sweep(count, dim.index, (Store(total, dim.index, stored),)))
        if effects:
            self.steps.append(Sweep(dim.high, dim.index, tuple(effects)))

    def _has_all(self, array: Node, count: Node) -> bool:
        """Whether an array is known to have at least `count` elements."""
        return any((count.id, length.id) in self.bounds for length in (self.adjoints.lengths.length(array), length_of(array, (0,))))

    def _collectable(self, part: Part, dim: Dim) -> Linear | None:
        """Return a part's place if every element of its array may look for what is added to it."""
        assert part.place is not None, "a scalar has no place"
        found = linear(part.place, dim)
        if found is None or abs(found.step) != 1:
            return None
        new = self.adjoints.is_own(part.target) and self.adjoints.current(part.target) is None
        return found if new or self.adjoints.lengths.is_length(dim.extent, part.target) else None

    def _collect(self, dim: Dim, over: tuple[Dim, ...], found: Sequence[tuple[Part, Linear]]) -> None:
        """Append sweeps over the elements of arrays that add up what all indices give to each."""
        values = _summed_over(over, self.hoist.hoisted([dim, *over], found[0][0].dims, [part.value for part, _ in found]))
        values = [self._inside(part, place, dim, value) for (part, place), value in zip(found, values, strict=True)]
        values = self._near(dim, found, values)
        sums: dict[tuple[Node, Node], dict[Node, Node]] = {}
        for (part, place), value in zip(found, values, strict=True):
            over_all = self._elements(part.target, dim)
            taken = self._taken(value, place, dim, *over_all)
            known = sums.setdefault(over_all, {})
            before = known.get(part.target)
            known[part.target] = taken if before is None else apply(add, before, taken)
        for (count, index), parts in sums.items():
            self.steps.append(Sweep(count, index, tuple([self._total(array, index, value) for array, value in parts.items()])))

    def _total(self, array: Node, index: Node, value: Node) -> Store:
        total, new = self.adjoints.begin(array, True)
        return Store(total, index, value if new else apply(add, at(total, index), value))

    def _elements(self, array: Node, dim: Dim) -> tuple[Node, Node]:
        """Return count and index of a sweep over all elements of an array: those of the dim if they are as many."""
        if equals(dim.low, 0) and self.adjoints.lengths.is_length(dim.high, array):
            return dim.high, dim.index
        count = self.adjoints.lengths.length(array)
        return count, self.adjoints.indices.of(count)

    def _inside(self, part: Part, place: Linear, dim: Dim, value: Node) -> Node:
        """Return what a part is where its place is linear; where it is not, it is added to the one place that there is."""
        if place.condition is None or (value.op is select and value.args[0] is place.condition and absorbs(value.args[2])):
            return value
        assert place.other is not None, "where there is a condition there is another place"
        (total,) = self._folded([dim], [apply(select, place.condition, zero(value), value)])
        self.adjoints.add_at(part.target, place.other, total)
        return apply(select, place.condition, value, zero(value))

    def _near(self, dim: Dim, found: Sequence[tuple[Part, Linear]], values: Sequence[Node]) -> list[Node]:
        """Keep values in memory that are dear and wanted at other elements than those that they come from."""
        dear = {value.id: value for (_, place), value in zip(found, values, strict=True) if cost(value) > AGAIN and not _is_own(place, dim)}
        if not dear:
            return list(values)
        loads = dict(zip(dear, kept_in_memory([dim], list(dear.values()), self.steps), strict=True))
        return [loads.get(value.id, value) for value in values]

    def _taken(self, value: Node, place: Linear, dim: Dim, count: Node, index: Node) -> Node:
        """Return the value, given by the dim's index, that goes to an element: zero if none does."""
        if _is_own(place, dim) and count is dim.high:
            return value
        there = apply(sub, index, place.offset) if place.step == 1 else apply(sub, place.offset, index)
        inside = apply(and_, apply(ge, there, dim.low), apply(lt, there, dim.high))
        return apply(select, inside, substitute([value], {dim.index.id: there})[0], zero(value))

    # -- parts that go to elements -------------------------------------------------------------------

    def _spread(self, kept: tuple[Dim, ...], over: tuple[Dim, ...], parts: Sequence[Part]) -> None:
        """Add parts to elements of different arrays."""
        values = _summed_over(over, self.hoist.hoisted([*kept, *over], parts[0].dims, [part.value for part in parts]))
        stored: list[Triple] = []
        scattered: list[Triple] = []
        for part, value in zip(parts, values, strict=True):
            assert part.place is not None, "a scalar has no dims that are kept"
            place = linear(part.place, kept[0]) if len(kept) == 1 else None
            if place is not None:
                value = self._inside(part, place, kept[0], value)
                at_most = place.place if place.condition is None else apply(select, place.condition, place.place, OUTSIDE)
                stored.append((part.target, at_most, value))
            else:
                (stored if self._is_distinct(part, kept) else scattered).append((part.target, part.place, value))
        if len(kept) > 2:
            kept, mapping = self._flattened(kept)
            stored, scattered = [_moved(triples, mapping) for triples in (stored, scattered)]
        if stored:
            self._store(kept, stored)
        if scattered:
            self._scatter(kept, scattered)

    def _is_distinct(self, part: Part, kept: tuple[Dim, ...]) -> bool:
        assert part.place is not None, "a scalar has no place"
        if part.place.id in self.distinct and len(kept) == len(part.dims):
            return True
        return len(kept) == 2 and is_row_major(part.place, kept, self.bounds)

    def _store(self, kept: tuple[Dim, ...], triples: Sequence[Triple]) -> None:
        """Add where no two indices meet; what lies outside of an array was read as zero there, and is left out."""
        batches: dict[tuple[int, int], tuple[tuple[Dim, ...], list[Triple]]] = {}
        for array, place, value in triples:
            last = self._within(kept[-1], place, array)
            key = (last.low.id, last.high.id)
            batches.setdefault(key, ((*kept[:-1], last), []))[1].append((array, place, value))
        for dims, batch in batches.values():
            count, index, mapping = sweep_over(dims[0])
            effects: list[Effect] = []
            for array, place, value in _moved(batch, mapping):
                total, _ = self.adjoints.begin(array, False)
                effects.append(Store(total, place, apply(add, at(total, place), value)))
            self.steps.append(Sweep(count, index, tuple(effects), _inner(dims, mapping)))

    def _within(self, dim: Dim, place: Node, array: Node) -> Dim:
        """Return what of a dim has places inside of an array, if places are linear: others are checked one by one."""
        found = linear(place, dim)
        if found is None or found.condition is not None or abs(found.step) != 1:
            return dim
        length, offset = self.adjoints.lengths.length(array), found.offset
        if found.step == 1:
            low, high = apply(sub, ZERO, offset), apply(sub, length, offset)
        else:
            low, high = apply(add, apply(sub, offset, length), ONE), apply(add, offset, ONE)
        return Dim(dim.index, apply(maximum, dim.low, low), apply(minimum, dim.high, high))

    def _scatter(self, kept: tuple[Dim, ...], triples: Sequence[Triple]) -> None:
        """Add one after the other; what takes long, and what loops give, is computed before, on all threads."""
        if len(kept) == 2:
            count, index, triples = self._in_rows(kept, triples)
        else:
            count, index, mapping = sweep_over(kept[0])
            triples = _moved(triples, mapping)
            if max(cost(value) for _, _, value in triples) > DEAR:
                loads = kept_in_memory([Dim(index, ZERO, count)], [value for _, _, value in triples], self.steps)
                triples = [(target, place, load) for (target, place, _), load in zip(triples, loads, strict=True)]
        for array, place, value in triples:
            total, _ = self.adjoints.begin(array, False)
            left, right = param_node(value.dtype, ()), param_node(value.dtype, ())
            plus = Operator((left,), (right,), (apply(add, left, right),))
            self.steps.append(Sweep(count, index, (Scatter((total,), place, (value,), None, plus),)))

    # -- several dims ------------------------------------------------------------------------------

    def _in_rows(self, kept: tuple[Dim, ...], triples: Sequence[Triple]) -> tuple[Node, Node, list[Triple]]:
        """Return count and index of all pairs of two indices, and places and values in memory by it."""
        rows = Rows.of(kept[0], kept[1], self.steps)
        nodes = list(dict.fromkeys(node for _, place, value in triples for node in (place, value)))
        arrays = [array_register(node.dtype) for node in nodes]
        self.steps.extend([*[Allocate(array, rows.total) for array in arrays], rows.sweep(arrays, nodes)])
        index = param_node(int64, ())
        known = {node.id: at(array, index) for node, array in zip(nodes, arrays, strict=True)}
        return rows.total, index, [(array, known[place.id], known[value.id]) for array, place, value in triples]

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
        rows = Rows.of(outer, inner, self.steps)
        first, second = array_register(int64), array_register(int64)
        self.steps.extend(
            [Allocate(first, rows.total), Allocate(second, rows.total), rows.sweep([first, second], [outer.index, inner.index])]
        )
        return Dim(index, ZERO, rows.total), {outer.index.id: at(first, index), inner.index.id: at(second, index)}


def _is_own(place: Linear, dim: Dim) -> bool:
    """Whether an index stands for the element that it goes to."""
    return place.step == 1 and equals(place.offset, 0) and equals(dim.low, 0)


def _summed_over(dims: Sequence[Dim], values: Sequence[Node]) -> list[Node]:
    found = list(values)
    for dim in reversed(dims):
        found = summed(dim, found)
    return found


def _moved(triples: Sequence[Triple], mapping: dict[int, Node]) -> list[Triple]:
    nodes = iter(substitute([node for _, place, value in triples for node in (place, value)], mapping))
    return [(array, next(nodes), next(nodes)) for array, _, _ in triples]


def _inner(kept: tuple[Dim, ...], mapping: dict[int, Node]) -> Inner | None:
    if len(kept) == 1:
        return None
    low, high = substitute([kept[1].low, kept[1].high], mapping)
    return Inner(kept[1].index, low, high)
