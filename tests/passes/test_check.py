"""Checked mode: each fault of each row is found, its line named, and nothing else is reported."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hotloop as hl
from hotloop._graph import apply, wrap
from hotloop.ir.graph import LOOP, reachable
from hotloop.ir.op import REGISTRY
from hotloop.ir.reference import run
from hotloop.passes.check import instrument, raise_fault


def found(*traced: Any) -> tuple[int, list[str]]:
    """The fault code of a program and what it can stand for; its outputs must be those of the plain program."""
    nodes = [item.node for item in traced]
    outputs, fault, sites = instrument(nodes)
    *results, code = run([*outputs, fault], {})
    for got, want in zip(results, run(nodes, {}), strict=True):
        np.testing.assert_array_equal(got, want)
    return int(code), sites


def check(*traced: Any) -> None:
    raise_fault(*found(*traced))


def f32(x: float) -> Any:
    return hl.value(x)


def i32(x: int) -> Any:
    return hl.value(x)


def i64(x: int) -> Any:
    return hl.value(x, dtype="int64")


DIVISION, INVALID, OVERFLOW, BOUNDS = "division by zero", "the result is not a number", "overflow", "index out of range"
TOP32, TOP64 = 2**31 - 1, 2**63 - 1

FAULTS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "float / 0": (lambda: f32(2.0) / f32(0.0), hl.DivisionByZero, DIVISION),
    "0.0 / 0": (lambda: f32(0.0) / f32(-0.0), hl.DivisionByZero, DIVISION),
    "int / 0": (lambda: i32(2) / i32(0), hl.DivisionByZero, DIVISION),
    "int // 0": (lambda: i32(7) // i32(0), hl.DivisionByZero, DIVISION),
    "int % 0": (lambda: i32(7) % i32(0), hl.DivisionByZero, DIVISION),
    "int64 // 0": (lambda: i64(7) // i64(0), hl.DivisionByZero, DIVISION),
    "float // 0": (lambda: f32(7.0) // f32(0.0), hl.DivisionByZero, DIVISION),
    "float % 0": (lambda: f32(7.0) % f32(0.0), hl.DivisionByZero, DIVISION),
    "int // wraps": (lambda: i32(-TOP32 - 1) // i32(-1), hl.CheckError, OVERFLOW),
    "add": (lambda: i32(TOP32) + i32(1), hl.CheckError, OVERFLOW),
    "add below": (lambda: i32(-TOP32) + i32(-2), hl.CheckError, OVERFLOW),
    "add int64": (lambda: i64(TOP64) + i64(1), hl.CheckError, OVERFLOW),
    "sub": (lambda: i32(-TOP32) - i32(2), hl.CheckError, OVERFLOW),
    "sub int64": (lambda: i64(TOP64) - i64(-1), hl.CheckError, OVERFLOW),
    "mul": (lambda: i32(70000) * i32(70000), hl.CheckError, OVERFLOW),
    "mul int64": (lambda: i64(2**40) * i64(2**23), hl.CheckError, OVERFLOW),
    "mul int64 by -1": (lambda: i64(-TOP64 - 1) * i64(-1), hl.CheckError, OVERFLOW),
    "neg": (lambda: -i32(-TOP32 - 1), hl.CheckError, OVERFLOW),
    "abs": (lambda: abs(i64(-TOP64 - 1)), hl.CheckError, OVERFLOW),
    "float add": (lambda: f32(3e38) + f32(3e38), hl.CheckError, OVERFLOW),
    "float mul": (lambda: f32(1e30) * f32(-1e30), hl.CheckError, OVERFLOW),
    "float div": (lambda: f32(1e30) / f32(1e-30), hl.CheckError, OVERFLOW),
    "inf - inf": (lambda: f32(math.inf) - f32(math.inf), hl.CheckError, INVALID),
    "0 * inf": (lambda: f32(0.0) * f32(math.inf), hl.CheckError, INVALID),
    "sqrt": (lambda: hl.sqrt(f32(-1.0)), hl.CheckError, INVALID),
    "norm": (lambda: hl.vector([f32(3e30), f32(1.0)]).magnitude(), hl.CheckError, OVERFLOW),
    "log": (lambda: hl.log(f32(-1.0)), hl.CheckError, INVALID),
    "log of 0": (lambda: hl.log(f32(0.0)), hl.CheckError, "logarithm of zero"),
    "log2 of 0": (lambda: hl.log2(f32(0.0)), hl.CheckError, "logarithm of zero"),
    "log10 of 0": (lambda: hl.log10(f32(-0.0)), hl.CheckError, "logarithm of zero"),
    "log1p of -1": (lambda: hl.log1p(f32(-1.0)), hl.CheckError, OVERFLOW),
    "asin": (lambda: hl.asin(f32(1.5)), hl.CheckError, INVALID),
    "acos": (lambda: hl.acos(f32(-1.5)), hl.CheckError, INVALID),
    "acosh": (lambda: hl.acosh(f32(0.5)), hl.CheckError, INVALID),
    "atanh": (lambda: hl.atanh(f32(2.0)), hl.CheckError, INVALID),
    "atanh of 1": (lambda: hl.atanh(f32(1.0)), hl.CheckError, OVERFLOW),
    "exp": (lambda: hl.exp(f32(1000.0)), hl.CheckError, OVERFLOW),
    "pow": (lambda: hl.pow(f32(10.0), f32(100.0)), hl.CheckError, OVERFLOW),
    "pow of a negative": (lambda: hl.pow(f32(-2.0), f32(0.5)), hl.CheckError, INVALID),
    "sin of inf": (lambda: hl.sin(f32(math.inf)), hl.CheckError, INVALID),
    "lshift": (lambda: i32(1) << i32(-1), hl.CheckError, "shift by a negative count"),
    "rshift": (lambda: i32(1) >> i32(-1), hl.CheckError, "shift by a negative count"),
    "to int32": (lambda: f32(3e9).astype("int32"), hl.CheckError, "conversion of a number"),
    "to int32 at its end": (lambda: f32(2147483648.0).astype("int32"), hl.CheckError, "conversion of a number"),
    "NaN to int32": (lambda: f32(math.nan).astype("int32"), hl.CheckError, "conversion of a number"),
    "int64 to int32": (lambda: i64(2**40).astype("int32"), hl.CheckError, "conversion of a number"),
    "float64 to int32": (lambda: hl.value(np.float64(-2147483649.0)).astype("int32"), hl.CheckError, "conversion of a number"),
    "float64 to float32": (lambda: hl.value(np.float64(1e300)).astype("float32"), hl.CheckError, OVERFLOW),
    "index": (lambda: hl.vector([1.0, 2.0, 3.0])[i32(3)], hl.BoundsError, "index out of range of an axis of length 3"),
    "index below": (lambda: hl.vector([1.0, 2.0, 3.0])[i32(-4)], hl.BoundsError, BOUNDS),
    "array": (lambda: 1.0 / hl.vector.input([1.0, 0.0, 2.0]), hl.DivisionByZero, DIVISION),
    "sum": (lambda: hl.vector.input([3e38, 3e38]).sum(), hl.CheckError, OVERFLOW),
    "int sum": (lambda: hl.vector.input(np.int32([TOP32, 1])).sum(), hl.CheckError, OVERFLOW),
    "int matmul": (lambda: hl.vector.input(np.int32([70000, 1])) @ hl.vector.input(np.int32([70000, 1])), hl.CheckError, OVERFLOW),
    "prod": (lambda: hl.vector.input([1e30, 1e30]).prod(), hl.CheckError, OVERFLOW),
    "matmul": (lambda: hl.vector.input([1e30, 1.0]) @ hl.vector.input([1e30, 1.0]), hl.CheckError, OVERFLOW),
    "loop": (lambda: hl.loop(5, lambda i, a: a + 1.0 / (i - 3.0), f32(0.0), index=True), hl.DivisionByZero, DIVISION),
    "nested loop": (lambda: hl.loop(3, lambda a: hl.loop(2, lambda b: b * b, a), f32(1e3)), hl.CheckError, OVERFLOW),
    "while": (lambda: hl.while_loop(lambda a: a < 1e9, lambda a: a * a * a, f32(5.0)) * f32(1e38), hl.CheckError, OVERFLOW),
    "condition": (lambda: hl.while_loop(lambda a: 1.0 / a > 0.0, lambda a: a - 1.0, f32(2.0)), hl.DivisionByZero, DIVISION),
    "last condition": (lambda: hl.while_loop(lambda a: hl.sqrt(a) >= 0.0, lambda a: a - 1.5, f32(1.0)), hl.CheckError, INVALID),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_raises_with_the_users_line(name: str) -> None:
    make, error, text = FAULTS[name]
    with pytest.raises(error, match=rf"^test_check\.py:\d+: .*{text}"):
        check(make())


FINE: dict[str, Callable[[], Any]] = {
    "division": lambda: f32(1.0) / f32(3.0),
    "integers": lambda: (i32(TOP32) + i32(-5)) // i32(7) % i32(-3) - i32(2) * i32(1000),
    "integer sums": lambda: hl.vector.input(np.int32([TOP32, -5])).sum() + hl.vector.input(np.int64([1, 2])).prod() * 0,
    "largest product": lambda: i64(-(2**62)) * i64(2) + i64(0),
    "largest difference": lambda: i32(-1) - i32(TOP32),
    "inf stays inf": lambda: f32(math.inf) + f32(1.0),
    "NaN stays NaN": lambda: hl.sqrt(f32(math.nan)) * f32(0.0),
    "conversions": lambda: f32(-2147483648.0).astype("int32") + hl.value(np.float64(-2147483648.5)).astype("int32") // 2 * 0,
    "index from the end": lambda: hl.vector([1.0, 2.0, 3.0])[i32(-3)] + hl.vector([1.0, 2.0])[i32(1)],
    "constant divisor": lambda: i32(7) // 2 + i32(7) % 3,
    "loop": lambda: hl.loop(5, lambda i, a: a + 1.0 / (i + 3.0), f32(0.0), index=True),
    "while": lambda: hl.while_loop(lambda a: a > 1.0, lambda a: a / 2.0, f32(100.0)),
    "shift": lambda: i32(1) << i32(40),
    "guarded division": lambda: hl.iif(f32(0.0) != 0, 1.0 / f32(0.0), 0.0),
}


@pytest.mark.parametrize("name", FINE)
def test_no_fault_raises_nothing(name: str) -> None:
    assert found(FINE[name]())[0] == 0


def test_the_side_not_taken_is_not_checked() -> None:
    x, y = f32(0.0), f32(2.0)
    check(hl.iif(x != 0, y / x, 0.0))
    check(hl.iif(x != 0, hl.loop(3, lambda a: a / x, y), 0.0))
    check(hl.iif(x > 0, hl.iif(x > 1, hl.log(x - 1.0), hl.log(x)), 0.0))
    v = hl.vector.input([1.0, 0.0, -2.0])
    check(hl.iif(v != 0, 1.0 / v, 0.0))
    check(hl.iif(v > 0, hl.log(v), 0.0).sum())
    check(hl.iif(x != 0, (1.0 / v).sum(), 0.0))
    for taken in (hl.iif(x == 0, y / x, 0.0), hl.iif(x != 0, y / x, 0.0) + 1.0 / x, hl.iif(v > -5.0, 1.0 / v, 0.0)):
        with pytest.raises(hl.DivisionByZero, match="division by zero"):
            check(taken)


def test_the_first_fault_is_reported() -> None:
    x = f32(0.0)
    first = 1.0 / x
    second = hl.log(x) + first
    code, sites = found(second)
    assert len(sites) > 2
    with pytest.raises(hl.DivisionByZero, match="div of float32, float32"):
        raise_fault(code, sites)
    early_in_time = hl.loop(3, lambda i, a, b: (1.0 / (i - 1.0) + a, hl.log(i * 1.0) + b), x, x, index=True)
    with pytest.raises(hl.CheckError, match="logarithm of zero"):
        check(*early_in_time)


def test_lines_inside_loops_are_those_of_the_body() -> None:
    x = f32(0.0)

    def body(a: Any) -> Any:
        return a + 1.0 / x  # the line below is what the message must name

    line = body.__code__.co_firstlineno + 1
    with pytest.raises(hl.DivisionByZero, match=rf"^test_check\.py:{line}:"):
        check(hl.loop(3, body, 0.0))


def test_what_cannot_fail_costs_nothing() -> None:
    x, n = f32(1.0), i32(3)
    outputs, fault, sites = instrument([hl.iif(x > 0, n & 1, n | 2).node])
    assert sites == []
    assert fault.is_const
    assert outputs == [hl.iif(x > 0, n & 1, n | 2).node]
    raise_fault(0, sites)


def test_loops_stay_loops() -> None:
    x = f32(1.0)
    outputs, fault, _ = instrument([hl.loop(100, lambda a: a / x + 1.0, x).node])
    assert len([node for node in reachable([*outputs, fault]) if node.op is LOOP]) == 1


INTEGERS = st.integers(-TOP64 - 1, TOP64)


@given(st.sampled_from(["add", "sub", "mul", "floordiv", "mod", "neg", "abs"]), INTEGERS, INTEGERS, st.booleans())
def test_integer_faults_are_those_of_exact_integers(name: str, a: int, b: int, wide: bool) -> None:
    top = TOP64 if wide else TOP32
    a, b = (x if wide else ((x >> 32) if k else x // 2**31 // 2) for k, x in enumerate((a, b)))
    make = i64 if wide else i32
    exact = {"add": a + b, "sub": a - b, "mul": a * b, "neg": -a, "abs": abs(a)}.get(name)
    if exact is None:
        exact = None if b == 0 else (a // b if name == "floordiv" else a % b)
    operands = [make(a)] if name in ("neg", "abs") else [make(a), make(b)]
    node = wrap(apply(REGISTRY[name], *[x.node for x in operands]))
    assert (found(node)[0] != 0) == (exact is None or not -top - 1 <= exact <= top)


@given(st.floats(width=32), st.floats(width=32), st.sampled_from(["add", "sub", "mul", "div", "mod", "pow", "atan2", "minimum"]))
def test_float_faults_are_new_nans_and_infinities(a: float, b: float, name: str) -> None:
    x, y = f32(a), f32(b)
    result = wrap(apply(REGISTRY[name], x.node, y.node))
    with np.errstate(all="ignore"):
        number = float(run([result.node], {})[0])
    worse = math.isnan(number) and not math.isnan(a) and not math.isnan(b)
    worse |= math.isinf(number) and math.isfinite(a) and math.isfinite(b)
    worse |= name in ("div", "mod") and b == 0
    assert (found(result)[0] != 0) == worse


def test_next_values_of_states_are_checked() -> None:
    s = hl.state(2.0)
    s.next = s - 0.5 * hl.minimum(1.0 / (s - 1.0), 1.0)
    target = hl.Target(checked=True)
    target.compile(s)
    target.run()
    target.run()
    with pytest.raises(hl.DivisionByZero, match=r"test_check\.py:\d+"):
        target.run()


@pytest.mark.parametrize("arch", ["native", "reference"])
@pytest.mark.parametrize("name", FAULTS)
def test_targets_raise_the_same_faults(name: str, arch: str) -> None:
    make, error, text = FAULTS[name]
    target = hl.Target(arch, checked=True)
    target.compile(make())
    with pytest.raises(error, match=text):
        target.run()
