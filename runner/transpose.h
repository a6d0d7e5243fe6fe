/* Transposing arrays of small items, as fast as memory gives them. */
#ifndef HOTLOOP_TRANSPOSE_H
#define HOTLOOP_TRANSPOSE_H

#include <stdint.h>

/* to[row][column] = from[column][row] for so many rows and columns of `to`. Pitches are the bytes from one
 * row of `to` or `from` to the next, and may be negative; size is that of an item: 1, 2, 4 or 8 bytes. */
void hl_transpose(uint8_t *to, int64_t to_pitch, const uint8_t *from, int64_t from_pitch, int64_t rows, int64_t columns, int64_t size);

#endif
