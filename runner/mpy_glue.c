/* The native module that MicroPython imports: the functions of a compiled program for Python.
 *
 * Position-independent and without writable data of its own: nothing is relocated. MicroPython gives every function
 * its module, whose first constant object is the table of functions of the interpreter (.mpy version 6.3,
 * MicroPython 1.23 and later: py/nativeglue.h, py/dynruntime.h). Behind the glue lie a `program` and what its
 * offsets name: machine code, initial data, symbols and texts (src/hotloop/deploy/mpy.py writes them).
 *
 * The program's memory is the attribute `data` of the module, a bytearray. It is looked up, and its size checked, at
 * every call. No function allocates, but `new` and those that raise. */
#include <stddef.h>
#include <stdint.h>

typedef uintptr_t object; /* small integers and pointers; opaque here */
typedef uintptr_t name;   /* number of an interned string */

typedef struct {
    const void *type;
    void *globals;
    const uint16_t *names;
    const object *constants;
} module;

typedef struct {
    const void *type;
    const module *module;
} function;

typedef struct {
    void *start;
    size_t bytes;
    int code; /* of the module array */
} buffer;

typedef object handler(const function *self, size_t given, size_t keywords, const object *arguments);

/* What a function is made from: interpreted as native code that takes its arguments as an array. */
typedef struct {
    uint8_t indicator[2];
    uint8_t kind;
    uint8_t is_generator;
    handler *code;
    const void *children;
} raw_code;

/* The entries of the interpreter's table that are used, at their places. */
typedef struct {
    object none;
    void *unused_1[2];
    void *unused_3;
    object (*object_of)(intptr_t, uintptr_t type);
    void *unused_5[2];
    object (*load_global)(name);
    void *unused_8;
    object (*load_attribute)(object, name);
    void *unused_10[4];
    void (*store_attribute)(object, name, object);
    void *unused_15;
    _Bool (*truth)(object);
    void *unused_17[9];
    object (*make_function)(const raw_code *, const module *, const object *defaults);
    object (*call)(object, size_t count, const object *arguments);
    void *unused_28[6];
    void (*raise)(object);
    void *unused_35[15];
    void *(*set)(void *, int, size_t);
    void *(*move)(void *, const void *, size_t);
    void *unused_52[5];
    object (*text)(const char *, size_t);
    void *unused_58[7];
    _Bool (*get_buffer)(object, buffer *, uintptr_t flags);
    void *unused_66[5];
    void (*store_item)(char code, void *array, size_t index, object);
} runtime;
_Static_assert(offsetof(runtime, raise) == 34 * sizeof(void *), "the place of raise");
_Static_assert(offsetof(runtime, get_buffer) == 65 * sizeof(void *), "the place of get_buffer");
_Static_assert(offsetof(runtime, store_item) == 71 * sizeof(void *), "the place of store_item");

enum { NATIVE_VIPER = 4, TYPE_INTEGER = 2, READ = 1, WRITE = 2 };
enum { BYTEARRAY = 1 }; /* its code as an array */

/* The strings that the file has the interpreter intern, after its own name. */
enum { STEP = 1, GET, SET, RESET, NEW, DATA, SIZE, DOC, MADE_BYTEARRAY, VALUE_ERROR, TYPE_ERROR };
enum { RUNTIME, DOC_TEXT }; /* constant objects */

enum kind { INPUT, OUTPUT, STATE };

/* All numbers are little-endian, offsets count from the program's start. */
typedef struct {
    uint32_t text; /* its name, a zero, its type, a zero */
    uint32_t type;
    uint32_t offset; /* in the data */
    uint32_t bytes;
    uint8_t kind;
    uint8_t scalar;
    uint8_t code; /* of the module array; '?' for bool */
    uint8_t unused;
} symbol;

typedef struct {
    uint32_t entry; /* the address to call: odd for Thumb */
    uint32_t initial;
    uint32_t initial_bytes; /* the rest of the data is zero */
    uint32_t bytes;
    uint32_t alignment;
    uint32_t inputs; /* the first symbols; outputs follow, then states */
    uint32_t outputs;
    uint32_t symbols;
    symbol symbol[];
} program;

extern const program PROGRAM __attribute__((visibility("hidden"))); /* the linker's script: the end of the glue */

static const char *at(uint32_t offset) { return (const char *)&PROGRAM + offset; }

static const runtime *runtime_of(const function *self) { return (const runtime *)self->module->constants[RUNTIME]; }

/* -- messages -------------------------------------------------------------------------------------------------- */

typedef struct {
    size_t length;
    char text[192];
} message;

static void put(message *m, const char *text) {
    while (*text && m->length < sizeof m->text) m->text[m->length++] = *text++;
}

static void put_number(message *m, uintptr_t number) {
    char digits[21];
    char *first = digits + sizeof digits - 1;
    *first = 0;
    do *--first = (char)('0' + number % 10);
    while (number /= 10);
    put(m, first);
}

/* Raise an exception whose text is what the symbol is, if there is one, and `text`, in which a '#' is a number of
 * `values` and a '$' a character. */
static __attribute__((noreturn, noinline)) void refuse(
    const function *self, int type, const symbol *s, const char *text, const uintptr_t *values) {
    const runtime *r = runtime_of(self);
    message m;
    m.length = 0;
    if (s) put(&m, at(s->text)), put(&m, " is "), put(&m, at(s->type)), put(&m, ": ");
    for (; *text; text++) {
        char letter[2] = {*text == '$' ? (char)*values++ : *text, 0};
        if (*text == '#') put_number(&m, *values++);
        else put(&m, letter);
    }
    object message_text = r->text(m.text, m.length);
    r->raise(r->call(r->load_global(self->module->names[type]), 1, &message_text));
    __builtin_unreachable();
}

/* -- buffers ---------------------------------------------------------------------------------------------------- */

/* Whether a buffer of items of this code holds what the symbol is: bytes hold everything. */
static int code_fits(uint8_t wanted, int code) {
    if (code == wanted || code == BYTEARRAY || code == 'B' || code == 'b') return 1;
    if (code == 'l') return wanted == (sizeof(long) == 8 ? 'q' : 'i');
    if (code == 'L') return wanted == (sizeof(long) == 8 ? 'Q' : 'I');
    return 0;
}

static void check_buffer(const function *self, const symbol *s, const buffer *b) {
    uintptr_t sizes[] = {s->bytes, b->bytes}, codes[] = {s->code, (uintptr_t)b->code};
    if (b->bytes != s->bytes) refuse(self, VALUE_ERROR, s, "its buffer has # bytes, not #", sizes);
    if (!code_fits(s->code, b->code)) refuse(self, TYPE_ERROR, s, "give array('$', ...) or bytes, not array('$', ...)", codes);
}

/* The program's memory: whatever the attribute `data` is, if it can be used. */
static char *memory(const function *self) {
    const runtime *r = runtime_of(self);
    buffer b;
    if (!r->get_buffer(r->load_attribute((object)self->module, self->module->names[DATA]), &b, READ | WRITE))
        refuse(self, TYPE_ERROR, NULL, "data must be a bytearray: see new()", NULL);
    if (b.bytes < PROGRAM.bytes) refuse(self, VALUE_ERROR, NULL, "data is shorter than SIZE bytes: see new()", NULL);
    if ((uintptr_t)b.start & (PROGRAM.alignment - 1)) refuse(self, VALUE_ERROR, NULL, "data is not aligned in memory: see new()", NULL);
    return b.start;
}

static void initialise(const runtime *r, char *data) {
    r->move(data, at(PROGRAM.initial), PROGRAM.initial_bytes);
    r->set(data + PROGRAM.initial_bytes, 0, PROGRAM.bytes - PROGRAM.initial_bytes);
}

/* A number is stored as an array of the interpreter stores it; it raises what an array raises. */
static void write_number(const function *self, const symbol *s, char *place, object value) {
    const runtime *r = runtime_of(self);
    if (!s->scalar) refuse(self, TYPE_ERROR, s, "give an array, a bytearray or a memoryview", NULL);
    if (s->code == '?') *place = r->truth(value);
    else r->store_item((char)s->code, place, 0, value);
}

static void write(const function *self, const symbol *s, char *data, object value) {
    const runtime *r = runtime_of(self);
    buffer b;
    if (!r->get_buffer(value, &b, READ)) {
        write_number(self, s, data + s->offset, value);
        return;
    }
    check_buffer(self, s, &b);
    r->move(data + s->offset, b.start, s->bytes);
}

static void *writable(const function *self, const symbol *s, object value) {
    buffer b;
    if (!runtime_of(self)->get_buffer(value, &b, WRITE)) refuse(self, TYPE_ERROR, s, "give a buffer that can be written", NULL);
    check_buffer(self, s, &b);
    return b.start;
}

/* -- functions of the module ------------------------------------------------------------------------------------ */

static object step(const function *self, size_t given, size_t keywords, const object *arguments) {
    const runtime *r = runtime_of(self);
    const symbol *s = PROGRAM.symbol;
    size_t inputs = PROGRAM.inputs, all = inputs + PROGRAM.outputs;
    uintptr_t counts[] = {inputs, PROGRAM.outputs, given};
    if (keywords || (given && given != all))
        refuse(self, TYPE_ERROR, NULL, "step takes nothing, or # inputs and then # outputs, not # arguments", counts);
    char *data = memory(self);
    for (size_t i = inputs; i < given; i++) writable(self, &s[i], arguments[i]); /* before anything changes */
    for (size_t i = 0; given && i < inputs; i++) write(self, &s[i], data, arguments[i]);
    ((void (*)(void *))(uintptr_t)at(PROGRAM.entry))(data);
    for (size_t i = inputs; i < given; i++) r->move(writable(self, &s[i], arguments[i]), data + s[i].offset, s[i].bytes);
    return r->none;
}

static const symbol *find(const function *self, object which) {
    buffer b;
    if (!runtime_of(self)->get_buffer(which, &b, READ)) refuse(self, TYPE_ERROR, NULL, "the name of a value is a str", NULL);
    const char *wanted = b.start;
    for (uint32_t i = 0; i < PROGRAM.symbols; i++) {
        const char *known = at(PROGRAM.symbol[i].text);
        size_t n = 0;
        while (n < b.bytes && known[n] && known[n] == wanted[n]) n++;
        if (n == b.bytes && !known[n]) return &PROGRAM.symbol[i];
    }
    refuse(self, VALUE_ERROR, NULL, "no input, output or state has this name; see __doc__", NULL);
}

static object get(const function *self, size_t given, size_t keywords, const object *arguments) {
    if (keywords || given != 2) refuse(self, TYPE_ERROR, NULL, "get takes the name of a value and a buffer to fill", NULL);
    const symbol *s = find(self, arguments[0]);
    runtime_of(self)->move(writable(self, s, arguments[1]), memory(self) + s->offset, s->bytes);
    return runtime_of(self)->none;
}

static object set(const function *self, size_t given, size_t keywords, const object *arguments) {
    if (keywords || given != 2) refuse(self, TYPE_ERROR, NULL, "set takes the name of an input or state and its value", NULL);
    const symbol *s = find(self, arguments[0]);
    if (s->kind == OUTPUT) refuse(self, VALUE_ERROR, s, "an output cannot be set", NULL);
    write(self, s, memory(self), arguments[1]);
    return runtime_of(self)->none;
}

static object reset(const function *self, size_t given, size_t keywords, const object *arguments) {
    (void)arguments;
    if (keywords || given) refuse(self, TYPE_ERROR, NULL, "reset takes no argument", NULL);
    initialise(runtime_of(self), memory(self));
    return runtime_of(self)->none;
}

static object new(const function *self, size_t given, size_t keywords, const object *arguments) {
    (void)arguments;
    const runtime *r = runtime_of(self);
    if (keywords || given) refuse(self, TYPE_ERROR, NULL, "new takes no argument", NULL);
    object size = r->object_of((intptr_t)PROGRAM.bytes, TYPE_INTEGER);
    object made = r->call(r->load_global(self->module->names[MADE_BYTEARRAY]), 1, &size);
    buffer b;
    r->get_buffer(made, &b, WRITE);
    initialise(r, b.start);
    return made;
}

static void add(const function *self, int place, object value) {
    runtime_of(self)->store_attribute((object)self->module, self->module->names[place], value);
}

static void add_function(const function *self, int place, handler *code) {
    raw_code raw = {{0, 0}, NATIVE_VIPER, 0, code, NULL};
    add(self, place, runtime_of(self)->make_function(&raw, self->module, NULL));
}

/* The first byte of the file's machine code: what `import` calls. */
__attribute__((section(".text.first"), used)) object import(const function *self, size_t given, size_t keywords, const object *arguments) {
    add_function(self, STEP, step);
    add_function(self, GET, get);
    add_function(self, SET, set);
    add_function(self, RESET, reset);
    add_function(self, NEW, new);
    add(self, SIZE, runtime_of(self)->object_of((intptr_t)PROGRAM.bytes, TYPE_INTEGER));
    add(self, DOC, self->module->constants[DOC_TEXT]);
    add(self, DATA, new(self, 0, 0, NULL));
    (void)given, (void)keywords, (void)arguments;
    return runtime_of(self)->none;
}
