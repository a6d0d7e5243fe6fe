/* The runner: holds one program and does what a stream of commands tells it.
 *
 * C11 without libc and without a heap. Memory and the link come from a port (linux.c, bare_metal.c). The
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
#define HL_VERSION 2u

/* A frame: header, payload, trailer. Every number on the wire is little endian.
 *
 *     u16 sync  u8 command  u8 number  u16 length of the payload  u16 check  payload  u32 CRC-32
 *
 * check: the low half of the CRC-32 (IEEE 802.3) of the six bytes before it; the trailer covers header
 * and payload. number: given by the client; a reply carries that of its request. A request whose
 * number is that of the last one, and not 0, is that one again, because its reply was lost: it is
 * answered but not done a second time.
 *
 * A link recovers from damage: what is no header is skipped, byte by byte, until a header comes. The
 * runner then says so once (command 0, number 0, HL_CHECKSUM). A client that gets no answer sends as
 * many zero bytes as a frame can have, which end whatever the runner is waiting for, and its request
 * again. A board that starts, or starts again after a fault, says so (command 0, number 0, HL_NOTHING). */
#define HL_SYNC 0x9be4u /* e4 9b; neither is ASCII, and no byte of it is zero */
#define HL_HEADER 8u
#define HL_TRAILER 4u
#define HL_NAME 16u          /* bytes of the name of a target, zeros behind it */
#define HL_LARGEST_REPLY 48u /* of every command but READ and STREAM */

/* Commands, with their payloads. A reply has the command of its request with HL_REPLY set; its
 * payload is a u32 status, then what is written after "->". */
typedef enum {
    HL_HELLO = 1,     /* u32 magic, u32 version, u64 target -> u32 magic, u32 version, u32 largest
                       * payload, u32 code limit, u32 data limit, u32 stack limit, u32 requests that
                       * may be sent before their replies are read, HL_NAME bytes target: what this
                       * runner executes; told also when it refuses */
    HL_ALLOCATE = 2,  /* u32 code bytes, u32 data bytes */
    HL_COPY_CODE = 3, /* u32 offset, bytes */
    HL_COPY_DATA = 4, /* u32 offset, bytes */
    HL_PATCH = 5,     /* u32 kind, u32 offset, i64 value; may repeat */
    HL_ENTRY = 6,     /* u32 offset, u32 stack bytes */
    HL_RUN = 7,       /* u32 count */
    HL_READ = 8,      /* u32 offset, u32 size -> bytes */
    HL_WRITE = 9,     /* u32 offset, bytes */
    HL_FREE = 10,     /* nothing */
    HL_STREAM = 11    /* u32 count, u32 n, then n times u32 offset, u32 size: what to read, then any
                       * number of u32 offset, u32 size, bytes: what to write. All is checked, then
                       * written, run, read -> the bytes of all reads */
} hl_command;

#define HL_REPLY 0x80u

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
    HL_CHECKSUM = 17,  /* the frame arrived damaged and was dropped */
    HL_TOO_LONG = 18   /* the payload exceeds the buffer; the frame is skipped */
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
    uint8_t number, last; /* of the last request, and its hl_status */
    uint8_t lost;         /* the last bytes were no header, and the client was told */
} hl_runner;

/* ------------------------------------------------------------- what the port must provide */

typedef struct {
    uint32_t code, data, stack; /* the most bytes of each */
} hl_limits;

hl_limits hl_port_limits(void);
const char *hl_port_target(void);      /* name of the best target it executes; below HL_NAME bytes */
int hl_port_accepts(uint64_t target);  /* hl_target_hash of a name; 0: refuse */
int hl_port_map(hl_memory *, size_t code, size_t data); /* zeroed, writable; 0 on success */
int hl_port_seal(hl_memory *);         /* code executable, read-only where that exists; 0 on success */
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
    uint32_t window; /* requests that may lie in it unread: 1 for a UART without flow control */
} hl_link;

/* Answer one frame. Returns 0 to go on; 1 when the link has ended: then the port calls hl_release and
 * starts, if at all, with a zeroed runner. */
int hl_answer(hl_runner *, const hl_link *);

/* Say that the runner has just started (command 0, number 0, HL_NOTHING), where the link outlives it: a
 * client learns that its program is gone. */
int hl_announce(const hl_link *);

/* Call the program once; the runner must be READY. Costs the check of the rounding mode beyond it,
 * where such a mode can have been changed (x86-64, AArch64). */
void hl_call(const hl_runner *);

#endif
