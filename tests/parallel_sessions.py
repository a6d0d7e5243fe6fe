# ruff: noqa: T201, TRY301 - the command line prints
"""Sessions of random programs: whether all places agree on them. For long: `python -m tests.parallel_sessions 0 100000`."""

from __future__ import annotations

import argparse
import faulthandler
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Sequence as Items
from functools import lru_cache
from typing import Any

import numpy as np
from tests.agreement import Unlike, assert_alike
from tests.parallel_programs import Program, Type, random_program

from hotloop import cu, cuarray, places
from hotloop.errors import BoundsError, DivisionByZero, HotloopError, ShapeError, SyntaxRefused, TypeMismatch
from hotloop.parallel.here import folds as here_folds
from hotloop.parallel.here import rows as here_segments
from hotloop.parallel.here import sequences as here_sequences


def outcome(program: Program, place: Any) -> Any:
    """Return what a program gives on a place, or the exception that it raises."""
    try:
        return _function(program.text)(*program.arguments, target_place=place)
    except (HotloopError, IndexError, TypeError) as error:
        return error


@lru_cache(maxsize=4)
def _function(text: str) -> Any:
    variables: dict[str, Any] = {"__name__": "random_program"}
    exec(compile(text, "<random>", "exec"), variables)
    return cu(variables["program"], source=text)


def check(program: Program) -> str:
    """Compare a program on all places; returns "same", "error" for one and the same exception, or "refused".

    Raises: Unlike, and whatever is no error of hotloop's.
    """
    met_nothing.clear()
    wanted, found = outcome(program, places.here), outcome(program, places.sequential)
    verdict = _compared(found, wanted)
    if verdict == "same":
        _assert_types(found, program.types)
    again = outcome(program, places.openmp)
    if isinstance(found, Exception):
        if type(again) is not type(found) or str(again) != str(found):
            raise Unlike(f"openmp: {again!r}, sequential: {found!r}")
    else:
        if isinstance(again, Exception):
            raise Unlike(f"openmp: {again!r}")
        assert_alike(again, found)
    return verdict


def _compared(found: Any, wanted: Any) -> str:
    if isinstance(found, DivisionByZero):
        return "refused"  # by a constant
    if isinstance(found, (SyntaxRefused, TypeMismatch)) and not isinstance(wanted, type(found)):
        if any(text in str(found) for text in REFUSED):
            return "refused"
        raise Unlike(f"compiler: {type(found).__name__}: {found}")
    if isinstance(wanted, TypeError):
        return "untyped"  # plain Python takes nothing at all for float64
    if isinstance(wanted, Exception):
        if not isinstance(found, Exception):
            return "lazy"  # what nothing reads is not computed
        of_bounds = isinstance(found, (BoundsError, ShapeError)) and isinstance(wanted, (IndexError, ShapeError))
        if type(found) is not type(wanted) and not of_bounds:  # of two of them either may come first
            raise Unlike(f"{found!r} is not {wanted!r}")
        return "error"
    try:
        if isinstance(found, Exception):
            raise Unlike(f"compiled: {type(found).__name__}: {found}")
        assert_alike(found, wanted, lenient=True)
    except Unlike:
        if met_nothing:
            return "untyped"
        raise
    return "same"


met_nothing: list[bool] = []  # whether plain Python met a sequence of nothing, whose type it cannot know


def _watching(collected: Callable[..., Any]) -> Callable[..., Any]:
    def watching(results: Any, empty: Any) -> Any:
        found = list(results)
        if not found:
            met_nothing.append(True)
        return collected(found, empty)

    return watching


for _module in (here_folds, here_segments, here_sequences):
    _module.collected = _watching(_module.collected)  # type: ignore[attr-defined]


def _assert_types(found: Any, types: Items[Type]) -> None:
    for value, kind in zip(found if len(types) > 1 else [found], types, strict=True):
        given = value.dtype if isinstance(value, cuarray) else value
        if kind is not None and not _is_of(given, kind):
            raise Unlike(f"{value!r} is not of type {kind}")


def _is_of(given: Any, kind: Type) -> bool:
    if isinstance(kind, str):
        return str(given) == kind if isinstance(given, np.dtype) else type(given).__name__ == kind.rstrip("3264")
    if kind[0] == "tuple":
        return all(_is_of(part, inner) for part, inner in zip(given, kind[1], strict=True))
    return kind[0] != "seq" or _is_of(given, kind[1])


REFUSED = (
    "needs memory for each element", "sequences hold numbers and tuples",
    "must not be able to fail", "loops inside of maps and comprehensions carry numbers",
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- long runs


def _run(first: int, last: int) -> None:
    """Check programs in this process; prints each failure, and each seed before it is tried."""
    for seed in range(first, last):
        print(seed, end="\r", flush=True)
        faulthandler.dump_traceback_later(60, exit=True)
        program = random_program(seed)
        try:
            check(program)
        except Exception as error:
            print(f"seed {seed}: {type(error).__name__}: {error}\n{program.text}{program.arguments}\n", flush=True)
        faulthandler.cancel_dump_traceback_later()


def _supervise(first: int, count: int) -> None:
    """Check programs in processes of their own, so that one that crashes is told and does not end the session."""
    end = first + count
    while first < end:
        count = min(200, end - first)
        command = [sys.executable, "-W", "ignore", "-m", "tests.parallel_sessions", "--here", str(first), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        told = [line for line in done.stdout.replace("\r", "\n").split("\n") if line]
        print("\n".join(line for line in told if not line.isdigit()))
        if done.returncode:
            first = int([line for line in told if line.isdigit()][-1])
            print(f"seed {first}: the process ended with {done.returncode}\n{done.stderr[-2000:]}{random_program(first).text}", flush=True)
            first += 1
        else:
            first += count


def main() -> None:
    """Check random programs for long."""
    parser = argparse.ArgumentParser(description="Check that all places agree on random data-parallel programs.")
    parser.add_argument("first", type=int, help="the first seed")
    parser.add_argument("count", type=int, help="how many programs")
    parser.add_argument("--here", action="store_true", help="in this process, which may crash")
    given = parser.parse_args()
    if given.here:
        _run(given.first, given.first + given.count)
    else:
        _supervise(given.first, given.count)


if __name__ == "__main__":
    main()
