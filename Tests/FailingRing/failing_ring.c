#define _GNU_SOURCE
#include "include/failing_ring.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <linux/io_uring.h>
#include <liburing.h>

static _Thread_local struct {
    bool active;
    struct io_uring *ring;
    int64_t position, count, in_flight;
    int32_t result;
    int failed;
    /// The operation that is to end as the test has it, until it has.
    uint64_t user_data;
    /// Completions before this one have been seen.
    unsigned seen;
    struct iovec vector;
    struct msghdr header;
} plan;

/// Which calls of this thread fail without reaching the kernel.
static _Thread_local struct {
    bool active;
    int64_t first, count;
    int error;
    int64_t calls, failed;
} enter;

void failing_ring_begin_enter(int64_t first, int64_t count, int error) {
    memset(&enter, 0, sizeof enter);
    enter.active = true;
    enter.first = first;
    enter.count = count;
    enter.error = error;
}

void failing_ring_end_enter(void) { enter.active = false; }
int64_t failing_ring_enter_calls(void) { return enter.calls; }
int64_t failing_ring_enter_failed(void) { return enter.failed; }

/// Counts one call; whether it is to fail.
static bool enter_fails(void) {
    if (!enter.active) return false;
    int64_t position = enter.calls++;
    if (position < enter.first || (enter.count >= 0 && position - enter.first >= enter.count)) return false;
    enter.failed++;
    return true;
}

void failing_ring_begin(int64_t position, int32_t result) {
    memset(&plan, 0, sizeof plan);
    plan.active = true;
    plan.position = position;
    plan.result = result;
    plan.failed = -1;
}

void failing_ring_end(void) { plan.active = false; }
int64_t failing_ring_count(void) { return plan.count; }
int64_t failing_ring_in_flight(void) { return plan.in_flight; }
int failing_ring_failed(void) { return plan.failed; }

int failing_ring_open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    if (!folder) return -1;
    int count = 0;
    for (struct dirent *one; (one = readdir(folder));) count += one->d_name[0] != '.';
    closedir(folder);
    // Its own is closed again.
    return count - 1;
}

/// Makes an operation transfer one byte; false for one that transfers none.
static bool cut_short(struct io_uring_sqe *entry) {
    switch (entry->opcode) {
    case IORING_OP_READ:
    case IORING_OP_WRITE:
    case IORING_OP_RECV:
    case IORING_OP_SEND:
        if (entry->len == 0) return false;
        entry->len = 1;
        return true;
    case IORING_OP_READV:
    case IORING_OP_WRITEV:
        plan.vector = *(struct iovec *)entry->addr;
        plan.vector.iov_len = 1;
        entry->addr = (uint64_t)&plan.vector;
        entry->len = 1;
        return true;
    default:
        return false;
    }
}

/// What only these can end with: 0 is the end of a file or stream, and no descriptor of the test's.
static bool can_end_with_nothing(const struct io_uring_sqe *entry) {
    struct io_uring_sqe copy = *entry;
    return copy.opcode == IORING_OP_RECVMSG || copy.opcode == IORING_OP_SENDMSG || cut_short(&copy);
}

static void plant(struct io_uring_sqe *entry) {
    if (plan.result > 0) {
        if (cut_short(entry)) plan.failed = entry->opcode;
        return;
    }
    if (plan.result == 0 && !can_end_with_nothing(entry)) return;
    plan.failed = entry->opcode;
    plan.user_data = entry->user_data;
    // No ring of the program's lets this one through: it ends at once.
    entry->opcode = IORING_OP_NOP;
    entry->flags = 0;
    entry->ioprio = 0;
}

/// Whether it is a time that is far off, most likely the test's own limit.
static bool is_far_off(const struct io_uring_sqe *entry) {
    if (entry->opcode != IORING_OP_TIMEOUT) return false;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((struct __kernel_timespec *)entry->addr)->tv_sec - now.tv_sec > 15;
}

/// Whether the end of the operation is of no interest to a client: it names no slot.
static bool is_untracked(uint64_t user_data) { return (uint32_t)user_data == 0; }

static void look_at_submissions(struct io_uring *ring) {
    if (!plan.active) return;
    if (!plan.ring) {
        plan.ring = ring;
        plan.seen = __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE);
    }
    if (plan.ring != ring) return;
    for (unsigned index = ring->sq.sqe_head; index != ring->sq.sqe_tail; index++) {
        struct io_uring_sqe *entry = &ring->sq.sqes[index & *ring->sq.kring_mask];
        if (is_untracked(entry->user_data)) continue;
        plan.in_flight++;
        if (!is_far_off(entry) && plan.count++ == plan.position) plant(entry);
    }
}

static void look_at_completions(struct io_uring *ring) {
    if (!plan.active || plan.ring != ring) return;
    unsigned tail = __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE);
    for (; plan.seen != tail; plan.seen++) {
        struct io_uring_cqe *entry = &ring->cq.cqes[plan.seen & *ring->cq.kring_mask];
        if (is_untracked(entry->user_data)) continue;
        if (!(entry->flags & IORING_CQE_F_MORE)) plan.in_flight--;
        if (entry->user_data != plan.user_data) continue;
        plan.user_data = 0;
        entry->res = plan.result;
    }
}

/// liburing's own function of a name, looked up once.
#define REAL(name)                                                                                                     \
    ({                                                                                                                 \
        static __typeof__(name) *real;                                                                                 \
        if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);                                                 \
        real;                                                                                                          \
    })

int io_uring_submit(struct io_uring *ring) {
    if (enter_fails()) return -enter.error;
    look_at_submissions(ring);
    int result = REAL(io_uring_submit)(ring);
    look_at_completions(ring);
    return result;
}

int io_uring_submit_and_get_events(struct io_uring *ring) {
    if (enter_fails()) return -enter.error;
    look_at_submissions(ring);
    int result = REAL(io_uring_submit_and_get_events)(ring);
    look_at_completions(ring);
    return result;
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned count) {
    if (enter_fails()) return -enter.error;
    look_at_submissions(ring);
    int result = REAL(io_uring_submit_and_wait)(ring, count);
    look_at_completions(ring);
    return result;
}
