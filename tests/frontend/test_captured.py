"""What jitted functions capture: found, told apart, and guarded in C."""

import math

import numpy as np
import pytest

from hotloop import _runner
from hotloop.frontend.captured import Captured, token

LIMIT = 1.5
UNUSED = "text"


def test_numbers_of_equal_value_and_different_kind_are_told_apart():
    keys = [token(v) for v in (0, 0.0, -0.0, False, 1, True, 1.0, "1", b"1", (1,), (1.0,), (True,), (), None, math.inf)]
    assert len(set(keys)) == len(keys)
    assert token(math.nan) == token(float("nan"))
    assert token((1, (2.0, "a"))) == token((1, (2.0, "a")))


def test_other_objects_are_told_apart_by_identity():
    a, b = [1], [1]
    assert token(a) == token(a)
    assert token(a) != token(b)


def test_cells_and_globals_are_found_through_helpers():
    inner = 3

    def helper(x):
        return (lambda: x + inner)()

    def function(x):
        return helper(x) * LIMIT + math.sin(x) + len([np.pi])

    captured = Captured(function)
    captured.token()
    held = {name or "cell": value for _, name, value in captured.guards()}
    assert held["LIMIT"] == 1.5
    assert sorted(str(value) for value in captured.values if value in (inner, LIMIT)) == ["1.5", "3"]
    assert "math" not in held
    assert "np" not in held
    assert "UNUSED" not in held


def test_a_cell_that_is_not_assigned_yet_is_no_error():
    def function():
        return later

    captured = Captured(function)
    before = captured.token()
    later = 5
    assert captured.token() != before


def test_functions_that_call_each_other_end():
    def even(n):
        return odd(n)

    def odd(n):
        return even(n)

    assert Captured(even).token() == Captured(even).token()


def test_builtins_have_nothing_captured():
    assert Captured(len).token() == ()


# ------------------------------------------------------------------------------------ guards in C


@pytest.fixture
def function():
    program = _runner.Program(b"\xc3", bytes(8), 0)  # a program that returns at once
    return _runner.Function(program, [("d", 0)], [("d", 0)], True, lambda *a: "fallback")


def test_a_guard_that_holds_lets_the_program_run(function):
    space = {"a": 1.5}
    cell = (lambda: space).__closure__[0]
    function.guards = ((space, "a", space["a"]), (cell, None, space))
    assert function(2.0) == 2.0
    space["a"] = 2.5
    assert function(2.0) == "fallback"
    space["a"] = function.guards[0][2]
    assert function(2.0) == 2.0
    del space["a"]
    assert function(2.0) == "fallback"
    function.guards = ()
    assert function(2.0) == 2.0
    assert function.guards == ()


@pytest.mark.parametrize(
    "guards", [None, [], 5, (1,), ((1, 2),), ((1, 2, 3),), (({}, 5, 1),), (({}, "a"),), ("abc",), ((None, None, None),)]
)
def test_guards_of_another_form_are_refused(function, guards):
    with pytest.raises(TypeError, match="guards must be a tuple of"):
        function.guards = guards
    assert function(2.0) == 2.0
    with pytest.raises(TypeError, match="guards must be a tuple of"):
        del function.guards


def test_a_name_that_compares_in_python_may_replace_the_guards(function):
    class Name:
        def __hash__(self):
            return hash("a")

        def __eq__(self, other):
            function.guards = ()
            raise RuntimeError("compared")

    space = {Name(): 1}
    function.guards = ((space, "a", 1), (space, "a", 1))
    assert function(2.0) == "fallback"
