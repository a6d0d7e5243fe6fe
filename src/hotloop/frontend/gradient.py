"""Derivatives for users: `grad`, `jacobian`, `hessian`, `jvp` and `vjp` of traced values.

They take what a program has already traced: `grad(y, x)` is the derivative of y by x, wherever x lies
on the way to y. The result is an ordinary traced value, so derivatives of derivatives work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hotloop.errors import GradientError, ShapeError
from hotloop.frontend.literals import node_of
from hotloop.frontend.structure import Structure, flatten
from hotloop.frontend.wrapping import rewrap, traced_node, wrap_array
from hotloop.ir.graph import LOOP, Node, constant, convert, user_line
from hotloop.ir.loop import dependents
from hotloop.ops.shape import concatenate, element, reshape_to, transpose_by
from hotloop.passes.gradient import cotangents, derivative_dtype, ones, tangents, zeros

# What may be derived, and by what. Any: a traced scalar or array, or nested lists, tuples and dicts of them
Traced = Any
_FIRST = object()  # stands for an argument that was left out


def grad(y: Traced, x: Traced = _FIRST) -> Any:
    """Return the derivative of `y` by `x`, in the structure of `x`: reverse mode.

    Of a function made by `cu`, return a function that takes the same arguments and gives the derivative of its result, a
    float, by the argument `x`: its number or name, or a tuple of these; the first argument if x is left out.

    y: a traced value; of an array, list or structure the sum of all elements is derived.
    x: a traced scalar, vector, tensor, quaternion, or nested lists, tuples and dicts of them; an
    input or any other value on the way to y. What does not influence y has derivative 0, x by itself 1.
    Derivatives are floats: by an int32 float32, by an int64 float64. At a kink: abs 0 at 0, minimum and maximum
    of equals shared; rounding, comparison and // have derivative 0.
    Cost: linear in the operations between x and y; loops of constant count are expanded.
    Raises: GradientError for a number that is not traced, a row without derivative, and while loops.
    """
    if hasattr(y, "__gradient__"):
        return y.__gradient__(0 if x is _FIRST else x, False)
    if x is _FIRST:
        raise GradientError(f"{user_line()}: grad(y, x) needs to know by what: x is a traced value on the way to y.")
    outputs = _nodes(y, "the value to be derived")
    variables, structure = _variables(x)
    results = cotangents(outputs, [ones(output) for output in outputs], [variable.node for variable in variables])
    return structure.unflatten([rewrap(variable, result) for variable, result in zip(variables, results, strict=True)])


def value_and_grad(function: Any, x: Any = 0) -> Any:  # Any: a function made by `cu`; numbers and names
    """Return a function that gives the pair of what a function made by `cu` gives, and of its derivative; x is as in `grad`.

    Raises: GradientError.
    """
    if not hasattr(function, "__gradient__"):
        raise GradientError(f"{user_line()}: value_and_grad() takes a function made by @cu, not {type(function).__name__} {function!r}.")
    return function.__gradient__(x, True)


def vjp(y: Traced, x: Traced, cotangent: Any) -> Any:  # Any: numbers, lists or traced values, shaped as y
    """Return the derivative of `y` by `x`, weighted by a cotangent for each element of y: the row vector times the Jacobian.

    cotangent has the structure and shapes of y, the result those of x. Raises GradientError, ShapeError.
    """
    outputs = _nodes(y, "the value to be derived")
    seeds = _directions(outputs, cotangent, "cotangent")
    variables, structure = _variables(x)
    results = cotangents(outputs, seeds, [variable.node for variable in variables])
    return structure.unflatten([rewrap(variable, result) for variable, result in zip(variables, results, strict=True)])


def jvp(y: Traced, x: Traced, tangent: Any) -> Any:  # Any: numbers, lists or traced values, shaped as x
    """Return the derivative of `y` along the direction `tangent` of `x`: the Jacobian times a column vector. Forward mode.

    tangent has the structure and shapes of x, the result those of y. Loops stay loops, and while loops
    can be derived too. Raises GradientError, ShapeError.
    """
    results, structure = flatten(y)
    outputs = [_traced(result, "the value to be derived") for result in results]
    variables = _nodes(x, "the variable")
    found = tangents(outputs, variables, _directions(variables, tangent, "tangent"))
    return structure.unflatten([rewrap(result, part) for result, part in zip(results, found, strict=True)])


def jacobian(y: Traced, x: Traced) -> Any:  # Any: value, vector or tensor
    """Return all derivatives of `y` by `x`: shape y.shape + x.shape; a list or structure counts as one vector of its elements.

    A scalar by a scalar gives a scalar, a scalar by a vector a vector, a vector by a vector a matrix.
    Cost: one reverse sweep for each element of y, or one forward sweep for each of x, whichever are fewer.
    Raises GradientError.
    """
    outputs, rows = _joined(y, "the value to be derived")
    variables, columns = _joined(x, "the variable")
    forward = sum(map(_size, variables)) < sum(map(_size, outputs)) or _has_while(outputs, variables)
    matrix = _by_columns(outputs, variables) if forward else _by_rows(outputs, variables)
    return wrap_array(reshape_to(matrix, (*rows, *columns)))


def hessian(y: Traced, x: Traced) -> Any:  # Any: value or tensor
    """Return the second derivatives of a scalar `y` by `x`: shape x.shape + x.shape; a list counts as one vector.

    Cost: one reverse sweep, then one forward sweep over it for each element of x. Raises GradientError, ShapeError.
    """
    outputs, rows = _joined(y, "the value to be derived")
    if len(outputs) != 1 or rows:
        raise ShapeError(f"{user_line()}: hessian() derives one scalar, not shape {rows}. Use jacobian(grad(y, x), x).")
    variables, columns = _joined(x, "the variable")
    slopes = cotangents(outputs, [ones(outputs[0])], variables)
    return wrap_array(reshape_to(_by_columns(slopes, variables), (*columns, *columns)))


# --------------------------------------------------------------------------- operands and results


def _traced(leaf: Any, what: str) -> Node:
    node = traced_node(leaf)
    if node is None:
        raise GradientError(
            f"{user_line()}: {what} must be traced, not {type(leaf).__name__} {leaf!r}. Derivatives are of traced values by traced "
            "values: grad(y, x) with y computed from x = hl.value(...)."
        )
    return node


def _nodes(given: Traced, what: str) -> list[Node]:
    leaves, _ = flatten(given)
    if not leaves:
        raise GradientError(f"{user_line()}: {what} is empty: {given!r}.")
    return [_traced(leaf, what) for leaf in leaves]


def _variables(x: Traced) -> tuple[list[Any], Structure]:
    leaves, structure = flatten(x)
    for leaf in leaves:
        if _traced(leaf, "the variable").is_const:
            raise GradientError(
                f"{user_line()}: {leaf!r} is a constant, and nothing depends on a constant. "
                "Make it an input: hl.value(...), vector.input(...)."
            )
    return leaves, structure


def _directions(nodes: Sequence[Node], given: Any, what: str) -> list[Node]:
    leaves, _ = flatten(given)
    if len(nodes) == 1 and not getattr(given, "node", None):
        leaves = [given]  # a plain list is the direction of one array
    if len(leaves) != len(nodes):
        raise ShapeError(f"{user_line()}: the {what} has {len(leaves)} parts for {len(nodes)} values.")
    found = []
    for leaf, node in zip(leaves, nodes, strict=True):
        dtype = derivative_dtype(node.dtype)
        direction = node_of(leaf, dtype)
        if direction is None or direction.shape != node.shape:
            shape = repr(leaf) if direction is None else f"shape {direction.shape}"
            raise ShapeError(f"{user_line()}: the {what} of a value of shape {node.shape} must have this shape, not {shape}.")
        found.append(convert(direction, dtype))
    return found


def _joined(given: Traced, what: str) -> tuple[list[Node], tuple[int, ...]]:
    """Return the nodes of a structure and the shape of all their elements together."""
    nodes = _nodes(given, what)
    single = traced_node(given) is not None
    return nodes, nodes[0].shape if single else (sum(map(_size, nodes)),)


def _size(node: Node) -> int:
    return math.prod(node.shape)


def _has_while(outputs: Sequence[Node], variables: Sequence[Node]) -> bool:
    return any(node.op is LOOP and node.attr.trips is None for node in dependents(outputs, variables))


def _unit(node: Node, place: int) -> Node:
    dtype = derivative_dtype(node.dtype)
    array = np.zeros(_size(node), dtype.numpy)
    array[place] = 1
    return constant(array.reshape(node.shape), dtype, structural=True)


def _line(parts: Sequence[Node]) -> Node:
    """Join the elements of nodes along one axis."""
    flat = [reshape_to(part, (_size(part),)) for part in parts]
    return flat[0] if len(flat) == 1 else concatenate(flat, 0)


def _stack(lines: Sequence[Node]) -> Node:
    rows = [reshape_to(line, (1, *line.shape)) for line in lines]
    return rows[0] if len(rows) == 1 else concatenate(rows, 0)


def _by_rows(outputs: Sequence[Node], variables: Sequence[Node]) -> Node:
    lines = []
    for output in outputs:
        for place in range(_size(output)):
            scalar = element(output, place) if output.shape else output
            lines.append(_line(cotangents([scalar], [ones(scalar)], variables)))
    return _stack(lines)


def _by_columns(outputs: Sequence[Node], variables: Sequence[Node]) -> Node:
    lines = []
    for k, variable in enumerate(variables):
        for place in range(_size(variable)):
            given = [_unit(v, place) if i == k else zeros(v) for i, v in enumerate(variables)]
            lines.append(_line(tangents(outputs, variables, given)))
    matrix = _stack(lines)
    return transpose_by(matrix, (1, 0))


__all__ = ["grad", "hessian", "jacobian", "jvp", "value_and_grad", "vjp"]
