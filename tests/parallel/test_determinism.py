"""The same bits with any number of threads: reductions, scans, filters, sorts and operators of the user."""

import numpy as np
import pytest
from tests.agreement import assert_alike

import hotloop as hl
from hotloop import cu, places

THREADS = (1, 2, 3, 7)
FUNCTIONS = [
    "lambda x: sum(x)",
    "lambda x: (min(x), max(x), any(x), all(x), len([a for a in x if a > 0]))",
    "lambda x: reduce(op_mul, x, 1.0)",
    "lambda x: reduce(lambda a, b: a + b * 1.0000001, x, 0.5)",
    "lambda x: reduce(lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), [(a, 0.25) for a in x], (1.0, 0.0))",
    "lambda x: sum([a * a for a in x if a > 0.5])",
    "lambda x: reduce(lambda a, b: a + b, [a for a in x if a > 0.5], 1.0)",
    "lambda x: (scan(op_add, x), rscan(op_add, x))",
    "lambda x: exclusive_scan(op_add, 0.1, x)",
    "lambda x: scan(lambda a, b: a * 0.999 + b, x)",
    "lambda x: scan(lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), [(a, 0.25) for a in x])",
    "lambda x: exclusive_rscan(maximum, -1.0, x)",
    "lambda x: filter(lambda a: a > 0.3, x)",
    "lambda x: [(a, i) for i, a in enumerate(x) if a > 0.9]",
    "lambda x: (sort(x), argsort(x), sort(cmp_gt, x))",
    "lambda x: sort(lambda a, b: a % 0.25 < b % 0.25, take(x, 5000))",
    "lambda x: sort_by_key([int64(a * 10.0) for a in x], x)",
    "lambda x: scatter_reduce(op_add, x, [int64(abs(a) * 7.0) % 50 for a in x], replicate(0.0, 50))",
    "lambda x: scatter(x, [int64(abs(a) * 7.0) % 50 for a in x], replicate(0.0, 50))",
    "lambda x: [sum(take(x, 40)) * a + sin(a) for a in x]",
]


@pytest.fixture(scope="module")
def numbers():
    return np.random.default_rng(4).normal(size=300_001)


@pytest.mark.parametrize("text", FUNCTIONS)
def test_bits_do_not_depend_on_the_number_of_threads(text, numbers):
    function = cu(eval(text), source=text)
    wanted = function(numbers, target_place=places.sequential)
    before = hl.get_threads()
    try:
        for threads in THREADS:
            hl.set_threads(threads)
            for dtype in ("f8", "f4"):
                found = function(numbers.astype(dtype), target_place=places.openmp)
                assert_alike(found, wanted if dtype == "f8" else function(numbers.astype(dtype), target_place=places.sequential))
    finally:
        hl.set_threads(before)


def test_plain_python_gives_the_bits_of_many_chunks():
    x = np.random.default_rng(5).normal(size=40_000)
    for text in FUNCTIONS[:3] + FUNCTIONS[5:7] + FUNCTIONS[7:9]:
        function = cu(eval(text), source=text)
        assert_alike(function(x, target_place=places.openmp), function(x, target_place=places.here))
