"""`Memory`: the layout of a program's data while it is made."""

from __future__ import annotations

import math
from struct import Struct
from typing import Any

import numpy as np

from hotloop.dtypes import COMPUTE, DType
from hotloop.image import Symbol

ALIGN = 32  # of arrays: the widest vectors of today's targets
ROOM = 64  # bytes behind an array that kernels write: their last vector may reach beyond its end

_PACKED = {dtype: Struct(f"<{dtype.code}").pack for dtype in COMPUTE}


class Memory:
    """Inputs, states, outputs, constants, in that order of arrival."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.symbols: list[Symbol] = []
        self.constants: dict[tuple[DType, bytes], int] = {}
        self.vectors: dict[bytes, int] = {}

    def place(self, dtype: DType, shape: tuple[int, ...], init: np.ndarray[Any, Any] | None, written: bool = False) -> int:
        """Reserve room for an array and return its offset. written: by a kernel, which needs room behind it."""
        align = ALIGN if shape else dtype.size
        self.data.extend(bytes(-len(self.data) % align))
        offset = len(self.data)
        if init is None:
            self.data.extend(bytes(dtype.size * math.prod(shape)))
        else:
            self.data.extend(np.ascontiguousarray(init, dtype.numpy).tobytes())
        if written:
            self.data.extend(bytes(ROOM))
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
            data = self.data
            data.extend(bytes(-len(data) % dtype.size))
            found = self.constants[key] = len(data)
            data.extend(key[1])
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
        self.data.extend(bytes(-len(self.data) % ALIGN))
        offset = len(self.data)
        self.data.extend(bytes(count))
        return offset
