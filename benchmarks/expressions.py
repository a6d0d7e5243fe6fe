"""Fused array expressions, written once as text and built by each peer: what the user writes, how it is compiled and called."""

from __future__ import annotations

import ctypes
import functools
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks import peers

Array = np.ndarray[Any, Any]
DTYPES = ("float32", "float64")
_NUMBER = re.compile(r"\b\d+(?:\.\d+)?\b")


@dataclass(frozen=True, slots=True)
class Expression:
    """An element-wise expression of arrays a, b, c; `reduces`: the result is the sum of its elements."""

    name: str
    text: str
    operands: str
    reduces: bool = False

    @property
    def title(self) -> str:
        """The expression as it is written for arrays."""
        return f"sum({self.text})" if self.reduces else self.text

    def scaled(self, factor: int) -> Expression:
        """Return another expression of the same kind: no cache of any peer has it."""
        return replace(self, text=f"({self.text}) * {factor}")


EXPRESSIONS = (
    Expression("linear", "2 * a + 3 * b", "ab"),
    Expression("sine", "2 * a + 3 * b * sin(c)", "abc"),
    Expression("norm", "sqrt(a * a + b * b + c * c)", "abc"),
    Expression("choice", "where(a > b, a * c, b - c)", "abc"),
    Expression("total", "exp(-a * a) * b", "ab", reduces=True),
)


def oracle(expression: Expression, arrays: Sequence[Array]) -> tuple[Any, float]:
    """Return the result in float64, and the size that errors are held against: of its largest element, or the sum of sizes."""
    names = dict(zip("abc", (x.astype(float) for x in arrays), strict=False))
    elements = eval(expression.text, dict(vars(np)), names)
    if expression.reduces:
        return math.fsum(elements[:1000]) + elements[1000:].sum(), float(np.abs(elements).sum())
    return elements, float(np.abs(elements).max(initial=0.0))


def _same(x: Any) -> Any:
    return x


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to evaluate an expression.

    `define(expression, dtype)` is what a user has written; `build(defined)` gives what is called; `call` and `total`
    are the call as text, with {0} for the operands, where the result is an array and where it is a number; `adapt`
    turns NumPy arrays into operands; `before` sets what the process shares, such as a number of threads.
    """

    package: str
    define: Callable[[Expression, str], Any]
    build: Callable[[Any], Any]
    call: str = "function({0}, out=out)"
    total: str = "function({0})"
    adapt: Callable[[Array], Any] = _same
    before: Callable[[], object] | None = None

    def text(self, expression: Expression) -> str:
        """Return the call of this expression as text."""
        return (self.total if expression.reduces else self.call).format(", ".join(expression.operands))

    def names(self, expression: Expression, arrays: Sequence[Array], out: Array) -> dict[str, Any]:
        """Return what the names in the call stand for, but for the function itself."""
        operands = dict(zip(expression.operands, map(self.adapt, arrays), strict=False))
        last = {"last": self.adapt(np.zeros_like(out))} if "last" in self.text(expression) else {}
        return operands | last | {"out": self.adapt(out), "n": ctypes.c_long(len(out))}


def _written(source: str, space: Mapping[str, Any]) -> types.FunctionType:
    place = dict(space)
    exec(source, place)
    function: types.FunctionType = place["function"]
    return function


def _function(expression: Expression, space: Mapping[str, Any], extra: str = "") -> types.FunctionType:
    """Write the expression as a Python function of arrays."""
    return _written(f"def function({', '.join(expression.operands)}{extra}):\n    return {expression.title}\n", space)


# ----------------------------------------------------------------------------------------- hotloop


def hotloop(*, fast: bool = False, threads: int = 1) -> Peer:
    """The expression under hl.jit, on NumPy arrays, into a given array."""
    import hotloop as hl

    def define(expression: Expression, _: str) -> Any:
        return _function(expression, {name: getattr(hl, name) for name in ("sin", "sqrt", "exp", "where", "sum")})

    def before() -> None:
        hl.set_threads(threads)  # type: ignore[attr-defined, unused-ignore]

    return Peer("hotloop", define, hl.jit(fast=fast) if fast else hl.jit, before=before)


# ------------------------------------------------------------------------------------ NumPy, numexpr


def _linear(a: Array, b: Array, out: Array, spare: Array) -> None:
    np.multiply(a, 2, out=out)
    np.multiply(b, 3, out=spare)
    np.add(out, spare, out=out)


def _sine(a: Array, b: Array, c: Array, out: Array, spare: Array) -> None:
    np.sin(c, out=out)
    np.multiply(out, b, out=out)
    np.multiply(out, 3, out=out)
    np.multiply(a, 2, out=spare)
    np.add(out, spare, out=out)


def _norm(a: Array, b: Array, c: Array, out: Array, spare: Array) -> None:
    np.multiply(a, a, out=out)
    np.multiply(b, b, out=spare)
    np.add(out, spare, out=out)
    np.multiply(c, c, out=spare)
    np.add(out, spare, out=out)
    np.sqrt(out, out=out)


def _choice(a: Array, b: Array, c: Array, out: Array, spare: Array, mask: Array) -> None:
    np.greater(a, b, out=mask)
    np.multiply(a, c, out=spare)
    np.subtract(b, c, out=out)
    np.putmask(out, mask, spare)


def _total(a: Array, b: Array, spare: Array) -> Any:
    np.multiply(a, a, out=spare)
    np.negative(spare, out=spare)
    np.exp(spare, out=spare)
    return np.dot(spare, b)


_STEPS: dict[str, Callable[..., Any]] = {"linear": _linear, "sine": _sine, "norm": _norm, "choice": _choice, "total": _total}


def numpy(largest: int) -> Peer:
    """The expression as NumPy's functions one after the other, into given arrays: no temporary is allocated."""
    spares = {dtype: np.empty(largest, dtype) for dtype in DTYPES}
    mask = np.empty(largest, bool)

    def define(expression: Expression, dtype: str) -> Any:
        steps, choice = _STEPS[expression.name], expression.name == "choice"

        def function(*operands: Array, out: Array | None = None) -> Any:
            n = len(operands[0])
            given = () if out is None else (out,)
            return steps(*operands, *given, spares[dtype][:n], *([mask[:n]] if choice else []))

        return function

    return Peer("numpy", define, _same)


def numexpr() -> Peer:
    """The expression compiled for numexpr's machine once, then run."""
    import numexpr as ne

    kinds = {"float32": float, "float64": np.double}  # numexpr's own names of its types

    def define(expression: Expression, dtype: str) -> Any:
        return expression.title, [(name, kinds[dtype]) for name in expression.operands]

    quietly = "ex_uses_vml=False)"
    return Peer(
        "numexpr", define, lambda defined: ne.NumExpr(*defined), f"function({{0}}, out=out, {quietly}", f"function({{0}}, {quietly}"
    )


# ----------------------------------------------------------------------------------------------- Numba


def _numba_source(expression: Expression, parallel: bool) -> str:
    upper = [name.upper() for name in expression.operands]
    loads = "; ".join(f"{name} = {name.upper()}[i]" for name in expression.operands)
    element = _NUMBER.sub(r"T(\g<0>)", expression.text)
    first, each, last = ("total = T(0)", "total += ", "return total") if expression.reduces else ("", "out[i] = ", "")
    return f"""
def function({", ".join(upper)}{"" if expression.reduces else ", out"}):
    {first}
    for i in {"prange" if parallel else "range"}(len(A)):
        {loads}
        {each}{element}
    {last}
"""


def numba(*, fast: bool = False, parallel: bool = False) -> Peer:
    """The expression as a loop, compiled by Numba for one type; parallel: with prange."""
    from numba import njit, prange

    def choose(mask: Any, x: Any, y: Any) -> Any:
        return x if mask else y

    def define(expression: Expression, dtype: str) -> Any:
        space = {"where": njit(choose), "prange": prange, "T": np.dtype(dtype).type} | {
            name: getattr(math, name) for name in ("sin", "sqrt", "exp")
        }
        return _written(_numba_source(expression, parallel), space)

    build = njit(error_model="numpy", fastmath=fast, parallel=parallel)
    return Peer("numba", define, build, call="function({0}, out)")


# ------------------------------------------------------------------------------------------------- JAX


def jax() -> Peer:
    """The expression under jax.jit; its result goes to the memory of the result before, which is given away."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def define(expression: Expression, _: str) -> Any:
        return _function(expression, vars(jnp), "" if expression.reduces else ", out")

    def build(defined: types.FunctionType) -> Any:
        given = ("out",) if "out" in defined.__code__.co_varnames else ()
        return jax.jit(defined, donate_argnames=given, keep_unused=True)

    call = "function({0}, last).block_until_ready()"
    return Peer("jax", define, build, call=call, total="function({0}).block_until_ready()", adapt=jnp.array)


# --------------------------------------------------------------------------------------------------- C

_C_TYPES: dict[str, tuple[str, Any]] = {"float32": ("float", ctypes.c_float), "float64": ("double", ctypes.c_double)}


def c_source(expression: Expression, dtype: str, pragma: str = "") -> str:
    """Write the expression as a loop in C; tgmath.h makes functions and constants those of the type."""
    kind = _C_TYPES[dtype][0]
    operands = "".join(f"const {kind} *restrict {name.upper()}, " for name in expression.operands)
    loads = " ".join(f"const {kind} {name} = {name.upper()}[i];" for name in expression.operands)
    text = _NUMBER.sub(rf"({kind})\g<0>", expression.text)
    if expression.reduces:
        head, first, each, last = f"{kind} function({operands}long n)", f"{kind} total = 0;", "total +=", "return total;"
    else:
        head, first, each, last = f"void function({operands}{kind} *restrict out, long n)", "", "out[i] =", ""
    return f"""
#include <tgmath.h>
#define where(mask, x, y) ((mask) ? (x) : (y))
{head} {{
    {first}
    {pragma}
    for (long i = 0; i < n; i++) {{ {loads} {each} {text}; }}
    {last}
}}
"""


def c(flags: Sequence[str], *, parallel: bool = False) -> Peer:
    """The expression as a loop in C, called by ctypes with prepared pointers; parallel: with OpenMP."""

    def define(expression: Expression, dtype: str) -> Any:
        pragma = ("#pragma omp parallel for" + " reduction(+:total)" * expression.reduces) if parallel else ""
        return c_source(expression, dtype, pragma), _C_TYPES[dtype][1] if expression.reduces else None

    def build(defined: Any) -> Any:
        source, kind = defined
        built = peers.library(source, flags, compiler=peers.c_compiler(), linked=["-fopenmp"] if parallel else [])
        function = built.function
        function.restype = kind
        return function

    return Peer("numpy", define, build, "function({0}, out, n)", "function({0}, n)", adapt=_pointer)


def _pointer(x: Array) -> ctypes.c_void_p:
    pointer = ctypes.c_void_p(x.ctypes.data)
    vars(pointer)["array"] = x  # as long as the pointer lives
    return pointer


# ---------------------------------------------------------------------------------------------- all

Make = Callable[[], Peer]
ONE_CORE, C_ONE_CORE, C_WIDER = "hotloop, one core", "C, one core", "C AVX-512"


def contenders(cores: int, largest: int) -> dict[str, tuple[str, Make]]:
    """Return the peers for a number of cores by label, each with the package it needs; none is imported before it is made."""
    parallel = cores > 1
    fast, strict = (*peers.FAST, *peers.same_width()), (*peers.QUIET, *peers.same_width())
    everywhere: dict[str, tuple[str, Make]] = {
        "hotloop": ("hotloop", functools.partial(hotloop, threads=cores)),
        "fast": ("hotloop", functools.partial(hotloop, fast=True, threads=cores)),
        "C": ("numpy", functools.partial(c, fast, parallel=parallel)),
        "C strict": ("numpy", functools.partial(c, strict, parallel=parallel)),
        "Numba fast": ("numba", functools.partial(numba, fast=True, parallel=parallel)),
        "JAX": ("jax", jax),
        "numexpr": ("numexpr", numexpr),
    }
    alone: dict[str, tuple[str, Make]] = {"Numba": ("numba", numba), "NumPy": ("numpy", functools.partial(numpy, largest))}
    again: dict[str, tuple[str, Make]] = {ONE_CORE: ("hotloop", hotloop), C_ONE_CORE: ("numpy", functools.partial(c, fast))}
    if peers.wider():
        alone[C_WIDER] = ("numpy", functools.partial(c, peers.FAST))
    return everywhere | (again if parallel else alone)
