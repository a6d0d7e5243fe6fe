"""The table of operations: importing this package declares every row (see `ir.op.Op`)."""

from __future__ import annotations

from hotloop._graph import set_operator
from hotloop.ir.op import REGISTRY
from hotloop.ops import arith, elementary, logic, shape

__all__ = ["REGISTRY", "arith", "elementary", "logic", "shape"]

# Nodes and traced scalars get the operator of every row that names one.
for _op in REGISTRY.values():
    if _op.operator is not None:
        set_operator(_op.operator, _op)
