/// What shuts a process in: Landlock, capabilities, namespaces and roots; calls that libc has no wrappers for, and
/// constants that are younger than some systems' headers.
#ifndef CHOST_CONFINEMENT_SHIMS_H
#define CHOST_CONFINEMENT_SHIMS_H

/// `struct landlock_ruleset_attr`, of which an older kernel is given the beginning.
struct host_landlock_ruleset {
    uint64_t files;
    uint64_t network;
    uint64_t scopes;
};

/// The version of Landlock's interface that the kernel has; a failure is in errno.
static inline int host_landlock_version(void) {
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}
static inline int host_landlock_create(const struct host_landlock_ruleset *rules, size_t size) {
    return (int)syscall(SYS_landlock_create_ruleset, rules, size, 0);
}
static inline int host_landlock_allow(int ruleset, int file, uint64_t rights) {
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = file};
    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}
static inline int host_landlock_enforce(int ruleset) {
    return (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

static const int HOST_O_PATH = 010000000;
static const int HOST_AT_EMPTY_PATH = 0x1000;

/// Opens a path that has no symbolic links, not even on the way.
static inline int host_open_plain(int folder, const char *path, uint64_t flags) {
    struct open_how how = {.flags = flags, .resolve = RESOLVE_NO_SYMLINKS};
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

/// The calling thread's capabilities that it may use, now or later.
static inline int host_capabilities(uint64_t *permitted) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) == -1) {
        return -1;
    }
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return 0;
}
static inline int host_set_capabilities(uint64_t effective, uint64_t permitted) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)effective, .permitted = (uint32_t)permitted},
        {.effective = (uint32_t)(effective >> 32), .permitted = (uint32_t)(permitted >> 32)},
    };
    return (int)syscall(SYS_capset, &header, data);
}

static const int HOST_NEW_MOUNTS = 0x00020000;
static const int HOST_NEW_PROCESSES = 0x20000000;
static const int HOST_NEW_NETWORK = 0x40000000;

static inline int host_unshare(int what) { return (int)syscall(SYS_unshare, what); }
static inline int host_join_namespace(int file, int kind) { return (int)syscall(SYS_setns, file, kind); }

// Of linux/mount.h, which does not go with libc's own header of that name.
enum {
    HOST_MS_REC = 1 << 14,
    HOST_MS_PRIVATE = 1 << 18,
    HOST_AT_RECURSIVE = 0x8000,
    HOST_OPEN_TREE_CLONE = 1,
    HOST_MOVE_MOUNT_BOTH_EMPTY = 0x44,
    HOST_MNT_DETACH = 2,
};

/// Keeps changes of the mounts from reaching other namespaces.
static inline int host_make_mounts_private(void) {
    return (int)syscall(SYS_mount, NULL, "/", NULL, HOST_MS_REC | HOST_MS_PRIVATE, NULL);
}
/// A copy of the mounts below an open folder, with the folder as their root.
static inline int host_copy_tree(int folder) {
    int flags = HOST_OPEN_TREE_CLONE | O_CLOEXEC | HOST_AT_RECURSIVE | HOST_AT_EMPTY_PATH;
    return (int)syscall(SYS_open_tree, folder, "", flags);
}
/// Mounts such a copy on an open folder.
static inline int host_attach_tree(int tree, int folder) {
    return (int)syscall(SYS_move_mount, tree, "", folder, "", HOST_MOVE_MOUNT_BOTH_EMPTY);
}
/// Makes the working folder, a mount, the root, and lets the old root go.
static inline int host_change_root(void) {
    if (syscall(SYS_pivot_root, ".", ".") == -1) {
        return -1;
    }
    return (int)syscall(SYS_umount2, ".", HOST_MNT_DETACH);
}

static inline int host_make_device(int folder, const char *name, uint64_t device) {
    return mknodat(folder, name, S_IFCHR | 0600, device);
}

/// Gives up all groups but one, then the user; each for good.
static inline int host_become(uint32_t user, uint32_t group) {
    if (syscall(SYS_setgroups, 0, NULL) == -1 || syscall(SYS_setresgid, group, group, group) == -1) {
        return -1;
    }
    return (int)syscall(SYS_setresuid, user, user, user);
}

/// Waits for one of the signals; tells whether a process sent it, and not a terminal or the kernel.
static inline int host_await_signal(const sigset_t *signals, int *is_sent) {
    siginfo_t information;
    int number = sigwaitinfo(signals, &information);
    *is_sent = number > 0 && information.si_code <= 0;
    return number;
}

static inline int host_close_range(unsigned first, unsigned last) {
    return (int)syscall(SYS_close_range, first, last, 0);
}
static inline int host_wifsignaled(int status) { return WIFSIGNALED(status); }
static inline int host_wtermsig(int status) { return WTERMSIG(status); }

#endif
