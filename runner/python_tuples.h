/* Reading the tuples of plans: what is wrong is refused with a reason. */
#ifndef HOTLOOP_PYTHON_TUPLES_H
#define HOTLOOP_PYTHON_TUPLES_H

#include "python.h"

enum { MOST_ITEMS = 1 << 16 }; /* of a tuple */

/* Raise what is wrong with an entry of a plan; returns -1. */
int refuse(const char *what, PyObject *entry);

/* How many items a tuple has; -1 with an exception if it is none. */
int count_of(PyObject *object, const char *what);

/* Memory for a table that dealloc frees; never NULL for lack of items. */
void *table(int count, size_t size);

int is_text(PyObject *object, const char *text);

/* Whether an entry is a tuple that starts with this text. */
int is_tagged(PyObject *entry, const char *text);

/* An int from `least` to `most`, else -2 with an exception. */
Py_ssize_t number_from(PyObject *object, Py_ssize_t least, Py_ssize_t most, const char *what);

/* Where `size` bytes of the data block start. */
int offset_from(const Program *program, PyObject *object, size_t size, uint32_t *out);

/* Where machine code starts. */
int entry_from(const Program *program, PyObject *object, uint32_t *out);

/* The kind of an argument that is a number: "d" is Python's float, "nd" NumPy's float64. `scalar`: whether it is
 * NumPy's. NULL: raised. */
const Kind *number_kind(PyObject *object, char *scalar);

#endif
