"""`Job`: what the demo found out about one program."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """Figures of one program.

    seconds: time of one step for each way of running it, hotloop's first
    checked: how its results compare with NumPy's, as a sentence; right says whether they agree
    """

    name: str
    trace_ms: float
    compile_ms: float
    code_bytes: int
    data_bytes: int
    instructions: int
    seconds: dict[str, float]
    checked: str
    right: bool
