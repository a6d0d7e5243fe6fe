"""What sequences look like in memory: arrays, sequences of tuples (`Records`), sequences of sequences (`Ragged`).

A form is a C-contiguous NumPy array whose first axis is the sequence, or one of the two classes here, which
hold forms in turn: a tuple is one form for each of its parts, and rows of unequal lengths lie one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np

from hotloop.dtypes import MEMORY
from hotloop.errors import RangeError, ShapeError, TypeMismatch

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """A sequence of tuples: for each part of the tuples a form of the same length."""

    fields: tuple[Form, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """A sequence of sequences: row i is values[offsets[i]:offsets[i + 1]]. The first offset is 0, the last len(values)."""

    values: Form
    offsets: Array  # int64, one more than rows


Form = Array | Records | Ragged

_MEMORY_TYPES = frozenset(dtype.numpy for dtype in MEMORY)


def form_length(form: Form) -> int:
    """Return the number of elements of the sequence."""
    match form:
        case Records():
            return form_length(form.fields[0])
        case Ragged():
            return len(form.offsets) - 1
    return len(form)


def form_type(form: Form) -> Any:  # Any: a NumPy dtype, or nested tuples of them
    """Return the type of the numbers: of tuples a tuple of types."""
    match form:
        case Records():
            return tuple(map(form_type, form.fields))
        case Ragged():
            return form_type(form.values)
    return form.dtype


def cut(form: Form, start: int, stop: int) -> Form:
    """Return elements start to stop, on the same memory; 0 <= start <= stop <= length."""
    match form:
        case Records():
            return Records(tuple([cut(part, start, stop) for part in form.fields]))
        case Ragged():
            offsets = form.offsets[start : stop + 1]
            return Ragged(cut(form.values, int(offsets[0]), int(offsets[-1])), offsets - offsets[0])
    return form[start:stop]


def picked(form: Form, places: Array) -> Form:
    """Return the elements at places, which are in range and not negative."""
    match form:
        case Records():
            return Records(tuple([picked(part, places) for part in form.fields]))
        case Ragged():
            starts, ends = form.offsets[:-1][places], form.offsets[1:][places]
            offsets = offsets_of(ends - starts)
            inner = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], ends - starts)
            return Ragged(picked(form.values, inner), offsets)
    return form[places]


def offsets_of(lengths: Array) -> Array:
    """Return where rows of these lengths start if they lie one after the other, and where the last ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def joined(forms: Sequence[Form]) -> Form:
    """Return one sequence after the other, in the type that NumPy promotes theirs to. Raises TypeMismatch, ShapeError."""
    first = forms[0]
    if len(forms) == 1:
        return first
    if not all(type(form) is type(first) for form in forms):
        raise TypeMismatch(f"sequences of {' and of '.join(dict.fromkeys(map(describe, forms)))} cannot be one sequence.")
    if isinstance(first, Records):
        columns = [form.fields for form in forms if isinstance(form, Records)]
        if len({len(fields) for fields in columns}) > 1:
            raise TypeMismatch(f"sequences of {' and of '.join(dict.fromkeys(map(describe, forms)))} cannot be one sequence.")
        return Records(tuple([joined(column) for column in zip(*columns, strict=True)]))
    if isinstance(first, Ragged):
        rows = [form for form in forms if isinstance(form, Ragged)]
        return Ragged(joined([form.values for form in rows]), offsets_of(np.concatenate([np.diff(form.offsets) for form in rows])))
    arrays = [form for form in forms if isinstance(form, np.ndarray)]
    if len({array.shape[1:] for array in arrays}) > 1:
        raise ShapeError(f"rows of shapes {' and '.join(dict.fromkeys(str(array.shape[1:]) for array in arrays))} cannot be one sequence.")
    return np.concatenate(arrays)


def describe(form: Form) -> str:
    """Return what elements of a form are, as messages say it."""
    match form:
        case Records():
            return f"tuples of {len(form.fields)}"
        case Ragged():
            return "sequences"
    return "numbers" if form.ndim == 1 else f"arrays of {form.ndim - 1} dimensions"


def listed(form: Form) -> list[Any]:  # Any: Python numbers, tuples and lists of them
    """Return the sequence as a list of Python's numbers, tuples and lists."""
    match form:
        case Records():
            return list(zip(*map(listed, form.fields), strict=True))
        case Ragged():
            values, offsets = listed(form.values), form.offsets.tolist()
            return [values[start:stop] for start, stop in pairwise(offsets)]
    found: list[Any] = form.tolist()
    return found


def element(form: Form, place: int, wrap: Callable[[Form], Any]) -> Any:  # Any: NumPy's number, a tuple, a wrapped row
    """Return the element at a place in range; rows are wrapped."""
    match form:
        case Records():
            return tuple([element(part, place, wrap) for part in form.fields])
        case Ragged():
            return wrap(cut(form.values, int(form.offsets[place]), int(form.offsets[place + 1])))
    return form[place] if form.ndim == 1 else wrap(form[place])


def elements(form: Form, wrap: Callable[[Form], Any]) -> Iterator[Any]:  # Any: as `element`
    """Return an iterator over the elements."""
    match form:
        case Records():
            return zip(*[elements(part, wrap) for part in form.fields], strict=True)
        case Ragged():
            return (element(form, place, wrap) for place in range(form_length(form)))
    return iter(form) if form.ndim == 1 else map(wrap, form)


# --------------------------------------------------------------------------------------- making forms


def form_of_array(array: Array, copy: bool = True) -> Form:
    """Return the form of a NumPy array; structured ones are tuples, float16 becomes float32. Raises TypeMismatch."""
    flags = array.flags
    if not copy and type(array) is np.ndarray and array.dtype in _MEMORY_TYPES and array.ndim and flags.c_contiguous and flags.aligned:
        return array
    if array.dtype.names:
        return Records(tuple([form_of_array(array[name], copy) for name in array.dtype.names]))
    if array.ndim == 0:
        raise TypeMismatch(f"{array[()]!r} is a number, not a sequence. Use cuarray([x]).")
    if array.dtype == object:
        return form_of_items(list(array))
    wanted = np.dtype(np.float32) if array.dtype == np.float16 else array.dtype.newbyteorder("=")
    if wanted not in _MEMORY_TYPES:
        raise TypeMismatch(f"a cuarray cannot hold {array.dtype}. It holds bool, integers up to 64 bits, float32 and float64.")
    made = np.array(array, wanted, order="C", copy=copy or None, subok=False)
    return made if made.flags.aligned else made.copy()


def form_of_items(items: Sequence[Any]) -> Form:  # Any: numbers, tuples, lists, arrays
    """Return the form of a list: of numbers, of tuples of one length, or of sequences. No elements: float64.

    Python's numbers in it yield to the types of NumPy's (NEP 50). Sequences of one length give an array of one more
    dimension, others are ragged. Raises TypeMismatch, RangeError, ShapeError.
    """
    kinds = set(map(type, items))
    if all(issubclass(kind, (bool, int, float, np.generic)) for kind in kinds):
        return _numbers(items, kinds)
    if all(issubclass(kind, tuple) for kind in kinds):
        return _records(items)
    if np.ndarray in kinds and any(isinstance(item, np.ndarray) and item.ndim == 0 for item in items):
        return form_of_items([item[()] if isinstance(item, np.ndarray) and item.ndim == 0 else item for item in items])
    if any(not hasattr(kind, "__len__") or issubclass(kind, (str, bytes, dict, set, frozenset)) for kind in kinds):
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise TypeMismatch(f"a sequence cannot have elements of {names}. They are all numbers, all tuples, or all sequences.")
    return _rows(items)


def _numbers(items: Sequence[Any], kinds: Iterable[type]) -> Array:
    dtype = np.result_type(*[_WEAK.get(kind, kind) for kind in kinds]) if items else np.dtype(np.float64)
    try:
        form = form_of_array(np.array(items, dtype), copy=False)
    except OverflowError:
        largest = max((item for item in items if isinstance(item, int)), key=abs)
        raise RangeError(f"{largest} does not fit {dtype}.") from None
    assert isinstance(form, np.ndarray)
    return form


_WEAK: dict[type, Any] = {bool: np.bool_, int: 0, float: 0.0}  # how np.result_type is told of Python's numbers


def _records(items: Sequence[tuple[Any, ...]]) -> Records:
    sizes = sorted({len(item) for item in items})
    if len(sizes) > 1 or sizes == [0]:
        raise ShapeError(f"tuples of {' and '.join(map(str, sizes))} parts cannot be one sequence. They have one length, at least 1.")
    return Records(tuple([form_of_items(column) for column in zip(*items, strict=True)]))


def _rows(items: Sequence[Any]) -> Form:
    if all(isinstance(item, list) for item in items):
        lengths = [len(item) for item in items]
        values = form_of_items(list(chain.from_iterable(items)))
    else:
        forms = [form_of(item) for item in items]
        lengths = [form_length(form) for form in forms]
        filled = [form for form in forms if form_length(form)]  # [] says nothing of its elements
        values = joined(filled or forms[:1])
    if isinstance(values, np.ndarray) and len(set(lengths)) == 1:
        return values.reshape(len(items), lengths[0], *values.shape[1:])
    return Ragged(values, offsets_of(np.array(lengths, np.int64)))


def form_of(source: Any, copy: bool = True) -> Form:  # Any: whatever is a sequence to someone
    """Return the form of a cuarray, an array of any library, a buffer, or an iterable. Raises TypeMismatch."""
    if type(source) is np.ndarray:
        return form_of_array(source, copy)
    known: Any = getattr(source, "form", None)  # of a cuarray
    if isinstance(known, (np.ndarray, Records, Ragged)):
        return copied(known) if copy else known
    if isinstance(source, (list, tuple)):
        return form_of_items(source)
    if isinstance(source, range):
        return counted(source)
    if isinstance(source, (bytes, bytearray)):
        return form_of_array(np.frombuffer(source, np.uint8), copy)
    if isinstance(source, (bool, int, float, str, dict, set, frozenset)) or source is None:
        raise TypeMismatch(f"{source!r} is not a sequence. A cuarray is made of lists, arrays and iterables of numbers.")
    return _form_of_foreign(source, copy)


def counted(numbers: range) -> Array:
    """Return the numbers of a range."""
    return np.arange(numbers.start, numbers.stop, numbers.step).astype(np.int64)


def _form_of_foreign(source: Any, copy: bool) -> Form:
    if any(hasattr(source, name) for name in ("__array__", "__array_interface__", "__array_struct__")) or _is_buffer(source):
        return form_of_array(np.asarray(source), copy)
    if hasattr(source, "__dlpack__"):
        return form_of_array(np.from_dlpack(source), copy)
    if isinstance(source, Iterable):
        return form_of_items(list(source))
    raise TypeMismatch(f"{type(source).__name__} is not a sequence. A cuarray is made of lists, arrays and iterables of numbers.")


def _is_buffer(source: Any) -> bool:
    try:
        memoryview(source)
    except TypeError:
        return False
    return True


def copied(form: Form) -> Form:
    """Return the same sequence in memory of its own."""
    match form:
        case Records():
            return Records(tuple(map(copied, form.fields)))
        case Ragged():
            return Ragged(copied(form.values), form.offsets.copy())
    return form.copy()


def in_types(form: Form, convert: Callable[[Array], Array]) -> Form:
    """Return the sequence with each array of numbers converted; offsets stay."""
    match form:
        case Records():
            return Records(tuple([in_types(part, convert) for part in form.fields]))
        case Ragged():
            return Ragged(in_types(form.values, convert), form.offsets)
    return convert(form)
