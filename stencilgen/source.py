"""`Spec`: one stencil to make, whatever the target. `passing.py` and `pinning.py` write its C text."""

from __future__ import annotations

from dataclasses import dataclass

from hotloop.ir.program import WIDE_SHORTS
from stencilgen.target import Target

VECTOR, INTEGER = 1, 2

C_TYPES = {"b": "int32_t", "i32": "int32_t", "i64": "int64_t", "f32": "float", "f64": "double"}
C_TYPES |= {short: f"hl_{short}" for short in WIDE_SHORTS}
MEMORY_TYPES = C_TYPES | {"b": "uint8_t"}
HOLE_OFFSET, HOLE_IMMEDIATE = "(long)HOLE_OFFSET", "(long)HOLE_IMMEDIATE"  # in texts: a displacement, and a number


def is_wide(short: str | None) -> bool:
    """Tell whether a type is a vector of lanes, given by its short name."""
    return short in WIDE_SHORTS


def register_class(target: Target, short: str) -> int:
    """Return the register class that holds values of a type, given by its short name."""
    return VECTOR if target.is_vector(short) else INTEGER


@dataclass(frozen=True, slots=True)
class Spec:
    """One stencil to make: operand types, C text, constraints.

    text: a C expression of {x}, {y}, {z} for stencils with a result, else a statement
    sources: short types of the register operands; dst: short type of the result or None
    memory: short type of an operand in memory, which comes last, or None
    tied: the result is written over the first source
    fixed: operands are in registers 0, 1, 2 and the result in 0, because a helper is called
    branch: under which condition on the result or the sources control goes to the patched target
    wide: vector registers are passed in full width, because the stencil works on lanes
    moves: the scratch registers may be operands too
    commutative: the two sources may change places
    opaque: the first source comes from nowhere, so that the compiler cannot order commutative operands by their
        registers; costs a move where it lives on
    long: it may be of any length, since no helper can take its place
    far: displacements are of any size
    assembly: the name of the shell's asm that the stencil is
    """

    name: str
    text: str
    dst: str | None
    sources: tuple[str, ...]
    memory: str | None = None
    tied: bool = False
    fixed: bool = False
    branch: str = ""
    commutative: bool = False
    opaque: bool = False
    wide: bool = False
    moves: bool = False
    long: bool = False
    far: bool = False
    assembly: str = ""

    def operands(self) -> list[tuple[int, str]]:
        """Return (operand number, type) of the operands whose register can be chosen; 0 is the result."""
        if self.fixed:
            return []
        found = [] if self.dst is None or self.tied else [(0, self.dst)]
        return found + [(i + 1, short) for i, short in enumerate(self.sources)]


def helper(attributes: str, name: str, spec: Spec) -> str:
    """Return the C function that stencils with fixed registers call."""
    letters = ["x", "y", "z"][: len(spec.sources)]
    parameters = ", ".join(f"{C_TYPES[s]} {letter}" for s, letter in zip(spec.sources, letters, strict=True))
    body = spec.text.format(**{letter: letter for letter in letters}, t=spec.sources[-1])
    head = f"{attributes}{C_TYPES[spec.dst or 'i32']} {name}({parameters})"
    return f"{declaration(attributes, name, spec)}{head} {{ return {body}; }}\n"


def declaration(attributes: str, name: str, spec: Spec) -> str:
    """Return the declaration of a helper."""
    parameters = ", ".join(C_TYPES[s] for s in spec.sources)
    return f"{attributes}{C_TYPES[spec.dst or 'i32']} {name}({parameters});\n"
