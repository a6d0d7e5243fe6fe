"""Form "elf": a static executable for Linux that reads inputs, steps, and prints outputs.

It is runner/standalone.c, built with hotloop, and the program as two more segments: its description and code,
which are read and executed, and its data, which is read and written. No compiler runs here.
"""

from __future__ import annotations

import math
import struct

from hotloop.deploy.elf import EXECUTE, READ, WRITE, Elf, Piece
from hotloop.deploy.naming import KINDS, named
from hotloop.deploy.target import STANDALONE, executable, place_of
from hotloop.dtypes import MEMORY
from hotloop.errors import TargetError
from hotloop.image import Image

# The structures of runner/standalone.c.
_MAGIC = b"hotloop:program\0"
_DESCRIPTION = struct.Struct("<IIQQQIIIIIIQ")
_SYMBOL = struct.Struct("<IIIIII")
_VERSION, _NEEDS_V3 = 1, 1
_ALIGN = 64  # of code and data


class _Texts:
    """Texts with a zero byte after each, found by their place."""

    def __init__(self) -> None:
        self.content = b""
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        if text not in self._places:
            self._places[text] = len(self.content)
            self.content += text.encode() + b"\0"
        return self._places[text]


def standalone(image: Image, name: str) -> bytes:
    """Return the executable. Deterministic; some microseconds a kilobyte, no other program is run.

    Raises: TargetError for targets that run no Linux.
    """
    place = place_of(image)
    if not place.linux:
        raise TargetError(f"form 'elf' is an executable for Linux, which does not run on {image.target!r}. Use form 'blob' or 'firmware'.")
    elf = Elf(executable(STANDALONE, place.linux))
    texts, symbols = _Texts(), named(image)
    program, target = texts.place(name), texts.place(image.target)
    rows = b"".join(
        _SYMBOL.pack(
            texts.place(label),
            texts.place("".join(f"[{n}]" for n in symbol.shape)),
            KINDS.index(symbol.kind),
            MEMORY.index(symbol.dtype),
            math.prod(symbol.shape),
            symbol.offset,
        )
        for label, symbol in symbols
    )
    head = _DESCRIPTION.size + len(rows) + len(texts.content)
    start = head + -head % _ALIGN  # of the code in its segment
    data = image.data.rstrip(b"\0")
    address, variables = elf.addresses([start + len(image.code), len(data)])
    description = _DESCRIPTION.pack(
        *(_VERSION, _NEEDS_V3 if image.target == "x86-64-v3" else 0),
        *(address + start + image.entry + place.thumb, variables, address + _DESCRIPTION.size + len(rows)),
        *(len(symbols), len(image.code), len(image.data), image.stack, program, target, 0),
    )
    constant = (description + rows + texts.content).ljust(start, b"\0") + image.code
    elf.patch(elf.find(_MAGIC) + len(_MAGIC), struct.pack("<Q", address))
    pieces = [
        Piece(".hotloop.code", address, constant, READ | EXECUTE),
        Piece(".hotloop.data", variables, data, READ | WRITE, memory=max(len(image.data), 1)),
    ]
    elf.append(pieces, mapped=True)
    return elf.content
