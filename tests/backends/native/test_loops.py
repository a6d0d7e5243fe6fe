"""Native loops: carried values in registers and in memory, nested, with helpers inside, of no fixed length."""

from __future__ import annotations

import numpy as np
import pytest

import hotloop as hl
from hotloop.compiler import Options, compile_graph
from hotloop.stencils.library import available

LIBRARIES = [name for name in available() if name.startswith("x86")]


def check(outputs: list, arch: str, runs: int = 2) -> None:
    nodes = [out.node for out in outputs]
    native, reference = compile_graph(nodes, Options(arch=arch)), compile_graph(nodes, Options(arch="reference"))
    for _ in range(runs):
        native.run()
        reference.run()
        for node in nodes:
            got, want = native.view(native.symbol(node)), reference.view(reference.symbol(node))
            assert got.tobytes() == want.tobytes(), (got, want)


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("carried", [1, 2, 5, 9, 20])
def test_any_number_of_carried_values(carried: int, arch: str) -> None:
    values = [hl.value(0.1 * i + 0.05) for i in range(carried)]

    def body(*v):
        results = tuple(v[(i + 1) % carried] * 0.9 + v[i] * 0.2 for i in range(carried))
        return results if carried > 1 else results[0]

    ends = hl.loop(17, body, *values)
    check(list(ends) if carried > 1 else [ends], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
def test_swapped_and_constant_results(arch: str) -> None:
    a, b, c = hl.value(1.0), hl.value(2.0), hl.value(3)
    ends = hl.loop(5, lambda x, y, n: (y, x + 1.0, n + 2), a, b, c)
    swapped = hl.loop(3, lambda x, y: (y, x), a, b)
    constant = hl.loop(4, lambda x, y: (a + 0.0 * x, x), a, b)
    check([*ends, *swapped, *constant], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
def test_helpers_inside_loops_and_values_that_live_across(arch: str) -> None:
    x, y = hl.value(0.3), hl.value(1.7)
    outer = [x * (1.0 + 0.1 * i) + y for i in range(20)]
    end = hl.loop(12, lambda t, u: (hl.sin(t) * outer[3] + outer[7], hl.cos(u) + t * outer[11]), x, y)
    check([*end, *outer, sum(outer)], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
def test_loops_in_loops(arch: str) -> None:
    x = hl.value(0.5)
    k = hl.value(3.0)

    def inner(t):
        return hl.loop(4, lambda s: s * 0.5 + t * k, t * 0.1)

    end = hl.loop(6, lambda t: inner(t) + hl.exp(-t) * x, x)
    deep = hl.loop(3, lambda a: hl.loop(3, lambda b: hl.loop(2, lambda c: c * 1.01 + a, b) - a * 0.1, a), x)
    check([end, deep], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
def test_while_loops_and_the_index(arch: str) -> None:
    n = hl.value(27)
    steps = hl.while_loop(
        lambda v, count: v != 1, lambda v, count: (hl.iif(v % 2 == 0, v // 2, 3 * v + 1), count + 1), n, hl.value(0)
    )
    total = hl.loop(10, lambda i, s: s + i * i, hl.value(0), index=True)
    check([*steps, total], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
def test_states_that_exchange_their_values(arch: str) -> None:
    a, b = hl.state(1.0), hl.state(2.0)
    a.next = b
    b.next = a + b
    v = hl.state([1.0, 2.0, 3.0])
    v.next = v * 2.0
    check([a + 0.0, b + 0.0, v * 1.0], arch, runs=5)


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("seed", range(12))
def test_random_bodies(seed: int, arch: str) -> None:
    chance = np.random.default_rng(seed)
    values = [hl.value(float(x)) for x in chance.normal(size=6)]
    rows = [lambda a, b: a * b, lambda a, b: a + b, lambda a, b: a - b, lambda a, b: hl.minimum(a, b), lambda a, b: hl.sin(a) + b]

    def body(*carried):
        pool = [*carried, *values[:3]]
        for _ in range(30):
            row = rows[int(chance.integers(len(rows)))]
            pool.append(row(pool[int(chance.integers(len(pool)))], pool[int(chance.integers(len(pool)))]) * 0.5)
        return tuple(pool[-len(carried) :])

    check(list(hl.loop(7, body, *values)), arch)
