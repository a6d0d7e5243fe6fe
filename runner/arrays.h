/* The loops over arrays: kernels run over the elements of their iteration space, chunk by chunk, on
 * several threads. No Python here. What a plan says was checked by python_plan.c before it comes here.
 *
 * A kernel is machine code that is given pointers, a count and scratch memory in its data block, and
 * takes the elements in order. A *stream* is an array that it reads or writes element after element. Where
 * the array in memory is not that (strided, broadcast, transposed, misaligned), pieces of it are packed
 * into scratch memory first, and what is written is unpacked after.
 */
#ifndef HOTLOOP_ARRAYS_H
#define HOTLOOP_ARRAYS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HL_RANK = 8,       /* most dimensions of an array or an iteration space */
    HL_CHUNK = 32768,  /* elements; decides the order of reductions, and so their bits */
    HL_PACKED = 4096,  /* elements of a stream that are packed at once, where the order is free */
    HL_LINE = 64,      /* alignment of data blocks and of scratch memory */
    HL_PARTIALS = 32,  /* block of the kernels that combine partial results */
};

typedef struct {
    int buffer;
    int8_t axes[HL_RANK]; /* the axis of the buffer that each dimension walks; -1: none */
    uint32_t pointer_offset, tail_offset, itemsize;
    size_t tail_at, pack_at; /* its places in a context's tails and scratch */
} hl_stream;

typedef struct {
    uint32_t entry, count_offset, pointer_offset, tail_offset, result_offset;
} hl_combine;

typedef struct {
    int buffer;
    uint32_t result_offset, itemsize;
    hl_combine combine;
} hl_reduction;

typedef struct {
    uint32_t entry, count_offset;
    uint32_t block;  /* a power of two */
    int rank, kept;  /* dimensions; how many of them stay in the results of reductions */
    int reads, writes, reductions, scalars;
    int64_t cost; /* picoseconds for an element */
    size_t scratch; /* bytes to pack all streams */
    hl_stream *streams; /* read, then written */
    hl_reduction *reduction;
} hl_kernel;

/* Where the elements of a buffer are in this call. */
typedef struct {
    uint8_t *data;
    int64_t strides[HL_RANK]; /* bytes */
} hl_view;

/* How a stream goes through memory: dimensions of length 1 dropped, neighbours merged where one stride
 * reaches through both. */
typedef struct {
    uint8_t *data;
    int64_t itemsize;
    int64_t run; /* elements that are sure to lie one after another from multiples of it on; 0: none */
    int rank, flat; /* flat: the whole is one run */
    int across; /* the dimension from row to row of a job, if its steps are short; -1: none */
    int64_t length[HL_RANK], stride[HL_RANK];
} hl_walk;

/* A number that a kernel finds in its data block. */
typedef struct {
    uint32_t offset, size;
    uint8_t bytes[8];
} hl_scalar;

/* Of a stream in the rows that are in work. */
typedef struct {
    uint8_t *at;     /* of the row in work */
    uint8_t *packed; /* scratch memory, NULL: the elements are used where they are */
    int64_t step;    /* bytes from row to row */
    int each_row;    /* 1: each row has to be located */
} hl_place;

/* What a thread needs for itself. */
typedef struct {
    uint8_t *data; /* copy of the program's data block */
    uint8_t *tails; /* scratch of one block for each stream; the first is for partial results */
    hl_place *places; /* for each stream */
    uint8_t *scratch;
    size_t scratch_size;
} hl_context;

/* One run of a kernel. The caller sets what is above the line. */
typedef struct {
    const hl_kernel *kernel;
    const uint8_t *code;
    hl_walk *walks;         /* for each stream */
    const hl_scalar *scalars;
    hl_context **contexts;  /* for each thread */
    uint8_t **results;      /* for each reduction: kept elements in C order */
    uint8_t **partials;     /* for each reduction: hl_partials() elements; unused if that is 0 */
    int64_t outer, inner;   /* elements of the kept and of the other dimensions: rows, and their length */
    int (*interrupted)(void *caller); /* whether to stop, asked now and then on the caller's thread; may be NULL */
    void *caller;
    /* -------------------------------------------------------------------------------------- */
    int64_t unit, units;    /* elements, or rows, that a thread takes at once */
    int64_t chunk, chunks;  /* of each row; chunk 0: there are no rows, elements are taken as they come */
    int64_t pitch;          /* elements from one packed row to the next */
    int joined;             /* rows are taken in one call */
    int stopped;            /* what `interrupted` said */
    size_t room, scratch;   /* kernel->scratch is needed so many times; bytes of a context, 0 if nothing is packed */
    double picoseconds;     /* about, of the whole */
    atomic_llong next;
} hl_job;

/* Collapse the dimensions of a stream. `lengths`: of the iteration space. */
void hl_make_walk(hl_walk *walk, const hl_stream *stream, const hl_view *view, int rank, const int64_t *lengths);

/* Decide how the work is cut; returns how many threads are worth their while. Jobs without reductions may get
 * other rows than the caller's. */
int hl_prepare(hl_job *job);

/* How many partial results each reduction needs memory for. */
int64_t hl_partials(const hl_job *job);

/* Run with so many threads, at most as many as there are contexts. */
void hl_run_job(hl_job *job, int threads);

#endif
