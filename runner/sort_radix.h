/* What the parts of the sorts share.
 *
 * sort.c          the calls, scratch memory, turns of threads
 * sort_keys.c     values as unsigned keys, and back
 * sort_radix.c    the stable sort of such keys, alone or with places; compiles sort_items.h for each kind of item
 * sort_vectors.c  the sort of keys alone with AVX-512: sort_vectors.h for few, sort_pieces.h for many
 * sort_merge.c    the sort by a predicate */
#ifndef HOTLOOP_SORT_RADIX_H
#define HOTLOOP_SORT_RADIX_H

#include <stdatomic.h>
#include <stddef.h>

#include "sort.h"

/* Items are uint32_t keys, uint64_t keys, uint64_t with a key above a place of 32 bits, or these: */
typedef struct {
    uint64_t key;
    int64_t place;
} hl_sort_pair;

/* When to ask the caller, and what the answer was. */
typedef struct {
    int (*interrupted)(void *);
    void *caller;
    int64_t asked; /* nanoseconds */
    atomic_int stopped;
} hl_sort_watch;

/* One stable sort of items. Keys compare as unsigned numbers without their lowest `floor` bits. */
typedef struct hl_sorting {
    int64_t count;
    int floor, threads;
    int extra; /* how many bits beyond the logarithm of the count tell most items apart */
    void *items; /* room for `count` items, which may be a result; NULL: there is no room yet */
    hl_sort_watch *watch;

    /* Items [start, start + count) of what is sorted; take such items, which have their final places. The
     * items may lie where the results go, at the same place. */
    void (*load)(const struct hl_sorting *, int64_t start, int64_t count, void *items);
    void (*store)(const struct hl_sorting *, int64_t start, int64_t count, const void *items);

    /* For load and store. */
    const hl_sort_key *keys; /* that make one key of an item, from the highest bits down */
    int key_count;
    const int64_t *places; /* through which keys are read; NULL: in their order */
    int64_t *order;
    void *sorted;                    /* values of keys[0] */
    const struct hl_sorting *larger; /* of which this is a part, from `first` on; its items: `part` */
    const void *part;
    int64_t first;
} hl_sorting;

/* Sort items of one kind; return what hl_sort does. */
int hl_sort_words(hl_sorting *); /* uint32_t */
int hl_sort_longs(hl_sorting *); /* uint64_t */
int hl_sort_pairs(hl_sorting *);

void hl_sort_begin(hl_sort_watch *watch, int (*interrupted)(void *), void *caller);

/* Work in turns: threads take one number after another. */
typedef struct {
    hl_sort_watch *watch;
    int64_t count;
    _Atomic int64_t next;
} hl_sort_turns;

/* Run work(job, ..) on the threads, with `count` turns to take. */
void hl_sort_share(hl_sort_turns *turns, void (*work)(void *, int), void *job, int64_t count, int threads);

/* The next turn, for the thread of that number; -1: there is none, or the caller wants to stop. */
int64_t hl_sort_next(hl_sort_turns *turns, int number);

/* Scratch memory, 64-byte aligned; NULL: there is none. */
void *hl_sort_take(size_t bytes);
void hl_sort_give(void *block);

/* Set load and store for keys: words or longs alone, longs with places, pairs. */
void hl_sort_keys_alone(hl_sorting *);
void hl_sort_keys_packed(hl_sorting *);
void hl_sort_keys_paired(hl_sorting *);

/* Sort keys as whole numbers; only if the processor has the vectors. */
int hl_sort_has_vectors(void);
void hl_sort_words_in_vectors(uint32_t *items, int64_t count);
void hl_sort_longs_in_vectors(uint64_t *items, int64_t count);
int hl_sort_words_in_pieces(hl_sorting *); /* for many */
int hl_sort_longs_in_pieces(hl_sorting *);

/* How many bits the keys of a kind have. */
int hl_sort_key_bits(char kind);

/* Put zeros and NaN of values that were sorted by their keys alone in the order that they came in. */
void hl_sort_restore(const hl_sort_key *key, int64_t count, void *sorted);

/* sorted[i] = the value of the key at order[i], for i in [start, start + count) */
void hl_sort_gather(const hl_sort_key *key, const int64_t *order, int64_t start, int64_t count, void *sorted);

#endif
