"""`_runner.ParallelFunction`: sweeps of all kinds and all other ops, on arrays of every size and any number of threads."""

import functools
import gc
import itertools
import platform
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.parallel_kernels import (
    FIRST,
    FLAG,
    LESS,
    NX,
    NY,
    OUT,
    SECOND,
    A,
    S,
    T,
    X,
    Y,
    added,
    affine,
    entry,
    fallback,
    kept,
    make,
    program,
    refuse,
    sweep,
    total,
)  # fmt: skip

from hotloop import _runner
from hotloop.errors import InternalError

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of this file are x86-64 code")

SIZES = (0, 1, 2, 64, 65, 1000, 1001, 5000, 40_003)
EXPENSIVE = 10**6  # picoseconds: enough for threads to be used for a few hundred elements
VECTOR = ("array", "q", 0, 1, (0,))


@pytest.fixture(autouse=True)
def _same_threads():
    before = _runner.get_threads()
    yield
    _runner.set_threads(before)


@pytest.fixture(params=[1, 2, 7])
def threads(request):
    _runner.set_threads(request.param)
    return request.param


def numbers(count, seed=0):
    return np.random.default_rng(seed).integers(-100, 100, count)


def vectors(code, scalars, arrays, result, **more):
    """A function of one array of int64, whose length is in register 0."""
    return make((VECTOR,), scalars, arrays, code, result, **more)


# ------------------------------------------------------------------------------------------- each


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cost", [1, EXPENSIVE, 10**9])
def test_each_element_is_taken_once(threads, size, cost):
    x, y = numbers(size) * 0.5, numbers(size, 1) * 1.0
    result = added(cost)(x, y)
    np.testing.assert_array_equal(result, x + y)
    assert result.dtype == np.float64
    assert result.flags.writeable


def test_flags_of_all_threads_come_together(threads):
    op = sweep("each", "last", 0, (), scalars=((A, "q", 1),), flags=((FLAG, 2),), cost=EXPENSIVE)
    function = make((("number", "q", 0), ("number", "q", 1)), "qq?", "", (op,), ("number", 2))
    for _ in range(20):
        assert function(1000, 1000) is True
        assert function(1000, 1001) is False
    assert function(1000, 1) is True
    assert function(0, 0) is False
    assert function(-5, 0) is False


# ------------------------------------------------------------------------------------ folds, scans


def odd(size):
    """Factors that keep all bits of a product alive."""
    return numbers(size) * 2 + 1


@functools.cache
def carried(size, s, t):
    """What `affine` makes of odd(size) and numbers(size, 1), element after element, in integers that wrap."""
    steps = []
    for a, b in zip(odd(size).tolist(), numbers(size, 1).tolist(), strict=True):
        s, t = (s * a + 2**63) % 2**64 - 2**63, (t * a + b + 2**63) % 2**64 - 2**63
        steps.append(t)
    return s, t, np.array(steps, np.int64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [1, 2, 64, 1000, 1 << 40])
def test_folds_and_scans_keep_the_order(threads, size, chunk):
    if size / chunk > 5000:
        return
    x, y = odd(size), numbers(size, 1)
    s, t, steps = carried(size, 3, 7)
    assert affine("fold", starts=True, chunk=chunk, cost=EXPENSIVE)(x, y, 3, 7) == (s, t)
    got = affine("scan", starts=True, chunk=chunk, cost=EXPENSIVE)(x, y, 3, 7)
    assert got[:2] == (s, t)
    np.testing.assert_array_equal(got[2], steps)
    s, t, steps = carried(size, 1, 0) if size else (0, 0, steps)
    assert affine("fold", starts=False, chunk=chunk, cost=EXPENSIVE)(x, y) == (s, t)
    got = affine("scan", starts=False, chunk=chunk, cost=EXPENSIVE)(x, y)
    assert got[:2] == (s, t)
    np.testing.assert_array_equal(got[2], steps)


@pytest.mark.parametrize("size", SIZES)
def test_folds_of_floats_have_one_order_on_any_number_of_threads(threads, size):
    x = np.random.default_rng(5).normal(size=size).astype("f")
    chunks = [np.float32(0)]
    for start in range(0, size, 1000):
        chunks.append(np.add.accumulate(x[start : start + 1000], dtype="f")[-1])
    want = np.add.accumulate(np.array(chunks[1:] or chunks, "f"), dtype="f")[-1]
    assert total()(x) == total(cost=EXPENSIVE)(x) == want


# --------------------------------------------------------------------------------- filter, ordered


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bound", [-1000, 50, 98, 1000])
@pytest.mark.parametrize("chunk", [64, 1000, 1 << 30])
def test_filters_keep_the_order(threads, size, bound, chunk):
    x = numbers(size)
    for cost in (1, EXPENSIVE):
        values, places, count = kept(chunk, cost)(x, bound)
        np.testing.assert_array_equal(values, x[x > bound])
        np.testing.assert_array_equal(places, np.flatnonzero(x > bound))
        assert count == len(values)


def test_ordered_sweeps_are_done_by_one_thread(threads):
    op = sweep("ordered", "count", 0, ((X, NX, 0), (OUT, -1, 1)), cost=EXPENSIVE)
    arguments = (VECTOR, ("array", "q", 1, 1, (1,)))
    function = make(arguments, "qq", "qqq", (("copy", 2, 1), ("alias", (1,), (2,)), ("release", 2), op), ("array", 1, None))
    x, start = np.random.default_rng(0).integers(0, 10, 50_000), np.arange(10)
    np.testing.assert_array_equal(function(x, start), np.bincount(x) + start)
    assert (start == np.arange(10)).all()


# -------------------------------------------------------------------------------- arrays and jumps


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_slices_are_clamped(start, length):
    function = make((VECTOR, ("number", "q", 1), ("number", "q", 2)), "qqq", "qq", (("slice", 1, 0, 1, 2),), ("array", 1, None))
    x = np.arange(10)
    first = min(max(start, 0), 10)
    np.testing.assert_array_equal(function(x, start, length), x[first : first + max(length, 0)])


@pytest.mark.parametrize("length", [-(2**63), -1, 0, 1, 1000])
def test_allocated_arrays_have_their_length(length):
    code = ("allocate", 0, 0), ("length", 1, 0)
    function = make((("number", "q", 0),), "qq", "d", code, ("tuple", (("number", 1), ("array", 0, None))))
    count, array = function(length)
    assert count == len(array) == max(length, 0)
    assert array.dtype == np.float64


@pytest.mark.parametrize("length", [2**60, 2**62, 2**63 - 1])
def test_too_much_memory_is_an_error(length):
    function = make((("number", "q", 0),), "q", "d", (("allocate", 0, 0),), ("array", 0, None))
    with pytest.raises(MemoryError, match=f"there is no memory for an array of {length} elements of type float64"):
        function(length)
    assert len(function(3)) == 3


def test_aliases_are_simultaneous_and_results_are_never_shared():
    code = ("copy", 1, 0), ("alias", (0, 1, 2), (1, 0, 1))
    result = "tuple", (("array", 0, None), ("array", 1, None), ("array", 2, None), ("array", 2, None))
    function = vectors(code, "q", "qqq", result)
    x = np.arange(1000)
    results = function(x)
    for array in results:
        np.testing.assert_array_equal(array, x)
    for a, b in itertools.combinations((x, *results), 2):
        assert not np.shares_memory(a, b)


def test_loops_and_branches_run():
    """Add 1 to all elements, as often as it is said; 0 times gives the argument."""
    bases = (X, -1, 1), (OUT, -1, 2)
    count = "compute", entry("decrease"), ((A, 1),), (), ((A, 1), (FLAG, 3))
    positive = "compute", entry("last"), (), (), ()
    code = (
        ("alias", (1,), (0,)), ("unless", 2, 8), ("allocate", 2, 0), sweep("each", "shift", 0, bases, scalars=((A, "q", 4),)),
        ("alias", (1,), (2,)), count, ("unless", 3, 8), ("jump", 2), ("release", 2), positive,
    )  # fmt: skip
    arguments = VECTOR, ("number", "q", 1), ("number", "?", 2), ("number", "q", 4)
    function = make(arguments, "qq??q", "qqq", code, ("tuple", (("array", 1, None), ("number", 1))))
    x = np.arange(3000)
    for times in (1, 2, 1000):
        result, left = function(x, times, True, 3)
        np.testing.assert_array_equal(result, x + 3 * times)
        assert left == 0
    np.testing.assert_array_equal(function(x, 5, False, 3)[0], x)


def test_code_that_runs_once_reads_arrays_and_scalars():
    compute = "compute", entry("both"), ((A, 1),), ((X, NX, 0),), ((S, 2), (T, 3))
    function = make((("array", "d", 0, 1, (0,)), ("number", "d", 1)), "qddd", "d", (compute,), ("tuple", (("number", 2), ("number", 3))))
    assert function(np.array([1.0, 2.0]), 10.0) == (12.0, 8.0)


# ------------------------------------------------------------------------------------------ faults


def gathering():
    """y[x], or a fault with the length of y."""
    bases = (X, -1, 0), (Y, NY, 1), (OUT, -1, 2)
    code = ("allocate", 2, 0), sweep("each", "gather", 0, bases, flags=((FLAG, 2),), cost=EXPENSIVE), ("fault", 2, 7, (1, 2, 3))
    arguments = VECTOR, ("array", "d", 1, 1, (1,)), ("number", "d", 3)
    return make(arguments, "qq?d", "qdd", code, ("array", 2, None))


def test_faults_raise_what_python_makes_of_them(threads):
    function, y = gathering(), np.arange(5.0)
    np.testing.assert_array_equal(function(np.array([4, 0, 4]), y, 1.5), [4, 0, 4])
    for wrong in ([5], [-1], [0] * 5000 + [9]):
        with pytest.raises(IndexError, match=r"^fault 7: \[5, True, 1.5\]$"):
            function(np.array(wrong), y, 1.5)


def test_a_fault_that_raises_nothing_is_an_error_of_hotloop():
    function = _runner.ParallelFunction(program()[0], (("number", "?", 0),), "?", "", (("fault", 0, 3, ()),), ("number", 0), None,
                                        lambda *_: None, fallback)  # fmt: skip
    assert function(False) is False
    with pytest.raises(InternalError, match="plan: fault 3 raised nothing"):
        function(True)


# ------------------------------------------------------------------------------------------- sorts


@pytest.mark.parametrize("size", [0, 1, 2, 100, 3000, 30_000])
@pytest.mark.parametrize("kind", "?iqfd")
def test_sorts_are_stable(threads, size, kind):
    x = np.random.default_rng(1).integers(-20, 20, size).astype(kind)
    code = ("sort", (0,), (False,), (1,), 2), ("sort", (0,), (True,), (-1,), 3)
    result = "tuple", (("array", 1, None), ("array", 2, None), ("array", 3, None))
    values, order, down = make((("array", kind, 0, 1, (0,)),), "q", f"{kind}{kind}qq", code, result)(x)
    want = np.argsort(x, kind="stable")
    np.testing.assert_array_equal(values, x[want])
    np.testing.assert_array_equal(order, want)
    np.testing.assert_array_equal(down, (size - 1 - np.argsort(x[::-1], kind="stable"))[::-1])


def test_sorts_take_several_keys_and_may_write_over_them():
    code = (("sort", (0, 1), (True, False), (0, 1), -1),)
    arguments = ("array", "f", 0, 1, (0,)), ("array", "i", 1, 1, (1,))
    function = make(arguments, "qq", "fi", code, ("tuple", (("array", 0, None), ("array", 1, None))))
    x = np.random.default_rng(1).integers(0, 5, 200).astype("f")
    y = np.random.default_rng(2).integers(0, 50, 200).astype("i")
    before, order = x.copy(), np.lexsort((y, -x))
    first, second = function(x, y)
    np.testing.assert_array_equal(first, x[order])
    np.testing.assert_array_equal(second, y[order])
    np.testing.assert_array_equal(x, before)
    with pytest.raises(InternalError, match="plan: the keys of a sort have 200 and 3 elements"):
        function(x, y[:3])


@pytest.mark.parametrize("size", [-3, 0, 1, 2, 99, 100, 5000])
def test_sorts_by_a_predicate_are_stable(threads, size):
    code = (("sort_by", entry("less"), FIRST, SECOND, LESS, ((A, "q", 1),), ((X, -1, 0),), 2, 1),)
    function = make((VECTOR, ("number", "q", 1), ("number", "q", 2)), "qqq", "qq", code, ("array", 1, None))
    x = np.abs(numbers(max(size, 0)))
    np.testing.assert_array_equal(function(x, 7, size), np.argsort(x % 7, kind="stable"))


# ------------------------------------------------------------------------------------------ Python


def test_callables_get_views_and_give_arrays():
    seen = []

    def both(x, y):
        seen.append((x.flags.writeable, x.dtype, x.shape, y.shape))
        return x + 1, np.array([0.5])

    code = ("allocate", 1, 0), ("call", both, (0, 1), (1, 2)), ("length", 0, 2)
    function = vectors(code, "q", "qqd", ("tuple", (("array", 1, None), ("array", 2, None), ("number", 0))))
    one, two, count = function(np.arange(4))
    assert seen == [(False, np.int64, (4,), (4,))]
    np.testing.assert_array_equal(one, [1, 2, 3, 4])
    np.testing.assert_array_equal(two, [0.5])
    assert count == 1


def test_what_a_callable_keeps_is_no_result():
    kept_views = []
    code = ("copy", 1, 0), ("call", lambda x: kept_views.append(x) or (), (1,), ())
    x = np.arange(10_000)
    result = vectors(code, "q", "qq", ("array", 1, None))(x)
    assert not np.shares_memory(kept_views[0], result)
    assert result.flags.writeable


@pytest.mark.parametrize("wrong", [
    None, [], (), (np.zeros(1), np.zeros(1)), (1,), (np.zeros(1, "f"),), (np.zeros((1, 1)),), (np.zeros(4)[::2],),
])  # fmt: skip
def test_a_wrong_answer_of_a_callable_is_an_error_of_hotloop(wrong):
    function = vectors((("call", lambda: wrong, (), (1,)),), "q", "qd", ("array", 1, None))
    with pytest.raises(InternalError, match="returned other arrays than it must"):
        function(np.arange(3))


def test_what_a_callable_raises_is_raised():
    function = vectors((("call", lambda x: {}["key"], (0,), ()),), "q", "q", ("array", 0, None))
    with pytest.raises(KeyError, match="key"):
        function(np.arange(3))


# ----------------------------------------------------------------------------------------- results


def test_results_are_trees():
    class Pair(tuple):
        __slots__ = ()

    arguments = ("number", "d", 0), ("number", "q", 1), ("number", "?", 2), ("array", "f", 0, 2, (3, 4))
    matrix = "array", 0, (4, 3)
    tree = ("tuple", (("number", 0), ("python", lambda *x: Pair(x), (("number", 1), ("tuple", (("number", 2), matrix)))), ("tuple", ())))
    function = make(arguments, "dq?qq", "f", (), tree)
    x = np.arange(6, dtype="f").reshape(2, 3)
    one, pair, nothing = function(0.5, 7, True, x)
    assert (one, nothing) == (0.5, ())
    assert type(pair) is Pair
    assert pair[0] == 7
    assert pair[1][0] is True
    np.testing.assert_array_equal(pair[1][1], x.reshape(3, 2))


def test_results_may_have_no_dimensions():
    function = make((("array", "d", 0, 0, ()),), "", "d", (), ("array", 0, ()))
    result = function(np.array(2.5))
    assert result.shape == ()
    assert result == 2.5


@pytest.mark.parametrize("lengths", [(2, 3), (-2, -3), (2**62, 4), (0, 5)])
def test_a_result_of_another_size_is_an_error_of_hotloop(lengths):
    arguments = VECTOR, ("number", "q", 1), ("number", "q", 2)
    function = make(arguments, "qqq", "q", (), ("array", 0, (1, 2)))
    assert function(np.arange(12), 3, 4).shape == (3, 4)
    with pytest.raises(InternalError, match="plan: a result of 12 elements has another shape"):
        function(np.arange(12), *lengths)


def test_small_parts_do_not_hold_large_memory():
    code = ("copy", 1, 0), ("slice", 1, 1, 1, 1)
    function = make((VECTOR, ("number", "q", 1)), "qq", "qq", code, ("array", 1, None))
    x = np.arange(100_000)
    np.testing.assert_array_equal(function(x, 20_000), x[20_000:40_000])
    assert function(x, 20_000).base is None or function(x, 20_000).base.__class__.__name__ != "Block"
    assert function(x, 0).size == 0


class Wrapped:
    """Keeps its array as cuarray does."""

    __slots__ = ("__weakref__", "_data")

    def __init__(self, data):
        raise AssertionError("what the runner makes is not made again")


def wrapped(data):
    instance = object.__new__(Wrapped)
    instance._data = data
    return instance


def test_arrays_may_be_wrapped():
    function, x = added(wrap=Wrapped), np.arange(3.0)
    for arguments in ((x, x), (wrapped(x), x), (x, wrapped(x)), (wrapped(x), wrapped(x))):
        result = function(*arguments)
        assert type(result) is Wrapped
        np.testing.assert_array_equal(result._data, x + x)
        assert sys.getrefcount(result) == 2
    for wrong in (object.__new__(Wrapped), wrapped(None), wrapped([1.0]), wrapped(x.astype("f")), wrapped(wrapped(x))):
        assert function(wrong, x)[0] == "fallback"
    assert added()(wrapped(x), x)[0] == "fallback"


def test_wrap_may_be_any_callable_or_class():
    class Plain:
        def __init__(self, data):
            self._data = data

    class Bad:
        @property
        def _data(self):
            raise ValueError("no")

        def __init__(self, data):
            pass

    x = np.arange(3.0)
    assert added(wrap=list)(x, x) == [0, 2, 4]
    assert added(wrap=len)(x, x) == 3
    function = added(wrap=Plain)
    np.testing.assert_array_equal(function(function(x, x), x)._data, [0, 3, 6])
    assert added(wrap=Bad)(Bad(x), x)[0] == "fallback"
    with pytest.raises(TypeError, match="abs"):
        added(wrap=lambda x: abs())(x, x)


# ---------------------------------------------------------------------------------------- matching


@pytest.mark.parametrize(("argument", "register", "good", "bad"), [
    ("d", "d", (1.5, float("inf")), (1, True, np.float64(1.5), "a", None)),
    ("d", "f", (1.5, 0.1, float("inf")), (1, 1e39, np.float32(1))),
    ("q", "q", (2, -(2**63)), (2.0, True, np.int64(2), 2**63)),
    ("q", "i", (2, -(2**31)), (2**31, 2**63, 2.0)),
    ("q", "f", (2, 2**24 + 1), (2.0, True, 2**63)),
    ("q", "d", (2, 2**53 + 1), (2.0, True, 2**63)),
    ("?", "?", (True, False), (1, np.True_)),
    ("nf", "f", (np.float32(1.5),), (1.5, np.float64(1.5))), ("nd", "d", (np.float64(1.5),), (1.5, np.float32(1.5), np.array(1.5))),
    ("ni", "i", (np.int32(2),), (2, np.int64(2))), ("nq", "q", (np.int64(2),), (2, np.int32(2), True)), ("n?", "?", (np.True_,), (True, 1)),
])  # fmt: skip
def test_only_numbers_of_the_exact_type_match(argument, register, good, bad):
    function = make((("number", argument, 0),), register, "", (), ("number", 0))
    for number in good:
        result = function(number)
        assert result == np.dtype(register).type(number)
        assert type(result) is {"f": float, "d": float, "?": bool}.get(register, int)
    for other in bad:
        assert function(other)[:1] == ("fallback",)


def test_what_does_not_match_goes_to_the_fallback():
    function, x = added(), np.arange(6.0)
    for wrong in (x.reshape(2, 3), x.astype("f"), x.astype(">f8"), x[::2], x[::-1], x.view(np.matrix), x.tolist(), None, 1.0,
                  np.zeros(49, "b")[1:].view("d"), x.astype("q")):  # fmt: skip
        answer = function(wrong, x)
        assert answer[0] == "fallback"
        assert answer[1][0] is wrong
    assert function(x) == ("fallback", (x,), {})
    assert function(x, x, x)[0] == function()[0] == "fallback"
    assert function(x, x, out=None)[2] == {"out": None}
    frozen = x.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(function(frozen, x), x + x)


def test_arrays_of_any_rank_are_flat_in_registers():
    function = make((("array", "i", 0, 3, (0, 1, 2)),), "qqq", "i", (), ("tuple", (("array", 0, None), ("array", 0, (2, 1, 0)))))
    x = np.arange(24, dtype="i").reshape(2, 3, 4)
    flat, other = function(x)
    np.testing.assert_array_equal(flat, x.ravel())
    np.testing.assert_array_equal(other, x.reshape(4, 3, 2))
    assert function(x.transpose(2, 1, 0))[0] == "fallback"
    assert function(x[:, :0])[1].shape == (4, 0, 2)


def test_both_types_of_64_bits_are_one():
    x = np.arange(5, dtype=np.longlong)
    np.testing.assert_array_equal(kept()(x, 2)[0], [3, 4])


# ------------------------------------------------------------------------------------------ memory


def test_calls_keep_no_references():
    x, wrong, y = np.arange(1000.0), np.array([9]), np.arange(5.0)
    function, gather, filtered, scan = added(), gathering(), kept(), affine("scan", starts=False)
    whole = np.arange(1000)
    gc.collect()  # what else would be collected meanwhile may refer to None
    arrays = x, wrong, y, whole
    before, none = [sys.getrefcount(array) for array in arrays], sys.getrefcount(None)
    for _ in range(100):
        function(x, x)
        function(x, None)
        filtered(whole, 50)
        scan(whole, whole)
        with pytest.raises(IndexError, match="fault 7"):
            gather(wrong, y, 1.5)
    assert [sys.getrefcount(array) for array in arrays] == before
    assert abs(sys.getrefcount(None) - none) < 50


def test_memory_of_results_is_used_again():
    function, x = added(), np.ones(100_000)
    first = function(x, x)
    address = first.ctypes.data
    assert address % 64 == 0
    view = first[5:]
    del first
    assert function(x, x).ctypes.data != address
    del view
    assert function(x, x).ctypes.data == address


def test_a_function_is_collected_with_its_fallback():
    class Owner:
        def __call__(self, *_):
            return "owner"

    owner = Owner()
    owner.function = _runner.ParallelFunction(program()[0], (), "", "", (), ("tuple", ()), None, refuse, owner)
    assert owner.function(1) == "owner"
    assert owner.function() == ()
    gone = weakref.ref(owner.function)
    del owner
    gc.collect()
    assert gone() is None


def test_the_facts_of_a_function_can_be_read():
    function = added(threads=3)
    assert (function.program, function.fallback, function.threads) == (program()[0], fallback, 3)
    assert _runner.parallel_progress() == (0, 0)
