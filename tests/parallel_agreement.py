"""Whether compiled functions give what place `here` gives, exceptions too."""

from __future__ import annotations

from typing import Any

from tests.agreement import COMPILED
from tests.parallel_programs import assert_alike

from hotloop import cu, places
from hotloop.errors import HotloopError

SIZES = (0, 1, 2, 31, 32, 33, 1000)  # around the width of vectors and of the partial results of reductions


def agree(function: Any, *arguments: Any) -> Any:
    """Assert that a function gives the same on all places, or the same kind of exception; return what it gives."""
    compiled = cu(function)
    wanted = _outcome(compiled, arguments, places.here)
    for place in COMPILED:
        found = _outcome(compiled, arguments, place)
        if isinstance(wanted, Exception) or isinstance(found, Exception):
            assert type(found) is type(wanted), (found, wanted)
        else:
            assert_alike(found, wanted)
    return found


def _outcome(function: Any, arguments: tuple[Any, ...], place: Any) -> Any:
    try:
        return function(*arguments, target_place=place)
    except HotloopError as error:
        return error
