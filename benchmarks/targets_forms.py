"""The control programs traced by hotloop for any target: on scalars, with loops, on vectors and matrices."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.programs.program import PLAIN, Program, Space

Traced = Any  # a value, vector or tensor
FUNCTIONS = ("sin", "cos", "sqrt", "atan2", "tanh", "minimum", "maximum")
REPEATED = ("inverse_kinematics", "mpc")


def forms(program: Program) -> list[str]:
    """Return the names of the forms that a program has."""
    return ["scalars", *(["loops"] if program.name in REPEATED else []), *(["arrays"] if program.arrays else [])]


def traced(program: Program, form: str) -> tuple[list[Traced], list[Traced]]:
    """Return inputs and outputs, in the order of the program."""
    return _arrays(program) if form == "arrays" else _scalars(program, form == "loops")


def groups(program: Program, form: str, flat: np.ndarray[Any, Any]) -> list[Any]:
    """Cut flat inputs to those of a form."""
    return [np.asarray(group, np.float32) for group in program.groups(flat).values()] if form == "arrays" else list(flat)


def _scalars(program: Program, repeat: bool) -> tuple[list[Traced], list[Traced]]:
    import hotloop as hl

    def loop(count: int, body: Callable[..., Any], given: Sequence[Any]) -> list[Any]:
        return list(hl.loop(count, lambda *xs: tuple(body(*xs)), *given))

    values = [hl.value(float(x)) for x in program.flat]
    own: dict[str, Any] = {"name": "hotloop", "grad": lambda f, xs: hl.grad(f(*xs), xs)}
    own |= {name: getattr(hl, name) for name in FUNCTIONS} | ({"repeat": loop} if repeat else {})
    space = Space(**{name: getattr(PLAIN, name) for name in Space.__slots__} | own)
    return values, [hl.value(y) if not isinstance(y, hl.value) else y for y in program.step(space, **program.groups(values))]


def _arrays(program: Program) -> tuple[list[Traced], list[Traced]]:
    import hotloop as hl

    def array(x: Any) -> Traced:
        flat = x.ndim == 1 if isinstance(x, np.ndarray) else not isinstance(x[0], list)
        return (hl.vector if flat else hl.tensor)(x, dtype="float32")

    space: Any = types.SimpleNamespace(array=array, convolve=None, concat=hl.concat, **{name: getattr(hl, name) for name in FUNCTIONS})
    inputs = {name: hl.vector.input(np.array(group, np.float32)) for name, group in program.groups(program.flat).items()}
    assert program.arrays is not None
    return list(inputs.values()), list(program.arrays(space, **inputs))
