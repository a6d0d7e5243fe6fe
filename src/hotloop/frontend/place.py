"""`Place`: numbers in the memory of a compiled program, read and written with every check on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hotloop import _runner
from hotloop.dtypes import DType, check_range
from hotloop.errors import HotloopError, RangeError, ShapeError, TypeMismatch
from hotloop.ir.graph import Number, Shape, user_line

if TYPE_CHECKING:
    from hotloop.runtime.mirror import Mirrored

Array = np.ndarray[Any, Any]
# Names the number at a flat index for messages; -1 names the whole
Label = Callable[[int], str]

# What the runner calls an element type: a character of the struct module

_PLAIN = (bool, int, float)


class Place:
    """Adjacent numbers of one type in a program's memory: a value, an array, or neighbours in a list.

    view: the memory itself, of the numbers' shape, or a copy of it where there is a mirror.
    program: the runner's in this process, None if there is none. mirror: of a program that runs elsewhere.
    """

    __slots__ = ("_count", "_flat", "_kind", "_offset", "_program", "dtype", "label", "mirror", "shape", "view")

    def __init__(
        self, program: _runner.Program | None, dtype: DType, shape: Shape, offset: int, view: Array, label: Label,
        mirror: Mirrored | None = None,
    ) -> None:  # fmt: skip
        self._program = program
        self.mirror = mirror
        self._kind = dtype.code
        self._offset = offset
        self._count = math.prod(shape)
        self._flat = (list, tuple) if len(shape) == 1 else _PLAIN if shape == () else ()
        self.dtype = dtype
        self.shape = shape
        self.view = view
        self.label = label

    @property
    def end(self) -> tuple[_runner.Program | None, DType, int]:
        """Where a neighbour of this place would start."""
        return self._program, self.dtype, self._offset + self._count * self.dtype.size

    @property
    def start(self) -> tuple[_runner.Program | None, DType, int]:
        """Where this place starts."""
        return self._program, self.dtype, self._offset

    @property
    def span(self) -> tuple[int, int]:
        """Where this place is in the program's data: offset and bytes."""
        return self._offset, self._count * self.dtype.size

    def read(self) -> Any:  # Any: a number or nested lists of numbers
        """Return the numbers as Python's own, in nested lists of the shape."""
        if self._program is None or len(self.shape) > 1:
            return self.numbers().tolist()
        if self.shape == ():
            return _runner.read(self._program, self._kind, self._offset)
        return _runner.read(self._program, self._kind, self._offset, self._count)

    def numbers(self) -> Array:
        """Return the memory itself, or a copy of it if it does not lie in one piece, or elsewhere."""
        if self.mirror is not None:
            self.mirror.fetch(*self.span)
            copied = self.view.copy()
            copied.flags.writeable = False
            return copied
        return self.view

    def reader(self) -> Callable[[], Any]:  # Any: a number or nested lists of numbers
        """Return what does `read`, without Python in between where there is one number."""
        if self._program is None or self.shape:
            return self.read
        return partial(_runner.read, self._program, self._kind, self._offset)

    def write(self, data: Any) -> None:  # Any: whatever a user takes for numbers
        """Store a number, nested lists or an array: all of it or, on an error, none.

        Cost: one copy; for lists of Python numbers in C. Raises: ShapeError, TypeMismatch, RangeError.
        """
        kind = type(data)
        if kind is np.ndarray:
            if data.dtype == self.dtype.numpy and data.shape == self.shape:
                self.store(data)
                return
        elif kind in self._flat and self._program is not None and (kind in _PLAIN or len(data) == self._count):
            try:
                _runner.write(self._program, self._kind, self._offset, data)
            except (TypeError, ValueError, HotloopError):
                pass  # the general path takes it after all, or says what is wrong with which number
            else:
                return
        self.store(self.convert(data))

    def convert(self, data: Any) -> Array:  # Any: whatever a user takes for numbers
        """Return what would be stored; raises as `write` does."""
        return convert(data, self.dtype, self.shape, self.label)

    def store(self, array: Array) -> None:
        """Store what `convert` returned."""
        self.view[...] = array
        if self.mirror is not None:
            self.mirror.send(*self.span)


class Scatter:
    """Numbers that lie apart: an array made of separate values."""

    __slots__ = ("_places", "dtype", "label", "shape")

    def __init__(self, places: Sequence[Place], dtype: DType, shape: Shape, label: Label) -> None:
        self._places = places
        self.dtype = dtype
        self.shape = shape
        self.label = label

    def read(self) -> Any:  # Any: a number or nested lists of numbers
        """Return the numbers as Python's own, in nested lists of the shape."""
        return self.numbers().tolist()

    def numbers(self) -> Array:
        """Return the memory itself, or a copy of it if it does not lie in one piece."""
        return np.array([place.read() for place in self._places], self.dtype.numpy).reshape(self.shape)

    def reader(self) -> Callable[[], Any]:  # Any: a number or nested lists of numbers
        """Return what does `read`."""
        return self.read

    def write(self, data: Any) -> None:  # Any: whatever a user takes for numbers
        """Store nested lists or an array: all of it or, on an error, none."""
        self.store(self.convert(data))

    def convert(self, data: Any) -> Array:  # Any: whatever a user takes for numbers
        """Return what would be stored; raises as `write` does."""
        return convert(data, self.dtype, self.shape, self.label)

    def store(self, array: Array) -> None:
        """Store what `convert` returned."""
        for place, number in zip(self._places, array.reshape(-1), strict=True):
            place.store(number)


def joined(places: Sequence[Place], shape: Shape, label: Label) -> Place | None:
    """Return one place for numbers that lie one after another, None if they do not."""
    program, dtype, offset = places[0].start
    if program is None or any(place.shape for place in places):
        return None
    for i, place in enumerate(places):
        if place.start != (program, dtype, offset + i * dtype.size):
            return None
    view = np.frombuffer(memoryview(program), dtype.numpy, len(places), offset).reshape(shape)
    return Place(program, dtype, shape, offset, view, label)


# ------------------------------------------------------------------------------------ conversions


def convert(data: Any, dtype: DType, shape: Shape, label: Label) -> Array:  # Any: whatever a user takes for numbers
    """Return numbers, nested lists or an array as an array of `dtype` and exactly `shape`.

    A float becomes an integer only where it is one. Raises: ShapeError, TypeMismatch, RangeError, all
    of which name the number by `label`.
    """
    if hasattr(data, "__array__") and not hasattr(data, "node") and not isinstance(data, np.generic):
        data = np.asarray(data)
    if isinstance(data, np.ndarray) and data.dtype != object:
        if data.shape != shape:
            raise ShapeError(f"{user_line()}: {label(-1)} has shape {shape}, but an array of shape {data.shape} was given.")
        return _converted_array(data, dtype, label)
    numbers: list[Any] = []
    _collect(data, shape, label, numbers)
    single = shape == ()
    checked = [_number(x, dtype, label, -1 if single else i) for i, x in enumerate(numbers)]
    return np.array(checked, dtype.numpy).reshape(shape)


def _collect(data: Any, shape: Shape, label: Label, numbers: list[Any]) -> None:
    if not shape:
        numbers.append(data)
        return
    if isinstance(data, (str, bytes, dict, set, frozenset)) or not hasattr(data, "__len__") or not hasattr(data, "__iter__"):
        raise ShapeError(f"{user_line()}: {label(-1)} has {shape[0]} elements here, but {_shown(data)} was given.")
    if len(data) != shape[0]:
        raise ShapeError(f"{user_line()}: {label(-1)} has {shape[0]} elements here, but {len(data)} were given.")
    if len(shape) == 1:
        numbers.extend(data)
    else:
        for row in data:
            _collect(row, shape[1:], label, numbers)


def _shown(data: object) -> str:
    text = repr(data)
    return f"{type(data).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def _number(number: Any, dtype: DType, label: Label, index: int) -> Number:
    """Return one number as the Python type of `dtype`."""
    if isinstance(number, (np.generic, np.ndarray)) and number.shape == ():
        number = number.item()
    if isinstance(number, (Decimal, Fraction)):
        number = float(number) if dtype.is_float or number != int(number) else int(number)
    if not isinstance(number, _PLAIN):
        hint = " It is traced: write numbers, or compile it as an output." if hasattr(number, "node") else ""
        raise TypeMismatch(f"{user_line()}: {label(index)} is {dtype}, but {_shown(number)} was given.{hint}")
    if dtype.is_float:
        check_range(number, dtype, f"{user_line()}: {label(index)}: the number")
        return float(number)
    if isinstance(number, float):
        if not number.is_integer():
            raise TypeMismatch(f"{user_line()}: {label(index)} is {dtype}, but {number!r} is no integer. Round it first.")
        number = int(number)
    check_range(number, dtype, f"{user_line()}: {label(index)}: the number")
    return int(number)


def _converted_array(array: Array, dtype: DType, label: Label) -> Array:
    if array.dtype == dtype.numpy:
        return array
    if array.dtype.kind not in "biuf":
        raise TypeMismatch(f"{user_line()}: {label(-1)} is {dtype}, but an array of {array.dtype} was given.")
    if dtype.is_float:
        try:
            with np.errstate(over="raise"):
                return array.astype(dtype.numpy)
        except FloatingPointError:
            return _refused(array, dtype, label, np.isinf(array) < np.isinf(_quiet(array, dtype)))
    low, high = dtype.limits
    with np.errstate(invalid="ignore"):
        whole = array == np.trunc(array) if array.dtype.kind == "f" else np.ones(array.shape, bool)
        # floats beside limits: 2.0**63 is above the largest int64, but equals it as a float
        fits = whole & (array >= low) & (array < float(high) + 1 if array.dtype.kind == "f" else array <= high)
    if not fits.all():
        return _refused(array, dtype, label, ~fits)
    return array.astype(dtype.numpy)


def _quiet(array: Array, dtype: DType) -> Array:
    with np.errstate(over="ignore"):
        return array.astype(dtype.numpy)


def _refused(array: Array, dtype: DType, label: Label, wrong: Array) -> Array:
    """Raise for the first number that does not fit."""
    index = int(np.flatnonzero(wrong)[0])
    number = array.reshape(-1)[index].item()
    _number(number, dtype, label, index if array.shape else -1)
    raise RangeError(f"{user_line()}: {label(index)}: the number {number} does not fit {dtype}.")
