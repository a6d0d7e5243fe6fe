/* The plan of an `ArrayFunction`: tuples from Python become C structs, and everything in them is checked,
 * so that no plan, however wrong, makes a call read or write outside of its memory. (Machine code is not
 * judged: who may load a program may run anything.) */
#include "python_arrays.h"
#include "python_tuples.h"

enum { MOST_BLOCK = 4096, MOST_BUFFERS = 1024 }; /* of a block, a plan */

/* ------------------------------------------------------------------- elements, dimensions, buffers */

/* NumPy's characters of 64-bit integers are those of C's types. */
static const Kind *element_from(PyObject *object) {
    if (is_text(object, "l") || is_text(object, "L")) {
        PyObject *name = PyUnicode_FromString(is_text(object, "l") ? "q" : "Q");
        const Kind *kind = name ? kind_of(name) : NULL;
        Py_XDECREF(name);
        return kind;
    }
    return kind_of(object);
}

static int dims_from(ArrayFunction *self, PyObject *object, int *dims) {
    int rank = count_of(object, "dims");
    if (rank < 0) return -1;
    if (rank > HL_RANK) return refuse("at most 8 dimensions are possible", object);
    for (int i = 0; i < rank; i++) {
        Py_ssize_t dim = number_from(PyTuple_GET_ITEM(object, i), -1, DIMS - 1, "a Dim");
        if (dim < -1) return -1;
        dims[i] = (int)dim;
        if (dim >= 0) self->dims |= (uint64_t)1 << dim;
    }
    return rank;
}

static int same_dims(const int *a, int a_rank, const int *b, int b_rank) {
    if (a_rank != b_rank) return 0;
    for (int i = 0; i < a_rank; i++)
        if (a[i] != b[i]) return 0;
    return 1;
}

/* Move the Dims that are not the literal 1 to the front; returns how many there are. */
static int without_ones(const int *dims, int rank, int *out) {
    int count = 0;
    for (int i = 0; i < rank; i++)
        if (dims[i] >= 0) out[count++] = dims[i];
    return count;
}

static int buffer_from(const ArrayFunction *self, PyObject *object) {
    return (int)number_from(object, 0, self->buffers - 1, "the number of a buffer");
}

/* ------------------------------------------------------------------------------ arguments, buffers */

static int argument_from(ArrayFunction *self, Argument *argument, PyObject *entry) {
    if (is_tagged(entry, "number") && PyTuple_GET_SIZE(entry) == 2) {
        argument->rank = -1;
        argument->kind = number_kind(PyTuple_GET_ITEM(entry, 1), &argument->scalar);
        return argument->kind ? 0 : -1;
    }
    if (!is_tagged(entry, "array") || PyTuple_GET_SIZE(entry) != 3)
        return refuse("expected ('number', kind) or ('array', type, dims)", entry);
    argument->kind = element_from(PyTuple_GET_ITEM(entry, 1));
    if (!argument->kind) return -1;
    argument->rank = dims_from(self, PyTuple_GET_ITEM(entry, 2), argument->dims);
    return argument->rank < 0 ? -1 : 0;
}

static int role_from(const ArrayFunction *self, Buffer *buffer, PyObject *role) {
    int is_argument = is_tagged(role, "argument"), is_result = is_tagged(role, "result");
    Py_ssize_t size = is_argument || is_result ? 2 : 1;
    if (!(size == 2 || is_tagged(role, "temporary")) || PyTuple_GET_SIZE(role) != size)
        return refuse("expected ('argument', i), ('result', i) or ('temporary',)", role);
    buffer->role = is_argument ? OF_ARGUMENT : is_result ? OF_RESULT : TEMPORARY;
    if (size == 1) return 0;
    int count = is_argument ? self->arguments : self->results;
    Py_ssize_t index = number_from(PyTuple_GET_ITEM(role, 1), 0, count - 1, "the number of an argument or result");
    buffer->index = (int)index;
    if (index < 0) return -1;
    if (is_result) return 0;
    const Argument *argument = &self->argument[index];
    if (argument->kind == buffer->kind && same_dims(argument->dims, argument->rank, buffer->dims, buffer->rank)) return 0;
    return refuse("the buffer is not what its argument is", role);
}

static int read_buffer(ArrayFunction *self, Buffer *buffer, PyObject *entry) {
    PyObject *kind, *dims, *role;
    if (count_of(entry, "a buffer") < 0 || !PyArg_ParseTuple(entry, "OOO:buffer", &kind, &dims, &role)) return -1;
    buffer->kind = element_from(kind);
    if (!buffer->kind) return -1;
    buffer->rank = dims_from(self, dims, buffer->dims);
    buffer->written = buffer->last = -1;
    return buffer->rank < 0 ? -1 : role_from(self, buffer, role);
}

/* ----------------------------------------------------------------------------------------- kernels */

/* Each axis that is not the literal 1 must be walked once, by a dimension of its own length; others are
 * not walked. */
static int axes_from(const Stage *stage, const Buffer *buffer, PyObject *entry, int8_t *axes) {
    int walked[HL_RANK] = {0};
    if (count_of(entry, "axes") < 0) return -1;
    if (PyTuple_GET_SIZE(entry) != stage->kernel.rank) return refuse("a stream needs an axis for each dimension", entry);
    for (int i = 0; i < stage->kernel.rank; i++) {
        Py_ssize_t axis = number_from(PyTuple_GET_ITEM(entry, i), -1, buffer->rank - 1, "an axis");
        if (axis < -1) return -1;
        axes[i] = -1;
        if (axis < 0 || buffer->dims[axis] < 0) continue; /* length 1: any stride reaches it */
        if (buffer->dims[axis] != stage->dims[i]) return refuse("an axis is walked by a dimension of another length", entry);
        axes[i] = (int8_t)axis;
        walked[axis]++;
    }
    for (int i = 0; i < buffer->rank; i++)
        if (buffer->dims[i] >= 0 && walked[i] != 1) return refuse("each axis must be walked once", entry);
    return 0;
}

/* Note that a stage writes a buffer, which nothing may have done before. */
static int note_write(ArrayFunction *self, int number, int stage, int dense) {
    Buffer *buffer = &self->buffer[number];
    if (buffer->role == OF_ARGUMENT || buffer->written >= 0) {
        fail("ImageError", "plan: buffer %d is an argument, or written twice", number);
        return -1;
    }
    buffer->written = buffer->last = stage;
    buffer->dense = (char)dense;
    return 0;
}

/* Note that a stage reads a buffer, which must have been written before. */
static int note_read(ArrayFunction *self, int number, int stage) {
    Buffer *buffer = &self->buffer[number];
    if (buffer->role != OF_ARGUMENT && (buffer->written < 0 || buffer->written >= stage)) {
        fail("ImageError", "plan: buffer %d is read before it is written", number);
        return -1;
    }
    buffer->last = stage;
    return 0;
}

static int read_stream(ArrayFunction *self, int number, hl_stream *stream, PyObject *entry, int writes) {
    PyObject *buffer, *axes, *pointer, *tail, *itemsize;
    Stage *stage = &self->stage[number];
    if (count_of(entry, "a stream") < 0 || !PyArg_ParseTuple(entry, "OOOOO:stream", &buffer, &axes, &pointer, &tail, &itemsize)) return -1;
    stream->buffer = buffer_from(self, buffer);
    if (stream->buffer < 0) return -1;
    const Buffer *walked = &self->buffer[stream->buffer];
    if (axes_from(stage, walked, axes, stream->axes)) return -1;
    if (offset_from(self->program, pointer, 8, &stream->pointer_offset)) return -1;
    if (offset_from(self->program, tail, 8, &stream->tail_offset)) return -1;
    Py_ssize_t size = number_from(itemsize, walked->kind->size, walked->kind->size, "the itemsize of a stream");
    if (size < 0) return -1;
    stream->itemsize = (uint32_t)size;
    stream->tail_at = self->tails;
    self->tails += ((size_t)size * stage->kernel.block + HL_LINE - 1) / HL_LINE * HL_LINE;
    stream->pack_at = stage->kernel.scratch;
    stage->kernel.scratch += (size_t)size * (stage->kernel.reductions ? HL_CHUNK : HL_PACKED);
    if (!writes) return note_read(self, stream->buffer, number);
    for (int i = 0; i < stage->kernel.rank; i++)
        if (stage->dims[i] >= 0 && stream->axes[i] < 0) return refuse("what is written must have all dimensions", entry);
    return note_write(self, stream->buffer, number, 0);
}

static int read_streams(ArrayFunction *self, int number, PyObject *streams, PyObject *stores) {
    hl_kernel *kernel = &self->stage[number].kernel;
    kernel->reads = count_of(streams, "streams");
    kernel->writes = kernel->reads < 0 ? -1 : count_of(stores, "stores");
    if (kernel->writes < 0) return -1;
    int all = kernel->reads + kernel->writes;
    kernel->streams = table(all, sizeof(hl_stream));
    if (!kernel->streams) return -1;
    for (int i = 0; i < all; i++) {
        PyObject *entry = i < kernel->reads ? PyTuple_GET_ITEM(streams, i) : PyTuple_GET_ITEM(stores, i - kernel->reads);
        if (read_stream(self, number, &kernel->streams[i], entry, i >= kernel->reads)) return -1;
    }
    if (all > self->streams) self->streams = all;
    if (kernel->scratch > self->scratch) self->scratch = kernel->scratch;
    return 0;
}

static int read_combine(const ArrayFunction *self, hl_combine *combine, PyObject *entry) {
    PyObject *code, *count, *pointer, *tail, *result;
    if (count_of(entry, "a combine") < 0 || !PyArg_ParseTuple(entry, "OOOOO:combine", &code, &count, &pointer, &tail, &result)) return -1;
    if (entry_from(self->program, code, &combine->entry) || offset_from(self->program, count, 8, &combine->count_offset)) return -1;
    if (offset_from(self->program, pointer, 8, &combine->pointer_offset)) return -1;
    if (offset_from(self->program, tail, 8, &combine->tail_offset)) return -1;
    return offset_from(self->program, result, 8, &combine->result_offset);
}

static int read_reduction(ArrayFunction *self, int number, hl_reduction *reduction, PyObject *entry) {
    PyObject *into, *offset, *itemsize, *which;
    const Stage *stage = &self->stage[number];
    if (count_of(entry, "a reduction") < 0 || !PyArg_ParseTuple(entry, "OOOO:reduction", &into, &offset, &itemsize, &which)) return -1;
    reduction->buffer = buffer_from(self, into);
    if (reduction->buffer < 0) return -1;
    const Buffer *buffer = &self->buffer[reduction->buffer];
    int left[HL_RANK], kept[HL_RANK];
    int rank = without_ones(buffer->dims, buffer->rank, left), kept_rank = without_ones(stage->dims, stage->kernel.kept, kept);
    if (!same_dims(left, rank, kept, kept_rank)) return refuse("the result of a reduction must have the kept dimensions", entry);
    Py_ssize_t size = number_from(itemsize, buffer->kind->size, buffer->kind->size, "the itemsize of a reduction");
    Py_ssize_t combine = size < 0 ? -1 : number_from(which, 0, self->combines - 1, "the number of a combine");
    if (combine < 0 || offset_from(self->program, offset, (size_t)size, &reduction->result_offset)) return -1;
    reduction->itemsize = (uint32_t)size;
    reduction->combine = self->combine[combine];
    return note_write(self, reduction->buffer, number, 1);
}

static int read_reductions(ArrayFunction *self, int number, PyObject *entries) {
    hl_kernel *kernel = &self->stage[number].kernel;
    for (int i = 0; i < kernel->reductions; i++)
        if (read_reduction(self, number, &kernel->reduction[i], PyTuple_GET_ITEM(entries, i))) return -1;
    if (kernel->reductions > self->reductions) self->reductions = kernel->reductions;
    return 0;
}

/* ----------------------------------------------------------------------------------------- scalars */

static int scalar_source(ArrayFunction *self, int stage, Scalar *scalar, PyObject *source) {
    int is_argument = is_tagged(source, "argument"), is_buffer = is_tagged(source, "buffer");
    if (!(is_argument || is_buffer || is_tagged(source, "size")) || PyTuple_GET_SIZE(source) != 2)
        return refuse("expected ('argument', i), ('buffer', i) or ('size', dims)", source);
    PyObject *item = PyTuple_GET_ITEM(source, 1);
    if (!is_argument && !is_buffer) {
        scalar->source = FROM_SIZE;
        scalar->rank = dims_from(self, item, scalar->dims);
        return scalar->rank < 0 ? -1 : 0;
    }
    scalar->source = is_argument ? FROM_ARGUMENT : FROM_BUFFER;
    scalar->index = is_buffer ? buffer_from(self, item) : (int)number_from(item, 0, self->arguments - 1, "the number of an argument");
    if (scalar->index < 0) return -1;
    const Buffer *buffer = is_buffer ? &self->buffer[scalar->index] : NULL;
    int ones[HL_RANK], one = buffer ? !without_ones(buffer->dims, buffer->rank, ones) : self->argument[scalar->index].rank < 0;
    const Kind *kind = buffer ? buffer->kind : self->argument[scalar->index].kind;
    if (!one || !strchr("fd?iq", kind->code)) return refuse("the source of a scalar must be one number", source);
    if (kind->is_float && strchr("iq", scalar->kind->code)) return refuse("no integer can be made from a float", source);
    return is_buffer ? note_read(self, scalar->index, stage) : 0;
}

static int read_scalar(ArrayFunction *self, int stage, Scalar *scalar, PyObject *entry) {
    PyObject *offset, *kind, *source;
    if (count_of(entry, "a scalar") < 0 || !PyArg_ParseTuple(entry, "OOO:scalar", &offset, &kind, &source)) return -1;
    scalar->kind = kind_of(kind);
    if (!scalar->kind) return -1;
    if (!strchr("fd?iq", scalar->kind->code)) return refuse("no scalar has this kind", entry);
    if (offset_from(self->program, offset, scalar->kind->size, &scalar->offset)) return -1;
    return scalar_source(self, stage, scalar, source);
}

static int read_scalars(ArrayFunction *self, int number, PyObject *entries) {
    Stage *stage = &self->stage[number];
    stage->kernel.scalars = count_of(entries, "scalars");
    if (stage->kernel.scalars < 0) return -1;
    stage->scalars = table(stage->kernel.scalars, sizeof(Scalar));
    for (int i = 0; i < stage->kernel.scalars; i++)
        if (!stage->scalars || read_scalar(self, number, &stage->scalars[i], PyTuple_GET_ITEM(entries, i))) return -1;
    if (stage->kernel.scalars > self->scalars) self->scalars = stage->kernel.scalars;
    return stage->scalars ? 0 : -1;
}

/* ------------------------------------------------------------------------------------------ stages */

/* What comes before the streams. */
static int read_head(ArrayFunction *self, Stage *stage, PyObject *block, PyObject *kept, PyObject *dims, PyObject *reductions) {
    hl_kernel *kernel = &stage->kernel;
    Py_ssize_t elements = number_from(block, 1, MOST_BLOCK, "a block");
    if (elements < 0) return -1;
    if (elements & (elements - 1)) return refuse("a block must be a power of two", block);
    kernel->block = (uint32_t)elements;
    kernel->rank = dims_from(self, dims, stage->dims);
    kernel->reductions = kernel->rank < 0 ? -1 : count_of(reductions, "reductions");
    if (kernel->reductions < 0) return -1;
    kernel->reduction = table(kernel->reductions, sizeof(hl_reduction));
    if (!kernel->reduction) return -1;
    Py_ssize_t rank = number_from(kept, kernel->reductions ? 0 : kernel->rank, kernel->rank, "the number of kept dimensions");
    kernel->kept = (int)rank;
    return rank < 0 ? -1 : 0;
}

static int read_kernel(ArrayFunction *self, int number, PyObject *entry) {
    PyObject *tag, *code, *count, *block, *kept, *dims, *streams, *stores, *reductions, *scalars;
    Stage *stage = &self->stage[number];
    long long cost;
    if (!PyArg_ParseTuple(entry, "OOOOOOOOOOL:kernel", &tag, &code, &count, &block, &kept, &dims, &streams, &stores, &reductions,
                          &scalars, &cost))
        return -1;
    stage->kernel.cost = cost < 0 ? 0 : cost;
    if (entry_from(self->program, code, &stage->kernel.entry)) return -1;
    if (offset_from(self->program, count, 8, &stage->kernel.count_offset)) return -1;
    if (read_head(self, stage, block, kept, dims, reductions) || read_scalars(self, number, scalars)) return -1;
    return read_streams(self, number, streams, stores) || read_reductions(self, number, reductions) ? -1 : 0;
}

static int read_call(ArrayFunction *self, int number, PyObject *entry) {
    PyObject *tag, *callable, *inputs, *outputs, *cost;
    Stage *stage = &self->stage[number];
    if (!PyArg_ParseTuple(entry, "OOOO|O:call", &tag, &callable, &inputs, &outputs, &cost)) return -1;
    if (!PyCallable_Check(callable)) return refuse("what is called must be callable", entry);
    stage->callable = Py_NewRef(callable);
    stage->inputs = count_of(inputs, "the inputs of a call");
    stage->outputs = stage->inputs < 0 ? -1 : count_of(outputs, "the outputs of a call");
    if (stage->outputs < 0) return -1;
    if (stage->outputs < 1) return refuse("a call needs an output", entry);
    stage->buffers = table(stage->inputs + stage->outputs, sizeof(int));
    if (!stage->buffers) return -1;
    for (int i = 0; i < stage->inputs + stage->outputs; i++) {
        int writes = i >= stage->inputs;
        int buffer = buffer_from(self, writes ? PyTuple_GET_ITEM(outputs, i - stage->inputs) : PyTuple_GET_ITEM(inputs, i));
        if (buffer < 0 || (writes ? note_write(self, buffer, number, 1) : note_read(self, buffer, number))) return -1;
        self->buffer[buffer].object = 1;
        stage->buffers[i] = buffer;
    }
    return 0;
}

/* -------------------------------------------------------------------------------------- in place */

static int uses(const Stage *stage, int buffer) {
    if (stage->callable) {
        for (int i = 0; i < stage->inputs; i++)
            if (stage->buffers[i] == buffer) return 1;
        return 0;
    }
    for (int i = 0; i < stage->kernel.reads; i++)
        if (stage->kernel.streams[i].buffer == buffer) return 1;
    for (int i = 0; i < stage->kernel.scalars; i++)
        if (stage->scalars[i].source == FROM_BUFFER && stage->scalars[i].index == buffer) return 1;
    return 0;
}

/* May the result lie in the very memory of the argument? Only if the argument is not needed once the first
 * element is written, but for the element itself. */
static int may_alias(const ArrayFunction *self, int result, int argument) {
    const Buffer *buffer = &self->buffer[result];
    const Stage *writer = &self->stage[buffer->written];
    if (buffer->dense || buffer->kind->size != self->buffer[argument].kind->size) return 0;
    for (int i = buffer->written + 1; i < self->stages; i++)
        if (uses(&self->stage[i], argument)) return 0;
    const hl_kernel *kernel = &writer->kernel;
    const hl_stream *store = NULL;
    for (int i = 0; i < kernel->writes; i++)
        if (kernel->streams[kernel->reads + i].buffer == result) store = &kernel->streams[kernel->reads + i];
    for (int i = 0; i < kernel->reads; i++)
        if (kernel->streams[i].buffer == argument && memcmp(kernel->streams[i].axes, store->axes, sizeof store->axes)) return 0;
    return 1;
}

static int note_aliases(ArrayFunction *self) {
    self->aliases = table(self->buffers * self->buffers, 1);
    if (!self->aliases) return -1;
    for (int i = 0; i < self->buffers; i++)
        for (int j = 0; j < self->buffers && self->buffer[i].role == OF_RESULT; j++)
            if (self->buffer[j].role == OF_ARGUMENT) self->aliases[i * self->buffers + j] = (uint8_t)may_alias(self, i, j);
    return 0;
}

/* ------------------------------------------------------------------------------------ the whole plan */

static int read_stages(ArrayFunction *self, PyObject *entries) {
    for (int i = 0; i < self->stages; i++) {
        PyObject *entry = PyTuple_GET_ITEM(entries, i);
        int is_call = is_tagged(entry, "call");
        if (!is_call && !is_tagged(entry, "kernel")) return refuse("expected ('kernel', ...) or ('call', ...)", entry);
        if (is_call ? read_call(self, i, entry) : read_kernel(self, i, entry)) return -1;
    }
    return 0;
}

static int read_results(ArrayFunction *self, PyObject *entries) {
    for (int i = 0; i < self->results; i++) {
        self->result[i] = buffer_from(self, PyTuple_GET_ITEM(entries, i));
        if (self->result[i] < 0) return -1;
        if (self->buffer[self->result[i]].role != OF_RESULT) return refuse("results must be buffers of that role", entries);
    }
    for (int i = 0; i < self->buffers; i++) {
        const Buffer *buffer = &self->buffer[i];
        if (buffer->role != OF_RESULT) continue;
        if (buffer->written < 0) return refuse("a result is never written", entries);
        if (self->result[buffer->index] != i) return refuse("a buffer is not the result that it says", entries);
    }
    return 0;
}

/* Memory for the tables of all tuples but the stages' own. */
static int make_tables(ArrayFunction *self, PyObject *arguments, PyObject *buffers, PyObject *stages, PyObject *combines,
                       PyObject *results) {
    if ((self->arguments = count_of(arguments, "arguments")) < 0 || (self->buffers = count_of(buffers, "buffers")) < 0) return -1;
    if ((self->combines = count_of(combines, "combines")) < 0 || (self->results = count_of(results, "results")) < 0) return -1;
    int stages_count = count_of(stages, "stages");
    if (stages_count < 0) return -1;
    if (self->buffers > MOST_BUFFERS) return refuse("too many buffers", PyTuple_GET_ITEM(buffers, 0));
    if (!(self->argument = table(self->arguments, sizeof(Argument))) || !(self->buffer = table(self->buffers, sizeof(Buffer)))) return -1;
    if (!(self->combine = table(self->combines, sizeof(hl_combine))) || !(self->result = table(self->results, sizeof(int)))) return -1;
    if (!(self->stage = table(stages_count, sizeof(Stage)))) return -1;
    self->stages = stages_count;
    return 0;
}

int plan_from(ArrayFunction *self, PyObject *arguments, PyObject *buffers, PyObject *stages, PyObject *combines, PyObject *results) {
    if (make_tables(self, arguments, buffers, stages, combines, results)) return -1;
    self->tails = HL_PARTIALS * 8;
    for (int i = 0; i < self->arguments; i++)
        if (argument_from(self, &self->argument[i], PyTuple_GET_ITEM(arguments, i))) return -1;
    uint64_t bound = self->dims;
    for (int i = 0; i < self->buffers; i++)
        if (read_buffer(self, &self->buffer[i], PyTuple_GET_ITEM(buffers, i))) return -1;
    for (int i = 0; i < self->combines; i++)
        if (read_combine(self, &self->combine[i], PyTuple_GET_ITEM(combines, i))) return -1;
    if (read_stages(self, stages) || read_results(self, results)) return -1;
    if (self->dims & ~bound) {
        fail("ImageError", "plan: no argument has Dim %d", __builtin_ctzll(self->dims & ~bound));
        return -1;
    }
    return note_aliases(self);
}

void free_plan(ArrayFunction *self) {
    for (int i = 0; self->stage && i < self->stages; i++) {
        Stage *stage = &self->stage[i];
        Py_CLEAR(stage->callable);
        PyMem_Free(stage->buffers);
        PyMem_Free(stage->scalars);
        PyMem_Free(stage->kernel.streams);
        PyMem_Free(stage->kernel.reduction);
    }
    PyMem_Free(self->stage);
    PyMem_Free(self->argument);
    PyMem_Free(self->buffer);
    PyMem_Free(self->combine);
    PyMem_Free(self->result);
    PyMem_Free(self->aliases);
}
