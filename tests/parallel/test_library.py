"""Primitives written in the language, and those that find places: compiled, against `here` and NumPy."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.parallel_agreement import SIZES, agree

from hotloop.errors import BoundsError, ShapeError, TypeMismatch
from hotloop.parallel import (
    adjacent_difference,
    argmax,
    argmin,
    histogram,
    ndindex,
    op_add,
    pack,
    partition,
    prod,
    random_bits,
    random_normal,
    random_uniform,
    reduce_by_key,
    searchsorted,
    sort,
    stencil,
    top_k,
    unique,
    unique_counts,
)
from hotloop.parallel.cuarray import cuarray
from hotloop.parallel.function import cu

TYPES = [np.dtype(name) for name in ("bool", "int32", "int64", "float32", "float64")]
NUMBERS = st.sampled_from(TYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, st.integers(0, 40), elements=st.integers(0, 1) if dtype.kind == "b" else st.integers(-4, 4))
)
FLOATS = st.sampled_from(TYPES[3:]).flatmap(
    lambda dtype: arrays.arrays(dtype, st.integers(0, 40), elements=st.sampled_from([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan]))
)


def drawn(size, dtype=np.float64):
    return (np.random.default_rng(size).standard_normal(size) * 20).astype(dtype)


largest = cu(lambda x, count: top_k(x, count))
counted = cu(lambda i, n: histogram(i, n))
parted = cu(lambda x: partition(lambda a: a > 1, x))
sum_of_others = cu(lambda x: sum(partition(lambda a: a > 1, x)[1]))
packed = cu(lambda x: pack(x, [a + 1 for a in x]))
packed_pairs = cu(lambda x: pack([a > 0 for a in x], zip(x, x)))  # noqa: B905 - hotloop's
runs = cu(lambda k, v: reduce_by_key(op_add, k, v))
runs_of_halves = cu(lambda k, v: reduce_by_key(lambda a, b: a * b + 1, [a // 2 for a in k], [a * 2 for a in v]))
differences = cu(lambda x: adjacent_difference(x))
product = cu(lambda x: prod(x))
mixed = cu(lambda x, by: stencil(lambda a, b, c: a + 2 * b - c, (-1, 0, by), x, 0))
third = cu(lambda x: stencil(lambda a: a, (3,), x, 0.5))
crossed = cu(lambda x: stencil(lambda a, b, c: a + 2 * b - c, ((-1, 0), (0, 1), (1, -1)), x, 0.5))


# ---------------------------------------------------------------------------------------------- extremes


@cu
def extreme_places(x):
    return argmin(x), argmax(x)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", SIZES[1:])
def test_places_of_extremes_are_those_of_numpy(size, dtype):
    x = drawn(size, dtype)
    assert agree(extreme_places, x) == (np.argmin(x), np.argmax(x))


@given(FLOATS | NUMBERS)
def test_the_first_extreme_counts_and_nan_wins(x):
    agree(extreme_places, x)


def test_places_of_extremes_of_what_is_dear_are_found_in_one_sweep():
    @cu
    def place(x):
        return argmin([np.exp(np.sin(a) * 3.0) + np.log(a * a + 1.0) + np.cos(a) ** 3 + np.tanh(a) for a in x])

    x = drawn(1000)
    assert place(x) == np.argmin(np.exp(np.sin(x) * 3) + np.log(x * x + 1) + np.cos(x) ** 3 + np.tanh(x))


def test_places_of_extremes_of_rows():
    @cu
    def places(rows):
        return [(argmin(row), argmax(row)) for row in rows]

    agree(places, cuarray([[1.0, 2, 0], [5.0], [np.nan, 2, np.nan]]))


def test_an_empty_sequence_has_no_extreme_place():
    with pytest.raises(ShapeError, match=r"argmin\(\) of a sequence that is empty"):
        argmin(np.zeros(0))


# ------------------------------------------------------------------------------------------ distinct elements


@cu
def distinct(x):
    return unique(x), unique_counts(x)


@given(FLOATS | NUMBERS)
def test_distinct_elements_and_their_counts(x):
    agree(distinct, x)


@pytest.mark.parametrize("size", SIZES)
def test_distinct_integers_are_those_of_numpy(size):
    x = drawn(size, np.int32)
    values, counts = np.unique(x, return_counts=True)
    found = unique_counts(x)
    assert found[0].dtype == np.int32
    assert (found[0].tolist(), found[1].tolist()) == (values.tolist(), counts.tolist())


# ------------------------------------------------------------------------------------------- values in order


@given(FLOATS | NUMBERS, st.integers(-1, 45))
def test_the_largest_elements(x, count):
    agree(largest, x, count)


def test_more_than_all_elements_are_refused():
    with pytest.raises(ShapeError, match=r"top_k\(\) of 4 of 3 elements"):
        top_k(np.arange(3.0), 4)


@cu
def places_in_order(x, v):
    y = sort(x)
    return searchsorted(y, v), searchsorted(y, v, side="right"), searchsorted(y, v, "left"), searchsorted(y, 1.0)


@given(FLOATS | NUMBERS, FLOATS)
def test_where_values_would_be_inserted(x, v):
    agree(places_in_order, x, v)


@pytest.mark.parametrize("size", SIZES)
def test_where_integers_would_be_inserted_is_what_numpy_says(size):
    x, v = np.sort(drawn(size, np.int64)), drawn(77, np.int64)
    for side in ("left", "right"):
        assert searchsorted(x, v, side=side).tolist() == np.searchsorted(x, v, side).tolist()


def test_a_side_that_is_none_is_refused():
    with pytest.raises(TypeMismatch, match='"left" or "right"'):
        searchsorted(np.arange(3), 1, side="middle")


# --------------------------------------------------------------------------------------------------- bins


@pytest.mark.parametrize("size", SIZES)
def test_histograms_are_those_of_numpy(size):
    bins, weights = np.abs(drawn(size, np.int64)) % 10, drawn(size)
    assert histogram(bins, 10).tolist() == np.bincount(bins, minlength=10).tolist()
    agree(cu(lambda i, w: (histogram(i, 10, w), histogram(i, 10, weights=w))), bins, weights)


@given(arrays.arrays(np.int32, st.integers(0, 20), elements=st.integers(-1, 6)), st.integers(0, 6))
def test_numbers_that_are_no_bins_are_refused(bins, count):
    agree(counted, bins, count)


def test_bins_out_of_range_are_told():
    with pytest.raises(BoundsError, match="-1 is out of range for 3 bins"):
        histogram(np.array([0, -1]), 3)


# -------------------------------------------------------------------------------------------------- parting


@given(NUMBERS)
def test_a_sequence_in_two_parts(x):
    agree(parted, x)
    agree(sum_of_others, x)


@given(NUMBERS)
def test_flags_say_what_is_left(x):
    agree(packed, x)
    agree(packed_pairs, x)


def test_flags_and_elements_are_as_many():
    with pytest.raises(ShapeError, match=r"pack\(\) of sequences"):
        pack(np.ones(3), np.ones(4))


@given(NUMBERS, st.integers(0, 3))
def test_runs_of_equal_keys(keys, seed):
    values = np.random.default_rng(seed).standard_normal(len(keys))
    agree(runs, keys, values)
    agree(runs_of_halves, keys, values)


def test_runs_of_equal_pairs():
    keys = cuarray([(1, 0), (1, 0), (2, 1), (1, 1), (1, 1)])
    agree(cu(lambda k, v: reduce_by_key(max, k, v)), keys, np.arange(5))


def test_keys_and_values_are_as_many():
    with pytest.raises(ShapeError, match=r"reduce_by_key\(\) of sequences"):
        reduce_by_key(op_add, np.ones(3), np.ones(4))


# ------------------------------------------------------------------------------------------------ neighbours


@given(NUMBERS)
def test_differences_and_products(x):
    agree(differences, x)
    agree(product, x)


@given(NUMBERS, st.integers(-5, 5))
def test_neighbours_in_a_sequence(x, by):
    agree(mixed, x, by)
    agree(third, x)


@given(arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5), elements=st.integers(-9, 9)))
def test_neighbours_in_an_array(x):
    agree(crossed, x)


def test_neighbours_in_three_dimensions():
    agree(cu(lambda x: stencil(lambda a, b: a + b, ((-1, 0, 1), (0, 1, 0)), x, -1)), np.arange(24).reshape(2, 3, 4))


def test_neighbours_in_what_is_not_in_memory():
    agree(cu(lambda n: stencil(lambda a, b: a + b, ((-1, 0), (0, 1)), [i * 10 + j for i, j in ndindex(3, n)], 0)), 4)
    agree(cu(lambda x: stencil(lambda a, b: a + b, (-1, 1), [a * a for a in x], 0)), drawn(33))


def test_offsets_have_as_many_parts_as_the_array_has_axes():
    with pytest.raises(ShapeError, match="offset of 2 for an array of 1"):
        stencil(op_add, ((0, 1), (1, 0)), np.arange(3.0), 0.0)


# --------------------------------------------------------------------------------------------- random numbers


@cu
def drawn_by_counter(seed, n):
    return [(random_bits(seed, i), random_uniform(seed, i), random_normal(seed, i)) for i in range(n)]


@given(st.integers(-(2**63), 2**63 - 1))
def test_random_numbers_are_those_of_here(seed):
    agree(drawn_by_counter, seed, 40)


def test_random_numbers_of_constants():
    agree(cu(lambda n: [random_normal(42, i) for i in range(n)]), 33)
    agree(cu(lambda n: (random_bits(1, 2), random_uniform(n, 2), random_normal(n, 5))), 3)


@cu
def drawn_apart(n):
    counters = range(n)
    return [random_bits(7, i) for i in counters], [random_uniform(7, i) for i in counters], [random_normal(7, i) for i in counters]


def test_random_numbers_are_spread():
    bits, uniform, normal = map(np.asarray, drawn_apart(100_000))
    assert len(np.unique(bits)) == 100_000
    assert abs(uniform.mean() - 0.5) < 0.005
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.01
