/* What the files of the extension module `hotloop._runner` share (python.c tells what it is). */
#ifndef HOTLOOP_PYTHON_H
#define HOTLOOP_PYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#define NPY_NO_DEPRECATED_API NPY_1_23_API_VERSION
#define NPY_TARGET_VERSION NPY_1_23_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL hotloop_runner_numpy
#ifndef HOTLOOP_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>
#include <numpy/arrayscalars.h>

#include <math.h>
#include <stdint.h>

#include "linux.h"

/* ---------------------------------------------------------------- refusals, in python.c */

/* Raise hotloop.errors.NAME; returns NULL. */
PyObject *fail(const char *name, const char *format, ...);

/* Call what a function leaves to Python; the call may replace it. NULL: the collector has cleared the function. */
PyObject *fall_back(PyObject *fallback, PyObject *const *args, size_t nargsf, PyObject *kwnames);

/* Convert an offset or size; what does not fit 64 bits is as wrong as what does not fit the region.
 * 0 on success; a missing object is 0. */
int whole(PyObject *object, const char *name, unsigned long *out);

/* Whether a function got an allowed number of arguments; raises if not. */
int arity(const char *name, Py_ssize_t got, Py_ssize_t least, Py_ssize_t most);

/* Whether the names of keyword arguments are "out" alone. */
static inline int only_out(PyObject *names) {
    return PyTuple_GET_SIZE(names) == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "out") == 0;
}

/* ------------------------------------------------------------ numbers, python_numbers.c */

typedef struct {
    char code; /* as in the struct module */
    uint8_t size, is_float, numpy;
    const char *name;
    int64_t low;
    uint64_t high;
} Kind;

/* The kind that a one-character str, a bytes of length one or a code number names; NULL: raised. */
const Kind *kind_of(PyObject *object);

PyObject *runner_read(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *runner_write(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *runner_pack(PyObject *module, PyObject *source);

/* Store an object of exactly the Python type that `code` calls for; 0: something else, or no fit. */
static inline int store_exact(char code, uint8_t *at, PyObject *object) {
    switch (code) {
    case 'f': {
        if (!PyFloat_CheckExact(object)) return 0;
        double wide = PyFloat_AS_DOUBLE(object);
        float value = (float)wide;
        if (isinf(value) && !isinf(wide)) return 0;
        memcpy(at, &value, sizeof value);
        return 1;
    }
    case 'd': {
        if (!PyFloat_CheckExact(object)) return 0;
        double value = PyFloat_AS_DOUBLE(object);
        memcpy(at, &value, sizeof value);
        return 1;
    }
    case '?':
        if (!PyBool_Check(object)) return 0;
        *at = object == Py_True;
        return 1;
    case 'i':
    case 'q': {
        if (!PyLong_CheckExact(object)) return 0;
        int overflow;
        int64_t value = PyLong_AsLongLongAndOverflow(object, &overflow);
        if (overflow) return 0;
        if (code == 'q') memcpy(at, &value, 8);
        else {
            int32_t narrow = (int32_t)value;
            if (narrow != value) return 0;
            memcpy(at, &narrow, 4);
        }
        return 1;
    }
    default: return 0;
    }
}

/* Store a number of exactly NumPy's type for a kind; 0: it is something else. */
int store_numpy_scalar(char code, uint8_t *at, PyObject *object);

/* Whether elements are of this kind; NumPy has two types of the same 64-bit integers. */
static inline int is_kind(PyArrayObject *array, const Kind *kind) {
    int type = PyArray_TYPE(array);
    if (type == NPY_LONGLONG) type = NPY_INT64;
    if (type == NPY_ULONGLONG) type = NPY_UINT64;
    return type == kind->numpy && PyArray_ISNOTSWAPPED(array);
}

/* A Python number from memory. */
static inline PyObject *load(char code, const uint8_t *at) {
#define LOAD(type, make) { type value; memcpy(&value, at, sizeof value); return make(value); }
    switch (code) {
    case 'f': LOAD(float, PyFloat_FromDouble)
    case 'd': LOAD(double, PyFloat_FromDouble)
    case '?': return PyBool_FromLong(*at);
    case 'i': LOAD(int32_t, PyLong_FromLong)
    case 'q': LOAD(int64_t, PyLong_FromLongLong)
    case 'b': return PyLong_FromLong((int8_t)*at);
    case 'B': return PyLong_FromLong(*at);
    case 'h': LOAD(int16_t, PyLong_FromLong)
    case 'H': LOAD(uint16_t, PyLong_FromLong)
    case 'I': LOAD(uint32_t, PyLong_FromUnsignedLong)
    default: LOAD(uint64_t, PyLong_FromUnsignedLongLong)
    }
#undef LOAD
}

/* ------------------------------------------------- without the GIL, python_unlocked.c */

static const double HANDOVER = 20e6; /* picoseconds of work from which on the GIL is released */

/* Whether Python calls the handlers of signals on this thread. */
int is_main_thread(void);

/* Whether a signal's handler raises something, as that of Ctrl-C does; called without the GIL, with the address
 * of the PyThreadState * that PyEval_SaveThread gave. */
int is_interrupted(void *caller);

/* ------------------------------------------------------------ Program, python_program.c */

typedef struct {
    PyObject_HEAD
    hl_runner runner;
    PyThread_type_lock mutex;
    PyObject *weak;
    int shared; /* how many reasons there are to run without the GIL: long_running, run_many */
    char long_running;
} Program;

extern PyTypeObject Program_Type;

int is_program(PyObject *object); /* raises if not */

/* Take the mutex, with the GIL given up while another thread has it. */
static inline void enter(Program *self) {
    if (PyThread_acquire_lock(self->mutex, NOWAIT_LOCK) == PY_LOCK_ACQUIRED) return;
    Py_BEGIN_ALLOW_THREADS
    PyThread_acquire_lock(self->mutex, WAIT_LOCK);
    Py_END_ALLOW_THREADS
}

static inline void leave(Program *self) { PyThread_release_lock(self->mutex); }

/* Run with the mutex held and the GIL released; returns with the GIL and still the mutex. */
static inline void call_unlocked(Program *self) {
    Py_BEGIN_ALLOW_THREADS
    hl_call(&self->runner);
    Py_END_ALLOW_THREADS
}

/* ---------------------------------------------------------- Function, python_function.c */

extern PyTypeObject Function_Type;

/* ------------------------------------------- ArrayFunction and its threads, python_arrays.c */

extern PyTypeObject ArrayFunction_Type;

PyObject *call_arrays(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames); /* a vectorcall */

PyObject *runner_get_threads(PyObject *module, PyObject *none);
PyObject *runner_set_threads(PyObject *module, PyObject *count);
int threads_from_environment(void); /* HOTLOOP_NUM_THREADS; -1: raised */

/* -------------------------------------------- ParallelFunction, python_parallel.c */

extern PyTypeObject ParallelFunction_Type, Block_Type;

PyObject *runner_parallel_progress(PyObject *module, PyObject *none);

#endif
