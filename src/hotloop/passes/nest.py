"""`Nest`: the loops around the body of a kernel in a program of static shapes.

Dimensions that all arrays walk as one become one. Short loops are written out. Elements beyond the
last full vector are computed too: arrays that kernels write have room behind them, and rows are
written in ascending order, so that what spills into the next row is overwritten by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from hotloop.dtypes import DType, bool_
from hotloop.ir.graph import Node, structure
from hotloop.ir.op import Op, wide_short
from hotloop.ir.program import CHANGING, IN_MEMORY, UNALIGNED
from hotloop.ops.shape import BLOCK, CHUNK, LANES, fold_terms
from hotloop.passes.kernel import KERNEL, SCALAR, Kernel, Result, kernel_of_one, size
from hotloop.passes.lanes import Factors, Lanes, Wide
from hotloop.passes.loops import Array, At, Loops, Steps

if TYPE_CHECKING:
    from hotloop.passes.linearize import Builder

WRITTEN_OUT = 400  # instructions up to which loops are written out
CHAINS = 8  # sums side by side where their order is free: what hides the latency of a multiply-add
LONGEST_WRITTEN = 256  # terms of a reduction that are written out one by one
REGISTERS = 12  # vectors that partial results may take


class Nest(Loops):
    """Writes one kernel as instructions of a program, on vectors of lanes."""

    written_out = WRITTEN_OUT

    def __init__(self, builder: Builder, node: Node, sources: Sequence[int], scalars: Sequence[int], targets: Sequence[int]) -> None:
        """Take the places of the arrays read (sources), values (scalars), and the places of results, -1 for scalars (targets)."""
        super().__init__(builder, node, sources, targets)
        self.lanes = Lanes(builder, node, builder.vector_bytes)
        self.lanes.prepare({param.id: value for param, value in zip(self.kernel.scalars, scalars, strict=True)})

    def write(self) -> list[int]:
        """Write the kernel; return the values of results that are scalars, -1 for others."""
        kernel = self.kernel
        start = self.start
        folded = any(result.fold for result in kernel.results)
        if kernel.lane == SCALAR:
            self.each(self.dims(0, len(kernel.shape)) or [(1, self.steps[-1])], start, 2, self._copy_element)
        elif not folded:
            self._map(start)
        elif kernel.kept == 0:
            return self._fold_all(start)
        elif kernel.lane < kernel.kept:
            self._fold_columns(start)
        else:
            self._fold_rows(start)
        return [-1] * len(kernel.results)

    # -- memory ------------------------------------------------------------------------------------

    def read(self, at: At) -> Callable[[int], Wide]:
        """Return what reads an array, by number, at one slice."""
        return lambda k: self._load(self.arrays[k], at.index[k], at.moved[k])

    def _load(self, array: Array, index: int | None, moved: int) -> Wide:
        dtype = array.node.dtype
        lane = self.lanes.lane(dtype)
        short, place = wide_short(dtype, lane), array.place + moved * dtype.size
        parts = self.lanes.parts_of(dtype)
        if array.lane_step == 0:
            return Wide(lane, (self._spread(short, index, place, array.node),) * len(parts))
        per_part = self.builder.vector_bytes // lane * dtype.size
        return Wide(lane, tuple([self._vector(short, dtype is bool_, index, place + part * per_part) for part in parts]))

    def _vector(self, short: str, by_bytes: bool, index: int | None, place: int) -> int:
        if index is None and not by_bytes:
            flags = IN_MEMORY | (UNALIGNED if place % self.builder.vector_bytes else 0) | (CHANGING if self.builder.depth else 0)
            return self.builder.new_wide(short, place, flags)
        return self.lanes.emit(f"load.{short}", short, (self.known(index),), place)

    def _spread(self, short: str, index: int | None, place: int, node: Node) -> int:
        if index is None:
            return self.lanes.emit(f"splat.{short}", short, (self.builder.new_value(None, node.dtype, place, IN_MEMORY),))
        return self.lanes.emit(f"repeat.{short}", short, (index,), place)

    def store(self, number: int, value: Wide, at: At) -> None:
        """Write one slice of a result that is an array."""
        array = self.results[number]
        dtype = array.node.dtype
        short = wide_short(dtype, value.lane)
        per_part = self.builder.vector_bytes // value.lane * dtype.size
        index, place = at.index[self.out], array.place + at.moved[self.out] * dtype.size
        for k, part in enumerate(value.parts):
            if index is None and dtype is not bool_:
                self.builder.store(self.node, part, place + k * per_part)
            else:
                self.builder.emit(self.node, f"store.{short}", None, (part, self.known(index)), place + k * per_part)

    def _store_scalar(self, number: int, value: int, at: At) -> None:
        array = self.results[number]
        place, index = array.place + at.moved[self.out] * array.node.dtype.size, at.index[self.out]
        if index is None:
            self.builder.store(self.node, value, place)
        else:
            self.builder.emit(self.node, f"put.{array.node.dtype.short}", None, (value, index), place)

    def _copy_element(self, at: At) -> None:
        (source,) = self.arrays
        dtype, index, place = source.node.dtype, at.index[0], source.place + at.moved[0] * source.node.dtype.size
        if index is None:
            value = self.builder.new_value(None, dtype, place, IN_MEMORY)
        else:
            value = self.builder.emit(self.node, f"get.{dtype.short}", self.builder.new_value(None, dtype), (index,), place)
        self._store_scalar(0, value, at)

    def loop(
        self, count: int, steps: Steps, at: At, inside: Callable[[At, Sequence[Wide]], Sequence[Wide]],
        carried: Sequence[Wide] = (), shorts: Sequence[str] = (),
    ) -> list[Wide]:  # fmt: skip
        """Write a loop; `inside` gets where it is and what is carried, and returns what is carried on."""
        pairs, wides = self.lanes.carry(carried, shorts)
        self.around(count, steps, at, lambda here: [part for wide in inside(here, wides) for part in wide.parts], pairs)
        return wides

    # -- schedules ---------------------------------------------------------------------------------

    def _map(self, at: At) -> None:
        *dims, (count, steps) = self.dims(0, len(self.kernel.shape))
        width = self.lanes.slice
        slices = -(-count // width)
        cost = self.lanes.operations

        def vectors(here: At) -> None:
            for number, value in enumerate(self.lanes.results(self.read(here))):
                self.store(number, self.lanes.plain(value, self.results[number].node.dtype), here)

        def row(here: At) -> None:
            together = self.lanes.together
            blocks = slices // together if slices * cost > WRITTEN_OUT else 0
            if blocks:
                many = tuple([step * width * together for step in steps])

                def block(inner: At, _: Sequence[Wide]) -> Sequence[Wide]:
                    for k in range(together):
                        vectors(inner.step(steps, k * width))
                    return ()

                self.loop(blocks, many, here, block)
            for k in range(blocks * together, slices):
                vectors(here.step(steps, k * width))

        self.each(dims, at, slices * cost if slices * cost <= WRITTEN_OUT else WRITTEN_OUT, row)

    def _fold_all(self, at: At) -> list[int]:
        """Reduce everything to scalars, and write what the kernel gives as arrays on the way."""
        ((count, steps),) = self.dims(0, len(self.kernel.shape))
        values = iter(_Line(self, steps, self.lanes.slice).total(count, at))
        return [next(values) if result.fold else -1 for result in self.kernel.results]

    def _fold_rows(self, at: At) -> None:
        """Reduce along the lanes, once for each place of the kept dimensions."""
        kernel = self.kernel
        ((count, steps),) = self.dims(kernel.kept, len(kernel.shape))
        line = _Line(self, steps, self.lanes.slice)

        def row(here: At) -> None:
            for number, value in enumerate(line.total(count, here)):
                self._store_scalar(number, value, here)

        cost = self.lanes.operations * min(-(-count // self.lanes.slice), 64)
        self.each(self.dims(0, kernel.kept), at, cost, row)

    def _fold_columns(self, at: At) -> None:
        """Reduce in each lane: the terms of a place are written out, in the order of `fold_terms`."""
        kernel, width = self.kernel, self.lanes.slice
        if math.prod(kernel.shape[kernel.kept :]) > LONGEST_WRITTEN:
            self._fold_long_columns(at)
            return
        places = [(0,) * len(at.moved)]
        for d in range(kernel.kept, len(kernel.shape)):
            places = [At(at.index, p).step(self.steps[d], k).moved for p in places for k in range(kernel.shape[d])]
        lane_dim = kernel.lane
        count, steps = kernel.shape[lane_dim], self.steps[lane_dim]
        slices = -(-count // width)
        together = _together(kernel, len(places), slices, max(len(self.lanes.parts_of(result.value.dtype)) for result in kernel.results))
        outer = self.dims(0, lane_dim)
        cost = self.lanes.operations * len(places)

        def vectors(here: At, several: int) -> None:
            ats = [here.step(steps, k * width) for k in range(several)]
            for number, result in enumerate(kernel.results):
                for at, value in zip(ats, self._columns(result, number, ats, places), strict=True):
                    self.store(number, value, at)

        many = tuple([step * width * together for step in steps])
        whole, rest = divmod(slices, together)

        def row(here: At) -> None:
            self.each([(whole, many)], here, cost * together, lambda inner: vectors(inner, together))
            if rest:
                vectors(here.step(many, whole), rest)

        self.each(outer, at, cost * slices, row)

    def _fold_long_columns(self, at: At) -> None:
        """Reduce in each lane by loops, with the partial results of the fixed order in memory."""
        kernel, width = self.kernel, self.lanes.slice
        ((count, along),) = self.dims(kernel.kept, len(kernel.shape))
        length, steps = kernel.shape[kernel.lane], self.steps[kernel.lane]
        line = _Line(self, along, width=1)

        def vectors(here: At) -> None:
            for number, value in enumerate(line.columns(count, here)):
                self.store(number, value, here)

        many = tuple([step * width for step in steps])
        self.each([*self.dims(0, kernel.lane), (-(-length // width), many)], at, WRITTEN_OUT, vectors)

    def _columns(self, result: Result, number: int, ats: Sequence[At], places: Sequence[tuple[int, ...]]) -> list[Wide]:
        """Reduce several slices side by side: what does not step along the lanes is read once for all."""
        fold, dtype = result.fold, result.value.dtype
        assert fold is not None

        def term(k: int) -> list[Wide | Factors]:
            known: dict[int, Wide] = {}

            def read(at: At, array: int) -> Wide:
                if self.arrays[array].lane_step:
                    return self._load(self.arrays[array], at.index[array], at.moved[array])
                if array not in known:
                    known[array] = self._load(self.arrays[array], at.index[array], at.moved[array])
                return known[array]

            moved = [At(at.index, tuple([a + b for a, b in zip(at.moved, places[k], strict=True)])) for at in ats]
            return [self.lanes.results(partial(read, there))[number] for there in moved]

        def plain(x: Sequence[Wide | Factors]) -> list[Wide]:
            return [self.lanes.plain(a, dtype) for a in x]

        def combine(x: Sequence[Wide | Factors], y: Sequence[Wide | Factors]) -> list[Wide]:
            return [self.lanes.combine(fold, dtype, a, b) for a, b in zip(plain(x), y, strict=True)]

        if not kernel_contracts(self.kernel):
            return plain(fold_terms(len(places), term, combine))
        sums = [plain(term(k)) for k in range(min(len(places), max(1, CHAINS // len(ats))))]
        for k in range(len(sums), len(places)):
            sums[k % len(sums)] = combine(sums[k % len(sums)], term(k))
        return plain(fold_terms(len(sums), sums.__getitem__, combine))


def kernel_contracts(kernel: Kernel) -> bool:
    """Whether the order of a kernel's sums is free."""
    return kernel.contract and all(result.value.dtype.is_float for result in kernel.results)


def _together(kernel: Kernel, terms: int, slices: int, parts: int) -> int:
    """Return how many slices are reduced side by side: their partial results, log2(terms) deep, fit the registers."""
    depth = 2 if kernel_contracts(kernel) else min(terms, LANES).bit_length() + 1
    return max(1, min(4, slices, REGISTERS // (depth * parts)))


def copy_array(builder: Builder, array: Node, source: int, target: int) -> None:
    """Copy an array from one place to another, and not a byte beyond."""
    dtype, count = array.dtype, size(array.shape)
    per_vector = builder.vector_bytes // dtype.size
    vectors = 0 if dtype is bool_ else count // per_vector
    if vectors:
        kernel = kernel_of_one(dtype, (vectors * per_vector,), (1,))
        Nest(builder, structure(KERNEL, [], kernel, dtype, ()), [source], [], [target]).write()
    for i in range(vectors * per_vector, count):
        value = builder.new_value(None, dtype, source + i * dtype.size, IN_MEMORY)
        builder.store(array, value, target + i * dtype.size)


class _Line:
    """Writes reductions of elements side by side, in the order of `ops.shape.fold_halves`."""

    def __init__(self, nest: Nest, steps: Steps, width: int) -> None:
        """width: the elements of a slice that are reduced with one another; 1 where lanes run across the reduction."""
        self.nest = nest
        self.lanes = nest.lanes
        self.steps = steps
        self.width = width
        self.groups = LANES // width
        self.folds = nest.lanes.folds

    def total(self, count: int, at: At) -> list[int]:
        """Return the reduced scalars of `count` elements from `at` on."""
        return self._halved(self._chunk(count, at)) if count <= CHUNK else self._chunks(count, at)

    def columns(self, count: int, at: At) -> list[Wide]:
        """Return the reductions of at most CHUNK slices, lane by lane."""
        found = []
        for slices, (fold, dtype) in zip(self._chunk(count, at), self.folds, strict=True):
            found.append(fold_terms(len(slices), slices.__getitem__, partial(self.lanes.combine, fold, dtype)))
        return found

    def _chunks(self, count: int, at: At) -> list[int]:
        """Reduce chunk by chunk into arrays of partial results, and those by the same rule."""
        builder, node = self.nest.builder, self.nest.node
        whole, rest = divmod(count, CHUNK)
        places = [builder.memory.place(dtype, (whole + 1 + LANES,), None) for _, dtype in self.folds]

        def chunk(here: At, length: int) -> None:
            for place, (_, dtype), value in zip(places, self.folds, self._halved(self._chunk(length, here)), strict=True):
                offset = place + here.moved[-1] * dtype.size
                builder.emit(node, f"put.{dtype.short}", None, (value, self.nest.known(here.index[-1])), offset)

        def body(here: At, _: Sequence[Wide]) -> Sequence[Wide]:
            chunk(here, CHUNK)
            return ()

        steps = (*[step * CHUNK for step in self.steps[:-1]], 1)
        self.nest.loop(whole, steps, at, body)
        if rest:
            chunk(at.step(steps, whole), rest)
        partials = whole + (rest > 0)
        return [self._of_partials(place, partials, fold, dtype) for place, (fold, dtype) in zip(places, self.folds, strict=True)]

    def _of_partials(self, place: int, count: int, fold: Op, dtype: DType) -> int:
        """Reduce partial results that lie side by side."""
        node = structure(KERNEL, [], kernel_of_one(dtype, (count,), (1,), fold=fold), dtype, ())
        return Nest(self.nest.builder, node, [place], [], [-1]).write()[0]

    def _chunk(self, count: int, at: At) -> list[list[Wide]]:
        """Return for each reduction its lanes over at most CHUNK elements, as slices."""
        if count <= BLOCK:
            return self._block(count, at)
        whole, rest = divmod(count, BLOCK)
        room = [[self.lanes.room(fold, dtype) for _ in range(self.groups)] for fold, dtype in self.folds]

        def block(here: At, length: int) -> None:
            for (fold, dtype), places, slices in zip(self.folds, room, self._block(length, here), strict=True):
                for place, value in zip(places, slices, strict=False):
                    self.lanes.keep(place, self.lanes.combine(fold, dtype, self.lanes.kept(place, dtype, self.nest.known(None)), value))

        def body(here: At, _: Sequence[Wide]) -> Sequence[Wide]:
            block(here, BLOCK)
            return ()

        steps = tuple([step * BLOCK for step in self.steps])
        self.nest.loop(whole, steps, at, body)
        if rest:
            block(at.step(steps, whole), rest)
        pairs = zip(room, self.folds, strict=True)
        return [[self.lanes.kept(place, dtype, self.nest.known(None)) for place in places] for places, (_, dtype) in pairs]

    def _block(self, count: int, at: At) -> list[list[Wide]]:
        """Return the lanes over at most BLOCK elements: a slice each, fewer than a vector where there are fewer elements."""
        whole, rest = divmod(count, LANES)
        width = self.width
        first = LANES if whole else rest
        sums = [self._plain(self._terms(at.step(self.steps, s * width), first - s * width)) for s in range(-(-first // width))]
        if whole > 1:
            sums = self._add_blocks(sums, whole - 1, at.step(self.steps, LANES))
        if whole and rest:
            for s in range(-(-rest // width)):
                terms = self._terms(at.step(self.steps, whole * LANES + s * width), rest - s * width)
                sums[s] = self.lanes.joined(sums[s], terms)
        return [list(column) for column in zip(*sums, strict=True)]

    def _add_blocks(self, sums: list[list[Wide]], trips: int, at: At) -> list[list[Wide]]:
        def blocks(here: At, sums: list[list[Wide]]) -> list[list[Wide]]:
            width = self.width
            return [self.lanes.joined(total, self._terms(here.step(self.steps, s * width), width)) for s, total in enumerate(sums)]

        steps = tuple([step * LANES for step in self.steps])
        if trips * self.groups * self.lanes.operations <= WRITTEN_OUT:
            for trip in range(trips):
                sums = blocks(at.step(steps, trip), sums)
            return sums

        def body(here: At, carried: Sequence[Wide]) -> Sequence[Wide]:
            return [value for values in blocks(here, self.lanes.grouped(carried)) for value in values]

        flat = [value for values in sums for value in values]
        shorts = [wide_short(dtype, value.lane) for values in sums for value, (_, dtype) in zip(values, self.folds, strict=True)]
        return self.lanes.grouped(self.nest.loop(trips, steps, at, body, flat, shorts))

    def _plain(self, terms: Sequence[Wide | Factors]) -> list[Wide]:
        return [self.lanes.plain(term, dtype) for term, (_, dtype) in zip(terms, self.folds, strict=True)]

    def _terms(self, at: At, left: int) -> list[Wide | Factors]:
        """Return what is reduced at one slice, of which `left` elements count; arrays are written on the way."""
        found: list[Wide | Factors] = []
        for number, (value, result) in enumerate(zip(self.lanes.results(self.nest.read(at)), self.nest.kernel.results, strict=True)):
            dtype = result.value.dtype
            if result.fold is None:
                self.nest.store(number, self.lanes.plain(value, dtype), at)
                continue
            term = self.lanes.term(value, dtype)
            found.append(term if left >= self.width else self.lanes.only_first(self.lanes.plain(term, dtype), left, result.fold, dtype))
        return found

    def _halved(self, lanes: Sequence[list[Wide]]) -> list[int]:
        return [self.lanes.halve(slices, fold, dtype) for slices, (fold, dtype) in zip(lanes, self.folds, strict=True)]
