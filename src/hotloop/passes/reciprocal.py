"""Several divisions by one divisor, or one by what a loop does not change, become one reciprocal."""

from __future__ import annotations

from collections.abc import Sequence

from hotloop.ir.graph import CONST, Node
from hotloop.ir.rewrite import Scopes, rebuild, rewrite, walk
from hotloop.ops.algebra import call
from hotloop.ops.arith import div
from hotloop.passes.price import DIVISION, Prices


def share_reciprocals(outputs: Sequence[Node]) -> list[Node]:
    """Return `outputs` with a/b, c/b as r = 1/b, a*r, c*r wherever that is cheaper."""
    shared = _shared(outputs)
    if not shared:
        return list(outputs)

    def visit(node: Node, args: Sequence[Node]) -> Node:
        if node.op is div and node.args[1] in shared and args[1].op is not CONST:
            return call("mul", args[0], call("div", 1.0, args[1]))
        return rebuild(node, args)

    return rewrite(outputs, visit)


def _shared(outputs: Sequence[Node]) -> set[Node]:
    """Return the divisors whose reciprocal saves more than it costs."""
    nodes = walk(outputs)
    divisions = [node for node in nodes if node.op is div and node.args[1].op is not CONST]
    if not divisions:
        return set()
    prices, scopes = Prices(), Scopes(nodes)
    saved: dict[Node, int] = {}
    for node in divisions:
        divisor = node.args[1]
        gain = (DIVISION - 1) * prices.size(node.shape) * scopes.repeats(node)
        once = DIVISION * prices.size(divisor.shape) * scopes.repeats(divisor)
        saved[divisor] = saved.get(divisor, -once) + gain
    return {divisor for divisor, gain in saved.items() if gain > 0}
