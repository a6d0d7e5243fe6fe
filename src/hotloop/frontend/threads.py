"""How many threads the loops over arrays of jitted functions run on."""

from __future__ import annotations

import operator

from hotloop import _runner
from hotloop.errors import RangeError, TypeMismatch
from hotloop.ir.graph import user_line

_MOST = 256  # as the runner has it


def set_threads(count: int) -> None:
    """Let jitted functions of large arrays run on `count` threads, the calling one included; from the next call on.

    The default is the number of processors that this process may use, or the environment variable
    HOTLOOP_NUM_THREADS. Results have the same bits for every count. Small arrays stay on one thread.
    Raises: TypeMismatch, RangeError below 1.
    """
    try:
        number = operator.index(count)
    except TypeError:
        raise TypeMismatch(f"{user_line()}: a number of threads is an int, not {type(count).__name__} {count!r}.") from None
    try:
        _runner.set_threads(number)
    except ValueError:
        raise RangeError(f"{user_line()}: {number} threads: from 1 to {_MOST} can run, the calling one included.") from None


def get_threads() -> int:
    """Return how many threads jitted functions of large arrays run on."""
    return _runner.get_threads()


__all__ = ["get_threads", "set_threads"]
