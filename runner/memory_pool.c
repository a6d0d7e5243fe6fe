/* See memory_pool.h. Sizes come in classes, four for each power of two; blocks of a class are used
 * last in, first out, because the last is the likeliest to be in a cache. Beyond LIMIT bytes the block
 * that was given back first goes to the system. */
#define _GNU_SOURCE
#include "memory_pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { UNIT = 64, CLASSES = 240, HUGE_PAGE = 2 << 20 };
static const size_t LIMIT = (size_t)64 << 20, MAPPED = (size_t)1 << 20;

/* In the UNIT bytes before a block. */
typedef struct Header {
    struct Header *below, *above; /* in its class, while it is kept */
    struct Header *older, *newer; /* among all that are kept */
    uint8_t *base;                /* what to unmap or free */
    size_t bytes, whole;          /* of the block; of what to unmap, 0: free */
    unsigned class;
} Header;

_Static_assert(sizeof(Header) <= UNIT, "the header lies in the unit before its block");

static Header *kept[CLASSES], *oldest, *newest;
static size_t kept_bytes;

/* Classes are 1, 2, 3, 4 units, then 5 to 8 times a power of two. Returns the units of the class. */
static size_t class_of(size_t bytes, unsigned *class) {
    size_t last = bytes ? (bytes - 1) / UNIT : 0;
    unsigned shift = last < 4 ? 0 : (unsigned)(63 - __builtin_clzll(last)) - 2;
    size_t part = (last >> shift) + 1;
    *class = shift * 4 + (unsigned)part - 1;
    return part << shift;
}

static Header *from_system(size_t bytes) {
    if (bytes < MAPPED) {
        uint8_t *base = aligned_alloc(UNIT, bytes + UNIT);
        if (!base) return NULL;
        Header *header = (Header *)base;
        *header = (Header){.base = base, .bytes = bytes};
        return header;
    }
    size_t whole = bytes + UNIT + HUGE_PAGE;
    uint8_t *base = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return NULL;
    uintptr_t start = ((uintptr_t)base + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    Header *header = (Header *)start;
    madvise(header, bytes + UNIT, MADV_HUGEPAGE); /* advice: a refusal changes nothing */
    *header = (Header){.base = base, .bytes = bytes, .whole = whole};
    return header;
}

static void to_system(Header *header) {
    if (header->whole) munmap(header->base, header->whole);
    else free(header->base);
}

/* Take a kept block out of both lists. */
static void forget(Header *header) {
    *(header->above ? &header->above->below : &kept[header->class]) = header->below;
    if (header->below) header->below->above = header->above;
    *(header->older ? &header->older->newer : &oldest) = header->newer;
    *(header->newer ? &header->newer->older : &newest) = header->older;
    kept_bytes -= header->bytes;
}

static void drop_oldest(void) {
    Header *header = oldest;
    forget(header);
    to_system(header);
}

void *hl_take(size_t bytes) {
    if (bytes > SIZE_MAX / 4) return NULL;
    unsigned class;
    size_t units = class_of(bytes, &class);
    Header *header = kept[class];
    if (header) forget(header);
    else {
        header = from_system(units * UNIT);
        if (!header) return NULL;
        header->class = class;
    }
    return (uint8_t *)header + UNIT;
}

void hl_give(void *block) {
    if (!block) return;
    Header *header = (Header *)((uint8_t *)block - UNIT);
    if (header->bytes > LIMIT) {
        to_system(header);
        return;
    }
    header->above = NULL;
    header->below = kept[header->class];
    if (header->below) header->below->above = header;
    kept[header->class] = header;
    header->newer = NULL;
    header->older = newest;
    *(newest ? &newest->newer : &oldest) = header;
    newest = header;
    kept_bytes += header->bytes;
    while (kept_bytes > LIMIT) drop_oldest();
}
