"""Arguments of jitted functions: what tells calls apart, and the leaves that programs take."""

import enum
import math

import numpy as np
import pytest

from hotloop import _runner
from hotloop.errors import TraceError
from hotloop.frontend.argument import describe, instance_state, static_key


def described(argument):
    key, leaves = [], []
    describe(argument, "a", key, leaves)
    return key, leaves


class Level(enum.IntEnum):
    HIGH = 7


def test_numbers_are_told_apart_by_type_and_not_by_value():
    assert described(1) == (["q"], [1])
    assert described(Level.HIGH) == (["q"], [7])
    assert described(1)[0] == described(2)[0]
    keys = [
        described(x)[0][0] for x in (1, 1.0, True, np.float32(1), np.int32(1), np.float64(1), np.array(1.0), np.zeros(1), np.zeros(2), None)
    ]
    assert len(set(keys)) == len(keys)


def test_leaves_are_python_numbers_and_contiguous_arrays():
    _, (number, wide, swapped) = described([np.float32(0.5), Level.HIGH, np.array([1, 2], ">i2")[::-1]])
    assert (type(number), number, type(wide), wide) == (float, 0.5, int, 7)
    assert swapped.dtype == np.int32
    assert swapped.flags.carray
    np.testing.assert_array_equal(swapped, [2, 1])


def test_long_lists_of_one_type_travel_as_one_array():
    assert [len(described([x] * 8)[1]) for x in (1.5, 2, True)] == [1, 1, 8]
    assert len(described([1.5] * 7 + [2])[1]) == 8
    assert described([1.5] * 8)[0] != described((1.5,) * 8)[0]


def test_static_arguments_have_a_key_of_type_and_value():
    keys = [static_key(x, "n") for x in (1, 1.0, True, 0.0, -0.0, math.nan, "1", (1,), (1.0,), None, len, frozenset({1}))]
    assert len(set(keys)) == len(keys)
    with pytest.raises(TraceError, match="the static argument n is of type dict, which has no hash"):
        static_key({}, "n")


def test_the_state_of_an_instance_is_in_its_dict_and_slots():
    class Base:
        __slots__ = ("a", "empty")

    class Derived(Base):
        __slots__ = ("__dict__",)

    instance = Derived()
    instance.a, instance.b = 1, 2
    assert instance_state(instance) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "source", [[], (), [1, 2.0], [1.0, 2], [True], ["a"], [2**63], [None], 5, "ab", {1: 2}, range(3), np.zeros(2), None]
)
def test_pack_takes_nothing_but_floats_or_ints(source):
    assert _runner.pack(source) is None


def test_pack_keeps_every_bit():
    floats = [0.1, -0.0, math.inf, 5e-324, math.nan]
    np.testing.assert_array_equal(_runner.pack(floats), np.array(floats))
    np.testing.assert_array_equal(_runner.pack((1, -(2**63), 2**63 - 1)), np.array([1, -(2**63), 2**63 - 1]))
    assert (_runner.pack(floats).dtype, _runner.pack([1]).dtype) == (np.float64, np.int64)
