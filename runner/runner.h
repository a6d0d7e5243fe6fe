/* The runner: holds one program and does what a stream of commands tells it.
 *
 * C11 without libc and without a heap. Memory and the link come from a port (linux.c is one). The
 * same source is the Python module `hotloop._runner`, a Linux process and firmware. Whatever arrives
 * in a frame is untrusted: every size, offset and order is checked before it is used. (The machine
 * code itself is not judged: who may load a program may run anything.)
 *
 * Life of a runner: EMPTY -ALLOCATE-> LOADING -ENTRY-> READY -FREE-> EMPTY. Code is written while
 * LOADING and executable while READY, never both.
 */
#ifndef HOTLOOP_RUNNER_H
#define HOTLOOP_RUNNER_H

#include <stddef.h>
#include <stdint.h>

#define HL_MAGIC 0x706c7468u /* "htlp" as bytes on the wire */
#define HL_VERSION 1u
#define HL_HEADER 8u  /* u16 command, u16 reserved = 0, u32 length of the payload */
#define HL_TRAILER 4u /* u32 CRC-32 (IEEE 802.3) of header and payload */
#define HL_LARGEST_REPLY 32u /* of every command but READ */

/* Commands, with their payloads. Every number on the wire is little endian. A reply has the command
 * of its request with HL_REPLY set; its payload is a u32 status, then what is written after "->". */
typedef enum {
    HL_HELLO = 1,     /* u32 magic, u32 version, u64 target -> u32 magic, u32 version, u32 largest
                       * payload, u32 code limit, u32 data limit, u32 stack limit */
    HL_ALLOCATE = 2,  /* u32 code bytes, u32 data bytes */
    HL_COPY_CODE = 3, /* u32 offset, bytes */
    HL_COPY_DATA = 4, /* u32 offset, bytes */
    HL_PATCH = 5,     /* u32 kind, u32 offset, i64 value; may repeat */
    HL_ENTRY = 6,     /* u32 offset, u32 stack bytes */
    HL_RUN = 7,       /* u32 count */
    HL_READ = 8,      /* u32 offset, u32 size -> bytes */
    HL_WRITE = 9,     /* u32 offset, bytes */
    HL_FREE = 10      /* nothing */
} hl_command;

#define HL_REPLY 0x8000u

typedef enum {
    HL_OK = 0,
    HL_UNKNOWN = 1,    /* no such command */
    HL_MALFORMED = 2,  /* the payload is too short or too long for its command */
    HL_GREETING = 3,   /* a command before HELLO, or a HELLO whose magic is wrong */
    HL_OTHER_VERSION = 4,
    HL_OTHER_TARGET = 5, /* this runner cannot execute code for that target */
    HL_HELD = 6,       /* ALLOCATE while a program is held */
    HL_NOTHING = 7,    /* no program is held */
    HL_SEALED = 8,     /* loading after ENTRY */
    HL_UNSEALED = 9,   /* running, reading or writing before ENTRY */
    HL_SIZE = 10,      /* beyond the limits of this runner */
    HL_BOUNDS = 11,    /* outside the region */
    HL_ALIGNMENT = 12, /* a patch or entry not aligned as its kind demands */
    HL_PATCH_KIND = 13,
    HL_PATCH_RANGE = 14, /* the patched value does not fit its field */
    HL_STACK = 15,     /* the program wants more stack than there is */
    HL_MEMORY = 16,    /* the port could not give or protect memory */
    HL_CHECKSUM = 17,  /* the frame arrived damaged; the link is closed */
    HL_TOO_LONG = 18   /* the payload exceeds the buffer; the link is closed */
} hl_status;

/* A patch kind is form | base | place: what is written, what the value counts from, and in which
 * region the field lies. Relocation types of real architectures are mapped to these at build time. */
enum {
    HL_ABS32 = 1, /* base + value, 32 bits, unsigned or sign-extended */
    HL_ABS64 = 2, /* base + value, 64 bits */
    HL_REL32 = 3, /* base + value - address of the field, 32 bits signed */
    HL_FORM = 0xff,
    HL_FROM_ZERO = 0x000, /* the value alone */
    HL_FROM_CODE = 0x100, /* the start of the code region */
    HL_FROM_DATA = 0x200, /* the start of the data region */
    HL_BASE = 0xf00,
    HL_IN_CODE = 0x0000,
    HL_IN_DATA = 0x1000,
    HL_PLACE = 0xf000
};
#define HL_PATCH_BYTES 16u

typedef enum { HL_EMPTY = 0, HL_LOADING = 1, HL_READY = 2 } hl_state;

/* One contiguous piece of memory: the code region, then the data region, which starts 64-byte
 * aligned where memory of its own protection can start (a page on Linux). */
typedef struct {
    uint8_t *code, *data;
    size_t bytes; /* of the whole piece */
} hl_memory;

typedef void (*hl_entry)(void *data);

/* Zero-initialised it is an empty runner. */
typedef struct {
    hl_memory memory;
    hl_entry entry;
    uint32_t code_size, data_size;
    uint8_t state; /* hl_state */
    uint8_t greeted;
} hl_runner;

/* ------------------------------------------------------------- what the port must provide */

typedef struct {
    uint32_t code, data, stack; /* the most bytes of each */
} hl_limits;

hl_limits hl_port_limits(void);
int hl_port_accepts(uint64_t target);             /* hl_target_hash of its name; 0: refuse */
int hl_port_map(hl_memory *, size_t code, size_t data); /* zeroed, writable; 0 on success */
int hl_port_seal(hl_memory *);                    /* code executable and read-only; 0 on success */
void hl_port_unmap(hl_memory *);

/* ------------------------------------------------------------------------------ operations */

hl_status hl_allocate(hl_runner *, uint32_t code_size, uint32_t data_size);
hl_status hl_copy_code(hl_runner *, uint32_t offset, const uint8_t *bytes, uint32_t size);
hl_status hl_copy_data(hl_runner *, uint32_t offset, const uint8_t *bytes, uint32_t size);
hl_status hl_patch(hl_runner *, uint32_t kind, uint32_t offset, int64_t value);
hl_status hl_patches(hl_runner *, const uint8_t *records, size_t size); /* HL_PATCH_BYTES each */
hl_status hl_seal(hl_runner *, uint32_t entry, uint32_t stack);
hl_status hl_run(hl_runner *, uint32_t count);
hl_status hl_read(const hl_runner *, uint32_t offset, uint8_t *bytes, uint32_t size);
hl_status hl_write(hl_runner *, uint32_t offset, const uint8_t *bytes, uint32_t size);
hl_status hl_release(hl_runner *);

const char *hl_message(hl_status); /* one clause, for people */

/* -------------------------------------------------------------------------------- protocol */

uint64_t hl_target_hash(const char *name); /* FNV-1a, 64 bits */
uint32_t hl_crc(uint32_t crc, const uint8_t *bytes, size_t size); /* start with 0 */

/* A two-way stream. Both calls move exactly `size` bytes and return 0, or the link has ended. */
typedef struct {
    void *context;
    int (*receive)(void *context, uint8_t *bytes, size_t size);
    int (*send)(void *context, const uint8_t *bytes, size_t size);
    uint8_t *buffer; /* holds one frame; at least HL_HEADER + HL_LARGEST_REPLY + HL_TRAILER */
    uint32_t capacity;
} hl_link;

/* Answer one frame. Returns 0 to go on; 1 when the link has ended or can no longer be trusted: then
 * the port calls hl_release and starts, if at all, with a zeroed runner. */
int hl_answer(hl_runner *, const hl_link *);

/* Call the program once; the runner must be READY. Costs the check of the rounding mode beyond it. */
void hl_call(const hl_runner *);

#endif
