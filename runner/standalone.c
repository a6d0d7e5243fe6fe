/* The part of a standalone executable that is the same for every program: numbers in, a step, numbers out.
 *
 * It is built once for each kind of Linux board, as a static executable without a program. Python
 * (hotloop.deploy.standalone) appends the program as two more loadable segments, code and data, and
 * writes the address of their description into `slot`; so one execve maps everything, and no compiler
 * is needed where programs are made. Nothing is allocated; memory is never writable and executable at once.
 *
 * Exit status: 0 done, 1 the system refused something, 2 wrong arguments, 3 wrong numbers on the input.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { BUFFER = 1 << 16, TOKEN = 256, VERSION = 1, NEEDS_V3 = 1 };
enum { DONE = 0, SYSTEM = 1, ARGUMENTS = 2, NUMBERS = 3 };
enum { INPUT = 0, STATE = 1, OUTPUT = 2, KINDS = 3 };

/* All of it little endian, written by hotloop.deploy.standalone; addresses are those at run time. */
typedef struct {
    uint32_t version, flags;
    uint64_t entry, data, names; /* entry: with bit 0 set where the code is Thumb */
    uint32_t count, code_bytes, data_bytes, stack_bytes;
    uint32_t program, target; /* places of the names of both */
    uint64_t reserved;
} description;

typedef struct {
    uint32_t name, shape; /* places of texts; the shape of a scalar is "" */
    uint32_t kind, dtype, count, offset;
} symbol;

/* Found by its magic, which must be here alone. It is an ELF note (System V gABI, "Note Section"), so that
 * the linker makes a program header for it, which becomes that of a segment of the program. */
__attribute__((used, retain, aligned(4), section(".note.hotloop"))) static const volatile struct {
    uint32_t name_bytes, content_bytes, kind;
    unsigned char magic[16];
    uint32_t low, high; /* address of the description */
} slot = {16, 8, 1, {'h', 'o', 't', 'l', 'o', 'o', 'p', ':', 'p', 'r', 'o', 'g', 'r', 'a', 'm', 0}, 0, 0};

static const description *about;
static const symbol *symbols;
static unsigned char *data;
static volatile sig_atomic_t stopped;

static const struct {
    const char *name;
    uint32_t size;
    char kind;
} TYPES[] = { /* the order of hotloop.dtypes.MEMORY */
    {"bool", 1, 'b'},   {"int8", 1, 'i'},  {"uint8", 1, 'u'},  {"int16", 2, 'i'},   {"uint16", 2, 'u'},  {"int32", 4, 'i'},
    {"uint32", 4, 'u'}, {"int64", 8, 'i'}, {"uint64", 8, 'u'}, {"float32", 4, 'f'}, {"float64", 8, 'f'},
};

static const char *text(uint32_t place) { return (const char *)(uintptr_t)about->names + place; }

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int status, const char *message, ...) {
    va_list arguments;
    va_start(arguments, message);
    fprintf(stderr, "%s: ", about ? text(about->program) : "hotloop");
    vfprintf(stderr, message, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(status);
}

/* ------------------------------------------------------------------------------- bytes in and out */

static struct {
    unsigned char bytes[BUFFER];
    size_t from, to;
    int ended;
    uint64_t line; /* 0 for the first */
} in;

static unsigned long long line_number(void) { return in.line + 1; }

static struct {
    unsigned char bytes[BUFFER];
    size_t size;
} out;

static void flush(void) {
    for (size_t done = 0; done < out.size;) {
        ssize_t put = write(1, out.bytes + done, out.size - done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EPIPE) _exit(DONE); /* the reader has seen enough */
        if (put < 0) fail(SYSTEM, "cannot write the outputs: %s", strerror(errno));
        done += (size_t)put;
    }
    out.size = 0;
}

static void put(const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    while (size) {
        if (out.size == BUFFER) flush();
        size_t part = size < BUFFER - out.size ? size : BUFFER - out.size;
        memcpy(out.bytes + out.size, from, part);
        out.size += part, from += part, size -= part;
    }
}

/* Reads once, as much as there is and fits. */
static void fill(void) {
    if (in.from) memmove(in.bytes, in.bytes + in.from, in.to - in.from);
    in.to -= in.from;
    in.from = 0;
    ssize_t got = read(0, in.bytes + in.to, BUFFER - in.to);
    if (got < 0 && errno != EINTR) fail(SYSTEM, "cannot read the inputs: %s", strerror(errno));
    if (got == 0 || stopped) in.ended = 1;
    if (got > 0) in.to += (size_t)got;
}

/* Whoever waits for the next inputs has seen all outputs before. */
static int more(void) {
    while (in.from == in.to && !in.ended) {
        flush();
        fill();
    }
    return in.from < in.to;
}

static size_t take(unsigned char *to, size_t size) {
    size_t done = 0;
    while (done < size && more()) {
        size_t part = in.to - in.from < size - done ? in.to - in.from : size - done;
        memcpy(to + done, in.bytes + in.from, part);
        in.from += part, done += part;
    }
    return done;
}

/* ----------------------------------------------------------------------------------------- numbers */

/* Writes the number that a text stands for; 0 on success, or a clause that says what is wrong. */
static const char *parse(const char *number, uint32_t dtype, unsigned char *to) {
    char *end = "";
    errno = 0;
    if (TYPES[dtype].kind == 'f') {
        float single = 0;
        double wide = 0;
        if (TYPES[dtype].size == 4) single = strtof(number, &end);
        else wide = strtod(number, &end);
        if (*end || end == number) return "is no number";
        if (errno == ERANGE && (isinf(single) || isinf(wide))) return "is too large";
        if (TYPES[dtype].size == 4) memcpy(to, &single, 4);
        else memcpy(to, &wide, 8);
        return 0;
    }
    if (TYPES[dtype].kind == 'b') {
        int yes = !strcmp(number, "1") || !strcmp(number, "true") || !strcmp(number, "True");
        if (!yes && strcmp(number, "0") && strcmp(number, "false") && strcmp(number, "False")) return "is neither 0 nor 1";
        *to = (unsigned char)yes;
        return 0;
    }
    uint32_t unused = 64 - 8 * TYPES[dtype].size;
    uint64_t bits;
    int fits;
    if (TYPES[dtype].kind == 'i') {
        int64_t value = strtoll(number, &end, 10);
        fits = value >= INT64_MIN >> unused && value <= INT64_MAX >> unused;
        bits = (uint64_t)value;
    } else {
        bits = strtoull(number, &end, 10);
        fits = bits <= UINT64_MAX >> unused && *number != '-';
    }
    if (*end || end == number) return "is no whole number";
    if (errno == ERANGE || !fits) return "does not fit";
    memcpy(to, &bits, TYPES[dtype].size); /* little endian */
    return 0;
}

/* The shortest of the usual lengths that reads back as the same bits; 9 and 17 digits always do. */
static int print_float(char *to, size_t room, const unsigned char *from, uint32_t size) {
    float single = 0;
    double wide;
    memcpy(size == 4 ? (void *)&single : (void *)&wide, from, size);
    if (size == 4) wide = (double)single;
    if (isnan(wide)) return snprintf(to, room, "nan"); /* the sign of a NaN has no meaning */
    int most = size == 4 ? 9 : 17;
    for (int digits = size == 4 ? 6 : 15;; digits++) {
        int length = snprintf(to, room, "%.*g", digits, wide);
        if (digits == most || (size == 4 ? strtof(to, 0) == single : strtod(to, 0) == wide)) return length;
    }
}

static void print(const unsigned char *from, uint32_t dtype) {
    char number[64];
    uint32_t size = TYPES[dtype].size, unused = 64 - 8 * size;
    uint64_t bits = 0;
    memcpy(&bits, from, size);
    int length;
    if (TYPES[dtype].kind == 'f') length = print_float(number, sizeof number, from, size);
    else if (TYPES[dtype].kind == 'i') length = snprintf(number, sizeof number, "%lld", (long long)((int64_t)(bits << unused) >> unused));
    else length = snprintf(number, sizeof number, "%llu", (unsigned long long)bits);
    put(number, (size_t)length);
}

/* ----------------------------------------------------------------------------------- steps' numbers */

static int is_separator(int c) { return c == ' ' || c == '\t' || c == ',' || c == ';' || c == '\r'; }

/* The next number of the line, or 0 at its end, which is left where it is. */
static const char *token(void) {
    static char number[TOKEN];
    while (more() && is_separator(in.bytes[in.from])) in.from++;
    size_t size = 0;
    while (more() && !is_separator(in.bytes[in.from]) && in.bytes[in.from] != '\n') {
        if (size == TOKEN - 1) fail(NUMBERS, "line %llu: a number has more than %d characters", line_number(), TOKEN - 1);
        number[size++] = (char)in.bytes[in.from++];
    }
    number[size] = 0;
    return size ? number : 0;
}

static uint32_t input_numbers(void) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < about->count; i++) total += symbols[i].kind == INPUT ? symbols[i].count : 0;
    return total;
}

static void read_symbol(const symbol *s, uint32_t before) {
    unsigned long long line = line_number();
    for (uint32_t j = 0; j < s->count; j++) {
        const char *number = token();
        if (!number) fail(NUMBERS, "line %llu has %u numbers. A step takes %u; --help names them.", line, before + j, input_numbers());
        const char *wrong = parse(number, s->dtype, data + s->offset + j * TYPES[s->dtype].size);
        if (wrong) fail(NUMBERS, "line %llu: %s %s; input %s is %s", line, number, wrong, text(s->name), TYPES[s->dtype].name);
    }
}

/* Reads the inputs of one step from a line; 0 where there is none any more. Empty lines are skipped. */
static int read_line(void) {
    while (more() && (is_separator(in.bytes[in.from]) || in.bytes[in.from] == '\n')) in.line += in.bytes[in.from++] == '\n';
    if (!more()) return 0;
    uint32_t before = 0;
    for (uint32_t i = 0; i < about->count; i++) {
        if (symbols[i].kind != INPUT) continue;
        read_symbol(&symbols[i], before);
        before += symbols[i].count;
    }
    if (token()) fail(NUMBERS, "line %llu has more than the %u numbers that a step takes; --help names them", line_number(), before);
    if (more()) in.from++, in.line++;
    return 1;
}

static size_t bytes_of(const symbol *s) { return (size_t)s->count * TYPES[s->dtype].size; }

static size_t record_bytes(void) {
    size_t total = 0;
    for (uint32_t i = 0; i < about->count; i++) total += symbols[i].kind == INPUT ? bytes_of(&symbols[i]) : 0;
    return total;
}

static int read_record(void) {
    size_t done = 0;
    for (uint32_t i = 0; i < about->count; i++) {
        if (symbols[i].kind != INPUT) continue;
        size_t size = bytes_of(&symbols[i]), got = take(data + symbols[i].offset, size);
        done += got;
        if (!done && got < size) return 0;
        if (got < size) fail(NUMBERS, "the input ends inside a record: %zu of %zu bytes", done, record_bytes());
        if (TYPES[symbols[i].dtype].kind != 'b') continue;
        for (size_t j = 0; j < size; j++) data[symbols[i].offset + j] = data[symbols[i].offset + j] != 0;
    }
    return 1;
}

static void write_outputs(int binary) {
    const char *between = "";
    for (uint32_t i = 0; i < about->count; i++) {
        const symbol *s = &symbols[i];
        if (s->kind != OUTPUT) continue;
        if (binary) put(data + s->offset, bytes_of(s));
        for (uint32_t j = 0; j < s->count && !binary; j++) {
            put(between, strlen(between));
            print(data + s->offset + j * TYPES[s->dtype].size, s->dtype);
            between = " ";
        }
    }
    if (!binary) put("\n", 1);
}

/* --------------------------------------------------------------------------------------- arguments */

typedef struct {
    int binary, priority;
    double rate;
    uint64_t steps; /* 0: not given */
} options;

static void list(const char *title, uint32_t kind) {
    const char *before = title;
    for (uint32_t i = 0; i < about->count; i++) {
        const symbol *s = &symbols[i];
        if (s->kind != kind) continue;
        printf("%s  %-20s %s%s\n", before, text(s->name), TYPES[s->dtype].name, text(s->shape));
        before = "";
    }
}

__attribute__((noreturn)) static void usage(void) {
    const char *name = text(about->program);
    printf("%s, made by hotloop for %s: %u bytes of code, %u of data, at most %u of stack.\n", name, text(about->target), about->code_bytes,
           about->data_bytes, about->stack_bytes);
    list("\ninputs of a step, in this order:\n", INPUT);
    list("\nstates:\n", STATE);
    list("\noutputs of a step, in this order:\n", OUTPUT);
    printf("\n"
           "  %s < numbers    each line of numbers is one step; its outputs are one line\n"
           "  --steps N         end after N steps; with no inputs left, the last ones stay\n"
           "  --rate HZ         step HZ times a second with the newest inputs; report the lateness at the end\n"
           "  --priority N      real-time priority 1 to 99 (SCHED_FIFO), with --rate\n"
           "  --set name=value  first value of an input or state; elements of arrays are separated by commas\n"
           "  --binary          packed little-endian records in place of lines\n"
           "  --help            this text\n",
           name);
    fflush(stdout);
    _exit(DONE);
}

static void set(const char *assignment) {
    const char *equals = strchr(assignment, '=');
    if (!equals) fail(ARGUMENTS, "--set takes name=value, not %s", assignment);
    size_t length = (size_t)(equals - assignment);
    const symbol *found = 0;
    for (uint32_t i = 0; i < about->count && !found; i++) {
        const char *name = text(symbols[i].name);
        if (symbols[i].kind != OUTPUT && strlen(name) == length && !memcmp(name, assignment, length)) found = &symbols[i];
    }
    if (!found) fail(ARGUMENTS, "no input or state is named %.*s; --help names them", (int)length, assignment);
    const char *at = equals + 1;
    for (uint32_t j = 0; j < found->count; j++) {
        size_t size = strcspn(at, ",");
        char number[TOKEN] = {0};
        if (size >= TOKEN) fail(ARGUMENTS, "--set %s: a number has more than %d characters", text(found->name), TOKEN - 1);
        memcpy(number, at, size);
        const char *wrong = parse(number, found->dtype, data + found->offset + j * TYPES[found->dtype].size);
        if (wrong) fail(ARGUMENTS, "--set %s: '%s' %s; it takes %u of %s", text(found->name), number, wrong, found->count,
                        TYPES[found->dtype].name);
        at += size;
        if (j + 1 < found->count && *at == ',') at++;
    }
    if (*at) fail(ARGUMENTS, "--set %s: more than %u numbers", text(found->name), found->count);
}

static double number_argument(const char *option, const char *given, double low, double high) {
    char *end = "";
    double value = given ? strtod(given, &end) : 0;
    if (!given || *end || end == given || !(value >= low && value <= high))
        fail(ARGUMENTS, "%s takes a number from %g to %g, not %s", option, low, high, given ? given : "nothing");
    return value;
}

static uint64_t count_argument(const char *option, const char *given, uint64_t high) {
    double value = number_argument(option, given, 1, (double)high);
    if (value != floor(value)) fail(ARGUMENTS, "%s takes a whole number, not %s", option, given);
    return (uint64_t)value;
}

static options arguments(int count, char **given) {
    options o = {0};
    for (int i = 1; i < count; i++) {
        const char *option = given[i], *next = i + 1 < count ? given[i + 1] : 0;
        if (!strcmp(option, "--help") || !strcmp(option, "-h")) usage();
        if (!strcmp(option, "--binary")) {
            o.binary = 1;
            continue;
        }
        if (!strcmp(option, "--steps")) o.steps = count_argument(option, next, UINT64_C(1) << 53);
        else if (!strcmp(option, "--rate")) o.rate = number_argument(option, next, 1e-3, 1e6);
        else if (!strcmp(option, "--priority")) o.priority = (int)count_argument(option, next, 99);
        else if (strcmp(option, "--set")) fail(ARGUMENTS, "there is no argument %s; --help names all", option);
        else if (!next) fail(ARGUMENTS, "--set takes name=value");
        else set(next);
        i++;
    }
    if (o.priority && o.rate <= 0) fail(ARGUMENTS, "--priority is for steps at a fixed rate: give --rate too");
    return o;
}

/* ------------------------------------------------------------------------------------------- steps */

static void step(void) { ((void (*)(void *))(uintptr_t)about->entry)(data); }

static int next_inputs(int binary) { return binary ? read_record() : read_line(); }

static void run_all(options o) {
    int reads = input_numbers() != 0;
    if (!reads && !o.steps) o.steps = 1;
    for (uint64_t k = 0; (!o.steps || k < o.steps) && !stopped; k++) {
        if (reads && !next_inputs(o.binary)) {
            if (!o.steps) break;
            reads = 0; /* hold the last */
        }
        step();
        write_outputs(o.binary);
    }
}

/* Whether the inputs of a step can be had without waiting for them; longer ones than the buffer may wait. */
static int inputs_ready(int binary) {
    for (;;) {
        size_t held = in.to - in.from, record = record_bytes();
        if (in.ended || held == BUFFER) return 1;
        if (binary ? held >= (record < BUFFER ? record : BUFFER) : memchr(in.bytes + in.from, '\n', held) != 0) return 1;
        struct pollfd link = {.fd = 0, .events = POLLIN};
        if (poll(&link, 1, 0) <= 0 || !(link.revents & (POLLIN | POLLHUP | POLLERR))) return 0;
        fill();
    }
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t time) {
    struct timespec t = {.tv_sec = (time_t)(time / 1000000000u), .tv_nsec = (long)(time % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0) == EINTR && !stopped) {}
}

static void be_prompt(int priority) {
    mlockall(MCL_CURRENT | MCL_FUTURE); /* where it is refused, pages may come late: the report shows it */
    struct sched_param want = {.sched_priority = priority};
    /* musl refuses sched_setscheduler, whose meaning for threads differs between Linux and POSIX. */
    if (priority && pthread_setschedparam(pthread_self(), SCHED_FIFO, &want))
        fail(SYSTEM, "priority %d is refused. Run it as root, or allow it by 'ulimit -r'.", priority);
}

static void run_at_rate(options o) {
    be_prompt(o.priority);
    const double period = 1e9 / o.rate;
    int reads = input_numbers() != 0;
    uint64_t done = 0, missed = 0, worst_late = 0, worst_step = 0, start = now();
    for (uint64_t k = 1; (!o.steps || done < o.steps) && !stopped; k++) {
        uint64_t due = start + (uint64_t)((double)k * period);
        sleep_until(due);
        if (stopped) break;
        uint64_t woken = now(), late = woken > due ? woken - due : 0;
        if (late > worst_late) worst_late = late;
        uint64_t lost = (uint64_t)((double)late / period); /* whole periods: they are not made up for */
        missed += lost, k += lost;
        if (reads && inputs_ready(o.binary) && !next_inputs(o.binary)) {
            if (!o.steps) break;
            reads = 0;
        }
        uint64_t before = now();
        step();
        uint64_t spent = now() - before;
        if (spent > worst_step) worst_step = spent;
        done++;
        write_outputs(o.binary);
        flush();
    }
    fprintf(stderr, "%s: %llu steps at %g Hz: latest start %.1f us after its time, longest step %.1f us, %llu periods missed\n",
            text(about->program), (unsigned long long)done, o.rate, (double)worst_late * 1e-3, (double)worst_step * 1e-3,
            (unsigned long long)missed);
}

static void stop(int signal) {
    (void)signal;
    stopped = 1;
}

/* The levels are those of the x86-64 psABI, 3.1.1; registers of AVX: Intel SDM 1, 14.3. */
static void check_processor(void) {
#if defined(__x86_64__)
    unsigned a, b, c, d, low, high;
    if (!(about->flags & NEEDS_V3)) return;
    int known = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE) && (c & bit_AVX) && (c & bit_FMA);
    known = known && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2) && (b & bit_BMI2);
    if (known) {
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        known = (low & 6u) == 6u;
    }
    if (!known) fail(SYSTEM, "this processor has no AVX2. Make the program for arch=\"x86-64-v2\".");
#endif
}

int main(int count, char **given) {
    const description *found = (const description *)(uintptr_t)((uint64_t)slot.high << 32 | slot.low);
    if (!found) fail(ARGUMENTS, "this executable holds no program. hotloop's export makes it complete.");
    about = found;
    if (about->version != VERSION) fail(SYSTEM, "the program is described in version %u, not %d", about->version, VERSION);
    symbols = (const symbol *)(about + 1);
    data = (unsigned char *)(uintptr_t)about->data;
    check_processor();
    options o = arguments(count, given);
    if (count == 1 && input_numbers() && isatty(0)) usage();
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, 0);
    sigaction(SIGTERM, &action, 0);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, 0);
    if (o.rate > 0) run_at_rate(o);
    else run_all(o);
    flush();
    return DONE;
}
