"""The functions of rows and what is made of them: numbers, traced values, arrays, lists; staleness."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stencilgen import functions as generator
from tests.evaluation import evaluate

import hotloop as hl
from hotloop.ops import REGISTRY

PUBLIC = sorted(op.name for op in generator.public_rows())
FLOAT_ROWS = [name for name in PUBLIC if all(types[0].is_float for types, _ in REGISTRY[name].types.overloads)]


def operands(name):
    op = REGISTRY[name]
    low, high = op.domain[0] if op.domain else (0.1, 0.9)
    middle = [low + (high - low) * part for part in (0.55, 0.6, 0.7)]
    return [np.float32(middle) for _ in range(op.arity)]


def test_generated_files_are_those_of_the_rows():
    """Run `python -m stencilgen.functions` if this fails."""
    assert (generator.FRONTEND / "functions.py").read_text() == generator.functions_text()
    assert (generator.FRONTEND / "methods.py").read_text() == generator.methods_text()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_row_is_a_documented_function_and_method(name):
    function = getattr(hl, name)
    assert REGISTRY[name].doc in function.__doc__
    assert "Types:" in function.__doc__
    assert callable(getattr(hl.value, name))
    assert callable(getattr(hl.vector, name))


@pytest.mark.parametrize("name", PUBLIC)
def test_scalars_vectors_lists_and_arrays_give_the_same_bits(name):
    function, given_arrays = getattr(hl, name), operands(name)
    arrays = evaluate(function(*[hl.vector.input(a) for a in given_arrays]))
    scalars = [evaluate(function(*[hl.value(a[i]) for a in given_arrays])) for i in range(3)]
    lists = evaluate(function(*[[hl.value(x) for x in a] for a in given_arrays]))
    numpys = function(*given_arrays)
    method = evaluate(getattr(hl.vector.input(given_arrays[0]), name)(*[a.tolist() for a in given_arrays[1:]]))
    assert isinstance(numpys, np.ndarray)
    for got in (scalars, lists, numpys, method):
        np.testing.assert_array_equal(got, arrays)


@pytest.mark.parametrize("name", FLOAT_ROWS)
def test_python_numbers_are_computed_at_once_in_double_precision(name):
    values = [float(a[1]) for a in operands(name)]
    got = getattr(hl, name)(*values)
    assert type(got) in (float, bool)
    want = evaluate(getattr(hl, name)(*[hl.value(x, dtype="float64") for x in values]))
    assert got == want
    assert type(getattr(hl, name)(*[np.float32(x) for x in values])) in (np.float32, np.bool_)


def test_numbers_of_python_stay_ints():
    assert hl.minimum(1, 3) == 1
    assert type(hl.minimum(1, 3)) is int
    assert type(hl.abs(-3)) is int
    assert type(hl.sign(-3)) is int
    assert hl.maximum(1, 3.5) == 3.5
    assert hl.sqrt(4) == 2.0
    assert type(hl.abs(True)) is int
    assert hl.sin(True) == hl.sin(1.0)
    assert hl.floor(3) == 3.0


def test_acos_of_a_constant_is_not_asin():
    assert abs(hl.acos(0.5) - math.acos(0.5)) < 1e-15
    np.testing.assert_allclose(evaluate(hl.acos(hl.vector([0.5, 0.5]))), math.acos(0.5), rtol=1e-6)


def test_atan2_keeps_signed_zeros_apart():
    assert hl.atan2(-0.0, -1.0) == -math.pi
    assert hl.atan2(0.0, -1.0) == math.pi
    x = hl.value(-1.0)
    assert evaluate(hl.atan2(-0.0, x)) == -np.float32(math.pi)
    assert evaluate(hl.atan2(0.0, x)) == np.float32(math.pi)


def test_functions_broadcast():
    t, v = hl.tensor.input(np.float32([[1], [2]])), hl.vector.input([3.0, 4.0, 5.0])
    np.testing.assert_array_equal(evaluate(hl.maximum(t, v)), [[3, 4, 5], [3, 4, 5]])
    assert evaluate(hl.hypot(hl.value(3.0), [4.0, 0.0])).tolist() == [5, 3]
    assert isinstance(hl.sin(v), hl.vector)
    assert isinstance(hl.sin([hl.value(1.0), 2.0]), hl.vector)
    assert isinstance(hl.sin([1.0, 2.0]), hl.vector)
    assert isinstance(hl.sin([[1.0, 2.0]]), hl.tensor)


def test_operands_that_are_none_are_refused():
    with pytest.raises(hl.TypeMismatch, match=r"sin does not take \(str\). It takes numbers"):
        hl.sin("x")
    with pytest.raises(hl.TypeMismatch, match=r"atan2 does not take \(value, NoneType\)"):
        hl.atan2(hl.value(1.0), None)
    with pytest.raises(hl.ShapeError, match=r"minimum of shapes \(2,\) and \(3,\)"):
        hl.minimum(np.zeros(2), np.zeros(3))
    with pytest.raises(hl.RangeError, match=r"the number .* does not fit int64"):
        hl.abs(2**70)


# --------------------------------------------------------------------------------- powers, selects


def test_pow_is_the_power_operator():
    assert hl.pow(2, 3) == 8
    assert type(hl.pow(2, 3)) is int
    assert hl.pow(2, 100) == 2**100
    assert hl.pow(2, -1) == 0.5
    assert hl.pow(2.0, 0.5) == math.sqrt(2)
    assert math.isnan(hl.pow(-1.0, 0.5))
    x = hl.value(3)
    assert hl.pow(x, 2).dtype is hl.int32
    assert evaluate(hl.pow(2, hl.value(3.0))) == 8
    np.testing.assert_array_equal(evaluate(hl.pow([1, 2, 3], hl.value(2.0))), [1, 4, 9])
    np.testing.assert_array_equal(hl.pow(np.float64([1, 4]), 0.5), [1, 2])
    with pytest.raises(hl.TypeMismatch, match=r"pow does not take \(str, int\)"):
        hl.pow("x", 2)


@pytest.mark.parametrize(("x", "want"), [(math.inf, 1), (-math.inf, 0), (0.5, 0.5), (-3, 0), (7, 1), (math.nan, math.nan)])
def test_clamp_is_a_select(x, want):
    np.testing.assert_array_equal(evaluate(hl.clamp(hl.value(float(x)), 0.0, 1.0)), np.float32(want))
    np.testing.assert_array_equal(hl.clamp(float(x), 0.0, 1.0), want)


def test_clamp_takes_arrays():
    t = hl.tensor.input([[1.0, 5.0], [-2.0, 3.0]])
    np.testing.assert_array_equal(evaluate(hl.clamp(t, 0, 4)), [[1, 4], [0, 3]])
    np.testing.assert_array_equal(evaluate(hl.clamp(hl.vector.input([1.0, 5.0]), [2.0, 0.0], hl.value(4.0))), [2, 4])
    assert hl.clamp(5, 0, 3) == 3


def test_where_poisons_nothing():
    v = hl.vector.input([0.0, 2.0])
    np.testing.assert_array_equal(evaluate(hl.where(v > 0, 1 / v, 5.0)), [5, 0.5])
    np.testing.assert_array_equal(evaluate(hl.where(hl.value(1), v, [7.0, 8.0])), [0, 2])
    np.testing.assert_array_equal(evaluate(hl.where([True, False], v, 9.0)), [0, 9])
    np.testing.assert_array_equal(evaluate(hl.where(v, 1, 2)), [2, 1])
    assert hl.where(True, 1, 2) == 1
    assert hl.where(0.0, 1, 2) == 2
    np.testing.assert_array_equal(hl.where(np.array([1, 0]), 1.5, np.array([2.5, 3.5])), [1.5, 3.5])


def test_where_chooses_quaternions():
    chosen = hl.where(hl.value(0) > 0, hl.quaternion(), hl.quaternion.input([1.0, 2, 3, 4]))
    assert isinstance(chosen, hl.quaternion)
    np.testing.assert_array_equal(evaluate(chosen), [1, 2, 3, 4])
    with pytest.raises(hl.TypeMismatch, match="needs one condition"):
        hl.where(hl.vector([True, False]), hl.quaternion(), hl.quaternion())


# ---------------------------------------------------------------------------------------- geometry


def test_interpolation_and_angles():
    assert hl.lerp(2.0, 4.0, 0.25) == 2.5
    np.testing.assert_array_equal(evaluate(hl.lerp(hl.vector.input([0.0, 2.0]), [4.0, 4.0], hl.value(0.5))), [2, 3])
    assert hl.degrees(math.pi) == 180
    np.testing.assert_allclose(evaluate(hl.radians(hl.vector.input([180.0, 90.0]))), [math.pi, math.pi / 2], rtol=1e-6)
    assert hl.get_42() == 42.0
    assert evaluate(hl.get_42(hl.value(3.0))) == 42


vectors = st.lists(st.floats(-100, 100), min_size=3, max_size=3).map(np.array).filter(lambda v: np.linalg.norm(v) > 1e-3)


@given(vectors, vectors)
def test_distances_projections_and_angles(a, b):
    v, w = hl.vector.input(a), hl.vector.input(b)
    np.testing.assert_allclose(evaluate(hl.distance(v, w)), np.linalg.norm(a - b), rtol=1e-12)
    np.testing.assert_allclose(evaluate(hl.scalar_projection(v, w)), a @ b / np.linalg.norm(b), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(evaluate(hl.vector_projection(v, w)), b * (a @ b) / (b @ b), rtol=1e-9, atol=1e-9)
    cosine = np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)
    np.testing.assert_allclose(evaluate(hl.angle_between(v, w)), np.arccos(cosine), atol=1e-6)
    np.testing.assert_allclose(evaluate(hl.cross(v, w)), np.cross(a, b), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(evaluate(hl.norm(v)), np.linalg.norm(a), rtol=1e-12)
    np.testing.assert_allclose(evaluate(hl.normalize(v)), a / np.linalg.norm(a), rtol=1e-12)


def test_the_angle_of_parallel_vectors_is_zero_and_of_opposite_ones_pi():
    rng = np.random.default_rng(0)
    for a in rng.normal(size=(20, 3)).astype(np.float32):
        v = hl.vector.input(a)
        assert evaluate(hl.angle_between(v, v)) == 0
        assert evaluate(hl.angle_between(v, v * 3.0)) < 5e-7
        np.testing.assert_allclose(evaluate(hl.angle_between(v, -v)), math.pi, rtol=1e-6)


def test_zero_vectors_have_documented_projections():
    v, zero = hl.vector.input([1.0, 2.0, 3.0]), hl.vector.input([0.0, 0.0, 0.0])
    assert evaluate(hl.scalar_projection(v, zero)) == 0
    np.testing.assert_array_equal(evaluate(hl.vector_projection(v, zero)), [0, 0, 0])
    assert evaluate(hl.angle_between(v, zero)) == 0


def test_rotation_of_vectors():
    got = hl.rotate_vector(hl.vector.input([1.0, 0.0, 0.0]), [0.0, 0.0, 2.0], hl.value(math.pi / 2))
    np.testing.assert_allclose(evaluate(got), [0, 1, 0], atol=1e-6)
    q = hl.quaternion.from_axis_angle([1.0, 2.0, 3.0], 0.7)
    np.testing.assert_allclose(
        evaluate(hl.rotate_vector([4.0, 5.0, 6.0], [1.0, 2.0, 3.0], 0.7)), evaluate(q.rotate_vector([4.0, 5.0, 6.0])), rtol=1e-5
    )


def test_lengths_must_be_equal():
    with pytest.raises(hl.ShapeError, match=r"distance needs two vectors of one length, not shapes \(2,\) and \(3,\)"):
        hl.distance([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(hl.ShapeError, match=r"angle_between needs two vectors of one length, not shapes \(\) and \(1,\)"):
        hl.angle_between(1.0, [1.0])
    with pytest.raises(hl.ShapeError, match="rotate_vector needs vectors of 3 elements and a scalar angle"):
        hl.rotate_vector([1.0, 2.0], [1.0, 2.0], 1.0)
