"""Procedures compiled and executed by `_runner.ParallelFunction`: the bits of the reference on any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.procedures import PROCEDURES, assert_bits, expected, sizes

from hotloop import _runner
from hotloop.compiler import Options, compile_parallel
from hotloop.ir.sweep import Procedure
from hotloop.runtime import local
from hotloop.stencils.library import available

TARGETS = [name for name in available() if name.startswith("x86") and local.executes(name)]


def refuse(*arguments: Any) -> None:
    raise AssertionError(f"not as expected: {arguments!r:.200}")


def function_of(procedure: Procedure, target: str, threads: int) -> _runner.ParallelFunction:
    linked, program = compile_parallel(procedure, Options(arch=target))
    arguments = tuple([
        ("array", node.dtype.code, linked.array_of[node.id], 1, (len(linked.scalars),)) if node.shape
        else ("number", f"n{node.dtype.code}", linked.scalar_of[node.id])
        for node in procedure.inputs
    ])  # fmt: skip
    results = [("array", linked.array_of[n.id], None) if n.shape else ("number", linked.scalar_of[n.id]) for n in procedure.results]
    return _runner.ParallelFunction(
        program, arguments, linked.scalars + "q", linked.arrays, linked.ops, ("tuple", tuple(results)), None, refuse, refuse, threads
    )  # fmt: skip


def as_arguments(procedure: Procedure, given: list[Any]) -> list[Any]:
    return [
        np.ascontiguousarray(x, node.dtype.numpy) if node.shape else node.dtype.numpy.type(x)
        for node, x in zip(procedure.inputs, given, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PROCEDURES)
def test_a_call_has_the_bits_of_the_reference(name: str, target: str, threads: int) -> None:
    procedure, make = PROCEDURES[name]
    function = function_of(procedure, target, threads)
    for size in sizes(name):
        given = as_arguments(procedure, make(size))
        kept = [np.copy(x) for x in given]
        for node, got, want in zip(procedure.results, function(*given), expected(name, size), strict=True):
            assert_bits(np.asarray(got, node.dtype.numpy), want)
        for before, after in zip(kept, given, strict=True):
            assert np.asarray(before).tobytes() == np.asarray(after).tobytes()
