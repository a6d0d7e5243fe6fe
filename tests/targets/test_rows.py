"""Every row and overload on every target: the bits of the reference, at special values and random ones."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from tests.ops.test_rows import specials
from tests.targets.emulation import TARGETS, Foreign, assert_same_bits, bits

from hotloop.dtypes import DType, bool_
from hotloop.ir.fold import evaluate
from hotloop.ir.graph import Node, apply, exact_numbers, input_node
from hotloop.ir.op import REGISTRY, Op, Types

ROWS = [row for row in REGISTRY.values() if row.c is not None and row.types.overloads and not row.internal]
GROUPS = list(dict.fromkeys(types for row in ROWS for types, _ in row.types.overloads))
MOST = 300  # combinations of special values, and as many random ones


def rows_of(types: Types) -> list[Op]:
    return [row for row in ROWS if any(types == own for own, _ in row.types.overloads)]


def random_bits(dtype: DType, count: int, chance: np.random.Generator) -> np.ndarray[Any, Any]:
    """Numbers of every size: for floats half of them random bits, half of them of ordinary size."""
    if dtype is bool_:
        return chance.random(count) < 0.5
    raw = np.frombuffer(chance.bytes(count * dtype.size), dtype.numpy).copy()
    if dtype.is_int:
        return np.where(chance.random(count) < 0.5, raw, chance.integers(-100, 100, count).astype(dtype.numpy))
    return np.where(chance.random(count) < 0.5, raw, (chance.normal(size=count) * 4).astype(dtype.numpy))


@functools.cache
def operands(types: Types) -> tuple[np.ndarray[Any, Any], ...]:
    """Return columns: combinations of special values, then random numbers."""
    chance = np.random.default_rng(len(types))
    every = list(itertools.islice(itertools.product(*[specials(t)[:: 1 if len(types) < 3 else 3] for t in types]), 40_000))
    chosen = every if len(every) <= MOST else [every[k] for k in np.sort(chance.choice(len(every), MOST, replace=False))]
    with np.errstate(all="ignore"):
        columns = [np.array([row[k] for row in chosen], t.numpy) for k, t in enumerate(types)]
        return tuple(np.concatenate([column, random_bits(t, MOST, chance)]) for column, t in zip(columns, types, strict=True))


@functools.cache
def wanted(row: Op, types: Types) -> np.ndarray[Any, Any]:
    """Return what a row means there."""
    return evaluate(row, list(operands(types))).astype(dict(row.types.overloads)[types].numpy)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("types", GROUPS, ids=lambda types: "_".join(t.short for t in types))
def test_rows_on_arrays_have_the_bits_of_the_reference(types: Types, target: str) -> None:
    inputs = [input_node(column, t) for column, t in zip(operands(types), types, strict=True)]
    rows = rows_of(types)
    outputs = [apply(row, *inputs) for row in rows]
    program = Foreign(outputs, target)
    program.run()
    for row, node in zip(rows, outputs, strict=True):
        got, want = program.view(node), wanted(row, types)
        assert got.dtype == want.dtype
        different = np.flatnonzero(bits(got) != bits(want))
        assert not different.size, describe(row, types, different, got, want)


def describe(row: Op, types: Types, different: np.ndarray[Any, Any], got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> str:
    first = [tuple(column[k] for column in operands(types)) for k in different[:3]]
    cases = "; ".join(f"{given}: {got[k]!r}, not {want[k]!r}" for given, k in zip(first, different, strict=False))
    return f"{row.name} differs {different.size} times of {len(got)}: {cases}"


@pytest.mark.parametrize("target", TARGETS)
def test_rows_on_scalars_have_the_bits_of_the_reference(target: str) -> None:
    """Operands come from memory here, and results stay alive until all are stored: rows meet every place and spills."""
    cases: list[tuple[Op, Types, int, Node]] = []
    with exact_numbers():
        for types in GROUPS:
            columns = operands(types)
            for at in np.linspace(0, len(columns[0]) - 1, 4).astype(int):
                inputs = [input_node(column[at], t) for column, t in zip(columns, types, strict=True)]
                cases += [(row, types, int(at), apply(row, *inputs)) for row in rows_of(types)]
    program = Foreign([node for *_, node in cases], target, watch=True)
    program.run()
    for row, types, at, node in cases:
        assert_same_bits(program.view(node), wanted(row, types)[at], f"{row.name} of {[column[at] for column in operands(types)]}")
