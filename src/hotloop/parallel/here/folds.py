"""Reductions and scans in plain Python. The order in which floats are combined is part of the definition.

A sequence is cut in chunks of CHUNK elements, whatever the number of threads. `reduce` combines each chunk, and
then init and the chunks' results, left to right. By + * min max & | a chunk is combined in the order of all of
hotloop's reductions (`ops.shape.fold_halves`), by any other operator left to right. Scans go left to right from
what the chunks before give, combined in that order.

Within a function that is applied to elements, a sequence that was made there (a row, a part of something, what `map`
gives) is combined left to right, from init on, and so is any sequence by an operator of the user's.
"""

from __future__ import annotations

import builtins
import itertools
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from hotloop.dtypes import as_dtype
from hotloop.errors import HotloopError, ShapeError, TypeMismatch
from hotloop.ir.op import REGISTRY, Op
from hotloop.ops.shape import CHUNK, FOLDS, identity
from hotloop.parallel.cuarray import computing_elements, cuarray, is_computing_elements, made
from hotloop.parallel.forms import Array, Form, Records, cut, form_length, picked
from hotloop.parallel.here.scalars import Number, maximum, minimum, op_add, op_mul
from hotloop.parallel.here.types import (
    Type,
    cast_form,
    collected,
    converted,
    item,
    items,
    joint,
    kept_of,
    numbers,
    plain,
    quiet,
    sequence,
    type_of,
    type_of_elements,
)  # fmt: skip

Operator = Callable[[Any, Any], Any]

_FOLDS: dict[str, Op] = {name: op for op, name in FOLDS.items()}  # the row that combines two -> the row that combines all

# ------------------------------------------------------------------------------- operators with an order of their own


class Symbol:
    """An operand that records what an operator does with it, to find out whether the operator is + or the like."""

    __slots__ = ("name", "operands")

    def __init__(self, name: str, *operands: Any) -> None:
        self.name = name
        self.operands = operands

    def recorded(self, op: Op, operands: tuple[Any, ...]) -> Symbol:
        """Return the symbol of a row's result."""
        return Symbol(str(op), *operands)

    def __bool__(self) -> bool:
        raise TypeMismatch("a symbol has no truth.")

    def __add__(self, other: Any) -> Symbol:
        return Symbol("add", self, other)

    def __mul__(self, other: Any) -> Symbol:
        is_one = isinstance(other, (int, float)) and other == 1
        return self if is_one else Symbol("mul", self, other)  # x * 1 is x, as the compiler knows

    __rmul__ = __mul__

    def __and__(self, other: Any) -> Symbol:
        return Symbol("and", self, other)

    def __or__(self, other: Any) -> Symbol:
        return Symbol("or", self, other)

    def __lt__(self, other: Any) -> Symbol:
        return Symbol("lt", self, other)

    def __gt__(self, other: Any) -> Symbol:
        return Symbol("gt", self, other)


_KNOWN: dict[Any, str] = {
    builtins.min: "minimum", builtins.max: "maximum", np.minimum: "minimum", np.maximum: "maximum", np.add: "add",
    np.multiply: "mul", operator.add: "add", operator.mul: "mul", operator.lt: "lt", operator.gt: "gt",
}  # fmt: skip


def known_as(function: Callable[..., Any]) -> str | None:
    """Return the name of the row that a function of two operands is: "add", "minimum", "lt", ...; None for any other."""
    if function in _KNOWN:
        return _KNOWN[function]
    left, right = Symbol("left"), Symbol("right")
    found = recorded(function, left, right)
    return found.name if found is not None and set(map(id, found.operands)) == {id(left), id(right)} else None


def known_parts(function: Callable[..., Any], form: Form) -> list[str] | None:
    """Return the names of the rows that a function of two tuples is, part by part; None if it is anything else."""
    if not isinstance(form, Records) or not all(isinstance(part, np.ndarray) and part.ndim == 1 for part in form.fields):
        return None
    left, right = (tuple([Symbol(f"{side}{k}") for k in range(len(form.fields))]) for side in ("left", "right"))
    try:
        found = function(left, right)
    except (HotloopError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # whatever it does with numbers alone
        return None
    if not isinstance(found, tuple) or len(found) != len(left) or not all(isinstance(part, Symbol) for part in found):
        return None
    pairs = zip(found, left, right, strict=True)
    known = all(part.name in _FOLDS and set(map(id, part.operands)) == {id(x), id(y)} for part, x, y in pairs)
    return [part.name for part in found] if known else None


def recorded(function: Callable[..., Any], *symbols: Any) -> Symbol | None:
    """Return what a function does with symbols, if it is one operation; None for anything else."""
    try:
        found = function(*symbols)
    except (HotloopError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # whatever it does with numbers alone
        return None
    return found if isinstance(found, Symbol) else None


# ------------------------------------------------------------------------------------------- combining chunks


def chunks(form: Form, holds: Array | None = None) -> list[Form]:
    """Return a sequence in the pieces that are combined first; holds: see `Filtered`. Empty pieces are left out."""
    count = form_length(form)
    if holds is None:
        return [cut(form, start, builtins.min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    ends = np.cumsum([np.count_nonzero(holds[start : start + CHUNK]) for start in range(0, len(holds), CHUNK)]).tolist()
    return [cut(form, start, end) for start, end in zip([0, *ends], ends, strict=False) if start < end]


def _filled(row: str | None, form: Form, holds: Array | None, parts: list[str] | None = None) -> Form | None:
    """Return a filtered sequence of numbers with what changes nothing in the places of those that were left out."""
    if holds is not None and parts is not None and form_length(form):
        assert isinstance(form, Records), "tuples have parts"
        full_parts = [_filled(name, part, holds) for name, part in zip(parts, form.fields, strict=True)]
        return Records(tuple([part for part in full_parts if part is not None]))
    if holds is None or row not in _FOLDS or not isinstance(form, np.ndarray) or not len(form):
        return None
    full = np.full(len(holds), identity(REGISTRY[row], as_dtype(form.dtype)), form.dtype)
    full[holds] = form
    return full


def combined(function: Operator, chunk: Form, kind: Type) -> Any:
    """Return all elements of a chunk combined; there is at least one."""
    row = _FOLDS.get(known_as(function) or "")
    if row is not None and row.lower is not None and isinstance(chunk, np.ndarray) and chunk.ndim == 1:
        return row.lower(chunk, axes=(0,))[()]
    parts = known_parts(function, chunk)
    if parts is not None:
        assert isinstance(chunk, Records), "tuples have parts"
        pairs = zip(parts, chunk.fields, strict=True)
        return tuple([_FOLDS[name].lower(part, axes=(0,))[()] for name, part in pairs])  # type: ignore[misc]
    return _in_order(function, items(chunk), kind)


def accumulated(function: Operator, form: Form, *inits: Any) -> Type:
    """Return the type of what is combined: it holds elements, init, and what the function makes of such values."""
    kind = type_of_elements(form)
    for init in inits:
        kind = joint(kind, type_of(init))
    if not form_length(form):
        return kind
    for _ in range(8):  # types only grow
        left = converted(item(form, 0), kind)
        found = joint(kind, type_of(function(left, left)))
        if found == kind:
            break
        kind = found
    return kind


@quiet
def reduce_(function: Operator, x: Any, init: Any = None) -> Any:
    """Return init and all elements combined by an associative and commutative function; init if there are none.

    What is combined has one type, which holds init, the elements, and the function's results. Without an init there must
    be elements. Raises: ShapeError.
    """
    return _reduced("reduce", combining(function, "reduce"), sequence(x, "reduce"), () if init is None else (init,), x)


def _reduced(name: str, function: Operator, form: Form, inits: tuple[Any, ...], x: Any) -> Any:
    """Combine what is in `form`, the elements of x."""
    if not inits and not form_length(form):
        raise ShapeError(f"{name} of an empty sequence.")
    one_by_one = _is_one_by_one(function, x)
    with computing_elements():
        kind = accumulated(function, form, *inits)
        form, starts = cast_form(form, kind), [converted(init, kind) for init in inits]
        if one_by_one:
            return _in_order(function, itertools.chain(starts, items(form)), kind)
        return _by_chunks(function, form, starts, kind, kept_of(x) if inits else None)


def _by_chunks(function: Operator, form: Form, starts: list[Any], kind: Type, holds: Array | None) -> Any:
    row = known_as(function)
    full = _filled(row, form, holds, known_parts(function, form))
    totals = [combined(function, piece, kind) for piece in (chunks(form, holds) if full is None else chunks(full))]
    if row in _FOLDS and type_of_elements(form) is not None and totals:  # init + (what the chunks give)
        totals = [_in_order(function, totals, kind)]
    return _in_order(function, [*starts, *totals], kind)


def _in_order(function: Operator, values: Iterable[Any], kind: Type) -> Any:
    rest = iter(values)
    accumulator = next(rest)
    for value in rest:
        accumulator = converted(function(accumulator, value), kind)
    return accumulator


def _is_one_by_one(function: Operator, x: Any) -> bool:
    """Whether elements are combined without chunks: for one element of another sequence."""
    if not is_computing_elements():
        return False
    is_users = function not in _KNOWN and not function.__module__.startswith("hotloop.parallel.here")
    return is_users or (x.inner if isinstance(x, cuarray) else isinstance(x, list))


def combining(function: Any, name: str) -> Operator:
    """Return a function of two operands; Python's min and max are hotloop's, where NaN wins."""
    found: Operator = {builtins.min: minimum, builtins.max: maximum}.get(function) or plain(function, name)
    return found


# ----------------------------------------------------------------------------------------------------- scans


def _scanned(name: str, function: Any, x: Any, inits: tuple[Any, ...], exclusive: bool, backwards: bool) -> cuarray:
    function = combining(function, name)
    form = _turned(sequence(x, name), backwards)
    one_by_one = _is_one_by_one(function, x)
    found: list[Any] = []
    with computing_elements():
        kind = accumulated(function, form, *inits)
        form = cast_form(form, kind)
        before = [converted(init, kind) for init in inits]  # what the chunks before give: one value, or none yet
        for chunk in [form] if one_by_one else chunks(form):
            found.extend(_running(function, chunk, before, kind, exclusive))
            if not one_by_one:
                total = combined(function, chunk, kind)
                before = [converted(function(before[0], total), kind)] if before else [total]
    return made(_turned(collected(found, form).form, backwards))


def _running(function: Operator, chunk: Form, before: list[Any], kind: Type, exclusive: bool) -> list[Any]:
    found = []
    for value in items(chunk):
        if exclusive:
            found.append(before[0])
        before = [converted(function(before[0], value), kind) if before else value]
        if not exclusive:
            found.append(before[0])
    return found


def _turned(form: Form, backwards: bool) -> Form:
    return picked(form, np.arange(form_length(form))[::-1]) if backwards else form


@quiet
def scan(function: Operator, x: Any) -> cuarray:
    """Return for each place all elements up to it, with it, combined by an associative function."""
    return _scanned("scan", function, x, (), exclusive=False, backwards=False)


@quiet
def rscan(function: Operator, x: Any) -> cuarray:
    """Return for each place all elements from the end to it combined: function(what is combined so far, element)."""
    return _scanned("rscan", function, x, (), exclusive=False, backwards=True)


@quiet
def exclusive_scan(function: Operator, prefix: Any, x: Any) -> cuarray:
    """Return for each place prefix and all elements before it combined; the first is prefix."""
    return _scanned("exclusive_scan", function, x, (prefix,), exclusive=True, backwards=False)


@quiet
def exclusive_rscan(function: Operator, suffix: Any, x: Any) -> cuarray:
    """Return for each place suffix and all elements after it, from the end, combined; the last is suffix."""
    return _scanned("exclusive_rscan", function, x, (suffix,), exclusive=True, backwards=True)


# ------------------------------------------------------------------------------------------------ well-known ones


@quiet
def sum_(x: Any, start: Any = 0) -> Number:
    """Return reduce(op_add, x, 0): of the elements' type, of bools how many hold (int64)."""
    array = numbers(x, "sum")
    array = array.astype(np.int64) if array.dtype == bool else array
    return _reduced("sum", op_add, array, (start,), x)


@quiet
def prod(x: Any) -> Number:
    """Return reduce(op_mul, x, 1)."""
    return _reduced("prod", op_mul, numbers(x, "prod"), (1,), x)


def _extremum(name: str, function: Operator, before: Callable[[Any, Any], bool], given: tuple[Any, ...]) -> Any:
    if len(given) == 1 and not isinstance(given[0], tuple):
        form = sequence(given[0], name)
        if isinstance(form, Records):
            function = _first_tuple(before)
        elif not isinstance(form, np.ndarray) or form.ndim > 1:
            raise TypeMismatch(f"{name}: a sequence of numbers or tuples is needed.")
        return _reduced(name, function, form, (), given[0])
    found, *others = given[0] if len(given) == 1 else given
    for number in others:
        found = function(found, number)
    return found


def _first_tuple(before: Callable[[Any, Any], bool]) -> Operator:
    """Return the choice of the tuple that comes first, by the first parts that differ; the earlier one of equal ones."""

    def first(a: Any, b: Any) -> Any:
        return b if _comes_first(before, leaves(b), leaves(a)) else a

    return first


def _comes_first(before: Callable[[Any, Any], bool], a: list[Any], b: list[Any]) -> bool:
    for x, y in zip(a, b, strict=True):
        if before(x, y):
            return True
        if x != y:
            return False
    return False


def leaves(value: Any) -> list[Any]:
    """Return the numbers of nested tuples, left to right."""
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else [value]


@quiet
def min_(*x: Any) -> Any:
    """Return the smallest element of a sequence, or of several numbers; NaN wins. Tuples compare by the first parts that differ.

    Raises: ShapeError if the sequence is empty.
    """
    return _extremum("min", minimum, operator.lt, x)


@quiet
def max_(*x: Any) -> Any:
    """Return the largest element of a sequence, or of several numbers; NaN wins. Tuples compare by the first parts that differ.

    Raises: ShapeError if the sequence is empty.
    """
    return _extremum("max", maximum, operator.gt, x)


def any_(x: Any) -> np.bool_:
    """Tell whether any element is not zero; false if there are none."""
    return np.bool_(numbers(x, "any").astype(bool).any())


def all_(x: Any) -> np.bool_:
    """Tell whether no element is zero; true if there are none."""
    return np.bool_(numbers(x, "all").astype(bool).all())


@quiet
def count(pred: Callable[[Any], Any], x: Any) -> int:
    """Return for how many elements a predicate holds, a Python int: its type yields to that of other numbers."""
    pred = plain(pred, "count")
    form = sequence(x, "count")
    with computing_elements():
        return builtins.sum(1 for value in items(form) if pred(value))


def _extreme_place(name: str, x: Any, of: Callable[[Array], Any]) -> np.int64:
    array = numbers(x, name)
    if not len(array):
        raise ShapeError(f"{name} of an empty sequence.")
    return np.int64(of(array))


def argmin(x: Any) -> np.int64:
    """Return the place of the smallest element, the first of equal ones; NaN wins. Raises: ShapeError if empty."""
    return _extreme_place("argmin", x, np.argmin)


def argmax(x: Any) -> np.int64:
    """Return the place of the largest element, the first of equal ones; NaN wins. Raises: ShapeError if empty."""
    return _extreme_place("argmax", x, np.argmax)


# ------------------------------------------------------------------------------------ combining at run-time places


def scatter_into(function: Any, values: Form, places: Array, target: Form) -> cuarray:
    """Return target with each value combined with what is at its place, in order. Types are target's."""
    function = combining(function, "scatter")
    kind = type_of_elements(target)
    result = list(items(target))
    for place, value in zip(places.tolist(), items(cast_form(values, kind)), strict=True):
        result[place] = converted(function(result[place], value), kind)
    return collected(result, target)


FOLDING: dict[str, Callable[..., Any]] = {
    "reduce": reduce_, "scan": scan, "rscan": rscan, "exclusive_scan": exclusive_scan, "exclusive_rscan": exclusive_rscan,
    "sum": sum_, "prod": prod, "min": min_, "max": max_, "any": any_, "all": all_, "count": count, "argmin": argmin, "argmax": argmax,
}  # fmt: skip
