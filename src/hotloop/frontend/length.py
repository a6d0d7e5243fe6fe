"""`Length`: what `array.shape` holds where sizes are run-time values, and shapes that users make of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hotloop.dtypes import DType
from hotloop.ir.dim import NUMERIC, Dim, is_sized
from hotloop.ir.graph import Node, Shape, convert, literal_dtype
from hotloop.ops.shape import length_of


class Length:
    """The length of one axis of an array of any size.

    Beside traced values it is an int. It equals the same length; everything else that its number is
    needed for - Python's arithmetic, other comparisons, a hash, its text - makes jit trace again, for the sizes
    of the call alone.
    """

    __slots__ = ("_axis", "_node", "dim")

    def __init__(self, dim: Dim, node: Node, axis: int) -> None:
        self.dim = dim
        self._node = node
        self._axis = axis

    def beside(self, joint: DType | None) -> Node:
        """Return what an int literal is beside operands of type `joint`; alone it is a number of Python's."""
        if joint is None:
            self.dim.ask()
        return convert(length_of(self._node, (self._axis,)), literal_dtype(1, joint))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Length) and other.dim is self.dim:
            return True
        return self._operate(other)  # type: ignore[no-any-return]

    def __hash__(self) -> int:
        self.dim.ask()

    def __repr__(self) -> str:
        self.dim.ask()

    def _operate(self, *operands: object) -> Any:  # Any: what the traced operand makes of it
        if operands and isinstance(getattr(operands[0], "node", None), Node):
            return NotImplemented  # the traced value's own operator takes it
        self.dim.ask()


for _name in NUMERIC:
    setattr(Length, f"__{_name}__", Length._operate)  # noqa: SLF001 - our own class


def lengths(node: Node) -> Shape:
    """Return the shape of an array for users: numbers, and a Length for each Dim."""
    shape = node.shape
    if is_sized(shape):
        return shape
    return tuple([Length(n, node, axis) if type(n) is Dim else n for axis, n in enumerate(shape)])  # type: ignore[comparison-overlap]


def dims(shape: Sequence[Any]) -> tuple[Any, ...]:
    """Return a shape that users gave, with the Dim for each Length."""
    return tuple([n.dim if isinstance(n, Length) else n for n in shape])


def same_elements(shape: Shape, wanted: Sequence[Any]) -> Shape:
    """Return the shape that reshaping `shape`, which has Dims, to `wanted` gives; only axes of length 1 may come and go.

    Raises: NeedsSize for what cannot be known without the sizes.
    """
    kept = [n for n in shape if n != 1]
    given = [n for n in wanted if n != 1]
    if given.count(-1) == 1:
        place = given.index(-1)
        missing = kept[place : place + 1 + len(kept) - len(given)]
        if len(missing) < 2 and [*given[:place], *missing, *given[place + 1 :]] == kept:
            return tuple([(missing[0] if missing else 1) if n == -1 else n for n in wanted])
    elif given == kept:
        return tuple(wanted)
    next(n for n in (*shape, *wanted) if type(n) is Dim).ask()


__all__ = ["Length", "dims", "lengths", "same_elements"]
