/* Stable sorts of arrays by one or several keys, and by a predicate, on the threads of threads.h.
 *
 * The order is that of comparing values: false before true, -0.0 equal to 0.0, NaN equal to NaN and after
 * everything else, ascending and descending. Equal elements keep their order either way, and with it the
 * sign of their zero and the payload of their NaN. A stable order is unique: no result depends on the
 * number of threads. Nothing here touches Python or the memory pool: call it without the GIL.
 *
 * Scratch memory comes from malloc: nothing up to some hundred elements, else about as much as the keys take,
 * for the order of 64-bit or of several keys 16 bytes an element, and for keys of more than 64 bits together 8
 * more. A block of up to 20 MB is kept for the next sort: it needs no page faults then.
 */
#ifndef HOTLOOP_SORT_H
#define HOTLOOP_SORT_H

#include <stdint.h>

enum { HL_SORTED, HL_SORT_NO_MEMORY, HL_SORT_INTERRUPTED }; /* what sorts return; results count after HL_SORTED alone */

typedef struct {
    const void *data; /* `count` elements, one after another, aligned to their size */
    char kind;        /* '?' 'i' 'q' 'f' 'd' */
    int descending;
} hl_sort_key;

/* Sort `count` elements by keys[0], those that are equal by keys[1], and so on; key_count >= 1.
 * order: receives the places that the elements had, in their new order; may be NULL.
 * sorted: sorted[k] receives the values of key k in their new order; each of them and `sorted` may be NULL.
 * No result may overlap a key or another result. At most `threads` threads work on it (<= 0: hl_get_threads()).
 * interrupted(caller), which may be NULL, is asked about every 50 ms, by the caller's thread, whether to stop. */
int hl_sort(const hl_sort_key *keys, int key_count, int64_t count, int64_t *order, void *const *sorted, int threads,
            int (*interrupted)(void *), void *caller);

/* Whether element i comes before element j, by a strict weak order; i and j are places in [0, count). */
typedef int (*hl_less)(void *context, int64_t i, int64_t j);

/* A stable merge sort: `order` receives the places in their new order. Needs 8 bytes an element of scratch.
 * contexts: one for each of `threads` threads, which call `less` at the same time; threads >= 1. A predicate that
 * is no strict weak order gives some order, the same for any number of threads. */
int hl_sort_by(hl_less less, void *const *contexts, int threads, int64_t count, int64_t *order, int (*interrupted)(void *), void *caller);

#endif
