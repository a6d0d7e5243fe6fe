/* Elementary functions for fast=True: short polynomials and fused multiply-adds, errors of a few
 * units in the last place (FAST_BOUNDS in ops/accuracy.py).
 *
 * Only for targets with fused multiply-add. What the short way cannot give, infinities, NaN,
 * results below the normal range, the strict function gives, out of line: no lane depends on what
 * is beside it.
 */
#ifndef HL_FAST_H
#define HL_FAST_H

#include "exponential.h"
#include "hyperbolic.h"
#include "lanes.h"
#include "trigonometric.h"

/* coefficients: written by stencilgen/coefficients.py, do not edit */
#define HL_FAST_PI_0_F32 0x1.921fb4p1f
#define HL_FAST_PI_1_F32 0x1.4442dp-23f
#define HL_FAST_PI_2_F32 0x1.84698ap-47f
#define HL_FAST_PI_0_F64 0x1.921fb54442d18p1
#define HL_FAST_PI_1_F64 0x1.1a62633145c06p-53
#define HL_FAST_PI_2_F64 0x1.c1cd129024e09p-106
#define HL_FAST_PER_PI_F32 0x1.45f306p-2f
#define HL_FAST_PER_PI_F64 0x1.45f306dc9c883p-2
#define HL_FAST_HALF_LN2_F32 0x1.62e43p-2f
#define HL_FAST_HALF_LN2_F64 0x1.62e42fefa39efp-2
#define HL_FAST_TWICE_LOG2_E_F32 0x1.715476p1f
#define HL_FAST_TWICE_LOG2_E_F64 0x1.71547652b82fep1
/* (sin(x)/x - 1) / z, z = x*x, |x| <= pi/2: error 2^-27.19 */
#define HL_FAST_SIN_F32 -0x1.55554cp-3f, 0x1.110ed6p-7f, -0x1.9f6fbap-13f, 0x1.5db2dep-19f
/* (sin(x)/x - 1) / z, z = x*x, |x| <= pi/2: error 2^-61.46 */
#define HL_FAST_SIN_F64 -0x1.5555555555555p-3, 0x1.11111111110c7p-7, -0x1.a01a01a014bfcp-13, \
    0x1.71de3a52942dfp-19, -0x1.ae6454cdd69eap-26, 0x1.6123cb30226f9p-33, -0x1.ae43000c7245ap-41, \
    0x1.8823d654845c8p-49
/* (exp(x) - 1) / x, |x| <= log(2)/2: error 2^-23.34 */
#define HL_FAST_EXP_F32 0x1.fffff6p-1f, 0x1.fffdcp-2f, 0x1.555a76p-3f, 0x1.573c42p-5f, \
    0x1.0fa6bep-7f
/* (exp(x) - 1) / x, |x| <= log(2)/2: error 2^-51.74 */
#define HL_FAST_EXP_F64 0x1.000000000001ap0, 0x1.ffffffffffe8dp-2, 0x1.555555554c378p-3, \
    0x1.555555558c40fp-5, 0x1.1111112ca9d46p-7, 0x1.6c16c0cbed39fp-10, 0x1.a0197b980797cp-13, \
    0x1.a01b5c83b880dp-16, 0x1.72f8a3b65752ep-19, 0x1.2730aafb027f8p-22
/* (2^x - 1) / x, |x| <= 1/2: error 2^-23.11 */
#define HL_FAST_EXP2_F32 0x1.62e42ap-1f, 0x1.ebf9b8p-3f, 0x1.c6b76p-5f, 0x1.3cec5p-7f, \
    0x1.5bb838p-10f
/* (2^x - 1) / x, |x| <= 1/2: error 2^-51.83 */
#define HL_FAST_EXP2_F64 0x1.62e42fefa3a13p-1, 0x1.ebfbdff82c42ap-3, 0x1.c6b08d703de72p-5, \
    0x1.3b2ab6fbd79d4p-7, 0x1.5d87fe9bf97f9p-10, 0x1.4309126a5222fp-13, 0x1.ffcb577d5d87cp-17, \
    0x1.62c149f88d2b2p-20, 0x1.b673052e1968fp-24, 0x1.e3a7e1748793ap-28
/* ((exp(2*x) - 1) / x - 2) / x, |x| <= log(2)/4: error 2^-25.79 */
#define HL_FAST_EXPM1_F32 0x1.fffffep0f, 0x1.5554aep0f, 0x1.555676p-1f, 0x1.122886p-2f, \
    0x1.6bebe4p-4f
/* ((exp(2*x) - 1) / x - 2) / x, |x| <= log(2)/4: error 2^-54.95 */
#define HL_FAST_EXPM1_F64 0x1.0000000000005p1, 0x1.5555555555539p0, 0x1.55555555521f2p-1, \
    0x1.111111111918bp-2, 0x1.6c16c17f1272ap-4, 0x1.a01a01749c35fp-6, 0x1.a019a6bff732fp-8, \
    0x1.71de8891fd48p-10, 0x1.28a2975f18f6bp-12, 0x1.ae6bc24b6376cp-15
/* (log(1+x)/x - 1) / x, sqrt(1/2) <= 1+x <= sqrt(2): error 2^-24.77 */
#define HL_FAST_LOG_F32 -0x1.fffffap-2f, 0x1.5556f4p-2f, -0x1.00049ap-2f, 0x1.98d2bcp-3f, \
    -0x1.535d1ep-3f, 0x1.31853p-3f, -0x1.2504fap-3f, 0x1.65c7fcp-4f
/* (2*atanh(s)/s - 2) / z, z = s*s, s = x / (2+x): error 2^-59.48 */
#define HL_FAST_LOG_F64 0x1.5555555555593p-1, 0x1.999999997f9d1p-2, 0x1.249249422e733p-2, \
    0x1.c71c51d2e1015p-3, 0x1.74664afe492ecp-3, 0x1.39a06c95b75d9p-3, 0x1.2f13613295fc1p-3
/* log2(1+x) / x, sqrt(1/2) <= 1+x <= sqrt(2): error 2^-24.43 */
#define HL_FAST_LOG2_F32 0x1.715476p0f, -0x1.71547p-1f, 0x1.ec73d6p-2f, -0x1.715c4ep-2f, \
    0x1.26d384p-2f, -0x1.e95beep-3f, 0x1.b9c92p-3f, -0x1.a87cep-3f, 0x1.01b698p-3f
/* 2*atanh(s)/s/log(2), z = s*s, s = x / (2+x): error 2^-55.98 */
#define HL_FAST_LOG2_F64 0x1.71547652b82fep1, 0x1.ec709dc3a08f7p-1, 0x1.2776c50e4928cp-1, \
    0x1.a61763cf7a22p-2, 0x1.484a9c35fa568p-2, 0x1.0cb40f98abd45p-2, 0x1.c0ccfeb35babp-3, \
    0x1.d8fbe0c522b58p-3
/* (atan(x)/x - 1) / z, z = x*x, |x| <= 1: error 2^-25.71 */
#define HL_FAST_ATAN_F32 -0x1.5554dcp-2f, 0x1.9978e2p-3f, -0x1.230a02p-3f, 0x1.b4d87ep-4f, \
    -0x1.354064p-4f, 0x1.61c0bcp-5f, -0x1.0bd71ap-6f, 0x1.7e157ep-9f
/* (atan(x)/x - 1) / z, z = x*x, |x| <= 1: error 2^-54.32 */
#define HL_FAST_ATAN_F64 -0x1.5555555555448p-2, 0x1.9999999983c5bp-3, -0x1.2492491f925cdp-3, \
    0x1.c71c709ac09cep-4, -0x1.745d01fa26879p-4, 0x1.3b12b0992d5p-4, -0x1.11088ba06ae05p-4, \
    0x1.e17759a141cf5p-5, -0x1.ad2fb90da19ap-5, 0x1.7edabac62adabp-5, -0x1.4f2f6ef781828p-5, \
    0x1.16eeae3278859p-5, -0x1.a6ba39e07fe6p-6, 0x1.15ba3f1079453p-6, -0x1.2c44ad6413e91p-7, \
    0x1.f7d8110166b1bp-9, -0x1.2ff1d8072e04ap-10, 0x1.d16eae5b485b7p-13, -0x1.51e7eccbe6feep-16
/* coefficients: end */

#if defined(__FMA__) || defined(__aarch64__)

/* Largest |x| that the parts of pi reduce: up to there the multiple is off by 2^-9 at most. */
#define HL_FAST_REDUCIBLE_F32 1e5f
#define HL_FAST_REDUCIBLE_F64 1e8
/* Below, exp and exp2 are neither infinite nor subnormal. */
#define HL_FAST_EXP_LIMIT_F32 87.0f
#define HL_FAST_EXP_LIMIT_F64 708.0
#define HL_FAST_EXP2_LIMIT_F32 125.5f
#define HL_FAST_EXP2_LIMIT_F64 1021.5
/* Between, quotients of the larger number are neither infinite nor off. */
#define HL_FAST_ATAN2_LOW_F32 0x1p-100f
#define HL_FAST_ATAN2_HIGH_F32 0x1p100f
#define HL_FAST_ATAN2_LOW_F64 0x1p-960
#define HL_FAST_ATAN2_HIGH_F64 0x1p960

/* Coefficients, lowest first, and their number. */
#define HL_TERMS(R, ...) (const R[]){__VA_ARGS__}, sizeof((const R[]){__VA_ARGS__}) / sizeof(R)
#define HL_FAST_POLY(S, R, x, ...) hl_fast_poly_##S(x, HL_TERMS(R, __VA_ARGS__))
#define HL_FAST_LOG_OF(S, R, f, ...) hl_fast_log_of_##S(f, HL_TERMS(R, __VA_ARGS__))
/* of log(1 + f) over f, and over f / (2 + f) */
#define HL_FAST_LOG_FIRST_F32 1.0f
#define HL_FAST_LOG_FIRST_F64 2.0

#define HL_DEFINE_FAST_POLY(S, C, R)                                                               \
    /* Even and odd terms apart: half as deep as Horner's order, for one product more. The first,  \
     * the largest, comes last, so that nothing is rounded at its size but the sum. */             \
    HL_INLINE hl_##S hl_fast_poly_##S(hl_##S x, const R *terms, int count)                         \
    {                                                                                              \
        hl_##S square = x * x, last = (hl_##S)(terms[count - 1]);                                  \
        hl_##S other = (hl_##S)(terms[count - 2]);                                                 \
        _Pragma("clang loop unroll(full)") for (int i = count - 3; i > 0; i -= 2)                  \
        {                                                                                          \
            last = HL_FUSED_##C(last, square, terms[i]);                                           \
            if (i > 1)                                                                             \
                other = HL_FUSED_##C(other, square, terms[i - 1]);                                 \
        }                                                                                          \
        hl_##S rest = count % 2 ? HL_FUSED_##C(last, x, other) : HL_FUSED_##C(other, x, last);     \
        return HL_FUSED_##C(rest, x, terms[0]);                                                    \
    }
HL_DEFINE_FAST_POLY(f32, F32, float)
HL_DEFINE_FAST_POLY(f64, F64, double)

/* k of x = 2^k (1 + f), as a number; from the bits of x less those of sqrt(1/2) */
HL_INLINE hl_f32 hl_fast_exponent_f32(hl_u32 bits)
{
#if HL_LANES == 1
    return (float)((hl_i32)bits >> HL_DIGITS_F32);
#else
    return __builtin_convertvector((hl_i32)bits >> HL_DIGITS_F32, hl_f32);
#endif
}

HL_INLINE hl_f64 hl_fast_exponent_f64(hl_u64 bits)
{
    hl_u64 biased = (bits + ((hl_u64)(HL_BIAS_F64) << HL_DIGITS_F64)) >> HL_DIGITS_F64;
    return hl_from_bits_f64(biased | HL_MAGIC_BITS_F64) - (HL_MAGIC_F64 + HL_BIAS_F64);
}

/* log(1 + f): over f a polynomial, over f / (2 + f) one of even terms, half as many */
HL_INLINE hl_f32 hl_fast_log_of_f32(hl_f32 f, const float *terms, int count)
{
    return f * hl_fast_poly_f32(f, terms, count);
}

HL_INLINE hl_f64 hl_fast_log_of_f64(hl_f64 f, const double *terms, int count)
{
    hl_f64 s = f / (2.0 + f);
    return s * hl_fast_poly_f64(s * s, terms, count);
}

#define HL_DEFINE_FAST(S, C, R, I, U)                                                              \
    /* y, and the strict function where it does not fit, out of line. */                           \
    HL_SLOW hl_##S hl_mixed_sin_##S(hl_##S y, hl_mask_##S fits, hl_##S x)                          \
    {                                                                                              \
        return hl_select_##S(fits, y, hl_sin_##S(x));                                              \
    }                                                                                              \
    HL_SLOW hl_##S hl_mixed_cos_##S(hl_##S y, hl_mask_##S fits, hl_##S x)                          \
    {                                                                                              \
        return hl_select_##S(fits, y, hl_cos_##S(x));                                              \
    }                                                                                              \
    HL_SLOW hl_##S hl_mixed_exp_##S(hl_##S y, hl_mask_##S fits, hl_##S x)                          \
    {                                                                                              \
        return hl_select_##S(fits, y, hl_exp_##S(x));                                              \
    }                                                                                              \
    HL_SLOW hl_##S hl_mixed_exp2_##S(hl_##S y, hl_mask_##S fits, hl_##S x)                         \
    {                                                                                              \
        return hl_select_##S(fits, y, hl_exp2_##S(x));                                             \
    }                                                                                              \
    HL_SLOW hl_##S hl_mixed_log_##S(hl_##S y, hl_mask_##S fits, hl_##S x)                          \
    {                                                                                              \
        return hl_select_##S(fits, y, hl_log_##S(x));                                              \
    }                                                                                              \
    HL_SLOW hl_##S hl_mixed_log2_##S(hl_##S y, hl_mask_##S fits, hl_##S x)                         \
    {                                                                                              \
        return hl_select_##S(fits, y, hl_log2_##S(x));                                             \
    }                                                                                              \
    HL_SLOW hl_##S hl_mixed_atan2_##S(hl_##S angle, hl_mask_##S fits, hl_##S y, hl_##S x)          \
    {                                                                                              \
        return hl_select_##S(fits, angle, hl_atan2_##S(y, x));                                     \
    }                                                                                              \
                                                                                                   \
    HL_INLINE int hl_fast_fits_##S(hl_mask_##S fits)                                               \
    {                                                                                              \
        return __builtin_expect(!hl_any_##S(fits == 0), 1);                                        \
    }                                                                                              \
    /* x - n pi; the first difference is exact, and so near to the last that only two round. */    \
    HL_INLINE hl_##S hl_fast_reduce_##S(hl_##S x, hl_##S n)                                        \
    {                                                                                              \
        hl_##S r = HL_FUSED_##C(-n, HL_FAST_PI_0_##C, x);                                          \
        r = HL_FUSED_##C(-n, HL_FAST_PI_1_##C, r);                                                 \
        return HL_FUSED_##C(-n, HL_FAST_PI_2_##C, r);                                              \
    }                                                                                              \
    /* sin(r), |r| <= pi/2, with the sign of an odd multiple turned; a product keeps -0 */         \
    HL_INLINE hl_##S hl_fast_sin_reduced_##S(hl_##S r, U multiple)                                 \
    {                                                                                              \
        hl_##S y = r * HL_FAST_POLY(S, R, r * r, (R)1, HL_FAST_SIN_##C);                           \
        return hl_flip_##S(y, multiple << (HL_WIDTH_##C - 1));                                     \
    }                                                                                              \
    HL_FUNCTION hl_##S hl_fast_sin_##S(hl_##S x)                                                   \
    {                                                                                              \
        hl_mask_##S fits = hl_abs_##S(x) <= HL_FAST_REDUCIBLE_##C; /* not NaN */                   \
        hl_##S shifted = HL_FUSED_##C(x, HL_FAST_PER_PI_##C, HL_MAGIC_##C);                        \
        hl_##S r = hl_fast_reduce_##S(x, shifted - HL_MAGIC_##C);                                  \
        hl_##S y = hl_fast_sin_reduced_##S(r, hl_bits_##S(shifted));                               \
        return hl_fast_fits_##S(fits) ? y : hl_mixed_sin_##S(y, fits, x);                          \
    }                                                                                              \
    /* cos(x) = sin((n + 1/2) pi - x), its sign turned for odd n */                                \
    HL_FUNCTION hl_##S hl_fast_cos_##S(hl_##S x)                                                   \
    {                                                                                              \
        hl_mask_##S fits = hl_abs_##S(x) <= HL_FAST_REDUCIBLE_##C; /* not NaN */                   \
        hl_##S shifted = HL_FUSED_##C(x, HL_FAST_PER_PI_##C, (R)-0.5) + HL_MAGIC_##C;              \
        hl_##S r = hl_fast_reduce_##S(-x, (HL_MAGIC_##C - shifted) - (R)0.5);                      \
        hl_##S y = hl_fast_sin_reduced_##S(r, hl_bits_##S(shifted));                               \
        return hl_fast_fits_##S(fits) ? y : hl_mixed_cos_##S(y, fits, x);                          \
    }                                                                                              \
    /* y 2^k, for a y near 1 and a normal result; k is in the low bits of `shifted` */             \
    HL_INLINE hl_##S hl_fast_scale_##S(hl_##S y, hl_##S shifted)                                   \
    {                                                                                              \
        return hl_from_bits_##S(hl_bits_##S(y) + (hl_bits_##S(shifted) << HL_DIGITS_##C));         \
    }                                                                                              \
    HL_FUNCTION hl_##S hl_fast_exp_##S(hl_##S x)                                                   \
    {                                                                                              \
        hl_mask_##S fits = hl_abs_##S(x) <= HL_FAST_EXP_LIMIT_##C; /* not NaN */                   \
        hl_##S shifted = HL_FUSED_##C(x, HL_LOG2_E_0_##C, HL_MAGIC_##C);                           \
        hl_##S n = shifted - HL_MAGIC_##C, r = HL_FUSED_##C(-n, HL_LN2_FULL_0_##C, x);             \
        r = HL_FUSED_##C(-n, HL_LN2_FULL_1_##C, r);                                                \
        hl_##S y = hl_fast_scale_##S(HL_FAST_POLY(S, R, r, (R)1, HL_FAST_EXP_##C), shifted);       \
        return hl_fast_fits_##S(fits) ? y : hl_mixed_exp_##S(y, fits, x);                          \
    }                                                                                              \
    HL_FUNCTION hl_##S hl_fast_exp2_##S(hl_##S x)                                                  \
    {                                                                                              \
        hl_mask_##S fits = hl_abs_##S(x) <= HL_FAST_EXP2_LIMIT_##C; /* not NaN */                  \
        hl_##S shifted = x + HL_MAGIC_##C, r = x - (shifted - HL_MAGIC_##C);                       \
        hl_##S y = hl_fast_scale_##S(HL_FAST_POLY(S, R, r, (R)1, HL_FAST_EXP2_##C), shifted);      \
        return hl_fast_fits_##S(fits) ? y : hl_mixed_exp2_##S(y, fits, x);                         \
    }                                                                                              \
    /* Where x is a positive normal number: one comparison of integers, in which infinities, NaN   \
     * and negative numbers wrap. */                                                               \
    HL_INLINE hl_mask_##S hl_fast_normal_##S(hl_##S x)                                             \
    {                                                                                              \
        I wrapped = (I)(hl_bits_##S(x) + (HL_FRACTION_##C + 1));                                   \
        return wrapped >= (I)(2 * (HL_FRACTION_##C + 1));                                          \
    }                                                                                              \
    /* k, and f, of x = 2^k (1 + f) */                                                             \
    HL_INLINE hl_pair_##S hl_fast_split_##S(hl_##S x)                                              \
    {                                                                                              \
        U bits = hl_bits_##S(x) - HL_ROOT_HALF_BITS_##C;                                           \
        hl_##S near = hl_from_bits_##S(hl_bits_##S(x) - (bits & ~HL_FRACTION_##C));                \
        hl_pair_##S y = {hl_fast_exponent_##S(bits), near - (R)1};                                 \
        return y;                                                                                  \
    }                                                                                              \
    HL_FUNCTION hl_##S hl_fast_log_##S(hl_##S x)                                                   \
    {                                                                                              \
        hl_mask_##S fits = hl_fast_normal_##S(x);                                                  \
        hl_pair_##S p = hl_fast_split_##S(x);                                                      \
        hl_##S near = HL_FAST_LOG_OF(S, R, p.lo, HL_FAST_LOG_FIRST_##C, HL_FAST_LOG_##C);          \
        hl_##S y = HL_FUSED_##C(p.hi, HL_LN2_FULL_0_##C, near);                                    \
        return hl_fast_fits_##S(fits) ? y : hl_mixed_log_##S(y, fits, x);                          \
    }                                                                                              \
    HL_FUNCTION hl_##S hl_fast_log2_##S(hl_##S x)                                                  \
    {                                                                                              \
        hl_mask_##S fits = hl_fast_normal_##S(x);                                                  \
        hl_pair_##S p = hl_fast_split_##S(x);                                                      \
        hl_##S y = p.hi + HL_FAST_LOG_OF(S, R, p.lo, HL_FAST_LOG2_##C);                            \
        return hl_fast_fits_##S(fits) ? y : hl_mixed_log2_##S(y, fits, x);                         \
    }                                                                                              \
    /* With t = exp(2|x|) - 1: tanh = t / (2 + t). t = 2^k p + (2^k - 1) for p = exp(2r) - 1. */   \
    HL_FUNCTION hl_##S hl_fast_tanh_##S(hl_##S x)                                                  \
    {                                                                                              \
        hl_##S a = hl_abs_##S(x);                                                                  \
        a = a > HL_TANH_LARGE_##C ? HL_TANH_LARGE_##C : a;                                         \
        hl_##S shifted = HL_FUSED_##C(a, HL_FAST_TWICE_LOG2_E_##C, HL_MAGIC_##C);                  \
        hl_##S r = HL_FUSED_##C(HL_MAGIC_##C - shifted, HL_FAST_HALF_LN2_##C, a);                  \
        hl_##S p = r * HL_FAST_POLY(S, R, r, (R)2, HL_FAST_EXPM1_##C);                             \
        hl_##S power = hl_fast_scale_##S((hl_##S)((R)1), shifted);                                 \
        hl_##S t = HL_FUSED_##C(power, p, power - (R)1);                                           \
        return hl_flip_##S(t / (t + (R)2), hl_sign_##S(x));                                        \
    }                                                                                              \
    /* atan(t), 0 <= t <= 1 */                                                                     \
    HL_INLINE hl_##S hl_fast_atan_part_##S(hl_##S t)                                               \
    {                                                                                              \
        return t * HL_FAST_POLY(S, R, t * t, (R)1, HL_FAST_ATAN_##C);                              \
    }                                                                                              \
    /* Beyond 1, pi/2 - atan(1/x). */                                                              \
    HL_FUNCTION hl_##S hl_fast_atan_##S(hl_##S x)                                                  \
    {                                                                                              \
        hl_##S a = hl_abs_##S(x);                                                                  \
        hl_mask_##S steep = a > (R)1;                                                              \
        hl_##S one = (hl_##S)((R)1), high = hl_select_##S(steep, a, one);                          \
        hl_##S low = hl_select_##S(steep, one, a);                                                 \
        hl_##S y = hl_fast_atan_part_##S(low / high);                                              \
        y = hl_select_##S(steep, HL_PI_2_0_##C - y, y);                                            \
        return hl_flip_##S(y, hl_sign_##S(x));                                                     \
    }                                                                                              \
    HL_FUNCTION hl_##S hl_fast_atan2_##S(hl_##S y, hl_##S x)                                       \
    {                                                                                              \
        hl_##S a = hl_abs_##S(y), b = hl_abs_##S(x);                                               \
        hl_mask_##S steep = a > b;                                                                 \
        hl_##S high = hl_select_##S(steep, a, b), low = hl_select_##S(steep, b, a);                \
        hl_mask_##S fits = (high > HL_FAST_ATAN2_LOW_##C) & (high < HL_FAST_ATAN2_HIGH_##C);       \
        hl_##S part = hl_fast_atan_part_##S(low / high);                                           \
        U left = hl_sign_##S(x), turned = left ^ ((U)steep & HL_SIGN_##C);                         \
        hl_##S base = hl_select_##S(left != 0, (hl_##S)(2 * HL_PI_2_0_##C), (hl_##S)((R)0));       \
        base = hl_select_##S(steep, (hl_##S)(HL_PI_2_0_##C), base);                                \
        hl_##S angle = hl_flip_##S(base + hl_flip_##S(part, turned), hl_sign_##S(y));              \
        return hl_fast_fits_##S(fits) ? angle : hl_mixed_atan2_##S(angle, fits, y, x);             \
    }

HL_DEFINE_FAST(f32, F32, float, hl_i32, hl_u32)
HL_DEFINE_FAST(f64, F64, double, hl_i64, hl_u64)

#endif
#endif
