/// The kernel's vhost: its ioctl numbers, which are macros, and the one whose argument has no fixed size.
#ifndef CHOST_VHOST_SHIMS_H
#define CHOST_VHOST_SHIMS_H

#define HOST_VHOST(name) static const unsigned long HOST_##name = name;
HOST_VHOST(VHOST_SET_OWNER)
HOST_VHOST(VHOST_GET_FEATURES)
HOST_VHOST(VHOST_SET_FEATURES)
HOST_VHOST(VHOST_SET_MEM_TABLE)
HOST_VHOST(VHOST_SET_VRING_NUM)
HOST_VHOST(VHOST_SET_VRING_ADDR)
HOST_VHOST(VHOST_SET_VRING_BASE)
HOST_VHOST(VHOST_GET_VRING_BASE)
HOST_VHOST(VHOST_SET_VRING_KICK)
HOST_VHOST(VHOST_SET_VRING_CALL)
HOST_VHOST(VHOST_SET_VRING_ERR)
HOST_VHOST(VHOST_NET_SET_BACKEND)
HOST_VHOST(VHOST_VSOCK_SET_GUEST_CID)
HOST_VHOST(VHOST_VSOCK_SET_RUNNING)
#undef HOST_VHOST

/// Sets the memory table; -1 and errno also for more regions than any kernel takes.
static inline int host_vhost_set_memory(int fd, const struct vhost_memory_region *regions, uint32_t count) {
    enum { MOST = 64 };
    union {
        struct vhost_memory table;
        char room[sizeof(struct vhost_memory) + MOST * sizeof(struct vhost_memory_region)];
    } memory;
    if (count > MOST) {
        errno = EINVAL;
        return -1;
    }
    memset(&memory, 0, sizeof memory);
    memory.table.nregions = count;
    memcpy(memory.room + sizeof(struct vhost_memory), regions, count * sizeof *regions);
    return ioctl(fd, VHOST_SET_MEM_TABLE, &memory);
}

#endif
