"""Statements of `@cu` functions: choices, loops, returns and assignments, on all places as in plain Python."""

# ruff: noqa: F821, F841, RUF059, B905 - the functions are in another language than Python
import numpy as np
import pytest
from tests.agreement import agree, all_refuse

from hotloop import cu, cuarray
from hotloop.errors import CheckError, ShapeError, SyntaxRefused, TypeMismatch

X = np.array([3.0, -1.0, 4.0, 1.0, -5.0])
I = np.array([3, -1, 4, 1, -5])  # noqa: E741
NAMES = "sum indices shift scan op_add filter"  # primitives are known by name


# ----------------------------------------------------------------------------------------------------- choices


def if_without_else(x, n):
    y = 0
    if n > 2:
        y = n * 2
    if n > 100:
        y = 7
    return y


def if_elif_else(x, n):
    if n < 0:
        y = -1
    elif n == 0:
        y = 0
    elif n < 4:
        y = 1
    else:
        y = 2
    return y


def early_return(x, n):
    if n == 3:
        return 1.5
    if n > 3:
        if n > 4:
            return 2.5
        return 3.5
    return x[0]


def return_from_both_sides(x, n):
    if n > 3:
        return x[0], n
    else:
        return x[1], n + 1


def early_return_of_sequences(x, n):
    if n > 3:
        return [a + 1 for a in x]
    return [a * 2 for a in x]


def rest_after_a_side_that_returns(x, n):
    if n > 3:
        m = 1
    else:
        return 0
    return m + n


def sequence_on_both_sides(x, n):
    if n > 3:  # noqa: SIM108 - statements are tested
        y = [a + 1 for a in x]
    else:
        y = x[1:]
    return y, len(y)


def rows_on_both_sides(x, n):
    if n > 3:  # noqa: SIM108
        y = [[a + b for a in x] for b in x]
    else:
        y = [[a * b for a in x] for b in x]
    return y


def tuple_on_both_sides(x, n):
    if n > 3:
        y, z = (1, 2.5), [a for a in x]
    else:
        y, z = (n, x[0]), [a * 2 for a in x]
    return y, z, y[1]


def swap_on_one_side(x, n):
    a, b = x[0], x[1]
    if n > 3:
        a, b = b, a
    return a, b


def nested_choices(x, n):
    k = 0
    if n > 1:
        k += 1
        if n > 3:
            k += 10
            if n > 100:
                k += 100
        else:
            k += 1000
    return k


CHOICES = [
    if_without_else, if_elif_else, early_return, return_from_both_sides, early_return_of_sequences, rest_after_a_side_that_returns,
    sequence_on_both_sides, rows_on_both_sides, tuple_on_both_sides, swap_on_one_side, nested_choices,
]  # fmt: skip


@pytest.mark.parametrize("n", [-1, 0, 3, 4, 5, 200])
@pytest.mark.parametrize("function", CHOICES, ids=lambda f: f.__name__)
def test_choices_take_one_side(function, n):
    agree(function, X, n)


def _chosen(a):
    if a > 2:
        return a * 2
    b = a
    if a < 0:
        b = -a
        b += 1
    return b


def test_choices_for_each_element_take_one_side():
    def chosen(x):
        return map(_chosen_cu, x)

    assert list(agree(chosen, X)) == [6.0, 2.0, 8.0, 1.0, 6.0]
    assert list(agree(chosen, I)) == [6, 2, 8, 1, 6]


_chosen_cu = cu(_chosen)


def test_choices_merge_types_as_numpy_promotes():
    def merged(n, a):
        if n > 0:  # noqa: SIM108
            b = a
        else:
            b = 0
        return b

    assert agree(merged, 1, np.float32(2.5)) == 2.5
    assert agree(merged, 1, np.int32(2)) == 2


def test_what_filter_leaves_on_one_side_is_what_is_left():
    def left(x, n):
        if n > 2:  # noqa: SIM108
            y = [a for a in x if a > 0]
        else:
            y = x
        return y, len(y)

    agree(left, X, 3)
    agree(left, X, 2)


# ------------------------------------------------------------------------------------------------------- loops


def count_up(x, n):
    k, total = 0, 0.0
    while k < n:
        total += k * 0.5
        k += 1
    return k, total


def for_over_range(x, n):
    total = 0
    for i in range(n):
        total = total * 2 + i
    return total


def for_over_range_with_step(x, n):
    total = 0
    for i in range(n, -n, -2):
        total = total * 3 + i
    return total


def for_over_elements(x, n):
    total = 0.0
    for a in x:
        total = total * 0.5 + a
    return total


def for_over_pairs(x, n):
    total = 0.0
    for i, (a, b) in enumerate(zip(x, x)):
        total += i * a - b
    return total


def break_and_continue(x, n):
    total, seen = 0.0, 0
    for a in x:
        if a < 0:
            continue
        if seen == n:
            break
        seen += 1
        total += a
    return total, seen


def endless_until_return(x, n):
    k = 0
    while True:
        k += 3
        if k > n:
            return k


def endless_until_break(x, n):
    k = 0
    while True:
        k += 3
        if k > n:
            break
    return k * 2


def return_from_a_loop(x, n):
    for i in range(len(x)):
        if x[i] > n:
            return i
    return -1


def nested_loops(x, n):
    total = 0
    for i in range(n):
        for j in range(i):
            if j == 3:
                break
            total += i * j
        if total > 40:
            break
    return total


def break_of_the_inner_loop_only(x, n):
    total = 0
    for i in range(n):
        while True:
            total += 1
            if total % 3 == i % 3:
                break
    return total


def carries_an_array(x, n):
    for _ in range(n):
        x = [(shift(x, -1, 0.0)[k] + shift(x, 1, 0.0)[k]) * 0.5 for k in indices(x)]
    return x


def carries_what_gets_shorter(x, n):
    k = 0
    while len(x) > 1:
        x = x[1:]
        k += 1
    return x, k


def carries_what_gets_longer(x, n):
    for i in range(n):
        x = concatenate(x, replicate(float64(i), 2))
    return x


def carries_what_filter_leaves(x, n):
    for i in range(n):
        x = [a for a in x if a > i]
    return x


def carries_two_arrays_that_swap(x, n):
    y = [a * 2 for a in x]
    for _ in range(n):
        x, y = y, scan(op_add, x)
    return x, y


def carries_tuples(x, n):
    state = (1, 2.0, (True, 0))
    for i in range(n):
        state = (state[0] + i, state[1] * 0.5, (not state[2][0], i))
    return state


def carries_sequence_of_tuples(x, n):
    pairs = [(a, 0) for a in x]
    for i in range(n):
        pairs = [(b, c + i) for b, c in pairs]
    return pairs


def carries_rows(x, n):
    rows = [[a, b] for a in x for b in x] if False else [[a * b for a in x] for b in x]
    for _ in range(n):
        rows = [[a + 1 for a in row] for row in rows]
    return rows


def sums_in_a_loop(x, n):
    total = 0.0
    for i in range(n):
        total += sum([a * i for a in x])
    return total


def loop_over_a_tuple(x, n):
    total = 0
    for a in (1, 2, n):
        total = total * 10 + a
    return total


def variable_of_the_loop_after_it(x, n):
    last = -1
    for i in range(n):
        last = i
    return last


def augmented(x, n):
    a = n
    a += 2
    a -= 1
    a *= 7
    a //= 2
    a %= 100
    a <<= 2
    a >>= 1
    a |= 8
    a &= 0xFF
    a ^= 3
    b = float(a)
    b /= 4
    b **= 2
    return a, b


LOOPS = [
    count_up, for_over_range, for_over_range_with_step, for_over_elements, for_over_pairs, break_and_continue, endless_until_return,
    endless_until_break, return_from_a_loop, nested_loops, break_of_the_inner_loop_only, carries_an_array, carries_what_gets_shorter,
    carries_what_gets_longer, carries_what_filter_leaves, carries_two_arrays_that_swap, carries_tuples, carries_sequence_of_tuples,
    carries_rows, sums_in_a_loop, loop_over_a_tuple, variable_of_the_loop_after_it, augmented,
]  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("function", LOOPS, ids=lambda f: f.__name__)
def test_loops_run_as_in_python(function, n):
    agree(function, X, n)


def test_loops_of_numbers_run_for_each_element():
    def collatz(n):
        steps = 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
        return steps

    inner = cu(collatz)

    def lengths_of(n):
        return [inner(i) for i in range(1, n)]

    assert list(agree(lengths_of, 10)) == [0, 1, 7, 2, 5, 8, 16, 3, 19]


@pytest.mark.parametrize("function", LOOPS[:11], ids=lambda f: f.__name__)
def test_loops_run_in_maps(function):
    inner = cu(function)

    def mapped(x, counts):
        return [inner(x, n) for n in counts]

    agree(mapped, X, np.array([0, 1, 2, 5, 8, 3]))


def test_a_name_may_change_its_type_in_a_loop():
    def changed(x, n):
        total = 0
        for a in x:
            total = total + a
        k = 1
        for i in range(n):
            k = k * 0.5 if i > 1 else k * 1.0
        return total, k

    agree(changed, X, 4)
    assert agree(changed, np.float32([1, 2]), 4) == (3.0, 0.25)


def test_elements_may_change_their_type_in_a_loop():
    def changed(x, n):
        for _ in range(n):
            x = [float64(a) * 0.5 for a in x]
        return x

    with pytest.raises(TypeMismatch, match="x"):
        cu(changed)(I, 2)


# ------------------------------------------------------------------------------------------- assertions, tails


def test_assertions_raise_with_their_text():
    def positive(x):
        assert len(x) > 1, "two are needed"
        assert all([a > 0 for a in x])
        return sum(x)

    assert cu(positive)(np.float64([1, 2])) == 3.0
    with pytest.raises(CheckError, match="two are needed"):
        cu(positive)(np.float64([1]))
    with pytest.raises(CheckError, match=r"test_statements.py:\d+: the assertion does not hold"):
        cu(positive)(np.float64([1, -2]))


def test_assertions_in_maps_raise():
    def positive(a):
        assert a > 0, "not positive"
        return a

    inner = cu(positive)

    def mapped(x):
        return [inner(a) for a in x]

    with pytest.raises(CheckError, match="not positive"):
        cu(mapped)(X)


def test_faults_in_loops_stop_them():
    def walk(x, n):
        total = 0.0
        for i in range(n):
            total += x[i]
        return total

    assert agree(walk, X, 5) == 2.0
    all_refuse(walk, X, 6, kind=IndexError, match="index 5 is out of range for 5 elements", here="out of range")


def test_side_that_is_not_taken_cannot_fail():
    def guarded(x, n):
        if n < len(x):  # noqa: SIM108
            y = x[n]
        else:
            y = 0.0
        return y

    assert agree(guarded, X, 4) == -5.0
    assert agree(guarded, X, 5) == 0.0
    assert agree(guarded, cuarray([]), 0) == 0.0


def test_side_that_is_not_taken_cannot_fail_for_elements():
    def guarded(x, places):
        return [min(x) if len(x) > 0 else 0.0 for i in places]

    assert list(agree(guarded, np.float64([]), I)) == [0.0] * 5


# -------------------------------------------------------------------------------------------------- refusals


def _without_value(x):
    return


def _without_return(x):
    y = x


def _some_path(x):
    if x > 1:
        return x


def _else_of_loop(x):
    for i in range(2):
        x += i
    else:
        x = 1
    return x


def _else_of_while(x):
    while x < 2:
        x += 1
    else:
        x = 1
    return x


def _with(x):
    with x:
        return 1


def _try(x):
    try:
        return x
    except ValueError:
        return 0


def _raise(x):
    raise ValueError


def _import(x):
    import math

    return math.sqrt(x)


def _global(x):
    global NAMES
    return x


def _delete(x):
    del x
    return 1


def _match(x):
    match x:
        case 1:
            return 2
    return 3


def _class(x):
    class A:
        pass

    return 1


def _nothing(x):
    x + 1
    return x


def _element(x):
    y = range(3)
    y[0] = x
    return y


def _augmented_element(x):
    y = range(3)
    y[0] += x
    return y


def _attribute(x):
    x.a = 3
    return x


def _starred(x):
    a, *b = (1, 2, x)
    return a


def _early_tuple_loop(x):
    for a in (1, 2):
        if x > a:
            break
    return x


STATEMENT_REFUSALS = {
    _without_value: (SyntaxRefused, "a function returns a value"),
    _without_return: (SyntaxRefused, "returns nothing"),
    _some_path: (SyntaxRefused, "must return a value on every path"),
    _else_of_loop: (SyntaxRefused, "`else` of a loop cannot be compiled"),
    _else_of_while: (SyntaxRefused, "`else` of a loop cannot be compiled"),
    _with: (SyntaxRefused, "`with` cannot be compiled. Choose the place where you call the function."),
    _try: (SyntaxRefused, "`try` cannot be compiled. Nothing raises here"),
    _raise: (SyntaxRefused, "`raise` cannot be compiled. Use assert"),
    _import: (SyntaxRefused, "`import` cannot be compiled. Import at the head of the module."),
    _global: (SyntaxRefused, "`global` cannot be compiled. Return what has changed."),
    _delete: (SyntaxRefused, "`delete` cannot be compiled. Names go when nothing uses them."),
    _match: (SyntaxRefused, "`match` cannot be compiled. Write if and elif."),
    _class: (SyntaxRefused, "`classdef` cannot be compiled. Use tuples."),
    _nothing: (SyntaxRefused, "this computes something that nothing uses"),
    _element: (SyntaxRefused, "an element cannot be assigned: sequences do not change. Use scatter"),
    _augmented_element: (SyntaxRefused, "an element cannot be assigned"),
    _attribute: (SyntaxRefused, "this cannot be assigned; names and tuples of names can"),
    _early_tuple_loop: (SyntaxRefused, "a loop over a tuple cannot be left early"),
}


@pytest.mark.parametrize("function", STATEMENT_REFUSALS, ids=lambda f: f.__name__)
def test_statements_that_are_refused_say_what_to_do(function):
    kind, match = STATEMENT_REFUSALS[function]
    with pytest.raises(kind, match=match) as caught:
        cu(function)(3)
    assert caught.value.filename == __file__
    assert caught.value.text.strip()


def test_what_is_assigned_on_one_side_is_not_defined_after_it():
    def undefined(n):
        if n > 1:
            y = 2
        return y

    with pytest.raises(TypeMismatch, match="y is not defined on every path to here"):
        cu(undefined)(3)


def test_sides_of_other_kinds_are_refused():
    def mixed(x, n):
        if n > 1:  # noqa: SIM108
            y = x
        else:
            y = 1
        return y

    with pytest.raises(TypeMismatch, match="must be one or the other"):
        cu(mixed)(X, 3)


def test_loops_in_maps_carry_numbers_only():
    def carried(x, n):
        y = x
        for _ in range(2):
            y = [a + n for a in y]
        return sum(y)

    inner = cu(carried)

    def mapped(x, counts):
        return [inner(x, n) for n in counts]

    with pytest.raises(TypeMismatch, match="loops inside of maps and comprehensions carry numbers and tuples of them"):
        cu(mapped)(X, I)


def test_unpacking_needs_as_many_names():
    def unpacked(x):
        a, b = (x, 1, 2)
        return a

    with pytest.raises(ShapeError, match="a tuple of 3 cannot be unpacked into 2 names"):
        cu(unpacked)(1)

    def number(x):
        a, b = x
        return a

    with pytest.raises(TypeMismatch, match="int cannot be unpacked into 2 names"):
        cu(number)(1)
