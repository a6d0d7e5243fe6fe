"""Scans, sorts and filters of rows within maps: done for all rows at once, and the same as plain Python's lists."""

import functools
import itertools
import operator
from types import FunctionType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parallel_agreement import agree, ragged

from hotloop import places
from hotloop.errors import BoundsError, SyntaxRefused
from hotloop.ir.sweep import Scan, Sort, Sweep
from hotloop.parallel import (
    adjacent_difference,
    argsort,
    cmp_gt,
    exclusive_rscan,
    exclusive_scan,
    flatten,
    indices,
    int64,
    lengths,
    op_add,
    pack,
    partition,
    prod,
    rotate,
    rscan,
    scan,
    searchsorted,
    segmented_reduce,
    sort,
    sort_by_key,
    stencil,
    top_k,
    unique,
    unique_counts,
)
from hotloop.parallel.cuarray import cuarray
from hotloop.parallel.function import Interpreted, cu
from hotloop.parallel.interpreter.arguments import kinds_of

ROWS = cuarray([[1.0, 2, 0], [], [5.0], [3, 2, 7]])
ARRAY = np.arange(12.0)[::-1].reshape(4, 3) % 5
PLANES = cuarray([[[1.0, 2], [3.0]], [[4.0, 6, 5]], [], [[], [7.0]]])
DRAWN = st.lists(st.lists(st.integers(-9, 9), max_size=6), max_size=6)


# ----------------------------------------------------------------------------------------- plain Python's lists


def _scan(function, x):
    return list(itertools.accumulate(x, function))


def _exclusive(function, start, x):
    return list(itertools.accumulate(x, function, initial=start))[:-1]


def _sort(*given):
    if len(given) == 1:
        return sorted(given[0])
    less, x = given
    return sorted(x, key=functools.cmp_to_key(lambda a, b: -1 if less(a, b) else 1 if less(b, a) else 0))


LISTS = {
    "scan": _scan, "rscan": lambda f, x: _scan(f, x[::-1])[::-1], "exclusive_scan": _exclusive,
    "exclusive_rscan": lambda f, start, x: _exclusive(f, start, x[::-1])[::-1], "op_add": operator.add, "cmp_gt": operator.gt,
    "sort": _sort, "unique": lambda x: sorted(set(x)), "flatten": lambda x: list(itertools.chain.from_iterable(x)),
    "lengths": lambda x: [len(row) for row in x], "__builtins__": __builtins__,
}  # fmt: skip


def plain(function, *arguments):
    """Return what a function gives if sequences are Python's lists."""
    given = [argument.tolist() if hasattr(argument, "tolist") else argument for argument in arguments]
    return FunctionType(function.__code__, LISTS)(*given)


def listed(value):
    return tuple(map(listed, value)) if isinstance(value, tuple) else value.tolist() if hasattr(value, "tolist") else value


def check(function, *arguments):
    wanted = plain(function, *arguments)
    for place in (places.sequential, places.openmp):
        assert listed(cu(function)(*arguments, target_place=place)) == wanted


# ------------------------------------------------------------------------------------------------ rows as elements

ELEMENTS = {
    "filter": lambda r: [[a * 2 for a in row if a > 1] for row in r],
    "scan": lambda r: [scan(op_add, row) for row in r],
    "rscan": lambda r: [rscan(lambda a, b: a * 2 + b, row) for row in r],
    "exclusive_scan": lambda r: [exclusive_scan(op_add, 1, row) for row in r],
    "exclusive_rscan": lambda r: [exclusive_rscan(op_add, len(row), row) for row in r],
    "sort": lambda r: [sort(row) for row in r],
    "sort_down": lambda r: [sort(cmp_gt, row) for row in r],
    "sort_by": lambda r: [sort(lambda a, b: abs(a - 3) < abs(b - 3), row) for row in r],
    "unique": lambda r: [unique(row) for row in r],
    "scan_of_filter": lambda r: [scan(op_add, [a for a in row if a > 1]) for row in r],
    "sort_of_filter_of_scan": lambda r: [sort([a for a in scan(op_add, row) if a > 1]) for row in r],
    "scan_of_scan": lambda r: [scan(op_add, scan(op_add, row)) for row in r],
    "rows_left": lambda r: [[k * 2 for k in row] for row in r if len(row) > 1],
    "filter_of_rows_left": lambda r: [[k * 2 for k in row if k > 0] for row in r if len(row) > 1],
}
WITHIN = {
    "sum": lambda r: [sum(scan(op_add, row)) for row in r],
    "map": lambda r: [[a * 2 for a in scan(op_add, row)] for row in r],
    "length": lambda r: [len([a for a in row if a > 1]) for row in r],
    "distinct": lambda r: [len(unique(row)) for row in r],
    "median": lambda r: [sort(row)[len(row) // 2] if len(row) > 0 else -1 for row in r],
    "two": lambda r: [sum(sort(row)) + max(scan(op_add, row)) if len(row) > 0 else 0 for row in r],
    "enumerated": lambda r: [[a + i for i, a in enumerate(scan(lambda a, b: a * b, row)) if i > 0] for row in r],
}
DEEPER = {
    "products": lambda r: [[[a * b for b in row] for a in row] for row in r],
    "filtered": lambda r: [[[b for b in row if b <= a] for a in row] for row in r],
    "sums_of_scans": lambda r: [[sum(scan(op_add, [a * b for b in row])) for a in row] for row in r],
    "scans": lambda r: [[scan(op_add, [a * b for b in row]) for a in row] for row in r],
    "sorted": lambda r: [[sort([abs(a - b) for b in row]) for a in row if a > 0] for row in r],
}
OF_ROWS = {**ELEMENTS, **WITHIN, **DEEPER}


@pytest.mark.parametrize("name", OF_ROWS)
@pytest.mark.parametrize("rows", [ROWS, ARRAY, ARRAY[:, :1], ARRAY[:, :0], ARRAY[:0]])
def test_operations_on_rows(name, rows):
    check(OF_ROWS[name], rows)


COMPILED = {name: cu(function) for name, function in OF_ROWS.items()}


@settings(max_examples=25)
@given(DRAWN, st.sampled_from(sorted(OF_ROWS)))
def test_operations_on_any_rows(rows, name):
    drawn = ragged(np.array([a for row in rows for a in row], np.int64), np.cumsum([0, *map(len, rows)]))
    assert listed(COMPILED[name](drawn)) == plain(OF_ROWS[name], drawn)


# --------------------------------------------------------------------------------------------- rows made of indices

OF_NUMBERS = {
    "triangles": lambda n: [[[k for k in range(j)] for j in range(m)] for m in range(n)],
    "ragged_below": lambda n: [[[k for k in range(j)] for j in range(3)] for m in range(n)],
    "regular": lambda n: [[[k + j for k in range(2)] for j in range(3)] for m in range(n)],
    "regular_below": lambda n: [[[k + j for k in range(2)] for j in range(m)] for m in range(n)],
    "filtered_below": lambda n: [[[k + j for k in range(5) if k > j] for j in range(3)] for m in range(n)],
    "scans": lambda n: [scan(op_add, range(m)) for m in range(n)],
    "captured": lambda n: [scan(lambda a, b: a + b * n, range(m)) for m in range(n)],
    "one_for_all": lambda n: [[a + i for a in scan(op_add, range(4))] for i in range(n)],
    "four_levels": lambda n: [[[[x for x in range(k) if x != j] for k in range(j)] for j in range(m)] for m in range(n)],
    "tuples": lambda n: scan(lambda a, b: (a[0] + b[0], a[1] * b[1]), [(i, i + 1) for i in range(n)]),
    "of_tuples": lambda n: [scan(lambda a, b: (a[0] + b[0], max(a[1], b[1])), [(i, m - i) for i in range(m)]) for m in range(n)],
}


@pytest.mark.parametrize("name", OF_NUMBERS)
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_rows_of_indices(name, n):
    check(OF_NUMBERS[name], n)


OF_PLANES = {
    "map": lambda p: [[[a * 2 for a in row] for row in plane] for plane in p],
    "scan": lambda p: [[scan(op_add, row) for row in plane] for plane in p],
    "sum": lambda p: [[sum(row) for row in plane] for plane in p],
    "long": lambda p: [[row for row in plane if len(row) > 1] for plane in p],
    "filtered": lambda p: [[[a for a in row if a > 2] for row in plane if len(row) > 0] for plane in p],
    "sizes": lambda p: [sum(lengths(plane)) for plane in p],
    "flat": lambda p: flatten(flatten(p)),
    "sorted": lambda p: [[sort(cmp_gt, row) for row in plane] for plane in p],
}


@pytest.mark.parametrize("name", OF_PLANES)
def test_operations_on_rows_of_rows(name):
    check(OF_PLANES[name], PLANES)


PRIMITIVES = {
    "argsort": lambda r: [argsort(x) for x in r],
    "argsort_down": lambda r: [argsort(x, descending=True) for x in r],
    "first_place": lambda r: [x[argsort(x)[0]] for x in r],
    "sort_by_key": lambda r: [sort_by_key(x, indices(x))[1] for x in r],
    "top_k": lambda r: [top_k(x, 1)[0] for x in r],
    "top_place": lambda r: [top_k(x, 2)[1][0] for x in r],
    "counts": lambda r: [unique_counts(x)[1] for x in r],
    "prod": lambda r: [prod(x) for x in r],
    "adjacent_difference": lambda r: [adjacent_difference(x) for x in r],
    "stencil": lambda r: [stencil(lambda a, b: a - b, (0, 1), x, 0.5) for x in r],
    "searchsorted": lambda r: [searchsorted(sort(x), 2.0) for x in r],
    "all_searched": lambda r: [searchsorted(sort(x), x) for x in r],
    "pack": lambda r: [pack([a > 1 for a in x], x) for x in r],
    "partition": lambda r: [partition(lambda a: a > 1, x)[1] for x in r],
    "rotate": lambda r: [rotate(sort(x), 1) for x in r],
    "segmented_reduce": lambda r: segmented_reduce(op_add, [scan(op_add, x) for x in r], 0),
}


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("rows", [cuarray([[1.0, 2, 0], [7, 7], [5.0, 5], [3, 2, 7]]), ARRAY])
def test_primitives_on_rows(name, rows):
    agree(PRIMITIVES[name], rows)


OF_ONE = {
    "sorted_once": lambda x: [sort(x)[i] + i for i in indices(x)],
    "sorted_down_once": lambda x: [sort(cmp_gt, x)[i] + i for i in indices(x)],
    "argsorted_once": lambda x: [a + argsort(x)[0] for a in x],
    "scanned_once": lambda x: [scan(op_add, x)[i] + i for i in indices(x)],
    "start": lambda x: [sum(exclusive_scan(op_add, a, x)) for a in x],
    "reduced": lambda x: sum([sum(sort([abs(a - b) for b in x])) for a in x]),
    "in_condition": lambda x: [a for a in x if sort([abs(a - b) for b in x])[1] > 1],
    "on_one_side": lambda x: [unique([int64(a * b) % 3 for b in x])[0] if a > 1 else 7 for a in x],
    "in_loop": lambda x: [max([sum(sort([a * b * c for c in x])) for b in x]) for a in x],
}


@pytest.mark.parametrize("name", OF_ONE)
def test_operations_on_what_is_made_of_one_sequence(name):
    agree(OF_ONE[name], np.array([3.0, 1.0, 2.5, -1.0]))


def test_flat_rows_of_rows_within_rows():
    agree(lambda p: [sum(flatten(plane)) for plane in p], PLANES)
    agree(lambda p: [sum(flatten(plane)) for plane in p], np.arange(24.0).reshape(2, 3, 4))


def test_many_rows():
    values = np.arange(100_000) % 977
    rows = ragged(values, np.concatenate([[0], np.sort(np.random.default_rng(0).integers(0, 100_001, 5000)), [100_000]]))
    check(ELEMENTS["scan"], rows)
    check(ELEMENTS["sort"], rows)
    check(ELEMENTS["filter"], rows)


# ---------------------------------------------------------------------------------------------- how it is done


def steps(function, *arguments):
    compiled = cu(function)
    return Interpreted(compiled, kinds_of(arguments, compiled.names)).procedure.steps


def scans(function, *arguments):
    found = steps(function, *arguments)
    return sum(isinstance(effect, Scan) for step in found if isinstance(step, Sweep) for effect in step.effects)


def test_rows_are_scanned_once():
    assert scans(lambda r: [scan(op_add, row) for row in r], ARRAY) == 1
    assert scans(lambda r: [sum(scan(op_add, row)) + max(scan(op_add, row)) for row in r], ARRAY) <= 2
    assert sum(isinstance(step, Sort) for step in steps(lambda r: [sort(row) for row in r], ARRAY)) == 1


# ------------------------------------------------------------------------------------------------------- errors


def test_an_index_out_of_range_in_a_row_that_is_scanned():
    taken = cu(lambda r, i: [scan(op_add, [row[k] for k in i]) for row in r])
    assert taken(ARRAY, np.array([2, 0])).tolist() == np.cumsum(ARRAY[:, [2, 0]], axis=1).tolist()
    with pytest.raises(BoundsError, match="out of range"):
        taken(ARRAY, np.array([0, 3]))


def test_what_depends_on_a_loop_is_refused():
    @cu
    def carried(r):
        def run(row):
            total = 1.0
            while total < 100.0:
                total = total + sum(scan(op_add, [a * total for a in row]))
            return total

        return [run(row) for row in r]

    with pytest.raises(SyntaxRefused, match="variables of a loop"):
        carried(ARRAY)


def test_an_operator_of_the_row_is_refused():
    with pytest.raises(SyntaxRefused, match="inside of a map"):
        cu(lambda r: [scan(lambda a, b: a + b * len(row), row) for row in r])(ROWS)  # noqa: B023 - not Python's
