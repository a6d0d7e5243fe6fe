/* Register allocation and emission: the one table-driven loop between a Program and machine code.
 *
 * Linear scan over straight-line code with loops. A value sits in a register until the register is
 * needed by one that is used sooner (Belady's rule: evict the farthest next use). Around loops the
 * state is fixed: carried values and some invariants are pinned to registers, all else is in memory,
 * so that the back edge needs no repair. Nothing here knows a target: registers, stencils and their
 * holes are tables of the Library (stencils/format.py).
 *
 * Instructions are six int32: op, dst, a, b, c, immediate; operands are value numbers or -1.
 */
#include "emit.h"

static void library_dealloc(PyObject *object) {
    Library *self = (Library *)object;
    for (int i = 0; i < TABLES; i++)
        if (self->buffers[i].obj) PyBuffer_Release(&self->buffers[i]);
    Py_TYPE(object)->tp_free(object);
}

static int library_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    Library *self = (Library *)object;
    (void)keywords;
    if (self->code) {
        PyErr_SetString(PyExc_TypeError, "a library is initialised once");
        return -1;
    }
    Py_buffer *b = self->buffers;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*y*y*y*y*y*(ii)(ii)i", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &b[6], &b[7],
                          &b[8], &b[9], &b[10], &self->count[1], &self->count[2], &self->saved[1], &self->saved[2], &self->kept))
        return -1;
    self->stencils = b[0].buf;
    self->variants = b[1].buf;
    self->fields = b[2].buf;
    self->xors = b[3].buf;
    self->patches = b[4].buf;
    self->items = b[5].buf;
    self->item_count = b[5].len / (Py_ssize_t)sizeof(Item);
    self->overloads = b[6].buf;
    self->forms = b[7].buf;
    self->classes = b[8].buf;
    self->basics = b[9].buf;
    self->code = b[10].buf;
    return 0;
}

static PyTypeObject Library_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hotloop._emit.Library",
    .tp_doc = "The tables of a stencil library, as the emitter reads them.",
    .tp_basicsize = sizeof(Library),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = library_init,
    .tp_dealloc = library_dealloc,
};

static int state_open(State *s) {
    size_t n = (size_t)s->length + 1;
    s->value = PyMem_RawCalloc((size_t)s->values + 1, sizeof *s->value);
    s->next = PyMem_RawMalloc(n * sizeof *s->next);
    s->next_call = PyMem_RawMalloc(n * sizeof *s->next_call);
    s->loops = PyMem_RawCalloc((size_t)s->loop_count + 1, sizeof *s->loops);
    s->carry_uses = PyMem_RawCalloc((size_t)s->carry_count + 1, sizeof *s->carry_uses);
    return s->value && s->next && s->next_call && s->loops && s->carry_uses ? 0 : -1;
}

static void state_close(State *s) {
    PyMem_RawFree(s->value);
    PyMem_RawFree(s->next);
    PyMem_RawFree(s->next_call);
    PyMem_RawFree(s->loops);
    PyMem_RawFree(s->carry_uses);
    PyMem_RawFree(s->out.items);
    PyMem_RawFree(s->fixups.items);
    PyMem_RawFree(s->through.items);
    PyMem_RawFree(s->exits.items);
    PyMem_RawFree(s->free_slots[0].items);
    PyMem_RawFree(s->free_slots[1].items);
    PyMem_RawFree(s->free_slots[2].items);
}

static PyObject *assemble(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *library;
    Py_buffer code, values, loops, carries;
    long long data_size, spill, spill_end;
    if (!PyArg_ParseTuple(arguments, "O!y*y*y*y*L(LL)", &Library_Type, &library, &code, &values, &loops, &carries, &data_size, &spill, &spill_end))
        return NULL;
    State state = {.lib = (Library *)library, .code = code.buf, .info = values.buf, .loop_info = loops.buf, .carries = carries.buf};
    State *s = &state;
    s->length = (int32_t)(code.len / (Py_ssize_t)sizeof(Instruction));
    s->values = (int32_t)(values.len / (Py_ssize_t)sizeof(ValueInfo));
    s->loop_count = (int32_t)(loops.len / (Py_ssize_t)sizeof(LoopInfo));
    s->carry_count = (int32_t)(carries.len / (Py_ssize_t)sizeof(Carry));
    s->data_size = data_size;
    s->spill = spill;
    s->spill_end = spill_end;
    PyObject *result = NULL;
    if (state_open(s) < 0) s->failed = NO_MEMORY;
    Py_BEGIN_ALLOW_THREADS
    if (!s->failed) assemble_state(s);
    Py_END_ALLOW_THREADS
    if (s->failed == NO_MEMORY) PyErr_NoMemory();
    else if (s->failed == NO_STENCIL) PyErr_SetString(PyExc_NotImplementedError, "an operation has no stencil");
    else if (s->failed == TOO_FAR) PyErr_SetString(PyExc_OverflowError, "a jump or a constant is farther away than this target's instructions reach");
    else if (s->failed) PyErr_SetString(PyExc_AssertionError, "the register allocator ran out of registers");
    else
        result = Py_BuildValue("y#LL(iiii)LLi", s->out.items, s->out.count, (long long)s->entry, (long long)s->data_size, s->stencils_put, s->stores,
                               s->loads, s->moves, s->unbounded ? -1LL : (long long)s->executed, s->unbounded ? -1LL : (long long)s->machine, s->deepest);
    state_close(s);
    PyBuffer_Release(&code);
    PyBuffer_Release(&values);
    PyBuffer_Release(&loops);
    PyBuffer_Release(&carries);
    return result;
}

static PyMethodDef methods[] = {
    {"assemble", assemble, METH_VARARGS,
     "assemble(library, instructions, values, loops, carries, data_size, (first, end) of places for spilled values) ->\n"
     "(code, entry, data_size, (stencils, stores, loads, moves), stencils of one run or -1, the machine's instructions or -1, bytes of stack of helpers)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "hotloop._emit", .m_doc = "Register allocation and emission of stencils.", .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__emit(void);
PyMODINIT_FUNC PyInit__emit(void) {
    if (PyType_Ready(&Library_Type) < 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddObjectRef(module, "Library", (PyObject *)&Library_Type) < 0) return NULL;
    return module;
}
