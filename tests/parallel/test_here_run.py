"""Running users' functions on place `here`: what their names mean, what Python would do otherwise, arguments and results."""

import functools
import math
import operator
import traceback

import numpy as np
import pytest

import hotloop as hl
from hotloop.errors import BoundsError
from hotloop.parallel import here
from hotloop.parallel.cuarray import cuarray

SCALE = 3
SEQUENCE = np.float32([1, 2])


class Decorated:
    """What stands for a function of the user's that was decorated."""

    def __init__(self, function):
        self.__wrapped_function__ = function

    def __call__(self, *arguments):
        raise AssertionError("the plain function is to be called")


@Decorated
def twice(a):
    return SCALE * a + sum(SEQUENCE)


def helper(a):
    return sqrt(a)  # noqa: F821 - a primitive


def test_names_that_are_bound_nowhere_are_primitives():
    def function(x, i):
        return map(lambda a: a + 1, gather(x, i)), sum(x), list_len(x), [a for a in range(2)], max(x)  # noqa: F821

    list_len = len
    found = here.run(function, (np.int32([5, 6]), [1, -1, 0]))
    assert type(found[0]) is cuarray
    assert found[0].dtype == np.int32
    assert found[0].tolist() == [7, 7, 6]
    assert (found[1], found[2], found[4]) == (11, 2, 6)
    assert type(found[1]) is int
    assert found[3].tolist() == [0, 1]


def test_a_name_that_the_user_binds_is_the_users():
    def sum(x):
        return len(x)

    assert here.run(lambda x: sum(x), ([5, 6, 7],)) == 3
    assert here.run(lambda map: map + 1, (2,)) == 3


def test_functions_that_are_called_run_on_the_definitions_too():
    assert here.run(lambda x: map(twice, x), ([1, 2],)).tolist() == [6.0, 9.0]
    assert here.run(twice, (1,)) == 6
    assert here.run(lambda x: map(helper, x), ([4, 9],)).tolist() == [2.0, 3.0]
    assert here.run(lambda f, x: map(f, x), (twice, [1])).tolist() == [6.0]
    assert here.map(twice, [1]).tolist() == [6.0]


def test_globals_are_read_at_each_call():
    global SCALE
    SCALE = 10
    try:
        assert here.run(twice, (1,)) == 13
    finally:
        SCALE = 3


def test_functions_may_call_themselves_and_closures_are_kept():
    def outer(n):
        def factorial(k):
            return 1 if k < 2 else k * factorial(k - 1)

        return lambda x: map(lambda a: a * factorial(n), x)

    assert here.run(outer(4), ([1, 2],)).tolist() == [24, 48]

    def power(k):
        return 1 if k == 0 else 2 * power(k - 1)

    assert here.run(power, (5,)) == 32


def test_defaults_are_kept():
    def function(x, by=2, *, then=sum):
        return then(x) * by

    assert here.run(function, ([1, 2],)) == 6
    assert here.run(function, ([1, 2],), {"by": 3}) == 9


def test_functions_of_known_modules_are_definitions():
    def function(x):
        return map(math.sqrt, x), map(np.arctan, x), map(hl.sin, x), functools.reduce(operator.add, x, 0.0), math.pi

    x = np.float32([0.5, 2])
    found = here.run(function, (x,))
    assert found[0].dtype == found[1].dtype == found[2].dtype == np.float32
    assert found[0].tolist() == np.sqrt(x).tolist()
    assert found[1].tolist() == [hl.atan(v) for v in x]
    assert found[2].tolist() == [hl.sin(v) for v in x]
    assert found[3:] == (2.5, math.pi)


def test_types_convert():
    def function(a):
        return float32(a), hl.float32(a), np.float32(a), float(a), int(a), bool(a), int64(a) / 2  # noqa: F821

    assert here.run(function, (2.5,)) == (2.5, 2.5, 2.5, 2.5, 2, True, 1.0)
    assert here.run(lambda x: map(lambda a: float32(a) * 2.0, x), ([1, 2],)).dtype == np.float32  # noqa: F821
    assert here.run(lambda x: map(lambda a: a * float(3), x), (np.float32([1]),)).dtype == np.float32


def test_comprehensions_are_maps_and_filters():
    def function(x, y):
        return [i * a + b for i, (a, b) in enumerate(zip(x, y)) if a > 0 if b > 0]  # noqa: B905 - the primitive

    assert here.run(function, ([1, -1, 2], [5, 6, 7])).tolist() == [5, 11]
    assert here.run(lambda x: [a for a in x], (np.empty(0, np.float32),)).dtype == np.float32
    assert here.run(lambda n: [i * 10 + j for i, j in ndindex(n, 3)], (2,)).shape == (2, 3)  # noqa: F821
    assert here.run(lambda n: [i * 10 + j for i in range(n) for j in range(2)], (2,)).tolist() == [0, 1, 10, 11]
    assert here.run(lambda n: [[i * j for j in range(i)] for i in range(n)], (3,)).tolist() == [[], [0], [0, 2]]
    assert here.run(lambda x: sum(a for a in x if a > 1), ([1, 2, 3],)) == 5


def test_rows_of_sequences():
    def product(values, columns, x):
        return [sum(map(lambda a, j: a * x[j], row, cols)) for row, cols in zip(values, columns)]  # noqa: B905 - the primitive

    assert here.run(product, ([[1.0, 2.0], [3.0]], [[0, 1], [1]], [10.0, 20.0])).tolist() == [50.0, 60.0]


def test_reductions_within_an_element_go_left_to_right_over_what_was_made_there():
    x = np.random.default_rng(0).uniform(0, 1, (2, 300)).astype(np.float32)
    in_order = [float(functools.reduce(operator.add, row, np.float32(0))) for row in x]
    fixed = [float(here.sum(row)) for row in x]
    assert in_order != fixed
    assert here.run(lambda x: [sum(row) for row in x], (x,)).tolist() == in_order
    assert here.run(lambda x: map(lambda i: sum(x[i]), range(2)), (x,)).tolist() == in_order
    assert here.run(lambda x: (sum(x[0]), sum(x[1])), (x,)) == tuple(fixed)
    assert here.run(lambda x: [sum(x) for i in range(2)], (x[0],)).tolist() == [fixed[0]] * 2
    assert here.run(lambda x: [sum([a for a in x]) for i in range(1)], (x[0],)).tolist() == in_order[:1]
    assert here.run(lambda x: [reduce(lambda a, b: a + b, x, 0) for i in range(1)], (x[0],)).tolist() == in_order[:1]  # noqa: F821


def test_powers_and_quotients_are_compiled_codes():
    def function(x):
        y = [a**2.5 for a in x]
        z = [a / 0 for a in x]
        total = 1.0
        total /= 0.0
        return y, z, total, 7 // 0, 7.5 % 2, (-7) // 2, -7 % 3

    x = np.random.default_rng(0).uniform(0, 9, 500)
    found = here.run(function, (x,))
    assert np.array_equal(found[0], hl.pow(x, 2.5))
    assert np.isinf(found[1]).all()
    assert found[2:] == (math.inf, 0, 1.5, -4, 2)


def test_loops_and_choices_are_pythons():
    def function(x, n):
        total = 0
        for i in range(n):
            if i == 3:
                break
            total += x[i]
        while total < 100:
            total *= 2
        return total if 0 < total <= 1000 else -1

    assert here.run(function, ([1, 2, 3, 4], 4)) == 192


def test_arguments_are_what_they_are_elsewhere():
    seen = []

    def function(*arguments):
        seen.extend(arguments)
        return 0

    here.run(function, (2, 2.5, True, np.int8(3), np.float32(1), [1], np.uint8([1]), (1, [2]), cuarray([1])))
    kinds = [type(value) for value in seen]
    assert kinds == [int, float, np.bool_, np.int32, np.float32, cuarray, cuarray, tuple, cuarray]
    assert seen[6].dtype == np.int32
    assert type(seen[7][1]) is cuarray


def test_results_are_pythons_numbers_tuples_and_cuarrays():
    found = here.run(lambda x: (x, x[0], (len(x), [x[1]]), range(2), ndindex(1, 2)), ([1, 2],))  # noqa: F821
    assert [type(value) for value in found] == [cuarray, int, tuple, cuarray, cuarray]
    assert type(found[2][1]) is cuarray
    assert found[4].tolist() == [(0, 0), (0, 1)]
    assert here.run(lambda x: filter(lambda a: a > 1, x), ([1, 2],)).pending is None
    source = np.array([1, 2])
    assert not np.shares_memory(np.asarray(here.run(lambda x: [a for a in x], (source,))), source)


def test_functions_without_a_text_run_as_they_are():
    variables = {}
    exec("def function(x): return [a * 2 for a in x if a > 1], sum(x)", variables)
    found = here.run(variables["function"], ([1, 2, 3],))
    assert found[0].tolist() == [4, 6]
    assert found[1] == 6


def test_errors_point_at_the_users_lines():
    def function(x):
        return [x[a] for a in x]

    with pytest.raises(BoundsError, match="index 7 is out of range for 1 element") as caught:
        here.run(function, ([7],))
    lines = [frame for frame in traceback.extract_tb(caught.value.__traceback__) if frame.filename == __file__]
    assert lines[-1].line == "return [x[a] for a in x]"


def test_words_choose_what_is_computed():
    assert here.run(here.searchsorted, ([1, 1], 1), {"side": "right"}) == 2


def test_integers_wrap_and_floats_overflow_without_a_word():
    assert here.run(lambda x: [a * a for a in x], (np.int32([2**20]),)).tolist() == [0]
    assert here.run(lambda x: [a * a for a in x], (np.float32([1e30]),)).tolist() == [math.inf]
