"""Pass `pair`: sine and cosine of the same float32 become one call, which reduces the angle once."""

from __future__ import annotations

from collections.abc import Sequence

from hotloop.dtypes import float32
from hotloop.ir.graph import Node, apply
from hotloop.ir.loop import rebuild
from hotloop.ir.op import Op
from hotloop.ir.rewrite import rewrite, walk
from hotloop.ops.elementary import cos, high, low, sin, sincos


def pair(outputs: Sequence[Node]) -> list[Node]:
    """Return `outputs` with pairs of sin(x) and cos(x) computed together; the bits stay."""
    angles: dict[Op, set[int]] = {sin: set(), cos: set()}
    for node in walk(outputs):
        if node.op in angles and node.dtype is float32:
            angles[node.op].add(node.args[0].id)
    shared = angles[sin] & angles[cos]
    if not shared:
        return list(outputs)
    halves = {sin: low, cos: high}

    def visit(node: Node, args: Sequence[Node]) -> Node:
        if node.op in halves and node.args[0].id in shared:
            return apply(halves[node.op], apply(sincos, args[0]))
        return rebuild(node, args)

    return rewrite(outputs, visit)
