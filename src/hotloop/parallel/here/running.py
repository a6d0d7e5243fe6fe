"""Running a user's function on place `here`: by Python itself, on the plain definitions of all primitives.

The function is built anew, with the definitions in place of Python's `map`, `sum`, `range` and of the primitives it has
imported. What Python alone would do otherwise than the language says is put right in its text, where that can be found:
comprehensions make sequences, and `**`, `/`, `//` and `%` are compiled code's.
"""

from __future__ import annotations

import ast
import builtins
import copy
from collections.abc import Callable, Iterable
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from hotloop.dtypes import DType
from hotloop.errors import SourceChanged, SourceError, SourceNotFound, SyntaxRefused
from hotloop.frontend.literals import computed
from hotloop.parallel.cuarray import adopt, cuarray
from hotloop.parallel.forms import form_of, in_types
from hotloop.parallel.here.folds import FOLDING
from hotloop.parallel.here.random import random_bits, random_normal, random_uniform
from hotloop.parallel.here.rows import SEGMENTS
from hotloop.parallel.here.scalars import SCALARS
from hotloop.parallel.here.search import SEARCHING
from hotloop.parallel.here.sequences import MOVING, filter_, map_
from hotloop.parallel.here.types import NdIndex, is_sequence, quiet
from hotloop.parallel.reading import likeness, source

DEFINITIONS: dict[str, Callable[..., Any]] = {
    **SCALARS, **MOVING, **FOLDING, **SEARCHING, **SEGMENTS,
    "random_bits": quiet(random_bits), "random_uniform": quiet(random_uniform), "random_normal": quiet(random_normal),
}  # fmt: skip


@quiet
def run(function: Callable[..., Any], args: Iterable[Any], keywords: dict[str, Any] | None = None) -> Any:
    """Return function(*args) as place `here` computes it: numbers as Python's, sequences as cuarrays.

    Sequences may be cuarrays, NumPy arrays and lists. Python's numbers are weak: their type yields to that of others.
    """
    made = Rebuilder().value(function)
    return _finished(made(*map(_prepared, args), **{name: _prepared(value) for name, value in (keywords or {}).items()}))


def rebuilt(function: Any) -> Any:
    """Return a function that was given to a primitive as one that runs on the definitions."""
    return Rebuilder().value(function)


def _prepared(value: Any) -> Any:
    """Return an argument as the function sees it."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, np.generic):
        return computed(np.asarray(value))[()]
    if isinstance(value, tuple):
        return tuple(map(_prepared, value))
    if isinstance(value, (int, float, str, NdIndex)):
        return value
    return adopt(in_types(form_of(value, copy=False), computed)) if is_sequence(value) else rebuilt(value)


def _finished(value: Any) -> Any:
    """Return a result as the caller sees it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return tuple(map(_finished, value))
    if isinstance(value, cuarray):
        return value if value.pending is None else adopt(value.form)
    if isinstance(value, NdIndex):
        return adopt(value.records())
    return adopt(in_types(form_of(value), computed)) if is_sequence(value) else value


# ---------------------------------------------------------------------------------- what comprehensions mean


def _listed(make: Callable[[Any], list[Any]], keep: Callable[[Any], list[Any]] | None, x: Any) -> cuarray:
    """Return [... for target in x if ...], whose elements and conditions two functions make of a sequence."""
    left = filter_(lambda element: all(keep([element])), x) if keep is not None else x
    return map_(lambda element: make([element])[0], left)


_LISTED, _POWER, _DIV, _FLOORDIV, _MOD = "<listed>", "op_pow", "op_div", "op_floordiv", "op_mod"
_OPERATORS: dict[type[ast.operator], str] = {ast.Pow: _POWER, ast.Div: _DIV, ast.FloorDiv: _FLOORDIV, ast.Mod: _MOD}


def _hidden(name: str) -> str:
    """Return a name that no program can have."""
    return name if name.startswith("<") else f"<{name}>"


class _Translation(ast.NodeTransformer):
    """Puts calls of definitions in place of what Python does otherwise."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        name = _OPERATORS.get(type(node.op))
        return node if name is None else _call(name, [node.left, node.right], node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        self.generic_visit(node)
        name = _OPERATORS.get(type(node.op))
        if name is None or not isinstance(node.target, ast.Name):
            return node
        read = ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target)
        return ast.copy_location(ast.Assign([node.target], _call(name, [read, node.value], node)), node)

    def visit_ListComp(self, node: ast.ListComp | ast.GeneratorExp) -> ast.expr:
        self.generic_visit(node)
        first, *others = node.generators
        if others:
            return node if isinstance(node, ast.ListComp) else ast.copy_location(ast.ListComp(node.elt, node.generators), node)
        make = _function_of_items(node.elt, first.target, node)
        keep: ast.expr = ast.Constant(None)
        if first.ifs:
            tests = first.ifs[0] if len(first.ifs) == 1 else ast.copy_location(ast.BoolOp(ast.And(), first.ifs), first.ifs[0])
            keep = _function_of_items(tests, first.target, node)
        return _call(_LISTED, [make, keep, first.iter], node)

    visit_GeneratorExp = visit_ListComp


def _call(name: str, arguments: list[ast.expr], node: ast.AST) -> ast.expr:
    made = ast.Call(ast.Name(_hidden(name), ast.Load()), arguments, [])
    return ast.fix_missing_locations(ast.copy_location(made, node))


def _function_of_items(elt: ast.expr, target: ast.expr, node: ast.AST) -> ast.expr:
    """Return lambda items: [elt for target in items]."""
    generator = ast.comprehension(target, ast.Name("<items>", ast.Load()), [], 0)
    arguments = ast.arguments([], [ast.arg("<items>")], None, [], [], None, [])
    return ast.copy_location(ast.Lambda(arguments, ast.ListComp(elt, [generator])), node)


def _translated(function: FunctionType, decorated: Any) -> CodeType:
    """Return the code of a function as the language means it; its own where its text is not found.

    decorated: the @cu function that it is, which may know its text from the user, or None.
    """
    code = function.__code__
    try:
        found = getattr(decorated, "__cu__", None) or source.definition(function)
    except (SourceError, SourceNotFound, SourceChanged, SyntaxRefused):
        return code
    node = ast.fix_missing_locations(_Translation().visit(copy.deepcopy(found.node)))
    made = likeness.compiled(node, code, function.__globals__)
    return code if made is None else _in_file(made, code.co_filename).replace(co_name=code.co_name, co_qualname=code.co_qualname)


def _in_file(code: CodeType, file: str) -> CodeType:
    constants = tuple([_in_file(constant, file) if isinstance(constant, CodeType) else constant for constant in code.co_consts])
    return code.replace(co_filename=file, co_consts=constants)


# ---------------------------------------------------------------------------------------- functions built anew

_RENAMED = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "absolute": "abs", "fabs": "abs", "power": "pow", "amin": "min", "amax": "max", "fmin": "minimum",
    "fmax": "maximum", "mul": "op_mul",
}  # fmt: skip
_MODULES = ("math", "numpy", "operator", "functools", "hotloop", "builtins")  # whose functions are known by their names
_LAST = DEFINITIONS | {_hidden(name): DEFINITIONS[name] for name in _OPERATORS.values()} | {_LISTED: _listed}
BUILTINS = vars(builtins) | _LAST  # what names mean that are bound nowhere else


class _Module:
    """A module of which some functions are definitions."""

    def __init__(self, module: ModuleType, rebuilder: Rebuilder) -> None:
        self._module = module
        self._rebuilder = rebuilder

    def __getattr__(self, name: str) -> Any:
        return self._rebuilder.value(getattr(self._module, name))


class Rebuilder:
    """Builds functions anew, each once, so that those that call one another still do."""

    def __init__(self) -> None:
        self._functions: dict[int, FunctionType] = {}
        self._globals: dict[int, dict[str, Any]] = {}

    def value(self, value: Any) -> Any:
        """Return what stands on `here` for something that a function refers to."""
        if isinstance(value, ModuleType):
            return _Module(value, self) if value.__name__.partition(".")[0] in _MODULES else value
        inner = getattr(value, "__wrapped_function__", None)  # a @cu function, or a primitive
        if inner is not None and not isinstance(value, type):
            return self._function(inner, value) if _is_users(inner) else self.value(inner)
        if isinstance(value, DType) and value.name in DEFINITIONS:
            return DEFINITIONS[value.name]
        known = _definition_of(value)
        if known is not None:
            return known
        return self._function(value) if _is_users(value) else value

    def _function(self, function: FunctionType, decorated: Any = None) -> FunctionType:
        found = self._functions.get(id(function))
        if found is not None:
            return found
        code, cells = _translated(function, decorated), dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        fresh = {name: CellType() for name in code.co_freevars}
        variables = self._globals.get(id(function.__globals__))
        if variables is None:
            variables = self._globals[id(function.__globals__)] = {**function.__globals__, "__builtins__": BUILTINS}
        made = FunctionType(code, variables, function.__name__, None, tuple(fresh.values()))
        self._functions[id(function)] = made  # before what it refers to, which may be itself
        for name in _names(code):
            if name in function.__globals__:
                variables[name] = self.value(function.__globals__[name])
        for name, cell in fresh.items():
            self._fill(cell, cells[name])
        made.__defaults__ = function.__defaults__ and tuple(map(self.value, function.__defaults__))
        made.__kwdefaults__ = function.__kwdefaults__ and {name: self.value(value) for name, value in function.__kwdefaults__.items()}
        return made

    def _fill(self, cell: CellType, old: CellType) -> None:
        try:
            cell.cell_contents = self.value(old.cell_contents)
        except ValueError:  # the variable has no value yet
            return


def _definition_of(value: Any) -> Callable[..., Any] | None:
    """Return the definition that a function of a known module stands for, by its name."""
    name = getattr(value, "__name__", None)
    if not callable(value) or not isinstance(name, str) or (isinstance(value, FunctionType) and _is_ours(value)):
        return None
    if isinstance(value, type) and value not in (int, float, bool, map, filter, zip, range, enumerate, reversed):
        return None  # NumPy's types convert as they are
    module = getattr(value, "__module__", None) or ("numpy" if isinstance(value, np.ufunc) else "")
    if str(module).partition(".")[0].removeprefix("_") not in _MODULES:
        return None
    return DEFINITIONS.get(_RENAMED.get(name, name))


def _is_ours(function: FunctionType) -> bool:
    return (function.__module__ or "").startswith("hotloop.parallel.here") or function.__globals__.get("__builtins__") is BUILTINS


def _is_users(value: Any) -> bool:
    """Whether something is a function that is not yet built anew, of neither hotloop nor NumPy."""
    if not isinstance(value, FunctionType) or _is_ours(value):
        return False
    return (value.__module__ or "").partition(".")[0] not in ("hotloop", "numpy")


def _names(code: CodeType) -> set[str]:
    """Return the global names of a function and of those in it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


