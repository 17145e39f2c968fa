#define _GNU_SOURCE
#include "CHost.h"

static int fault_log;
static int fault_status;

// Any thread can get here, in the middle of anything: no allocation, no locks, and only calls that every filter allows.
static void report_memory_fault(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    char line[160] = "ERROR memory: the machine is lost: there is nothing behind its memory at host address 0x";
    size_t end = strlen(line);
    for (int shift = 60; shift >= 0; shift -= 4) {
        line[end++] = "0123456789abcdef"[(uintptr_t)info->si_addr >> shift & 15];
    }
    static const char reason[] = "; its file was cut off, or huge pages ran out\n";
    memcpy(line + end, reason, sizeof reason - 1);
    (void)!write(fault_log, line, end + sizeof reason - 1);
    _exit(fault_status);
}

int host_handle_memory_faults(int log, int status) {
    fault_log = log;
    fault_status = status;
    struct sigaction action = {.sa_sigaction = report_memory_fault, .sa_flags = SA_SIGINFO | SA_RESETHAND};
    sigfillset(&action.sa_mask);
    return sigaction(SIGBUS, &action, NULL);
}
