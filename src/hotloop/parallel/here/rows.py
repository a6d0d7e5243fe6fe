"""Combining within rows of a sequence of sequences, and within runs of equal keys, in plain Python: left to right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hotloop.parallel.cuarray import cuarray, made
from hotloop.parallel.forms import Form, Ragged, Records, cut, form_length, picked
from hotloop.parallel.here.folds import Operator, accumulated, combining, scan
from hotloop.parallel.here.search import columns
from hotloop.parallel.here.sequences import rows_of
from hotloop.parallel.here.types import Type, cast_form, collected, converted, items, quiet, same_length, sequence


def _rows(ragged: Ragged) -> list[Form]:
    starts, ends = ragged.offsets[:-1].tolist(), ragged.offsets[1:].tolist()
    return [cut(ragged.values, start, end) for start, end in zip(starts, ends, strict=True)]


def _running(function: Operator, row: Form, kind: Type, before: list[Any]) -> list[Any]:
    """Return what is combined up to each element."""
    found = []
    for value in items(row):
        before = [converted(function(before[0], value), kind) if before else value]
        found.append(before[0])
    return found


@quiet
def segmented_reduce(op: Operator, ragged: Any, init: Any) -> cuarray:
    """Return for each row init and its elements combined, left to right; init for an empty row."""
    function = combining(op, "segmented_reduce")
    rows = rows_of(ragged, "segmented_reduce")
    kind = accumulated(function, rows.values, init)
    rows = Ragged(cast_form(rows.values, kind), rows.offsets)
    start = converted(init, kind)
    return collected([[start, *_running(function, row, kind, [start])][-1] for row in _rows(rows)], rows.values)


@quiet
def segmented_scan(op: Operator, ragged: Any) -> cuarray:
    """Return for each row its elements combined up to each of them: one scan, which starts anew where a row starts."""
    function = combining(op, "segmented_scan")
    rows = rows_of(ragged, "segmented_scan")
    kind = accumulated(function, rows.values)
    starts = np.zeros(form_length(rows.values), bool)
    starts[rows.offsets[:-1][np.diff(rows.offsets) > 0]] = True

    def since_start(a: Any, b: Any) -> Any:
        return a[0] | b[0], b[1] if b[0] else converted(function(a[1], b[1]), kind)

    found = scan(since_start, made(Records((starts, cast_form(rows.values, kind))))).form
    assert isinstance(found, Records)
    return made(Ragged(found.fields[1], rows.offsets))


@quiet
def reduce_by_key(op: Operator, keys: Any, values: Any) -> tuple[cuarray, cuarray]:
    """Return for each run of equal neighbouring keys the key, and its values combined left to right. Raises: ShapeError."""
    function = combining(op, "reduce_by_key")
    first, second = sequence(keys, "reduce_by_key"), sequence(values, "reduce_by_key")
    count = same_length("reduce_by_key", first, second)
    differs = np.zeros(max(count - 1, 0), bool)
    for column in columns(first, "reduce_by_key"):
        differs |= column[1:] != column[:-1]
    starts = np.flatnonzero(np.concatenate([np.ones(min(count, 1), bool), differs]))
    kind = accumulated(function, second)
    rows = _rows(Ragged(cast_form(second, kind), np.append(starts, count)))[: len(starts)]
    return made(picked(first, starts)), collected([_running(function, row, kind, [])[-1] for row in rows], second)


SEGMENTS: dict[str, Callable[..., Any]] = {
    "segmented_reduce": segmented_reduce, "segmented_scan": segmented_scan, "reduce_by_key": reduce_by_key,
}  # fmt: skip
