"""Widening: the same program in float64."""

import numpy as np

import hotloop as hl
from hotloop.ir.graph import STATE, reachable
from hotloop.ir.reference import run
from hotloop.passes.widen import widen


def widened(*values):
    nodes = [value.node for value in values]
    fresh = widen(nodes)
    return [fresh[node] for node in nodes]


def test_no_float32_is_left_and_other_types_stay():
    x, v, i = hl.value(0.1), hl.vector.input([0.1, 0.2]), hl.value(3)
    nodes = widened(hl.sqrt(x) * 0.3 + v.sum(), i / 7, i // 2, x > 0.05, hl.float32(i), hl.quaternion(x, 0.0, 0.0, 1.0).norm())
    assert [node.dtype for node in nodes] == [hl.float64, hl.float64, hl.int32, hl.bool_, hl.float64, hl.float64]
    assert all(node.dtype is not hl.float32 for node in reachable(nodes))
    assert run(nodes, {})[1] == 3 / 7


def test_what_has_no_float32_stays_the_same_node():
    i = hl.value(3)
    assert widened(i * 2 + 1) == [(i * 2 + 1).node]


def test_loops_carry_float64():
    def body(k, total, count):
        return total * 1.1 + k, count + 1

    total, count = hl.loop(5, body, 0.1, 0, index=True)
    expected = 0.1
    for k in range(5):
        expected = expected * 1.1 + k
    assert run(widened(total, count), {}) == [expected, 5]
    half = hl.while_loop(lambda x: x > 0.01, lambda x: x / 3.0, hl.value(0.7))
    expected = 0.7
    while expected > 0.01:
        expected /= 3.0
    assert run(widened(half), {}) == [expected]


def test_states_get_cells_of_their_own():
    s, n = hl.state(0.1), hl.state(0)
    s.next = s * 3.0 + n
    n.next = n + 1
    (last,) = widened(s * 1.0)
    cells = [node for node in reachable([last]) if node.op is STATE]
    assert {node.dtype for node in cells} == {hl.float64, hl.int32}
    assert not {s.node, n.node} & set(reachable([last]))
    memory = {}
    found = [run([last], memory)[0] for _ in range(3)]
    np.testing.assert_array_equal(found, [0.1, 0.1 * 3.0, (0.1 * 3.0) * 3.0 + 1.0])


def test_a_difference_that_becomes_zero_is_no_error():
    x = hl.value(1.0)
    (node,) = widened(x / (hl.vector([1.0, 2.0]) - hl.vector([1.0, 1.0])).sum())
    assert run([node], {})[0] == 1.0


def test_deep_programs_do_not_recurse():
    x = y = hl.value(0.1)
    for _ in range(20_000):
        y = y + x
    assert widened(y)[0].dtype is hl.float64
