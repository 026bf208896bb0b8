// What Swift cannot see of Linux: variadic or _GNU_SOURCE declarations, macros, and code that must be async-signal-safe.
// Calls return 0 (or a count, or a descriptor) on success and -errno on failure, and never set policy.
#ifndef FILOSCOPE_CLINUX_H
#define FILOSCOPE_CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/// accept4(2) with SOCK_CLOEXEC, and SOCK_NONBLOCK when `nonblocking`: the descriptor, or -errno.
int cl_accept(int fd, int nonblocking);
/// SO_PEERCRED of a connected Unix socket: who it was when it connected. Any pointer may be NULL.
int cl_peer_credentials(int fd, pid_t *pid, uid_t *uid, gid_t *gid);
/// SO_PEERGROUPS: the peer's supplementary groups, at most `capacity` of them; how many were written.
/// -ERANGE when there are more.
int cl_peer_groups(int fd, gid_t *groups, int capacity);

/// How many CPUs the calling thread may run on (sched_getaffinity), at least 1.
int cl_affinity_count(void);
/// Writes the numbers of those CPUs, ascending, at most `capacity`; how many were written.
int cl_affinity(int *cpus, int capacity);
/// Pins the calling thread to these CPUs.
int cl_set_affinity(const int *cpus, int count);
/// AT_HWCAP and AT_HWCAP2 of the auxiliary vector.
uint64_t cl_hwcap(void);
uint64_t cl_hwcap2(void);

/// Schedules the calling thread as SCHED_BATCH: it computes and never preempts a thread that has just woken.
int cl_schedule_as_batch(void);

/// Names the calling thread; the kernel keeps 15 bytes.
void cl_set_thread_name(const char *name);

/// Tells the CPU that this is a spin loop.
static inline void cl_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

enum {
    CL_MAP_CAPACITY = 64,        ///< maps that can be registered at one time
    CL_MAP_EXIT_STATUS = 74,     ///< EX_IOERR: the status the process ends with after a fault inside a registered map
};

/// Names the file behind a mapped range, and installs the SIGBUS handler on the first call.
/// A fault inside a registered range (the file was truncated, the card failed) writes one line to stderr,
/// `<2>filoscoped: model file PATH could not be read (I/O error or truncated) at offset N; ...`, and ends the process
/// with CL_MAP_EXIT_STATUS. Any other SIGBUS keeps its default action. A path over 511 bytes is cut at its start.
/// -ENOSPC when CL_MAP_CAPACITY ranges are registered.
int cl_register_map(const void *base, size_t length, const char *path);
/// Forgets the range that starts at `base`; -ENOENT when there is none. Call before munmap.
int cl_unregister_map(const void *base);

#ifdef __cplusplus
}
#endif

#endif
