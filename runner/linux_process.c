/* The runner as a process: speaks the protocol on standard input and output until the input ends.
 *
 * Build: python -m ziglang cc -O2 -std=c11 runner/runner.c runner/linux.c runner/linux_process.c
 * Status 0: the input ended between two frames. 1: it broke off inside one, or a frame was damaged.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "linux.h"

enum { CAPACITY = 1 << 16 };

typedef struct {
    uint64_t received;
} progress;

static int receive(void *context, uint8_t *bytes, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t got = read(0, bytes + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 1;
        done += (size_t)got;
        ((progress *)context)->received += (size_t)got;
    }
    return 0;
}

static int send_all(void *context, const uint8_t *bytes, size_t size) {
    (void)context;
    for (size_t done = 0; done < size;) {
        ssize_t put = write(1, bytes + done, size - done);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return 1;
        done += (size_t)put;
    }
    return 0;
}

int main(void) {
    uint8_t buffer[CAPACITY];
    progress link_progress = {0};
    hl_runner runner = {0};
    hl_link link = {&link_progress, receive, send_all, buffer, sizeof buffer};
    uint64_t before;
    do before = link_progress.received;
    while (!hl_answer(&runner, &link));
    hl_release(&runner);
    return link_progress.received != before;
}
