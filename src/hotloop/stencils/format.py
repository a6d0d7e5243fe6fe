"""`Library`: the stencils of one target, as tables that the emitter reads as they are.

A stencil is machine code with holes. Three kinds of hole: register fields (a list of bytes to
exclusive-or for each register of each operand, and on most targets for each bit of a displacement or an
immediate), patches (displacement, immediate, relative reference, jump target) and, in place of its end,
the next stencil. See docs/notes/register-fields.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

MAGIC = b"hotloop stencils 2\n"

# Patch kinds of a stencil or item: what the emitter writes into the hole, plus 4 x how (a row of `forms`).
DISPLACEMENT, RELATIVE, IMMEDIATE, TARGET = range(4)

# Columns of `stencils`. Register classes: 0 none, 1 vector, 2 integer. fixed: a register or -1.
# far: the stencil for displacements above `reach` or not divisible by `step`, or -1.
COLUMNS = (
    "dst_class", "dst_fixed", "sources", "class0", "class1", "class2", "fixed0", "fixed1", "fixed2", "tied",
    "memory", "early", "clobber_vectors", "clobber_integers", "variant", "fields", "field0", "field1", "field2", "field3",
    "radix0", "radix1", "radix2", "radix3", "far", "reach", "step", "calls", "machine",
)  # fmt: skip

ARRAYS = ("stencils", "variants", "fields", "xors", "patches", "items", "overloads", "forms")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Library:
    """All stencils of one target.

    meta: target, compiler, flags, digest, registers, and `names`: overload -> row of `overloads`.
    overloads: [register form, memory form or -1, commutative] as rows of `stencils`
    stencils:  one row of COLUMNS each
    variants:  [code offset, length, first patch, patches, first field, field of a displacement's bits or -1,
               the same of an immediate's] per combination of classes
    fields:    [first xor, xors] per variant, operand and register (16 each), or per bit of a number (32)
    xors:      [position, byte]
    patches:   [position, kind, item or 0, addend]
    items:     [offset, length, alignment, first patch, patches, stack]: helper functions and their constants
    forms:     [bytes, bits, bias, mask of each of 32 bits]: how a number is written into an instruction; the mask
               of every bit that is set in number + bias is exclusive-ored; bits: of the signed range, 0 for no check
    code:      all machine code and constants
    """

    meta: dict[str, Any]
    stencils: np.ndarray[Any, Any]
    variants: np.ndarray[Any, Any]
    fields: np.ndarray[Any, Any]
    xors: np.ndarray[Any, Any]
    patches: np.ndarray[Any, Any]
    items: np.ndarray[Any, Any]
    overloads: np.ndarray[Any, Any]
    forms: np.ndarray[Any, Any]
    code: bytes

    @property
    def names(self) -> dict[str, int]:
        """Overload name ("add.f32.f32") -> row of `overloads`."""
        found: dict[str, int] = self.meta["names"]
        return found

    def save(self, path: str | PathLike[str]) -> None:
        """Write the library; the same library gives the same bytes."""
        import json

        arrays = [np.ascontiguousarray(getattr(self, name), np.int32) for name in ARRAYS]
        shapes = {name: array.shape for name, array in zip(ARRAYS, arrays, strict=True)}
        header = json.dumps(self.meta | {"shapes": shapes, "code": len(self.code)}, sort_keys=True).encode()
        parts = [MAGIC, len(header).to_bytes(4, "little"), header, *[a.tobytes() for a in arrays], self.code]
        with open(path, "wb") as file:
            file.write(b"".join(parts))


def load(path: str | PathLike[str]) -> Library:
    """Read a library that `Library.save` wrote."""
    import json  # not needed to import hotloop

    with open(path, "rb") as file:
        data = file.read()
    assert data.startswith(MAGIC), f"{path} is not a stencil library of this version"
    at = len(MAGIC) + 4
    length = int.from_bytes(data[at - 4 : at], "little")
    meta = json.loads(data[at : at + length])
    at += length
    arrays = {}
    for name in ARRAYS:
        shape = tuple(meta["shapes"][name])
        count = int(np.prod(shape))
        table = np.frombuffer(data, np.int32, count, at).reshape(shape)
        arrays[name] = np.require(table, requirements="A")  # the emitter reads aligned numbers; the file packs them
        at += 4 * count
    return Library(meta=meta, code=data[at:], **arrays)
