"""The rules of the code base that no linter knows: sizes, docstrings, rows, stubs, who imports what."""

import ast
import importlib
import inspect
import itertools
import re
from pathlib import Path

import pytest

import hotloop as hl
from hotloop.ir.op import REGISTRY

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "hotloop"
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in FILES}
MODULES = pytest.mark.parametrize("name", TREES)

FILE_LINES = 600
FUNCTION_LINES = 60
STRUCTURE = {"at", "const", "input", "state", "param", "loop", "item", "kernel", "result", "lookup", "room", "update"}  # beside operations
EXTENSIONS = ("_graph", "_emit", "_runner")


def is_op_name(node):
    """Whether an expression is the name of an operation: `op.name`, `row.name`, `node.op.name`."""
    if not (isinstance(node, ast.Attribute) and node.attr == "name"):
        return False
    owner = node.value
    return (isinstance(owner, ast.Name) and owner.id in ("op", "row")) or (isinstance(owner, ast.Attribute) and owner.attr == "op")


def decides(node):
    """The expressions that a piece of code decides by."""
    match node:
        case ast.Compare():
            return [node.left, *node.comparators]
        case ast.Match():
            return [node.subject]
        case ast.Subscript():
            return [node.slice]
        case ast.Call(func=ast.Attribute(attr="get")):
            return node.args
    return []


@MODULES
def test_nothing_outside_of_ops_branches_on_the_name_of_an_operation(name):
    if not name.startswith("ops/") and name != "ir/op.py":
        assert [node.lineno for node in ast.walk(TREES[name]) if any(map(is_op_name, decides(node)))] == []


def test_a_branch_on_the_name_of_an_operation_is_found():
    found = ["op.name == 'add'", "node.op.name in KNOWN", "TABLE[row.name]", "TABLE.get(node.op.name)", "match op.name:\n case 'add': pass"]
    for text in found:
        assert any(any(map(is_op_name, decides(node))) for node in ast.walk(ast.parse(text))), text


@MODULES
def test_files_and_functions_are_short(name):
    assert len((SOURCE / name).read_text().splitlines()) <= FILE_LINES
    functions = [node for node in ast.walk(TREES[name]) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert [f.name for f in functions if f.end_lineno - f.lineno + 1 > FUNCTION_LINES] == []


@MODULES
def test_modules_say_what_they_hold(name):
    assert ast.get_docstring(TREES[name])


@MODULES
def test_nothing_imports_what_is_there_at_build_time_only(name):
    found = {alias.name for node in ast.walk(TREES[name]) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(TREES[name]) if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in found} & {"stencilgen", "ziglang"} == set()


def test_what_is_to_be_done_has_an_issue():
    marks = re.compile(r"\b(TODO|FIXME|XXX)\b(?! #\d+)")
    files = itertools.chain(*[(ROOT / top).rglob(ending) for top in ("src", "runner", "stencilgen") for ending in ("*.py", "*.[ch]")])
    assert [str(path) for path in files if marks.search(path.read_text())] == []


@pytest.mark.parametrize("name", hl.__all__)
def test_public_names_exist_and_have_docstrings(name):
    assert inspect.getdoc(getattr(hl, name))


def test_public_names_are_listed_once_and_in_order():
    assert len(set(hl.__all__)) == len(hl.__all__)
    held = {name for name, value in vars(hl).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert held <= set(hl.__all__)


def test_the_stencils_of_this_machine_have_a_name():
    assert hl.generic_sdb is hl.generic_sdb
    assert hl.generic_sdb.meta["target"] in ("x86-64-v2", "x86-64-v3")
    assert "add.f32.f32" in hl.generic_sdb.names
    assert "generic_sdb" not in vars(hl)  # loaded when asked for, not by the import
    with pytest.raises(AttributeError, match="module 'hotloop' has no attribute 'nothing'"):
        hl.nothing  # noqa: B018 - asking is the test


@pytest.mark.parametrize("row", REGISTRY.values(), ids=str)
def test_a_row_has_c_or_lower_or_is_structural_and_a_line_of_documentation(row):
    assert (row.c is not None) + (row.lower is not None) + (row.name in STRUCTURE) == 1
    assert row.doc.endswith(".") or row.name in STRUCTURE
    assert "\n" not in row.doc


@pytest.mark.parametrize("name", EXTENSIONS)
def test_stubs_name_what_the_extensions_have(name):
    module = importlib.import_module(f"hotloop.{name}")
    stub = ast.parse((SOURCE / f"{name}.pyi").read_text())
    assert ast.get_docstring(stub)
    assert names(stub) == {key for key in vars(module) if not key.startswith("_")}
    for found in [node for node in stub.body if isinstance(node, ast.ClassDef)]:
        members = vars(getattr(module, found.name))
        assert names(found) == {key for key in members if not key.startswith("_")}, found.name
        assert {node.name for node in found.body if isinstance(node, ast.FunctionDef)} <= {*members, "__new__", "__buffer__"}, found.name


def names(parent):
    """The public names that a stub or a class of it declares."""
    found = {node.name for node in parent.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    found |= {node.target.id for node in parent.body if isinstance(node, ast.AnnAssign)}
    return {key for key in found if not key.startswith("_")}
