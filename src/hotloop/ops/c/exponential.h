/* exp and log with their relatives.
 *
 * exp: x = k log(2) + r with log(2) in two parts (Cody and Waite 1980), |r| <= log(2)/2; then 2^k
 * is applied in two steps, so that gradual underflow comes out right. log: the argument is
 * 2^k (1 + f) with 1 + f between sqrt(1/2) and sqrt(2), and f - f^2/2 is kept exactly.
 * What the main path cannot give, overflow, zero, NaN, is put right by selects, on a path of its
 * own.
 */
#ifndef HL_EXPONENTIAL_H
#define HL_EXPONENTIAL_H

#include "lanes.h"

/* coefficients: written by stencilgen/coefficients.py, do not edit */
#define HL_LN2_0_F32 0x1.62e4p-1f
#define HL_LN2_1_F32 0x1.7f7d1cp-20f
#define HL_LN2_0_F64 0x1.62e42fefa38p-1
#define HL_LN2_1_F64 0x1.ef35793c7673p-45
#define HL_LN2_FULL_0_F32 0x1.62e43p-1f
#define HL_LN2_FULL_1_F32 -0x1.05c61p-29f
#define HL_LN2_FULL_0_F64 0x1.62e42fefa39efp-1
#define HL_LN2_FULL_1_F64 0x1.abc9e3b39803fp-56
#define HL_LOG2_E_0_F32 0x1.715476p0f
#define HL_LOG2_E_1_F32 0x1.4ae0cp-26f
#define HL_LOG2_E_0_F64 0x1.71547652b82fep0
#define HL_LOG2_E_1_F64 0x1.777d0ffda0d24p-56
#define HL_LOG10_E_0_F32 0x1.bcb7b2p-2f
#define HL_LOG10_E_1_F32 -0x1.5b235ep-27f
#define HL_LOG10_E_0_F64 0x1.bcb7b1526e50ep-2
#define HL_LOG10_E_1_F64 0x1.95355baaafad3p-57
#define HL_LOG10_2_0_F32 0x1.3442p-2f
#define HL_LOG10_2_1_F32 -0x1.95ec1p-19f
#define HL_LOG10_2_0_F64 0x1.34413509f78p-2
#define HL_LOG10_2_1_F64 0x1.fef311f12b358p-46
/* (exp(x) - 1 - x - x^2/2) / x^3, |x| <= log(2)/2: error 2^-31.23 */
#define HL_EXP_F32 0x1.55553cp-3f, 0x1.5554f2p-5f, 0x1.1137p-7f, 0x1.6d4172p-10f, 0x1.6befd6p-13f
/* (exp(x) - 1 - x - x^2/2) / x^3, |x| <= log(2)/2: error 2^-63.57 */
#define HL_EXP_F64 0x1.555555555555dp-3, 0x1.555555555556bp-5, 0x1.111111110e58ep-7, \
    0x1.6c16c16c0b64p-10, 0x1.a01a01b5c34bfp-13, 0x1.a01a01decc4bap-16, 0x1.71ddeb4cd7b0dp-19, \
    0x1.27e467d24e0fdp-22, 0x1.af730dfa6a085p-26, 0x1.2018b86e2d613p-29
/* (log(1+x) - x + x^2/2) / x^3, sqrt(1/2) <= 1+x <= sqrt(2): error 2^-31.83 */
#define HL_LOG_F32 0x1.555554p-2f, -0x1.ffffdp-3f, 0x1.999ab4p-3f, -0x1.5564d6p-3f, \
    0x1.2479eap-3f, -0x1.fc9ee8p-4f, 0x1.c6303ap-4f, -0x1.bf0b74p-4f, 0x1.aa1778p-4f, \
    -0x1.c4a1d6p-5f
/* (2*atanh(s)/s - 2) / z, z = s*s, s = x / (2+x): error 2^-59.48 */
#define HL_LOG_F64 0x1.5555555555593p-1, 0x1.999999997f9d1p-2, 0x1.249249422e733p-2, \
    0x1.c71c51d2e1015p-3, 0x1.74664afe492ecp-3, 0x1.39a06c95b75d9p-3, 0x1.2f13613295fc1p-3
/* coefficients: end */

/* start + s * polynomial(r): of exp(r) - 1 - r for s = r^2, and without r^2/2 for s = r^3 */
#define HL_EXP_ADD_F32(start, s, r) hl_add_poly6_f32(start, s, r, 0.5f, HL_EXP_F32)
#define HL_EXP_ADD_F64(start, s, r) hl_add_poly11_f64(start, s, r, 0.5, HL_EXP_F64)
#define HL_EXP_MORE_F32(start, s, r) hl_add_poly5_f32(start, s, r, HL_EXP_F32)
#define HL_EXP_MORE_F64(start, s, r) hl_add_poly10_f64(start, s, r, HL_EXP_F64)

/* Bounds beyond which exp is certainly infinite or 0, exp2 likewise, and expm1 rounds to -1. */
#define HL_EXP_ABOVE_F32 89.0f
#define HL_EXP_BELOW_F32 -104.5f
#define HL_EXP2_ABOVE_F32 128.5f
#define HL_EXP2_BELOW_F32 -151.0f
#define HL_EXPM1_BELOW_F32 -18.0f
#define HL_EXP_ABOVE_F64 710.0
#define HL_EXP_BELOW_F64 -746.0
#define HL_EXP2_ABOVE_F64 1024.5
#define HL_EXP2_BELOW_F64 -1076.0
#define HL_EXPM1_BELOW_F64 -38.0

/* sqrt(1/2), so that the exponent of x / sqrt(1/2) is the k wanted */
#define HL_ROOT_HALF_BITS_F32 0x3f3504f3u
#define HL_ROOT_HALF_BITS_F64 0x3fe6a09e667f3bcdu
/* lifts a subnormal number into the normal range */
#define HL_LIFT_F32 24
#define HL_LIFT_F64 54

/* exp(x) = 2^k exp(r + rest) */
typedef struct {
    hl_f32 r, rest;
    hl_i32 k;
} hl_exp_reduced_f32;

typedef struct {
    hl_f64 r, rest;
    hl_i64 k;
} hl_exp_reduced_f64;

/* x = 2^k (1 + f); normal: whether x is a positive normal number */
typedef struct {
    hl_f32 f;
    hl_i32 k;
    hl_mask_f32 normal;
} hl_log_parts_f32;

typedef struct {
    hl_f64 f;
    hl_i64 k;
    hl_mask_f64 normal;
} hl_log_parts_f64;

/* start + rest + log(1 + f) = hi + lo, where |start| > |f| or start is 0. f - f^2/2 goes without
 * error: the upper half of f squares exactly. In float32 a polynomial is cheaper than a division;
 * in float64 the odd series in s = f / (2 + f) needs half of the terms: with q = f^2/2,
 * log(1 + f) = f - q + s q + s (2 atanh(s)/s - 2). */
HL_INLINE hl_pair_f32 hl_log_mantissa_f32(hl_f32 start, hl_f32 rest, hl_f32 f)
{
    hl_f32 h = hl_upper_half_f32(f), minus = -0.5f * h, half_rest = 0.5f * (f - h) * (f + h);
    hl_pair_f32 a = hl_fast_sum_f32(start, f);
    hl_f32 hi = HL_EXACT_F32(minus, h, a.hi), lo = HL_EXACT_F32(minus, h, a.hi - hi);
    rest = (lo + a.lo) + (rest - half_rest);
    hl_pair_f32 y = {hi, hl_add_poly10_f32(rest, f * (f * f), f, HL_LOG_F32)};
    return y;
}

HL_INLINE hl_pair_f64 hl_log_mantissa_f64(hl_f64 start, hl_f64 rest, hl_f64 f)
{
    hl_f64 h = hl_upper_half_f64(f), half = 0.5 * h * h, half_rest = 0.5 * (f - h) * (f + h);
    hl_pair_f64 a = hl_fast_sum_f64(start, f), b = hl_fast_sum_f64(a.hi, -half);
    hl_f64 s = f / (2.0 + f), z = s * s;
    rest = ((b.lo + a.lo) + (rest - half_rest)) + s * (half + half_rest);
    hl_pair_f64 y = {b.hi, hl_add_poly7_f64(rest, s * z, z, HL_LOG_F64)};
    return y;
}

/* x = k log(2) + r + rest, as k on top of the magic number */
HL_INLINE hl_exp_reduced_f32 hl_exp_reduce_f32(hl_f32 x)
{
    hl_f32 shifted = x * HL_LOG2_E_0_F32 + HL_MAGIC_F32, n = shifted - HL_MAGIC_F32;
    hl_f32 a = HL_EXACT_F32(-n, HL_LN2_0_F32, x), b = n * HL_LN2_1_F32, r = a - b;
    hl_exp_reduced_f32 y = {r, (a - r) - b, (hl_i32)(hl_bits_f32(shifted) - HL_MAGIC_BITS_F32)};
    return y;
}

/* Of a pair: beside a large hi, lo may count so much that r is added up afresh. */
HL_INLINE hl_exp_reduced_f32 hl_exp_reduce_pair_f32(hl_pair_f32 x)
{
    hl_f32 shifted = x.hi * HL_LOG2_E_0_F32 + HL_MAGIC_F32, n = shifted - HL_MAGIC_F32;
    hl_pair_f32 a = hl_two_sum_f32(HL_EXACT_F32(-n, HL_LN2_0_F32, x.hi), x.lo);
    hl_pair_f32 r = hl_two_sum_f32(a.hi, -(n * HL_LN2_1_F32));
    hl_exp_reduced_f32 y = {
        r.hi, r.lo + a.lo, (hl_i32)(hl_bits_f32(shifted) - HL_MAGIC_BITS_F32)};
    return y;
}

/* 2^k exp(r + rest) with one rounding that counts. Half of k is multiplied into the terms while
 * the polynomial is still on its way. */
HL_INLINE hl_f32 hl_exp_finish_f32(hl_exp_reduced_f32 e)
{
    hl_i32 half = e.k >> 1;
    hl_f32 scale = hl_power2_f32(half), near = 1.0f + e.r;
    hl_f32 rest = (e.r - (near - 1.0f)) + (e.rest + e.rest * e.r);
    hl_f32 tail = HL_EXP_ADD_F32(rest * scale, (e.r * e.r) * scale, e.r);
    return HL_EXACT_F32(near, scale, tail) * hl_power2_f32((hl_i32)((hl_u32)e.k - (hl_u32)half));
}

/* Overflow and underflow of exp and exp2, where k made no sense. */
HL_INLINE hl_f32 hl_exp_limit_f32(hl_f32 x, float below, float above, hl_f32 y)
{
    if (HL_RARELY(hl_any_f32(hl_abs_f32(x) > above))) { /* `above` is nearer to 0 than `below` */
        hl_mask_f32 high = x > above;
        y = hl_select_f32(high | (x < below), hl_select_f32(high, HL_INF_F32, 0.0f), y);
    }
    return y;
}

/* exp(r + rest) as a pair */
HL_INLINE hl_pair_f32 hl_exp_pair_f32(hl_exp_reduced_f32 e)
{
    hl_f32 near = 1.0f + e.r, rest = (e.r - (near - 1.0f)) + (e.rest + e.rest * e.r);
    return hl_fast_sum_f32(near, HL_EXP_ADD_F32(rest, e.r * e.r, e.r));
}

/* exp(r + rest) - 2^-k as a pair: 2^k times it is exp(x) - 1, for k > -bias. What is left after
 * 1 - 2^-k + r may be small, so r^2/2 is added to it without error, as in the logarithm. */
HL_INLINE hl_pair_f32 hl_expm1_pair_f32(hl_exp_reduced_f32 e)
{
    hl_mask_f32 high = e.k > 2 * HL_DIGITS_F32 + 8;
    hl_f32 power = hl_select_f32(high, 0.0f, hl_power2_f32((hl_i32)(0 - (hl_u32)e.k)));
    hl_f32 less = 1.0f - power, h = hl_upper_half_f32(e.r);
    hl_pair_f32 sum = hl_fast_sum_f32(less, e.r), near = hl_fast_sum_f32(sum.hi, 0.5f * h * h);
    hl_f32 rest = (near.lo + sum.lo) + 0.5f * (e.r - h) * (e.r + h);
    rest = rest + (((1.0f - less) - power) + (e.rest + e.rest * e.r));
    return hl_fast_sum_f32(near.hi, HL_EXP_MORE_F32(rest, e.r * (e.r * e.r), e.r));
}

HL_FUNCTION hl_f32 hl_exp_f32(hl_f32 x)
{
    hl_f32 y = hl_exp_finish_f32(hl_exp_reduce_f32(x));
    return hl_exp_limit_f32(x, HL_EXP_BELOW_F32, HL_EXP_ABOVE_F32, y);
}

HL_FUNCTION hl_f32 hl_exp2_f32(hl_f32 x)
{
    hl_f32 shifted = x + HL_MAGIC_F32, fraction = x - (shifted - HL_MAGIC_F32);
    hl_pair_f32 r = hl_two_mul_f32(fraction, (hl_f32)(HL_LN2_FULL_0_F32));
    hl_exp_reduced_f32 e = {
        r.hi,
        r.lo + fraction * HL_LN2_FULL_1_F32,
        (hl_i32)(hl_bits_f32(shifted) - HL_MAGIC_BITS_F32),
    };
    return hl_exp_limit_f32(x, HL_EXP2_BELOW_F32, HL_EXP2_ABOVE_F32, hl_exp_finish_f32(e));
}

HL_FUNCTION hl_f32 hl_expm1_f32(hl_f32 x)
{
    hl_exp_reduced_f32 e = hl_exp_reduce_f32(x);
    hl_pair_f32 p = hl_expm1_pair_f32(e);
    hl_f32 y = hl_scale_f32(p.hi + p.lo, e.k);
    if (HL_RARELY(hl_any_f32(hl_abs_f32(x) > -HL_EXPM1_BELOW_F32))) {
        y = hl_select_f32(x > HL_EXP_ABOVE_F32, HL_INF_F32, y);
        y = hl_select_f32(x < HL_EXPM1_BELOW_F32, -1.0f, y);
    }
    return hl_with_sign_f32(y, hl_sign_f32(x)); /* for -0 */
}

/* The exponent and fraction of x > 0; anything for other x. */
HL_INLINE hl_log_parts_f32 hl_log_split_f32(hl_f32 x)
{
    hl_i32 lift = (hl_i32)(0);
    hl_mask_f32 normal = (x >= HL_NORMAL_F32) & (x < HL_INF_F32);
    hl_u32 bits = hl_bits_f32(x);
    if (HL_RARELY(hl_any_f32(normal == 0))) {
        hl_mask_f32 low = x < HL_NORMAL_F32;
        bits = hl_bits_f32(hl_select_f32(low, x * (float)(1ull << HL_LIFT_F32), x));
        lift = hl_select_int_f32(low, (hl_i32)(HL_LIFT_F32), lift);
    }
    hl_i32 k = (hl_i32)(bits - HL_ROOT_HALF_BITS_F32) >> HL_DIGITS_F32;
    hl_log_parts_f32 y = {
        hl_from_bits_f32(bits - ((hl_u32)k << HL_DIGITS_F32)) - 1.0f, k - lift, normal};
    return y;
}

/* k log(2) + log(1 + f) + rest */
HL_INLINE hl_pair_f32 hl_log_sum_f32(hl_log_parts_f32 parts, hl_f32 rest)
{
    hl_f32 k = hl_from_int_f32(parts.k);
    return hl_log_mantissa_f32(k * HL_LN2_0_F32, k * HL_LN2_1_F32 + rest, parts.f);
}

/* What log gives where x is not a positive finite number. */
HL_INLINE hl_f32 hl_log_special_f32(hl_f32 x, hl_mask_f32 normal, hl_f32 y)
{
    if (HL_RARELY(hl_any_f32(normal == 0))) {
        hl_f32 special = hl_select_f32(x == 0.0f, -HL_INF_F32, HL_NAN_F32);
        special = hl_select_f32(x > 0.0f, HL_INF_F32, special);
        y = hl_select_f32((x > 0.0f) & (x < HL_INF_F32), y, special);
    }
    return y;
}

HL_FUNCTION hl_f32 hl_log_f32(hl_f32 x)
{
    hl_log_parts_f32 parts = hl_log_split_f32(x);
    hl_pair_f32 y = hl_log_sum_f32(parts, (hl_f32)(0.0f));
    return hl_log_special_f32(x, parts.normal, y.hi + y.lo);
}

/* log(1 + f) as a normalised pair times a constant given as a pair */
HL_INLINE hl_pair_f32 hl_log_times_f32(hl_f32 f, float hi, float lo)
{
    hl_pair_f32 a = hl_log_mantissa_f32((hl_f32)(0.0f), (hl_f32)(0.0f), f);
    hl_pair_f32 factor = {(hl_f32)(hi), (hl_f32)(lo)};
    return hl_pair_mul_f32(hl_fast_sum_f32(a.hi, a.lo), factor);
}

HL_FUNCTION hl_f32 hl_log2_f32(hl_f32 x)
{
    hl_log_parts_f32 parts = hl_log_split_f32(x);
    hl_pair_f32 m = hl_log_times_f32(parts.f, HL_LOG2_E_0_F32, HL_LOG2_E_1_F32);
    hl_pair_f32 y = hl_fast_sum_f32(hl_from_int_f32(parts.k), m.hi);
    return hl_log_special_f32(x, parts.normal, y.hi + (y.lo + m.lo));
}

HL_FUNCTION hl_f32 hl_log10_f32(hl_f32 x)
{
    hl_log_parts_f32 parts = hl_log_split_f32(x);
    hl_f32 k = hl_from_int_f32(parts.k);
    hl_pair_f32 m = hl_log_times_f32(parts.f, HL_LOG10_E_0_F32, HL_LOG10_E_1_F32);
    hl_pair_f32 y = hl_fast_sum_f32(k * HL_LOG10_2_0_F32, m.hi);
    return hl_log_special_f32(x, parts.normal, y.hi + (y.lo + (m.lo + k * HL_LOG10_2_1_F32)));
}

/* log(2^extra * u) for a pair u; `near` is u - 1, better known than u itself where u is near 1. */
HL_INLINE hl_f32 hl_log_of_pair_f32(hl_pair_f32 u, hl_pair_f32 near, hl_i32 extra)
{
    hl_log_parts_f32 parts = hl_log_split_f32(u.hi);
    hl_mask_f32 is_near = parts.k == 0;
    hl_i32 shift = hl_select_int_f32(parts.k > HL_BIAS_F32 - 1, HL_BIAS_F32 - 1, parts.k);
    hl_f32 c = hl_select_f32(is_near, near.lo, u.lo * hl_power2_f32((hl_i32)(0 - (hl_u32)shift)));
    parts.f = hl_select_f32(is_near, near.hi, parts.f);
    parts.k = parts.k + extra;
    /* log(1 + f + c) - log(1 + f) = c / (1 + f), to the few digits that count */
    hl_pair_f32 y = hl_log_sum_f32(parts, c * ((1.0f - parts.f) + parts.f * parts.f));
    return hl_log_special_f32(u.hi, parts.normal, y.hi + y.lo);
}

HL_FUNCTION hl_f32 hl_log1p_f32(hl_f32 x)
{
    hl_pair_f32 u = hl_two_sum_f32((hl_f32)(1.0f), x), near = {x, (hl_f32)(0.0f)};
    hl_f32 y = hl_log_of_pair_f32(u, near, (hl_i32)(0));
    return hl_with_sign_f32(y, hl_sign_f32(x)); /* for -0 */
}

/* The same in float64; the reasons are given above. */

HL_INLINE hl_exp_reduced_f64 hl_exp_reduce_f64(hl_f64 x)
{
    hl_f64 shifted = x * HL_LOG2_E_0_F64 + HL_MAGIC_F64, n = shifted - HL_MAGIC_F64;
    hl_f64 a = HL_EXACT_F64(-n, HL_LN2_0_F64, x), b = n * HL_LN2_1_F64, r = a - b;
    hl_exp_reduced_f64 y = {r, (a - r) - b, (hl_i64)(hl_bits_f64(shifted) - HL_MAGIC_BITS_F64)};
    return y;
}

HL_INLINE hl_exp_reduced_f64 hl_exp_reduce_pair_f64(hl_pair_f64 x)
{
    hl_f64 shifted = x.hi * HL_LOG2_E_0_F64 + HL_MAGIC_F64, n = shifted - HL_MAGIC_F64;
    hl_pair_f64 a = hl_two_sum_f64(HL_EXACT_F64(-n, HL_LN2_0_F64, x.hi), x.lo);
    hl_pair_f64 r = hl_two_sum_f64(a.hi, -(n * HL_LN2_1_F64));
    hl_exp_reduced_f64 y = {
        r.hi, r.lo + a.lo, (hl_i64)(hl_bits_f64(shifted) - HL_MAGIC_BITS_F64)};
    return y;
}

HL_INLINE hl_f64 hl_exp_finish_f64(hl_exp_reduced_f64 e)
{
    hl_i64 half = e.k >> 1;
    hl_f64 scale = hl_power2_f64(half), near = 1.0 + e.r;
    hl_f64 rest = (e.r - (near - 1.0)) + (e.rest + e.rest * e.r);
    hl_f64 tail = HL_EXP_ADD_F64(rest * scale, (e.r * e.r) * scale, e.r);
    return HL_EXACT_F64(near, scale, tail) * hl_power2_f64((hl_i64)((hl_u64)e.k - (hl_u64)half));
}

HL_INLINE hl_f64 hl_exp_limit_f64(hl_f64 x, double below, double above, hl_f64 y)
{
    if (HL_RARELY(hl_any_f64(hl_abs_f64(x) > above))) { /* `above` is nearer to 0 than `below` */
        hl_mask_f64 high = x > above;
        y = hl_select_f64(high | (x < below), hl_select_f64(high, HL_INF_F64, 0.0), y);
    }
    return y;
}

HL_INLINE hl_pair_f64 hl_exp_pair_f64(hl_exp_reduced_f64 e)
{
    hl_f64 near = 1.0 + e.r, rest = (e.r - (near - 1.0)) + (e.rest + e.rest * e.r);
    return hl_fast_sum_f64(near, HL_EXP_ADD_F64(rest, e.r * e.r, e.r));
}

HL_INLINE hl_pair_f64 hl_expm1_pair_f64(hl_exp_reduced_f64 e)
{
    hl_mask_f64 high = e.k > 2 * HL_DIGITS_F64 + 8;
    hl_f64 power = hl_select_f64(high, 0.0, hl_power2_f64((hl_i64)(0 - (hl_u64)e.k)));
    hl_f64 less = 1.0 - power, h = hl_upper_half_f64(e.r);
    hl_pair_f64 sum = hl_fast_sum_f64(less, e.r), near = hl_fast_sum_f64(sum.hi, 0.5 * h * h);
    hl_f64 rest = (near.lo + sum.lo) + 0.5 * (e.r - h) * (e.r + h);
    rest = rest + (((1.0 - less) - power) + (e.rest + e.rest * e.r));
    return hl_fast_sum_f64(near.hi, HL_EXP_MORE_F64(rest, e.r * (e.r * e.r), e.r));
}

HL_FUNCTION hl_f64 hl_exp_f64(hl_f64 x)
{
    hl_f64 y = hl_exp_finish_f64(hl_exp_reduce_f64(x));
    return hl_exp_limit_f64(x, HL_EXP_BELOW_F64, HL_EXP_ABOVE_F64, y);
}

HL_FUNCTION hl_f64 hl_exp2_f64(hl_f64 x)
{
    hl_f64 shifted = x + HL_MAGIC_F64, fraction = x - (shifted - HL_MAGIC_F64);
    hl_pair_f64 r = hl_two_mul_f64(fraction, (hl_f64)(HL_LN2_FULL_0_F64));
    hl_exp_reduced_f64 e = {
        r.hi,
        r.lo + fraction * HL_LN2_FULL_1_F64,
        (hl_i64)(hl_bits_f64(shifted) - HL_MAGIC_BITS_F64),
    };
    return hl_exp_limit_f64(x, HL_EXP2_BELOW_F64, HL_EXP2_ABOVE_F64, hl_exp_finish_f64(e));
}

HL_FUNCTION hl_f64 hl_expm1_f64(hl_f64 x)
{
    hl_exp_reduced_f64 e = hl_exp_reduce_f64(x);
    hl_pair_f64 p = hl_expm1_pair_f64(e);
    hl_f64 y = hl_scale_f64(p.hi + p.lo, e.k);
    if (HL_RARELY(hl_any_f64(hl_abs_f64(x) > -HL_EXPM1_BELOW_F64))) {
        y = hl_select_f64(x > HL_EXP_ABOVE_F64, HL_INF_F64, y);
        y = hl_select_f64(x < HL_EXPM1_BELOW_F64, -1.0, y);
    }
    return hl_with_sign_f64(y, hl_sign_f64(x)); /* for -0 */
}

HL_INLINE hl_log_parts_f64 hl_log_split_f64(hl_f64 x)
{
    hl_i64 lift = (hl_i64)(0);
    hl_mask_f64 normal = (x >= HL_NORMAL_F64) & (x < HL_INF_F64);
    hl_u64 bits = hl_bits_f64(x);
    if (HL_RARELY(hl_any_f64(normal == 0))) {
        hl_mask_f64 low = x < HL_NORMAL_F64;
        bits = hl_bits_f64(hl_select_f64(low, x * (double)(1ull << HL_LIFT_F64), x));
        lift = hl_select_int_f64(low, (hl_i64)(HL_LIFT_F64), lift);
    }
    hl_i64 k = (hl_i64)(bits - HL_ROOT_HALF_BITS_F64) >> HL_DIGITS_F64;
    hl_log_parts_f64 y = {
        hl_from_bits_f64(bits - ((hl_u64)k << HL_DIGITS_F64)) - 1.0, k - lift, normal};
    return y;
}

HL_INLINE hl_pair_f64 hl_log_sum_f64(hl_log_parts_f64 parts, hl_f64 rest)
{
    hl_f64 k = hl_from_int_f64(parts.k);
    return hl_log_mantissa_f64(k * HL_LN2_0_F64, k * HL_LN2_1_F64 + rest, parts.f);
}

HL_INLINE hl_f64 hl_log_special_f64(hl_f64 x, hl_mask_f64 normal, hl_f64 y)
{
    if (HL_RARELY(hl_any_f64(normal == 0))) {
        hl_f64 special = hl_select_f64(x == 0.0, -HL_INF_F64, HL_NAN_F64);
        special = hl_select_f64(x > 0.0, HL_INF_F64, special);
        y = hl_select_f64((x > 0.0) & (x < HL_INF_F64), y, special);
    }
    return y;
}

HL_FUNCTION hl_f64 hl_log_f64(hl_f64 x)
{
    hl_log_parts_f64 parts = hl_log_split_f64(x);
    hl_pair_f64 y = hl_log_sum_f64(parts, (hl_f64)(0.0));
    return hl_log_special_f64(x, parts.normal, y.hi + y.lo);
}

HL_INLINE hl_pair_f64 hl_log_times_f64(hl_f64 f, double hi, double lo)
{
    hl_pair_f64 a = hl_log_mantissa_f64((hl_f64)(0.0), (hl_f64)(0.0), f);
    hl_pair_f64 factor = {(hl_f64)(hi), (hl_f64)(lo)};
    return hl_pair_mul_f64(hl_fast_sum_f64(a.hi, a.lo), factor);
}

HL_FUNCTION hl_f64 hl_log2_f64(hl_f64 x)
{
    hl_log_parts_f64 parts = hl_log_split_f64(x);
    hl_pair_f64 m = hl_log_times_f64(parts.f, HL_LOG2_E_0_F64, HL_LOG2_E_1_F64);
    hl_pair_f64 y = hl_fast_sum_f64(hl_from_int_f64(parts.k), m.hi);
    return hl_log_special_f64(x, parts.normal, y.hi + (y.lo + m.lo));
}

HL_FUNCTION hl_f64 hl_log10_f64(hl_f64 x)
{
    hl_log_parts_f64 parts = hl_log_split_f64(x);
    hl_f64 k = hl_from_int_f64(parts.k);
    hl_pair_f64 m = hl_log_times_f64(parts.f, HL_LOG10_E_0_F64, HL_LOG10_E_1_F64);
    hl_pair_f64 y = hl_fast_sum_f64(k * HL_LOG10_2_0_F64, m.hi);
    return hl_log_special_f64(x, parts.normal, y.hi + (y.lo + (m.lo + k * HL_LOG10_2_1_F64)));
}

HL_INLINE hl_f64 hl_log_of_pair_f64(hl_pair_f64 u, hl_pair_f64 near, hl_i64 extra)
{
    hl_log_parts_f64 parts = hl_log_split_f64(u.hi);
    hl_mask_f64 is_near = parts.k == 0;
    hl_i64 shift = hl_select_int_f64(parts.k > HL_BIAS_F64 - 1, HL_BIAS_F64 - 1, parts.k);
    hl_f64 c = hl_select_f64(is_near, near.lo, u.lo * hl_power2_f64((hl_i64)(0 - (hl_u64)shift)));
    parts.f = hl_select_f64(is_near, near.hi, parts.f);
    parts.k = parts.k + extra;
    hl_pair_f64 y = hl_log_sum_f64(parts, c * ((1.0 - parts.f) + parts.f * parts.f));
    return hl_log_special_f64(u.hi, parts.normal, y.hi + y.lo);
}

HL_FUNCTION hl_f64 hl_log1p_f64(hl_f64 x)
{
    hl_pair_f64 u = hl_two_sum_f64((hl_f64)(1.0), x), near = {x, (hl_f64)(0.0)};
    hl_f64 y = hl_log_of_pair_f64(u, near, (hl_i64)(0));
    return hl_with_sign_f64(y, hl_sign_f64(x)); /* for -0 */
}

#endif
