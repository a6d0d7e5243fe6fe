/* The sort of one kind of item, as radix sort; included by sort_radix.c with
 *   ITEM     the type of items,
 *   WORD     the unsigned type of their keys,
 *   KEY(i)   the key of an item,
 *   NAME(n)  the name of a function for this kind,
 *   VECTORS  whether sort_vectors.c has FEW_IN_VECTORS and MANY_IN_VECTORS, its functions for this kind.
 *
 * Few items: digits of the highest bits that differ, lowest digit first; no more digits than it takes to
 * tell most items apart, since an insertion sort is then the quickest for the rest. Many items: a sample
 * shows where to cut the keys into buckets that fit the cache; all is moved once into its bucket, and
 * buckets are sorted by the threads as few items are. All steps are stable. */

/* ------------------------------------------------------------------------------------- few items */

static void NAME(insert)(ITEM *items, int64_t count) {
    for (int64_t i = 1; i < count; i++) {
        const ITEM item = items[i];
        int64_t j = i;
        for (; j > 0 && KEY(item) < KEY(items[j - 1]); j--) items[j] = items[j - 1];
        items[j] = item;
    }
}

/* The bits in which keys differ. */
static WORD NAME(differences)(const ITEM *items, int64_t count) {
    const WORD first = KEY(items[0]);
    WORD bits = 0;
    for (int64_t i = 1; i < count; i++) bits |= KEY(items[i]) ^ first;
    return bits;
}

/* Whether items are in order; of most others the first few tell. */
static int NAME(rises)(const ITEM *items, int64_t count, int floor) {
    int64_t i = 1;
    while (i < count && KEY(items[i]) >> floor >= KEY(items[i - 1]) >> floor) i++;
    return i >= count;
}

static ITEM *NAME(sort_run)(ITEM *items, ITEM *other, int64_t count, hl_digit_room *room);

/* Sort items that agree above bit `shift` where they are, and leave there the others as they are. */
static void NAME(refine)(ITEM *items, ITEM *other, int64_t count, int shift, hl_digit_room *room) {
    for (int64_t i = 1; i < count; i++) {
        if (KEY(items[i]) >> room->floor >= KEY(items[i - 1]) >> room->floor) continue;
        const WORD top = KEY(items[i]) >> shift;
        int64_t start = i - 1, end = i + 1;
        while (start > 0 && KEY(items[start - 1]) >> shift == top) start--;
        while (end < count && KEY(items[end]) >> shift == top) end++;
        const ITEM *found = NAME(sort_run)(items + start, other + start, end - start, room);
        if (found != items + start) memcpy(items + start, found, (size_t)(end - start) * sizeof(ITEM));
        i = end - 1;
    }
}

static inline __attribute__((always_inline)) void NAME(count_some)(const ITEM *items, int64_t count, const hl_digits *digits, int passes,
                                                                   hl_digit_room *room) {
    const int shift = digits->shift, width = digits->width;
    const WORD mask = ((WORD)1 << width) - 1;
    for (int i = 0; i < passes; i++) memset(room->counts[i], 0, sizeof(uint32_t) << width);
    for (int64_t i = 0; i < count; i++) {
        const WORD key = KEY(items[i]) >> shift;
        room->counts[0][key & mask]++;
        if (passes > 1) room->counts[1][key >> width & mask]++;
        if (passes > 2) room->counts[2][key >> width >> width & mask]++;
        if (passes > 3) room->counts[3][key >> width >> width >> width & mask]++;
    }
}

static void NAME(count)(const ITEM *items, int64_t count, const hl_digits *digits, hl_digit_room *room) {
    switch (digits->passes) {
    case 1: NAME(count_some)(items, count, digits, 1, room); break;
    case 2: NAME(count_some)(items, count, digits, 2, room); break;
    case 3: NAME(count_some)(items, count, digits, 3, room); break;
    default: NAME(count_some)(items, count, digits, 4, room);
    }
}

/* Move items to their places by one digit. */
static void NAME(move)(const ITEM *items, ITEM *to, int64_t count, int shift, int width, uint32_t *offsets) {
    const WORD mask = ((WORD)1 << width) - 1;
    for (int64_t i = 0; i < count; i++) {
        const ITEM item = items[i];
        to[offsets[KEY(item) >> shift & mask]++] = item;
    }
}

/* Sort items by keys without the lowest bits; they end up at the one or the other place, which is returned. */
static ITEM *NAME(sort_run)(ITEM *items, ITEM *other, int64_t count, hl_digit_room *room) {
    if (count <= FEW) {
        NAME(insert)(items, count);
        return items;
    }
#if VECTORS
    if (room->vectors) {
        FEW_IN_VECTORS(items, count);
        return items;
    }
#endif
    if (NAME(rises)(items, count, room->floor)) return items;
    const uint64_t bits = (uint64_t)NAME(differences)(items, count) >> room->floor << room->floor;
    const hl_digits digits = choose_digits(bits, count, room->extra);
    NAME(count)(items, count, &digits, room);
    for (int i = 0; i < digits.passes; i++) {
        const int shift = digits.shift + i * digits.width;
        uint32_t *offsets = room->counts[i];
        if (offsets[KEY(items[0]) >> shift & (((WORD)1 << digits.width) - 1)] == (uint64_t)count) continue;
        add_up(offsets, digits.width);
        NAME(move)(items, other, count, shift, digits.width, offsets);
        ITEM *moved = other;
        other = items;
        items = moved;
    }
    if (bits & (((uint64_t)1 << digits.shift) - 1)) NAME(refine)(items, other, count, digits.shift, room);
    return items;
}

/* Sort items [start, start + count) of what is sorted, which lie at `items`, and store them. */
static void NAME(finish)(hl_sorting *sorting, int64_t start, ITEM *items, ITEM *other, int64_t count, hl_digit_room *room) {
    sorting->store(sorting, start, count, NAME(sort_run)(items, other, count, room));
}

/* ------------------------------------------------------------------------------------- many items */

/* Items [start, start + count) of a larger sort, which lie at `part`. */
static void NAME(load_part)(const hl_sorting *sorting, int64_t start, int64_t count, void *items) {
    memcpy(items, (const ITEM *)sorting->part + start, (size_t)count * sizeof(ITEM));
}

static void NAME(store_part)(const hl_sorting *sorting, int64_t start, int64_t count, const void *items) {
    sorting->larger->store(sorting->larger, sorting->first + start, count, items);
}

/* The bin of a key: 0 below `low`, then bins of equal width, the last of which has no end. */
static inline uint64_t NAME(bin)(const hl_parting *parting, WORD key) {
    const WORD low = (WORD)parting->low, last = (WORD)parting->last;
    const WORD bin = (WORD)(key - low) >> parting->shift;
    return key < low ? 0 : (uint64_t)(bin < last ? bin : last) + 1;
}

/* Of a sorted sample: how often a key follows another one of the same bin, in the bin that has most of these. */
static int64_t NAME(fullest_bin)(const hl_parting *parting, const ITEM *sample, int64_t count) {
    int64_t most = 0, some = 0;
    for (int64_t i = 1; i < count; i++) {
        if (NAME(bin)(parting, KEY(sample[i])) != NAME(bin)(parting, KEY(sample[i - 1]))) some = 0;
        else if (KEY(sample[i]) != KEY(sample[i - 1])) some++;
        if (some > most) most = some;
    }
    return most;
}

/* Choose bins from a sorted sample: as few as tell enough of it apart. */
static void NAME(choose_bins)(hl_parting *parting, const ITEM *sample, int64_t count) {
    const WORD low = KEY(sample[0]) >> parting->sorting->floor << parting->sorting->floor, range = KEY(sample[count - 1]) - low;
    const int bits = range ? 64 - __builtin_clzll((uint64_t)range) : 0;
    parting->low = low;
    for (int wanted = FEWEST_BIN_BITS; wanted <= MOST_BIN_BITS; wanted += 2) {
        parting->shift = bits > wanted ? bits - wanted : 0;
        if (parting->shift < parting->sorting->floor) parting->shift = parting->sorting->floor;
        parting->last = (uint64_t)(range >> parting->shift) + 1; /* its bin is empty in the sample: what lies above */
        if (bits <= wanted || NAME(fullest_bin)(parting, sample, count) <= 2 * SAMPLES) break;
    }
}

/* Give bins to buckets such that each bucket gets its share of the sample; a bin that has as much has its own. */
static void NAME(choose_buckets)(hl_parting *parting, const ITEM *sample, int64_t count) {
    const uint64_t bins = parting->last + 2;
    const int64_t share = SAMPLES + SAMPLES / 3; /* buckets begin with whole bins, and are less than full */
    uint64_t begin = 0;
    int64_t seen = 0, held = 0;
    int bucket = 0;
    for (uint64_t bin = 0; bin < bins; bin++) {
        int64_t next = seen;
        while (next < count && NAME(bin)(parting, KEY(sample[next])) == bin) next++;
        if (bin > begin && held + next - seen > share && bucket < MOST_BUCKETS - 1) bucket++, held = 0, begin = bin;
        parting->bucket_of[bin] = (uint16_t)bucket;
        held += next - seen;
        seen = next;
    }
    parting->buckets = bucket + 1;
}

static void NAME(cut)(hl_parting *parting, ITEM *sample, ITEM *other, hl_digit_room *room) {
    const hl_sorting *sorting = parting->sorting;
    const int64_t count = (int64_t)parting->buckets * SAMPLES, stride = sorting->count / count;
    uint64_t random = 1;
    for (int64_t i = 0; i < count; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX; a period in the items does no harm */
        sorting->load(sorting, i * stride + (int64_t)((random >> 33) % (uint64_t)stride), 1, sample + i);
    }
    const ITEM *found = NAME(sort_run)(sample, other, count, room);
    NAME(choose_bins)(parting, found, count);
    NAME(choose_buckets)(parting, found, count);
}

static void NAME(count_pieces)(void *object, int number) {
    hl_parting *parting = object;
    hl_sorting *sorting = parting->sorting;
    ITEM *block = room_of(parting, number)->block;
    for (int64_t piece; (piece = hl_sort_next(&parting->turns, number)) >= 0;) {
        int64_t *offsets = parting->offsets + piece * MOST_BUCKETS;
        memset(offsets, 0, (size_t)parting->buckets * sizeof *offsets);
        const int64_t end = smaller(sorting->count, (piece + 1) * parting->piece);
        for (int64_t start = piece * parting->piece, some; start < end; start += some) {
            some = smaller(end - start, BLOCK);
            sorting->load(sorting, start, some, block);
            for (int64_t i = 0; i < some; i++) offsets[parting->bucket_of[NAME(bin)(parting, KEY(block[i]))]]++;
        }
    }
}

/* Where in its cache line an item lies. */
static inline int NAME(slot)(const ITEM *item) { return (int)((uintptr_t)item % LINE / sizeof(ITEM)); }

/* Write the line of a bucket, items [.., end); what of it lies before `begin` belongs to others. */
static void NAME(flush)(ITEM *to, const ITEM *line, int64_t begin, int64_t end) {
    const int64_t first = end - 1 - NAME(slot)(to + end - 1);
    if (first >= begin && end - first == LINE / (int64_t)sizeof(ITEM)) stream_line(to + first, line);
    else
        for (int64_t i = begin > first ? begin : first; i < end; i++) to[i] = line[i - first];
}

/* Move a block of items to their buckets by way of a cache line for each bucket. */
static void NAME(scatter_lines)(const hl_parting *parting, const ITEM *block, int64_t count, int64_t *offsets, hl_room *room) {
    ITEM *to = parting->sorting->items;
    for (int64_t i = 0; i < count; i++) {
        const ITEM item = block[i];
        const int bucket = parting->bucket_of[NAME(bin)(parting, KEY(item))];
        const int64_t offset = offsets[bucket]++;
        const int slot = NAME(slot)(to + offset);
        ITEM *line = (ITEM *)(room->lines + (size_t)bucket * LINE);
        line[slot] = item;
        if (slot == LINE / sizeof(ITEM) - 1) NAME(flush)(to, line, room->begins[bucket], offset + 1);
    }
}

static void NAME(scatter)(const hl_parting *parting, const ITEM *block, int64_t count, int64_t *offsets) {
    ITEM *to = parting->sorting->items;
    for (int64_t i = 0; i < count; i++) to[offsets[parting->bucket_of[NAME(bin)(parting, KEY(block[i]))]]++] = block[i];
}

static void NAME(scatter_pieces)(void *object, int number) {
    hl_parting *parting = object;
    hl_sorting *sorting = parting->sorting;
    hl_room *room = room_of(parting, number);
    const int in_lines = parting->buckets > FEW_BUCKETS;
    for (int64_t piece; (piece = hl_sort_next(&parting->turns, number)) >= 0;) {
        int64_t *offsets = parting->offsets + piece * MOST_BUCKETS;
        memcpy(room->begins, offsets, (size_t)parting->buckets * sizeof *offsets);
        const int64_t end = smaller(sorting->count, (piece + 1) * parting->piece);
        for (int64_t start = piece * parting->piece, some; start < end; start += some) {
            some = smaller(end - start, BLOCK);
            sorting->load(sorting, start, some, room->block);
            if (in_lines) NAME(scatter_lines)(parting, room->block, some, offsets, room);
            else NAME(scatter)(parting, room->block, some, offsets);
        }
        for (int i = 0; in_lines && i < parting->buckets; i++) {
            ITEM *to = sorting->items;
            if (offsets[i] > room->begins[i] && NAME(slot)(to + offsets[i]))
                NAME(flush)(to, (ITEM *)(room->lines + (size_t)i * LINE), room->begins[i], offsets[i]);
        }
    }
    streamed();
}

static void NAME(finish_buckets)(void *object, int number) {
    hl_parting *parting = object;
    hl_sorting *sorting = parting->sorting;
    hl_room *room = room_of(parting, number);
    for (int64_t bucket; (bucket = hl_sort_next(&parting->turns, number)) >= 0;) {
        const int64_t start = parting->starts[bucket], count = parting->starts[bucket + 1] - start;
        ITEM *items = (ITEM *)sorting->items + start;
        if (!count) continue;
        if (count <= MOST_AT_ONCE) NAME(finish)(sorting, start, items, room->other, count, &room->digits);
        else if (!(NAME(differences)(items, count) >> sorting->floor)) sorting->store(sorting, start, count, items);
        else parting->left[bucket] = 1;
    }
}

static int NAME(sort)(hl_sorting *sorting);

/* Sort a bucket that is too large for one thread, by another cut. */
static int NAME(sort_part)(hl_sorting *larger, int64_t first, int64_t count) {
    hl_sorting part = *larger;
    part.larger = larger;
    part.part = (ITEM *)larger->items + first;
    part.first = first;
    part.count = count;
    part.load = NAME(load_part);
    part.store = NAME(store_part);
    part.items = NULL;
    return NAME(sort)(&part);
}

static int NAME(part)(hl_sorting *sorting) {
    hl_parting *parting = make_parting(sorting, sizeof(ITEM));
    if (!parting) return HL_SORT_NO_MEMORY;
    hl_room *room = room_of(parting, 0);
    NAME(cut)(parting, room->other, (ITEM *)room->other + MOST_AT_ONCE / 2, &room->digits);
    hl_sort_share(&parting->turns, NAME(count_pieces), parting, parting->pieces, sorting->threads);
    if (!sorting->watch->stopped) {
        add_up_pieces(parting);
        hl_sort_share(&parting->turns, NAME(scatter_pieces), parting, parting->pieces, sorting->threads);
        hl_sort_share(&parting->turns, NAME(finish_buckets), parting, parting->buckets, sorting->threads);
    }
    int status = sorting->watch->stopped ? HL_SORT_INTERRUPTED : HL_SORTED;
    for (int i = 0; i < parting->buckets && !status; i++)
        if (parting->left[i]) status = NAME(sort_part)(sorting, parting->starts[i], parting->starts[i + 1] - parting->starts[i]);
    hl_sort_give(parting);
    return status;
}

/* Sort so few items that one thread does it at once. */
static int NAME(sort_few)(hl_sorting *sorting) {
    hl_digit_room room; /* most of which stays as it is */
    room.floor = sorting->floor;
    room.extra = sorting->extra;
    room.vectors = hl_sort_has_vectors();
    ITEM near[FEW_ON_STACK], *other = near;
    const int far = sorting->count > FEW_ON_STACK && !(VECTORS && room.vectors);
    if (far) other = hl_sort_take((size_t)sorting->count * sizeof(ITEM));
    if (!other) return HL_SORT_NO_MEMORY;
    sorting->load(sorting, 0, sorting->count, sorting->items);
    NAME(finish)(sorting, 0, sorting->items, other, sorting->count, &room);
    if (far) hl_sort_give(other);
    return HL_SORTED;
}

/* Whether all is in order already; what it has stored otherwise will be stored again. */
static int NAME(in_order)(const hl_sorting *sorting) {
    ITEM block[BLOCK];
    WORD last = 0;
    for (int64_t start = 0, some; start < sorting->count; start += some) {
        some = smaller(sorting->count - start, BLOCK);
        sorting->load(sorting, start, some, block);
        if (KEY(block[0]) >> sorting->floor < last || !NAME(rises)(block, some, sorting->floor)) return 0;
        last = KEY(block[some - 1]) >> sorting->floor;
        sorting->store(sorting, start, some, block);
    }
    return 1;
}

static int NAME(sort_many)(hl_sorting *sorting) {
    if (!sorting->larger && NAME(in_order)(sorting)) return HL_SORTED;
#if VECTORS
    if (hl_sort_has_vectors()) return MANY_IN_VECTORS(sorting);
#endif
    return NAME(part)(sorting);
}

static int NAME(sort)(hl_sorting *sorting) {
    void *own = NULL;
    if (!sorting->items) {
        own = sorting->items = hl_sort_take((size_t)sorting->count * sizeof(ITEM));
        if (!own) return HL_SORT_NO_MEMORY;
    }
    const int vectors = VECTORS && hl_sort_has_vectors();
    const int64_t most = sorting->threads > 1 ? WORTH_THREADS : vectors ? MOST_IN_VECTORS : MOST_AT_ONCE;
    const int status = sorting->count <= most ? NAME(sort_few)(sorting) : NAME(sort_many)(sorting);
    if (own) hl_sort_give(own);
    return status;
}
