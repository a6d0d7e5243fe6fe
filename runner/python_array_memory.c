/* Where the arrays of an `ArrayFunction` lie during a call: arguments, results, `out=`, temporary ones; and
 * what a call and its threads need for themselves. All of it with the GIL held. */
#include "python_arrays.h"

#include "memory_pool.h"
#include "threads.h"

enum { SMALL = 16384 }; /* bytes of an array up to which NumPy's own memory is as good as the pool */

/* -------------------------------------------------------------------------------- calls and contexts */

/* The next `size` bytes of a block; with NULL, only how far it reaches. */
static void *carve(uint8_t *block, size_t *used, size_t size) {
    uint8_t *start = block ? block + *used : NULL;
    *used += (size + 15) / 16 * 16;
    return start;
}

static size_t lay_out(const ArrayFunction *self, Call *call, uint8_t *block) {
    size_t used = 0, buffers = (size_t)self->buffers, reductions = (size_t)self->reductions;
    carve(block, &used, sizeof(Call) + HL_MOST_THREADS * sizeof(hl_context *));
    call->numbers = carve(block, &used, (size_t)self->arguments * 8);
    call->views = carve(block, &used, buffers * sizeof(hl_view));
    call->objects = carve(block, &used, buffers * sizeof(PyObject *));
    call->blocks = carve(block, &used, buffers * sizeof(void *));
    call->cells = carve(block, &used, buffers * 8);
    call->outs = carve(block, &used, (size_t)self->results * sizeof(PyObject *));
    call->walks = carve(block, &used, (size_t)self->streams * sizeof(hl_walk));
    call->scalars = carve(block, &used, (size_t)self->scalars * sizeof(hl_scalar));
    call->results = carve(block, &used, reductions * sizeof(uint8_t *));
    call->partials = carve(block, &used, reductions * sizeof(uint8_t *));
    return used;
}

Call *take_call(ArrayFunction *self) {
    Call *call = self->calls;
    if (call) {
        self->calls = call->next;
        return call;
    }
    Call nowhere;
    call = PyMem_Calloc(1, lay_out(self, &nowhere, NULL));
    if (!call) return (Call *)PyErr_NoMemory();
    lay_out(self, call, (uint8_t *)call);
    return call;
}

void give_call(ArrayFunction *self, Call *call) {
    for (int i = 0; i < self->buffers; i++) {
        hl_give(call->blocks[i]);
        call->blocks[i] = NULL;
    }
    for (int i = 0; i < self->buffers; i++) Py_CLEAR(call->objects[i]); /* may run Python code, which may call */
    call->next = self->calls;
    self->calls = call;
}

void free_calls(ArrayFunction *self) {
    while (self->calls) {
        Call *call = self->calls;
        self->calls = call->next;
        for (int i = 0; i < HL_MOST_THREADS && call->contexts[i]; i++) {
            hl_give(call->contexts[i]->scratch);
            hl_give(call->contexts[i]);
        }
        PyMem_Free(call);
    }
}

static hl_context *new_context(const ArrayFunction *self) {
    const size_t data = ((size_t)self->program->runner.data_size + HL_LINE - 1) / HL_LINE * HL_LINE;
    const size_t head = (sizeof(hl_context) + HL_LINE - 1) / HL_LINE * HL_LINE;
    uint8_t *block = hl_take(head + data + self->tails + (size_t)self->streams * sizeof(hl_place));
    if (!block) return NULL;
    hl_context *context = (hl_context *)block;
    *context = (hl_context){.data = block + head, .tails = block + head + data};
    context->places = (hl_place *)(context->tails + self->tails);
    memcpy(context->data, self->program->runner.memory.data, self->program->runner.data_size);
    memset(context->tails, 0, self->tails);
    return context;
}

/* Kernels read of it what was packed into it, and nothing else. */
static int make_scratch(hl_context *context, size_t bytes) {
    if (context->scratch_size >= bytes) return 0;
    hl_give(context->scratch);
    context->scratch = hl_take(bytes);
    context->scratch_size = context->scratch ? bytes : 0;
    return context->scratch ? 0 : -1;
}

int make_contexts(const ArrayFunction *self, Call *call, int threads, size_t scratch) {
    for (int i = 0; i < threads; i++) {
        if (!call->contexts[i]) call->contexts[i] = new_context(self);
        if (call->contexts[i] && !make_scratch(call->contexts[i], scratch)) continue;
        if (i == 0) PyErr_NoMemory();
        return i;
    }
    return threads;
}

/* ------------------------------------------------------------------------------------ new memory */

int64_t elements_of(const Call *call, const int *dims, int rank) {
    int64_t elements = 1;
    int too_many = 0;
    for (int i = 0; i < rank; i++) {
        int64_t length = length_of(call, dims[i]);
        if (length == 0) return 0;
        too_many |= __builtin_mul_overflow(elements, length, &elements);
    }
    return too_many ? -1 : elements;
}

static void shape_of(const Call *call, const Buffer *buffer, npy_intp *shape) {
    for (int i = 0; i < buffer->rank; i++) shape[i] = length_of(call, buffer->dims[i]);
}

/* The view of a C-contiguous buffer; it has elements, or is not looked at. */
static void view_dense(const Call *call, const Buffer *buffer, hl_view *view, void *data) {
    view->data = data;
    int64_t stride = buffer->kind->size;
    for (int i = buffer->rank - 1; i >= 0; i--) {
        view->strides[i] = stride;
        if (__builtin_mul_overflow(stride, length_of(call, buffer->dims[i]), &stride)) return;
    }
}

static void view_array(const Buffer *buffer, hl_view *view, PyArrayObject *array) {
    view->data = PyArray_DATA(array);
    for (int i = 0; i < buffer->rank; i++) view->strides[i] = PyArray_STRIDE(array, i);
}

static void give_capsule(PyObject *capsule) { hl_give(PyCapsule_GetPointer(capsule, NULL)); }

static PyObject *no_memory(int64_t bytes) {
    return PyErr_Format(PyExc_MemoryError, "there is no memory for an array of %lld bytes", (long long)bytes);
}

PyObject *new_array(const Kind *kind, int rank, const npy_intp *shape) {
    npy_intp bytes = kind->size;
    for (int i = 0; i < rank; i++)
        if (__builtin_mul_overflow(bytes, shape[i], &bytes)) bytes = 0; /* NumPy says what is wrong with it */
    if (bytes <= SMALL) return PyArray_SimpleNew(rank, (npy_intp *)shape, kind->numpy);
    void *block = hl_take((size_t)bytes);
    if (!block) return no_memory(bytes);
    PyObject *owner = PyCapsule_New(block, NULL, give_capsule);
    if (!owner) {
        hl_give(block);
        return NULL;
    }
    PyObject *array = PyArray_SimpleNewFromData(rank, (npy_intp *)shape, kind->numpy, block);
    if (!array) Py_DECREF(owner);
    else if (PyArray_SetBaseObject((PyArrayObject *)array, owner)) Py_CLEAR(array); /* took the owner in any case */
    return array;
}

static int place_new_array(const ArrayFunction *self, Call *call, int number) {
    const Buffer *buffer = &self->buffer[number];
    npy_intp shape[HL_RANK];
    shape_of(call, buffer, shape);
    PyObject *array = new_array(buffer->kind, buffer->rank, shape);
    if (!array) return -1;
    call->objects[number] = array;
    view_array(buffer, &call->views[number], (PyArrayObject *)array);
    return 0;
}

int take_temporaries(const ArrayFunction *self, Call *call, int stage) {
    for (int i = 0; i < self->buffers; i++) {
        const Buffer *buffer = &self->buffer[i];
        if (buffer->role != TEMPORARY || buffer->written != stage) continue;
        if (buffer->object) {
            if (place_new_array(self, call, i)) return -1;
            continue;
        }
        int64_t bytes = elements_of(call, buffer->dims, buffer->rank);
        if (bytes < 0 || __builtin_mul_overflow(bytes, buffer->kind->size, &bytes)) bytes = INT64_MAX; /* there is none */
        call->blocks[i] = hl_take((size_t)bytes);
        if (!call->blocks[i]) {
            no_memory(bytes);
            return -1;
        }
        view_dense(call, buffer, &call->views[i], call->blocks[i]);
    }
    return 0;
}

void give_temporaries(const ArrayFunction *self, Call *call, int stage) {
    for (int i = 0; i < self->buffers; i++) {
        if (self->buffer[i].role != TEMPORARY || self->buffer[i].last != stage) continue;
        hl_give(call->blocks[i]);
        call->blocks[i] = NULL;
        Py_CLEAR(call->objects[i]);
    }
}

/* ------------------------------------------------------------------------------------------ out= */

typedef struct {
    intptr_t low, high; /* addresses; high is not part of it */
} Extent;

static Extent extent_of(PyArrayObject *array) {
    intptr_t low = (intptr_t)PyArray_DATA(array), high = low;
    for (int i = 0; i < PyArray_NDIM(array); i++) {
        npy_intp length = PyArray_DIM(array, i), reach = PyArray_STRIDE(array, i) * (length - 1);
        if (length == 0) return (Extent){low, low};
        if (reach < 0) low += reach;
        else high += reach;
    }
    return (Extent){low, high + (intptr_t)PyArray_ITEMSIZE(array)};
}

static int overlap(PyArrayObject *a, PyArrayObject *b) {
    Extent x = extent_of(a), y = extent_of(b);
    return x.low < y.high && y.low < x.high;
}

/* Whether each index leads to the same place in both, which have one shape. */
static int same_place(PyArrayObject *a, PyArrayObject *b) {
    if (PyArray_DATA(a) != PyArray_DATA(b) || PyArray_NDIM(a) != PyArray_NDIM(b)) return 0;
    for (int i = 0; i < PyArray_NDIM(a); i++) {
        if (PyArray_DIM(a, i) != PyArray_DIM(b, i)) return 0;
        if (PyArray_DIM(a, i) > 1 && PyArray_STRIDE(a, i) != PyArray_STRIDE(b, i)) return 0;
    }
    return 1;
}

/* Whether one element of an array may lie where another one does. */
static int has_broadcast(PyArrayObject *array) {
    for (int i = 0; i < PyArray_NDIM(array); i++)
        if (PyArray_DIM(array, i) > 1 && PyArray_STRIDE(array, i) == 0) return 1;
    return 0;
}

/* May a buffer be written straight to `out`? Not if that would change what is still to be read. */
static int is_safe(const ArrayFunction *self, const Call *call, int number, PyObject *const *args, PyArrayObject *out) {
    const Buffer *buffer = &self->buffer[number];
    if ((buffer->dense && !PyArray_ISCARRAY(out)) || has_broadcast(out)) return 0;
    for (int i = 0; i < self->buffers; i++) {
        if (self->buffer[i].role != OF_ARGUMENT) continue;
        PyArrayObject *argument = (PyArrayObject *)args[self->buffer[i].index];
        if (!overlap(out, argument)) continue;
        if (!self->aliases[number * self->buffers + i] || !same_place(out, argument)) return 0;
    }
    for (int i = 0; i < self->results; i++)
        if (i != buffer->index && call->outs[i] && overlap(out, (PyArrayObject *)call->outs[i])) return 0;
    return 1;
}

static int place_result(const ArrayFunction *self, Call *call, int number, PyObject *const *args) {
    const Buffer *buffer = &self->buffer[number];
    PyObject *out = call->outs[buffer->index];
    if (out && is_safe(self, call, number, args, (PyArrayObject *)out)) {
        call->objects[number] = Py_NewRef(out);
        view_array(buffer, &call->views[number], (PyArrayObject *)out);
        return 0;
    }
    if (buffer->rank || buffer->object) return place_new_array(self, call, number);
    call->views[number].data = call->cells[number];
    return 0;
}

int place_buffers(const ArrayFunction *self, Call *call, PyObject *const *args) {
    for (int i = 0; i < self->buffers; i++) {
        const Buffer *buffer = &self->buffer[i];
        if (buffer->role == OF_RESULT && place_result(self, call, i, args)) return -1;
        if (buffer->role != OF_ARGUMENT) continue;
        view_array(buffer, &call->views[i], (PyArrayObject *)args[buffer->index]);
        if (buffer->object) call->objects[i] = Py_NewRef(args[buffer->index]);
    }
    return 0;
}
