"""Reads what stencilgen needs of a relocatable ELF64 object: sections, symbols, relocations.

Source: System V ABI, "Object Files"; AMD64 psABI table 4.9 for relocation types.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_NOBITS = 1, 2, 4, 8
SHF_ALLOC, SHF_EXECINSTR = 2, 4


@dataclass(slots=True)
class Relocation:
    """One hole: where, of which type, for which symbol."""

    offset: int
    type: int
    symbol: Symbol
    addend: int


@dataclass(slots=True)
class Section:
    """One section that is loaded."""

    name: str
    data: bytes
    align: int
    executable: bool
    entry_size: int
    relocations: list[Relocation] = field(default_factory=list)


@dataclass(slots=True)
class Symbol:
    """A name for a place in a section, or for something outside (section None)."""

    name: str
    section: int | None
    value: int


@dataclass(slots=True)
class ObjectFile:
    """Sections by index, and the functions they define by name."""

    sections: dict[int, Section]
    functions: dict[str, int]


def read(data: bytes) -> ObjectFile:
    """Parse a little-endian ELF64 relocatable object."""
    assert data[:6] == b"\x7fELF\x02\x01", "not a little-endian ELF64 object"
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names_at = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
    strings = headers[names_at][4]
    sections: dict[int, Section] = {}
    for i, (name, kind, flags, _, at, length, _, _, align, entry) in enumerate(headers):
        if kind == SHT_PROGBITS and flags & SHF_ALLOC:
            sections[i] = Section(_text(data, strings + name), data[at : at + length], align, bool(flags & SHF_EXECINSTR), entry)
        assert kind != SHT_NOBITS or not length or not flags & SHF_ALLOC, "stencils have no global variables"
    symbols = _symbols(data, headers)
    for _, kind, _, _, at, length, _, target, _, _ in headers:
        if kind == SHT_RELA and target in sections:
            for offset, info, addend in struct.iter_unpack("<QQq", data[at : at + length]):
                sections[target].relocations.append(Relocation(offset, info & 0xFFFFFFFF, symbols[info >> 32], addend))
    functions = {s.name: s.section for s in symbols if s.name and s.section in sections and sections[s.section].executable}
    return ObjectFile(sections, functions)  # type: ignore[arg-type]


def _symbols(data: bytes, headers: list[tuple[int, ...]]) -> list[Symbol]:
    for _, kind, _, _, at, length, link, _, _, _ in headers:
        if kind == SHT_SYMTAB:
            names = headers[link][4]
            return [
                Symbol(plain(_text(data, names + name)), section if 0 < section < 0xFF00 else None, value)
                for name, _, _, section, value, _ in struct.iter_unpack("<IBBHQQ", data[at : at + length])
            ]
    return []


def plain(name: str) -> str:
    """Undo the prefix that clang gives to functions of the regcall convention."""
    return name.split("__", 2)[2] if name.startswith("__regcall") else name


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
