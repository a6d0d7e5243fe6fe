/* Loops: pinning values around them, so that the back edge needs no repair. */
#include "emit.h"

/* Registers that one instruction may need; most kernels, which are RANGE loops, have no select of integers. */
static int reserve_of(const LoopInfo *info, const Loop *loop, int cls) {
    return cls == VECTOR ? 6 : info->counter == RANGE && loop->needs < 4 ? 3 : 4;
}

/* Registers that values from outside leave free: the inner loops of kernels pin two of their own. */
static int left_free(const LoopInfo *info, const Loop *loop, int cls) {
    return cls == VECTOR ? 8 : reserve_of(info, loop, cls) + (info->counter == RANGE && loop->nests ? 2 : 0);
}

/* Whether no vector register keeps a value over the helpers that are called: none keeps upper halves. */
static int is_lost(const State *s, int32_t value, int calls) {
    return class_of(s, value) == VECTOR && (calls & LOSES_VECTORS || (calls && s->info[value].dtype >= WIDE));
}

/* A register that stays with `value` until the loop ends, or -1 where too few would be left. */
static int32_t pin(State *s, int32_t value, int calls, int reserve) {
    int cls = class_of(s, value);
    if (cls == VECTOR && is_lost(s, value, calls)) return -1;
    uint32_t all = (1u << s->lib->count[cls]) - 1, usable = all & ~s->pinned[cls];
    if (__builtin_popcount(usable) <= reserve) return -1;
    uint32_t allowed = calls ? usable & (uint32_t)s->lib->saved[cls] : usable;
    if (calls && __builtin_popcount(allowed) <= 1) return -1;
    int32_t reg = allocate(s, cls, ~allowed, 1);
    s->pinned[cls] |= 1u << reg;
    if (cls == INTEGER) s->entered |= s->lib->kept >> reg & 1;
    return reg;
}

/* The register of a value that is only read, at a border of a loop: only pins hold something there. */
static int32_t readable(State *s, int32_t value, int32_t other) {
    int cls = class_of(s, value);
    int32_t reg = s->value[value].reg;
    if (reg >= 0 && (s->pinned[cls] >> reg & 1)) return reg;
    reg = __builtin_ctz(~(s->pinned[cls] | bit(other)));
    put_load(s, value, reg);
    return reg;
}

static void leave_unless(State *s, Loop *loop, int32_t reg) {
    Hole hole = put(s, s->lib->overloads[s->lib->basics[UNLESS]].registers, (int32_t[4]){0, reg, 0, 0}, 0, 0);
    PUSH(s->exits, (Exit){hole, loop->exit_fixups});
    loop->exit_fixups = (int32_t)s->exits.count - 1;
}

/* Constants, and others from outside, that the innermost loop would load at each trip: vectors everywhere, scalars where
 * instructions do not read memory in place. */
static void pin_constants(State *s, const Loop *loop) {
    for (int32_t t = loop->through; t < loop->through + loop->throughs; t++) {
        int32_t value = s->through.items[t].value;
        if (s->info[value].flags & CHANGING || s->value[value].reg >= 0 || !s->value[value].in_memory) continue;
        int cls = class_of(s, value);
        if (s->info[value].dtype < WIDE && s->lib->basics[ENTRY] >= 0) continue;
        if (s->lib->count[cls] - __builtin_popcount(s->pinned[cls]) <= (cls == VECTOR ? 8 : 4)) continue;
        int32_t reg = __builtin_ctz(~s->pinned[cls]);
        put_load(s, value, reg);
        set_register(s, value, reg);
        s->pinned[cls] |= 1u << reg;
    }
}

void begin_loop(State *s, int32_t at) {
    int32_t number = s->code[at].immediate;
    const LoopInfo *info = &s->loop_info[number];
    Loop *loop = &s->loops[number];
    memcpy(loop->pinned, s->pinned, sizeof s->pinned);
    loop->weight = s->weight;
    for (int32_t c = info->carry; c < info->carry + info->carries; c++) {
        int32_t param = s->carries[c].param, init = s->carries[c].init;
        int32_t reg = pin(s, param, loop->calls, reserve_of(info, loop, class_of(s, param)));
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
        if (loop->calls && (!(s->lib->saved[cls] >> reg & 1) || is_lost(s, value, loop->calls))) continue;
        int free = s->lib->count[cls] - __builtin_popcount(s->pinned[cls]);
        int saved = __builtin_popcount((uint32_t)s->lib->saved[cls] & ~s->pinned[cls]);
        if (free > left_free(info, loop, cls) && (!loop->calls || saved > 2)) s->pinned[cls] |= 1u << reg;
    }
    for (int cls = VECTOR; cls <= INTEGER; cls++)
        for (int32_t r = 0; r < s->lib->count[cls]; r++) {
            int32_t value = s->content[cls][r];
            if (value < 0 || (s->pinned[cls] >> r & 1)) continue;
            if (s->value[value].next != NEVER) ensure_memory(s, value);
            set_register(s, value, -1);
        }
    if (!loop->calls && !loop->nests) pin_constants(s, loop);
    loop->exit_fixups = -1;
    if (info->counter == RANGE && s->code[at].use[0] >= 0) leave_unless(s, loop, readable(s, s->code[at].use[0], -1));
    if (info->counter >= 0)
        put(s, s->lib->overloads[s->lib->basics[SET]].registers, (int32_t[4]){0}, info->counter, info->trips);
    loop->head = (int32_t)s->out.count;
    s->stack[s->depth++] = number;
    if (s->weight >= 0) s->weight = info->counter >= 0 ? s->weight * info->trips : -1;
    s->unbounded |= s->weight < 0;
    retire(s, at);
}

void exit_loop(State *s, int32_t at) {
    int32_t reg = in_register(s, s->code[at].use[0], s->code[at].use, 3, at);
    leave_unless(s, &s->loops[s->code[at].immediate], reg);
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

void end_loop(State *s, int32_t at) {
    int32_t number = s->code[at].immediate;
    const LoopInfo *info = &s->loop_info[number];
    Loop *loop = &s->loops[number];
    close_carries(s, info);
    int back = info->counter >= 0 ? REPEAT : info->counter == RANGE ? BELOW : JUMP;
    int32_t compared[4] = {0};
    if (back == BELOW) {
        compared[1] = readable(s, s->carries[info->carry].param, -1);
        compared[2] = readable(s, info->trips, compared[1]);
    }
    land(s, put(s, s->lib->overloads[s->lib->basics[back]].registers, compared, back == REPEAT ? info->counter : 0, 0), loop->head);
    for (int32_t e = loop->exit_fixups; e >= 0; e = s->exits.items[e].next) land(s, s->exits.items[e].hole, s->out.count);
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
