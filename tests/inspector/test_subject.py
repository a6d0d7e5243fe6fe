"""What a name of a user's file may stand for."""

from __future__ import annotations

import pytest

import hotloop as hl
from hotloop.compiler import Options
from hotloop.errors import NotCompiled, TypeMismatch
from hotloop.inspector.subject import program_of


def test_a_target_is_taken_as_it_was_compiled() -> None:
    x = hl.value(1.0)
    tg = hl.Target(fast=True)
    tg.compile(x + 1.0)
    nodes, compiled = program_of(tg, Options())
    assert compiled is tg.compiled
    assert len(nodes) == 1


def test_parameters_become_inputs_of_the_annotated_type() -> None:
    def scaled(a, b: int, c: bool, d=2.0):
        return [hl.iif(c, a * d, a), b + 1]

    nodes, compiled = program_of(scaled, Options())
    assert [str(node.dtype) for node in nodes] == ["float32", "int32"]
    assert {symbol.name for symbol in compiled.symbols if symbol.kind == "input"} == {"a", "b", "c"}


def test_a_jit_function_computes_in_64_bits() -> None:
    @hl.jit
    def twice(a: float) -> float:
        return a * 3.0

    nodes, _ = program_of(twice, Options())
    assert str(nodes[0].dtype) == "float64"


def test_what_is_no_program_is_refused() -> None:
    with pytest.raises(TypeMismatch, match="int is no program"):
        program_of(3, Options())
    with pytest.raises(NotCompiled, match="no program yet"):
        program_of(hl.Target(), Options())
