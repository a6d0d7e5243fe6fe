"""The C text of one stencil for one choice of registers."""

from __future__ import annotations

from dataclasses import dataclass

from stencilgen.target import Target

VECTOR, INTEGER = 1, 2

C_TYPES = {"b": "int32_t", "i32": "int32_t", "i64": "int64_t", "f32": "float", "f64": "double", "f32w": "W", "f64w": "W64"}
MEMORY_TYPES = C_TYPES | {"b": "uint8_t"}


def register_class(short: str) -> int:
    """Return the register class that holds values of a type, given by its short name."""
    return VECTOR if short.startswith("f") else INTEGER


@dataclass(frozen=True, slots=True)
class Spec:
    """One stencil to make: operand types, C text, constraints.

    text: a C expression of {x}, {y}, {z} for stencils with a result, else a statement
    sources: short types of the register operands; dst: short type of the result or None
    memory: short type of an operand in memory, which comes last, or None
    tied: the result is written over the first source
    fixed: operands are in registers 0, 1, 2 and the result in 0, because a helper is called
    branch: the text is a condition under which control goes to the patched target
    wide: vector registers are passed in full width, because the stencil works on lanes
    order: what keeps the compiler from ordering commutative operands by their registers: "" nothing,
        "strict" floating point that may trap, "opaque" an operand from nowhere (costs a move)
    """

    name: str
    text: str
    dst: str | None
    sources: tuple[str, ...]
    memory: str | None = None
    tied: bool = False
    fixed: bool = False
    branch: bool = False
    order: str = ""
    wide: bool = False

    def operands(self) -> list[tuple[int, str]]:
        """Return (operand number, type) of the operands whose register can be chosen; 0 is the result."""
        if self.fixed:
            return []
        found = [] if self.dst is None or self.tied else [(0, self.dst)]
        return found + [(i + 1, short) for i, short in enumerate(self.sources)]


PRELUDE = """#include "rounding.h"
#include "scalar.h"
#if defined(__SSE4_1__)  /* the hardware rounds as rounding.h defines it */
#define hl_floor_f32 __builtin_floorf
#define hl_floor_f64 __builtin_floor
#define hl_ceil_f32 __builtin_ceilf
#define hl_ceil_f64 __builtin_ceil
#define hl_trunc_f32 __builtin_truncf
#define hl_trunc_f64 __builtin_trunc
#define hl_round_f32 __builtin_roundevenf
#define hl_round_f64 __builtin_roundeven
#endif
#if defined(__AVX__)  /* one blend by the sign of a mask; and-or would be encoded in either order */
#include <immintrin.h>
#define hl_op_select_f32(c, x, y) \\
    _mm_cvtss_f32(_mm_blendv_ps(_mm_set_ss(y), _mm_set_ss(x), _mm_castsi128_ps(_mm_cvtsi32_si128((int)((unsigned)(c) << 31)))))
#define hl_op_select_f64(c, x, y) \\
    _mm_cvtsd_f64(_mm_blendv_pd(_mm_set_sd(y), _mm_set_sd(x), _mm_castsi128_pd(_mm_cvtsi64_si128((long)(c) << 63))))
#endif
#define hl_copysign_f32 __builtin_copysignf
#define hl_copysign_f64 __builtin_copysign
#if defined(__FMA__)
#define hl_fma_f32 __builtin_fmaf
#define hl_fma_f64 __builtin_fma
#endif
typedef float R __attribute__((vector_size(16)));
typedef double R64 __attribute__((vector_size(16)));
#if defined(__AVX__)  /* upper halves left dirty would slow the caller's SSE code */
#define HL_LEAVE __builtin_ia32_vzeroupper()
#else
#define HL_LEAVE (void)0
#endif
extern char HOLE_OFFSET[], HOLE_IMMEDIATE[];
"""


def prelude(target: Target) -> str:
    """Return what precedes every stencil: includes, register types, the next stencil and a jump target."""
    convention = f"__attribute__(({target.convention}, visibility(\"hidden\")))"
    types = "".join(
        f"typedef {base} {name} __attribute__((vector_size({target.wide})));\n"
        f"typedef {base} {name}U __attribute__((vector_size({target.wide}), aligned({size})));\n"
        for base, name, size in (("float", "W", 4), ("double", "W64", 8))
    )
    jumps = [("NEXT", "R"), ("TARGET", "R"), ("NEXT_WIDE", "W")]
    return PRELUDE + types + "".join(f"{convention} void {name}({_parameters(target, kind)});\n" for name, kind in jumps)


def function(target: Target, symbol: str, spec: Spec, registers: dict[int, int]) -> str:
    """Return a C function `symbol` that is the stencil for `registers` (operand number -> register).

    It takes every register and passes every register on; what it passes uninitialised is free.
    """
    after, body = _body(target, spec, registers)
    free = _free(target, spec)
    passed = ", ".join(after.get(name, f"u_{name}" if name in free else name) for name in _names(target))
    kind = "W" if spec.wide else "R"
    unset = "".join(f"{_type(name, kind)} u_{name}; " for name in sorted(free))
    strict = '_Pragma("clang fp exceptions(maytrap)") ' if spec.order == "strict" else ""
    jump = "NEXT_WIDE" if spec.wide else "NEXT"
    go = f"__attribute__((musttail)) return {{}}({passed});"
    if spec.branch:
        body = f"if (__builtin_expect(!!({body}), 0)) {go.format('TARGET')}"
    head = f"__attribute__(({target.convention})) void {symbol}({_parameters(target, kind)})"
    return f"{head} {{ {strict}{unset}{body} {go.format(jump)} }}\n"


def _names(target: Target) -> list[str]:
    return [*target.parameters, *[f"v{i}" for i in range(target.vectors + target.scratch_vectors)]]


def _type(name: str, kind: str) -> str:
    return "char *" if name == "ctx" else kind if name.startswith("v") else "long"


def _parameters(target: Target, kind: str) -> str:
    return ", ".join(f"{_type(name, kind)} {name}" for name in _names(target))


def _free(target: Target, spec: Spec) -> set[str]:
    """Return the registers whose content the stencil may destroy."""
    free = {name for name in target.parameters if name.startswith("t")} | {f"i{target.integers}"}
    free |= {f"v{target.vectors + i}" for i in range(target.scratch_vectors)}
    if spec.fixed:
        free |= {f"v{i}" for i in range(target.vectors) if i not in target.saved_vectors}
        free |= {f"i{i}" for i in range(target.integers) if i not in target.saved_integers}
    return free


def _read(short: str, register: int, wide: bool) -> str:
    if short.endswith("w"):
        return f"(({C_TYPES[short]})v{register})"
    if register_class(short) == VECTOR:
        return f"v{register}[0]" if short == "f32" else f"((R64)v{register})[0]".replace("R", "W" if wide else "R", 1)
    return f"(({C_TYPES[short]})i{register})"


def _body(target: Target, spec: Spec, registers: dict[int, int]) -> tuple[dict[str, str], str]:
    """Return ({register name: expression to pass on}, statements)."""
    values = [_read(short, registers[number], spec.wide) for number, short in enumerate(spec.sources, 1)]
    opaque = ""
    if spec.order == "opaque":
        constraint = target.constraints[register_class(spec.sources[0]) - 1]
        opaque = f'{C_TYPES[spec.sources[0]]} x = {values[0]}; __asm__("" : "+{constraint}"(x)); '
        values[0] = "x"
    if spec.memory:
        values.append(f"(({C_TYPES[spec.memory]})*({MEMORY_TYPES[spec.memory]} *)(ctx + (long)HOLE_OFFSET))")
    short = spec.sources[-1] if spec.sources else (spec.memory or spec.dst or "i32")
    text = spec.text.format(**dict(zip("xyz", values, strict=False)), t=short)
    if spec.dst is None:
        return {}, text
    result = registers[1] if spec.tied else registers.get(0, 0)
    if spec.dst.endswith("w"):
        return {f"v{result}": "(W)r"}, f"{opaque}{C_TYPES[spec.dst]} r = {text};"
    if register_class(spec.dst) == VECTOR:
        kind = "R" if spec.dst == "f32" else "R64"
        return {f"v{result}": "(R)r"}, f"{opaque}{kind} r; r[0] = {text};"
    widened = "r" if spec.dst == "i64" else "(long)(uint32_t)r"
    return {f"i{result}": widened}, f"{opaque}{C_TYPES[spec.dst]} r = {text};"


def helper(target: Target, name: str, text: str, dst: str, sources: tuple[str, ...]) -> str:
    """Return the C function that stencils with fixed registers call."""
    letters = ["x", "y", "z"][: len(sources)]
    parameters = ", ".join(f"{C_TYPES[s]} {letter}" for s, letter in zip(sources, letters, strict=True))
    body = text.format(**{letter: letter for letter in letters}, t=sources[-1])
    convention = f"__attribute__(({target.convention}, noinline))"
    return f"{convention} {C_TYPES[dst]} {name}({parameters});\n{convention} {C_TYPES[dst]} {name}({parameters}) {{ return {body}; }}\n"


def declaration(target: Target, name: str, dst: str, sources: tuple[str, ...]) -> str:
    """Return the declaration of a helper."""
    parameters = ", ".join(C_TYPES[s] for s in sources)
    return f"__attribute__(({target.convention})) {C_TYPES[dst]} {name}({parameters});\n"
