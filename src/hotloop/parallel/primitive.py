"""`Primitive`: a data-parallel operation that can be called by itself, and is known by name inside of `@cu` functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Primitive:
    """One primitive: its plain Python definition, and what calls it on the current place.

    name: by which compiled functions know it.
    """

    def __init__(self, name: str, definition: Callable[..., Any], run: Callable[[Primitive, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        self.name = self.__name__ = name
        self.definition = definition
        self.__doc__ = definition.__doc__
        self.__wrapped_function__ = definition
        self._run = run

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call on the current place."""
        return self._run(self, arguments, keywords)

    def closure(self) -> Any:
        """Return what it is in a compiled function that has it as an argument."""
        from hotloop.parallel.interpreter.captures import primitive  # which imports the kinds of arguments

        return primitive(self.name)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> str:
        return self.name
