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
            s->failed = NO_MEMORY;
            return;
        }
        s->out.items = fresh;
    }
    memcpy(s->out.items + s->out.count, bytes, (size_t)length);
    s->out.count += length;
}

/* Write a number into an instruction whose field is clear. */
void fill(State *s, int32_t form, int64_t position, int64_t number) {
    if (s->failed) return;
    const Form *how = &s->lib->forms[form];
    uint32_t bits = (uint32_t)(number + how->bias), flips = 0;
    if (how->bits && how->bits < 32) {
        int64_t limit = (int64_t)1 << (how->bits - 1);
        if (number < -limit || number >= limit) s->failed = TOO_FAR;
    }
    for (; bits; bits &= bits - 1) flips ^= (uint32_t)how->masks[__builtin_ctz(bits)];
    for (int i = 0; i < how->size; i++) s->out.items[position + i] ^= (uint8_t)(flips >> (8 * i));
}

void land(State *s, Hole hole, int64_t target) {
    if (hole.position >= 0) fill(s, hole.form, hole.position, target - hole.position + hole.addend);
}

static void flip(const Library *lib, uint8_t *at, int32_t field) {
    const int32_t *range = lib->fields[field];
    for (int32_t i = range[0]; i < range[0] + range[1]; i++) at[lib->xors[i][0]] ^= (uint8_t)lib->xors[i][1];
}

static void flip_bits(const Library *lib, uint8_t *at, int32_t field, uint32_t number) {
    for (; number; number &= number - 1) flip(lib, at, field + __builtin_ctz(number));
}

static const Variant *variant_of(const Library *lib, const Stencil *stencil, const int32_t registers[4]) {
    int32_t which = 0;
    for (int o = 0; o < stencil->fields; o++) {
        int32_t operand = stencil->field[o], reg = registers[operand];
        int cls = operand ? stencil->cls[operand - 1] : stencil->dst_class;
        which = which * stencil->radix[o] + lib->classes[(cls == VECTOR ? 0 : 16) + reg];
    }
    return &lib->variants[stencil->variant + which];
}

/* Copy one stencil and fill its holes; returns the hole of its jump, at -1 if it has none. */
Hole put(State *s, int32_t number, const int32_t registers[4], int64_t displacement, int32_t immediate) {
    const Library *lib = s->lib;
    const Stencil *stencil = &lib->stencils[number];
    if (displacement > stencil->reach || displacement < 0 || displacement % stencil->step) {
        if (stencil->far >= 0) stencil = &lib->stencils[stencil->far];
        else if (lib->variants[stencil->variant].displacement >= 0) s->failed = TOO_FAR; /* patches take any number */
    }
    const Variant *variant = variant_of(lib, stencil, registers);
    Py_ssize_t start = s->out.count;
    Hole target = {-1, 0, 0};
    append(s, lib->code + variant->code, variant->length);
    if (s->failed) return target;
    uint8_t *at = s->out.items + start;
    for (int o = 0; o < stencil->fields; o++) flip(lib, at, variant->field + 16 * o + registers[stencil->field[o]]);
    if (variant->displacement >= 0) flip_bits(lib, at, variant->displacement, (uint32_t)displacement);
    if (variant->immediate >= 0) flip_bits(lib, at, variant->immediate, (uint32_t)immediate);
    for (int32_t i = variant->patch; i < variant->patch + variant->patches; i++) {
        const Patch *patch = &lib->patches[i];
        int32_t position = (int32_t)start + patch->position, form = patch->kind >> 2;
        switch (patch->kind & 3) {
            case DISPLACEMENT: fill(s, form, position, displacement + patch->addend); break;
            case IMMEDIATE: fill(s, form, position, (int64_t)immediate + patch->addend); break;
            case TARGET: target = (Hole){position, form, patch->addend}; break;
            default: PUSH(s->fixups, (Fixup){position, form, patch->item, patch->addend});
        }
    }
    s->stencils_put++;
    if (s->weight >= 0) s->executed += s->weight;
    int known = !stencil->calls && (stencil->machine || !variant->length); /* of helpers nobody knows how many they execute */
    if (!known) s->machine = -1;
    else if (s->machine >= 0 && s->weight >= 0) s->machine += s->weight * stencil->machine;
    return target;
}

void put_move(State *s, int32_t value, int32_t to, int32_t from) {
    if (to == from) return;
    put(s, s->lib->overloads[s->lib->basics[MOVE + s->info[value].dtype]].registers, (int32_t[4]){to, from, 0, 0}, 0, 0);
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
        s->failed = NO_MEMORY;
        return;
    }
    for (Py_ssize_t i = 0; i < lib->item_count; i++) place[i] = -1;
    for (Py_ssize_t i = 0; i < s->fixups.count && !s->failed; i++) { /* grows while items are added */
        Fixup fixup = s->fixups.items[i];
        const Item *item = &lib->items[fixup.item];
        if (place[fixup.item] < 0) {
            if (item->stack > s->deepest) s->deepest = item->stack;
            static const uint8_t zero[64];
            int32_t padding = (int32_t)((-(uint64_t)s->out.count) & (uint64_t)(item->align - 1));
            append(s, zero, padding);
            place[fixup.item] = (int32_t)s->out.count;
            append(s, lib->code + item->code, item->length);
            for (int32_t p = item->patch; p < item->patch + item->patches; p++) {
                const Patch *patch = &lib->patches[p];
                PUSH(s->fixups, (Fixup){place[fixup.item] + patch->position, patch->kind >> 2, patch->item, patch->addend});
            }
        }
        fill(s, fixup.form, fixup.position, (int64_t)place[fixup.item] + fixup.addend - fixup.position);
    }
    PyMem_RawFree(place);
}
