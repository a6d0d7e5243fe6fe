"""Functions of numbers in plain Python: casts, bounds, operators by name, elementary functions with compiled code's bits."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from hotloop.dtypes import COMPUTE
from hotloop.dtypes import as_dtype as hotloop_dtype
from hotloop.errors import TypeMismatch
from hotloop.frontend import functions
from hotloop.ir.fold import evaluate
from hotloop.ir.op import REGISTRY, Op
from hotloop.parallel.cuarray import made as sequence_of
from hotloop.parallel.forms import in_types
from hotloop.parallel.here.types import as_dtype, is_sequence, joint, numbers, quiet, sequence, type_of

Function = Callable[..., Any]
Number = Any  # Python's or NumPy's

_FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})

# -------------------------------------------------------------------------------------- rows of numbers


def _joint_type(name: str, given: tuple[Number, ...]) -> tuple[np.dtype[Any], bool]:
    """Return the type in which numbers meet, and whether all of them are Python's. Raises: TypeMismatch."""
    kind = type_of(given[0])
    for number in given[1:]:
        kind = joint(kind, type_of(number))
    if kind is None or isinstance(kind, tuple):
        raise TypeMismatch(f"{name} takes numbers. For each element of a sequence: map({name}, x).")
    return np.result_type(0 if kind is int else 0.0 if kind is float else kind), isinstance(kind, type)


def _computed(op: Op, given: tuple[Number, ...], dtype: np.dtype[Any], weak: bool) -> Number:
    """Evaluate a row in one type, with the bits of compiled code; Python's numbers give Python's."""
    result = evaluate(op, [np.asarray(as_dtype(number, dtype)) for number in given])[()]
    return result.item() if weak else result


def _of_floats(op: Op) -> Function:
    """Return a function of floats: integers and bools count as float64, as in NumPy."""

    def function(*given: Number) -> Number:
        dtype, weak = _joint_type(str(op), given)
        return _computed(op, given, dtype if dtype in _FLOATS else np.dtype(np.float64), weak)

    return function


def _rounding(op: Op) -> Function:
    """Return a function that leaves integers as they are."""

    def function(x: Number) -> Number:
        dtype, weak = _joint_type(str(op), (x,))
        return _computed(op, (x,), dtype, weak) if dtype in _FLOATS else x

    return function


def _asking(op: Op, of_integers: bool) -> Function:
    """Return a question about floats; `of_integers` is the answer for integers."""

    def function(x: Number) -> np.bool_:
        dtype, _ = _joint_type(str(op), (x,))
        return np.bool_(_computed(op, (x,), dtype, False)) if dtype in _FLOATS else np.bool_(of_integers)

    return function


def _of_numbers(op: Op) -> Function:
    """Return a function of integers and floats; of bools too, where NumPy has it."""

    def function(*given: Number) -> Number:
        for number in given:
            recorded = getattr(number, "recorded", None)
            if recorded is not None:
                return recorded(op, given)
        dtype, weak = _joint_type(str(op), given)
        if len(given) == 1 and dtype.kind == "b":
            return given[0]
        return _computed(op, given, dtype, weak)

    return function


_INTEGERS_STAY = ("floor", "ceil", "round", "trunc")
_ANSWERS = {"isfinite": True, "isinf": False, "isnan": False}
_NUMERIC = ("abs", "sign", "minimum", "maximum")


def _function(name: str) -> Function:
    op = REGISTRY[name]
    if name in _ANSWERS:
        made = _asking(op, _ANSWERS[name])
    else:
        made = (_rounding if name in _INTEGERS_STAY else _of_numbers if name in _NUMERIC else _of_floats)(op)
    made.__name__ = name
    made.__doc__ = op.doc
    return quiet(made)


ELEMENTARY: dict[str, Function] = {name: _function(name) for name in functions.__all__}
minimum, maximum = ELEMENTARY["minimum"], ELEMENTARY["maximum"]
_pow = _function("pow")


def where(condition: Number, x: Number, y: Number) -> Number:
    """Return x where the condition holds, else y, in the type that holds both."""
    dtype, weak = _joint_type("where", (x, y))
    chosen = x if condition else y
    return chosen if weak and isinstance(x, type(y)) else as_dtype(chosen, dtype).item() if weak else as_dtype(chosen, dtype)


# -------------------------------------------------------------------------------------- casts and bounds


def _cast(dtype: np.dtype[Any], name: str) -> Function:
    def cast(x: Any) -> Any:
        if is_sequence(x):
            return sequence_of(in_types(sequence(x, name), lambda array: array.astype(dtype)))
        return as_dtype(x, dtype)

    cast.__name__ = name
    cast.__doc__ = f"Convert a number, or each number of a sequence, to {dtype}; floats truncate to integers, integers wrap."
    return quiet(cast)


CASTS: dict[str, Function] = {dtype.name: _cast(dtype.numpy, dtype.name) for dtype in COMPUTE}
int32, int64, float32, float64, bool_ = (CASTS[name] for name in ("int32", "int64", "float32", "float64", "bool"))


@quiet
def int_(x: Number) -> int:
    """Convert a number to an integer of 64 bits, as a Python int: its type yields to that of other numbers."""
    return int(as_dtype(x, np.dtype(np.int64)))


@quiet
def float_(x: Number) -> float:
    """Convert a number to a float64, as a Python float: its type yields to that of other numbers."""
    return float(as_dtype(x, np.dtype(np.float64)))


def _dtype_of(x: Number, name: str) -> np.dtype[Any]:
    return _joint_type(name, (x,))[0]


@quiet
def cast_to(x: Number, like: Number) -> Number:
    """Return x in the type of another number."""
    found = as_dtype(x, _dtype_of(like, "cast_to"))
    return found.item() if isinstance(like, (int, float)) and not isinstance(like, bool) else found


@quiet
def cast_to_el(x: Number, seq: Any) -> Number:
    """Return x in the type of a sequence's elements."""
    return as_dtype(x, numbers(seq, "cast_to_el").dtype)


def _bound(dtype: np.dtype[Any], largest: bool) -> Number:
    if dtype in _FLOATS:
        return dtype.type(np.inf if largest else -np.inf)
    return dtype.type(hotloop_dtype(dtype).limits[largest])


def max_bound(x: Number) -> Number:
    """Return the largest number of the type of x: of floats infinity."""
    return _bound(_dtype_of(x, "max_bound"), True)


def min_bound(x: Number) -> Number:
    """Return the smallest number of the type of x: of floats minus infinity."""
    return _bound(_dtype_of(x, "min_bound"), False)


def max_bound_el(seq: Any) -> Number:
    """Return the largest number of the type of a sequence's elements."""
    return _bound(numbers(seq, "max_bound_el").dtype, True)


def min_bound_el(seq: Any) -> Number:
    """Return the smallest number of the type of a sequence's elements."""
    return _bound(numbers(seq, "min_bound_el").dtype, False)


# -------------------------------------------------------------------------------------- operators by name


def _binary(sign: str, name: str) -> Function:
    apply = getattr(operator, name)

    def op(x: Number, y: Number) -> Number:
        if type(x) in _PYTHONS and type(y) in _PYTHONS:  # as compiled code: what Python refuses is infinite, NaN or wraps
            strong = np.float64 if float in (type(x), type(y)) else np.int64
            made = apply(strong(x), strong(y))
            return made.item() if not isinstance(made, np.bool_) else made
        made = apply(x, y)
        return made.astype(np.int64) if isinstance(made, np.int8) else made  # True // True

    op.__doc__ = f"x {sign} y."
    return quiet(op)


_PYTHONS = (int, float)


@quiet
def op_pow(x: Number, y: Number) -> Number:
    """X ** y; of floats with the bits of compiled code, where x ** 2 is x * x."""
    dtype, weak = _joint_type("op_pow", (x, y))
    if dtype not in _FLOATS:
        return _integer_power(x, y)
    if isinstance(y, (int, float)) and y in (0, 1, 2, -1):
        return _small_power(as_dtype(x, dtype), int(y)).item() if weak else _small_power(as_dtype(x, dtype), int(y))
    return _pow(x, y)


def _small_power(x: Number, y: int) -> Number:
    one = x.dtype.type(1)
    return one if y == 0 else x if y == 1 else x * x if y == 2 else one / x


def _integer_power(x: Number, y: Number) -> Number:
    if isinstance(y, int) and y < 0:
        raise TypeMismatch("integers to negative powers are not integers. Convert first: float64(x) ** n.")
    if y < 0:
        return as_dtype(1, _joint_type("op_pow", (x, y))[0])
    return (int64(x) if isinstance(x, np.bool_) else x) ** y


def op_invert(x: Number) -> Number:
    """~x."""
    return ~x if not isinstance(x, bool) else np.bool_(not x)


def op_pos(x: Number) -> Number:
    """+x."""
    return x


@quiet
def op_neg(x: Number) -> Number:
    """-x."""
    return -x


def op_not(x: Number) -> np.bool_:
    """Tell whether x is zero, as `not x` does."""
    return np.bool_(not x)


_BINARY = {
    "op_add": ("+", "add"), "op_sub": ("-", "sub"), "op_mul": ("*", "mul"), "op_div": ("/", "truediv"), "op_floordiv": ("//", "floordiv"),
    "op_mod": ("%", "mod"), "op_lshift": ("<<", "lshift"), "op_rshift": (">>", "rshift"), "op_or": ("|", "or_"), "op_xor": ("^", "xor"),
    "op_and": ("&", "and_"), "op_band": ("&", "and_"), "op_bor": ("|", "or_"), "cmp_eq": ("==", "eq"),
    "cmp_ne": ("!=", "ne"), "cmp_lt": ("<", "lt"), "cmp_le": ("<=", "le"), "cmp_gt": (">", "gt"), "cmp_ge": (">=", "ge"),
}  # fmt: skip
OPERATORS: dict[str, Function] = {name: _binary(sign, of) for name, (sign, of) in _BINARY.items()}
for _name, _made in OPERATORS.items():
    _made.__name__ = _name
op_add, op_mul = OPERATORS["op_add"], OPERATORS["op_mul"]

SCALARS: dict[str, Function] = {
    **ELEMENTARY, **CASTS, **OPERATORS, "where": where, "cast_to": cast_to, "cast_to_el": cast_to_el, "max_bound": max_bound,
    "min_bound": min_bound, "max_bound_el": max_bound_el, "min_bound_el": min_bound_el, "op_pow": op_pow, "op_invert": op_invert,
    "op_pos": op_pos, "op_neg": op_neg, "op_not": op_not, "pow": op_pow, "bool_": bool_, "int": int_, "float": float_,
}  # fmt: skip
