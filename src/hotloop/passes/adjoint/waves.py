"""Pass `waves`: loops inside of bodies become loops of steps, where their derivative is no loop of sums.

All elements take a trip together; those whose loop has ended drop out. So a trip costs what its elements cost, and the
values of all trips can be kept for the way back. Scatters by an operator become scans over elements in order of their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hotloop.dtypes import bool_, int64
from hotloop.ir.graph import ITEM, LOOP, PARAM, Body, Node, apply, constant, param_node, structure
from hotloop.ir.loop import substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import (
    AT,
    Allocate,
    Compute,
    Copy,
    Effect,
    Filter,
    Fold,
    Inner,
    Operator,
    Scan,
    Scatter,
    Sort,
    Store,
    Sweep,
    array_register,
    at,
)  # fmt: skip
from hotloop.ops.shape import length_of
from hotloop.passes.adjoint.activity import Activity, effect_sources, effect_targets
from hotloop.passes.adjoint.again import FEW, most_trips
from hotloop.passes.adjoint.loops import ONE, ZERO, hard_loop
from hotloop.passes.adjoint.regions import (
    Choice,
    Item,
    Loop,
    effect_nodes,
    is_sum,
    rebuilt,
    rebuilt_effect,
    register_like,
    set_registers,
    step_nodes,
)

add, sub, gt, eq, ne, lt, or_, and_, select = (REGISTRY[name] for name in ("add", "sub", "gt", "eq", "ne", "lt", "or", "and", "select"))
_EXTREMES = (REGISTRY["minimum"], REGISTRY["maximum"])
DEAR = 12  # operations that are rather kept than computed again at each trip
_OUTSIDE = constant(-1, int64, structural=False)


class Marks:
    """Steps of which is decided what becomes of their loops: they are run again, or made loops of steps."""

    def __init__(self) -> None:
        self._again: dict[int, Item] = {}
        self._waves: dict[int, Item] = {}

    def run_again(self, item: Item) -> None:
        """Decide for the loops of a step that they are run again for each trip that is undone."""
        self._again[id(item)] = item

    def run_in_waves(self, item: Item) -> None:
        """Decide for the loops of a step that they become loops of steps."""
        self._waves[id(item)] = item

    def runs_again(self, item: Item) -> bool:
        """Whether the loops of a step are run again."""
        return id(item) in self._again

    def is_open(self, item: Item) -> bool:
        """Whether nothing is decided yet."""
        return id(item) not in self._again and id(item) not in self._waves


def opened(items: Sequence[Item], activity: Activity, marks: Marks) -> list[Item] | None:
    """Return items of which one step that cannot be undone as it is has become others, None if there is none."""
    for number, item in enumerate(items):
        made = _opened(item, activity, marks)
        if made is not None:
            return [*items[:number], *made, *items[number + 1 :]]
    return None


def _opened(item: Item, activity: Activity, marks: Marks) -> list[Item] | None:
    match item:
        case Loop():
            head = opened(item.head, activity, marks)
            body = None if head is not None else opened(item.body, activity, marks)
            return None if head is body else [replace(item, head=head or item.head, body=body or item.body)]
        case Choice():
            then = opened(item.then, activity, marks)
            otherwise = None if then is not None else opened(item.otherwise, activity, marks)
            return None if then is otherwise else [replace(item, then=then or item.then, otherwise=otherwise or item.otherwise)]
        case Compute():
            ends = [value for register, value in zip(item.registers, item.values, strict=True) if register in activity]
            loop = None if marks.runs_again(item) else hard_loop(ends, activity.varied)
            if loop is None:
                return None
            few = _few_trips(item, ends, activity, marks)
            return _opened_compute(item, loop, marks) if few is None else few
        case Sweep():
            return _opened_sweep(item, activity, marks)
        case Sort() if item.order is None and any(made is not None and made in activity for made in item.sorted):
            return [replace(item, order=array_register(int64))]
    return None


# ------------------------------------------------------------------------------------------------ loops


def _replaced(step: Compute | Sweep, loop: Node, results: Sequence[Node]) -> Item:
    """Return a step with other nodes in place of what a loop gives."""
    body: Body = loop.attr
    items = {
        structure(ITEM, (loop,), k, result.dtype, result.shape).id: new
        for k, (result, new) in enumerate(zip(body.results, results, strict=True))
    }
    nodes = step_nodes(step)
    known = {old.id: new for old, new in zip(nodes, substitute(nodes, items), strict=True)}
    return rebuilt(step, lambda node: known[node.id], lambda node: node)


def _few_trips(item: Compute | Sweep, ends: Sequence[Node], activity: Activity, marks: Marks) -> list[Item] | None:
    """Return a step as a choice, made when it runs, of what to do with its loops; None if they cannot be run again."""
    most = most_trips(ends, activity.varied) if marks.is_open(item) else None
    if most is None:
        return None
    count, few = param_node(int64, ()), param_node(bool_, ())
    counted: Item = (
        Compute((count,), (most,)) if isinstance(item, Compute) else Sweep(item.count, item.index, (Fold(count, _EXTREMES[1], most),))
    )
    outs = set_registers(item)
    sides = []
    for mark in (marks.run_again, marks.run_in_waves):
        fresh = {node.id: register_like(node) for node in outs}
        made = rebuilt(item, lambda node: node, lambda node, fresh=fresh: fresh.get(node.id, node))  # type: ignore[misc]
        mark(made)
        sides.append((made, list(fresh.values())))
    (again, first), (waves, second) = sides
    limit = constant(FEW, int64, structural=False)
    return [counted, Compute((few,), (apply(REGISTRY["le"], count, limit),)), Choice(few, [again], [waves], outs, first, second)]


def _opened_compute(step: Compute, loop: Node, marks: Marks) -> list[Item]:
    body: Body = loop.attr
    assert body.condition is not None, "loops of functions have conditions"
    count = len(body.params)
    inits = [param_node(param.dtype, ()) for param in body.params]
    params = [param_node(param.dtype, ()) for param in body.params]
    nexts = [param_node(param.dtype, ()) for param in body.params]
    *results, condition = substitute([*body.results, body.condition], {old.id: new for old, new in zip(body.params, params, strict=True)})
    made = Loop([], condition, [Compute(tuple(nexts), tuple(results))], params, inits, nexts)
    rest = _replaced(step, loop, params)
    marks.run_in_waves(rest)
    return [Compute(tuple(inits), loop.args[:count]), made, rest]


def _opened_sweep(sweep: Sweep, activity: Activity, marks: Marks) -> list[Item] | None:
    active = [effect for effect in sweep.effects if any(target in activity for target in effect_targets(effect))]
    ends = [source for effect in active for source in effect_sources(effect)]
    loop = None if marks.runs_again(sweep) else hard_loop(ends, activity.varied)
    if loop is not None:
        few = None if sweep.inner is not None else _few_trips(sweep, ends, activity, marks)
        return few or (_flattened(sweep) if sweep.inner is not None else _waves(sweep, loop, marks))
    for effect in active:
        if isinstance(effect, Scatter) and effect.operator is not None and not is_simple_scatter(effect):
            return _sorted_scatter(sweep, effect)
    return None


def _waves(sweep: Sweep, loop: Node, marks: Marks) -> list[Item]:
    """Return the steps that run a loop for all elements of a sweep, and the sweep with what it gives."""
    body: Body = loop.attr
    assert body.condition is not None, "loops of functions have conditions"
    size, count = len(body.params), sweep.count
    first, body, inits = _captured(sweep, loop)
    dtypes = [param.dtype for param in body.params]

    def arrays() -> list[Node]:
        return [array_register(dtype) for dtype in dtypes]

    starts, active, final = arrays(), array_register(int64), arrays()
    stores = [Store(active, sweep.index, sweep.index), *[Store(a, sweep.index, init) for a, init in zip(starts, inits, strict=True)]]
    made: list[Item] = [*first, *[Allocate(array, count) for array in (active, *starts, *final)], Sweep(count, sweep.index, tuple(stores))]
    number, waiting, states = param_node(int64, ()), array_register(int64), arrays()
    left, going, moving, following = param_node(int64, ()), array_register(int64), arrays(), arrays()

    def at_trip(nodes: Sequence[Node], who: Node, held: Sequence[Node], m: Node) -> list[Node]:
        known = {param.id: at(array, m) for param, array in zip(body.params, held, strict=True)}
        return substitute(nodes, {**known, sweep.index.id: at(who, m)})

    assert body.condition is not None, "loops of functions have conditions"
    m, n = param_node(int64, ()), param_node(int64, ())
    (holds,) = at_trip([body.condition], waiting, states, m)
    now = [at(array, m) for array in states]
    head: list[Effect] = [Filter((going, *moving), holds, (at(waiting, m), *now), left)]
    head += [Store(array, at(waiting, m), value) for array, value in zip(final, now, strict=True)]
    results = at_trip(body.results, going, moving, n)
    inside: list[Item] = [Allocate(array, left) for array in following]
    inside.append(Sweep(left, n, tuple([Store(array, n, value) for array, value in zip(following, results, strict=True)])))
    params, nexts = [number, waiting, *states], [left, going, *following]
    made.append(Loop([Sweep(number, m, tuple(head))], apply(gt, left, ZERO), inside, params, [count, active, *starts], nexts))
    assert size == len(final), "one array for each variable"
    rest = _replaced(sweep, loop, [at(array, sweep.index) for array in final])
    marks.run_in_waves(rest)
    return [*made, rest]


def _captured(sweep: Sweep, loop: Node) -> tuple[list[Item], Body, Sequence[Node]]:
    """Return steps that put into memory what a loop takes from outside and is dear, and its body and inits with that in place."""
    body: Body = loop.attr
    size = len(body.params)
    dear = [node for node in dict.fromkeys(loop.args[size:]) if _is_dear(node)]
    if not dear:
        return [], body, loop.args[:size]
    arrays = [array_register(node.dtype) for node in dear]
    steps: list[Item] = [Allocate(array, sweep.count) for array in arrays]
    steps.append(Sweep(sweep.count, sweep.index, tuple([Store(a, sweep.index, node) for a, node in zip(arrays, dear, strict=True)])))
    known = {node.id: at(array, sweep.index) for node, array in zip(dear, arrays, strict=True)}
    ends = [*body.results, *([] if body.condition is None else [body.condition]), *loop.args[:size]]
    moved = substitute(ends, known)
    kept = len(body.results)
    changed = Body(body.params, tuple(moved[:kept]), body.trips, body.index, moved[kept])
    return steps, changed, moved[kept + 1 :]


def _is_dear(node: Node) -> bool:
    if node.op is PARAM or node.op is AT or node.is_const:
        return False
    nodes = walk([node])
    return any(inner.op is LOOP for inner in nodes) or sum(1 for inner in nodes if inner.args) > DEAR


# ------------------------------------------------------------------------------------------- loops in rows


def _flattened(sweep: Sweep) -> list[Item]:
    """Return a sweep with an inner loop as one over all pairs of indices."""
    inner = sweep.inner
    assert inner is not None, "asked before"
    offsets, rows, columns = (array_register(int64) for _ in range(3))
    left, right, total, index = (param_node(int64, ()) for _ in range(4))
    plus = Operator((left,), (right,), (apply(add, left, right),))
    width = apply(REGISTRY["maximum"], apply(sub, inner.high, inner.low), ZERO)
    place = apply(add, at(offsets, sweep.index), apply(sub, inner.index, inner.low))
    nodes = [node for effect in sweep.effects for node in effect_nodes(effect)]
    found = substitute(nodes, {sweep.index.id: at(rows, index), inner.index.id: at(columns, index)})
    known = {old.id: new for old, new in zip(nodes, found, strict=True)}
    effects = tuple([rebuilt_effect(effect, lambda node: known[node.id], lambda node: node) for effect in sweep.effects])
    return [
        Allocate(offsets, sweep.count), Sweep(sweep.count, sweep.index, (Scan((offsets,), sweep.index, plus, (width,), (ZERO,), True),)),
        Sweep(sweep.count, sweep.index, (Fold(total, add, width),)), Allocate(rows, total), Allocate(columns, total),
        Sweep(
            sweep.count, sweep.index, (Store(rows, place, sweep.index), Store(columns, place, inner.index)),
            Inner(inner.index, inner.low, inner.high),
        ),
        Sweep(total, index, effects),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ scatters


def is_simple_scatter(scatter: Scatter) -> bool:
    """Whether a scatter's operator adds, or is a minimum or maximum."""
    operator = scatter.operator
    return operator is None or is_sum(operator) or extreme_of(scatter) is not None


def extreme_of(scatter: Scatter) -> Node | None:
    """Return the node of an operator on single numbers that is a minimum or maximum, None if it is another."""
    operator = scatter.operator
    if operator is None or len(operator.combined) != 1:
        return None
    node = operator.combined[0]
    is_extreme = node.op in _EXTREMES and {arg.id for arg in node.args} == {operator.left[0].id, operator.right[0].id}
    return node if is_extreme else None


def _sorted_scatter(sweep: Sweep, scatter: Scatter) -> list[Item]:
    """Return the steps that sort elements by their place, combine those of one place by a scan, and write the last of each."""
    count, index, operator = sweep.count, sweep.index, scatter.operator
    assert operator is not None, "asked before"
    others = tuple([effect for effect in sweep.effects if effect is not scatter])
    values = [array_register(value.dtype) for value in scatter.values]
    places, ordered, order = (array_register(int64) for _ in range(3))
    limit = length_of(scatter.arrays[0], (0,))
    goes = apply(and_, apply(REGISTRY["ge"], scatter.place, ZERO), apply(lt, scatter.place, limit))
    goes = goes if scatter.keep is None else apply(and_, scatter.keep, goes)
    stores = [Store(array, index, value) for array, value in zip(values, scatter.values, strict=True)]
    stores.append(Store(places, index, apply(select, goes, scatter.place, limit)))
    before = [array_register(array.dtype) for array in scatter.arrays]
    s = param_node(int64, ())
    place, element = at(ordered, s), at(order, s)
    first = apply(or_, apply(eq, s, ZERO), apply(ne, place, at(ordered, apply(sub, s, ONE))))
    last = apply(or_, apply(eq, s, apply(sub, count, ONE)), apply(ne, place, at(ordered, apply(add, s, ONE))))
    found = [at(array, element) for array in values]
    lefts = [at(array, place) for array in before]
    known = {param.id: node for param, node in zip((*operator.left, *operator.right), (*lefts, *found), strict=True)}
    started = [apply(select, first, x, y) for x, y in zip(substitute(operator.combined, known), found, strict=True)]
    flags, totals = array_register(bool_), [array_register(value.dtype) for value in scatter.values]
    scan = Scan((flags, *totals), s, _segmented(operator), (first, *started), None, False)
    into = apply(select, last, place, _OUTSIDE)
    writes = tuple([Store(array, into, at(total, s)) for array, total in zip(scatter.arrays, totals, strict=True)])
    made: list[Item] = [Sweep(count, index, others)] if others else []
    return [
        *made, *[Allocate(array, count) for array in (*values, places, flags, *totals)], Sweep(count, index, tuple(stores)),
        Sort((places,), (False,), (ordered,), order), *[Copy(b, array) for b, array in zip(before, scatter.arrays, strict=True)],
        Sweep(count, s, (scan,)), Sweep(count, s, writes),
    ]  # fmt: skip


def _segmented(operator: Operator) -> Operator:
    """Return an operator that begins anew where a segment does."""
    begins, starts = param_node(bool_, ()), param_node(bool_, ())
    combined = [apply(select, starts, right, node) for right, node in zip(operator.right, operator.combined, strict=True)]
    return Operator((begins, *operator.left), (starts, *operator.right), (apply(or_, begins, starts), *combined))
