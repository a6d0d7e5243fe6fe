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
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { NEVER = INT32_MAX, VECTOR = 1, INTEGER = 2, MAX_REGISTERS = 32 };
enum { OP_LOOP = -1, OP_END = -2, OP_EXIT = -3, OP_STORE = -4, OP_COPY = -5 }; /* program.py */
enum { DISPLACEMENT, RELATIVE, IMMEDIATE, TARGET };                           /* stencils/format.py */
enum { IN_MEMORY = 1, OUTPUT = 2 };                                            /* flags of a value */

typedef struct {
    int32_t dst_class, dst_fixed, sources, cls[3], fixed[3], tied, memory, early, clobbers[2], variant, fields, field[4],
        radix[4];
} Stencil;
typedef struct {
    int32_t code, length, patch, patches, field;
} Variant;
typedef struct {
    int32_t position, kind, item, addend;
} Patch;
typedef struct {
    int32_t code, length, align, patch, patches;
} Item;
typedef struct {
    int32_t registers, memory, commutative;
} Overload;
typedef struct {
    int32_t op, dst, use[3], immediate;
} Instruction;
typedef struct {
    int32_t dtype, home, flags;
} ValueInfo;
typedef struct {
    int32_t counter, trips, carry, carries;
} LoopInfo;
typedef struct {
    int32_t param, init, result;
} Carry;

enum { TABLES = 10 };

typedef struct {
    PyObject_HEAD
    Py_buffer buffers[TABLES]; /* stencils variants fields xors patches items overloads classes basics code */
    const Stencil *stencils;
    const Variant *variants;
    const int32_t (*fields)[2];
    const int32_t (*xors)[2];
    const Patch *patches;
    const Item *items;
    const Overload *overloads;
    const int32_t *classes; /* 16 vector, then 16 integer registers: group of each */
    const int32_t *basics;  /* load x7, store x7, move v, move i, move wide, set, repeat, unless, jump, leave, return, enter item */
    const uint8_t *code;
    Py_ssize_t item_count;
    int32_t count[3];       /* allocatable registers of each class */
    int32_t saved[3];       /* masks of those that survive a helper */
    int32_t kept;           /* mask of integer registers that belong to the caller of a program */
} Library;

enum { LOAD = 0, STORE = 7, MOVE = 14, SET = 17, REPEAT, UNLESS, JUMP, LEAVE, RETURN, ENTER };
enum { WIDE = 5 }; /* dtypes from here on are vectors of lanes; below, bool int32 int64 float32 float64 */

typedef struct {
    int32_t reg;      /* where the value is, or -1 */
    int32_t slot;     /* its place in memory, or -1 */
    int32_t next;     /* position of its next use */
    int32_t def;      /* position of its definition; -1 before the program */
    int32_t param_of; /* carry that this value is the result of, or -1 */
    uint8_t in_memory, own_slot;
} Value;

typedef struct {
    int32_t position, item, addend;
} Fixup;

typedef struct {
    int32_t begin, end, calls; /* positions; whether a helper is called inside */
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
    int32_t position, next;
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
    int64_t executed, weight; /* instructions of one run; weight -1: inside a loop of no fixed length */
    int unbounded, entered; /* entered: the program needs the entry that saves the caller's registers */
    int32_t stores, loads, moves, stencils_put;
    int32_t depth, stack[64];
    int failed;
} State;

static void *grow(void *items, Py_ssize_t *capacity, size_t size) {
    Py_ssize_t more = *capacity ? *capacity * 2 : 256;
    void *fresh = PyMem_RawRealloc(items, (size_t)more * size);
    if (fresh) *capacity = more;
    return fresh;
}

#define PUSH(array, ...) \
    do { \
        if ((array).count == (array).capacity) { \
            void *fresh_ = grow((array).items, &(array).capacity, sizeof *(array).items); \
            if (!fresh_) { \
                s->failed = 1; \
                break; \
            } \
            (array).items = fresh_; \
        } \
        (array).items[(array).count++] = __VA_ARGS__; \
    } while (0)

static int class_of(const State *s, int32_t value) { return s->info[value].dtype >= 3 ? VECTOR : INTEGER; }

/* ------------------------------------------------------------------------------------ emission */

static void append(State *s, const uint8_t *bytes, int32_t length) {
    while (s->out.count + length > s->out.capacity) {
        void *fresh = grow(s->out.items, &s->out.capacity, 1);
        if (!fresh) {
            s->failed = 1;
            return;
        }
        s->out.items = fresh;
    }
    memcpy(s->out.items + s->out.count, bytes, (size_t)length);
    s->out.count += length;
}

static void write32(State *s, int64_t position, int64_t number) {
    if (s->failed) return;
    uint32_t bits = (uint32_t)number;
    for (int i = 0; i < 4; i++) s->out.items[position + i] = (uint8_t)(bits >> (8 * i));
}

/* Copy one stencil and fill its holes; returns the position of its jump target hole, or -1. */
static int64_t put(State *s, int32_t number, const int32_t registers[4], int64_t displacement, int32_t immediate) {
    const Library *lib = s->lib;
    const Stencil *stencil = &lib->stencils[number];
    int32_t which = 0;
    for (int o = 0; o < stencil->fields; o++) {
        int32_t operand = stencil->field[o], reg = registers[operand];
        int cls = operand ? stencil->cls[operand - 1] : stencil->dst_class;
        which = which * stencil->radix[o] + lib->classes[(cls == VECTOR ? 0 : 16) + reg];
    }
    const Variant *variant = &lib->variants[stencil->variant + which];
    Py_ssize_t start = s->out.count;
    int64_t target = -1;
    append(s, lib->code + variant->code, variant->length);
    if (s->failed) return -1;
    uint8_t *at = s->out.items + start;
    for (int o = 0; o < stencil->fields; o++) {
        const int32_t *field = lib->fields[variant->field + 16 * o + registers[stencil->field[o]]];
        for (int32_t i = field[0]; i < field[0] + field[1]; i++) at[lib->xors[i][0]] ^= (uint8_t)lib->xors[i][1];
    }
    for (int32_t i = variant->patch; i < variant->patch + variant->patches; i++) {
        const Patch *patch = &lib->patches[i];
        int64_t position = start + patch->position;
        switch (patch->kind) {
            case DISPLACEMENT: write32(s, position, displacement + patch->addend); break;
            case IMMEDIATE: write32(s, position, (int64_t)immediate + patch->addend); break;
            case TARGET: target = position; break;
            default: PUSH(s->fixups, (Fixup){(int32_t)position, patch->item, patch->addend});
        }
    }
    s->stencils_put++;
    if (s->weight >= 0) s->executed += s->weight;
    return target;
}

static void put_move(State *s, int32_t value, int32_t to, int32_t from) {
    if (to == from) return;
    int which = s->info[value].dtype >= WIDE ? 2 : class_of(s, value) - 1;
    put(s, s->lib->overloads[s->lib->basics[MOVE + which]].registers, (int32_t[4]){to, from, 0, 0}, 0, 0);
    s->moves++;
}

static void put_load(State *s, int32_t value, int32_t to) {
    int32_t dtype = s->info[value].dtype;
    put(s, s->lib->overloads[s->lib->basics[LOAD + dtype]].registers, (int32_t[4]){to, 0, 0, 0}, s->value[value].slot, 0);
    s->loads++;
}

static void put_store(State *s, int32_t value, int32_t from, int64_t offset) {
    int32_t dtype = s->info[value].dtype;
    put(s, s->lib->overloads[s->lib->basics[STORE + dtype]].registers, (int32_t[4]){0, from, 0, 0}, offset, 0);
    s->stores++;
}

/* Append the helpers and constants in use and resolve references to them. */
static void put_items(State *s) {
    const Library *lib = s->lib;
    int32_t *place = PyMem_RawMalloc((size_t)(lib->item_count ? lib->item_count : 1) * sizeof *place);
    if (!place) {
        s->failed = 1;
        return;
    }
    for (Py_ssize_t i = 0; i < lib->item_count; i++) place[i] = -1;
    for (Py_ssize_t i = 0; i < s->fixups.count && !s->failed; i++) { /* grows while items are added */
        Fixup fixup = s->fixups.items[i];
        const Item *item = &lib->items[fixup.item];
        if (place[fixup.item] < 0) {
            static const uint8_t zero[64];
            int32_t padding = (int32_t)((-(uint64_t)s->out.count) & (uint64_t)(item->align - 1));
            append(s, zero, padding);
            place[fixup.item] = (int32_t)s->out.count;
            append(s, lib->code + item->code, item->length);
            for (int32_t p = item->patch; p < item->patch + item->patches; p++) {
                const Patch *patch = &lib->patches[p];
                PUSH(s->fixups, (Fixup){place[fixup.item] + patch->position, patch->item, patch->addend});
            }
        }
        write32(s, fixup.position, (int64_t)place[fixup.item] + fixup.addend - fixup.position);
    }
    PyMem_RawFree(place);
}

/* ----------------------------------------------------------------------------------- registers */

static void set_register(State *s, int32_t value, int32_t reg) {
    int cls = class_of(s, value);
    if (s->value[value].reg >= 0 && s->content[cls][s->value[value].reg] == value) s->content[cls][s->value[value].reg] = -1;
    s->value[value].reg = reg;
    if (reg >= 0) s->content[cls][reg] = value;
    if (reg >= 0 && cls == INTEGER) s->entered |= s->lib->kept >> reg & 1;
}

static int slot_pool(const State *s, int32_t value) {
    int32_t dtype = s->info[value].dtype;
    return dtype >= WIDE ? 2 : dtype == 2 || dtype == 4;
}

static int64_t new_slot(State *s, int32_t value) {
    int pool = slot_pool(s, value), size = (int[3]){4, 8, 32}[pool];
    if (s->free_slots[pool].count) return s->free_slots[pool].items[--s->free_slots[pool].count];
    s->data_size = (s->data_size + size - 1) / size * size;
    s->data_size += size;
    return s->data_size - size;
}

static void ensure_memory(State *s, int32_t value) {
    Value *v = &s->value[value];
    if (v->in_memory) return;
    if (v->slot < 0) {
        v->slot = (int32_t)new_slot(s, value);
        v->own_slot = 1;
    }
    put_store(s, value, v->reg, v->slot);
    v->in_memory = 1;
}

static void free_released(State *s) {
    for (int i = 0; i < s->releases; i++) PUSH(s->free_slots[s->released[i][0]], s->released[i][1]);
    s->releases = 0;
}

static void release(State *s, int32_t value) {
    Value *v = &s->value[value];
    int cls = class_of(s, value);
    if (v->reg >= 0 && !(s->pinned[cls] >> v->reg & 1)) set_register(s, value, -1);
    if (v->own_slot && v->slot >= 0) {
        if (s->releases == 8) free_released(s);
        s->released[s->releases][0] = slot_pool(s, value);
        s->released[s->releases++][1] = v->slot;
        v->slot = -1;
        v->own_slot = v->in_memory = 0;
    }
}

/* Free a register of the class outside `keep`; `far` prefers one that survives helpers. */
static int32_t allocate(State *s, int cls, uint32_t keep, int far) {
    const Library *lib = s->lib;
    int32_t best = -1, farthest = -1;
    uint32_t usable = ((1u << lib->count[cls]) - 1) & ~keep & ~s->pinned[cls];
    for (int pass = 0; pass < 2; pass++) {
        uint32_t wanted = usable & ((far ^ pass) ? (uint32_t)lib->saved[cls] : ~(uint32_t)lib->saved[cls]);
        for (int32_t r = 0; r < lib->count[cls]; r++)
            if ((wanted >> r & 1) && s->content[cls][r] < 0) return r;
    }
    for (int32_t r = 0; r < lib->count[cls]; r++) {
        if (!(usable >> r & 1)) continue;
        Value *v = &s->value[s->content[cls][r]];
        int32_t distance = v->next;
        if (distance != NEVER && v->in_memory) distance += 4; /* no store needed: a little cheaper */
        if (distance > farthest) {
            farthest = distance;
            best = r;
        }
    }
    if (best < 0) {
        s->failed = 2;
        return 0;
    }
    int32_t victim = s->content[cls][best];
    if (s->value[victim].next != NEVER) ensure_memory(s, victim);
    set_register(s, victim, -1);
    return best;
}

static uint32_t bit(int32_t reg) { return reg >= 0 ? 1u << reg : 0; }

static int lives_past_call(const State *s, int32_t value, int32_t at) { return s->value[value].next > s->next_call[at]; }

/* Registers of one class that the operands of an instruction are in. */
static uint32_t operand_mask(const State *s, const int32_t *use, int count, int cls) {
    uint32_t mask = 0;
    for (int k = 0; k < count; k++)
        if (use[k] >= 0 && class_of(s, use[k]) == cls) mask |= bit(s->value[use[k]].reg);
    return mask;
}

static int32_t in_register(State *s, int32_t value, const int32_t *use, int count, int32_t at) {
    Value *v = &s->value[value];
    if (v->reg < 0) {
        int cls = class_of(s, value);
        int32_t reg = allocate(s, cls, operand_mask(s, use, count, cls), lives_past_call(s, value, at));
        put_load(s, value, reg);
        set_register(s, value, reg);
    }
    return v->reg;
}

/* After an instruction: operands that are not used again leave. */
static void retire(State *s, int32_t at) {
    for (int k = 0; k < 3; k++) {
        int32_t value = s->code[at].use[k];
        if (value < 0) continue;
        s->value[value].next = s->next[at][k];
        if (s->next[at][k] == NEVER) release(s, value);
    }
}

/* A register for a new value: the pinned register of the loop variable it becomes, if that is free. */
static int32_t place_result(State *s, int32_t value, int32_t at, uint32_t keep) {
    int cls = class_of(s, value);
    int32_t carry = s->value[value].param_of;
    if (carry >= 0) {
        int32_t param = s->carries[carry].param, pin = s->value[param].reg;
        if (pin >= 0 && s->content[cls][pin] == param && (s->pinned[cls] >> pin & 1) && !(keep >> pin & 1)) {
            int32_t next = s->value[param].next;
            /* unused in the rest of this iteration: its next use lies beyond the loop */
            for (int32_t d = s->depth - 1; d >= 0; d--) {
                int32_t l = s->stack[d];
                if (carry >= s->loop_info[l].carry && carry < s->loop_info[l].carry + s->loop_info[l].carries)
                    if (next >= s->loops[l].end && d == s->depth - 1) return pin;
            }
        }
    }
    return allocate(s, cls, keep, lives_past_call(s, value, at));
}

static void define(State *s, int32_t value, int32_t reg) {
    int cls = class_of(s, value);
    if (s->pinned[cls] >> reg & 1) {
        s->value[value].reg = reg; /* the pin's content stays the loop variable */
    } else {
        s->value[value].reg = -1;
        set_register(s, value, reg);
    }
    if (s->info[value].flags & OUTPUT) {
        put_store(s, value, reg, s->info[value].home);
        s->value[value].slot = s->info[value].home;
        s->value[value].in_memory = 1;
    }
    if (s->value[value].next == NEVER) release(s, value);
}

/* --------------------------------------------------------------------------------- instructions */

static int soon(const State *s, int32_t at, int k) { return s->next[at][k] != NEVER && s->next[at][k] - at < 16; }

static int has_free(const State *s, int cls) {
    for (int32_t r = 0; r < s->lib->count[cls]; r++)
        if (s->content[cls][r] < 0 && !(s->pinned[cls] >> r & 1)) return 1;
    return 0;
}

static int dies(const State *s, int32_t at, int k, int32_t value) {
    Value *v = &s->value[value];
    return s->next[at][k] == NEVER && v->reg >= 0 && !(s->pinned[class_of(s, value)] >> v->reg & 1);
}

static void put_operation(State *s, int32_t at) {
    const Instruction *in = &s->code[at];
    const Overload *overload = &s->lib->overloads[in->op];
    int order[3] = {0, 1, 2};
    const Stencil *stencil = &s->lib->stencils[overload->registers];
    int count = stencil->sources;
    if (overload->commutative && count == 2) {
        const Value *x = &s->value[in->use[0]], *y = &s->value[in->use[1]];
        int tied_better = stencil->tied == 0 && dies(s, at, 1, in->use[1]) && !dies(s, at, 0, in->use[0]);
        /* of two in memory, the one that is used again soon goes to a register, the other is read in place */
        int later = x->reg < 0 && y->reg < 0 && s->next[at][0] > s->next[at][1];
        if (later || (y->reg >= 0 && (x->reg < 0 || tied_better))) order[0] = 1, order[1] = 0;
    }
    int32_t number = overload->registers, last = in->use[order[count - 1]];
    int from_memory = overload->memory >= 0 && s->value[last].reg < 0 && s->value[last].in_memory &&
                      !(soon(s, at, order[count - 1]) && has_free(s, class_of(s, last))) &&
                      !(count == 2 && in->use[order[0]] == last);
    if (from_memory) {
        number = overload->memory;
        stencil = &s->lib->stencils[number];
        count--;
    }
    int32_t registers[4] = {0, 0, 0, 0};
    int64_t displacement = from_memory ? s->value[last].slot : in->immediate;
    int tied = stencil->tied == 0, first = order[0];
    for (int k = tied; k < count; k++) in_register(s, in->use[order[k]], in->use, 3, at);
    if (in->dst < 0) { /* a store */
        for (int k = 0; k < count; k++) registers[k + 1] = s->value[in->use[order[k]]].reg;
        put(s, number, registers, displacement, 0);
        retire(s, at);
        return;
    }
    uint32_t keep = 0;
    int cls = class_of(s, in->dst);
    if (tied) {
        int32_t x = in->use[first], target;
        if (dies(s, at, first, x) && !(stencil->early && in->use[0] == in->use[1])) {
            target = s->value[x].reg;
            for (int k = 1; k < count; k++) registers[k + 1] = s->value[in->use[order[k]]].reg;
        } else {
            keep = operand_mask(s, in->use, 3, cls);
            target = place_result(s, in->dst, at, keep);
            for (int k = 1; k < count; k++) registers[k + 1] = s->value[in->use[order[k]]].reg;
            if (s->value[x].reg >= 0) put_move(s, x, target, s->value[x].reg);
            else put_load(s, x, target);
        }
        registers[1] = target;
        put(s, number, registers, displacement, in->immediate);
        retire(s, at);
        define(s, in->dst, target);
        return;
    }
    for (int k = 0; k < count; k++) registers[k + 1] = s->value[in->use[order[k]]].reg;
    if (stencil->early) {
        keep = operand_mask(s, in->use, 3, cls);
        registers[0] = place_result(s, in->dst, at, keep);
        put(s, number, registers, displacement, in->immediate);
        retire(s, at);
    } else {
        retire(s, at);
        keep = 0; /* operands that live on are still contents; those that died may be overwritten */
        for (int k = 0; k < count; k++)
            if (s->next[at][order[k]] != NEVER && class_of(s, in->use[order[k]]) == cls) keep |= bit(registers[k + 1]);
        registers[0] = place_result(s, in->dst, at, keep);
        put(s, number, registers, displacement, in->immediate);
    }
    define(s, in->dst, registers[0]);
}

/* Values that a helper would destroy and that live on: to a surviving register, else to memory. */
static void clear_for_call(State *s, int32_t at, const Stencil *stencil) {
    const Instruction *in = &s->code[at];
    for (int cls = VECTOR; cls <= INTEGER; cls++)
        for (int32_t r = 0; r < s->lib->count[cls]; r++) {
            int32_t value = s->content[cls][r];
            int wide = value >= 0 && s->info[value].dtype >= WIDE; /* helpers keep no upper halves */
            if (value < 0 || (!wide && !(stencil->clobbers[cls - 1] >> r & 1))) continue;
            int32_t next = s->value[value].next;
            for (int k = 0; k < 3; k++)
                if (in->use[k] == value) next = s->next[at][k];
            if (next == NEVER) continue;
            int32_t refuge = -1;
            for (int32_t q = 0; q < s->lib->count[cls]; q++)
                if ((s->lib->saved[cls] >> q & 1) && s->content[cls][q] < 0 && !(s->pinned[cls] >> q & 1)) refuge = q;
            if (refuge >= 0 && !wide && !(s->value[value].in_memory && next - at > 64)) {
                put_move(s, value, refuge, r);
                set_register(s, value, refuge);
            } else {
                ensure_memory(s, value);
                set_register(s, value, -1);
            }
        }
}

static void put_call(State *s, int32_t at) {
    const Instruction *in = &s->code[at];
    s->entered = 1; /* the stencil keeps the context in a register of the caller's */
    int32_t number = s->lib->overloads[in->op].registers;
    const Stencil *stencil = &s->lib->stencils[number];
    int count = stencil->sources;
    clear_for_call(s, at, stencil);
    int32_t where[3] = {-1, -1, -1};
    int pending = 0;
    for (int k = 0; k < count; k++) {
        where[k] = s->value[in->use[k]].reg;
        if (where[k] == stencil->fixed[k]) where[k] = -2;
        pending += where[k] >= 0;
    }
    while (pending) {
        int moved = 0;
        for (int k = 0; k < count; k++) {
            if (where[k] < 0) continue;
            int blocked = 0;
            for (int j = 0; j < count; j++) /* my place still holds another operand */
                blocked |= j != k && stencil->cls[j] == stencil->cls[k] &&
                           (where[j] == stencil->fixed[k] ||
                            (where[j] == -2 && stencil->fixed[j] == stencil->fixed[k]));
            if (blocked) continue;
            put_move(s, in->use[k], stencil->fixed[k], where[k]);
            where[k] = -2;
            pending--;
            moved = 1;
        }
        if (!moved) { /* a cycle: step aside through the scratch register */
            for (int k = 0; k < count; k++)
                if (where[k] >= 0) {
                    int32_t scratch = s->lib->count[stencil->cls[k]];
                    put_move(s, in->use[k], scratch, where[k]);
                    where[k] = scratch;
                    break;
                }
        }
    }
    for (int k = 0; k < count; k++)
        if (where[k] == -1) put_load(s, in->use[k], stencil->fixed[k]);
    retire(s, at);
    put(s, number, (int32_t[4]){0, 0, 1, 2}, 0, in->immediate);
    if (in->dst >= 0) define(s, in->dst, stencil->dst_fixed);
}

/* ---------------------------------------------------------------------------------------- loops */

/* A register that stays with `value` until the loop ends, or -1 where too few would be left. */
static int32_t pin(State *s, int32_t value, int calls) {
    int cls = class_of(s, value), reserve = cls == VECTOR ? 6 : 4; /* what one instruction may need */
    uint32_t all = (1u << s->lib->count[cls]) - 1, usable = all & ~s->pinned[cls];
    if (__builtin_popcount(usable) <= reserve) return -1;
    uint32_t allowed = calls ? usable & (uint32_t)s->lib->saved[cls] : usable;
    if (calls && __builtin_popcount(allowed) <= 1) return -1;
    int32_t reg = allocate(s, cls, ~allowed, 1);
    s->pinned[cls] |= 1u << reg;
    if (cls == INTEGER) s->entered |= s->lib->kept >> reg & 1;
    return reg;
}

static void begin_loop(State *s, int32_t at) {
    int32_t number = s->code[at].immediate;
    const LoopInfo *info = &s->loop_info[number];
    Loop *loop = &s->loops[number];
    memcpy(loop->pinned, s->pinned, sizeof s->pinned);
    loop->weight = s->weight;
    for (int32_t c = info->carry; c < info->carry + info->carries; c++) {
        int32_t param = s->carries[c].param, init = s->carries[c].init;
        int32_t reg = pin(s, param, loop->calls);
        if (reg >= 0) {
            if (s->value[init].reg >= 0) put_move(s, init, reg, s->value[init].reg);
            else put_load(s, init, reg);
            s->value[param].reg = -1;
            set_register(s, param, reg);
        } else {
            int32_t from = s->value[init].reg;
            if (from < 0) {
                from = s->lib->count[class_of(s, init)];
                put_load(s, init, from);
            }
            s->value[param].slot = (int32_t)new_slot(s, param);
            s->value[param].own_slot = s->value[param].in_memory = 1;
            put_store(s, param, from, s->value[param].slot);
        }
    }
    for (int32_t c = info->carry; c < info->carry + info->carries; c++) {
        s->value[s->carries[c].init].next = s->carry_uses[c].init_after;
        if (s->carry_uses[c].init_after == NEVER) release(s, s->carries[c].init);
    }
    /* the rest goes to memory, but for some values from outside that the loop reads */
    for (int32_t t = loop->through; t < loop->through + loop->throughs; t++) {
        int32_t value = s->through.items[t].value, reg = s->value[value].reg;
        int cls = class_of(s, value);
        if (reg < 0 || (s->pinned[cls] >> reg & 1)) continue;
        if (loop->calls && !(s->lib->saved[cls] >> reg & 1)) continue;
        int free = s->lib->count[cls] - __builtin_popcount(s->pinned[cls]);
        int saved = __builtin_popcount((uint32_t)s->lib->saved[cls] & ~s->pinned[cls]);
        if (free > (cls == VECTOR ? 8 : 4) && (!loop->calls || saved > 2)) s->pinned[cls] |= 1u << reg;
    }
    for (int cls = VECTOR; cls <= INTEGER; cls++)
        for (int32_t r = 0; r < s->lib->count[cls]; r++) {
            int32_t value = s->content[cls][r];
            if (value < 0 || (s->pinned[cls] >> r & 1)) continue;
            if (s->value[value].next != NEVER) ensure_memory(s, value);
            set_register(s, value, -1);
        }
    if (info->counter >= 0)
        put(s, s->lib->overloads[s->lib->basics[SET]].registers, (int32_t[4]){0}, info->counter, info->trips);
    loop->head = (int32_t)s->out.count;
    loop->exit_fixups = -1;
    s->stack[s->depth++] = number;
    if (s->weight >= 0) s->weight = info->counter >= 0 ? s->weight * info->trips : -1;
    s->unbounded |= s->weight < 0;
}

static void exit_loop(State *s, int32_t at) {
    int32_t condition = s->code[at].use[0];
    Loop *loop = &s->loops[s->code[at].immediate];
    int32_t reg = in_register(s, condition, s->code[at].use, 3, at);
    int64_t hole = put(s, s->lib->overloads[s->lib->basics[UNLESS]].registers, (int32_t[4]){0, reg, 0, 0}, 0, 0);
    PUSH(s->exits, (Exit){(int32_t)hole, loop->exit_fixups});
    loop->exit_fixups = (int32_t)s->exits.count - 1;
    retire(s, at);
}

static void close_carries(State *s, const LoopInfo *info) {
    for (int32_t c = info->carry; c < info->carry + info->carries; c++) {
        int32_t param = s->carries[c].param, result = s->carries[c].result;
        int cls = class_of(s, param);
        int32_t to = s->value[param].reg, from = s->value[result].reg;
        int pinned = to >= 0 && s->content[cls][to] == param && (s->pinned[cls] >> to & 1);
        if (pinned) {
            if (from >= 0) put_move(s, result, to, from);
            else put_load(s, result, to);
        } else {
            if (from < 0) {
                from = s->lib->count[cls];
                put_load(s, result, from);
            }
            put_store(s, param, from, s->value[param].slot);
        }
    }
}

static void end_loop(State *s, int32_t at) {
    int32_t number = s->code[at].immediate;
    const LoopInfo *info = &s->loop_info[number];
    Loop *loop = &s->loops[number];
    close_carries(s, info);
    int back = info->counter >= 0 ? REPEAT : JUMP;
    int64_t hole = put(s, s->lib->overloads[s->lib->basics[back]].registers, (int32_t[4]){0}, info->counter, 0);
    write32(s, hole, loop->head - hole - 4);
    for (int32_t e = loop->exit_fixups; e >= 0; e = s->exits.items[e].next)
        write32(s, s->exits.items[e].position, s->out.count - s->exits.items[e].position - 4);
    s->depth--;
    /* only pins and memory are known now */
    for (int cls = VECTOR; cls <= INTEGER; cls++)
        for (int32_t r = 0; r < s->lib->count[cls]; r++)
            if (s->content[cls][r] >= 0 && !(s->pinned[cls] >> r & 1)) set_register(s, s->content[cls][r], -1);
    for (int32_t c = info->carry; c < info->carry + info->carries; c++) {
        int32_t result = s->carries[c].result;
        s->value[result].reg = -1;
        s->value[result].next = NEVER;
        release(s, result);
    }
    memcpy(s->pinned, loop->pinned, sizeof s->pinned);
    s->weight = loop->weight;
    for (int32_t t = loop->through; t < loop->through + loop->throughs; t++) {
        int32_t value = s->through.items[t].value;
        s->value[value].next = s->through.items[t].after;
        if (s->value[value].next == NEVER) release(s, value);
    }
    for (int32_t c = info->carry; c < info->carry + info->carries; c++) {
        s->value[s->carries[c].param].next = s->carry_uses[c].param_after;
        if (s->carry_uses[c].param_after == NEVER) release(s, s->carries[c].param);
    }
}

/* ------------------------------------------------------------------------------------- the passes */

/* What flows into loops from outside, and where helpers are called. */
static int find_loops(State *s) {
    int32_t stack[64], depth = 0;
    int32_t *seen = PyMem_RawMalloc((size_t)(s->values + 1) * sizeof *seen);
    if (!seen) return -1;
    for (int32_t i = 0; i < s->length; i++) {
        const Instruction *in = &s->code[i];
        if (in->op == OP_LOOP) {
            if (depth == 64) break;
            s->loops[in->immediate].begin = i;
            stack[depth++] = in->immediate;
            const LoopInfo *info = &s->loop_info[in->immediate];
            for (int32_t c = info->carry; c < info->carry + info->carries; c++) {
                s->value[s->carries[c].param].def = i;
                s->value[s->carries[c].result].param_of = c;
            }
        } else if (in->op == OP_END) {
            s->loops[in->immediate].end = i;
            depth--;
        } else if (in->op >= 0 && s->lib->stencils[s->lib->overloads[in->op].registers].clobbers[0]) {
            for (int32_t d = 0; d < depth; d++) s->loops[stack[d]].calls = 1;
        }
        if (in->dst >= 0) s->value[in->dst].def = i;
    }
    for (int32_t l = 0; l < s->loop_count; l++) {
        Loop *loop = &s->loops[l];
        for (int32_t v = 0; v <= s->values; v++) seen[v] = 0;
        loop->through = (int32_t)s->through.count;
        for (int32_t i = loop->begin + 1; i < loop->end; i++) {
            const Instruction *in = &s->code[i];
            int32_t uses[3] = {in->use[0], in->use[1], in->use[2]};
            for (int k = 0; k < 3; k++)
                if (uses[k] >= 0 && s->value[uses[k]].def < loop->begin && !seen[uses[k]]) {
                    seen[uses[k]] = 1;
                    PUSH(s->through, (Through){uses[k], NEVER});
                }
            if (in->op != OP_LOOP) continue;
            const LoopInfo *inner = &s->loop_info[in->immediate]; /* inits of inner loops are uses too */
            for (int32_t c = inner->carry; c < inner->carry + inner->carries; c++) {
                int32_t init = s->carries[c].init;
                if (s->value[init].def < loop->begin && !seen[init]) {
                    seen[init] = 1;
                    PUSH(s->through, (Through){init, NEVER});
                }
            }
        }
        loop->throughs = (int32_t)s->through.count - loop->through;
    }
    PyMem_RawFree(seen);
    return 0;
}

static void find_next_uses(State *s) {
    int32_t call = NEVER;
    for (int32_t v = 0; v < s->values; v++) s->value[v].next = NEVER;
    for (int32_t i = s->length - 1; i >= 0; i--) {
        const Instruction *in = &s->code[i];
        s->next_call[i] = call;
        if (in->op == OP_END) {
            Loop *loop = &s->loops[in->immediate];
            const LoopInfo *info = &s->loop_info[in->immediate];
            for (int32_t t = loop->through; t < loop->through + loop->throughs; t++) {
                Through *through = &s->through.items[t];
                through->after = s->value[through->value].next;
                s->value[through->value].next = i; /* alive until the last iteration */
            }
            for (int32_t c = info->carry; c < info->carry + info->carries; c++) {
                s->carry_uses[c].param_after = s->value[s->carries[c].param].next;
                s->value[s->carries[c].param].next = i; /* its place is needed to the end */
                s->value[s->carries[c].result].next = i;
            }
        } else if (in->op == OP_LOOP) {
            const LoopInfo *info = &s->loop_info[in->immediate];
            for (int32_t c = info->carry; c < info->carry + info->carries; c++)
                s->carry_uses[c].init_after = s->value[s->carries[c].init].next;
            for (int32_t c = info->carry; c < info->carry + info->carries; c++) s->value[s->carries[c].init].next = i;
        } else if (in->op >= 0 && s->lib->stencils[s->lib->overloads[in->op].registers].clobbers[0]) {
            call = i;
        }
        for (int k = 0; k < 3; k++)
            if (in->use[k] >= 0) s->next[i][k] = s->value[in->use[k]].next;
        for (int k = 0; k < 3; k++)
            if (in->use[k] >= 0) s->value[in->use[k]].next = i;
    }
}

static void put_copy(State *s, int32_t at) {
    const Instruction *in = &s->code[at];
    int32_t from = in->use[0];
    int32_t source = s->value[from].reg;
    uint32_t keep = bit(source);
    int32_t to = place_result(s, in->dst, at, keep);
    if (s->value[from].reg >= 0) put_move(s, from, to, s->value[from].reg);
    else put_load(s, from, to);
    retire(s, at);
    define(s, in->dst, to);
}

static void put_stored(State *s, int32_t at) {
    const Instruction *in = &s->code[at];
    int32_t reg = in_register(s, in->use[0], in->use, 3, at);
    put_store(s, in->use[0], reg, in->immediate);
    retire(s, at);
}

static void emit_all(State *s) {
    for (int32_t i = 0; i < s->length && !s->failed; i++) {
        switch (s->code[i].op) {
            case OP_LOOP: begin_loop(s, i); break;
            case OP_END: end_loop(s, i); break;
            case OP_EXIT: exit_loop(s, i); break;
            case OP_STORE: put_stored(s, i); break;
            case OP_COPY: put_copy(s, i); break;
            default:
                if (s->lib->stencils[s->lib->overloads[s->code[i].op].registers].clobbers[0]) put_call(s, i);
                else put_operation(s, i);
        }
        free_released(s);
    }
}

static void assemble_state(State *s) {
    const Library *lib = s->lib;
    for (int32_t v = 0; v < s->values; v++) {
        s->value[v] = (Value){-1, -1, NEVER, -1, -1, 0, 0};
        if (s->info[v].flags & IN_MEMORY) {
            s->value[v].slot = s->info[v].home;
            s->value[v].in_memory = 1;
        }
    }
    for (int cls = 0; cls < 3; cls++)
        for (int r = 0; r < MAX_REGISTERS; r++) s->content[cls][r] = -1;
    s->weight = 1;
    if (find_loops(s) < 0) {
        s->failed = 1;
        return;
    }
    find_next_uses(s);
    const Item *enter = &lib->items[lib->basics[ENTER]];
    append(s, lib->code + enter->code, enter->length);
    emit_all(s);
    int wide = 0;
    for (int32_t v = 0; v < s->values; v++) wide |= s->info[v].dtype >= WIDE;
    put(s, lib->overloads[lib->basics[wide ? LEAVE : RETURN]].registers, (int32_t[4]){0}, 0, 0);
    if (s->failed) return;
    s->entry = s->entered ? 0 : enter->length;
    for (int32_t p = enter->patch; p < enter->patch + enter->patches; p++) {
        const Patch *patch = &lib->patches[p];
        if (patch->kind == TARGET) write32(s, patch->position, (int64_t)enter->length + patch->addend - patch->position);
        else PUSH(s->fixups, (Fixup){patch->position, patch->item, patch->addend});
    }
    put_items(s);
}

/* --------------------------------------------------------------------------------------- Python */

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
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*y*y*y*y*(ii)(ii)i", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &b[6], &b[7],
                          &b[8], &b[9], &self->count[1], &self->count[2], &self->saved[1], &self->saved[2], &self->kept))
        return -1;
    self->stencils = b[0].buf;
    self->variants = b[1].buf;
    self->fields = b[2].buf;
    self->xors = b[3].buf;
    self->patches = b[4].buf;
    self->items = b[5].buf;
    self->item_count = b[5].len / (Py_ssize_t)sizeof(Item);
    self->overloads = b[6].buf;
    self->classes = b[7].buf;
    self->basics = b[8].buf;
    self->code = b[9].buf;
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
    long long data_size;
    if (!PyArg_ParseTuple(arguments, "O!y*y*y*y*L", &Library_Type, &library, &code, &values, &loops, &carries, &data_size))
        return NULL;
    State state = {.lib = (Library *)library, .code = code.buf, .info = values.buf, .loop_info = loops.buf, .carries = carries.buf};
    State *s = &state;
    s->length = (int32_t)(code.len / (Py_ssize_t)sizeof(Instruction));
    s->values = (int32_t)(values.len / (Py_ssize_t)sizeof(ValueInfo));
    s->loop_count = (int32_t)(loops.len / (Py_ssize_t)sizeof(LoopInfo));
    s->carry_count = (int32_t)(carries.len / (Py_ssize_t)sizeof(Carry));
    s->data_size = data_size;
    PyObject *result = NULL;
    if (state_open(s) < 0) s->failed = 1;
    Py_BEGIN_ALLOW_THREADS
    if (!s->failed) assemble_state(s);
    Py_END_ALLOW_THREADS
    if (s->failed == 1) PyErr_NoMemory();
    else if (s->failed) PyErr_SetString(PyExc_AssertionError, "the register allocator ran out of registers");
    else
        result = Py_BuildValue("y#LL(iiii)L", s->out.items, s->out.count, (long long)s->entry, (long long)s->data_size, s->stencils_put, s->stores,
                               s->loads, s->moves, s->unbounded ? -1LL : (long long)s->executed);
    state_close(s);
    PyBuffer_Release(&code);
    PyBuffer_Release(&values);
    PyBuffer_Release(&loops);
    PyBuffer_Release(&carries);
    return result;
}

static PyMethodDef methods[] = {
    {"assemble", assemble, METH_VARARGS,
     "assemble(library, instructions, values, loops, carries, data_size) ->\n"
     "(code, entry, data_size, (stencils, stores, loads, moves), instructions of one run or -1)"},
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
