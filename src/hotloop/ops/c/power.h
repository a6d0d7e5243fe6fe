/* pow, cbrt and hypot. */
#ifndef HL_POWER_H
#define HL_POWER_H

#include "exponential.h"
#include "lanes.h"

/* coefficients: written by stencilgen/coefficients.py, do not edit */
#define HL_THIRD_0_F32 0x1.555556p-2f
#define HL_THIRD_1_F32 -0x1.555556p-27f
#define HL_THIRD_0_F64 0x1.5555555555555p-2
#define HL_THIRD_1_F64 0x1.5555555555555p-56
#define HL_FIFTH_0_F64 0x1.999999999999ap-3
#define HL_FIFTH_1_F64 -0x1.999999999999ap-57
#define HL_CBRT_HALF_F32 0x1.965feap-1f
#define HL_CBRT_HALF_F64 0x1.965fea53d6e3dp-1
#define HL_CBRT_QUARTER_F32 0x1.428a3p-1f
#define HL_CBRT_QUARTER_F64 0x1.428a2f98d728bp-1
/* (atanh(s)/s - 1 - z/3) / z^2, z = s*s: error 2^-36.77 */
#define HL_LOG_TAIL_F32 0x1.999ap-3f, 0x1.24527ap-3f, 0x1.dfa30ap-4f
/* (atanh(s)/s - 1 - z/3 - z^2/5) / z^3, z = s*s: error 2^-80.12 */
#define HL_LOG_TAIL_F64 0x1.2492492492489p-3, 0x1.c71c71c71f25p-4, 0x1.745d174348234p-4, \
    0x1.3b13b281a82bcp-4, 0x1.1110afdb15387p-4, 0x1.e2053572e3f75p-5, 0x1.ab5121b251803p-5, \
    0x1.c06a9f2833576p-5
/* x^(-1/3), 1 <= x <= 2: error 2^-11.95 */
#define HL_CBRT_F32 0x1.8ab91p0f, -0x1.9eb2eep-1f, 0x1.4561dep-2f, -0x1.9914d4p-5f
/* x^(-1/3), 1 <= x <= 2: error 2^-17.41 */
#define HL_CBRT_F64 0x1.c7f365efe3a92p0, -0x1.90e74596539b9p0, 0x1.3e68c3165c51dp0, \
    -0x1.321c71e4d7f6ep-1, 0x1.3fa28c83b5425p-3, -0x1.16d71ff2321d4p-6
/* coefficients: end */

/* |y| may be cut down to this in pow: every x but 1 is then far out of range already. */
#define HL_POW_LARGE_F32 0x1p40f
#define HL_POW_LARGE_F64 0x1p70
/* At and above, a number is an integer. */
#define HL_WHOLE_F32 0x1p23f
#define HL_WHOLE_F64 0x1p52

#define HL_CBRT_POLY_F32(m) hl_poly4_f32(m, HL_CBRT_F32)
#define HL_CBRT_POLY_F64(m) hl_poly6_f64(m, HL_CBRT_F64)
/* The exponent field plus HL_CBRT_OFFSET is 3 * HL_CBRT_BIAS for numbers from 1 to 2. */
#define HL_CBRT_OFFSET_F32 2
#define HL_CBRT_OFFSET_F64 0
#define HL_CBRT_BIAS_F32 43
#define HL_CBRT_BIAS_F64 341

/* hypot brings its larger side into a range where both squares are exact as pairs. */
#define HL_HYPOT_LARGE_F32 0x1p50f
#define HL_HYPOT_DOWN_F32 0x1p-80f
#define HL_HYPOT_DOWN_BACK_F32 0x1p80f
#define HL_HYPOT_SMALL_F32 0x1p-40f
#define HL_HYPOT_UP_F32 0x1p100f
#define HL_HYPOT_UP_BACK_F32 0x1p-100f
#define HL_HYPOT_LARGE_F64 0x1p400
#define HL_HYPOT_DOWN_F64 0x1p-600
#define HL_HYPOT_DOWN_BACK_F64 0x1p600
#define HL_HYPOT_SMALL_F64 0x1p-300
#define HL_HYPOT_UP_F64 0x1p700
#define HL_HYPOT_UP_BACK_F64 0x1p-700

/* atanh(s)/s - 1 of z = s^2 as a pair: as many leading terms as pairs as the digits ask for. */
HL_INLINE hl_pair_f32 hl_atanh_series_f32(hl_pair_f32 z)
{
    hl_pair_f32 third =
        hl_fast_sum_f32((hl_f32)(HL_THIRD_0_F32), z.hi * hl_poly3_f32(z.hi, HL_LOG_TAIL_F32));
    third.lo = third.lo + HL_THIRD_1_F32;
    return hl_pair_mul_f32(z, third);
}

HL_INLINE hl_pair_f64 hl_atanh_series_f64(hl_pair_f64 z)
{
    hl_pair_f64 fifth =
        hl_fast_sum_f64((hl_f64)(HL_FIFTH_0_F64), z.hi * hl_poly8_f64(z.hi, HL_LOG_TAIL_F64));
    fifth.lo = fifth.lo + HL_FIFTH_1_F64;
    fifth = hl_pair_mul_f64(z, fifth);
    hl_pair_f64 third = hl_fast_sum_f64((hl_f64)(HL_THIRD_0_F64), fifth.hi);
    third.lo = third.lo + (fifth.lo + HL_THIRD_1_F64);
    return hl_pair_mul_f64(z, third);
}

/* log(x) as a pair with about 11 bits beyond the type: log(1 + f) = 2 atanh(f / (2 + f)). Pairs
 * need not be normalised on the way. */
HL_INLINE hl_pair_f32 hl_log_accurate_f32(hl_f32 x)
{
    hl_log_parts_f32 parts = hl_log_split_f32(x);
    hl_f32 k = hl_from_int_f32(parts.k);
    hl_pair_f32 top = {parts.f, (hl_f32)(0.0f)};
    hl_pair_f32 s = hl_pair_div_f32(top, hl_fast_sum_f32((hl_f32)(2.0f), parts.f));
    hl_pair_f32 more = hl_pair_mul_f32(s, hl_atanh_series_f32(hl_pair_mul_f32(s, s)));
    hl_pair_f32 half = hl_fast_sum_f32(s.hi, more.hi);
    half.lo = half.lo + (s.lo + more.lo);
    hl_pair_f32 y = hl_fast_sum_f32(k * HL_LN2_0_F32, 2.0f * half.hi);
    y.lo = y.lo + (2.0f * half.lo + k * HL_LN2_1_F32);
    return y;
}

/* Whether y >= 0 has a fraction. */
HL_INLINE hl_mask_f32 hl_fractional_f32(hl_f32 y)
{
    return (y < HL_WHOLE_F32) & ((y + HL_WHOLE_F32) - HL_WHOLE_F32 != y);
}

/* exp(y log|x|), then the table of special values of C99 F.9.4.4. */
HL_FUNCTION hl_f32 hl_pow_f32(hl_f32 x, hl_f32 y)
{
    hl_f32 a = hl_abs_f32(x), times = hl_abs_f32(y);
    hl_pair_f32 l = hl_log_accurate_f32(a);
    hl_f32 power = hl_flip_f32(
        hl_select_f32(times > HL_POW_LARGE_F32, HL_POW_LARGE_F32, times), hl_sign_f32(y));
    hl_pair_f32 v = hl_two_mul_f32(power, l.hi);
    v.lo = v.lo + power * l.lo;
    hl_f32 z = hl_exp_finish_f32(hl_exp_reduce_pair_f32(v));
    z = hl_exp_limit_f32(v.hi, HL_EXP_BELOW_F32, HL_EXP_ABOVE_F32, z);

    /* all that is special is worked out beside the main path and selected once */
    hl_mask_f32 zero = a == 0.0f, infinite = a == HL_INF_F32, down = y < 0.0f;
    hl_mask_f32 fraction = hl_fractional_f32(times);
    hl_mask_f32 odd = hl_fractional_f32(0.5f * times) & (fraction == 0);
    hl_mask_f32 one = (x == 1.0f) | (y == 0.0f);
    hl_mask_f32 invalid = ((x < 0.0f) & (a < HL_INF_F32) & fraction) | (x != x) | (y != y);
    hl_f32 special = hl_select_f32((zero & down) | (infinite & (y > 0.0f)), HL_INF_F32, 0.0f);
    special = hl_select_f32(invalid, HL_NAN_F32, special);
    special = hl_select_f32(one, 1.0f, special);
    hl_f32 sign = hl_select_f32(odd, x, 0.0f);
    z = hl_select_f32(zero | infinite | invalid | one, special, z);
    return hl_flip_f32(z, hl_sign_f32(sign));
}

/* w -> t^(-1/3) by a polynomial and one step of Newton, t in [1, 8), then t w^2 and one step more
 * with the residual of its cube taken exactly. */
HL_FUNCTION hl_f32 hl_cbrt_f32(hl_f32 x)
{
    hl_f32 a = hl_abs_f32(x);
    hl_mask_f32 low = a < HL_NORMAL_F32;
    hl_u32 bits = hl_bits_f32(hl_select_f32(low, a * (float)(1ull << HL_LIFT_F32), a));
    hl_u32 exponent = (bits >> HL_DIGITS_F32) + HL_CBRT_OFFSET_F32;
    hl_u32 third = (exponent * 43691u) >> 17; /* exponent / 3, exact below 2^16 */
    hl_u32 rest = exponent - 3 * third;
    hl_u32 unit = (hl_u32)(HL_BIAS_F32) << HL_DIGITS_F32;
    hl_f32 m = hl_from_bits_f32((bits & HL_FRACTION_F32) | unit);
    hl_f32 t = m * hl_select_f32(rest == 0, 1.0f, hl_select_f32(rest == 1, 2.0f, 4.0f));
    hl_f32 w = HL_CBRT_POLY_F32(m)
        * hl_select_f32(
            rest == 0, 1.0f, hl_select_f32(rest == 1, HL_CBRT_HALF_F32, HL_CBRT_QUARTER_F32));
    w = w + w * (HL_THIRD_0_F32 - (t * HL_THIRD_0_F32) * (w * w) * w);
    hl_f32 y = t * (w * w);
    hl_pair_f32 square = hl_two_mul_f32(y, y), cube = hl_two_mul_f32(square.hi, y);
    hl_f32 residual = ((t - cube.hi) - cube.lo) - square.lo * y;
    y = y + residual * (w * w * HL_THIRD_0_F32);
    hl_i32 k = (hl_i32)third - HL_CBRT_BIAS_F32 - hl_select_int_f32(low, HL_LIFT_F32 / 3, 0);
    y = hl_flip_f32(y * hl_power2_f32(k), hl_sign_f32(x));
    return hl_select_f32((a > 0.0f) & (a < HL_INF_F32), y, x + x);
}

/* The root of the exact sum of squares. */
HL_FUNCTION hl_f32 hl_hypot_f32(hl_f32 x, hl_f32 y)
{
    hl_f32 a = hl_abs_f32(x), b = hl_abs_f32(y);
    hl_mask_f32 order = a > b, infinite = (a == HL_INF_F32) | (b == HL_INF_F32);
    hl_f32 long_side = hl_select_f32(order, a, b), short_side = hl_select_f32(order, b, a);
    hl_mask_f32 large = long_side > HL_HYPOT_LARGE_F32, small = long_side < HL_HYPOT_SMALL_F32;
    hl_f32 scale =
        hl_select_f32(large, HL_HYPOT_DOWN_F32, hl_select_f32(small, HL_HYPOT_UP_F32, 1.0f));
    hl_f32 back = hl_select_f32(
        large, HL_HYPOT_DOWN_BACK_F32, hl_select_f32(small, HL_HYPOT_UP_BACK_F32, 1.0f));
    long_side = long_side * scale;
    short_side = short_side * scale;
    hl_pair_f32 p = hl_two_mul_f32(long_side, long_side);
    hl_pair_f32 q = hl_two_mul_f32(short_side, short_side);
    hl_pair_f32 root = hl_pair_sqrt_f32(hl_pair_add_f32(p, q));
    return hl_select_f32(infinite, HL_INF_F32, (root.hi + root.lo) * back);
}

/* The same in float64; the reasons are given above. */

HL_INLINE hl_pair_f64 hl_log_accurate_f64(hl_f64 x)
{
    hl_log_parts_f64 parts = hl_log_split_f64(x);
    hl_f64 k = hl_from_int_f64(parts.k);
    hl_pair_f64 top = {parts.f, (hl_f64)(0.0)};
    hl_pair_f64 s = hl_pair_div_f64(top, hl_fast_sum_f64((hl_f64)(2.0), parts.f));
    hl_pair_f64 more = hl_pair_mul_f64(s, hl_atanh_series_f64(hl_pair_mul_f64(s, s)));
    hl_pair_f64 half = hl_fast_sum_f64(s.hi, more.hi);
    half.lo = half.lo + (s.lo + more.lo);
    hl_pair_f64 y = hl_fast_sum_f64(k * HL_LN2_0_F64, 2.0 * half.hi);
    y.lo = y.lo + (2.0 * half.lo + k * HL_LN2_1_F64);
    return y;
}

HL_INLINE hl_mask_f64 hl_fractional_f64(hl_f64 y)
{
    return (y < HL_WHOLE_F64) & ((y + HL_WHOLE_F64) - HL_WHOLE_F64 != y);
}

HL_FUNCTION hl_f64 hl_pow_f64(hl_f64 x, hl_f64 y)
{
    hl_f64 a = hl_abs_f64(x), times = hl_abs_f64(y);
    hl_pair_f64 l = hl_log_accurate_f64(a);
    hl_f64 power = hl_flip_f64(
        hl_select_f64(times > HL_POW_LARGE_F64, HL_POW_LARGE_F64, times), hl_sign_f64(y));
    hl_pair_f64 v = hl_two_mul_f64(power, l.hi);
    v.lo = v.lo + power * l.lo;
    hl_f64 z = hl_exp_finish_f64(hl_exp_reduce_pair_f64(v));
    z = hl_exp_limit_f64(v.hi, HL_EXP_BELOW_F64, HL_EXP_ABOVE_F64, z);

    hl_mask_f64 zero = a == 0.0, infinite = a == HL_INF_F64, down = y < 0.0;
    hl_mask_f64 fraction = hl_fractional_f64(times);
    hl_mask_f64 odd = hl_fractional_f64(0.5 * times) & (fraction == 0);
    hl_mask_f64 one = (x == 1.0) | (y == 0.0);
    hl_mask_f64 invalid = ((x < 0.0) & (a < HL_INF_F64) & fraction) | (x != x) | (y != y);
    hl_f64 special = hl_select_f64((zero & down) | (infinite & (y > 0.0)), HL_INF_F64, 0.0);
    special = hl_select_f64(invalid, HL_NAN_F64, special);
    special = hl_select_f64(one, 1.0, special);
    hl_f64 sign = hl_select_f64(odd, x, 0.0);
    z = hl_select_f64(zero | infinite | invalid | one, special, z);
    return hl_flip_f64(z, hl_sign_f64(sign));
}

HL_FUNCTION hl_f64 hl_cbrt_f64(hl_f64 x)
{
    hl_f64 a = hl_abs_f64(x);
    hl_mask_f64 low = a < HL_NORMAL_F64;
    hl_u64 bits = hl_bits_f64(hl_select_f64(low, a * (double)(1ull << HL_LIFT_F64), a));
    hl_u64 exponent = (bits >> HL_DIGITS_F64) + HL_CBRT_OFFSET_F64;
    hl_u64 third = (exponent * 43691u) >> 17; /* exponent / 3, exact below 2^16 */
    hl_u64 rest = exponent - 3 * third;
    hl_u64 unit = (hl_u64)(HL_BIAS_F64) << HL_DIGITS_F64;
    hl_f64 m = hl_from_bits_f64((bits & HL_FRACTION_F64) | unit);
    hl_f64 t = m * hl_select_f64(rest == 0, 1.0, hl_select_f64(rest == 1, 2.0, 4.0));
    hl_f64 w = HL_CBRT_POLY_F64(m)
        * hl_select_f64(
            rest == 0, 1.0, hl_select_f64(rest == 1, HL_CBRT_HALF_F64, HL_CBRT_QUARTER_F64));
    w = w + w * (HL_THIRD_0_F64 - (t * HL_THIRD_0_F64) * (w * w) * w);
    hl_f64 y = t * (w * w);
    hl_pair_f64 square = hl_two_mul_f64(y, y), cube = hl_two_mul_f64(square.hi, y);
    hl_f64 residual = ((t - cube.hi) - cube.lo) - square.lo * y;
    y = y + residual * (w * w * HL_THIRD_0_F64);
    hl_i64 k = (hl_i64)third - HL_CBRT_BIAS_F64 - hl_select_int_f64(low, HL_LIFT_F64 / 3, 0);
    y = hl_flip_f64(y * hl_power2_f64(k), hl_sign_f64(x));
    return hl_select_f64((a > 0.0) & (a < HL_INF_F64), y, x + x);
}

HL_FUNCTION hl_f64 hl_hypot_f64(hl_f64 x, hl_f64 y)
{
    hl_f64 a = hl_abs_f64(x), b = hl_abs_f64(y);
    hl_mask_f64 order = a > b, infinite = (a == HL_INF_F64) | (b == HL_INF_F64);
    hl_f64 long_side = hl_select_f64(order, a, b), short_side = hl_select_f64(order, b, a);
    hl_mask_f64 large = long_side > HL_HYPOT_LARGE_F64, small = long_side < HL_HYPOT_SMALL_F64;
    hl_f64 scale =
        hl_select_f64(large, HL_HYPOT_DOWN_F64, hl_select_f64(small, HL_HYPOT_UP_F64, 1.0));
    hl_f64 back = hl_select_f64(
        large, HL_HYPOT_DOWN_BACK_F64, hl_select_f64(small, HL_HYPOT_UP_BACK_F64, 1.0));
    long_side = long_side * scale;
    short_side = short_side * scale;
    hl_pair_f64 p = hl_two_mul_f64(long_side, long_side);
    hl_pair_f64 q = hl_two_mul_f64(short_side, short_side);
    hl_pair_f64 root = hl_pair_sqrt_f64(hl_pair_add_f64(p, q));
    return hl_select_f64(infinite, HL_INF_F64, (root.hi + root.lo) * back);
}

#endif
