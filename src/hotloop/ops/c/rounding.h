/* The exact functions: rounding to integers, remainders, and the fused multiply-add in software. */
#ifndef HL_ROUNDING_H
#define HL_ROUNDING_H

#include "lanes.h"

/* Up to these the quotient and the product in fmod stay exact; beyond, its slow path takes over. */
#define HL_FMOD_QUOTIENT_F32 0x1p22f
#define HL_FMOD_QUOTIENT_F64 0x1p51
#define HL_FMOD_LARGE_F32 0x1p125f
#define HL_FMOD_LARGE_F64 0x1p1021
#define HL_FMOD_BITS_F32 20
#define HL_FMOD_BITS_F64 49

/* Adding this to a smaller number >= 0 rounds it to an integer, half to even. */
#define HL_UNIT_F32 0x1p23f
#define HL_UNIT_F64 0x1p52

/* Slow paths of fmod, on finite a >= b > 0: b is brought near a by a power of two, the exact
 * remainder by that is taken, and so on: at most 15 (44) rounds. */
HL_SLOW float hl_fmod_far_f32(float a, float b)
{
    uint32_t bits;
    float lifted = b * 0x1p24f;
    if (!(b < 0x1p-126f))
        lifted = b;
    __builtin_memcpy(&bits, &lifted, sizeof bits);
    int32_t b_exponent = (int32_t)(bits >> 23) - (b < 0x1p-126f ? 24 : 0);
    while (a >= b) {
        __builtin_memcpy(&bits, &a, sizeof bits);
        /* two subnormal numbers are near each other */
        int32_t n = a < 0x1p-126f ? 0 : (int32_t)(bits >> 23) - b_exponent - HL_FMOD_BITS_F32;
        float near = b, back = 1.0f;
        for (; n > 0; n -= 100) {
            bits = (uint32_t)((n < 100 ? n : 100) + 127) << 23;
            float power;
            __builtin_memcpy(&power, &bits, sizeof power);
            near *= power;
        }
        if (a >= 0x1p124f) { /* keeps the product in range; both are large, so this is exact */
            a *= 0.125f;
            near *= 0.125f;
            back = 8.0f;
        }
        float count = (a / near + HL_UNIT_F32) - HL_UNIT_F32;
        float p = count * near, head[2] = {count, near};
        for (int i = 0; i < 2; i++) {
            __builtin_memcpy(&bits, &head[i], sizeof bits);
            bits = (bits + HL_HALF_UP_F32) & ~HL_HALF_F32;
            __builtin_memcpy(&head[i], &bits, sizeof bits);
        }
        float c = count - head[0], d = near - head[1];
        float e = (((head[0] * head[1] - p) + head[0] * d) + c * head[1]) + c * d;
        a = (a - p) - e;
        a = (a < 0.0f ? a + near : a) * back;
    }
    return a;
}

HL_SLOW double hl_fmod_far_f64(double a, double b)
{
    uint64_t bits;
    double lifted = b * 0x1p54;
    if (!(b < 0x1p-1022))
        lifted = b;
    __builtin_memcpy(&bits, &lifted, sizeof bits);
    int32_t b_exponent = (int32_t)(bits >> 52) - (b < 0x1p-1022 ? 54 : 0);
    while (a >= b) {
        __builtin_memcpy(&bits, &a, sizeof bits);
        int32_t n = a < 0x1p-1022 ? 0 : (int32_t)(bits >> 52) - b_exponent - HL_FMOD_BITS_F64;
        double near = b, back = 1.0;
        for (; n > 0; n -= 1000) {
            bits = (uint64_t)((n < 1000 ? n : 1000) + 1023) << 52;
            double power;
            __builtin_memcpy(&power, &bits, sizeof power);
            near *= power;
        }
        if (a >= 0x1p1020) {
            a *= 0.125;
            near *= 0.125;
            back = 8.0;
        }
        double count = (a / near + HL_UNIT_F64) - HL_UNIT_F64;
        double p = count * near, head[2] = {count, near};
        for (int i = 0; i < 2; i++) {
            __builtin_memcpy(&bits, &head[i], sizeof bits);
            bits = (bits + HL_HALF_UP_F64) & ~HL_HALF_F64;
            __builtin_memcpy(&head[i], &bits, sizeof bits);
        }
        double c = count - head[0], d = near - head[1];
        double e = (((head[0] * head[1] - p) + head[0] * d) + c * head[1]) + c * d;
        a = (a - p) - e;
        a = (a < 0.0 ? a + near : a) * back;
    }
    return a;
}

/* Position of the highest bit of x > 0; no builtin, as it is a library call on some targets. */
static inline int32_t hl_top_bit(uint64_t x)
{
    int32_t n = 0;
    for (int32_t step = 32; step > 0; step >>= 1) {
        uint32_t wide = x >> step != 0;
        n += wide ? step : 0;
        x = wide ? x >> step : x;
    }
    return n;
}

/* x y + z rounded once. All in integers: the 48-bit product and z are lined up in 64 bits, with
 * what falls off at the right kept as one sticky bit. */
HL_SLOW float hl_fma_one_f32(float x, float y, float z)
{
    uint32_t a, b, c;
    __builtin_memcpy(&a, &x, sizeof a);
    __builtin_memcpy(&b, &y, sizeof b);
    __builtin_memcpy(&c, &z, sizeof c);
    int32_t ea = (int32_t)(a >> 23 & 255u), eb = (int32_t)(b >> 23 & 255u);
    int32_t ec = (int32_t)(c >> 23 & 255u);
    if (ec == 255 && ea != 255 && eb != 255)
        return z + z; /* also where the product alone would overflow */
    if (ea == 255 || eb == 255 || x == 0.0f || y == 0.0f)
        return x * y + z; /* the product is exact */
    if (z == 0.0f)
        return x * y;
    uint64_t ma = (a & HL_FRACTION_F32) | (ea ? 1u << 23 : 0u);
    uint64_t mb = (b & HL_FRACTION_F32) | (eb ? 1u << 23 : 0u);
    uint64_t small = (c & HL_FRACTION_F32) | (ec ? 1u << 23 : 0u), large = ma * mb;
    uint32_t sign = (a ^ b) >> 31, small_sign = c >> 31;
    int32_t shift = 61 - hl_top_bit(large), e = (ea ? ea : 1) + (eb ? eb : 1) - 300 - shift;
    large <<= shift;
    shift = 61 - hl_top_bit(small);
    int32_t small_e = (ec ? ec : 1) - 150 - shift;
    small <<= shift;
    if (small_e > e || (small_e == e && small > large)) {
        uint64_t m = large;
        large = small;
        small = m;
        uint32_t s = sign;
        sign = small_sign;
        small_sign = s;
        int32_t t = e;
        e = small_e;
        small_e = t;
    }
    shift = e - small_e;
    if (shift > 62)
        small = 1;
    else if (shift > 0)
        small = small >> shift | (small << (64 - shift) != 0);
    large = sign == small_sign ? large + small : large - small;
    if (large == 0)
        return 0.0f;
    int32_t last = e + hl_top_bit(large) - 23; /* exponent of the last bit kept */
    last = last < -149 ? -149 : last;
    shift = last - e;
    uint32_t m = 0;
    if (shift <= 0) {
        m = (uint32_t)(large << -shift);
    } else if (shift < 64) {
        uint64_t off = large << (64 - shift), tie = 1ull << 63;
        m = (uint32_t)(large >> shift);
        m += off > tie || (off == tie && (m & 1u));
    }
    last += 149;
    uint32_t bits = last > 254 ? 0x7f800000u : ((uint32_t)last << 23) + m;
    bits = (bits > 0x7f800000u ? 0x7f800000u : bits) | sign << 31;
    __builtin_memcpy(&z, &bits, sizeof z);
    return z;
}

/* 128 bits for float64. */
typedef struct {
    uint64_t hi, lo;
} hl_wide;

static inline hl_wide hl_wide_left(hl_wide x, int32_t n)
{
    hl_wide y = {x.lo << (n & 63), 0};
    if (n == 0)
        return x;
    if (n < 64) {
        y.hi = x.hi << n | x.lo >> (64 - n);
        y.lo = x.lo << n;
    }
    return y;
}

/* Shift right; whatever falls off is kept as one sticky bit at the end. */
static inline hl_wide hl_wide_right(hl_wide x, int32_t n)
{
    hl_wide y = {0, (x.hi | x.lo) != 0};
    if (n == 0)
        return x;
    if (n < 64) {
        y.hi = x.hi >> n;
        y.lo = x.hi << (64 - n) | x.lo >> n | (x.lo << (64 - n) != 0);
    } else if (n == 64) {
        y.lo = x.hi | (x.lo != 0);
    } else if (n < 128) {
        y.lo = x.hi >> (n - 64) | ((x.hi << (128 - n) | x.lo) != 0);
    }
    return y;
}

static inline int32_t hl_wide_top(hl_wide x)
{
    return x.hi ? 64 + hl_top_bit(x.hi) : hl_top_bit(x.lo);
}

static inline hl_wide hl_wide_product(uint64_t a, uint64_t b)
{
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), cross = a0 * b1 + (uint32_t)middle;
    hl_wide y = {a1 * b1 + (middle >> 32) + (cross >> 32), cross << 32 | (uint32_t)low};
    return y;
}

HL_SLOW double hl_fma_one_f64(double x, double y, double z)
{
    uint64_t a, b, c;
    __builtin_memcpy(&a, &x, sizeof a);
    __builtin_memcpy(&b, &y, sizeof b);
    __builtin_memcpy(&c, &z, sizeof c);
    int32_t ea = (int32_t)(a >> 52 & 2047u), eb = (int32_t)(b >> 52 & 2047u);
    int32_t ec = (int32_t)(c >> 52 & 2047u);
    if (ec == 2047 && ea != 2047 && eb != 2047)
        return z + z; /* also where the product alone would overflow */
    if (ea == 2047 || eb == 2047 || x == 0.0 || y == 0.0)
        return x * y + z;
    if (z == 0.0)
        return x * y;
    uint64_t ma = (a & HL_FRACTION_F64) | (ea ? 1ull << 52 : 0u);
    uint64_t mb = (b & HL_FRACTION_F64) | (eb ? 1ull << 52 : 0u);
    hl_wide large = hl_wide_product(ma, mb);
    hl_wide small = {0, (c & HL_FRACTION_F64) | (ec ? 1ull << 52 : 0u)};
    uint64_t sign = (a ^ b) >> 63, small_sign = c >> 63;
    int32_t shift = 125 - hl_wide_top(large), e = (ea ? ea : 1) + (eb ? eb : 1) - 2150 - shift;
    large = hl_wide_left(large, shift);
    shift = 125 - hl_wide_top(small);
    int32_t small_e = (ec ? ec : 1) - 1075 - shift;
    small = hl_wide_left(small, shift);
    int more = small.hi > large.hi || (small.hi == large.hi && small.lo > large.lo);
    if (small_e > e || (small_e == e && more)) {
        hl_wide m = large;
        large = small;
        small = m;
        uint64_t s = sign;
        sign = small_sign;
        small_sign = s;
        int32_t t = e;
        e = small_e;
        small_e = t;
    }
    small = hl_wide_right(small, e - small_e);
    if (sign == small_sign) {
        large.lo += small.lo;
        large.hi += small.hi + (large.lo < small.lo);
    } else {
        uint64_t borrow = large.lo < small.lo;
        large.lo -= small.lo;
        large.hi -= small.hi + borrow;
    }
    if ((large.hi | large.lo) == 0)
        return 0.0;
    int32_t last = e + hl_wide_top(large) - 52;
    last = last < -1074 ? -1074 : last;
    shift = last - e;
    uint64_t m;
    if (shift <= 0) {
        m = hl_wide_left(large, -shift).lo;
    } else { /* keep two more bits: the half and the sticky one */
        m = shift > 2 ? hl_wide_right(large, shift - 2).lo : hl_wide_left(large, 2 - shift).lo;
        m = (m >> 2) + ((m & 3u) > 2u || (m & 7u) == 6u);
    }
    last += 1074;
    uint64_t bits = last > 2046 ? 0x7ff0000000000000u : ((uint64_t)last << 52) + m;
    bits = (bits > 0x7ff0000000000000u ? 0x7ff0000000000000u : bits) | sign << 63;
    __builtin_memcpy(&z, &bits, sizeof z);
    return z;
}

#ifdef HL_FLOOR_F32
HL_FUNCTION hl_f32 hl_round_f32(hl_f32 x)
{
    return HL_ROUND_F32(x);
}

HL_FUNCTION hl_f32 hl_floor_f32(hl_f32 x)
{
    return HL_FLOOR_F32(x);
}

HL_FUNCTION hl_f32 hl_ceil_f32(hl_f32 x)
{
    return HL_CEIL_F32(x);
}

HL_FUNCTION hl_f32 hl_trunc_f32(hl_f32 x)
{
    return HL_TRUNC_F32(x);
}
#else
/* |x| rounded to an integer, half to even, for |x| < 2^23 */
HL_INLINE hl_f32 hl_nearest_f32(hl_f32 x)
{
    return (hl_abs_f32(x) + HL_UNIT_F32) - HL_UNIT_F32;
}

/* y >= 0 with the sign of x; x itself where it is too large for a fraction, or NaN. */
HL_INLINE hl_f32 hl_rounded_f32(hl_f32 x, hl_f32 y)
{
    return hl_select_f32(hl_abs_f32(x) < HL_UNIT_F32, hl_flip_f32(y, hl_sign_f32(x)), x);
}

/* Towards 0, or away from it where `away`. */
HL_INLINE hl_f32 hl_directed_f32(hl_f32 x, hl_mask_f32 away)
{
    hl_f32 a = hl_abs_f32(x), y = hl_nearest_f32(x);
    hl_f32 outer = hl_select_f32(y < a, y + 1.0f, y), inner = hl_select_f32(y > a, y - 1.0f, y);
    return hl_rounded_f32(x, hl_select_f32(away, outer, inner));
}

HL_FUNCTION hl_f32 hl_round_f32(hl_f32 x)
{
    return hl_rounded_f32(x, hl_nearest_f32(x));
}

HL_FUNCTION hl_f32 hl_floor_f32(hl_f32 x)
{
    return hl_directed_f32(x, x < 0.0f);
}

HL_FUNCTION hl_f32 hl_ceil_f32(hl_f32 x)
{
    return hl_directed_f32(x, x > 0.0f);
}

HL_FUNCTION hl_f32 hl_trunc_f32(hl_f32 x)
{
    return hl_directed_f32(x, (hl_mask_f32)(0));
}
#endif

HL_FUNCTION hl_f32 hl_copysign_f32(hl_f32 x, hl_f32 y)
{
    return hl_from_bits_f32(hl_bits_f32(hl_abs_f32(x)) | hl_sign_f32(y));
}

/* With n the quotient rounded to nearest, n b is exact as a pair and |a - n b| <= b/2 is exact. */
HL_FUNCTION hl_f32 hl_fmod_f32(hl_f32 x, hl_f32 y)
{
    hl_f32 a = hl_abs_f32(x), b = hl_abs_f32(y), quotient = a / b;
    hl_pair_f32 p = hl_two_mul_f32((quotient + HL_UNIT_F32) - HL_UNIT_F32, b);
    hl_f32 rest = (a - p.hi) - p.lo;
    rest = hl_select_f32(rest < 0.0f, rest + b, rest);
    hl_mask_f32 inside = a < b, near = (a < HL_FMOD_LARGE_F32) & (quotient < HL_FMOD_QUOTIENT_F32);
    rest = hl_select_f32(inside, a, rest);
    if (HL_RARELY(hl_any_f32((inside | near) == 0))) {
        for (int i = 0; i < HL_LANES; i++) {
            float left = HL_LANE(a, i), right = HL_LANE(b, i);
            if (!(right > 0.0f) || !(left < HL_INF_F32))
                HL_LANE(rest, i) = HL_NAN_F32;
            else if (left >= right)
                HL_LANE(rest, i) = hl_fmod_far_f32(left, right);
        }
    }
    return hl_flip_f32(rest, hl_sign_f32(x));
}

/* Python's x % y: the sign of y, also on zeros. */
HL_FUNCTION hl_f32 hl_mod_f32(hl_f32 x, hl_f32 y)
{
    hl_f32 rest = hl_fmod_f32(x, y);
    hl_f32 moved = hl_select_f32((y < 0.0f) != (rest < 0.0f), rest + y, rest);
    return hl_select_f32(rest == 0.0f, hl_copysign_f32(rest, y), moved);
}

/* Python's x // y, step by step as CPython's float_divmod takes it. */
HL_FUNCTION hl_f32 hl_floordiv_f32(hl_f32 x, hl_f32 y)
{
    hl_f32 rest = hl_fmod_f32(x, y), quotient = x / y, steps = (x - rest) / y;
    hl_mask_f32 moved = ((y < 0.0f) != (rest < 0.0f)) & (rest != 0.0f);
    steps = hl_select_f32(moved, steps - 1.0f, steps);
    hl_f32 whole = hl_floor_f32(steps);
    whole = hl_select_f32(steps - whole > 0.5f, whole + 1.0f, whole);
    whole = hl_select_f32(steps == 0.0f, hl_copysign_f32((hl_f32)(0.0f), quotient), whole);
    return hl_select_f32(y == 0.0f, quotient, whole);
}

/* Correctly rounded; a target with the instruction uses that instead, for the same bits. */
HL_FUNCTION hl_f32 hl_fma_f32(hl_f32 x, hl_f32 y, hl_f32 z)
{
    hl_f32 result = z;
    for (int i = 0; i < HL_LANES; i++)
        HL_LANE(result, i) = hl_fma_one_f32(HL_LANE(x, i), HL_LANE(y, i), HL_LANE(z, i));
    return result;
}

/* The same in float64; the reasons are given above. */

#ifdef HL_FLOOR_F64
HL_FUNCTION hl_f64 hl_round_f64(hl_f64 x)
{
    return HL_ROUND_F64(x);
}

HL_FUNCTION hl_f64 hl_floor_f64(hl_f64 x)
{
    return HL_FLOOR_F64(x);
}

HL_FUNCTION hl_f64 hl_ceil_f64(hl_f64 x)
{
    return HL_CEIL_F64(x);
}

HL_FUNCTION hl_f64 hl_trunc_f64(hl_f64 x)
{
    return HL_TRUNC_F64(x);
}
#else
HL_INLINE hl_f64 hl_nearest_f64(hl_f64 x)
{
    return (hl_abs_f64(x) + HL_UNIT_F64) - HL_UNIT_F64;
}

HL_INLINE hl_f64 hl_rounded_f64(hl_f64 x, hl_f64 y)
{
    return hl_select_f64(hl_abs_f64(x) < HL_UNIT_F64, hl_flip_f64(y, hl_sign_f64(x)), x);
}

HL_INLINE hl_f64 hl_directed_f64(hl_f64 x, hl_mask_f64 away)
{
    hl_f64 a = hl_abs_f64(x), y = hl_nearest_f64(x);
    hl_f64 outer = hl_select_f64(y < a, y + 1.0, y), inner = hl_select_f64(y > a, y - 1.0, y);
    return hl_rounded_f64(x, hl_select_f64(away, outer, inner));
}

HL_FUNCTION hl_f64 hl_round_f64(hl_f64 x)
{
    return hl_rounded_f64(x, hl_nearest_f64(x));
}

HL_FUNCTION hl_f64 hl_floor_f64(hl_f64 x)
{
    return hl_directed_f64(x, x < 0.0);
}

HL_FUNCTION hl_f64 hl_ceil_f64(hl_f64 x)
{
    return hl_directed_f64(x, x > 0.0);
}

HL_FUNCTION hl_f64 hl_trunc_f64(hl_f64 x)
{
    return hl_directed_f64(x, (hl_mask_f64)(0));
}
#endif

HL_FUNCTION hl_f64 hl_copysign_f64(hl_f64 x, hl_f64 y)
{
    return hl_from_bits_f64(hl_bits_f64(hl_abs_f64(x)) | hl_sign_f64(y));
}

HL_FUNCTION hl_f64 hl_fmod_f64(hl_f64 x, hl_f64 y)
{
    hl_f64 a = hl_abs_f64(x), b = hl_abs_f64(y), quotient = a / b;
    hl_pair_f64 p = hl_two_mul_f64((quotient + HL_UNIT_F64) - HL_UNIT_F64, b);
    hl_f64 rest = (a - p.hi) - p.lo;
    rest = hl_select_f64(rest < 0.0, rest + b, rest);
    hl_mask_f64 inside = a < b, near = (a < HL_FMOD_LARGE_F64) & (quotient < HL_FMOD_QUOTIENT_F64);
    rest = hl_select_f64(inside, a, rest);
    if (HL_RARELY(hl_any_f64((inside | near) == 0))) {
        for (int i = 0; i < HL_LANES; i++) {
            double left = HL_LANE(a, i), right = HL_LANE(b, i);
            if (!(right > 0.0) || !(left < HL_INF_F64))
                HL_LANE(rest, i) = HL_NAN_F64;
            else if (left >= right)
                HL_LANE(rest, i) = hl_fmod_far_f64(left, right);
        }
    }
    return hl_flip_f64(rest, hl_sign_f64(x));
}

HL_FUNCTION hl_f64 hl_mod_f64(hl_f64 x, hl_f64 y)
{
    hl_f64 rest = hl_fmod_f64(x, y);
    hl_f64 moved = hl_select_f64((y < 0.0) != (rest < 0.0), rest + y, rest);
    return hl_select_f64(rest == 0.0, hl_copysign_f64(rest, y), moved);
}

HL_FUNCTION hl_f64 hl_floordiv_f64(hl_f64 x, hl_f64 y)
{
    hl_f64 rest = hl_fmod_f64(x, y), quotient = x / y, steps = (x - rest) / y;
    hl_mask_f64 moved = ((y < 0.0) != (rest < 0.0)) & (rest != 0.0);
    steps = hl_select_f64(moved, steps - 1.0, steps);
    hl_f64 whole = hl_floor_f64(steps);
    whole = hl_select_f64(steps - whole > 0.5, whole + 1.0, whole);
    whole = hl_select_f64(steps == 0.0, hl_copysign_f64((hl_f64)(0.0), quotient), whole);
    return hl_select_f64(y == 0.0, quotient, whole);
}

HL_FUNCTION hl_f64 hl_fma_f64(hl_f64 x, hl_f64 y, hl_f64 z)
{
    hl_f64 result = z;
    for (int i = 0; i < HL_LANES; i++)
        HL_LANE(result, i) = hl_fma_one_f64(HL_LANE(x, i), HL_LANE(y, i), HL_LANE(z, i));
    return result;
}

#endif
