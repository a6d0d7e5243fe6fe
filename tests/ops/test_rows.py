"""The table tests itself: every scalar row and overload against Python's numbers, and every simplification."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotloop.dtypes import COMPUTE, DType, bool_, float32, float64, int32, int64
from hotloop.errors import DivisionByZero, ShapeError, TypeMismatch
from hotloop.ir.fold import evaluate
from hotloop.ir.graph import Node, apply, constant, exact_numbers, input_node
from hotloop.ir.op import REGISTRY, Op, Types
from hotloop.ir.reference import run

ROWS = [row for row in REGISTRY.values() if row.types.overloads and row.lower is None and not row.internal]
OVERLOADS = [
    pytest.param(row, types, id=f"{row.name}-{'-'.join(t.short for t in types)}") for row in ROWS for types, _ in row.types.overloads
]


def specials(dtype: DType) -> list[Any]:
    """Values at which rows go wrong."""
    if dtype is bool_:
        return [False, True]
    if dtype.is_int:
        low, high = dtype.limits
        return [0, 1, -1, 2, -2, 3, 7, -7, 31, 32, 63, 64, 65, high, low, high - 1, low + 1, 1 << 16]
    info = np.finfo(dtype.numpy)
    least = info.smallest_subnormal
    sizes = [0.0, 1.0, 0.5, 2.0, 3.0, 0.1, 2.5, 7.25, 1e-3, 123456.7, info.tiny, least, 3 * least, info.max]
    sizes += [1.0 + float(info.eps), 1.0 - float(info.epsneg), 2.0**31, 2.0**63, 2.0**23 + 0.5, 2.0**52 + 0.5, math.inf]
    return [float(dtype.numpy.type(sign * size)) for size in sizes for sign in (1, -1)] + [math.nan]


def values(dtype: DType) -> st.SearchStrategy[Any]:
    """Any value of a dtype, specials often."""
    if dtype is bool_:
        return st.booleans()
    if dtype.is_int:
        low, high = dtype.limits
        return st.sampled_from(specials(dtype)) | st.integers(low, high) | st.integers(-100, 100)
    return st.sampled_from(specials(dtype)) | st.floats(width=8 * dtype.size)


def typed(types: Types, operands: tuple[Any, ...]) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(operand, t.numpy) for operand, t in zip(operands, types, strict=True)]


def same(got: Any, want: Any) -> bool:
    """Equal bits, but any NaN equals any other."""
    got, want = np.asarray(got), np.asarray(want)
    if got.dtype != want.dtype or got.shape != want.shape:
        return False
    equal = (got == want) & (np.signbit(got) == np.signbit(want)) if got.dtype.kind == "f" else got == want
    return bool(np.all(equal | ((got != got) & (want != want))))


# ------------------------------------------------------------------- what the rows mean, by Python's numbers


def wrap(number: int, dtype: DType) -> int:
    low, high = dtype.limits
    return (number - low) % (high - low + 1) + low


def floor_divide(x: Any, y: Any) -> Any:
    """CPython's float_floor_div, in the type of x."""
    if not np.isfinite(x) or y == 0 or y != y:
        return x / y if y == 0 else x.dtype.type(math.nan)
    rest = remainder(x, y)
    quotient = (x - np.fmod(x, y)) / y
    if np.fmod(x, y) != 0 and (y < 0) != (np.fmod(x, y) < 0):
        quotient = quotient - 1
    if quotient == 0:
        return np.copysign(x.dtype.type(0), x / y)
    whole = np.floor(quotient)
    assert rest == rest
    return whole + 1 if quotient - whole > 0.5 else whole


def remainder(x: Any, y: Any) -> Any:
    """CPython's float_rem, in the type of x."""
    if not np.isfinite(x) or y == 0 or y != y:
        return x.dtype.type(math.nan)
    rest = np.fmod(x, y)
    if rest == 0:
        return np.copysign(x.dtype.type(0), y)
    return rest + y if (rest < 0) != (y < 0) else rest


def extreme(x: Any, y: Any, largest: bool) -> Any:
    if x != x or y != y:
        return x + y
    if x == y:
        return x if bool(np.signbit(x)) != largest else y
    return max(x, y) if largest else min(x, y)


def to_integer(x: Any, dtype: DType) -> int:
    low, high = dtype.limits
    if x != x:
        return 0
    return low if x < low else high if x > high else int(x)


def exact_fma(x: float, y: float, z: float, dtype: DType) -> float:
    plain = dtype.numpy.type(x) * dtype.numpy.type(y) + dtype.numpy.type(z)
    if math.isfinite(x) and math.isfinite(y) and not math.isfinite(z):
        return z  # the product may overflow alone
    if not all(map(math.isfinite, (x, y, z))):
        return float(plain)
    total = Fraction(x) * Fraction(y) + Fraction(z)
    if total == 0:  # only then does the sign come from the operands
        negative = (math.copysign(1, x) * math.copysign(1, y) < 0) and math.copysign(1, z) < 0
        return -0.0 if negative and (x == 0 or y == 0) else float(plain) if x == 0 or y == 0 else 0.0
    return rounded(total, dtype)


def rounded(number: Fraction, dtype: DType) -> float:
    """Round to nearest, ties to even."""
    info = np.finfo(dtype.numpy)
    size = abs(number)
    exponent = max(size.numerator.bit_length() - size.denominator.bit_length(), int(info.minexp))
    exponent += Fraction(2) ** (exponent + 1) <= size
    exponent -= Fraction(2) ** exponent > size and exponent > info.minexp
    unit = Fraction(2) ** (exponent - info.nmant)
    units = round(size / unit)
    value = math.inf if units * unit > Fraction(float(info.max)) else float(units * unit)
    return value if number > 0 else -value


INTEGERS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "neg": lambda x: -x, "abs": abs,
    "floordiv": lambda x, y: x // y if y else 0, "mod": lambda x, y: x % y if y else 0,
    "sign": lambda x: (x > 0) - (x < 0), "minimum": min, "maximum": max,
    "and": lambda x, y: x & y, "or": lambda x, y: x | y, "xor": lambda x, y: x ^ y, "invert": lambda x: ~x,
    "lshift": lambda x, y: x << min(y, 64) if y >= 0 else 0, "rshift": lambda x, y: x >> y if y >= 0 else 0,
}
BOOLS: dict[str, Callable[..., Any]] = {
    "and": lambda x, y: x and y, "or": lambda x, y: x or y, "xor": lambda x, y: x is not y, "invert": lambda x: not x,
}
COMPARISONS: dict[str, Callable[..., Any]] = {
    "lt": lambda x, y: x < y, "le": lambda x, y: x <= y, "gt": lambda x, y: x > y, "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y, "ne": lambda x, y: x != y,
    "isnan": lambda x: x != x, "isinf": lambda x: abs(x) == math.inf, "isfinite": lambda x: abs(x) < math.inf,
    "select": lambda c, x, y: x if c else y,
    "to_bool": lambda x: x != 0, "to_int32": lambda x: to_integer(x, int32), "to_int64": lambda x: to_integer(x, int64),
    "to_float32": np.float32, "to_float64": np.float64,
}
FLOATS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "div": lambda x, y: x / y, "neg": lambda x: -x,
    "abs": abs, "floordiv": floor_divide, "mod": remainder, "sign": lambda x: x if x != x else type(x)((x > 0) * 1.0 - (x < 0) * 1.0),
    "minimum": lambda x, y: extreme(x, y, False), "maximum": lambda x, y: extreme(x, y, True),
    "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc, "copysign": np.copysign, "sqrt": np.sqrt, "norm": np.sqrt,
}
WIDER = {float32: np.float64, float64: np.longdouble}


def meaning(row: Op, types: Types, operands: tuple[Any, ...]) -> Any:
    """What a row returns for Python numbers, worked out without the row; None where only `ulp` tells."""
    dtype = types[-1]
    if row.name in COMPARISONS:
        found = COMPARISONS[row.name](*operands)
        if row.name == "to_int32" and types[0] is int64:
            found = wrap(operands[0], int32)
        return found
    if dtype is bool_:
        return BOOLS[row.name](*operands)
    if dtype.is_int:
        return wrap(int(INTEGERS[row.name](*operands)), dtype)
    if row.name == "fma":
        return exact_fma(*operands, dtype)
    if row.name == "pow" and math.isinf(operands[0]):  # NumPy takes (-inf) ** 0.5 for sqrt: NaN; C and Python say inf
        return math.pow(*operands)
    if row.name in FLOATS:
        return FLOATS[row.name](*[dtype.numpy.type(operand) for operand in operands])
    return None


def check_meaning(row: Op, types: Types, operands: tuple[Any, ...]) -> None:
    dtype = dict(row.types.overloads)[types]
    got = evaluate(row, typed(types, operands)).astype(dtype.numpy)
    with np.errstate(all="ignore"):
        want = meaning(row, types, operands)
        if want is not None:
            assert same(got, np.asarray(want).astype(dtype.numpy)), (operands, got, want)
            return
        wide = row.numpy(*[np.asarray(operand, dtype.numpy).astype(WIDER[dtype]) for operand in operands])
        near = wide.astype(dtype.numpy)
        if not np.isfinite(near) or near == 0 or not np.isfinite(got):
            assert same(got, near) or beside(got, wide, dtype), (operands, got, near)
            return
        bound = row.ulp[dtype is float64] + 0.01
        assert abs(got.astype(WIDER[dtype]) - wide) <= bound * np.spacing(abs(near)).astype(WIDER[dtype]), (operands, got, near)


def beside(got: Any, wide: Any, dtype: DType) -> bool:
    """Whether a result at the edge of the range is the neighbour of the exact one."""
    if wide != wide or got != got:
        return False
    info = np.finfo(dtype.numpy)
    if abs(wide) > 1:
        return bool(abs(got) in (info.max, math.inf) and abs(wide) >= info.max * (1 - info.eps))
    return bool(abs(got - wide) <= info.smallest_subnormal)


@pytest.mark.parametrize(("row", "types"), OVERLOADS)
def test_every_row_means_what_python_means_at_special_values(row: Op, types: Types) -> None:
    for operands in itertools.product(*[specials(t) for t in types[: 2 if row.arity > 2 else 3]]):
        for last in specials(types[-1])[::6] if row.arity > 2 else [None]:
            check_meaning(row, types, operands if last is None else (*operands, last))


@pytest.mark.parametrize(("row", "types"), OVERLOADS)
def test_every_row_means_what_python_means(row: Op, types: Types) -> None:
    @given(st.tuples(*[values(t) for t in types]))
    def check(operands: tuple[Any, ...]) -> None:
        check_meaning(row, types, operands)

    check()


@pytest.mark.parametrize(("row", "types"), OVERLOADS)
def test_rows_on_arrays_are_rows_on_elements(row: Op, types: Types) -> None:
    columns = [np.resize(np.asarray(specials(t), t.numpy), 97 + k)[:97] for k, t in enumerate(types)]
    columns = [np.roll(column, 5 * k) for k, column in enumerate(columns)]
    together = evaluate(row, columns)
    for k in range(97):
        assert same(together[k], evaluate(row, [column[k].copy() for column in columns]).astype(together.dtype)[()])


@pytest.mark.parametrize(("row", "types"), OVERLOADS)
def test_commutative_rows_commute_to_the_bit(row: Op, types: Types) -> None:
    if row.commutative:
        for x, y in itertools.product(specials(types[0]), specials(types[1])):
            assert same(evaluate(row, typed(types, (x, y))), evaluate(row, typed(types, (y, x)))), (x, y)


def test_every_overload_resolves_to_itself() -> None:
    for row in ROWS:
        for types, result in row.types.overloads:
            if row.name.startswith("to_"):
                continue
            assert row.resolve(types) == (types, result)


# ---------------------------------------------------------------------------------------- applied to constants


@pytest.mark.parametrize(("row", "types"), OVERLOADS)
def test_constants_fold_to_the_bits_of_the_row(row: Op, types: Types) -> None:
    result = dict(row.types.overloads)[types]
    with exact_numbers():
        for operands in itertools.product(*[specials(t)[:: max(1, 2 * len(types) - 2)] for t in types]):
            nodes = [constant(np.asarray(v, t.numpy)[()], t) for v, t in zip(operands, types, strict=True)]
            if row.divides and operands[1] == 0:
                with pytest.raises(DivisionByZero, match="is divided by zero"):
                    apply(row, *nodes)
                continue
            folded = apply(row, *nodes)
            assert folded.is_const, operands
            assert folded.dtype is result
            want = evaluate(row, typed(types, operands)).astype(result.numpy)
            assert same(np.asarray(folded.attr.value, result.numpy), want), operands


# ------------------------------------------------------------------------------------------- simplifications

SIMPLIFIED = [p for p in OVERLOADS if p.values[0].simplify is not None]  # type: ignore[union-attr]


def constants(dtype: DType) -> list[Any]:
    """Operands that might simplify, and some that must not."""
    if not dtype.is_float:
        return specials(dtype)
    plain = (0, 0.5, 1, 2, 3, math.inf)
    return [v for v in specials(dtype) if v != v or abs(v) in plain or not 1e-30 < abs(v) < 1e30]


def programs(row: Op, types: Types, inputs: list[Node]) -> Iterator[tuple[tuple[Any, ...], Node]]:
    """A row with a constant at each place, and with one operand twice; None stands for an input."""
    for place, dtype in enumerate(types):
        for number in constants(dtype):
            operands = [constant(np.asarray(number, dtype.numpy)[()], dtype) if k == place else node for k, node in enumerate(inputs)]
            yield tuple(number if k == place else None for k in range(len(types))), apply(row, *operands)
    if len(set(types)) == 1 and len(types) == 2:
        yield ("twice",), apply(row, inputs[0], inputs[0])
    elif len(types) == 3:
        yield ("same", "same"), apply(row, inputs[0], inputs[1], inputs[1])
    elif len(types) == 1:
        yield ("nested",), apply(row, apply(row, inputs[0]))


def assert_simplification(row: Op, types: Types, inputs: list[Node], made: tuple[Any, ...], node: Node, given_: tuple[Any, ...]) -> None:
    memory = {leaf.attr: np.asarray(v, t.numpy) for leaf, v, t in zip(inputs, given_, types, strict=True)}
    got = run([node], dict(memory))[0]
    if made == ("nested",):
        operands: list[Any] = [evaluate(row, typed(types, given_))]
    elif made == ("twice",):
        operands = typed(types, (given_[0], given_[0]))
    elif made == ("same", "same"):
        operands = typed(types, (given_[0], given_[1], given_[1]))
    else:
        operands = typed(types, tuple(v if m is None else m for v, m in zip(given_, made, strict=True)))
    want = evaluate(row, operands).astype(node.dtype.numpy)
    assert same(got, want), (made, given_, node, got, want)


@pytest.mark.parametrize(("row", "types"), SIMPLIFIED)
def test_simplifications_keep_every_bit_under_exact_numbers(row: Op, types: Types) -> None:
    with exact_numbers():
        inputs = [input_node(np.zeros((), t.numpy), t) for t in types]
        for made, node in programs(row, types, inputs):
            if node.op is row and made[0] not in ("nested", "twice", "same"):
                continue  # not simplified
            choices = [specials(t) if k == 0 or len(types) < 3 else specials(t)[::5] for k, t in enumerate(types)]
            bound = [k < len(made) and made[k] not in (None, "twice", "same", "nested") for k in range(len(types))]
            free = [c[:1] if b else c for b, c in zip(bound, choices, strict=True)]
            for given_ in itertools.product(*free):
                if row.name == "pow":  # x*x rounds once, pow within its bound; both are the meaning of x**2
                    continue
                assert_simplification(row, types, inputs, made, node, given_)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("dtype", [float32, float64])
def test_small_powers_multiply_and_stay_within_the_bound(exponent: float, dtype: DType) -> None:
    x = input_node(np.zeros((), dtype.numpy), dtype)
    node = apply(REGISTRY["pow"], x, constant(exponent, dtype))
    assert node.op is not REGISTRY["pow"]
    for number in specials(dtype):
        with np.errstate(all="ignore"):
            got = run([node], {x.attr: np.asarray(number, dtype.numpy)})[0]
            want = np.power(dtype.numpy.type(number), dtype.numpy.type(exponent))
        info = np.finfo(dtype.numpy)
        np.testing.assert_allclose(got, want, rtol=2 * float(info.eps), atol=float(info.smallest_subnormal))


def test_structural_zeros_absorb_and_vanish() -> None:
    x = input_node(np.asarray(1.5, np.float32), float32)
    zero = x * 0
    assert zero.is_const
    assert zero.attr.value == 0
    assert x + 0 is x
    assert 0 + x is x
    assert x - 0 is x
    assert (0 - x).op is REGISTRY["neg"]
    assert (0 / x).is_const
    assert x * 1 is x
    assert x / 1 is x
    with exact_numbers():
        assert not (x * 0).is_const
        assert (x + 0.0) is not x
        assert (x - 0.0) is x
        assert (x + -0.0) is x


def test_written_negative_zero_does_not_absorb() -> None:
    x = input_node(np.asarray(1.5, np.float32), float32)
    assert not (x * -0.0).is_const


# ------------------------------------------------------------------------------------------- promotion, errors

PAIRS = list(itertools.product(COMPUTE, COMPUTE))


@pytest.mark.parametrize(("left", "right"), PAIRS, ids=str)
def test_sums_take_the_larger_type(left: DType, right: DType) -> None:
    x, y = input_node(np.zeros((), left.numpy), left), input_node(np.zeros((), right.numpy), right)
    wanted = {("int64", "float32"): float64, ("float32", "int64"): float64}.get((left.name, right.name))
    wanted = wanted or max(left, right, int32, key=lambda t: t.rank)
    assert (x + y).dtype is wanted
    assert (y + x).dtype is wanted


@pytest.mark.parametrize(
    ("name", "types"),
    [("and", (float32, float32)), ("lshift", (float64, int32)), ("invert", (float32,)), ("select", (int32, float32, float32))],
)
def test_types_that_no_rule_takes_are_refused_by_name(name: str, types: Types) -> None:
    nodes = [input_node(np.zeros((), t.numpy), t) for t in types]
    with pytest.raises(TypeMismatch, match=rf"test_rows\.py:\d+: {name} does not take \({', '.join(t.name for t in types)}\)"):
        apply(REGISTRY[name], *nodes)


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    v, w = input_node(np.zeros(3), float64), input_node(np.zeros(4), float64)
    with pytest.raises(ShapeError, match=r"test_rows\.py:\d+: add of shapes \(3,\) and \(4,\): lengths must be equal or 1"):
        _ = v + w
