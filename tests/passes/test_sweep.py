"""Long reductions as loops over lanes: the bits of the reference for every length, width and type."""

from __future__ import annotations

import numpy as np
import pytest

import hotloop as hl
from hotloop.compiler import Options, compile_graph
from hotloop.ir.graph import Node
from hotloop.ir.rewrite import walk
from hotloop.passes.sweep import SWEEP, sweep
from hotloop.stencils.library import available

SIZES = [23, 24, 25, 31, 32, 33, 40, 63, 64, 65, 96, 97, 100, 128, 257, 600, 1003]
LIBRARIES = [name for name in available() if name.startswith("x86")]


def assert_native_is_reference(nodes: list[Node], arch: str) -> None:
    native, reference = compile_graph(nodes, Options(arch=arch)), compile_graph(nodes, Options(arch="reference"))
    for _ in range(2):
        native.run()
        reference.run()
        for node in nodes:
            got, want = native.view(native.symbol(node)), reference.view(reference.symbol(node))
            assert got.tobytes() == want.tobytes(), (got, want)


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_sums_and_dots_have_the_bits_of_the_reference(size: int, dtype: str, arch: str) -> None:
    chance = np.random.default_rng(size)
    x, y = (hl.vector.input(chance.normal(size=size).astype(dtype)) for _ in range(2))
    s = hl.value(0.3, dtype=dtype)
    outputs = [hl.sum(x), x @ y, (x * s + y / 3.0) @ (x - 1.0), hl.sum(hl.sqrt(hl.abs(x)) * -y)]
    assert_native_is_reference([out.node for out in outputs], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
def test_negative_zeros_and_infinities_survive(arch: str) -> None:
    x = hl.vector.input(np.full(64, -0.0, np.float32))
    y = hl.vector.input(np.array([np.inf, -np.inf] * 32, np.float32))
    z = hl.vector.input(np.array([1e-45, -1e-40, 3e38, 3e38] * 25, np.float32))
    assert_native_is_reference([hl.sum(x).node, hl.sum(z[:50]).node, hl.sum(z).node], arch)
    target = hl.Target(arch)
    total = hl.sum(y)
    target.compile(total)
    target.run()
    assert np.isnan(target.read_value(total))


@pytest.mark.parametrize("arch", LIBRARIES)
def test_streams_that_are_computed_or_scattered_are_packed_first(arch: str) -> None:
    scalars = [hl.value(0.1 * i) for i in range(50)]
    adjacent, reversed_ = hl.vector(scalars), hl.vector(scalars[::-1])
    computed = hl.vector([hl.sin(v) for v in scalars])
    constants = hl.vector([0.5 * i for i in range(50)])
    outputs = [adjacent @ reversed_, computed @ adjacent, constants @ computed, hl.sum(computed) * hl.sum(adjacent)]
    assert_native_is_reference([out.node for out in outputs], arch)


def test_the_dot_benchmark_is_loops_and_not_one_scalar_per_element() -> None:
    x, y = hl.vector.input(np.ones(600, np.float32)), hl.vector.input(np.ones(600, np.float32))
    out = sum((x + i) @ y for i in range(10))
    made = compile_graph([out.node])
    assert made.report.operations < 700
    small = sum((x[:40] + i) @ y[:40] for i in range(10))
    assert compile_graph([small.node]).report.operations < 1200


def test_short_and_loop_bound_reductions_stay_scalar() -> None:
    short = hl.sum(hl.vector.input(np.ones(8, np.float32)))
    assert not any(node.op is SWEEP for node in walk(sweep([short.node], 32)))
    x = hl.vector.input(np.ones(40, np.float32))
    (end,) = [hl.loop(3, lambda v: v * hl.sum(v) * 0.01, x)]
    assert not any(node.op is SWEEP for node in walk(sweep([end.node], 32)))
    assert_native_is_reference([end.node], LIBRARIES[-1])
