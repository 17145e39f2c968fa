#define _GNU_SOURCE
#include "CHost.h"

static void empty_handler(int signal) { (void)signal; }

int host_install_empty_handler(int signal) {
    struct sigaction action = {.sa_handler = empty_handler};
    sigemptyset(&action.sa_mask);
    return sigaction(signal, &action, NULL);
}

int host_received_descriptors(const struct msghdr *message, int *descriptors, int capacity) {
    int count = 0;
    struct msghdr *header = (struct msghdr *)message;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL; part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t held = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < held; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
            if (count < capacity) {
                descriptors[count++] = descriptor;
            } else {
                close(descriptor);
            }
        }
    }
    return count;
}

int host_memfd_create(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int host_available_cpus(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

const char *host_strerror(int number) { return strerrordesc_np(number); }

int host_direct_alignment(int fd, uint32_t *memory, uint32_t *offset) {
#ifdef STATX_DIOALIGN
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && (status.stx_mask & STATX_DIOALIGN) != 0) {
        *memory = status.stx_dio_mem_align;
        *offset = status.stx_dio_offset_align;
        return 1;
    }
#endif
    return 0;
}

int host_name_thread(const char *name) { return pthread_setname_np(pthread_self(), name); }
