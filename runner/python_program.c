/* `Program`: one image in the runner of this process. */
#include "python.h"

int is_program(PyObject *object) {
    if (Py_IS_TYPE(object, &Program_Type)) return 1;
    PyErr_Format(PyExc_TypeError, "expected a Program, not %.100s", Py_TYPE(object)->tp_name);
    return 0;
}

static int refuse(const char *doing, hl_status status) {
    fail("ImageError", "%s: %s (runner status %d)", doing, hl_message(status), (int)status);
    return -1;
}

static int program_load(Program *self, const Py_buffer part[3], unsigned long entry, unsigned long stack) {
    hl_runner *runner = &self->runner;
    if (part[0].len > UINT32_MAX || part[1].len > UINT32_MAX) return refuse("allocating", HL_SIZE);
    uint32_t code = (uint32_t)part[0].len, data = (uint32_t)part[1].len;
    hl_status status = hl_allocate(runner, code, data);
    if (status) return refuse("allocating", status);
    status = hl_copy_code(runner, 0, part[0].buf, code);
    if (!status) status = hl_copy_data(runner, 0, part[1].buf, data);
    if (status) return refuse("copying", status);
    const uint8_t *patches = part[2].buf;
    if (part[2].len % HL_PATCH_BYTES) return refuse("patching", HL_MALFORMED);
    for (Py_ssize_t at = 0; at < part[2].len && !status; at += HL_PATCH_BYTES) {
        status = hl_patches(runner, patches + at, HL_PATCH_BYTES);
        if (!status) continue;
        fail("ImageError", "patch %zd: %s (runner status %d)", at / HL_PATCH_BYTES, hl_message(status), (int)status);
        return -1;
    }
    if (entry > UINT32_MAX || stack > UINT32_MAX) return refuse("setting the entry", HL_BOUNDS);
    status = hl_seal(runner, (uint32_t)entry, (uint32_t)stack);
    return status ? refuse("setting the entry", status) : 0;
}

static PyObject *program_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"code", "data", "entry", "patches", "stack", "long_running", NULL};
    Py_buffer part[3] = {{0}, {0}, {0}};
    PyObject *entry = NULL, *stack = NULL;
    int long_running = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*O|y*$Op:Program", names, &part[0], &part[1], &entry,
                                     &part[2], &stack, &long_running))
        return NULL;
    unsigned long at, deep;
    Program *self = NULL;
    if (!whole(entry, "entry", &at) && !whole(stack, "stack", &deep)) self = (Program *)type->tp_alloc(type, 0);
    if (self) {
        self->shared = long_running;
        self->long_running = (char)long_running;
        self->mutex = PyThread_allocate_lock();
        if (!self->mutex) PyErr_NoMemory();
        if (!self->mutex || program_load(self, part, at, deep)) Py_CLEAR(self);
    }
    for (int i = 0; i < 3; i++) PyBuffer_Release(&part[i]);
    return (PyObject *)self;
}

static void program_dealloc(PyObject *object) {
    Program *self = (Program *)object;
    if (self->weak) PyObject_ClearWeakRefs(object);
    hl_release(&self->runner);
    if (self->mutex) PyThread_free_lock(self->mutex);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *program_run(PyObject *object, PyObject *none) {
    (void)none;
    Program *self = (Program *)object;
    if (!self->shared) hl_call(&self->runner);
    else {
        Py_INCREF(self);
        enter(self);
        if (self->long_running) call_unlocked(self);
        else hl_call(&self->runner);
        leave(self);
        Py_DECREF(self);
    }
    Py_RETURN_NONE;
}

/* Runs are counted off in batches, so that Ctrl-C works without a look at Python at each run. */
enum { BATCH = 1 << 16 };

static PyObject *program_run_many(PyObject *object, PyObject *times) {
    Program *self = (Program *)object;
    long long left = PyLong_AsLongLong(times);
    if (left == -1 && PyErr_Occurred()) return NULL;
    if (left < 0) {
        PyErr_Format(PyExc_ValueError, "run_many(%lld): the count must not be negative", left);
        return NULL;
    }
    Py_INCREF(self);
    self->shared++;
    enter(self);
    int interrupted = 0;
    while (left > 0 && !interrupted) {
        int batch = left < BATCH ? (int)left : BATCH;
        Py_BEGIN_ALLOW_THREADS
        for (int i = 0; i < batch; i++) hl_call(&self->runner);
        Py_END_ALLOW_THREADS
        left -= batch;
        if (left == 0) break;
        leave(self); /* a signal handler may run this program too */
        interrupted = PyErr_CheckSignals();
        enter(self);
    }
    leave(self);
    self->shared--;
    Py_DECREF(self);
    if (interrupted) return NULL;
    Py_RETURN_NONE;
}

static int program_getbuffer(PyObject *object, Py_buffer *view, int flags) {
    hl_runner *runner = &((Program *)object)->runner;
    return PyBuffer_FillInfo(view, object, runner->memory.data, runner->data_size, 0, flags);
}

static PyObject *program_fact(PyObject *object, void *which) {
    const Program *self = (const Program *)object;
    switch ((intptr_t)which) {
    case 0: return PyLong_FromUnsignedLong(self->runner.code_size);
    case 1: return PyLong_FromUnsignedLong(self->runner.data_size);
    case 2: return PyLong_FromVoidPtr(self->runner.memory.code);
    case 3: return PyLong_FromVoidPtr(self->runner.memory.data);
    default: return PyBool_FromLong(self->long_running);
    }
}

static PyMethodDef program_methods[] = {
    {"run", program_run, METH_NOARGS, "run()\n--\n\nExecute the program once. Allocates nothing."},
    {"run_many", program_run_many, METH_O,
     "run_many(count)\n--\n\nExecute the program `count` times with no Python in between; the GIL is released."},
    {0},
};

static PyGetSetDef program_facts[] = {
    {"code_size", program_fact, NULL, "bytes of machine code", (void *)0},
    {"data_size", program_fact, NULL, "bytes of the data region", (void *)1},
    {"code_address", program_fact, NULL, "address of the code, for debuggers and profilers", (void *)2},
    {"data_address", program_fact, NULL, "address of the data region", (void *)3},
    {"long_running", program_fact, NULL, "whether runs release the GIL", (void *)4},
    {0},
};

static PyBufferProcs program_buffer = {.bf_getbuffer = program_getbuffer};

PyTypeObject Program_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hotloop._runner.Program",
    .tp_basicsize = sizeof(Program),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Program(code, data, entry, patches=b'', *, stack=0, long_running=False)\n--\n\n"
              "One loaded image. Its buffer is the data region, live and writable.",
    .tp_new = program_new,
    .tp_dealloc = program_dealloc,
    .tp_methods = program_methods,
    .tp_getset = program_facts,
    .tp_as_buffer = &program_buffer,
    .tp_weaklistoffset = offsetof(Program, weak),
};

