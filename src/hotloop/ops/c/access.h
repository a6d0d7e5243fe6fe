/* Elements of arrays of any size at places that may lie outside: what is outside reads as zero, and
 * what is written there is lost. No stencil of these branches.
 */
#ifndef HL_ACCESS_H
#define HL_ACCESS_H

#include "wide.h"

/* What a program knows of an array, in its data: where and how many the elements are, and places
 * to read zero from and to write what is lost to. */
typedef struct {
    char *elements;
    uint64_t length, zero, lost;
} hl_array;

#define HL_ARRAY(at) ((hl_array *)(at))

HL_SHORT char *hl_readable(hl_array *array, int64_t index, int64_t size)
{
    char *inside = array->elements + index * size, *outside = (char *)&array->zero;
    return __builtin_unpredictable((uint64_t)index < array->length) ? inside : outside;
}
HL_SHORT char *hl_writable(hl_array *array, int64_t index, int64_t size)
{
    char *inside = array->elements + index * size, *outside = (char *)&array->lost;
    return __builtin_unpredictable((uint64_t)index < array->length) ? inside : outside;
}

/* Where lanes begin that are stored only as far as `left` of them count. */
HL_SHORT char *hl_counted(hl_array *array, char *place, int lane, int64_t left)
{
    return __builtin_unpredictable(lane < left) ? place : (char *)&array->lost;
}

#define HL_GATHER_EACH(s, element, lanes, index_of)                                                \
    {                                                                                              \
        hl_##s r = {0};                                                                            \
        _Pragma("unroll") for (int i = 0; i < lanes; i++)                                          \
            r[i] = *(element *)hl_readable(array, index_of, sizeof(element));                      \
        return r;                                                                                  \
    }

#if defined(__AVX2__)
#include <immintrin.h>
/* The lanes of a mask with all bits set are inside: 0 <= index < length. */
HL_SHORT __m256i hl_inside_q(hl_array *array, hl_i64w index)
{
    __m256i length = _mm256_set1_epi64x((int64_t)array->length);
    return _mm256_andnot_si256((__m256i)index, _mm256_cmpgt_epi64(length, (__m256i)index));
}
HL_SHORT __m256i hl_inside_d(hl_array *array, hl_i32w index)
{
    int64_t last = (int64_t)array->length - 1;
    __m256i limit = _mm256_set1_epi32(last > INT32_MAX ? INT32_MAX : (int32_t)last);
    __m256i outside = _mm256_or_si256((__m256i)index, _mm256_cmpgt_epi32((__m256i)index, limit));
    return _mm256_xor_si256(outside, _mm256_set1_epi32(-1));
}
HL_SHORT hl_f64w hl_gather_f64w(hl_array *array, hl_i64w index)
{
    __m256d inside = (__m256d)hl_inside_q(array, index);
    return (hl_f64w)_mm256_mask_i64gather_pd(_mm256_setzero_pd(), (double *)array->elements, (__m256i)index, inside, 8);
}
/* The sign of each mask of 8 bytes, as one of 4. */
HL_SHORT __m128 hl_narrow_inside(__m256i inside)
{
    return _mm_shuffle_ps((__m128)_mm256_castsi256_si128(inside), (__m128)_mm256_extracti128_si256(inside, 1), 0xdd);
}
HL_SHORT hl_f32w hl_gather_f32w(hl_array *array, hl_i64w low, hl_i64w high)
{
    __m128 first = hl_narrow_inside(hl_inside_q(array, low)), second = hl_narrow_inside(hl_inside_q(array, high));
    float *elements = (float *)array->elements;
    first = _mm256_mask_i64gather_ps(_mm_setzero_ps(), elements, (__m256i)low, first, 4);
    second = _mm256_mask_i64gather_ps(_mm_setzero_ps(), elements, (__m256i)high, second, 4);
    return (hl_f32w)_mm256_set_m128(second, first);
}
HL_SHORT hl_f32w hl_gather_near_f32w(hl_array *array, hl_i32w index)
{
    __m256 inside = (__m256)hl_inside_d(array, index);
    return (hl_f32w)_mm256_mask_i32gather_ps(_mm256_setzero_ps(), (float *)array->elements, (__m256i)index, inside, 4);
}
#else
HL_SHORT hl_f64w hl_gather_f64w(hl_array *array, hl_i64w index) HL_GATHER_EACH(f64w, double, HL_WIDE / 8, index[i])
HL_SHORT hl_f32w hl_gather_f32w(hl_array *array, hl_i64w low, hl_i64w high)
    HL_GATHER_EACH(f32w, float, HL_WIDE / 4, (i < HL_WIDE / 8 ? low[i % (HL_WIDE / 8)] : high[i % (HL_WIDE / 8)]))
HL_SHORT hl_f32w hl_gather_near_f32w(hl_array *array, hl_i32w index) HL_GATHER_EACH(f32w, float, HL_WIDE / 4, index[i])
#endif
#define hl_gather_i64w(array, index) ((hl_i64w)hl_gather_f64w(array, index))
#define hl_gather_i32w(array, low, high) ((hl_i32w)hl_gather_f32w(array, low, high))
#define hl_gather_near_i32w(array, index) ((hl_i32w)hl_gather_near_f32w(array, index))
HL_SHORT hl_i64w hl_bytes_at_b64w(hl_array *array, hl_i64w index) HL_GATHER_EACH(i64w, uint8_t, HL_WIDE / 8, index[i])
HL_SHORT hl_i32w hl_bytes_at_b32w(hl_array *array, hl_i64w low, hl_i64w high)
    HL_GATHER_EACH(i32w, uint8_t, HL_WIDE / 4, (i < HL_WIDE / 8 ? low[i % (HL_WIDE / 8)] : high[i % (HL_WIDE / 8)]))
HL_SHORT hl_i32w hl_bytes_near_b32w(hl_array *array, hl_i32w index) HL_GATHER_EACH(i32w, uint8_t, HL_WIDE / 4, index[i])
#define hl_gather_b64w(array, index) (hl_bytes_at_b64w(array, index) > 0)
#define hl_gather_b32w(array, low, high) (hl_bytes_at_b32w(array, low, high) > 0)
#define hl_gather_near_b32w(array, index) (hl_bytes_near_b32w(array, index) > 0)

/* The lanes below `end` of a vector whose first is at `index`. */
#define HL_STORE_EACH(s, element, value)                                                           \
    HL_SHORT void hl_store_##s(hl_array *array, hl_##s x, int64_t index, int64_t end)              \
    {                                                                                              \
        element *place = (element *)array->elements + index;                                       \
        _Pragma("unroll") for (int i = 0; i < (int)(sizeof x / sizeof x[0]); i++)                  \
            *(element *)hl_counted(array, (char *)(place + i), i, end - index) = (element)(value); \
    }
#if defined(__AVX2__)
HL_SHORT void hl_store_i64w(hl_array *array, hl_i64w x, int64_t index, int64_t end)
{
    __m256i counted = _mm256_cmpgt_epi64(_mm256_set1_epi64x(end - index), _mm256_set_epi64x(3, 2, 1, 0));
    _mm256_maskstore_epi64((long long *)array->elements + index, counted, (__m256i)x);
}
HL_SHORT void hl_store_i32w(hl_array *array, hl_i32w x, int64_t index, int64_t end)
{
    int64_t left = end - index;
    __m256i counted = _mm256_cmpgt_epi32(_mm256_set1_epi32(left > 8 ? 8 : (int32_t)left), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
    _mm256_maskstore_epi32((int *)array->elements + index, counted, (__m256i)x);
}
#else
HL_STORE_EACH(i64w, int64_t, x[i])
HL_STORE_EACH(i32w, int32_t, x[i])
#endif
HL_STORE_EACH(b64w, uint8_t, x[i] & 1)
HL_STORE_EACH(b32w, uint8_t, x[i] & 1)
#define hl_store_f64w(array, x, index, end) hl_store_i64w(array, (hl_i64w)(x), index, end)
#define hl_store_f32w(array, x, index, end) hl_store_i32w(array, (hl_i32w)(x), index, end)

/* The lanes that a mask holds for, one after the other from the first on; what is in those behind them is left open. */
#if defined(__AVX2__)
HL_SHORT hl_i32w hl_packed(hl_i32w x, uint64_t kept)
{
    __m128i places = _mm_cvtsi64_si128((int64_t)_pext_u64(0x0706050403020100, kept));
    return (hl_i32w)_mm256_permutevar8x32_epi32((__m256i)x, _mm256_cvtepu8_epi32(places));
}
HL_SHORT hl_i32w hl_compress_i32w(hl_i32w x, hl_b32w mask)
{
    return hl_packed(x, _pdep_u64((uint32_t)_mm256_movemask_ps((__m256)mask), 0x0101010101010101) * 0xff);
}
HL_SHORT hl_i64w hl_compress_i64w(hl_i64w x, hl_b64w mask)
{
    return (hl_i64w)hl_packed((hl_i32w)x, _pdep_u64((uint32_t)_mm256_movemask_pd((__m256d)mask), 0x0001000100010001) * 0xffff);
}
#define hl_count_b32w(mask) ((int64_t)__builtin_popcount((uint32_t)_mm256_movemask_ps((__m256)(mask))))
#define hl_count_b64w(mask) ((int64_t)__builtin_popcount((uint32_t)_mm256_movemask_pd((__m256d)(mask))))
#else
/* Each lane moves down by the number of lanes below it that are left out: by 1 if that is odd, then by 2. */
HL_SHORT hl_i32w hl_compress_i32w(hl_i32w x, hl_b32w mask)
{
    hl_i32w zero = {0}, out = mask + 1, below = __builtin_shufflevector(zero, out, 0, 4, 5, 6);
    below += __builtin_shufflevector(zero, below, 0, 4, 5, 6);
    below += __builtin_shufflevector(zero, below, 0, 0, 4, 5);
    below &= mask;
    hl_i32w next = __builtin_shufflevector(x, x, 1, 2, 3, 3), steps = __builtin_shufflevector(below, zero, 1, 2, 3, 4);
    hl_i32w odd = (steps & 1) != 0;
    x = (odd & next) | (~odd & x);
    below = (odd & steps) | (~odd & below & ((below & 1) - 1));
    next = __builtin_shufflevector(x, x, 2, 3, 2, 3);
    steps = __builtin_shufflevector(below, zero, 2, 3, 4, 4);
    hl_i32w far = (steps & 2) != 0;
    return (far & next) | (~far & x);
}
HL_SHORT hl_i64w hl_compress_i64w(hl_i64w x, hl_b64w mask)
{
    hl_i64w first = __builtin_shufflevector(mask, mask, 0, 0);
    return (first & x) | (~first & __builtin_shufflevector(x, x, 1, 1));
}
#define hl_count_b32w(mask) ((int64_t)-((mask)[0] + (mask)[1] + (mask)[2] + (mask)[3]))
#define hl_count_b64w(mask) ((int64_t)-((mask)[0] + (mask)[1]))
#endif

/* The lanes in the opposite order. */
#define HL_REVERSE(s)                                                                              \
    HL_SHORT hl_##s hl_reverse_##s(hl_##s x)                                                       \
    {                                                                                              \
        hl_##s r = x;                                                                              \
        _Pragma("unroll") for (int i = 0; i < (int)(sizeof x / sizeof x[0]); i++)                  \
            r[i] = x[(int)(sizeof x / sizeof x[0]) - 1 - i];                                       \
        return r;                                                                                  \
    }
HL_REVERSE(i32w)
HL_REVERSE(i64w)

#endif
