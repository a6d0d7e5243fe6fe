"""Stencils on vectors of lanes: every overload has the bits of the scalar row in every lane."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from hotloop import _runner
from hotloop.backends.native.link import link
from hotloop.dtypes import COMPUTE, DType, bool_
from hotloop.ir.fold import evaluate
from hotloop.ir.op import REGISTRY, Op, Wide
from hotloop.ir.program import DTYPE_NUMBER, FOLDS, IN_MEMORY, LOOP_BEGIN, LOOP_END, STORE, WIDE_NUMBER, WIDE_SHORTS, Program, overloads
from hotloop.runtime import local
from hotloop.stencils.library import available, library

TARGETS = [name for name in available() if name.startswith("x86") and local.executes(name)]
OVERLOADS = [(op, wide) for op in REGISTRY.values() for wide in op.wide]
BY_SHORT = {dtype.short: dtype for dtype in COMPUTE}
SPECIAL = {
    "f32": [0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3.4e38, 0.1, 1e10, 2147483648.0, -2147483649.0, 799.0, 1e6],
    "f64": [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 5e-324, -1e-310, 1.7e308, 0.1, 1e18, 9.3e18, -1e19, 2147483647.5, 1e9],
    "i32": [0, 1, -1, 2, 7, -8, 31, 32, 33, 2**31 - 1, -(2**31), -(2**31) + 1, 255, 65536],
    "i64": [0, 1, -1, 3, -7, 63, 64, 65, 2**31, 2**63 - 1, -(2**63), -(2**63) + 1, 2**53 + 1, 2**24 + 1, -(2**40) - 1],
    "b": [False, True],
}
COUNT = 256  # elements of each operand; a multiple of every number of lanes


def size_of(short: str) -> int:
    return int(short[1:3]) // 8


def dtype_of(short: str) -> DType:
    return bool_ if short.startswith("b") else BY_SHORT[short.removesuffix("w")]


def sample(dtype: DType, chance: np.random.Generator, count: int = COUNT) -> np.ndarray:
    """Special values, numbers of every magnitude, and numbers around 1."""
    special = np.array(SPECIAL[dtype.short], dtype.numpy)[chance.integers(len(SPECIAL[dtype.short]), size=count)]
    if dtype is bool_:
        return special
    bits = chance.integers(0, 2**63, size=count, dtype=np.uint64).astype(f"u{dtype.size}").view(dtype.numpy)
    near = (chance.normal(size=count) * 3).astype(dtype.numpy)
    return np.choose(chance.integers(3, size=count), [special, bits, near])


class Writer:
    """Writes a program by hand."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.vector = library(target).meta["wide"]
        self.code, self.values, self.data = array("i"), array("i"), bytearray()
        self.zero = self.value("i64", self.place(np.zeros(1, np.int64)), IN_MEMORY)

    def place(self, numbers: np.ndarray) -> int:
        """Return the offset of an array in the data, aligned as the widest vector."""
        self.data.extend(bytes(-len(self.data) % 64))
        self.data.extend(numbers.tobytes())
        return len(self.data) - numbers.nbytes

    def value(self, short: str, place: int = -1, flags: int = 0) -> int:
        number = WIDE_NUMBER[short] if short in WIDE_SHORTS else DTYPE_NUMBER[BY_SHORT[short]]
        self.values.extend((number, place, flags))
        return len(self.values) // 3 - 1

    def emit(self, name: str, result: str | None, *uses: int, immediate: int = 0) -> int:
        made = -1 if result is None else self.value(result)
        self.code.extend((overloads()[name], made, *uses, *[-1] * (3 - len(uses)), immediate))
        return made

    def load(self, short: str, place: int, index: int) -> int:
        """Load the vector of elements from `index` on."""
        step = 1 if short.startswith("b") else size_of(short)
        return self.emit(f"load.{short}", short, self.zero, immediate=place + index * step)

    def store(self, short: str, place: int, index: int, value: int) -> None:
        step = 1 if short.startswith("b") else size_of(short)
        self.emit(f"store.{short}", None, value, self.zero, immediate=place + index * step)

    def run(self, loops: array[int] | None = None, carries: array[int] | None = None) -> bytes:
        program = Program(self.code, self.values, loops or array("i"), carries or array("i"), self.data, [])
        loaded = local.load(link(program, self.target))
        loaded.run()
        return bytes(_runner.read(loaded, "B", 0, len(self.data)))


def assert_same(got: np.ndarray, want: np.ndarray, operands: list[np.ndarray]) -> None:
    """NaN equals NaN; all else must agree in every bit."""
    assert got.shape == want.shape
    word = f"u{want.dtype.itemsize}"
    same = got.view(word) == want.view(word)
    if want.dtype.kind == "f":
        same |= np.isnan(got) & np.isnan(want)
    at = np.nonzero(~same)[0][:4]
    assert same.all(), [(tuple(x[i] for x in operands), got[i], want[i]) for i in at if i < len(operands[0])]


def expected(op: Op, wide: Wide, operands: list[np.ndarray], lanes: int) -> np.ndarray:
    """Return what the scalar row gives, vector after vector."""
    rows = [x.reshape(-1, lanes) for x in operands]
    if wide.name.endswith((":low", ":high")):
        half = slice(0, lanes // 2) if wide.name.endswith(":low") else slice(lanes // 2, lanes)
        return evaluate(op, [rows[0][:, half].reshape(-1)])
    if len(operands) == 2 and op.arity == 1:
        return evaluate(op, [np.concatenate(rows, axis=1).reshape(-1)])
    return evaluate(op, operands)


def write_rows(writer: Writer, wide: Wide, places: list[int], out: int, *, in_memory: bool) -> int:
    """Write the row on all vectors, three at a time; return how many lanes an operand has."""
    lanes, made = writer.vector // size_of(wide.sources[0]), writer.vector // size_of(wide.result)
    for start in range(0, COUNT // lanes, 3):
        turns = range(start, min(start + 3, COUNT // lanes))
        uses = [[writer.load(s, p, i * lanes) for s, p in zip(wide.sources, places, strict=True)] for i in turns]
        if in_memory:
            lasts = [writer.value(wide.sources[-1], places[-1] + i * writer.vector, IN_MEMORY) for i in turns]
            uses = [[*u[:-1], last] for u, last in zip(uses, lasts, strict=True)]
        results = [writer.emit(wide.name, wide.result, *u) for u in uses]
        for i, result in zip(turns, results, strict=True):
            writer.store(wide.result, out, i * made, result)
    return lanes


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("in_memory", [False, True], ids=["registers", "memory"])
@pytest.mark.parametrize(("op", "wide"), OVERLOADS, ids=lambda x: x.name if isinstance(x, Wide) else "")
def test_each_overload_has_the_bits_of_the_scalar_row(op: Op, wide: Wide, in_memory: bool, target: str) -> None:
    chance = np.random.default_rng(len(wide.name))
    operands = [sample(dtype_of(short), chance) for short in wide.sources]
    writer = Writer(target)
    lanes = writer.vector // size_of(wide.sources[0])
    want = expected(op, wide, operands, lanes)
    places = [writer.place(x) for x in operands]
    if in_memory:
        last, short = operands[-1], wide.sources[-1]
        places[-1] = writer.place(-last.astype(f"i{size_of(short)}") if short.startswith("b") else last)
        if short.startswith("b"):  # loads of the same place, which are not used, must find bytes
            writer.place(last)
    out = writer.place(np.zeros_like(want))
    write_rows(writer, wide, places, out, in_memory=in_memory)
    got = np.frombuffer(writer.run(), want.dtype, len(want), out)
    assert_same(got, want, operands if len(want) == COUNT else [want])


@pytest.mark.parametrize(("op", "wide"), [(op, wide) for op in REGISTRY.values() for wide in op.fast_wide], ids=lambda x: x.name)
def test_fast_overloads_without_multiply_add_are_the_strict_ones(op: Op, wide: Wide) -> None:
    chance = np.random.default_rng(len(wide.name))
    operands = [sample(dtype_of(short), chance) for short in wide.sources]
    writer = Writer("x86-64-v2")
    places = [writer.place(x) for x in operands]
    out = writer.place(np.zeros_like(operands[0]))
    write_rows(writer, wide, places, out, in_memory=False)
    assert_same(np.frombuffer(writer.run(), operands[0].dtype, COUNT, out), evaluate(op, operands), operands)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("short", WIDE_SHORTS)
def test_vectors_move_between_any_places(short: str, target: str) -> None:
    dtype, writer = dtype_of(short), Writer(target)
    lanes = writer.vector // size_of(short)
    numbers = sample(dtype, np.random.default_rng(1), 4 * lanes)
    source = writer.place(numbers)
    out = writer.place(np.zeros(6 * lanes, dtype.numpy))
    index = writer.value("i64", writer.place(np.array([3])), IN_MEMORY)
    value = writer.emit(f"load.{short}", short, index, immediate=source + dtype.size)  # from element 4
    writer.emit(f"store.{short}", None, value, index, immediate=out)  # to element 3
    again = writer.emit(f"repeat.{short}", short, index, immediate=source)
    writer.emit(f"store.{short}", None, again, writer.zero, immediate=out + 4 * lanes * dtype.size)
    got = np.frombuffer(writer.run(), dtype.numpy, 6 * lanes, out)
    assert_same(got[3 : 3 + lanes], numbers[4 : 4 + lanes], [numbers])
    assert_same(got[4 * lanes : 5 * lanes], np.repeat(numbers[3:4], lanes), [numbers])
    assert not got[:3].any()
    assert not got[3 + lanes : 4 * lanes].any()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("short", WIDE_SHORTS)
def test_vectors_move_by_pointer(short: str, target: str) -> None:
    dtype, writer = dtype_of(short), Writer(target)
    lanes = writer.vector // size_of(short)
    numbers, out = sample(dtype, np.random.default_rng(2), 4 * lanes), np.zeros(4 * lanes, dtype.numpy)
    pointers = writer.place(np.array([numbers.ctypes.data, out.ctypes.data]))
    source, sink = (writer.value("i64", pointers + 8 * k, IN_MEMORY) for k in range(2))
    index = writer.value("i64", writer.place(np.array([2])), IN_MEMORY)
    value = writer.emit(f"loadp.{short}", short, source, index, immediate=-dtype.size)
    writer.emit(f"storep.{short}", None, value, sink, index, immediate=3 * dtype.size)
    writer.run()
    assert_same(out[5 : 5 + lanes], numbers[1 : 1 + lanes], [numbers])
    assert not out[:5].any()
    assert not out[5 + lanes :].any()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("in_memory", [False, True], ids=["register", "memory"])
@pytest.mark.parametrize("short", WIDE_SHORTS)
def test_a_splat_is_the_scalar_in_every_lane(short: str, in_memory: bool, target: str) -> None:
    dtype, writer = dtype_of(short), Writer(target)
    lanes = writer.vector // size_of(short)
    numbers = np.array(SPECIAL[dtype.short], dtype.numpy)
    places = [writer.place(numbers[i : i + 1]) for i in range(len(numbers))]
    out = writer.place(np.zeros(len(numbers) * lanes, dtype.numpy))
    for i, place in enumerate(places):
        scalar = writer.value(dtype.short, place, IN_MEMORY)
        if not in_memory:  # a use before keeps it in a register
            writer.emit(f"put.{dtype.short}", None, scalar, writer.zero, immediate=place)
        writer.store(short, out, i * lanes, writer.emit(f"splat.{short}", short, scalar))
    assert_same(np.frombuffer(writer.run(), dtype.numpy, len(numbers) * lanes, out), np.repeat(numbers, lanes), [numbers])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", COMPUTE, ids=lambda dtype: dtype.short)
def test_scalars_are_put_at_an_index(dtype: DType, target: str) -> None:
    writer = Writer(target)
    number = np.array(SPECIAL[dtype.short][1:2], dtype.numpy)
    value = writer.value(dtype.short, writer.place(number), IN_MEMORY)
    index = writer.value("i64", writer.place(np.array([5])), IN_MEMORY)
    out = writer.place(np.zeros(16, dtype.numpy))
    writer.emit(f"put.{dtype.short}", None, value, index, immediate=out + dtype.size)
    got = np.frombuffer(writer.run(), dtype.numpy, 16, out)
    assert got[6] == number[0]
    assert np.count_nonzero(got) == np.count_nonzero(number)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("row", "short"), [(row, short) for row, shorts in FOLDS.items() for short in shorts])
def test_folds_combine_upper_with_lower_halves(row: str, short: str, target: str) -> None:
    dtype, writer, op = dtype_of(short), Writer(target), REGISTRY[row]
    lanes = writer.vector // size_of(short)
    numbers = sample(dtype, np.random.default_rng(3))
    if dtype is bool_:  # all, none and some
        numbers = np.repeat(numbers, lanes)[:COUNT] ^ (np.random.default_rng(4).random(COUNT) < 0.1)
    source, out = writer.place(numbers), writer.place(np.zeros(COUNT // lanes, dtype.numpy))
    for i in range(COUNT // lanes):
        total = writer.emit(f"fold_{row}.{short}", dtype.short, writer.load(short, source, i * lanes))
        writer.code.extend((STORE, -1, total, -1, -1, out + i * dtype.size))
    want = numbers.reshape(-1, lanes)
    while want.shape[1] > 1:
        half = want.shape[1] // 2
        want = evaluate(op, [np.ascontiguousarray(want[:, :half]), np.ascontiguousarray(want[:, half:])])
    assert_same(np.frombuffer(writer.run(), dtype.numpy, COUNT // lanes, out), np.ascontiguousarray(want[:, 0]), [want])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("short", ["i32w", "i64w"])
def test_iota_counts_from_the_index(short: str, target: str) -> None:
    dtype, writer = dtype_of(short), Writer(target)
    lanes = writer.vector // size_of(short)
    first = 2**33 + 5
    index = writer.value("i64", writer.place(np.array([first])), IN_MEMORY)
    out = writer.place(np.zeros(lanes, dtype.numpy))
    writer.store(short, out, 0, writer.emit(f"iota.{short}", short, index))
    got = np.frombuffer(writer.run(), dtype.numpy, lanes, out)
    np.testing.assert_array_equal(got, (first + np.arange(lanes)).astype(dtype.numpy))


@pytest.mark.parametrize("target", TARGETS)
def test_masks_change_the_size_of_their_lanes(target: str) -> None:
    writer = Writer(target)
    lanes = writer.vector // 4
    bools = sample(bool_, np.random.default_rng(5), 2 * lanes)
    source, out = writer.place(bools), writer.place(np.zeros(2 * lanes, bool))
    narrow = writer.load("b32w", source, 0)
    halves = [writer.emit(f"widen_{half}.b32w", "b64w", narrow) for half in ("low", "high")]
    for k, half in enumerate(halves):
        writer.store("b64w", out, k * lanes // 2, half)
    wide = [writer.load("b64w", source, lanes + k * lanes // 2) for k in range(2)]
    writer.store("b32w", out, lanes, writer.emit("narrow.b64w.b64w", "b32w", *wide))
    np.testing.assert_array_equal(np.frombuffer(writer.run(), bool, 2 * lanes, out), bools)


@pytest.mark.parametrize("target", TARGETS)
def test_scalars_live_across_helpers_on_lanes(target: str) -> None:
    writer, chance = Writer(target), np.random.default_rng(6)
    numbers = chance.normal(size=12).astype(np.float32)
    source = writer.place(chance.uniform(0.1, 3.0, 64).astype(np.float32))
    out, vectors = writer.place(np.zeros(12, np.float32)), writer.place(np.zeros(64, np.float32))
    scalars = [writer.value("f32", writer.place(numbers[i : i + 1]), IN_MEMORY) for i in range(12)]
    negated = [writer.emit("neg.f32", "f32", scalar) for scalar in scalars]
    vector = writer.load("f32w", source, 0)
    writer.store("f32w", vectors, 0, writer.emit("pow.f32w.f32w", "f32w", vector, writer.load("f32w", source, 32)))
    for i, value in enumerate(negated):
        writer.code.extend((STORE, -1, value, -1, -1, out + 4 * i))
    np.testing.assert_array_equal(np.frombuffer(writer.run(), np.float32, 12, out), -numbers)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("row", ["sin", "pow"])
def test_scalars_live_in_loops_that_call_helpers_on_lanes(row: str, target: str) -> None:
    writer = Writer(target)
    source = writer.place(np.linspace(0.1, 3.0, 64, dtype=np.float32))
    sink, outs = writer.place(np.zeros(64, np.float32)), writer.place(np.zeros(8, np.float32))
    numbers = np.arange(1, 9, dtype=np.float32)
    steps = [writer.value("f32", writer.place(numbers[i : i + 1]), IN_MEMORY) for i in range(8)]
    fixed = [writer.emit("neg.f32", "f32", step) for step in steps]
    starts = [writer.emit("neg.f32", "f32", step) for step in steps]
    params = [writer.value("f32") for _ in steps]
    counter, trips = writer.place(np.zeros(2, np.int32)), 5
    writer.code.extend((LOOP_BEGIN, -1, -1, -1, -1, 0))
    vector = writer.load("f32w", source, 0)
    operands = [vector] * REGISTRY[row].arity
    writer.store("f32w", sink, 0, writer.emit(".".join((row, *["f32w"] * len(operands))), "f32w", *operands))
    results = [writer.emit("add.f32.f32", "f32", param, step) for param, step in zip(params, fixed, strict=True)]
    writer.code.extend((LOOP_END, -1, -1, -1, -1, 0))
    for i, param in enumerate(params):
        writer.code.extend((STORE, -1, param, -1, -1, outs + 4 * i))
    carries = array("i", [number for carry in zip(params, starts, results, strict=True) for number in carry])
    data = writer.run(array("i", [counter, trips, 0, len(params)]), carries)
    np.testing.assert_array_equal(np.frombuffer(data, np.float32, 8, outs), -6 * numbers)
