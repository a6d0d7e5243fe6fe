"""Traced values around nodes, in the class that the user gave."""

from __future__ import annotations

import hotloop as hl
from hotloop.frontend.wrapping import rewrap, traced_node, wrap_array


def test_nodes_are_those_of_traced_values_only():
    x = hl.value(1.0)
    assert traced_node(x) is x.node
    assert traced_node(hl.zeros(3)) is not None
    for other in (1.0, "x", [x], None, x.node):
        assert traced_node(other) is None


def test_arrays_are_wrapped_by_their_axes():
    kinds = [type(wrap_array(x.node)) for x in (hl.value(1.0), hl.vector([1.0, 2.0]), hl.eye(2))]
    assert kinds == [hl.value, hl.vector, hl.tensor]


def test_the_class_of_the_user_is_kept_where_the_shape_is():
    q = hl.quaternion()
    assert type(rewrap(q, (q * 2.0).node)) is hl.quaternion
    assert type(rewrap(q, hl.zeros(3).node)) is hl.vector
    t = hl.tensor([1.0, 2.0])
    assert type(rewrap(t, (t * 2.0).node)) is hl.tensor
    assert type(rewrap(2.0, t.node)) is hl.vector
    assert type(rewrap(hl.state([1.0, 2.0]), t.node)) is hl.vector
    assert type(rewrap(hl.state(1.0), hl.value(2.0).node)) is hl.value
