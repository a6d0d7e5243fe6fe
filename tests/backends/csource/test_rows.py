"""Every overload of every row as C source: the bits of the row, at special values and at random ones."""

from __future__ import annotations

import itertools
import shutil
from typing import Any

import numpy as np
import pytest
from tests.backends.csource.building import Exported, alike, compiled, objects, one_lane

from hotloop.backends.csource import c_source
from hotloop.dtypes import COMPUTE, DType, bool_
from hotloop.ir.fold import evaluate
from hotloop.ir.graph import Node, apply, input_node
from hotloop.ir.op import REGISTRY, Op, Types

ROWS = [(row, types) for row in REGISTRY.values() if row.c is not None for types, _ in row.types.overloads]
OPERANDS = "xyz"


def specials(dtype: DType) -> list[Any]:
    if dtype is bool_:
        return [False, True]
    if dtype.is_int:
        low, high = dtype.limits
        return [0, 1, -1, 2, 3, -7, 31, 32, 63, 64, high, low, high - 1, low + 1, 1 << 16]
    info = np.finfo(dtype.numpy)
    sizes = [0.0, 1.0, 0.5, 3.0, 0.1, 2.5, 1e-3, 800.5, 1.7e6, info.tiny, info.smallest_subnormal, 3 * info.smallest_subnormal]
    sizes += [info.max, 1.0 + float(info.eps), 2.0**31, 2.0**63, 2.0**23 + 0.5, 0.25 * float(info.max), np.inf]
    return [float(sign * size) for size in sizes for sign in (1, -1)] + [np.nan]


def samples(dtype: DType, count: int, seed: int) -> np.ndarray[Any, Any]:
    """Special values, then all kinds of bits."""
    chance = np.random.default_rng([seed, dtype.rank])
    if dtype is bool_:
        return chance.random(count) < 0.5
    bits = chance.integers(0, 256, count * dtype.size, np.uint8).view(dtype.numpy)
    if dtype.is_int:
        return np.where(chance.random(count) < 0.5, bits, chance.integers(-70, 70, count).astype(dtype.numpy))
    plain = (chance.normal(size=count) * 10.0 ** chance.integers(-3, 4, count)).astype(dtype.numpy)
    return np.where(chance.random(count) < 0.3, bits, plain)


class Rows:
    """A program with every overload, on one input for each operand of each type."""

    def __init__(self) -> None:
        self.inputs = {
            (dtype, letter): input_node(np.zeros((), dtype.numpy), dtype, f"{letter}_{dtype.short}")
            for dtype in COMPUTE for letter in OPERANDS
        }  # fmt: skip
        self.found: list[tuple[Op, Types, Node]] = []
        for row, types in ROWS:
            node = apply(row, *[self.inputs[dtype, letter] for dtype, letter in zip(types, OPERANDS, strict=False)])
            self.found.append((row, types, node))
        self.program = one_lane([node for _, _, node in self.found])
        self.files = c_source(self.program, "rows")

    def grid(self) -> dict[tuple[DType, str], np.ndarray[Any, Any]]:
        """Values of the inputs, one of each a step: pairs of specials, then random bits."""
        pairs = {dtype: list(itertools.product(specials(dtype), repeat=2)) for dtype in COMPUTE}
        count = max(map(len, pairs.values()))
        columns: dict[tuple[DType, str], np.ndarray[Any, Any]] = {}
        for dtype, found in pairs.items():
            x, y = np.array([found[k % len(found)] for k in range(count)], dtype.numpy).T
            both = np.concatenate([x, samples(dtype, 600, 1)]), np.concatenate([y, samples(dtype, 600, 2)])
            columns |= {(dtype, "x"): both[0], (dtype, "y"): both[1], (dtype, "z"): np.roll(both[0], 17)}
        return columns


@pytest.fixture(scope="module")
def rows() -> Rows:
    return Rows()


@pytest.fixture(scope="module")
def wanted(rows: Rows) -> list[np.ndarray[Any, Any]]:
    columns = rows.grid()
    operands = [[columns[key] for key in zip(types, OPERANDS, strict=False)] for _, types, _ in rows.found]
    with np.errstate(all="ignore"):
        return [evaluate(row, given) for (row, _, _), given in zip(rows.found, operands, strict=True)]


BUILDS = [
    pytest.param(("-O0", "-U__FMA__"), id="O0"),
    pytest.param(("-O2", "-U__FMA__", "-U__SSE2__"), id="O2-no-root"),
    pytest.param(("-O3",), id="O3"),
    pytest.param(("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-fsanitize-trap=all"), id="undefined"),
]


def check(rows: Rows, wanted: list[np.ndarray[Any, Any]], library: Any) -> None:
    exported = Exported(rows.program, "rows", library)
    inputs = [(key, exported.view(rows.program.places[node.id])) for key, node in rows.inputs.items() if node.id in rows.program.places]
    outputs = [exported.view(rows.program.places[node.id]) for _, _, node in rows.found]
    columns = rows.grid()
    found = [np.empty(len(columns[COMPUTE[0], "x"]), view.dtype) for view in outputs]
    for k in range(len(found[0])):
        for key, view in inputs:
            view[...] = columns[key][k]
        exported.step()
        for column, view in zip(found, outputs, strict=True):
            column[k] = view
    for (row, types, _), got, want in zip(rows.found, found, wanted, strict=True):
        want = want.astype(got.dtype)
        if row.name == "sincos":  # two numbers, each of which may be NaN
            got, want = (pair.view(np.float32).reshape(-1, 2) for pair in (got, want))
        if not alike(got, want):
            k = next(k for k in range(len(got)) if not alike(got[k], want[k]))
            operands = [columns[dtype, letter][k] for dtype, letter in zip(types, OPERANDS, strict=False)]
            pytest.fail(f"{row.name} of {operands}: {got[k]!r} is not {want[k]!r}")


@pytest.mark.parametrize("flags", BUILDS)
def test_every_row_has_its_bits(rows: Rows, wanted: list[np.ndarray[Any, Any]], flags: tuple[str, ...]) -> None:
    check(rows, wanted, compiled({"rows": rows.files}, flags))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no GCC on this machine")
@pytest.mark.parametrize("flags", [("-O0",), ("-O3",), ("-O3", "-march=x86-64-v3", "-fno-math-errno")], ids=["O0", "O3", "O3-fma"])
def test_every_row_has_its_bits_with_gcc(rows: Rows, wanted: list[np.ndarray[Any, Any]], flags: tuple[str, ...]) -> None:
    check(rows, wanted, compiled({"rows": rows.files}, flags, ("gcc",)))


def test_every_row_compiles_without_a_warning_for_a_microcontroller(rows: Rows) -> None:
    objects({"rows": rows.files}, ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp", "-O2"))


def test_no_library_is_called(rows: Rows) -> None:
    compiled({"rows": rows.files}, ("-O2", "-nostdlib", "-fno-stack-protector", "-Wl,--no-undefined"))
