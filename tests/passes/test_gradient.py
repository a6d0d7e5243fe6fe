"""Reverse and forward mode: every row against central differences, structure, guards, loops, cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hotloop.ops.shape as sh
from hotloop.dtypes import DType, bool_, float32, float64, int32, int64
from hotloop.errors import GradientError
from hotloop.ir.graph import LOOP, Body, Node, apply, constant, convert, input_node, param_node, reachable
from hotloop.ir.loop import build_loop, dependents, substitute, unroll_loop
from hotloop.ir.op import REGISTRY, Op
from hotloop.ir.reference import run
from hotloop.ops.algebra import call
from hotloop.passes.gradient import cotangents, derivative_dtype, gradients, ones, tangents, zeros

Program = Callable[..., Node]


def inputs(*arrays: Any, dtype: DType = float64) -> list[Node]:
    return [input_node(np.asarray(array, dtype.numpy), dtype) for array in arrays]


def values(nodes: Sequence[Node]) -> list[np.ndarray]:
    return run(list(nodes), {})


def weighted(out: Node, seed: int = 0) -> tuple[Node, np.ndarray]:
    """A cotangent that is different for each element, and its numbers."""
    numbers = np.random.default_rng(seed).uniform(0.5, 2.0, out.shape)
    return constant(numbers, derivative_dtype(out.dtype)), numbers


def differences(program: Program, arrays: Sequence[np.ndarray], weights: np.ndarray, step: float = 1e-6) -> list[np.ndarray]:
    """Central differences of sum(weights * program) by every element of every operand."""
    nodes = inputs(*arrays)
    out = program(*nodes)

    def total(moved: Sequence[np.ndarray]) -> float:
        memory = {node.attr: np.asarray(array) for node, array in zip(nodes, moved, strict=True)}
        return float(np.sum(run([out], memory)[0] * weights))

    found = []
    for k, array in enumerate(arrays):
        slopes = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            h = step * max(1.0, abs(float(array[place])))
            up, down = array.copy(), array.copy()
            up[place] += h
            down[place] -= h
            before, after = list(arrays), list(arrays)
            before[k], after[k] = down, up
            slopes[place] = (total(after) - total(before)) / (up[place] - down[place])
        found.append(slopes)
    return found


def assert_derivatives(program: Program, arrays: Sequence[Any], rtol: float = 2e-6, atol: float = 1e-7) -> None:
    """Reverse mode agrees with central differences, forward mode with reverse mode."""
    points = [np.asarray(array, np.float64) for array in arrays]
    nodes = inputs(*points)
    out = program(*nodes)
    seed, weights = weighted(out)
    reverse = values(gradients(out, nodes, seed))
    for got, want, point in zip(reverse, differences(program, points, weights), points, strict=True):
        assert got.shape == point.shape
        np.testing.assert_allclose(got, want, rtol, atol)
    directions = [weighted(node, k + 1) for k, node in enumerate(nodes)]
    (forward,) = values(tangents([out], nodes, [node for node, _ in directions]))
    along = sum(float(np.sum(g * d)) for g, (_, d) in zip(reverse, directions, strict=True))
    assert forward.shape == out.shape
    np.testing.assert_allclose(np.sum(forward * weights), along, 1e-9, 1e-12)


# ------------------------------------------------------------------------------------------- rows


SCALAR_ROWS = [op for op in REGISTRY.values() if op.types.overloads and not op.internal]
SMOOTH = [op for op in SCALAR_ROWS if ((float64,) * op.arity, float64) in op.types.overloads and not op.name.startswith("to_")]
DISCRETE = {"floordiv", "sign", "floor", "ceil", "round", "trunc"}


@pytest.mark.parametrize("op", SCALAR_ROWS, ids=str)
def test_every_scalar_row_has_a_derivative(op: Op) -> None:
    assert op.vjp is not None


@pytest.mark.parametrize("op", SMOOTH, ids=str)
def test_row_agrees_with_central_differences(op: Op) -> None:
    rng = np.random.default_rng(len(op.name))
    for _ in range(12):
        bounds = [op.domain[k] if k < len(op.domain) else (-4.0, 4.0) for k in range(op.arity)]
        bounds = [(max(low, -20.0), min(high, 20.0)) for low, high in bounds]
        points = [rng.uniform(low + 0.02 * (high - low), high - 0.02 * (high - low)) for low, high in bounds]
        assert_derivatives(lambda *xs: apply(op, *xs), points)


@pytest.mark.parametrize("op", [op for op in SMOOTH if op.name not in DISCRETE], ids=str)
def test_second_derivative_of_row_agrees_with_central_differences(op: Op) -> None:
    rng = np.random.default_rng(len(op.name))
    bounds = [op.domain[k] if k < len(op.domain) else (-4.0, 4.0) for k in range(op.arity)]
    bounds = [(max(low, -5.0), min(high, 5.0)) for low, high in bounds]
    points = [rng.uniform(low + 0.1 * (high - low), high - 0.1 * (high - low)) for low, high in bounds]
    for k in range(op.arity):
        assert_derivatives(lambda *xs, k=k: gradients(apply(op, *xs), xs)[k], points, rtol=1e-5)


@pytest.mark.parametrize("op", [op for op in SMOOTH if op.arity == 2], ids=str)
def test_gradients_of_broadcast_operands_have_the_operands_shapes(op: Op) -> None:
    rng = np.random.default_rng(3)
    domain = op.domain or ((-4.0, 4.0),) * 2
    low, high = max(domain[0][0], -2.0) + 0.1, min(domain[0][1], 2.0) - 0.1
    for shapes in (((3,), ()), ((), (2, 3)), ((2, 1), (3,))):
        assert_derivatives(lambda x, y: apply(op, x, y), [rng.uniform(low, high, shape) for shape in shapes])


def test_gradient_of_select_goes_to_the_side_taken() -> None:
    for x in (-1.0, 2.0):
        assert_derivatives(lambda x: call("select", x > 0.5, x * x, 3.0 * x), [x])


def index(*flat: Any) -> sh.Index:
    return sh.Index(np.array(flat))


ARRAY_PROGRAMS: dict[str, tuple[Program, list[Any]]] = {
    "broadcast": (lambda x: sh.broadcast_to(x, (2, 3)), [[1.0, 2.0, 3.0]]),
    "reshape": (lambda x: sh.reshape_to(x, (3, 2)), [np.arange(6.0).reshape(2, 3)]),
    "transpose": (lambda x: sh.transpose_by(x, (2, 0, 1)), [np.arange(24.0).reshape(2, 3, 4)]),
    "pack": (lambda x, y: sh.pack_of([x, y * x, x], (3,)), [1.5, -2.0]),
    "take": (lambda x: sh.take_by(x * x, index([0, 2], [2, 2])), [[1.0, 2.0, 3.0]]),
    "spread": (lambda x: sh.spread_by(x, index(1, 1, 3), (5,)), [[1.0, 2.0, 3.0]]),
    "concat": (lambda x, y: sh.concatenate([x, y, x], 1), [np.ones((2, 1)), np.ones((2, 3))]),
    "sum": (lambda x: sh.reduce(sh.sum_, x, (0, 2)), [np.arange(24.0).reshape(2, 3, 4)]),
    "prod": (lambda x: sh.reduce(sh.prod, x, (1,)), [np.arange(1.0, 13.0).reshape(2, 6) / 4]),
    "prod all": (lambda x: sh.reduce(sh.prod, x, (0, 1)), [np.arange(1.0, 7.0).reshape(2, 3)]),
    "prod with a zero": (lambda x: sh.reduce(sh.prod, x, (0,)), [[2.0, 0.0, 5.0]]),
    "amin": (lambda x: sh.reduce(sh.amin, x, (0,)), [[[3.0, 1.0], [2.0, 5.0]]]),
    "amax": (lambda x: sh.reduce(sh.amax, x, (0, 1)), [[[3.0, 1.0], [2.0, 5.0]]]),
    "matmul": (sh.product, [np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)]),
    "matmul batch": (sh.product, [np.arange(12.0).reshape(2, 2, 3), np.arange(6.0).reshape(3, 2)]),
    "matmul vector": (sh.product, [np.arange(6.0).reshape(2, 3), [1.0, 2.0, 3.0]]),
    "vector matmul": (sh.product, [[1.0, 2.0], np.arange(6.0).reshape(2, 3)]),
    "dot": (sh.product, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
    "gather": (lambda x: sh.gather_from(x, constant(np.array([2, -1, 0]))), [np.arange(6.0).reshape(3, 2)]),
}


@pytest.mark.parametrize("name", ARRAY_PROGRAMS)
def test_array_row_agrees_with_central_differences(name: str) -> None:
    program, arrays = ARRAY_PROGRAMS[name]
    assert_derivatives(program, arrays)


@pytest.mark.parametrize("name", ARRAY_PROGRAMS)
def test_second_derivative_through_array_row(name: str) -> None:
    program, arrays = ARRAY_PROGRAMS[name]

    def slope(*xs: Node) -> Node:
        out = program(*xs)
        return gradients(out * out * out, xs)[0]

    assert_derivatives(slope, [np.asarray(array) * 0.5 for array in arrays], rtol=2e-5, atol=1e-5)


def test_every_array_row_has_a_derivative_and_a_program_here() -> None:
    rows = [op for op in REGISTRY.values() if op.lower is not None]
    assert all(op.vjp is not None for op in rows)
    missing = {op.name for op in rows} - {name.split()[0] for name in ARRAY_PROGRAMS} - {"any", "all", "length", "place"}
    assert not missing


# ------------------------------------------------------------------------------------- conventions


def gradient_at(program: Program, *points: float) -> list[float]:
    nodes = inputs(*points)
    return [float(g) for g in values(gradients(program(*nodes), nodes))]


def test_conventions_at_kinks() -> None:
    assert gradient_at(lambda x: call("abs", x), 0.0) == [0.0]
    assert gradient_at(lambda x, y: call("hypot", x, y), 0.0, 0.0) == [0.0, 0.0]
    assert gradient_at(lambda x: call("norm", x), 0.0) == [0.0]
    assert gradient_at(lambda x, y: call("minimum", x, y), 2.0, 2.0) == [0.5, 0.5]
    assert gradient_at(lambda x, y: call("maximum", y, x), 2.0, 2.0) == [0.5, 0.5]
    assert gradient_at(lambda x: call("maximum", x, 2.0), 2.0) == [1.0]
    assert gradient_at(lambda x: call("minimum", 2.0, x), 2.0) == [1.0]


def test_tangent_of_extrema_at_ties_agrees_with_the_gradient() -> None:
    for name in ("minimum", "maximum"):
        x, y = inputs(2.0, 2.0)
        for out, want in ((call(name, x, y), 1.5), (call(name, x, 2.0), 1.0)):
            got = tangents([out], [x, y], [constant(1.0, float64), constant(2.0, float64)])
            assert float(values(got)[0]) == want


def test_power_with_constant_exponent_has_no_logarithm() -> None:
    (x,) = inputs(-2.0)
    assert gradient_at(lambda x: call("pow", x, 3.0), -2.0) == [12.0]
    names = {node.op.name for node in reachable(gradients(call("pow", x, 3.0), [x]))}
    assert "log" not in names


def test_power_of_zero_has_finite_slope_in_the_exponent() -> None:
    assert gradient_at(lambda x, y: call("pow", x, y), 0.0, 2.0) == [0.0, 0.0]
    assert gradient_at(lambda x, y: call("pow", x, y), 0.0, 0.0) == [0.0, 0.0]


def test_rounding_and_comparison_have_derivative_zero() -> None:
    for name in ("floor", "ceil", "round", "trunc", "sign"):
        assert gradient_at(lambda x, name=name: call(name, x), 1.3) == [0.0]
    assert gradient_at(lambda x: convert(x > 1.0, float64), 1.3) == [0.0]
    assert gradient_at(lambda x: convert(convert(x, int32), float64), 1.3) == [0.0]


# ---------------------------------------------------------------------------------- structure, types


def test_unrelated_value_has_structural_zeros_and_itself_one() -> None:
    x, y = inputs(1.0, [1.0, 2.0])
    by_x, by_y = gradients(x, [x, y])
    assert float(values([by_x])[0]) == 1.0
    assert by_y.is_const
    assert by_y.attr.structural
    assert by_y.shape == (2,)
    assert zeros(y) is by_y
    assert gradients(y, [y])[0] is ones(y)


DERIVATIVES = [(int32, float32), (int64, float64), (bool_, float32), (float32, float32), (float64, float64)]


@pytest.mark.parametrize(("dtype", "wanted"), DERIVATIVES)
def test_derivatives_are_floats(dtype: DType, wanted: DType) -> None:
    (x,) = inputs(1, dtype=dtype)
    (g,) = gradients(x * 3 if dtype is not bool_ else convert(x, float32) * 3.0, [x])
    assert g.dtype is wanted
    assert float(values([g])[0]) == 3.0


def test_gradient_passes_conversions() -> None:
    (x,) = inputs(2, dtype=int32)
    y = convert(convert(x, int64), float64)
    (g,) = gradients(y * y, [x])
    assert g.dtype is float32
    assert float(values([g])[0]) == 4.0
    (z,) = inputs(2.0, dtype=float64)
    (g,) = gradients(convert(z, float32) * 3.0, [z])
    assert g.dtype is float64


def test_shared_terms_are_added() -> None:
    assert gradient_at(lambda x: x * x + x * x * x, 2.0) == [16.0]


def test_gradient_by_an_intermediate_value() -> None:
    (x,) = inputs(3.0)
    u = x * x
    y = u * u + x
    by_u, by_x = gradients(y, [u, x])
    assert [float(v) for v in values([by_u, by_x])] == [18.0, 2 * 9.0 * 2 * 3.0 + 1.0]


def test_gradient_by_a_packed_vector_sees_its_elements_as_independent() -> None:
    (a,) = inputs(3.0)
    v = sh.pack_of([a, a * 2.0], (2,))
    total = sh.reduce(sh.sum_, v * v, (0,))
    assert values(gradients(total, [v]))[0].tolist() == [6.0, 12.0]
    by_element = sh.element(v, 0) * sh.element(v, 1)
    assert values(gradients(by_element, [v]))[0].tolist() == [6.0, 3.0]


def test_gradient_by_a_view_sees_elements_of_what_it_views() -> None:
    (w,) = inputs([1.0, 2.0, 3.0, 4.0])
    view = sh.take_by(w, index(2, 1))
    y = sh.element(view, 0) * 5.0 + sh.element(w, 1)
    assert values(gradients(y, [view]))[0].tolist() == [5.0, 1.0]
    assert values(gradients(y, [w, view])[:1])[0].tolist() == [0.0, 1.0, 5.0, 0.0]
    square = sh.reshape_to(w, (2, 2))
    assert values(gradients(sh.element(square, 3) * 2.0, [square]))[0].tolist() == [[0.0, 0.0], [0.0, 2.0]]
    (forward,) = tangents([y], [view], [constant(np.array([1.0, 10.0]))])
    assert float(values([forward])[0]) == 15.0


def test_row_without_derivative_names_row_and_line() -> None:
    op = Op("test_opaque", REGISTRY["sin"].types, np.sin)
    try:
        (x,) = inputs(1.0)
        y = apply(op, x)
        with pytest.raises(GradientError, match=r"test_gradient\.py:\d+: test_opaque has no derivative"):
            gradients(y, [x])
        with pytest.raises(GradientError, match=r"test_gradient\.py:\d+: test_opaque has no derivative"):
            tangents([y], [x], [ones(x)])
        assert gradients(y, inputs(2.0))[0].is_const
    finally:
        del REGISTRY["test_opaque"]


# ------------------------------------------------------------------------------------------- guards


GUARDED: dict[str, tuple[Program, float, float]] = {
    "sqrt below zero": (lambda x: call("select", x > 0.0, call("sqrt", x), 2.0 * x), -1.0, 2.0),
    "sqrt at zero": (lambda x: call("select", x > 0.0, call("sqrt", x), 0.0), 0.0, 0.0),
    "x log x": (lambda x: call("select", x > 0.0, x * call("log", x), 0.0), 0.0, 0.0),
    "division": (lambda x: call("select", call("ne", x, 0.0), call("sin", x) / x, 1.0), 0.0, 0.0),
    "nested": (lambda x: call("select", x > 0.0, call("select", x < 5.0, call("log", x) * x, 1.0), 3.0 * x), -1.0, 3.0),
    "nested in a wider one": (
        lambda x: call("select", x > -9.0, call("select", x > 0.0, call("sqrt", x), 2.0 * x), call("log", x)), -1.0, 2.0,
    ),
    "shared": (lambda x: call("select", x > 0.0, call("sqrt", x), x) + call("select", x > 1.0, 2.0 * call("sqrt", x), 0.0), -2.0, 1.0),
    "overflow": (lambda x: call("select", x > 0.0, x, call("exp", -x * 1e3) - 1.0), 5.0, 1.0),
    "clamped quotient": (lambda x: call("minimum", call("maximum", 1.0 / x, 0.0), 1.0), 0.0, 0.0),
    "second use": (lambda x: call("select", x > 0.0, call("sqrt", x) * call("sqrt", x), x) * x, -2.0, -4.0),
}


@pytest.mark.parametrize("name", GUARDED)
def test_the_side_not_taken_poisons_no_gradient(name: str) -> None:
    program, point, want = GUARDED[name]
    assert gradient_at(program, point) == [want]
    (x,) = inputs(point)
    assert float(values(tangents([program(x)], [x], [ones(x)]))[0]) == want
    (v,) = inputs([point, point])
    assert values(gradients(program(v), [v]))[0].tolist() == [want, want]


def test_guards_of_arrays_survive_shared_conditions() -> None:
    v, c = inputs([1.0, -4.0], -1.0)
    y = call("select", c > 0.0, call("sqrt", v), v * v)
    assert values(gradients(y, [v]))[0].tolist() == [2.0, -8.0]


# -------------------------------------------------------------------------------------------- loops


def spiral(trips: int | None, x: Node, y: Node, outer: Node) -> list[Node]:
    p, q = param_node(float64, ()), param_node(float64, ())
    k = param_node(int32, ())
    results = (p * 0.9 + outer * q + convert(k, float64) * 0.1, q * 0.5 + call("sin", p) * 0.3)
    return build_loop([x, y], Body((p, q), results, trips, k, None if trips is not None else call("lt", k, 6)))


def test_loop_of_static_trips_has_gradients_and_tangents() -> None:
    for which in range(2):
        assert_derivatives(lambda x, y, z, which=which: spiral(7, x, y, z)[which], [0.3, 1.2, -0.4])


def test_second_derivative_of_a_loop() -> None:
    assert_derivatives(lambda x, y, z: gradients(spiral(4, x, y, z)[0], [z])[0], [0.3, 1.2, -0.4], rtol=1e-5)


def test_loop_captures_gradients_of_packed_arrays() -> None:
    def program(x: Node, y: Node) -> Node:
        p = param_node(float64, (2,))
        a, b = sh.element(p, 0), sh.element(p, 1)
        body = Body((p,), (sh.pack_of([a * b * 0.5, b + a * y], (2,)),), 4, None, None)
        return build_loop([sh.pack_of([x, y], (2,))], body)[0]

    assert_derivatives(program, [0.7, 1.1])


def test_nested_loops() -> None:
    def program(x: Node, y: Node) -> Node:
        p, q = param_node(float64, ()), param_node(float64, ())
        inner = build_loop([p], Body((q,), (q * y * 0.5 + p,), 3, None, None))[0]
        return build_loop([x], Body((p,), (call("tanh", inner),), 3, None, None))[0]

    assert_derivatives(program, [0.4, 0.8])


def test_forward_mode_keeps_loops() -> None:
    x, y, z = inputs(0.3, 1.2, -0.4)
    forward = tangents(spiral(100, x, y, z), [z], [ones(z)])
    nodes = reachable(forward)
    assert len([node for node in nodes if node.op is LOOP]) == 1
    assert len(nodes) < 60


def test_while_loop_has_tangents_but_no_gradient() -> None:
    x, y, z = inputs(0.3, 1.2, -0.4)
    dynamic, static = spiral(None, x, y, z), spiral(6, x, y, z)
    got, want = (values(tangents(ends, [x, z], [ones(x), ones(z)])) for ends in (dynamic, static))
    np.testing.assert_array_equal(got, want)
    with pytest.raises(GradientError, match=r"test_gradient\.py:\d+: a while loop has no reverse derivative.*hl\.jvp"):
        gradients(dynamic[0], [x])
    assert values(gradients(dynamic[0] * 0.0 + z, inputs(5.0)))[0] == 0.0


def test_gradient_of_a_very_long_loop_is_refused() -> None:
    x, y, z = inputs(0.3, 1.2, -0.4)
    (end, _) = spiral(1_000_000, x, y, z)
    with pytest.raises(GradientError, match=r"test_gradient\.py:\d+: reverse mode copies the body of a loop for each trip.*hl\.jvp"):
        gradients(end, [x])
    assert len(reachable(tangents([end], [x], [ones(x)]))) < 60


def test_loop_that_ignores_the_variable_is_not_expanded() -> None:
    x, y, z = inputs(0.3, 1.2, -0.4)
    (w,) = inputs(2.0)
    (g,) = gradients(spiral(1000, x, y, z)[0] * w, [w])
    assert len(reachable([g])) < 40


def test_unrolled_loop_is_the_loop() -> None:
    x, y, z = inputs(0.3, 1.2, -0.4)
    ends = spiral(5, x, y, z)
    np.testing.assert_array_equal(values(unroll_loop(ends[0].args[0])), values(ends))


def test_trips_of_zero_and_one_are_no_loops() -> None:
    x, y, z = inputs(0.3, 1.2, -0.4)
    assert spiral(0, x, y, z) == [x, y]
    assert not [node for node in reachable(spiral(1, x, y, z)) if node.op is LOOP]


def test_invariant_variables_are_not_carried() -> None:
    x, y = inputs(2.0, 3.0)
    p, q = param_node(float64, ()), param_node(float64, ())
    moved, kept = build_loop([x, y], Body((p, q), (p * q, q), 3, None, None))
    assert kept is y
    assert len(moved.args[0].attr.params) == 1
    assert float(values([moved])[0]) == 54.0


# ------------------------------------------------------------------------------------ random programs


UNARY = ("sin", "cos", "tanh", "exp", "atan", "neg", "abs", "sqrt", "log")
BINARY = ("add", "sub", "mul", "div", "minimum", "maximum", "hypot", "atan2")


def grown(script: Sequence[tuple[int, int, int]], xs: Sequence[Node]) -> Node:
    """A program of one operation for each entry; operands are kept where every row is smooth enough."""
    pool = list(xs)
    for which, i, j in script:
        a, b = pool[i % len(pool)], pool[j % len(pool)]
        if which < len(UNARY):
            name = UNARY[which]
            a = a * a + 0.5 if name in ("sqrt", "log") else call("sin", a) if name == "exp" else a
            pool.append(call(name, a))
        else:
            name = BINARY[(which - len(UNARY)) % len(BINARY)]
            pool.append(call(name, a, b * b + 1.0 if name == "div" else b))
    return sum(pool[1:], pool[0]) * 0.1


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 16), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=12),
    st.lists(st.floats(-1.5, 1.5).map(lambda x: x + 0.01), min_size=3, max_size=3, unique=True),
)
def test_random_programs_agree_with_central_differences(script: list[tuple[int, int, int]], points: list[float]) -> None:
    nodes = inputs(*points)
    out = grown(script, nodes)
    slopes = values(gradients(out, nodes))
    arrays = [np.asarray(p) for p in points]
    coarse, fine = (differences(lambda *xs: grown(script, xs), arrays, np.ones(()), step) for step in (1e-4, 1e-6))
    for got, rough, want in zip(slopes, coarse, fine, strict=True):
        if abs(rough - want) < 1e-4 * (1 + abs(want)):  # else the point is at a kink, or too curved for differences
            np.testing.assert_allclose(got, want, 1e-4, 1e-5)
    forward = values(tangents([out], nodes, [ones(node) for node in nodes]))[0]
    np.testing.assert_allclose(forward, sum(slopes), 1e-9, 1e-12)


# -------------------------------------------------------------------------------------------- cost


def descent(steps: int) -> Node:
    (theta,) = inputs(0.3)
    for _ in range(steps):
        error = call("sin", theta) - 0.5
        theta = theta - 0.1 * gradients(error * error, [theta])[0]
    return theta


def test_gradient_steps_cost_the_same_however_many_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [len(reachable([descent(n)])) for n in (10, 20, 40)]
    assert sizes[2] - sizes[1] == 2 * (sizes[1] - sizes[0])
    looked_at: list[int] = []

    def counted(outputs: list[Node], sources: list[Node]) -> list[Node]:
        found = dependents(outputs, sources)
        looked_at.append(len(found))
        return found

    monkeypatch.setattr("hotloop.passes.gradient.dependents", counted)
    descent(20)
    few = sum(looked_at)
    looked_at.clear()
    descent(160)
    assert sum(looked_at) == 8 * few > 0


def test_deep_programs_need_no_recursion() -> None:
    (x,) = inputs(0.5)
    y = x
    for _ in range(30_000):
        y = call("sin", y)
    (g,) = gradients(y, [x])
    (t,) = tangents([y], [x], [ones(x)])
    assert np.isfinite(values([g, t])).all()
    (moved,) = substitute([y], {x.id: inputs(0.25)[0]})
    assert moved is not y


def test_dependents_does_not_look_below_the_oldest_source() -> None:
    (x,) = inputs(0.5)
    y = x
    for _ in range(1000):
        y = call("cos", y)
    z = call("sin", y) * y
    assert len(dependents([z], [y])) == 3


def test_cotangents_add_up_over_outputs() -> None:
    x, y = inputs(2.0, 3.0)
    seeds = [constant(1.0, float64), constant(10.0, float64)]
    assert [float(g) for g in values(cotangents([x * y, x * x], seeds, [x, y]))] == [3.0 + 40.0, 2.0]
