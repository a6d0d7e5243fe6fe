"""The C text of stencils that take the whole machine state as parameters and end in a tail call."""

from __future__ import annotations

from stencilgen.source import C_TYPES, MEMORY_TYPES, Spec, is_wide
from stencilgen.target import Passing, Target

PRELUDE = """#include "wide.h"
#include "access.h"
#if defined(__SSE4_1__) && HL_LANES == 1  /* the hardware rounds as rounding.h defines it */
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
#if HL_LANES == 1
#define hl_copysign_f32 __builtin_copysignf
#define hl_copysign_f64 __builtin_copysign
#endif
#if defined(__FMA__) && HL_LANES == 1
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
typedef hl_f32w W;
extern char HOLE_OFFSET[], HOLE_IMMEDIATE[];
"""


CONDITIONS = {"nonzero": "({}) != 0", "zero": "({}) == 0", "less": "{}", "always": "1"}  # of Spec.branch


def shell_of(target: Target) -> Passing:
    """Return what is particular to targets of this kind."""
    assert isinstance(target.shell, Passing)
    return target.shell


def prelude(target: Target) -> str:
    """Return what precedes every stencil: includes, register types, the next stencil and a jump target."""
    convention = f"__attribute__(({shell_of(target).convention}, visibility(\"hidden\")))"
    jumps = [("NEXT", "R"), ("TARGET", "R"), ("NEXT_WIDE", "W")]
    return PRELUDE + "".join(f"{convention} void {name}({_parameters(target, kind)});\n" for name, kind in jumps)


def function(target: Target, symbol: str, spec: Spec, registers: dict[int, int]) -> str:
    """Return a C function `symbol` that is the stencil for `registers` (operand number -> register).

    It takes every register and passes every register on; what it passes uninitialised is free.
    """
    after, body = _body(target, spec, registers)
    free = _free(target, spec)
    passed = ", ".join(after.get(name, f"u_{name}" if name in free else name) for name in _names(target))
    kind = "W" if spec.wide else "R"
    unset = "".join(f"{_type(name, kind)} u_{name}; " for name in sorted(free))
    jump = "NEXT_WIDE" if spec.wide else "NEXT"
    go = f"__attribute__((musttail)) return {{}}({passed});"
    if spec.branch:
        body = f"if (__builtin_expect(!!({CONDITIONS[spec.branch].format(body)}), 0)) {go.format('TARGET')}"
    head = f"__attribute__(({shell_of(target).convention})) void {symbol}({_parameters(target, kind)})"
    return f"{head} {{ {unset}{body} {go.format(jump)} }}\n"


def _names(target: Target) -> list[str]:
    return [*shell_of(target).parameters, *[f"v{i}" for i in range(target.vectors + target.scratch_vectors)]]


def _type(name: str, kind: str) -> str:
    return "char *" if name == "ctx" else kind if name.startswith("v") else "long"


def _parameters(target: Target, kind: str) -> str:
    return ", ".join(f"{_type(name, kind)} {name}" for name in _names(target))


def _free(target: Target, spec: Spec) -> set[str]:
    """Return the registers whose content the stencil may destroy."""
    free = {name for name in shell_of(target).parameters if name.startswith("t")} | {f"i{target.integers}"}
    free |= {f"v{target.vectors + i}" for i in range(target.scratch_vectors)}
    if spec.fixed:
        free |= {f"v{i}" for i in range(target.vectors) if spec.wide or i not in target.saved_vectors}
        free |= {f"i{i}" for i in range(target.integers) if i not in target.saved_integers}
    return free


def _read(target: Target, short: str, register: int, wide: bool) -> str:
    if is_wide(short):
        return f"(({C_TYPES[short]})v{register})"
    if target.is_vector(short):
        return f"v{register}[0]" if short == "f32" else f"(({'hl_f64w' if wide else 'R64'})v{register})[0]"
    return f"(({C_TYPES[short]})i{register})"


def _body(target: Target, spec: Spec, registers: dict[int, int]) -> tuple[dict[str, str], str]:
    """Return ({register name: expression to pass on}, statements)."""
    values = [_read(target, short, registers[number], spec.wide) for number, short in enumerate(spec.sources, 1)]
    opaque = ""
    if spec.opaque:
        opaque = f'{C_TYPES[spec.sources[0]]} x = {values[0]}; __asm__("" : "+r"(x)); '
        values[0] = "x"
    if spec.memory:
        values.append(f"(({C_TYPES[spec.memory]})*({MEMORY_TYPES[spec.memory]} *)(ctx + (long)HOLE_OFFSET))")
    short = spec.sources[-1] if spec.sources else (spec.memory or spec.dst or "i32")
    text = spec.text.format(**dict(zip("xyz", values, strict=False)), t=short)
    if spec.dst is None:
        return {}, text
    result = registers[1] if spec.tied else registers.get(0, 0)
    if is_wide(spec.dst):
        return {f"v{result}": "(W)r"}, f"{opaque}{C_TYPES[spec.dst]} r = {text};"
    if target.is_vector(spec.dst):
        kind = f"hl_{spec.dst}w" if spec.wide else "R" if spec.dst == "f32" else "R64"
        return {f"v{result}": f"({'W' if spec.wide else 'R'})r"}, f"{opaque}{kind} r; r[0] = {text};"
    widened = "r" if spec.dst == "i64" else "(long)(uint32_t)r"
    return {f"i{result}": widened}, f"{opaque}{C_TYPES[spec.dst]} r = {text};"


def called(target: Target, spec: Spec) -> str:
    """Return the attributes of a helper. On lanes it is a plain C function, which keeps no vector register."""
    return "__attribute__((noinline)) " if spec.wide else f"__attribute__(({shell_of(target).convention}, noinline)) "
