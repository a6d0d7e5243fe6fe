"""Undoing single effects of sweeps: products, scatters, and that elements were overwritten."""

from __future__ import annotations

from collections.abc import Sequence

from hotloop.dtypes import int64
from hotloop.errors import GradientError
from hotloop.ir.graph import Node, apply, constant, param_node, source_line
from hotloop.ir.loop import substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Allocate, Copy, Fold, Inner, Operator, Scan, Scatter, Store, Sweep, array_register, at
from hotloop.passes.adjoint.activity import Activity
from hotloop.passes.adjoint.adjoints import Adjoints
from hotloop.passes.adjoint.loops import ONE, ZERO, zero
from hotloop.passes.adjoint.recurrences import Seeds, by_place
from hotloop.passes.adjoint.regions import is_sum
from hotloop.passes.adjoint.waves import extreme_of

add, sub, mul, div, eq, ge, and_, select = (REGISTRY[name] for name in ("add", "sub", "mul", "div", "eq", "ge", "and", "select"))
_NONE = constant(-1, int64, structural=False)


def clear_elements(sweep: Sweep, places: Sequence[tuple[Node, Node]], adjoints: Adjoints) -> None:
    """Append the steps by which elements that a sweep has overwritten lose their derivative: what was there before has none.

    They have an index of their own, so as not to be merged with sweeps that read the derivative elsewhere.
    """
    for array, place in places:
        total, _ = adjoints.begin(array, False)
        index, inner = param_node(int64, ()), sweep.inner
        nodes = [place] if inner is None else [place, inner.low, inner.high]
        moved, *rows = substitute(nodes, {sweep.index.id: index})
        own = None if inner is None else Inner(inner.index, *rows)
        adjoints.steps.append(Sweep(sweep.count, index, (Store(total, moved, zero(array)),), own))


def others_product(fold: Fold, sweep: Sweep, adjoints: Adjoints) -> Node:
    """Return for each element the product of all others. No division, so zeros are no matter."""
    if sweep.inner is not None:
        raise GradientError(f"{source_line(fold.value)}: a product over rows has no derivative here.")
    one = constant(1.0, fold.value.dtype, structural=False)
    before, after, s = array_register(one.dtype), array_register(one.dtype), param_node(int64, ())
    t = apply(sub, apply(sub, sweep.count, ONE), s)
    (value,) = by_place([fold.value], sweep, adjoints)
    adjoints.steps.extend([
        Allocate(before, sweep.count), Allocate(after, sweep.count),
        Sweep(sweep.count, sweep.index, (Scan((before,), sweep.index, _by_row(mul, one), (value(sweep.index),), (one,), True),)),
        Sweep(sweep.count, s, (Scan((after,), t, _by_row(mul, one), (value(t),), (one,), True),)),
    ])  # fmt: skip
    return apply(mul, at(before, sweep.index), at(after, sweep.index))


def _by_row(row: object, like: Node) -> Operator:
    left, right = param_node(like.dtype, ()), param_node(like.dtype, ())
    return Operator((left,), (right,), (apply(row, left, right),))  # type: ignore[arg-type]  # an Op


def undo_scatter(scatter: Scatter, sweep: Sweep, adjoints: Adjoints, activity: Activity, copied: dict[int, Node]) -> Seeds:
    """Append steps; return what is derived for each element of the sweep, with its weights.

    copied: array -> what it was copied from.
    """
    held = [adjoints.current(array) if array in activity else None for array in scatter.arrays]
    known = [(array, found, value) for array, found, value in zip(scatter.arrays, held, scatter.values, strict=True) if found is not None]
    if not known:
        return []
    if scatter.operator is None:
        return _undo_replacement(scatter, sweep, known, adjoints)
    if is_sum(scatter.operator):
        return [(value, _kept(scatter, at(found, scatter.place))) for _, found, value in known]
    assert extreme_of(scatter) is not None, "other operators have become scans"
    return _undo_extreme(scatter, sweep, known[0], adjoints, copied[scatter.arrays[0].id])


def _kept(scatter: Scatter, part: Node) -> Node:
    return part if scatter.keep is None else apply(select, scatter.keep, part, constant(0.0, part.dtype, structural=True))


def _undo_replacement(scatter: Scatter, sweep: Sweep, known: Sequence[tuple[Node, Node, Node]], adjoints: Adjoints) -> Seeds:
    """Give the last element that went to a place its derivative; what was there before has none."""
    if sweep.inner is not None:
        raise GradientError(f"{source_line(scatter.place)}: a scatter of rows has no derivative here.")
    winner, length = array_register(int64), adjoints.lengths.length(scatter.arrays[0])
    j = adjoints.indices.of(length)
    adjoints.steps.extend([
        Allocate(winner, length), Sweep(length, j, (Store(winner, j, _NONE),)),
        Sweep(sweep.count, sweep.index, (Scatter((winner,), scatter.place, (sweep.index,), scatter.keep),)),
    ])  # fmt: skip
    mine = apply(eq, at(winner, scatter.place), sweep.index)
    seeds: Seeds = []
    for array, found, value in known:
        # the old derivative is read when the sweep is derived, and only then changed
        before = array_register(found.dtype)
        seeds.append((value, apply(select, mine, at(before, scatter.place), constant(0.0, found.dtype, structural=True))))
        adjoints.steps.append(Copy(before, found))
        total, _ = adjoints.begin(array, False)
        left = apply(select, apply(ge, at(winner, j), ZERO), zero(found), at(before, j))
        adjoints.steps.append(Sweep(length, j, (Store(total, j, left),)))
    return seeds


def _undo_extreme(
    scatter: Scatter, sweep: Sweep, known: tuple[Node, Node, Node], adjoints: Adjoints, base: Node
) -> Seeds:  # fmt: skip
    """All that attain the extremum of a place share its derivative, what was there before among them."""
    array, found, value = known
    length, one = adjoints.lengths.length(array), constant(1.0, array.dtype, structural=False)
    j = adjoints.indices.of(length)
    counts, shares = array_register(array.dtype), array_register(array.dtype)
    same = apply(eq, at(base, j), at(array, j))
    hit = apply(eq, value, at(array, scatter.place))
    hit = hit if scatter.keep is None else apply(and_, scatter.keep, hit)
    counted = Scatter((counts,), scatter.place, (one,), hit, _by_row(add, one))
    adjoints.steps.extend([
        Allocate(counts, length), Sweep(length, j, (Store(counts, j, apply(select, same, one, zero(one))),)),
        Sweep(sweep.count, sweep.index, (counted,)),
        Allocate(shares, length), Sweep(length, j, (Store(shares, j, apply(div, at(found, j), at(counts, j))),)),
    ])  # fmt: skip
    total, _ = adjoints.begin(array, False)
    adjoints.steps.append(Sweep(length, j, (Store(total, j, apply(select, same, at(shares, j), zero(one))),)))
    return [(value, apply(select, hit, at(shares, scatter.place), constant(0.0, array.dtype, structural=True)))]


__all__ = ["clear_elements", "others_product", "undo_scatter"]
