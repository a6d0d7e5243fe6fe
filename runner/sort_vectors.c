/* See sort_radix.h: the sort of few keys with vectors of 512 bits. sort_vectors.h, which is compiled here
 * for each width of keys, says how it works. */
#include "sort_radix.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define VECTORS __attribute__((target("avx512f")))
#define INLINE VECTORS static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { MOST_ROWS = 16 };

typedef __m512i vector;

#define WORD uint32_t
#define LANES 16
#define NAME(name) words_##name
#define mask __mmask16
INLINE vector words_min(vector a, vector b) { return _mm512_min_epu32(a, b); }
INLINE vector words_max(vector a, vector b) { return _mm512_max_epu32(a, b); }
INLINE vector words_permute(vector a, vector lanes) { return _mm512_permutexvar_epi32(lanes, a); }
INLINE vector words_blend(mask high, vector a, vector b) { return _mm512_mask_mov_epi32(a, high, b); }
INLINE vector words_numbers(void) { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
INLINE vector words_lanes_across(int bits) { return _mm512_xor_si512(words_numbers(), _mm512_set1_epi32(bits)); }
INLINE mask words_lanes_with(int bit) { return bit == 1 ? 0xaaaa : bit == 2 ? 0xcccc : bit == 4 ? 0xf0f0 : 0xff00; }
INLINE vector words_interleave_low(vector a, vector b) {
    return _mm512_permutex2var_epi32(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
INLINE vector words_interleave_high(vector a, vector b) {
    return _mm512_permutex2var_epi32(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b);
}
INLINE mask words_first(int64_t count) { return count <= 0 ? 0 : count >= 16 ? 0xffff : (mask)((1u << count) - 1); }
INLINE vector words_load(const uint32_t *from, int64_t count) { return _mm512_mask_loadu_epi32(_mm512_set1_epi32(-1), words_first(count), from); }
INLINE void words_save(uint32_t *to, vector a, int64_t count) { _mm512_mask_storeu_epi32(to, words_first(count), a); }
INLINE vector words_load_all(const uint32_t *from) { return _mm512_loadu_si512(from); }
INLINE void words_save_some(uint32_t *to, vector a, int count) { _mm512_mask_storeu_epi32(to, (mask)((1u << count) - 1), a); }
INLINE vector words_spread(uint32_t a) { return _mm512_set1_epi32((int)a); }
INLINE mask words_less(vector a, vector b) { return _mm512_cmplt_epu32_mask(a, b); }
INLINE vector words_compress(mask some, vector a) { return _mm512_maskz_compress_epi32(some, a); }
#include "sort_vectors.h"
#undef WORD
#undef LANES
#undef NAME
#undef mask
#undef EXCHANGE

#define WORD uint64_t
#define LANES 8
#define NAME(name) longs_##name
#define mask __mmask8
INLINE vector longs_min(vector a, vector b) { return _mm512_min_epu64(a, b); }
INLINE vector longs_max(vector a, vector b) { return _mm512_max_epu64(a, b); }
INLINE vector longs_permute(vector a, vector lanes) { return _mm512_permutexvar_epi64(lanes, a); }
INLINE vector longs_blend(mask high, vector a, vector b) { return _mm512_mask_mov_epi64(a, high, b); }
INLINE vector longs_lanes_across(int bits) { return _mm512_xor_si512(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(bits)); }
INLINE mask longs_lanes_with(int bit) { return bit == 1 ? 0xaa : bit == 2 ? 0xcc : 0xf0; }
INLINE vector longs_interleave_low(vector a, vector b) {
    return _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b);
}
INLINE vector longs_interleave_high(vector a, vector b) {
    return _mm512_permutex2var_epi64(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b);
}
INLINE mask longs_first(int64_t count) { return count <= 0 ? 0 : count >= 8 ? 0xff : (mask)((1u << count) - 1); }
INLINE vector longs_load(const uint64_t *from, int64_t count) { return _mm512_mask_loadu_epi64(_mm512_set1_epi64(-1), longs_first(count), from); }
INLINE void longs_save(uint64_t *to, vector a, int64_t count) { _mm512_mask_storeu_epi64(to, longs_first(count), a); }
INLINE vector longs_load_all(const uint64_t *from) { return _mm512_loadu_si512(from); }
INLINE void longs_save_some(uint64_t *to, vector a, int count) { _mm512_mask_storeu_epi64(to, (mask)((1u << count) - 1), a); }
INLINE vector longs_spread(uint64_t a) { return _mm512_set1_epi64((long long)a); }
INLINE mask longs_less(vector a, vector b) { return _mm512_cmplt_epu64_mask(a, b); }
INLINE vector longs_compress(mask some, vector a) { return _mm512_maskz_compress_epi64(some, a); }
#include "sort_vectors.h"

/* Intel SDM volume 1, 15.2: the system saves the registers (XCR0), and the processor has AVX-512F. */
static int detect(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 0xe6) == 0xe6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX512F);
}

int hl_sort_has_vectors(void) {
    static atomic_int known; /* 0: not asked for yet */
    if (!known) known = detect() ? 2 : 1;
    return known == 2;
}

static int patience_for(int64_t count) { return 2 * (64 - __builtin_clzll((uint64_t)count)); }

void hl_sort_words_in_vectors(uint32_t *items, uint32_t *other, int64_t count) { words_sort(items, other, count, 0, patience_for(count)); }

void hl_sort_longs_in_vectors(uint64_t *items, uint64_t *other, int64_t count) { longs_sort(items, other, count, 0, patience_for(count)); }

#else
int hl_sort_has_vectors(void) { return 0; }
void hl_sort_words_in_vectors(uint32_t *items, uint32_t *other, int64_t count) { (void)items, (void)other, (void)count; }
void hl_sort_longs_in_vectors(uint64_t *items, uint64_t *other, int64_t count) { (void)items, (void)other, (void)count; }
#endif
