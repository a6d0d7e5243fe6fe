"""Place `here`: all primitives defined in plain Python. It is the definition of the language: clear, not fast.

`run` executes a user's function on them; `DEFINITIONS` has them by name, and so has this module: `here.gather(x, i)`.
Sequences are cuarrays, NumPy arrays, lists and ranges, and results cuarrays; a tuple is a tuple. Elements are NumPy scalars,
tuples, and cuarrays for rows. Plain Python learns the type of elements from elements: where there are none, a result has
the type of what it was made from, and an empty list has float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hotloop.parallel.here.running import BUILTINS, DEFINITIONS, rebuilt, run
from hotloop.parallel.here.types import NdIndex

__all__ = ["BUILTINS", "DEFINITIONS", "NdIndex", "rebuilt", "run"]


def __getattr__(name: str) -> Callable[..., Any]:
    """Return the definition of a primitive or a function of numbers."""
    try:
        return DEFINITIONS[name]
    except KeyError:
        raise AttributeError(f"there is no primitive {name!r}.") from None
