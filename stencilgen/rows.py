"""Which stencils a target needs: every overload of every row, and the few that move data and control."""

from __future__ import annotations

from dataclasses import replace

from hotloop.dtypes import COMPUTE
from hotloop.ir.op import Op, Wide
from hotloop.ir.program import FOLDS, GATHERS, POINTERS, WIDE_SHORTS, vector_names
from hotloop.ops import REGISTRY
from stencilgen.source import C_TYPES, HOLE_IMMEDIATE, HOLE_OFFSET, MEMORY_TYPES, VECTOR, Spec, register_class
from stencilgen.target import Pinning, Target

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
    """Return the same for vectors of lanes, where there are any: rows on them, and what belongs to no row."""
    if not target.wide:
        return _of_shell(target, [(spec.name, False, [spec]) for spec in element_specs(target) if not spec.far])
    found = [
        (wide.name, op.commutative, _wide_forms(target, wide, op.commutative))
        for op in REGISTRY.values() for wide in op.wide
    ]  # fmt: skip
    found += [entry for op in REGISTRY.values() for entry in _fast_forms(target, op)]
    found += [(spec.name, False, [spec]) for short in WIDE_SHORTS for spec in _memory_specs(short)]
    found += [(name, False, forms) for name, forms in _lane_forms(target)]
    found += [(spec.name, False, [spec]) for spec in _array_specs()]
    assert {name for name, _, _ in found} >= {name for name in vector_names() if not name.startswith(POINTERS)}
    return _of_shell(target, found)


def _of_shell(target: Target, rows: list[tuple[str, bool, list[Spec]]]) -> list[tuple[str, bool, list[Spec]]]:
    """Return rows as pinned stencils have them: nothing in memory but where that is the operation, and longer displacements apart."""
    if not isinstance(target.shell, Pinning):
        return rows
    found = []
    for name, commutative, specs in rows:
        plain = [replace(spec, tied=False, commutative=False) for spec in specs if not spec.memory and not spec.name.endswith("#free")]
        if not any(spec.fixed for spec in plain):  # a helper, or if it reads the data, the operation itself in fixed registers
            plain.append(replace(plain[0], name=f"{name}#helper", fixed=True, long=True))
        found.append((name, commutative, plain))
        if HOLE_OFFSET in plain[0].text and not plain[0].far:
            far = _reaching(target, plain[0])[1]
            found[-1] = name, commutative, [replace(plain[0], long=True), *plain[1:]]
            found.append((far.name, commutative, [far, replace(far, name=f"{far.name}#helper", fixed=True)]))
    return found


def _wide_forms(target: Target, wide: Wide, commutative: bool) -> list[Spec]:
    count = len(wide.sources)
    # multiply-add overwrites an operand everywhere; a select, whose first operand is a mask, has a register of its own
    fused = count == 3 and not wide.sources[0].startswith("b")
    tied = fused or (target.two_address and count == 2)
    spec = Spec(wide.name, wide.text, wide.result, wide.sources, tied=tied, wide=True)
    with_memory = replace(spec, name=f"{wide.name}#memory", sources=wide.sources[:-1], memory=wide.sources[-1], tied=tied and count > 1)
    found = [replace(spec, commutative=commutative), with_memory, replace(spec, name=f"{wide.name}#helper", tied=False, fixed=True)]
    if tied and not commutative:  # x > y is y < x to some: then y is overwritten
        found.insert(1, replace(spec, name=f"{wide.name}#free", tied=False))
    return found


def _fast_forms(target: Target, op: Op) -> list[tuple[str, bool, list[Spec]]]:
    """Return what fast=True takes; without fused multiply-add the strict stencils under another name."""
    pairs = zip(op.fast_wide, op.wide, strict=True) if op.quick else ()
    return [(fast.name, op.commutative, _wide_forms(target, fast if target.fma else wide, op.commutative)) for fast, wide in pairs]


def _memory_specs(short: str) -> list[Spec]:
    """Return loads and stores of one type. Arrays begin anywhere, and their bools are bytes."""
    size = 1 if short.startswith("b") else int(short[1:3]) // 8
    kind = f"hl_bytes_{short}" if size == 1 else f"hl_{short}_anywhere"
    near, far = (f"*({kind} *)({base} + {index} * {size} + {HOLE_OFFSET})" for base, index in (("ctx", "{0}"), ("(char *){0}", "{1}")))

    def loaded(place: str) -> str:
        return f"__builtin_convertvector({place}, hl_{short}) > 0" if size == 1 else place

    stored = f"__builtin_convertvector({{x}} & 1, {kind})" if size == 1 else "{x}"
    names = [f"{name}.{short}" for name in ("load", "store", "loadp", "storep")]
    return [
        Spec(names[0], loaded(near.format("{x}")), short, ("i64",), wide=True),
        Spec(names[1], f"{near.format('{y}')} = {stored};", None, (short, "i64"), wide=True),
        Spec(names[2], loaded(far.format("{x}", "{y}")), short, ("i64", "i64"), wide=True),
        Spec(names[3], f"{far.format('{y}', '{z}')} = {stored};", None, (short, "i64", "i64"), wide=True),
    ]


def _scalar(short: str) -> str:
    return "b" if short.startswith("b") else short.removesuffix("w")


def _place(scalar: str, base: str, index: str) -> str:
    """Return C for one element of an array of scalars."""
    kind = MEMORY_TYPES[scalar]
    return f"*({kind} *)({base} + {index} * (long)sizeof({kind}) + {HOLE_OFFSET})"


def _lane_forms(target: Target) -> list[tuple[str, list[Spec]]]:
    """Return the names and forms of splats, folds, iotas, and masks whose lanes change size."""
    found: list[tuple[str, list[Spec]]] = []
    for short in WIDE_SHORTS:
        scalar = _scalar(short)
        text = f"(hl_{short})(-{{x}})" if scalar == "b" else f"(hl_{short}){{x}}"
        spec = Spec(f"splat.{short}", text, short, (scalar,), wide=True)
        found.append((spec.name, [spec, replace(spec, name=f"{spec.name}#memory", sources=(), memory=scalar)]))
        place = _place(scalar, "ctx", "{x}")
        found.append((f"repeat.{short}", [Spec(f"repeat.{short}", text.format(x=place), short, ("i64",), wide=True)]))
    found += [(spec.name, [spec]) for spec in element_specs(target) if not spec.far]
    for row, shorts in FOLDS.items():
        for short in shorts:
            scalar = _scalar(short)
            spec = Spec(f"fold_{row}.{short}", f"hl_op_fold_{row}_{short}({{x}})", scalar, (short,), wide=True)
            found.append((spec.name, [spec, replace(spec, name=f"{spec.name}#helper", fixed=True)]))
    for short in ("i32w", "i64w"):
        spec = Spec(f"iota.{short}", f"hl_op_iota_{short}({{x}})", short, ("i64",), wide=True)
        found.append((spec.name, [spec]))
    resized = (
        Wide("widen_low.b32w", ("b32w",), "b64w", "hl_op_b64w_b32w_low({x})"),
        Wide("widen_high.b32w", ("b32w",), "b64w", "hl_op_b64w_b32w_high({x})"),
        Wide("narrow.b64w.b64w", ("b64w", "b64w"), "b32w", "hl_op_b32w_b64w({x}, {y})"),
        Wide("compress.i32w", ("i32w", "b32w"), "i32w", "hl_compress_i32w({x}, {y})"),
        Wide("compress.i64w", ("i64w", "b64w"), "i64w", "hl_compress_i64w({x}, {y})"),
    )
    return found + [(wide.name, _wide_forms(target, wide, commutative=False)) for wide in resized]


def _array_specs() -> list[Spec]:
    """Return loads and stores of elements of arrays of any size."""
    found, array = [], f"HL_ARRAY(ctx + {HOLE_OFFSET})"
    for dtype in COMPUTE:
        short, kind = dtype.short, MEMORY_TYPES[dtype.short]
        found += [
            Spec(f"getp.{short}", f"({C_TYPES[short]}){_place(short, '(char *){x}', '{y}')}", short, ("i64", "i64")),
            Spec(f"putp.{short}", f"{_place(short, '(char *){y}', '{z}')} = ({kind}){{x}};", None, (short, "i64", "i64")),
            Spec(f"geta.{short}", f"({C_TYPES[short]})*({kind} *)hl_readable({array}, {{x}}, sizeof({kind}))", short, ("i64",), long=True),
            Spec(f"puta.{short}", f"*({kind} *)hl_writable({array}, {{y}}, sizeof({kind})) = ({kind}){{x}};", None, (short, "i64")),
        ]
    for gathered in GATHERS:
        short, *indices = gathered.split(".")
        operands = ", ".join(["{x}", "{y}"][: len(indices)])
        name = "hl_gather_near" if indices[0] == "i32w" else "hl_gather"
        found.append(Spec(f"gather.{gathered}", f"{name}_{short}({array}, {operands})", short, tuple(indices), wide=True, long=True))
    for short in WIDE_SHORTS:
        text = f"hl_store_{short}({array}, {{x}}, {{y}}, {{z}});"
        found.append(Spec(f"storem.{short}", text, None, (short, "i64", "i64"), wide=True, long=True))
    for bits in (32, 64):
        short, mask = f"i{bits}w", f"b{bits}w"
        found += [
            Spec(f"reverse.{short}", f"hl_reverse_{short}({{x}})", short, (short,), wide=True),
            Spec(f"count.{mask}", f"hl_count_{mask}({{x}})", "i64", (mask,), wide=True),
        ]
    return found


def _forms(target: Target, name: str, text: str, sources: tuple[str, ...], dst: str, commutative: bool) -> list[Spec]:
    last = Spec(f"{name}#helper", text, dst, sources, fixed=True)
    if isinstance(target.shell, Pinning):  # three addresses, none of them in memory
        return [Spec(name, text, dst, sources), last]
    # three addresses: sums and such on AVX; multiply-add overwrites an operand everywhere
    in_vector = register_class(target, dst) == VECTOR
    tied = sources[0] == dst and (not in_vector or len(sources) == 3 or (target.two_address and len(sources) == 2))
    in_vectors = commutative and register_class(target, sources[0]) == VECTOR
    specs = [Spec(name, text, dst, sources, tied=tied, commutative=in_vectors)]
    if commutative and not in_vectors:
        specs.append(replace(specs[0], name=f"{name}#opaque", opaque=True))
    if len(sources) <= 2 and sources[-1] != BOOL_IN_MEMORY:
        with_memory = tied and len(sources) == 2
        specs.append(Spec(f"{name}#memory", text, dst, sources[:-1], memory=sources[-1], tied=with_memory))
    return [*specs, last]


def basic_specs(target: Target) -> list[Spec]:
    """Return the stencils for moves, loads, stores, loops and branches."""
    pinned = isinstance(target.shell, Pinning)
    specs = []
    if not pinned:
        specs += [Spec("move.v", "{x}", "f64", ("f64",), moves=True), Spec("move.i", "{x}", "i64", ("i64",), moves=True)]
    for dtype in COMPUTE:
        short, kind = dtype.short, MEMORY_TYPES[dtype.short]
        cast = f"({kind})" if kind != C_TYPES[short] else ""
        stored = f"*({kind} *)(ctx + {HOLE_OFFSET}) = {cast}{{x}};"
        specs += _reaching(target, Spec(f"load.{short}", "{x}", short, (), memory=short, moves=True))
        specs += _reaching(target, Spec(f"store.{short}", stored, None, (short,), moves=True))
        if pinned:
            specs.append(Spec(f"move.{short}", "{x}", short, (short,), moves=True, long=True))
    if target.wide:
        fill = Spec("fill.w", f"*(hl_f32w_anywhere *)(ctx + {HOLE_OFFSET})", "f32w", (), wide=True, moves=True)
        specs += _reaching(target, fill)
        specs += _reaching(target, replace(fill, name="spill.w", text=f"{fill.text} = {{x}};", dst=None, sources=("f32w",)))
        specs.append(Spec("move.w", "{x}", "f32w", ("f32w",), wide=True, moves=True))
    counter = f"*(int32_t *)(ctx + {HOLE_OFFSET})"
    specs += _reaching(target, Spec("set", f"{counter} = (int32_t){HOLE_IMMEDIATE};", None, ()))
    specs += _reaching(target, Spec("repeat", f"--{counter}", None, (), branch="nonzero"))
    specs.append(Spec("below", "{x} < {y}", None, (target.index, target.index), branch="less"))
    specs.append(Spec("unless", "{x}", None, ("b",), branch="zero"))
    specs.append(Spec("jump", "1", None, (), branch="always"))
    if pinned:
        specs.append(Spec("enter", "", None, (), assembly="enter"))
        return [*specs, Spec("leave", "", None, (), assembly="leave")]
    return [*specs, Spec("leave", "HL_LEAVE; return;", None, ()), Spec("return", "return;", None, ())]


def aliases(target: Target) -> dict[str, str]:
    """Return basic stencils that are others of a target: name -> which."""
    if isinstance(target.shell, Pinning):
        return {"return": "leave"}
    return {f"move.{dtype.short}": "move.v" if target.is_vector(dtype.short) else "move.i" for dtype in COMPUTE}


def element_specs(target: Target) -> list[Spec]:
    """Return loads and stores of elements of arrays in the data, by an index."""
    found: list[Spec] = []
    for dtype in COMPUTE:
        short = dtype.short
        text = f"{_place(short, 'ctx', '{y}')} = ({MEMORY_TYPES[short]}){{x}};"
        found += _reaching(target, Spec(f"put.{short}", text, None, (short, target.index)))
        found += _reaching(target, Spec(f"get.{short}", f"({C_TYPES[short]}){_place(short, 'ctx', '{x}')}", short, (target.index,)))
        if not isinstance(target.shell, Pinning):
            continue
        kind, index = MEMORY_TYPES[short], C_TYPES[target.index]
        pointer = f"({index})(ctx + {{x}} * ({index})sizeof({kind}) + {HOLE_OFFSET})"
        read, written = (f"*({kind} *)((char *){{{operand}}} + {HOLE_OFFSET})" for operand in "xy")
        found += _reaching(target, Spec(f"point.{short}", pointer, target.index, (target.index,)))
        found += _reaching(target, Spec(f"peek.{short}", f"({C_TYPES[short]}){read}", short, (target.index,)))
        found += _reaching(target, Spec(f"poke.{short}", f"{written} = ({kind}){{x}};", None, (short, target.index)))
    return found


def _reaching(target: Target, spec: Spec) -> list[Spec]:
    """Return a spec, and where displacements are short, one for longer ones."""
    if not isinstance(target.shell, Pinning):
        return [spec]
    return [replace(spec, long=True), replace(spec, name=f"{spec.name}#far", far=True, long=True)]
