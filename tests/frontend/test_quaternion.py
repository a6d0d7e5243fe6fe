"""Quaternions against rotation matrices and against each other."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation import evaluate

import hotloop as hl

angles = st.tuples(st.floats(-3.0, 3.0), st.floats(-1.4, 1.4), st.floats(-3.0, 3.0))
part = st.floats(-2.0, 2.0)
parts = st.lists(part, min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1)


def double(q):
    return hl.quaternion.input(q, dtype="float64")


def matrix_of(roll, pitch, yaw):
    def about(axis, angle):
        c, s = math.cos(angle), math.sin(angle)
        i, j = [k for k in range(3) if k != axis]
        m = np.eye(3)
        m[i, i] = m[j, j] = c
        m[i, j], m[j, i] = (-s, s) if axis != 1 else (s, -s)
        return m

    return about(2, yaw) @ about(1, pitch) @ about(0, roll)


def hamilton(a, b):
    v = a[0] * np.array(b[1:]) + b[0] * np.array(a[1:]) + np.cross(a[1:], b[1:])
    return np.array([a[0] * b[0] - np.dot(a[1:], b[1:]), *v])


def test_construction():
    np.testing.assert_array_equal(evaluate(hl.quaternion()), [1, 0, 0, 0])
    np.testing.assert_array_equal(evaluate(hl.quaternion(1, 2, 3, 4)), [1, 2, 3, 4])
    np.testing.assert_array_equal(evaluate(hl.quaternion([1, 2, 3, 4])), [1, 2, 3, 4])
    np.testing.assert_array_equal(evaluate(hl.quaternion(hl.vector.input([1.0, 2, 3, 4]))), [1, 2, 3, 4])
    np.testing.assert_array_equal(evaluate(hl.quaternion.identity()), [1, 0, 0, 0])
    assert hl.quaternion(1, 2, 3, 4).dtype is hl.float32
    assert hl.quaternion(np.zeros(4)).dtype is hl.float64
    with pytest.raises(hl.ShapeError, match=r"quaternion\(\) needs 4 numbers \(w, x, y, z\), not an array of shape \(3,\)"):
        hl.quaternion([1, 2, 3])


def test_parts_are_the_scalars_it_was_made_of():
    w, x = hl.value(1.0), hl.value(2.0)
    q = hl.quaternion(w, x, 0.0, 0.0)
    assert q.w.node is w.node
    assert q.x.node is x.node
    assert [evaluate(p) for p in (q.w, q.x, q.y, q.z)] == [1, 2, 0, 0]
    assert len(q) == 4
    assert [evaluate(p) for p in q] == [1, 2, 0, 0]
    assert isinstance(q[1:], hl.vector)
    assert evaluate(q[-3]) == 2


@given(angles)
def test_euler_angles_give_the_matrix_of_three_turns_and_come_back(euler):
    q = hl.quaternion.from_euler(*[hl.value(a, dtype="float64") for a in euler])
    want = matrix_of(*euler)
    np.testing.assert_allclose(evaluate(q.to_matrix()), want, atol=1e-12)
    homogeneous = evaluate(q.toRotationMatrix())
    assert homogeneous.shape == (4, 4)
    np.testing.assert_allclose(homogeneous[:3, :3], want, atol=1e-12)
    np.testing.assert_array_equal(homogeneous[3], [0, 0, 0, 1])
    np.testing.assert_array_equal(homogeneous[:, 3], [0, 0, 0, 1])
    np.testing.assert_allclose(evaluate(q.toEulerAngles()), euler, atol=1e-9)
    np.testing.assert_allclose(evaluate(q.norm()), 1, rtol=1e-12)


@given(parts, st.lists(part, min_size=3, max_size=3))
def test_rotation_of_vectors_is_the_matrix_product_for_any_norm(q, v):
    unit = double(np.array(q) / np.linalg.norm(q))
    want = evaluate(unit.to_matrix()) @ v
    np.testing.assert_allclose(evaluate(double(q).rotate_vector(hl.vector.input(v, dtype="float64"))), want, atol=1e-11)


@given(parts)
def test_a_matrix_gives_its_rotation_back(q):
    unit = np.array(q) / np.linalg.norm(q)
    unit = -unit if unit[0] < 0 else unit
    found = evaluate(hl.quaternion.from_matrix(double(unit).to_matrix()))
    assert min(abs(found - unit).max(), abs(found + unit).max()) < 1e-7
    np.testing.assert_allclose(evaluate(hl.quaternion.from_matrix(double(found).toRotationMatrix()).norm()), 1, rtol=1e-9)


@given(parts, parts)
def test_the_product_is_hamiltons(a, b):
    np.testing.assert_allclose(evaluate(double(a) @ double(b)), hamilton(a, b), atol=1e-12)
    np.testing.assert_allclose(evaluate(double(a) @ double(a).inverse()), [1, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(evaluate(double(a).conjugate()), [a[0], -a[1], -a[2], -a[3]])
    np.testing.assert_allclose(evaluate(double(a).dot(double(b))), np.dot(a, b), atol=1e-12)


@given(parts)
def test_axis_and_angle_come_back(q):
    unit = np.array(q) / np.linalg.norm(q)
    axis, angle = double(unit).toAxisAngle()
    back = evaluate(hl.quaternion.from_axis_angle(axis, angle))
    np.testing.assert_allclose(back, unit, atol=1e-9)


def test_axis_and_angle_of_known_rotations():
    axis, angle = hl.quaternion.input([math.cos(0.5), 0.0, math.sin(0.5), 0.0]).toAxisAngle()
    np.testing.assert_allclose(evaluate(axis), [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(evaluate(angle), 1.0, rtol=1e-6)
    axis, angle = hl.quaternion.input().toAxisAngle()
    np.testing.assert_array_equal(evaluate(axis), [1, 0, 0])
    assert evaluate(angle) == 0


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_rotation_vectors_are_axis_times_angle(rotation):
    angle = np.linalg.norm(rotation)
    want = np.array([math.cos(angle / 2), *(np.array(rotation) * (math.sin(angle / 2) / angle if angle else 0.5))])
    np.testing.assert_allclose(evaluate(hl.quaternion.from_rotation_vector(hl.vector.input(rotation, dtype="float64"))), want, atol=1e-9)


def test_zero_is_safe():
    zero = hl.quaternion.input([0.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(evaluate(zero.normalize()), [1, 0, 0, 0])
    np.testing.assert_array_equal(evaluate(zero.inverse()), [0, 0, 0, 0])
    np.testing.assert_array_equal(evaluate(zero.rotate_vector([1.0, 2.0, 3.0])), [1, 2, 3])
    np.testing.assert_allclose(evaluate(hl.quaternion.input([2.0, 0, 0, 0]).normalize()), [1, 0, 0, 0])


@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 1.0])
def test_slerp_turns_at_constant_speed(t):
    a, b = hl.quaternion.from_euler(0.0, 0.0, 0.2), hl.quaternion.from_euler(0.0, 0.0, 1.4)
    want = evaluate(hl.quaternion.from_euler(0.0, 0.0, 0.2 + 1.2 * t))
    np.testing.assert_allclose(evaluate(a.slerp(b, hl.value(t))), want, atol=1e-6)
    np.testing.assert_allclose(evaluate(a.slerp(-b, t)), want, atol=1e-6)  # the shorter way
    np.testing.assert_allclose(evaluate(a.slerp(a, t)), evaluate(a), atol=1e-6)


def test_arithmetic_with_quaternions_and_scalars():
    q, p = hl.quaternion.input([1.0, 2, 3, 4]), hl.quaternion.input([4.0, 3, 2, 1])
    x = hl.value(2.0)
    for got, want in [
        (q + p, [5, 5, 5, 5]),
        (q - p, [-3, -1, 1, 3]),
        (q + 1, [2, 3, 4, 5]),
        (1 + q, [2, 3, 4, 5]),
        (q - 1, [0, 1, 2, 3]),
        (1 - q, [0, -1, -2, -3]),
        (q * 2, [2, 4, 6, 8]),
        (2 * q, [2, 4, 6, 8]),
        (x * q, [2, 4, 6, 8]),
        (q / x, [0.5, 1, 1.5, 2]),
        (-q, [-1, -2, -3, -4]),
        (+q, [1, 2, 3, 4]),
        (q.map(lambda e: e * e), [1, 4, 9, 16]),
    ]:
        assert isinstance(got, hl.quaternion)
        np.testing.assert_array_equal(evaluate(got), want)
    np.testing.assert_allclose(evaluate(abs(q)), math.sqrt(30), rtol=1e-6)
    assert isinstance(q.to_vector(), hl.vector)


def test_equality_compares_all_elements():
    q = hl.quaternion.input([1.0, 2, 3, 4])
    assert (q == q).shape == ()
    assert evaluate(q == hl.quaternion(1, 2, 3, 4))
    assert not evaluate(q == hl.quaternion(1, 2, 3, 5))
    assert evaluate(q != hl.quaternion(1, 2, 3, 5))
    assert (q == "text") is False
    assert hash(q) == hash(q)


def test_operations_without_meaning_say_what_to_use():
    q = hl.quaternion.input([1.0, 2, 3, 4])
    with pytest.raises(hl.TypeMismatch, match="Use @ for the product of two quaternions"):
        q * q
    with pytest.raises(hl.TypeMismatch, match=r"Use q.rotate_vector\(v\)"):
        q @ hl.vector([1.0, 2.0, 3.0])
    with pytest.raises(hl.TypeMismatch, match=r"Use q.rotate_vector\(v\)"):
        np.zeros(4) @ q
    with pytest.raises(hl.TypeMismatch, match=r"quaternion \* vector has no meaning"):
        q * hl.vector([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(hl.TypeMismatch, match=r"quaternion \*\* int has no meaning"):
        q**2
    with pytest.raises(hl.TypeMismatch, match=r"sin does not take \(quaternion\)"):
        hl.sin(q)
    with pytest.raises(TypeError, match="not supported between"):
        _ = q < q
    with pytest.raises(TypeError, match="unsupported operand"):
        1.0 / q
    with pytest.raises(hl.ShapeError, match="rotate_vector needs a vector of 3 elements"):
        q.rotate_vector([1.0, 2.0])
    with pytest.raises(hl.TypeMismatch, match="an angle must be a number"):
        hl.quaternion.from_euler("a", 0, 0)
    with pytest.raises(hl.TypeMismatch, match="slerp takes a quaternion and a number"):
        q.slerp(1.0, 0.5)
    with pytest.raises(hl.ShapeError, match="a rotation matrix is 3x3 or 4x4"):
        hl.quaternion.from_matrix(hl.eye(2))
