"""Gradients on the place `here`: steps executed by their definition in NumPy, since plain Python has no derivative."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import TYPE_CHECKING, Any

import numpy as np

from hotloop.parallel.cuarray import adopt
from hotloop.parallel.forms import Form, Ragged, Records
from hotloop.parallel.interpreter.arguments import Physical, kinds_of, pieces
from hotloop.parallel.interpreter.scope import found_again
from hotloop.passes.sweeps.reference import Faulted, execute

if TYPE_CHECKING:
    from hotloop.ir.graph import Node
    from hotloop.parallel.gradient import Gradient

Array = np.ndarray[Any, Any]


def run(gradient: Gradient, arguments: Items[Any]) -> Any:
    """Return a gradient for arguments. Cost: interpreted at each call."""
    kinds = kinds_of(arguments, gradient.names)
    found = gradient.interpreted(kinds)
    given = [piece for python, kind in zip(arguments, kinds, strict=True) for piece in pieces(python, kind)]
    for way, kind in zip(found.captures.ways, found.captures.leaves, strict=True):
        given += pieces(found_again(way), kind)
    numbers = [number for physical, piece in zip(found.physical, given, strict=True) for number in _numbers(physical, piece)]
    try:
        results = execute(found.procedure, numbers)
    except Faulted as fault:
        number, values = fault.number, fault.values
    else:
        return _built(found.tree, dict(zip(found.procedure.results, results, strict=True)))
    raise found.trace.sites[number].error(values)


def _numbers(physical: Physical, piece: Any) -> list[Any]:
    if physical.rank < 0:
        return [piece]
    array = np.asarray(piece)
    return [array.reshape(-1), *array.shape[: len(physical.lengths)]]


def _built(tree: Any, of: dict[Node, Array]) -> Any:
    """Return what a tree of results stands for."""
    if tree[0] == "number":
        return of[tree[1]].item()
    if tree[0] == "tuple":
        return tuple([_built(part, of) for part in tree[1]])
    return adopt(_form(tree, of))


def _form(tree: Any, of: dict[Node, Array]) -> Form:
    if tree[0] == "records":
        return Records(tuple([_form(part, of) for part in tree[1]]))
    if tree[0] == "ragged":
        return Ragged(_form(tree[1], of), of[tree[2][1]])
    shape = tuple([int(of[length]) for length in tree[2]])
    return of[tree[1]].reshape(shape) if shape else of[tree[1]]
