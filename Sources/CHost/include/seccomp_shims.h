/// System call filters: what libseccomp leaves to the kernel's own interface, and the handler of its verdict.
#ifndef CHOST_SECCOMP_SHIMS_H
#define CHOST_SECCOMP_SHIMS_H

static const uint32_t HOST_SCMP_ACT_KILL_PROCESS = SCMP_ACT_KILL_PROCESS;

/// Whether the kernel can filter system calls and trap those that a filter forbids; a failure is in errno.
static inline int host_seccomp_is_available(void) {
    const uint32_t action = SECCOMP_RET_TRAP;
    return (int)syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
}

/// Filters the calling thread's system calls from now on; `program` is what libseccomp exports.
static inline int host_seccomp_install(const void *program, size_t bytes) {
    struct sock_fprog filter = {
        .len = (unsigned short)(bytes / sizeof(struct sock_filter)),
        .filter = (struct sock_filter *)program,
    };
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}

/// Any system call by its number, to try what a filter does with it.
static inline long host_system_call(long number, long a, long b, long c, long d, long e, long f) {
    return syscall(number, a, b, c, d, e, f);
}

/// From now on a forbidden system call writes one line to `log` and ends the process with `status`.
int host_handle_forbidden_calls(int log, int status);

/// Notes what that line says of the calling thread, since asking the kernel for it is forbidden by then, and lets the C
/// library set up what it keeps of each thread.
void host_note_filtered_thread(void);

/// Makes all threads allocate from one heap; the only one that grows without mprotect.
void host_use_one_heap(void);

#endif
