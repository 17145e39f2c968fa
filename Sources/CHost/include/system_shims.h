/// Variadic system calls and function-like macros as plain functions.
#ifndef CHOST_SYSTEM_SHIMS_H
#define CHOST_SYSTEM_SHIMS_H

static inline int host_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }
static inline int host_fcntl(int fd, int command, long argument) { return fcntl(fd, command, argument); }
static inline int host_fcntl_lock(int fd, int command, struct flock *lock) { return fcntl(fd, command, lock); }
static inline int host_ioctl(int fd, unsigned long request, unsigned long argument) {
    return ioctl(fd, request, argument);
}
static inline int host_ioctl_pointer(int fd, unsigned long request, void *argument) {
    return ioctl(fd, request, argument);
}
static inline int host_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
    return prctl(option, a, b, c, d);
}
static inline long host_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout) {
    return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}
static inline int host_mbind(void *start, unsigned long count, int mode, const uint64_t *nodes, unsigned long bits) {
    return (int)syscall(SYS_mbind, start, count, mode, nodes, bits, 0);
}
static inline pid_t host_gettid(void) { return (pid_t)syscall(SYS_gettid); }

// GNU extensions: declared here, since this header is read without _GNU_SOURCE, as Swift's own view of libc is.
int host_memfd_create(const char *name);
int host_available_cpus(void);
/// Names the calling thread.
int host_name_thread(const char *name);
const char *host_strerror(int number);

// Swift's view of libc hides it. Only for a process that has no other threads yet.
static inline pid_t host_fork(void) { return fork(); }
static inline int host_wifexited(int status) { return WIFEXITED(status); }
static inline int host_wexitstatus(int status) { return WEXITSTATUS(status); }

static inline int host_sigrtmin(void) { return SIGRTMIN; }

/// What direct transfers on a file must be aligned to, 0 where it takes none; answers 1 if the kernel tells.
int host_direct_alignment(int fd, uint32_t *memory, uint32_t *offset);

/// Installs a handler that does nothing, without SA_RESTART: the signal's only use is to end a blocking call.
int host_install_empty_handler(int signal);

/// The descriptors of one control message, at most `capacity`; returns how many there were.
int host_received_descriptors(const struct msghdr *message, int *descriptors, int capacity);

static const unsigned long HOST_BLKGETSIZE64 = BLKGETSIZE64;
static const unsigned long HOST_BLKSSZGET = BLKSSZGET;
static const unsigned long HOST_BLKPBSZGET = BLKPBSZGET;
static const unsigned long HOST_TIOCGPTN = TIOCGPTN;

/// From now on memory that is mapped but cannot be had (`SIGBUS`) ends the process with `status`, after one line on `log`.
int host_handle_memory_faults(int log, int status);

#endif
