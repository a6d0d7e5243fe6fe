"""Runs an image of any target on this machine, in an emulated processor (unicorn): for tests, sizes and counts of instructions."""

from __future__ import annotations

import ctypes
import mmap
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from hotloop.errors import TargetError
from hotloop.image import Image

PAGE = 4096
# Where things lie: code, data and stack in the regions of ARMv7-M's memory map that may hold them (ARM DDI 0403E, B3.1).
STOP, CODE, DATA, STACK = 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x6000_0000
PAINT = 0xA5  # what memory holds that a program must not write, and stack that it has not used
_SAVED = 0x5A5A_0000  # what registers that a call preserves hold before it


class Processor(NamedTuple):
    """How unicorn is told to be one target; names are those of its constants."""

    arch: str
    mode: tuple[str, ...]
    constants: str  # module of registers and models
    model: str
    registers: tuple[str, str, str, str]  # program counter, stack pointer, first argument, return address
    saved: tuple[str, ...]  # what a call preserves
    switches: tuple[tuple[str, int], ...] = ()  # registers that turn the floating-point unit on
    code: str = "words"  # how instructions are as long as they are
    aligned: int = 8  # accesses of up to so many bytes must be aligned to their size, larger ones to this
    kept: int = 64  # bits of a floating-point register that a call preserves


_CORE = tuple(f"R{i}" for i in range(4, 12))
_DOUBLE = tuple(f"D{i}" for i in range(8, 16))
_RISCV = tuple(f"S{i}" for i in range(12))
_RISCV_FLOAT = tuple(f"FS{i}" for i in range(12))
_ARM = ("PC", "SP", "R0", "LR")
_VFP = (("C1_C0_2", 0xF << 20), ("FPEXC", 1 << 30))  # ARM DDI 0406C: CPACR gives access, FPEXC.EN enables
_FS = (("MSTATUS", 0x6000),)  # mstatus.FS = dirty: floating point is on


def _arm(model: str, saved: tuple[str, ...] = _CORE + _DOUBLE) -> Processor:
    return Processor("ARM", ("ARM",), "arm_const", f"ARM_{model}", _ARM, saved, _VFP, aligned=4)


def _thumb(model: str, saved: tuple[str, ...], switches: tuple[tuple[str, int], ...]) -> Processor:
    return Processor("ARM", ("THUMB", "MCLASS"), "arm_const", f"ARM_{model}", _ARM, saved, switches, "thumb", 4)


def _riscv(bits: int, saved: tuple[str, ...]) -> Processor:
    registers = ("PC", "SP", "A0", "RA")
    return Processor("RISCV", (f"RISCV{bits}",), "riscv_const", f"RISCV{bits}_ANY", registers, saved, _FS, "compressed", bits // 8, bits)


PROCESSORS = {
    "aarch64": Processor(
        "ARM64", ("ARM",), "arm64_const", "ARM64_A72", ("PC", "SP", "X0", "LR"),
        (*(f"X{i}" for i in range(19, 30)), *_DOUBLE), (("CPACR_EL1", 3 << 20),), aligned=1,
    ),
    "armv7a": _arm("CORTEX_A7"),
    "armv6": _arm("1176"),
    "armv7em": _thumb("CORTEX_M4", _CORE + _DOUBLE, _VFP),
    "armv7m": _thumb("CORTEX_M3", _CORE, ()),
    "riscv64": _riscv(64, _RISCV + _RISCV_FLOAT),
    "riscv32": _riscv(32, _RISCV),
    "riscv32f": _riscv(32, _RISCV + _RISCV_FLOAT),
    "x86-64-v2": Processor(
        "X86", ("64",), "x86_const", "X86_HASWELL", ("RIP", "RSP", "RDI", ""),
        ("RBX", "RBP", "R12", "R13", "R14", "R15"), code="x86", aligned=1,
    ),
}  # fmt: skip


def emulates(target: str) -> bool:
    """Return whether code for `target` can run in the emulator; it knows no AVX, so x86-64-v3 cannot."""
    return target in PROCESSORS


class Emulated:
    """An image loaded into an emulated processor of its own.

    image: for any target of PROCESSORS.
    limit: most machine instructions of one run; None for no limit.
    count: keep of the last run how often each block of code, (address, size), was entered (`blocks`), how often one was
        left by a jump (`jumps`), and what comes of it (`instructions`). Costs about a microsecond a block.
    watch: look at every access to memory and at preserved registers: also what the processor would tolerate raises. Slow.
    cpu: another model that unicorn knows, such as "ARM_CORTEX_M7".
    Code is readable and executable, data and stack are readable and writable; all else raises. Guard pages
    surround each, the end of the data and the bottom of the stack lie at one.
    Raises: TargetError for a target that cannot be emulated, and where unicorn is not installed.
    """

    def __init__(self, image: Image, *, limit: int | None = None, count: bool = True, watch: bool = False, cpu: str | None = None) -> None:
        if image.target not in PROCESSORS:
            raise TargetError(f"code for {image.target} cannot be emulated. Possible: {', '.join(PROCESSORS)}.")
        if image.patches:
            raise TargetError(f"the image for {image.target} has {len(image.patches)} patches; only linked images can be emulated.")
        self.image = image
        self.limit = limit
        self.blocks: Counter[tuple[int, int]] = Counter()
        self.jumps: Counter[tuple[int, int]] = Counter()
        self._processor = PROCESSORS[image.target]
        self._unicorn = _unicorn()
        self._constants = import_module(f"unicorn.{self._processor.constants}")
        self._machine = self._open(cpu or self._processor.model)
        self._memory, self._data = self._map_data(image.data)
        self._stack, self._top = self._map_stack(image.stack)
        self.map(CODE, image.code)
        self.map(STOP, b"")
        self._start = CODE + image.entry + (self._processor.code == "thumb")
        self._last = [self._start, 0]  # the block that runs: address and size
        self._lengths: dict[tuple[int, int], int] = {}
        self._wrong: str | None = None
        self._counts, self._watches = count, watch
        self._add_hooks()

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Execute the program once.

        Raises: TargetError with the offset in the code where the program does what it must not.
        """
        self.blocks.clear()
        self.jumps.clear()
        self._last[:] = self._start & ~1, 0
        self._wrong = None
        self._prepare()
        try:
            self._machine.emu_start(self._start, STOP, 0, self.limit or 0)
        except self._unicorn.UcError as error:
            raise TargetError(self._told(self._wrong or str(error))) from None
        if self._wrong is not None:
            raise TargetError(self._told(self._wrong))
        if self._read(0) & ~1 != STOP:
            raise TargetError(self._told(f"more than {self.limit} instructions, the limit of a run"))
        if self._counts:
            self.jumps[self._last[0], self._last[1]] += 1  # the return
        self._look_after()

    def run_many(self, n: int) -> None:
        """Execute the program `n` times; `instructions` are those of the last run."""
        for _ in range(n):
            self.run()

    @property
    def memory(self) -> memoryview:
        """The data of the program: live, writable, one dimension of bytes."""
        return self._memory

    @property
    def instructions(self) -> int:
        """Machine instructions that the last run executed; those that a Thumb `IT` skips count too."""
        assert self._counts, "instructions are counted with count=True"
        return sum(times * self._length(block) for block, times in self.blocks.items())

    @property
    def stack_used(self) -> int:
        """Bytes of stack that all runs have used, as far as they were written."""
        below = bytes(self._stack[: self._top - STACK])
        return len(below.lstrip(bytes([PAINT])))

    @property
    def code_size(self) -> int:
        """Bytes of code."""
        return len(self.image.code)

    @property
    def data_size(self) -> int:
        """Bytes of data."""
        return len(self.image.data)

    def map(self, address: int, content: bytes, *, writable: bool = False) -> None:
        """Put more memory at an address, readable, and executable or writable: for code linked at fixed addresses.

        address: a multiple of PAGE. Raises: TargetError where something lies already.
        """
        unicorn = self._unicorn
        rights = unicorn.UC_PROT_READ | (unicorn.UC_PROT_WRITE if writable else unicorn.UC_PROT_EXEC)
        try:
            self._machine.mem_map(address, _pages(max(len(content), 1)), rights)
            self._machine.mem_write(address, content)
        except unicorn.UcError as error:
            raise TargetError(f"{len(content)} bytes cannot be mapped at {address:#x}: {error}") from None

    # -- the machine ------------------------------------------------------------------------------

    def _open(self, model: str) -> Any:  # Any: unicorn.Uc, which is optional
        unicorn, processor = self._unicorn, self._processor
        mode = sum(getattr(unicorn, f"UC_MODE_{name}") for name in processor.mode)
        machine = unicorn.Uc(getattr(unicorn, f"UC_ARCH_{processor.arch}"), mode)
        machine.ctl_set_cpu_model(getattr(self._constants, f"UC_CPU_{model}"))
        self._machine = machine
        for name, value in processor.switches:
            register = self._register(name)
            machine.reg_write(register, machine.reg_read(register) | value)
        self._registers = [self._register(name) for name in processor.registers if name]
        self._saved = [(self._register(name), _SAVED + i) for i, name in enumerate(processor.saved)]
        return machine

    def _register(self, name: str) -> int:
        number: int = getattr(self._constants, f"UC_{self._processor.arch}_REG_{name}")
        return number

    def _map_data(self, data: bytes) -> tuple[memoryview, int]:
        """Map the data so that it ends where its pages do, 32-byte aligned; return it and its address."""
        room = -(-max(len(data), 1) // 32) * 32
        pages = _pages(room)
        self._data_pages = memoryview(_painted(pages))
        start = pages - room
        self._data_pages[start : start + len(data)] = data
        self._map(DATA, self._data_pages)
        return self._data_pages[start : start + len(data)], DATA + start

    def _map_stack(self, size: int) -> tuple[memoryview, int]:
        """Map a stack whose last byte that the program may use is the first of a page; return it and its top."""
        used = -(-(size + 8 * (self._processor.arch == "X86")) // 16) * 16
        stack = memoryview(_painted(_pages(used + 16)))
        self._map(STACK, stack)
        return stack, STACK + used

    def _map(self, address: int, memory: memoryview) -> None:
        readable = self._unicorn.UC_PROT_READ | self._unicorn.UC_PROT_WRITE
        host = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self._machine.mem_map_ptr(address, len(memory), readable, host)

    def _prepare(self) -> None:
        machine, top = self._machine, self._top
        if self._watches:
            for register, value in self._saved:
                machine.reg_write(register, value)
        if self._processor.arch == "X86":  # a call leaves the return address on the stack, which is 16-byte aligned before it
            top -= 8
            machine.mem_write(top, STOP.to_bytes(8, "little"))
        else:
            machine.reg_write(self._registers[3], STOP | (self._processor.code == "thumb"))
        machine.reg_write(self._registers[1], top)
        machine.reg_write(self._registers[2], self._data)

    def _read(self, which: int) -> int:
        number: int = self._machine.reg_read(self._registers[which])
        return number

    def _look_after(self) -> None:
        """Raise if the run left something that a call must not leave."""
        if self._read(1) != self._top:
            raise TargetError(f"the program for {self.image.target} returned with a stack pointer off by {self._read(1) - self._top}")
        start = self._data - DATA
        if bytes(self._data_pages[:start]).strip(bytes([PAINT])):
            raise TargetError(f"the program for {self.image.target} wrote memory before its data")
        if not self._watches:
            return
        for (register, value), name in zip(self._saved, self._processor.saved, strict=True):
            found = self._machine.reg_read(register) & ((1 << self._processor.kept) - 1)
            if found != value:
                raise TargetError(f"the program for {self.image.target} returned with {name} = {found:#x}, which a call preserves")

    # -- hooks ------------------------------------------------------------------------------------

    def _add_hooks(self) -> None:
        machine, unicorn = self._machine, self._unicorn
        machine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._refuse)
        machine.hook_add(unicorn.UC_HOOK_INTR, self._interrupted)
        if self._counts:
            machine.hook_add(unicorn.UC_HOOK_BLOCK, self._counter(), None, CODE, CODE + len(self.image.code))
        if self._watches:
            machine.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, self._look)

    def _counter(self) -> Callable[[object, int, int, object], None]:
        blocks, jumps = self.blocks, self.jumps
        last = self._last

        def count(machine: object, address: int, size: int, user: object) -> None:
            if address != last[0] + last[1]:
                jumps[last[0], last[1]] += 1
            last[0], last[1] = address, size
            blocks[address, size] += 1

        return count

    def _refuse(self, machine: object, access: int, address: int, size: int, value: int, user: object) -> bool:
        unicorn = self._unicorn
        if access in (unicorn.UC_MEM_FETCH_UNMAPPED, unicorn.UC_MEM_FETCH_PROT):
            self._wrong = f"a jump to {self._place(address)}"
        else:
            writes = access in (unicorn.UC_MEM_WRITE_UNMAPPED, unicorn.UC_MEM_WRITE_PROT)
            self._wrong = f"{'a write' if writes else 'a read'} of {size} bytes at {self._place(address)}"
        return False

    def _interrupted(self, machine: Any, number: int, user: object) -> None:  # Any: unicorn.Uc
        if self._wrong is None:
            self._wrong = f"an exception of the processor (number {number}): an invalid instruction or a trap"
        machine.emu_stop()

    def _look(self, machine: Any, access: int, address: int, size: int, value: int, user: object) -> None:  # Any: unicorn.Uc
        low = [(self._data, len(self.image.data)), (STACK, self._top - STACK)]
        if access == self._unicorn.UC_MEM_READ:
            low.append((CODE, len(self.image.code)))
        inside = any(start <= address and address + size <= start + length for start, length in low)
        if (not inside or address % min(size, self._processor.aligned)) and self._wrong is None:
            kind = "a read" if access == self._unicorn.UC_MEM_READ else "a write"
            self._wrong = f"{kind} of {size} bytes at {self._place(address)}, {'misaligned' if inside else 'outside of its memory'}"
            machine.emu_stop()

    def _place(self, address: int) -> str:
        for name, start, size in (("code", CODE, self.code_size), ("data", self._data, self.data_size), ("stack", STACK, len(self._stack))):
            if -PAGE <= address - start < size + PAGE:
                return f"{name} {address - start:+#x}"
        return f"address {address:#x}"

    def _told(self, what: str) -> str:
        return f"the program for {self.image.target} stopped at {self._place(self._read(0))}: {what}"

    # -- counting ---------------------------------------------------------------------------------

    def _length(self, block: tuple[int, int]) -> int:
        found = self._lengths.get(block)
        if found is None:
            start = block[0] - CODE
            found = self._lengths[block] = len(boundaries(self.image.code[start : start + block[1]], self._processor.code))
        return found


def boundaries(code: bytes, kind: str) -> list[int]:
    """Return the offset of each instruction of straight code; kind is that of a `Processor`."""
    if kind == "x86":
        return _disassembled(code)
    found, at = [], 0
    while at < len(code):
        found.append(at)
        low = code[at] | code[at + 1] << 8
        if kind == "words":
            at += 4
        elif kind == "thumb":  # ARM DDI 0403E, A5.1: 0b11101, 0b11110 and 0b11111 begin 32-bit instructions
            at += 4 if low >> 11 >= 0b11101 else 2
        else:  # the RISC-V unprivileged specification, 1.5: the lowest two bits of 32-bit instructions are 11
            at += 4 if low & 3 == 3 else 2
    return found


def _disassembled(code: bytes) -> list[int]:
    try:
        capstone = import_module("capstone")
    except ImportError:
        raise TargetError("counting instructions of x86-64 needs capstone: pip install 'hotloop[emulate]'") from None
    machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    return [at for at, _, _, _ in machine.disasm_lite(code, 0)]


def _unicorn() -> ModuleType:
    try:
        return import_module("unicorn")
    except ImportError:
        raise TargetError("running code for another processor here needs unicorn: pip install 'hotloop[emulate]'") from None


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _painted(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size)
    memory[:] = bytes([PAINT]) * size
    return memory
