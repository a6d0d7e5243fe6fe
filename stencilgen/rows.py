"""Which stencils a target needs: every overload of every row, and the few that move data and control."""

from __future__ import annotations

from hotloop.dtypes import COMPUTE
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


def _forms(target: Target, name: str, text: str, sources: tuple[str, ...], dst: str, commutative: bool) -> list[Spec]:
    integers = register_class(dst) != VECTOR
    # three addresses: sums and such on AVX; multiply-add overwrites an operand everywhere
    tied = sources[0] == dst and (integers or len(sources) == 3 or (target.two_address and len(sources) == 2))
    orders = [""]
    if len(sources) == 2:
        orders += ["strict", "opaque"] if commutative and not integers else ["opaque"]
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
    counter = "*(int32_t *)(ctx + (long)HOLE_OFFSET)"
    specs.append(Spec("set", f"{counter} = (int32_t)(long)HOLE_IMMEDIATE;", None, ()))
    specs.append(Spec("repeat", f"--{counter} != 0", None, (), branch=True))
    specs.append(Spec("unless", "{x} == 0", None, ("b",), branch=True))
    specs.append(Spec("jump", "1", None, (), branch=True))
    specs.append(Spec("leave", "return;", None, ()))
    return specs
