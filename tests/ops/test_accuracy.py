"""Elementary functions against mpmath, exact arithmetic and the tables of C99 Annex F."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

import hotloop as hl
from hotloop import _elementary
from hotloop.ops.accuracy import BOUNDS, FAST_BOUNDS
from hotloop.runtime import local

INF, NAN = math.inf, math.nan
TYPES = {"f32": np.float32, "f64": np.float64}
BITS = {"f32": np.uint32, "f64": np.uint64}
MEASURED = [name for name, bound in BOUNDS.items() if bound[0] > 0.5]
BINARY = {"atan2", "pow", "hypot", "copysign", "fmod", "floordiv", "mod"}

# Names that mpmath and NumPy share with us, NumPy with the inverse functions as arc...
TRIGONOMETRIC = ("sin", "cos", "tan", "sinh", "cosh", "tanh")
INVERSE = ("asin", "acos", "atan", "asinh", "acosh", "atanh")
EXPONENTIAL = ("exp", "expm1", "log", "log10", "log1p")

MPMATH = {
    **{n: getattr(mpmath, n) for n in (*TRIGONOMETRIC, *INVERSE, *EXPONENTIAL, "atan2", "hypot")},
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "pow": lambda x, y: mpmath.power(x, y),
}

NUMPY = {
    **{n: getattr(np, n) for n in (*TRIGONOMETRIC, *EXPONENTIAL, "exp2", "log2", "cbrt")},
    **{n: getattr(np, "arc" + n[1:]) for n in INVERSE},
    "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc,
}  # fmt: skip

ROUNDING = ("floor", "ceil", "round", "trunc")
# Odd, or at least f(-0) = -0
ODD = ("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "cbrt", "expm1", "log1p")

# Where a function does something: uniform samples are drawn here, besides random bit patterns.
RANGES = {
    "sin": (-900, 900), "cos": (-900, 900), "tan": (-900, 900), "asin": (-1, 1), "acos": (-1, 1),
    "atan": (-4, 4), "sinh": (-20, 20), "cosh": (-20, 20), "tanh": (-12, 12), "asinh": (-30, 30),
    "acosh": (1, 30), "atanh": (-1, 1), "exp": (-104, 89), "exp2": (-150, 128), "expm1": (-20, 89),
    "log": (0, 3), "log2": (0, 3), "log10": (0, 3), "log1p": (-1, 3), "cbrt": (-9, 9),
}  # fmt: skip


def call(name: str, kind: str, *arguments: object) -> np.ndarray:
    arrays = [np.array(a, TYPES[kind], ndmin=1) for a in arguments]
    out = np.empty_like(arrays[0])
    getattr(_elementary, f"{name}_{kind}")(out, *arrays)
    return out


def scalar(name: str, kind: str, *arguments: float) -> float:
    return float(call(name, kind, *arguments)[0])


def ulp_error(got: float, want: mpmath.mpf, kind: str) -> float:
    """Distance in units in the last place of `want`; 0 where both overflow."""
    info = np.finfo(TYPES[kind])
    if mpmath.isnan(want) or math.isnan(got):
        return 0.0 if mpmath.isnan(want) and math.isnan(got) else INF
    limit = mpmath.mpf(float(info.max)) * (1 + mpmath.mpf(float(info.eps)) / 4)
    if mpmath.isinf(want) or abs(want) >= limit:
        same = math.isinf(got) and (got > 0) == (want > 0)
        near = not mpmath.isinf(want) and abs(abs(want) / limit - 1) < float(info.eps)
        return 0.0 if same or near else INF
    if math.isinf(got):
        return 0.0 if abs(want) > float(info.max) else INF
    if want == 0:
        return 0.0 if got == 0 else INF
    exponent = max(mpmath.frexp(want)[1] - 1, info.minexp)
    return float(abs(mpmath.mpf(got) - want) / mpmath.ldexp(1, int(exponent) - info.nmant))


def reference(name: str, *arguments: float) -> mpmath.mpf:
    """The exact result, in enough digits for any argument of float64."""
    digits = 60
    if name in {"sin", "cos", "tan"} and math.isfinite(arguments[0]):
        digits += max(0, int(math.frexp(arguments[0])[1] * 0.31))
    with mpmath.workdps(digits):
        try:
            value = MPMATH[name](*(mpmath.mpf(a) for a in arguments))
        except (ValueError, ZeroDivisionError):
            return mpmath.nan
        return value if isinstance(value, mpmath.mpf) else mpmath.nan


def samples(name: str, kind: str, count: int) -> np.ndarray:
    """Finite arguments: any bits, the interesting range, all magnitudes, and near hard spots."""
    random = np.random.default_rng(sum(map(ord, name + kind)))
    real, bits = TYPES[kind], BITS[kind]
    low, high = RANGES.get(name, (-10, 10))
    digits = np.finfo(real).nmant
    near = 1 + random.choice([-1, 1], count) * 2.0 ** random.uniform(-digits, -3, count)
    parts = [
        random.integers(0, np.iinfo(bits).max, count // 2, bits, endpoint=True).view(real),
        random.uniform(low, high, count),
        random.choice([-1, 1], count) * 2.0 ** random.uniform(-40, 6, count),
        random.choice([-1, 1], count // 2) * near[: count // 2],
    ]
    if name in {"sin", "cos", "tan"}:
        parts.append(random.integers(-500, 500, count) * (math.pi / 2) * near)
        parts.append(np.float64([math.ldexp(6381956970095103, 797), 6.0e22]))  # known hard cases
    with np.errstate(all="ignore"):
        found = np.concatenate([p.astype(real) for p in parts])
    return found[np.isfinite(found)]


def pairs(name: str, kind: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    x = samples(name, kind, count)
    y = random.permutation(x)
    if name == "pow":  # half of them spread over the range of results, and just past it
        limit = np.log(np.finfo(TYPES[kind]).max) * random.uniform(-1.05, 1.01, x.size)
        with np.errstate(all="ignore"):
            spread = limit / np.log(np.abs(x.astype(np.float64)))
            spread = np.where(np.isfinite(spread), spread, 2.0).astype(TYPES[kind])
        half = x.size // 2
        x, y = np.r_[x[:half], np.abs(x[half:])], np.r_[y[:half], spread[half:]]
        keep = np.isfinite(y) & (np.abs(y) < 1e12) & (x != 0)
        x, y = x[keep], y[keep]
    return x, y


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", MEASURED)
def test_error_against_mpmath_is_within_the_bound(name: str, kind: str) -> None:
    count = 500 if kind == "f32" else 900
    x = pairs(name, kind, count) if name in BINARY else (samples(name, kind, count),)
    got = call(name, kind, *x)
    worst = max(
        (ulp_error(float(y), reference(name, *map(float, a)), kind), a)
        for y, *a in zip(got, *x, strict=True)
    )
    assert worst[0] <= BOUNDS[name][kind == "f64"], worst


def float32_sweep(step: int) -> np.ndarray:
    return np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


def float32_errors(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Distances in units in the last place of `want`, which is float64; 0 where both overflow."""
    with np.errstate(all="ignore"):
        info = np.finfo(np.float32)
        exponent = np.maximum(np.frexp(want)[1] - 1, info.minexp)
        error = np.abs(got.astype(np.float64) - want) / np.ldexp(1.0, exponent - info.nmant)
    equal = (got == want) | (np.isnan(got) & np.isnan(want))
    overflow = np.isinf(got) & (np.abs(want) > float(info.max)) & ((got > 0) == (want > 0))
    return np.where(equal | overflow, 0, error)


@pytest.mark.parametrize("name", NUMPY)
def test_sweep_over_all_float32_exponents_is_within_the_bound(name: str) -> None:
    x = float32_sweep(16381)
    with np.errstate(all="ignore"):
        error = float32_errors(call(name, "f32", x), NUMPY[name](x.astype(np.float64)))
    assert error.max() <= BOUNDS[name][0], float(x[error.argmax()]).hex()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", [*ODD, *ROUNDING])
def test_odd_functions_keep_tiny_arguments_and_the_sign_of_zero(name: str, kind: str) -> None:
    tiny = float(np.finfo(TYPES[kind]).smallest_subnormal)
    for x in (0.0, -0.0):
        y = scalar(name, kind, x)
        assert y == 0
        assert math.copysign(1, y) == math.copysign(1, x)
    if name not in {"cbrt", *ROUNDING}:
        assert scalar(name, kind, tiny) == tiny
        assert scalar(name, kind, -3 * tiny) == -3 * tiny


PI = math.pi
# C99 Annex F.9; results written as float64 and rounded to the type
SPECIAL = [
    ("sin", (INF,), NAN), ("cos", (-INF,), NAN), ("tan", (INF,), NAN), ("cos", (0.0,), 1.0),
    ("asin", (1.0,), PI / 2), ("asin", (-1.0,), -PI / 2), ("asin", (1.5,), NAN),
    ("acos", (1.0,), 0.0), ("acos", (-1.0,), PI), ("acos", (-1.5,), NAN), ("acos", (0.0,), PI / 2),
    ("atan", (INF,), PI / 2), ("atan", (-INF,), -PI / 2), ("atan", (1.0,), PI / 4),
    ("sinh", (INF,), INF), ("sinh", (-INF,), -INF), ("cosh", (-INF,), INF), ("cosh", (0.0,), 1.0),
    ("tanh", (INF,), 1.0), ("tanh", (-INF,), -1.0), ("asinh", (-INF,), -INF),
    ("acosh", (1.0,), 0.0), ("acosh", (INF,), INF), ("acosh", (0.5,), NAN), ("acosh", (-INF,), NAN),
    ("atanh", (1.0,), INF), ("atanh", (-1.0,), -INF), ("atanh", (2.0,), NAN),
    ("exp", (0.0,), 1.0), ("exp", (-0.0,), 1.0), ("exp", (-INF,), 0.0), ("exp", (INF,), INF),
    ("exp2", (3.0,), 8.0), ("exp2", (-INF,), 0.0), ("exp2", (INF,), INF), ("exp2", (-3.0,), 0.125),
    ("expm1", (-INF,), -1.0), ("expm1", (INF,), INF), ("exp", (1e4,), INF), ("exp", (-1e4,), 0.0),
    ("log", (1.0,), 0.0), ("log", (0.0,), -INF), ("log", (-0.0,), -INF), ("log", (-1.0,), NAN),
    ("log", (INF,), INF), ("log", (-INF,), NAN), ("log2", (8.0,), 3.0), ("log2", (0.0,), -INF),
    ("log2", (2.0**-126,), -126.0), ("log10", (1e3,), 3.0), ("log10", (0.0,), -INF),
    ("log10", (-1.0,), NAN), ("log10", (1e10,), 10.0), ("log1p", (-1.0,), -INF),
    ("log1p", (-2.0,), NAN), ("log1p", (INF,), INF), ("cbrt", (27.0,), 3.0),
    ("cbrt", (-8.0,), -2.0),
    ("cbrt", (INF,), INF), ("cbrt", (-INF,), -INF),
    ("atan2", (0.0, -0.0), PI), ("atan2", (-0.0, -0.0), -PI), ("atan2", (0.0, 0.0), 0.0),
    ("atan2", (-0.0, 0.0), -0.0), ("atan2", (0.0, -1.0), PI), ("atan2", (-0.0, -1.0), -PI),
    ("atan2", (-0.0, 1.0), -0.0), ("atan2", (-1.0, 0.0), -PI / 2), ("atan2", (1.0, -0.0), PI / 2),
    ("atan2", (1.0, -INF), PI), ("atan2", (-1.0, -INF), -PI), ("atan2", (1.0, INF), 0.0),
    ("atan2", (-1.0, INF), -0.0), ("atan2", (INF, 1.0), PI / 2), ("atan2", (-INF, -1.0), -PI / 2),
    ("atan2", (INF, -INF), 3 * PI / 4), ("atan2", (-INF, INF), -PI / 4),
    ("atan2", (NAN, INF), NAN), ("atan2", (INF, NAN), NAN), ("atan2", (0.0, NAN), NAN),
    ("hypot", (INF, NAN), INF), ("hypot", (NAN, -INF), INF), ("hypot", (NAN, 1.0), NAN),
    ("hypot", (3.0, -4.0), 5.0), ("hypot", (-0.0, 0.0), 0.0), ("hypot", (0.0, -2.5), 2.5),
    ("pow", (0.0, -3.0), INF), ("pow", (-0.0, -3.0), -INF), ("pow", (-0.0, -2.0), INF),
    ("pow", (0.0, -0.5), INF), ("pow", (-0.0, -0.5), INF), ("pow", (0.0, 3.0), 0.0),
    ("pow", (-0.0, 3.0), -0.0), ("pow", (-0.0, 2.0), 0.0), ("pow", (0.0, -INF), INF),
    ("pow", (-1.0, INF), 1.0), ("pow", (-1.0, -INF), 1.0), ("pow", (1.0, NAN), 1.0),
    ("pow", (NAN, 0.0), 1.0), ("pow", (NAN, -0.0), 1.0), ("pow", (NAN, 1.0), NAN),
    ("pow", (2.0, NAN), NAN), ("pow", (-2.0, 0.5), NAN), ("pow", (0.5, -INF), INF),
    ("pow", (2.0, -INF), 0.0), ("pow", (0.5, INF), 0.0), ("pow", (2.0, INF), INF),
    ("pow", (-INF, -3.0), -0.0), ("pow", (-INF, -2.0), 0.0), ("pow", (-INF, 3.0), -INF),
    ("pow", (-INF, 2.5), INF), ("pow", (INF, -0.5), 0.0), ("pow", (INF, 0.5), INF),
    ("pow", (-2.0, 3.0), -8.0), ("pow", (-2.0, 1e10), INF), ("pow", (3.0, 4.0), 81.0),
    ("pow", (4.0, 0.5), 2.0), ("pow", (0.0, INF), 0.0), ("pow", (-INF, INF), INF),
    ("floor", (-0.5,), -1.0), ("floor", (2.5,), 2.0), ("floor", (INF,), INF),
    ("ceil", (-0.5,), -0.0), ("ceil", (2.5,), 3.0), ("ceil", (-INF,), -INF),
    ("round", (2.5,), 2.0), ("round", (3.5,), 4.0), ("round", (-0.5,), -0.0),
    ("round", (0.5,), 0.0),
    ("trunc", (-2.7,), -2.0), ("trunc", (-0.7,), -0.0), ("trunc", (2.0**60,), 2.0**60),
    ("copysign", (3.0, -0.0), -3.0), ("copysign", (-3.0, 1.0), 3.0),
    ("fmod", (5.0, 0.0), NAN), ("fmod", (INF, 2.0), NAN), ("fmod", (-5.0, INF), -5.0),
    ("fmod", (-6.0, 3.0), -0.0), ("mod", (5.0, 0.0), NAN), ("mod", (-1.0, INF), INF),
    ("mod", (6.0, -3.0), -0.0), ("mod", (-6.0, 3.0), 0.0), ("mod", (-7.0, 3.0), 2.0),
    ("floordiv", (5.0, 0.0), INF), ("floordiv", (-5.0, 0.0), -INF), ("floordiv", (0.0, 0.0), NAN),
    ("floordiv", (-1.0, INF), -1.0), ("floordiv", (-0.0, 5.0), -0.0),
    ("floordiv", (7.0, -2.0), -4.0),
]  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("name", "arguments", "want"), SPECIAL)
def test_special_values_follow_annex_f(
    name: str, arguments: tuple[float, ...], want: float, kind: str
) -> None:
    got, rounded = scalar(name, kind, *arguments), float(TYPES[kind](want))
    if math.isnan(want):
        assert math.isnan(got)
    else:
        assert got == rounded
        assert math.copysign(1, got) == math.copysign(1, want)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", BOUNDS)
def test_nan_in_is_nan_out(name: str, kind: str) -> None:
    if name == "fma":
        assert math.isnan(scalar(name, kind, NAN, 2.0, 3.0))
    elif name in BINARY:
        assert math.isnan(scalar(name, kind, NAN, 2.0))
        assert math.isnan(scalar(name, kind, 2.0, NAN)) or name == "copysign"
    else:
        assert math.isnan(scalar(name, kind, NAN))


def division_samples(kind: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    real, bits = TYPES[kind], BITS[kind]
    any_bits = random.integers(0, np.iinfo(bits).max, (2, 4000), bits).view(real)
    small = random.integers(-40, 40, (2, 2000)).astype(real) / real(4)
    sizes = 2.0 ** random.uniform(-30, 30, (2, 2000))
    large = (random.uniform(-1, 1, (2, 2000)) * sizes).astype(real)
    subnormal = random.integers(1, 2**23, (2, 2000)).astype(bits).view(real)
    subnormal[1] = (subnormal[1].view(bits) >> random.integers(0, 23, 2000).astype(bits)).view(real)
    x, y = np.concatenate([any_bits, small, large, subnormal], axis=1)
    keep = np.isfinite(x) & np.isfinite(y) & (y != 0)
    return x[keep], y[keep]


@pytest.mark.parametrize("kind", TYPES)
def test_fmod_is_exact(kind: str) -> None:
    x, y = division_samples(kind)
    want = np.array([math.fmod(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)])
    got = call("fmod", kind, x, y)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


@pytest.mark.parametrize("kind", TYPES)
def test_mod_and_floordiv_follow_python(kind: str) -> None:
    x, y = division_samples(kind)
    with np.errstate(all="ignore"):
        # NumPy takes CPython's steps, in the type of its operands.
        want = {"mod": np.mod(x, y), "floordiv": np.floor_divide(x, y)}
    if kind == "f64":
        points = list(zip(x.tolist(), y.tolist(), strict=True))
        want = {"mod": [a % b for a, b in points], "floordiv": [a // b for a, b in points]}
    for name, values in want.items():
        got = call(name, kind, x, y)
        np.testing.assert_array_equal(got, values)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(values))


def rounded(value: Fraction, kind: str) -> float:
    """Round a fraction to the type, half to even."""
    info = np.finfo(TYPES[kind])
    if value == 0:
        return 0.0
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, int(info.minexp)) - info.nmant)
    result = round(value / unit) * unit
    if abs(result) > float(info.max):
        return INF if value > 0 else -INF
    return float(result)


@pytest.mark.parametrize("kind", TYPES)
def test_fma_is_correctly_rounded(kind: str) -> None:
    random = np.random.default_rng(11)
    real, bits = TYPES[kind], BITS[kind]
    count, digits = 2500, np.finfo(real).nmant + 1
    x, y, z = random.integers(0, np.iinfo(bits).max, (3, count), bits).view(real)
    a, b = random.uniform(1, 2, (2, count)).astype(real)
    with np.errstate(all="ignore"):
        # cancelling, near ties, and around the smallest numbers
        cancelled = (-(a * b) * real(2) ** random.integers(-2, 2, count)).astype(real)
        tie = np.ldexp(a, random.integers(-2 * digits - 2, 3, count)).astype(real)
        scale = int(np.finfo(real).minexp) // 2
        low = np.ldexp(a, scale + random.integers(-12, 2, count)).astype(real)
        other = np.ldexp(b, scale + random.integers(-12, 2, count)).astype(real)
        rest = np.ldexp(b, 2 * scale + random.integers(-30, 3, count)).astype(real)
        sign = random.choice([-1, 1], count).astype(real)
    short = np.round(a * 64).astype(real)
    for points in ((x, y, z), (a, b, cancelled), (short, b, tie * sign), (low, other, rest * sign)):
        finite = np.isfinite(points).all(axis=0)
        used = [p[finite] for p in points]
        got = call("fma", kind, *used)
        exact = [Fraction(p) * Fraction(q) + Fraction(r)
                 for p, q, r in zip(*(u.tolist() for u in used), strict=True)]  # fmt: skip
        np.testing.assert_array_equal(got, [rounded(e, kind) for e in exact])


def test_fma_keeps_the_signs_of_zeros() -> None:
    assert math.copysign(1, scalar("fma", "f64", -0.0, 1.0, -0.0)) == -1
    assert math.copysign(1, scalar("fma", "f64", -0.0, 1.0, 0.0)) == 1
    assert math.copysign(1, scalar("fma", "f64", 1.0, 2.0, -2.0)) == 1
    assert math.copysign(1, scalar("fma", "f64", -5e-324, 5e-324, 0.0)) == -1
    assert math.isnan(scalar("fma", "f64", INF, 0.0, 1.0))
    assert scalar("fma", "f32", 3e38, 2.0, -INF) == -INF


def test_results_below_the_normal_range_are_rounded_once() -> None:
    for kind, tiny in (("f32", 2.0**-149), ("f64", 2.0**-1074)):
        k = math.frexp(tiny)[1] - 1
        assert scalar("exp2", kind, k) == tiny
        assert scalar("exp2", kind, k - 1) == 0.0
        assert scalar("pow", kind, 2.0, k) == tiny
        assert scalar("hypot", kind, 3 * tiny, 4 * tiny) == 5 * tiny
        assert scalar("cbrt", kind, tiny) == pytest.approx(tiny ** (1 / 3), rel=1e-6)


def test_large_buffers_and_in_place_calls_give_the_same_bits() -> None:
    x = np.linspace(-3, 3, 10_000)
    want = np.array([scalar("sin", "f64", v) for v in x[:50]])
    _elementary.sin_f64(x, x)
    np.testing.assert_array_equal(x[:50], want)


def test_wrong_arguments_are_refused_with_a_reason() -> None:
    out, x = np.zeros(3, np.float32), np.ones(3, np.float32)
    with pytest.raises(TypeError, match=r"sin_f32 takes an output and 1 operands, got 3 arguments"):
        _elementary.sin_f32(out, x, x)
    with pytest.raises(TypeError, match=r"sin_f32: argument 1 must be a float32 buffer, not float"):
        _elementary.sin_f32(out, 1.0)
    with pytest.raises(TypeError, match=r"must hold float32 \(format 'f'\), not format 'd'"):
        _elementary.sin_f32(out, np.ones(3))
    with pytest.raises(ValueError, match=r"argument 2 holds 2 numbers, the output 3"):
        _elementary.pow_f32(out, x, x[:2])
    with pytest.raises(ValueError, match=r"argument 1 must be C-contiguous"):
        _elementary.sin_f32(out, np.ones(6, np.float32)[::2])
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"argument 0, the output, is read-only"):
        _elementary.sin_f32(out, x)


needs_fma = pytest.mark.skipif(not local.executes("x86-64-v3"), reason="fast functions need fused multiply-add")


def fast_call(name: str, *arguments: np.ndarray) -> np.ndarray:
    """Arrays of more than 16 elements are kernels, which take the fast functions."""
    row = getattr(hl, name)
    function = (lambda x, y: row(x, y)) if len(arguments) == 2 else (lambda x: row(x))
    return hl.jit(function, fast=True)(*arguments)


@needs_fma
@pytest.mark.parametrize("name", [name for name in FAST_BOUNDS if name in NUMPY])
def test_fast_functions_are_within_their_bound_over_all_float32_exponents(name: str) -> None:
    x = float32_sweep(4093)
    with np.errstate(all="ignore"):
        error = float32_errors(fast_call(name, x), NUMPY[name](x.astype(np.float64)))
    assert error.max() <= FAST_BOUNDS[name][0], float(x[error.argmax()]).hex()


@needs_fma
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", FAST_BOUNDS)
def test_fast_functions_are_within_their_bound_of_mpmath(name: str, kind: str) -> None:
    x = pairs(name, kind, 900) if name in BINARY else (samples(name, kind, 900),)
    got = fast_call(name, *x)
    errors = [ulp_error(float(y), reference(name, *map(float, a)), kind) for y, *a in zip(got, *x, strict=True)]
    worst = int(np.argmax(errors))
    assert errors[worst] <= FAST_BOUNDS[name][kind == "f64"], [float(a[worst]).hex() for a in x]
    assert (got != call(name, kind, *x)).any()  # else the strict one was measured


@needs_fma
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", FAST_BOUNDS)
def test_fast_functions_have_the_special_values_of_the_strict_ones(name: str, kind: str) -> None:
    info = np.finfo(TYPES[kind])
    tiny, high = float(info.smallest_subnormal), float(info.max)
    limits = [0.0, 1.0, INF, tiny, 3 * tiny, float(info.tiny), high, 2.0**20, 800.0, 1e9]
    points = np.array([*limits, *[-x for x in limits], NAN], TYPES[kind])
    x = tuple(g.ravel() for g in np.meshgrid(points, points)) if name in BINARY else (points,)
    got, want = fast_call(name, *x), call(name, kind, *x)
    special = ~np.isfinite(want) | (want == 0)
    np.testing.assert_array_equal(got[special], want[special])
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(want[numbers]))
    got, want = got[np.isfinite(want)], want[np.isfinite(want)]
    assert (np.abs(got - want) <= 4 * np.spacing(np.abs(want))).all()


@needs_fma
@pytest.mark.parametrize("name", FAST_BOUNDS)
def test_one_abnormal_lane_changes_no_bit_of_the_others(name: str) -> None:
    x = np.linspace(0.5, 3.0, 64, dtype=np.float32)
    x[[3, 17]] = NAN, INF
    arguments = (x, x) if name in BINARY else (x,)
    got, want = fast_call(name, *arguments), call(name, "f32", *arguments)
    np.testing.assert_array_equal(got[[3, 17]], want[[3, 17]])
    numbers = np.isfinite(x)
    x[~numbers] = 1.0
    np.testing.assert_array_equal(got[numbers], fast_call(name, *arguments)[numbers])


@needs_fma
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", ["sin", "tanh", "atan"])
def test_fast_odd_functions_keep_the_sign_of_zero(name: str, kind: str) -> None:
    zeros = np.tile(np.array([0.0, -0.0], TYPES[kind]), 32)
    np.testing.assert_array_equal(np.signbit(fast_call(name, zeros)), np.signbit(zeros))
