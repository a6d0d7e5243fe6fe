/* The sort of many keys with vectors, for one width of keys; included by sort_vectors.c after sort_vectors.h.
 *
 * A sample shows where to cut the keys into buckets. Threads take piece after piece of the keys and part
 * each into its buckets, inside of the cache; then they take bucket after bucket, gather it from all pieces
 * and sort it. */

/* Choose where buckets begin: pivots[1] up to pivots[buckets - 1]. A key that takes up several has its own bucket. */
static void NAME(choose_pivots)(cutting *job, WORD *sample, WORD *pivots) {
    const hl_sorting *sorting = job->sorting;
    const int64_t count = job->buckets * SAMPLES, stride = sorting->count / count;
    uint64_t random = 1;
    for (int64_t i = 0; i < count; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX; a period in the keys does no harm */
        sorting->load(sorting, i * stride + (int64_t)((random >> 33) % (uint64_t)stride), 1, sample + i);
    }
    NAME(sort_here)(sample, count);
    for (int i = 1; i < job->buckets; i++) {
        pivots[i] = sample[i * SAMPLES];
        if (i > 1 && pivots[i] <= pivots[i - 1]) pivots[i] = (WORD)(pivots[i - 1] + (pivots[i - 1] + (WORD)1 != 0));
    }
}

/* Part keys [start, end) into buckets [first, first + many), by halves, the last of which brings them `to`. */
static void NAME(part_piece)(const cutting *job, WORD *keys, WORD *to, int64_t start, int64_t end, int first, int many, int32_t *ends) {
    const int half = many / 2;
    const int64_t count = end - start;
    const WORD pivot = ((const WORD *)job->pivots)[first + half];
    if (many == 2) {
        ends[first] = (int32_t)(start + NAME(part)(keys + start, to + start, count, pivot));
        ends[first + 1] = (int32_t)end;
        return;
    }
    const int64_t middle = start + NAME(part_here)(keys + start, count, pivot);
    NAME(part_piece)(job, keys, to, start, middle, first, half, ends);
    NAME(part_piece)(job, keys, to, middle, end, first + half, half, ends);
}

static void NAME(part_pieces)(void *object, int number) {
    cutting *job = object;
    hl_sorting *sorting = job->sorting;
    WORD *room = room_of(job, number);
    for (int64_t piece; (piece = hl_sort_next(&job->turns, number)) >= 0;) {
        const int64_t start = piece * PIECE, count = sorting->count - start < PIECE ? sorting->count - start : PIECE;
        sorting->load(sorting, start, count, room);
        NAME(part_piece)(job, room, (WORD *)job->parted + start, 0, count, 0, job->buckets, job->ends + piece * job->buckets);
    }
}

/* Bring a bucket together from all pieces. */
static void NAME(gather)(const cutting *job, int64_t bucket, WORD *to) {
    for (int64_t piece = 0; piece < job->pieces; piece++) {
        const int32_t *ends = job->ends + piece * job->buckets;
        const int64_t start = bucket ? ends[bucket - 1] : 0, count = ends[bucket] - start;
        memcpy(to, (const WORD *)job->parted + piece * PIECE + start, (size_t)count * sizeof(WORD));
        to += count;
    }
}

static void NAME(sort_buckets)(void *object, int number) {
    cutting *job = object;
    hl_sorting *sorting = job->sorting;
    for (int64_t bucket; (bucket = hl_sort_next(&job->turns, number)) >= 0;) {
        const int64_t start = job->starts[bucket], count = job->starts[bucket + 1] - start;
        WORD *keys = (WORD *)sorting->items + start;
        NAME(gather)(job, bucket, keys);
        NAME(sort_here)(keys, count);
        sorting->store(sorting, start, count, keys);
    }
}

static int NAME(sort_pieces)(hl_sorting *sorting) {
    WORD pivots[MOST_BUCKETS];
    cutting *job = make_cutting(sorting, sizeof(WORD));
    if (!job) return HL_SORT_NO_MEMORY;
    job->pivots = pivots;
    NAME(choose_pivots)(job, room_of(job, 0), pivots);
    hl_sort_share(&job->turns, NAME(part_pieces), job, job->pieces, sorting->threads);
    if (!sorting->watch->stopped) {
        add_up_buckets(job);
        hl_sort_share(&job->turns, NAME(sort_buckets), job, job->buckets, sorting->threads);
    }
    const int status = sorting->watch->stopped ? HL_SORT_INTERRUPTED : HL_SORTED;
    hl_sort_give(job);
    return status;
}
