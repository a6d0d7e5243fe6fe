"""Names: what a name of a `@cu` function means where it is used."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

from hotloop.parallel.interpreter.values import Value

if TYPE_CHECKING:
    from hotloop.parallel.reading.source import Definition

RETURNED, RESULT, BROKE, CONTINUED = "<returned>", "<result>", "<broke>", "<continued>"  # variables of the interpreter
FLAGS = (RETURNED, RESULT, BROKE, CONTINUED)
MISSING = object()


@dataclass(slots=True, eq=False)
class Scope:
    """Variables of one call of a function, or of a comprehension in it.

    parent: the scope around it, as it was when the function was defined. outer: the Python function whose
    closure and module come last.
    """

    definition: Definition
    parent: Scope | None
    outer: FunctionType | None
    values: dict[str, Value] = field(default_factory=dict)

    def find(self, name: str) -> Value:
        """Return the value of a variable, or MISSING."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.parent
        return MISSING

    def copy(self) -> Scope:
        """Return a scope with the same variables, for one side of a choice."""
        return Scope(self.definition, self.parent, self.outer, dict(self.values))

    def inner(self) -> Scope:
        """Return a scope within this one, which sees its variables as they are now."""
        return Scope(self.definition, self.copy(), self.outer)


def python_value(function: FunctionType | None, name: str) -> tuple[Any, tuple[Any, ...] | None]:
    """Return what a free name of a Python function is, and how to find it again; (MISSING, None) if it is nothing.

    The way is ("cell", cell), ("global", dict, name), or ("builtin", name).
    """
    if function is None:
        return MISSING, None
    free = function.__code__.co_freevars
    if name in free and function.__closure__ is not None:
        cell = function.__closure__[free.index(name)]
        try:
            return cell.cell_contents, ("cell", cell)
        except ValueError:
            return MISSING, None
    if name in function.__globals__:
        return function.__globals__[name], ("global", function.__globals__, name)
    if hasattr(builtins, name):
        return getattr(builtins, name), ("builtin", name)
    return MISSING, None


def found_again(way: tuple[Any, ...]) -> Any:
    """Return the object that is found now where one was found before."""
    kind, where, *name = way
    if kind == "default":
        return where.__defaults__[name[0]] if where.__defaults__ else MISSING
    if kind == "keyword default":
        return (where.__kwdefaults__ or {}).get(name[0], MISSING)
    if kind == "cell":
        try:
            return where.cell_contents
        except ValueError:
            return MISSING
    return where.get(name[0], MISSING) if kind == "global" else getattr(builtins, where, MISSING)


# ---------------------------------------------------------------------------------- what statements do to names


class _Assigned(ast.NodeVisitor):
    """Collects names that statements assign, not those inside of functions and comprehensions."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.names[node.id] = None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.names[node.name] = None

    def visit_Return(self, node: ast.Return) -> None:
        self.names[RETURNED] = self.names[RESULT] = None

    def visit_Break(self, node: ast.Break) -> None:
        self.names[BROKE] = None

    def visit_Continue(self, node: ast.Continue) -> None:
        self.names[CONTINUED] = None

    def visit_While(self, node: ast.While | ast.For) -> None:
        known = {name: name in self.names for name in (BROKE, CONTINUED)}
        self.generic_visit(node)
        for name, before in known.items():  # those of an inner loop are its own
            if not before:
                self.names.pop(name, None)

    visit_For = visit_While

    def _skip(self, node: ast.AST) -> None:
        pass

    visit_Lambda = visit_ListComp = visit_GeneratorExp = visit_SetComp = visit_DictComp = _skip


def assigned(statements: Iterable[ast.stmt]) -> list[str]:
    """Return the names that statements assign, flags of the interpreter among them."""
    visitor = _Assigned()
    for statement in statements:
        visitor.visit(statement)
    return list(visitor.names)


def always_stops(statements: list[ast.stmt]) -> bool:
    """Whether no path leads to what follows these statements."""
    return any(_stops(statement) for statement in statements)


def _stops(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.Return, ast.Break, ast.Continue)):
        return True
    if isinstance(statement, ast.If):
        return always_stops(statement.body) and always_stops(statement.orelse)
    if isinstance(statement, ast.While):
        endless = isinstance(statement.test, ast.Constant) and bool(statement.test.value)
        return endless and BROKE not in assigned(statement.body)
    return False


def loaded(node: ast.AST) -> set[str]:
    """Return all names that are read in a piece of source."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


@lru_cache(maxsize=4096)
def calls_itself(node: ast.FunctionDef) -> bool:
    """Whether a function calls a function of its own name, other than from inside of functions within it."""
    return any(isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == node.name for n in ast.walk(node))
