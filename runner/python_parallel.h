/* What the files of `ParallelFunction` share: python_parallel_plan.c (the plan, checked once),
 * python_parallel_memory.c (arrays, calls, threads' memory), python_parallel.c (calls). */
#ifndef HOTLOOP_PYTHON_PARALLEL_H
#define HOTLOOP_PYTHON_PARALLEL_H

#include "python.h"

#include <sys/types.h>

#include "parallel.h"
#include "threads.h"

/* ------------------------------------------------------------------------------------- the plan */

enum { AXES = 32 }; /* most dimensions of an argument or result: what all versions of NumPy have */

typedef struct {
    const Kind *kind;
    char scalar;  /* a number: NumPy's, not Python's */
    int number;   /* of the register */
    int rank;     /* -1: a number */
    int *lengths; /* registers that receive the lengths of axes */
} Parameter;

typedef enum {
    DO_KERNEL, DO_COMPUTE, DO_ALLOCATE, DO_COPY, DO_ALIAS, DO_RELEASE, DO_LENGTH, DO_SLICE, DO_JUMP, DO_UNLESS, DO_FAULT, DO_SORT,
    DO_SORT_BY, DO_CALL,
} Doing;

/* One op. Names of fields are those of what they hold, in the order of the tuple. */
typedef struct {
    Doing doing;
    int array, source, scalar, start, length; /* registers */
    int pc, fault;
    int reads, writes;         /* how many registers are read and written at once */
    int *read, *write;         /* -1 in `write`: not wanted */
    char *descending;
    hl_sweep *sweep;
    uint32_t entry, first, second, less; /* code, and slots of its operands */
    hl_inputs inputs;
    int outputs;
    hl_operand *output;
    PyObject *callable;
} Op;

typedef enum { GIVE_NUMBER, GIVE_ARRAY, GIVE_TUPLE, GIVE_PYTHON } Giving;

typedef struct Result {
    Giving giving;
    int number; /* of the register */
    int count;  /* of lengths or parts; -1: the array has one dimension */
    int *lengths;
    struct Result *parts;
    PyObject *callable;
} Result;

/* ------------------------------------------------------------------------------------- the calls */

/* Memory for an array, an object so that arrays of NumPy can hold it. */
typedef struct {
    PyObject_HEAD
    size_t bytes;  /* asked for; there are SPARE more */
    char exported; /* someone outside of the call may see it */
} Block;

enum { HEAD = 64, SPARE = 64 };

static inline uint8_t *block_data(PyObject *block) { return (uint8_t *)block + HEAD; }

typedef struct {
    hl_array array;
    PyObject *owner;
} Held;

/* A sweep that runs without the GIL. Not on the stack of its thread, which a child of a fork may use for another. */
typedef struct Running {
    struct Running *next;
    hl_sweep_job *job;
    pid_t process; /* a child of a fork finds jobs that nobody runs */
} Running;

/* What one call needs; kept for the next. */
typedef struct ParallelCall {
    struct ParallelCall *next;
    hl_registers registers;
    PyObject **owners;     /* of each array register: a Block or an ndarray; NULL: it holds nothing */
    Held *held;            /* arrays on their way from register to register */
    PyObject **made;       /* blocks that a sweep or sort fills */
    uint8_t **memory;      /* where they lie */
    uint8_t (*prefix)[8];  /* for each state */
    int64_t looked;        /* when signals were looked for last, in a loop of ops */
    Running running;
    hl_worker *workers[HL_MOST_THREADS];
} ParallelCall;

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    Program *program;
    PyObject *wrap, *fail, *fallback, *weak;
    Py_ssize_t wrapped; /* where an instance of `wrap` keeps its array; 0: ask for its attribute, call it */
    int threads;        /* most; 0: all */
    int parameters, scalars, arrays, ops;
    const Kind **scalar, **array; /* kinds of registers */
    Parameter *parameter;
    Op *op;
    Result result;
    int states, made, held; /* most of an op */
    ParallelCall *calls;    /* not in use */
} ParallelFunction;

/* The tuples of a plan, as Python gave them. */
typedef struct {
    PyObject *arguments, *scalars, *arrays, *code, *result;
} Tuples;

/* Fill a new ParallelFunction; -1: raised, and what was made is left to dealloc. */
int parallel_plan_from(ParallelFunction *self, const Tuples *tuples);
int parallel_plan_visit(ParallelFunction *self, visitproc visit, void *arg);
void free_parallel_plan(ParallelFunction *self);

/* ------------------------------------------------------------------- python_parallel_memory.c */

/* Take a call that no other call uses; NULL: raised. Give it back with nothing left in it. */
ParallelCall *take_parallel_call(ParallelFunction *self);
void give_parallel_call(ParallelFunction *self, ParallelCall *call);
void free_parallel_calls(ParallelFunction *self);

/* Have workers for so many threads, with so much room; returns for how many, 0: raised. */
int make_workers(const ParallelFunction *self, ParallelCall *call, int threads, size_t room);

/* A new Block for so many elements (there is memory for 1 if they are 0 or less); NULL: raised. */
PyObject *new_block(const Kind *kind, int64_t count);

/* Let a register hold an array whose owner is given away; NULL: nothing. */
void set_array(ParallelCall *call, int number, PyObject *owner, void *data, int64_t length);

/* Copy memory, on several threads and without the GIL if it is much. */
void copy_memory(const ParallelFunction *self, void *to, const void *from, size_t bytes);

/* An array of one dimension over a register's memory, which nobody may write to. */
PyObject *view_of(const ParallelFunction *self, const ParallelCall *call, int number);

/* The results of a call. */
PyObject *parallel_result(const ParallelFunction *self, ParallelCall *call, const Result *result);

/* How many threads may work on a call. */
int most_threads(const ParallelFunction *self);

#endif
