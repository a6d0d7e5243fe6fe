"""Reads what stencilgen needs of a relocatable ELF object: sections, symbols, relocations.

Source: System V ABI, "Object Files", for both classes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_REL = 1, 2, 4, 9
SHF_ALLOC, SHF_EXECINSTR = 2, 4
STT_FUNC = 2
_HEADERS = {1: ("<I", 0x20, 0x2E, "<IIIIIIIIII"), 2: ("<Q", 0x28, 0x3A, "<IIQQQQIIQQ")}


@dataclass(slots=True)
class Relocation:
    """One hole: where, of which type, for which symbol; the addend is None where it stands in the code."""

    offset: int
    type: int
    symbol: Symbol
    addend: int | None


@dataclass(slots=True)
class Section:
    """One section that is loaded: a function, or data."""

    name: str
    data: bytes
    align: int
    executable: bool
    entry_size: int
    relocations: list[Relocation] = field(default_factory=list)
    stack: int | None = None  # bytes that the function in it takes, where the compiler said so


@dataclass(slots=True)
class Symbol:
    """A name for a place in a section, or for something outside (section None)."""

    name: str
    section: int | None
    value: int
    kind: int


@dataclass(slots=True)
class ObjectFile:
    """Sections by index, and the functions they define by name."""

    sections: dict[int, Section]
    functions: dict[str, int]


def read(data: bytes) -> ObjectFile:
    """Parse a little-endian ELF relocatable object."""
    assert (data[:4], data[5]) == (b"\x7fELF", 1), "not a little-endian ELF object"
    large = data[4] == 2
    offset, table_at, count_at, layout = _HEADERS[data[4]]
    (table,) = struct.unpack_from(offset, data, table_at)
    size, count, names_at = struct.unpack_from("<HHH", data, count_at)
    headers = [struct.unpack_from(layout, data, table + i * size) for i in range(count)]
    strings = headers[names_at][4]
    sections: dict[int, Section] = {}
    for i, (name, kind, flags, _, at, length, _, _, align, entry) in enumerate(headers):
        if kind == SHT_PROGBITS and flags & SHF_ALLOC:
            sections[i] = Section(_text(data, strings + name), data[at : at + length], align, bool(flags & SHF_EXECINSTR), entry)
    for name, _, _, _, at, length, link, _, _, _ in headers:
        if link in sections and length and _text(data, strings + name) == ".stack_sizes":  # address, size as ULEB128
            sections[link].stack = _uleb128(data, at + (8 if large else 4))
    symbols = _symbols(data, headers, large)
    for _, kind, _, _, at, length, _, target, _, _ in headers:
        if target in sections and kind in (SHT_RELA, SHT_REL):
            _relocations(data[at : at + length], kind, large, symbols, sections[target])
    functions = {
        s.name: s.section for s in symbols
        if s.name and not s.name.startswith("$") and s.section in sections and sections[s.section].executable
        and (s.kind == STT_FUNC or sections[s.section].name.endswith(s.name))
    }  # fmt: skip
    return ObjectFile(sections, functions)  # type: ignore[arg-type]


def _uleb128(data: bytes, at: int) -> int:
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        if data[at] < 128:
            return number
        at, shift = at + 1, shift + 7


def _relocations(table: bytes, kind: int, large: bool, symbols: list[Symbol], section: Section) -> None:
    if large:
        assert kind == SHT_RELA
        for offset, info, addend in struct.iter_unpack("<QQq", table):
            section.relocations.append(Relocation(offset, info & 0xFFFFFFFF, symbols[info >> 32], addend))
    elif kind == SHT_RELA:
        for offset, info, addend in struct.iter_unpack("<IIi", table):
            section.relocations.append(Relocation(offset, info & 0xFF, symbols[info >> 8], addend))
    else:
        for offset, info in struct.iter_unpack("<II", table):
            section.relocations.append(Relocation(offset, info & 0xFF, symbols[info >> 8], None))


def _symbols(data: bytes, headers: list[tuple[int, ...]], large: bool) -> list[Symbol]:
    for _, kind, _, _, at, length, link, _, _, _ in headers:
        if kind == SHT_SYMTAB:
            names = headers[link][4]
            rows = struct.iter_unpack("<IBBHQQ" if large else "<IIIBBH", data[at : at + length])
            found = [row if large else (row[0], row[3], row[4], row[5], row[1], row[2]) for row in rows]
            return [
                Symbol(plain(_text(data, names + name)), section if 0 < section < 0xFF00 else None, value, info & 15)
                for name, info, _, section, value, _ in found
            ]
    return []


def plain(name: str) -> str:
    """Undo the prefix that clang gives to functions of the regcall convention."""
    return name.split("__", 2)[2] if name.startswith("__regcall") else name


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
