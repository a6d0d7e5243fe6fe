/* Fuzzing of the runner's protocol: hl_answer over a port that watches memory, and never executes what
 * it was sent.
 *
 * LLVMFuzzerTestOneInput is the entry of libFuzzer and AFL++ (afl-clang-fast -fsanitize=fuzzer). Without
 * them -DFUZZ_DRIVER adds a main: `fuzz SECONDS SEED` makes sessions, most of them valid in form, with
 * fields at and around every limit, damages some, and prints how often each status was answered;
 * `fuzz FILE...` runs files. Build with -fsanitize=address,undefined and -DHL_ENTER=hl_fuzz_enter,
 * together with runner/runner.c.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../runner/runner.h"

void hl_fuzz_enter(const hl_runner *runner);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CODE_LIMIT = 4096, DATA_LIMIT = 2048, STACK_LIMIT = 512, GUARD = 64, TARGET = 0x77 };

static unsigned long answered[HL_TOO_LONG + 1], entered, commands[16];

static void check(int good, const char *what) {
    if (good) return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

/* ---------------------------------------------------------------------------------------- port */

static uint8_t *block; /* guard, code, guard, data, guard */
static size_t code_bytes, data_bytes;
static hl_memory held;
static int refuse_memory;

hl_limits hl_port_limits(void) { return (hl_limits){CODE_LIMIT, DATA_LIMIT, STACK_LIMIT}; }
const char *hl_port_target(void) { return "fuzz"; }
int hl_port_accepts(uint64_t target) { return target == TARGET; }

/* Each region is an allocation of its exact size, for AddressSanitizer; without it, guards are compared. */
int hl_port_map(hl_memory *memory, size_t code, size_t data) {
    check(!block, "a second program was mapped");
    check(code && code <= CODE_LIMIT && data <= DATA_LIMIT, "mapped beyond the limits");
    if (refuse_memory) return 1;
    block = malloc(GUARD + code);
    uint8_t *other = malloc(data + GUARD);
    if (!block || !other) abort();
    memset(block, 0xa5, GUARD);
    memset(block + GUARD, 0, code);
    memset(other, 0, data);
    memset(other + data, 0x5a, GUARD);
    code_bytes = code, data_bytes = data;
#if defined(__SANITIZE_ADDRESS__)
    uint8_t *exact = realloc(other, data ? data : 1);
    if (!exact) abort();
    other = exact;
#endif
    held = *memory = (hl_memory){.code = block + GUARD, .data = other, .bytes = code + data};
    return 0;
}

static void check_guards(void) {
    for (size_t i = 0; i < GUARD; i++) check(block[i] == 0xa5, "written before the code");
#if !defined(__SANITIZE_ADDRESS__)
    for (size_t i = 0; i < GUARD; i++) check(held.data[data_bytes + i] == 0x5a, "written behind the data");
#endif
}

int hl_port_seal(hl_memory *memory) {
    check(memory->code == held.code, "sealed what was not mapped");
    return refuse_memory;
}

void hl_port_unmap(hl_memory *memory) {
    check(block && memory->code == held.code && memory->data == held.data, "unmapped what was not mapped");
    check_guards();
    free(memory->data);
    free(block);
    block = NULL;
}

void hl_fuzz_enter(const hl_runner *runner) {
    const uintptr_t entry = (uintptr_t)runner->entry, code = (uintptr_t)held.code;
    check(runner->state == HL_READY && runner->greeted, "run in the wrong state");
    check(block && entry >= code && entry < code + code_bytes, "entered outside the code");
    check(runner->memory.data == held.data, "run on other data");
    entered++;
    if (data_bytes) held.data[entered % data_bytes] ^= 1;
}

/* ---------------------------------------------------------------------------------------- link */

typedef struct {
    const uint8_t *data;
    size_t left;
} input;

static int receive(void *context, uint8_t *bytes, size_t size) {
    input *from = context;
    if (size > from->left) return 1;
    memcpy(bytes, from->data, size);
    from->data += size;
    from->left -= size;
    return 0;
}

/* Every reply must be one whole frame in good order. */
static int send(void *context, const uint8_t *bytes, size_t size) {
    (void)context;
    check(size >= HL_HEADER + 4 + HL_TRAILER, "a reply is too short");
    const uint32_t length = bytes[4] | (uint32_t)bytes[5] << 8;
    check(bytes[0] == (HL_SYNC & 0xff) && bytes[1] == HL_SYNC >> 8 && (bytes[2] & HL_REPLY), "a reply has no header");
    check((bytes[6] | (uint32_t)bytes[7] << 8) == (hl_crc(0, bytes, 6) & 0xffff), "the check of a reply is wrong");
    check(size == HL_HEADER + length + HL_TRAILER, "the length of a reply is wrong");
    uint32_t crc = 0;
    for (int i = 3; i >= 0; i--) crc = crc << 8 | bytes[size - HL_TRAILER + (size_t)i];
    check(crc == hl_crc(0, bytes, size - HL_TRAILER), "the CRC of a reply is wrong");
    const uint8_t status = bytes[HL_HEADER];
    check(status <= HL_TOO_LONG && !bytes[HL_HEADER + 1], "a reply has no status");
    answered[status]++;
    if (!status) commands[bytes[2] & 15]++;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    /* capacities around the smallest, and one that holds everything; the last bit refuses memory */
    const uint32_t capacity = HL_HEADER + HL_LARGEST_REPLY + HL_TRAILER + (data[0] & 0x40 ? 8192u : data[0] & 0x3fu);
    uint8_t *buffer = malloc(capacity); /* exact, for AddressSanitizer */
    if (!buffer) abort();
    refuse_memory = data[0] >> 7;
    input from = {data + 1, size - 1};
    hl_runner runner = {0};
    const hl_link link = {&from, receive, send, buffer, capacity, 1};
    while (!hl_answer(&runner, &link)) {
        if (block) check_guards();
        check(!block == (runner.state == HL_EMPTY), "the state and the memory contradict each other");
    }
    hl_release(&runner);
    check(!block, "memory was not given back");
    free(buffer);
    return 0;
}

/* -------------------------------------------------------------------------------------- driver */

#ifdef FUZZ_DRIVER
static uint64_t seed;

static uint32_t chance(uint32_t below) { /* xorshift64*, Vigna 2016 */
    seed ^= seed >> 12, seed ^= seed << 25, seed ^= seed >> 27;
    return below ? (uint32_t)((seed * 0x2545f4914f6cdd1du) >> 33) % below : 0;
}

static uint8_t session[1 << 16];
static size_t length;
static uint32_t code_now, data_now; /* of the last ALLOCATE, for fields near its limits */

static void put(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) session[length++] = (uint8_t)(value >> (8 * i));
}

static uint32_t near(uint32_t limit) {
    switch (chance(8)) {
    case 0: return 0;
    case 1: return limit;
    case 2: return limit + chance(9) - 4;
    case 3: return 0u - chance(9);
    case 4: return 0x7ffffffcu + chance(9);
    default: return limit ? chance(limit) : chance(16);
    }
}

static void bytes(uint32_t count) {
    while (count--) session[length++] = (uint8_t)chance(256);
}

/* A stream whose lists are mostly true. */
static void stream(void) {
    const uint32_t reads = chance(5), writes = chance(4);
    put(chance(4), 4);
    put(chance(16) ? reads : near(reads + 2), 4);
    for (uint32_t i = 0; i < reads; i++) {
        const uint32_t at = chance(6) ? chance(data_now + 1) : near(data_now);
        put(at, 4);
        put(chance(6) ? (at <= data_now ? chance(data_now - at + 1) : 0) : near(data_now), 4);
    }
    for (uint32_t i = 0; i < writes; i++) {
        const uint32_t at = chance(6) ? chance(data_now + 1) : near(data_now), size = chance(24);
        put(at, 4);
        put(chance(8) ? size : near(size), 4);
        bytes(size);
    }
}

static void payload(uint32_t command) {
    const uint32_t region = command == HL_COPY_CODE ? code_now : data_now;
    switch (command) {
    case HL_HELLO: put(chance(16) ? HL_MAGIC : chance(9), 4), put(chance(16) ? HL_VERSION : chance(9), 4);
        put(chance(16) ? TARGET : chance(256), 8);
        break;
    case HL_ALLOCATE:
        code_now = chance(8) ? 1 + chance(300) : near(CODE_LIMIT), data_now = chance(8) ? chance(300) : near(DATA_LIMIT);
        put(code_now, 4), put(data_now, 4);
        break;
    case HL_COPY_CODE:
    case HL_COPY_DATA:
    case HL_WRITE: put(chance(2) ? near(region) : chance(64), 4), bytes(chance(40)); break;
    case HL_PATCH:
        for (uint32_t i = chance(4); i--;) {
            put(chance(4) | chance(4) << 8 | chance(3) << 12 | (chance(32) ? 0 : 1u << 16), 4);
            put(chance(2) ? near(chance(2) ? code_now : data_now) : 4 * chance(16), 4);
            put(chance(3) ? chance(99) : (uint64_t)chance(1u << 31) << 33 | chance(1u << 31), 8);
        }
        break;
    case HL_ENTRY: put(chance(4) ? 0 : near(code_now), 4), put(chance(4) ? 0 : near(STACK_LIMIT), 4); break;
    case HL_RUN: put(chance(4), 4); break;
    case HL_READ: put(near(data_now), 4), put(chance(2) ? chance(40) : near(data_now), 4); break;
    case HL_STREAM: stream(); break;
    default: break;
    }
    if (!chance(20)) bytes(chance(20));
}

static void frame(uint32_t command) {
    const size_t start = length;
    put(HL_SYNC, 2), put(command, 1), put(chance(3) ? chance(256) : chance(3), 1), put(0, 4);
    payload(command);
    const size_t size = length - start - HL_HEADER;
    length = start + 4;
    put(chance(64) ? size : chance(1 << 16), 2), put(hl_crc(0, session + start, 6), 2);
    length = start + HL_HEADER + size;
    put(hl_crc(0, session + start, HL_HEADER + size), 4);
    if (!chance(12)) { /* the same again, as a client that heard nothing sends it */
        memcpy(session + length, session + start, length - start);
        length += length - start;
    }
}

static void make_session(void) {
    static const uint8_t order[] = {HL_HELLO, HL_ALLOCATE, HL_COPY_CODE, HL_COPY_DATA, HL_PATCH, HL_ENTRY};
    length = 0;
    put(chance(256) & (chance(16) ? 0x7f : 0xff), 1);
    for (size_t i = 0; i < sizeof order; i++)
        if (chance(12)) frame(order[i]);
    for (uint32_t i = chance(30); i--;) frame(chance(3) ? HL_RUN + chance(5) : chance(14));
    for (uint32_t i = chance(3) ? 0 : chance(8); i-- && length > 1;) { /* damage: bits, bytes lost, zeros between */
        const size_t at = chance((uint32_t)length - 1);
        if (chance(2)) session[at] ^= (uint8_t)(1u << chance(8));
        else if (chance(2)) memmove(session + at, session + at + 1, --length - at);
        else memset(session + at, 0, length - at < 99 ? length - at : chance(99));
    }
}

static int run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return 1;
    length = fread(session, 1, sizeof session, file);
    fclose(file);
    return LLVMFuzzerTestOneInput(session, length);
}

int main(int count, char **arguments) {
    if (count < 3 || arguments[1][0] > '9') {
        for (int i = 1; i < count; i++)
            if (run_file(arguments[i])) return 1;
        return 0;
    }
    const double seconds = atof(arguments[1]);
    const clock_t start = clock();
    unsigned long sessions = 0;
    seed = strtoull(arguments[2], 0, 10) * 2 + 1;
    do {
        for (int i = 0; i < 64; i++, sessions++) {
            make_session();
            uint8_t *exact = malloc(length);
            if (!exact) abort();
            memcpy(exact, session, length);
            LLVMFuzzerTestOneInput(exact, length);
            free(exact);
        }
    } while ((double)(clock() - start) < seconds * CLOCKS_PER_SEC);
    printf("sessions %lu\nentered %lu\n", sessions, entered);
    for (int i = 0; i <= HL_TOO_LONG; i++) printf("status %d %lu\n", i, answered[i]);
    for (int i = HL_HELLO; i <= HL_STREAM; i++) printf("command %d %lu\n", i, commands[i]);
    return 0;
}
#endif
