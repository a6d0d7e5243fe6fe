"""Arguments of jitted functions: the key and the leaves of a call, and the traced values in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
from hotloop.ir.graph import input_node, user_line
from hotloop.ops.shape import element

# Exact Python numbers and the kinds that programs take them as
SCALARS: dict[type, str] = {float: "d", int: "q", bool: "?"}
# NumPy's numbers that programs take as they are
_NUMPY: dict[type, str] = {np.float64: "d", np.float32: "f", np.int64: "q", np.int32: "i", np.bool_: "?"}
_ARRAYS = {np.dtype(kind): kind for kind in _NUMPY.values()}
_DTYPES: dict[str, DType] = {"d": float64, "q": int64, "?": bool_}
_ROW = 8  # a list of so many floats or ints travels as one array


class IsTraced(Exception):
    """An argument is traced: the function is part of another program."""


def describe(argument: Any, name: str, key: list[Any], leaves: list[Any]) -> None:
    """Append what a call is told apart by to `key`, and the numbers that it takes to `leaves`.

    Leaves are exactly what `_runner.Function` takes: Python numbers, or arrays of native order.
    Raises: IsTraced, TraceError for what cannot be traced, RangeError.
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
        single = isinstance(argument, np.generic)
        key.append((_ARRAYS[ready.dtype], None if single else ready.shape))
        leaves.append(ready if ready.shape else ready.item())
    elif isinstance(argument, (int, float)):  # a subclass: an IntEnum
        describe(int(argument) if isinstance(argument, int) else float(argument), name, key, leaves)
    elif (row := _row(argument)) is not None:
        key.append((type(argument), row.dtype.char, len(row)))
        leaves.append(row)
    else:
        _describe_container(argument, name, key, leaves)


def _describe_container(argument: Any, name: str, key: list[Any], leaves: list[Any]) -> None:
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
        describe(item, path, key, leaves)


def _refusal(argument: Any, name: str) -> str:
    shown = name.partition("[")[0].partition(".")[0]
    return (
        f"{user_line()}: argument {name} is of type {type(argument).__name__}, which cannot be traced. "
        f"Mark it static: @hl.jit(static=({shown!r},)), or pass numbers, arrays, lists, tuples, dicts or dataclasses."
    )


def _ready(argument: Any, name: str) -> np.ndarray[Any, Any]:
    """Return numbers as a contiguous array in native byte order, of a type that programs compute in."""
    if type(argument) is np.ndarray and argument.dtype in _ARRAYS and argument.flags.carray:
        return argument
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


# ----------------------------------------------------------------------------------- tracing


def symbolic(argument: Any, name: str, inputs: list[Node]) -> Tree:
    """Return what the function is traced with in place of an argument; appends its inputs, one a leaf.

    Goes through the argument as `describe` does.
    """
    kind = SCALARS.get(type(argument))
    if kind is not None:
        return _scalar(_DTYPES[kind], name, inputs)
    if argument is None:
        return None
    if isinstance(argument, (np.ndarray, np.generic, Reading)):
        ready = _ready(argument, name)
        node = input_node(np.zeros_like(ready), as_dtype(ready.dtype), name)
        inputs.append(node)
        if isinstance(argument, np.generic):
            return wrap(node)
        return (Array.vector_class if ready.ndim == 1 else Array.tensor_class).of(node)
    if isinstance(argument, (int, float)):
        return _scalar(int64 if isinstance(argument, int) else float64, name, inputs)
    if (row := _row(argument)) is not None:
        node = input_node(np.zeros_like(row), as_dtype(row.dtype), name)
        inputs.append(node)
        return type(argument)([wrap(element(node, i)) for i in range(len(row))])
    items, structure = flatten(argument, name)
    paths = structure.paths(name)
    return structure.unflatten([symbolic(item, path, inputs) for item, path in zip(items, paths, strict=True)])


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
