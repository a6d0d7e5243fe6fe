"""Kernels in C for tests of `_runner.ArrayFunction`, as the compiler's would be, and plans that call them.

Every kernel finds its count, pointers and scratch memory at the same offsets of its data block.
"""

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from stencilgen import elf

from hotloop import _runner

COUNT, RESULT, SCALAR, COMBINE, DATA = 0, 256, 264, 512, 640
CHUNK, BLOCK, LANES = 32768, 1024, 32

SOURCE = r"""
typedef struct { char *at, *tail; } Stream;
typedef struct { long count; Stream stream[8]; } Data;
#define DATA(type, offset) (*(type *)((char *)data + (offset)))

#define MAP(name, type, block, expression) \
void name(Data *data) { \
    long rest = data->count % block, full = data->count - rest; \
    for (int round = 0; round < 2; round++) { \
        long count = round ? (rest ? block : 0) : full; \
        const type *x = (type *)(round ? data->stream[0].tail : data->stream[0].at); \
        const type *y = (type *)(round ? data->stream[1].tail : data->stream[1].at); \
        type *out = (type *)(round ? data->stream[2].tail : data->stream[2].at); \
        for (long i = 0; i < count; i++) out[i] = expression; \
    } \
    (void)0; \
}
MAP(add_f32, float, 8, x[i] + y[i])
MAP(add_f64, double, 4, x[i] + y[i])
MAP(add_i64, long, 4, x[i] + y[i])
MAP(and_b, char, 32, (char)(x[i] & y[i]))
MAP(subtract_i16, short, 16, (short)(x[i] - y[i]))

#define SCALE(name, type, block) \
void name(Data *data) { \
    long rest = data->count % block, full = data->count - rest; \
    const type *x = (type *)data->stream[0].at, *tail = (type *)data->stream[0].tail; \
    type *out = (type *)data->stream[1].at, *tail_out = (type *)data->stream[1].tail; \
    for (long i = 0; i < full; i++) out[i] = x[i] * DATA(type, 264); \
    for (long i = 0; rest && i < block; i++) tail_out[i] = tail[i] * DATA(type, 264); \
}
SCALE(scale_f32, float, 8)
SCALE(scale_f64, double, 4)
SCALE(scale_i32, int, 8)
SCALE(scale_i64, long, 4)

void mode(Data *data) {
    unsigned now;
    __asm__ volatile("stmxcsr %0" : "=m"(now));
    long rest = data->count % 8, full = data->count - rest;
    for (long i = 0; i < full; i++) ((unsigned *)data->stream[1].at)[i] = now;
    for (long i = 0; rest && i < 8; i++) ((unsigned *)data->stream[1].tail)[i] = now;
}

/* The order of all reductions: 32 lanes a block of 1024, blocks lane by lane, then halves. */
#define SUM(name, type, at_count, at_stream, at_result) \
void name(Data *data) { \
    const Stream *stream = &DATA(Stream, at_stream); \
    long count = DATA(long, at_count), full = count - count % 32; \
    type total[32], lane[32]; \
    for (long block = 0; block < count; block += 1024) { \
        for (int i = 0; i < 32; i++) lane[i] = 0; \
        for (long i = block; i < block + 1024 && i < count; i++) \
            lane[i % 32] += i < full ? ((type *)stream->at)[i] : ((type *)stream->tail)[i - full]; \
        for (int i = 0; i < 32; i++) total[i] = block ? total[i] + lane[i] : lane[i]; \
    } \
    for (int half = 16; half; half /= 2) \
        for (int i = 0; i < half; i++) total[i] += total[i + half]; \
    DATA(type, at_result) = total[0]; \
}
SUM(sum_f32, float, 0, 8, 256)
SUM(combine_f32, float, 512, 520, 536)
SUM(sum_i64, long, 0, 8, 256)
SUM(combine_i64, long, 512, 520, 536)

void double_and_sum_i64(Data *data) {
    long rest = data->count % 32, full = data->count - rest, sum = 0;
    const long *x = (long *)data->stream[0].at, *tail = (long *)data->stream[0].tail;
    for (long i = 0; i < full; i++) sum += ((long *)data->stream[1].at)[i] = 2 * x[i];
    for (long i = 0; i < rest; i++) sum += ((long *)data->stream[1].tail)[i] = 2 * tail[i];
    DATA(long, 256) = sum;
}
"""
FLAGS = ("-target", "x86_64-freestanding", "-O1", "-ffreestanding", "-fno-builtin", "-fno-pic", "-mno-red-zone", "-ffp-contract=off")
MORE = ("-fno-vectorize", "-fno-slp-vectorize", "-fno-stack-protector", "-fno-sanitize=all", "-fno-strict-aliasing", "-fwrapv")


@functools.cache
def machine_code():
    """Return the code of all kernels and where each starts; it needs no relocation."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "kernels.c", Path(folder) / "kernels.o"
        source.write_text(SOURCE)
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *MORE, "-ffunction-sections", "-c", str(source), "-o", str(target)]
        subprocess.run(command, check=True)
        found = elf.read(target.read_bytes())
    code, entries = bytearray(), {}
    for name, index in found.functions.items():
        section = found.sections[index]
        assert not section.relocations, name
        code += b"\xcc" * (-len(code) % 16)
        entries[name] = len(code)
        code += section.data
    return bytes(code), entries


@functools.cache
def program():
    """Return a program that holds all kernels."""
    return _runner.Program(machine_code()[0], bytes(DATA), 0)


def entry(name):
    """Return where the code of a kernel starts."""
    return machine_code()[1][name]


def stream(slot, buffer, axes, itemsize):
    """Return an array that a kernel walks, with its pointers in a slot of the data block."""
    return buffer, axes, 8 + 16 * slot, 16 + 16 * slot, itemsize


def kernel(name, block, dims, streams, stores, *, reductions=(), scalars=(), kept=None, cost=1000):
    """Return a stage."""
    kept = len(dims) if kept is None else kept
    return "kernel", entry(name), COUNT, block, kept, dims, streams, stores, reductions, scalars, cost


def combine(name):
    """Return the kernel that combines partial results."""
    return entry(name), COMBINE, COMBINE + 8, COMBINE + 16, COMBINE + 24


def fallback(*args, **kwargs):
    """Tell that a call did not match."""
    return "fallback", args, kwargs


def make(arguments, buffers, stages, results=None, single=True, otherwise=fallback, combines=(), held=None):
    """Return an ArrayFunction; results are the buffers of that role."""
    if results is None:
        results = tuple(i for i, buffer in enumerate(buffers) if buffer[2][0] == "result")
    return _runner.ArrayFunction(held or program(), arguments, buffers, stages, results, single, otherwise, combines)


BLOCKS = {"f": ("add_f32", 8, 4), "d": ("add_f64", 4, 8), "l": ("add_i64", 4, 8), "?": ("and_b", 32, 1), "h": ("subtract_i16", 16, 2)}


def binary(kind="f", rank=1, first=None, second=None, cost=1000):
    """Return x + y: Dims 0, 1, ... of the result; `first` and `second` are the Dims of x and y, -1 is broadcast."""
    name, block, size = BLOCKS[kind]
    dims = tuple(range(rank))
    first, second = first or dims, second or dims
    walks = [tuple([of.index(dim) if dim in of else -1 for dim in dims]) for of in (first, second)]
    streams = stream(0, 0, walks[0], size), stream(1, 1, walks[1], size)
    stage = kernel(name, block, dims, streams, (stream(2, 2, dims, size),), cost=cost)
    buffers = (kind, first, ("argument", 0)), (kind, second, ("argument", 1)), (kind, dims, ("result", 0))
    return make((("array", kind, first), ("array", kind, second)), buffers, (stage,))


def scale(kind, number, dtype, name):
    """Return x * number."""
    size = np.dtype(dtype).itemsize
    scalars = ((SCALAR, kind, ("argument", 1)),)
    stage = kernel(name, 8 * 4 // size, (0,), (stream(0, 0, (0,), size),), (stream(1, 1, (0,), size),), scalars=scalars)
    buffers = (dtype, (0,), ("argument", 0)), (dtype, (0,), ("result", 0))
    return make((("array", dtype, (0,)), ("number", number)), buffers, (stage,))


def total(kind="f", rank=1, kept=0, axes=None, cost=1000):
    """Return the sum over all but the first `kept` dimensions; dimension i walks axis axes[i]."""
    name, size = {"f": ("f32", 4), "l": ("i64", 8)}[kind]
    axes = axes or tuple(range(rank))
    dims = axes  # the Dim of an axis has its number
    reductions = ((1, RESULT, size, 0),)
    stage = kernel(f"sum_{name}", 32, dims, (stream(0, 0, axes, size),), (), reductions=reductions, kept=kept, cost=cost)
    buffers = (kind, tuple(range(rank)), ("argument", 0)), (kind, dims[:kept], ("result", 0))
    return make((("array", kind, tuple(range(rank))),), buffers, (stage,), combines=(combine(f"combine_{name}"),))


def ordered_sum(x):
    """Return the sum of a flat array in the order of all reductions."""
    zero = x.dtype.type(0)
    while True:
        partials = []
        for start in range(0, len(x), CHUNK):
            chunk = x[start : start + CHUNK]
            padded = np.concatenate([chunk, np.full(-len(chunk) % BLOCK, zero)]).reshape(-1, BLOCK // LANES, LANES)
            lanes = np.zeros((len(padded), LANES), x.dtype)
            for row in range(BLOCK // LANES):
                lanes += padded[:, row]
            sums = lanes[0]
            for block in lanes[1:]:
                sums = sums + block
            while len(sums) > 1:
                sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
            partials.append(sums[0])
        if len(partials) == 1:
            return partials[0]
        x = np.array(partials, x.dtype)


def through_python(callable_, kind="f", *, temporary=True):
    """((x + x) given to a callable) + x; buffers 1 and 2 are temporary or results."""
    first = kernel("add_f32", 8, (0, 1), (stream(0, 0, (0, 1), 4), stream(1, 0, (0, 1), 4)), (stream(2, 1, (0, 1), 4),))
    last = kernel("add_f32", 8, (0, 1), (stream(0, 2, (0, 1), 4), stream(1, 0, (0, 1), 4)), (stream(2, 3, (0, 1), 4),))
    roles = (("temporary",), ("temporary",), ("result", 0)) if temporary else (("result", 0), ("result", 1), ("result", 2))
    buffers = (kind, (0, 1), ("argument", 0)), *((kind, (0, 1), role) for role in roles)
    return make((("array", kind, (0, 1)),), buffers, (first, ("call", callable_, (1, 0), (2,)), last), single=temporary)


def numbers(count, dtype="f4", seed=0):
    """Return arbitrary numbers, the same for a seed."""
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return np.asarray(generator.uniform(-1, 1, count), dtype)
    return np.asarray(generator.integers(-100, 100, count), dtype)


def same(got, want):
    """Require equal types, shapes and bits."""
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
