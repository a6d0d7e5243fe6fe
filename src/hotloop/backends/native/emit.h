/* What the parts of the emitter share: tables of a library, the program, the state of an assembly. */
#ifndef HOTLOOP_EMIT_H
#define HOTLOOP_EMIT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* Why an assembly failed. */
enum { NO_MEMORY = 1, NO_REGISTERS, TOO_FAR, NO_STENCIL };

enum { NEVER = INT32_MAX, VECTOR = 1, INTEGER = 2, MAX_REGISTERS = 32 };
enum { OP_LOOP = -1, OP_END = -2, OP_EXIT = -3, OP_STORE = -4, OP_COPY = -5 }; /* program.py */
enum { DISPLACEMENT, RELATIVE, IMMEDIATE, TARGET };                           /* stencils/format.py */
enum { IN_MEMORY = 1, OUTPUT = 2, UNALIGNED = 4, CHANGING = 8 };               /* flags of a value */

typedef struct {
    int32_t dst_class, dst_fixed, sources, cls[3], fixed[3], tied, memory, early, clobbers[2], variant, fields, field[4],
        radix[4], far, reach, step, calls, machine;
} Stencil;
/* displacement, immediate: the fields of their bits, or -1 where patches hold them */
typedef struct {
    int32_t code, length, patch, patches, field, displacement, immediate;
} Variant;
typedef struct {
    int32_t position, kind, item, addend; /* kind: DISPLACEMENT..., plus 4 x form */
} Patch;
typedef struct {
    int32_t code, length, align, patch, patches, stack;
} Item;
/* How a number is written into an instruction of `size` bytes: see stencils/format.py. */
typedef struct {
    int32_t size, bits, bias, masks[32];
} Form;
typedef struct {
    int32_t registers, memory, commutative;
} Overload;
typedef struct {
    int32_t op, dst, use[3], immediate;
} Instruction;
typedef struct {
    int32_t dtype, home, flags;
} ValueInfo;
/* counter: its place in memory, and trips how often; WHILE: until an exit; RANGE: while the first carried
 * value, an int64, is below the value numbered `trips`, and not at all if the loop's operand is false. */
typedef struct {
    int32_t counter, trips, carry, carries;
} LoopInfo;
typedef struct {
    int32_t param, init, result;
} Carry;

enum { TABLES = 11 };

typedef struct {
    PyObject_HEAD
    Py_buffer buffers[TABLES]; /* stencils variants fields xors patches items overloads forms classes basics code */
    const Stencil *stencils;
    const Variant *variants;
    const int32_t (*fields)[2];
    const int32_t (*xors)[2];
    const Patch *patches;
    const Item *items;
    const Overload *overloads;
    const Form *forms;
    const int32_t *classes; /* 16 vector, then 16 integer registers: group of each; then the class of each of 11 dtypes */
    /* load x11, store x11, move x11, set, repeat, below, unless, jump, leave, return, enter (-1: no stencil), item of the entry (-1: none) */
    const int32_t *basics;
    const uint8_t *code;
    Py_ssize_t item_count;
    int32_t count[3];       /* allocatable registers of each class */
    int32_t saved[3];       /* masks of those that survive a helper */
    int32_t kept;           /* mask of integer registers that belong to the caller of a program */
} Library;

enum { DTYPES = 11, WIDE = 5 }; /* from WIDE on dtypes are vectors of lanes; below, bool int32 int64 float32 float64 */
enum { LOAD = 0, STORE = DTYPES, MOVE = 2 * DTYPES, SET = 3 * DTYPES, REPEAT, BELOW, UNLESS, JUMP, LEAVE, RETURN, ENTER, ENTRY };
enum { GROUPS = 32 }; /* entries of `classes` before those of dtypes */
enum { CALLS = 1, LOSES_VECTORS = 2 }; /* helpers for vectors of lanes save no vector register at all */
enum { WHILE = -1, RANGE = -2 }; /* counters of loops without one: see LoopInfo */

typedef struct {
    int32_t reg;      /* where the value is, or -1 */
    int32_t slot;     /* its place in memory, or -1 */
    int32_t next;     /* position of its next use */
    int32_t def;      /* position of its definition; -1 before the program */
    int32_t param_of; /* carry that this value is the result of, or -1 */
    uint8_t in_memory, own_slot;
} Value;

typedef struct {
    int32_t position, form, item, addend;
} Fixup;

/* Where a jump's distance is to be written, less its addend. */
typedef struct {
    int32_t position, form, addend;
} Hole;

typedef struct {
    int32_t begin, end, calls, nests; /* positions; which helpers are called, and whether another loop is, inside */
    int32_t needs;             /* integer registers that one instruction inside takes */
    int32_t head;              /* code offset of the first instruction */
    int32_t through, throughs; /* values from outside that are used inside, with their next use after */
    int32_t exit_fixups;       /* list through `exits` */
    uint32_t pinned[3];        /* pins of the loops around it */
    int64_t weight;            /* runs of its preheader */
} Loop;

typedef struct {
    int32_t init_after, param_after; /* next use of the init after the loop begins, of the param after it ends */
} CarryUse;

typedef struct {
    int32_t value, after;
} Through;

typedef struct {
    Hole hole;
    int32_t next;
} Exit;

#define ARRAY(type) \
    struct { \
        type *items; \
        Py_ssize_t count, capacity; \
    }

typedef struct {
    const Library *lib;
    const Instruction *code;
    const ValueInfo *info;
    const LoopInfo *loop_info;
    const Carry *carries;
    int32_t length, values, loop_count, carry_count;
    Value *value;
    int32_t (*next)[3]; /* next use of each operand after its instruction */
    int32_t *next_call; /* position of the first helper call after each instruction */
    Loop *loops;
    CarryUse *carry_uses;
    int32_t content[3][MAX_REGISTERS]; /* value in each register, or -1 */
    uint32_t pinned[3];
    ARRAY(uint8_t) out;
    ARRAY(Fixup) fixups;
    ARRAY(Through) through;
    ARRAY(Exit) exits;
    ARRAY(int32_t) free_slots[3]; /* of 4, 8 and 32 bytes */
    int32_t released[8][2];       /* slots to free after this instruction: it may still read them */
    int releases;
    int64_t data_size, entry;
    int64_t spill, spill_end; /* places for spilled values before the end of the data */
    int32_t deepest; /* bytes of stack that the helpers take */
    int64_t machine; /* instructions of the machine that one run executes; -1: not known */
    int64_t executed, weight; /* instructions of one run; weight -1: inside a loop of no fixed length */
    int unbounded, entered; /* entered: the program needs the entry that saves the caller's registers */
    int32_t stores, loads, moves, stencils_put;
    int32_t depth, stack[64];
    int failed;
} State;

#define PUSH(array, ...) \
    do { \
        if ((array).count == (array).capacity) { \
            void *fresh_ = emit_grow((array).items, &(array).capacity, sizeof *(array).items); \
            if (!fresh_) { \
                s->failed = 1; \
                break; \
            } \
            (array).items = fresh_; \
        } \
        (array).items[(array).count++] = __VA_ARGS__; \
    } while (0)

static inline int class_of(const State *s, int32_t value) { return s->lib->classes[GROUPS + s->info[value].dtype]; }
static inline uint32_t bit(int32_t reg) { return reg >= 0 ? 1u << reg : 0; }

/* emission.c */
void *emit_grow(void *items, Py_ssize_t *capacity, size_t size);
void append(State *s, const uint8_t *bytes, int32_t length);
void fill(State *s, int32_t form, int64_t position, int64_t number);
void land(State *s, Hole hole, int64_t target);
Hole put(State *s, int32_t number, const int32_t registers[4], int64_t displacement, int32_t immediate);
void put_move(State *s, int32_t value, int32_t to, int32_t from);
void put_load(State *s, int32_t value, int32_t to);
void put_store(State *s, int32_t value, int32_t from, int64_t offset);
void put_items(State *s);

/* registers.c */
void set_register(State *s, int32_t value, int32_t reg);
int64_t new_slot(State *s, int32_t value);
void ensure_memory(State *s, int32_t value);
void free_released(State *s);
void release(State *s, int32_t value);
int32_t allocate(State *s, int cls, uint32_t keep, int far);
uint32_t operand_mask(const State *s, const int32_t *use, int count, int cls);
int32_t in_register(State *s, int32_t value, const int32_t *use, int count, int32_t at);
void retire(State *s, int32_t at);
int32_t place_result(State *s, int32_t value, int32_t at, uint32_t keep);
void define(State *s, int32_t value, int32_t reg);

/* instructions.c */
void put_operation(State *s, int32_t at);
void put_call(State *s, int32_t at);

/* loops.c */
void begin_loop(State *s, int32_t at);
void exit_loop(State *s, int32_t at);
void end_loop(State *s, int32_t at);

/* program.c */
void assemble_state(State *s);

#endif
