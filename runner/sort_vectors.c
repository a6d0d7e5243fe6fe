/* See sort_radix.h: the sort of keys alone with vectors of 512 bits. sort_vectors.h and sort_pieces.h, which
 * are compiled here for each width of keys, say how it works. */
#include "sort_radix.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__) && !defined(HL_SORT_WITHOUT_VECTORS)
#include <cpuid.h>
#include <immintrin.h>

#define VECTORS __attribute__((target("avx512f")))
#define INLINE VECTORS static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    MOST_ROWS = 16,
    NEAR = 2048,        /* keys, of which twice as many fit the nearest cache */
    PIECE = 1 << 15,    /* keys; these and BUCKET keys fit the next cache */
    BUCKET = 1 << 16,   /* keys, about */
    MOST_BUCKETS = 256, /* a power of two */
    SAMPLES = 16,       /* for each bucket */
};

/* Many keys on their way through pieces into buckets. */
typedef struct {
    hl_sorting *sorting;
    hl_sort_turns turns;
    int64_t pieces;
    int buckets;
    const void *pivots;
    int32_t *ends; /* for each piece, where in it each bucket ends */
    uint8_t *rooms, *parted;
    size_t room_bytes;
    int64_t starts[MOST_BUCKETS + 1];
} cutting;

static void *room_of(const cutting *job, int number) { return job->rooms + (size_t)number * job->room_bytes; }

static size_t in_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

static cutting *make_cutting(hl_sorting *sorting, size_t itemsize) {
    int buckets = 4;
    while (buckets < MOST_BUCKETS && (sorting->count / buckets > BUCKET || buckets < 8 * sorting->threads)) buckets *= 2;
    const int64_t pieces = (sorting->count + PIECE - 1) / PIECE;
    const size_t own = in_lines(sizeof(cutting)), ends = in_lines((size_t)pieces * (size_t)buckets * sizeof(int32_t));
    const size_t room = PIECE * itemsize;
    uint8_t *memory = hl_sort_take(own + ends + (size_t)sorting->threads * room + (size_t)sorting->count * itemsize);
    if (!memory) return NULL;
    cutting *job = (cutting *)memory;
    job->sorting = sorting;
    job->turns.watch = sorting->watch;
    job->pieces = pieces;
    job->buckets = buckets;
    job->ends = (int32_t *)(memory + own);
    job->rooms = memory + own + ends;
    job->room_bytes = room;
    job->parted = job->rooms + (size_t)sorting->threads * room;
    return job;
}

static void add_up_buckets(cutting *job) {
    int64_t sum = 0;
    for (int bucket = 0; bucket < job->buckets; bucket++) {
        job->starts[bucket] = sum;
        for (int64_t piece = 0; piece < job->pieces; piece++) {
            const int32_t *ends = job->ends + piece * job->buckets;
            sum += ends[bucket] - (bucket ? ends[bucket - 1] : 0);
        }
    }
    job->starts[job->buckets] = sum;
}

typedef __m512i vector;

#define WORD uint32_t
#define LANES 16
#define NAME(name) words_##name
#define mask __mmask16
#define ALL 0xffff
INLINE mask words_less(vector a, vector b) { return _mm512_cmplt_epu32_mask(a, b); }
/* The smaller, in lanes of a mask the larger. */
INLINE vector words_lesser(mask more, vector a, vector b) {
    return _mm512_mask_mov_epi32(_mm512_min_epu32(a, b), more, _mm512_max_epu32(a, b));
}
INLINE vector words_permute(vector a, vector lanes) { return _mm512_permutexvar_epi32(lanes, a); }
INLINE vector words_lanes_across(int bits) {
    return _mm512_xor_si512(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(bits));
}
INLINE mask words_lanes_with(int bit) { return bit == 1 ? 0xaaaa : bit == 2 ? 0xcccc : bit == 4 ? 0xf0f0 : 0xff00; }
INLINE vector words_interleave_low(vector a, vector b) {
    return _mm512_permutex2var_epi32(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
INLINE vector words_interleave_high(vector a, vector b) {
    return _mm512_permutex2var_epi32(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b);
}
INLINE mask words_first(int64_t count) { return count <= 0 ? 0 : count >= 16 ? 0xffff : (mask)((1u << count) - 1); }
/* Lanes beyond the count are higher than all keys, or as high. */
INLINE vector words_load(const uint32_t *from, int64_t count) {
    return _mm512_mask_loadu_epi32(_mm512_set1_epi32(-1), words_first(count), from);
}
INLINE void words_save(uint32_t *to, vector a, int64_t count) { _mm512_mask_storeu_epi32(to, words_first(count), a); }
INLINE vector words_load_all(const uint32_t *from) { return _mm512_loadu_si512(from); }
INLINE vector words_spread(uint32_t a) { return _mm512_set1_epi32((int)a); }
/* Keys below the pivot go to `left`, the others up to `right`; between is room for two vectors. */
INLINE void words_split(uint32_t *left, uint32_t *right, vector keys, mask below, int few) {
    _mm512_storeu_si512(left, _mm512_maskz_compress_epi32(below, keys));
    _mm512_mask_storeu_epi32(right - 16 + few, (mask)(0xffffu >> few), _mm512_maskz_compress_epi32((mask)~below, keys));
}
#include "sort_vectors.h"
#include "sort_pieces.h"
#undef WORD
#undef LANES
#undef NAME
#undef mask
#undef EXCHANGE
#undef ALL

#define WORD uint64_t
#define LANES 8
#define NAME(name) longs_##name
#define mask __mmask8
#define ALL 0xff
INLINE mask longs_less(vector a, vector b) { return _mm512_cmplt_epu64_mask(a, b); }
/* This way around takes less than the instructions for minimum and maximum of 64 bits. */
INLINE vector longs_lesser(mask more, vector a, vector b) { return _mm512_mask_mov_epi64(a, longs_less(b, a) ^ more, b); }
INLINE vector longs_permute(vector a, vector lanes) { return _mm512_permutexvar_epi64(lanes, a); }
INLINE vector longs_lanes_across(int bits) {
    return _mm512_xor_si512(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(bits));
}
INLINE mask longs_lanes_with(int bit) { return bit == 1 ? 0xaa : bit == 2 ? 0xcc : 0xf0; }
INLINE vector longs_interleave_low(vector a, vector b) {
    return _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b);
}
INLINE vector longs_interleave_high(vector a, vector b) {
    return _mm512_permutex2var_epi64(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b);
}
INLINE mask longs_first(int64_t count) { return count <= 0 ? 0 : count >= 8 ? 0xff : (mask)((1u << count) - 1); }
/* Lanes beyond the count are higher than all keys, or as high. */
INLINE vector longs_load(const uint64_t *from, int64_t count) {
    return _mm512_mask_loadu_epi64(_mm512_set1_epi64(-1), longs_first(count), from);
}
INLINE void longs_save(uint64_t *to, vector a, int64_t count) { _mm512_mask_storeu_epi64(to, longs_first(count), a); }
INLINE vector longs_load_all(const uint64_t *from) { return _mm512_loadu_si512(from); }
/* The lanes that are in a mask, then the others, a byte each: quicker than two compressions. */
static uint64_t splits[256];

static void make_splits(void) {
    for (unsigned below = 0; below < 256; below++) {
        unsigned at = 0;
        for (unsigned set = 0; set < 2; set++)
            for (unsigned lane = 0; lane < 8; lane++)
                if ((below >> lane & 1) != set) splits[below] |= (uint64_t)lane << 8 * at++;
    }
}

INLINE void longs_split(uint64_t *left, uint64_t *right, vector keys, mask below, int few) {
    (void)few;
    const vector lanes = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)&splits[below]));
    const vector both = _mm512_permutexvar_epi64(lanes, keys);
    _mm512_storeu_si512(left, both);
    _mm512_storeu_si512(right - 8, both);
}

INLINE vector longs_spread(uint64_t a) { return _mm512_set1_epi64((long long)a); }
#include "sort_vectors.h"
#include "sort_pieces.h"

/* Intel SDM volume 1, 15.2: the system saves the registers (XCR0), and the processor has AVX-512F. */
static int detect(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 0xe6) == 0xe6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX512F);
}

static int known;

static void prepare(void) {
    known = detect();
    make_splits();
}

int hl_sort_has_vectors(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare);
    return known;
}

void hl_sort_words_in_vectors(uint32_t *items, int64_t count) { words_sort_here(items, count); }

void hl_sort_longs_in_vectors(uint64_t *items, int64_t count) { longs_sort_here(items, count); }

int hl_sort_words_in_pieces(hl_sorting *sorting) { return words_sort_pieces(sorting); }

int hl_sort_longs_in_pieces(hl_sorting *sorting) { return longs_sort_pieces(sorting); }

#else
int hl_sort_has_vectors(void) { return 0; }
int hl_sort_words_in_pieces(hl_sorting *sorting) { return hl_sort_words(sorting); }
int hl_sort_longs_in_pieces(hl_sorting *sorting) { return hl_sort_longs(sorting); }
void hl_sort_words_in_vectors(uint32_t *items, int64_t count) { (void)items, (void)count; }
void hl_sort_longs_in_vectors(uint64_t *items, int64_t count) { (void)items, (void)count; }
#endif
