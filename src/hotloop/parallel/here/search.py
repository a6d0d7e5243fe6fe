"""Sorting and searching in plain Python. Every sort is stable; NaN comes last, ascending and descending; -0.0 equals 0.0."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from hotloop.errors import BoundsError, ShapeError, TypeMismatch
from hotloop.parallel.cuarray import cuarray, made
from hotloop.parallel.forms import Array, Form, Ragged, Records, cut, joined, picked
from hotloop.parallel.here.folds import Symbol, leaves, recorded
from hotloop.parallel.here.scalars import op_add
from hotloop.parallel.here.sequences import rows_of, scatter
from hotloop.parallel.here.types import as_dtype, is_sequence, items, numbers, plain, quiet, same_length, sequence

Less = Callable[[Any, Any], Any]

# ------------------------------------------------------------------------------------------------- orders


def columns(form: Form, name: str) -> list[Array]:
    """Return the keys by which a sequence is sorted: its numbers, or the numbers of its tuples, left to right."""
    if isinstance(form, Records):
        return [column for part in form.fields for column in columns(part, name)]
    if isinstance(form, np.ndarray) and form.ndim == 1:
        return [form]
    raise TypeMismatch(f"{name}: a sequence of numbers or tuples of numbers is needed.")


def order_of(keys: list[Array], descending: bool) -> Array:
    """Return the places of elements in stable order by keys, the first one most significant."""
    order = np.arange(len(keys[0]))
    for key in reversed(keys):
        order = order[_order(key[order], descending)]
    return order


def _order(key: Array, descending: bool) -> Array:
    if not descending:
        return np.argsort(key, kind="stable")
    order = len(key) - 1 - np.argsort(key[::-1], kind="stable")[::-1]  # equal elements are turned twice
    nan = np.count_nonzero(key != key)  # NumPy has them last, so they are first now
    return np.concatenate([order[nan:], order[:nan]])


def _symbols(form: Form) -> Any:
    return tuple(map(_symbols, form.fields)) if isinstance(form, Records) else Symbol("element")


def _key_of(less: Less, form: Form) -> tuple[int, bool] | None:
    """Return (key, descending) if an order compares one key of two elements by < or >, else None."""
    left, right = _symbols(form), _symbols(form)
    found = recorded(less, left, right)
    if found is None or found.name not in ("lt", "gt"):
        return None
    for number, (a, b) in enumerate(zip(leaves(left), leaves(right), strict=True)):
        if found.operands[0] is a and found.operands[1] is b:
            return number, found.name == "gt"
        if found.operands[0] is b and found.operands[1] is a:
            return number, found.name == "lt"
    return None


def _order_by(less: Less, form: Form) -> Array:
    """Return the places of elements in stable order by a strict weak order."""
    elements = list(items(form))

    def compare(i: int, j: int) -> int:
        return -1 if less(elements[i], elements[j]) else 1 if less(elements[j], elements[i]) else 0

    return np.array(sorted(range(len(elements)), key=functools.cmp_to_key(compare)), np.int64)


def _sorted(less: Less | None, form: Form, name: str) -> Form:
    if less is None:
        return picked(form, order_of(columns(form, name), False))
    key = _key_of(less, form)
    order = _order_by(less, form) if key is None else order_of([columns(form, name)[key[0]]], key[1])
    return picked(form, order)


def _order_and_rest(name: str, given: tuple[Any, ...]) -> tuple[Less | None, Any]:
    if len(given) == 1:
        return None, given[0]
    if len(given) != 2:
        raise TypeMismatch(f"{name} takes a sequence, or an order and a sequence.")
    return plain(given[0], name), given[1]


@quiet
def sort(*given: Any) -> cuarray:
    """Return the elements in ascending order, or by a strict weak order that comes first. Stable.

    An order that compares one number of each element by < or > is that of `argsort`.
    """
    less, x = _order_and_rest("sort", given)
    return made(_sorted(less, sequence(x, "sort"), "sort"))


@quiet
def segmented_sort(*given: Any) -> cuarray:
    """Return each row sorted, in ascending order or by a strict weak order that comes first."""
    less, x = _order_and_rest("segmented_sort", given)
    rows = rows_of(x, "segmented_sort")
    starts, ends = rows.offsets[:-1].tolist(), rows.offsets[1:].tolist()
    found = [_sorted(less, cut(rows.values, start, end), "segmented_sort") for start, end in zip(starts, ends, strict=True) if start < end]
    return made(Ragged(joined(found) if found else rows.values, rows.offsets))


def argsort(x: Any, descending: Any = False) -> cuarray:
    """Return the places of the elements in ascending or descending order, int64. Stable.

    Tuples compare by the first parts that differ.
    """
    return made(order_of(columns(sequence(x, "argsort"), "argsort"), bool(descending)))


def sort_by_key(keys: Any, values: Any) -> tuple[cuarray, cuarray]:
    """Return keys in ascending order, and the values in the order of their keys. Stable. Raises: ShapeError."""
    first, second = sequence(keys, "sort_by_key"), sequence(values, "sort_by_key")
    same_length("sort_by_key", first, second)
    order = order_of(columns(first, "sort_by_key"), False)
    return made(picked(first, order)), made(picked(second, order))


def top_k(x: Any, k: Any) -> tuple[cuarray, cuarray]:
    """Return the k largest elements, largest first, and their places; of equal ones the first. NaN comes last. Raises: ShapeError."""
    array = numbers(x, "top_k")
    if not 0 <= k <= len(array):
        raise ShapeError(f"top_k: {k} of {len(array)} elements.")
    places = _order(array, True)[: int(k)]
    return made(array[places]), made(places)


# ---------------------------------------------------------------------------------------------- distinct ones


def _starts(array: Array) -> Array:
    """Return for each element whether it differs from the one before; NaN equals NaN."""
    same = (array[1:] == array[:-1]) | ((array[1:] != array[1:]) & (array[:-1] != array[:-1]))
    return np.concatenate([np.ones(min(len(array), 1), bool), ~same])


def unique(x: Any) -> cuarray:
    """Return the distinct elements in ascending order; all NaN are one, and 0.0 and -0.0 are the first of them."""
    return unique_counts(x)[0]


def unique_counts(x: Any) -> tuple[cuarray, cuarray]:
    """Return the distinct elements in ascending order, and how often each occurs (int64)."""
    array = numbers(x, "unique")
    array = array[_order(array, False)]
    starts = np.flatnonzero(_starts(array))
    return made(array[starts]), made(np.diff(np.append(starts, len(array))).astype(np.int64))


def searchsorted(x: Any, v: Any, side: Literal["left", "right"] = "left") -> Any:
    """Return where in the ascending x a number, or each of a sequence, would be inserted: before equal ones, or after ("right")."""
    if side != "left" and side != "right":
        raise TypeMismatch(f'searchsorted: side is "left" or "right", not {side!r}.')
    array = numbers(x, "searchsorted")
    if is_sequence(v):
        return made(np.searchsorted(array, numbers(v, "searchsorted"), side).astype(np.int64))
    return np.int64(np.searchsorted(array, as_dtype(v, np.result_type(array.dtype, v)), side))


@quiet
def histogram(i: Any, n: Any, weights: Any = None) -> cuarray:
    """Return how often each of 0, 1, ..., n - 1 occurs in i (int64), or the sum of its weights, added in order, in their type.

    Raises: BoundsError for numbers outside, negative ones too; ShapeError.
    """
    bins = numbers(i, "histogram")
    wrong = (bins < 0) | (bins >= n)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise BoundsError(f"histogram: {bins[first]} at place {first} is out of range for {n} bins.")
    added = np.ones(len(bins), np.int64) if weights is None else numbers(weights, "histogram")
    added = added.astype(np.int64) if added.dtype == bool else added
    return scatter(made(added), made(bins), made(np.zeros(int(n), added.dtype)), op_add)


SEARCHING: dict[str, Callable[..., Any]] = {
    "sort": sort, "segmented_sort": segmented_sort, "argsort": argsort, "sort_by_key": sort_by_key, "top_k": top_k, "unique": unique,
    "unique_counts": unique_counts, "searchsorted": searchsorted, "histogram": histogram,
}  # fmt: skip
