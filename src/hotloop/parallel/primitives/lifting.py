"""Operations that need memory, on rows within bodies: done for all rows at once, before the sweep that uses them.

`[max(scan(f, row)) for row in rows]`: what the scan makes of a row depends on the row's index alone. So the elements of
all rows are taken one after the other, one flat operation is done on them (a scan that starts anew at each row, a sort
by row first, a filter), and the body reads its row of the result. Bodies within bodies have several indices: all
combinations of them are the rows. Only what depends on variables of a loop cannot be lifted.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from hotloop.dtypes import int64
from hotloop.errors import SyntaxRefused
from hotloop.ir.graph import LOOP, Node, apply, param_node
from hotloop.ir.loop import dependents, substitute
from hotloop.ir.op import REGISTRY
from hotloop.ir.rewrite import ends, variables
from hotloop.ir.sweep import AT, Effect, Filter, array_register
from hotloop.parallel.interpreter.recorder import ONE, TRUE, ZERO, Pending
from hotloop.parallel.interpreter.values import Builtin, Number, Sequence, Stored, Value, leaves, mapped
from hotloop.parallel.primitives.nested import forced, offsets_of
from hotloop.parallel.primitives.rows import Rows, heads, in_register, lazy_places, row_numbers, scanned_rows, sorted_rows
from hotloop.parallel.primitives.searching import inserted

if TYPE_CHECKING:
    from hotloop.ir.graph import Body
    from hotloop.ir.sweep import Step
    from hotloop.parallel.interpreter.interpret import Interpreter
    from hotloop.parallel.interpreter.trace import Trace
    from hotloop.parallel.reading.place import Place

add, sub, mul, eq, and_, select = (REGISTRY[name] for name in ("add", "sub", "mul", "eq", "and", "select"))


class Bound(Exception):
    """Something depends on a variable that has no value before the body: it cannot be lifted."""


# ------------------------------------------------------------------------------------ what a row depends on


def free(trace: Trace, nodes: Items[Node]) -> list[Node]:
    """Return the indices of bodies that nodes depend on, and those that their limits depend on, outer ones first."""
    found: dict[int, Node] = {}
    waiting, seen = list(nodes), set[int]()
    while waiting:
        node = waiting.pop()
        if node.id in seen:
            continue
        seen.add(node.id)
        waiting.extend(node.args)
        if node.id in trace.bound:
            if node.id not in trace.below:
                raise Bound
            found[node.id] = node
            waiting.append(trace.below[node.id])
    return [found[number] for number in sorted(found)]


@dataclass(frozen=True, slots=True, eq=False)
class Around:
    """All combinations of some indices, in order. count: how many. indices: those of a combination; number: of which one."""

    count: Node
    indices: Callable[[Node], list[Node]]
    number: Callable[[Items[Node]], Node]


def around(interpreter: Interpreter, counters: Items[Node]) -> Around:
    """Return all combinations of indices, of which each one's limit depends on those before."""
    trace = interpreter.trace
    if not counters:
        return Around(ONE, lambda _: [], lambda _: ZERO)
    *outer, last = counters
    before, limit = around(interpreter, outer), trace.below[last.id]
    if not outer:
        return Around(limit, lambda q: [q], lambda values: values[0])
    rows = rows_like(interpreter, before.count, lambda q: moved_node(limit, outer, before.indices(q)), bool(free(trace, [limit])))
    numbers = row_numbers(trace, rows)

    def indices(q: Node) -> list[Node]:
        row = trace.element(numbers, q).node
        trace.below[row.id] = before.count
        return [*before.indices(row), apply(sub, q, rows.start(row))]

    return Around(rows.total, indices, lambda values: apply(add, rows.start(before.number(values[:-1])), values[-1]))


def rows_like(interpreter: Interpreter, count: Node, length: Callable[[Node], Node], differ: bool) -> Rows:
    """Return so many rows of a length; differ: whether it depends on the row."""
    if not differ:
        width = length(ZERO)
        return Rows(count, apply(mul, count, width), width)
    offsets, total = offsets_of(interpreter, count, length)
    return Rows(count, total, None, offsets)


def moved_node(node: Node, counters: Items[Node], values: Items[Node]) -> Node:
    """Return a node with other indices in the place of counters."""
    return moved_nodes([node], counters, values)[0]


def moved_nodes(nodes: Items[Node], counters: Items[Node], values: Items[Node]) -> list[Node]:
    """Return nodes with other indices in the place of counters."""
    return substitute(list(nodes), {old.id: new for old, new in zip(counters, values, strict=True) if old is not new})


def moved(value: Value, counters: Items[Node], values: Items[Node]) -> Value:
    """Return a value with other indices in the place of counters."""

    def leaf(part: Value) -> Value:
        if isinstance(part, Number):
            return Number(moved_node(part.node, counters, values), part.weak)
        if not isinstance(part, Sequence):
            return part
        given, keep = part, part.keep
        made = Sequence(moved_node(given.length, counters, values), lambda i: moved(given.element(i), counters, values), given.depth)
        if keep is not None:
            made.keep = lambda i: moved_node(keep(i), counters, values)
        return made

    return mapped(leaf, value)


# ------------------------------------------------------------------------------------------- rows of a body


@dataclass(slots=True, eq=False)
class Row:
    """A row of a body as a function of the indices around it, `given`, and of its column: nodes in terms of them.

    operands, operated: what an operator that is used on elements makes of operands, which are params.
    """

    column: Node
    length: Node
    element: Value
    keep: Node | None
    start: list[Node]
    faults: list[Pending]
    operands: list[Node]
    operated: list[Node]
    given: list[Node] = field(default_factory=list)

    @property
    def is_flat(self) -> bool:
        """Whether elements are numbers and tuples of them."""
        return all(isinstance(leaf, Number) for leaf in leaves(self.element))

    def nodes(self) -> list[Node]:
        """Return all that decides what the row is, but for elements that are rows themselves."""
        parts = [leaf.node for leaf in leaves(self.element) if isinstance(leaf, Number)]
        pending = [node for fault in self.faults for node in (fault.condition, *fault.values)]
        return [self.length, *parts, *([] if self.keep is None else [self.keep]), *self.start, *pending]


def described(
    interpreter: Interpreter, place: Place | None, name: str, given: Sequence, start: Value = None, function: Value = None
) -> Row:  # fmt: skip
    """Return a row of a body. Raises: SyntaxRefused if it depends on what is no index."""
    trace = interpreter.trace
    column = trace.counter(given.length)
    with trace.body() as frame:
        keep = None if given.keep is None else given.keep(column)
        with trace.guarded(TRUE if keep is None else keep):
            element = trace.element(given, column)
    faults = [Pending(apply(and_, trace.guard, pending.condition), pending.site, pending.values) for pending in frame.faults]
    inits = [] if start is None else [leaf.node for leaf in leaves(start)]
    row = Row(column, given.length, element, keep, inits, faults, *_operated(interpreter, place, function, element))
    columns, inside = _innards(trace, element)
    try:
        found = free(trace, [*row.nodes(), *inside])
        own = free(trace, row.operated)
    except Bound:
        found = own = _refuse(place, name)
    if own:
        _refuse(place, name)
    row.given = [node for node in found if node is not column and node not in columns]
    return row


def _operated(interpreter: Interpreter, place: Place | None, function: Value, element: Value) -> tuple[list[Node], list[Node]]:
    """Return params, and what a function of two elements makes of them: it tells functions apart."""
    if function is None or place is None or isinstance(function, Builtin):
        return [], []
    sides = [mapped(lambda leaf: Number(param_node(leaf.dtype, ()), leaf.weak), element) for _ in range(2)]
    with interpreter.trace.body():
        found = interpreter.call(function, sides, place)
    params = [leaf.node for side in sides for leaf in leaves(side)]
    return params, [leaf.node for leaf in leaves(found) if isinstance(leaf, Number)]


def _innards(trace: Trace, element: Value) -> tuple[list[Node], list[Node]]:
    """Return what elements that are rows depend on: counters of their own, and nodes in terms of them."""
    columns: list[Node] = []
    found: list[Node] = []
    for leaf in leaves(element):
        if isinstance(leaf, Sequence):
            column = trace.counter(leaf.length)
            with trace.body() as frame:
                inner = leaf.element(column)
                keep = [] if leaf.keep is None else [leaf.keep(column)]
            more, inside = _innards(trace, inner)
            columns += [column, *more]
            found += [leaf.length, *keep, *inside, *[pending.condition for pending in frame.faults]]
        elif isinstance(leaf, Number):
            found.append(leaf.node)
    return columns, found


# ------------------------------------------------------------------------------------------------- memory


class Known:
    """What is in memory already, with the block where that happens, and names for expressions."""

    def __init__(self) -> None:
        self.made: list[tuple[list[Step], Any, Lifted]] = []
        self.names: dict[Any, int] = {}

    def name(self, *parts: Any) -> int:
        """Return a number that is the same for equal parts; it is negative, and so no id of a node."""
        return self.names.setdefault(parts, -1 - len(self.names))

    def fingerprint(self, trace: Trace, row: Row) -> tuple[Any, ...]:
        """Return what two rows have in common exactly if they are equal whatever their indices are."""
        sources = [*row.given, row.column, *row.operands]
        outputs = [*[trace.below[node.id] for node in row.given], *row.nodes(), *row.operated]
        known = {source.id: self.name("source", k) for k, source in enumerate(sources)}
        self._add(dependents(outputs, sources), known, 0)
        return tuple([known.get(output.id, output.id) for output in outputs])

    def _add(self, nodes: Items[Node], known: dict[int, int], level: int) -> None:
        """Put into `known` the name of each node that depends on what is there."""
        for node in nodes:
            if node.id in known:
                continue
            args = tuple([known.get(arg.id, arg.id) for arg in node.args])
            if node.op is LOOP:
                known[node.id] = self.name("loop", self._loop(node.attr, known, level), args)
            elif any(arg.id in known for arg in node.args):
                known[node.id] = self.name(node.op, node.attr, node.dtype, args)

    def _loop(self, body: Body, known: dict[int, int], level: int) -> tuple[Any, ...]:
        params, results = list(variables(body)), list(ends(body))
        inner = {**known, **{param.id: self.name("carried", level, k) for k, param in enumerate(params)}}
        self._add(dependents(results, params), inner, level + 1)
        return body.trips, body.condition is None, tuple([inner.get(node.id, node.id) for node in results])


def remembered(interpreter: Interpreter, row: Row, kind: tuple[Any, ...], make: Callable[[], Lifted]) -> Lifted:
    """Return what was made before of the same row, or make it, outside of all bodies."""
    trace = interpreter.trace
    if trace.lifted is None:
        trace.lifted = Known()
    key = (*kind, *trace.lifted.fingerprint(trace, row)) if row.is_flat else None
    for block, known, found in trace.lifted.made:
        if known is not None and known == key and any(block is open_block for open_block in trace.blocks):
            return found  # type: ignore[no-any-return]
    with trace.outside():
        made = make()
    trace.lifted.made.append((trace.blocks[-1], key, made))
    return made


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """Rows in memory, one for each combination of indices."""

    rows: Sequence
    around: Around

    def row(self, interpreter: Interpreter, given: Items[Node]) -> Sequence:
        """Return the row of a body with these indices."""
        trace = interpreter.trace
        number = self.around.number(given)
        trace.below[number.id] = self.around.count
        found: Sequence = trace.element(self.rows, number)
        return found


def _in_memory(trace: Trace, row: Row) -> Rows | None:
    """Return the rows that lie in memory, if the row has the length of one of them and all of them are taken."""
    found = row.length
    if len(row.given) != 1 or found.op is not sub or found.args[1].op is not AT:
        return None
    offsets, index = found.args[1].args
    count = trace.rows.get(offsets.id)
    rows = Rows(ZERO if count is None else count, ZERO, None, offsets)
    if count is None or index is not row.given[0] or trace.below[index.id] is not count or rows.length(index) is not found:
        return None
    return Rows(count, in_register(trace, rows.start(count)), None, offsets)


class _Flat:
    """All elements of all rows, one after the other."""

    def __init__(self, interpreter: Interpreter, row: Row) -> None:
        trace = interpreter.trace
        self.trace, self.row = trace, row
        self.around = around(interpreter, row.given)
        self.rows = _in_memory(trace, row) or rows_like(
            interpreter, self.around.count, lambda q: moved_node(row.length, row.given, self.around.indices(q)),
            bool(free(trace, [row.length])),
        )  # fmt: skip
        self.numbers = row_numbers(trace, self.rows)
        # where an element of rows in memory is, if its row is one of them: its place among all elements
        self.home = [apply(add, self.rows.start(row.given[0]), row.column)] if len(row.given) == 1 else []

    def place(self, p: Node) -> tuple[Node, Node]:
        """Return the row and the column of an element."""
        q = self.trace.element(self.numbers, p).node
        self.trace.below[q.id] = self.around.count
        return q, apply(sub, p, self.rows.start(q))

    def change(self, q: Node, column: Node, place: Node | None = None) -> tuple[list[Node], list[Node]]:
        """Return what is replaced, and by what, for one of the rows and columns. place: of the element among all."""
        place = apply(add, self.rows.start(q), column) if place is None else place
        return [*self.row.given, self.row.column, *self.home], [*self.around.indices(q), column, *[place for _ in self.home]]

    def element(self, q: Node, column: Node, place: Node | None = None) -> Value:
        """Return an element, and have the faults that it may have."""
        change = self.change(q, column, place)
        for fault in self.row.faults:
            condition, *values = moved_nodes([fault.condition, *fault.values], *change)
            self.trace.frames[-1].faults.append(Pending(apply(and_, self.trace.guard, condition), fault.site, tuple(values)))
        return moved(self.row.element, *change)

    def stored(self, arrays: Any, inner: Stored | None = None) -> Lifted:
        """Return rows of as many elements as there were."""
        memory = self.rows.memory(arrays, inner or Stored(arrays, (self.rows.total,)))
        return Lifted(self.trace.stored(memory.arrays, memory.shape, memory.offsets), self.around)


def _refuse(place: Place | None, name: str) -> Any:
    """Refuse what cannot be lifted."""
    message = (
        f"{name}() of what depends on variables of a loop, inside of a map, needs memory for each element. Use a loop over "
        "the elements, or reduce()."
    )
    if place is None:
        raise SyntaxRefused(message)
    return place.refuse(SyntaxRefused, message)


def lazily(interpreter: Interpreter, given: Sequence, lifted: Callable[[], tuple[Lifted, list[Node]]]) -> Sequence:
    """Return a row of a body that is put in memory when the first of its elements is asked for."""
    trace = interpreter.trace

    def element(i: Node) -> Value:
        found, indices = lifted()
        return trace.element(found.row(interpreter, indices), i)

    made = Sequence(given.length, element, trace.depth)
    made.lift = lifted
    return made


# ------------------------------------------------------------------------------------------------ operations


def scanned_row(
    interpreter: Interpreter, place: Place, name: str, function: Value, given: Sequence, start: Value, backwards: bool
) -> Sequence:  # fmt: skip
    """Return the scan of a row of a body."""

    def lifted() -> tuple[Lifted, list[Node]]:
        row = described(interpreter, place, name, given, start, function)
        kind = (name, place.node, getattr(function, "name", None))
        return remembered(interpreter, row, kind, lambda: _scanned(interpreter, place, name, function, row, start, backwards)), row.given

    return lazily(interpreter, given, lifted)


def _scanned(interpreter: Interpreter, place: Place, name: str, function: Value, row: Row, start: Value, backwards: bool) -> Lifted:
    trace = interpreter.trace
    flat = _Flat(interpreter, row)

    def turned(q: Node, column: Node) -> Node:
        return apply(sub, apply(sub, flat.rows.length(q), ONE), column) if backwards else column

    def element(p: Node) -> Value:
        q, column = flat.place(p)
        if start is None:
            return flat.element(q, turned(q, column), None if backwards else p)
        is_first = apply(eq, column, ZERO)
        before = apply(select, is_first, ZERO, apply(sub, column, ONE))
        first = moved(start, row.given, flat.around.indices(q))
        return trace.choose(is_first, lambda: first, lambda: flat.element(q, turned(q, before)), interpreter.merge)

    def where(p: Node) -> Node:
        q, column = flat.place(p)
        return apply(add, flat.rows.start(q), turned(q, column))

    begins = heads(trace, flat.rows)

    def first(p: Node) -> Node:
        return trace.element(begins, p).node  # type: ignore[no-any-return]

    arrays = scanned_rows(interpreter, place, name, function, flat.rows.total, element, first, where if backwards else lambda p: p)
    return flat.stored(arrays)


def sorted_row(
    interpreter: Interpreter, place: Place, name: str, less: Value, given: Sequence, keys: tuple[tuple[int, bool], ...] | None = None
) -> Sequence:  # fmt: skip
    """Return a row of a body sorted, by an order or by keys: (part of the elements, descending)."""
    whole = interpreter.whole(given)

    def lifted() -> tuple[Lifted, list[Node]]:
        row = described(interpreter, place, name, whole, None, less)
        kind = (name, place.node, getattr(less, "name", None), keys)

        def make() -> Lifted:
            flat = _Flat(interpreter, row)
            found = sorted_rows(interpreter, place, name, less, flat.rows, _elements(flat), keys)
            assert found.stored is not None
            return flat.stored(found.stored.arrays, found.stored)

        return remembered(interpreter, row, kind, make), row.given

    return lazily(interpreter, whole, lifted)


def _elements(flat: _Flat) -> Sequence:
    """Return all elements of all rows."""
    return Sequence(flat.rows.total, lambda p: flat.element(*flat.place(p), p), 0)


def filtered_row(interpreter: Interpreter, given: Sequence) -> Sequence:
    """Return what `filter` left of a row of a body."""
    found, indices = _filter(interpreter, given)
    return found.row(interpreter, indices)


def _filter(interpreter: Interpreter, given: Sequence) -> tuple[Lifted, list[Node]]:
    row = described(interpreter, None, "filter", given)
    return remembered(interpreter, row, ("filter",), lambda: _filtered(interpreter, row)), row.given


def _filtered(interpreter: Interpreter, row: Row) -> Lifted:
    trace = interpreter.trace
    flat = _Flat(interpreter, row)
    plain = row.is_flat
    numbers, columns, kept = array_register(int64), array_register(int64), param_node(int64, ())
    arrays = mapped(lambda leaf: array_register(leaf.dtype), row.element) if plain else columns

    def effects(p: Node) -> list[Effect]:
        q, column = flat.place(p)
        assert row.keep is not None
        keep = moved_node(row.keep, *flat.change(q, column, p))
        values = [leaf.node for leaf in leaves(flat.element(q, column, p))] if plain else [column]
        return [Filter((numbers, *leaves(arrays)), keep, (q, *values), kept)]

    trace.sweep(flat.rows.total, effects)
    of_row = trace.stored(numbers, (kept,))
    # a row starts where the first element of this row or a later one is
    more = apply(add, flat.rows.count, ONE)
    offsets = lazy_places(trace, more, lambda r: inserted(interpreter, of_row, Number(ZERO), Number(r), "left").node)
    rows = Rows(flat.rows.count, kept, None, offsets)
    trace.rows[offsets.id] = rows.count
    if plain:
        memory = rows.memory(arrays, Stored(arrays, (kept,)))
    else:
        of_column = trace.stored(columns, (kept,))

        def element(p: Node) -> Value:
            return flat.element(trace.element(of_row, p).node, trace.element(of_column, p).node)

        middle = Sequence(kept, element, 0)
        below = as_ragged(trace, forced(interpreter, middle).stored)
        memory = rows.memory(below.arrays, below)
    return Lifted(trace.stored(memory.arrays, memory.shape, memory.offsets), flat.around)


# --------------------------------------------------------------------------------------------- rows of rows


def lifted_rows(interpreter: Interpreter, sequence: Sequence, probe: Sequence, index: Node, place: Place | None) -> Sequence:
    """Return a sequence in memory whose rows are lifted ones, or filtered: most often they are there already."""
    trace = interpreter.trace
    with trace.body():
        found, indices = probe.lift() if probe.lift is not None and probe.keep is None else _filter(interpreter, probe)
    if len(indices) == 1 and indices[0] is index and found.around.count is sequence.length:
        rows: Sequence = found.rows
        return rows

    def element(i: Node) -> Value:
        row = interpreter.whole(trace.element(sequence, i))
        return Sequence(row.length, row.element, trace.depth)

    return forced(interpreter, Sequence(sequence.length, element, 0), place)


def deeper_rows(interpreter: Interpreter, sequence: Sequence, differ: bool, place: Place | None) -> Sequence:
    """Return a sequence in memory whose rows have rows of different lengths: all rows are put there one after the other."""
    trace = interpreter.trace
    rows = rows_like(interpreter, sequence.length, lambda i: trace.element(sequence, i).length, differ)
    numbers = row_numbers(trace, rows)

    def element(p: Node) -> Value:
        q = trace.element(numbers, p).node
        trace.below[q.id] = sequence.length
        row = trace.element(sequence, q)
        column = apply(sub, p, rows.start(q))
        trace.below[column.id] = row.length
        return trace.element(row, column)

    below = as_ragged(trace, forced(interpreter, Sequence(rows.total, element, 0), place).stored)
    offsets = rows.offsets if rows.offsets is not None else lazy_places(trace, apply(add, rows.count, ONE), rows.start)
    return trace.stored(below.arrays, (sequence.length,), (offsets, *below.offsets))


def as_ragged(trace: Trace, memory: Stored | None) -> Stored:
    """Return where rows in memory are, with offsets for each level of them."""
    assert memory is not None
    offsets, count = [], memory.shape[0]
    for width in memory.shape[1:]:
        offsets.append(lazy_places(trace, apply(add, count, ONE), partial(apply, mul, width)))
        count = apply(mul, count, width)
    return Stored(memory.arrays, memory.shape[:1], (*offsets, *memory.offsets))

