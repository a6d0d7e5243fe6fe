"""What an array is made of: the nodes that uses of its elements may refer to instead."""

from __future__ import annotations

import numpy as np

from hotloop.dtypes import float64
from hotloop.ir.graph import constant, input_node
from hotloop.ir.reference import run
from hotloop.ops import shape as sh
from hotloop.ops.movement import chain, collected, distributed, origins


def array(*numbers: float):
    return input_node(np.array(numbers), float64)


def scalar(number: float):
    return input_node(np.asarray(number), float64)


def test_views_lead_to_what_they_view():
    w = array(1.0, 2.0, 3.0, 4.0)
    square = sh.reshape_to(w, (2, 2))
    row = sh.take_by(w * 2.0, sh.Index(np.array([3, 1])))
    assert chain(square) == [square, w]
    assert origins(row) == [row, w * 2.0]
    twice = sh.take_by(w, sh.Index(np.array([1, 1])))
    assert origins(twice) == [twice]


def test_packed_arrays_lead_to_their_traced_elements():
    a, b = scalar(1.0), scalar(2.0)
    packed = sh.pack_of([a, b, constant(3.0, float64)], (3,))
    assert origins(packed) == [packed, a, b]
    column = sh.reshape_to(packed, (3, 1))
    assert origins(column) == [column, packed, a, b]


def test_cotangents_of_origins_add_up_to_that_of_the_array():
    a, b = scalar(1.0), scalar(2.0)
    packed = sh.pack_of([a, b], (2,))
    column = sh.reshape_to(packed, (2, 1))
    parts = {column.id: constant(np.array([[1.0], [2.0]])), packed.id: constant(np.array([10.0, 20.0])), b.id: constant(100.0, float64)}
    total = collected(column, parts)
    assert total is not None
    assert run([total], {})[0].tolist() == [[11.0], [122.0]]
    assert collected(column, {}) is None


def test_a_tangent_is_distributed_to_the_origins():
    w = array(1.0, 2.0, 3.0)
    view = sh.take_by(w, sh.Index(np.array([2, 0])))
    found = {node.id: run([tangent], {})[0].tolist() for node, tangent in distributed(view, constant(np.array([5.0, 7.0])))}
    assert found == {view.id: [5.0, 7.0], w.id: [7.0, 0.0, 5.0]}
    a, b = scalar(1.0), scalar(2.0)
    packed = sh.pack_of([a, b], (2,))
    found = {node.id: run([tangent], {})[0].tolist() for node, tangent in distributed(packed, constant(np.array([5.0, 7.0])))}
    assert found == {packed.id: [5.0, 7.0], a.id: 5.0, b.id: 7.0}
