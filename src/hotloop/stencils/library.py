"""Finds the stencil library for this machine, or for a named target."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hotloop.errors import TargetError
from hotloop.stencils.format import Library, load

DATA = Path(__file__).parent / "data"


def available() -> list[str]:
    """Return the names of the targets whose stencils are installed."""
    return sorted(path.stem for path in DATA.glob("*.stencils"))


@cache
def library(target: str) -> Library:
    """Return the stencils of a target. Raises TargetError if there are none."""
    path = DATA / f"{target}.stencils"
    if not path.exists():
        known = ", ".join(available()) or "none; build them with `pip install .`"
        raise TargetError(f"no stencils for target {target!r}. Installed: {known}.")
    return load(path)
