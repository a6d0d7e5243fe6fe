"""Types of the C extension made from backends/native/emit.c: register allocation and emission of stencils."""

from typing import Any, TypeAlias

import numpy as np
from typing_extensions import Buffer

_Table: TypeAlias = np.ndarray[Any, Any]  # Any: rank; int32, C-contiguous

class Library:
    """The tables of a stencil library as the emitter reads them: kept alive."""

    def __init__(
        self,
        stencils: _Table,
        variants: _Table,
        fields: _Table,
        xors: _Table,
        patches: _Table,
        items: _Table,
        overloads: _Table,
        forms: _Table,
        classes: _Table,
        basics: _Table,
        code: Buffer,
        registers: tuple[int, int],
        saved: tuple[int, int],
        kept_integers: int,
        /,
    ) -> None: ...

def assemble(
    library: Library, instructions: Buffer, values: Buffer, loops: Buffer, carries: Buffer, data_size: int, spill: tuple[int, int], /
) -> tuple[bytes, int, int, tuple[int, int, int, int], int, int, int]: ...
