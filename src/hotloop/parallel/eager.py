"""`PRIMITIVES`: each primitive as a function that can be called by itself, on the current place."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from hotloop.parallel import here, places
from hotloop.parallel.function import cu, cu_function
from hotloop.parallel.primitive import Primitive

_CONSTANTS = (bool, str)  # arguments that choose what is compiled


def _run(primitive: Primitive, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    place = places.resolve(keywords.pop("target_place", None))
    if place.interpreted:
        return here.run(here.DEFINITIONS[primitive.name], arguments, keywords)
    given = [*arguments, *keywords.values()]
    fixed = tuple([repr(value) if isinstance(value, _CONSTANTS) else None for value in given])
    function = _caller(primitive.name, fixed, tuple(keywords))
    return function.call([value for value, text in zip(given, fixed, strict=True) if text is None], place)


@lru_cache(maxsize=1024)
def _caller(name: str, fixed: tuple[str | None, ...], keywords: tuple[str, ...]) -> cu_function:
    """Return a @cu function that calls a primitive; constants are in its text."""
    names = [f"x{number}" for number in range(len(fixed))]
    values = [variable if text is None else text for variable, text in zip(names, fixed, strict=True)]
    first = len(values) - len(keywords)
    passed = [*values[:first], *[f"{keyword}={value}" for keyword, value in zip(keywords, values[first:], strict=True)]]
    free = [variable for variable, text in zip(names, fixed, strict=True) if text is None]
    text = f"lambda {', '.join(free)}: {name}({', '.join(passed)})"
    return cu(eval(text, {}), source=text)  # type: ignore[no-any-return]


PRIMITIVES = {name: Primitive(name, definition, _run) for name, definition in here.DEFINITIONS.items()}
