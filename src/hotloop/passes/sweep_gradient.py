"""Pass `differentiate`: a procedure of sweeps -> one that computes a result and its derivatives, in reverse mode.

The steps are undone from the last to the first. Loads at an element's own place become stores, other loads scatters or sums
(`sweep_scatter`); scans and reductions become scans the other way round (`sweep_recurrences`); loops of steps keep what they
carry and run each trip again before it is undone (`sweep_tape`); loops inside of bodies that are no sums become loops of steps
first (`sweep_waves`). Integers and comparisons have no derivative.
"""

from __future__ import annotations

from collections.abc import Sequence

from hotloop.dtypes import int64
from hotloop.ir.graph import Node, apply, constant, convert, exact_numbers, param_node
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import (
    Allocate, Compute, Copy, Filter, Fold, If, Operator, Procedure, Reduce, Scan, Scatter, Sort, Step, Store, Sweep, array_register, at,
)  # fmt: skip
from hotloop.ops.shape import identity
from hotloop.passes.sweep_activity import Activity
from hotloop.passes.sweep_adjoints import Adjoints, Indices, Lengths, in_registers
from hotloop.passes.sweep_loops import ONE, ZERO, Dim, zero
from hotloop.passes.sweep_parts import parts_of
from hotloop.passes.sweep_prune import prune
from hotloop.passes.sweep_recurrences import undo_reduce, undo_scan
from hotloop.passes.sweep_regions import Choice, Item, Loop, Regions, all_items, as_steps, is_sum, regions, register_like, set_within
from hotloop.passes.sweep_scatter import add_parts
from hotloop.passes.sweep_tape import Tape
from hotloop.passes.sweep_waves import extreme_of, opened

add, sub, mul, div, eq, ge, and_, select = (REGISTRY[name] for name in ("add", "sub", "mul", "div", "eq", "ge", "and", "select"))
_EXTREMES = (REGISTRY["minimum"], REGISTRY["maximum"])
_MOST = 200  # steps that are opened before something is wrong
Seeds = list[tuple[Node, Node]]


def differentiate(procedure: Procedure, result: Node, variables: Sequence[Node], equal: Sequence[tuple[Node, Node]] = ()) -> Procedure:
    """Return a procedure with the results (result, derivative by each of the variables), which are registers of its inputs.

    result: a float scalar among the procedure's results. equal: lengths that are known to be equal.
    Raises GradientError for what has no derivative. Cost: about 0.1 ms a step.
    """
    with exact_numbers():
        plain = regions(procedure)
        value = plain.results[[node.id for node in procedure.results].index(result.id)]
        return prune(_Gradient(plain, value, variables, equal).procedure())


class _Gradient:
    def __init__(self, plain: Regions, result: Node, variables: Sequence[Node], equal: Sequence[tuple[Node, Node]]) -> None:
        self.inputs = plain.inputs
        self.result = result
        self.variables = variables
        self.equal = equal
        self.items, self.activity = _openable(plain.items, variables, result)
        self.tapes: dict[int, Tape] = {}
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
        forward = [*as_steps(self.items, self._taped), Compute((outs[0],), (self.result,))]
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

    def _taped(self, loop: Loop) -> list[Step]:
        """Return a loop's steps; those of loops that are undone keep what they carry."""
        tape = self.tapes.get(id(loop))
        if tape is not None:
            return tape.run(as_plain, True)
        return as_plain(loop)

    # -- steps -------------------------------------------------------------------------------------

    def undo(self, items: Sequence[Item], adjoints: Adjoints) -> None:
        """Append the steps that undo items to those of `adjoints`."""
        for item in reversed(items):
            match item:
                case Loop():
                    self._undo_loop(item, adjoints)
                case Choice():
                    self._undo_choice(item, adjoints)
                case Compute():
                    self._undo_compute(item, adjoints)
                case Sweep():
                    self._undo_sweep(item, adjoints)
                case Copy():
                    held = adjoints.take_array(item.array)
                    if held is not None and item.source in self.activity:
                        adjoints.add_array(item.source, held.register, held.owned)
                case Sort():
                    self._undo_sort(item, adjoints)
                case Allocate():
                    adjoints.take_array(item.array)

    def _undo_compute(self, step: Compute, adjoints: Adjoints) -> None:
        seeds = []
        for register, value in zip(step.registers, step.values, strict=True):
            part = adjoints.take(register)
            if part is not None:
                seeds.append((value, part))
        self._derive(seeds, (), adjoints)

    def _derive(self, seeds: Seeds, dims: Sequence[Dim], adjoints: Adjoints, distinct: Sequence[Node] = ()) -> None:
        if seeds:
            values, weights = zip(*seeds, strict=True)
            add_parts(parts_of(values, weights, dims, self.activity.__contains__), adjoints, distinct)

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
        self.undo(loop.head, adjoints)
        params = [loop.params[number] for number in carried]
        starts = [self._taken(param, adjoints) for param in params]
        lengths = Lengths(adjoints.lengths)
        lengths.note([*loop.head, *loop.body])
        own = set_within([*loop.head, *loop.body]) | {param.id for param in loop.params}
        trip = Adjoints(own, lengths, self.indices, adjoints)
        totals = [register_like(param) for param in params]
        for total, number in zip(totals, carried, strict=True):
            source = loop.nexts[number]
            if source in self.activity:
                trip.add_array(source, total, False) if total.shape else trip.add(source, total)
        self.undo(loop.body, trip)
        self.undo(loop.head, trip)
        sources = [self._end(param, trip) for param in params]
        trip.finish()
        if not trip.steps:
            return
        from hotloop.passes.sweep_regions import assigned

        trip.steps.extend(assigned(totals, sources))
        if not params and not trip.outer():
            return
        adjoints.enter(trip)
        for param, total, start in zip(params, totals, starts, strict=True):
            self._start(param, total, start, adjoints)
        tape = self.tapes[id(loop)] = Tape(loop)
        again = [*as_steps(loop.head, self._taped_again, False), *as_steps(loop.body, self._taped_again, False)]
        adjoints.steps.append(tape.undo([*again, *trip.steps]))
        for number, total in zip(carried, totals, strict=True):
            init = loop.inits[number]
            if init in self.activity:
                adjoints.add_array(init, total, True) if init.shape else adjoints.add(init, in_registers([total], adjoints.steps)[0])
