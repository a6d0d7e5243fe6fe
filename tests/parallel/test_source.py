"""definition: every way to write a function, texts that are nowhere or changed, and what is refused."""

import ast
import dis
import functools
import importlib.util
import linecache
import os
import subprocess
import sys
import textwrap
import time
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import HotloopError, SourceChanged, SourceError, SourceNotFound, SyntaxRefused
from hotloop.parallel.reading import source as module
from hotloop.parallel.reading.source import definition, remember


def text(function, **given):
    """The text of a function as Python would write it."""
    return ast.unparse(definition(function, **given).node)


def load(path, code, name="loaded"):
    """Import a file, as Python does."""
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def run(*arguments, code, error=False):
    """Run Python, and return what it prints."""
    done = subprocess.run([sys.executable, *arguments], input=code, capture_output=True, text=True, check=False, env={**os.environ})
    assert error or done.returncode == 0, done.stderr
    return done.stdout + (done.stderr if error else "")


@pytest.fixture
def imported(tmp_path):
    return lambda code: load(tmp_path / "loaded.py", code)


@pytest.fixture
def executed():
    """Execute a text that linecache knows, as IPython does with cells."""

    def execute(code, name="<cell 1>"):
        code = textwrap.dedent(code)
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        space = {}
        exec(compile(code, name, "exec"), space)
        return types.SimpleNamespace(**space)

    before = dict(linecache.cache)
    yield execute
    linecache.cache.clear()
    linecache.cache.update(before)


# -------------------------------------------------------------------------------- functions made by def


def plain(x, y):
    """Have a docstring."""
    return x + y


def test_a_function_of_a_module_is_found_at_its_lines():
    found = definition(plain)
    assert isinstance(found.node, ast.FunctionDef)
    assert found.file == __file__
    assert found.name == "plain"
    assert found.lines[found.node.lineno - 1] == "def plain(x, y):\n"
    assert found.lines[found.node.end_lineno - 1] == "    return x + y\n"
    assert found.first_line == found.node.lineno == plain.__code__.co_firstlineno


def test_the_same_function_again_is_the_same_definition():
    assert definition(plain) is definition(plain)


def keep(function):
    return function


def keep_with(*arguments):
    return keep


@keep
@keep_with(
    1,
    2,
)
@keep
def decorated(x):
    return x * 3


@keep_with(lambda x: x * 4)
def decorated_with_a_lambda(x):
    return x * 5


def test_decorators_begin_a_definition():
    found = definition(decorated)
    assert found.lines[found.first_line - 1] == "@keep\n"
    assert found.lines[found.node.lineno - 1] == "def decorated(x):\n"
    assert text(decorated_with_a_lambda).endswith("return x * 5")


def test_nested_functions_are_found_with_their_variables():
    scale = 2.0

    def outer():
        def inner(x):
            return x * scale

        return inner

    found = definition(outer())
    assert found.name.endswith("<locals>.outer.<locals>.inner")
    assert ast.unparse(found.node) == "def inner(x):\n    return x * scale"


class Holder:
    """Functions of a class."""

    __factor = 3

    @staticmethod
    def static(x):
        return x - 1

    @classmethod
    def of_class(cls, x):
        return x - 2

    def method(self, x):
        return x - self.__factor

    def parent(self):
        return super().__repr__() + repr(lambda: __class__)

    attribute = lambda x: x + 7  # noqa: E731 - the test is about such lambdas


@pytest.mark.parametrize(
    ("function", "ending"),
    [
        (Holder.static, "return x - 1"),
        (Holder.__dict__["static"], "return x - 1"),
        (Holder.of_class, "return x - 2"),
        (Holder.__dict__["of_class"], "return x - 2"),
        (Holder.method, "return x - self.__factor"),
        (Holder().method, "return x - self.__factor"),
        (Holder.parent, "return super().__repr__() + repr(lambda: __class__)"),
        (Holder.attribute, "lambda x: x + 7"),
    ],
)
def test_functions_of_classes(function, ending):
    assert text(function).endswith(ending)


def recursive(n):
    return 1 if n < 2 else n * recursive(n - 1)


def with_defaults(x, /, y=lambda: 3, *rest, z: "float" = 4.0, **others) -> "float":
    return x + z


def with_modules(x):
    return [np.sqrt(v) + ast.literal_eval("1") for v in x]


def with_a_class(x):
    class Inside:
        y = 1

    return Inside


@pytest.mark.parametrize("function", [recursive, with_defaults, with_modules, with_a_class])
def test_other_functions(function):
    assert definition(function).node.name == function.__name__


def test_a_function_that_asserts_is_found_though_pytest_rewrites_it():
    def asserting(x):
        assert x > 0, "positive"
        return x

    assert "assert x > 0" in text(asserting)


def test_definitions_in_branches_and_brackets(imported):
    found = imported("""
        try:
            from nowhere import f
        except ImportError:
            def f(x):
                return x + 1
        if f is None:
            pass
        else:
            def g(x): return x + 2
        table = [
        lambda x: x + 3,
        ]
        quoted = '''
        def h(x): return 0
        '''; h = lambda x: x + 4
        def long(x,
                 y):
            '''
        Text that begins at the margin
            '''
            return x
    """)
    assert text(found.f).endswith("x + 1")
    assert text(found.g).endswith("x + 2")
    assert text(found.table[0]).endswith("x + 3")
    assert text(found.h).endswith("x + 4")
    assert text(found.long).endswith("return x")


def test_methods_of_what_the_module_imports(imported):
    found = imported("""
        import math
        from fractions import Fraction
        from os import environ
        def f(x): return math.sqrt(x)
        def g(x): return [Fraction.from_float(v) for v in x]
        def h(x): return environ.get(x)  # Python compiles calls of an imported name's methods in another way
    """)
    assert [text(f)[4:5] for f in (found.f, found.g, found.h)] == ["f", "g", "h"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig"])
def test_other_encodings(tmp_path, encoding):
    path = tmp_path / "coded.py"
    cookie = f"# -*- coding: {encoding} -*-\r\n" if encoding == "latin-1" else ""
    path.write_bytes(f"{cookie}f, g = 'ä', [lambda ü: ü + 'ö', lambda ü: ü + 'ß']\r\n".encode(encoding))
    spec = importlib.util.spec_from_file_location("coded", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    assert [text(f) for f in found.g] == ["lambda ü: ü + 'ö'", "lambda ü: ü + 'ß'"]


# --------------------------------------------------------------------------------------- lambdas

# fmt: off
one, two = lambda x: x + 1, lambda x: x + 2
twins = [lambda x: x + 1, lambda x: x + 1]
constants = [lambda: 1, lambda: 2, lambda: 1, lambda: True, lambda: 1.0]
nested = lambda x: lambda y: lambda z: (x, y, z)  # noqa: E731
across = [lambda x: (
    x + 1), lambda x: (x
    + 2), lambda x:
    x + 3]
comprehended = [(lambda a, i=i: a + i, lambda a, i=i: a - i) for i in range(2)]
default = lambda f=lambda x: x * 2: f  # noqa: E731
chosen = (lambda x: x) if constants else (lambda x: -x)
called = (lambda f: f)(lambda x: x ** 2)
formatted = [f"{(lambda x: x)}", (lambda x: not x)]
wide = ["äöü", lambda x: x + 1, "漢字", lambda x: x + 2]
generated = lambda x: [v * 2 for v in x if (lambda w: w > 0)(v)]  # noqa: E731
def local(scale): return [lambda x: x * scale, lambda x: x / scale]
# fmt: on


@pytest.mark.parametrize(
    ("function", "want"),
    [
        (one, "lambda x: x + 1"),
        (two, "lambda x: x + 2"),
        (constants[1], "lambda: 2"),
        (constants[3], "lambda: True"),
        (constants[4], "lambda: 1.0"),
        (nested, "lambda x: lambda y: lambda z: (x, y, z)"),
        (nested(1), "lambda y: lambda z: (x, y, z)"),
        (nested(1)(2), "lambda z: (x, y, z)"),
        (across[0], "lambda x: x + 1"),
        (across[1], "lambda x: x + 2"),
        (across[2], "lambda x: x + 3"),
        (comprehended[0][0], "lambda a, i=i: a + i"),
        (comprehended[1][1], "lambda a, i=i: a - i"),
        (default, "lambda f=lambda x: x * 2: f"),
        (default(), "lambda x: x * 2"),
        (chosen, "lambda x: x"),
        (called, "lambda x: x ** 2"),
        (formatted[1], "lambda x: not x"),
        (wide[1], "lambda x: x + 1"),
        (wide[3], "lambda x: x + 2"),
        (generated, "lambda x: [v * 2 for v in x if (lambda w: w > 0)(v)]"),
        (local(2)[0], "lambda x: x * scale"),
        (local(2)[1], "lambda x: x / scale"),
    ],
)
def test_lambdas(function, want):
    assert text(function) == want


@pytest.mark.parametrize("place", range(2))
def test_equal_lambdas_on_one_line_are_told_apart_by_their_columns(place):
    line = "twins = [lambda x: x + 1, lambda x: x + 1]"
    assert definition(twins[place]).node.col_offset == [line.index("lambda"), line.rindex("lambda")][place]


BODIES = st.recursive(
    st.sampled_from(["x", "1", "-2.5", "scale", "'ä'", "None", "x if scale else 1", "(1 if x else 2)", "[v for v in x]"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda body: f"(lambda y: {body})"),
        inner.map(lambda body: f"(lambda x, y={body}: {body})"),
        inner.map(lambda body: f"[(lambda v: {body}) for v in x]"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]},\n  {t[1]})"),
    ),
    max_leaves=8,
)


def made_by(code, found):
    """Where the text of each lambda of a code object is, by the instruction that makes it."""
    for instruction in dis.get_instructions(code):
        if isinstance(instruction.argval, types.CodeType):
            made_by(instruction.argval, found)
            if instruction.argval.co_name == "<lambda>":
                found.append((instruction.argval, instruction.positions))
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(BODIES, min_size=1, max_size=30))
def test_any_lambdas_on_any_lines(bodies):
    line = "def f(scale): return [" + ", ".join(f"lambda x: {body}" for body in bodies) + "]\n"
    linecache.cache["<lambdas>"] = (len(line), None, line.splitlines(True), "<lambdas>")
    try:
        made = made_by(compile(line, "<lambdas>", "exec"), [])
        assert len(made) >= len(bodies)
        for code, position in made:
            found = definition(types.FunctionType(code, {}, closure=tuple(types.CellType() for _ in code.co_freevars))).node
            if any(start != end for _, _, start, end in code.co_positions() if start is not None):
                place = found.lineno, found.end_lineno, found.col_offset, found.end_col_offset
                assert place == tuple(position)
            else:  # 3.12 keeps no columns of constants
                assert ast.unparse(found) == ast.unparse(ast.parse(ast.get_source_segment(line, ast.Constant(0, **_place(position)))))
    finally:
        del linecache.cache["<lambdas>"]


def _place(position):
    return {"lineno": position[0], "end_lineno": position[1], "col_offset": position[2], "end_col_offset": position[3]}


def test_hundreds_of_lambdas_on_one_line(executed):
    many = executed("many = [" + ", ".join(f"lambda x: x + {i}" for i in range(300)) + "]\n").many
    for i in (0, 1, 150, 299):
        assert text(many[i]) == f"lambda x: x + {i}"


# -------------------------------------------------------------------------- where texts are, or are not


def test_cells_are_found_by_their_names_in_linecache(executed):
    found = executed("""
        def f(x):
            return x + 1
        g = [lambda x: x, lambda y: y]
    """)
    assert text(found.f) == "def f(x):\n    return x + 1"
    assert text(found.g[1]) == "lambda y: y"
    assert definition(found.f).file == "<cell 1>"


def test_lines_of_linecache_without_ends(executed):
    found = executed("def f(x):\n    return x + 1")
    linecache.cache["<cell 1>"] = (0, None, ["def f(x):", "    return x + 1"], "<cell 1>")
    assert text(found.f).endswith("x + 1")


def test_a_later_cell_of_the_same_name_is_another_text(executed):
    old = executed("f = lambda x: x + 1").f
    new = executed("f = lambda x: x - 1").f
    assert text(new) == "lambda x: x - 1"
    with pytest.raises(SourceChanged, match=r"test_source.py:\d+: <cell 1>:1 no longer holds the text of <lambda>\(\)"):
        definition(old)


def without_text(code="def f(x):\n    return x + 1", name="f"):
    space = {}
    exec(code, space)
    return space[name]


def test_a_text_that_is_nowhere_is_missed_with_the_cures():
    cures = r"file, or into an IPython cell, or give its text: source=\"def f\(\.\.\.\): \.\.\.\""
    message = r"test_source.py:\d+: the text of f\(\) is nowhere: <string> is no file that can be read. Put it into a " + cures
    with pytest.raises(SourceNotFound, match=message):
        definition(without_text())
    with pytest.raises(OSError, match=r"source=\"lambda \.\.\.\""):
        definition(without_text("f = lambda x: x"))


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    return x + 1",
        "\n    def f(x):\n        return x + 1\n",
        "def f(x):\r\n    return x + 1\r\n",
        "import math\n@math.anything\ndef f(x): return x + 1\ndef g(x): return x",
        "class C:\n    def f(x):\n        return x + 1",
    ],
)
def test_a_text_can_be_given(source):
    found = definition(without_text(), source=source)
    assert ast.unparse(found.node).endswith("def f(x):\n    return x + 1")
    assert found.file == "<source of f>"
    assert "def f(x)" in found.lines[found.node.lineno - 1]


@pytest.mark.parametrize("source", ["lambda x: x + 1", "  f = lambda x: x + 1", "[lambda x: x, lambda x: x + 1, lambda y: y + 1]"])
def test_a_lambda_can_be_given(source):
    assert text(without_text("\nf = lambda x: x + 1"), source=source) == "lambda x: x + 1"


def test_given_texts_know_closures():
    inner = without_text("def f(scale):\n    def g(x):\n        return x * scale\n    return g", "f")(2)
    assert text(inner, source="def g(x):\n    return x * scale") == "def g(x):\n    return x * scale"


@pytest.mark.parametrize(
    "source", ["def g(x):\n    return x + 1", "def f(x, y):\n    return x + 1", "def f(x):\n    return x + 2", "lambda x: x + 1"]
)
def test_a_text_of_another_function_is_refused(source):
    with pytest.raises(SourceChanged, match=r"test_source.py:\d+: source= holds no def f that this function was made from: '.*"):
        definition(without_text(), source=source)


def test_a_text_that_is_no_python_is_refused():
    with pytest.raises(SourceError, match=r"source= of f\(\) is no Python: expected ':' \(<source of f>, line 1\)."):
        definition(without_text(), source="def f(x) return x")


def test_a_given_text_with_two_that_may_be_meant_is_refused():
    function = without_text("f = lambda x: x + 3")
    with pytest.raises(SourceError, match=r"source= holds 2 lambdas that may be meant, .* Write each on a line of its own"):
        definition(function, source="lambda x: x + 3, lambda x: x + (1 + 2)")


def test_python_c():
    code = """
from hotloop.parallel.reading.source import definition
from hotloop.errors import SourceNotFound
import ast
import dis
f = lambda x: x + 1
try:
    found = definition(f)
except SourceNotFound as error:
    print(error)
    found = definition(f, source="lambda x: x + 1")
print(ast.unparse(found.node))
"""
    printed = run("-c", code, code="")
    assert printed.endswith("lambda x: x + 1\n")
    assert sys.version_info >= (3, 13) or 'source="lambda ..."' in printed


def test_scripts(tmp_path):
    script = tmp_path / "script.py"
    imports = "from hotloop.parallel.reading.source import definition\nimport ast\n"
    script.write_text(imports + "print(ast.unparse(definition(lambda x: x + 1).node))\n")
    assert run(str(script), code="") == "lambda x: x + 1\n"
    assert run("-O", str(script), code="") == "lambda x: x + 1\n"


PAIRS = """
alone = lambda x: x + 1
different = [lambda x: x + 1, lambda y: y + 1, lambda x: x - 1, lambda: 1, lambda: 1.0]
same = [lambda x: x + 3, lambda x: x + 3]
def function(x): return x
alike = [lambda x: x + 3, lambda x: x + (1 + 2)]
"""
WITHOUT = ("-X", "no_debug_ranges")


@pytest.mark.parametrize("first", [None, (), WITHOUT])  # what wrote the .pyc, if there is one: columns may be missing in it
@pytest.mark.parametrize("flags", [(), WITHOUT])
def test_without_columns_only_one_that_can_be_meant_is_taken(tmp_path, first, flags):
    (tmp_path / "pairs.py").write_text(PAIRS)
    code = f"""
import sys, ast
sys.dont_write_bytecode = {first is None}
sys.path.insert(0, {str(tmp_path)!r})
import pairs
from hotloop.errors import SourceError
from hotloop.parallel.reading.source import definition
for f in (pairs.alone, *pairs.different, pairs.same[1], pairs.function):
    print(ast.unparse(definition(f).node).replace(chr(10), ""))
try:
    print(ast.unparse(definition(pairs.alike[1]).node))
except SourceError as error:
    print(error)
"""
    if first is not None:
        run(*first, "-", code=code)
        assert len(list((tmp_path / "__pycache__").iterdir())) == 1
    lines = run(*flags, "-", code=code).splitlines()
    want = ["x: x + 1", "x: x + 1", "y: y + 1", "x: x - 1", ": 1", ": 1.0", "x: x + 3"]
    assert [line.removeprefix("lambda").strip() for line in lines[:7]] == want
    assert lines[7] == "def function(x):    return x"
    if WITHOUT in (first, flags):
        assert lines[8].endswith(
            "pairs.py:6 holds 2 lambdas that may be meant, and no columns are known "
            "(-X no_debug_ranges or PYTHONNODEBUGRANGES hides them). Write each on a line of its own."
        )
    else:
        assert lines[8] == "lambda x: x + (1 + 2)"


# --------------------------------------------------------------------------------- files that changed

CHANGES = [
    ("return x + 1", "return x + 2"),
    ("return x + 1", "return x - 1"),
    ("return x + 1", "return y + 1"),
    ("def f(x)", "def f(z, x)"),
    ("def f(x)", "def g(x)"),
    ("def f(x)", "\ndef f(x)"),
    ("def f(x):", "def f(x:"),
    ("def f(x):\n    return x + 1\n", ""),
    ("    return x + 1", "    yield x + 1"),
]


def change(path, before, after):
    path.write_text(path.read_text().replace(before, after))
    later = time.time() + 10
    os.utime(path, (later, later))


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_file_that_was_changed_after_its_import_is_found_out(tmp_path, before, after):
    path = tmp_path / "changing.py"
    found = load(path, "import math\ndef f(x):\n    return x + 1\n")
    change(path, before, after)
    with pytest.raises(SourceChanged, match=r"changing.py:2 no longer holds the text of f\(\): .*Start Python again, or import it anew"):
        definition(found.f)


def test_a_change_elsewhere_does_not_matter(tmp_path):
    path = tmp_path / "changing.py"
    found = load(path, "def f(x):\n    return x + 1\ndef g(x):\n    return x\n")
    definition(found.g)
    change(path, "return x\n", "return x * 2\n")
    assert text(found.f).endswith("return x + 1")


def test_a_file_that_is_gone_is_missed(tmp_path):
    found = load(tmp_path / "gone.py", "def f(x):\n    return x + 1\n")
    os.remove(tmp_path / "gone.py")
    with pytest.raises(SourceNotFound, match=r"the text of f\(\) is nowhere: .*gone.py is no file that can be read"):
        definition(found.f)


@pytest.mark.parametrize("after", ["return x + 2", "return (x"])
def test_what_is_remembered_at_the_decoration_survives_changes(tmp_path, after):
    path = tmp_path / "changing.py"
    found = load(path, "def f(x):\n    return x + 1\n")
    remember(found.f)
    change(path, "return x + 1", after)
    assert text(found.f).endswith("return x + 1")
    assert definition(found.f).lines[1] == "    return x + 1\n"


def test_a_module_that_is_imported_anew_has_a_new_text(tmp_path):
    path = tmp_path / "changing.py"
    old = load(path, "def f(x):\n    return x + 1\n")
    remember(old.f)
    change(path, "x + 1", "x * 20")
    new = load(path, path.read_text())
    remember(new.f)
    assert text(old.f).endswith("x + 1")
    assert text(new.f).endswith("x * 20")


def test_nothing_is_remembered_where_there_is_no_text():
    function = without_text()
    remember(function)
    with pytest.raises(SourceNotFound, match="nowhere"):
        definition(function)


def test_tools_that_rewrite_code_may_add_to_it_but_not_take_away(tmp_path):
    path = tmp_path / "rewritten.py"
    path.write_text("def f(x):\n    return x + 1\n")
    space = {"__loader__": object()}
    for body, fits in (("check(x); return x + 1", True), ("return x", False), ("return x + 2", False)):
        exec(compile(f"def f(x): {body}", str(path), "exec"), space)
        if fits:
            assert text(space["f"]).endswith("return x + 1")
        else:
            with pytest.raises(SourceChanged, match="no longer holds"):
                definition(space["f"])


def test_warnings_about_the_text_are_not_repeated(executed):
    code = "def f(x):\n    return x + '\\d'\n"
    with pytest.warns((DeprecationWarning, SyntaxWarning), match="invalid escape"):
        found = executed(code)
    assert definition(found.f).name == "f"  # warnings are errors in tests


# ------------------------------------------------------------------------------------ what is refused


@functools.wraps(plain)
def any_arguments(*args, **kwargs):
    return plain(*args, **kwargs)


@functools.wraps(plain)
def own_text(x, y):
    return plain(y, x)


@functools.lru_cache
def cached(x):
    return x


class Callable:
    def __call__(self, x):
        return x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (len, r"len\(\) is written in C and has no Python text. Give a function made by def or lambda."),
        ([].append, r"append\(\) is written in C and has no Python text."),
        (str.upper, r"upper\(\) is written in C and has no Python text."),
        (np.sin, r"sin\(\) is written in C and has no Python text."),
        (functools.partial(plain, 1), r"a partial of plain\(\) has no text of its own. Write lambda \.\.\.: plain\(\.\.\.\) instead."),
        (functools.partial(Callable(), 1), r"a partial of <.*Callable object .*>\(\) has no text"),
        (Holder, r"Holder is a class. Give a function made by def or lambda."),
        (Callable(), r"a Callable can be called, but is no function. Give a function"),
        (cached, r"cached is a _lru_cache_wrapper, made by another decorator. Put the decorator of hotloop below it."),
        (any_arguments, r"plain\(\) is wrapped by any_arguments\(\) of another decorator, .* Put the decorator of hotloop below it."),
        (3, r"3 is no function. Give a function made by def or lambda."),
        (None, r"None is no function."),
    ],
)
def test_what_has_no_text_of_its_own_is_refused(function, message):
    for action in (definition, remember):
        with pytest.raises(SourceError, match=r"test_source.py:\d+: " + message):
            action(function)


def test_a_wrapper_with_arguments_of_its_own_is_read_itself():
    assert text(own_text).endswith("return plain(y, x)")


async def asynchronous(x):
    return x


def generator(x):
    inner = lambda: (yield 0)  # noqa: E731 - this one is another function's
    for v in x:
        yield (v,
               inner)  # fmt: skip


def delegating(x):
    y = [(yield from x)]
    return y


async def asynchronous_generator(x):
    yield x


@pytest.mark.parametrize(
    ("function", "message", "shown"),
    [
        (asynchronous, r"asynchronous\(\) is asynchronous, .* Write def.", "async def asynchronous(x):"),
        (asynchronous_generator, r"is asynchronous, .* Write def.", "async def asynchronous_generator(x):"),
        (generator, r"generator\(\) is a generator, .* Return a sequence: a comprehension, or map\(\).", "yield (v,"),
        (delegating, r"delegating\(\) is a generator", "yield from x"),
        (lambda x: (yield x), r"<lambda>\(\) is a generator", "yield x"),
    ],
)
def test_other_kinds_of_functions_are_refused_with_a_caret(function, message, shown):
    with pytest.raises(SyntaxRefused, match=message) as caught:
        definition(function)
    error = caught.value
    assert isinstance(error, HotloopError)
    assert error.filename == __file__
    assert error.text[error.offset - 1 : error.end_offset - 1] == shown
    with open(__file__, encoding="utf-8") as file:
        assert file.readlines()[error.lineno - 1] == error.text


# ------------------------------------------------------------------------------------------------ cost


def test_old_texts_are_forgotten(executed):
    for i in range(module._KEPT_TREES + 5):
        definition(executed(f"f = lambda x: x + {i}").f)
        definition(executed(f"f = lambda x: x + {i}", f"<cell {i}>").f)
    assert len(module._kept.trees) <= module._KEPT_TREES


def test_definitions_are_kept_only_up_to_a_number(monkeypatch, executed):
    monkeypatch.setattr(module, "_KEPT_DEFINITIONS", 5)
    made = [executed("f = lambda x: x").f for _ in range(10)]
    for function in made:
        remember(function)
        definition(function)
    assert len(module._kept.definitions) <= 5
    assert len(module._kept.texts) <= 5


def test_a_function_is_found_without_parsing_its_whole_file(imported, monkeypatch):
    parsed = []
    original = ast.parse
    monkeypatch.setattr(ast, "parse", lambda given: parsed.append(given) or original(given))
    filler = "".join(f"def filler_{i}(x):\n    return x + {i}\n\n\n" for i in range(200))
    found = imported(f"{filler}class C:\n    def f(self, x):\n        return x\n\n    def g(self):\n        pass\n\n\n{filler}")
    definition(found.C.f)
    assert [given.strip() for given in parsed] == ["if 1:\n    def f(self, x):\n        return x"]
