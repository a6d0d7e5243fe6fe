"""Gradients of `@cu` functions: functions of the same arguments, compiled and cached as the functions themselves are."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Items
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from hotloop.dtypes import float64
from hotloop.errors import GradientError, TypeMismatch
from hotloop.ir.graph import Node, apply, constant, exact_numbers, param_node
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Allocate, Compute, Procedure, Step, Store, Sweep, array_register
from hotloop.ops.shape import length_of
from hotloop.parallel.function import Interpreted, cu_function
from hotloop.parallel.interpreter.arguments import Leaf, Physical, kind_text
from hotloop.parallel.interpreter.values import Closure
from hotloop.parallel.places import Place as RunPlace
from hotloop.passes.adjoint.gradient import differentiate
from hotloop.passes.adjoint.prune import prune
from hotloop.passes.gradient import derivative_dtype
from hotloop.passes.sweeps.merge import merge

By = tuple[int, ...]


class Gradient(cu_function):
    """The function that gives the gradient of another. by: numbers of arguments; single: of one argument, not a tuple of them."""

    def __init__(self, function: cu_function, by: By, single: bool, value: bool) -> None:
        super().__init__(function.__wrapped_function__, function.strict, function.fast, function._source)  # noqa: SLF001 - its base
        self.function = function
        self.by = by
        self.single = single
        self.value = value

    def __repr__(self) -> str:
        return f"<gradient of {self.function!r}>"

    def closure(self) -> Closure:
        """Gradients cannot be called in functions: their steps are made of whole procedures."""
        name = self.__wrapped_function__.__name__
        raise TypeMismatch(
            f"the gradient of {name}() cannot be called inside of a @cu function. Call it from Python, and pass what it gives."
        )

    def interpreted(self, kinds: tuple[Leaf, ...], diagnose: bool = False) -> Interpreted:
        """Return the derivative; to find out what went wrong, the function itself."""
        found = self.function.interpreted(kinds, diagnose)
        return found if diagnose else _derived(self, found, kinds)

    def call(self, arguments: Items[Any], place: RunPlace) -> Any:
        """Run on a place; on `here` by the definition of procedures."""
        if place.interpreted:
            from hotloop.parallel.gradient_here import run

            return run(self, arguments)
        return super().call(arguments, place)


@lru_cache(maxsize=1024)
def _gradient(function: cu_function, by: By, single: bool, value: bool) -> Gradient:
    return Gradient(function, by, single, value)


def gradient_of(function: cu_function, by: Any, value: bool) -> Gradient:
    """Return the gradient of a function by arguments: a number or name, or a tuple of these. Raises: GradientError."""
    single = not isinstance(by, (tuple, list))
    numbers = tuple([_number(function, one) for one in ([by] if single else by)])
    if not numbers:
        raise GradientError(f"a gradient of {function.__wrapped_function__.__name__}() by no argument. Give a number or a name.")
    return _gradient(function, numbers, single, value)


def _number(function: cu_function, by: Any) -> int:
    names = function.names
    if isinstance(by, str) and by in names:
        return names.index(by)
    if isinstance(by, (int, np.integer)) and not isinstance(by, bool) and -len(names) <= by < len(names):
        return int(by) % len(names)
    name = function.__wrapped_function__.__name__
    raise GradientError(f"{name}() has no argument {by!r} to be derived by. Its arguments are {', '.join(names) or 'none'}.")


# ----------------------------------------------------------------------------------------- what is compiled


def _derived(owner: Gradient, found: Interpreted, kinds: tuple[Leaf, ...]) -> Interpreted:
    """Change what a function is interpreted as into its gradient."""
    name = owner.function.__wrapped_function__.__name__
    _check_result(name, found)
    rest = iter(found.physical)
    taken = [_taken(kind, rest) for kind in kinds]
    trees = []
    for number in owner.by:
        tree = _Outcome(taken[number])
        if not tree.variables:
            argument = owner.function.names[number]
            raise GradientError(f"{name}() has no gradient by {argument}, which is {kind_text(kinds[number])}. Give it floats.")
        trees.append(tree)
    variables = list(dict.fromkeys(node for tree in trees for node in tree.variables))
    made = differentiate(found.procedure, found.tree[1], variables, _equal_lengths(found.physical))
    of = dict(zip(variables, made.results[1:], strict=True))
    with exact_numbers():
        steps = list(made.steps)
        results = [tree.tree(of, steps) for tree in trees]
    gradient = results[0] if owner.single else ("tuple", tuple(results))
    found.tree = ("tuple", (("number", made.results[0]), gradient)) if owner.value else gradient
    found.registers = _registers(found.tree)
    found.procedure = merge(prune(Procedure(made.inputs, steps, tuple(found.registers))))
    return found


def _check_result(name: str, found: Interpreted) -> None:
    tree = found.tree
    if tree[0] != "number":
        _refuse_result(name, "a tuple" if tree[0] == "tuple" else "a sequence", "Return one float, for example a sum.")
    if not tree[1].dtype.is_float:
        _refuse_result(name, f"an {tree[1].dtype}" if tree[1].dtype.is_int else "a bool", "Integers and bools have no derivative.")


def _refuse_result(name: str, given: str, hint: str) -> NoReturn:
    raise GradientError(f"the gradient of {name}(), which gives {given}, does not exist: a gradient is that of one float. {hint}")


def _registers(tree: Any) -> list[Node]:
    if tree[0] == "number":
        return [tree[1]]
    if tree[0] == "array":
        return [tree[1], *tree[2]]
    parts = tree[1:] if tree[0] == "ragged" else tree[1]
    return [register for part in parts for register in _registers(part)]


def _equal_lengths(physical: Items[Physical]) -> list[tuple[Node, Node]]:
    """Return the number of elements of arrays, as it is and as the product of the lengths of their axes."""
    found = []
    with exact_numbers():
        for each in physical:
            if each.lengths:
                total = each.lengths[0]
                for length in each.lengths[1:]:
                    total = apply(REGISTRY["mul"], total, length)
                found.append((total, length_of(each.node, (0,))))
    return found


def _taken(kind: Leaf, rest: Iterator[Physical]) -> Any:
    """Return an argument's kind with what it is made of in place: (kind, physical), or (kind, list of such)."""
    if kind[0] in ("tuple", "records"):
        return kind[0], [_taken(inner, rest) for inner in kind[1]]
    if kind[0] == "ragged":
        offsets = next(rest)
        return "ragged", offsets, _taken(kind[1], rest)
    return kind[0], next(rest)


class _Outcome:
    """What the gradient by one argument looks like: as the argument, with floats for integers, which are zero."""

    def __init__(self, taken: Any) -> None:
        self.taken = taken
        self.variables = [each.node for each in _leaves(taken) if each.node.dtype.is_float]

    def tree(self, of: dict[Node, Node], steps: list[Step]) -> Any:
        """Return the tree of results; `of`: variable -> register of its derivative."""
        return _tree(self.taken, of, steps)


def _leaves(taken: Any) -> list[Physical]:
    if taken[0] == "ragged":
        return _leaves(taken[2])
    return [leaf for part in taken[1] for leaf in _leaves(part)] if taken[0] in ("tuple", "records") else [taken[1]]


def _tree(taken: Any, of: dict[Node, Node], steps: list[Step]) -> Any:
    if taken[0] in ("tuple", "records"):
        return taken[0], tuple([_tree(part, of, steps) for part in taken[1]])
    if taken[0] == "ragged":
        return "ragged", _tree(taken[2], of, steps), ("array", taken[1].node, ())
    physical: Physical = taken[1]
    register = of.get(physical.node)
    if register is None:
        register = _zeros(physical.node, steps)
    return ("number", register) if physical.rank < 0 else ("array", register, physical.lengths)


def _zeros(node: Node, steps: list[Step]) -> Node:
    """Return the derivative by integers."""
    dtype = float64 if node.dtype.is_int and not node.shape else derivative_dtype(node.dtype)
    zero = constant(0.0, dtype, structural=False)
    if not node.shape:
        register = param_node(dtype, ())
        steps.append(Compute((register,), (zero,)))
        return register
    array, index, count = array_register(dtype), param_node(node.dtype, ()), length_of(node, (0,))
    index = param_node(count.dtype, ())
    steps.extend([Allocate(array, count), Sweep(count, index, (Store(array, index, zero),))])
    return array
