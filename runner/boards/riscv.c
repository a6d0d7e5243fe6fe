/* Start of a RISC-V core in machine mode: stack, FPU, zeroed memory, and traps, which reset the board:
 * what a program did to its memory is unknown, and a runner that hangs cannot be reached any more. */
#include <stdint.h>

extern uint32_t hl_bss_start[], hl_bss_end[]; /* the linker script's */
void hl_main(void);
void hl_start(void);
void hl_begin(void);
void hl_trap(void);

#define TEST_DEVICE (*(volatile uint32_t *)0x100000u) /* of qemu's virt board: it resets and powers off */

enum { TEST_RESET = 0x7777 };

/* No code of a compiler: there is no stack yet. Other harts sleep. gp is not used. */
__attribute__((naked, section(".start"), used)) void hl_start(void) {
    __asm__ volatile("csrr t0, mhartid\n"
                     "1: beqz t0, 2f\n wfi\n j 1b\n"
                     "2: la sp, hl_stack_end\n"
                     "la t0, hl_trap\n csrw mtvec, t0\n"
                     "j hl_begin\n");
}

__attribute__((aligned(4), used)) void hl_trap(void) { /* mtvec.BASE is aligned to 4 bytes (privileged ISA, 3.1.7) */
    TEST_DEVICE = TEST_RESET;
    for (;;) continue;
}

__attribute__((used)) void hl_begin(void) {
#if defined(__riscv_flen)
    __asm__ volatile("csrs mstatus, %0\n csrw fcsr, zero" : : "r"(1u << 13)); /* FS = initial (privileged ISA, 3.1.6.6) */
#endif
    for (volatile uint32_t *p = hl_bss_start; p < (volatile uint32_t *)hl_bss_end; p++) *p = 0;
    hl_main();
}
