"""Whether compiled functions give what place `here` gives, exceptions too."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.agreement import COMPILED, assert_alike

from hotloop import cu, places
from hotloop.errors import HotloopError
from hotloop.parallel.cuarray import adopt, cuarray
from hotloop.parallel.forms import Ragged

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


def ragged(values: Any, offsets: Any) -> cuarray:
    """Return rows of values, even if all have one length."""
    return adopt(Ragged(values, np.asarray(offsets, np.int64)))


def _outcome(function: Any, arguments: tuple[Any, ...], place: Any) -> Any:
    try:
        return function(*arguments, target_place=place)
    except HotloopError as error:
        return error
