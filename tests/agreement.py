"""What all places must agree on: a function's results to the bit, or the kind of its exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hotloop import cu, places
from tests.parallel_programs import assert_alike

COMPILED = (places.sequential, places.openmp)
PLACES = (places.here, *COMPILED)


def agree(function: Callable[..., Any], *arguments: Any, lenient: bool = False) -> Any:
    """Return what a function gives, the same on all places. lenient: plain Python may have met nothing, of no known type."""
    made = cu(function)
    wanted = made(*arguments, target_place=places.here)
    for place in COMPILED:
        found = made(*arguments, target_place=place)
        assert_alike(found, wanted, lenient)
    return found


def all_refuse(function: Callable[..., Any], *arguments: Any, kind: type[Exception], match: str, here: str | None = None) -> None:
    """Expect an exception on all places; `here` is its text in plain Python, where that differs."""
    made = cu(function)
    for place in PLACES:
        with pytest.raises(kind, match=here if here is not None and place is places.here else match):
            made(*arguments, target_place=place)
