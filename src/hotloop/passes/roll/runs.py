"""Where a sequence of operations repeats itself: periods are guessed, runs of copies are found by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hotloop.passes.roll.sequence import NONE, SLOTS, Ints, Operations

WINDOWS = (1, 2, 6, 20, 64)  # operations that are compared at once, to guess periods
CANDIDATES = 12  # periods that are tried
SHORTEST = 3  # operations: what is shorter is no loop
RARE = 4096  # exceptions that are looked at one by one in all runs of a period


@dataclass(frozen=True, slots=True)
class Run:
    """Positions from `start` to `stop` that repeat every `period`."""

    start: int
    stop: int
    period: int

    @property
    def saved(self) -> int:
        """Operations that a loop would save at most."""
        return (self.stop - self.start) // self.period * self.period - self.period


def find_runs(found: Operations) -> list[Run]:
    """Return runs of at least two copies, those that save most first; they may overlap. Cost: linear for each period."""
    runs = [run for period in periods(found.shapes) for run in _runs(found, period)]
    return sorted(set(runs), key=lambda run: (-run.saved, run.period, run.start))


def periods(shapes: Ints) -> list[int]:
    """Return distances at which like windows recur, those that promise most first."""
    votes: dict[int, int] = {}
    count = len(shapes)
    for window in WINDOWS:
        if window * 2 > count:
            break
        hashes = _hashes(shapes, window)
        order = np.argsort(hashes, kind="stable")
        like = hashes[order[1:]] == hashes[order[:-1]]
        distances, times = np.unique((order[1:] - order[:-1])[like], return_counts=True)
        score = np.minimum(distances, 4 * window) * times
        for k in np.argsort(-score, kind="stable")[: 4 * CANDIDATES]:
            period = int(distances[k])
            if SHORTEST <= period <= count // 2:
                votes[period] = votes.get(period, 0) + int(distances[k] * times[k])
    return sorted(votes, key=lambda period: -votes[period])[:CANDIDATES]


def _hashes(shapes: Ints, window: int) -> Ints:
    """Return a hash of each window; sums that wrap around."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    source = shapes.astype(np.uint64) * factor
    source ^= source >> np.uint64(29)
    total = np.zeros(len(source) - window + 1, np.uint64)
    for k in range(window):
        total = total * np.uint64(0xBF58476D1CE4E5B9) + source[k : k + len(total)]
    return total.view(np.int64)


def _runs(found: Operations, period: int) -> Iterator[Run]:
    """Yield where every operation is like the one a period later, in what it does and where its operands are."""
    like = found.kinds[:-period] == found.kinds[period:]
    regular, needs = _relations(found, period)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], like.astype(np.int8), [0]])))
    exceptions = 0
    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stop - first < period // 2:
            continue
        irregular = first + np.flatnonzero(~regular[first:stop])
        exceptions += len(irregular)
        if exceptions > RARE:
            return
        start = first
        for x in irregular.tolist():
            need = int(needs[x])
            if need < start:
                continue
            yield from _extended(found, start, x, first, period)
            start = min(need, x) + 1
        yield from _extended(found, start, stop, first, period)


def _relations(found: Operations, period: int) -> tuple[np.ndarray, Ints]:
    """Return whether the operands of each operation move on with it or stay, and the last position that is otherwise."""
    before, after = found.operands[:, :-period], found.operands[:, period:]
    straight = [_related(before[slot], after[slot], period) for slot in range(SLOTS)]
    swapped = found.swaps[period:] & straight[2] & _related(before[0], after[1], period) & _related(before[1], after[0], period)
    needs = np.stack([np.where(straight[slot], -1, np.maximum(before[slot], after[slot])) for slot in range(SLOTS)])
    return (straight[0] & straight[1] & straight[2]) | swapped, needs.max(axis=0)


def _related(before: Ints, after: Ints, period: int) -> np.ndarray:
    """Whether operands move on by a period, stay, or are leaves, of which there may be tables."""
    moves: np.ndarray = ((before >= 0) & (after == before + period)) | (before == after) | ((before < NONE) & (after < NONE))
    return moves


def _extended(found: Operations, start: int, stop: int, floor: int, period: int) -> Iterator[Run]:
    """Yield the run in which positions from start to stop are like those a period later, and a first copy before it.

    The first copy may take what later ones take from the copy before from anywhere.
    """
    if stop - start < period // 2:
        return
    first, operands = start, found.operands
    while first > floor:
        x = first - 1
        before, after = operands[:, x].tolist(), operands[:, x + period].tolist()
        orders = ((0, 1, 2), (1, 0, 2)) if found.swaps[x] else ((0, 1, 2),)
        needs = [need for order in orders if (need := _begins([before[k] for k in order], after, period, x)) is not None]
        if not needs:
            break
        floor, first = max(floor, min(needs)), x
    if stop + period - first >= 2 * period:
        yield Run(first, stop + period, period)


def _begins(before: list[int], after: list[int], period: int, start: int) -> int | None:
    """Return the position from which a run that is extended to `start` may begin, None if it cannot."""
    floor = 0
    for old, new in zip(before, after, strict=True):
        if new == old or (old >= 0 and new == old + period) or (old < NONE and new < NONE):
            continue
        if old == NONE or old >= start:
            return None
        floor = max(floor, old + 1)  # it comes from outside
    return floor
