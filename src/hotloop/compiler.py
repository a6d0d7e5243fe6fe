"""The compiler: outputs of a graph + options -> a program on one place, ready to run.

The passes and their order are data, in `passes/__init__.py`.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hotloop import _runner
from hotloop._graph import postorder
from hotloop.backends.native.arrays import Linked, link_arrays
from hotloop.backends.native.link import link, link_near
from hotloop.dtypes import int32, int64
from hotloop.errors import NameConflict, TargetError
from hotloop.image import Image, Symbol
from hotloop.ir import reference
from hotloop.ir.dim import NeedsSize
from hotloop.ir.graph import CONST, INPUT, LOOP, PARAM, STATE, Cell, Node, reachable, source_line
from hotloop.ir.loop import check_scopes
from hotloop.ir.program import Program
from hotloop.ir.rewrite import walk
from hotloop.passes import ARRAYS, SCALARS, Setting
from hotloop.passes.check import instrument
from hotloop.passes.kernel import KERNEL
from hotloop.passes.linearize import linearize
from hotloop.passes.stages import stages
from hotloop.passes.unroll import scalars_of, unroll
from hotloop.runtime.local import executes
from hotloop.stencils.format import Library
from hotloop.stencils.library import available, library

if TYPE_CHECKING:
    from hotloop.backends.native.parallel import LinkedParallel
    from hotloop.ir.sweep import Procedure

LEVELS = ("x86-64-v3", "x86-64-v2")  # best first
ALIASES = {"x86_64": "native", "x86-64": "native"}
REORDERED = 100_000  # stores of spilled values up to which a second order is tried: it costs compile time
LONG_RUNNING = 200_000  # instructions beyond which a run releases the interpreter's lock


@dataclass(frozen=True, slots=True)
class Options:
    """How to compile: arch is "native", "reference" or the name of a stencil library.

    size: code shall be small rather than fast; None: as the target's kind of machine has it.
    load: brings an image to where it runs, and returns the program there; None: to this machine, if it can run it.
    """

    arch: str = "native"
    fast: bool = False
    checked: bool = False
    size: bool | None = None
    load: Callable[[Image], Any] | None = None  # Any: what has run, run_many and memory


@dataclass(slots=True, eq=False)
class Report:
    """Facts of a compiled program; str() is a table.

    instructions: stencils executed by a run, None where a loop's length depends on data
    machine: instructions of the machine executed by a run, where that is known and the same for all inputs
    code, data, stack: bytes; state: bytes of data that are kept from run to run
    stores, loads, moves: instructions that the allocator added
    seconds: time of each step of the compilation
    executed: instructions of the machine that a run in the emulator executed; cycles: what they take, estimated
    """

    target: str
    operations: int = 0
    instructions: int | None = None
    machine: int | None = None
    code: int = 0
    data: int = 0
    state: int = 0
    stack: int = 0
    stores: int = 0
    loads: int = 0
    moves: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    executed: int | None = None
    cycles: tuple[Any, ...] = ()  # Any: hotloop.runtime.cycles.Cycles

    def __str__(self) -> str:
        executed = "depends on data" if self.instructions is None else f"{self.instructions:,}"
        rows = [
            ("target", self.target), ("operations", f"{self.operations:,}"), ("instructions a run", executed),
            ("machine instructions a run", "depends on data, or helpers" if self.machine is None else f"{self.machine:,}"),
            ("code", f"{self.code:,} bytes"), ("data", f"{self.data:,} bytes"), ("state", f"{self.state:,} bytes"),
            ("stack", f"at most {self.stack:,} bytes"),
            ("spilled stores, reloads, moves", f"{self.stores:,}, {self.loads:,}, {self.moves:,}"),
        ]  # fmt: skip
        rows += [] if self.executed is None else [("machine instructions, emulated", f"{self.executed:,}")]
        rows += [("estimated cycles", str(cycles)) for cycles in self.cycles]
        rows += [(f"time of {name}", f"{1e3 * seconds:.3f} ms") for name, seconds in self.seconds.items()]
        rows.append(("time in all", f"{1e3 * sum(self.seconds.values()):.3f} ms"))
        return "\n".join(f"{name:32}{text}" for name, text in rows)


def resolve_arch(arch: str, foreign: bool = False) -> str:
    """Return the stencil library that an arch stands for on this machine. Raises TargetError.

    foreign: it need not run on this machine.
    """
    arch = ALIASES.get(arch, arch)
    if arch == "reference":
        return arch
    found, runs = available(), _runnable()
    if arch == "native":
        arch = os.environ.get("HOTLOOP_TARGET_ARCH") or (runs[0] if runs else "reference")
    if arch not in (*found, "reference"):
        raise TargetError(f"unknown target {arch!r}. Known: native, reference, {', '.join(found)}.")
    if arch != "reference" and arch not in runs and not foreign:
        raise TargetError(f"target {arch} does not run on this machine, which has {_runner.cpu_features()}.")
    return arch


def _runnable() -> list[str]:
    """Return the installed stencil libraries that this machine runs, best first."""
    found, level = available(), _runner.cpu_features()
    levels = LEVELS[LEVELS.index(level) :] if level in LEVELS else (level,)
    return [name for name in levels if name in found]


def host_library() -> Library:
    """Return the best stencil library that this machine runs, whatever the environment asks for. Raises TargetError."""
    return library(next(iter(_runnable()), _runner.cpu_features()))


class Compiled:
    """One program on one place: its memory, and `run`."""

    def __init__(self, report: Report, places: dict[int, Symbol], symbols: Sequence[Symbol], faults: list[str] | None) -> None:
        self.report = report
        self.faults = faults
        self.fault: Symbol | None = None
        self.symbols = tuple(symbols)
        self.image: Image | None = None
        self.listing: Program | None = None
        self.program: Any = None  # what runs the image: a _runner.Program, or what a loader returned
        self.local: _runner.Program | None = None  # the program if it runs in this process
        self.mirror: Any = None  # the program if it runs elsewhere and its data is copied here
        self.memory: Any = None  # a writable buffer of the program's data
        self.run: Callable[[], None] = _not_ready
        self._places = places

    def place(self, program: Any) -> None:  # Any: see `program`
        """Take the program where it runs."""
        self.program = program
        self.local = program if isinstance(program, _runner.Program) else None
        self.mirror = program if hasattr(program, "fetch") else None
        self.memory = getattr(program, "memory", program)
        self.run = program.run

    def symbol(self, node: Node) -> Symbol | None:
        """Return the memory of an input, state or output of this program, or None if it has none."""
        return self._places.get(node.id)

    def view(self, symbol: Symbol) -> np.ndarray[Any, Any]:
        """Return a live, writable view of a symbol's memory; no copy."""
        count = int(np.prod(symbol.shape, dtype=np.int64))
        if count == 0:
            return np.empty(symbol.shape, symbol.dtype.numpy)
        found: np.ndarray[Any, Any] = np.frombuffer(self.memory, symbol.dtype.numpy, count, symbol.offset)
        return found.reshape(symbol.shape)

    def run_many(self, count: int) -> None:
        """Run `count` times with no Python in between."""
        if self.program is None:
            self.run()
        self.program.run_many(count)


class Interpreted(Compiled):
    """A program that the reference evaluates; same interface, no machine code."""

    def __init__(
        self, report: Report, roots: Sequence[tuple[Node, Node]], cells: Sequence[Node], nexts: Sequence[tuple[Node, Node]],
        names: dict[int, Symbol], faults: list[str] | None,
    ) -> None:  # fmt: skip
        super().__init__(report, names, list(names.values()), faults)
        self.memory: reference.Memory = {cell.attr: np.array(cell.attr.init) for cell in cells}
        self._arrays: dict[Symbol, np.ndarray[Any, Any]] = {}
        for node in cells:
            self._arrays[names[node.id]] = self.memory[node.attr]
        self._results = [(names[node.id], root) for node, root in roots if names[node.id] not in self._arrays]
        for symbol, root in self._results:
            init = root.attr.value if root.op is CONST else 0
            self._arrays[symbol] = np.full(symbol.shape, init, symbol.dtype.numpy)
        self._nexts = [(names[state.id], root) for state, root in nexts]
        self.run = self._run

    def view(self, symbol: Symbol) -> np.ndarray[Any, Any]:
        """Return the array that runs read or write."""
        return self._arrays[symbol]

    def run_many(self, count: int) -> None:
        """Run `count` times."""
        for _ in range(count):
            self._run()

    def _run(self) -> None:
        updates = [*self._results, *self._nexts]
        values = reference.evaluate_nodes([root for _, root in updates], self.memory)
        for (symbol, _), value in zip(updates, values, strict=True):
            self._arrays[symbol][...] = value


def _not_ready() -> None:
    raise AssertionError("the program is not ready")


def _elsewhere(target: str) -> None:
    here = _runner.cpu_features()
    raise TargetError(
        f"the program is compiled for {target} and does not run on this machine, which has {here}. "
        "Export it, or use Target(remote=...) for a machine that runs it, or Target(emulate=True)."
    )


def compile_graph(outputs: Sequence[Node], options: Options | None = None, trace_seconds: float = 0.0) -> Compiled:
    """Compile the program that computes `outputs` and steps the states they depend on.

    Cost: a few microseconds an operation. Raises TargetError, NameConflict.
    """
    options = options or Options()
    with _collection_paused():
        return _compile(outputs, options, trace_seconds)


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Keep the garbage collector from walking a graph that is all alive, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Roots(NamedTuple):
    """What a program shall compute: `roots` are the nodes that became of `wanted`, `nexts` (state, its next value)."""

    wanted: Sequence[Node]
    roots: Sequence[Node]
    cells: Sequence[Node]
    nexts: Sequence[tuple[Node, Node]]
    names: dict[int, str]
    faults: list[str] | None


class _Schedule(NamedTuple):
    """Scalars in an order to compute them, and where they go: what `linearize` takes."""

    nodes: list[Node]
    scalars: Sequence[Node]
    outputs: list[tuple[Node, tuple[int, ...], list[Node]]]
    steps: list[tuple[Cell, list[Node]]]
    cells: list[tuple[Node, str]]

    def program(self, setting: Setting, nodes: Sequence[Node] | None = None) -> Program:
        """Return the instructions."""
        order = self.nodes if nodes is None else nodes
        near = setting.near
        return linearize(order, self.outputs, self.steps, self.cells, setting.vector_bytes, setting.index, near=near, pointers=near)


def _compile(outputs: Sequence[Node], options: Options, trace_seconds: float) -> Compiled:
    arch = resolve_arch(options.arch, foreign=True)
    clock = _Clock({"trace": trace_seconds} if trace_seconds else {})
    setting = _setting(arch, options.fast, options.size)
    clock.mark("stencils")  # read from disk once a process
    found = _roots(outputs, options, setting, clock)
    report = Report(arch, seconds=clock.seconds)
    if arch == "reference":
        pairs = list(zip(found.wanted, found.roots, strict=True))
        made = _interpret(report, pairs, found.cells, found.nexts, found.names, found.faults)
    else:
        made = _native(report, clock, _scheduled(found, setting, clock), found.faults, setting, options.load)
    if options.checked:
        made.fault = made.symbol(found.wanted[-1])
    return made


def one_lane_program(outputs: Sequence[Node], options: Options) -> Program:
    """Return the instructions on scalars, with int32 indices, of the program that computes `outputs`: what C source is made of.

    Of the options `fast`, `checked` and `size` matter. Raises: NameConflict.
    """
    arch = resolve_arch(options.arch, foreign=True)
    small = arch != "reference" and bool(library(arch).meta["small"])
    setting = Setting(options.fast, vector_bytes=0, fma=options.fast, index=int32, size=small if options.size is None else options.size)
    with _collection_paused():
        clock = _Clock({})
        found = _scheduled(_roots(outputs, options, setting, clock), setting, clock)
        return found.program(setting)


def _roots(outputs: Sequence[Node], options: Options, setting: Setting, clock: _Clock) -> _Roots:
    """Find what the program reads and steps, and apply the passes on arrays."""
    nodes = reachable(outputs)
    cells = [node for node in nodes if node.op in (INPUT, STATE)]
    states = [node for node in cells if node.op is STATE and node.attr.next is not None]
    names = _names(cells)
    clock.mark("reach")
    unique = list({node.id: node for node in outputs}.values())
    roots = [*unique, *[state.attr.next for state in states]]
    if any(node.op is PARAM for node in nodes):
        check_scopes(roots)
    faults: list[str] | None = None
    keep: list[Node] = []
    if options.checked:
        roots, fault, faults = instrument(roots)
        roots, keep = [*roots, fault], [fault]
        clock.mark("check")
    for name, run_pass in ARRAYS:
        roots = list(run_pass(roots, setting))
        clock.mark(name)
    stepped = len(unique) + len(states)
    nexts = list(zip(states, roots[len(unique) : stepped], strict=True))
    return _Roots([*unique, *keep], [*roots[: len(unique)], *roots[stepped:]], cells, nexts, names, faults)


def _scheduled(found: _Roots, setting: Setting, clock: _Clock) -> _Schedule:
    """Make scalars of arrays, apply the passes on scalars, and put all in order."""
    ends = [*found.roots, *[root for _, root in found.nexts]]
    unrolled = unroll(ends, setting.index)
    clock.mark("unroll")
    parts = [scalars_of(unrolled, end) for end in ends]
    scalars: Sequence[Node] = [scalar for part in parts for scalar in part]
    for name, run_pass in SCALARS:
        scalars = run_pass(scalars, setting)
        clock.mark(name)
    nodes = [node for node in walk(scalars) if node.op not in (INPUT, STATE, CONST)]
    clock.mark("order")
    rest = iter(scalars)
    parts = [list(islice(rest, len(part))) for part in parts]
    outputs = [(want, want.shape, part) for want, part in zip(found.wanted, parts, strict=False)]
    steps: list[tuple[Cell, list[Node]]] = [
        (state.attr, part) for (state, _), part in zip(found.nexts, parts[len(found.roots) :], strict=True)
    ]
    return _Schedule(nodes, scalars, outputs, steps, [(cell, found.names[cell.id]) for cell in found.cells])


def _setting(arch: str, fast: bool, size: bool | None = None) -> Setting:
    if arch == "reference":
        return Setting(fast, vector_bytes=0, fma=False, native=False)
    meta = library(arch).meta
    wide, index = meta["wide"], int64 if meta["index"] == "i64" else int32
    fma = "fma.f32.f32.f32" not in meta["called"]
    return Setting(fast, wide, fma, index, size=meta["small"] if size is None else size, near=not wide)


def _native(
    report: Report, clock: _Clock, schedule: _Schedule, faults: list[str] | None, setting: Setting,
    load: Callable[[Image], Any] | None,
) -> Compiled:  # fmt: skip
    def linked(order: Sequence[Node] | None = None) -> tuple[Program, Image]:
        made = schedule.program(setting, order)
        clock.mark("linearize")
        found = link_near(made, report.target) if setting.near else (made, link(made, report.target))
        clock.mark("emit")
        return found

    program, image = linked()
    spilling = max(16, program.instructions // 16) < image.facts["stores"] < REORDERED
    if spilling and not any(node.op in (LOOP, KERNEL) for node in schedule.nodes):
        # The user's order keeps too many values alive: try each operation right before its first user.
        other, other_image = linked([node for node in postorder(schedule.scalars) if node.op not in (INPUT, STATE, CONST)])
        if _spills(other_image) < _spills(image):
            program, image = other, other_image
    made = Compiled(report, program.places, program.symbols, faults)
    made.image, made.listing = image, program
    if load is not None:
        made.place(load(image))
    elif executes(image.target):
        long_running = image.instructions is None or image.instructions > LONG_RUNNING
        made.place(_runner.Program(image.code, image.data, image.entry, stack=image.stack, long_running=long_running))
    else:
        made.memory, made.run = bytearray(image.data), partial(_elsewhere, image.target)
    clock.mark("load")
    report.operations, report.instructions, report.machine = program.instructions, image.instructions, image.facts["machine"]
    report.code, report.data, report.stack = len(image.code), len(image.data), image.stack
    report.state = sum(symbol.dtype.size * math.prod(symbol.shape) for symbol in image.symbols if symbol.kind == "state")
    report.stores, report.loads, report.moves = (image.facts[name] for name in ("stores", "loads", "moves"))
    return made


class CompiledArrays:
    """A function over arrays of any size: `function` takes the arguments, and `out=`."""

    def __init__(self, report: Report, linked: Linked, function: _runner.ArrayFunction) -> None:
        self.report = report
        self.linked = linked
        self.function = function


def compile_arrays(
    outputs: Sequence[Node], inputs: Sequence[Node], options: Options, fallback: Callable[..., Any], single: bool,
    trace_seconds: float = 0.0,
) -> CompiledArrays:  # fmt: skip
    """Compile a function whose arrays have lengths that are known only when it is called.

    inputs: the arguments in order; fallback gets calls with any others. single: return the one result
    itself, not a tuple. Cost: about 50 us an operation on arrays.
    Raises: NeedsSize for what only a program for known sizes can do, TargetError.
    """
    arch = resolve_arch(options.arch)
    if arch == "reference":
        raise NeedsSize("the reference evaluates arrays of known sizes")
    clock = _Clock({"trace": trace_seconds} if trace_seconds else {})
    setting = _setting(arch, options.fast)
    clock.mark("stencils")
    with _collection_paused():
        if setting.fast:
            with suppress(NeedsSize):  # some algebra counts elements
                outputs = list(ARRAYS[0][1](outputs, setting))
            clock.mark("algebra")
        steps, homes = stages(outputs, setting.fast and setting.fma)
        clock.mark("fuse")
        linked = link_arrays(steps, homes, inputs, arch, setting.vector_bytes)
        clock.mark("emit")
        program = _runner.Program(linked.code, linked.data, 0, stack=linked.stack)
        function = _runner.ArrayFunction(
            program, linked.arguments, linked.buffers, linked.stages, linked.results, single, fallback, linked.combines
        )  # fmt: skip
        clock.mark("load")
    report = Report(arch, code=len(linked.code), data=len(linked.data), stack=linked.stack, seconds=clock.seconds)
    report.operations = sum(program.instructions for program in linked.programs)
    return CompiledArrays(report, linked, function)


class CompiledParallel(NamedTuple):
    """Code and plan of a procedure: what `_runner.ParallelFunction` takes beside its arguments and results."""

    linked: LinkedParallel
    program: _runner.Program

    @property
    def report(self) -> Report:
        """Return facts of the program."""
        linked = self.linked
        report = Report(linked.target, code=len(linked.code), data=len(linked.data), stack=linked.stack, seconds=linked.seconds)
        report.operations = sum(program.instructions for _, program in linked.programs)
        return report


def compile_parallel(procedure: Procedure, options: Options, trace_seconds: float = 0.0) -> CompiledParallel:
    """Compile steps on registers, sweeps among them. Cost: about 0.1 ms a sweep.

    Raises: TargetError, also for the reference: `passes.sweep_reference` executes procedures without code.
    """
    from hotloop.backends.native.parallel import link_parallel  # a dozen modules that only procedures need

    arch = resolve_arch(options.arch)
    if arch == "reference":
        raise TargetError("the reference has no code for procedures. Use arch='native'.")
    clock = _Clock({"trace": trace_seconds} if trace_seconds else {})
    setting = _setting(arch, options.fast)
    clock.mark("stencils")
    with _collection_paused():
        linked = link_parallel(procedure, arch, setting.vector_bytes, setting.fast)
        clock.mark("emit")
        program = _runner.Program(linked.code or bytes(1), linked.data, 0, stack=linked.stack)
        clock.mark("load")
    linked.seconds = clock.seconds
    return CompiledParallel(linked, program)


def _spills(image: Image) -> int:
    return int(image.facts["stores"] + image.facts["loads"])


def _interpret(
    report: Report, roots: Sequence[tuple[Node, Node]], cells: Sequence[Node], nexts: Sequence[tuple[Node, Node]],
    names: dict[int, str], faults: list[str] | None,
) -> Compiled:  # fmt: skip
    symbols = {cell.id: Symbol(names[cell.id], "input" if cell.op is INPUT else "state", cell.dtype, cell.shape, cell.id) for cell in cells}
    for node, _ in roots:
        symbols.setdefault(node.id, Symbol("", "constant" if node.op is CONST else "output", node.dtype, node.shape, node.id))
    return Interpreted(report, roots, cells, nexts, symbols, faults)


def _names(cells: Sequence[Node]) -> dict[int, str]:
    """Return the name of each cell: the user's, else in0, in1, ... and state0, ... in order."""
    taken: dict[str, Node] = {}
    for cell in cells:
        name = cell.attr.name
        if name is not None and taken.setdefault(name, cell) is not cell:
            raise NameConflict(f"two inputs are named {name!r}: at {source_line(taken[name])} and {source_line(cell)}.")
    found = {}
    counts = {INPUT: 0, STATE: 0}
    for cell in cells:
        kind = "in" if cell.op is INPUT else "state"
        while cell.attr.name is None and f"{kind}{counts[cell.op]}" in taken:
            counts[cell.op] += 1
        found[cell.id] = cell.attr.name or f"{kind}{counts[cell.op]}"
        counts[cell.op] += cell.attr.name is None
    return found


class _Clock:
    """Wall time of each step."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self._last = time.perf_counter()

    def mark(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._last
        self._last = now
