"""Form "firmware": a complete bare-metal image for a board: start-up code, the runner, and the program in flash.

It is the board's runner, built with hotloop, to which code and initial data are appended after what lies in flash
already; runner/resident.h says what the runner does with them. No compiler and no linker runs here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hotloop.deploy.elf import EXECUTE, READ, Elf, Piece
from hotloop.deploy.target import BOARDS, executable, place_of
from hotloop.errors import InternalError, RangeError, TargetError
from hotloop.image import Image

# The structure of runner/resident.h: what the board's build wrote, then what is written here.
_MAGIC = b"hotloop:resident"
_HEAD = {32: "II16s16s5I", 64: "II16s16s5Q"}
_TAIL = {32: "<2I7I", 64: "<2Q7I"}
_VERSION = 1
_ALIGN = 16
_LONGEST = 1 << 24  # ticks of SysTick (Armv7-M ARM, B3.3.4)
_OWN_STACK = 256  # of the runner beside the program, as in runner/bare_metal.c


@dataclass(frozen=True, slots=True)
class Room:
    """What a board has: the targets it executes, the clock of its timer in Hz, and bytes."""

    targets: tuple[str, ...]
    clock: int
    flash_end: int
    region: int
    stack: int


def boards() -> list[str]:
    """Return the names of the boards whose runners came with hotloop and can hold a program."""
    return sorted(path.stem for path in BOARDS.glob("*.elf") if path.read_bytes().count(_MAGIC) == 1)


def board_arch(board: str | None) -> str:
    """Return the architecture that a board's runner executes best. Raises: TargetError for an unknown board."""
    elf = Elf(_board(board))
    return _room(elf, elf.find(_MAGIC) + len(_MAGIC)).targets[0]


def firmware(image: Image, name: str, board: str | None, rate: float | None = None) -> dict[str, bytes]:
    """Return NAME.elf and NAME.bin, the raw content of flash, and how to write them. Deterministic.

    rate: runs a second that the board makes by itself; None: the program runs on request only.
    Raises: TargetError for an unknown board, or one that executes other code; RangeError for what does not fit.
    """
    place = place_of(image)
    elf = Elf(_board(board))
    at = elf.find(_MAGIC) + len(_MAGIC)
    room = _room(elf, at)
    if image.target not in room.targets:
        raise TargetError(
            f"board {board!r} executes {' and '.join(room.targets)}, not {image.target!r}. Compile for arch={room.targets[0]!r}."
        )
    assert place.bits == elf.bits
    data = image.data.rstrip(b"\0")
    start = _flash_end(elf)
    code = start + -start % _ALIGN
    content = image.code.ljust(len(image.code) + -len(image.code) % _ALIGN, b"\0") + data
    _check_room(image, str(board), room, code + len(content))
    initial = code + len(content) - len(data)
    reload, every = _timer(room.clock, rate, str(board))
    fields = (code, initial, len(image.code), image.entry, image.stack, len(data), len(image.data), reload, every)
    elf.patch(at + struct.calcsize("<" + _HEAD[elf.bits]), struct.pack(_TAIL[elf.bits], *fields))
    elf.append([Piece(".hotloop", code, content, READ | EXECUTE)], mapped=False)
    address, flat = elf.flat()
    readme = _readme(image, name, str(board), address, len(flat), rate)
    return {f"{name}.elf": elf.content, f"{name}.bin": flat, f"{name}_README.txt": readme.encode()}


def _board(board: str | None) -> bytes:
    known = boards()
    if board not in known:
        what = "form 'firmware' needs a board" if board is None else f"there is no board {board!r}"
        have = f"Use one of: {', '.join(known)}." if known else "This installation of hotloop has none; form 'blob' needs none."
        raise TargetError(f"{what}. {have}")
    return executable(BOARDS, board)


def _room(elf: Elf, at: int) -> Room:
    fields = elf.read(at, _HEAD[elf.bits])
    if fields[0] != _VERSION:
        raise InternalError(f"the board's runner describes its resident program in version {fields[0]}, not {_VERSION}.")
    targets = dict.fromkeys(bytes(field).rstrip(b"\0").decode() for field in fields[2:4])
    clock, flash_end, region_start, region_end, stack_start, stack_end = (int(fields[1]), *map(int, fields[4:]))
    return Room(tuple(filter(None, targets)), clock, flash_end, region_end - region_start, stack_end - stack_start - _OWN_STACK)


def _flash_end(elf: Elf) -> int:
    """Return the address after the last byte that is stored."""
    return max(s.load + s.size for s in elf.loaded if s.size)


def _check_room(image: Image, board: str, room: Room, end: int) -> None:
    facts = (
        ("flash", "code and initial data", end - room.flash_end, 0),
        ("RAM", f"{len(image.data)} bytes of data", len(image.data), room.region),
        ("stack", f"{image.stack} bytes of stack", image.stack, room.stack),
    )
    for what, wanted, needs, has in facts:
        if needs > has:
            raise RangeError(f"board {board!r} has too little {what} for this program: {wanted}, {needs - has} bytes too many.")


def _timer(clock: int, rate: float | None, board: str) -> tuple[int, int]:
    """Return the timer's period in ticks less one, and the periods for each run."""
    if rate is None:
        return 0, 0
    if not clock:
        raise TargetError(f"board {board!r} has no timer that hotloop knows. Leave the rate away, and run the program on request.")
    if not 0 < rate <= clock / 1000:
        raise RangeError(f"a rate of {rate} Hz is not possible: board {board!r} makes up to {clock // 1000} Hz.")
    ticks = round(clock / rate)
    every = -(-ticks // _LONGEST)
    return round(ticks / every) - 1, every


def _readme(image: Image, name: str, board: str, address: int, size: int, rate: float | None) -> str:
    runs = f"runs {rate:g} times a second" if rate else "runs when a client asks for it"
    family, _, rest = board.partition("-")
    qemu = {"mps2": f"arm -M {board}", "virt": f"{rest.removesuffix('f')} -M virt -bios none -m 16"}.get(family)
    tried = f"To try it without a board:\n  qemu-system-{qemu} -nographic -kernel {name}.elf\n" if qemu else ""
    return f"""\
{name}: firmware for the board {board}, made by hotloop for {image.target}

  {name}.elf   for debuggers and emulators
  {name}.bin   the same as raw content of flash: {size} bytes from address {address:#x}

The program {runs}. The board's UART, 115200 baud, 8N1, serves the protocol of hotloop's runner:
hotloop's Target connects to it, reads and writes inputs, states and outputs, and runs the program.

To write it into flash:
  openocd -f board/... -c "program {name}.elf verify reset exit"
  pyocd flash --base-address {address:#x} {name}.bin
  st-flash write {name}.bin {address:#x}
{tried}"""
