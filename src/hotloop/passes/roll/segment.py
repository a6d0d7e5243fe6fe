"""`Segment`: copies of one body in a sequence, and what a loop in their place needs: params, tables, results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from hotloop.dtypes import int32
from hotloop.ir.graph import CONST, INPUT, ITEM, PARAM, STATE, Node, constant, structure
from hotloop.ops.shape import pack, take
from hotloop.passes.kernel import RESULT
from hotloop.passes.price import Prices
from hotloop.passes.roll.runs import Run
from hotloop.passes.roll.sequence import Ints, Operations, line_through

LATE = 3  # a value of one of the last copies is taken from what the loop carries; of others from memory
ARRAYS = (INPUT, STATE, CONST, RESULT, ITEM, PARAM)  # what can be an array in memory
PHASES = 3  # first operations of a body that are looked at closely

# The model, in instructions. A loop counts, compares and jumps; what is carried is moved.
OVERHEAD, CARRIED, RECORDED, TAKEN, PACKED = 4, 1, 1, 1, 2
SHRINKS, SAVED = 0.75, 12  # code becomes less than this part, by more than that
SLOWER = ((2000, 2.0), (256, 1.6), (0, 1.5))  # who saves so many instructions may take so many times longer


@dataclass(frozen=True, slots=True)
class Carry:
    """A value of an earlier trip: of `position` in the body; inits: what it is in the trips before there is one."""

    position: int
    inits: tuple[int, ...]  # entries of `Operations.operands`


@dataclass(frozen=True, slots=True)
class Table:
    """Operands that differ from copy to copy: entries of `Operations.operands`."""

    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outer:
    """An operand that is the same in all copies: an entry of `Operations.operands`."""

    place: int


Operand = int | Carry | Table | Outer  # int: a position in the body


@dataclass(frozen=True, slots=True)
class Line:
    """Scalars of an array in memory, at these places; at first + step * trip if they are on a line.

    array: an array, or entries of `Operations.operands` that are put into one.
    """

    array: Node | tuple[int, ...]
    places: tuple[int, ...]

    @property
    def line(self) -> tuple[int, int] | None:
        """Return (first, step) of places on a line, else None."""
        return line_through(self.places)


@dataclass(slots=True)
class Segment:
    """`count` copies of `period` operations from `start` on.

    operands: of each operation of the body. given: for each position of the body that is needed outside, the copies
    whose value is needed.
    """

    start: int
    period: int
    count: int
    operands: list[list[Operand]]
    given: dict[int, list[int]]
    code: tuple[float, float] = (0, 0)  # instructions before and after
    time: tuple[float, float] = (0, 0)
    carries: list[Carry] = field(default_factory=list)
    ways: dict[Table, Line] = field(default_factory=dict)

    @property
    def stop(self) -> int:
        """The position behind the last copy."""
        return self.start + self.period * self.count

    @property
    def saved(self) -> float:
        """Instructions that a loop saves."""
        return self.code[0] - self.code[1]

    @property
    def worth(self) -> bool:
        """Whether a loop is clearly shorter and not much slower."""
        shorter = self.saved >= SAVED and self.code[1] <= SHRINKS * self.code[0]
        return shorter and self.time[1] <= _limit(self.saved) * self.time[0]

    def late(self, position: int) -> bool:
        """Whether the values of a position that are needed outside are of the last copies only."""
        return self.given[position][0] >= self.count - min(LATE, self.count)


def _limit(saved: float) -> float:
    return next(limit for least, limit in SLOWER if saved >= least)


def best_segment(found: Operations, run: Run, prices: Prices) -> Segment | None:
    """Return the segment of a run that saves most, if it is worth a loop."""
    work = sum(prices.of(node) for node in found.nodes[run.stop - run.period : run.stop])
    if work + OVERHEAD > _limit(2 * run.saved) * work:
        return None
    made = [s for start, count in _phases(found, run) for s in _segments(found, start, run.period, count, prices)]
    return max(made, key=lambda segment: segment.saved, default=None)


def _segments(found: Operations, start: int, period: int, count: int, prices: Prices) -> Iterator[Segment]:
    """Yield the segment if it is worth a loop, or without its first or its last copy, which may be different."""
    for first, copies in ((start, count), (start + period, count - 1), (start, count - 1)):
        segment = _segment(found, first, period, copies) if copies >= 2 and (copies - 1) * period >= SAVED else None
        if segment is not None:
            _estimate(segment, found, prices)
            if segment.worth:
                yield segment
                return


def _phases(found: Operations, run: Run) -> list[tuple[int, int]]:
    """Return the best places where copies may begin, and how many copies there are then: few values should be carried."""
    period, length = run.period, run.stop - run.start
    middle = run.start + (length // period - 1) // 2 * period
    steady = np.arange(middle, middle + period)
    users = _last_inside(found, run, middle)
    users = np.where(users < 0, steady, users)
    whole = (users - steady) // period  # boundaries that every phase crosses
    crossing = np.zeros(2 * period + 1, np.int64)
    np.add.at(crossing, steady - middle + 1, 1)
    np.add.at(crossing, np.minimum(users - whole * period - middle + 1, 2 * period), -1)
    counts = np.cumsum(crossing)[: 2 * period]
    carried = counts[:period] + counts[period:]
    offsets = np.arange(period)
    copies = (length - offsets) // period
    score = copies * period - 3 * carried[(run.start - middle + offsets) % period]
    chosen = np.argsort(-score, kind="stable")[:PHASES]
    return [(run.start + int(k), int(copies[k])) for k in chosen]


def _last_inside(found: Operations, run: Run, first: int) -> Ints:
    """Return the last user within a run of each operation of the copy that begins at `first`."""
    last: Ints = np.full(run.period, -1, np.int64)
    stop = first + run.period
    for row in found.operands[:, first : run.stop]:
        users = np.flatnonzero((row >= first) & (row < stop))
        np.maximum.at(last, row[users] - first, users + first)
    return last


def _segment(found: Operations, start: int, period: int, count: int) -> Segment | None:
    """Return the segment if its copies are alike in every operand, else None."""
    stop = start + period * count
    places = found.operands[:, start:stop].reshape(-1, count, period)
    moved = period * (count - 1 - np.arange(count))[:, None]
    if found.swaps[start : start + period].any():
        places = _in_one_order(places, moved, found.swaps[start : start + period], start)
    final = places[:, -1]
    inside = final >= start
    back = np.where(inside, count - 1 - (final - start) // period, count)
    young = np.arange(count)[None, :, None] < back[:, None, :]  # trips before there is a copy to take the operand from
    if not np.where(young, places < start, places + moved == final[:, None]).all():
        return None
    alike = (places == final[:, None]).all(axis=1)
    operands = [
        [_operand(places, slot, i, back, alike, start, period) for slot in range(len(node.args))]
        for i, node in enumerate(found.nodes[start : start + period])
    ]
    _agree(operands, found.swaps[start : start + period].tolist())
    used = (found.last[start:stop] >= stop).reshape(count, period)
    given = {int(i): np.flatnonzero(used[:, i]).tolist() for i in np.flatnonzero(used.any(axis=0))}
    return Segment(start, period, count, operands, given)


def _in_one_order(places: Ints, moved: Ints, swaps: np.ndarray, start: int) -> Ints:
    """Return operands of rows that do not care in the order that the last copy has."""

    def alike(slot: int, other: int) -> np.ndarray:
        wanted = places[other, -1]
        same: np.ndarray = np.where(wanted >= start, places[slot] + moved == wanted, places[slot] == wanted).astype(np.int8)
        return same

    which = swaps & (alike(1, 0) + alike(0, 1) > alike(0, 0) + alike(1, 1))
    return np.stack([np.where(which, places[1], places[0]), np.where(which, places[0], places[1]), places[2]])


def _agree(operands: list[list[Operand]], swaps: list[bool]) -> None:
    """Swap what rows that do not care take in the first trips, where that is what other rows carry already."""
    firm: set[Operand] = set()
    doubtful = []
    for row, swap in zip(operands, swaps, strict=True):
        if swap and all(isinstance(operand, Carry) for operand in row):
            doubtful.append(row)
        else:
            firm.update(operand for operand in row if isinstance(operand, Carry))
    for row in doubtful:
        x, y = row
        assert isinstance(x, Carry)
        assert isinstance(y, Carry)
        crossed = [Carry(x.position, y.inits), Carry(y.position, x.inits)]
        if len(x.inits) == len(y.inits) and sum(c in firm for c in crossed) > (x in firm) + (y in firm):
            row[:] = crossed
        firm.update(row)


def _operand(places: Ints, slot: int, position: int, back: Ints, alike: np.ndarray, start: int, period: int) -> Operand:
    """Return what an operand is, given its place in each copy and the trips before it comes from a copy."""
    count, trips, final = places.shape[1], int(back[slot, position]), int(places[slot, -1, position])
    if trips == count:
        return Outer(final) if alike[slot, position] else Table(tuple(places[slot, :, position].tolist()))
    source = (final - start) % period
    return source if trips == 0 else Carry(source, tuple(places[slot, :trips, position].tolist()))


# ---------------------------------------------------------------------------------------- the model


def _estimate(segment: Segment, found: Operations, prices: Prices) -> None:
    """Fill in what a loop carries and looks up, and what it costs."""
    carries: dict[Carry, None] = {}
    tables: dict[Table, None] = {}
    for row in segment.operands:
        for operand in row:
            if isinstance(operand, Carry):
                for k in range(len(operand.inits)):
                    carries[Carry(operand.position, operand.inits[k:])] = None
            elif isinstance(operand, Table):
                tables[operand] = None
    segment.carries = list(carries)
    count, period = segment.count, segment.period
    ways = _ways(found, list(tables))
    segment.ways = ways
    packed = sum(len(array) for array in {way.array for way in ways.values()} if isinstance(array, tuple))
    lines = {way.line for way in ways.values()}
    reads = len(tables) + sum(way.line is None for way in ways.values())
    steps = {line[1] for line in lines if line}
    index = (2 if tables else 0) + len(steps - {1}) + sum(line[0] != 0 for line in lines if line)
    records = [i for i in segment.given if not segment.late(i)]
    finals = len(segment.given) - len(records)
    takes = sum(len(segment.given[i]) for i in records)
    moves = CARRIED * (len(carries) + finals / 2) + RECORDED * len(records) + (2 if records and not tables else 0)
    once = OVERHEAD + len(carries) + TAKEN * takes + PACKED * packed
    body = period + reads + index + moves
    work = sum(prices.of(node) for node in found.nodes[segment.stop - period : segment.stop])
    segment.code = count * (period + reads / 2), body + once
    segment.time = count * (work + reads / 2), count * (work + reads + index + moves + OVERHEAD) + once


def _ways(found: Operations, tables: Sequence[Table]) -> dict[Table, Line]:
    """Return where each table lies in memory; what has to be put there is put once, where tables are windows of one sequence."""
    ways = {table: _way(found, table) for table in tables}
    for dtype in {found.at(table.items[0]).dtype for table in tables}:
        loose = [t for t in tables if isinstance(ways[t].array, tuple) and found.at(t.items[0]).dtype is dtype]
        for _ in range(2):  # without those that are on no line, others may be on none
            shared = _shared(found, loose)
            loose = [table for table in loose if shared[table].line]
        ways.update({table: shared[table] for table in loose if len(loose) > 1})
    return ways


def _shared(found: Operations, tables: Sequence[Table]) -> dict[Table, Line]:
    """Return tables as windows of all their items, in the order in which those were made."""
    items = sorted({item for table in tables for item in table.items}, key=lambda item: _age(found, item))
    rank = {item: i for i, item in enumerate(items)}
    return {table: Line(tuple(items), tuple([rank[item] for item in table.items])) for table in tables}


def _age(found: Operations, item: int) -> tuple[int, int, int]:
    if item >= 0:
        return 1, item, 0
    node = found.at(item)
    return (0, node.args[0].id, int(node.attr["index"].flat)) if node.op is take else (0, node.id, 0)


def _way(found: Operations, table: Table) -> Line:
    nodes = [found.at(place) for place in table.items]
    return places_of(nodes) or _places_of_cells(found, nodes) or Line(table.items, tuple(range(len(nodes))))


def places_of(nodes: Sequence[Node]) -> Line | None:
    """Return where scalars lie that are elements of one array in memory; constants are put into a new one."""
    if all(node.op is CONST for node in nodes):
        dtype = nodes[0].dtype
        array = constant(np.array([node.attr.value for node in nodes], dtype.numpy), dtype, structural=False)
        return Line(array, tuple(range(len(nodes))))
    if any(node.op is not take for node in nodes):
        return None
    array = nodes[0].args[0]
    if array.op not in ARRAYS or any(node.args[0] is not array for node in nodes):
        return None
    return Line(array, tuple([int(node.attr["index"].flat) for node in nodes]))


def _places_of_cells(found: Operations, nodes: Sequence[Node]) -> Line | None:
    """Return where scalar cells lie that follow one another in memory, as far as can be told here."""
    rows = [found.row_of(node) for node in nodes]
    if rows[0] is None or any(row is None or row[0] is not rows[0][0] for row in rows):
        return None
    cells = rows[0][0]
    array = structure(pack, cells, {"shape": (len(cells),)}, cells[0].dtype, (len(cells),))
    return Line(array, tuple([row[1] for row in rows if row is not None]))


def counted(nodes: Sequence[Node]) -> tuple[int, int] | None:
    """Return (first, step) of constants that a loop's index gives, else None."""
    if any(node.op is not CONST or node.dtype is not int32 for node in nodes):
        return None
    return line_through([node.attr.value for node in nodes])
