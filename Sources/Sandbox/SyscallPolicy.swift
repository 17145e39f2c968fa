import CHost
package import Host

/// The role of a thread, which determines its system calls.
package enum ThreadRole: String, CaseIterable, Sendable {
    /// The main reactor: devices without an iothread, QMP, signals and process exit.
    case main
    /// The reactor of devices with `iothread=`.
    case iothread
    /// A vCPU thread.
    case vcpu
}

/// The features of a VM that require additional system calls.
package struct SyscallProfile: OptionSet, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Hot plug of disks and NICs.
    package static let hotPlug = SyscallProfile(rawValue: 1 << 0)
    /// Taps whose frames Apus moves.
    package static let taps = SyscallProfile(rawValue: 1 << 1)
    /// Devices that the kernel serves.
    package static let vhost = SyscallProfile(rawValue: 1 << 2)
    /// Connections to Unix sockets of other programs while the guest runs.
    package static let connections = SyscallProfile(rawValue: 1 << 3)
    /// Iothreads.
    package static let iothreads = SyscallProfile(rawValue: 1 << 4)
    /// Spare threads, which get their names when `object-add` makes them iothreads.
    package static let spareIOThreads = SyscallProfile(rawValue: 1 << 5)

    /// The profile with everything that hot plug may add.
    var complete: SyscallProfile { contains(.hotPlug) ? union([.taps, .vhost]) : self }
}

/// The system calls that a thread of each role makes after its start, with the arguments that matter for security. Any
/// other call ends the process.
///
/// No role can start a thread, execute a program or map executable memory. Only hot plug of disks and NICs opens files.
/// Reactors read and write files and sockets through their rings, which have restrictions of their own. The exception is
/// socket(2), which a filter can limit to Unix stream sockets and a ring cannot.
package enum SyscallPolicy {
    /// The calls of a role under this profile.
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
            // The end of the kick signal's handler.
            allow(SYS_rt_sigreturn),
        ] + everyThread() + threadEnd
    }

    private static func iothread(_ needs: SyscallProfile) -> [AllowedCall] {
        reactor(needs) + threadEnd
            + when(needs, have: [.taps, .vhost], allow(SYS_ioctl, requests(deviceChanges(needs))))
            // A spare thread takes the name of its iothread.
            + when(needs, have: .spareIOThreads, allow(SYS_prctl, oneOf(argument: 0, [PR_SET_NAME])))
    }

    private static func main(_ needs: SyscallProfile) -> [AllowedCall] {
        reactor(needs, alsoWaitingFor: [joining]) + [
            // Kick a vCPU thread: only threads of this process, only with this signal. Join threads.
            allow(SYS_getpid), allow(SYS_rt_sigprocmask), allow(SYS_tgkill, ownProcess, kick),
            // Duplicate the socket of a console's client; lock images while the guest runs.
            allow(SYS_fcntl, command(needs.contains(.hotPlug) ? ownCommands + adoptionCommands : ownCommands)),
            allow(SYS_setsockopt, level(IPPROTO_TCP), option(TCP_NODELAY)),
            // block_resize.
            allow(SYS_ftruncate),
            // Process exit: remove the sockets' files and the pid file, unless replaced; restore the terminal.
            allow(SYS_unlink),
            // The C library reads a terminal's mode before it sets one. At a resume, KVM_KVMCLOCK_CTRL reports the
            // pause to each vCPU's clock.
            allow(SYS_ioctl, requests(mainRequests(needs) + deviceChanges(needs))),
            allow(SYS_exit_group),
        ]
            // Connect a guest to a program of the host, and shut down one direction. A tap's MTU: SIOCGIFMTU works on
            // any socket.
            + when(needs, have: [.connections, .hotPlug], AllowedCall(SYS_socket, unixStream))
            + when(needs, have: .connections, allow(SYS_connect), allow(SYS_shutdown))
            // Open the image of a hot-plugged disk, and choose a NIC's MAC address. If statx does not report the
            // alignment of direct I/O, find it by test reads.
            + when(
                needs, have: .hotPlug, allow(SYS_openat, .without(argument: 2, bits: creation)),
                allow(SYS_statx), allow(SYS_pread64), allow(SYS_getrandom))
    }

    // MARK: Calls of several roles

    /// - Parameter operations: futex operations besides those of locks.
    private static func everyThread(alsoWaitingFor operations: [Int32] = []) -> [AllowedCall] {
        [
            // Wake another thread; write a log line.
            allow(SYS_write),
            // Locks, and waits for a reactor's reply.
            allow(SYS_futex, operation(locking + operations)),
            // A priority-inheritance lock holds its owner's thread id.
            allow(SYS_gettid),
            // The vDSO falls back to this call without a usable clock source.
            allow(SYS_clock_gettime),
            // The heap: one for all threads, never executable.
            allow(SYS_brk), allow(SYS_mmap, .without(argument: 2, bits: UInt32(PROT_EXEC))),
        ]
    }

    /// The exit of a thread, which frees its stack, and of the process.
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
            // Check whether the log is writable.
            allow(SYS_poll),
            allow(SYS_munmap), allow(SYS_close),
            // Read a disk's new size.
            allow(SYS_newfstatat),
        ]
            // Frames of a tap.
            + when(needs, have: .taps, allow(SYS_readv), allow(SYS_writev))
            // Doorbells of a hot-plugged device.
            + when(needs, have: .hotPlug, allow(SYS_eventfd2))
    }

    /// The futex operations of Swift's and the C library's locks, and of Apus's own waits; private to this process.
    private static var locking: [Int32] {
        [FUTEX_WAIT, FUTEX_WAKE, FUTEX_LOCK_PI, FUTEX_UNLOCK_PI].map { $0 | FUTEX_PRIVATE_FLAG }
    }

    /// The futex operation of pthread_join.
    private static var joining: Int32 { FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME }

    private static var ownCommands: [Int32] { [F_DUPFD_CLOEXEC, F_SETLK] }

    /// The commands for a file descriptor that a client passes, or that hot plug opens.
    private static var adoptionCommands: [Int32] { [F_SETFD, F_GETFL, F_SETFL] }

    /// The open flags that create or truncate a file; the last bit is specific to `O_TMPFILE`.
    private static var creation: UInt32 { UInt32(O_CREAT | O_TRUNC) | 0o20_000_000 }

    /// The main thread owns vhost-vsock devices.
    private static func mainRequests(_ needs: SyscallProfile) -> [UInt32] {
        [UInt32(TCGETS), UInt32(TCSETS), UInt32(truncatingIfNeeded: HOST_KVM_KVMCLOCK_CTRL)]
            + (needs.contains(.vhost) ? [UInt32(truncatingIfNeeded: HOST_VHOST_VSOCK_SET_RUNNING)] : [])
            + (needs.contains(.hotPlug) ? hotPlugRequests : [])
    }

    /// The requests that a driver causes: tap offloads and queues, and starting and stopping vhost. `VHOST_SET_OWNER`
    /// is not one of them.
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

    /// The requests that hot plug of a block device or a tap makes.
    private static var hotPlugRequests: [UInt32] {
        [
            HOST_BLKGETSIZE64, HOST_BLKSSZGET, HOST_BLKPBSZGET, HOST_TUNSETIFF, HOST_TUNGETIFF, HOST_TUNSETVNETHDRSZ,
            HOST_SIOCGIFMTU, HOST_VHOST_SET_OWNER, HOST_VHOST_GET_FEATURES,
        ].map { UInt32(truncatingIfNeeded: $0) }
    }
}

// MARK: Helpers of the table

private func allow(_ number: Int32, _ checks: ArgumentCheck...) -> AllowedCall { AllowedCall(number, checks) }

/// These calls, if the profile has any of `wanted`.
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
