"""jit of NumPy arrays of any size: one trace for all sizes, NumPy's results, `out=`, and where sizes must be known."""

import contextlib
import dataclasses
import functools
import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hotloop as hl
from hotloop.ops import shape as sh

SIZES = [17, 18, 31, 32, 33, 63, 64, 65, 100, 255, 1023, 1024, 1025, 4099, 33000, 70001]
TYPES = [np.float32, np.float64, np.int32, np.int64]


def counted(function, **options):
    """A jitted function, and a list with an item for each time that it was traced."""
    traces = []

    @functools.wraps(function)
    def counting(*args, **kwargs):
        traces.append(1)
        return function(*args, **kwargs)

    return hl.jit(counting, **options), traces


def numbers(*shape, dtype=np.float64, seed=0):
    found = np.random.default_rng([seed, *shape]).uniform(-3.0, 3.0, shape)
    return found.astype(dtype) if np.dtype(dtype).kind == "f" else (found * 5).astype(dtype)


def same(got, want):
    """Equal types, shapes and bits."""
    got, want = np.asarray(got), np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(got, want)
    if got.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


def reduced(row, x, *axes):
    """A reduction in hotloop's fixed order."""
    return row.numpy(x, axes=axes or tuple(range(x.ndim)))


# ------------------------------------------------------------------------------- one trace for all sizes


@pytest.mark.parametrize("dtype", TYPES)
def test_one_trace_serves_arrays_of_all_sizes(dtype):
    function = lambda a, b: (a * b + b - a * 2) * a + 3  # noqa: E731
    f, traces = counted(function)
    for n in [*SIZES, *reversed(SIZES)]:
        a, b = numbers(n, dtype=dtype), numbers(n, dtype=dtype, seed=1)
        same(f(a, b), function(a, b))
    assert len(traces) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quotients_and_roots_have_the_bits_of_numpy(dtype):
    f, traces = counted(lambda a, b: a / b + hl.sqrt(abs(a)) - hl.floor(b) / 3)
    for n in SIZES:
        a, b = numbers(n, dtype=dtype), numbers(n, dtype=dtype, seed=1)
        same(f(a, b), a / b + np.sqrt(abs(a)) - np.floor(b) / dtype(3))
    assert len(traces) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elementary_functions_have_the_bits_of_scalars(dtype):
    f, traces = counted(lambda a: hl.exp(hl.sin(a)) * hl.tanh(a) + hl.atan2(a, 2.0))
    for n in (17, 100, 1025):
        a = numbers(n, dtype=dtype)
        same(f(a), hl.exp(hl.sin(a)) * hl.tanh(a) + hl.atan2(a, dtype(2.0)))
        np.testing.assert_allclose(f(a), np.exp(np.sin(a)) * np.tanh(a) + np.arctan2(a, 2.0), rtol=2e-6 if dtype is np.float32 else 1e-14)
    assert len(traces) == 1


def test_small_and_empty_arrays_give_the_same_before_and_after_large_ones():
    function = lambda a: a * 2.5 + 1.0  # noqa: E731
    f = hl.jit(function)
    for n in (0, 1, 5, 16, 17, 40, 0, 1, 5, 16, 17):
        same(f(numbers(n)), function(numbers(n)))
    total = hl.jit(lambda a: a.sum())
    assert [total(np.ones(n)) for n in (20, 0, 1, 30, 0)] == [20.0, 0.0, 1.0, 30.0, 0.0]
    largest = hl.jit(lambda a: a.max())
    assert largest(np.arange(20.0)) == 19.0
    with pytest.raises(hl.ShapeError, match=r"test_jit_arrays.py:\d+: amax of no elements \(shape \(0,\)\)"):
        largest(np.zeros(0))


def test_comparisons_choices_and_conversions():
    f, traces = counted(
        lambda a, b: (hl.where(a > b, a, b * 2), (a < 0) | (b >= 1), a.astype("int32"), hl.clamp(a, -1.0, 1.0), hl.iif(a > 0, 1.0, b))
    )
    for n in (17, 100, 3000):
        a, b = numbers(n), numbers(n, seed=1)
        got = f(a, b)
        want = np.where(a > b, a, b * 2), (a < 0) | (b >= 1), a.astype(np.int32), np.clip(a, -1, 1), np.where(a > 0, 1.0, b)
        for x, y in zip(got, want, strict=True):
            same(x, y)
    assert len(traces) == 1


def test_types_are_told_apart_and_mix():
    f, traces = counted(lambda a, b: a + b)
    for n in (20, 300):
        for x in TYPES:
            for y in TYPES:
                a, b = numbers(n, dtype=x), numbers(n, dtype=y)
                want = a + b  # NumPy has float64 for int32 with float32
                want = want.astype(np.float32) if {x, y} == {np.int32, np.float32} else want
                np.testing.assert_array_equal(f(a, b), (a.astype(want.dtype) + b.astype(want.dtype)))
    assert len(traces) == len(TYPES) ** 2


def test_numbers_beside_arrays_are_run_time_values():
    f, traces = counted(lambda a, x, k: a * x + k)
    for n, x, k in ((20, 2.5, 1), (21, -1.0, 7), (300, 0.5, -3)):
        same(f(numbers(n), x, k), numbers(n) * x + k)
        same(f(a=numbers(n), k=k, x=x), numbers(n) * x + k)
    assert len(traces) == 1
    a = numbers(20, dtype=np.float32)
    same(f(a, np.float32(2.5), np.float32(1)), a * np.float32(2.5) + np.float32(1))
    with pytest.raises(hl.RangeError, match=r"test_jit_arrays.py:\d+: argument k: 9223372036854775808 does not fit int64"):
        f(numbers(20), 1.0, 2**63)
    f(numbers(20), 1.0, 2)
    with pytest.raises(hl.RangeError, match="argument k"):
        f(numbers(20), 1.0, 2**63)


def test_arrays_of_any_layout_are_taken():
    f, traces = counted(lambda a: a * 2 + 1)
    base = numbers(60, 40)
    odd = np.zeros(8 * 100 + 1, np.uint8)[1:].view(np.float64)
    odd[:] = numbers(100)
    frozen = numbers(30)
    frozen.flags.writeable = False
    for array in (base[::2, 3:], base.T, base[::-1, ::-3], np.asfortranarray(base), np.broadcast_to(base[0], (7, 40))):
        same(f(array), array * 2 + 1)
    for array in (odd, frozen, base[:, 3], base[5, ::-1], numbers(50).astype(">f8")):
        np.testing.assert_array_equal(f(array), array * 2 + 1)
    assert len(traces) == 2
    for dtype in (np.int8, np.uint8, np.int16, np.longlong, np.uint32, np.float16):
        array = numbers(50, dtype=np.int32).astype(dtype)
        np.testing.assert_array_equal(f(array), array.astype(np.float64) * 2 + 1)


# ------------------------------------------------------------------------------------- broadcasting


@pytest.mark.parametrize(
    "shapes",
    [
        [((30, 40), (40,)), ((31, 17), (17,)), ((5, 100), (100,))],
        [((30, 1), (40,)), ((9, 1), (100,))],
        [((30, 1), (1, 40)), ((40, 1), (1, 30))],
        [((4, 5, 6), (5, 6)), ((7, 8, 9), (8, 9))],
        [((4, 5, 6), (4, 1, 6)), ((7, 8, 9), (7, 1, 9))],
        [((4, 5, 6), (1,)), ((70, 8, 9), (1,))],
        [((20, 20), (20,)), ((30, 30), (30,))],
        [((1, 20), (1, 20)), ((1, 300), (1, 300))],
    ],
)
def test_shapes_broadcast_as_in_numpy(shapes):
    f, traces = counted(lambda a, b: (a - b) * b)
    for first, second in shapes:
        a, b = numbers(*first), numbers(*second, seed=1)
        same(f(a, b), (a - b) * b)
        same(f(b, a), (b - a) * a)
    assert len(traces) == 1 + (shapes[0][0] != shapes[0][1])


def test_new_axes_and_transposes_trace_for_any_size():
    f, traces = counted(
        lambda a, b: (a[:, None] * b[None, :] + b[..., None].T, a[:], b[None].T, (a[:, None] - b).T.reshape(b.shape[0], -1))
    )
    for n, m in ((20, 30), (100, 3), (2, 70)):
        a, b = numbers(n), numbers(m)
        for x, y in zip(f(a, b), (a[:, None] * b[None, :] + b[..., None].T, a, b[None].T, (a[:, None] - b).T), strict=True):
            same(x, y)
    assert len(traces) == 1


def test_shapes_that_do_not_broadcast_raise_with_numbers():
    f = hl.jit(lambda a, b: a + b)
    for _ in range(2):
        with pytest.raises(hl.ShapeError, match=r"test_jit_arrays.py:\d+: add of shapes \(20,\) and \(30,\): lengths must be equal or 1"):
            f(numbers(20), numbers(30))
    same(f(numbers(20), numbers(20)), numbers(20) * 2)
    with pytest.raises(hl.ShapeError, match=r"add of shapes \(20,\) and \(30,\)"):
        f(numbers(20), numbers(30))
    with pytest.raises(hl.ShapeError, match=r"matrix product of shapes \(5, 20\) and \(30, 5\)"):
        hl.jit(lambda a, b: a @ b)(numbers(5, 20), numbers(30, 5))


def test_lengths_that_are_equal_by_chance_are_no_promise():
    f = hl.jit(lambda a, b, c: (a + 1, b * c))
    for n, m in ((20, 20), (20, 30), (30, 20), (40, 40), (20, 30)):
        a, b, c = numbers(n), numbers(m), numbers(m, seed=1)
        x, y = f(a, b, c)
        same(x, a + 1)
        same(y, b * c)


# --------------------------------------------------------------------------------------- reductions


@pytest.mark.parametrize("axes", [(), (0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (-1,)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_over_axes(axes, keepdims):
    axis = (axes[0] if len(axes) == 1 else axes) if axes else None
    f, traces = counted(
        lambda a: (a.sum(axis, keepdims), a.min(axis, keepdims), a.max(axis, keepdims), hl.norm(a) if keepdims else a.mean(axis))
    )
    normal = tuple(one % 3 for one in axes)
    for shape in ((3, 4, 5), (20, 30, 40), (2, 1100, 3)):
        a = numbers(*shape)
        total, least, most, last = f(a)
        np.testing.assert_array_equal(total, reduced(sh.sum_, a, *normal).reshape(np.shape(total)))
        np.testing.assert_allclose(total, a.sum(axis, keepdims=keepdims), rtol=1e-12, atol=1e-12)
        assert np.shape(total) == a.sum(axis, keepdims=keepdims).shape
        np.testing.assert_array_equal(least, a.min(axis, keepdims=keepdims))
        np.testing.assert_array_equal(most, a.max(axis, keepdims=keepdims))
        np.testing.assert_allclose(last, np.linalg.norm(a) if keepdims else a.mean(axis), rtol=1e-12, atol=1e-13)
    assert len(traces) == 1


@pytest.mark.parametrize("dtype", TYPES)
def test_sums_have_one_order_at_every_size(dtype):
    f, traces = counted(lambda a: (a.sum(), (a * 2).sum()))
    for n in SIZES:
        a = numbers(n, dtype=dtype)
        found = f(a)
        assert [type(x) for x in found] == [float if np.dtype(dtype).kind == "f" else int] * 2
        assert found == (reduced(sh.sum_, a).item(), reduced(sh.sum_, (a * 2).astype(dtype)).item())
    assert len(traces) == 1


def test_products_truths_and_counts():
    f, traces = counted(lambda a: (a.prod(), (a > 0).any(), (a > -4).all(), (a > 0).sum(), hl.any(a), hl.all(a)))
    for n in (17, 50, 200):
        a = 1.0 + numbers(n) / 100
        assert f(a)[1:] == (True, True, n, True, True)
        assert f(a)[0] == reduced(sh.prod, a)
        assert f(-np.ones(n) * 5)[1:4] == (False, False, 0)
    assert len(traces) == 1


@pytest.mark.parametrize("dtype", TYPES)
def test_means_and_deviations_divide_by_the_number_of_this_call(dtype):
    f, traces = counted(lambda a: (a.mean(), a.var(), a.std(ddof=1), hl.mean(a, axis=0), hl.var(a, 1, True), a.sum() / a.shape[1]))
    for shape in ((5, 7), (40, 30), (3, 2000)):
        a = numbers(*shape, dtype=dtype)
        got = f(a)
        want = a.mean(), a.var(), a.std(ddof=1), a.mean(0), a.var(1, keepdims=True), a.sum() / a.shape[1]
        tolerance = 1e-5 if np.dtype(dtype).itemsize == 4 else 1e-12
        for x, y in zip(got, want, strict=True):
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)
    assert len(traces) == 1
    exact = hl.jit(lambda a: a.mean(0))
    a = numbers(100, 7, dtype=dtype)
    same(exact(a), (reduced(sh.sum_, a, 0) / np.asarray(100, dtype)).astype(np.float64 if np.dtype(dtype).itemsize == 8 else np.float32))


def test_places_of_extrema():
    f, traces = counted(lambda a: (a.argmin(), a.argmax(), a.argmin(0), a.argmax(1), hl.argmin(a, 1, True), a.argmax(-2)))
    for shape in ((5, 7), (40, 33), (3, 2000)):
        a = np.round(numbers(*shape))
        for found, want in zip(
            f(a), (a.argmin(), a.argmax(), a.argmin(0), a.argmax(1), a.argmin(1, keepdims=True), a.argmax(-2)), strict=True
        ):
            np.testing.assert_array_equal(found, want)
    assert len(traces) == 1
    a = numbers(50)
    a[[7, 20]] = np.nan
    assert hl.jit(lambda a: (a.argmin(), a.argmax()))(a) == (7, 7)


def test_functions_of_neural_networks():
    f, traces = counted(lambda x, w, b: hl.softmax(hl.layer_norm(hl.gelu(x @ w + b)), axis=1))
    for n, m, k in ((5, 7, 3), (64, 20, 30), (2, 100, 9)):
        x, w, b = numbers(n, m), numbers(m, k), numbers(k)
        np.testing.assert_allclose(f(x, w, b).sum(1), np.ones(n), rtol=1e-12)
        small = hl.jit(lambda x, w, b: hl.softmax(hl.layer_norm(hl.gelu(x @ w + b))), checked=True)  # known shapes
        if n == 5:
            np.testing.assert_allclose(f(x, w, b), small(x, w, b), rtol=1e-11)
    assert len(traces) == 2  # once for arrays of any size, once for the small matrices


def test_products_of_small_matrices_are_written_out_for_their_shapes():
    f, traces = counted(lambda a, b: (a @ b).sum(0) + 1.0)
    for n in (5, 12, 5, 12, 17, 40, 300, 16, 16):
        a, b = numbers(n, n), numbers(n, n)
        np.testing.assert_allclose(f(a, b), (a @ b).sum(0) + 1.0, rtol=1e-11)
    assert len(traces) == 1 + 2  # any size, 5 and 12: once C takes calls of any size, 16 is one of them


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matrix_products(dtype):
    f, traces = counted(lambda a, b, v: (a @ b, a @ v, b.T @ a.T, v.dot(v), hl.dot(v, b) + 1))
    for n, m, k in ((3, 20, 4), (50, 60, 70), (100, 2, 30)):
        a, b, v = numbers(n, m, dtype=dtype), numbers(m, k, dtype=dtype), numbers(m, dtype=dtype)
        for x, y in zip(f(a, b, v), (a @ b, a @ v, b.T @ a.T, v.dot(v), v.dot(b) + 1), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4 if dtype is np.float32 else 1e-12, atol=1e-4 if dtype is np.float32 else 1e-11)
    assert len(traces) == 1


# ---------------------------------------------------------------------------------------- gradients


def test_gradients_of_sums():
    def loss(w, x, y):
        error = hl.tanh(x @ w) - y
        return (error * error).sum() / y.shape[0] + hl.norm(w) * 0.1

    f, traces = counted(lambda w, x, y: hl.grad(loss(w, x, y), w))
    for n, m in ((20, 3), (50, 30), (7, 40)):
        w, x, y = numbers(m), numbers(n, m), numbers(n)
        t = np.tanh(x @ w)
        want = x.T @ (2 * (t - y) * (1 - t * t)) / n + 0.1 * w / np.linalg.norm(w)
        np.testing.assert_allclose(f(w, x, y), want, rtol=1e-9, atol=1e-12)
    assert len(traces) == 1


def test_gradients_through_broadcasting_and_reductions():
    def function(a, b):
        y = hl.where(a > 0, a * b, hl.exp(-a)) / (1 + b * b)
        return y.mean(0).max() + y.max(1).sum() + hl.minimum(y, 0.5).var() + hl.clamp(a, -1.0, 1.0).sum()

    f, traces = counted(lambda a, b: hl.grad(function(a, b), (a, b)))
    for n, m in ((4, 5), (20, 30), (60, 7)):
        a, b = numbers(n, m), numbers(m, seed=1)
        by_a, by_b = f(a, b)
        assert (by_a.shape, by_b.shape) == (a.shape, b.shape)
        for direction in range(2):
            da, db = numbers(n, m, seed=2 + direction), numbers(m, seed=4 + direction)
            value = hl.jit(function)
            slope = (value(a + 1e-6 * da, b + 1e-6 * db) - value(a - 1e-6 * da, b - 1e-6 * db)) / 2e-6
            assert slope == pytest.approx((by_a * da).sum() + (by_b * db).sum(), rel=1e-5, abs=1e-6)
    assert len(traces) == 1


def test_derivatives_of_what_does_not_depend_are_zeros():
    f, traces = counted(lambda a, b: (hl.grad(a * 2, (a, b)), hl.jvp(a * a, a, b)))
    for n in (20, 300):
        a, b = numbers(n), numbers(n, seed=1)
        (by_a, by_b), along = f(a, b)
        same(by_a, np.full(n, 2.0))
        same(by_b, np.zeros(n))
        same(along, 2 * (a * b))
    assert len(traces) == 1


# ------------------------------------------------------------------------------ containers and results


@dataclasses.dataclass
class Layer:
    weights: np.ndarray
    bias: float = 0.5


def test_containers_of_arrays_are_of_any_size_too():
    f, traces = counted(lambda p, x, c: {"y": [x * p["w"] + p["b"][0]], "last": (p["layer"].weights + c[2], None, "text")})
    for n in (20, 33, 1000):
        w, x = numbers(n), numbers(n, seed=1)
        got = f({"w": w, "b": [2.5, None], "layer": Layer(w)}, x, [1, 2, 3])
        same(got["y"][0], x * w + 2.5)
        same(got["last"][0], w + 3)
        assert got["last"][1:] == (None, "text")
    assert len(traces) == 1


def test_a_container_is_no_array():
    @dataclasses.dataclass
    class One:
        x: np.ndarray

    f = hl.jit(lambda a: a.x * 2 if isinstance(a, One) else a["x"] * 3 if isinstance(a, dict) else a * 5)
    for n in (20, 30):
        for item in (numbers(n), 1.5):
            for _ in range(2):
                same(f(One(item)), item * 2)
                same(f({"x": item}), item * 3)
                same(f(item), item * 5)


def test_long_lists_of_numbers_beside_arrays():
    f, traces = counted(lambda x, c: sum(x**k * a for k, a in enumerate(c)))
    for n in (20, 30):
        for shift in (0.0, 1.0):
            c = [0.5 + shift * k for k in range(9)]
            np.testing.assert_allclose(f(numbers(n), c), np.polyval(c[::-1], numbers(n)), rtol=1e-12, atol=1e-9)
    assert len(traces) == 1


def test_static_arguments_defaults_and_methods():
    f, traces = counted(lambda x, mode, k=2.0: x * k if mode == "scale" else x + k, static="mode")
    for n in (20, 30, 40):
        same(f(numbers(n), "scale"), numbers(n) * 2.0)
        same(f(numbers(n), mode="add", k=1), numbers(n) + 1)
    assert len(traces) == 2

    class Filter:
        def __init__(self, gain):
            self.gain = gain

        @hl.jit
        def apply(self, x):
            return x * self.gain

    for gain in (2.0, 3.0):
        one = Filter(gain)
        for n in (20, 30):
            same(one.apply(numbers(n)), numbers(n) * gain)


def test_captured_values_that_change_are_seen():
    scale = 2.0
    f, traces = counted(lambda x: x * scale)
    g = hl.jit(lambda x: x * scale)
    for scale in (2.0, 5.0, 7.0, 2.0):
        same(g(numbers(20)), numbers(20) * scale)
        same(g(numbers(30)), numbers(30) * scale)
    assert f(numbers(20))[0] == numbers(20)[0] * 2.0
    assert traces


def test_arguments_and_constants_as_results_are_copies():
    f, traces = counted(lambda a, b, k: (a, b * k, a, 5, b * k, hl.ones(2), k))
    for n in (20, 30):
        a, b = numbers(n), numbers(n, seed=1)
        got = f(a, b, 2.5)
        for x, y in zip(got, (a, b * 2.5, a, 5, b * 2.5, np.ones(2), 2.5), strict=True):
            same(x, y)
        assert not any(np.shares_memory(x, y) for x in got for y in (a, b))
        assert not np.shares_memory(got[0], got[2])
        assert not np.shares_memory(got[1], got[4])
    identity, constant = hl.jit(lambda a: a), hl.jit(lambda a: hl.zeros(3))
    for n in (20, 30):
        same(identity(numbers(n)), numbers(n))
        same(constant(numbers(n)), np.zeros(3))
    assert len(traces) == 1


def test_results_are_new_arrays_that_outlive_the_function():
    f = hl.jit(lambda a: a + 1)
    kept = [f(np.full(5000, float(k))) for k in range(20)]
    del f
    gc.collect()
    assert [array[0] for array in kept] == [k + 1.0 for k in range(20)]
    assert all(array.flags.writeable and array.flags.c_contiguous for array in kept)


def test_zeros_and_ones_of_the_shape_of_an_array():
    f, traces = counted(lambda a: (hl.zeros(a.shape), hl.ones(a.shape) + a, hl.full(a.shape, 3) * a))
    for n in (20, 30):
        for x, y in zip(f(numbers(n)), (np.zeros(n), 1 + numbers(n), 3 * numbers(n)), strict=True):
            same(x, y)
    assert len(traces) == 1


def test_a_call_inside_another_program_is_part_of_it():
    inner = hl.jit(lambda a: a * 2)
    inner(numbers(20))
    outer, traces = counted(lambda a, b: inner(a) + inner(b).sum())
    for n in (20, 30):
        same(outer(numbers(n), np.ones(n)), numbers(n) * 2 + 2.0 * n)
    assert len(traces) == 1


# -------------------------------------------------------------------------------- random programs

STEPS = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "div": lambda x, y: x / (abs(y) + 1.0),
    "maximum": hl.maximum, "where": lambda x, y: hl.where(x > y, x, y * 0.5), "sin": lambda x, y: hl.sin(x),
    "root": lambda x, y: hl.sqrt(abs(y)), "floor": lambda x, y: hl.floor(x * 3.0), "less": lambda x, y: (x < y) * 2.0,
    "whole": lambda x, y: (x * 4.0).astype("int32") * 0.25,
}  # fmt: skip
SUMMARIES = {
    "sum": lambda x, y: x.sum(), "rows": lambda x, y: x.sum(-1, True), "columns": lambda x, y: x.max(0), "mean": lambda x, y: y.mean(),
    "least": lambda x, y: x - y.min(-1, True), "first": lambda x, y: x.argmax() * 0.5, "norm": lambda x, y: x / hl.norm(y),
}  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from([*STEPS, *SUMMARIES]), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8),
    st.sampled_from([np.float32, np.float64]), st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=3),
)  # fmt: skip
def test_any_size_has_the_bits_of_the_reference(steps, dtype, shapes):
    def function(a, b, c, k):
        values = [a, b, c, a * k]
        for name, i, j in steps:
            x, y = values[i % len(values)], values[j % len(values)]
            if name in STEPS or all(isinstance(item, hl.tensor | hl.vector) for item in (x, y)):
                values.append((STEPS | SUMMARIES)[name](x, y))
        return tuple(values[4:]) or (a + b,)

    f = hl.jit(function)
    meaning = hl.jit(lambda a, b, c, k: function(a, b, c, k))
    for n, m in [*shapes, (20, 33)]:
        arguments = numbers(n, m, dtype=dtype), numbers(m, dtype=dtype, seed=1), numbers(n, 1, dtype=dtype, seed=2), dtype(1.5)
        got = f(*arguments)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOTLOOP_TARGET_ARCH", "reference")
            want = meaning(*arguments)
        for x, y in zip(got, want, strict=True):
            same(x, y)


# ---------------------------------------------------------------------------- where sizes must be known


def _swallowing(a):
    try:
        return a * len(a)
    except Exception:
        return a * 1000


def _chosen_by_equality(a):
    return a * 2 if a.shape == (20,) else a * 3


FIXED = {
    "length": (lambda a: a * len(a), lambda a: a * len(a)),
    "elements": (lambda a: a / a.size(), lambda a: a / a.size),
    "number of rows": (lambda a: a * (a.shape[0] - 1), lambda a: a * (a.shape[0] - 1)),
    "power": (lambda a: a ** (a.shape[0] // 10), lambda a: a ** (a.shape[0] // 10)),
    "power of a length": (lambda a: a * a.shape[0] ** 2, lambda a: a * a.shape[0] ** 2),
    "text": (lambda a: a * int(f"{a.shape[0]}"), lambda a: a * a.shape[0]),
    "table": (lambda a: a * {20: 5, 30: 6}.get(a.shape[0], 7), lambda a: a * {20: 5, 30: 6}.get(a.shape[0], 7)),
    "iteration": (lambda a: a * sum(x for x in a), lambda a: a * float(sum(a))),
    "element": (lambda a: a * a[3], lambda a: a * a[3]),
    "slice": (lambda a: a[1:] - a[:-1], lambda a: a[1:] - a[:-1]),
    "reversed": (lambda a: a[::-1] + 1, lambda a: a[::-1] + 1),
    "mask": (lambda a: a * hl.arange(a.shape[0]), lambda a: a * np.arange(a.shape[0])),
    "numpy": (lambda a: a + np.ones(a.shape), lambda a: a + 1),
    "numpy range": (lambda a: a + np.arange(a.shape[0]), lambda a: a + np.arange(a.shape[0])),
    "reshape": (lambda a: a.reshape(2, -1) + 1, lambda a: a.reshape(2, -1) + 1),
    "flat": (lambda a: (a[:, None] * a).flatten(), lambda a: (a[:, None] * a).flatten()),
    "joined": (lambda a: hl.concat([a, a * 2]), lambda a: np.concatenate([a, a * 2])),
    "swallowed": (_swallowing, lambda a: a * len(a)),
    "compared": (_chosen_by_equality, lambda a: a * 2 if a.shape == (20,) else a * 3),
    "captured array": (lambda a: a * TABLE[: a.shape[0]], lambda a: a * TABLE[: a.shape[0]]),
    "checked": (lambda a: hl.checked(a * 2), lambda a: a * 2),
    "sorted": (lambda a: hl.sort(a), np.sort),
    "loop": (lambda a: hl.loop(3, lambda x: x * 0.5 + 1, a), lambda a: ((a * 0.5 + 1) * 0.5 + 1) * 0.5 + 1),
}
TABLE = np.linspace(0.0, 1.0, 50)


@pytest.mark.parametrize("name", FIXED)
def test_what_needs_the_sizes_is_traced_for_each_shape(name):
    function, plain = FIXED[name]
    f = hl.jit(function)
    for n in (20, 30, 20):
        np.testing.assert_allclose(f(numbers(n)), plain(numbers(n)), rtol=1e-12)


def test_it_is_traced_for_any_size_only_once():
    f, traces = counted(lambda a: a * len(a))
    for n in (20, 30, 40, 20, 30):
        same(f(numbers(n)), numbers(n) * n)
    assert len(traces) == 1 + 3


def test_shapes_may_be_compared():
    def function(a, b):
        return a * b if a.shape == b.shape else a.sum() + b

    f, traces = counted(function)
    for n in (20, 30, 40):
        same(f(numbers(n), numbers(n, seed=1)), numbers(n) * numbers(n, seed=1))
    assert len(traces) == 1
    for n, m in ((20, 30), (30, 20), (50, 50)):
        a, b = numbers(n), numbers(m)
        np.testing.assert_allclose(f(a, b), a * b if n == m else a.sum() + b, rtol=1e-12)


def test_checked_functions_and_the_reference_know_their_shapes(monkeypatch):
    f = hl.jit(lambda a, b: a / b, checked=True)
    same(f(np.ones(20), np.full(20, 2.0)), np.full(20, 0.5))
    with pytest.raises(hl.DivisionByZero, match=r"test_jit_arrays.py:\d+: division by zero"):
        f(np.ones(20), np.zeros(20))
    monkeypatch.setenv("HOTLOOP_TARGET_ARCH", "reference")
    g, traces = counted(lambda a: a * 2)
    for n in (20, 30):
        same(g(numbers(n)), numbers(n) * 2)
    assert len(traces) == 2


def test_values_of_other_programs_keep_their_numbers():
    gain = hl.value(3.0)
    f = hl.jit(lambda a: a * gain)
    for n in (20, 30):
        same(f(numbers(n)), numbers(n) * 3.0)


def test_errors_of_the_function_come_out():
    def function(a, fail):
        if fail:
            raise KeyError("mine")
        return a * 2

    f, traces = counted(function, static="fail")
    with pytest.raises(KeyError, match="mine"):
        f(numbers(20), True)
    assert len(traces) == 1
    same(f(numbers(20), False), numbers(20) * 2)
    with pytest.raises(hl.TruthError, match=r"test_jit_arrays.py:\d+: a traced array of shape \(20,\) has no truth"):
        hl.jit(lambda a: 1 if a > 0 else 2)(numbers(20))


# ---------------------------------------------------------------------------------------------- out=


@pytest.mark.parametrize("n", [5, 20, 3000])
def test_results_are_written_to_given_arrays(n):
    f = hl.jit(lambda a, b: a * b + 1)
    a, b, out = numbers(n), numbers(n, seed=1), np.zeros(n)
    for _ in range(3):
        out[:] = 0
        assert f(a, b, out=out) is out
        same(out, a * b + 1)
    assert f(a, b=b, out=out) is out
    assert f(a, b, out=None) is not out
    strided = np.zeros((n, 3))
    assert np.shares_memory(f(a, b, out=strided[:, 1]), strided)
    same(strided[:, 1], a * b + 1)
    assert not strided[:, 0].any()


@pytest.mark.parametrize("n", [5, 20, 3000])
def test_several_results_take_a_tuple(n):
    f = hl.jit(lambda a, b: (a + b, a - b, (a * b).sum(), a, a + b))
    a, b = numbers(n), numbers(n, seed=1)
    first, second, third, last = (np.zeros(n) for _ in range(4))
    for out in ((first, second, None, third, last), (None, second, None, None, last), (first, None, None, third, None)):
        for array in (first, second, third, last):
            array[:] = 0
        got = f(a, b, out=out)
        for x, array, y in zip(got, out, (a + b, a - b, None, a, a + b), strict=True):
            assert array is None or x is array
            if y is not None:
                same(x, y)
    assert isinstance(got[2], float)


@pytest.mark.parametrize("n", [5, 20, 40000])
def test_given_arrays_may_be_arguments(n):
    f = hl.jit(lambda a, b: a * 2 + b)
    for _ in range(2):
        a, b = numbers(n), numbers(n, seed=1)
        want = a * 2 + b
        same(f(a, b, out=a), want)
        line = numbers(n + 1)
        want = line[:-1] * 2 + b
        same(f(line[:-1], b, out=line[1:]), want)
    swap = hl.jit(lambda a, b: (b, a + 0))
    a, b = numbers(n), numbers(n, seed=1)
    x, y = a.copy(), b.copy()
    swap(a, b, out=(a, b))
    same(a, y)
    same(b, x)


@pytest.mark.parametrize("n", [5, 20])
def test_arrays_that_do_not_fit_are_refused(n):
    f = hl.jit(lambda a: a * 2)
    place = r"test_jit_arrays.py:\d+: out of <lambda>\(\) "
    needed = rf"\. Needed is an array of float64 and shape \({n},\)\."
    frozen = np.zeros(n)
    frozen.flags.writeable = False
    cases = [
        (np.zeros(n + 1), hl.ShapeError, rf"has shape \({n + 1},\){needed}"),
        (np.zeros((n, 1)), hl.ShapeError, rf"has shape \({n}, 1\){needed}"),
        (np.zeros(n, np.float32), hl.TypeMismatch, rf"has elements of float32{needed}"),
        ([0.0] * n, hl.TypeMismatch, rf"is of type list{needed}"),
        (frozen, hl.NotWritable, "is read-only. Needed is an array that can be written"),
    ]
    for out, kind, text in cases:
        with pytest.raises(kind, match=place + text):
            hl.jit(lambda a: a * 2)(numbers(n), out=out)
        with pytest.raises(kind, match=place + text):
            f(a=numbers(n), out=out)
    f(numbers(n))
    for out, kind, _ in cases:
        with pytest.raises(kind, match="out"):
            f(numbers(n), out=out)
    same(f(numbers(n)), numbers(n) * 2)


@pytest.mark.parametrize("n", [5, 20])
def test_out_of_several_results_says_which_does_not_fit(n):
    f = hl.jit(lambda a: (a * 2, a.sum(), 5))
    text = r"<lambda>\(\) returns 3 results, so out= is a tuple of 3 arrays \(None: a new one\), not"
    for out in (np.zeros(n), [None] * 3, (None, None)):
        with pytest.raises(hl.TypeMismatch, match=text):
            f(numbers(n), out=out)
    for k in (1, 2):
        with pytest.raises(hl.TypeMismatch, match=rf"out\[{k}\] of <lambda>\(\): this result is no array.* Use None"):
            f(numbers(n), out=tuple([np.zeros(()) if i == k else None for i in range(3)]))
    with pytest.raises(hl.TypeMismatch, match=r"<lambda>\(\) returns a dict of results, for which there is no out="):
        hl.jit(lambda a: {"y": a * 2})(numbers(n), out=np.zeros(n))
    with pytest.raises(hl.TypeMismatch, match=r"out of <lambda>\(\): this result is no array"):
        hl.jit(lambda a: a.sum())(numbers(n), out=np.zeros(()))


def test_functions_with_an_out_of_their_own_keep_it():
    own = hl.jit(lambda a, out=1.0: a * out)
    more = hl.jit(lambda a, **rest: a * rest["out"])
    for n in (20, 30):
        for f in (own, more):
            same(f(numbers(n), out=2.0), numbers(n) * 2)
            same(f(numbers(n), out=numbers(n)), numbers(n) * numbers(n))
        same(own(numbers(n)), numbers(n))
    plain = hl.jit(lambda a: a * 2)
    with pytest.raises(hl.TraceError, match=r"test_jit_arrays.py:\d+: <lambda>\(\) has traced arguments, so there is nothing to write"):
        plain(hl.value(1.0), out=np.zeros(1))


# ------------------------------------------------------------------------------------ threads, memory


def test_the_number_of_threads_is_set_and_changes_no_bit():
    before = hl.get_threads()
    assert before >= 1
    f = hl.jit(lambda a: (hl.exp(a) * a, (a * 0.1).sum(), a.max()))
    a = numbers(300_000, dtype=np.float32)
    found = []
    try:
        for count in (1, 2, 3, 8):
            hl.set_threads(count)
            assert hl.get_threads() == count
            found.append(f(a))
    finally:
        hl.set_threads(before)
    for got in found[1:]:
        same(got[0], found[0][0])
        assert got[1:] == found[0][1:]


def test_wrong_numbers_of_threads_are_refused():
    for count in (0, -1):
        with pytest.raises(hl.RangeError, match=rf"test_jit_arrays.py:\d+: {count} threads: from 1 to \d+ can run"):
            hl.set_threads(count)
    with pytest.raises(hl.RangeError, match="1000000 threads: from 1 to"):
        hl.set_threads(10**6)
    for count in ("2", 2.0, None):
        with pytest.raises(hl.TypeMismatch, match=r"test_jit_arrays.py:\d+: a number of threads is an int, not "):
            hl.set_threads(count)
    hl.set_threads(np.int64(hl.get_threads()))


def test_threads_may_call_at_once():
    f = hl.jit(lambda a, k: (a * k).sum() + a)
    wrong = []

    def work(seed):
        for i in range(40):
            n = 17 + (seed * 7 + i * 131) % 3000
            a = np.full(n, 0.5)
            if not np.array_equal(f(a, seed), a * seed * n + a):
                wrong.append(n)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_functions_of_arrays_that_are_dropped_are_freed():
    references = []
    for k in range(20):
        f = hl.jit(lambda a, k=k: a + k)
        f(np.zeros(20))
        f(np.zeros(30))
        references.append(weakref.ref(f))
    del f
    gc.collect()
    assert not any(reference() for reference in references)


def test_wild_calls_raise_and_never_kill():
    f = hl.jit(lambda a, b: a @ b + a.sum())
    shapes = [(0, 5), (20, 20), (20,), (1, 20), (2,) * 9, (3, 0), ()]
    odd = [*map(np.zeros, shapes), *[np.zeros(20, kind) for kind in (object, complex, bool)], 1.0, None, [1.0] * 20, np.float32(1), "text"]
    for _ in range(2):
        for a in odd:
            for b in odd:
                with contextlib.suppress(hl.HotloopError, TypeError, ValueError, AttributeError):
                    f(a, b)
    same(f(np.eye(20), np.ones(20)), np.ones(20) + 20.0)
