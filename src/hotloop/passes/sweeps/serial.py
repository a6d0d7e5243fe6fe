"""Sweeps as functions over a range of elements, written element by element: whatever a body holds.

The caller writes the range, registers and states to the data, and calls; see `_runner.ParallelFunction`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hotloop.dtypes import DType, bool_, int64
from hotloop.ir.graph import LOOP, Node, constant
from hotloop.ir.op import Op
from hotloop.ir.program import COPY, IN_MEMORY, Program
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import Operator, Reduce
from hotloop.ops.shape import BLOCK, LANES, identity
from hotloop.passes.linearize import Builder
from hotloop.passes.sweeps.effects import Folding, Task, is_serial
from hotloop.passes.sweeps.frame import Frame

Values = list[int]


@dataclass(slots=True)
class Slots:
    """Where the data holds what a task carries: (state, the other one that is combined with it), flags, what a filter has kept."""

    states: list[tuple[int, int]]
    flags: list[int]
    position: int

    @classmethod
    def of(cls, task: Task, frame: Frame) -> Slots:
        """Reserve places for a task."""
        states = [(frame.place(state.dtype), frame.place(state.dtype)) for state in task.states]
        return cls(states, [frame.place(bool_) for _ in task.flags], frame.place(int64))


def depending(nodes: Iterable[Node], sources: Iterable[Node]) -> tuple[list[Node], list[Node]]:
    """Return the nodes that depend on none of `sources`, and those that do."""
    ids = {source.id for source in sources}
    outside, inside = [], []
    for node in nodes:
        if node.id in ids or any(arg.id in ids for arg in node.args):
            ids.add(node.id)
            inside.append(node)
        else:
            outside.append(node)
    return outside, inside


class Writer:
    """Instructions of one function, and the loops that all functions need."""

    def __init__(self, frame: Frame, vector_bytes: int, node: Node) -> None:
        """Begin a function. node: what listings show for instructions that no node stands for."""
        self.frame = frame
        self.builder = Builder(vector_bytes, frame=frame)
        self.node = node
        self.vector_bytes = vector_bytes

    def known(self, dtype: DType, place: int) -> int:
        """Return what is at a place of the data when the function is called."""
        return self.builder.new_value(None, dtype, place, IN_MEMORY)

    def number(self, number: int) -> int:
        """Return a constant int64."""
        return self.builder.use(constant(number, int64))

    def emit(self, name: str, dtype: DType | None, *uses: int, immediate: int = 0) -> int:
        """Append an instruction by the name of its overload and return its result, if it has one."""
        result = None if dtype is None else self.builder.new_value(None, dtype)
        return self.builder.emit(self.node, name, result, uses, immediate)

    def integer(self, row: str, *uses: int) -> int:
        """Append an operation on int64."""
        return self.emit(".".join((row, *["i64"] * len(uses))), int64, *uses)

    def row(self, op: Op, dtype: DType, x: int, y: int) -> int:
        """Append a binary row."""
        return self.emit(f"{op.name}.{dtype.short}.{dtype.short}", dtype, x, y)

    def select(self, condition: int, dtype: DType, x: int, y: int) -> int:
        """Append a choice."""
        return self.emit(f"select.b.{dtype.short}.{dtype.short}", dtype, condition, x, y)

    def loop(
        self, start: int, limit: int, carried: Sequence[tuple[DType, int]], inside: Callable[[int, Values], Sequence[int]],
        following: Callable[[int], int] | None = None,
    ) -> Values:  # fmt: skip
        """Write a loop over start, start + 1, ... below limit; return what is carried out of it.

        inside: writes the body for the values of the index and of what is carried, returns the latter's
        next. following: writes the next index, in place of index + 1.
        """
        builder = self.builder
        condition = self.emit("lt.i64.i64", bool_, start, limit)
        index = builder.new_value(None, int64)
        pairs = [(builder.new_value(None, dtype), init) for dtype, init in carried]
        which = builder.begin_range(self.node, limit, condition, [(index, start), *pairs])
        given = inside(index, [param for param, _ in pairs])
        next_index = self.integer("add", index, self.number(1)) if following is None else following(index)
        results = self._own([next_index, *given], [dtype for dtype, _ in ((int64, start), *carried)], index)
        builder.end_loop(self.node, which, results, limit)
        return [param for param, _ in pairs]

    def _own(self, results: Sequence[int], dtypes: Sequence[DType], first: int) -> Values:
        """Return values of this loop alone, each once: copies of what is not computed in it, or is carried by another."""
        builder, taken = self.builder, set()
        params = set(builder.carries[::3])
        found = []
        for result, dtype in zip(results, dtypes, strict=True):
            value = result
            if value < first or value in params or value in taken or builder.values[3 * value + 2] & IN_MEMORY:
                value = builder.new_value(None, dtype)
                builder.code.extend((COPY, value, result, -1, -1, 0))
                builder.listed.append(self.node)
            taken.add(value)
            found.append(value)
        return found


class Serial:
    """Writes the functions of one task."""

    def __init__(self, task: Task, frame: Frame, slots: Slots, vector_bytes: int) -> None:
        self.task = task
        self.frame = frame
        self.slots = slots
        self.vector_bytes = vector_bytes
        self.index = task.sweep.index

    # -- functions -----------------------------------------------------------------------------------

    def run(self) -> Program:
        """Write the function that executes a range of elements."""
        return Function(self, self.task.ends()).run()

    def begin(self) -> Program:
        """Write the function that executes one element, whose values the states become."""
        return Function(self, self.task.ends()).begin()

    def combine(self) -> Program:
        """Write the function that combines two sets of states."""
        return Function(self, [node for operator in self.task.operators for node in operator.combined]).combine()


class Function(Writer):
    """One function of a task while it is written."""

    def __init__(self, serial: Serial, ends: Sequence[Node]) -> None:
        """Begin a function that computes `ends`."""
        super().__init__(serial.frame, serial.vector_bytes, serial.index)
        self.task = task = serial.task
        self.slots = serial.slots
        self.index = serial.index
        self.inner = task.sweep.inner
        self.low, self.high = self.known(int64, self.frame.low), self.known(int64, self.frame.high)
        self.lanes: list[tuple[int, int]] = []  # of each fold whose order counts: rooms for partial results of a block, and of all
        nodes = walk(ends)
        top = self.builder.assign_loops(nodes, [node for node in nodes if node.op is LOOP])
        self.of_operator: dict[int, list[Node]] = {}
        for operator in task.operators:
            top, own = depending(top, (*operator.left, *operator.right))
            self.of_operator[id(operator)] = own
        inner = () if self.inner is None else (self.inner.index,)
        self.outside, inside = depending(top, (self.index, *inner))
        self.inside, self.innermost = depending(inside, inner)

    # -- the functions ---------------------------------------------------------------------------------

    def run(self) -> Program:
        """Write the elements from low to high."""
        task = self.task
        self.builder.add(self.outside)
        carried = [*self._start(), *[(bool_, self.builder.use(constant(False))) for _ in task.flags]]
        if task.filter is not None:
            carried.append((int64, self.known(int64, self.slots.position)))
        if self.lanes and task.blocks:
            # what `begin` has put into lanes is combined even if no element follows
            start = self.integer("sub", self.low, self.number(1)) if task.begins else self.low
            given = self.loop(start, self.high, carried, lambda start, values: self._block(start, carried, values), self._after)
        else:
            given = self.loop(self.low, self.high, carried, self._element)
        self._finish(given)
        return self.builder.program()

    def begin(self) -> Program:
        """Write the element at low: the states are its values."""
        task, builder = self.task, self.builder
        builder.add(self.outside)
        self._define(self.low)
        values: Values = []
        for fold in task.folds:
            value = builder.use(fold.value)
            if fold.ordered:
                self._clear(fold)
                self._put(self.low, fold, len(self.lanes) - 1, value)
            values.append(value)
        for reduce in task.reduces:
            values += [builder.use(node) for node in ([] if reduce.keep is None else [reduce.keep]) + list(reduce.values)]
        if task.scan is not None:
            scanned = [builder.use(value) for value in task.scan.values]
            values += scanned
            self._put_scanned(scanned)
        self._add_stores()
        self.store_states(values)
        self._add_flags([builder.use(value) for value, _ in task.flags])
        return builder.program()

    def combine(self) -> Program:
        """Write the states combined with the others."""
        task = self.task
        self.builder.add(self.outside)
        mine = [self.known(state.dtype, place) for state, (place, _) in zip(task.states, self.slots.states, strict=True)]
        others = [self.known(state.dtype, place) for state, (_, place) in zip(task.states, self.slots.states, strict=True)]
        given = [self.row(fold.op, fold.value.dtype, x, y) for fold, x, y in zip(task.folds, mine, others, strict=False)]
        at = len(given)
        for reduce in task.reduces:
            end = at + len(reduce.values) + (reduce.keep is not None)
            given += self.joined(reduce, mine[at:end], others[at:end])
            at = end
        if task.scan is not None:
            given += self.combined(task.scan.operator, mine[at:], others[at:])
        self.store_states(given)
        return self.builder.program()

    # -- states ----------------------------------------------------------------------------------------

    def _start(self) -> list[tuple[DType, int]]:
        """Return what is carried before the first element: all states but those that have partial results in memory."""
        task, builder = self.task, self.builder
        places = iter([place for place, _ in self.slots.states])
        found = []
        for fold, place in zip(task.folds, places, strict=False):
            if fold.ordered:
                self._room(fold) if task.begins else self._clear(fold)
            else:
                found.append((fold.value.dtype, self.known(fold.value.dtype, place) if task.begins else builder.use(_neutral(fold))))
        empty = task.mode == "fold" and not task.begins
        for state, place in zip(task.states[len(task.folds) :], [place for place, _ in self.slots.states[len(task.folds) :]], strict=True):
            nothing = constant(False if state.dtype is bool_ else 0, state.dtype)
            found.append((state.dtype, builder.use(nothing) if empty else self.known(state.dtype, place)))
        return found

    def _finish(self, given: Values) -> None:
        task, rest, lanes = self.task, iter(given), iter(self.lanes)
        states = [self._halved(fold, next(lanes)[1]) if fold.ordered else next(rest) for fold in task.folds]
        states += [next(rest) for _ in task.states[len(states) :]]
        self.store_states(states)
        self._add_flags([next(rest) for _ in task.flags])
        if task.filter is not None:
            self.builder.store(self.node, next(rest), self.slots.position)

    def store_states(self, values: Values) -> None:
        """Store what the states become."""
        owned = [self._own_copy(state.dtype, value) for state, value in zip(self.task.states, values, strict=True)]
        for value, (place, _) in zip(owned, self.slots.states, strict=True):
            self.builder.store(self.node, value, place)

    def _own_copy(self, dtype: DType, value: int) -> int:
        """Return a value that no later store to memory changes."""
        if not self.builder.values[3 * value + 2] & IN_MEMORY:
            return value
        copy = self.builder.new_value(None, dtype)
        self.builder.code.extend((COPY, copy, value, -1, -1, 0))
        self.builder.listed.append(self.node)
        return copy

    def _add_flags(self, values: Values) -> None:
        for value, place in zip(values, self.slots.flags, strict=True):
            self.builder.store(self.node, self.emit("or.b.b", bool_, self.known(bool_, place), value), place)

    # -- folds in the fixed order ------------------------------------------------------------------------

    def _room(self, fold: Folding) -> None:
        """Make room for the partial results of a fold: of a block, and of all blocks, which are the same if there is but one."""
        size = LANES * fold.value.dtype.size
        first = self.frame.room((id(self.task), len(self.lanes)), size * (2 if self.task.blocks else 1))
        self.lanes.append((first, first + size if self.task.blocks else first))

    def _clear(self, fold: Folding) -> None:
        """Make that room, and let every partial result be what changes nothing."""
        self._room(fold)
        block, total = self.lanes[-1]

        def one(lane: int, _: Values) -> Values:
            for place in {block, total}:
                self.emit(f"put.{fold.value.dtype.short}", None, self.builder.use(_neutral(fold)), lane, immediate=place)
            return []

        self.loop(self.number(0), self.number(LANES), [], one)

    def _put(self, index: int, fold: Folding, which: int, value: int) -> None:
        """Combine a value with the partial result of its lane."""
        dtype, place = fold.value.dtype, self.lanes[which][0]
        lane = self.integer("and", index, self.number(LANES - 1))
        before = self.emit(f"get.{dtype.short}", dtype, lane, immediate=place)
        self.emit(f"put.{dtype.short}", None, self.row(fold.op, dtype, before, value), lane, immediate=place)

    def _after(self, start: int) -> int:
        """Return where the block ends that `start` is in: blocks of a chunk begin at multiples of their size."""
        return self.integer("add", self.integer("or", start, self.number(BLOCK - 1)), self.number(1))

    def _block(self, start: int, carried: Sequence[tuple[DType, int]], values: Values) -> Values:
        """Write the elements of one block, then combine the lanes of the block with those of all before."""
        end = self.integer("minimum", self._after(start), self.high)
        start = self.integer("maximum", start, self.low)
        pairs = [(dtype, value) for (dtype, _), value in zip(carried, values, strict=True)]
        given = self.loop(start, end, pairs, self._element)

        def one(lane: int, _: Values) -> Values:
            for fold, (block, total) in zip([f for f in self.task.folds if f.ordered], self.lanes, strict=True):
                dtype = fold.value.dtype
                pair = [self.emit(f"get.{dtype.short}", dtype, lane, immediate=place) for place in (total, block)]
                self.emit(f"put.{dtype.short}", None, self.row(fold.op, dtype, *pair), lane, immediate=total)
                self.emit(f"put.{dtype.short}", None, self.builder.use(_neutral(fold)), lane, immediate=block)
            return []

        self.loop(self.number(0), self.number(LANES), [], one)
        return given

    def _halved(self, fold: Folding, place: int) -> int:
        """Combine the upper into the lower half of the lanes until one is left."""
        dtype, zero = fold.value.dtype, self.number(0)

        def lane(number: int, left: int) -> int:
            if left == LANES:
                return self.emit(f"get.{dtype.short}", dtype, zero, immediate=place + number * dtype.size)
            return self.row(fold.op, dtype, lane(number, 2 * left), lane(number + left, 2 * left))

        return lane(0, 1)

    # -- elements --------------------------------------------------------------------------------------

    def _define(self, index: int) -> None:
        """Write what depends on the index."""
        self.builder.number[self.index.id] = index
        self.builder.add(self.inside)

    def _element(self, index: int, carried: Values) -> Values:
        """Write one element; return what is carried on."""
        self._define(index)
        if self.inner is not None:
            return self._inner_loop(carried)
        return self._effects(index, carried)

    def _inner_loop(self, carried: Values) -> Values:
        inner, flags = self.inner, [(bool_, value) for value in carried]
        assert inner is not None, "asked before"
        assert not self.task.states, "inner loops store only"

        def one(index: int, values: Values) -> Values:
            self.builder.number[inner.index.id] = index
            self.builder.add(self.innermost)
            return self._effects(index, values)

        return self.loop(self.builder.use(inner.low), self.builder.use(inner.high), flags, one)

    def _effects(self, index: int, carried: Values) -> Values:
        task, builder, rest = self.task, self.builder, iter(carried)
        given: Values = []
        which = 0
        for fold in task.folds:
            value = builder.use(fold.value)
            if fold.ordered:
                self._put(index, fold, which, value)
                which += 1
            else:
                given.append(self.row(fold.op, fold.value.dtype, next(rest), value))
        for reduce in task.reduces:
            given += self._reduced(reduce, [next(rest) for _ in range(len(reduce.values) + (reduce.keep is not None))])
        if task.scan is not None:
            given += self._scanned([next(rest) for _ in task.scan.values])
        self._add_stores()
        given += [self.emit("or.b.b", bool_, next(rest), builder.use(value)) for value, _ in task.flags]
        if task.scatter is not None:
            self._add_scatter()
        return given if task.filter is None else [*given, self._filtered(next(rest))]

    def _add_stores(self) -> None:
        for store in self.task.stores:
            self._put_at(store.array, store.place, self.builder.use(store.value))

    def _put_at(self, array: Node, place: Node, value: int) -> None:
        """Store an element; places that data decides may be outside."""
        short, descriptor, index = array.dtype.short, self.frame.array(array), self.builder.use(place)
        if place is self.index:
            self.emit(f"putp.{short}", None, value, self.known(int64, descriptor), index)
        else:
            self.emit(f"puta.{short}", None, value, index, immediate=descriptor)

    def combined(self, operator: Operator, lefts: Values, rights: Values) -> Values:
        """Write an operator on values."""
        builder = self.builder
        for param, value in zip((*operator.left, *operator.right), (*lefts, *rights), strict=True):
            builder.number[param.id] = value
        builder.add(self.of_operator[id(operator)])
        return [builder.use(node) for node in operator.combined]

    def _when(
        self, condition: int, operator: Operator, dtypes: Sequence[DType], values: Values, inside: Callable[[Values], Values]
    ) -> Values:
        """Write `inside` if a condition holds, else keep the values; operators with loops might not end on values that do not count."""
        if is_serial(self.of_operator[id(operator)]):
            limit = self.emit("to_int64.b", int64, condition)
            return self.loop(self.number(0), limit, list(zip(dtypes, values, strict=True)), lambda _, carried: inside(carried))
        found = inside(values)
        return [self.select(condition, dtype, new, old) for dtype, new, old in zip(dtypes, found, values, strict=True)]

    def _reduced(self, reduce: Reduce, carried: Values) -> Values:
        """Combine the element's values with what there is so far."""
        values = [self.builder.use(value) for value in reduce.values]
        if reduce.keep is None:
            return self.combined(reduce.operator, carried, values)
        return self.joined(reduce, carried, [self.builder.use(reduce.keep), *values])

    def joined(self, reduce: Reduce, lefts: Values, rights: Values) -> Values:
        """Combine two states; with `keep` each begins with whether there is any value."""
        return self.joined_kept(reduce, lefts, rights) if reduce.keep is not None else self.combined(reduce.operator, lefts, rights)

    def joined_kept(self, reduce: Reduce, lefts: Values, rights: Values) -> Values:
        """Combine two states that begin with whether there is any value."""
        dtypes = [value.dtype for value in reduce.values]
        (has, *left), (more, *right) = lefts, rights
        first = [self.select(has, dtype, x, y) for dtype, x, y in zip(dtypes, left, right, strict=True)]
        both = self.emit("and.b.b", bool_, has, more)
        joined = self._when(both, reduce.operator, dtypes, first, lambda _: self.combined(reduce.operator, left, right))
        return [self.emit("or.b.b", bool_, has, more), *joined]

    def _scanned(self, carried: Values) -> Values:
        scan = self.task.scan
        assert scan is not None, "asked before"
        given = self.combined(scan.operator, carried, [self.builder.use(value) for value in scan.values])
        self._put_scanned(carried if scan.exclusive else given)
        return given

    def _put_scanned(self, values: Values) -> None:
        scan = self.task.scan
        assert scan is not None, "asked before"
        for array, value in zip(scan.arrays, values, strict=True):
            self._put_at(array, scan.place, value)

    def _filtered(self, position: int) -> int:
        """Store the values; the place moves on if they are kept."""
        filtered = self.task.filter
        assert filtered is not None, "asked before"
        for array, value in zip(filtered.arrays, filtered.values, strict=True):
            pointer = self.known(int64, self.frame.pointer(array))
            self.emit(f"putp.{array.dtype.short}", None, self.builder.use(value), pointer, position)
        return self.integer("add", position, self.emit("to_int64.b", int64, self.builder.use(filtered.keep)))

    def _add_scatter(self) -> None:
        scatter = self.task.scatter
        assert scatter is not None, "asked before"
        values = [self.builder.use(value) for value in scatter.values]
        place = self.builder.use(scatter.place)
        if scatter.keep is not None:  # what is not kept goes nowhere
            place = self.select(self.builder.use(scatter.keep), int64, place, self.number(-1))
        if scatter.operator is not None:
            dtypes = [array.dtype for array in scatter.arrays]
            old = [
                self.emit(f"geta.{array.dtype.short}", array.dtype, place, immediate=self.frame.array(array)) for array in scatter.arrays
            ]
            operator, right = scatter.operator, values
            if scatter.keep is None:
                values = self.combined(operator, old, right)
            else:
                keep = self.builder.use(scatter.keep)
                values = self._when(keep, operator, dtypes, old, lambda _: self.combined(operator, old, right))
        for array, value in zip(scatter.arrays, values, strict=True):
            self.emit(f"puta.{array.dtype.short}", None, value, place, immediate=self.frame.array(array))


def _neutral(fold: Folding) -> Node:
    return constant(identity(fold.op, fold.value.dtype), fold.value.dtype)


__all__ = ["Function", "Serial", "Slots", "Values", "Writer", "depending"]
