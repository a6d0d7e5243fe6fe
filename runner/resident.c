/* See resident.h. */
#include "resident.h"

#include HL_BOARD

#ifndef BOARD_CLOCK
#define BOARD_CLOCK 0
#endif

extern const uint8_t hl_flash_end[], hl_region_start[], hl_region_end[], hl_stack_start[], hl_stack_end[];

/* volatile: its content comes after the compiler. */
__attribute__((used, retain, aligned(4))) static const volatile hl_resident resident = {
    .magic = {'h', 'o', 't', 'l', 'o', 'o', 'p', ':', 'r', 'e', 's', 'i', 'd', 'e', 'n', 't'},
    .version = HL_RESIDENT_VERSION,
    .target = BOARD_TARGET,
    .also = BOARD_ALSO,
    .clock = BOARD_CLOCK,
    .flash_end = hl_flash_end,
    .region_start = hl_region_start,
    .region_end = hl_region_end,
    .stack_start = hl_stack_start,
    .stack_end = hl_stack_end,
};

#if defined(BOARD_MTIME)
/* Counts up, at the same rate for ever (RISC-V privileged ISA, 3.2.1); its lower half is enough. */
static uint32_t last;

static uint32_t now(void) { return *(volatile uint32_t *)BOARD_MTIME; }

static void start_timer(void) { last = now(); }

static int period_is_over(void) {
    if (now() - last <= resident.reload) return 0;
    last += resident.reload + 1;
    return 1;
}
#elif BOARD_CLOCK
/* SysTick counts down; COUNTFLAG is set at zero and cleared by a read (Armv7-M ARM, B3.3). */
#define SYST ((volatile uint32_t *)0xe000e010u) /* words CSR, RVR, CVR */

enum { SYST_CSR = 0, SYST_RVR = 1, SYST_CVR = 2, CSR_ENABLE = 1, CSR_CLKSOURCE = 4, CSR_COUNTFLAG = 1 << 16 };

static void start_timer(void) {
    SYST[SYST_RVR] = resident.reload;
    SYST[SYST_CVR] = 0;
    SYST[SYST_CSR] = CSR_ENABLE | CSR_CLKSOURCE;
}

static int period_is_over(void) { return (SYST[SYST_CSR] & CSR_COUNTFLAG) != 0; }
#else
static void start_timer(void) {}
static int period_is_over(void) { return 0; }
#endif

hl_status hl_adopt_resident(hl_runner *runner) {
    const uint32_t code_bytes = resident.code_bytes, initial_bytes = resident.initial_bytes;
    if (!code_bytes) return HL_NOTHING;
    if (runner->state != HL_EMPTY) return HL_HELD;
    if (resident.stack_bytes > hl_port_limits().stack) return HL_STACK;
    if (hl_port_map(&runner->memory, 0, resident.data_bytes)) return HL_MEMORY;
    runner->memory.code = (uint8_t *)(uintptr_t)resident.code; /* nothing is written to code once it is sealed */
    runner->code_size = code_bytes;
    runner->data_size = resident.data_bytes;
    runner->state = HL_LOADING;
    hl_status status = hl_copy_data(runner, 0, resident.initial, initial_bytes);
    if (!status) status = hl_seal(runner, resident.entry, resident.stack_bytes);
    if (status) hl_release(runner);
    else if (resident.every) start_timer();
    return status;
}

void hl_resident_idle(hl_runner *runner) {
    static uint32_t ticks;
    if (!resident.every || !period_is_over()) return;
    if (++ticks < resident.every) return;
    ticks = 0;
    if (runner->state == HL_READY && runner->memory.code == resident.code) hl_call(runner);
}
