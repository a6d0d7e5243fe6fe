/* Which value is in which register, and in which place of memory. */
#include "emit.h"

void set_register(State *s, int32_t value, int32_t reg) {
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

int64_t new_slot(State *s, int32_t value) {
    int pool = slot_pool(s, value), size = (int[3]){4, 8, 32}[pool];
    if (s->free_slots[pool].count) return s->free_slots[pool].items[--s->free_slots[pool].count];
    int64_t *end = &s->spill, place = (s->spill + size - 1) / size * size;
    if (place + size > s->spill_end) {
        end = &s->data_size;
        place = (s->data_size + size - 1) / size * size;
    }
    *end = place + size;
    return place;
}

void ensure_memory(State *s, int32_t value) {
    Value *v = &s->value[value];
    if (v->in_memory) return;
    if (v->slot < 0) {
        v->slot = (int32_t)new_slot(s, value);
        v->own_slot = 1;
    }
    put_store(s, value, v->reg, v->slot);
    v->in_memory = 1;
}

void free_released(State *s) {
    for (int i = 0; i < s->releases; i++) PUSH(s->free_slots[s->released[i][0]], s->released[i][1]);
    s->releases = 0;
}

void release(State *s, int32_t value) {
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
int32_t allocate(State *s, int cls, uint32_t keep, int far) {
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
        s->failed = NO_REGISTERS;
        return 0;
    }
    int32_t victim = s->content[cls][best];
    if (s->value[victim].next != NEVER) ensure_memory(s, victim);
    set_register(s, victim, -1);
    return best;
}

static int lives_past_call(const State *s, int32_t value, int32_t at) { return s->value[value].next > s->next_call[at]; }

/* Registers of one class that the operands of an instruction are in. */
uint32_t operand_mask(const State *s, const int32_t *use, int count, int cls) {
    uint32_t mask = 0;
    for (int k = 0; k < count; k++)
        if (use[k] >= 0 && class_of(s, use[k]) == cls) mask |= bit(s->value[use[k]].reg);
    return mask;
}

int32_t in_register(State *s, int32_t value, const int32_t *use, int count, int32_t at) {
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
void retire(State *s, int32_t at) {
    for (int k = 0; k < 3; k++) {
        int32_t value = s->code[at].use[k];
        if (value < 0) continue;
        s->value[value].next = s->next[at][k];
        if (s->next[at][k] == NEVER) release(s, value);
    }
}

/* A register for a new value: the pinned register of the loop variable it becomes, if that is free. */
int32_t place_result(State *s, int32_t value, int32_t at, uint32_t keep) {
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

void define(State *s, int32_t value, int32_t reg) {
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
