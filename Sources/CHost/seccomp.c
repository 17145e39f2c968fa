#define _GNU_SOURCE
#include "CHost.h"

#include <malloc.h>

static int violation_log;
static int violation_status;
static __thread char thread_name[16];
static __thread long thread_id;

static char *append_text(char *end, const char *text) {
    while (*text != 0) {
        *end++ = *text++;
    }
    return end;
}

static char *append_number(char *end, unsigned long number, unsigned base) {
    char digits[24];
    int count = 0;
    do {
        digits[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    while (count > 0) {
        *end++ = digits[--count];
    }
    return end;
}

// Any thread can get here, in any state: no allocation, no locks, and only the two calls that every filter allows.
static void report_forbidden_call(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    char line[160];
    char *end = append_text(line, "ERROR seccomp: thread ");
    end = append_number(end, (unsigned long)thread_id, 10);
    end = append_text(end, " (");
    end = append_text(end, thread_name);
    end = append_text(end, ") made the forbidden system call ");
    end = append_number(end, (unsigned)info->si_syscall, 10);
    end = append_text(end, " at 0x");
    end = append_number(end, (unsigned long)info->si_call_addr, 16);
    end = append_text(end, "\n");
    (void)!write(violation_log, line, (size_t)(end - line));
    _exit(violation_status);
}

int host_handle_forbidden_calls(int log, int status) {
    violation_log = log;
    violation_status = status;
    struct sigaction action = {.sa_sigaction = report_forbidden_call, .sa_flags = SA_SIGINFO};
    sigfillset(&action.sa_mask);
    return sigaction(SIGSYS, &action, NULL);
}

void host_note_filtered_thread(void) {
    prctl(PR_GET_NAME, thread_name);
    thread_id = syscall(SYS_gettid);
    // The first allocation of a thread makes its cache.
    void *volatile block = malloc(1);
    free(block);
}

void host_use_one_heap(void) { mallopt(M_ARENA_MAX, 1); }
