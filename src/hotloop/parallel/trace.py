"""`Trace`: the steps of a function while it is interpreted, and the bodies of sweeps and loops within them.

Outside of all loops over elements (depth 0) things happen: steps are appended to a block. Inside of them
there are only graphs of scalars, and the faults that their operations may have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hotloop.dtypes import bool_, int64
from hotloop.ir.graph import LOOP, Body, Node, apply, constant, param_node
from hotloop.ir.loop import build_loop, dependents, substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import (
    AT,
    Alias,
    Allocate,
    Compute,
    Effect,
    Fault,
    Fold,
    If,
    Inner,
    Procedure,
    Step,
    Store,
    Sweep,
    While,
    array_register,
    at,
)  # fmt: skip
from hotloop.ops import logic
from hotloop.parallel.values import Number, Sequence, Stored, Value, as_type, leaves, mapped, rebuilt
from hotloop.passes.price import Prices

if TYPE_CHECKING:
    pass

CHEAP = 12  # operations that are rather computed again, or in vain, than kept in memory or branched around
BRANCHED = 96  # the price, in additions, from which on it pays to branch around what is not needed; less is done on vectors, for all
TRUE = constant(True, bool_, structural=False)
FALSE = constant(False, bool_, structural=False)
ZERO, ONE = constant(0, int64, structural=False), constant(1, int64, structural=False)
or_, and_, invert, select = logic.or_, logic.and_, logic.invert, logic.select
add, mul, neg, lt, gt = (REGISTRY[name] for name in ("add", "mul", "neg", "lt", "gt"))


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


class Trace:
    """Steps and bodies of one function for one combination of argument types."""

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

    # -- loops over elements, and choices ----------------------------------------------------------

    def loop(
        self, inits: Items[Node], condition: Callable[[Items[Node]], Node], step: Callable[[Items[Node]], Items[Node]],
        bounded: bool = False,
    ) -> list[Node]:  # fmt: skip
        """Return what scalars are after a loop inside of a body. The types of inits and results agree.

        bounded: the loop ends whatever is computed in it. Others end at their first fault: what they read then is not what they
        should.
        """
        params = self._params(inits)
        with self.body() as frame:
            holds = condition(params)
            tested = [pending.condition for pending in frame.faults]
            results = list(step(params))
        return self._built(params, inits, holds, results, self._gathered(frame.faults), tested, bounded)

    def counted(self, count: Node, start: Node, inits: Items[Node], step: Callable[[Node, Items[Node]], Items[Node]]) -> list[Node]:
        """Return what scalars are after a loop over places from `start` up to `count`, inside of a body."""
        params = self._params([start, *inits])
        place, limit = params[0], param_node(int64, ())
        self.below[place.id] = count
        with self.body() as frame:
            frame.counter, frame.count = place, count
            results = [apply(add, place, ONE), *step(place, params[1:])]
        wrong = FALSE
        for base, length in frame.ranges:
            beyond = apply(or_, apply(lt, base, apply(neg, length)), apply(gt, apply(add, base, count), length))
            wrong = apply(or_, wrong, apply(and_, apply(gt, count, ZERO), beyond))
        if wrong is not FALSE:  # then the loop does not run
            self._pend(apply(and_, self.guard, wrong), frame.range_site, ())
        (holds,) = substitute([apply(lt, place, limit)], {limit.id: selected(wrong, ZERO, count) if wrong is not FALSE else count})
        return self._built(params, [start, *inits], holds, results, self._gathered(frame.faults), [], bounded=True)[1:]

    def _params(self, inits: Items[Node]) -> list[Node]:
        params = [param_node(init.dtype, ()) for init in inits]
        self.bound.update([param.id for param in params])
        return params

    def _gathered(self, faults: list[Pending]) -> list[Pending]:
        """Return faults as one: which of them it was is asked when one has happened."""
        if self.diagnose or len(faults) < 2:
            return faults
        joint = faults[0].condition
        for pending in faults[1:]:
            joint = apply(or_, joint, pending.condition)
        return [Pending(joint, faults[0].site, ())]

    def _built(
        self, params: Items[Node], inits: Items[Node], holds: Node, results: Items[Node], faults: Items[Pending], tested: Items[Node],
        bounded: bool,
    ) -> list[Node]:  # fmt: skip
        """Return what a traced loop leaves; its faults are carried beside its variables."""
        values = self.diagnose
        hits = [param_node(bool_, ()) for _ in faults]
        kept = [[param_node(value.dtype, ()) for value in pending.values] if values else [] for pending in faults]
        ends = [apply(or_, hit, pending.condition) for hit, pending in zip(hits, faults, strict=True)]
        if not bounded:
            for condition in tested:  # the body runs once more, and finds it again
                holds = apply(or_, holds, condition)
            for hit in hits:
                holds = apply(and_, holds, apply(invert, hit))
        all_params, all_inits, all_results = [*params, *hits], [*inits, *[FALSE] * len(hits)], [*results, *ends]
        for hit, places, pending in zip(hits, kept, faults, strict=True):
            for place, value in zip(places, pending.values, strict=False):
                all_params.append(place)
                all_inits.append(constant(0, place.dtype, structural=False))
                all_results.append(apply(select, apply(and_, pending.condition, apply(invert, hit)), value, place))
        found = build_loop(all_inits, Body(tuple(all_params), tuple(all_results), None, None, holds))
        rest = iter(found[len(params) + len(hits) :])
        for number, pending in enumerate(faults):
            last = tuple([next(rest) for _ in kept[number]])
            hit = apply(and_, self.guard, found[len(params) + number])
            self._pend(hit, pending.site, last)
        return found[: len(params)]

    def choose(self, condition: Node, then: Callable[[], Value], otherwise: Callable[[], Value], merge: Merge) -> Value:
        """Return the value of one of two sides; at run time only that side is computed, where it matters."""
        if condition.is_const:
            return (then if condition.attr.value else otherwise)()
        if not self.frames:
            return self._choose_steps(condition, then, otherwise, merge)
        mark = param_node(bool_, ()).id
        sides = []
        for holds, side in ((condition, then), (apply(invert, condition), otherwise)):
            with self.guarded(holds), self._own_faults() as frame:
                value = side()
            sides.append((holds, value, self._gathered(frame.faults)))
        outline, a, b = merge(sides[0][1], sides[1][1])
        if _has_sequences(outline):
            for _, _, faults in sides:
                self.frames[-1].faults.extend(faults)
            return self._both(condition, a, b, merge, outline)
        values = zip(sides, (a, b), strict=True)
        chosen = [self._taken(holds, _in_types(value, outline), faults, mark) for (holds, _, faults), value in values]
        nodes = iter([selected(condition, x, y) for x, y in zip(*chosen, strict=True)])
        return mapped(lambda like: Number(next(nodes), like.weak) if isinstance(like, Number) else like, outline)

    def _both(self, condition: Node, a: Value, b: Value, merge: Merge, outline: Value) -> Value:
        """Return values of which one is chosen; of sequences each element and the length."""

        def both(x: Any, y: Any, like: Any) -> Value:
            if x is None or y is None:
                return y if x is None else x
            if isinstance(like, Number):
                return Number(selected(condition, as_type(x, like.dtype), as_type(y, like.dtype)), like.weak)
            if not isinstance(like, Sequence):
                return like
            x, y = self.whole(x), self.whole(y)
            return Sequence(
                apply(select, condition, x.length, y.length),
                lambda i: self.choose(condition, lambda: self.element(x, i), lambda: self.element(y, i), merge), self.depth,
            )  # fmt: skip

        return rebuilt(outline, iter([both(*three) for three in zip(leaves(a), leaves(b), leaves(outline), strict=True)]))

    @contextmanager
    def _own_faults(self) -> Iterator[Frame]:
        frame = Frame()
        self.frames.append(frame)
        try:
            yield frame
        finally:
            self.frames.pop()

    def _taken(self, holds: Node, values: list[Node], faults: list[Pending], mark: int) -> list[Node]:
        """Return values of one side of a choice; what is dear is computed only where the side is taken."""
        outs = [*values, *[pending.condition for pending in faults], *[v for pending in faults for v in pending.values if self.diagnose]]
        fresh = _younger(outs, mark)
        if any(node.op is LOOP for node in fresh) or sum(map(Prices().of, fresh)) > BRANCHED:
            outs = self._where(holds, outs, fresh, mark)
        rest = iter(outs[len(values) :])
        conditions = [next(rest) for _ in faults]
        for pending, condition in zip(faults, conditions, strict=True):
            known = tuple([next(rest) for _ in pending.values]) if self.diagnose else ()
            self.frames[-1].faults.append(Pending(condition, pending.site, known))
        return outs[: len(values)]

    def _where(self, holds: Node, outs: Items[Node], fresh: Items[Node], mark: int) -> list[Node]:
        """Return nodes computed in a loop of one trip or none; zeros if there is none.

        What the loop uses from before it is made to depend on the loop, so that nothing of it is computed before.
        """
        go = param_node(bool_, ())
        edge = {arg.id: arg for node in fresh for arg in node.args if arg.id < mark and not arg.is_const and not arg.shape}
        inside = {number: apply(select, go, node, constant(0, node.dtype, structural=False)) for number, node in edge.items()}
        moved = substitute(list(outs), inside) if inside else list(outs)
        params = [param_node(out.dtype, ()) for out in outs]
        inits = [constant(0, out.dtype, structural=False) for out in outs]
        found = build_loop([holds, *inits], Body((go, *params), (FALSE, *moved), None, None, go))
        return found[1:]

    # -- steps that are taken or not ---------------------------------------------------------------

    def _choose_steps(self, condition: Node, then: Callable[[], Value], otherwise: Callable[[], Value], merge: Merge) -> Value:
        with self.block() as first, self.guarded_top():
            a = then()
        with self.block() as second, self.guarded_top():
            b = otherwise()
        outline, a, b = merge(a, b)
        if not first and not second and all(_small(leaf.node) for leaf in (*leaves(a), *leaves(b)) if isinstance(leaf, Number)):
            return self._both(condition, a, b, merge, outline)
        joint: Value = None
        for steps, value in ((first, a), (second, b)):
            self.blocks.append(steps)
            joint = self.settle(value, outline, joint)
            self.blocks.pop()
        self.emit(If(condition, first, second))
        return joint

    @contextmanager
    def guarded_top(self) -> Iterator[None]:
        """Trace steps that only run where they should: no fault among them needs a condition."""
        guard, self.guard = self.guard, TRUE
        try:
            yield
        finally:
            self.guard = guard

    def settle(self, value: Value, outline: Value, joint: Value) -> Value:
        """Move a value into registers, those of `joint` or new ones, and return them as a value."""
        places = [None] * len(leaves(outline)) if joint is None else leaves(joint)
        found = []
        registers: list[Node] = []
        values: list[Node] = []
        arrays: list[Node] = []
        sources: list[Node] = []
        for leaf, like, place in zip(leaves(value), leaves(outline), places, strict=True):
            if not isinstance(like, (Number, Sequence)):
                found.append(like)
                continue
            if isinstance(like, Number):
                register = place.node if place is not None else param_node(like.dtype, ())
                found.append(Number(register, like.weak))
                if leaf is not None:
                    registers.append(register)
                    values.append(as_type(leaf, like.dtype))
                continue
            target = place.stored if place is not None else self.registers_for(like)
            found.append(place if place is not None else self.stored(target.arrays, target.shape, target.offsets, target.offset))
            if leaf is None:
                continue  # the registers hold nothing: a sequence without elements
            memory = self._like(leaf, target)
            pairs = list(zip(_all_arrays(target), _all_arrays(memory), strict=True))
            arrays += [pair[0] for pair in pairs]
            sources += [pair[1] for pair in pairs]
            registers += target.shape
            values += memory.shape
            if target.offset is not None:
                registers.append(target.offset)
                values.append(memory.offset or ZERO)
        if arrays:
            self.emit(Alias(tuple(arrays), tuple(sources)))
        if registers:
            self.emit(Compute(tuple(registers), tuple(values)))
        return rebuilt(outline, iter(found))

    def registers_for(self, sequence: Sequence) -> Stored:
        """Return new registers for what a sequence would be in memory; nothing is put there."""
        with self.block():
            memory = self.in_memory(sequence).stored
        assert memory is not None
        return self.registers_like(memory)

    def _like(self, sequence: Sequence, target: Stored) -> Stored:
        """Return where a sequence is in memory, laid out as what it is to be moved to."""
        memory = self.in_memory(sequence).stored
        assert memory is not None
        if memory.offset is not None and target.offset is None:
            memory = self.in_memory(Sequence(sequence.length, sequence.element, 0)).stored  # a row, copied
            assert memory is not None
        return memory

    def innermost(self, sequence: Sequence) -> tuple[Value, int]:
        """Return an element that is no sequence, for its types, and over how many dimensions it is found."""
        deep = 0
        value: Value = sequence
        with self.body():
            while isinstance(value, Sequence):
                deep += 1
                value = value.element(self.counter(value.length))
        return value, deep

    def registers_like(self, memory: Stored) -> Stored:
        """Return new registers for whatever may be in memory as `memory` is."""
        arrays = mapped(lambda array: array_register(array.dtype), memory.arrays)
        shape = tuple([param_node(int64, ()) for _ in memory.shape])
        offsets = tuple([array_register(int64) for _ in memory.offsets])
        return Stored(arrays, shape, offsets, param_node(int64, ()) if memory.offset is not None else None)

    def while_steps(self, condition: Node, head: Items[Step], body: Items[Step]) -> None:
        """Append a loop of steps."""
        self.emit(While(list(head), condition, list(body)))

    def procedure(self, inputs: Items[Node], results: Items[Node]) -> Procedure:
        """Return all steps as a procedure."""
        return Procedure(tuple(inputs), self.steps, tuple(results))


# the joint structure and types of two values, and both in that structure; None stands for what is not defined
Merge = Callable[[Value, Value], tuple[Value, Value, Value]]


def selected(condition: Node, x: Node, y: Node) -> Node:
    """Return x where the condition holds, else y; of bools `and` and `or`, of which more is known."""
    if x is y:
        return x
    if x.dtype is bool_:
        if y is condition or (y.is_const and not y.attr.value):
            return apply(and_, condition, x)
        if x is condition or (x.is_const and x.attr.value):
            return apply(or_, condition, y)
    return apply(select, condition, x, y)


def _all_arrays(stored: Stored) -> list[Node]:
    return [*leaves(stored.arrays), *stored.offsets]


def _has_sequences(value: Value) -> bool:
    return any(isinstance(leaf, Sequence) for leaf in leaves(value))


def _in_types(value: Value, outline: Value) -> list[Node]:
    pairs = [(leaf, like) for leaf, like in zip(leaves(value), leaves(outline), strict=True) if isinstance(like, Number)]
    return [constant(0, like.dtype, structural=False) if leaf is None else as_type(leaf, like.dtype) for leaf, like in pairs]


def _younger(outs: Items[Node], mark: int) -> list[Node]:
    """Return the nodes beyond a mark that `outs` need."""
    stack = [out for out in outs if out.id >= mark]
    found = {node.id: node for node in stack}
    while stack:
        for arg in stack.pop().args:
            if arg.id >= mark and arg.id not in found:
                found[arg.id] = arg
                stack.append(arg)
    return list(found.values())


def _small(node: Node) -> bool:
    """Whether a scalar is made by few operations that may as well be computed in vain."""
    stack, seen = [node], {node.id}
    while stack and len(seen) <= 2 * CHEAP:
        here = stack.pop()
        if here.op in (LOOP, AT):
            return False
        fresh = [arg for arg in here.args if arg.id not in seen]
        seen.update(arg.id for arg in fresh)
        stack.extend(fresh)
    return not stack

