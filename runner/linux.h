/* What the Linux port offers beyond runner.h. */
#ifndef HOTLOOP_LINUX_H
#define HOTLOOP_LINUX_H

#include "runner.h"

/* Name of the best target this processor executes: "x86-64-v3", "x86-64-v2", "x86-64" (too old),
 * "aarch64", "armv7a", "armv6", "riscv64" or "unknown". */
const char *hl_linux_target(void);

#endif
