"""Origin and refuse: ranges of text in messages, whatever characters and lines they have."""

import ast
import traceback

import pytest

from hotloop.errors import SyntaxRefused, TypeMismatch
from hotloop.parallel.reading.blame import Origin, called_from, refuse
from hotloop.parallel.reading.source import Definition


def defined(text, file="/some/where/sensor.py"):
    node = next(part for part in ast.walk(ast.parse(text)) if isinstance(part, (ast.FunctionDef, ast.Lambda)))
    return Definition(node, file, text.splitlines(True), node.lineno, "f")


def origin_of(text, kind, **given):
    found = defined(text, **given)
    return Origin.of(next(part for part in ast.walk(found.node) if isinstance(part, kind)), found)


def rendered(text, kind, **given):
    return origin_of(text, kind, **given).render("no.").split("\n")


def test_a_range_of_a_line_is_shown():
    text = "def f(x, y):\n    return g(x) + y[1]\n"
    assert rendered(text, ast.Subscript) == ["sensor.py:2: no.", "    return g(x) + y[1]", "                  ^^^^"]
    assert rendered(text, ast.Return) == ["sensor.py:2: no.", "    return g(x) + y[1]", "    ^^^^^^^^^^^^^^^^^^"]


def test_tabs_stay_and_indentation_goes():
    assert rendered("def f(x):\n\t\ty\t= x[0]\n", ast.Subscript) == ["sensor.py:2: no.", "    y\t= x[0]", "     \t  ^^^^"]


def test_columns_are_those_of_the_terminal():
    assert rendered("def f(x):\n    return 'äö' + x[0]\n", ast.Subscript)[2] == "    " + " " * 14 + "^^^^"
    assert rendered("def f(x):\n    return '漢字' + x['字']\n", ast.Subscript)[2] == "    " + " " * 16 + "^^^^^^^"
    assert rendered("def f(x):\n    return 'a\u0308' + x[0]\n", ast.Subscript)[2] == "    " + " " * 13 + "^^^^"


def test_several_lines_are_shown_as_the_first_and_dots():
    text = "def f(x):\n    return g(x,\n             x)\n"
    assert rendered(text, ast.Call) == ["sensor.py:2: no.", "    return g(x, ...", "           ^^^^"]


def test_long_lines_are_shown_around_the_range():
    text = "f = lambda x: " + " + ".join(f"x{i}" for i in range(100)) + " + x[0] + " + " + ".join(f"y{i}" for i in range(100)) + "\n"
    place, line, carets = rendered(text, ast.Subscript)
    assert place == "sensor.py:1: no."
    assert len(line) < 140
    assert line.startswith("    ...")
    assert line.endswith("...")
    assert line[carets.index("^") : carets.rindex("^") + 1] == "x[0]"
    line, carets = rendered(text, ast.Lambda)[1:]
    assert line[carets.index("^") : carets.rindex("^") + 1].startswith("lambda x: x0 + x1")


@pytest.mark.parametrize("text", ["f = lambda x: x[0]\n", "f = lambda x: x[0]", "f = lambda x: x[0]\r\n"])
def test_ends_of_lines_do_not_matter(text):
    assert rendered(text, ast.Subscript)[1:] == ["    f = lambda x: x[0]", "                  ^^^^"]


def test_nodes_without_a_place_lie_around_their_parts():
    text = "def f(x, y=1):\n    return [i for i, j in zip(x, y) if j]\n"
    assert rendered(text, ast.arguments)[2] == "          ^^^^^^"
    assert rendered(text, ast.comprehension)[2].count("^") == len("i, j in zip(x, y) if j")
    assert rendered("def f():\n    return 1\n", ast.arguments) == ["sensor.py:1: no.", "    def f():"]


def test_files_and_cells_have_short_names():
    text = "f = lambda x: x\n"
    assert origin_of(text, ast.Lambda, file="<ipython-input-3-abc>").place == "<ipython-input-3-abc>:1"
    assert origin_of(text, ast.Lambda, file="/tmp/ipykernel_12/345.py").place == "cell:1"


def test_lines_that_are_not_there_are_not_shown():
    assert Origin("a.py", 7, 0, 7, 3, []).render("no.") == "a.py:7: no."
    assert Origin("a.py", 1, 50, 1, 60, ["short\n"]).render("no.") == "a.py:1: no.\n    short"


def test_errors_carry_the_text_and_the_path_of_calls():
    text = "def f(x):\n    return g(x)\n"
    inner = origin_of(text, ast.Call)
    error = refuse(TypeMismatch, inner, "g takes numbers.", notes=[called_from("f", inner), called_from("h", inner)])
    assert isinstance(error, TypeMismatch)
    assert str(error) == "sensor.py:2: g takes numbers.\n    return g(x)\n           ^^^^"
    assert error.__notes__ == ["called from f at sensor.py:2: return g(x)", "called from h at sensor.py:2: return g(x)"]


def shown(error):
    """What Python prints of an exception."""
    return "".join(traceback.format_exception_only(error)).splitlines()


def test_syntax_errors_are_shown_by_python_itself():
    inner = origin_of("def f(x):\n    y = 'ä' + x[0]\n", ast.Subscript)
    error = refuse(SyntaxRefused, inner, "no subscripts.", notes=["a note"])
    assert (error.msg, error.filename, error.lineno, error.offset, error.end_offset) == (
        "no subscripts.",
        "/some/where/sensor.py",
        2,
        15,
        19,
    )
    assert error.text == "    y = 'ä' + x[0]\n"
    assert shown(error) == [
        '  File "/some/where/sensor.py", line 2',
        "    y = 'ä' + x[0]",
        "              ^^^^",
        "hotloop.errors.SyntaxRefused: no subscripts.",
        "a note",
    ]
    with pytest.raises(SyntaxError, match=r"no subscripts. \(sensor.py, line 2\)"):
        raise error


def test_syntax_errors_over_several_lines_show_the_first():
    inner = origin_of("def f(x):\n    return g(x,\n        x)\n", ast.Call)
    assert shown(refuse(SyntaxRefused, inner, "no calls."))[1:3] == ["    return g(x,", "           ^^^^"]
