"""Which stencils a target needs: every overload of every row, and the few that move data and control."""

from __future__ import annotations

from hotloop.dtypes import COMPUTE, FLOATS
from hotloop.ir.program import wide_name
from hotloop.ops import REGISTRY
from stencilgen.source import VECTOR, Spec, register_class
from stencilgen.target import Target

# Python's floor and such are one instruction where the prelude says so; these always call a helper.
BOOL_IN_MEMORY = "b"


def row_specs(target: Target) -> list[tuple[str, bool, list[Spec]]]:
    """Return (overload name, commutative, specs to try in order) for each overload of each row.

    Of the specs without an operand in memory the first that can be made is used: registers free to
    choose, then a call of a helper in fixed registers.
    """
    found = []
    for op in REGISTRY.values():
        if op.c is None:
            continue
        for types, result in op.types.overloads:
            shorts = tuple(dtype.short for dtype in types)
            name = ".".join((op.name, *shorts))
            specs = _forms(target, name, op.c_text(types), shorts, result.short, op.commutative)
            found.append((name, op.commutative, specs))
    return found


def wide_specs(target: Target) -> list[tuple[str, bool, list[Spec]]]:
    """Return the same for rows on vectors of lanes, and for moving vectors to and from memory."""
    found = []
    for dtype in FLOATS:
        short, kind = f"{dtype.short}w", "W" if dtype is FLOATS[0] else "W64"
        for op in REGISTRY.values():
            if op.wide:
                name = wide_name(op, dtype)
                tied = op.arity == 2 and target.two_address
                orders = ["", "strict", "opaque"] if op.commutative else [""]
                specs = [
                    Spec(f"{name}:{o}" if o else name, op.wide, short, (short,) * op.arity, tied=tied, order=o, wide=True) for o in orders
                ]
                found.append((name, op.commutative, specs))
        place = f"*({kind}U *)(ctx + {{index}} + (long)HOLE_OFFSET)"
        load = Spec(f"load.{short}", place.format(index="{x}"), short, ("i64",), wide=True)
        store = Spec(f"store.{short}", place.format(index="{y}") + " = {x};", None, (short, "i64"), wide=True)
        splat = Spec(f"splat.{short}", f"{{x}} - ({kind}){{{{0}}}}", short, (dtype.short,), wide=True)
        found += [(spec.name, False, [spec]) for spec in (load, store, splat)]
    return found


def _forms(target: Target, name: str, text: str, sources: tuple[str, ...], dst: str, commutative: bool) -> list[Spec]:
    integers = register_class(dst) != VECTOR
    # three addresses: sums and such on AVX; multiply-add overwrites an operand everywhere
    tied = sources[0] == dst and (integers or len(sources) == 3 or (target.two_address and len(sources) == 2))
    orders = [""]
    if len(sources) == 2:
        orders += ["strict", "opaque"] if commutative and not integers else ["opaque"] if commutative else []
    specs = [Spec(f"{name}:{order}" if order else name, text, dst, sources, tied=tied, order=order) for order in orders]
    if len(sources) <= 2 and sources[-1] != BOOL_IN_MEMORY:
        with_memory = tied and len(sources) == 2
        specs.append(Spec(f"{name}:memory", text, dst, sources[:-1], memory=sources[-1], tied=with_memory))
    specs.append(Spec(f"{name}:helper", text, dst, sources, fixed=True))
    return specs


def basic_specs() -> list[Spec]:
    """Return the stencils for moves, loads, stores, loops and branches."""
    specs = [
        Spec("move.v", "{x}", "f64", ("f64",)),
        Spec("move.i", "{x}", "i64", ("i64",)),
    ]
    for dtype in COMPUTE:
        short = dtype.short
        specs.append(Spec(f"load.{short}", "{x}", short, (), memory=short))
        stored = {"b": "uint8_t"}.get(short)
        cast = f"({stored})" if stored else ""
        pointer = stored or {"i32": "int32_t", "i64": "int64_t", "f32": "float", "f64": "double"}[short]
        specs.append(Spec(f"store.{short}", f"*({pointer} *)(ctx + (long)HOLE_OFFSET) = {cast}{{x}};", None, (short,)))
    specs.append(Spec("fill.w", "*(WU *)(ctx + (long)HOLE_OFFSET)", "f32w", (), wide=True))
    specs.append(Spec("spill.w", "*(WU *)(ctx + (long)HOLE_OFFSET) = {x};", None, ("f32w",), wide=True))
    specs.append(Spec("move.w", "{x}", "f32w", ("f32w",), wide=True))
    counter = "*(int32_t *)(ctx + (long)HOLE_OFFSET)"
    specs.append(Spec("set", f"{counter} = (int32_t)(long)HOLE_IMMEDIATE;", None, ()))
    specs.append(Spec("repeat", f"--{counter} != 0", None, (), branch=True))
    specs.append(Spec("unless", "{x} == 0", None, ("b",), branch=True))
    specs.append(Spec("jump", "1", None, (), branch=True))
    specs.append(Spec("leave", "HL_LEAVE; return;", None, ()))
    specs.append(Spec("return", "return;", None, ()))
    return specs
