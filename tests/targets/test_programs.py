"""Whole programs on every target: random ones, loops, states, and the control programs of the benchmarks; bits, stack, instructions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from benchmarks import targets_forms
from benchmarks.programs import ALL
from hypothesis import HealthCheck, given, settings
from tests import array_programs
from tests.backends.native.test_native import programs as scalar_programs
from tests.passes.test_random_arrays import outputs_of
from tests.targets.emulation import TARGETS, Foreign, assert_same_bits

import hotloop as hl
from hotloop.compiler import Options, compile_graph
from hotloop.ir.graph import Node

FEW = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def agree(outputs: Sequence[Node], targets: Sequence[str] = TARGETS, *, runs: int = 2, watch: bool = False) -> None:
    """Compare some runs on each target with the reference."""
    reference = compile_graph(outputs, Options(arch="reference"))
    found = [Foreign(outputs, target, watch=watch) for target in targets]
    for turn in range(runs):
        reference.run()
        for target, program in zip(targets, found, strict=True):
            program.run()
            for number, node in enumerate(outputs):
                symbol = reference.symbol(node)
                assert symbol is not None
                assert_same_bits(program.view(node), reference.view(symbol), f"{target}, run {turn}, output {number}: {node}")


@FEW
@given(scalar_programs())
def test_random_programs_on_scalars(outputs: list[Node]) -> None:
    agree(outputs, watch=True)


@FEW
@given(array_programs.recipes(array_programs.NAMES))
def test_random_programs_on_arrays(recipe: array_programs.Recipe) -> None:
    outputs = outputs_of(recipe)
    if outputs:
        with contextlib.suppress(hl.DivisionByZero):  # of constants that scalars become
            agree([out.node for out in outputs])


@settings(FEW, max_examples=6)
@given(array_programs.recipes(array_programs.NAMES, lengths=(1, 2, 3, 7, 8, 24, 33), largest=100))
def test_random_programs_on_arrays_touch_their_own_memory_alone(recipe: array_programs.Recipe) -> None:
    outputs = outputs_of(recipe)
    if outputs:
        with contextlib.suppress(hl.DivisionByZero):
            agree([out.node for out in outputs], watch=True)


# ------------------------------------------------------------------------------------------ loops and states


def newton() -> list[Any]:
    x = hl.value(7.3)
    root, turns = hl.while_loop(lambda r, n: (hl.abs(r * r - x) > 1e-6) & (n < 50), lambda r, n: (0.5 * (r + x / r), n + 1), x, hl.value(0))
    return [root, turns]


def carried() -> list[Any]:
    values = [hl.value(0.1 * k) for k in range(20)]
    turned = hl.loop(7, lambda *xs: (*xs[1:], hl.sin(xs[0]) + xs[3]), *values)
    return list(turned)


def nested() -> list[Any]:
    x = hl.value(0.7)
    outer = hl.loop(5, lambda s: hl.loop(4, lambda t: t * 0.9 + x, s) + hl.exp(-x), hl.value(1.0))
    return [outer]


def states() -> list[Any]:
    count, a, b = hl.state(0), hl.state(1.5), hl.state(-2.25)
    count.next, a.next, b.next = count + 1, b, a + hl.sqrt(hl.abs(b))
    memory = hl.state(np.arange(12, dtype=np.float32))
    memory.next = hl.concat([memory[1:], hl.vector([a])])
    return [count + 0, a * b, memory.sum(), memory * 2]


def kernels() -> list[Any]:
    x = hl.tensor.input(np.linspace(-2, 2, 24 * 9, dtype=np.float32).reshape(24, 9))
    y = hl.vector.input(np.linspace(0, 1, 9))
    places = hl.vector.input(np.arange(40, dtype=np.int32) - 8)
    return [x @ y, hl.softmax(x, axis=1), hl.tanh(x).sum(0), x.T @ x, y[places], (x > 0.3).sum(), x.argmax(1)]


def wide() -> list[Any]:
    """More values alive than any processor has registers, of each type."""
    found: list[Any] = []
    for kind in ("float32", "float64", "int32", "int64"):
        values = [hl.value(np.dtype(kind).type(k + 1)) for k in range(40)]
        sums = [a * b + c for a, b, c in zip(values, values[1:], values[5:], strict=False)]
        found += [x - y for x, y in zip(sums, reversed(sums), strict=True)]
    return found


@pytest.mark.parametrize("make", [newton, carried, nested, states, kernels, wide], ids=lambda make: make.__name__)
def test_programs_with_loops_states_arrays_and_spills(make: Callable[[], list[Any]]) -> None:
    agree([out.node for out in make()], runs=4, watch=True)


# -------------------------------------------------------------------------------------- programs of the benchmarks


FORMS = [(name, form) for name, program in ALL.items() for form in targets_forms.forms(program) if name != "demodulation"]


@pytest.mark.parametrize(("name", "form"), FORMS, ids=lambda x: x)
def test_control_programs_have_the_bits_of_this_machine(name: str, form: str) -> None:
    program = ALL[name]
    inputs, outputs = targets_forms.traced(program, form)
    here = hl.Target()
    here.compile(outputs)
    found = {target: Foreign([out.node for out in outputs], target) for target in TARGETS}
    for x in program.samples(2):
        groups = targets_forms.groups(program, form, x)
        for cell, numbers in zip(inputs, groups, strict=True):
            here.write_value(cell, numbers)
            for foreign in found.values():
                foreign.view(cell.node)[...] = numbers
        here.run()
        for target, foreign in found.items():
            foreign.run()
            for out in outputs:
                assert_same_bits(foreign.view(out.node), here.read_array(out).astype(foreign.view(out.node).dtype), f"{name} on {target}")


# --------------------------------------------------------------------------------------------------- instructions

WITH_UNIT = [target for target in TARGETS if target not in ("armv7m", "riscv32")]


@pytest.mark.parametrize("target", WITH_UNIT)
@pytest.mark.parametrize("name", ["biquad", "arm", "mpc"])
def test_runs_take_the_same_instructions_for_every_input(name: str, target: str) -> None:
    program = ALL[name]
    inputs, outputs = targets_forms.traced(program, "scalars")
    foreign = Foreign([out.node for out in outputs], target, count=True)
    assert foreign.image.instructions is not None
    counts = set()
    for x in program.samples(5):
        for cell, number in zip(inputs, x, strict=True):
            foreign.view(cell.node)[...] = number
        foreign.run()
        counts.add(foreign.emulated.instructions)
    assert len(counts) == 1
    assert counts.pop() >= foreign.image.instructions
