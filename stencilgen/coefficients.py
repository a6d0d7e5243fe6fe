"""Derive the constants and minimax polynomials of the C headers in `hotloop/ops/c`.

Run `python stencilgen/coefficients.py` to print every block, or with `--write DIRECTORY` to replace
the text between the `coefficients` markers of the headers there. Needs mpmath; takes a minute.

Method: the exchange algorithm of Remez (1934) in 50 digits. Coefficients are then rounded one after
another, lowest first, and the rest is fitted again to what that rounding left over, so that the
rounded polynomial stays close to the best one that can be stored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpmath import mp, mpf  # type: ignore[import-untyped]

mp.dps = 50

Function = Callable[[mpf], mpf]

BITS = {"f32": 24, "f64": 53}
BEGIN = "/* coefficients: written by stencilgen/coefficients.py, do not edit */"
END = "/* coefficients: end */"


@dataclass(frozen=True, slots=True)
class Fit:
    """One polynomial: `target` on [low, high], error weighted by `weight`.

    `terms` gives the number of coefficients for each type; a type left out is not printed. The
    first coefficient gets a name of its own if `apart`. `together` rounds all coefficients at once: where
    the interval holds 0, what is left after the first has no best fit.
    """

    name: str
    header: str
    meaning: str
    target: Function
    weight: Function
    low: mpf
    high: mpf
    terms: dict[str, int]
    apart: bool = False
    together: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """One constant, cut into parts of the given bits; the last part is rounded to the type.

    All parts but the last carry so few bits that their product with a small integer is exact.
    """

    name: str
    header: str
    value: mpf
    bits: dict[str, tuple[int, ...]]


def rounded(value: mpf, bits: int) -> mpf:
    """Round to nearest in `bits` binary digits, without limits of the exponent."""
    with mp.workprec(bits):
        return +value


def polynomial(coefficients: Sequence[mpf], x: mpf) -> mpf:
    """Evaluate a polynomial, lowest coefficient first."""
    total = mpf(0)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def remez(
    target: Sequence[mpf], weight: Sequence[mpf], grid: Sequence[mpf], first: int, terms: int
) -> list[mpf]:
    """Fit x^first times a polynomial of `terms` coefficients to samples.

    The largest weighted error is made least. Cost: a few linear systems of `terms` unknowns.
    Source: Remez, "Sur le calcul effectif des polynomes d'approximation", 1934.
    """
    points = len(grid)
    chosen = [
        round((points - 1) * (1 - float(mp.cos(mp.pi * i / terms))) / 2) for i in range(terms + 1)
    ]
    coefficients: list[mpf] = []
    for _ in range(12):
        system = mp.matrix(terms + 1, terms + 1)
        right = mp.matrix(terms + 1, 1)
        for row, i in enumerate(chosen):
            power = grid[i] ** first
            for column in range(terms):
                system[row, column] = power
                power *= grid[i]
            system[row, terms] = (-1) ** row / weight[i]
            right[row] = target[i]
        solution = mp.lu_solve(system, right)
        coefficients = [solution[j] for j in range(terms)]
        level = abs(solution[terms])
        error = [
            (t - x**first * polynomial(coefficients, x)) * w
            for t, w, x in zip(target, weight, grid, strict=True)
        ]
        new = _alternation(error, terms + 1)
        if new is None or max(abs(e) for e in error) <= level * mpf("1.001"):
            break
        chosen = new
    return coefficients


def _alternation(error: Sequence[mpf], wanted: int) -> list[int] | None:
    """Return the indices of `wanted` extremes of alternating sign, or None if there are fewer."""
    extremes: list[int] = []
    for i, e in enumerate(error):
        if extremes and (e > 0) == (error[extremes[-1]] > 0):
            if abs(e) > abs(error[extremes[-1]]):
                extremes[-1] = i
        else:
            extremes.append(i)
    while len(extremes) > wanted:
        surplus = len(extremes) - wanted
        if surplus == 1 or abs(error[extremes[0]]) < abs(error[extremes[-1]]):
            end = 0 if abs(error[extremes[0]]) < abs(error[extremes[-1]]) else -1
            extremes.pop(end)
        else:
            extremes.pop()
    return extremes if len(extremes) == wanted else None


def fit(task: Fit, kind: str) -> tuple[list[mpf], mpf]:
    """Return the rounded coefficients of a polynomial and its largest weighted error."""
    terms, bits = task.terms[kind], BITS[kind]
    points = 60 * terms + 200
    middle, half = (task.high + task.low) / 2, (task.high - task.low) / 2
    grid = [middle - half * mp.cos(mp.pi * (i + mpf("0.5")) / points) for i in range(points)]
    target = [task.target(x) for x in grid]
    weight = [task.weight(x) for x in grid]
    rest = list(target)
    result: list[mpf] = []
    for first in range(terms):
        best = remez(rest, weight, grid, first, terms - first)
        # Rounding the high terms hardly moves the error: take them all at once.
        take = len(best) if first >= 4 or task.together else 1
        for offset in range(take):
            result.append(rounded(best[offset], bits))
            rest = [r - result[-1] * x ** (first + offset) for r, x in zip(rest, grid, strict=True)]
        if len(result) == terms:
            break
    return result, max(abs(r * w) for r, w in zip(rest, weight, strict=True))


def parts(task: Parts, kind: str) -> list[mpf]:
    """Cut a constant into parts that add up to it."""
    rest, found = task.value, []
    for bits in task.bits[kind]:
        found.append(rounded(rest, bits))
        rest -= found[-1]
    return found


def literal(value: mpf, kind: str) -> str:
    """Write a number as a C hexadecimal literal of its type."""
    text = float(value).hex()
    if "." in text:
        head, exponent = text.split("p")
        head = head.rstrip("0")
        text = head.removesuffix(".") + "p" + exponent
    return text.replace("p+", "p") + ("f" if kind == "f32" else "")


SQRT2 = mp.sqrt(2)
QUARTER = (mp.pi / 4 * mpf("1.002")) ** 2  # a little more than the reduced range, for its rounding
HALF_LN2 = mp.log(2) / 2 * mpf("1.002")
HALF_TURN = (mp.pi / 2 * mpf("1.004")) ** 2
HALF = mpf("0.501")
TINY = mpf(2) ** -40
EIGHTH = mp.tan(mp.pi / 8) ** 2 * mpf("1.001")
S2 = ((SQRT2 - 1) / (SQRT2 + 1)) ** 2 * mpf("1.001")


def _sin(z: mpf) -> mpf:
    return mp.sin(mp.sqrt(z)) / mp.sqrt(z)


def _atan(z: mpf) -> mpf:
    return mp.atan(mp.sqrt(z)) / mp.sqrt(z)


def _asin(z: mpf) -> mpf:
    return mp.asin(mp.sqrt(z)) / mp.sqrt(z)


def _atanh(z: mpf) -> mpf:
    return mp.atanh(mp.sqrt(z)) / mp.sqrt(z)


FITS = (
    Fit("SIN", "trigonometric.h", "(sin(x)/x - 1) / z, z = x*x, |x| <= pi/4",
        lambda z: (_sin(z) - 1) / z, lambda z: z / _sin(z), TINY, QUARTER, {"f32": 4, "f64": 7},
        apart=True),
    Fit("COS", "trigonometric.h", "(cos(x) - 1 + z/2) / z^2, z = x*x, |x| <= pi/4",
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
        lambda z: z**2 / mp.cos(mp.sqrt(z)), TINY, QUARTER, {"f32": 3, "f64": 6}),
    Fit("ATAN", "trigonometric.h", "(atan(x)/x - 1) / z, z = x*x, |x| <= tan(pi/8)",
        lambda z: (_atan(z) - 1) / z, lambda z: z / _atan(z), TINY, EIGHTH, {"f32": 5, "f64": 12}),
    Fit("ASIN", "trigonometric.h", "(asin(x)/x - 1) / z, z = x*x, |x| <= 1/2",
        lambda z: (_asin(z) - 1) / z, lambda z: z / _asin(z), TINY, mpf("0.2503"),
        {"f32": 5, "f64": 12}),
    Fit("EXP", "exponential.h", "(exp(x) - 1 - x - x^2/2) / x^3, |x| <= log(2)/2",
        lambda x: (mp.exp(x) - 1 - x - x**2 / 2) / x**3, lambda x: x**3 / mp.exp(x),
        -HALF_LN2, HALF_LN2, {"f32": 5, "f64": 10}),
    Fit("LOG", "exponential.h", "(log(1+x) - x + x^2/2) / x^3, sqrt(1/2) <= 1+x <= sqrt(2)",
        lambda x: (mp.log1p(x) - x + x**2 / 2) / x**3, lambda x: x**3 / mp.log1p(x),
        1 / SQRT2 - 1 - mpf("1e-7"), SQRT2 - 1 + mpf("1e-7"), {"f32": 10}),
    Fit("LOG", "exponential.h", "(2*atanh(s)/s - 2) / z, z = s*s, s = x / (2+x)",
        lambda z: 2 * (_atanh(z) - 1) / z, lambda z: z / _atanh(z) / 2, TINY, S2, {"f64": 7}),
    Fit("LOG_TAIL", "power.h", "(atanh(s)/s - 1 - z/3) / z^2, z = s*s",
        lambda z: (_atanh(z) - 1 - z / 3) / z**2, lambda z: z**2, TINY, S2, {"f32": 3}),
    Fit("LOG_TAIL", "power.h", "(atanh(s)/s - 1 - z/3 - z^2/5) / z^3, z = s*s",
        lambda z: (_atanh(z) - 1 - z / 3 - z**2 / 5) / z**3, lambda z: z**3, TINY, S2, {"f64": 8}),
    Fit("CBRT", "power.h", "x^(-1/3), 1 <= x <= 2",
        lambda x: mp.cbrt(1 / x), mp.cbrt, mpf(1), mpf(2), {"f32": 4, "f64": 6}),
    # Fast functions: an error far below the last bit would be wasted beside those of rounding.
    Fit("FAST_SIN", "fast.h", "(sin(x)/x - 1) / z, z = x*x, |x| <= pi/2",
        lambda z: (_sin(z) - 1) / z, lambda z: z / _sin(z), TINY, HALF_TURN, {"f32": 4, "f64": 8}),
    Fit("FAST_EXP", "fast.h", "(exp(x) - 1) / x, |x| <= log(2)/2",
        lambda x: mp.expm1(x) / x, lambda x: abs(x) / mp.exp(x), -HALF_LN2, HALF_LN2,
        {"f32": 5, "f64": 10}, together=True),
    Fit("FAST_EXP2", "fast.h", "(2^x - 1) / x, |x| <= 1/2",
        lambda x: mp.expm1(x * mp.log(2)) / x, lambda x: abs(x) / mpf(2) ** x, -HALF, HALF,
        {"f32": 5, "f64": 10}, together=True),
    Fit("FAST_EXPM1", "fast.h", "((exp(2*x) - 1) / x - 2) / x, |x| <= log(2)/4",
        lambda x: (mp.expm1(2 * x) / x - 2) / x, lambda x: abs(x) * x / mp.expm1(2 * x),
        -HALF_LN2 / 2, HALF_LN2 / 2, {"f32": 5, "f64": 10}, together=True),
    Fit("FAST_LOG", "fast.h", "(log(1+x)/x - 1) / x, sqrt(1/2) <= 1+x <= sqrt(2)",
        lambda x: (mp.log1p(x) / x - 1) / x, lambda x: abs(x) * x / mp.log1p(x),
        1 / SQRT2 - 1 - mpf("1e-7"), SQRT2 - 1 + mpf("1e-7"), {"f32": 8}, together=True),
    Fit("FAST_LOG", "fast.h", "(2*atanh(s)/s - 2) / z, z = s*s, s = x / (2+x)",
        lambda z: 2 * (_atanh(z) - 1) / z, lambda z: z / _atanh(z) / 2, TINY, S2, {"f64": 7}),
    Fit("FAST_LOG2", "fast.h", "log2(1+x) / x, sqrt(1/2) <= 1+x <= sqrt(2)",
        lambda x: mp.log1p(x) / x / mp.log(2), lambda x: x / mp.log1p(x) * mp.log(2),
        1 / SQRT2 - 1 - mpf("1e-7"), SQRT2 - 1 + mpf("1e-7"), {"f32": 9}, together=True),
    Fit("FAST_LOG2", "fast.h", "2*atanh(s)/s/log(2), z = s*s, s = x / (2+x)",
        lambda z: 2 * _atanh(z) / mp.log(2), lambda z: mp.log(2) / _atanh(z) / 2, TINY, S2,
        {"f64": 8}),
    Fit("FAST_ATAN", "fast.h", "(atan(x)/x - 1) / z, z = x*x, |x| <= 1",
        lambda z: (_atan(z) - 1) / z, lambda z: z / _atan(z), TINY, mpf("1.001"), {"f32": 8, "f64": 19}),
)  # fmt: skip

PARTS = (
    # 11 + 11 bits times k < 2^9 leave an exact difference (see hl_reduce_f32); f64 likewise, 2^20.
    Parts("HALF_PI", "trigonometric.h", mp.pi / 2,
        {"f32": (11, 11, 15, 24), "f64": (25, 25, 33, 53)}),
    Parts("PI_2", "trigonometric.h", mp.pi / 2, {"f32": (24, 24), "f64": (53, 53)}),
    Parts("PI_3_4", "trigonometric.h", mp.pi * 3 / 4, {"f32": (24, 24), "f64": (53, 53)}),
    Parts("TWO_OVER_PI", "trigonometric.h", 2 / mp.pi, {"f32": (24,), "f64": (53,)}),
    # times |k| <= 2^8 (2^11): exact
    Parts("LN2", "exponential.h", mp.log(2), {"f32": (16, 24), "f64": (42, 53)}),
    Parts("LN2_FULL", "exponential.h", mp.log(2), {"f32": (24, 24), "f64": (53, 53)}),
    Parts("LOG2_E", "exponential.h", 1 / mp.log(2), {"f32": (24, 24), "f64": (53, 53)}),
    Parts("LOG10_E", "exponential.h", 1 / mp.log(10), {"f32": (24, 24), "f64": (53, 53)}),
    Parts("LOG10_2", "exponential.h", mp.log10(2), {"f32": (16, 24), "f64": (42, 53)}),
    Parts("THIRD", "power.h", mpf(1) / 3, {"f32": (24, 24), "f64": (53, 53)}),
    Parts("FIFTH", "power.h", mpf(1) / 5, {"f64": (53, 53)}),
    Parts("CBRT_HALF", "power.h", mp.cbrt(mpf(1) / 2), {"f32": (24,), "f64": (53,)}),
    # all parts positive: a difference of zeros keeps the sign of the argument
    Parts("FAST_PI", "fast.h", mp.pi, {"f32": (23, 23, 24), "f64": (53, 52, 53)}),
    Parts("FAST_PER_PI", "fast.h", 1 / mp.pi, {"f32": (24,), "f64": (53,)}),
    Parts("FAST_HALF_LN2", "fast.h", mp.log(2) / 2, {"f32": (24,), "f64": (53,)}),
    Parts("FAST_TWICE_LOG2_E", "fast.h", 2 / mp.log(2), {"f32": (24,), "f64": (53,)}),
    Parts("CBRT_QUARTER", "power.h", mp.cbrt(mpf(1) / 4), {"f32": (24,), "f64": (53,)}),
)  # fmt: skip


def _wrapped(head: str, items: Sequence[str]) -> str:
    """Lay out a macro over lines of at most 100 columns."""
    lines, line = [], head
    for i, item in enumerate(items):
        text = item + ("," if i + 1 < len(items) else "")
        if len(line) + len(text) + 3 > 100:
            lines.append(line + " \\")
            line = "   "
        line += " " + text
    return "\n".join([*lines, line])


def two_over_pi_words(words: int) -> list[str]:
    """Return the bits of 2/pi after the point as 32-bit words, highest first."""
    with mp.workdps(words * 10 + 50):
        rest, found = 2 / mp.pi, []
        for _ in range(words):
            rest *= 2**32
            found.append(f"0x{int(rest):08x}u")
            rest -= int(rest)
    return found


def block(header: str) -> str:
    """Return the generated block of one header."""
    lines = [BEGIN]
    for constant in (p for p in PARTS if p.header == header):
        for kind in constant.bits:
            cut = parts(constant, kind)
            for i, part in enumerate(cut):
                suffix = f"_{i}" if len(cut) > 1 else ""
                name = f"HL_{constant.name}{suffix}_{kind.upper()}"
                lines.append(f"#define {name} {literal(part, kind)}")
    for task in (f for f in FITS if f.header == header):
        for kind in task.terms:
            values, error = fit(task, kind)
            size = mp.nstr(mp.log(error, 2), 4)
            lines.append(f"/* {task.meaning}: error 2^{size} */")
            head, words = f"#define HL_{task.name}", [literal(value, kind) for value in values]
            if task.apart:
                lines.append(f"{head}_FIRST_{kind.upper()} {words.pop(0)}")
            lines.append(_wrapped(f"{head}_{kind.upper()}", words))
    if header == "trigonometric.h":
        for kind, zeros, words in (("F32", 1, 7), ("F64", 2, 37)):
            table = ["0u"] * zeros + two_over_pi_words(words)
            lines.append(_wrapped(f"#define HL_TWO_OVER_PI_{kind}_WORDS", table))
    return "\n".join([*lines, END])


def write(directory: Path) -> None:
    """Replace the generated block of every header in a directory."""
    for header in sorted({task.header for task in (*FITS, *PARTS)}):
        path = directory / header
        before, rest = path.read_text().split(BEGIN)
        path.write_text(before + block(header) + rest.split(END)[1])


def main(arguments: Sequence[str]) -> None:
    """Print or write the generated blocks."""
    if arguments[:1] == ["--write"]:
        write(Path(arguments[1]))
        return
    for header in sorted({task.header for task in (*FITS, *PARTS)}):
        sys.stdout.write(f"/* {header} */\n{block(header)}\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
