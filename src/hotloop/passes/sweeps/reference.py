"""The definition of procedures: steps executed one by one with each row's NumPy meaning, in the orders that all targets keep.

It is here, and not beside `ir.reference`, because the orders of reductions are decided in `effects`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from hotloop.ir.fold import evaluate
from hotloop.ir.graph import CONST, ITEM, LOOP, PARAM, Body, Node
from hotloop.ir.loop import dependents
from hotloop.ir.rewrite import ends, variables, walk
from hotloop.ir.sweep import (
    AT,
    Alias,
    Allocate,
    Compute,
    Copy,
    Fault,
    Filter,
    If,
    Operator,
    Procedure,
    Reduce,
    Scan,
    Scatter,
    Sort,
    SortBy,
    Step,
    Sweep,
    While,
)
from hotloop.ops.shape import LANES, fold_halves, identity, length
from hotloop.passes.sweeps.effects import Folding, Task, tasks

Array = np.ndarray[Any, Any]
Values = dict[int, Array]  # by the id of the node: one value, or one for each element


class Faulted(Exception):
    """A Fault step found its condition to hold."""

    def __init__(self, number: int, values: list[Any]) -> None:
        super().__init__(number, values)
        self.number = number
        self.values = values


def execute(procedure: Procedure, arguments: Sequence[Any]) -> list[Array]:
    """Run a procedure on numbers and arrays of one dimension; return its results."""
    memory: Values = {}
    for node, argument in zip(procedure.inputs, arguments, strict=True):
        memory[node.id] = np.array(argument, node.dtype.numpy)
    for step in procedure.steps:
        _run(step, memory)
    return [np.array(memory[node.id]) for node in procedure.results]


def _run(step: Step, memory: Values) -> None:
    match step:
        case Sweep():
            for task in tasks(step):
                for array in task.makes:
                    memory[array.id] = np.zeros(max(0, int(_one(step.count, memory))), array.dtype.numpy)
                _Executor(task, memory).run()
        case Compute():
            memory.update(zip([node.id for node in step.registers], _evaluate(step.values, memory), strict=True))
        case Allocate():
            memory[step.array.id] = np.zeros(max(0, int(_one(step.length, memory))), step.array.dtype.numpy)
        case Copy():
            memory[step.array.id] = memory[step.source.id].copy()
        case Alias():
            memory.update(zip([node.id for node in step.arrays], [memory[node.id] for node in step.sources], strict=True))
        case Sort():
            _sort(step, memory)
        case SortBy():
            _sort_by(step, memory)
        case Fault():
            if _one(step.condition, memory):
                raise Faulted(step.number, [value.item() for value in _evaluate(step.values, memory)])
        case While():
            _run_all(step.head, memory)
            while _one(step.condition, memory):
                _run_all(step.body, memory)
                _run_all(step.head, memory)
        case If():
            _run_all(step.then if _one(step.condition, memory) else step.otherwise, memory)


def _run_all(steps: Iterable[Step], memory: Values) -> None:
    for step in steps:
        _run(step, memory)


def _sort(step: Sort, memory: Values) -> None:
    order = np.arange(len(memory[step.keys[0].id]))
    for key, descending in reversed(list(zip(step.keys, step.descending, strict=True))):
        values = memory[key.id][order]
        nan = np.isnan(values) if key.dtype.is_float else np.zeros(len(values), bool)
        ranks = np.unique(np.where(nan, 0, values), return_inverse=True)[1]
        order = order[np.argsort(np.where(nan, len(values), -ranks if descending else ranks), kind="stable")]
    for key, array in zip(step.keys, step.sorted, strict=True):
        if array is not None:
            memory[array.id] = memory[key.id][order]
    if step.order is not None:
        memory[step.order.id] = order


def _sort_by(step: SortBy, memory: Values) -> None:
    def less(first: int, second: int) -> bool:
        found = memory | {step.first.id: np.asarray(first), step.second.id: np.asarray(second)}
        return bool(_one(step.less, found))

    order: list[int] = []
    for place in range(int(_one(step.length, memory))):
        at = len(order)
        while at and less(place, order[at - 1]):
            at -= 1
        order.insert(at, place)
    memory[step.order.id] = np.array(order, np.int64)


# ----------------------------------------------------------------------------------------------- evaluation


def _one(node: Node, memory: Values) -> Any:  # Any: a NumPy scalar
    return _evaluate([node], memory)[0][()]


def _evaluate(nodes: Sequence[Node], memory: Values) -> list[Array]:
    found = dict(memory)
    _fill(walk(nodes), found)
    return [found[node.id] for node in nodes]


def _fill(nodes: Iterable[Node], found: Values) -> None:
    """Put the value of each node that does not wait for params of a loop into `found`."""
    for node in nodes:
        if node.id in found:
            continue
        if node.op is CONST:
            found[node.id] = np.asarray(node.attr.value, node.dtype.numpy)
        elif node.op is PARAM or any(arg.id not in found for arg in node.args):
            continue
        elif node.op is LOOP:
            found.update(_loop(node, found))
        elif node.op is AT:
            found[node.id] = _element(found[node.args[0].id], found[node.args[1].id])
        elif node.op is length:
            found[node.id] = np.asarray(len(found[node.args[0].id]), np.int64)
        elif node.op is not ITEM:
            found[node.id] = np.asarray(evaluate(node.op, [found[arg.id] for arg in node.args])).astype(node.dtype.numpy, copy=False)
        else:
            found[node.id] = found[~node.args[0].id][node.attr]


def _element(array: Array, place: Array) -> Array:
    """Return the element at each place, zero where there is none."""
    inside = (place >= 0) & (place < len(array))
    padded = array if len(array) else np.zeros(1, array.dtype)
    return np.where(inside, padded[np.where(inside, place, 0)], array.dtype.type(0))


def _loop(node: Node, outer: Values) -> Values:
    """Return what the carried variables of a loop are after it, each element stopping when its condition fails."""
    body: Body = node.attr
    carried: list[Array] = [outer[arg.id] for arg in node.args[: len(body.params)]]
    nodes = dependents(ends(body), variables(body))
    active: Array = np.asarray(True)
    trip = 0
    while body.trips is None or trip < body.trips:
        found = dict(outer)
        found.update(zip([param.id for param in body.params], carried, strict=True))
        if body.index is not None:
            found[body.index.id] = np.asarray(trip, np.int32)
        _fill(nodes, found)
        if body.condition is not None:
            active = active & found[body.condition.id]
            if not np.any(active):
                break
        carried = [np.where(active, found[result.id], old) for result, old in zip(body.results, carried, strict=True)]
        trip += 1
    return {node.id: np.asarray(0), ~node.id: carried}  # type: ignore[dict-item]  # the complement's key holds what ITEM nodes take


# ------------------------------------------------------------------------------------------------- sweeps


class _Executor:
    """Executes one task: its body on all elements at once, its effects in their order."""

    def __init__(self, task: Task, memory: Values) -> None:
        self.task = task
        self.memory = memory
        self.count = max(0, int(_one(task.sweep.count, memory)))
        found = memory | {task.sweep.index.id: np.arange(self.count)}
        inner = task.sweep.inner
        if inner is not None:
            low, high = [np.broadcast_to(x, self.count) for x in _evaluate([inner.low, inner.high], found)]
            trips = np.maximum(high - low, 0)
            rows = np.repeat(np.arange(self.count), trips)
            found[task.sweep.index.id] = rows
            found[inner.index.id] = np.arange(len(rows)) - np.repeat(np.cumsum(trips) - trips, trips) + low[rows]
            self.count = len(rows)
        with np.errstate(all="ignore"):
            _fill(walk(task.ends()), found)
        self.found = found

    def all(self, node: Node) -> Array:
        """Return a node's value for every element."""
        return np.broadcast_to(self.found[node.id], self.count)

    def chunks(self) -> list[slice]:
        """Return the elements of each chunk."""
        return [slice(start, min(start + self.task.chunk, self.count)) for start in range(0, self.count, self.task.chunk)]

    def segments(self, chunk: slice) -> list[slice]:
        """Return the parts of a chunk that are reduced one by one."""
        size = -(-(chunk.stop - chunk.start) // LANES) if self.task.segmented else chunk.stop - chunk.start
        return [slice(start, min(start + size, chunk.stop)) for start in range(chunk.start, chunk.stop, size)]

    def run(self) -> None:
        """Have all effects."""
        task, memory = self.task, self.memory
        changed: Values = {}
        for value, into in task.flags:
            changed[into.id] = np.asarray(np.any(self.all(value)))
        for fold in task.folds:
            if fold.into is not None:
                changed[fold.into.id] = self.fold(fold)
        for reduce in task.reduces:
            changed.update(zip([node.id for node in reduce.into], self.reduce(reduce), strict=True))
        if task.filter is not None:
            changed.update(self._filter(task.filter))
        if task.scan is not None:
            self._scan(task.scan)
        if task.scatter is not None:
            self._scatter(task.scatter)
        for store in task.stores:
            place = self.all(store.place)
            inside = (place >= 0) & (place < len(memory[store.array.id]))
            memory[store.array.id][place[inside]] = self.all(store.value)[inside]
        memory.update(changed)

    def _combined(self, operator: Operator, lefts: Sequence[Array], rights: Sequence[Array]) -> list[Array]:
        found = dict(self.memory)
        found.update(zip([node.id for node in (*operator.left, *operator.right)], [*lefts, *rights], strict=True))
        with np.errstate(all="ignore"):
            _fill(walk(operator.combined), found)
        return [found[node.id] for node in operator.combined]

    def fold(self, fold: Folding) -> Array:
        """Return all values of a folding combined."""

        def combine(x: Any, y: Any) -> Any:
            return evaluate(fold.op, [x, y])

        values = self.all(fold.value)
        partials = [fold_halves(values[chunk], combine) for chunk in self.chunks()]
        total = None if fold.init is None else _evaluate([fold.init], self.memory)[0]
        for partial in partials:
            total = partial if total is None else combine(total, partial)
        return np.asarray(_neutral(fold) if total is None else total)

    def reduce(self, reduce: Reduce) -> list[Array]:
        """Return all values of a reduction combined."""
        values = [self.all(value) for value in reduce.values]
        keep = np.ones(self.count, bool) if reduce.keep is None else self.all(reduce.keep)
        total = None if reduce.inits is None else _evaluate(reduce.inits, self.memory)
        for chunk in self.chunks():
            partial: list[Array] | None = None
            for segment in self.segments(chunk):
                found = self._sequential(reduce.operator, [value[segment][keep[segment]] for value in values])
                partial = self._joined(reduce.operator, partial, found)
            total = self._joined(reduce.operator, total, partial)
        return total if total is not None else [np.zeros((), value.dtype) for value in values]

    def _joined(self, operator: Operator, left: list[Array] | None, right: list[Array] | None) -> list[Array] | None:
        return right if left is None else left if right is None else self._combined(operator, left, right)

    def _sequential(self, operator: Operator, values: Sequence[Array]) -> list[Array] | None:
        total: list[Array] | None = None
        for element in zip(*values, strict=True):
            total = list(element) if total is None else self._combined(operator, total, element)
        return total

    def _filter(self, effect: Filter) -> Values:
        keep = self.all(effect.keep)
        found = {array.id: self.all(value)[keep] for array, value in zip(effect.arrays, effect.values, strict=True)}
        return found | {effect.kept.id: np.asarray(np.sum(keep), np.int64)}

    def _scan(self, scan: Scan) -> None:
        values, own = [self.all(value) for value in scan.values], _Executor(self.task.total(), self.memory)
        places, before = self.all(scan.place), None if scan.inits is None else _evaluate(scan.inits, self.memory)
        for chunk in self.chunks():
            whole, state = own.part(self, chunk).total(), before
            for k in range(chunk.start, chunk.stop):
                old, mine = state, [value[k] for value in values]
                state = mine if old is None else self._combined(scan.operator, old, mine)
                for array, value in zip(scan.arrays, old if scan.exclusive and old is not None else state, strict=True):
                    self.memory[array.id][places[k]] = value
            before = whole if before is None else self._combined(scan.operator, before, whole)

    def part(self, whole: _Executor, chunk: slice) -> Self:
        """Become the executor of a chunk of the elements that another one has computed."""
        self.found = {node.id: whole.all(node)[chunk] for node in self.task.ends() if node.id in whole.found}
        self.count = chunk.stop - chunk.start
        return self

    def total(self) -> list[Array]:
        """Return what all folds and reductions give."""
        return [self.fold(fold) for fold in self.task.folds] + [value for reduce in self.task.reduces for value in self.reduce(reduce)]

    def _scatter(self, scatter: Scatter) -> None:
        arrays, places = [self.memory[array.id] for array in scatter.arrays], self.all(scatter.place)
        keep = (places >= 0) & (places < len(arrays[0]))
        if scatter.keep is not None:
            keep = keep & self.all(scatter.keep)
        values = [self.all(value) for value in scatter.values]
        for k in np.nonzero(keep)[0]:
            new: Sequence[Array] = [value[k] for value in values]
            if scatter.operator is not None:
                new = self._combined(scatter.operator, [array[places[k]] for array in arrays], new)
            for array, value in zip(arrays, new, strict=True):
                array[places[k]] = value


def _neutral(fold: Folding) -> Any:
    return fold.value.dtype.numpy.type(identity(fold.op, fold.value.dtype))
