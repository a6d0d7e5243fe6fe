"""Nested containers taken apart into leaves and put together again: lists, tuples, dicts, dataclasses.

A `Structure` is the containers without the leaves. It compares and hashes by value, so it can be
part of the key of a specialised function.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from hotloop.errors import ShapeError, TraceError
from hotloop.ir.graph import user_line

# A structure of leaves. Any: whatever users nest
Tree = Any

_DEPTH = 64


class Structure:
    """The containers of a nested structure.

    kind: the type of the container; None for a leaf, type(None) for a None, which has no leaves.
    keys: keys of a dict, names of fields of a dataclass or namedtuple, else ().
    children: one Structure an item, or () where all `width` items are leaves.
    """

    __slots__ = ("_hash", "children", "count", "keys", "kind", "width")

    def __init__(self, kind: type | None, keys: tuple[Any, ...], children: tuple[Structure, ...], width: int) -> None:
        self.kind = kind
        self.keys = keys
        self.children = children
        self.width = width
        self.count: int = sum([child.count for child in children]) if children else 1 if kind is None else width
        self._hash = hash((kind, keys, children, width))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Structure)
            and self._hash == other._hash
            and self.kind is other.kind
            and self.width == other.width
            and self.keys == other.keys
            and self.children == other.children
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Structure({self.unflatten(['*'] * self.count)!r})"

    def unflatten(self, leaves: Iterable[Any]) -> Tree:
        """Return the structure with `leaves` in the places of those it was made from.

        Dataclasses are made without calling their __init__: their leaves may be traced values.
        Raises: ShapeError unless there are exactly `count` leaves.
        """
        items = list(leaves)
        if len(items) != self.count:
            raise ShapeError(f"{user_line()}: {len(items)} leaves for a structure of {self.count}.")
        return self._build(iter(items))

    def _build(self, leaves: Iterator[Any]) -> Tree:
        kind = self.kind
        if kind is None:
            return next(leaves)
        if kind is type(None):
            return None
        items = [child._build(leaves) for child in self.children] or list(islice(leaves, self.width))  # noqa: SLF001 - our own class
        if kind is list:
            return items
        if kind is tuple:
            return tuple(items)
        if issubclass(kind, dict):
            return kind(zip(self.keys, items, strict=True))
        if issubclass(kind, tuple):
            return tuple.__new__(kind, items)
        made = object.__new__(kind)
        for name, item in zip(self.keys, items, strict=True):
            object.__setattr__(made, name, item)
        return made

    def paths(self, root: str = "") -> list[str]:
        """Return how each leaf is reached from the root, as Python writes it: `result["a"][2]`."""
        if self.kind is None:
            return [root]
        steps = self.steps()
        if not self.children:
            return [root + step for step in steps]
        return [path for step, child in zip(steps, self.children, strict=True) for path in child.paths(root + step)]

    def steps(self) -> list[str]:
        """Return how each item of this container is reached from it."""
        if self.kind is None or self.kind is type(None):
            return []
        if issubclass(self.kind, dict):
            return [f"[{key!r}]" for key in self.keys]
        return [f".{name}" for name in self.keys] or [f"[{i}]" for i in range(self.width)]


LEAF = Structure(None, (), (), 0)
NOTHING = Structure(type(None), (), (), 0)


def flatten(tree: Tree, root: str = "the structure") -> tuple[list[Any], Structure]:
    """Return the leaves of nested containers in order, and the containers.

    Containers are lists, tuples, namedtuples, dicts and dataclass instances; None has no leaf;
    whatever else is a leaf. root: what messages call the whole. Cost: linear.
    Raises: TraceError for what is nested more than 64 deep, or contains itself.
    """
    leaves: list[Any] = []
    structure = _flatten(tree, leaves, root, 0)
    return leaves, structure


def _flatten(tree: Tree, leaves: list[Any], root: str, depth: int) -> Structure:
    if tree is None:
        return NOTHING
    found = parts(tree)
    if found is None:
        leaves.append(tree)
        return LEAF
    if depth == _DEPTH:
        raise TraceError(f"{user_line()}: {root} is nested more than {_DEPTH} deep, or contains itself.")
    kind, keys, items = found
    if not any(map(_may_contain, set(map(type, items)))):
        leaves.extend(items)
        return Structure(kind, keys, (), len(items))
    return Structure(kind, keys, tuple([_flatten(item, leaves, root, depth + 1) for item in items]), len(items))


def parts(tree: Tree) -> tuple[type, tuple[Any, ...], Sequence[Any]] | None:
    """Return (kind, keys, items) of one container, None for a leaf. The kind is what is built again."""
    match tree:
        case list():
            return list, (), tree
        case tuple():
            names = getattr(type(tree), "_fields", ())
            return (type(tree) if names else tuple), names, tree
        case dict():
            return (OrderedDict if isinstance(tree, OrderedDict) else dict), tuple(tree), list(tree.values())
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = tuple([field.name for field in dataclasses.fields(tree)])
        return type(tree), names, [getattr(tree, name, None) for name in names]
    return None


def _may_contain(kind: type) -> bool:
    """Whether objects of a type are containers, or None."""
    if kind is float or kind is int:
        return False
    return kind is type(None) or issubclass(kind, (list, tuple, dict)) or dataclasses.is_dataclass(kind)
