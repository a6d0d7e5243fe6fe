/* The floating-point mode that decides the bits of a program, set once for many calls (see call_strictly in
 * runner.c), and the clock of loops that ask now and then whether to go on. */
#ifndef HOTLOOP_STRICT_H
#define HOTLOOP_STRICT_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

enum { MXCSR_MODE = 0xffc0, MXCSR_STRICT = 0x1f80 };

/* Returns what leave_strictly takes. */
static inline unsigned enter_strictly(void) {
    unsigned mode = _mm_getcsr();
    if ((mode & MXCSR_MODE) != MXCSR_STRICT) _mm_setcsr(MXCSR_STRICT);
    return mode;
}

static inline void leave_strictly(unsigned mode) {
    if ((mode & MXCSR_MODE) != MXCSR_STRICT) _mm_setcsr(mode);
}
#else
static inline unsigned enter_strictly(void) { return 0; }
static inline void leave_strictly(unsigned mode) { (void)mode; }
#endif

/* Nanoseconds after which the caller is asked whether to go on. */
static const int64_t PATIENCE = 50000000;

static inline int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
