"""Numbers as C99 constants: the same bits whatever the compiler makes of decimal fractions."""

from __future__ import annotations

import math
from typing import Any

from hotloop.dtypes import DType, bool_, float32, float64, int32, int64

C_TYPES = {"b": "bool", "i32": "int32_t", "i64": "int64_t", "f32": "float", "f64": "double"}


def literal(number: Any, dtype: DType, static: bool = False) -> str:  # Any: a NumPy scalar of every type
    """Return a C expression of one value. static: it stands in the initialiser of a static array."""
    if dtype is bool_:
        return "true" if number else "false"
    return _integer(int(number), dtype) if dtype.is_int else _real(number, dtype, static)


def _integer(number: int, dtype: DType) -> str:
    assert dtype in (int32, int64)
    if number == dtype.limits[0]:
        return "INT32_MIN" if dtype is int32 else "INT64_MIN"
    text = f"INT64_C({abs(number)})" if dtype is int64 and abs(number) >= 1 << 31 else str(abs(number))
    return f"(-{text})" if number < 0 else text


def _real(number: Any, dtype: DType, static: bool) -> str:
    assert dtype in (float32, float64)
    suffix = "f" if dtype is float32 else ""
    value = float(number)
    if not math.isfinite(value):
        return _special(value, dtype, static)
    magnitude = abs(value)
    if magnitude < 1e6 and magnitude * 8 == int(magnitude * 8):  # its decimal digits are exact
        text = repr(magnitude)
    else:
        head, _, exponent = magnitude.hex().partition("p")
        text = f"{head.rstrip('0')}p{exponent}"
    return f"(-{text}{suffix})" if math.copysign(1.0, value) < 0 else f"{text}{suffix}"


def _special(value: float, dtype: DType, static: bool) -> str:
    if static:
        one, zero = ("1.0f", "0.0f") if dtype is float32 else ("1.0", "0.0")
        return f"({zero} / {zero})" if math.isnan(value) else f"({one} / {zero})" if value > 0 else f"(-{one} / {zero})"
    name = f"HL_{'NAN' if math.isnan(value) else 'INF'}_{dtype.short.upper()}"
    return f"(-{name})" if value < 0 else name
