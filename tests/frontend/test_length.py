"""Lengths of arrays of any size: what users may do with `array.shape` while the sizes are not known."""

import numpy as np
import pytest

import hotloop as hl
from hotloop.dtypes import float32, int64
from hotloop.frontend.length import Length, dims, same_elements
from hotloop.ir.dim import Dim, NeedsSize
from hotloop.ir.graph import exact_numbers, symbolic_input
from hotloop.ops.shape import length

N, M = Dim("n"), Dim("m")


def array(*shape, dtype=float32):
    return hl.tensor.of(symbolic_input(shape, dtype))


def test_a_shape_has_numbers_and_lengths():
    x = array(N, 1, M)
    rows, one, columns = x.shape
    assert (type(rows), one, type(columns)) == (Length, 1, Length)
    assert x.ndim == 3
    assert x.shape == x.shape == (x * 2).shape
    assert x.shape[0] == array(N).shape[0]
    assert dims(x.shape) == (N, 1, M)
    assert hl.tensor([[1.0, 2.0]]).shape == (1, 2)


@pytest.mark.parametrize(
    "need",
    [
        lambda n, x: n + 1, lambda n, x: 3.0 / n, lambda n, x: n * n, lambda n, x: n == 3, lambda n, x: n != array(M).shape[0],
        lambda n, x: n < 5, lambda n, x: {n: 1}, lambda n, x: str(n), lambda n, x: f"{n}", lambda n, x: range(n), lambda n, x: len(x),
        lambda n, x: list(x), lambda n, x: x.size(), lambda n, x: x**n, lambda n, x: n**x, lambda n, x: np.ones(x.shape),
        lambda n, x: x.shape == (20,), lambda n, x: hl.sqrt(n), lambda n, x: x.values, lambda n, x: x[0], lambda n, x: x[:-1],
        lambda n, x: x[::2], lambda n, x: x[:, :], lambda n, x: x.reshape(-1, 2), lambda n, x: x[[0, 1]], lambda n, x: hl.eye(n),
    ],
)  # fmt: skip
def test_what_needs_the_number_asks_for_it(need):
    x = array(N)
    with pytest.raises(NeedsSize, match="is known only when the function is called"):
        need(x.shape[0], x)
    assert N.asked


def test_a_length_beside_traced_values_is_an_int():
    x, k = array(N), hl.value(1.0, dtype="float64")
    n = x.shape[0]
    with exact_numbers():
        for result, dtype, shape in (
            (x / n, "float32", (N,)), (n * x, "float32", (N,)), (n - k, "float64", ()), (k < n, "bool", ()), (x.sum() / n, "float32", ()),
            (x.astype("int32") + n, "int32", (N,)), (hl.minimum(n, x), "float32", (N,)), ((x > 0).sum() / n, "float32", ()),
        ):  # fmt: skip
            assert (str(result.dtype), result.node.shape) == (dtype, shape)
        node = (x.astype("int64") * n).node
    assert {arg.op for arg in node.args} > {length}
    assert node.dtype is int64


def test_only_axes_of_length_1_come_and_go():
    assert same_elements((N, 1, M), (N, M)) == (N, M)
    assert same_elements((N,), (1, -1, 1)) == (1, N, 1)
    assert same_elements((N, M), (N, -1, 1)) == (N, M, 1)
    assert same_elements((N,), (N, -1)) == (N, 1)
    for wanted in ((M, N), (-1,), (2, -1), (N,), (N, M, 0)):
        with pytest.raises(NeedsSize, match="is known only"):
            same_elements((N, M), wanted)


def test_indices_that_need_no_length():
    x = array(N, 1)
    for key, shape in ((None, (1, N, 1)), ((..., None), (N, 1, 1)), ((slice(None), None, 0), (N, 1)), ((..., -1), (N,)), ((), (N, 1))):
        assert x[key].node.shape == shape
