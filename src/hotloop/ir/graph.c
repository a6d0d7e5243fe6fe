/* The node store of `ir/graph.py`: interned nodes, the common case of `apply`, and scalar operators.
 *
 * It is here and not in Python because one traced operation must cost a fraction of a microsecond
 * (docs/notes/graph-in-c.md). Everything that is not the common case - promotion, folding, broadcasting,
 * literals that may not fit - is `apply_general` in graph.py.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <structmember.h>
#include <stdint.h>

/* PLAIN and POWER constants: see constant_flags */
enum { CONSTANT = 1, PLAIN = 2, STATEFUL = 4, EXTRA = 8, POWER = 16 };

typedef struct Node {
    PyObject_VAR_HEAD
    int64_t id;
    uint64_t hash;
    PyObject *op, *attr, *dtype, *shape;
    PyObject *code; /* where in the user's program */
    int instruction;
    uint32_t flags;
    uint64_t mark; /* the last walk that saw this node */
    struct Node *args[];
} Node;

typedef struct {
    PyObject_HEAD
    Node *node;
} Scalar;

static PyTypeObject Node_Type;
static PyTypeObject Scalar_Type;

/* ------------------------------------------------------------------------ the intern table
 * Open addressing over borrowed pointers: a node removes itself when it dies, so the table keeps
 * nothing alive. `version` tells a probe during which
 * Python code ran (attr comparison, the collector) and changed the table to start again. */

static Node **table;
static size_t table_size, table_used; /* used counts tombstones too */
static uint64_t version, next_id, walk;
#define TOMBSTONE ((Node *)1)

static uint64_t mix(uint64_t h, uint64_t v) {
    h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
    return h * 0xff51afd7ed558ccdu;
}

static int table_resize(void) {
    size_t live = 0, size = 8192;
    for (size_t i = 0; i < table_size; i++) live += table[i] > TOMBSTONE;
    while (size < live * 4) size *= 2;
    Node **fresh = PyMem_RawCalloc(size, sizeof(Node *));
    if (!fresh) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < table_size; i++) {
        if (table[i] <= TOMBSTONE) continue;
        size_t at = table[i]->hash & (size - 1);
        while (fresh[at]) at = (at + 1) & (size - 1);
        fresh[at] = table[i];
    }
    PyMem_RawFree(table);
    table = fresh;
    table_size = size;
    table_used = live;
    version++;
    return 0;
}

static void table_remove(Node *node) {
    size_t at = node->hash & (table_size - 1);
    while (table[at] != node) {
        if (!table[at]) return;
        at = (at + 1) & (table_size - 1);
    }
    table[at] = TOMBSTONE;
    version++;
}

/* ------------------------------------------------------------------------------------ nodes */

static Node *dying; /* nodes that wait for their operands to be released, linked through mark */
static int releasing;

static void node_clear_fields(Node *self) {
    Py_CLEAR(self->attr);
    Py_CLEAR(self->op);
    Py_CLEAR(self->dtype);
    Py_CLEAR(self->shape);
    Py_CLEAR(self->code);
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) Py_CLEAR(self->args[i]);
}

/* Depth of a graph is unbounded, the C stack is not: operands that die are queued, not recursed. */
static void node_dealloc(PyObject *object) {
    Node *self = (Node *)object;
    if (PyObject_GC_IsTracked(object)) PyObject_GC_UnTrack(object);
    table_remove(self);
    if (releasing) {
        self->mark = (uint64_t)(uintptr_t)dying;
        dying = self;
        return;
    }
    releasing = 1;
    for (;;) {
        node_clear_fields(self);
        PyObject_GC_Del(self);
        if (!dying) break;
        self = dying;
        dying = (Node *)(uintptr_t)self->mark;
    }
    releasing = 0;
}

static int node_traverse(PyObject *object, visitproc visit, void *arg) {
    Node *self = (Node *)object;
    Py_VISIT(self->attr);
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) Py_VISIT(self->args[i]);
    return 0;
}

static int node_clear(PyObject *object) {
    /* A cycle goes through a state's cell; dropping attr breaks it and leaves the operands valid. */
    Py_CLEAR(((Node *)object)->attr);
    return 0;
}

static PyObject *package; /* files below it are not the user's */

static PyObject *user_frame(void) {
    PyFrameObject *frame = PyEval_GetFrame();
    Py_XINCREF(frame);
    while (frame) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        Py_ssize_t inside = package ? PyUnicode_Tailmatch(code->co_filename, package, 0, PY_SSIZE_T_MAX, -1) : 0;
        Py_DECREF(code);
        if (inside != 1) break;
        PyFrameObject *back = PyFrame_GetBack(frame);
        if (!back) break;
        Py_DECREF(frame);
        frame = back;
    }
    return (PyObject *)frame;
}

/* A pass that rebuilds nodes makes them for an older node: they take its place in the user's program. */
static _Thread_local PyObject *origin; /* code, or NULL: look for the user's frame */
static _Thread_local int origin_instruction;

/* A code object stands for the line of its first instruction but one: what a front end that reads source makes of a line. */
static PyObject *set_origin(PyObject *module, PyObject *node) {
    (void)module;
    if (PyCode_Check(node)) {
        origin_instruction = 2;
        Py_XSETREF(origin, Py_NewRef(node));
        Py_RETURN_NONE;
    }
    if (node != Py_None && Py_TYPE(node) != &Node_Type) {
        PyErr_SetString(PyExc_TypeError, "set_origin takes a node, a code object or None");
        return NULL;
    }
    if (node != Py_None) origin_instruction = ((Node *)node)->instruction;
    Py_XSETREF(origin, node == Py_None ? NULL : Py_NewRef(((Node *)node)->code));
    Py_RETURN_NONE;
}

/* Return a new reference to the code of the user's program that runs now, and the instruction in it. */
static PyObject *user_place(int *instruction) {
    PyFrameObject *frame = (PyFrameObject *)user_frame();
    *instruction = frame ? PyFrame_GetLasti(frame) : 0;
    PyObject *code = frame ? (PyObject *)PyFrame_GetCode(frame) : Py_NewRef(Py_None);
    Py_XDECREF(frame);
    return code;
}

/* Look for the user's frame once for many nodes; whoever got True calls set_origin(None) when they are made. */
static PyObject *hold_origin(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    if (origin) Py_RETURN_FALSE;
    origin = user_place(&origin_instruction);
    Py_RETURN_TRUE;
}

static int same_attr(PyObject *a, PyObject *b) {
    return a == b ? 1 : (a == Py_None || b == Py_None) ? 0 : PyObject_RichCompareBool(a, b, Py_EQ);
}

/* Return a new reference to the node with these fields, made now if there is none. */
static Node *intern(PyObject *op, Node *const *args, Py_ssize_t count, PyObject *attr, PyObject *dtype, PyObject *shape,
                    uint32_t flags) {
    uint64_t hash = mix(mix(0, (uintptr_t)op), (uintptr_t)dtype);
    for (Py_ssize_t i = 0; i < count; i++) hash = mix(hash, (uintptr_t)args[i]);
    if (attr != Py_None) {
        Py_hash_t h = PyObject_Hash(attr);
        if (h == -1) return NULL;
        hash = mix(hash, (uint64_t)h);
    }
    hash ^= hash >> 29;
again:
    if ((table_used + 1) * 2 > table_size && table_resize() < 0) return NULL;
    uint64_t seen = version;
    size_t at = hash & (table_size - 1), tombstone = SIZE_MAX;
    for (; table[at]; at = (at + 1) & (table_size - 1)) {
        Node *node = table[at];
        if (node == TOMBSTONE && tombstone == SIZE_MAX) tombstone = at;
        if (node == TOMBSTONE || node->hash != hash || node->op != op || node->dtype != dtype || Py_SIZE(node) != count)
            continue;
        int equal = 1;
        for (Py_ssize_t i = 0; i < count; i++) equal &= node->args[i] == args[i];
        if (!equal) continue;
        Py_INCREF(node);
        equal = same_attr(node->attr, attr);
        if (equal == 1 && node->shape != shape) equal = PyObject_RichCompareBool(node->shape, shape, Py_EQ);
        if (equal < 0) {
            Py_DECREF(node);
            return NULL;
        }
        if (equal) return node;
        Py_DECREF(node);
        if (version != seen) goto again;
    }
    Node *node = PyObject_GC_NewVar(Node, &Node_Type, count);
    if (!node) return NULL;
    int instruction = origin_instruction;
    PyObject *code = origin ? Py_NewRef(origin) : user_place(&instruction);
    if (version != seen) { /* the collector ran, and with it Python code and other threads: look again */
        Py_DECREF(code);
        PyObject_GC_Del(node);
        goto again;
    }
    node->id = (int64_t)next_id++;
    node->hash = hash;
    node->op = Py_NewRef(op);
    node->attr = Py_NewRef(attr);
    node->dtype = Py_NewRef(dtype);
    node->shape = Py_NewRef(shape);
    node->mark = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        node->args[i] = (Node *)Py_NewRef(args[i]);
        flags |= args[i]->flags & STATEFUL;
    }
    node->flags = flags;
    node->code = code;
    node->instruction = instruction;
    if (tombstone == SIZE_MAX) table_used++;
    else at = tombstone; /* or a node made and freed again and again would leave a trail of them */
    table[at] = node;
    version++;
    if (flags & STATEFUL) PyObject_GC_Track(node); /* only these can be part of a cycle */
    return node;
}

static PyObject *node_args(PyObject *object, void *closure) {
    (void)closure;
    Node *self = (Node *)object;
    PyObject *tuple = PyTuple_New(Py_SIZE(self));
    for (Py_ssize_t i = 0; tuple && i < Py_SIZE(self); i++) PyTuple_SET_ITEM(tuple, i, Py_NewRef(self->args[i]));
    return tuple;
}

static PyObject *node_where(PyObject *object, void *closure) {
    (void)closure;
    Node *self = (Node *)object;
    return Py_BuildValue("Oi", self->code, self->instruction);
}

static PyObject *node_is_const(PyObject *object, void *closure) {
    (void)closure;
    return PyBool_FromLong((long)(((Node *)object)->flags & CONSTANT));
}

static PyObject *node_get(PyObject *object, void *offset) {
    PyObject *field = *(PyObject **)((char *)object + (size_t)offset);
    return Py_NewRef(field ? field : Py_None);
}

static PyObject *node_id(PyObject *object, void *closure) {
    (void)closure;
    return PyLong_FromLongLong(((Node *)object)->id);
}

static PyGetSetDef node_getset[] = {
    {"args", node_args, NULL, "Operands, a tuple of nodes.", NULL},
    {"where", node_where, NULL, "(code object, instruction) of the user's program.", NULL},
    {"is_const", node_is_const, NULL, "Whether the value is known while compiling.", NULL},
    {"op", node_get, NULL, "The row.", (void *)offsetof(Node, op)},
    {"attr", node_get, NULL, "Parameters that are not nodes.", (void *)offsetof(Node, attr)},
    {"dtype", node_get, NULL, "Element type.", (void *)offsetof(Node, dtype)},
    {"shape", node_get, NULL, "Shape; () for a scalar.", (void *)offsetof(Node, shape)},
    {"id", node_id, NULL, "Serial number; operands have smaller ones.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* -------------------------------------------------------------------------------- constants */

/* The value of a constant node; the class that users see is in graph.py. */
typedef struct {
    PyObject_HEAD
    PyObject *value, *exact, *dtype;
    PyObject *key; /* of arrays: what they are compared by; else NULL */
    Py_hash_t hash;
    char structural;
} Constant;

static PyTypeObject Constant_Type;
static PyTypeObject *constant_type; /* its subclass in Python */
static PyObject *const_op, *bool_dtype, *int32_dtype, *int64_dtype, *float32_dtype, *float64_dtype;
static _Thread_local int exact_zeros; /* zeros of this thread's trace do not absorb */

static Py_hash_t number_hash(PyObject *value) {
    if (!PyFloat_Check(value)) return PyObject_Hash(value);
    double number = PyFloat_AS_DOUBLE(value);
    return number != number ? 1 : PyObject_Hash(value); /* Python hashes a NaN by its identity */
}

/* Steals value, exact and key. */
static Constant *make_constant(PyTypeObject *type, PyObject *value, PyObject *exact, PyObject *key, PyObject *dtype, int structural) {
    Py_hash_t hash = key ? PyObject_Hash(key) : number_hash(value);
    Constant *made = hash == -1 ? NULL : (Constant *)type->tp_alloc(type, 0);
    if (!made) {
        Py_DECREF(value);
        Py_DECREF(exact);
        Py_XDECREF(key);
        return NULL;
    }
    made->value = value;
    made->exact = exact;
    made->key = key;
    made->dtype = Py_NewRef(dtype);
    made->structural = (char)structural;
    uint64_t mixed = mix((uint64_t)hash, (uintptr_t)dtype);
    made->hash = (Py_hash_t)((mixed ^ mixed >> 32) >> 1) + structural; /* floats differ in their upper bits */
    return made;
}

static PyObject *constant_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"value", "dtype", "structural", "exact", "key", NULL};
    PyObject *value, *dtype, *exact = Py_None, *key = Py_None;
    int structural;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOp|OO", names, &value, &dtype, &structural, &exact, &key)) return NULL;
    key = key == Py_None ? NULL : Py_NewRef(key);
    return (PyObject *)make_constant(type, Py_NewRef(value), Py_NewRef(exact == Py_None ? value : exact), key, dtype, structural);
}

static void constant_dealloc(PyObject *object) {
    Constant *self = (Constant *)object;
    Py_DECREF(self->value);
    Py_DECREF(self->exact);
    Py_DECREF(self->dtype);
    Py_XDECREF(self->key);
    Py_TYPE(object)->tp_free(object);
}

static Py_hash_t constant_hash(PyObject *object) { return ((Constant *)object)->hash; }

/* All NaNs are one constant; -0.0 and 0.0 are two. */
static int same_number(PyObject *a, PyObject *b) {
    if (a == b) return 1;
    if (!PyFloat_Check(a) || !PyFloat_Check(b)) return PyObject_RichCompareBool(a, b, Py_EQ);
    double x = PyFloat_AS_DOUBLE(a), y = PyFloat_AS_DOUBLE(b);
    return x == y ? signbit(x) == signbit(y) : x != x && y != y;
}

static int same_constant(Constant *a, Constant *b) {
    if (a->hash != b->hash || a->dtype != b->dtype || a->structural != b->structural || !a->key != !b->key) return 0;
    if (a->key) return PyObject_RichCompareBool(a->key, b->key, Py_EQ);
    if ((a->exact == a->value) != (b->exact == b->value)) return 0;
    int same = same_number(a->value, b->value);
    return same == 1 && a->exact != a->value ? same_number(a->exact, b->exact) : same;
}

static PyObject *constant_compare(PyObject *a, PyObject *b, int which) {
    if ((which != Py_EQ && which != Py_NE) || !PyObject_TypeCheck(a, &Constant_Type) || !PyObject_TypeCheck(b, &Constant_Type))
        Py_RETURN_NOTIMPLEMENTED;
    int same = same_constant((Constant *)a, (Constant *)b);
    return same < 0 ? NULL : PyBool_FromLong(same == (which == Py_EQ));
}

/* What rows may simplify with: 0, 1, -1, bools and arrays; some also with other powers of two (POWER), none with the rest (PLAIN). */
static uint32_t constant_flags(Constant *self) {
    double value;
    if (PyFloat_Check(self->value)) {
        value = PyFloat_AS_DOUBLE(self->value);
        if (!isfinite(value)) return CONSTANT | PLAIN;
    } else if (PyLong_Check(self->value) && !PyBool_Check(self->value)) {
        int overflow;
        value = (double)PyLong_AsLongLongAndOverflow(self->value, &overflow);
        if (overflow) return CONSTANT | PLAIN;
    } else {
        return CONSTANT;
    }
    int exponent;
    if (value == 0 || fabs(value) == 1) return CONSTANT;
    return CONSTANT | (fabs(frexp(value, &exponent)) == 0.5 ? POWER : PLAIN);
}

static PyMemberDef constant_members[] = {
    {"value", T_OBJECT_EX, offsetof(Constant, value), READONLY, "A Python number, or a read-only array."},
    {"exact", T_OBJECT_EX, offsetof(Constant, exact), READONLY, "What the user wrote, before it was rounded."},
    {"structural", T_BOOL, offsetof(Constant, structural), READONLY, "Whether its zeros absorb."},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject Constant_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hotloop._graph.Constant",
    .tp_doc = "Base of the value of a constant node: what it is equal to, in C.",
    .tp_basicsize = sizeof(Constant),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = constant_new,
    .tp_dealloc = constant_dealloc,
    .tp_hash = constant_hash,
    .tp_richcompare = constant_compare,
    .tp_members = constant_members,
};

static PyObject *empty_shape;

/* Return a new reference to the constant node of a finite Python number in a type. NULL without an error: it may not fit. */
static Node *literal(PyObject *number, PyObject *dtype, int structural) {
    double wide = 0;
    if (PyFloat_CheckExact(number)) {
        wide = PyFloat_AS_DOUBLE(number);
        if (!isfinite(wide) || (dtype != float32_dtype && dtype != float64_dtype)) return NULL;
    } else if (PyLong_CheckExact(number)) {
        int overflow;
        long long whole = PyLong_AsLongLongAndOverflow(number, &overflow);
        if (overflow || dtype == bool_dtype || (dtype == int32_dtype && whole != (int32_t)whole)) return NULL;
        wide = (double)whole;
        int is_float = dtype != int32_dtype && dtype != int64_dtype;
        if (is_float && (whole > 1LL << 53 || whole < -(1LL << 53))) return NULL; /* a double may not hold it */
    } else {
        return NULL;
    }
    PyObject *value;
    int rounded = 0;
    if (dtype == int32_dtype || dtype == int64_dtype || (dtype == float64_dtype && PyFloat_CheckExact(number))) {
        value = Py_NewRef(number);
    } else {
        if (dtype == float32_dtype && fabs(wide) > FLT_MAX) return NULL;
        double narrow = dtype == float32_dtype ? (double)(float)wide : wide;
        rounded = narrow != wide;
        wide = narrow;
        value = PyFloat_FromDouble(narrow);
        if (!value) return NULL;
    }
    structural = structural && wide == 0 && !signbit(wide); /* -0.0 was written on purpose */
    PyObject *exact = Py_NewRef(rounded ? number : value);
    Constant *attr = make_constant(constant_type, value, exact, NULL, dtype, structural);
    if (!attr) return NULL;
    Node *node = intern(const_op, NULL, 0, (PyObject *)attr, dtype, empty_shape, constant_flags(attr));
    Py_DECREF(attr);
    return node;
}

static PyObject *literal_function(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "literal(number, dtype, structural)");
        return NULL;
    }
    PyObject *node = (PyObject *)literal(args[0], args[1], PyObject_IsTrue(args[2]) == 1);
    return node || PyErr_Occurred() ? node : Py_NewRef(Py_None);
}

static PyObject *set_exact_zeros(PyObject *module, PyObject *flag) {
    (void)module;
    int wanted = PyObject_IsTrue(flag);
    if (wanted < 0) return NULL;
    exact_zeros = wanted;
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------------------------ apply */

typedef struct {
    PyObject *op, *types[3], *result, *simplify; /* simplify is NULL where the row has none */
    uint32_t flags;                               /* COMMUTATIVE, ALIKE, POWERS, DIVIDES: fields of the row */
} Rule;
enum { COMMUTATIVE = 1, ALIKE = 2, POWERS = 4, DIVIDES = 8, RULES = 4096 };

static size_t rules_used;
static Rule rules[RULES]; /* (row, operand types) that need no promotion; rows and dtypes live for ever */
static PyObject *apply_general, *scalar_operand, *describe_unary;

static Rule *find_rule(PyObject *op, Node *const *args, Py_ssize_t count) {
    uint64_t hash = mix(0, (uintptr_t)op);
    for (Py_ssize_t i = 0; i < count; i++) hash = mix(hash, (uintptr_t)args[i]->dtype);
    for (size_t at = (hash >> 20) & (RULES - 1); rules[at].op; at = (at + 1) & (RULES - 1)) {
        int equal = rules[at].op == op;
        for (Py_ssize_t i = 0; i < 3; i++) equal &= rules[at].types[i] == (i < count ? args[i]->dtype : NULL);
        if (equal) return &rules[at];
    }
    return NULL;
}

static PyObject *remember_rule(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *op, *types, *result, *simplify;
    unsigned flags;
    if (!PyArg_ParseTuple(arguments, "OO!OOI", &op, &PyTuple_Type, &types, &result, &simplify, &flags)) return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(types);
    if (count < 1 || count > 3) Py_RETURN_NONE;
    uint64_t hash = mix(0, (uintptr_t)op);
    for (Py_ssize_t i = 0; i < count; i++) hash = mix(hash, (uintptr_t)PyTuple_GET_ITEM(types, i));
    size_t at = (hash >> 20) & (RULES - 1);
    for (; rules[at].op; at = (at + 1) & (RULES - 1)) {
        int equal = rules[at].op == op;
        for (Py_ssize_t i = 0; i < 3; i++) equal &= rules[at].types[i] == (i < count ? PyTuple_GET_ITEM(types, i) : NULL);
        if (equal) Py_RETURN_NONE; /* the general path is also taken for other reasons */
    }
    if (rules_used >= RULES / 2) Py_RETURN_NONE; /* searches end at a gap; without a rule the general path still works */
    rules_used++;
    for (Py_ssize_t i = 0; i < count; i++) rules[at].types[i] = Py_NewRef(PyTuple_GET_ITEM(types, i));
    rules[at].result = Py_NewRef(result);
    rules[at].simplify = simplify == Py_None ? NULL : Py_NewRef(simplify);
    rules[at].flags = flags;
    rules[at].op = Py_NewRef(op);
    Py_RETURN_NONE;
}

/* Return the type that literals beside the operands take, NULL where Python has to work it out. */
static PyObject *joint_type(PyObject *const *operands, Py_ssize_t count) {
    PyObject *joint = NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (Py_TYPE(operands[i]) != &Node_Type) continue;
        PyObject *dtype = ((Node *)operands[i])->dtype;
        if (!joint || joint == bool_dtype) joint = dtype;
        else if (dtype != joint && dtype != bool_dtype) return NULL;
    }
    return joint;
}

/* Return a new reference to what the row makes of the operands, None where it finds nothing simpler. */
static PyObject *simpler(Rule *rule, Node *const *args, Py_ssize_t count) {
    PyObject *found = PyObject_Vectorcall(rule->simplify, (PyObject *const *)args, (size_t)count, NULL);
    if (found && found != Py_None && (Py_TYPE(found) != &Node_Type || ((Node *)found)->shape != args[0]->shape)) {
        Py_DECREF(found); /* of another shape: Python broadcasts it */
        return Py_NewRef(Py_NotImplemented);
    }
    return found;
}

/* Return a new reference, NULL with an error, or NULL without one where `apply_general` has to do it. */
static PyObject *apply_common(PyObject *op, Node **args, Py_ssize_t count) {
    uint32_t constants = CONSTANT, special = 0, powers = 0, alike = count == 1;
    for (Py_ssize_t i = 0; i < count; i++) {
        uint32_t flags = args[i]->flags;
        constants &= flags;
        special |= (flags & (CONSTANT | PLAIN | POWER)) == CONSTANT;
        powers |= flags & POWER;
        for (Py_ssize_t j = 0; j < i; j++) alike |= args[i] == args[j];
        if (args[i]->shape != args[0]->shape) return NULL;
    }
    Rule *rule = find_rule(op, args, count);
    if (!rule || (constants && (rule->flags & DIVIDES))) return NULL;
    special |= alike && (rule->flags & ALIKE);
    special |= powers && (rule->flags & POWERS);
    special |= count == 1 && args[0]->op == op; /* -(-x) */
    if (special && rule->simplify) {
        PyObject *found = simpler(rule, args, count);
        if (found == Py_NotImplemented) {
            Py_DECREF(found);
            return NULL;
        }
        if (found != Py_None) return found;
        Py_DECREF(found);
    }
    if (constants) return NULL;
    if ((rule->flags & COMMUTATIVE) && args[0]->id > args[1]->id) {
        Node *first = args[0];
        args[0] = args[1];
        args[1] = first;
    }
    return (PyObject *)intern(op, args, count, Py_None, rule->result, args[0]->shape, 0);
}

static PyObject *apply_nodes(PyObject *op, PyObject *const *operands, Py_ssize_t count) {
    Node *args[3], *made[3];
    Py_ssize_t literals = 0, known = 0;
    PyObject *joint = count >= 1 && count <= 3 ? joint_type(operands, count) : NULL;
    PyObject *result = NULL;
    for (; joint && known < count; known++) {
        args[known] = (Node *)operands[known];
        if (Py_TYPE(operands[known]) == &Node_Type) continue;
        args[known] = literal(operands[known], joint, !exact_zeros);
        if (!args[known]) break;
        made[literals++] = args[known];
    }
    if (joint && known == count) result = apply_common(op, args, count);
    while (literals) Py_DECREF(made[--literals]);
    if (result || PyErr_Occurred()) return result;
    PyObject *stack[8];
    if (count > 7) {
        PyErr_SetString(PyExc_TypeError, "apply takes at most 7 operands");
        return NULL;
    }
    stack[0] = op;
    for (Py_ssize_t i = 0; i < count; i++) stack[i + 1] = operands[i];
    return PyObject_Vectorcall(apply_general, stack, (size_t)count + 1, NULL);
}

static PyObject *apply(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count < 2) {
        PyErr_SetString(PyExc_TypeError, "apply(op, *operands) needs a row and operands");
        return NULL;
    }
    return apply_nodes(args[0], args + 1, count - 1);
}

static PyObject *intern_function(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 6 || !PyTuple_Check(args[1]) || !PyTuple_Check(args[4])) {
        PyErr_SetString(PyExc_TypeError, "intern(op, args, attr, dtype, shape, flags)");
        return NULL;
    }
    Py_ssize_t operands = PyTuple_GET_SIZE(args[1]);
    for (Py_ssize_t i = 0; i < operands; i++)
        if (Py_TYPE(PyTuple_GET_ITEM(args[1], i)) != &Node_Type) {
            PyErr_SetString(PyExc_TypeError, "operands must be nodes");
            return NULL;
        }
    unsigned long flags = PyLong_AsUnsignedLong(args[5]);
    if (flags == (unsigned long)-1 && PyErr_Occurred()) return NULL;
    if (PyObject_TypeCheck(args[2], &Constant_Type)) flags |= constant_flags((Constant *)args[2]);
    PyObject *shape = PyTuple_GET_SIZE(args[4]) == 0 ? empty_shape : args[4];
    return (PyObject *)intern(args[0], (Node **)&PyTuple_GET_ITEM(args[1], 0), operands, args[2], args[3], shape,
                              (uint32_t)flags);
}

/* ---------------------------------------------------------------------------------- walking */

static int by_id(const void *a, const void *b) {
    int64_t x = (*(Node *const *)a)->id, y = (*(Node *const *)b)->id;
    return (x > y) - (x < y);
}

typedef struct {
    Node **items;
    size_t count, capacity;
} Stack;

static int push(Stack *stack, PyObject *object) {
    if (Py_TYPE(object) != &Node_Type) {
        PyErr_SetString(PyExc_TypeError, "expected nodes");
        return -1;
    }
    Node *node = (Node *)object;
    if (node->mark == walk) return 0;
    node->mark = walk;
    if (stack->count == stack->capacity) {
        size_t capacity = stack->capacity ? stack->capacity * 2 : 256;
        Node **items = PyMem_Realloc(stack->items, capacity * sizeof(Node *));
        if (!items) {
            PyErr_NoMemory();
            return -1;
        }
        stack->items = items;
        stack->capacity = capacity;
    }
    stack->items[stack->count++] = node;
    return 0;
}

static int push_all(Stack *stack, PyObject *iterable) {
    PyObject *items = PySequence_Fast(iterable, "expected a sequence of nodes");
    if (!items) return -1;
    int failed = 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items) && !failed; i++)
        failed = push(stack, PySequence_Fast_GET_ITEM(items, i));
    Py_DECREF(items);
    return failed;
}

/* reachable(outputs, more): all nodes that outputs need, in order of id; more(node) gives what a
 * state or loop needs beside its operands. The list doubles as the queue, so depth costs nothing. */
static PyObject *reachable(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *outputs, *more;
    if (!PyArg_ParseTuple(arguments, "OO", &outputs, &more)) return NULL;
    Stack found = {NULL, 0, 0};
    PyObject *list = NULL;
    walk++;
    if (push_all(&found, outputs) < 0) goto done;
    for (size_t at = 0; at < found.count; at++) {
        Node *node = found.items[at];
        for (Py_ssize_t i = 0; i < Py_SIZE(node); i++)
            if (push(&found, (PyObject *)node->args[i]) < 0) goto done;
        if (node->flags & EXTRA) {
            uint64_t mine = walk;
            PyObject *extra = PyObject_CallOneArg(more, (PyObject *)node);
            if (!extra) goto done;
            if (walk != mine) { /* Python walked meanwhile, here or in another thread: our marks may be gone */
                walk++;
                for (size_t i = 0; i < found.count; i++) found.items[i]->mark = walk;
            }
            int failed = push_all(&found, extra);
            Py_DECREF(extra);
            if (failed) goto done;
        }
    }
    if (found.count) qsort(found.items, found.count, sizeof(Node *), by_id);
    list = PyList_New((Py_ssize_t)found.count);
    for (size_t i = 0; list && i < found.count; i++) PyList_SET_ITEM(list, (Py_ssize_t)i, Py_NewRef(found.items[i]));
done:
    PyMem_Free(found.items);
    return list;
}

/* --------------------------------------------------------------------------------- linearizing
 * The inner loop of `passes/linearize.py`, and the map it needs: id of a node -> number. */

typedef struct {
    PyObject_HEAD
    int64_t (*slots)[2]; /* key + 1, value; key + 1 == 0 is free */
    size_t size, used;
} Numbers;

static int64_t *numbers_find(const Numbers *self, int64_t key) {
    size_t at = (size_t)mix(0, (uint64_t)key) >> 7;
    for (at &= self->size - 1; self->slots[at][0]; at = (at + 1) & (self->size - 1))
        if (self->slots[at][0] == key + 1) return &self->slots[at][1];
    return NULL;
}

static int numbers_set(Numbers *self, int64_t key, int64_t value) {
    if ((self->used + 1) * 2 > self->size) {
        Numbers old = *self;
        self->size = old.size ? old.size * 4 : 256;
        self->slots = PyMem_Calloc(self->size, sizeof *self->slots);
        if (!self->slots) {
            *self = old;
            PyErr_NoMemory();
            return -1;
        }
        self->used = 0;
        for (size_t i = 0; i < old.size; i++)
            if (old.slots[i][0] && numbers_set(self, old.slots[i][0] - 1, old.slots[i][1]) < 0) return -1;
        PyMem_Free(old.slots);
    }
    int64_t *found = numbers_find(self, key);
    if (found) {
        *found = value;
        return 0;
    }
    size_t at = (size_t)mix(0, (uint64_t)key) >> 7;
    for (at &= self->size - 1; self->slots[at][0]; at = (at + 1) & (self->size - 1)) continue;
    self->slots[at][0] = key + 1;
    self->slots[at][1] = value;
    self->used++;
    return 0;
}

static void numbers_dealloc(PyObject *object) {
    PyMem_Free(((Numbers *)object)->slots);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *numbers_get(PyObject *object, PyObject *key) {
    long long wanted = PyLong_AsLongLong(key);
    if (wanted == -1 && PyErr_Occurred()) return NULL;
    int64_t *found = ((Numbers *)object)->size ? numbers_find((Numbers *)object, wanted) : NULL;
    if (!found) Py_RETURN_NONE;
    return PyLong_FromLongLong(*found);
}

static PyObject *numbers_subscript(PyObject *object, PyObject *key) {
    PyObject *found = numbers_get(object, key);
    if (found == Py_None) {
        Py_DECREF(found);
        PyErr_SetObject(PyExc_KeyError, key);
        return NULL;
    }
    return found;
}

static int numbers_store(PyObject *object, PyObject *key, PyObject *value) {
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "numbers are not deleted");
        return -1;
    }
    long long wanted = PyLong_AsLongLong(key), number = PyLong_AsLongLong(value);
    if ((wanted == -1 || number == -1) && PyErr_Occurred()) return -1;
    return numbers_set((Numbers *)object, wanted, number);
}

static int numbers_contains(PyObject *object, PyObject *key) {
    PyObject *found = numbers_get(object, key);
    if (!found) return -1;
    Py_DECREF(found);
    return found != Py_None;
}

static PyMethodDef numbers_methods[] = {
    {"get", numbers_get, METH_O, "get(id) -> number or None"},
    {NULL, NULL, 0, NULL},
};
static PyMappingMethods numbers_mapping = {.mp_subscript = numbers_subscript, .mp_ass_subscript = numbers_store};
static PySequenceMethods numbers_sequence = {.sq_contains = numbers_contains};
static PyTypeObject Numbers_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hotloop._graph.Numbers",
    .tp_doc = "A map from ids of nodes to numbers.",
    .tp_basicsize = sizeof(Numbers),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = numbers_dealloc,
    .tp_methods = numbers_methods,
    .tp_as_mapping = &numbers_mapping,
    .tp_as_sequence = &numbers_sequence,
};

typedef struct {
    PyObject *code, *values; /* array('i'); six and three numbers an entry */
    int32_t pending_code[6 * 256], pending_values[3 * 256];
    int pending;
    Py_ssize_t count; /* values in the array, pending ones aside */
} Output;

static int flush(Output *out) {
    if (out->pending) {
        PyObject *a = PyObject_CallMethod(out->code, "frombytes", "y#", (char *)out->pending_code, (Py_ssize_t)(24 * out->pending));
        PyObject *b =
            a ? PyObject_CallMethod(out->values, "frombytes", "y#", (char *)out->pending_values, (Py_ssize_t)(12 * out->pending)) : NULL;
        Py_XDECREF(a);
        Py_XDECREF(b);
        if (!b) return -1;
        out->pending = 0;
    }
    Py_ssize_t length = PyObject_Length(out->values);
    out->count = length / 3;
    return length < 0 ? -1 : 0;
}

/* Return the number in a dict under a key, or -1 if there is none, or -2 with an error set. */
static long number_in(PyObject *dict, PyObject *key) {
    PyObject *found = PyDict_GetItemWithError(dict, key);
    if (!found) return PyErr_Occurred() ? -2 : -1;
    return PyLong_AsLong(found);
}

typedef struct {
    PyObject *op, *dtype;
    long row;
} RowCache;

static long row_of(RowCache *cache, PyObject *rows, PyObject *op, PyObject *dtype) {
    RowCache *entry = &cache[mix((uintptr_t)op, (uintptr_t)dtype) >> 32 & 63];
    if (entry->op != op || entry->dtype != dtype) {
        PyObject *key = PyTuple_Pack(2, op, dtype);
        if (!key) return -2;
        *entry = (RowCache){op, dtype, number_in(rows, key)};
        Py_DECREF(key);
    }
    return entry->row;
}

/* encode(nodes, builder, number, home, stores, rows, dtypes, code, values, listed): append an instruction for
 * each node that a target writes; builder._load, _add_special and _add_stores_of see to the others. */
static PyObject *encode(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *nodes, *builder, *stores, *rows, *dtypes, *listed;
    Numbers *number, *home;
    Output out = {.pending = 0};
    if (!PyArg_ParseTuple(arguments, "O!OO!O!O!O!O!OOO!", &PyList_Type, &nodes, &builder, &Numbers_Type, &number, &Numbers_Type,
                          &home, &PyDict_Type, &stores, &PyDict_Type, &rows, &PyDict_Type, &dtypes, &out.code, &out.values,
                          &PyList_Type, &listed))
        return NULL;
    RowCache cache[64] = {{NULL, NULL, 0}}, kinds[64] = {{NULL, NULL, 0}};
    if (flush(&out) < 0) return NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(nodes); i++) {
        Node *node = (Node *)PyList_GET_ITEM(nodes, i);
        if (Py_TYPE(node) != &Node_Type) {
            PyErr_SetString(PyExc_TypeError, "expected nodes");
            return NULL;
        }
        Py_ssize_t count = Py_SIZE(node);
        if (count == 0) continue; /* constants and cells enter when they are used */
        long row = count <= 3 ? row_of(cache, rows, node->op, node->args[count - 1]->dtype) : -1;
        if (row == -2 || (out.pending == 256 && flush(&out) < 0)) return NULL;
        if (row < 0) {
            if (flush(&out) < 0) return NULL;
            PyObject *done = PyObject_CallMethod(builder, "_add_special", "O", node);
            if (!done) return NULL;
            Py_DECREF(done);
            if (flush(&out) < 0) return NULL;
            continue;
        }
        int32_t uses[3] = {-1, -1, -1};
        for (Py_ssize_t k = 0; k < count; k++) {
            int64_t *found = number->size ? numbers_find(number, node->args[k]->id) : NULL;
            if (found) {
                uses[k] = (int32_t)*found;
                continue;
            }
            if (flush(&out) < 0) return NULL;
            PyObject *loaded = PyObject_CallMethod(builder, "_load", "O", node->args[k]);
            if (!loaded) return NULL;
            uses[k] = (int32_t)PyLong_AsLong(loaded);
            Py_DECREF(loaded);
            if (PyErr_Occurred() || flush(&out) < 0) return NULL;
        }
        RowCache *kind = &kinds[(uintptr_t)node->dtype >> 4 & 63];
        if (kind->dtype != node->dtype) {
            *kind = (RowCache){NULL, node->dtype, number_in(dtypes, node->dtype)};
            if (kind->row < 0) {
                if (!PyErr_Occurred()) PyErr_SetString(PyExc_AssertionError, "no number for a dtype");
                return NULL;
            }
        }
        int32_t value = (int32_t)(out.count + out.pending);
        int64_t *place = home->size ? numbers_find(home, node->id) : NULL;
        int32_t *words = &out.pending_code[6 * out.pending], *facts = &out.pending_values[3 * out.pending];
        words[0] = (int32_t)row, words[1] = value, words[5] = 0;
        memcpy(words + 2, uses, sizeof uses);
        facts[0] = (int32_t)kind->row, facts[1] = place ? (int32_t)*place : -1, facts[2] = place ? 2 : 0; /* 2: OUTPUT */
        out.pending++;
        if (numbers_set(number, node->id, value) < 0 || PyList_Append(listed, (PyObject *)node) < 0) return NULL;
        if (PyDict_GET_SIZE(stores)) {
            PyObject *key = PyLong_FromLongLong(node->id);
            int has = key ? PyDict_Contains(stores, key) : -1;
            Py_XDECREF(key);
            if (has < 0) return NULL;
            if (has) {
                if (flush(&out) < 0) return NULL;
                PyObject *done = PyObject_CallMethod(builder, "_add_stores_of", "O", node);
                if (!done) return NULL;
                Py_DECREF(done);
                if (flush(&out) < 0) return NULL;
            }
        }
    }
    if (flush(&out) < 0) return NULL;
    Py_RETURN_NONE;
}

/* postorder(outputs): all nodes that outputs need, each right before its first user; no bodies of loops. */
static PyObject *postorder(PyObject *module, PyObject *outputs) {
    (void)module;
    PyObject *ends = PySequence_Fast(outputs, "expected a sequence of nodes");
    PyObject *list = ends ? PyList_New(0) : NULL;
    Stack stack = {NULL, 0, 0};
    uint64_t *progress = NULL; /* next operand of each node on the stack */
    size_t room = 0;
    walk++;
    for (Py_ssize_t e = 0; list && e < PySequence_Fast_GET_SIZE(ends); e++) {
        if (push(&stack, PySequence_Fast_GET_ITEM(ends, e)) < 0) goto failed;
        while (stack.count) {
            if (room < stack.capacity) {
                uint64_t *more = PyMem_Realloc(progress, stack.capacity * sizeof *progress);
                if (!more) {
                    PyErr_NoMemory();
                    goto failed;
                }
                for (size_t i = room; i < stack.capacity; i++) more[i] = 0;
                progress = more;
                room = stack.capacity;
            }
            size_t top = stack.count - 1;
            Node *node = stack.items[top];
            if ((Py_ssize_t)progress[top] < Py_SIZE(node)) {
                Node *arg = node->args[progress[top]++];
                if (push(&stack, (PyObject *)arg) < 0) goto failed;
                if (stack.count - 1 > top && stack.count - 1 < room) progress[stack.count - 1] = 0;
                continue;
            }
            progress[top] = 0;
            stack.count--;
            if (PyList_Append(list, (PyObject *)node) < 0) goto failed;
        }
    }
    PyMem_Free(stack.items);
    PyMem_Free(progress);
    Py_XDECREF(ends);
    return list;
failed:
    PyMem_Free(stack.items);
    PyMem_Free(progress);
    Py_XDECREF(ends);
    Py_XDECREF(list);
    return NULL;
}

/* dependents(outputs, sources): see ir/loop.py. No Python code runs in it, so its two marks stay its own. */
static PyObject *dependents(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 2 || !PyList_Check(args[0]) || !PyList_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "dependents takes two lists of nodes");
        return NULL;
    }
    Stack found = {NULL, 0, 0};
    PyObject *list = NULL;
    int64_t oldest = INT64_MAX;
    uint64_t reached = ++walk;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(args[1]); i++) {
        PyObject *source = PyList_GET_ITEM(args[1], i);
        if (Py_TYPE(source) == &Node_Type && ((Node *)source)->id < oldest) oldest = ((Node *)source)->id;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(args[0]); i++) {
        PyObject *output = PyList_GET_ITEM(args[0], i);
        if ((Py_TYPE(output) != &Node_Type || ((Node *)output)->id >= oldest) && push(&found, output) < 0) goto done;
    }
    for (size_t at = 0; at < found.count; at++)
        for (Py_ssize_t i = 0; i < Py_SIZE(found.items[at]); i++) {
            Node *arg = found.items[at]->args[i];
            if (arg->id >= oldest && push(&found, (PyObject *)arg) < 0) goto done;
        }
    if (found.count) qsort(found.items, found.count, sizeof(Node *), by_id);
    uint64_t depends = ++walk;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(args[1]); i++) {
        PyObject *source = PyList_GET_ITEM(args[1], i);
        if (Py_TYPE(source) == &Node_Type && ((Node *)source)->mark == reached) ((Node *)source)->mark = depends;
    }
    size_t kept = 0;
    for (size_t at = 0; at < found.count; at++) {
        Node *node = found.items[at];
        for (Py_ssize_t i = 0; i < Py_SIZE(node) && node->mark != depends; i++)
            if (node->args[i]->mark == depends) node->mark = depends;
        if (node->mark == depends) found.items[kept++] = node;
    }
    list = PyList_New((Py_ssize_t)kept);
    for (size_t i = 0; list && i < kept; i++) PyList_SET_ITEM(list, (Py_ssize_t)i, Py_NewRef(found.items[i]));
done:
    PyMem_Free(found.items);
    return list;
}

/* ---------------------------------------------------------------------------------- scalars */

static PyTypeObject *value_type; /* the public subclass of Scalar */
static PyObject *array_operator; /* (op, a, b): operators with an operand that is not a scalar */

static PyObject *wrap_node(PyObject *node) {
    if (!node) return NULL;
    if (Py_TYPE(node) != &Node_Type) return node; /* NotImplemented */
    Scalar *scalar = (Scalar *)value_type->tp_alloc(value_type, 0);
    if (!scalar) {
        Py_DECREF(node);
        return NULL;
    }
    scalar->node = (Node *)node;
    return (PyObject *)scalar;
}

static PyObject *wrap(PyObject *module, PyObject *node) {
    (void)module;
    if (Py_TYPE(node) != &Node_Type) {
        PyErr_SetString(PyExc_TypeError, "wrap takes a node");
        return NULL;
    }
    return wrap_node(Py_NewRef(node));
}

/* Return a new reference to what apply takes, or NULL with no error where Python must try elsewhere. */
static PyObject *operand_of(PyObject *object) {
    if (PyObject_TypeCheck(object, &Scalar_Type)) return Py_XNewRef((PyObject *)((Scalar *)object)->node);
    if (PyFloat_CheckExact(object) || PyLong_CheckExact(object) || PyBool_Check(object)) return Py_NewRef(object);
    PyObject *found = scalar_operand ? PyObject_CallOneArg(scalar_operand, object) : NULL;
    if (found == Py_None) Py_CLEAR(found);
    return found;
}

static PyObject *binary(PyObject *op, PyObject *a, PyObject *b) {
    if (!op) Py_RETURN_NOTIMPLEMENTED;
    PyObject *x = operand_of(a);
    PyObject *y = x ? operand_of(b) : NULL;
    PyObject *result = NULL;
    if (x && y) {
        PyObject *operands[2] = {x, y};
        result = apply_nodes(op, operands, 2);
    } else if (!PyErr_Occurred()) {
        Py_XDECREF(x);
        if (!array_operator) Py_RETURN_NOTIMPLEMENTED;
        PyObject *operands[3] = {op, a, b};
        return PyObject_Vectorcall(array_operator, operands, 3, NULL);
    }
    Py_XDECREF(x);
    Py_XDECREF(y);
    return wrap_node(result);
}

static PyObject *unary(PyObject *op, PyObject *a) {
    PyObject *operands[1] = {(PyObject *)((Scalar *)a)->node};
    if (!op || !operands[0]) {
        PyErr_SetString(PyExc_TypeError, "this traced value was not initialised");
        return NULL;
    }
    return wrap_node(apply_nodes(op, operands, 1));
}

/* What free functions do with traced scalars and Python's numbers; None leaves the rest to Python. */
static PyObject *apply_scalars(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    PyObject *operands[3];
    int traced = 0;
    if (count < 2 || count > 4) Py_RETURN_NONE;
    for (Py_ssize_t i = 1; i < count; i++) {
        PyTypeObject *type = Py_TYPE(args[i]);
        int is_scalar = type == value_type || PyType_IsSubtype(type, &Scalar_Type);
        operands[i - 1] = is_scalar ? (PyObject *)((Scalar *)args[i])->node : args[i];
        traced |= is_scalar;
        if (!operands[i - 1] || !(is_scalar || type == &PyFloat_Type || type == &PyLong_Type || type == &PyBool_Type))
            Py_RETURN_NONE;
    }
    if (!traced) Py_RETURN_NONE;
    return wrap_node(apply_nodes(args[0], operands, count - 1));
}

#define BINARY(name) \
    static PyObject *op_##name; \
    static PyObject *scalar_##name(PyObject *a, PyObject *b) { return binary(op_##name, a, b); }
#define UNARY(name) \
    static PyObject *op_##name; \
    static PyObject *scalar_##name(PyObject *a) { return unary(op_##name, a); }

BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(truediv)
BINARY(floordiv)
BINARY(mod)
BINARY(and)
BINARY(or)
BINARY(xor)
BINARY(lshift)
BINARY(rshift)
UNARY(neg)
UNARY(abs)
UNARY(invert)
static PyObject *op_lt, *op_le, *op_gt, *op_ge, *op_eq, *op_ne;

static PyObject *scalar_compare(PyObject *a, PyObject *b, int which) {
    PyObject *const ops[] = {op_lt, op_le, op_eq, op_ne, op_gt, op_ge}; /* order of Py_LT .. Py_GE */
    return binary(ops[which], a, b);
}

static const struct {
    const char *name;
    PyObject **slot;
} operators[] = {
    {"add", &op_add}, {"sub", &op_sub}, {"mul", &op_mul}, {"truediv", &op_truediv}, {"floordiv", &op_floordiv},
    {"mod", &op_mod}, {"and", &op_and}, {"or", &op_or}, {"xor", &op_xor}, {"lshift", &op_lshift},
    {"rshift", &op_rshift}, {"neg", &op_neg}, {"abs", &op_abs}, {"invert", &op_invert}, {"lt", &op_lt},
    {"le", &op_le}, {"gt", &op_gt}, {"ge", &op_ge}, {"eq", &op_eq}, {"ne", &op_ne},
};

static void scalar_dealloc(PyObject *object) {
    Py_XDECREF(((Scalar *)object)->node);
    Py_TYPE(object)->tp_free(object); /* a subclass's own dealloc releases its type */
}

static Py_hash_t scalar_hash(PyObject *object) {
    Node *node = ((Scalar *)object)->node;
    return node ? (Py_hash_t)node->id : 0;
}

static PyObject *scalar_get_node(PyObject *object, void *closure) {
    (void)closure;
    Node *node = ((Scalar *)object)->node;
    if (!node) {
        PyErr_SetString(PyExc_AttributeError, "this traced value was not initialised");
        return NULL;
    }
    return Py_NewRef((PyObject *)node);
}

static int scalar_set_node(PyObject *object, PyObject *node, void *closure) {
    (void)closure;
    if (!node || Py_TYPE(node) != &Node_Type) {
        PyErr_SetString(PyExc_TypeError, "node must be a Node");
        return -1;
    }
    Py_XSETREF(((Scalar *)object)->node, (Node *)Py_NewRef(node));
    return 0;
}

static PyGetSetDef scalar_getset[] = {
    {"node", scalar_get_node, scalar_set_node, "The node of the graph.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyNumberMethods scalar_number = {
    .nb_add = scalar_add, .nb_subtract = scalar_sub, .nb_multiply = scalar_mul, .nb_true_divide = scalar_truediv,
    .nb_floor_divide = scalar_floordiv, .nb_remainder = scalar_mod, .nb_and = scalar_and, .nb_or = scalar_or,
    .nb_xor = scalar_xor, .nb_lshift = scalar_lshift, .nb_rshift = scalar_rshift, .nb_negative = scalar_neg,
    .nb_absolute = scalar_abs, .nb_invert = scalar_invert,
};

static PyTypeObject Scalar_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hotloop._graph.Scalar",
    .tp_doc = "Base of the traced scalar: its operators, in C.",
    .tp_basicsize = sizeof(Scalar),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_dealloc = scalar_dealloc,
    .tp_new = PyType_GenericNew,
    .tp_hash = scalar_hash,
    .tp_richcompare = scalar_compare,
    .tp_as_number = &scalar_number,
    .tp_getset = scalar_getset,
};

static PyObject *node_binary(PyObject *op, PyObject *a, PyObject *b) {
    PyObject *operands[2] = {a, b};
    if (!op) Py_RETURN_NOTIMPLEMENTED;
    return apply_nodes(op, operands, 2);
}

static PyObject *node_unary(PyObject *op, PyObject *a) {
    if (!op) Py_RETURN_NOTIMPLEMENTED;
    return apply_nodes(op, &a, 1);
}

#define NODE_BINARY(name) \
    static PyObject *node_##name(PyObject *a, PyObject *b) { return node_binary(op_##name, a, b); }
#define NODE_UNARY(name) \
    static PyObject *node_##name(PyObject *a) { return node_unary(op_##name, a); }
NODE_BINARY(add)
NODE_BINARY(sub)
NODE_BINARY(mul)
NODE_BINARY(truediv)
NODE_BINARY(floordiv)
NODE_BINARY(mod)
NODE_BINARY(and)
NODE_BINARY(or)
NODE_BINARY(xor)
NODE_BINARY(lshift)
NODE_BINARY(rshift)
NODE_UNARY(neg)
NODE_UNARY(abs)
NODE_UNARY(invert)

static PyNumberMethods node_number = {
    .nb_add = node_add, .nb_subtract = node_sub, .nb_multiply = node_mul, .nb_true_divide = node_truediv,
    .nb_floor_divide = node_floordiv, .nb_remainder = node_mod, .nb_and = node_and, .nb_or = node_or,
    .nb_xor = node_xor, .nb_lshift = node_lshift, .nb_rshift = node_rshift, .nb_negative = node_neg,
    .nb_absolute = node_abs, .nb_invert = node_invert,
};

/* Orderings build nodes; == and != stay identity, so that nodes can be keys and members. */
static PyObject *node_compare(PyObject *a, PyObject *b, int which) {
    PyObject *const ops[] = {op_lt, op_le, NULL, NULL, op_gt, op_ge};
    return node_binary(ops[which], a, b);
}

static Py_hash_t node_hash(PyObject *object) { return (Py_hash_t)((Node *)object)->id; }

static PyObject *node_repr(PyObject *object) {
    if (!describe_unary) return PyUnicode_FromFormat("%%%lld", (long long)((Node *)object)->id);
    return PyObject_CallOneArg(describe_unary, object);
}

static PyTypeObject Node_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hotloop._graph.Node",
    .tp_doc = "One value of a program: an operation on other nodes. Immutable and interned.",
    .tp_basicsize = offsetof(Node, args),
    .tp_itemsize = sizeof(Node *),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = node_dealloc,
    .tp_traverse = node_traverse,
    .tp_clear = node_clear,
    .tp_hash = node_hash,
    .tp_richcompare = node_compare,
    .tp_repr = node_repr,
    .tp_as_number = &node_number,
    .tp_getset = node_getset,
};

/* ----------------------------------------------------------------------------------- module */

/* configure(package, apply_general, repr, class of constants, their row, dtypes in order of promotion) */
static PyObject *configure(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject **const slots[] = {&package, &apply_general, &describe_unary, (PyObject **)&constant_type, &const_op,
                                &bool_dtype, &int32_dtype, &int64_dtype, &float32_dtype, &float64_dtype};
    PyObject *fields[sizeof slots / sizeof slots[0]];
    if (!PyArg_ParseTuple(arguments, "UOOO!O(OOOOO)", &fields[0], &fields[1], &fields[2], &PyType_Type, &fields[3], &fields[4],
                          &fields[5], &fields[6], &fields[7], &fields[8], &fields[9]))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)fields[3], &Constant_Type)) {
        PyErr_SetString(PyExc_TypeError, "the class of constants must derive from Constant");
        return NULL;
    }
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) Py_XSETREF(*slots[i], Py_NewRef(fields[i]));
    Py_RETURN_NONE;
}

static PyObject *set_operator(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *name;
    PyObject *op;
    if (!PyArg_ParseTuple(arguments, "sO", &name, &op)) return NULL;
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (!strcmp(name, operators[i].name)) {
            Py_XSETREF(*operators[i].slot, Py_NewRef(op));
            Py_RETURN_NONE;
        }
    PyErr_Format(PyExc_ValueError, "%s is not an operator of Python", name);
    return NULL;
}

/* set_value_type(type, operand): the subclass that `wrap` makes, and what turns other scalars into operands */
static PyObject *set_value_type(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *type, *operand;
    if (!PyArg_ParseTuple(arguments, "O!O", &PyType_Type, &type, &operand)) return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)type, &Scalar_Type)) {
        PyErr_SetString(PyExc_TypeError, "the value type must derive from Scalar");
        return NULL;
    }
    Py_XSETREF(value_type, (PyTypeObject *)Py_NewRef(type));
    Py_XSETREF(scalar_operand, Py_NewRef(operand));
    Py_RETURN_NONE;
}

static PyObject *set_array_operator(PyObject *module, PyObject *function) {
    (void)module;
    Py_XSETREF(array_operator, Py_NewRef(function));
    Py_RETURN_NONE;
}

static PyObject *table_count(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    size_t live = 0;
    for (size_t i = 0; i < table_size; i++) live += table[i] > TOMBSTONE;
    return PyLong_FromSize_t(live);
}

static PyMethodDef methods[] = {
    {"apply", (PyCFunction)(void (*)(void))apply, METH_FASTCALL, "apply(op, *operands) -> Node"},
    {"intern", (PyCFunction)(void (*)(void))intern_function, METH_FASTCALL,
     "intern(op, args, attr, dtype, shape, flags) -> Node"},
    {"reachable", reachable, METH_VARARGS, "reachable(outputs, more) -> list of nodes in order of id"},
    {"dependents", (PyCFunction)(void (*)(void))dependents, METH_FASTCALL, "dependents(outputs, sources) -> list of nodes in order of id"},
    {"set_origin", set_origin, METH_O, "set_origin(node or code): nodes made from now on in this thread take its source line"},
    {"wrap", wrap, METH_O, "wrap(node) -> value"},
    {"hold_origin", hold_origin, METH_NOARGS, "hold_origin() -> whether the user's line is now held until set_origin(None)"},
    {"literal", (PyCFunction)(void (*)(void))literal_function, METH_FASTCALL,
     "literal(number, dtype, structural) -> the constant node, or None where range and type have to be checked"},
    {"remember_rule", remember_rule, METH_VARARGS, "remember_rule(op, types, result, simplify, flags)"},
    {"set_exact_zeros", set_exact_zeros, METH_O, "set_exact_zeros(flag): in this thread zeros do not absorb"},
    {"apply_scalars", (PyCFunction)(void (*)(void))apply_scalars, METH_FASTCALL,
     "apply_scalars(op, *operands) -> value, or None unless all are traced scalars and numbers, one at least traced"},
    {"configure", configure, METH_VARARGS, "configure(package, apply_general, repr, Constant, CONST, dtypes)"},
    {"set_operator", set_operator, METH_VARARGS, "set_operator(name, op)"},
    {"set_value_type", set_value_type, METH_VARARGS, "set_value_type(type, operand)"},
    {"set_array_operator", set_array_operator, METH_O, "set_array_operator(function of op, a, b)"},
    {"encode", encode, METH_VARARGS,
     "encode(nodes, builder, number, home, stores, rows, dtypes, code, values, listed): append instructions"},
    {"postorder", postorder, METH_O, "postorder(outputs) -> list of nodes, each right before its first user"},
    {"table_count", table_count, METH_NOARGS, "Number of living nodes."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "hotloop._graph", .m_doc = "Interned nodes and scalar operators.", .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__graph(void);
PyMODINIT_FUNC PyInit__graph(void) {
    empty_shape = PyTuple_New(0);
    if (!empty_shape || table_resize() < 0) return NULL;
    if (PyType_Ready(&Node_Type) < 0 || PyType_Ready(&Numbers_Type) < 0 || PyType_Ready(&Scalar_Type) < 0 || PyType_Ready(&Constant_Type) < 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (!module) return NULL;
    if (PyModule_AddObjectRef(module, "Node", (PyObject *)&Node_Type) < 0 ||
        PyModule_AddObjectRef(module, "Numbers", (PyObject *)&Numbers_Type) < 0 ||
        PyModule_AddObjectRef(module, "Scalar", (PyObject *)&Scalar_Type) < 0 ||
        PyModule_AddObjectRef(module, "Constant", (PyObject *)&Constant_Type) < 0)
        return NULL;
    PyModule_AddIntConstant(module, "STATEFUL", STATEFUL);
    PyModule_AddIntConstant(module, "EXTRA", EXTRA);
    return module;
}
