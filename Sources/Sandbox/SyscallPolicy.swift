import CHost
package import Host

/// What a thread is for, which decides about the system calls it may make.
package enum ThreadRole: String, CaseIterable, Sendable {
    /// Owns the devices without an iothread, QMP, signals and the process's end.
    case main
    /// Owns the devices that were given to it.
    case iothread
    /// Runs the guest.
    case vcpu
}

/// The system calls that a thread of each role makes after its start, with their arguments where these decide what a
/// call can do. All others end the process.
///
/// No thread is started, no program run and no memory made executable by then, and a file is opened only for a disk that
/// is plugged in: what a reactor does with files and sockets goes through its ring, which has restrictions of its own.
/// The one kind of socket made is a Unix stream, which is why that does not go through the ring: a ring could not tell
/// it from others.
package enum SyscallPolicy {
    /// The role's calls; those that are made most often come first.
    package static func calls(of role: ThreadRole) -> [AllowedCall] {
        switch role {
        case .main: main
        case .iothread: iothread
        case .vcpu: vcpu
        }
    }

    // MARK: The table

    private static var vcpu: [AllowedCall] {
        [
            allow("ioctl", request(UInt32(truncatingIfNeeded: HOST_KVM_RUN))),
            // Waking a reactor; a line on the log.
            allow("write"),
            // Waiting for a reactor's answer; locks.
            allow("futex", operation(locking)),
            // How long to spin, where the C library cannot read the clock by itself.
            allow("clock_gettime"),
            // After a kick.
            allow("rt_sigreturn"),
            // A lock's owner is the number of its thread.
            allow("gettid"),
        ] + heap + [
            // The thread's end gives its stack back; any thread's end.
            allow("rt_sigprocmask"), allow("madvise", advice(MADV_DONTNEED)), allow("exit"), allow("exit_group"),
        ]
    }

    private static var iothread: [AllowedCall] {
        [
            allow("io_uring_enter"),
            allow("write"),
            // Frames of a tap.
            allow("readv"), allow("writev"),
            allow("futex", operation(locking)),
            allow("clock_gettime"),
            allow("gettid"),
            allow("io_uring_register", registration(UInt32(IORING_REGISTER_FILES_UPDATE))),
            // Whether the log takes a line.
            allow("poll"),
            allow("rt_sigreturn"),
        ] + heap + [
            allow("munmap"),
            allow("close"),
            // The doorbells of a device that is plugged in, and a disk's new size.
            allow("eventfd2"), allow("newfstatat"),
            allow("ioctl", requests(vhost + tapChanges)),
            allow("rt_sigprocmask"), allow("madvise", advice(MADV_DONTNEED)), allow("exit"), allow("exit_group"),
        ]
    }

    private static var main: [AllowedCall] {
        [
            allow("io_uring_enter"),
            allow("write"),
            // Frames of a tap.
            allow("readv"), allow("writev"),
            allow("futex", operation(locking + [joining])),
            allow("clock_gettime"),
            allow("gettid"),
            allow("io_uring_register", registration(UInt32(IORING_REGISTER_FILES_UPDATE))),
            allow("poll"),
            allow("rt_sigreturn"),
        ] + heap + [
            allow("munmap"),
            allow("close"),
            // Kicking a vCPU's thread: only a thread of this process, only with this signal.
            allow("getpid"), allow("rt_sigprocmask"), allow("tgkill", ownProcess, kick),
            // A client of the serial port has its socket twice; images are locked when the machine runs.
            allow("fcntl", command(F_DUPFD_CLOEXEC, F_SETLK, F_GETFL, F_SETFL, F_GETFD, F_SETFD)),
            allow("setsockopt", level(IPPROTO_TCP), option(TCP_NODELAY)),
            // A guest's connection to a program of the host, and the end of one of its directions.
            allow("socket", family(AF_UNIX), kind(SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC), ipProtocol(0)),
            allow("connect"), allow("shutdown"),
            // The end: sockets' files and the pidfile go, if they are still the same, and the terminal is as before.
            // Going on after a pause: each guest clock is told.
            allow("newfstatat"), allow("unlink"),
            // The image and the doorbells of a disk that is plugged in, one that grows, and the address of a card.
            allow("ftruncate"), allow("getrandom"),
            allow("openat", .without(argument: 2, bits: UInt32(O_CREAT | O_TRUNC))), allow("statx"), allow("eventfd2"),
            // The C library asks for a terminal's mode when it sets one.
            allow(
                "ioctl",
                requests(
                    vhost + tapChanges + [
                        UInt32(TCGETS), UInt32(TCSETS), UInt32(truncatingIfNeeded: HOST_KVM_KVMCLOCK_CTRL),
                    ] + plugging)),
            allow("exit_group"),
        ]
    }

    // MARK: What several roles have

    /// What locks of Swift and of the C library, and our own waiting, do with a word of this process.
    private static var locking: [Int32] {
        [FUTEX_WAIT, FUTEX_WAKE, FUTEX_LOCK_PI, FUTEX_UNLOCK_PI].map { $0 | FUTEX_PRIVATE_FLAG }
    }

    /// A driver chooses which frames of a tap it takes, and how many of its queues.
    private static var tapChanges: [UInt32] {
        [HOST_TUNSETOFFLOAD, HOST_TUNSETQUEUE].map { UInt32(truncatingIfNeeded: $0) }
    }

    /// A host's disk, or a tap, that is plugged in.
    private static var plugging: [UInt32] {
        [
            HOST_BLKGETSIZE64, HOST_BLKSSZGET, HOST_BLKPBSZGET, HOST_TUNSETIFF, HOST_TUNGETIFF, HOST_TUNSETVNETHDRSZ,
            HOST_SIOCGIFMTU, HOST_VHOST_SET_OWNER, HOST_VHOST_GET_FEATURES,
        ].map { UInt32(truncatingIfNeeded: $0) }
    }

    /// How the C library waits for a thread's end.
    private static var joining: Int32 { FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME }

    /// What starts and stops the kernel's work for a device when its driver does; whose device it is was settled before.
    private static var vhost: [UInt32] {
        [
            HOST_VHOST_SET_FEATURES, HOST_VHOST_SET_MEM_TABLE, HOST_VHOST_SET_VRING_NUM, HOST_VHOST_SET_VRING_ADDR,
            HOST_VHOST_SET_VRING_BASE, HOST_VHOST_GET_VRING_BASE, HOST_VHOST_SET_VRING_KICK, HOST_VHOST_SET_VRING_CALL,
            HOST_VHOST_SET_VRING_ERR,
            HOST_VHOST_NET_SET_BACKEND, HOST_VHOST_VSOCK_SET_RUNNING,
        ].map { UInt32(truncatingIfNeeded: $0) }
    }

    /// There is one heap, and no memory of it may be run as code.
    private static var heap: [AllowedCall] {
        [allow("brk"), allow("mmap", .without(argument: 2, bits: UInt32(PROT_EXEC)))]
    }
}

// MARK: The table's words

private func allow(_ name: String, _ checks: ArgumentCheck...) -> AllowedCall { AllowedCall(name, checks) }

private func request(_ number: UInt32) -> ArgumentCheck { .oneOf(argument: 1, [number]) }

private func requests(_ numbers: [UInt32]) -> ArgumentCheck { .oneOf(argument: 1, numbers) }

private func registration(_ number: UInt32) -> ArgumentCheck { .oneOf(argument: 1, [number]) }

private func operation(_ numbers: [Int32]) -> ArgumentCheck { oneOf(argument: 1, numbers) }

private func command(_ numbers: Int32...) -> ArgumentCheck { oneOf(argument: 1, numbers) }

private func level(_ number: Int) -> ArgumentCheck { .oneOf(argument: 1, [UInt32(number)]) }

private func option(_ number: Int32) -> ArgumentCheck { oneOf(argument: 2, [number]) }

private func family(_ number: Int32) -> ArgumentCheck { oneOf(argument: 0, [number]) }

private func kind(_ parts: __socket_type...) -> ArgumentCheck {
    .oneOf(argument: 1, [parts.reduce(0) { $0 | $1.rawValue }])
}

private func ipProtocol(_ number: UInt32) -> ArgumentCheck { .oneOf(argument: 2, [number]) }

private func advice(_ number: Int32) -> ArgumentCheck { oneOf(argument: 2, [number]) }

private var ownProcess: ArgumentCheck { oneOf(argument: 0, [Process.id]) }

private var kick: ArgumentCheck { oneOf(argument: 2, [Signals.kick]) }

private func oneOf(argument: UInt32, _ numbers: [Int32]) -> ArgumentCheck {
    .oneOf(argument: argument, numbers.map { UInt32(bitPattern: $0) })
}
