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

static inline uint16_t host_load_acquire_u16(const void *p) {
    return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
}
static inline void host_store_release_u16(void *p, uint16_t v) {
    __atomic_store_n((uint16_t *)p, v, __ATOMIC_RELEASE);
}
static inline uint32_t host_load_acquire_u32(const void *p) {
    return __atomic_load_n((const uint32_t *)p, __ATOMIC_ACQUIRE);
}
static inline void host_store_release_u32(void *p, uint32_t v) {
    __atomic_store_n((uint32_t *)p, v, __ATOMIC_RELEASE);
}
static inline void host_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

static inline void host_cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#endif
