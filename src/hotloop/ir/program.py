"""`Program`: a graph of scalars made linear: instructions on numbered values, loops, places in memory.

Pass `linearize` makes it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from hotloop.dtypes import COMPUTE, DType
from hotloop.image import Symbol
from hotloop.ir.graph import Node, source_line
from hotloop.ir.op import REGISTRY, Op

# Instructions that are not overloads of a row; the emitter knows the same numbers.
LOOP_BEGIN, LOOP_END, LOOP_EXIT, STORE, COPY = -1, -2, -3, -4, -5
RANGE = -2  # in place of a loop's counter: it runs while its first carried value is below the value `trips`
IN_MEMORY, OUTPUT, UNALIGNED, CHANGING = 1, 2, 4, 8  # flags of values; CHANGING: from trip to trip of the loop around it

# Vectors of lanes, one register each; b32w and b64w are masks: a bool a lane, as all ones or all zeros.
WIDE_SHORTS = ("f32w", "f64w", "i32w", "i64w", "b32w", "b64w")

DTYPE_NUMBER = {dtype: number for number, dtype in enumerate(COMPUTE)}
WIDE_NUMBER = {short: len(COMPUTE) + number for number, short in enumerate(WIDE_SHORTS)}

_NUMBERS, _BITS = WIDE_SHORTS[:4], WIDE_SHORTS[2:]
# Elements of arrays by vectors of indices: of 8 bytes, two of them for lanes of 4 bytes, or of 4 bytes.
GATHERS = tuple([
    f"{short}.{index}" for short in WIDE_SHORTS for index in (("i64w",) if short[1:3] == "64" else ("i64w.i64w", "i32w"))
])  # fmt: skip
POINTERS = ("point.", "peek.", "poke.")  # what only targets without vectors of lanes have
FOLDS = {"add": _NUMBERS, "mul": _NUMBERS, "minimum": _NUMBERS, "maximum": _NUMBERS, "or": _BITS, "and": _BITS}


@cache
def overloads() -> dict[str, int]:
    """Return every overload that instructions name, numbered: "add.f32.f32" -> 3.

    First those of the rows on scalars, then on vectors of lanes ("add.f32w.f32w"), then what only vectors have,
    then what takes their place under fast=True ("fast.sin.f32w").
    """
    rows = [op for op in REGISTRY.values() if op.c is not None]
    names = [".".join((op.name, *[dtype.short for dtype in types])) for op in rows for types, _ in op.types.overloads]
    names += [wide.name for op in rows for wide in op.wide]
    names += vector_names()
    names += [wide.name for op in rows for wide in op.fast_wide]
    return {name: number for number, name in enumerate(names)}


def vector_names() -> list[str]:
    """Return the overloads on vectors of lanes that belong to no row. An index counts elements; imm is in bytes.

    load.T    (index): what is at ctx + index * size + imm; bools are bytes in memory
    store.T   (value, index)
    loadp.T   (pointer, index): what is at pointer + index * size + imm
    storep.T  (value, pointer, index)
    splat.T   (scalar): the scalar in every lane
    repeat.T  (index): the scalar at ctx + index * size + imm in every lane
    put.S     (value, index): a scalar of type S to ctx + index * size + imm
    get.S     (index): the scalar there
    point.S   (index): ctx + index * size + imm, a number of the index's type
    peek.S    (pointer): the scalar at pointer + imm
    poke.S    (value, pointer): a scalar to there
    fold_R.T  one scalar: by row R the upper half of the lanes is combined into the lower until one is left
    iota.T    (index): index + 0, 1, 2, ...
    reverse.T the lanes in the opposite order; of lanes of one size, whatever they hold, there is one stencil
    compress.T (value, mask): the lanes that the mask holds for, from the first lane on
    count.M   (mask): how many lanes it holds for
    widen_low.b32w, widen_high.b32w, narrow.b64w.b64w: masks with lanes of the other size

    Arrays of any size, whose bools are bytes. The descriptor of an array, at ctx + imm, is its address, its
    length, and 8 bytes that are zero and 8 that hold anything:
    getp.S    (pointer, index): the scalar at pointer + index * size + imm
    putp.S    (value, pointer, index): a scalar to there
    geta.S    (index): the element there of an array by its descriptor, zero where there is none
    puta.S    (value, index): a scalar to there, nowhere where there is none
    gather.T.I      (indices) or (indices, indices of the upper half of the lanes): lane by lane as geta
    storem.T  (value, index, end): the lanes whose index is below `end` to an array by its descriptor
    """
    names = [f"{name}.{short}" for name in ("load", "store", "loadp", "storep", "splat", "repeat") for short in WIDE_SHORTS]
    names += [f"fold_{row}.{short}" for row, shorts in FOLDS.items() for short in shorts]
    names += [f"{name}.{dtype.short}" for name in ("put", "get", "point", "peek", "poke") for dtype in COMPUTE]
    names += ["iota.i32w", "iota.i64w", "widen_low.b32w", "widen_high.b32w", "narrow.b64w.b64w"]
    names += [f"{name}.{dtype.short}" for name in ("getp", "putp", "geta", "puta") for dtype in COMPUTE]
    names += [*(f"gather.{gathered}" for gathered in GATHERS), *(f"storem.{short}" for short in WIDE_SHORTS)]
    names += ["reverse.i32w", "reverse.i64w", "compress.i32w", "compress.i64w", "count.b32w", "count.b64w"]
    return names


def wide_name(op: Op, shorts: Sequence[str]) -> str:
    """Return the name of a row's overload on vectors of lanes of these types."""
    return ".".join((op.name, *shorts))


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
    values: three int32 a value: number of its dtype (DTYPE_NUMBER, WIDE_NUMBER), place in memory or -1, flags
    loops: counter's place or -1, trips, first carry, carries; carries: param, init, result
    data: initial memory; symbols: what of it has a name
    lines: for listings, the source line of each instruction
    spill: bytes at the start of the data where the emitter may keep what registers cannot, before it appends to the data
    blocks: (start, bytes, alignment) of what was given a place on its own, in order
    """

    code: array[int]
    values: array[int]
    loops: array[int]
    carries: array[int]
    data: bytearray
    symbols: list[Symbol]
    places: dict[int, Symbol] = field(default_factory=dict)  # node id of an output or cell -> symbol
    nodes: list[Node] = field(default_factory=list)  # node of each instruction, for listings
    spill: int = 0
    blocks: list[tuple[int, int, int]] = field(default_factory=list)

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
