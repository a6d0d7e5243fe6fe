"""Regions: a procedure in which every register is set at one place, and loops and choices say what goes in and comes out.

This is the form that reverse mode walks backwards: what a register held when a step ran, it still holds when the
step is undone. Arrays that a step changes in place are copied first if anything may have read them before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from hotloop.dtypes import bool_, int64
from hotloop.ir.graph import CONST, PARAM, Node, constant, param_node
from hotloop.ir.loop import substitute
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import (
    AT,
    Alias,
    Allocate,
    Compute,
    Copy,
    Effect,
    Fault,
    Filter,
    Fold,
    If,
    Inner,
    Operator,
    Procedure,
    Reduce,
    Scan,
    Scatter,
    Sort,
    SortBy,
    Step,
    Store,
    Sweep,
    While,
    array_register,
)  # fmt: skip

Read = Callable[[Node], Node]
ZERO = constant(0, int64, structural=False)


@dataclass(slots=True, eq=False)
class Loop:
    """Params are the inits; run head; while the condition then holds, run body, params become the nexts, and run head."""

    head: list[Item]
    condition: Node
    body: list[Item]
    params: list[Node]
    inits: list[Node]
    nexts: list[Node]


@dataclass(slots=True, eq=False)
class Choice:
    """Run one of two lists; outs become what is in the registers `first` or `second` then."""

    condition: Node
    then: list[Item]
    otherwise: list[Item]
    outs: list[Node]
    first: list[Node]
    second: list[Node]


Plain = Sweep | Compute | Allocate | Copy | Sort | SortBy | Fault
Item = Plain | Loop | Choice


@dataclass(slots=True, eq=False)
class Regions:
    """A whole procedure. results: registers or constants."""

    inputs: tuple[Node, ...]
    items: list[Item]
    results: list[Node]


def register_like(node: Node) -> Node:
    """Return a new register of the kind of another."""
    return array_register(node.dtype) if node.shape else param_node(node.dtype, ())


# ---------------------------------------------------------------------------------- what steps read and write


def step_nodes(step: Plain) -> list[Node]:
    """Return the graphs that a step computes; array registers that it takes whole are not among them."""
    match step:
        case Sweep():
            rows = [] if step.inner is None else [step.inner.low, step.inner.high]
            return [step.count, *rows, *[node for effect in step.effects for node in effect_nodes(effect)]]
        case Compute():
            return list(step.values)
        case Allocate():
            return [step.length]
        case SortBy():
            return [step.length, step.less]
        case Fault():
            return [step.condition, *step.values]
    return []


def effect_nodes(effect: Effect) -> list[Node]:
    """Return the graphs that an effect computes for an element, those of its operator and its inits among them."""
    match effect:
        case Store():
            return [effect.place, effect.value]
        case Fold():
            return [effect.value]
        case Reduce():
            return [*effect.values, *(effect.inits or ()), *effect.operator.combined, *_given(effect.keep)]
        case Scan():
            return [effect.place, *effect.values, *(effect.inits or ()), *effect.operator.combined]
        case Filter():
            return [effect.keep, *effect.values]
        case Scatter():
            operator = () if effect.operator is None else effect.operator.combined
            return [effect.place, *effect.values, *_given(effect.keep), *operator]


def _given(node: Node | None) -> list[Node]:
    return [] if node is None else [node]


def changed_arrays(step: Plain) -> list[Node]:
    """Return the arrays of which a step writes elements."""
    if not isinstance(step, Sweep):
        return []
    found = [effect.array for effect in step.effects if isinstance(effect, Store)]
    return found + [array for effect in step.effects if isinstance(effect, (Scan, Scatter)) for array in effect.arrays]


def set_registers(step: Plain) -> list[Node]:
    """Return the registers that a step sets."""
    match step:
        case Sweep():
            return [node for effect in step.effects for node in _effect_sets(effect)]
        case Compute():
            return list(step.registers)
        case Allocate() | Copy():
            return [step.array]
        case Sort():
            return [node for node in (*step.sorted, step.order) if node is not None]
        case SortBy():
            return [step.order]
    return []


def _effect_sets(effect: Effect) -> list[Node]:
    match effect:
        case Fold():
            return [effect.into]
        case Reduce():
            return list(effect.into)
        case Filter():
            return [*effect.arrays, effect.kept]
    return []


def arrays_read(nodes: Iterable[Node]) -> list[Node]:
    """Return the arrays whose elements graphs load."""
    return list({node.args[0].id: node.args[0] for node in walk(nodes) if node.op is AT}.values())


def whole_arrays(step: Plain) -> list[Node]:
    """Return the arrays that a step takes as a whole."""
    return [step.source] if isinstance(step, Copy) else list(step.keys) if isinstance(step, Sort) else []


def rebuilt(step: Plain, read: Read, write: Read) -> Plain:
    """Return a step with its graphs and what it takes replaced by `read`, and what it sets or changes by `write`."""
    match step:
        case Sweep():
            inner = step.inner and Inner(step.inner.index, read(step.inner.low), read(step.inner.high))
            return Sweep(read(step.count), step.index, tuple([rebuilt_effect(effect, read, write) for effect in step.effects]), inner)
        case Compute():
            return Compute(tuple(map(write, step.registers)), tuple(map(read, step.values)))
        case Allocate():
            return Allocate(write(step.array), read(step.length))
        case Copy():
            return Copy(write(step.array), read(step.source))
        case Sort():
            ordered = tuple([None if node is None else write(node) for node in step.sorted])
            return Sort(tuple(map(read, step.keys)), step.descending, ordered, None if step.order is None else write(step.order))
        case SortBy():
            return SortBy(read(step.length), step.first, step.second, read(step.less), write(step.order))
        case Fault():
            return Fault(read(step.condition), step.number, tuple(map(read, step.values)))


def rebuilt_effect(effect: Effect, read: Read, write: Read) -> Effect:
    """Do what `rebuilt` does for an effect."""

    def all_read(nodes: Sequence[Node]) -> tuple[Node, ...]:
        return tuple(map(read, nodes))

    def operator(given: Operator) -> Operator:
        return Operator(given.left, given.right, all_read(given.combined))

    match effect:
        case Store():
            return Store(write(effect.array), read(effect.place), read(effect.value))
        case Fold():
            return Fold(write(effect.into), effect.op, read(effect.value))
        case Reduce():
            inits, keep = effect.inits and all_read(effect.inits), effect.keep and read(effect.keep)
            return Reduce(tuple(map(write, effect.into)), operator(effect.operator), all_read(effect.values), inits, keep)
        case Scan():
            inits = effect.inits and all_read(effect.inits)
            arrays = tuple(map(write, effect.arrays))
            return Scan(arrays, read(effect.place), operator(effect.operator), all_read(effect.values), inits, effect.exclusive)
        case Filter():
            return Filter(tuple(map(write, effect.arrays)), read(effect.keep), all_read(effect.values), write(effect.kept))
        case Scatter():
            keep, own = effect.keep and read(effect.keep), effect.operator and operator(effect.operator)
            return Scatter(tuple(map(write, effect.arrays)), read(effect.place), all_read(effect.values), keep, own)


# -------------------------------------------------------------------------------------------- into regions


def regions(procedure: Procedure) -> Regions:
    """Return a procedure as regions. Cost: linear in its size, times the depth of its loops."""
    builder = _Builder(procedure)
    items = builder.block(procedure.steps)
    return Regions(procedure.inputs, items, [builder.env[node.id] for node in procedure.results])


class _Builder:
    def __init__(self, procedure: Procedure) -> None:
        self.env = {node.id: node for node in procedure.inputs}  # register of the procedure -> where its value is now
        self.uses = _uses(procedure.steps)  # how often each register is read
        self.uses.update([node.id for node in procedure.results])
        self.taken = set(self.env)  # registers that are set already
        self.fresh: set[int] = set()  # arrays that may be changed in place
        self.items: list[Item] = []

    def block(self, steps: Iterable[Step]) -> list[Item]:
        """Return steps as items; `env` is what it is after them."""
        before, self.items = self.items, []
        for step in steps:
            self._add(step)
        made, self.items = self.items, before
        return made

    def _add(self, step: Step) -> None:
        match step:
            case While():
                self._loop(step)
            case If():
                self._choice(step)
            case Alias():
                sources = [self.env[source.id] for source in step.sources]
                self.env.update(zip([array.id for array in step.arrays], sources, strict=True))
                self.fresh.difference_update([source.id for source in sources])
            case _:
                self._plain(step)

    # -- values ------------------------------------------------------------------------------------

    def _read(self, nodes: Sequence[Node]) -> dict[int, Node]:
        """Return graphs by their ids, with registers replaced by where their values are."""
        mapping = {node.id: self.env[node.id] for node in walk(nodes) if node.op is PARAM and self.env.get(node.id, node) is not node}
        found = substitute(nodes, mapping)
        self.fresh.difference_update([array.id for array in arrays_read(found)])
        return {old.id: new for old, new in zip(nodes, found, strict=True)}

    def _set(self, register: Node) -> Node:
        version = register if register.id not in self.taken else register_like(register)
        self.taken.add(version.id)
        self.env[register.id] = version
        return version

    def _plain(self, step: Plain) -> None:
        known = self._read(step_nodes(step))
        for array in whole_arrays(step):
            known[array.id] = self.env[array.id]
            self.fresh.discard(self.env[array.id].id)
        if isinstance(step, Compute):
            self._compute(step, known)
            return
        changed = {array.id: self._changeable(array, step) for array in changed_arrays(step)}
        written = changed | {register.id: self._set(register) for register in set_registers(step)}
        made = rebuilt(step, lambda node: known[node.id], lambda node: written[node.id])
        self.items.append(made)
        if isinstance(made, (Allocate, Copy)):
            self.fresh.add(made.array.id)

    def _compute(self, step: Compute, known: dict[int, Node]) -> None:
        """Replace registers that only name something by what they name."""
        computed = []
        for register, value in [(register, known[value.id]) for register, value in zip(step.registers, step.values, strict=True)]:
            if value.op in (PARAM, CONST):
                self.env[register.id] = value
            else:
                computed.append((self._set(register), value))
        if computed:
            registers, values = zip(*computed, strict=True)
            self.items.append(Compute(registers, values))

    def _changeable(self, array: Node, step: Plain) -> Node:
        """Return the array that a step may change: a copy if something has read it, or will know its old elements."""
        version = self.env[array.id]
        if version.id in self.fresh and not _needs_old(array, step):
            return version
        copy = register_like(array)
        self.taken.add(copy.id)
        self.env[array.id] = copy
        self.fresh.add(copy.id)
        self.items.append(Copy(copy, version))
        return copy

    # -- loops and choices -------------------------------------------------------------------------

    def _loop(self, step: While) -> None:
        inside = [*step.head, *step.body]
        carried = self._carried(inside)
        inits = [self._default(register) if register.id not in self.env else self.env[register.id] for register in carried]
        fresh = set(self.fresh)
        self.fresh -= {self.env[number].id for number in _loaded(inside) if number in self.env}
        self.fresh.difference_update([init.id for init in inits])
        left = set(self.fresh)
        params = [self._set(register) for register in carried]
        head = self.block(step.head)
        after, condition = dict(self.env), self._read([step.condition])[step.condition.id]
        body = self.block(step.body)
        nexts = [self.env[register.id] for register in carried]
        self.env, self.fresh = after, left & fresh
        self.items.append(Loop(head, condition, body, params, inits, nexts))

    def _carried(self, inside: Sequence[Step]) -> list[Node]:
        """Return the registers that are set in a loop and known before it, or read after it, or in it before they are set."""
        written = {node.id: node for node in _written(inside)}
        loaded = _loaded(inside)
        changed = {node.id: node for node in _changed(inside) if node.id in loaded}
        within = _uses(inside)
        exposed: set[int] = set()
        _find_exposed(inside, set(), exposed)
        kept = {number for number in written if number in self.env or self.uses[number] > within[number] or number in exposed}
        return [node for number, node in (written | changed).items() if number in kept or (number in changed and number in self.env)]

    def _default(self, register: Node) -> Node:
        """Return what stands for a register that is not set yet: nothing reads it then, but it may be handed on."""
        if not register.shape:
            return constant(False if register.dtype is bool_ else 0, register.dtype, structural=False)
        empty = register_like(register)
        self.taken.add(empty.id)
        self.items.append(Allocate(empty, ZERO))
        return empty

    def _choice(self, step: If) -> None:
        condition = self._condition(step.condition)
        before, fresh = dict(self.env), set(self.fresh)
        then = self.block(step.then)
        first, first_fresh = self.env, self.fresh
        self.env, self.fresh = dict(before), set(fresh)
        otherwise = self.block(step.otherwise)
        second = self.env
        self.fresh &= first_fresh & fresh
        registers = {node.id: node for node in _written([*step.then, *step.otherwise])}
        registers |= {node.id: node for node in _changed([*step.then, *step.otherwise])}
        self.env = {number: node for number, node in first.items() if second.get(number) is node}
        within = _uses([*step.then, *step.otherwise])
        for number, register in registers.items():  # what one side sets, and something after it reads
            if self.uses[number] > within[number] and (number in first) is not (number in second):
                side, items = (second, otherwise) if number in first else (first, then)
                self.items, kept = items, self.items
                side[number] = self._default(register)
                self.items = kept
        differ = [
            node for number, node in registers.items() if number in first and number in second and first[number] is not second[number]
        ]
        outs = [self._set(register) for register in differ]
        self.items.append(Choice(condition, then, otherwise, outs, [first[n.id] for n in differ], [second[n.id] for n in differ]))

    def _condition(self, condition: Node) -> Node:
        known = self._read([condition])[condition.id]
        if known.op in (PARAM, CONST):
            return known
        register = param_node(known.dtype, ())
        self.taken.add(register.id)
        self.items.append(Compute((register,), (known,)))
        return register


def _needs_old(array: Node, step: Plain) -> bool:
    """Whether the derivative of a step needs what an array held before it."""
    if not isinstance(step, Sweep) or not array.dtype.is_float:
        return False
    scatters = [effect for effect in step.effects if isinstance(effect, Scatter) and array in effect.arrays]
    return any(effect.operator is not None and not is_sum(effect.operator) for effect in scatters)


def is_sum(operator: Operator) -> bool:
    """Whether an operator adds component by component."""
    from hotloop.ops.arith import add

    return all(
        node.op is add and {arg.id for arg in node.args} == {left.id, right.id}
        for node, left, right in zip(operator.combined, operator.left, operator.right, strict=True)
    )


def _all_steps(steps: Iterable[Step]) -> Iterable[Step]:
    for step in steps:
        yield step
        if isinstance(step, While):
            yield from _all_steps([*step.head, *step.body])
        elif isinstance(step, If):
            yield from _all_steps([*step.then, *step.otherwise])


def _reads(step: Step) -> set[int]:
    """Return the ids of the registers that a step itself reads, or changes."""
    match step:
        case While() | If():
            return {node.id for node in walk([step.condition]) if node.op is PARAM}
        case Alias():
            return {source.id for source in step.sources}
    whole = [*whole_arrays(step), *changed_arrays(step)]
    return {node.id for node in walk(step_nodes(step)) if node.op is PARAM} | {array.id for array in whole}


def _uses(steps: Iterable[Step]) -> Counter[int]:
    """Return how many steps read each register."""
    return Counter(number for step in _all_steps(steps) for number in _reads(step))


def _find_exposed(steps: Iterable[Step], known: set[int], found: set[int]) -> None:
    """Find the registers that steps may read before they set them; `known` are set, and become more."""
    for step in steps:
        found |= _reads(step) - known if not isinstance(step, While) else set()
        match step:
            case While():
                inner = set(known)
                _find_exposed(step.head, inner, found)
                found |= _reads(step) - inner
                _find_exposed(step.body, inner, found)
            case If():
                sides = [set(known), set(known)]
                for side, inside in zip(sides, (step.then, step.otherwise), strict=True):
                    _find_exposed(inside, side, found)
                known |= sides[0] & sides[1]
            case Alias():
                known.update(array.id for array in step.arrays)
            case _:
                known.update(register.id for register in set_registers(step))


def _written(steps: Iterable[Step]) -> list[Node]:
    found: list[Node] = []
    for step in _all_steps(steps):
        if isinstance(step, Alias):
            found += step.arrays
        elif not isinstance(step, (While, If)):
            found += set_registers(step)
    return found


def _changed(steps: Iterable[Step]) -> list[Node]:
    return [array for step in _all_steps(steps) if not isinstance(step, (While, If, Alias)) for array in changed_arrays(step)]


def _loaded(steps: Iterable[Step]) -> set[int]:
    found: set[int] = set()
    for step in _all_steps(steps):
        if isinstance(step, Alias):
            found.update(source.id for source in step.sources)
        elif isinstance(step, (While, If)):
            found.update(array.id for array in arrays_read([step.condition]))
        else:
            found.update(array.id for array in (*arrays_read(step_nodes(step)), *whole_arrays(step)))
    return found


# --------------------------------------------------------------------------------------------- back to steps


def assigned(targets: Sequence[Node], sources: Sequence[Node]) -> list[Step]:
    """Return the steps that set registers to what others hold, all at once."""
    pairs = [(target, source) for target, source in zip(targets, sources, strict=True) if target is not source]
    arrays = [pair for pair in pairs if pair[0].shape]
    scalars = [pair for pair in pairs if not pair[0].shape]
    found: list[Step] = []
    if arrays:
        found.append(Alias(tuple([target for target, _ in arrays]), tuple([source for _, source in arrays])))
    if scalars:
        found.append(Compute(tuple([target for target, _ in scalars]), tuple([source for _, source in scalars])))
    return found


def as_steps(items: Iterable[Item], faults: bool = True, loop_steps: Callable[[Loop], list[Step]] | None = None) -> list[Step]:
    """Return items as new steps: none is in two places. faults: whether to keep them; loop_steps: how outer loops are written."""
    found: list[Step] = []
    for item in items:
        match item:
            case Loop():
                found += loop_as_steps(item, faults) if loop_steps is None else loop_steps(item)
            case Choice():
                then = [*as_steps(item.then, faults, loop_steps), *assigned(item.outs, item.first)]
                found.append(If(item.condition, then, [*as_steps(item.otherwise, faults, loop_steps), *assigned(item.outs, item.second)]))
            case Fault():
                found += [replace(item)] if faults else []
            case _:
                found.append(replace(item))
    return found


def loop_as_steps(loop: Loop, faults: bool) -> list[Step]:
    """Return a loop that keeps nothing."""
    body = [*as_steps(loop.body, faults), *assigned(loop.params, loop.nexts)]
    return [*assigned(loop.params, loop.inits), While(as_steps(loop.head, faults), loop.condition, body)]


def all_items(items: Iterable[Item]) -> Iterable[Item]:
    """Yield all items, those within loops and choices after them."""
    for item in items:
        yield item
        if isinstance(item, Loop):
            yield from all_items([*item.head, *item.body])
        elif isinstance(item, Choice):
            yield from all_items([*item.then, *item.otherwise])


def set_within(items: Iterable[Item]) -> set[int]:
    """Return the ids of all registers that items set."""
    found: set[int] = set()
    for item in all_items(items):
        if isinstance(item, Loop):
            found.update(node.id for node in item.params)
        elif isinstance(item, Choice):
            found.update(node.id for node in item.outs)
        else:
            found.update(node.id for node in set_registers(item))
    return found
