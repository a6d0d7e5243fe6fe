/* See arrays.h. */
#define _GNU_SOURCE
#include "arrays.h"

#include <string.h>

#include "runner.h"
#include "strict.h"
#include "threads.h"
#include "transpose.h"

/* In picoseconds: work from which on threads help; work that a thread takes at once, where the order is
 * free; what packing an element costs. */
static const double WORTH_THREADS = 1e8, SHARE = 25e6, PACKING = 500;

enum { /* elements */
    SMALLEST_SHARE = 1024,
    FEWEST_ROWS = 16, ENOUGH_ROWS = 64, /* of a tile that is packed across its rows */
    TILE = 512,            /* of a row of such a tile, where the order is free */
    TILE_BYTES = 256 << 10,
    PADDED = 256, PAD = 16, /* packed rows from this length on are an odd multiple of that apart */
    WORTH_A_CALL = 8,      /* from which on memcpy is faster than a loop */
    LONG_RUN = 512,        /* from which on a run is taken where it is, not packed */
};

static void put(uint8_t *at, int64_t value) { memcpy(at, &value, sizeof value); }

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t units_of(int64_t count, int64_t unit) { return count / unit + (count % unit != 0); }

/* ------------------------------------------------------------------------------------ walks */

static void add_dimension(hl_walk *walk, int64_t length, int64_t stride) {
    int64_t reach, joined;
    int last = walk->rank - 1;
    if (last >= 0 && !__builtin_mul_overflow(stride, length, &reach) && walk->stride[last] == reach &&
        !__builtin_mul_overflow(walk->length[last], length, &joined)) {
        walk->length[last] = joined;
        walk->stride[last] = stride;
        return;
    }
    walk->length[walk->rank] = length;
    walk->stride[walk->rank++] = stride;
}

void hl_make_walk(hl_walk *walk, const hl_stream *stream, const hl_view *view, int rank, const int64_t *lengths) {
    const int64_t itemsize = stream->itemsize;
    walk->data = view->data;
    walk->itemsize = itemsize;
    walk->rank = 0;
    walk->across = -1;
    uint64_t misaligned = (uintptr_t)view->data;
    for (int i = 0; i < rank; i++) {
        if (lengths[i] == 1) continue;
        int64_t stride = stream->axes[i] < 0 ? 0 : view->strides[stream->axes[i]];
        misaligned |= (uint64_t)stride;
        add_dimension(walk, lengths[i], stride);
    }
    walk->run = walk->flat = 0;
    if (misaligned & (uint64_t)(itemsize - 1)) return; /* sizes are powers of two */
    if (walk->rank && walk->stride[walk->rank - 1] == itemsize) walk->run = walk->length[walk->rank - 1];
    walk->flat = !walk->rank || (walk->rank == 1 && walk->run);
}

/* Split a position into indices; returns the place in memory. */
static uint8_t *locate(const hl_walk *walk, int64_t position, int64_t *index) {
    uint8_t *at = walk->data;
    for (int i = walk->rank - 1; i >= 0; i--) {
        index[i] = i ? position % walk->length[i] : position;
        position = i ? position / walk->length[i] : 0;
        at += index[i] * walk->stride[i];
    }
    return at;
}

/* Go on by the rest of the innermost dimension. */
static uint8_t *next_row(const hl_walk *walk, uint8_t *at, int64_t *index) {
    int i = walk->rank - 1;
    at -= index[i] * walk->stride[i];
    index[i] = 0;
    for (i--; i >= 0; i--) {
        at += walk->stride[i];
        if (++index[i] < walk->length[i] || i == 0) break;
        at -= walk->length[i] * walk->stride[i];
        index[i] = 0;
    }
    return at;
}

/* --------------------------------------------------------------------------- packing, unpacking */

/* Items of one size, from one stride to another. Sizes are constants where this is used. */
static inline __attribute__((always_inline)) void copy_items(uint8_t *to, int64_t to_stride, const uint8_t *from,
                                                             int64_t from_stride, int64_t count, size_t size) {
    for (int64_t i = 0; i < count; i++, to += to_stride, from += from_stride) memcpy(to, from, size);
}

static inline __attribute__((always_inline)) void copy_to_dense(uint8_t *to, const uint8_t *from, int64_t stride,
                                                                int64_t count, size_t size) {
    if (stride == 0) { /* the item stays in a register */
        uint8_t item[8];
        memcpy(item, from, size);
        for (int64_t i = 0; i < count; i++) memcpy(to + (size_t)i * size, item, size);
    } else if (stride == -(int64_t)size) { /* a constant stride becomes a shuffle */
        copy_items(to, (int64_t)size, from, -(int64_t)size, count, size);
    } else {
        copy_items(to, (int64_t)size, from, stride, count, size);
    }
}

static void pack_row(uint8_t *to, const uint8_t *from, int64_t stride, int64_t count, int64_t itemsize) {
    if (stride == itemsize && count >= WORTH_A_CALL) {
        memcpy(to, from, (size_t)(count * itemsize));
        return;
    }
    switch (itemsize) {
    case 1: copy_to_dense(to, from, stride, count, 1); break;
    case 2: copy_to_dense(to, from, stride, count, 2); break;
    case 4: copy_to_dense(to, from, stride, count, 4); break;
    default: copy_to_dense(to, from, stride, count, 8);
    }
}

static void unpack_row(uint8_t *to, int64_t stride, const uint8_t *from, int64_t count, int64_t itemsize) {
    if (stride == itemsize && count >= WORTH_A_CALL) {
        memcpy(to, from, (size_t)(count * itemsize));
        return;
    }
    switch (itemsize) {
    case 1: copy_items(to, stride, from, 1, count, 1); break;
    case 2: copy_items(to, stride, from, 2, count, 2); break;
    case 4: copy_items(to, stride, from, 4, count, 4); break;
    default: copy_items(to, stride, from, 8, count, 8);
    }
}

/* One row again and again. */
static void pack_copies(uint8_t *to, const uint8_t *from, const hl_walk *walk, int64_t rows) {
    const int64_t count = walk->length[walk->rank - 1], bytes = rows * count * walk->itemsize;
    pack_row(to, from, walk->stride[walk->rank - 1], count, walk->itemsize);
    for (int64_t done = count * walk->itemsize; done < bytes; done *= 2) memcpy(to + done, to, (size_t)smaller(done, bytes - done));
}

/* How many whole rows from here on are one and the same; 0: no more than this. */
static int64_t same_rows(const hl_walk *walk, const int64_t *index, int64_t count) {
    const int inner = walk->rank - 1;
    if (inner < 1 || index[inner] || walk->stride[inner - 1]) return 0;
    const int64_t rows = smaller(count / walk->length[inner], walk->length[inner - 1] - index[inner - 1]);
    return rows > 1 ? rows : 0;
}

/* Move elements [start, start + count) between memory and dense scratch. */
static void transfer(const hl_walk *walk, int64_t start, int64_t count, uint8_t *dense, int unpacking) {
    int64_t index[HL_RANK];
    uint8_t *at = locate(walk, start, index);
    const int inner = walk->rank - 1;
    const int64_t length = walk->rank ? walk->length[inner] : 1, stride = walk->rank ? walk->stride[inner] : 0;
    while (count > 0) {
        int64_t part = walk->rank ? smaller(count, length - index[inner]) : count;
        const int64_t rows = unpacking ? 0 : same_rows(walk, index, count);
        if (rows) {
            pack_copies(dense, at, walk, rows);
            part = rows * length;
            index[inner - 1] += rows - 1;
        } else if (unpacking) unpack_row(at, stride, dense, part, walk->itemsize);
        else pack_row(dense, at, stride, part, walk->itemsize);
        dense += part * walk->itemsize;
        count -= part;
        if (count) at = next_row(walk, at, index);
    }
}

/* ------------------------------------------------------------------------------- across the rows */

/* The dimension whose steps lead from one row of `inner` elements to the next, if these steps are shorter
 * than those inside of a row; else -1. Rows are then packed many at a time, so that what comes into the
 * cache with an element is used before it leaves. */
static int dimension_across(const hl_walk *walk, int64_t inner) {
    int64_t length = 1;
    int i = walk->rank;
    while (i > 0 && length < inner) length *= walk->length[--i];
    if (length != inner || i < 1 || i == walk->rank) return -1;
    const int64_t stride = walk->stride[walk->rank - 1], step = walk->stride[i - 1];
    return step && (step < 0 ? -step : step) < (stride < 0 ? -stride : stride) ? i - 1 : -1;
}

static void move_tile(const hl_walk *walk, uint8_t *at, int64_t rows, int64_t count, uint8_t *dense, int64_t pitch, int unpacking) {
    const int64_t step = walk->stride[walk->across], stride = walk->stride[walk->rank - 1], size = walk->itemsize;
    if (step != size)
        for (int64_t i = 0; i < rows; i++) {
            if (unpacking) unpack_row(at + i * step, stride, dense + i * pitch, count, size);
            else pack_row(dense + i * pitch, at + i * step, stride, count, size);
        }
    else if (unpacking) hl_transpose(at, stride, dense, pitch, count, rows, size);
    else hl_transpose(dense, pitch, at, stride, rows, count, size);
}

/* Move elements [offset, offset + count) of rows between memory and dense rows, `pitch` bytes apart. */
static void move_across(const hl_walk *walk, int64_t inner, int64_t row, int64_t rows, int64_t offset, int64_t count, uint8_t *dense,
                        int64_t pitch, int unpacking) {
    int64_t index[HL_RANK];
    const int64_t length = walk->length[walk->rank - 1], width = walk->length[walk->across];
    for (int64_t some; rows > 0; row += some, rows -= some, dense += some * pitch) {
        some = smaller(rows, width - row % width);
        for (int64_t done = 0, part; done < count; done += part) {
            part = smaller(count - done, length - (offset + done) % length);
            uint8_t *at = locate(walk, row * inner + offset + done, index);
            move_tile(walk, at, some, part, dense + done * walk->itemsize, pitch, unpacking);
        }
    }
}

/* Move elements of rows in whatever way is best. */
static void move_rows(const hl_job *job, const hl_walk *walk, int64_t row, int64_t rows, int64_t offset, int64_t count, uint8_t *dense,
                      int unpacking) {
    const int64_t start = row * job->inner + offset, pitch = job->pitch * walk->itemsize;
    if (walk->across >= 0) move_across(walk, job->inner, row, rows, offset, count, dense, pitch, unpacking);
    else if (rows == 1 || (job->pitch == job->inner && count == job->inner)) transfer(walk, start, rows * count, dense, unpacking);
    else
        for (int64_t i = 0; i < rows; i++) transfer(walk, start + i * job->inner, count, dense + i * pitch, unpacking);
}

/* The place of elements [start, start + count) if they lie one after another, else NULL. */
static uint8_t *in_place(const hl_walk *walk, int64_t start, int64_t count) {
    if (walk->flat) return walk->data + start * walk->itemsize;
    if (!walk->run || count > walk->run - start % walk->run) return NULL;
    int64_t index[HL_RANK];
    return locate(walk, start, index);
}

/* ----------------------------------------------------------------------------- calls of kernels */

static void call_entry(const hl_job *job, const hl_context *context, uint32_t entry) {
    ((hl_entry)(uintptr_t)(job->code + entry))(context->data);
}

/* Copy what is over of the streams that are read, so that a kernel can take a whole block. */
static void give_tails(const hl_kernel *kernel, const hl_context *context, int64_t full, int64_t rest) {
    for (int i = 0; i < kernel->reads + kernel->writes; i++) {
        const hl_stream *stream = &kernel->streams[i];
        uint8_t *tail = context->tails + stream->tail_at;
        if (i < kernel->reads) memcpy(tail, context->places[i].at + full * stream->itemsize, (size_t)rest * stream->itemsize);
        put(context->data + stream->tail_offset, (intptr_t)tail);
    }
}

static void take_tails(const hl_kernel *kernel, const hl_context *context, int64_t full, int64_t rest) {
    for (int i = kernel->reads; i < kernel->reads + kernel->writes; i++) {
        const hl_stream *stream = &kernel->streams[i];
        memcpy(context->places[i].at + full * stream->itemsize, context->tails + stream->tail_at, (size_t)rest * stream->itemsize);
    }
}

/* Run the kernel on the next `count` elements. */
static void call_kernel(const hl_job *job, const hl_context *context, int64_t count) {
    const hl_kernel *kernel = job->kernel;
    const int64_t rest = count & (int64_t)(kernel->block - 1), full = count - rest;
    const int streams = kernel->reads + kernel->writes;
    for (int i = 0; i < streams; i++) put(context->data + kernel->streams[i].pointer_offset, (intptr_t)context->places[i].at);
    if (rest) give_tails(kernel, context, full, rest);
    put(context->data + kernel->count_offset, count);
    call_entry(job, context, kernel->entry);
    if (rest) take_tails(kernel, context, full, rest);
}

static void keep_partials(const hl_job *job, const hl_context *context, int64_t number) {
    uint8_t **all = job->chunks > 1 ? job->partials : job->results;
    for (int i = 0; i < job->kernel->reductions; i++) {
        const hl_reduction *reduction = &job->kernel->reduction[i];
        memcpy(all[i] + number * reduction->itemsize, context->data + reduction->result_offset, reduction->itemsize);
    }
}

/* Where the kernel finds the elements of a stream that it reads or writes, and how far it is to the next row. */
static void place_stream(const hl_job *job, const hl_context *context, int number, int64_t row, int64_t rows, int64_t offset,
                         int64_t count) {
    const hl_stream *stream = &job->kernel->streams[number];
    const hl_walk *walk = &job->walks[number];
    hl_place *place = &context->places[number];
    *place = (hl_place){.step = job->inner * walk->itemsize};
    place->at = in_place(walk, row * job->inner + offset, (rows - 1) * job->inner + count);
    if (place->at) return;
    place->each_row = !job->joined && count >= LONG_RUN && walk->run && walk->run % job->inner == 0;
    if (place->each_row) return;
    place->step = job->pitch * walk->itemsize;
    place->at = place->packed = context->scratch + stream->pack_at * job->room;
    if (number < job->kernel->reads) move_rows(job, walk, row, rows, offset, count, place->packed, 0);
}

/* Elements [offset, offset + count) of each of some rows. */
static void run_rows(const hl_job *job, const hl_context *context, int64_t row, int64_t rows, int64_t offset, int64_t count) {
    const hl_kernel *kernel = job->kernel;
    const int streams = kernel->reads + kernel->writes;
    for (int i = 0; i < streams; i++) place_stream(job, context, i, row, rows, offset, count);
    const int64_t at_once = job->joined ? rows : 1;
    for (int64_t i = 0; i < rows; i += at_once) {
        for (int j = 0; j < streams; j++)
            if (context->places[j].each_row) context->places[j].at = in_place(&job->walks[j], (row + i) * job->inner + offset, count);
        call_kernel(job, context, at_once * count);
        if (kernel->reductions) keep_partials(job, context, (row + i) * job->chunks + offset / HL_CHUNK);
        for (int j = 0; j < streams; j++) context->places[j].at += context->places[j].step;
    }
    for (int i = kernel->reads; i < streams; i++)
        if (context->places[i].packed) move_rows(job, &job->walks[i], row, rows, offset, count, context->places[i].packed, 1);
}

/* ----------------------------------------------------------------------------------------- units */

/* How far to go from `start` at once: to the end if nothing is packed, else a piece that fits the
 * scratch memory and breaks no run that is long enough to be used where it is. */
static int64_t piece_of(const hl_job *job, int64_t start, int64_t end) {
    int64_t count = end - start;
    for (int i = 0; i < job->kernel->reads + job->kernel->writes; i++) {
        const hl_walk *walk = &job->walks[i];
        if (walk->flat) continue;
        count = smaller(count, HL_PACKED);
        if (walk->run >= LONG_RUN) count = smaller(count, walk->run - start % walk->run);
    }
    return count;
}

static void run_map(const hl_job *job, const hl_context *context, int64_t start, int64_t end) {
    while (start < end) {
        int64_t count = piece_of(job, start, end);
        run_rows(job, context, 0, 1, start, count);
        start += count;
    }
}

static void run_unit(const hl_job *job, const hl_context *context, int64_t unit) {
    if (!job->chunk) {
        int64_t start = unit * job->unit;
        run_map(job, context, start, start + smaller(job->unit, job->inner - start));
    } else { /* the same chunk of all rows first: they may share cache lines */
        const int64_t groups = units_of(job->outer, job->unit);
        const int64_t row = unit % groups * job->unit, offset = unit / groups * job->chunk;
        run_rows(job, context, row, smaller(job->unit, job->outer - row), offset, smaller(job->chunk, job->inner - offset));
    }
}

/* Ask the caller, in its own floating-point mode, whether to stop; then nobody begins another unit. */
static void ask(hl_job *job, unsigned mode) {
    leave_strictly(mode);
    job->stopped = job->interrupted(job->caller);
    enter_strictly();
    if (job->stopped) atomic_store(&job->next, job->units);
}

static void work(void *object, int number) {
    hl_job *job = object;
    const hl_context *context = job->contexts[number];
    for (int i = 0; i < job->kernel->scalars; i++)
        memcpy(context->data + job->scalars[i].offset, job->scalars[i].bytes, job->scalars[i].size);
    const int asks = number == 0 && job->interrupted && job->units > 1;
    int64_t asked = asks ? nanoseconds() : 0;
    unsigned mode = enter_strictly();
    for (;;) {
        int64_t unit = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (unit >= job->units) break;
        run_unit(job, context, unit);
        if (!asks || nanoseconds() - asked < PATIENCE) continue;
        ask(job, mode);
        asked = nanoseconds();
    }
    leave_strictly(mode);
}

/* -------------------------------------------------------------------------------------- partials */

/* One chunk of partial results becomes one. */
static void combine_chunk(const hl_job *job, const hl_reduction *reduction, const uint8_t *from, int64_t count, uint8_t *to) {
    const hl_context *context = job->contexts[0];
    const hl_combine *combine = &reduction->combine;
    const int64_t rest = count % HL_PARTIALS;
    memcpy(context->tails, from + (count - rest) * reduction->itemsize, (size_t)rest * reduction->itemsize);
    put(context->data + combine->pointer_offset, (intptr_t)from);
    put(context->data + combine->tail_offset, (intptr_t)context->tails);
    put(context->data + combine->count_offset, count);
    call_entry(job, context, combine->entry);
    memcpy(to, context->data + combine->result_offset, reduction->itemsize);
}

/* Partial results are reduced in chunks as elements are, until one is left. */
static void combine_all(const hl_job *job, int which) {
    const hl_reduction *reduction = &job->kernel->reduction[which];
    const int64_t size = reduction->itemsize;
    for (int64_t row = 0; row < job->outer; row++) {
        uint8_t *partials = job->partials[which] + row * job->chunks * size;
        for (int64_t count = job->chunks, left; count > 1; count = left) {
            left = 0;
            for (int64_t start = 0; start < count; start += HL_CHUNK, left++)
                combine_chunk(job, reduction, partials + start * size, smaller(HL_CHUNK, count - start), partials + left * size);
        }
        memcpy(job->results[which] + row * size, partials, (size_t)size);
    }
}

/* ------------------------------------------------------------------------------------------ jobs */

/* Elements that a thread takes at once. */
static int64_t share_of(double cost) {
    const int64_t elements = (int64_t)(SHARE / (cost < 1 ? 1 : cost)) / SMALLEST_SHARE * SMALLEST_SHARE;
    return elements > HL_CHUNK ? HL_CHUNK : elements < SMALLEST_SHARE ? SMALLEST_SHARE : elements;
}

/* Of a kernel whose order is free: the length of rows that are best packed many at a time; 0: there are none. */
static int64_t row_to_cross(const hl_job *job) {
    for (int i = 0; i < job->kernel->reads + job->kernel->writes; i++) {
        const hl_walk *walk = &job->walks[i];
        const int64_t length = walk->rank ? walk->length[walk->rank - 1] : 0;
        if (!walk->flat && dimension_across(walk, length) >= 0) return length;
    }
    return 0;
}

/* How many rows of which the packed streams cross are packed at once. The packed rows are an odd number of
 * cache lines apart: at multiples of a page they would compete for the same places of the cache. */
static void prepare_tiles(hl_job *job, int64_t itemsize, int threads) {
    int64_t rows = TILE_BYTES / (job->chunk * itemsize);
    rows = rows < FEWEST_ROWS ? FEWEST_ROWS : rows > ENOUGH_ROWS ? ENOUGH_ROWS : rows;
    while (threads > 1 && rows > FEWEST_ROWS && units_of(job->outer, rows) * job->chunks < 4 * threads) rows /= 2;
    if (rows > job->unit) job->unit = rows;
    if (job->chunk >= PADDED) job->pitch = (units_of(job->chunk, PAD) | 1) * PAD;
    const int64_t base = job->kernel->reductions ? HL_CHUNK : HL_PACKED;
    job->room = (size_t)units_of(smaller(job->unit, job->outer) * job->pitch, base);
}

static void prepare_rows(hl_job *job, int threads) {
    const hl_kernel *kernel = job->kernel;
    int64_t itemsize = 0;
    for (int i = 0; i < kernel->reads + kernel->writes; i++) {
        hl_walk *walk = &job->walks[i];
        walk->across = walk->flat ? -1 : dimension_across(walk, job->inner);
        if (walk->across >= 0 && walk->itemsize > itemsize) itemsize = walk->itemsize;
    }
    const int64_t most = kernel->reductions ? HL_CHUNK : job->inner > 2 * TILE ? TILE : job->inner;
    job->chunk = job->pitch = smaller(job->inner, most);
    job->chunks = units_of(job->inner, job->chunk);
    job->unit = job->chunks > 1 ? 1 : (kernel->reductions ? HL_CHUNK : 4 * HL_PACKED) / job->inner;
    if (job->unit < 1) job->unit = 1;
    if (itemsize) prepare_tiles(job, itemsize, threads);
    job->units = units_of(job->outer, job->unit) * job->chunks;
    job->joined = !kernel->reductions && job->pitch == job->inner;
}

static void prepare_map(hl_job *job, double cost, int64_t elements) {
    job->outer = 1;
    job->inner = job->pitch = elements;
    job->unit = job->picoseconds > WORTH_THREADS ? share_of(cost) : elements;
    job->units = units_of(elements, job->unit);
}

int hl_prepare(hl_job *job) {
    const hl_kernel *kernel = job->kernel;
    const int64_t elements = job->outer * job->inner; /* python_arrays.c knows that it fits */
    double cost = (double)kernel->cost;
    int flat = 1;
    for (int i = 0; i < kernel->reads + kernel->writes; i++) {
        flat &= job->walks[i].flat;
        if (!job->walks[i].flat) cost += PACKING;
    }
    job->picoseconds = (double)elements * cost;
    job->next = job->chunk = job->joined = job->stopped = 0;
    job->chunks = 1;
    job->room = 1;
    const int threads = job->picoseconds > WORTH_THREADS ? hl_get_threads() : 1;
    const int64_t crossed = kernel->reductions || flat ? 0 : row_to_cross(job);
    if (crossed) {
        job->outer = elements / crossed;
        job->inner = crossed;
    }
    if (crossed || kernel->reductions) prepare_rows(job, threads);
    else prepare_map(job, cost, elements);
    job->scratch = flat ? 0 : kernel->scratch * job->room;
    return (int)smaller(threads, job->units);
}

int64_t hl_partials(const hl_job *job) { return job->chunks > 1 ? job->outer * job->chunks : 0; }

void hl_run_job(hl_job *job, int threads) {
    hl_share(work, job, threads);
    if (!job->kernel->reductions || job->chunks < 2 || job->stopped) return;
    unsigned mode = enter_strictly();
    for (int i = 0; i < job->kernel->reductions; i++) combine_all(job, i);
    leave_strictly(mode);
}
