/* Memory for arrays: blocks that are kept, when they are given back, for whoever asks next.
 *
 * Memory that was used before needs no page faults, which cost more than most loops over it. Nothing
 * here locks: call it with the GIL held.
 */
#ifndef HOTLOOP_MEMORY_POOL_H
#define HOTLOOP_MEMORY_POOL_H

#include <stddef.h>

/* A block of at least so many bytes, 64-byte aligned, with whatever it held before; NULL: there is none. */
void *hl_take(size_t bytes);

/* Give a block back; NULL does nothing. */
void hl_give(void *block);

#endif
