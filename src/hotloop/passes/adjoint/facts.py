"""What is known once a procedure has run: that no fault has occurred. Bodies are simpler with it, so their derivatives are too.

A bounds check lets a load read place 0 where it fails, and ends the loop that it is in. That it has not failed makes the
place linear in the index again, and the number of trips known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hotloop.ir.graph import ITEM, PARAM, Body, Node, param_node, structure
from hotloop.ir.loop import build_loop, substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Compute, Fault, Fold, Sweep
from hotloop.passes.adjoint.loops import FALSE
from hotloop.passes.adjoint.places import Bounds
from hotloop.passes.adjoint.regions import Choice, Item, Loop, rebuilt, step_nodes

_OR, _AND, _GE, _LT, _ADD = (REGISTRY[name] for name in ("or", "and", "ge", "lt", "add"))


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """A step as it is where no fault has occurred. bounds: lengths of which the first is at most the second, if it matters."""

    step: Sweep | Compute
    bounds: Bounds


def without_faults(items: Sequence[Item]) -> dict[int, Proven]:
    """Return sweeps and computations, by the id of the item, as they are where no fault has occurred."""
    found: dict[int, Proven] = {}
    _region(items, [], found)
    return found


def _region(items: Sequence[Item], known: Sequence[Node], found: dict[int, Proven]) -> None:
    known = [*known, *[item.condition for item in items if isinstance(item, Fault) and not item.condition.is_const]]
    registers = {node.id for node in known if node.op is PARAM}
    for item in items:
        match item:
            case Loop():
                _region([*item.head, *item.body], known, found)
            case Choice():
                for inner, sources in ((item.then, item.first), (item.otherwise, item.second)):
                    same = [source for out, source in zip(item.outs, sources, strict=True) if out.id in registers]
                    _region(inner, [*known, *same], found)
            case Sweep():
                flags = [effect.value for effect in item.effects if isinstance(effect, Fold) and effect.into.id in registers]
                found[id(item)] = _simpler(item, [*known, *flags])
            case Compute():
                found[id(item)] = _simpler(item, known)


def _simpler(item: Sweep | Compute, known: Sequence[Node]) -> Proven:
    nodes, simplifier = step_nodes(item), _Simplifier()
    limits = {item.index.id: item.count} if isinstance(item, Sweep) else {}
    changed = {old.id: new for old, new in zip(nodes, simplifier.assumed(nodes, known, {}, limits), strict=True)}
    made = rebuilt(item, lambda node: changed[node.id], lambda node: node)
    assert isinstance(made, (Sweep, Compute)), "of the same kind"
    return Proven(made, frozenset(simplifier.bounds))


def assume_false(ends: Sequence[Node], known: Iterable[Node]) -> list[Node]:
    """Return nodes as they are where none of the bools `known` holds."""
    return _Simplifier().assumed(ends, known, {}, {})


class _Simplifier:
    def __init__(self) -> None:
        self.bounds: set[tuple[int, int]] = set()

    def assumed(self, ends: Sequence[Node], known: Iterable[Node], mapping: dict[int, Node], limits: dict[int, Node]) -> list[Node]:
        """Return nodes where none of `known` holds. limits: id of an index that is not negative -> what it is below."""
        mapping = dict(mapping)
        loops: dict[int, tuple[Node, set[int]]] = {}
        stack = list(known)
        while stack:
            node = stack.pop()
            if node.is_const or node.id in mapping:
                continue
            mapping[node.id] = FALSE
            self._note(node, limits)
            if node.op is _OR:
                stack.extend(node.args)
            elif node.op is ITEM and _is_latch(node.args[0], node.attr):
                loops.setdefault(node.args[0].id, (node.args[0], set()))[1].add(node.attr)
        for _, (loop, latches) in sorted(loops.items()):
            self._rebuild(loop, latches, mapping)
        return substitute(ends, mapping)

    def _note(self, node: Node, limits: dict[int, Node]) -> None:
        """Learn from it that index >= length never holds that all of the index's range is below the length."""
        if node.op is _GE:
            index = node.args[0]
            if index.op is _ADD and index.args[0].is_const and index.args[0].attr.value >= 0:
                index = index.args[1]
            if index.id in limits:
                self.bounds.add((limits[index.id].id, node.args[1].id))

    def _rebuild(self, loop: Node, latches: set[int], mapping: dict[int, Node]) -> None:
        """Map what a loop gives to what it gives where none of its latches ever holds."""
        body: Body = loop.attr
        kept = [k for k in range(len(body.params)) if k not in latches]
        assert body.condition is not None, "a while loop"
        known = [node for k in latches for node in (body.params[k], *body.results[k].args)]
        params = {body.params[k].id: param_node(body.params[k].dtype, ()) for k in kept}
        limits = _limits(body, loop)
        *results, condition = self.assumed([*[body.results[k] for k in kept], body.condition], known, mapping | params, limits)
        inits = substitute([loop.args[k] for k in kept], mapping)
        made = build_loop(inits, Body(tuple(params.values()), tuple(results), None, None, condition))
        for k, node in zip(kept, made, strict=True):
            result = body.results[k]
            mapping[structure(ITEM, (loop,), k, result.dtype, result.shape).id] = node


def _is_latch(loop: Node, number: int) -> bool:
    """Whether a carried bool, once it holds, holds until the end of a loop."""
    body: Body = loop.attr
    result = body.results[number]
    return body.trips is None and result.op is _OR and body.params[number] in result.args


def _limits(body: Body, loop: Node) -> dict[int, Node]:
    """Return what the condition of a loop asks its counters to be below, by the ids of their params."""
    assert body.condition is not None, "a while loop"
    found: dict[int, Node] = {}
    stack = [body.condition]
    while stack:
        node = stack.pop()
        if node.op is _AND:
            stack.extend(node.args)
        elif node.op is _LT and node.args[0] in body.params:
            start = loop.args[body.params.index(node.args[0])]
            if start.is_const and start.attr.value >= 0:
                found[node.args[0].id] = node.args[1]
    return found
