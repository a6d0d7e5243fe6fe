/* `Function`: the fast path of a jitted function. */
#include "python.h"

enum { RANK = 6 };

/* One argument or result: where it lies, and what it must be. */
typedef struct {
    const Kind *kind;
    uint32_t offset;
    int rank; /* -1: a Python number */
    size_t bytes;
    npy_intp shape[RANK];
} Slot;

typedef struct {
    Py_ssize_t inputs, outputs;
    size_t end; /* bytes of data region that the slots need */
    char single, arrays;
    Slot slots[]; /* inputs, then outputs */
} Layout;

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    Program *program; /* NULL: always fall back */
    Layout *layout;   /* inside `kept` */
    PyObject *kept;   /* bytes: a call in another thread may outlive a change of layout */
    PyObject *arrays; /* NULL, or an ArrayFunction, which takes all calls in place of the program */
    PyObject *fallback, *dict, *weak;
    char takes_out;   /* `out=` names arrays for the results; else it goes to the fallback, as all keywords do */
    PyObject *guards; /* NULL, or a tuple of (cell, None, object) and (dict, name, object) */
} Function;

static int slot_shape(Slot *slot, PyObject *shape) {
    PyObject *dims = PyLong_Check(shape) ? PyTuple_Pack(1, shape) : Py_NewRef(shape);
    if (!dims) return -1;
    int failed = !PyTuple_Check(dims) || PyTuple_GET_SIZE(dims) > RANK;
    slot->rank = failed ? 0 : (int)PyTuple_GET_SIZE(dims);
    for (int i = 0; i < slot->rank && !failed; i++) {
        slot->shape[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(dims, i));
        failed = slot->shape[i] < 0 || (size_t)slot->shape[i] > UINT32_MAX;
        if (failed) break;
        slot->bytes *= (size_t)slot->shape[i];
        failed = slot->bytes > UINT32_MAX; /* both factors were below 2**32: no overflow before this */
    }
    Py_DECREF(dims);
    if (!failed) return 0;
    PyErr_Clear();
    fail("ImageError", "%R is not the shape of an argument: at most %d dimensions, below 4 GiB", shape, RANK);
    return -1;
}

static int slot_from(Slot *slot, PyObject *entry) {
    Py_ssize_t size = PyTuple_Check(entry) ? PyTuple_GET_SIZE(entry) : 0;
    if (size < 2 || size > 3) {
        PyErr_Format(PyExc_TypeError, "expected (kind, offset) or (kind, offset, shape), not %R", entry);
        return -1;
    }
    slot->kind = kind_of(PyTuple_GET_ITEM(entry, 0));
    if (!slot->kind) return -1;
    unsigned long offset;
    if (whole(PyTuple_GET_ITEM(entry, 1), "offset", &offset)) return -1;
    if (offset > UINT32_MAX) {
        fail("ImageError", "offset %lu lies outside the image", offset);
        return -1;
    }
    slot->offset = (uint32_t)offset;
    slot->rank = -1;
    slot->bytes = slot->kind->size;
    return size == 3 ? slot_shape(slot, PyTuple_GET_ITEM(entry, 2)) : 0;
}

static PyObject *layout_from(PyObject *inputs, PyObject *outputs, int single) {
    if (single && PyTuple_GET_SIZE(outputs) != 1) {
        PyErr_SetString(PyExc_ValueError, "a single result needs exactly one output");
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(inputs), total = count + PyTuple_GET_SIZE(outputs);
    PyObject *kept = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(sizeof(Layout) + (size_t)total * sizeof(Slot)));
    if (!kept) return NULL;
    Layout *layout = (Layout *)PyBytes_AS_STRING(kept);
    *layout = (Layout){.inputs = count, .outputs = total - count, .single = (char)single};
    for (Py_ssize_t i = 0; i < total; i++) {
        Slot *slot = &layout->slots[i];
        *slot = (Slot){0};
        if (slot_from(slot, i < count ? PyTuple_GET_ITEM(inputs, i) : PyTuple_GET_ITEM(outputs, i - count))) {
            Py_DECREF(kept);
            return NULL;
        }
        if (slot->offset + slot->bytes > layout->end) layout->end = slot->offset + slot->bytes;
        layout->arrays |= slot->rank >= 0;
    }
    return kept;
}

static int fits(PyObject *program, const Layout *layout) {
    if (program == Py_None) return 1;
    if (!is_program(program)) return 0;
    size_t size = ((Program *)program)->runner.data_size;
    if (layout->end <= size) return 1;
    fail("ImageError", "the arguments reach to byte %zu of a data region of %zu bytes", layout->end, size);
    return 0;
}

/* Is `object` an array of exactly the slot's type and shape, its elements in order? */
static inline int is_array_for(const Slot *slot, PyObject *object) {
    if (!PyArray_CheckExact(object)) return 0;
    PyArrayObject *array = (PyArrayObject *)object;
    if (PyArray_TYPE(array) != slot->kind->numpy || PyArray_NDIM(array) != slot->rank) return 0;
    if (!PyArray_ISCARRAY_RO(array)) return 0;
    for (int i = 0; i < slot->rank; i++)
        if (PyArray_DIM(array, i) != slot->shape[i]) return 0;
    return 1;
}

/* Does `object` match the slot exactly? If so it is stored. */
static inline int store_argument(const Slot *slot, uint8_t *data, PyObject *object) {
    if (slot->rank < 0) return store_exact(slot->kind->code, data + slot->offset, object);
    if (!is_array_for(slot, object)) return 0;
    memmove(data + slot->offset, PyArray_DATA((PyArrayObject *)object), slot->bytes);
    return 1;
}

/* What `out` has for a result, NULL: nothing. */
static PyObject *given_for(const Layout *layout, PyObject *out, Py_ssize_t result) {
    PyObject *given = out && !layout->single ? PyTuple_GET_ITEM(out, result) : out;
    return given == Py_None ? NULL : given;
}

/* Is `out` what the results can be copied to, as they lie? Overlap does no harm: arguments were copied before. */
static int is_right_out(const Layout *layout, PyObject *out) {
    if (!out) return 1;
    if (!layout->single && (!PyTuple_CheckExact(out) || PyTuple_GET_SIZE(out) != layout->outputs)) return 0;
    for (Py_ssize_t i = 0; i < layout->outputs; i++) {
        PyObject *given = given_for(layout, out, i);
        if (given && !(is_array_for(&layout->slots[layout->inputs + i], given) && PyArray_ISWRITEABLE((PyArrayObject *)given))) return 0;
    }
    return 1;
}

/* A tuple for the results, arrays in their places: made before the run, because allocation may run the
 * garbage collector, and that this very function. */
static PyObject *make_results(const Layout *layout, PyObject *out) {
    PyObject *results = PyTuple_New(layout->outputs);
    for (Py_ssize_t i = 0; results && i < layout->outputs; i++) {
        const Slot *slot = &layout->slots[layout->inputs + i];
        if (slot->rank < 0) continue;
        PyObject *array = given_for(layout, out, i);
        array = array ? Py_NewRef(array) : PyArray_SimpleNew(slot->rank, (npy_intp *)slot->shape, slot->kind->numpy);
        if (!array) Py_CLEAR(results);
        else PyTuple_SET_ITEM(results, i, array);
    }
    return results;
}

static int load_results(const Layout *layout, const uint8_t *data, PyObject *results) {
    for (Py_ssize_t i = 0; i < layout->outputs; i++) {
        const Slot *slot = &layout->slots[layout->inputs + i];
        if (slot->rank >= 0) {
            PyArrayObject *array = (PyArrayObject *)PyTuple_GET_ITEM(results, i);
            memmove(PyArray_DATA(array), data + slot->offset, slot->bytes);
            continue;
        }
        PyObject *number = load(slot->kind->code, data + slot->offset);
        if (!number) return -1;
        PyTuple_SET_ITEM(results, i, number);
    }
    return 0;
}

/* Any layout, any program. Returns NULL without an exception where arguments or `out` do not match. */
static PyObject *call_general(Program *program, const Layout *layout, PyObject *const *args, PyObject *out) {
    if (!is_right_out(layout, out)) return NULL;
    PyObject *results = make_results(layout, out);
    if (!results) return NULL;
    const int shared = program->shared;
    uint8_t *data = program->runner.memory.data;
    if (shared) enter(program);
    int matched = is_right_out(layout, out); /* still: see make_results */
    for (Py_ssize_t i = 0; i < layout->inputs && matched; i++) matched = store_argument(&layout->slots[i], data, args[i]);
    if (matched && program->long_running) call_unlocked(program);
    else if (matched) hl_call(&program->runner);
    int loaded = matched && !load_results(layout, data, results);
    if (shared) leave(program);
    if (!loaded) Py_CLEAR(results);
    if (!results || !layout->single) return results;
    PyObject *only = Py_NewRef(PyTuple_GET_ITEM(results, 0));
    Py_DECREF(results);
    return only;
}

static PyObject *call_kept(Function *self, PyObject *const *args, PyObject *out) {
    PyObject *kept = Py_NewRef(self->kept);
    Program *program = (Program *)Py_NewRef((PyObject *)self->program);
    PyObject *result = call_general(program, self->layout, args, out);
    Py_DECREF(program);
    Py_DECREF(kept);
    return result;
}

/* Does every guarded place still hold the same object? A name that is missing does not. */
static int unchanged(PyObject *guards) {
    int same = 1;
    Py_INCREF(guards); /* a name that compares in Python could replace them */
    for (Py_ssize_t i = 0, count = PyTuple_GET_SIZE(guards); same && i < count; i++) {
        PyObject *const *guard = ((PyTupleObject *)PyTuple_GET_ITEM(guards, i))->ob_item, *found;
        if (PyCell_Check(guard[0])) found = PyCell_GET(guard[0]);
        else found = PyDict_GetItemWithError(guard[0], guard[1]);
        same = found == guard[2];
    }
    if (PyErr_Occurred()) PyErr_Clear();
    Py_DECREF(guards);
    return same;
}

static PyObject *function_call(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Function *self = (Function *)object;
    const int known = (self->program || self->arrays) && (!self->guards || unchanged(self->guards));
    const Layout *layout = self->layout;
    Program *program = known ? self->program : NULL;
    if (known && self->arrays) {
        PyObject *arrays = Py_NewRef(self->arrays);
        PyObject *result = call_arrays(arrays, args, nargsf, kwnames);
        Py_DECREF(arrays);
        return result;
    }
    const int keywords = kwnames && PyTuple_GET_SIZE(kwnames);
    if (program && PyVectorcall_NARGS(nargsf) == layout->inputs && (!keywords || (self->takes_out && only_out(kwnames)))) {
        if (layout->single && !layout->arrays && !program->shared && !keywords) {
            /* The path that is counted in nanoseconds. No Python code can run inside it. */
            uint8_t *data = program->runner.memory.data;
            const Slot *slot = layout->slots, *end = slot + layout->inputs;
            while (slot < end && store_exact(slot->kind->code, data + slot->offset, *args)) slot++, args++;
            if (slot == end) {
                hl_call(&program->runner);
                return load(slot->kind->code, data + slot->offset);
            }
            args -= slot - layout->slots;
        } else {
            PyObject *result = call_kept(self, args, keywords && args[layout->inputs] != Py_None ? args[layout->inputs] : NULL);
            if (result || PyErr_Occurred()) return result;
        }
    }
    return fall_back(self->fallback, args, nargsf, kwnames);
}

/* What calls run from now on: a program or None, or an ArrayFunction or NULL. */
static void run_this(Function *self, PyObject *program, PyObject *arrays) {
    PyObject *old = (PyObject *)self->program, *old_arrays = self->arrays;
    self->program = program == Py_None ? NULL : (Program *)Py_NewRef(program);
    self->arrays = Py_XNewRef(arrays);
    Py_XDECREF(old);
    Py_XDECREF(old_arrays);
}

static int specialise(Function *self, PyObject *program, PyObject *inputs, PyObject *outputs, int single) {
    PyObject *kept = NULL, *in = PySequence_Tuple(inputs), *out = in ? PySequence_Tuple(outputs) : NULL;
    if (out) kept = layout_from(in, out, single);
    Py_XDECREF(in);
    Py_XDECREF(out);
    if (!kept) return -1;
    Layout *layout = (Layout *)PyBytes_AS_STRING(kept);
    if (!fits(program, layout)) {
        Py_DECREF(kept);
        return -1;
    }
    PyObject *old = self->kept;
    self->kept = kept;
    self->layout = layout;
    run_this(self, program, NULL);
    Py_XDECREF(old);
    return 0;
}

static int set_fallback(PyObject *object, PyObject *value, void *unused) {
    (void)unused;
    if (!value || !PyCallable_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "fallback must be callable");
        return -1;
    }
    Py_XSETREF(((Function *)object)->fallback, Py_NewRef(value));
    return 0;
}

static PyObject *function_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"program", "inputs", "outputs", "single", "fallback", "takes_out", NULL};
    PyObject *program, *inputs, *outputs, *fallback;
    int single, takes_out = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOpO|p:Function", names, &program, &inputs, &outputs, &single, &fallback,
                                     &takes_out))
        return NULL;
    Function *self = (Function *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->call = function_call;
    self->takes_out = (char)takes_out;
    if (specialise(self, program, inputs, outputs, single) || set_fallback((PyObject *)self, fallback, NULL)) Py_CLEAR(self);
    return (PyObject *)self;
}

static PyObject *function_specialise(PyObject *object, PyObject *const *args, Py_ssize_t nargs) {
    if (!arity("specialise", nargs, 4, 4)) return NULL;
    int single = PyObject_IsTrue(args[3]);
    if (single < 0 || specialise((Function *)object, args[0], args[1], args[2], single)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *function_specialise_arrays(PyObject *object, PyObject *arrays) {
    if (!Py_IS_TYPE(arrays, &ArrayFunction_Type)) {
        PyErr_Format(PyExc_TypeError, "expected an ArrayFunction, not %.100s", Py_TYPE(arrays)->tp_name);
        return NULL;
    }
    run_this((Function *)object, Py_None, arrays);
    Py_RETURN_NONE;
}

static PyObject *get_arrays(PyObject *object, void *unused) {
    (void)unused;
    PyObject *arrays = ((Function *)object)->arrays;
    return Py_NewRef(arrays ? arrays : Py_None);
}

static PyObject *get_program(PyObject *object, void *unused) {
    (void)unused;
    PyObject *program = (PyObject *)((Function *)object)->program;
    return Py_NewRef(program ? program : Py_None);
}

static int set_program(PyObject *object, PyObject *value, void *unused) {
    (void)unused;
    Function *self = (Function *)object;
    if (!value) value = Py_None;
    if (!fits(value, self->layout)) return -1;
    run_this(self, value, NULL);
    return 0;
}

static PyObject *get_fallback(PyObject *object, void *unused) {
    (void)unused;
    PyObject *fallback = ((Function *)object)->fallback;
    return Py_NewRef(fallback ? fallback : Py_None);
}

static PyObject *get_guards(PyObject *object, void *unused) {
    (void)unused;
    PyObject *guards = ((Function *)object)->guards;
    return guards ? Py_NewRef(guards) : PyTuple_New(0);
}

static int set_guards(PyObject *object, PyObject *value, void *unused) {
    (void)unused;
    Py_ssize_t count = value && PyTuple_CheckExact(value) ? PyTuple_GET_SIZE(value) : -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *guard = PyTuple_GET_ITEM(value, i);
        int fits = PyTuple_CheckExact(guard) && PyTuple_GET_SIZE(guard) == 3;
        PyObject *container = fits ? PyTuple_GET_ITEM(guard, 0) : NULL;
        fits = fits && (PyCell_Check(container) || (PyDict_Check(container) && PyUnicode_CheckExact(PyTuple_GET_ITEM(guard, 1))));
        if (!fits) count = -1;
    }
    if (count < 0) {
        PyErr_SetString(PyExc_TypeError, "guards must be a tuple of (cell, None, object) and (dict, name, object)");
        return -1;
    }
    Py_XSETREF(((Function *)object)->guards, count ? Py_NewRef(value) : NULL);
    return 0;
}

static PyObject *function_get(PyObject *object, PyObject *instance, PyObject *type) {
    (void)type;
    if (!instance || instance == Py_None) return Py_NewRef(object);
    return PyMethod_New(object, instance);
}

static int function_traverse(PyObject *object, visitproc visit, void *arg) {
    Function *self = (Function *)object;
    Py_VISIT(self->fallback);
    Py_VISIT(self->dict);
    Py_VISIT(self->guards);
    Py_VISIT(self->arrays);
    return 0;
}

static int function_clear(PyObject *object) {
    Function *self = (Function *)object;
    Py_CLEAR(self->fallback);
    Py_CLEAR(self->dict);
    Py_CLEAR(self->guards);
    Py_CLEAR(self->arrays);
    return 0;
}

static void function_dealloc(PyObject *object) {
    Function *self = (Function *)object;
    PyObject_GC_UnTrack(object);
    if (self->weak) PyObject_ClearWeakRefs(object);
    function_clear(object);
    Py_CLEAR(self->program);
    Py_CLEAR(self->kept);
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef function_methods[] = {
    {"specialise", (PyCFunction)(void (*)(void))function_specialise, METH_FASTCALL,
     "specialise(program, inputs, outputs, single)\n--\n\nReplace the program and what its arguments are, as one step."},
    {"specialise_arrays", function_specialise_arrays, METH_O,
     "specialise_arrays(array_function)\n--\n\nLet an ArrayFunction take all calls while the guards hold, in place of a program."},
    {0},
};

static PyGetSetDef function_facts[] = {
    {"program", get_program, set_program, "the Program that exact arguments run; None: always fall back", NULL},
    {"arrays", get_arrays, NULL, "the ArrayFunction that takes all calls, or None; setting `program` ends it", NULL},
    {"fallback", get_fallback, set_fallback, "what is called with all other arguments", NULL},
    {"guards", get_guards, set_guards,
     "what must hold for the program to run: (cell, None, object) and (dict, name, object), compared by identity", NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {0},
};

PyTypeObject Function_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hotloop._runner.Function",
    .tp_basicsize = sizeof(Function),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_doc = "Function(program, inputs, outputs, single, fallback, takes_out=False)\n--\n\n"
              "A call that writes its arguments, runs `program` and returns its results as Python numbers.\n\n"
              "inputs, outputs: (kind, offset) for a number, (kind, offset, shape) for an array, one per argument or\n"
              "result; kind is a character of the struct module. Arguments of other types, NumPy scalars and array\n"
              "subclasses among them, keyword arguments, and numbers out of range go to `fallback`. takes_out: `out=`, an\n"
              "array or a tuple of arrays and None, is what results are copied to, if types, shapes and order are right.",
    .tp_new = function_new,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Function, call),
    .tp_descr_get = function_get,
    .tp_dealloc = function_dealloc,
    .tp_traverse = function_traverse,
    .tp_clear = function_clear,
    .tp_methods = function_methods,
    .tp_getset = function_facts,
    .tp_dictoffset = offsetof(Function, dict),
    .tp_weaklistoffset = offsetof(Function, weak),
};

