/* `ParallelFunction`: a data-parallel function. A call matches its arguments against the plan, runs the plan's ops, a
 * small machine of registers with kernels, sorts and jumps, and returns numbers and arrays. No Python in between.
 *
 * Threads. All that belongs to one call is in its ParallelCall, so calls may overlap: the GIL is released for what
 * takes longer than HANDOVER, for long copies and inside Python callables.
 */
#define _GNU_SOURCE
#include "python_parallel.h"

#include <time.h>
#include <unistd.h>

#include "memory_pool.h"
#include "sort.h"

static const int64_t LOOK = 10000000; /* nanoseconds of a loop of ops between two looks for signals */

enum {
    LONG_SORT = 2000,    /* elements from which on a sort releases the GIL */
    SHORT_SORT = 100,    /* elements below which a sort by a predicate keeps it */
    SHARED_SORT = 4000,  /* elements from which on a sort by a predicate is shared by threads */
};

int most_threads(const ParallelFunction *self) {
    const int threads = hl_get_threads();
    return self->threads && self->threads < threads ? self->threads : threads;
}

/* -------------------------------------------------------------------------------------- arguments */

/* Python's ints go to registers of other kinds as well. */
static int store_weak(char from, char code, uint8_t *at, PyObject *object) {
    int64_t number;
    if (from != 'q' || code == 'q' || code == 'i') return store_exact(code, at, object);
    if (!store_exact('q', (uint8_t *)&number, object)) return 0;
    const double wide = (double)number;
    const float narrow = (float)number;
    if (code == 'd') memcpy(at, &wide, sizeof wide);
    else memcpy(at, &narrow, sizeof narrow);
    return 1;
}

/* The array in an instance of `wrap`, or the object itself; NULL: neither. A new reference. */
static PyObject *unwrapped(const ParallelFunction *self, PyObject *object) {
    if (PyArray_CheckExact(object)) return Py_NewRef(object);
    if (!Py_IS_TYPE(object, (PyTypeObject *)self->wrap)) return NULL;
    PyObject *array = self->wrapped ? Py_XNewRef(*(PyObject **)((char *)object + self->wrapped)) : PyObject_GetAttrString(object, "_data");
    if (array && PyArray_CheckExact(array)) return array;
    Py_XDECREF(array);
    PyErr_Clear();
    return NULL;
}

static int match_array(const ParallelFunction *self, ParallelCall *call, const Parameter *parameter, PyObject *object) {
    PyArrayObject *array = (PyArrayObject *)unwrapped(self, object);
    if (!array) return 0;
    if (PyArray_NDIM(array) != parameter->rank || !is_kind(array, parameter->kind) || !PyArray_ISCARRAY_RO(array)) {
        Py_DECREF(array);
        return 0;
    }
    for (int i = 0; i < parameter->rank; i++) {
        const int64_t length = PyArray_DIM(array, i);
        memcpy(call->registers.scalars[parameter->lengths[i]], &length, 8);
    }
    set_array(call, parameter->number, (PyObject *)array, PyArray_DATA(array), PyArray_SIZE(array));
    return 1;
}

static int match(const ParallelFunction *self, ParallelCall *call, PyObject *const *args) {
    for (int i = 0; i < self->parameters; i++) {
        const Parameter *parameter = &self->parameter[i];
        int matches;
        if (parameter->rank >= 0) matches = match_array(self, call, parameter, args[i]);
        else {
            uint8_t *at = call->registers.scalars[parameter->number];
            const char own = self->scalar[parameter->number]->code;
            if (parameter->scalar) matches = store_numpy_scalar(own, at, args[i]);
            else matches = store_weak(parameter->kind->code, own, at, args[i]);
        }
        if (!matches) return 0;
    }
    return 1;
}

/* ----------------------------------------------------------------------------------------- scalars */

static int64_t integer(const ParallelCall *call, int number) {
    int64_t value;
    memcpy(&value, call->registers.scalars[number], sizeof value);
    return value;
}

static void set_integer(ParallelCall *call, int number, int64_t value) { memcpy(call->registers.scalars[number], &value, sizeof value); }

static int is_true(const ParallelCall *call, int number) { return call->registers.scalars[number][0] != 0; }

/* ----------------------------------------------------------------------------------------- kernels */

/* The sweeps that run without the GIL now; the list is changed and read with it. */
static Running *running;

static void forget(const Running *entry) {
    Running **at = &running;
    while (*at && *at != entry) at = &(*at)->next;
    if (*at) *at = entry->next;
}

PyObject *runner_parallel_progress(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    const pid_t process = running ? getpid() : 0;
    const Running *entry = running;
    while (entry && entry->process != process) entry = entry->next;
    if (!entry) return Py_BuildValue("LL", 0LL, 0LL);
    return Py_BuildValue("LL", (long long)hl_progress(entry->job), (long long)entry->job->count);
}

/* Run with the GIL released if that is worth it; -1: interrupted, with what a signal's handler raised. */
static int run_unlocked(ParallelCall *call, hl_sweep_job *job, int threads) {
    if (job->picoseconds <= HANDOVER) {
        hl_run_sweep(job, threads);
        return 0;
    }
    call->running = (Running){.next = running, .job = job, .process = getpid()};
    running = &call->running;
    PyThreadState *state = PyEval_SaveThread();
    job->caller = &state;
    if (is_main_thread()) job->interrupted = is_interrupted;
    hl_run_sweep(job, threads);
    PyEval_RestoreThread(state);
    forget(&call->running);
    return job->stopped ? -1 : 0;
}

static void drop_made(ParallelCall *call, int count) {
    for (int i = 0; i < count; i++) Py_CLEAR(call->made[i]);
}

/* Memory for all elements that a filter may keep, and one more. */
static int take_outputs(const ParallelFunction *self, ParallelCall *call, const hl_sweep *sweep, int64_t count) {
    for (int i = 0; i < sweep->outputs; i++) {
        call->made[i] = new_block(self->array[sweep->output[i].array], count > 0 ? count + 1 : 1);
        if (!call->made[i]) {
            drop_made(call, i);
            return -1;
        }
        call->memory[i] = block_data(call->made[i]);
    }
    return 0;
}

/* What was kept becomes arrays; a copy where most of the memory would be held for nothing. */
static int keep_outputs(const ParallelFunction *self, ParallelCall *call, const hl_sweep *sweep, int64_t count) {
    const int64_t kept = integer(call, sweep->kept);
    for (int i = 0; i < sweep->outputs; i++) {
        const hl_output *output = &sweep->output[i];
        PyObject *block = call->made[i];
        call->made[i] = NULL;
        if (kept < count / 2) {
            PyObject *fitting = new_block(self->array[output->array], kept);
            if (fitting) copy_memory(self, block_data(fitting), block_data(block), (size_t)kept * output->size);
            Py_SETREF(block, fitting);
        }
        if (!block) {
            drop_made(call, sweep->outputs);
            return -1;
        }
        set_array(call, output->array, block, block_data(block), kept);
    }
    return 0;
}

static int run_kernel(const ParallelFunction *self, ParallelCall *call, const hl_sweep *sweep) {
    hl_sweep_job job = {.sweep = sweep, .code = self->program->runner.memory.code, .registers = call->registers, .workers = call->workers,
                        .outputs = call->memory, .prefix = call->prefix, .count = integer(call, sweep->count)};
    int threads = hl_prepare_sweep(&job, most_threads(self));
    threads = make_workers(self, call, threads, sweep->outputs ? hl_room_bytes(sweep) : 0);
    if (!threads) return -1;
    if (hl_try_sweep(&job)) return 0;
    if (job.tried && sweep->mode == HL_EACH) threads = make_workers(self, call, most_threads(self), 0);
    if (sweep->mode == HL_FOLD) {
        job.partials = hl_take(hl_partial_bytes(&job));
        if (!job.partials) {
            PyErr_NoMemory();
            return -1;
        }
    }
    if (sweep->mode == HL_FILTER && take_outputs(self, call, sweep, job.count)) return -1;
    const int failed = run_unlocked(call, &job, threads);
    hl_give(job.partials);
    if (sweep->mode != HL_FILTER) return failed;
    if (!failed) return keep_outputs(self, call, sweep, job.count);
    drop_made(call, sweep->outputs);
    return failed;
}

static int run_compute(const ParallelFunction *self, ParallelCall *call, const Op *op) {
    if (!make_workers(self, call, 1, 0)) return -1;
    uint8_t *data = call->workers[0]->data;
    hl_give_inputs(data, &op->inputs, &call->registers);
    hl_call_code(self->program->runner.memory.code, op->entry, data);
    for (int i = 0; i < op->outputs; i++) {
        const hl_operand *output = &op->output[i];
        memcpy(call->registers.scalars[output->scalar], data + output->slot, output->size);
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------ arrays */

static int allocate(const ParallelFunction *self, ParallelCall *call, const Op *op) {
    const int64_t length = integer(call, op->length);
    PyObject *block = new_block(self->array[op->array], length);
    if (!block) return -1;
    set_array(call, op->array, block, block_data(block), length < 0 ? 0 : length);
    return 0;
}

static int copy(const ParallelFunction *self, ParallelCall *call, const Op *op) {
    const Kind *kind = self->array[op->array];
    const hl_array source = call->registers.arrays[op->source];
    PyObject *block = new_block(kind, source.length);
    if (!block) return -1;
    copy_memory(self, block_data(block), source.data, (size_t)source.length * kind->size);
    set_array(call, op->array, block, block_data(block), source.length);
    return 0;
}

static void alias(ParallelCall *call, const Op *op) {
    for (int i = 0; i < op->reads; i++) {
        call->held[i].array = call->registers.arrays[op->read[i]];
        call->held[i].owner = Py_XNewRef(call->owners[op->read[i]]);
    }
    for (int i = 0; i < op->writes; i++)
        set_array(call, op->write[i], call->held[i].owner, call->held[i].array.data, call->held[i].array.length);
}

static int64_t clamped(int64_t number, int64_t most) { return number < 0 ? 0 : number > most ? most : number; }

static void slice(const ParallelFunction *self, ParallelCall *call, const Op *op) {
    const hl_array source = call->registers.arrays[op->source];
    const int64_t start = clamped(integer(call, op->start), source.length);
    const int64_t length = clamped(integer(call, op->length), source.length - start);
    set_array(call, op->array, Py_XNewRef(call->owners[op->source]), source.data + start * self->array[op->array]->size, length);
}

/* ------------------------------------------------------------------------------------------- sorts */

/* A new array for each result of a sort; `made` counts keys first, then the order. */
static int take_sorted(const ParallelFunction *self, ParallelCall *call, const Op *op, int64_t count) {
    for (int i = 0; i <= op->reads; i++) {
        const int into = i < op->reads ? op->write[i] : op->array;
        call->made[i] = into < 0 ? NULL : new_block(self->array[into], count);
        call->memory[i] = call->made[i] ? block_data(call->made[i]) : NULL;
        if (into < 0 || call->made[i]) continue;
        drop_made(call, i);
        return -1;
    }
    return 0;
}

static void keep_sorted(ParallelCall *call, const Op *op, int64_t count) {
    for (int i = 0; i <= op->reads; i++) {
        PyObject *block = call->made[i];
        call->made[i] = NULL;
        if (block) set_array(call, i < op->reads ? op->write[i] : op->array, block, block_data(block), count);
    }
}

/* Raise what a sort says, unless a signal's handler did. */
static int sort_failed(int status) {
    if (status == HL_SORT_NO_MEMORY) PyErr_NoMemory();
    return status == HL_SORTED ? 0 : -1;
}

static int sort_keys(const ParallelFunction *self, ParallelCall *call, const Op *op, int64_t count) {
    hl_sort_key keys[64]; /* see MOST_KEYS */
    for (int i = 0; i < op->reads; i++)
        keys[i] = (hl_sort_key){call->registers.arrays[op->read[i]].data, self->array[op->read[i]]->code, op->descending[i]};
    int64_t *order = (int64_t *)call->memory[op->reads];
    void *const *sorted = (void *const *)call->memory;
    if (count < LONG_SORT) return hl_sort(keys, op->reads, count, order, sorted, 1, NULL, NULL);
    const int threads = most_threads(self);
    PyThreadState *state = PyEval_SaveThread();
    int status = hl_sort(keys, op->reads, count, order, sorted, threads, is_main_thread() ? is_interrupted : NULL, &state);
    PyEval_RestoreThread(state);
    return status;
}

static int sort(const ParallelFunction *self, ParallelCall *call, const Op *op) {
    const int64_t count = call->registers.arrays[op->read[0]].length;
    for (int i = 1; i < op->reads; i++) {
        if (call->registers.arrays[op->read[i]].length == count) continue;
        fail("InternalError", "plan: the keys of a sort have %lld and %lld elements", (long long)count,
             (long long)call->registers.arrays[op->read[i]].length);
        return -1;
    }
    if (take_sorted(self, call, op, count)) return -1;
    if (!sort_failed(sort_keys(self, call, op, count))) {
        keep_sorted(call, op, count);
        return 0;
    }
    drop_made(call, op->reads + 1);
    return -1;
}

/* What a thread needs to compare two elements. */
typedef struct {
    const uint8_t *code;
    uint8_t *data;
    const Op *op;
} Comparison;

static int compare(void *context, int64_t i, int64_t j) {
    const Comparison *comparison = context;
    const Op *op = comparison->op;
    memcpy(comparison->data + op->first, &i, sizeof i);
    memcpy(comparison->data + op->second, &j, sizeof j);
    hl_call_code(comparison->code, op->entry, comparison->data);
    return comparison->data[op->less];
}

static int sort_places(ParallelCall *call, const Op *op, Comparison *comparisons, int threads, int64_t count, int64_t *order) {
    void *contexts[HL_MOST_THREADS];
    for (int i = 0; i < threads; i++) {
        comparisons[i].data = call->workers[i]->data;
        hl_give_inputs(comparisons[i].data, &op->inputs, &call->registers);
        contexts[i] = &comparisons[i];
    }
    if (count < SHORT_SORT) return hl_sort_by(compare, contexts, threads, count, order, NULL, NULL);
    PyThreadState *state = PyEval_SaveThread();
    int status = hl_sort_by(compare, contexts, threads, count, order, is_main_thread() ? is_interrupted : NULL, &state);
    PyEval_RestoreThread(state);
    return status;
}

static int sort_by(const ParallelFunction *self, ParallelCall *call, const Op *op) {
    const int64_t count = clamped(integer(call, op->length), INT64_MAX);
    const int threads = make_workers(self, call, count < SHARED_SORT ? 1 : most_threads(self), 0);
    PyObject *block = threads ? new_block(self->array[op->array], count) : NULL;
    if (!block) return -1;
    Comparison comparisons[HL_MOST_THREADS];
    for (int i = 0; i < threads; i++) comparisons[i] = (Comparison){.code = self->program->runner.memory.code, .op = op};
    if (sort_failed(sort_places(call, op, comparisons, threads, count, (int64_t *)block_data(block)))) {
        Py_DECREF(block);
        return -1;
    }
    set_array(call, op->array, block, block_data(block), count);
    return 0;
}

/* ------------------------------------------------------------------------------------------ Python */

/* fail(number, [values]), which raises. */
static int raise_fault(const ParallelFunction *self, const ParallelCall *call, const Op *op) {
    PyObject *values = PyList_New(op->reads);
    for (int i = 0; values && i < op->reads; i++) {
        PyObject *value = load(self->scalar[op->read[i]]->code, call->registers.scalars[op->read[i]]);
        if (!value) Py_CLEAR(values);
        else PyList_SET_ITEM(values, i, value);
    }
    PyObject *answer = values ? PyObject_CallFunction(self->fail, "iO", op->fault, values) : NULL;
    Py_XDECREF(values);
    if (answer) fail("InternalError", "plan: fault %d raised nothing", op->fault);
    Py_XDECREF(answer);
    return -1;
}

/* Take what a callable gave: a tuple of new arrays, one for each register. */
static int take_answer(const ParallelFunction *self, ParallelCall *call, const Op *op, PyObject *answer) {
    int right = PyTuple_Check(answer) && PyTuple_GET_SIZE(answer) == op->writes;
    for (int i = 0; right && i < op->writes; i++) {
        PyArrayObject *array = (PyArrayObject *)PyTuple_GET_ITEM(answer, i);
        right = PyArray_CheckExact(array) && PyArray_NDIM(array) == 1 && is_kind(array, self->array[op->write[i]]) &&
                PyArray_ISCARRAY_RO(array);
    }
    if (!right) {
        fail("InternalError", "plan: %R returned other arrays than it must: %R", op->callable, answer);
        return -1;
    }
    for (int i = 0; i < op->writes; i++) {
        PyArrayObject *array = (PyArrayObject *)PyTuple_GET_ITEM(answer, i);
        set_array(call, op->write[i], Py_NewRef((PyObject *)array), PyArray_DATA(array), PyArray_SIZE(array));
    }
    return 0;
}

/* Whoever keeps the view of an array sees what is written to it later, which may be a result. */
static void drop_views(ParallelCall *call, const Op *op) {
    for (int i = 0; i < op->reads; i++) {
        PyObject *owner = call->owners[op->read[i]];
        if (call->made[i] && Py_REFCNT(call->made[i]) > 1 && owner && Py_IS_TYPE(owner, &Block_Type)) ((Block *)owner)->exported = 1;
        Py_CLEAR(call->made[i]);
    }
}

static int call_python(const ParallelFunction *self, ParallelCall *call, const Op *op) {
    int failed = 0;
    for (int i = 0; i < op->reads; i++) {
        call->made[i] = failed ? NULL : view_of(self, call, op->read[i]);
        failed |= !call->made[i];
    }
    PyObject *answer = failed ? NULL : PyObject_Vectorcall(op->callable, call->made, (size_t)op->reads, NULL);
    drop_views(call, op);
    failed = !answer || take_answer(self, call, op, answer);
    Py_XDECREF(answer);
    return failed ? -1 : 0;
}

/* --------------------------------------------------------------------------------------------- ops */

/* At a backward jump: let other threads of Python run, and signals be heard. The coarse clock costs next to nothing. */
static int look_around(ParallelCall *call) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const int64_t time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (time - call->looked < LOOK) return 0;
    call->looked = time;
    PyThreadState *state = PyEval_SaveThread();
    PyEval_RestoreThread(state);
    return PyErr_CheckSignals();
}

/* -1: raised. */
static int run_op(const ParallelFunction *self, ParallelCall *call, const Op *op) {
    switch (op->doing) {
    case DO_KERNEL: return run_kernel(self, call, op->sweep);
    case DO_COMPUTE: return run_compute(self, call, op);
    case DO_ALLOCATE: return allocate(self, call, op);
    case DO_COPY: return copy(self, call, op);
    case DO_ALIAS: alias(call, op); return 0;
    case DO_RELEASE: set_array(call, op->array, NULL, NULL, 0); return 0;
    case DO_LENGTH: set_integer(call, op->length, call->registers.arrays[op->array].length); return 0;
    case DO_SLICE: slice(self, call, op); return 0;
    case DO_FAULT: return is_true(call, op->scalar) ? raise_fault(self, call, op) : 0;
    case DO_SORT: return sort(self, call, op);
    case DO_SORT_BY: return sort_by(self, call, op);
    default: return call_python(self, call, op);
    }
}

static int run_ops(const ParallelFunction *self, ParallelCall *call) {
    int pc = 0;
    while (pc < self->ops) {
        const Op *op = &self->op[pc];
        if (op->doing == DO_JUMP || (op->doing == DO_UNLESS && !is_true(call, op->scalar))) {
            if (op->pc <= pc && look_around(call)) return -1;
            pc = op->pc;
            continue;
        }
        if (op->doing != DO_UNLESS && run_op(self, call, op)) return -1;
        pc++;
    }
    return 0;
}

/* Returns NULL without an exception where the arguments do not match. */
static PyObject *call_matching(ParallelFunction *self, PyObject *const *args) {
    ParallelCall *call = take_parallel_call(self);
    if (!call) return NULL;
    PyObject *result = NULL;
    if (match(self, call, args) && !run_ops(self, call)) result = parallel_result(self, call, &self->result);
    give_parallel_call(self, call);
    return result;
}

static PyObject *call_parallel(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    ParallelFunction *self = (ParallelFunction *)object;
    const int keywords = kwnames && PyTuple_GET_SIZE(kwnames);
    if (PyVectorcall_NARGS(nargsf) == self->parameters && self->fallback && !keywords) {
        PyObject *result = call_matching(self, args);
        if (result || PyErr_Occurred()) return result;
    }
    return fall_back(self->fallback, args, nargsf, kwnames);
}

/* ----------------------------------------------------------------------------------------- the type */

/* Where instances of a class with __slots__ keep `_data`; 0: it is not known. */
static Py_ssize_t place_of_data(PyObject *wrap) {
    PyObject *found = PyType_Check(wrap) ? PyObject_GetAttrString(wrap, "_data") : NULL;
    Py_ssize_t offset = 0;
    if (found && Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        const PyMemberDescrObject *member = (const PyMemberDescrObject *)found;
        if (member->d_member->type == T_OBJECT_EX && PyType_IsSubtype((PyTypeObject *)wrap, PyDescr_TYPE(member)))
            offset = member->d_member->offset;
    }
    Py_XDECREF(found);
    PyErr_Clear();
    return offset;
}

static int are_right(PyObject *wrap, PyObject *fail_, PyObject *fallback, int threads) {
    if (wrap != Py_None && !PyCallable_Check(wrap)) PyErr_SetString(PyExc_TypeError, "wrap must be callable, or None");
    else if (!PyCallable_Check(fail_)) PyErr_SetString(PyExc_TypeError, "fail must be callable");
    else if (!PyCallable_Check(fallback)) PyErr_SetString(PyExc_TypeError, "fallback must be callable");
    else if (threads < 0 || threads > HL_MOST_THREADS)
        PyErr_Format(PyExc_ValueError, "the number of threads must be from 0 to %d, not %d", HL_MOST_THREADS, threads);
    else return 1;
    return 0;
}

static PyObject *parallel_function_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"program", "arguments", "scalars", "arrays", "code", "result", "wrap", "fail", "fallback", "threads", NULL};
    PyObject *program, *wrap, *raise, *fallback;
    Tuples tuples;
    int threads = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOOOOOO|i:ParallelFunction", names, &program, &tuples.arguments, &tuples.scalars,
                                     &tuples.arrays, &tuples.code, &tuples.result, &wrap, &raise, &fallback, &threads))
        return NULL;
    if (!is_program(program) || !are_right(wrap, raise, fallback, threads)) return NULL;
    ParallelFunction *self = (ParallelFunction *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->call = call_parallel;
    self->program = (Program *)Py_NewRef(program);
    self->wrap = Py_NewRef(wrap);
    self->fail = Py_NewRef(raise);
    self->fallback = Py_NewRef(fallback);
    self->threads = threads;
    self->wrapped = place_of_data(wrap);
    if (parallel_plan_from(self, &tuples)) Py_CLEAR(self);
    return (PyObject *)self;
}

static int parallel_function_traverse(PyObject *object, visitproc visit, void *arg) {
    ParallelFunction *self = (ParallelFunction *)object;
    Py_VISIT(self->wrap);
    Py_VISIT(self->fail);
    Py_VISIT(self->fallback);
    return parallel_plan_visit(self, visit, arg);
}

/* What else is called stays, for calls that go on: without a fallback no new call begins. */
static int parallel_function_clear(PyObject *object) {
    Py_CLEAR(((ParallelFunction *)object)->fallback);
    return 0;
}

static void parallel_function_dealloc(PyObject *object) {
    ParallelFunction *self = (ParallelFunction *)object;
    PyObject_GC_UnTrack(object);
    if (self->weak) PyObject_ClearWeakRefs(object);
    free_parallel_calls(self);
    free_parallel_plan(self);
    Py_CLEAR(self->wrap);
    Py_CLEAR(self->fail);
    Py_CLEAR(self->fallback);
    Py_CLEAR(self->program);
    Py_TYPE(object)->tp_free(object);
}

static PyMemberDef parallel_function_facts[] = {
    {"program", T_OBJECT, offsetof(ParallelFunction, program), READONLY, "the Program that holds the kernels"},
    {"fallback", T_OBJECT, offsetof(ParallelFunction, fallback), READONLY, "what is called with all other arguments"},
    {"threads", T_INT, offsetof(ParallelFunction, threads), READONLY, "most threads that work on a call; 0: all"},
    {0},
};

PyTypeObject ParallelFunction_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hotloop._runner.ParallelFunction",
    .tp_basicsize = sizeof(ParallelFunction),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_doc = "ParallelFunction(program, arguments, scalars, arrays, code, result, wrap, fail, fallback, threads=0)\n--\n\n"
              "A call that runs ops on registers: kernels over arrays on several threads, sorts, jumps.\n\n"
              "scalars, arrays: a kind of ?iqfd for each register. arguments: ('number', kind, scalar) or ('array', kind,\n"
              "array, rank, lengths). result: ('number', scalar), ('array', array, lengths), ('tuple', parts) or ('python',\n"
              "callable, parts); wrap(array) is what arrays become. fail(number, values) raises. Any other arguments go to\n"
              "`fallback`. The ops of code are described in hotloop/_runner.pyi.",
    .tp_new = parallel_function_new,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(ParallelFunction, call),
    .tp_dealloc = parallel_function_dealloc,
    .tp_traverse = parallel_function_traverse,
    .tp_clear = parallel_function_clear,
    .tp_members = parallel_function_facts,
    .tp_weaklistoffset = offsetof(ParallelFunction, weak),
};
