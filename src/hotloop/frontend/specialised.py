"""`Specialised`: a function traced and compiled for one kind of arguments."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Sequence
from os.path import basename
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hotloop import _runner
from hotloop._graph import Node, Scalar
from hotloop.compiler import Options, compile_graph
from hotloop.errors import InternalError, RangeError, TraceError, TruthError
from hotloop.frontend.array import Array
from hotloop.frontend.control import Checked
from hotloop.frontend.place import KINDS
from hotloop.frontend.reading import Reading
from hotloop.frontend.structure import Structure, flatten
from hotloop.frontend.target import chosen_arch
from hotloop.ir.graph import exact_numbers, user_line
from hotloop.passes.check import raise_fault

if TYPE_CHECKING:
    from hotloop.compiler import Compiled
    from hotloop.image import Symbol

# A result as it is: a number, text, ...
_CONSTANTS = (bool, int, float, complex, str, bytes, enum.Enum, np.generic, Reading, type(None), type(Ellipsis))
_Slot = tuple[str, int] | tuple[str, int, tuple[int, ...]]


class Call(NamedTuple):
    """What a function is traced with: (traced) arguments, the inputs among them, and their names."""

    positional: tuple[Any, ...]
    keyword: dict[str, Any]
    inputs: list[Node]


class _Constant(NamedTuple):
    """A leaf of a result that does not depend on the arguments."""

    value: Any

    def give(self) -> Any:
        return self.value.copy() if isinstance(self.value, np.ndarray) else self.value


class Specialised:
    """A function compiled for one kind of arguments.

    run: takes the leaves of the arguments, returns the numbers and arrays that the program computed.
    direct: (program, inputs, outputs, single) if the result is one number or array or a tuple of such, so
    that a call can do without Python; else None.
    """

    def __init__(self, compiled: Compiled | None, call: Call, names: Sequence[str], outputs: Sequence[Node], leaves: list[Any],
                 structure: Structure, kept: object) -> None:  # fmt: skip
        self.compiled = compiled
        self.outputs = outputs
        self._leaves = leaves
        self._structure = structure
        self._kept = kept  # what the key of this specialisation identifies by address
        self._names = names
        self._inputs = call.inputs
        computed = not any(isinstance(leaf, _Constant) for leaf in leaves)
        self._bare = computed and structure.kind is None
        self._tuple = computed and structure.kind is tuple and not structure.children
        self.direct: tuple[Any, ...] | None = None
        self.run: Callable[..., Sequence[Any]] = _nothing
        if compiled is not None:
            self._prepare(compiled)

    def _prepare(self, compiled: Compiled) -> None:
        inputs = [_symbol(compiled, node) for node in self._inputs]
        outputs = [_symbol(compiled, node) for node in self.outputs]
        if compiled.program is None:
            self.run = _interpreted(compiled, inputs, outputs, self._refuse)
        elif compiled.fault is not None:
            slots = [_slot(symbol) for symbol in (*outputs, compiled.fault)]
            function = _runner.Function(compiled.program, map(_slot, inputs), slots, False, self._refuse)
            self.run = _checked(function, compiled.faults or [])
        else:
            slots = [_slot(symbol) for symbol in outputs]
            self.run = _runner.Function(compiled.program, map(_slot, inputs), slots, False, self._refuse)
            if self._bare or self._tuple:
                self.direct = (compiled.program, [_slot(symbol) for symbol in inputs], slots, self._bare)

    def __call__(self, leaves: Sequence[Any]) -> Any:  # Any: what the user's function returns
        """Run with the leaves of the arguments and return the result in the function's containers."""
        found = self.run(*leaves)
        if self._bare:
            return found[0]
        if self._tuple:
            return tuple(found)
        return self._structure.unflatten([leaf.give() if isinstance(leaf, _Constant) else found[leaf] for leaf in self._leaves])

    def _refuse(self, *leaves: Any) -> Any:
        """Say which argument does not fit: keys are equal, so only integers can be too large."""
        for leaf, name in zip(leaves, self._names, strict=True):
            if type(leaf) is int and not -(1 << 63) <= leaf < 1 << 63:
                raise RangeError(f"{user_line()}: argument {name}: {leaf} does not fit int64.")
        raise InternalError(f"arguments {leaves!r} do not fit the program that was chosen for them.")


def _nothing(*leaves: Any) -> Sequence[Any]:
    """Run a program that computes nothing: all results are constants."""
    return ()


def _slot(symbol: Symbol) -> _Slot:
    kind = KINDS[symbol.dtype.name]
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
    start = time.perf_counter()
    name = getattr(function, "__name__", repr(function))
    with exact_numbers():
        call = make_call()
        result = _traced(function, call, name)
        checked = isinstance(result, Checked)
        result = result.content if isinstance(result, Checked) else result
        leaves, structure = flatten(result, f"the result of {name}()")
        outputs: list[Node] = []
        template = [_template(leaf, outputs, path) for leaf, path in zip(leaves, structure.paths("result"), strict=True)]
    compiled = None
    if outputs:
        chosen = Options(arch=chosen_arch(options.arch), fast=options.fast, checked=options.checked or checked)
        compiled = compile_graph([*outputs, *call.inputs], chosen, time.perf_counter() - start)
    names = [str(node.attr.name) for node in call.inputs]
    return Specialised(compiled, call, names, outputs, template, structure, kept)


def _traced(function: Callable[..., Any], call: Call, name: str) -> Any:
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


def _template(leaf: Any, outputs: list[Node], path: str) -> Any:  # Any: an int, the number of an output, or a _Constant
    if isinstance(leaf, (Scalar, Array)):
        node = leaf.node
        if not node.is_const:
            outputs.append(node)
            return len(outputs) - 1
        value = np.array(node.attr.value, node.dtype.numpy)
        return _Constant(value if value.shape else value.item())
    if isinstance(leaf, np.ndarray):
        return _Constant(leaf.copy())
    if isinstance(leaf, _CONSTANTS):
        return _Constant(leaf)
    raise TraceError(
        f"{user_line()}: {path} is of type {type(leaf).__name__}, which a jitted function cannot return. "
        "Return numbers, arrays, text, None, and lists, tuples, dicts or dataclasses of them."
    )
