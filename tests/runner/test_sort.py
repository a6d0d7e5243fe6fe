"""Sorts of runner/sort.h, with vectors and without them, against NumPy: every type, special values, any number of threads."""

import ctypes
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.parallel_kernels import make

RUNNER = Path(__file__).parents[2] / "runner"
SOURCES = [str(RUNNER / name) for name in ("sort.c", "sort_keys.c", "sort_merge.c", "sort_radix.c", "sort_vectors.c", "threads.c")]
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
FLAGS = ["-O2", "-fPIC", "-shared", "-pthread", "-fsanitize=undefined", "-fsanitize-trap=undefined"]
KINDS = "?iqfd"
FEW = [0, 1, 2, 3, 7, 8, 9, 20, 21, 31, 32, 33, 100, 128, 129, 257, 511, 1000, 1025, 2049, 5000]
MANY = [32_769, 140_000]
INTERRUPTED = 2


class Key(ctypes.Structure):
    """hl_sort_key."""

    _fields_ = (("data", ctypes.c_void_p), ("kind", ctypes.c_char), ("descending", ctypes.c_int))


ASKED = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
LESS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Sorts:
    """The functions of sort.h on arrays."""

    def __init__(self, library):
        """Load the library."""
        self.library = ctypes.CDLL(str(library))
        self.library.hl_set_threads(7)

    def keys(self, keys, descending, order=True, values=True, threads=1, asked=None):
        """Return the status, the order and the sorted keys. Results begin at any element of a cache line."""
        count = len(keys[0])
        into = np.full(count, -1) if order else None
        out = [np.empty(count + 3, key.dtype)[3:] for key in keys] if values else []
        found = (Key * len(keys))(*(Key(key.ctypes.data, key.dtype.char.replace("l", "q").encode(), flag)
                                    for key, flag in zip(keys, descending, strict=True)))  # fmt: skip
        pointers = (ctypes.c_void_p * len(keys))(*(array.ctypes.data for array in out)) if out else None
        places = ctypes.c_void_p(into.ctypes.data if order else None)
        status = self.library.hl_sort(found, len(keys), ctypes.c_int64(count), places, pointers, threads, asked, None)
        return status, into, out

    def by(self, less, count, threads=1, asked=None):
        """Return the status and the order by a predicate."""
        order = np.full(count, -1)
        status = self.library.hl_sort_by(LESS(lambda _, i, j: less(i, j)), (ctypes.c_void_p * threads)(), threads, ctypes.c_int64(count),
                                         ctypes.c_void_p(order.ctypes.data), asked, None)  # fmt: skip
        return status, order


@pytest.fixture(scope="module", params=["vectors", "without vectors"])
def sorts(request, tmp_path_factory):
    """The sorts of this processor, and those of one that has no vectors for them."""
    output = tmp_path_factory.mktemp("sort") / "libsort.so"
    without = ["-DHL_SORT_WITHOUT_VECTORS"] if request.param == "without vectors" else []
    target = ["-mcpu=x86_64_v2"] if platform.machine() == "x86_64" else []
    subprocess.run([sys.executable, "-m", "ziglang", "cc", *target, *FLAGS, *WARNINGS, *without, *SOURCES, "-o", str(output)], check=True)
    return Sorts(output)


def specials(kind):
    """Values that need care: limits, both zeros, infinities, denormals, NaN of several payloads."""
    if kind == "?":
        return np.array([False, True])
    if kind in "iq":
        limits = np.iinfo(kind)
        return np.array([limits.min, limits.min + 1, -1, 0, 1, limits.max - 1, limits.max], kind)
    limits = np.finfo(kind)
    least = limits.smallest_subnormal
    numbers = [0.0, -0.0, np.inf, -np.inf, limits.max, limits.min, limits.tiny, least, -least, 1, -1]
    nan = np.array([np.nan] * 4, kind).view(bits_type(kind))
    sign = nan.dtype.type(1) << nan.dtype.type(nan.itemsize * 8 - 1)
    nan ^= np.array([0, 7, sign, sign | nan.dtype.type(99)], nan.dtype)
    return np.concatenate([np.array(numbers, kind), nan.view(kind)])


def bits_type(kind):
    """The unsigned type of the same size."""
    return np.dtype(f"u{np.dtype(kind).itemsize}")


def numbers(rng, kind, count):
    """Random numbers, of all of the range of an integer type."""
    if kind in "fd":
        return rng.standard_normal(count).astype(kind)
    if kind == "?":
        return rng.random(count) < 0.5
    return rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, count, kind, endpoint=True)


def outliers(rng, kind, count):
    """One value again and again, and a few others."""
    return np.where(rng.random(count) < 0.01, numbers(rng, kind, count), np.ones(1, kind))


def scales(rng, kind, count):
    """Numbers close together at many scales."""
    top = 30 if kind == "i" else 60
    return (2.0 ** rng.integers(0, top, count) * (1 + rng.random(count) / 1000)).astype(kind)


def any_bits(rng, kind, count):
    """Any bits, most of which are numbers; bool has but two."""
    kind_of_bits = bits_type(kind)
    most = 1 if kind == "?" else np.iinfo(kind_of_bits).max
    return rng.integers(0, most, count, kind_of_bits, endpoint=True).view(kind)


def nearly(rng, kind, count):
    """Numbers in order but for a few."""
    array = np.sort(numbers(rng, kind, count))
    array[count // 2 :: 100] = array[:1]
    return array


INPUTS = {
    "random": numbers,
    "ascending": lambda rng, kind, count: np.sort(numbers(rng, kind, count)),
    "descending": lambda rng, kind, count: np.sort(numbers(rng, kind, count))[::-1].copy(),
    "equal": lambda rng, kind, count: np.full(count, 1, kind),
    "few": lambda rng, kind, count: rng.integers(0, 2 if kind == "?" else 9, count).astype(kind),
    "specials": lambda rng, kind, count: rng.choice(specials(kind), count),
    "mixed": lambda rng, kind, count: np.where(rng.random(count) < 0.3, rng.choice(specials(kind), count), numbers(rng, kind, count)),
    "bits": any_bits, "outliers": outliers, "scales": scales, "nearly": nearly,
}  # fmt: skip


def ranks(key, descending):
    """Whole numbers in the order of the values of a key: zeros are equal, NaN are last and equal."""
    nan = np.isnan(key)
    found = np.zeros(len(key), int)
    _, found[~nan] = np.unique(key[~nan], return_inverse=True)
    if descending:
        found = -found
    found[nan] = len(key)
    return found


def stable_order(keys, descending):
    """The order of which there is one."""
    return np.lexsort([ranks(key, flag) for key, flag in zip(keys, descending, strict=True)][::-1])


def assert_sorted(sorts, keys, descending, threads):
    """Compare the bits of all results, together and alone."""
    want = stable_order(keys, descending)
    for order, values in ((True, True), (True, False), (False, True)):
        status, places, out = sorts.keys(keys, descending, order, values, threads)
        assert status == 0
        if order:
            np.testing.assert_array_equal(places, want)
        for array, key in zip(out, keys, strict=False):
            np.testing.assert_array_equal(array.view(bits_type(key.dtype)), key.view(bits_type(key.dtype))[want])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_few_elements_come_out_in_the_one_stable_order(sorts, kind, name, descending):
    rng = np.random.default_rng(1)
    for count in FEW:
        assert_sorted(sorts, [INPUTS[name](rng, kind, count)], [descending], 1)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_many_elements_come_out_the_same_on_any_number_of_threads(sorts, kind, name, threads):
    rng = np.random.default_rng(2)
    for count in MANY:
        assert_sorted(sorts, [INPUTS[name](rng, kind, count)], [count % 2 == 0], threads)


@pytest.mark.parametrize("name", ["random", "outliers", "mixed"])
@pytest.mark.parametrize("kind", "iqfd")
def test_a_million_elements(sorts, kind, name):
    assert_sorted(sorts, [INPUTS[name](np.random.default_rng(3), kind, 1_000_000)], [kind == "d"], 2)


@pytest.mark.parametrize("kinds", ["??", "?i", "if", "qd", "q?", "dd", "fdi", "idq", "???f", "f?q?di"])
@pytest.mark.parametrize("threads", [1, 3])
def test_keys_that_follow_decide_between_equals(sorts, kinds, threads):
    rng = np.random.default_rng(4)
    for count in (0, 1, 2, 40, 1000, 50_000):
        for name in ("few", "specials", "random"):
            keys = [INPUTS["few" if name == "random" and i + 1 < len(kinds) else name](rng, kind, count) for i, kind in enumerate(kinds)]
            assert_sorted(sorts, keys, list(rng.integers(0, 2, len(kinds))), threads)


def test_nothing_is_done_without_results(sorts):
    key = np.array([3.0, 1.0])
    assert sorts.keys([key], [False], order=False, values=False)[0] == 0
    np.testing.assert_array_equal(key, [3, 1])


@pytest.mark.parametrize("results", [(True, False), (False, True)])
def test_a_long_sort_stops_when_it_is_asked_to(sorts, results):
    key, asked = np.random.default_rng(5).random(12_000_000), []
    stop = ASKED(lambda _: asked.append(1) or 1)
    assert sorts.keys([key], [False], *results, threads=2, asked=stop)[0] == INTERRUPTED
    assert len(asked) == 1
    assert sorts.keys([key[:1000]], [False], *results, threads=2, asked=stop)[0] == 0


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_sorts_by_a_predicate_are_stable(sorts, threads):
    rng = np.random.default_rng(6)
    for count in (0, 1, 2, 8, 9, 511, 512, 4097, 5000):
        for key in (rng.integers(0, 9, count), rng.permutation(count), np.arange(count), np.arange(count)[::-1], np.zeros(count, int)):
            values = key.tolist()
            status, order = sorts.by(lambda i, j, values=values: values[i] < values[j], count, threads)
            assert status == 0
            np.testing.assert_array_equal(order, np.argsort(key, kind="stable"))


def test_a_predicate_that_contradicts_itself_gives_one_order_of_all_places(sorts):
    orders = [sorts.by(lambda i, j: (i * 40503 ^ j * 9973) >> 4 & 1, 10_000, threads)[1] for threads in (1, 3)]
    np.testing.assert_array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(np.sort(orders[0]), np.arange(10_000))


def test_a_sort_by_a_predicate_makes_few_calls(sorts):
    values, calls = np.random.default_rng(7).random(4096).tolist(), []
    sorts.by(lambda i, j: calls.append(1) or values[i] < values[j], 4096)
    assert len(calls) < 4096 * 12
    ordered = []
    sorts.by(lambda i, j: ordered.append(1) or i < j, 4096)
    assert len(ordered) < 4096 * 2


def test_a_long_sort_by_a_predicate_stops_when_it_is_asked_to(sorts):
    values = np.random.default_rng(8).random(100_000).tolist()
    status, _ = sorts.by(lambda i, j: values[i] < values[j], 100_000, 1, ASKED(lambda _: 1))
    assert status == INTERRUPTED


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program of the plan is x86-64 code")
@pytest.mark.parametrize("kind", KINDS)
def test_plans_sort(kind):
    key = INPUTS["mixed"](np.random.default_rng(9), kind, 40_000)
    sort = ("sort", (0,), (True,), (1,), 2)
    function = make((("array", kind, 0, 1, (0,)),), "q", f"{kind}{kind}q", (sort,), ("tuple", (("array", 1, None), ("array", 2, None))))
    values, order = function(key)
    want = stable_order([key], [True])
    np.testing.assert_array_equal(order, want)
    np.testing.assert_array_equal(values.view(bits_type(kind)), key.view(bits_type(kind))[want])
