"""Sweeps as functions over a range of elements, written on vectors of lanes, where the body allows it.

There are bodies that read streams in order, for elements where all of them lie inside their arrays, and a careful
one for the ends, which reads lane by lane what is there, and stores the lanes that count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from hotloop.dtypes import DType, bool_, float64, int32, int64
from hotloop.ir.graph import LOOP, Node
from hotloop.ir.op import REGISTRY, wide_short
from hotloop.ir.program import IN_MEMORY, Program
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import Store
from hotloop.ops.shape import BLOCK, LANES
from hotloop.passes.lanes import Lanes, Wide
from hotloop.passes.sweeps.affine import Affine
from hotloop.passes.sweeps.effects import Task
from hotloop.passes.sweeps.lanes import SweepLanes, has_lanes, registers_of
from hotloop.passes.sweeps.serial import Serial, Writer, depending
from hotloop.passes.sweeps.versions import Version, Versions
from hotloop.passes.wide import MASKS, foldable

_OR = REGISTRY["or"]
DISPATCHED = 256  # elements for which one version of the body is chosen, where there are several
_FAR = 64  # more lanes than there are in a slice
_SCALAR = "i64"  # in place of the type of a vector, among what loops carry

Carried = list[tuple[str, Wide]]  # short name of the type, value


def _index(task: Task) -> Node:
    """Return the index along which lanes run."""
    return task.sweep.index if task.sweep.inner is None else task.sweep.inner.index


def _results(task: Task) -> list[Node]:
    """Return what the body computes: stored values, flags, what a filter keeps, values of folds."""
    found = [store.value for store in task.stores] + [value for value, _ in task.flags]
    found += [] if task.filter is None else [task.filter.keep, *task.filter.values]
    return found + [fold.value for fold in task.folds]


def strips(task: Task) -> bool:
    """Whether a task can be written on vectors of lanes."""
    ends = _results(task)
    if task.mode not in ("each", "fold", "filter") or task.reduces or not ends:
        return False
    versions = Versions(ends, _index(task))
    places = [versions.analysis.affine(store.place) for store in task.stores]
    if any(place is None or abs(place.step) != 1 for place in places):
        return False
    if not all(foldable(fold.op.name, fold.value.dtype) for fold in task.folds):
        return False
    return has_lanes(node for node in walk(ends) if versions.varies(node))


class Strip(Serial):
    """Writes the functions of one task. contract: sums of products may be fused multiply-adds."""

    contract = False

    def run(self) -> Program:
        """Write the function that executes a range of elements."""
        return _Strip(self, self.contract).run()


class _Strip(Writer):
    """The function of one task while it is written."""

    def __init__(self, serial: Serial, contract: bool) -> None:
        super().__init__(serial.frame, serial.vector_bytes, serial.index)
        self.task = task = serial.task
        self.slots = serial.slots
        self.low, self.high = self.known(int64, self.frame.low), self.known(int64, self.frame.high)
        self.versions = Versions(_results(task), _index(task))
        self._make_bodies(contract)
        self.slice = self.careful.slice
        self.mask = MASKS[self.careful.narrowest]
        self.places = [self._linear(store.place) for store in task.stores]
        self.group = range(0, LANES, self.slice) if task.folds else range(0, self.slice, self.slice)  # slices with places of their own
        self.masked = bool(task.flags or task.filter or task.folds or self.careful.loops) or any(p.step < 0 for p in self.places)
        self.pointers: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}
        self.splats: dict[tuple[int, int], Wide] = {}
        self.bases: dict[tuple[int, object], int] = {}
        self.bounds: list[tuple[int | None, int]] = []

    def _make_bodies(self, contract: bool) -> None:
        """Look all versions of the body up: all with lanes of one width."""
        careful, fast = self.versions.careful(), self.versions.fast()
        registers, folds = registers_of(careful), [fold.op for fold in self.task.folds]

        def make(version: Version, narrowest: int | None) -> SweepLanes:
            return SweepLanes(self.builder, self.frame, self.node, version, folds, contract, narrowest, registers)

        self.fast = [make(version, None) for version in fast]
        self.careful = make(careful, min([body.narrowest for body in self.fast], default=None))
        narrowest = self.careful.narrowest
        self.fast = [body if body.narrowest == narrowest else make(body.version, narrowest) for body in self.fast]

    def _linear(self, place: Node) -> Affine:
        found = self.versions.analysis.affine(place)
        assert found is not None, "asked before"
        return found

    # -- the function ----------------------------------------------------------------------------------

    def run(self) -> Program:
        """Write the elements from low to high."""
        nodes = walk(self.task.ends())
        top = self.builder.assign_loops(nodes, [node for node in nodes if node.op is LOOP])
        index, inner = self.task.sweep.index, self.task.sweep.inner
        outside, rest = depending(top, [index] if inner is None else [index, inner.index])
        self.builder.add(outside)
        nothing = self.careful.constant(False, bool_)
        state: Carried = [(self.mask, nothing) for _ in self.task.flags]
        if self.task.filter is not None:
            state.append((_SCALAR, Wide(8, (self.known(int64, self.slots.position),))))
        state = self._span(self.low, self.high, state) if inner is None else self._rows(depending(rest, [inner.index])[0], state)
        for (_, flag), place in zip(state, self.slots.flags, strict=False):
            self.builder.store(self.node, self.emit("or.b.b", bool_, self.known(bool_, place), self.careful.any(flag)), place)
        if self.task.filter is not None:
            self.builder.store(self.node, state[-1][1].parts[0], self.slots.position)
        return self.builder.program()

    def _rows(self, of_row: Sequence[Node], state: Carried) -> Carried:
        """Write a loop over rows, each of which is a span."""
        inner = self.task.sweep.inner
        assert inner is not None, "asked before"

        def row(index: int, state: Carried) -> Carried:
            self.builder.number[self.task.sweep.index.id] = index
            self.builder.add(of_row)
            return self._span(self.builder.use(inner.low), self.builder.use(inner.high), state)

        return self._range(self.low, self.high, 1, row, state)[1]

    def _span(self, low: int, high: int, state: Carried) -> Carried:
        """Write a range of elements."""
        self.pointers, self.splats = {}, {}
        for body in (*self.fast, self.careful):
            body.settle(self._splatted)
            for array, place in body.version.reads.values():
                self._pointer(array, place)
        for store, place in zip(self.task.stores, self.places, strict=True):
            self._pointer(store.array, place)
        self.bounds = [self._bounds(body.version) for body in self.fast]
        if self.task.folds:
            return self._fold(low, high, state)
        if len(self.fast) < 2:
            return self._pieces(low, high, state)

        def block(base: int, state: Carried) -> Carried:
            return self._pieces(base, self.integer("minimum", self.integer("add", base, self.number(DISPATCHED)), high), state)

        return self._range(low, high, DISPATCHED, block, state)[1]

    def _fold(self, low: int, high: int, state: Carried) -> Carried:
        """Write a chunk of folds in the order of `ops.shape.fold_halves`."""
        lanes, folds, count = self.careful, self.careful.folds, len(state)
        zero = self.number(0)
        room = [[lanes.room(fold, dtype) for _ in self.group] for fold, dtype in folds]

        def block(base: int, state: Carried) -> Carried:
            end = self.integer("minimum", self.integer("add", base, self.number(BLOCK)), high)
            sums = [(lanes.identity(fold, dtype), dtype) for _ in self.group for fold, dtype in folds]
            given = self._pieces(base, end, [*state, *[(wide_short(dtype, value.lane), value) for value, dtype in sums]])
            for k, (fold, dtype) in enumerate(folds):
                for places, (_, value) in zip(room[k], given[count + k :: len(folds)], strict=True):
                    lanes.keep(places, lanes.combine(fold, dtype, lanes.kept(places, dtype, zero), value))
            return given[:count]

        state = self._range(low, high, BLOCK, block, state)[1]
        for k, (fold, dtype) in enumerate(folds):
            total = lanes.halve([lanes.kept(places, dtype, zero) for places in room[k]], fold, dtype)
            self.builder.store(self.node, total, self.slots.states[k][0])
        return state

    # -- loops -----------------------------------------------------------------------------------------

    def _range(self, start: int, limit: int, step: int, inside: Callable[[int, Carried], Carried], carried: Carried) -> tuple[int, Carried]:
        """Write a loop over start, start + step, ... below limit; return the index after it, and what is carried."""
        builder = self.builder
        condition = self.emit("lt.i64.i64", bool_, start, limit)
        index = builder.new_value(None, int64)
        params: Carried = []
        pairs = [(index, start)]
        for short, value in carried:
            made = [builder.new_value(None, int64) if short == _SCALAR else builder.new_wide(short) for _ in value.parts]
            pairs += zip(made, value.parts, strict=True)
            params.append((short, Wide(value.lane, tuple(made))))
        loop = builder.begin_range(self.node, limit, condition, pairs)
        given = inside(index, params)
        following = self.integer("add", index, self.number(step))
        builder.end_loop(self.node, loop, [following, *[part for _, wide in given for part in wide.parts]], limit)
        return index, params

    def _bounds(self, version: Version) -> tuple[int | None, int]:
        """Return the first element for which facts hold, None if it is 0, and the one behind the last."""
        low: int | None = None
        high = self.number(2**62)
        for fact in version.facts:
            number = self._sum(fact.of)
            if fact.of.step > 0:
                bound = self.integer("neg", number)
                low = bound if low is None else self.integer("maximum", low, bound)
            else:
                high = self.integer("minimum", high, self.integer("add", number, self.number(1)))
        return low, high

    def _sum(self, linear: Affine) -> int:
        """Return a linear expression less its part of the index."""
        found = None if linear.terms and not linear.constant else self.number(linear.constant)
        for number, factor in linear.terms:
            node = self.versions.analysis.nodes[number]
            term = self._scalar(node)
            if found is None:
                found = term if factor == 1 else self.integer("mul", term, self.number(factor))
            elif abs(factor) == 1:
                found = self.integer("add" if factor == 1 else "sub", found, term)
            else:
                found = self.integer("add", found, self.integer("mul", term, self.number(factor)))
        assert found is not None, "a constant, if nothing else"
        return found

    def _pieces(self, base: int, end: int, state: Carried) -> Carried:
        """Write elements from base to end: those before all that is read, those of each version, the rest."""
        group = LANES if self.task.folds else self.fast[0].together * self.slice if self.fast else self.slice
        start = base
        if len(self.fast) == 1 and self.bounds[0][0] is not None:
            start = self._first(self.bounds[0][0], base, end)
            state = self._carefully(base, start, state)
        for body, (low, high) in zip(self.fast, self.bounds, strict=True):
            limit = self.integer("sub", self.integer("minimum", high, end), self.number(group - 1))
            if low is not None and len(self.fast) > 1:
                limit = self.select(self.emit("lt.i64.i64", bool_, start, low), int64, start, limit)
            start, state = self._range(start, limit, group, partial(self._group, body, group, None), state)
        return self._carefully(start, end, state)

    def _first(self, low: int, base: int, end: int) -> int:
        """Return the first element that is read in order: of a group, where lanes have their places."""
        ahead = self.integer("maximum", self.integer("sub", low, base), self.number(0))
        if self.task.folds:
            ahead = self.integer("and", self.integer("add", ahead, self.number(LANES - 1)), self.number(-LANES))
        ahead = self.integer("minimum", ahead, self.integer("maximum", self.integer("sub", end, base), self.number(0)))
        return self.integer("add", base, ahead)

    def _carefully(self, start: int, end: int, state: Carried) -> Carried:
        group = len(self.group) * self.slice
        return self._range(start, end, group, partial(self._group, self.careful, group, end), state)[1]

    # -- elements --------------------------------------------------------------------------------------

    def _group(self, body: SweepLanes, group: int, end: int | None, index: int, state: Carried) -> Carried:
        """Write a group of elements, slice by slice; end: what the elements that count are below, if that is not sure."""
        task, rest = self.task, None if end is None or not self.masked else self._rest(body, index, end)
        stores, flags, folds = len(task.stores), len(task.flags), len(task.folds)
        carried = [value for _, value in state]
        self.bases = {}
        for k, first in enumerate(range(0, group, self.slice)):
            mask = None if rest is None else self._mask(body, first, rest)
            values, reduced = body.results_of(partial(self._read, body, index, first), mask)
            for store, place, value in zip(task.stores, self.places, values, strict=False):
                self._store(body, store, place, value, index, first, end, mask)
            for j, value in enumerate(values[stores : stores + flags]):
                held = body.narrow(value)
                carried[j] = body.combine(_OR, bool_, carried[j], held if mask is None else body.both(held, mask))
            if task.filter is not None:
                carried[-1] = self._filter(body, values[stores + flags :], carried[-1].parts[0], mask)
            mine = slice(flags + k * folds, flags + (k + 1) * folds)
            found = [body.term(value, dtype) for value, (_, dtype) in zip(reduced, body.folds, strict=True)]
            if mask is not None:
                terms = zip(found, body.folds, strict=True)
                found = [body.choose(mask, body.plain(x, dtype), fold, dtype) for x, (fold, dtype) in terms]
            carried[mine] = body.joined(carried[mine], found) if folds else carried[mine]
        return [(short, value) for (short, _), value in zip(state, carried, strict=True)]

    def _rest(self, body: Lanes, index: int, end: int) -> int:
        """Return in every lane how many elements count from index on."""
        rest = self.integer("minimum", self.integer("sub", end, index), self.number(_FAR))
        if body.narrowest == 8:
            return body.emit("splat.i64w", "i64w", (rest,))
        return body.emit("splat.i32w", "i32w", (self.emit("to_int32.i64", int32, rest),))

    def _mask(self, body: Lanes, first: int, rest: int) -> Wide:
        """Return where the lanes from `first` on are elements that count."""
        lane = body.narrowest
        short, per_part = f"i{8 * lane}w", self.vector_bytes // lane
        starts = range(first, first + self.slice, per_part)
        numbers = [self._vector(np.arange(start, start + per_part), int32 if lane == 4 else int64) for start in starts]
        return Wide(lane, tuple([body.emit(f"lt.{short}.{short}", MASKS[lane], (number, rest)) for number in numbers]))

    def _vector(self, numbers: np.ndarray[tuple[int], np.dtype[np.int64]], dtype: DType) -> int:
        """Return a constant vector."""
        place = self.builder.memory.vector(numbers.astype(dtype.numpy).tobytes())
        return self.builder.new_wide(wide_short(dtype, dtype.size), place, IN_MEMORY)

    def _splatted(self, body: Lanes, node: Node) -> Wide:
        """Return a scalar in all lanes."""
        key = node.id, body.lane(node.dtype)
        if key not in self.splats:
            self.splats[key] = body.splat(self._scalar(node), node.dtype)
        return self.splats[key]

    def _scalar(self, node: Node) -> int:
        """Return what is the same at every element; some of it is in one version only, or in bounds."""
        builder = self.builder
        if node.id not in builder.number and node.args:
            nodes = [inner for inner in walk([node]) if inner.id not in builder.number]
            builder.add(builder.assign_loops(nodes, [inner for inner in nodes if inner.op is LOOP]))
        return builder.use(node)

    # -- loads -----------------------------------------------------------------------------------------

    def _read(self, body: SweepLanes, index: int, first: int, number: int) -> Wide:
        """Return what a param stands for at `first` elements beyond the index."""
        param = body.leaves[number]
        lane = body.lane(param.dtype)
        short, per_part = wide_short(param.dtype, lane), self.vector_bytes // lane
        starts = [first + part * per_part for part in body.parts_of(param.dtype)]
        if param not in body.version.reads:
            return Wide(lane, tuple([self._counted(body, param.dtype, index, start, per_part) for start in starts]))
        array, place = body.version.reads[param]
        pointer, size = self._pointer(array, place), param.dtype.size
        if place.step > 0:
            return Wide(lane, tuple([body.emit(f"loadp.{short}", short, (pointer, index), (place.constant + s) * size) for s in starts]))
        offsets = [(place.constant - start - per_part + 1) * size for start in starts]
        parts = [body.emit(f"loadp.{short}", short, (pointer, self._negative(index)), offset) for offset in offsets]
        return Wide(lane, tuple([body.emit(f"reverse.i{8 * lane}w", short, (part,)) for part in parts]))

    def _negative(self, index: int) -> int:
        key = index, "negative"
        if key not in self.bases:
            self.bases[key] = self.integer("neg", index)
        return self.bases[key]

    def _counted(self, body: Lanes, dtype: DType, index: int, start: int, per_part: int) -> int:
        """Return index + start, index + start + 1, ... in the lanes of a register."""
        short = wide_short(dtype, dtype.size)
        key = index, dtype
        if dtype is float64:
            if key not in self.bases:
                self.bases[key] = body.emit("splat.f64w", "f64w", (self.emit("to_float64.i64", float64, index),))
            return body.emit("add.f64w.f64w", "f64w", (self.bases[key], self._vector(np.arange(start, start + per_part), dtype)))
        if key not in self.bases:
            self.bases[key] = body.emit(f"iota.{short}", short, (index,))
        if not start:
            return self.bases[key]
        return body.emit(f"add.{short}.{short}", short, (self.bases[key], self._vector(np.full(per_part, start), dtype)))

    def _pointer(self, array: Node, place: Affine) -> int:
        """Return the address of the element at a place when the index is 0, but for the constant."""
        key = array.id, place.terms
        if key not in self.pointers:
            base = self.known(int64, self.frame.array(array))
            if place.terms:
                moved = self.integer("mul", self._sum(Affine(0, place.terms, 0)), self.number(array.dtype.size))
                base = self.integer("add", base, moved)
            self.pointers[key] = base
        return self.pointers[key]

    # -- stores ----------------------------------------------------------------------------------------

    def _store(
        self, body: Lanes, store: Store, place: Affine, value: Wide, index: int, first: int, end: int | None, mask: Wide | None
    ) -> None:  # fmt: skip
        """Store a slice, or of it the elements below `end`."""
        short, per_part, size = wide_short(store.value.dtype, value.lane), self.vector_bytes // value.lane, store.value.dtype.size
        descriptor = self.frame.array(store.array)
        moved = 0 if end is None else self._sum(Affine(0, place.terms, place.constant))
        kept = () if end is None or mask is None else body.with_lanes(mask, value.lane).parts
        for k, part in enumerate(value.parts):
            start, bits = first + k * per_part, f"i{8 * value.lane}w"
            if end is None:
                at = index if place.step > 0 else self._negative(index)
                offset = place.constant + (start if place.step > 0 else 1 - start - per_part)
                ordered = part if place.step > 0 else body.emit(f"reverse.{bits}", short, (part,))
                self.emit(f"storep.{short}", None, ordered, self._pointer(store.array, place), at, immediate=offset * size)
                continue
            mine = self.integer("add", index, self.number(start))
            if place.step > 0:
                places = self.integer("add", mine, moved), self.integer("add", end, moved)
                self.emit(f"storem.{short}", None, part, *places, immediate=descriptor)
                continue
            last = self.integer("minimum", end, self.integer("add", mine, self.number(per_part)))
            places = self.integer("sub", moved, self.integer("sub", last, self.number(1))), self.integer("sub", moved, mine)
            ordered, held = [body.emit(f"reverse.{bits}", short, (x,)) for x in (part, kept[k])]
            ordered = body.emit(f"compress.{bits}", short, (ordered, held))
            self.emit(f"storem.{short}", None, ordered, places[0], self.integer("add", places[1], self.number(1)), immediate=descriptor)

    def _filter(self, body: SweepLanes, values: Sequence[Wide], position: int, mask: Wide | None) -> Wide:
        """Store what is kept of a slice behind what was kept before; return the place behind it."""
        effect = self.task.filter
        assert effect is not None, "asked before"
        keep = body.narrow(values[0]) if mask is None else body.both(body.narrow(values[0]), mask)
        counts = {keep.lane: self._counts(keep)}
        for array, value in zip(effect.arrays, values[1:], strict=False):
            short, kept, at = wide_short(array.dtype, value.lane), body.with_lanes(keep, value.lane), position
            counts.setdefault(value.lane, counts[keep.lane] if len(kept.parts) == len(keep.parts) else self._counts(kept))
            for part, held, count in zip(value.parts, kept.parts, counts[value.lane], strict=True):
                packed = body.emit(f"compress.i{8 * value.lane}w", short, (part, held))
                behind = self.integer("add", at, count)
                if mask is None:
                    self.emit(f"storep.{short}", None, packed, self.known(int64, self.frame.pointer(array)), at)
                else:
                    self.emit(f"storem.{short}", None, packed, at, behind, immediate=self.frame.pointer(array))
                at = behind
        for count in counts[keep.lane]:
            position = self.integer("add", position, count)
        return Wide(8, (position,))

    def _counts(self, mask: Wide) -> list[int]:
        """Return how many lanes of each register of a mask hold."""
        return [self.emit(f"count.{MASKS[mask.lane]}", int64, part) for part in mask.parts]


__all__ = ["Strip", "strips"]
