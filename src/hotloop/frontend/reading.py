"""`Reading`: the numbers of a traced array after a run, as `Target.read_value` returns them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from hotloop.errors import BoundsError


class Reading(list[Any]):  # Any: numbers, or rows of numbers
    """Numbers read from a vector, tensor or quaternion: a list of Python numbers that computes like one.

    It is a list (nested for a tensor) and equals one; `+ - * / // % ** @` work element by element, as
    on the traced array, and not as on a list. `r[i, j]` takes an element, `numpy()` gives an array.
    """

    __slots__ = ("shape",)
    __array_priority__ = 1000
    __array_ufunc__ = None
    shape: tuple[int, ...]

    def __init__(self, numbers: Iterable[Any] = (), shape: tuple[int, ...] | None = None) -> None:
        super().__init__(numbers)
        self.shape = np.shape(list(self)) if shape is None else shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def values(self) -> tuple[Any, ...]:  # Any: numbers
        """All numbers in row-major order."""
        return tuple(self.numpy().reshape(-1).tolist())

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return a new NumPy array of the numbers, of Python's types (float64, int64, bool)."""
        return np.array(list(self)).reshape(self.shape)

    def get_scalar(self, *index: int) -> Any:  # Any: a number
        """Return one number, by one index an axis."""
        return self.numpy()[index].item()

    def magnitude(self) -> float:
        """Return the root of the sum of squares."""
        return float(np.linalg.norm(self.numpy()))

    def __getitem__(self, key: Any) -> Any:  # Any: as NumPy, numbers or rows
        if isinstance(key, int) and len(self.shape) == 1:
            return super().__getitem__(key)
        try:
            return _given(self.numpy()[key])
        except IndexError as error:
            raise BoundsError(f"[{key!r}] of numbers of shape {self.shape}: {error}") from None

    def __neg__(self) -> Any:
        return _given(-self.numpy())

    def __abs__(self) -> Any:
        return _given(abs(self.numpy()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self), self.shape)


class Rotation(Reading):
    """Numbers read from a quaternion: w, x, y, z."""

    __slots__ = ()

    w = property(lambda self: self[0], doc="Scalar part.")
    x = property(lambda self: self[1], doc="First imaginary part.")
    y = property(lambda self: self[2], doc="Second imaginary part.")
    z = property(lambda self: self[3], doc="Third imaginary part.")


def _given(result: Any) -> Any:  # Any: an array, or a NumPy scalar
    return Reading(result.tolist(), result.shape) if isinstance(result, np.ndarray) else result.item()


def _operator(name: str) -> Any:  # Any: a method of Reading
    def method(self: Reading, other: Any) -> Any:
        if hasattr(other, "node"):  # traced: its own operator takes lists
            return NotImplemented
        result = getattr(self.numpy(), name)(np.asarray(other.numpy() if isinstance(other, Reading) else other))
        return NotImplemented if result is NotImplemented else _given(result)

    method.__name__ = method.__qualname__ = name
    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
    setattr(Reading, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Reading, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ("add", "mul"):  # a list would grow
    setattr(Reading, f"__i{_name}__", _operator(f"__{_name}__"))
