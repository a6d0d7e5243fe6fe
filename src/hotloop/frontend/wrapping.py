"""From traced values to nodes and back, in the class that the user gave."""

from __future__ import annotations

from typing import Any

from hotloop._graph import Scalar, wrap
from hotloop.frontend.array import Array
from hotloop.ir.graph import Node


def traced_node(leaf: Any) -> Node | None:  # Any: a traced value or anything else
    """Return the node of a traced value, None for anything else."""
    return leaf.node if isinstance(leaf, (Scalar, Array)) else None


def wrap_array(node: Node) -> Any:  # Any: value, vector or tensor
    """Return the traced value of a node: a scalar, a vector for one axis, else a tensor."""
    if not node.shape:
        return wrap(node)
    return (Array.vector_class if len(node.shape) == 1 else Array.tensor_class).of(node)


def rewrap(like: Any, node: Node) -> Any:  # Any: a traced value or number; a traced value of its class
    """Return the traced value of a node in the class of `like` if the shapes are equal, else by its axes."""
    if isinstance(like, Array) and like.node.shape == node.shape:
        return type(like).of(node)
    return wrap_array(node)


__all__ = ["rewrap", "traced_node", "wrap_array"]
