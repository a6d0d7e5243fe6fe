"""`link_parallel`: a procedure of sweeps -> machine code, and the plan by which the runner executes its steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hotloop.backends.native.link import link
from hotloop.dtypes import DType, int64
from hotloop.ir.graph import CONST, LOOP, PARAM, Node
from hotloop.ir.program import Program
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import Alias, Allocate, Compute, Copy, Fault, If, Procedure, Sort, SortBy, Step, Sweep, While
from hotloop.ops.shape import length
from hotloop.passes.linearize import Builder
from hotloop.passes.memory import Memory
from hotloop.passes.sweeps.effects import Task, cost, tasks
from hotloop.passes.sweeps.frame import LENGTH, Frame
from hotloop.passes.sweeps.liveness import Liveness
from hotloop.passes.sweeps.segments import Segments
from hotloop.passes.sweeps.serial import Serial, Slots
from hotloop.passes.sweeps.strip import Strip, strips

NONE = -1  # in place of a register or of an entry of the code


@dataclass(slots=True, eq=False)
class LinkedParallel:
    """Code and data of all steps, and the plan; the fields are arguments of `_runner.ParallelFunction`.

    scalar_of, array_of: the number of each register, by the id of its node. programs: for listings, by what
    they are for. seconds: time of each step of the compilation.
    """

    target: str
    code: bytes
    data: bytes
    stack: int
    scalars: str
    arrays: str
    ops: tuple[tuple[Any, ...], ...]  # Any: nested tuples, as the runner documents them
    scalar_of: dict[int, int]
    array_of: dict[int, int]
    programs: list[tuple[str, Program]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def link_parallel(procedure: Procedure, target: str, vector_bytes: int, fast: bool = False) -> LinkedParallel:
    """Write the code of all steps. fast: bits may change for speed."""
    return _Linker(procedure, target, vector_bytes, fast).linked()


class _Label:
    """A place in the plan that jumps go to."""

    pc = NONE


class _Linker:
    def __init__(self, procedure: Procedure, target: str, vector_bytes: int, fast: bool) -> None:
        self.procedure = procedure
        self.target = target
        self.vector_bytes = vector_bytes
        self.fast = fast
        self.memory = Memory()
        self.frame = Frame(self.memory)
        self.code = bytearray()
        self.stack = 0
        self.programs: list[tuple[str, Program]] = []
        self.scalars: list[DType] = []
        self.arrays: list[DType] = []
        self.scalar_of: dict[int, int] = {}
        self.array_of: dict[int, int] = {}
        self.constants: dict[int, tuple[Node, int]] = {}  # by the id of the node: in registers from the start
        self.ops: list[tuple[Any, ...]] = []
        self.labels: dict[_Label, int] = {}
        self.live = Liveness(procedure.steps, [node for node in procedure.results if node.shape])

    def linked(self) -> LinkedParallel:
        """Return code, data and plan."""
        for node in (*self.procedure.inputs, *self.procedure.results):
            self._array(node) if node.shape else self._scalar(node)
        self._add(self.procedure.steps)
        ops = self._in_place()
        return LinkedParallel(
            self.target, bytes(self.code), bytes(self.memory.data), self.stack, "".join(d.code for d in self.scalars),
            "".join(d.code for d in self.arrays), ops, self.scalar_of, self.array_of, self.programs,
        )  # fmt: skip

    def _in_place(self) -> tuple[tuple[Any, ...], ...]:
        """Return the plan with constants set first, and jumps to numbers."""
        start: list[tuple[Any, ...]] = []
        if self.constants:
            steps, self.ops = self.ops, start
            nodes, registers = zip(*self.constants.values(), strict=True)
            self._compute(nodes, registers)
            self.ops = steps
        for label in self.labels:
            label.pc = self.labels[label] + len(start)
        return tuple([tuple([item.pc if isinstance(item, _Label) else item for item in op]) for op in (*start, *self.ops)])

    # -- registers -----------------------------------------------------------------------------------

    def _scalar(self, node: Node) -> int:
        if node.id not in self.scalar_of:
            self.scalar_of[node.id] = self._new_scalar(node.dtype)
        return self.scalar_of[node.id]

    def _new_scalar(self, dtype: DType) -> int:
        self.scalars.append(dtype)
        return len(self.scalars) - 1

    def _array(self, node: Node) -> int:
        if node.id not in self.array_of:
            self.array_of[node.id] = len(self.arrays)
            self.arrays.append(node.dtype)
        return self.array_of[node.id]

    def _registers(self, nodes: Sequence[Node]) -> list[int]:
        """Return the registers of scalar nodes, after ops that compute what is in none yet."""
        found: list[int] = []
        computed: list[tuple[Node, int]] = []
        for node in nodes:
            if node.op is PARAM:
                found.append(self._scalar(node))
            elif node.op is CONST:
                if node.id not in self.constants:
                    self.constants[node.id] = node, self._new_scalar(node.dtype)
                found.append(self.constants[node.id][1])
            elif node.op is length and node.args[0].op is PARAM:
                found.append(self._new_scalar(int64))
                self.ops.append(("length", found[-1], self._array(node.args[0])))
            else:
                found.append(self._new_scalar(node.dtype))
                computed.append((node, found[-1]))
        if computed:
            self._compute([node for node, _ in computed], [register for _, register in computed])
        return found

    def _register(self, node: Node) -> int:
        return self._registers([node])[0]

    def _sources(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return what the code written since `frame.begin` finds: (slot, kind, register), and (pointer slot, length slot, array)."""
        scalars = [(self.frame.scalar(node), node.dtype.code, self._scalar(node)) for node in list(self.frame.scalars.values())]
        bases = [(self.frame.array(node), self.frame.array(node) + LENGTH, self._array(node)) for node in list(self.frame.arrays.values())]
        return tuple(scalars), tuple(bases)

    # -- code ----------------------------------------------------------------------------------------

    def _entry(self, program: Program, name: str) -> int:
        """Put code behind what there is and return its entry; its data grows on the common block."""
        self.programs.append((name, program))
        image = link(program, self.target)
        self.memory.data.extend(bytes(len(image.data) - len(self.memory.data)))
        self.code.extend(bytes(-len(self.code) % 64))
        entry = len(self.code) + image.entry
        self.code.extend(image.code)
        self.stack = max(self.stack, image.stack)
        return entry

    def _straight(self, values: Sequence[Node], places: Sequence[int]) -> Program:
        """Return the program that computes values once."""
        builder = Builder(self.vector_bytes, frame=self.frame)
        nodes = walk(values)
        builder.add(builder.assign_loops(nodes, [node for node in nodes if node.op is LOOP]))
        for value, place in zip(values, places, strict=True):
            builder.store(value, builder.use(value), place)
        return builder.program()

    def _compute(self, values: Sequence[Node], registers: Sequence[int]) -> None:
        self.frame.begin()
        places = [self.frame.room(("result", k), 8) for k in range(len(values))]
        entry = self._entry(self._straight(values, places), "compute")
        scalars, bases = self._sources()
        inputs = tuple([(slot, register) for slot, _, register in scalars])
        self.ops.append(("compute", entry, inputs, bases, tuple(zip(places, registers, strict=True))))

    # -- steps ---------------------------------------------------------------------------------------

    def _add(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self._add_step(step)
            self._release(self.live.dying.get(id(step), ()))

    def _release(self, arrays: Iterable[Node]) -> None:
        for register in sorted(map(self._array, arrays)):
            self.ops.append(("release", register))

    def _add_step(self, step: Step) -> None:
        match step:
            case Sweep():
                made: list[Node] = []
                for task in tasks(step):
                    self._add_task(task)
                    made += task.makes
                self._release(made)
            case Compute():
                self._compute(step.values, [self._scalar(register) for register in step.registers])
            case Allocate():
                self.ops.append(("allocate", self._array(step.array), self._register(step.length)))
            case Copy():
                self.ops.append(("copy", self._array(step.array), self._array(step.source)))
            case Alias():
                self.ops.append(("alias", tuple(map(self._array, step.arrays)), tuple(map(self._array, step.sources))))
            case Sort():
                self._add_sort(step)
            case SortBy():
                self._add_sort_by(step)
            case Fault():
                condition, *values = self._registers([step.condition, *step.values])
                self.ops.append(("fault", condition, step.number, tuple(values)))
            case While():
                self._add_while(step)
            case If():
                self._add_if(step)

    def _add_sort(self, step: Sort) -> None:
        ordered = tuple([NONE if array is None else self._array(array) for array in step.sorted])
        order = NONE if step.order is None else self._array(step.order)
        self.ops.append(("sort", tuple(map(self._array, step.keys)), step.descending, ordered, order))

    def _add_sort_by(self, step: SortBy) -> None:
        count = self._register(step.length)
        self.frame.begin()
        places = self.frame.scalar(step.first), self.frame.scalar(step.second)
        less = self.frame.room(("result", 0), 8)
        entry = self._entry(self._straight([step.less], [less]), "less")
        for param in (step.first, step.second):
            del self.frame.scalars[param.id]
        self.ops.append(("sort_by", entry, *places, less, *self._sources(), count, self._array(step.order)))

    # -- control ---------------------------------------------------------------------------------------

    def _mark(self, label: _Label) -> None:
        self.labels[label] = len(self.ops)

    def _add_while(self, step: While) -> None:
        again, done = _Label(), _Label()
        self._mark(again)
        self._add(step.head)
        self.ops.append(("unless", self._register(step.condition), done))
        self._add(step.body)
        self.ops.append(("jump", again))
        self._mark(done)

    def _add_if(self, step: If) -> None:
        otherwise, done = _Label(), _Label()
        self.ops.append(("unless", self._register(step.condition), otherwise))
        self._release(self.live.unused[id(step), True])
        self._add(step.then)
        rest = self.live.unused[id(step), False]
        if step.otherwise or rest:
            self.ops.append(("jump", done))
        self._mark(otherwise)
        self._release(rest)
        self._add(step.otherwise)
        self._mark(done)

    # -- sweeps ----------------------------------------------------------------------------------------

    def _add_task(self, task: Task) -> None:
        count = self._register(task.sweep.count)
        for array in task.makes:
            self.ops.append(("allocate", self._array(array), count))
        starts = [NONE if state.init is None else self._register(state.init) for state in task.states]
        self.frame.begin()
        slots = Slots.of(task, self.frame)
        wide = task.segmented or strips(task)
        entries = self._entries(task, slots, wide)
        states = []
        for state, start, (place, other) in zip(task.states, starts, slots.states, strict=True):
            into = NONE if state.into is None else self._scalar(state.into)
            if start == into == NONE:
                into = self._new_scalar(state.dtype)  # a register tells the kind
            states.append((place, other, start, into))
        flags = tuple([(place, self._scalar(register)) for place, (_, register) in zip(slots.flags, task.flags, strict=True)])
        position = None
        if task.filter is not None:
            arrays = tuple([(self._array(array), self.frame.pointer(array)) for array in task.filter.arrays])
            position = (slots.position, self._scalar(task.filter.kept), arrays)
        self.ops.append((
            "kernel", task.mode, entries, self.frame.low, self.frame.high, count, *self._sources(), tuple(states), flags, position,
            task.chunk, cost(task, wide),
        ))  # fmt: skip

    def _entries(self, task: Task, slots: Slots, wide: bool) -> tuple[int, ...]:
        """Write the functions of a task: run, begin, combine, and run and begin of the totals of a scan."""
        writer = self._writer(task, slots, wide)
        run = self._entry(writer.run(), task.mode)
        begin = self._entry(writer.begin(), f"{task.mode} begins") if task.begins else NONE
        combine = self._entry(writer.combine(), f"{task.mode} combines") if task.states else NONE
        total_run = total_begin = NONE
        if task.mode == "scan":
            total = task.total()
            writer = self._writer(total, Slots(slots.states, [], NONE), strips(total))
            total_run = self._entry(writer.run(), "total")
            total_begin = self._entry(writer.begin(), "total begins") if total.begins else NONE
        return run, begin, combine, total_run, total_begin

    def _writer(self, task: Task, slots: Slots, wide: bool) -> Serial:
        if task.segmented:
            return Segments(task, self.frame, slots, self.vector_bytes)
        if not wide:
            return Serial(task, self.frame, slots, self.vector_bytes)
        strip = Strip(task, self.frame, slots, self.vector_bytes)
        strip.contract = self.fast
        return strip


__all__ = ["LinkedParallel", "link_parallel"]
