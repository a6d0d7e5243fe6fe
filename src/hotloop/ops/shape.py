"""Array rows: movement, reductions and products of N-d arrays, and the builders that check shapes.

Each row's `lower` is its meaning: one function that works on numeric arrays (the oracle) and on
object arrays of scalar nodes (`unroll`), so both are the same order of the same operations. Nodes of
reductions are made one result after the other, since the native code keeps the order of creation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from hotloop.dtypes import DType, bool_, int32, int64, promote
from hotloop.errors import ShapeError, TypeMismatch
from hotloop.ir.dim import broadcast_shapes, is_sized
from hotloop.ir.graph import Node, Shape, apply, constant, convert, structure, user_line
from hotloop.ir.op import REGISTRY, Op, untyped
from hotloop.ops import faults
from hotloop.ops.algebra import call

Array = np.ndarray[Any, Any]

LANES = 32  # partial results of every reduction, whatever the hardware: 4 registers of 8 float32
BLOCK = 1024  # elements that lanes take one after the other before lanes of blocks are combined
CHUNK = 32768  # elements that give one partial result, and that one thread takes at a time


class Index:
    """A static index: for each element of the result, the flat position of its source."""

    __slots__ = ("_key", "flat", "shape")

    def __init__(self, flat: Array) -> None:
        self.flat = np.asarray(flat, np.int64, order="C")  # ascontiguousarray would give () an axis
        self.shape: Shape = flat.shape
        self._key = (self.shape, self.flat.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Index{list(self.shape)}"


# ----------------------------------------------------------------------------------- the meanings


def fold_halves(x: Array, combine: Callable[[Array, Array], Array]) -> Any:  # Any: one element, or an array of them
    """Reduce axis 0 in the one fixed order of hotloop, whatever the target, its vectors and its threads.

    Up to BLOCK elements: element i goes to partial result i mod LANES, in ascending order; then the upper
    half of the partial results is combined into the lower until one is left. Beyond: in each CHUNK the
    partial results of its blocks are combined in ascending order before they are halved, and what the
    chunks give is reduced by the same rule. Error of a float sum of n elements: below
    (min(n / 32, 32) + min(n / 1024, 32) + 5) eps for a chunk, and as much for each further level of
    chunks, times the sum of magnitudes.
    """
    while len(x) > CHUNK:
        x = np.stack([fold_halves(x[start : start + CHUNK], combine) for start in range(0, len(x), CHUNK)])
    partial = _lane_by_lane(x[:BLOCK], combine)
    for start in range(BLOCK, len(x), BLOCK):
        partial = _onto(partial, _lane_by_lane(x[start : start + BLOCK], combine), combine)
    while len(partial) > 1:
        half = 1 << (len(partial) - 1).bit_length() - 1
        partial = _onto(partial[:half], partial[half:], combine)
    return partial[0]


def _lane_by_lane(x: Array, combine: Callable[[Array, Array], Array]) -> Array:
    partial = x[:LANES]
    for start in range(LANES, len(x), LANES):
        partial = _onto(partial, x[start : start + LANES], combine)
    return partial


def _onto(lower: Array, upper: Array, combine: Callable[[Array, Array], Array]) -> Array:
    """Combine lane by lane; `upper` may have fewer lanes."""
    joined = combine(lower[: len(upper)], upper)
    return joined if len(upper) == len(lower) else np.concatenate([joined, lower[len(upper) :]])


@lru_cache(maxsize=64)
def _fold_steps(count: int) -> tuple[int, ...]:
    """Return the order of `fold_halves` over `count` terms in postfix: a term's number, or -1 to combine the last two."""
    if count > CHUNK:
        starts = range(0, count, CHUNK)
        parts = [[step if step < 0 else step + start for step in _fold_steps(min(CHUNK, count - start))] for start in starts]
        return tuple([inner for step in _fold_steps(len(parts)) for inner in (parts[step] if step >= 0 else (-1,))])
    lanes = min(count, LANES)
    steps: list[int] = []

    def lane(place: int, left: int) -> None:  # the partial result in `place` when `left` of them are left
        if left == lanes:
            for block in range(0, count, BLOCK):
                terms = range(block + place, min(block + BLOCK, count), LANES)
                steps.extend(step for k, term in enumerate(terms) for step in ((term, -1) if k else (term,)))
                steps.extend((-1,) if block and terms else ())
            return
        before = min(2 * left, lanes)
        lane(place, before)
        if place + left < before:
            lane(place + left, before)
            steps.append(-1)

    lane(0, 1)
    return tuple(steps)


def fold_terms(count: int, term: Callable[[int], Any], combine: Callable[[Any, Any], Any]) -> Any:  # Any: nodes
    """Reduce term(0) ... term(count - 1) in the order of `fold_halves`, each made when it is needed.

    So few are alive at once: at most six partial results, whatever the count.
    """
    waiting: list[Any] = []
    for step in _fold_steps(count):
        if step < 0:
            last = waiting.pop()
            waiting[-1] = combine(waiting[-1], last)
        else:
            waiting.append(term(step))
    return waiting[0]


def _fold_axes(x: Array, axes: tuple[int, ...], name: str) -> Array:
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    shape = tuple([x.shape[axis] for axis in kept])
    if x.dtype == object:
        groups = x.transpose([*kept, *axes]).reshape(math.prod(shape), -1).tolist()
        combine = partial(apply, REGISTRY[name])
        return _objects([fold_terms(len(group), group.__getitem__, combine) for group in groups], shape)
    moved = x.transpose([*axes, *kept]).reshape(-1, *shape)
    return np.asarray(fold_halves(moved, _numeric(name)))


def _numeric(name: str) -> Callable[[Array, Array], Array]:
    """Return a binary row as a function of two arrays of numbers."""

    def combine(x: Array, y: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(REGISTRY[name].numpy(x, y)).astype(np.result_type(x, y), copy=False)

    return combine


def _objects(items: Sequence[Any], shape: Shape) -> Array:
    array = np.empty(math.prod(shape), object)
    array[:] = items
    return array.reshape(shape)


def _sum(x: Array, axes: tuple[int, ...]) -> Array:
    return _fold_axes(x, axes, "add")


def _prod(x: Array, axes: tuple[int, ...]) -> Array:
    return _fold_axes(x, axes, "mul")


def _min(x: Array, axes: tuple[int, ...]) -> Array:
    return _fold_axes(x, axes, "minimum")


def _max(x: Array, axes: tuple[int, ...]) -> Array:
    return _fold_axes(x, axes, "maximum")


def _any(x: Array, axes: tuple[int, ...]) -> Array:
    return _fold_axes(x, axes, "or")


def _all(x: Array, axes: tuple[int, ...]) -> Array:
    return _fold_axes(x, axes, "and")


def _matmul(x: Array, y: Array) -> Array:
    rows = x if x.ndim > 1 else x[None, :]
    columns = y if y.ndim > 1 else y[:, None]
    rank = max(rows.ndim, columns.ndim)
    rows, columns = (a.reshape((1,) * (rank - a.ndim) + a.shape) for a in (rows, columns))
    product = _product_of_nodes(rows, columns) if x.dtype == object else _product_of_numbers(rows, columns)
    product = product if y.ndim > 1 else product[..., 0]
    return product if x.ndim > 1 else (product[..., 0, :] if y.ndim > 1 else product[..., 0])


def _product_of_numbers(rows: Array, columns: Array) -> Array:
    # products[k, ..., i, j] = rows[..., i, k] * columns[..., k, j], summed over k in the fixed order
    left = np.moveaxis(rows, -1, 0)[..., None]
    right = np.moveaxis(columns, -2, 0)[..., None, :]
    product: Array = fold_halves(_numeric("mul")(left, right), _numeric("add"))
    return product


def _product_of_nodes(rows: Array, columns: Array) -> Array:
    batch = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    (height, count), width = rows.shape[-2:], columns.shape[-1]
    if batch:
        rows, columns = np.broadcast_to(rows, (*batch, height, count)), np.broadcast_to(columns, (*batch, count, width))
    left = rows.reshape(-1, height, count).tolist()
    right = columns.swapaxes(-1, -2).reshape(-1, width, count).tolist()
    multiply, plus = partial(apply, REGISTRY["mul"]), partial(apply, REGISTRY["add"])

    def dot(row: list[Node], column: list[Node]) -> Any:  # Any: a node
        return fold_terms(count, lambda k: multiply(row[k], column[k]), plus)

    items = [dot(row, column) for lines, others in zip(left, right, strict=True) for row in lines for column in others]
    return _objects(items, (*batch, height, width))


def _pack(*items: Any, shape: Shape) -> Array:
    if isinstance(items[0], np.ndarray) and items[0].dtype != object:
        return np.array(items).reshape(shape)
    return _objects([item.item() if isinstance(item, np.ndarray) else item for item in items], shape)


def _take(x: Array, index: Index) -> Array:
    return np.asarray(x.reshape(-1)[index.flat])


def _gather(x: Array, index: Array) -> Array:
    """Take rows at run-time places: a negative place counts from the end, then it is clamped."""
    count = x.shape[0]
    if x.dtype != object:
        place = np.clip(np.where(index < 0, index.astype(np.int64) + count, index), 0, count - 1)
        return np.asarray(x[place])
    rows = x.reshape(count, -1)
    picked = [_pick(rows, _from_end(place, count)) for place in np.asarray(index, object).flat]
    flat = [item for row in picked for item in row]
    return _objects(flat, (*index.shape, *x.shape[1:]))


def _from_end(place: Node, count: int) -> Node:
    return call("select", call("lt", place, 0), call("add", place, count), place)


def _pick(rows: Array, place: Node, first: int = 0) -> list[Any]:
    """Choose one row by a balanced tree of selects: len(rows) - 1 for each element of a row."""
    if len(rows) == 1:
        return list(rows[0])
    half = len(rows) // 2
    below = call("lt", place, first + half)
    pairs = zip(_pick(rows[:half], place, first), _pick(rows[half:], place, first + half), strict=True)
    return [call("select", below, low, high) for low, high in pairs]


def _spread(x: Array, index: Index, shape: Shape) -> Array:
    """Add each element into its place of an array of zeros: the reverse of take."""
    if x.dtype != object:
        out = np.zeros(math.prod(shape), x.dtype)
        np.add.at(out, index.flat.reshape(-1), x.reshape(-1))
        return out.reshape(shape)
    places: list[Any] = [None] * math.prod(shape)
    for place, item in zip(index.flat.flat, x.flat, strict=True):
        places[place] = item if places[place] is None else places[place] + item
    zero = constant(0, x.flat[0].dtype, structural=True) if x.size else None
    return _objects([zero if place is None else place for place in places], shape)


# ------------------------------------------------------------------------------------------- rows


def _row(name: str, lower: Callable[..., Array], vjp: Callable[..., tuple[Any, ...]] | None, doc: str, **fields: Any) -> Op:
    return Op(name, untyped(), lower, lower=lower, vjp=vjp, doc=doc, **fields)


def _same_shape(x: Node, shape: Shape) -> Node | None:
    return x if x.shape == shape else None


broadcast: Op = _row(
    "broadcast", lambda x, shape: np.broadcast_to(x, shape), lambda g, out, x, shape: (sum_to(g, x.shape),),
    "Repeat along new or length-1 axes.", simplify=_same_shape, linear=True,
)
reshape: Op = _row(
    "reshape", lambda x, shape: np.reshape(x, shape), lambda g, out, x, shape: (reshape_to(g, x.shape),),
    "The same elements in another shape.", simplify=_same_shape, linear=True,
)
transpose: Op = _row(
    "transpose", lambda x, axes: np.transpose(x, axes),
    lambda g, out, x, axes: (transpose_by(g, tuple(int(i) for i in np.argsort(axes))),), "Permute the axes.", linear=True,
)
pack: Op = _row(
    "pack", _pack, lambda g, out, *items, shape: tuple(element(g, i) for i in range(len(items))),
    "An array of scalars.", linear=True,
)
take: Op = _row(
    "take", _take, lambda g, out, x, index: (spread_by(g, index, x.shape),), "Elements at static places.",
    simplify=lambda x, index: _take_simplified(x, index), linear=True,
)
spread: Op = _row(
    "spread", _spread, lambda g, out, x, index, shape: (take_by(g, index),), "Add elements into static places of zeros.", linear=True,
)
gather: Op = _row(
    "gather", _gather, lambda g, out, x, index: (_gather_gradient(g, x, index), None),
    "Rows at run-time places; negative ones count from the end, places outside are clamped.",
    faults=lambda out, x, index: _bounds(x, index),
)
concat: Op = _row(
    "concat", lambda *xs, axis: np.concatenate(xs, axis), lambda g, out, *xs, axis: _concat_gradient(g, xs, axis),
    "Join along an axis.", linear=True,
)
sum_: Op = _row(
    "sum", _sum, lambda g, out, x, axes: (_along(g, x, axes),), "Sum over axes, in the fixed order.",
    linear=True, faults=lambda out, x, axes: _sum_faults(out, lambda wide: reduce(sum_, wide, axes), x),
)
prod: Op = _row(
    "prod", _prod, lambda g, out, x, axes: (_along(g, x, axes) * _others(convert(x, g.dtype), axes),),
    "Product over axes, in the fixed order.",
    faults=lambda out, x, axes: _reduction_faults(out, x) if out.dtype.is_float else [],
)
amin: Op = _row("amin", _min, lambda g, out, x, axes: (_to_extremum(g, out, x, axes),), "Smallest over axes; NaN wins.")
amax: Op = _row("amax", _max, lambda g, out, x, axes: (_to_extremum(g, out, x, axes),), "Largest over axes; NaN wins.")
any_: Op = _row("any", _any, lambda g, out, x, axes: (None,), "Whether any bool over axes holds.")
all_: Op = _row("all", _all, lambda g, out, x, axes: (None,), "Whether all bools over axes hold.")
matmul: Op = _row(
    "matmul", _matmul, lambda g, out, x, y: _matmul_gradient(g, x, y), "Matrix product as NumPy's @, sums in the fixed order.",
    faults=lambda out, x, y: _sum_faults(out, product, x, y),
)
FOLDS: dict[Op, str] = {sum_: "add", prod: "mul", amin: "minimum", amax: "maximum", any_: "or", all_: "and"}  # by which row they combine
# What such a row combines with any x to x, to the bit: for floats, for integers. 0.0 + -0.0 is 0.0, so a sum starts at -0.0
_IDENTITIES: dict[str, tuple[float, Callable[[DType], int]]] = {
    "add": (-0.0, lambda dtype: 0), "mul": (1.0, lambda dtype: 1), "or": (0.0, lambda dtype: 0), "and": (1.0, lambda dtype: 1),
    "minimum": (math.inf, lambda dtype: dtype.limits[1]), "maximum": (-math.inf, lambda dtype: dtype.limits[0]),
}  # fmt: skip

# Facts of arrays whose sizes are run-time values (`ir.dim`): elsewhere they are constants
length: Op = _row(
    "length", lambda x, axes: np.asarray(math.prod(x.shape[axis] for axis in axes)), lambda g, out, x, axes: (None,),
    "Number of elements along axes, as int64.", internal=True,
)
place: Op = _row(
    "place", lambda x, axes: _places_along(x.shape, axes), lambda g, out, x, axes: (None,),
    "Row-major place of each element along axes, as int32.", internal=True,
)


def _places_along(shape: Shape, axes: tuple[int, ...]) -> Array:
    opened = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    return np.broadcast_to(np.arange(math.prod(opened), dtype=np.int32).reshape(opened), shape)


def _take_simplified(x: Node, index: Index) -> Node | None:
    if index.shape == x.shape and np.array_equal(index.flat.reshape(-1), np.arange(index.flat.size)):
        return x
    if x.op is pack:
        if index.shape == ():
            return x.args[int(index.flat)]
        items = [x.args[i] for i in index.flat.flat]
        return structure(pack, items, {"shape": index.shape}, x.dtype, index.shape) if items else None
    if x.op is take:  # one movement instead of two
        return take_by(x.args[0], Index(x.attr["index"].flat.reshape(-1)[index.flat]))
    if x.op is reshape:
        return take_by(x.args[0], index)
    return None


def _reduction_faults(out: Node, *operands: Node) -> list[tuple[Node, str]]:
    """NaN and infinity out of operands that have none."""
    def some(row: str, x: Node) -> Node:
        hit = call(row, x)
        return reduce(any_, hit, tuple(range(len(x.shape)))) if x.shape else hit

    nan, infinite = some("isnan", operands[0]), some("isinf", operands[0])
    for operand in operands[1:]:
        nan, infinite = call("or", nan, some("isnan", operand)), call("or", infinite, some("isinf", operand))
    invalid = call("and", some("isnan", out), call("invert", nan))
    overflow = call("and", some("isinf", out), call("invert", call("or", nan, infinite)))
    return [(invalid, faults.INVALID), (overflow, faults.OVERFLOW)]


def _sum_faults(out: Node, total: Callable[..., Node], *operands: Node) -> list[tuple[Node, str]]:
    """As for other reductions; int32 is compared with the total in int64, int64 is not watched."""
    if out.dtype is int32:
        exact = total(*[convert(x, int64) for x in operands])
        return [(call("ne", exact, convert(out, int64)), faults.OVERFLOW)]
    return _reduction_faults(out, *operands) if out.dtype.is_float else []


def _bounds(x: Node, index: Node) -> list[tuple[Node, str]]:
    count = x.shape[0]
    return [(call("or", call("lt", index, -count), call("ge", index, count)), f"{faults.BOUNDS} of an axis of length {count}")]


def _along(g: Node, x: Node, axes: tuple[int, ...]) -> Node:
    """Give a gradient of a reduction back the reduced axes."""
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    return broadcast_to(reshape_to(g, kept), x.shape)


def _others(x: Node, axes: tuple[int, ...]) -> Node:
    """For each element the product of all others along `axes`; no division, so zeros are no matter.

    Cost: 4 log2(n) array operations.
    """
    kept = tuple(axis for axis in range(len(x.shape)) if axis not in axes)
    order = (*axes, *kept)
    moved = transpose_by(x, order)
    count = math.prod(x.shape[axis] for axis in axes)
    rows = reshape_to(moved, (count, *[x.shape[axis] for axis in kept]))
    before, after, step = _shifted(rows, 1), _shifted(rows, -1), 1
    while step < count:
        before, after = before * _shifted(before, step), after * _shifted(after, -step)
        step *= 2
    back = tuple(int(i) for i in np.argsort(order))
    return transpose_by(reshape_to(before * after, moved.shape), back)


def _shifted(x: Node, by: int) -> Node:
    """Move rows towards the end, or for a negative count to the start; ones take their places."""
    count = x.shape[0]
    if abs(by) >= count:
        return constant(np.ones(x.shape, x.dtype.numpy), x.dtype)
    ones = constant(np.ones((abs(by), *x.shape[1:]), x.dtype.numpy), x.dtype)
    places = np.arange(math.prod(x.shape)).reshape(x.shape)
    if by > 0:
        return concatenate([ones, take_by(x, Index(places[:-by]))], 0)
    return concatenate([take_by(x, Index(places[-by:])), ones], 0)


def _to_extremum(g: Node, out: Node, x: Node, axes: tuple[int, ...]) -> Node:
    """Return the gradient of min and max, shared equally by all places that attain it."""
    hit = call("eq", x, _along(out, x, axes))
    count = reduce(sum_, convert(hit, g.dtype), axes)
    return call("select", hit, _along(g / count, x, axes), constant(0, g.dtype, structural=True))


def _gather_gradient(g: Node, x: Node, index: Node) -> Node:
    """Add each gradient to the row it came from, by comparing every place with every row."""
    count, places = x.shape[0], math.prod(index.shape)
    at = reshape_to(clamped_place(index, count), (places, *[1] * len(x.shape)))
    rows = constant(np.arange(count).reshape(count, *[1] * (len(x.shape) - 1)), index.dtype)
    spreads = call("select", call("eq", at, rows), reshape_to(g, (places, 1, *x.shape[1:])), constant(0, g.dtype, structural=True))
    return reduce(sum_, spreads, (0,))


def clamped_place(index: Node, count: int) -> Node:
    """Return where `gather` looks: a negative place counts from the end, then it is clamped."""
    place = call("select", call("lt", index, 0), call("add", index, count), index)
    return call("minimum", call("maximum", place, 0), count - 1)


def _concat_gradient(g: Node, xs: tuple[Node, ...], axis: int) -> tuple[Node, ...]:
    places = np.arange(math.prod(g.shape)).reshape(g.shape)
    ends = np.cumsum([x.shape[axis] for x in xs])[:-1]
    return tuple(take_by(g, Index(part)) for part in np.split(places, ends, axis))


def _matmul_gradient(g: Node, x: Node, y: Node) -> tuple[Node, Node]:
    rows = x if len(x.shape) > 1 else reshape_to(x, (1, *x.shape))
    columns = y if len(y.shape) > 1 else reshape_to(y, (*y.shape, 1))
    shape = (*broadcast_shapes(rows.shape[:-2], columns.shape[:-2]), rows.shape[-2], columns.shape[-1])
    full = reshape_to(g, shape)
    by_rows = sum_to(product(full, swap(columns)), rows.shape)
    by_columns = sum_to(product(swap(rows), full), columns.shape)
    return reshape_to(by_rows, x.shape), reshape_to(by_columns, y.shape)


def identity(fold: Op, dtype: DType) -> bool | int | float:
    """Return what a row of FOLDS combines with any x to x."""
    of_floats, of_integers = _IDENTITIES[fold.name]
    return of_floats if dtype.is_float else bool(of_floats) if dtype is bool_ else of_integers(dtype)


# --------------------------------------------------------------------------------------- builders


def broadcast_to(x: Node, shape: Shape) -> Node:
    """Return `x` repeated to `shape`, as np.broadcast_to."""
    if x.is_const and x.shape and not is_sized(shape):  # of any size: what is repeated is one number
        x = structure(reshape, (x,), {"shape": ()}, x.dtype, ()) if math.prod(x.shape) == 1 else x
    return structure(broadcast, (x,), {"shape": shape}, x.dtype, shape)


def filled(number: float, dtype: DType, shape: Shape, structural: bool | None = None) -> Node:
    """Return a constant of one number everywhere; of a shape with Dims, that number broadcast."""
    if is_sized(shape):
        return constant(np.full(shape, number, dtype.numpy) if shape else number, dtype, structural)
    return broadcast_to(constant(number, dtype, structural), shape)


def length_of(x: Node, axes: tuple[int, ...]) -> Node:
    """Return the number of elements of `x` along axes, an int64."""
    return structure(length, (x,), {"axes": axes}, int64, ())


def places_of(x: Node, axes: tuple[int, ...]) -> Node:
    """Return for each element of `x` its row-major place along axes (ascending), an int32."""
    return structure(place, (x,), {"axes": axes}, int32, x.shape)


def reshape_to(x: Node, shape: Shape) -> Node:
    """Return the elements of `x` in row-major order in `shape`, which has no -1."""
    return structure(reshape, (x,), {"shape": shape}, x.dtype, shape)


def transpose_by(x: Node, axes: tuple[int, ...]) -> Node:
    """Return `x` with axis axes[i] at place i."""
    return structure(transpose, (x,), {"axes": axes}, x.dtype, tuple(x.shape[axis] for axis in axes))


def swap(x: Node) -> Node:
    """Return `x` with its last two axes exchanged."""
    n = len(x.shape)
    return transpose_by(x, (*range(n - 2), n - 1, n - 2))


def pack_of(items: Sequence[Node], shape: Shape) -> Node:
    """Return the array of scalar nodes in row-major order, promoted to one type."""
    joint = items[0].dtype
    for item in items:
        joint = promote(joint, item.dtype)
    return structure(pack, [convert(item, joint) for item in items], {"shape": shape}, joint, shape)


def take_by(x: Node, index: Index) -> Node:
    """Return the elements of `x` at static places; shape () gives a scalar."""
    return structure(take, (x,), {"index": index}, x.dtype, index.shape)


def gather_from(x: Node, index: Node) -> Node:
    """Return the rows of `x` (its axis 0) at run-time places. Cost: a load; len(x) - 1 selects if x is made of scalars."""
    if not index.dtype.is_int:
        raise TypeMismatch(f"{user_line()}: an index must be an integer, not {index.dtype}. Use x.astype('int32').")
    if not x.shape or x.shape[0] == 0:
        raise ShapeError(f"{user_line()}: an array of shape {x.shape} has no element to index.")
    return structure(gather, (x, index), None, x.dtype, (*index.shape, *x.shape[1:]))


def element(x: Node, place: int) -> Node:
    """Return the scalar at a flat place of `x`."""
    return x.args[place] if x.op is pack else structure(take, (x,), _place(place), x.dtype, ())


@lru_cache(maxsize=1024)
def _place(place: int) -> dict[str, Index]:
    return {"index": Index(np.asarray(place))}


def spread_by(x: Node, index: Index, shape: Shape) -> Node:
    """Return zeros of `shape` with each element of `x` added at its static place."""
    return structure(spread, (x,), {"index": index, "shape": shape}, x.dtype, shape)


def concatenate(xs: Sequence[Node], axis: int) -> Node:
    """Return arrays joined along `axis` (not negative), promoted to one type."""
    first = xs[0].shape
    for x in xs:
        if x.shape[:axis] + x.shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise ShapeError(f"{user_line()}: concat of shapes {first} and {x.shape} along axis {axis}.")
    joint = xs[0].dtype
    for x in xs:
        joint = promote(joint, x.dtype)
    length = sum(x.shape[axis] for x in xs)
    shape = (*first[:axis], length, *first[axis + 1 :])
    return structure(concat, [convert(x, joint) for x in xs], {"axis": axis}, joint, shape)


def reduce(op: Op, x: Node, axes: tuple[int, ...]) -> Node:
    """Return a reduction row over `axes` (ascending, not negative); bool sums count as int32."""
    if not axes:
        return x
    if any(x.shape[axis] == 0 for axis in axes):
        raise ShapeError(f"{user_line()}: {op} of no elements (shape {x.shape}).")
    wanted: DType = bool_ if op in (any_, all_) else (int32 if x.dtype is bool_ else x.dtype)
    shape = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    if not is_sized(x.shape) and all(x.shape[axis] == 1 for axis in axes):
        return reshape_to(convert(x, wanted), shape)
    return structure(op, (convert(x, wanted),), {"axes": axes}, wanted, shape)


def product(x: Node, y: Node) -> Node:
    """Return x @ y with NumPy's shape rules. Raises ShapeError."""
    joint = promote(promote(x.dtype, y.dtype), int32)
    x, y = convert(x, joint), convert(y, joint)
    if not x.shape or not y.shape or x.shape[-1] != y.shape[-2 if len(y.shape) > 1 else 0]:
        raise ShapeError(f"{user_line()}: matrix product of shapes {x.shape} and {y.shape}: inner lengths must be equal.")
    try:
        batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise ShapeError(f"{user_line()}: matrix product of shapes {x.shape} and {y.shape}: batches differ.") from None
    shape = (*batch, *x.shape[-2:-1], *(y.shape[-1:] if len(y.shape) > 1 else ()))
    return structure(matmul, (x, y), None, joint, shape)


def sum_to(g: Node, shape: Shape) -> Node:
    """Return `g` summed over the axes along which `shape` was broadcast to g.shape."""
    if g.shape == shape:
        return g
    extra = len(g.shape) - len(shape)
    axes = [*range(extra), *[extra + i for i, size in enumerate(shape) if size == 1 and g.shape[extra + i] != 1]]
    return reshape_to(reduce(sum_, g, tuple(axes)), shape)


