"""A control program built by each peer: traced or compiled, with its inputs in place, ready to be called."""

from __future__ import annotations

import ctypes
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from benchmarks import measure, peers
from benchmarks.measure import Timing
from benchmarks.programs.program import PLAIN, Program, Scalar, Space

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Side:
    """One peer's version of a program.

    `evaluate` writes inputs, runs and reads results; `call` is one call from Python with the inputs in
    place; `many` runs n steps natively, and is None where the peer cannot; `size` is bytes of code.
    """

    evaluate: Callable[[Array], Array]
    call: Callable[[], object]
    many: Callable[[int], object] | None = None
    size: int | None = None
    keep: list[object] = field(default_factory=list)


Build = Callable[[Program], Side]
T = TypeVar("T")


def attempt(label: str, build: Callable[[], T]) -> T | None:
    """Build, and check, one side; a peer that fails is reported and left out, hotloop itself never is."""
    if "hotloop" in label:
        return build()
    try:
        return build()
    except Exception as fault:  # peers raise whatever they like
        measure.say(f"    {label}: left out, {type(fault).__name__}: {str(fault)[:300]}")
        return None


def measured(found: Mapping[str, Side], *, repeats: int, sample_s: float = 0.001) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """Time calls and native steps of all sides, all taking turns: a call and its step see the same machine."""
    loops = {("call", label): measure.calls(side.call) for label, side in found.items()}
    loops |= {("step", label): side.many for label, side in found.items() if side.many}
    timed = measure.interleaved(loops, repeats=repeats, sample_s=sample_s)
    calls, steps = ({label: one for (of, label), one in timed.items() if of == kind} for kind in ("call", "step"))
    return calls, steps


def table(
    calls: Mapping[str, Timing], steps: Mapping[str, Timing], firsts: Mapping[str, Timing] | None = None, *, own: str = "hotloop"
) -> str:
    """Lay out what was measured of each side, with the step of `own` as 1."""
    unit = steps[own].ns if own in steps else None
    rows = []
    for label, call in calls.items():
        step = steps.get(label)
        first = [firsts[label].ms] if firsts else []
        native = [step.ns, percent(step)] if step else [None, ""]
        rows.append([label, *first, call.us, percent(call), *native, f"{step.ns / unit:.2f}" if step and unit else "-"])
    heads = ["", *(["first ms"] if firsts else []), "call us", "spread", "step ns", "spread", "x hotloop"]
    return measure.table(heads, rows)


def percent(found: Timing) -> str:
    """Write a spread in percent of the median."""
    return f"{100 * found.spread:.0f} %"


# ---------------------------------------------------------------------------------- Python and NumPy


def python(program: Program) -> Side:
    """The generic step on Python floats."""
    groups = program.groups([float(x) for x in program.flat])
    return Side(program.oracle, functools.partial(program.step, PLAIN, **groups))


def _numpy_array(x: Any) -> Array:
    return np.array(x, np.float32)


NUMPY = types.SimpleNamespace(
    array=_numpy_array,
    concat=np.concatenate,
    convolve=np.convolve,
    sin=np.sin,
    cos=np.cos,
    sqrt=np.sqrt,
    atan2=np.arctan2,
    tanh=np.tanh,
    minimum=np.minimum,
    maximum=np.maximum,
)


def numpy(program: Program) -> Side:
    """The step on small NumPy arrays of float32."""
    assert program.arrays
    arrays = program.arrays

    def groups(x: Array) -> dict[str, Array]:
        return {name: np.array(group, np.float32) for name, group in program.groups(x).items()}

    def evaluate(x: Array) -> Array:
        return np.concatenate([np.ravel(part) for part in arrays(NUMPY, **groups(x))])

    return Side(evaluate, functools.partial(arrays, NUMPY, **groups(program.flat)))


# ------------------------------------------------------------------------------------------- C, Numba


def _outputs(program: Program) -> int:
    return len(program.oracle(program.flat))


def c(program: Program, flags: Sequence[str] = (), compiler: tuple[str, ...] | None = None) -> Side:
    """The step by hand in C."""
    return native_side(peers.native(peers.library(program.c, flags, compiler=compiler), program.flat, _outputs(program)))


def native_side(step: peers.Native) -> Side:
    """Wrap a C step function."""
    call = step.call()

    def evaluate(x: Array) -> Array:
        step.x[:] = x
        call()
        return step.out.copy()

    return Side(evaluate, call, step.many(), keep=[step])


def numba(program: Program) -> Side:
    """The step in loops, compiled by Numba (strict floats, no check for division by zero)."""
    from numba import njit

    loops = program.loops
    fresh = types.FunctionType(loops.__code__, loops.__globals__)  # a new function: nothing of an earlier compilation is reused
    return numba_side(njit(error_model="numpy")(fresh), program.flat, _outputs(program))


def numba_side(compiled: Any, x: Array, outputs: int) -> Side:
    """Wrap a step(x, out) that Numba compiles."""
    out = np.zeros(outputs, np.float32)

    def evaluate(given: Array) -> Array:
        compiled(given, out)
        return out.copy()

    return Side(evaluate, functools.partial(compiled, x, out), _numba_many(compiled, x, out))


def _numba_many(compiled: Any, x: Array, out: Array) -> Callable[[int], object]:
    """Prepare a C-callable form of the step; it is compiled when it is first run, so not in the time to a first result."""
    from numba import carray, cfunc
    from numba import types as nb

    inputs, outputs = len(x), len(out)

    def step(a: Any, b: Any) -> None:
        compiled(carray(a, (inputs,)), carray(b, (outputs,)))

    @functools.cache
    def many() -> Callable[[int], object]:
        pointer = nb.CPointer(nb.float32)
        function = cfunc(nb.void(pointer, pointer), error_model="numpy")(step)
        return peers.Native(function.address, x, out, function).many()

    return lambda n: many()(n)


# ----------------------------------------------------------------------------------------------- JAX


def jax(program: Program) -> Side:
    """The step under jax.jit, with arrays where the program has that form and a native loop where it repeats."""
    import jax
    import jax.numpy as jnp

    def together(body: Callable[..., Sequence[Scalar]]) -> Callable[[Any, Any], Any]:
        return lambda _, carried: tuple(body(*carried))

    def repeat(count: int, body: Callable[..., Sequence[Scalar]], carried: Sequence[Scalar]) -> Sequence[Scalar]:
        return tuple(jax.lax.fori_loop(0, count, together(body), tuple(carried)))

    def grad(f: Callable[..., Scalar], xs: Sequence[Scalar]) -> Sequence[Scalar]:
        return tuple(jax.grad(f, tuple(range(len(xs))))(*xs))

    array = functools.partial(jnp.array, dtype="float32")
    space = Space("JAX", jnp.sin, jnp.cos, jnp.sqrt, jnp.arctan2, jnp.tanh, jnp.minimum, jnp.maximum, grad, repeat, array, jnp.concatenate)

    def step(x: Any) -> Any:
        if program.arrays:
            groups = {name: jnp.stack(group) for name, group in program.groups(x).items()}
            return jnp.concatenate([jnp.ravel(part) for part in program.arrays(space, **groups)])
        return jnp.stack([jnp.asarray(y, jnp.float32) for y in program.step(space, **program.groups(x))])

    compiled = jax.jit(step)
    inputs = jnp.asarray(program.flat)
    return Side(lambda x: np.asarray(compiled(x)), lambda: compiled(inputs).block_until_ready())


# -------------------------------------------------------------------------------------------- CasADi


def _casadi_function(program: Program) -> Any:
    import casadi as ca

    def grad(f: Callable[..., Scalar], xs: Sequence[Scalar]) -> Sequence[Scalar]:
        symbols = [ca.SX.sym(f"x{i}") for i in range(len(xs))]  # CasADi differentiates by symbols only
        slopes = ca.gradient(f(*symbols), ca.vertcat(*symbols))
        return list(ca.vertsplit(ca.substitute(slopes, ca.vertcat(*symbols), ca.vertcat(*xs))))

    space = Space("CasADi", ca.sin, ca.cos, ca.sqrt, ca.atan2, ca.tanh, ca.fmin, ca.fmax, grad)
    x = ca.SX.sym("x", len(program.flat))
    outputs = program.step(space, **program.groups([x[i] for i in range(x.numel())]))
    return ca.Function("step", [x], [ca.densify(ca.vertcat(*outputs))])


def casadi(program: Program, flags: Sequence[str] = (), compiler: tuple[str, ...] | None = None) -> Side:
    """CasADi's SX, written as C with float as its real type, compiled with -O3 -march=native."""
    call, pointers, out, x = casadi_step(_casadi_function(program), program.flat, flags, compiler)

    def evaluate(given: Array) -> Array:
        x[:] = given
        call()
        return out.copy()

    return Side(evaluate, call, peers.casadi_many(call.func, pointers), keep=[out])


def casadi_step(
    function: Any,
    x: Array,
    flags: Sequence[str],
    compiler: tuple[str, ...] | None,
    limit_s: float = 300,
) -> tuple[functools.partial[int], tuple[Any, ...], Array, Array]:
    """Write a CasADi function of one argument as C and compile it.

    Returns the call with everything in place, its pointers, its result array and its input array.
    """
    import casadi as ca

    generator = ca.CodeGenerator("step.c", {"casadi_real": "float"})
    generator.add(function)
    step = peers.library(generator.dump(), flags, compiler=compiler, limit_s=limit_s).step
    out = np.zeros(function.nnz_out(0), np.float32)
    arguments = (ctypes.c_void_p * max(1, function.sz_arg()))(x.ctypes.data)
    results = (ctypes.c_void_p * max(1, function.sz_res()))(out.ctypes.data)
    integers, work = np.zeros(function.sz_iw() + 1, np.int64), np.zeros(function.sz_w() + 1, np.float32)
    vars(step)["kept"] = (x, out, integers, work)  # as long as the function lives
    pointers = (arguments, results, ctypes.c_void_p(integers.ctypes.data), ctypes.c_void_p(work.ctypes.data))
    return functools.partial(step, *pointers, 0), pointers, out, x


def casadi_vm(program: Program) -> Side:
    """CasADi's own interpreter of the SX function, in doubles, called through its buffer: its cheapest call."""
    function = _casadi_function(program)
    x, out = program.flat.astype(float), np.zeros(function.nnz_out(0))
    buffer, trigger = function.buffer()
    buffer.set_arg(0, x.data)
    buffer.set_res(0, out.data)

    def evaluate(given: Array) -> Array:
        x[:] = given
        trigger()
        return out.copy()

    return Side(evaluate, trigger, keep=[x, out, buffer, function])


# -------------------------------------------------------------------------------------------- Copapy


def copapy(program: Program) -> Side:
    """The step traced by Copapy."""
    import copapy as cp

    def tanh(x: Scalar) -> Scalar:
        return 1.0 - 2.0 / (cp.exp(2.0 * x) + 1.0)

    least, most = (cp.minimum, cp.maximum) if hasattr(cp, "minimum") else (cp.min, cp.max)  # renamed in 2026
    space = Space("Copapy", cp.sin, cp.cos, cp.sqrt, cp.atan2, tanh, least, most, lambda f, xs: cp.grad(f(*xs), xs))
    values = [cp.value(float(x)) for x in program.flat]
    outputs = list(program.step(space, **program.groups(values)))
    target = cp.Target()
    target.compile(outputs)

    def evaluate(x: Array) -> Array:
        target.write_value(values, x.tolist())
        target.run()
        return np.array(target.read_value(outputs))

    return Side(evaluate, target.run, peers.copapy_many(target))


# ------------------------------------------------------------------------------------------- hotloop


def hotloop_input(data: Array, name: str) -> Any:
    """Return an input vector of hotloop, written at run time."""
    import hotloop as hl

    return hl.vector.input(data, name=name)


def _hotloop_space(looped: bool) -> Space:
    import hotloop as hl

    def loop(count: int, body: Callable[..., Sequence[Scalar]], carried: Sequence[Scalar]) -> Sequence[Scalar]:
        return list(hl.loop(count, lambda *xs: tuple(body(*xs)), *carried))

    space = Space("hotloop", hl.sin, hl.cos, hl.sqrt, hl.atan2, hl.tanh, hl.minimum, hl.maximum, lambda f, xs: hl.grad(f(*xs), xs))
    return Space(**{name: getattr(space, name) for name in Space.__slots__} | {"repeat": loop}) if looped else space


def hotloop(program: Program, *, fast: bool = False, looped: bool = False) -> Side:
    """The step traced on scalars by hotloop; looped: repetitions are one native loop."""
    import hotloop as hl

    values = [hl.value(float(x)) for x in program.flat]
    outputs = list(program.step(_hotloop_space(looped), **program.groups(values)))
    target = hl.Target(fast=fast)
    traced = [y for y in outputs if isinstance(y, hl.value)]
    target.compile(traced)

    def evaluate(x: Array) -> Array:
        target.write_value(values, x)
        target.run()
        return np.array([target.read_value(y) if isinstance(y, hl.value) else y for y in outputs], np.float32)

    return Side(evaluate, target.run, target.run_many, keep=[values])


def _hotloop_tensor(x: Any) -> Any:
    import hotloop as hl

    one_axis = x.ndim == 1 if isinstance(x, np.ndarray) else not isinstance(x[0], list)
    return hl.vector(x, dtype="float32") if one_axis else hl.tensor(x, dtype="float32")


def hotloop_arrays(program: Program, *, fast: bool = False) -> Side:
    """The step on vectors and matrices, traced by hotloop."""
    import hotloop as hl

    assert program.arrays
    functions = ("concat", "sin", "cos", "sqrt", "atan2", "tanh", "minimum", "maximum")
    space = types.SimpleNamespace(array=_hotloop_tensor, convolve=None, **{name: getattr(hl, name) for name in functions})
    groups = {name: hotloop_input(np.array(group, np.float32), name) for name, group in program.groups(program.flat).items()}
    outputs = program.arrays(space, **groups)
    target = hl.Target(fast=fast)
    target.compile(outputs)

    def evaluate(x: Array) -> Array:
        for name, group in program.groups(x).items():
            target.write_value(groups[name], np.array(group, np.float32))
        target.run()
        return np.concatenate([np.ravel(numbers(target.read_value(y))) for y in outputs])

    return Side(evaluate, target.run, target.run_many)


def numbers(x: Any) -> Array:
    """Return what read_value gave as a float32 array."""
    return np.asarray(x if isinstance(x, np.ndarray) else list(x) if np.ndim(x) else x, np.float32)
