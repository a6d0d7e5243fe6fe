"""`RULES`: what each primitive and scalar function does with abstract values, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hotloop.dtypes import COMPUTE, DType, bool_, int64
from hotloop.errors import TypeMismatch
from hotloop.ir.op import REGISTRY, Op
from hotloop.parallel.interpreter import arithmetic
from hotloop.parallel.interpreter.values import Number, Sequence, Value, describe, leaves, strong
from hotloop.parallel.primitives import combining, moving, ordering, rows, searching, stencils

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.interpret import Interpreter
    from hotloop.parallel.reading.place import Place

Rule = Callable[..., Value]


def _numbers(place: Place, name: str, values: tuple[Value, ...]) -> tuple[Number, ...]:
    for value in values:
        if not isinstance(value, Number):
            hint = f" Map it: [{name}(a) for a in x]." if isinstance(value, Sequence) else ""
            place.refuse(TypeMismatch, f"{name}() takes numbers, not {describe(value)}.{hint}")
    return values


def _scalar(name: str, function: Callable[..., Number], count: int) -> Rule:
    """Return the rule of a function of so many numbers."""

    def rule(interpreter: Interpreter, place: Place, *values: Value) -> Value:
        numbers = _numbers(place, name, values)
        if len(numbers) != count:
            place.refuse(TypeMismatch, f"{name}() takes {count} numbers, not {len(numbers)}.")
        return function(*numbers)

    return rule


def _operator(name: str, row: str) -> Rule:
    def rule(interpreter: Interpreter, place: Place, x: Value, y: Value) -> Value:
        return interpreter.operate(row, x, y, place.node, _scope_of(place), (place.node, place.node))

    return rule


def _scope_of(place: Place) -> Any:
    from hotloop.parallel.interpreter.scope import Scope

    return Scope(place.definition, None, None)


def _cast(dtype: DType, weak: bool) -> Rule:
    def rule(interpreter: Interpreter, place: Place, x: Value) -> Value:
        (number,) = _numbers(place, dtype.name, (x,))
        return arithmetic.cast(number, dtype, weak)

    return rule


def _extremum(row: str, of_sequence: Rule) -> Rule:
    """Min and max: of one sequence, or of several numbers."""

    def rule(interpreter: Interpreter, place: Place, *values: Value) -> Value:
        if len(values) == 1 and not isinstance(values[0], tuple):
            return of_sequence(interpreter, place, values[0])
        numbers = _numbers(place, row, values[0] if len(values) == 1 else values)
        return arithmetic.extremum(row, *numbers)

    return rule


def _cast_to(interpreter: Interpreter, place: Place, x: Value, like: Value) -> Value:
    number, other = _numbers(place, "cast_to", (x, like))
    return arithmetic.cast(number, other.dtype, other.weak)


def _element_type(interpreter: Interpreter, place: Place, x: Value) -> Number:
    if not isinstance(x, Sequence):
        place.refuse(TypeMismatch, f"a sequence is needed here, not {describe(x)}.")
    found = leaves(interpreter.trace.probe(x))
    if len(found) != 1 or not isinstance(found[0], Number):
        place.refuse(TypeMismatch, "the elements must be numbers.")
    return found[0]


def _cast_to_el(interpreter: Interpreter, place: Place, x: Value, like: Value) -> Value:
    return _cast_to(interpreter, place, x, _element_type(interpreter, place, like))


def _bound(largest: bool, of_elements: bool) -> Rule:
    def rule(interpreter: Interpreter, place: Place, x: Value) -> Value:
        number = _element_type(interpreter, place, x) if of_elements else _numbers(place, "max_bound", (x,))[0]
        return strong(arithmetic.bound(number.dtype, largest), number.dtype)

    return rule


def _where(interpreter: Interpreter, place: Place, condition: Value, a: Value, b: Value) -> Value:
    (number,) = _numbers(place, "where", (condition,))
    return interpreter.trace.choose(arithmetic.truth(number), lambda: a, lambda: b, interpreter.merge)


def _of_floats(op: Op) -> bool:
    return all(dtype.is_float for types, _ in op.types.overloads for dtype in types)


def _scalar_rules() -> dict[str, Rule]:
    floats = [op for op in REGISTRY.values() if op.c is not None and not op.internal and op.types.overloads and _of_floats(op)]
    found: dict[str, Rule] = {op.name: _scalar(op.name, arithmetic.function_of_floats(op), op.arity) for op in floats}
    for name in ("floor", "ceil", "trunc", "round"):
        found[name] = _scalar(name, arithmetic.rounding(REGISTRY[name]), 1)
    for name, of_integers in (("isnan", False), ("isinf", False), ("isfinite", True)):
        found[name] = _scalar(name, arithmetic.asking(REGISTRY[name], of_integers), 1)
    for name in ("abs", "sign"):
        found[name] = _scalar(name, lambda x, name=name: arithmetic.unary(name, x), 1)
    for name in ("minimum", "maximum"):
        found[name] = _scalar(name, lambda x, y, name=name: arithmetic.extremum(name, x, y), 2)
    return found


def _operator_rules() -> dict[str, Rule]:
    rows = {
        "op_add": "add", "op_sub": "sub", "op_mul": "mul", "op_div": "div", "op_floordiv": "floordiv", "op_mod": "mod", "op_pow": "pow",
        "op_lshift": "lshift", "op_rshift": "rshift", "op_or": "or", "op_xor": "xor", "op_and": "and", "op_band": "and", "op_bor": "or",
        "cmp_eq": "eq", "cmp_ne": "ne", "cmp_lt": "lt", "cmp_le": "le", "cmp_gt": "gt", "cmp_ge": "ge", "pow": "pow",
    }  # fmt: skip
    found = {name: _operator(name, row) for name, row in rows.items()}
    for name, row in (("op_neg", "neg"), ("op_pos", "pos"), ("op_invert", "invert"), ("op_not", "not")):
        found[name] = _scalar(name, lambda x, row=row: arithmetic.unary(row, x), 1)
    return found


RULES: dict[str, Any] = {
    **_scalar_rules(),
    **_operator_rules(),
    **{dtype.name: _cast(dtype, False) for dtype in COMPUTE},
    "int": _cast(int64, True), "float": _cast(COMPUTE[-1], True), "bool_": _cast(bool_, False), "<cast>": _cast,
    "cast_to": _cast_to, "cast_to_el": _cast_to_el,
    "max_bound": _bound(True, False), "min_bound": _bound(False, False),
    "max_bound_el": _bound(True, True), "min_bound_el": _bound(False, True),
    "where": _where,
    **moving.RULES, **combining.RULES, **ordering.RULES,
    **searching.RULES,
    **rows.RULES,
    **stencils.RULES,
    "min": _extremum("minimum", combining.smallest), "max": _extremum("maximum", combining.largest),
}  # fmt: skip
