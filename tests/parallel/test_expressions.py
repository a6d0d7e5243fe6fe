"""Expressions of `@cu` functions on all places: comparisons, conditions, indices, slices, tuples and comprehensions."""

# ruff: noqa: F821, B905, RUF043, RUF015, SIM300 - the functions are in another language than Python
import numpy as np
import pytest
from tests.agreement import agree, all_refuse

from hotloop import cu, cuarray
from hotloop.errors import BoundsError, ShapeError, SyntaxRefused, TypeMismatch

X = np.array([3.0, -1.0, 4.0, 1.0, -5.0])
EMPTY = np.empty(0)
ROWS = np.arange(6.0).reshape(2, 3)


# ------------------------------------------------------------------------------------- comparisons and conditions


def test_comparisons_are_chained():
    def chained(x):
        return [-1 < a <= 3 for a in x], [a == a < 4 != 5 for a in x], [0 < a for a in x if -2 < a < 4 > 3]

    agree(chained, X)


def test_chained_comparisons_stop_at_the_first_that_fails():
    def guarded(x, places):
        return [0 <= i < len(x) and x[i] > 0 for i in places], [0 <= i < len(x) > 2 and x[i] < 4 for i in places]

    assert list(agree(guarded, X, np.array([-7, 0, 4, 5, 99]))[0]) == [False, True, False, False, False]


def test_and_or_stop_where_the_result_is_known():
    def guarded(x, places):
        return [i < len(x) and x[i] > 0 for i in places], [i >= len(x) or x[i] < 0 for i in places]

    agree(guarded, X, np.array([0, 1, 4, 5, 99]))


def test_and_or_stop_outside_of_maps_too():
    def guarded(x, i):
        return i < len(x) and x[i] > 0, i >= len(x) or x[i] > 0, not (i < len(x) and x[i] > 0)

    assert agree(guarded, X, 0) == (True, True, False)
    assert agree(guarded, X, 5) == (False, True, True)


def test_and_or_give_an_operand():
    def either(a, b):
        return a and b, a or b

    assert agree(either, 3, 4) == (4, 3)
    assert agree(either, 0, 4) == (0, 4)
    assert agree(either, 0.5, 2.5) == (2.5, 0.5)


def test_conditional_expressions_evaluate_one_side():
    def guarded(x, places):
        return [x[i] if 0 <= i < len(x) else -1.0 for i in places]

    assert list(agree(guarded, X, np.array([-1, 0, 4, 5]))) == [-1.0, 3.0, -5.0, -1.0]

    def once(x, i):
        return x[i] if i < len(x) else 0.0

    assert agree(once, X, 7) == 0.0
    assert agree(once, EMPTY, 0) == 0.0


def test_conditional_expressions_choose_tuples_and_sequences():
    def chosen(x, c):
        y = [a * 2 for a in x] if c else x[1:]
        return y, sum(y), (1, x[0]) if c else (2, x[1])

    agree(chosen, X, True)
    agree(chosen, X, False)


def test_dear_sides_are_computed_where_they_are_taken():
    def chosen(x):
        return [sum([sqrt(abs(b - a)) for b in x]) if a > 0 else 0.0 for a in x]

    agree(chosen, X)


def test_not_is_a_bool():
    def negated(a, x):
        return not a, [not b for b in x]

    assert agree(negated, 3, X)[0] is False


# -------------------------------------------------------------------------------------------- indices and slices


@pytest.mark.parametrize("i", range(-5, 5))
def test_indices_count_from_either_end(i):
    def at(x, i):
        return x[i], x[i % 5], [x[i] for _ in x]

    assert agree(at, X, i)[0] == X[i]


def test_constant_indices_count_from_the_end():
    def at(x):
        return x[-1], x[0], x[-len(x)], [x[-1] - a for a in x]

    agree(at, X)


@pytest.mark.parametrize("i", [5, -6, 2**40, -(2**63), 2**63 - 1])
def test_indices_out_of_range_are_refused(i):
    def at(x, i):
        return x[i]

    def within(x, i):
        return [x[k] for k in i]

    all_refuse(at, X, i, kind=IndexError, match=rf"test_expressions.py:\d+: index {i} is out of range for 5 elements", here="out of range")
    all_refuse(within, X, np.array([0, i]), kind=IndexError, match=f"index {i} is out of range for 5 elements", here="out of range")


def test_elements_of_nothing_are_refused():
    def first(x):
        return x[0]

    def last(x):
        return x[-1]

    all_refuse(first, EMPTY, kind=IndexError, match="index 0 is out of range for 0 elements", here="out of range")
    all_refuse(last, EMPTY, kind=IndexError, match="index -1 is out of range for 0 elements", here="out of range")


def test_indices_of_rows():
    def at(x):
        return x[1, 2], x[-1][0], x[0], x[1][1:], [r[-1] for r in x], [x[i, 0] for i in range(2)]

    agree(at, ROWS)
    agree(lambda x: [len(r) for r in x], cuarray([[1.0], [], [2.0, 3.0]]))


BOUNDS = [None, 0, 1, 2, 5, 6, -1, -2, -5, -6, 100, -100]


@pytest.mark.parametrize("low", BOUNDS)
@pytest.mark.parametrize("step", [None, 1, 2, 3, -1, -2, 7])
def test_slices_are_pythons(low, step):
    texts = [f"x[{'' if low is None else low}:{'' if high is None else high}:{'' if step is None else step}]" for high in BOUNDS]
    text = f"lambda x: ({', '.join(texts)})"
    function = cu(eval(text), source=text)
    for x in (X, X[:1], EMPTY):
        for found, source in zip(function(x), texts, strict=True):
            assert np.array_equal(found, eval(source, {"x": x})), source


def test_slices_have_bounds_of_run_time():
    def cut(x, low, high):
        return x[low:high], x[low:], x[:high], x[low:high:-1], len(x[low:high])

    for low in (-7, -2, 0, 3, 9):
        for high in (-9, -1, 0, 2, 7):
            agree(cut, X, low, high)


def test_slices_in_maps():
    def windows(x):
        return [sum(x[i : i + 3]) for i in indices(x)], [len(x[:i]) for i in indices(x)]

    agree(windows, X)


# ------------------------------------------------------------------------------------------------------- tuples


def test_targets_are_nested():
    def nested(x):
        a, (b, (c, d)) = 1, (x[0], (3, x))
        [e, f] = (a, b)
        return a, b, c, d, e, f, [i * p + q - r for i, (p, (q, r)) in enumerate(zip(x, zip(x, x)))]

    agree(nested, X)


def test_constant_items_of_tuples():
    def items(x):
        t = (1, x[0], (True, x))
        return t[0], t[-2], t[2][0], t[-1][1], t[:2], t[1:][0], len(t), [p[0] - p[1] for p in zip(x, x)]

    agree(items, X)


def test_tuples_of_one_and_of_tuples_are_elements():
    def made(x):
        return [(a,) for a in x], [(a, (a > 0, 1)) for a in x], [((a, 1), 2) for a in x][0]

    agree(made, X)


# ------------------------------------------------------------------------------------------------ comprehensions


def test_comprehensions_filter():
    def kept(x):
        none = len([a for a in x if a > 9])
        return [a for a in x if a > 0], [a * 2 for a in x if a > 0 if a < 4], [i for i, a in enumerate(x) if a < 0], none

    agree(kept, X)
    agree(kept, EMPTY, lenient=True)


def test_conditions_of_comprehensions_guard_what_follows():
    def guarded(x, places):
        return [x[i] for i in places if 0 <= i < 5 if x[i] > 0]

    assert list(agree(guarded, X, np.array([7, 0, -9, 2, 1]))) == [3.0, 4.0]


def test_comprehensions_of_comprehensions():
    def nested(x):
        return [[a * b for a in x] for b in x], [sum([a * b for a in x]) for b in x], [[(a, b) for a in x] for b in x][1]

    agree(nested, X)


def test_several_generators_are_a_product():
    def product(x, y):
        return [a * b for a in x for b in y], [(a, b, c) for a in x for b in y for c in range(2)], sum(a + b for a in x for b in y)

    agree(product, X, np.arange(3.0))
    agree(product, X, EMPTY, lenient=True)


def test_generator_expressions_are_sequences():
    def summed(x):
        return sum(a * a for a in x), max(abs(a) for a in x), any(a > 3 for a in x), all(a > 3 for a in x), sum(1 for a in x if a > 0)

    agree(summed, X)


def test_names_of_comprehensions_are_their_own():
    def hidden(x, a):
        y = [a for a in x]
        return y, a

    assert agree(hidden, X, 7)[1] == 7


def test_lambdas_see_names_as_they_are_where_they_are_made():
    def seen(x):
        k = 2.0
        double = lambda a: a * k  # noqa: E731

        def triple(a, b=3.0):
            return a * b

        return map(double, x), map(triple, x), triple(x[0], b=1.0)

    agree(seen, X)


def test_keywords_and_defaults_of_inner_functions():
    def called(x):
        def f(a, b=2, *, c=3):
            return a * 100 + b * 10 + c

        return f(1), f(1, 5), f(1, c=7), f(a=4, b=1), map(f, [1 for _ in x])

    assert agree(called, X)[:4] == (123, 153, 127, 413)


def test_shapes_are_known():
    def shapes(x):
        return x.shape, x.ndim, x.size, len(x)

    assert cu(shapes)(ROWS) == ((2, 3), 2, 6, 2)


def test_unpacked_arguments():
    def called(x, t):
        return max(*t), zip(*(x, x))

    agree(called, X, (1, 5, 3))


# ------------------------------------------------------------------------------------------------- refusals

EXPRESSION_REFUSALS = {
    "lambda x: [1, 2]": (SyntaxRefused, "a list cannot be compiled. Write a tuple, or a comprehension"),
    "lambda x: {1: 2}": (SyntaxRefused, "a dict cannot be compiled"),
    "lambda x: {1, 2}": (SyntaxRefused, "a set cannot be compiled"),
    "lambda x: {a for a in x}": (SyntaxRefused, r"a set comprehension cannot be compiled. Use unique\(\[...\]\)."),
    "lambda x: {a: a for a in x}": (SyntaxRefused, "a dict comprehension cannot be compiled"),
    "lambda x: (y := 3)": (SyntaxRefused, ":= cannot be compiled. Assign in a statement of its own."),
    "lambda x: f'{x}'": (SyntaxRefused, "a string cannot be compiled"),
    "lambda x: None": (TypeMismatch, "None is no number"),
    "lambda x: 1j": (TypeMismatch, "1j is no number"),
    "lambda x: x @ x": (SyntaxRefused, r"@ cannot be compiled. Write the sum: sum\(map\(op_mul, x, y\)\)"),
    "lambda x: 1 in x": (SyntaxRefused, "`in` and `is` cannot be compiled. Use any"),
    "lambda x: x is x": (SyntaxRefused, "`in` and `is` cannot be compiled"),
    "lambda x: x + 1": (TypeMismatch, r"\+ of \[float64\] and int. Operators take numbers: \[a \+ b for a, b in zip\(x, y\)\]."),
    "lambda x: x < x": (TypeMismatch, r"< of \[float64\] and \[float64\]"),
    "lambda x: -x": (TypeMismatch, r"a number is needed here, not \[float64\]"),
    "lambda x: 1 if x else 2": (TypeMismatch, r"Ask for what you mean: len\(x\) > 0"),
    "lambda x: x and 1": (TypeMismatch, "a number is needed here"),
    "lambda x: (1, 2) + (3,)": (TypeMismatch, r"\+ of \(int, int\) and \(int,\)"),
    "lambda x: x[0.5]": (TypeMismatch, r"an index is an integer, not float. Convert first: int64\(i\)."),
    "lambda x: x[x]": (TypeMismatch, "a number is needed here"),
    "lambda x: x[0][0]": (TypeMismatch, "float64 has no elements"),
    "lambda x: x[0, 0]": (TypeMismatch, "there are more indices than dimensions"),
    "lambda x: x[::0]": (TypeMismatch, "the step of a slice is an int constant other than 0"),
    "lambda x: x[::len(x)]": (TypeMismatch, "the step of a slice is an int constant other than 0"),
    "lambda x: (1, 2)[len(x)]": (TypeMismatch, "a tuple is indexed by constants"),
    "lambda x: (1, 2)[:len(x)]": (TypeMismatch, "a tuple is indexed by constants"),
    "lambda x: (1, 2)[2]": (BoundsError, "a tuple of 2 elements has none at 2"),
    "lambda x: [a for a in (x, x)]": (TypeMismatch, r"a sequence is needed here, not .*Combine sequences with zip\(x, y\)."),
    "lambda x: [a for a in 3]": (TypeMismatch, "a sequence is needed here, not int"),
    "lambda x: [a for a, b in x]": (TypeMismatch, "float64 cannot be unpacked into 2 names"),
    "lambda x: [a for a, b, c in zip(x, x)]": (ShapeError, "a tuple of 2 cannot be unpacked into 3 names"),
    "lambda x: [a for a in x for b in range(2) if b]": (SyntaxRefused, "`if` beside several `for` cannot be compiled"),
    "lambda x: x.mean()": (TypeMismatch, r"has no attribute mean here. Use a primitive: mean\(x\)."),
    "lambda x: nowhere": (TypeMismatch, "nowhere is not defined. It is no variable, no global name and no primitive."),
    "lambda x: x(1)": (TypeMismatch, r"\[float64\] cannot be called"),
    "lambda x: sum(**x)": (SyntaxRefused, r"\*\*keywords cannot be compiled"),
    "lambda x: max(*x)": (SyntaxRefused, "only tuples can be unpacked into arguments"),
    "lambda x: (lambda *a: 1)(x)": (SyntaxRefused, r"\*args and \*\*keywords cannot be compiled. Name the parameters."),
    "lambda x: (lambda a: a)(x, 1)": (TypeMismatch, r"lambda\(\) takes 1 arguments, not 2"),
    "lambda x: (lambda a: a)()": (TypeMismatch, r"lambda\(\) needs an argument for a"),
    "lambda x: (lambda a: a)(b=1)": (TypeMismatch, r"lambda\(\) has no parameter b left"),
    "lambda x: (lambda a: a)(1, a=1)": (TypeMismatch, r"lambda\(\) has no parameter a left"),
    "lambda x: sum": (TypeMismatch, "the function returns the function sum; it can return numbers, sequences and tuples of them"),
    "lambda x: 1.5 << 2": (TypeMismatch, "<< takes integers and bools, not float and int"),
    "lambda x: x[0] & 1": (TypeMismatch, "& takes integers and bools, not float64 and int"),
    "lambda x: ~x[0]": (TypeMismatch, "~ takes integers and bools, not float64"),
    "lambda x: True - False": (TypeMismatch, r"bools cannot be subtracted; use != or \^"),
    "lambda x: -(x[0] > 1)": (TypeMismatch, "a bool cannot be negated by -; use not, or int64"),
    "lambda x: len(x) ** -1": (TypeMismatch, r"integers to negative powers are not integers. Convert first: float64\(x\) \*\* n."),
    "lambda x: 1 if len(x) > 1 else (1, 2)": (TypeMismatch, r"this is int or \(int, int\), and must be one or the other"),
}


@pytest.mark.parametrize("text", EXPRESSION_REFUSALS)
def test_expressions_that_are_refused_say_what_to_do(text):
    kind, match = EXPRESSION_REFUSALS[text]
    with pytest.raises(kind, match=match) as caught:
        cu(eval(text), source=text)(X)
    if not issubclass(kind, SyntaxError):
        first, line, caret = str(caught.value).split("\n")
        assert ":1: " in first
        assert line.strip() == text
        assert set(caret.strip()) == {"^"}


def test_messages_show_the_operands_and_the_call_path():
    text = "lambda n: n << 1.5"
    inner = cu(eval(text), source=text)

    def outer(n):
        return inner(n) + 1

    with pytest.raises(TypeMismatch, match="<< takes integers and bools, not int and float. Convert first") as caught:
        cu(outer)(3)
    assert "Here n is int and 1.5 is float." in str(caught.value)
    assert any("called from <lambda> at test_expressions.py" in note for note in caught.value.__notes__)
