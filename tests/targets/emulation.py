"""Programs of every target whose stencils are installed, compiled here and run in the emulator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.one_lane import program_of

from hotloop.backends.native.link import link
from hotloop.dtypes import int32, int64
from hotloop.image import Symbol
from hotloop.ir.graph import Node
from hotloop.runtime.emulator import Emulated, emulates
from hotloop.stencils.library import available, library

pytest.importorskip("unicorn")

CHOSEN = os.environ.get("HOTLOOP_TEST_TARGETS", "").split(",")  # to work on one of them
TARGETS = [name for name in available() if emulates(name) and (name in CHOSEN if CHOSEN != [""] else not name.startswith("x86"))]
LIMIT = 200_000_000  # instructions of a run


class Foreign:
    """A program on one target: its image, and its memory by node."""

    def __init__(self, outputs: Sequence[Node], target: str, *, watch: bool = False, count: bool = False) -> None:
        index = {"i32": int32, "i64": int64}[library(target).meta.get("index", "i64")]
        program = program_of(outputs, index)
        self.image = link(program, target)
        self.places = program.places
        self.emulated = Emulated(self.image, watch=watch, count=count, limit=LIMIT if watch else None)

    def run(self) -> None:
        """Run once; the stack must do."""
        self.emulated.run()
        assert self.emulated.stack_used <= self.image.stack

    def view(self, node: Node) -> np.ndarray[Any, Any]:
        """Return live memory of an input, state or output."""
        symbol: Symbol = self.places[node.id]
        count = int(np.prod(symbol.shape, dtype=np.int64))
        if count == 0:
            return np.empty(symbol.shape, symbol.dtype.numpy)
        found = np.frombuffer(self.emulated.memory, symbol.dtype.numpy, count, symbol.offset)
        return found.reshape(symbol.shape)


def bits(x: Any) -> np.ndarray[Any, Any]:
    """Return what is compared: all NaNs are one."""
    x = np.asarray(x)
    if x.dtype.kind != "f":
        return x
    return np.where(np.isnan(x), np.array(np.nan, x.dtype), x).view(f"i{x.itemsize}")


def assert_same_bits(got: Any, want: Any, what: str = "") -> None:
    """Compare to the bit, but for the kind of NaN."""
    assert np.asarray(got).dtype == np.asarray(want).dtype, what
    np.testing.assert_array_equal(bits(got), bits(want), what)
