"""Functions of neural networks. All are finite, with finite gradients, wherever their limits are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hotloop.errors import ShapeError
from hotloop.frontend.array import Array, Operand
from hotloop.frontend.functions import exp, expm1, log, log1p, sqrt, tanh
from hotloop.frontend.geometry import clamp, where
from hotloop.frontend.literals import array_node
from hotloop.ir.graph import user_line

Activation = Callable[[Any], Any]


def relu(x: Operand) -> Any:
    """Return x where it is above 0, else 0; NaN stays NaN. The derivative at 0 is 0."""
    return where(_not_above(x), 0, x)


def leaky_relu(x: Operand, slope: Operand = 0.01) -> Any:
    """Return x where it is above 0, else slope * x. The derivative at 0 is the slope."""
    return where(_not_above(x), _times(slope, x), x)


def elu(x: Operand, alpha: Operand = 1.0) -> Any:
    """Return x where it is above 0, else alpha * (exp(x) - 1)."""
    low = _not_above(x)
    return where(low, _times(alpha, expm1(where(low, x, 0.0))), x)


def selu(x: Operand) -> Any:
    """Return the self-normalising ELU. Source: Klambauer et al., 2017."""
    return _times(1.0507009873554805, elu(x, 1.6732632423543772))


def sigmoid(x: Operand) -> Any:
    """Return 1 / (1 + exp(-x)); exact to the last bits on both sides, never overflows. Derivative at 0: 1/4."""
    x = _traceable(x)
    positive = x >= 0
    tail = exp(where(positive, -x, x))  # at most 1
    return where(positive, 1.0, tail) / (1.0 + tail)


def log_sigmoid(x: Operand) -> Any:
    """Return log(sigmoid(x)) without loss for large negative x."""
    return -softplus(-_traceable(x))


def softplus(x: Operand) -> Any:
    """Return log(1 + exp(x)); never overflows."""
    x = _traceable(x)
    positive = x >= 0
    return where(positive, x, 0.0) + log1p(exp(where(positive, -x, x)))


def silu(x: Operand) -> Any:
    """Return x * sigmoid(x), also called swish."""
    return _times(x, sigmoid(x))


swish = silu


def mish(x: Operand) -> Any:
    """Return x * tanh(softplus(x))."""
    return _times(x, tanh(softplus(x)))


def gelu(x: Operand) -> Any:
    """Return x times the normal distribution below x, in the tanh form (within 5e-4 of the exact one).

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """
    x = _traceable(x)
    inner = clamp(x, -20.0, 20.0)  # beyond, tanh is 1 to the last bit, and a cube would overflow
    return 0.5 * x * (1.0 + tanh(math.sqrt(2.0 / math.pi) * (inner + 0.044715 * (inner * inner * inner))))


def hard_sigmoid(x: Operand) -> Any:
    """Return the straight line through (-3, 0) and (3, 1), limited to [0, 1]."""
    return clamp(_traceable(x) * (1.0 / 6.0) + 0.5, 0.0, 1.0)


def hard_tanh(x: Operand) -> Any:
    """Return x limited to [-1, 1]."""
    return clamp(x, -1.0, 1.0)


def softmax(x: Operand, axis: int = -1) -> Any:
    """Return exp(x) over its sum along an axis; never overflows."""
    array = _array(x)
    powers = exp(array - array.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def log_softmax(x: Operand, axis: int = -1) -> Any:
    """Return log(softmax(x)) without loss for unlikely elements."""
    array = _array(x)
    shifted = array - array.max(axis, keepdims=True)
    return shifted - log(exp(shifted).sum(axis, keepdims=True))


def logsumexp(x: Operand, axis: int = -1) -> Any:
    """Return log(sum(exp(x))) along an axis; never overflows for finite x."""
    array = _array(x)
    largest = array.max(axis, keepdims=True)
    total = log(exp(array - largest).sum(axis, keepdims=True)) + largest
    return total.sum(axis)


def layer(x: Operand, weights: Operand, bias: Operand | None = None, activation: Activation | None = None) -> Any:
    """Return activation(weights @ x + bias): a fully connected layer.

    Shapes: x (n,), weights (m, n), bias (m,), result (m,). Raises ShapeError.
    """
    matrix = weights if isinstance(weights, Array) else Array.tensor_class(weights)
    if matrix.ndim != 2:
        raise ShapeError(f"{user_line()}: the weights of a layer are a matrix, not shape {matrix.shape}.")
    result = matrix @ (x if isinstance(x, Array) else Array.vector_class(x))
    result = result if bias is None else result + bias
    return result if activation is None else activation(result)


def layer_norm(x: Operand, scale: Operand = 1.0, shift: Operand = 0.0, epsilon: float = 1e-5, axis: int = -1) -> Any:
    """Return x with mean 0 and variance 1 along an axis, times scale, plus shift. Source: Ba et al., 2016."""
    array = _array(x)
    away = array - array.mean(axis, keepdims=True)
    return away / sqrt((away * away).mean(axis, keepdims=True) + epsilon) * scale + shift


def mean_squared_error(prediction: Operand, target: Operand) -> Any:
    """Return the mean of the squared differences."""
    difference = _array(prediction) - target
    return (difference * difference).mean()


def cross_entropy(logits: Operand, target: Operand, axis: int = -1) -> Any:
    """Return -sum(target * log_softmax(logits)) along an axis; target holds probabilities (one-hot for a class)."""
    return -(log_softmax(logits, axis) * target).sum(axis)


# ---------------------------------------------------------------------------------------- operands


def _traceable(x: Operand) -> Any:
    """Return lists as vectors; all else as it is."""
    return _array(x) if isinstance(x, (list, tuple)) else x


def _array(x: Operand) -> Array:
    if isinstance(x, Array):
        return x
    node = array_node(x, "a function of arrays")
    return (Array.vector_class if len(node.shape) == 1 else Array.tensor_class).of(node)


def _times(a: Operand, b: Operand) -> Any:
    return _traceable(a) * _traceable(b)


def _not_above(x: Operand) -> Any:
    """Tell where x <= 0: not for NaN."""
    return _traceable(x) <= 0


__all__ = [
    "cross_entropy", "elu", "gelu", "hard_sigmoid", "hard_tanh", "layer", "layer_norm", "leaky_relu", "log_sigmoid", "log_softmax",
    "logsumexp", "mean_squared_error", "mish", "relu", "selu", "sigmoid", "silu", "softmax", "softplus", "swish",
]
