"""Guards: joined conditions, built only when they are needed."""

from __future__ import annotations

import numpy as np

from hotloop._graph import table_count
from hotloop.dtypes import bool_
from hotloop.ir.graph import input_node
from hotloop.ir.reference import run
from hotloop.passes.guard import Guard


def condition(value):
    return input_node(np.asarray(value), bool_)


def test_guards_join_with_and_and_or():
    a, b, c = (Guard(condition(x)) for x in (True, False, True))
    assert run([a.both(b).either(c).build(), a.both(b).build(), a.either(b).build()], {}) == [True, False, True]
    assert a.both(a) is a
    assert a.either(a) is a


def test_nothing_is_made_before_it_is_built():
    guards = [Guard(condition(True)) for _ in range(100)]
    before = table_count()
    joined = guards[0]
    for guard in guards[1:]:
        joined = joined.either(guard)
    assert table_count() == before
    assert joined.build() is joined.build()
    assert table_count() == before + 99


def test_deep_guards_need_no_recursion():
    joined = Guard(condition(False))
    for _ in range(20_000):
        joined = joined.either(Guard(condition(False)))
    assert not run([joined.build()], {})[0]


def test_shapes_of_joined_guards():
    scalar, array, other = Guard(condition(True)), Guard(condition([True, False])), Guard(condition([True] * 3))
    assert scalar.joins(array)
    assert not array.joins(other)
    assert scalar.both(array).shape == (2,)
    assert run([scalar.both(array).build()], {})[0].tolist() == [True, False]
