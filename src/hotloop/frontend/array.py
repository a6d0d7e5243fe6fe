"""`Array`: what vectors, tensors and quaternions share. Each holds one node of the graph, in `.node`.

Operators broadcast as in NumPy between arrays, traced scalars, lists, NumPy arrays and numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from hotloop import _graph
from hotloop._graph import apply_scalars, wrap
from hotloop.dtypes import DType, as_dtype, bool_, check_range, int64, promote
from hotloop.errors import ShapeError, TruthError, TypeMismatch
from hotloop.frontend import reductions
from hotloop.frontend.indexing import Key, replaced, taken
from hotloop.frontend.length import Length, dims, lengths, same_elements
from hotloop.frontend.literals import computed, node_of, scalars
from hotloop.frontend.methods import Methods
from hotloop.frontend.power import power
from hotloop.frontend.scalar import value
from hotloop.ir.dim import is_sized
from hotloop.ir.fold import evaluate
from hotloop.ir.graph import Node, Number, Shape, apply, convert, exact_numbers, literal_dtype, source_line, user_line
from hotloop.ir.op import Op
from hotloop.ops import arith, logic
from hotloop.ops.shape import amax, amin, pack_of, product, reshape_to, transpose_by

NumLike = value | int | float
Axis = int | tuple[int, ...] | None
# What functions and operators take. Any: nested sequences of numbers and traced values
Operand = Any


class Array(Methods):
    """A traced array: one node, whatever its size.

    Operators, functions and indexing are NumPy's. An array never changes: `a[i] = x` makes `a` refer
    to a new array, and views do not alias. Elements that reductions and full indices give are
    traced scalars (`value`).
    """

    __slots__ = ("node",)
    __array_priority__ = 1000
    __array_ufunc__ = None  # NumPy arrays leave mixed operations to us
    __hash__ = object.__hash__
    node: Node
    vector_class: ClassVar[type[Array]]
    tensor_class: ClassVar[type[Array]]
    is_elementwise: ClassVar[bool] = True  # quaternions are not: their product is not element by element

    def __init_subclass__(cls, rank: int | None = None) -> None:
        if rank == 1:
            Array.vector_class = cls
        elif rank is not None:
            Array.tensor_class = cls

    def __init__(self, source: Operand, dtype: Any = None) -> None:  # Any: every spelling of a type
        raise TypeMismatch(f"{user_line()}: use vector(), tensor() or quaternion().")

    @classmethod
    def of(cls, node: Node) -> Self:
        """Return an array of this class for a node."""
        array = cls.__new__(cls)
        array.node = node
        return array

    def like(self, node: Node) -> Any:  # Any: value, vector or tensor, by rank
        """Return what a reduction or an index of this array is: a scalar, a vector or a tensor."""
        return _wrapped(node, not isinstance(self, Array.tensor_class))

    def _apply(self, op: Op, *others: Operand) -> Any:  # Any: value, vector or tensor
        return elementwise(op, self, *others)

    # -- facts ------------------------------------------------------------------------------------

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.node.dtype

    @property
    def shape(self) -> Shape:
        """Lengths of the axes; () for a tensor without axes. Under jit, large arrays have lengths of any size."""
        return lengths(self.node)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.node.shape)

    @property
    def name(self) -> str | None:
        """The name given to an input."""
        return getattr(self.node.attr, "name", None)

    @property
    def values(self) -> tuple[value, ...]:
        """The elements as traced scalars, in row-major order. Cost: one object each."""
        return tuple([wrap(node) for node in scalars(self.node)])

    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeMismatch(f"{user_line()}: a tensor of shape () has no length.")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.node.op}: {self.dtype}{list(self.node.shape)}, {source_line(self.node)})"

    def __bool__(self) -> bool:
        raise TruthError(
            f"{user_line()}: a traced array of shape {self.node.shape} has no truth. "
            "Use x.any() or x.all() with hl.iif, or hl.where(mask, a, b)."
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:  # Any: NumPy's protocol
        raise TruthError(
            f"{user_line()}: NumPy functions need numbers now, but this array is traced. "
            "Use hotloop's functions (hl.sin, hl.concat, ...), or tg.read_value(x) after a run."
        )

    # -- elements ---------------------------------------------------------------------------------

    def __getitem__(self, key: Key) -> Any:  # Any: value, vector or tensor
        """Index as NumPy does; a traced integer looks up at run time, clamped to the array."""
        return self.like(taken(self.node, key))

    def __setitem__(self, key: Key, item: Operand) -> None:
        node = node_of(item, self.dtype)
        if node is None:
            raise TypeMismatch(f"{user_line()}: {item!r} cannot be an element of an array.")
        self.node = replaced(self.node, key, node)

    def __iter__(self) -> Iterator[Any]:  # Any: value, or an array of one axis less
        return iter([self[i] for i in range(len(self))])

    def get_scalar(self, *index: int) -> value:
        """Return one element as a traced scalar. Raises ShapeError unless there is one index an axis."""
        if len(index) != self.ndim:
            raise ShapeError(f"{user_line()}: {len(index)} indices for one element of an array of shape {self.node.shape}.")
        return wrap(taken(self.node, index))

    def map(self, function: Callable[[value], NumLike]) -> Self:
        """Return the array of `function(element)`, traced element by element."""
        items = [node_of(function(item)) for item in self.values]
        if not items or any(item is None or item.shape for item in items):
            raise TypeMismatch(f"{user_line()}: map() needs a function that returns a number or a traced scalar.")
        return self.of(pack_of([item for item in items if item is not None], self.shape))

    def homogenize(self) -> Self:
        """Return the array itself: its elements always have one type."""
        return self

    def astype(self, dtype: Any) -> Self:  # Any: every spelling of a type
        """Convert to `dtype`; float to int truncates and saturates, NaN gives 0."""
        return self.of(convert(self.node, as_dtype(dtype)))

    def copy(self) -> Self:
        """Return another name for the same elements; assignments to one do not change the other."""
        return self.of(self.node)

    # -- shapes -----------------------------------------------------------------------------------

    def reshape(self, *shape: int | Sequence[int]) -> Any:  # Any: vector or tensor
        """Return the elements in row-major order in `shape`; one length may be -1."""
        wanted = dims(_lengths(shape))
        if not is_sized((*self.node.shape, *wanted)):
            return self._arranged(reshape_to(self.node, same_elements(self.node.shape, wanted)))
        known = math.prod(length for length in wanted if length != -1)
        fits = wanted.count(-1) == 0 and known == self.size()
        fits = fits or (wanted.count(-1) == 1 and known > 0 and self.size() % known == 0)
        if not fits or any(length < -1 for length in wanted):
            raise ShapeError(f"{user_line()}: cannot reshape {self.shape} to {wanted}: {self.size()} elements.")
        full = tuple(self.size() // known if length == -1 else length for length in wanted)
        return self._arranged(reshape_to(self.node, full))

    def flatten(self) -> Any:  # Any: vector or tensor
        """Return all elements along one axis, in row-major order."""
        return self.reshape(-1) if not is_sized(self.node.shape) or self.size() else self.reshape(0)

    def transpose(self, *axes: int | Sequence[int]) -> Any:  # Any: vector or tensor
        """Permute the axes; without arguments, reverse them. Negative axes count from the end."""
        order = _lengths(axes) if axes else tuple(reversed(range(self.ndim)))
        normal = reductions.axes_of(order, self.node.shape, ascending=False)
        if len(normal) != self.ndim:
            raise ShapeError(f"{user_line()}: transpose of shape {self.node.shape} needs all its axes, not {order}.")
        return self._arranged(transpose_by(self.node, normal) if self.ndim > 1 else self.node)

    @property
    def T(self) -> Any:  # NumPy's name. Any: vector or tensor
        """The transpose: the axes in reverse order."""
        return self.transpose()

    def _arranged(self, node: Node) -> Any:  # Any: vector or tensor
        return Array.tensor_class.of(node) if not node.shape else self.like(node)

    # -- reductions -------------------------------------------------------------------------------

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Sum, in hotloop's fixed order; bools count. axis: int, tuple (negative too) or None for all."""
        return self.like(reductions.total(self.node, axis, keepdims))

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Product, in hotloop's fixed order."""
        return self.like(reductions.multiplied(self.node, axis, keepdims))

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Arithmetic mean, a float."""
        return self.like(reductions.mean(self.node, axis, keepdims))

    def var(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
        """Variance: the mean of squared distances from the mean, with divisor n - ddof."""
        return self.like(reductions.variance(self.node, axis, keepdims, ddof))

    def std(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
        """Return the standard deviation: the square root of `var`."""
        return self.like(reductions.deviation(self.node, axis, keepdims, ddof))

    def min(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Smallest element; NaN if there is one. The gradient is shared by equal elements."""
        return self.like(reductions.reduced(amin, self.node, axis, keepdims))

    def max(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Largest element; NaN if there is one. The gradient is shared by equal elements."""
        return self.like(reductions.reduced(amax, self.node, axis, keepdims))

    def any(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Whether any element is not zero."""
        return self.like(reductions.holds(self.node, axis, keepdims, every=False))

    def all(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Whether all elements are not zero."""
        return self.like(reductions.holds(self.node, axis, keepdims, every=True))

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """Place (int32) of the first smallest element, or of the first NaN."""
        return self.like(reductions.place_of(amin, self.node, axis, keepdims))

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """Place (int32) of the first largest element, or of the first NaN."""
        return self.like(reductions.place_of(amax, self.node, axis, keepdims))

    def norm(self, ord: float | None = None, axis: Axis = None, keepdims: bool = False) -> Any:
        """Length: the root of the sum of squares; ord=1 sum and ord=inf maximum of magnitudes.

        The derivative at zero is 0. Squares above the largest float overflow to inf.
        """
        return self.like(reductions.norm(self.node, ord, axis, keepdims))

    def magnitude(self) -> value:
        """Return the root of the sum of squares of all elements; its derivative at zero is 0."""
        return wrap(reductions.norm(self.node, None, None, False))

    def normalize(self) -> Self:
        """Return the array divided by its magnitude; an array of zeros stays zeros."""
        length = reductions.norm(self.node, None, None, False)
        safe = apply(logic.select, apply(logic.eq, length, 0.0), 1.0, length)
        return self.of(apply(arith.div, self.node, safe))

    # -- products ---------------------------------------------------------------------------------

    def dot(self, other: Operand) -> Any:  # Any: value, vector or tensor
        """Return the product `self @ other`."""
        return matmul(self, other)

    def cross(self, other: Operand) -> Array:
        """Return the cross product of two arrays of 3 elements. Raises ShapeError for other shapes."""
        a, b = self.node, node_of(other, self.dtype)
        if b is None or a.shape != (3,) or b.shape != (3,):
            raise ShapeError(f"{user_line()}: cross needs two vectors of 3 elements, not shapes {a.shape} and {b and b.shape}.")
        ax, ay, az, bx, by, bz = *scalars(a), *scalars(b)
        return self.like(pack_of([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], (3,)))  # type: ignore[no-any-return]

    def matmul(self, other: Operand) -> Any:  # Any: value, vector or tensor
        """Return the matrix product `self @ other`, as NumPy's."""
        return matmul(self, other)

    def __matmul__(self, other: Operand) -> Any:
        found = matmul_or_none(self, other)
        return NotImplemented if found is None else found

    def __rmatmul__(self, other: Operand) -> Any:
        return matmul(other, self)

    # -- operators --------------------------------------------------------------------------------

    def __add__(self, other: Operand) -> Any:
        return combine(arith.add, self, other)

    def __radd__(self, other: Operand) -> Any:
        return combine(arith.add, other, self)

    def __sub__(self, other: Operand) -> Any:
        return combine(arith.sub, self, other)

    def __rsub__(self, other: Operand) -> Any:
        return combine(arith.sub, other, self)

    def __mul__(self, other: Operand) -> Any:
        return combine(arith.mul, self, other)

    def __rmul__(self, other: Operand) -> Any:
        return combine(arith.mul, other, self)

    def __truediv__(self, other: Operand) -> Any:
        return combine(arith.div, self, other)

    def __rtruediv__(self, other: Operand) -> Any:
        return combine(arith.div, other, self)

    def __floordiv__(self, other: Operand) -> Any:
        return combine(arith.floordiv, self, other)

    def __rfloordiv__(self, other: Operand) -> Any:
        return combine(arith.floordiv, other, self)

    def __mod__(self, other: Operand) -> Any:
        return combine(arith.mod, self, other)

    def __rmod__(self, other: Operand) -> Any:
        return combine(arith.mod, other, self)

    def __divmod__(self, other: Operand) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: Operand) -> tuple[Any, Any]:
        return other // self, other % self

    def __pow__(self, other: Operand) -> Any:
        return combine_powers(self, other)

    def __rpow__(self, other: Operand) -> Any:
        return combine_powers(other, self)

    def __and__(self, other: Operand) -> Any:
        return combine(logic.and_, self, other)

    def __rand__(self, other: Operand) -> Any:
        return combine(logic.and_, other, self)

    def __or__(self, other: Operand) -> Any:
        return combine(logic.or_, self, other)

    def __ror__(self, other: Operand) -> Any:
        return combine(logic.or_, other, self)

    def __xor__(self, other: Operand) -> Any:
        return combine(logic.xor, self, other)

    def __rxor__(self, other: Operand) -> Any:
        return combine(logic.xor, other, self)

    def __lshift__(self, other: Operand) -> Any:
        return combine(logic.lshift, self, other)

    def __rlshift__(self, other: Operand) -> Any:
        return combine(logic.lshift, other, self)

    def __rshift__(self, other: Operand) -> Any:
        return combine(logic.rshift, self, other)

    def __rrshift__(self, other: Operand) -> Any:
        return combine(logic.rshift, other, self)

    def __lt__(self, other: Operand) -> Any:
        return combine(logic.lt, self, other)

    def __le__(self, other: Operand) -> Any:
        return combine(logic.le, self, other)

    def __gt__(self, other: Operand) -> Any:
        return combine(logic.gt, self, other)

    def __ge__(self, other: Operand) -> Any:
        return combine(logic.ge, self, other)

    def __eq__(self, other: Operand) -> Any:
        return combine(logic.eq, self, other)

    def __ne__(self, other: Operand) -> Any:
        return combine(logic.ne, self, other)

    def __neg__(self) -> Self:
        return self.of(apply(arith.neg, self.node))

    def __pos__(self) -> Self:
        return self

    def __invert__(self) -> Self:
        return self.of(apply(logic.invert, self.node))

    def __abs__(self) -> Any:  # Any: an array, or the norm of a quaternion
        return self.of(apply(arith.abs_, self.node))


# --------------------------------------------------------------------------- operands to results


def _lengths(given: Sequence[int | Sequence[int]]) -> tuple[int, ...]:
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        return tuple(given[0])
    return tuple(given)  # type: ignore[arg-type]


def _wrapped(node: Node, vectors: bool) -> Any:  # Any: value, vector or tensor
    """Return the traced object of a node: one axis gives a vector where all operands were vectors."""
    rank = len(node.shape)
    if rank == 0:
        return wrap(node)
    return (Array.vector_class if rank == 1 and vectors else Array.tensor_class).of(node)


def _operands(operands: tuple[Operand, ...]) -> tuple[list[Node | Number], bool] | None:
    """Return what `apply` takes for operands, and whether every array among them is a vector."""
    nodes: list[Node | Number] = []
    vectors = True
    for x in operands:
        kind = type(x)
        if kind is value:
            nodes.append(x.node)
        elif isinstance(x, Array):
            if not x.is_elementwise:
                return None
            vectors = vectors and not isinstance(x, Array.tensor_class)
            nodes.append(x.node)
        elif kind is int or kind is float or kind is bool:
            nodes.append(x)
        else:
            return _operands_beside_lists(operands)
    return nodes, vectors


def _operands_beside_lists(operands: tuple[Operand, ...]) -> tuple[list[Node | Number], bool] | None:
    """Do what `_operands` does where there are lists, whose numbers take the type of what is traced."""
    joint: DType | None = None
    vectors = True
    for x in operands:
        if isinstance(x, (Array, value)):
            joint = x.node.dtype if joint is None else promote(joint, x.node.dtype)
            vectors = vectors and not isinstance(x, Array.tensor_class)
            if isinstance(x, Array) and not x.is_elementwise:
                return None
    nodes: list[Node | Number] = []
    for x in operands:
        node = x if type(x) in (int, float, bool) else node_of(x, joint)
        if node is None:
            return None
        nodes.append(node)
    return nodes, vectors


def combine(op: Op, a: Operand, b: Operand) -> Any:  # Any: the traced result, or NotImplemented
    """Apply a binary operator where at least one operand is traced and one is not a scalar."""
    found = _operands((a, b))
    if found is None:
        return NotImplemented
    return _elementwise_result(apply(op, *found[0]), found[1], (a, b))


def combine_powers(a: Operand, b: Operand) -> Any:  # Any: the traced result, or NotImplemented
    """Return a ** b (see `power.power`) where at least one operand is an array."""
    found = _operands((a, b))
    if found is None:
        return NotImplemented
    for length in (a, b):
        if isinstance(length, Length):
            length.dim.ask()  # a power of an int is a product: it depends on the number
    return _elementwise_result(power(found[0][0], found[0][1]), found[1], (a, b))


def _elementwise_result(node: Node, vectors: bool, operands: tuple[Operand, ...]) -> Any:
    if not node.shape and any(isinstance(x, Array) for x in operands):
        return Array.tensor_class.of(node)  # 0-d in, 0-d out
    return _wrapped(node, vectors)


def elementwise(op: Op, *operands: Operand) -> Any:  # Any: number, NumPy array, value, vector or tensor
    """Apply a row to numbers, traced values, arrays and lists; only numbers in, a number out.

    Python numbers alone are computed at once as float64 and int64, NumPy's in their own type, with
    the bits of the compiled function. Raises TypeMismatch, ShapeError.
    """
    found = apply_scalars(op, *operands)
    return _elementwise_general(op, operands) if found is None else found


def _elementwise_general(op: Op, operands: tuple[Operand, ...]) -> Any:
    if all(isinstance(x, (bool, int, float, np.generic, np.ndarray)) for x in operands) and not any(map(_holds_objects, operands)):
        return computed_now(op, operands)
    found = _operands(operands)
    if found is None:
        given = ", ".join(type(x).__name__ for x in operands)
        raise TypeMismatch(f"{user_line()}: {op} does not take ({given}). It takes numbers, traced values, vectors, tensors and lists.")
    return _elementwise_result(apply(op, *found[0]), found[1], operands)


def _holds_objects(x: Any) -> bool:  # Any: numbers and NumPy arrays
    return isinstance(x, np.ndarray) and x.dtype.hasobject


def computed_now(op: Op, operands: Sequence[Any]) -> Any:  # Any: Python and NumPy numbers
    """Evaluate a row on numbers and NumPy arrays: Python numbers give Python numbers."""
    strong = [isinstance(x, (np.generic, np.ndarray)) for x in operands]
    arrays = [computed(np.asarray(x)) if typed else x for x, typed in zip(operands, strong, strict=True)]
    joint: DType | None = None
    for array in arrays:
        if isinstance(array, np.ndarray):
            joint = as_dtype(array.dtype) if joint is None else promote(joint, as_dtype(array.dtype))
    with exact_numbers():
        arrays = [x if isinstance(x, np.ndarray) else _number_array(x, literal_dtype(x, joint)) for x in arrays]
    types = tuple(as_dtype(array.dtype) for array in arrays)
    counted = tuple(int64 if dtype is bool_ and not any(strong) else dtype for dtype in types)  # True counts as 1
    found = op.resolve(counted) or op.resolve(types)
    if found is None:
        given = ", ".join(str(array.dtype) for array in arrays)
        raise TypeMismatch(f"{user_line()}: {op} does not take ({given}).")
    wanted, dtype = found
    try:
        result = evaluate(op, [array.astype(want.numpy) for array, want in zip(arrays, wanted, strict=True)])
    except ValueError:
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise ShapeError(f"{user_line()}: {op} of shapes {shapes}: lengths must be equal or 1.") from None
    result = np.asarray(result).astype(dtype.numpy)
    return result[()] if any(strong) else result.item()


def _number_array(number: Number, dtype: DType) -> np.ndarray[Any, Any]:
    check_range(number, dtype, f"{user_line()}: the number")
    return np.asarray(number, dtype.numpy)


def matmul(a: Operand, b: Operand) -> Any:  # Any: value, vector or tensor
    """Return the matrix product of two arrays or lists. Raises ShapeError, TypeMismatch."""
    found = matmul_or_none(a, b)
    if found is None:
        given = f"{type(a).__name__} and {type(b).__name__}"
        raise TypeMismatch(f"{user_line()}: matrix product of {given}. It takes vectors, tensors, lists and NumPy arrays.")
    return found


def matmul_or_none(a: Operand, b: Operand) -> Any:  # Any: value, vector or tensor
    """Return the matrix product, or None for operands that are no arrays."""
    found = _operands((a, b))
    if found is None:
        return None
    x, y = found[0]
    if not isinstance(x, Node) or not isinstance(y, Node):
        return None
    return _wrapped(product(x, y), isinstance(a, Array.vector_class) or isinstance(b, Array.vector_class))


_graph.set_array_operator(combine)
