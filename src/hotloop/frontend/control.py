"""Choices, loops, memory between runs, and checked mode, for traced programs.

A traced program runs the same operations every time, so Python's `if`, `while` and `for` cannot look at
traced values. `iif` chooses between two results, `loop` and `while_loop` repeat, `state` remembers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from hotloop._graph import Scalar, wrap
from hotloop.dtypes import DType, as_dtype, bool_, check_range, int32, promote
from hotloop.errors import ShapeError, TraceError, TypeMismatch
from hotloop.frontend.array import Array
from hotloop.frontend.geometry import where
from hotloop.frontend.literals import array_node, node_of
from hotloop.frontend.matrix import tensor
from hotloop.frontend.quaternion import quaternion
from hotloop.frontend.scalar import value
from hotloop.frontend.structure import Tree, flatten
from hotloop.frontend.vector import vector
from hotloop.frontend.wrapping import rewrap, traced_node
from hotloop.ir.graph import Body, Node, apply, constant, convert, default_dtype, param_node, source_line, state_node, user_line
from hotloop.ir.loop import build_loop, dependents
from hotloop.ops.logic import lt, ne

_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)
_SCALARS = (Scalar, float, int)


def iif(cond: Any, a: Tree, b: Tree) -> Any:  # Any: a condition; a value of the structure of a and b
    """Return `a` where `cond` holds (is not zero), else `b`.

    cond: a traced scalar, an array (element by element), or a number, which picks at once. a, b: numbers,
    traced values, arrays, or nested lists, tuples and dicts of them in equal structure.
    Both sides are computed; the one not taken poisons nothing: not the result, not the gradient, and in
    checked mode it raises nothing. Raises ShapeError, TypeMismatch.
    """
    if isinstance(cond, _NUMBERS):
        return a if cond else b
    if isinstance(a, _SCALARS) and isinstance(b, _SCALARS):
        return where(cond, a, b)
    first, structure = flatten(a)
    second, other = flatten(b)
    if structure != other:
        raise TypeMismatch(f"{user_line()}: iif() chooses between two equal structures, not {_outline(a)} and {_outline(b)}.")
    return structure.unflatten([where(cond, x, y) for x, y in zip(first, second, strict=True)])


# ------------------------------------------------------------------------------------------ states


class _Next:
    """What states have beside their value: the value they take in the next run."""

    __slots__ = ()
    node: Node

    @property
    def next(self) -> Any:  # Any: a traced value of the state's class
        """The value in the next run; until it is set, the state itself."""
        following = self.node.attr.next
        return self if following is None else rewrap(self, following)

    @next.setter
    def next(self, source: Any) -> None:  # Any: a number, traced value, list or array
        cell = self.node.attr
        if _tracing.depth:
            raise TraceError(
                f"{user_line()}: a state cannot be set inside the body of a loop. Carry the value through the loop, and set "
                "the state to the result."
            )
        if cell.next is not None:
            raise TraceError(
                f"{user_line()}: the next value of state {cell} is already set, on {source_line(cell.next)}. A state is set once; "
                "use hl.iif to choose what to, or `del state.next` first."
            )
        following = node_of(source, self.node.dtype)
        if following is None:
            raise TypeMismatch(f"{user_line()}: the next value of a state is a traced value or number, not {source!r}.")
        if following.shape != self.node.shape:
            raise ShapeError(f"{user_line()}: a state of shape {self.node.shape} cannot become shape {following.shape}.")
        cell.next = convert(following, self.node.dtype)

    @next.deleter
    def next(self) -> None:
        self.node.attr.next = None


class state_value(value, _Next):
    """A traced scalar that remembers: made by `state`."""

    __slots__ = ()


class _ArrayState(_Next):
    """What states that are arrays have to say of themselves: results of operations on them are no states."""

    __slots__ = ()
    plain: ClassVar[type[Array]]

    @classmethod
    def of(cls, node: Node) -> Any:  # Any: vector, tensor or quaternion
        """Return an array for a node: no state, whatever class this is called on."""
        return cls.plain.of(node)

    @classmethod
    def remembering(cls, node: Node) -> Any:  # Any: a state of this class
        """Return the state of a STATE node."""
        made = cls.__new__(cls)
        made.node = node  # type: ignore[misc]  # the slot is that of Array
        return made

    def __setitem__(self, key: Any, item: Any) -> None:
        raise TraceError(
            f"{user_line()}: elements of a state cannot be assigned. Change a copy: x = s.copy(); x[i] = ...; s.next = x."
        )


class state_vector(_ArrayState, vector):
    """A traced vector that remembers: made by `state`."""

    __slots__ = ()
    plain = vector


class state_tensor(_ArrayState, tensor):
    """A traced tensor that remembers: made by `state`."""

    __slots__ = ()
    plain = tensor


class state_quaternion(_ArrayState, quaternion):
    """A traced quaternion that remembers: made by `state`."""

    __slots__ = ()
    plain = quaternion


def state(init: Any, dtype: Any = None, name: str | None = None) -> Any:  # Any: numbers, lists, arrays; dtype spellings; a state
    """Return a value that carries from one run of a program to the next.

    init: its value in the first run: a number, a list or array of numbers, or a constant vector, tensor or
    quaternion. dtype: as for `value`. name: for listings and reports.
    Use it like any traced value, and set `s.next = expression` once: after each run it takes that
    value. The expression is computed from the values before the run. A state whose next is never set keeps its
    value; the host may read and write it as an input. The next value is converted to the state's type.
    Raises: TypeMismatch for a traced init, RangeError; setting next raises ShapeError, TraceError.
    """
    if isinstance(init, _NUMBERS):
        kind = as_dtype(dtype) if dtype is not None else _number_dtype(init)
        check_range(init if isinstance(init, (int, float)) else init.item(), kind, name or f"{user_line()}: the initial value")
        made = state_value.__new__(state_value)
        made.node = state_node(np.asarray(init), kind, name)
        return made
    node = array_node(init, "state()", None if dtype is None else as_dtype(dtype))
    if not node.is_const:
        raise TypeMismatch(f"{user_line()}: state() needs a first value that is known now, not a traced one. Write it at run time instead.")
    cell = state_node(np.asarray(node.attr.exact), node.dtype, name)
    if isinstance(init, quaternion):
        return state_quaternion.remembering(cell)
    if isinstance(init, value):
        made = state_value.__new__(state_value)
        made.node = cell
        return made
    return (state_vector if len(cell.shape) == 1 and not isinstance(init, tensor) else state_tensor).remembering(cell)


def _number_dtype(number: Any) -> DType:
    return as_dtype(number.dtype) if isinstance(number, np.generic) else default_dtype(number)


# ------------------------------------------------------------------------------------------- loops


class _Tracing(threading.local):
    """How many bodies of loops are being traced in this thread."""

    depth: int = 0


_tracing = _Tracing()


@contextmanager
def _body() -> Iterator[None]:
    _tracing.depth += 1
    try:
        yield
    finally:
        _tracing.depth -= 1


def loop(n: Any, body: Callable[..., Any], *init: Tree, index: bool = False, unroll: bool = False) -> Any:  # Any: int or traced int
    """Return what `init` becomes after `n` times `x = body(x)`, as a native loop.

    n: an int, or a traced integer (then as `while_loop`; negative counts as 0). body(*carried) takes and returns
    as many structures as `init` gives: numbers, traced values, arrays, or nested lists, tuples and dicts.
    index: body(i, *carried) with i = 0, 1, ...  unroll: copy the body n times instead, with Python ints
    for i; loops of one trip are always copied, others never.
    Carried values keep their shape; their type is the one that holds both init and result (where a result needs
    a wider type, the body is traced again, at most 4 times). What the body uses besides is captured; it must not
    set states. A loop of constant n can be derived both ways.
    Code size: one body. Raises: ShapeError, TypeMismatch, TraceError.
    """
    if isinstance(n, (int, np.integer)) and not isinstance(n, bool):
        count = int(n)
        if count < 0:
            raise TypeMismatch(f"{user_line()}: a loop cannot run {count} times.")
        if unroll:
            return _unrolled(count, body, init, index)
        return _traced_loop(init, _repeat(body, index), None, count)
    node = traced_node(n)
    if node is None or node.shape or not node.dtype.is_int or unroll:
        what = "an int to unroll it" if unroll else "an int or a traced integer"
        raise TypeMismatch(f"{user_line()}: the count of a loop must be {what}, not {n!r}. Convert first: x.astype('int32').")

    def counted(trip: value, *carried: Any) -> Any:
        result = body(trip, *carried) if index else body(*carried)
        return trip + 1, *_as_results(result, len(init))

    count_node = node
    start = wrap(constant(0, count_node.dtype))

    def holds(trip: value, *_: Any) -> value:
        return wrap(apply(lt, trip.node, count_node))

    found = _traced_loop((start, *init), lambda _, carried: counted(*carried), holds, None)
    return found[1] if len(init) == 1 else found[1:]


def while_loop(cond: Callable[..., Any], body: Callable[..., Any], *init: Tree) -> Any:
    """Return what `init` becomes by `x = body(x)` while `cond(x)` holds, as a native loop.

    cond(*carried) returns a traced scalar (0 ends the loop), body(*carried) the next values; structures, types and
    captures as in `loop`. The number of trips has no bound: a condition that never fails never returns.
    It has forward derivatives (`jvp`, `jacobian`), no reverse ones. Raises: ShapeError, TypeMismatch, TraceError.
    """
    return _traced_loop(init, lambda _, carried: body(*carried), cond, None)


def _repeat(body: Callable[..., Any], index: bool) -> Callable[[value | None, Sequence[Any]], Any]:
    return lambda trip, carried: body(trip, *carried) if index else body(*carried)


def _unrolled(count: int, body: Callable[..., Any], init: tuple[Tree, ...], index: bool) -> Any:
    if not init:
        raise _nothing_carried()
    carried = init
    for trip in range(count):
        result = body(trip, *carried) if index else body(*carried)
        carried = tuple(_as_results(result, len(init)))
    return carried[0] if len(init) == 1 else carried


def _as_results(result: Any, count: int) -> Sequence[Any]:
    if count == 1:
        return (result,)
    if not isinstance(result, (tuple, list)) or len(result) != count:
        raise TypeMismatch(f"{user_line()}: the body of this loop carries {count} values and must return as many, not {_outline(result)}.")
    return result


def _nothing_carried() -> TypeMismatch:
    return TypeMismatch(f"{user_line()}: a loop carries at least one value: loop(n, body, init). Its body has no other effect.")


class _Carried:
    """One carried value: where it starts, and the type that holds the start and every result."""

    def __init__(self, leaf: Any) -> None:
        self.leaf = leaf
        node = node_of(leaf)
        if node is None:
            raise TypeMismatch(f"{user_line()}: a loop carries numbers, traced values and arrays, not {type(leaf).__name__} {leaf!r}.")
        self.node = node
        self.dtype = node.dtype

    def start(self) -> Node:
        """Return the initial value in the final type; Python's numbers are converted exactly."""
        weak = isinstance(self.leaf, (int, float)) and not isinstance(self.leaf, (bool, np.generic))
        return constant(self.leaf, self.dtype) if weak else convert(self.node, self.dtype)

    def traced(self, node: Node) -> Any:  # Any: a traced value of the class of the initial one
        """Return what the body sees."""
        return rewrap(self.leaf, node)


def _traced_loop(
    init: tuple[Tree, ...], step: Callable[[value | None, Sequence[Any]], Any], cond: Callable[..., Any] | None, trips: int | None
) -> Any:
    """Trace a body until the types of what it carries are settled, and return the carried structure."""
    if not init:
        raise _nothing_carried()
    leaves, structure = flatten(init)
    carried = [_Carried(leaf) for leaf in leaves]
    while True:
        params = tuple(param_node(c.dtype, c.node.shape) for c in carried)
        index = param_node(int32, ()) if trips is not None else None
        with _body():
            arguments = structure.unflatten([c.traced(param) for c, param in zip(carried, params, strict=True)])
            condition = None if cond is None else _condition(cond(*arguments))
            trip = None if index is None else wrap(convert(index, default_dtype(0)))
            result = _as_results(step(trip, arguments), len(init))
        results = _results(tuple(result), init, carried)
        if _settled(carried, results):
            break
    ends = tuple(convert(node, c.dtype) for node, c in zip(results, carried, strict=True))
    if condition is not None:
        _check_end(condition, [param for param, end in zip(params, ends, strict=True) if end is not param])
    final = build_loop([c.start() for c in carried], Body(params, ends, trips, _used(index, ends), condition))
    built = structure.unflatten([c.traced(node) for c, node in zip(carried, final, strict=True)])
    return built[0] if len(init) == 1 else built


def _used(index: Node | None, ends: Sequence[Node]) -> Node | None:
    return index if index is not None and dependents(ends, [index]) else None


def _condition(result: Any) -> Node:
    node = node_of(result)
    if node is None or node.shape:
        raise TypeMismatch(f"{user_line()}: the condition of a while loop is a traced scalar, not {_outline(result)}.")
    return node if node.dtype is bool_ else apply(ne, node, 0)


def _check_end(condition: Node, moving: Sequence[Node]) -> None:
    if not dependents([condition], moving):
        raise TraceError(
            f"{user_line()}: the condition of this while loop depends on nothing that the body changes, so the loop would never end. "
            "Carry what the condition looks at."
        )


def _results(result: tuple[Any, ...], init: tuple[Tree, ...], carried: Sequence[_Carried]) -> list[Node]:
    leaves, structure = flatten(result)
    if structure != flatten(init)[1]:
        wanted, given = (_outline(tree[0] if len(init) == 1 else tree) for tree in (init, result))
        raise TypeMismatch(f"{user_line()}: the body of a loop must return what it carries, {wanted}, not {given}.")
    found = []
    for leaf, c in zip(leaves, carried, strict=True):
        node = node_of(leaf, c.dtype)
        if node is None:
            raise TypeMismatch(f"{user_line()}: the body of a loop returns {type(leaf).__name__} {leaf!r}; it must be traced or a number.")
        if node.shape != c.node.shape:
            raise ShapeError(
                f"{user_line()}: a value of shape {c.node.shape} becomes shape {node.shape} in the body of a loop. Shapes are "
                "fixed: start from the final shape, for example hl.zeros(3)."
            )
        found.append(node)
    return found


def _settled(carried: Sequence[_Carried], results: Sequence[Node]) -> bool:
    """Whether every carried type holds its result; widens those that do not."""
    settled = True
    for c, node in zip(carried, results, strict=True):
        joint = promote(c.dtype, node.dtype)
        settled = settled and joint is c.dtype
        c.dtype = joint
    return settled


def _outline(tree: Tree) -> str:
    """Describe a structure in a few words, for messages."""
    leaves, structure = flatten(tree)
    return repr(structure.unflatten([_Word(type(leaf).__name__) for leaf in leaves]))


class _Word:
    """Prints as the word it holds."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __repr__(self) -> str:
        return self.word


# ----------------------------------------------------------------------------------- checked mode


class Checked:
    """A structure whose computation is checked when it is compiled; made by `checked`."""

    __slots__ = ("content",)

    def __init__(self, content: Tree) -> None:
        self.content = content

    def __repr__(self) -> str:
        return f"checked({self.content!r})"


def checked(x: Tree) -> Checked:
    """Mark what is given to `Target.compile` as checked: `run()` raises where its computation goes wrong.

    Division by zero raises DivisionByZero, an index outside its array BoundsError; NaN out of numbers, infinity
    out of finite numbers, wrapping integers, lossy conversions and shifts by negative counts raise CheckError, each with the
    user's line. Outputs hold what was computed nonetheless. What an `iif` does not take is not checked.
    Cost: about 2 to 6 operations for each one that can fail. `Target(checked=True)` checks everything.
    """
    return x if isinstance(x, Checked) else Checked(x)


__all__ = ["Checked", "checked", "iif", "loop", "state", "while_loop"]
