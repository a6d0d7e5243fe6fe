/* sin, cos, tan and their inverses.
 *
 * Arguments are reduced to |r| <= pi/4 as a pair, with pi/2 in parts (Cody and Waite 1980); huge
 * ones go to the integer method of Payne and Hanek (1983), out of line. Both polynomials are always
 * evaluated and one is selected, so that every lane takes the same way.
 */
#ifndef HL_TRIGONOMETRIC_H
#define HL_TRIGONOMETRIC_H

#include "lanes.h"

/* coefficients: written by stencilgen/coefficients.py, do not edit */
#define HL_HALF_PI_0_F32 0x1.92p0f
#define HL_HALF_PI_1_F32 0x1.fb4p-12f
#define HL_HALF_PI_2_F32 0x1.4444p-24f
#define HL_HALF_PI_3_F32 -0x1.2e7b96p-40f
#define HL_HALF_PI_0_F64 0x1.921fb5p0
#define HL_HALF_PI_1_F64 0x1.110b46p-26
#define HL_HALF_PI_2_F64 0x1.1a626331p-54
#define HL_HALF_PI_3_F64 0x1.1701b839a252p-88
#define HL_PI_2_0_F32 0x1.921fb6p0f
#define HL_PI_2_1_F32 -0x1.777a5cp-25f
#define HL_PI_2_0_F64 0x1.921fb54442d18p0
#define HL_PI_2_1_F64 0x1.1a62633145c07p-54
#define HL_PI_3_4_0_F32 0x1.2d97c8p1f
#define HL_PI_3_4_1_F32 -0x1.99bc5cp-28f
#define HL_PI_3_4_0_F64 0x1.2d97c7f3321d2p1
#define HL_PI_3_4_1_F64 0x1.a79394c9e8a0ap-54
#define HL_TWO_OVER_PI_F32 0x1.45f306p-1f
#define HL_TWO_OVER_PI_F64 0x1.45f306dc9c883p-1
/* (sin(x)/x - 1) / z, z = x*x, |x| <= pi/4: error 2^-32.52 */
#define HL_SIN_FIRST_F32 -0x1.555556p-3f
#define HL_SIN_F32 0x1.111174p-7f, -0x1.a05954p-13f, 0x1.7c2c4ep-19f
/* (sin(x)/x - 1) / z, z = x*x, |x| <= pi/4: error 2^-63.23 */
#define HL_SIN_FIRST_F64 -0x1.5555555555555p-3
#define HL_SIN_F64 0x1.1111111111069p-7, -0x1.a01a019ffe549p-13, 0x1.71de3a33ac7e9p-19, \
    -0x1.ae642c600f3c7p-26, 0x1.6109c9dcf040bp-33, -0x1.a00524bdd5831p-41
/* (cos(x) - 1 + z/2) / z^2, z = x*x, |x| <= pi/4: error 2^-32.96 */
#define HL_COS_F32 0x1.55554ap-5f, -0x1.6c0c26p-10f, 0x1.99e714p-16f
/* (cos(x) - 1 + z/2) / z^2, z = x*x, |x| <= pi/4: error 2^-63.84 */
#define HL_COS_F64 0x1.555555555554ap-5, -0x1.6c16c16c14ep-10, 0x1.a01a019c5c39p-16, \
    -0x1.27e4f7cd31591p-22, 0x1.1ee9c33542822p-29, -0x1.8f99cb5b8edcep-37
/* (atan(x)/x - 1) / z, z = x*x, |x| <= tan(pi/8): error 2^-30.41 */
#define HL_ATAN_F32 -0x1.55554ap-2f, 0x1.9991ep-3f, -0x1.23b964p-3f, 0x1.b21fbap-4f, \
    -0x1.f2ca24p-5f
/* (atan(x)/x - 1) / z, z = x*x, |x| <= tan(pi/8): error 2^-63.84 */
#define HL_ATAN_F64 -0x1.5555555555554p-2, 0x1.9999999999584p-3, -0x1.249249246f58dp-3, \
    0x1.c71c71b458d1ep-4, -0x1.745d1450485a5p-4, 0x1.3b1364f03f47fp-4, -0x1.110beb794dcdcp-4, \
    0x1.e167bbb65fce8p-5, -0x1.ab3bf6c34b5aap-5, 0x1.6fe500a6b36d3p-5, -0x1.0fd585780bceap-5, \
    0x1.e84db4bf9f38fp-7
/* (asin(x)/x - 1) / z, z = x*x, |x| <= 1/2: error 2^-27.6 */
#define HL_ASIN_F32 0x1.5555cap-3f, 0x1.33015ep-4f, 0x1.748cbap-5f, 0x1.8b8e3ap-6f, 0x1.59f90ap-5f
/* (asin(x)/x - 1) / z, z = x*x, |x| <= 1/2: error 2^-55.88 */
#define HL_ASIN_F64 0x1.5555555555389p-3, 0x1.333333336f605p-4, 0x1.6db6db41e23d6p-5, \
    0x1.f1c72c6c1c7bp-6, 0x1.6e89ef49c8f6bp-6, 0x1.1c6c2ecd6ee6ep-6, 0x1.c6f7a3f7f1317p-7, \
    0x1.8eec20188270ep-7, 0x1.aa639911dd6ffp-8, 0x1.40f2a5180ce5bp-6, -0x1.0b69511222016p-6, \
    0x1.05fb1d525d0ecp-5
#define HL_TWO_OVER_PI_F32_WORDS 0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, \
    0xdb629599u, 0x3c439041u, 0xfe5163abu
#define HL_TWO_OVER_PI_F64_WORDS 0u, 0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, \
    0xdb629599u, 0x3c439041u, 0xfe5163abu, 0xdebbc561u, 0xb7246e3au, 0x424dd2e0u, 0x06492eeau, \
    0x09d1921cu, 0xfe1deb1cu, 0xb129a73eu, 0xe88235f5u, 0x2ebb4484u, 0xe99c7026u, 0xb45f7e41u, \
    0x3991d639u, 0x835339f4u, 0x9c845f8bu, 0xbdf9283bu, 0x1ff897ffu, 0xde05980fu, 0xef2f118bu, \
    0x5a0a6d1fu, 0x6d367ecfu, 0x27cb09b7u, 0x4f463f66u, 0x9e5fea2du, 0x7527bac7u, 0xebe5f17bu, \
    0x3d0739f7u, 0x8a5292eau, 0x6bfb5fb1u, 0x1f8d5d08u, 0x56033046u
/* coefficients: end */

/* Largest |x| that the parts of pi/2 reduce: the multiple must stay below 2^9 and 2^20. */
#define HL_REDUCIBLE_F32 800.0f
#define HL_REDUCIBLE_F64 1.6e6

/* Scales of atan2: see there. */
#define HL_ATAN2_LARGE_F32 0x1p100f
#define HL_ATAN2_DOWN_F32 0x1p-30f
#define HL_ATAN2_SMALL_F32 0x1p40f
#define HL_ATAN2_UP_F32 0x1p75f
#define HL_ATAN2_LARGE_F64 0x1p1000
#define HL_ATAN2_DOWN_F64 0x1p-100
#define HL_ATAN2_SMALL_F64 0x1p400
#define HL_ATAN2_UP_F64 0x1p600

/* start + s * polynomial(z) */
#define HL_SIN_ADD_F32(start, s, z) hl_add_poly4_f32(start, s, z, HL_SIN_FIRST_F32, HL_SIN_F32)
#define HL_SIN_ADD_F64(start, s, z) hl_add_poly7_f64(start, s, z, HL_SIN_FIRST_F64, HL_SIN_F64)
/* the same without the first coefficient */
#define HL_SIN_MORE_F32(start, s, z) hl_add_poly3_f32(start, s, z, HL_SIN_F32)
#define HL_SIN_MORE_F64(start, s, z) hl_add_poly6_f64(start, s, z, HL_SIN_F64)
#define HL_COS_ADD_F32(start, s, z) hl_add_poly3_f32(start, s, z, HL_COS_F32)
#define HL_COS_ADD_F64(start, s, z) hl_add_poly6_f64(start, s, z, HL_COS_F64)
#define HL_ATAN_ADD_F32(start, s, z) hl_add_poly5_f32(start, s, z, HL_ATAN_F32)
#define HL_ATAN_ADD_F64(start, s, z) hl_add_poly12_f64(start, s, z, HL_ATAN_F64)
#define HL_ASIN_ADD_F32(start, s, z) hl_add_poly5_f32(start, s, z, HL_ASIN_F32)
#define HL_ASIN_ADD_F64(start, s, z) hl_add_poly12_f64(start, s, z, HL_ASIN_F64)

/* The upper half of a plain number, for products in the slow paths. */
static inline float hl_split_f32(float x)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    bits = (bits + HL_HALF_UP_F32) & ~HL_HALF_F32;
    __builtin_memcpy(&x, &bits, sizeof bits);
    return x;
}

static inline double hl_split_f64(double x)
{
    uint64_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    bits = (bits + HL_HALF_UP_F64) & ~HL_HALF_F64;
    __builtin_memcpy(&x, &bits, sizeof bits);
    return x;
}

/* x = quadrant * pi/2 + hi + lo, |hi| <= pi/4; only the low two bits of quadrant count. */
typedef struct {
    float hi, lo;
    uint32_t quadrant;
} hl_huge_f32;

typedef struct {
    double hi, lo;
    uint32_t quadrant;
} hl_huge_f64;

typedef struct {
    hl_f32 hi, lo;
    hl_u32 quadrant;
} hl_reduced_f32;

typedef struct {
    hl_f64 hi, lo;
    hl_u64 quadrant;
} hl_reduced_f64;

/* Slow path: reduce a finite x >= 800. Source: Payne and Hanek, "Radian reduction for trigonometric
 * functions", SIGNUM 1983: of the product x * 2/pi only the bits between 2^1 and the last that
 * matters are computed. Here 24 x 96 bits; the float nearest to a multiple of pi/2 is 2^-30 off. */
HL_SLOW hl_huge_f32 hl_reduce_huge_f32(float x)
{
    /* 2/pi after 32 zero bits, for exponents below 1 */
    static const uint32_t words[] = {HL_TWO_OVER_PI_F32_WORDS};
    uint32_t bits, sign, w[3];
    __builtin_memcpy(&bits, &x, sizeof bits);
    uint32_t m = (bits & 0x007fffffu) | 0x00800000u;
    uint32_t start = (bits >> 23) + (32u - 152u); /* the bit of weight 2^1 */
    uint32_t word = start >> 5, shift = start & 31u;
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t two = (uint64_t)words[word + i] << 32 | words[word + i + 1];
        w[i] = (uint32_t)(two >> (32u - shift));
    }
    uint64_t low = (uint64_t)m * w[2];
    uint64_t middle = (uint64_t)m * w[1] + (low >> 32);
    uint64_t turns = ((uint64_t)(m * w[0]) << 32) + middle; /* quarter turns in 2^-62, modulo 4 */
    uint64_t quadrant = (turns + (1ull << 61)) >> 62;
    turns -= quadrant << 62;
    sign = (uint32_t)(turns >> 63);
    turns = sign ? 0u - turns : turns;
    float a = (float)(int32_t)(turns >> 40) * 0x1p-22f;
    float b = (float)(int32_t)((turns >> 18) & 0x3fffffu) * 0x1p-44f;
    float c = (float)(int32_t)(turns & 0x3ffffu) * 0x1p-62f;
    float head = a + b, tail = (b - (head - a)) + c;
    float hi = head + tail, lo = tail - (hi - head);
    /* times pi/2 (Dekker) */
    float h = hl_split_f32(hi), l = hi - h, p = hi * HL_PI_2_0_F32;
    float ph = hl_split_f32(HL_PI_2_0_F32), pl = HL_PI_2_0_F32 - ph;
    float e = (((h * ph - p) + h * pl) + l * ph) + l * pl;
    e += hi * HL_PI_2_1_F32 + lo * HL_PI_2_0_F32;
    hl_huge_f32 y = {sign ? -p : p, sign ? -e : e, (uint32_t)quadrant};
    return y;
}

/* Slow path: the same for a finite x >= 1.6e6, 53 x 192 bits; the nearest float64 is 2^-62 off. */
HL_SLOW hl_huge_f64 hl_reduce_huge_f64(double x)
{
    static const uint32_t words[] = {HL_TWO_OVER_PI_F64_WORDS};
    uint64_t bits;
    uint32_t w[6], r[6];
    __builtin_memcpy(&bits, &x, sizeof bits);
    uint32_t m0 = (uint32_t)bits;
    uint32_t m1 = ((uint32_t)(bits >> 32) & 0x000fffffu) | 0x00100000u;
    uint32_t start = (uint32_t)(bits >> 52) + (64u - 1077u); /* the bit of weight 2^1 */
    uint32_t word = start >> 5, shift = start & 31u;
    for (uint32_t i = 0; i < 6; i++) { /* w[0] is the lowest */
        uint64_t two = (uint64_t)words[word + i] << 32 | words[word + i + 1];
        w[5 - i] = (uint32_t)(two >> (32u - shift));
    }
    uint64_t carry = 0;
    uint32_t before = 0;
    for (uint32_t i = 0; i < 6; i++) {
        uint64_t low = (uint64_t)m0 * w[i] + (uint32_t)carry;
        uint64_t high = (uint64_t)m1 * before + (carry >> 32);
        uint64_t sum = (uint64_t)(uint32_t)low + (uint32_t)high;
        r[i] = (uint32_t)sum;
        carry = (low >> 32) + (high >> 32) + (sum >> 32);
        before = w[i];
    }
    uint32_t quadrant = (r[5] + 0x20000000u) >> 30;
    r[5] -= quadrant << 30;
    uint32_t sign = r[5] >> 31;
    if (sign) { /* negate r[5..2] */
        uint64_t step = 1;
        for (uint32_t i = 2; i < 6; i++) {
            step += (uint32_t)~r[i];
            r[i] = (uint32_t)step;
            step >>= 32;
        }
    }
    double a = (double)r[5] * 0x1p-30, b = (double)r[4] * 0x1p-62;
    double c = (double)r[3] * 0x1p-94, d = (double)r[2] * 0x1p-126;
    double head = a + b, tail = (b - (head - a)) + (c + d);
    double hi = head + tail, lo = tail - (hi - head);
    double h = hl_split_f64(hi), l = hi - h, p = hi * HL_PI_2_0_F64;
    double ph = hl_split_f64(HL_PI_2_0_F64), pl = HL_PI_2_0_F64 - ph;
    double e = (((h * ph - p) + h * pl) + l * ph) + l * pl;
    e += hi * HL_PI_2_1_F64 + lo * HL_PI_2_0_F64;
    hl_huge_f64 y = {sign ? -p : p, sign ? -e : e, quadrant};
    return y;
}

/* Reduce x >= 0. The first two differences are exact, as the parts are short; of the third the
 * error is kept, since x may lie close to a multiple of pi/2. By then x has been cut down to a
 * multiple of the last bit of the third product, so that the fast sum is exact. */
HL_INLINE hl_reduced_f32 hl_reduce_f32(hl_f32 x)
{
    hl_f32 shifted = x * HL_TWO_OVER_PI_F32 + HL_MAGIC_F32, n = shifted - HL_MAGIC_F32;
    hl_f32 a = HL_EXACT_F32(-n, HL_HALF_PI_1_F32, HL_EXACT_F32(-n, HL_HALF_PI_0_F32, x));
    hl_f32 hi = HL_EXACT_F32(-n, HL_HALF_PI_2_F32, a);
    hl_f32 lo = HL_EXACT_F32(-n, HL_HALF_PI_2_F32, a - hi);
    hl_reduced_f32 y = {hi, lo - n * HL_HALF_PI_3_F32, hl_bits_f32(shifted)};
    hl_mask_f32 huge = x > HL_REDUCIBLE_F32;
    if (HL_RARELY(hl_any_f32(huge))) {
        for (int i = 0; i < HL_LANES; i++) {
            float lane = HL_LANE(x, i);
            if (lane > HL_REDUCIBLE_F32 && lane < HL_INF_F32) {
                hl_huge_f32 one = hl_reduce_huge_f32(lane);
                HL_LANE(y.hi, i) = one.hi;
                HL_LANE(y.lo, i) = one.lo;
                HL_LANE(y.quadrant, i) = one.quadrant;
            } else if (lane > HL_REDUCIBLE_F32) {
                HL_LANE(y.hi, i) = HL_NAN_F32;
            }
        }
    }
    return y;
}

HL_INLINE hl_f32 hl_sin_reduced_f32(hl_f32 hi, hl_f32 lo)
{
    hl_f32 z = hi * hi;
    return hi + HL_SIN_ADD_F32(HL_EXACT_F32(-0.5f, z * lo, lo), hi * z, z);
}

HL_INLINE hl_f32 hl_cos_reduced_f32(hl_f32 hi, hl_f32 lo)
{
    hl_f32 z = hi * hi, near = HL_EXACT_F32(-0.5f, z, 1.0f);
    return near + HL_COS_ADD_F32(HL_EXACT_F32(-0.5f, z, 1.0f - near) - hi * lo, z * z, z);
}

/* Sine in quarter turns: the shifted one is the cosine. */
HL_INLINE hl_f32 hl_sin_shifted_f32(hl_f32 x, hl_u32 shift, hl_u32 sign)
{
    hl_reduced_f32 r = hl_reduce_f32(hl_abs_f32(x));
    hl_u32 quadrant = r.quadrant + shift;
    hl_f32 s = hl_sin_reduced_f32(r.hi, r.lo), c = hl_cos_reduced_f32(r.hi, r.lo);
    hl_f32 y = hl_select_f32((quadrant & 1) != 0, c, s);
    return hl_flip_f32(y, sign ^ ((quadrant & 2) << (HL_WIDTH_F32 - 2)));
}

HL_FUNCTION hl_f32 hl_sin_f32(hl_f32 x)
{
    return hl_sin_shifted_f32(x, (hl_u32)(0), hl_sign_f32(x));
}

HL_FUNCTION hl_f32 hl_cos_f32(hl_f32 x)
{
    return hl_sin_shifted_f32(x, (hl_u32)(1), (hl_u32)(0));
}

/* Sine (hi) and cosine (lo) with the bits of the two functions, for one reduction. In odd quadrants
 * they change places, by exclusive or: a select would become a branch that is hard to predict. */
HL_FUNCTION hl_pair_f32 hl_sincos_f32(hl_f32 x)
{
    hl_reduced_f32 r = hl_reduce_f32(hl_abs_f32(x));
    hl_f32 s = hl_sin_reduced_f32(r.hi, r.lo), c = hl_cos_reduced_f32(r.hi, r.lo);
    hl_u32 odd = (hl_u32)(0) - (r.quadrant & 1), swap = (hl_bits_f32(s) ^ hl_bits_f32(c)) & odd;
    hl_u32 sine = hl_sign_f32(x) ^ ((r.quadrant & 2) << (HL_WIDTH_F32 - 2));
    hl_u32 cosine = ((r.quadrant + 1) & 2) << (HL_WIDTH_F32 - 2);
    hl_pair_f32 y = {hl_flip_f32(s, swap ^ sine), hl_flip_f32(c, swap ^ cosine)};
    return y;
}

/* Quotient of sine and cosine, both as pairs: one division and its remainder. */
HL_FUNCTION hl_f32 hl_tan_f32(hl_f32 x)
{
    hl_reduced_f32 r = hl_reduce_f32(hl_abs_f32(x));
    hl_pair_f32 z = hl_two_mul_f32(r.hi, r.hi);
    /* of the sine, the cubic term is a pair too */
    hl_pair_f32 cube = hl_two_mul_f32(z.hi, r.hi);
    hl_pair_f32 third = hl_two_mul_f32(cube.hi, (hl_f32)(HL_SIN_FIRST_F32));
    hl_pair_f32 s = hl_fast_sum_f32(r.hi, third.hi);
    hl_f32 rest = third.lo + HL_SIN_FIRST_F32 * (cube.lo + z.lo * r.hi);
    rest = (s.lo + rest) + (r.lo - 0.5f * z.hi * r.lo);
    s = hl_fast_sum_f32(s.hi, HL_SIN_MORE_F32(rest, cube.hi * z.hi, z.hi));
    hl_f32 half = 0.5f * z.hi, near = 1.0f - half;
    hl_f32 start = ((1.0f - near) - half) - (0.5f * z.lo + r.hi * r.lo);
    hl_pair_f32 c = hl_fast_sum_f32(near, HL_COS_ADD_F32(start, z.hi * z.hi, z.hi));
    hl_mask_f32 odd = (r.quadrant & 1) != 0;
    hl_pair_f32 top = {hl_select_f32(odd, c.hi, s.hi), hl_select_f32(odd, c.lo, s.lo)};
    hl_pair_f32 low = {hl_select_f32(odd, s.hi, c.hi), hl_select_f32(odd, s.lo, c.lo)};
    hl_pair_f32 q = hl_pair_div_f32(top, low);
    hl_u32 sign = (r.quadrant & 1) << (HL_WIDTH_F32 - 1);
    return hl_flip_f32(q.hi + q.lo, hl_sign_f32(x) ^ sign);
}

/* asin(s) = s + the result, 0 <= s <= 1/2, z = s * s; `rest` corrects s. */
HL_INLINE hl_f32 hl_asin_tail_f32(hl_f32 s, hl_f32 z, hl_f32 rest)
{
    return HL_ASIN_ADD_F32(rest, s * z, z);
}

/* What asin and acos share: above 1/2, asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)). The result is
 * asin of s as a pair, where s is |x| or that root; |x| > 1 gives NaN through the root. */
HL_INLINE hl_pair_f32 hl_asin_folded_f32(hl_f32 x, hl_mask_f32 small)
{
    hl_f32 z = hl_select_f32(small, x * x, 0.5f * (1.0f - x));
    hl_pair_f32 square = {z, (hl_f32)(0.0f)};
    hl_pair_f32 root = hl_pair_sqrt_f32(square);
    hl_f32 s = hl_select_f32(small, x, root.hi), rest = hl_select_f32(small, 0.0f, root.lo);
    hl_pair_f32 y = {s, hl_asin_tail_f32(s, z, rest)};
    return y;
}

HL_FUNCTION hl_f32 hl_asin_f32(hl_f32 x)
{
    hl_f32 a = hl_abs_f32(x);
    hl_mask_f32 small = a <= 0.5f;
    hl_pair_f32 s = hl_asin_folded_f32(a, small);
    hl_pair_f32 w = hl_fast_sum_f32((hl_f32)(HL_PI_2_0_F32), -2.0f * s.hi);
    hl_f32 large = w.hi + (w.lo + (HL_PI_2_1_F32 - 2.0f * s.lo));
    return hl_flip_f32(hl_select_f32(small, s.hi + s.lo, large), hl_sign_f32(x));
}

HL_FUNCTION hl_f32 hl_acos_f32(hl_f32 x)
{
    hl_f32 a = hl_abs_f32(x);
    hl_mask_f32 small = a <= 0.5f;
    hl_pair_f32 s = hl_asin_folded_f32(a, small);
    hl_f32 factor = hl_select_f32(small, -1.0f, 2.0f);
    hl_f32 turn = hl_select_f32(small, 1.0f, hl_select_f32(x < 0.0f, 2.0f, 0.0f));
    hl_f32 signed_factor = hl_flip_f32(factor, hl_sign_f32(x));
    hl_pair_f32 w = hl_fast_sum_f32(turn * HL_PI_2_0_F32, signed_factor * s.hi);
    return w.hi + (w.lo + (turn * HL_PI_2_1_F32 + signed_factor * s.lo));
}

/* The angle turned back: `half` where steep, `quarter` in the middle, else 0; on the left, twice
 * `half` less that, where `more` is three times `quarter`. */
HL_INLINE hl_f32 hl_atan_turn_f32(
    hl_mask_f32 steep, hl_mask_f32 middle, hl_u32 left, float half, float quarter, float more)
{
    hl_mask_f32 is_left = left != 0;
    hl_f32 inner = hl_select_f32(is_left, (hl_f32)(more), (hl_f32)(quarter));
    hl_f32 outer = hl_select_f32(is_left, (hl_f32)(2.0f * half), (hl_f32)(0.0f));
    return hl_select_f32(steep, (hl_f32)(half), hl_select_f32(middle, inner, outer));
}

/* atan(a / b) for a, b >= 0 of moderate size, or pi less it where `left` has the sign bit. The
 * quotient is brought below tan(pi/8) by turning back pi/4 or pi/2: atan(q) = pi/4 +
 * atan((q - 1) / (q + 1)), so that one division serves all three cases. */
HL_INLINE hl_f32 hl_atan_ratio_f32(hl_f32 a, hl_f32 b, hl_u32 left)
{
    hl_mask_f32 steep = a > 2.4142135f * b, middle = a > 0.41421356f * b; /* steep ones too */
    /* -b / a where steep, (a - b) / (a + b) in the middle, else a / b */
    hl_f32 flat = hl_select_f32(steep, 0.0f, a), more = hl_select_f32(middle, -b, 0.0f);
    hl_f32 far = hl_select_f32(middle, a, 0.0f), near = hl_select_f32(steep, 0.0f, b);
    hl_pair_f32 q = hl_pair_div_f32(hl_two_sum_f32(flat, more), hl_two_sum_f32(far, near));
    hl_f32 z = q.hi * q.hi, tail = HL_ATAN_ADD_F32(q.lo, q.hi * z, z);
    hl_f32 base = hl_atan_turn_f32(
        steep, middle, left, HL_PI_2_0_F32, 0.5f * HL_PI_2_0_F32, HL_PI_3_4_0_F32);
    hl_f32 rest = hl_atan_turn_f32(
        steep, middle, left, HL_PI_2_1_F32, 0.5f * HL_PI_2_1_F32, HL_PI_3_4_1_F32);
    hl_pair_f32 w = hl_fast_sum_f32(base, hl_flip_f32(q.hi, left));
    return w.hi + (w.lo + (rest + hl_flip_f32(tail, left)));
}

HL_FUNCTION hl_f32 hl_atan_f32(hl_f32 x)
{
    /* beyond 2^64 the result is pi/2 rounded: keeps infinity out of the remainder */
    hl_f32 a = hl_abs_f32(x);
    a = hl_select_f32(a > 0x1p64f, 0x1p64f, a);
    return hl_flip_f32(hl_atan_ratio_f32(a, (hl_f32)(1.0f), (hl_u32)(0)), hl_sign_f32(x));
}

/* Brings a, b >= 0 of any size into the range that atan_ratio takes, with the same quotient. */
HL_INLINE void hl_atan2_scale_f32(hl_f32 *a, hl_f32 *b)
{
    hl_mask_f32 a_infinite = *a == HL_INF_F32, b_infinite = *b == HL_INF_F32;
    /* infinities count as 1 beside 0, or as equal; times zero keeps a NaN on the other side */
    hl_f32 a_beside = hl_select_f32(a_infinite, 1.0f, hl_select_f32(b_infinite, *a * 0.0f, *a));
    hl_f32 b_beside = hl_select_f32(b_infinite, 1.0f, hl_select_f32(a_infinite, *b * 0.0f, *b));
    hl_f32 larger = hl_select_f32(a_beside > b_beside, a_beside, b_beside);
    /* a power of two that keeps the remainder of the quotient in range; what it may lose of the
     * smaller one is too small to count */
    hl_f32 scale = hl_select_f32(
        larger > HL_ATAN2_LARGE_F32, HL_ATAN2_DOWN_F32,
        hl_select_f32(larger < HL_ATAN2_SMALL_F32, HL_ATAN2_UP_F32, 1.0f));
    *a = a_beside * scale;
    *b = hl_select_f32((a_beside == 0.0f) & (b_beside == 0.0f), 1.0f, b_beside * scale);
}

HL_FUNCTION hl_f32 hl_atan2_f32(hl_f32 y, hl_f32 x)
{
    hl_f32 a = hl_abs_f32(y), b = hl_abs_f32(x), sum = a + b;
    hl_f32 up = a * HL_ATAN2_UP_F32, right = b * HL_ATAN2_UP_F32;
    if (HL_RARELY(hl_any_f32(((sum > 0.0f) & (sum < HL_ATAN2_SMALL_F32)) == 0))) {
        up = a;
        right = b;
        hl_atan2_scale_f32(&up, &right);
    }
    return hl_flip_f32(hl_atan_ratio_f32(up, right, hl_sign_f32(x)), hl_sign_f32(y));
}

/* The same in float64; the reasons are given above. */

HL_INLINE hl_reduced_f64 hl_reduce_f64(hl_f64 x)
{
    hl_f64 shifted = x * HL_TWO_OVER_PI_F64 + HL_MAGIC_F64, n = shifted - HL_MAGIC_F64;
    hl_f64 a = HL_EXACT_F64(-n, HL_HALF_PI_1_F64, HL_EXACT_F64(-n, HL_HALF_PI_0_F64, x));
    hl_f64 hi = HL_EXACT_F64(-n, HL_HALF_PI_2_F64, a);
    hl_f64 lo = HL_EXACT_F64(-n, HL_HALF_PI_2_F64, a - hi);
    hl_reduced_f64 y = {hi, lo - n * HL_HALF_PI_3_F64, hl_bits_f64(shifted)};
    hl_mask_f64 huge = x > HL_REDUCIBLE_F64;
    if (HL_RARELY(hl_any_f64(huge))) {
        for (int i = 0; i < HL_LANES; i++) {
            double lane = HL_LANE(x, i);
            if (lane > HL_REDUCIBLE_F64 && lane < HL_INF_F64) {
                hl_huge_f64 one = hl_reduce_huge_f64(lane);
                HL_LANE(y.hi, i) = one.hi;
                HL_LANE(y.lo, i) = one.lo;
                HL_LANE(y.quadrant, i) = one.quadrant;
            } else if (lane > HL_REDUCIBLE_F64) {
                HL_LANE(y.hi, i) = HL_NAN_F64;
            }
        }
    }
    return y;
}

HL_INLINE hl_f64 hl_sin_reduced_f64(hl_f64 hi, hl_f64 lo)
{
    hl_f64 z = hi * hi;
    return hi + HL_SIN_ADD_F64(HL_EXACT_F64(-0.5, z * lo, lo), hi * z, z);
}

HL_INLINE hl_f64 hl_cos_reduced_f64(hl_f64 hi, hl_f64 lo)
{
    hl_f64 z = hi * hi, near = HL_EXACT_F64(-0.5, z, 1.0);
    return near + HL_COS_ADD_F64(HL_EXACT_F64(-0.5, z, 1.0 - near) - hi * lo, z * z, z);
}

HL_INLINE hl_f64 hl_sin_shifted_f64(hl_f64 x, hl_u64 shift, hl_u64 sign)
{
    hl_reduced_f64 r = hl_reduce_f64(hl_abs_f64(x));
    hl_u64 quadrant = r.quadrant + shift;
    hl_f64 s = hl_sin_reduced_f64(r.hi, r.lo), c = hl_cos_reduced_f64(r.hi, r.lo);
    hl_f64 y = hl_select_f64((quadrant & 1) != 0, c, s);
    return hl_flip_f64(y, sign ^ ((quadrant & 2) << (HL_WIDTH_F64 - 2)));
}

HL_FUNCTION hl_f64 hl_sin_f64(hl_f64 x)
{
    return hl_sin_shifted_f64(x, (hl_u64)(0), hl_sign_f64(x));
}

HL_FUNCTION hl_f64 hl_cos_f64(hl_f64 x)
{
    return hl_sin_shifted_f64(x, (hl_u64)(1), (hl_u64)(0));
}

HL_FUNCTION hl_f64 hl_tan_f64(hl_f64 x)
{
    hl_reduced_f64 r = hl_reduce_f64(hl_abs_f64(x));
    hl_pair_f64 z = hl_two_mul_f64(r.hi, r.hi);
    hl_pair_f64 cube = hl_two_mul_f64(z.hi, r.hi);
    hl_pair_f64 third = hl_two_mul_f64(cube.hi, (hl_f64)(HL_SIN_FIRST_F64));
    hl_pair_f64 s = hl_fast_sum_f64(r.hi, third.hi);
    hl_f64 rest = third.lo + HL_SIN_FIRST_F64 * (cube.lo + z.lo * r.hi);
    rest = (s.lo + rest) + (r.lo - 0.5 * z.hi * r.lo);
    s = hl_fast_sum_f64(s.hi, HL_SIN_MORE_F64(rest, cube.hi * z.hi, z.hi));
    hl_f64 half = 0.5 * z.hi, near = 1.0 - half;
    hl_f64 start = ((1.0 - near) - half) - (0.5 * z.lo + r.hi * r.lo);
    hl_pair_f64 c = hl_fast_sum_f64(near, HL_COS_ADD_F64(start, z.hi * z.hi, z.hi));
    hl_mask_f64 odd = (r.quadrant & 1) != 0;
    hl_pair_f64 top = {hl_select_f64(odd, c.hi, s.hi), hl_select_f64(odd, c.lo, s.lo)};
    hl_pair_f64 low = {hl_select_f64(odd, s.hi, c.hi), hl_select_f64(odd, s.lo, c.lo)};
    hl_pair_f64 q = hl_pair_div_f64(top, low);
    hl_u64 sign = (r.quadrant & 1) << (HL_WIDTH_F64 - 1);
    return hl_flip_f64(q.hi + q.lo, hl_sign_f64(x) ^ sign);
}

HL_INLINE hl_f64 hl_asin_tail_f64(hl_f64 s, hl_f64 z, hl_f64 rest)
{
    return HL_ASIN_ADD_F64(rest, s * z, z);
}

HL_INLINE hl_pair_f64 hl_asin_folded_f64(hl_f64 x, hl_mask_f64 small)
{
    hl_f64 z = hl_select_f64(small, x * x, 0.5 * (1.0 - x));
    hl_pair_f64 square = {z, (hl_f64)(0.0)};
    hl_pair_f64 root = hl_pair_sqrt_f64(square);
    hl_f64 s = hl_select_f64(small, x, root.hi), rest = hl_select_f64(small, 0.0, root.lo);
    hl_pair_f64 y = {s, hl_asin_tail_f64(s, z, rest)};
    return y;
}

HL_FUNCTION hl_f64 hl_asin_f64(hl_f64 x)
{
    hl_f64 a = hl_abs_f64(x);
    hl_mask_f64 small = a <= 0.5;
    hl_pair_f64 s = hl_asin_folded_f64(a, small);
    hl_pair_f64 w = hl_fast_sum_f64((hl_f64)(HL_PI_2_0_F64), -2.0 * s.hi);
    hl_f64 large = w.hi + (w.lo + (HL_PI_2_1_F64 - 2.0 * s.lo));
    return hl_flip_f64(hl_select_f64(small, s.hi + s.lo, large), hl_sign_f64(x));
}

HL_FUNCTION hl_f64 hl_acos_f64(hl_f64 x)
{
    hl_f64 a = hl_abs_f64(x);
    hl_mask_f64 small = a <= 0.5;
    hl_pair_f64 s = hl_asin_folded_f64(a, small);
    hl_f64 factor = hl_select_f64(small, -1.0, 2.0);
    hl_f64 turn = hl_select_f64(small, 1.0, hl_select_f64(x < 0.0, 2.0, 0.0));
    hl_f64 signed_factor = hl_flip_f64(factor, hl_sign_f64(x));
    hl_pair_f64 w = hl_fast_sum_f64(turn * HL_PI_2_0_F64, signed_factor * s.hi);
    return w.hi + (w.lo + (turn * HL_PI_2_1_F64 + signed_factor * s.lo));
}

HL_INLINE hl_f64 hl_atan_turn_f64(
    hl_mask_f64 steep, hl_mask_f64 middle, hl_u64 left, double half, double quarter, double more)
{
    hl_mask_f64 is_left = left != 0;
    hl_f64 inner = hl_select_f64(is_left, (hl_f64)(more), (hl_f64)(quarter));
    hl_f64 outer = hl_select_f64(is_left, (hl_f64)(2.0 * half), (hl_f64)(0.0));
    return hl_select_f64(steep, (hl_f64)(half), hl_select_f64(middle, inner, outer));
}

HL_INLINE hl_f64 hl_atan_ratio_f64(hl_f64 a, hl_f64 b, hl_u64 left)
{
    hl_mask_f64 steep = a > 2.4142135 * b, middle = a > 0.41421356 * b; /* steep ones too */
    hl_f64 flat = hl_select_f64(steep, 0.0, a), more = hl_select_f64(middle, -b, 0.0);
    hl_f64 far = hl_select_f64(middle, a, 0.0), near = hl_select_f64(steep, 0.0, b);
    hl_pair_f64 q = hl_pair_div_f64(hl_two_sum_f64(flat, more), hl_two_sum_f64(far, near));
    hl_f64 z = q.hi * q.hi, tail = HL_ATAN_ADD_F64(q.lo, q.hi * z, z);
    hl_f64 base = hl_atan_turn_f64(
        steep, middle, left, HL_PI_2_0_F64, 0.5 * HL_PI_2_0_F64, HL_PI_3_4_0_F64);
    hl_f64 rest = hl_atan_turn_f64(
        steep, middle, left, HL_PI_2_1_F64, 0.5 * HL_PI_2_1_F64, HL_PI_3_4_1_F64);
    hl_pair_f64 w = hl_fast_sum_f64(base, hl_flip_f64(q.hi, left));
    return w.hi + (w.lo + (rest + hl_flip_f64(tail, left)));
}

HL_FUNCTION hl_f64 hl_atan_f64(hl_f64 x)
{
    hl_f64 a = hl_abs_f64(x);
    a = hl_select_f64(a > 0x1p64, 0x1p64, a);
    return hl_flip_f64(hl_atan_ratio_f64(a, (hl_f64)(1.0), (hl_u64)(0)), hl_sign_f64(x));
}

HL_INLINE void hl_atan2_scale_f64(hl_f64 *a, hl_f64 *b)
{
    hl_mask_f64 a_infinite = *a == HL_INF_F64, b_infinite = *b == HL_INF_F64;
        hl_f64 a_beside = hl_select_f64(a_infinite, 1.0, hl_select_f64(b_infinite, *a * 0.0, *a));
    hl_f64 b_beside = hl_select_f64(b_infinite, 1.0, hl_select_f64(a_infinite, *b * 0.0, *b));
    hl_f64 larger = hl_select_f64(a_beside > b_beside, a_beside, b_beside);
        hl_f64 scale = hl_select_f64(
        larger > HL_ATAN2_LARGE_F64, HL_ATAN2_DOWN_F64,
        hl_select_f64(larger < HL_ATAN2_SMALL_F64, HL_ATAN2_UP_F64, 1.0));
    *a = a_beside * scale;
    *b = hl_select_f64((a_beside == 0.0) & (b_beside == 0.0), 1.0, b_beside * scale);
}

HL_FUNCTION hl_f64 hl_atan2_f64(hl_f64 y, hl_f64 x)
{
    hl_f64 a = hl_abs_f64(y), b = hl_abs_f64(x), sum = a + b;
    hl_f64 up = a * HL_ATAN2_UP_F64, right = b * HL_ATAN2_UP_F64;
    if (HL_RARELY(hl_any_f64(((sum > 0.0) & (sum < HL_ATAN2_SMALL_F64)) == 0))) {
        up = a;
        right = b;
        hl_atan2_scale_f64(&up, &right);
    }
    return hl_flip_f64(hl_atan_ratio_f64(up, right, hl_sign_f64(x)), hl_sign_f64(y));
}

#endif
