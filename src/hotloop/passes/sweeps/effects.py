"""What a sweep does, as tasks: in each, effects that one function over a range of elements can have together.

Whatever decides the bits of a result is decided here, from the graph alone: the reference and all writers
of code agree on it. Reductions by a row of `ops.shape.FOLDS` have the order of `fold_halves`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hotloop.dtypes import DType, bool_
from hotloop.ir.graph import LOOP, Node, constant
from hotloop.ir.op import REGISTRY, Op
from hotloop.ir.rewrite import Scopes, walk
from hotloop.ir.sweep import AT, Filter, Fold, Operator, Reduce, Scan, Scatter, Store, Sweep, array_register, at
from hotloop.ops.algebra import call
from hotloop.ops.shape import BLOCK, CHUNK, FOLDS, LANES, identity, length
from hotloop.passes.price import Prices
from hotloop.passes.sweeps.lanes import has_lanes
from hotloop.passes.sweeps.versions import Versions

PICOSECONDS = 60  # of an addition
SCALAR = 5  # times as long takes what is written element by element
PICOSECONDS_A_BYTE = 25  # of memory that is read or written in order
RANDOM_ACCESS = 1000  # of a place that data decides
CHUNK_PICOSECONDS = 400_000_000  # that a chunk should take at most, where chunks of CHUNK elements take longer
DEAR = 16  # additions from which on a value is put in memory before a scan or scatter
UNEVEN = 16  # times shorter chunks are where the time of an element depends on data
INNER_TRIPS = 64  # that a loop of unknown length is taken for, in estimates of cost
_ROWS = {REGISTRY[name] for name in FOLDS.values()}
_OR = REGISTRY["or"]
_ORDERED = (REGISTRY["add"], REGISTRY["mul"])  # of floats
_EXACT = {REGISTRY[name] for name in ("select", "minimum", "maximum", "neg", "abs")}  # that round nothing


@dataclass(frozen=True, slots=True, eq=False)
class Folding:
    """All values combined by a row of FOLDS, in its fixed order, onto `init` if there is one."""

    op: Op
    value: Node
    init: Node | None
    into: Node | None

    @property
    def ordered(self) -> bool:
        """Whether the order changes the result."""
        return self.value.dtype.is_float and self.op in _ORDERED


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What is carried from element to element: its type, the value that it starts from, a register for what it ends as."""

    dtype: DType
    init: Node | None
    into: Node | None


@dataclass(frozen=True, eq=False)
class Task:
    """Effects that one function has together. mode: as in plans of `_runner.ParallelFunction`.

    flags: (bool, register): whether it holds for any element. segmented: reductions take each chunk in LANES
    segments of equal length, one in each lane, and combine what they give in order. makes: arrays of an element
    for each of the sweep's, which are allocated before, and read by later tasks of the sweep alone.
    """

    sweep: Sweep
    mode: str
    stores: tuple[Store, ...] = ()
    flags: tuple[tuple[Node, Node], ...] = ()
    folds: tuple[Folding, ...] = ()
    reduces: tuple[Reduce, ...] = ()
    scan: Scan | None = None
    filter: Filter | None = None
    scatter: Scatter | None = None
    segmented: bool = False
    makes: tuple[Node, ...] = ()

    @property
    def operators(self) -> list[Operator]:
        """Return the operators that are graphs of their own."""
        effects = [*self.reduces, *[effect for effect in (self.scan, self.scatter) if effect is not None]]
        return [effect.operator for effect in effects if effect.operator is not None]

    def ends(self) -> list[Node]:
        """Return all that is computed for an element, operators included."""
        found = [node for store in self.stores for node in (store.place, store.value)]
        found += [value for value, _ in self.flags] + [fold.value for fold in self.folds]
        for reduce in self.reduces:
            found += [*reduce.values, *_given(reduce.keep)]
        if self.scan is not None:
            found += [self.scan.place, *self.scan.values]
        if self.filter is not None:
            found += [self.filter.keep, *self.filter.values]
        if self.scatter is not None:
            found += [self.scatter.place, *self.scatter.values, *_given(self.scatter.keep)]
        if self.sweep.inner is not None:
            found += [self.sweep.inner.low, self.sweep.inner.high]
        return found + [node for operator in self.operators for node in operator.combined]

    @cached_property
    def states(self) -> tuple[State, ...]:
        """Return what is carried: of folds, of reductions (with a bool first where `keep` may leave all out), of the scan."""
        found = [State(fold.value.dtype, fold.init, fold.into) for fold in self.folds]
        for reduce in self.reduces:
            found += [State(bool_, constant(True), None)] if reduce.keep is not None else []
            found += _carried(reduce.values, reduce.inits, reduce.into)
        if self.scan is not None:
            found += _carried(self.scan.values, self.scan.inits, ())
        if any(state.init is not None for state in found):  # then all have one
            starts = [constant(identity(fold.op, fold.value.dtype), fold.value.dtype) for fold in self.folds]
            whole = zip(found[: len(starts)], starts, strict=True)
            found[: len(starts)] = [State(s.dtype, start if s.init is None else s.init, s.into) for s, start in whole]
        return tuple(found)

    @property
    def begins(self) -> bool:
        """Whether the first element of a chunk is taken for itself, since the states have no value before it."""
        without = self.scan is not None and self.scan.inits is None
        return without or (not self.segmented and any(reduce.keep is None for reduce in self.reduces))

    @cached_property
    def chunk(self) -> int:
        """Return how many elements give one partial result: fewer where an element takes long."""
        found, cost = CHUNK, _price(self)
        if self.sweep.inner is not None or is_serial(walk(self.ends())):
            cost *= UNEVEN
        while found > 256 and found * cost > CHUNK_PICOSECONDS:
            found //= 2
        return found

    @property
    def blocks(self) -> bool:
        """Whether a chunk has more than one block of the fixed order."""
        return self.chunk > BLOCK

    def total(self) -> Task:
        """Return the task that folds a chunk of a scan."""
        assert self.scan is not None, "only scans have totals"
        reduce = Reduce((), self.scan.operator, self.scan.values, None)
        return _reductions(Sweep(self.sweep.count, self.sweep.index, (reduce,)), [], [reduce])[-1]


def _given(node: Node | None) -> list[Node]:
    return [] if node is None else [node]


def _carried(values: Sequence[Node], inits: Sequence[Node] | None, into: Sequence[Node]) -> list[State]:
    return [
        State(value.dtype, inits[k] if inits is not None else None, into[k] if into else None) for k, value in enumerate(values)
    ]


def tasks(sweep: Sweep) -> list[Task]:
    """Return the tasks of a sweep, in order."""
    stores, flags, folds, reduces, others = [], [], [], [], []
    for effect in sweep.effects:
        if isinstance(effect, Store):
            stores.append(effect)
        elif isinstance(effect, Fold) and effect.op is _OR and effect.value.dtype is bool_:
            flags.append((effect.value, effect.into))
        elif isinstance(effect, Fold):
            folds.append(Folding(effect.op, effect.value, None, effect.into))
        elif isinstance(effect, Reduce):
            reduces.append(effect)
        else:
            others.append(effect)
    # they go first: they may read what is overwritten
    found = [task for reduction in _reductions(sweep, folds, reduces) for task in _with_whole_chunks(reduction)]
    if found and not others:
        found[-1] = replace(found[-1], stores=tuple(stores), flags=tuple(flags))
        if not found[-1].segmented or not (stores or flags):
            return found
        found[-1] = replace(found[-1], stores=(), flags=())
    scan, filters, scatter = [next((e for e in others if isinstance(e, kind)), None) for kind in (Scan, Filter, Scatter)]
    mode = "scan" if scan else "filter" if filters else "ordered" if scatter else "each"
    assert isinstance(scan, Scan | None), "a scan"
    assert isinstance(filters, Filter | None), "a filter"
    assert isinstance(scatter, Scatter | None), "a scatter"
    last = Task(sweep, mode, tuple(stores), tuple(flags), scan=scan, filter=filters, scatter=scatter)
    return [*found, *_with_values_before(last)] if scan or scatter else [*found, last]


def _with_values_before(task: Task) -> list[Task]:
    """Return a task, after one for lanes and threads: what takes long of what goes into its scan or scatter, and flags."""
    effect = task.scan or task.scatter
    assert effect is not None, "asked before"
    index = task.sweep.index
    nodes = [*effect.values, *([effect.place, *_given(effect.keep)] if isinstance(effect, Scatter) else [])]
    dear = {node.id: node for node in nodes if _is_dear(node, index)}
    flags = tuple([flag for flag in task.flags if has_lanes(_varying(flag[0], index))])
    if not dear and not flags:
        return [task]
    arrays = {number: array_register(node.dtype) for number, node in dear.items()}
    values = {number: at(array, index) for number, array in arrays.items()}
    stores = tuple([Store(arrays[number], index, node) for number, node in dear.items()])
    changed: dict[str, Any] = {"values": tuple([values.get(node.id, node) for node in effect.values])}
    if isinstance(effect, Scatter):
        changed["place"] = values.get(effect.place.id, effect.place)
        changed["keep"] = None if effect.keep is None else values.get(effect.keep.id, effect.keep)
    first = Task(task.sweep, "each", stores, flags, makes=tuple(arrays.values()))
    after, rest = replace(effect, **changed), tuple([flag for flag in task.flags if flag not in flags])
    return [first, replace(task, flags=rest, scan=after) if isinstance(after, Scan) else replace(task, flags=rest, scatter=after)]


def _varying(node: Node, index: Node) -> list[Node]:
    """Return the nodes for a value that depend on the index."""
    versions = Versions([node], index)
    return [inner for inner in versions.walk([node]) if versions.varies(inner)]


def _is_dear(node: Node, index: Node) -> bool:
    """Whether a value takes so long that lanes and threads are worth a place in memory for it."""
    inside, prices = _varying(node, index), Prices()
    return sum(DEAR if inner.op is LOOP else prices.of(inner) for inner in inside) >= DEAR and has_lanes(inside)


def _reductions(sweep: Sweep, folds: Sequence[Folding], reduces: Sequence[Reduce]) -> list[Task]:
    """Return the tasks of reductions: those that lanes take in segments first."""
    more, general = _split_reduces(reduces)
    segmented = [reduce for reduce in general if sweep.inner is None and _has_segments(sweep, reduce)]
    others = [reduce for reduce in general if reduce not in segmented]
    found = [Task(sweep, "fold", reduces=tuple(segmented), segmented=True)] if segmented else []
    if folds or more or others:
        found.append(Task(sweep, "fold", folds=(*folds, *more), reduces=tuple(others)))
    return found


def _with_whole_chunks(task: Task) -> list[Task]:
    """Return a reduction, after a task that puts its values in memory if they take so long that chunks would be shorter.

    Chunks of any other length would change how floats are rounded; threads share what takes long all the same.
    """
    is_ordered = any(fold.ordered for fold in task.folds) or not all(_is_exact(reduce.operator) for reduce in task.reduces)
    if not is_ordered or task.chunk == CHUNK or task.sweep.inner is not None:
        return [task]
    index = task.sweep.index
    nodes = [*[fold.value for fold in task.folds], *[node for reduce in task.reduces for node in (*reduce.values, *_given(reduce.keep))]]
    dear = {node.id: node for node in nodes if _varying(node, index)}
    arrays = {number: array_register(node.dtype) for number, node in dear.items()}
    values = {number: at(array, index) for number, array in arrays.items()}
    first = Task(task.sweep, "each", tuple([Store(arrays[n], index, node) for n, node in dear.items()]), makes=tuple(arrays.values()))
    folds = tuple([replace(fold, value=values.get(fold.value.id, fold.value)) for fold in task.folds])
    reduces = tuple([
        replace(
            reduce, values=tuple([values.get(node.id, node) for node in reduce.values]),
            keep=None if reduce.keep is None else values.get(reduce.keep.id, reduce.keep),
        )
        for reduce in task.reduces
    ])  # fmt: skip
    return [first, replace(task, folds=folds, reduces=reduces)]


def _has_segments(sweep: Sweep, reduce: Reduce) -> bool:
    """Whether a reduction and what it reduces can be written on vectors of lanes."""
    operator = reduce.operator
    if not _is_exact(operator):
        return False
    inside = [inner for node in (*reduce.values, *_given(reduce.keep)) for inner in _varying(node, sweep.index)]
    return has_lanes([*inside, *[node for node in walk(operator.combined) if node.args]])


def _is_exact(operator: Operator) -> bool:
    """Whether nothing is rounded, so that the order of combining does not matter if the operator is associative."""
    return all(not node.dtype.is_float or not node.args or node.op in _EXACT for node in walk(operator.combined))


def _split_reduces(reduces: Sequence[Reduce]) -> tuple[list[Folding], list[Reduce]]:
    """Return reductions whose operators are rows of FOLDS as foldings, and the others."""
    folds: list[Folding] = []
    general = []
    for reduce in reduces:
        rows = [_row(reduce.operator, k) for k in range(len(reduce.values))]
        if any(row is None for row in rows):
            general.append(reduce)
            continue
        for state, row, value in zip(_carried(reduce.values, reduce.inits, reduce.into), rows, reduce.values, strict=True):
            assert row is not None, "checked above"
            kept = value if reduce.keep is None else call("select", reduce.keep, value, constant(identity(row, value.dtype), value.dtype))
            folds.append(Folding(row, kept, state.init, state.into))
    return folds, general


def _row(operator: Operator, k: int) -> Op | None:
    """Return the row of FOLDS that component k of an operator is."""
    combined, operands = operator.combined[k], {operator.left[k].id, operator.right[k].id}
    return combined.op if combined.op in _ROWS and {arg.id for arg in combined.args} == operands else None


# ------------------------------------------------------------------------------------------------ estimates


def is_serial(nodes: Iterable[Node]) -> bool:
    """Whether nodes can only be computed element by element."""
    return any(node.op is LOOP for node in nodes)


def _price(task: Task) -> int:
    """Return about how many picoseconds an element takes, written element by element."""
    nodes = [node for node in walk(task.ends()) if node.op is not length]
    prices, scopes = Prices(), Scopes(nodes)
    total = sum((prices.of(node) + _access(node, task)) * (scopes.repeats(node) if scopes.trips else 1) for node in nodes)
    effects = 1 + len(task.stores) + len(task.flags) + 2 * len(task.folds) + 2 * len(task.states)
    return SCALAR * PICOSECONDS * (total + effects) * (INNER_TRIPS if task.sweep.inner is not None else 1)


def _access(node: Node, task: Task) -> int:
    """Return what a load costs beyond its instruction, in additions."""
    return 4 if node.op is AT and node.args[1] is not task.sweep.index else 0


def cost(task: Task, vectors: bool) -> int:
    """Return about how many picoseconds an element takes."""
    price = _price(task)
    moved = sum(node.dtype.size for node in walk(task.ends()) if node.op is AT)
    moved += sum(store.value.dtype.size for store in task.stores)
    return max(1, (price // (SCALAR * 2) if vectors else price) + PICOSECONDS_A_BYTE * moved)


__all__ = ["BLOCK", "CHUNK", "LANES", "Folding", "State", "Task", "cost", "is_serial", "tasks"]
