"""Dims: lengths that equal only themselves, and the graph with them in its shapes."""

import math
import operator

import numpy as np
import pytest

from hotloop.dtypes import float32, float64, int64
from hotloop.ir.dim import Dim, NeedsSize, broadcast_shapes, is_sized
from hotloop.ir.graph import apply, constant, exact_numbers, symbolic_input
from hotloop.ops import arith
from hotloop.ops import shape as sh
from hotloop.passes.gradient import gradients

N, M = Dim("n"), Dim("m")


def test_a_dim_equals_itself_alone():
    assert N == N
    assert N not in (M, 1, 0, 5, None)
    assert (N, 1) == (N, 1) != (M, 1)
    assert hash((N, M)) == hash((N, M))
    assert str((N, 1, M)) == "(n, 1, m)"


@pytest.mark.parametrize(
    "need",
    [
        int, float, bool, range, operator.index, round, abs, operator.neg, math.floor,
        lambda n: n + 1, lambda n: 2 * n, lambda n: n // 2, lambda n: 7 % n, lambda n: n < 3, lambda n: n >= 3, lambda n: n**2,
        lambda n: math.prod((2, n)), lambda n: sum((1, n)), lambda n: [0] * n,
        lambda n: max(n, 3), lambda n: np.zeros(n), lambda n: np.arange(n), lambda n: np.prod((n, n)), lambda n: "abc"[n],
    ],
)  # fmt: skip
def test_whatever_needs_the_number_says_so(need):
    dim = Dim("rows")
    with pytest.raises(NeedsSize, match="the length rows is known only when the function is called"):
        need(dim)
    assert dim.asked


def test_shapes_broadcast():
    assert broadcast_shapes((N, 1), (M,)) == (N, M)
    assert broadcast_shapes((), (1, N), (1,)) == (1, N)
    assert broadcast_shapes((2, 1), (3,)) == (2, 3)
    for other in ((M,), (7,), (0,), (2, M)):
        with pytest.raises(NeedsSize, match="the length n"):
            broadcast_shapes((N,), other)
    with pytest.raises(ValueError, match="do not broadcast"):
        broadcast_shapes((N, 2), (1, 3))
    assert is_sized((1, 2))
    assert not is_sized((1, N))


def test_nodes_have_dims_in_their_shapes():
    x, y = symbolic_input((N, M), float32), symbolic_input((M,), float32)
    assert (x * y).shape == (N, M)
    assert x * y is x * y
    assert sh.reduce(sh.sum_, x, (0,)).shape == (M,)
    assert sh.product(x, y).shape == (N,)
    assert sh.transpose_by(x, (1, 0)).shape == (M, N)
    assert sh.reduce(sh.sum_, sh.reshape_to(y, (1, M)), (0,)).op is sh.reshape  # of one element each
    assert sh.length_of(x, (0, 1)).dtype is int64
    assert sh.places_of(x, (1,)).shape == (N, M)
    with pytest.raises(NeedsSize, match="the length m"):
        x + symbolic_input((N,), float32)


def test_constants_are_repeated_when_the_function_is_called():
    ones = sh.filled(1.0, float64, (N,))
    assert (ones.op, ones.shape, ones.args[0]) == (sh.broadcast, (N,), constant(1.0, float64))
    assert sh.filled(1.0, float64, (2,)).is_const
    assert sh.broadcast_to(constant(np.ones((1, 1))), (N, M)).args[0].shape == ()
    zero = apply(arith.mul, symbolic_input((N,), int64), 0)
    assert (zero.op, zero.shape) == (sh.broadcast, (N,))


def test_facts_of_known_shapes_are_numbers():
    x = constant(np.ones((3, 4, 5)))
    assert sh.length_of(x, (0, 2)).attr.value == 15
    np.testing.assert_array_equal(sh.places_of(x, (0, 2)).attr.value[:, 1], np.arange(15).reshape(3, 5))


def test_gradients_have_the_shapes_of_their_variables():
    x, y = symbolic_input((N, M), float64), symbolic_input((M,), float64)
    with exact_numbers():
        for out in (x * y, sh.reduce(sh.sum_, x / y, (1,)), sh.product(x, y), sh.reduce(sh.amax, x - y, (0, 1)), x + 1.0):
            assert [g.shape for g in gradients(out, [x, y])] == [(N, M), (M,)]
