/// System call filters: what the kernel has as macros and without wrappers, and the handler of a filter's verdict.
#ifndef CHOST_SECCOMP_SHIMS_H
#define CHOST_SECCOMP_SHIMS_H

static const uint32_t HOST_SECCOMP_ALLOW = SECCOMP_RET_ALLOW;
static const uint32_t HOST_SECCOMP_TRAP = SECCOMP_RET_TRAP;
static const uint32_t HOST_SECCOMP_KILL_PROCESS = SECCOMP_RET_KILL_PROCESS;
#if defined(__x86_64__)
static const uint32_t HOST_AUDIT_ARCH = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
static const uint32_t HOST_AUDIT_ARCH = AUDIT_ARCH_AARCH64;
#endif

/// Whether the kernel can filter system calls and trap those that a filter forbids; a failure is in errno.
static inline int host_seccomp_is_available(void) {
    const uint32_t action = SECCOMP_RET_TRAP;
    return (int)syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
}

/// Filters the calling thread's system calls from now on.
static inline int host_seccomp_install(const struct sock_filter *program, size_t count) {
    struct sock_fprog filter = {.len = (unsigned short)count, .filter = (struct sock_filter *)program};
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
