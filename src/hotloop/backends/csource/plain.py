"""C99 for what the headers of `ops/c/` write with compiler extensions, and what an export checks at compile time."""

from __future__ import annotations

# Stands at the top of NAME_math.h, after its guard.
CHECKS = """\
#include <float.h>
#include <stdbool.h>
#include <stdint.h>

/* Every result has the same bits on every machine and at every level of optimisation, if the compiler
 * evaluates as IEEE 754 says: no fused multiply-add where the source has two operations, no wider
 * intermediate results, no "fast" mathematics. With GCC pass -ffp-contract=off as well. */
#if defined(__FAST_MATH__)
#error "compile without -ffast-math: results would change"
#endif
#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "float must be computed as float, and double as double (FLT_EVAL_METHOD == 0)"
#endif
#if FLT_RADIX != 2 || FLT_MANT_DIG != 24 || DBL_MANT_DIG != 53
#error "float and double must be the binary32 and binary64 of IEEE 754"
#endif
#if (-1 >> 1) != -1
#error "a shift right must keep the sign of a negative number"
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#else
#pragma STDC FP_CONTRACT OFF
#endif
"""

# Which of two ways is taken depends on the target, so the choice is left to its compiler.
HARDWARE = """\
/* What the machine has instructions for; the bits are the same without them. Compilers that would call a
 * library in their place, to set errno, get none: GCC uses its square root with -fno-math-errno only. */
#if defined(__clang__) && defined(__has_builtin)
#if __has_builtin(__builtin_elementwise_sqrt)
#define HL_ROOT_F32 __builtin_elementwise_sqrt
#define HL_ROOT_F64 __builtin_elementwise_sqrt
#endif
#if __has_builtin(__builtin_elementwise_fma)
#define HL_MULTIPLY_ADD_F32 __builtin_elementwise_fma
#define HL_MULTIPLY_ADD_F64 __builtin_elementwise_fma
#endif
#elif defined(__GNUC__)
#if defined(__NO_MATH_ERRNO__)
#define HL_ROOT_F32 __builtin_sqrtf
#define HL_ROOT_F64 __builtin_sqrt
#endif
#define HL_MULTIPLY_ADD_F32 __builtin_fmaf
#define HL_MULTIPLY_ADD_F64 __builtin_fma
#endif
#if defined(__ARM_FP)
#define HL_HAS_F32 ((__ARM_FP & 4) != 0)
#define HL_HAS_F64 ((__ARM_FP & 8) != 0)
#elif defined(__riscv_flen)
#define HL_HAS_F32 (__riscv_flen >= 32)
#define HL_HAS_F64 (__riscv_flen >= 64)
#elif defined(__SSE2__)
#define HL_HAS_F32 1
#define HL_HAS_F64 1
#else
#define HL_HAS_F32 0
#define HL_HAS_F64 0
#endif
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__riscv_flen)
#define HL_HAS_FUSED 1
#else
#define HL_HAS_FUSED 0
#endif
"""

_EACH = """\
/* The bits of a number, and back. */
static inline {word} hl_op_word_{s}({type} x)
{{
    union {{ {type} number; {word} bits; }} both;
    both.number = x;
    return both.bits;
}}

static inline {type} hl_op_real_{s}({word} bits)
{{
    union {{ {word} bits; {type} number; }} both;
    both.bits = bits;
    return both.number;
}}

#if defined(__GNUC__)
#define HL_INF_{S} __builtin_inf{f}()
#else
#define HL_INF_{S} hl_op_real_{s}({infinity})
#endif

#if defined(__GNUC__)
#define HL_NAN_{S} __builtin_nan{f}("")
#else
#define HL_NAN_{S} hl_op_real_{s}({nan})
#endif

static inline {type} hl_op_inf_{s}(void)
{{
    return HL_INF_{S};
}}

static inline {type} hl_op_abs_{s}({type} x)
{{
    return hl_op_real_{s}(hl_op_word_{s}(x) & ~HL_SIGN_{S});
}}

/* x + 0 is 0 for -0.0 and keeps NaN. */
static inline {type} hl_op_sign_{s}({type} x)
{{
    return x > 0 ? 1 : (x < 0 ? -1 : x + 0);
}}

/* Both orders of a compare-and-pick, joined: and prefers 0.0, but may lose a NaN. */
static inline {type} hl_op_maximum_{s}({type} x, {type} y)
{{
    const {type} both = hl_op_real_{s}(hl_op_word_{s}(x > y ? x : y) & hl_op_word_{s}(y > x ? y : x));
    return (x != x) || (y != y) ? x + y : both;
}}

static inline {type} hl_op_select_{s}(bool condition, {type} yes, {type} no)
{{
    return condition ? yes : no;
}}

/* The square root, rounded to nearest: where the machine has no instruction, digit by digit. */
static inline {type} hl_op_sqrt_{s}({type} x)
{{
#if HL_HAS_{S} && defined(HL_ROOT_{S})
    return HL_ROOT_{S}(x);
#else
    {word} bits = hl_op_word_{s}(x), root = 0, twice = 0;
    int32_t exponent = (int32_t)(bits >> {digits});
    if (!(x > 0) || bits == {infinity}) {{
        return x < 0 ? HL_NAN_{S} : x + x; /* of zeros, infinity and NaN */
    }}
    if (exponent == 0) {{ /* a subnormal number */
        while (bits >> {digits} == 0) {{
            bits <<= 1;
            exponent--;
        }}
        exponent++;
    }}
    bits = (bits & HL_FRACTION_{S}) | (HL_FRACTION_{S} + 1);
    exponent -= {bias};
    if ((exponent & 1) != 0) {{
        bits <<= 1;
        exponent--;
    }}
    bits <<= 1;
    for ({word} digit = (HL_FRACTION_{S} + 1) << 1; digit != 0; digit >>= 1) {{
        if (twice + digit <= bits) {{
            twice += digit;
            bits -= twice;
            twice += digit;
            root += digit;
        }}
        bits <<= 1;
    }}
    root = (root >> 1) + (bits != 0 ? root & 1 : 0); /* halfway never happens */
    return hl_op_real_{s}(root + (({word})(exponent / 2 + {bias} - 1) << {digits}));
#endif
}}

#define HL_SQRT_{S}(x) hl_op_sqrt_{s}(x)

/* a * b + c, where the product is exact: one rounding is all there is. */
static inline {type} hl_exact_{s}({type} a, {type} b, {type} c)
{{
#if HL_HAS_FUSED && HL_HAS_{S} && defined(HL_MULTIPLY_ADD_{S})
    return HL_MULTIPLY_ADD_{S}(a, b, c);
#else
    return a * b + c;
#endif
}}

#define HL_EXACT_{S}(a, b, c) hl_exact_{s}(a, b, c)

/* The error of the product p of a and b. */
static inline {type} hl_error_{s}({type} a, {type} b, {type} p)
{{
#if HL_HAS_FUSED && HL_HAS_{S} && defined(HL_MULTIPLY_ADD_{S})
    return HL_MULTIPLY_ADD_{S}(a, b, -p);
#else
    return hl_product_less_{s}(a, b, p);
#endif
}}

#define HL_ERROR_{S}(a, b, p) hl_error_{s}(a, b, p)

/* {x_y_z}. */
static inline {type} hl_fma_{s}({type} x, {type} y, {type} z)
{{
#if HL_HAS_FUSED && HL_HAS_{S} && defined(HL_MULTIPLY_ADD_{S})
    return HL_MULTIPLY_ADD_{S}(x, y, z);
#else
    return {fma};
#endif
}}
"""

_BOTH = """\
#define HL_RARELY(condition) (condition)

/* Sine and cosine side by side in the bits of a double, which is only carried from place to place. */
static inline double hl_op_packed_f32(hl_pair_f32 pair)
{
    union { float each[2]; double both; } packed;
    packed.each[0] = pair.hi;
    packed.each[1] = pair.lo;
    return packed.both;
}

static inline float hl_op_low_f64(double pair)
{
    union { float each[2]; double both; } packed;
    packed.both = pair;
    return packed.each[0];
}

static inline float hl_op_high_f64(double pair)
{
    union { float each[2]; double both; } packed;
    packed.both = pair;
    return packed.each[1];
}
"""

_KINDS = (
    {"s": "f32", "S": "F32", "type": "float", "word": "uint32_t", "f": "f", "digits": 23, "bias": 127,
     "infinity": "0x7f800000u", "nan": "0x7fc00000u"},
    {"s": "f64", "S": "F64", "type": "double", "word": "uint64_t", "f": "", "digits": 52, "bias": 1023,
     "infinity": "0x7ff0000000000000ull", "nan": "0x7ff8000000000000ull"},
)  # fmt: skip


def plain(fast: bool) -> str:
    """Return definitions in C99, one after the other with an empty line between.

    They take the place of those in the headers that have the same names. fast: where the machine has no fused
    multiply-add, one asked for by the program rounds twice.
    """
    found = []
    for kind in _KINDS:
        fma = "x * y + z" if fast else f"hl_fma_one_{kind['s']}(x, y, z)"
        text = "x * y + z, rounded once where the machine has an instruction for that" if fast else "x * y + z, rounded once"
        found.append(_EACH.format(**kind, fma=fma, x_y_z=text))
    return "\n".join([*found, _BOTH])
