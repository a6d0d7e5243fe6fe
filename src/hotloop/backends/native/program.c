/* The whole program: uses ahead, every instruction in turn, the entry, helpers and constants. */
#include "emit.h"

/* Integer registers that an instruction takes, the result's too. */
static int32_t integers_of(const State *s, const Instruction *in) {
    int32_t count = in->dst >= 0 && class_of(s, in->dst) == INTEGER;
    for (int k = 0; k < 3; k++) count += in->use[k] >= 0 && class_of(s, in->use[k]) == INTEGER;
    return count;
}

/* What flows into loops from outside, and where helpers are called. */
static int find_loops(State *s) {
    int32_t stack[64], depth = 0;
    int32_t *seen = PyMem_RawMalloc((size_t)(s->values + 1) * sizeof *seen);
    if (!seen) return -1;
    for (int32_t i = 0; i < s->length; i++) {
        const Instruction *in = &s->code[i];
        if (in->op == OP_LOOP) {
            if (depth == 64) break;
            for (int32_t d = 0; d < depth; d++) s->loops[stack[d]].nests = 1;
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
        } else if (in->op >= 0) {
            if (s->lib->overloads[in->op].registers < 0) {
                s->failed = NO_STENCIL;
                break;
            }
            const Stencil *stencil = &s->lib->stencils[s->lib->overloads[in->op].registers];
            int calls = !stencil->calls ? 0 : (uint32_t)stencil->clobbers[0] & (uint32_t)s->lib->saved[VECTOR] ? CALLS | LOSES_VECTORS : CALLS;
            int32_t needs = integers_of(s, in);
            for (int32_t d = 0; d < depth; d++) {
                s->loops[stack[d]].calls |= calls;
                if (s->loops[stack[d]].needs < needs) s->loops[stack[d]].needs = needs;
            }
        }
        if (in->dst >= 0) s->value[in->dst].def = i;
    }
    for (int32_t l = 0; l < s->loop_count; l++) {
        Loop *loop = &s->loops[l];
        for (int32_t v = 0; v <= s->values; v++) seen[v] = 0;
        loop->through = (int32_t)s->through.count;
        for (int32_t i = loop->begin + 1; i <= loop->end; i++) { /* the end reads the limit of a range */
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
        } else if (in->op >= 0 && s->lib->stencils[s->lib->overloads[in->op].registers].calls) {
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
                if (s->lib->stencils[s->lib->overloads[s->code[i].op].registers].calls) put_call(s, i);
                else put_operation(s, i);
        }
        free_released(s);
    }
}

/* What keeps the caller's registers: a stencil that every program begins with, or a function that calls the program
 * and that is left out if nothing of the caller's is touched. */
static void put_entry(State *s) {
    const Library *lib = s->lib;
    if (lib->basics[ENTRY] < 0) {
        put(s, lib->overloads[lib->basics[ENTER]].registers, (int32_t[4]){0}, 0, 0);
        s->entered = 1;
        return;
    }
    const Item *entry = &lib->items[lib->basics[ENTRY]];
    append(s, lib->code + entry->code, entry->length);
}

static void finish_entry(State *s) {
    const Library *lib = s->lib;
    if (lib->basics[ENTRY] < 0) return;
    const Item *entry = &lib->items[lib->basics[ENTRY]];
    s->entry = s->entered ? 0 : entry->length;
    for (int32_t p = entry->patch; p < entry->patch + entry->patches; p++) {
        const Patch *patch = &lib->patches[p];
        Hole hole = {patch->position, patch->kind >> 2, patch->addend};
        if ((patch->kind & 3) == TARGET) land(s, hole, entry->length);
        else PUSH(s->fixups, (Fixup){hole.position, hole.form, patch->item, patch->addend});
    }
}

void assemble_state(State *s) {
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
    if (find_loops(s) < 0) s->failed = NO_MEMORY;
    if (s->failed) return;
    find_next_uses(s);
    put_entry(s);
    emit_all(s);
    int wide = 0;
    for (int32_t v = 0; v < s->values; v++) wide |= s->info[v].dtype >= WIDE;
    put(s, lib->overloads[lib->basics[wide ? LEAVE : RETURN]].registers, (int32_t[4]){0}, 0, 0);
    if (s->failed) return;
    finish_entry(s);
    put_items(s);
}
