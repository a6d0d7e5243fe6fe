"""Procedures as text: for readers, and as the key by which compiled ones are kept.

Registers and nodes are numbered in the order in which the text comes to them, so equal procedures have equal texts
whatever else was traced before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hotloop.ir.graph import CONST, LOOP, PARAM, Body, Node
from hotloop.ir.sweep import (
    Alias,
    Allocate,
    Compute,
    Copy,
    Effect,
    Fault,
    Filter,
    Fold,
    If,
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
)  # fmt: skip


def procedure_text(procedure: Procedure) -> str:
    """Return all steps of a procedure, a line each, and before it lines of what it computes. Cost: linear."""
    return "\n".join(_Text().lines(procedure)) + "\n"


class _Text:
    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.count = 0

    def lines(self, procedure: Procedure) -> Iterator[str]:
        inputs = ", ".join([f"{self._param(node)}: {_type(node)}" for node in procedure.inputs])
        yield f"procedure({inputs})"
        yield from self._steps(procedure.steps, 1)
        yield f"return {', '.join(map(self._name, procedure.results))}"

    # -- nodes -------------------------------------------------------------------------------------

    def _param(self, node: Node) -> str:
        found = self.names.get(node.id)
        if found is None:
            self.count += 1
            found = self.names[node.id] = f"{'@' if node.shape else '$'}{self.count}"
        return found

    def _name(self, node: Node) -> str:
        if node.op is PARAM:
            return self._param(node)
        if node.op is CONST:
            return f"{node.attr.value!r}:{node.dtype.short}"
        return self.names[node.id]

    def _define(self, nodes: Iterable[Node], pad: str) -> Iterator[str]:
        """Yield lines that define what nodes need and has no name yet."""
        for root in nodes:
            stack = [root]
            while stack:
                node = stack[-1]
                if node.id in self.names or node.op in (PARAM, CONST):
                    stack.pop()
                    continue
                waiting = [arg for arg in node.args if arg.id not in self.names and arg.op not in (PARAM, CONST)]
                if waiting:
                    stack.extend(reversed(waiting))
                    continue
                stack.pop()
                yield from self._line(node, pad)

    def _line(self, node: Node, pad: str) -> Iterator[str]:
        operands = ", ".join(map(self._name, node.args))
        if node.op is LOOP:
            yield from self._body(node.attr, pad)
            attr = ""
        else:
            attr = "" if node.attr is None else f" [{node.attr}]"
        self.count += 1
        self.names[node.id] = name = f"%{self.count}"
        yield f"{pad}{name}: {node.dtype.short} = {node.op.name}({operands}){attr}"

    def _body(self, body: Body, pad: str) -> Iterator[str]:
        params = ", ".join([f"{self._param(param)}: {_type(param)}" for param in body.params])
        yield f"{pad}loop({params}) trips {body.trips}" + (f" index {self._param(body.index)}" if body.index is not None else "")
        inner = pad + "  "
        if body.condition is not None:
            yield from self._define([body.condition], inner)
            yield f"{inner}while {self._name(body.condition)}"
        yield from self._define(body.results, inner)
        yield f"{inner}next {', '.join(map(self._name, body.results))}"

    # -- steps -------------------------------------------------------------------------------------

    def _steps(self, steps: Sequence[Step], depth: int) -> Iterator[str]:
        pad = "  " * depth
        for step in steps:
            yield from self._step(step, pad, depth)

    def _step(self, step: Step, pad: str, depth: int) -> Iterator[str]:
        name = self._name
        match step:
            case Sweep():
                yield from self._sweep(step, pad)
            case Compute():
                yield from self._define(step.values, pad)
                pairs = zip(step.registers, step.values, strict=True)
                yield pad + ", ".join([f"{self._param(register)}: {_type(register)} = {name(value)}" for register, value in pairs])
            case Allocate():
                yield from self._define([step.length], pad)
                yield f"{pad}{self._param(step.array)} = allocate {_type(step.array)} x {name(step.length)}"
            case Copy():
                yield f"{pad}{self._param(step.array)} = copy {name(step.source)}"
            case Alias():
                pairs = zip(step.arrays, step.sources, strict=True)
                yield pad + ", ".join([f"{self._param(array)} is {name(source)}" for array, source in pairs])
            case Sort():
                yield pad + self._sort(step)
            case SortBy():
                self._param(step.first), self._param(step.second)
                yield from self._define([step.length, step.less], pad + "  ")
                yield f"{pad}{self._param(step.order)} = order of {name(step.length)} by {name(step.less)}"
            case Fault():
                yield from self._define([step.condition, *step.values], pad)
                yield f"{pad}fault {step.number} if {name(step.condition)} with ({', '.join(map(name, step.values))})"
            case While():
                yield f"{pad}repeat"
                yield from self._steps(step.head, depth + 1)
                yield from self._define([step.condition], pad + "  ")
                yield f"{pad}while {name(step.condition)}"
                yield from self._steps(step.body, depth + 1)
            case If():
                yield from self._define([step.condition], pad)
                yield f"{pad}if {name(step.condition)}"
                yield from self._steps(step.then, depth + 1)
                yield f"{pad}else"
                yield from self._steps(step.otherwise, depth + 1)

    def _sort(self, step: Sort) -> str:
        keys = ", ".join([f"{self._name(key)}{' down' if down else ''}" for key, down in zip(step.keys, step.descending, strict=True)])
        made = ", ".join(["-" if node is None else self._param(node) for node in (*step.sorted, step.order)])
        return f"{made} = sort {keys}"

    def _sweep(self, step: Sweep, pad: str) -> Iterator[str]:
        yield from self._define([step.count], pad)
        yield f"{pad}for {self._param(step.index)} below {self._name(step.count)}, in parallel"
        inner = pad + "  "
        if step.inner is not None:
            yield from self._define([step.inner.low, step.inner.high], inner)
            low, high = self._name(step.inner.low), self._name(step.inner.high)
            yield f"{inner}for {self._param(step.inner.index)} from {low} below {high}"
            inner += "  "
        for effect in step.effects:
            yield from self._effect(effect, inner)

    def _effect(self, effect: Effect, pad: str) -> Iterator[str]:
        match effect:
            case Store():
                yield from self._define([effect.place, effect.value], pad)
                yield f"{pad}{self._param(effect.array)}[{self._name(effect.place)}] = {self._name(effect.value)}"
            case Fold():
                yield from self._define([effect.value], pad)
                yield f"{pad}{self._param(effect.into)} = {effect.op.name} of {self._name(effect.value)}"
            case Reduce():
                yield from self._operator(effect.operator, pad)
                yield from self._kept("reduce", effect.into, effect.values, effect.inits, effect.keep, pad)
            case Scan():
                yield from self._operator(effect.operator, pad)
                yield from self._define([effect.place], pad)
                what = f"{'exclusive ' if effect.exclusive else ''}scan at {self._name(effect.place)}"
                yield from self._kept(what, effect.arrays, effect.values, effect.inits, None, pad)
            case Filter():
                yield from self._kept(f"filter, {self._param(effect.kept)}", effect.arrays, effect.values, None, effect.keep, pad)
            case Scatter():
                if effect.operator is not None:
                    yield from self._operator(effect.operator, pad)
                yield from self._define([effect.place], pad)
                yield from self._kept(f"scatter at {self._name(effect.place)}", effect.arrays, effect.values, None, effect.keep, pad)

    def _operator(self, operator: Operator, pad: str) -> Iterator[str]:
        left, right = (", ".join(map(self._param, side)) for side in (operator.left, operator.right))
        yield from self._define(operator.combined, pad + "  ")
        yield f"{pad}operator ({left}), ({right}) -> {', '.join(map(self._name, operator.combined))}"

    def _kept(
        self, what: str, into: Sequence[Node], values: Sequence[Node], inits: Sequence[Node] | None, keep: Node | None, pad: str
    ) -> Iterator[str]:  # fmt: skip
        yield from self._define([*values, *(inits or ()), *([] if keep is None else [keep])], pad)
        start = "" if inits is None else f" from {', '.join(map(self._name, inits))}"
        where = "" if keep is None else f" where {self._name(keep)}"
        yield f"{pad}{', '.join(map(self._param, into))} = {what} of {', '.join(map(self._name, values))}{start}{where}"


def _type(node: Node) -> str:
    return f"[{node.dtype.short}]" if node.shape else node.dtype.short
