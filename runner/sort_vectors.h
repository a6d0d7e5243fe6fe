/* A quicksort with vectors for one width of unsigned keys; included by sort_vectors.c with
 *   WORD     the type of keys; LANES of them are one vector,
 *   NAME(n)  the name of a function for this width, and what it names of the vector instructions.
 *
 * Up to 16 vectors are sorted at once: as rows of a matrix, first each column, by exchanges of whole rows,
 * then neighbouring columns are merged until one column is left; interleaving rows puts it in order. */

#define EXCHANGE(a, b) NAME(exchange)(rows, a, b)

/* The smaller of all lanes of two rows in the one, the larger in the other. */
INLINE void NAME(exchange)(vector *rows, int a, int b) {
    const vector first = rows[a], second = rows[b];
    rows[a] = NAME(lesser)(0, first, second);
    rows[b] = NAME(lesser)(ALL, first, second);
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
    return NAME(lesser)(NAME(lanes_with)(high), row, other);
}

/* Sequences of `width` sorted columns become bitonic ones: compare each item with its mirror image in the next sequence. */
INLINE void NAME(mirror)(vector *rows, int count, int width) {
    const vector across = NAME(lanes_across)(2 * width - 1);
    const mask high = NAME(lanes_with)(width);
    if (count == 1) rows[0] = NAME(exchange_lanes)(rows[0], 2 * width - 1, width);
    UNROLL
    for (int i = 0; i < count / 2; i++) {
        const vector other = NAME(permute)(rows[count - 1 - i], across);
        const vector rest = NAME(lesser)((mask)~high, rows[i], other);
        rows[i] = NAME(lesser)(high, rows[i], other);
        rows[count - 1 - i] = NAME(permute)(rest, across);
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
    for (; i + 2 * LANES <= count; i += LANES) { /* as much is free between left and right */
        const vector keys = NAME(load_all)(from + i);
        const mask below = NAME(less)(keys, pivots);
        const int few = __builtin_popcount(below);
        NAME(split)(left, right, keys, below, few);
        left += few;
        right -= LANES - few;
    }
    for (; i < count; i++) {
        const int below = from[i] < pivot;
        *left = right[-1] = from[i];
        left += below;
        right -= !below;
    }
    return left - to;
}

/* The same in place, for many keys: what is written to was read just before, from the end that has less room. */
VECTORS static int64_t NAME(part_here)(WORD *keys, int64_t count, WORD pivot) {
    enum { BLOCK = 8 * LANES };
    const vector pivots = NAME(spread)(pivot);
    WORD held[3 * BLOCK];
    if (count <= 2 * BLOCK) {
        memcpy(held, keys, (size_t)count * sizeof(WORD));
        return NAME(part)(held, keys, count, pivot);
    }
    WORD *left = keys, *right = keys + count, *low = keys + BLOCK, *high = right - BLOCK;
    memcpy(held, keys, BLOCK * sizeof(WORD));
    memcpy(held + BLOCK, high, BLOCK * sizeof(WORD));
    while (high - low >= BLOCK) { /* unread; on both sides of it are now two blocks of room, and soon three */
        const int from_low = low - left <= right - high;
        const WORD *from = from_low ? low : high - BLOCK;
        low += from_low ? BLOCK : 0;
        high -= from_low ? 0 : BLOCK;
        vector block[8];
        UNROLL
        for (int i = 0; i < 8; i++) block[i] = NAME(load_all)(from + i * LANES);
        UNROLL
        for (int i = 0; i < 8; i++) {
            const mask below = NAME(less)(block[i], pivots);
            const int few = __builtin_popcount(below);
            NAME(split)(left, right, block[i], below, few);
            left += few;
            right += few - LANES;
        }
    }
    memcpy(held + 2 * BLOCK, low, (size_t)(high - low) * sizeof(WORD));
    return left - keys + NAME(part)(held, left, right - left, pivot);
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

/* Sort keys by way of another place of the same size; they end up there if `there`. Up to NEAR keys are moved there
 * and back, which takes least; more stay where they are, and the other place need have no more than NEAR. */
static void NAME(sort)(WORD *keys, WORD *other, int64_t count, int there, int patience) {
    if (count <= MOST_ROWS * LANES) {
        NAME(sort_leaf)(keys, there ? other : keys, count);
        return;
    }
    const WORD pivot = patience ? NAME(pivot)(keys, count) : NAME(middle)(keys, count);
    const int moves = count <= NEAR, left = patience ? patience - 1 : 0;
    WORD *moved = moves ? other : keys, *free = moves ? keys : other;
    int64_t low = moves ? NAME(part)(keys, other, count, pivot) : NAME(part_here)(keys, count, pivot);
    const int turned = moves ? !there : there;
    if (low) {
        NAME(sort)(moved, free, low, turned, left);
    } else { /* the pivot is the lowest key, maybe of many */
        const WORD next = (WORD)(pivot + 1);
        low = !next ? count : moves ? NAME(part)(keys, other, count, next) : NAME(part_here)(keys, count, next);
        WORD *to = there ? other : keys;
        for (int64_t i = 0; i < low; i++) to[i] = pivot;
    }
    if (low < count) NAME(sort)(moved + low, moves ? free + low : free, count - low, turned, left);
}

/* Whether keys rise from the start on, which few keys in any other order let pass. */
static int NAME(rises)(const WORD *keys, int64_t count) {
    int64_t i = 1;
    while (i < count && keys[i] >= keys[i - 1]) i++;
    return i >= count;
}

static void NAME(sort_here)(WORD *keys, int64_t count) {
    WORD other[NEAR];
    if (!NAME(rises)(keys, count)) NAME(sort)(keys, other, count, 0, 2 * (64 - __builtin_clzll((uint64_t)count | 1)));
}
