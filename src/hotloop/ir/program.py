"""`Program`: a graph of scalars made linear: instructions on numbered values, loops, places in memory.

Pass `linearize` makes it.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from functools import cache

from hotloop.dtypes import COMPUTE, FLOATS, DType
from hotloop.image import Symbol
from hotloop.ir.graph import Node, source_line
from hotloop.ir.op import REGISTRY, Op

# Instructions that are not overloads of a row; the emitter knows the same numbers.
LOOP_BEGIN, LOOP_END, LOOP_EXIT, STORE, COPY = -1, -2, -3, -4, -5
IN_MEMORY, OUTPUT = 1, 2

DTYPE_NUMBER = {dtype: number for number, dtype in enumerate(COMPUTE)}
WIDE_NUMBER = {dtype: len(COMPUTE) + number for number, dtype in enumerate(FLOATS)}


def overloads() -> dict[str, int]:
    """Return every overload that instructions name, numbered: "add.f32.f32" -> 3.

    First those of the rows on scalars, then on vectors of lanes ("add.f32w.f32w"), then vector memory.
    """
    rows = [op for op in REGISTRY.values() if op.c is not None]
    names = [".".join((op.name, *[dtype.short for dtype in types])) for op in rows for types, _ in op.types.overloads]
    names += [wide_name(op, dtype) for op in rows if op.wide for dtype in FLOATS]
    names += [f"{name}.{dtype.short}w" for name in ("load", "store", "splat") for dtype in FLOATS]
    return {name: number for number, name in enumerate(names)}


def wide_name(op: Op, dtype: DType) -> str:
    """Return the name of a row's overload on vectors of a float type."""
    return ".".join([op.name, *[f"{dtype.short}w"] * op.arity])


@cache
def overload_numbers() -> dict[tuple[Op, DType], int]:
    """Return the number of each overload by its row and the type of its last operand."""
    numbers = overloads()
    return {
        (op, types[-1]): numbers[".".join((op.name, *[dtype.short for dtype in types]))]
        for op in REGISTRY.values() if op.c is not None for types, _ in op.types.overloads
    }  # fmt: skip


@dataclass(slots=True, eq=False, repr=False)
class Program:
    """Instructions, values and memory of one program.

    code: six int32 an instruction: overload (or LOOP_BEGIN...), result, three operands, immediate
    values: three int32 a value: number of its dtype in COMPUTE, place in memory or -1, flags
    loops: counter's place or -1, trips, first carry, carries; carries: param, init, result
    data: initial memory; symbols: what of it has a name
    lines: for listings, the source line of each instruction
    """

    code: array[int]
    values: array[int]
    loops: array[int]
    carries: array[int]
    data: bytearray
    symbols: list[Symbol]
    places: dict[int, Symbol] = field(default_factory=dict)  # node id of an output or cell -> symbol
    nodes: list[Node] = field(default_factory=list)  # node of each instruction, for listings

    @property
    def instructions(self) -> int:
        """Number of instructions."""
        return len(self.code) // 6

    def listing(self) -> str:
        """Return the program as text, one instruction a line."""
        names = {number: name for name, number in overloads().items()}
        names |= {LOOP_BEGIN: "loop", LOOP_END: "end", LOOP_EXIT: "exit unless", STORE: "store", COPY: "copy"}
        lines = []
        for i in range(0, len(self.code), 6):
            op, dst, *uses, immediate = self.code[i : i + 6]
            operands = ", ".join(f"v{use}" for use in uses if use >= 0)
            result = f"v{dst} = " if dst >= 0 else ""
            extra = f" #{immediate}" if op < 0 and op != COPY else ""
            where = f"  ; {source_line(self.nodes[i // 6])}" if i // 6 < len(self.nodes) else ""
            lines.append(f"{result}{names[op]} {operands}{extra}{where}".rstrip())
        return "\n".join(lines)
