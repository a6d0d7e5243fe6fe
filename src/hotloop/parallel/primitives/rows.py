"""Sequences of sequences taken apart and put together, and what is combined or sorted within their rows."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotloop.dtypes import bool_, int64
from hotloop.errors import ShapeError, SyntaxRefused, TypeMismatch
from hotloop.ir.graph import Node, apply, param_node
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Allocate, Compute, Effect, Fold, Inner, Scan, Sort, SortBy, Store, array_register, at
from hotloop.ops.shape import length_of
from hotloop.parallel.interpreter.arithmetic import truth
from hotloop.parallel.interpreter.recorder import FALSE, ONE, TRUE, ZERO, Site
from hotloop.parallel.interpreter.values import Number, Sequence, Stored, Value, describe, leaves, rebuilt
from hotloop.parallel.primitives.combining import accumulator, counted, operator_of, with_types
from hotloop.parallel.primitives.moving import integer, lazy, same_length, sequence
from hotloop.parallel.primitives.nested import offsets_of
from hotloop.parallel.primitives.ordering import outermost
from hotloop.parallel.primitives.searching import numbers

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.interpret import Interpreter
    from hotloop.parallel.interpreter.trace import Trace
    from hotloop.parallel.reading.place import Place

add, sub, mul, lt, gt, eq, ne = (REGISTRY[name] for name in ("add", "sub", "mul", "lt", "gt", "eq", "ne"))
or_, select = REGISTRY["or"], REGISTRY["select"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows that lie one after the other, `total` elements in all. width: the length of all rows, if it is one.

    offsets: else the register of where each row starts, one more than rows, from 0.
    """

    count: Node
    total: Node
    width: Node | None = None
    offsets: Node | None = None

    def start(self, row: Node) -> Node:
        """Return where a row starts."""
        if self.offsets is not None:
            return at(self.offsets, row)
        assert self.width is not None
        return apply(mul, row, self.width)

    def length(self, row: Node) -> Node:
        """Return the length of a row."""
        if self.width is not None:
            return self.width
        return apply(sub, self.start(apply(add, row, ONE)), self.start(row))

    def memory(self, arrays: Any, inner: Stored) -> Stored:
        """Return rows whose elements are those of `inner`, all of them, one after the other."""
        if self.offsets is not None:
            return Stored(arrays, (self.count,), (self.offsets, *inner.offsets))
        assert self.width is not None
        return Stored(arrays, (self.count, self.width, *inner.shape[1:]))


def rows_of(interpreter: Interpreter, place: Place, value: Value, name: str) -> tuple[Rows, Sequence]:
    """Return an argument that must be a sequence of sequences: its rows, and the elements of all of them in memory."""
    trace = interpreter.trace
    given = interpreter.forced(sequence(place, value, name), place)
    memory = given.stored
    assert memory is not None
    if not memory.offsets and len(memory.shape) < 2:
        place.refuse(TypeMismatch, f"{name}() needs a sequence of sequences, not {describe(given)}.")
    if memory.offsets and memory.offset is not None:
        memory = _from_zero(trace, memory)
    values = _joined(trace, memory)
    if memory.offsets:
        return Rows(memory.shape[0], values.length, None, memory.offsets[0]), values
    return Rows(memory.shape[0], values.length, memory.shape[1]), values


def _from_zero(trace: Trace, memory: Stored) -> Stored:
    """Return some of the rows that are in memory as rows of their own. Those rows' elements are copied."""
    first, *others = memory.offsets
    starts = ZERO if memory.offset is None else memory.offset
    low = in_register(trace, at(first, starts))
    total = in_register(trace, apply(sub, at(first, apply(add, starts, memory.shape[0])), low))
    moved = lazy_places(trace, apply(add, memory.shape[0], ONE), lambda i: apply(sub, at(first, apply(add, starts, i)), low))
    inner = trace.stored(memory.arrays, (total,), tuple(others), low)
    if others:
        found = _from_zero(trace, Stored(memory.arrays, (total,), tuple(others), low))
        return Stored(found.arrays, memory.shape, (moved, *found.offsets))
    copied = trace.force(Sequence(total, inner.element, 0)).stored
    assert copied is not None
    return Stored(copied.arrays, memory.shape, (moved,))


def in_register(trace: Trace, node: Node) -> Node:
    """Return a register that holds a scalar as it is now."""
    register = param_node(node.dtype, ())
    trace.emit(Compute((register,), (node,)))
    return register


def lazy_places(trace: Trace, count: Node, place: Callable[[Node], Node]) -> Node:
    """Return the register of an array of int64."""
    made = trace.force(Sequence(count, lambda i: Number(place(i)), 0)).stored
    assert made is not None
    return made.arrays  # type: ignore[no-any-return]


def row_numbers(trace: Trace, rows: Rows) -> Sequence:
    """Return for each element the row that it is in, int64: in memory, since to divide takes longer than to read."""
    numbers = array_register(int64)
    trace.emit(Allocate(numbers, rows.total))
    index = trace.index(rows.count)
    low, length = rows.start(index), rows.length(index)
    column = trace.counter(length)
    trace.sweep(rows.count, lambda i: [Store(numbers, apply(add, low, column), i)], lambda i: Inner(column, ZERO, length))
    return trace.stored(numbers, (rows.total,))


def heads(trace: Trace, rows: Rows) -> Sequence:
    """Return for each element whether it is the first of its row."""
    room = apply(add, rows.total, rows.count)  # rows without elements mark places of their own behind all elements
    made = trace.force(Sequence(room, lambda _: Number(FALSE), 0)).stored
    assert made is not None

    def marks(i: Node) -> list[Effect]:
        start = apply(select, apply(gt, rows.length(i), ZERO), rows.start(i), apply(add, rows.total, i))
        return [Store(made.arrays, start, TRUE)]

    trace.sweep(rows.count, marks)
    return Sequence(rows.total, lambda p: Number(at(made.arrays, p)), 0)


# ------------------------------------------------------------------------------------------- apart and together


def flatten(interpreter: Interpreter, place: Place, value: Value) -> Value:
    """Return the elements of all rows, one row after the other."""
    given = interpreter.whole(sequence(place, value, "flatten"))
    if given.stored is None and given.depth:
        outermost(interpreter, place, "flatten")
    given = interpreter.forced(given, place)
    memory = given.stored
    assert memory is not None
    if not memory.offsets and len(memory.shape) < 2:
        place.refuse(TypeMismatch, f"flatten() needs a sequence of sequences, not {describe(given)}.")
    made = _joined(interpreter.trace, memory)
    made.depth = given.depth
    return made


def _joined(trace: Trace, memory: Stored) -> Sequence:
    """Return all elements of rows that are in memory: they lie one after the other."""
    if not memory.offsets:
        count, width, *others = memory.shape
        return trace.stored(memory.arrays, (apply(mul, count, width), *others), (), memory.offset)
    starts, *inner = memory.offsets
    if memory.offset is None:
        whole = length_of(inner[0], (0,)) if inner else length_of(leaves(memory.arrays)[0], (0,))
        return trace.stored(memory.arrays, (apply(sub, whole, ONE) if inner else whole,), tuple(inner))
    low, high = at(starts, memory.offset), at(starts, apply(add, memory.offset, memory.shape[0]))
    return trace.stored(memory.arrays, (apply(sub, high, low),), tuple(inner), low)


def lengths(interpreter: Interpreter, place: Place, value: Value) -> Value:
    """Return the length of each row."""
    given = sequence(place, value, "lengths")
    trace = interpreter.trace
    memory = given.stored
    if memory is not None and len(memory.shape) > 1:
        return lazy(interpreter, memory.shape[0], lambda _: Number(memory.shape[1]))

    def element(i: Node) -> Value:
        row = trace.element(given, i)
        if not isinstance(row, Sequence):
            place.refuse(TypeMismatch, f"lengths() needs a sequence of sequences; its elements are {describe(row)}.")
        return Number(counted(interpreter, row))

    return lazy(interpreter, given.length, element, given)


def segments(interpreter: Interpreter, place: Place, value: Value, sizes: Value) -> Value:
    """Return the sequence of rows of these lengths, which the values are one after the other."""
    outermost(interpreter, place, "segments")
    trace = interpreter.trace
    found = interpreter.forced(sequence(place, value, "segments"), place)
    if found.stored is not None and found.stored.offset is not None:
        found = interpreter.forced(Sequence(found.length, found.element, 0), place)
    memory = found.stored
    given, kind = numbers(interpreter, place, sizes, "segments")
    integer(place, kind, "segments")
    assert memory is not None
    if len(memory.shape) > 1:
        place.refuse(TypeMismatch, "segments() of an array of several dimensions. Take rows of it: [row for row in x].")
    size = interpreter.whole(given)
    if size.stored is None and trace.cost(size) > 2:
        size = trace.force(size)
    negative = param_node(bool_, ())
    trace.sweep(size.length, lambda i: [Fold(negative, or_, apply(lt, _size(interpreter, place, size, i), ZERO))])
    offsets, total = offsets_of(interpreter, size.length, lambda i: _size(interpreter, place, size, i))

    def error(values: Items[Any]) -> Exception:
        known = f"; these are {values[0]}, for {values[1]} elements" if len(values) == 2 else ""
        return place.error(ShapeError, f"the lengths of segments() are not negative, and in all the number of elements{known}.")

    trace.fault(apply(or_, negative, apply(ne, total, found.length)), Site(error), (total, found.length))
    return trace.stored(memory.arrays, (size.length,), (offsets, *memory.offsets))


def _size(interpreter: Interpreter, place: Place, sizes: Sequence, i: Node) -> Node:
    return integer(place, interpreter.trace.element(sizes, i), "segments")


# ------------------------------------------------------------------------------------------- combined within rows


def segmented_scan(interpreter: Interpreter, place: Place, function: Value, value: Value) -> Value:
    """Return for each row its elements combined up to each of them."""
    outermost(interpreter, place, "segmented_scan")
    trace = interpreter.trace
    rows, values = rows_of(interpreter, place, value, "segmented_scan")
    first = heads(trace, rows)
    arrays = scanned_rows(
        interpreter, place, "segmented_scan", function, rows.total,
        lambda p: trace.element(values, p), lambda p: trace.element(first, p).node, lambda p: p,
    )  # fmt: skip
    memory = rows.memory(arrays, Stored(arrays, (rows.total,)))
    return trace.stored(memory.arrays, memory.shape, memory.offsets)


def scanned_rows(
    interpreter: Interpreter, place: Place, name: str, function: Value, total: Node, element: Callable[[Node], Value],
    first: Callable[[Node], Node], where: Callable[[Node], Node],
) -> Any:  # fmt: skip
    """Return arrays of what is combined so far since the last element that `first` holds for, by one scan.

    element, first: of the place in the order of the scan; where: at which place the result is stored.
    """
    trace = interpreter.trace

    def combine(a: Value, b: Value) -> Value:
        return interpreter.call(function, [a, b], place)

    with trace.body():
        kind = element(trace.counter(total))
    outline = accumulator(interpreter, place, combine, name, kind, kind)
    types, weaks = [leaf.dtype for leaf in leaves(outline)], [leaf.weak for leaf in leaves(outline)]

    def since(a: Value, b: Value) -> Value:
        both = trace.choose(b[0].node, lambda: b[1], lambda: with_types(combine(a[1], b[1]), types, weaks), interpreter.merge)
        return Number(apply(or_, a[0].node, b[0].node)), both

    operator = operator_of(interpreter, since, (Number(FALSE), outline))
    flags, *arrays = leaves(trace.allocated((Number(FALSE), outline), total))

    def effects(p: Node) -> list[Effect]:
        values = tuple([leaf.node for leaf in leaves(with_types(element(p), types, weaks))])
        return [Scan((flags, *arrays), where(p), operator, (first(p), *values), None, False)]

    trace.sweep(total, effects)
    return rebuilt(outline, iter(arrays))


def segmented_sort(interpreter: Interpreter, place: Place, first: Value, second: Value = None) -> Value:
    """Return each row sorted, ascending or by an order. Stable."""
    outermost(interpreter, place, "segmented_sort")
    less, value = (None, first) if second is None else (first, second)
    rows, values = rows_of(interpreter, place, value, "segmented_sort")
    found = sorted_rows(interpreter, place, "segmented_sort", less, rows, values)
    assert found.stored is not None
    memory = rows.memory(found.stored.arrays, found.stored)
    return interpreter.trace.stored(memory.arrays, memory.shape, memory.offsets)


def sorted_rows(
    interpreter: Interpreter, place: Place, name: str, less: Value, rows: Rows, values: Sequence,
    keys: Items[tuple[int, bool]] | None = None,
) -> Sequence:  # fmt: skip
    """Return the elements of all rows in memory, those of each row sorted: one sort by (row, key).

    keys: (part of the elements, descending), in place of an order.
    """
    from hotloop.parallel.primitives.ordering import in_arrays, key_of

    trace = interpreter.trace
    values = in_arrays(interpreter, place, name, values)
    numbers = trace.force(row_numbers(trace, rows)).stored
    assert numbers is not None
    assert values.stored is not None
    arrays = leaves(values.stored.arrays)
    kind = trace.probe(values)
    if keys is None:
        keys = [(k, False) for k in range(len(arrays))] if less is None else key_of(interpreter, place, less, kind)
    places = array_register(int64)
    if keys is None:
        first, second = param_node(int64, ()), param_node(int64, ())
        x, y = at(numbers.arrays, first), at(numbers.arrays, second)
        with trace.body() as frame:
            answer = interpreter.call(less, [trace.element(values, first), trace.element(values, second)], place)
        if frame.faults:
            place.refuse(SyntaxRefused, f"the order of {name}() must not be able to fail. Compute keys first, and sort by them.")
        before = apply(or_, apply(lt, x, y), apply(REGISTRY["and"], apply(eq, x, y), truth(answer)))
        trace.emit(SortBy(rows.total, first, second, before, places))
    elif len(arrays) == 1:
        made = array_register(arrays[0].dtype)
        trace.emit(Sort((numbers.arrays, arrays[0]), (False, keys[0][1]), (None, made), None))
        return trace.stored(rebuilt(values.stored.arrays, iter([made])), (rows.total,))
    else:
        columns = tuple([arrays[k] for k, _ in keys])
        trace.emit(Sort((numbers.arrays, *columns), (False, *[down for _, down in keys]), (None,) * (1 + len(keys)), places))
    order = trace.stored(places, (rows.total,))
    return trace.force(Sequence(rows.total, lambda p: trace.element(values, trace.element(order, p).node), 0))


def reduce_by_key(interpreter: Interpreter, place: Place, function: Value, keys: Value, values: Value) -> Value:
    """Return for each run of equal neighbouring keys the key, and its values combined left to right."""
    outermost(interpreter, place, "reduce_by_key")
    trace = interpreter.trace
    given = [interpreter.whole(sequence(place, value, "reduce_by_key")) for value in (keys, values)]
    key, value = same_length(interpreter, place, "reduce_by_key", [interpreter.forced(given[0], place), given[1]])
    value = value if value.stored is not None or trace.cost(value) <= 2 else interpreter.forced(value, place)
    for each in (key, value):
        if not all(isinstance(leaf, Number) for leaf in leaves(trace.probe(each))):
            place.refuse(TypeMismatch, f"reduce_by_key() needs numbers or tuples of them, not {describe(trace.probe(each))}.")
    count = key.length

    def is_first(i: Node) -> Node:
        later = apply(gt, i, ZERO)
        pairs = zip(leaves(trace.element(key, i)), leaves(trace.element(key, apply(select, later, apply(sub, i, ONE), ZERO))), strict=True)
        differs = FALSE
        for x, y in pairs:
            differs = apply(or_, differs, apply(ne, x.node, y.node))
        return apply(or_, apply(REGISTRY["le"], i, ZERO), differs)

    runs = lazy(interpreter, count, lambda i: Number(i))
    runs.keep = is_first
    starts = interpreter.whole(runs)

    def end(k: Node) -> Node:
        following = apply(add, k, ONE)
        is_last = apply(REGISTRY["ge"], following, starts.length)
        return apply(select, is_last, count, trace.element(starts, apply(select, is_last, k, following)).node)

    def total(k: Node) -> Value:
        return _run_combined(interpreter, place, function, value, trace.element(starts, k).node, end(k))

    return (
        lazy(interpreter, starts.length, lambda k: trace.element(key, trace.element(starts, k).node)),
        lazy(interpreter, starts.length, total),
    )


def _run_combined(interpreter: Interpreter, place: Place, function: Value, values: Sequence, low: Node, high: Node) -> Value:
    """Combine the elements of a run, of which there is at least one, left to right."""
    from hotloop.parallel.primitives.combining import reduced

    trace = interpreter.trace
    run = Sequence(apply(sub, high, low), lambda j: trace.element(values, apply(add, low, j)), trace.depth)
    return reduced(interpreter, place, "reduce_by_key", lambda a, b: interpreter.call(function, [a, b], place), run, None, False)


RULES: dict[str, Callable[..., Value]] = {
    "flatten": flatten, "lengths": lengths, "segments": segments, "segmented_scan": segmented_scan,
    "segmented_sort": segmented_sort, "reduce_by_key": reduce_by_key,
}  # fmt: skip
