"""`link`: Program + stencil library -> Image, by way of the emitter in C."""

from __future__ import annotations

from functools import cache

import numpy as np

from hotloop import _emit
from hotloop.errors import TargetError
from hotloop.image import Image
from hotloop.ir.program import POINTERS, Program, overloads
from hotloop.passes.layout import with_spills
from hotloop.stencils.format import Library
from hotloop.stencils.library import library

_SHORTS = ("b", "i32", "i64", "f32", "f64")
_LOADS = [*[f"load.{short}" for short in _SHORTS], *["fill.w"] * 6]  # of each dtype that a value may have
_STORES = [*[f"store.{short}" for short in _SHORTS], *["spill.w"] * 6]
_MOVES = [*[f"move.{short}" for short in _SHORTS], *["move.w"] * 6]
_BASICS = [*_LOADS, *_STORES, *_MOVES, "set", "repeat", "below", "unless", "jump", "leave", "return"]

ROOM = 64  # bytes behind all arrays, which vectors may read beyond an end


@cache
def _tables(target: str) -> _emit.Library:
    """Return the library of a target as the emitter takes it: overloads first, in Program's numbering."""
    found: Library = library(target)
    rows, names = [*overloads(), *_BASICS, "enter"], found.names
    missing = [name for name in rows[:-1] if name not in names and not name.startswith(POINTERS)] if found.meta["enter"] >= 0 else []
    if missing:
        raise TargetError(f"the stencils of {target} are older than this hotloop: they lack {missing[0]}. Build it again: `pip install .`.")
    order = np.array([found.overloads[names[name]] if name in names else (-1, -1, 0) for name in rows], np.int32)
    first = len(rows) - len(_BASICS) - 1
    basics = [*range(first, len(rows) - 1), first + len(_BASICS) if "enter" in names else -1, found.meta["enter"]]
    integers = set(found.meta["in_integers"])
    classes = [*found.meta["classes"], *[2 if short in integers else 1 for short in _SHORTS], *[1] * 6]
    return _emit.Library(
        found.stencils, found.variants, found.fields, found.xors, found.patches, found.items, order, found.forms,
        np.array(classes, np.int32), np.array(basics, np.int32), found.code,
        (found.meta["vectors"], found.meta["integers"]),
        (found.meta["saved_vectors"], found.meta["saved_integers"]),
        found.meta["kept_integers"],
    )  # fmt: skip


def link(program: Program, target: str) -> Image:
    """Allocate registers, copy stencils, fill holes. Raises: TargetError where jumps do not reach."""
    meta = library(target).meta
    try:
        code, entry, data_size, (stencils, stores, loads, moves), executed, machine, deepest = _emit.assemble(
            _tables(target), program.code, program.values, program.loops, program.carries, len(program.data), (meta["file"], program.spill)
        )
    except NotImplementedError:
        used = set(program.code[::6])
        lacking = sorted(name for name, number in overloads().items() if number in used and name not in library(target).names)
        raise TargetError(f"{target} has no {', '.join(lacking)} yet. Use another target, or scalars in place of arrays.") from None
    except OverflowError:
        raise TargetError(
            f"the program is too large for {target}: its jumps do not reach. Use hl.loop, or size=True, for a smaller one."
        ) from None
    room = ROOM if meta["wide"] else 0
    data = bytes(program.data) + bytes(max(data_size, 16) + room - len(program.data))
    facts = {"stencils": stencils, "stores": stores, "loads": loads, "moves": moves, "machine": None if machine < 0 else machine}
    return Image(
        target=target, code=code, data=data, entry=entry, symbols=tuple(program.symbols), stack=meta["entry_stack"] + deepest,
        instructions=None if executed < 0 else executed, facts=facts,
    )  # fmt: skip


def link_near(program: Program, target: str) -> tuple[Program, Image]:
    """Link for a target whose displacements are short: spilled values are put before all else. Returns the program as it is then."""
    file = library(target).meta["file"]
    placed = with_spills(program, file) if file else program
    image = link(placed, target)
    spilled = len(image.data) - max(len(placed.data), 16)
    if spilled > 0:
        placed = with_spills(program, file + spilled + 8)
        image = link(placed, target)
    return placed, image
