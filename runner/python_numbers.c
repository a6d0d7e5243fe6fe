/* Python numbers to memory and back: `read` and `write`, and what kinds of elements there are. */
#include "python.h"

static const Kind kinds[] = {
    {'f', 4, 1, NPY_FLOAT32, "float32", 0, 0},
    {'d', 8, 1, NPY_FLOAT64, "float64", 0, 0},
    {'?', 1, 0, NPY_BOOL, "bool", 0, 1},
    {'i', 4, 0, NPY_INT32, "int32", INT32_MIN, INT32_MAX},
    {'q', 8, 0, NPY_INT64, "int64", INT64_MIN, INT64_MAX},
    {'b', 1, 0, NPY_INT8, "int8", INT8_MIN, INT8_MAX},
    {'B', 1, 0, NPY_UINT8, "uint8", 0, UINT8_MAX},
    {'h', 2, 0, NPY_INT16, "int16", INT16_MIN, INT16_MAX},
    {'H', 2, 0, NPY_UINT16, "uint16", 0, UINT16_MAX},
    {'I', 4, 0, NPY_UINT32, "uint32", 0, UINT32_MAX},
    {'Q', 8, 0, NPY_UINT64, "uint64", 0, UINT64_MAX},
};

const Kind *kind_of(PyObject *object) {
    long code = -1;
    if (PyUnicode_Check(object) && PyUnicode_GetLength(object) == 1) code = (long)PyUnicode_READ_CHAR(object, 0);
    else if (PyBytes_Check(object) && PyBytes_GET_SIZE(object) == 1) code = PyBytes_AS_STRING(object)[0];
    else if (PyLong_Check(object)) code = PyLong_AsLong(object);
    if (code == -1 && PyErr_Occurred()) PyErr_Clear();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].code == code) return &kinds[i];
    fail("TypeMismatch", "%R is not a kind of element. Use one of f d ? i q b B h H I Q.", object);
    return NULL;
}

int store_numpy_scalar(char code, uint8_t *at, PyObject *object) {
#define STORE(name) \
    if (!Py_IS_TYPE(object, &Py##name##ArrType_Type)) return 0; \
    memcpy(at, &PyArrayScalar_VAL(object, name), sizeof PyArrayScalar_VAL(object, name)); \
    return 1
    switch (code) {
    case 'f': STORE(Float32);
    case 'd': STORE(Float64);
    case 'i': STORE(Int32);
    case 'q': STORE(Int64);
    default: STORE(Bool);
    }
#undef STORE
}

static PyObject *no_fit(const Kind *kind, PyObject *object, Py_ssize_t index) {
    if (index < 0) return fail("RangeError", "%R does not fit %s", object, kind->name);
    return fail("RangeError", "item %zd: %R does not fit %s", index, object, kind->name);
}

static int store_integer(const Kind *kind, uint8_t *at, PyObject *object, Py_ssize_t index) {
    PyObject *number = PyNumber_Index(object);
    if (!number) return -1;
    int overflow;
    int64_t value = PyLong_AsLongLongAndOverflow(number, &overflow);
    uint64_t bits = (uint64_t)value;
    int fits = !overflow && value >= kind->low && (value < 0 || bits <= kind->high);
    if (overflow > 0 && kind->high == UINT64_MAX) {
        bits = PyLong_AsUnsignedLongLong(number);
        fits = !PyErr_Occurred();
        PyErr_Clear();
    }
    if (fits) memcpy(at, &bits, kind->size); /* little endian, as every target here */
    else no_fit(kind, number, index);
    Py_DECREF(number);
    return fits ? 0 : -1;
}

/* Store any number that converts without loss of meaning. `index` -1: not in a sequence. */
static int store(const Kind *kind, uint8_t *at, PyObject *object, Py_ssize_t index) {
    if (store_exact(kind->code, at, object)) return 0;
    if (!kind->is_float) {
        if (kind->code == '?' && PyArray_IsScalar(object, Bool)) {
            *at = PyArrayScalar_VAL(object, Bool) != 0;
            return 0;
        }
        return store_integer(kind, at, object, index);
    }
    double value = PyFloat_AsDouble(object); /* also ints, and whatever has __float__ */
    if (value == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return -1;
        PyErr_Clear();
        no_fit(kind, object, index);
        return -1;
    }
    if (kind->code == 'd') {
        memcpy(at, &value, sizeof value);
        return 0;
    }
    float narrow = (float)value;
    if (isinf(narrow) && !isinf(value)) {
        no_fit(kind, object, index);
        return -1;
    }
    memcpy(at, &narrow, sizeof narrow);
    return 0;
}

/* Bytes [offset, offset + size * count) of the data region, or NULL with an exception. */
static uint8_t *region(const Program *program, size_t size, Py_ssize_t offset, Py_ssize_t count) {
    size_t limit = program->runner.data_size;
    if (offset >= 0 && count >= 0 && (size_t)offset <= limit && (size_t)count <= (limit - (size_t)offset) / size)
        return program->runner.memory.data + offset;
    fail("ImageError", "%zd elements of %zu bytes at offset %zd lie outside the data region of %zu bytes", count,
         size, offset, limit);
    return NULL;
}

static inline __attribute__((always_inline)) int load_items(char code, size_t size, const uint8_t *at, PyObject *list,
                                                            Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++, at += size) {
        PyObject *item = load(code, at);
        if (!item) return -1;
        PyList_SET_ITEM(list, i, item);
    }
    return 0;
}

PyObject *runner_read(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)module;
    if (!arity("read", nargs, 3, 4) || !is_program(args[0])) return NULL;
    Program *program = (Program *)args[0];
    const Kind *kind = kind_of(args[1]);
    if (!kind) return NULL;
    Py_ssize_t offset = PyLong_AsSsize_t(args[2]), count = nargs == 4 ? PyLong_AsSsize_t(args[3]) : 1;
    if ((offset == -1 || count == -1) && PyErr_Occurred()) return NULL;
    const uint8_t *at = region(program, kind->size, offset, count);
    if (!at) return NULL;
    if (nargs == 3) return load(kind->code, at);
    PyObject *list = PyList_New(count); /* first: making it may run the garbage collector */
    if (!list) return NULL;
    int shared = program->shared;
    if (shared) enter(program);
    int failed;
    switch (kind->code) { /* one loop for each common kind, so that the compiler sees which */
    case 'f': failed = load_items('f', 4, at, list, count); break;
    case 'd': failed = load_items('d', 8, at, list, count); break;
    case 'i': failed = load_items('i', 4, at, list, count); break;
    case 'q': failed = load_items('q', 8, at, list, count); break;
    default: failed = load_items(kind->code, kind->size, at, list, count);
    }
    if (failed) Py_CLEAR(list);
    if (shared) leave(program);
    return list;
}

/* How many leading items are exactly what `code` wants; they are stored. Runs no Python code. */
static inline __attribute__((always_inline)) Py_ssize_t store_leading(char code, size_t size, uint8_t *at,
                                                                      PyObject *const *items, Py_ssize_t count) {
    Py_ssize_t i = 0;
    while (i < count && store_exact(code, at + (size_t)i * size, items[i])) i++;
    return i;
}

static Py_ssize_t store_plain(const Kind *kind, uint8_t *at, PyObject *const *items, Py_ssize_t count) {
    switch (kind->code) { /* one loop for each common kind, so that the compiler sees which */
    case 'f': return store_leading('f', 4, at, items, count);
    case 'd': return store_leading('d', 8, at, items, count);
    case 'i': return store_leading('i', 4, at, items, count);
    default: return store_leading(kind->code, kind->size, at, items, count);
    }
}

/* Converting an item may run Python code, which may change the list: look at it anew each time. */
static int store_items(const Kind *kind, uint8_t *staged, PyObject *items, Py_ssize_t count) {
    Py_ssize_t i = 0;
    for (;;) {
        if (PySequence_Fast_GET_SIZE(items) != count) {
            fail("ShapeError", "the list changed its length while it was written");
            return -1;
        }
        uint8_t *at = staged + (size_t)i * kind->size;
        i += store_plain(kind, at, PySequence_Fast_ITEMS(items) + i, count - i);
        if (i == count) return 0;
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(items, i));
        int failed = store(kind, staged + (size_t)i * kind->size, item, i);
        Py_DECREF(item);
        if (failed) return -1;
        i++;
    }
}

static void put(Program *program, uint8_t *at, const uint8_t *bytes, size_t size) {
    int shared = program->shared;
    if (shared) enter(program);
    memcpy(at, bytes, size);
    if (shared) leave(program);
}

static int write_items(Program *program, const Kind *kind, Py_ssize_t offset, PyObject *items) {
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    uint8_t *at = region(program, kind->size, offset, count);
    if (!at) return -1;
    uint8_t few[4096], *staged = few; /* all items are converted before the first is written */
    size_t size = (size_t)count * kind->size;
    if (size > sizeof few && !(staged = PyMem_Malloc(size))) {
        PyErr_NoMemory();
        return -1;
    }
    int failed = store_items(kind, staged, items, count);
    if (!failed) put(program, at, staged, size);
    if (staged != few) PyMem_Free(staged);
    return failed;
}

PyObject *runner_write(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)module;
    if (!arity("write", nargs, 4, 4) || !is_program(args[0])) return NULL;
    Program *program = (Program *)args[0];
    const Kind *kind = kind_of(args[1]);
    if (!kind) return NULL;
    Py_ssize_t offset = PyLong_AsSsize_t(args[2]);
    if (offset == -1 && PyErr_Occurred()) return NULL;
    PyObject *source = args[3];
    int no_length = PyUnicode_Check(source) || (PyArray_Check(source) && !PyArray_NDIM((PyArrayObject *)source));
    if (PySequence_Check(source) && !no_length) {
        PyObject *items = PySequence_Fast(source, "write needs a number or a sequence of numbers");
        if (!items) return NULL;
        int failed = write_items(program, kind, offset, items);
        Py_DECREF(items);
        if (failed) return NULL;
    } else {
        uint8_t number[8], *at = region(program, kind->size, offset, 1);
        if (!at || store(kind, number, source, -1)) return NULL;
        put(program, at, number, kind->size);
    }
    Py_RETURN_NONE;
}

/* A list or tuple of nothing but floats, or nothing but ints of 64 bits, as an array; else None. */
PyObject *runner_pack(PyObject *module, PyObject *source) {
    (void)module;
    if (!PyList_CheckExact(source) && !PyTuple_CheckExact(source)) Py_RETURN_NONE;
    npy_intp count = PySequence_Fast_GET_SIZE(source);
    int is_float = count && PyFloat_CheckExact(PySequence_Fast_GET_ITEM(source, 0));
    if (!is_float && !(count && PyLong_CheckExact(PySequence_Fast_GET_ITEM(source, 0)))) Py_RETURN_NONE;
    PyObject *array = PyArray_SimpleNew(1, &count, is_float ? NPY_FLOAT64 : NPY_INT64);
    if (!array) return NULL;
    uint8_t *at = PyArray_DATA((PyArrayObject *)array);
    /* making the array may have run the garbage collector, and that anything */
    int same = PySequence_Fast_GET_SIZE(source) == count;
    if (same && store_plain(&kinds[is_float ? 1 : 4], at, PySequence_Fast_ITEMS(source), count) == count) return array;
    Py_DECREF(array);
    Py_RETURN_NONE;
}
