"""Native modules of MicroPython: `import ik` on a board runs the compiled program.

The file is a container (.mpy, version 6.3) around machine code: the glue that MicroPython calls (runner/mpy_glue.c,
compiled when hotloop is built), then the program's own. Why it is made so: docs/notes/micropython.md.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path

from hotloop.deploy.naming import named
from hotloop.dtypes import DType
from hotloop.errors import TargetError
from hotloop.image import Image, Symbol

GLUE = Path(__file__).parent.parent / "runners" / "data"  # made when hotloop is built


@dataclass(frozen=True, slots=True)
class Machine:
    """How MicroPython names a kind of processor, and what its code wants.

    number:    in the header of the file (py/persistentcode.h of MicroPython)
    alignment: of the code within the file, and of the data in memory, in bytes
    thumb:     whether addresses of code are odd
    """

    name: str
    number: int
    alignment: tuple[int, int] = (16, 8)
    thumb: bool = False


_X64 = Machine("x64", 2, (64, 32))
_RV32 = Machine("rv32imc", 11)

# MicroPython loads armv7emsp where the processor is that or more: Cortex-M4F and M7. rv32imc is its one RISC-V with 32 bits.
MACHINES = {
    "x86-64-v2": _X64,
    "x86-64-v3": _X64,
    "armv7em": Machine("armv7emsp", 7, thumb=True),
    "armv7m": Machine("armv7m", 5, thumb=True),
    "riscv32": _RV32,
    "riscv32f": _RV32,
}

# What the glue asks the interpreter to intern, after the file's own name: the numbers are its enum.
_INTERNED = (
    "step", "get", "set", "reset", "new", "data", "SIZE", "__doc__", "bytearray", "ValueError", "TypeError",
)  # fmt: skip

_KINDS = {"input": 0, "output": 1, "state": 2}

# Codes of Python's array module; True and False have none.
_CODES = {
    "bool": "?", "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I",
    "int64": "q", "uint64": "Q", "float32": "f", "float64": "d",
}  # fmt: skip

_PROGRAM = struct.Struct("<8I")
_SYMBOL = struct.Struct("<4I4B")

_VERSION, _SUBVERSION, _SMALL_INTEGER_BITS = 6, 3, 31
_FUNCTION_TABLE, _TEXT = 0, 5  # kinds of constant objects
_NATIVE_VIPER = 2  # kinds of code, from bytecode on
_RELOCATED = 0x10  # the code has a list of relocations: then MicroPython keeps it for good
_NO_RELOCATION = b"\xff"


def write_mpy(image: Image, path: str | Path, name: str | None = None) -> Path:
    """Write `image` as a native module of MicroPython 1.23 or later; return the path.

    name: what the program is called in the module's `__doc__` and in tracebacks; the file's name says how it is
    imported. Default: that of the file.
    The module has step(*inputs, *outputs), get, set, reset, new, data and SIZE: see docs/notes/micropython.md.
    Raises: TargetError for a target that MicroPython has no native modules for.
    """
    path = Path(path)
    path.write_bytes(mpy(image, path.stem if name is None else name))
    return path


def mpy(image: Image, name: str) -> bytes:
    """Return the file that `write_mpy` writes. Size: the program's code and data, and about 3 KB."""
    machine = MACHINES.get(image.target)
    if machine is None:
        known = ", ".join(MACHINES)
        raise TargetError(f"MicroPython has no native modules for {image.target}. Compile for one of {known}.")
    symbols = interface(image)
    text = _glue(machine)
    text += _block(image, symbols, machine)
    document = _document(image, symbols, name)
    head = bytes((ord("M"), _VERSION, machine.number << 2 | _SUBVERSION, _SMALL_INTEGER_BITS))
    strings = b"".join(_interned(string) for string in (f"{name}.py", *_INTERNED))
    constants = bytes((_FUNCTION_TABLE, _TEXT)) + _number(len(document)) + document + b"\0"
    code = _number(len(text) << 3 | _NATIVE_VIPER) + text + _number(_RELOCATED) + _NO_RELOCATION
    return head + _number(1 + len(_INTERNED)) + _number(2) + strings + constants + code


def interface(image: Image) -> list[Symbol]:
    """Return what a board reads and writes, each with a name of its own: inputs, outputs, states."""
    found = [replace(symbol, name=name) for name, symbol in named(image)]
    return sorted(found, key=lambda symbol: _KINDS[symbol.kind])


def _glue(machine: Machine) -> bytes:
    path = GLUE / f"mpy-{machine.name}.bin"
    if not path.exists():
        raise TargetError(f"{path} is missing: this installation of hotloop has no MicroPython glue. Install it again.")
    return path.read_bytes()


def _block(image: Image, symbols: list[Symbol], machine: Machine) -> bytes:
    """Return what follows the glue, in the structures that it has: program, symbols, texts, initial data, code."""
    texts, places = bytearray(), []
    texts_at = _PROGRAM.size + _SYMBOL.size * len(symbols)
    for symbol in symbols:
        places.append((texts_at + len(texts), texts_at + len(texts) + len(symbol.name.encode()) + 1))
        texts += symbol.name.encode() + b"\0" + _type(symbol).encode() + b"\0"
    align, data_align = machine.alignment
    initial = image.data.rstrip(b"\0")
    initial_at = _aligned(texts_at + len(texts), 4)
    code_at = _aligned(initial_at + len(initial), align)
    counts = [sum(symbol.kind == kind for symbol in symbols) for kind in ("input", "output")]
    entry = code_at + image.entry + machine.thumb
    block = bytearray(_PROGRAM.pack(entry, initial_at, len(initial), len(image.data), data_align, *counts, len(symbols)))
    for symbol, (text, kind) in zip(symbols, places, strict=True):
        block += _SYMBOL.pack(text, kind, symbol.offset, _bytes(symbol), _KINDS[symbol.kind], not symbol.shape, _code(symbol.dtype), 0)
    for start, part in ((texts_at, texts), (initial_at, initial), (code_at, image.code)):
        block += bytes(start - len(block)) + part
    return bytes(block)


def _document(image: Image, symbols: list[Symbol], name: str) -> bytes:
    """Return what `help` shows on the board."""
    arguments = ", ".join(symbol.name for symbol in symbols if symbol.kind != "state")
    lines = [f"{name}.step({arguments}): made by hotloop for {image.target}"]
    lines += [f"{symbol.kind} {symbol.name}: {_type(symbol)}" for symbol in symbols]
    return "\n".join(lines).encode()


def _type(symbol: Symbol) -> str:
    return symbol.dtype.name + (f"[{', '.join(map(str, symbol.shape))}]" if symbol.shape else "")


def _bytes(symbol: Symbol) -> int:
    return symbol.dtype.size * math.prod(symbol.shape)


def _code(dtype: DType) -> int:
    return ord(_CODES[dtype.name])


def _aligned(offset: int, align: int) -> int:
    return -(-offset // align) * align


def _number(value: int) -> bytes:
    """Seven bits a byte, the highest first; the top bit says that more follows."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(0x80 | value & 0x7F)
    return bytes(reversed(parts))


def _interned(string: str) -> bytes:
    encoded = string.encode()
    return _number(len(encoded) << 1) + encoded + b"\0"
