"""`cuarray`: what data-parallel functions take and return. Sequences of numbers, of tuples, of sequences; they never change."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from hotloop.errors import BoundsError, ShapeError, TypeMismatch
from hotloop.parallel import places
from hotloop.parallel.forms import (
    Array,
    Form,
    Ragged,
    Records,
    copied,
    cut,
    element,
    elements,
    form_length,
    form_of,
    form_type,
    in_types,
    listed,
    picked,
)  # fmt: skip
from hotloop.parallel.places import HOST, Place

_SHOWN = 1000  # elements beyond which only the ends are shown, as NumPy does
_ENDS = 3
_new = object.__new__


class Pending(ABC):
    """What stands in a cuarray for elements that are not ready, or not in the host's memory.

    `dtype` and `shape` are known at once; `place` is where the elements are. kept: whether the cuarray keeps this object
    when it is read (it has a copy elsewhere that counts), so that `form` is called again at the next read.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    place: Place
    kept: bool = False

    @abstractmethod
    def form(self) -> Form:
        """Return the elements in the host's memory; wait for them. Raises what went wrong in making them."""

    @abstractmethod
    def wait(self) -> None:
        """Wait until the elements are ready where they are. Raises what went wrong in making them."""


class cuarray:
    """A sequence in memory: of numbers, of tuples, or of sequences. It never changes.

    `cuarray(source)` copies lists, NumPy arrays, anything with `__array__`, DLPack or a buffer, and iterables;
    `copy=False` shares memory where it can: what then changes there changes here. Lists of tuples make sequences of
    tuples; nested lists an array of several dimensions, or a ragged one where their lengths differ. Elements are NumPy
    scalars, tuples, and cuarrays for rows. `==` and its like compare element by element.

    Raises: TypeMismatch for elements of other types, ShapeError, RangeError.
    """

    __slots__ = ("__weakref__", "_data", "_inner")
    __hash__ = None  # type: ignore[assignment]
    _data: Any  # ndarray, Records, Ragged or Pending; compiled functions read it
    _inner: bool  # set by `made` alone

    def __init__(self, source: Any, dtype: Any = None, *, copy: bool = True) -> None:  # Any: all that form_of takes; any type's name
        form = form_of(source, copy)
        if dtype is not None:
            wanted = np.dtype(getattr(dtype, "numpy", dtype))
            form = form_of(adopt(in_types(form, lambda array: array.astype(wanted, copy=False))), copy=False)
        self._data = form

    # -- facts ------------------------------------------------------------------------------------

    @property
    def form(self) -> Form:
        """The elements as they are in the host's memory, see `forms`; for hotloop's own use. Waits for them."""
        data = self._data
        return data if type(data) is np.ndarray else self._form()

    @property
    def pending(self) -> Pending | None:
        """What stands for the elements while they are not in the host's memory; for hotloop's own use."""
        return self._data if isinstance(self._data, Pending) else None

    @property
    def inner(self) -> bool:
        """Whether it was made while elements of another sequence were computed one by one; for hotloop's own use."""
        return getattr(self, "_inner", False)

    def _form(self) -> Form:
        data = self._data
        if not isinstance(data, Pending):
            return data  # type: ignore[no-any-return]
        form = data.form()
        if not data.kept:
            self._data = form
        return form

    @property
    def dtype(self) -> Any:  # Any: tuples have a tuple of types
        """The type of the numbers; for a sequence of tuples a tuple of types."""
        data = self._data
        return data.dtype if isinstance(data, (np.ndarray, Pending)) else form_type(data)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes; (len,) for sequences of tuples and of rows of unequal lengths."""
        data = self._data
        return data.shape if isinstance(data, (np.ndarray, Pending)) else (form_length(data),)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements along all axes."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def fields(self) -> tuple[cuarray, ...]:
        """The parts of a sequence of tuples, each a cuarray on the same memory. Raises: TypeMismatch."""
        form = self.form
        if not isinstance(form, Records):
            raise TypeMismatch("only a sequence of tuples has fields.")
        return tuple(map(adopt, form.fields))

    @property
    def values(self) -> cuarray:
        """All elements of all rows, one row after the other, on the same memory. Raises: TypeMismatch if there are no rows."""
        return adopt(self._ragged().values)

    @property
    def offsets(self) -> cuarray:
        """Where in `values` each row starts, and last where the last one ends. Raises: TypeMismatch if there are no rows."""
        return adopt(self._ragged().offsets)

    def _ragged(self) -> Ragged:
        ragged = as_ragged(self.form)
        if ragged is None:
            raise TypeMismatch("only a sequence of sequences has values and offsets.")
        return ragged

    @property
    def place(self) -> Place:
        """The place in whose memory the elements are; `places.here` for the host's."""
        return self._data.place if isinstance(self._data, Pending) else places.here

    def to(self, place: Place | str) -> cuarray:
        """Return the same elements in the memory of a place: this cuarray if they are there. Raises: TargetError."""
        target = places.resolve(place)
        if target.memory == self.place.memory:
            return self
        assert target.memory == HOST, "memory of other places"
        return adopt(self.form)

    def wait(self) -> cuarray:
        """Wait until the elements are ready, and return this cuarray. Raises what went wrong in making them."""
        if isinstance(self._data, Pending):
            self._data.wait()
        return self

    # -- elements ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        data = self._data
        if type(data) is np.ndarray:
            return len(data)
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return elements(self.form, made)

    def __getitem__(self, key: Any) -> Any:  # Any: an integer, a slice, a tuple of them; a number, a tuple, a cuarray
        """Return the element at a place, negative ones count from the end, or the elements of a slice.

        Slices of step 1 share memory, others copy. A tuple indexes several axes. Raises: BoundsError, TypeMismatch.
        """
        form = self.form
        if isinstance(key, slice):
            return made(_sliced(form, key))
        if isinstance(key, tuple):
            return self._at_axes(form, key)
        place, count = _index(key), form_length(form)
        if not -count <= place < count:
            raise BoundsError(f"index {place} is out of range for {count} element{'s' * (count != 1)}.")
        return element(form, place + count if place < 0 else place, made)

    def _at_axes(self, form: Form, keys: tuple[Any, ...]) -> Any:
        if not isinstance(form, np.ndarray) or len(keys) > form.ndim:
            raise BoundsError(f"{len(keys)} indices for a sequence of {self.ndim} axes.")
        for axis, key in enumerate(keys):
            count = form.shape[axis]
            if not isinstance(key, slice) and not -count <= _index(key) < count:
                raise BoundsError(f"index {_index(key)} is out of range for axis {axis} of length {count}.")
        found = form[tuple([key if isinstance(key, slice) else _index(key) for key in keys])]
        return made(np.ascontiguousarray(found)) if isinstance(found, np.ndarray) and found.ndim else found

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeMismatch("a cuarray does not change. Make a new one: update(x, [(i, v)]) or scatter(values, places, x).")

    def tolist(self) -> list[Any]:
        """Return the elements as Python's numbers, tuples and lists."""
        return listed(self.form)

    # -- comparisons ------------------------------------------------------------------------------

    def __eq__(self, other: object) -> Any:  # Any: a cuarray of bools, not a bool
        return self._compared(other, operator.eq)

    def __ne__(self, other: object) -> Any:
        return self._compared(other, operator.ne)

    def __lt__(self, other: object) -> Any:
        return self._compared(other, operator.lt)

    def __le__(self, other: object) -> Any:
        return self._compared(other, operator.le)

    def __gt__(self, other: object) -> Any:
        return self._compared(other, operator.gt)

    def __ge__(self, other: object) -> Any:
        return self._compared(other, operator.ge)

    def _compared(self, other: Any, compare: Callable[[Any, Any], Any]) -> Any:
        form = self.form
        if isinstance(other, tuple) and isinstance(form, Records):
            return adopt(_compared(form, other, compare))
        if not isinstance(other, (bool, int, float, np.number, np.bool_)):
            try:
                other = form_of(other, copy=False)
            except TypeMismatch:
                return NotImplemented
        return adopt(_compared(form, other, compare))

    def __bool__(self) -> bool:
        if self.size != 1:
            hint = "Use any(x) or all(x)" if self.size else "Use len(x) > 0"
            raise ShapeError(f"the truth of a sequence of {self.size} elements is not known. {hint}.")
        return bool(np.asarray(self))

    # -- for other libraries ----------------------------------------------------------------------

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._exported().__array_interface__

    def _exported(self) -> Array:
        """Return a view that cannot be written. Raises: AttributeError if the elements are not one array."""
        form = self.form
        if not isinstance(form, np.ndarray):
            message = "a sequence of tuples, or of rows of unequal lengths, is not one array. Use x.fields, x.values, x.offsets."
            raise AttributeError(message)  # noqa: TRY004 - NumPy asks with hasattr
        view = form.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return a NumPy array: on the same memory and read-only if it can be; of tuples a structured one."""
        form = self.form
        if isinstance(form, Records):
            return _structured(form, dtype, copy)
        if isinstance(form, Ragged):
            raise ShapeError("rows of unequal lengths are not one array. Use x.values and x.offsets, or x.tolist().")
        return np.array(self._exported(), dtype, copy=copy)

    def __dlpack__(
        self, *, stream: Any = None, max_version: tuple[int, int] | None = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:  # fmt: skip
        """Return a DLPack capsule. Consumers that know of read-only memory (DLPack 1.0) share it, others get a copy."""
        if max_version is not None and max_version[0] >= 1:
            return self._exported().__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)
        if copy is False:
            raise BufferError("a cuarray does not change, which DLPack before 1.0 cannot say. Ask for max_version=(1, 0), or a copy.")
        return self._exported().copy().__dlpack__(stream=stream, dl_device=dl_device)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._exported().__dlpack_device__()

    def __reduce__(self) -> tuple[Any, ...]:
        return adopt, (self.form,)

    def __copy__(self) -> cuarray:
        return self

    def __deepcopy__(self, memo: Any) -> cuarray:
        return adopt(copied(self.form))

    # -- text -------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        form = self.form
        if isinstance(form, np.ndarray):
            return np.array_repr(form.view(_Shown))
        types = _named(form_type(form))
        return f"cuarray({_text(form)}{'' if types in _DEFAULTS or (isinstance(form, Records) and _plain(types)) else f', dtype={types}'})"

    def __str__(self) -> str:
        return _text(self.form)


_elements: ContextVar[int] = ContextVar("elements", default=0)  # how many functions of elements are running


@contextmanager
def computing_elements() -> Iterator[None]:
    """Compute elements of a sequence one by one: sequences that are made meanwhile are `inner`."""
    token = _elements.set(_elements.get() + 1)
    try:
        yield
    finally:
        _elements.reset(token)


def is_computing_elements() -> bool:
    """Whether elements of a sequence are computed one by one, here and now."""
    return _elements.get() > 0


def made(form: Form | Pending) -> cuarray:
    """Return the cuarray of a form as it is, marked if it is made for one element alone."""
    found = adopt(form)
    if _elements.get():
        found._inner = True  # noqa: SLF001 - our own class
    return found


def adopt(form: Form | Pending) -> cuarray:
    """Return the cuarray of a form as it is: no copy, no check. Arrays are C-contiguous, aligned, of a type that memory holds.

    Cost: under a quarter of a microsecond; results of compiled functions come this way.
    """
    found: cuarray = _new(cuarray)
    found._data = form  # noqa: SLF001 - our own class
    return found


def records(*columns: cuarray) -> cuarray:
    """Return the sequence of tuples whose parts are these cuarrays, on their memory. Raises: ShapeError."""
    if len({len(column) for column in columns}) != 1:
        raise ShapeError(f"columns of lengths {', '.join(str(len(column)) for column in columns)} are not one sequence of tuples.")
    return adopt(Records(tuple([column.form for column in columns])))


def ragged(values: cuarray, offsets: cuarray) -> cuarray:
    """Return the sequence of the rows values[offsets[i]:offsets[i + 1]], on the same memory. Raises: ShapeError."""
    starts = offsets.form
    assert isinstance(starts, np.ndarray)
    if starts.ndim != 1 or not len(starts) or starts[0] != 0 or starts[-1] != len(values) or (starts[1:] < starts[:-1]).any():
        raise ShapeError(f"offsets of rows ascend from 0 to the number of values, {len(values)}.")
    return adopt(Ragged(values.form, starts.astype(np.int64, copy=False)))


def as_ragged(form: Form) -> Ragged | None:
    """Return rows of any kind as ragged ones, on the same memory; None if elements are no rows."""
    if isinstance(form, np.ndarray) and form.ndim > 1:
        return Ragged(form.reshape(-1, *form.shape[2:]), np.arange(len(form) + 1, dtype=np.int64) * form.shape[1])
    return form if isinstance(form, Ragged) else None


def to_numpy(x: Any) -> Array:  # Any: whatever np.asarray takes
    """Return a NumPy array of the elements in memory of its own."""
    return np.array(x)


def force(x: cuarray, place: Place | str | None = None) -> cuarray:
    """Return a cuarray whose elements are ready, in the memory of a place or of the current one."""
    return x.to(places.resolve(place)).wait()


def _index(key: Any) -> int:
    try:
        return operator.index(key)
    except TypeError:
        raise TypeMismatch(
            f"a cuarray is indexed by integers and slices, not by {type(key).__name__}. Use gather(x, places) or pack(flags, x)."
        ) from None


def _sliced(form: Form, key: slice) -> Form:
    start, stop, step = key.indices(form_length(form))
    return cut(form, start, max(start, stop)) if step == 1 else picked(form, np.array(range(start, stop, step), np.int64))


def _compared(form: Form, other: Any, compare: Callable[[Any, Any], Any]) -> Form:
    """Compare element by element with a form, a number, or for tuples a tuple of them."""
    parts = other.fields if isinstance(other, Records) else other
    if isinstance(form, Records) and isinstance(parts, tuple) and len(parts) == len(form.fields):
        return _compared_tuples(form.fields, parts, compare)
    if isinstance(form, Ragged) and not isinstance(other, (Records, np.ndarray)):
        values = other.values if isinstance(other, Ragged) else other
        if not isinstance(other, Ragged) or np.array_equal(form.offsets, other.offsets):
            return Ragged(_compared(form.values, values, compare), form.offsets)
        raise ShapeError("a comparison of rows of unequal lengths.")
    if isinstance(form, (Records, Ragged)) or isinstance(other, (Records, Ragged, tuple)):
        raise ShapeError("a comparison of sequences whose elements have unequal structures.")
    if isinstance(other, np.ndarray) and other.shape != form.shape:
        raise ShapeError(f"a comparison of sequences of shapes {form.shape} and {other.shape}.")
    return np.asarray(compare(form, other))


def _compared_tuples(fields: tuple[Form, ...], others: tuple[Any, ...], compare: Callable[[Any, Any], Any]) -> Form:
    """Compare tuples as Python does: by the first parts that differ."""
    last = compare if compare in (operator.eq, operator.ne) or len(fields) == 1 else _STRICT[compare]
    found = _compared(fields[0], others[0], last)
    if len(fields) == 1:
        return found
    rest = _compared_tuples(fields[1:], others[1:], compare)
    assert isinstance(found, np.ndarray)
    assert isinstance(rest, np.ndarray)
    if compare is operator.eq:
        return found & rest
    if compare is operator.ne:
        return found | rest
    equal = _compared(fields[0], others[0], operator.eq)
    assert isinstance(equal, np.ndarray)
    return found | (equal & rest)


_STRICT: dict[Any, Any] = {operator.lt: operator.lt, operator.le: operator.lt, operator.gt: operator.gt, operator.ge: operator.gt}


def _structured(form: Records, dtype: Any, copy: bool | None) -> Array:
    if copy is False:
        raise ShapeError("a sequence of tuples is not one array; it cannot be shared. Use x.fields.")
    columns = [np.asarray(adopt(part)) for part in form.fields]
    types = [(f"f{i}", column.dtype, column.shape[1:]) for i, column in enumerate(columns)]
    found = np.empty(form_length(form), types)
    for name, column in zip(found.dtype.names or (), columns, strict=True):
        found[name] = column
    return found if dtype is None else found.astype(dtype)


class _Shown(np.ndarray):
    """NumPy's text of an array, under the name of a cuarray."""


_Shown.__name__ = "cuarray"
_DEFAULTS = {"bool", "int64", "float64"}  # types that the text of the elements tells


def _named(types: Any) -> str:
    if not isinstance(types, tuple):
        return str(types)
    return f"({', '.join(map(_named, types))}{',' * (len(types) == 1)})"


def _plain(types: str) -> bool:
    return set(types.replace("(", "").replace(")", "").replace(" ", "").strip(",").split(",")) <= _DEFAULTS


def _text(form: Form) -> str:
    count = form_length(form)
    if count <= _SHOWN:
        return f"[{', '.join(_rows(form))}]"
    first, last = _rows(cut(form, 0, _ENDS)), _rows(cut(form, count - _ENDS, count))
    return f"[{', '.join([*first, '...', *last])}]"


def _rows(form: Form) -> list[str]:
    """Return the text of each element."""
    match form:
        case Records():
            parts = zip(*map(_rows, form.fields), strict=True)
            return [f"({', '.join(part)}{',' * (len(part) == 1)})" for part in parts]
        case Ragged():
            return [_text(cut(form.values, start, stop)) for start, stop in zip(form.offsets[:-1], form.offsets[1:], strict=True)]
    return [_text(row) for row in form] if form.ndim > 1 else [str(item) for item in form.tolist()]
