"""`Results`: what a jitted function returns, and the arrays given as `out=` that it is written to."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hotloop._graph import Node, Scalar
from hotloop.errors import NotWritable, ShapeError, TraceError, TypeMismatch
from hotloop.frontend.array import Array
from hotloop.frontend.reading import Reading
from hotloop.frontend.structure import flatten
from hotloop.ir.graph import Shape, user_line

# A result as it is: a number, text, ...
_CONSTANTS = (bool, int, float, complex, str, bytes, enum.Enum, np.generic, Reading, type(None), type(Ellipsis))
Given = Sequence[np.ndarray[Any, Any] | None]


class Constant(NamedTuple):
    """A leaf of a result that does not depend on the arguments."""

    value: Any

    def give(self) -> Any:
        """Return the leaf, an array that is the caller's own."""
        return self.value.copy() if isinstance(self.value, np.ndarray) else self.value


class Results:
    """The leaves of what a function returned when it was traced, and its containers.

    leaves: a traced node, or a Constant. nodes: the traced ones, in order.
    bare, plain: whether all is one traced value, or a tuple of them, which a call in C can return.
    Raises: TraceError for what cannot be returned.
    """

    def __init__(self, result: Any, name: str) -> None:  # Any: whatever the user's function returns
        leaves, self._structure = flatten(result, f"the result of {name}()")
        self._name = name
        self._paths = self._structure.paths("result")
        self.leaves = [_leaf(leaf, path) for leaf, path in zip(leaves, self._paths, strict=True)]
        self.nodes = [leaf for leaf in self.leaves if isinstance(leaf, Node)]
        traced = len(self.nodes) == len(leaves)
        self.bare = traced and self._structure.kind is None
        self.plain = traced and self._structure.kind is tuple and not self._structure.children

    def build(self, leaves: Sequence[Any]) -> Any:
        """Return the leaves in the function's containers."""
        if self.bare:
            return leaves[0]
        return tuple(leaves) if self.plain else self._structure.unflatten(leaves)

    def of(self, computed: Sequence[Any]) -> Any:
        """Return the result whose traced leaves were computed to be these."""
        if self.bare or self.plain:
            return self.build(computed)
        rest = iter(computed)
        return self._structure.unflatten([leaf.give() if isinstance(leaf, Constant) else next(rest) for leaf in self.leaves])

    def into(self, given: Given, leaves: Sequence[Any]) -> Any:
        """Return the leaves in the function's containers, each in the array that is given for it."""
        found = []
        for target, leaf in zip(given, leaves, strict=True):
            if target is not None and target is not leaf:
                target[...] = leaf
            found.append(leaf if target is None else target)
        return self.build(found)

    def given(self, out: Any, sizes: Sequence[tuple[Any, int]] = ()) -> Given:
        """Return the array to write for each leaf, from what a caller gave as `out`.

        sizes: (Dim, its length) in this call. Raises: TypeMismatch, ShapeError, NotWritable.
        """
        if self._structure.kind is None:
            targets: Sequence[Any] = (out,)
        elif self._structure.kind is tuple and not self._structure.children:
            targets = self._several(out)
        else:
            raise TypeMismatch(
                f"{user_line()}: {self._name}() returns a {(self._structure.kind or tuple).__name__} of results, for which there "
                "is no out=. It takes functions that return one array, or a tuple of arrays and numbers."
            )
        lengths = dict(sizes)
        for target, leaf, path in zip(targets, self.leaves, self._paths, strict=True):
            if target is not None:
                self._check(target, leaf, path.replace("result", "out"), lengths)
        return targets

    def _several(self, out: Any) -> Sequence[Any]:
        count = len(self.leaves)
        if type(out) is not tuple or len(out) != count:
            what = f"a tuple of {len(out)}" if type(out) is tuple else type(out).__name__
            raise TypeMismatch(
                f"{user_line()}: {self._name}() returns {count} results, so out= is a tuple of {count} arrays "
                f"(None: a new one), not {what}."
            )
        return out

    def _check(self, target: Any, leaf: Any, path: str, lengths: dict[Any, int]) -> None:
        wanted = _array_of(leaf, lengths)
        where = f"{user_line()}: {path} of {self._name}()"
        if wanted is None:
            raise TypeMismatch(f"{where}: this result is no array, so there is nothing to give. Use None.")
        dtype, shape = wanted
        needed = f"Needed is an array of {dtype} and shape {shape}."
        if not isinstance(target, np.ndarray):
            raise TypeMismatch(f"{where} is of type {type(target).__name__}. {needed}")
        if target.dtype != dtype:
            raise TypeMismatch(f"{where} has elements of {target.dtype}. {needed}")
        if target.shape != shape:
            raise ShapeError(f"{where} has shape {target.shape}. {needed}")
        if not target.flags.writeable:
            raise NotWritable(f"{where} is read-only. Needed is an array that can be written.")


def _array_of(leaf: Any, lengths: dict[Any, int]) -> tuple[np.dtype[Any], Shape] | None:
    """Return type and shape of a leaf that is an array."""
    if isinstance(leaf, Node):
        shape = tuple([lengths.get(n, n) for n in leaf.shape])
        return (leaf.dtype.numpy, shape) if shape else None
    return (leaf.value.dtype, leaf.value.shape) if isinstance(leaf.value, np.ndarray) else None


def _leaf(leaf: Any, path: str) -> Node | Constant:
    if isinstance(leaf, (Scalar, Array)):
        node = leaf.node
        if not node.is_const:
            return node
        value = np.array(node.attr.value, node.dtype.numpy)
        return Constant(value if value.shape else value.item())
    if isinstance(leaf, np.ndarray):
        return Constant(leaf.copy())
    if isinstance(leaf, _CONSTANTS):
        return Constant(leaf)
    raise TraceError(
        f"{user_line()}: {path} is of type {type(leaf).__name__}, which a jitted function cannot return. "
        "Return numbers, arrays, text, None, and lists, tuples, dicts or dataclasses of them."
    )


__all__ = ["Constant", "Given", "Results"]
