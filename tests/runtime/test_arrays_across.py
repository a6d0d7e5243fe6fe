"""`_runner.ArrayFunction` where memory is walked across its rows: reductions along first axes, transposed arrays."""

import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.array_kernels import RESULT, binary, combine, kernel, make, numbers, ordered_sum, same, stream, total

from hotloop import _runner

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of this file are x86-64 code")

# around the sides of tiles, of their rows, of chunks, and of what is padded
SHAPES = [(1, 9), (9, 1), (2, 3), (3, 2), (15, 17), (17, 15), (255, 33), (256, 33), (257, 65), (513, 129), (1025, 40), (2, 5000), (5000, 2),
          (40_000, 5), (33_000, 70)]  # fmt: skip


@pytest.fixture(autouse=True)
def _same_threads():
    before = _runner.get_threads()
    yield
    _runner.set_threads(before)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_columns_are_summed_in_the_order_of_rows(shape, threads):
    _runner.set_threads(threads)
    x = numbers(shape)
    want = np.array([ordered_sum(column) for column in np.ascontiguousarray(x.T)])
    function = total(rank=2, kept=1, axes=(1, 0), cost=100_000)
    same(function(x), want)
    for view in (np.repeat(x, 2, 1)[:, ::2], x[:, ::-1].copy()[:, ::-1], np.pad(x, 1)[1:-1, 1:-1], x[::-1].copy()[::-1]):
        same(function(view), want)
    same(total("l", rank=2, kept=1, axes=(1, 0))(numbers(shape, "l")), numbers(shape, "l").sum(axis=0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", "fdlh?")
@pytest.mark.parametrize("threads", [1, 3])
def test_transposed_arrays_are_read_and_written(shape, kind, threads):
    _runner.set_threads(threads)
    if shape[0] * shape[1] > 100_000:
        shape = shape[0] // 5, shape[1] // 5
    x, y, function = numbers(shape, kind), numbers(shape[::-1], kind, 1), binary(kind, rank=2, cost=100_000)
    want = {"h": np.subtract, "?": np.logical_and}.get(kind, np.add)(x.T, y)
    same(function(x.T, y), want)
    same(function(x.T, y.T.copy().T), want)
    same(function(np.repeat(x, 2, 1)[:, ::-2].T, y[::-1])[::-1], want)
    fence = np.full((shape[0] + 2, shape[1] + 2), 7, kind)
    out = fence[1:-1, 1:-1].T
    assert function(x.T, y, out=out) is out
    same(out, want)
    fence[1:-1, 1:-1] = 7
    assert (fence == np.full(1, 7, kind)).all()


@settings(max_examples=200)
@given(st.data())
def test_any_order_of_axes_is_reduced_and_mapped(data):
    rank = data.draw(st.integers(2, 4))
    shape = data.draw(st.lists(st.sampled_from([1, 2, 3, 8, 9, 17, 40]), min_size=rank, max_size=rank))
    axes = tuple(data.draw(st.permutations(range(rank))))
    kept = data.draw(st.integers(1, rank - 1))
    x = numbers(shape, "l")
    moved = x.transpose(axes)
    same(total("l", rank=rank, kept=kept, axes=axes)(x), moved.sum(axis=tuple(range(kept, rank))))
    np.testing.assert_array_equal(binary("l", rank=rank)(moved, numbers(moved.shape, "l", 1)), moved + numbers(moved.shape, "l", 1))


@pytest.mark.parametrize("shape", [(30, 40), (700, 90), (40_000, 3), (2000, 33)])
@pytest.mark.parametrize("second", [(1, 0), (0, 1), (-1, 0), (1, -1)])
def test_streams_of_all_kinds_meet_in_one_reduction(shape, second):
    """The stored array is twice the first stream; the second stream is only placed, in its own way."""
    dims, places = (1, 0), tuple([second.index(dim) if dim in second else -1 for dim in (1, 0)])
    streams = stream(0, 0, (1, 0), 8), stream(2, 1, places, 8)
    stage = kernel("double_and_sum_i64", 32, dims, streams, (stream(1, 2, (1, 0), 8),), reductions=((3, RESULT, 8, 0),), kept=1)
    buffers = ("l", (0, 1), ("argument", 0)), ("l", second, ("argument", 1)), ("l", (0, 1), ("result", 0)), ("l", (1,), ("result", 1))
    arguments = ("array", "l", (0, 1)), ("array", "l", second)
    function = make(arguments, buffers, (stage,), single=False, combines=(combine("combine_i64"),))
    lengths = [shape[dim] if dim >= 0 else 1 for dim in second]
    x = numbers(shape, "l")
    doubled, sums = function(x, numbers(lengths, "l", 1))
    same(doubled, 2 * x)
    same(sums, 2 * x.sum(axis=0))


@pytest.mark.parametrize("shape", [(700, 90), (2000, 33), (40_000, 3)])
def test_a_row_for_all_columns_is_used_where_it_is(shape):
    """A product along the first axis: one stream crosses its rows, the other has one row for all columns."""
    x, row = numbers(shape), numbers(shape[0], seed=1)
    function = binary(rank=2, second=(-1, 1), cost=100_000)
    same(function(x.T, row[None, :]), x.T + row)
