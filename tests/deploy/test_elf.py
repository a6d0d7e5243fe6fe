"""ELF executables grown by segments."""

import struct

import pytest

from hotloop.deploy.elf import EXECUTE, READ, WRITE, Elf, Piece
from hotloop.errors import InternalError


def small(bits=32, kinds=(1, 4), page=0x1000):
    """An executable of one loadable segment and headers of other kinds, without sections."""
    header, row = (52, 32) if bits == 32 else (64, 56)
    size = header + row * len(kinds)
    words = "<HHIIIIIHHHHHH" if bits == 32 else "<HHIQQQIHHHHHH"
    content = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    content += struct.pack(words, 2, 40, 1, 0x10000, header, 0, 0, header, row, len(kinds), 0, 0, 0)
    for kind in kinds:
        if bits == 32:
            content += struct.pack("<8I", kind, 0, 0x10000, 0x10000, size, size + 100, 5, page)
        else:
            content += struct.pack("<II6Q", kind, 5, 0, 0x10000, 0x10000, size, size + 100, page)
    return content


@pytest.mark.parametrize("bits", [32, 64])
def test_a_piece_becomes_a_segment_in_place_of_a_note(bits):
    found = Elf(small(bits))
    (address,) = found.addresses([5])
    assert address % 0x1000 == -(-len(small(bits)) // 64) * 64
    found.append([Piece("new", address, b"bytes", READ | WRITE, memory=9)], mapped=True)
    again = Elf(found.content)
    first, second = again.loaded
    assert (first.address, first.flags) == (0x10000, 5)
    assert (second.address, second.load, second.size, second.memory, second.flags) == (address, address, 5, 9, 6)
    assert again.content[second.offset : second.offset + 5] == b"bytes"
    assert second.offset % 0x1000 == address % 0x1000


def test_the_table_moves_where_nothing_can_be_replaced():
    found = Elf(small(kinds=(1,)))
    with pytest.raises(InternalError, match="too few program headers that can be replaced"):
        found.append([Piece("new", 0x20000, b"x", READ)], mapped=True)
    found = Elf(small(kinds=(1,)))
    found.append([Piece("new", 0x20000, b"x", READ | EXECUTE)], mapped=False)
    assert [s.address for s in Elf(found.content).loaded] == [0x10000, 0x20000]


def test_a_flat_image_has_every_byte_at_its_address():
    found = Elf(small(kinds=(1,), page=16))
    size = found.loaded[0].size
    found.append([Piece("new", 0x20000, b"xyz", READ, load=0x10000 + size + 3)], mapped=False)
    start, flat = found.flat()
    assert start == 0x10000
    assert flat[size:] == b"\xff\xff\xffxyz"


def test_what_is_not_there_once_is_not_found():
    found = Elf(small() + b"magic--magic")
    with pytest.raises(InternalError, match="has b'magic' 2 times, not once"):
        found.find(b"magic")
    assert found.find(b"--") == len(small()) + 5


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"MZ" + bytes(100), "no little-endian ELF file"), (small()[:16] + b"\3" + small()[17:], "ELF of type 3, not an executable")],
)
def test_other_files_are_refused(content, message):
    with pytest.raises(InternalError, match=message):
        Elf(content)
