/* `ArrayFunction`: a jitted function of NumPy arrays. A call matches its arguments against the plan, binds
 * the lengths of axes to Dims, decides where results lie, runs the stages in order and returns arrays.
 *
 * Threads. All that belongs to one call is in its Call, so calls may overlap: the GIL is released for a
 * stage that takes longer than HANDOVER, and inside Python callables.
 */
#include "python_arrays.h"

#include "memory_pool.h"
#include "threads.h"

static const double WATCHED = 1e9; /* picoseconds from which on signals are heard */

/* -------------------------------------------------------------------------------------- arguments */

static int match_array(const Argument *argument, Call *call, PyObject *object) {
    if (!PyArray_CheckExact(object)) return 0;
    PyArrayObject *array = (PyArrayObject *)object;
    if (PyArray_NDIM(array) != argument->rank || !is_kind(array, argument->kind)) return 0;
    for (int i = 0; i < argument->rank; i++) {
        const int dim = argument->dims[i];
        const npy_intp length = PyArray_DIM(array, i);
        if (dim >= 0 && call->lengths[dim] < 0) call->lengths[dim] = length;
        else if (length_of(call, dim) != length) return 0;
    }
    return 1;
}

static int match(const ArrayFunction *self, Call *call, PyObject *const *args) {
    const int dims = self->dims ? 64 - __builtin_clzll(self->dims) : 0;
    for (int i = 0; i < dims; i++) call->lengths[i] = -1;
    for (int i = 0; i < self->arguments; i++) {
        const Argument *argument = &self->argument[i];
        int matches;
        if (argument->rank >= 0) matches = match_array(argument, call, args[i]);
        else if (argument->scalar) matches = store_numpy_scalar(argument->kind->code, call->numbers[i], args[i]);
        else matches = store_exact(argument->kind->code, call->numbers[i], args[i]);
        if (!matches) return 0;
    }
    return 1;
}

/* Whether all loops can be counted, and all reductions have something to reduce. */
static int is_countable(const ArrayFunction *self, const Call *call) {
    for (int i = 0; i < self->stages; i++) {
        const Stage *stage = &self->stage[i];
        const hl_kernel *kernel = &stage->kernel;
        if (stage->callable) continue;
        if (elements_of(call, stage->dims, kernel->rank) < 0 || elements_of(call, stage->dims, kernel->kept) < 0) return 0;
        if (kernel->reductions && elements_of(call, stage->dims + kernel->kept, kernel->rank - kernel->kept) <= 0) return 0;
    }
    return 1;
}

/* -------------------------------------------------------------------------------------------- out= */

/* Raise what is wrong with an array given for a result, if anything is. */
static int check_out(const ArrayFunction *self, const Call *call, int result, PyObject *object) {
    const Buffer *buffer = &self->buffer[self->result[result]];
    if (!PyArray_CheckExact(object)) {
        fail("TypeMismatch", "out must be an array, or a tuple with an array or None for each result; %.100s is not",
             Py_TYPE(object)->tp_name);
        return -1;
    }
    PyArrayObject *out = (PyArrayObject *)object;
    if (!is_kind(out, buffer->kind)) {
        fail("TypeMismatch", "out has dtype %S, the result %d has %s", (PyObject *)PyArray_DESCR(out), result, buffer->kind->name);
        return -1;
    }
    int fits = PyArray_NDIM(out) == buffer->rank;
    for (int i = 0; i < buffer->rank && fits; i++) fits = PyArray_DIM(out, i) == length_of(call, buffer->dims[i]);
    if (!fits) {
        PyObject *given = PyArray_IntTupleFromIntp(PyArray_NDIM(out), PyArray_DIMS(out)), *wanted = PyTuple_New(buffer->rank);
        for (int i = 0; wanted && i < buffer->rank; i++)
            PyTuple_SET_ITEM(wanted, i, PyLong_FromLongLong(length_of(call, buffer->dims[i])));
        if (given && wanted) fail("ShapeError", "out has shape %S, the result %d has %S", given, result, wanted);
        Py_XDECREF(given);
        Py_XDECREF(wanted);
        return -1;
    }
    if (PyArray_ISWRITEABLE(out)) return 0;
    fail("NotWritable", "out is read-only");
    return -1;
}

/* Note and check the arrays of out=, which may be NULL. */
static int take_outs(const ArrayFunction *self, Call *call, PyObject *out) {
    for (int i = 0; i < self->results; i++) call->outs[i] = NULL;
    if (!out || out == Py_None) return 0;
    const int is_tuple = PyTuple_Check(out);
    const Py_ssize_t given = is_tuple ? PyTuple_GET_SIZE(out) : 1;
    if (given != self->results || !(is_tuple || self->single)) {
        fail("TypeMismatch", "out must be a tuple with an array or None for each of %d results", self->results);
        return -1;
    }
    for (int i = 0; i < self->results; i++) {
        PyObject *item = is_tuple ? PyTuple_GET_ITEM(out, i) : out;
        if (item == Py_None) continue;
        if (check_out(self, call, i, item)) return -1;
        call->outs[i] = item;
    }
    return 0;
}

/* ----------------------------------------------------------------------------------------- scalars */

typedef struct {
    char is_float;
    double real;
    int64_t whole;
} Number;

static Number number_at(char code, const uint8_t *at) {
    float narrow;
    int32_t small;
    Number number = {.is_float = code == 'f' || code == 'd'};
    switch (code) {
    case 'f': memcpy(&narrow, at, 4); number.real = (double)narrow; break;
    case 'd': memcpy(&number.real, at, 8); break;
    case '?': number.whole = *at != 0; break;
    case 'i': memcpy(&small, at, 4); number.whole = small; break;
    default: memcpy(&number.whole, at, 8);
    }
    return number;
}

/* Convert as NumPy does: floats round, what does not fit an int is refused. */
static int write_number(hl_scalar *scalar, char code, Number number) {
    switch (code) {
    case 'f': {
        float narrow = number.is_float ? (float)number.real : (float)number.whole;
        memcpy(scalar->bytes, &narrow, 4);
        return 0;
    }
    case 'd': {
        double wide = number.is_float ? number.real : (double)number.whole;
        memcpy(scalar->bytes, &wide, 8);
        return 0;
    }
    case '?': scalar->bytes[0] = number.is_float ? number.real != 0 : number.whole != 0; return 0;
    case 'i': {
        int32_t small = (int32_t)number.whole;
        memcpy(scalar->bytes, &small, 4);
        if (small == number.whole) return 0;
        fail("RangeError", "%lld does not fit int32", (long long)number.whole);
        return -1;
    }
    default: memcpy(scalar->bytes, &number.whole, 8); return 0;
    }
}

static int find_scalars(const ArrayFunction *self, Call *call, const Stage *stage) {
    for (int i = 0; i < stage->kernel.scalars; i++) {
        const Scalar *scalar = &stage->scalars[i];
        Number number = {0};
        if (scalar->source == FROM_SIZE) number.whole = elements_of(call, scalar->dims, scalar->rank);
        else if (scalar->source == FROM_ARGUMENT)
            number = number_at(self->argument[scalar->index].kind->code, call->numbers[scalar->index]);
        else number = number_at(self->buffer[scalar->index].kind->code, call->views[scalar->index].data);
        call->scalars[i].offset = scalar->offset;
        call->scalars[i].size = scalar->kind->size;
        if (write_number(&call->scalars[i], scalar->kind->code, number)) return -1;
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------ stages */

static void make_walks(const hl_kernel *kernel, Call *call, const int64_t *lengths) {
    for (int i = 0; i < kernel->reads + kernel->writes; i++) {
        const hl_stream *stream = &kernel->streams[i];
        hl_make_walk(&call->walks[i], stream, &call->views[stream->buffer], kernel->rank, lengths);
    }
}

static int take_partials(Call *call, const hl_job *job) {
    const int64_t count = hl_partials(job);
    for (int i = 0; i < job->kernel->reductions; i++) {
        const hl_reduction *reduction = &job->kernel->reduction[i];
        int64_t bytes = 0;
        int too_many = __builtin_mul_overflow(count, (int64_t)reduction->itemsize, &bytes);
        call->results[i] = call->views[reduction->buffer].data;
        call->partials[i] = count && !too_many ? hl_take((size_t)bytes) : NULL;
        if (call->partials[i] || !count) continue;
        while (i--) hl_give(call->partials[i]);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Run with the GIL released if that is worth it; -1: interrupted, with what a signal's handler raised. */
static int run_unlocked(hl_job *job, int threads) {
    if (job->picoseconds <= HANDOVER) {
        hl_run_job(job, threads);
        return 0;
    }
    PyThreadState *state = PyEval_SaveThread();
    job->caller = &state;
    if (job->picoseconds > WATCHED && is_main_thread()) job->interrupted = is_interrupted;
    hl_run_job(job, threads);
    PyEval_RestoreThread(state);
    return job->stopped ? -1 : 0;
}

static int run_kernel(const ArrayFunction *self, Call *call, const Stage *stage) {
    const hl_kernel *kernel = &stage->kernel;
    int64_t lengths[HL_RANK], outer = 1, inner = 1;
    for (int i = 0; i < kernel->rank; i++) {
        lengths[i] = length_of(call, stage->dims[i]);
        if (lengths[i] == 0) return 0;
    }
    for (int i = 0; i < kernel->rank; i++) *(i < kernel->kept ? &outer : &inner) *= lengths[i];
    if (find_scalars(self, call, stage)) return -1;
    make_walks(kernel, call, lengths);
    hl_job job = {.kernel = kernel, .code = self->program->runner.memory.code, .walks = call->walks, .scalars = call->scalars,
                  .contexts = call->contexts, .results = call->results, .partials = call->partials, .outer = outer, .inner = inner};
    const int wanted = hl_prepare(&job), threads = make_contexts(self, call, wanted, job.scratch);
    if (!threads || (kernel->reductions && take_partials(call, &job))) return -1;
    const int failed = run_unlocked(&job, threads);
    for (int i = 0; i < kernel->reductions; i++) hl_give(call->partials[i]);
    return failed;
}

/* callable(*inputs, out=output), a tuple if there are several outputs. */
static int run_callable(const Call *call, const Stage *stage) {
    PyObject *inputs = PyTuple_New(stage->inputs), *outputs = PyTuple_New(stage->outputs);
    for (int i = 0; inputs && outputs && i < stage->inputs + stage->outputs; i++) {
        PyObject *array = Py_NewRef(call->objects[stage->buffers[i]]);
        if (i < stage->inputs) PyTuple_SET_ITEM(inputs, i, array);
        else PyTuple_SET_ITEM(outputs, i - stage->inputs, array);
    }
    PyObject *keywords = NULL, *answer = NULL;
    if (inputs && outputs) keywords = Py_BuildValue("{sO}", "out", stage->outputs == 1 ? PyTuple_GET_ITEM(outputs, 0) : outputs);
    if (keywords) answer = PyObject_Call(stage->callable, inputs, keywords);
    Py_XDECREF(keywords);
    Py_XDECREF(inputs);
    Py_XDECREF(outputs);
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

static int run_stages(const ArrayFunction *self, Call *call) {
    for (int i = 0; i < self->stages; i++) {
        const Stage *stage = &self->stage[i];
        if (take_temporaries(self, call, i)) return -1;
        if (stage->callable ? run_callable(call, stage) : run_kernel(self, call, stage)) return -1;
        give_temporaries(self, call, i);
    }
    return 0;
}

/* ----------------------------------------------------------------------------------------- results */

static PyObject *result_of(const ArrayFunction *self, const Call *call, int result) {
    const int number = self->result[result];
    const Buffer *buffer = &self->buffer[number];
    PyObject *out = call->outs[result], *made = call->objects[number];
    if (!out) return buffer->rank ? Py_NewRef(made) : load(buffer->kind->code, call->views[number].data);
    if (out != made && buffer->rank == 0) memcpy(PyArray_DATA((PyArrayObject *)out), call->views[number].data, buffer->kind->size);
    else if (out != made && PyArray_CopyInto((PyArrayObject *)out, (PyArrayObject *)made)) return NULL;
    return Py_NewRef(out);
}

static PyObject *results_of(const ArrayFunction *self, const Call *call) {
    if (self->single) return result_of(self, call, 0);
    PyObject *results = PyTuple_New(self->results);
    for (int i = 0; results && i < self->results; i++) {
        PyObject *result = result_of(self, call, i);
        if (!result) Py_CLEAR(results);
        else PyTuple_SET_ITEM(results, i, result);
    }
    return results;
}

/* -------------------------------------------------------------------------------------------- call */

/* Returns NULL without an exception where the arguments do not match. */
static PyObject *call_matching(ArrayFunction *self, PyObject *const *args, PyObject *out) {
    Call *call = take_call(self);
    if (!call) return NULL;
    PyObject *result = NULL;
    if (match(self, call, args) && is_countable(self, call) && !take_outs(self, call, out) && !place_buffers(self, call, args) &&
        !run_stages(self, call))
        result = results_of(self, call);
    give_call(self, call);
    return result;
}

PyObject *call_arrays(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    ArrayFunction *self = (ArrayFunction *)object;
    const Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    const int keywords = kwnames && PyTuple_GET_SIZE(kwnames);
    if (count == self->arguments && self->fallback && (!keywords || only_out(kwnames))) {
        PyObject *result = call_matching(self, args, keywords ? args[count] : NULL);
        if (result || PyErr_Occurred()) return result;
    }
    return fall_back(self->fallback, args, nargsf, kwnames);
}

/* ----------------------------------------------------------------------------------------- the type */

static PyObject *array_function_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"program", "arguments", "buffers", "stages", "results", "single", "fallback", "combines", NULL};
    PyObject *program, *arguments, *buffers, *stages, *results, *fallback, *combines = NULL;
    int single;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOpO|O!:ArrayFunction", names, &program, &arguments, &buffers, &stages,
                                     &results, &single, &fallback, &PyTuple_Type, &combines))
        return NULL;
    if (!is_program(program)) return NULL;
    if (!PyCallable_Check(fallback)) return PyErr_Format(PyExc_TypeError, "fallback must be callable");
    ArrayFunction *self = (ArrayFunction *)type->tp_alloc(type, 0);
    PyObject *none = PyTuple_New(0);
    if (self && none) {
        self->call = call_arrays;
        self->program = (Program *)Py_NewRef(program);
        self->fallback = Py_NewRef(fallback);
        self->single = (char)single;
        if (plan_from(self, arguments, buffers, stages, combines ? combines : none, results)) Py_CLEAR(self);
        else if (single && self->results != 1) {
            Py_CLEAR(self);
            PyErr_SetString(PyExc_ValueError, "a single result needs exactly one output");
        }
    }
    Py_XDECREF(none);
    return (PyObject *)self;
}

static int array_function_traverse(PyObject *object, visitproc visit, void *arg) {
    ArrayFunction *self = (ArrayFunction *)object;
    Py_VISIT(self->fallback);
    for (int i = 0; i < self->stages; i++) Py_VISIT(self->stage[i].callable);
    return 0;
}

/* Callables of stages stay, for calls that go on: without a fallback no new call begins. */
static int array_function_clear(PyObject *object) {
    Py_CLEAR(((ArrayFunction *)object)->fallback);
    return 0;
}

static void array_function_dealloc(PyObject *object) {
    ArrayFunction *self = (ArrayFunction *)object;
    PyObject_GC_UnTrack(object);
    if (self->weak) PyObject_ClearWeakRefs(object);
    Py_CLEAR(self->fallback);
    free_calls(self);
    free_plan(self);
    Py_CLEAR(self->program);
    Py_TYPE(object)->tp_free(object);
}

static PyMemberDef array_function_facts[] = {
    {"program", T_OBJECT, offsetof(ArrayFunction, program), READONLY, "the Program that holds the kernels"},
    {"fallback", T_OBJECT, offsetof(ArrayFunction, fallback), READONLY, "what is called with all other arguments"},
    {0},
};

PyTypeObject ArrayFunction_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hotloop._runner.ArrayFunction",
    .tp_basicsize = sizeof(ArrayFunction),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_doc = "ArrayFunction(program, arguments, buffers, stages, results, single, fallback, combines=())\n--\n\n"
              "A call that runs kernels over NumPy arrays, on several threads, and returns new arrays or those of `out`.\n\n"
              "arguments: ('number', kind) or ('array', type, dims), where dims are numbers of Dims, or -1 for length 1.\n"
              "buffers: (type, dims, role). stages: ('kernel', entry, count_offset, block, kept, dims, streams, stores,\n"
              "reductions, scalars, cost) or ('call', callable, inputs, outputs). results: numbers of buffers. combines:\n"
              "(entry, count_offset, pointer_offset, tail_offset, result_offset). Any other arguments go to `fallback`.",
    .tp_new = array_function_new,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(ArrayFunction, call),
    .tp_dealloc = array_function_dealloc,
    .tp_traverse = array_function_traverse,
    .tp_clear = array_function_clear,
    .tp_members = array_function_facts,
    .tp_weaklistoffset = offsetof(ArrayFunction, weak),
};

/* ------------------------------------------------------------------------------- number of threads */

PyObject *runner_get_threads(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    return PyLong_FromLong(hl_get_threads());
}

PyObject *runner_set_threads(PyObject *module, PyObject *count) {
    (void)module;
    long number = PyLong_AsLong(count);
    if (number == -1 && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OverflowError)) return NULL;
    PyErr_Clear();
    if (number < 1 || number > HL_MOST_THREADS)
        return PyErr_Format(PyExc_ValueError, "the number of threads must be from 1 to %d, not %S", HL_MOST_THREADS, count);
    hl_set_threads((int)number);
    Py_RETURN_NONE;
}

int threads_from_environment(void) {
    const char *text = getenv("HOTLOOP_NUM_THREADS");
    if (!text || !*text) return 0;
    char *end;
    long number = strtol(text, &end, 10);
    if (*end || number < 1 || number > HL_MOST_THREADS)
        return PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "HOTLOOP_NUM_THREADS=%.20s is ignored: it must be a number from 1 to %d", text,
                                HL_MOST_THREADS);
    hl_set_threads((int)number);
    return 0;
}
