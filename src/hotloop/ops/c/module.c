/* hotloop._elementary: every function of elementary.h over contiguous buffers, for the constant
 * folder and the accuracy tests, so that both see the bits that compiled programs give.
 *
 * Each is called as name_f32(out, a[, b[, c]]), likewise name_f64; `out` may be an operand too.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "elementary.h"

/* At this size a call takes tens of microseconds, well above the cost of giving up the GIL. */
#define RELEASE_GIL_AT 4096

#define UNARY(X)                                                                                   \
    X(sin) X(cos) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(tanh) X(asinh) X(acosh)         \
    X(atanh) X(exp) X(exp2) X(expm1) X(log) X(log2) X(log10) X(log1p) X(cbrt) X(floor) X(ceil)     \
    X(round) X(trunc)
#define BINARY(X) X(atan2) X(pow) X(hypot) X(copysign) X(fmod) X(floordiv) X(mod)
#define TERNARY(X) X(fma)

typedef void (*loop)(char *const *data, Py_ssize_t count);

typedef struct {
    const char *name;
    const char *format; /* of struct: "f" or "d" */
    Py_ssize_t operands;
    loop run;
} function;

#define UNARY_LOOPS(name)                                                                          \
    static void name##_f32_loop(char *const *data, Py_ssize_t count)                               \
    {                                                                                              \
        float *out = (float *)data[0];                                                             \
        const float *a = (const float *)data[1];                                                   \
        for (Py_ssize_t i = 0; i < count; i++)                                                     \
            out[i] = hl_##name##_f32(a[i]);                                                        \
    }                                                                                              \
    static void name##_f64_loop(char *const *data, Py_ssize_t count)                               \
    {                                                                                              \
        double *out = (double *)data[0];                                                           \
        const double *a = (const double *)data[1];                                                 \
        for (Py_ssize_t i = 0; i < count; i++)                                                     \
            out[i] = hl_##name##_f64(a[i]);                                                        \
    }

#define BINARY_LOOPS(name)                                                                         \
    static void name##_f32_loop(char *const *data, Py_ssize_t count)                               \
    {                                                                                              \
        float *out = (float *)data[0];                                                             \
        const float *a = (const float *)data[1], *b = (const float *)data[2];                      \
        for (Py_ssize_t i = 0; i < count; i++)                                                     \
            out[i] = hl_##name##_f32(a[i], b[i]);                                                  \
    }                                                                                              \
    static void name##_f64_loop(char *const *data, Py_ssize_t count)                               \
    {                                                                                              \
        double *out = (double *)data[0];                                                           \
        const double *a = (const double *)data[1], *b = (const double *)data[2];                   \
        for (Py_ssize_t i = 0; i < count; i++)                                                     \
            out[i] = hl_##name##_f64(a[i], b[i]);                                                  \
    }

#define TERNARY_LOOPS(name)                                                                        \
    static void name##_f32_loop(char *const *data, Py_ssize_t count)                               \
    {                                                                                              \
        float *out = (float *)data[0];                                                             \
        const float *a = (const float *)data[1], *b = (const float *)data[2];                      \
        const float *c = (const float *)data[3];                                                   \
        for (Py_ssize_t i = 0; i < count; i++)                                                     \
            out[i] = hl_##name##_f32(a[i], b[i], c[i]);                                            \
    }                                                                                              \
    static void name##_f64_loop(char *const *data, Py_ssize_t count)                               \
    {                                                                                              \
        double *out = (double *)data[0];                                                           \
        const double *a = (const double *)data[1], *b = (const double *)data[2];                   \
        const double *c = (const double *)data[3];                                                 \
        for (Py_ssize_t i = 0; i < count; i++)                                                     \
            out[i] = hl_##name##_f64(a[i], b[i], c[i]);                                            \
    }

UNARY(UNARY_LOOPS)
BINARY(BINARY_LOOPS)
TERNARY(TERNARY_LOOPS)

/* Whether a buffer's format is the native number wanted; "=f" and, here, "<f" are the same. */
static int is_format(const char *given, const char *wanted)
{
    if (given == NULL)
        return 0;
    if (*given == '@' || *given == '=')
        given++;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    else if (*given == '<')
        given++;
#endif
    return strcmp(given, wanted) == 0;
}

/* Take the buffer of one argument; on failure an exception is set and nothing is held. */
static int take(const function *f, PyObject *argument, Py_ssize_t index, Py_buffer *view)
{
    const char *type = *f->format == 'f' ? "float32" : "float64";
    if (!PyObject_CheckBuffer(argument)) {
        PyErr_Format(PyExc_TypeError, "%s: argument %zd must be a %s buffer, not %.100s", f->name,
                     index, type, Py_TYPE(argument)->tp_name);
        return -1;
    }
    if (PyObject_GetBuffer(argument, view, PyBUF_STRIDES | PyBUF_FORMAT) < 0)
        return -1;
    if (!is_format(view->format, f->format))
        PyErr_Format(PyExc_TypeError,
                     "%s: argument %zd must hold %s (format '%s'), not format '%s'", f->name, index,
                     type, f->format, view->format ? view->format : "B");
    else if (!PyBuffer_IsContiguous(view, 'C'))
        PyErr_Format(PyExc_ValueError, "%s: argument %zd must be C-contiguous", f->name, index);
    else if (index == 0 && view->readonly)
        PyErr_Format(PyExc_ValueError, "%s: argument 0, the output, is read-only", f->name);
    else
        return 0;
    PyBuffer_Release(view);
    return -1;
}

/* All arguments are held: check that sizes agree, then run. */
static int run(const function *f, const Py_buffer *views)
{
    char *data[4];
    for (Py_ssize_t i = 0; i <= f->operands; i++) {
        if (views[i].len != views[0].len) {
            PyErr_Format(PyExc_ValueError, "%s: argument %zd holds %zd numbers, the output %zd",
                         f->name, i, views[i].len / views[i].itemsize,
                         views[0].len / views[0].itemsize);
            return -1;
        }
        data[i] = views[i].buf;
    }
    Py_ssize_t count = views[0].len / views[0].itemsize;
    if (count < RELEASE_GIL_AT) {
        f->run(data, count);
    } else {
        Py_BEGIN_ALLOW_THREADS
        f->run(data, count);
        Py_END_ALLOW_THREADS
    }
    return 0;
}

static PyObject *call(const function *f, PyObject *const *arguments, Py_ssize_t count)
{
    Py_buffer views[4];
    Py_ssize_t held = 0;
    if (count != f->operands + 1)
        return PyErr_Format(PyExc_TypeError,
                            "%s takes an output and %zd operands, got %zd arguments", f->name,
                            f->operands, count);
    while (held < count && take(f, arguments[held], held, &views[held]) == 0)
        held++;
    int failed = held < count || run(f, views) < 0;
    while (held > 0)
        PyBuffer_Release(&views[--held]);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

#define ENTRY(name, type, code, operands)                                                          \
    static PyObject *name##_##type(PyObject *self, PyObject *const *arguments, Py_ssize_t count)   \
    {                                                                                              \
        static const function f = {#name "_" #type, code, operands, name##_##type##_loop};         \
        (void)self;                                                                                \
        return call(&f, arguments, count);                                                         \
    }
#define UNARY_ENTRIES(name) ENTRY(name, f32, "f", 1) ENTRY(name, f64, "d", 1)
#define BINARY_ENTRIES(name) ENTRY(name, f32, "f", 2) ENTRY(name, f64, "d", 2)
#define TERNARY_ENTRIES(name) ENTRY(name, f32, "f", 3) ENTRY(name, f64, "d", 3)

UNARY(UNARY_ENTRIES)
BINARY(BINARY_ENTRIES)
TERNARY(TERNARY_ENTRIES)

#define METHOD(name, type, doc)                                                                    \
    {#name "_" #type, (PyCFunction)(void (*)(void))name##_##type, METH_FASTCALL, PyDoc_STR(doc)},
#define UNARY_METHODS(name)                                                                        \
    METHOD(name, f32, #name "_f32(out, x): out[i] = " #name "(x[i]) in float32.")                  \
    METHOD(name, f64, #name "_f64(out, x): out[i] = " #name "(x[i]) in float64.")
#define BINARY_METHODS(name)                                                                       \
    METHOD(name, f32, #name "_f32(out, x, y): out[i] = " #name "(x[i], y[i]) in float32.")         \
    METHOD(name, f64, #name "_f64(out, x, y): out[i] = " #name "(x[i], y[i]) in float64.")
#define TERNARY_METHODS(name)                                                                      \
    METHOD(name, f32, #name "_f32(out, x, y, z): out[i] = " #name "(x[i], y[i], z[i]), float32.")  \
    METHOD(name, f64, #name "_f64(out, x, y, z): out[i] = " #name "(x[i], y[i], z[i]), float64.")

static PyMethodDef methods[] = {
    UNARY(UNARY_METHODS) BINARY(BINARY_METHODS) TERNARY(TERNARY_METHODS){NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "hotloop._elementary",
    .m_doc = PyDoc_STR("hotloop's elementary functions over contiguous float buffers."),
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__elementary(void);

PyMODINIT_FUNC PyInit__elementary(void)
{
    return PyModuleDef_Init(&module);
}
