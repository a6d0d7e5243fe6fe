/* A quicksort with vectors for one width of unsigned keys; included by sort_vectors.c with
 *   WORD     the type of keys; LANES of them are one vector,
 *   NAME(n)  the name of a function for this width, and what it names of the vector instructions.
 *
 * Up to 16 vectors are sorted at once: as rows of a matrix, first each column, by exchanges of whole rows,
 * then neighbouring columns are merged until one column is left; interleaving rows puts it in order. */

#define EXCHANGE(a, b) NAME(exchange)(rows, a, b)

/* The smaller of all lanes of two rows in the one, the larger in the other. */
INLINE void NAME(exchange)(vector *rows, int a, int b) {
    const vector low = NAME(min)(rows[a], rows[b]);
    rows[b] = NAME(max)(rows[a], rows[b]);
    rows[a] = low;
}

/* Batcher's odd-even merge sort of columns of 2, 4, 8 or 16 rows ("Sorting networks and their applications", 1968). */
INLINE void NAME(sort_columns)(vector *rows, int count) {
    UNROLL
    for (int i = 0; i + 1 < count; i += 2) EXCHANGE(i, i + 1);
    UNROLL
    for (int i = 0; i + 3 < count; i += 4) {
        EXCHANGE(i, i + 2), EXCHANGE(i + 1, i + 3);
        EXCHANGE(i + 1, i + 2);
    }
    UNROLL
    for (int i = 0; i + 7 < count; i += 8) {
        EXCHANGE(i, i + 4), EXCHANGE(i + 1, i + 5), EXCHANGE(i + 2, i + 6), EXCHANGE(i + 3, i + 7);
        EXCHANGE(i + 2, i + 4), EXCHANGE(i + 3, i + 5);
        EXCHANGE(i + 1, i + 2), EXCHANGE(i + 3, i + 4), EXCHANGE(i + 5, i + 6);
    }
    if (count < 16) return;
    UNROLL
    for (int i = 0; i < 8; i++) EXCHANGE(i, i + 8);
    UNROLL
    for (int i = 4; i < 8; i++) EXCHANGE(i, i + 4);
    UNROLL
    for (int i = 2; i < 14; i += 4) {
        EXCHANGE(i, i + 2), EXCHANGE(i + 1, i + 3);
    }
    UNROLL
    for (int i = 1; i < 15; i += 2) EXCHANGE(i, i + 1);
}

/* Exchange each lane with that whose number differs in the bits of `across`; where bit `high` is set stays the larger. */
INLINE vector NAME(exchange_lanes)(vector row, int across, int high) {
    const vector other = NAME(permute)(row, NAME(lanes_across)(across));
    return NAME(blend)(NAME(lanes_with)(high), NAME(min)(row, other), NAME(max)(row, other));
}

/* Sequences of `width` sorted columns become bitonic ones: compare each item with its mirror image in the next sequence. */
INLINE void NAME(mirror)(vector *rows, int count, int width) {
    const vector across = NAME(lanes_across)(2 * width - 1);
    const mask high = NAME(lanes_with)(width);
    if (count == 1) rows[0] = NAME(exchange_lanes)(rows[0], 2 * width - 1, width);
    UNROLL
    for (int i = 0; i < count / 2; i++) {
        const vector other = NAME(permute)(rows[count - 1 - i], across);
        const vector less = NAME(min)(rows[i], other), more = NAME(max)(rows[i], other);
        rows[i] = NAME(blend)(high, less, more);
        rows[count - 1 - i] = NAME(permute)(NAME(blend)(high, more, less), across);
    }
}

/* Merge sequences of `width` sorted columns to such of twice the width. */
INLINE void NAME(merge_columns)(vector *rows, int count, int width) {
    NAME(mirror)(rows, count, width);
    UNROLL
    for (int step = width / 2; step; step /= 2)
        UNROLL
        for (int i = 0; i < count; i++) rows[i] = NAME(exchange_lanes)(rows[i], step, step);
    UNROLL
    for (int step = count / 2; step; step /= 2)
        UNROLL
        for (int i = 0; i < count; i++)
            if (!(i & step)) EXCHANGE(i, i + step);
}

/* Interleave rows until columns lie one after another. */
INLINE void NAME(transpose_rows)(vector *rows, int count) {
    UNROLL
    for (int width = 1; width < count; width *= 2) {
        vector mixed[MOST_ROWS];
        UNROLL
        for (int i = 0; i < count / 2; i++) {
            mixed[2 * i] = NAME(interleave_low)(rows[i], rows[i + count / 2]);
            mixed[2 * i + 1] = NAME(interleave_high)(rows[i], rows[i + count / 2]);
        }
        UNROLL
        for (int i = 0; i < count; i++) rows[i] = mixed[i];
    }
}

/* Sort at most `most` vectors of keys from one place to another. */
INLINE void NAME(sort_rows)(const WORD *from, WORD *to, int64_t count, int most) {
    vector rows[MOST_ROWS];
    UNROLL
    for (int i = 0; i < most; i++) rows[i] = NAME(load)(from + i * LANES, count - i * LANES);
    NAME(sort_columns)(rows, most);
    UNROLL
    for (int width = 1; width < LANES; width *= 2) NAME(merge_columns)(rows, most, width);
    NAME(transpose_rows)(rows, most);
    UNROLL
    for (int i = 0; i < most; i++) NAME(save)(to + i * LANES, rows[i], count - i * LANES);
}

VECTORS static void NAME(sort_1)(const WORD *from, WORD *to, int64_t count) { NAME(sort_rows)(from, to, count, 1); }
VECTORS static void NAME(sort_2)(const WORD *from, WORD *to, int64_t count) { NAME(sort_rows)(from, to, count, 2); }
VECTORS static void NAME(sort_4)(const WORD *from, WORD *to, int64_t count) { NAME(sort_rows)(from, to, count, 4); }
VECTORS static void NAME(sort_8)(const WORD *from, WORD *to, int64_t count) { NAME(sort_rows)(from, to, count, 8); }
VECTORS static void NAME(sort_16)(const WORD *from, WORD *to, int64_t count) { NAME(sort_rows)(from, to, count, 16); }

static void NAME(sort_leaf)(const WORD *from, WORD *to, int64_t count) {
    if (count > 8 * LANES) NAME(sort_16)(from, to, count);
    else if (count > 4 * LANES) NAME(sort_8)(from, to, count);
    else if (count > 2 * LANES) NAME(sort_4)(from, to, count);
    else if (count > LANES) NAME(sort_2)(from, to, count);
    else NAME(sort_1)(from, to, count);
}

/* Move keys below the pivot to the start of `to`, the others to its end; returns how many are below. */
VECTORS static int64_t NAME(part)(const WORD *from, WORD *to, int64_t count, WORD pivot) {
    const vector pivots = NAME(spread)(pivot);
    WORD *left = to, *right = to + count;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        const vector keys = NAME(load_all)(from + i);
        const mask below = NAME(less)(keys, pivots);
        const int few = __builtin_popcount(below);
        NAME(save_some)(left, NAME(compress)(below, keys), few);
        left += few;
        right -= LANES - few;
        NAME(save_some)(right, NAME(compress)((mask)~below, keys), LANES - few);
    }
    for (; i < count; i++)
        if (from[i] < pivot) *left++ = from[i];
        else *--right = from[i];
    return left - to;
}

/* The middle of some keys from all over. */
static WORD NAME(pivot)(const WORD *from, int64_t count) {
    WORD sample[8 * LANES];
    const int64_t some = count < 2048 ? LANES : 8 * LANES, stride = count / some;
    for (int64_t i = 0; i < some; i++) sample[i] = from[i * stride + stride / 2];
    NAME(sort_leaf)(sample, sample, some);
    return sample[some / 2];
}

/* The middle of the range of keys, above the lowest: where samples mislead, this halves what is left to tell apart. */
static WORD NAME(middle)(const WORD *from, int64_t count) {
    WORD low = from[0], high = from[0];
    for (int64_t i = 1; i < count; i++) {
        low = from[i] < low ? from[i] : low;
        high = from[i] > high ? from[i] : high;
    }
    return (WORD)(low + (high - low) / 2 + (high > low));
}

/* Sort keys by way of another place of the same size; they end up there if `there`. */
static void NAME(sort)(WORD *items, WORD *other, int64_t count, int there, int patience) {
    if (count <= MOST_ROWS * LANES) {
        NAME(sort_leaf)(items, there ? other : items, count);
        return;
    }
    WORD pivot = patience ? NAME(pivot)(items, count) : NAME(middle)(items, count);
    int64_t low = NAME(part)(items, other, count, pivot);
    if (patience) patience--;
    if (!low) { /* the pivot is the lowest key, maybe of many */
        low = pivot + (WORD)1 ? NAME(part)(items, other, count, (WORD)(pivot + 1)) : count;
        WORD *to = there ? other : items;
        for (int64_t i = 0; i < low; i++) to[i] = pivot;
    } else {
        NAME(sort)(other, items, low, !there, patience);
    }
    if (low < count) NAME(sort)(other + low, items + low, count - low, !there, patience);
}
