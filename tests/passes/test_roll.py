"""Copies of a body become a loop: the bits of what was unrolled, and the loops that one would have written."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from benchmarks.programs import ALL
from benchmarks.sides import _hotloop_space
from hypothesis import given, settings
from hypothesis import strategies as st

import hotloop as hl
from hotloop import compiler
from hotloop.compiler import Compiled, Options, compile_graph
from hotloop.dtypes import int32, int64
from hotloop.ir.graph import LOOP, Node
from hotloop.ir.rewrite import walk
from hotloop.passes import SCALARS
from hotloop.passes.roll import roll, segment
from hotloop.passes.unroll import LOOKUP

UNROLLED = tuple((name, run_pass) for name, run_pass in SCALARS if name != "roll")
ROLLED = (("roll", lambda roots, setting: roll(roots)), *UNROLLED)


def compiled(nodes: Sequence[Node]) -> tuple[Compiled, Compiled]:
    """Compile a program unrolled, and rolled."""
    with pytest.MonkeyPatch.context() as passes:
        passes.setattr(compiler, "SCALARS", UNROLLED)
        unrolled = compile_graph(nodes, Options())
        passes.setattr(compiler, "SCALARS", ROLLED)
        return unrolled, compile_graph(nodes, Options())


def assert_same_bits(both: tuple[Compiled, Compiled], nodes: Sequence[Node]) -> None:
    for _ in range(3):
        for program in both:
            program.run()
        for node in nodes:
            want, got = [np.array(program.view(program.symbol(node))) for program in both]  # type: ignore[arg-type]
            same = want.tobytes() == got.tobytes() or np.array_equal(want, got, equal_nan=True)
            assert same, (node, want, got)


def nodes_of(outputs: Sequence[Any]) -> list[Node]:
    return [output.node for output in outputs if hasattr(output, "node")]


def loops_of(nodes: Sequence[Node]) -> list[tuple[int, int]]:
    """Return (trips, carried) of each loop, inner ones first."""
    return [(node.attr.trips, len(node.attr.params)) for node in walk(nodes) if node.op is LOOP]


def inverse_kinematics() -> list[Any]:
    return program("inverse_kinematics")


def program(name: str) -> list[Any]:
    found = ALL[name]
    return list(found.step(_hotloop_space(looped=False), **found.groups([hl.value(float(x)) for x in found.flat])))


# -------------------------------------------------------------------------------- whole programs


@pytest.mark.parametrize("name", ["inverse_kinematics", "mpc", "network", "biquad", "attitude"])
def test_programs_of_the_benchmarks_keep_their_bits(name: str) -> None:
    nodes = nodes_of(program(name))
    assert_same_bits(compiled(nodes), nodes)


def test_inverse_kinematics_becomes_one_loop_of_a_48th() -> None:
    nodes = nodes_of(inverse_kinematics())
    before, after = len(walk(nodes)), len(walk(rolled := roll(nodes)))
    assert loops_of(rolled) == [(48, 2)]
    assert after < before / 20


def test_iterations_of_model_predictive_control_become_a_loop() -> None:
    assert (10, 10) in loops_of(roll(nodes_of(program("mpc"))))


def test_code_shrinks_like_the_graph() -> None:
    unrolled, rolled = compiled(nodes_of(inverse_kinematics()))
    assert len(rolled.image.code) < len(unrolled.image.code) / 4  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["attitude", "arm", "ekf"])
def test_programs_that_repeat_nothing_stay_as_they_are(name: str) -> None:
    nodes = nodes_of(program(name))
    assert all(new is old for new, old in zip(roll(nodes), nodes, strict=True))


# ------------------------------------------------------------------------------- kinds of operands


def runge_kutta() -> list[Any]:
    x, v, dt, k = hl.value(0.3), hl.value(0.1), hl.value(0.01), hl.value(2.0)

    def slope(x: Any, v: Any) -> tuple[Any, Any]:
        return v, -k * x - 0.1 * v * hl.abs(v)

    for _ in range(10):
        a = slope(x, v)
        b = slope(x + dt / 2 * a[0], v + dt / 2 * a[1])
        c = slope(x + dt / 2 * b[0], v + dt / 2 * b[1])
        d = slope(x + dt * c[0], v + dt * c[1])
        x, v = x + dt / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0]), v + dt / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1])
    return [x, v]


def constants_that_differ() -> list[Any]:
    x, y = hl.value(0.3), hl.value(0.7)
    for i in range(12):
        x, y = hl.sin(x * math.exp(-i)) + y * (0.5 + 0.1 * i * i), hl.cos(y) - x
    return [x, y]


def integers_that_count() -> list[Any]:
    x, y = hl.value(3, dtype="int32"), hl.value(0.5)
    for i in range(16):
        x, y = (x * 5 + (3 * i - 7)) ^ (x >> 3), hl.sin(y + hl.float32(x) * 1e-6) * hl.sqrt(y * y + 1.0)
    return [x, y]


def elements_in_sequence() -> list[Any]:
    x, taps = hl.value(0.3), hl.vector.input(np.arange(40.0, dtype=np.float32), name="taps")
    for i in range(12):
        x = hl.sin(x * taps[i]) + hl.tanh(taps[39 - 2 * i] - x) * taps[(i * i) % 40]
    return [x]


def cells_in_sequence() -> list[Any]:
    x, cells = hl.value(0.3), [hl.value(0.1 * i) for i in range(12)]
    for cell in cells:
        x = hl.sin(x * cell) + hl.sqrt(cell + 1.0) * x
    return [x]


def computed_operands() -> list[Any]:
    x, y = hl.value(0.3), hl.value(0.4)
    heights = [hl.exp(y), y * 3.0, y + 1.0, hl.sqrt(y), y - 0.5, hl.log(y + 2.0), y * y, 1.0 / y]
    for height in heights:
        x = hl.sin(x * height) + hl.cos(hl.tanh(x) - y) * hl.exp(-x * x)
    return [x]


def delays() -> list[Any]:
    history = [hl.value(0.1 * i) for i in range(4)]
    for _ in range(14):
        history.append(hl.sin(history[-1]) * 0.5 + hl.cos(history[-2]) * 0.3 - hl.tanh(history[-4] + history[0]))
    return history[-3:]


def results_of_every_copy() -> list[Any]:
    x, found = hl.value(0.3), []
    for _ in range(16):
        x = hl.sin(x) * 1.7 + hl.cos(x * x) * hl.exp(-x)
        found.append(x)
    return found


def masks() -> list[Any]:
    x, y, up = hl.value(0.3), hl.value(0.6, dtype="float64"), hl.value(True)
    for i in range(12):
        up = (hl.sin(x) > 0.1 * i) ^ up
        x, y = hl.where(up, x + 0.5, hl.cos(x)), hl.where(~up & (y < 4.0), y * 1.5, hl.exp(-y))
    return [x, y, up]


def ends_that_differ() -> list[Any]:
    x, y = hl.value(0.2), hl.value(0.0) * 0.0
    for i in range(20):
        y = y + hl.sin(x) * x if i else x
        x = hl.cos(x) * y
    return [hl.sqrt(x) + y]


def loops_in_loops() -> list[Any]:
    x, y = hl.value(0.2), hl.value(0.3)
    for _ in range(12):
        for _ in range(10):
            x = hl.sin(x) * hl.cos(x + y) + hl.exp(-x * x) * 0.1
        y = hl.cos(y * x)
    return [x, y]


def body_of_a_loop() -> list[Any]:
    def body(x: Any, y: Any) -> tuple[Any, Any]:
        for _ in range(12):
            x, y = x + hl.sin(y) * 0.1, hl.cos(y * x) - 0.1
        return x, y

    return list(hl.loop(5, body, hl.value(0.1), hl.value(0.2)))


def forward_and_back() -> list[Any]:
    x, v, cost = hl.value(0.3), hl.value(0.1), hl.value(0.0)
    forces = [hl.value(0.1 * math.sin(i)) for i in range(60)]
    for force in forces:
        x, v = x + 0.01 * v, v + 0.01 * (force - hl.sin(x) - 0.1 * hl.tanh(v) * hl.exp(-v))
        cost = cost + x * x + 0.1 * force * force
    return list(hl.grad(cost, forces))


CASES: dict[str, tuple[Callable[[], list[Any]], list[tuple[int, int]]]] = {
    "what does not change is computed once": (runge_kutta, [(10, 2)]),
    "constants that differ": (constants_that_differ, [(11, 2)]),
    "integers that count": (integers_that_count, [(16, 2)]),
    "elements in sequence": (elements_in_sequence, [(12, 1)]),
    "cells in sequence": (cells_in_sequence, [(12, 1)]),
    "computed operands": (computed_operands, [(8, 1)]),
    "delays": (delays, [(14, 4)]),
    "results of every copy": (results_of_every_copy, [(16, 2)]),
    "masks": (masks, [(12, 3)]),
    "ends that differ": (ends_that_differ, [(19, 2)]),
    "loops in loops": (loops_in_loops, [(10, 1), (12, 2)]),
    "the body of a loop": (body_of_a_loop, [(12, 2), (5, 2)]),
    "forward and back": (forward_and_back, [(59, 7), (57, 3)]),
}


@pytest.mark.parametrize("name", CASES)
def test_loops_are_those_that_one_would_write(name: str) -> None:
    make, want = CASES[name]
    nodes = nodes_of(make())
    assert_same_bits(compiled(nodes), nodes)
    found = loops_of(roll(nodes))
    assert found == want


def test_next_states_of_a_cascade_are_stored_by_the_loop() -> None:
    """The loop puts them into an array in memory; states are written at the end of a run, from there."""
    x, states = hl.value(0.3), [hl.state(0.01 * i) for i in range(64)]
    for state in states:
        y = hl.tanh(0.3 * x + state) * hl.sin(x - state)
        state.next = hl.sin(x) - 0.2 * y + hl.cos(hl.sqrt(x * x + 1.0)) * hl.exp(-x)
        x = y
    unrolled, rolled = compiled([x.node])
    assert_same_bits((unrolled, rolled), [x.node])
    want, got = [np.array([program.view(symbol) for symbol in program.symbols if symbol.kind == "state"]) for program in (unrolled, rolled)]
    assert want.tobytes() == got.tobytes()
    assert len(rolled.image.code) < len(unrolled.image.code) / 2  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------- its limits


def test_bodies_shorter_than_a_loop_stay_copies() -> None:
    x, a = hl.value(1.0), hl.value(5.0)
    for _ in range(20):
        x = x * a + 1.0
    nodes = [x.node]
    assert roll(nodes)[0] is nodes[0]


def test_two_copies_of_little_are_no_loop() -> None:
    x = hl.value(1.0)
    for _ in range(2):
        x = hl.sin(x) * 2.0 + hl.cos(x)
    assert roll([x.node])[0] is x.node


def test_a_graph_too_large_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotloop.passes.roll.LARGEST", 100)
    nodes = nodes_of(inverse_kinematics())
    assert all(new is old for new, old in zip(roll(nodes), nodes, strict=True))


def test_what_was_rolled_stays_as_it_is() -> None:
    once = roll(nodes_of(inverse_kinematics()))
    assert all(new is old for new, old in zip(roll(once), once, strict=True))


@pytest.mark.parametrize("index", [int32, int64])
def test_places_have_the_type_that_the_target_takes(index: Any) -> None:
    rolled = roll(nodes_of(elements_in_sequence()), index)
    places = [node.args[1].dtype for node in walk(rolled) if node.op is LOOKUP]
    assert places
    assert set(places) == {index}


# -------------------------------------------------------------------------------- random programs


class Repetition:
    """A random body, traced a random number of times, on scalars of random types."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        chance = self.chance
        self.count = chance.choice([3, 4, 5, 8, 12, 20])
        self.types = [chance.choice(["float32", "float32", "float64", "int32", "int64"]) for _ in range(chance.randint(1, 4))]
        self.inputs = [hl.value(self.number(dtype), dtype=dtype) for dtype in self.types]
        self.vector = hl.vector.input(np.array([chance.uniform(-1, 1) for _ in range(self.count + 4)], np.float32))
        self.cells = [hl.value(chance.uniform(-1, 1)) for _ in range(self.count + 2)]
        self.states = [hl.state(chance.uniform(-1, 1)) for _ in range(self.count)]
        self.steps = [(chance.choice(list(STEPS)), chance.random(), chance.random(), chance.random()) for _ in range(chance.randint(4, 14))]
        self.tables = [[chance.uniform(-1, 1) for _ in range(self.count)] for _ in self.steps]

    def number(self, dtype: str) -> float:
        return self.chance.uniform(-2, 2) if dtype.startswith("float") else self.chance.randint(-9, 9)

    def body(self, trip: int, carried: list[Any], before: list[Any]) -> list[Any]:
        local = list(carried)
        for number, (name, *places) in enumerate(self.steps):
            a, b, c = (local[int(place * len(local))] for place in places)
            local.append(STEPS[name](self, trip, number, a, b, c, before[int(places[1] * len(before))]))
        return local

    def outputs(self) -> list[Node]:
        """Trace the copies; what is needed of each, and whether the first or the last differ, is random too."""
        chance, carried = self.chance, list(self.inputs)
        records, differs = chance.choice([None, "output", "state"]), chance.random() < 0.3
        history, found = [carried, carried], []
        for trip in range(self.count):
            local = self.body(trip, carried, history[-2])
            history.append(local)
            carried = [x.astype(dtype) for x, dtype in zip(local[-len(carried) :], self.types, strict=True)]
            if differs and trip == 0:
                carried = [x + 1 for x in carried]
            if records == "output":
                found.append(carried[0])
            elif records == "state":
                self.states[trip].next = carried[0].astype("float32")
        return [x.node for x in (*found, *carried)]


STEPS: dict[str, Callable[..., Any]] = {
    "add": lambda r, trip, number, a, b, c, old: a + b,
    "sub": lambda r, trip, number, a, b, c, old: a - b,
    "mul": lambda r, trip, number, a, b, c, old: a * b,
    "max": lambda r, trip, number, a, b, c, old: hl.maximum(a, c),
    "select": lambda r, trip, number, a, b, c, old: hl.where((a > b) ^ (b <= c), b, c),
    "sine": lambda r, trip, number, a, b, c, old: hl.sin(a),
    "constants": lambda r, trip, number, a, b, c, old: a * r.tables[number][trip] + r.tables[number][(trip + 1) % r.count],
    "count": lambda r, trip, number, a, b, c, old: a + (3 * trip - 7),
    "element": lambda r, trip, number, a, b, c, old: a + r.vector[trip if number % 2 else r.count + 3 - trip],
    "scattered": lambda r, trip, number, a, b, c, old: a * r.vector[trip * trip % (r.count + 4)],
    "cell": lambda r, trip, number, a, b, c, old: a - r.cells[trip + number % 2],
    "state": lambda r, trip, number, a, b, c, old: a * r.states[trip],
    "older": lambda r, trip, number, a, b, c, old: a - old,
    "invariant": lambda r, trip, number, a, b, c, old: a * (r.inputs[0] + r.cells[0]) - c,
}


@pytest.fixture
def eager() -> Iterator[None]:
    """Roll whatever repeats, worth it or not."""
    with pytest.MonkeyPatch.context() as limits:
        for name, limit in {"SLOWER": ((-1e9, 1e9),), "SHRINKS": 1e9, "SAVED": -1000}.items():
            limits.setattr(segment, name, limit)
        limits.setattr("hotloop.passes.roll.SAVED", -1000)
        yield


@pytest.mark.usefixtures("eager")
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_random_repetitions_keep_their_bits(seed: int) -> None:
    nodes = Repetition(seed).outputs()
    assert_same_bits(compiled(nodes), nodes)


@pytest.mark.usefixtures("eager")
def test_most_random_repetitions_are_found() -> None:
    rolled = [bool(loops_of(roll(Repetition(seed).outputs()))) for seed in range(40)]
    assert sum(rolled) > 25
