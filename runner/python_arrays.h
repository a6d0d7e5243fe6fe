/* What python_plan.c (the plan of an ArrayFunction, checked once) and python_arrays.c (its calls) share. */
#ifndef HOTLOOP_PYTHON_ARRAYS_H
#define HOTLOOP_PYTHON_ARRAYS_H

#include "python.h"

#include "arrays.h"

enum { DIMS = 64 }; /* most run-time Dims of a plan */

typedef struct {
    const Kind *kind;
    int rank;         /* -1: a number */
    int dims[HL_RANK]; /* of each axis: the number of a Dim, or -1: length 1 */
    char scalar;      /* a number: NumPy's, not Python's */
} Argument;

typedef enum { OF_ARGUMENT, OF_RESULT, TEMPORARY } Role;

typedef struct {
    const Kind *kind;
    int rank;
    int dims[HL_RANK];
    Role role;
    int index;        /* of the argument or result */
    int written, last; /* the stage that writes it, -1: none; the last that uses it */
    char dense;       /* what writes it needs it contiguous */
    char object;      /* Python sees it: it must be an array */
} Buffer;

/* A number that a kernel finds in its data block: where from, as what. */
typedef struct {
    const Kind *kind;
    uint32_t offset;
    enum { FROM_ARGUMENT, FROM_BUFFER, FROM_SIZE } source;
    int index; /* of the argument or buffer */
    int rank;  /* of a size */
    int dims[HL_RANK];
} Scalar;

typedef struct {
    hl_kernel kernel;
    int dims[HL_RANK];
    Scalar *scalars;
    PyObject *callable; /* NULL: a kernel */
    int inputs, outputs;
    int *buffers; /* of a callable: inputs, then outputs */
} Stage;

/* What one call needs; kept for the next. */
typedef struct Call {
    struct Call *next;
    int64_t lengths[DIMS];
    uint8_t (*numbers)[8];   /* for each argument */
    hl_view *views;          /* for each buffer ... */
    PyObject **objects;      /* its array, if it has one that this call owns or was given */
    void **blocks;           /* its memory, if it is from the pool alone */
    uint8_t (*cells)[8];     /* its memory, if it is one element */
    PyObject **outs;         /* for each result: `out`, borrowed */
    hl_walk *walks;
    hl_scalar *scalars;
    uint8_t **results, **partials; /* for each reduction */
    hl_context *contexts[];  /* for HL_MOST_THREADS threads; NULL: not made yet */
} Call;

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    Program *program;
    PyObject *fallback, *weak;
    int arguments, buffers, stages, combines, results;
    uint64_t dims; /* a bit for each Dim that the plan names */
    char single;
    Argument *argument;
    Buffer *buffer;
    Stage *stage;
    hl_combine *combine;
    int *result; /* buffers */
    uint8_t *aliases; /* [result buffer][buffer]: the result may be written over this argument */
    size_t tails, scratch;        /* bytes of a context */
    int streams, reductions, scalars; /* most of a stage */
    Call *calls; /* not in use */
} ArrayFunction;

/* Fill a new ArrayFunction from what Python gave; -1: raised, and what was made is left to dealloc. */
int plan_from(ArrayFunction *self, PyObject *arguments, PyObject *buffers, PyObject *stages, PyObject *combines, PyObject *results);

void free_plan(ArrayFunction *self);

/* The length of an axis; elements of a shape, -1: more than an int64 holds. */
static inline int64_t length_of(const Call *call, int dim) { return dim < 0 ? 1 : call->lengths[dim]; }
int64_t elements_of(const Call *call, const int *dims, int rank);

/* ------------------------------------------------- memory of calls, python_array_memory.c */

/* Take a Call that no other call uses; NULL: raised. Give it back with nothing left in it. */
Call *take_call(ArrayFunction *self);
void give_call(ArrayFunction *self, Call *call);
void free_calls(ArrayFunction *self);

/* Have contexts for so many threads, with so much scratch memory; returns for how many, 0: raised. */
int make_contexts(const ArrayFunction *self, Call *call, int threads, size_t scratch);

/* A new array, from the pool if it is large. */
PyObject *new_array(const Kind *kind, int rank, const npy_intp *shape);

/* Decide where every buffer but the temporary ones lies in this call; -1: raised. */
int place_buffers(const ArrayFunction *self, Call *call, PyObject *const *args);

/* Memory for the temporary buffers that a stage writes; -1: raised. And its end, after their last use. */
int take_temporaries(const ArrayFunction *self, Call *call, int stage);
void give_temporaries(const ArrayFunction *self, Call *call, int stage);

#endif
