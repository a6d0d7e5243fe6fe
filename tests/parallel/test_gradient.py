"""Gradients of `@cu` functions: formulas, central differences, the same bits on all places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.agreement import agree

import hotloop as hl
from hotloop import cu, cuarray, places
from hotloop.frontend.gradient import value_and_grad

STEP = 1e-6
SIZES = (1, 2, 33, 1000)
SOME = 10  # places of an array by which it is derived numerically


def floats(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([size, seed]).normal(size=size)


def derived(function: Any, arguments: tuple[Any, ...], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return some places of an argument, and the central differences there."""
    given = np.asarray(arguments[number], float)
    chosen = np.random.default_rng(0).permutation(given.size)[:SOME]
    found = []
    for place in chosen:
        ends = []
        for sign in (1, -1):
            moved = given.copy()
            moved.reshape(-1)[place] += sign * STEP
            changed = list(arguments)
            changed[number] = moved if given.shape else float(moved)
            ends.append(float(function(*changed)))
        found.append((ends[0] - ends[1]) / (2 * STEP))
    return chosen, np.array(found)


def check(function: Any, *arguments: Any, tolerance: float = 1e-6) -> tuple[Any, ...]:
    """Compare the gradient by all floats with central differences; return it."""
    by = tuple(k for k, a in enumerate(arguments) if isinstance(a, float) or (isinstance(a, np.ndarray) and a.dtype.kind == "f"))
    value, found = agree(value_and_grad(function, by), *arguments)
    assert value == function(*arguments)
    for number, gradient in zip(by, found, strict=True):
        gradient = np.asarray(gradient)
        assert gradient.shape == np.shape(arguments[number])
        chosen, want = derived(function, arguments, number)
        scale = max(1.0, float(np.max(np.abs(want), initial=0.0)))
        np.testing.assert_allclose(gradient.reshape(-1)[chosen], want, rtol=0, atol=tolerance * scale)
    return tuple(np.asarray(gradient) for gradient in found)


# ------------------------------------------------------------------------------------------- maps and reductions


@cu
def squares(x, a):
    return sum([a * v * v + sin(v) for v in x])


@cu
def spread(x):
    mean = sum(x) / len(x)
    return sqrt(sum([(v - mean) ** 2 for v in x]) / len(x))


@cu
def product(x):
    return prod(x) * 2.0


@cu
def extremes(x, y):
    return max(x) * min(y) - max([a * b for a, b in zip(x, y)])


@cu
def composed(x, y):
    a, b = reduce(lambda p, q: (p[0] * q[0], p[1] * q[0] + q[1]), zip(x, y), (1.0, 0.5))
    return a + b * b


@cu
def joined(x):
    return reduce(lambda a, b: a + b + 0.1 * a * b, x, 0.25)


@cu
def argument_of_largest(x):
    best, place = reduce(lambda p, q: p if p[0] >= q[0] else q, [(v * v, k) for k, v in enumerate(x)], (0.0, -1))
    return best * float64(place + 1)


@cu
def positive_joined(x):
    return reduce(lambda a, b: a + b + 0.1 * a * b, [v for v in x if v > 0], 0.25)


@pytest.mark.parametrize("size", (0, *SIZES))
def test_the_gradient_of_a_sum_is_that_of_each_element(size):
    x = floats(size)
    by_x, by_a = check(squares, x, 1.5)
    np.testing.assert_allclose(by_x, 3 * x + np.cos(x), rtol=1e-13)
    np.testing.assert_allclose(by_a, np.sum(x * x), rtol=1e-12)


@pytest.mark.parametrize("size", SIZES[1:])
def test_the_gradient_passes_through_scalars_between_sweeps(size):
    x = floats(size)
    (by_x,) = check(spread, x)
    np.testing.assert_allclose(by_x, (x - x.mean()) / size / x.std(), atol=1e-14)


@pytest.mark.parametrize("zeros", (0, 1, 2))
def test_the_gradient_of_a_product_divides_by_nothing(zeros):
    x = floats(9)
    x[:zeros] = 0
    (by_x,) = check(product, x)
    np.testing.assert_allclose(by_x, [2 * np.prod(np.delete(x, k)) for k in range(9)], rtol=1e-13)


@pytest.mark.parametrize("size", SIZES)
def test_the_gradient_of_an_extremum_goes_to_its_place(size):
    check(extremes, floats(size), floats(size, 1))


def test_places_that_attain_an_extremum_share_its_gradient():
    x = np.array([1.0, 3.0, 3.0, -1.0])
    largest = cu(lambda x: max(x), source="lambda x: max(x)")
    assert hl.grad(largest)(x).tolist() == [0.0, 0.5, 0.5, 0.0]


@pytest.mark.parametrize("function", (joined, positive_joined, argument_of_largest), ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", (0, *SIZES))
def test_reductions_by_a_function_have_gradients(function, size):
    check(function, floats(size) / max(1, size) ** 0.5)


@pytest.mark.parametrize("size", (0, *SIZES))
def test_reductions_of_tuples_have_gradients(size):
    check(composed, 1 + 0.3 * floats(size) / max(1, size), floats(size, 1))


def test_rounding_and_comparisons_have_no_gradient():
    @cu
    def stepped(x):
        return sum([floor(v) * 2.0 + (1.0 if v > 0 else 0.5) * v + float64(int64(v)) for v in x])

    x = floats(33) + 0.01
    np.testing.assert_array_equal(hl.grad(stepped)(x), np.where(x > 0, 1.0, 0.5))


def test_what_a_choice_does_not_take_poisons_nothing():
    @cu
    def safe(x):
        return sum([sqrt(v) if v > 0 else 0.0 for v in x])

    assert hl.grad(safe)(np.array([4.0, 0.0, -1.0])).tolist() == [0.25, 0.0, 0.0]


# ----------------------------------------------------------------------------------------------------- movement


@cu
def gathered(x, k):
    return sum([v * v * v for v in gather(x, k)])


@cu
def stencil_energy(x):
    return sum([(left - 2.0 * v + right) ** 2 for left, v, right in zip(shift(x, -1, 0.5), x, shift(x, 1, 2.0))])


@cu
def turned(x):
    return sum([a * b * float64(k) for k, (a, b) in enumerate(zip(reversed(x), rotate(x, 2)))])


@cu
def parts(x):
    return sum([v * v for v in take(x, 3)]) * sum([sin(v) for v in drop(x, 1)]) + sum(concatenate(x, [v * v for v in x]))


@cu
def kept(x):
    positive = [v * v for v in x if v > 0]
    return sum([v * float64(k + 1) for k, v in enumerate(positive)])


@cu
def placed(x, k, y):
    return sum([v * v * float64(i + 1) for i, v in enumerate(scatter(x, k, y))])


@cu
def added(x, k, y):
    return sum([v * v * float64(i + 1) for i, v in enumerate(scatter_reduce(op_add, x, k, y))])


@cu
def highest(x, k, y):
    return sum([v * v * float64(i + 1) for i, v in enumerate(scatter_reduce(maximum, x, k, y))])


@cu
def multiplied(x, k, y):
    return sum([v * float64(i % 5 + 1) for i, v in enumerate(scatter_reduce(op_mul, x, k, y))])


@cu
def ordered(x):
    return sum([v * v * float64(i + 1) for i, v in enumerate(sort(x))])


@cu
def ordered_by_key(x, y):
    keys, values = sort_by_key(x, y)
    return sum([a * b * float64(i + 1) for i, (a, b) in enumerate(zip(keys, values))])


@cu
def ordered_by_function(x, y):
    pairs = sort(lambda p, q: p[0] * p[0] < q[0] * q[0], zip(x, y))
    return sum([a * b * float64(i + 1) for i, (a, b) in enumerate(pairs)])


@pytest.mark.parametrize("size", SIZES)
def test_gathers_add_to_where_they_read(size):
    x, k = floats(size), np.random.default_rng(size).integers(-size, size, 2 * size)
    (by_x,) = check(gathered, x, k)
    want = np.zeros(size)
    np.add.at(want, k, 3 * x[k] ** 2)
    np.testing.assert_allclose(by_x, want, rtol=1e-13)


@pytest.mark.parametrize("function", (stencil_energy, turned, parts, kept, ordered), ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", SIZES)
def test_what_is_moved_takes_its_gradient_along(function, size):
    check(function, floats(size))


@pytest.mark.parametrize("function", (placed, added, highest), ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", SIZES)
def test_scatters_give_what_is_left_to_its_source(function, size):
    places_of = np.random.default_rng(size).integers(0, max(1, size // 2), size)
    check(function, floats(size), places_of, floats(size, 1), tolerance=1e-5)


@pytest.mark.parametrize("size", (1, 2, 33))
def test_scatters_by_an_operator_have_gradients(size):
    places_of = np.random.default_rng(size).integers(0, size, size)
    check(multiplied, 1 + 0.1 * floats(size), places_of, floats(size, 1))


@pytest.mark.parametrize("function", (ordered_by_key, ordered_by_function), ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", (1, 2, 33))
def test_sorts_give_gradients_back_to_where_elements_were(function, size):
    check(function, floats(size), floats(size, 1))


# -------------------------------------------------------------------------------------------------------- scans


@cu
def sums_so_far(x):
    return sum([v * v for v in scan(op_add, x)])


@cu
def products_so_far(x):
    return sum([v * float64(k % 3 + 1) for k, v in enumerate(scan(op_mul, x))])


@cu
def largest_so_far(x):
    return sum([v * float64(k % 3 + 1) for k, v in enumerate(scan(maximum, x))])


@cu
def filtered_so_far(x, decay):
    states = scan(lambda p, q: (p[0] * q[0], p[1] * q[0] + q[1]), [(decay, v) for v in x])
    return sum([level * level for _, level in states])


@cu
def before_each(x, start):
    return sum([v * w for v, w in zip(exclusive_scan(lambda a, b: a + b + 0.1 * a * b, start, x), x)])


@cu
def from_the_right(x):
    return sum([v * w for v, w in zip(rscan(lambda a, b: a * b, x), x)]) + sum(exclusive_rscan(op_add, 1.0, x))


@pytest.mark.parametrize("function", (sums_so_far, products_so_far, largest_so_far, from_the_right), ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", (0, *SIZES))
def test_scans_have_gradients(function, size):
    check(function, 1 + 0.1 * floats(size))


@pytest.mark.parametrize("function", (filtered_so_far, before_each), ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", (0, *SIZES))
def test_scans_by_a_function_have_gradients(function, size):
    check(function, 0.1 * floats(size), 0.9)


def test_scans_of_many_chunks_have_gradients():
    x = 1 + 1e-6 * floats(100_000)
    by_x = np.asarray(hl.grad(products_so_far)(x))
    weights = np.cumprod(x) * (np.arange(len(x)) % 3 + 1)
    np.testing.assert_allclose(by_x, np.cumsum(weights[::-1])[::-1] / x, rtol=1e-10)


# ---------------------------------------------------------------------------------------- rows and loops within


@cu
def row_sums(rows):
    return sum([sum(r) * sum([v * v for v in r]) for r in rows])


@cu
def products_of_rows(data, columns, starts, x):
    y = [sum([data[k] * x[columns[k]] for k in range(starts[i], starts[i + 1])]) for i in range(len(starts) - 1)]
    return sum([v * v for v in y])


@cu
def of_matrices(a, b):
    c = [[sum([a[i][k] * b[k][j] for k in range(len(b))]) for j in range(len(b[0]))] for i in range(len(a))]
    return sum([sum([v * v for v in r]) for r in c])


@cu
def plate(u):
    rows, columns = len(u), len(u[0])
    return sum([
        sum([(u[i + 1][j] + u[i - 1][j] + u[i][j + 1] + u[i][j - 1] - 4.0 * u[i][j]) ** 2 for j in range(1, columns - 1)])
        for i in range(1, rows - 1)
    ])


@cu
def row_extremes(rows):
    return sum([max(r) * min(r) for r in rows])


@cu
def energy(x, y, z):
    n = len(x)
    return sum([
        sum([1.0 / sqrt((x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2 + (z[i] - z[j]) ** 2 + 0.01) if i != j else 0.0 for j in range(n)])
        for i in range(n)
    ])


@cu
def polynomials(coefficients, x):
    def value(t):
        total = 0.0
        for c in coefficients:
            total = total * t + c
        return total

    return sum([value(t) * t for t in x])


@cu
def root(a):
    x = a
    while abs(x * x - a) > 1e-13 * a:
        x = 0.5 * (x + a / x)
    return x


@cu
def roots(x):
    return sum([root(v) * float64(k + 1) if v > 0.1 else v * v for k, v in enumerate(x)])


@cu
def roots_of_rows(rows):
    return sum([sum([root(v) for v in r]) for r in rows])


@cu
def settled(x, trips):
    def go(v):
        k = 0
        while k < trips:
            v = 0.999 * v + 0.001 * sin(v)
            k += 1
        return v

    return sum([go(v) for v in x])


def test_ragged_rows_have_gradients_of_their_shape():
    rows = cuarray([[1.0, 2.0], [3.0], [], [1.0, -2.0, 0.5]])
    found = agree(hl.grad(row_sums), rows)
    want = [[2 * sum(r) * v + sum(w * w for w in r) for v in r] for r in rows.tolist()]
    assert found.tolist() == want


@pytest.mark.parametrize("size", (1, 2, 33))
def test_rows_given_by_offsets_have_gradients(size):
    chance = np.random.default_rng(size)
    starts = np.concatenate([[0], np.sort(chance.integers(0, 3 * size + 1, size)), [3 * size]])
    check(products_of_rows, floats(3 * size), chance.integers(0, size, 3 * size), starts, floats(size, 1))


@pytest.mark.parametrize("shape", ((1, 1, 1), (2, 3, 4), (7, 5, 9)))
def test_the_gradient_of_a_product_of_matrices_is_two_products(shape):
    a, b = floats(shape[0] * shape[1]).reshape(shape[:2]), floats(shape[1] * shape[2], 1).reshape(shape[1:])
    by_a, by_b = check(of_matrices, a, b)
    np.testing.assert_allclose(by_a, 2 * (a @ b) @ b.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_b, 2 * a.T @ (a @ b), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", ((1, 1), (3, 3), (8, 11)))
def test_stencils_over_two_axes_have_gradients(shape):
    check(plate, floats(shape[0] * shape[1]).reshape(shape))


def test_extrema_of_rows_have_gradients():
    check(row_extremes, floats(35).reshape(5, 7))


@pytest.mark.parametrize("size", (1, 2, 33))
def test_the_energy_of_bodies_has_a_gradient(size):
    x, y, z = floats(size), floats(size, 1), floats(size, 2)
    found = check(energy, x, y, z)
    d = np.stack([c[:, None] - c[None, :] for c in (x, y, z)])
    r3 = (np.sum(d * d, 0) + 0.01) ** -1.5 * (1 - np.eye(size))
    np.testing.assert_allclose(found, -2 * np.sum(d * r3, 2), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", (0, 1, 2, 33))
def test_loops_that_carry_floats_have_gradients(size):
    check(polynomials, floats(6), 0.5 * floats(size, 1))


@pytest.mark.parametrize("size", (0, *SIZES))
def test_the_gradient_of_a_root_by_iteration_is_that_of_the_root(size):
    x = np.abs(floats(size)) + 0.2
    (by_x,) = check(roots, x)
    np.testing.assert_allclose(by_x, (np.arange(size) + 1) / (2 * np.sqrt(x)), rtol=1e-9)


def test_loops_within_sums_of_rows_have_gradients():
    check(roots_of_rows, np.abs(floats(12)).reshape(3, 4) + 0.2)


@pytest.mark.parametrize("trips", (0, 1, 64, 65, 300))
def test_loops_of_few_and_of_many_trips_have_gradients(trips):
    check(settled, floats(5), trips)


# -------------------------------------------------------------------------------------------- choices and loops of steps


@cu
def relaxed(x, trips):
    for _ in range(trips):
        x = [0.5 * (a + b) * (1.0 + 0.01 * b) for a, b in zip(shift(x, -1, 0.0), shift(x, 1, 0.0))]
    return sum([v * v for v in x])


@cu
def chosen(x, way):
    if way > 1:
        y = [v * v for v in x]
        scale = x[0]
    else:
        y = [sin(v) for v in x]
        scale = x[-1] * x[0]
    return sum([v * v for v in y]) * scale


@cu
def nested(x, trips):
    total = 0.0
    for i in range(trips):
        y = x
        for _ in range(i):
            y = [v * 0.9 + sin(v) * total * 0.01 for v in y]
        if i % 2 == 0:
            total += sum([v * v for v in y])
        else:
            total = total * 0.5 + y[i % len(y)]
    return total


@cu
def stopped(x, limit):
    total = 0.0
    for v in x:
        if total > limit:
            break
        total += v * v
    return total


@cu
def halved(x, n):
    if n == 0:
        return sum(x)
    return halved([v * v * 0.5 for v in x], n - 1)


@cu
def shrinking(x):
    total = 0.0
    while len(x) > 1:
        x = [a * b + a for a, b in zip(evens(x), odds(x))]
        total += sum(x)
    return total


@pytest.mark.parametrize("trips", (0, 1, 3, 40))
def test_loops_over_arrays_have_gradients(trips):
    check(relaxed, floats(9), trips)


@pytest.mark.parametrize("way", (1, 2))
def test_choices_have_the_gradient_of_the_side_taken(way):
    check(chosen, floats(9), way)


def test_loops_within_loops_have_gradients():
    check(nested, floats(4), 5)


@pytest.mark.parametrize("limit", (-1.0, 3.0, 1e9))
def test_loops_that_end_early_have_gradients(limit):
    check(stopped, floats(33), limit)


def test_tail_calls_have_gradients():
    check(halved, floats(4), 3)


def test_loops_whose_arrays_shrink_have_gradients():
    check(shrinking, floats(64) * 0.3)


# -------------------------------------------------------------------------------------------------- applications


@cu
def normal_below(d):
    k = 1.0 / (1.0 + 0.2316419 * abs(d))
    tail = k * (0.31938153 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))))
    below = 1.0 - exp(-0.5 * d * d) * 0.3989422804014327 * tail
    return below if d >= 0 else 1.0 - below


@cu
def call_prices(spot, strike, years, rate, volatility):
    def price(s, k, t):
        d1 = (log(s / k) + (rate + 0.5 * volatility * volatility) * t) / (volatility * sqrt(t))
        d2 = d1 - volatility * sqrt(t)
        return s * normal_below(d1) - k * exp(-rate * t) * normal_below(d2)

    return sum(map(price, spot, strike, years))


@cu
def network(table, words, hidden, output, wanted):
    def score(word):
        inner = [tanh(sum([table[word][j] * h[j] for j in range(len(h))])) for h in hidden]
        return sum([a * b for a, b in zip(inner, output)])

    scores = map(score, words)
    return sum([log(1.0 + exp(s)) - t * s for s, t in zip(scores, wanted)])


def test_the_greeks_of_options_are_gradients():
    spot, strike, years = np.array([100.0, 90.0, 120.0]), np.array([100.0, 110.0, 80.0]), np.array([1.0, 0.5, 2.0])
    by_spot, *_ = check(call_prices, spot, strike, years, 0.03, 0.2, tolerance=1e-5)
    from math import erf, log, sqrt

    d1 = [(log(s / k) + (0.03 + 0.02) * t) / (0.2 * sqrt(t)) for s, k, t in zip(spot, strike, years, strict=True)]
    np.testing.assert_allclose(by_spot, [0.5 * (1 + erf(d / sqrt(2))) for d in d1], atol=1e-5)


def test_a_network_of_looked_up_rows_has_gradients():
    table, hidden = floats(24).reshape(6, 4), floats(12, 1).reshape(3, 4)
    words, wanted = np.array([0, 5, 2, 2, 1]), np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    check(network, table, words, hidden, floats(3, 2), wanted)


def test_gradient_descent_fits_a_line():
    @cu
    def loss(slope, offset, x, y):
        return sum([(slope * a + offset - b) ** 2 for a, b in zip(x, y)]) / len(x)

    x = np.linspace(-1, 1, 50)
    step, slope, offset = hl.grad(loss, ("slope", "offset")), 0.0, 0.0
    for _ in range(300):
        by_slope, by_offset = step(slope, offset, x, 3 * x - 2)
        slope, offset = slope - 0.3 * by_slope, offset - 0.3 * by_offset
    np.testing.assert_allclose([slope, offset], [3, -2], atol=1e-6)


# ------------------------------------------------------------------------------------------------- how it is asked for


@cu
def mixed(a, x, pair):
    return a * sum(x) * pair[0] * float64(pair[1])


SCALE = 2.0


@cu
def with_global(x):
    return sum([SCALE * v * v for v in x])


@cu
def of_tuples(pairs):
    return sum([a * b for a, b in pairs])


@cu
def no_number(x):
    return [v * 2.0 for v in x]


@cu
def an_integer(x):
    return len(x) + 0 * int64(sum(x))


@cu
def two(x):
    return sum(x), 1.0


def test_the_first_argument_is_the_one_to_derive_by():
    assert hl.grad(mixed)(2.0, np.ones(3), (4.0, 5)) == 60.0
    assert hl.grad(mixed, "a")(2.0, np.ones(3), (4.0, 5)) == 60.0
    assert hl.grad(mixed, -3)(2.0, np.ones(3), (4.0, 5)) == 60.0


def test_several_arguments_give_a_tuple_and_integers_zeros():
    by_x, by_pair, by_a = hl.grad(mixed, ("x", 2, 0))(2.0, np.ones(3, np.float32), (4.0, 5))
    assert by_x.tolist() == [40.0] * 3
    assert by_x.dtype == np.float32
    assert by_pair == (30.0, 0.0)
    assert by_a == 60.0
    assert hl.grad(mixed, (0,))(2.0, np.ones(3), (4.0, 5)) == (60.0,)


def test_numpy_scalars_and_keywords_are_taken():
    assert hl.grad(mixed)(a=np.float32(2.0), x=np.ones(3), pair=(4.0, 5)) == 60.0


def test_the_value_comes_with_the_gradient():
    value, gradient = value_and_grad(squares)(np.array([1.0, 2.0]), 2.0)
    assert value == squares(np.array([1.0, 2.0]), 2.0)
    assert gradient.tolist() == (4 * np.array([1.0, 2.0]) + np.cos([1.0, 2.0])).tolist()


IN_SINGLE = (spread, stencil_energy, parts, kept, ordered, products_so_far, from_the_right, joined, shrinking)


@pytest.mark.parametrize("function", IN_SINGLE, ids=lambda f: f.__name__)
def test_gradients_of_single_precision_are_of_single_precision(function):
    x = 1 + 0.2 * floats(64)
    want = np.asarray(hl.grad(function)(x))
    found = agree(hl.grad(function), x.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, want, rtol=2e-4, atol=2e-4 * np.max(np.abs(want)))


def test_the_derivative_of_a_quotient_by_zero_is_infinite():
    @cu
    def divided(x):
        return x / 0.0

    assert hl.grad(divided)(1.0) == np.inf


def test_a_sequence_of_tuples_has_a_gradient_of_tuples():
    assert agree(hl.grad(of_tuples), [(1.0, 2.0), (3.0, 4.0)]).tolist() == [(2.0, 1.0), (4.0, 3.0)]


def test_globals_are_read_at_each_call(monkeypatch):
    gradient = hl.grad(with_global)
    assert gradient(np.ones(2)).tolist() == [4.0, 4.0]
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert gradient(np.ones(2)).tolist() == [6.0, 6.0]


def test_a_gradient_is_made_once_and_compiled_once_for_each_kind_of_arguments():
    gradient = hl.grad(relaxed)
    assert hl.grad(relaxed, "x") is gradient
    before = gradient.compiled
    for size in (3, 5, 3):
        gradient(floats(size), 2)
    kinds = {kinds for kinds, _ in gradient._compiled}
    assert len(kinds) == len({kinds for kinds in kinds})
    assert gradient.compiled == before


def test_gradients_run_on_the_current_place():
    x = floats(50_000)
    with places.sequential:
        one = hl.grad(stencil_energy)(x)
    assert hl.grad(stencil_energy)(x, target_place=places.openmp).tolist() == one.tolist()


def test_a_gradient_has_a_gradient():
    @cu
    def power(x):
        return x**4 + sin(x)

    assert hl.grad(hl.grad(power))(0.5) == pytest.approx(12 * 0.25 - np.sin(0.5))


def test_memory_is_not_changed():
    x = floats(33)
    before = x.copy()
    hl.grad(ordered)(x)
    hl.grad(added)(x, np.arange(33) % 5, x)
    np.testing.assert_array_equal(x, before)


# ----------------------------------------------------------------------------------------------------------- errors


def test_what_goes_wrong_in_the_function_goes_wrong_in_its_gradient():
    with pytest.raises(hl.BoundsError, match=r"index 7 is out of range for 3 elements"):
        hl.grad(gathered)(np.ones(3), [0, 7])
    with pytest.raises(hl.BoundsError, match="out of range"):
        hl.grad(gathered)(np.ones(3), [0, 7], target_place=places.here)


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (no_number, r"the gradient of no_number\(\), which gives a sequence, does not exist: a gradient is that of one float\. Return one"),
        (two, r"the gradient of two\(\), which gives a tuple, does not exist"),
        (an_integer, r"the gradient of an_integer\(\), which gives an int64, does not exist.*Integers and bools have no derivative"),
    ],
)
def test_only_a_float_has_a_gradient(function, match):
    with pytest.raises(hl.GradientError, match=match):
        hl.grad(function)(np.ones(3))


def test_integers_are_no_variables():
    with pytest.raises(hl.GradientError, match=r"gathered\(\) has no gradient by k, which is \[int64\]\. Give it floats"):
        hl.grad(gathered, "k")(np.ones(3), [0, 1])


@pytest.mark.parametrize("by", ("z", 3, 1.5, True))
def test_what_is_derived_by_must_be_an_argument(by):
    with pytest.raises(hl.GradientError, match=r"gathered\(\) has no argument .* Its arguments are x, k\."):
        hl.grad(gathered, by)


def test_no_argument_is_too_few():
    with pytest.raises(hl.GradientError, match=r"by no argument"):
        hl.grad(gathered, ())


def test_traced_values_and_python_functions_are_no_cu_functions():
    with pytest.raises(hl.GradientError, match="needs to know by what"):
        hl.grad(lambda x: x)
    with pytest.raises(hl.GradientError, match=r"takes a function made by @cu, not function"):
        value_and_grad(lambda x: x)


def test_gradients_are_not_called_inside_of_functions():
    slope = hl.grad(root)

    @cu
    def uses(x):
        return sum([slope(v) for v in x])

    with pytest.raises(hl.TypeMismatch, match=r"the gradient of root\(\) cannot be called inside of a @cu function"):
        uses(np.ones(3))
