"""jit: the same results as the plain function, specialisation, captured values, errors."""

import contextlib
import dataclasses
import enum
import functools
import gc
import inspect
import math
import struct
import sys
import threading
import weakref
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import hotloop as hl
from hotloop.frontend.reading import Reading

Pair = namedtuple("Pair", "a b")

SCALE = 2.0


@dataclasses.dataclass
class Gains:
    p: float
    i: float = 0.5


def same(got, want):
    """Equal types and equal bits."""
    assert type(got) is type(want), (got, want)
    if isinstance(want, float):
        assert struct.pack("d", got) == struct.pack("d", want) or (got != got and want != want), (got, want)
    else:
        assert got == want


# ----------------------------------------------------------------- the same as plain Python, bit for bit

floats = st.floats() | st.sampled_from([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308])
ints = st.integers(-(2**63), 2**63 - 1) | st.integers(-10, 10)
small = st.integers(-(2**31), 2**31)

FLOAT_FUNCTIONS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "neg": lambda a, b: -a,
    "abs": lambda a, b: abs(b),
    "order": lambda a, b: (a < b, a <= b, a == b, a != b, a > b, a >= b),
    "zeros": lambda a, b: (a * 0 + b * 1) - 0 + 0.0,
    "mixed": lambda a, b: (a + 1) * (b - 2) / 3 + 0.1,
    "half": lambda a, b: a / 2 + b / 0.1,
}
JITTED = {name: hl.jit(function) for name, function in FLOAT_FUNCTIONS.items()}


@pytest.mark.parametrize("name", FLOAT_FUNCTIONS)
@given(a=floats, b=floats)
def test_floats_have_the_bits_of_python(name, a, b):
    try:
        want = FLOAT_FUNCTIONS[name](a, b)
    except ZeroDivisionError:
        return  # the jitted one gives inf or NaN, see below
    got = JITTED[name](a, b)
    if isinstance(want, tuple):
        assert got == want
    else:
        same(got, want)


INT_FUNCTIONS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "neg": lambda a, b: -a,
    "abs": lambda a, b: abs(a),
    "square": lambda a, b: a**2,
    "cube": lambda a, b: b**3 + 1,
    "seventh": lambda a, b: a**7,
    "none": lambda a, b: a**0,
    "bits": lambda a, b: (a & b) ^ (a | ~b),
    "mixed": lambda a, b: (a + 1) * 3 - b % 7,
}
JITTED_INTS = {name: hl.jit(function) for name, function in INT_FUNCTIONS.items()}


@pytest.mark.parametrize("name", INT_FUNCTIONS)
@given(a=ints, b=ints)
def test_ints_are_those_of_python_within_int64(name, a, b):
    assume(b != 0)
    want = INT_FUNCTIONS[name](a, b)
    assume(-(2**63) <= want < 2**63)
    # no intermediate result may leave int64 either
    assume(abs(a) < 2**62 and abs(b) < 2**60)
    same(JITTED_INTS[name](a, b), want)


@given(a=st.integers(-(2**53), 2**53), b=st.integers(-(2**53), 2**53), x=st.floats(-1e300, 1e300))
def test_ints_and_floats_mix_as_in_python(a, b, x):
    assume(b != 0)
    assume(x != 0.0)
    for function in (lambda a, b, x: a / b, lambda a, b, x: a * x, lambda a, b, x: x - b, lambda a, b, x: a / x, lambda a, b, x: x // b,
                     lambda a, b, x: a % x, lambda a, b, x: (a < b) + x, lambda a, b, x: (a > b) * a):  # fmt: skip
        same(hl.jit(function)(a, b, x), function(a, b, x))


@given(st.floats(0.0, allow_infinity=True), st.integers(0, 2**53))
def test_square_roots_are_those_of_python(x, n):
    root = hl.jit(lambda x: hl.sqrt(x))
    same(root(x), math.sqrt(x))
    same(root(n), math.sqrt(n))


def test_division_by_zero_gives_infinity_or_zero_and_raises_if_checked():
    divide = lambda a, b: (a / b, a // b, a % b)  # noqa: E731
    plain = hl.jit(divide)
    assert plain(1.0, 0.0)[0] == math.inf
    assert math.isnan(plain(0.0, 0.0)[0])
    assert plain(7, 0)[1:] == (0, 0)
    for arguments in ((1.0, 0.0), (7, 0)):
        with pytest.raises(ZeroDivisionError, match=r"test_jit.py:\d+: division by zero"):
            hl.jit(divide, checked=True)(*arguments)
    with pytest.raises(hl.CheckError, match="overflow"):
        hl.jit(lambda a: a * a, checked=True)(2**40)
    assert hl.jit(divide, checked=True)(7, 2) == (3.5, 3, 1)


def test_a_result_marked_as_checked_is_checked():
    divide = hl.jit(lambda a, b: hl.checked(a // b))
    assert divide(7, 2) == 3
    with pytest.raises(hl.DivisionByZero, match="division by zero"):
        divide(7, 0)


def test_a_function_without_traced_values_computes_the_same():
    function = lambda x: hl.sin(x) * hl.exp(-x) + hl.iif(x > 1.0, x, 0.0)  # noqa: E731
    same(hl.jit(function)(0.7), hl.jit(function)(np.float64(0.7)))
    assert hl.jit(function)(0.7) == pytest.approx(math.sin(0.7) * math.exp(-0.7), rel=1e-15)


# ---------------------------------------------------------------------------------- specialisation


def test_each_type_is_computed_in_its_own_way():
    twice = hl.jit(lambda x: x * 2)
    same(twice(3), 6)
    same(twice(3.7), 7.4)
    same(twice(True), 2)
    same(twice(3), 6)
    same(twice(np.float32(0.1)), float(np.float32(0.1) * np.float32(2)))
    same(twice(np.int32(5)), 10)
    same(twice(np.bool_(True)), 2)
    same(twice(np.uint8(200)), 400)


def test_numbers_of_numpy_leave_those_of_python_as_they_are():
    f = hl.jit(lambda x: x + 0.1)
    for _ in range(2):
        same(f(np.float32(0.1)), float(np.float32(0.1) + np.float32(0.1)))
        same(f(0.1), 0.2)
        same(f(np.array(0.1, np.float32)), float(np.float32(0.1) + np.float32(0.1)))
    g = hl.jit(lambda n: n * 3)
    assert [g(np.int32(2**30)), g(2**30)] == [-(2**30), 3 * 2**30]


def test_wrappers_of_one_function_do_not_share():
    def identity(x):
        return x

    a, b = hl.jit(identity), hl.jit(identity, checked=True)
    assert (a(1), b(2.5), a(3.5)) == (1, 2.5, 3.5)


def test_each_length_and_nesting_is_traced():
    total = hl.jit(lambda x: sum(x))
    assert total([1, 2]) == 3
    assert total([1, 2, 3]) == 6
    assert total([1, 2]) == 3
    assert total((1.5, 2)) == 3.5
    assert total([0.5] * 100) == 50.0
    first = hl.jit(lambda x: x[0] if isinstance(x, (list, tuple)) else x["a"])
    assert (first([5]), first((6,)), first({"a": 7}), first([True])) == (5, 6, 7, True)


def test_lists_stay_lists_and_arrays_become_vectors():
    twice = hl.jit(lambda v: v * 2)
    assert twice([1, 2]) == [1, 2, 1, 2]  # as the plain function
    assert twice((1.0,) * 10) == (1.0,) * 20
    np.testing.assert_array_equal(twice(np.array([1.0, 2.0])), [2.0, 4.0])
    np.testing.assert_array_equal(twice(Reading([1, 2])), [2, 4])
    np.testing.assert_array_equal(twice(np.array([[1, 2], [3, 4]])), [[2, 4], [6, 8]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.bool_])
def test_arrays_keep_their_type_and_are_new(dtype):
    identity = hl.jit(lambda a: a)
    given = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    got = identity(given)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, given)
    got[0] = 1
    assert identity(given)[0, 0] == 0
    assert given[0, 0] == 0


def test_arrays_of_any_layout_are_taken():
    total = hl.jit(lambda a: a[0] * 10 + a[1])
    for array in (np.array([1.0, 2.0, 3.0])[::2], np.array([1, 3], ">i4"), np.array([1, 3], np.int8), np.array([1, 3], np.float16),
                  np.array([[1, 0], [3, 0]])[:, 0], np.asfortranarray([1, 3])):  # fmt: skip
        assert total(array) == 13
    assert hl.jit(lambda a: a + 1)(np.array(41)) == 42
    assert hl.jit(lambda a: a * 2)(np.zeros((0,))).shape == (0,)


def test_keywords_and_defaults_are_those_of_the_function():
    @hl.jit
    def f(a, b=2, *rest, c=3, **more):
        return a + 10 * b + 100 * sum(rest) + 1000 * c + 10000 * more.get("d", 0)

    plain = inspect.unwrap(f)
    calls = [
        ((1,), {}),
        ((1, 5), {}),
        ((1,), {"b": 6}),
        ((), {"b": 7, "a": 8}),
        ((1, 2, 3, 4), {}),
        ((1,), {"c": 9}),
        ((1,), {"d": 1, "c": 2}),
    ]
    for _ in range(2):
        for args, kwargs in calls:
            same(f(*args, **kwargs), plain(*args, **kwargs))
    same(f(1.5, b=2.5), plain(1.5, b=2.5))


def test_calls_that_python_refuses_are_refused():
    f = hl.jit(lambda a, b: a + b)
    f(1, 2)
    for args, kwargs in (((1,), {}), ((1, 2, 3), {}), ((1, 2), {"c": 3}), ((1, 2), {"b": 3}), ((), {})):
        with pytest.raises(TypeError, match=r"<lambda>\(\): (missing|too many|got an unexpected|multiple values)"):
            f(*args, **kwargs)


def test_unused_arguments_and_none_are_fine():
    f = hl.jit(lambda a, b, c=None: a * 2)
    for _ in range(2):
        assert f(2, 5.0) == 4
        assert f(2, [1, 2], None) == 4
        assert f(3, None) == 6


def test_wraps_keeps_name_and_signature():
    def add(a: float, b: float = 1.0) -> float:
        """Add."""
        return a + b

    f = hl.jit(add)
    assert (f.__name__, f.__doc__, f.__wrapped__, f.__module__) == ("add", "Add.", add, __name__)
    assert inspect.signature(f) == inspect.signature(add)


def test_decorator_with_and_without_arguments():
    @hl.jit(fast=True)
    def f(x):
        return (x + 1.0) + 2.0

    assert f(1.0) == 4.0
    assert hl.jit(f)(1.0) == 4.0  # jitting twice is harmless
    assert functools.partial(f, 2.0)() == 5.0
    assert hl.jit(functools.partial(lambda a, b: a - b, 1.0))(3.0) == -2.0


# --------------------------------------------------------------------------------------- results


def test_results_have_the_containers_of_the_function():
    @hl.jit
    def f(x):
        return {"a": [x * 2, (x, 3, None)], "p": Pair(x > 1, "text"), "g": Gains(x, i=1.5), 5: hl.vector([x, 1])}

    got = f(2.0)
    np.testing.assert_array_equal(got.pop(5), [2.0, 1.0])
    assert got == {"a": [4.0, (2.0, 3, None)], "p": Pair(True, "text"), "g": Gains(2.0, 1.5)}
    assert type(got["a"][1][1]) is int


def test_constants_pass_through():
    assert hl.jit(lambda x: 5)(1.0) == 5
    assert hl.jit(lambda x: None)(1.0) is None
    assert hl.jit(lambda: [1, "a", 2.5, None])() == [1, "a", 2.5, None]
    assert hl.jit(lambda x: (x, 1j, Ellipsis, b"b"))(1.0) == (1.0, 1j, Ellipsis, b"b")
    np.testing.assert_array_equal(hl.jit(lambda x: hl.eye(2))(1.0), np.eye(2))
    fresh = hl.jit(lambda x: np.zeros(2))
    fresh(1.0)[0] = 5
    assert fresh(1.0)[0] == 0


def test_one_value_can_be_returned_twice_and_an_argument_as_it_is():
    f = hl.jit(lambda x, y: (x, x, x * y, y, x * y))
    for _ in range(2):
        assert f(2.0, 3) == (2.0, 2.0, 6.0, 3, 6.0)
    assert hl.jit(lambda a, b: b)(1, 2.5) == 2.5


def test_quaternions_come_back_as_arrays():
    got = hl.jit(lambda w: hl.quaternion(w, 0.0, 0.0, 1.0))(2.0)
    np.testing.assert_array_equal(got, [2.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("make", "kind"), [(lambda x: {x * 2}, "set"), (lambda x: (i for i in [x]), "generator"), (lambda x: object(), "object")]
)
def test_results_that_cannot_be_returned_are_named(make, kind):
    with pytest.raises(hl.TraceError, match=rf"result\['a'\]\[1\] is of type {kind}, which a jitted function cannot return"):
        hl.jit(lambda x: {"a": [1, make(x)]})(1.0)


def test_calls_keep_nothing_alive():
    f = hl.jit(lambda a: a + 1.0)
    gc.collect()
    f(np.zeros(1000))
    before = sys.getallocatedblocks()
    for _ in range(200):
        f(np.zeros(1000))
    gc.collect()
    assert sys.getallocatedblocks() - before < 50


# ------------------------------------------------------------------------- arguments of other kinds


def test_structures_of_arguments_are_traced_leaf_by_leaf():
    @hl.jit
    def f(gains, pair, table):
        return gains.p * pair.a + gains.i * pair.b[1] + table["x"][0]["y"]

    assert f(Gains(2.0, 3), Pair(5, (1, 7.5)), {"x": [{"y": 100}]}) == 132.5
    assert f(Gains(2.0, 4), Pair(5, (1, 7.5)), {"x": [{"y": 100}]}) == 140.0


def test_static_arguments_are_known_while_tracing():
    @hl.jit(static=("n", "mode"))
    def f(x, n, mode="add"):
        for _ in range(n):
            x = x + x if mode == "add" else x * x
        return x

    assert [f(3.0, n) for n in (0, 1, 2, 1)] == [3.0, 6.0, 12.0, 6.0]
    assert f(3.0, n=2, mode="mul") == 81.0
    assert f(3, 1, "mul") == 9
    g = hl.jit(lambda x, k: x * k, static=1)
    assert [type(g(2, k)) for k in (1, 1.0, True, -0.0)] == [int, float, int, float]
    assert math.copysign(1.0, g(2, -0.0)) == -1.0


def test_wrong_static_arguments_are_explained():
    with pytest.raises(hl.TraceError, match=r"static='n' is no argument of <lambda>\(\). Its arguments are x"):
        hl.jit(lambda x: x, static="n")
    with pytest.raises(hl.TraceError, match=r"static=3 is no argument"):
        hl.jit(lambda x: x, static=3)
    with pytest.raises(hl.TraceError, match=r"the static argument n is of type list, which has no hash\. Use a tuple"):
        hl.jit(lambda x, n: x, static="n")(1.0, [])


class Colour(enum.IntEnum):
    RED = 3


def test_subclasses_of_numbers_are_numbers():
    assert hl.jit(lambda x: x + 1)(Colour.RED) == 4


@pytest.mark.parametrize(
    "argument", ["text", b"b", object(), {1, 2}, 1j, len, Ellipsis, np.array(["a"]), np.array([None]), np.complex64(1), range(3)]
)
def test_arguments_that_cannot_be_traced_are_named_with_the_cure(argument):
    f = hl.jit(lambda x, data: x)
    with pytest.raises(hl.TraceError, match=r"test_jit.py:\d+: argument data(\[0\])? (is of type|has elements of type) "):
        f(1.0, argument)
    with pytest.raises(hl.TraceError, match=r"argument data\[1\]\['k'\] .* (@hl.jit\(static=\('data',\)\)|Use bool, integers)"):
        f(1.0, [1, {"k": argument}])


@pytest.mark.parametrize("argument", [2**63, -(2**63) - 1, 10**40])
def test_ints_beyond_int64_are_refused_by_name(argument):
    f = hl.jit(lambda a, b: a)
    for _ in range(2):
        with pytest.raises(hl.RangeError, match=r"test_jit.py:\d+: argument b: -?\d+ does not fit int64"):
            f(1, argument)
        with pytest.raises(hl.RangeError, match=r"argument b\[1\]: -?\d+ does not fit int64"):
            f(1, [2, argument])
        with pytest.raises(hl.RangeError, match=r"argument b\[9\]: -?\d+ does not fit int64"):
            f(1, [2] * 9 + [argument])
        assert f(1, 2) == 1


def test_not_functions_are_refused():
    with pytest.raises(hl.TraceError, match="jit takes a function, not int 5"):
        hl.jit(5)
    with pytest.raises(hl.TraceError, match=r"Put @classmethod above @hl\.jit"):
        hl.jit(classmethod(lambda cls: 1))
    with pytest.raises(hl.TraceError, match="is a generator or coroutine"):

        @hl.jit
        def f(x):
            yield x


# ------------------------------------------------------------------------------ methods and captures


class Plant:
    def __init__(self, gain):
        self.gain = gain
        self.log = 0

    @hl.jit
    def step(self, x, n=2):
        return x * self.gain * n

    @hl.jit
    def learn(self, x):
        self.gain = x
        return x

    @classmethod
    @hl.jit
    def make(cls, x):
        return x + 1

    @staticmethod
    @hl.jit
    def free(x):
        return x + 2


def test_methods_see_their_object_as_it_is():
    a, b = Plant(2.0), Plant(3)
    assert (a.step(5.0), b.step(5), a.step(5.0, n=1), Plant.step(b, 7)) == (20.0, 30, 10.0, 42)
    a.gain = 10.0
    assert a.step(5.0) == 100.0
    assert (Plant.free(1), a.free(1)) == (3, 3)
    assert Plant.make(1) == 2


def test_methods_that_change_their_object_are_refused():
    with pytest.raises(hl.TraceError, match=r"learn\(\) sets Plant.gain while it is traced, which later calls would not do"):
        Plant(1.0).learn(2.0)


def test_methods_of_dataclasses_trace_their_fields():
    @dataclasses.dataclass
    class Filter:
        alpha: float
        last: float = 0.0

        @hl.jit
        def step(self, x):
            return Filter(self.alpha, self.last + self.alpha * (x - self.last))

    f = Filter(0.5)
    for expected in (1.0, 1.5, 1.75):
        f = f.step(2.0)
        assert f == Filter(0.5, expected)


def test_changed_globals_and_closures_are_seen():
    global SCALE
    offset = 1.0

    def scaled(x):
        return x * SCALE

    helper = scaled

    @hl.jit
    def f(x):
        return helper(x) + offset

    SCALE = 2.0
    assert [f(3.0), f(3.0)] == [7.0, 7.0]
    SCALE = 10.0
    assert [f(3.0), f(3.0)] == [31.0, 31.0]
    offset = 5.0
    assert [f(3.0), f(3.0)] == [35.0, 35.0]
    offset = 5
    assert f(3) == 35.0
    SCALE = 2.0
    assert f(3.0) == 11.0

    helper = abs
    assert f(-3.0) == 8.0


def test_a_changed_helper_that_is_jitted_is_seen():
    factor = 2

    @hl.jit
    def inner(x):
        return x * factor

    @hl.jit
    def outer(x):
        return inner(x) + 1

    assert outer(5) == 11
    factor = 3
    assert (outer(5), inner(5)) == (16, 15)


def test_a_name_that_comes_later_is_found():
    @hl.jit
    def f(x):
        return x + later

    with pytest.raises(NameError, match="later"):
        f(1.0)
    later = 2.0
    assert f(1.0) == 3.0


def test_values_traced_outside_are_inputs_with_their_initial_value():
    gain = hl.value(3.0)
    assert hl.jit(lambda x: x * gain)(2.0) == 6.0


def test_nested_jitted_functions_are_part_of_the_program():
    inner = hl.jit(lambda x, k=2: {"y": x * k})
    outer = hl.jit(lambda x: inner(x)["y"] + inner(3.0)["y"] + inner(k=5, x=x)["y"])
    assert outer(1.5) == 3.0 + 6.0 + 7.5


def test_a_jitted_function_is_inlined_into_a_target_program():
    f = hl.jit(lambda x: x * 2.0)
    x = hl.value(1.5)
    y = f(x)
    tg = hl.Target()
    tg.compile(y, f([x])[0] if False else f(hl.vector([x, x])))
    tg.run()
    assert tg.read_value(y) == 3.0
    assert y.dtype is hl.float32


def test_gradients_and_loops_work_inside():
    assert hl.jit(lambda x: hl.grad(x * x * x, x))(2.0) == 12.0
    assert hl.jit(lambda x, n: hl.loop(10, lambda t: t * 2 + n, x))(1, 1) == 2047


# ------------------------------------------------------------------------------------------ errors


def test_branches_on_traced_values_name_line_and_cures():
    @hl.jit
    def f(x):
        return x if x > 0 else -x

    with pytest.raises(hl.TruthError, match=r"test_jit.py:\d+: cannot branch on a traced value \(x > 0.0\)") as caught:
        f(1.0)
    assert "hl.iif" in str(caught.value)
    assert "static argument" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: math.sin(x),
        lambda x: [1, 2][x],
        lambda x: list(range(x)),
        lambda x: int(x),
        lambda x: x and 1,
        lambda x: max(x, 1),
        lambda x: x in [1],
    ],
)
def test_python_functions_that_need_a_number_say_so(function):
    with pytest.raises(hl.TruthError, match=r"test_jit.py:\d+: "):
        hl.jit(function)(1)


def test_recursion_on_a_traced_condition_is_explained():
    def factorial(n):
        return hl.iif(n <= 1, 1, n * factorial(n - 1))

    @hl.jit
    def fib(n):
        return hl.iif(n < 2, n, fib(n - 1) + fib(n - 2))

    for function in (hl.jit(factorial), fib):
        with pytest.raises(hl.TraceError, match=r"test_jit.py:\d+: \w+\(\) calls itself without end .* hl.while_loop"):
            function(5)


def test_recursion_on_a_static_argument_ends():
    @hl.jit(static="n")
    def power(x, n):
        return 1 if n == 0 else x * power(x, n - 1)

    assert power(2, 10) == 1024


def test_errors_of_the_function_come_out_and_leave_it_usable():
    @hl.jit
    def f(x, fail):
        if fail is None:
            raise KeyError("mine")
        return x

    with pytest.raises(KeyError, match="mine"):
        f(1.0, None)
    assert f(1.0, 2) == 1.0


def test_constants_divided_by_zero_name_the_line():
    with pytest.raises(ZeroDivisionError, match=r"test_jit.py:\d+: the constant 1.0 is divided by zero"):
        hl.jit(lambda x: x + hl.vector([1.0])[0] / 0)(1.0)


# ---------------------------------------------------------------------------------- memory, threads


def test_functions_that_are_dropped_are_freed():
    references = []
    for i in range(50):
        offset = float(i)
        f = hl.jit(lambda x, offset=offset: x + offset)
        assert f(1.0) == 1.0 + i
        references.append(weakref.ref(f))
    del f
    gc.collect()
    assert not any(reference() for reference in references)


def test_the_number_of_specialisations_is_bounded():
    f = hl.jit(lambda x, n: x + n, static="n")
    for n in range(300):
        assert f(1, n) == 1 + n
    assert f(1, 0) == 1


def test_threads_may_trace_and_call_at_once():
    inner = hl.jit(lambda x: x * 2)
    f = hl.jit(lambda x, y: inner(x) + y * 3 if isinstance(x, list) is False else inner(x[0]))
    wrong = []

    def work(seed):
        for i in range(60):
            x = seed * 1000 + i
            arguments = [(x, 1), (float(x), 1), (x, 1.0), (np.full(3, x), 1), ([x], 1)][i % 5]
            want = arguments[0][0] * 2 if isinstance(arguments[0], list) else arguments[0] * 2 + arguments[1] * 3
            if not np.array_equal(f(*arguments), want):
                wrong.append(arguments)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_reference_gives_the_same(monkeypatch):
    monkeypatch.setenv("HOTLOOP_TARGET_ARCH", "reference")
    f = hl.jit(lambda x, v: {"y": x * 2, "v": v + x, "c": [1]})
    got = f(1.5, np.arange(2.0))
    np.testing.assert_array_equal(got.pop("v"), [1.5, 2.5])
    assert got == {"y": 3.0, "c": [1]}
    with pytest.raises(hl.RangeError, match="does not fit int64"):
        hl.jit(lambda x: x + 1)(2**70)
    with pytest.raises(hl.DivisionByZero, match="division by zero"):
        hl.jit(lambda x: 1 // x, checked=True)(0)


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.complex_numbers()
    | st.sampled_from([object(), len, {1, 2}, np.zeros(2), np.zeros((2, 2), np.int8), np.array(["x"]), np.float32(1), 10**30,
                       np.zeros((1,) * 8), hl.value(1.0)]),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(st.text(max_size=1), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
FUZZED = [
    hl.jit(lambda *a, **k: (a, k)),
    hl.jit(lambda a, b=1: a + b),
    hl.jit(lambda a: a),
    hl.jit(lambda a, b: b, static="a"),
    hl.jit(lambda a: a[0]),
]


@settings(max_examples=200)
@given(st.sampled_from(FUZZED), st.lists(garbage, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "c"]), garbage, max_size=2))
def test_garbage_raises_and_never_kills(function, args, kwargs):
    with contextlib.suppress(hl.HotloopError, TypeError, ValueError, IndexError, KeyError):
        function(*args, **kwargs)
