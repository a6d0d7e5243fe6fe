"""Arguments of jitted functions: the key and the leaves of a call, and the traced values in their place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hotloop import _runner
from hotloop._graph import Node, Scalar, wrap
from hotloop.dtypes import DType, as_dtype, bool_, float64, int64
from hotloop.errors import HotloopError, RangeError, TraceError
from hotloop.frontend.array import Array
from hotloop.frontend.captured import token
from hotloop.frontend.literals import computed
from hotloop.frontend.reading import Reading
from hotloop.frontend.structure import Tree, flatten, parts
from hotloop.ir.dim import Dim
from hotloop.ir.graph import input_node, symbolic_input, user_line
from hotloop.ops.shape import element

# Exact Python numbers and the kinds that programs take them as
SCALARS: dict[type, str] = {float: "d", int: "q", bool: "?"}
# NumPy's numbers that programs take as they are
_NUMPY: dict[type, str] = {np.float64: "d", np.float32: "f", np.int64: "q", np.int32: "i", np.bool_: "?"}
_ARRAYS = {np.dtype(kind): kind for kind in _NUMPY.values()}
_NUMBERS = {np.dtype(kind).num for kind in _NUMPY}  # by which NumPy tells long from long long, of one size
_DTYPES: dict[str, DType] = {"d": float64, "q": int64, "?": bool_}
_ROW = 8  # a list of so many floats or ints travels as one array
_SMALL_MATRIX = 16  # rows and columns up to which a product is written out (benchmarks/matmul_small.py)
_SMALL = 16  # elements of an array up to which it becomes scalars, which is faster than a loop
_RANK, _LENGTHS = 8, 64  # axes that an array of any size may have, and different lengths in a call


class IsTraced(Exception):
    """An argument is traced: the function is part of another program."""


class Shaped(NamedTuple):
    """What an array is told apart by: its type and shape."""

    kind: str
    shape: tuple[int, ...]


class Row(NamedTuple):
    """What a long list of numbers is told apart by."""

    container: type
    kind: str
    length: int


def describe(argument: Any, name: str, key: list[Any], leaves: list[Any], rows: bool = True) -> None:
    """Append what a call is told apart by to `key`, and the numbers that it takes to `leaves`.

    Leaves are Python numbers and arrays of native byte order, the caller's own where they can be.
    rows: long lists of numbers are one leaf. Raises: IsTraced, TraceError for what cannot be traced, RangeError.
    """
    kind = SCALARS.get(type(argument))
    if kind is not None:
        key.append(kind)
        leaves.append(argument)
    elif argument is None:
        key.append(None)
    elif isinstance(argument, (Scalar, Array)):
        raise IsTraced
    elif type(argument) in _NUMPY:
        key.append((_NUMPY[type(argument)], None))
        leaves.append(argument.item())
    elif isinstance(argument, (np.ndarray, np.generic, Reading)):
        ready = _ready(argument, name)
        kind = _ARRAYS[ready.dtype]
        key.append((kind, None) if isinstance(argument, np.generic) else Shaped(kind, ready.shape))
        leaves.append(ready if ready.shape else ready.item())
    elif isinstance(argument, (int, float)):  # a subclass: an IntEnum
        describe(int(argument) if isinstance(argument, int) else float(argument), name, key, leaves)
    elif rows and (row := _row(argument)) is not None:
        key.append(Row(type(argument), row.dtype.char, len(row)))
        leaves.append(row)
    else:
        _describe_container(argument, name, key, leaves, rows)


def _describe_container(argument: Any, name: str, key: list[Any], leaves: list[Any], rows: bool) -> None:
    if parts(argument) is None:
        raise TraceError(_refusal(argument, name))
    items, structure = flatten(argument, name)
    key.append(structure)
    if any(isinstance(item, (Scalar, Array)) for item in items):
        raise IsTraced
    if set(map(type, items)) <= SCALARS.keys():
        key.extend([SCALARS[type(item)] for item in items])
        leaves.extend(items)
        return
    for item, path in zip(items, structure.paths(name), strict=True):
        describe(item, path, key, leaves, rows)


def _refusal(argument: Any, name: str) -> str:
    shown = name.partition("[")[0].partition(".")[0]
    return (
        f"{user_line()}: argument {name} is of type {type(argument).__name__}, which cannot be traced. "
        f"Mark it static: @hl.jit(static=({shown!r},)), or pass numbers, arrays, lists, tuples, dicts or dataclasses."
    )


def _ready(argument: Any, name: str) -> np.ndarray[Any, Any]:
    """Return numbers as an array in native byte order, of a type that programs compute in; a copy only where it must be."""
    if type(argument) is np.ndarray and argument.dtype in _ARRAYS:
        return argument if argument.dtype.num in _NUMBERS else argument.view(as_dtype(argument.dtype).numpy)
    given = argument.widened() if isinstance(argument, Reading) else np.asarray(argument)
    try:
        kept = computed(given)
    except RangeError as error:
        raise RangeError(f"{user_line()}: argument {name}: {error}") from None
    except HotloopError:
        message = f"{user_line()}: argument {name} has elements of type {given.dtype}, which cannot be traced."
        raise TraceError(f"{message} Use bool, integers, float32 or float64.") from None
    return np.asarray(kept, kept.dtype.newbyteorder("="), order="C")


def _row(argument: Any) -> np.ndarray[Any, Any] | None:
    """Return a long list of floats alone, or ints alone, as one array."""
    return _runner.pack(argument) if type(argument) in (list, tuple) and len(argument) >= _ROW else None


def contiguous(leaves: Iterable[Any]) -> list[Any]:
    """Return leaves as programs for known shapes take them: arrays in one piece."""
    return [np.require(leaf, None, ["C", "A"]) if type(leaf) is np.ndarray and not leaf.flags.carray else leaf for leaf in leaves]


def any_size_key(key: Sequence[Any]) -> tuple[Any, ...] | None:
    """Return what calls with arrays of any size are told apart by: types, axes, and which lengths are equal or 1.

    None where no array is larger than some registers, and for no elements at all: there shapes are known while tracing.
    """
    largest, numbers = 0, {1: -1}
    found: list[Any] = ["any size"]
    for piece in key:
        if type(piece) is Shaped:
            shape = piece.shape
            largest = max(largest, math.prod(shape))
            if 0 in shape or len(shape) > _RANK:
                return None
            piece = piece.kind, tuple([numbers.setdefault(n, len(numbers) - 1) for n in shape])
        found.append(piece)
    return tuple(found) if largest > _SMALL and len(numbers) <= _LENGTHS + 1 else None


def are_small(key: Iterable[Any]) -> bool:
    """Whether all matrices of a call are of a size that code for known shapes multiplies faster than BLAS is called."""
    return all(max(piece.shape, default=0) <= _SMALL_MATRIX for piece in key if type(piece) is Shaped)


# ----------------------------------------------------------------------------------- tracing


def symbolic(argument: Any, name: str, inputs: list[Node], dims: dict[int, Dim] | None = None) -> Tree:
    """Return what the function is traced with in place of an argument; appends its inputs, one a leaf.

    Goes through the argument as `describe` does. dims: the Dim of each length above 1, to trace for arrays of
    any size; it is filled here. None: shapes are known.
    """
    kind = SCALARS.get(type(argument))
    if kind is not None:
        return _scalar(_DTYPES[kind], name, inputs)
    if argument is None:
        return None
    if isinstance(argument, (np.ndarray, np.generic, Reading)):
        ready = _ready(argument, name)
        node = _array_input(ready, name, dims)
        inputs.append(node)
        if isinstance(argument, np.generic):
            return wrap(node)
        return (Array.vector_class if ready.ndim == 1 else Array.tensor_class).of(node)
    if isinstance(argument, (int, float)):
        return _scalar(int64 if isinstance(argument, int) else float64, name, inputs)
    if dims is None and (row := _row(argument)) is not None:
        node = input_node(np.zeros_like(row), as_dtype(row.dtype), name)
        inputs.append(node)
        return type(argument)([wrap(element(node, i)) for i in range(len(row))])
    items, structure = flatten(argument, name)
    paths = structure.paths(name)
    return structure.unflatten([symbolic(item, path, inputs, dims) for item, path in zip(items, paths, strict=True)])


def _array_input(array: np.ndarray[Any, Any], name: str, dims: dict[int, Dim] | None) -> Node:
    dtype = as_dtype(array.dtype)
    if dims is None or not array.shape:
        return input_node(np.zeros(array.shape, array.dtype), dtype, name)
    shape: list[Any] = [1 if n == 1 else dims.setdefault(n, Dim(f"n{len(dims)}")) for n in array.shape]
    return symbolic_input(tuple(shape), dtype, name)


def _scalar(dtype: DType, name: str, inputs: list[Node]) -> Any:  # Any: a traced scalar
    node = input_node(np.zeros((), dtype.numpy), dtype, name)
    inputs.append(node)
    return wrap(node)


# -------------------------------------------------------------------- arguments that are not traced


def static_key(argument: Any, name: str) -> Any:  # Any: a key that tells the argument from others
    """Return the key of a static argument: equal for equal values of one type. Raises: TraceError, IsTraced."""
    if isinstance(argument, (Scalar, Array)):
        raise IsTraced
    key = token(argument)
    if type(key) is tuple:
        return key
    try:
        hash(argument)
    except TypeError:
        message = f"{user_line()}: the static argument {name} is of type {type(argument).__name__}, which has no hash."
        raise TraceError(f"{message} Use a tuple, a number, text or a frozen dataclass.") from None
    return type(argument), argument


def instance_state(instance: Any) -> dict[str, Any]:  # Any: whatever the user's object holds
    """Return the attributes of an object that a method may read."""
    state = dict(getattr(instance, "__dict__", ()))
    for kind in type(instance).__mro__:
        for name in kind.__dict__.get("__slots__", ()):
            if name not in ("__dict__", "__weakref__") and hasattr(instance, name):
                state[name] = getattr(instance, name)
    return state


def instance_key(state: dict[str, Any]) -> tuple[Any, ...]:
    """Return the key of an object's attributes."""
    return tuple([(name, token(value)) for name, value in state.items()])


def is_method(function: Callable[..., Any]) -> bool:
    """Whether a function was defined in the body of a class."""
    owner, dot, _ = getattr(function, "__qualname__", "").rpartition(".")
    return bool(dot) and not owner.endswith("<locals>")
