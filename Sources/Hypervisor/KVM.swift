import CHost
package import Host

/// A failure of the hypervisor, with the step that failed.
package struct HypervisorError: Error, CustomStringConvertible {
    package let step: String
    package let cause: Errno
    /// What the user can do about it, if anything is known.
    package let advice: String

    init(_ step: String, _ cause: Errno, advice: String = "") {
        self.step = step
        self.cause = cause
        self.advice = advice
    }

    package var description: String { "\(step): \(cause)" + (advice.isEmpty ? "" : "; \(advice)") }
}

/// The kernel's virtualization interface, `/dev/kvm`.
package struct KVM: ~Copyable {
    private let device: FileDescriptor

    /// Opens the interface and checks that it has what a machine needs.
    package init(path: String = "/dev/kvm") throws(HypervisorError) {
        let opened = try Self.open(path)
        let version = host_ioctl(opened.rawValue, HOST_KVM_GET_API_VERSION, 0)
        var missing: [String] = []
        for (capability, name) in Self.needed where !Self.has(capability, opened) { missing.append(name) }
        if version != KVM_API_VERSION { missing.append("version \(KVM_API_VERSION) of the interface") }
        guard missing.isEmpty else {
            throw HypervisorError("\(path) lacks \(missing.joined(separator: ", "))", .notSupported)
        }
        device = opened
    }

    private static func open(_ path: String) throws(HypervisorError) -> FileDescriptor {
        do {
            return try FileDescriptor.open(path, .readWrite)
        } catch {
            throw HypervisorError(
                "cannot open \(path)", error,
                advice: error == .noEntry
                    ? "load the kernel's kvm module" : "the user needs read and write permission")
        }
    }

    private static func has(_ capability: Int32, _ device: borrowing FileDescriptor) -> Bool {
        host_ioctl(device.rawValue, HOST_KVM_CHECK_EXTENSION, UInt(capability)) > 0
    }

    private static let needed: [(Int32, String)] = [
        (KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"), (KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"),
        (KVM_CAP_IRQFD, "KVM_CAP_IRQFD"), (KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"),
        (KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"),
    ]

    /// What the interface answers for a capability; 0 if it does not have it.
    func extent(of capability: Int32) -> Int32 {
        max(0, host_ioctl(device.rawValue, HOST_KVM_CHECK_EXTENSION, UInt(capability)))
    }

    func has(_ capability: Int32) -> Bool { extent(of: capability) > 0 }

    /// The most vCPUs one machine can have.
    package var maximumVCPUs: Int {
        let limit = extent(of: KVM_CAP_MAX_VCPUS)
        return Int(limit > 0 ? limit : max(4, extent(of: KVM_CAP_NR_VCPUS)))
    }

    /// Length in bytes of the area each vCPU shares with the kernel.
    func runAreaSize() throws(HypervisorError) -> Int {
        let size = host_ioctl(device.rawValue, HOST_KVM_GET_VCPU_MMAP_SIZE, 0)
        guard size >= MemoryLayout<kvm_run>.size else {
            throw HypervisorError("KVM_GET_VCPU_MMAP_SIZE", .current)
        }
        return Int(size)
    }

    func createMachine() throws(HypervisorError) -> FileDescriptor {
        do {
            let device = device.rawValue
            return FileDescriptor(owning: try checked { host_ioctl(device, HOST_KVM_CREATE_VM, 0) })
        } catch {
            throw HypervisorError("KVM_CREATE_VM", error)
        }
    }

    /// The descriptor, for requests of the architecture's own.
    var rawValue: Int32 { device.rawValue }
}
