"""Pass `merge`: sweeps over the same count become one, and arrays that only went from one to the other are never written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

from hotloop.ir.graph import PARAM, Node
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
    Operator,
    Procedure,
    Scan,
    Scatter,
    Sort,
    SortBy,
    Step,
    Store,
    Sweep,
    While,
)  # fmt: skip
from hotloop.ops.logic import or_

_WRITTEN = ("array", "arrays", "into", "kept", "op", "exclusive", "operator")  # fields of effects that are no graphs
_NO_GRAPHS = ("array", "arrays", "into", "kept", "left", "right", "op", "exclusive")
FARTHEST = 16  # steps back to which a sweep is moved
_SPECIAL = (Scan, Filter, Scatter)


def merge(procedure: Procedure) -> Procedure:
    """Return a procedure of fewer sweeps with the same results. Cost: linear in its size."""
    steps = _merged(procedure.steps)
    needed = _read(steps) | {node.id for node in procedure.results}
    return Procedure(procedure.inputs, _pruned(steps, needed), procedure.results)


def _merged(steps: Sequence[Step]) -> list[Step]:
    found: list[Step] = []
    for step in steps:
        if isinstance(step, While):
            step = While(_merged(step.head), step.condition, _merged(step.body))
        elif isinstance(step, If):
            step = If(step.condition, _merged(step.then), _merged(step.otherwise))
        if not (isinstance(step, Sweep) and _joins(step, found)):
            found.append(step)
    return found


def _joins(sweep: Sweep, found: list[Step]) -> bool:
    """Put a sweep into an earlier one, if there is one that it may join."""
    for place in range(len(found) - 1, max(-1, len(found) - 1 - FARTHEST), -1):
        earlier = found[place]
        if isinstance(earlier, (While, If, Alias, Sort, SortBy)):
            return False
        if isinstance(earlier, Sweep) and earlier.count is sweep.count and earlier.index is sweep.index:
            joint = _joint(earlier, sweep)
            moved = None if joint is None else _before(found[place + 1 :], earlier, sweep)
            if joint is None or moved is None:
                return False
            ahead, behind = moved
            found[place:] = [*ahead, joint, *behind]
            return True
        if isinstance(earlier, Sweep) and _defined(earlier) & _used(sweep):
            return False
    return False


def _joint(earlier: Sweep, later: Sweep) -> Sweep | None:
    """Return one sweep with the effects of two, or None if they cannot be one."""
    if earlier.inner is not None or later.inner is not None or not _go_together((*earlier.effects, *later.effects)):
        return None
    written = {effect.array.id: effect for effect in earlier.effects if isinstance(effect, Store)}
    others = _defined(earlier) - set(written)
    used = _used(later)
    if used & others:
        return None
    effects = later.effects
    if used & set(written):
        known: dict[int, Node] = {}
        for node in walk(_ends(later)):
            if node.op is AT and node.args[0].id in written:
                store = written[node.args[0].id]
                if node.args[1] is not later.index or store.place is not later.index:
                    return None
                known[node.id] = store.value
        effects = tuple([_substituted(effect, known) for effect in effects])
        if {arg.id for effect in effects for arg in _arrays_read(effect)} & set(written):
            return None
    return replace(earlier, effects=(*earlier.effects, *effects))


def _go_together(effects: Sequence[Effect]) -> bool:
    special = [effect for effect in effects if isinstance(effect, _SPECIAL)]
    if len(special) > 1:
        return False
    if not special:
        return True
    plain = [effect for effect in effects if effect is not special[0]]
    only_flags = all(isinstance(effect, Fold) and effect.op is or_ for effect in plain if not isinstance(effect, Store))
    return only_flags and not (isinstance(special[0], Scatter) and any(isinstance(effect, Store) for effect in plain))


def _before(between: Sequence[Step], earlier: Sweep, sweep: Sweep) -> tuple[list[Step], list[Step]] | None:
    """Return the steps between two sweeps that go before the earlier one, and those that stay behind; None: it cannot be done."""
    ahead: list[Step] = []
    behind: list[Step] = []
    blocked = set(_defined(earlier))
    flags = {effect.into.id for effect in earlier.effects if isinstance(effect, Fold)}
    needs = _used(sweep)
    for step in between:
        used = _used(step)
        if isinstance(step, (Allocate, Compute, Copy, Fault)) and not used & blocked:
            ahead.append(step)
            continue
        if isinstance(step, Fault) and not used <= flags:
            return None
        behind.append(step)
        blocked |= _defined(step)
        if isinstance(step, Sweep):
            flags |= {effect.into.id for effect in step.effects if isinstance(effect, Fold)}
    touched = set().union(*[_used(step) | _defined(step) for step in behind]) if behind else set()
    if needs & set().union(*[_defined(step) for step in behind], set()) or touched & _defined(sweep):
        return None
    return ahead, behind


# ------------------------------------------------------------------------------------- what steps read and write


def _arrays_read(effect: Effect) -> list[Node]:
    return [node.args[0] for node in walk(list(nodes_of(effect))) if node.op is AT]


def nodes_of(effect: Effect | Operator) -> Iterable[Node]:
    """Return the graphs of an effect: not the registers that it writes."""
    for field in fields(effect):
        if field.name in _NO_GRAPHS:
            continue
        value = getattr(effect, field.name)
        if isinstance(value, Operator):
            yield from value.combined
        elif isinstance(value, tuple):
            yield from value
        elif isinstance(value, Node):
            yield value


def _ends(sweep: Sweep) -> list[Node]:
    rows = () if sweep.inner is None else (sweep.inner.low, sweep.inner.high)
    return [*[node for effect in sweep.effects for node in nodes_of(effect)], sweep.count, *rows]


def _registers(nodes: Iterable[Node]) -> set[int]:
    return {node.id for node in walk(list(nodes)) if node.op is PARAM}


def _used(step: Step) -> set[int]:
    """Return the registers that a step reads; of those that it changes too."""
    match step:
        case Sweep():
            changed = {array.id for effect in step.effects if isinstance(effect, (Store, Scatter, Scan)) for array in _written(effect)}
            return _registers(_ends(step)) | changed
        case Compute():
            return _registers(step.values)
        case Allocate():
            return _registers([step.length])
        case Copy():
            return {step.source.id}
        case Alias():
            return {source.id for source in step.sources}
        case Sort():
            return {key.id for key in step.keys}
        case SortBy():
            return _registers([step.length, step.less])
        case Fault():
            return _registers([step.condition, *step.values])
        case While():
            return _registers([step.condition]) | _read([*step.head, *step.body])
        case If():
            return _registers([step.condition]) | _read([*step.then, *step.otherwise])


def _written(effect: Effect) -> tuple[Node, ...]:
    if isinstance(effect, Store):
        return (effect.array,)
    if isinstance(effect, Fold):
        return (effect.into,)
    return (*effect.arrays, effect.kept) if isinstance(effect, Filter) else getattr(effect, "arrays", None) or effect.into  # type: ignore[union-attr]


def _defined(step: Step) -> set[int]:
    match step:
        case Sweep():
            return {register.id for effect in step.effects for register in _written(effect)}
        case Compute():
            return {register.id for register in step.registers}
        case Allocate() | Copy():
            return {step.array.id}
        case Alias():
            return {array.id for array in step.arrays}
        case Sort():
            return {node.id for node in (*step.sorted, step.order) if node is not None}
        case SortBy():
            return {step.order.id}
        case While():
            return set().union(*map(_defined, (*step.head, *step.body)), set())
        case If():
            return set().union(*map(_defined, (*step.then, *step.otherwise)), set())
    return set()


def _substituted(effect: Effect, known: dict[int, Node]) -> Effect:
    changed: dict[str, Any] = {}
    for field in fields(effect):
        if field.name in _WRITTEN:
            continue
        value = getattr(effect, field.name)
        if isinstance(value, tuple):
            changed[field.name] = tuple(substitute(value, known))
        elif isinstance(value, Node):
            changed[field.name] = substitute([value], known)[0]
    return replace(effect, **changed)


# ------------------------------------------------------------------------------------------- arrays that nothing reads


def _read(steps: Sequence[Step]) -> set[int]:
    """Return all registers that steps read, not those that Stores merely write."""
    found: set[int] = set()
    for step in steps:
        if isinstance(step, Sweep):
            found |= _registers(_ends(step))
            found |= {array.id for effect in step.effects if isinstance(effect, (Scatter, Scan)) for array in effect.arrays}
        else:
            found |= _used(step)
    return found


def _pruned(steps: Sequence[Step], needed: set[int]) -> list[Step]:
    found: list[Step] = []
    for step in steps:
        if isinstance(step, While):
            step = While(_pruned(step.head, needed), step.condition, _pruned(step.body, needed))
        elif isinstance(step, If):
            step = If(step.condition, _pruned(step.then, needed), _pruned(step.otherwise, needed))
        elif isinstance(step, Sweep):
            effects = tuple([effect for effect in step.effects if not isinstance(effect, Store) or effect.array.id in needed])
            if not effects:
                continue
            step = step if len(effects) == len(step.effects) else replace(step, effects=effects)
        elif isinstance(step, Allocate) and step.array.id not in needed:
            continue
        found.append(step)
    return found
