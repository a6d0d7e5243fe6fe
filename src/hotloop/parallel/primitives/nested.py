"""Sequences of sequences put in memory: rows of one length as arrays of several dimensions, others raggedly."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import TYPE_CHECKING, Any

from hotloop.dtypes import int64
from hotloop.errors import TypeMismatch
from hotloop.ir.graph import Node, apply, param_node
from hotloop.ir.loop import dependents
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Effect, Inner, Operator, Scan, Store, array_register
from hotloop.parallel.interpreter.recorder import ONE, ZERO
from hotloop.parallel.interpreter.values import Number, Sequence, Value, describe, leaves

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.interpret import Interpreter
    from hotloop.parallel.reading.place import Place

add, mul, sub, lt, eq = (REGISTRY[name] for name in ("add", "mul", "sub", "lt", "eq"))


def forced(interpreter: Interpreter, sequence: Sequence, place: Place | None = None) -> Sequence:
    """Return a sequence in memory."""
    trace = interpreter.trace
    if sequence.stored is not None:
        return sequence
    sequence = interpreter.whole(sequence)
    if sequence.stored is not None:
        return sequence
    if sequence.nested is not None and sequence.depth == 0:
        rows = forced(interpreter, sequence.nested, place).stored
        if rows is not None and not rows.offsets:
            return trace.stored(rows.arrays, (sequence.length,), (), rows.offset)
    probe, index = _probed(interpreter, sequence)
    found = leaves(probe)
    if all(isinstance(leaf, Number) for leaf in found):
        return trace.force(sequence)
    if not isinstance(probe, Sequence):
        _refuse(place, f"elements are {describe(probe)}; tuples of sequences cannot be elements of a sequence in memory.")
    for block, known in sequence.forced:
        if any(block is open_block for open_block in trace.blocks):
            return known  # type: ignore[no-any-return]
    with trace.outside():
        made = _rows(interpreter, sequence, probe, index, place)
    sequence.forced.append((trace.blocks[-1], made))
    return made


def _refuse(place: Place | None, message: str) -> None:
    if place is None:
        raise TypeMismatch(message)
    place.refuse(TypeMismatch, message)


def _probed(interpreter: Interpreter, sequence: Sequence) -> tuple[Value, Node]:
    trace = interpreter.trace
    index = trace.counter(sequence.length)
    with trace.body():
        return sequence.element(index), index


def _rows(interpreter: Interpreter, sequence: Sequence, probe: Sequence, index: Node, place: Place | None) -> Sequence:
    lengths = probe.shape or (probe.length,)
    lifted = probe.lift is not None or probe.keep is not None
    if lifted:
        from hotloop.parallel.primitives.lifting import lifted_rows

        return lifted_rows(interpreter, sequence, probe, index, place)
    differ = any(dependents([length], [index]) for length in lengths)
    if not _is_even(interpreter, sequence, differ):
        from hotloop.parallel.primitives.lifting import deeper_rows

        return deeper_rows(interpreter, sequence, differ, place)
    return _ragged(interpreter, sequence, place) if differ else _regular(interpreter, sequence, lengths, place)


def _is_even(interpreter: Interpreter, sequence: Sequence, differ: bool) -> bool:
    """Whether rows have no rows, or, if they do not differ, rows of one length at all levels."""
    trace = interpreter.trace
    indices = [trace.counter(sequence.length)]
    with trace.body():
        row = sequence.element(indices[0])
        indices.append(trace.counter(row.length))
        value = row.element(indices[1])
        while isinstance(value, Sequence):
            if differ or value.keep is not None or any(dependents([length], indices) for length in value.shape or (value.length,)):
                return False
            indices.append(trace.counter(value.length))
            value = value.element(indices[-1])
    return True


def _regular(interpreter: Interpreter, sequence: Sequence, lengths: tuple[Node, ...], place: Place | None) -> Sequence:
    """Write rows of one length: element j of row i at i * length + j."""
    trace = interpreter.trace
    shape = (*(sequence.shape or (sequence.length,)), *lengths)
    width = lengths[0]
    for length in lengths[1:]:
        width = apply(mul, width, length)
    deepest = _deepest(interpreter, sequence, place)
    if len(leaves(deepest.kind)) and deepest.extra:
        extra = deepest.extra
        shape = (*shape, *extra)
        for length in extra:
            width = apply(mul, width, length)
    arrays = trace.allocated(deepest.kind, apply(mul, sequence.length, width))
    column = trace.counter(width)

    def effects(i: Node) -> list[Effect]:
        row = trace.element(sequence, i)
        values = _descend(interpreter, row, column, deepest.extra)
        at = apply(add, apply(mul, i, width), column)
        return [Store(array, at, leaf.node) for array, leaf in zip(leaves(arrays), leaves(values), strict=True)]

    trace.sweep(sequence.length, effects, lambda i: Inner(column, ZERO, width))
    return trace.stored(arrays, shape)


class _Deepest:
    def __init__(self, kind: Value, extra: tuple[Node, ...]) -> None:
        self.kind = kind
        self.extra = extra


def _deepest(interpreter: Interpreter, sequence: Sequence, place: Place | None) -> _Deepest:
    """Return the kind of the innermost elements, and the lengths of what is below the rows."""
    trace = interpreter.trace
    extra: list[Node] = []
    indices: list[Node] = []
    with trace.body():
        index = trace.counter(sequence.length)
        indices.append(index)
        value = sequence.element(index)
        first = True
        while isinstance(value, Sequence):
            if not first:
                lengths = value.shape or (value.length,)
                extra.extend(lengths)
            first = False
            index = trace.counter(value.length)
            indices.append(index)
            value = value.element(index)
    if not all(isinstance(leaf, Number) for leaf in leaves(value)):
        _refuse(place, f"elements are {describe(value)}; sequences hold numbers and tuples of numbers.")
    return _Deepest(value, tuple(extra))


def _descend(interpreter: Interpreter, row: Sequence, column: Node, extra: Items[Node]) -> Value:
    """Return the innermost element at a row-major place of a row."""
    trace = interpreter.trace
    step = ONE
    for length in extra:
        step = apply(mul, step, length)
    if not extra:
        return trace.element(row, column)
    value = trace.element(row, apply(REGISTRY["floordiv"], column, step))
    left = apply(REGISTRY["mod"], column, step)
    while isinstance(value, Sequence):
        below = ONE
        for length in extra[1:]:
            below = apply(mul, below, length)
        extra = extra[1:]
        here = apply(REGISTRY["floordiv"], left, below) if extra else left
        value = trace.element(value, here)
        left = apply(REGISTRY["mod"], left, below) if extra else left
    return value


def offsets_of(interpreter: Interpreter, count: Node, length: Any) -> tuple[Node, Node]:
    """Return the register of where each of `count` rows starts, one more than rows, and the total length."""
    trace = interpreter.trace
    offsets = array_register(int64)
    more = apply(add, count, ONE)
    from hotloop.ir.sweep import Allocate

    trace.emit(Allocate(offsets, more))
    trace.rows[offsets.id] = count
    left, right = param_node(int64, ()), param_node(int64, ())
    plus = Operator((left,), (right,), (apply(add, left, right),))

    def effects(i: Node) -> list[Effect]:
        # the place after the last row has no row: its length is not read
        last = apply(eq, i, count)
        inside = apply(lt, i, count)
        safe = apply(REGISTRY["select"], inside, i, ZERO)
        trace.below[safe.id] = count
        with trace.guarded(inside):
            found = trace.choose(inside, lambda: Number(length(safe)), lambda: Number(ZERO), interpreter.merge)
        _ = last
        return [Scan((offsets,), i, plus, (found.node,), (ZERO,), True)]

    trace.sweep(more, effects)
    total = param_node(int64, ())
    from hotloop.ir.sweep import Compute, at

    trace.emit(Compute((total,), (at(offsets, count),)))
    return offsets, total


def _ragged(interpreter: Interpreter, sequence: Sequence, place: Place | None) -> Sequence:
    trace = interpreter.trace
    if sequence.shape is not None:
        _refuse(place, "rows of different lengths over several dimensions cannot be made.")
    deepest = _deepest(interpreter, sequence, place)
    offsets, total = offsets_of(interpreter, sequence.length, lambda i: trace.element(sequence, i).length)
    arrays = trace.allocated(deepest.kind, total)
    from hotloop.ir.sweep import at

    index = trace.index(sequence.length)
    low, high = at(offsets, index), at(offsets, apply(add, index, ONE))
    length = apply(sub, high, low)
    column = trace.counter(length)

    def effects(i: Node) -> list[Effect]:
        values = trace.element(trace.element(sequence, i), column)
        return [
            Store(array, apply(add, low, column), leaf.node) for array, leaf in zip(leaves(arrays), leaves(values), strict=True)
        ]  # fmt: skip

    trace.sweep(sequence.length, effects, lambda i: Inner(column, ZERO, length))
    return trace.stored(arrays, (sequence.length,), (offsets,))


