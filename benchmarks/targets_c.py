"""C for every target, compiled and linked by zig with musl's mathematics, loaded into the emulator."""

from __future__ import annotations

import functools
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from hotloop.image import Image
from hotloop.runtime.emulator import CODE, Emulated

Array = np.ndarray[Any, Any]
RAM = 0x3000_0000
STACK = 8192
LIMIT_S = 280  # the first program of a target has zig compile its C library
# triple with a C library, processor, flags
TRIPLES = {
    "aarch64": ("aarch64-linux-musl", "generic", ()),
    "armv7a": ("arm-linux-musleabihf", "cortex_a7", ()),
    "armv6": ("arm-linux-musleabihf", "arm1176jzf_s", ()),
    "armv7em": ("thumb-linux-musleabihf", "cortex_m4+vfp4d16sp", ()),
    "armv7m": ("thumb-linux-musleabi", "cortex_m3", ()),
    "riscv64": ("riscv64-linux-musl", "generic_rv64+m+a+f+d+c", ()),
}
FLAGS = (
    "-g0", "-std=gnu11", "-fno-math-errno", "-fno-sanitize=all", "-fno-stack-protector", "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables", "-ffunction-sections", "-fdata-sections",
)  # fmt: skip
LINKED = ("-static", "-Wl,--gc-sections", "-Wl,-T,link.ld")  # with the second, zig empties objects that it only compiles
SCRIPT = f"""
ENTRY(entry)
SECTIONS {{
  . = {CODE:#x};
  .text : {{ KEEP(*(.text.entry)) *(.text .text.*) }}
  .rodata : {{ *(.rodata .rodata.* .srodata .srodata.* .data.rel.ro .data.rel.ro.*) }}
  . = {RAM:#x};
  .data : {{ *(.data .data.* .sdata .sdata.* .bss .bss.* .sbss .sbss.* COMMON) }}
  .offsets 0x38000000 : {{ KEEP(*(.offsets)) }}
  /DISCARD/ : {{ *(.ARM.exidx* .ARM.extab* .eh_frame* .comment* .debug* .note*) }}
}}
"""
MAIN = "int main(void) { return 0; }\n"
BY_HAND = "void step(const float *, float *);\n" + MAIN
BY_HAND += '__attribute__((section(".text.entry"))) void entry(float *data) { step(data + {outputs}, data); }\n'


@dataclass(slots=True)
class Linked:
    """A program at its addresses: code with constants from `CODE` on, initial data at `RAM`, and the words of its table `offsets`."""

    code: bytes
    data: bytes
    table: tuple[int, ...]


@dataclass(slots=True)
class Measured:
    """What C takes: bytes of code, all and of the program's own file, instructions of a step, bytes of stack; `found` are the results."""

    code: int
    own: int
    instructions: int
    stack: int
    found: Array


def by_hand(source: str, target: str, level: str, inputs: Array, outputs: int) -> Measured:
    """Compile `step(x, out)` and run it once in the emulator. Raises: CompileError."""
    linked, own = _linked(target, level, {"program.c": source, "entry.c": BY_HAND.replace("{outputs}", str(outputs))})
    data = bytes(4 * outputs) + np.asarray(inputs, np.float32).tobytes()
    program = _emulated(linked, target, data)
    program.run()
    found = np.frombuffer(program.memory, np.float32, outputs).copy()
    return Measured(len(linked.code) - _rest(target, level), own, program.instructions, program.stack_used, found)


@functools.cache
def _rest(target: str, level: str) -> int:
    """Return the bytes that every program has: what zig links for a process, which no firmware would have."""
    return len(
        _linked(target, level, {"program.c": "void step(const float *x, float *out) {}", "entry.c": BY_HAND.replace("{outputs}", "0")})[
            0
        ].code
    )


def exported(files: dict[str, str], target: str, level: str, fields: list[str], inputs: list[tuple[str, Array]]) -> Measured:
    """Compile what `c_source` wrote under the name "program", and run a step of it. fields: those of its results."""
    names = [name for name, _ in inputs] + fields
    table = ", ".join(f"__builtin_offsetof(program_t, {name}), sizeof(((program_t *)0)->{name})" for name in names)
    attribute = '__attribute__((section(".offsets"), used))'
    body = f'#include "program.h"\n{attribute} const unsigned offsets[] = {{sizeof(program_t), {table}}};\n{MAIN}'
    entry = '__attribute__((section(".text.entry"))) void entry(program_t *data) {{ program_{what}(data); }}\n'
    linked, _ = _linked(target, level, files | {"entry.c": body + entry.format(what="init")})
    size, *places = linked.table
    start = _emulated(linked, target, bytes(size))
    start.run()
    linked, own = _linked(target, level, files | {"entry.c": body + entry.format(what="step")})
    program = _emulated(linked, target, bytes(start.memory))
    where = dict(zip(names, zip(places[::2], places[1::2], strict=True), strict=True))
    for name, numbers in inputs:
        at, room = where[name]
        program.memory[at : at + room] = np.asarray(numbers, np.float32).tobytes()
    program.run()
    found = [np.frombuffer(program.memory, np.float32, where[name][1] // 4, where[name][0]) for name in fields]
    return Measured(len(linked.code) - _rest(target, level), own, program.instructions, program.stack_used, np.concatenate(found))


def _emulated(linked: Linked, target: str, data: bytes) -> Emulated:
    program = Emulated(Image(target, linked.code, data, 0, (), stack=STACK))
    if linked.data:
        program.map(RAM, linked.data, writable=True)
    return program


def _linked(target: str, level: str, files: dict[str, str]) -> tuple[Linked, int]:
    """Compile and link; return the program, and the bytes of the code of `program.c` alone."""
    triple, cpu, more = TRIPLES[target]
    with tempfile.TemporaryDirectory(prefix="hotloop-bench-") as folder:
        for name, text in {**files, "link.ld": SCRIPT}.items():
            Path(folder, name).write_text(text)
        zig = [*(peers.zig() or ()), "-target", triple, f"-mcpu={cpu}", level, *FLAGS, *more]
        _run([*zig, "-c", "program.c", "-o", "program.o"], folder)
        _run([*zig, "-c", "entry.c", "-o", "entry.o"], folder)
        _run([*zig, *LINKED, "entry.o", "program.o", "-lm", "-o", "program.elf"], folder)
        own = sum(
            size for name, size in _sections(Path(folder, "program.o").read_bytes()) if name.startswith((".text", ".rodata", ".srodata"))
        )
        return _loaded(Path(folder, "program.elf").read_bytes()), own


def _run(command: list[str], folder: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=folder)
    except subprocess.TimeoutExpired:
        raise peers.CompileError(f"not done after {LIMIT_S} s") from None
    if done.returncode:
        raise peers.CompileError(done.stderr[:2000])


def _sections(raw: bytes) -> list[tuple[str, int]]:
    """Return name and size of each section of an ELF file (System V ABI, "Object Files")."""
    wide = raw[4] == 2
    (table,) = struct.unpack_from("<Q" if wide else "<I", raw, 40 if wide else 32)
    size, count, names = struct.unpack_from("<HHH", raw, 58 if wide else 46)
    headers = [struct.unpack_from("<IIQQQQ" if wide else "<IIIIII", raw, table + size * k) for k in range(count)]
    text = headers[names][4]
    return [(raw[text + one[0] : raw.index(b"\0", text + one[0])].decode(), one[5]) for one in headers]


def _loaded(raw: bytes) -> Linked:
    """Return what an ELF program has in memory, by its program headers."""
    wide = raw[4] == 2
    (table,) = struct.unpack_from("<Q" if wide else "<I", raw, 32 if wide else 28)
    size, count = struct.unpack_from("<HH", raw, 54 if wide else 42)
    code, data, offsets = b"", b"", b""
    for k in range(count):
        one = struct.unpack_from("<IIQQQQQQ" if wide else "<8I", raw, table + size * k)
        kind, at, address, length, room = (one[0], one[2], one[3], one[5], one[6]) if wide else (one[0], one[1], one[2], one[4], one[5])
        content = raw[at : at + length]
        if kind != 1:  # PT_LOAD
            continue
        if CODE <= address < RAM:
            code = code.ljust(address - CODE, b"\0") + content
        elif RAM <= address < 0x3800_0000:
            data = data.ljust(address - RAM, b"\0") + content.ljust(room, b"\0")
        elif address >= 0x3800_0000:
            offsets = content
    return Linked(code, data, struct.unpack(f"<{len(offsets) // 4}I", offsets[: len(offsets) // 4 * 4]))
