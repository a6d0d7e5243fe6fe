/* Work that takes long runs without the GIL, and can be interrupted as Ctrl-C does it. */
#define _GNU_SOURCE
#include "python.h"

#include <sys/syscall.h>
#include <unistd.h>

int is_main_thread(void) { return syscall(SYS_gettid) == getpid(); }

int is_interrupted(void *caller) {
    PyThreadState **state = caller;
    PyEval_RestoreThread(*state);
    int raised = PyErr_CheckSignals();
    *state = PyEval_SaveThread();
    return raised;
}
