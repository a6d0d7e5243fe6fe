"""Passes over graphs, and the order in which the compiler applies them: `PIPELINE`, as data.

A pass takes the roots of a program (outputs, then next values of states) and returns roots of the
same number, shapes and dtypes. After `ARRAYS` come `unroll` (arrays become scalars), `SCALARS` and
`linearize`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hotloop.dtypes import DType, int64
from hotloop.ir.graph import Node
from hotloop.ir.rewrite import walk
from hotloop.passes.fuse import fuse
from hotloop.passes.pair import pair


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What passes depend on.

    fast: algebra that changes rounding is allowed. vector_bytes: of the target's vector registers, 0 where it has none.
    fma: the target has fused multiply-add. index: the type of places in arrays. size: code shall be small.
    near: displacements are short, so scalars lie before arrays. native: code is made, not the reference evaluated.
    """

    fast: bool
    vector_bytes: int
    fma: bool
    index: DType = int64
    size: bool = False
    near: bool = False
    native: bool = True


Pass = Callable[[Sequence[Node], Setting], Sequence[Node]]


def _algebra(roots: Sequence[Node], setting: Setting) -> Sequence[Node]:
    from hotloop.passes.algebra import fast  # six modules that only fast=True needs

    return fast(roots, fma=setting.fma)


def _on_arrays(roots: Sequence[Node], setting: Setting) -> Sequence[Node]:
    """Do algebra on programs that have arrays, or have no `SCALARS` to come; it is done again on their scalars."""
    if not setting.fast or (setting.native and not any(node.shape for node in walk(roots))):
        return roots
    return _algebra(roots, setting)


def _on_scalars(roots: Sequence[Node], setting: Setting) -> Sequence[Node]:
    """Do algebra on scalars: sums of products that came out of matrix products become fma here."""
    return _algebra(roots, setting) if setting.fast else roots


ARRAYS: tuple[tuple[str, Pass], ...] = (
    ("algebra", _on_arrays),
    (
        "fuse",
        lambda roots, setting: (
            fuse(roots, contract=setting.fast and setting.fma, one_lane=not setting.vector_bytes) if setting.native else roots
        ),
    ),
)


def _rolled(roots: Sequence[Node], setting: Setting) -> Sequence[Node]:
    if not setting.size:
        return roots
    from hotloop.passes.roll import roll

    return roll(roots, setting.index)


SCALARS: tuple[tuple[str, Pass], ...] = (
    ("roll", _rolled),
    ("algebra", _on_scalars),
    ("pair", lambda roots, setting: pair(roots)),
)
PIPELINE = ARRAYS + SCALARS
