"""Small procedures for tests of what executes them: for each a name, the procedure, and arguments of a given size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from hotloop.dtypes import COMPUTE, DType, bool_, float32, float64, int32, int64
from hotloop.ir.graph import Body, Node, constant, convert, exact_numbers, param_node
from hotloop.ir.loop import build_loop
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import (
    Alias,
    Allocate,
    Compute,
    Copy,
    Fault,
    Filter,
    Fold,
    If,
    Inner,
    Operator,
    Procedure,
    Reduce,
    Scan,
    Scatter,
    Sort,
    SortBy,
    Step,
    Store,
    Sweep,
    While,
    array_register,
    at,
)
from hotloop.ops.algebra import call
from hotloop.ops.shape import length_of
from hotloop.passes.sweeps.reference import execute

Make = Callable[[int], list[Any]]
SIZES = (0, 1, 2, 31, 32, 33, 1000)
LARGE = 40000  # more than one chunk, where elements are cheap
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-320, 3e38]


def sample(dtype: DType, size: int, seed: int = 0, special: bool = True) -> np.ndarray:
    chance = np.random.default_rng([size, seed])
    if dtype is bool_:
        return chance.random(size) < 0.4
    if dtype.is_int:
        return chance.integers(*dtype.limits, size, dtype.numpy, endpoint=True)
    found = chance.normal(size=size).astype(dtype.numpy)
    if special and size:
        with np.errstate(all="ignore"):
            found[chance.integers(0, size, size // 7)] = np.array(SPECIAL, dtype.numpy)[chance.integers(0, len(SPECIAL), size // 7)]
    return found


def assert_bits(got: np.ndarray, want: np.ndarray) -> None:
    """All bits agree, but for the payloads of NaN."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    assert np.array_equal(got, want, equal_nan=got.dtype.kind == "f"), (got, want)
    if got.dtype.kind == "f":
        assert np.array_equal(np.signbit(got) & (got == got), np.signbit(want) & (want == want))


def index() -> Node:
    return param_node(int64, ())


def scalar(dtype: DType) -> Node:
    return param_node(dtype, ())


def number(value: Any, dtype: DType) -> Node:
    return constant(value, dtype, structural=False)


def operator(dtypes: Sequence[DType], combine: Callable[..., Sequence[Node]]) -> Operator:
    left, right = [tuple([scalar(dtype) for dtype in dtypes]) for _ in range(2)]
    return Operator(left, right, tuple(combine(*left, *right)))


def row(name: str, dtype: DType) -> Operator:
    return operator([dtype], lambda x, y: [call(name, x, y)])


def affine(dtype: DType) -> Operator:
    """Composition of functions a x + b: associative, not commutative."""
    return operator([dtype, dtype], lambda a, b, c, d: [a * c, c * b + d])


def largest(dtype: DType) -> Operator:
    def pick(x: Node, i: Node, y: Node, j: Node) -> list[Node]:
        other = y > x
        return [call("select", other, y, x), call("select", other, j, i)]

    return operator([dtype, int64], pick)


def repeated(trips: Node, start: Node, step: Callable[[Node], Node]) -> Node:
    """A while loop of some trips."""
    count, value = scalar(int64), scalar(start.dtype)
    body = Body((count, value), (count - number(1, int64), step(value)), None, None, count > number(0, int64))
    return build_loop([trips, start], body)[1]


def sizes(name: str) -> list[int]:
    """Return the sizes to test; the reference is slow where operators are executed one by one."""
    return [*SIZES, 3000 if name.startswith(("while", "reduce")) else LARGE]


PROCEDURES: dict[str, tuple[Procedure, Make]] = {}


@cache
def expected(name: str, size: int) -> list[np.ndarray]:
    """Return what the reference gives."""
    procedure, make = PROCEDURES[name]
    return execute(procedure, make(size))


def define(name: str, inputs: Sequence[Node], steps: list[Step], results: Sequence[Node], make: Make) -> None:
    PROCEDURES[name] = Procedure(tuple(inputs), steps, tuple(results)), make


def over(count: Node, make: Callable[[Node], Sequence[Any]], inner: Callable[[Node], Inner] | None = None) -> Sweep:
    i = index()
    return Sweep(count, i, tuple(make(i)), inner(i) if inner else None)


# ------------------------------------------------------------------------------------------------ element-wise


def _maps(dtype: DType) -> None:
    a, x, y, z, b = scalar(dtype), array_register(dtype), array_register(dtype), array_register(dtype), array_register(bool_)
    n = length_of(x, (0,))

    def effects(i: Node) -> list[Any]:
        u, v = at(x, i), at(y, i)
        value = call("xor", u, call("and", a, v)) if dtype is bool_ else a * u + v
        return [Store(z, i, value), Store(b, i, u < v)]

    define(
        f"map {dtype}", (a, x, y), [Allocate(z, n), Allocate(b, n), over(n, effects)], (z, b),
        lambda size: [sample(dtype, 1, 9)[0], sample(dtype, size, 1), sample(dtype, size, 2)],
    )  # fmt: skip


def _mixed() -> None:
    x, y, c, z, w, v = [array_register(dtype) for dtype in (float32, float64, bool_, float64, int32, int64)]
    n = length_of(x, (0,))

    def effects(i: Node) -> list[Any]:
        chosen = call("select", at(c, i), convert(at(x, i), float64), at(y, i))
        return [
            Store(z, i, chosen + convert(i, float64)), Store(w, i, convert(at(x, i), int32) + convert(i, int32)),
            Store(v, i, i * i - convert(at(c, i), int64)),
        ]  # fmt: skip

    define(
        "map of mixed types", (x, y, c), [Allocate(z, n), Allocate(w, n), Allocate(v, n), over(n, effects)], (z, w, v),
        lambda size: [sample(float32, size), sample(float64, size), sample(bool_, size)],
    )  # fmt: skip


def _elementary() -> None:
    x, z = array_register(float64), array_register(float64)
    n = length_of(x, (0,))
    define(
        "map of elementary functions", (x,),
        [Allocate(z, n), over(n, lambda i: [Store(z, i, call("sin", at(x, i)) / call("exp", at(x, i)))])], (z,),
        lambda size: [sample(float64, size)],
    )  # fmt: skip


def _shifts(dtype: DType) -> None:
    x, z, w, a, d = array_register(dtype), array_register(dtype), array_register(dtype), scalar(int64), scalar(dtype)
    n = length_of(x, (0,))

    def effects(i: Node) -> list[Any]:
        place = i + a
        inside = call("and", place >= number(0, int64), place < n)
        left, right = at(x, i - number(1, int64)), at(x, i + number(1, int64))
        zero = number(0, dtype)
        ends = call("select", i > number(0, int64), left, zero), call("select", i < n - number(1, int64), right, zero)
        joined = call("xor", *ends) if dtype is bool_ else ends[0] + ends[1]
        return [Store(z, i, call("select", inside, at(x, place), d)), Store(w, i, joined)]

    define(
        f"shift {dtype}", (x, a, d), [Allocate(z, n), Allocate(w, n), over(n, effects)], (z, w),
        lambda size: [sample(dtype, size), (size % 7) * (-1) ** size * 3, sample(dtype, 1, 5)[0]],
    )  # fmt: skip


def _concat() -> None:
    x, y, z = [array_register(float32) for _ in range(3)]
    n, m = length_of(x, (0,)), length_of(y, (0,))
    define(
        "concat", (x, y), [Allocate(z, n + m), over(n + m, lambda i: [Store(z, i, call("select", i < n, at(x, i), at(y, i - n)))])], (z,),
        lambda size: [sample(float32, size), sample(float32, size // 3, 1)],
    )  # fmt: skip


def _reverse() -> None:
    x, y, z, w = [array_register(dtype) for dtype in (float64, int32, float64, int32)]
    n = length_of(x, (0,))

    def effects(i: Node) -> list[Any]:
        place = n - number(1, int64) - i
        return [Store(z, i, at(x, place)), Store(w, place, at(y, i))]

    define(
        "reverse", (x, y), [Allocate(z, n), Allocate(w, n), over(n, effects)], (z, w),
        lambda size: [sample(float64, size), sample(int32, size)],
    )  # fmt: skip


def _gather(dtype: DType, places: DType) -> None:
    x, k, z, bad = array_register(dtype), array_register(places), array_register(dtype), scalar(bool_)
    n, m = length_of(k, (0,)), length_of(x, (0,))

    def effects(i: Node) -> list[Any]:
        place = convert(at(k, i), int64)
        outside = call("or", place < number(0, int64), place >= m)
        return [Store(z, i, at(x, place)), Fold(bad, REGISTRY["or"], outside)]

    def make(size: int) -> list[Any]:
        chosen = np.random.default_rng(size).integers(-2 if size % 2 else 0, size // 2 + 1 + (size % 2), size)
        return [sample(dtype, size // 2 + 1), chosen.astype(places.numpy)]

    define(f"gather {dtype} by {places}", (x, k), [Allocate(z, n), over(n, effects)], (z, bad), make)


# ------------------------------------------------------------------------------------------------ reductions


def _folds(dtype: DType) -> None:
    x = array_register(dtype)
    names = ("or", "and") if dtype is bool_ else ("add", "mul", "minimum", "maximum")
    into = [scalar(dtype) for _ in names]
    n = length_of(x, (0,))
    define(
        f"folds of {dtype}", (x,), [over(n, lambda i: [Fold(r, REGISTRY[name], at(x, i)) for r, name in zip(into, names, strict=True)])],
        into, lambda size: [sample(dtype, size, special=size < 100)],
    )  # fmt: skip


def _dot() -> None:
    x, y, s, m, z = array_register(float32), array_register(float32), scalar(float32), scalar(float64), array_register(float32)
    n = length_of(x, (0,))

    def effects(i: Node) -> list[Any]:
        product = at(x, i) * at(y, i)
        return [Fold(s, REGISTRY["add"], product), Fold(m, REGISTRY["maximum"], convert(at(x, i), float64)), Store(z, i, product)]

    define(
        "dot", (x, y), [Allocate(z, n), over(n, effects)], (s, m, z),
        lambda size: [sample(float32, size, special=False), sample(float32, size, 1, special=False)],
    )  # fmt: skip


def _reduces(dtype: DType) -> None:
    x, start, keep = array_register(dtype), scalar(dtype), array_register(bool_)
    n = length_of(x, (0,))
    one = number(1, dtype)
    parts = [scalar(dtype) for _ in range(9)]
    best = scalar(dtype), scalar(int64)

    def effects(i: Node) -> list[Any]:
        v = at(x, i)
        return [
            Reduce((parts[0],), row("add", dtype), (v,), (start,)), Reduce((parts[1],), row("minimum", dtype), (v,), (start,), at(keep, i)),
            Reduce((parts[2], parts[3]), affine(dtype), (v, one), (start, v if v.is_const else start)),
            Reduce((parts[4], parts[5]), affine(dtype), (v, v), (one, start), at(keep, i)),
            Fold(parts[6], REGISTRY["add"], v), Fold(parts[7], REGISTRY["maximum"], v),
            Reduce(best, largest(dtype), (v, i), (start, number(-1, int64))),
        ]  # fmt: skip

    define(
        f"reduce {dtype} with inits", (x, start, keep), [over(n, effects)], (*parts[:8], *best),
        lambda size: [sample(dtype, size, special=False), sample(dtype, 1, 3, special=False)[0], sample(bool_, size, 4) & (size != 33)],
    )  # fmt: skip


def _first() -> None:
    x = array_register(float64)
    best, composed, total = (scalar(float64), scalar(int64)), (scalar(float64), scalar(float64)), scalar(float64)
    n = length_of(x, (0,))

    def effects(i: Node) -> list[Any]:
        v = at(x, i)
        whole = Fold(total, REGISTRY["add"], v)
        return [Reduce(best, largest(float64), (v, i), None), Reduce(composed, affine(float64), (v, v), None), whole]

    define(
        "reduce without inits", (x,), [over(n, effects)], (*best, *composed, total),
        lambda size: [sample(float64, max(size, 1), special=False)],
    )  # fmt: skip


# --------------------------------------------------------------------------------------- scans, filters, scatters


def _scans(dtype: DType) -> None:
    x, start = array_register(dtype), scalar(dtype)
    outs = [array_register(dtype) for _ in range(5)]
    bad, total = scalar(bool_), scalar(dtype)
    n = length_of(x, (0,))
    steps: list[Step] = [Allocate(out, n) for out in outs]
    zero = number(False if dtype is bool_ else 0, dtype)
    name = "or" if dtype is bool_ else "add"
    steps += [
        over(n, lambda i: [Scan((outs[0],), i, row(name, dtype), (at(x, i),), None, False), Fold(bad, REGISTRY["or"], at(x, i) < zero)]),
        over(n, lambda i: [Scan((outs[1],), i, row(name, dtype), (at(x, i),), (start,), True), Fold(total, REGISTRY[name], at(x, i))]),
        over(n, lambda i: [Scan((outs[2],), n - i - number(1, int64), row(name, dtype), (at(x, n - i - number(1, int64)),), None, False)]),
    ]
    if dtype is not bool_:
        steps += [
            over(n, lambda i: [Scan((outs[3], outs[4]), i, affine(dtype), (at(x, i), number(1, dtype)), None, False)]),
        ]
    define(
        f"scan {dtype}", (x, start), steps, (*outs[: 3 if dtype is bool_ else 5], bad, total),
        lambda size: [sample(dtype, size, special=False), sample(dtype, 1, 3, special=False)[0]],
    )  # fmt: skip


def _exclusive_affine() -> None:
    x, a, b = array_register(float32), array_register(float32), array_register(float32)
    n = length_of(x, (0,))
    inits = number(1, float32), number(0, float32)
    define(
        "exclusive scan of pairs", (x,),
        [Allocate(a, n), Allocate(b, n), over(n, lambda i: [Scan((a, b), i, affine(float32), (at(x, i), at(x, i)), inits, True)])], (a, b),
        lambda size: [sample(float32, size, special=False)],
    )  # fmt: skip


def _filter(dtype: DType) -> None:
    x, y, z, kept, bad = array_register(dtype), array_register(dtype), array_register(int64), scalar(int64), scalar(bool_)
    c = array_register(bool_)
    n = length_of(x, (0,))

    def effects(i: Node) -> list[Any]:
        return [Filter((y, z), at(c, i), (at(x, i), i), kept), Fold(bad, REGISTRY["or"], at(c, i))]

    define(f"filter {dtype}", (x, c), [over(n, effects)], (y, z, kept, bad), lambda size: [sample(dtype, size), sample(bool_, size, 1)])


def _scatters() -> None:
    x, k, keep = array_register(float64), array_register(int64), array_register(bool_)
    base = array_register(float64)
    outs = [array_register(float64) for _ in range(5)]
    n, m = length_of(x, (0,)), length_of(base, (0,))
    steps: list[Step] = [Copy(out, base) for out in outs]

    def looped(x: Node, y: Node) -> list[Node]:
        trips = call("select", y > number(0, float64), number(3, int64), number(1, int64))
        return [repeated(trips, x, lambda v: v * number(0.5, float64) + y)]

    bad = scalar(bool_)
    one = number(1, float64)
    steps += [
        over(n, lambda i: [Scatter((outs[0],), at(k, i), (at(x, i),)), Fold(bad, REGISTRY["or"], at(k, i) >= m)]),
        over(n, lambda i: [Scatter((outs[1],), at(k, i), (at(x, i),), at(keep, i))]),
        over(n, lambda i: [Scatter((outs[2],), at(k, i), (at(x, i),), at(keep, i), row("add", float64))]),
        over(n, lambda i: [Scatter((outs[3],), at(k, i), (one,), at(keep, i), operator([float64], looped))]),
        over(n, lambda i: [Scatter((outs[4],), at(k, i), (one,), None, row("add", float64))]),
    ]

    def make(size: int) -> list[Any]:
        chosen = np.random.default_rng(size).integers(0, size // 3 + 2, size)
        return [sample(float64, size), chosen, sample(bool_, size), sample(float64, size // 3 + 1, 7)]

    define("scatter", (x, k, keep, base), steps, (*outs, bad), make)


# ------------------------------------------------------------------------------------------------- loops inside


def _loops() -> None:
    x, z, s, table = array_register(int64), array_register(int64), scalar(float64), array_register(float64)
    n = length_of(x, (0,))

    def collatz(start: Node) -> Node:
        value, steps = scalar(int64), scalar(int64)
        odd = call("and", value, number(1, int64)).__and__(number(1, int64))
        following = call("select", call("eq", odd, number(1, int64)), value * 3 + 1, call("rshift", value, number(1, int64)))
        more = call("and", value > number(1, int64), steps < number(50, int64))
        return build_loop([start, number(0, int64)], Body((value, steps), (following, steps + 1), None, None, more))[1]

    def looked_up(i: Node) -> Node:
        place, total = scalar(int64), scalar(float64)
        body = Body((place, total), (place - 2, total + at(table, place)), None, None, place > number(-3, int64))
        return build_loop([call("and", i, number(15, int64)), number(0, float64)], body)[1]

    def effects(i: Node) -> list[Any]:
        trips = call("and", at(x, i), number(63, int64))
        nested = repeated(call("and", i, number(3, int64)), number(1.5, float64), lambda v: v + looked_up(i) * v)
        return [Store(z, i, collatz(trips)), Fold(s, REGISTRY["add"], nested)]

    define(
        "while", (x, table), [Allocate(z, n), over(n, effects)], (z, s),
        lambda size: [sample(int64, size), sample(float64, 10, special=False)],
    )  # fmt: skip


def _loops_in_operators() -> None:
    x, z, y, keep = [array_register(dtype) for dtype in (int64, int64, int64, bool_)]
    total, kept = scalar(int64), scalar(int64)
    n = length_of(x, (0,))

    def greatest_divisor(x: Node, y: Node) -> list[Node]:
        a, b = scalar(int64), scalar(int64)
        zero = number(0, int64)
        return [build_loop([x, y], Body((a, b), (b, call("mod", a, b)), None, None, call("ne", b, zero)))[0]]

    def effects(i: Node) -> list[Any]:
        return [Reduce((total,), operator([int64], greatest_divisor), (at(x, i),), (number(0, int64),), at(keep, i))]

    def scanned(i: Node) -> list[Any]:
        return [Scan((z,), i, operator([int64], greatest_divisor), (at(x, i),), None, False)]

    def filtered(i: Node) -> list[Any]:
        doubled = repeated(number(3, int64), at(x, i), lambda v: v + v)
        return [Filter((y,), at(keep, i), (doubled,), kept)]

    define(
        "while in operators", (x, keep), [Allocate(z, n), over(n, effects), over(n, scanned), over(n, filtered)], (total, z, y, kept),
        lambda size: [np.random.default_rng(size).integers(1, 50, size) * 60, sample(bool_, size)],
    )  # fmt: skip


def _rows() -> None:
    x, z, w, starts, v, bad = [array_register(dtype) for dtype in (float64, float64, float64, int64, float64)] + [scalar(bool_)]
    columns, rows, j, k = scalar(int64), scalar(int64), index(), index()

    def effects(i: Node) -> list[Any]:
        place = i * columns + j
        v = at(x, place)
        return [Store(z, place, v * convert(i, float64)), Store(w, j * rows + i, v), Fold(bad, REGISTRY["or"], v > number(2, float64))]

    def ragged(i: Node) -> list[Any]:
        return [Store(v, k, at(x, k) + convert(i, float64))]

    one, zero = number(1, int64), number(0, int64)
    size = rows * columns
    define(
        "rows", (x, rows, columns, starts),
        [
            Allocate(z, size), Allocate(w, size), Allocate(v, size), over(size, lambda i: [Store(v, i, number(0, float64))]),
            over(rows, effects, lambda i: Inner(j, zero, columns)),
            over(length_of(starts, (0,)) - one, ragged, lambda i: Inner(k, at(starts, i), at(starts, i + one))),
        ],
        (z, w, v, bad),
        lambda size: [
            sample(float64, (size // 7 + 1) * 7, special=False), size // 7 + 1, 7,
            np.sort(np.random.default_rng(size).integers(0, size + 1, size // 5 + 2)),
        ],
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- control


def _control() -> None:
    x, y, z = [array_register(float64) for _ in range(3)]
    s, k, go = scalar(float64), scalar(int64), scalar(bool_)
    order, ordered, by = array_register(int64), array_register(float64), array_register(int64)
    n = length_of(x, (0,))
    first, second = scalar(int64), scalar(int64)
    half = number(0.5, float64)
    three = number(3, int64)
    small = over(n, lambda i: [Fold(s, REGISTRY["add"], at(y, i))])
    body: list[Step] = [
        Allocate(z, n), over(n, lambda i: [Store(z, i, at(y, i) * half + at(x, i))]), Alias((y, z), (z, y)), Compute((k,), (k + 1,)),
        If(call("eq", call("and", k, number(1, int64)), number(1, int64)), [Copy(z, y), Alias((y,), (z,))], [small]),
    ]  # fmt: skip
    define(
        "control", (x,),
        [
            Compute((k,), (number(0, int64),)), Alias((y,), (x,)), Compute((s,), (half,)), While([Compute((go,), (k < three,))], go, body),
            Sort((x,), (False,), (ordered,), order), SortBy(n, first, second, at(x, first) > at(x, second), by),
            Fault(call("and", n > number(10_000_000, int64), go), 3, (n,)), small,
        ],
        (y, s, k, ordered, order, by), lambda size: [sample(float64, min(size, 300), special=False)],
    )  # fmt: skip


def _divided() -> None:
    """Conditions that divide the elements, with folds and flags beside; another that no version knows."""
    x, y, z, w = [array_register(dtype) for dtype in (float32, float32, float32, float64)]
    middle, total, any_of, largest_of, k = scalar(int64), scalar(float32), scalar(bool_), scalar(int64), scalar(float32)
    n = length_of(x, (0,))

    def effects(i: Node) -> list[Any]:
        value = call("select", i < middle, at(x, i) + at(y, i + number(3, int64)), at(x, n - number(1, int64) - i))
        other = call("select", call("eq", i, middle), number(7, float64), convert(i, float64))
        value = value * (call("select", i < n, k, number(2, float32)) * k)  # one side of it is the same at every element
        return [Store(z, i, value), Store(w, i, other), Fold(any_of, REGISTRY["or"], value > number(2, float32))]

    def folded(i: Node) -> list[Any]:
        value = call("select", i >= middle, at(x, i), at(y, i + middle))
        return [Fold(total, REGISTRY["add"], value), Fold(largest_of, REGISTRY["maximum"], i * number(3, int64) - middle)]

    define(
        "divided", (x, y, middle, k), [Allocate(z, n), Allocate(w, n), over(n, effects), over(n, folded)],
        (z, w, total, any_of, largest_of),
        lambda size: [sample(float32, size, special=False), sample(float32, size // 2 + 3, 1, special=False), size // 3, 1.5],
    )  # fmt: skip


def _while_in_lanes(dtype: DType, places: DType) -> None:
    """Loops whose lanes end one by one, nested, with loads and choices inside; elements outside of the sweep would never end."""
    x, table, z, kept = [array_register(each) for each in (dtype, places, dtype, dtype)]
    count, bad = scalar(int64), scalar(bool_)
    n = length_of(x, (0,))
    zero, one = number(0, int64), number(1, int64)

    def effects(i: Node) -> list[Any]:
        value, place, flag = scalar(dtype), scalar(int64), scalar(bool_)
        step = convert(at(table, place), int64)
        inner = repeated(step, value, lambda v: v + number(1, dtype))
        go = call("and", call("ne", place, zero), call("invert", flag))
        body = Body((value, place, flag), (inner, place - one, inner > number(40, dtype)), None, None, go)
        # starts at 0 only where i is 0; at -1 it would run for long
        start = call("select", i < n, call("and", i, number(15, int64)), number(-1, int64))
        ends = build_loop([at(x, i), start, number(False, bool_)], body)
        return [Store(z, i, ends[0]), Fold(bad, REGISTRY["or"], ends[2])]

    def filtered(i: Node) -> list[Any]:
        trips = convert(call("and", i, number(3, int64)), int64)
        return [Filter((kept,), repeated(trips, at(x, i), lambda v: v + v) > number(1, dtype), (at(x, i),), count)]

    define(
        f"while in lanes of {dtype}", (x, table), [Allocate(z, n), over(n, effects), over(n, filtered)], (z, bad, kept, count),
        lambda size: [sample(dtype, size, special=False) if dtype.is_float else np.arange(size, dtype=dtype.numpy), np.arange(15) % 5],
    )  # fmt: skip


def _rows_read_across() -> None:
    """Inner loops with neighbours, sums of rows in loops, and rows that are reversed."""
    x, z, w = array_register(float32), array_register(float32), array_register(float32)
    rows, columns, j = scalar(int64), scalar(int64), index()
    one = number(1, int64)

    def effects(i: Node) -> list[Any]:
        place = i * columns + j
        left = call("select", j > number(0, int64), at(x, place - one), number(0, float32))
        below = call("select", i + one < rows, at(x, place + columns), number(0, float32))
        return [Store(z, place, left + below), Store(w, i * columns + columns - one - j, at(x, place) * convert(j, float32))]

    size = rows * columns
    define(
        "rows read across", (x, rows, columns),
        [Allocate(z, size), Allocate(w, size), over(rows, effects, lambda i: Inner(j, number(0, int64), columns))], (z, w),
        lambda size: [sample(float32, (size // 37 + 1) * 37, special=False), size // 37 + 1, 37],
    )  # fmt: skip


def _dear() -> None:
    """Scans and scatters of values that take long: those are computed before."""
    x, keep, sums, bins = array_register(float64), array_register(bool_), array_register(float64), array_register(float64)
    bad = scalar(bool_)
    n = length_of(x, (0,))
    zero = number(0, float64)

    def scanned(i: Node) -> list[Any]:
        return [Scan((sums,), i, row("add", float64), (call("exp", at(x, i)),), (zero,), True), Fold(bad, REGISTRY["or"], at(x, i) > zero)]

    def scattered(i: Node) -> list[Any]:
        place = convert(call("floor", call("log", call("abs", at(x, i))) * number(4, float64)), int64) + number(8, int64)
        held = repeated(convert(at(keep, i), int64), zero, lambda v: v + number(1, float64)) > zero
        return [Scatter((bins,), place, (call("sin", at(x, i)),), held, row("add", float64))]

    steps: list[Step] = [Allocate(sums, n), Allocate(bins, number(16, int64)), over(number(16, int64), lambda i: [Store(bins, i, zero)])]
    define(
        "dear values", (x, keep), [*steps, over(n, scanned), over(n, scattered)], (sums, bins, bad),
        lambda size: [sample(float64, size, special=False), sample(bool_, size)],
    )  # fmt: skip


def _counts() -> None:
    """The index in every type, and what is the same at every element."""
    outs = [array_register(dtype) for dtype in COMPUTE]
    n, k, table = scalar(int64), scalar(float32), array_register(float64)

    def effects(i: Node) -> list[Any]:
        looked = at(table, number(2, int64)) + convert(repeated(n, k, lambda v: v * number(0.5, float32)), float64)
        return [
            Store(outs[0], i, call("eq", call("and", i, number(3, int64)), number(0, int64))), Store(outs[1], i, convert(i, int32)),
            Store(outs[2], i, i * i), Store(outs[3], i, convert(i, float32) * k), Store(outs[4], i, convert(i, float64) + looked),
        ]  # fmt: skip

    steps: list[Step] = [Allocate(out, n) for out in outs]
    define("counts", (n, k, table), [*steps, over(n, effects)], outs, lambda size: [size, np.float32(1.7), np.arange(5) * 0.3])


with exact_numbers():
    for _dtype in COMPUTE:
        _maps(_dtype)
        _shifts(_dtype)
        _folds(_dtype)
        _filter(_dtype)
        _gather(_dtype, int64)
        _scans(_dtype)
        if _dtype is not bool_:
            _reduces(_dtype)
    for _dtype in (float32, int32, bool_, float64):
        _gather(_dtype, int32)
    _while_in_lanes(float32, int32)
    _while_in_lanes(float64, int64)
    _while_in_lanes(int32, int32)
    for _make in (
        _mixed, _elementary, _concat, _reverse, _dot, _first, _exclusive_affine, _scatters, _loops, _loops_in_operators, _rows, _control,
        _divided, _rows_read_across, _dear, _counts,
    ):  # fmt: skip
        _make()
