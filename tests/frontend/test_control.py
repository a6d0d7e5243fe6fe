"""iif, loop, while_loop, state and checked as users call them, compared with Python's own control flow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation import evaluate

import hotloop as hl
from hotloop.ir.graph import LOOP, reachable


def loops_in(x: Any) -> int:
    return len([node for node in reachable([x.node]) if node.op is LOOP])


# --------------------------------------------------------------------------------------------- iif


@pytest.mark.parametrize(("x", "want"), [(2.0, 0.5), (0.0, 5.0), (-4.0, -0.25)])
def test_iif_takes_one_side_and_the_other_poisons_nothing(x: float, want: float) -> None:
    v = hl.value(x)
    assert evaluate(hl.iif(v != 0, 1.0 / v, 5.0)) == want
    assert evaluate(hl.iif(v == 0, 5.0, 1.0 / v)) == want


def test_iif_takes_numbers_as_conditions() -> None:
    x = hl.value(2.0)
    assert hl.iif(True, 1, 2) == 1
    assert hl.iif(0, 1, 2) == 2
    assert hl.iif(np.bool_(True), x, 2.0) is x
    assert evaluate(hl.iif(x, 1, 2)) == 1
    assert evaluate(hl.iif(hl.value(0), 1, 2)) == 2


def test_iif_chooses_between_structures() -> None:
    x = hl.value(2.0)
    chosen = hl.iif(x > 1, {"a": 1, "b": [hl.vector([1.0, 2.0]), x]}, {"a": 2, "b": [0.0, 3.0]})
    assert evaluate(chosen["a"]) == 1
    np.testing.assert_array_equal(evaluate(chosen["b"][0]), [1.0, 2.0])
    assert evaluate(chosen["b"][1]) == 2.0
    q = hl.iif(x > 1, hl.quaternion(), hl.quaternion(0.0, 1.0, 0.0, 0.0))
    assert isinstance(q, hl.quaternion)


def test_iif_works_element_by_element() -> None:
    v = hl.vector.input([-1.0, 0.0, 4.0])
    chosen = hl.iif(v > 0, hl.sqrt(v), 0.0)
    assert isinstance(chosen, hl.vector)
    np.testing.assert_array_equal(evaluate(chosen), [0.0, 0.0, 2.0])
    np.testing.assert_array_equal(evaluate(hl.grad(chosen.sum(), v)), [0.0, 0.0, 0.25])


def test_iif_of_different_structures_is_refused() -> None:
    x = hl.value(2.0)
    message = r"test_control\.py:\d+: iif\(\) chooses between two equal structures, not \[int\] and \[int, int\]"
    with pytest.raises(hl.TypeMismatch, match=message):
        hl.iif(x > 1, [1], [1, 2])


# ------------------------------------------------------------------------------------------- loops


@given(st.integers(0, 12), st.floats(-1, 1, width=32), st.floats(-1, 1, width=32))
def test_loop_is_pythons_loop(n: int, a: float, b: float) -> None:
    x, y = np.float32(a), np.float32(b)
    for i in range(n):
        x, y = x * np.float32(0.5) + y, np.float32(i) - x * y * np.float32(0.125)
    p, q = hl.value(np.float32(a)), hl.value(np.float32(b))
    got = hl.loop(n, lambda i, x, y: (x * 0.5 + y, i - x * y * 0.125), p, q, index=True)
    copied = hl.loop(n, lambda i, x, y: (x * 0.5 + y, i - x * y * 0.125), p, q, index=True, unroll=True)
    assert evaluate(list(got)) == [x, y]
    assert evaluate(list(copied)) == [x, y]


@given(st.integers(-3, 9))
def test_traced_count_is_pythons_range(n: int) -> None:
    x = hl.value(1.5)
    count = hl.value(n)
    times = max(n, 0)
    assert evaluate(hl.loop(count, lambda a: a + x, 0.0)) == 1.5 * times
    assert evaluate(hl.loop(count, lambda i, a: a + i, 0, index=True)) == sum(range(times))
    total, doubled = hl.loop(count, lambda a, b: (a + x, b * 2), 0.0, 1)
    assert evaluate([total, doubled]) == [1.5 * times, 2**times]


def test_while_loop_is_pythons_while() -> None:
    def collatz(n: Any, steps: Any) -> Any:
        return hl.iif(n % 2 == 0, n // 2, 3 * n + 1), steps + 1

    for start, want in ((1, 0), (6, 8), (27, 111)):
        n, steps = hl.while_loop(lambda n, steps: n != 1, collatz, hl.value(start), 0)
        assert evaluate([n, steps]) == [1, want]


def test_while_loop_carries_structures() -> None:
    found = hl.while_loop(
        lambda s: s["v"].sum() < 100.0,
        lambda s: {"v": s["v"] * 2.0, "n": (s["n"][0] + 1,)},
        {"v": hl.vector([1.0, 2.0]), "n": (0,)},
    )
    assert isinstance(found["v"], hl.vector)
    np.testing.assert_array_equal(evaluate(found["v"]), [64.0, 128.0])
    assert evaluate(found["n"][0]) == 6


def test_loops_nest_and_capture() -> None:
    x = hl.value(2.0)
    got = hl.loop(3, lambda a: hl.loop(2, lambda b: b * a * 0.5 + x, a), x)
    a = 2.0
    for _ in range(3):
        b = a
        for _ in range(2):
            b = b * a * 0.5 + 2.0
        a = b
    assert evaluate(got) == a
    assert loops_in(got) == 2


def test_carried_types_are_unified() -> None:
    x = hl.value(1.0)
    assert hl.loop(3, lambda a: a + x, 0).dtype is hl.float32
    assert hl.loop(3, lambda a: a + hl.value(1.0, dtype="float64"), 0.1).dtype is hl.float64
    assert evaluate(hl.loop(1, lambda a: a + hl.value(0.0, dtype="float64"), 0.1)) == 0.1
    n, y = hl.loop(4, lambda n, y: (n + 1, y + n), 0, 0)
    assert n.dtype is hl.int32
    first, second = hl.loop(4, lambda a, b: (b, x + a), 0, 0)
    assert (first.dtype, second.dtype) == (hl.float32, hl.float32)
    assert evaluate([first, second, n, y]) == [2.0, 2.0, 4, 6]
    quotient = hl.loop(2, lambda a: a / 2, 3)
    assert quotient.dtype is hl.float32
    assert evaluate(quotient) == 0.75


def test_classes_of_carried_values_stay() -> None:
    q = hl.loop(3, lambda q: q @ q, hl.quaternion(0.8, 0.6, 0.0, 0.0))
    assert isinstance(q, hl.quaternion)
    v, t = hl.loop(2, lambda v, t: (t @ v, t * 0.5), hl.vector.input([1.0, 2.0]), hl.eye(2))
    assert (type(v), type(t)) == (hl.vector, hl.tensor)


def test_loop_from_a_state_carries_plain_values() -> None:
    s = hl.state(1.0)
    s.next = hl.loop(3, lambda a: a * 2.0, s)
    assert type(s.next) is hl.value


def test_no_trip_gives_the_start_and_one_trip_no_loop() -> None:
    x = hl.value(2.0)
    assert evaluate(hl.loop(0, lambda a: a * 0.0, x)) == 2.0
    assert loops_in(hl.loop(1, lambda a: a * x, x)) == 0
    assert loops_in(hl.loop(7, lambda a: a * x, x, unroll=True)) == 0
    assert loops_in(hl.loop(7, lambda a: a * x, x)) == 1


def test_body_may_ignore_what_it_carries() -> None:
    x = hl.value(2.0)
    assert evaluate(hl.loop(5, lambda a: x * 3.0, 0.0)) == 6.0
    assert evaluate(hl.loop(5, lambda a: 7.0, 0.0)) == 7.0


def test_gradient_descent_in_a_loop_is_one_body() -> None:
    target, start = hl.value(0.25), hl.value(0.9)

    def step(theta: Any) -> Any:
        error = hl.sin(theta) - target
        return theta - 0.5 * hl.grad(error * error, theta)

    looped, copied = (hl.loop(20, step, start, unroll=unroll) for unroll in (False, True))
    assert loops_in(looped) == 1
    assert evaluate(looped) == evaluate(copied)
    assert evaluate(looped) == pytest.approx(math.asin(0.25), abs=1e-3)
    by_loop, by_copies = evaluate([hl.grad(looped, target), hl.grad(copied, target)])
    assert by_loop == pytest.approx(by_copies, rel=1e-6)
    assert evaluate(hl.jvp(looped, target, 1.0)) == pytest.approx(by_copies, rel=1e-5)


def test_newtons_method_until_it_converges() -> None:
    x = hl.value(np.float64(2.0))
    root, _ = hl.while_loop(lambda r, change: abs(change) > 1e-12, lambda r, c: ((r + x / r) * 0.5, (x / r - r) * 0.5), x, 1.0)
    assert evaluate(root) == pytest.approx(math.sqrt(2.0), rel=1e-15)
    assert evaluate(hl.jacobian(root, x)) == pytest.approx(0.5 / math.sqrt(2.0), rel=1e-9)


def test_errors_of_loops() -> None:
    x = hl.value(2.0)
    with pytest.raises(hl.ShapeError, match=r"test_control\.py:\d+: a value of shape \(\) becomes shape \(2,\).*hl\.zeros"):
        hl.loop(3, lambda a: hl.vector([a, a]), 0.0)
    with pytest.raises(hl.TypeMismatch, match="the body of this loop carries 2 values and must return as many, not value"):
        hl.loop(3, lambda a, b: a, 0.0, 1.0)
    with pytest.raises(hl.TypeMismatch, match=r"must return what it carries, \[float, int\], not \[value\]"):
        hl.loop(3, lambda a: [a[0]], [0.0, 1])
    with pytest.raises(hl.TypeMismatch, match="a loop carries at least one value"):
        hl.loop(3, lambda: 1)
    with pytest.raises(hl.TypeMismatch, match=r"the count of a loop must be an int or a traced integer, not 2\.5"):
        hl.loop(2.5, lambda a: a, 1)
    with pytest.raises(hl.TypeMismatch, match=r"the count of a loop must be an int or a traced integer.*astype"):
        hl.loop(x, lambda a: a, 1)
    with pytest.raises(hl.TypeMismatch, match="the count of a loop must be an int to unroll it"):
        hl.loop(hl.value(3), lambda a: a, 1, unroll=True)
    with pytest.raises(hl.TypeMismatch, match="a loop cannot run -1 times"):
        hl.loop(-1, lambda a: a, 1)
    with pytest.raises(hl.TypeMismatch, match="the condition of a while loop is a traced scalar, not str"):
        hl.while_loop(lambda a: "no", lambda a: a, x)
    with pytest.raises(hl.TypeMismatch, match="the condition of a while loop is a traced scalar, not vector"):
        hl.while_loop(lambda a: a > 0, lambda a: a, hl.vector([x, x]))
    for endless in (lambda a: True, lambda a: x > 0):
        with pytest.raises(hl.TraceError, match=r"test_control\.py:\d+: the condition of this while loop depends on nothing"):
            hl.while_loop(endless, lambda a: a + 1, x)
    with pytest.raises(hl.TypeMismatch, match="a loop carries numbers, traced values and arrays, not str 'x'"):
        hl.loop(3, lambda a: a, "x")
    with pytest.raises(hl.TypeMismatch, match="the body of a loop returns str 'x'"):
        hl.loop(3, lambda a: "x", 1.0)
    with pytest.raises(hl.TruthError, match=r"cannot branch on a traced value.*hl\.iif"):
        hl.loop(3, lambda a: a if a > 0 else -a, x)
    with pytest.raises(hl.TruthError, match=r"hl\.loop for a loop"):
        range(hl.value(3))


# ------------------------------------------------------------------------------------------- states


def runs(x: Any, count: int) -> list[Any]:
    """The value in each of `count` runs, by reference; the native target must agree."""
    memory: dict[Any, Any] = {}
    found = [evaluate(x, memory) for _ in range(count)]
    target = hl.Target()
    target.compile(x)
    for want in found:
        target.run()
        np.testing.assert_array_equal(np.asarray(target.read_array(x)), want)
    return found


def test_state_carries_from_run_to_run() -> None:
    s = hl.state(1.0)
    s.next = s * 2.0
    assert runs(s + 0.5, 4) == [1.5, 2.5, 4.5, 8.5]


def test_states_step_together() -> None:
    a, b = hl.state(0), hl.state(1)
    a.next, b.next = b, a + b
    assert runs(a + 10, 8) == [10, 11, 11, 12, 13, 15, 18, 23]


def test_array_states() -> None:
    v = hl.state([1.0, 2.0])
    m = hl.state(np.eye(2, dtype=np.float32))
    q = hl.state(hl.quaternion())
    v.next, m.next = m @ v, m * 2.0
    q.next = q @ hl.quaternion(0.0, 1.0, 0.0, 0.0)
    assert [isinstance(s, kind) for s, kind in ((v, hl.vector), (m, hl.tensor), (q, hl.quaternion))] == [True] * 3
    np.testing.assert_array_equal(runs(v + 1.0, 3), [[2.0, 3.0], [2.0, 3.0], [3.0, 5.0]])
    np.testing.assert_array_equal(runs(q + q, 3), [[2, 0, 0, 0], [0, 2, 0, 0], [-2, 0, 0, 0]])


def test_results_of_states_are_plain_values() -> None:
    s, v = hl.state(1.0), hl.state([1.0, 2.0])
    for plain in (s + 1, -s, abs(s), hl.sin(s)):
        assert type(plain) is hl.value
    for plain in (v + 1, -v, v * v, hl.sin(v), v.copy(), v[:1], v.astype("int32")):
        assert type(plain) is hl.vector
    assert type(v[0]) is hl.value


def test_state_without_next_keeps_its_value() -> None:
    s = hl.state(3, name="count")
    assert s.next is s
    assert s.name == "count"
    assert runs(s + 1, 3) == [4, 4, 4]


def test_next_is_converted_to_the_states_type() -> None:
    n = hl.state(5)
    n.next = n * 0.5
    assert n.next.dtype is hl.int32
    assert runs(n + 1, 4) == [6, 3, 2, 1]
    x = hl.state(0, dtype="float64")
    assert x.dtype is hl.float64
    x.next = 1
    assert runs(x + 1.0, 2) == [1.0, 2.0]


def test_errors_of_states() -> None:
    s, v = hl.state(1.0, name="gain"), hl.state([1.0, 2.0])
    s.next = s + 1.0
    with pytest.raises(hl.TraceError, match=r"next value of state gain is already set, on test_control\.py:\d+.*hl\.iif"):
        s.next = 2.0
    del s.next
    s.next = 2.0
    with pytest.raises(hl.ShapeError, match=r"test_control\.py:\d+: a state of shape \(2,\) cannot become shape \(3,\)"):
        v.next = [1.0, 2.0, 3.0]
    with pytest.raises(hl.TypeMismatch, match="the next value of a state is a traced value or number, not 'x'"):
        v.next = "x"
    with pytest.raises(hl.TraceError, match="elements of a state cannot be assigned"):
        v[0] = 1.0
    with pytest.raises(hl.TypeMismatch, match=r"state\(\) needs a first value that is known now"):
        hl.state(hl.value(1.0))
    with pytest.raises(hl.RangeError, match="1099511627776 does not fit int32"):
        hl.state(2**40)
    with pytest.raises(hl.TypeMismatch, match="unknown dtype 'double'"):
        hl.state(1.0, dtype="double")

    def body(a: Any) -> Any:
        v.next = v * a
        return a

    with pytest.raises(hl.TraceError, match="a state cannot be set inside the body of a loop"):
        hl.loop(3, body, 1.0)
    v.next = v * 2.0


# ------------------------------------------------------------------------------------------ checked


def test_checked_marks_what_is_compiled() -> None:
    x, y = hl.value(0.0), hl.value(2.0)
    quotient = y / x
    target = hl.Target()
    target.compile(quotient)
    target.run()
    assert target.read_value(quotient) == math.inf
    target.compile(hl.checked(quotient))
    with pytest.raises(hl.DivisionByZero, match=r"test_control\.py:\d+: division by zero \(div of float32, float32\)\. Use hl\.iif"):
        target.run()
    target.write_value(x, 4.0)
    target.run()
    assert target.read_value(quotient) == 0.5


def test_checked_takes_structures_and_itself() -> None:
    x = hl.value(2.0)
    marked = hl.checked({"a": [x * 2.0]})
    assert hl.checked(marked) is marked
    target = hl.Target()
    target.compile(marked)
    target.run()
    assert target.read_value({"a": marked.content["a"]}) == {"a": [4.0]}
