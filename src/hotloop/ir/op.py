"""`Op`: one operation of the language, declared once, as a row in `ops/`; and its type rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from hotloop.dtypes import COMPUTE, FLOATS, INTS, DType, bool_, float32, int32, promote

Types = tuple[DType, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TypeRule:
    """Which operand types a row takes, and which type it returns.

    `resolve` maps the given operand types to (operand types after promotion, result type), or None
    where no rule applies. `overloads` lists every case that stencils exist for.
    """

    resolve: Callable[[Types], tuple[Types, DType] | None]
    overloads: tuple[tuple[Types, DType], ...]


def _joint(types: Types) -> DType:
    joint = types[0]
    for dtype in types[1:]:
        joint = promote(joint, dtype)
    return joint


def same(arity: int, allowed: Types, lift: DType) -> TypeRule:
    """All operands and the result have one type of `allowed`; lesser types are lifted to `lift`."""

    def resolve(types: Types) -> tuple[Types, DType] | None:
        joint = _joint(types)
        if joint not in allowed:
            if joint.rank > lift.rank and joint.rank > max(a.rank for a in allowed):
                return None
            joint = promote(joint, lift)
        return (joint,) * arity, joint

    return TypeRule(resolve, tuple(((dtype,) * arity, dtype) for dtype in allowed))


def arithmetic(arity: int) -> TypeRule:
    """Numbers in, the same number type out; bool counts as int32."""
    return same(arity, (*INTS, *FLOATS), int32)


def floating(arity: int) -> TypeRule:
    """Floats in, the same float type out; int32 and bool become float32, int64 becomes float64."""
    return same(arity, FLOATS, float32)


def integral(arity: int) -> TypeRule:
    """Integers in, the same integer type out; bool counts as int32; floats are refused."""
    return same(arity, INTS, int32)


def bitwise(arity: int) -> TypeRule:
    """Integers or bools in, the same type out; floats are refused."""
    return same(arity, (bool_, *INTS), int32)


def comparison(allowed: Types = COMPUTE) -> TypeRule:
    """Two values of one type in, bool out."""
    rule = same(2, allowed, int32)

    def resolve(types: Types) -> tuple[Types, DType] | None:
        found = rule.resolve(types)
        return found and (found[0], bool_)

    return TypeRule(resolve, tuple(((dtype, dtype), bool_) for dtype in allowed))


def predicate() -> TypeRule:
    """One float in, bool out."""
    rule = floating(1)

    def resolve(types: Types) -> tuple[Types, DType] | None:
        found = rule.resolve(types)
        return found and (found[0], bool_)

    return TypeRule(resolve, tuple(((dtype,), bool_) for dtype in FLOATS))


def choice() -> TypeRule:
    """Take a bool and two values of one type; give that type."""

    def resolve(types: Types) -> tuple[Types, DType] | None:
        if types[0] is not bool_:
            return None
        joint = promote(types[1], types[2])
        return (bool_, joint, joint), joint

    return TypeRule(resolve, tuple(((bool_, dtype, dtype), dtype) for dtype in COMPUTE))


def conversion(target: DType) -> TypeRule:
    """Any type in, `target` out."""
    return TypeRule(
        lambda types: (types, target),
        tuple(((dtype,), target) for dtype in COMPUTE if dtype is not target),
    )


def truediv() -> TypeRule:
    """Floats in and out; two integers divide as floats: int32 in float32, int64 in float64."""
    return floating(2)


def untyped() -> TypeRule:
    """Leave the type to the row's builder (array, structure and memory rows)."""
    return TypeRule(lambda types: None, ())


REGISTRY: dict[str, Op] = {}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Op:
    """One operation: type rule, meaning, C text, derivative, algebra, accuracy, test domain.

    A row has `c` (a target can write it) or `lower` (it becomes rows that have `c`), never both.
    Fields, in the order in which rows give them:

    name      unique; C stencils, listings and `hotloop.<name>` are called so
    types     the type rule
    numpy     meaning on NumPy arrays of the promoted types: the oracle. Array rows get their
              parameters as keyword arguments. Integer results wrap.
    c         C expression of {x}, {y}, {z}, with {t} the short name of the operand type (f32),
              {ctype} its C type; or a mapping from dtype kind ("int", "float", "bool") to such texts
    lanes     the same for {x}... that are vectors of lanes, where `c` does not serve for both: {t} is then the short
              name of the operand's vector type (f32w), {r} that of the result, {s} that of the operand's scalar type
    quick     the same as `lanes`, for kernels under fast=True on targets with fused multiply-add: fewer digits
              (FAST_BOUNDS in `ops/accuracy.py`) in less time; {s} is the operand's scalar type
    lower     for array rows: the same function on object arrays of scalar nodes; `unroll` calls it
    vjp       (g, out, *operands) -> one gradient per operand, None where it is zero everywhere
    jvp       (out, operands, tangents) -> tangent, where a tangent of None is zero; without it
              forward mode follows from vjp
    linear    linear in all operands together: its tangent is the row itself applied to tangents
    singular  the derivative may be infinite or NaN where the operands are finite
    faults    (out, *operands) -> ((condition node, text), ...): what checked mode reports. `passes.check`
              lists the kinds of text
    simplify  (*operands) -> simpler node or None; called before a node is made
    alike     simplify finds something where two operands are one node, or a single one is anything; without
              it only constants and the same row nested in itself are shown to it (a shortcut in graph.c)
    powers    simplify finds something in powers of two too; without it only the scalar constants 0, 1 and -1 are
              shown to it (a shortcut in graph.c)
    fast      the same, for identities that change the last bits; used under fast=True only
    operator  Python's special method name without underscores ("add"), for Node and value
    commutative  operands may be swapped without changing a bit
    divides   the second operand is a divisor: a constant zero over a constant is refused
    internal  made by passes only; its values may be no numbers (bits of a pair)
    public    exported as hotloop.<name> and as a method of value
    domain    what tests sample for each operand, beside special values
    ulp       allowed distance from `numpy` on any target, per float32 and float64
    doc       one line
    """

    name: str
    types: TypeRule
    numpy: Callable[..., Any]  # Any: scalars and arrays of every type
    c: str | Mapping[str, str] | None = None
    lanes: str | Mapping[str, str] | None = None
    quick: str | None = None
    lower: Callable[..., Any] | None = None
    vjp: Callable[..., tuple[Any, ...]] | None = None
    jvp: Callable[..., Any] | None = None
    linear: bool = False
    singular: bool = False
    faults: Callable[..., Sequence[tuple[Any, str]]] | None = None
    simplify: Callable[..., Any] | None = None
    alike: bool = True
    powers: bool = False
    fast: Callable[..., Any] | None = None
    operator: str | None = None
    commutative: bool = False
    divides: bool = False
    internal: bool = False
    public: bool = False
    domain: tuple[tuple[float, float], ...] = ()
    ulp: tuple[float, float] = (0.0, 0.0)
    doc: str = ""
    resolved: dict[Types, tuple[Types, DType] | None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.name in REGISTRY:
            raise ValueError(f"operation {self.name!r} is declared twice")
        REGISTRY[self.name] = self

    def __repr__(self) -> str:
        return self.name

    @property
    def arity(self) -> int:
        """Number of operands of a row that has stencils."""
        return len(self.types.overloads[0][0])

    def resolve(self, types: Types) -> tuple[Types, DType] | None:
        """Return (promoted operand types, result type) or None; remembered per operand types."""
        try:
            return self.resolved[types]
        except KeyError:
            found = self.resolved[types] = self.types.resolve(types)
            return found

    def c_text(self, types: Types) -> str:
        """Return the C text for operands of these types."""
        if isinstance(self.c, str):
            return self.c
        assert self.c is not None, f"{self.name} has no C text"
        return self.c[types[-1].kind]

    @property
    def wide(self) -> tuple[Wide, ...]:
        """Every overload of the row on vectors of lanes; none of rows without C text."""
        return _wide(self)

    @property
    def fast_wide(self) -> tuple[Wide, ...]:
        """Overloads that take the place of `wide` ones under fast=True, named "fast.sin.f32w"."""
        if self.quick is None:
            return ()
        return tuple([replace(wide, name=f"fast.{wide.name}", text=self.quick.replace("{s}", wide.sources[0][:3])) for wide in self.wide])


# ----------------------------------------------------------------------------------- vectors of lanes


@dataclass(frozen=True, slots=True)
class Wide:
    """One overload of a row on vectors of lanes: one vector register an operand.

    name: "add.f32w.f32w"; sources, result: short names of the types; text: C of {x}, {y}, {z}.
    A bool a lane is a mask as wide as what it stands beside: b32w or b64w. Where a result has lanes of another size,
    either half of an operand is taken ("to_float64.f32w:low", ":high"), or two operands make one result.
    """

    name: str
    sources: tuple[str, ...]
    result: str
    text: str


def wide_short(dtype: DType, size: int) -> str:
    """Return the short name of a vector of lanes; of bools, masks of `size` bytes a lane."""
    return f"b{8 * size}w" if dtype is bool_ else f"{dtype.short}w"


@cache
def _wide(op: Op) -> tuple[Wide, ...]:
    if op.c is None or op.internal:
        return ()
    found: list[Wide] = []
    for types, result in op.types.overloads:
        sizes = sorted({dtype.size for dtype in (*types, result) if dtype is not bool_}) or [4, 8]
        if len(sizes) == 2 and types != (bool_,) * len(types):
            found += _resized(op, types, result)
        else:
            found += [_lanewise(op, types, result, size) for size in sizes]
    return tuple(found)


def _lanewise(op: Op, types: Types, result: DType, size: int) -> Wide:
    shorts = tuple(wide_short(dtype, size) for dtype in types)
    text = _lane_text(op, types, shorts[-1], wide_short(result, size))
    return Wide(".".join((op.name, *shorts)), shorts, wide_short(result, size), text)


def _resized(op: Op, types: Types, result: DType) -> list[Wide]:
    """Return the overloads of a conversion to lanes of another size."""
    source, target = wide_short(types[0], types[0].size), wide_short(result, result.size)
    if types[0].size > result.size:
        text = _lane_text(op, types, source, target).replace("{x}", "{x}, {y}")
        return [Wide(f"{op.name}.{source}.{source}", (source, source), target, text)]
    halves = ("low", "high")
    texts = [_lane_text(op, types, f"{source}_{half}", target) for half in halves]
    return [Wide(f"{op.name}.{source}:{half}", (source,), target, text) for half, text in zip(halves, texts, strict=True)]


def _lane_text(op: Op, types: Types, operand: str, result: str) -> str:
    kinds = op.lanes if isinstance(op.lanes, Mapping) else {}
    text = op.lanes if isinstance(op.lanes, str) else kinds.get(types[-1].kind) or op.c_text(types)
    return text.replace("{t}", operand).replace("{r}", result).replace("{s}", types[-1].short)
