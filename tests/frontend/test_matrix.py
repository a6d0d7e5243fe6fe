"""Tensors: construction, constants that vanish, products, inverses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tests.evaluation import evaluate

import hotloop as hl
from hotloop.ir.graph import exact_numbers

A = np.float32([[1, 2], [3, 4]])


def test_nested_lists_of_scalars_are_one_pack():
    x = hl.value(5.0)
    t = hl.tensor([[x, 1], [2.0, x]])
    assert t.node.op.name == "pack"
    np.testing.assert_array_equal(evaluate(t), [[5, 1], [2, 5]])


@pytest.mark.parametrize(
    ("source", "want"),
    [
        (3, 3),
        ([1, 2], [1, 2]),
        ([[1.5, 2], [3, 4]], [[1.5, 2], [3, 4]]),
        (np.eye(2), np.eye(2)),
        (range(3), [0, 1, 2]),
        ([np.arange(2), [5, 6]], [[0, 1], [5, 6]]),
        ([[True, False]], [[True, False]]),
        (np.float32(2), 2),
    ],
)
def test_whatever_numpy_takes_becomes_a_tensor(source, want):
    t = hl.tensor(source)
    assert t.shape == np.shape(want)
    np.testing.assert_array_equal(evaluate(t), want)


def test_rows_may_be_traced_vectors():
    v = hl.vector.input([1.0, 2.0])
    np.testing.assert_array_equal(evaluate(hl.tensor([v, v * 2, [7.0, 8.0]])), [[1, 2], [2, 4], [7, 8]])
    assert hl.tensor([hl.vector([hl.value(1.0), 2.0]), [3.0, 4.0]]).node.op.name == "pack"
    assert hl.tensor(v).node is v.node


def test_shape_argument_reshapes():
    assert hl.tensor([1, 2, 3, 4], (2, 2)).shape == (2, 2)
    assert hl.tensor(range(6), shape=(3, -1)).shape == (3, 2)
    assert hl.matrix is hl.tensor


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(hl.ShapeError, match=r"row 0 has shape \(2,\), row 1 has \(1,\)"):
        hl.tensor([[1, 2], [3]])
    with pytest.raises(hl.ShapeError, match=r"row 0 has shape \(\), row 1 has \(1,\)"):
        hl.tensor([1, [2]])
    with pytest.raises(hl.ShapeError, match=r"rows of different shapes: row 0 has \(2,\), row 1 has \(3,\)"):
        hl.tensor([hl.vector.input([1.0, 2.0]), hl.vector.input([1.0, 2.0, 3.0])])


def test_constants_have_numpys_values_and_the_programs_types():
    for got, want in [
        (hl.zeros(3), np.zeros(3)),
        (hl.ones((2, 3)), np.ones((2, 3))),
        (hl.eye(2), np.eye(2)),
        (hl.eye(2, 3), np.eye(2, 3)),
        (hl.identity(3), np.eye(3)),
        (hl.arange(4), np.arange(4)),
        (hl.arange(1, 6, 2), np.arange(1, 6, 2)),
        (hl.arange(5, 1, -1), np.arange(5, 1, -1)),
        (hl.arange(0, 1, 0.25), np.arange(0, 1, 0.25)),
        (hl.full((2,), 7), np.full(2, 7)),
    ]:
        assert got.node.is_const
        assert isinstance(got, hl.tensor)
        np.testing.assert_array_equal(evaluate(got), want)
    assert hl.zeros(3).dtype is hl.float32
    assert hl.arange(3).dtype is hl.int32
    assert hl.arange(3.0).dtype is hl.float32
    assert hl.ones(2, dtype="int64").dtype is hl.int64
    assert hl.arange(0, 1, 0.1).shape == (10,)
    with exact_numbers():
        assert hl.zeros(3).dtype is hl.float64
        assert hl.arange(3).dtype is hl.int64


def test_shapes_and_ranges_that_make_no_sense_are_refused():
    with pytest.raises(hl.ShapeError, match=r"a shape is made of numbers of elements, 0 or more, not -1"):
        hl.zeros(-1)
    with pytest.raises(hl.ShapeError, match=r"not 1\.5"):
        hl.ones(1.5)
    with pytest.raises(hl.ShapeError, match="arange with step 0"):
        hl.arange(0, 3, 0)
    with pytest.raises(hl.TypeMismatch, match="arange needs numbers that are known now"):
        hl.arange(hl.value(3))


def test_constant_matrices_vanish_from_products():
    t = hl.tensor.input(A)
    assert (t * hl.ones((2, 2))).node is t.node
    assert (t + hl.zeros((2, 2))).node is t.node
    assert (t * hl.zeros((2, 2))).node.is_const
    assert (hl.zeros((2, 2)) * 2).node.is_const


def test_exact_numbers_keep_zeros_that_numpy_would_multiply():
    with exact_numbers():
        product = hl.tensor.input(np.array([np.inf, 1.0])) * hl.zeros(2)
        assert not product.node.is_const
        assert np.isnan(evaluate(product)[0])


def test_a_diagonal_is_built_and_taken():
    v = hl.vector([hl.value(2.0), hl.value(3.0)])
    np.testing.assert_array_equal(evaluate(hl.diagonal(v)), np.diag([2, 3]))
    np.testing.assert_array_equal(evaluate(hl.diagonal(hl.tensor.input(A))), [1, 4])
    np.testing.assert_array_equal(evaluate(hl.tensor.input(A[:1]).diagonal()), [1])
    assert evaluate(hl.tensor.input(A).trace()) == 5
    with pytest.raises(hl.ShapeError, match=r"a diagonal needs a matrix, not shape \(2,\)"):
        hl.tensor([1.0, 2.0]).trace()


def test_concat_and_stack_are_numpys():
    v, t = hl.vector.input([1.0, 2.0]), hl.tensor.input(A)
    joined = hl.concat([v, [3, 4], np.float32([5])])
    assert isinstance(joined, hl.vector)
    np.testing.assert_array_equal(evaluate(joined), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(evaluate(hl.concat((t, t), axis=-1)), np.concatenate([A, A], -1))
    np.testing.assert_array_equal(evaluate(hl.concat((t, t))), np.concatenate([A, A]))
    for axis in (0, 1, 2, -1):
        np.testing.assert_array_equal(evaluate(hl.stack([t, t], axis)), np.stack([A, A], axis))
    assert hl.stack([v, v]).shape == (2, 2)


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(hl.ShapeError, match=r"concat of shapes \(2, 2\) and \(3, 3\) along axis 0"):
        hl.concat([hl.eye(2), hl.eye(3)])
    with pytest.raises(hl.ShapeError, match="a scalar has none"):
        hl.concat([hl.value(1.0)])
    with pytest.raises(hl.ShapeError, match=r"stack of shapes \(2, 2\) and \(3, 3\)"):
        hl.stack([hl.eye(2), hl.eye(3)])
    with pytest.raises(hl.TypeMismatch, match="concat takes a sequence of arrays"):
        hl.concat([])
    with pytest.raises(hl.ShapeError, match="concat of shapes"):
        hl.concat([hl.eye(2), [1.0, 2.0]])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2,), (2,)),
        ((3, 2), (2,)),
        ((2,), (2, 3)),
        ((3, 2), (2, 4)),
        ((5, 3, 2), (2, 4)),
        ((5, 3, 2), (5, 2, 4)),
        ((2,), (5, 2, 3)),
        ((1, 3, 2), (5, 2, 2)),
    ],
)
def test_products_of_all_ranks_are_numpys(a, b):
    rng = np.random.default_rng(0)
    x, y = rng.integers(-4, 5, a).astype(np.float32), rng.integers(-4, 5, b).astype(np.float32)
    got = hl.tensor.input(x) @ hl.tensor.input(y)
    assert got.shape == (x @ y).shape
    np.testing.assert_array_equal(evaluate(got), x @ y)
    np.testing.assert_array_equal(evaluate(hl.dot(hl.tensor.input(x), y)), x @ y)


def test_a_matrix_times_a_vector_is_a_vector():
    t, v = hl.tensor.input(A), hl.vector.input([1.0, 2.0])
    assert isinstance(t @ v, hl.vector)
    assert isinstance(v @ t, hl.vector)
    assert isinstance(t @ t, hl.tensor)
    assert isinstance(v @ v, hl.value)
    with pytest.raises(hl.TypeMismatch, match="matrix product of tensor and str"):
        t.matmul("x")
    with pytest.raises(hl.ShapeError, match=r"matrix product of shapes \(\) and \(2, 2\)"):
        hl.tensor(1.0) @ t


def test_inputs_of_any_shape():
    t = hl.tensor.input([[1, 2], [3, 4]], name="gains", dtype="float64")
    assert t.dtype is hl.float64
    assert t.name == "gains"
    assert t.shape == (2, 2)


@given(size=st.integers(1, 5), data=st.data())
@settings(max_examples=20)
def test_inverse_det_and_solve_are_numpys(size, data):
    a = data.draw(st_numpy.arrays(np.float64, (size, size), elements=st.integers(-5, 5)))
    if np.linalg.cond(a) > 1e6:
        return
    b = np.arange(1.0, size + 1)
    t = hl.tensor.input(a)
    np.testing.assert_allclose(evaluate(t.inverse()), np.linalg.inv(a), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(evaluate(t.det()), np.linalg.det(a), rtol=1e-8)
    np.testing.assert_allclose(evaluate(hl.solve(t, b)), np.linalg.solve(a, b), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(evaluate(hl.solve(t, np.eye(size))), np.linalg.inv(a), rtol=1e-8, atol=1e-9)


def test_elimination_exchanges_rows_where_a_pivot_is_zero():
    a = np.eye(4)[[2, 0, 3, 1]]
    np.testing.assert_array_equal(evaluate(hl.inverse(hl.tensor.input(a))), a.T)
    assert evaluate(hl.det(hl.tensor.input(a))) == np.linalg.det(a)


def test_cholesky_is_numpys():
    a = np.array([[4.0, 2, 1], [2, 5, 3], [1, 3, 6]])
    np.testing.assert_allclose(evaluate(hl.cholesky(hl.tensor.input(a))), np.linalg.cholesky(a), rtol=1e-12)


def test_matrices_that_are_not_square_are_refused():
    with pytest.raises(hl.ShapeError, match=r"inverse needs a square matrix, not shape \(2, 3\)"):
        hl.inverse(hl.eye(2, 3))
    with pytest.raises(hl.ShapeError, match=r"solve of a matrix of shape \(2, 2\) for a right side of shape \(3,\)"):
        hl.solve(hl.eye(2), [1.0, 2.0, 3.0])
