"""Derivatives of scans and reductions by any operator.

What a scan has combined, y[t] = f(y[t - 1], x[t]), has derivatives that obey z[t] = J[t + 1] z[t + 1] + g[t], with J the
transposed Jacobian of f by its left operand. These maps are affine, so that composing them is associative: the derivative
of a scan is a scan of matrices and vectors from the last element to the first. Sums need no matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hotloop.dtypes import bool_, int64
from hotloop.ir.graph import LOOP, Node, apply, constant, convert, param_node
from hotloop.ir.loop import substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import AT, Alias, Allocate, Compute, Operator, Reduce, Scan, Store, Sweep, array_register, at
from hotloop.ops.algebra import equals
from hotloop.passes.adjoint.adjoints import Adjoints
from hotloop.passes.adjoint.loops import ONE, TRUE, ZERO, zero
from hotloop.passes.adjoint.parts import derivatives
from hotloop.passes.adjoint.regions import register_like

add, sub, mul, eq, select, and_, or_ = (REGISTRY[name] for name in ("add", "sub", "mul", "eq", "select", "and", "or"))
SIMPLE = 4  # operations of a value that is rather computed again than kept
Seeds = list[tuple[Node, Node]]
At = Callable[[Node], Node]  # what something is for an element


@dataclass(slots=True, eq=False)
class Recurrence:
    """What a scan or reduction does, for each component, by place.

    nodes: the values as the sweep computes them, through which derivatives go on; before: what is combined before an
    element; gains: what is added to the derivative by what is combined up to an element, None if nothing; keep:
    whether an element counts. whole: of reductions the derivatives by the results.
    """

    operator: Operator
    nodes: Sequence[Node]
    values: list[At]
    before: list[At]
    gains: list[At | None]
    keep: At | None
    inits: Sequence[Node] | None
    count: Node
    whole: Sequence[Node | None] | None = None


def undo_scan(scan: Scan, sweep: Sweep, adjoints: Adjoints) -> Seeds:
    """Append steps; return what is derived for each element of the sweep, with its weights."""
    held = [adjoints.current(array) if array.dtype.is_float else None for array in scan.arrays]
    stand_ins = [register_like(array) for array in scan.arrays]
    adjoints.steps.append(Alias(tuple(stand_ins), scan.arrays))
    place = _by_place(scan.place, sweep.index)

    def before(array: Node) -> At:
        return lambda t: at(array, place(t if scan.exclusive else apply(sub, t, ONE)))

    def gain(number: int) -> At | None:
        given = held[number]
        if given is None:
            return None
        if not scan.exclusive:
            return lambda t: at(given, place(t))
        last = apply(sub, sweep.count, ONE)
        return lambda t: apply(select, apply(eq, t, last), zero(given), at(given, place(apply(add, t, ONE))))

    values = by_place(scan.values, sweep, adjoints)
    gains = [gain(k) for k in range(len(held))]
    made = Recurrence(scan.operator, scan.values, values, [before(array) for array in stand_ins], gains, None, scan.inits, sweep.count)
    found = _undo(made, sweep.index, adjoints)
    if scan.exclusive:
        assert scan.inits is not None, "exclusive scans have inits"
        first = apply(eq, sweep.index, ZERO)
        pairs = zip(scan.inits, held, strict=True)
        found += [(init, apply(select, first, at(h, scan.place), zero(init))) for init, h in pairs if h is not None and not init.is_const]
    return found


def undo_reduce(reduce: Reduce, sweep: Sweep, adjoints: Adjoints) -> Seeds:
    """Do what `undo_scan` does for a reduction."""
    weights = [adjoints.take(into) if into.dtype.is_float else None for into in reduce.into]
    values = by_place(reduce.values, sweep, adjoints)
    keep = None if reduce.keep is None else by_place([reduce.keep], sweep, adjoints)[0]
    arrays = _prefixes(reduce, sweep, values, keep, adjoints)
    shift = ZERO if reduce.inits is not None else ONE
    before: list[At] = [lambda t, array=array: at(array, apply(sub, t, shift)) for array in arrays]  # type: ignore[misc]
    last = apply(sub, sweep.count, ONE)

    def gain(weight: Node | None) -> At | None:
        return None if weight is None else lambda t: apply(select, apply(eq, t, last), weight, zero(weight))

    made = Recurrence(reduce.operator, reduce.values, values, before, list(map(gain, weights)), keep, reduce.inits, sweep.count, weights)
    found = _undo(made, sweep.index, adjoints)
    if reduce.inits is not None:  # of no elements the result is the inits
        empty = apply(REGISTRY["le"], sweep.count, ZERO)
        for init, weight in zip(reduce.inits, weights, strict=True):
            if weight is not None and not init.is_const:
                register = param_node(init.dtype, ())
                adjoints.steps.append(Compute((register,), (apply(select, empty, weight, zero(weight)),)))
                adjoints.add(init, register)
    return found


def _by_place(node: Node, index: Node) -> At:
    return lambda t: t if node is index else substitute([node], {index.id: t})[0]


def by_place(nodes: Sequence[Node], sweep: Sweep, adjoints: Adjoints) -> list[At]:
    """Return values by place; what takes long is kept in memory."""
    dear = [node for node in nodes if _is_dear(node)]
    arrays = [array_register(node.dtype) for node in dear]
    if dear:
        adjoints.steps.extend([Allocate(array, sweep.count) for array in arrays])
        stores = tuple([Store(array, sweep.index, node) for array, node in zip(arrays, dear, strict=True)])
        adjoints.steps.append(Sweep(sweep.count, sweep.index, stores))
    known = {node.id: array for node, array in zip(dear, arrays, strict=True)}

    def found(node: Node) -> At:
        array = known.get(node.id)
        return _by_place(node, sweep.index) if array is None else lambda t: at(array, t)

    return [found(node) for node in nodes]


def _is_dear(node: Node) -> bool:
    nodes = walk([node])
    return any(inner.op is LOOP for inner in nodes) or sum(1 for inner in nodes if inner.args and inner.op is not AT) > SIMPLE


def _prefixes(reduce: Reduce, sweep: Sweep, values: Sequence[At], keep: At | None, adjoints: Adjoints) -> list[Node]:
    """Append the scan of a reduction: with inits what is combined before an element, else up to it."""
    arrays = [array_register(value.dtype) for value in reduce.values]
    adjoints.steps.extend([Allocate(array, sweep.count) for array in arrays])
    index, found = sweep.index, [value(sweep.index) for value in values]
    if keep is None or reduce.inits is None:
        scan = Scan(tuple(arrays), index, reduce.operator, tuple(found), reduce.inits, reduce.inits is not None)
    else:
        flags = array_register(bool_)
        adjoints.steps.append(Allocate(flags, sweep.count))
        scan = Scan((flags, *arrays), index, _with_keep(reduce.operator), (keep(index), *found), (TRUE, *reduce.inits), True)
    adjoints.steps.append(Sweep(sweep.count, index, (scan,)))
    return arrays


def _with_keep(operator: Operator) -> Operator:
    """Return an operator on values that are there or not."""
    has, more = param_node(bool_, ()), param_node(bool_, ())
    both = apply(and_, has, more)
    parts = zip(operator.combined, operator.left, operator.right, strict=True)
    joined = [apply(select, both, node, apply(select, has, left, right)) for node, left, right in parts]
    return Operator((has, *operator.left), (more, *operator.right), (apply(or_, has, more), *joined))


# ------------------------------------------------------------------------------------------ the recurrence


def _undo(made: Recurrence, index: Node, adjoints: Adjoints) -> Seeds:
    """Append the steps that find the derivative by all that is combined; return the operator at each element with it."""
    floats = [k for k, left in enumerate(made.operator.left) if left.dtype.is_float]
    if all(made.gains[k] is None for k in floats):
        return []
    jacobian = _jacobian(made, floats)
    combined = _at_element(made, index, apply(eq, index, ZERO))
    if made.whole is not None and _only_adds(jacobian, floats):
        return [(combined[k], weight) for k in floats if (weight := made.whole[k]) is not None]
    found = _scanned(made, jacobian, floats, adjoints)
    return [(combined[k], at(array, index)) for k, array in zip(floats, found, strict=True)]


def _jacobian(made: Recurrence, floats: Sequence[int]) -> dict[tuple[int, int], Node]:
    """Return, in terms of the operator's params, the derivative of result r by left operand c at (c, r); no zeros."""
    found: dict[tuple[int, int], Node] = {}
    lefts = [made.operator.left[k] for k in floats]
    for r in floats:
        parts = derivatives(made.operator.combined[r], lefts)
        found.update({(c, r): part for c, part in zip(floats, parts, strict=True) if part is not None})
    return found


def _operands(made: Recurrence, lefts: Sequence[Node], rights: Sequence[Node]) -> dict[int, Node]:
    return {param.id: node for param, node in zip((*made.operator.left, *made.operator.right), (*lefts, *rights), strict=True)}


def _at_element(made: Recurrence, index: Node, first: Node) -> list[Node]:
    """Return what is combined up to an element, so that derivatives by values and inits pass through it."""
    stored = [before(index) for before in made.before]
    lefts = stored if made.inits is None else [apply(select, first, init, y) for init, y in zip(made.inits, stored, strict=True)]
    combined = substitute(made.operator.combined, _operands(made, lefts, made.nodes))
    if made.inits is None:
        combined = [apply(select, first, value, node) for value, node in zip(made.nodes, combined, strict=True)]
    if made.keep is not None:
        keep = made.keep(index)
        combined = [apply(select, keep, node, left) for node, left in zip(combined, lefts, strict=True)]
    return combined


def _scanned(made: Recurrence, jacobian: dict[tuple[int, int], Node], floats: Sequence[int], adjoints: Adjoints) -> list[Node]:
    """Append the scan from the last element to the first; return the arrays of the derivatives by all that is combined."""
    s = param_node(int64, ())
    t = apply(sub, apply(sub, made.count, ONE), s)
    zeros = {k: zero(made.operator.left[k]) for k in floats}
    gains = [gain(t) if (gain := made.gains[k]) is not None else zeros[k] for k in floats]
    arrays = [array_register(made.operator.left[k].dtype) for k in floats]
    adjoints.steps.extend([Allocate(array, made.count) for array in arrays])
    if _only_adds(jacobian, floats):
        effect = Scan(tuple(arrays), t, _plus(arrays), tuple(gains), None, False)
        adjoints.steps.extend([Sweep(made.count, s, (effect,))])
        return arrays
    entries = _closed({*jacobian, *([(k, k) for k in floats] if made.keep is not None else ())})
    matrices = _matrices(made, jacobian, entries, s, t)
    unused = {entry: array_register(zeros[entry[0]].dtype) for entry in entries}  # what the scan writes of matrices
    adjoints.steps.extend([Allocate(array, made.count) for array in unused.values()])
    operator = _affine(entries, floats, zeros)
    effect = Scan((*unused.values(), *arrays), t, operator, (*matrices, *gains), None, False)
    adjoints.steps.append(Sweep(made.count, s, (effect,)))
    return arrays


def _plus(arrays: Sequence[Node]) -> Operator:
    left, right = [tuple([param_node(array.dtype, ()) for array in arrays]) for _ in range(2)]
    return Operator(left, right, tuple([apply(add, x, y) for x, y in zip(left, right, strict=True)]))


def _only_adds(jacobian: dict[tuple[int, int], Node], floats: Sequence[int]) -> bool:
    """Whether what is combined before an element goes into the result as it is, component by component."""
    return all(c == r and equals(node, 1) for (c, r), node in jacobian.items()) and len(jacobian) == len(floats)


def _closed(entries: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return which entries of products of matrices with such entries are not zero."""
    while True:
        more = {(c, r) for c, q in entries for p, r in entries if p == q} - entries
        if not more:
            return sorted(entries)
        entries |= more


def _matrices(
    made: Recurrence, jacobian: dict[tuple[int, int], Node], entries: Sequence[tuple[int, int]], s: Node, t: Node
) -> list[Node]:  # fmt: skip
    """Return the entries of the matrix between an element and the one after it; zeros after the last one."""
    after = apply(add, t, ONE)
    lefts, rights = [before(after) for before in made.before], [value(after) for value in made.values]
    keys = list(jacobian)
    nodes = dict(zip(keys, substitute([jacobian[key] for key in keys], _operands(made, lefts, rights)), strict=True))
    if made.keep is not None:
        keep = made.keep(after)
        every = set(nodes) | {(k, k) for k, left in enumerate(made.operator.left) if left.dtype.is_float}
        one = {key: _number(key[0] == key[1], made.operator.left[key[0]]) for key in every}
        nodes = {key: apply(select, keep, nodes.get(key, zero(made.operator.left[key[0]])), one[key]) for key in every}
    last = apply(eq, s, ZERO)
    dtypes = {entry: made.operator.left[entry[0]].dtype for entry in entries}
    none = {entry: zero(made.operator.left[entry[0]]) for entry in entries}
    return [apply(select, last, none[e], convert(nodes[e], dtypes[e])) if e in nodes else none[e] for e in entries]


def _number(one: bool, like: Node) -> Node:
    return constant(1.0 if one else 0.0, like.dtype, structural=False)


def _affine(entries: Sequence[tuple[int, int]], floats: Sequence[int], zeros: dict[int, Node]) -> Operator:
    """Return the composition of maps x -> A x + b, the right one applied to the left one."""

    def params() -> tuple[dict[tuple[int, int], Node], dict[int, Node]]:
        return {entry: param_node(zeros[entry[0]].dtype, ()) for entry in entries}, {k: param_node(zeros[k].dtype, ()) for k in floats}

    (a, b), (p, q) = params(), params()
    matrix = [_total([(p[c, k], a[k, r]) for k in floats if (c, k) in p and (k, r) in a], zeros[c], None) for c, r in entries]
    vector = [_total([(p[c, r], b[r]) for r in floats if (c, r) in p], zeros[c], q[c]) for c in floats]
    return Operator((*a.values(), *b.values()), (*p.values(), *q.values()), (*matrix, *vector))


def _total(products: Sequence[tuple[Node, Node]], none: Node, start: Node | None) -> Node:
    total = start
    for x, y in products:
        product = convert(apply(mul, x, y), none.dtype)
        total = product if total is None else apply(add, total, product)
    return none if total is None else total
