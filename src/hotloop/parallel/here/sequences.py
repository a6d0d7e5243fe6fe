"""What makes, moves and maps sequences, in plain Python."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from hotloop.errors import ShapeError, TypeMismatch
from hotloop.parallel.cuarray import as_ragged, computing_elements, cuarray, made
from hotloop.parallel.forms import Array, Form, Ragged, Records, counted, cut, form_length, form_of_items, joined, offsets_of, picked
from hotloop.parallel.here.folds import scatter_into
from hotloop.parallel.here.types import (
    NdIndex,
    Type,
    as_dtype,
    cast_form,
    collected,
    converted,
    indices_in,
    is_sequence,
    items,
    joint,
    kept_of,
    numbers,
    plain,
    quiet,
    same_length,
    sequence,
    type_of,
    type_of_elements,
    with_kept,
)  # fmt: skip

Function = Callable[..., Any]

# --------------------------------------------------------------------------------------------------- mapping


@quiet
def map_(function: Function, *x: Any) -> cuarray:
    """Return function(a, b, ...) for the elements of sequences of one length; over `ndindex` an array of its shape.

    Of empty sequences nothing is computed, and the elements of the result have the type of the first one's.
    Raises: ShapeError.
    """
    function = plain(function, "map")
    if not x:
        raise TypeMismatch("map needs at least one sequence.")
    forms = [sequence(source, "map") for source in x]
    same_length("map", *forms)
    empty = forms[0] if not isinstance(x[0], NdIndex) else np.empty(0, np.int64)
    with computing_elements():
        results = list(builtins.map(function, *builtins.map(items, forms)))
    found = with_kept(collected(results, empty), kept_of(x[0]) if len(x) == 1 else None)
    shapes = [source.shape for source in x if isinstance(source, NdIndex)]
    return made(_in_shape(found.form, shapes[0])) if shapes else found


def _in_shape(form: Form, shape: tuple[int, ...]) -> Form:
    if isinstance(form, Records):
        return Records(tuple([_in_shape(part, shape) for part in form.fields]))
    return form.reshape(*shape, *form.shape[1:]) if isinstance(form, np.ndarray) else form


@quiet
def filter_(pred: Function, x: Any) -> cuarray:
    """Return the elements for which a predicate holds, in order."""
    pred = plain(pred, "filter")
    form = sequence(x, "filter")
    holds = _answers(pred, form)
    before = kept_of(x)
    places = holds if before is None else _spread(holds, before)
    return with_kept(_kept(form, holds), places)


def _answers(pred: Function, form: Form) -> Array:
    with computing_elements():
        return np.array([bool(pred(value)) for value in items(form)], bool)


def _spread(holds: Array, before: Array) -> Array:
    spread = np.zeros(len(before), bool)
    spread[before] = holds
    return spread


@quiet
def partition(pred: Function, x: Any) -> tuple[cuarray, cuarray]:
    """Return the elements for which a predicate holds, and the others, both in order."""
    pred = plain(pred, "partition")
    form = sequence(x, "partition")
    holds = _answers(pred, form)
    return _kept(form, holds), _kept(form, ~holds)


def pack(flags: Any, x: Any) -> cuarray:
    """Return the elements of x whose flag is not zero, in order. Raises: ShapeError."""
    form, holds = sequence(x, "pack"), numbers(flags, "pack")
    same_length("pack", holds, form)
    return _kept(form, holds != 0)


def _kept(form: Form, holds: Array) -> cuarray:
    return made(picked(form, np.flatnonzero(holds)))


def zip_(*x: Any, strict: bool = True) -> cuarray:
    """Return the sequence of tuples of elements of sequences of one length, with or without strict. Raises: ShapeError."""
    if not x:
        raise TypeMismatch("zip needs at least one sequence.")
    forms = [sequence(source, "zip") for source in x]
    same_length("zip", *forms)
    return made(Records(tuple(forms)))


def unzip(x: Any) -> tuple[cuarray, ...]:
    """Return the tuple of sequences of the parts of a sequence of tuples. Raises: TypeMismatch."""
    form = sequence(x, "unzip")
    if not isinstance(form, Records):
        raise TypeMismatch("unzip: a sequence of tuples is needed.")
    return tuple(builtins.map(made, form.fields))


def enumerate_(x: Any, start: int = 0) -> cuarray:
    """Return the sequence of (place, element); places count from `start`."""
    form = sequence(x, "enumerate")
    return made(Records((np.arange(form_length(form), dtype=np.int64) + np.int64(start), form)))


# ------------------------------------------------------------------------------------------ sequences by rule


def range_(*bounds: Any) -> cuarray:
    """Return the integers (int64) of Python's range: range(stop), range(start, stop), range(start, stop, step)."""
    return made(counted(builtins.range(*[_whole(bound, "range") for bound in bounds])))


def _whole(number: Any, name: str) -> int:
    if not isinstance(number, (int, np.integer)):
        raise TypeMismatch(f"{name}: an integer is needed, not {number!r}.")
    return int(number)


def bounded_range(a: Any, b: Any) -> cuarray:
    """Return the integers (int64) from a to below b."""
    return range_(a, b)


def indices(x: Any) -> cuarray:
    """Return the places of a sequence: 0, 1, ..., len(x) - 1."""
    return range_(len_(x))


def len_(x: Any) -> int:
    """Return the number of elements, a Python int: its type yields to that of other numbers."""
    return builtins.len(x) if isinstance(x, tuple) else form_length(sequence(x, "len"))


def replicate(v: Any, n: Any) -> cuarray:
    """Return a sequence of n times v, a number or a tuple of them; none if n is negative."""
    one = form_of_items([v])
    return made(picked(one, np.zeros(builtins.max(_whole(n, "replicate"), 0), np.int64)))


def ndindex(*shape: Any) -> NdIndex:
    """Return the index tuples of an array of a shape in row-major order; map over them gives an array of that shape."""
    lengths = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
    return NdIndex(*[_whole(length, "ndindex") for length in lengths])


# -------------------------------------------------------------------------------------------------- moving


def gather(x: Any, i: Any) -> cuarray:
    """Return the elements of x at places i; negative ones count from the end. Raises: BoundsError."""
    form = sequence(x, "gather")
    return with_kept(made(picked(form, indices_in(i, form_length(form), "gather"))), kept_of(i))


@quiet
def scatter(src: Any, i: Any, dst: Any, op: Function | None = None) -> cuarray:
    """Return dst with the elements of src at places i; where places are equal the last one wins.

    With an operator, in order: dst[i[k]] = op(dst[i[k]], src[k]). Types are dst's. Raises: ShapeError, BoundsError,
    TypeMismatch for floats into integers.
    """
    target, values = sequence(dst, "scatter"), sequence(src, "scatter")
    places = indices_in(i, form_length(target), "scatter")
    same_length("scatter", values, places)
    _refuse_narrowing(type_of_elements(values), type_of_elements(target))
    return made(_placed(values, places, target)) if op is None else scatter_into(op, values, places, target)


def _refuse_narrowing(given: Type, target: Type) -> None:
    joint(given, target)  # one structure
    if isinstance(given, tuple):
        for one, other in builtins.zip(given, target, strict=True):
            _refuse_narrowing(one, other)
    elif given is not None and given.kind == "f" and target.kind != "f":
        raise TypeMismatch(f"scatter: {given} values would be truncated in a sequence of {target}. Convert: {target}(v).")


def _placed(values: Form, places: Array, target: Form) -> Form:
    """Return target with values at places, by taking each element from the one or the other."""
    source = np.arange(form_length(target))
    source[places] = form_length(target) + np.arange(len(places))  # of equal places NumPy keeps the last
    return picked(joined([target, cast_form(values, type_of_elements(target))]), source)


def scatter_reduce(op: Function, src: Any, i: Any, dst: Any) -> cuarray:
    """Return scatter(src, i, dst, op)."""
    return scatter(src, i, dst, op)


def permute(x: Any, i: Any) -> cuarray:
    """Return the sequence with x[k] at place i[k]; places that no index names hold zero. Raises: ShapeError, BoundsError."""
    form = sequence(x, "permute")
    places = indices_in(i, form_length(form), "permute")
    same_length("permute", form, places)
    return made(_placed(form, places, _zeros(form)))


def _zeros(form: Form) -> Form:
    if isinstance(form, Records):
        return Records(tuple(builtins.map(_zeros, form.fields)))
    if isinstance(form, Ragged):
        return Ragged(cut(form.values, 0, 0), np.zeros_like(form.offsets))
    return np.zeros_like(form)


def update(dst: Any, pairs: Any) -> cuarray:
    """Return dst with v at place i for each pair (i, v), the last of equal places. Of a pair (places, values) too. Raises: BoundsError."""
    if isinstance(pairs, tuple) and len(pairs) == 2:
        return scatter(pairs[1], pairs[0], dst)
    form = sequence(pairs, "update")
    if not form_length(form):
        return made(sequence(dst, "update"))
    if not isinstance(form, Records) or len(form.fields) != 2:
        raise TypeMismatch("update: a sequence of pairs (place, value) is needed.")
    places, values = form.fields
    return scatter(made(values), made(places), dst)


def shift(x: Any, a: Any, d: Any) -> cuarray:
    """Return the sequence of x[i + a], or d where that lies outside: a > 0 moves to the left."""
    form = sequence(x, "shift")
    count = form_length(form)
    return made(_or_outside(form, np.arange(count) + _whole(a, "shift"), d))


def _or_outside(form: Form, places: Array, outside: Any) -> Form:
    """Return the elements at places, and `outside` for places out of range."""
    kind = joint(type_of_elements(form), type_of(outside))
    count = form_length(form)
    all_elements = joined([cast_form(form, kind), form_of_items([converted(outside, kind)])])
    return picked(all_elements, np.where((places < 0) | (places >= count), count, places))


def rotate(x: Any, a: Any) -> cuarray:
    """Return the sequence of x[(i + a) % len(x)]."""
    form = sequence(x, "rotate")
    count = form_length(form)
    return made(picked(form, (np.arange(count) + _whole(a, "rotate")) % builtins.max(count, 1)))


def reversed_(x: Any) -> cuarray:
    """Return the elements from the last to the first."""
    form = sequence(x, "reversed")
    return made(picked(form, np.arange(form_length(form))[::-1]))


def concatenate(*x: Any) -> cuarray:
    """Return one sequence after the other, in the type that holds all; also of one tuple of sequences."""
    parts = x[0] if len(x) == 1 and isinstance(x[0], (tuple, list)) and all(builtins.map(is_sequence, x[0])) else x
    if not parts:
        raise TypeMismatch("concatenate needs at least one sequence.")
    return made(joined([sequence(part, "concatenate") for part in parts]))


def take(x: Any, n: Any) -> cuarray:
    """Return the first n elements, all if there are fewer; none if n is negative."""
    form = sequence(x, "take")
    return made(cut(form, 0, builtins.min(builtins.max(_whole(n, "take"), 0), form_length(form))))


def drop(x: Any, n: Any) -> cuarray:
    """Return all but the first n elements, none if there are fewer; all if n is negative."""
    form = sequence(x, "drop")
    count = form_length(form)
    return made(cut(form, builtins.min(builtins.max(_whole(n, "drop"), 0), count), count))


def interleave(*x: Any) -> cuarray:
    """Return the first elements of all sequences, then the second ones, and so on. Raises: ShapeError."""
    forms = [sequence(source, "interleave") for source in x]
    count = same_length("interleave", *forms)
    order = np.arange(count * len(forms)).reshape(len(forms), count).T.reshape(-1)
    return made(picked(joined(forms), order))


def evens(x: Any) -> cuarray:
    """Return the elements at places 0, 2, 4, ..."""
    form = sequence(x, "evens")
    return made(picked(form, np.arange(0, form_length(form), 2)))


def odds(x: Any) -> cuarray:
    """Return the elements at places 1, 3, 5, ..."""
    form = sequence(x, "odds")
    return made(picked(form, np.arange(1, form_length(form), 2)))


@quiet
def adjacent_difference(x: Any) -> cuarray:
    """Return x[0], x[1] - x[0], x[2] - x[1], ..."""
    array = numbers(x, "adjacent_difference")
    if array.dtype == bool:
        raise TypeMismatch("adjacent_difference: bools cannot be subtracted. Use int64(x).")
    return made(np.concatenate([array[:1], array[1:] - array[:-1]]))


@quiet
def stencil(function: Function, offsets: Any, x: Any, outside: Any) -> cuarray:
    """Return for each element function(x[i + offsets[0]], x[i + offsets[1]], ...), with `outside` beyond the edges.

    Offsets are integers; of arrays of several dimensions tuples of them, and the result has the array's shape.
    """
    function = plain(function, "stencil")
    form = sequence(x, "stencil")
    if not isinstance(form, np.ndarray):
        raise TypeMismatch("stencil: an array of numbers is needed.")
    found = [_moved(form, offset, outside) for offset in offsets]
    with computing_elements():
        results = list(builtins.map(function, *builtins.map(np.ravel, found)))
    return made(_in_shape(collected(results, form.reshape(-1)).form, form.shape))


def _moved(array: Array, offset: Any, outside: Any) -> Array:
    offset = offset if isinstance(offset, tuple) else (offset,)
    if len(offset) != array.ndim:
        raise ShapeError(f"stencil: an offset of {len(offset)} for an array of {array.ndim} dimensions.")
    where = [axis + _whole(by, "stencil") for axis, by in builtins.zip(np.indices(array.shape), offset, strict=True)]
    is_inside = np.ones(array.shape, bool)
    for places, length in builtins.zip(where, array.shape, strict=True):
        is_inside &= (places >= 0) & (places < length)
    kind = np.result_type(array.dtype, outside)
    clipped = tuple([np.clip(places, 0, builtins.max(length - 1, 0)) for places, length in builtins.zip(where, array.shape, strict=True)])
    found: Array = np.where(is_inside, array[clipped].astype(kind), as_dtype(outside, kind))
    return found


# ------------------------------------------------------------------------------------------- rows of sequences


def segments(values: Any, lengths: Any) -> cuarray:
    """Return the sequence of rows of these lengths, which the values are one after the other. Raises: ShapeError."""
    form, sizes = sequence(values, "segments"), numbers(lengths, "segments")
    if len(sizes) and sizes.dtype.kind != "i":
        raise TypeMismatch(f"segments: lengths are integers, not {sizes.dtype}.")
    if (sizes < 0).any() or sizes.sum() != form_length(form):
        raise ShapeError(f"segments: lengths are not negative, and {form_length(form)} in all; these are {int(sizes.sum())}.")
    return made(Ragged(form, offsets_of(sizes.astype(np.int64))))


def rows_of(x: Any, name: str) -> Ragged:
    """Return a sequence of sequences as a ragged one. Raises: TypeMismatch."""
    found = as_ragged(sequence(x, name))
    if found is None:
        raise TypeMismatch(f"{name}: a sequence of sequences is needed.")
    return found


def flatten(x: Any) -> cuarray:
    """Return the elements of all rows, one row after the other."""
    return made(rows_of(x, "flatten").values)


def lengths(x: Any) -> cuarray:
    """Return the length of each row, int64."""
    return made(np.diff(rows_of(x, "lengths").offsets))


MOVING: dict[str, Function] = {
    "map": map_, "filter": filter_, "partition": partition, "pack": pack, "zip": zip_, "unzip": unzip, "enumerate": enumerate_,
    "range": range_, "bounded_range": bounded_range, "indices": indices, "len": len_, "replicate": replicate, "ndindex": ndindex,
    "gather": gather, "scatter": scatter, "scatter_reduce": scatter_reduce, "permute": permute, "update": update, "shift": shift,
    "rotate": rotate, "reversed": reversed_, "concatenate": concatenate, "join": concatenate, "take": take, "drop": drop,
    "interleave": interleave,
    "evens": evens, "odds": odds, "adjacent_difference": adjacent_difference, "stencil": stencil, "segments": segments,
    "flatten": flatten, "lengths": lengths,
}  # fmt: skip
