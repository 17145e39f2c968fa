/// Loads and stores of memory that a guest or another thread changes at the same time: each happens exactly once.
#ifndef CHOST_MEMORY_SHIMS_H
#define CHOST_MEMORY_SHIMS_H

#define HOST_ACCESS(bits)                                                                                    \
    struct host_packed_u##bits { uint##bits##_t value; } __attribute__((packed, may_alias));                 \
    static inline uint##bits##_t host_load_u##bits(const void *p) {                                          \
        return ((const volatile struct host_packed_u##bits *)p)->value;                                      \
    }                                                                                                        \
    static inline void host_store_u##bits(void *p, uint##bits##_t v) {                                       \
        ((volatile struct host_packed_u##bits *)p)->value = v;                                               \
    }
HOST_ACCESS(8)
HOST_ACCESS(16)
HOST_ACCESS(32)
HOST_ACCESS(64)
#undef HOST_ACCESS

static inline void host_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

static inline void host_cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#endif
