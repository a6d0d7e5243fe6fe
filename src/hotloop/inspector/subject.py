"""Finds the program that a name of a user's file stands for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from hotloop._graph import Scalar
from hotloop.compiler import Compiled, Options, compile_graph
from hotloop.errors import TypeMismatch
from hotloop.frontend.array import Array
from hotloop.frontend.scalar import value
from hotloop.frontend.structure import flatten
from hotloop.frontend.target import Target, named_nodes
from hotloop.ir.graph import Node, exact_numbers


def program_of(subject: Any, options: Options) -> tuple[Sequence[Node], Compiled]:  # Any: what a file holds
    """Return the outputs of a program and the program, compiled now unless it was.

    subject: a Target, traced values in containers, or a function that returns them; a function's parameters
    become inputs, floats without annotation (float64 for a jit function, as its calls have).
    Raises: TypeMismatch for anything else.
    """
    if isinstance(subject, Target):
        return subject.traced, subject.compiled
    if callable(subject) and not isinstance(subject, (Scalar, Array)):
        subject = _traced(subject)
    nodes = [leaf.node for leaf in flatten(subject)[0] if isinstance(leaf, (Scalar, Array))]
    if not nodes:
        raise TypeMismatch(f"{type(subject).__name__} is no program. Name a Target, a traced value, or a function that returns some")
    return nodes, compile_graph(nodes, options)


def outputs_of(subject: Any) -> dict[str, Node]:  # Any: what a file holds
    """Return the outputs of a program by name, for an export: see `program_of`. Raises: TypeMismatch."""
    if isinstance(subject, Target):
        return subject.named
    if callable(subject) and not isinstance(subject, (Scalar, Array)):
        subject = _traced(subject)
    named = named_nodes([subject])
    if not named:
        raise TypeMismatch(f"{type(subject).__name__} is no program. Name a Target, a traced value, or a function that returns some")
    return named


def _traced(function: Callable[..., Any]) -> Any:  # Any: traced values in containers
    plain = inspect.unwrap(function)
    if plain is function:
        return plain(*_arguments(plain))
    with exact_numbers():  # a jit function computes as Python does
        return plain(*_arguments(plain))


def _arguments(function: Callable[..., Any]) -> list[value]:
    """Return an input for each parameter that needs one."""
    kinds = {int: 0, "int": 0, bool: False, "bool": False}
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        if (
            parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY)
            and parameter.default is parameter.empty
        ):
            found.append(value(kinds.get(parameter.annotation, 0.0), name=name))
    return found
