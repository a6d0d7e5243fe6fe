"""What is known of integers while a function is interpreted: which indices need no check, which lengths no clamp."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hotloop.ir.graph import Node, apply
from hotloop.ir.op import REGISTRY
from hotloop.parallel.interpreter.recorder import ZERO

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.trace import Trace

add, sub, and_, maximum = (REGISTRY[name] for name in ("add", "sub", "and", "maximum"))
lt, le, gt, ge, eq = (REGISTRY[name] for name in ("lt", "le", "gt", "ge", "eq"))
select = REGISTRY["select"]
_SWAPPED = {lt: gt, le: ge, gt: lt, ge: le}


def shifted(node: Node) -> tuple[Node, int]:
    """Return a node and what is added to it, of sums with constants."""
    total = 0
    while True:
        if node.op is add and node.args[1].is_const:
            node, by = node.args
            total += int(by.attr.value)
        elif node.op is add and node.args[0].is_const:
            by, node = node.args
            total += int(by.attr.value)
        elif node.op is sub and node.args[1].is_const:
            node, by = node.args
            total -= int(by.attr.value)
        else:
            return node, total


def natural(trace: Trace, node: Node) -> Node:
    """Return a length that is at least 0: the node itself if that is known, else its maximum with 0."""
    if is_natural(trace, node):
        return node
    return apply(maximum, node, ZERO)


def is_natural(trace: Trace, node: Node) -> bool:
    """Whether an integer is known to be at least 0."""
    if node.is_const:
        return bool(node.attr.value >= 0)
    if node.id in trace.natural or node.id in trace.below:
        return True
    return node.op is maximum and any(arg.is_const and arg.attr.value >= 0 for arg in node.args)


def is_inside(trace: Trace, index: Node, length: Node) -> bool:
    """Whether an index is sure to be in range wherever the guard of the trace holds."""
    base, ahead = shifted(index)
    if base.is_const:
        return False
    return _least(trace, base) + ahead >= 0 and _is_below(trace, base, ahead, length)


def _least(trace: Trace, base: Node) -> int:
    """Return a number that an integer is known not to be below; a very small one if nothing is known."""
    least = 0 if is_natural(trace, base) else -(2**63)
    for op, x, limit, more in _facts(trace.guard):
        if x is base and limit.is_const:
            known = int(limit.attr.value) + more
            least = max(least, known + 1 if op is gt else known if op in (ge, eq) else least)
    return least


def _is_below(trace: Trace, base: Node, ahead: int, length: Node) -> bool:
    """Whether base + ahead is known to be below a length."""
    limit = trace.below.get(base.id)
    if limit is not None:
        end, more = shifted(_unclamped(limit))
        if end is length and more + ahead <= 0:
            return True
    end, extra = shifted(length)
    for op, x, limit, more in _facts(trace.guard):
        if x is base and limit is end and op in (lt, le) and more - extra + ahead + (op is le) <= 0:
            return True
    return False


def wrapped_around(trace: Trace, x: Node, length: Node) -> Node | None:
    """Return x % length without a division, for x one before or after an index below that length; None for any other x."""
    base, ahead = shifted(x)
    if abs(ahead) > 1 or trace.below.get(base.id) is not length:
        return None
    # there is an index below the length, so that the length is at least 1
    if ahead > 0:
        return apply(select, apply(eq, x, length), ZERO, x)
    return apply(select, apply(lt, x, ZERO), apply(add, x, length), x) if ahead else x


def _unclamped(limit: Node) -> Node:
    """Return e of max(0, e): where there is an index below it at all, e is above 0."""
    if limit.op is maximum and limit.args[0].is_const and limit.args[0].attr.value == 0:
        return limit.args[1]
    return limit


def _facts(guard: Node) -> Iterator[tuple[object, Node, Node, int]]:
    """Yield (comparison, x, limit, more) for each comparison x ? limit + more that holds where a guard does."""
    stack = [guard]
    while stack:
        node = stack.pop()
        if node.op is and_:
            stack.extend(node.args)
        elif node.op in _SWAPPED or node.op is eq:
            left, right = node.args
            for op, x, y in ((node.op, left, right), (_SWAPPED.get(node.op, eq), right, left)):
                base, ahead = shifted(x)
                end, more = (y, 0) if y.is_const else shifted(y)
                yield op, base, end, more - ahead
