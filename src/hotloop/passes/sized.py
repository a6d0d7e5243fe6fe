"""Kernels as functions over arrays of any size: what a call of the code works on lies in slots of its data.

The caller (`ArrayFunction` in the runner) writes addresses and a count, and calls. The elements that fill
no block are in arrays of one block of their own, so that the code reads and writes nothing beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hotloop.dtypes import DType, bool_, int32, int64
from hotloop.ir.graph import Node, constant
from hotloop.ir.op import wide_short
from hotloop.ir.program import IN_MEMORY, WIDE_NUMBER, overloads
from hotloop.ops.shape import BLOCK, LANES
from hotloop.passes.kernel import Kernel
from hotloop.passes.lanes import Factors, Lanes, Wide
from hotloop.passes.wide import MASKS

if TYPE_CHECKING:
    from hotloop.passes.linearize import Builder


@dataclass(frozen=True, slots=True)
class Slots:
    """Where the data holds what a call is given; offsets in bytes.

    count: number of elements; block: how many the code takes at once. streams, stores: (address of the
    elements, address of those that fill no block) of each array; scalars: of the operands that are
    numbers; partials: of what reductions give.
    """

    count: int
    block: int
    streams: tuple[tuple[int, int], ...]
    stores: tuple[tuple[int, int], ...]
    scalars: tuple[int, ...]
    partials: tuple[int, ...]


class Sized:
    """Writes one kernel as a program of its own."""

    def __init__(self, builder: Builder, node: Node) -> None:
        self.builder = builder
        self.node = node
        self.kernel: Kernel = node.attr
        self.lanes = Lanes(builder, node, builder.vector_bytes)
        kernel = self.kernel
        self.loads = [self._load_of(stream.param.dtype) for stream in kernel.streams]
        self.folds = self.lanes.folds
        written = [result.value.dtype for result in kernel.results if result.fold is None]
        self.slots = Slots(
            count=self._slot(int64),
            block=LANES if self.folds else self.lanes.together * self.lanes.slice,
            streams=tuple([(self._slot(int64), self._slot(int64)) for _ in kernel.streams]),
            stores=tuple([(self._slot(int64), self._slot(int64)) for _ in written]),
            scalars=tuple([self._slot(param.dtype) for param in kernel.scalars]),
            partials=tuple([self._slot(dtype) for _, dtype in self.folds]),
        )

    def write(self) -> Slots:
        """Write the code and return where it finds its operands."""
        builder, slots = self.builder, self.slots
        params = self.kernel.scalars
        self.lanes.prepare({p.id: self._known(p.dtype, slot) for p, slot in zip(params, slots.scalars, strict=True)})
        self.pointers = {place: self._known(int64, place) for pair in (*slots.streams, *slots.stores) for place in pair}
        self.zero = builder.use(constant(0, int64))
        self.count = self._known(int64, slots.count)
        self.full = self._scalar("and.i64.i64", self.count, builder.use(constant(-slots.block, int64)))
        self.rest = self._scalar("sub.i64.i64", self.count, self.full)
        if self.folds:
            self._fold()
        else:
            self._map(self.full, slots.block, tail=False)
            self._map(self.rest, self.lanes.slice, tail=True)
        return slots

    # -- slots and scalars -------------------------------------------------------------------------

    def _slot(self, dtype: DType) -> int:
        return self.builder.memory.place(dtype, (), None)

    def _known(self, dtype: DType, place: int) -> int:
        return self.builder.new_value(None, dtype, place, IN_MEMORY)

    def _scalar(self, name: str, *uses: int) -> int:
        return self.builder.emit(self.node, name, self.builder.new_value(None, int64), uses, 0)

    def _number(self, number: int) -> int:
        return self.builder.use(constant(number, int64))

    def _below(self, x: int, y: int) -> int:
        return self.builder.emit(self.node, "lt.i64.i64", self.builder.new_value(None, bool_), (x, y), 0)

    # -- loops -------------------------------------------------------------------------------------

    def _range(
        self, start: int, limit: int, step: int, inside: Callable[[int, Sequence[Wide]], Sequence[Wide]],
        carried: Sequence[Wide] = (), shorts: Sequence[str] = (), known: bool = False,
    ) -> list[Wide]:  # fmt: skip
        """Write a loop over start, start + step, ... below limit; known: it has at least one trip."""
        builder = self.builder
        condition = -1 if known else self._below(start, limit)
        index = builder.new_value(None, int64)
        pairs, wides = self.lanes.carry(carried, shorts)
        loop = builder.begin_range(self.node, limit, condition, [(index, start), *pairs])
        given = inside(index, wides)
        following = self._scalar("add.i64.i64", index, self._number(step))
        builder.end_loop(self.node, loop, [following, *[part for wide in given for part in wide.parts]], limit)
        return wides

    def _map(self, limit: int, step: int, tail: bool) -> None:
        def block(index: int, _: Sequence[Wide]) -> Sequence[Wide]:
            for first in range(0, step, self.lanes.slice):
                self._terms(index, first, tail)
            return ()

        self._range(self.zero, limit, step, block)

    # -- one slice -----------------------------------------------------------------------------------

    def _terms(self, index: int, first: int, tail: bool) -> list[Wide | Factors]:
        """Write the body at `first` elements beyond index; write arrays, and return what is reduced."""
        values = self.lanes.results(partial(self._load, index, first, tail))
        found: list[Wide | Factors] = []
        stores = iter(self.slots.stores)
        for value, result in zip(values, self.kernel.results, strict=True):
            dtype = result.value.dtype
            if result.fold is None:
                self._store(self.lanes.plain(value, dtype), dtype, self.pointers[next(stores)[tail]], index, first)
            else:
                found.append(self.lanes.term(value, dtype))
        return found

    def _load(self, index: int, first: int, tail: bool, number: int) -> Wide:
        lane, overload, dtype, size, parts = self.loads[number]
        pointer, per_part = self.pointers[self.slots.streams[number][tail]], self.builder.vector_bytes // lane
        places = [(first + part * per_part) * size for part in parts]
        return Wide(lane, tuple([self.lanes.put(overload, dtype, (pointer, index), place) for place in places]))

    def _load_of(self, dtype: DType) -> tuple[int, int, int, int, range]:
        """Return bytes of a lane, overload, type of the result, bytes of an element, and registers of a stream's elements."""
        lane = self.lanes.lane(dtype)
        short = wide_short(dtype, lane)
        return lane, overloads()[f"loadp.{short}"], WIDE_NUMBER[short], dtype.size, self.lanes.parts_of(dtype)

    def _store(self, value: Wide, dtype: DType, pointer: int, index: int, first: int) -> None:
        short, per_part = wide_short(dtype, value.lane), self.builder.vector_bytes // value.lane
        for k, part in enumerate(value.parts):
            self.builder.emit(self.node, f"storep.{short}", None, (part, pointer, index), (first + k * per_part) * dtype.size)

    # -- reductions ----------------------------------------------------------------------------------

    def _fold(self) -> None:
        """Reduce at most CHUNK elements in the order of `ops.shape.fold_halves`."""
        slices = range(0, LANES, self.lanes.slice)
        room = [[self.lanes.room(fold, dtype) for _ in slices] for fold, dtype in self.folds]

        def block(base: int, _: Sequence[Wide]) -> Sequence[Wide]:
            sums = self._block(base)
            for k, (fold, dtype) in enumerate(self.folds):
                for places, value in zip(room[k], sums[k :: len(self.folds)], strict=True):
                    self.lanes.keep(places, self.lanes.combine(fold, dtype, self.lanes.kept(places, dtype, self.zero), value))
            return ()

        self._range(self.zero, self.count, BLOCK, block, known=True)
        for k, (fold, dtype) in enumerate(self.folds):
            total = self.lanes.halve([self.lanes.kept(places, dtype, self.zero) for places in room[k]], fold, dtype)
            self.builder.store(self.node, total, self.slots.partials[k])

    def _block(self, base: int) -> list[Wide]:
        """Return the lanes over one BLOCK from base on: slice by slice those of all reductions."""
        slices = range(0, LANES, self.lanes.slice)
        start = [self.lanes.identity(fold, dtype) for _ in slices for fold, dtype in self.folds]
        shorts = [wide_short(dtype, value.lane) for value, (_, dtype) in zip(start, self.folds * len(slices), strict=True)]
        end = self._scalar("add.i64.i64", base, self._number(BLOCK))
        limit = self._scalar("minimum.i64.i64", end, self.full)

        def whole(index: int, sums: Sequence[Wide]) -> Sequence[Wide]:
            groups = zip(slices, self.lanes.grouped(sums), strict=True)
            terms = ((group, self._terms(index, first, tail=False)) for first, group in groups)
            return [total for group, found in terms for total in self.lanes.joined(group, found)]

        sums = self._range(base, limit, LANES, whole, start, shorts)
        # the elements that fill no 32 lanes belong to the block in which the full ones end
        beyond = self._scalar("maximum.i64.i64", self._scalar("sub.i64.i64", end, self.full), self.zero)
        left = self._scalar("mul.i64.i64", self._scalar("minimum.i64.i64", beyond, self._number(1)), self.rest)

        def last(index: int, sums: Sequence[Wide]) -> Sequence[Wide]:
            rest, totals = self._splat_rest(), iter(sums)
            found = []
            for first in slices:
                mask = self._mask(first, rest)
                for term, (fold, dtype) in zip(self._terms(index, first, tail=True), self.folds, strict=True):
                    counted = self.lanes.choose(mask, self.lanes.plain(term, dtype), fold, dtype)
                    found.append(self.lanes.combine(fold, dtype, next(totals), counted))
            return found

        return self._range(self.zero, left, LANES, last, sums, shorts)

    def _splat_rest(self) -> int:
        """Return at every lane how many elements fill no 32 lanes."""
        if self.lanes.narrowest == 8:
            return self.lanes.emit("splat.i64w", "i64w", (self.rest,))
        rest = self.builder.emit(self.node, "to_int32.i64", self.builder.new_value(None, int32), (self.rest,), 0)
        return self.lanes.emit("splat.i32w", "i32w", (rest,))

    def _mask(self, first: int, rest: int) -> Wide:
        """Return where the lanes from `first` on are elements that count."""
        lane, width = self.lanes.narrowest, self.lanes.slice
        places = self.builder.memory.vector(np.arange(first, first + width).astype(f"i{lane}").tobytes())
        short = wide_short(int32 if lane == 4 else int64, lane)
        numbers = self.builder.new_wide(short, places, IN_MEMORY)
        return Wide(lane, (self.lanes.emit(f"lt.{short}.{short}", MASKS[lane], (numbers, rest)),))
