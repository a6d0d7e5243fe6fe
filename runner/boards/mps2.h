/* Arm's MPS2 board with the CMSDK UART (Arm DDI 0479D, 4.3), as qemu models it: -M mps2-an385, -an386, -an500.
 *
 * The build gives BOARD_TARGET and BOARD_ALSO, names of what its processor executes.
 */
#ifndef HOTLOOP_BOARD_H
#define HOTLOOP_BOARD_H

#include <stdint.h>

#define BOARD_CLOCK 25000000
#define UART ((volatile uint32_t *)0x40004000u) /* UART0; words DATA, STATE, CTRL, INTSTATUS, BAUDDIV */

enum { UART_DATA = 0, UART_STATE = 1, UART_CTRL = 2, UART_BAUDDIV = 4 };
enum { STATE_SEND_FULL = 1, STATE_RECEIVED = 2, CTRL_SEND = 1, CTRL_RECEIVE = 2 };

static inline void board_start(void) {
    UART[UART_BAUDDIV] = 25000000 / 115200; /* the clock of the FPGA images is 25 MHz */
    UART[UART_CTRL] = CTRL_SEND | CTRL_RECEIVE;
}

static inline int board_received(void) { return (UART[UART_STATE] & STATE_RECEIVED) != 0; }

static inline int board_sends(void) { return !(UART[UART_STATE] & STATE_SEND_FULL); }

static inline uint8_t board_receive(void) { return (uint8_t)UART[UART_DATA]; }

static inline void board_send(uint8_t byte) { UART[UART_DATA] = byte; }

#endif
