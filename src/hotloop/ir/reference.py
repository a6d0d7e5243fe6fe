"""The definition of the language: a program evaluated node by node with each row's NumPy meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hotloop.ir.fold import evaluate
from hotloop.ir.graph import CONST, INPUT, ITEM, LOOP, PARAM, STATE, Body, Cell, Node, reachable
from hotloop.ir.loop import dependents

Array = np.ndarray[Any, Any]
Memory = dict[Cell, Array]


def run(outputs: Sequence[Node], memory: Memory) -> list[Array]:
    """Evaluate `outputs` once on the inputs and states in `memory`, then step the states.

    Cells that `memory` lacks start from their initial value. Elementary functions use the same C
    as every target, all else NumPy, so the result has the bits of a strict target.
    """
    states = [node for node in reachable(outputs) if node.op is STATE and node.attr.next is not None]
    values = evaluate_nodes([*outputs, *[state.attr.next for state in states]], memory)
    memory.update(zip([state.attr for state in states], values[len(outputs) :], strict=True))
    return values[: len(outputs)]


def evaluate_nodes(outputs: Sequence[Node], memory: Memory) -> list[Array]:
    """Evaluate `outputs` on what is in `memory`; no state steps."""
    found: dict[int, Any] = {}
    _evaluate(reachable(outputs), found, memory)
    return [np.array(found[node.id]) for node in outputs]


def _evaluate(nodes: Iterable[Node], found: dict[int, Any], memory: Memory) -> None:
    """Put the value of each node that does not wait for a loop's params into `found`."""
    for node in nodes:
        if node.id in found:
            continue
        if node.op in (INPUT, STATE):
            found[node.id] = memory.setdefault(node.attr, np.array(node.attr.init))
        elif node.op is CONST:
            found[node.id] = np.asarray(node.attr.value, node.dtype.numpy)
        elif node.op is PARAM or any(arg.id not in found for arg in node.args):
            continue
        elif node.op is LOOP:
            found[node.id] = _loop(node, found, memory)
        elif node.op is ITEM:
            found[node.id] = found[node.args[0].id][node.attr]
        else:
            found[node.id] = _apply(node, [found[arg.id] for arg in node.args])


def _apply(node: Node, values: list[Array]) -> Array:
    if node.op.lower is None:
        value = evaluate(node.op, values)
    else:
        attributes: Mapping[str, Any] = node.attr or {}
        value = node.op.lower(*values, **attributes)
    return np.asarray(value).astype(node.dtype.numpy, copy=False)


def _loop(node: Node, outer: dict[int, Any], memory: Memory) -> list[Array]:
    body: Body = node.attr
    carried = [outer[arg.id] for arg in node.args[: len(body.params)]]
    ends = [*body.results, *([body.condition] if body.condition is not None else [])]
    bound = list(body.params) if body.index is None else [*body.params, body.index]
    nodes = dependents(ends, bound)  # not `reachable`: the next value of a captured state may be this very loop
    trip = 0
    while body.trips is None or trip < body.trips:
        found = dict(outer)
        found.update(zip((p.id for p in body.params), carried, strict=True))
        if body.index is not None:
            found[body.index.id] = np.asarray(trip, np.int32)
        _evaluate(nodes, found, memory)
        if body.condition is not None and not found[body.condition.id]:
            break
        carried = [found[result.id] for result in body.results]
        trip += 1
    return carried
