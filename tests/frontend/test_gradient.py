"""grad, jacobian, hessian, jvp and vjp as users call them, and each gradient that Copapy gets wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation import evaluate

import hotloop as hl

# ----------------------------------------------------------- what the peer gets wrong (reference 2.4)


def test_gradient_of_a_negated_product() -> None:
    x, y = hl.value(3.0), hl.value(2.0)
    assert evaluate(hl.grad(-x * 5, (x,))[0]) == -5.0
    assert evaluate(hl.grad(-(x * y), [x, y])) == [-2.0, -3.0]


def test_gradient_of_sigmoid() -> None:
    x = hl.value(0.3)
    assert evaluate(hl.grad(hl.sigmoid(x), x)) == pytest.approx(0.244458, abs=1e-6)
    for far in (-200.0, 200.0):
        z = hl.value(far)
        assert evaluate(hl.grad(hl.sigmoid(z), z)) == 0.0


def test_gradient_of_atan2() -> None:
    y, x = hl.value(1.0), hl.value(2.0)
    assert evaluate(hl.grad(hl.atan2(y, x), [y, x])) == pytest.approx([0.4, -0.2])


def test_gradient_of_modulo() -> None:
    a, b = hl.value(7.0), hl.value(3.0)
    assert evaluate(hl.grad(a % b, [a, b])) == [1.0, -2.0]
    i, j = hl.value(-7), hl.value(3)
    assert evaluate(hl.grad(i % j, [i, j])) == [1.0, 3.0]


def test_gradient_of_the_readme_of_autograd() -> None:
    a, b = hl.value(-4.0), hl.value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + hl.relu(b + a)
    d += 3 * d + hl.relu(b - a)
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    assert evaluate(g) == pytest.approx(24.70408, rel=1e-6)
    assert evaluate(hl.grad(g, [a, b])) == pytest.approx([138.8338, 645.5773], rel=1e-5)


def test_gradient_by_a_scalar_is_a_scalar() -> None:
    x = hl.value(3.0)
    g = hl.grad(x * x, x)
    assert isinstance(g, hl.value)
    assert evaluate(g) == 6.0


def test_gradient_by_a_tensor_is_a_tensor() -> None:
    t = hl.tensor.input([[1.0, 2.0], [3.0, 4.0]])
    g = hl.grad((t @ t).sum(), t)
    assert isinstance(g, hl.tensor)
    np.testing.assert_array_equal(evaluate(g), [[7.0, 11.0], [9.0, 13.0]])


def test_gradient_through_iif_and_clamp_and_of_a_comparison() -> None:
    for point, want in ((2.0, [4.0, 1.0]), (-2.0, [3.0, 0.0])):
        x = hl.value(point)
        assert evaluate([hl.grad(hl.iif(x > 0, x * x, 3.0 * x), x), hl.grad(hl.clamp(x, 0.0, 5.0), x)]) == want
        assert evaluate(hl.grad(x > 0, x)) == 0.0


def test_gradient_of_an_unrelated_value_and_of_itself() -> None:
    x, y = hl.value(3.0), hl.value(2.0)
    assert evaluate(hl.grad(y * y, x)) == 0.0
    assert evaluate(hl.grad(x, x)) == 1.0
    v = hl.vector.input([1.0, 2.0])
    np.testing.assert_array_equal(evaluate(hl.grad(x, v)), [0.0, 0.0])


def test_gradient_of_extrema_sign_and_shift() -> None:
    x, y, n = hl.value(3.0), hl.value(2.0), hl.value(3)
    assert evaluate(hl.grad(hl.maximum(x, y) * 2.0 + hl.minimum(x, y), [x, y])) == [2.0, 1.0]
    assert evaluate([hl.grad(hl.sign(x), x), hl.grad(n << 2, n), hl.grad(abs(-x), x)]) == [0.0, 0.0, 1.0]


def test_gradient_of_a_norm_at_zero_is_zero() -> None:
    v = hl.vector.input([0.0, 0.0, 0.0])
    np.testing.assert_array_equal(evaluate(hl.grad(v.magnitude(), v)), np.zeros(3))
    np.testing.assert_array_equal(evaluate(hl.grad(hl.distance(v, v * 1.0), v)), np.zeros(3))


# ------------------------------------------------------------------------------------- structures


def test_result_has_the_structure_of_the_variables() -> None:
    x, v, q = hl.value(2.0), hl.vector.input([1.0, 2.0]), hl.quaternion.input()
    g = hl.grad(x * v.sum() + q.w * 5.0, {"a": [x, v], "b": (q, x)})
    assert list(g) == ["a", "b"]
    assert [type(leaf) for leaf in (*g["a"], *g["b"])] == [hl.value, hl.vector, hl.quaternion, hl.value]
    np.testing.assert_array_equal(evaluate(g["b"][0]), [5.0, 0.0, 0.0, 0.0])


def test_several_values_are_derived_as_their_sum() -> None:
    x = hl.value(2.0)
    for y in ([x * x, x], (x * x, x), hl.vector([x * x, x]), {"a": x * x, "b": [x]}):
        assert evaluate(hl.grad(y, x)) == 5.0


def test_gradient_by_a_state_is_no_state() -> None:
    s, v = hl.state(2.0), hl.state([1.0, 2.0])
    g, h = hl.grad(s * s * v.sum(), [s, v])
    assert type(g) is hl.value
    assert type(h) is hl.vector
    assert evaluate(g) == 12.0


def test_gradient_by_a_vector_of_values_treats_elements_as_independent() -> None:
    a = hl.value(3.0)
    v = hl.vector([a, a * 2.0])
    np.testing.assert_array_equal(evaluate(hl.grad((v * v).sum(), v)), [6.0, 12.0])
    np.testing.assert_array_equal(evaluate(hl.grad(v[0] * v[1], v)), [6.0, 3.0])
    assert evaluate(hl.grad(v[0] * v[1], a)) == 12.0


def test_gradient_by_elements_and_slices_of_an_input() -> None:
    w = hl.vector.input([1.0, 2.0, 3.0])
    y = (w * w).sum() + w[1] * 10.0
    assert evaluate(hl.grad(y, w[1])) == 14.0
    np.testing.assert_array_equal(evaluate(hl.grad(y, w[1:])), [14.0, 6.0])
    first, second = hl.grad(y, [w[:2], w[2:]])
    np.testing.assert_array_equal(np.concatenate(evaluate([first, second])), [2.0, 14.0, 6.0])


def test_gradient_by_an_assigned_array() -> None:
    x = hl.value(4.0)
    w = hl.vector.input([1.0, 2.0, 3.0])
    changed = w.copy()
    changed[1] = x
    assert evaluate(hl.grad((changed * changed).sum(), x)) == 8.0
    np.testing.assert_array_equal(evaluate(hl.grad((changed * changed).sum(), w)), [2.0, 0.0, 6.0])


def test_integers_have_float_gradients() -> None:
    n, m = hl.value(3), hl.value(3, dtype="int64")
    assert hl.grad(n * n, n).dtype is hl.float32
    assert hl.grad(m * m, m).dtype is hl.float64
    assert evaluate([hl.grad(n * n, n), hl.grad(m * m, m)]) == [6.0, 6.0]


def test_higher_derivatives() -> None:
    x = hl.value(3.0)
    first = hl.grad(x**3, x)
    second = hl.grad(first, x)
    assert evaluate([first, second, hl.grad(second, x), hl.grad(hl.grad(second, x), x)]) == [27.0, 18.0, 6.0, 0.0]


# -------------------------------------------------------------------------- jacobian, hessian, jvp, vjp


def test_jacobian_of_scalars_vectors_and_lists() -> None:
    x, y = hl.value(2.0), hl.value(3.0)
    v = hl.vector.input([1.0, 2.0, 4.0])
    assert evaluate(hl.jacobian(x * x, x)) == 4.0
    np.testing.assert_array_equal(evaluate(hl.jacobian(v * v, v)), np.diag([2.0, 4.0, 8.0]))
    np.testing.assert_array_equal(evaluate(hl.jacobian([x * y, x + y, x], [x, y])), [[3.0, 2.0], [1.0, 1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(evaluate(hl.jacobian([v[0] * v[1], v[2]], v)), [[2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(evaluate(hl.jacobian(v.sum() * x, [x, v])), [7.0, 2.0, 2.0, 2.0])
    assert hl.jacobian(v, hl.tensor.input(np.ones((2, 2), np.float32))).shape == (3, 2, 2)


def test_jacobian_by_rows_and_by_columns_agree() -> None:
    a = hl.tensor.input(np.arange(6.0, dtype=np.float32).reshape(2, 3) / 4)
    tall, wide = hl.vector.input([0.5, -1.0]), hl.vector.input([0.5, -1.0, 2.0])
    np.testing.assert_allclose(evaluate(hl.jacobian(hl.sin(a.T @ tall), tall)), evaluate(hl.cos(a.T @ tall))[:, None] * evaluate(a).T, 1e-6)
    np.testing.assert_allclose(evaluate(hl.jacobian(hl.sin(a @ wide), wide)), evaluate(hl.cos(a @ wide))[:, None] * evaluate(a), 1e-6)


def test_hessian() -> None:
    x = hl.vector.input(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(evaluate(hl.hessian(x[0] * x[1] ** 2 * x[2], x)), [[0, 12, 4], [12, 6, 4], [4, 4, 0]])
    a, b = hl.value(2.0), hl.value(3.0)
    np.testing.assert_array_equal(evaluate(hl.hessian(a * a * b, [a, b])), [[6.0, 4.0], [4.0, 0.0]])
    assert evaluate(hl.hessian(a**4, a)) == 48.0
    p = hl.vector.input([2.0, 0.0, 5.0])
    np.testing.assert_array_equal(evaluate(hl.hessian(p.prod(), p)), [[0, 5, 0], [5, 0, 2], [0, 2, 0]])


def test_jvp_and_vjp_weight_the_jacobian() -> None:
    v = hl.vector.input(np.array([0.3, 0.7, -0.2]))
    y = hl.sin(v) * v.sum()
    matrix = evaluate(hl.jacobian(y, v))
    right, left = np.array([1.0, -2.0, 0.5]), np.array([3.0, 1.0, -1.0])
    np.testing.assert_allclose(evaluate(hl.jvp(y, v, right)), matrix @ right, 1e-12)
    np.testing.assert_allclose(evaluate(hl.vjp(y, v, left)), left @ matrix, 1e-12)
    x = hl.value(2.0)
    assert evaluate(hl.vjp([x * 2.0, x * 3.0], x, [1.0, 10.0])) == 32.0
    assert evaluate(hl.jvp([x * x, x], x, 3.0)) == [12.0, 3.0]


def test_jvp_keeps_the_class_of_the_value() -> None:
    q = hl.quaternion.input((1.0, 0.0, 0.0, 0.0))
    assert isinstance(hl.jvp(q @ q, q, [1.0, 0.0, 0.0, 0.0]), hl.quaternion)


# ----------------------------------------------------------------------------------------- geometry


def test_gradients_of_rotations_agree_with_differences() -> None:
    def moved(angle: Any, axis: Any, module: Any) -> Any:
        return module(axis, angle)

    rng = np.random.default_rng(1)
    axis, angle, point = rng.normal(size=3), 0.7, rng.normal(size=3)

    def program(axis_node: Any, angle_node: Any) -> Any:
        q = hl.quaternion.from_axis_angle(axis_node, angle_node)
        return (q.rotate_vector(hl.vector(point)) * hl.vector(np.array([1.0, 2.0, 3.0]))).sum()

    a, t = hl.vector.input(axis), hl.value(np.float64(angle))
    by_axis, by_angle = evaluate(list(hl.grad(program(a, t), [a, t])))

    def number(axis: Any, angle: float) -> float:
        return float(evaluate(program(hl.vector.input(axis), hl.value(np.float64(angle)))))

    h = 1e-6
    for k in range(3):
        step = h * np.eye(3)[k]
        assert by_axis[k] == pytest.approx((number(axis + step, angle) - number(axis - step, angle)) / (2 * h), rel=1e-6)
    assert by_angle == pytest.approx((number(axis, angle + h) - number(axis, angle - h)) / (2 * h), rel=1e-6)


# ------------------------------------------------------------------------------------------- peers


OPERATIONS = ["sin", "cos", "exp", "tanh", "sqrt", "mul", "add", "sub", "div", "atan2", "maximum"]


def composed(script: list[tuple[str, int, int]], xs: list[Any], functions: dict[str, Any]) -> Any:
    pool = list(xs)
    for name, i, j in script:
        a, b = pool[i % len(pool)], pool[j % len(pool)]
        if name in ("sin", "cos", "tanh"):
            pool.append(functions[name](a))
        elif name == "exp":
            pool.append(functions[name](functions["sin"](a)))
        elif name == "sqrt":
            pool.append(functions[name](a * a + 0.5))
        elif name in ("atan2", "maximum"):
            pool.append(functions[name](a, b))
        else:
            pool.append({"mul": a * b, "add": a + b, "sub": a - b, "div": a / (b * b + 1.0)}[name])
    return sum(pool[1:], pool[0])


SCRIPTS = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=15)
POINTS = st.lists(st.floats(-2.0, 2.0).map(lambda x: x + 1e-3), min_size=3, max_size=3, unique=True)
OURS = {name: getattr(hl, name) for name in ("sin", "cos", "exp", "tanh", "sqrt", "atan2", "maximum")}


@settings(max_examples=25)
@given(SCRIPTS, POINTS)
def test_gradients_and_hessians_agree_with_casadi(script: list[tuple[str, int, int]], points: list[float]) -> None:
    casadi = pytest.importorskip("casadi")
    theirs = {name: getattr(casadi, name, None) for name in OURS} | {"maximum": casadi.fmax}
    symbols = casadi.SX.sym("x", 3)
    y = composed(script, [symbols[k] for k in range(3)], theirs)
    matrix, slope = casadi.hessian(y, symbols)
    wanted = casadi.Function("f", [symbols], [slope, matrix])(points)
    xs = [hl.value(np.float64(point)) for point in points]
    ours = composed(script, xs, OURS)
    if not all(math.isfinite(x) for part in wanted for x in np.array(part).flat):
        return
    np.testing.assert_allclose(evaluate(hl.grad(ours, xs)), np.array(wanted[0])[:, 0], 1e-8, 1e-8)
    np.testing.assert_allclose(evaluate(hl.hessian(ours, xs)), np.array(wanted[1]), 1e-7, 1e-7)


def test_gradients_of_arrays_agree_with_jax() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(5)
    a, b, c = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=2)

    def program(a: Any, b: Any, c: Any, m: Any) -> Any:
        z = m.tanh(a @ b + c)
        return (z * z).sum(1).max() + (z[1:] * z[:-1]).mean() + m.exp(-z).prod() * 1e-3

    nodes = [hl.tensor.input(a), hl.tensor.input(b), hl.vector.input(c)]
    ours = evaluate(list(hl.grad(program(*nodes, hl), nodes)))
    theirs = jax.grad(lambda *xs: program(*xs, jax.numpy), argnums=(0, 1, 2))(*map(jax.numpy.asarray, (a, b, c)))
    for got, want in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, want, 1e-10)


# ------------------------------------------------------------------------------------------ errors


def test_errors_name_the_line_and_the_cure() -> None:
    x, v = hl.value(2.0), hl.vector.input([1.0, 2.0])
    with pytest.raises(hl.GradientError, match=r"test_gradient\.py:\d+: the value to be derived must be traced, not float 3\.0"):
        hl.grad(3.0, x)
    with pytest.raises(hl.GradientError, match=r"test_gradient\.py:\d+: the variable must be traced, not float 2\.0"):
        hl.grad(x, 2.0)
    with pytest.raises(hl.GradientError, match="the value to be derived is empty"):
        hl.grad([], x)
    with pytest.raises(hl.GradientError, match="the variable is empty"):
        hl.jacobian(x, [])
    assert hl.grad(x, []) == []
    with pytest.raises(hl.GradientError, match=r"is a constant, and nothing depends on a constant.*hl\.value"):
        hl.grad(x, hl.vector([1.0, 2.0]))
    with pytest.raises(hl.ShapeError, match=r"hessian\(\) derives one scalar, not shape \(2,\)"):
        hl.hessian(v, v)
    with pytest.raises(hl.ShapeError, match=r"the tangent of a value of shape \(2,\) must have this shape, not shape \(3,\)"):
        hl.jvp(v, v, [1.0, 2.0, 3.0])
    with pytest.raises(hl.ShapeError, match="the cotangent has 1 parts for 2 values"):
        hl.vjp([x, x * 2.0], x, [1.0])
