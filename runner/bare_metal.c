/* Port of the runner to boards without an operating system: one UART, all of the RAM that is left.
 *
 * The board's description (HL_BOARD, a header of boards/) gives its UART and its name; the linker
 * script (boards/board.ld) gives memory; boards/cortex_m.c and boards/riscv.c start it. The program is
 * executed from RAM. There is no memory protection: code is writable while it is executable.
 */
#include "resident.h"

#include HL_BOARD

#ifndef HL_CAPACITY
#define HL_CAPACITY 512 /* one frame; larger ones load faster */
#endif

extern uint8_t hl_region_start[], hl_region_end[], hl_stack_start[], hl_stack_end[]; /* the linker script's */
void hl_main(void);

/* Compilers turn loops and copies of structures into calls of these. */
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    for (size_t i = 0; i < size; i++) ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

void *memset(void *to, int byte, size_t size) {
    for (size_t i = 0; i < size; i++) ((volatile uint8_t *)to)[i] = (uint8_t)byte;
    return to;
}

void *memmove(void *to, const void *from, size_t size) {
    if ((uintptr_t)to <= (uintptr_t)from) return memcpy(to, from, size);
    while (size--) ((volatile uint8_t *)to)[size] = ((const uint8_t *)from)[size];
    return to;
}

enum { OWN_STACK = 256 }; /* what the runner's own calls need beside the program; a test measures it */

/* Code and data share the region: either may have all that the other leaves. */
hl_limits hl_port_limits(void) {
    const uint32_t region = (uint32_t)(hl_region_end - hl_region_start);
    return (hl_limits){.code = region, .data = region, .stack = (uint32_t)(hl_stack_end - hl_stack_start) - OWN_STACK};
}

const char *hl_port_target(void) { return BOARD_TARGET; }

int hl_port_accepts(uint64_t target) {
    return target == hl_target_hash(BOARD_TARGET) || target == hl_target_hash(BOARD_ALSO);
}

int hl_port_map(hl_memory *memory, size_t code, size_t data) {
    const size_t start = (code + 63) & ~(size_t)63, region = (size_t)(hl_region_end - hl_region_start);
    if (start > region || data > region - start) return 1;
    *memory = (hl_memory){.code = hl_region_start, .data = hl_region_start + start, .bytes = start + data};
    memset(hl_region_start, 0, start + data);
    return 0;
}

/* Instructions just written must be seen by fetches: caches are off on these boards, so barriers
 * suffice (Armv7-M ARM, A3.7.3; RISC-V Zifencei). */
int hl_port_seal(hl_memory *memory) {
    (void)memory;
#if defined(__arm__)
    __asm__ volatile("dsb\n isb" : : : "memory");
#elif defined(__riscv)
    __asm__ volatile("fence.i" : : : "memory");
#endif
    return 0;
}

void hl_port_unmap(hl_memory *memory) { (void)memory; }

static hl_runner runner;

static int receive(void *context, uint8_t *bytes, size_t size) {
    (void)context;
    for (; size--; bytes++) {
        while (!board_received()) hl_resident_idle(&runner);
        *bytes = board_receive();
    }
    return 0;
}

static int send(void *context, const uint8_t *bytes, size_t size) {
    (void)context;
    for (; size--; bytes++) {
        while (!board_sends()) hl_resident_idle(&runner);
        board_send(*bytes);
    }
    return 0;
}

/* What start-up code calls, with a stack and zeroed memory. */
void hl_main(void) {
    static uint8_t buffer[HL_CAPACITY];
    static const hl_link link = {0, receive, send, buffer, sizeof buffer, 1};
    board_start();
    hl_adopt_resident(&runner);
    hl_announce(&link);
    for (;;) hl_answer(&runner, &link);
}
