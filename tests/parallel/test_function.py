"""`cu`: decoration, calls, places, what a function captures, functions as arguments, recursion, threads and asyncio."""

# ruff: noqa: F821, B905, RUF043 - the functions are in another language than Python
import asyncio
import threading
import types

import numpy as np
import pytest
from tests.agreement import COMPILED, PLACES, agree

from hotloop import cu, cuarray, places
from hotloop.errors import SourceNotFound, SyntaxRefused, TargetError, TypeMismatch

X = np.array([1.0, 2.0, 3.0])
scale = 2.0
table = np.array([10.0, 20.0, 30.0])
flag = True


# --------------------------------------------------------------------------------------------------- decoration


@cu
def axpy(a, x, y):
    """Add a x to y."""
    return [a * xi + yi for xi, yi in zip(x, y)]


@cu()
def halved(x):
    return [a * 0.5 for a in x]


@cu
def with_defaults(x, a=2, *, b=3.0):
    return [a * c + b for c in x]


def test_functions_keep_their_name_and_text():
    assert axpy.__name__ == "axpy"
    assert axpy.__doc__ == "Add a x to y."
    assert "cu function axpy" in repr(axpy)
    assert cu(axpy) is axpy


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_calls_run_on_every_place(place):
    wanted = [3.0, 6.0, 9.0]
    assert list(axpy(2.0, X, X, target_place=place)) == wanted
    assert list(axpy(2.0, X, X, target_place=place.name)) == wanted
    with place:
        assert list(axpy(2.0, X, X)) == wanted
        assert list(halved(X)) == [0.5, 1.0, 1.5]


def test_places_that_are_missing_are_refused():
    with pytest.raises(TargetError, match="places.gpu77 is not available"):
        axpy(2.0, X, X, target_place="gpu77")
    with pytest.raises(TargetError, match="there is no place 'moon'"):
        axpy(2.0, X, X, target_place="moon")


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_keywords_and_defaults(place):
    with place:
        assert list(with_defaults(X)) == [5.0, 7.0, 9.0]
        assert list(with_defaults(X, 1)) == [4.0, 5.0, 6.0]
        assert list(with_defaults(X, b=0.0, a=5)) == [5.0, 10.0, 15.0]
        assert list(with_defaults(x=X, a=0)) == [3.0, 3.0, 3.0]
        assert list(axpy(y=X, x=X, a=1.0)) == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("arguments", "keywords", "match"),
    [
        ((1.0, X), {}, "argument.* '?y'?"),
        ((1.0, X, X, X), {}, "too many positional arguments"),
        ((1.0, X, X), {"z": 1}, "got an unexpected keyword argument 'z'"),
        ((1.0, X, X), {"a": 1}, "multiple values for argument 'a'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, keywords, match):
    axpy(1.0, X, X)  # once compiled, calls go another way
    with pytest.raises(TypeMismatch, match=match):
        axpy(*arguments, **keywords)


def test_no_arguments():
    assert agree(lambda: 3) == 3
    assert list(agree(lambda: [i * i for i in range(4)])) == [0, 1, 4, 9]


def test_text_can_be_given():
    variables = {}
    exec("def typed(x):\n    return sum(x)", variables)
    with pytest.raises(SourceNotFound, match="source="):
        cu(variables["typed"])(X)
    assert cu(variables["typed"], source="def typed(x):\n    return sum(x)")(X) == 6.0


def test_functions_are_compiled_anew_for_other_types():
    for dtype in ("f4", "f8"):
        assert halved(X.astype(dtype)).dtype == dtype
    assert halved(np.array([1, 2])).dtype == np.float64
    assert halved(np.arange(6.0).reshape(2, 3)[0]).tolist() == [0.0, 0.5, 1.0]


# ------------------------------------------------------------------------------------------------------ captures


@cu
def scaled(x):
    return [a * scale + (1.0 if flag else 0.0) for a in x]


@cu
def looked_up(places_):
    return gather(table, places_)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_globals_are_never_stale(place, monkeypatch):
    here = globals()
    with place:
        assert list(scaled(X)) == [3.0, 5.0, 7.0]
        monkeypatch.setitem(here, "scale", 3.0)
        assert list(scaled(X)) == [4.0, 7.0, 10.0]
        monkeypatch.setitem(here, "scale", 3)
        assert list(scaled(np.array([1, 2]))) == [4.0, 7.0]
        monkeypatch.setitem(here, "flag", False)
        assert list(scaled(X)) == [3.0, 6.0, 9.0]
        monkeypatch.setitem(here, "scale", np.float32(0.5))
        assert scaled(np.float32([2])).dtype == np.float32


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_arrays_of_the_module_are_never_stale(place, monkeypatch):
    i = np.array([2, 0])
    with place:
        assert list(looked_up(i)) == [30.0, 10.0]
        monkeypatch.setitem(globals(), "table", np.array([1, 2, 3]))
        assert list(looked_up(i)) == [3, 1]
        globals()["table"][2] = 7
        assert list(looked_up(i)) == [7, 1]
        monkeypatch.setitem(globals(), "table", [0.5, 1.5, 2.5, 3.5])
        assert list(looked_up(np.array([3]))) == [3.5]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_closures_are_never_stale(place):
    k, y = 2.0, np.array([1.0, 1.0, 1.0])

    @cu
    def moved(x):
        return [a * k + b for a, b in zip(x, y)]

    with place:
        assert list(moved(X)) == [3.0, 5.0, 7.0]
        k = 10.0
        assert list(moved(X)) == [11.0, 21.0, 31.0]
        y = np.zeros(3)
        assert list(moved(X)) == [10.0, 20.0, 30.0]


def made_for(k):
    @cu
    def times(x):
        return [a * k for a in x]

    return times


def test_functions_of_one_text_have_their_own_closures():
    two, three = made_for(2.0), made_for(3)
    for place in PLACES:
        assert list(two(X, target_place=place)) == [2.0, 4.0, 6.0]
        assert list(three(X, target_place=place)) == [3.0, 6.0, 9.0]


@cu
def helper(a):
    return a + 1


@cu
def calls_helper(x):
    return [helper(a) for a in x]


@pytest.mark.parametrize("place", COMPILED, ids=str)
def test_helpers_that_are_rebound_are_never_stale(place, monkeypatch):
    with place:
        assert list(calls_helper(X)) == [2.0, 3.0, 4.0]
        monkeypatch.setitem(globals(), "helper", cu(lambda a: a * 100))
        assert list(calls_helper(X)) == [100.0, 200.0, 300.0]
        monkeypatch.undo()
        assert list(calls_helper(X)) == [2.0, 3.0, 4.0]


def test_globals_of_helpers_are_never_stale(monkeypatch):
    @cu
    def outer(x):
        return sum(scaled(x))

    assert outer(X) == 15.0
    monkeypatch.setitem(globals(), "scale", 0.0)
    assert outer(X) == 3.0


def test_helpers_of_other_modules():
    other = types.ModuleType("other")
    text = "def helped(a):\n    return a * factor\n"
    exec(text, vars(other))
    other.factor = 4.0
    other.helped = cu(other.helped, source=text)
    globals()["other"] = other
    try:
        function = cu(eval("lambda x: [other.helped(a) for a in x]", globals()), source="lambda x: [other.helped(a) for a in x]")
        assert list(function(X)) == [4.0, 8.0, 12.0]
        other.factor = 5.0
        assert list(function(X)) == [5.0, 10.0, 15.0]
        other.helped = cu(lambda a: a - 1)
        assert list(function(X)) == [0.0, 1.0, 2.0]
    finally:
        del globals()["other"]


def test_names_of_the_user_come_before_primitives(monkeypatch):
    text = "lambda x: sum(x)"
    function = cu(eval(text, globals()), source=text)
    assert function(X) == 6.0
    monkeypatch.setitem(globals(), "sum", cu(lambda x: 42.0))
    assert cu(eval(text, globals()), source=text)(X) == 42.0


CAPTURES = {
    "np": (np, "np is the module numpy, which cannot be used in a @cu function. Name one of its functions."),
    "plain": (made_for, "plain is the Python function made_for, which cannot be used in a @cu function. Decorate it with @cu"),
    "words": ("text", "words is a str, which cannot be used"),
    "nothing": (None, "nothing is a NoneType, which cannot be used"),
    "mapping": ({1: 2}, "mapping is a dict, which cannot be used"),
}


@pytest.mark.parametrize("name", CAPTURES)
def test_what_cannot_be_captured_is_refused(name, monkeypatch):
    import re

    value, match = CAPTURES[name]
    monkeypatch.setitem(globals(), name, value)
    text = f"lambda x: [a for a in x] if {name} else x" if name != "plain" else "lambda x: plain(x)"
    with pytest.raises(TypeMismatch, match=re.escape(match)):
        cu(eval(text, globals()), source=text)(X)


def test_functions_of_known_modules_are_primitives():
    import math
    import operator

    def computed(x):
        return [math.sqrt(a) + np.exp(a) for a in x], np.pi * math.e, np.float32(1.5), reduce(operator.add, x, 0.0), np.maximum(1, 2)

    agree(computed, X)


# -------------------------------------------------------------------------------------------- functions as arguments


@cu
def applied(f, x):
    return [f(a) for a in x]


@cu
def folded(f, x):
    return reduce(f, x, 0.0)


def doubled(a):
    return a * 2


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_functions_are_arguments(place):
    from hotloop.parallel import maximum, op_add, sqrt

    with place:
        assert list(applied(lambda a: a + 1, X)) == [2.0, 3.0, 4.0]
        assert list(applied(lambda a: a + 2, X)) == [3.0, 4.0, 5.0]
        assert list(applied(doubled, X)) == [2.0, 4.0, 6.0]
        assert list(applied(helper, X)) == [2.0, 3.0, 4.0]
        assert list(applied(sqrt, np.array([4.0, 9.0]))) == [2.0, 3.0]
        assert folded(op_add, X) == 6.0
        assert folded(maximum, X) == 3.0
        assert folded(lambda a, b: a * 10 + b, X) == 123.0


def test_lambdas_with_closures_are_arguments():
    for k in (1.0, 5.0, 7):
        for place in PLACES:
            assert list(applied(lambda a, k=k: a * k, X, target_place=place)) == [k, 2 * k, 3 * k]
            assert list(applied(lambda a: a * k, X, target_place=place)) == [k, 2 * k, 3 * k]  # noqa: B023 - called at once


class Model:
    """A class with a method that is compiled."""

    @staticmethod
    @cu
    def shifted(x, by):
        return [a + by for a in x]


def test_static_methods():
    assert list(Model.shifted(X, 1.0)) == [2.0, 3.0, 4.0]
    assert list(Model().shifted(X, 1.0)) == [2.0, 3.0, 4.0]


# ------------------------------------------------------------------------------------------------------ recursion


@cu
def gcd(a, b):
    if b == 0:
        return a
    return gcd(b, a % b)


@cu
def power_of(x, n, so_far):
    return so_far if n == 0 else power_of(x, n - 1, so_far * x)


@cu
def smoothed(x, n):
    if n == 0:
        return x
    return smoothed([(a + b) * 0.5 for a, b in zip(x, shift(x, 1, 0.0))], n - 1)


@cu
def factorial(n):
    if n == 0:
        return 1
    return n * factorial(n - 1)


@cu
def even(n):
    return True if n == 0 else odd(n - 1)


@cu
def odd(n):
    return False if n == 0 else even(n - 1)


def test_tail_calls_are_loops():
    assert agree(gcd, 12, 18) == 6
    assert agree(power_of, 2.0, 10, 1.0) == 1024.0
    assert agree(power_of, 1.5, 0, 1.0) == 1.0
    assert list(agree(smoothed, X, 2)) == [2.0, 2.0, 0.75]

    def each(x, y):
        return map(gcd, x, y), [power_of(1.5, n, 1.0) for n in y]

    agree(each, np.array([12, 9, 7]), np.array([18, 6, 0]))
    assert gcd(2**62, 2**40) == 2**40
    assert power_of(1.0, 10_000_000, 1.0) == 1.0  # no stack


def test_calls_that_are_no_tail_calls_are_refused():
    with pytest.raises(SyntaxRefused, match="factorial calls itself, and something is still to be done after the call. Only tail calls"):
        factorial(3)
    with pytest.raises(SyntaxRefused, match="even calls itself"):
        even(3)


# ------------------------------------------------------------------------------------------------ threads, asyncio


def test_threads_call_at_once():
    @cu
    def work(x, k):
        return sum([a * k for a in x]), scan(op_add, x), [a for a in x if a > k]

    failures = []

    def run(k):
        x = np.arange(100.0 * k)
        for _ in range(30):
            found = work(x, float(k))
            if found[0] != x.sum() * k or len(found[2]) != (x > k).sum() or not np.array_equal(found[1], np.cumsum(x)):
                failures.append(k)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_places_are_of_each_task():
    async def on(place):
        with place:
            await asyncio.sleep(0)
            assert places.current() is place
            assert halved(X).tolist() == [0.5, 1.0, 1.5]
            await asyncio.sleep(0)
            return places.current()

    async def run():
        return await asyncio.gather(*[on(place) for place in PLACES])

    assert asyncio.run(run()) == list(PLACES)


def test_faults_do_not_spoil_later_calls():
    @cu
    def picked(x, i):
        return gather(x, i)

    for _ in range(5):
        for place in COMPILED:
            with pytest.raises(IndexError, match=r"test_function.py:\d+: index 7 is out of range for 3 elements"):
                picked(X, np.array([0, 7]), target_place=place)
            assert list(picked(X, np.array([0, 2]), target_place=place)) == [1.0, 3.0]


def test_results_can_be_arguments_again():
    x = cuarray(X)
    for _ in range(3):
        x = halved(x)
    assert list(x) == [0.125, 0.25, 0.375]
