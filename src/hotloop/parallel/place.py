"""`Place`: where in the user's source something is computed, for exceptions that point there."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NoReturn

from hotloop.errors import HotloopError
from hotloop.parallel.blame import Origin, refuse

if TYPE_CHECKING:
    from hotloop.parallel.source import Definition


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
