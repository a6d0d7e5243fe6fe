"""Primitives that find places: of extremes, of values in order, in bins; and that part a sequence in two."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import TYPE_CHECKING, Any

from hotloop.dtypes import bool_, int64
from hotloop.errors import BoundsError, ShapeError, TypeMismatch
from hotloop.ir.graph import Node, apply, constant, param_node
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Effect, Operator, Scatter
from hotloop.parallel.interpreter.arithmetic import extremum, truth
from hotloop.parallel.interpreter.recorder import CHEAP, ONE, ZERO, Site
from hotloop.parallel.interpreter.values import Number, Sequence, Value, as_type, describe, joint_type
from hotloop.parallel.primitives.combining import hoisted, not_empty, reduced
from hotloop.parallel.primitives.moving import integer, lazy, same_length, sequence, take
from hotloop.parallel.primitives.ordering import outermost, sorted_pairs

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.interpret import Interpreter
    from hotloop.parallel.reading.place import Place

add, sub, lt, gt, ge, eq, ne = (REGISTRY[name] for name in ("add", "sub", "lt", "gt", "ge", "eq", "ne"))
and_, or_, invert, select, maximum = (REGISTRY[name] for name in ("and", "or", "invert", "select", "maximum"))
NOWHERE = constant(2**63 - 1, int64, structural=False)


def numbers(interpreter: Interpreter, place: Place, value: Value, name: str) -> tuple[Sequence, Number]:
    """Return an argument that must be a sequence of numbers, and what its elements are."""
    source = sequence(place, value, name)
    kind = interpreter.trace.probe(source)
    if not isinstance(kind, Number):
        place.refuse(TypeMismatch, f"{name}() needs a sequence of numbers; its elements are {describe(kind)}.")
    return source, kind


# ---------------------------------------------------------------------------------------------- extremes


def _extreme_place(name: str, row: str) -> Callable[..., Value]:
    def rule(interpreter: Interpreter, place: Place, value: Value) -> Value:
        source, _ = numbers(interpreter, place, value, name)
        source = not_empty(interpreter, place, name, source)
        trace = interpreter.trace
        inside = bool(trace.depth and source.depth)
        with hoisted(interpreter, source):
            if inside or (source.stored is None and trace.cost(source) > CHEAP):
                return _first_of_pairs(interpreter, place, name, row, source)
            return _first_equal(interpreter, place, name, row, source)

    return rule


def _first_equal(interpreter: Interpreter, place: Place, name: str, row: str, source: Sequence) -> Value:
    """Find the extreme first and then its place: two sweeps on vectors are faster than one on pairs, element by element."""
    trace = interpreter.trace
    found = reduced(interpreter, place, name, lambda a, b: extremum(row, a, b), source, None, fixed=True)

    def element(i: Node) -> Value:
        here = trace.element(source, i).node
        is_it = apply(eq, here, found.node)
        if here.dtype.is_float:
            is_it = apply(or_, is_it, apply(ne, here, here))
        return Number(apply(select, is_it, i, NOWHERE))

    places = lazy(interpreter, source.length, element)
    return reduced(interpreter, place, name, lambda a, b: extremum("minimum", a, b), places, None, fixed=True)


def _first_of_pairs(interpreter: Interpreter, place: Place, name: str, row: str, source: Sequence) -> Value:
    trace = interpreter.trace

    def combine(a: Value, b: Value) -> Value:
        x, y = a[0].node, b[0].node
        better = apply(lt, y, x) if row == "minimum" else apply(gt, y, x)
        if x.dtype.is_float:
            better = apply(or_, better, apply(and_, apply(ne, y, y), apply(eq, x, x)))
        return tuple([Number(apply(select, better, new.node, old.node)) for new, old in zip(b, a, strict=True)])

    def element(i: Node) -> Value:
        return Number(trace.element(source, i).node), Number(i)

    pairs = lazy(interpreter, source.length, element)
    pairs.depth = source.depth
    return reduced(interpreter, place, name, combine, pairs, None, fixed=True)[1]


# ------------------------------------------------------------------------------------------- values in order


def top_k(interpreter: Interpreter, place: Place, value: Value, count: Value) -> Value:
    """Return the largest elements, largest first, and their places; the first of equal ones, NaN last."""
    source, _ = numbers(interpreter, place, value, "top_k")
    source = interpreter.whole(source)
    wanted = integer(place, count, "top_k")

    def error(values: Items[Any]) -> Exception:
        known = f"{values[0]} of {values[1]} elements" if len(values) == 2 else "more elements than there are"
        return place.error(ShapeError, f"top_k() of {known}.")

    trace = interpreter.trace
    wrong = apply(or_, apply(lt, wanted, ZERO), apply(gt, wanted, source.length))
    trace.fault(wrong, Site(error), (wanted, source.length))
    if trace.depth:
        both = sorted_pairs(interpreter, place, "top_k", source, lazy(interpreter, source.length, Number), True)
        return tuple([take(interpreter, place, each, Number(wanted)) for each in both])
    from hotloop.parallel.interpreter.captures import primitive  # which imports this

    return interpreter.call(primitive("largest_of"), [interpreter.forced(source, place), Number(wanted)], place)


def searchsorted(interpreter: Interpreter, place: Place, value: Value, wanted: Value, side: Value = "left") -> Value:
    """Return where in an ascending sequence a number, or each of a sequence, would be inserted."""
    if side not in ("left", "right"):
        place.refuse(TypeMismatch, 'the side of searchsorted() is "left" or "right".')
    source, kind = numbers(interpreter, place, value, "searchsorted")
    source = interpreter.whole(source)
    trace = interpreter.trace
    if isinstance(wanted, Sequence):
        given, _ = numbers(interpreter, place, wanted, "searchsorted")
        if source.stored is None and source.depth == 0 and trace.cost(source) > CHEAP:
            source = trace.force(source)
        return lazy(interpreter, given.length, lambda i: inserted(interpreter, source, kind, trace.element(given, i), side), given)
    if not isinstance(wanted, Number):
        place.refuse(TypeMismatch, f"searchsorted() looks for numbers, not {describe(wanted)}.")
    if source.stored is None and source.depth == 0 and trace.cost(source) > CHEAP:
        source = trace.force(source)
    return inserted(interpreter, source, kind, wanted, side)


def inserted(interpreter: Interpreter, source: Sequence, kind: Number, wanted: Number, side: str) -> Number:
    """Halve what is left; the number of trips depends on the length alone, and no trip branches."""
    trace = interpreter.trace
    dtype = joint_type([kind, wanted])
    sought = as_type(wanted, dtype)

    def goes_on(at: Node) -> Node:
        """Whether the place is behind the element, in the order where NaN comes last."""
        here = as_type(trace.element(source, at), dtype)
        if side == "left":
            return _less(here, sought)
        return apply(invert, _less(sought, here))

    half = constant(1, int64)

    def step(carried: Items[Node]) -> list[Node]:
        low, left = carried
        middle = apply(REGISTRY["rshift"], left, half)
        behind = apply(add, low, middle)
        return [apply(select, goes_on(apply(sub, behind, ONE)), behind, low), apply(sub, left, middle)]

    low, left = trace.loop([ZERO, source.length], lambda carried: apply(gt, carried[1], ONE), step)
    # one element is left, if there is any
    there = apply(gt, left, ZERO)
    last = apply(and_, there, goes_on(apply(select, there, low, ZERO)))
    return Number(apply(select, last, apply(add, low, ONE), low))


def _less(x: Node, y: Node) -> Node:
    if not x.dtype.is_float:
        return apply(lt, x, y)
    return apply(or_, apply(lt, x, y), apply(and_, apply(ne, y, y), apply(eq, x, x)))


# --------------------------------------------------------------------------------------------------- bins


def histogram(interpreter: Interpreter, place: Place, bins: Value, count: Value, weights: Value = None) -> Value:
    """Return how often each of 0, 1, ..., count - 1 occurs, or the sum of its weights, added in order."""
    outermost(interpreter, place, "histogram")
    source, kind = numbers(interpreter, place, bins, "histogram")
    added, number = lazy(interpreter, source.length, lambda _: Number(ONE), source), Number(ONE)
    if weights is not None:
        added, number = numbers(interpreter, place, weights, "histogram")
        source, added = same_length(interpreter, place, "histogram", [source, added])
    dtype = int64 if number.dtype is bool_ else number.dtype
    trace = interpreter.trace
    length = apply(maximum, integer(place, count, "histogram"), ZERO)
    integer(place, kind, "histogram")
    zeros = lazy(interpreter, length, lambda _: Number(constant(0, dtype, structural=False)))
    found = trace.force(zeros)
    assert found.stored is not None
    old, new = param_node(dtype, ()), param_node(dtype, ())
    operator = Operator((old,), (new,), (apply(add, old, new),))

    def error(values: Items[Any]) -> Exception:
        known = f"{values[0]} is out of range for {values[1]} bins" if len(values) == 2 else "a number is out of range"
        return place.error(BoundsError, f"histogram(): {known}.")

    def effects(i: Node) -> list[Effect]:
        keep = None if source.keep is None else source.keep(i)
        with trace.guarded(keep) if keep is not None else trace.guarded_top():
            at = integer(place, trace.element(source, i), "histogram")
            wrong = apply(or_, apply(lt, at, ZERO), apply(ge, at, length))
            trace.fault(wrong, Site(error), (at, length))
            value = as_type(trace.element(added, i), dtype)
        return [Scatter((found.stored.arrays,), at, (value,), keep, operator)]  # type: ignore[union-attr]

    trace.sweep(source.length, effects)
    return found


# -------------------------------------------------------------------------------------------------- parting


def pack(interpreter: Interpreter, place: Place, flags: Value, value: Value) -> Value:
    """Return the elements whose flag is not zero, in order."""
    numbers(interpreter, place, flags, "pack")
    given = [sequence(place, flags, "pack"), sequence(place, value, "pack")]
    holds, source = same_length(interpreter, place, "pack", given)
    return _where(interpreter, source, holds, True)


def partition(interpreter: Interpreter, place: Place, predicate: Value, value: Value) -> Value:
    """Return the elements for which a predicate holds, and the others."""
    trace = interpreter.trace
    source = _twice(interpreter, interpreter.whole(sequence(place, value, "partition")))

    def flag(i: Node) -> Value:
        answer = interpreter.call(predicate, [trace.element(source, i)], place)
        if not isinstance(answer, Number):
            place.refuse(TypeMismatch, f"the predicate of partition() gives {describe(answer)}, not a bool.")
        return Number(truth(answer))

    holds = _twice(interpreter, lazy(interpreter, source.length, flag))
    return _where(interpreter, source, holds, True), _where(interpreter, source, holds, False)


def _twice(interpreter: Interpreter, source: Sequence) -> Sequence:
    """Return a sequence that two sweeps read: in memory, if it is dear."""
    if interpreter.trace.depth or source.stored is not None or interpreter.trace.cost(source) <= CHEAP:
        return source
    return interpreter.forced(source)


def _where(interpreter: Interpreter, source: Sequence, holds: Sequence, wanted: bool) -> Sequence:
    made = lazy(interpreter, source.length, lambda i: interpreter.trace.element(source, i))

    def keep(i: Node) -> Node:
        flag = truth(interpreter.trace.element(holds, i))
        return flag if wanted else apply(invert, flag)

    made.keep = keep
    return made


RULES: dict[str, Callable[..., Value]] = {
    "argmin": _extreme_place("argmin", "minimum"), "argmax": _extreme_place("argmax", "maximum"), "top_k": top_k,
    "searchsorted": searchsorted, "histogram": histogram, "pack": pack, "partition": partition,
}  # fmt: skip
