"""Which operations have wide stencils, and under which names: what decides whether a kernel can hold them.

A wide value is a vector of lanes, "f32w"; a bool a lane is a mask of the width of what it goes with,
"b32w" or "b64w".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from hotloop.dtypes import DType, bool_
from hotloop.ir.graph import Node
from hotloop.ir.op import REGISTRY, Op, wide_short
from hotloop.ir.program import overloads, wide_name

MASKS = {4: "b32w", 8: "b64w"}


@dataclass(frozen=True, slots=True)
class Form:
    """How a row is applied to wide values.

    size: bytes of a lane of operands and result, 0 for masks of any width. names: one overload, or for
    a result with wider lanes one for the lower and one for the upper half of the lanes. joins: a result
    with narrower lanes takes two operands.
    """

    size: int
    names: tuple[str, ...]
    joins: bool = False


@cache
def form(op: Op, types: tuple[DType, ...], result: DType) -> Form | None:
    """Return how stencils apply a row to wide values, or None if there are none."""
    if op.c is None:
        return None
    sizes = {dtype.size for dtype in (*types, result) if dtype is not bool_}
    if len(sizes) <= 1:
        size = sizes.pop() if sizes else 0
        found = Form(size, (_name(op, types, size or 4),))
        other = [_name(op, types, 8)] if not size else []
        return found if all(name in overloads() for name in (*found.names, *other)) else None
    if len(types) != 1 or result is bool_:
        return None
    short = f"{types[0].short}w"
    if types[0].size < result.size:
        found = Form(result.size, tuple([f"{op.name}.{short}:{half}" for half in ("low", "high")]))
    else:
        found = Form(result.size, (f"{op.name}.{short}.{short}",), joins=True)
    return found if all(name in overloads() for name in found.names) else None


def _name(op: Op, types: Sequence[DType], size: int) -> str:
    return wide_name(op, [wide_short(dtype, size) for dtype in types])


def form_of(node: Node) -> Form | None:
    """Return how the operation of a node is applied to wide values, or None."""
    return form(node.op, tuple([arg.dtype for arg in node.args]), node.dtype) if node.args else None


@cache
def foldable(fold: str, dtype: DType) -> bool:
    """Whether lanes of a type can be combined by a row, and halved to one scalar."""
    short = wide_short(dtype, 4)
    return form(REGISTRY[fold], (dtype, dtype), dtype) is not None and f"fold_{fold}.{short}" in overloads()
