"""When the arrays of a procedure are used for the last time, so that their memory can be given back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hotloop.ir.graph import PARAM, Node
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import (
    Alias,
    Allocate,
    Compute,
    Copy,
    Fault,
    Filter,
    Fold,
    If,
    Reduce,
    Scan,
    Scatter,
    Sort,
    SortBy,
    Step,
    Store,
    Sweep,
    While,
)

Arrays = frozenset[Node]
_NONE: Arrays = frozenset()


def arrays_in(nodes: Iterable[Node]) -> set[Node]:
    """Return the array registers that nodes read."""
    return {node for node in walk(nodes) if node.op is PARAM and node.shape}


class Liveness:
    """What each step is the last to use. live: registers that are needed in the end."""

    def __init__(self, steps: Sequence[Step], live: Iterable[Node]) -> None:
        self.dying: dict[int, Arrays] = {}  # id of a step -> array registers to release after it
        self.unused: dict[tuple[int, bool], Arrays] = {}  # (id of an If, branch) -> those that this branch does not need
        self._touched: dict[int, tuple[set[Node], set[Node]]] = {}
        self._before(steps, frozenset(live))

    def _before(self, steps: Sequence[Step], live: Arrays) -> Arrays:
        """Return what is live before steps, given what is live after them."""
        for step in reversed(steps):
            after = live
            if isinstance(step, If):
                live = self._of_branches(step, live)
            elif isinstance(step, While):
                live = self._of_loop(step, live)
            else:
                uses, defs = self._of(step)
                live = (live - defs) | uses
                self.dying[id(step)] = frozenset(uses | defs) - after
        return live

    def _of_branches(self, step: If, live: Arrays) -> Arrays:
        branches = self._before(step.then, live), self._before(step.otherwise, live)
        for taken, needed in zip((True, False), branches, strict=True):
            self.unused[id(step), taken] = (branches[0] | branches[1]) - needed
        return branches[0] | branches[1] | arrays_in([step.condition])

    def _of_loop(self, step: While, after: Arrays) -> Arrays:
        head = after
        while True:
            body = self._before(step.body, head)
            again = head | self._before(step.head, after | body | arrays_in([step.condition]))
            if again == head:
                break
            head = again
        self.dying[id(step)] = body - after
        return head

    def _of(self, step: Step) -> tuple[set[Node], set[Node]]:
        """Return the array registers that a step reads (or writes elements of), and those that it sets."""
        if id(step) not in self._touched:
            self._touched[id(step)] = _touched(step)
        return self._touched[id(step)]


def _touched(step: Step) -> tuple[set[Node], set[Node]]:
    match step:
        case Sweep():
            return _of_sweep(step)
        case Compute():
            return arrays_in(step.values), set()
        case Allocate():
            return arrays_in([step.length]), {step.array}
        case Copy():
            return {step.source}, {step.array}
        case Alias():
            return set(step.sources), set(step.arrays)
        case Sort():
            return set(step.keys), {array for array in (*step.sorted, step.order) if array is not None}
        case SortBy():
            return arrays_in([step.less, step.length]), {step.order}
        case Fault():
            return arrays_in([step.condition, *step.values]), set()
    raise AssertionError(f"an unknown step: {step}")


def _of_sweep(sweep: Sweep) -> tuple[set[Node], set[Node]]:
    nodes = [sweep.count] if sweep.inner is None else [sweep.count, sweep.inner.low, sweep.inner.high]
    uses: set[Node] = set()
    defs: set[Node] = set()
    for effect in sweep.effects:
        match effect:
            case Store():
                uses.add(effect.array)
                nodes += [effect.place, effect.value]
            case Fold():
                nodes.append(effect.value)
            case Reduce():
                nodes += [*effect.values, *(effect.inits or ()), *effect.operator.combined, *_given(effect.keep)]
            case Scan():
                uses.update(effect.arrays)
                nodes += [effect.place, *effect.values, *(effect.inits or ()), *effect.operator.combined]
            case Filter():
                defs.update(effect.arrays)
                nodes += [effect.keep, *effect.values]
            case Scatter():
                uses.update(effect.arrays)
                nodes += [effect.place, *effect.values, *_given(effect.keep)]
                nodes += [] if effect.operator is None else effect.operator.combined
    return uses | arrays_in(nodes), defs


def _given(node: Node | None) -> list[Node]:
    return [] if node is None else [node]


__all__ = ["Liveness", "arrays_in"]
