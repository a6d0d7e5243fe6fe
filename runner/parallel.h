/* Sweeps: kernels over the elements 0, 1, ... of some count, chunk by chunk, on several threads. No Python here.
 * What a plan says was checked by python_parallel_plan.c before it comes here.
 *
 * A kernel is machine code over a range of elements: it finds the range, the scalars and the arrays that it
 * needs in its data block, and takes the elements in order. Where elements depend on those before, the sweep
 * is cut into chunks that the plan fixes, so that results have the same bits on any number of threads.
 */
#ifndef HOTLOOP_PARALLEL_H
#define HOTLOOP_PARALLEL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* An array register. One that holds nothing has length 0, and points to memory all the same. */
typedef struct {
    uint8_t *data;
    int64_t length; /* elements */
} hl_array;

typedef struct {
    uint8_t (*scalars)[8];
    hl_array *arrays;
} hl_registers;

/* A scalar that lies in a register between kernels, and in the data block for one. */
typedef struct {
    uint32_t slot, size;
    int scalar;
} hl_operand;

typedef struct {
    uint32_t pointer;
    int64_t length; /* -1: the code does not ask for it */
    int array;
} hl_base;

/* What code reads from its data block. */
typedef struct {
    int scalars, bases;
    hl_operand *scalar;
    hl_base *base;
} hl_inputs;

/* A running value: its slot, that of the right operand where two are combined, its registers (-1: none). */
typedef struct {
    uint32_t slot, other, size;
    int init, into;
} hl_running;

/* An array that a filter makes. */
typedef struct {
    uint32_t pointer, size; /* of an element */
    int array;
} hl_output;

typedef enum {
    HL_EACH,    /* elements are independent */
    HL_ORDERED, /* one after another on one thread */
    HL_FOLD,    /* chunks are folded, then their results in order */
    HL_SCAN,    /* as a fold, and what is folded so far is stored on the way */
    HL_FILTER,  /* what is kept of each chunk follows what was kept of the chunks before */
} hl_mode;

typedef struct {
    hl_mode mode;
    int64_t run, begin, combine, total_run, total_begin; /* where code starts, -1: there is none */
    uint32_t low, high, position; /* slots of 8 bytes */
    int count, kept; /* registers */
    int states, flags, outputs;
    int starts; /* whether states have registers to start from */
    hl_inputs inputs;
    hl_running *state;
    hl_operand *flag;
    hl_output *output;
    int64_t chunk; /* elements */
    int64_t cost;  /* picoseconds for an element */
} hl_sweep;

/* What a thread needs for itself. */
typedef struct {
    uint8_t *data;       /* copy of the program's data block */
    uint8_t (*before)[8], (*total)[8]; /* states */
    uint8_t *room;       /* for what a filter keeps of a chunk */
    size_t room_size;
} hl_worker;

/* One run of a sweep. The caller sets what is above the line. */
typedef struct hl_sweep_job {
    const hl_sweep *sweep;
    const uint8_t *code;
    hl_registers registers;
    hl_worker **workers;     /* for each thread */
    uint8_t **outputs;       /* of a filter: memory for all elements and one more */
    uint8_t (*partials)[8];  /* of a fold: hl_partial_bytes() */
    uint8_t (*prefix)[8];    /* of a fold or scan: memory for its states */
    int64_t count;
    int (*interrupted)(void *caller); /* whether to stop, asked now and then on the caller's thread; may be NULL */
    void *caller;
    /* -------------------------------------------------------------------------------------- */
    int64_t piece, chunks;   /* elements that a thread takes at first, if the order is free; else all chunks */
    int threads;
    int stopped;             /* what `interrupted` said */
    int tried;               /* the first worker has begun */
    double picoseconds;      /* about, of the whole */
    int64_t kept;            /* by a filter, in the chunks that are `known` */
    atomic_llong next, known; /* element or chunk to take; chunks before which everything is known */
} hl_sweep_job;

/* Decide how the work is cut; returns how many threads, of `most`, are worth their while. Needs sweep and count. */
int hl_prepare_sweep(hl_sweep_job *job, int most);

/* How much memory partial results need; how much room each thread of several needs. */
size_t hl_partial_bytes(const hl_sweep_job *job);
size_t hl_room_bytes(const hl_sweep *sweep);

/* Begin a sweep that may take far longer than it was said to, on this thread; returns whether that was all. If not,
 * run the rest, with as many threads as there are. Needs one worker. */
int hl_try_sweep(hl_sweep_job *job);

/* Run with so many threads, as many as there are workers, and write results, states and flags, to their registers.
 * A count of 0 or less gives what there is without elements. */
void hl_run_sweep(hl_sweep_job *job, int threads);

/* About how many elements are done. */
int64_t hl_progress(hl_sweep_job *job);

/* Write what code reads to a data block. */
void hl_give_inputs(uint8_t *data, const hl_inputs *inputs, const hl_registers *registers);

/* Call code on a data block, in the floating-point mode that all programs have. */
void hl_call_code(const uint8_t *code, int64_t entry, uint8_t *data);

/* Copy memory on several threads. */
void hl_copy(uint8_t *to, const uint8_t *from, size_t bytes, int threads);

#endif
