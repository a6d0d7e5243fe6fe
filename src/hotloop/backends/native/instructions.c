/* One instruction: operands to registers or read in place, a register for the result, calls of helpers. */
#include "emit.h"

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

/* Whether the result is what a loop variable becomes that is read here for the last time: it may take its register. */
static int becomes(const State *s, int32_t at, int k) {
    const Instruction *in = &s->code[at];
    if (in->dst < 0 || s->value[in->dst].param_of < 0 || !s->depth) return 0;
    int32_t loop = s->stack[s->depth - 1], carry = s->value[in->dst].param_of;
    const LoopInfo *info = &s->loop_info[loop];
    int own = carry >= info->carry && carry < info->carry + info->carries;
    int32_t reg = s->value[in->use[k]].reg;
    int pinned = reg >= 0 && (s->pinned[class_of(s, in->use[k])] >> reg & 1);
    return own && pinned && s->carries[carry].param == in->use[k] && s->next[at][k] >= s->loops[loop].end;
}

void put_operation(State *s, int32_t at) {
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
                      !(s->info[last].flags & UNALIGNED) &&
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
        if ((dies(s, at, first, x) || becomes(s, at, first)) && !(stencil->early && in->use[0] == in->use[1])) {
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
            if (s->next[at][order[k]] != NEVER && class_of(s, in->use[order[k]]) == cls && !becomes(s, at, order[k]))
                keep |= bit(registers[k + 1]);
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
                if ((s->lib->saved[cls] & ~stencil->clobbers[cls - 1]) >> q & 1 && s->content[cls][q] < 0 && !(s->pinned[cls] >> q & 1)) refuge = q;
            if (refuge >= 0 && !wide && !(s->value[value].in_memory && next - at > 64)) {
                put_move(s, value, refuge, r);
                set_register(s, value, refuge);
            } else {
                ensure_memory(s, value);
                set_register(s, value, -1);
            }
        }
}

void put_call(State *s, int32_t at) {
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
    put(s, number, (int32_t[4]){0, 0, 1, 2}, in->immediate, in->immediate);
    if (in->dst >= 0) define(s, in->dst, stencil->dst_fixed);
}
