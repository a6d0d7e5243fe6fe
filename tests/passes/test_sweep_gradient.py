"""Derivatives of procedures, against central differences on the reference: of everything that tests of executors use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.plan_execution import Machine
from tests.procedures import PROCEDURES

from hotloop.compiler import Options, compile_parallel
from hotloop.dtypes import float32, float64, int64
from hotloop.ir.graph import Node, constant, convert, exact_numbers, param_node
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Compute, Fold, Procedure, Step, Sweep, at
from hotloop.ops.algebra import call
from hotloop.ops.shape import length_of
from hotloop.passes.adjoint.gradient import differentiate
from hotloop.passes.sweeps.merge import merge
from hotloop.passes.sweeps.reference import execute

STEP = 1e-6
SLOW = ("reduce", "while", "scatter", "dear")  # which the reference executes element by element
SIZES = (0, 1, 2, 33, 1000)
PLACES = 12  # of an array by which it is derived numerically


def of_one_number(procedure: Procedure) -> Procedure:
    """Return a procedure with one result: all floats that another gives, weighted and added."""
    steps: list[Step] = list(procedure.steps)
    total = constant(0.0, float64, structural=False)
    with exact_numbers():
        for number, result in enumerate(procedure.results):
            if result.dtype is not float64:
                continue
            part: Node = result
            if result.shape:
                part, index = param_node(float64, ()), param_node(int64, ())
                weight = convert(call("and", index, constant(7, int64)), float64) - constant(2.5, float64, structural=False)
                fold = Fold(part, REGISTRY["add"], call("sin", at(result, index)) * weight)
                steps.append(Sweep(length_of(result, (0,)), index, (fold,)))
            total = total + part * constant(number + 1.5, float64, structural=False)
        out = param_node(float64, ())
        steps.append(Compute((out,), (total,)))
    return Procedure(procedure.inputs, steps, (out,))


def smooth(arguments: list[Any], inputs: tuple[Node, ...]) -> list[Any]:
    """Return arguments with other floats: none of them near another, none near zero."""
    found = []
    for number, (node, argument) in enumerate(zip(inputs, arguments, strict=True)):
        chance = np.random.default_rng(number)
        if node.dtype is float64 and node.shape:
            size = len(argument)
            argument = (chance.permutation(size) + 0.7 + 0.2 * chance.random(size)) / (size + 1) * chance.choice([-1.0, 1.0], size)
        elif node.dtype is float64:
            argument = np.float64(0.3 + 0.1 * number)
        elif node.dtype is float32 and node.shape:
            argument = chance.normal(size=len(argument)).astype(np.float32)
        found.append(argument)
    return found


NAMES = [
    name for name, (procedure, _) in PROCEDURES.items()
    if any(node.dtype is float64 for node in procedure.inputs) and any(node.dtype is float64 for node in procedure.results)
]  # fmt: skip


def check(procedure: Procedure, arguments: list[Any], tolerance: float = 2e-6) -> None:
    """Compare the derivative by all floats with central differences."""
    variables = [node for node in procedure.inputs if node.dtype is float64]
    derived = differentiate(procedure, procedure.results[0], variables)
    with np.errstate(all="ignore"):
        value, *found = execute(merge(derived), arguments)
        np.testing.assert_array_equal(value, execute(procedure, arguments)[0])
        if not np.isfinite(value):
            return
        for variable, gradient in zip(variables, found, strict=True):
            place = procedure.inputs.index(variable)
            want = differences(procedure, arguments, place)
            known = ~np.isnan(want)
            assert gradient.shape == want.shape
            assert np.isfinite(gradient).all()
            scale = max(1.0, float(np.max(np.abs(want[known]), initial=0.0)))
            np.testing.assert_allclose(gradient[known], want[known], rtol=0, atol=tolerance * scale)


def differences(procedure: Procedure, arguments: list[Any], place: int) -> np.ndarray:
    given = np.asarray(arguments[place], float)
    found = np.full(given.shape, np.nan)
    for number in np.random.default_rng(0).permutation(given.size)[:PLACES]:
        ends = []
        for sign in (1, -1):
            moved = given.copy()
            moved.reshape(-1)[number] += sign * STEP
            changed = list(arguments)
            changed[place] = moved
            ends.append(float(execute(procedure, changed)[0]))
        found.reshape(-1)[number] = (ends[0] - ends[1]) / (2 * STEP)
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_the_derivative_of_a_procedure_is_that_of_central_differences(name, size):
    procedure, make = PROCEDURES[name]
    check(of_one_number(procedure), smooth(make(size if not name.startswith(SLOW) else min(size, 100)), procedure.inputs))


@pytest.mark.parametrize("name", NAMES)
def test_compiled_derivatives_have_the_bits_of_the_reference(name):
    procedure, make = PROCEDURES[name]
    whole = of_one_number(procedure)
    made = merge(differentiate(whole, whole.results[0], [node for node in whole.inputs if node.dtype is float64]))
    linked, _ = compile_parallel(made, Options())
    for size in SIZES:
        given = smooth(make(size if not name.startswith(SLOW) else min(size, 100)), procedure.inputs)
        with np.errstate(all="ignore"):
            for got, want in zip(Machine(linked).call(made, given), execute(made, given), strict=True):
                np.testing.assert_array_equal(np.asarray(got), want)
