"""Sorting networks, medians and quantiles against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tests.evaluation import evaluate

import hotloop as hl

special = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, -1.0, np.inf, -np.inf, np.nan])
arrays = st.integers(1, 17).flatmap(lambda n: st_numpy.arrays(np.float32, n, elements=special))


def test_argsort_gives_places_as_numpy():
    np.testing.assert_array_equal(evaluate(hl.filters.argsort(hl.vector.input([30.0, 10.0, 20.0]))), [1, 2, 0])
    assert hl.argsort(hl.vector.input([1.0, 2.0])).dtype is hl.int32


@given(arrays)
@settings(max_examples=30)
def test_sorting_is_numpys_with_ties_infinities_and_nan(array):
    v = hl.vector.input(array)
    np.testing.assert_array_equal(evaluate(hl.filters.sort(v)), np.sort(array))
    np.testing.assert_array_equal(evaluate(hl.filters.argsort(v)), np.argsort(array, kind="stable"))


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
@settings(max_examples=20)
def test_integers_and_bools_are_sorted(numbers):
    np.testing.assert_array_equal(evaluate(hl.filters.sort(hl.vector.input(numbers))), np.sort(numbers))
    np.testing.assert_array_equal(evaluate(hl.filters.argsort(hl.vector.input(numbers))), np.argsort(numbers, kind="stable"))
    bools = [n > 0 for n in numbers]
    np.testing.assert_array_equal(evaluate(hl.filters.argsort(hl.vector.input(bools))), np.argsort(bools, kind="stable"))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_arrays_are_sorted_along_an_axis(axis):
    array = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    t = hl.tensor.input(array)
    np.testing.assert_array_equal(evaluate(hl.sort(t, axis)), np.sort(array, axis))
    np.testing.assert_array_equal(evaluate(hl.argsort(t, axis)), np.argsort(array, axis))
    np.testing.assert_allclose(evaluate(hl.median(t, axis)), np.median(array, axis), rtol=1e-6)


@given(arrays)
@settings(max_examples=30)
def test_medians_are_numpys(array):
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(evaluate(hl.filters.median(hl.vector.input(array))), np.median(array), rtol=1e-6)


def test_the_median_of_an_even_length_is_the_mean_of_the_middle_two():
    assert evaluate(hl.median(hl.vector.input([4.0, 1.0, 2.0, 3.0]))) == 2.5
    assert evaluate(hl.median(hl.vector.input([4, 1, 2, 3]))) == 2.5
    assert hl.median(hl.vector.input([4, 1, 2])).dtype is hl.float32
    assert evaluate(hl.median([hl.value(3.0), 1.0, 2.0])) == 2


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=9), st.floats(0, 1))
@settings(max_examples=30)
def test_quantiles_are_numpys(numbers, q):
    np.testing.assert_allclose(
        evaluate(hl.quantile(hl.vector.input(numbers, dtype="float64"), q)), np.quantile(numbers, q), rtol=1e-6, atol=1e-6
    )


def test_means():
    assert evaluate(hl.filters.mean(hl.vector.input([1.0, 2.0, 6.0]))) == 3
    np.testing.assert_array_equal(evaluate(hl.filters.mean(hl.tensor.input([[1.0, 2.0], [3.0, 4.0]]), 0)), [2, 3])
    v = hl.vector.input([1.0, 2.0])
    assert hl.filters.homogenize_vector(v) is v
    assert isinstance(hl.filters.homogenize_vector([hl.value(1.0), 2]), hl.vector)


def test_a_network_has_few_comparisons():
    """Batcher's network for 8 elements has 19 comparators in 6 stages."""
    from hotloop.frontend import filters

    stages = list(filters._stages(8))
    assert len(stages) == 6
    assert sum(len(lower) for lower, _ in stages) == 19


def test_what_cannot_be_sorted_is_refused():
    with pytest.raises(hl.ShapeError, match=r"sorting or a median of no elements \(shape \(0,\)\)"):
        hl.sort(hl.vector([]))
    with pytest.raises(hl.RangeError, match=r"quantile needs q in \[0, 1\], not 2"):
        hl.quantile(hl.vector([1.0]), 2)
    with pytest.raises(hl.ShapeError, match="axis 1 of an array"):
        hl.sort(hl.vector([1.0]), 1)
