"""`Recorder`: the steps of a function while it is interpreted, and the bodies of sweeps within them.

Outside of all loops over elements (depth 0) things happen: steps are appended to a block. Inside of them
there are only graphs of scalars, and the faults that their operations may have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hotloop.dtypes import bool_, int64
from hotloop.ir.graph import LOOP, Node, apply, constant, param_node
from hotloop.ir.loop import dependents, substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import (
    AT,
    Allocate,
    Compute,
    Effect,
    Fault,
    Fold,
    If,
    Inner,
    Step,
    Store,
    Sweep,
    array_register,
    at,
)  # fmt: skip
from hotloop.ops import logic
from hotloop.parallel.interpreter.values import Number, Sequence, Stored, Value, leaves, mapped

CHEAP = 12  # operations that are rather computed again, or in vain, than kept in memory or branched around
TRUE = constant(True, bool_, structural=False)
FALSE = constant(False, bool_, structural=False)
ZERO, ONE = constant(0, int64, structural=False), constant(1, int64, structural=False)
or_, and_, select = logic.or_, logic.and_, logic.select
add, mul = REGISTRY["add"], REGISTRY["mul"]


@dataclass(frozen=True, slots=True)
class Site:
    """What can go wrong at one place of the source: `error` makes the exception out of the values."""

    error: Callable[[Items[Any]], Exception]


@dataclass(slots=True)
class Pending:
    """A fault that a body may have: where the condition holds."""

    condition: Node
    site: int
    values: tuple[Node, ...]


@dataclass(slots=True)
class Frame:
    """A body of elements while it is traced."""

    faults: list[Pending] = field(default_factory=list)
    elements: dict[tuple[int, int, int], Value] = field(default_factory=dict)
    alive: list[Any] = field(default_factory=list)  # what the keys of `elements` identify by address
    counter: Node | None = None  # of a loop over places: the place, and how many there are
    count: Node | None = None
    ranges: list[tuple[Node, Node]] = field(default_factory=list)  # (first, length): all of first + place must be in range
    range_site: int = 0


class Recorder:
    """Steps and bodies of one function: what happens outside of all loops over elements, and what is computed inside."""

    def __init__(self, diagnose: bool = False) -> None:
        self.diagnose = diagnose  # whether faults find out their first element and its values
        self.steps: list[Step] = []
        self.blocks: list[list[Step]] = [self.steps]
        self.frames: list[Frame] = []
        self.guard = TRUE
        self.sites: list[Site] = []
        self.in_memory: Callable[[Sequence], Sequence] = self.force  # of rows and of what `filter` left too: the interpreter's
        self.whole: Callable[[Sequence], Sequence] = lambda sequence: sequence
        self.index_of: dict[int, Node] = {}
        self.below: dict[int, Node] = {}  # id of an index that is at least 0 -> what it is below
        self.natural: set[int] = set()  # ids of integers that are at least 0
        self.bound: set[int] = set()  # ids of params that are no registers: indices of sweeps, what loops carry, operands of operators
        self.lifted: Any = None  # `lifting.Known`
        self.hoisted: list[tuple[list[Step], Any, Any]] = []  # what was made before a body: in which block, of what, what it is
        self.rows: dict[int, Node] = {}  # id of a register of offsets -> how many rows they are of

    @property
    def depth(self) -> int:
        """How many bodies are being traced."""
        return len(self.frames)

    def emit(self, step: Step) -> None:
        """Append a step to the innermost block."""
        self.blocks[-1].append(step)

    @contextmanager
    def block(self) -> Iterator[list[Step]]:
        """Collect steps in a block of their own."""
        made: list[Step] = []
        self.blocks.append(made)
        try:
            yield made
        finally:
            self.blocks.pop()

    @contextmanager
    def body(self) -> Iterator[Frame]:
        """Trace a body of elements."""
        frame, guard = Frame(), self.guard
        self.frames.append(frame)
        self.guard = TRUE
        try:
            yield frame
        finally:
            self.frames.pop()
            self.guard = guard

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Append steps in the middle of a body: they happen before it."""
        frames, guard = self.frames, self.guard
        self.frames, self.guard = [], TRUE
        try:
            yield
        finally:
            self.frames, self.guard = frames, guard

    @contextmanager
    def guarded(self, condition: Node) -> Iterator[None]:
        """Trace what counts only where a condition holds."""
        guard = self.guard
        self.guard = apply(and_, guard, condition)
        try:
            yield
        finally:
            self.guard = guard

    # -- faults ------------------------------------------------------------------------------------

    def fault(self, condition: Node, site: Site, values: tuple[Node, ...] = ()) -> None:
        """Have an exception raised where a condition holds."""
        condition = apply(and_, self.guard, condition)
        if condition.is_const and not condition.attr.value:
            return
        self.sites.append(site)
        self._pend(condition, len(self.sites) - 1, values)

    def _pend(self, condition: Node, site: int, values: tuple[Node, ...]) -> None:
        if self.frames:
            self.frames[-1].faults.append(Pending(condition, site, values))
        else:
            self.emit(Fault(condition, site, values))

    def _gathered(self, faults: list[Pending]) -> list[Pending]:
        """Return faults as one: which of them it was is asked when one has happened."""
        if self.diagnose or len(faults) < 2:
            return faults
        joint = faults[0].condition
        for pending in faults[1:]:
            joint = apply(or_, joint, pending.condition)
        return [Pending(joint, faults[0].site, ())]

    # -- sweeps ------------------------------------------------------------------------------------

    def index(self, count: Node) -> Node:
        """Return the index of sweeps over `count` elements: one and the same, so that their bodies have common parts."""
        found = self.index_of.get(count.id)
        if found is None:
            found = self.index_of[count.id] = self.counter(count)
        return found

    def counter(self, limit: Node) -> Node:
        """Return a new index that is at least 0 and below a limit."""
        index = param_node(int64, ())
        self.below[index.id] = limit
        self.bound.add(index.id)
        return index

    def sweep(self, count: Node, effects: Callable[[Node], Items[Effect]], inner: Callable[[Node], Inner] | None = None) -> None:
        """Append a sweep; effects are made for its index."""
        index = self.index(count)
        with self.body() as frame:
            made = list(effects(index))
            rows = inner(index) if inner else None
        after: list[Step] = []
        for pending in self._gathered(frame.faults):
            into = param_node(bool_, ())
            made.append(Fold(into, or_, pending.condition))
            after.append(self._diagnosis(count, index, pending, into))
        self.emit(Sweep(count, index, tuple(made), rows))
        for step in after:
            self.emit(step)

    def _diagnosis(self, count: Node, index: Node, pending: Pending, into: Node) -> Step:
        if not self.diagnose:
            return Fault(into, pending.site)
        largest = constant(2**63 - 1, int64)
        first = param_node(int64, ())
        place = apply(select, pending.condition, index, largest)
        values = substitute(pending.values, {index.id: first})
        registers = tuple([param_node(value.dtype, ()) for value in values])
        found = Sweep(count, index, (Fold(first, REGISTRY["minimum"], place),))
        return If(into, [found, Compute(registers, tuple(values)), Fault(TRUE, pending.site, registers)], [])

    # -- elements ----------------------------------------------------------------------------------

    def element(self, sequence: Sequence, place: Node) -> Value:
        """Return the element of a sequence at a place that is in range."""
        if not self.frames:
            return sequence.element(place)
        if sequence.depth == 0 and sequence.stored is None and self._is_dear(sequence, place):
            sequence = self.force(sequence)
        elements = self.frames[-1].elements
        key = id(sequence), place.id, self.guard.id
        if key not in elements:
            elements[key] = sequence.element(place)
            self.frames[-1].alive.append((sequence, place, self.guard))
        return elements[key]

    def _is_dear(self, sequence: Sequence, place: Node) -> bool:
        """Whether elements at other places than the sweep's own are better read from memory than computed there."""
        if sequence.keep is not None or place is self.index_of.get(sequence.length.id):
            return False
        return self.cost(sequence) > CHEAP

    def cost(self, sequence: Sequence) -> int:
        """Return about how many operations an element takes; those in loops are many."""
        if sequence.cost < 0:
            index = self.counter(sequence.length)
            with self.body():
                value = sequence.element(index)
            sequence.cost = 0 if not isinstance(value, (Number, tuple)) else sum(
                100 if node.op is LOOP else 1
                for node in dependents([leaf.node for leaf in leaves(value) if isinstance(leaf, Number)], [index])
                if node.op is not AT
            )
        return sequence.cost

    # -- memory ------------------------------------------------------------------------------------

    def allocated(self, like: Value, length: Node) -> Any:
        """Return new array registers in the structure of an element."""

        def register(leaf: Number) -> Node:
            array = array_register(leaf.dtype)
            self.emit(Allocate(array, length))
            return array

        return mapped(register, like)

    def probe(self, sequence: Sequence) -> Value:
        """Return an element of a sequence, for its structure and types; nothing of it is kept."""
        with self.body():
            return sequence.element(self.counter(sequence.length))

    def stored(self, arrays: Any, shape: tuple[Node, ...], offsets: tuple[Node, ...] = (), offset: Node | None = None) -> Sequence:
        """Return the sequence that is in array registers."""
        place = Stored(arrays, shape, offsets, offset)
        return Sequence(shape[0] if shape else ZERO, lambda i: self._read(place, i), 0, stored=place)

    def _read(self, stored: Stored, place: Node) -> Value:
        if stored.offsets:
            return self._read_row(stored, place)
        if len(stored.shape) == 1:
            where = place if stored.offset is None else apply(add, stored.offset, place)
            return mapped(lambda array: Number(at(array, where)), stored.arrays)
        step = stored.shape[1]
        for length in stored.shape[2:]:
            step = apply(mul, step, length)
        start = apply(mul, place, step)
        start = start if stored.offset is None else apply(add, stored.offset, start)
        row = self.stored(stored.arrays, stored.shape[1:], (), start)
        row.depth = self.depth
        return row

    def _read_row(self, stored: Stored, place: Node) -> Sequence:
        first = stored.offsets[0]
        where = place if stored.offset is None else apply(add, stored.offset, place)
        low, high = at(first, where), at(first, apply(add, where, ONE))
        row = self.stored(stored.arrays, (apply(REGISTRY["sub"], high, low),), stored.offsets[1:], low)
        row.depth = self.depth
        return row

    def force(self, sequence: Sequence) -> Sequence:
        """Return the same sequence in memory. It must be one of depth 0 without `keep`, of scalars and tuples."""
        if sequence.stored is not None:
            return sequence
        for block, found in sequence.forced:
            if any(block is open_block for open_block in self.blocks):
                return found  # type: ignore[no-any-return]
        with self.outside():
            made = self._materialise(sequence)
        sequence.forced.append((self.blocks[-1], made))
        return made

    def _materialise(self, sequence: Sequence) -> Sequence:
        shape = sequence.shape or (sequence.length,)
        arrays = self.allocated(self.probe(sequence), sequence.length)

        def stores(index: Node) -> list[Effect]:
            values = self.element(sequence, index)
            return [Store(array, index, value.node) for array, value in zip(leaves(arrays), leaves(values), strict=True)]

        self.sweep(sequence.length, stores)
        return self.stored(arrays, shape)
