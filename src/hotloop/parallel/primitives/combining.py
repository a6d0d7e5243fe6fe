"""Primitives that combine elements: reductions and scans, and what `filter` left put in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hotloop.dtypes import DType, bool_, int64
from hotloop.errors import ShapeError, SyntaxRefused, TypeMismatch
from hotloop.ir.graph import LOOP, Node, apply, constant, param_node
from hotloop.ir.op import REGISTRY, Op
from hotloop.ir.sweep import AT, Effect, Filter, Fold, Operator, Reduce, Scan
from hotloop.ops.shape import FOLDS, identity
from hotloop.parallel.interpreter.arithmetic import extremum, truth
from hotloop.parallel.interpreter.recorder import FALSE, ONE, ZERO, Site
from hotloop.parallel.interpreter.values import (
    Builtin,
    Number,
    Sequence,
    Value,
    as_type,
    describe,
    joint_type,
    leaves,
    mapped,
    rebuilt,
    weak,
)
from hotloop.parallel.primitives.moving import lazy, reversed_, sequence

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.interpret import Interpreter
    from hotloop.parallel.reading.place import Place

add, lt, and_, or_, select, eq = (REGISTRY[name] for name in ("add", "lt", "and", "or", "select", "eq"))
FOLDED = {REGISTRY[name] for name in FOLDS.values()}
Combine = Callable[[Value, Value], Value]


# ------------------------------------------------------------------------------------------------ types


def with_types(value: Value, types: Items[DType], weaks: Items[bool]) -> Value:
    """Return a value with its numbers converted."""
    found = zip(leaves(value), types, weaks, strict=True)
    return rebuilt(value, iter([Number(as_type(leaf, dtype), light) for leaf, dtype, light in found]))


def params_like(value: Value, types: Items[DType], weaks: Items[bool]) -> tuple[tuple[Node, ...], Value]:
    """Return new params in the structure of a value, and the value that they are."""
    params = tuple([param_node(dtype, ()) for dtype in types])
    return params, rebuilt(value, iter([Number(param, light) for param, light in zip(params, weaks, strict=True)]))


def operands_like(
    interpreter: Interpreter, value: Value, types: Items[DType], weaks: Items[bool]
) -> tuple[tuple[Node, ...], Value]:  # fmt: skip
    """Return new params that are operands of an operator."""
    params, found = params_like(value, types, weaks)
    interpreter.trace.bound.update([param.id for param in params])
    return params, found


def accumulator(interpreter: Interpreter, place: Place, combine: Combine, name: str, start: Value, element: Value) -> Value:
    """Return, as a value, the type that holds what is combined: that of start, elements and results."""
    if not all(isinstance(leaf, Number) for leaf in (*leaves(start), *leaves(element))):
        place.refuse(TypeMismatch, f"{name}() combines numbers and tuples of them, not {describe(element)}.")
    outline = _joint(place, name, start, element)
    for _ in range(4):
        types, weaks = [leaf.dtype for leaf in leaves(outline)], [leaf.weak for leaf in leaves(outline)]
        with interpreter.trace.body():
            result = combine(operands_like(interpreter, outline, types, weaks)[1], operands_like(interpreter, outline, types, weaks)[1])
        wider = _joint(place, name, outline, result)
        if [leaf.dtype for leaf in leaves(wider)] == types:
            return wider
        outline = wider
    return place.refuse(TypeMismatch, f"the operator of {name}() gives a wider type each time it is applied.")


def _joint(place: Place, name: str, a: Value, b: Value) -> Value:
    if isinstance(a, tuple) != isinstance(b, tuple) or (isinstance(a, tuple) and len(a) != len(b)):
        place.refuse(TypeMismatch, f"{name}() combines {describe(a)} with {describe(b)}; they must have one structure.")
    if isinstance(a, tuple):
        return tuple([_joint(place, name, x, y) for x, y in zip(a, b, strict=True)])
    if not (isinstance(a, Number) and isinstance(b, Number)):
        place.refuse(TypeMismatch, f"{name}() combines numbers and tuples of them, not {describe(b)}.")
    dtype = joint_type([a, b])
    return Number(as_type(a, dtype), a.weak and b.weak)


def operator_of(interpreter: Interpreter, combine: Combine, outline: Value) -> Operator:
    """Return an operator on values of a type, traced once."""
    types, weaks = [leaf.dtype for leaf in leaves(outline)], [leaf.weak for leaf in leaves(outline)]
    left, a = operands_like(interpreter, outline, types, weaks)
    right, b = operands_like(interpreter, outline, types, weaks)
    with interpreter.trace.body():
        result = combine(a, b)
    combined = tuple([as_type(leaf, dtype) for leaf, dtype in zip(leaves(result), types, strict=True)])
    return Operator(left, right, combined)


def row_of(operator: Operator) -> Op | None:
    """Return the row of FOLDS that an operator is, if it is one."""
    if len(operator.combined) != 1:
        return None
    node = operator.combined[0]
    if node.op in FOLDED and {arg.id for arg in node.args} == {operator.left[0].id, operator.right[0].id}:
        return node.op
    return None


# ------------------------------------------------------------------------------------------- reductions


@contextmanager
def hoisted(interpreter: Interpreter, sequence: Sequence) -> Iterator[None]:
    """Append the steps that combine a sequence of depth 0 before the bodies that are being traced."""
    if interpreter.trace.depth and sequence.depth == 0:
        with interpreter.trace.outside():
            yield
    else:
        yield


def reduced(interpreter: Interpreter, place: Place, name: str, combine: Combine, source: Sequence, start: Value, fixed: bool) -> Value:
    """Combine all elements, start first; without a start there is at least one element. fixed: `combine` depends on no variable."""
    trace = interpreter.trace
    element = trace.probe(source)
    outline = accumulator(interpreter, place, combine, name, element if start is None else start, element)
    outer = fixed and source.depth == 0
    if trace.depth and outer and start is not None and not _is_constant(start):
        with hoisted(interpreter, source):
            total = _reduced_by_sweep(interpreter, combine, source, None, outline)
        return combine(start, total)
    if trace.depth and not outer:
        return _reduced_in_loop(interpreter, combine, source, start, outline)
    with hoisted(interpreter, source):
        return _reduced_by_sweep(interpreter, combine, source, start, outline)


def _is_constant(value: Value) -> bool:
    return all(leaf.node.is_const for leaf in leaves(value))


def _reduced_by_sweep(interpreter: Interpreter, combine: Combine, source: Sequence, start: Value, outline: Value) -> Value:
    trace = interpreter.trace
    types, weaks = [leaf.dtype for leaf in leaves(outline)], [leaf.weak for leaf in leaves(outline)]
    operator = operator_of(interpreter, combine, outline)
    row = row_of(operator)
    into, result = params_like(outline, types, weaks)
    inits = None if start is None else tuple([leaf.node for leaf in leaves(with_types(start, types, weaks))])

    def effects(i: Node) -> list[Effect]:
        keep = None if source.keep is None else source.keep(i)
        with trace.guarded(keep) if keep is not None else trace.guarded_top():
            values = tuple([leaf.node for leaf in leaves(with_types(trace.element(source, i), types, weaks))])
        if row is None:
            return [Reduce(into, operator, values, inits, keep)]
        value = values[0] if keep is None else apply(select, keep, values[0], constant(identity(row, types[0]), types[0]))
        return [Fold(into[0], row, value)]

    trace.sweep(source.length, effects)
    if row is None or inits is None:
        return result
    return rebuilt(outline, iter([Number(apply(row, inits[0], into[0]), weaks[0])]))


def _reduced_in_loop(interpreter: Interpreter, combine: Combine, source: Sequence, start: Value, outline: Value) -> Value:
    """Combine one element after the other, inside of a body."""
    trace = interpreter.trace
    types, weaks = [leaf.dtype for leaf in leaves(outline)], [leaf.weak for leaf in leaves(outline)]
    first = with_types(trace.element(source, ZERO) if start is None else start, types, weaks)

    def step(place: Node, nodes: Items[Node]) -> list[Node]:
        so_far = rebuilt(outline, iter([Number(node, light) for node, light in zip(nodes, weaks, strict=True)]))

        def combined() -> Value:
            return with_types(combine(so_far, with_types(trace.element(source, place), types, weaks)), types, weaks)

        keep = source.keep
        following = combined() if keep is None else trace.choose(keep(place), combined, lambda: so_far, interpreter.merge)
        return [leaf.node for leaf in leaves(following)]

    found = trace.counted(source.length, ZERO if start is not None else ONE, [leaf.node for leaf in leaves(first)], step)
    return rebuilt(outline, iter([Number(node, light) for node, light in zip(found, weaks, strict=True)]))


def reduce_(interpreter: Interpreter, place: Place, function: Value, value: Value, start: Value = None) -> Value:
    """Combine all elements by an associative function, starting from a value."""
    source = sequence(place, value, "reduce")

    def combine(a: Value, b: Value) -> Value:
        return interpreter.call(function, [a, b], place)

    if start is None:
        source = not_empty(interpreter, place, "reduce", source)
    return reduced(interpreter, place, "reduce", combine, source, start, isinstance(function, Builtin))


def not_empty(interpreter: Interpreter, place: Place, name: str, source: Sequence) -> Sequence:
    """Return a sequence whose every place counts; there is a fault if it has none."""
    whole = interpreter.whole(source)

    def error(_: Items[Any]) -> Exception:
        return place.error(ShapeError, f"{name}() of a sequence that is empty.")

    interpreter.trace.fault(apply(eq, whole.length, ZERO), Site(error))
    return whole


def _by_row(name: str) -> Combine:
    row = REGISTRY[name]
    return lambda a, b: Number(apply(row, a.node, as_type(b, a.dtype)), a.weak and b.weak)


def sum_(interpreter: Interpreter, place: Place, value: Value, start: Value = None) -> Value:
    """Add all elements; those of bools are counted."""
    source = sequence(place, value, "sum")
    kind = interpreter.trace.probe(source)
    if not isinstance(kind, Number):
        place.refuse(TypeMismatch, f"sum() adds numbers, not {describe(kind)}. Use reduce(f, x, init).")
    if kind.dtype is bool_:
        source = _converted(interpreter, source, int64)
    first = weak(0) if start is None else start
    return reduced(interpreter, place, "sum", _by_row("add"), source, first, fixed=True)


def _converted(interpreter: Interpreter, source: Sequence, dtype: DType) -> Sequence:
    made = lazy(interpreter, source.length, lambda i: Number(as_type(interpreter.trace.element(source, i), dtype)), source)
    made.depth = source.depth
    return made


def _extremum(name: str) -> Callable[..., Value]:
    called = name[:3]

    def rule(interpreter: Interpreter, place: Place, value: Value) -> Value:
        source = not_empty(interpreter, place, called, sequence(place, value, called))
        kind = interpreter.trace.probe(source)
        if isinstance(kind, Number):
            return reduced(interpreter, place, called, lambda a, b: extremum(name, a, b), source, None, fixed=True)

        def combine(a: Value, b: Value) -> Value:
            before = _before(b, a) if name == "minimum" else _before(a, b)
            return interpreter.trace.choose(before, lambda: b, lambda: a, interpreter.merge)

        return reduced(interpreter, place, called, combine, source, None, fixed=True)

    return rule


def _before(a: Value, b: Value) -> Node:
    """Return whether a tuple comes before another, as Python compares them."""
    less, equal = FALSE, constant(True, bool_, structural=False)
    for x, y in zip(leaves(a), leaves(b), strict=True):
        less = apply(or_, less, apply(and_, equal, apply(lt, x.node, y.node)))
        equal = apply(and_, equal, apply(eq, x.node, y.node))
    return less


smallest, largest = _extremum("minimum"), _extremum("maximum")


def _question(row: str, name: str) -> Callable[..., Value]:
    def rule(interpreter: Interpreter, place: Place, value: Value) -> Value:
        source = sequence(place, value, name)
        kind = interpreter.trace.probe(source)
        if not isinstance(kind, Number):
            place.refuse(TypeMismatch, f"{name}() asks bools, not {describe(kind)}.")
        answers = lazy(interpreter, source.length, lambda i: Number(truth(interpreter.trace.element(source, i))), source)
        answers.depth = source.depth
        start = Number(constant(row == "and", bool_, structural=False))
        return reduced(interpreter, place, name, _by_row(row), answers, start, fixed=True)

    return rule


def count(interpreter: Interpreter, place: Place, predicate: Value, value: Value) -> Value:
    """Return for how many elements a predicate holds."""
    from hotloop.parallel.primitives.moving import filter_

    return Number(counted(interpreter, filter_(interpreter, place, predicate, value)), weak=True)


def counted(interpreter: Interpreter, source: Sequence) -> Node:
    """Return how many places of a sequence count."""
    if source.keep is None:
        return source.length
    ones = lazy(interpreter, source.length, lambda _: Number(ONE), source)
    ones.depth = source.depth
    return reduced(interpreter, None, "len", _by_row("add"), ones, Number(ZERO), fixed=source.depth == 0).node  # type: ignore[arg-type,no-any-return]


def compacted(interpreter: Interpreter, source: Sequence) -> Sequence:
    """Return what `filter` left, in memory."""
    trace = interpreter.trace
    if trace.depth and source.depth:
        from hotloop.parallel.primitives.lifting import filtered_row

        return filtered_row(interpreter, source)
    for block, known in source.forced:
        if any(block is open_block for open_block in trace.blocks):
            return known  # type: ignore[no-any-return]
    with hoisted(interpreter, source):
        from hotloop.ir.sweep import array_register

        kind = trace.probe(source)
        flat = all(isinstance(leaf, Number) for leaf in leaves(kind))  # of rows the places are kept
        arrays = mapped(lambda leaf: array_register(leaf.dtype), kind) if flat else array_register(int64)
        kept = param_node(int64, ())

        def effects(i: Node) -> list[Effect]:
            keep = source.keep(i)  # type: ignore[misc]
            with trace.guarded(keep):
                values = trace.element(source, i) if flat else Number(i)
            return [Filter(tuple(leaves(arrays)), keep, tuple([leaf.node for leaf in leaves(values)]), kept)]

        trace.sweep(source.length, effects)
        made = trace.stored(arrays, (kept,))
        if not flat:
            made = _rows_at(interpreter, source, made)
    source.forced.append((trace.blocks[-1], made))
    return made


def _rows_at(interpreter: Interpreter, source: Sequence, places: Sequence) -> Sequence:
    """Return the rows of a sequence at places that are in memory."""
    trace = interpreter.trace

    def element(i: Node) -> Value:
        place = trace.element(places, i).node
        trace.below[place.id] = source.length
        return trace.element(source, place)

    return lazy(interpreter, places.length, element)


# ------------------------------------------------------------------------------------------------ scans


def scanned(
    interpreter: Interpreter, place: Place, name: str, function: Value, value: Value, start: Value, backwards: bool
) -> Value:  # fmt: skip
    """Return what is combined up to each element; with a start, before each element."""
    given = interpreter.whole(sequence(place, value, name))
    trace = interpreter.trace
    if trace.depth and (given.depth or not _is_invariant(interpreter, place, function, start, trace.probe(given))):
        from hotloop.parallel.primitives.lifting import scanned_row

        return scanned_row(interpreter, place, name, function, given, start, backwards)
    source = reversed_(interpreter, place, given) if backwards else given
    source.depth = given.depth

    def combine(a: Value, b: Value) -> Value:
        return interpreter.call(function, [a, b], place)

    with hoisted(interpreter, given):
        element = trace.probe(source)
        outline = accumulator(interpreter, place, combine, name, element if start is None else start, element)
        types, weaks = [leaf.dtype for leaf in leaves(outline)], [leaf.weak for leaf in leaves(outline)]
        operator = operator_of(interpreter, combine, outline)
        inits = None if start is None else tuple([leaf.node for leaf in leaves(with_types(start, types, weaks))])
        arrays = trace.allocated(outline, source.length)

        def effects(i: Node) -> list[Effect]:
            values = tuple([leaf.node for leaf in leaves(with_types(trace.element(source, i), types, weaks))])
            at = apply(REGISTRY["sub"], apply(REGISTRY["sub"], source.length, ONE), i) if backwards else i
            return [Scan(tuple(leaves(arrays)), at, operator, values, inits, start is not None)]

        trace.sweep(source.length, effects)
        return trace.stored(arrays, (source.length,))


def _is_invariant(interpreter: Interpreter, place: Place, function: Value, start: Value, element: Value) -> bool:
    """Whether an operator and a start are sure to depend on no variable of the bodies around."""
    if isinstance(function, Builtin):
        return start is None or _is_constant(start)
    params = [[param_node(leaf.dtype, ()) for leaf in leaves(element)] for _ in range(2)]
    weaks = [leaf.weak for leaf in leaves(element)]
    a, b = (rebuilt(element, iter([Number(param, light) for param, light in zip(side, weaks, strict=True)])) for side in params)
    with interpreter.trace.body() as frame:
        found = leaves(interpreter.call(function, [a, b], place))
    own = {param.id for side in params for param in side}
    waiting, seen = [leaf.node for leaf in found if isinstance(leaf, Number)], set[int]()
    while waiting:
        node = waiting.pop()
        if node.id in seen or node.id in own or node.is_const:
            continue
        seen.add(node.id)
        if not node.args or node.op in (LOOP, AT):
            return False
        waiting.extend(node.args)
    return not frame.faults and (start is None or _is_constant(start))


def _refuse_inside(place: Place, name: str) -> Value:
    return place.refuse(
        SyntaxRefused, f"{name}() inside of a map needs memory for each element, unless its result is the element: then rows of a ragged "
        "sequence are written. Use a loop, or reduce()."
    )  # fmt: skip


def _scan(name: str, backwards: bool) -> Callable[..., Value]:
    def rule(interpreter: Interpreter, place: Place, function: Value, value: Value) -> Value:
        return scanned(interpreter, place, name, function, value, None, backwards)

    return rule


def _exclusive(name: str, backwards: bool) -> Callable[..., Value]:
    def rule(interpreter: Interpreter, place: Place, function: Value, start: Value, value: Value) -> Value:
        return scanned(interpreter, place, name, function, value, start, backwards)

    return rule


RULES: dict[str, Callable[..., Value]] = {
    "reduce": reduce_, "sum": sum_, "any": _question("or", "any"), "all": _question("and", "all"), "count": count,
    "scan": _scan("scan", False), "rscan": _scan("rscan", True),
    "exclusive_scan": _exclusive("exclusive_scan", False), "exclusive_rscan": _exclusive("exclusive_rscan", True),
}  # fmt: skip
