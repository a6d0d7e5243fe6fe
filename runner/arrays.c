/* See arrays.h. */
#include "arrays.h"

#include <string.h>

#include "runner.h"
#include "threads.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* In picoseconds: work from which on threads help; work that a thread takes at once, where the order is
 * free; what packing an element costs. */
static const double WORTH_THREADS = 1e8, SHARE = 25e6, PACKING = 500;

enum { /* elements */
    SMALLEST_SHARE = 1024,
    SQUARE = 8,
    WORTH_A_CALL = 8,      /* from which on memcpy is faster than a loop */
    LONG_RUN = 512,        /* from which on a run is taken where it is, not packed */
};

static void put(uint8_t *at, int64_t value) { memcpy(at, &value, sizeof value); }

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

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

/* Rows whose elements are further apart than the rows are: in squares, so that what comes into the cache
 * with an element is used before it leaves. */
static inline __attribute__((always_inline)) void pack_squares(uint8_t *to, const uint8_t *from, int64_t rows, int64_t row_stride,
                                                               int64_t count, int64_t stride, int64_t size) {
    for (int64_t j = 0; j < count; j += SQUARE)
        for (int64_t i = 0; i < rows; i += SQUARE)
            for (int64_t row = i; row < smaller(i + SQUARE, rows); row++)
                copy_items(to + (row * count + j) * size, size, from + row * row_stride + j * stride, stride,
                           smaller(SQUARE, count - j), (size_t)size);
}

/* One row again and again. */
static void pack_copies(uint8_t *to, const uint8_t *from, const hl_walk *walk, int64_t rows) {
    const int64_t count = walk->length[walk->rank - 1], bytes = rows * count * walk->itemsize;
    pack_row(to, from, walk->stride[walk->rank - 1], count, walk->itemsize);
    for (int64_t done = count * walk->itemsize; done < bytes; done *= 2) memcpy(to + done, to, (size_t)smaller(done, bytes - done));
}

static void pack_rows(uint8_t *to, const uint8_t *from, const hl_walk *walk, int64_t rows) {
    const int inner = walk->rank - 1;
    const int64_t count = walk->length[inner], stride = walk->stride[inner], row_stride = walk->stride[inner - 1];
    if (row_stride == 0) {
        pack_copies(to, from, walk, rows);
        return;
    }
    switch (walk->itemsize) {
    case 1: pack_squares(to, from, rows, row_stride, count, stride, 1); break;
    case 2: pack_squares(to, from, rows, row_stride, count, stride, 2); break;
    case 4: pack_squares(to, from, rows, row_stride, count, stride, 4); break;
    default: pack_squares(to, from, rows, row_stride, count, stride, 8);
    }
}

/* How many whole rows from here on are better packed together; 0: none. */
static int64_t rows_together(const hl_walk *walk, const int64_t *index, int64_t count) {
    const int inner = walk->rank - 1;
    if (inner < 1 || index[inner]) return 0;
    const int64_t stride = walk->stride[inner], row_stride = walk->stride[inner - 1];
    if (row_stride && (row_stride < 0 ? -row_stride : row_stride) >= (stride < 0 ? -stride : stride)) return 0;
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
        const int64_t rows = unpacking ? 0 : rows_together(walk, index, count);
        if (rows) {
            pack_rows(dense, at, walk, rows);
            part = rows * length;
            at += (rows - 1) * walk->stride[inner - 1];
            index[inner - 1] += rows - 1;
        } else if (unpacking) unpack_row(at, stride, dense, part, walk->itemsize);
        else pack_row(dense, at, stride, part, walk->itemsize);
        dense += part * walk->itemsize;
        count -= part;
        if (count) at = next_row(walk, at, index);
    }
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
        if (i < kernel->reads) memcpy(tail, context->at[i] + full * stream->itemsize, (size_t)rest * stream->itemsize);
        put(context->data + stream->tail_offset, (intptr_t)tail);
    }
}

static void take_tails(const hl_kernel *kernel, const hl_context *context, int64_t full, int64_t rest) {
    for (int i = kernel->reads; i < kernel->reads + kernel->writes; i++) {
        const hl_stream *stream = &kernel->streams[i];
        memcpy(context->at[i] + full * stream->itemsize, context->tails + stream->tail_at, (size_t)rest * stream->itemsize);
    }
}

/* Run the kernel on the next `count` elements, and step over them. */
static void call_kernel(const hl_job *job, const hl_context *context, int64_t count) {
    const hl_kernel *kernel = job->kernel;
    const int64_t rest = count & (int64_t)(kernel->block - 1), full = count - rest;
    const int streams = kernel->reads + kernel->writes;
    for (int i = 0; i < streams; i++) put(context->data + kernel->streams[i].pointer_offset, (intptr_t)context->at[i]);
    if (rest) give_tails(kernel, context, full, rest);
    put(context->data + kernel->count_offset, count);
    call_entry(job, context, kernel->entry);
    if (rest) take_tails(kernel, context, full, rest);
    for (int i = 0; i < streams; i++) context->at[i] += count * kernel->streams[i].itemsize;
}

static void keep_partials(const hl_job *job, const hl_context *context, int64_t number) {
    uint8_t **all = job->chunks > 1 ? job->partials : job->results;
    for (int i = 0; i < job->kernel->reductions; i++) {
        const hl_reduction *reduction = &job->kernel->reduction[i];
        memcpy(all[i] + number * reduction->itemsize, context->data + reduction->result_offset, reduction->itemsize);
    }
}

/* Elements [start, start + count), row by row; `number` is that of the first row's results. */
static void run_piece(const hl_job *job, const hl_context *context, int64_t start, int64_t count, int64_t row, int64_t number) {
    const hl_kernel *kernel = job->kernel;
    const int streams = kernel->reads + kernel->writes;
    for (int i = 0; i < streams; i++) {
        context->at[i] = in_place(&job->walks[i], start, count);
        if (context->at[i]) continue;
        context->at[i] = context->scratch + kernel->streams[i].pack_at;
        if (i < kernel->reads) transfer(&job->walks[i], start, count, context->at[i], 0);
    }
    for (int64_t done = 0; done < count; done += row) {
        call_kernel(job, context, row);
        if (kernel->reductions) keep_partials(job, context, number++);
    }
    for (int i = kernel->reads; i < streams; i++) {
        uint8_t *packed = context->scratch + kernel->streams[i].pack_at;
        if (!in_place(&job->walks[i], start, count)) transfer(&job->walks[i], start, count, packed, 1);
    }
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
        run_piece(job, context, start, count, count, 0);
        start += count;
    }
}

static void run_unit(const hl_job *job, const hl_context *context, int64_t unit) {
    if (!job->kernel->reductions) {
        int64_t start = unit * job->unit;
        run_map(job, context, start, start + smaller(job->unit, job->inner - start));
    } else if (job->chunks > 1) { /* the same chunk of all rows first: they may share cache lines */
        int64_t row = unit % job->outer, chunk = unit / job->outer;
        int64_t count = smaller(HL_CHUNK, job->inner - chunk * HL_CHUNK);
        run_piece(job, context, row * job->inner + chunk * HL_CHUNK, count, count, row * job->chunks + chunk);
    } else {
        int64_t row = unit * job->unit, rows = smaller(job->unit, job->outer - row);
        run_piece(job, context, row * job->inner, rows * job->inner, job->inner, row);
    }
}

/* ------------------------------------------------------------------------ floating-point state */

#if defined(__x86_64__)
/* The mode that runner.c calls programs in (see call_strictly there), set once for many calls. */
enum { MXCSR_MODE = 0xffc0, MXCSR_STRICT = 0x1f80 };

static unsigned enter_strictly(void) {
    unsigned mode = _mm_getcsr();
    if ((mode & MXCSR_MODE) != MXCSR_STRICT) _mm_setcsr(MXCSR_STRICT);
    return mode;
}

static void leave_strictly(unsigned mode) {
    if ((mode & MXCSR_MODE) != MXCSR_STRICT) _mm_setcsr(mode);
}
#else
static unsigned enter_strictly(void) { return 0; }
static void leave_strictly(unsigned mode) { (void)mode; }
#endif

static void work(void *object, int number) {
    hl_job *job = object;
    const hl_context *context = job->contexts[number];
    for (int i = 0; i < job->kernel->scalars; i++)
        memcpy(context->data + job->scalars[i].offset, job->scalars[i].bytes, job->scalars[i].size);
    unsigned mode = enter_strictly();
    for (;;) {
        int64_t unit = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (unit >= job->units) break;
        run_unit(job, context, unit);
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

static int64_t units_of(int64_t count, int64_t unit) { return count / unit + (count % unit != 0); }

/* Elements that a thread takes at once. */
static int64_t share_of(double cost) {
    const int64_t elements = (int64_t)(SHARE / (cost < 1 ? 1 : cost)) / SMALLEST_SHARE * SMALLEST_SHARE;
    return elements > HL_CHUNK ? HL_CHUNK : elements < SMALLEST_SHARE ? SMALLEST_SHARE : elements;
}

int hl_prepare(hl_job *job) {
    const hl_kernel *kernel = job->kernel;
    const int64_t elements = job->outer * job->inner; /* python_arrays.c knows that it fits */
    double cost = (double)kernel->cost;
    for (int i = 0; i < kernel->reads + kernel->writes; i++)
        if (!job->walks[i].flat) cost += PACKING;
    job->picoseconds = (double)elements * cost;
    job->next = 0;
    int threads = job->picoseconds > WORTH_THREADS ? hl_get_threads() : 1;
    if (!kernel->reductions) {
        job->inner = elements;
        job->unit = threads > 1 || elements == 0 ? share_of(cost) : elements;
        job->units = units_of(elements, job->unit);
        job->chunks = 1;
    } else {
        job->chunks = units_of(job->inner, HL_CHUNK);
        job->unit = job->inner < HL_CHUNK ? HL_CHUNK / job->inner : 1;
        job->units = job->chunks > 1 ? job->outer * job->chunks : units_of(job->outer, job->unit);
    }
    return (int)smaller(threads, job->units < 1 ? 1 : job->units);
}

int64_t hl_partials(const hl_job *job) { return job->chunks > 1 ? job->outer * job->chunks : 0; }

void hl_run_job(hl_job *job, int threads) {
    hl_share(work, job, threads);
    if (job->chunks < 2) return;
    unsigned mode = enter_strictly();
    for (int i = 0; i < job->kernel->reductions; i++) combine_all(job, i);
    leave_strictly(mode);
}
