"""Random programs over all rows and types: the machine code has the bits of the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.compiler import Options, compile_graph
from hotloop.dtypes import COMPUTE, DType, bool_, float32, float64, int32, int64
from hotloop.errors import DivisionByZero
from hotloop.ir.graph import Node, apply, input_node
from hotloop.ir.op import REGISTRY, Op
from hotloop.stencils.library import available

SPECIAL = {
    float32: [0.0, -0.0, 1.0, -1.5, math.inf, -math.inf, math.nan, 1e-45, -1e-40, 3.4e38, 0.1, 1e10, 2147483648.0, -2147483649.0],
    float64: [0.0, -0.0, 1.0, -2.5, math.inf, -math.inf, math.nan, 5e-324, -1e-310, 1.7e308, 0.1, 1e18, 9.3e18, -1e19],
    int32: [0, 1, -1, 2, 7, -8, 31, 32, 33, 2**31 - 1, -(2**31)],
    int64: [0, 1, -1, 3, -7, 63, 64, 65, 2**31, 2**63 - 1, -(2**63)],
    bool_: [False, True],
}
ROWS = [op for op in REGISTRY.values() if op.c is not None and not op.internal]
OVERLOADS = [(op, types) for op in ROWS for types, _ in op.types.overloads]


def assert_same_bits(got: np.ndarray, want: np.ndarray) -> None:
    """NaN equals NaN; all else must agree in every bit."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype
    nan = np.isnan(want) if want.dtype.kind == "f" else np.zeros(want.shape, bool)
    np.testing.assert_array_equal(np.isnan(got) if got.dtype.kind == "f" else nan, nan)
    word = {1: np.uint8, 4: np.uint32, 8: np.uint64}[want.dtype.itemsize]
    np.testing.assert_array_equal(np.where(nan, 0, got.view(word)), np.where(nan, 0, want.view(word)))


def compare(outputs: list[Node], arch: str = "native") -> None:
    native, reference = compile_graph(outputs, Options(arch=arch)), compile_graph(outputs, Options(arch="reference"))
    for _ in range(2):
        native.run()
        reference.run()
        for node in outputs:
            symbol, meaning = native.symbol(node), reference.symbol(node)
            assert symbol is not None
            assert meaning is not None
            assert_same_bits(native.view(symbol), reference.view(meaning))


@pytest.mark.parametrize("arch", [name for name in available() if name.startswith("x86")])
@pytest.mark.parametrize(("op", "types"), OVERLOADS, ids=lambda x: x.name if isinstance(x, Op) else "_".join(t.short for t in x))
def test_each_row_on_special_values_has_the_bits_of_the_reference(op: Op, types: tuple[DType, ...], arch: str) -> None:
    chance = np.random.default_rng(len(op.name))
    rows = [[SPECIAL[t][int(chance.integers(len(SPECIAL[t])))] for t in types] for _ in range(40)]
    if len(types) == 1:
        rows = [[x] for x in SPECIAL[types[0]]]
    outputs = [apply(op, *[input_node(np.asarray(x, t.numpy), t) for x, t in zip(row, types, strict=True)]) for row in rows]
    compare([node for node in outputs if node.args], arch)


@st.composite
def programs(draw: st.DrawFn) -> list[Node]:
    """A program: inputs of every type, then rows on earlier values, wide enough to spill."""
    pool: dict[DType, list[Node]] = {t: [] for t in COMPUTE}
    for dtype in COMPUTE:
        for _ in range(draw(st.integers(1, 8))):
            start = draw(st.sampled_from(SPECIAL[dtype]))
            pool[dtype].append(input_node(np.asarray(start, dtype.numpy), dtype))
    for index in draw(st.lists(st.tuples(st.integers(0, len(OVERLOADS) - 1), st.integers(0, 2**30)), min_size=1, max_size=80)):
        op, types = OVERLOADS[index[0]]
        seed = index[1]
        operands = []
        for dtype in types:
            operands.append(pool[dtype][seed % len(pool[dtype])])
            seed //= 7
        try:
            node = apply(op, *operands)
        except DivisionByZero:  # by x - x, which folds to a constant
            continue
        pool[node.dtype].append(node)
    made = [node for nodes in pool.values() for node in nodes if node.args]
    return made[:: draw(st.integers(1, 3))] or [pool[float32][0]]


@settings(max_examples=150)
@given(programs())
def test_random_programs_have_the_bits_of_the_reference(outputs: list[Node]) -> None:
    compare(outputs)


@settings(max_examples=40)
@given(programs())
def test_random_programs_on_the_baseline_library_too(outputs: list[Node]) -> None:
    compare(outputs, "x86-64-v2")
