"""Frames of the protocol that every runner speaks (runner/runner.h defines it), in Python.

A request is a bytes object ready to be sent; `receive` reads one reply from a stream. The order of a
session: hello, allocate, copy_code and copy_data, patch, entry, then run, read and write, then free.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from hotloop import _runner
from hotloop.errors import ImageError

MAGIC = 0x706C7468
VERSION = 1
REPLY = 0x8000  # set in the command of a reply

_HEADER = struct.Struct("<HHI")  # command, reserved, length of the payload
_PATCH = struct.Struct("<IIq")
_U32 = struct.Struct("<I")
_TWO_U32 = struct.Struct("<II")
_HELLO = struct.Struct("<IIQ")
_GREETING = struct.Struct("<6I")


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
    """One answer of a runner."""

    command: int
    status: int
    payload: bytes

    def checked(self) -> bytes:
        """Return the payload; raise ImageError if the runner refused."""
        if self.status != Status.OK:
            known = self.command in set(Command)
            name = Command(self.command).name if known else f"command {self.command}"
            raise ImageError(f"the runner refused {name}: {_runner.message(self.status)} (status {self.status})")
        return self.payload


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a runner says of itself: the largest payload it takes and the limits of a program."""

    version: int
    largest_payload: int
    code_limit: int
    data_limit: int
    stack_limit: int


def frame(command: int, payload: bytes = b"") -> bytes:
    """Return one request: header, payload, CRC-32."""
    body = _HEADER.pack(command, 0, len(payload)) + payload
    return body + _U32.pack(zlib.crc32(body))


def receive(read: Callable[[int], bytes]) -> Reply:
    """Read one reply; `read(n)` returns n bytes, or fewer where the stream ends.

    Raises: ConnectionError if the stream ends early, ImageError if the reply is damaged.
    """
    header = _exactly(read, _HEADER.size)
    command, reserved, length = _HEADER.unpack(header)
    if not command & REPLY or reserved or not 4 <= length <= 1 << 30:
        raise ImageError(f"this is no reply of a runner: {header.hex(' ')}")
    payload = _exactly(read, length)
    (crc,) = _U32.unpack(_exactly(read, 4))
    if crc != zlib.crc32(payload, zlib.crc32(header)):
        raise ImageError("the reply of the runner arrived damaged")
    (status,) = _U32.unpack_from(payload)
    return Reply(command & ~REPLY, status, payload[4:])


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) != size:
        raise ConnectionError(f"the link to the runner ended: {len(data)} of {size} bytes came")
    return data


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
    magic, *rest = _GREETING.unpack(payload)
    if magic != MAGIC:
        raise ImageError(f"this is no runner of hotloop: magic {magic:#010x}")
    return Greeting(*rest)


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
