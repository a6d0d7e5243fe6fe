"""`Memory`: which place of a compiled program holds which traced value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hotloop._graph import Node, Scalar
from hotloop.errors import BoundsError, NotCompiled, NotWritable, ShapeError, TypeMismatch
from hotloop.frontend.array import Array
from hotloop.frontend.literals import scalars
from hotloop.frontend.place import Place, Scatter, joined
from hotloop.frontend.reading import Reading
from hotloop.ir.graph import INPUT, STATE, source_line, user_line

if TYPE_CHECKING:
    from hotloop.compiler import Compiled

Traced = Scalar | Array
Slot = Place | Scatter


class Memory:
    """The places of one compiled program, found by node.

    renamed: nodes that stand for those of the user's program, where it was rewritten.
    Places are made when they are first asked for.
    """

    def __init__(self, compiled: Compiled, renamed: Mapping[Node, Node]) -> None:
        self._compiled = compiled
        self._renamed = renamed
        self._read: dict[Node, Slot] = {}
        self._written: dict[Node, Slot] = {}

    def readable(self, node: Node) -> Slot:
        """Return where a node's value is. Raises: NotCompiled."""
        try:
            return self._read[node]
        except KeyError:
            found = self._read[node] = self._find(node)
            return found

    def writable(self, node: Node) -> Slot:
        """Return where an input or state is, or where the inputs are that an array is made of.

        Raises: NotCompiled, NotWritable.
        """
        try:
            return self._written[node]
        except KeyError:
            found = self._written[node] = self._find_writable(node)
            return found

    def _find(self, node: Node) -> Slot:
        found = self._place(node)
        if found is not None:
            return found
        elements = scalars(node) if node.shape else []
        if elements and all(self._is_packed(element) for element in elements):
            return self._gathered(node, elements, self.readable)
        raise NotCompiled(
            f"{user_line()}: {called(node)} is not in the program that this target compiled. Pass it to compile(), or in keep=[...]."
        )

    def _is_packed(self, element: Node) -> bool:
        """Whether an element is a value of its own, and not a part of an array."""
        return element.is_const or self._place(element) is not None

    def _find_writable(self, node: Node) -> Slot:
        if node.op is INPUT or node.op is STATE:
            return self.readable(node)
        elements = scalars(node) if node.shape else []
        if elements and all(element.op is INPUT or element.op is STATE for element in elements):
            return self._gathered(node, elements, self.readable)
        what = "a constant" if node.is_const else "computed"
        raise NotWritable(f"{user_line()}: {called(node)} is {what}; only inputs (hl.value, vector.input, ...) and states can be written.")

    def _place(self, node: Node) -> Place | None:
        real = self._renamed.get(node, node)
        if real.is_const:
            value = np.array(real.attr.value, real.dtype.numpy)
            value.flags.writeable = False
            return Place(None, real.dtype, real.shape, 0, value, _labels(node))
        symbol = self._compiled.symbol(real)
        if symbol is None:
            return None
        view = self._compiled.view(symbol)
        compiled = self._compiled
        return Place(compiled.local, symbol.dtype, symbol.shape, symbol.offset, view, _labels(node), compiled.mirror)

    def _gathered(self, node: Node, elements: list[Node], find: Any) -> Slot:
        places = [find(element) for element in elements]
        label = _labels(node)
        return joined(places, node.shape, label) or Scatter(places, node.dtype, node.shape, label)


def called(node: Node) -> str:
    """Return what messages call a node: its name or operation, and the line that made it."""
    name = getattr(node.attr, "name", None) if node.op is INPUT or node.op is STATE else None
    kind = f"{node.dtype}{list(node.shape) if node.shape else ''}"
    return f"{name or node.op} ({kind}, {source_line(node)})"


def _labels(node: Node) -> Any:  # Any: a Label
    def label(index: int) -> str:
        if index < 0 or not node.shape:
            return called(node)
        place = [int(i) for i in np.unravel_index(index, node.shape)]
        return f"element {place} of {called(node)}"

    return label


class Views(Mapping[str, np.ndarray[Any, Any]]):
    """NumPy views of a program's memory, by name or traced value. They are live; those of a program elsewhere are copies."""

    def __init__(self, nodes: Mapping[str, Node], memory: Memory, writable: bool) -> None:
        self._nodes = nodes
        self._memory = memory
        self._writable = writable

    def __getitem__(self, key: str | int | Traced) -> np.ndarray[Any, Any]:
        place = self._slot(key)
        return place.view if place.mirror is None else place.numbers()

    def __setitem__(self, key: str | int | Traced, data: Any) -> None:  # Any: numbers, lists, arrays
        """Write a number, list or array with all checks of `write_value`."""
        self._slot(key).write(data)

    def _slot(self, key: str | int | Traced) -> Place:
        if isinstance(key, (Scalar, Array)):
            node = key.node
        else:
            found = self._nodes.get(str(key)) if isinstance(key, (str, int)) else None
            if found is None:
                known = ", ".join(self._nodes) or "none has a name"
                raise BoundsError(f"{user_line()}: the program has no such name: {key!r}. Known: {known}.")
            node = found
        slot = self._memory.writable(node) if self._writable else self._memory.readable(node)
        return whole(slot)

    def get(self, key: Any, default: Any = None) -> Any:  # Any: as a Mapping's
        """Return the view of a name, or `default` for a name that the program does not have."""
        return default if key not in self else self[key]  # noqa: SIM401 - this is get

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (str, int)) and str(key) in self._nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"{{{', '.join(self._nodes)}}}"


def whole(slot: Slot) -> Place:
    """Return a place that has one view. Raises: ShapeError for numbers that lie apart."""
    if isinstance(slot, Scatter):
        raise ShapeError(f"{user_line()}: {slot.label(-1)} does not lie in one piece, so it has no view. Use vector.input or tensor.input.")
    return slot


def traced(leaf: Any, path: str) -> Traced | None:  # Any: a leaf of the user's structure
    """Return a leaf that is traced, None for numbers and text. Raises TypeMismatch for anything else."""
    if isinstance(leaf, (Scalar, Array)):
        return leaf
    if isinstance(leaf, (bool, int, float, str, bytes, np.generic, np.ndarray, Reading)):
        return None
    what = "a program holds traced values, numbers, and containers of them"
    raise TypeMismatch(f"{user_line()}: {path} is of type {type(leaf).__name__}; {what}.")
