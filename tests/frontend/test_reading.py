"""Numbers read from arrays: a list that computes element by element."""

import pickle

import numpy as np
import pytest

import hotloop as hl
from hotloop.frontend.reading import Reading, Rotation


def test_a_reading_is_a_sequence_of_python_numbers():
    r = Reading(np.array([1.0, 2.0], np.float32))
    assert r == [1.0, 2.0]
    assert (len(r), r[1], list(r), r.shape, r.ndim, r.values) == (2, 2.0, [1.0, 2.0], (2,), 1, (1.0, 2.0))
    assert type(r[0]) is float
    assert [type(x) for x in r] == [float, float]
    assert (2.0 in r, 3.0 in r, sum(r), max(r), sorted(r, reverse=True)) == (True, False, 3.0, 2.0, [2.0, 1.0])
    assert repr(r) == "[1.0, 2.0]"


def test_readings_equal_lists_tuples_arrays_and_readings():
    r = Reading([[1, 2], [3, 4]])
    for other in ([[1, 2], [3, 4]], ((1, 2), (3, 4)), np.array([[1, 2], [3, 4]]), Reading([[1, 2], [3, 4]]), list(r)):
        assert r == other
        assert other == r
    for other in ([[1, 2], [3, 5]], [1, 2], 5, None, "1234", np.eye(2)):
        assert r != other
    with pytest.raises(TypeError, match="unhashable"):
        hash(r)


def test_readings_become_arrays_of_the_type_in_the_program():
    r = Reading(np.array([1.0, 2.0], np.float32))
    assert np.asarray(r).dtype == r.numpy().dtype == np.float32
    assert np.asarray(r, np.int64).dtype == np.int64
    assert hl.vector(r).dtype is hl.float32
    assert hl.vector([0.0, 0.0]).dtype is (hl.vector.input([1.0, 2.0]) * r).dtype


def test_a_reading_does_not_change_with_the_program():
    v = hl.vector.input([1.0, 2.0])
    tg = hl.Target()
    tg.compile(v)
    r = tg.read_value(v)
    tg.write_value(v, [3.0, 4.0])
    assert r == [1.0, 2.0]


def test_operators_work_element_by_element():
    r = Reading([3, 4])
    assert r + r == [6, 8]
    assert r * 2 == [6, 8]
    assert 2 * r == [6, 8]
    assert [1, 1] + r == [4, 5]  # noqa: RUF005 - a sum
    assert r - 1 == [2, 3]
    assert 1 / r == [1 / 3, 0.25]
    assert -r == [-3, -4]
    assert abs(-r) == r
    assert r // 2 == [1, 2]
    assert r % 2 == [1, 0]
    assert r**2 == [9, 16]
    assert r @ r == 25
    assert np.array([1, 2]) * r == [3, 8]
    assert r.magnitude() == 5.0
    assert isinstance(r + 1, Reading)
    r += 1
    assert r == [4, 5]


def test_a_matrix_is_indexed_as_in_numpy():
    r = Reading([[1, 2], [3, 4]])
    assert r.shape == (2, 2)
    assert r[0, 1] == 2
    assert r[1] == [3, 4]
    assert r[:, 0] == [1, 3]
    assert r.get_scalar(1, 0) == 3
    assert r @ [1, 1] == [3, 7]
    assert r.values == (1, 2, 3, 4)
    with pytest.raises(IndexError, match=r"\[\(0, 5\)\] of numbers of shape \(2, 2\)"):
        r[0, 5]


def test_a_rotation_has_names_for_its_numbers():
    q = Rotation([1.0, 2.0, 3.0, 4.0])
    assert (q.w, q.x, q.y, q.z) == (1.0, 2.0, 3.0, 4.0)


def test_traced_operands_take_over():
    v = hl.vector.input([1.0, 2.0])
    assert (Reading([1.0, 2.0]) + v).shape == (2,)
    assert (v * Reading([1.0, 2.0])).shape == (2,)


def test_a_reading_can_be_pickled():
    r = pickle.loads(pickle.dumps(Reading([[1, 2]])))
    assert (r, r.shape, type(r)) == ([[1, 2]], (1, 2), Reading)
