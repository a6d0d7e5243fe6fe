"""`Captures`: what a `@cu` function uses of Python around it: functions, types, and numbers and arrays as hidden arguments."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from hotloop.dtypes import COMPUTE, DType, as_dtype, bool_, float64, int64
from hotloop.errors import TypeMismatch
from hotloop.parallel.interpreter.arguments import Arguments, Leaf, is_data, kind_of
from hotloop.parallel.interpreter.scope import found_again
from hotloop.parallel.interpreter.values import Builtin, Closure, Value
from hotloop.parallel.primitive import Primitive
from hotloop.parallel.primitives.library import LIBRARY
from hotloop.parallel.primitives.rules import RULES
from hotloop.parallel.reading.source import definition

if TYPE_CHECKING:
    from hotloop.parallel.reading.place import Place

Way = tuple[Any, ...]  # how to find a captured object again: see scope.python_value

_CASTS = {int: ("int", int64, True), float: ("float", float64, True), bool: ("bool", bool_, False)}
_BUILTINS = {name: getattr(builtins, name) for name in RULES if hasattr(builtins, name)}
_MODULES = ("math", "numpy", "operator", "functools", "hotloop")  # whose functions are known by their names


@dataclass(frozen=True, slots=True)
class Watched:
    """Something found in Python that the compiled code relies on: it must be there again at every call."""

    way: Way
    known: Any

    def holds(self) -> bool:
        """Whether it is still the same."""
        return found_again(self.way) is self.known


def function_of(python: Any) -> Builtin | Closure | None:
    """Return what a function of Python's, NumPy's or hotloop's means, by its name: max, np.sqrt, operator.add."""
    short = getattr(python, "__name__", None)
    if not callable(python) or not isinstance(short, str):
        return None
    if _BUILTINS.get(short) is python:
        return Builtin(short, RULES[short])
    if isinstance(python, FunctionType) and LIBRARY.get(short) is python:  # one that another one of the library calls
        return library_function(python)
    module = (getattr(python, "__module__", None) or ("numpy" if isinstance(python, np.ufunc) else "")).partition(".")[0]
    if module.removeprefix("_") in _MODULES and _RENAMED.get(short, short) in RULES:
        return Builtin(short, RULES[_RENAMED.get(short, short)])
    return None


def library_function(function: FunctionType) -> Closure:
    """Return a primitive that is written in the language itself."""
    found = definition(function)
    return Closure(found.node, found, function, function.__name__)


def primitive(name: str) -> Builtin | Closure | None:
    """Return the primitive of a name."""
    rule = RULES.get(name)
    if rule is not None:
        return Builtin(name, rule)
    function = LIBRARY.get(name)
    return None if function is None else library_function(function)


class Captures:
    """Everything that one specialisation captures, in order of first use."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.ways: list[Way] = []  # of hidden arguments
        self.leaves: list[Leaf] = []  # their kinds
        self.watched: dict[tuple[Any, ...], Watched] = {}
        self.functions: list[Any] = []  # @cu functions that were reached
        self._values: dict[tuple[Any, ...], Value] = {}

    def primitive(self, name: str) -> Builtin | Closure | None:
        """Return the primitive that a name means where nothing else has it."""
        return primitive(name)

    def value(self, python: Any, way: Way | None, name: str, place: Place) -> Value:
        """Return what a Python object means in a compiled function."""
        function = self._function(python, name)
        if function is not None:
            if way is not None and way[0] != "builtin":
                self._watch(way, python)
            return function
        leaf = kind_of(python) if is_data(python) else None
        if way is None or leaf is None:
            self._refuse(python, name, place)
        return self._hidden(leaf, way, name)

    def _function(self, python: Any, name: str) -> Value | None:
        if hasattr(python, "__cu__") and not isinstance(python, type):
            self.functions.append(python)
            return python.closure()
        if isinstance(python, Primitive):
            return self.primitive(python.name)
        if isinstance(python, DType) or (isinstance(python, type) and (python in _CASTS or issubclass(python, np.generic))):
            return self._cast(python, name)
        return function_of(python)

    def _cast(self, python: Any, name: str) -> Value | None:
        if isinstance(python, type) and python in _CASTS:
            short, dtype, weak = _CASTS[python]
            return Builtin(short, RULES["<cast>"](dtype, weak))
        dtype = as_dtype(python)
        return Builtin(dtype.name, RULES["<cast>"](dtype, False)) if dtype in COMPUTE else None

    def _watch(self, way: Way, python: Any) -> None:
        key = _key(way)
        self.watched.setdefault(key, Watched(way, python))

    def _hidden(self, leaf: Leaf, way: Way, name: str) -> Value:
        key = _key(way)
        if key not in self._values:
            self.ways.append(way)
            self.leaves.append(leaf)
            self._values[key] = self.arguments.value(leaf, name)
        return self._values[key]

    def _refuse(self, python: Any, name: str, place: Place) -> NoReturn:
        hint = ""
        if callable(python):
            hint = " Decorate it with @cu to call it from here, or use places.here." if isinstance(python, FunctionType) else (
                " There is no primitive that does what it does; on places.here Python calls it."
            )  # fmt: skip
        elif isinstance(python, ModuleType):
            hint = " Name one of its functions."
        place.refuse(TypeMismatch, f"{name} is {_named(python)}, which cannot be used in a @cu function.{hint}")


_RENAMED = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "absolute": "abs", "fabs": "abs", "power": "pow", "amin": "min", "amax": "max", "fmin": "minimum",
    "fmax": "maximum", "add": "op_add", "sub": "op_sub", "subtract": "op_sub", "mul": "op_mul", "multiply": "op_mul",
    "truediv": "op_div", "divide": "op_div", "floordiv": "op_floordiv", "floor_divide": "op_floordiv", "mod": "op_mod",
    "lshift": "op_lshift", "left_shift": "op_lshift", "rshift": "op_rshift", "right_shift": "op_rshift",
    "and_": "op_and", "bitwise_and": "op_and", "or_": "op_or", "bitwise_or": "op_or", "xor": "op_xor", "bitwise_xor": "op_xor",
    "neg": "op_neg", "negative": "op_neg", "lt": "cmp_lt", "less": "cmp_lt", "le": "cmp_le", "less_equal": "cmp_le",
    "gt": "cmp_gt", "greater": "cmp_gt", "ge": "cmp_ge", "greater_equal": "cmp_ge", "eq": "cmp_eq", "equal": "cmp_eq",
    "ne": "cmp_ne", "not_equal": "cmp_ne",
}  # fmt: skip


def _key(way: Way) -> tuple[Any, ...]:
    return tuple([part if isinstance(part, (str, int)) else id(part) for part in way])


def _named(python: Any) -> str:
    if isinstance(python, ModuleType):
        return f"the module {python.__name__}"
    if callable(python):
        return f"the Python function {getattr(python, '__name__', python)}"
    return f"a {type(python).__name__}"
