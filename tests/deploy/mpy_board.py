"""A board that runs MicroPython, as far as a native module can tell: a loader, the interpreter's table, objects.

The file is read anew, after MicroPython's documentation of it, and its code runs in unicorn. Functions of the table are
traps: Python does their work on objects whose addresses the code handles, and fails on those that no test expects.
"""

import struct
from dataclasses import dataclass

import unicorn
from unicorn import arm_const, riscv_const, x86_const

from hotloop.runtime.emulator import PROCESSORS

TRAPS, TEXT, HEAP, STACK = 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x6000_0000
HEAP_SIZE, STACK_SIZE, ENTRIES = 1 << 20, 1 << 16, 79
FUN_TABLE, STR = 0, 5
NONE = object()


@dataclass
class Kind:
    """One architecture: its number in files, bytes of a pointer, registers of arguments and of the result, a return."""

    processor: str
    number: int
    word: int
    arguments: tuple[int, ...]
    result: int
    link: int | None
    back: bytes
    constants: object

    @property
    def thumb(self):
        return "armv7" in self.processor


def _registers(constants, prefix, names):
    return tuple(getattr(constants, f"{prefix}_REG_{name}") for name in names.split())


_X86 = _registers(x86_const, "UC_X86", "RDI RSI RDX RCX R8 R9")
_ARM = _registers(arm_const, "UC_ARM", "R0 R1 R2 R3")
_RISCV = _registers(riscv_const, "UC_RISCV", "A0 A1 A2 A3 A4 A5")
_RA = riscv_const.UC_RISCV_REG_RA
KINDS = {
    "x86-64-v2": Kind("x86-64-v2", 2, 8, _X86, x86_const.UC_X86_REG_RAX, None, b"\xc3" * 4, x86_const),
    "armv7em": Kind("armv7em", 7, 4, _ARM, _ARM[0], arm_const.UC_ARM_REG_LR, bytes.fromhex("70477047"), arm_const),
    "armv7m": Kind("armv7m", 5, 4, _ARM, _ARM[0], arm_const.UC_ARM_REG_LR, bytes.fromhex("70477047"), arm_const),
    "riscv32": Kind("riscv32", 11, 4, _RISCV, _RISCV[0], _RA, bytes.fromhex("82808280"), riscv_const),
    "riscv32f": Kind("riscv32f", 11, 4, _RISCV, _RISCV[0], _RA, bytes.fromhex("82808280"), riscv_const),
}


class Raised(Exception):
    """What the module raised: the name of the exception and its text."""


class Reader:
    """A file's bytes, from the first on."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        assert self.at <= len(self.data), "the file ends too early"
        return self.data[self.at - count : self.at]

    def number(self):
        value = 0
        while True:
            (byte,) = self.take(1)
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value

    def string(self):
        length = self.number()
        assert not length & 1, "a string of the interpreter's own"
        text = self.take(length >> 1)
        assert self.take(1) == b"\0"
        return text.decode()


@dataclass
class File:
    """A native module: what its file holds."""

    architecture: int
    strings: list[str]
    constants: list[object]
    text: bytes


def read(data):
    """Read a file whose one piece of code is native and has no relocation."""
    reader = Reader(data)
    magic, version, features, bits = reader.take(4)
    assert (magic, version, features & 3, bits) == (ord("M"), 6, 3, 31)
    strings, constants = reader.number(), reader.number()
    names = [reader.string() for _ in range(strings)]
    found = []
    for _ in range(constants):
        (kind,) = reader.take(1)
        if kind == FUN_TABLE:
            found.append("table")
            continue
        assert kind == STR
        found.append(reader.take(reader.number()).decode())
        assert reader.take(1) == b"\0"
    header = reader.number()
    assert header & 7 == 2, "native code that has no children"
    text = reader.take(header >> 3)
    assert reader.number() == 0x10  # has a list of relocations
    assert reader.take(1) == b"\xff"  # which is empty
    assert reader.at == len(data)
    return File(features >> 2, names, found, text)


class Bytes:
    """A buffer on the board: bytearray (code 1) or array."""

    def __init__(self, board, content, code=1, writable=True, offset=0):
        self.board, self.size, self.code, self.writable = board, len(content), code, writable
        self.address = board.room(len(content) + offset) + offset
        board.machine.mem_write(self.address, bytes(content))

    def __bytes__(self):
        return bytes(self.board.machine.mem_read(self.address, self.size))


class Board:
    """A machine of one target with a module imported: `module` has its attributes."""

    def __init__(self, target, data):
        self.kind, self.file = KINDS[target], read(data)
        assert self.file.architecture == self.kind.number
        self._open()
        self.next, self.objects, self.calls = HEAP, {}, []
        self.strings = {k: name for k, name in enumerate(self.file.strings, 1000)}
        self.none = self.handle(NONE)
        self.table = self.words([self.none, self.handle(False), self.handle(True), *(self._trap(k) for k in range(3, ENTRIES))])
        constants = self.words([self.table if item == "table" else self.handle(item) for item in self.file.constants])
        numbers = self.room(2 * len(self.strings))
        self.machine.mem_write(numbers, struct.pack(f"<{len(self.strings)}H", *self.strings))
        self.module = {}
        self.context = self.words([0, 0, numbers, constants])
        self.objects[self.context] = self.module
        self.run(TEXT, self.words([0, self.context]))

    # -- the machine ------------------------------------------------------------------------------

    def _open(self):
        processor = PROCESSORS[self.kind.processor]
        mode = sum(getattr(unicorn, f"UC_MODE_{name}") for name in processor.mode)
        self.machine = machine = unicorn.Uc(getattr(unicorn, f"UC_ARCH_{processor.arch}"), mode)
        machine.ctl_set_cpu_model(getattr(self.kind.constants, f"UC_CPU_{processor.model}"))
        sse = (("CR4", 0x600),) if self.kind.link is None else ()  # OSFXSR, OSXMMEXCPT
        for name, value in (*processor.switches, *sse):
            register = getattr(self.kind.constants, f"UC_{processor.arch}_REG_{name}")
            machine.reg_write(register, machine.reg_read(register) | value)
        self.stack = getattr(self.kind.constants, f"UC_{processor.arch}_REG_{processor.registers[1]}")
        self.counter = getattr(self.kind.constants, f"UC_{processor.arch}_REG_{processor.registers[0]}")
        executable = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
        machine.mem_map(TRAPS, 4096, executable)
        machine.mem_write(TRAPS, self.kind.back * 1024)
        machine.mem_map(TEXT, -(-len(self.file.text) // 4096) * 4096, executable)
        machine.mem_write(TEXT, self.file.text)
        machine.mem_map(HEAP, HEAP_SIZE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        machine.mem_map(STACK, STACK_SIZE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        machine.hook_add(unicorn.UC_HOOK_CODE, self._trapped, None, TRAPS, TRAPS + 4 * ENTRIES - 1)

    def _trap(self, entry):
        return TRAPS + 4 * entry + self.kind.thumb

    def room(self, count):
        """Reserve bytes where MicroPython's heap would: at a multiple of 32."""
        self.next += -(-max(count, 1) // 32) * 32
        assert self.next <= HEAP + HEAP_SIZE
        return self.next - -(-max(count, 1) // 32) * 32

    def words(self, values):
        place = self.room(self.kind.word * len(values))
        self.machine.mem_write(place, b"".join(value.to_bytes(self.kind.word, "little") for value in values))
        return place

    def word(self, address):
        return int.from_bytes(self.machine.mem_read(address, self.kind.word), "little")

    def run(self, code, function, *arguments):
        """Call native code as the interpreter calls a native function: itself, a count, no keywords, the arguments."""
        stop, failure = TRAPS + 2048, []
        top = STACK + STACK_SIZE - 64
        if self.kind.link is None:
            top -= 8
            self.machine.mem_write(top, stop.to_bytes(8, "little"))
        else:
            self.machine.reg_write(self.kind.link, stop | self.kind.thumb)
        self.machine.reg_write(self.stack, top)
        for register, value in zip(self.kind.arguments, (function, len(arguments), 0, self.words(arguments)), strict=False):
            self.machine.reg_write(register, value)
        self.failure = failure
        self.machine.emu_start(code | self.kind.thumb, stop)
        if failure:
            raise failure[0]
        assert self.machine.reg_read(self.stack) == top + (8 if self.kind.link is None else 0)
        return self.objects[self.machine.reg_read(self.kind.result)]

    def _trapped(self, machine, address, size, user):
        entry = (address - TRAPS) // 4
        arguments = [machine.reg_read(register) for register in self.kind.arguments[:4]]
        self.calls.append(entry)
        try:
            result = getattr(self, f"_entry_{entry}")(*arguments)
        except Exception as error:  # a callback must not raise
            self.failure.append(error)
            machine.emu_stop()
            return
        machine.reg_write(self.kind.result, 0 if result is None else result)

    # -- objects ----------------------------------------------------------------------------------

    def handle(self, value):
        """The object that stands for a value of Python: small integers in the handle itself, others at an address."""
        limit = 1 << (8 * self.kind.word - 2)
        if type(value) is int and -limit <= value < limit:
            return (value << 1 | 1) & (1 << 8 * self.kind.word) - 1
        place = self.room(16)
        self.objects[place] = value
        return place

    def value(self, handle):
        if handle & 1:
            bits = 8 * self.kind.word
            return ((handle ^ 1 << bits - 1) - (1 << bits - 1)) >> 1
        return self.objects[handle]

    def call(self, name, *arguments):
        """Call an attribute of the module as Python on the board would."""
        function = self.module[name]
        return self.run(function.code, function.address, *map(self.handle, arguments))

    # -- the interpreter's table: numbers are places in it -----------------------------------------

    def _entry_4(self, number, kind, *_):
        assert kind == 2
        bits = 8 * self.kind.word
        return self.handle((number ^ 1 << bits - 1) - (1 << bits - 1))

    def _entry_7(self, name, *_):
        return self.handle({"bytearray": bytearray, "ValueError": ValueError, "TypeError": TypeError}[self.strings[name]])

    def _entry_9(self, owner, name, *_):
        assert owner == self.context
        return self.handle(self.module[self.strings[name]])

    def _entry_14(self, owner, name, value, *_):
        assert owner == self.context
        self.module[self.strings[name]] = self.value(value)

    def _entry_16(self, value, *_):
        return int(bool(self.value(value)))

    def _entry_26(self, raw, context, defaults, *_):
        assert (context, defaults) == (self.context, 0)
        assert bytes(self.machine.mem_read(raw, 4)) == bytes((0, 0, 4, 0))
        code = self.word(raw + self.kind.word) - self.kind.thumb
        assert TEXT <= code < TEXT + len(self.file.text)
        return self.handle(Function(code, self.words([0, context, 0, code])))

    def _entry_27(self, function, count, arguments, *_):
        assert count == 1
        made, argument = self.value(function), self.value(self.word(arguments))
        return self.handle(Bytes(self, bytes([0xEE]) * argument) if made is bytearray else made(argument))

    def _entry_34(self, error, *_):
        found = self.value(error)
        raise Raised(f"{type(found).__name__}: {found}")

    def _entry_50(self, place, byte, count, *_):
        self.machine.mem_write(place, bytes([byte]) * count)

    def _entry_51(self, place, source, count, *_):
        self.machine.mem_write(place, bytes(self.machine.mem_read(source, count)))

    def _entry_57(self, text, count, *_):
        return self.handle(bytes(self.machine.mem_read(text, count)).decode())

    def _entry_65(self, value, info, flags, *_):
        found = self.value(value)
        if isinstance(found, str):
            found = Bytes(self, found.encode(), ord("B"), writable=False)
        if not isinstance(found, Bytes) or (flags & 2 and not found.writable):
            return 0
        for k, number in enumerate((found.address, found.size)):
            self.machine.mem_write(info + k * self.kind.word, number.to_bytes(self.kind.word, "little"))
        self.machine.mem_write(info + 2 * self.kind.word, found.code.to_bytes(4, "little"))
        return 1

    def _entry_71(self, code, array, index, value):
        assert index == 0
        self.machine.mem_write(array, struct.pack("<" + chr(code & 0xFF), self.value(value)))


@dataclass
class Function:
    """A native function: its code, and the object that it is given."""

    code: int
    address: int
