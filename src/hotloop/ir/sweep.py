"""Steps: what a data-parallel function does, in order. Scalars and arrays are in registers between the steps.

A register is a PARAM node: of shape () a scalar, of shape (Dim,) an array of one dimension, contiguous in
memory. What is computed are graphs of scalars over registers, over the indices of a sweep, over elements
of arrays (`at`) and over their lengths (`ops.shape.length_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hotloop.dtypes import DType
from hotloop.ir.dim import Dim
from hotloop.ir.graph import Node, param_node, structure
from hotloop.ir.op import Op, untyped

AT = Op("at", untyped(), np.asarray, doc="The element of an array at a run-time place, an int64; zero where there is none.")


def array_register(dtype: DType) -> Node:
    """Return a new register for arrays of one dimension."""
    shape: Any = (Dim(),)  # Any: Dims stand beside ints
    return param_node(dtype, shape)


def at(array: Node, place: Node) -> Node:
    """Return the element of an array register at a place, an int64: zero, and nothing is read, where the array has none."""
    return structure(AT, (array, place), None, array.dtype, ())


# ----------------------------------------------------------------------------- what a sweep does with each element


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """An associative operator on tuples: `combined` is that of `left` and `right`, which are params."""

    left: tuple[Node, ...]
    right: tuple[Node, ...]
    combined: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """array[place] = value. No two elements of the sweep have one place."""

    array: Node
    place: Node
    value: Node


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """into = all values combined by a row of `ops.shape.FOLDS` ("add", "or", ...), starting from its identity."""

    into: Node
    op: Op
    value: Node


@dataclass(frozen=True, slots=True, eq=False)
class Reduce:
    """into = inits and then all values combined, in order; values where `keep` does not hold are left out.

    Chunks of the sweep are combined first. Without inits there is at least one value, and no `keep`.
    """

    into: tuple[Node, ...]
    operator: Operator
    values: tuple[Node, ...]
    inits: tuple[Node, ...] | None
    keep: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """array[place] = what is combined so far: with the element's value, or `exclusive`, from `inits`, without it."""

    arrays: tuple[Node, ...]
    place: Node
    operator: Operator
    values: tuple[Node, ...]
    inits: tuple[Node, ...] | None
    exclusive: bool


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """Values where `keep` holds, one after the other, in arrays of their own; kept = how many they are.

    The arrays need no Allocate before: the step makes them, of the right length.
    """

    arrays: tuple[Node, ...]
    keep: Node
    values: tuple[Node, ...]
    kept: Node


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """array[place] = value, or operator(array[place], value), where `keep` holds, in the order of the sweep."""

    arrays: tuple[Node, ...]
    place: Node
    values: tuple[Node, ...]
    keep: Node | None = None
    operator: Operator | None = None


Effect = Store | Fold | Reduce | Scan | Filter | Scatter


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """A loop inside of each element of a sweep: index = low, low + 1, ... below high. Effects (Stores) happen there."""

    index: Node
    low: Node
    high: Node


# ------------------------------------------------------------------------------------------------------ steps


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """For index = 0, 1, ... below count, on several threads: all effects.

    At most one of the effects is a Scan, Filter or Scatter; beside Scatter there are Folds of bools only. `inner`: see Inner.
    """

    count: Node
    index: Node
    effects: tuple[Effect, ...]
    inner: Inner | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Compute:
    """Scalar registers get values, all of them computed before the first is written."""

    registers: tuple[Node, ...]
    values: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Allocate:
    """array = a new array of `length` elements, which hold anything. A negative length is 0."""

    array: Node
    length: Node


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """array = a new array with the elements of source."""

    array: Node
    source: Node


@dataclass(frozen=True, slots=True, eq=False)
class Alias:
    """arrays = sources, the same memory; all at once. Memory is freed when no register names it."""

    arrays: tuple[Node, ...]
    sources: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sort:
    """Stable order of elements by keys, the first most significant. NaN comes last; -0.0 equals 0.0.

    sorted: registers for the keys in order (new arrays); order: register for their places before (int64), or None.
    """

    keys: tuple[Node, ...]
    descending: tuple[bool, ...]
    sorted: tuple[Node | None, ...]
    order: Node | None


@dataclass(frozen=True, slots=True, eq=False)
class SortBy:
    """order = the places of `length` elements in stable order by `less`, a graph over two places (params, int64)."""

    length: Node
    first: Node
    second: Node
    less: Node
    order: Node


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """Raise the exception that `number` stands for, with values, if the condition holds."""

    condition: Node
    number: int
    values: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class While:
    """Run head; while the condition then holds, run body and head."""

    head: Sequence[Step]
    condition: Node
    body: Sequence[Step]


@dataclass(frozen=True, slots=True, eq=False)
class If:
    """Run one of two lists of steps."""

    condition: Node
    then: Sequence[Step]
    otherwise: Sequence[Step]


Step = Sweep | Compute | Allocate | Copy | Alias | Sort | SortBy | Fault | While | If


@dataclass(slots=True, eq=False)
class Procedure:
    """A whole function: registers that hold its arguments, steps, and the registers of its results."""

    inputs: tuple[Node, ...]
    steps: list[Step] = field(default_factory=list)
    results: tuple[Node, ...] = ()
