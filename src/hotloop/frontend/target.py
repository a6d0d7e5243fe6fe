"""`Target`: compiles traced values for a machine, runs them, and moves numbers in and out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hotloop._graph import Node, Scalar
from hotloop.compiler import Options, compile_graph, resolve_arch
from hotloop.errors import HotloopError, NotCompiled, NotWritable, ShapeError, TargetError, TypeMismatch
from hotloop.frontend.array import Array
from hotloop.frontend.control import Checked
from hotloop.frontend.memory import Memory, Slot, Views, called, traced, whole
from hotloop.frontend.place import Place, joined
from hotloop.frontend.quaternion import quaternion
from hotloop.frontend.reading import Reading, Rotation
from hotloop.frontend.scalar import value
from hotloop.frontend.structure import Structure, Tree, flatten, parts
from hotloop.image import Image
from hotloop.ir.graph import INPUT, STATE, reachable, user_line
from hotloop.passes.check import raise_fault
from hotloop.passes.widen import widen

if TYPE_CHECKING:
    from hotloop.compiler import Compiled, Report
    from hotloop.runtime.remote import Connection

Seconds = float  # where the parameter `float` hides the type

_OPTIMIZATIONS = ("O0", "O1", "O2", "O3", "Os")
_FLOATS = ("float32", "float64")
_PLANS = 256  # plans of containers that are remembered at once


def chosen_arch(arch: str) -> str:
    """Return the stencil library to compile with: HOTLOOP_TARGET_ARCH, or CP_TARGET_ARCH, says what "native" is.

    Raises: TargetError for what is unknown, or does not run on this machine.
    """
    if not isinstance(arch, str):
        raise TargetError(f"{user_line()}: the architecture is a name, not {arch!r}. Use 'native' or 'reference'.")
    if arch == "native":
        arch = os.environ.get("HOTLOOP_TARGET_ARCH") or os.environ.get("CP_TARGET_ARCH") or "native"
    try:
        return resolve_arch(arch, foreign=True)
    except TargetError as error:
        raise TargetError(f"{user_line()}: {error}") from None


class Target:
    """One machine and the program compiled for it.

    arch: "native" (this machine; the environment variable HOTLOOP_TARGET_ARCH overrides it), "reference" (the
    definition of the language, in NumPy: slow), or another architecture that images are made for.
    optimization: "O0" to "O3"; there is one code generator, so they give the same program.
    float: "float64" computes in float64 what was traced as float32, inputs and states too.
    fast: allow algebra that changes rounding.
    checked: `run` raises where the program divides by zero, overflows, makes a NaN or leaves an array.
    size: make code small rather than fast; the default on microcontrollers.
    remote: a runner to run the program in: "tcp://HOST:PORT", "serial:/dev/ttyUSB0?baud=115200", "subprocess:COMMAND ARGUMENTS",
        a list of arguments, or an open `hotloop.runtime.remote.Connection`; "native" is then what it executes.
    timeout: seconds to wait for its answers.
    emulate: run code for another architecture in an emulator (the extra `emulate`), which also counts instructions.
    """

    def __init__(
        self, arch: str = "native", optimization: str = "O3", *, float: str = "float32", fast: bool = False, checked: bool = False,
        size: bool | None = None, emulate: bool = False, remote: str | Sequence[str] | Connection | None = None, timeout: Seconds = 2.0,
    ) -> None:  # fmt: skip
        for name, given, known in (("optimization", optimization, _OPTIMIZATIONS), ("float", str(float), _FLOATS)):
            if given not in known:
                raise TargetError(f"{user_line()}: {name}={given!r} is unknown. Use one of {', '.join(known)}.")
        self._connection: Connection | None = None
        load: Callable[[Image], Any] | None = _emulated if emulate else None
        if remote is not None:
            self._connection = _connected(remote, timeout)
            load = partial(_remote, self._connection)
            arch = self._connection.target if arch == "native" else arch
        self.options = Options(arch=chosen_arch(arch), fast=bool(fast), checked=bool(checked), size=size, load=load)
        self._wide = str(float) == "float64"
        self._compiled: Compiled | None = None
        self._memory: Memory
        self._plans: dict[int, _Plan] = {}
        self._reads: dict[Node, Callable[[], Any]] = {}
        self._writes: dict[Node, Callable[[Any], None]] = {}
        self._cells: list[Node] = []
        self._traced: tuple[Node, ...] = ()
        self._named: dict[str, Node] = {}
        self._inputs: Views
        self._states: Views
        self._outputs: Views

    # -- programs ---------------------------------------------------------------------------------

    def compile(self, *values: Tree, keep: Sequence[Tree] = ()) -> None:
        """Compile a program that computes `values`; it replaces what this target held before.

        values: traced scalars and arrays, and nested containers of them; numbers and text among them
        are read back as they are; with `hl.checked(...)` among them the program is checked.
        keep: intermediate values that shall be readable too.
        Raises: TypeMismatch, NameConflict, TargetError.
        """
        start = time.perf_counter()
        options = self.options
        if any(isinstance(given, Checked) for given in values):
            values = tuple([given.content if isinstance(given, Checked) else given for given in values])
            options = replace(options, checked=True)
        named = named_nodes(values)
        outputs = list(dict.fromkeys([*named.values(), *named_nodes(keep).values()]))
        if not outputs:
            raise TypeMismatch(f"{user_line()}: there is nothing to compile: no traced value was given, but {_types(values)}.")
        fresh = widen(outputs) if self._wide else {}
        outputs = [fresh.get(node, node) for node in outputs]
        cells = [node for node in reachable(outputs) if node.op is INPUT or node.op is STATE]
        inputs, states = _named_cells(cells, INPUT), _named_cells(cells, STATE)
        compiled = compile_graph(outputs, options, time.perf_counter() - start)
        self._compiled = compiled
        self._cells = cells
        self._traced = tuple(outputs)
        self._named = {key: fresh.get(node, node) for key, node in named.items()}
        self._plans, self._reads, self._writes = {}, {}, {}
        self._memory = Memory(compiled, fresh)
        self._inputs = Views(inputs, self._memory, writable=True)
        self._states = Views(states, self._memory, writable=True)
        self._outputs = Views(named, self._memory, writable=False)
        # an attribute of the instance, so that a call goes straight to C
        self.run = compiled.run if compiled.fault is None else _checked(compiled)  # type: ignore[method-assign]

    def run(self) -> None:
        """Execute the program once. Allocates nothing, takes no lock; the cost above the program is a C call.

        Raises: NotCompiled; with checked=True also DivisionByZero, CheckError, BoundsError.
        """
        raise self._not_compiled()

    def run_many(self, n: int) -> None:
        """Execute the program `n` times with no Python in between; other threads run meanwhile.

        With checked=True Python looks after each run, and the first fault ends the series.
        """
        compiled = self._program()
        if compiled.fault is None:
            compiled.run_many(n)
            return
        for _ in range(n):
            self.run()

    def stream(
        self, inputs: Scalar | Array, rows: Iterable[Any], outputs: Scalar | Array, ahead: int = 1
    ) -> Iterator[np.ndarray[Any, Any]]:  # fmt: skip  # Any: numbers for the inputs
        """For each of `rows` write it to `inputs`, run once, and yield what `outputs` is then, as an array of its own.

        Of a program elsewhere each row is one round trip over the link, and with ahead > 1 that many rows are on their way.
        Raises: as write_value, run and read_value do.
        """
        given, wanted = whole(self._memory.writable(_node(inputs))), whole(self._memory.readable(_node(outputs)))
        program = self._program()
        if program.mirror is None or program.fault is not None:
            for row in rows:
                given.store(given.convert(row))
                self.run()
                yield wanted.numbers().copy()
            return
        writes = ([(given.span[0], given.convert(row).tobytes())] for row in rows)
        for (answer,) in program.mirror.remote.stream(writes, [wanted.span], ahead=ahead):
            yield np.frombuffer(answer, wanted.dtype.numpy).reshape(wanted.shape).copy()

    def reset(self) -> None:
        """Give inputs and states their initial values again."""
        self._program()
        for node in self._cells:
            whole(self._memory.writable(node)).store(node.attr.init)

    def report(self, arch: str | None = None) -> Report:
        """Return what was compiled: instructions, bytes, stack, spills, seconds a pass; str() is a table.

        arch: the same program for another architecture, compiled and run once in the emulator (the extra `emulate`), with the
        instructions that it executed; for "armv7em" also the cycles that they take on Cortex-M4 and M7, estimated.
        Raises: NotCompiled, TargetError.
        """
        compiled = self._program()
        if arch is None:
            return compiled.report
        options = replace(self.options, arch=chosen_arch(arch), load=_emulated)
        other = compile_graph(list(self._named.values()), options)
        other.run()
        other.report.executed = other.program.instructions
        if other.report.target in ("armv7em", "armv7m"):
            from hotloop.runtime.cycles import estimate  # capstone is an extra

            other.report.cycles = tuple([estimate(other.program, core) for core in ("cortex-m4", "cortex-m7")])
        return other.report

    def export(
        self, folder: str | os.PathLike[str], form: str = "blob", *, name: str = "program", arch: str | None = None,
        size: bool | None = None, board: str | None = None, rate: Seconds | None = None,
    ) -> list[Path]:  # fmt: skip
        """Write the program as files for a machine where no hotloop is; return their paths, the main one first.

        form: "elf" (an executable for Linux), "blob" (machine code and a C header for any firmware), "c" (C99 source),
        "firmware" (a complete image for a board) or "mpy" (a module of MicroPython).
        arch: for which architecture; None: that of this target, or of the board. size: None: as this target has it.
        board, rate: for "firmware": the board model, and runs a second.
        Values that were written since it was compiled are not in it: it begins as it was traced. No compiler is run.
        Cost: one compilation, some milliseconds. Raises: NotCompiled, TargetError, RangeError, NameConflict.
        """
        from hotloop.deploy.firmware import board_arch  # not needed to compile and run
        from hotloop.frontend.exporting import export_program

        self._program()
        chosen = self.options.arch if arch is None and board is None else chosen_arch(arch or board_arch(board))
        options = replace(self.options, arch=chosen, size=self.options.size if size is None else size, checked=False)
        return export_program(self._named, options, folder, form, name, board, rate)

    @property
    def compiled(self) -> Compiled:
        """The program that this target holds: its image, memory and instructions. Raises: NotCompiled."""
        return self._program()

    @property
    def traced(self) -> tuple[Node, ...]:
        """The graph that was compiled: one node for each output. Raises: NotCompiled."""
        self._program()
        return self._traced

    @property
    def named(self) -> dict[str, Node]:
        """The outputs by name: keys of the structures that were compiled, joined by dots. Raises: NotCompiled."""
        self._program()
        return dict(self._named)

    def _program(self) -> Compiled:
        if self._compiled is None:
            raise self._not_compiled()
        return self._compiled

    def _not_compiled(self) -> NotCompiled:
        return NotCompiled(f"{user_line()}: this target holds no program yet. Call compile(...) first.")

    # -- numbers ----------------------------------------------------------------------------------

    def read_value(self, variables: Tree) -> Any:  # Any: numbers in the containers of `variables`
        """Return the numbers of a traced value, array, or nested structure of them, after a run.

        Scalars give Python's bool, int or float, containers the same containers; vectors, tensors and
        quaternions a `Reading`: a (nested) list that computes like the array. Inputs and states can be read too.
        Raises: NotCompiled for what the program does not hold.
        """
        if type(variables) is value:
            read = self._reads.get(variables.node)
            if read is None:
                self._program()
                read = self._reads[variables.node] = self._memory.readable(variables.node).reader()
            return read()
        self._program()
        if isinstance(variables, (Scalar, Array)):
            return self._read(variables, "the value")
        plan = self._plan(variables)
        if plan.block is not None:
            return plan.structure.kind(plan.block.read()) if plan.structure.kind is not list else plan.block.read()  # type: ignore[misc]
        paths = plan.structure.paths("value")
        return plan.structure.unflatten([self._read(leaf, path) for leaf, path in zip(plan.leaves, paths, strict=True)])

    def read_array(self, variables: Scalar | Array) -> np.ndarray[Any, Any]:
        """Return the numbers of a traced value as a new NumPy array of its type and shape."""
        self._program()
        if not isinstance(variables, (Scalar, Array)):
            raise TypeMismatch(f"{user_line()}: read_array takes a traced value or array, not {type(variables).__name__}.")
        slot = self._memory.readable(variables.node)
        return np.array(slot.numbers())

    def write_value(self, variables: Tree, data: Tree) -> None:
        """Write inputs and states: a traced value, array, or nested structure of them; data has its shape.

        Lists, tuples, NumPy arrays and numbers are taken. All of it is written or, on an error, none. One
        copy for an array and for a list of values that were made one after another.
        Raises: ShapeError, TypeMismatch, RangeError, NotWritable, NotCompiled.
        """
        if type(variables) is value or isinstance(variables, (Scalar, Array)):
            write = self._writes.get(variables.node)
            if write is None:
                self._program()
                write = self._writes[variables.node] = self._memory.writable(variables.node).write
            write(data)
            return
        self._program()
        plan = self._plan(variables)
        if plan.block is not None and plan.writable:
            plan.block.write(data)
            return
        pieces = _aligned(plan.structure, data, "data")
        slots = [self._writable(leaf, path) for leaf, path in zip(plan.leaves, plan.structure.paths("variables"), strict=True)]
        arrays = [slot.convert(piece) for slot, piece in zip(slots, pieces, strict=True)]
        for slot, array in zip(slots, arrays, strict=True):
            slot.store(array)

    def view(self, variables: Tree) -> np.ndarray[Any, Any]:
        """Return a live NumPy view of a value's memory: no copy. A list of neighbouring values has one view too.

        It shows what the next run writes, and what is written to it is what the next run reads. It stays
        with the program it was taken from. Raises: NotCompiled, ShapeError for values that lie apart.
        """
        self._program()
        if isinstance(variables, (Scalar, Array)):
            return whole(self._memory.readable(variables.node)).view
        block = self._plan(variables).block
        if block is None:
            raise ShapeError(f"{user_line()}: these values do not lie one after another, so they have no view. Use vector.input.")
        return block.view

    @property
    def inputs(self) -> Views:
        """Views of the inputs, by name= or by the traced value itself; assigning writes with all checks."""
        self._program()
        return self._inputs

    @property
    def states(self) -> Views:
        """Views of the states, by name= or by the traced value itself; assigning writes with all checks."""
        self._program()
        return self._states

    @property
    def outputs(self) -> Views:
        """Views of the outputs, by their place in what was compiled: `outputs[0]`, `outputs["pose.x"]`, or by value."""
        self._program()
        return self._outputs

    def read_value_remote(self, variable: Tree) -> Any:  # Any: as read_value
        """Return `read_value(variable)`; kept for programs that were written for Copapy."""
        return self.read_value(variable)

    def _read(self, leaf: Any, path: str) -> Any:
        found = traced(leaf, path)
        if found is None:
            return leaf
        slot = self._memory.readable(found.node)
        if isinstance(found, Scalar) or not found.shape:
            return slot.read()
        return (Rotation if isinstance(found, quaternion) else Reading)(slot.numbers())

    def _writable(self, leaf: Any, path: str) -> Slot:
        found = traced(leaf, path)
        if found is None:
            raise NotWritable(f"{user_line()}: {path} is {leaf!r}; only inputs (hl.value, vector.input, ...) and states can be written.")
        return self._memory.writable(found.node)

    def _plan(self, variables: Tree) -> _Plan:
        """Return how a container is read and written, remembered as long as it holds the same values."""
        plan = self._plans.get(id(variables))
        if plan is not None and plan.holds(variables):
            return plan
        leaves, structure = flatten(_container(variables), "the structure of values")
        block = self._block(leaves, structure)
        cells = block is not None and all(leaf.node.op is INPUT or leaf.node.op is STATE for leaf in leaves)
        plan = _Plan(variables, _snapshot(variables), leaves, structure, block, cells)
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        self._plans[id(variables)] = plan
        return plan

    def _block(self, leaves: list[Any], structure: Structure) -> Place | None:
        """Return one place for a flat list of values that lie one after another."""
        if not leaves or structure.children or structure.kind not in (list, tuple) or not all(type(leaf) is value for leaf in leaves):
            return None
        try:
            slots = [self._memory.readable(leaf.node) for leaf in leaves]
        except NotCompiled:
            return None
        places = [slot for slot in slots if isinstance(slot, Place)]
        return joined(places, (len(places),), lambda i: called(leaves[i].node) if i >= 0 else f"a list of {len(leaves)} values")


def _node(leaf: Scalar | Array) -> Node:
    found = traced(leaf, "what is streamed")
    if found is None:
        raise TypeMismatch(f"{user_line()}: only traced values are streamed, not {leaf!r}.")
    return found.node


def _emulated(image: Image) -> Any:  # Any: what runs, run_many and has memory
    from hotloop.runtime.emulator import Emulated  # unicorn is an extra

    return Emulated(image)


def _connected(remote: str | Sequence[str] | Connection, timeout: Seconds) -> Connection:
    from hotloop.runtime.remote import Connection, connect

    return remote if isinstance(remote, Connection) else connect(remote, timeout)


def _remote(connection: Connection, image: Image) -> Any:  # Any: what runs, run_many and has memory
    from hotloop.runtime.mirror import Mirrored
    from hotloop.runtime.remote import RemoteProgram

    return Mirrored(RemoteProgram(connection, image), image)


def _checked(compiled: Compiled) -> Callable[[], None]:
    """Return a run that raises what went wrong in it."""
    assert compiled.fault is not None
    code, sites, place = compiled.view(compiled.fault), compiled.faults or [], compiled.fault
    mirror = compiled.mirror

    def run() -> None:
        compiled.run()
        if mirror is not None:
            mirror.fetch(place.offset, place.dtype.size)
        if code:
            raise_fault(int(code), sites)

    return run


class _Plan(NamedTuple):
    """How one container is read and written."""

    container: Tree
    snapshot: Any  # its items when the plan was made, or None for one that has to be looked at anew
    leaves: list[Any]
    structure: Structure
    block: Place | None
    writable: bool

    def holds(self, container: Tree) -> bool:
        """Whether the plan is that of this container as it is now."""
        if container is not self.container or self.snapshot is None:
            return False
        if type(container) is tuple:
            return True
        try:  # identical items are equal at once; others must not be asked, for traced values have no truth
            return bool(container == self.snapshot)
        except HotloopError:
            return False


def _snapshot(container: Tree) -> Any:
    flat = all(type(item) is value for item in container) if type(container) in (list, tuple) else False
    return None if not flat else container if type(container) is tuple else list(container)


def _container(variables: Tree) -> Tree:
    """Return a structure as it is, and an iterable as a list."""
    known = isinstance(variables, (str, bytes, np.ndarray, np.generic, Reading)) or parts(variables) is not None
    return variables if known or not isinstance(variables, Iterable) or hasattr(variables, "node") else list(variables)


def _types(values: Sequence[Tree]) -> str:
    return ", ".join(type(given).__name__ for given in values) or "nothing"


def named_nodes(values: Sequence[Tree]) -> dict[str, Node]:
    """Return the traced values of structures by name: keys joined by dots, after the number of the argument if there are several."""
    named: dict[str, Node] = {}
    if isinstance(values, (Scalar, Array)):  # keep=x
        values = [values]
    for i, given in enumerate(values):
        leaves, structure = flatten(_container(given), f"argument {i} of compile()")
        for leaf, path in zip(leaves, structure.paths(), strict=True):
            found = traced(leaf, f"argument {i}{path} of compile()")
            if found is not None:
                name = path.replace("['", ".").replace("']", "").replace("[", ".").replace("]", "").lstrip(".")
                name = f"{i}.{name}".rstrip(".") if len(values) > 1 or not name else name
                named[name] = found.node
    return named


def _named_cells(cells: Iterable[Node], kind: Any) -> dict[str, Node]:
    return {node.attr.name: node for node in cells if node.op is kind and node.attr.name}


def _aligned(structure: Structure, data: Tree, path: str) -> list[Tree]:
    """Return the parts of `data` that belong to the leaves of a structure. Raises: ShapeError."""
    if structure.kind is None:
        return [data]
    if structure.kind is type(None):
        return []
    if structure.keys:
        items = _by_key(structure, data, path)
    else:
        if isinstance(data, (str, bytes, Mapping)) or not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
            raise ShapeError(f"{user_line()}: {path} must have {structure.width} items, but is {type(data).__name__} {data!r}.")
        if len(data) != structure.width:
            raise ShapeError(f"{user_line()}: {path} must have {structure.width} items, but has {len(data)}.")
        items = list(data)
    if not structure.children:
        return items
    steps = structure.steps()
    return [leaf for i, child in enumerate(structure.children) for leaf in _aligned(child, items[i], path + steps[i])]


def _by_key(structure: Structure, data: Tree, path: str) -> list[Tree]:
    """Return the items of a dict, dataclass or namedtuple in the order of the structure's keys."""
    if isinstance(data, Mapping):
        wrong = [key for key in structure.keys if key not in data] or [key for key in data if key not in structure.keys]
        if wrong:
            raise ShapeError(f"{user_line()}: {path} must have the keys {list(structure.keys)}, but differs in {wrong[0]!r}.")
        return [data[key] for key in structure.keys]
    found = parts(data)
    if found is not None and found[1] in (structure.keys, ()) and len(found[2]) == structure.width:
        return list(found[2])
    raise ShapeError(f"{user_line()}: {path} must have the keys {list(structure.keys)}, but is {type(data).__name__}.")
