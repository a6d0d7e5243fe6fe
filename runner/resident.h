/* A program that lies in a board's flash beside the runner: it is there after every start.
 *
 * The board's image, made when hotloop is built, holds an empty `hl_resident`. Form "firmware" of the export
 * (src/hotloop/deploy/firmware.py) appends code and initial data to the image and fills the last fields in.
 * The runner finds it at its start, runs the code where it lies, and serves READ, WRITE and RUN on it at once;
 * with a rate it also calls it at that rate. FREE gives the place up, until the next start, to a program that is loaded.
 *
 * What a board has to do:
 * - its header defines BOARD_CLOCK, the frequency in Hz of the timer, if it has one: the SysTick of a Cortex-M, or
 *   the mtime of a RISC-V, whose address is BOARD_MTIME;
 * - its linker script defines hl_flash_end beside hl_region_*, hl_stack_*, and puts no byte after the loaded sections;
 * - its port calls hl_adopt_resident(&runner) once, and hl_resident_idle(&runner) over and over while it waits for
 *   a byte to come or to go. So the program never runs while a request is executed, and inputs change between two
 *   runs only, all that one request writes at once. No interrupt is used.
 *
 * The start of a run is late by the longest request and by the loop that polls, a few dozen cycles. Bytes that
 * come while the program runs are lost where the UART holds one byte; clients then repeat their request.
 */
#ifndef HOTLOOP_RESIDENT_H
#define HOTLOOP_RESIDENT_H

#include "runner.h"

#define HL_RESIDENT_VERSION 1u

/* Little endian; addresses have the size of the board's, and nothing needs padding. */
typedef struct {
    uint8_t magic[16]; /* "hotloop:resident", once in the image */
    uint32_t version, clock; /* clock: of the timer, in Hz; 0: there is none */
    char target[HL_NAME], also[HL_NAME]; /* what this board executes */
    const uint8_t *flash_end, *region_start, *region_end, *stack_start, *stack_end;
    /* Filled in by the export. code_bytes == 0: there is no program. */
    const uint8_t *code, *initial;
    uint32_t code_bytes, entry, stack_bytes;
    uint32_t initial_bytes, data_bytes; /* after the initial data comes zero */
    uint32_t reload, every;             /* ticks of the timer less one; periods for each run; 0: no rate */
} hl_resident;

/* Put the resident program, if there is one, into an EMPTY runner. HL_NOTHING: there is none. */
hl_status hl_adopt_resident(hl_runner *);

/* Run the resident program if it is time. */
void hl_resident_idle(hl_runner *);

#endif
