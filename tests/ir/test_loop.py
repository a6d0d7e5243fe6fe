"""Building loops and rewriting them: captures, substitution, expansion, and values that leave their loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hotloop as hl
from hotloop.dtypes import float64, int32
from hotloop.ir.graph import LOOP, Body, Node, apply, convert, input_node, param_node, reachable, source_line
from hotloop.ir.loop import build_loop, captures, check_scopes, dependents, expand, rebind, rebuild, substitute, unroll_loop
from hotloop.ir.reference import run
from hotloop.ops.algebra import call


def scalar(number: float) -> Node:
    return input_node(np.asarray(number), float64)


def number(node: Node) -> float:
    return float(run([node], {})[0])


def accumulate(x: Node, outer: Node, trips: int | None = 5) -> list[Node]:
    """x, n = x * outer + i + sin(outer), n + 1"""
    p, n, i = param_node(float64, ()), param_node(int32, ()), param_node(int32, ())
    results = (p * outer + convert(i, float64) + call("sin", outer), n + 1)
    return build_loop([x, convert(x, int32)], Body((p, n), results, trips, i, None if trips else call("lt", n, 5)))


def test_captures_are_the_outer_nodes_that_the_body_uses_each_once() -> None:
    x, outer = scalar(2.0), scalar(0.5)
    (loop, *_) = accumulate(x, outer)[0].args
    count = len(loop.attr.params)
    assert loop.args[count:] == captures(loop.attr)
    assert {arg.id for arg in loop.args[count:] if not arg.is_const} == {outer.id, call("sin", outer).id}


def test_a_result_that_ignores_the_params_is_captured() -> None:
    x, outer = scalar(2.0), scalar(0.5)
    p = param_node(float64, ())
    body = Body((p,), (outer * 2.0,), 4, None, None)
    assert captures(body) == (outer * 2.0,)
    assert number(build_loop([x], body)[0]) == 1.0


def test_substitution_replaces_everything_that_depends() -> None:
    x, y, outer = scalar(2.0), scalar(3.0), scalar(0.5)
    program = accumulate(x, outer)[0] * x
    moved, same = substitute([program, outer], {x.id: y})
    assert number(moved) == number(accumulate(y, outer)[0] * y)
    assert same is outer
    (inside,) = substitute([program], {outer.id: y})
    assert number(inside) == number(accumulate(x, y)[0] * x)
    assert substitute([program], {}) == [program]


def test_substituted_nodes_keep_their_source_lines() -> None:
    x, y = scalar(2.0), scalar(3.0)
    old = call("sin", x)
    (new,) = substitute([old], {x.id: y})
    assert source_line(new) == source_line(old)


def test_rebuilt_loops_have_their_own_params() -> None:
    x, outer = scalar(2.0), scalar(0.5)
    loop = accumulate(x, outer)[0].args[0]
    again = rebuild(loop, loop.args)
    assert not {p.id for p in loop.attr.params} & {p.id for p in again.attr.params}
    np.testing.assert_array_equal(run([loop], {})[0], run([again], {})[0])
    body = rebind(loop.attr, range(2), {})
    assert (body.trips, len(body.params)) == (5, 2)


@pytest.mark.parametrize("trips", [2, 3, 7])
def test_expansion_is_the_loop(trips: int) -> None:
    x, outer = scalar(1.0), scalar(0.5)
    ends = accumulate(x, outer, trips)
    copied = unroll_loop(ends[0].args[0])
    assert not [node for node in reachable(copied) if node.op is LOOP]
    assert [number(node) for node in copied] == [number(node) for node in ends]
    assert expand([x, convert(x, int32)], ends[0].args[0].attr) == copied


def test_expansion_to_a_division_of_constants_does_not_raise() -> None:
    p, i = param_node(float64, ()), param_node(int32, ())
    (end,) = build_loop([scalar(1.0)], Body((p,), (p + 1.0 / convert(i, float64),), 2, i, None))
    assert number(unroll_loop(end.args[0])[0]) == np.inf


def test_dependents_lists_sources_and_what_uses_them_in_order() -> None:
    x, y = scalar(1.0), scalar(2.0)
    a = x * y
    b = call("sin", y)
    c = a + b
    assert dependents([c], [x]) == [x, a, c]
    assert dependents([c], [b]) == [b, c]
    assert dependents([c], []) == []
    assert dependents([b], [x]) == []


def test_values_of_a_body_cannot_leave_its_loop() -> None:
    x, kept = hl.value(2.0), []

    def body(a: Any) -> Any:
        kept.extend([a, a * x])
        return a * 0.5

    result = hl.loop(3, body, x)
    check_scopes([result.node])
    for leaked in (kept[0], kept[1], kept[1] + result):
        with pytest.raises(hl.TraceError, match=r"test_loop\.py:\d+: this value exists only inside the body of its loop\. Return it"):
            hl.Target("reference").compile([result, leaked])


def test_values_of_an_inner_body_cannot_leave_to_the_outer_one() -> None:
    x, kept = hl.value(2.0), []

    def inner(b: Any) -> Any:
        kept.append(b * x)
        return b + 1.0

    def outer(a: Any) -> Any:
        return hl.loop(2, inner, a) + kept[-1]

    with pytest.raises(hl.TraceError, match="exists only inside the body of its loop"):
        hl.Target("reference").compile(hl.loop(3, outer, x))


def test_apply_is_the_way_to_rebuild_rows() -> None:
    x, y = scalar(1.0), scalar(2.0)
    node = apply(call("atan2", x, y).op, x, y)
    assert rebuild(node, [x, y]) is node
