"""Element types: what memory holds, what programs compute in, and how types combine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hotloop.errors import RangeError, TypeMismatch


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DType:
    """One element type; calling it converts a traced value, an array or a number to it."""

    name: str
    kind: str  # "bool", "int", "uint" or "float"
    size: int  # bytes in memory
    rank: int  # order of promotion
    short: str  # in C names and listings
    numpy: np.dtype[Any]

    def __call__(self, source: Any) -> Any:  # Any: whatever has astype, or becomes a NumPy scalar
        """Convert `source` to this type (float to int truncates, as in C and NumPy)."""
        convert = getattr(source, "astype", None)
        if convert is None:
            return self.numpy.type(source)
        return convert(self.numpy if isinstance(source, (np.ndarray, np.generic)) else self)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)

    @property
    def is_float(self) -> bool:
        """Whether this is a floating-point type."""
        return self.kind == "float"

    @property
    def is_int(self) -> bool:
        """Whether this is an integer type other than bool."""
        return self.kind in ("int", "uint")

    @property
    def code(self) -> str:
        """The character of the struct module; NumPy's own are those of C's types."""
        return _CODES[self.name]

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer of an integer type or bool."""
        if self.kind == "bool":
            return 0, 1
        bits = 8 * self.size
        return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if self.kind == "int" else (0, (1 << bits) - 1)


_CODES = {"bool": "?", "int32": "i", "int64": "q", "float32": "f", "float64": "d"}  # of the types of computation


def _dtype(name: str, kind: str, rank: int, short: str) -> DType:
    numpy = np.dtype(name)
    return DType(name, kind, numpy.itemsize, rank, short, numpy)


bool_ = _dtype("bool", "bool", 0, "b")
int8 = _dtype("int8", "int", 1, "i8")
uint8 = _dtype("uint8", "uint", 1, "u8")
int16 = _dtype("int16", "int", 2, "i16")
uint16 = _dtype("uint16", "uint", 2, "u16")
int32 = _dtype("int32", "int", 3, "i32")
uint32 = _dtype("uint32", "uint", 3, "u32")
int64 = _dtype("int64", "int", 4, "i64")
uint64 = _dtype("uint64", "uint", 4, "u64")
float32 = _dtype("float32", "float", 5, "f32")
float64 = _dtype("float64", "float", 6, "f64")

MEMORY = (bool_, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float32, float64)
COMPUTE = (bool_, int32, int64, float32, float64)
FLOATS = (float32, float64)
INTS = (int32, int64)

_BY_NAME = {dtype.name: dtype for dtype in MEMORY} | {"int": int32, "float": float32}
_BY_PYTHON: dict[object, DType] = {bool: bool_, int: int32, float: float32}


def as_dtype(spec: Any) -> DType:  # Any: every spelling of a type that users have
    """Return the DType that a DType, a name, a Python type or a NumPy dtype stands for.

    "int" and int are int32, "float" and float are float32: the defaults of traced programs.
    """
    if isinstance(spec, DType):
        return spec
    if isinstance(spec, type) and spec in _BY_PYTHON:
        return _BY_PYTHON[spec]
    name = spec if isinstance(spec, str) else _numpy_name(spec)
    if name in _BY_NAME:
        return _BY_NAME[name]
    names = ", ".join(dtype.name for dtype in COMPUTE)
    raise TypeMismatch(f"unknown dtype {spec!r}. Use one of {names}.")


def _numpy_name(spec: Any) -> str:
    try:
        return str(np.dtype(spec).name)
    except TypeError:
        return repr(spec)


def promote(a: DType, b: DType) -> DType:
    """Return the type that an operation on `a` and `b` computes in.

    The larger in the order bool < int32 < int64 < float32 < float64, but int64 with float32 is
    float64, which holds more of the integers. bool with bool stays bool.
    """
    low, high = (a, b) if a.rank <= b.rank else (b, a)
    return float64 if low is int64 and high is float32 else high


def check_range(number: int | float, dtype: DType, name: str = "the constant") -> None:
    """Raise RangeError if `number` does not fit `dtype`; `name` is what the message calls it."""
    if dtype.is_int or dtype.kind == "bool":
        low, high = dtype.limits
        fits = low <= number <= high
    else:
        fits = not (abs(number) > float(np.finfo(dtype.numpy).max) and abs(number) != float("inf"))
    if not fits:
        wider = {"int32": " Pass dtype=int64.", "float32": " Pass dtype=float64."}.get(dtype.name, "")
        raise RangeError(f"{name} {number} does not fit {dtype}.{wider}")
