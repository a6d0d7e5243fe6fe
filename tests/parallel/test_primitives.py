"""Every primitive on all places, against plain Python and NumPy: all sizes and types, special values, and what is refused."""

# ruff: noqa: F821, B905 - the functions are in another language than Python
import numpy as np
import pytest
from tests.agreement import COMPILED, agree, all_refuse, assert_alike
from tests.procedures import assert_bits

from hotloop import cu, cuarray, parallel, places
from hotloop.errors import BoundsError, ShapeError, SyntaxRefused, TypeMismatch

TYPES = ["bool", "int32", "int64", "float32", "float64"]
SIZES = [0, 1, 2, 31, 32, 33, 1000]
LARGE = [40_000, 1_000_000]
SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-320, 1e-40, 3e38]


def sample(dtype, size, seed=0):
    draw = np.random.default_rng([size, seed])
    if dtype == "bool":
        return draw.random(size) < 0.5
    if dtype.startswith("int"):
        x = draw.integers(-20, 20, size, dtype)
        x[: size // 50] = np.iinfo(dtype).max
        x[size // 50 : size // 25] = np.iinfo(dtype).min
        return draw.permutation(x)
    x = draw.normal(size=size).astype(dtype)
    with np.errstate(all="ignore"):
        x[: size // 8] = np.array(SPECIAL, dtype)[draw.integers(0, len(SPECIAL), size // 8)]
    return draw.permutation(x)


def made(text):
    return cu(eval(text), source=text)


# a text of the function, and what NumPy gives, or None where plain Python alone says what is right
TABLE = {
    "lambda x: map(lambda a: a, x)": lambda x: x,
    "lambda x: map(lambda a, b: a == b, x, x)": lambda x: x == x,
    "lambda x: filter(lambda a: a > 0, x)": lambda x: x[x > 0],
    "lambda x: filter(lambda a: True, x)": lambda x: x,
    "lambda x: [a for a in x if a < 0 or a > 1]": lambda x: x[(x < 0) | (x > 1)],
    "lambda x: gather(x, reversed(indices(x)))": lambda x: x[::-1],
    "lambda x: gather(x, [-1 - i for i in indices(x)])": lambda x: x[::-1],
    "lambda x: scatter(x, reversed(indices(x)), x)": lambda x: x[::-1],
    "lambda x: scatter(x, [i // 2 for i in indices(x)], x)": None,
    "lambda x: scatter(take(x, 1), range(1 if len(x) else 0), x)": lambda x: x,
    "lambda x: scatter_reduce(maximum, x, [i % 3 % len(x) for i in indices(x)], x)": None,
    "lambda x: permute(x, rotate(indices(x), 1))": lambda x: np.roll(x, 1),
    "lambda x: update(x, [(len(x) - 1 - i, a) for i, a in enumerate(x)])": lambda x: x[::-1],
    "lambda x: update(x, zip(range(0), take(x, 0)))": lambda x: x,
    "lambda x: scan(maximum, x)": lambda x: np.maximum.accumulate(x),
    "lambda x: rscan(maximum, x)": lambda x: np.maximum.accumulate(x[::-1])[::-1],
    "lambda x: scan(minimum, x)": lambda x: np.minimum.accumulate(x),
    "lambda x: scan(lambda a, b: b, x)": lambda x: x,
    "lambda x: rscan(lambda a, b: a, x)": lambda x: np.full(len(x), x[-1] if len(x) else 0, x.dtype),
    "lambda x: scan(op_add, x)": None,
    "lambda x: rscan(op_add, x)": None,
    "lambda x: exclusive_scan(maximum, min_bound_el(x), x)": None,
    "lambda x: exclusive_rscan(minimum, max_bound_el(x), x)": None,
    "lambda x: zip(x, indices(x))": None,
    "lambda x: zip(x, x, x, indices(x))": None,
    "lambda x: unzip(zip(x, indices(x)))": lambda x: (x, np.arange(len(x))),
    "lambda x: sort(x)": lambda x: np.sort(x, kind="stable"),
    "lambda x: sort(cmp_lt, x)": lambda x: np.sort(x, kind="stable"),
    "lambda x: sort(cmp_gt, x)": None,
    "lambda x: sort(lambda a, b: b < a, x)": None,
    "lambda x: sort(lambda a, b: a[1] < b[1], zip(x, [i // 5 for i in reversed(indices(x))]))": None,
    "lambda x: argsort(x)": lambda x: np.argsort(x, kind="stable"),
    "lambda x: argsort(x, descending=True)": None,
    "lambda x: sort_by_key([i % 3 for i in indices(x)], x)": None,
    "lambda x: shift(x, 1, x[0]) if len(x) else x": lambda x: np.append(x[1:], x[:1]),
    "lambda x: shift(x, -2, x[0]) if len(x) else x": None,
    "lambda x: shift(zip(x, indices(x)), 3, (x[0], -1)) if len(x) else zip(x, indices(x))": None,
    "lambda x: rotate(x, 3)": lambda x: np.roll(x, -3),
    "lambda x: rotate(x, -(2 ** 40))": lambda x: np.roll(x, 2**40 % max(len(x), 1)),
    "lambda x: reversed(x)": lambda x: x[::-1],
    "lambda x: indices(x)": lambda x: np.arange(len(x)),
    "lambda x: enumerate(x)": None,
    "lambda x: [i for i, _ in enumerate(x, 5)]": lambda x: np.arange(len(x)) + 5,
    "lambda x: range(len(x))": lambda x: np.arange(len(x)),
    "lambda x: range(len(x), -3, -2)": lambda x: np.arange(len(x), -3, -2),
    "lambda x: bounded_range(-3, len(x))": lambda x: np.arange(-3, len(x)),
    "lambda x: replicate(7, len(x))": lambda x: np.full(len(x), 7),
    "lambda x: replicate((1, 2.5), len(x) - 2)": None,
    "lambda x: len(x)": len,
    "lambda x: take(x, 3)": lambda x: x[:3],
    "lambda x: take(x, -1)": lambda x: x[:0],
    "lambda x: drop(x, 3)": lambda x: x[3:],
    "lambda x: drop(x, -1)": lambda x: x,
    "lambda x: concatenate(x, x, take(x, 1))": lambda x: np.concatenate([x, x, x[:1]]),
    "lambda x: join(x, x)": lambda x: np.concatenate([x, x]),
    "lambda x: evens(x)": lambda x: x[::2],
    "lambda x: odds(x)": lambda x: x[1::2],
    "lambda x: interleave(x, reversed(x))": None,
    "lambda x: any(x)": lambda x: bool(x.astype(bool).any()),
    "lambda x: all(x)": lambda x: bool(x.astype(bool).all()),
    "lambda x: count(lambda a: a > 0, x)": lambda x: int(np.count_nonzero(x > 0)),
    "lambda x: reduce(maximum, x, min_bound_el(x))": None,
    "lambda x: reduce(op_add, x, x[0])": None,
    "lambda x: sum([int64(a > 0) for a in x])": lambda x: int(np.count_nonzero(x > 0)),
    "lambda x: reduce(lambda a, b: (a[0] + b[0], max(a[1], b[1])), [(1, i) for i in indices(x)], (0, -1))": lambda x: (len(x), len(x) - 1),
}
NO_BOOLS = ("scan(op_add", "reduce(op_add")
QUICK = [text for text in TABLE if "lambda a, b" not in text and "reduce" not in text]


def outcome(function, x, place):
    try:
        return function(x, target_place=place)
    except (BoundsError, ShapeError) as error:
        return type(error)


@pytest.mark.parametrize("text", TABLE)
@pytest.mark.parametrize("dtype", TYPES)
def test_primitives_agree_with_plain_python_and_numpy(text, dtype):
    if dtype == "bool" and any(name in text for name in (*NO_BOOLS, "bound_el")):
        pytest.skip("of bools this is something else")
    function = made(text)
    of_nothing = ("scatter_reduce(max", "a[0] + b[0]")  # plain Python does not know its type
    for size in SIZES[any(part in text for part in of_nothing) :]:
        x = sample(dtype, size)
        found = outcome(function, x, places.sequential)
        assert_alike(outcome(function, x, places.openmp), found)
        with np.errstate(all="ignore"):
            if TABLE[text] is not None:
                wanted = TABLE[text](x)
                pairs = zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]
                for one, other in pairs:
                    assert_bits(np.asarray(one), np.asarray(other))
        if size < 1000:
            assert_alike(found, outcome(function, x, places.here), lenient=size < 2)


@pytest.mark.parametrize("text", [text for text in TABLE if TABLE[text] is not None])
@pytest.mark.parametrize("size", LARGE)
def test_primitives_of_many_elements_agree_with_numpy(text, size):
    function = made(text)
    for dtype in ["float32", "int64"]:
        x = sample(dtype, size)
        if text.startswith("lambda x: sort") or "argsort" in text:
            x = x[: size // 4]
        found, wanted = function(x), TABLE[text](x)
        for one, other in zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]:
            assert_bits(np.asarray(one), np.asarray(other))


SUMS = {
    "lambda x: sum(x)": np.sum,
    "lambda x: min(x)": np.min,
    "lambda x: max(x)": np.max,
    "lambda x: reduce(op_mul, x, cast_to_el(1, x))": np.prod,
    "lambda x: reduce(lambda a, b: a + b, x, cast_to_el(0, x))": np.sum,
}


@pytest.mark.parametrize("text", SUMS)
@pytest.mark.parametrize("dtype", TYPES[1:])
def test_reductions_agree(text, dtype):
    function = made(text)
    for size in SIZES[1:]:
        x = sample(dtype, size)
        found = agree(function, x)
        with np.errstate(all="ignore"):
            wanted = SUMS[text](x)
            if dtype.startswith("int"):
                assert found == int(wanted.astype(dtype))
            elif np.isfinite(wanted):
                assert np.isclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("place", COMPILED, ids=str)
def test_a_million_elements(place):
    x = sample("float64", 1_000_000, 3)
    with place:
        assert parallel.max(x) != parallel.max(x)  # there is a NaN
        finite = np.nan_to_num(x, nan=0.0, posinf=1.0, neginf=-1.0, copy=True) % 1.0
        assert np.isclose(parallel.sum(finite), finite.sum())
        assert np.allclose(np.asarray(parallel.scan(parallel.op_add, finite)), np.cumsum(finite))
        assert_bits(np.asarray(parallel.sort(x)), np.sort(x, kind="stable"))


def test_sum_of_bools_counts_them():
    def counted(x):
        return sum(x), sum([a > 0 for a in x]), sum(x, 5)

    assert agree(counted, np.array([True, False, True])) == (2, 2, 7)
    assert agree(counted, np.empty(0, bool)) == (0, 0, 5)


def test_reductions_of_nothing_give_their_start():
    def reduced(x, y):
        return sum(x), any(x), all(x), reduce(op_add, x, 5.0), reduce(lambda a, b: a, y, 3), len(x), count(lambda a: True, x)

    assert agree(reduced, np.empty(0), np.empty(0, "i8")) == (0.0, False, True, 5.0, 3, 0, 0)


def test_minus_zero_and_nan_are_kept():
    def kept(x):
        return sort(x), min(x), max(x), scan(minimum, x), [a for a in x if a == 0], [-a for a in x]

    agree(kept, np.array([0.0, -0.0, 1.0, -0.0, 0.0]))
    agree(kept, np.array([np.nan, -0.0, 1.0, np.nan, -np.inf]))
    agree(kept, np.float32([5e-324, 1e-45, -1e-45, 0.0]))


# ------------------------------------------------------------------------------------------- kinds of sequences


def test_lists_and_tuples_are_arguments():
    def both(x, t):
        return sum(x), t[0] * 2, [a + b for a, b in zip(t[1], x)]

    assert agree(both, [1, 2, 3], (4, [0.5, 1.5, 2.5]))[:2] == (6, 8)
    assert agree(both, range(3), (4, np.float32([1, 2, 3])))[0] == 3


def test_sequences_of_tuples_are_arguments():
    def parts(pairs):
        return [a * b for a, b in pairs], sort(pairs), max(pairs), min(pairs), unzip(pairs)[1], pairs[1], filter(lambda p: p[0] > 1, pairs)

    found = agree(parts, [(3, 0.5), (1, 2.0), (3, -1.0)])
    assert found[2:4] == ((3, 0.5), (1, 2.0))
    agree(parts, cuarray([(3, 0.5), (1, 2.0), (3, -1.0)]))


def test_ragged_sequences():
    rows = cuarray([[1.0, 2.0], [], [3.0], [4.0, 5.0, 6.0]])

    def of_rows(rows):
        return [sum(r) for r in rows], [len(r) for r in rows], [[a * 2 for a in r] for r in rows], len(rows), rows[3][1], [r for r in rows]

    agree(of_rows, rows)
    assert agree(lambda rows: [max(r) if len(r) > 0 else 0.0 for r in rows], rows).tolist() == [2.0, 0.0, 3.0, 6.0]


def test_arrays_of_several_dimensions():
    x = np.arange(24.0).reshape(2, 3, 4)

    def of_rows(x):
        return [sum([sum(r) for r in p]) for p in x], x[1, 2, 3], x[0], [[r[0] for r in p] for p in x], len(x), x[-1][0]

    agree(of_rows, x)
    agree(of_rows, x[:, ::-1])

    def places(n, m):
        return [i * 10 + j for i, j in ndindex(n, m)], map(lambda p: p[0] - p[1], ndindex(m, n, 2))

    assert agree(places, 2, 3)[0].tolist() == [[0, 1, 2], [10, 11, 12]]


def test_results_are_no_views_of_arguments():
    x = np.arange(4.0)
    for place in COMPILED:
        found = cu(lambda x: (x, x))(x, target_place=place)
        assert not np.shares_memory(np.asarray(found[0]), x)
        assert not np.shares_memory(np.asarray(found[0]), np.asarray(found[1]))


# ------------------------------------------------------------------------------------------------------ refusals

UNEQUAL = ["map(lambda a, b: a, x, y)", "zip(x, y)", "[a for a, b in zip(x, y)]", "interleave(x, y)", "scatter(x, indices(y), x)",
           "permute(x, indices(y))", "sort_by_key(x, y)"]  # fmt: skip


@pytest.mark.parametrize("text", UNEQUAL)
def test_unequal_lengths_are_refused(text):
    name = text.partition("(")[0] if "for" not in text else "zip"
    for x, y in ((np.arange(4.0), np.arange(3.0)), (np.arange(3.0), np.empty(0))):
        match = rf"{name}\(\) of sequences 1 and 2, whose lengths differ: {len(x)} and {len(y)}"
        all_refuse(made(f"lambda x, y: {text}"), x, y, kind=ShapeError, match=match, here="unequal lengths")


OUT_OF_RANGE = ["gather(x, i)", "scatter(i, i, x)", "permute(i, i)", "update(x, zip(i, i))", "[x[k] for k in i]",
                "scatter_reduce(op_add, i, i, x)"]  # fmt: skip


@pytest.mark.parametrize("text", OUT_OF_RANGE)
@pytest.mark.parametrize("wrong", [3, -4, 2**40, -(2**63)])
def test_indices_out_of_range_are_refused(text, wrong):
    match = rf"test_primitives|<source of <lambda>>:1: index {wrong} is out of range for 3 elements"
    all_refuse(made(f"lambda x, i: {text}"), np.arange(3), np.array([0, 1, wrong]), kind=BoundsError, match=match, here="out of range")


@pytest.mark.parametrize("text", ["min(x)", "max(x)", "reduce(op_add, x)", "[min(x) for a in range(2)]"])
def test_reductions_of_nothing_without_a_start_are_refused(text):
    name = text.strip("[").partition("(")[0]
    for x in (np.empty(0), np.empty(0, "i4")):
        all_refuse(made(f"lambda x: {text}"), x, kind=ShapeError, match=rf"{name}\(\) of a sequence that is empty", here="empty sequence")
    all_refuse(
        made("lambda x: max([a for a in x if a > 5])"), np.arange(3.0), kind=ShapeError, match=r"max\(\) of a sequence that is empty",
        here="empty sequence",
    )  # fmt: skip


def test_a_step_of_zero_is_refused():
    function = made("lambda n: range(0, 5, n)")
    for place in COMPILED:
        with pytest.raises(ShapeError, match=r"range\(\) with a step of 0"):
            function(0, target_place=place)
    assert agree(function, 2).tolist() == [0, 2, 4]


REFUSALS = {
    "map(lambda a: a)": "map() needs a function and at least one sequence",
    "map(lambda a: a, 3)": "map() needs a sequence, not int",
    "map(3, x)": "int cannot be called",
    "zip()": "zip() needs at least one sequence",
    "zip(1, x)": "zip() needs a sequence, not int",
    "unzip(x)": "unzip() needs a sequence of tuples; its elements are float64",
    "range(1.5)": "range() needs an integer, not float. Convert first: int64(n).",
    "range()": "range() takes 1 to 3 integers, not 0",
    "range(1, 2, 3, 4)": "range() takes 1 to 3 integers, not 4",
    "ndindex()": "ndindex() needs at least one length",
    "replicate(1, 1.5)": "replicate() needs an integer, not float",
    "len(3)": "len() needs a sequence, not int",
    "gather(x, x)": "gather() needs an integer, not float64",
    "shift(x, 0.5, 1)": "shift() needs an integer, not float",
    "filter(lambda a: (a, a), x)": "the predicate of filter() gives (float64, float64), not a bool",
    "sum(zip(x, x))": "sum() adds numbers, not (float64, float64). Use reduce(f, x, init).",
    "any(zip(x, x))": "any() asks bools, not (float64, float64)",
    "reduce(lambda a, b: a, x, (1, 2))": "reduce() combines (int, int) with float64; they must have one structure",
    "reduce(lambda a, b: (a, b), x, 0.0)": "reduce() combines float64 with (float64, float64); they must have one structure",
    "reduce(op_add, x, x)": "reduce() combines numbers and tuples of them",
    "scan(lambda a, b: (a, b), x)": "they must have one structure",
    "scatter(x, indices(x), indices(x))": "float64 values would be truncated in a sequence of int64. Convert: int64(v).",
    "scatter(zip(x, x), indices(x), x)": "scatter() of (float64, float64) into a sequence of float64",
    "update(x, x)": "update() needs pairs (place, value), not float64",
    "sort(lambda a, b: (a, b), x)": "the order of sort() gives (float64, float64), not a bool",
    "argsort(x, descending=x[0] > 1)": "descending is True or False",
    "sqrt(x)": "sqrt() takes numbers, not [float64]. Map it: [sqrt(a) for a in x].",
    "sqrt(1, 2)": "sqrt() takes 1 numbers, not 2",
    "cast_to_el(1, 2)": "a sequence is needed here, not int",
    "cast_to_el(1, zip(x, x))": "the elements must be numbers",
    "concatenate(1)": "concatenate() needs a sequence, not int",
    "float32(x)": "float32() takes numbers, not [float64]. Map it",
    "gather(x)": "gather() missing 1 required positional argument",
    "take(x, 1, 2)": "take() takes",
    "where(x, 1, 2)": "where() takes numbers",
}


@pytest.mark.parametrize("text", REFUSALS)
def test_arguments_that_are_refused_say_what_is_needed(text):
    import re

    with pytest.raises(TypeMismatch, match=re.escape(REFUSALS[text])) as caught:
        made(f"lambda x: {text}")(np.arange(3.0))
    assert str(caught.value).startswith("<source of <lambda>>:1: ")


IN_MAPS = ["scatter(y, indices(y), y)", "permute(y, indices(y))", "histogram(indices(y), 3)", "segments(y, indices(y))"]


@pytest.mark.parametrize("text", IN_MAPS)
def test_what_needs_memory_in_maps_is_refused(text):
    name = text.partition("(")[0]
    with pytest.raises(SyntaxRefused, match=rf"{name}\(\) inside of a map needs memory for each element"):
        made(f"lambda x: [(lambda y: {text})([b + a for b in x])[0] for a in x]")(np.arange(3.0))


def test_operators_that_may_fail_do_not_sort():
    with pytest.raises(SyntaxRefused, match=r"the order of sort\(\) must not be able to fail. Compute keys first, and sort by them."):
        made("lambda x, y: sort(lambda a, b: y[a] < y[b], x)")(np.arange(3), np.arange(3))


def test_scans_in_maps_of_what_the_map_makes_depend_on_no_variable_of_it():
    assert agree(lambda x: [sum(scan(op_add, x)) + a for a in x], np.arange(4.0)).tolist() == [10.0, 11.0, 12.0, 13.0]
    assert agree(lambda x: [sum(scan(lambda a, b: a * b, x)) + a for a in x], np.arange(4.0)).tolist() == [0.0, 1.0, 2.0, 3.0]
    assert agree(lambda x: [sum(exclusive_scan(op_add, k, x)) for k in x], np.arange(4.0)).tolist() == [4.0, 8.0, 12.0, 16.0]
    with pytest.raises(SyntaxRefused, match="needs memory for each element"):
        made("lambda x: [sum(scan(lambda a, b: a + b * k, x)) for k in x]")(np.arange(4.0))
