"""Vectors: construction, types, arithmetic beside lists, arrays and scalars, geometry."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation import evaluate

import hotloop as hl

finite = st.floats(-1000.0, 1000.0, width=32)
three = st.lists(finite, min_size=3, max_size=3)


def test_python_numbers_are_constants_of_the_default_types():
    assert hl.vector([1.0, 2]).dtype is hl.float32
    assert hl.vector([1, 2]).dtype is hl.int32
    assert hl.vector([True, False]).dtype is hl.bool_
    assert hl.vector([1.0, 2]).node.is_const


def test_numpy_arrays_keep_their_type_and_small_integers_become_int32():
    assert hl.vector(np.zeros(2)).dtype is hl.float64
    assert hl.vector(np.zeros(2, np.uint8)).dtype is hl.int32
    assert hl.vector(np.zeros(2, np.float16)).dtype is hl.float32
    assert hl.vector(np.zeros(2, np.uint32)).dtype is hl.int64


def test_dtype_converts_what_it_is_given():
    assert hl.vector([1, 2], dtype="float64").dtype is hl.float64
    assert hl.vector([0.1], dtype=hl.float64).values[0].node.attr.value == 0.1


def test_numbers_beside_traced_scalars_take_their_type():
    x = hl.value(0.5, dtype="float64")
    v = hl.vector([x, 0.1, 2])
    assert v.dtype is hl.float64
    np.testing.assert_array_equal(evaluate(v), [0.5, 0.1, 2.0])


def test_vector_takes_a_generator_of_traced_scalars():
    v = hl.vector(hl.value(float(i)) for i in range(4))
    np.testing.assert_array_equal(evaluate(v), [0, 1, 2, 3])
    assert v.shape == (4,)
    assert v.ndim == 1
    assert len(v) == 4
    assert v.size() == 4


def test_a_vector_of_inputs_is_one_writable_node():
    v = hl.vector.input([1.0, 2.0, 3.0], name="position")
    assert v.name == "position"
    assert v.node.shape == (3,)
    assert v.node.args == ()


def test_inputs_need_values_that_are_known():
    with pytest.raises(hl.TypeMismatch, match="first values that are known now"):
        hl.vector.input([hl.value(1.0)])


def test_a_vector_has_one_axis():
    with pytest.raises(hl.ShapeError, match=r"vector\(\) needs one axis, not shape \(2, 1\)"):
        hl.vector([[1], [2]])
    with pytest.raises(hl.ShapeError, match=r"needs one axis, not shape \(\)"):
        hl.vector(hl.value(1.0))


@pytest.mark.parametrize("source", ["abc", {1: 2}, {1, 2}, None, 3j])
def test_what_is_no_array_is_refused(source):
    with pytest.raises(hl.TypeMismatch, match=r"vector\(\) takes numbers"):
        hl.vector(source)


def test_an_element_that_is_no_number_is_named():
    with pytest.raises(hl.TypeMismatch, match="'a' of type str cannot be an element"):
        hl.vector([1.0, "a"])


def test_constants_that_do_not_fit_are_refused_with_the_line():
    with pytest.raises(hl.RangeError, match=r"test_vector.py:\d+: the constant 2147483648 does not fit int32"):
        hl.vector([1, 2**31])
    with pytest.raises(hl.RangeError, match=r"1e\+300 does not fit float32"):
        hl.vector([1.0, 1e300])


def test_minus_zero_and_zero_are_different_elements():
    assert math.copysign(1, evaluate(hl.vector([-0.0, 0.0]))[0]) == -1


@given(three, three, finite.filter(bool))  # a zero written as a Python number absorbs
def test_arithmetic_is_numpys(a, b, s):
    v, w = hl.vector.input(a, dtype="float32"), hl.vector.input(b, dtype="float32")
    x, y, t = np.float32(a), np.float32(b), np.float32(s)
    with np.errstate(all="ignore"):
        cases = [(v + w, x + y), (v - w, x - y), (v * w, x * y), (v / w, x / y), (s - v, t - x), (s / v, t / x), (-v, -x), (abs(v), abs(x))]
        for got, want in cases:
            np.testing.assert_array_equal(evaluate(got), want)


@pytest.mark.parametrize("other", [[4.0, 5.0, 6.0], (4.0, 5.0, 6.0), np.float32([4, 5, 6])])
def test_lists_tuples_and_arrays_are_operands_on_both_sides(other):
    v = hl.vector.input([1.0, 2.0, 3.0])
    for got, want in [
        (v + other, [5, 7, 9]),
        (other + v, [5, 7, 9]),
        (v * other, [4, 10, 18]),
        (other - v, [3, 3, 3]),
        (v @ other, 32),
        (other @ v, 32),
    ]:
        assert got.dtype is hl.float32
        np.testing.assert_array_equal(evaluate(got), want)


def test_a_traced_scalar_meets_lists_and_arrays():
    x = hl.value(2.0)
    np.testing.assert_array_equal(evaluate(x * [1, 2]), [2, 4])
    np.testing.assert_array_equal(evaluate(np.float32([1, 2]) - x), [-1, 0])
    np.testing.assert_array_equal(evaluate(x ** [1.0, 2.0]), [2, 4])
    np.testing.assert_array_equal(evaluate(x < [1.0, 2.0]), [False, False])
    np.testing.assert_array_equal(evaluate(x * hl.vector([1.0, 2.0])), [2, 4])


def test_numpy_scalars_keep_their_type_beside_a_vector():
    v = hl.vector.input([1.0, 2.0])
    assert (v * np.float64(2)).dtype is hl.float64
    assert (np.float32(2) * v).dtype is hl.float32
    assert (v * 2).dtype is hl.float32


def test_unequal_lengths_are_errors_with_the_line():
    with pytest.raises(hl.ShapeError, match=r"test_vector.py:\d+: add of shapes \(3,\) and \(2,\)"):
        hl.vector([1.0, 2.0, 3.0]) + hl.vector.input([1.0, 2.0])
    with pytest.raises(hl.ShapeError, match=r"minimum of shapes \(3,\) and \(2,\)"):
        hl.minimum(hl.vector.input([1.0, 2.0, 3.0]), [1.0, 2.0])


def test_vector_plus_tensor_is_tensor_plus_vector():
    v, t = hl.vector.input([1.0, 2.0]), hl.tensor.input([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(evaluate(v + t), evaluate(t + v))
    assert isinstance(v + t, hl.tensor)
    assert isinstance(v + hl.tensor([1.0, 2.0]), hl.tensor)
    numbers = [1.0, 2.0]
    assert isinstance(v + numbers, hl.vector)


def test_vector_times_tensor_checks_shapes():
    v = hl.vector.input([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(hl.ShapeError, match=r"matrix product of shapes \(4,\) and \(2, 2\): inner lengths must be equal"):
        v @ hl.tensor([[1.0, 2.0], [3.0, 4.0]])


def test_an_operand_that_is_none_is_a_type_error():
    with pytest.raises(TypeError, match="unsupported operand"):
        hl.vector([1.0]) + None
    with pytest.raises(TypeError, match="unsupported operand"):
        hl.value(1.0) * {}


def test_constant_zeros_and_ones_vanish():
    v = hl.vector.input([1.0, 2.0, 3.0])
    assert (v * 1).node is v.node
    assert (v + 0).node is v.node
    assert (v - 0).node is v.node
    assert (v / 1).node is v.node
    assert (v * 0).node.is_const
    assert (v * 0 + v).node.is_const is False
    np.testing.assert_array_equal(evaluate(v * 0), [0, 0, 0])


def test_comparisons_give_vectors_of_bools():
    v = hl.vector.input([1.0, 2.0, 3.0])
    assert (v > 2).dtype is hl.bool_
    np.testing.assert_array_equal(evaluate(v > [0.0, 2.0, 4.0]), [True, False, False])
    np.testing.assert_array_equal(evaluate(v == v), [True, True, True])
    np.testing.assert_array_equal(evaluate((v > 1) & ~(v == 3)), [False, True, False])


def test_a_vector_has_no_truth():
    v = hl.vector.input([1.0, 2.0])
    with pytest.raises(hl.TruthError, match=r"traced array of shape \(2,\) has no truth. Use x.any\(\)"):
        bool(v == v)
    with pytest.raises(hl.TruthError, match="cannot branch on a traced value"):
        _ = 1.0 in v
    with pytest.raises(hl.TruthError, match="cannot branch on a traced value"):
        sorted(v)
    with pytest.raises(hl.TruthError, match="cannot branch on a traced value"):
        any(v)
    with pytest.raises(hl.TruthError, match="cannot branch on a traced value"):
        min(v[0], v[1])


def test_numpy_functions_are_refused_with_the_cure():
    with pytest.raises(hl.TruthError, match=r"Use hotloop's functions"):
        np.sin(np.asarray(hl.vector([1.0])))


@given(three, three)
def test_products_of_vectors(a, b):
    v, w = hl.vector.input(a, dtype="float64"), hl.vector.input(b, dtype="float64")
    x, y = np.array(a), np.array(b)
    np.testing.assert_allclose(evaluate(v @ w), x @ y, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(evaluate(v.dot(w)), x @ y, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(evaluate(v.cross(w)), np.cross(x, y), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(evaluate(v.magnitude()), np.linalg.norm(x), rtol=1e-12)


def test_cross_needs_three_elements():
    with pytest.raises(hl.ShapeError, match=r"cross needs two vectors of 3 elements, not shapes \(2,\) and \(3,\)"):
        hl.vector([1.0, 2.0]).cross([1.0, 2.0, 3.0])


def test_normalize_of_zero_is_zero():
    np.testing.assert_array_equal(evaluate(hl.vector.input([0.0, 0.0, 0.0]).normalize()), [0, 0, 0])
    np.testing.assert_allclose(evaluate(hl.vector.input([3.0, 4.0]).normalize()), [0.6, 0.8], rtol=1e-6)


def test_map_traces_a_function_of_each_element():
    v = hl.vector.input([1.0, 2.0])
    np.testing.assert_array_equal(evaluate(v.map(lambda x: x * 10 + 1)), [11, 21])
    with pytest.raises(hl.TypeMismatch, match="a function that returns a number"):
        v.map(lambda x: "text")


def test_peers_names_for_elements():
    v = hl.vector([hl.value(1.0), 2.0])
    assert v.homogenize() is v
    assert evaluate(v.get_scalar(1)) == 2
    assert [evaluate(x) for x in v.values] == [1, 2]
    with pytest.raises(hl.ShapeError, match=r"2 indices for one element of an array of shape \(2,\)"):
        v.get_scalar(0, 0)


def test_a_square_of_an_int_vector_is_an_int_vector():
    v = hl.vector.input([1, -2, 3])
    assert (v**2).dtype is hl.int32
    np.testing.assert_array_equal(evaluate(v**2), [1, 4, 9])
    np.testing.assert_array_equal(evaluate(2.0**v), np.float32([2, 0.25, 8]))


def test_repr_names_operation_type_and_line():
    assert repr(hl.vector.input([1.0, 2.0])).startswith("vector(input: float32[2], test_vector.py:")
