/* Port of the runner to Linux: memory by mmap, and what this processor can execute. */
#define _GNU_SOURCE
#include "linux.h"

#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__arm__)
#include <sys/auxv.h>
#endif

/* A 32-bit displacement from any code to any data must reach: the sum stays below 2 GiB. Threads of
 * musl have 128 KiB of stack, those of glibc 8 MiB; programs keep spills in their data region. */
hl_limits hl_port_limits(void) {
    return (hl_limits){.code = 256u << 20, .data = 1u << 30, .stack = 64u << 10};
}

int hl_port_map(hl_memory *memory, size_t code, size_t data) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t start = (code + page - 1) / page * page; /* no overflow: limits are far below SIZE_MAX */
    size_t bytes = start + (data + page - 1) / page * page;
    void *base = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return 1;
    *memory = (hl_memory){.code = base, .data = (uint8_t *)base + start, .bytes = bytes};
    return 0;
}

int hl_port_seal(hl_memory *memory) {
    size_t size = (size_t)(memory->data - memory->code);
    __builtin___clear_cache((char *)memory->code, (char *)memory->data);
    return mprotect(memory->code, size, PROT_READ | PROT_EXEC) != 0;
}

void hl_port_unmap(hl_memory *memory) { munmap(memory->code, memory->bytes); }

#if defined(__x86_64__)
/* The levels are those of the x86-64 psABI, 3.1.1; bit numbers from <cpuid.h>. AVX also needs the
 * operating system to save its registers: OSXSAVE, then XCR0 bits 1 and 2 (Intel SDM 1, 14.3). */
static int saves_avx(unsigned features) {
    if (!(features & bit_OSXSAVE)) return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6u) == 6u;
}

const char *hl_linux_target(void) {
    const unsigned v2 = bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B;
    const unsigned v3 = bit_AVX | bit_F16C | bit_FMA | bit_MOVBE;
    const unsigned v3_leaf7 = bit_AVX2 | bit_BMI | bit_BMI2, lahf = 1u << 0, lzcnt = 1u << 5;
    unsigned a, b, basic, d, leaf7, extended;
    if (!__get_cpuid(1, &a, &b, &basic, &d)) return "x86-64";
    if (!__get_cpuid(0x80000001u, &a, &b, &extended, &d)) return "x86-64";
    if ((basic & v2) != v2 || !(extended & lahf)) return "x86-64";
    if (!__get_cpuid_count(7, 0, &a, &leaf7, &b, &d)) return "x86-64-v2";
    int v3_here = (basic & v3) == v3 && (leaf7 & v3_leaf7) == v3_leaf7 && (extended & lzcnt);
    return v3_here && saves_avx(basic) ? "x86-64-v3" : "x86-64-v2";
}
#elif defined(__aarch64__)
const char *hl_linux_target(void) { return "aarch64"; }
#elif defined(__arm__)
/* Bits of AT_HWCAP from the kernel's arch/arm/include/uapi/asm/hwcap.h. */
const char *hl_linux_target(void) {
    const unsigned long vfp = 1ul << 6, v7 = 1ul << 16 /* VFPv4 */ | 1ul << 17 /* division in ARM mode */;
    const unsigned long here = getauxval(AT_HWCAP);
    return (here & v7) == v7 ? "armv7a" : here & vfp ? "armv6" : "unknown";
}
#elif defined(__riscv) && __riscv_xlen == 64
const char *hl_linux_target(void) { return "riscv64"; }
#else
const char *hl_linux_target(void) { return "unknown"; }
#endif

const char *hl_port_target(void) { return hl_linux_target(); }

static int same(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

int hl_port_accepts(uint64_t target) {
    static const char *const also[][2] = {{"x86-64-v3", "x86-64-v2"}, {"armv7a", "armv6"}}; /* the first contains the second */
    const char *here = hl_linux_target();
    if (same(here, "unknown")) return 0;
    if (target == hl_target_hash(here)) return 1;
    for (int i = 0; i < 2; i++)
        if (same(here, also[i][0]) && target == hl_target_hash(also[i][1])) return 1;
    return 0;
}
