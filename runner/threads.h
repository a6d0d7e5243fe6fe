/* The threads of this process that share the work of one call. They are started when they are first
 * needed, sleep in between, and do not outlive a fork: the child starts its own. */
#ifndef HOTLOOP_THREADS_H
#define HOTLOOP_THREADS_H

enum { HL_MOST_THREADS = 256 };

/* How many threads work on a call, the caller's among them. */
int hl_get_threads(void);
void hl_set_threads(int count); /* 1 to HL_MOST_THREADS */

/* Run work(job, 0) here, and work(job, 1) to work(job, count - 1) on other threads at the same time;
 * returns when all that has begun is done. Not every number need be called: all but the caller's may be
 * left out if other threads are busy, so `work` takes its share from a counter in `job`. */
void hl_share(void (*work)(void *job, int number), void *job, int count);

#endif
