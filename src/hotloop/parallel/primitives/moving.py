"""Primitives that only move or map elements: their results are lazy, and cost nothing until something reads them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import TYPE_CHECKING, Any

from hotloop.dtypes import int64
from hotloop.errors import ShapeError, TypeMismatch
from hotloop.ir.graph import Node, apply, constant
from hotloop.ir.op import REGISTRY
from hotloop.parallel.interpreter.arithmetic import truth
from hotloop.parallel.interpreter.bounds import natural
from hotloop.parallel.interpreter.recorder import ONE, ZERO, Site
from hotloop.parallel.interpreter.values import Number, Sequence, Value, as_type, describe, weak

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.interpret import Interpreter
    from hotloop.parallel.reading.place import Place

add, sub, mul, lt, ge, or_, and_ = (REGISTRY[name] for name in ("add", "sub", "mul", "lt", "ge", "or", "and"))
floordiv, mod, maximum, minimum, select = (REGISTRY[name] for name in ("floordiv", "mod", "maximum", "minimum", "select"))


def sequence(place: Place, value: Value, name: str) -> Sequence:
    """Return an argument that must be a sequence."""
    if not isinstance(value, Sequence):
        place.refuse(TypeMismatch, f"{name}() needs a sequence, not {describe(value)}.")
    return value


def integer(place: Place, value: Value, name: str) -> Node:
    """Return an argument that must be an integer, as int64."""
    if not isinstance(value, Number) or value.dtype.is_float:
        place.refuse(TypeMismatch, f"{name}() needs an integer, not {describe(value)}. Convert first: int64(n).")
    return as_type(value, int64)


def same_length(interpreter: Interpreter, place: Place, name: str, sequences: Items[Sequence]) -> list[Sequence]:
    """Return sequences of which every place counts and whose lengths are equal, else there is a fault."""
    whole = list(sequences) if len(sequences) == 1 else [interpreter.whole(each) for each in sequences]
    first = whole[0]
    for number, other in enumerate(whole[1:], 2):
        if other.length is first.length:
            continue

        def error(values: Items[Any], number: int = number) -> Exception:
            known = f": {values[0]} and {values[1]}" if len(values) == 2 else ""
            return place.error(ShapeError, f"{name}() of sequences 1 and {number}, whose lengths differ{known}.")

        interpreter.trace.fault(apply(REGISTRY["ne"], first.length, other.length), Site(error), (first.length, other.length))
    return whole


def lazy(interpreter: Interpreter, length: Node, element: Callable[[Node], Value], like: Sequence | None = None) -> Sequence:
    """Return a lazy sequence; like: one of which the same places count."""
    made = Sequence(length, element, interpreter.trace.depth)
    if like is not None:
        made.keep = like.keep
    return made


def map_(interpreter: Interpreter, place: Place, function: Value, *values: Value) -> Value:
    """Apply a function to the elements at each place."""
    if not values:
        place.refuse(TypeMismatch, "map() needs a function and at least one sequence.")
    whole = same_length(interpreter, place, "map", [sequence(place, value, "map") for value in values])
    trace = interpreter.trace
    if len(whole) == 1 and whole[0].shape is not None:
        return over_shape(interpreter, whole[0].shape, lambda places: interpreter.call(function, [places], place))

    def element(i: Node) -> Value:
        return interpreter.call(function, [trace.element(each, i) for each in whole], place)

    return lazy(interpreter, whole[0].length, element, whole[0])


def over_shape(
    interpreter: Interpreter, shape: Items[Node], function: Callable[[Value], Value], outer: tuple[Number, ...] = ()
) -> Sequence:  # fmt: skip
    """Return what a function makes of each tuple of places in a shape: rows of rows, a loop for each axis and no division."""
    length, *rest = shape

    def element(i: Node) -> Value:
        places = (*outer, Number(_counted(interpreter, i, length)))
        return over_shape(interpreter, rest, function, places) if rest else function(places)

    return lazy(interpreter, length, element)


def zip_(interpreter: Interpreter, place: Place, *values: Value, strict: Value = None) -> Value:
    """Combine elements at each place into tuples. Lengths must be equal, with or without `strict=True`."""
    if not values:
        place.refuse(TypeMismatch, "zip() needs at least one sequence.")
    whole = same_length(interpreter, place, "zip", [sequence(place, value, "zip") for value in values])
    trace = interpreter.trace
    return lazy(interpreter, whole[0].length, lambda i: tuple([trace.element(each, i) for each in whole]), whole[0])


def unzip(interpreter: Interpreter, place: Place, value: Value) -> Value:
    """Take a sequence of tuples apart."""
    pairs = interpreter.whole(sequence(place, value, "unzip"))
    trace = interpreter.trace
    if trace.depth == 0 and pairs.stored is None and trace.cost(pairs) > 2:
        pairs = interpreter.forced(pairs)
    probe = trace.probe(pairs)
    if not isinstance(probe, tuple):
        place.refuse(TypeMismatch, f"unzip() needs a sequence of tuples; its elements are {describe(probe)}.")

    def part(number: int) -> Sequence:
        return lazy(interpreter, pairs.length, lambda i: trace.element(pairs, i)[number], pairs)

    return tuple([part(number) for number in range(len(probe))])


def enumerate_(interpreter: Interpreter, place: Place, value: Value, start: Value = None) -> Value:
    """Pair each element with its place."""
    whole = interpreter.whole(sequence(place, value, "enumerate"))
    first = ZERO if start is None else integer(place, start, "enumerate")
    trace = interpreter.trace
    return lazy(interpreter, whole.length, lambda i: (Number(apply(add, i, first)), trace.element(whole, i)))


def range_(interpreter: Interpreter, place: Place, *bounds: Value) -> Value:
    """Count: as Python's range."""
    numbers = [integer(place, bound, "range") for bound in bounds]
    if not 1 <= len(numbers) <= 3:
        place.refuse(TypeMismatch, f"range() takes 1 to 3 integers, not {len(numbers)}.")
    if len(numbers) == 1:
        return lazy(interpreter, natural(interpreter.trace, numbers[0]), Number)
    low, high = numbers[:2]
    step = numbers[2] if len(numbers) == 3 else ONE
    if step.is_const and step.attr.value == 1:
        length = high if low is ZERO else apply(sub, high, low)
        if low is ZERO or not (low.is_const and low.attr.value >= 0):
            return lazy(interpreter, natural(interpreter.trace, length), lambda i: Number(apply(add, low, i)))
        return lazy(interpreter, natural(interpreter.trace, length), lambda i: Number(_at_least(interpreter, apply(add, low, i), high)))

    def error(_: Items[Any]) -> Exception:
        return place.error(ShapeError, "range() with a step of 0.")

    interpreter.trace.fault(apply(REGISTRY["eq"], step, ZERO), Site(error))
    away = apply(select, apply(lt, step, ZERO), apply(add, step, ONE), apply(sub, step, ONE))
    count = apply(floordiv, apply(add, apply(sub, high, low), away), step)
    return lazy(interpreter, apply(maximum, count, ZERO), lambda i: Number(apply(add, low, apply(mul, i, step))))


def _at_least(interpreter: Interpreter, index: Node, limit: Node) -> Node:
    """Note that an index which starts at a constant is at least 0, and below a limit."""
    interpreter.trace.below[index.id] = limit
    return index


def indices(interpreter: Interpreter, place: Place, value: Value) -> Value:
    """Return the places of a sequence."""
    return lazy(interpreter, interpreter.whole(sequence(place, value, "indices")).length, Number)


def ndindex(interpreter: Interpreter, place: Place, *lengths: Value) -> Value:
    """Return the places of an array of a shape, as tuples; what is mapped over them is an array of that shape."""
    given = lengths[0] if len(lengths) == 1 and isinstance(lengths[0], tuple) else lengths
    shape = tuple([natural(interpreter.trace, integer(place, length, "ndindex")) for length in given])
    if not shape:
        place.refuse(TypeMismatch, "ndindex() needs at least one length.")
    total = shape[0]
    for length in shape[1:]:
        total = apply(mul, total, length)

    def element(i: Node) -> Value:
        places: list[Number] = []
        for length in reversed(shape[1:]):
            places.append(Number(_counted(interpreter, apply(mod, i, length), length)))
            i = apply(floordiv, i, length)
        return tuple([Number(_counted(interpreter, i, shape[0])), *reversed(places)])

    made = lazy(interpreter, total, element)
    made.shape = shape if len(shape) > 1 else None
    return made


def _counted(interpreter: Interpreter, index: Node, limit: Node) -> Node:
    interpreter.trace.below[index.id] = limit
    return index


def replicate(interpreter: Interpreter, place: Place, value: Value, count: Value) -> Value:
    """Return the same value many times."""
    return lazy(interpreter, natural(interpreter.trace, integer(place, count, "replicate")), lambda _: value)


def len_(interpreter: Interpreter, place: Place, value: Value) -> Value:
    """Return the length of a sequence or tuple."""
    if isinstance(value, tuple):
        return weak(len(value))
    given = sequence(place, value, "len")
    if given.shape is not None:
        return Number(given.shape[0], weak=True)
    return Number(interpreter.whole(given).length, weak=True)


def gather(interpreter: Interpreter, place: Place, value: Value, places: Value) -> Value:
    """Return the elements at places."""
    source = interpreter.whole(sequence(place, value, "gather"))
    where = sequence(place, places, "gather")
    trace = interpreter.trace

    def element(i: Node) -> Value:
        index = trace.element(where, i)
        return trace.element(source, interpreter.checked(integer(place, index, "gather"), source.length, place))

    return lazy(interpreter, where.length, element, where)


def shift(interpreter: Interpreter, place: Place, value: Value, by: Value, default: Value) -> Value:
    """Return x[i + by], or the default where that is outside."""
    source = interpreter.whole(sequence(place, value, "shift"))
    distance = integer(place, by, "shift")
    return lazy(interpreter, source.length, lambda i: beyond(interpreter, source, apply(add, i, distance), default))


def beyond(interpreter: Interpreter, source: Sequence, at: Node, default: Value) -> Value:
    """Return the element at a place, or a default where there is none."""
    trace = interpreter.trace
    inside = apply(and_, apply(ge, at, ZERO), apply(lt, at, source.length))

    def merge(a: Value, b: Value) -> tuple[Value, Value, Value]:
        return interpreter.merge(a, b)

    return trace.choose(inside, lambda: trace.element(source, at), lambda: default, merge)


def rotate(interpreter: Interpreter, place: Place, value: Value, by: Value) -> Value:
    """Return x[(i + by) mod n]."""
    source = interpreter.whole(sequence(place, value, "rotate"))
    distance = apply(mod, integer(place, by, "rotate"), apply(maximum, source.length, ONE))
    trace = interpreter.trace

    def element(i: Node) -> Value:
        at = apply(add, i, distance)
        return trace.element(source, apply(select, apply(ge, at, source.length), apply(sub, at, source.length), at))

    return lazy(interpreter, source.length, element)


def reversed_(interpreter: Interpreter, place: Place, value: Value) -> Value:
    """Return the elements from the last to the first."""
    source = interpreter.whole(sequence(place, value, "reversed"))
    last = apply(sub, source.length, ONE)
    return lazy(interpreter, source.length, lambda i: interpreter.trace.element(source, apply(sub, last, i)))


def filter_(interpreter: Interpreter, place: Place, predicate: Value, value: Value) -> Value:
    """Return the elements for which a predicate holds, in order."""
    source = sequence(place, value, "filter")
    trace = interpreter.trace

    def keep(i: Node) -> Node:
        first = None if source.keep is None else source.keep(i)
        with trace.guarded(first) if first is not None else trace.guarded(_yes()):
            answer = interpreter.call(predicate, [trace.element(source, i)], place)
        if not isinstance(answer, Number):
            place.refuse(TypeMismatch, f"the predicate of filter() gives {describe(answer)}, not a bool.")
        holds = truth(answer)
        return holds if first is None else apply(and_, first, holds)

    made = lazy(interpreter, source.length, lambda i: trace.element(source, i))
    made.keep = keep
    return made


def _yes() -> Node:
    from hotloop.parallel.interpreter.recorder import TRUE

    return TRUE


def take(interpreter: Interpreter, place: Place, value: Value, count: Value) -> Value:
    """Return the first elements."""
    source = interpreter.whole(sequence(place, value, "take"))
    wanted = apply(minimum, apply(maximum, integer(place, count, "take"), ZERO), source.length)
    return lazy(interpreter, wanted, lambda i: interpreter.trace.element(source, i))


def drop(interpreter: Interpreter, place: Place, value: Value, count: Value) -> Value:
    """Return all but the first elements."""
    source = interpreter.whole(sequence(place, value, "drop"))
    first = apply(minimum, apply(maximum, integer(place, count, "drop"), ZERO), source.length)
    return lazy(interpreter, apply(sub, source.length, first), lambda i: interpreter.trace.element(source, apply(add, i, first)))


def concatenate(interpreter: Interpreter, place: Place, *values: Value) -> Value:
    """Return sequences one after the other."""
    whole = [interpreter.whole(sequence(place, value, "concatenate")) for value in values]
    joint = whole[0]
    for other in whole[1:]:
        joint = _joined(interpreter, joint, other)
    return joint


def _joined(interpreter: Interpreter, x: Sequence, y: Sequence) -> Sequence:
    trace = interpreter.trace

    def element(i: Node) -> Value:
        first = apply(lt, i, x.length)
        there = apply(sub, i, x.length)
        return trace.choose(first, lambda: trace.element(x, i), lambda: trace.element(y, there), interpreter.merge)

    return lazy(interpreter, apply(add, x.length, y.length), element)


def _every_second(first: int) -> Callable[..., Value]:
    def rule(interpreter: Interpreter, place: Place, value: Value) -> Value:
        source = interpreter.whole(sequence(place, value, "odds" if first else "evens"))
        two = constant(2, int64)
        count = apply(floordiv, apply(add, source.length, constant(1 - first, int64)), two)
        start = constant(first, int64)
        return lazy(interpreter, count, lambda i: interpreter.trace.element(source, apply(add, apply(mul, i, two), start)))

    return rule


def interleave(interpreter: Interpreter, place: Place, x: Value, y: Value) -> Value:
    """Return x[0], y[0], x[1], y[1], ..."""
    a, b = same_length(interpreter, place, "interleave", [sequence(place, x, "interleave"), sequence(place, y, "interleave")])
    trace, two = interpreter.trace, constant(2, int64)

    def element(i: Node) -> Value:
        half, odd = apply(floordiv, i, two), apply(REGISTRY["ne"], apply(mod, i, two), ZERO)
        return trace.choose(odd, lambda: trace.element(b, half), lambda: trace.element(a, half), interpreter.merge)

    return lazy(interpreter, apply(mul, a.length, two), element)


RULES: dict[str, Callable[..., Value]] = {
    "map": map_, "zip": zip_, "unzip": unzip, "enumerate": enumerate_, "range": range_, "bounded_range": range_, "indices": indices,
    "ndindex": ndindex, "replicate": replicate, "len": len_, "gather": gather, "shift": shift, "rotate": rotate, "reversed": reversed_,
    "filter": filter_, "take": take, "drop": drop, "concatenate": concatenate, "join": concatenate, "evens": _every_second(0),
    "odds": _every_second(1), "interleave": interleave,
}  # fmt: skip
