"""Strategies that build whole programs of arrays: inputs of several shapes and types, and steps that combine what is there.

A step is a name and three numbers that choose operands and details, so that any list of steps is a
program: a step that fits nothing yields nothing. Numbers count from the last value, so small ones make chains.
"""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import hotloop as hl

LENGTHS = (1, 2, 3, 7, 8, 9, 24, 31, 32, 33, 40, 100, 1030)
TYPES = ("float32", "float64", "int32", "int64", "bool")
LARGEST = 2100  # elements of any array: what is left to scalar code costs compile time
SPECIAL = {
    "float32": [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45, -1e-40, 3.4e38, 1.0, -2.5, 2.0**31, -(2.0**63), 0.5, 16777217.0],
    "float64": [np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324, -1e-310, 1.7e308, 1.0, -2.5, 2.0**31, 2.0**63, 0.5, 1e300],
    "int32": [0, 1, -1, 2**31 - 1, -(2**31), 7, 31, 32],
    "int64": [0, 1, -1, 2**63 - 1, -(2**63), 7, 63, 64, 2**53 + 1],
    "bool": [False, True],
}


def sample(shape, dtype, seed):
    """Ordinary numbers with special ones among them: none, some or many, by the seed."""
    chance = np.random.default_rng([seed, *shape])
    if dtype == "bool":
        return chance.random(shape) < (0.5, 0.0, 1.0, 0.5)[seed % 4]
    found = chance.integers(-1000, 1000, shape).astype(dtype) if dtype.startswith("int") else chance.normal(size=shape).astype(dtype)
    special = chance.choice(np.array(SPECIAL[dtype], dtype), shape)
    return np.where(chance.random(shape) < (0.0, 0.05, 0.5, 1.0)[seed % 4], special, found)


@dataclass(frozen=True)
class Recipe:
    """A program: (type, shape, seed) of the inputs, steps, and which values are outputs beside the last, as bits."""

    inputs: tuple[tuple[str, tuple[int, ...], int], ...]
    steps: tuple[tuple[str, int, int, int], ...]
    outputs: int

    def data(self):
        """The first values of the inputs."""
        return [sample(shape, dtype, seed) for dtype, shape, seed in self.inputs]


@st.composite
def recipes(draw, names, lengths=LENGTHS, types=TYPES, largest=LARGEST, longest=10, least=1):
    """Draw a program of steps called `names`; the shapes of inputs broadcast together."""
    base = draw(st.lists(st.sampled_from(lengths), min_size=1, max_size=3))
    if math.prod(base) < 24 and draw(st.booleans()):
        base[draw(st.integers(0, len(base) - 1))] = draw(st.sampled_from([n for n in lengths if n >= 24]))
    while math.prod(base) > largest:
        base[base.index(max(base))] = draw(st.sampled_from([n for n in lengths if n <= 40]))

    def shape():
        own = base[draw(st.integers(0, len(base) - 1)) :]
        return tuple(1 if draw(st.integers(0, 5)) == 5 else n for n in own)

    count = draw(st.integers(1, 4))
    shapes = [tuple(base), *[shape() for _ in range(count - 1)]]
    inputs = tuple((draw(st.sampled_from(types)), one, draw(st.integers(0, 11))) for one in shapes)
    step = st.tuples(st.sampled_from(names), st.integers(0, 11), st.integers(0, 11), st.integers(0, 63))
    return Recipe(inputs, tuple(draw(st.lists(step, min_size=least, max_size=longest))), draw(st.integers(0, 2**14 - 1)))


def is_float(x):
    """Whether the elements are floats."""
    return str(x.dtype).startswith("float")


def is_int(x):
    """Whether the elements are integers."""
    return str(x.dtype).startswith("int")


def is_bool(x):
    """Whether the elements are bools."""
    return str(x.dtype) == "bool"


def is_number(x):
    """Whether the elements are numbers, not bools."""
    return not is_bool(x)


def shape_of(x):
    """The shape, of traced scalars too."""
    return tuple(x.shape) if isinstance(x, (hl.vector, hl.tensor)) else ()


def pick(pool, number, wanted=lambda x: True):
    """Choose one of the values that are wanted, counted from the last; None if there is none."""
    found = [x for x in pool if wanted(x)]
    return found[-1 - number % len(found)] if found else None


def beside(pool, number, x, wanted=lambda x: True):
    """Choose a value that broadcasts with `x` to an array that is not too large."""

    def fits(y):
        try:
            return wanted(y) and math.prod(np.broadcast_shapes(shape_of(x), shape_of(y))) <= LARGEST
        except ValueError:
            return False

    return pick(pool, number, fits)


FLOAT_ROWS = (
    "sqrt", "floor", "ceil", "round", "trunc", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
    "atanh", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt", "isnan", "isinf", "isfinite",
)  # fmt: skip
UNARY = (lambda x: -x, hl.abs, hl.sign, lambda x: x * x, lambda x: x + x, lambda x: x - 1, lambda x: 2 * x, lambda x: x / 4)
BINARY = (
    lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x // y, lambda x, y: x % y,
    hl.minimum, hl.maximum, lambda x, y: hl.copysign(x, hl.where(hl.isnan(y), 1.0, y)), hl.atan2, hl.hypot,
    hl.pow, lambda x, y: x + 0.5 * y, lambda x, y: hl.clamp(x, -1, y),
)  # fmt: skip
WHOLE = (
    lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x, lambda x, y: x << y, lambda x, y: x >> y,
    lambda x, y: x // y, lambda x, y: x % y, lambda x, y: x << 3, lambda x, y: x >> 2, lambda x, y: x // 7, lambda x, y: x % -5,
)  # fmt: skip
LOGIC = (
    lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x,
    lambda x, y: x == y, lambda x, y: x < y, lambda x, y: x >= y,
)  # fmt: skip
COMPARISONS = (
    lambda x, y: x < y, lambda x, y: x <= y, lambda x, y: x > y, lambda x, y: x >= y, lambda x, y: x == y, lambda x, y: x != y,
)  # fmt: skip
CONSTANTS = (0.5, -3.0, 1e-3, 0.0, -0.0, 1.0, -1.0, math.inf, math.nan, 2, 3, 0, 1, True, 8, 1e30)
WITH_CONSTANT = (
    lambda x, c: x + c, lambda x, c: c - x, lambda x, c: x * c, lambda x, c: x / c, lambda x, c: c / x, hl.minimum, hl.maximum,
    lambda x, c: x < c, lambda x, c: c >= x, lambda x, c: hl.where(x > c, x, c), lambda x, c: x**c,
)  # fmt: skip
REDUCTIONS = ("sum", "prod", "min", "max", "any", "all", "mean", "sum", "max", "argmin", "argmax", "var", "norm", "std")


def axes_by(number, rank):
    """None, one axis or several."""
    choices = [None, *range(-1, rank - 1), *([(0, 1)] if rank > 1 else []), *([(1, 2), (0, 2)] if rank > 2 else [])]
    return choices[number % len(choices)]


def _unary(pool, i, j, k):
    x = pick(pool, i, is_number)
    return None if x is None else UNARY[k % len(UNARY)](x)


def _float(pool, i, j, k):
    x = pick(pool, i, is_float)
    return None if x is None else getattr(hl, FLOAT_ROWS[k % len(FLOAT_ROWS)])(x)


def _binary(pool, i, j, k):
    x = pick(pool, i, is_number)
    y = None if x is None else beside(pool, j, x, is_number)
    return None if y is None else BINARY[k % len(BINARY)](x, y)


def _whole(pool, i, j, k):
    x = pick(pool, i, is_int)
    y = None if x is None else beside(pool, j, x, is_int)
    return None if y is None else WHOLE[k % len(WHOLE)](x, y)


def _logic(pool, i, j, k):
    x = pick(pool, i, is_bool)
    y = None if x is None else beside(pool, j, x, is_bool)
    return None if y is None else LOGIC[k % len(LOGIC)](x, y)


def _compare(pool, i, j, k):
    x = pick(pool, i)
    y = beside(pool, j, x, lambda y: is_bool(x) == is_bool(y))
    return COMPARISONS[k % len(COMPARISONS)](x, y)


def _choose(pool, i, j, k):
    condition = pick(pool, i, is_bool)
    x = None if condition is None else beside(pool, j, condition, is_number)
    if x is None:
        return None
    both = condition if math.prod(shape_of(condition)) > math.prod(shape_of(x)) else x
    return hl.where(condition, x, CONSTANTS[k % 8] if k % 3 == 0 else beside(pool, k, both, is_number))


def _constant(pool, i, j, k):
    x = pick(pool, i, is_number)
    return None if x is None else WITH_CONSTANT[k % len(WITH_CONSTANT)](x, CONSTANTS[j % 16])


def _convert(pool, i, j, k):
    return pick(pool, i).astype(TYPES[k % len(TYPES)])


def _fma(pool, i, j, k):
    x = pick(pool, i, is_float)
    y = None if x is None else beside(pool, j, x, is_float)
    return None if y is None else hl.fma(x, y, 0.5 if k % 2 else x)


def _reduce(pool, i, j, k):
    x = pick(pool, i, lambda x: shape_of(x))
    if x is None:
        return None
    name, axis = REDUCTIONS[k % len(REDUCTIONS)], axes_by(j, len(x.shape))
    if name.startswith("arg") and isinstance(axis, tuple):
        axis = axis[0]
    if name == "norm":
        return hl.norm(x) if is_float(x) else None
    return getattr(x, name)(axis, keepdims=bool(k // len(REDUCTIONS) % 2))


def _move(pool, i, j, k):
    x = pick(pool, i, lambda x: shape_of(x))
    if x is None:
        return None
    shape, size = tuple(x.shape), math.prod(x.shape)
    orders = [tuple(np.random.default_rng(j).permutation(len(shape)).tolist()), tuple(reversed(range(len(shape))))]
    divisors = [n for n in range(1, size + 1) if size % n == 0]
    first = divisors[j % len(divisors)]
    match k % 8:
        case 0 | 1:
            return x.transpose(*orders[k % 2])
        case 2:
            return x.reshape(-1)
        case 3:
            return x.reshape(first, size // first)
        case 4:
            return x.reshape(size // first, first)
        case 5:
            return x[None] if len(shape) < 3 else x.reshape(shape[0], -1)
        case 6:
            return x[..., None] if len(shape) < 3 else x.reshape(-1, shape[-1])
        case _:
            return x.T


SLICES = (
    slice(None, None, -1), slice(1, None), slice(None, -1), slice(None, None, 2), slice(None, None, -3), slice(0, 25), slice(-30, None),
    slice(1, -1, 2), slice(None, 1), slice(3, 4), slice(None),
)  # fmt: skip


def _slice(pool, i, j, k):
    x = pick(pool, i, lambda x: shape_of(x))
    if x is None:
        return None
    key = [slice(None)] * len(x.shape)
    key[j % len(key)] = SLICES[k % len(SLICES)]
    if k // 16 == 1:
        key[k % len(key)] = SLICES[j % len(SLICES)]
    if k // 16 == 2:
        key[j % len(key)] = k % x.shape[j % len(key)]
    found = x[tuple(key)]
    return found if math.prod(shape_of(found)) else None


def _element(pool, i, j, k):
    x = pick(pool, i, lambda x: shape_of(x))
    return None if x is None else x[tuple([(j + k * 7) % n - (n if k % 2 else 0) for n in x.shape])]


def _pack(pool, i, j, k):
    scalars = [x for x in pool if not shape_of(x)] + ([0.25] if k % 2 else [])
    return hl.vector([scalars[(i + n * j) % len(scalars)] for n in range(LENGTHS[k % 11])]) if scalars else None


def _join(pool, i, j, k):
    x = pick(pool, i, lambda x: shape_of(x))
    if x is None:
        return None
    axis = k % len(x.shape)
    rest = lambda y: shape_of(y)[:axis] + shape_of(y)[axis + 1 :]  # noqa: E731
    y = pick(pool, j, lambda y: len(shape_of(y)) == len(shape_of(x)) and rest(y) == rest(x))
    if math.prod(x.shape) + math.prod(y.shape) > LARGEST:
        return None
    if k // 8 == 1 and len(x.shape) < 3 and shape_of(x) == shape_of(y):
        return hl.stack([x, y], axis=axis)
    return hl.concat([x, y, x] if k // 8 == 2 and math.prod(x.shape) < 100 else [x, y], axis=axis)


def _matmul(pool, i, j, k):
    x = pick(pool, i, lambda x: shape_of(x))

    def fits(y):
        own, other = shape_of(x), shape_of(y)
        if not other or other[-2 if len(other) > 1 else 0] != own[-1]:
            return False
        work = math.prod(own) * (other[-1] if len(other) > 1 else 1) * (other[0] if len(other) > 2 else 1)
        try:
            np.broadcast_shapes(own[:-2], other[:-2])
        except ValueError:
            return False
        return work <= 40_000

    y = None if x is None else pick([*pool, *[y.T for y in pool if len(shape_of(y)) == 2]], j, fits)
    return None if y is None else x @ y


def _lookup(pool, i, j, k):
    x = pick(pool, i, lambda x: shape_of(x) and x.shape[0] <= 40)
    places = None if x is None else pick(pool, j, lambda y: is_int(y) and math.prod(shape_of(y)) * math.prod(x.shape) <= 4000)
    return None if places is None or len(shape_of(places)) + len(x.shape) > 4 else x[places]


def _replace(pool, i, j, k):
    x = pick(pool, i, lambda x: shape_of(x))
    if x is None:
        return None
    y = x.copy()
    item = pick(pool, j, lambda y: not shape_of(y) and y.dtype == x.dtype)
    y[(SLICES[k % len(SLICES)], k % x.shape[0])[k // 32]] = 1 if item is None else item
    return y


def _loop(pool, i, j, k):
    x = pick(pool, i, lambda x: is_float(x) and 1 < math.prod(shape_of(x)) <= 300)
    y = None if x is None else pick(pool, j, lambda y: is_float(y) and shape_of(y) in ((), shape_of(x)) and y.dtype == x.dtype)
    return None if y is None else hl.loop(k % 4 + 1, lambda a: a * 0.5 + y * (hl.sum(a) if k % 2 else 0.25), x)


def _spread(pool, i, j, k):
    x = pick(pool, i, lambda x: shape_of(x) and is_float(x))
    if x is None:
        return None
    return x - x.mean(-1, keepdims=True) if k % 2 else hl.softmax(x, axis=j % len(x.shape))


STEPS = {
    "unary": _unary, "float": _float, "binary": _binary, "whole": _whole, "logic": _logic, "compare": _compare, "choose": _choose,
    "constant": _constant, "convert": _convert, "fma": _fma, "reduce": _reduce, "move": _move, "slice": _slice, "element": _element,
    "pack": _pack, "join": _join, "matmul": _matmul, "lookup": _lookup, "replace": _replace, "loop": _loop, "spread": _spread,
}  # fmt: skip
NAMES = (*STEPS, "unary", "binary", "binary", "reduce", "reduce", "move", "slice", "choose", "constant", "matmul")


def built(recipe, pool):
    """Apply the steps of a recipe to the values in `pool`, appending to it; return what is chosen as outputs."""
    count = len(pool)
    for name, i, j, k in recipe.steps:
        try:
            made = STEPS[name](pool, i, j, k)
        except (hl.ShapeError, hl.TypeMismatch, hl.RangeError, hl.DivisionByZero, hl.BoundsError):
            continue
        if made is not None and math.prod(shape_of(made)) <= LARGEST:
            pool.append(made)
    made = pool[count:]
    return [x for k, x in enumerate(made[:-1]) if recipe.outputs >> k & 1] + made[-1:]
