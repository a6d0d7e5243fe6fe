/* Where the arrays of a `ParallelFunction` lie during a call, how they become results, and what a call and its
 * threads need for themselves. All of it with the GIL held. */
#include "python_parallel.h"

#include "memory_pool.h"
#include "python_arrays.h"

enum {
    SMALL = 2048,        /* bytes of a result up to which a copy in NumPy's own memory is faster than a view */
    UNLOCKED = 1 << 20,  /* bytes from which on a copy is made without the GIL */
};

/* What registers point to that hold nothing: code may compute addresses from it. */
static _Alignas(HEAD) uint8_t nothing[SPARE];

/* --------------------------------------------------------------------------------------- blocks */

_Static_assert(sizeof(Block) <= HEAD, "the object lies before its memory");

static void block_dealloc(PyObject *block) { hl_give(block); }

PyTypeObject Block_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hotloop._runner.Block",
    .tp_basicsize = sizeof(Block),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_doc = "Memory of an array that a ParallelFunction made.",
    .tp_dealloc = block_dealloc,
};

PyObject *new_block(const Kind *kind, int64_t count) {
    int64_t bytes;
    if (count < 0) count = 0;
    if (__builtin_mul_overflow(count, (int64_t)kind->size, &bytes)) bytes = INT64_MAX;
    Block *block = bytes < INT64_MAX / 2 ? hl_take((size_t)bytes + HEAD + SPARE) : NULL;
    if (!block)
        return PyErr_Format(PyExc_MemoryError, "there is no memory for an array of %lld elements of type %s", (long long)count, kind->name);
    PyObject_Init((PyObject *)block, &Block_Type);
    block->bytes = (size_t)bytes;
    block->exported = 0;
    return (PyObject *)block;
}

static Block *block_of(PyObject *owner) { return owner && Py_IS_TYPE(owner, &Block_Type) ? (Block *)owner : NULL; }

void set_array(ParallelCall *call, int number, PyObject *owner, void *data, int64_t length) {
    PyObject *before = call->owners[number];
    call->owners[number] = owner;
    call->registers.arrays[number] = (hl_array){length ? data : nothing, length};
    Py_XDECREF(before); /* may run Python code, which may call */
}

void copy_memory(const ParallelFunction *self, void *to, const void *from, size_t bytes) {
    if (bytes < UNLOCKED) {
        memcpy(to, from, bytes);
        return;
    }
    const int threads = most_threads(self);
    Py_BEGIN_ALLOW_THREADS
    hl_copy(to, from, bytes, threads);
    Py_END_ALLOW_THREADS
}

/* ---------------------------------------------------------------------------- calls and workers */

/* The next `size` bytes of a block; with NULL, only how far it reaches. */
static void *carve(uint8_t *block, size_t *used, size_t size) {
    uint8_t *start = block ? block + *used : NULL;
    *used += (size + 15) / 16 * 16;
    return start;
}

static size_t lay_out(const ParallelFunction *self, ParallelCall *call, uint8_t *block) {
    size_t used = 0, arrays = (size_t)self->arrays, made = (size_t)self->made;
    carve(block, &used, sizeof(ParallelCall));
    call->registers.scalars = carve(block, &used, (size_t)self->scalars * 8);
    call->registers.arrays = carve(block, &used, arrays * sizeof(hl_array));
    call->owners = carve(block, &used, arrays * sizeof(PyObject *));
    call->held = carve(block, &used, (size_t)self->held * sizeof(Held));
    call->made = carve(block, &used, made * sizeof(PyObject *));
    call->memory = carve(block, &used, made * sizeof(uint8_t *));
    call->prefix = carve(block, &used, (size_t)self->states * 8);
    return used;
}

static ParallelCall *new_call(const ParallelFunction *self) {
    ParallelCall nowhere;
    ParallelCall *call = PyMem_Calloc(1, lay_out(self, &nowhere, NULL));
    if (!call) return (ParallelCall *)PyErr_NoMemory();
    lay_out(self, call, (uint8_t *)call);
    for (int i = 0; i < self->arrays; i++) call->registers.arrays[i].data = nothing;
    return call;
}

ParallelCall *take_parallel_call(ParallelFunction *self) {
    ParallelCall *call = self->calls;
    if (!call) return new_call(self);
    self->calls = call->next;
    memset(call->registers.scalars, 0, (size_t)self->scalars * 8);
    return call;
}

void give_parallel_call(ParallelFunction *self, ParallelCall *call) {
    for (int i = 0; i < self->arrays; i++)
        if (call->owners[i] || call->registers.arrays[i].length) set_array(call, i, NULL, nothing, 0);
    call->next = self->calls;
    self->calls = call;
}

void free_parallel_calls(ParallelFunction *self) {
    while (self->calls) {
        ParallelCall *call = self->calls;
        self->calls = call->next;
        for (int i = 0; i < HL_MOST_THREADS && call->workers[i]; i++) {
            hl_give(call->workers[i]->room);
            hl_give(call->workers[i]);
        }
        PyMem_Free(call);
    }
}

static hl_worker *new_worker(const ParallelFunction *self) {
    const size_t data = ((size_t)self->program->runner.data_size + HL_LINE - 1) / HL_LINE * HL_LINE, states = (size_t)self->states * 8;
    uint8_t *block = hl_take(HEAD + data + 2 * states);
    if (!block) return NULL;
    hl_worker *worker = (hl_worker *)block;
    *worker = (hl_worker){.data = block + HEAD};
    worker->before = (uint8_t (*)[8])(worker->data + data);
    worker->total = worker->before + self->states;
    memcpy(worker->data, self->program->runner.memory.data, self->program->runner.data_size);
    memset(worker->before, 0, 2 * states);
    return worker;
}

_Static_assert(sizeof(hl_worker) <= HEAD, "it lies before its data block");

static int make_room(hl_worker *worker, size_t bytes) {
    if (worker->room_size >= bytes) return 0;
    hl_give(worker->room);
    worker->room = hl_take(bytes);
    worker->room_size = worker->room ? bytes : 0;
    return worker->room ? 0 : -1;
}

int make_workers(const ParallelFunction *self, ParallelCall *call, int threads, size_t room) {
    for (int i = 0; i < threads; i++) {
        if (!call->workers[i]) call->workers[i] = new_worker(self);
        if (call->workers[i] && (threads == 1 || !make_room(call->workers[i], room))) continue;
        if (i == 0 && !call->workers[0]) PyErr_NoMemory();
        return i ? i : call->workers[0] != NULL; /* one thread alone needs no room */
    }
    return threads;
}

/* -------------------------------------------------------------------------------------- results */

/* An array of NumPy over memory that has an owner. */
static PyObject *array_over(const Kind *kind, int rank, const npy_intp *shape, void *data, PyObject *owner, int flags) {
    PyArray_Descr *type = PyArray_DescrFromType(kind->numpy);
    PyObject *array = type ? PyArray_NewFromDescr(&PyArray_Type, type, rank, shape, NULL, data, flags, NULL) : NULL;
    if (!array || !owner) return array;
    if (PyArray_SetBaseObject((PyArrayObject *)array, Py_NewRef(owner))) Py_CLEAR(array); /* took the owner in any case */
    return array;
}

PyObject *view_of(const ParallelFunction *self, const ParallelCall *call, int number) {
    const hl_array *array = &call->registers.arrays[number];
    const npy_intp shape = array->length;
    return array_over(self->array[number], 1, &shape, array->data, call->owners[number], NPY_ARRAY_CARRAY_RO);
}

/* The shape that lengths in registers say, if the array has so many elements. */
static int shape_from(const ParallelCall *call, const Result *result, npy_intp *shape) {
    int64_t left = call->registers.arrays[result->number].length, elements = 1;
    int wrong = 0;
    for (int i = 0; i < result->count; i++) {
        int64_t length;
        memcpy(&length, call->registers.scalars[result->lengths[i]], 8);
        wrong |= length < 0 || __builtin_mul_overflow(elements, length, &elements);
        shape[i] = length;
    }
    if (!wrong && elements == left) return 0;
    fail("InternalError", "plan: a result of %lld elements has another shape", (long long)left);
    return -1;
}

/* The memory itself if nobody else sees it and it is not mostly unused, else a copy. */
static PyObject *array_result(const ParallelFunction *self, ParallelCall *call, const Result *result) {
    const hl_array *array = &call->registers.arrays[result->number];
    const Kind *kind = self->array[result->number];
    Block *block = block_of(call->owners[result->number]);
    const size_t bytes = (size_t)array->length * kind->size;
    npy_intp shape[AXES] = {array->length};
    const int rank = result->count < 0 ? 1 : result->count;
    if (result->count >= 0 && shape_from(call, result, shape)) return NULL;
    if (block && !block->exported && bytes > SMALL && bytes >= block->bytes / 2) {
        block->exported = 1;
        return array_over(kind, rank, shape, array->data, (PyObject *)block, NPY_ARRAY_CARRAY);
    }
    PyObject *copy = new_array(kind, rank, shape);
    if (copy) copy_memory(self, PyArray_DATA((PyArrayObject *)copy), array->data, bytes);
    return copy;
}

static PyObject *parts_of(const ParallelFunction *self, ParallelCall *call, const Result *result) {
    PyObject *parts = PyTuple_New(result->count);
    for (int i = 0; parts && i < result->count; i++) {
        PyObject *part = parallel_result(self, call, &result->parts[i]);
        if (!part) Py_CLEAR(parts);
        else PyTuple_SET_ITEM(parts, i, part);
    }
    return parts;
}

/* An instance of `wrap` around an array. One with a place for it is made as it is, not called, which might copy. */
static PyObject *wrapped(const ParallelFunction *self, PyObject *array) {
    if (self->wrap == Py_None) return Py_NewRef(array);
    if (!self->wrapped) return PyObject_CallOneArg(self->wrap, array);
    PyTypeObject *type = (PyTypeObject *)self->wrap;
    PyObject *made = type->tp_alloc(type, 0);
    if (made) *(PyObject **)((char *)made + self->wrapped) = Py_NewRef(array);
    return made;
}

PyObject *parallel_result(const ParallelFunction *self, ParallelCall *call, const Result *result) {
    if (result->giving == GIVE_NUMBER) return load(self->scalar[result->number]->code, call->registers.scalars[result->number]);
    PyObject *made = result->giving == GIVE_ARRAY ? array_result(self, call, result) : parts_of(self, call, result);
    if (!made || result->giving == GIVE_TUPLE) return made;
    PyObject *given = result->giving == GIVE_ARRAY ? wrapped(self, made) : PyObject_CallObject(result->callable, made);
    Py_DECREF(made);
    return given;
}
