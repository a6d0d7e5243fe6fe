/* Short operations that rows name and C has no word for: Python's integer division, shifts of any
 * count, saturating conversions, extrema with NaN and signed zeros. Each compiles to a few
 * instructions without a branch where the target allows it.
 */
#ifndef HL_SCALAR_H
#define HL_SCALAR_H

#include <stdint.h>

#define HL_SHORT static inline __attribute__((always_inline))

/* Bits of a float and back. */
HL_SHORT uint32_t hl_op_word_f32(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    return bits;
}
HL_SHORT uint64_t hl_op_word_f64(double x) {
    uint64_t bits;
    __builtin_memcpy(&bits, &x, 8);
    return bits;
}
HL_SHORT float hl_op_real_f32(uint32_t bits) {
    float x;
    __builtin_memcpy(&x, &bits, 4);
    return x;
}
HL_SHORT double hl_op_real_f64(uint64_t bits) {
    double x;
    __builtin_memcpy(&x, &bits, 8);
    return x;
}

#define HL_FLOAT_SHORTS(s, type, word, suffix) \
    HL_SHORT type hl_op_inf_##s(void) { return (type)__builtin_inf(); } \
    HL_SHORT type hl_op_sqrt_##s(type x) { return __builtin_sqrt##suffix(x); } \
    HL_SHORT type hl_op_abs_##s(type x) { return __builtin_fabs##suffix(x); } \
    /* x + 0 is 0 for -0.0 and keeps NaN */ \
    HL_SHORT type hl_op_sign_##s(type x) { \
        return __builtin_fabs##suffix(x) > 0 ? __builtin_copysign##suffix(1, x) : x + 0; \
    } \
    /* Both orders of a compare-and-pick, joined: or keeps a NaN and prefers -0.0 */ \
    HL_SHORT type hl_op_minimum_##s(type x, type y) { \
        return hl_op_real_##s(hl_op_word_##s(x < y ? x : y) | hl_op_word_##s(y < x ? y : x)); \
    } \
    /* and prefers 0.0, but may lose a NaN */ \
    HL_SHORT type hl_op_maximum_##s(type x, type y) { \
        type both = hl_op_real_##s(hl_op_word_##s(x > y ? x : y) & hl_op_word_##s(y > x ? y : x)); \
        return __builtin_isunordered(x, y) ? x + y : both; \
    }
HL_FLOAT_SHORTS(f32, float, uint32_t, f)
HL_FLOAT_SHORTS(f64, double, uint64_t, )

/* A select by mask: no branch to mispredict, and the side not taken poisons nothing. */
typedef int32_t hl_four __attribute__((vector_size(16)));
typedef float hl_four_f32 __attribute__((vector_size(16)));
typedef int64_t hl_two __attribute__((vector_size(16)));
typedef double hl_two_f64 __attribute__((vector_size(16)));
HL_SHORT float hl_op_select_f32(int32_t c, float x, float y) {
    hl_four mask = {-c};
    hl_four_f32 vx = {x}, vy = {y};
    return ((hl_four_f32)((mask & (hl_four)vx) | (~mask & (hl_four)vy)))[0];
}
HL_SHORT double hl_op_select_f64(int32_t c, double x, double y) {
    hl_two mask = {-(int64_t)c};
    hl_two_f64 vx = {x}, vy = {y};
    return ((hl_two_f64)((mask & (hl_two)vx) | (~mask & (hl_two)vy)))[0];
}

/* Truncate; saturate; NaN gives 0. What the cast sees is always in range. */
#define HL_FROM_FLOAT(s, from, type, real, word, low) \
    HL_SHORT type hl_op_##s##_##from(real x) { \
        word over = (word)0 - (word)(x >= -(real)low); \
        real inside = x < (real)low ? (real)low : x; \
        inside = inside >= -(real)low ? 0 : inside; \
        inside = x == x ? inside : 0; \
        return (type)((word)(type)inside | (over & ((word)low - 1))); \
    }

/* Two float32 side by side in a double, and each of them again. */
#define hl_op_packed_f32(pair) \
    __extension__({ \
        hl_pair_f32 both_ = (pair); \
        hl_four_f32 four_ = {both_.hi, both_.lo}; \
        ((hl_two_f64)four_)[0]; \
    })
HL_SHORT float hl_op_low_f64(double pair) {
    hl_two_f64 both = {pair};
    return ((hl_four_f32)both)[0];
}
HL_SHORT float hl_op_high_f64(double pair) {
    hl_two_f64 both = {pair};
    return ((hl_four_f32)both)[1];
}

#define HL_INT_SHORTS(s, type, word, bits, low) \
    HL_SHORT type hl_op_abs_##s(type x) { return x < 0 ? (type)(0 - (word)x) : x; } \
    /* The hardware traps on division by zero and on low / -1; we give 0 and wrap. */ \
    HL_SHORT type hl_op_floordiv_##s(type x, type y) { \
        if (y == 0) return 0; \
        if (y == -1) return (type)(0 - (word)x); \
        type quotient = x / y, rest = x - quotient * y; \
        return quotient - (rest != 0 && (rest ^ y) < 0); \
    } \
    HL_SHORT type hl_op_mod_##s(type x, type y) { \
        if (y == 0 || y == -1) return 0; \
        type rest = x % y; \
        return rest != 0 && (rest ^ y) < 0 ? rest + y : rest; \
    } \
    HL_SHORT type hl_op_lshift_##s(type x, type n) { \
        return (word)n < bits ? (type)((word)x << ((word)n & (bits - 1))) : 0; \
    } \
    HL_SHORT type hl_op_rshift_##s(type x, type n) { \
        type count = n > bits - 1 ? bits - 1 : n; \
        return n < 0 ? 0 : x >> (count & (bits - 1)); \
    } \
    HL_FROM_FLOAT(s, f32, type, float, word, low) \
    HL_FROM_FLOAT(s, f64, type, double, word, low)
HL_INT_SHORTS(i32, int32_t, uint32_t, 32, INT32_MIN)
HL_INT_SHORTS(i64, int64_t, uint64_t, 64, INT64_MIN)

#endif
