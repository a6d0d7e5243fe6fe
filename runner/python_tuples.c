/* See python_tuples.h. */
#include "python_tuples.h"

int refuse(const char *what, PyObject *entry) {
    fail("ImageError", "plan: %s: %R", what, entry);
    return -1;
}

int count_of(PyObject *object, const char *what) {
    if (PyTuple_Check(object) && PyTuple_GET_SIZE(object) <= MOST_ITEMS) return (int)PyTuple_GET_SIZE(object);
    PyErr_Format(PyExc_TypeError, "plan: %s must be a tuple of at most %d items, not %.100s", what, MOST_ITEMS, Py_TYPE(object)->tp_name);
    return -1;
}

void *table(int count, size_t size) {
    void *made = PyMem_Calloc(count ? (size_t)count : 1, size);
    if (!made) PyErr_NoMemory();
    return made;
}

int is_text(PyObject *object, const char *text) {
    return PyUnicode_Check(object) && PyUnicode_CompareWithASCIIString(object, text) == 0;
}

int is_tagged(PyObject *entry, const char *text) {
    return PyTuple_Check(entry) && PyTuple_GET_SIZE(entry) > 0 && is_text(PyTuple_GET_ITEM(entry, 0), text);
}

Py_ssize_t number_from(PyObject *object, Py_ssize_t least, Py_ssize_t most, const char *what) {
    Py_ssize_t number = PyLong_Check(object) ? PyLong_AsSsize_t(object) : least - 1;
    if (number >= least && number <= most && !PyErr_Occurred()) return number;
    PyErr_Clear();
    fail("ImageError", "plan: %s must be an int from %zd to %zd, not %R", what, least, most, object);
    return -2;
}

int offset_from(const Program *program, PyObject *object, size_t size, uint32_t *out) {
    Py_ssize_t offset = number_from(object, 0, (Py_ssize_t)program->runner.data_size - (Py_ssize_t)size, "an offset in the data block");
    *out = (uint32_t)offset;
    return offset < 0 ? -1 : 0;
}

int entry_from(const Program *program, PyObject *object, uint32_t *out) {
    Py_ssize_t entry = number_from(object, 0, (Py_ssize_t)program->runner.code_size - 1, "an entry");
    *out = (uint32_t)entry;
    return entry < 0 ? -1 : 0;
}

const Kind *number_kind(PyObject *object, char *scalar) {
    *scalar = PyUnicode_Check(object) && PyUnicode_GetLength(object) == 2 && PyUnicode_READ_CHAR(object, 0) == 'n';
    PyObject *code = *scalar ? PyUnicode_Substring(object, 1, 2) : Py_NewRef(object);
    const Kind *kind = code ? kind_of(code) : NULL;
    Py_XDECREF(code);
    if (!kind || strchr("fd?iq", kind->code)) return kind;
    refuse("no number has this kind", object);
    return NULL;
}
