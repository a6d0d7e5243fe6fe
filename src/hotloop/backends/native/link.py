"""`link`: Program + stencil library -> Image, by way of the emitter in C."""

from __future__ import annotations

from functools import cache

import numpy as np

from hotloop import _emit
from hotloop.errors import TargetError
from hotloop.image import Image
from hotloop.ir.program import Program, overloads
from hotloop.stencils.format import Library
from hotloop.stencils.library import library

_SHORTS = ("b", "i32", "i64", "f32", "f64")
_LOADS = [*[f"load.{short}" for short in _SHORTS], *["fill.w"] * 6]  # of each dtype that a value may have
_STORES = [*[f"store.{short}" for short in _SHORTS], *["spill.w"] * 6]
_BASICS = [*_LOADS, *_STORES, "move.v", "move.i", "move.w", "set", "repeat", "below", "unless", "jump", "leave", "return"]

ROOM = 64  # bytes behind all arrays, which vectors may read beyond an end
# what the entry pushes and the deepest helper uses: far below this on every target
STACK = 512


@cache
def _tables(target: str) -> _emit.Library:
    """Return the library of a target as the emitter takes it: overloads first, in Program's numbering."""
    found: Library = library(target)
    rows = [*overloads(), *_BASICS]
    missing = [name for name in rows if name not in found.names]
    if missing:
        raise TargetError(f"the stencils of {target} are older than this hotloop: they lack {missing[0]}. Build it again: `pip install .`.")
    order = found.overloads[[found.names[name] for name in rows]]
    basics = [*range(len(rows) - len(_BASICS), len(rows)), found.meta["enter"]]
    return _emit.Library(
        found.stencils, found.variants, found.fields, found.xors, found.patches, found.items,
        np.ascontiguousarray(order, np.int32), np.array(found.meta["classes"], np.int32), np.array(basics, np.int32),
        found.code,
        (found.meta["vectors"], found.meta["integers"]),
        (found.meta["saved_vectors"], found.meta["saved_integers"]),
        found.meta["kept_integers"],
    )  # fmt: skip


def link(program: Program, target: str) -> Image:
    """Allocate registers, copy stencils, fill holes."""
    code, entry, data_size, (stencils, stores, loads, moves), executed = _emit.assemble(
        _tables(target), program.code, program.values, program.loops, program.carries, len(program.data)
    )
    data = bytes(program.data) + bytes(max(data_size, 16) + ROOM - len(program.data))
    facts = {"stencils": stencils, "stores": stores, "loads": loads, "moves": moves}
    return Image(
        target=target, code=code, data=data, entry=entry, symbols=tuple(program.symbols), stack=STACK,
        instructions=None if executed < 0 else executed, facts=facts,
    )  # fmt: skip
