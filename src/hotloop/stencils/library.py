"""Finds the stencil library for this machine, or for a named target."""

from __future__ import annotations

import os
from functools import cache

from hotloop.errors import TargetError
from hotloop.stencils.format import Library, load

DATA = os.path.join(os.path.dirname(__file__), "data")


@cache
def available() -> tuple[str, ...]:
    """Return the names of the targets whose stencils are installed."""
    return tuple(sorted(name.removesuffix(".stencils") for name in os.listdir(DATA) if name.endswith(".stencils")))


@cache
def library(target: str) -> Library:
    """Return the stencils of a target. Raises TargetError if there are none."""
    path = os.path.join(DATA, f"{target}.stencils")
    if not os.path.exists(path):
        known = ", ".join(available()) or "none; build them with `pip install .`"
        raise TargetError(f"no stencils for target {target!r}. Installed: {known}.")
    return load(path)
