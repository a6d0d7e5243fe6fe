/* See threads.h. One job at a time is open; workers take places in it until its owner closes it. */
#define _GNU_SOURCE
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

enum { STACK = 1 << 20, SPINS = 400 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER, finished = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* All but `limit` and `busy` is written with the mutex held. */
static void (*open_work)(void *, int);
static void *open_job;
static int started, taken;         /* workers that exist; places that workers took in the open job */
static atomic_int places, working; /* places left in the open job; workers inside */
static atomic_int limit;           /* 0: not asked for yet */
static atomic_flag busy = ATOMIC_FLAG_INIT;

/* Waking a thread takes longer than many jobs do: look for a moment before going to sleep. */
static void spin_until(atomic_int *number, int there) {
    for (int i = 0; i < SPINS && (atomic_load_explicit(number, memory_order_relaxed) != 0) != there; i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
}

static void *serve(void *unused) {
    (void)unused;
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (!places) pthread_cond_wait(&opened, &mutex);
        places--;
        working++;
        int number = ++taken;
        void (*work)(void *, int) = open_work;
        void *job = open_job;
        pthread_mutex_unlock(&mutex);
        work(job, number);
        pthread_mutex_lock(&mutex);
        if (--working == 0) pthread_cond_signal(&finished);
        pthread_mutex_unlock(&mutex);
        spin_until(&places, 1);
        pthread_mutex_lock(&mutex);
    }
    return NULL;
}

/* The child of a fork has one thread, and locks in whatever state they were. */
static void start_anew(void) {
    pthread_mutex_init(&mutex, NULL);
    pthread_cond_init(&opened, NULL);
    pthread_cond_init(&finished, NULL);
    started = taken = 0;
    places = working = 0;
    atomic_flag_clear(&busy);
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, start_anew); }

/* Have so many workers, or as many as the system gives. Signals are left to the threads of Python. */
static void start_workers(int count) {
    if (started >= count) return;
    pthread_once(&once, watch_forks);
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    while (started < count && !pthread_create(&thread, &attributes, serve, NULL)) started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

static void share(void (*work)(void *, int), void *job, int count) {
    pthread_mutex_lock(&mutex);
    start_workers(count - 1);
    open_work = work;
    open_job = job;
    taken = 0;
    places = started < count - 1 ? started : count - 1;
    for (int i = 0; i < places; i++) pthread_cond_signal(&opened);
    pthread_mutex_unlock(&mutex);
    work(job, 0);
    pthread_mutex_lock(&mutex);
    places = 0; /* who has not come by now need not */
    pthread_mutex_unlock(&mutex);
    spin_until(&working, 0);
    pthread_mutex_lock(&mutex);
    while (working) pthread_cond_wait(&finished, &mutex);
    pthread_mutex_unlock(&mutex);
}

void hl_share(void (*work)(void *, int), void *job, int count) {
    if (count > 1 && !atomic_flag_test_and_set(&busy)) {
        share(work, job, count);
        atomic_flag_clear(&busy);
    } else {
        work(job, 0);
    }
}

static int processors(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    int count = CPU_COUNT(&set);
    return count < 1 ? 1 : count > HL_MOST_THREADS ? HL_MOST_THREADS : count;
}

int hl_get_threads(void) {
    if (!limit) limit = processors();
    return limit;
}

void hl_set_threads(int count) { limit = count; }
