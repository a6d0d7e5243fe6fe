/* `hotloop._runner`: the runner inside the Python process, and the calls that must cost nothing.
 *
 * Program        one loaded image: the same allocate, copy, patch and seal as any other runner, then run()
 * Function       the fast path of a jitted function: arguments in, run, result out, in one C call
 * ArrayFunction  the same for functions of NumPy arrays: kernels over their elements, on several threads
 * ParallelFunction  the same for data-parallel functions: registers, kernels, sorts and jumps
 * read, write, cpu_features
 *
 * Threads. A program runs with the GIL held, which makes it safe, unless it is `long_running` (or in
 * run_many): then the GIL is released and a mutex of the program is held instead. `shared` says that
 * some thread may be inside without the GIL; whoever touches the memory then takes the mutex.
 */
#define HOTLOOP_IMPORTS_NUMPY
#include "python.h"

/* The errors are imported late: nothing needs them before something goes wrong. */
PyObject *fail(const char *name, const char *format, ...) {
    PyObject *errors = PyImport_ImportModule("hotloop.errors");
    PyObject *type = errors ? PyObject_GetAttrString(errors, name) : NULL;
    Py_XDECREF(errors);
    if (!type) return NULL;
    va_list arguments;
    va_start(arguments, format);
    PyErr_FormatV(type, format, arguments);
    va_end(arguments);
    Py_DECREF(type);
    return NULL;
}

PyObject *fall_back(PyObject *fallback, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    if (!fallback) {
        PyErr_SetString(PyExc_TypeError, "this function was cleared");
        return NULL;
    }
    Py_INCREF(fallback);
    PyObject *result = PyObject_Vectorcall(fallback, args, nargsf, kwnames);
    Py_DECREF(fallback);
    return result;
}

int whole(PyObject *object, const char *name, unsigned long *out) {
    *out = 0;
    if (!object) return 0;
    if (!PyLong_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int, not %.100s", name, Py_TYPE(object)->tp_name);
        return -1;
    }
    *out = PyLong_AsUnsignedLong(object);
    if (!PyErr_Occurred()) return 0;
    PyErr_Clear();
    fail("ImageError", "%s %R lies outside the image", name, object);
    return -1;
}

int arity(const char *name, Py_ssize_t got, Py_ssize_t least, Py_ssize_t most) {
    if (got >= least && got <= most) return 1;
    PyErr_Format(PyExc_TypeError, "%s takes %zd to %zd arguments, not %zd", name, least, most, got);
    return 0;
}

static PyObject *runner_features(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    return PyUnicode_FromString(hl_linux_target());
}

static PyObject *runner_message(PyObject *module, PyObject *status) {
    (void)module;
    long number = PyLong_AsLong(status);
    if (number == -1 && PyErr_Occurred()) return NULL;
    return PyUnicode_FromString(hl_message((hl_status)(number < 0 || number > HL_TOO_LONG ? HL_TOO_LONG + 1 : number)));
}

static PyObject *runner_limits(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    hl_limits limits = hl_port_limits();
    return Py_BuildValue("III", limits.code, limits.data, limits.stack);
}

static PyMethodDef runner_methods[] = {
    {"read", (PyCFunction)(void (*)(void))runner_read, METH_FASTCALL,
     "read(program, kind, offset, count)\n--\n\nReturn a list of `count` numbers, or without count one number."},
    {"write", (PyCFunction)(void (*)(void))runner_write, METH_FASTCALL,
     "write(program, kind, offset, source)\n--\n\nStore a number or a sequence of numbers; all of it or, on an error, none."},
    {"pack", runner_pack, METH_O,
     "pack(source)\n--\n\nReturn a list or tuple of floats alone, or of ints of 64 bits alone, as an array; anything else gives None."},
    {"cpu_features", runner_features, METH_NOARGS,
     "cpu_features()\n--\n\nReturn the best target of this processor: 'x86-64-v3', 'x86-64-v2', ... or 'unknown'."},
    {"message", runner_message, METH_O, "message(status)\n--\n\nReturn what a status of the runner means, as one clause."},
    {"limits", runner_limits, METH_NOARGS, "limits()\n--\n\nReturn the most bytes of code, data and stack a program may have."},
    {"get_threads", runner_get_threads, METH_NOARGS,
     "get_threads()\n--\n\nReturn how many threads work on arrays, the caller's among them."},
    {"set_threads", runner_set_threads, METH_O,
     "set_threads(count)\n--\n\nSet how many threads work on arrays; results do not depend on it."},
    {"parallel_progress", runner_parallel_progress, METH_NOARGS,
     "parallel_progress()\n--\n\nReturn (done, total) elements of a long kernel that runs right now in this process, or (0, 0)."},
    {0},
};

static struct PyModuleDef runner_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hotloop._runner",
    .m_doc = "The runner in this process, and the calls that must cost nothing (see runner/python.c).",
    .m_size = -1,
    .m_methods = runner_methods,
};

PyMODINIT_FUNC PyInit__runner(void) {
    import_array();
    PyObject *module = PyModule_Create(&runner_module);
    if (!module) return NULL;
    PyTypeObject *types[] = {&Program_Type, &Function_Type, &ArrayFunction_Type, &ParallelFunction_Type};
    if (PyType_Ready(&Block_Type)) Py_CLEAR(module);
    for (int i = 0; i < 4 && module; i++)
        if (PyModule_AddType(module, types[i])) Py_CLEAR(module);
    if (module && threads_from_environment()) Py_CLEAR(module);
    return module;
}
