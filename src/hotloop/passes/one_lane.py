"""`OneLane`: writes a kernel on scalars, an element at a time, for targets without vectors of lanes.

Reductions keep the order of `ops.shape.fold_halves`, so they have the bits of every other target. Short ones are
written out, deepest terms first, so that at most six partial results live; longer ones go lane by lane through
loops, and the lanes' results, in memory, are halved at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from hotloop.dtypes import DType
from hotloop.ir.graph import CONST, PARAM, Node, structure
from hotloop.ir.loop import dependents
from hotloop.ir.op import Op
from hotloop.ir.program import CHANGING, COPY, IN_MEMORY, overload_numbers
from hotloop.ir.rewrite import walk
from hotloop.ops import arith
from hotloop.ops.shape import BLOCK, CHUNK, LANES, fold_terms
from hotloop.passes.kernel import KERNEL, Kernel, kernel_of_one
from hotloop.passes.lanes import factors_of
from hotloop.passes.loops import At, Loops, Steps

if TYPE_CHECKING:
    from hotloop.passes.linearize import Builder

# Each trades bytes of code, three or four an instruction, for the five instructions that a trip of a loop costs.
WRITTEN_OUT = 48  # instructions up to which loops of maps are written out
LONGEST_TRIP = 24  # instructions up to which a trip takes several elements
WRITTEN_TERMS = 512  # instructions up to which all terms of a reduction are written out

Read = Callable[[int], int]  # stream number -> value of its element
Term = tuple[int, ...]  # a value, or the two factors of a product that is not multiplied yet


class Body:
    """Writes the body of one kernel."""

    def __init__(self, builder: Builder, node: Node, scalars: Mapping[int, int]) -> None:
        """Write what is the same at every element. scalars: values of scalar params by id."""
        kernel: Kernel = node.attr
        self.builder = builder
        self.node = node
        self.ends = [factors_of(kernel, result) or (result.value,) for result in kernel.results]
        self.folds = [(result.fold, result.value.dtype) for result in kernel.results]
        ends = [end for pair in self.ends for end in pair]
        params = [stream.param for stream in kernel.streams]
        self.number = {param.id: k for k, param in enumerate(params)}
        self.steps = [n for n in dependents(ends, params) if n.op is not PARAM]
        inside = {n.id for n in self.steps} | set(self.number)
        self.fixed = dict(scalars)
        for n in walk(ends):
            if n.op is CONST:
                self.fixed[n.id] = builder.use(n)
            elif n.id not in inside and n.op is not PARAM:
                self.fixed[n.id] = self._write(n, self.fixed)
        self.cost = len(self.steps) + len(params) + len(kernel.results)  # instructions

    def terms(self, read: Read) -> list[Term]:
        """Write the body at one element; return what the results are there."""
        found = dict(self.fixed)

        def use(node: Node) -> int:
            if node.id not in found:
                found[node.id] = read(self.number[node.id])
            return found[node.id]

        for step in self.steps:
            for arg in step.args:
                use(arg)
            found[step.id] = self._write(step, found)
        return [tuple([use(end) for end in pair]) for pair in self.ends]

    def plain(self, number: int, term: Term) -> int:
        """Return a result that is multiplied, if it is a product."""
        return term[0] if len(term) == 1 else self.apply(arith.mul, self.folds[number][1], term)

    def combine(self, number: int, x: int, y: Term) -> int:
        """Return a reduction's partial result with a further term; a product is added by a multiply-add."""
        op, dtype = self.folds[number]
        assert op is not None
        return self.apply(arith.fma, dtype, (*y, x)) if len(y) == 2 else self.apply(op, dtype, (x, *y))

    def apply(self, op: Op, dtype: DType, uses: tuple[int, ...]) -> int:
        """Append a row on operands of one type, which its result has too."""
        builder = self.builder
        value = builder.new_value(None, dtype)
        builder.code.extend((overload_numbers()[op, dtype], value, *uses, *[-1] * (3 - len(uses)), 0))
        builder.listed.append(self.node)
        return value

    def _write(self, node: Node, found: Mapping[int, int]) -> int:
        builder, uses = self.builder, [found[arg.id] for arg in node.args]
        value = builder.new_value(None, node.dtype)
        overload = overload_numbers()[node.op, node.args[-1].dtype]
        builder.code.extend((overload, value, *uses, *[-1] * (3 - len(uses)), 0))
        builder.listed.append(self.node)
        return value


class OneLane(Loops):
    """Writes one kernel as instructions of a program, on scalars."""

    written_out = WRITTEN_OUT
    lanes_run = False

    def __init__(self, builder: Builder, node: Node, sources: Sequence[int], scalars: Sequence[int], targets: Sequence[int]) -> None:
        """Take the places of the arrays read (sources), values (scalars), and the places of results, -1 for scalars (targets)."""
        super().__init__(builder, node, sources, targets)
        self.body = Body(builder, node, {param.id: value for param, value in zip(self.kernel.scalars, scalars, strict=True)})
        self.folded = [k for k, result in enumerate(self.kernel.results) if result.fold is not None]
        self.known_elements: dict[int, int] = {}  # place -> value of what is read where no loop runs
        self.pointers: dict[tuple[int, int], tuple[int, int]] = {}  # (array, index) -> pointer, its place at index 0

    def write(self) -> list[int]:
        """Write the kernel; return the values of results that are scalars, -1 for others."""
        kernel = self.kernel
        found = [-1] * len(kernel.results)
        if not self.folded:
            self._map(self.start)
        elif kernel.kept == 0:
            for k, value in zip(self.folded, self._reduced(self.start), strict=True):
                found[k] = value
        else:
            cost = self.body.cost * math.prod(kernel.shape[kernel.kept :])
            self.each(self.dims(0, kernel.kept), self.start, cost, self._row)
        return found

    def around(
        self, count: int, steps: Steps, at: At, inside: Callable[[At], Sequence[int]], carried: Sequence[tuple[int, int]] = ()
    ) -> None:
        """Write a loop; the pointers that it makes are gone after it."""
        before = dict(self.pointers)
        super().around(count, steps, at, inside, carried)
        self.pointers = before

    # -- memory ------------------------------------------------------------------------------------

    def _read(self, at: At, near: Steps, fixed: Mapping[int, int]) -> Read:
        """Return what reads an array, by number. near: the steps between this place and others that are read beside it."""
        return lambda k: fixed[k] if k in fixed else self._element(k, at, near[k] != 0)

    def _element(self, number: int, at: At, several: bool = False) -> int:
        """Return an element of an array that is read. several: others are read beside it, by one pointer."""
        array, builder = self.arrays[number], self.builder
        dtype, index = array.node.dtype, at.index[number]
        place = array.place + at.moved[number] * dtype.size
        if index is not None and several and builder.pointers:
            pointer, start = self._pointer(number, dtype, place, index)
            return builder.emit(self.node, f"peek.{dtype.short}", builder.new_value(None, dtype), (pointer,), place - start)
        if index is not None:
            return builder.emit(self.node, f"get.{dtype.short}", builder.new_value(None, dtype), (index,), place)
        if place not in self.known_elements:
            self.known_elements[place] = self._at_place(dtype, place, CHANGING if builder.depth else 0)
        return self.known_elements[place]

    def _pointer(self, number: int, dtype: DType, place: int, index: int) -> tuple[int, int]:
        """Return a pointer to about the place in an array, and where it points to for an index of 0."""
        if (number, index) not in self.pointers:
            builder = self.builder
            pointer = builder.emit(self.node, f"point.{dtype.short}", builder.new_value(None, builder.index), (index,), place)
            self.pointers[number, index] = pointer, place
        return self.pointers[number, index]

    def _at_place(self, dtype: DType, place: int, flags: int) -> int:
        return self.builder.new_value(None, dtype, place, IN_MEMORY | flags)

    def _store(self, number: int, value: int, at: At, several: bool = False) -> None:
        """Write an element of a result. several: others are written beside it, by one pointer."""
        array, index = self.results[number], at.index[self.out]
        dtype = array.node.dtype
        place = array.place + at.moved[self.out] * dtype.size
        if index is not None and several and self.builder.pointers:
            pointer, start = self._pointer(self.out + number, dtype, place, index)
            self.builder.emit(self.node, f"poke.{dtype.short}", None, (value, pointer), place - start)
        else:
            self._put(value, dtype, place, index)

    def _put(self, value: int, dtype: DType, place: int, index: int | None) -> None:
        if index is None:
            self.builder.store(self.node, value, place)
        else:
            self.builder.emit(self.node, f"put.{dtype.short}", None, (value, index), place)

    def _room(self, key: object, dtype: DType, count: int) -> int:
        """Return a place for partial results, which other kernels use after this one."""
        rooms = self.builder.rooms
        if (key, dtype, count) not in rooms:
            rooms[key, dtype, count] = self.builder.memory.place(dtype, (count,), None)
        return rooms[key, dtype, count]

    # -- maps --------------------------------------------------------------------------------------

    def _map(self, at: At) -> None:
        dims = self.dims(0, len(self.kernel.shape))
        if not dims:
            self._places(at, self.start.moved, {})
            return
        *outer, (count, steps) = dims
        cost = self.body.cost
        written = count * cost <= WRITTEN_OUT
        self.each(outer, at, count * cost if written else WRITTEN_OUT, partial(self._line, count, steps, written))

    def _line(self, count: int, steps: Steps, written: bool, at: At) -> None:
        """Write a map along one dimension."""
        together = 1 if written else next(k for k in (4, 2, 1) if k == 1 or (k * self.body.cost <= LONGEST_TRIP and k <= count))
        trips = 0 if written else count // together
        if trips:
            still = {k: self._held(k, at) for k in range(len(self.arrays)) if not steps[k]}

            def trip(here: At) -> Sequence[int]:
                for k in range(together):
                    self._places(here.step(steps, k), steps if together > 1 else self.start.moved, still)
                return ()

            self.around(trips, tuple([step * together for step in steps]), at, trip)
        for k in range(trips * together, count):
            self._places(at.step(steps, k), steps, {})

    def _held(self, number: int, at: At) -> int:
        """Return an element that a loop reads again and again, as a value that a register can hold."""
        value = self._element(number, at)
        if at.index[number] is not None:
            return value
        dtype = self.arrays[number].node.dtype
        copy = self.builder.new_value(None, dtype)
        self.builder.code.extend((COPY, copy, value, -1, -1, 0))
        self.builder.listed.append(self.node)
        return copy

    def _places(self, at: At, near: Steps, fixed: Mapping[int, int]) -> None:
        """Write all results at one place."""
        for number, term in enumerate(self.body.terms(self._read(at, near, fixed))):
            self._store(number, self.body.plain(number, term), at, near[self.out] != 0)

    # -- reductions --------------------------------------------------------------------------------

    def _row(self, at: At) -> None:
        for number, value in zip(self.folded, self._reduced(at), strict=True):
            self._store(number, value, at)

    def _reduced(self, at: At) -> list[int]:
        """Return the values of the reductions at one place of the kept dimensions."""
        kernel = self.kernel
        lengths = kernel.shape[kernel.kept :]
        dims = self.dims(kernel.kept, len(kernel.shape))
        if len(dims) == 1 and math.prod(lengths) * self.body.cost > WRITTEN_TERMS:
            ((count, steps),) = dims
            return self._in_any_order(count, steps, at) if self._is_free() else self._long(count, steps, at)
        places = [
            at.step(tuple(map(sum, zip(*[[k * step for step in self.steps[d]] for d, k in enumerate(ks, kernel.kept)], strict=True))))
            for ks in product(*map(range, lengths))
        ]
        near = tuple([max(map(abs, column)) for column in zip(*self.steps[kernel.kept :], strict=True)])
        if self._is_free():
            sums = self._plain(self._terms(places[0], near))
            for place in places[1:]:
                sums = self._joined(sums, self._terms(place, near))
            return sums
        return self._tree(len(places), lambda k: self._terms(places[k], near))

    def _is_free(self) -> bool:
        """Whether the order of the sums is free."""
        return self.kernel.contract and all(
            self.body.folds[k][0] is arith.add and self.body.folds[k][1].is_float for k in self.folded
        )  # fmt: skip

    def _terms(self, at: At, near: Steps) -> list[Term]:
        """Return what is reduced at one place; results that are arrays are written on the way."""
        found = []
        for number, term in enumerate(self.body.terms(self._read(at, near, {}))):
            if self.kernel.results[number].fold is None:
                self._store(number, self.body.plain(number, term), at, near[self.out] != 0)
            else:
                found.append(term)
        return found

    def _plain(self, terms: Sequence[Term]) -> list[int]:
        return [self.body.plain(k, term) for k, term in zip(self.folded, terms, strict=True)]

    def _joined(self, sums: Sequence[int], terms: Sequence[Term]) -> list[int]:
        return [self.body.combine(k, x, y) for k, x, y in zip(self.folded, sums, terms, strict=True)]

    def _tree(self, count: int, terms: Callable[[int], Sequence[Term]]) -> list[int]:
        """Combine terms in the fixed order."""

        def combine(x: Sequence[Term], y: Sequence[Term]) -> list[Term]:
            return [(value,) for value in self._joined(self._plain(x), y)]

        return self._plain(fold_terms(count, terms, combine))

    def _long(self, count: int, steps: Steps, at: At) -> list[int]:
        """Reduce one line by loops: a chunk, or chunk by chunk into arrays that are reduced by the same rule."""
        if count <= CHUNK:
            return self._chunk(count, steps, at)
        whole, rest = divmod(count, CHUNK)
        partials = whole + (rest > 0)
        dtypes = [self.body.folds[k][1] for k in self.folded]
        places = [self._room(("chunks", k), dtype, partials) for k, dtype in enumerate(dtypes)]
        by_chunks = (*[step * CHUNK for step in steps[:-1]], 1)

        def chunk(length: int, here: At) -> Sequence[int]:
            apart = At((*here.index[:-1], None), (*here.moved[:-1], 0))  # the lanes count for themselves
            for place, dtype, value in zip(places, dtypes, self._chunk(length, steps, apart), strict=True):
                self._put(value, dtype, place + here.moved[-1] * dtype.size, here.index[-1])
            return ()

        self.around(whole, by_chunks, at, partial(chunk, CHUNK))
        if rest:
            chunk(rest, at.step(by_chunks, whole))
        return [self._of_partials(place, partials, *self.body.folds[k]) for place, k in zip(places, self.folded, strict=True)]

    def _of_partials(self, place: int, count: int, fold: Op | None, dtype: DType) -> int:
        node = structure(KERNEL, [], kernel_of_one(dtype, (count,), (1,), fold=fold), dtype, ())
        return OneLane(self.builder, node, [place], [], [-1]).write()[0]

    def _chunk(self, count: int, steps: Steps, at: At) -> list[int]:
        """Reduce at most CHUNK places lane by lane into memory, and halve the lanes."""
        dtypes = [self.body.folds[k][1] for k in self.folded]
        rooms = [self._room(("lanes", k), dtype, LANES) for k, dtype in enumerate(dtypes)]
        by_lanes = (*steps[:-1], 1)
        blocks, rest = divmod(count, BLOCK)
        more = rest % LANES  # lanes that have a term more than the others

        def lane(terms: int, here: At) -> Sequence[int]:
            for room, dtype, value in zip(rooms, dtypes, self._lane(blocks, terms, steps, here), strict=True):
                self._put(value, dtype, room + here.moved[-1] * dtype.size, here.index[-1])
            return ()

        if more:
            self.around(more, by_lanes, at, partial(lane, rest // LANES + 1))
        if more < min(LANES, count):
            self.around(min(LANES, count) - more, by_lanes, at.step(by_lanes, more), partial(lane, rest // LANES))

        def kept(k: int) -> list[Term]:
            return [
                (self._at_place(dtype, room + k * dtype.size, CHANGING),) for room, dtype in zip(rooms, dtypes, strict=True)
            ]  # fmt: skip

        return self._tree(min(LANES, count), kept)

    def _lane(self, blocks: int, terms: int, steps: Steps, at: At) -> list[int]:
        """Reduce one lane: each block's terms one after the other, and the blocks; `terms` are those of the last, short block."""
        by_blocks = tuple([step * BLOCK for step in steps])
        if not blocks:
            return self._sequence(terms, steps, at)
        sums = self._sequence(BLOCK // LANES, steps, at)
        if blocks > 1:
            carried = self._carried(sums)

            def block(here: At) -> Sequence[int]:
                return self._joined([param for param, _ in carried], [(x,) for x in self._sequence(BLOCK // LANES, steps, here)])

            self.around(blocks - 1, by_blocks, at.step(by_blocks), block, carried)
            sums = [param for param, _ in carried]
        if terms:
            sums = self._joined(sums, [(x,) for x in self._sequence(terms, steps, at.step(by_blocks, blocks))])
        return sums

    def _sequence(self, count: int, steps: Steps, at: At) -> list[int]:
        """Combine `count` terms that are LANES steps apart, one after the other."""
        first = self._plain(self._terms(at, steps if count > 1 else self.start.moved))
        return self._added(first, count - 1, tuple([LANES * step for step in steps]), at.step(steps, LANES))

    def _added(self, sums: Sequence[int], count: int, steps: Steps, at: At) -> list[int]:
        """Combine `sums` with `count` terms, one after the other."""
        together = 1
        while 2 * together * self.body.cost <= LONGEST_TRIP:
            together *= 2
        trips = count // together if count * self.body.cost > WRITTEN_OUT else 0
        if trips:
            carried = self._carried(sums)

            def trip(here: At) -> Sequence[int]:
                found = [param for param, _ in carried]
                for k in range(together):
                    found = self._joined(found, self._terms(here.step(steps, k), steps if together > 1 else self.start.moved))
                return found

            self.around(trips, tuple([step * together for step in steps]), at, trip, carried)
            sums = [param for param, _ in carried]
        for k in range(trips * together, count):
            sums = self._joined(sums, self._terms(at.step(steps, k), steps))
        return list(sums)

    def _carried(self, values: Sequence[int]) -> list[tuple[int, int]]:
        """Return (param, init) of the partial results that a loop carries."""
        return [
            (self.builder.new_value(None, self.body.folds[k][1]), value) for k, value in zip(self.folded, values, strict=True)
        ]  # fmt: skip

    def _in_any_order(self, count: int, steps: Steps, at: At) -> list[int]:
        """Reduce one line by one loop."""
        return self._added(self._plain(self._terms(at, self.start.moved)), count - 1, steps, at.step(steps))
