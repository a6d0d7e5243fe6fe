"""`Dim`: a length that is known only when the function is called. It stands beside ints in the shapes of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

Shape = tuple[int, ...]  # where sizes are run-time values, some lengths are Dims


class NeedsSize(Exception):
    """A trace asked for the number that a Dim stands for: the function has to be traced with the sizes themselves.

    It is no HotloopError: users never see it. An `except Exception` of theirs may swallow it, or NumPy put
    another exception in its place, so a Dim also remembers that it was asked.
    """


class Dim:
    """A length of arrays that is known only when the function is called.

    It equals itself alone: neither a number nor another Dim, which may have the same length in one call
    and not in the next. It is never the literal 1 that broadcasting looks for.
    Whatever needs the number raises NeedsSize. asked: whether anything did.
    """

    __slots__ = ("asked", "name")

    def __init__(self, name: str = "n") -> None:
        self.name = name
        self.asked = False

    def __repr__(self) -> str:
        return self.name

    def ask(self, *operands: object) -> NoReturn:
        """Raise NeedsSize: the number itself is needed."""
        self.asked = True
        raise NeedsSize(f"the length {self.name} is known only when the function is called")


# Python's names of all that a number can do. Equality is not among them: a Dim is compared by identity.
NUMERIC = (
    "index", "int", "float", "complex", "bool", "round", "trunc", "floor", "ceil", "neg", "pos", "abs", "invert", "lt", "le", "gt", "ge",
    *[side + name for side in ("", "r") for name in (
        "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod", "pow", "lshift", "rshift", "and", "or", "xor",
    )],
)  # fmt: skip

for _name in NUMERIC:
    setattr(Dim, f"__{_name}__", Dim.ask)


def is_sized(shape: Sequence[Any]) -> bool:
    """Whether all lengths of a shape are numbers, so that no Dim is among them."""
    return all(type(length) is not Dim for length in shape)


def ask(shape: Sequence[Any]) -> None:
    """Raise NeedsSize if a Dim is among the lengths."""
    for length in shape:
        if type(length) is Dim:
            length.ask()


def broadcast_shapes(*shapes: Shape) -> Shape:
    """Return the shape that arrays of these shapes broadcast to, as np.broadcast_shapes; a Dim goes with itself and with 1.

    Raises: ValueError, NeedsSize for a Dim beside another length.
    """
    if all(map(is_sized, shapes)):
        return np.broadcast_shapes(*shapes)
    rank = max(map(len, shapes))
    found = []
    for lengths in zip(*[(1,) * (rank - len(shape)) + shape for shape in shapes], strict=True):
        distinct = {length for length in lengths if length != 1}
        if len(distinct) > 1:
            ask(lengths)
            raise ValueError(f"lengths {lengths} do not broadcast")
        found.append(distinct.pop() if distinct else 1)
    return tuple(found)
