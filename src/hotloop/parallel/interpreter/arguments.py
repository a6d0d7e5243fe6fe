"""Arguments of compiled functions: their kinds, which decide what is compiled, and the arrays and numbers that they are made of."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from hotloop.dtypes import DType, as_dtype, bool_, float32, float64, int32, int64
from hotloop.errors import RangeError, TypeMismatch
from hotloop.ir.dim import Dim
from hotloop.ir.graph import Node, param_node
from hotloop.parallel.cuarray import cuarray
from hotloop.parallel.forms import Ragged, Records, form_of
from hotloop.parallel.interpreter.values import Number, Value

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.trace import Trace

# A kind: ("bool",) ("int",) ("float",) of Python; ("scalar", dtype) of NumPy; ("array", dtype, rank), ("records", kinds),
# ("ragged", kind of the values); ("tuple", kinds); ("function", @cu function). Kinds are the keys of what is compiled.
Leaf = tuple[Any, ...]
_PYTHON: dict[type, Leaf] = {bool: ("bool",), int: ("int",), float: ("float",)}
_NUMBERS = {"bool": bool_, "int": int64, "float": float64}
_COMPUTED = {  # in which type the elements of narrower arrays are computed
    "int8": int32, "uint8": int32, "int16": int32, "uint16": int32, "uint32": int64, "uint64": int64, "float16": float32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Named:
    """A function of Python's or NumPy's as an argument: max, operator.add, np.maximum."""

    python: Any

    def closure(self) -> Any:
        """Return what it is to a compiled function."""
        from hotloop.parallel.interpreter.captures import function_of

        return function_of(self.python)


def computed_type(dtype: np.dtype[Any]) -> DType | None:
    """Return the type in which elements of a NumPy type are computed, None if there is none."""
    name = dtype.name
    if name in _COMPUTED:
        return _COMPUTED[name]
    return as_dtype(name) if name in ("bool", "int32", "int64", "float32", "float64") else None


def is_data(python: Any) -> bool:
    """Whether a Python object is a number, an array, or made of such."""
    if isinstance(python, (bool, int, float, np.generic, np.ndarray, cuarray)):
        return True
    return isinstance(python, (list, tuple)) and all(map(is_data, python))


def kind_of(python: Any) -> Leaf | None:
    """Return the kind of an argument, None for what is none."""
    known = _PYTHON.get(type(python))
    if known is not None:
        return known
    if isinstance(python, FunctionType) or hasattr(python, "__wrapped_function__"):
        from hotloop.parallel.function import as_function  # which compiles functions of such arguments

        return "function", as_function(python)
    if isinstance(python, tuple):
        kinds = tuple(map(kind_of, python))
        return None if None in kinds else ("tuple", kinds)
    if isinstance(python, np.generic):
        dtype = computed_type(python.dtype)
        return None if dtype is None else ("scalar", dtype)
    if isinstance(python, (int, float)):
        return ("float",) if isinstance(python, float) else ("int",)
    if isinstance(python, cuarray):
        return _kind_of_form(python.form)
    if isinstance(python, np.ndarray):
        return _kind_of_form(python)
    if callable(python):
        from hotloop.parallel.interpreter.captures import function_of  # which needs the kinds of arguments

        return None if function_of(python) is None else ("function", Named(python))
    try:
        return _kind_of_form(form_of(python, False))
    except (TypeError, ValueError, OverflowError):
        return None


def _kind_of_form(form: Any) -> Leaf | None:
    if isinstance(form, Records):
        kinds = tuple(map(_kind_of_form, form.fields))
        return None if None in kinds else ("records", kinds)
    if isinstance(form, Ragged):
        values = _kind_of_form(form.values)
        return None if values is None else ("ragged", values)
    if form.ndim == 0:
        dtype = computed_type(form.dtype)
        return None if dtype is None else ("scalar", dtype)
    dtype = computed_type(form.dtype)
    return None if dtype is None else ("array", dtype, form.ndim)


def pieces(python: Any, kind: Leaf) -> list[Any]:
    """Return the numbers and arrays that an argument of a kind is made of, as compiled code takes them."""
    if kind[0] in _NUMBERS:
        if kind[0] == "int" and not int64.limits[0] <= python <= int64.limits[1]:
            raise RangeError(f"{python} does not fit int64, in which Python's ints are computed.")
        return [python if type(python) in _PYTHON else (float if kind[0] == "float" else int)(python)]
    if kind[0] == "function":
        return []
    if kind[0] == "tuple":
        return [piece for item, inner in zip(python, kind[1], strict=True) for piece in pieces(item, inner)]
    if kind[0] == "scalar":
        number = python[()] if isinstance(python, np.ndarray) else python
        return [number if number.dtype == kind[1].numpy else kind[1].numpy.type(number)]
    form = python.form if isinstance(python, cuarray) else python if isinstance(python, np.ndarray) else form_of(python, False)
    return _pieces_of_form(form, kind)


def _pieces_of_form(form: Any, kind: Leaf) -> list[Any]:
    if kind[0] == "records":
        return [piece for field, inner in zip(form.fields, kind[1], strict=True) for piece in _pieces_of_form(field, inner)]
    if kind[0] == "ragged":
        return [np.ascontiguousarray(form.offsets, np.int64), *_pieces_of_form(form.values, kind[1])]
    if form.dtype == np.uint64 and form.size and int(form.max()) > int64.limits[1]:
        raise RangeError(f"{form.max()} does not fit int64, in which elements of uint64 arrays are computed.")
    return [np.require(form, kind[1].numpy, ["C", "A"])]


@dataclass(frozen=True, slots=True)
class Physical:
    """A number or an array that compiled code takes. code: as the runner names numbers; rank: -1 for numbers."""

    code: str
    node: Node
    rank: int = -1
    lengths: tuple[Node, ...] = ()


class Arguments:
    """The arguments of one specialisation, captured ones last."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.physical: list[Physical] = []

    def value(self, kind: Leaf, name: str) -> Value:
        """Return the abstract value of an argument of a kind."""
        if kind[0] in _NUMBERS:
            dtype = _NUMBERS[kind[0]]
            return self._number(dtype, dtype.code, weak=dtype is not bool_)
        if kind[0] == "scalar":
            return self._number(kind[1], f"n{kind[1].code}", weak=False)
        if kind[0] == "function":
            return kind[1].closure()
        if kind[0] == "tuple":
            return tuple([self.value(inner, name) for inner in kind[1]])
        arrays, shape, offsets = self._memory(kind, name)
        return self.trace.stored(arrays, shape, offsets)

    def _number(self, dtype: DType, code: str, weak: bool) -> Number:
        node = param_node(dtype, ())
        self.physical.append(Physical(code, node))
        return Number(node, weak)

    def _array(self, dtype: DType, rank: int, name: str) -> tuple[Node, tuple[Node, ...]]:
        shape: Any = (Dim(name),)  # Any: Dims stand beside ints
        register = param_node(dtype, shape)
        lengths = tuple([param_node(int64, ()) for _ in range(rank)])
        self.trace.natural.update(length.id for length in lengths)
        self.physical.append(Physical(dtype.code, register, rank, lengths))
        return register, lengths

    def _memory(self, kind: Leaf, name: str) -> tuple[Any, tuple[Node, ...], tuple[Node, ...]]:
        """Return the registers, lengths and offsets of an array, records, or ragged rows."""
        if kind[0] == "array":
            register, shape = self._array(kind[1], kind[2], name)
            return register, shape, ()
        if kind[0] == "records":
            parts = [self._memory(inner, name) for inner in kind[1]]
            if any(offsets for _, _, offsets in parts) or len({len(shape) for _, shape, _ in parts}) > 1:
                raise TypeMismatch(f"argument {name}: tuples of sequences cannot be elements; pass a tuple of sequences.")
            return tuple([arrays for arrays, _, _ in parts]), parts[0][1], ()
        register, (count,) = self._array(int64, 1, name)
        arrays, shape, offsets = self._memory(kind[1], name)
        from hotloop.ir.graph import apply, constant
        from hotloop.ir.op import REGISTRY

        rows = self.trace.rows[register.id] = apply(REGISTRY["sub"], count, constant(1, int64))
        if len(shape) > 1:
            raise TypeMismatch(f"argument {name}: ragged sequences of rows of one length are not supported; nest them raggedly.")
        return arrays, (rows,), (register, *offsets)


def kinds_of(arguments: Items[Any], names: Items[str]) -> tuple[Leaf, ...]:
    """Return the kinds of all arguments. Raises: TypeMismatch naming the one that has none."""
    found = []
    for number, python in enumerate(arguments):
        kind = kind_of(python)
        if kind is None:
            name = names[number] if number < len(names) else number
            raise TypeMismatch(
                f"argument {name}: {type(python).__name__} {_short(python)} cannot be passed to a @cu function. Pass numbers, NumPy "
                "arrays, cuarrays, lists of numbers or tuples, or tuples of these."
            )  # fmt: skip
        found.append(kind)
    return tuple(found)


def _short(python: Any) -> str:
    text = repr(python)
    return text if len(text) < 60 else f"{text[:57]}..."


def kind_text(kind: Leaf) -> str:
    """Return a kind as messages say it."""
    if kind[0] in _NUMBERS:
        return str(kind[0])
    if kind[0] in ("scalar", "function"):
        return str(kind[1])
    if kind[0] == "array":
        rank: int = kind[2]
        return "[" * rank + str(kind[1]) + "]" * rank
    if kind[0] == "ragged":
        return f"[{kind_text(kind[1])}]"
    inner = ", ".join(map(kind_text, kind[1]))
    return f"({inner})" if kind[0] == "tuple" else f"[({inner})]"


