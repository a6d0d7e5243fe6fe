/* Start of a Cortex-M (Armv7-M ARM): vector table, FPU, zeroed memory. A fault resets the board: what
 * a program did to its memory is unknown, and a runner that hangs cannot be reached any more. */
#include <stdint.h>

extern uint32_t hl_stack_end[], hl_bss_start[], hl_bss_end[]; /* the linker script's */
void hl_main(void);
void hl_reset(void);
void hl_fault(void);

/* System control block, B3.2. */
#define AIRCR (*(volatile uint32_t *)0xe000ed0cu)
#define CPACR (*(volatile uint32_t *)0xe000ed88u)

enum { AIRCR_RESET = 0x05fa0004, CPACR_FPU = 0xf << 20 };

void hl_reset(void) {
#if defined(__ARM_FP)
    CPACR |= CPACR_FPU;
    __asm__ volatile("dsb\n isb");
#endif
    for (volatile uint32_t *p = hl_bss_start; p < (volatile uint32_t *)hl_bss_end; p++) *p = 0;
    hl_main();
}

void hl_fault(void) {
    __asm__ volatile("dsb");
    AIRCR = AIRCR_RESET;
    for (;;) continue;
}

/* B1.5.3: the stack, reset, then NMI and the faults, 3 to 6; none of the others is enabled. */
__attribute__((section(".start"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[6])(void);
} vectors = {hl_stack_end, {hl_reset, hl_fault, hl_fault, hl_fault, hl_fault, hl_fault}};
