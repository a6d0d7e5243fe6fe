"""`_runner.ArrayFunction`: kernels over arrays of every size, layout and overlap, on any number of threads."""

import platform

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.array_kernels import (
    RESULT,
    SCALAR,
    binary,
    combine,
    kernel,
    make,
    numbers,
    ordered_sum,
    same,
    scale,
    stream,
    through_python,
    total,
)  # fmt: skip

from hotloop import _runner
from hotloop.errors import NotWritable, RangeError, ShapeError, TypeMismatch

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of this file are x86-64 code")

SIZES = (0, 1, 2, 7, 8, 31, 32, 33, 1000, 32768, 32769, 1_000_003)


@pytest.fixture(autouse=True)
def _same_threads():
    before = _runner.get_threads()
    yield
    _runner.set_threads(before)


# ------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("kind", "fdl")
@pytest.mark.parametrize("size", SIZES)
def test_a_map_reaches_every_element_and_no_other(kind, size):
    function, x, y = binary(kind), numbers(size, kind), numbers(size, kind, 1)
    same(function(x, y), x + y)
    fence = np.full(size + 64, 77, kind)
    out = fence[32 : 32 + size]
    assert function(x, y, out=out) is out
    same(out, x + y)
    assert (fence[:32] == 77).all()
    assert (fence[32 + size :] == 77).all()


def test_small_types_have_their_own_strides():
    x, y = numbers(1000, "?"), numbers(1000, "?", 1)
    same(binary("?")(x[::-3], y[::3]), x[::-3] & y[::3])
    x, y = numbers(1000, "h"), numbers(1000, "h", 1)
    same(binary("h")(x[::-3], y[::3]), x[::-3] - y[::3])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_reductions_have_one_order_on_any_number_of_threads(size, threads):
    _runner.set_threads(threads)
    assert _runner.get_threads() == threads
    x = numbers(size)
    if not size:
        assert total()(x) == ("fallback", (x,), {})
        return
    assert np.float32(total()(x)) == ordered_sum(x)
    assert np.float32(total(cost=100_000)(x)) == ordered_sum(x)
    whole = numbers(size, "l")
    assert total("l")(whole) == whole.sum()


def test_partial_results_are_reduced_in_chunks_as_well():
    """More than 32768 partial results need memory of 4 GiB, but not if one element is all of it."""
    x = np.broadcast_to(np.int64(3), (32768, 33000))
    _runner.set_threads(2)
    assert total("l", rank=2)(x) == 3 * x.size


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_maps_are_shared_by_threads(threads):
    _runner.set_threads(threads)
    x, y = numbers(300_001), numbers(300_001, seed=1)
    same(binary(cost=100_000)(x, y), x + y)
    same(binary(cost=100_000)(x[::-1], y), x[::-1] + y)
    same(binary(rank=2, cost=10**6)(x[:300_000].reshape(500, 600).T, y[:300_000].reshape(600, 500)),
         x[:300_000].reshape(500, 600).T + y[:300_000].reshape(600, 500))  # fmt: skip


# ----------------------------------------------------------------------------------------- layouts


def misaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    moved = raw[1 : 1 + array.nbytes].view(array.dtype).reshape(array.shape)
    moved[...] = array
    assert array.size == 0 or not moved.flags.aligned
    return moved


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "dense": lambda a: a,
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "reversed rows": lambda a: a[::-1].copy()[::-1],
    "every second": lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
    "part of longer rows": lambda a: np.pad(a, ((1, 2), (3, 4)))[1:-2, 3:-4],
    "every third row": lambda a: np.repeat(a, 3, 0)[::3],
    "Fortran": np.asfortranarray,
    "misaligned": misaligned,
    "read-only": read_only,
    "field": lambda a: np.rec.fromarrays([a, a], names="a,b").a.view(np.ndarray),
}
OUTS = [name for name in LAYOUTS if name != "read-only"]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (1, 70), (70, 1), (33, 31), (3, 5000), (700, 2), (130, 130)])
@pytest.mark.parametrize("kind", "fl")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_is_read_and_written(layout, kind, shape):
    function, x, y = binary(kind, rank=2), numbers(shape, kind), numbers(shape, kind, 1)
    same(function(LAYOUTS[layout](x), y), x + y)
    same(function(y, LAYOUTS[layout](x)), x + y)
    if layout in OUTS:
        out = LAYOUTS[layout](np.zeros(shape, kind))
        assert function(x, y, out=out) is out
        same(out, x + y)
        same(function(LAYOUTS[layout](x), LAYOUTS[layout](y), out=out), x + y)


@pytest.mark.parametrize(("first", "second"), [((0, 1), (-1, 1)), ((0, 1), (0, -1)), ((-1, 1), (0, -1)), ((0, 1), (-1, -1))])
@pytest.mark.parametrize("shape", [(5, 7), (1, 600), (600, 1), (20, 3000), (0, 4)])
def test_axes_of_length_one_are_broadcast(first, second, shape):
    x = numbers([length if dim >= 0 else 1 for length, dim in zip(shape, first, strict=True)])
    y = numbers([length if dim >= 0 else 1 for length, dim in zip(shape, second, strict=True)], seed=1)
    function = binary(rank=2, first=first, second=second)
    same(function(x, y), x + y)
    same(function(x[::-1, ::-1], y), x[::-1, ::-1] + y)


def test_strides_of_nothing_are_no_strides():
    x = np.broadcast_to(np.float32(2), (3, 40000))
    same(binary(rank=2)(x, x), x + x)


@given(st.data())
def test_any_view_of_any_rank_is_walked(data):
    rank = data.draw(st.integers(0, 4))
    shape = data.draw(st.lists(st.integers(0, 9), min_size=rank, max_size=rank))
    steps = data.draw(st.lists(st.sampled_from([1, 2, -1, -3]), min_size=rank, max_size=rank))
    order = data.draw(st.permutations(range(rank)))
    whole = numbers([length * 3 for length in shape])
    x = whole[(..., *(slice(None, None, step) for step in steps))][(..., *(slice(0, length) for length in shape))].transpose(order)
    y = numbers(x.shape, seed=1)
    np.testing.assert_array_equal(binary(rank=rank)(x, y), x + y)


def test_a_result_without_dimensions_is_a_number():
    function = binary("d", rank=0)
    result = function(np.array(1.5), np.array(2.0))
    assert result == 3.5
    assert type(result) is float
    out = np.zeros(())
    assert function(np.array(1.5), np.array(2.0), out=out) is out
    assert out == 3.5
    assert type(binary("l", rank=0)(np.array(1), np.array(2))) is int
    assert binary("?", rank=0)(np.array(True), np.array(True)) is True


# -------------------------------------------------------------------------------- axis reductions


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 1), (1, 40), (7, 32768), (3, 70000), (70000, 3), (300, 300)])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("threads", [1, 3])
def test_reductions_over_an_axis_keep_the_other(shape, axis, threads):
    _runner.set_threads(threads)
    axes = (1, 0) if axis == 0 else (0, 1)
    x = numbers(shape)
    want = np.array([ordered_sum(row) for row in np.ascontiguousarray(np.moveaxis(x, axis, 1))])
    function = total(rank=2, kept=1, axes=axes, cost=10_000)
    same(function(x), want)
    same(function(np.asfortranarray(x)), want)
    out = np.zeros(2 * len(want), "f")[::2]
    assert function(x, out=out) is out
    same(out, want)


def test_reductions_of_nothing_fall_back_and_reductions_to_nothing_do_nothing():
    function = total(rank=2, kept=1)
    empty = np.zeros((3, 0), "f")
    assert function(empty)[0] == "fallback"
    assert function(np.zeros((0, 3), "f")).shape == (0,)
    assert total(rank=2)(np.zeros((0, 3), "f"))[0] == "fallback"


def test_three_dimensions_reduce_in_any_order():
    x = numbers((4, 50, 6), "l")
    for axes, axis in [((0, 1, 2), (1, 2)), ((1, 0, 2), (0, 2)), ((2, 1, 0), (0, 1))]:
        same(total("l", rank=3, kept=1, axes=axes)(x), x.sum(axis=axis))
    same(total("l", rank=3, kept=2, axes=(2, 0, 1))(x), x.sum(axis=1).T)


# ------------------------------------------------------------------------------------------ scalars


def test_numbers_reach_the_kernel_in_its_own_type():
    x = np.arange(11)
    same(scale("d", "d", "d", "scale_f64")(x.astype("d"), 2.5), x * 2.5)
    same(scale("f", "d", "f", "scale_f32")(x.astype("f"), 0.1), x.astype("f") * np.float32(0.1))
    same(scale("f", "q", "f", "scale_f32")(x.astype("f"), 2**24 + 1), x.astype("f") * np.float32(2**24 + 1))
    same(scale("i", "q", "i", "scale_i32")(x.astype("i"), -3), x.astype("i") * np.int32(-3))
    same(scale("q", "?", "l", "scale_i64")(x, True), x)
    with pytest.raises(RangeError, match="2147483648 does not fit int32"):
        scale("i", "q", "i", "scale_i32")(x.astype("i"), 2**31)


@pytest.mark.parametrize(("number", "good", "bad"), [
    ("d", 1.5, (1, True, np.float64(1.5), np.float32(1), "a", None)), ("q", 2, (1.0, True, np.int64(2), 2**63)), ("?", True, (1, np.True_)),
    ("nd", np.float64(1.5), (1.5, np.float32(1.5), np.array(1.5))), ("nf", np.float32(1.5), (1.5, np.float64(1.5))),
    ("nq", np.int64(2), (2, np.int32(2), True)), ("ni", np.int32(2), (2, np.int64(2))), ("n?", np.True_, (True, 1)),
])  # fmt: skip
def test_only_numbers_of_the_exact_type_match(number, good, bad):
    function, x = scale("d", number, "d", "scale_f64"), np.arange(3.0)
    same(function(x, good), x * good)
    for other in bad:
        assert function(x, other)[0] == "fallback"


def test_sizes_and_single_elements_are_scalars_too():
    scalars = ((SCALAR, "q", ("size", (0, 0))),)
    stage = kernel("scale_i64", 4, (0,), (stream(0, 0, (0,), 8),), (stream(1, 1, (0,), 8),), scalars=scalars)
    function = make((("array", "l", (0,)),), (("l", (0,), ("argument", 0)), ("l", (0,), ("result", 0))), (stage,))
    x = np.arange(7)
    same(function(x), x * 49)
    scalars = ((SCALAR, "d", ("buffer", 1)),)
    stage = kernel("scale_f64", 4, (0,), (stream(0, 0, (0,), 8),), (stream(1, 2, (0,), 8),), scalars=scalars)
    buffers = ("d", (0,), ("argument", 0)), ("f", (-1, -1), ("argument", 1)), ("d", (0,), ("result", 0))
    function = make((("array", "d", (0,)), ("array", "f", (-1, -1))), buffers, (stage,))
    same(function(x * 1.0, np.full((1, 1), 0.5, "f")), x * 0.5)
    assert function(x * 1.0, np.full((1, 2), 0.5, "f"))[0] == "fallback"


# ------------------------------------------------------------------------------------------ matching


def test_what_does_not_match_goes_to_the_fallback():
    function, x = binary(rank=2, second=(1, 0)), np.ones((2, 3), "f")
    same(function(x, np.ones((3, 2), "f").T.T.copy()), x + 1)
    for wrong in (np.ones((2, 3), "f"), np.ones(6, "f"), np.ones((3, 2)), np.ones((3, 2), ">f4"), np.ones((3, 2), "f").view(np.matrix),
                  np.ones((3, 2)).tolist(), None, 1.0):  # fmt: skip
        answer = function(x, wrong)
        assert answer[0] == "fallback"
        assert answer[1][1] is wrong
    assert function(x) == ("fallback", (x,), {})
    assert function(x, x, x)[0] == function(x=1)[0] == function()[0] == "fallback"
    assert function(x, None, out=x) == ("fallback", (x, None), {"out": x})
    assert function(x, x, where=True, out=None)[2] == {"where": True, "out": None}


def test_both_types_of_64_bits_are_one():
    x = np.arange(5, dtype="q")
    same(binary("l")(x, x.astype("l")), x + x)
    out = np.zeros(5, "q")
    assert binary("l")(x, x, out=out) is out


def test_a_fallback_may_raise():
    def refuse(*_):
        raise KeyError("no")

    function = make((("array", "f", (0,)),), (), (), (), False, refuse)
    assert function(np.ones(3, "f")) == ()
    with pytest.raises(KeyError, match="no"):
        function(1)


# --------------------------------------------------------------------------------------------- out=


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros(4, "f"), ShapeError, r"^out has shape \(4,\), the result 0 has \(3,\)$"),
        (np.zeros((3, 1), "f"), ShapeError, r"out has shape \(3, 1\)"),
        (np.zeros((), "f"), ShapeError, r"out has shape \(\)"),
        (np.zeros(3, "d"), TypeMismatch, "^out has dtype float64, the result 0 has float32$"),
        (np.zeros(3, ">f4"), TypeMismatch, "out has dtype >f4"),
        (read_only(np.zeros(3, "f")), NotWritable, "^out is read-only$"),
        ([0.0] * 3, TypeMismatch, "out must be an array, or a tuple .*; list is not"),
        (np.zeros(3, "f").view(np.matrix), TypeMismatch, "matrix is not"),
        ((), TypeMismatch, "out must be a tuple with an array or None for each of 1 results"),
        ((None, None), TypeMismatch, "for each of 1 results"),
        ((3,), TypeMismatch, "int is not"),
    ],
)
def test_a_wrong_out_is_refused(out, error, message):
    x = np.ones(3, "f")
    with pytest.raises(error, match=message):
        binary()(x, x, out=out)


def test_out_may_be_none_or_a_tuple():
    function, x, out = binary(), np.ones(3, "f"), np.zeros(3, "f")
    same(function(x, x, out=None), x + x)
    same(function(x, x, out=(None,)), x + x)
    assert function(x, x, out=(out,)) is out
    assert function(*(x, x), **{"out": out}) is out


@pytest.mark.parametrize("size", [5, 1000, 100_000])
@pytest.mark.parametrize("shift", [0, 1, -1, 3, 8, 500])
def test_out_may_overlap_the_arguments(size, shift):
    memory = numbers(size + 1000)
    x, out = memory[500 : 500 + size], memory[500 + shift : 500 + shift + size]
    y = numbers(size, seed=1)
    want = x + y
    assert binary()(x, y, out=out) is out
    same(out, want)


@pytest.mark.parametrize("view", [lambda a: a[::-1], lambda a: a.T, lambda a: a[::-1, ::-1], lambda a: a])
def test_out_may_be_another_view_of_an_argument(view):
    x, y = numbers((60, 60)), numbers((60, 60), seed=1)
    want = x + y
    binary(rank=2)(x, y, out=view(x))
    same(view(x), want)
    x = numbers((60, 60))
    want = view(x) + view(x)
    binary(rank=2)(view(x), view(x), out=view(x))
    same(view(x), want)


def test_a_broadcast_argument_is_not_overwritten_before_it_is_read():
    x = numbers((50, 50))
    want = x[:1] + x
    same(binary(rank=2, first=(-1, 1))(x[:1], x, out=x), want)
    row = np.ones((1, 1), "f")
    same(binary(rank=2, first=(-1, 1))(row, row, out=row), np.full((1, 1), 2, "f"))


def test_out_of_one_element_for_all_is_written_without_harm():
    memory = np.zeros(1, "f")
    out = np.lib.stride_tricks.as_strided(memory, (9,), (0,))
    binary()(np.ones(9, "f"), np.ones(9, "f"), out=out)
    assert memory[0] == 2


def two_results():
    """x + y, then the sum of x: the second stage reads what `out` of the first may not overwrite."""
    first = kernel("add_f32", 8, (0,), (stream(0, 0, (0,), 4), stream(1, 1, (0,), 4)), (stream(2, 2, (0,), 4),))
    second = kernel("sum_f32", 32, (0,), (stream(0, 0, (0,), 4),), (), reductions=((3, RESULT, 4, 0),), kept=0)
    buffers = ("f", (0,), ("argument", 0)), ("f", (0,), ("argument", 1)), ("f", (0,), ("result", 0)), ("f", (), ("result", 1))
    return make((("array", "f", (0,)), ("array", "f", (0,))), buffers, (first, second), single=False, combines=(combine("combine_f32"),))


def test_out_does_not_change_what_later_stages_read():
    function, x, y = two_results(), numbers(3000), numbers(3000, seed=1)
    want, sums = x + y, ordered_sum(x)
    got = function(x, y, out=(x, None))
    assert got[0] is x
    same(x, want)
    assert np.float32(got[1]) == sums
    single = np.zeros((), "f")
    got = function(y, y, out=(y, single))
    assert got[1] is single
    assert single == ordered_sum(numbers(3000, seed=1))
    got = function(y, y, out=(None, y[5:6].reshape(())))
    assert y[5] == got[1]
    with pytest.raises(ShapeError, match=r"the result 1 has \(\)"):
        function(x, y, out=(None, x))
    with pytest.raises(TypeMismatch, match="for each of 2 results"):
        function(x, y, out=x)


def test_one_buffer_may_be_two_results():
    stage = kernel("add_f32", 8, (0,), (stream(0, 0, (0,), 4), stream(1, 0, (0,), 4)), (stream(2, 1, (0,), 4),))
    buffers = ("f", (0,), ("argument", 0)), ("f", (0,), ("result", 0))
    function, x = make((("array", "f", (0,)),), buffers, (stage,), (1, 1), False), numbers(100)
    first, second = function(x)
    assert first is second
    outs = np.zeros(100, "f"), np.zeros(100, "f")
    function(x, out=outs)
    same(outs[0], x + x)
    same(outs[1], x + x)
    function(x, out=(None, outs[0][::-1].copy()))
    function(x, out=(outs[0], outs[0][::-1]))
    same(outs[0], (x + x)[::-1])


def test_a_kernel_may_write_and_reduce():
    reductions = ((2, RESULT, 8, 0),)
    stage = kernel("double_and_sum_i64", 32, (0,), (stream(0, 0, (0,), 8),), (stream(1, 1, (0,), 8),), reductions=reductions, kept=0)
    buffers = ("l", (0,), ("argument", 0)), ("l", (0,), ("result", 0)), ("l", (), ("result", 1))
    function = make((("array", "l", (0,)),), buffers, (stage,), single=False, combines=(combine("combine_i64"),))
    for size in (1, 33, 40_000, 100_001):
        for step in (1, -1, 2):
            x = numbers(size * 2, "l")[::step]
            doubled, sums = function(x)
            same(doubled, 2 * x)
            assert sums == 2 * x.sum()
    x = numbers(70_000, "l")
    want = x * 2
    assert function(x, out=(x, None))[1] == want.sum()
    same(x, want)


# -------------------------------------------------------------------------------- Python callables


@pytest.mark.parametrize("shape", [(3, 5), (200, 300), (0, 4)])
def test_a_stage_may_call_python(shape):
    x = numbers(shape, "l").astype("f")
    same(through_python(np.multiply)(x), (x + x) * x + x)
    same(through_python(np.multiply)(x[::-1]), ((x + x) * x + x)[::-1])
    first, second, third = through_python(np.multiply, temporary=False)(x, out=(None, x.T.copy().T, x))
    same(third, first + (second - first) + first / 2)
    same(x, third)


def test_what_a_callable_keeps_stays():
    kept = []

    def keep(x, y, out):
        kept.append(x)
        np.multiply(x, y, out=out)

    x = numbers((100, 100))
    through_python(keep)(x)
    through_python(keep)(x + 1)
    same(kept[0], x + x)


def test_a_callable_may_raise_and_call_the_function():
    def refuse(x, y, out):
        if len(x) == 3:
            function(np.zeros((2, 2), "f"))
            raise KeyError("no")
        out[...] = x

    function = through_python(refuse)
    for _ in range(3):
        with pytest.raises(KeyError, match="no"):
            function(np.ones((3, 2), "f"))
        same(function(np.ones((2, 2), "f")), np.full((2, 2), 3, "f"))
