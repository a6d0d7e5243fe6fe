"""ELF executables, 32 and 64 bits, little endian: read, patched, and grown by segments.

Layouts are those of the System V gABI, chapters "Object Files" and "Program Loading"; nothing here knows a processor.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hotloop.errors import InternalError

READ, WRITE, EXECUTE = 4, 2, 1  # of segments

_EXECUTABLE, _LITTLE = 2, 1
_LOAD, _NOTE, _PHDR, _EH_FRAME = 1, 4, 6, 0x6474E550
_SPARE = (_PHDR, _NOTE, _EH_FRAME)  # a static executable runs without them, so their places can be used again
_PROGBITS, _NOBITS = 1, 8
_ALLOC, _SECTION_WRITE, _SECTION_EXECUTE = 2, 1, 4


@dataclass(frozen=True, slots=True)
class Segment:
    """One program header: `size` bytes of the file at `offset`, which take `memory` bytes at `address`.

    load: the physical address: where a bare-metal image keeps the bytes until it runs.
    """

    kind: int
    flags: int
    offset: int
    address: int
    load: int
    size: int
    memory: int
    align: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What is to be appended: content, and the address it gets; `memory` counts zeros after it too.

    load: the physical address; the same as `address` by default.
    """

    name: str
    address: int
    content: bytes
    flags: int
    memory: int = 0
    load: int | None = None


@dataclass(frozen=True, slots=True)
class _Layout:
    header: struct.Struct
    segment: struct.Struct
    section: struct.Struct


# e_ident is read apart. A 32-bit program header has its flags further back; see _pack_segment.
_LAYOUTS = {
    1: _Layout(struct.Struct("<HHIIIIIHHHHHH"), struct.Struct("<8I"), struct.Struct("<10I")),
    2: _Layout(struct.Struct("<HHIQQQIHHHHHH"), struct.Struct("<II6Q"), struct.Struct("<IIQQQQIIQQ")),
}
_PHOFF, _SHOFF, _PHNUM, _SHNUM, _SHSTRNDX = 4, 5, 9, 11, 12  # places in the header after e_ident
_IDENT = 16


class Elf:
    """An executable as bytes that can be searched, patched and grown.

    Raises: InternalError for what is no little-endian ELF executable: hotloop itself brought it.
    """

    def __init__(self, content: bytes) -> None:
        if content[:4] != b"\x7fELF" or content[4] not in _LAYOUTS or content[5] != _LITTLE:
            raise InternalError("the executable to start from is no little-endian ELF file.")
        self.bits = 32 * content[4]
        self._layout = _LAYOUTS[content[4]]
        self._bytes = bytearray(content)
        self._header = list(self._layout.header.unpack_from(content, _IDENT))
        if self._header[0] != _EXECUTABLE:
            raise InternalError(f"the executable to start from is ELF of type {self._header[0]}, not an executable at fixed addresses.")
        self._segments = [self._unpack_segment(at) for at in self._table(_PHOFF, _PHNUM, self._layout.segment.size)]

    @property
    def content(self) -> bytes:
        """The file as it is now."""
        return bytes(self._bytes)

    @property
    def machine(self) -> int:
        """The number of the processor's architecture: e_machine."""
        return int(self._header[1])

    @property
    def loaded(self) -> list[Segment]:
        """The loadable segments, by address."""
        return sorted((s for s in self._segments if s.kind == _LOAD), key=lambda s: s.address)

    @property
    def end(self) -> int:
        """The first address after all segments."""
        return max(s.address + s.memory for s in self.loaded)

    @property
    def page(self) -> int:
        """The alignment of the segments: the largest page that the executable can be mapped by."""
        return max(s.align for s in self.loaded)

    def find(self, magic: bytes) -> int:
        """Return the offset of the bytes that are in the file once. Raises: InternalError."""
        if self._bytes.count(magic) != 1:
            raise InternalError(f"the executable to start from has {magic!r} {self._bytes.count(magic)} times, not once.")
        return self._bytes.index(magic)

    def patch(self, offset: int, content: bytes) -> None:
        """Write over bytes of the file."""
        self._bytes[offset : offset + len(content)] = content

    def read(self, offset: int, layout: str) -> tuple[Any, ...]:  # Any: integers and bytes
        """Return fields of the file, by a format of the struct module."""
        return struct.unpack_from("<" + layout, self._bytes, offset)

    def addresses(self, sizes: Sequence[int]) -> list[int]:
        """Return the addresses after all others that pieces of these sizes get with the least padding, 64-byte aligned."""
        found = []
        offset, end = len(self._bytes), self.end
        for size in sizes:
            offset += -offset % 64
            address = end + -end % self.page + offset % self.page
            found.append(address)
            offset, end = offset + size, address + size
        return found

    def append(self, pieces: Sequence[Piece], *, mapped: bool) -> None:
        """Add a loadable segment and a section for each piece; whatever was loaded before stays as it is.

        mapped: the table of program headers has to stay in memory, where libc reads it. Then the new ones replace
        headers that are of no use (PHDR, NOTE, EH_FRAME), and it is an InternalError if there are too few of them.
        """
        fresh = [self._append_segment(piece) for piece in pieces]
        self._append_sections(pieces, fresh)
        kept = list(self._segments)
        for spare in [s for kind in _SPARE for s in kept if s.kind == kind][: len(fresh)]:
            kept.remove(spare)
        if len(kept) + len(fresh) > len(self._segments):
            if mapped:
                raise InternalError("the executable to start from has too few program headers that can be replaced.")
            self._header[_PHOFF] = self._extend(bytes((len(kept) + len(fresh)) * self._layout.segment.size), 8)
        # loadable segments have to ascend
        order = sorted(kept + fresh, key=lambda s: (s.kind != _LOAD, s.address if s.kind == _LOAD else 0))
        self._segments = order
        self._header[_PHNUM] = len(order)
        self.patch(self._header[_PHOFF], b"".join(map(self._pack_segment, order)))
        self._layout.header.pack_into(self._bytes, _IDENT, *self._header)

    def flat(self) -> tuple[int, bytes]:
        """Return where the first byte is loaded, and all bytes from there on, with 0xFF between: a raw flash image."""
        stored = sorted((s for s in self.loaded if s.size), key=lambda s: s.load)
        start = stored[0].load
        image = bytearray()
        for s in stored:
            image += b"\xff" * (s.load - start - len(image))
            image += self._bytes[s.offset : s.offset + s.size]
        return start, bytes(image)

    # -- tables -----------------------------------------------------------------------------------

    def _table(self, where: int, count: int, size: int) -> Iterable[int]:
        return range(self._header[where], self._header[where] + self._header[count] * size, size)

    def _unpack_segment(self, at: int) -> Segment:
        fields = self._layout.segment.unpack_from(self._bytes, at)
        if self.bits == 32:
            kind, offset, address, load, size, memory, flags, align = fields
        else:
            kind, flags, offset, address, load, size, memory, align = fields
        return Segment(kind, flags, offset, address, load, size, memory, align)

    def _pack_segment(self, s: Segment) -> bytes:
        if self.bits == 32:
            return self._layout.segment.pack(s.kind, s.offset, s.address, s.load, s.size, s.memory, s.flags, s.align)
        return self._layout.segment.pack(s.kind, s.flags, s.offset, s.address, s.load, s.size, s.memory, s.align)

    def _extend(self, content: bytes, align: int, remainder: int = 0) -> int:
        self._bytes += bytes((remainder - len(self._bytes)) % align)
        offset = len(self._bytes)
        self._bytes += content
        return offset

    def _append_segment(self, piece: Piece) -> Segment:
        page = self.page  # the loader maps whole pages, so an address and its offset agree modulo the page
        offset = self._extend(piece.content, page, piece.address % page)
        size = len(piece.content)
        load = piece.address if piece.load is None else piece.load
        return Segment(_LOAD, piece.flags, offset, piece.address, load, size, max(size, piece.memory), page)

    def _append_sections(self, pieces: Sequence[Piece], segments: Sequence[Segment]) -> None:
        """Give pieces sections too, so that debuggers load and show them. Files without sections stay without."""
        if not self._header[_SHNUM]:
            return
        section = self._layout.section
        rows = [list(section.unpack_from(self._bytes, at)) for at in self._table(_SHOFF, _SHNUM, section.size)]
        names = rows[self._header[_SHSTRNDX]]  # name, kind, flags, address, offset, size, link, info, align, entry size
        text = bytes(self._bytes[names[4] : names[4] + names[5]])
        for piece, segment in zip(pieces, segments, strict=True):
            flags = _ALLOC | (_SECTION_WRITE if piece.flags & WRITE else 0) | (_SECTION_EXECUTE if piece.flags & EXECUTE else 0)
            kind = _PROGBITS if segment.size else _NOBITS
            rows.append([len(text), kind, flags, segment.address, segment.offset, segment.size or segment.memory, 0, 0, 16, 0])
            text += piece.name.encode() + b"\0"
        names[4:6] = [self._extend(text, 1), len(text)]
        self._header[_SHOFF] = self._extend(b"".join(section.pack(*row) for row in rows), 8)
        self._header[_SHNUM] = len(rows)
