/* See sort.h: the merge sort by a predicate. Places are sorted in runs of RUN, each by one thread, and runs
 * are then merged in rounds, in which threads take parts of equal length. A call of the predicate costs more
 * than all else: what counts is to make few. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "sort_radix.h"

enum {
    FEW = 8,            /* places: binary insertion */
    FEW_ON_STACK = 512, /* places that need no other scratch memory */
    PART = 1 << 11,     /* places of a merge that one thread makes at once */
    RUN = 2 * PART,     /* places that one thread sorts at once */
};

typedef struct {
    hl_less less;
    void *const *contexts;
    hl_sort_turns turns;
    int64_t count, run; /* run: places of sorted runs */
    int64_t *from, *to;
    int64_t *splits;    /* for each part of a round, how many results before it come from the first run of its pair */
} merging;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Insert places[first], places[first + 1], ... into the sorted ones before. */
static void insert(hl_less less, void *context, int64_t *places, int64_t first, int64_t count) {
    for (int64_t i = first; i < count; i++) {
        const int64_t place = places[i];
        int64_t low = 0, high = i;
        while (low < high) {
            const int64_t middle = low + (high - low) / 2;
            if (less(context, place, places[middle])) high = middle;
            else low = middle + 1;
        }
        memmove(places + low + 1, places + low, (size_t)(i - low) * sizeof *places);
        places[low] = place;
    }
}

static void merge(hl_less less, void *context, const int64_t *a, const int64_t *a_end, const int64_t *b, const int64_t *b_end,
                  int64_t *to) {
    while (a < a_end && b < b_end) {
        const int second = less(context, *b, *a) != 0;
        *to++ = second ? *b : *a;
        a += !second;
        b += second;
    }
    memcpy(to, a, (size_t)(a_end - a) * sizeof *to);
    memcpy(to + (a_end - a), b, (size_t)(b_end - b) * sizeof *to);
}

/* Sort places; they end up in `other` if `there`. */
static void sort_run(hl_less less, void *context, int64_t *places, int64_t *other, int64_t count, int there) {
    if (count <= FEW) {
        insert(less, context, places, 1, count);
        if (there) memcpy(other, places, (size_t)count * sizeof *places);
        return;
    }
    const int64_t half = count / 2;
    sort_run(less, context, places, other, half, !there);
    sort_run(less, context, places + half, other + half, count - half, !there);
    int64_t *from = there ? places : other, *to = there ? other : places;
    if (!less(context, from[half], from[half - 1])) memcpy(to, from, (size_t)count * sizeof *to);
    else merge(less, context, from, from + half, from + half, from + count, to);
}

static void sort_runs(void *object, int number) {
    merging *job = object;
    for (int64_t turn; (turn = hl_sort_next(&job->turns, number)) >= 0;) {
        const int64_t start = turn * job->run, count = smaller(job->run, job->count - start);
        for (int64_t i = 0; i < count; i++) job->from[start + i] = start + i;
        sort_run(job->less, job->contexts[number], job->from + start, job->to + start, count, 0);
    }
}

/* How many of the first `wanted` of two merged runs come from the first run, of which at least `low` do. */
static int64_t split(const merging *job, const int64_t *a, int64_t a_count, const int64_t *b, int64_t b_count, int64_t wanted,
                     int64_t low) {
    int64_t high = smaller(smaller(wanted, a_count), low + PART);
    low = low > wanted - b_count ? low : wanted - b_count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (job->less(job->contexts[0], b[wanted - middle - 1], a[middle])) high = middle;
        else low = middle + 1;
    }
    return low;
}

/* Split a pair of runs, of which the first begins at `first`, into parts. One after another: so the parts fit
 * together even where the predicate contradicts itself. */
static void split_pair(merging *job, int64_t first) {
    const int64_t middle = smaller(first + job->run, job->count), last = smaller(first + 2 * job->run, job->count);
    const int64_t *a = job->from + first, *b = job->from + middle;
    const int64_t a_count = middle - first, b_count = last - middle;
    const int in_order = !b_count || !job->less(job->contexts[0], b[0], a[a_count - 1]);
    int64_t low = 0;
    for (int64_t start = first; start < last; start += PART) {
        low = in_order ? smaller(start - first, a_count) : split(job, a, a_count, b, b_count, start - first, low);
        job->splits[start / PART] = low;
    }
}

/* Make results [start, start + PART) of a round of merges, which are of one pair of runs. */
static void merge_part(const merging *job, void *context, int64_t start) {
    const int64_t first = start / (2 * job->run) * (2 * job->run), middle = smaller(first + job->run, job->count);
    const int64_t last = smaller(first + 2 * job->run, job->count), end = smaller(start + PART, last);
    const int64_t *a = job->from + first, *b = job->from + middle;
    const int64_t before = job->splits[start / PART], after = end < last ? job->splits[end / PART] : middle - first;
    merge(job->less, context, a + before, a + after, b + (start - first - before), b + (end - first - after), job->to + start);
}

static void merge_parts(void *object, int number) {
    merging *job = object;
    for (int64_t turn; (turn = hl_sort_next(&job->turns, number)) >= 0;) merge_part(job, job->contexts[number], turn * PART);
}

static void merge_round(merging *job, int threads) {
    for (int64_t first = 0; first < job->count; first += 2 * job->run) split_pair(job, first);
    hl_sort_share(&job->turns, merge_parts, job, (job->count + PART - 1) / PART, threads);
    int64_t *merged = job->to;
    job->to = job->from;
    job->from = merged;
    job->run *= 2;
}

int hl_sort_by(hl_less less, void *const *contexts, int threads, int64_t count, int64_t *order, int (*interrupted)(void *), void *caller) {
    if (count < 1) return HL_SORTED;
    hl_sort_watch watch;
    hl_sort_begin(&watch, interrupted, caller);
    const size_t room = (size_t)count * sizeof(int64_t), splits = (size_t)(count / PART + 1) * sizeof(int64_t);
    int64_t few[FEW_ON_STACK], *other = count < FEW_ON_STACK ? few : malloc(room + splits);
    if (!other) return HL_SORT_NO_MEMORY;
    merging job = {less, contexts, {.watch = &watch}, count, count <= RUN ? count : RUN, order, other, other + count};
    int rounds = 0;
    for (int64_t run = job.run; run < count; run *= 2) rounds++;
    if (rounds % 2) job.from = other, job.to = order;
    hl_sort_share(&job.turns, sort_runs, &job, (count + job.run - 1) / job.run, threads);
    while (job.run < count && !watch.stopped) merge_round(&job, threads);
    if (other != few) free(other);
    return watch.stopped ? HL_SORT_INTERRUPTED : HL_SORTED;
}
