"""`Guard`: the condition under which something matters, joined lazily from those of `select` rows."""

from __future__ import annotations

from hotloop.ir.graph import Node, Shape
from hotloop.ops.algebra import call


class Guard:
    """A bool node, or two guards joined by "and" or "or"; nodes are made only if it is built."""

    __slots__ = ("join", "left", "node", "right", "shape")

    def __init__(self, node: Node | None, join: str = "", left: Guard | None = None, right: Guard | None = None) -> None:
        self.node = node
        self.join = join
        self.left = left
        self.right = right
        self.shape: Shape = node.shape if node is not None else (left.shape if left else ()) or (right.shape if right else ())

    def both(self, other: Guard) -> Guard:
        """Return the guard that holds where this and `other` hold."""
        return self if self is other else Guard(None, "and", self, other)

    def either(self, other: Guard) -> Guard:
        """Return the guard that holds where this or `other` holds."""
        return self if self is other else Guard(None, "or", self, other)

    def joins(self, other: Guard) -> bool:
        """Whether the shapes allow the two to be joined."""
        return self.shape == other.shape or not self.shape or not other.shape

    def build(self) -> Node:
        """Return the guard as a bool node. Cost: linear, no recursion."""
        stack = [self]
        while stack:
            guard = stack[-1]
            if guard.node is None:
                left, right = guard.left, guard.right
                assert left is not None
                assert right is not None
                waiting = [part for part in (left, right) if part.node is None]
                if waiting:
                    stack.extend(waiting)
                    continue
                guard.node = call(guard.join, left.node, right.node)
            stack.pop()
        assert self.node is not None
        return self.node
