"""`_runner.Function` with `out=`: results are copied to the caller's arrays, and what is not right goes to the fallback."""

import platform

import numpy as np
import pytest

import hotloop as hl
from hotloop import _runner

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the programs of this file are x86-64 code")

# Encodings: Intel SDM volume 2. rdi is the data region: a double becomes its sum with the next one.
ADD_F64 = bytes.fromhex("f20f1007 f20f584708 f20f1107 c3")  # movsd, addsd, movsd; ret


def answer(*args, **kwargs):
    """Tell that a call did not match."""
    return "fallback", args, kwargs


def adder(takes_out=True, single=True, **options):
    """Return a function of an array of two: its first element becomes the sum of both; a second result is that alone."""
    results = [("d", 0, (2,))] if single else [("d", 0, (2,)), ("d", 0), ("d", 8, (1, 1))]
    program = _runner.Program(ADD_F64, bytes(16), 0, **options)
    return _runner.Function(program, [("d", 0, (2,))], results, single, answer, takes_out)


@pytest.mark.parametrize("long_running", [False, True])
def test_a_single_result_is_copied_to_out(long_running):
    function, x = adder(long_running=long_running), np.array([2.0, 3.0])
    fence = np.full(6, 7.0)
    assert function(x, out=fence[2:4]) is not fence
    assert fence.tolist() == [7, 7, 5, 3, 7, 7]
    out = np.zeros(2)
    assert function(x, out=out) is out
    assert function(*(x,), **{"out": out}) is out
    assert function(x, out=None).tolist() == [5, 3]
    assert x.tolist() == [2, 3]


def test_each_of_several_results_has_its_own():
    function, x, out, last = adder(single=False), np.array([2.0, 3.0]), np.zeros(2), np.zeros((1, 1))
    got = function(x, out=(out, None, last))
    assert got[0] is out
    assert got[1:] == (5.0, last)
    assert got[2] is last
    got = function(x, out=(None, None, last))
    assert got[0].tolist() == [5, 3]
    assert function(x, out=None)[1] == 5
    for wrong in (out, [out, None, last], (out, None), (out, np.zeros(()), last), (last, None, out)):
        assert function(x, out=wrong)[2] == {"out": wrong}


def test_out_may_overlap_what_is_read():
    memory = np.array([1.0, 2.0, 3.0])
    adder()(memory[:2], out=memory[1:])
    assert memory.tolist() == [1, 3, 2]
    adder()(memory[:2], out=memory[:2])
    assert memory.tolist() == [4, 3, 2]


def read_only():
    array = np.zeros(2)
    array.flags.writeable = False
    return array


WRONG = [
    np.zeros(2, "f"), np.zeros(2, ">f8"), np.zeros(3), np.zeros((2, 1)), np.zeros(4)[::2], np.zeros(2)[::-1], read_only(),
    np.zeros(17, "b")[1:].view("d"), np.zeros(2).view(np.recarray), (np.zeros(2),), [0.0, 0.0], 1.0,
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_exactly_right_goes_to_the_fallback(wrong):
    x = np.ones(2)
    name, args, kwargs = adder()(x, out=wrong)
    assert (name, args[0]) == ("fallback", x)
    assert kwargs["out"] is wrong


def test_other_keywords_and_functions_with_an_out_of_their_own_go_to_the_fallback():
    x, out = np.ones(2), np.zeros(2)
    assert adder()(x, out=out, where=1)[2] == {"out": out, "where": 1}
    assert adder()(x, into=out)[2] == {"into": out}
    assert adder()(out=out)[1] == ()
    assert adder(takes_out=False)(x, out=out)[2] == {"out": out}
    assert out.tolist() == [0, 0]


def test_a_jitted_function_of_known_shapes_writes_to_out_without_python():
    f = hl.jit(lambda a, b: (a @ b, a[0]))
    a, b = np.arange(9.0).reshape(3, 3), np.arange(9.0).reshape(3, 3).T.copy()
    want, out = f(a, b), (np.zeros((3, 3)), None)
    f.fallback = answer
    assert f(a, b, out=out)[0] is out[0]
    np.testing.assert_array_equal(out[0], want[0])
    out = np.zeros((3, 3)), np.zeros(3)
    assert f(a, b, out=out)[1] is out[1]
    np.testing.assert_array_equal(out[1], a[0])


def test_a_jitted_function_with_a_parameter_named_out_keeps_it():
    f = hl.jit(lambda a, out=2.0: a[0] * out)
    a = np.ones(2)
    assert f(a, 3.0) == 3
    assert f(a, out=3.0) == 3
    g = hl.jit(lambda a, **rest: a * rest["out"])
    assert g(a, out=np.full(2, 4.0)).tolist() == [4, 4]
