/* Lane types, bit casts, selects, pairs and polynomials: the words the elementary functions are
 * written in. With HL_LANES == 1 a lane type is a plain number; with HL_LANES == 4, 8, ... it is a
 * Clang vector of that many, and the same source gives the same bits in every lane.
 *
 * Rules that keep the bits equal everywhere: no fused multiply-add (-ffp-contract=off) but where
 * the product is exact, no reassociation, no libm, and no operation whose result the hardware may
 * choose. Payloads and signs of NaN are not promised, as IEEE 754 leaves them open.
 */
#ifndef HL_LANES_H
#define HL_LANES_H

#include <stdint.h>

#ifndef HL_LANES
#define HL_LANES 1
#endif

/* A target that needs a qualifier (`__device__`) defines these before the first include. */
#ifndef HL_INLINE
#define HL_INLINE static inline __attribute__((always_inline))
#endif
/* A public function; `static inline` leaves the choice to the compiler. */
#ifndef HL_FUNCTION
#define HL_FUNCTION static inline
#endif
/* A rare path, always on plain numbers: kept out of line so that the main path stays small. */
#ifndef HL_SLOW
#define HL_SLOW static __attribute__((noinline, cold, unused))
#endif

/* Where a target has an instruction for it, rounding to integers uses HL_FLOOR_F32 and so on: the
 * result is exact, so the bits are the same. Elsewhere the builtins would call a library. */

#define HL_RARELY(condition) __builtin_expect((condition) != 0, 0)

#if HL_LANES == 1
typedef float hl_f32;
typedef double hl_f64;
typedef int32_t hl_i32;
typedef int64_t hl_i64;
typedef uint32_t hl_u32;
typedef uint64_t hl_u64;
typedef int hl_mask_f32;
typedef int hl_mask_f64;
#define HL_LANE(value, i) (value)
#if defined(__SSE4_1__) || defined(__aarch64__)
#define HL_ROUND_F32(x) __builtin_roundevenf(x)
#define HL_ROUND_F64(x) __builtin_roundeven(x)
#define HL_FLOOR_F32(x) __builtin_floorf(x)
#define HL_FLOOR_F64(x) __builtin_floor(x)
#define HL_CEIL_F32(x) __builtin_ceilf(x)
#define HL_CEIL_F64(x) __builtin_ceil(x)
#define HL_TRUNC_F32(x) __builtin_truncf(x)
#define HL_TRUNC_F64(x) __builtin_trunc(x)
#endif
#define HL_PICK(S, U, mask, yes, no) ((mask) ? (yes) : (no))
#define HL_PICK_INT(I, mask, yes, no) ((mask) ? (yes) : (no))
#define HL_SQRT_F32(x) __builtin_sqrtf(x)
#define HL_SQRT_F64(x) __builtin_sqrt(x)
#define HL_FUSED_F32(a, b, c) __builtin_fmaf(a, b, c)
#define HL_FUSED_F64(a, b, c) __builtin_fma(a, b, c)
#else
typedef float hl_f32 __attribute__((ext_vector_type(HL_LANES)));
typedef double hl_f64 __attribute__((ext_vector_type(HL_LANES)));
typedef int32_t hl_i32 __attribute__((ext_vector_type(HL_LANES)));
typedef int64_t hl_i64 __attribute__((ext_vector_type(HL_LANES)));
typedef uint32_t hl_u32 __attribute__((ext_vector_type(HL_LANES)));
typedef uint64_t hl_u64 __attribute__((ext_vector_type(HL_LANES)));
typedef hl_i32 hl_mask_f32;
typedef hl_i64 hl_mask_f64;
#define HL_LANE(value, i) ((value)[i])
#if defined(__SSE4_1__) || defined(__aarch64__)
#define HL_ROUND_F32(x) __builtin_elementwise_roundeven(x)
#define HL_ROUND_F64(x) __builtin_elementwise_roundeven(x)
#define HL_FLOOR_F32(x) __builtin_elementwise_floor(x)
#define HL_FLOOR_F64(x) __builtin_elementwise_floor(x)
#define HL_CEIL_F32(x) __builtin_elementwise_ceil(x)
#define HL_CEIL_F64(x) __builtin_elementwise_ceil(x)
#define HL_TRUNC_F32(x) __builtin_elementwise_trunc(x)
#define HL_TRUNC_F64(x) __builtin_elementwise_trunc(x)
#endif
/* a mask lane is all ones or all zeros; compilers make a blend of this */
#define HL_PICK(S, U, mask, yes, no)                                                               \
    hl_from_bits_##S(((U)(mask) & hl_bits_##S(yes)) | (~(U)(mask) & hl_bits_##S(no)))
#define HL_PICK_INT(I, mask, yes, no) (((mask) & (yes)) | (~(mask) & (no)))
#define HL_SQRT_F32(x) __builtin_elementwise_sqrt(x)
#define HL_SQRT_F64(x) __builtin_elementwise_sqrt(x)
#define HL_FUSED_F32(a, b, c) __builtin_elementwise_fma((hl_f32)(a), (hl_f32)(b), (hl_f32)(c))
#define HL_FUSED_F64(a, b, c) __builtin_elementwise_fma((hl_f64)(a), (hl_f64)(b), (hl_f64)(c))
#endif

/* Where a product is exact, one rounding is all there is: a b + c by one instruction where a target
 * has it, by two elsewhere, for the same bits. Likewise the error of a product p, and the remainder
 * of a quotient or root: a b - p. */
#if defined(__FMA__) || defined(__aarch64__)
#define HL_EXACT_F32(a, b, c) HL_FUSED_F32(a, b, c)
#define HL_EXACT_F64(a, b, c) HL_FUSED_F64(a, b, c)
#define HL_ERROR_F32(a, b, p) HL_FUSED_F32(a, b, -(p))
#define HL_ERROR_F64(a, b, p) HL_FUSED_F64(a, b, -(p))
#else
#define HL_EXACT_F32(a, b, c) ((a) * (b) + (c))
#define HL_EXACT_F64(a, b, c) ((a) * (b) + (c))
#define HL_ERROR_F32(a, b, p) hl_product_less_f32(a, b, p)
#define HL_ERROR_F64(a, b, p) hl_product_less_f64(a, b, p)
#endif

#define HL_WIDTH_F32 32
#define HL_WIDTH_F64 64
#define HL_DIGITS_F32 23
#define HL_DIGITS_F64 52
#define HL_BIAS_F32 127
#define HL_BIAS_F64 1023
#define HL_SIGN_F32 0x80000000u
#define HL_SIGN_F64 0x8000000000000000ull
#define HL_FRACTION_F32 0x007fffffu
#define HL_FRACTION_F64 0x000fffffffffffffull
#define HL_NORMAL_F32 0x1p-126f
#define HL_NORMAL_F64 0x1p-1022
#define HL_INF_F32 __builtin_inff()
#define HL_INF_F64 __builtin_inf()
#define HL_NAN_F32 __builtin_nanf("")
#define HL_NAN_F64 __builtin_nan("")

/* Adding 1.5 * 2^23 rounds to an integer, half to even: the low bits of the sum hold it. */
#define HL_MAGIC_F32 0x1.8p23f
#define HL_MAGIC_F64 0x1.8p52
#define HL_MAGIC_BITS_F32 0x4b400000u
#define HL_MAGIC_BITS_F64 0x4338000000000000ull

/* Low half of a significand, for exact products (Dekker 1971, with a mask in place of his factor:
 * it cannot overflow). Half of it is added first, so that the low part takes one bit less. */
#define HL_HALF_F32 0x00000fffu
#define HL_HALF_F64 0x0000000007ffffffull
#define HL_HALF_UP_F32 0x00000800u
#define HL_HALF_UP_F64 0x0000000004000000ull

/* Whether a mask holds in any lane. */
HL_INLINE int hl_any_f32(hl_mask_f32 mask)
{
#if HL_LANES == 1
    return mask;
#else
    return __builtin_reduce_or(mask) != 0;
#endif
}

HL_INLINE int hl_any_f64(hl_mask_f64 mask)
{
#if HL_LANES == 1
    return mask;
#else
    return __builtin_reduce_or(mask) != 0;
#endif
}

/* What both types share, as one macro per type: (suffix, number, signed, unsigned). */
#define HL_DEFINE_LANES(S, C, R, I, U)                                                             \
    typedef struct {                                                                               \
        hl_##S hi, lo; /* a sum that is never added up: hi rounds it, lo is the rest */            \
    } hl_pair_##S;                                                                                 \
                                                                                                   \
    HL_INLINE U hl_bits_##S(hl_##S x)                                                              \
    {                                                                                              \
        U bits;                                                                                    \
        __builtin_memcpy(&bits, &x, sizeof bits);                                                  \
        return bits;                                                                               \
    }                                                                                              \
    HL_INLINE hl_##S hl_from_bits_##S(U bits)                                                      \
    {                                                                                              \
        hl_##S x;                                                                                  \
        __builtin_memcpy(&x, &bits, sizeof x);                                                     \
        return x;                                                                                  \
    }                                                                                              \
    HL_INLINE hl_##S hl_select_##S(hl_mask_##S mask, hl_##S yes, hl_##S no)                        \
    {                                                                                              \
        return HL_PICK(S, U, mask, yes, no);                                                       \
    }                                                                                              \
    HL_INLINE I hl_select_int_##S(hl_mask_##S mask, I yes, I no)                                   \
    {                                                                                              \
        return HL_PICK_INT(I, mask, yes, no);                                                      \
    }                                                                                              \
    HL_INLINE hl_##S hl_abs_##S(hl_##S x)                                                          \
    {                                                                                              \
        return hl_from_bits_##S(hl_bits_##S(x) & ~HL_SIGN_##C);                                    \
    }                                                                                              \
    HL_INLINE U hl_sign_##S(hl_##S x)                                                              \
    {                                                                                              \
        return hl_bits_##S(x) & HL_SIGN_##C;                                                       \
    }                                                                                              \
    /* Flip the sign of x where the sign bit of `sign` is set. */                                  \
    HL_INLINE hl_##S hl_flip_##S(hl_##S x, U sign)                                                 \
    {                                                                                              \
        return hl_from_bits_##S(hl_bits_##S(x) ^ sign);                                            \
    }                                                                                              \
    HL_INLINE hl_##S hl_with_sign_##S(hl_##S x, U sign)                                            \
    {                                                                                              \
        return hl_from_bits_##S(hl_bits_##S(x) | sign);                                            \
    }                                                                                              \
    /* 2^k for -bias < k <= bias; any other k gives some number, for a later select to drop. */    \
    HL_INLINE hl_##S hl_power2_##S(I k)                                                            \
    {                                                                                              \
        return hl_from_bits_##S(((U)k + HL_BIAS_##C) << HL_DIGITS_##C);                            \
    }                                                                                              \
    /* x * 2^k rounded at most once, for |k| <= 2 * bias: gradual underflow comes out right. */    \
    HL_INLINE hl_##S hl_scale_##S(hl_##S x, I k)                                                   \
    {                                                                                              \
        I half = k >> 1;                                                                           \
        return x * hl_power2_##S(half) * hl_power2_##S((I)((U)k - (U)half));                       \
    }                                                                                              \
    HL_INLINE hl_##S hl_from_int_##S(I k)                                                          \
    {                                                                                              \
        return hl_from_bits_##S((U)k + HL_MAGIC_BITS_##C) - HL_MAGIC_##C;                          \
    }                                                                                              \
    HL_INLINE hl_##S hl_upper_half_##S(hl_##S x)                                                   \
    {                                                                                              \
        return hl_from_bits_##S((hl_bits_##S(x) + HL_HALF_UP_##C) & ~HL_HALF_##C);                 \
    }                                                                                              \
    /* Knuth, TAOCP 2, 4.2.2: the sum and its exact error. */                                      \
    HL_INLINE hl_pair_##S hl_two_sum_##S(hl_##S a, hl_##S b)                                       \
    {                                                                                              \
        hl_##S sum = a + b, part = sum - a;                                                        \
        hl_pair_##S y = {sum, (a - (sum - part)) + (b - part)};                                    \
        return y;                                                                                  \
    }                                                                                              \
    /* Dekker 1971: the same where |a| >= |b| or a == 0. */                                        \
    HL_INLINE hl_pair_##S hl_fast_sum_##S(hl_##S a, hl_##S b)                                      \
    {                                                                                              \
        hl_##S sum = a + b;                                                                        \
        hl_pair_##S y = {sum, b - (sum - a)};                                                      \
        return y;                                                                                  \
    }                                                                                              \
    /* a b - p, exact if p is near and nothing leaves the range. Source: Dekker 1971. */           \
    HL_INLINE hl_##S hl_product_less_##S(hl_##S a, hl_##S b, hl_##S p)                             \
    {                                                                                              \
        hl_##S ah = hl_upper_half_##S(a), bh = hl_upper_half_##S(b), al = a - ah, bl = b - bh;     \
        return (((ah * bh - p) + ah * bl) + al * bh) + al * bl;                                    \
    }                                                                                              \
    /* The product and its error. */                                                               \
    HL_INLINE hl_pair_##S hl_two_mul_##S(hl_##S a, hl_##S b)                                       \
    {                                                                                              \
        hl_##S p = a * b;                                                                          \
        hl_pair_##S y = {p, HL_ERROR_##C(a, b, p)};                                                \
        return y;                                                                                  \
    }                                                                                              \
    HL_INLINE hl_pair_##S hl_pair_add_##S(hl_pair_##S a, hl_pair_##S b)                            \
    {                                                                                              \
        hl_pair_##S y = hl_two_sum_##S(a.hi, b.hi);                                                \
        return hl_fast_sum_##S(y.hi, y.lo + (a.lo + b.lo));                                        \
    }                                                                                              \
    /* Not normalised: lo may reach a few units in the last place of hi. */                        \
    HL_INLINE hl_pair_##S hl_pair_mul_##S(hl_pair_##S a, hl_pair_##S b)                            \
    {                                                                                              \
        hl_pair_##S y = hl_two_mul_##S(a.hi, b.hi);                                                \
        y.lo = y.lo + (a.hi * b.lo + a.lo * b.hi);                                                 \
        return y;                                                                                  \
    }                                                                                              \
    /* One division, then the exact remainder: hi + lo is the quotient to about twice the digits,  \
     * not normalised. */                                                                          \
    HL_INLINE hl_pair_##S hl_pair_div_##S(hl_pair_##S a, hl_pair_##S b)                            \
    {                                                                                              \
        hl_##S inverse = (R)1 / b.hi, quotient = a.hi * inverse;                                   \
        hl_##S rest = (a.lo - quotient * b.lo) - HL_ERROR_##C(quotient, b.hi, a.hi);               \
        hl_pair_##S y = {quotient, rest * inverse};                                                \
        return y;                                                                                  \
    }                                                                                              \
    HL_INLINE hl_pair_##S hl_pair_sqrt_##S(hl_pair_##S a)                                          \
    {                                                                                              \
        hl_##S root = HL_SQRT_##C(a.hi), twice = root + root;                                      \
        hl_##S rest = a.lo - HL_ERROR_##C(root, root, a.hi);                                       \
        /* a root of 0 has no rest; no other is that small */                                      \
        hl_pair_##S y = {root, rest / hl_select_##S(twice > HL_NORMAL_##C, twice, HL_NORMAL_##C)}; \
        return y;                                                                                  \
    }                                                                                              \
    /* Polynomials, lowest coefficient first, in Estrin's order (1960): short dependency chains. */\
    HL_INLINE hl_##S hl_poly3_##S(hl_##S x, R a, R b, R c)                                         \
    {                                                                                              \
        return (a + b * x) + c * (x * x);                                                          \
    }                                                                                              \
    HL_INLINE hl_##S hl_poly4_##S(hl_##S x, R a, R b, R c, R d)                                    \
    {                                                                                              \
        return (a + b * x) + (c + d * x) * (x * x);                                                \
    }                                                                                              \
    /* start + s * polynomial(x): the factor goes into both halves of the polynomial and the start \
     * to the half that is done first, which takes two steps less than a product at the end. */    \
    HL_INLINE hl_##S hl_add_poly3_##S(hl_##S start, hl_##S s, hl_##S x, R a, R b, R c)             \
    {                                                                                              \
        return (start + s * (a + b * x)) + (s * (x * x)) * c;                                      \
    }                                                                                              \
    HL_INLINE hl_##S hl_add_poly4_##S(hl_##S start, hl_##S s, hl_##S x, R a, R b, R c, R d)        \
    {                                                                                              \
        return (start + s * (a + b * x)) + (s * (x * x)) * (c + d * x);                            \
    }                                                                                              \
    HL_INLINE hl_##S hl_add_poly5_##S(hl_##S start, hl_##S s, hl_##S x, R a, R b, R c, R d, R e)   \
    {                                                                                              \
        hl_##S x2 = x * x;                                                                         \
        return (start + s * (a + b * x)) + (s * x2) * ((c + d * x) + e * x2);                      \
    }                                                                                              \
    HL_INLINE hl_##S hl_add_poly6_##S(                                                             \
        hl_##S start, hl_##S s, hl_##S x, R a, R b, R c, R d, R e, R f)                            \
    {                                                                                              \
        hl_##S x2 = x * x;                                                                         \
        return (start + s * (a + b * x)) + (s * x2) * hl_poly4_##S(x, c, d, e, f);                 \
    }                                                                                              \
    HL_INLINE hl_##S hl_add_poly7_##S(                                                             \
        hl_##S start, hl_##S s, hl_##S x, R a, R b, R c, R d, R e, R f, R g)                       \
    {                                                                                              \
        hl_##S x2 = x * x;                                                                         \
        return (start + s * hl_poly4_##S(x, a, b, c, d))                                           \
            + (s * (x2 * x2)) * hl_poly3_##S(x, e, f, g);                                          \
    }                                                                                              \
    HL_INLINE hl_##S hl_add_poly10_##S(                                                            \
        hl_##S start, hl_##S s, hl_##S x, R a, R b, R c, R d, R e, R f, R g, R h, R i, R j)        \
    {                                                                                              \
        hl_##S x2 = x * x, x4 = x2 * x2;                                                           \
        return (start + s * hl_poly4_##S(x, a, b, c, d))                                           \
            + (s * x4) * (hl_poly4_##S(x, e, f, g, h) + x4 * (i + j * x));                         \
    }                                                                                              \
    HL_INLINE hl_##S hl_add_poly11_##S(                                                            \
        hl_##S start, hl_##S s, hl_##S x, R a, R b, R c, R d, R e, R f, R g, R h, R i, R j, R k)   \
    {                                                                                              \
        hl_##S x2 = x * x, x4 = x2 * x2;                                                           \
        return (start + s * hl_poly4_##S(x, a, b, c, d))                                           \
            + (s * x4) * (hl_poly4_##S(x, e, f, g, h) + x4 * hl_poly3_##S(x, i, j, k));            \
    }                                                                                              \
    HL_INLINE hl_##S hl_add_poly12_##S(                                                            \
        hl_##S start, hl_##S s, hl_##S x, R a, R b, R c, R d, R e, R f, R g, R h, R i, R j, R k,   \
        R l)                                                                                       \
    {                                                                                              \
        hl_##S x2 = x * x, x4 = x2 * x2;                                                           \
        return (start + s * hl_poly4_##S(x, a, b, c, d))                                           \
            + (s * x4) * (hl_poly4_##S(x, e, f, g, h) + x4 * hl_poly4_##S(x, i, j, k, l));         \
    }                                                                                              \
    HL_INLINE hl_##S hl_poly6_##S(hl_##S x, R a, R b, R c, R d, R e, R f)                          \
    {                                                                                              \
        hl_##S x2 = x * x;                                                                         \
        return (a + b * x) + x2 * ((c + d * x) + x2 * (e + f * x));                                \
    }                                                                                              \
    HL_INLINE hl_##S hl_poly8_##S(hl_##S x, R a, R b, R c, R d, R e, R f, R g, R h)                \
    {                                                                                              \
        hl_##S x2 = x * x;                                                                         \
        return hl_poly4_##S(x, a, b, c, d) + x2 * x2 * hl_poly4_##S(x, e, f, g, h);                \
    }

HL_DEFINE_LANES(f32, F32, float, hl_i32, hl_u32)
HL_DEFINE_LANES(f64, F64, double, hl_i64, hl_u64)

#endif
