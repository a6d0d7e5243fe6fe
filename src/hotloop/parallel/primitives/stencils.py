"""`stencil`: a function of the neighbours of each element, of sequences and of arrays of several dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hotloop.errors import ShapeError, TypeMismatch
from hotloop.ir.graph import Node, apply
from hotloop.ir.op import REGISTRY
from hotloop.parallel.interpreter.recorder import CHEAP, TRUE, ZERO
from hotloop.parallel.interpreter.values import Number, Sequence, Value, describe
from hotloop.parallel.primitives.moving import integer, over_shape, sequence

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.interpret import Interpreter
    from hotloop.parallel.reading.place import Place

add, mul, lt, ge, and_, select = (REGISTRY[name] for name in ("add", "mul", "lt", "ge", "and", "select"))


def stencil(interpreter: Interpreter, place: Place, function: Value, offsets: Value, value: Value, outside: Value) -> Value:
    """Return function(x[i + offsets[0]], x[i + offsets[1]], ...) for each element, with `outside` beyond the edges."""
    source, shape = _array(interpreter, place, value)
    if not isinstance(offsets, tuple) or not offsets:
        place.refuse(TypeMismatch, f"the offsets of stencil() are a tuple, not {describe(offsets)}.")
    if not isinstance(outside, Number):
        place.refuse(TypeMismatch, f"what is outside of a stencil() is a number, not {describe(outside)}.")
    moves = [_offset(place, offset, len(shape)) for offset in offsets]

    def element(where: tuple[Number, ...]) -> Value:
        nodes = tuple([number.node for number in where])
        return interpreter.call(function, [_neighbour(interpreter, source, shape, nodes, move, outside) for move in moves], place)

    return over_shape(interpreter, shape, element)


def _array(interpreter: Interpreter, place: Place, value: Value) -> tuple[Sequence, tuple[Node, ...]]:
    """Return the numbers of an array, row-major, and its shape."""
    trace = interpreter.trace
    given = interpreter.whole(sequence(place, value, "stencil"))
    if given.stored is None and isinstance(trace.probe(given), Number) and trace.cost(given) <= CHEAP:
        return given, (given.length,)
    memory = interpreter.forced(given, place).stored
    assert memory is not None
    if memory.offsets or isinstance(memory.arrays, tuple):
        place.refuse(TypeMismatch, f"stencil() needs an array of numbers, not {describe(given)}.")
    total = memory.shape[0]
    for length in memory.shape[1:]:
        total = apply(mul, total, length)
    return trace.stored(memory.arrays, (total,), (), memory.offset), memory.shape


def _offset(place: Place, offset: Value, rank: int) -> tuple[Node, ...]:
    given = offset if isinstance(offset, tuple) else (offset,)
    if len(given) != rank:
        place.refuse(ShapeError, f"stencil() has an offset of {len(given)} for an array of {rank} dimensions.")
    return tuple([integer(place, by, "stencil") for by in given])


def _neighbour(
    interpreter: Interpreter, source: Sequence, shape: tuple[Node, ...], where: tuple[Node, ...], move: tuple[Node, ...], outside: Value
) -> Value:  # fmt: skip
    trace = interpreter.trace
    inside, flat = TRUE, ZERO
    for i, by, length in zip(where, move, shape, strict=True):
        moved, is_in = i, TRUE
        if not (by.is_const and by.attr.value == 0):
            moved = apply(add, i, by)
            is_in = apply(and_, apply(ge, moved, ZERO), apply(lt, moved, length))
        inside = apply(and_, inside, is_in)
        flat = apply(add, apply(mul, flat, length), moved)
    return trace.choose(inside, lambda: trace.element(source, flat), lambda: outside, interpreter.merge)


RULES: dict[str, Callable[..., Value]] = {"stencil": stencil}
