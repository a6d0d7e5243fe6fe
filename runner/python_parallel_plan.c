/* The plan of a `ParallelFunction`: tuples from Python become C structs, and everything in them is checked, so that
 * no plan, however wrong, makes a call read or write outside of its memory. (Machine code is not judged: who may
 * load a program may run anything, and is told where arrays lie and how long they are.) */
#include "python_parallel.h"

#include "python_tuples.h"

enum { MOST_KEYS = 64, DEEPEST = 100 }; /* of a sort; of tuples in a result */
static const Py_ssize_t MOST_CHUNK = (Py_ssize_t)1 << 40, MOST_COST = (Py_ssize_t)1 << 50;

/* ------------------------------------------------------------------------------------ registers */

static const Kind **kinds_from(PyObject *text, int *count, const char *what) {
    if (!PyUnicode_Check(text) || PyUnicode_GetLength(text) > MOST_ITEMS) {
        PyErr_Format(PyExc_TypeError, "plan: %s must be a str of at most %d kinds, not %.100s", what, MOST_ITEMS, Py_TYPE(text)->tp_name);
        return NULL;
    }
    const int length = (int)PyUnicode_GetLength(text);
    const Kind **kinds = table(length, sizeof *kinds);
    for (int i = 0; kinds && i < length; i++) {
        PyObject *name = PyUnicode_Substring(text, i, i + 1);
        const Kind *kind = name ? kind_of(name) : NULL;
        Py_XDECREF(name);
        if (kind && !strchr("?iqfd", kind->code)) refuse("registers have kinds of ?iqfd", text);
        kinds[i] = kind;
        if (!PyErr_Occurred()) continue;
        PyMem_Free(kinds);
        return NULL;
    }
    *count = length;
    return kinds;
}

/* A register, of one of the kinds in `allowed`; -2: raised. */
static int register_from(PyObject *object, const Kind *const *kinds, int count, const char *allowed, const char *what) {
    const int number = (int)number_from(object, 0, count - 1, what);
    if (number < 0 || strchr(allowed, kinds[number]->code)) return number;
    fail("ImageError", "plan: %s must be that of a register of kind %s; %d is one of kind %c", what, allowed, number,
         kinds[number]->code);
    return -2;
}

static const char ANY[] = "?iqfd";

static int scalar_from(const ParallelFunction *self, PyObject *object, const char *allowed) {
    return register_from(object, self->scalar, self->scalars, allowed, "the number of a scalar");
}

static int array_from(const ParallelFunction *self, PyObject *object, const char *allowed) {
    return register_from(object, self->array, self->arrays, allowed, "the number of an array");
}

/* -1 stands for none. */
static int is_none(PyObject *object) {
    int overflow = 0;
    return PyLong_Check(object) && PyLong_AsLongAndOverflow(object, &overflow) == -1 && !overflow;
}

typedef int (*From)(const ParallelFunction *self, PyObject *object, const char *allowed);

/* Numbers of registers; NULL: raised. */
static int *registers_from(const ParallelFunction *self, PyObject *tuple, From from, const char *allowed, int *count) {
    const int length = count_of(tuple, "registers");
    int *numbers = length < 0 ? NULL : table(length, sizeof(int));
    for (int i = 0; numbers && i < length; i++) {
        numbers[i] = from(self, PyTuple_GET_ITEM(tuple, i), allowed);
        if (numbers[i] >= 0) continue;
        PyMem_Free(numbers);
        return NULL;
    }
    *count = length;
    return numbers;
}

static int array_or_none(const ParallelFunction *self, PyObject *object, const char *allowed) {
    return is_none(object) ? -1 : array_from(self, object, allowed);
}

static void note_most(int *most, int count) {
    if (count > *most) *most = count;
}

/* ------------------------------------------------------------------------------------ arguments */

/* Python's numbers go to registers of any kind that holds them, NumPy's to those of their own. */
static int read_number(const ParallelFunction *self, Parameter *parameter, PyObject *kind, PyObject *number) {
    parameter->rank = -1;
    parameter->kind = number_kind(kind, &parameter->scalar);
    if (!parameter->kind) return -1;
    const char code = parameter->kind->code, own[2] = {code, 0};
    if (!parameter->scalar && !strchr("dq?", code)) return refuse("Python has numbers of the kinds d q ?", kind);
    const char *allowed = parameter->scalar ? own : code == 'd' ? "df" : code == 'q' ? "qifd" : "?";
    parameter->number = scalar_from(self, number, allowed);
    return parameter->number < 0 ? -1 : 0;
}

static int read_array(const ParallelFunction *self, Parameter *parameter, PyObject *entry) {
    PyObject *tag, *kind, *number, *rank, *lengths;
    if (!PyArg_ParseTuple(entry, "OOOOO:array", &tag, &kind, &number, &rank, &lengths)) return -1;
    parameter->kind = kind_of(kind);
    if (!parameter->kind) return -1;
    const char own[2] = {parameter->kind->code, 0};
    parameter->number = array_from(self, number, own);
    if (parameter->number < 0) return -1;
    int axes = 0;
    parameter->rank = (int)number_from(rank, 0, AXES, "a rank");
    parameter->lengths = parameter->rank < 0 ? NULL : registers_from(self, lengths, scalar_from, "q", &axes);
    if (!parameter->lengths) return -1;
    return axes == parameter->rank ? 0 : refuse("an array needs a register for the length of each axis", entry);
}

static int read_parameters(ParallelFunction *self, PyObject *arguments) {
    const int count = count_of(arguments, "arguments");
    if (count < 0 || !(self->parameter = table(count, sizeof(Parameter)))) return -1;
    self->parameters = count;
    for (int i = 0; i < count; i++) {
        PyObject *entry = PyTuple_GET_ITEM(arguments, i);
        int failed;
        if (is_tagged(entry, "array")) failed = read_array(self, &self->parameter[i], entry);
        else if (is_tagged(entry, "number") && PyTuple_GET_SIZE(entry) == 3)
            failed = read_number(self, &self->parameter[i], PyTuple_GET_ITEM(entry, 1), PyTuple_GET_ITEM(entry, 2));
        else failed = refuse("expected ('number', kind, register) or ('array', kind, register, rank, lengths)", entry);
        if (failed) return -1;
    }
    return 0;
}

/* ---------------------------------------------------------------------------------- data blocks */

static int read_operand(const ParallelFunction *self, hl_operand *operand, PyObject *slot, PyObject *number, const char *allowed) {
    operand->scalar = scalar_from(self, number, allowed);
    if (operand->scalar < 0) return -1;
    operand->size = self->scalar[operand->scalar]->size;
    return offset_from(self->program, slot, operand->size, &operand->slot);
}

/* (slot, register) for each scalar; with `kinds` (slot, kind, register). */
static int read_operands(const ParallelFunction *self, PyObject *tuple, int kinds, const char *allowed, int *count, hl_operand **operands) {
    const int length = count_of(tuple, "scalars");
    if (length < 0 || !(*operands = table(length, sizeof(hl_operand)))) return -1;
    *count = length;
    for (int i = 0; i < length; i++) {
        PyObject *entry = PyTuple_GET_ITEM(tuple, i), *slot, *number, *kind = NULL;
        if (count_of(entry, "a scalar") < 0) return -1;
        if (kinds ? !PyArg_ParseTuple(entry, "OOO:scalar", &slot, &kind, &number) : !PyArg_ParseTuple(entry, "OO:scalar", &slot, &number))
            return -1;
        const Kind *of = kind ? kind_of(kind) : NULL;
        if (kind && !of) return -1;
        const char own[2] = {of ? of->code : 0, 0};
        if (read_operand(self, &(*operands)[i], slot, number, of ? own : allowed)) return -1;
    }
    return 0;
}

static int read_bases(const ParallelFunction *self, PyObject *tuple, hl_inputs *inputs) {
    const int length = count_of(tuple, "bases");
    if (length < 0 || !(inputs->base = table(length, sizeof(hl_base)))) return -1;
    inputs->bases = length;
    for (int i = 0; i < length; i++) {
        PyObject *entry = PyTuple_GET_ITEM(tuple, i), *pointer, *count, *number;
        hl_base *base = &inputs->base[i];
        if (count_of(entry, "a base") < 0 || !PyArg_ParseTuple(entry, "OOO:base", &pointer, &count, &number)) return -1;
        base->array = array_from(self, number, ANY);
        base->length = -1;
        if (base->array < 0 || offset_from(self->program, pointer, 8, &base->pointer)) return -1;
        if (is_none(count)) continue;
        uint32_t slot;
        if (offset_from(self->program, count, 8, &slot)) return -1;
        base->length = slot;
    }
    return 0;
}

/* -------------------------------------------------------------------------------------- kernels */

/* A state has the kind of its registers; what has none takes all 8 bytes of its slots. */
static int read_state(const ParallelFunction *self, hl_running *state, PyObject *entry) {
    PyObject *slot, *other, *init, *into;
    if (count_of(entry, "a state") < 0 || !PyArg_ParseTuple(entry, "OOOO:state", &slot, &other, &init, &into)) return -1;
    state->init = is_none(init) ? -1 : scalar_from(self, init, ANY);
    if (state->init < -1) return -1;
    state->into = is_none(into) ? -1 : scalar_from(self, into, ANY);
    if (state->into < -1) return -1;
    if (state->init >= 0 && state->into >= 0 && self->scalar[state->init] != self->scalar[state->into])
        return refuse("the registers of a state must be of one kind", entry);
    const int number = state->init >= 0 ? state->init : state->into;
    state->size = number < 0 ? 8 : self->scalar[number]->size;
    if (offset_from(self->program, slot, state->size, &state->slot)) return -1;
    return offset_from(self->program, other, state->size, &state->other);
}

static int read_states(ParallelFunction *self, hl_sweep *sweep, PyObject *tuple) {
    const int count = count_of(tuple, "states");
    if (count < 0 || !(sweep->state = table(count, sizeof(hl_running)))) return -1;
    const int running = sweep->mode == HL_FOLD || sweep->mode == HL_SCAN;
    if (running != (count > 0)) return refuse("folds and scans have states, and nothing else has", tuple);
    sweep->states = count;
    note_most(&self->states, count);
    int starts = 0;
    for (int i = 0; i < count; i++) {
        if (read_state(self, &sweep->state[i], PyTuple_GET_ITEM(tuple, i))) return -1;
        starts += sweep->state[i].init >= 0;
    }
    sweep->starts = starts > 0;
    return starts == 0 || starts == count ? 0 : refuse("all states or none must have registers to start from", tuple);
}

static int read_output(const ParallelFunction *self, hl_output *output, PyObject *entry) {
    PyObject *number, *pointer;
    if (count_of(entry, "an output") < 0 || !PyArg_ParseTuple(entry, "OO:output", &number, &pointer)) return -1;
    output->array = array_from(self, number, ANY);
    if (output->array < 0) return -1;
    output->size = self->array[output->array]->size;
    return offset_from(self->program, pointer, 8, &output->pointer);
}

/* (position slot, register, outputs) of a filter. */
static int read_position(ParallelFunction *self, hl_sweep *sweep, PyObject *entry) {
    PyObject *position, *kept, *outputs;
    if (sweep->mode != HL_FILTER) return entry == Py_None ? 0 : refuse("only filters have a position", entry);
    if (count_of(entry, "the position") < 0 || !PyArg_ParseTuple(entry, "OOO:position", &position, &kept, &outputs)) return -1;
    sweep->kept = scalar_from(self, kept, "q");
    if (sweep->kept < 0 || offset_from(self->program, position, 8, &sweep->position)) return -1;
    const int count = count_of(outputs, "outputs");
    if (count < 0 || !(sweep->output = table(count, sizeof(hl_output)))) return -1;
    sweep->outputs = count;
    note_most(&self->made, count);
    for (int i = 0; i < count; i++)
        if (read_output(self, &sweep->output[i], PyTuple_GET_ITEM(outputs, i))) return -1;
    return 0;
}

static int mode_from(PyObject *text, hl_mode *mode) {
    static const char *const names[] = {"each", "ordered", "fold", "scan", "filter"};
    for (int i = 0; i < 5; i++) {
        *mode = (hl_mode)i;
        if (is_text(text, names[i])) return 0;
    }
    return refuse("expected each, ordered, fold, scan or filter", text);
}

/* (run, begin, combine, total_run, total_begin) */
static int read_entries(const ParallelFunction *self, hl_sweep *sweep, PyObject *tuple) {
    int64_t *const entries[] = {&sweep->run, &sweep->begin, &sweep->combine, &sweep->total_run, &sweep->total_begin};
    const int count = count_of(tuple, "entries");
    if (count < 0) return -1;
    if (count != 5) return refuse("a kernel has 5 entries", tuple);
    for (int i = 0; i < 5; i++) {
        uint32_t entry = 0;
        PyObject *item = PyTuple_GET_ITEM(tuple, i);
        if (!is_none(item) && entry_from(self->program, item, &entry)) return -1;
        *entries[i] = is_none(item) ? -1 : (int64_t)entry;
    }
    return sweep->run >= 0 ? 0 : refuse("a kernel needs code to run", tuple);
}

/* Whether all code is there that the mode needs. */
static int check_entries(const hl_sweep *sweep, PyObject *tuple) {
    const int combines = sweep->mode == HL_FOLD || sweep->mode == HL_SCAN;
    if (combines && sweep->combine < 0) return refuse("folds and scans need code to combine", tuple);
    if (sweep->mode != HL_SCAN) return 0;
    if (sweep->total_run < 0) return refuse("a scan needs code for the total of a chunk", tuple);
    return sweep->starts || sweep->begin >= 0 ? 0 : refuse("a scan needs code to begin with, or registers", tuple);
}

static int read_kernel(ParallelFunction *self, Op *op, PyObject *entry) {
    PyObject *tag, *mode, *entries, *low, *high, *count, *scalars, *bases, *states, *flags, *position, *chunk, *cost;
    if (!PyArg_ParseTuple(entry, "OOOOOOOOOOOOO:kernel", &tag, &mode, &entries, &low, &high, &count, &scalars, &bases, &states, &flags,
                          &position, &chunk, &cost))
        return -1;
    hl_sweep *sweep = op->sweep = table(1, sizeof(hl_sweep));
    if (!sweep || mode_from(mode, &sweep->mode) || read_entries(self, sweep, entries)) return -1;
    if (offset_from(self->program, low, 8, &sweep->low) || offset_from(self->program, high, 8, &sweep->high)) return -1;
    sweep->count = scalar_from(self, count, "q");
    if (sweep->count < 0 || read_operands(self, scalars, 1, ANY, &sweep->inputs.scalars, &sweep->inputs.scalar)) return -1;
    if (read_bases(self, bases, &sweep->inputs) || read_states(self, sweep, states)) return -1;
    if (read_operands(self, flags, 0, "?", &sweep->flags, &sweep->flag) || read_position(self, sweep, position)) return -1;
    sweep->chunk = number_from(chunk, sweep->mode > HL_ORDERED, MOST_CHUNK, "a chunk");
    sweep->cost = sweep->chunk < 0 ? -1 : number_from(cost, 0, MOST_COST, "the cost of an element");
    return sweep->cost < 0 ? -1 : check_entries(sweep, entries);
}

/* ------------------------------------------------------------------------------------ other ops */

static int read_compute(ParallelFunction *self, Op *op, PyObject *entry) {
    PyObject *tag, *code, *inputs, *bases, *outputs;
    if (!PyArg_ParseTuple(entry, "OOOOO:compute", &tag, &code, &inputs, &bases, &outputs)) return -1;
    if (entry_from(self->program, code, &op->entry)) return -1;
    if (read_operands(self, inputs, 0, ANY, &op->inputs.scalars, &op->inputs.scalar) || read_bases(self, bases, &op->inputs)) return -1;
    return read_operands(self, outputs, 0, ANY, &op->outputs, &op->output);
}

/* Ops of up to four items: what each of them is. A source comes after the array it goes to, and has its kind. */
static int read_simple(ParallelFunction *self, Op *op, PyObject *entry, const char *items) {
    const Py_ssize_t count = (Py_ssize_t)strlen(items);
    if (PyTuple_GET_SIZE(entry) != count + 1) return refuse("an op has another number of items", entry);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GET_ITEM(entry, i + 1);
        const char own[2] = {items[i] == 's' ? self->array[op->array]->code : 0, 0};
        int *into, number;
        switch (items[i]) {
        case 'a': into = &op->array, number = array_from(self, item, ANY); break;
        case 's': into = &op->source, number = array_from(self, item, own); break;
        case 'n': into = &op->length, number = scalar_from(self, item, "q"); break;
        case 'b': into = &op->start, number = scalar_from(self, item, "q"); break;
        case 'c': into = &op->scalar, number = scalar_from(self, item, "?"); break;
        default: into = &op->pc, number = (int)number_from(item, 0, self->ops, "the number of an op");
        }
        *into = number;
        if (number < 0) return -1;
    }
    return 0;
}

static int read_length(ParallelFunction *self, Op *op, PyObject *entry) {
    PyObject *tag, *length, *array;
    if (!PyArg_ParseTuple(entry, "OOO:length", &tag, &length, &array)) return -1;
    op->length = scalar_from(self, length, "q");
    op->array = op->length < 0 ? -1 : array_from(self, array, ANY);
    return op->array < 0 ? -1 : 0;
}

static int read_alias(ParallelFunction *self, Op *op, PyObject *entry) {
    PyObject *tag, *arrays, *sources;
    if (!PyArg_ParseTuple(entry, "OOO:alias", &tag, &arrays, &sources)) return -1;
    if (!(op->write = registers_from(self, arrays, array_from, ANY, &op->writes))) return -1;
    if (!(op->read = registers_from(self, sources, array_from, ANY, &op->reads))) return -1;
    if (op->reads != op->writes) return refuse("an alias has a source for each array", entry);
    note_most(&self->held, op->reads);
    for (int i = 0; i < op->reads; i++)
        if (self->array[op->read[i]] != self->array[op->write[i]]) return refuse("an alias has the kind of its source", entry);
    return 0;
}

static int read_fault(ParallelFunction *self, Op *op, PyObject *entry) {
    PyObject *tag, *condition, *number, *values;
    if (!PyArg_ParseTuple(entry, "OOOO:fault", &tag, &condition, &number, &values)) return -1;
    op->scalar = scalar_from(self, condition, "?");
    op->fault = op->scalar < 0 ? -1 : (int)number_from(number, 0, INT32_MAX, "the number of a fault");
    if (op->fault < 0) return -1;
    op->read = registers_from(self, values, scalar_from, ANY, &op->reads);
    return op->read ? 0 : -1;
}

static int read_sort(ParallelFunction *self, Op *op, PyObject *entry) {
    PyObject *tag, *keys, *descending, *sorted, *order;
    if (!PyArg_ParseTuple(entry, "OOOOO:sort", &tag, &keys, &descending, &sorted, &order)) return -1;
    if (!(op->read = registers_from(self, keys, array_from, ANY, &op->reads))) return -1;
    if (op->reads < 1 || op->reads > MOST_KEYS) return refuse("a sort has 1 to 64 keys", entry);
    if (count_of(descending, "descending") < 0 || count_of(sorted, "sorted") < 0) return -1;
    if (PyTuple_GET_SIZE(descending) != op->reads || PyTuple_GET_SIZE(sorted) != op->reads)
        return refuse("a sort says of each key whether it descends, and where it goes", entry);
    op->array = array_or_none(self, order, "q");
    op->descending = table(op->reads, 1);
    op->write = table(op->reads, sizeof(int));
    if (op->array < -1 || !op->descending || !op->write) return -1;
    note_most(&self->made, op->reads + 1);
    for (int i = 0; i < op->reads; i++) {
        const char own[2] = {self->array[op->read[i]]->code, 0};
        PyObject *down = PyTuple_GET_ITEM(descending, i);
        if (!PyBool_Check(down)) return refuse("a key descends, or not: True or False", entry);
        op->descending[i] = down == Py_True;
        op->write[i] = array_or_none(self, PyTuple_GET_ITEM(sorted, i), own);
        if (op->write[i] < -1) return -1;
    }
    return 0;
}

static int read_sort_by(ParallelFunction *self, Op *op, PyObject *entry) {
    PyObject *tag, *code, *first, *second, *less, *scalars, *bases, *length, *order;
    if (!PyArg_ParseTuple(entry, "OOOOOOOOO:sort_by", &tag, &code, &first, &second, &less, &scalars, &bases, &length, &order)) return -1;
    if (entry_from(self->program, code, &op->entry) || offset_from(self->program, first, 8, &op->first)) return -1;
    if (offset_from(self->program, second, 8, &op->second) || offset_from(self->program, less, 1, &op->less)) return -1;
    if (read_operands(self, scalars, 1, ANY, &op->inputs.scalars, &op->inputs.scalar) || read_bases(self, bases, &op->inputs)) return -1;
    op->length = scalar_from(self, length, "q");
    op->array = op->length < 0 ? -1 : array_from(self, order, "q");
    return op->array < 0 ? -1 : 0;
}

static int read_call(ParallelFunction *self, Op *op, PyObject *entry) {
    PyObject *tag, *callable, *inputs, *outputs;
    if (!PyArg_ParseTuple(entry, "OOOO:call", &tag, &callable, &inputs, &outputs)) return -1;
    if (!PyCallable_Check(callable)) return refuse("what is called must be callable", entry);
    op->callable = Py_NewRef(callable);
    if (!(op->read = registers_from(self, inputs, array_from, ANY, &op->reads))) return -1;
    if (!(op->write = registers_from(self, outputs, array_from, ANY, &op->writes))) return -1;
    note_most(&self->made, op->reads);
    return 0;
}

static int read_op(ParallelFunction *self, Op *op, PyObject *entry) {
    static const struct {
        const char *name, *items; /* items: see read_simple */
        Doing doing;
        int (*read)(ParallelFunction *, Op *, PyObject *);
    } ops[] = {
        {"kernel", NULL, DO_KERNEL, read_kernel}, {"compute", NULL, DO_COMPUTE, read_compute}, {"alias", NULL, DO_ALIAS, read_alias},
        {"length", NULL, DO_LENGTH, read_length}, {"fault", NULL, DO_FAULT, read_fault}, {"sort", NULL, DO_SORT, read_sort},
        {"sort_by", NULL, DO_SORT_BY, read_sort_by}, {"call", NULL, DO_CALL, read_call}, {"allocate", "an", DO_ALLOCATE, NULL},
        {"copy", "as", DO_COPY, NULL}, {"release", "a", DO_RELEASE, NULL}, {"slice", "asbn", DO_SLICE, NULL},
        {"jump", "p", DO_JUMP, NULL}, {"unless", "cp", DO_UNLESS, NULL},
    };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (!is_tagged(entry, ops[i].name)) continue;
        op->doing = ops[i].doing;
        return ops[i].read ? ops[i].read(self, op, entry) : read_simple(self, op, entry, ops[i].items);
    }
    return refuse("there is no such op", entry);
}

static int read_code(ParallelFunction *self, PyObject *code) {
    const int count = count_of(code, "code");
    if (count < 0 || !(self->op = table(count, sizeof(Op)))) return -1;
    self->ops = count;
    for (int i = 0; i < count; i++)
        if (read_op(self, &self->op[i], PyTuple_GET_ITEM(code, i))) return -1;
    return 0;
}

/* -------------------------------------------------------------------------------------- results */

static int read_result(const ParallelFunction *self, Result *result, PyObject *entry, int depth);

static int read_parts(const ParallelFunction *self, Result *result, PyObject *tuple, int depth) {
    const int count = count_of(tuple, "the parts of a result");
    if (count < 0 || !(result->parts = table(count, sizeof(Result)))) return -1;
    result->count = count;
    for (int i = 0; i < count; i++)
        if (read_result(self, &result->parts[i], PyTuple_GET_ITEM(tuple, i), depth + 1)) return -1;
    return 0;
}

static int read_array_result(const ParallelFunction *self, Result *result, PyObject *number, PyObject *lengths) {
    result->giving = GIVE_ARRAY;
    result->number = array_from(self, number, ANY);
    result->count = -1;
    if (result->number < 0 || lengths == Py_None) return result->number < 0 ? -1 : 0;
    result->lengths = registers_from(self, lengths, scalar_from, "q", &result->count);
    if (!result->lengths) return -1;
    return result->count <= AXES ? 0 : refuse("at most 32 dimensions are possible", lengths);
}

static int read_result(const ParallelFunction *self, Result *result, PyObject *entry, int depth) {
    if (depth > DEEPEST) return refuse("tuples in a result are too deep", entry);
    const Py_ssize_t size = PyTuple_Check(entry) ? PyTuple_GET_SIZE(entry) : 0;
    PyObject *second = size > 1 ? PyTuple_GET_ITEM(entry, 1) : NULL;
    if (size == 2 && is_tagged(entry, "number")) {
        result->giving = GIVE_NUMBER;
        result->number = scalar_from(self, second, ANY);
        return result->number < 0 ? -1 : 0;
    }
    if (size == 3 && is_tagged(entry, "array")) return read_array_result(self, result, second, PyTuple_GET_ITEM(entry, 2));
    if (size == 2 && is_tagged(entry, "tuple")) {
        result->giving = GIVE_TUPLE;
        return read_parts(self, result, second, depth);
    }
    if (size == 3 && is_tagged(entry, "python")) {
        result->giving = GIVE_PYTHON;
        if (!PyCallable_Check(second)) return refuse("what is called must be callable", entry);
        result->callable = Py_NewRef(second);
        return read_parts(self, result, PyTuple_GET_ITEM(entry, 2), depth);
    }
    return refuse("expected ('number', i), ('array', i, lengths), ('tuple', parts) or ('python', callable, parts)", entry);
}

static int visit_result(const Result *result, visitproc visit, void *arg) {
    Py_VISIT(result->callable);
    for (int i = 0; result->parts && i < result->count; i++) {
        int stop = visit_result(&result->parts[i], visit, arg);
        if (stop) return stop;
    }
    return 0;
}

static void free_result(Result *result) {
    for (int i = 0; result->parts && i < result->count; i++) free_result(&result->parts[i]);
    PyMem_Free(result->parts);
    PyMem_Free(result->lengths);
    Py_CLEAR(result->callable);
}

/* -------------------------------------------------------------------------------- the whole plan */

int parallel_plan_from(ParallelFunction *self, const Tuples *tuples) {
    if (!(self->scalar = kinds_from(tuples->scalars, &self->scalars, "scalars"))) return -1;
    if (!(self->array = kinds_from(tuples->arrays, &self->arrays, "arrays"))) return -1;
    if (read_parameters(self, tuples->arguments) || read_code(self, tuples->code)) return -1;
    return read_result(self, &self->result, tuples->result, 0);
}

int parallel_plan_visit(ParallelFunction *self, visitproc visit, void *arg) {
    for (int i = 0; i < self->ops; i++) Py_VISIT(self->op[i].callable);
    return visit_result(&self->result, visit, arg);
}

static void free_op(Op *op) {
    PyMem_Free(op->read);
    PyMem_Free(op->write);
    PyMem_Free(op->descending);
    PyMem_Free(op->inputs.scalar);
    PyMem_Free(op->inputs.base);
    PyMem_Free(op->output);
    Py_CLEAR(op->callable);
    if (!op->sweep) return;
    PyMem_Free(op->sweep->inputs.scalar);
    PyMem_Free(op->sweep->inputs.base);
    PyMem_Free(op->sweep->state);
    PyMem_Free(op->sweep->flag);
    PyMem_Free(op->sweep->output);
    PyMem_Free(op->sweep);
}

void free_parallel_plan(ParallelFunction *self) {
    for (int i = 0; i < self->ops; i++) free_op(&self->op[i]);
    for (int i = 0; i < self->parameters; i++) PyMem_Free(self->parameter[i].lengths);
    free_result(&self->result);
    PyMem_Free(self->op);
    PyMem_Free(self->parameter);
    PyMem_Free(self->scalar);
    PyMem_Free(self->array);
}
