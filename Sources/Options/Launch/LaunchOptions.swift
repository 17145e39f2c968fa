/// What a command line asks for.
package enum Invocation: Equatable, Sendable {
    /// Print this text on standard output and exit with status 0.
    case help(String)
    /// Print this text on standard output and exit with status 0.
    case version(String)
    /// Start this machine.
    case launch(LaunchOptions)
}

/// The whole configuration of a machine, checked as far as it can be without touching the host.
package struct LaunchOptions: Equatable, Sendable {
    /// Where the log goes.
    package enum Log: Equatable, Sendable {
        case standardError
        case file(path: String)
    }

    /// What the board has at most; this configuration keeps to it.
    package let limits: Limits
    /// `-name`, 1 to 255 characters.
    package let name: String?
    /// `-uuid` in lower case, 8-4-4-4-12 hexadecimal digits.
    package let uuid: String?
    package let machine: MachineSpec
    package let accelerator: AcceleratorSpec
    package let topology: CPUTopology
    package let memory: MemorySpec
    /// The path of the kernel.
    package let kernel: String
    /// The words of every `-append`, joined by spaces.
    package let kernelArguments: String
    /// The path of the initial RAM disk.
    package let initrd: String?
    /// `-S`: whether the vCPUs wait for QMP's `cont`.
    package let startsPaused: Bool
    /// In the order of the command line, as all lists here.
    package let drives: [DriveSpec]
    package let netdevs: [NetdevSpec]
    package let chardevs: [ChardevSpec]
    package let objects: [ObjectSpec]
    package let devices: [DeviceSpec]
    /// Nil if there is no serial port.
    package let serial: SerialSpec?
    /// `-qmp`. There is at least one of this and `monitor`.
    package let qmp: QMPSpec?
    /// `-mon`. Its chardev, one of `chardevs`, serves nothing else.
    package let monitor: MonitorSpec?
    package let log: Log
    package let isDaemon: Bool
    /// Where to write the process id; there is none unless `isDaemon`.
    package let pidfile: String?
    /// Whether system calls are filtered.
    package let usesSeccomp: Bool
    package let sandbox: SandboxSpec
}

extension LaunchOptions {
    /// Where to listen for QMP clients: `-qmp`, then `-mon`; at least one.
    package var monitors: [QMPSpec] {
        var monitors = [qmp].compactMap(\.self)
        if let monitor, case .socket(let socket)? = chardev(monitor.chardev)?.backend {
            monitors.append(QMPSpec(endpoint: socket.endpoint))
        }
        return monitors
    }

    /// What the guest's memory is made of: the object that `-machine memory-backend=` names, or else what `-m` and the
    /// options beside it describe.
    package var memoryBackend: MemoryBackendSpec {
        if case .memory(let backend)? = machine.memoryBackend.flatMap(object) { return backend }
        return MemoryBackendSpec(memory, machine)
    }

    /// The iothreads.
    package var iothreads: [IOThreadSpec] {
        objects.compactMap { if case .ioThread(let spec) = $0 { spec } else { nil } }
    }

    /// The objects other than iothreads, which do not come and go.
    package var otherObjects: [ObjectSpec] {
        objects.filter { if case .ioThread = $0 { false } else { true } }
    }

    /// How many threads are kept for iothreads that come later: none where threads can be started at any time. Who
    /// only gets hot plug because of the guest is a client that knows no `object-add`.
    package var spareIOThreads: Int {
        guard usesSeccomp else { return 0 }
        return machine.spareIOThreads ?? (machine.hotPlug == true ? min(1, limits.iothreads - iothreads.count) : 0)
    }

    /// The drive of this id.
    package func drive(_ id: String) -> DriveSpec? { drives.first { $0.id == id } }

    /// The netdev of this id.
    package func netdev(_ id: String) -> NetdevSpec? { netdevs.first { $0.id == id } }

    /// The chardev of this id.
    package func chardev(_ id: String) -> ChardevSpec? { chardevs.first { $0.id == id } }

    /// The object of this id.
    package func object(_ id: String) -> ObjectSpec? { objects.first { $0.id == id } }
}
