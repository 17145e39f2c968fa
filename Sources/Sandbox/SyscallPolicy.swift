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

/// What a machine has that makes its threads need more than the usual system calls.
package struct SyscallProfile: OptionSet, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Disks and network cards that may be plugged in while it runs.
    package static let hotPlug = SyscallProfile(rawValue: 1 << 0)
    /// Taps whose frames it moves itself.
    package static let taps = SyscallProfile(rawValue: 1 << 1)
    /// Devices that the kernel serves.
    package static let vhost = SyscallProfile(rawValue: 1 << 2)
    /// Unix sockets of other programs, which it connects to while it runs.
    package static let connections = SyscallProfile(rawValue: 1 << 3)
    /// Threads for devices.
    package static let iothreads = SyscallProfile(rawValue: 1 << 4)
    /// Threads for devices that get their names later.
    package static let spareIOThreads = SyscallProfile(rawValue: 1 << 5)

    /// These, and what may come of them later.
    var complete: SyscallProfile { contains(.hotPlug) ? union([.taps, .vhost]) : self }
}

/// The system calls that a thread of each role makes after its start, with their arguments where these decide what a
/// call can do. All others end the process.
///
/// No thread is started, no program run and no memory made executable by then, and a file is opened only for a disk or
/// a network card that is plugged in: what a reactor does with files and sockets goes through its ring, which has
/// restrictions of its own. The one kind of socket made is a Unix stream, which is why that does not go through the
/// ring: a ring could not tell it from others.
package enum SyscallPolicy {
    /// The role's calls in a machine that has these needs.
    package static func calls(of role: ThreadRole, in needs: SyscallProfile) -> [AllowedCall] {
        switch role {
        case .main: main(needs.complete)
        case .iothread: iothread(needs.complete)
        case .vcpu: vcpu
        }
    }

    // MARK: The table

    private static var vcpu: [AllowedCall] {
        [
            allow(SYS_ioctl, requests([UInt32(truncatingIfNeeded: HOST_KVM_RUN)])),
            // After a kick.
            allow(SYS_rt_sigreturn),
        ] + everyThread() + threadEnd
    }

    private static func iothread(_ needs: SyscallProfile) -> [AllowedCall] {
        reactor(needs) + threadEnd
            + when(needs, have: [.taps, .vhost], allow(SYS_ioctl, requests(deviceChanges(needs))))
            // It takes the name of the iothread that it becomes.
            + when(needs, have: .spareIOThreads, allow(SYS_prctl, oneOf(argument: 0, [PR_SET_NAME])))
    }

    private static func main(_ needs: SyscallProfile) -> [AllowedCall] {
        reactor(needs, alsoWaitingFor: [joining]) + [
            // Kicking a vCPU's thread: only a thread of this process, only with this signal. Waiting for the threads.
            allow(SYS_getpid), allow(SYS_rt_sigprocmask), allow(SYS_tgkill, ownProcess, kick),
            // A client of the serial port has its socket twice; images are locked when the machine runs.
            allow(SYS_fcntl, command(needs.contains(.hotPlug) ? ownCommands + adoption : ownCommands)),
            allow(SYS_setsockopt, level(IPPROTO_TCP), option(TCP_NODELAY)),
            // A disk that grows.
            allow(SYS_ftruncate),
            // The end: sockets' files and the pidfile go, if they are still the same, and the terminal is as before.
            allow(SYS_unlink),
            // The C library asks for a terminal's mode when it sets one. Going on after a pause: each guest clock is
            // told.
            allow(SYS_ioctl, requests(mainRequests(needs) + deviceChanges(needs))),
            allow(SYS_exit_group),
        ]
            // A guest's connection to a program of the host, and the end of one of its directions. The kernel tells a
            // tap's MTU by any socket.
            + when(needs, have: [.connections, .hotPlug], AllowedCall(SYS_socket, unixStream))
            + when(needs, have: .connections, allow(SYS_connect), allow(SYS_shutdown))
            // The image and the doorbells of a disk that is plugged in, and the address of a card. How direct transfers
            // must be aligned is found out by reading where the file system does not tell.
            + when(
                needs, have: .hotPlug, allow(SYS_openat, .without(argument: 2, bits: creation)),
                allow(SYS_statx), allow(SYS_pread64), allow(SYS_getrandom))
    }

    // MARK: What several roles have

    /// - Parameter operations: what it waits for beside locks.
    private static func everyThread(alsoWaitingFor operations: [Int32] = []) -> [AllowedCall] {
        [
            // Waking another thread; a line on the log.
            allow(SYS_write),
            // Locks, and waiting for an answer.
            allow(SYS_futex, operation(locking + operations)),
            // A lock's owner is the number of its thread.
            allow(SYS_gettid),
            // Where the C library cannot read the clock by itself.
            allow(SYS_clock_gettime),
            // There is one heap, and no memory of it may be run as code.
            allow(SYS_brk), allow(SYS_mmap, .without(argument: 2, bits: UInt32(PROT_EXEC))),
        ]
    }

    /// The thread's end gives its stack back; any thread's end.
    private static var threadEnd: [AllowedCall] {
        [
            allow(SYS_rt_sigprocmask), allow(SYS_madvise, advice(MADV_DONTNEED)), allow(SYS_exit),
            allow(SYS_exit_group),
        ]
    }

    private static func reactor(_ needs: SyscallProfile, alsoWaitingFor operations: [Int32] = []) -> [AllowedCall] {
        everyThread(alsoWaitingFor: operations) + [
            allow(SYS_io_uring_enter),
            allow(SYS_io_uring_register, registration(UInt32(IORING_REGISTER_FILES_UPDATE))),
            // Whether the log takes a line.
            allow(SYS_poll),
            allow(SYS_munmap), allow(SYS_close),
            // A disk's new size.
            allow(SYS_newfstatat),
        ]
            // Frames of a tap.
            + when(needs, have: .taps, allow(SYS_readv), allow(SYS_writev))
            // The doorbells of a device that is plugged in.
            + when(needs, have: .hotPlug, allow(SYS_eventfd2))
    }

    /// What locks of Swift and of the C library, and our own waiting, do with a word of this process.
    private static var locking: [Int32] {
        [FUTEX_WAIT, FUTEX_WAKE, FUTEX_LOCK_PI, FUTEX_UNLOCK_PI].map { $0 | FUTEX_PRIVATE_FLAG }
    }

    /// How the C library waits for a thread's end.
    private static var joining: Int32 { FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME }

    private static var ownCommands: [Int32] { [F_DUPFD_CLOEXEC, F_SETLK] }

    /// A descriptor that a client hands over, or a file that is opened, becomes a device's.
    private static var adoption: [Int32] { [F_SETFD, F_GETFL, F_SETFL] }

    /// How a file is opened that is made, or cut off; the last is what only `O_TMPFILE` has.
    private static var creation: UInt32 { UInt32(O_CREAT | O_TRUNC) | 0o20_000_000 }

    /// Sockets that the kernel serves live on the main thread.
    private static func mainRequests(_ needs: SyscallProfile) -> [UInt32] {
        [UInt32(TCGETS), UInt32(TCSETS), UInt32(truncatingIfNeeded: HOST_KVM_KVMCLOCK_CTRL)]
            + (needs.contains(.vhost) ? [UInt32(truncatingIfNeeded: HOST_VHOST_VSOCK_SET_RUNNING)] : [])
            + (needs.contains(.hotPlug) ? plugging : [])
    }

    /// A driver chooses which frames of a tap it takes, and how many of its queues; it starts and stops the kernel's
    /// work for a device, and whose device that is was settled before.
    private static func deviceChanges(_ needs: SyscallProfile) -> [UInt32] {
        let taps = [HOST_TUNSETOFFLOAD, HOST_TUNSETQUEUE]
        let vhost = [
            HOST_VHOST_SET_FEATURES, HOST_VHOST_SET_MEM_TABLE, HOST_VHOST_SET_VRING_NUM, HOST_VHOST_SET_VRING_ADDR,
            HOST_VHOST_SET_VRING_BASE, HOST_VHOST_GET_VRING_BASE, HOST_VHOST_SET_VRING_KICK, HOST_VHOST_SET_VRING_CALL,
            HOST_VHOST_SET_VRING_ERR, HOST_VHOST_NET_SET_BACKEND,
        ]
        return ((needs.contains(.taps) ? taps : []) + (needs.contains(.vhost) ? vhost : [])).map {
            UInt32(truncatingIfNeeded: $0)
        }
    }

    /// A host's disk, or a tap, that is plugged in.
    private static var plugging: [UInt32] {
        [
            HOST_BLKGETSIZE64, HOST_BLKSSZGET, HOST_BLKPBSZGET, HOST_TUNSETIFF, HOST_TUNGETIFF, HOST_TUNSETVNETHDRSZ,
            HOST_SIOCGIFMTU, HOST_VHOST_SET_OWNER, HOST_VHOST_GET_FEATURES,
        ].map { UInt32(truncatingIfNeeded: $0) }
    }
}

// MARK: The table's words

private func allow(_ number: Int32, _ checks: ArgumentCheck...) -> AllowedCall { AllowedCall(number, checks) }

/// These calls, if the machine needs any of `wanted`.
private func when(_ needs: SyscallProfile, have wanted: SyscallProfile, _ calls: AllowedCall...) -> [AllowedCall] {
    needs.isDisjoint(with: wanted) ? [] : calls
}

private func requests(_ numbers: [UInt32]) -> ArgumentCheck { .oneOf(argument: 1, numbers) }

private func registration(_ number: UInt32) -> ArgumentCheck { .oneOf(argument: 1, [number]) }

private func operation(_ numbers: [Int32]) -> ArgumentCheck { oneOf(argument: 1, numbers) }

private func command(_ numbers: [Int32]) -> ArgumentCheck { oneOf(argument: 1, numbers) }

private func level(_ number: Int) -> ArgumentCheck { .oneOf(argument: 1, [UInt32(number)]) }

private func option(_ number: Int32) -> ArgumentCheck { oneOf(argument: 2, [number]) }

private var unixStream: [ArgumentCheck] {
    let kind = [SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC].reduce(0) { $0 | $1.rawValue }
    return [oneOf(argument: 0, [AF_UNIX]), .oneOf(argument: 1, [kind]), .oneOf(argument: 2, [0])]
}

private func advice(_ number: Int32) -> ArgumentCheck { oneOf(argument: 2, [number]) }

private var ownProcess: ArgumentCheck { oneOf(argument: 0, [HostProcess.id]) }

private var kick: ArgumentCheck { oneOf(argument: 2, [Signals.kick]) }

private func oneOf(argument: UInt32, _ numbers: [Int32]) -> ArgumentCheck {
    .oneOf(argument: argument, numbers.map { UInt32(bitPattern: $0) })
}
