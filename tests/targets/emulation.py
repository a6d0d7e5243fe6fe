"""Programs of every target whose stencils are installed, compiled here and run in the emulator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hotloop.compiler import Options, compile_graph
from hotloop.image import Image
from hotloop.ir.graph import Node
from hotloop.runtime.emulator import Emulated, emulates
from hotloop.stencils.library import available

pytest.importorskip("unicorn")

CHOSEN = os.environ.get("HOTLOOP_TEST_TARGETS", "").split(",")  # to work on one of them
TARGETS = [name for name in available() if emulates(name) and (name in CHOSEN if CHOSEN != [""] else not name.startswith("x86"))]
LIMIT = 1_000_000_000  # instructions of a run


class Foreign:
    """A program on one target: its image, and its memory by node."""

    def __init__(self, outputs: Sequence[Node], target: str, *, watch: bool = False, count: bool = False, size: bool | None = None) -> None:
        def load(image: Image) -> Emulated:
            return Emulated(image, watch=watch, count=count, limit=LIMIT)

        self._compiled = compile_graph(outputs, Options(arch=target, load=load, size=size))
        self.emulated: Emulated = self._compiled.program
        self.image = self.emulated.image

    def run(self) -> None:
        """Run once; the stack must do."""
        self.emulated.run()
        assert self.emulated.stack_used <= self.image.stack

    def view(self, node: Node) -> np.ndarray[Any, Any]:
        """Return live memory of an input, state or output."""
        symbol = self._compiled.symbol(node)
        assert symbol is not None
        return self._compiled.view(symbol)


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
