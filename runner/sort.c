/* See sort.h: the calls, and the scratch memory and the patience that their parts share. */
#define _GNU_SOURCE
#include "sort.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "sort_radix.h"
#include "threads.h"

enum {
    LINE = 64, HUGE_PAGE = 2 << 20,                 /* bytes */
    INT_BITS = 6, FLOAT_BITS = 9, DOUBLE_BITS = 12, /* see hl_sorting.extra: floats waste bits on exponents that are rare */
    GATHERED = 1 << 14,                             /* elements that a thread takes at once */
    FAIR = 1 << 14,                                 /* elements that are worth another thread and its scratch memory */
};

static const int64_t PATIENCE = 50000000; /* nanoseconds after which the caller is asked whether to go on */
static const size_t KEPT = (size_t)20 << 20;

/* ----------------------------------------------------------------------------------------- scratch
 * The block of the last sort waits for the next one, which so needs no page faults. */

typedef struct {
    _Alignas(LINE) size_t bytes;
} header;

static _Atomic(header *) kept;

void *hl_sort_take(size_t bytes) {
    header *block = atomic_exchange(&kept, NULL);
    if (block && block->bytes >= bytes) return block + 1;
    free(block);
    if (bytes > SIZE_MAX / 2) return NULL;
    const size_t unit = bytes < HUGE_PAGE ? LINE : HUGE_PAGE;
    bytes = (bytes + sizeof(header) + unit - 1) / unit * unit;
    block = aligned_alloc(unit, bytes);
    if (!block) return NULL;
    if (unit == HUGE_PAGE) madvise(block, bytes, MADV_HUGEPAGE); /* advice: a refusal changes nothing */
    block->bytes = bytes - sizeof(header);
    return block + 1;
}

void hl_sort_give(void *memory) {
    header *block = (header *)memory - 1;
    if (block->bytes <= KEPT) block = atomic_exchange(&kept, block);
    free(block);
}

/* ---------------------------------------------------------------------------------------- patience */

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void hl_sort_begin(hl_sort_watch *watch, int (*interrupted)(void *), void *caller) {
    *watch = (hl_sort_watch){.interrupted = interrupted, .caller = caller, .asked = interrupted ? nanoseconds() : 0};
}

static int stops(hl_sort_watch *watch, int number) {
    if (watch->stopped) return 1;
    if (number || !watch->interrupted || nanoseconds() - watch->asked < PATIENCE) return 0;
    if (watch->interrupted(watch->caller)) watch->stopped = 1;
    watch->asked = nanoseconds();
    return watch->stopped;
}

int64_t hl_sort_next(hl_sort_turns *turns, int number) {
    if (stops(turns->watch, number)) return -1;
    const int64_t next = atomic_fetch_add_explicit(&turns->next, 1, memory_order_relaxed);
    return next < turns->count ? next : -1;
}

void hl_sort_share(hl_sort_turns *turns, void (*work)(void *, int), void *job, int64_t count, int threads) {
    turns->next = 0;
    turns->count = count;
    hl_share(work, job, count < threads ? (int)count : threads);
}

/* ----------------------------------------------------------------------------------------- one key */

static void sort_bools(const hl_sort_key *key, int64_t count, uint8_t *sorted) {
    const uint8_t *from = key->data;
    int64_t first = 0;
    const uint8_t before = key->descending != 0;
    for (int64_t i = 0; i < count; i++) first += (from[i] != 0) == before;
    memset(sorted, before, (size_t)first);
    memset(sorted + first, !before, (size_t)(count - first));
}

static int bits_to_tell(const hl_sort_key *key) { return key->kind == 'f' ? FLOAT_BITS : key->kind == 'd' ? DOUBLE_BITS : INT_BITS; }

static int sort_values(hl_sorting *sorting) {
    const hl_sort_key *key = sorting->keys;
    if (key->kind == '?') {
        sort_bools(key, sorting->count, sorting->sorted);
        return HL_SORTED;
    }
    sorting->items = sorting->sorted;
    hl_sort_keys_alone(sorting);
    const int status = hl_sort_key_bits(key->kind) == 32 ? hl_sort_words(sorting) : hl_sort_longs(sorting);
    if (status == HL_SORTED) hl_sort_restore(key, sorting->count, sorting->sorted);
    return status;
}

/* ------------------------------------------------------------------------------------ order by keys */

/* Sort by keys that fit one key of an item. */
static int sort_order(hl_sorting *sorting) {
    int bits = 0;
    for (int i = 0; i < sorting->key_count; i++) bits += hl_sort_key_bits(sorting->keys[i].kind);
    if (bits <= 32 && !sorting->places && sorting->count <= UINT32_MAX) {
        sorting->floor = 32;
        sorting->items = sorting->order;
        hl_sort_keys_packed(sorting);
        return hl_sort_longs(sorting);
    }
    sorting->floor = 0;
    sorting->items = NULL;
    hl_sort_keys_paired(sorting);
    return hl_sort_pairs(sorting);
}

/* How many of the first `count` keys, from the last on, fit one key of an item. */
static int group_of(const hl_sort_key *keys, int count) {
    int group = 0, bits = 0;
    while (group < count && (bits += hl_sort_key_bits(keys[count - 1 - group].kind)) <= 64) group++;
    return group;
}

/* Sort by the last keys first, then that order by the keys before. */
static int sort_groups(hl_sorting *sorting, const hl_sort_key *keys, int key_count, int64_t *places) {
    int status = HL_SORTED;
    for (int group; key_count > 0 && !status; key_count -= group) {
        group = group_of(keys, key_count);
        sorting->keys = keys + key_count - group;
        sorting->key_count = group;
        status = sort_order(sorting);
        if (key_count == group) break;
        memcpy(places, sorting->order, (size_t)sorting->count * sizeof *places);
        sorting->places = places;
    }
    return status;
}

typedef struct {
    const hl_sort_key *keys;
    const int64_t *order;
    void *const *sorted;
    int key_count;
    int64_t count;
    _Atomic int64_t next;
} gathering;

static void gather(void *object, int number) {
    (void)number;
    gathering *job = object;
    for (int64_t start; (start = atomic_fetch_add(&job->next, GATHERED)) < job->count;)
        for (int k = 0; k < job->key_count; k++) {
            const int64_t some = job->count - start < GATHERED ? job->count - start : GATHERED;
            if (job->sorted[k]) hl_sort_gather(&job->keys[k], job->order, start, some, job->sorted[k]);
        }
}

static int sort_by_keys(hl_sorting *sorting, const hl_sort_key *keys, int key_count, void *const *sorted) {
    const size_t bytes = (size_t)sorting->count * sizeof(int64_t);
    const int groups = group_of(keys, key_count) < key_count;
    int64_t *own = sorting->order ? NULL : malloc(bytes), *places = groups ? malloc(bytes) : NULL;
    int status = (sorting->order || own) && (places || !groups) ? HL_SORTED : HL_SORT_NO_MEMORY;
    if (!sorting->order) sorting->order = own;
    if (!status) status = sort_groups(sorting, keys, key_count, places);
    if (!status && sorted) {
        gathering job = {keys, sorting->order, sorted, key_count, sorting->count, 0};
        hl_share(gather, &job, sorting->count > GATHERED ? sorting->threads : 1);
    }
    free(own);
    free(places);
    return status;
}

int hl_sort(const hl_sort_key *keys, int key_count, int64_t count, int64_t *order, void *const *sorted, int threads,
            int (*interrupted)(void *), void *caller) {
    hl_sort_watch watch;
    hl_sort_begin(&watch, interrupted, caller);
    const int most = hl_get_threads();
    hl_sorting sorting = {.count = count, .watch = &watch, .order = order, .keys = keys, .key_count = 1};
    sorting.threads = threads > 0 && threads < most ? threads : most;
    if (sorting.threads > count / FAIR + 1) sorting.threads = (int)(count / FAIR) + 1;
    sorting.extra = bits_to_tell(keys);
    if (count < 1) return HL_SORTED;
    if (key_count > 1) return sort_by_keys(&sorting, keys, key_count, sorted);
    sorting.sorted = sorted ? sorted[0] : NULL;
    if (order) return sort_order(&sorting);
    return sorting.sorted ? sort_values(&sorting) : HL_SORTED;
}
