"""Layouts of data: scalars first, the longest arrays last, and room for what registers cannot hold."""

from itertools import pairwise

import numpy as np
from tests.one_lane import program_of
from tests.passes.test_random_arrays import array_input
from tests.program_execution import Machine

import hotloop as hl
from hotloop.dtypes import int32
from hotloop.passes.layout import with_spills


def ends_of(program):
    return {symbol.offset: symbol.offset + symbol.dtype.size * int(np.prod(symbol.shape)) for symbol in program.symbols}


def test_scalars_come_first_and_the_longest_arrays_last():
    long, short, one = array_input(1000), array_input(30), hl.value(2.0)
    out = long * one + short.sum()
    program = program_of([out.node, (one + 1).node], int32, near=True)
    places = [program.places[node.id].offset for node in (one.node, short.node, long.node)]
    assert places == sorted(places)
    assert places[0] < 64
    counters = [program.loops[at] for at in range(0, len(program.loops), 4)]
    assert max(counters) < 64
    assert len(program.data) < 64 + 128 + 4 * 2000 + 64


def test_nothing_overlaps():
    x, y = array_input(40), array_input(7)
    outputs = [x + 1, y * 2, x.sum(), (x > 0).any()]
    spans = sorted(ends_of(program_of([out.node for out in outputs], int32, near=True)).items())
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_arrays_that_lie_side_by_side_and_are_one_array_too_stay_together():
    parts = [hl.vector.input(np.arange(count, dtype=np.float32)) for count in (6, 8, 6, 8)]
    x = hl.concat(parts)
    out = hl.exp(x) * x
    program = program_of([out.node], int32, near=True)
    offsets = [program.places[part.node.id].offset for part in parts]
    assert offsets == [offsets[0] + at for at in (0, 24, 56, 80)]
    machine = Machine(program, "int32")
    machine.run()
    want = np.concatenate([machine.view(program.places[part.node.id]) for part in parts])
    np.testing.assert_allclose(machine.view(program.places[out.node.id]), np.exp(want) * want, rtol=1e-6)


def test_room_for_spilled_values_is_at_the_start():
    x = array_input(40)
    out = x * 3
    program = program_of([out.node], int32, near=True)
    moved = with_spills(with_spills(program, 12), 8)
    assert moved.spill == 24
    assert len(moved.data) == len(program.data) + 24
    assert moved.places[out.node.id].offset == program.places[out.node.id].offset + 24
    moved.data[:24] = b"\xff" * 24
    machine = Machine(moved, "int32")
    machine.run()
    assert bytes(machine.memory[:24]) == b"\xff" * 24
    np.testing.assert_array_equal(machine.view(moved.places[out.node.id]), machine.view(moved.places[x.node.id]) * np.float32(3))
