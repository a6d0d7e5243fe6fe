"""Rows taken apart and put together, and what is combined and sorted within them: compiled, against `here` and NumPy."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.parallel_agreement import SIZES, agree, ragged

from hotloop.errors import ShapeError, SyntaxRefused, TypeMismatch
from hotloop.parallel import cmp_gt, flatten, lengths, op_add, segmented_reduce, segmented_scan, segmented_sort, segments
from hotloop.parallel.cuarray import cuarray
from hotloop.parallel.function import cu

ROWS = st.tuples(st.sampled_from(["int32", "int64", "float32", "float64"]), st.lists(st.lists(st.integers(-9, 9), max_size=40), max_size=9))
ARRAYS = arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=7), elements=st.integers(-9, 9))


def made(drawn):
    """Return rows as a ragged sequence, even if they have one length."""
    dtype, rows = drawn
    flat = np.array([a for row in rows for a in row], dtype)
    return ragged(flat, np.cumsum([0, *map(len, rows)]))


def cut(values, size, seed=0):
    """Return values in rows of arbitrary lengths, empty ones among them."""
    ends = np.sort(np.random.default_rng(seed).integers(0, len(values) + 1, size))
    return ragged(values, np.concatenate([[0], ends, [len(values)]]))


# -------------------------------------------------------------------------------------------- apart and together


@cu
def apart(rows):
    return flatten(rows), lengths(rows), [len(row) for row in rows]


@given(ROWS.map(made) | ARRAYS)
def test_elements_and_lengths_of_rows(rows):
    agree(apart, rows)


def test_rows_of_tuples_and_of_rows_are_taken_apart():
    agree(apart, cuarray([[(1, 2.0), (3, 4.0)], [(0, 5.0)]]))
    agree(cu(lambda p: (flatten(p), flatten(flatten(p)), lengths(p))), cuarray([[[1.0, 2], [3.0]], [[4.0, 5, 6]], [], [[], [7.0]]]))
    agree(cu(lambda p: flatten(p)), np.arange(24.0).reshape(2, 3, 4))


def test_rows_that_are_computed_are_taken_apart():
    agree(cu(lambda x: sum(flatten([[a + i for a in x] for i in range(3)]))), np.arange(5.0))
    agree(cu(lambda n: (flatten([[j for j in range(i)] for i in range(n)]), lengths([range(i) for i in range(n)]))), 5)


def test_what_has_no_rows_is_refused():
    with pytest.raises(TypeMismatch, match=r"flatten\(\) needs a sequence of sequences"):
        flatten(np.arange(3.0))


@cu
def together(values, sizes):
    return segments(values, sizes), [sum(row) for row in segments(values, sizes)]


@pytest.mark.parametrize("size", SIZES)
def test_rows_of_given_lengths(size):
    sizes = np.random.default_rng(size).integers(0, 5, size)
    agree(together, np.arange(sizes.sum(), dtype=np.float64), sizes)


@given(st.lists(st.integers(-1, 4), max_size=6).map(lambda sizes: np.array(sizes, np.int64)), st.integers(0, 12))
def test_lengths_that_do_not_fit_are_refused(sizes, count):
    agree(together, np.arange(count), sizes)


def test_what_lengths_do_not_fit_is_told():
    with pytest.raises(ShapeError, match="these are 5, for 6 elements"):
        segments(np.arange(6.0), np.array([2, 3]))


def test_rows_of_rows_are_put_together():
    agree(cu(lambda v, a, b: segments(segments(v, a), b)), np.arange(6.0), np.array([1, 2, 0, 3]), np.array([2, 0, 2]))


# ------------------------------------------------------------------------------------------- combined within rows


@cu
def sums(rows):
    return segmented_reduce(op_add, rows, 0), segmented_scan(op_add, rows)


@cu
def others(rows):
    return segmented_reduce(lambda a, b: a * 3 + b, rows, 1), segmented_scan(max, rows), segmented_scan(lambda a, b: a - b * 2, rows)


@given(ROWS.map(made) | ARRAYS)
def test_combining_within_rows(rows):
    agree(sums, rows)
    agree(others, rows)


@pytest.mark.parametrize("size", SIZES)
def test_integers_of_many_rows_are_combined_as_numpy_does(size):
    values = np.arange(size * 7) % 11
    rows = cut(values, size)
    found = segmented_scan(op_add, rows)
    assert [row.tolist() for row in found] == [np.cumsum(np.asarray(row)).tolist() for row in rows]
    assert segmented_reduce(op_add, rows, 0).tolist() == [int(np.asarray(row).sum()) for row in rows]


def test_rows_longer_than_chunks_are_combined():
    values = np.arange(200_000) % 1009
    rows = ragged(values, np.array([0, 5, 5, 99_999, 150_000, 200_000]))
    found = segmented_scan(op_add, rows)
    assert all(np.array_equal(np.asarray(one), np.cumsum(np.asarray(row))) for one, row in zip(found, rows, strict=True))


def test_tuples_are_combined_within_rows():
    rows = cuarray([[(1, 2.0), (3, 4.0)], [], [(0, 5.0)]])
    agree(cu(lambda r: segmented_scan(lambda a, b: (a[0] + b[0], a[1] * b[1]), r)), rows)


# ---------------------------------------------------------------------------------------------- sorted within rows


@cu
def ordered(rows):
    return segmented_sort(rows), segmented_sort(cmp_gt, rows), segmented_sort(lambda a, b: abs(a - 3) < abs(b - 3), rows)


@given(ROWS.map(made) | ARRAYS)
def test_sorting_within_rows(rows):
    agree(ordered, rows)


@pytest.mark.parametrize("size", SIZES)
def test_many_rows_are_sorted(size):
    rows = cut(np.random.default_rng(1).standard_normal(size * 7), size)
    assert [row.tolist() for row in segmented_sort(rows)] == [sorted(row.tolist()) for row in rows]


def test_tuples_are_sorted_within_rows():
    agree(cu(lambda r: segmented_sort(lambda a, b: a[1] > b[1], r)), cuarray([[(1, 2.0), (3, 4.0), (4, 4.0)], [(0, 5.0)]]))
    agree(cu(lambda r: segmented_sort(r)), cuarray([[(3, 2.0), (1, 5.0), (1, 4.0)], [(0, 5.0)]]))


def test_rows_of_one_row_of_rows():
    planes = cuarray([[[1.0, 2], [3.0]], [[4.0, 6, 5], [], [9.0, 8]], [], [[], [7.0]]])
    agree(cu(lambda p: segmented_sort(p[1])), planes)
    agree(cu(lambda p: (flatten(p[1]), p[3], segmented_scan(op_add, p[1]))), planes)


def test_segments_within_rows_are_refused():
    with pytest.raises(SyntaxRefused, match=r"segments\(\) inside of a map"):
        cu(lambda v, n: [len(segments(v, [i])) for i in range(n)] if False else [segments(v, v) for i in range(n)])(np.arange(3), 3)
