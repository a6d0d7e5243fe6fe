"""`Job`: what the demo found out about one program."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """Figures of one program.

    instructions: stencils that a step executes, None where that depends on data
    seconds: time of one step for each way of running it, hotloop's first
    checked: how its results compare with NumPy's, as a sentence; right says whether they agree
    """

    name: str
    trace_ms: float
    compile_ms: float
    code_bytes: int
    data_bytes: int
    instructions: int | None
    seconds: dict[str, float]
    checked: str
    right: bool


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it, with three digits."""
    for unit, scale in (("ns", 1e9), ("µs", 1e6), ("ms", 1e3)):
        if seconds * scale < 1000:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds:.3g} s"
