/// What liburing's header keeps in macros that Swift cannot see, and calls its shared library does not export.
#ifndef CHOST_RING_SHIMS_H
#define CHOST_RING_SHIMS_H

static const uint32_t HOST_IORING_RSRC_REGISTER_SPARSE = IORING_RSRC_REGISTER_SPARSE;
static const uint8_t HOST_IOSQE_FIXED_FILE = IOSQE_FIXED_FILE;
static const uint8_t HOST_IOSQE_CQE_SKIP_SUCCESS = IOSQE_CQE_SKIP_SUCCESS;

static inline int host_uring_register(int ring, unsigned opcode, const void *argument, unsigned count) {
    int result = (int)syscall(SYS_io_uring_register, ring, opcode, argument, count);
    return result < 0 ? -errno : result;
}

/// The oldest completion, or NULL; liburing's own function may enter the kernel, whose error would be lost there.
static inline struct io_uring_cqe *host_uring_peek(const struct io_uring *ring) {
    unsigned head = *ring->cq.khead;
    if (head == __atomic_load_n(ring->cq.ktail, __ATOMIC_ACQUIRE)) {
        return NULL;
    }
    return &ring->cq.cqes[head & ring->cq.ring_mask];
}

/// Whether completions wait for this thread to enter the kernel (IORING_SETUP_TASKRUN_FLAG).
static inline int host_uring_has_work(const struct io_uring *ring) {
    return (__atomic_load_n(ring->sq.kflags, __ATOMIC_RELAXED)
            & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

#endif
