"""`Memory`: the layout of a program's data while it is made."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from operator import itemgetter
from struct import Struct
from typing import Any

import numpy as np

from hotloop.dtypes import COMPUTE, DType
from hotloop.image import Symbol

ALIGN = 32  # of arrays: the widest vectors of today's targets
ROOM = 64  # bytes behind an array that kernels write: their last vector may reach beyond its end

_offset = itemgetter(0)
_PACKED = {dtype: Struct(f"<{dtype.code}").pack for dtype in COMPUTE}


class Memory:
    """Inputs, states, outputs, constants, in that order of arrival.

    blocks: (offset, bytes, alignment) of each, for `layout.sorted_by_size`.
    """

    def __init__(self, align: int = ALIGN, room: int = ROOM) -> None:
        """Begin with nothing. align: of arrays; room: bytes behind those that kernels write."""
        self.align = align
        self.room_behind = room
        self.data = bytearray()
        self.blocks: list[tuple[int, int, int]] = []
        self.symbols: list[Symbol] = []
        self.constants: dict[tuple[DType, bytes], int] = {}
        self.vectors: dict[bytes, int] = {}

    def place(self, dtype: DType, shape: tuple[int, ...], init: np.ndarray[Any, Any] | None, written: bool = False) -> int:
        """Reserve room for an array and return its offset. written: by a kernel, which needs room behind it."""
        align = self.align if shape else dtype.size
        offset = self._begin(align)
        if init is None:
            self.data.extend(bytes(dtype.size * math.prod(shape)))
        else:
            self.data.extend(np.ascontiguousarray(init, dtype.numpy).tobytes())
        if written:
            self.data.extend(bytes(self.room_behind))
        self._end(offset, align)
        return offset

    def symbol(
        self, name: str, kind: str, dtype: DType, shape: tuple[int, ...], init: np.ndarray[Any, Any] | None, written: bool = False
    ) -> Symbol:  # fmt: skip
        """Reserve room under a name."""
        found = Symbol(name, kind, dtype, shape, self.place(dtype, shape, init, written))
        self.symbols.append(found)
        return found

    def constant(self, value: bool | int | float, dtype: DType) -> int:
        """Return the offset of a pooled constant."""
        key = dtype, _PACKED[dtype](value)
        found = self.constants.get(key)
        if found is None:
            found = self.constants[key] = self._begin(dtype.size)
            self.data.extend(key[1])
            self._end(found, dtype.size)
        return found

    def vector(self, bits: bytes) -> int:
        """Return the offset of a pooled constant vector."""
        found = self.vectors.get(bits)
        if found is None:
            found = self.vectors[bits] = self.room(len(bits))
            self.data[found : found + len(bits)] = bits
        return found

    def room(self, count: int) -> int:
        """Reserve aligned bytes and return their offset."""
        offset = self._begin(ALIGN)
        self.data.extend(bytes(count))
        self._end(offset, ALIGN)
        return offset

    def join(self, first: int, end: int) -> None:
        """Keep what lies side by side from `first` to `end` together: it is an array too."""
        low = bisect_right(self.blocks, first, key=_offset) - 1
        high = bisect_left(self.blocks, end, key=_offset)
        if high - low > 1:
            start, (last, count, _) = self.blocks[low][0], self.blocks[high - 1]
            self.blocks[low:high] = [(start, last + count - start, max(align for _, _, align in self.blocks[low:high]))]

    def _begin(self, align: int) -> int:
        self.data.extend(bytes(-len(self.data) % align))
        return len(self.data)

    def _end(self, offset: int, align: int) -> None:
        self.blocks.append((offset, len(self.data) - offset, align))
