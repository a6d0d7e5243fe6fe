"""What a function reads beside its arguments - cells of closures and globals - and whether it has changed."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hotloop import _runner

# A place that a function reads: a cell of a closure, or a module's globals and a name in them
Place = tuple[types.CellType, None] | tuple[dict[str, Any], str]

_MISSING = object()
_SKIPPED = (types.ModuleType, types.BuiltinFunctionType, type)


class Captured:
    """The cells and globals that a function reads, and those that functions it calls read.

    Numbers, text and tuples of them are compared by value, everything else by identity: what is inside
    a captured list, dict, array or module is not looked at.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._places: list[Place] = []
        self._values: list[Any] = [_MISSING]
        self._token: tuple[Any, ...] = ()

    @property
    def values(self) -> list[Any]:  # Any: whatever the user's functions refer to
        """The objects that `token` last saw."""
        return self._values

    def token(self) -> tuple[Any, ...]:
        """Return a key of what is captured now: equal while the function would be traced the same.

        It holds identities; who keeps it keeps `values` too. Cost: some 50 ns a captured variable.
        """
        if not self._places and not self._values:  # most functions capture nothing that changes
            return self._token
        values = [_content(place) for place in self._places]
        if len(values) != len(self._values) or not all(map(_is, values, self._values)):
            self._places = list(_places(self._function))
            self._values = [_content(place) for place in self._places]
            self._token = tuple(map(token, self._values))
        return self._token

    def guards(self) -> tuple[tuple[Any, Any, Any], ...]:
        """Return what a call in C compares first: (container, name or None, the object that it held)."""
        return tuple([(*place, value) for place, value in zip(self._places, self._values, strict=True)])


def _is(a: object, b: object) -> bool:
    return a is b


def token(value: Any) -> Any:  # Any: whatever a user refers to; a key that tells it from what differs
    """Return a hashable key: the type and value of numbers, text and tuples, the identity of all else."""
    kind = type(value)
    if kind is float:
        return kind, value.hex()
    if kind in (int, bool, str, bytes, types.NoneType):
        return kind, value
    if kind is tuple:
        return kind, tuple(map(token, value))
    return id(value)


def _content(place: Place) -> Any:
    container, name = place
    if name is not None:
        return container.get(name, _MISSING)  # type: ignore[union-attr]
    try:
        return container.cell_contents  # type: ignore[union-attr]
    except ValueError:  # not assigned yet
        return _MISSING


def _places(function: Callable[..., Any]) -> Iterator[Place]:
    """Yield the places that a function and the user's functions it refers to read, each once."""
    seen: set[Any] = set()
    stack: list[Any] = [function]
    while stack:
        current = _plain(stack.pop())
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        cells: list[Place] = [(cell, None) for cell in current.__closure__ or ()]
        space = current.__globals__
        names: list[Place] = [(space, name) for name in _names(current.__code__) if name in space]
        for place in cells + names:
            value = _content(place)
            key = (id(place[0]), place[1])
            if key in seen or isinstance(value, _SKIPPED) or _is_library(value):
                continue
            seen.add(key)
            stack.append(value)
            yield place


def _plain(value: Any) -> types.FunctionType | None:
    """Return the Python function behind a callable, None for anything else."""
    for _ in range(8):  # wrapped by decorators
        if isinstance(value, types.FunctionType):
            return value
        if isinstance(value, _runner.Function) or (callable(value) and hasattr(value, "__wrapped__")):
            value = getattr(value, "__wrapped__", None)
        elif isinstance(value, types.MethodType):
            value = value.__func__
        elif hasattr(value, "func"):  # functools.partial
            value = value.func
        else:
            return None
    return None


def _names(code: types.CodeType) -> Sequence[str]:
    """Return the names that a function and the functions inside it look up in globals."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _names(constant)
    return names


def _is_library(value: Any) -> bool:
    """Whether a function belongs to hotloop, NumPy or Python: such do not change."""
    if not isinstance(value, types.FunctionType):
        return False
    top = (value.__module__ or "").partition(".")[0]
    return top in ("hotloop", "numpy") or (top in sys.stdlib_module_names and top != "__main__")
