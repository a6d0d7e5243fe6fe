/* The runner as a Linux process. It speaks the protocol on standard input and output until the input
 * ends, or on TCP, or on a serial line:
 *
 *     hotloop-runner
 *     hotloop-runner --tcp [HOST:]PORT           one client at a time; HOST is 127.0.0.1, or an address
 *     hotloop-runner --serial DEVICE[:BAUD]      115200 baud, 8 bits, no parity
 *
 * Who can connect can execute any code with the rights of this process: that is what a runner is for.
 * TCP has neither password nor encryption; between machines use `ssh HOST hotloop-runner`, or a tunnel.
 *
 * Status 0: the input ended between two frames. 1: it broke off inside one, or the link failed. 2: the
 * arguments are wrong.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "linux.h"

enum { GRACE_MS = 1000 }; /* how long a client that left may keep its program running */
enum { CAPACITY = 1 << 16, SERIAL_CAPACITY = 1 << 10, WINDOW = 8 };

typedef struct {
    int in, out;
    uint64_t received;
} stream;

static int receive(void *context, uint8_t *bytes, size_t size) {
    stream *s = context;
    for (size_t done = 0; done < size;) {
        ssize_t got = read(s->in, bytes + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 1;
        done += (size_t)got;
        s->received += (size_t)got;
    }
    return 0;
}

static int send_all(void *context, const uint8_t *bytes, size_t size) {
    const stream *s = context;
    for (size_t done = 0; done < size;) {
        ssize_t put = write(s->out, bytes + done, size - done);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return 1;
        done += (size_t)put;
    }
    return 0;
}

/* Answer until the link ends. Returns whether it broke off inside a frame. */
static int serve(int in, int out, uint32_t capacity, uint32_t window) {
    static uint8_t buffer[CAPACITY];
    stream s = {.in = in, .out = out};
    hl_runner runner = {0};
    const hl_link link = {&s, receive, send_all, buffer, capacity, window};
    uint64_t before;
    do before = s.received;
    while (!hl_answer(&runner, &link));
    hl_release(&runner);
    return s.received != before;
}

static int fail(const char *doing, const char *what) {
    fprintf(stderr, "hotloop-runner: %s %s: %s\n", doing, what, strerror(errno));
    return 1;
}

static int wrong(const char *what) {
    fprintf(stderr, "hotloop-runner: %s\nusage: hotloop-runner [--tcp [HOST:]PORT | --serial DEVICE[:BAUD]]\n", what);
    return 2;
}

/* Read a whole decimal number from 0 to `most`; -1 if it is none. */
static long number(const char *text, long most) {
    long value = 0;
    if (!*text) return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return -1;
        value = value * 10 + (*text - '0');
        if (value > most) return -1;
    }
    return value;
}

/* ------------------------------------------------------------------------------------- TCP */

static int listen_at(const char *where) {
    char host[64] = "127.0.0.1";
    const char *colon = strrchr(where, ':'), *port = colon ? colon + 1 : where;
    if (colon && (size_t)(colon - where) >= sizeof host) return -wrong("HOST is too long");
    if (colon) snprintf(host, sizeof host, "%.*s", (int)(colon - where), where);
    const long found = number(port, 65535);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(found < 0 ? 0 : found))};
    if (found < 0) return -wrong("PORT must be a number from 0 to 65535 (0: any that is free)");
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) return -wrong("HOST must be an IPv4 address: 0.0.0.0 is every interface");
    const int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof address;
    if (listener < 0) return -fail("opening", "a socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1)) return -fail("listening on", where);
    getsockname(listener, (struct sockaddr *)&address, &size);
    fprintf(stderr, "hotloop-runner: %s on tcp://%s:%u\n", hl_linux_target(), host, ntohs(address.sin_port));
    return listener;
}

/* Wait until the process of a client ends, which closes `alive`; a client that leaves while its program
 * runs takes it along. */
static void wait_for(pid_t child, int client, int alive) {
    struct pollfd events[] = {{alive, POLLIN, 0}, {client, POLLRDHUP, 0}};
    while (poll(events, 2, -1) < 0 && errno == EINTR) continue;
    if (!events[0].revents) poll(events, 1, GRACE_MS);
    kill(child, SIGKILL); /* of no effect where it has ended */
    while (waitpid(child, 0, 0) < 0 && errno == EINTR) continue;
}

/* A process for each client, so that a program which crashes ends its own client alone; the next
 * client waits until the one before it is gone. */
static int serve_tcp(const char *where) {
    const int on = 1, listener = listen_at(where);
    const pid_t parent = getpid();
    if (listener < 0) return -listener;
    for (;;) {
        const int client = accept(listener, 0, 0);
        if (client < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (client < 0) return fail("accepting on", where);
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on); /* a client whose machine is gone */
        int alive[2];
        if (pipe(alive)) return fail("opening", "a pipe");
        const pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* no program survives its runner */
            if (getppid() != parent) _exit(1);
            close(listener);
            _exit(serve(client, client, CAPACITY, WINDOW));
        }
        if (child < 0) return fail("forking for a client of", where);
        close(alive[1]);
        wait_for(child, client, alive[0]);
        close(alive[0]);
        close(client);
    }
}

/* ---------------------------------------------------------------------------------- serial */

static const struct {
    long baud;
    speed_t speed;
} SPEEDS[] = {{9600, B9600},     {19200, B19200},   {38400, B38400},   {57600, B57600},   {115200, B115200},
              {230400, B230400}, {460800, B460800}, {921600, B921600}, {1000000, B1000000}, {2000000, B2000000}};

static int set_line(int line, long baud) {
    struct termios mode;
    if (tcgetattr(line, &mode)) return 1;
    cfmakeraw(&mode);
    mode.c_cflag |= CLOCAL | CREAD;
    mode.c_cflag &= ~(tcflag_t)(CSTOPB | CRTSCTS);
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    for (size_t i = 0; i < sizeof SPEEDS / sizeof *SPEEDS; i++)
        if (SPEEDS[i].baud == baud) return cfsetspeed(&mode, SPEEDS[i].speed) || tcsetattr(line, TCSAFLUSH, &mode);
    errno = EINVAL;
    return 1;
}

static int serve_serial(const char *where) {
    char device[256];
    const char *colon = strrchr(where, ':');
    const int length = colon ? (int)(colon - where) : (int)strlen(where);
    const long baud = colon ? number(colon + 1, 100000000) : 115200;
    if ((size_t)length >= sizeof device) return wrong("DEVICE is too long");
    if (baud < 0) return wrong("BAUD must be a number");
    snprintf(device, sizeof device, "%.*s", length, where);
    const int line = open(device, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (line < 0) return fail("opening", device);
    if (flock(line, LOCK_EX | LOCK_NB)) return fail("locking", device);
    if (set_line(line, baud)) return fail("setting up", where);
    fprintf(stderr, "hotloop-runner: %s on serial:%s?baud=%ld\n", hl_linux_target(), device, baud);
    serve(line, line, SERIAL_CAPACITY, 1);
    return fail("reading", device); /* a line has no end but this */
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    if (count == 1) return serve(0, 1, CAPACITY, WINDOW);
    if (count == 3 && !strcmp(arguments[1], "--tcp")) return serve_tcp(arguments[2]);
    if (count == 3 && !strcmp(arguments[1], "--serial")) return serve_serial(arguments[2]);
    return wrong(count == 2 ? "an argument is missing, or there is no such option" : "wrong arguments");
}
