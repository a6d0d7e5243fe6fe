/* Division of floats for processors without the instruction, under the names that compilers call.
 *
 * Runtime libraries flush quotients that are subnormal to zero; these round them, as hardware does.
 * A restoring division: one bit of the quotient a turn, then IEEE 754's round to nearest, ties to even.
 * Not written with `/` anywhere, since that is what calls them.
 */
#include <stdint.h>

#define HL_DIVIDE(NAME, REAL, WORD, DIGITS, EXPONENT)                                              \
    static REAL NAME(REAL x, REAL y)                                                               \
    {                                                                                              \
        const WORD hidden = (WORD)1 << DIGITS, top = (WORD)1 << (DIGITS + EXPONENT);               \
        const WORD infinite = top - hidden;                                                        \
        const int bias = (1 << (EXPONENT - 1)) - 1, largest = (1 << EXPONENT) - 1;                 \
        WORD a, b, quotient = 0, result;                                                           \
        __builtin_memcpy(&a, &x, sizeof a);                                                        \
        __builtin_memcpy(&b, &y, sizeof b);                                                        \
        const WORD sign = (a ^ b) & top;                                                           \
        a &= top - 1;                                                                              \
        b &= top - 1;                                                                              \
        int exponent;                                                                              \
        if (a > infinite || b > infinite || (a == infinite && b == infinite) || (!a && !b)) {      \
            result = infinite | (hidden >> 1);                                                     \
        } else if (a == infinite || !b) {                                                          \
            result = sign | infinite;                                                              \
        } else if (!a || b == infinite) {                                                          \
            result = sign;                                                                         \
        } else {                                                                                   \
            int ea = (int)(a >> DIGITS), eb = (int)(b >> DIGITS);                                  \
            a &= hidden - 1;                                                                       \
            b &= hidden - 1;                                                                       \
            if (ea) a |= hidden;                                                                   \
            else for (ea = 1; !(a & hidden); ea--) a <<= 1;                                        \
            if (eb) b |= hidden;                                                                   \
            else for (eb = 1; !(b & hidden); eb--) b <<= 1;                                        \
            exponent = ea - eb + bias;                                                             \
            if (a < b) a <<= 1, exponent--;                                                        \
            /* DIGITS + 1 bits of the quotient, one more to round by, and whether anything is left */ \
            for (int i = 0; i < DIGITS + 2; i++) {                                                 \
                quotient <<= 1;                                                                    \
                if (a >= b) a -= b, quotient |= 1;                                                 \
                a <<= 1;                                                                           \
            }                                                                                      \
            quotient = quotient << 1 | (a != 0);                                                   \
            if (exponent < 1) {                                                                    \
                int shift = 1 - exponent;                                                          \
                if (shift > DIGITS + 3) shift = DIGITS + 3;                                        \
                const WORD lost = quotient & (((WORD)1 << shift) - 1);                             \
                quotient = quotient >> shift | (lost != 0);                                        \
                exponent = 0;                                                                      \
            }                                                                                      \
            const WORD rest = quotient & 3;                                                        \
            quotient >>= 2;                                                                        \
            if (rest > 2 || (rest == 2 && (quotient & 1))) quotient++;                             \
            /* a carry out of the digits raises the exponent, from subnormal too */                \
            if (exponent >= largest) result = sign | infinite;                                     \
            else {                                                                                 \
                result = exponent ? ((WORD)(exponent - 1) << DIGITS) + quotient : quotient;        \
                if (result >= infinite) result = infinite;                                         \
                result |= sign;                                                                    \
            }                                                                                      \
        }                                                                                          \
        __builtin_memcpy(&x, &result, sizeof x);                                                   \
        return x;                                                                                  \
    }

HL_DIVIDE(divide_f32, float, uint32_t, 23, 8)
HL_DIVIDE(divide_f64, double, uint64_t, 52, 11)

float __divsf3(float x, float y);
double __divdf3(double x, double y);
float __divsf3(float x, float y) { return divide_f32(x, y); }
double __divdf3(double x, double y) { return divide_f64(x, y); }

#if defined(__ARM_EABI__) /* Run-time ABI for the Arm architecture, 4.1.2: operands in core registers whatever the ABI */
__attribute__((pcs("aapcs"))) float __aeabi_fdiv(float x, float y);
__attribute__((pcs("aapcs"))) double __aeabi_ddiv(double x, double y);
__attribute__((pcs("aapcs"))) float __aeabi_fdiv(float x, float y) { return divide_f32(x, y); }
__attribute__((pcs("aapcs"))) double __aeabi_ddiv(double x, double y) { return divide_f64(x, y); }
#endif
