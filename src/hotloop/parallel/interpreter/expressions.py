"""`Expressions`: names, constants, operators and choices of a `@cu` function, on abstract values."""

from __future__ import annotations

import ast
from collections.abc import Sequence as Items
from typing import TYPE_CHECKING, NoReturn

from hotloop import _graph
from hotloop.dtypes import bool_, int64
from hotloop.errors import HotloopError, InternalError, SyntaxRefused, TypeMismatch
from hotloop.ir.graph import Node, apply, constant
from hotloop.ir.op import REGISTRY
from hotloop.parallel.interpreter.arithmetic import ARITHMETIC, COMPARISONS, SIGNS, Mixed, NeedsLoop, binary, joined, truth, unary
from hotloop.parallel.interpreter.bounds import wrapped_around
from hotloop.parallel.interpreter.scope import MISSING, Scope, python_value
from hotloop.parallel.interpreter.trace import Trace
from hotloop.parallel.interpreter.values import (
    Closure,
    Number,
    Sequence,
    Value,
    as_type,
    describe,
    joint_type,
    leaves,
    mapped,
    rebuilt,
    weak,
)
from hotloop.parallel.reading.place import Place, line_of

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.captures import Captures

and_, select = REGISTRY["and"], REGISTRY["select"]


class Expressions:
    """Evaluates names, constants, operators and choices. `interpret.py` adds what is made of several elements, and calls."""

    def __init__(self, trace: Trace, captures: Captures, strict: bool = False) -> None:
        self.trace = trace
        self.captures = captures
        self.strict = strict

    # -- expressions -------------------------------------------------------------------------------

    def evaluate(self, node: ast.expr, scope: Scope) -> Value:
        """Return the value of an expression."""
        method = getattr(self, f"_{type(node).__name__}", None)
        if method is None:
            self._refuse_syntax(node, scope)
        _graph.set_origin(line_of(scope.definition.file, node.lineno))
        try:
            return method(node, scope)
        except HotloopError as error:
            if hasattr(error, "origin") or isinstance(error, InternalError):
                raise
            raise _pointing(error, Place(node, scope.definition)) from None

    def _refuse_syntax(self, node: ast.AST, scope: Scope) -> NoReturn:
        name = type(node).__name__
        hint = REFUSED.get(name, "It is no part of the language of @cu functions.")
        Place(node, scope.definition).refuse(SyntaxRefused, f"{_CALLED.get(name, name)} cannot be compiled. {hint}")

    def _Constant(self, node: ast.Constant, scope: Scope) -> Value:
        if isinstance(node.value, (bool, int, float)):
            return weak(node.value)
        if isinstance(node.value, str):
            return node.value  # a word that a primitive takes: side="left"
        return Place(node, scope.definition).refuse(TypeMismatch, f"{node.value!r} is no number; @cu functions compute with numbers.")

    def _Name(self, node: ast.Name, scope: Scope) -> Value:
        found = scope.find(node.id)
        if found is None:
            Place(node, scope.definition).refuse(TypeMismatch, f"{node.id} is not defined on every path to here.")
        return self.free(node.id, scope, node) if found is MISSING else found

    def free(self, name: str, scope: Scope, node: ast.AST) -> Value:
        """Return what a name means that is no variable: of the closure, the module, or a primitive."""
        python, way = python_value(scope.outer, name)
        place = Place(node, scope.definition)
        if python is MISSING:
            known = self.captures.primitive(name)
            if known is None:
                place.refuse(TypeMismatch, f"{name} is not defined. It is no variable, no global name and no primitive.")
            return known
        return self.captures.value(python, way, name, place)

    def _Tuple(self, node: ast.Tuple, scope: Scope) -> Value:
        return tuple([self.evaluate(item, scope) for item in node.elts])

    def _UnaryOp(self, node: ast.UnaryOp, scope: Scope) -> Value:
        name = {ast.USub: "neg", ast.UAdd: "pos", ast.Not: "not", ast.Invert: "invert"}[type(node.op)]
        operand = self.number(self.evaluate(node.operand, scope), node.operand, scope)
        return unary(name, operand)

    def _BinOp(self, node: ast.BinOp, scope: Scope) -> Value:
        name = ARITHMETIC.get(type(node.op))
        if name is None:
            return Place(node, scope.definition).refuse(SyntaxRefused, "@ cannot be compiled. Write the sum: sum(map(op_mul, x, y)).")
        x, y = self.evaluate(node.left, scope), self.evaluate(node.right, scope)
        return self.operate(name, x, y, node, scope, (node.left, node.right))

    def operate(self, name: str, x: Value, y: Value, node: ast.AST, scope: Scope, sides: Items[ast.AST]) -> Value:
        """Return the result of a binary operator or comparison."""
        if not (isinstance(x, Number) and isinstance(y, Number)):
            self._refuse_operands(name, x, y, node, scope)
        try:
            if name == "mod" and x.dtype is int64 and y.dtype is int64:
                found = wrapped_around(self.trace, x.node, y.node)
                if found is not None:
                    return Number(found, x.weak and y.weak)
            return binary(name, x, y, self.strict)
        except Mixed:
            Place(node, scope.definition).refuse(
                TypeMismatch, f"{SIGNS[name]} of {x!r} and {y!r}: with strict=True types do not mix. Convert one: {y!r}(x)."
            )
        except NeedsLoop:
            return self._integer_power(x, y)
        except HotloopError as error:
            names = " and ".join(f"{_text(side)} is {value!r}" for side, value in zip(sides, (x, y), strict=True))
            raise _pointing(error, Place(node, scope.definition), names) from None

    def _refuse_operands(self, name: str, x: Value, y: Value, node: ast.AST, scope: Scope) -> NoReturn:
        hint = ""
        if isinstance(x, Sequence) or isinstance(y, Sequence):
            hint = f" Operators take numbers: [a {SIGNS[name]} b for a, b in zip(x, y)]."
        Place(node, scope.definition).refuse(TypeMismatch, f"{SIGNS[name]} of {describe(x)} and {describe(y)}.{hint}")

    def _integer_power(self, x: Number, y: Number) -> Number:
        """Square and multiply while bits of the exponent are left."""
        dtype = joint_type([x, y])
        one, zero = constant(1, dtype, structural=False), constant(0, dtype, structural=False)
        mul, rshift = REGISTRY["mul"], REGISTRY["rshift"]

        def step(carried: Items[Node]) -> list[Node]:
            result, base, left = carried
            odd = apply(REGISTRY["ne"], apply(and_, left, one), zero)
            return [apply(select, odd, apply(mul, result, base), result), apply(mul, base, base), apply(rshift, left, one)]

        inits = [one, as_type(x, dtype), as_type(y, dtype)]
        found = self.trace.loop(inits, lambda carried: apply(REGISTRY["gt"], carried[2], zero), step)
        return Number(found[0], x.weak and y.weak)

    def _Compare(self, node: ast.Compare, scope: Scope) -> Value:
        left = self.evaluate(node.left, scope)
        return self._compared(left, node.left, list(zip(node.ops, node.comparators, strict=True)), node, scope)

    def _compared(self, left: Value, source: ast.expr, rest: list[tuple[ast.cmpop, ast.expr]], node: ast.AST, scope: Scope) -> Value:
        (op, comparator), *others = rest
        if type(op) not in COMPARISONS:
            Place(node, scope.definition).refuse(SyntaxRefused, "`in` and `is` cannot be compiled. Use any([y == a for a in x]), or ==.")
        right = self.evaluate(comparator, scope)
        first = self.operate(COMPARISONS[type(op)], left, right, node, scope, (source, comparator))
        if not others:
            return first
        return self.trace.choose(
            truth(first), lambda: self._compared(right, comparator, others, node, scope), lambda: Number(bool_node(False)), self.merge
        )

    def _BoolOp(self, node: ast.BoolOp, scope: Scope) -> Value:
        return self._joined(isinstance(node.op, ast.And), node.values, scope)

    def _joined(self, conjunction: bool, operands: list[ast.expr], scope: Scope) -> Value:
        first = self.number(self.evaluate(operands[0], scope), operands[0], scope)
        if len(operands) == 1:
            return first

        def others() -> Value:
            return self._joined(conjunction, operands[1:], scope)

        then, otherwise = (others, lambda: first) if conjunction else (lambda: first, others)
        return self.trace.choose(truth(first), then, otherwise, self.merge)

    def _IfExp(self, node: ast.IfExp, scope: Scope) -> Value:
        condition = self.condition(node.test, scope)

        def merge(a: Value, b: Value) -> tuple[Value, Value, Value]:
            return self._merge(a, b, Place(node, scope.definition))

        return self.trace.choose(
            condition, lambda: self.evaluate(node.body, scope), lambda: self.evaluate(node.orelse, scope), merge
        )  # fmt: skip

    def condition(self, node: ast.expr, scope: Scope) -> Node:
        """Return the truth of an expression."""
        return truth(self.number(self.evaluate(node, scope), node, scope))

    def number(self, value: Value, node: ast.AST, scope: Scope) -> Number:
        """Return a value that must be a number."""
        if not isinstance(value, Number):
            hint = ""
            if isinstance(value, Sequence):
                hint = " Ask for what you mean: len(x) > 0, any(x), all(x)."
            Place(node, scope.definition).refuse(TypeMismatch, f"a number is needed here, not {describe(value)}.{hint}")
        return value

    # -- merging -----------------------------------------------------------------------------------

    def merge(self, a: Value, b: Value) -> tuple[Value, Value, Value]:
        """Return the joint structure and types of two values, for choices that cannot fail."""
        return self._merge(a, b, None)

    def _merge(self, a: Value, b: Value, place: Place | None) -> tuple[Value, Value, Value]:
        if a is None or b is None:
            known = a if b is None else b
            hole = mapped(lambda _: None, known)
            return known, (hole if a is None else a), (hole if b is None else b)
        if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
            triples = [self._merge(x, y, place) for x, y in zip(a, b, strict=True)]
            return tuple(t[0] for t in triples), tuple(t[1] for t in triples), tuple(t[2] for t in triples)
        if isinstance(a, Number) and isinstance(b, Number):
            if self.strict and place is not None and not (a.weak or b.weak) and a.dtype is not b.dtype:
                place.refuse(TypeMismatch, f"this is {a!r} or {b!r}: with strict=True both sides have one type.")
            return joined(a, b), a, b
        if isinstance(a, Sequence) and isinstance(b, Sequence):
            return self._merge_sequences(a, b, place)
        if a is b or (isinstance(a, Closure) and isinstance(b, Closure) and a.node is b.node and a.variables is b.variables):
            return a, a, b
        message = f"this is {describe(a)} or {describe(b)}, and must be one or the other."
        if place is None:
            raise TypeMismatch(message)
        place.refuse(TypeMismatch, message)

    def _merge_sequences(self, a: Sequence, b: Sequence, place: Place | None) -> tuple[Value, Value, Value]:
        """Return sequences whose elements are of one type."""
        trace = self.trace
        (x, deep), (y, deep_too) = trace.innermost(a), trace.innermost(b)
        if deep != deep_too:
            message = f"this is a sequence of {deep} dimensions or one of {deep_too}, and must be one or the other."
            if place is None:
                raise TypeMismatch(message)
            place.refuse(TypeMismatch, message)
        joint, _, _ = self._merge(x, y, place)
        first, second = (s if same_types(kind, joint) else _converted(trace, s, joint) for s, kind in ((a, x), (b, y)))
        return first, first, second



def same_types(a: Value, b: Value) -> bool:
    """Whether numbers at equal places have one type; what sequences hold is not looked at."""
    pairs = zip(leaves(a), leaves(b), strict=True)
    return all(x.dtype is y.dtype for x, y in pairs if isinstance(x, Number))


def _converted(trace: Trace, sequence: Sequence, joint: Value) -> Sequence:
    """Return a sequence with elements of a wider type."""

    def element(place: Node) -> Value:
        value = sequence.element(place)
        if isinstance(value, Sequence):
            return _converted(trace, value, joint)
        pairs = zip(leaves(value), leaves(joint), strict=True)
        return rebuilt(joint, iter([Number(as_type(x, like.dtype)) if isinstance(like, Number) else x for x, like in pairs]))

    return Sequence(sequence.length, element, sequence.depth, keep=sequence.keep)


def bool_node(value: bool) -> Node:
    """Return a constant bool."""
    return constant(value, bool_, structural=False)


def _text(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.expr) else "this"


def _pointing(error: HotloopError, place: Place, more: str = "") -> HotloopError:
    """Return an error of rows as one that points at the user's source."""
    text = str(error)
    head, separator, tail = text.partition(": ")
    told = tail if separator and ":" in head else text
    return place.error(type(error), f"{told} Here {more}." if more else told)


_CALLED = {
    "List": "a list", "Dict": "a dict", "Set": "a set", "DictComp": "a dict comprehension", "SetComp": "a set comprehension",
    "JoinedStr": "a string", "Await": "await", "Yield": "yield", "YieldFrom": "yield", "NamedExpr": ":=", "Starred": "*",
}  # fmt: skip
REFUSED = {
    "List": "Write a tuple, or a comprehension: [f(a) for a in x].",
    "NamedExpr": "Assign in a statement of its own.",
    "SetComp": "Use unique([...]).",
}
