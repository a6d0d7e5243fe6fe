"""Functions of neural networks against float64 NumPy; nothing overflows and no gradient is NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tests.evaluation import evaluate

import hotloop as hl

POINTS = np.array([-1e4, -90.0, -20.0, -1.0, -1e-3, -0.0, 0.0, 1e-3, 0.3, 1.0, 20.0, 90.0, 1e4])


def sigmoid(x):
    with np.errstate(all="ignore"):
        return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


REFERENCE = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "sigmoid": sigmoid,
    "log_sigmoid": lambda x: -softplus(-x),
    "softplus": softplus,
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", REFERENCE)
def test_activations_are_numpys_in_double_precision(name):
    got = evaluate(getattr(hl, name)(hl.vector.input(POINTS)))
    np.testing.assert_allclose(got, REFERENCE[name](POINTS), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", REFERENCE)
def test_activations_take_scalars_lists_and_numbers(name):
    function = getattr(hl, name)
    np.testing.assert_allclose(evaluate(function(hl.value(0.3))), REFERENCE[name](np.array(0.3)), rtol=1e-6)
    np.testing.assert_allclose(evaluate(function([0.3, hl.value(-0.3)])), REFERENCE[name](np.array([0.3, -0.3])), rtol=1e-5)
    np.testing.assert_allclose(function(0.3), REFERENCE[name](np.array(0.3)), rtol=1e-12)


@pytest.mark.parametrize("name", REFERENCE)
def test_gradients_of_activations_are_differences(name):
    x = hl.vector.input(POINTS)
    got = evaluate(hl.grad(getattr(hl, name)(x).sum(), x))
    smooth = np.abs(POINTS) > 1e-2  # relu and its like have a corner at 0, others at 1 and 3
    smooth &= ~np.isin(POINTS, [1.0, -1.0])
    h = 1e-6 * np.maximum(1, np.abs(POINTS))
    want = (REFERENCE[name](POINTS + h) - REFERENCE[name](POINTS - h)) / (2 * h)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got[smooth], want[smooth], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "want"),
    [("relu", 0), ("sigmoid", 0.25), ("softplus", 0.5), ("leaky_relu", 0.01), ("elu", 1), ("silu", 0.5), ("tanh", 1), ("gelu", 0.5)],
)
def test_derivatives_at_zero_follow_the_convention(name, want):
    x = hl.value(0.0)
    np.testing.assert_allclose(evaluate(hl.grad(getattr(hl, name)(x), x)), want, rtol=1e-6)


def test_relu_is_a_select():
    assert evaluate(hl.relu(hl.value(-np.inf))) == 0
    assert np.isnan(evaluate(hl.relu(hl.value(np.nan))))
    assert hl.relu(-3) == 0
    assert hl.relu(2) == 2
    assert hl.relu(hl.value(2)).dtype is hl.int32


def test_derivative_of_sigmoid_is_positive():
    x = hl.value(0.3)
    np.testing.assert_allclose(evaluate(hl.grad(hl.sigmoid(x), x)), 0.24445831, rtol=1e-6)


def test_sigmoid_is_precise_far_out():
    np.testing.assert_allclose(evaluate(hl.sigmoid(hl.value(-80.0))), np.exp(-80.0), rtol=1e-6)


@given(st_numpy.arrays(np.float64, (3, 4), elements=st.floats(-1000, 1000)))
def test_softmax_and_its_logarithm(array):
    t = hl.tensor.input(array)
    for axis in (0, -1):
        shifted = array - array.max(axis, keepdims=True)
        total = np.exp(shifted).sum(axis, keepdims=True)
        np.testing.assert_allclose(evaluate(hl.softmax(t, axis)), np.exp(shifted) / total, rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(evaluate(hl.log_softmax(t, axis)), shifted - np.log(total), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            evaluate(hl.logsumexp(t, axis)), (np.log(total) + array.max(axis, keepdims=True)).squeeze(axis), rtol=1e-9, atol=1e-12
        )


def test_softmax_of_a_list_is_a_vector():
    assert isinstance(hl.softmax([hl.value(1.0), 2.0]), hl.vector)


def test_layers():
    w, x, b = np.float32([[1, -2], [3, 4], [0, 1]]), np.float32([1, 2]), np.float32([0.5, 0, -5])
    np.testing.assert_array_equal(evaluate(hl.layer(hl.vector.input(x), w, b, hl.relu)), np.maximum(w @ x + b, 0))
    np.testing.assert_array_equal(evaluate(hl.layer([hl.value(1.0), hl.value(2.0)], w.tolist())), w @ x)
    with pytest.raises(hl.ShapeError, match="the weights of a layer are a matrix"):
        hl.layer(x, [1.0, 2.0])


def test_layer_norm_has_mean_zero_and_variance_one():
    y = evaluate(hl.layer_norm(hl.vector.input([1.0, 2.0, 3.0, 10.0]), epsilon=0.0))
    np.testing.assert_allclose([y.mean(), y.var()], [0, 1], atol=1e-6)
    scaled = evaluate(hl.layer_norm(hl.vector.input([1.0, 2.0, 3.0, 10.0]), 2.0, 1.0, epsilon=0.0))
    np.testing.assert_allclose(scaled, y * 2 + 1, rtol=1e-5, atol=1e-6)


def test_losses():
    assert evaluate(hl.mean_squared_error(hl.vector.input([1.0, 3.0]), [0.0, 1.0])) == 2.5
    logits = np.array([1.0, 2.0, 3.0])
    want = -np.log(np.exp(3) / np.exp(logits).sum())
    np.testing.assert_allclose(evaluate(hl.cross_entropy(hl.vector.input(logits), [0, 0, 1])), want, rtol=1e-12)
