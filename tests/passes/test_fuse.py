"""Arrays as loops over lanes: the bits of the reference for every length, width and type, and no more work than needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hotloop as hl
from hotloop.compiler import Options, compile_graph, resolve_arch
from hotloop.ir.graph import Node
from hotloop.ir.rewrite import walk
from hotloop.passes.fuse import fuse
from hotloop.passes.kernel import KERNEL
from hotloop.stencils.library import available

SIZES = [23, 24, 25, 31, 32, 33, 40, 63, 64, 65, 97, 257, 600, 1003]
LONG = [1024, 1025, 2047, 2048, 5000, 32768, 32769, 70_001]
LIBRARIES = [name for name in available() if name.startswith("x86")]
SPECIAL = {
    "float32": [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45, -1e-40, 3.4e38, 1.0, -2.5],
    "float64": [np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324, -1e-310, 1.7e308, 1.0, -2.5],
    "int32": [0, 1, -1, 2**31 - 1, -(2**31), 7],
    "int64": [0, 1, -1, 2**63 - 1, -(2**63), 7],
}


def assert_native_is_reference(nodes: list[Node], arch: str) -> None:
    native, reference = compile_graph(nodes, Options(arch=arch)), compile_graph(nodes, Options(arch="reference"))
    for _ in range(2):
        native.run()
        reference.run()
        for node in nodes:
            got, want = native.view(native.symbol(node)), reference.view(reference.symbol(node))
            same = np.array_equal(got, want, equal_nan=got.dtype.kind == "f")
            signs = got.dtype.kind != "f" or np.array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(want[~np.isnan(want)]))
            assert same, (node, got, want)
            assert signs, (node, got, want)


def sample(size: int, dtype: str, special: bool = True) -> np.ndarray:
    chance = np.random.default_rng(size)
    if dtype == "bool":
        return chance.random(size) < 0.5
    whole = dtype.startswith("int")
    found = (chance.integers(-1000, 1000, size) if whole else chance.normal(size=size)).astype(dtype)
    if special:
        places = chance.integers(0, size, min(size, 12))
        found[places] = chance.choice(np.array(SPECIAL[dtype], dtype), len(places))
    return found


def arrays(size: int, dtype: str, count: int = 2) -> list[Any]:
    return [hl.vector.input(np.roll(sample(size, dtype), k)) for k in range(count)]


PROGRAMS: dict[str, Callable[[Any, Any], list[Any]]] = {
    "sums": lambda x, y: [hl.sum(x), x @ y, (x * 0.3 + y / 3.0) @ (x - 1.0), hl.sum(hl.sqrt(hl.abs(x)) * -y)],
    "maps": lambda x, y: [2.0 * x + 3.0 * y, hl.sqrt(x * x + y * y), hl.where(x > y, x * 2.0, y - x)],
    "extrema": lambda x, y: [hl.minimum(x, y), hl.maximum(x, y) - x, x.min(), x.max(), y.prod()],
    "masks": lambda x, y: [(x > 0.0) & ~(y <= x), (x == y) | (y != y), (x > 0.0).any(), (x > y).all()],
    "elementary": lambda x, y: [hl.sin(x) * 2.0 + hl.exp(-y * y), hl.atan2(x, y), hl.tanh(x), hl.log(hl.abs(x) + 1.0)],
    "conversions": lambda x, y: [
        x.astype("float64") * y.astype("float64"),
        x.astype("int32") + 1,
        y.astype("int64") * 3,
        (x > 0.0).astype("float32"),
    ],
    "rounding": lambda x, y: [hl.floor(x), hl.ceil(y), hl.round(x * 3.0), hl.trunc(y), x // 0.7, x % 0.7],
}


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_kernels_have_the_bits_of_the_reference(size: int, dtype: str, arch: str) -> None:
    for make in PROGRAMS.values():
        assert_native_is_reference([out.node for out in make(*arrays(size, dtype))], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("size", [24, 31, 33, 100, 1003])
def test_integers_have_the_bits_of_the_reference(size: int, dtype: str, arch: str) -> None:
    x, y = arrays(size, dtype)
    outputs = [
        x + y * 3, (x & y) | ~x, x >> 2, hl.minimum(x, y), hl.where(x < y, x, -y), hl.abs(x), x // 7, y % 7,
        x.sum(), x.max(), y.min(), x.prod(), x.astype("float32") * 0.5, y.astype("float64"), (x > 3).sum(), x / y,
        x.astype("int32" if dtype == "int64" else "int64"), (x < y).any(), (x > y).all(),
    ]  # fmt: skip
    assert_native_is_reference([out.node for out in outputs], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("size", LONG)
def test_long_reductions_have_the_bits_of_the_reference(size: int, arch: str) -> None:
    x, y = (hl.vector.input(sample(size, "float32", special=False)) for _ in range(2))
    wide = hl.vector.input(sample(size, "float64", special=False))
    outputs = [x.sum(), x @ y, (x * 2.0).max(), wide.sum(), x.sum() / y.sum(), (x > 0.0).sum(), x.mean()]
    assert_native_is_reference([out.node for out in outputs], arch)
    for out in outputs[:4]:
        assert_native_is_reference([out.node], arch)  # alone, so that registers are free to keep what must not be kept


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("shape", [(3, 40), (40, 3), (8, 8), (5, 7, 9), (2, 33), (33, 2), (1, 40), (40, 1)])
def test_axes_have_the_bits_of_the_reference(shape: tuple[int, ...], arch: str) -> None:
    data = sample(int(np.prod(shape)), "float32", special=False).reshape(shape)
    x = hl.tensor.input(data)
    row = hl.tensor.input(data[:1])
    outputs = [
        x.sum(axis=0), x.sum(axis=-1), x.max(axis=0), x.mean(), x - x.mean(axis=-1, keepdims=True), x + row, x.transpose() * 2.0,
        (x.transpose() + 1.0).sum(axis=0), x[::-1] * 3.0 + x, (x * row).sum(), x.reshape(-1) + 1.0,
        hl.exp(x - x.max(axis=-1, keepdims=True)) / hl.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True),
    ]  # fmt: skip
    assert_native_is_reference([out.node for out in outputs], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [2, 3, 4, 6, 8, 12, 17, 32])
def test_products_have_the_bits_of_the_reference(size: int, dtype: str, arch: str) -> None:
    chance = np.random.default_rng(size)
    a, b = (chance.normal(size=(size, size)).astype(dtype) for _ in range(2))
    x, y = hl.matrix.input(a), hl.matrix.input(b)
    v = hl.vector.input(a[0])
    wide = hl.matrix.input(chance.normal(size=(size, size + 5)).astype(dtype))
    batch = hl.tensor.input(chance.normal(size=(4, size, size)).astype(dtype))
    outputs = [
        x @ y, x @ v, v @ x, hl.matrix(a) @ v, hl.tanh(hl.matrix(a) @ v + 1.0), x @ wide, wide.T @ x, x.T @ y,
        batch @ batch, batch @ x, x @ batch,
    ]  # fmt: skip
    assert_native_is_reference([out.node for out in outputs], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("count", [256, 257, 300, 1024, 1056, 2100])
def test_long_products_and_columns_have_the_bits_of_the_reference(count: int, arch: str) -> None:
    chance = np.random.default_rng(count)
    x, y = (hl.matrix.input(chance.normal(size=shape).astype(np.float32)) for shape in ((5, count), (count, 11)))
    v = hl.vector.input(chance.normal(size=count).astype(np.float32))
    constant = hl.matrix(chance.normal(size=(11, count)).astype(np.float32))
    for outputs in ([x @ y], [x @ v, constant @ v, v @ y], [y.sum(axis=0), y.max(axis=0)]):
        assert_native_is_reference([out.node for out in outputs], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
def test_negative_zeros_and_infinities_survive(arch: str) -> None:
    x = hl.vector.input(np.full(64, -0.0, np.float32))
    y = hl.vector.input(np.array([np.inf, -np.inf] * 32, np.float32))
    z = hl.vector.input(np.array([1e-45, -1e-40, 3e38, 3e38] * 25, np.float32))
    assert_native_is_reference([hl.sum(x).node, hl.sum(x[:50]).node, hl.sum(z[:50]).node, hl.sum(z).node], arch)
    target = hl.Target(arch)
    total = hl.sum(y)
    target.compile(total)
    target.run()
    assert np.isnan(target.read_value(total))


@pytest.mark.parametrize("arch", LIBRARIES)
def test_arrays_that_are_computed_or_scattered_are_packed_first(arch: str) -> None:
    scalars = [hl.value(0.1 * i) for i in range(50)]
    adjacent, reversed_ = hl.vector(scalars), hl.vector(scalars[::-1])
    computed = hl.vector([hl.sin(v) for v in scalars])
    constants = hl.vector([0.5 * i for i in range(50)])
    outputs = [
        adjacent @ reversed_,
        computed @ adjacent,
        constants @ computed,
        hl.sum(computed) * hl.sum(adjacent),
        (adjacent * 2.0)[7] + scalars[3],
    ]
    assert_native_is_reference([out.node for out in outputs], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
def test_states_step_as_arrays(arch: str) -> None:
    data = sample(70, "float32", special=False)
    first, second = hl.state(hl.vector(data)), hl.state(hl.vector(data * 2.0))
    first.next, second.next = second, first * 0.5 + second
    assert_native_is_reference([first.node, (first + second).node, second.sum().node], arch)


def test_dead_arrays_give_their_memory_to_others() -> None:
    x = hl.vector.input(np.linspace(1.0, 2.0, 1000, dtype=np.float32))
    data = set()
    for steps in (4, 40):
        y = x
        for _ in range(steps):
            y = hl.sin(y) / y.sum()
        data.add(compile_graph([y.node]).report.data // 4000)
        assert_native_is_reference([y.node], LIBRARIES[-1])
    assert data == {4}  # the input, the output, and two in between


def kernels(*outputs: Any) -> list[Node]:
    return [node for node in walk(fuse([out.node for out in outputs])) if node.op is KERNEL]


def test_producers_consumers_and_reductions_of_one_shape_share_a_kernel() -> None:
    x, y = arrays(100, "float32")
    z = hl.sqrt(x * x + y * y)
    assert len(kernels(z, z.sum(), z.max(), x + 1.0)) == 1


def test_what_waits_for_a_reduction_is_a_kernel_of_its_own() -> None:
    x, _ = arrays(100, "float32")
    assert len(kernels(x / x.sum())) == 2


def test_what_costs_much_is_written_once_and_what_costs_little_is_done_again() -> None:
    x, _ = arrays(100, "float32")
    e = hl.exp(x)
    dear = kernels(e / e.sum())
    assert [len(node.attr.results) for node in dear] == [2, 1]
    c = x - 1.0
    cheap = kernels(c / c.sum())
    assert [len(node.attr.results) for node in cheap] == [1, 1]


def test_short_arrays_stay_scalar() -> None:
    assert not kernels(hl.sum(hl.vector.input(np.ones(8, np.float32))))


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("size", [24, 40, 100, 600])
def test_loops_carry_arrays(size: int, arch: str) -> None:
    x, y = (hl.vector.input(sample(size, "float32", special=False)) for _ in range(2))
    n = hl.value(5)
    matrix = hl.matrix(np.random.default_rng(0).normal(size=(size, size)).astype(np.float32) / size) if size < 600 else None
    decayed = hl.loop(3, lambda v: v * hl.sum(v) * 0.01 + x, x)
    first, second, total = hl.loop(4, lambda a, b, s: (b, a * 0.5 + b, s + a.sum()), x, y, 0.0)
    picked = hl.loop(n, lambda v: v * 0.5 + v[3], x)
    rows = hl.loop(3, lambda v: hl.tanh(matrix @ v) + y, x) if matrix is not None else x * 2.0
    nested = hl.loop(3, lambda v: hl.loop(2, lambda w: w * 0.5 + v, v) + 1.0, x)
    counted, steps = hl.while_loop(lambda v, k: v.sum() < 100.0, lambda v, k: (v + 1.0, k + 1), x, 0)
    outputs = [decayed, first, second, total, picked, rows, nested, counted, steps, decayed.sum() + second[1], first + second]
    assert_native_is_reference([out.node for out in outputs], arch)
    for out in outputs:
        assert_native_is_reference([out.node], arch)


@pytest.mark.parametrize("arch", LIBRARIES)
def test_gradients_in_loops_stay_loops_over_lanes(arch: str) -> None:
    x, y = (hl.vector.input(sample(200, "float32", special=False)) for _ in range(2))
    end = hl.loop(20, lambda v: v - 0.1 * hl.grad((hl.sin(v) * y).sum(), v), x)
    assert_native_is_reference([end.node], arch)
    assert compile_graph([end.node], Options(arch=arch)).report.operations < 500


def test_a_matrix_of_structural_zeros_costs_what_its_other_elements_cost() -> None:
    x = hl.vector.input(np.ones(200, np.float32))
    assert compile_graph([(hl.diagonal([2.0] * 200) @ x).node]).report.instructions <= 2 * 200 + 10


def test_instructions_of_fused_loops_are_counted() -> None:
    """Per 8 elements of float32: what is read once, computed once and written once."""

    def per_vector(make: Callable[[Any, Any], Any]) -> float:
        counts = []
        for size in (6400, 12800):
            out = make(*arrays(size, "float32"))
            counts.append(compile_graph([out.node], Options(arch="x86-64-v3")).report.instructions)
        return (counts[1] - counts[0]) / 800

    if "x86-64-v3" not in LIBRARIES or resolve_arch("native") != "x86-64-v3":
        pytest.skip("no AVX2")
    # 2 loads, 2 products with a constant in memory, a sum, a store; the loop's two instructions are shared by 4 vectors
    assert per_vector(lambda x, y: 2.0 * x + 3.0 * y) <= 7.25
    assert per_vector(lambda x, y: x @ y) <= 5.0
    assert per_vector(lambda x, y: hl.where(x > y, x, y * 2.0)) <= 8.0


@pytest.mark.parametrize("arch", LIBRARIES)
def test_views_with_gaps_are_moved_by_loops(arch: str) -> None:
    x = hl.tensor.input(sample(60 * 70, "float32").reshape(60, 70))
    y = hl.tensor.input(sample(60 * 70, "int64").reshape(60, 70))
    b = hl.tensor.input(sample(60 * 70, "bool").reshape(60, 70))
    outputs = [
        x.T * 2.0,
        x[::-1, ::2] + 1.0,
        x[:, 3] * x[:, 4],
        y.T + 1,
        ~b.T,
        x.T,
        x[5:50:3],
        y[::-1],
        b[:, ::-1],
        x.reshape(70, 60),
        x[7],
    ]
    assert_native_is_reference([out.node for out in outputs], arch)
    for out in outputs:
        assert_native_is_reference([out.node], arch)
        assert compile_graph([out.node], Options(arch=arch)).report.operations < 1000


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "bool"])
def test_look_ups_cost_the_same_for_any_length(dtype: str, arch: str) -> None:
    counts = set()
    for size in (50, 500):
        table = hl.vector.input(sample(size, dtype))
        rows = hl.tensor.input(sample(size * 3, dtype).reshape(size, 3))
        constants = hl.vector(sample(size, dtype))
        places = [hl.value(k) for k in (0, 7, size - 1, size + 5, -1, -size, -size - 9, 2**31 - 1)]
        several = hl.vector.input(np.array([3, 0, -1], np.int32))
        outputs = [out for k in places for out in (table[k], constants[k], rows[k])] + [
            table[several],
            (table if dtype != "bool" else ~table)[several],
        ]
        assert_native_is_reference([out.node for out in outputs], arch)
        counts.add(compile_graph([table[places[1]].node, rows[places[1]].node], Options(arch=arch)).report.operations)
    assert len(counts) == 1


@pytest.mark.parametrize("arch", LIBRARIES)
def test_look_ups_in_loops_see_what_the_loop_wrote(arch: str) -> None:
    x = hl.vector.input(sample(40, "float32", special=False))
    start = hl.value(3)
    walked, place = hl.loop(7, lambda v, k: (v * 0.5 + v[k], (k * 5 + 1) % 40), x, start)
    assert_native_is_reference([walked.node, place.node, (walked + 1.0)[place].node], arch)


def test_compile_time_work_does_not_depend_on_the_size() -> None:
    operations = set()
    for size in (640, 6400, 32_000):
        x, y = (hl.vector.input(np.ones(size, np.float32)) for _ in range(2))
        made = compile_graph([(x * 2.0 + y).node, hl.sqrt(x).node])
        operations.add((made.report.operations, made.report.code))
    assert len(operations) == 1


@pytest.mark.parametrize("arch", LIBRARIES)
@pytest.mark.parametrize("fast", [False, True])
def test_kernels_take_fast_functions_only_under_fast(arch: str, fast: bool) -> None:
    x = hl.tensor.input(np.linspace(0.1, 1.0, 64, dtype=np.float32))
    program = compile_graph([hl.sin(x).node], Options(arch=arch, fast=fast)).listing
    assert program is not None
    assert ("fast.sin.f32w" in program.listing()) == (fast and arch == "x86-64-v3")
    assert "sin.f32w" in program.listing()
