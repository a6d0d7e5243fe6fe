"""Types of `@cu` functions: NumPy 2's promotion for all operators and types, Python's weak numbers, casts, narrow types."""

# ruff: noqa: F821, B905, RUF043 - the functions are in another language than Python
import itertools
import operator

import numpy as np
import pytest
from tests.agreement import COMPILED, agree
from tests.procedures import assert_bits

from hotloop import cu, cuarray
from hotloop.errors import DivisionByZero, RangeError, TypeMismatch

TYPES = ["bool", "int32", "int64", "float32", "float64"]
VALUES = {
    "bool": [False, True, True, False, True, False],
    "int32": [0, 1, -7, 5, 2**31 - 1, -(2**31)],
    "int64": [0, 3, -7, 5, 2**63 - 1, -(2**63)],
    "float32": [0.0, 1.5, -2.5, -0.0, np.inf, np.nan],
    "float64": [0.0, -1.5, 2.5, 1e-320, -np.inf, 1e300],
}
SIGNS = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv, "%": operator.mod,
    "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift, ">>": operator.rshift,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
ON_INTEGERS = ("&", "|", "^", "<<", ">>")
FUNCTIONS = {sign: cu(eval(text), source=text) for sign in SIGNS for text in [f"lambda x, y: [a {sign} b for a, b in zip(x, y)]"]}
WEAK = {
    (sign, side): cu(eval(text), source=text)
    for sign in SIGNS
    for side, text in (("right", f"lambda x, n: [a {sign} n for a in x]"), ("left", f"lambda x, n: [n {sign} a for a in x]"))
}


def pairs(first, second, sign):
    left, right = zip(*itertools.product(VALUES[first], VALUES[second]), strict=True)
    x, y = np.array(left, first), np.array(right, second)
    if sign in ("<<", ">>") and "float" not in second:  # by how much: what C and NumPy leave open is not asked for
        y = (y.astype("i8") % 31).astype(second)
    return x, y


def computed(array):
    """Return what NumPy gives in a type that programs compute in: of True // True int8."""
    return array.astype(np.int64) if array.dtype == np.int8 else array.astype(np.float64) if array.dtype == np.float16 else array


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(("first", "second"), list(itertools.product(TYPES, TYPES)))
def test_operators_promote_as_numpy_does(first, second, sign):
    x, y = pairs(first, second, sign)
    both_bool = first == second == "bool"
    if (sign in ON_INTEGERS and "float" in first + second) or (sign == "-" and both_bool):
        with pytest.raises(TypeMismatch, match="takes integers and bools|bools cannot be subtracted"):
            FUNCTIONS[sign](x, y)
        return
    with np.errstate(all="ignore"):
        wanted = computed(SIGNS[sign](x, y)) if not (both_bool and sign in ("<<", ">>")) else None
    for place in COMPILED:
        found = np.asarray(FUNCTIONS[sign](x, y, target_place=place))
        if wanted is not None:
            assert_bits(found, wanted)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("sign", [sign for sign in SIGNS if sign not in ("<<", ">>")])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("number", [2, -3, 2.5, -0.5, True])
def test_pythons_numbers_are_weak(number, dtype, sign, side):
    x = np.array(VALUES[dtype], dtype)
    kinds = (dtype, type(number).__name__)
    floats = any("float" in kind for kind in kinds)
    if (sign in ON_INTEGERS and floats) or (sign == "-" and kinds == ("bool", "bool")):
        with pytest.raises(TypeMismatch, match="takes integers and bools|bools cannot be subtracted"):
            WEAK[sign, side](x, number)
        return
    with np.errstate(all="ignore"):
        wanted = computed(SIGNS[sign](x, number) if side == "right" else SIGNS[sign](number, x))
    assert_bits(np.asarray(WEAK[sign, side](x, number)), wanted)


@pytest.mark.parametrize("sign", ["//", "%"])
def test_division_and_remainder_have_pythons_signs(sign):
    numbers = [-7, -6, -1, 0, 1, 6, 7, 2**40, -(2**40)]
    x, y = (np.array(part) for part in zip(*itertools.product(numbers, [3, -3, 7, -7, 1, -1]), strict=True))
    apply = SIGNS[sign]
    assert FUNCTIONS[sign](x, y).tolist() == [apply(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    scalar = cu(eval(f"lambda a, b: a {sign} b"), source=f"lambda a, b: a {sign} b")
    for a, b in itertools.product(numbers, [3, -3, 2.5, -2.5]):
        assert agree(scalar, a, b) == apply(a, b)


def test_division_of_integers_by_zero_is_numpys():
    x, zero = np.array([5, -5, 0, 2**31 - 1], "i4"), np.zeros(4, "i4")
    assert FUNCTIONS["//"](x, zero).tolist() == [0, 0, 0, 0]
    assert FUNCTIONS["%"](x, zero).tolist() == [0, 0, 0, 0]
    with pytest.raises(DivisionByZero, match="by zero"):
        cu(eval("lambda x: 1 // 0"), source="lambda x: 1 // 0")(x)


def test_division_of_integers_is_float64():
    assert FUNCTIONS["/"](np.int32([7]), np.int32([2])).dtype == np.float64
    assert cu(eval("lambda n: n / 2"), source="lambda n: n / 2")(7) == 3.5


def test_float_literals_among_integers_do_not_truncate():
    def scaled(x):
        return [a * 2.5 for a in x]

    assert agree(scaled, np.array([1, 2, 3])).tolist() == [2.5, 5.0, 7.5]
    assert agree(scaled, np.array([1, 2, 3], "i4")).dtype == np.float64
    assert agree(scaled, np.array([1, 2, 3], "f4")).dtype == np.float32


@pytest.mark.parametrize(
    ("argument", "kind"),
    [(True, bool), (3, int), (2.5, float), (np.float32(1), float), (np.int32(4), int), (np.bool_(True), bool), (np.int8(3), int)],
)
def test_numbers_come_back_as_pythons(argument, kind):
    def same(a):
        return a

    assert type(agree(same, argument)) is kind


def test_a_python_bool_is_a_bool():
    def masked(x, keep):
        return [a if keep else 0 * a for a in x], keep & True

    assert agree(masked, np.float32([1, 2]), True)[1] is True


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("source", TYPES)
def test_casts_are_numpys(source, target):
    text = f"lambda x: [{target}(a) for a in x]"
    x = np.array([value for value in VALUES[source] if source != "float64" or abs(value) < 1e15], source)
    if source.startswith("float") and target.startswith("int"):
        x = x[np.isfinite(x)]
    with np.errstate(all="ignore"):
        assert_bits(np.asarray(cu(eval(text, {"bool": bool}), source=text)(x)), x.astype(target))


def test_casts_by_pythons_types_are_weak():
    def cast(x):
        return [a + int(a) for a in x], [a + float(a) for a in x], [int(2.9) + a for a in x], bool(x[0])

    found = agree(cast, np.float32([1.5, 2.5]))
    assert [part.dtype for part in found[:3]] == ["float32"] * 3
    assert found[3] is True


def test_casts_to_the_type_of_others():
    def cast(x, y):
        return [cast_to(a, y[0]) for a in x], [cast_to_el(a, y) for a in x], max_bound(y[0]), min_bound_el(y), max_bound_el(x)

    found = agree(cast, np.float64([1.5, -2.5]), np.int32([7]))
    assert [part.dtype for part in found[:2]] == ["int32"] * 2
    assert found[2:] == (2**31 - 1, -(2**31), np.inf)


NARROW = {
    "int8": "int32", "uint8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64", "uint64": "int64", "float16": "float32",
}  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), list(NARROW.items()))
def test_narrow_types_are_computed_in_wider_ones(given, wanted):
    def doubled(x, a):
        return [b + b for b in x], a + a

    info = np.finfo(given) if given == "float16" else np.iinfo(given)
    x = np.array([0, 1, min(int(info.max), 2**40)], given)
    found = agree(doubled, x, x[1])
    assert found[0].dtype == wanted
    assert found[0].tolist() == [0, 2, 2 * int(x[2])]


def test_numbers_beyond_int64_are_refused():
    def same(x):
        return [a for a in x]

    assert agree(same, np.array([2**63 - 1], "u8")).tolist() == [2**63 - 1]
    with pytest.raises(RangeError, match="9223372036854775808 does not fit int64"):
        cu(same)(np.array([2**63], "u8"))


def test_integers_of_python_beyond_int64_are_refused():
    def same(a):
        return a

    made = cu(same)
    for _ in range(2):
        with pytest.raises(RangeError, match="9223372036854775808 does not fit int64, in which Python's ints are computed"):
            made(2**63)
    assert made(2**63 - 1) == 2**63 - 1


@pytest.mark.parametrize("argument", ["text", None, {1: 2}, object(), 1j, np.array(["a"]), np.array([1j]), np.array([None])])
def test_what_is_no_data_is_refused(argument):
    def same(a):
        return a

    with pytest.raises(TypeMismatch, match="argument a: .* cannot be passed to a @cu function. Pass numbers, NumPy arrays, cuarrays"):
        cu(same)(argument)


def test_strict_functions_do_not_mix_types():
    def added(x, y):
        return [a + b for a, b in zip(x, y)]

    strict = cu(added, strict=True)
    with pytest.raises(TypeMismatch, match=r"\+ of float32 and float64: with strict=True types do not mix. Convert one: float64\(x\)."):
        strict(np.float32([1]), np.float64([1]))
    with pytest.raises(TypeMismatch, match=r"\+ of int64 and float64"):
        strict(np.int64([1]), np.float64([1]))
    assert strict(np.float32([1]), np.float32([1])).dtype == np.float32

    def weak(x):
        return [a * 2 + 1.5 for a in x]

    assert cu(weak, strict=True)(np.float32([1])).tolist() == [3.5]

    def sides(a, b):
        return a if a > 0 else b

    with pytest.raises(TypeMismatch, match="this is float32 or float64: with strict=True both sides have one type"):
        cu(sides, strict=True)(np.float32(1), np.float64(2))


def test_powers():
    def powers(x, n):
        return [a**2 for a in x], [a**0 for a in x], [a**3 for a in x], [a**n for a in x]

    with np.errstate(all="ignore"):
        for dtype in TYPES[1:]:
            x = np.array([0, 1, -2, 3, 11], dtype)
            found = agree(powers, x, 4)
            assert_bits(np.asarray(found[0]), x**2)
            assert_bits(np.asarray(found[3]), x**4) if dtype.startswith("int") else None


def test_results_do_not_depend_on_the_kind_of_array():
    def summed(x):
        return sum(x), [a + 1 for a in x]

    plain = np.arange(10.0)
    for x in (plain, cuarray(plain), plain.tolist(), np.arange(20.0)[::2] / 2, np.asfortranarray(plain), plain.astype(">f8")):
        assert agree(summed, x) is not None
        assert cu(summed)(x)[0] == 45.0
