# ruff: noqa: F821 - names that are defined nowhere are primitives, as in any @cu function
# mypy: ignore-errors
"""Primitives written in the language itself: read by the interpreter as any `@cu` function, never run by Python."""

from __future__ import annotations

from types import FunctionType


def adjacent_difference(x):
    return [x[i] - x[i - 1] if i > 0 else x[i] for i in indices(x)]


LIBRARY: dict[str, FunctionType] = {function.__name__: function for function in (adjacent_difference,)}
