#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { PATH_CAPACITY = 512 };

// The handler reads this table without a lock: `base` is published last and withdrawn first.
struct guarded_map {
    _Atomic(uintptr_t) base;
    size_t length;
    char path[PATH_CAPACITY];
};

static struct guarded_map maps[CL_MAP_CAPACITY];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int installed;

// Async-signal-safe from here on: no stdio, no allocation, no lock.
static size_t append(char *line, size_t at, const char *text) {
    while (*text) line[at++] = *text++;
    return at;
}

static size_t append_number(char *line, size_t at, uint64_t number) {
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (count) line[at++] = digits[--count];
    return at;
}

static void on_bus_error(int signal_number, siginfo_t *info, void *context) {
    (void)context;
    uintptr_t address = (uintptr_t)info->si_addr;
    // si_code <= 0 is a signal that someone sent: si_addr then means nothing.
    for (int i = 0; info->si_code > 0 && i < CL_MAP_CAPACITY; i++) {
        uintptr_t base = atomic_load_explicit(&maps[i].base, memory_order_acquire);
        if (base == 0 || address < base || address - base >= maps[i].length) continue;
        char line[PATH_CAPACITY + 192];
        size_t at = append(line, 0, "<2>filoscoped: model file ");
        at = append(line, at, maps[i].path);
        at = append(line, at, " could not be read (I/O error or truncated) at offset ");
        at = append_number(line, at, address - base);
        at = append(line, at, "; the running job is kept and starts again\n");
        ssize_t ignored = write(STDERR_FILENO, line, at);
        (void)ignored;
        _exit(CL_MAP_EXIT_STATUS);
    }
    // Not ours: the default action, when the instruction faults again or, for a sent signal, at once.
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(signal_number, &standard, NULL);
    if (info->si_code <= 0) raise(signal_number);
}

int cl_register_map(const void *base, size_t length, const char *path) {
    int result = -ENOSPC;
    pthread_mutex_lock(&lock);
    if (!installed) {
        struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
        sigemptyset(&action.sa_mask);
        if (sigaction(SIGBUS, &action, NULL) != 0) {
            result = -errno;
            pthread_mutex_unlock(&lock);
            return result;
        }
        installed = 1;
    }
    for (int i = 0; i < CL_MAP_CAPACITY; i++) {
        if (atomic_load_explicit(&maps[i].base, memory_order_relaxed) != 0) continue;
        size_t bytes = strlen(path);
        size_t skip = bytes >= PATH_CAPACITY ? bytes - (PATH_CAPACITY - 1) : 0;
        memcpy(maps[i].path, path + skip, bytes - skip + 1);
        // One message is one journal line, whatever the file is called.
        for (char *c = maps[i].path; *c; c++)
            if ((unsigned char)*c < 0x20) *c = '?';
        maps[i].length = length;
        atomic_store_explicit(&maps[i].base, (uintptr_t)base, memory_order_release);
        result = 0;
        break;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int cl_unregister_map(const void *base) {
    int result = -ENOENT;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < CL_MAP_CAPACITY; i++) {
        if (atomic_load_explicit(&maps[i].base, memory_order_relaxed) != (uintptr_t)base) continue;
        atomic_store_explicit(&maps[i].base, 0, memory_order_release);
        result = 0;
        break;
    }
    pthread_mutex_unlock(&lock);
    return result;
}
