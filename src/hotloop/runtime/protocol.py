"""Frames of the protocol that every runner speaks (runner/runner.h defines it), in Python.

A frame is: u16 sync, u8 command, u8 number, u16 length of the payload, u16 check of the header, payload, u32 CRC-32.
A request is a bytes object ready to be sent, without a number until `numbered` gives it one; `receive` reads one reply
from a stream, and `Replies` finds them in bytes that may be damaged. The order of a session: hello, allocate, copy_code
and copy_data, patch, entry, then run, read, write and stream, then free.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from hotloop import _runner
from hotloop.errors import ImageError

MAGIC = 0x706C7468
VERSION = 2
SYNC = 0x9BE4
REPLY = 0x80  # set in the command of a reply

_HEADER = struct.Struct("<HBBHH")  # sync, command, number, length of the payload, low half of the CRC-32 of what is before it
_UNCHECKED = struct.Struct("<HBBH")
_TRAILER = 4
LARGEST_FRAME = _HEADER.size + 0xFFFF + _TRAILER
_PATCH = struct.Struct("<IIq")
_U32 = struct.Struct("<I")
_TWO_U32 = struct.Struct("<II")
_HELLO = struct.Struct("<IIQ")
_GREETING = struct.Struct("<7I16s")


class Command(IntEnum):
    """What a runner can be told."""

    HELLO = 1
    ALLOCATE = 2
    COPY_CODE = 3
    COPY_DATA = 4
    PATCH = 5
    ENTRY = 6
    RUN = 7
    READ = 8
    WRITE = 9
    FREE = 10
    STREAM = 11


class Status(IntEnum):
    """What a runner answers; `_runner.message` has the words."""

    OK = 0
    UNKNOWN = 1
    MALFORMED = 2
    GREETING = 3
    OTHER_VERSION = 4
    OTHER_TARGET = 5
    HELD = 6
    NOTHING = 7
    SEALED = 8
    UNSEALED = 9
    SIZE = 10
    BOUNDS = 11
    ALIGNMENT = 12
    PATCH_KIND = 13
    PATCH_RANGE = 14
    STACK = 15
    MEMORY = 16
    CHECKSUM = 17
    TOO_LONG = 18


# A patch kind is the sum of a form, the base its value counts from, and the region its field lies in.
ABS32, ABS64, REL32 = 1, 2, 3
FROM_ZERO, FROM_CODE, FROM_DATA = 0x000, 0x100, 0x200
IN_CODE, IN_DATA = 0x0000, 0x1000


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a runner; command 0 with CHECKSUM: something unreadable came; with NOTHING: the board has started."""

    command: int
    status: int
    payload: bytes
    number: int = 0

    def checked(self) -> bytes:
        """Return the payload; raise ImageError if the runner refused."""
        if self.status != Status.OK:
            known = self.command in set(Command)
            name = Command(self.command).name if known else f"command {self.command}"
            raise ImageError(f"the runner refused {name}: {_runner.message(self.status)} (status {self.status})")
        return self.payload


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a runner says of itself: payload and program that it takes at most, in bytes, and what it executes.

    window: requests that may be sent before their replies are read.
    target: name of the best target that it executes.
    """

    version: int
    largest_payload: int
    code_limit: int
    data_limit: int
    stack_limit: int
    window: int
    target: str


def frame(command: int, payload: bytes = b"", number: int = 0) -> bytes:
    """Return one request: header, payload, CRC-32. Raises: ImageError for a payload of 64 KiB or more."""
    if len(payload) > 0xFFFF:
        raise ImageError(f"a frame holds at most 65535 bytes of payload, not {len(payload)}.")
    head = _UNCHECKED.pack(SYNC, command, number, len(payload))
    body = head + (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") + payload
    return body + _U32.pack(zlib.crc32(body))


def numbered(request: bytes, number: int) -> bytes:
    """Return a request with a number, 1 to 255: the runner does what it names once, however often it comes in a row."""
    return frame(request[2], request[_HEADER.size : -_TRAILER], number)


def receive(read: Callable[[int], bytes]) -> Reply:
    """Read one reply; `read(n)` returns n bytes, or fewer where the stream ends.

    Raises: ConnectionError if the stream ends early, ImageError if the reply is damaged.
    """
    header = _exactly(read, _HEADER.size)
    if not _is_header(header):
        raise ImageError(f"this is no reply of a runner: {header.hex(' ')}")
    body = header + _exactly(read, _HEADER.unpack(header)[3] + _TRAILER)
    reply = _parsed(body)
    if reply is None:
        raise ImageError("the reply of the runner arrived damaged")
    return reply


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) != size:
        raise ConnectionError(f"the link to the runner ended: {len(data)} of {size} bytes came")
    return data


def _is_header(header: bytes) -> bool:
    """Whether these bytes begin a reply."""
    sync, command, _, length, check = _HEADER.unpack(header)
    return bool(sync == SYNC and command & REPLY and length >= _U32.size and check == zlib.crc32(header[:-2]) & 0xFFFF)


def _parsed(body: bytes) -> Reply | None:
    """Return the reply in a frame that has a header, or None if it is damaged."""
    (crc,) = _U32.unpack_from(body, len(body) - _TRAILER)
    if crc != zlib.crc32(body[:-_TRAILER]):
        return None
    _, command, number, *_ = _HEADER.unpack_from(body)
    (status,) = _U32.unpack_from(body, _HEADER.size)
    return Reply(command & ~REPLY, status, body[_HEADER.size + _U32.size : -_TRAILER], number)


class Replies:
    """Finds replies in a stream of bytes, and skips what is none.

    skipped: bytes that belonged to no reply; damaged: replies with a wrong checksum.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.skipped = self.damaged = 0

    def add(self, data: bytes) -> None:
        """Append what came."""
        self._bytes += data

    def next(self) -> Reply | None:
        """Return the next whole reply, or None if more bytes are needed."""
        while len(self._bytes) >= _HEADER.size:
            header = bytes(self._bytes[: _HEADER.size])
            if not _is_header(header):
                del self._bytes[0]
                self.skipped += 1
                continue
            size = _HEADER.size + _HEADER.unpack(header)[3] + _TRAILER
            if len(self._bytes) < size:
                return None
            reply = _parsed(bytes(self._bytes[:size]))
            if reply is not None:
                del self._bytes[:size]
                return reply
            del self._bytes[: _HEADER.size]  # the next reply may begin where bytes of this one are missing
            self.skipped += _HEADER.size
            self.damaged += 1
        return None


def target_hash(name: str) -> int:
    """Return the number that stands for a target (FNV-1a, 64 bits)."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def hello(target: str) -> bytes:
    """Return the first request of a session; the answer is for `greeting`."""
    return frame(Command.HELLO, _HELLO.pack(MAGIC, VERSION, target_hash(target)))


def greeting(payload: bytes) -> Greeting:
    """Read the answer to hello."""
    if len(payload) != _GREETING.size:
        raise ImageError(f"a greeting has {_GREETING.size} bytes, this one {len(payload)}")
    magic, version, largest, code, data, stack, window, name = _GREETING.unpack(payload)
    if magic != MAGIC:
        raise ImageError(f"this is no runner of hotloop: magic {magic:#010x}")
    return Greeting(version, largest, code, data, stack, window, name.rstrip(b"\0").decode("ascii", "replace"))


def allocate(code: int, data: int) -> bytes:
    """Ask for a code region and a data region of so many bytes."""
    return frame(Command.ALLOCATE, _TWO_U32.pack(code, data))


def copy_code(offset: int, data: bytes) -> bytes:
    """Load machine code."""
    return frame(Command.COPY_CODE, _U32.pack(offset) + data)


def copy_data(offset: int, data: bytes) -> bytes:
    """Load initial data."""
    return frame(Command.COPY_DATA, _U32.pack(offset) + data)


def pack_patches(patches: Iterable[tuple[int, int, int]]) -> bytes:
    """Return (kind, offset, value) records as the runner takes them, also `_runner.Program`."""
    return b"".join(_PATCH.pack(*patch) for patch in patches)


def patch(records: bytes) -> bytes:
    """Apply packed patches, in their order."""
    return frame(Command.PATCH, records)


def entry(offset: int, stack: int = 0) -> bytes:
    """Seal the program: code becomes executable, and starts at `offset`."""
    return frame(Command.ENTRY, _TWO_U32.pack(offset, stack))


def run(count: int = 1) -> bytes:
    """Run the program `count` times."""
    return frame(Command.RUN, _U32.pack(count))


def read(offset: int, size: int) -> bytes:
    """Ask for bytes of the data region."""
    return frame(Command.READ, _TWO_U32.pack(offset, size))


def write(offset: int, data: bytes) -> bytes:
    """Store bytes into the data region."""
    return frame(Command.WRITE, _U32.pack(offset) + data)


def stream(writes: Sequence[tuple[int, bytes]], reads: Sequence[tuple[int, int]], count: int = 1) -> bytes:
    """Write (offset, bytes), run `count` times and read (offset, size), all in one frame; the answer is what was read."""
    head = _TWO_U32.pack(count, len(reads)) + b"".join(_TWO_U32.pack(*wanted) for wanted in reads)
    return frame(Command.STREAM, head + b"".join(_TWO_U32.pack(offset, len(data)) + data for offset, data in writes))


def free() -> bytes:
    """Give the program up."""
    return frame(Command.FREE)


def load(code: bytes, data: bytes, start: int, patches: bytes, stack: int, largest_payload: int) -> Iterator[bytes]:
    """Yield the requests that load a whole image into a runner that takes such payloads."""
    step = largest_payload - 4
    yield allocate(len(code), len(data))
    for make, region in ((copy_code, code), (copy_data, data)):
        for at in range(0, len(region), step):
            yield make(at, region[at : at + step])
    step = largest_payload // _PATCH.size * _PATCH.size
    for at in range(0, len(patches), step):
        yield patch(patches[at : at + step])
    yield entry(start, stack)
