"""The graph: immutable, interned, typed nodes, folded and simplified as they are built.

A `Node` (in C, graph.c) has id, op, args, attr, dtype, shape and where: the place in the user's
source. A node is made by `apply` (rows), `constant`, `input_node`, `state_node`, `structure` (array and
control rows) and never changes. Equal nodes are one object, so common subexpressions never exist
twice. Ids ascend, so the order of creation is a topological order. Nodes hold their operands and
nothing holds a node but its users, so a graph is freed with the values that refer to it.
"""

from __future__ import annotations

import itertools
import math
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os.path import basename, dirname  # pathlib takes 5 ms to import
from typing import Any

import numpy as np

from hotloop import _graph
from hotloop._graph import EXTRA, STATEFUL, intern, remember_rule
from hotloop._graph import Node as Node  # the rest of the package takes both from here
from hotloop._graph import apply as apply
from hotloop.dtypes import COMPUTE, DType, as_dtype, bool_, check_range, float32, float64, int32, int64, promote
from hotloop.errors import DivisionByZero, RangeError, ShapeError, TypeMismatch
from hotloop.ir.dim import Shape as Shape
from hotloop.ir.dim import broadcast_shapes, is_sized
from hotloop.ir.fold import evaluate
from hotloop.ir.op import REGISTRY, Op, untyped

Number = bool | int | float

# The structural rows: what a program is made of beside operations. They have neither `c` nor `lower`.
CONST = Op("const", untyped(), np.asarray, doc="A constant; attr is a `Constant`.")
INPUT = Op("input", untyped(), np.asarray, doc="A value written from outside; attr is a `Cell`.")
STATE = Op("state", untyped(), np.asarray, doc="A value that carries from run to run; attr is a `Cell`.")
PARAM = Op("param", untyped(), np.asarray, doc="A variable bound by a loop; attr is its serial.")
LOOP = Op("loop", untyped(), np.asarray, doc="A loop; attr is a `Body`, operands are inits and captures.")
ITEM = Op("item", untyped(), np.asarray, doc="Result number attr of a loop.")

_PACKAGE = dirname(dirname(__file__)) + "/"
_NUMPY_SCALARS: dict[type, DType] = {dtype.numpy.type: dtype for dtype in COMPUTE}
_serials = itertools.count()


class Constant(_graph.Constant):
    """The value of a constant node: a Python number for shape (), else a read-only array.

    `structural` marks zeros that the user wrote as Python numbers or that a sparse constructor
    made; only those absorb (x * 0 -> 0), see DESIGN 3.9.
    `exact` is what the user wrote, before it was rounded to float32. `key`: what arrays are equal by.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{self.value!r}{' structural' if self.structural and np.any(self.value == 0) else ''}"


class Cell:
    """Memory that outlives a run: an input (written from outside) or a state (written by the run)."""

    __slots__ = ("dtype", "exact", "init", "name", "next", "serial", "shape")

    def __init__(self, init: np.ndarray[Any, Any], dtype: DType, name: str | None) -> None:
        self.init = np.asarray(init, dtype.numpy)
        self.exact = init  # before it was rounded to the type
        self.dtype = dtype
        self.shape: Shape = self.init.shape
        self.name = name
        self.next: Node | None = None  # of a state: its value in the next run
        self.serial = next(_serials)

    def __repr__(self) -> str:
        return self.name or f"#{self.serial}"


class Body:
    """What a loop repeats: params bound per iteration, results that become the next params.

    trips is the static number of iterations, or None for a loop that runs while `condition`
    (a bool of the params) holds. index is the int32 param that counts, or None.
    """

    __slots__ = ("condition", "index", "params", "results", "trips")

    def __init__(
        self,
        params: tuple[Node, ...],
        results: tuple[Node, ...],
        trips: int | None,
        index: Node | None,
        condition: Node | None,
    ) -> None:
        self.params = params
        self.results = results
        self.trips = trips
        self.index = index
        self.condition = condition

    def _key(self) -> object:
        return (
            tuple(p.id for p in self.params),
            tuple(r.id for r in self.results),
            self.trips,
            self.index and self.index.id,
            self.condition and self.condition.id,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{self.trips or 'while'} x {len(self.params)} carried"


class _Mode(threading.local):
    """What Python's numbers mean while a program is traced in this thread."""

    int_dtype: DType = int32
    float_dtype: DType = float32
    structural: bool = True


_mode = _Mode()


@contextmanager
def exact_numbers() -> Iterator[None]:
    """Trace with Python's own numbers: int64, float64, and x * 0 kept as it is (jit, cu, arrays)."""
    before = _mode.int_dtype, _mode.float_dtype, _mode.structural
    _mode.int_dtype, _mode.float_dtype, _mode.structural = int64, float64, False
    _graph.set_exact_zeros(True)
    try:
        yield
    finally:
        _mode.int_dtype, _mode.float_dtype, _mode.structural = before
        _graph.set_exact_zeros(not _mode.structural)


def exact() -> bool:
    """Tell whether the trace has Python's own numbers (see `exact_numbers`)."""
    return not _mode.structural


def literal_dtype(number: Any, joint: DType | None) -> DType:
    """Return the type of a Python number beside operands of type `joint`, if there are any."""
    return _literal_dtype(number, joint) or default_dtype(number)


def default_dtype(number: Number) -> DType:
    """Return the type of a Python number that meets no typed operand."""
    if isinstance(number, bool):
        return bool_
    return _mode.int_dtype if isinstance(number, int) else _mode.float_dtype


# ----------------------------------------------------------------------------------- source lines


def source_line(node: Node) -> str:
    """Return "file.py:12" for the line of the user's program that made this node."""
    code, instruction = node.where
    lines = [line for start, end, line in code.co_lines() if start <= instruction < end and line]
    return f"{basename(code.co_filename)}:{lines[0] if lines else code.co_firstlineno}"


def user_line() -> str:
    """Return "file.py:12" for the line of the user's program that is running now."""
    frame = sys._getframe(1)  # noqa: SLF001 - what `inspect.currentframe` calls, without its import
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{basename(frame.f_code.co_filename)}:{frame.f_lineno}"


# -------------------------------------------------------------------------------------- builders


def constant(number: Any, dtype: DType | None = None, structural: bool | None = None) -> Node:
    """Return the constant node of a Python number, NumPy scalar or array.

    Python numbers and lists take `dtype` or the defaults of the trace; NumPy's keep their own.
    """
    if structural is None:
        structural = _mode.structural and not isinstance(number, (np.ndarray, np.generic))
    if isinstance(number, (bool, int, float)) and not isinstance(number, np.generic):
        dtype = dtype or default_dtype(number)
        return _scalar_constant(number, dtype, structural)
    if dtype is None and type(number) in _NUMPY_SCALARS:
        return _scalar_constant(number.item(), _NUMPY_SCALARS[type(number)], structural)
    array = np.asarray(number)
    if array.dtype.kind not in "biuf":
        raise TypeMismatch(f"{user_line()}: {number!r:.60} is no number. Use numbers, arrays of numbers and traced values.")
    dtype = dtype or as_dtype(array.dtype)
    if array.shape == ():
        return _scalar_constant(array.astype(dtype.numpy).item(), dtype, structural)
    narrow = array.astype(dtype.numpy)
    narrow.flags.writeable = False
    exact = array.copy() if dtype is float32 and array.dtype == np.float64 and (array != narrow).any() else None
    key = (narrow.shape, narrow.tobytes(), None if exact is None else exact.tobytes())
    return intern(CONST, (), Constant(narrow, dtype, structural, exact, key), dtype, narrow.shape, 0)


def _check_constant(number: Number, dtype: DType) -> None:
    try:
        check_range(number, dtype)
    except RangeError as error:
        raise RangeError(f"{user_line()}: {error}") from None


def _scalar_constant(number: Number, dtype: DType, structural: bool) -> Node:
    known = _graph.literal(number, dtype, structural)
    if known is not None:
        return known
    value: Number
    if dtype.is_float:
        if isinstance(number, int) or (dtype is float32 and math.isfinite(number)):
            _check_constant(number, dtype)
        value = float(np.float32(number)) if dtype is float32 else float(number)
    elif dtype is bool_:
        value = bool(number)
    else:
        _check_constant(number, dtype)
        value = int(number)
    # only a positive zero absorbs: -0.0 was written on purpose
    structural = structural and value == 0 and math.copysign(1.0, value) > 0
    attr = Constant(value, dtype, structural, number if dtype is float32 and value != number and value == value else None)
    return intern(CONST, (), attr, dtype, (), 0)


def constants(numbers: Iterable[Number], dtype: DType, structural: bool) -> list[Node]:
    """Return the constant node of each number."""
    return [_graph.literal(number, dtype, structural) or _scalar_constant(number, dtype, structural) for number in numbers]


def input_node(init: np.ndarray[Any, Any], dtype: DType, name: str | None = None) -> Node:
    """Return a new input of the shape of `init`; never equal to another."""
    cell = Cell(init, dtype, name)
    return intern(INPUT, (), cell, dtype, cell.shape, 0)


def symbolic_input(shape: Shape, dtype: DType, name: str | None = None) -> Node:
    """Return a new input with Dims in its shape: an argument of a function for arrays of any size."""
    cell = Cell(np.zeros((), dtype.numpy), dtype, name)
    cell.shape = shape
    return intern(INPUT, (), cell, dtype, shape, 0)


def state_node(init: np.ndarray[Any, Any], dtype: DType, name: str | None = None) -> Node:
    """Return a new state of the shape of `init`; its cell's `next` is set by the frontend."""
    cell = Cell(init, dtype, name)
    return intern(STATE, (), cell, dtype, cell.shape, STATEFUL | EXTRA)


def param_node(dtype: DType, shape: Shape) -> Node:
    """Return a new variable for a loop to bind."""
    return intern(PARAM, (), next(_serials), dtype, shape, 0)


def structure(op: Op, args: Iterable[Node], attr: Any, dtype: DType, shape: Shape) -> Node:
    """Return a node of a row whose type and shape the caller has worked out (array, control rows)."""
    args = tuple(args)
    if op.lower is not None and args and all(arg.op is CONST for arg in args) and is_sized(shape):
        values = [arg.attr.value for arg in args]
        keep = all(arg.attr.structural for arg in args)
        folded = op.lower(*[np.asarray(v, a.dtype.numpy) for v, a in zip(values, args, strict=True)], **(attr or {}))
        return constant(np.asarray(folded), dtype, structural=keep)
    if op.simplify is not None:
        simpler = op.simplify(*args, **(attr or {}))
        if simpler is not None:
            return simpler  # type: ignore[no-any-return]
    return intern(op, args, Attributes(attr) if isinstance(attr, dict) else attr, dtype, shape, EXTRA if op is LOOP else 0)


class Attributes(dict[str, Any]):
    """Parameters of an array row, by name; hashable, because nothing changes them."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


def apply_general(op: Op, *operands: Node | Number) -> Node:
    """Do for `apply` what its common case in C leaves: promote, fold, simplify, broadcast.

    Python numbers take the type of the other operands where it can hold them. Shapes broadcast as
    in NumPy. Raises TypeMismatch, ShapeError, RangeError, DivisionByZero.
    """
    args = _coerce(operands)
    if op.types.overloads and len(args) != op.arity:
        raise TypeMismatch(f"{user_line()}: {op} takes {op.arity} operands, not {len(args)}.")
    types = tuple([arg.dtype for arg in args])
    found = op.resolve(types)
    if found is None:
        raise _refused(op, types)
    wanted, dtype = found
    if wanted == types:
        remember_rule(op, types, dtype, op.simplify, op.commutative + 2 * op.alike + 4 * op.powers + 8 * op.divides)
    else:
        args = tuple([convert(arg, want) for arg, want in zip(args, wanted, strict=True)])
    shape = args[0].shape
    for arg in args[1:]:
        if arg.shape != shape:
            shape = _broadcast_shape(op, args)
            break
    if all(arg.op is CONST for arg in args):
        return _fold(op, args, dtype, shape)
    if op.simplify is not None:
        simpler = op.simplify(*args)
        if simpler is not None and (simpler.shape == shape or simpler.op is CONST):
            return simpler if simpler.shape == shape else _repeated(simpler, shape)
    if op.commutative and args[0].id > args[1].id:
        args = (args[1], args[0], *args[2:])
    return intern(op, args, None, dtype, shape, 0)


def _repeated(node: Node, shape: Shape) -> Node:
    """Return a constant in a larger shape: v * 0 is a vector of zeros."""
    if not is_sized(shape):
        return structure(REGISTRY["broadcast"], (node,), {"shape": shape}, node.dtype, shape)
    return constant(np.broadcast_to(np.asarray(node.attr.value, node.dtype.numpy), shape), structural=node.attr.structural)


def convert(node: Node, dtype: DType) -> Node:
    """Return `node` converted to `dtype`: float to int truncates and saturates, NaN gives 0."""
    if node.dtype is dtype:
        return node
    if node.op is CONST:
        value, structural = node.attr.value, node.attr.structural
        return constant(_cast(value, dtype), dtype, structural=structural)
    return apply(REGISTRY[f"to_{dtype.name}"], node)


def _cast(value: Any, dtype: DType) -> Any:
    source = np.asarray(value)
    with np.errstate(all="ignore"):
        return np.asarray(REGISTRY[f"to_{dtype.name}"].numpy(source)).astype(dtype.numpy)[()]


def _coerce(operands: tuple[Node | Number, ...]) -> tuple[Node, ...]:
    joint: DType | None = None
    for operand in operands:
        if isinstance(operand, Node):
            joint = operand.dtype if joint is None else promote(joint, operand.dtype)
    return tuple([o if isinstance(o, Node) else _literal(o, joint) for o in operands])


def _literal(number: Any, joint: DType | None) -> Node:
    return constant(number, _literal_dtype(number, joint))


def _literal_dtype(number: Any, joint: DType | None) -> DType | None:
    """Return the type of a Python number beside operands of type `joint` (NEP 50's weak literals)."""
    if joint is None or isinstance(number, (bool, np.generic, np.ndarray)):
        return None
    if isinstance(number, int):
        return joint if joint is not bool_ else None
    return joint if joint.is_float else None


def _broadcast_shape(op: Op, args: tuple[Node, ...]) -> Shape:
    try:
        return broadcast_shapes(*[arg.shape for arg in args])
    except ValueError:
        shapes = " and ".join(str(arg.shape) for arg in args)
        raise ShapeError(f"{user_line()}: {op} of shapes {shapes}: lengths must be equal or 1.") from None


def _fold(op: Op, args: tuple[Node, ...], dtype: DType, shape: Shape) -> Node:
    values = [np.asarray(arg.attr.value, arg.dtype.numpy) for arg in args]
    if op.divides and shape == () and values[1] == 0:
        raise DivisionByZero(f"{user_line()}: the constant {values[0]} is divided by zero.")
    if op.simplify is not None:
        simpler = op.simplify(*args)
        if simpler is not None and simpler.shape == shape:
            return simpler  # type: ignore[no-any-return]
    return constant(evaluate(op, values)[()], dtype, structural=all(a.attr.structural for a in args))


def _refused(op: Op, types: tuple[DType, ...]) -> TypeMismatch:
    given = ", ".join(map(str, types))
    hint = ""
    if any(t.is_float for t in types):
        hint = " Convert first: hl.int32(x), or hl.floor(x) and such."
    elif bool_ in types:
        hint = " Compare first: x != 0."
    return TypeMismatch(f"{user_line()}: {op} does not take ({given}).{hint}")


def reachable(outputs: Iterable[Node]) -> list[Node]:
    """Return all nodes that `outputs` need, operands before users; loops are taken whole.

    States bring their next values with them. Cost: linear, no recursion.
    """
    return _graph.reachable(list(outputs), _beside_operands)


def _beside_operands(node: Node) -> tuple[Node, ...]:
    """Return what a state or a loop needs that is not an operand."""
    attr = node.attr
    if node.op is STATE:
        return () if attr.next is None else (attr.next,)
    extra = tuple(n for n in (attr.index, attr.condition) if n is not None)
    return (*attr.params, *attr.results, *extra)


def _describe(node: Node) -> str:
    operands = ", ".join(f"%{arg.id}" for arg in node.args)
    attr = "" if node.attr is None else f" [{node.attr}]"
    shape = f"{list(node.shape)}" if node.shape else ""
    return f"%{node.id}: {node.dtype}{shape} = {node.op}({operands}){attr}"


_graph.configure(_PACKAGE, apply_general, _describe, Constant, CONST, COMPUTE)
