"""cuarrays: what they are made of, elements, slices, comparisons, texts, and what other libraries see."""

import array
import copy
import operator
import pickle

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotloop.dtypes import MEMORY, float32
from hotloop.errors import BoundsError, RangeError, ShapeError, TargetError, TypeMismatch
from hotloop.parallel import places
from hotloop.parallel.cuarray import Pending, adopt, cuarray, force, ragged, records, to_numpy

NUMBERS = st.sampled_from([dtype.numpy for dtype in MEMORY])
ANY_ARRAY = NUMBERS.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)))
ROWS = st.lists(st.lists(st.integers(-9, 9), max_size=4), min_size=1, max_size=5)


def same(found, wanted):
    """Whether two arrays are equal to the bit, type and shape too."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    return found.dtype == wanted.dtype and found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


# ------------------------------------------------------------------------------------------- making them


@given(ANY_ARRAY)
def test_arrays_of_all_types_and_ranks_are_copied(source):
    made = cuarray(source)
    assert same(made, source)
    assert (made.dtype, made.shape, made.ndim, made.size, len(made)) == (source.dtype, source.shape, source.ndim, source.size, len(source))
    assert not np.shares_memory(np.asarray(made), source)
    shared = cuarray(source, copy=False)
    assert same(shared, source)
    assert np.shares_memory(np.asarray(shared), source) or not source.size


def test_what_is_not_contiguous_or_not_native_is_copied():
    for source in (np.arange(6.0)[::2], np.arange(6.0).reshape(2, 3).T, np.arange(3, dtype=">i4"), np.frombuffer(bytes(17), "f8", 2, 1)):
        made = cuarray(source, copy=False)
        assert np.array_equal(made, source)
        assert made.dtype == source.dtype.newbyteorder("=")
        flags = np.asarray(made).flags
        assert flags.c_contiguous
        assert flags.aligned


@pytest.mark.parametrize(
    ("source", "dtype", "wanted"),
    [
        ([1, 2], "int64", [1, 2]),
        ([1, 2.5], "float64", [1, 2.5]),
        ([True, False], "bool", [True, False]),
        ([True, 2], "int64", [1, 2]),
        ((1, 2, 3), "int64", [1, 2, 3]),
        ([], "float64", []),
        (range(3), "int64", [0, 1, 2]),
        ([np.float32(1), 2.5], "float32", [1, 2.5]),
        ([np.int32(1), 2], "int32", [1, 2]),
        ([np.int32(1), np.float32(2)], "float64", [1, 2]),
        ([np.array(1.5), np.array(2.5)], "float64", [1.5, 2.5]),
        ([[1, 2], [3, 4]], "int64", [[1, 2], [3, 4]]),
        ([[], []], "float64", np.empty((2, 0))),
        ([np.arange(2), [3, 4]], "int64", [[0, 1], [3, 4]]),
        (array.array("f", [1, 2]), "float32", [1, 2]),
        (bytearray(b"\x01\x02"), "uint8", [1, 2]),
        (b"\x03", "uint8", [3]),
        (memoryview(array.array("i", [1, 2])), "int32", [1, 2]),
        (np.float16([1, 2]), "float32", [1, 2]),
        ((x * x for x in range(3)), "int64", [0, 1, 4]),
        (np.array([1, 2.5], object), "float64", [1, 2.5]),
    ],
)
def test_whatever_is_a_sequence_of_numbers_becomes_one(source, dtype, wanted):
    made = cuarray(source)
    assert made.dtype == dtype
    assert np.array_equal(made, wanted)
    assert made.shape == np.shape(wanted)


def test_a_type_may_be_given():
    assert cuarray([1, 2], "float32").dtype == cuarray([1, 2], float32).dtype == np.float32
    assert cuarray([(1, 2)], np.int32).dtype == (np.int32, np.int32)


def test_arrays_of_other_libraries_are_taken():
    source = np.arange(3, dtype=np.int32)

    class ByInterface:
        __array_interface__ = source.__array_interface__

    class ByDlpack:
        def __dlpack__(self, **keywords):
            return source.__dlpack__(**keywords)

        def __dlpack_device__(self):
            return source.__dlpack_device__()

    assert same(cuarray(ByInterface()), source)
    assert same(cuarray(ByDlpack()), source)
    assert np.shares_memory(np.asarray(cuarray(ByDlpack(), copy=False)), source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3.0, "3.0 is not a sequence"),
        (None, "None is not a sequence"),
        ("abc", "'abc' is not a sequence"),
        ({1: 2}, "is not a sequence"),
        (np.float32(3), "3.0.* is a number, not a sequence"),
        (np.array(3), "is a number, not a sequence"),
        (object(), "object is not a sequence"),
        ([1, "a"], "elements of int and str"),
        ([1, [2]], "elements of int and list"),
        ([1, (2,)], "elements of int and tuple"),
        ([None], "elements of NoneType"),
        (np.zeros(2, complex), "cannot hold complex128"),
        (np.array(["a"]), "cannot hold <U1"),
        (np.zeros(2, "M8[s]"), "cannot hold datetime64"),
        ([[1], [(2, 3)]], "elements of int and tuple"),
        ([1j], "elements of complex"),
    ],
)
def test_what_is_no_sequence_of_numbers_says_so(source, message):
    with pytest.raises(TypeMismatch, match=message):
        cuarray(source)


def test_integers_that_fit_nowhere_are_refused():
    with pytest.raises(RangeError, match="1000000000000000000000 does not fit int64"):
        cuarray([1, 10**21])


def test_a_fresh_array_is_adopted_as_it_is():
    source = np.arange(3.0)
    made = adopt(source)
    assert type(made) is cuarray
    assert made.form is source


# ------------------------------------------------------------------------------------- tuples and rows


def test_lists_of_tuples_are_sequences_of_tuples():
    made = cuarray([(1, 2.5, (True, 3)), (4, 5, (False, 6))])
    assert len(made) == 2
    assert made.shape == (2,)
    assert made.dtype == (np.int64, np.float64, (np.bool_, np.int64))
    assert made[1] == (4, 5.0, (False, 6))
    assert type(made[1][0]) is np.int64
    assert list(made) == made.tolist() == [(1, 2.5, (True, 3)), (4, 5.0, (False, 6))]
    assert [part.dtype for part in made.fields[:2]] == [np.int64, np.float64]
    assert made[::-1].tolist() == made.tolist()[::-1]


def test_tuples_have_one_structure():
    with pytest.raises(ShapeError, match="tuples of 1 and 2 parts"):
        cuarray([(1,), (1, 2)])
    with pytest.raises(ShapeError, match="tuples of 0 parts"):
        cuarray([()])


def test_structured_arrays_are_sequences_of_tuples_and_back():
    source = np.array([(1, 2.5), (3, 4.5)], [("a", "i4"), ("b", "f8")])
    made = cuarray(source)
    assert made.dtype == (np.int32, np.float64)
    assert np.asarray(made).tolist() == source.tolist()
    assert np.asarray(made, source.dtype).dtype == source.dtype


@given(ROWS)
def test_nested_lists_are_rows(rows):
    made = cuarray(rows)
    assert len(made) == len(rows)
    assert [row.tolist() for row in made] == rows
    assert [made[i].tolist() for i in range(-len(rows), 0)] == rows
    assert made[1:].tolist() == rows[1:]
    assert made[::2].tolist() == rows[::2]
    if any(rows):
        assert made.dtype == np.int64
    assert (made.ndim == 2) == (len({len(row) for row in rows}) == 1)
    assert made.values.tolist() == [x for row in rows for x in row]
    assert made.offsets.tolist() == np.cumsum([0, *map(len, rows)]).tolist()


def test_rows_may_be_nested_to_any_depth_and_hold_tuples():
    for rows in ([[[1], [2, 3]], [], [[], [4]]], [[(1, 2.0)], [(3, 4.0), (5, 6.0)]], [[[1], [2]], [[3]]]):
        made = cuarray(rows)
        assert made.tolist() == rows
        assert made.shape == (len(rows),)
        assert [item.tolist() for item in made] == rows
        assert copy.deepcopy(made).tolist() == rows


def test_ragged_sequences_are_made_of_values_and_offsets():
    assert ragged(cuarray([1, 2, 3]), cuarray([0, 1, 1, 3])).tolist() == [[1], [], [2, 3]]
    for offsets in ([1, 3], [0, 2], [0, 3, 2, 3], []):
        with pytest.raises(ShapeError, match="offsets of rows ascend"):
            ragged(cuarray([1, 2, 3]), cuarray(offsets, "int64"))
    assert records(cuarray([1]), cuarray([2.0])).tolist() == [(1, 2.0)]
    with pytest.raises(ShapeError, match="columns of lengths 1, 2"):
        records(cuarray([1]), cuarray([1, 2]))


def test_only_rows_have_values_and_only_tuples_fields():
    with pytest.raises(TypeMismatch, match="only a sequence of sequences"):
        _ = cuarray([1]).values
    with pytest.raises(TypeMismatch, match="only a sequence of tuples"):
        _ = cuarray([1]).fields


# --------------------------------------------------------------------------------------------- elements


@given(ANY_ARRAY, st.data())
def test_indices_and_slices_are_those_of_numpy(source, data):
    made = cuarray(source)
    part = data.draw(st.slices(len(source)))
    assert same(made[part], np.ascontiguousarray(source[part]))
    if len(source):
        place = data.draw(st.integers(-len(source), len(source) - 1))
        assert same(made[place], source[place])
        assert isinstance(made[place], np.generic if source.ndim == 1 else cuarray)
    keys = data.draw(arrays.basic_indices(source.shape, allow_newaxis=False, allow_ellipsis=False))
    assert same(made[keys], source[keys])
    assert all(same(a, b) for a, b in zip(made, source, strict=True))


def test_elements_are_numpys_scalars_and_rows_are_cuarrays():
    assert type(cuarray([1.5])[0]) is np.float64
    assert [type(x) for x in cuarray(np.float32([1]))] == [np.float32]
    assert type(cuarray([[1, 2]])[0]) is cuarray
    assert cuarray([[1, 2]])[0, -1] == 2


def test_an_index_out_of_range_says_which_and_of_how_many():
    with pytest.raises(BoundsError, match="index 3 is out of range for 3 elements"):
        cuarray([1, 2, 3])[3]
    with pytest.raises(IndexError, match="index -2 is out of range for 1 element"):
        cuarray([1])[-2]
    with pytest.raises(BoundsError, match="index 2 is out of range for axis 1 of length 2"):
        cuarray([[1, 2]])[0, 2]
    with pytest.raises(BoundsError, match="2 indices for a sequence of 1 axes"):
        cuarray([1])[0, 0]


@pytest.mark.parametrize("key", [1.0, [0], np.array([True]), None, ..., "a"])
def test_other_indices_name_what_to_use(key):
    with pytest.raises(TypeMismatch, match=r"indexed by integers and slices, not by .* Use gather\(x, places\) or pack"):
        cuarray([1])[key]


def test_cuarrays_do_not_change():
    made = cuarray([1, 2])
    with pytest.raises(TypeMismatch, match=r"a cuarray does not change. .*update\(x"):
        made[0] = 3
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(made)[0] = 3
    with pytest.raises(AttributeError, match="other"):
        made.other = 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(made)
    assert copy.copy(made) is made


def test_slices_of_step_one_share_memory():
    made = cuarray([1, 2, 3])
    assert np.shares_memory(np.asarray(made[1:]), np.asarray(made))
    assert not np.shares_memory(np.asarray(made[::2]), np.asarray(made))


# ------------------------------------------------------------------------------------------ comparisons

COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("compare", COMPARISONS)
@given(pair=st.integers(0, 5).flatmap(lambda n: st.tuples(*[arrays.arrays(d, n, elements=st.integers(0, 3)) for d in ("i4", "f8")])))
def test_comparisons_are_element_by_element(compare, pair):
    x, y = pair
    for other in (cuarray(y), y.tolist()):
        found = compare(cuarray(x), other)
        assert type(found) is cuarray
        assert same(found, compare(x, y))
    for number in (1, 1.5, np.float32(2)):
        assert same(compare(cuarray(x), number), compare(x, number))


@pytest.mark.parametrize("compare", COMPARISONS)
@given(tuples=st.lists(st.tuples(*[st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1))] * 2), min_size=1, max_size=6))
def test_tuples_compare_by_the_first_parts_that_differ(compare, tuples):
    x, y = zip(*tuples, strict=True)
    assert compare(cuarray(list(x)), cuarray(list(y))).tolist() == [compare(a, b) for a, b in tuples]
    assert compare(cuarray(list(x)), (0, 1, 0)).tolist() == [compare(a, (0, 1, 0)) for a in x]


def test_rows_compare_row_by_row():
    rows = cuarray([[1], [2, 3]])
    assert (rows == cuarray([[1], [2, 4]])).tolist() == [[True], [True, False]]
    assert (rows > 1).tolist() == [[False], [True, True]]
    with pytest.raises(ShapeError, match="rows of unequal lengths"):
        _ = rows == cuarray([[1, 2], [3]])


def test_unequal_lengths_do_not_compare():
    with pytest.raises(ShapeError, match=r"shapes \(2,\) and \(3,\)"):
        _ = cuarray([1, 2]) == cuarray([1, 2, 3])
    with pytest.raises(ShapeError, match="unequal structures"):
        _ = cuarray([1]) == cuarray([(1, 2)])
    assert (cuarray([1]) == None) is False  # noqa: E711
    assert (cuarray([1]) != "a") is True


def test_truth_is_that_of_one_element():
    assert cuarray([2])
    assert not cuarray([[0.0]])
    with pytest.raises(ShapeError, match=r"the truth of a sequence of 2 elements is not known. Use any\(x\) or all\(x\)"):
        bool(cuarray([1, 2]))
    with pytest.raises(ShapeError, match=r"Use len\(x\) > 0"):
        bool(cuarray([]))


# -------------------------------------------------------------------------------------- other libraries


@given(ANY_ARRAY)
def test_numpy_sees_the_memory_and_may_not_write(source):
    made = cuarray(source)
    seen = np.asarray(made)
    assert np.shares_memory(seen, np.asarray(made)) or not source.size
    assert not seen.flags.writeable
    assert same(np.array(made), source)
    assert np.array(made).flags.writeable
    assert same(np.asarray(made, np.float64), source.astype(np.float64))
    assert same(to_numpy(made), source)
    assert same(pickle.loads(pickle.dumps(made)), source)
    exchanged = np.from_dlpack(made)
    assert same(exchanged, source)
    assert same(copy.deepcopy(made), source)


def test_dlpack_without_versions_gets_a_copy():
    made = cuarray([1.0, 2.0])

    class Old:
        def __dlpack__(self, **keywords):
            return made.__dlpack__()

        def __dlpack_device__(self):
            return made.__dlpack_device__()

    old = np.from_dlpack(Old())
    assert not np.shares_memory(old, np.asarray(made))
    with pytest.raises(BufferError, match=r"does not change, which DLPack before 1.0 cannot say"):
        made.__dlpack__(copy=False)
    assert np.shares_memory(np.from_dlpack(made), np.asarray(made))
    assert made.__dlpack_device__() == (1, 0)


def test_rows_and_tuples_are_not_one_array():
    rows = cuarray([[1], [2, 3]])
    with pytest.raises(ShapeError, match=r"not one array. Use x.values"):
        np.asarray(rows)
    with pytest.raises(ShapeError, match=r"cannot be shared. Use x.fields"):
        np.array(cuarray([(1, 2)]), copy=False)
    assert not hasattr(rows, "__array_interface__")
    assert pickle.loads(pickle.dumps(rows)).tolist() == [[1], [2, 3]]
    assert pickle.loads(pickle.dumps(cuarray([(1, 2.5)]))).tolist() == [(1, 2.5)]


# ------------------------------------------------------------------------------------------------ texts


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ([1.0, 2.0], "cuarray([1., 2.])"),
        (np.float32([1, 2.5]), "cuarray([1. , 2.5], dtype=float32)"),
        ([1, 2], "cuarray([1, 2])"),
        (np.int8([1]), "cuarray([1], dtype=int8)"),
        ([True], "cuarray([ True])"),
        ([], "cuarray([], dtype=float64)"),
        ([[1, 2], [3, 4]], "cuarray([[1, 2],\n         [3, 4]])"),
        ([(1, 2.5), (3, 4.0)], "cuarray([(1, 2.5), (3, 4.0)])"),
        ([(np.float32(1), (2,))], "cuarray([(1.0, (2,))], dtype=(float32, (int64,)))"),
        ([[1], [2, 3]], "cuarray([[1], [2, 3]])"),
        ([[np.int32(1)], []], "cuarray([[1], []], dtype=int32)"),
    ],
)
def test_texts_are_those_of_numpy(source, text):
    assert repr(cuarray(source)) == text


def test_long_texts_are_cut():
    assert repr(cuarray(range(2000))).startswith("cuarray([   0,    1,    2, ..., 1997, 1998, 1999]")
    assert str(cuarray(range(2000))) == "[0, 1, 2, ..., 1997, 1998, 1999]"
    assert repr(cuarray([(i, i) for i in range(2000)])).startswith("cuarray([(0, 0), (1, 1), (2, 2), ..., (1997, 1997)")


@given(ROWS)
def test_str_is_that_of_lists(rows):
    assert str(cuarray(rows)) == str([[float(x) for x in row] for row in rows] if not any(rows) else rows)


# ---------------------------------------------------------------------------------- memory of other places


class Later(Pending):
    """Elements that come when they are asked for."""

    place = places.openmp
    dtype = np.dtype(np.float64)
    shape = (3,)

    def __init__(self, error=None, kept=False):
        self.asked = 0
        self.error = error
        self.kept = kept

    def form(self):
        self.asked += 1
        if self.error:
            raise self.error
        return np.arange(3.0)

    def wait(self):
        if self.error:
            raise self.error


def test_what_is_pending_is_synchronised_by_the_first_read():
    later = Later()
    made = adopt(later)
    assert (len(made), made.dtype, made.shape, made.place) == (3, np.float64, (3,), places.openmp)
    assert made.wait() is made
    assert not later.asked
    assert made.tolist() == [0, 1, 2]
    assert made[1] == 1
    assert later.asked == 1
    assert made.place is places.here


def test_what_is_kept_elsewhere_is_asked_at_each_read():
    later = Later(kept=True)
    made = adopt(later)
    assert made.tolist() == made.tolist()
    assert later.asked == 2
    assert made.pending is later


def test_errors_surface_at_each_read():
    made = adopt(Later(BoundsError("from the kernel")))
    for _ in range(2):
        with pytest.raises(BoundsError, match="from the kernel"):
            made[0]
    with pytest.raises(BoundsError, match="from the kernel"):
        made.wait()


def test_memory_of_the_host_serves_all_places_of_the_host():
    made = cuarray([1])
    assert made.place is places.here
    assert made.to("openmp") is made.to(places.sequential) is force(made) is made
    with pytest.raises(TargetError, match="gpu0 is not available"):
        made.to("gpu0")
