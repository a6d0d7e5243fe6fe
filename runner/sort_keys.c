/* See sort_radix.h: values as unsigned keys, and back. Integers and floats become unsigned numbers of the
 * same order; a descending key is the complement, but NaN, which is last, is always the highest key. */
#include <string.h>

#include "sort_radix.h"

enum { BLOCK = 256, FEWEST_TESTED = 64 };

/* The arrays hold numbers of other types. */
typedef uint32_t __attribute__((may_alias)) word;
typedef uint64_t __attribute__((may_alias)) longword;

static const uint32_t SIGN = 0x80000000u, INFINITE = 0x7f800000u;
static const uint64_t LONG_SIGN = (uint64_t)1 << 63, LONG_INFINITE = (uint64_t)0x7ff << 52;

int hl_sort_key_bits(char kind) { return kind == '?' ? 1 : kind == 'i' || kind == 'f' ? 32 : 64; }

/* ------------------------------------------------------------------------------------- one number
 * `flip` has all bits set for descending keys. Negative floats compare the other way around. */

static inline uint32_t key_of_float(uint32_t bits, uint32_t flip) {
    const uint32_t nan = (bits & ~SIGN) > INFINITE ? ~(uint32_t)0 : 0;
    return (bits ^ flip ^ ((uint32_t)((int32_t)bits >> 31) | SIGN)) | nan;
}

static inline uint64_t key_of_double(uint64_t bits, uint64_t flip) {
    const uint64_t nan = (bits & ~LONG_SIGN) > LONG_INFINITE ? ~(uint64_t)0 : 0;
    return (bits ^ flip ^ ((uint64_t)((int64_t)bits >> 63) | LONG_SIGN)) | nan;
}

static inline uint32_t float_of_key(uint32_t key, uint32_t flip) {
    key ^= flip;
    return key ^ ((uint32_t)((int32_t)~key >> 31) | SIGN);
}

static inline uint64_t double_of_key(uint64_t key, uint64_t flip) {
    key ^= flip;
    return key ^ ((uint64_t)((int64_t)~key >> 63) | LONG_SIGN);
}

static inline uint64_t flip_of(const hl_sort_key *key) { return key->descending ? ~(uint64_t)0 : 0; }

/* ------------------------------------------------------------------------------------- keys alone */

#define LOAD_ALONE(name, type, expression)                                                                     \
    static void name(const hl_sorting *sorting, int64_t start, int64_t count, void *items) {                  \
        const type *from = (const type *)sorting->keys->data + start, flip = (type)flip_of(sorting->keys);     \
        type *to = items;                                                                                      \
        for (int64_t i = 0; i < count; i++) to[i] = expression;                                                \
    }

#define STORE_ALONE(name, type, expression)                                                                    \
    static void name(const hl_sorting *sorting, int64_t start, int64_t count, const void *items) {            \
        const type *from = items, flip = (type)flip_of(sorting->keys);                                         \
        type *to = (type *)sorting->sorted + start;                                                            \
        for (int64_t i = 0; i < count; i++) to[i] = expression;                                                \
    }

LOAD_ALONE(load_ints, word, from[i] ^ flip ^ SIGN)
LOAD_ALONE(load_longs, longword, from[i] ^ flip ^ LONG_SIGN)
LOAD_ALONE(load_floats, word, key_of_float(from[i], flip))
LOAD_ALONE(load_doubles, longword, key_of_double(from[i], flip))
STORE_ALONE(store_ints, word, from[i] ^ flip ^ SIGN)
STORE_ALONE(store_longs, longword, from[i] ^ flip ^ LONG_SIGN)
STORE_ALONE(store_floats, word, float_of_key(from[i], flip))
STORE_ALONE(store_doubles, longword, double_of_key(from[i], flip))

void hl_sort_keys_alone(hl_sorting *sorting) {
    switch (sorting->keys->kind) {
    case 'i': sorting->load = load_ints, sorting->store = store_ints; break;
    case 'q': sorting->load = load_longs, sorting->store = store_longs; break;
    case 'f': sorting->load = load_floats, sorting->store = store_floats; break;
    default: sorting->load = load_doubles, sorting->store = store_doubles;
    }
}

/* ------------------------------------------------------------------------------- keys with places
 * Here the keys of both zeros are one: what they were is read again where values are asked for. */

static inline uint64_t one_zero(uint64_t bits, uint64_t sign) { return bits & ~sign ? bits : 0; }

/* The keys of elements, as numbers of hl_sort_key_bits. */
static inline __attribute__((always_inline)) void widen_some(const hl_sort_key *key, const int64_t *places, int64_t start, int64_t count,
                                                             uint64_t *to) {
    const uint64_t flip = flip_of(key);
    const uint8_t *bytes = key->data;
    const word *words = key->data;
    const longword *longs = key->data;
#define EACH(expression)                              \
    for (int64_t i = 0; i < count; i++) {             \
        const int64_t j = places ? places[start + i] : start + i; \
        to[i] = expression;                           \
    }                                                 \
    break
    switch (key->kind) {
    case '?': EACH((bytes[j] != 0) ^ (flip & 1));
    case 'i': EACH(words[j] ^ (uint32_t)flip ^ SIGN);
    case 'q': EACH(longs[j] ^ flip ^ LONG_SIGN);
    case 'f': EACH(key_of_float((uint32_t)one_zero(words[j], SIGN), (uint32_t)flip));
    default: EACH(key_of_double(one_zero(longs[j], LONG_SIGN), flip));
    }
#undef EACH
}

/* The keys of some items, made of all keys. */
static void widen(const hl_sorting *sorting, int64_t start, int64_t count, uint64_t *to) {
    uint64_t next[BLOCK];
    for (int k = 0; k < sorting->key_count; k++) {
        const hl_sort_key *key = &sorting->keys[k];
        const int bits = hl_sort_key_bits(key->kind);
        if (sorting->places) widen_some(key, sorting->places, start, count, k ? next : to);
        else widen_some(key, NULL, start, count, k ? next : to);
        if (k)
            for (int64_t i = 0; i < count; i++) to[i] = to[i] << bits | next[i];
    }
}

static void load_packed(const hl_sorting *sorting, int64_t start, int64_t count, void *items) {
    uint64_t *to = items;
    for (int64_t some; count > 0; start += some, count -= some, to += some) {
        some = count < BLOCK ? count : BLOCK;
        widen(sorting, start, some, to);
        for (int64_t i = 0; i < some; i++) to[i] = to[i] << 32 | (uint64_t)(start + i);
    }
}

static void load_pairs(const hl_sorting *sorting, int64_t start, int64_t count, void *items) {
    uint64_t keys[BLOCK];
    hl_sort_pair *to = items;
    for (int64_t some; count > 0; start += some, count -= some, to += some) {
        some = count < BLOCK ? count : BLOCK;
        widen(sorting, start, some, keys);
        for (int64_t i = 0; i < some; i++) to[i] = (hl_sort_pair){keys[i], sorting->places ? sorting->places[start + i] : start + i};
    }
}

/* The value that has such a key; `place` is read where a key has several values. */
static inline uint64_t value_of_key(const hl_sort_key *key, uint64_t number, int64_t place) {
    const uint64_t flip = flip_of(key);
    switch (key->kind) {
    case '?': return (number ^ flip) & 1;
    case 'i': return (uint32_t)number ^ (uint32_t)flip ^ SIGN;
    case 'q': return number ^ flip ^ LONG_SIGN;
    case 'f': {
        const uint32_t value = float_of_key((uint32_t)number, (uint32_t)flip);
        return (value & ~SIGN) - 1 < INFINITE ? value : ((const word *)key->data)[place];
    }
    default: {
        const uint64_t value = double_of_key(number, flip);
        return (value & ~LONG_SIGN) - 1 < LONG_INFINITE ? value : ((const longword *)key->data)[place];
    }
    }
}

static inline void put_value(const hl_sort_key *key, void *sorted, int64_t at, uint64_t value) {
    if (key->kind == '?') ((uint8_t *)sorted)[at] = (uint8_t)value;
    else if (hl_sort_key_bits(key->kind) == 32) ((word *)sorted)[at] = (uint32_t)value;
    else ((longword *)sorted)[at] = value;
}

/* Values first: the items may lie where the order goes. */
static void store_packed(const hl_sorting *sorting, int64_t start, int64_t count, const void *items) {
    const longword *from = items;
    if (sorting->sorted)
        for (int64_t i = 0; i < count; i++)
            put_value(sorting->keys, sorting->sorted, start + i, value_of_key(sorting->keys, from[i] >> 32, (uint32_t)from[i]));
    for (int64_t i = 0; i < count; i++) ((longword *)sorting->order)[start + i] = (uint32_t)from[i];
}

static void store_pairs(const hl_sorting *sorting, int64_t start, int64_t count, const void *items) {
    const hl_sort_pair *from = items;
    if (sorting->sorted)
        for (int64_t i = 0; i < count; i++)
            put_value(sorting->keys, sorting->sorted, start + i, value_of_key(sorting->keys, from[i].key, from[i].place));
    for (int64_t i = 0; i < count; i++) sorting->order[start + i] = from[i].place;
}

void hl_sort_keys_packed(hl_sorting *sorting) {
    sorting->load = load_packed;
    sorting->store = store_packed;
}

void hl_sort_keys_paired(hl_sorting *sorting) {
    sorting->load = load_pairs;
    sorting->store = store_pairs;
}

void hl_sort_gather(const hl_sort_key *key, const int64_t *order, int64_t start, int64_t count, void *sorted) {
    const uint8_t *bytes = key->data;
    const word *words = key->data;
    const longword *longs = key->data;
    uint8_t *to = sorted;
    word *to_words = sorted;
    longword *to_longs = sorted;
    const int64_t end = start + count;
    switch (hl_sort_key_bits(key->kind)) {
    case 1: for (int64_t i = start; i < end; i++) to[i] = bytes[order[i]] != 0; break;
    case 32: for (int64_t i = start; i < end; i++) to_words[i] = words[order[i]]; break;
    default: for (int64_t i = start; i < end; i++) to_longs[i] = longs[order[i]];
    }
}

/* --------------------------------------------------------------------------------- zeros and NaN */

/* Floats of either width, as 64-bit numbers of the same shape: those of 32 bits are shifted up. */
static inline uint64_t bits_at(const hl_sort_key *key, const void *data, int64_t i) {
    return key->kind == 'f' ? (uint64_t)((const word *)data)[i] << 32 : ((const longword *)data)[i];
}

static inline int is_nan(const hl_sort_key *key, uint64_t bits) {
    return (bits & ~LONG_SIGN) > (key->kind == 'f' ? (uint64_t)INFINITE << 32 : LONG_INFINITE);
}

static inline int is_zero(uint64_t bits) { return !(bits << 1); }

/* The first of sorted values that is (1) NaN or (0) no longer before zero. */
static int64_t first_of(const hl_sort_key *key, const void *sorted, int64_t count, int nan) {
    int64_t low = 0, high = count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const uint64_t bits = bits_at(key, sorted, middle);
        const int before_zero = !is_zero(bits) && (bits >> 63) != (uint64_t)(key->descending != 0);
        if (is_nan(key, bits) || (!nan && !before_zero)) high = middle;
        else low = middle + 1;
    }
    return low;
}

/* Write those of the values that are zeros, or NaN, one after another from `at` on. */
static void replay(const hl_sort_key *key, int64_t count, void *sorted, int64_t at, int nan) {
    for (int64_t start = 0; start < count; start += FEWEST_TESTED) {
        const int64_t end = count - start < FEWEST_TESTED ? count : start + FEWEST_TESTED;
        int some = 0;
        for (int64_t i = start; i < end; i++) {
            const uint64_t bits = bits_at(key, key->data, i);
            some |= nan ? is_nan(key, bits) : is_zero(bits);
        }
        for (int64_t i = start; some && i < end; i++) {
            const uint64_t bits = bits_at(key, key->data, i);
            if (nan ? is_nan(key, bits) : is_zero(bits)) put_value(key, sorted, at++, key->kind == 'f' ? bits >> 32 : bits);
        }
    }
}

void hl_sort_restore(const hl_sort_key *key, int64_t count, void *sorted) {
    if ((key->kind != 'f' && key->kind != 'd')) return;
    const int64_t nans = first_of(key, sorted, count, 1), zeros = first_of(key, sorted, nans, 0);
    if (nans < count) replay(key, count, sorted, nans, 1);
    if (zeros >= nans || !is_zero(bits_at(key, sorted, zeros))) return;
    int64_t low = zeros, high = nans; /* zeros of the first kind end before `high` */
    const uint64_t first = bits_at(key, sorted, zeros);
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (bits_at(key, sorted, middle) == first) low = middle + 1;
        else high = middle;
    }
    if (low < nans && is_zero(bits_at(key, sorted, low))) replay(key, count, sorted, zeros, 0);
}
