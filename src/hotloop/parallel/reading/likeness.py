"""Whether a piece of a syntax tree is what a code object was made from: its line, its columns, and the code it compiles to."""

from __future__ import annotations
import __future__

import ast
import copy
from collections.abc import Iterator
from types import CodeType, ModuleType
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Range = tuple[int, int, int, int]  # line, column, last line, column after the end

_FUTURES = 0
for _name in __future__.all_feature_names:
    _FUTURES |= getattr(__future__, _name).compiler_flag

_KINDS = 0x04 | 0x08 | 0x20 | 0x80 | 0x200  # *args, **kwargs, generator, coroutine, both: what a code's flags say of its text
_NAMELESS = "."  # a name that no text can hold


def candidates(tree: ast.AST, name: str, line: int | None = None) -> list[Function]:
    """Return the functions with a code object's name that begin on its line (None: anywhere)."""
    found: list[Function] = []
    waiting = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            first = first_line(node)
            if line is not None and first is not None and not first <= line <= (getattr(node, "end_lineno", None) or first):
                continue
            if isinstance(node, Function) and getattr(node, "name", "<lambda>") == name and line in (None, first):
                found.append(node)
            waiting.append(node)
    return found


def first_line(node: ast.AST) -> int | None:
    """Return the line where a node begins, decorators included, which is where code objects begin."""
    decorators = getattr(node, "decorator_list", None)
    line: int | None = getattr(decorators[0] if decorators else node, "lineno", None)
    return line


# --------------------------------------------------------------------------------------- columns


def _ranges(code: CodeType) -> list[Range]:
    """Return where in the text the instructions of a code object come from; nothing without debug ranges."""
    found = []
    for position in code.co_positions():
        line, end_line, column, end_column = position
        if line is None or end_line is None or column is None or end_column is None:
            continue
        if (line, column) != (end_line, end_column):  # else the instruction enters the function, and stands for no text
            found.append((line, column, end_line, end_column))
    return found


def innermost(found: list[Function], code: CodeType) -> list[Function]:
    """Return the lambdas that hold a code object's instructions in their bodies: of nested ones the inner.

    An instruction of the outer one is never inside the body of the inner one, which has a code object of its own.
    """
    known = _ranges(code) if code.co_name == "<lambda>" else []  # a def shares its first line with no other
    if not known:
        return found
    holding = [one for one in found if isinstance(one, ast.Lambda) and all(_holds(one, piece) for piece in known)]
    return [one for one in holding if not any(other is not one and _inside(other, one) for other in holding)]


def _holds(function: ast.Lambda, piece: Range) -> bool:
    low, high = _range(function.body)
    return low <= piece[:2] and piece[2:] <= high


def _inside(inner: Function, outer: Function) -> bool:
    low, high = _range(outer)
    start, end = _range(inner)
    return low <= start and end <= high


def _range(node: ast.expr | Function) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)


# ------------------------------------------------------------------------------------------ code


# Any: ast's constructors take fields of many types. 3.11 has no type parameters
_PLACE: dict[str, Any] = {"lineno": 1, "col_offset": 0, "end_lineno": 1, "end_col_offset": 0}
_NO_TYPES: dict[str, Any] = {"type_params": []} if "type_params" in ast.FunctionDef._fields else {}


def compiled(function: Function, code: CodeType, variables: dict[str, Any]) -> CodeType | None:
    """Compile a function of the text by itself, in surroundings like those of a code object; None where Python refuses.

    variables: its globals, since Python compiles calls of what modules and imported classes hold in another way.
    """
    node = copy.copy(function)
    node.args = copy.copy(node.args)  # defaults and decorators are code of the surroundings
    node.args.defaults, node.args.kw_defaults = [], [None] * len(node.args.kwonlyargs)
    inner: ast.stmt
    if isinstance(node, ast.Lambda):
        inner, name = ast.Expr(node, **_PLACE), "<lambda>"
    else:
        # Renamed: else its own name, which may be a global's, would be one of the surroundings
        node.decorator_list, node.name, inner, name = [], _NAMELESS, node, _NAMELESS
        node.__dict__.update(type_params=[])
    around: ast.stmt = ast.FunctionDef(_NAMELESS * 2, _arguments(code.co_freevars), [inner], [], **_NO_TYPES, **_PLACE)
    owner = _owner(code.co_qualname)
    if owner is not None:
        around = ast.ClassDef(owner, [], [], [around], [], **_NO_TYPES, **_PLACE)
    imports = [ast.alias(name, **_PLACE) for name in _imported(code, variables)]
    module = ast.Module([ast.Import(imports, **_PLACE), around] if imports else [around], [])
    try:
        whole = compile(module, "<text>", "exec", code.co_flags & _FUTURES, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return None
    return next((piece for piece in pieces(whole) if piece.co_name == name), None)


def _imported(code: CodeType, variables: dict[str, Any]) -> set[str]:
    """Guess which names of a function its module imports: modules, and classes of other modules."""
    found = set()
    for name in {name for piece in pieces(code) for name in piece.co_names}:
        value = variables.get(name)
        if isinstance(value, ModuleType) or (isinstance(value, type) and value.__module__ != variables.get("__name__")):
            found.add(name)
    return found


def _owner(name: str) -> str | None:
    """Return the innermost class around a function, by whose name its private names are called. name: the qualified one."""
    for part in reversed(name.split(".<locals>.")):
        classes = part.split(".")[:-1]
        if classes:
            return classes[-1]
    return None


def _arguments(names: tuple[str, ...]) -> ast.arguments:
    return ast.arguments([], [ast.arg(name, **_PLACE) for name in names], None, [], [], None, [])


def pieces(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all that it holds, outer ones first."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from pieces(constant)


def same_code(one: CodeType, other: CodeType) -> bool:
    """Whether two code objects do the same, wherever they come from. Constants are compared with their types."""
    return _bare(one).replace(co_name="") == _bare(other).replace(co_name="")


def contains(tree: ast.Module, code: CodeType) -> bool:
    """Whether a whole module's text compiles to something with this code object in it."""
    try:
        whole = compile(tree, "<text>", "exec", code.co_flags & _FUTURES, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return False
    place = (code.co_firstlineno, code.co_name, code.co_qualname)
    return any((piece.co_firstlineno, piece.co_name, piece.co_qualname) == place and same_code(piece, code) for piece in pieces(whole))


def _bare(code: CodeType) -> CodeType:
    """Return a code object without what depends on its file. The copy also forgets what Python has specialised."""
    constants = tuple(_bare(constant) if isinstance(constant, CodeType) else constant for constant in _constants(code))
    return code.replace(
        co_consts=constants, co_filename="", co_qualname="", co_firstlineno=1, co_linetable=b"", co_flags=code.co_flags & _KINDS
    )  # fmt: skip


def _constants(code: CodeType) -> tuple[object, ...]:
    """Return the constants of a code object, without the place of a class in its module that the class's own code has among them."""
    if code.co_flags & 0x02:  # a function
        return code.co_consts
    return tuple("" if constant == code.co_qualname else constant for constant in code.co_consts)


def may_become(text: CodeType, code: CodeType) -> bool:
    """Whether code may have been made from the same text as `text` by tools that add to it, as pytest does to assert.

    The arguments are equal, and all names and numbers of the text occur.
    """
    if _signature(text) != _signature(code):
        return False
    return _atoms(text) <= _atoms(code)


def _signature(code: CodeType) -> tuple[object, ...]:
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)
    return code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _KINDS, code.co_varnames[:count]


def _atoms(code: CodeType) -> set[tuple[str, object]]:
    """Return the names and the constants of a code object and all it holds; type and repr tell 1, 1.0, True and -0.0 apart."""
    found: set[tuple[str, object]] = set()
    for piece in pieces(code):
        names = (*piece.co_names, *piece.co_varnames, *piece.co_freevars, *piece.co_cellvars)
        found.update(("name", name) for name in names)
        waiting: list[object] = [constant for constant in _constants(piece) if not isinstance(constant, CodeType)]
        while waiting:
            constant = waiting.pop()
            if isinstance(constant, (tuple, frozenset)):
                waiting.extend(constant)
            elif constant is not None:
                found.add((type(constant).__name__, constant if isinstance(constant, int) else repr(constant)))
    return found
