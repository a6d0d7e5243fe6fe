"""Pass `differentiate`: a procedure of sweeps -> one that computes a result and its derivatives, in reverse mode.

The steps are undone from the last to the first. Loads at an element's own place become stores, other loads scatters or sums
(`sweep_scatter`); scans and reductions become scans the other way round (`sweep_recurrences`); loops of steps keep what they
carry and run each trip again before it is undone (`sweep_tape`); loops inside of bodies that are no sums become loops of steps
first (`sweep_waves`). Integers and comparisons have no derivative.
"""

from __future__ import annotations

from collections.abc import Sequence

from hotloop.dtypes import int64
from hotloop.errors import InternalError
from hotloop.ir.graph import Node, apply, constant, convert, exact_numbers, param_node
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import (
    Allocate,
    Compute,
    Copy,
    Filter,
    Fold,
    If,
    Operator,
    Procedure,
    Reduce,
    Scan,
    Scatter,
    Sort,
    Step,
    Store,
    Sweep,
    array_register,
    at,
)  # fmt: skip
from hotloop.passes.adjoint.activity import Activity
from hotloop.passes.adjoint.adjoints import Adjoints, Indices, Lengths, in_registers
from hotloop.passes.adjoint.facts import without_faults
from hotloop.passes.adjoint.loops import ZERO, Dim, zero
from hotloop.passes.adjoint.parts import parts_of
from hotloop.passes.adjoint.places import Bounds
from hotloop.passes.adjoint.prune import prune
from hotloop.passes.adjoint.recurrences import undo_reduce, undo_scan
from hotloop.passes.adjoint.regions import (
    Choice,
    Item,
    Loop,
    Regions,
    all_items,
    as_steps,
    assigned,
    loop_as_steps,
    regions,
    register_like,
    set_within,
)  # fmt: skip
from hotloop.passes.adjoint.scatter import add_parts
from hotloop.passes.adjoint.tape import Tape
from hotloop.passes.adjoint.undo import clear_elements, others_product, undo_scatter
from hotloop.passes.adjoint.waves import Marks, opened

add, mul, div, eq, select = (REGISTRY[name] for name in ("add", "mul", "div", "eq", "select"))
_MOST = 200  # steps that are opened before something is wrong
Seeds = list[tuple[Node, Node]]


def differentiate(
    procedure: Procedure, result: Node, variables: Sequence[Node], equal: Sequence[tuple[Node, Node]] = (), value: bool = True
) -> Procedure:  # fmt: skip
    """Return a procedure whose results are a result of the given one, if `value`, and its derivative by each of the variables.

    result: a float scalar. variables: floats and arrays of floats among the inputs. equal: lengths that are known to be equal.
    Raises GradientError for what has no derivative. Cost: about 0.1 ms a step.
    """
    with exact_numbers():
        plain = regions(procedure)
        found = plain.results[[node.id for node in procedure.results].index(result.id)]
        made = _Gradient(plain, found, variables, equal).procedure()
        return prune(made if value else Procedure(made.inputs, made.steps, made.results[1:]))


class _Gradient:
    def __init__(self, plain: Regions, result: Node, variables: Sequence[Node], equal: Sequence[tuple[Node, Node]]) -> None:
        self.inputs = plain.inputs
        self.result = result
        self.variables = variables
        self.equal = equal
        self.items, self.activity = _openable(plain.items, variables, result)
        self.tapes: dict[int, Tape] = {}
        self.copied = {item.array.id: item.source for item in all_items(self.items) if isinstance(item, Copy)}
        self.proven = without_faults(self.items)
        self.indices = Indices()
        self.indices.note(item for item in all_items(self.items) if isinstance(item, Sweep))

    def procedure(self) -> Procedure:
        """Return the steps forward and backward."""
        lengths = Lengths()
        for x, y in self.equal:
            lengths.equal(x, y)
        lengths.note(self.items)
        adjoints = Adjoints(None, lengths, self.indices)
        adjoints.add(self.result, constant(1.0, self.result.dtype, structural=False))
        self.undo(self.items, adjoints)
        outs = [param_node(self.result.dtype, ())]
        forward = [*self._again(self.items, True), Compute((outs[0],), (self.result,))]
        for variable in self.variables:
            outs.append(self._outcome(variable, adjoints))
        return Procedure(self.inputs, [*forward, *adjoints.steps], tuple(outs))

    def _outcome(self, variable: Node, adjoints: Adjoints) -> Node:
        """Return the register of the derivative by a variable."""
        if variable.shape:
            found, _ = adjoints.begin(variable, False)
            return found
        out, part = register_like(variable), adjoints.take(variable)
        adjoints.steps.append(Compute((out,), (zero(variable) if part is None else part,)))
        return out

    def _again(self, items: Sequence[Item], faults: bool) -> list[Step]:
        """Return items as steps, of which loops that are undone keep what they carry."""

        def steps(loop: Loop) -> list[Step]:
            tape = self.tapes.get(id(loop))
            return loop_as_steps(loop, faults) if tape is None else tape.run(faults)

        return as_steps(items, faults, steps)

    # -- steps -------------------------------------------------------------------------------------

    def undo(self, items: Sequence[Item], adjoints: Adjoints) -> None:
        """Append the steps that undo items to those of `adjoints`."""
        for item in reversed(items):
            match item:
                case Loop():
                    self._undo_loop(item, adjoints)
                case Choice():
                    self._undo_choice(item, adjoints)
                case Compute() | Sweep():
                    proven = self.proven[id(item)]
                    if isinstance(proven.step, Sweep):
                        self._undo_sweep(proven.step, proven.bounds, adjoints)
                    else:
                        self._undo_compute(proven.step, proven.bounds, adjoints)
                case Copy():
                    held = adjoints.take_array(item.array)
                    if held is not None and item.source in self.activity:
                        adjoints.add_array(item.source, held.register, held.owned)
                case Sort():
                    self._undo_sort(item, adjoints)
                case Allocate():
                    adjoints.take_array(item.array)

    def _undo_compute(self, step: Compute, bounds: Bounds, adjoints: Adjoints) -> None:
        seeds = []
        for register, value in zip(step.registers, step.values, strict=True):
            part = adjoints.take(register)
            if part is not None:
                seeds.append((value, part))
        self._derive(seeds, (), adjoints, (), bounds)

    def _derive(self, seeds: Seeds, dims: Sequence[Dim], adjoints: Adjoints, distinct: Sequence[Node], bounds: Bounds) -> None:
        if seeds:
            values, weights = zip(*seeds, strict=True)
            add_parts(parts_of(values, weights, dims, self.activity.__contains__), adjoints, distinct, bounds)

    def _undo_sort(self, step: Sort, adjoints: Adjoints) -> None:
        for key, made in zip(step.keys, step.sorted, strict=True):
            held = None if made is None else adjoints.take_array(made)
            if held is None or key not in self.activity:
                continue
            assert step.order is not None, "sorts that matter have an order"
            total, _ = adjoints.begin(key, False)
            count = adjoints.lengths.length(key)
            index = self.indices.of(count)
            place = at(step.order, index)
            adjoints.steps.append(Sweep(count, index, (Store(total, place, apply(add, at(total, place), at(held.register, index))),)))

    # -- choices and loops -------------------------------------------------------------------------

    def _undo_choice(self, choice: Choice, adjoints: Adjoints) -> None:
        parts = {out.id: self._taken(out, adjoints) for out in choice.outs}
        branches: list[Adjoints] = []
        for items, sources in ((choice.then, choice.first), (choice.otherwise, choice.second)):
            lengths = Lengths(adjoints.lengths)
            lengths.note(items)
            inner = Adjoints(set_within(items), lengths, self.indices, adjoints, branches[0] if branches else None)
            for out, source in zip(choice.outs, sources, strict=True):
                part = parts[out.id]
                if part is not None and source in self.activity:
                    inner.add_array(source, part, False) if source.shape else inner.add(source, part)
            self.undo(items, inner)
            inner.finish()
            branches.append(inner)
        adjoints.enter(branches[0])
        if branches[0].steps or branches[1].steps:
            adjoints.steps.append(If(choice.condition, branches[0].steps, branches[1].steps))

    def _taken(self, register: Node, adjoints: Adjoints) -> Node | None:
        """Return the register of a derivative, and forget it."""
        if register.shape:
            held = adjoints.take_array(register)
            return None if held is None else held.register
        part = adjoints.take(register)
        return None if part is None else in_registers([part], adjoints.steps)[0]

    def _undo_loop(self, loop: Loop, adjoints: Adjoints) -> None:
        """Undo the last run of the head, then each trip: run it again from what was carried, undo it, and go back by one."""
        carried = [number for number, param in enumerate(loop.params) if param in self.activity]
        params = [loop.params[number] for number in carried]
        adjoints.lengths.note(loop.head)
        self.undo(loop.head, adjoints)
        totals = [register_like(param) for param in params]
        trip = self._undo_trip(loop, carried, totals, adjoints)
        adjoints.enter(trip)
        for param, total in zip(params, totals, strict=True):
            adjoints.steps.extend(assigned([total], [self._total(param, adjoints)]))
        if trip.steps:
            tape = self.tapes[id(loop)] = Tape(loop)
            adjoints.steps.append(tape.undo([*self._again([*loop.head, *loop.body], False), *trip.steps]))
        for number, total in zip(carried, totals, strict=True):
            init = loop.inits[number]
            if init in self.activity:
                adjoints.add_array(init, total, True) if init.shape else adjoints.add(init, in_registers([total], adjoints.steps)[0])

    def _undo_trip(self, loop: Loop, carried: Sequence[int], totals: Sequence[Node], adjoints: Adjoints) -> Adjoints:
        """Return the steps that undo one trip; totals: the derivatives by what is carried, after it and then before it."""
        lengths = Lengths(adjoints.lengths)
        lengths.note([*loop.head, *loop.body])
        own = set_within([*loop.head, *loop.body]) | {param.id for param in loop.params}
        trip = Adjoints(own, lengths, self.indices, adjoints)
        for total, number in zip(totals, carried, strict=True):
            source = loop.nexts[number]
            if source in self.activity:
                trip.add_array(source, total, True) if total.shape else trip.add(source, total)
        self.undo(loop.body, trip)
        self.undo(loop.head, trip)
        sources = [self._total(loop.params[number], trip) for number in carried]
        trip.finish()
        trip.steps.extend(assigned(totals, sources))
        return trip

    def _total(self, register: Node, adjoints: Adjoints) -> Node:
        """Return the derivative by a register, which may be zero, and forget it."""
        if register.shape:
            found, _ = adjoints.begin(register, False)
            adjoints.take_array(register)
            return found
        part = adjoints.take(register)
        return zero(register) if part is None else part

    # -- sweeps ------------------------------------------------------------------------------------

    def _undo_sweep(self, sweep: Sweep, bounds: Bounds, adjoints: Adjoints) -> None:
        dims = [Dim(sweep.index, ZERO, sweep.count)]
        if sweep.inner is not None:
            dims.append(Dim(sweep.inner.index, sweep.inner.low, sweep.inner.high))
        seeds: Seeds = []
        cleared: list[tuple[Node, Node]] = []
        for effect in sweep.effects:
            match effect:
                case Store():
                    found = adjoints.current(effect.array) if effect.array in self.activity else None
                    if found is not None:
                        seeds.append((effect.value, at(found, effect.place)))
                        cleared.append((effect.array, effect.place))
                case Scan():
                    if any(array in self.activity for array in effect.arrays):
                        seeds += undo_scan(effect, sweep, adjoints)
                        cleared += [(array, effect.place) for array in effect.arrays if array in self.activity]
                case Fold():
                    seeds += self._undo_fold(effect, sweep, adjoints)
                case Reduce():
                    if any(into in self.activity for into in effect.into):
                        seeds += undo_reduce(effect, sweep, adjoints)
                case Filter():
                    seeds += self._undo_filter(effect, sweep, adjoints)
                case Scatter():
                    seeds += undo_scatter(effect, sweep, adjoints, self.activity, self.copied)
        places = [effect.place for effect in sweep.effects if isinstance(effect, Store)]
        self._derive(seeds, dims, adjoints, places, bounds)
        clear_elements(sweep, cleared, adjoints)

    def _undo_fold(self, fold: Fold, sweep: Sweep, adjoints: Adjoints) -> Seeds:
        part = adjoints.take(fold.into) if fold.into in self.activity else None
        if part is None:
            return []
        if fold.op is add:
            return [(fold.value, part)]
        if fold.op is mul:
            return [(fold.value, apply(mul, part, others_product(fold, sweep, adjoints)))]
        hit, one = apply(eq, fold.value, fold.into), constant(1.0, part.dtype, structural=False)
        count = param_node(part.dtype, ())  # of places that attain it: they share the derivative
        adjoints.steps.append(Sweep(sweep.count, sweep.index, (Fold(count, add, apply(select, hit, one, zero(part))),), sweep.inner))
        return [(fold.value, apply(select, hit, apply(div, part, count), constant(0.0, part.dtype, structural=True)))]

    def _undo_filter(self, effect: Filter, sweep: Sweep, adjoints: Adjoints) -> Seeds:
        held = [adjoints.take_array(array) if array in self.activity else None for array in effect.arrays]
        if all(found is None for found in held):
            return []
        places = array_register(int64)
        left, right = param_node(int64, ()), param_node(int64, ())
        plus = Operator((left,), (right,), (apply(add, left, right),))
        scan = Scan((places,), sweep.index, plus, (convert(effect.keep, int64),), (ZERO,), True)
        adjoints.steps.extend([Allocate(places, sweep.count), Sweep(sweep.count, sweep.index, (scan,))])
        place = at(places, sweep.index)
        pairs = [(value, found.register) for value, found in zip(effect.values, held, strict=True) if found is not None]
        return [
            (value, apply(select, effect.keep, at(found, place), constant(0.0, found.dtype, structural=True))) for value, found in pairs
        ]


def _openable(items: Sequence[Item], variables: Sequence[Node], result: Node) -> tuple[list[Item], Activity]:
    """Return items that can be undone one by one."""
    found, marks = list(items), Marks()
    for _ in range(_MOST):
        activity = Activity(found, variables, result)
        more = opened(found, activity, marks)
        if more is None:
            return found, activity
        found = more
    raise InternalError("loops within loops do not end")
