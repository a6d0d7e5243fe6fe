/* qemu's board for RISC-V, -M virt: an NS16550A UART with registers a byte apart. */
#ifndef HOTLOOP_BOARD_H
#define HOTLOOP_BOARD_H

#include <stdint.h>

#define BOARD_CLOCK 10000000
#define BOARD_MTIME 0x0200bff8u
#define UART ((volatile uint8_t *)0x10000000u)

enum { UART_DATA = 0, UART_FIFO = 2, UART_LINE = 3, UART_STATE = 5 };
enum { STATE_RECEIVED = 0x01, STATE_SEND_EMPTY = 0x20, LINE_8N1 = 3, FIFO_ON = 1 };

static inline void board_start(void) {
    UART[UART_LINE] = LINE_8N1; /* the divisor has no meaning here */
    UART[UART_FIFO] = FIFO_ON;
}

static inline int board_received(void) { return UART[UART_STATE] & STATE_RECEIVED; }

static inline int board_sends(void) { return UART[UART_STATE] & STATE_SEND_EMPTY; }

static inline uint8_t board_receive(void) { return UART[UART_DATA]; }

static inline void board_send(uint8_t byte) { UART[UART_DATA] = byte; }

#endif
