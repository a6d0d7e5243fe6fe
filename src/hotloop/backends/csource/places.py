"""`Places`: what the bytes of a program's data are in C: fields with names, constants, and arrays without a name."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hotloop.backends.csource.literals import C_TYPES, literal
from hotloop.dtypes import DType
from hotloop.errors import TargetError
from hotloop.image import Symbol
from hotloop.ir.program import Program

_KEYWORDS = re.compile(
    "asm|auto|bool|break|case|char|class|const|continue|default|do|double|else|enum|extern|false|float|for|goto|if|inline|int|long|"
    "register|restrict|return|self|short|signed|sizeof|static|struct|switch|true|typedef|union|unsigned|void|volatile|while"
)


@dataclass(frozen=True, slots=True)
class Access:
    """A read or a write of an array by an index that is not known before; `written` tells which."""

    offset: int
    dtype: DType
    written: bool


@dataclass(slots=True)
class Area:
    """An array: a field with a name, or bytes between such fields, which programs use as arrays.

    name: in C; start, size: in bytes; dtypes: that it is accessed as; symbol: None where it has no name in the program
    written: whether a step writes it; those that are not are static constants
    parts: what it is made of, where several lie side by side and are read as one array
    """

    name: str
    start: int
    size: int
    dtypes: list[DType]
    symbol: Symbol | None = None
    written: bool = True
    initial: bytes = field(default=b"", repr=False)
    parts: tuple[Area, ...] = ()

    @property
    def kind(self) -> str:
        """What it is to the caller: "input", "state", "output", "constant" or "work"."""
        return self.symbol.kind if self.symbol is not None else "work"

    @property
    def owner(self) -> str:
        """What stands before its name."""
        return "self->" if self.written else ""

    @property
    def whole(self) -> bool:
        """Whether it is a scalar, which has no index."""
        return self.symbol is not None and not self.symbol.shape and not self.parts

    def array(self, dtype: DType) -> str:
        """Return C for it as an array of a type."""
        member = f".{_member(dtype)}" if len(self.dtypes) > 1 and self.written else ""
        name = f"{self.name}_{dtype.short}" if len(self.dtypes) > 1 and not self.written else self.name
        return f"{self.owner}{name}{member}"

    def element(self, offset: int, dtype: DType, index: str = "") -> str:
        """Return C for the element at an offset in bytes, or `index` elements after it."""
        if self.whole and not index:
            return self.array(dtype)
        assert (offset - self.start) % dtype.size == 0, "an array that is not aligned"
        first = (offset - self.start) // dtype.size
        return f"{self.array(dtype)}[{index + (f' + {first}' if first else '') if index else first}]"

    def values(self, dtype: DType) -> np.ndarray[Any, Any]:
        """Return its initial values."""
        return np.frombuffer(self.initial, dtype.numpy, self.size // dtype.size)


class Places:
    """Finds the area of each place; asks for those without a name make them."""

    def __init__(
        self, program: Program, reads: Iterable[tuple[int, DType]], stores: Iterable[tuple[int, DType]], accesses: Iterable[Access]
    ) -> None:  # fmt: skip
        """Find areas. reads, stores: places that are read and written by themselves; accesses: by an index."""
        self.data = bytes(program.data)
        self.blocks = sorted([(block[0], block[1]) for block in getattr(program, "blocks", ())])
        found = list(accesses)
        self.areas = _named(program.symbols)
        for access in found:
            self._join(access)
        for area in self.areas:
            area.initial = self.data[area.start : area.start + area.size]
        self.starts = [area.start for area in self.areas]
        self.work: list[Area] = []
        for access in found:
            self._use(access)
        for offset, dtype in stores:
            self._use(Access(offset, dtype, True))
        for offset, dtype in reads:
            near = self._worked(offset)
            if near is not None and near.written:
                self._use(Access(offset, dtype, False))
        self._name_work()

    def find(self, offset: int) -> Area | None:
        """Return the area of a place, None if it is a constant by itself."""
        return self._named(offset) or self._worked(offset)

    def read(self, offset: int, dtype: DType) -> str:
        """Return C for the value at a place."""
        area = self.find(offset)
        if area is not None and (area.symbol is not None or dtype in area.dtypes):
            return area.element(offset, dtype)
        return literal(np.frombuffer(self.data, dtype.numpy, 1, offset)[0], dtype)

    def place(self, offset: int, dtype: DType, index: str = "") -> str:
        """Return C for an element of an array, or of a field, that may be written."""
        area = self.find(offset)
        assert area is not None, "a place that nobody asked for"
        return area.element(offset, dtype, index)

    def _named(self, offset: int) -> Area | None:
        k = bisect_right(self.starts, offset) - 1
        found = self.areas[k] if k >= 0 else None
        return found if found is not None and offset < found.start + found.size else None

    def _block(self, offset: int) -> tuple[int, int] | None:
        """Return start and size of what was reserved at once around a place, if that is known."""
        k = bisect_right(self.blocks, (offset, len(self.data))) - 1
        found = self.blocks[k] if k >= 0 else None
        return found if found is not None and offset < found[0] + found[1] else None

    def _join(self, access: Access) -> None:
        """Make one field of fields that lie side by side and are read as one array."""
        first = next((area for area in self.areas if area.start <= access.offset < area.start + area.size), None)
        if first is None:
            return
        start, size = self._block(access.offset) or (first.start, first.size)
        parts = [area for area in self.areas if start <= area.start < start + size]
        if len(parts) > 1 and all(area.dtypes == [access.dtype] for area in parts):
            names = [area.name for area in parts]
            name = "_".join(names) if len(names) < 4 else f"{names[0]}_to_{names[-1]}"
            joined = Area(name, start, size, [access.dtype], parts[0].symbol, parts=tuple(parts))
            self.areas = sorted([joined, *[area for area in self.areas if area not in parts]], key=lambda area: area.start)
        elif first.whole:
            raise TargetError(f"{first.name} is read as part of an array with others, which C has no name for. Make them one array.")

    def _use(self, access: Access) -> None:
        """Have an area for a place that is read or written by an index, or written."""
        offset, dtype = access.offset, access.dtype
        if self._named(offset) is not None:
            return
        area = self._worked(offset)
        if area is None:
            start, size = self._block(offset) or self._between(offset)
            area = Area("", start, size, [], written=False, initial=self.data[start : start + size].ljust(size, b"\0"))
            self.work.append(area)
        area.written |= access.written
        if dtype not in area.dtypes:
            area.dtypes.append(dtype)

    def _worked(self, offset: int) -> Area | None:
        return next((area for area in self.work if area.start <= offset < area.start + area.size), None)

    def _between(self, offset: int) -> tuple[int, int]:
        """Return what lies between the named fields around a place, in words of 8 bytes."""
        k = bisect_right(self.starts, offset)
        start = self.areas[k - 1].start + self.areas[k - 1].size if k else 0
        end = self.areas[k].start if k < len(self.areas) else len(self.data)
        return start - start % 8, end + -end % 8 - start + start % 8

    def _name_work(self) -> None:
        self.work.sort(key=lambda area: area.start)
        taken = {area.name for area in self.areas}
        for prefix, areas in (("work", [a for a in self.work if a.written]), ("table", [a for a in self.work if not a.written])):
            for area in areas:
                area.name = unique(prefix if len(areas) == 1 else f"{prefix}{areas.index(area)}", taken)


def unique(name: str, taken: set[str]) -> str:
    """Return a C identifier like `name` that is not taken, and take it."""
    found = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "value"
    if found[0].isdigit() or _KEYWORDS.fullmatch(found) or found.startswith(("hl_", "HL_")):
        found = f"x_{found}"
    base, count = found, 1
    while found in taken:
        count += 1
        found = f"{base}_{count}"
    taken.add(found)
    return found


def _named(symbols: Iterable[Symbol]) -> list[Area]:
    taken: set[str] = set()
    counts = {"output": 0, "constant": 0}
    found = []
    for symbol in symbols:
        name = symbol.name
        if not name:
            name = f"{'out' if symbol.kind == 'output' else symbol.kind}{counts[symbol.kind]}"
            counts[symbol.kind] += 1
        size = symbol.dtype.size * math.prod(symbol.shape)
        found.append(Area(unique(name, taken), symbol.offset, size, [symbol.dtype], symbol))
    return sorted([area for area in found if area.size], key=lambda area: area.start)


def _member(dtype: DType) -> str:
    return f"as_{dtype.short}"


def declaration(area: Area) -> str:
    """Return the C declaration of an area as a field of the struct, without the semicolon."""
    if area.whole:
        return f"{C_TYPES[area.dtypes[0].short]} {area.name}"
    if len(area.dtypes) == 1:
        return f"{C_TYPES[area.dtypes[0].short]} {area.name}[{area.size // area.dtypes[0].size}]"
    members = " ".join(f"{C_TYPES[d.short]} {_member(d)}[{area.size // d.size}];" for d in area.dtypes)
    return f"union {{ uint32_t bits[{area.size // 4}]; {members} }} {area.name}"
