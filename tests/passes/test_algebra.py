"""Algebra under fast=True: each identity, and random programs against exact rational arithmetic."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.dtypes import DType, float32, float64, int32, int64
from hotloop.errors import DivisionByZero
from hotloop.ir.graph import (
    CONST,
    INPUT,
    ITEM,
    LOOP,
    STATE,
    Body,
    Node,
    constant,
    exact_numbers,
    input_node,
    param_node,
    source_line,
    state_node,
    structure,
)
from hotloop.ir.loop import captures
from hotloop.ir.reference import run
from hotloop.ir.rewrite import walk
from hotloop.ops.algebra import call
from hotloop.ops.arith import add, div, fma, mul, neg, sub
from hotloop.ops.elementary import pow_
from hotloop.ops.shape import broadcast, broadcast_to, matmul, product, reduce, reshape, sum_
from hotloop.passes.algebra import cost, fast
from hotloop.passes.fuse import fuse
from hotloop.passes.kernel import KERNEL


def scalar(number: float = 1.5, dtype: DType = float64) -> Node:
    return input_node(np.asarray(number), dtype)


def array(*shape: int, seed: int = 0, dtype: DType = float64) -> Node:
    rng = np.random.default_rng(seed)
    return input_node(rng.integers(-8, 9, shape) / 4 if dtype.is_float else rng.integers(-100, 100, shape), dtype)


def rows(outputs: Sequence[Node]) -> list[str]:
    """The operations of a program, sorted."""
    return sorted(node.op.name for node in walk(outputs) if node.op not in (CONST, INPUT, STATE))


# ---------------------------------------------------------------------------------- single identities

x, y, z, a, b = (scalar(number) for number in (1.5, 2.5, -0.75, 3.25, 0.5))

IDENTITIES = {
    "constants of a sum meet": ((x + 1.0) + 2.0, x + 3.0),
    "constants on both sides meet": (1.0 - (x - 2.0), 3.0 - x),
    "constants of a product meet": (x * 2.0 * y * 3.0, x * y * 6.0),
    "constant divisors multiply": (x / 4.0 * 2.0 / 0.5, x),
    "a difference of equals is zero": (x - x, constant(0.0, float64, structural=True)),
    "zero absorbs": (x * constant(0.0, float64, structural=False) + y, y),
    "zero vanishes": (x + constant(0.0, float64, structural=False), x),
    "double": (x + x, x * 2.0),
    "like terms meet": (3.0 * x - x, x * 2.0),
    "like products meet": (x * y + y * x * 2.0, x * y * 3.0),
    "terms cancel": (x + y + z - y - x, z),
    "terms cancel across constants": (2.0 * (x + y) + 3.0 * (x - y) - 5.0 * x, -y),
    "common factor": (a * x + a * y, a * (x + y)),
    "common divisor": (x / a + y / a, (x + y) / a),
    "common constant": (3.0 * x + 3.0 * y, (x + y) * 3.0),
    "polynomial": (a * x * x * x + b * x * x + y * x + z, x * (x * (x * a + b) + y) + z),
    "power by squaring": (x * x * x * x, (x * x) * (x * x)),
    "factors cancel": (x * y / x, y),
    "quotients of quotients": (x / y / z, x / (y * z)),
    "division by a quotient": (x / (y / z), x * z / y),
    "signs meet": (-(x - y) * -(z + a), (x - y) * (z + a)),
    "signs of a sum": (-x - y, -(x + y)),
    "subtracted negation": (x - (-y), x + y),
    "square of a root": (call("sqrt", x) * call("sqrt", x), x),
    "quotient by a root": (x / call("sqrt", x), call("sqrt", x)),
    "small powers": (call("pow", x, 5.0), (x * x) * (x * x) * x),
    "negative powers": (call("pow", x, -2.0), 1.0 / (x * x)),
    "half powers": (call("pow", x, 0.5), call("sqrt", x)),
    "powers in products": (call("pow", x, 3.0) / x, x * x),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identity(name: str) -> None:
    before, after = IDENTITIES[name]
    (got,) = fast([before])
    assert rows([got]) == rows([after])
    assert cost([got]) <= cost([after])
    np.testing.assert_allclose(run([got], {})[0], run([before], {})[0], rtol=1e-14)
    np.testing.assert_allclose(run([got], {})[0], run([after], {})[0], rtol=1e-14)


@pytest.mark.parametrize(
    "unchanged",
    [
        x + y, x * y - z, x / y, call("sin", x + y), 1.0 / call("sqrt", x), call("pow", x, y), call("pow", x, 2.75), a * (x + y),
        scalar(1.5, float32) * 0.1 + scalar(2.5, float32),
    ],
    ids=repr,
)
def test_what_is_already_simple_stays_the_same_node(unchanged: Node) -> None:
    assert fast([unchanged]) == [unchanged]


def test_divisions_by_one_divisor_share_its_reciprocal() -> None:
    got = fast([x / a, y / a, z / a])
    assert rows(got) == ["div", "mul", "mul", "mul"]


def test_division_of_a_vector_by_a_scalar_is_a_product() -> None:
    got = fast([array(50) / a])
    assert rows(got) == ["div", "mul"]
    assert cost(got) == 55


def test_a_shared_sum_stays_shared() -> None:
    shared = x + y + z
    got = fast([shared * a, shared * b, shared - x])
    assert cost(got) == 5


def test_a_common_factor_is_not_taken_out_of_shared_products() -> None:
    assert cost(fast([a * x + b * x, a * x])) <= cost([a * x + b * x, a * x])


def test_long_sums_become_short_chains() -> None:
    terms = [scalar(k) for k in range(64)]
    (got,) = fast([sum(terms[1:], terms[0])])
    assert depth(got) == 6
    assert cost([got]) == 63


def test_what_is_late_is_added_last() -> None:
    late = call("sin", call("sin", call("sin", x)))
    (got,) = fast([late + y + z + a])
    assert depth(got) == depth(late) + 1


def depth(root: Node) -> int:
    found: dict[int, int] = {}
    for node in walk([root]):
        found[node.id] = 1 + max((found[arg.id] for arg in node.args), default=-1)
    return found[root.id]


def test_coefficients_that_the_type_cannot_hold_are_not_gathered() -> None:
    small = scalar(1e-30, float32)
    before = small * 1e30 * 1e30
    (got,) = fast([before])
    assert run([got], {})[0] == run([before], {})[0] == np.float32(1e30)


def test_quotient_by_a_subnormal_stays() -> None:
    before = x / 1e-310
    assert fast([before]) == [before]


def test_division_by_what_vanishes_does_not_raise() -> None:
    (got,) = fast([1.0 / (x - x)])
    with np.errstate(all="ignore"):
        assert not np.isfinite(run([got], {})[0])


def test_new_nodes_keep_the_line_of_the_user() -> None:
    total = x + 1.0
    total = total + 2.0
    (got,) = fast([total])
    assert source_line(got) == source_line(total)


def test_fast_of_fast_is_no_dearer() -> None:
    once = fast([before for before, _ in IDENTITIES.values()])
    assert cost(fast(once)) <= cost(once)


# ----------------------------------------------------------------------------------------------- fma


def test_sums_of_products_become_fma() -> None:
    (got,) = fast([a * x + b * y + z], fma=True)
    assert rows([got]) == ["fma", "fma"]


def test_constant_factors_go_into_fma() -> None:
    (got,) = fast([3.0 * x + y - 2.0 * z], fma=True)
    assert rows([got]) == ["fma", "fma"]


def test_long_dot_products_become_several_chains_of_fma() -> None:
    pairs = [(scalar(k), scalar(-k)) for k in range(1, 33)]
    (got,) = fast([sum((p * q for p, q in pairs[1:]), pairs[0][0] * pairs[0][1])], fma=True)
    assert rows([got]).count("fma") == 28
    assert cost([got]) == 35
    assert depth(got) <= 11


def test_short_sums_of_products_are_one_chain_of_fma() -> None:
    pairs = [(scalar(k), scalar(-k)) for k in range(1, 9)]
    (got,) = fast([sum((p * q for p, q in pairs[1:]), pairs[0][0] * pairs[0][1])], fma=True)
    assert rows([got]) == ["fma"] * 7 + ["mul"]


def test_fma_takes_late_products_last() -> None:
    late = call("sin", x)
    (got,) = fast([late * a + b * y + z], fma=True)
    assert rows([got]) == ["fma", "fma", "sin"]
    assert depth(got) == depth(late) + 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (x - (x * 0.25 + y * 0.5), ["fma", "mul"]),
        (x * y + y * x, ["mul", "mul"]),
        (x - (0.5 * (x * 3.0 + y) + 1.0), ["fma", "fma"]),
        (a * (x * 2.0) - b * (y * 4.0), ["fma", "mul", "mul", "mul"]),
        (2.0 * x - (x + x) + 0.5, []),
        (2.0 * (x * y + a), ["fma", "mul"]),
    ],
)
def test_like_terms_and_constants_meet_before_fma(before: Node, after: list[str]) -> None:
    (got,) = fast([before], fma=True)
    assert rows([got]) == after
    np.testing.assert_allclose(run([got], {})[0], run([before], {})[0], rtol=1e-14, atol=1e-14)


def test_kernels_use_what_became_of_their_scalars() -> None:
    v, w = array(64, seed=1), array(64, seed=2)
    (got,) = fast(fuse([product(v * ((x + 1.0) + 2.0), w)]))
    (kernel,) = [node for node in walk([got]) if node.op is KERNEL]
    assert (x + 3.0) in kernel.args
    assert (x + 1.0) not in walk([got])


def test_no_fma_without_the_flag() -> None:
    assert "fma" not in rows(fast([a * x + b * y + z]))


# -------------------------------------------------------------------------------------------- arrays


def test_sum_of_dot_products_becomes_one() -> None:
    n = 600
    v1, v2 = array(n, seed=1), array(n, seed=2)
    total = product(v1 + 0, v2)
    for i in range(1, 10):
        total = total + product(v1 + i, v2)
    (got,) = fast([total])
    assert rows([got]) == ["add", "matmul", "mul", "mul", "sum"]
    assert cost([got]) == 3 * n + 3
    np.testing.assert_allclose(run([got], {})[0], run([total], {})[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda v, w, m: reduce(sum_, v * x, (0,)), lambda v, w, m: reduce(sum_, v, (0,)) * x),
        (lambda v, w, m: product(v * x, w * y), lambda v, w, m: product(v, w) * (x * y)),
        (lambda v, w, m: product(v + x, w) - product(v, w), lambda v, w, m: reduce(sum_, w, (0,)) * x),
        (lambda v, w, m: reduce(sum_, v + w, (0,)) - reduce(sum_, w, (0,)), lambda v, w, m: reduce(sum_, v, (0,))),
        (lambda v, w, m: reduce(sum_, broadcast_to(x, (30,)) + v, (0,)), lambda v, w, m: reduce(sum_, v, (0,)) + x * 30.0),
        (lambda v, w, m: v * x * y * 2.0, lambda v, w, m: v * (x * y * 2.0)),
        (lambda v, w, m: v + x + w + y, lambda v, w, m: v + w + (x + y)),
        (lambda v, w, m: product(m, v * x) + product(m, v) * y, lambda v, w, m: product(m, v) * (x + y)),
        (lambda v, w, m: product(m, v + x) - product(m, v), lambda v, w, m: reduce(sum_, m, (1,)) * x),
        (lambda v, w, m: reduce(sum_, m * x, (0,)), lambda v, w, m: reduce(sum_, m, (0,)) * x),
        (lambda v, w, m: v - v + x, lambda v, w, m: broadcast_to(x, (30,))),
        (lambda v, w, m: v * w / w, lambda v, w, m: v),
    ],
)
def test_reductions_are_linear(before: Any, after: Any) -> None:
    v, w, m = array(30, seed=3), array(30, seed=4) + 9.0, array(20, 30, seed=5)
    old, new = before(v, w, m), after(v, w, m)
    (got,) = fast([old])
    assert rows([got]) == rows([new])
    assert cost([got]) <= cost([new])
    assert got.shape == old.shape
    np.testing.assert_allclose(run([got], {})[0], run([old], {})[0], rtol=1e-12, atol=1e-12)


def test_one_dot_product_of_a_sum_stays() -> None:
    before = product(array(30, seed=1) + x, array(30, seed=2))
    assert fast([before]) == [before]


# ---------------------------------------------------------------------------------- loops and states


def loop(trips: int, carried: Node, build: Any) -> Node:
    """One carried variable: build(param) is its next value."""
    param = param_node(carried.dtype, carried.shape)
    body = Body((param,), (build(param),), trips, None, None)
    node = structure(LOOP, (carried, *captures(body)), body, carried.dtype, carried.shape)
    return structure(ITEM, (node,), 0, carried.dtype, carried.shape)


def test_bodies_of_loops_are_rewritten() -> None:
    before = loop(5, x, lambda p: (p * y + 1.0 + 2.0) - p + p)
    (got,) = fast([before])
    assert rows([got]) == ["add", "item", "loop", "mul", "param"]
    assert run([got], {})[0] == run([before], {})[0]


def test_sums_of_what_a_loop_does_not_change_leave_it() -> None:
    before = loop(100, x, lambda p: p * 0.5 + y + z + a)
    (got,) = fast([before])
    body = got.args[0].attr
    assert rows(body.results) == ["add", "add", "add", "mul", "param"]
    assert cost([got]) == 202
    np.testing.assert_allclose(run([got], {})[0], run([before], {})[0], rtol=1e-14)


def test_a_division_in_a_loop_by_what_it_does_not_change_is_a_product() -> None:
    before = loop(100, x, lambda p: p / y)
    (got,) = fast([before])
    assert cost([got]) == 105


def test_nested_loops_keep_their_meaning() -> None:
    before = loop(3, x, lambda p: loop(4, p, lambda q: (q * 0.5 + p * y + y) + y / z - p) + (y + 1.0) + 2.0)
    (got,) = fast([before])
    assert cost([got]) < cost([before])
    np.testing.assert_allclose(run([got], {})[0], run([before], {})[0], rtol=1e-13)


def test_states_are_leaves() -> None:
    state = state_node(np.asarray(2.0), float64)
    state.attr.next = state + 1.0 + 1.0
    following = state.attr.next
    got = fast([state * y + y * state, following])
    assert state.attr.next is following
    assert rows(got) == ["add", "mul", "mul"]


# ------------------------------------------------------------------------------- whole programs, exact


def exact(outputs: Sequence[Node]) -> list[Any]:
    """Evaluate field operations in rational numbers (integers modulo their size)."""
    found: dict[int, Any] = {}
    for node in walk(outputs):
        args = [found[arg.id] for arg in node.args]
        found[node.id] = _wrapped(_exact_node(node, args), node.dtype)
        if any(number.numerator.bit_length() + number.denominator.bit_length() > 5000 for number in found[node.id].flat):
            raise OverflowError("powers of powers grow without end")
    return [found[node.id] for node in outputs]


def _exact_node(node: Node, args: list[Any]) -> Any:
    if node.op in (CONST, INPUT):
        value = np.asarray(node.attr.value if node.op is CONST else node.attr.init)
        return np.vectorize(lambda item: Fraction(item), otypes=[object])(value)
    binary = {add: lambda p, q: p + q, sub: lambda p, q: p - q, mul: lambda p, q: p * q, div: lambda p, q: p / q}
    if node.op in binary:
        return binary[node.op](*args)
    if node.op is matmul:
        return args[0] @ args[1]
    if node.op is sum_:
        return args[0].sum(axis=node.attr["axes"])
    if node.op in (broadcast, reshape):
        change = np.broadcast_to if node.op is broadcast else np.reshape
        return change(args[0], node.shape)
    return {neg: lambda p: -p, fma: lambda p, q, r: p * q + r, pow_: lambda p, q: p ** int(q)}[node.op](*args)


def _wrapped(value: Any, dtype: DType) -> Any:
    if dtype.is_float:
        return np.asarray(value, object)
    low, high = dtype.limits
    return np.asarray((np.asarray(value, object) - low) % (2 * (high + 1)) + low, object)


CONSTANTS = (0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -3.0, 4.0, -0.25, 8.0)
FIELD = ("add", "add", "sub", "sub", "mul", "mul", "neg", "div", "scale", "shift", "quotient", "power")


def random_program(seed: int, size: int, dtype: DType = float64, arrays: bool = False) -> list[Node]:
    """Return outputs of a random program over the field operations."""
    rng = random.Random(seed)
    values = [1.5, -2.0, 0.75, 3.0, -0.125, 7.0] if dtype.is_float else [3, -7, 2**30, 12345, -(2**31), 1]
    pool = [scalar(value, dtype) for value in values]
    vectors = [array(4, seed=seed + k, dtype=dtype) for k in range(3)] if arrays else []
    for _ in range(size):
        try:
            fresh = _random_node(rng, pool, vectors, dtype)
        except DivisionByZero:
            continue
        (vectors if fresh.shape else pool).append(fresh)
    count = min(len(pool), rng.randint(1, 4))
    return rng.sample(pool[-max(count, size // 3) :], count) + vectors[-1:]


def _random_node(rng: random.Random, pool: list[Node], vectors: list[Node], dtype: DType) -> Node:
    recent = rng.random() < 0.6
    pick = lambda nodes: rng.choice(nodes[-6:] if recent else nodes)  # noqa: E731
    if vectors and rng.random() < 0.5:
        v, w = pick(vectors), pick(vectors)
        made = rng.choice([
            lambda: v + pick(pool), lambda: v * pick(pool), lambda: v - w, lambda: v * w, lambda: product(v, w), lambda: product(v, w),
            lambda: reduce(sum_, v, (0,)), lambda: broadcast_to(pick(pool), (4,)) + v, lambda: v * 2, lambda: v + 1, lambda: -v,
        ])
        return made()  # type: ignore[no-untyped-call, no-any-return]
    kind = rng.choice(FIELD if dtype.is_float else (*FIELD[:7], "scale", "shift"))
    p, q = pick(pool), pick(pool)
    number = rng.choice(CONSTANTS) if dtype.is_float else rng.choice([0, 1, -1, 2, 3, -5, 2**31 - 1])
    if kind == "scale":
        return p * number
    if kind == "shift":
        return rng.choice([p + number, number - p])
    if kind == "quotient":
        return p / rng.choice([0.5, -2.0, 4.0])
    if kind == "power":
        return call("pow", p, rng.choice([2.0, 3.0]))
    return call(kind, p) if kind == "neg" else call(kind, p, q)


def agree(outputs: list[Node], contract: bool) -> None:
    got = fast(outputs, fma=contract)
    assert cost(got) <= cost(outputs)
    assert [(g.shape, g.dtype) for g in got] == [(o.shape, o.dtype) for o in outputs]
    try:
        got_exactly, want = exact(got), exact(outputs)
        scales = magnitudes(outputs)
    except (ZeroDivisionError, OverflowError):
        return
    inverts = any(node.op is div or (node.op is pow_ and node.args[1].attr.value < 0) for node in walk(outputs))
    for p, q, scale in zip(got_exactly, want, scales, strict=True):
        if not inverts:
            assert np.array_equal(p, q)
        elif np.all(np.isfinite(scale)):  # the reciprocals of coefficients are rounded
            assert np.all(np.abs(np.asarray(p - q, object).astype(float)) <= 1e-9 * scale)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.booleans())
def test_random_programs_are_equal_in_rational_numbers(seed: int, size: int, contract: bool) -> None:
    agree(random_program(seed, size), contract)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.booleans())
def test_random_array_programs_are_equal_in_rational_numbers(seed: int, size: int, contract: bool) -> None:
    agree(random_program(seed, size, arrays=True), contract)


@settings(max_examples=75, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([int32, int64]), st.booleans())
def test_random_integer_programs_keep_every_bit(seed: int, size: int, dtype: DType, arrays: bool) -> None:
    with exact_numbers():
        outputs = random_program(seed, size, dtype, arrays)
        agree(outputs, False)
        for got, want in zip(run(fast(outputs), {}), run(outputs, {}), strict=True):
            assert np.array_equal(got, want)


@settings(max_examples=75, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.sampled_from([float32, float64]))
def test_random_float_programs_agree_within_their_condition(seed: int, size: int, dtype: DType) -> None:
    outputs = random_program(seed, size, dtype, arrays=True)
    with np.errstate(all="ignore"):
        want, got, scale = run(outputs, {}), run(fast(outputs), {}), magnitudes(outputs)
    for p, q, s in zip(got, want, scale, strict=True):
        inside = np.isfinite(p) & np.isfinite(q) & np.isfinite(s) & (s < 1e25)
        assert np.all(np.abs(np.where(inside, p, 0) - np.where(inside, q, 0))[inside] <= (1e-9 if dtype is float64 else 1e-3) * s[inside])


def magnitudes(outputs: Sequence[Node]) -> list[Any]:
    """What each output would be if nothing cancelled: errors are relative to that."""
    values: dict[int, Any] = {}
    found: dict[int, Any] = {}
    nodes = walk(outputs)
    with np.errstate(all="ignore"):
        return _magnitudes(nodes, values, found, outputs)


def _magnitudes(nodes: list[Node], values: dict[int, Any], found: dict[int, Any], outputs: Sequence[Node]) -> list[Any]:
    for node, value in zip(nodes, run(nodes, {}), strict=True):
        values[node.id] = np.abs(np.asarray(value, np.float64)) + 1e-30
        args = [found[arg.id] for arg in node.args]
        if node.op is sub:
            found[node.id] = args[0] + args[1]
        elif node.op is div:
            found[node.id] = args[0] * args[1] / values[node.args[1].id] ** 2
        elif node.op is neg or not args:
            found[node.id] = args[0] if args else values[node.id]
        else:
            full = node.op.numpy(*args, **(node.attr or {}))
            found[node.id] = np.maximum(full, values[node.id])
    return [found[node.id] for node in outputs]


# ---------------------------------------------------------------------------------------- linear time


def calls(build: Any, size: int) -> int:
    """How many Python functions the pass calls for a program of this size."""
    outputs, count = build(size), 0

    def counted(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(counted)
    try:
        fast(outputs)
    finally:
        sys.setprofile(None)
    return count


INPUTS = [scalar(k) for k in range(50)]


def _chain(step: Any) -> Any:
    def build(size: int) -> list[Node]:
        total = INPUTS[0]
        for k in range(size):
            total = step(total, INPUTS[k % 50], k)
        return [total]

    return build


@pytest.mark.parametrize(
    "step",
    [
        lambda total, item, k: total + item,
        lambda total, item, k: item - total,
        lambda total, item, k: total + item * INPUTS[k * 7 % 50] * (1 + k % 3),
        lambda total, item, k: total * 1.5 + item,
        lambda total, item, k: total * INPUTS[3] + item,
        lambda total, item, k: total * item,
        lambda total, item, k: item / total,
        lambda total, item, k: -(total + 1.0),
        lambda total, item, k: call("pow", total, 2.0) + item,
        lambda total, item, k: (total + item) * (total - item),
        lambda total, item, k: call("sqrt", total * item),
    ],
)
def test_time_is_linear_on_chains(step: Any) -> None:
    small, large = calls(_chain(step), 1000), calls(_chain(step), 8000)
    assert large < 8 * 1.3 * small


def test_deep_programs_do_not_recurse() -> None:
    (got,) = fast(_chain(lambda total, item, k: total + item * 0.5)(100_000))
    assert cost([got]) < 200


