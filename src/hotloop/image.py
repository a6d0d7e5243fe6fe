"""`Image`: a compiled program as the runner takes it. The only type that both halves of hotloop share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hotloop.dtypes import DType


@dataclass(frozen=True, slots=True)
class Symbol:
    """One place in the data of an image.

    kind: "input" (written from outside), "state" (kept from run to run), "output" (written by a run)
    or "constant". offset is in bytes from the start of the data; arrays are contiguous, row-major.
    """

    name: str
    kind: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Code and data of one program, ready to load.

    target: whose machine code; "reference" images have none
    code:   position-independent machine code, constants of helper functions included
    data:   initial data: inputs, states, outputs, constants, spill slots
    entry:  offset of the entry in `code`; it takes the address of the data
    patches: (kind, offset, value) that the runner still has to apply; empty where code is
        position-independent
    stack:  upper bound of the stack in bytes
    instructions: stencils executed by one run, or None where loops depend on data
    """

    target: str
    code: bytes
    data: bytes
    entry: int
    symbols: tuple[Symbol, ...]
    patches: tuple[tuple[int, int, int], ...] = ()
    stack: int = 0
    instructions: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # Any: numbers for the report
