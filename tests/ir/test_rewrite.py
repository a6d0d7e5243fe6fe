"""Rebuilding graphs: visits, loops, states, uses and scopes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hotloop.dtypes import float64, int32
from hotloop.ir.graph import ITEM, LOOP, Body, Node, apply, constant, input_node, param_node, source_line, state_node, structure
from hotloop.ir.loop import captures
from hotloop.ir.op import REGISTRY
from hotloop.ir.reference import run
from hotloop.ir.rewrite import Scopes, count_uses, ends, rebuild, rewrite, variables, walk
from hotloop.ops.shape import reduce, sum_

ADD, SUB = REGISTRY["add"], REGISTRY["sub"]


def leaf(number: float = 1.5) -> Node:
    return input_node(np.asarray(number), float64)


def loop_of(init: Node, param: Node, result: Node, trips: int | None, index: Node | None = None, condition: Node | None = None) -> Node:
    body = Body((param,), (result,), trips, index, condition)
    loop = structure(LOOP, (init, *captures(body)), body, init.dtype, init.shape)
    return structure(ITEM, (loop,), 0, init.dtype, init.shape)


def subtract(node: Node, args: Sequence[Node]) -> Node:
    """Turn each addition into a subtraction."""
    return apply(SUB, *args) if node.op is ADD else rebuild(node, args)


def test_a_visit_that_changes_nothing_returns_the_same_nodes() -> None:
    x, y = leaf(), leaf()
    outputs = [x * y + 2.0, apply(REGISTRY["sqrt"], x), x]
    assert rewrite(outputs, rebuild) == outputs


def test_every_node_is_visited_once_operands_first() -> None:
    x, y = leaf(), leaf()
    shared = x * y
    seen: list[Node] = []

    def visit(node: Node, args: Sequence[Node]) -> Node:
        assert all(arg in seen or not arg.args for arg in args)
        seen.append(node)
        return node

    rewrite([shared + x, shared - y], visit)
    assert len(seen) == len(set(seen)) == 3


def test_operands_are_the_new_ones() -> None:
    x, y, z = leaf(5.0), leaf(2.0), leaf(1.0)
    (got,) = rewrite([(x + y) * (z + (x + y))], subtract)
    assert run([got], {})[0] == 3.0 * (1.0 - 3.0)


def test_array_rows_keep_their_parameters() -> None:
    v = input_node(np.arange(6.0).reshape(2, 3), float64)
    (got,) = rewrite([reduce(sum_, v + leaf(1.0), (0,))], subtract)
    np.testing.assert_array_equal(run([got], {})[0], [1.0, 3.0, 5.0])


def test_new_nodes_keep_their_line() -> None:
    x, y = leaf(), leaf()
    before = x + y
    assert source_line(rewrite([before], subtract)[0]) == source_line(before)


def test_loops_are_rewritten_inside() -> None:
    x, y = leaf(10.0), leaf(1.0)
    param, index = param_node(float64, ()), param_node(int32, ())
    before = loop_of(x, param, param + y * apply(REGISTRY["to_float64"], index), 5, index)
    (got,) = rewrite([before], subtract)
    assert run([before], {})[0] == 20.0
    assert run([got], {})[0] == 0.0
    assert captures(got.args[0].attr) == got.args[0].args[1:]


def test_while_loops_keep_their_condition() -> None:
    x = leaf(10.0)
    param = param_node(float64, ())
    before = loop_of(x, param, param + -3.0, None, None, param > 0.0)
    step = constant(-4.0, float64)

    def faster(node: Node, args: Sequence[Node]) -> Node:
        moving = next((arg for arg in args if not arg.is_const), None)  # constants may come first: operands go by age
        return apply(ADD, moving, step) if node.op is ADD else rebuild(node, args)

    (got,) = rewrite([before], faster)
    assert run([before], {})[0] == -2.0
    assert run([got], {})[0] == -2.0
    assert ends(got.args[0].attr)[1] is got.args[0].attr.condition


def test_an_untouched_loop_stays_the_same_node() -> None:
    param = param_node(float64, ())
    before = loop_of(leaf(), param, param * 2.0, 3)
    assert rewrite([before], subtract) == [before]


def test_states_are_leaves() -> None:
    state = state_node(np.asarray(1.0), float64)
    state.attr.next = state + 2.0
    assert set(walk([state * 3.0])) == {state, constant(3.0, float64), state * 3.0}
    assert state.attr.next not in walk([state * 3.0])
    got = rewrite([state * 3.0, state.attr.next], subtract)
    assert got[1].op is SUB
    assert state.attr.next.op is ADD


def test_deep_chains_do_not_recurse() -> None:
    x = total = leaf()
    for _ in range(100_000):
        total = total + x
    assert rewrite([total], rebuild) == [total]


def test_uses_count_operands_outputs_and_results_of_loops() -> None:
    x, y = leaf(), leaf()
    param = param_node(float64, ())
    result = param * y
    total = loop_of(x, param, result, 3) + x
    uses = count_uses(walk([total, total]), [total, total])
    assert uses[total.id] == 2
    assert uses[result.id] == 1
    assert uses[y.id] == 2  # in the body, and as what the loop captures
    assert uses[x.id] == 2


def test_scopes_tell_what_runs_in_which_loop() -> None:
    x, y = leaf(), leaf()
    outer, inner = param_node(float64, ()), param_node(float64, ())
    invariant, per_trip = y * 2.0, outer * y
    deep = inner + per_trip
    innermost = inner * y  # uses only the inner param, but runs in both loops
    nested = loop_of(outer, inner, deep + innermost, 4)
    total = loop_of(x, outer, nested + invariant, 5)
    scopes = Scopes(walk([total]))
    assert scopes.repeats(invariant) == scopes.repeats(total) == 1
    assert scopes.repeats(per_trip) == scopes.repeats(nested) == 5
    assert scopes.repeats(deep) == scopes.repeats(innermost) == 20
    assert variables(total.args[0].attr) == [outer]


def test_a_constant_division_by_zero_that_a_pass_makes_does_not_raise() -> None:
    x, y = leaf(), leaf()
    (got,) = rewrite([1.0 / (x - y)], lambda node, args: constant(0.0, float64) if node.op is SUB else rebuild(node, args))
    with np.errstate(all="ignore"):
        assert np.isinf(run([got], {})[0])


@pytest.mark.parametrize("op", ["to_float64", "neg", "sqrt"])
def test_a_failing_visit_leaves_no_origin_behind(op: str) -> None:
    x = leaf()
    before = apply(REGISTRY[op], x * 1.25) if op != "to_float64" else x * 1.25

    def fail(node: Node, args: Sequence[Node]) -> Node:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        rewrite([before], fail)
    after = x * 3.75
    assert source_line(after) != source_line(before)
