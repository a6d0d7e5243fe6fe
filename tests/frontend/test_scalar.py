"""Traced scalars: construction, types, powers, Python's numeric protocols, no truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation import evaluate

import hotloop as hl
from hotloop.ir.graph import exact_numbers


def test_types_of_inputs():
    assert hl.value(1.0).dtype is hl.float32
    assert hl.value(1).dtype is hl.int32
    assert hl.value(True).dtype is hl.bool_
    assert hl.value(np.float64(1)).dtype is hl.float64
    assert hl.value(np.int64(1)).dtype is hl.int64
    assert hl.value(1, "float64").dtype is hl.float64
    assert hl.value(0.25, name="gain").name == "gain"
    assert hl.value(1.0).shape == ()
    assert hl.value(1.0).ndim == 0


def test_every_value_is_a_distinct_input():
    assert hl.value(1.0).node is not hl.value(1.0).node


@pytest.mark.parametrize("source", ["1", 1j, None, [1.0], hl.value(1.0)])
def test_what_is_no_number_is_refused(source):
    with pytest.raises(hl.TypeMismatch, match=r"test_scalar.py:\d+: value\(\) takes a number"):
        hl.value(source)


def test_unknown_types_and_values_out_of_range_are_named():
    with pytest.raises(hl.TypeMismatch, match="unknown dtype 'double'"):
        hl.value(1, "double")
    with pytest.raises(hl.RangeError, match="speed 2147483648 does not fit int32"):
        hl.value(2**31, name="speed")
    with pytest.raises(hl.RangeError, match="does not fit float32"):
        hl.value(1e300)


def test_a_traced_value_has_no_truth_and_no_number():
    x = hl.value(1.0)
    with pytest.raises(hl.TruthError, match=r"test_scalar.py:\d+: cannot branch on a traced value \(.* > 0"):
        bool(x > 0)
    with pytest.raises(hl.TruthError, match=r"hl\.sin and such instead of math\.sin"):
        math.sin(x)
    with pytest.raises(hl.TruthError, match=r"int\(\) needs a number"):
        int(x)
    with pytest.raises(hl.TruthError, match=r"Use hl\.loop for a loop"):
        range(hl.value(3))
    with pytest.raises(hl.TruthError, match="cannot branch"):
        max(x, 2.0)
    with pytest.raises(hl.TypeMismatch, match="a traced scalar cannot be iterated"):
        list(x)


INTS = [-7, -3, -1, 0, 1, 2, 3, 10]


@pytest.mark.parametrize("base", INTS)
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 5, 8, 9])
def test_int_powers_stay_ints(base, exponent):
    got = hl.value(base, "int64") ** exponent
    assert got.dtype is hl.int64
    assert evaluate(got) == base**exponent
    assert (hl.value(base) ** exponent).dtype is hl.int32


def test_large_int_powers_wrap_as_products_do():
    want = np.int32(3)
    with np.errstate(all="ignore"):
        for _ in range(99):
            want = want * np.int32(3)
    assert evaluate(hl.value(3) ** 100) == want


def test_powers_take_few_products():
    """x ** 1000 squares 9 times and multiplies 5 times."""
    from hotloop.ir.graph import reachable

    nodes = reachable([(hl.value(3) ** 1000).node])
    assert len(nodes) == 1 + 9 + 5


def test_negative_int_powers_are_floats():
    assert (hl.value(2) ** -2).dtype is hl.float32
    assert evaluate(hl.value(2) ** -2) == 0.25
    assert evaluate(hl.value(4) ** 0.5) == 2


def test_powers_of_bools_count_as_ints():
    for exponent in (0, 1, 2):
        assert (hl.value(True) ** exponent).dtype is hl.int32
        assert evaluate(hl.value(False) ** exponent) == 0**exponent


def test_squares_are_products():
    x = hl.value(3.0)
    assert (x**2).node is (x * x).node
    assert (x**2.0).node is (x * x).node
    assert (x**1).node is x.node
    assert (x**0).node.is_const
    assert (x**-1).node is (1.0 / x).node
    assert (x**0.5).node.op.name == "pow"
    assert (x**100).node.op.name == "pow"
    assert (2**x).dtype is hl.float32
    assert (hl.value(2) ** hl.value(3)).dtype is hl.float32


@given(st.floats(0.125, 3.0, width=32), st.integers(-20, 20))
def test_float_powers_of_constants(x, n):
    np.testing.assert_allclose(evaluate(hl.value(x) ** n), np.float64(x) ** n, rtol=1e-5)


@given(st.floats(0.1, 10.0), st.integers(-6, 6))
def test_exact_powers_are_pythons_to_a_bit(x, n):
    with exact_numbers():
        got = hl.value(x) ** n
        assert got.dtype is hl.float64
        if abs(n) >= 3:
            assert got.node.op.name == "pow"
    np.testing.assert_allclose(evaluate(got), x**n, rtol=4e-16)


def test_python_protocols():
    x = hl.value(-7)
    assert [evaluate(part) for part in divmod(x, 2)] == [-4, 1]
    assert [evaluate(part) for part in divmod(20, x)] == [-3, -1]
    assert evaluate(+x) == -7
    assert evaluate(-x) == 7
    assert evaluate(abs(x)) == 7
    assert evaluate(~x) == 6
    assert (+hl.value(True)).dtype is hl.int32
    with pytest.raises(TypeError, match="unsupported operand"):
        pow(x, 2, 3)


@pytest.mark.parametrize("number", [2.5, -2.5, 3.5, 0.49999997, -0.3, 7.0, 1e6 + 0.5])
def test_rounding_protocols_give_ints(number):
    x = hl.value(number, "float64")
    for got, want in [
        (round(x), round(number)),
        (math.floor(x), math.floor(number)),
        (math.ceil(x), math.ceil(number)),
        (math.trunc(x), math.trunc(number)),
    ]:
        assert got.dtype is hl.int64
        assert evaluate(got) == want
    assert round(hl.value(number)).dtype is hl.int32
    assert round(hl.value(3)).dtype is hl.int32


def test_rounding_to_digits_gives_floats():
    x = hl.value(1234.5678, "float64")
    assert evaluate(round(x, 2)) == 1234.57
    assert evaluate(round(x, -2)) == 1200
    assert evaluate(round(x, 0)) == 1235
    assert round(x, 0).dtype is hl.float64


def test_methods_are_the_functions():
    x, y = hl.value(0.5), hl.value(2.0)
    assert x.sin().node is hl.sin(x).node
    assert x.maximum(y).node is hl.maximum(x, y).node
    assert evaluate(x.maximum([0.0, 1.0])).tolist() == [0.5, 1]
    assert evaluate(x.astype("int32")) == 0


def test_numpy_scalars_are_operands_on_both_sides():
    x = hl.value(2.0)
    for got, want in [
        (x + np.float32(1), 3),
        (np.float32(1) + x, 3),
        (np.float64(1) - x, -1),
        (x * np.int32(3), 6),
        (np.array(4.0) / x, 2),
    ]:
        assert isinstance(got, hl.value)
        assert evaluate(got) == want
    assert (x + np.float64(1)).dtype is hl.float64
    assert (x > np.float32(1)).dtype is hl.bool_


def test_other_operands_are_type_errors():
    for other in (None, "a", {}, object()):
        with pytest.raises(TypeError, match="unsupported operand"):
            hl.value(1.0) + other
        assert (hl.value(1.0) == other) is False


def test_gradient_of_a_product_over_a_zero_is_the_product_of_the_others():
    v = hl.vector.input([2.0, 0.0, 3.0])
    np.testing.assert_array_equal(evaluate(hl.grad(v.prod(), v)), [0, 6, 0])


def test_gradient_of_a_traced_index_goes_to_the_element():
    v = hl.vector.input([2.0, 5.0, 3.0])
    got = evaluate(hl.grad(v[hl.value(-2)] ** 2, v))
    np.testing.assert_array_equal(got, [0, 10, 0])
    t = hl.tensor.input(np.float32([[1, 2], [3, 4]]))
    places = hl.vector.input([1, 1, 0])
    np.testing.assert_array_equal(evaluate(hl.grad(t[places].sum(), t)), [[1, 1], [2, 2]])


def test_gradients_of_lengths_at_zero_are_zero():
    v = hl.vector.input([0.0, 0.0])
    np.testing.assert_array_equal(evaluate(hl.grad(v.magnitude(), v)), [0, 0])
    np.testing.assert_array_equal(evaluate(hl.grad(hl.distance(v, [0.0, 0.0]), v)), [0, 0])
    np.testing.assert_array_equal(evaluate(hl.grad(v.std(), v)), [0, 0])
    assert np.isfinite(evaluate(hl.grad(v.normalize().sum(), v))).all()
