"""Programs in machine code, made by a compiler once, so that export is tested without the stencils of a target."""

import struct

from hotloop.dtypes import float32, float64, int32
from hotloop.image import Image, Symbol

# y = x + x; n = n + 1, of struct { float x, y; int32_t n; }
DOUBLES = {
    "x86-64-v2": "f30f1007f30f58c0f30f114704ff4708c3",
    "aarch64": "000040bd080840b90028201e08050011080800b9000400bdc0035fd6",
    "armv7a": "000a90ed081090e5000a30ee011081e2081080e5010a80ed1eff2fe1",
    "armv6": "000a90ed081090e5000a30ee011081e2081080e5010a80ed1eff2fe1",
    "riscv64": "872705000c45d3f7f70085052722f5000cc58280",
}

# the same with integers x and y: lw, add, sw, lw, addi, sw, ret
_RISCV = struct.pack("<7I", 0x00052583, 0x00B585B3, 0x00B52223, 0x00852583, 0x00158593, 0x00B52423, 0x00008067)
INTEGERS = {"armv7em": bytes.fromhex("0168491841608168013181607047"), "riscv32": _RISCV, "riscv64": _RISCV}


def doubles(target):
    """The program of DOUBLES: input x, state n, output y; 40 bytes of data."""
    symbols = (Symbol("x", "input", float32, (), 0), Symbol("n", "state", int32, (), 8), Symbol("", "output", float32, (), 4))
    data = struct.pack("<ffi", 1.5, 0.0, 7) + bytes(28)
    return Image(target, bytes.fromhex(DOUBLES[target]), data, 0, symbols, stack=64)


def integers(target):
    """The program of INTEGERS, which needs no floating point."""
    symbols = (Symbol("x", "input", int32, (), 0), Symbol("n", "state", int32, (), 8), Symbol("", "output", int32, (), 4))
    return Image(target, INTEGERS[target], struct.pack("<iii", 21, 0, 5) + bytes(28), 0, symbols, stack=64)


def copies(singles, doubles):
    """A program for x86-64 that copies its inputs, float32 and float64 arrays, to its outputs."""
    size = 4 * singles + 8 * doubles
    code = b"\x48\x89\xfe" + b"\x48\x81\xc7" + struct.pack("<i", size) + b"\xb9" + struct.pack("<i", size) + b"\xf3\xa4\xc3"
    symbols = [
        Symbol(name, kind, dtype, (count,), base + start)
        for kind, base in (("input", 0), ("output", size))
        for name, dtype, count, start in (("s", float32, singles, 0), ("d", float64, doubles, 4 * singles))
    ]
    return Image("x86-64-v2", code, bytes(2 * size), 0, tuple(symbols), stack=8)
