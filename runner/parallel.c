/* See parallel.h.
 *
 * Scans and filters are done in one pass over memory: a thread folds or filters a chunk by itself, waits until
 * it is known what comes before, says what comes before the next chunk, and stores. Chunks are taken in order, and
 * who has taken one waits only for chunks that others took before, so that there is always one who does not wait.
 */
#define _GNU_SOURCE
#include "parallel.h"

#include <sched.h>
#include <string.h>

#include "runner.h"
#include "strict.h"
#include "threads.h"

/* Picoseconds: work from which on threads help; work that a thread takes at once, where the order is free; the price of
 * an element from which on it may be a bad guess, since there may be loops whose length nobody knows; how many times as
 * much time a sweep in chunks is then given, which cannot be tried. */
static const double WORTH_THREADS = 1e8, SHARE = 75e6, DOUBTFUL = 5e3, DOUBTS = 10;

enum {
    GROUP = 64,     /* elements that one thread takes at least, so that no two write to one cache line */
    FIRST = 4,      /* elements that are tried where the price is doubtful; then four times as many, and so on */
    PARTS = 4,      /* a thread gets that many pieces or more */
    SPINS = 2000,   /* before a thread that waits gives up its processor */
    COPIED = 1 << 20, /* bytes that a thread copies at once */
};

static const int64_t MOST = (int64_t)1 << 40; /* elements of a piece */

static void put(uint8_t *at, int64_t value) { memcpy(at, &value, sizeof value); }

static int64_t get(const uint8_t *at) {
    int64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t units_of(int64_t count, int64_t unit) { return count / unit + (count % unit != 0); }

/* ------------------------------------------------------------------------------- calls of code */

void hl_give_inputs(uint8_t *data, const hl_inputs *inputs, const hl_registers *registers) {
    for (int i = 0; i < inputs->scalars; i++) {
        const hl_operand *scalar = &inputs->scalar[i];
        memcpy(data + scalar->slot, registers->scalars[scalar->scalar], scalar->size);
    }
    for (int i = 0; i < inputs->bases; i++) {
        const hl_base *base = &inputs->base[i];
        const hl_array *array = &registers->arrays[base->array];
        put(data + base->pointer, (intptr_t)array->data);
        if (base->length >= 0) put(data + base->length, array->length);
    }
}

static void call_entry(const uint8_t *code, int64_t entry, uint8_t *data) { ((hl_entry)(uintptr_t)(code + entry))(data); }

void hl_call_code(const uint8_t *code, int64_t entry, uint8_t *data) {
    unsigned mode = enter_strictly();
    call_entry(code, entry, data);
    leave_strictly(mode);
}

static void run_range(const hl_sweep_job *job, const hl_worker *worker, int64_t entry, int64_t low, int64_t high) {
    put(worker->data + job->sweep->low, low);
    put(worker->data + job->sweep->high, high);
    call_entry(job->code, entry, worker->data);
}

/* -------------------------------------------------------------------------------------- states */

static void take_states(const hl_sweep *sweep, const uint8_t *data, uint8_t (*to)[8]) {
    for (int i = 0; i < sweep->states; i++) memcpy(to[i], data + sweep->state[i].slot, sweep->state[i].size);
}

static void give_states(const hl_sweep *sweep, uint8_t *data, uint8_t (*from)[8]) {
    for (int i = 0; i < sweep->states; i++) memcpy(data + sweep->state[i].slot, from[i], sweep->state[i].size);
}

static void copy_states(const hl_sweep *sweep, uint8_t (*to)[8], uint8_t (*from)[8]) { memcpy(to, from, (size_t)sweep->states * 8); }

static void combine(const hl_sweep_job *job, const hl_worker *worker, uint8_t (*left)[8], uint8_t (*right)[8], uint8_t (*to)[8]) {
    const hl_sweep *sweep = job->sweep;
    give_states(sweep, worker->data, left);
    for (int i = 0; i < sweep->states; i++) memcpy(worker->data + sweep->state[i].other, right[i], sweep->state[i].size);
    call_entry(job->code, sweep->combine, worker->data);
    take_states(sweep, worker->data, to);
}

/* From the first element on, or from whatever the states are if there is no `begin`. */
static void run_chunk(const hl_sweep_job *job, const hl_worker *worker, int64_t begin, int64_t run, int64_t low, int64_t high) {
    if (begin >= 0) run_range(job, worker, begin, low, low + 1);
    if (begin >= 0 && ++low == high) return;
    run_range(job, worker, run, low, high);
}

/* -------------------------------------------------------------------------------------- chunks */

static int64_t end_of(const hl_sweep_job *job, int64_t low) { return low + smaller(job->sweep->chunk, job->count - low); }

static void fold_chunk(const hl_sweep_job *job, const hl_worker *worker, int64_t number) {
    const hl_sweep *sweep = job->sweep;
    const int64_t low = number * sweep->chunk;
    run_chunk(job, worker, sweep->begin, sweep->run, low, end_of(job, low));
    take_states(sweep, worker->data, job->partials + number * sweep->states);
}

/* Wait until all is known that comes before a chunk. */
static void wait_for(hl_sweep_job *job, int64_t number) {
    int spins = 0;
    while (atomic_load_explicit(&job->known, memory_order_acquire) < number) {
        if (spins++ > SPINS) {
            sched_yield();
            spins = SPINS;
        }
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
}

static void tell(hl_sweep_job *job, int64_t number) { atomic_store_explicit(&job->known, number + 1, memory_order_release); }

/* The total is never taken from the scan itself, whose order of operations is another one. */
static void scan_chunk(hl_sweep_job *job, const hl_worker *worker, int64_t number) {
    const hl_sweep *sweep = job->sweep;
    const int64_t low = number * sweep->chunk, high = end_of(job, low);
    const int last = high == job->count, first = number == 0 && !sweep->starts;
    if (!last) {
        run_chunk(job, worker, sweep->total_begin, sweep->total_run, low, high);
        take_states(sweep, worker->data, worker->total);
    }
    wait_for(job, number);
    if (!first) copy_states(sweep, worker->before, job->prefix);
    if (!last) {
        if (first) copy_states(sweep, job->prefix, worker->total);
        else combine(job, worker, worker->before, worker->total, job->prefix);
        tell(job, number);
    }
    if (!first) give_states(sweep, worker->data, worker->before);
    run_chunk(job, worker, first ? sweep->begin : -1, sweep->run, low, high);
    if (last) take_states(sweep, worker->data, job->prefix);
}

/* Where what is kept of one chunk begins in a thread's room. */
static uint8_t *room_of(const hl_sweep *sweep, const hl_worker *worker, int output) {
    size_t before = 0;
    for (int i = 0; i < output; i++) before += ((size_t)(sweep->chunk + 1) * sweep->output[i].size + GROUP - 1) / GROUP * GROUP;
    return worker->room + before;
}

size_t hl_room_bytes(const hl_sweep *sweep) {
    const hl_worker nowhere = {0};
    return (size_t)(room_of(sweep, &nowhere, sweep->outputs) - nowhere.room);
}

static void filter_chunk(hl_sweep_job *job, const hl_worker *worker, int64_t number) {
    const hl_sweep *sweep = job->sweep;
    const int64_t low = number * sweep->chunk;
    if (job->threads > 1) put(worker->data + sweep->position, 0);
    run_range(job, worker, sweep->run, low, end_of(job, low));
    const int64_t kept = get(worker->data + sweep->position);
    if (job->threads == 1) {
        job->kept = kept;
        return;
    }
    wait_for(job, number);
    const int64_t start = job->kept;
    job->kept = start + kept;
    tell(job, number);
    for (int i = 0; i < sweep->outputs; i++) {
        const size_t size = sweep->output[i].size;
        memcpy(job->outputs[i] + (size_t)start * size, room_of(sweep, worker, i), (size_t)kept * size);
    }
}

/* A thread of several collects what it keeps in its room, one alone where it belongs. */
static void place_outputs(const hl_sweep_job *job, const hl_worker *worker) {
    const hl_sweep *sweep = job->sweep;
    for (int i = 0; i < sweep->outputs; i++)
        put(worker->data + sweep->output[i].pointer, (intptr_t)(job->threads > 1 ? room_of(sweep, worker, i) : job->outputs[i]));
    put(worker->data + sweep->position, 0);
}

/* ------------------------------------------------------------------------------- work of a thread */

/* When the caller was asked last whether to go on; `asks`: whether this thread asks at all. */
typedef struct {
    int asks;
    int64_t asked;
    unsigned mode;
} Watch;

static void ask(hl_sweep_job *job, Watch *watch, int64_t now, int64_t end) {
    if (!watch->asks || now - watch->asked < PATIENCE) return;
    leave_strictly(watch->mode);
    job->stopped = job->interrupted(job->caller);
    enter_strictly();
    if (job->stopped) atomic_store(&job->next, end); /* nobody begins anything more */
    watch->asked = nanoseconds();
}

/* What to take next, after `piece` took so long: prices of elements are guesses, and some are far off. */
static int64_t adapted(int64_t piece, int64_t took) {
    const int64_t share = (int64_t)(SHARE / 1000);
    if (took > 4 * share) piece /= smaller(took / share, piece);
    else if (took < share / 2 && piece < MOST) piece *= took < share / 16 ? 4 : 2;
    return piece > GROUP ? piece / GROUP * GROUP : piece;
}

static void run_pieces(hl_sweep_job *job, const hl_worker *worker, Watch *watch) {
    int64_t piece = job->threads > 1 || job->interrupted ? job->piece : job->count;
    int64_t before = piece < job->count ? nanoseconds() : 0;
    for (;;) {
        const int64_t low = atomic_fetch_add_explicit(&job->next, piece, memory_order_relaxed);
        if (low >= job->count) return;
        run_range(job, worker, job->sweep->run, low, low + smaller(piece, job->count - low));
        if (piece >= job->count - low) return;
        const int64_t now = nanoseconds();
        piece = adapted(piece, now - before);
        ask(job, watch, now, job->count);
        before = watch->asks ? nanoseconds() : now;
    }
}

static void run_chunks(hl_sweep_job *job, const hl_worker *worker, Watch *watch) {
    const hl_mode mode = job->sweep->mode;
    if (mode == HL_FILTER) place_outputs(job, worker);
    for (;;) {
        const int64_t number = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (number >= job->chunks) return;
        if (mode == HL_FOLD) fold_chunk(job, worker, number);
        else if (mode == HL_SCAN) scan_chunk(job, worker, number);
        else filter_chunk(job, worker, number);
        if (watch->asks) ask(job, watch, nanoseconds(), job->chunks);
    }
}

static void work(void *object, int number) {
    hl_sweep_job *job = object;
    const hl_worker *worker = job->workers[number];
    hl_give_inputs(worker->data, &job->sweep->inputs, &job->registers);
    Watch watch = {.asks = number == 0 && job->interrupted};
    if (watch.asks) watch.asked = nanoseconds();
    watch.mode = enter_strictly();
    if (job->sweep->mode <= HL_ORDERED) run_pieces(job, worker, &watch);
    else run_chunks(job, worker, &watch);
    leave_strictly(watch.mode);
}

/* ------------------------------------------------------------------------------------- results */

/* Partial results of a fold become one, in `prefix`. */
static void combine_all(const hl_sweep_job *job) {
    const hl_sweep *sweep = job->sweep;
    const hl_worker *worker = job->workers[0];
    if (!sweep->starts) copy_states(sweep, job->prefix, job->partials);
    unsigned mode = enter_strictly();
    for (int64_t i = !sweep->starts; i < job->chunks; i++)
        combine(job, worker, job->prefix, job->partials + i * sweep->states, job->prefix);
    leave_strictly(mode);
}

/* What a fold is without elements: what it starts from. */
static void fold_nothing(const hl_sweep_job *job) {
    const hl_sweep *sweep = job->sweep;
    const hl_worker *worker = job->workers[0];
    if (sweep->starts) return;
    memset(job->prefix, 0, (size_t)sweep->states * 8);
    if (sweep->mode != HL_FOLD || sweep->begin >= 0) return;
    hl_give_inputs(worker->data, &sweep->inputs, &job->registers);
    unsigned mode = enter_strictly();
    run_range(job, worker, sweep->run, 0, 0);
    leave_strictly(mode);
    take_states(sweep, worker->data, job->prefix);
}

/* Flags of all threads come together; a thread that did not take part has none. */
static void write_results(const hl_sweep_job *job) {
    const hl_sweep *sweep = job->sweep;
    uint8_t (*scalars)[8] = job->registers.scalars;
    for (int i = 0; i < sweep->flags; i++) {
        uint8_t raised = 0;
        for (int j = 0; j < job->threads; j++) raised |= job->workers[j]->data[sweep->flag[i].slot];
        scalars[sweep->flag[i].scalar][0] = raised != 0;
    }
    for (int i = 0; i < sweep->states; i++)
        if (sweep->state[i].into >= 0) memcpy(scalars[sweep->state[i].into], job->prefix[i], sweep->state[i].size);
    if (sweep->mode == HL_FILTER) put(scalars[sweep->kept], job->kept);
}

/* ---------------------------------------------------------------------------------------- jobs */

static int is_doubtful(const hl_sweep *sweep) { return (double)sweep->cost >= DOUBTFUL; }

/* Elements that a thread takes at first; if they are cheap, in groups. */
static int64_t piece_of(const hl_sweep_job *job, int threads) {
    const double elements = SHARE / (double)(job->sweep->cost < 1 ? 1 : job->sweep->cost);
    if (is_doubtful(job->sweep)) return elements < (double)GROUP ? 1 : FIRST;
    const int64_t piece = smaller((int64_t)elements, job->count / (PARTS * threads));
    return piece < GROUP ? GROUP : piece / GROUP * GROUP;
}

int hl_prepare_sweep(hl_sweep_job *job, int most) {
    const hl_sweep *sweep = job->sweep;
    const int64_t count = job->count < 0 ? 0 : job->count;
    job->picoseconds = (double)count * (double)sweep->cost * (sweep->mode == HL_SCAN ? 2 : 1);
    if (is_doubtful(sweep) && sweep->mode > HL_ORDERED) job->picoseconds *= DOUBTS;
    job->chunks = sweep->mode > HL_ORDERED ? units_of(count, sweep->chunk) : 0;
    job->next = job->known = job->kept = job->stopped = job->tried = 0;
    int64_t threads = job->picoseconds > WORTH_THREADS && sweep->mode != HL_ORDERED ? most : 1;
    if (sweep->mode > HL_ORDERED) threads = smaller(threads, job->chunks);
    else job->piece = piece_of(job, (int)threads);
    return threads < 1 ? 1 : (int)threads;
}

size_t hl_partial_bytes(const hl_sweep_job *job) {
    size_t bytes;
    return __builtin_mul_overflow((size_t)job->chunks, (size_t)job->sweep->states * 8, &bytes) ? SIZE_MAX : bytes;
}

int hl_try_sweep(hl_sweep_job *job) {
    const hl_sweep *sweep = job->sweep;
    const hl_worker *worker = job->workers[0];
    if (!is_doubtful(sweep) || sweep->mode > HL_ORDERED || job->picoseconds > WORTH_THREADS || job->count <= 0) return 0;
    job->threads = job->tried = 1;
    for (int i = 0; i < sweep->flags; i++) worker->data[sweep->flag[i].slot] = 0;
    hl_give_inputs(worker->data, &sweep->inputs, &job->registers);
    const int64_t end = nanoseconds() + (int64_t)(WORTH_THREADS / 1000);
    unsigned mode = enter_strictly();
    int64_t low = 0;
    for (int64_t piece = FIRST; low < job->count && (!low || nanoseconds() < end); piece *= 4) {
        const int64_t high = low + smaller(piece, job->count - low);
        run_range(job, worker, sweep->run, low, high);
        low = high;
    }
    leave_strictly(mode);
    job->next = low;
    if (low == job->count) write_results(job);
    else job->picoseconds = WORTH_THREADS * (double)job->count / (double)low;
    return low == job->count;
}

void hl_run_sweep(hl_sweep_job *job, int threads) {
    const hl_sweep *sweep = job->sweep;
    job->threads = threads;
    for (int i = job->tried; i < threads; i++)
        for (int j = 0; j < sweep->flags; j++) job->workers[i]->data[sweep->flag[j].slot] = 0;
    if (sweep->starts)
        for (int i = 0; i < sweep->states; i++) memcpy(job->prefix[i], job->registers.scalars[sweep->state[i].init], 8);
    if (job->count <= 0) fold_nothing(job);
    else {
        hl_share(work, job, threads);
        if (job->stopped) return;
        if (sweep->mode == HL_FOLD) combine_all(job);
    }
    write_results(job);
}

int64_t hl_progress(hl_sweep_job *job) {
    const int64_t next = atomic_load_explicit(&job->next, memory_order_relaxed);
    if (!job->chunks) return smaller(next, job->count);
    return next < job->chunks ? next * job->sweep->chunk : job->count;
}

/* --------------------------------------------------------------------------------------- copies */

typedef struct {
    uint8_t *to;
    const uint8_t *from;
    size_t bytes;
    atomic_size_t next;
} Copy;

static void copy_pieces(void *object, int number) {
    (void)number;
    Copy *copy = object;
    for (;;) {
        const size_t start = atomic_fetch_add_explicit(&copy->next, COPIED, memory_order_relaxed);
        if (start >= copy->bytes) return;
        const size_t left = copy->bytes - start;
        memcpy(copy->to + start, copy->from + start, left < COPIED ? left : COPIED);
    }
}

void hl_copy(uint8_t *to, const uint8_t *from, size_t bytes, int threads) {
    Copy copy = {.to = to, .from = from, .bytes = bytes};
    hl_share(copy_pieces, &copy, bytes > COPIED ? threads : 1);
}
