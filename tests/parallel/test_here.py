"""Place `here`: every primitive against NumPy, on all types, on nothing, and what errors say."""

import functools
import itertools
import operator

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import hotloop as hl
from hotloop.errors import BoundsError, ShapeError, TypeMismatch
from hotloop.ir.op import REGISTRY
from hotloop.ops.shape import CHUNK, fold_halves
from hotloop.parallel import here
from hotloop.parallel.cuarray import cuarray

TYPES = ["bool", "int32", "int64", "float32", "float64"]
NARROW = {"int8": "int32", "uint16": "int32", "uint32": "int64", "uint64": "int64"}
SEQUENCES = st.sampled_from(TYPES).flatmap(lambda dtype: arrays.arrays(dtype, st.integers(0, 40)))
NUMBERS = st.sampled_from(TYPES[1:]).flatmap(lambda dtype: arrays.arrays(dtype, st.integers(0, 40)))
SMALL = st.sampled_from(TYPES[1:]).flatmap(lambda dtype: arrays.arrays(dtype, st.integers(0, 40), elements=st.integers(-4, 4)))
FLOATS = st.sampled_from(TYPES[3:]).flatmap(lambda dtype: arrays.arrays(dtype, st.integers(1, 60)))
PAIRS = st.integers(0, 20).flatmap(lambda n: st.tuples(arrays.arrays("f4", n), arrays.arrays("i8", n)))
ROWS = st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=5).filter(lambda rows: len({len(row) for row in rows}) > 1 and any(rows))


def same(found, wanted):
    """Whether two arrays or scalars are equal to the bit, but for what kind of NaN; type and shape too."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return False
    nan = (found != found) & (wanted != wanted)
    return np.where(nan, 0, found).tobytes() == np.where(nan, 0, wanted).tobytes()


# ------------------------------------------------------------------------------------------------ moving


@given(SEQUENCES)
def test_map_applies_a_function_to_each_element(x):
    assert same(here.map(lambda a: a, x), x)
    assert not len(x) or same(here.map(lambda a: (a, a), x).fields[1], x)
    with np.errstate(all="ignore"):
        single, double = x.astype("f4"), x.astype("f8")
        assert same(here.map(lambda a: a + 1, single), single + 1)
        assert same(here.map(lambda a, i: a * i, double, here.indices(x)), double * np.arange(len(x)))


def test_elements_are_numpys_scalars_tuples_and_rows():
    seen = []
    here.map(lambda *a: seen.append(a) or 0, np.float32([1]), [(2, 3.0)], [[4, 5]])
    ((a, b, c),) = seen
    assert type(a) is np.float32
    assert b == (2, 3.0)
    assert type(b[0]) is np.int64
    assert type(c) is cuarray


@pytest.mark.parametrize(("given_type", "wanted"), NARROW.items())
def test_narrow_types_are_computed_in_wider_ones(given_type, wanted):
    assert here.map(lambda a: a, np.ones(2, given_type)).dtype == wanted
    assert here.gather(np.ones(2, given_type), np.zeros(1, given_type)).dtype == wanted


def test_python_numbers_in_results_are_weak():
    assert here.map(lambda a: a if a > 1 else 0.5, np.float32([1, 2])).dtype == np.float32
    assert here.map(lambda a: a if a > 1 else 0.5, [1, 2]).dtype == np.float64
    assert here.map(lambda a: 1, np.float32([1, 2])).dtype == np.int64


def test_map_of_nothing_applies_nothing_and_keeps_the_type():
    assert here.map(lambda a: 1 / 0, np.empty(0, np.int32)).dtype == np.int32
    assert here.map(lambda a: 1 / 0, []).dtype == np.float64


def test_unequal_lengths_are_refused():
    for name, arguments in {
        "map": (lambda a, b: a, [1], [1, 2]),
        "zip": ([1], [1, 2]),
        "pack": ([True], [1, 2]),
        "scatter": ([1], [0, 0], [1]),
        "permute": ([1, 2], [0]),
        "interleave": ([1], [1, 2]),
        "sort_by_key": ([1], [1, 2]),
        "reduce_by_key": (operator.add, [1], [1, 2]),
    }.items():
        with pytest.raises(ShapeError, match=f"{name}: sequences of unequal lengths: [12] and [12]"):
            getattr(here, name)(*arguments)


@pytest.mark.parametrize("name", ["gather", "scatter", "scatter_op", "permute", "update"])
@pytest.mark.parametrize(("index", "message"), [(3, "index 3 at place 1"), (-4, "index -4 at place 1")])
def test_indices_out_of_range_are_refused(name, index, message):
    x, i = [1, 2, 3], [0, index, 9]
    calls = {
        "gather": lambda: here.gather(x, i),
        "scatter": lambda: here.scatter(x, i, x),
        "scatter_op": lambda: here.scatter(x, i, x, operator.add),
        "permute": lambda: here.permute(x, i),
        "update": lambda: here.update(x, [(0, 1), (index, 2)]),
    }
    with pytest.raises(BoundsError, match=f"{message} is out of range for 3 elements"):
        calls[name]()


def test_indices_are_integers_and_sequences_are_no_numbers_nor_tuples():
    with pytest.raises(TypeMismatch, match="gather: indices are integers, not float64"):
        here.gather([1], [0.0])
    with pytest.raises(TypeMismatch, match="sum: a sequence is needed, not the number 3"):
        here.sum(3)
    with pytest.raises(TypeMismatch, match=r"sum: a sequence is needed, not a tuple. Combine sequences with zip"):
        here.sum((1, 2))
    with pytest.raises(TypeMismatch, match="sum: a sequence of numbers is needed, not one of tuples or rows"):
        here.sum([(1, 2)])
    with pytest.raises(TypeMismatch, match="map: a function is needed, not the number 3"):
        here.map(3, [1])
    with pytest.raises(TypeMismatch, match="needs at least one sequence"):
        here.map(abs)


@given(SEQUENCES, st.data())
def test_gather_takes_elements_at_places(x, data):
    assume(len(x))
    i = data.draw(arrays.arrays("i4", st.integers(0, 9), elements=st.integers(-len(x), len(x) - 1)))
    assert same(here.gather(x, i), x[i])
    assert here.gather(here.zip(x, x), i).tolist() == here.zip(x[i], x[i]).tolist() or x.dtype.kind == "f"


@given(ROWS, st.data())
def test_rows_move_as_elements(rows, data):
    i = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1)))
    assert here.gather(rows, i).tolist() == [rows[k] for k in i]
    assert here.reversed(rows).tolist() == rows[::-1]
    assert here.concatenate(rows, rows).tolist() == rows + rows
    assert here.take(rows, 2).tolist() == rows[:2]
    assert here.filter(lambda row: len(row) > 1, rows).tolist() == [row for row in rows if len(row) > 1]


@given(NUMBERS, st.data())
def test_scatter_puts_elements_at_places_and_the_last_wins(dst, data):
    assume(len(dst))
    i = data.draw(arrays.arrays("i8", st.integers(0, 20), elements=st.integers(-len(dst), len(dst) - 1)))
    src = data.draw(arrays.arrays(dst.dtype, len(i)))
    wanted = dst.copy()
    for place, value in zip(i, src, strict=True):
        wanted[place] = value
    assert same(here.scatter(src, i, dst), wanted)
    pairs = here.zip(i, src)
    assert same(here.update(dst, pairs), wanted)
    assert same(here.update(dst, (i, src)), wanted)
    with np.errstate(all="ignore"):
        wanted = dst.copy()
        for place, value in zip(i, src, strict=True):
            wanted[place] = wanted[place] + value
    assert same(here.scatter(src, i, dst, operator.add), wanted)
    assert same(here.scatter_reduce(lambda a, b: a + b, src, i, dst), wanted)


def test_scatter_has_the_types_of_its_target():
    assert here.scatter([1], [0], np.zeros(2, np.float32)).dtype == np.float32
    assert here.scatter(np.int64([1]), [0], np.zeros(2, np.int32)).dtype == np.int32
    with pytest.raises(TypeMismatch, match="float64 values would be truncated in a sequence of int64"):
        here.scatter([1.5], [0], [1, 2])
    assert here.scatter([(5, 6)], [1], [(1, 2.0), (3, 4.0)]).tolist() == [(1, 2.0), (5, 6.0)]
    assert here.update([1, 2], []).tolist() == [1, 2]
    with pytest.raises(TypeMismatch, match="a sequence of pairs"):
        here.update([1, 2], [1])


@given(SEQUENCES, st.randoms())
def test_permute_is_the_inverse_of_gather(x, random):
    i = list(range(len(x)))
    random.shuffle(i)
    assert same(here.gather(here.permute(x, i), i), x)


def test_places_that_permute_does_not_reach_hold_zero():
    assert here.permute([1, 2, 3], [1, 1, -1]).tolist() == [0, 2, 3]


@given(SEQUENCES, st.integers(-50, 50))
def test_shift_and_rotate(x, by):
    n = len(x)
    padded = np.concatenate([np.full(60, True, x.dtype), x, np.full(110, True, x.dtype)])
    assert same(here.shift(x, by, x.dtype.type(1)), padded[60 + by : 60 + by + n])
    assert same(here.rotate(x, by), np.roll(x, -by))
    assert here.shift(here.zip(x, x), 1, (x.dtype.type(0), True)).dtype[1] == x.dtype


def test_the_default_of_shift_takes_part_in_the_type():
    assert here.shift(np.float32([1]), 1, 0.5).dtype == np.float32
    assert here.shift([1, 2], 1, 0.5).tolist() == [2.0, 0.5]
    assert here.shift([(1, 2.0)], 1, (0, 0)).tolist() == [(0, 0.0)]


@given(SEQUENCES, st.integers(-3, 50))
def test_parts_of_sequences(x, n):
    assert same(here.take(x, n), x[: max(n, 0)])
    assert same(here.drop(x, n), x[max(n, 0) :])
    assert same(here.evens(x), x[::2])
    assert same(here.odds(x), x[1::2])
    assert same(here.reversed(x), x[::-1])
    assert same(here.interleave(x, x), np.repeat(x, 2))
    assert same(here.interleave(here.evens(x[: len(x) // 2 * 2]), here.odds(x)), x[: len(x) // 2 * 2])
    assert same(here.concatenate(x, [1.5]), np.concatenate([x, np.array([1.5])]))
    assert same(here.concatenate((x, x)), np.concatenate([x, x]))
    assert same(here.join(x, x), np.concatenate([x, x]))


@given(SEQUENCES)
def test_zip_and_unzip(x):
    pairs = here.zip(x, here.indices(x))
    assert len(pairs) == len(x)
    first, second = here.unzip(pairs)
    assert same(first, x)
    assert same(second, np.arange(len(x)))
    places, again = here.unzip(here.enumerate(x))
    assert same(places, np.arange(len(x)))
    assert same(again, x)


def test_unzip_takes_tuples():
    assert [part.tolist() for part in here.unzip([(1, (2, 3.0))])] == [[1], [(2, 3.0)]]
    with pytest.raises(TypeMismatch, match="unzip: a sequence of tuples is needed"):
        here.unzip([1])
    assert here.enumerate([5], 2).tolist() == [(2, 5)]


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-3, 3).filter(bool))
def test_ranges(a, b, step):
    assert same(here.range(a, b, step), np.arange(a, b, step, dtype=np.int64))
    assert same(here.range(b), np.arange(b, dtype=np.int64))
    assert same(here.bounded_range(a, b), np.arange(a, b, dtype=np.int64))
    assert same(here.replicate(1.5, b), np.full(max(b, 0), 1.5))
    with pytest.raises(TypeMismatch, match=r"range: an integer is needed, not 1.5"):
        here.range(1.5)


def test_replicate_repeats_numbers_and_tuples():
    assert here.replicate((1, (2.5, True)), 2).tolist() == [(1, (2.5, True))] * 2
    assert here.replicate(np.float32(1), 0).dtype == np.float32
    assert here.replicate(3, 2).dtype == np.int64


def test_len_is_pythons_int():
    assert type(here.len([1, 2])) is int
    assert here.len((1, 2, 3)) == 3
    assert here.len(range(4)) == here.len(np.ones((4, 2))) == 4


@given(SEQUENCES)
def test_filter_partition_pack_and_count(x):
    flags = x != x.dtype.type(0)
    assert same(here.filter(lambda a: a != 0, x), x[flags])
    kept, others = here.partition(lambda a: a != 0, x)
    assert same(kept, x[flags])
    assert same(others, x[~flags])
    assert same(here.pack(flags, x), x[flags])
    assert here.count(lambda a: a != 0, x) == np.count_nonzero(flags)


@given(SMALL)
def test_adjacent_difference(x):
    assert same(here.adjacent_difference(x), np.concatenate([x[:1], np.diff(x)]))


def test_bools_have_no_difference():
    with pytest.raises(TypeMismatch, match="bools cannot be subtracted"):
        here.adjacent_difference([True])


def test_ndindex_makes_arrays():
    assert same(here.map(lambda p: p[0] * 10 + p[1], here.ndindex(2, 3)), np.array([[0, 1, 2], [10, 11, 12]]))
    assert here.map(lambda p: p[0], here.ndindex(0, 3)).shape == (0, 3)
    assert list(here.ndindex(2, 2)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(here.ndindex(2, 3)) == 6
    assert here.ndindex(2, 2)[3] == (1, 1)
    assert here.map(lambda p: p, here.ndindex(2, 2)).fields[1].tolist() == [[0, 1], [0, 1]]


@given(arrays.arrays("f4", st.integers(0, 20)), st.integers(-3, 3), st.integers(-3, 3))
def test_stencil_sees_neighbours_and_what_is_outside(x, a, b):
    padded = np.concatenate([np.full(3, 7, x.dtype), x, np.full(3, 7, x.dtype)])
    wanted = padded[3 + a : 3 + a + len(x)], padded[3 + b : 3 + b + len(x)]
    with np.errstate(all="ignore"):
        assert same(here.stencil(lambda p, q: p - q, (a, (b,)), x, 7), wanted[0] - wanted[1])


def test_stencil_of_arrays_of_two_dimensions():
    x = np.arange(12.0).reshape(3, 4)
    padded = np.pad(x, 1)
    wanted = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    assert same(here.stencil(lambda n, s, w, e: n + s + w + e, ((-1, 0), (1, 0), (0, -1), (0, 1)), x, 0), wanted)
    with pytest.raises(ShapeError, match="an offset of 1 for an array of 2 dimensions"):
        here.stencil(lambda a: a, (1,), x, 0)


# --------------------------------------------------------------------------------- reductions and scans

CLOSED = {"add": operator.add, "mul": operator.mul, "minimum": here.minimum, "maximum": here.maximum}


def total_of(name, x):
    """What the chunks give, combined left to right; each in the order of all of hotloop's reductions."""
    numpy = REGISTRY[name].numpy  # which has an opinion on the sign of zeros
    with np.errstate(all="ignore"):
        parts = [fold_halves(x[start : start + CHUNK], numpy) for start in range(0, len(x), CHUNK)]
        return functools.reduce(numpy, parts)


@pytest.mark.parametrize("name", CLOSED)
@given(x=FLOATS, init=st.floats(width=32))
def test_floats_are_reduced_in_the_fixed_order(name, x, init):
    with np.errstate(all="ignore"):
        wanted = CLOSED[name](x.dtype.type(init), total_of(name, x))
    assert same(here.reduce(CLOSED[name], x, init), wanted)


@pytest.mark.parametrize("name", ["add", "mul"])
@pytest.mark.parametrize("length", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 77])
def test_chunks_are_combined_left_to_right(name, length):
    x = np.random.default_rng(length).uniform(0.9, 1.1, length).astype(np.float32)
    assert same(here.reduce(CLOSED[name], x, 1.0), CLOSED[name](np.float32(1), total_of(name, x)))
    spelled = {"add": lambda a, b: a + b, "mul": lambda a, b: b * a}[name]
    assert same(here.reduce(spelled, x, 1.0), here.reduce(CLOSED[name], x, 1.0))
    left_to_right = {"add": lambda a, b: a + b + 0.0, "mul": lambda a, b: a * b + 0.0}[name]
    parts = [functools.reduce(CLOSED[name], x[start : start + CHUNK]) for start in range(0, length, CHUNK)]
    assert same(here.reduce(left_to_right, x, 1.0), functools.reduce(CLOSED[name], [np.float32(1), *parts]))


def test_scans_continue_from_the_totals_of_chunks():
    x = np.random.default_rng(1).uniform(0, 1, 2 * CHUNK + 9).astype(np.float32)
    wanted, before = [], None
    for start in range(0, len(x), CHUNK):
        chunk = x[start : start + CHUNK]
        running = list(itertools.accumulate(chunk if before is None else [before, *chunk]))
        wanted += running if before is None else running[1:]
        total = total_of("add", chunk)
        before = total if before is None else before + total
    assert same(here.scan(operator.add, x), np.array(wanted))
    found = here.exclusive_scan(operator.add, 0.0, x)
    assert found[0] == 0
    assert found[CHUNK] == total_of("add", x[:CHUNK])


@given(SEQUENCES)
def test_sum_has_the_type_of_the_elements_and_counts_bools(x):
    found = here.sum(x)
    assert found.dtype == (np.int64 if x.dtype == bool else x.dtype)
    if x.dtype.kind != "f":
        assert same(found, x.sum(dtype=found.dtype))
    elif len(x):
        assert same(found, total_of("add", x) + x.dtype.type(0))
    else:
        assert same(found, x.dtype.type(0))


def test_a_sum_starts_at_zero_and_so_has_no_negative_zero():
    assert same(here.sum([-0.0]), np.float64(0.0))
    assert here.sum([1, 2], 10) == 13
    assert here.prod([2, 3]) == 6


@pytest.mark.parametrize("name", ["min", "max"])
@given(x=SEQUENCES)
def test_extremes_are_numpys_and_nan_wins(name, x):
    assume(len(x))
    found = getattr(here, name)(x)
    assert found.dtype == x.dtype
    wanted = getattr(np, name)(x)
    assert found == wanted or (found != found and wanted != wanted)
    place = getattr(here, f"arg{name}")(x)
    assert same(place, np.int64(getattr(np, f"arg{name}")(x)))


@pytest.mark.parametrize("name", ["min", "max", "argmin", "argmax"])
def test_extremes_of_nothing_are_refused(name):
    with pytest.raises(ShapeError, match=f"{name} of an empty sequence"):
        getattr(here, name)([])
    with pytest.raises(ValueError, match="empty sequence"):
        getattr(here, name)(np.empty(0, np.int32))


def test_extremes_of_numbers_and_of_tuples():
    assert here.min(1, 2.5) == 1
    assert type(here.max(np.float32(1), 2.5)) is np.float32
    assert np.isnan(here.min(1.0, float("nan"), 2.0))
    assert here.max((3, 1)) == 3
    pairs = [(2, 5), (1, 7), (1, 3), (2, 9)]
    assert here.min(pairs) == (1, 3)
    assert here.max(pairs) == (2, 9)
    with pytest.raises(TypeMismatch, match="numbers or tuples"):
        here.min([[1], [2, 3]])


@given(SEQUENCES)
def test_any_and_all(x):
    assert same(here.any(x), np.bool_(x.astype(bool).any()))
    assert same(here.all(x), np.bool_(x.astype(bool).all()))


@given(NUMBERS, st.integers(-5, 5))
def test_reduce_by_any_operator(x, init):
    def last_or_sum(a, b):
        return b if b > a else a

    values = [x.dtype.type(init), *x]
    with np.errstate(all="ignore"):
        if not np.isnan(x).any():
            assert same(here.reduce(last_or_sum, x, init), functools.reduce(last_or_sum, values))


def test_what_is_combined_has_one_type_that_holds_all():
    assert type(here.reduce(operator.add, np.int32([1, 2]), 0)) is np.int32
    assert type(here.reduce(operator.add, np.int32([1, 2]), 0.5)) is np.float64
    assert type(here.reduce(operator.add, np.float32([1]), np.float64(0))) is np.float64
    assert type(here.reduce(operator.add, np.float32([]), 0)) is np.float32
    assert type(here.reduce(lambda a, b: a + b / 2, [1, 2], 0)) is np.float64
    assert here.reduce(lambda a, b: a + b, [True, True], 0) == 2
    assert here.reduce(min, [3, 1], 2) == 1
    assert np.isnan(here.reduce(max, [3.0, float("nan")], 2))
    assert here.reduce(operator.add, [1, 2]) == 3
    with pytest.raises(ShapeError, match="reduce of an empty sequence"):
        here.reduce(operator.add, [])
    with pytest.raises(TypeMismatch, match=r"the types \(int64, int64\) and int cannot be"):
        here.reduce(lambda a, b: a, [(1, 2)], 0)


def test_tuples_are_combined_by_tuples():
    def best(a, b):
        return b if b[0] > a[0] else a

    pairs = here.zip([3, 9, 4], [0.5, 1.5, 2.5])
    assert here.reduce(best, pairs, (0, 0)) == (9, 1.5)
    assert here.scan(best, pairs).tolist() == [(3, 0.5), (9, 1.5), (9, 1.5)]
    assert here.scan(best, pairs).dtype == (np.int64, np.float64)


def test_filtered_elements_keep_their_place_in_the_order():
    x = np.random.default_rng(3).uniform(0, 1, 3 * CHUNK).astype(np.float32)
    x[CHUNK : 2 * CHUNK] = 0
    left = here.map(lambda a: a * 2, here.filter(lambda a: a > 0.5, x))
    assert same(left, x[x > 0.5] * 2)
    assert same(here.sum(left), np.float32(0) + total_of("add", np.where(x > 0.5, x * 2, np.float32(-0.0))))
    wanted = np.float32(0)
    for start in (0, 2 * CHUNK):
        part = x[start : start + CHUNK]
        wanted = wanted + functools.reduce(operator.add, part[part > 0.5] * 2)
    assert same(here.reduce(lambda a, b: a + b + 0.0, left, 0.0), wanted)
    assert same(here.reduce(lambda a, b: a + 1.0 * b, left, 0.0), here.sum(left))
    assert same(here.sum(here.filter(lambda a: a > 0.75, here.filter(lambda a: a > 0.5, x))), here.sum(here.filter(lambda a: a > 0.75, x)))


@pytest.mark.parametrize("backwards", [False, True])
@given(x=SMALL, init=st.integers(-3, 3))
def test_scans(backwards, x, init):
    order = x[::-1] if backwards else x
    inclusive, exclusive = (here.rscan, here.exclusive_rscan) if backwards else (here.scan, here.exclusive_scan)
    wanted = np.add.accumulate(order, dtype=x.dtype)
    assert same(inclusive(operator.add, x), wanted[::-1] if backwards else wanted)
    before = np.concatenate([[init], init + wanted])[: len(x)].astype(x.dtype)
    assert same(exclusive(operator.add, init, x), before[::-1] if backwards else before)


def test_right_scans_apply_to_what_is_combined_and_the_element():
    assert here.rscan(lambda a, b: a * 10 + b, [1, 2, 3]).tolist() == [321, 32, 3]
    assert here.exclusive_rscan(lambda a, b: a * 10 + b, 9, [1, 2, 3]).tolist() == [932, 93, 9]
    assert here.exclusive_scan(operator.add, 0.5, [1, 2]).tolist() == [0.5, 1.5]
    assert here.scan(operator.add, []).tolist() == []


# ------------------------------------------------------------------------------------ sorting and searching


def stable(x, descending):
    """Places in stable order, NaN last."""
    return sorted(range(len(x)), key=lambda i: (x[i] != x[i], 0 if x[i] != x[i] else -x[i] if descending else x[i]))


@given(st.one_of(NUMBERS, SMALL).map(lambda x: x.astype(float)))
def test_sorts_are_stable_and_have_nan_last(x):
    up, down = stable(x, False), stable(x, True)
    assert same(here.argsort(x), np.array(up, np.int64))
    assert same(here.argsort(x, descending=True), np.array(down, np.int64))
    for spelled in (here.sort(x), here.sort(here.cmp_lt, x), here.sort(lambda a, b: a < b, x), here.sort(lambda a, b: b > a, x)):
        assert same(spelled, x[up])
    for spelled in (here.sort(operator.gt, x), here.sort(lambda a, b: a > b, x)):
        assert same(spelled, x[down])
    keys, values = here.sort_by_key(x, here.indices(x))
    assert same(keys, x[up])
    assert same(values, np.array(up, np.int64))
    found, places = here.top_k(x, len(x) // 2)
    assert same(found, x[down[: len(x) // 2]])
    assert same(places, np.array(down[: len(x) // 2], np.int64))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 9)), min_size=1))
def test_tuples_are_sorted_by_all_parts_or_by_an_order(tuples):
    assert here.sort(tuples).tolist() == sorted(tuples)
    assert here.sort(lambda a, b: a[0] < b[0], tuples).tolist() == sorted(tuples, key=lambda t: t[0])
    assert here.sort(lambda a, b: a[1] > b[1], tuples).tolist() == sorted(tuples, key=lambda t: -t[1])
    assert here.sort(lambda a, b: a[0] + a[1] < b[0] + b[1], tuples).tolist() == sorted(tuples, key=lambda t: t[0] + t[1])
    assert here.argsort(tuples, descending=True).tolist() == sorted(range(len(tuples)), key=lambda i: [-k for k in tuples[i]])


def test_sort_takes_an_order_and_a_sequence():
    with pytest.raises(TypeMismatch, match="sort takes a sequence, or an order and a sequence"):
        here.sort(operator.lt, [1], 2)
    with pytest.raises(TypeMismatch, match="sort: a sequence of numbers or tuples of numbers"):
        here.sort([[1], [2, 3]])
    with pytest.raises(ShapeError, match="top_k: 3 of 2 elements"):
        here.top_k([1, 2], 3)


@given(NUMBERS)
def test_unique_is_numpys(x):
    values, counts = here.unique_counts(x)
    wanted, times = np.unique(x, return_counts=True)
    assert values.dtype == x.dtype
    assert counts.dtype == np.int64
    assert np.array_equal(values, wanted, equal_nan=x.dtype.kind == "f")
    assert np.array_equal(counts, times)
    assert same(here.unique(x), values)


@given(SMALL, st.lists(st.integers(-5, 5)), st.sampled_from(["left", "right"]))
def test_searchsorted_is_numpys(x, wanted, side):
    x = np.sort(x)
    assert same(here.searchsorted(x, wanted, side), np.searchsorted(x, np.array(wanted, float), side))
    assert same(here.searchsorted(x, 1, side), np.int64(np.searchsorted(x, 1, side)))


def test_searchsorted_has_two_sides():
    with pytest.raises(TypeMismatch, match='side is "left" or "right", not \'middle\''):
        here.searchsorted([1], 1, "middle")


@given(st.lists(st.integers(0, 6)), st.data())
def test_histogram_is_bincount(i, data):
    i = np.array(i, np.int64)
    assert same(here.histogram(i, 7), np.bincount(i, minlength=7))
    weights = data.draw(arrays.arrays("f8", len(i)))
    with np.errstate(all="ignore"):
        assert same(here.histogram(i, 7, weights), np.bincount(i, weights, 7).astype(float))


def test_histogram_has_the_type_of_its_weights_and_refuses_what_is_outside():
    assert here.histogram([0], 1, np.float32([1])).dtype == np.float32
    assert here.histogram([0, 0], 1, [True, True]).tolist() == [2]
    for wrong in (-1, 3):
        with pytest.raises(BoundsError, match=f"histogram: {wrong} at place 1 is out of range for 3 bins"):
            here.histogram([0, wrong], 3)


# ---------------------------------------------------------------------------------------------- segments


@given(ROWS)
def test_rows_are_combined_scanned_and_sorted_each_by_itself(rows):
    assert here.segmented_reduce(operator.add, rows, 5).tolist() == [sum(row) + 5 for row in rows]
    assert here.segmented_scan(operator.add, rows).tolist() == [list(itertools.accumulate(row)) for row in rows]
    assert here.segmented_sort(rows).tolist() == [sorted(row) for row in rows]
    assert here.segmented_sort(here.cmp_gt, rows).tolist() == [sorted(row)[::-1] for row in rows]
    assert here.flatten(rows).tolist() == [x for row in rows for x in row]
    assert here.lengths(rows).tolist() == [len(row) for row in rows]
    assert here.segments(here.flatten(rows), here.lengths(rows)).tolist() == rows


def test_a_long_row_is_scanned_as_a_long_sequence_is_chunk_by_chunk():
    x = np.random.default_rng(2).uniform(0, 1, 3 * CHUNK).astype(np.float32)
    found = here.segmented_scan(lambda a, b: a + b, here.segments(x, [5, len(x) - 5]))
    first, second = (list(itertools.accumulate(part)) for part in (x[5:CHUNK], x[CHUNK : 2 * CHUNK]))
    assert same(found[0], np.array(list(itertools.accumulate(x[:5]))))
    assert same(found[1][: CHUNK - 5], np.array(first))
    assert found[1][2 * CHUNK - 5] == (first[-1] + second[-1]) + x[2 * CHUNK]


def test_rows_of_an_array_are_segments():
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    assert same(here.segmented_reduce(operator.add, x, 0), x.sum(1))
    assert same(here.flatten(x), x.reshape(-1))
    assert same(here.lengths(x), np.array([3, 3]))
    assert here.segmented_scan(operator.add, x).tolist() == x.cumsum(1).tolist()


def test_segments_cover_all_values():
    for lengths in ([1, 1], [4], [-1, 4]):
        with pytest.raises(ShapeError, match="lengths are not negative, and 3 in all"):
            here.segments([1, 2, 3], lengths)
    with pytest.raises(TypeMismatch, match="lengths are integers, not float64"):
        here.segments([1], [1.0])
    with pytest.raises(TypeMismatch, match="flatten: a sequence of sequences is needed"):
        here.flatten([1])
    assert here.segments([], []).tolist() == []


@given(st.lists(st.integers(0, 2), max_size=30))
def test_runs_of_equal_keys_are_combined(keys):
    runs = [(key, list(run)) for key, run in itertools.groupby(range(len(keys)), keys.__getitem__)]
    found, values = here.reduce_by_key(operator.add, np.array(keys, np.int32), here.indices(keys))
    assert found.tolist() == [key for key, _ in runs]
    assert values.tolist() == [sum(run) for _, run in runs]
    assert found.dtype == np.int32


def test_keys_may_be_tuples():
    keys, values = here.reduce_by_key(operator.add, [(1, 2), (1, 2), (1, 3)], [1.0, 2.0, 3.0])
    assert keys.tolist() == [(1, 2), (1, 3)]
    assert values.tolist() == [3.0, 3.0]


# ----------------------------------------------------------------------------------------- functions of numbers


@given(st.floats(-10, 10), st.sampled_from(["sin", "exp", "tanh", "sqrt", "cbrt", "atan"]))
def test_elementary_functions_have_compiled_bits(x, name):
    for dtype in (np.float32, np.float64):
        wanted = getattr(hl, name)(dtype(x))
        assert same(getattr(here, name)(dtype(x)), wanted)
    assert type(getattr(here, name)(1.5)) is float
    assert type(getattr(here, name)(np.int32(2))) is np.float64
    assert type(getattr(here, name)(np.bool_(True))) is np.float64


def test_types_of_functions_of_numbers():
    assert type(here.atan2(np.float32(1), 2)) is np.float32
    assert type(here.atan2(np.float32(1), np.int32(2))) is np.float64
    assert type(here.minimum(np.int32(1), 2)) is np.int32
    assert type(here.minimum(np.int32(1), 2.5)) is np.float64
    assert here.abs(-3) == 3
    assert type(here.abs(np.int32(-3))) is np.int32
    assert here.abs(np.bool_(True)) is np.bool_(True)
    assert here.floor(np.float32(1.5)) == 1
    assert type(here.floor(np.int32(1))) is np.int32
    assert here.round(2.5) == 2.0
    assert here.isnan(3) is np.bool_(False)
    assert here.isfinite(np.float32("inf")) is np.bool_(False)
    assert type(here.where(np.bool_(True), np.int32(1), 2.5)) is np.float64
    assert type(here.where(True, 1, 2.5)) is float
    with pytest.raises(TypeMismatch, match=r"sqrt takes numbers. For each element of a sequence: map\(sqrt, x\)"):
        here.sqrt([1.0])


@pytest.mark.parametrize("name", ["int32", "int64", "float32", "float64", "bool"])
def test_casts(name):
    cast = getattr(here, name)
    for x in (2.7, -2.7, 3, True, np.float32(1.5), np.int64(2**40 + 1), np.bool_(False)):
        found = cast(x)
        assert found.dtype == np.dtype(name)
        assert found == np.asarray(x).astype(name)
    assert same(cast([1.5, 2.5]), np.array([1.5, 2.5]).astype(name))


def test_casts_and_bounds_by_example():
    assert type(here.cast_to(2.7, np.int32(1))) is np.int32
    assert type(here.cast_to(2.7, 1)) is int
    assert type(here.cast_to_el(1, np.float32([]))) is np.float32
    assert here.max_bound(np.int32(0)) == 2**31 - 1
    assert here.min_bound(0) == -(2**63)
    assert same(here.max_bound_el(np.float32([])), np.float32("inf"))
    assert same(here.min_bound_el([]), np.float64("-inf"))
    assert here.max_bound(np.bool_(False)) is np.bool_(True)
    assert here.int(np.float32(2.7)) == 2
    assert type(here.int(np.float32(2.7))) is int
    assert type(here.float(np.float32(2.5))) is float


OPERATORS = {
    "op_add": operator.add, "op_sub": operator.sub, "op_mul": operator.mul, "op_div": operator.truediv, "op_floordiv": operator.floordiv,
    "op_mod": operator.mod, "op_lshift": operator.lshift, "op_rshift": operator.rshift, "op_or": operator.or_, "op_xor": operator.xor,
    "op_and": operator.and_, "op_band": operator.and_, "op_bor": operator.or_, "cmp_eq": operator.eq, "cmp_ne": operator.ne,
    "cmp_lt": operator.lt, "cmp_le": operator.le, "cmp_gt": operator.gt, "cmp_ge": operator.ge, "op_pow": operator.pow,
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_by_name(name):
    for x, y in ((np.int32(7), np.int32(2)), (np.int64(-7), 3), (7, 2)):
        assert same(getattr(here, name)(x, y), OPERATORS[name](x, y))


def test_signs_and_what_python_refuses():
    assert (here.op_neg(3), here.op_pos(3), here.op_invert(np.int32(5)), here.op_not(np.int32(5))) == (-3, 3, -6, False)
    assert here.op_invert(np.bool_(True)) == here.op_invert(True) == False  # noqa: E712
    assert here.op_div(1.0, 0.0) == float("inf")
    assert here.op_floordiv(1, 0) == 0
    assert same(here.op_pow(np.float32(3), 2), np.float32(9))
    assert same(here.op_pow(2.5, 0.5), here.sqrt(2.5)) or here.op_pow(2.5, 0.5) == pytest.approx(2.5**0.5)
    assert here.op_pow(np.int32(3), np.int32(4)) == 81
    with pytest.raises(TypeMismatch, match="integers to negative powers"):
        here.op_pow(np.int32(3), -1)


def test_integers_wrap_without_a_word():
    assert same(here.sum(np.int32([2**31 - 1, 1])), np.int32(-(2**31)))
    assert same(here.map(lambda a: a + 1, np.int32([2**31 - 1])), np.int32([-(2**31)]))


# -------------------------------------------------------------------------------------------- random numbers


@pytest.mark.parametrize(
    ("key", "counter", "wanted"),
    [  # of Random123's kat_vectors: threefry2x32 20
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((-1, -1), (-1, -1), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3 - 2**32), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_known_answers(key, counter, wanted):
    def number(low, high):
        return (high << 32) | (low & 0xFFFFFFFF)

    bits = here.random_bits(number(*key), number(*counter))
    assert (int(bits) & 0xFFFFFFFF, int(bits) >> 32 & 0xFFFFFFFF) == wanted


def test_random_numbers_are_functions_of_seed_and_counter():
    assert type(here.random_bits(1, 2)) is np.int64
    assert here.random_bits(1, np.int32(2)) == here.random_bits(np.int64(1), 2)
    x = np.asarray(here.map(lambda i: here.random_uniform(7, i), here.range(4000)))
    assert same(x[5], here.random_uniform(7, 5))
    assert (x >= 0).all()
    assert (x < 1).all()
    assert abs(x.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.05
    z = np.asarray(here.map(lambda i: here.random_normal(7, i), here.range(4000)))
    assert abs(z.mean()) < 0.05
    assert abs(z.std() - 1) < 0.05
    assert abs((np.abs(z) < 1.959964).mean() - 0.95) < 0.015
    assert here.random_uniform(8, 5) != here.random_uniform(7, 5)


def test_there_is_nothing_else():
    with pytest.raises(AttributeError, match="there is no primitive 'nothing'"):
        _ = here.nothing
