"""Indexing, assignment, shapes and reductions of arrays, compared with NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tests.evaluation import evaluate

import hotloop as hl

CUBE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
SQUARE = np.float32([[3, -1, 2], [0, 5, -4]])


def traced(array):
    return hl.tensor.input(array)


# ---------------------------------------------------------------------------------------- indexing

KEYS = [
    0,
    -1,
    slice(None),
    slice(1, None),
    slice(None, None, -1),
    Ellipsis,
    None,
    (0, 1),
    (0, 1, 2),
    (-1, -1, -1),
    (slice(None), 1),
    (Ellipsis, 2),
    (0, Ellipsis),
    (slice(None), None, 1),
    (Ellipsis, None),
    [0, 1],
    [1, 0, 1],
    ([0, 1], [2, 0]),
    (slice(None), [2, 0]),
    (0, slice(0, 2), slice(1, None, 2)),
    CUBE > 5,
    np.array([True, False]),
    (slice(None), [True, False, True]),
    np.array([[0, 1], [1, 0]]),
    (np.int64(1), np.int32(0)),
    slice(2, 2),
    True,
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_every_static_key_of_numpy_selects_what_numpy_selects(key):
    got = traced(CUBE)[key]
    want = CUBE[key]
    assert got.shape == want.shape
    if want.size:
        np.testing.assert_array_equal(evaluate(got), want)


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_every_static_key_of_numpy_can_be_assigned(key):
    want = CUBE.copy()
    want[key] = -1
    got = traced(CUBE)
    got[key] = -1.0
    np.testing.assert_array_equal(evaluate(got), want)


@given(key=st_numpy.basic_indices((2, 3, 4), allow_newaxis=True))
def test_random_keys_select_and_assign_as_numpy(key):
    want = CUBE.copy()
    got = traced(CUBE)
    assert got[key].shape == want[key].shape
    if want[key].size:
        np.testing.assert_array_equal(evaluate(got[key]), want[key])
        values = np.arange(want[key].size, dtype=np.float32).reshape(want[key].shape) * 10
        want[key] = values
        got[key] = hl.tensor.input(values)
        np.testing.assert_array_equal(evaluate(got), want)


def test_a_full_index_gives_a_scalar_and_rows_give_arrays():
    t = hl.tensor([[hl.value(1.0), 2.0], [3.0, 4.0]])
    assert isinstance(t[0, 1], hl.value)
    assert t[0, 1].shape == ()
    assert t[[0, 1]].shape == (2, 2)
    assert [row.shape for row in t] == [(2,), (2,)]


def test_an_index_outside_is_an_index_error_with_the_line():
    t = traced(SQUARE)
    for key in (2, (0, 3), (0, -4), [5], (0, 0, 0)):
        with pytest.raises(hl.BoundsError, match=r"test_array.py:\d+: .*\(shape \(2, 3\)\)"):
            t[key]
    with pytest.raises(IndexError, match="index 7 is outside an axis of length 3"):
        hl.vector([1.0, 2.0, 3.0])[7]
    with pytest.raises(hl.BoundsError, match="only integers, slices"):
        t[0.5]


@pytest.mark.parametrize("place", range(-5, 5))
def test_a_traced_index_counts_from_the_end_and_is_clamped(place):
    i = hl.value(place)
    clamped = min(max(place + 3 if place < 0 else place, 0), 2)
    want = SQUARE[0]
    assert evaluate(hl.vector.input(want)[i]) == want[clamped]
    assert evaluate(hl.vector([hl.value(float(x)) for x in want])[i]) == want[clamped]
    assert evaluate(hl.vector(want)[i]) == want[clamped]


def test_traced_indices_in_tuples():
    t, i, j = traced(CUBE), hl.value(1), hl.value(2)
    for got, want in [
        (t[i], CUBE[1]),
        (t[i, j], CUBE[1, 2]),
        (t[:, j], CUBE[:, 2]),
        (t[..., j], CUBE[..., 2]),
        (t[0, j, 1:], CUBE[0, 2, 1:]),
        (t[None, i], CUBE[None, 1]),
        (t[i, :, j], CUBE[1, :, 2]),
        (t[i, j, i], CUBE[1, 2, 1]),
        (t[i, None, j], CUBE[1, None, 2]),
    ]:
        assert got.shape == want.shape
        np.testing.assert_array_equal(evaluate(got), want)


def test_traced_vectors_of_indices():
    t, places = traced(CUBE), hl.vector.input([1, 0, 1])
    np.testing.assert_array_equal(evaluate(t[places]), CUBE[[1, 0, 1]])
    np.testing.assert_array_equal(evaluate(t[:, places]), CUBE[:, [1, 0, 1]])
    np.testing.assert_array_equal(evaluate(t[0, :, places]), CUBE[0][:, [1, 0, 1]])
    np.testing.assert_array_equal(evaluate(t[0, 0][[hl.value(3), hl.value(1)]]), CUBE[0, 0, [3, 1]])


def test_a_traced_place_can_be_assigned():
    for i in (-2, 0, 2, 9):
        v, want = hl.vector.input([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]
        want[min(i, 2)] = 7.0
        v[hl.value(i)] = 7.0
        np.testing.assert_array_equal(evaluate(v), want)
    t, want = traced(CUBE), CUBE.copy()
    want[1, :, 2] = [7, 8, 9]
    t[hl.value(1), :, hl.value(2)] = [7.0, 8.0, 9.0]
    np.testing.assert_array_equal(evaluate(t), want)


def test_refused_indices_say_what_to_do():
    v = hl.vector.input([1.0, 2.0, 3.0])
    with pytest.raises(hl.TypeMismatch, match=r"a traced mask cannot index.*Use hl.where"):
        v[v > 1]
    with pytest.raises(hl.TypeMismatch, match=r"an index must be an integer, not float32. Use x.astype\('int32'\)"):
        v[hl.value(1.0)]
    with pytest.raises(hl.TypeMismatch, match="cannot be combined with a list or mask"):
        traced(CUBE)[[0, 1], hl.value(0)]
    with pytest.raises(hl.BoundsError, match=r"2 indices for an array of shape \(3,\)"):
        v[0, hl.value(1)]
    with pytest.raises(hl.TypeMismatch, match="only one index can be a traced array"):
        traced(CUBE)[hl.vector.input([0]), hl.vector.input([0])]
    with pytest.raises(hl.TypeMismatch, match="only a scalar can be a traced index in an assignment"):
        v[hl.vector.input([0])] = 1.0


def test_assignment_changes_this_array_only():
    v = hl.vector.input([1.0, 2.0])
    w = v.copy()
    part = v[:1]
    v[0] = 9.0
    assert evaluate(w[0]) == 1
    assert evaluate(part[0]) == 1
    assert evaluate(v[0]) == 9


def test_assignment_broadcasts_and_promotes_instead_of_truncating():
    t = hl.zeros((2, 3), dtype="int32")
    t[:, 1] = hl.vector.input([0.5, 1.5])
    assert t.dtype is hl.float32
    np.testing.assert_array_equal(evaluate(t), [[0, 0.5, 0], [0, 1.5, 0]])
    with pytest.raises(hl.ShapeError, match=r"cannot assign an array of shape \(2,\) to places of shape \(3,\)"):
        t[0] = [1.0, 2.0]
    with pytest.raises(hl.TypeMismatch, match="'x' cannot be an element"):
        t[0] = "x"


def test_assigning_elements_of_packed_scalars_costs_no_copy():
    v = hl.vector([hl.value(1.0), hl.value(2.0)])
    x = hl.value(3.0)
    v[1] = x
    assert v.node.op.name == "pack"
    assert v.values[1].node is x.node


def test_assigning_to_a_long_input_is_one_movement():
    v = hl.vector.input(np.zeros(500, np.float32))
    v[100:200] = 1.0
    want = np.zeros(500)
    want[100:200] = 1
    np.testing.assert_array_equal(evaluate(v), want)
    assert v.node.op.name == "take"


# ------------------------------------------------------------------------------------------ shapes


def test_shapes_are_numpys():
    t = traced(CUBE)
    cases = [
        (t.reshape(6, 4), CUBE.reshape(6, 4)),
        (t.reshape((4, -1)), CUBE.reshape(4, -1)),
        (t.T, CUBE.T),
        (t.transpose(), CUBE.T),
        (t.transpose(1, 0, 2), CUBE.transpose(1, 0, 2)),
        (t.transpose(-1, 0, 1), CUBE.transpose(-1, 0, 1)),
        (t.transpose((2, 1, 0)), CUBE.T),
        (t.flatten(), CUBE.ravel()),
        (t[0].T, CUBE[0].T),
        (t[0, 0].T, CUBE[0, 0]),
    ]
    for got, want in cases:
        assert got.shape == want.shape
        np.testing.assert_array_equal(evaluate(got), want)
    assert t.size() == 24
    assert t.ndim == 3
    assert len(t) == 2


def test_shapes_that_do_not_fit_are_refused():
    t = traced(CUBE)
    with pytest.raises(hl.ShapeError, match=r"cannot reshape \(2, 3, 4\) to \(5, -1\): 24 elements"):
        t.reshape(5, -1)
    with pytest.raises(hl.ShapeError, match=r"cannot reshape \(2, 3, 4\) to \(-1, -1\)"):
        t.reshape(-1, -1)
    with pytest.raises(hl.ShapeError, match=r"transpose of shape \(2, 3, 4\) needs all its axes"):
        t.transpose(1, 0)
    with pytest.raises(hl.ShapeError, match="names an axis twice"):
        t.transpose(0, 0, 1)
    with pytest.raises(hl.TypeMismatch, match=r"a tensor of shape \(\) has no length"):
        len(hl.tensor(1.0))


def test_types_convert():
    t = traced(SQUARE / 2)
    np.testing.assert_array_equal(evaluate(t.astype("int32")), (SQUARE / 2).astype(np.int32))
    assert hl.int32(t).dtype is hl.int32
    assert t.astype(hl.float64).dtype is hl.float64


# -------------------------------------------------------------------------------------- reductions

AXES = [None, 0, 1, -1, (0, 1), (-1, 0)]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "min", "max", "std", "var"])
def test_reductions_are_numpys(name, axis, keepdims):
    got = getattr(traced(SQUARE), name)(axis=axis, keepdims=keepdims)
    want = getattr(np, name)(SQUARE.astype(np.float64), axis=axis, keepdims=keepdims)
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(evaluate(got), want, rtol=1e-6)
    np.testing.assert_array_equal(evaluate(getattr(hl, name)(traced(SQUARE), axis=axis, keepdims=keepdims)), evaluate(got))


@pytest.mark.parametrize("axis", AXES)
def test_any_and_all_take_numbers_and_bools(axis):
    for array in (SQUARE, SQUARE > 0, SQUARE.astype(np.int32)):
        np.testing.assert_array_equal(evaluate(hl.tensor.input(array).any(axis)), array.any(axis))
        np.testing.assert_array_equal(evaluate(hl.all(hl.tensor.input(array), axis)), array.all(axis))


@given(st_numpy.arrays(np.float32, (3, 4), elements=st.sampled_from([0.0, -0.0, 1.0, 2.0, np.nan, np.inf, -np.inf])))
def test_places_of_extrema_are_the_first_and_nan_wins(array):
    t = traced(array)
    for axis in (None, 0, 1, -1):
        np.testing.assert_array_equal(evaluate(t.argmin(axis)), array.argmin(axis))
        np.testing.assert_array_equal(evaluate(hl.argmax(t, axis)), array.argmax(axis))
    assert t.argmax(1, keepdims=True).shape == (3, 1)
    assert t.argmax(keepdims=True).shape == (1, 1)


def test_reductions_of_ints_stay_ints_and_means_are_floats():
    v = hl.vector.input([1, 2, 4])
    assert v.sum().dtype is hl.int32
    assert v.prod().dtype is hl.int32
    assert v.max().dtype is hl.int32
    assert v.mean().dtype is hl.float32
    assert hl.vector.input([True, True]).sum().dtype is hl.int32
    assert evaluate(hl.vector.input([True, False, True]).mean()) == np.float32(2 / 3)
    assert evaluate(hl.vector.input([False, True]).argmax()) == 1


def test_reductions_give_scalars():
    v = hl.vector.input([1.0, 2.0])
    for scalar in (v.sum(), v.mean(), v.max(), v.norm(), v.any(), v.argmin(), v @ v):
        assert isinstance(scalar, hl.value)
    assert isinstance(traced(SQUARE).sum(0), hl.tensor)


@pytest.mark.parametrize("order", [None, 1, 2, np.inf])
def test_norms(order):
    np.testing.assert_allclose(evaluate(traced(SQUARE).norm(order, axis=1)), np.linalg.norm(SQUARE, order, axis=1), rtol=1e-6)
    np.testing.assert_allclose(evaluate(traced(SQUARE).norm()), np.linalg.norm(SQUARE), rtol=1e-6)
    with pytest.raises(hl.TypeMismatch, match=r"norm of order 3. Use 1, 2 or inf"):
        traced(SQUARE).norm(3)


def test_reductions_of_no_elements():
    empty = hl.vector([])
    assert evaluate(empty.sum()) == 0
    assert evaluate(empty.prod()) == 1
    assert not evaluate(empty.any())
    assert evaluate(empty.all())
    with pytest.raises(hl.ShapeError, match=r"amin of no elements \(shape \(0,\)\)"):
        empty.min()
    with pytest.raises(hl.ShapeError, match=r"mean of no elements \(shape \(0,\)\)"):
        empty.mean()


def test_axes_outside_are_refused():
    with pytest.raises(hl.ShapeError, match=r"axis 2 of an array of shape \(2, 3\): it has 2 axes"):
        traced(SQUARE).sum(2)
    with pytest.raises(hl.ShapeError, match="names an axis twice"):
        traced(SQUARE).sum((0, -2))
    with pytest.raises(hl.ShapeError, match="variance of 1 elements with ddof=1"):
        hl.vector([1.0]).var(ddof=1)


def test_minimum_and_maximum_of_several_arguments():
    x, y = hl.value(1), hl.value(3)
    assert evaluate(hl.min(x, y)) == 1
    assert evaluate(hl.max(x, y, 2)) == 3
    assert hl.max(1, 3) == 3
    with pytest.raises(hl.TypeMismatch, match=r"min\(\) needs an argument"):
        hl.min()


# -------------------------------------------------------------------------------------- operators


@given(st.data())
def test_broadcasting_is_numpys(data):
    shapes = data.draw(st_numpy.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3))
    elements = st.floats(-10, 10, width=32)
    a, b = (data.draw(st_numpy.arrays(np.float32, shape, elements=elements)) for shape in shapes.input_shapes)
    got = hl.tensor.input(a) - hl.tensor.input(b)
    assert got.shape == shapes.result_shape
    np.testing.assert_array_equal(evaluate(got), a - b)


def test_integer_operators_are_pythons():
    a, b = np.int32([7, -7, 7, -7, 5]), np.int32([2, 2, -2, -2, 0])
    v, w = hl.vector.input(a), hl.vector.input(b)
    np.testing.assert_array_equal(evaluate(v // w), [3, -4, -4, 3, 0])
    np.testing.assert_array_equal(evaluate(v % w), [1, 1, -1, -1, 0])
    quotient, rest = divmod(v, 2)
    np.testing.assert_array_equal(evaluate([quotient, rest]), [a // 2, a % 2])
    np.testing.assert_array_equal(evaluate(v & 3), a & 3)
    np.testing.assert_array_equal(evaluate(1 | v), a | 1)
    np.testing.assert_array_equal(evaluate(v ^ w), a ^ b)
    np.testing.assert_array_equal(evaluate(~v), ~a)
    np.testing.assert_array_equal(evaluate(v << 1), a << 1)
    np.testing.assert_array_equal(evaluate([5, 5, 5, 5, 5] >> hl.vector.input([0, 1, 2, 3, 40])), [5, 2, 1, 0, 0])
    np.testing.assert_array_equal(evaluate(20 // v), 20 // a)
    np.testing.assert_array_equal(evaluate(-20 % v), -20 % a)


def test_bits_of_floats_are_refused_with_the_cure():
    with pytest.raises(hl.TypeMismatch, match=r"and does not take \(float32, float32\). Convert first: hl.int32\(x\)"):
        hl.vector.input([1.0]) & 1


def test_powers_of_arrays():
    v = hl.vector.input([1.5, -2.0, 3.0])
    a = np.float32([1.5, -2, 3])
    np.testing.assert_array_equal(evaluate(v**2), a * a)
    np.testing.assert_allclose(evaluate(v**5), a**5, rtol=1e-6)
    np.testing.assert_allclose(evaluate(v**-2), a**-2.0, rtol=1e-6)
    np.testing.assert_array_equal(evaluate(v**0), [1, 1, 1])
    np.testing.assert_allclose(evaluate([1.0, 2.0, 3.0] ** v), np.float32([1, 0.25, 27]), rtol=1e-6)
    np.testing.assert_allclose(evaluate(hl.pow(v, [2.0, 2.0, 2.0])), a**2, rtol=1e-6)


def test_zero_dimensional_tensors_stay_so():
    t = hl.tensor(42) + 1
    assert t.shape == ()
    assert isinstance(t, hl.tensor)
    assert evaluate(t) == 43
    assert (-t).shape == ()
    assert (t * hl.vector.input([1, 2])).shape == (2,)


def test_many_operations_of_mixed_shapes_can_be_traced():
    """The table of type rules once took an entry for each and, when full, a search had no end."""
    v, x = hl.vector.input([1.0, 2.0]), hl.value(1.0)
    for _ in range(6000):
        v = v * x + 1.0
    assert v.shape == (2,)
