"""Where the elements of an array come from: what derivatives by an array must look through.

`pack`, `take` and `reshape` vanish when their elements are used (`vector([a, b])[0]` is `a`), so a
program that was written with an array may use what the array was made of instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from hotloop.ir.graph import Node, constant, convert
from hotloop.ops.algebra import call
from hotloop.ops.shape import element, pack, pack_of, reshape, reshape_to, spread_by, take, take_by


def chain(node: Node) -> list[Node]:
    """Return the node, what it views, what that views, and so on."""
    found = [node]
    while found[-1].op is reshape or (found[-1].op is take and _unique(found[-1])):
        found.append(found[-1].args[0])
    return found


def _unique(view: Node) -> bool:
    places = view.attr["index"].flat.reshape(-1)
    return len(places) < 2 or len(np.unique(places)) == len(places)


def origins(node: Node) -> list[Node]:
    """Return the node and all nodes that a use of its elements may refer to instead."""
    found = chain(node)
    if found[-1].op is pack:
        found += [item for item in found[-1].args if not item.is_const]
    return found


def collected(node: Node, parts: Mapping[int, Node | None]) -> Node | None:
    """Return the cotangent of `node` from those of its origins, by id; None is zero."""
    views = chain(node)
    total = parts.get(views[-1].id)
    if views[-1].op is pack:
        total = _sum(total, _packed(views[-1], parts))
    for view in reversed(views[:-1]):
        if total is not None:
            total = reshape_to(total, view.shape) if view.op is reshape else take_by(total, view.attr["index"])
        total = _sum(parts.get(view.id), total)
    return total


def _sum(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None:
        return b if a is None else a
    return call("add", a, b)


def _packed(array: Node, parts: Mapping[int, Node | None]) -> Node | None:
    found = [parts.get(item.id) for item in array.args]
    known = [part for part in found if part is not None]
    if not known:
        return None
    zero = constant(0, known[0].dtype, structural=True)
    return pack_of([zero if part is None else convert(part, zero.dtype) for part in found], array.shape)


def distributed(node: Node, tangent: Node) -> list[tuple[Node, Node]]:
    """Return (origin, tangent) for the node and all its origins, given the node's tangent."""
    views = chain(node)
    found = [(node, tangent)]
    for view, source in pairwise(views):
        tangent = reshape_to(tangent, source.shape) if view.op is reshape else spread_by(tangent, view.attr["index"], source.shape)
        found.append((source, tangent))
    if views[-1].op is pack:
        found += [(item, element(tangent, place)) for place, item in enumerate(views[-1].args) if not item.is_const]
    return found
