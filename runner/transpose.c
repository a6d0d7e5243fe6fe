/* See transpose.h. Few rows of `from` are read at a time, from end to end: their cache lines and pages stay
 * at hand until all of them is used, even where rows are a multiple of a page apart. */
#include "transpose.h"

#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

enum {
    AT_ONCE = 8, /* rows of `from`; of a square of as many rows of `to`, where there is no better way */
};

static inline __attribute__((always_inline)) void copy_items(uint8_t *to, int64_t to_pitch, const uint8_t *from, int64_t from_pitch,
                                                             int64_t rows, int64_t columns, size_t size) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            memcpy(to + i * to_pitch + j * (int64_t)size, from + j * from_pitch + i * (int64_t)size, size);
}

static inline __attribute__((always_inline)) void transpose_items(uint8_t *to, int64_t to_pitch, const uint8_t *from, int64_t from_pitch,
                                                                  int64_t rows, int64_t columns, size_t size) {
    for (int64_t j = 0; j < columns; j += AT_ONCE)
        copy_items(to + j * (int64_t)size, to_pitch, from + j * from_pitch, from_pitch, rows, columns - j < AT_ONCE ? columns - j : AT_ONCE,
                   size);
}

#if defined(__x86_64__)
static inline __attribute__((always_inline)) void square_of_4(uint8_t *to, int64_t to_pitch, const uint8_t *from, int64_t from_pitch) {
    __m128 a = _mm_loadu_ps((const float *)from), b = _mm_loadu_ps((const float *)(from + from_pitch));
    __m128 c = _mm_loadu_ps((const float *)(from + 2 * from_pitch)), d = _mm_loadu_ps((const float *)(from + 3 * from_pitch));
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps((float *)to, a);
    _mm_storeu_ps((float *)(to + to_pitch), b);
    _mm_storeu_ps((float *)(to + 2 * to_pitch), c);
    _mm_storeu_ps((float *)(to + 3 * to_pitch), d);
}

static inline __attribute__((always_inline)) void square_of_2(uint8_t *to, int64_t to_pitch, const uint8_t *from, int64_t from_pitch) {
    __m128d a = _mm_loadu_pd((const double *)from), b = _mm_loadu_pd((const double *)(from + from_pitch));
    _mm_storeu_pd((double *)to, _mm_unpacklo_pd(a, b));
    _mm_storeu_pd((double *)(to + to_pitch), _mm_unpackhi_pd(a, b));
}

/* AT_ONCE rows of `from`, `side` of `to` at a time. */
static inline __attribute__((always_inline)) void transpose_strip(uint8_t *to, int64_t to_pitch, const uint8_t *from, int64_t from_pitch,
                                                                  int64_t rows, int side) {
    const int size = 16 / side;
    int64_t i = 0;
    for (; i + side <= rows; i += side) {
        uint8_t *corner = to + i * to_pitch;
        const uint8_t *start = from + i * size;
        for (int j = 0; j < AT_ONCE; j += side) {
            if (side == 4) square_of_4(corner + j * size, to_pitch, start + j * from_pitch, from_pitch);
            else square_of_2(corner + j * size, to_pitch, start + j * from_pitch, from_pitch);
        }
    }
    copy_items(to + i * to_pitch, to_pitch, from + i * size, from_pitch, rows - i, AT_ONCE, (size_t)size);
}

static inline __attribute__((always_inline)) void transpose_words(uint8_t *to, int64_t to_pitch, const uint8_t *from, int64_t from_pitch,
                                                                  int64_t rows, int64_t columns, int side) {
    const int64_t size = 16 / side;
    int64_t j = 0;
    for (; j + AT_ONCE <= columns; j += AT_ONCE)
        transpose_strip(to + j * size, to_pitch, from + j * from_pitch, from_pitch, rows, side);
    copy_items(to + j * size, to_pitch, from + j * from_pitch, from_pitch, rows, columns - j, (size_t)size);
}
#endif

void hl_transpose(uint8_t *to, int64_t to_pitch, const uint8_t *from, int64_t from_pitch, int64_t rows, int64_t columns, int64_t size) {
    switch (size) {
    case 1: transpose_items(to, to_pitch, from, from_pitch, rows, columns, 1); break;
    case 2: transpose_items(to, to_pitch, from, from_pitch, rows, columns, 2); break;
#if defined(__x86_64__)
    case 4: transpose_words(to, to_pitch, from, from_pitch, rows, columns, 4); break;
    default: transpose_words(to, to_pitch, from, from_pitch, rows, columns, 2);
#else
    case 4: transpose_items(to, to_pitch, from, from_pitch, rows, columns, 4); break;
    default: transpose_items(to, to_pitch, from, from_pitch, rows, columns, 8);
#endif
    }
}
