/* See runner.h. Nothing here knows an operating system, an object format or an architecture, except
 * the floating-point control register, which decides the bits that a program computes. */
#include "runner.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* A byte loop, not memcpy: there is no libc below. */
static void copy(uint8_t *restrict to, const uint8_t *restrict from, size_t size) {
    for (size_t i = 0; i < size; i++) to[i] = from[i];
}

static uint32_t load16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

static uint32_t load32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t load64(const uint8_t *p) { return load32(p) | (uint64_t)load32(p + 4) << 32; }

static void store32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}

/* Cannot overflow: offset is subtracted only where it is known to be the smaller. */
static int inside(uint32_t offset, uint32_t size, uint32_t region) {
    return offset <= region && size <= region - offset;
}

static hl_status loading(const hl_runner *runner) {
    if (runner->state == HL_EMPTY) return HL_NOTHING;
    return runner->state == HL_LOADING ? HL_OK : HL_SEALED;
}

static hl_status ready(const hl_runner *runner) {
    if (runner->state == HL_EMPTY) return HL_NOTHING;
    return runner->state == HL_READY ? HL_OK : HL_UNSEALED;
}

/* ------------------------------------------------------------------------------ operations */

hl_status hl_allocate(hl_runner *runner, uint32_t code_size, uint32_t data_size) {
    if (runner->state != HL_EMPTY) return HL_HELD;
    hl_limits limits = hl_port_limits();
    if (code_size == 0 || code_size > limits.code || data_size > limits.data) return HL_SIZE;
    if (hl_port_map(&runner->memory, code_size, data_size)) return HL_MEMORY;
    runner->code_size = code_size;
    runner->data_size = data_size;
    runner->state = HL_LOADING;
    return HL_OK;
}

hl_status hl_copy_code(hl_runner *runner, uint32_t offset, const uint8_t *bytes, uint32_t size) {
    hl_status status = loading(runner);
    if (status) return status;
    if (!inside(offset, size, runner->code_size)) return HL_BOUNDS;
    copy(runner->memory.code + offset, bytes, size);
    return HL_OK;
}

hl_status hl_copy_data(hl_runner *runner, uint32_t offset, const uint8_t *bytes, uint32_t size) {
    hl_status status = loading(runner);
    if (status) return status;
    if (!inside(offset, size, runner->data_size)) return HL_BOUNDS;
    copy(runner->memory.data + offset, bytes, size);
    return HL_OK;
}

static int fits32(uint32_t form, uint64_t value) {
    int64_t as_signed = (int64_t)value;
    if (as_signed >= INT32_MIN && as_signed <= INT32_MAX) return 1;
    return form == HL_ABS32 && value <= UINT32_MAX;
}

hl_status hl_patch(hl_runner *runner, uint32_t kind, uint32_t offset, int64_t value) {
    hl_status status = loading(runner);
    if (status) return status;
    uint32_t form = kind & HL_FORM, base = kind & HL_BASE, place = kind & HL_PLACE;
    if (form < HL_ABS32 || form > HL_REL32 || base > HL_FROM_DATA || place > HL_IN_DATA) return HL_PATCH_KIND;
    if (kind >> 16) return HL_PATCH_KIND;
    uint32_t size = form == HL_ABS64 ? 8 : 4;
    const hl_memory *memory = &runner->memory;
    if (!inside(offset, size, place == HL_IN_DATA ? runner->data_size : runner->code_size)) return HL_BOUNDS;
    if (place == HL_IN_DATA && offset % size) return HL_ALIGNMENT; /* x86 code has no alignment */
    uint8_t *field = (place == HL_IN_DATA ? memory->data : memory->code) + offset;
    uint64_t result = (uint64_t)value; /* unsigned: wraps where a hostile value overflows */
    if (base == HL_FROM_CODE) result += (uintptr_t)memory->code;
    if (base == HL_FROM_DATA) result += (uintptr_t)memory->data;
    if (form == HL_REL32) result -= (uintptr_t)field;
    if (size == 4 && !fits32(form, result)) return HL_PATCH_RANGE;
    store32(field, (uint32_t)result);
    if (size == 8) store32(field + 4, (uint32_t)(result >> 32));
    return HL_OK;
}

hl_status hl_patches(hl_runner *runner, const uint8_t *records, size_t size) {
    if (size % HL_PATCH_BYTES) return HL_MALFORMED;
    hl_status status = loading(runner);
    for (size_t at = 0; at < size && !status; at += HL_PATCH_BYTES) {
        const uint8_t *record = records + at;
        status = hl_patch(runner, load32(record), load32(record + 4), (int64_t)load64(record + 8));
    }
    return status;
}

/* What an instruction is aligned to, and bit 0 of an address that selects Thumb (Armv7-M ARM, A2.3.1,
 * A4.1; Arm ARM, B1.1; RISC-V unprivileged ISA, chapter "C"). */
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
enum { INSTRUCTION = 2, THUMB = 1 };
#elif defined(__aarch64__) || defined(__arm__)
enum { INSTRUCTION = 4, THUMB = 0 };
#elif defined(__riscv)
enum { INSTRUCTION = 2, THUMB = 0 };
#else
enum { INSTRUCTION = 1, THUMB = 0 };
#endif

hl_status hl_seal(hl_runner *runner, uint32_t entry, uint32_t stack) {
    hl_status status = loading(runner);
    if (status) return status;
    if (entry >= runner->code_size) return HL_BOUNDS;
    if (entry % INSTRUCTION) return HL_ALIGNMENT;
    if (stack > hl_port_limits().stack) return HL_STACK;
    if (hl_port_seal(&runner->memory)) return HL_MEMORY;
    runner->entry = (hl_entry)((uintptr_t)(runner->memory.code + entry) + THUMB);
    runner->state = HL_READY;
    return HL_OK;
}

#ifdef HL_ENTER /* the name of a test's own: it must not execute what it was sent */
void HL_ENTER(const hl_runner *);
#else
#define HL_ENTER(runner) (runner)->entry((runner)->memory.data)
#endif

/* The register that decides how numbers are rounded. Some libraries change it for the whole thread;
 * the result would depend on who was imported.
 *
 * x86-64: MXCSR without its six sticky flags: everything masked, round to nearest, no flush-to-zero
 * (Intel SDM volume 1, 10.2.3). AArch64: FPCR but for DN, for the payload of a NaN is nobody's: AHP,
 * FZ, RMode, Stride, FZ16, Len, traps (Arm ARM, C5.2.8). */
#if defined(__x86_64__)
enum { MODE = 0xffc0, STRICT = 0x1f80 };
static uint64_t mode_now(void) { return _mm_getcsr(); }
static void set_mode(uint64_t mode) { _mm_setcsr((unsigned)mode); }
#elif defined(__aarch64__)
enum { MODE = 0x05ff9f07, STRICT = 0 };
static uint64_t mode_now(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static void set_mode(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#endif

#if defined(__x86_64__) || defined(__aarch64__)
/* Seldom taken, so out of line. */
__attribute__((noinline)) static void call_strictly(const hl_runner *runner, uint64_t mode) {
    set_mode(STRICT);
    HL_ENTER(runner);
    set_mode(mode);
}
#endif

void hl_call(const hl_runner *runner) {
#if defined(__x86_64__) || defined(__aarch64__)
    uint64_t mode = mode_now();
    if ((mode & MODE) != STRICT) {
        call_strictly(runner, mode);
        return;
    }
#endif
    HL_ENTER(runner);
}

hl_status hl_run(hl_runner *runner, uint32_t count) {
    hl_status status = ready(runner);
    if (status) return status;
    for (uint32_t i = 0; i < count; i++) hl_call(runner);
    return HL_OK;
}

hl_status hl_read(const hl_runner *runner, uint32_t offset, uint8_t *bytes, uint32_t size) {
    hl_status status = ready(runner);
    if (status) return status;
    if (!inside(offset, size, runner->data_size)) return HL_BOUNDS;
    copy(bytes, runner->memory.data + offset, size);
    return HL_OK;
}

hl_status hl_write(hl_runner *runner, uint32_t offset, const uint8_t *bytes, uint32_t size) {
    hl_status status = ready(runner);
    if (status) return status;
    if (!inside(offset, size, runner->data_size)) return HL_BOUNDS;
    copy(runner->memory.data + offset, bytes, size);
    return HL_OK;
}

hl_status hl_release(hl_runner *runner) {
    if (runner->state == HL_EMPTY) return HL_NOTHING;
    hl_port_unmap(&runner->memory);
    runner->memory = (hl_memory){0};
    runner->entry = 0;
    runner->code_size = runner->data_size = 0;
    runner->state = HL_EMPTY;
    return HL_OK;
}

const char *hl_message(hl_status status) {
    switch (status) {
    case HL_OK: return "done";
    case HL_UNKNOWN: return "there is no such command";
    case HL_MALFORMED: return "the payload has the wrong length for its command";
    case HL_GREETING: return "the first frame must be HELLO";
    case HL_OTHER_VERSION: return "the runner speaks another version of the protocol";
    case HL_OTHER_TARGET: return "the runner cannot execute code for this target";
    case HL_HELD: return "a program is already held";
    case HL_NOTHING: return "no program is held";
    case HL_SEALED: return "the program is sealed, nothing more can be loaded";
    case HL_UNSEALED: return "the program has no entry yet";
    case HL_SIZE: return "the code is empty, or code or data exceed the limits of the runner";
    case HL_BOUNDS: return "the offset or size lies outside the region";
    case HL_ALIGNMENT: return "the offset is not aligned as it must be";
    case HL_PATCH_KIND: return "there is no such kind of patch";
    case HL_PATCH_RANGE: return "the patched value does not fit its field";
    case HL_STACK: return "the program needs more stack than the runner has";
    case HL_MEMORY: return "the runner could not get or protect the memory";
    case HL_CHECKSUM: return "the frame arrived damaged";
    case HL_TOO_LONG: return "the payload exceeds the buffer of the runner";
    }
    return "unknown status";
}

/* -------------------------------------------------------------------------------- protocol */

uint64_t hl_target_hash(const char *name) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a, draft-eastlake-fnv */
    for (; *name; name++) hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    return hash;
}

/* Half a byte at a time: 64 bytes of table, where the usual one is 1 KiB of a microcontroller. */
uint32_t hl_crc(uint32_t crc, const uint8_t *bytes, size_t size) {
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

/* A request being answered. The reply is built over the request, in the same buffer. */
typedef struct {
    const uint8_t *payload;
    uint32_t size, window;
    uint8_t *answer; /* after the status */
    uint32_t room, answer_size;
    int again; /* it was done before */
} request;

static hl_status greet(hl_runner *runner, request *r) {
    runner->greeted = 0;
    if (r->size != 16) return HL_MALFORMED;
    if (load32(r->payload) != HL_MAGIC) return HL_GREETING;
    uint32_t version = load32(r->payload + 4);
    uint64_t target = load64(r->payload + 8);
    hl_limits limits = hl_port_limits();
    const uint32_t answer[] = {HL_MAGIC, HL_VERSION, r->room + 4, limits.code, limits.data, limits.stack, r->window};
    for (uint32_t i = 0; i < 7; i++) store32(r->answer + 4 * i, answer[i]);
    const char *name = hl_port_target();
    for (uint32_t i = 0; i < HL_NAME; i++) {
        r->answer[sizeof answer + i] = (uint8_t)*name;
        if (*name) name++;
    }
    r->answer_size = sizeof answer + HL_NAME; /* also when refused: a client may want to say why */
    if (version != HL_VERSION) return HL_OTHER_VERSION;
    if (!hl_port_accepts(target)) return HL_OTHER_TARGET;
    runner->greeted = 1;
    return HL_OK;
}

static hl_status read_out(const hl_runner *runner, request *r) {
    uint32_t size = load32(r->payload + 4);
    hl_status status = ready(runner);
    if (!status && size > r->room) status = HL_SIZE;
    if (!status) status = hl_read(runner, load32(r->payload), r->answer, size);
    if (!status) r->answer_size = size;
    return status;
}

/* The writes of STREAM, which begin at `at`: checked, or done. */
static hl_status write_in(hl_runner *runner, const request *r, uint32_t at, int check) {
    while (at < r->size) {
        const uint8_t *range = r->payload + at;
        if (r->size - at < 8) return HL_MALFORMED;
        const uint32_t offset = load32(range), size = load32(range + 4);
        if (size > r->size - at - 8) return HL_MALFORMED;
        if (check ? !inside(offset, size, runner->data_size) : hl_write(runner, offset, range + 8, size)) return HL_BOUNDS;
        at += 8 + size;
    }
    return HL_OK;
}

static hl_status stream(hl_runner *runner, request *r) {
    const uint32_t count = load32(r->payload), reads = load32(r->payload + 4);
    hl_status status = ready(runner);
    if (status) return status;
    if (reads > (r->size - 8) / 8) return HL_MALFORMED;
    const uint32_t list = 8 * reads, room = r->room - list; /* the list is part of the payload: no wrap */
    uint32_t total = 0;
    for (uint32_t at = 8; at < 8 + list; at += 8) {
        const uint32_t size = load32(r->payload + at + 4);
        if (!inside(load32(r->payload + at), size, runner->data_size)) return HL_BOUNDS;
        if (size > room - total) return HL_SIZE;
        total += size;
    }
    status = write_in(runner, r, 8 + list, 1);
    if (status) return status;
    if (!r->again) {
        write_in(runner, r, 8 + list, 0);
        hl_run(runner, count);
    }
    uint8_t *ranges = r->answer + room; /* behind all that is read; from its end, for it may overlap */
    for (uint32_t i = list; i--;) ranges[i] = r->payload[8 + i];
    for (; r->answer_size < total; ranges += 8) {
        const uint32_t size = load32(ranges + 4);
        hl_read(runner, load32(ranges), r->answer + r->answer_size, size);
        r->answer_size += size;
    }
    return HL_OK;
}

static hl_status execute(hl_runner *runner, uint32_t command, request *r) {
    static const uint8_t least[] = {[HL_HELLO] = 0, [HL_ALLOCATE] = 8, [HL_COPY_CODE] = 4, [HL_COPY_DATA] = 4,
                                    [HL_PATCH] = 0, [HL_ENTRY] = 8, [HL_RUN] = 4, [HL_READ] = 8, [HL_WRITE] = 4,
                                    [HL_FREE] = 0, [HL_STREAM] = 8};
    enum { LONGER = 1 << HL_COPY_CODE | 1 << HL_COPY_DATA | 1 << HL_PATCH | 1 << HL_WRITE | 1 << HL_STREAM };
    if (command < HL_HELLO || command > HL_STREAM) return HL_UNKNOWN;
    if (command == HL_HELLO) return greet(runner, r);
    if (!runner->greeted) return HL_GREETING;
    if (r->size < least[command] || (r->size > least[command] && !(LONGER >> command & 1))) return HL_MALFORMED;
    const uint8_t *p = r->payload;
    switch (command) {
    case HL_ALLOCATE: return hl_allocate(runner, load32(p), load32(p + 4));
    case HL_COPY_CODE: return hl_copy_code(runner, load32(p), p + 4, r->size - 4);
    case HL_COPY_DATA: return hl_copy_data(runner, load32(p), p + 4, r->size - 4);
    case HL_PATCH: return hl_patches(runner, p, r->size);
    case HL_ENTRY: return hl_seal(runner, load32(p), load32(p + 4));
    case HL_RUN: return hl_run(runner, load32(p));
    case HL_READ: return read_out(runner, r);
    case HL_WRITE: return hl_write(runner, load32(p), p + 4, r->size - 4);
    case HL_STREAM: return stream(runner, r);
    default: return hl_release(runner);
    }
}

/* Execute a request unless it was done before: what only reads is read again. */
static hl_status execute_once(hl_runner *runner, uint32_t command, uint8_t number, request *r) {
    r->again = number && number == runner->number && command != HL_HELLO;
    if (r->again && (runner->last || (command != HL_READ && command != HL_STREAM))) return (hl_status)runner->last;
    hl_status status = execute(runner, command, r);
    runner->number = number;
    runner->last = (uint8_t)status;
    return status;
}

static int reply(const hl_link *link, uint8_t *frame, uint32_t command, uint32_t number, hl_status status,
                 uint32_t answer_size) {
    const uint32_t length = 4 + answer_size, size = HL_HEADER + length;
    store32(frame, HL_SYNC | (command | HL_REPLY) << 16 | number << 24);
    store32(frame + 4, length);
    store32(frame + 4, length | hl_crc(0, frame, 6) << 16);
    store32(frame + HL_HEADER, status);
    store32(frame + size, hl_crc(0, frame, size));
    return link->send(link->context, frame, size + HL_TRAILER);
}

int hl_announce(const hl_link *link) { return reply(link, link->buffer, 0, 0, HL_NOTHING, 0); }

/* Receive the next header, and skip what is none. The first byte skipped is answered. */
static int next_header(hl_runner *runner, const hl_link *link) {
    uint8_t *header = link->buffer;
    if (link->receive(link->context, header, HL_HEADER)) return 1;
    while (load16(header) != HL_SYNC || load16(header + 6) != (hl_crc(0, header, 6) & 0xffffu)) {
        if (!runner->lost && reply(link, header + HL_HEADER, 0, 0, HL_CHECKSUM, 0)) return 1;
        runner->lost = 1;
        for (uint32_t i = 1; i < HL_HEADER; i++) header[i - 1] = header[i];
        if (link->receive(link->context, header + HL_HEADER - 1, 1)) return 1;
    }
    runner->lost = 0;
    return 0;
}

int hl_answer(hl_runner *runner, const hl_link *link) {
    uint8_t *frame = link->buffer;
    if (link->capacity < HL_HEADER + HL_LARGEST_REPLY + HL_TRAILER) return 1;
    uint32_t room = link->capacity - HL_HEADER - HL_TRAILER;
    if (room > 0xffffu) room = 0xffffu; /* what the length field can say */
    if (next_header(runner, link)) return 1;
    const uint32_t command = frame[2], size = load16(frame + 4);
    const uint8_t number = frame[3];
    if (size > room) {
        runner->lost = 1; /* what follows is its payload */
        return reply(link, frame, command, number, HL_TOO_LONG, 0);
    }
    if (link->receive(link->context, frame + HL_HEADER, (size_t)size + HL_TRAILER)) return 1;
    hl_status status = HL_CHECKSUM;
    request r = {.payload = frame + HL_HEADER, .size = size, .window = link->window,
                 .answer = frame + HL_HEADER + 4, .room = room - 4};
    if (hl_crc(0, frame, HL_HEADER + (size_t)size) == load32(frame + HL_HEADER + size))
        status = execute_once(runner, command, number, &r);
    return reply(link, frame, command & ~HL_REPLY, number, status, r.answer_size);
}
