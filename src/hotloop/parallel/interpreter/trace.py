"""`Trace`: a recorder of steps that also traces loops over elements and choices, and moves values into registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from contextlib import contextmanager
from typing import Any

from hotloop.dtypes import bool_, int64
from hotloop.ir.graph import LOOP, Body, Node, apply, constant, param_node
from hotloop.ir.loop import build_loop, substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import AT, Alias, Compute, If, Procedure, Step, While, array_register
from hotloop.ops.logic import and_, invert, or_, select
from hotloop.parallel.interpreter.recorder import CHEAP, FALSE, ONE, TRUE, ZERO, Frame, Pending, Recorder
from hotloop.parallel.interpreter.recorder import Site as Site
from hotloop.parallel.interpreter.values import Number, Sequence, Stored, Value, as_type, leaves, mapped, rebuilt
from hotloop.passes.price import Prices

BRANCHED = 96  # the price, in additions, from which on it pays to branch around what is not needed; less is done on vectors, for all
add, neg, lt, gt = (REGISTRY[name] for name in ("add", "neg", "lt", "gt"))


class Trace(Recorder):
    """The steps and bodies of one function for one combination of argument types."""

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

