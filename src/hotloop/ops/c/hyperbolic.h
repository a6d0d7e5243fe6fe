/* Hyperbolic functions and their inverses, from the exponential and the logarithm of pairs. */
#ifndef HL_HYPERBOLIC_H
#define HL_HYPERBOLIC_H

#include "exponential.h"
#include "lanes.h"

/* Below, sinh(x) = x and asinh(x) = x - x^3/6 to the last bit. */
#define HL_SINH_TINY_F32 0x1p-13f
#define HL_SINH_TINY_F64 0x1p-27
#define HL_ASINH_TINY_F32 0x1p-11f
#define HL_ASINH_TINY_F64 0x1p-26
/* Above, exp(-x) is lost beside exp(x). */
#define HL_SINH_LARGE_F32 20.0f
#define HL_SINH_LARGE_F64 40.0
#define HL_SINH_ABOVE_F32 90.0f
#define HL_SINH_ABOVE_F64 711.0
/* Above, tanh(x) rounds to 1. */
#define HL_TANH_LARGE_F32 10.0f
#define HL_TANH_LARGE_F64 20.0
/* Above, 1 is lost beside x * x. */
#define HL_ASINH_LARGE_F32 0x1p14f
#define HL_ASINH_LARGE_F64 0x1p30

/* With t = exp(|x|) - 1: sinh = (t + t / (1 + t)) / 2, no cancellation anywhere. */
HL_FUNCTION hl_f32 hl_sinh_f32(hl_f32 x)
{
    hl_f32 a = hl_abs_f32(x);
    hl_exp_reduced_f32 e = hl_exp_reduce_f32(a);
    hl_pair_f32 p = hl_expm1_pair_f32(e);
    hl_mask_f32 large = a > HL_SINH_LARGE_F32;
    hl_i32 k = (hl_i32)((hl_u32)e.k - 1);
    hl_pair_f32 half = {hl_scale_f32(p.hi, k), hl_scale_f32(p.lo, k)};
    hl_f32 top = hl_select_f32(large, 0.0f, half.hi);
    hl_pair_f32 one = {top, hl_select_f32(large, 0.0f, half.lo)};
    hl_pair_f32 two = hl_two_sum_f32((hl_f32)(1.0f), 2.0f * one.hi);
    two.lo = two.lo + 2.0f * one.lo;
    hl_pair_f32 q = hl_pair_div_f32(one, two), sum = hl_fast_sum_f32(half.hi, q.hi);
    hl_f32 y = sum.hi + (sum.lo + (half.lo + q.lo));
    y = hl_select_f32(large, half.hi + half.lo, y);
    y = hl_select_f32(a > HL_SINH_ABOVE_F32, HL_INF_F32, y);
    y = hl_select_f32(a < HL_SINH_TINY_F32, a, y);
    return hl_flip_f32(y, hl_sign_f32(x));
}

HL_FUNCTION hl_f32 hl_cosh_f32(hl_f32 x)
{
    hl_f32 a = hl_abs_f32(x);
    hl_exp_reduced_f32 e = hl_exp_reduce_f32(a);
    hl_pair_f32 p = hl_exp_pair_f32(e);
    hl_i32 k = (hl_i32)((hl_u32)e.k - 1);
    hl_pair_f32 half = {hl_scale_f32(p.hi, k), hl_scale_f32(p.lo, k)};
    hl_f32 q = 0.25f / half.hi;
    hl_pair_f32 sum = hl_fast_sum_f32(half.hi, q);
    hl_f32 y = sum.hi + (sum.lo + (half.lo - 4.0f * (q * q) * half.lo));
    /* where half is infinite already, y is not a number */
    return hl_select_f32((a > HL_SINH_ABOVE_F32) | (half.hi == HL_INF_F32), HL_INF_F32, y);
}

/* With t = exp(2|x|) - 1: tanh = t / (2 + t). */
HL_FUNCTION hl_f32 hl_tanh_f32(hl_f32 x)
{
    hl_f32 a = hl_abs_f32(x);
    a = a > HL_TANH_LARGE_F32 ? HL_TANH_LARGE_F32 : a;
    hl_exp_reduced_f32 e = hl_exp_reduce_f32(a + a);
    hl_pair_f32 p = hl_expm1_pair_f32(e);
    hl_f32 power = hl_power2_f32(e.k);
    hl_pair_f32 t = {p.hi * power, p.lo * power}, two = hl_two_sum_f32((hl_f32)(2.0f), t.hi);
    two.lo = two.lo + t.lo;
    hl_pair_f32 q = hl_pair_div_f32(t, two);
    return hl_flip_f32(q.hi + q.lo, hl_sign_f32(x));
}

/* log(|x| + sqrt(x^2 + 1)), all as pairs; beyond the range of x^2 it is log(2|x|). */
HL_FUNCTION hl_f32 hl_asinh_f32(hl_f32 x)
{
    hl_f32 a = hl_abs_f32(x);
    hl_mask_f32 large = a > HL_ASINH_LARGE_F32;
    hl_f32 b = hl_select_f32(large, 1.0f, a);
    hl_pair_f32 square = hl_two_mul_f32(b, b), one = hl_two_sum_f32((hl_f32)(1.0f), square.hi);
    one = hl_fast_sum_f32(one.hi, one.lo + square.lo);
    hl_pair_f32 root = hl_pair_sqrt_f32(one), u = hl_fast_sum_f32(root.hi, b);
    u = hl_fast_sum_f32(u.hi, u.lo + root.lo);
    hl_pair_f32 near = hl_two_sum_f32(b, root.hi - 1.0f);
    near = hl_fast_sum_f32(near.hi, near.lo + root.lo);
    u.hi = hl_select_f32(large, a, u.hi);
    u.lo = hl_select_f32(large, 0.0f, u.lo);
    hl_f32 y = hl_log_of_pair_f32(u, near, hl_select_int_f32(large, 1, 0));
    y = hl_select_f32(a < HL_ASINH_TINY_F32, a - a * (a * a) * (float)(1.0 / 6.0), y);
    return hl_flip_f32(y, hl_sign_f32(x));
}

/* log(x + sqrt(x^2 - 1)) likewise; below 1 the root gives NaN. */
HL_FUNCTION hl_f32 hl_acosh_f32(hl_f32 x)
{
    hl_mask_f32 large = x > HL_ASINH_LARGE_F32;
    hl_f32 b = hl_select_f32(large, 2.0f, x);
    hl_pair_f32 square = hl_two_mul_f32(b, b), one = hl_two_sum_f32(square.hi, (hl_f32)(-1.0f));
    one = hl_fast_sum_f32(one.hi, one.lo + square.lo);
    hl_pair_f32 root = hl_pair_sqrt_f32(one), u = hl_fast_sum_f32(b, root.hi);
    u = hl_fast_sum_f32(u.hi, u.lo + root.lo);
    hl_pair_f32 near = hl_two_sum_f32(root.hi, b - 1.0f);
    near = hl_fast_sum_f32(near.hi, near.lo + root.lo);
    u.hi = hl_select_f32(large, x, u.hi);
    u.lo = hl_select_f32(large, 0.0f, u.lo);
    hl_f32 y = hl_log_of_pair_f32(u, near, hl_select_int_f32(large, 1, 0));
    return hl_select_f32(x >= 1.0f, y, HL_NAN_F32);
}

/* log(1 + 2|x| / (1 - |x|)) / 2 */
HL_FUNCTION hl_f32 hl_atanh_f32(hl_f32 x)
{
    hl_f32 a = hl_abs_f32(x);
    hl_pair_f32 top = {a + a, (hl_f32)(0.0f)}, low = hl_fast_sum_f32((hl_f32)(1.0f), -a);
    hl_pair_f32 q = hl_pair_div_f32(top, low);
    q = hl_fast_sum_f32(q.hi, q.lo);
    hl_pair_f32 u = hl_two_sum_f32((hl_f32)(1.0f), q.hi);
    u = hl_fast_sum_f32(u.hi, u.lo + q.lo);
    hl_f32 y = 0.5f * hl_log_of_pair_f32(u, q, (hl_i32)(0));
    y = hl_select_f32(a < HL_SINH_TINY_F32, a, y);
    y = hl_select_f32(a == 1.0f, HL_INF_F32, y);
    y = hl_select_f32(a <= 1.0f, y, HL_NAN_F32);
    return hl_flip_f32(y, hl_sign_f32(x));
}

/* The same in float64; the reasons are given above. */

HL_FUNCTION hl_f64 hl_sinh_f64(hl_f64 x)
{
    hl_f64 a = hl_abs_f64(x);
    hl_exp_reduced_f64 e = hl_exp_reduce_f64(a);
    hl_pair_f64 p = hl_expm1_pair_f64(e);
    hl_mask_f64 large = a > HL_SINH_LARGE_F64;
    hl_i64 k = (hl_i64)((hl_u64)e.k - 1);
    hl_pair_f64 half = {hl_scale_f64(p.hi, k), hl_scale_f64(p.lo, k)};
    hl_f64 top = hl_select_f64(large, 0.0, half.hi);
    hl_pair_f64 one = {top, hl_select_f64(large, 0.0, half.lo)};
    hl_pair_f64 two = hl_two_sum_f64((hl_f64)(1.0), 2.0 * one.hi);
    two.lo = two.lo + 2.0 * one.lo;
    hl_pair_f64 q = hl_pair_div_f64(one, two), sum = hl_fast_sum_f64(half.hi, q.hi);
    hl_f64 y = sum.hi + (sum.lo + (half.lo + q.lo));
    y = hl_select_f64(large, half.hi + half.lo, y);
    y = hl_select_f64(a > HL_SINH_ABOVE_F64, HL_INF_F64, y);
    y = hl_select_f64(a < HL_SINH_TINY_F64, a, y);
    return hl_flip_f64(y, hl_sign_f64(x));
}

HL_FUNCTION hl_f64 hl_cosh_f64(hl_f64 x)
{
    hl_f64 a = hl_abs_f64(x);
    hl_exp_reduced_f64 e = hl_exp_reduce_f64(a);
    hl_pair_f64 p = hl_exp_pair_f64(e);
    hl_i64 k = (hl_i64)((hl_u64)e.k - 1);
    hl_pair_f64 half = {hl_scale_f64(p.hi, k), hl_scale_f64(p.lo, k)};
    hl_f64 q = 0.25 / half.hi;
    hl_pair_f64 sum = hl_fast_sum_f64(half.hi, q);
    hl_f64 y = sum.hi + (sum.lo + (half.lo - 4.0 * (q * q) * half.lo));
    return hl_select_f64((a > HL_SINH_ABOVE_F64) | (half.hi == HL_INF_F64), HL_INF_F64, y);
}

HL_FUNCTION hl_f64 hl_tanh_f64(hl_f64 x)
{
    hl_f64 a = hl_abs_f64(x);
    a = a > HL_TANH_LARGE_F64 ? HL_TANH_LARGE_F64 : a;
    hl_exp_reduced_f64 e = hl_exp_reduce_f64(a + a);
    hl_pair_f64 p = hl_expm1_pair_f64(e);
    hl_f64 power = hl_power2_f64(e.k);
    hl_pair_f64 t = {p.hi * power, p.lo * power}, two = hl_two_sum_f64((hl_f64)(2.0), t.hi);
    two.lo = two.lo + t.lo;
    hl_pair_f64 q = hl_pair_div_f64(t, two);
    return hl_flip_f64(q.hi + q.lo, hl_sign_f64(x));
}

HL_FUNCTION hl_f64 hl_asinh_f64(hl_f64 x)
{
    hl_f64 a = hl_abs_f64(x);
    hl_mask_f64 large = a > HL_ASINH_LARGE_F64;
    hl_f64 b = hl_select_f64(large, 1.0, a);
    hl_pair_f64 square = hl_two_mul_f64(b, b), one = hl_two_sum_f64((hl_f64)(1.0), square.hi);
    one = hl_fast_sum_f64(one.hi, one.lo + square.lo);
    hl_pair_f64 root = hl_pair_sqrt_f64(one), u = hl_fast_sum_f64(root.hi, b);
    u = hl_fast_sum_f64(u.hi, u.lo + root.lo);
    hl_pair_f64 near = hl_two_sum_f64(b, root.hi - 1.0);
    near = hl_fast_sum_f64(near.hi, near.lo + root.lo);
    u.hi = hl_select_f64(large, a, u.hi);
    u.lo = hl_select_f64(large, 0.0, u.lo);
    hl_f64 y = hl_log_of_pair_f64(u, near, hl_select_int_f64(large, 1, 0));
    y = hl_select_f64(a < HL_ASINH_TINY_F64, a - a * (a * a) * (double)(1.0 / 6.0), y);
    return hl_flip_f64(y, hl_sign_f64(x));
}

HL_FUNCTION hl_f64 hl_acosh_f64(hl_f64 x)
{
    hl_mask_f64 large = x > HL_ASINH_LARGE_F64;
    hl_f64 b = hl_select_f64(large, 2.0, x);
    hl_pair_f64 square = hl_two_mul_f64(b, b), one = hl_two_sum_f64(square.hi, (hl_f64)(-1.0));
    one = hl_fast_sum_f64(one.hi, one.lo + square.lo);
    hl_pair_f64 root = hl_pair_sqrt_f64(one), u = hl_fast_sum_f64(b, root.hi);
    u = hl_fast_sum_f64(u.hi, u.lo + root.lo);
    hl_pair_f64 near = hl_two_sum_f64(root.hi, b - 1.0);
    near = hl_fast_sum_f64(near.hi, near.lo + root.lo);
    u.hi = hl_select_f64(large, x, u.hi);
    u.lo = hl_select_f64(large, 0.0, u.lo);
    hl_f64 y = hl_log_of_pair_f64(u, near, hl_select_int_f64(large, 1, 0));
    return hl_select_f64(x >= 1.0, y, HL_NAN_F64);
}

HL_FUNCTION hl_f64 hl_atanh_f64(hl_f64 x)
{
    hl_f64 a = hl_abs_f64(x);
    hl_pair_f64 top = {a + a, (hl_f64)(0.0)}, low = hl_fast_sum_f64((hl_f64)(1.0), -a);
    hl_pair_f64 q = hl_pair_div_f64(top, low);
    q = hl_fast_sum_f64(q.hi, q.lo);
    hl_pair_f64 u = hl_two_sum_f64((hl_f64)(1.0), q.hi);
    u = hl_fast_sum_f64(u.hi, u.lo + q.lo);
    hl_f64 y = 0.5 * hl_log_of_pair_f64(u, q, (hl_i64)(0));
    y = hl_select_f64(a < HL_SINH_TINY_F64, a, y);
    y = hl_select_f64(a == 1.0, HL_INF_F64, y);
    y = hl_select_f64(a <= 1.0, y, HL_NAN_F64);
    return hl_flip_f64(y, hl_sign_f64(x));
}

#endif
