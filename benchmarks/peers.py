"""What the peers of the benchmarks are built with: which are installed, C compilers, and native loops around C functions."""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

PACKAGES = ("hotloop", "numpy", "copapy", "casadi", "numba", "jax", "ziglang")
ARRAY_PACKAGES = ("hotloop", "numpy", "numexpr", "numba", "jax")

FAST = ("-ffast-math",)
# nothing reads errno or the exception flags: without these gcc would not vectorise sqrt and selections; no result changes
QUIET = ("-fno-math-errno", "-fno-trapping-math")
# CasADi writes C with double constants and double functions whatever its real type is: this is how they become float32
REALLY_FLOAT = ("-fsingle-precision-constant", "-include", "tgmath.h", "-fno-math-errno")


@functools.cache
def installed(name: str) -> bool:
    """Tell whether a peer's package can be imported here."""
    return importlib.util.find_spec(name) is not None


def missing(names: Sequence[str]) -> list[str]:
    """Return those peers of names that are not installed."""
    return [name for name in names if not installed(name)]


# ------------------------------------------------------------------------------------------------ C


class CompileError(RuntimeError):
    """A C compiler refused a benchmark's source, or took longer than it was given."""


@functools.cache
def zig() -> tuple[str, ...] | None:
    """Return the command of PyPI's zig as a C compiler, or None where it is not installed."""
    return (sys.executable, "-m", "ziglang", "cc") if installed("ziglang") else None


@functools.cache
def gcc() -> tuple[str, ...] | None:
    """Return gcc's command, or None where there is none."""
    found = shutil.which("gcc")
    return (found,) if found else None


def c_compiler() -> tuple[str, ...]:
    """Return gcc where there is one, else zig.

    Raises: CompileError where there is neither.
    """
    found = gcc() or zig()
    if not found:
        raise CompileError("no C compiler: neither gcc nor ziglang is installed")
    return found


@functools.cache
def wider() -> bool:
    """Tell whether this machine has AVX-512: vectors twice as wide as those of hotloop's stencils."""
    path = Path("/proc/cpuinfo")
    return path.exists() and "avx512f" in path.read_text()


def same_width() -> tuple[str, ...]:
    """Return the flags that keep a C compiler to vectors as wide as hotloop's."""
    return ("-mno-avx512f",) if wider() else ()


@functools.cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="hotloop-bench-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


_serial = iter(range(1 << 30))


def library(
    source: str,
    flags: Sequence[str] = (),
    *,
    compiler: tuple[str, ...] | None = None,
    level: str = "-O3",
    limit_s: float = 300,
    linked: Sequence[str] = (),
) -> ctypes.CDLL:
    """Compile C to a shared library for this very machine and load it; linked: flags for both steps.

    Raises: CompileError when the compiler fails or needs more than limit_s.
    """
    stem = _folder() / f"unit{next(_serial)}"
    path = stem.with_suffix(".c")
    path.write_text(source)
    output = str(stem.with_suffix(".so"))
    unit, command = str(stem.with_suffix(".o")), list(compiler or c_compiler())
    # Linked without the flags: gcc's -ffast-math would link code that makes the whole process flush denormals.
    steps = (
        [*command, level, "-march=native", "-fPIC", "-c", *flags, *linked, str(path), "-o", unit],
        [*command, "-shared", *linked, unit, "-o", output, "-lm"],
    )
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            raise CompileError(f"not done after {limit_s:g} s") from None
        if done.returncode:
            raise CompileError(done.stderr[:2000])
    return ctypes.CDLL(output)


TURNS = """
typedef void step_t(const float *, float *);
typedef int casadi_t(const float **, float **, long long *, float *, int);
void turns(step_t *step, const float *x, float *out, long n) { while (n-- > 0) step(x, out); }
void turns_casadi(casadi_t *step, const float **x, float **out, long long *iw, float *w, long n) {
    while (n-- > 0) step(x, out, iw, w, 0);
}
"""


@functools.cache
def _turns() -> ctypes.CDLL:
    """The loops in C that repeat a step without Python; their own library, so that nothing is inlined."""
    return library(TURNS)


@dataclass(slots=True)
class Native:
    """A C function `void step(const float *x, float *out)` with arrays of its own to work on."""

    address: int
    x: Array
    out: Array
    keep: object  # what must live as long as the function does

    def call(self) -> Callable[[], object]:
        """Return the cheapest call of it that ctypes has: pointers prepared, nothing converted."""
        function = ctypes.CFUNCTYPE(None)(self.address)
        return functools.partial(function, ctypes.c_void_p(self.x.ctypes.data), ctypes.c_void_p(self.out.ctypes.data))

    def many(self) -> Callable[[int], object]:
        """Return a loop of n steps in C."""
        turns = _turns().turns
        step, x, out = (ctypes.c_void_p(p) for p in (self.address, self.x.ctypes.data, self.out.ctypes.data))
        return lambda n: turns(step, x, out, ctypes.c_long(n))


def native(built: ctypes.CDLL, inputs: Array, outputs: int, name: str = "step") -> Native:
    """Take a step function out of a library."""
    address = ctypes.cast(getattr(built, name), ctypes.c_void_p).value
    assert address
    return Native(address, inputs.astype(np.float32), np.zeros(outputs, np.float32), built)


def casadi_many(function: Any, pointers: Sequence[Any]) -> Callable[[int], object]:
    """Return a loop of n steps in C around a function that CasADi wrote."""
    turns = _turns().turns_casadi
    step = ctypes.cast(function, ctypes.c_void_p)
    return lambda n: turns(step, *pointers, ctypes.c_long(n))


# ------------------------------------------------------------------------------------------- Copapy


def copapy_many(target: Any) -> Callable[[int], object]:
    """Return a loop of n runs of a Copapy target inside its own runner: one stream of many RUN commands."""
    from copapy import _binwrite
    from coparun_module import coparun

    def stream(count: int) -> bytes:
        writer = _binwrite.data_writer(target.sdb.byteorder)
        for _ in range(count):
            writer.write_com(_binwrite.Command.RUN_PROG)
        writer.write_com(_binwrite.Command.END_COM)
        return bytes(writer.get_data())

    long, one, context = stream(1000), stream(1), target._context  # noqa: SLF001 - the peer has no public way

    def run(count: int) -> None:
        for _ in range(count // 1000):
            coparun(context, long)
        for _ in range(count % 1000):
            coparun(context, one)

    return run
