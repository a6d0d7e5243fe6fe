"""`Place`: where in the user's source something is computed, for exceptions that point there."""

from __future__ import annotations

import ast
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, NoReturn

from hotloop.errors import HotloopError
from hotloop.parallel.reading.blame import Origin, refuse

if TYPE_CHECKING:
    from hotloop.parallel.reading.source import Definition

_NOTHING = compile("0", "", "eval")


@lru_cache(maxsize=4096)
def line_of(file: str, line: int) -> CodeType:
    """Return a code object that stands for a line of a file: `_graph.set_origin` takes it."""
    return _NOTHING.replace(co_filename=file, co_firstlineno=line)


class Place:
    """Where in the source something is computed: what messages point at."""

    __slots__ = ("definition", "node")

    def __init__(self, node: ast.AST, definition: Definition) -> None:
        self.node = node
        self.definition = definition

    @property
    def origin(self) -> Origin:
        """What messages print."""
        return Origin.of(self.node, self.definition)

    def error(self, kind: type[HotloopError], message: str) -> HotloopError:
        """Return an exception that points here."""
        error = refuse(kind, self.origin, message)
        error.origin = self.origin  # type: ignore[attr-defined]  # it points at the source already
        return error

    def refuse(self, kind: type[HotloopError], message: str) -> NoReturn:
        """Raise an exception that points here."""
        raise self.error(kind, message) from None
