"""Primitives that put elements at other places: scatter and its kin, and sorting."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import TYPE_CHECKING

from hotloop.dtypes import int64
from hotloop.errors import SyntaxRefused, TypeMismatch
from hotloop.ir.graph import Node, param_node
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Copy, Effect, Scatter, Sort, SortBy, Store, array_register
from hotloop.parallel.interpreter.arithmetic import truth
from hotloop.parallel.interpreter.values import Builtin, Number, Sequence, Value, describe, leaves, mapped, rebuilt
from hotloop.parallel.primitives.combining import operator_of, with_types
from hotloop.parallel.primitives.moving import integer, lazy, same_length, sequence

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.interpret import Interpreter
    from hotloop.parallel.reading.place import Place

lt, gt = REGISTRY["lt"], REGISTRY["gt"]


def outermost(interpreter: Interpreter, place: Place, name: str) -> None:
    """Refuse what needs memory inside of a body."""
    if interpreter.trace.depth:
        place.refuse(SyntaxRefused, f"{name}() inside of a map needs memory for each element. Use it outside, or a segmented primitive.")


def in_arrays(interpreter: Interpreter, place: Place, name: str, given: Sequence) -> Sequence:
    """Return a sequence of numbers or tuples whose arrays hold nothing else, as steps take them."""
    found = interpreter.forced(interpreter.whole(given), place)
    memory = found.stored
    assert memory is not None
    if len(memory.shape) != 1 or memory.offsets:
        place.refuse(TypeMismatch, f"{name}() needs a sequence of numbers or tuples; its elements are sequences.")
    if memory.offset is None:
        return found
    return interpreter.trace.force(Sequence(found.length, found.element, 0))


# ---------------------------------------------------------------------------------------------- scatter


def scatter(interpreter: Interpreter, place: Place, values: Value, places: Value, target: Value, function: Value = None) -> Value:
    """Return a copy of target with values at places; with a function, combined with what is there, in order."""
    outermost(interpreter, place, "scatter")
    source, where = same_length(
        interpreter, place, "scatter", [sequence(place, values, "scatter"), sequence(place, places, "scatter")]
    )  # fmt: skip
    copy = _copied(interpreter, place, sequence(place, target, "scatter"))
    _scattered(interpreter, place, source, where, copy, function)
    return copy


def _copied(interpreter: Interpreter, place: Place, target: Sequence) -> Sequence:
    """Return a sequence in memory of its own."""
    trace = interpreter.trace
    whole = interpreter.whole(target)
    memory = whole.stored
    if not all(isinstance(leaf, Number) for leaf in leaves(trace.probe(whole))):
        place.refuse(TypeMismatch, "scatter() needs a sequence of numbers or tuples to copy.")
    if memory is None or memory.offset is not None:
        arrays = trace.allocated(trace.probe(whole), whole.length)

        def stores(i: Node) -> list[Effect]:
            found = trace.element(whole, i)
            return [Store(array, i, leaf.node) for array, leaf in zip(leaves(arrays), leaves(found), strict=True)]

        trace.sweep(whole.length, stores)
        return trace.stored(arrays, (whole.length,))

    def copied(array: Node) -> Node:
        fresh = array_register(array.dtype)
        trace.emit(Copy(fresh, array))
        return fresh

    return trace.stored(mapped(copied, memory.arrays), memory.shape)


def _scattered(interpreter: Interpreter, place: Place, source: Sequence, where: Sequence, copy: Sequence, function: Value) -> None:
    trace = interpreter.trace
    memory = copy.stored
    assert memory is not None
    kind = mapped(lambda array: Number(array), memory.arrays)
    types, weaks = [leaf.dtype for leaf in leaves(kind)], [False] * len(leaves(kind))
    probe = trace.probe(source)
    if len(leaves(probe)) != len(types) or isinstance(probe, tuple) != isinstance(kind, tuple):
        place.refuse(TypeMismatch, f"scatter() of {describe(probe)} into a sequence of {describe(kind)}.")
    _refuse_narrowing(place, probe, kind)
    operator = None
    if function is not None:
        operator = operator_of(interpreter, lambda a, b: interpreter.call(function, [a, b], place), kind)

    def effects(i: Node) -> list[Effect]:
        keep = None if source.keep is None else source.keep(i)
        with trace.guarded(keep) if keep is not None else trace.guarded_top():
            index = integer(place, trace.element(where, i), "scatter")
            at = interpreter.checked(index, copy.length, place)
            found = with_types(trace.element(source, i), types, weaks)
        return [Scatter(tuple(leaves(memory.arrays)), at, tuple([leaf.node for leaf in leaves(found)]), keep, operator)]

    trace.sweep(source.length, effects)


def _refuse_narrowing(place: Place, given: Value, kind: Value) -> None:
    for leaf, like in zip(leaves(given), leaves(kind), strict=True):
        if leaf.dtype.is_float and not like.dtype.is_float:
            place.refuse(TypeMismatch, f"{leaf!r} values would be truncated in a sequence of {like!r}. Convert: {like!r}(v).")


def permute(interpreter: Interpreter, place: Place, values: Value, places: Value) -> Value:
    """Return elements put at places, which are a permutation."""
    outermost(interpreter, place, "permute")
    source, where = same_length(
        interpreter, place, "permute", [interpreter.whole(sequence(place, values, "permute")), sequence(place, places, "permute")]
    )  # fmt: skip
    fresh = lazy(interpreter, source.length, lambda _: rebuilt(kind, iter([Number(_zero(leaf)) for leaf in leaves(kind)])))
    kind = interpreter.trace.probe(source)
    copy = _copied(interpreter, place, fresh)
    _scattered(interpreter, place, source, where, copy, None)
    return copy


def _zero(leaf: Number) -> Node:
    from hotloop.ir.graph import constant

    return constant(0, leaf.dtype, structural=False)


def update(interpreter: Interpreter, place: Place, target: Value, pairs: Value) -> Value:
    """Return a copy of target with values at places, which come in pairs (place, value)."""
    outermost(interpreter, place, "update")
    if isinstance(pairs, tuple) and len(pairs) == 2 and all(isinstance(part, Sequence) for part in pairs):
        return scatter(interpreter, place, pairs[1], pairs[0], target)
    both = interpreter.whole(sequence(place, pairs, "update"))
    trace = interpreter.trace
    kind = trace.probe(both)
    if not isinstance(kind, tuple) or len(kind) != 2:
        place.refuse(TypeMismatch, f"update() needs pairs (place, value), not {describe(kind)}.")
    where = lazy(interpreter, both.length, lambda i: trace.element(both, i)[0])
    values = lazy(interpreter, both.length, lambda i: trace.element(both, i)[1])
    return scatter(interpreter, place, values, where, target)


# ---------------------------------------------------------------------------------------------- sorting


def sort(interpreter: Interpreter, place: Place, first: Value, second: Value = None) -> Value:
    """Put elements in ascending order, or in that of a strict weak order that comes first. Stable."""
    less, value = (None, first) if second is None else (first, second)
    given = sequence(place, value, "sort")
    if interpreter.trace.depth:
        if given.depth == 0 and (less is None or isinstance(less, Builtin)):
            return _sorted_before(interpreter, place, less, given)
        return _sorted_row(interpreter, place, "sort", less, given)
    source = in_arrays(interpreter, place, "sort", given)
    kind = interpreter.trace.probe(source)
    if less is None:
        return _sorted_by_keys(interpreter, source, kind, [(number, False) for number in range(len(leaves(kind)))])
    order = key_of(interpreter, place, less, kind)
    if order is not None:
        return _sorted_by_keys(interpreter, source, kind, order)
    return _sorted_by(interpreter, place, less, source)


def _sorted_before(interpreter: Interpreter, place: Place, less: Value, given: Sequence) -> Value:
    """Sort what is the same for all elements of a body, before it and once."""
    trace = interpreter.trace
    key = "sort", given, getattr(less, "name", None)
    for block, known, found in trace.hoisted:
        if known == key and any(block is open_block for open_block in trace.blocks):
            return found
    with trace.outside():
        made = sort(interpreter, place, given) if less is None else sort(interpreter, place, less, given)
    trace.hoisted.append((trace.blocks[-1], key, made))
    return made


def _sorted_row(
    interpreter: Interpreter, place: Place, name: str, less: Value, given: Sequence, keys: tuple[tuple[int, bool], ...] | None = None
) -> Sequence:  # fmt: skip
    from hotloop.parallel.primitives.lifting import sorted_row  # which needs scatter

    return sorted_row(interpreter, place, name, less, given, keys)


def _part(interpreter: Interpreter, pairs: Sequence, number: int) -> Sequence:
    return lazy(interpreter, pairs.length, lambda i: interpreter.trace.element(pairs, i)[number])


def sorted_pairs(
    interpreter: Interpreter, place: Place, name: str, first: Sequence, second: Sequence, down: bool
) -> tuple[Sequence, Sequence]:  # fmt: skip
    """Return two rows of a body in the order of the first one."""
    trace = interpreter.trace
    count = len(leaves(trace.probe(first)))
    pairs = lazy(interpreter, first.length, lambda i: (trace.element(first, i), trace.element(second, i)))
    found = _sorted_row(interpreter, place, name, None, pairs, tuple([(k, down) for k in range(count)]))
    return _part(interpreter, found, 0), _part(interpreter, found, 1)


def key_of(interpreter: Interpreter, place: Place, less: Value, kind: Value) -> list[tuple[int, bool]] | None:
    """Return (leaf, descending) if a predicate compares one leaf of two elements, else None."""
    types = [leaf.dtype for leaf in leaves(kind)]
    left, right = ([param_node(dtype, ()) for dtype in types] for _ in range(2))
    with interpreter.trace.body() as frame:
        answer = interpreter.call(
            less, [rebuilt(kind, iter([Number(p) for p in side])) for side in (left, right)], place
        )  # fmt: skip
    if not isinstance(answer, Number):
        place.refuse(TypeMismatch, f"the order of sort() gives {describe(answer)}, not a bool.")
    node = truth(answer)
    if frame.faults or node.op not in (lt, gt):
        return None
    ids = [(a.id, b.id) for a, b in zip(left, right, strict=True)]
    for number, (a, b) in enumerate(ids):
        if (node.args[0].id, node.args[1].id) == (a, b):
            return [(number, node.op is gt)]
        if (node.args[0].id, node.args[1].id) == (b, a):
            return [(number, node.op is lt)]
    return None


def _sorted_by_keys(interpreter: Interpreter, source: Sequence, kind: Value, order: Items[tuple[int, bool]]) -> Sequence:
    trace = interpreter.trace
    memory = source.stored
    assert memory is not None
    arrays = leaves(memory.arrays)
    keys = tuple([arrays[number] for number, _ in order])
    descending = tuple([down for _, down in order])
    if len(arrays) == 1:
        made = array_register(arrays[0].dtype)
        trace.emit(Sort(keys, descending, (made,), None))
        return trace.stored(rebuilt(memory.arrays, iter([made])), (source.length,))
    places = array_register(int64)
    trace.emit(Sort(keys, descending, (None,) * len(keys), places))
    return _in_order(interpreter, source, places)


def _in_order(interpreter: Interpreter, source: Sequence, places: Node) -> Sequence:
    trace = interpreter.trace
    order = trace.stored(places, (source.length,))
    return lazy(interpreter, source.length, lambda i: trace.element(source, trace.element(order, i).node))


def _sorted_by(interpreter: Interpreter, place: Place, less: Value, source: Sequence) -> Sequence:
    trace = interpreter.trace
    first, second = param_node(int64, ()), param_node(int64, ())
    with trace.body() as frame:
        answer = interpreter.call(less, [trace.element(source, first), trace.element(source, second)], place)
    if frame.faults:
        place.refuse(SyntaxRefused, "the order of sort() must not be able to fail. Compute keys first, and sort by them.")
    places = array_register(int64)
    trace.emit(SortBy(source.length, first, second, truth(answer), places))
    return _in_order(interpreter, source, places)


def argsort(interpreter: Interpreter, place: Place, value: Value, descending: Value = None) -> Value:
    """Return the places of elements in ascending order. Stable."""
    down = False
    if descending is not None:
        if not (isinstance(descending, Number) and descending.node.is_const):
            place.refuse(TypeMismatch, "descending is True or False.")
        down = bool(descending.node.attr.value)
    given = sequence(place, value, "argsort")
    if interpreter.trace.depth:
        whole = interpreter.whole(given)
        return sorted_pairs(interpreter, place, "argsort", whole, lazy(interpreter, whole.length, Number), down)[1]
    source = in_arrays(interpreter, place, "argsort", given)
    assert source.stored is not None
    keys = tuple(leaves(source.stored.arrays))
    places = array_register(int64)
    interpreter.trace.emit(Sort(keys, (down,) * len(keys), (None,) * len(keys), places))
    return interpreter.trace.stored(places, (source.length,))


def sort_by_key(interpreter: Interpreter, place: Place, keys: Value, values: Value) -> Value:
    """Return keys in ascending order, and the values in the order of their keys. Stable."""
    given = [interpreter.whole(sequence(place, value, "sort_by_key")) for value in (keys, values)]
    first, second = same_length(interpreter, place, "sort_by_key", given)
    if interpreter.trace.depth:
        return sorted_pairs(interpreter, place, "sort_by_key", first, second, False)
    source = in_arrays(interpreter, place, "sort_by_key", first)
    payload = interpreter.forced(second)
    assert source.stored is not None
    arrays = tuple(leaves(source.stored.arrays))
    made = tuple([array_register(array.dtype) for array in arrays])
    places = array_register(int64)
    interpreter.trace.emit(Sort(arrays, (False,) * len(arrays), made, places))
    ordered = interpreter.trace.stored(rebuilt(source.stored.arrays, iter(made)), (source.length,))
    return ordered, _in_order(interpreter, payload, places)


RULES: dict[str, Callable[..., Value]] = {
    "scatter": scatter, "scatter_reduce": lambda interpreter, place, function, values, places, target: scatter(
        interpreter, place, values, places, target, function),
    "permute": permute, "update": update, "sort": sort, "argsort": argsort, "sort_by_key": sort_by_key,
}  # fmt: skip
