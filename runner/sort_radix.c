/* See sort_radix.h. What all kinds of items have in common; sort_items.h, which is compiled here for each
 * kind, says how the sort works. */
#include "sort_radix.h"

#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

enum {
    FEW = 20,                         /* items: an insertion sort is quicker from the start */
    FEW_ON_STACK = 1024,              /* items that need no scratch memory */
    WORTH_THREADS = 1 << 15,          /* items */
    MOST_AT_ONCE = 1 << 17,           /* items that one thread sorts without a cut */
    MOST_IN_VECTORS = 1 << 22,        /* the same with vectors: more would do, but could not be interrupted */
    BLOCK = 512,                      /* items that are loaded at once, into the nearest cache */
    MOST_PASSES = 4, MOST_WIDTH = 11, /* digits, and bits of one */
    FEW_BUCKETS = 64,                 /* as many places as can be written to in turn without a line for each */
    MOST_BUCKETS = 2048,
    BUCKET = 4096,                    /* items, about */
    PART_BITS = 5,                    /* hl_sorting.extra of a bucket, whose keys are close together */
    SAMPLES = 8,                      /* for each bucket */
    FEWEST_BIN_BITS = 10, MOST_BIN_BITS = 18,
    LINE = 64,                        /* bytes of a cache line */
    PIECE = 1 << 20,                  /* most items that are moved at once */
    PIECES = 4,                       /* at least, for each thread */
};

/* What sorting a run takes. */
typedef struct {
    uint32_t counts[MOST_PASSES][1 << MOST_WIDTH];
    int floor, extra; /* see hl_sorting */
    int vectors;      /* whether to sort with vectors where that is possible */
} hl_digit_room;

/* Sort by `passes` digits of `width` bits, the lowest of which begins at bit `shift`. */
typedef struct {
    int shift, width, passes;
} hl_digits;

/* What one thread needs. */
typedef struct {
    _Alignas(LINE) uint8_t lines[MOST_BUCKETS * LINE];
    int64_t begins[MOST_BUCKETS];
    hl_digit_room digits;
    hl_sort_pair block_room[BLOCK]; /* of whatever kind */
    void *block, *other;            /* `other`: MOST_AT_ONCE items */
} hl_room;

/* Many items on their way into buckets. */
typedef struct {
    hl_sorting *sorting;
    uint64_t low, last; /* keys from `low` on lie in bins of 1 << shift, up to bin `last` */
    int shift, buckets;
    uint16_t bucket_of[(1 << MOST_BIN_BITS) + 3];
    int64_t starts[MOST_BUCKETS + 1];
    uint8_t left[MOST_BUCKETS]; /* whether a bucket is yet to be sorted */
    int64_t pieces, piece;      /* the items are moved in so many pieces of so many items */
    int64_t *offsets;           /* for each piece, where its next item of each bucket goes */
    uint8_t *rooms;
    size_t room_bytes;
    hl_sort_turns turns; /* a piece or a bucket each */
} hl_parting;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int bits_of(uint64_t number) { return 64 - __builtin_clzll(number); }

/* Of the highest bits that differ, as many as tell most items apart; all of them if that takes no longer. */
static hl_digits choose_digits(uint64_t bits, int64_t count, int extra) {
    const int high = bits_of(bits), low = __builtin_ctzll(bits), enough = bits_of((uint64_t)count) + extra;
    const int widest = count < 512 ? 8 : count < 1024 ? 9 : MOST_WIDTH, wanted = high - low < enough ? high - low : enough;
    const int needed = (wanted + widest - 1) / widest, passes = needed < MOST_PASSES ? needed : MOST_PASSES;
    const int spread = (wanted + passes - 1) / passes, width = spread < widest ? spread : widest;
    const int shift = high - passes * width;
    return (hl_digits){shift < low ? low : shift, width, passes};
}

/* Turn counts into offsets. */
static void add_up(uint32_t *counts, int width) {
    uint32_t sum = 0;
    for (int i = 0; i < 1 << width; i++) {
        const uint32_t count = counts[i];
        counts[i] = sum;
        sum += count;
    }
}

/* Write a line that will not be read soon; without reading it first. */
static inline void stream_line(void *to, const void *from) {
#if defined(__x86_64__)
    for (int i = 0; i < 4; i++) _mm_stream_si128((__m128i *)to + i, _mm_load_si128((const __m128i *)from + i));
#else
    memcpy(to, from, LINE);
#endif
}

/* Others may read what was streamed. */
static inline void streamed(void) {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

static hl_room *room_of(const hl_parting *parting, int number) {
    return (hl_room *)(parting->rooms + (size_t)number * parting->room_bytes);
}

/* Turn counts of all pieces into offsets. */
static void add_up_pieces(hl_parting *parting) {
    int64_t sum = 0;
    for (int bucket = 0; bucket < parting->buckets; bucket++) {
        parting->starts[bucket] = sum;
        parting->left[bucket] = 0;
        for (int64_t piece = 0; piece < parting->pieces; piece++) {
            int64_t *offset = &parting->offsets[piece * MOST_BUCKETS + bucket];
            const int64_t count = *offset;
            *offset = sum;
            sum += count;
        }
    }
    parting->starts[parting->buckets] = sum;
}

/* Writing to few places in turn is quicker, to many it takes lines for each: nothing in between. */
static int bucket_count(const hl_sorting *sorting) {
    const int64_t wanted = sorting->count / BUCKET;
    return wanted <= 2 * FEW_BUCKETS ? FEW_BUCKETS * 3 / 4 : (int)smaller(wanted, MOST_BUCKETS);
}

static size_t in_lines(size_t bytes) { return (bytes + LINE - 1) / LINE * LINE; }

static hl_parting *make_parting(hl_sorting *sorting, size_t itemsize) {
    const int64_t fair = sorting->count / (sorting->threads * PIECES) + 1, piece = smaller(fair, PIECE);
    const int64_t pieces = (sorting->count + piece - 1) / piece;
    const size_t own = in_lines(sizeof(hl_parting)), offsets = in_lines((size_t)pieces * MOST_BUCKETS * sizeof(int64_t));
    const size_t room = in_lines(sizeof(hl_room) + MOST_AT_ONCE * itemsize);
    uint8_t *memory = hl_sort_take(own + offsets + (size_t)sorting->threads * room);
    if (!memory) return NULL;
    hl_parting *parting = (hl_parting *)memory;
    parting->sorting = sorting;
    parting->turns.watch = sorting->watch;
    parting->buckets = bucket_count(sorting);
    parting->pieces = pieces;
    parting->piece = piece;
    parting->offsets = (int64_t *)(memory + own);
    parting->rooms = memory + own + offsets;
    parting->room_bytes = room;
    for (int i = 0; i < sorting->threads; i++) {
        hl_room *one = room_of(parting, i);
        one->block = one->block_room;
        one->other = one + 1;
        one->digits.floor = sorting->floor;
        one->digits.extra = PART_BITS;
        one->digits.vectors = hl_sort_has_vectors();
    }
    return parting;
}

#define ITEM uint32_t
#define WORD uint32_t
#define KEY(item) (item)
#define NAME(name) words_##name
#define VECTORS 1
#define FEW_IN_VECTORS hl_sort_words_in_vectors
#define MANY_IN_VECTORS hl_sort_words_in_pieces
#include "sort_items.h"
#undef ITEM
#undef WORD
#undef NAME
#undef FEW_IN_VECTORS
#undef MANY_IN_VECTORS

#define ITEM uint64_t
#define WORD uint64_t
#define NAME(name) longs_##name
#define FEW_IN_VECTORS hl_sort_longs_in_vectors
#define MANY_IN_VECTORS hl_sort_longs_in_pieces
#include "sort_items.h"
#undef ITEM
#undef KEY
#undef NAME
#undef VECTORS

#define ITEM hl_sort_pair
#define KEY(item) ((item).key)
#define NAME(name) pairs_##name
#define VECTORS 0
#include "sort_items.h"

int hl_sort_words(hl_sorting *sorting) { return words_sort(sorting); }
int hl_sort_longs(hl_sorting *sorting) { return longs_sort(sorting); }
int hl_sort_pairs(hl_sorting *sorting) { return pairs_sort(sorting); }
