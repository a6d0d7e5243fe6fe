"""What a control program is here: one step, written once for every tracer, and by hand for C and Numba."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Scalar = Any  # a float, or a traced scalar of any of the peers
Tensor = Any  # an array of NumPy, JAX or hotloop
Array = np.ndarray[Any, Any]
Body = Callable[..., Sequence[Scalar]]


def unrolled(count: int, body: Body, carried: Sequence[Scalar]) -> Sequence[Scalar]:
    """Repeat the body count times in Python: a tracer sees every turn."""
    for _ in range(count):
        carried = body(*carried)
    return carried


@dataclass(frozen=True, slots=True)
class Space:
    """The functions of one peer that the generic programs are written in.

    `grad(f, xs)` are the derivatives of the scalar f(*xs) by the peer's own differentiation, or None where a program has
    to derive by hand. `array` makes the peer's array of nested lists of scalars, `concat` joins arrays, `convolve` filters
    one; they are None where it has none.
    """

    name: str
    sin: Callable[[Scalar], Scalar]
    cos: Callable[[Scalar], Scalar]
    sqrt: Callable[[Scalar], Scalar]
    atan2: Callable[[Scalar, Scalar], Scalar]
    tanh: Callable[[Scalar], Scalar]
    minimum: Callable[[Scalar, Scalar], Scalar]
    maximum: Callable[[Scalar, Scalar], Scalar]
    grad: Callable[[Callable[..., Scalar], Sequence[Scalar]], Sequence[Scalar]] | None = None
    repeat: Callable[[int, Body, Sequence[Scalar]], Sequence[Scalar]] = unrolled
    array: Callable[[Any], Any] | None = None
    concat: Callable[[Sequence[Any]], Any] | None = None
    convolve: Callable[..., Any] | None = None


PLAIN = Space("Python", math.sin, math.cos, math.sqrt, math.atan2, math.tanh, min, max)

Step = Callable[..., Sequence[Scalar]]


@dataclass(frozen=True, slots=True)
class Program:
    """A control program: its inputs, and one step of it in each form a peer needs.

    `step(m, **groups)` computes on scalars in the space m and returns a flat sequence of scalars.
    `arrays(m, **groups)` is the same on vectors and matrices, for peers that have them.
    `loops(x, out)` is the same on flat float32 arrays, in the Python that Numba compiles.
    `c` is the same by hand in C: `void step(const float *restrict x, float *restrict out)`.
    """

    name: str
    title: str
    inputs: Mapping[str, Sequence[float]]
    step: Step
    loops: Callable[[Array, Array], None]
    c: str
    rtol: float = 2e-5
    atol: float = 2e-6
    arrays: Step | None = None

    @property
    def flat(self) -> Array:
        """All inputs, one after the other, as the C and Numba forms take them."""
        return np.concatenate([np.asarray(group, np.float32) for group in self.inputs.values()])

    def groups(self, flat: Sequence[Scalar] | Array) -> dict[str, list[Scalar]]:
        """Cut a flat sequence into the input groups by name."""
        cut: dict[str, list[Scalar]] = {}
        start = 0
        for name, group in self.inputs.items():
            cut[name] = [flat[start + i] for i in range(len(group))]
            start += len(group)
        return cut

    def oracle(self, flat: Array) -> Array:
        """Compute the step in plain Python floats (float64) from float32 inputs."""
        return np.array(self.step(PLAIN, **self.groups([float(x) for x in flat])))

    def samples(self, count: int) -> list[Array]:
        """Return the inputs as they are, then count - 1 of them shifted by up to two percent."""
        random = np.random.default_rng(7)
        base = self.flat
        shifted = [base * random.uniform(0.98, 1.02, len(base)) for _ in range(count - 1)]
        return [base, *(np.asarray(x, np.float32) for x in shifted)]


def c_array(name: str, numbers: object) -> str:
    """Write numbers as a constant float array in C."""
    values = np.asarray(numbers, np.float32)
    shape = "".join(f"[{n}]" for n in values.shape)
    text = ", ".join(f"{float(x)!r}f" for x in values.flat)
    return f"static const float {name}{shape} = {{{text}}};\n"
