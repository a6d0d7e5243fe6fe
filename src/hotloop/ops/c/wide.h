/* Vectors of lanes that fill one register: their types, and short operations of rows on them, with
 * the bits of scalar.h in every lane. HL_WIDE is the size of a register in bytes.
 *
 * A bool a lane is a mask of integers: all ones or all zeros.
 */
#ifndef HL_WIDE_H
#define HL_WIDE_H

#include "rounding.h"
#include "scalar.h"

#define HL_TYPES(s, type, size)                                                                    \
    typedef type hl_##s##w __attribute__((ext_vector_type(HL_WIDE / size)));                       \
    typedef hl_##s##w hl_##s##w_anywhere __attribute__((aligned(size))); /* as arrays are */
HL_TYPES(f32, float, 4)
HL_TYPES(f64, double, 8)
HL_TYPES(i32, int32_t, 4)
HL_TYPES(i64, int64_t, 8)
typedef hl_i32w hl_b32w;
typedef hl_i64w hl_b64w;
typedef uint32_t hl_u32w __attribute__((ext_vector_type(HL_WIDE / 4)));
typedef uint64_t hl_u64w __attribute__((ext_vector_type(HL_WIDE / 8)));
/* half of the lanes of 4 bytes: as many as fit with 8 */
typedef float hl_f32_half __attribute__((ext_vector_type(HL_WIDE / 8)));
typedef int32_t hl_i32_half __attribute__((ext_vector_type(HL_WIDE / 8)));
/* bools in memory, for as many lanes */
typedef uint8_t hl_bytes_b32w __attribute__((ext_vector_type(HL_WIDE / 4), aligned(1)));
typedef uint8_t hl_bytes_b64w __attribute__((ext_vector_type(HL_WIDE / 8), aligned(1)));

#define HL_CONVERT(x, type) __builtin_convertvector(x, type)

/* The hardware blends by the sign of a mask. Before AVX the mask must be in xmm0: logic is shorter
 * than moving it there. The mask comes from nowhere, so that compilers cannot order its products by
 * the registers of their operands, nor make that blend of it after all. */
#if defined(__AVX__)
#define HL_BLEND(T, M, mask, yes, no) ((mask) ? (yes) : (no))
#else
#define HL_BLEND(T, M, mask, yes, no)                                                              \
    __extension__({                                                                                \
        M mask_ = (mask);                                                                          \
        __asm__("" : "+x"(mask_));                                                                 \
        (T)((mask_ & (M)(yes)) | (~mask_ & (M)(no)));                                              \
    })
#endif
#define hl_op_select_f32w(c, x, y) HL_BLEND(hl_f32w, hl_i32w, c, x, y)
#define hl_op_select_f64w(c, x, y) HL_BLEND(hl_f64w, hl_i64w, c, x, y)
#define hl_op_select_i32w(c, x, y) HL_BLEND(hl_i32w, hl_i32w, c, x, y)
#define hl_op_select_i64w(c, x, y) HL_BLEND(hl_i64w, hl_i64w, c, x, y)
#define hl_op_select_b32w(c, x, y) HL_BLEND(hl_i32w, hl_i32w, c, x, y)
#define hl_op_select_b64w(c, x, y) HL_BLEND(hl_i64w, hl_i64w, c, x, y)

#define HL_FLOAT_WIDE(s, m)                                                                        \
    HL_SHORT hl_##s##w hl_op_inf_##s##w(void) { return (hl_##s##w)__builtin_inff(); }              \
    HL_SHORT hl_##s##w hl_op_sqrt_##s##w(hl_##s##w x) { return __builtin_elementwise_sqrt(x); }    \
    HL_SHORT hl_##s##w hl_op_abs_##s##w(hl_##s##w x) { return __builtin_elementwise_abs(x); }      \
    HL_SHORT hl_##s##w hl_floor_##s##w(hl_##s##w x) { return __builtin_elementwise_floor(x); }     \
    HL_SHORT hl_##s##w hl_ceil_##s##w(hl_##s##w x) { return __builtin_elementwise_ceil(x); }       \
    HL_SHORT hl_##s##w hl_trunc_##s##w(hl_##s##w x) { return __builtin_elementwise_trunc(x); }     \
    HL_SHORT hl_##s##w hl_round_##s##w(hl_##s##w x)                                                \
    {                                                                                              \
        return __builtin_elementwise_roundeven(x);                                                 \
    }                                                                                              \
    HL_SHORT hl_##s##w hl_copysign_##s##w(hl_##s##w x, hl_##s##w y)                                \
    {                                                                                              \
        return __builtin_elementwise_copysign(x, y);                                               \
    }                                                                                              \
    HL_SHORT hl_##s##w hl_op_sign_##s##w(hl_##s##w x)                                              \
    {                                                                                              \
        hl_##s##w one = __builtin_elementwise_copysign((hl_##s##w)1, x);                           \
        return hl_op_select_##s##w(__builtin_elementwise_abs(x) > 0, one, x + 0);                  \
    }                                                                                              \
    HL_SHORT hl_##s##w hl_op_minimum_##s##w(hl_##s##w x, hl_##s##w y)                              \
    {                                                                                              \
        return (hl_##s##w)((hl_##m##w)(x < y ? x : y) | (hl_##m##w)(y < x ? y : x));               \
    }                                                                                              \
    HL_SHORT hl_##s##w hl_op_maximum_##s##w(hl_##s##w x, hl_##s##w y)                              \
    {                                                                                              \
        hl_##s##w both = (hl_##s##w)((hl_##m##w)(x > y ? x : y) & (hl_##m##w)(y > x ? y : x));     \
        return (hl_##s##w)((hl_##m##w)both | (x != x) | (y != y));                                 \
    }
HL_FLOAT_WIDE(f32, i32)
HL_FLOAT_WIDE(f64, i64)

#if defined(__FMA__) || defined(__aarch64__)
#define hl_fma_f32w(x, y, z) __builtin_elementwise_fma(x, y, z)
#define hl_fma_f64w(x, y, z) __builtin_elementwise_fma(x, y, z)
#else
#define HL_FMA_WIDE(s, size)                                                                       \
    HL_SHORT hl_##s##w hl_fma_##s##w(hl_##s##w x, hl_##s##w y, hl_##s##w z)                        \
    {                                                                                              \
        for (int i = 0; i < HL_WIDE / size; i++)                                                   \
            z[i] = hl_fma_one_##s(x[i], y[i], z[i]);                                               \
        return z;                                                                                  \
    }
HL_FMA_WIDE(f32, 4)
HL_FMA_WIDE(f64, 8)
#endif

/* Lane by lane, where the hardware has no instruction for vectors. */
#define HL_EACH(name, s, size)                                                                     \
    HL_SHORT hl_##s##w name##_##s##w(hl_##s##w x, hl_##s##w y)                                     \
    {                                                                                              \
        hl_##s##w r = x;                                                                           \
        for (int i = 0; i < HL_WIDE / size; i++)                                                   \
            r[i] = name##_##s(x[i], y[i]);                                                         \
        return r;                                                                                  \
    }
#define HL_INT_WIDE(s)                                                                             \
    HL_SHORT hl_##s##w hl_op_abs_##s##w(hl_##s##w x) { return __builtin_elementwise_abs(x); }      \
    HL_SHORT hl_##s##w hl_op_sign_##s##w(hl_##s##w x) { return (x < 0) - (x > 0); }                \
    HL_SHORT hl_##s##w hl_op_minimum_##s##w(hl_##s##w x, hl_##s##w y)                              \
    {                                                                                              \
        return __builtin_elementwise_min(x, y);                                                    \
    }                                                                                              \
    HL_SHORT hl_##s##w hl_op_maximum_##s##w(hl_##s##w x, hl_##s##w y)                              \
    {                                                                                              \
        return __builtin_elementwise_max(x, y);                                                    \
    }
HL_INT_WIDE(i32)
HL_INT_WIDE(i64)

HL_EACH(hl_op_floordiv, i64, 8)
HL_EACH(hl_op_mod, i64, 8)
/* Quotients of int32 are those of float64, truncated: 53 bits tell any two of them apart. */
HL_SHORT hl_i32w hl_wide_quotient(hl_i32w x, hl_i32w y)
{
    hl_i32w r;
    r.lo = HL_CONVERT(HL_CONVERT(x.lo, hl_f64w) / HL_CONVERT(y.lo, hl_f64w), hl_i32_half);
    r.hi = HL_CONVERT(HL_CONVERT(x.hi, hl_f64w) / HL_CONVERT(y.hi, hl_f64w), hl_i32_half);
    return r;
}
/* As in scalar.h; where y is 0 or -1 it is divided by 1. */
HL_SHORT hl_i32w hl_op_floordiv_i32w(hl_i32w x, hl_i32w y)
{
    hl_i32w d = ((y == 0) | (y == -1)) ? (hl_i32w)1 : y, q = hl_wide_quotient(x, d);
    hl_i32w rest = x - q * d;
    q += (rest != 0) & ((rest ^ d) < 0);
    return (y == -1 ? -x : q) & (y != 0);
}
HL_SHORT hl_i32w hl_op_mod_i32w(hl_i32w x, hl_i32w y)
{
    hl_i32w d = ((y == 0) | (y == -1)) ? (hl_i32w)1 : y, rest = x - hl_wide_quotient(x, d) * d;
    return rest + (d & (rest != 0) & ((rest ^ d) < 0));
}

#if defined(__AVX2__)  /* counts beyond the type give 0, as wanted; in C they would be undefined */
#define hl_op_lshift_i32w(x, n) ((hl_i32w)__builtin_ia32_psllv8si(x, n))
#define hl_op_lshift_i64w(x, n) ((hl_i64w)__builtin_ia32_psllv4di(x, n))
#define hl_op_rshift_i32w(x, n) ((hl_i32w)__builtin_ia32_psrav8si(x, n) & ((n) >= 0))
/* ~(~x >> n) fills with ones from the left, for negative x */
HL_SHORT hl_i64w hl_op_rshift_i64w(hl_i64w x, hl_i64w n)
{
    hl_i64w sign = x < 0;
    return ((hl_i64w)__builtin_ia32_psrlv4di(x ^ sign, n) ^ sign) & (n >= 0);
}
#else
HL_EACH(hl_op_lshift, i32, 4)
HL_EACH(hl_op_lshift, i64, 8)
HL_EACH(hl_op_rshift, i32, 4)
HL_EACH(hl_op_rshift, i64, 8)
#endif

/* Conversions: hl_op_RESULT_OPERAND. Where lanes change size, of one half, or of two operands. */
#define HL_MASK_TO(s, m)                                                                           \
    HL_SHORT hl_##s##w hl_op_##s##w_##m##w(hl_##m##w x)                                            \
    {                                                                                              \
        return (hl_##s##w)(x & (hl_##m##w)(hl_##s##w)1);                                           \
    }
HL_MASK_TO(f32, b32)
HL_MASK_TO(f64, b64)
HL_MASK_TO(i32, b32)
HL_MASK_TO(i64, b64)

/* As in scalar.h: what the conversion sees is always in range. */
HL_SHORT hl_i32w hl_op_i32w_f32w(hl_f32w x)
{
    hl_f32w low = (hl_f32w)INT32_MIN, inside = x < low ? low : x;
    hl_i32w over = x >= -low;
    inside = (hl_f32w)((hl_i32w)inside & ~over & (x == x));
    return HL_CONVERT(inside, hl_i32w) | (over & INT32_MAX);
}
HL_SHORT hl_f32w hl_op_f32w_i32w(hl_i32w x) { return HL_CONVERT(x, hl_f32w); }

/* Both halves of x in a magic number's fraction, so that one sum rounds once. */
HL_SHORT hl_f64w hl_op_f64w_i64w(hl_i64w x)
{
    hl_u64w low = ((hl_u64w)x & 0xffffffff) | 0x4330000000000000; /* 2^52 + low */
    hl_u64w high = ((hl_u64w)x >> 32) ^ 0x4530000080000000;       /* 2^84 + (high + 2^31) 2^32 */
    return ((hl_f64w)high - (hl_f64w)(0x1p84 + 0x1p63 + 0x1p52)) + (hl_f64w)low;
}
HL_SHORT hl_i64w hl_op_i64w_f64w(hl_f64w x)
{
    hl_i64w r;
    for (int i = 0; i < HL_WIDE / 8; i++)
        r[i] = hl_op_i64_f64(x[i]);
    return r;
}

#define HL_WIDEN(to, from)                                                                         \
    HL_SHORT hl_##to hl_op_##to##_##from##_low(hl_##from x) { return HL_CONVERT(x.lo, hl_##to); }  \
    HL_SHORT hl_##to hl_op_##to##_##from##_high(hl_##from x) { return HL_CONVERT(x.hi, hl_##to); }
HL_WIDEN(f64w, f32w)
HL_WIDEN(f64w, i32w)
HL_WIDEN(i64w, i32w)
#define hl_op_b64w_b32w_low hl_op_i64w_i32w_low
#define hl_op_b64w_b32w_high hl_op_i64w_i32w_high
#define HL_I64_OF_F32(half, first)                                                                 \
    HL_SHORT hl_i64w hl_op_i64w_f32w_##half(hl_f32w x)                                             \
    {                                                                                              \
        hl_i64w r;                                                                                 \
        for (int i = 0; i < HL_WIDE / 8; i++)                                                      \
            r[i] = hl_op_i64_f32(x[i + first]);                                                    \
        return r;                                                                                  \
    }
HL_I64_OF_F32(low, 0)
HL_I64_OF_F32(high, HL_WIDE / 8)

#define HL_NARROW(to, from, half)                                                                  \
    HL_SHORT hl_##to hl_op_##to##_##from(hl_##from x, hl_##from y)                                 \
    {                                                                                              \
        hl_##to r;                                                                                 \
        r.lo = HL_CONVERT(x, half);                                                                \
        r.hi = HL_CONVERT(y, half);                                                                \
        return r;                                                                                  \
    }
HL_NARROW(f32w, f64w, hl_f32_half)
HL_NARROW(f32w, i64w, hl_f32_half)
HL_NARROW(i32w, i64w, hl_i32_half)
#define hl_op_b32w_b64w hl_op_i32w_i64w
HL_SHORT hl_i32w hl_op_i32w_f64w(hl_f64w x, hl_f64w y)
{
    hl_f64w low = (hl_f64w)INT32_MIN, high = (hl_f64w)INT32_MAX;
    x = (hl_f64w)((hl_i64w)(x < low ? low : x > high ? high : x) & (x == x));
    y = (hl_f64w)((hl_i64w)(y < low ? low : y > high ? high : y) & (y == y));
    hl_i32w r;
    r.lo = HL_CONVERT(x, hl_i32_half);
    r.hi = HL_CONVERT(y, hl_i32_half);
    return r;
}

/* The index and those after it. */
HL_SHORT hl_i32w hl_op_iota_i32w(int64_t first)
{
    hl_i32w steps;
    for (int i = 0; i < HL_WIDE / 4; i++)
        steps[i] = i;
    return (hl_i32w)(int32_t)first + steps;
}
HL_SHORT hl_i64w hl_op_iota_i64w(int64_t first)
{
    hl_i64w steps;
    for (int i = 0; i < HL_WIDE / 8; i++)
        steps[i] = i;
    return (hl_i64w)first + steps;
}

/* The upper half of the lanes into the lower, until one is left. */
#define HL_FOLD(s, size, name, combine)                                                            \
    HL_SHORT __typeof__((hl_##s##w){}[0]) hl_op_fold_##name##_##s##w(hl_##s##w x)                  \
    {                                                                                              \
        for (int half = HL_WIDE / size / 2; half > 0; half /= 2) {                                 \
            hl_##s##w y = x;                                                                       \
            for (int i = 0; i < half; i++)                                                         \
                y[i] = x[i + half];                                                                \
            x = combine;                                                                           \
        }                                                                                          \
        return x[0];                                                                               \
    }
#define HL_FOLDS(s, size)                                                                          \
    HL_FOLD(s, size, add, x + y)                                                                   \
    HL_FOLD(s, size, mul, x * y)                                                                   \
    HL_FOLD(s, size, minimum, hl_op_minimum_##s##w(x, y))                                          \
    HL_FOLD(s, size, maximum, hl_op_maximum_##s##w(x, y))
HL_FOLDS(f32, 4)
HL_FOLDS(f64, 8)
HL_FOLDS(i32, 4)
HL_FOLDS(i64, 8)
HL_FOLD(i32, 4, or, x | y)
HL_FOLD(i32, 4, and, x & y)
HL_FOLD(i64, 8, or, x | y)
HL_FOLD(i64, 8, and, x & y)
#define hl_op_fold_or_b32w(x) (__builtin_reduce_or(x) != 0)
#define hl_op_fold_or_b64w(x) (__builtin_reduce_or(x) != 0)
#define hl_op_fold_and_b32w(x) (__builtin_reduce_or(~(x)) == 0)
#define hl_op_fold_and_b64w(x) (__builtin_reduce_or(~(x)) == 0)

#endif
