"""`Specialised`: a function traced and compiled for one kind of arguments."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from os.path import basename
from typing import TYPE_CHECKING, Any, NamedTuple

from hotloop import _runner
from hotloop._graph import Node
from hotloop.compiler import Options, compile_graph
from hotloop.errors import InternalError, RangeError, TraceError, TruthError
from hotloop.frontend.argument import contiguous
from hotloop.frontend.control import Checked
from hotloop.frontend.results import Results
from hotloop.frontend.target import chosen_arch
from hotloop.ir.graph import exact_numbers, user_line
from hotloop.passes.check import raise_fault

if TYPE_CHECKING:
    from hotloop.compiler import Compiled
    from hotloop.image import Symbol

_Slot = tuple[str, int] | tuple[str, int, tuple[int, ...]]


class Call(NamedTuple):
    """What a function is traced with: (traced) arguments, the inputs among them, and their names."""

    positional: tuple[Any, ...]
    keyword: dict[str, Any]
    inputs: list[Node]


class Traced(NamedTuple):
    """What tracing found: the arguments, the results, whether the function asked to be checked, and the time it took."""

    call: Call
    results: Results
    checked: bool
    seconds: float


class Specialised:
    """A function compiled for one kind of arguments, shapes of arrays included.

    run: takes the leaves of the arguments, returns the numbers and arrays that the program computed.
    direct: (program, inputs, outputs, single) if the result is one number or array or a tuple of such, so
    that a call can do without Python; else None.
    """

    def __init__(self, compiled: Compiled | None, traced: Traced, kept: object) -> None:
        self.compiled = compiled
        self._results = traced.results
        self._kept = kept  # what the key of this specialisation identifies by address
        self._inputs = traced.call.inputs
        self._arrays = any(node.shape for node in self._inputs)
        self.direct: tuple[Any, ...] | None = None
        self.run: Callable[..., Sequence[Any]] = _nothing
        if compiled is not None:
            self._prepare(compiled)

    def _prepare(self, compiled: Compiled) -> None:
        inputs = [_symbol(compiled, node) for node in self._inputs]
        outputs = [_symbol(compiled, node) for node in self._results.nodes]
        if compiled.program is None:
            self.run = _interpreted(compiled, inputs, outputs, self._refuse)
        elif compiled.fault is not None:
            slots = [_slot(symbol) for symbol in (*outputs, compiled.fault)]
            function = _runner.Function(compiled.program, map(_slot, inputs), slots, False, self._refuse)
            self.run = _checked(function, compiled.faults or [])
        else:
            slots = [_slot(symbol) for symbol in outputs]
            self.run = _runner.Function(compiled.program, map(_slot, inputs), slots, False, self._refuse)
            if self._results.bare or self._results.plain:
                self.direct = (compiled.program, [_slot(symbol) for symbol in inputs], slots, self._results.bare)

    def install(self, function: _runner.Function) -> None:
        """Let C run this for calls with exactly its kinds of arguments."""
        assert self.direct is not None
        function.specialise(*self.direct)

    def __call__(self, leaves: Sequence[Any], out: Any = None) -> Any:  # Any: what the user's function returns
        """Run with the leaves of the arguments and return the result in the function's containers, in `out` if given."""
        given = None if out is None else self._results.given(out)
        result = self._results.of(self.run(*(contiguous(leaves) if self._arrays else leaves)))
        return result if given is None else self._results.into(given, result if isinstance(result, tuple) else (result,))

    def _refuse(self, *leaves: Any) -> Any:
        """Say which argument does not fit: keys are equal, so only integers can be too large."""
        refuse_large(leaves, self._inputs)
        raise InternalError(f"arguments {leaves!r} do not fit the program that was chosen for them.")


def refuse_large(leaves: Sequence[Any], inputs: Sequence[Node]) -> None:
    """Raise RangeError for an integer beyond int64."""
    for leaf, node in zip(leaves, inputs, strict=True):
        if type(leaf) is int and not -(1 << 63) <= leaf < 1 << 63:
            raise RangeError(f"{user_line()}: argument {node.attr.name}: {leaf} does not fit int64.")


def _nothing(*leaves: Any) -> Sequence[Any]:
    """Run a program that computes nothing: all results are constants."""
    return ()


def _slot(symbol: Symbol) -> _Slot:
    kind = symbol.dtype.code
    return (kind, symbol.offset, symbol.shape) if symbol.shape else (kind, symbol.offset)


def _symbol(compiled: Compiled, node: Node) -> Symbol:
    symbol = compiled.symbol(node)
    if symbol is None:
        raise InternalError(f"{node!r} has no place in the program.")
    return symbol


def _checked(function: _runner.Function, sites: Sequence[str]) -> Callable[..., Sequence[Any]]:
    def run(*leaves: Any) -> Sequence[Any]:
        found: tuple[Any, ...] = function(*leaves)
        raise_fault(found[-1], sites)
        return found[:-1]

    return run


def _interpreted(
    compiled: Compiled, inputs: Sequence[Symbol], outputs: Sequence[Symbol], refuse: Callable[..., Any]
) -> Callable[..., Sequence[Any]]:  # fmt: skip
    """Return a run by the reference, one thread at a time."""
    lock = threading.Lock()
    written = [compiled.view(symbol) for symbol in inputs]
    read = [compiled.view(symbol) for symbol in outputs]
    code = None if compiled.fault is None else compiled.view(compiled.fault)

    def run(*leaves: Any) -> Sequence[Any]:
        with lock:
            for view, leaf in zip(written, leaves, strict=True):
                try:
                    view[...] = leaf
                except OverflowError:
                    refuse(*leaves)
            compiled.run()
            if code is not None:
                raise_fault(int(code), compiled.faults or [])
            return [view.copy() if view.shape else view.item() for view in read]

    return run


# ------------------------------------------------------------------------------------- tracing


def specialise(function: Callable[..., Any], make_call: Callable[[], Call], options: Options, kept: object) -> Specialised:
    """Trace a function once and compile what it computes.

    Raises: TruthError and whatever the function raises; TraceError for endless recursion and results that
    cannot be returned.
    """
    traced = trace(function, make_call)
    compiled = None
    if traced.results.nodes:
        chosen = Options(arch=chosen_arch(options.arch), fast=options.fast, checked=options.checked or traced.checked)
        compiled = compile_graph([*traced.results.nodes, *traced.call.inputs], chosen, traced.seconds)
    return Specialised(compiled, traced, kept)


def trace(function: Callable[..., Any], make_call: Callable[[], Call]) -> Traced:
    """Run a function once on traced arguments. Raises as `specialise` does."""
    start = time.perf_counter()
    name = getattr(function, "__name__", repr(function))
    with exact_numbers():
        call = make_call()
        result = _run(function, call, name)
        checked = isinstance(result, Checked)
        results = Results(result.content if isinstance(result, Checked) else result, name)
    return Traced(call, results, checked, time.perf_counter() - start)


def _run(function: Callable[..., Any], call: Call, name: str) -> Any:
    try:
        return function(*call.positional, **call.keyword)
    except TruthError as error:
        error.add_note(f"{name}() is traced by hl.jit: what it branches on may also be a static argument, @hl.jit(static=(...)).")
        raise
    except RecursionError:
        code = getattr(function, "__code__", None)
        where = f"{basename(code.co_filename)}:{code.co_firstlineno}" if code is not None else user_line()
        raise TraceError(
            f"{where}: {name}() calls itself without end while it is traced: both sides of hl.iif are traced, so a traced "
            "condition cannot end a recursion. Use hl.while_loop or hl.loop, or make the argument that ends it static."
        ) from None
