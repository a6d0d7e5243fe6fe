"""Programs on one lane, made by hand from passes, whatever the target of the machine has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from hotloop.dtypes import DType, int64
from hotloop.ir.graph import CONST, INPUT, STATE, Node, reachable
from hotloop.ir.program import Program
from hotloop.ir.rewrite import walk
from hotloop.passes.fuse import fuse
from hotloop.passes.linearize import linearize
from hotloop.passes.pair import pair
from hotloop.passes.unroll import scalars_of, unroll


def program_of(
    outputs: Sequence[Node], index: DType = int64, near: bool = False, contract: bool = False, pointers: bool = False
) -> Program:  # fmt: skip
    """Return the program that computes `outputs` and steps the states that they depend on, without vectors of lanes."""
    cells = [node for node in reachable(outputs) if node.op in (INPUT, STATE)]
    states = [cell for cell in cells if cell.op is STATE and cell.attr.next is not None]
    wanted = list({node.id: node for node in outputs}.values())
    ends = fuse([*wanted, *[state.attr.next for state in states]], contract=contract, one_lane=True)
    found = unroll(ends, index)
    parts = [scalars_of(found, end) for end in ends]
    scalars = pair([scalar for part in parts for scalar in part])
    rest = iter(scalars)
    parts = [list(islice(rest, len(part))) for part in parts]
    return linearize(
        [node for node in walk(scalars) if node.op not in (INPUT, STATE, CONST)],
        [(node, node.shape, part) for node, part in zip(wanted, parts, strict=False)],
        [(state.attr, part) for state, part in zip(states, parts[len(wanted) :], strict=True)],
        [(cell, f"cell{k}") for k, cell in enumerate(cells)],
        vector_bytes=0, index=index, near=near, pointers=pointers,
    )  # fmt: skip
