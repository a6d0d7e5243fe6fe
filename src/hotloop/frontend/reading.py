"""`Reading`: the numbers of a traced array after a run, as `Target.read_value` returns them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hotloop.errors import BoundsError


class Reading(Sequence[Any]):  # Any: numbers, or rows of numbers
    """Numbers read from a vector, tensor or quaternion: a sequence of Python numbers that computes like one.

    It equals a list, nested for a tensor; `tolist()` gives one. `+ - * / // % ** @` work element by element,
    as on the traced array, and not as on a list. `r[i, j]` takes an element, `numpy()` gives an array. The
    numbers are those of the moment when they were read.
    Cost: one copy of the memory; Python's numbers are made when they are first looked at.
    """

    __slots__ = ("_array", "_numbers")
    __array_priority__ = 1000
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, numbers: Any) -> None:  # Any: an array, or nested lists
        self._array: np.ndarray[Any, Any] = np.array(numbers)
        self._numbers: list[Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self._array.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._array.ndim

    @property
    def values(self) -> tuple[Any, ...]:  # Any: numbers
        """All numbers in row-major order."""
        return tuple(self._array.reshape(-1).tolist())

    def tolist(self) -> list[Any]:
        """Return the numbers as Python's own, in a new (nested) list."""
        return self._array.tolist()  # type: ignore[no-any-return]

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return the numbers as a new NumPy array of the type they had in the program."""
        return self._array.copy()

    def get_scalar(self, *index: int) -> Any:  # Any: a number
        """Return one number, by one index an axis."""
        return self[index]

    def magnitude(self) -> float:
        """Return the root of the sum of squares."""
        return float(np.linalg.norm(self.widened()))

    def widened(self) -> np.ndarray[Any, Any]:
        """Return the numbers in the types in which Python computes."""
        kinds = {"f": np.float64, "i": np.int64}
        return self._array.astype(kinds.get(self._array.dtype.kind, self._array.dtype))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:  # NumPy's protocol
        return self._array.astype(dtype or self._array.dtype)

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[Any]:
        if self.ndim > 1:
            return iter([Reading(row) for row in self._array])
        if self._numbers is None:
            self._numbers = self.tolist()
        return iter(self._numbers)

    def __getitem__(self, key: Any) -> Any:  # Any: as NumPy, numbers or rows
        if type(key) is int and self.ndim == 1:
            if self._numbers is None:
                self._numbers = self.tolist()
            return self._numbers[key]
        try:
            return _given(self._array[key])
        except IndexError as error:
            raise BoundsError(f"[{key!r}] of numbers of shape {self.shape}: {error}") from None

    def __contains__(self, number: object) -> bool:
        return number in self.values

    def __eq__(self, other: object) -> Any:
        if isinstance(other, (Reading, np.ndarray)):
            return self.tolist() == other.tolist()
        return self.tolist() == _lists(other) if isinstance(other, (list, tuple)) else NotImplemented

    def __repr__(self) -> str:
        return repr(self.tolist())

    def __neg__(self) -> Any:
        return _given(-self.widened())

    def __abs__(self) -> Any:
        return _given(abs(self.widened()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._array,)


class Rotation(Reading):
    """Numbers read from a quaternion: w, x, y, z."""

    __slots__ = ()

    w = property(lambda self: self[0], doc="Scalar part.")
    x = property(lambda self: self[1], doc="First imaginary part.")
    y = property(lambda self: self[2], doc="Second imaginary part.")
    z = property(lambda self: self[3], doc="Third imaginary part.")


def _lists(rows: Any) -> Any:  # Any: nested lists, tuples and readings, as lists
    return [_lists(row) for row in rows] if isinstance(rows, (list, tuple, Reading)) else rows


def _given(result: Any) -> Any:  # Any: an array, or a NumPy scalar
    return Reading(result) if isinstance(result, np.ndarray) else result.item()


def _operator(name: str) -> Any:  # Any: a method of Reading
    def method(self: Reading, other: Any) -> Any:
        if hasattr(other, "node"):  # traced: its own operator takes sequences
            return NotImplemented
        result = getattr(self.widened(), name)(other.widened() if isinstance(other, Reading) else np.asarray(other))
        return NotImplemented if result is NotImplemented else _given(result)

    method.__name__ = method.__qualname__ = name
    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
    setattr(Reading, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Reading, f"__r{_name}__", _operator(f"__r{_name}__"))
