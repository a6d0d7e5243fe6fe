"""`definition`: the syntax tree of a Python function, found in the text it was made from.

`inspect.getsource` returns whole lines, which may hold several lambdas. Here the function's code object decides:
its first line, then the columns of its instructions (PEP 657), then whether the text compiles to the same code.
The last test also finds files that were changed after they were imported.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import io
import linecache
import os
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from types import BuiltinFunctionType, CodeType, FunctionType, MethodDescriptorType, MethodType, MethodWrapperType, WrapperDescriptorType
from typing import Any

import numpy as np

from hotloop.errors import SourceChanged, SourceError, SourceNotFound, SyntaxRefused
from hotloop.ir.graph import user_line
from hotloop.parallel.reading.blame import Origin, refuse
from hotloop.parallel.reading.likeness import (
    Function,
    candidates,
    compiled,
    contains,
    first_line,
    innermost,
    may_become,
    same_code,
)  # fmt: skip

# Where a statement of the module may begin. The other lines continue one, or end its brackets.
_STATEMENT = re.compile(r"(?!(?:else|elif|except|finally)\b)[^\s#)\]}]")
_HEAD = re.compile(r"(?:async\s+)?def\b|class\b")
_KEPT_DEFINITIONS, _KEPT_TREES = 1024, 16
_IN_C = (BuiltinFunctionType, MethodDescriptorType, MethodWrapperType, WrapperDescriptorType, np.ufunc)
_MEANT = "Give a function made by def or lambda."


@dataclass(frozen=True, slots=True)
class Definition:
    """A function's text. node.lineno and all other lines are lines of the file: line 1 is lines[0].

    first_line is where the definition begins, decorators included. name is the qualified one.
    """

    node: ast.FunctionDef | ast.Lambda
    file: str
    lines: Sequence[str]
    first_line: int
    name: str


class _Kept:
    """What was read before. Trees come with the lines they were parsed from, which tell whether they still hold."""

    def __init__(self) -> None:
        self.definitions: dict[int, tuple[CodeType, str | None, Definition]] = {}
        self.texts: dict[int, tuple[CodeType, Sequence[str]]] = {}
        self.trees: dict[tuple[str, int, int], tuple[Sequence[str], ast.Module]] = {}


_kept = _Kept()


def _keep(table: dict[Any, Any], key: object, value: object, limit: int) -> None:
    """Add to a table, and drop what was added first. Other threads may do the same."""
    while len(table) >= limit:
        table.pop(next(iter(list(table)), None), None)
    table[key] = value


def definition(function: Callable[..., Any], source: str | None = None) -> Definition:
    """Return the syntax tree of a function, and where it is.

    function: made by def or lambda; static and class methods and bound methods stand for their functions. A decorator's
    wrapper is read itself, for it is what runs, whatever its __wrapped__ says; one that takes any arguments is refused.
    source: the text, where Python keeps none (exec, python -c). It may be a `def` or a `lambda`, within other statements too.
    Cost: about a millisecond, and below a microsecond for the same function again.
    Raises: SourceError, SourceNotFound, SourceChanged, SyntaxRefused.
    """
    plain = _plain(function)
    code = plain.__code__
    kept = _kept.definitions.get(id(code))
    if kept is not None and kept[0] is code and kept[1] == source:
        return kept[2]
    found = _given(plain, source) if source is not None else _found(plain)
    _keep(_kept.definitions, id(code), (code, source, found), _KEPT_DEFINITIONS)
    return found


def remember(function: Callable[..., Any]) -> None:
    """Read the file of a function at its decoration: what is changed in it until the first call does then not matter.

    Cost: 10 microseconds, and reading each file once. Raises: SourceError if it is no function with a text.
    """
    plain = _plain(function)
    lines = _read(plain)
    if lines:
        _keep(_kept.texts, id(plain.__code__), (plain.__code__, lines), _KEPT_DEFINITIONS)


def _plain(function: Any) -> FunctionType:
    """Return the Python function that an object stands for, or refuse it."""
    while isinstance(function, (staticmethod, classmethod, MethodType)):
        function = function.__func__
    if isinstance(function, functools.partial):
        inner = getattr(function.func, "__name__", repr(function.func))
        raise SourceError(f"{user_line()}: a partial of {inner}() has no text of its own. Write lambda ...: {inner}(...) instead.")
    if isinstance(function, type):
        raise SourceError(f"{user_line()}: {function.__name__} is a class. {_MEANT}")
    if not isinstance(function, FunctionType):
        raise SourceError(f"{user_line()}: {_described(function)} {_MEANT}")
    code = function.__code__
    if hasattr(function, "__wrapped__") and code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        raise SourceError(
            f"{user_line()}: {function.__name__}() is wrapped by {code.co_qualname}() of another decorator, which is what would be read. "
            "Put the decorator of hotloop below it."
        )
    return function


def _described(function: Any) -> str:
    kind, name = type(function).__name__, getattr(function, "__name__", None)
    if not callable(function):
        return f"{function!r:.60} is no function."
    if hasattr(function, "__wrapped__"):
        return f"{name or repr(function)} is a {kind}, made by another decorator. Put the decorator of hotloop below it."
    if isinstance(function, _IN_C):
        return f"{name}() is written in C and has no Python text."
    return f"a {kind} can be called, but is no function."


# ----------------------------------------------------------------------------------- where it is


def _found(function: FunctionType) -> Definition:
    """Find a function in its file as it was at the decoration, or as it is."""
    code = function.__code__
    kept = _kept.texts.pop(id(code), None)
    texts = [kept[1]] if kept is not None and kept[0] is code else []
    now = _read(function)
    if now and now not in texts:
        texts.append(now)
    for lines in texts:
        found = _found_in(lines, code, function.__globals__)
        if found is not None:
            return _definition(found, code.co_filename, lines, code)
    name = code.co_qualname
    if texts:
        raise SourceChanged(
            f"{user_line()}: {os.path.basename(code.co_filename)}:{code.co_firstlineno} no longer holds the text of {name}(): "
            "the file was changed after it was imported. Start Python again, or import it anew."
        )
    shape = "lambda ..." if code.co_name == "<lambda>" else f"def {code.co_name}(...): ..."
    raise SourceNotFound(
        f"{user_line()}: the text of {name}() is nowhere: {code.co_filename} is no file that can be read. "
        f'Put it into a file, or into an IPython cell, or give its text: source="{shape}".'
    )


def _read(function: FunctionType) -> Sequence[str]:
    """Return all lines of a function's file, or of what stands for it in linecache; none if there is no text."""
    file = function.__code__.co_filename
    linecache.checkcache(file)
    lines = linecache.getlines(file, function.__globals__)
    if not lines:
        with contextlib.suppress(OSError, TypeError):
            lines = inspect.findsource(function)[0]  # knows where newer versions keep what was typed
    return lines


def _found_in(lines: Sequence[str], code: CodeType, variables: dict[str, Any]) -> Function | None:
    """Find a function in a text: first in the lines that probably make it, then in all."""
    for guess in (_block, _statement):
        tree = _tree(code.co_filename, lines, *guess(lines, code.co_firstlineno))
        found = _chosen(candidates(tree, code.co_name, code.co_firstlineno), code, variables)
        if found is not None:
            return found
    return _found_in_all(lines, code, variables)


def _block(lines: Sequence[str], line: int) -> tuple[int, int]:
    """Guess which lines, counted from 0, make the statement that begins on a line, at any depth.

    A guess: strings and brackets may hold anything. It spares the parsing of the whole file where it is right.
    """
    first = last = min(line, len(lines)) - 1
    depth = _depth(lines[first])
    if lines[first].startswith("@", depth):
        while last + 1 < len(lines) and not _HEAD.match(lines[last], depth):
            last += 1
    last += 1
    while last < len(lines) and (_depth(lines[last]) > depth or not _STATEMENT.match(lines[last], _depth(lines[last]))):
        last += 1
    return first, last


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _statement(lines: Sequence[str], line: int) -> tuple[int, int]:
    """Guess which lines make the statement of the module that holds a line."""
    first = min(line, len(lines)) - 1
    while first > 0 and not _STATEMENT.match(lines[first]):
        first -= 1
    last = max(_block(lines, first + 1)[1], line)
    while last < len(lines) and not _STATEMENT.match(lines[last]):
        last += 1
    return first, last


def _tree(file: str, lines: Sequence[str], first: int, last: int) -> ast.Module:
    """Parse some lines of a file, indented or not; nothing if they are not Python."""
    key = (file, first, last)
    kept = _kept.trees.get(key)
    if kept is not None and kept[0] is lines:
        return kept[1]
    indented = first > 0 and lines[first][:1].isspace()
    before = "\n" * (first - 1) + "if 1:\n" if indented else "\n" * first
    text = before + "".join(line if line.endswith("\n") else line + "\n" for line in lines[first:last])
    tree = ast.Module([], [])
    with contextlib.suppress(SyntaxError, ValueError, RecursionError):
        tree = _quietly(ast.parse, text)
    _keep(_kept.trees, key, (lines, tree), _KEPT_TREES)
    return tree


def _found_in_all(lines: Sequence[str], code: CodeType, variables: dict[str, Any]) -> Function | None:
    tree = _tree(code.co_filename, lines, 0, len(lines))
    here = candidates(tree, code.co_name, code.co_firstlineno)
    found = _chosen(here, code, variables)
    if found is None and (not _is_strict(code, variables) or _quietly(contains, tree, code)):
        found = _chosen(here, code, variables, may_become)
    return found


def _is_strict(code: CodeType, variables: dict[str, Any]) -> bool:
    """Whether Python itself compiled the text, so that it must give the same code. Import hooks, as pytest's, may add to it."""
    file = code.co_filename
    return type(variables.get("__loader__")) is SourceFileLoader or (file.startswith("<") and not file.startswith("<ipython"))


def _chosen(
    found: list[Function], code: CodeType, variables: dict[str, Any], alike: Callable[[CodeType, CodeType], bool] = same_code
) -> Function | None:
    """Return the function of the text that compiles to a code object, or to what is like it; None if there is none."""
    fitting = []
    for candidate in innermost(found, code):
        text = _quietly(compiled, candidate, code, variables)
        if text is not None and alike(text, code):
            fitting.append(candidate)
    if len(fitting) > 1 and len({ast.dump(candidate) for candidate in fitting}) > 1:
        place = f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}" if code.co_linetable else "source="
        raise SourceError(
            f"{user_line()}: {place} holds {len(fitting)} lambdas that may be meant, and no columns are known "
            "(-X no_debug_ranges or PYTHONNODEBUGRANGES hides them). Write each on a line of its own."
        )
    return fitting[0] if fitting else None


def _quietly(action: Callable[..., Any], *arguments: Any) -> Any:
    """Call without warnings: what Python has to say about the text, it said when it was imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return action(*arguments)


# -------------------------------------------------------------------------------- text that is given


def _given(function: FunctionType, source: str) -> Definition:
    """Find a function in a text that the user gives, at any line."""
    code = function.__code__
    file = f"<source of {code.co_qualname}>"
    text = textwrap.dedent(source.replace("\r\n", "\n"))
    lines = [line if line.endswith("\n") else line + "\n" for line in io.StringIO(text)]
    try:
        tree = _quietly(ast.parse, "".join(lines), file)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise SourceError(f"{user_line()}: source= of {code.co_qualname}() is no Python: {error}.") from None
    found = candidates(tree, code.co_name)
    code = code.replace(co_linetable=b"")  # its columns are those of another text
    chosen = _chosen(found, code, function.__globals__) or _chosen(found, code, function.__globals__, may_become)
    if chosen is None:
        kind = "lambda" if code.co_name == "<lambda>" else f"def {code.co_name}"
        raise SourceChanged(f"{user_line()}: source= holds no {kind} that this function was made from: {source.strip()!r:.60}.")
    return _definition(chosen, file, lines, code)


# ------------------------------------------------------------------------------------ what is refused


def _definition(node: Function, file: str, lines: Sequence[str], code: CodeType) -> Definition:
    """Return the definition, unless the function is of a kind that is refused."""
    name = code.co_qualname
    if isinstance(node, ast.AsyncFunctionDef):
        message = f"{name}() is asynchronous, which a data-parallel function is not. Write def."
        raise refuse(SyntaxRefused, _origin(node, file, lines), message)
    if code.co_flags & inspect.CO_GENERATOR:
        message = f"{name}() is a generator, which a data-parallel function is not. Return a sequence: a comprehension, or map()."
        raise refuse(SyntaxRefused, _origin(_yield(node), file, lines), message)
    return Definition(node, file, lines, first_line(node) or node.lineno, name)


def _origin(node: ast.expr | ast.stmt, file: str, lines: Sequence[str]) -> Origin:
    return Origin(file, node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or node.col_offset, lines)


def _yield(node: ast.FunctionDef | ast.Lambda) -> ast.expr | ast.stmt:
    """Return the first yield that is the function's own, not an inner one's."""
    waiting: list[ast.AST] = list(node.body) if isinstance(node, ast.FunctionDef) else [node.body]
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, (ast.Yield, ast.YieldFrom)):
            return part
        if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            waiting = [*ast.iter_child_nodes(part), *waiting]
    return node
