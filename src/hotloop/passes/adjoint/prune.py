"""Pass `prune`: steps whose results nothing needs are left out, of loops and choices too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hotloop.ir.graph import PARAM, Node
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
    Procedure,
    Reduce,
    Sort,
    Step,
    Store,
    Sweep,
    While,
)
from hotloop.ops.shape import length, length_of
from hotloop.passes.adjoint.regions import Plain, changed_arrays, set_registers, step_nodes, whole_arrays


def prune(procedure: Procedure) -> Procedure:
    """Return a procedure without steps whose results are not needed; faults stay. Cost: linear, times the depth of loops."""
    steps, _ = _Pruner().before(procedure.steps, {node.id for node in procedure.results})
    return Procedure(procedure.inputs, steps, procedure.results)


def _registers(nodes: Iterable[Node]) -> set[int]:
    """Return what graphs read: ids of scalars and of arrays, and the complements of ids of arrays whose lengths they read."""
    found: set[int] = set()
    for node in walk(list(nodes)):
        if node.op is PARAM and not node.shape:
            found.add(node.id)
        elif node.op is AT:
            found.add(node.args[0].id)
        elif node.op is length and node.args[0].op is PARAM:
            found.add(~node.args[0].id)
    return found


def _both(nodes: Iterable[Node]) -> set[int]:
    """Return what setting registers gives: of arrays the elements and the length."""
    return {number for node in nodes for number in ((node.id, ~node.id) if node.shape else (node.id,))}


class _Pruner:
    """Walks steps backwards with the registers that are needed after them."""

    def __init__(self) -> None:
        self._known: dict[int, set[int]] = {}

    def before(self, steps: Sequence[Step], needed: set[int]) -> tuple[list[Step], set[int]]:
        """Return the steps that matter, and what is needed before them."""
        needed = set(needed)
        found: list[Step] = []
        for step in reversed(steps):
            kept, needed = self._step(step, needed)
            found += [] if kept is None else [kept]
        return found[::-1], needed

    def _step(self, step: Step, needed: set[int]) -> tuple[Step | None, set[int]]:
        match step:
            case While():
                return self._loop(step, needed)
            case If():
                return self._choice(step, needed)
            case Alias():
                return self._alias(step, needed)
            case Compute():
                return self._compute(step, needed)
            case Sweep():
                return self._sweep(step, needed)
        return self._plain(step, needed)

    def _read(self, step: Step, nodes: Sequence[Node]) -> set[int]:
        found = self._known.get(id(step))
        if found is None:
            found = self._known[id(step)] = _registers(nodes)
        return found

    def _plain(self, step: Plain, needed: set[int]) -> tuple[Step | None, set[int]]:
        made = _both(set_registers(step))
        if not isinstance(step, Fault) and not made & needed:
            return None, needed
        if isinstance(step, Copy) and step.array.id not in needed:
            return Allocate(step.array, length_of(step.source, (0,))), (needed - made) | {~step.source.id}
        if isinstance(step, Sort):
            step = replace(step, order=step.order if step.order is not None and step.order.id in needed else None)
        return step, (needed - made) | self._read(step, step_nodes(step)) | {array.id for array in whole_arrays(step)}

    def _alias(self, step: Alias, needed: set[int]) -> tuple[Step | None, set[int]]:
        pairs = [(array, source) for array, source in zip(step.arrays, step.sources, strict=True) if needed & _both([array])]
        if not pairs:
            return None, needed
        made = Alias(tuple([array for array, _ in pairs]), tuple([source for _, source in pairs]))
        wanted = {source.id for array, source in pairs if array.id in needed} | {
            ~source.id for array, source in pairs if ~array.id in needed
        }
        return made, (needed - _both([array for array, _ in pairs])) | wanted

    def _compute(self, step: Compute, needed: set[int]) -> tuple[Step | None, set[int]]:
        pairs = [(register, value) for register, value in zip(step.registers, step.values, strict=True) if register.id in needed]
        if not pairs:
            return None, needed
        made = Compute(tuple([register for register, _ in pairs]), tuple([value for _, value in pairs]))
        return made, (needed - {register.id for register, _ in pairs}) | _registers(made.values)

    def _sweep(self, step: Sweep, needed: set[int]) -> tuple[Step | None, set[int]]:
        effects = tuple([effect for effect in step.effects if _matters(effect, needed)])
        if not effects:
            return None, needed
        made = step if len(effects) == len(step.effects) else replace(step, effects=effects)
        kept = {array.id for array in changed_arrays(made)}
        sets = _both(set_registers(made))
        return made, (needed - sets) | kept | _registers(step_nodes(made))

    def _choice(self, step: If, needed: set[int]) -> tuple[Step | None, set[int]]:
        then, first = self.before(step.then, needed)
        otherwise, second = self.before(step.otherwise, needed)
        if not then and not otherwise:
            return None, needed
        return If(step.condition, then, otherwise), first | second | _registers([step.condition])

    def _loop(self, step: While, needed: set[int]) -> tuple[Step | None, set[int]]:
        """Return a loop if it sets what is needed after it; what then is needed in later trips counts too."""
        if not _touched([step]) & needed and not _has_faults([step]):
            return None, needed
        top = set(needed)
        while True:
            middle = top | _registers([step.condition])
            body, before_body = self.before(step.body, top)
            head, before_head = self.before(step.head, middle | before_body)
            if before_head <= top:
                return While(head, step.condition, body), top
            top |= before_head


def _matters(effect: Effect, needed: set[int]) -> bool:
    match effect:
        case Store():
            return effect.array.id in needed
        case Fold():
            return effect.into.id in needed
        case Reduce():
            return any(node.id in needed for node in effect.into)
        case Filter():
            return bool(needed & _both([*effect.arrays, effect.kept]))
    return any(node.id in needed for node in effect.arrays)


def _touched(steps: Iterable[Step]) -> set[int]:
    """Return the registers that steps set or change."""
    found: set[int] = set()
    for step in steps:
        match step:
            case While():
                found |= _touched([*step.head, *step.body])
            case If():
                found |= _touched([*step.then, *step.otherwise])
            case Alias():
                found |= _both(step.arrays)
            case _:
                found |= _both([*set_registers(step), *changed_arrays(step)])
    return found


def _has_faults(steps: Iterable[Step]) -> bool:
    for step in steps:
        if isinstance(step, Fault):
            return True
        if isinstance(step, While) and _has_faults([*step.head, *step.body]):
            return True
        if isinstance(step, If) and _has_faults([*step.then, *step.otherwise]):
            return True
    return False
