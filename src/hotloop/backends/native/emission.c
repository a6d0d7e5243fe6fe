/* Copying stencils and filling their holes. */
#include "emit.h"

void *emit_grow(void *items, Py_ssize_t *capacity, size_t size) {
    Py_ssize_t more = *capacity ? *capacity * 2 : 256;
    void *fresh = PyMem_RawRealloc(items, (size_t)more * size);
    if (fresh) *capacity = more;
    return fresh;
}


void append(State *s, const uint8_t *bytes, int32_t length) {
    while (s->out.count + length > s->out.capacity) {
        void *fresh = emit_grow(s->out.items, &s->out.capacity, 1);
        if (!fresh) {
            s->failed = 1;
            return;
        }
        s->out.items = fresh;
    }
    memcpy(s->out.items + s->out.count, bytes, (size_t)length);
    s->out.count += length;
}

void write32(State *s, int64_t position, int64_t number) {
    if (s->failed) return;
    uint32_t bits = (uint32_t)number;
    for (int i = 0; i < 4; i++) s->out.items[position + i] = (uint8_t)(bits >> (8 * i));
}

/* Copy one stencil and fill its holes; returns the position of its jump target hole, or -1. */
int64_t put(State *s, int32_t number, const int32_t registers[4], int64_t displacement, int32_t immediate) {
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

void put_move(State *s, int32_t value, int32_t to, int32_t from) {
    if (to == from) return;
    int which = s->info[value].dtype >= WIDE ? 2 : class_of(s, value) - 1;
    put(s, s->lib->overloads[s->lib->basics[MOVE + which]].registers, (int32_t[4]){to, from, 0, 0}, 0, 0);
    s->moves++;
}

void put_load(State *s, int32_t value, int32_t to) {
    int32_t dtype = s->info[value].dtype;
    put(s, s->lib->overloads[s->lib->basics[LOAD + dtype]].registers, (int32_t[4]){to, 0, 0, 0}, s->value[value].slot, 0);
    s->loads++;
}

void put_store(State *s, int32_t value, int32_t from, int64_t offset) {
    int32_t dtype = s->info[value].dtype;
    put(s, s->lib->overloads[s->lib->basics[STORE + dtype]].registers, (int32_t[4]){0, from, 0, 0}, offset, 0);
    s->stores++;
}

/* Append the helpers and constants in use and resolve references to them. */
void put_items(State *s) {
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
