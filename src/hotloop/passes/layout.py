"""Layouts of a program's data for targets whose loads reach only so far: scalars first, the longest arrays last."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from hotloop.dtypes import COMPUTE
from hotloop.image import Symbol
from hotloop.ir.program import STORE, Program, overloads
from hotloop.passes.memory import Memory

Numbers = np.ndarray[Any, Any]  # of one axis
Moves = Callable[[Numbers], Numbers]
SCALAR = 8  # bytes up to which a block is no array


def sorted_by_size(program: Program, memory: Memory) -> Program:
    """Return a program of one lane with its data in order of size. Cost: a few array operations."""
    starts = np.array([start for start, _, _ in memory.blocks], np.int64)
    order = sorted(range(len(memory.blocks)), key=lambda k: _rank(*memory.blocks[k][1:]))
    moves = np.zeros(len(starts), np.int64)
    data = bytearray()
    for k in order:
        start, count, align = memory.blocks[k]
        data.extend(bytes(-len(data) % align))
        moves[k] = len(data) - start
        data.extend(memory.data[start : start + count])
    if not order:
        return program
    return _moved(program, data, lambda places: moves[np.searchsorted(starts, places, "right") - 1])


def with_spills(program: Program, count: int) -> Program:
    """Return a program with `count` bytes before everything else, in which the emitter keeps what registers cannot."""
    count += -count % 8
    moved = _moved(program, bytearray(count) + program.data, lambda places: np.full(len(places), count, np.int64))
    moved.spill = count + program.spill
    return moved


def _rank(count: int, align: int) -> tuple[int, int]:
    return (0, -align) if count <= SCALAR else (1, count)


@cache
def _indexed() -> Numbers:
    """Return the overloads whose immediate is a place."""
    names = [f"{name}.{dtype.short}" for name in ("get", "put", "point") for dtype in COMPUTE]
    return np.array([overloads()[name] for name in names if name in overloads()], np.int64)


def _moved(program: Program, data: bytearray, moves: Moves) -> Program:
    """Return a program on other data; `moves` tells for places by how much they move."""
    code = np.array(program.code, np.int32).reshape(-1, 6)
    places = (code[:, 0] == STORE) | np.isin(code[:, 0], _indexed())
    _move(code[:, 5], places, moves)
    values = np.array(program.values, np.int32).reshape(-1, 3)
    _move(values[:, 1], values[:, 1] >= 0, moves)
    loops = np.array(program.loops, np.int32).reshape(-1, 4)
    _move(loops[:, 0], loops[:, 0] >= 0, moves)
    offsets = np.array([symbol.offset for symbol in program.symbols], np.int64)
    symbols = [
        replace(symbol, offset=symbol.offset + int(by)) for symbol, by in zip(program.symbols, moves(offsets), strict=True)
    ]  # fmt: skip
    known: dict[int, Symbol] = {id(old): new for old, new in zip(program.symbols, symbols, strict=True)}
    return Program(
        array("i", code.tobytes()), array("i", values.tobytes()), array("i", loops.tobytes()), program.carries, data, symbols,
        {node: known[id(symbol)] for node, symbol in program.places.items()}, program.nodes, program.spill,
        _moved_blocks(program.blocks, moves),
    )  # fmt: skip


def _moved_blocks(blocks: list[tuple[int, int, int]], moves: Moves) -> list[tuple[int, int, int]]:
    by: Numbers = moves(np.array([start for start, _, _ in blocks], np.int64)) if blocks else np.empty(0, np.int64)
    return sorted((start + int(move), count, align) for (start, count, align), move in zip(blocks, by, strict=True))


def _move(column: Numbers, which: Numbers, moves: Moves) -> None:
    found = column[which].astype(np.int64)
    if len(found):
        column[which] = found + moves(found)
