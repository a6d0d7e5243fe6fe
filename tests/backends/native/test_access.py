"""Stencils that reach elements of arrays of any size, and those that move lanes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.backends.native.test_wide import TARGETS, Writer, sample

from hotloop.dtypes import COMPUTE, DType, bool_
from hotloop.ir.op import wide_short
from hotloop.ir.program import IN_MEMORY

TYPES = pytest.mark.parametrize("dtype", COMPUTE, ids=str)
ALL = pytest.mark.parametrize("target", TARGETS)
PLACES = [-(2**63), -(2**31) - 1, -1, 0, 1, 5, 6, 7, 2**31, 2**32, 2**32 + 3, 2**63 - 1]  # of an array of 7 elements


def described(writer: Writer, elements: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the place of the descriptor of an array, and the array, which must live as long as the program."""
    return writer.place(np.array([elements.ctypes.data, len(elements), 0, 0], np.int64)), elements


def constant(writer: Writer, number: int) -> int:
    return writer.value("i64", writer.place(np.array([number], np.int64)), IN_MEMORY)


@ALL
@TYPES
def test_elements_outside_read_as_zero(dtype: DType, target: str) -> None:
    writer = Writer(target)
    array, elements = described(writer, sample(dtype, np.random.default_rng(1), 7))
    out = writer.place(np.zeros(len(PLACES), dtype.numpy))
    for k, place in enumerate(PLACES):
        found = writer.emit(f"geta.{dtype.short}", dtype.short, constant(writer, place), immediate=array)
        writer.emit(f"put.{dtype.short}", None, found, writer.zero, immediate=out + k * dtype.size)
    got = np.frombuffer(writer.run(), dtype.numpy, len(PLACES), out)
    want = np.array([elements[p] if 0 <= p < 7 else 0 for p in PLACES], dtype.numpy)
    assert got.tobytes() == want.tobytes()


@ALL
@TYPES
def test_what_is_stored_outside_is_lost(dtype: DType, target: str) -> None:
    writer = Writer(target)
    room = np.zeros(9, dtype.numpy)
    array, _ = described(writer, room[1:8])
    values = sample(dtype, np.random.default_rng(2), len(PLACES))
    source = writer.place(values)
    for k, place in enumerate(PLACES):
        value = writer.emit(f"get.{dtype.short}", dtype.short, writer.zero, immediate=source + k * dtype.size)
        writer.emit(f"puta.{dtype.short}", None, value, constant(writer, place), immediate=array)
    writer.run()
    want = np.zeros(9, dtype.numpy)
    for place, value in zip(PLACES, values, strict=True):
        if 0 <= place < 7:
            want[1 + place] = value
    assert room.tobytes() == want.tobytes()


@ALL
@TYPES
@pytest.mark.parametrize("near", [False, True])
def test_gathered_lanes_are_elements_or_zero(dtype: DType, target: str, near: bool) -> None:
    writer = Writer(target)
    short = wide_short(dtype, 4 if dtype.size < 8 else 8)
    lanes = writer.vector * 8 // int(short[1:3])
    array, elements = described(writer, sample(dtype, np.random.default_rng(3), 7))
    if near and dtype.size == 8:
        pytest.skip("lanes of 8 bytes have indices of 8 bytes")
    places = np.resize([p for p in PLACES if not near or abs(p) < 2**31], 16)
    indices = writer.place(places.astype(np.int32 if near else np.int64))
    out = writer.place(np.zeros(16, dtype.numpy))
    for start in range(0, 16, lanes):
        if near:
            uses = [writer.load("i32w", indices, start)]
        else:
            uses = [writer.load("i64w", indices, k) for k in range(start, start + lanes, writer.vector // 8)]
        name = "i32w" if near else ".".join(["i64w"] * len(uses))
        writer.store(short, out, start, writer.emit(f"gather.{short}.{name}", short, *uses, immediate=array))
    got = np.frombuffer(writer.run(), dtype.numpy, 16, out)
    want = np.array([elements[p] if 0 <= p < 7 else 0 for p in places], dtype.numpy)
    assert got.tobytes() == want.tobytes()


@ALL
@pytest.mark.parametrize("short", ["f32w", "f64w", "i32w", "i64w", "b32w", "b64w"])
def test_lanes_from_an_end_on_are_not_stored(short: str, target: str) -> None:
    writer = Writer(target)
    dtype = next(d for d in COMPUTE if wide_short(d, int(short[1:3]) // 8) == short)
    lanes = writer.vector * 8 // int(short[1:3])
    ends = [-(2**40), -1, *range(lanes + 2), 2**33]
    rooms = [np.zeros(3 * lanes, dtype.numpy) for _ in ends]
    values = np.ones(lanes, bool) if dtype is bool_ else np.arange(1, lanes + 1).astype(dtype.numpy)
    value = writer.load(short, writer.place(values), 0)
    for room, end in zip(rooms, ends, strict=True):
        array, _ = described(writer, room)
        writer.emit(f"storem.{short}", None, value, constant(writer, lanes), constant(writer, lanes + end), immediate=array)
    writer.run()
    for room, end in zip(rooms, ends, strict=True):
        kept = min(max(end, 0), lanes)
        assert room.tolist() == [*[0] * lanes, *values[:kept].tolist(), *[0] * (2 * lanes - kept)]


@ALL
@pytest.mark.parametrize("bits", [32, 64])
def test_lanes_are_packed_counted_and_reversed(bits: int, target: str) -> None:
    short, mask, kind = f"i{bits}w", f"b{bits}w", f"i{bits // 8}"
    lanes = library_lanes(target, bits)
    numbers = np.arange(10, 10 + lanes).astype(kind)
    for held in itertools.product([False, True], repeat=lanes):
        writer = Writer(target)
        value, kept = writer.load(short, writer.place(numbers), 0), writer.load(mask, writer.place(np.array(held)), 0)
        outs = [writer.place(np.zeros(lanes, kind)) for _ in range(2)]
        count = writer.place(np.zeros(1, np.int64))
        writer.store(short, outs[0], 0, writer.emit(f"compress.{short}", short, value, kept))
        writer.store(short, outs[1], 0, writer.emit(f"reverse.{short}", short, value))
        writer.emit("put.i64", None, writer.emit(f"count.{mask}", "i64", kept), writer.zero, immediate=count)
        data = writer.run()
        packed, reversed_ = [np.frombuffer(data, kind, lanes, out) for out in outs]
        assert np.frombuffer(data, np.int64, 1, count)[0] == sum(held)
        assert packed[: sum(held)].tolist() == numbers[list(held)].tolist()
        assert reversed_.tolist() == numbers[::-1].tolist()


def library_lanes(target: str, bits: int) -> int:
    return Writer(target).vector * 8 // bits
