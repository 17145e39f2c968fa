import CHost
package import Host

/// Why a vCPU left the guest.
package enum VCPUExit: Equatable, Sendable {
    /// The guest accesses ports, `count` times in a row (`rep outsb` and its like).
    case ports(isWrite: Bool, port: UInt16, size: UInt8, count: UInt32)
    /// The guest accesses memory that is not RAM.
    case memory(isWrite: Bool, address: UInt64, size: UInt8)
    /// A signal, or a kick.
    case interrupted
    case halted
    /// A triple fault.
    case shutdown
    /// The guest asks the hypervisor for an end of the machine, or reports one.
    case systemEvent(SystemEvent)
    case failedEntry(reason: UInt64)
    case internalError(suberror: UInt32)
    /// `KVM_RUN` itself failed.
    case failed(Errno)
    case unknown(reason: UInt32)
}

/// What a guest tells the hypervisor of the whole machine (`KVM_SYSTEM_EVENT_*`).
package enum SystemEvent: Equatable, Sendable {
    case shutdown
    case reset
    case crash
    case other(UInt32)

    init(_ type: UInt32) {
        self =
            switch Int32(truncatingIfNeeded: type) {
            case KVM_SYSTEM_EVENT_SHUTDOWN: .shutdown
            case KVM_SYSTEM_EVENT_RESET: .reset
            case KVM_SYSTEM_EVENT_CRASH: .crash
            default: .other(type)
            }
    }
}

/// One virtual processor. After its thread has started, only that thread runs it.
@safe
package final class VCPU: @unchecked Sendable {
    package let index: Int
    /// The identifier by which KVM and the guest's interrupt controllers know it; on x86, its local APIC's.
    package let id: UInt32
    private let descriptor: FileDescriptor
    private let area: MappedRegion
    private let run: UnsafeMutablePointer<kvm_run>

    /// Creates the vCPU with this index in a machine, before any interrupt line of the machine is connected.
    package init(_ machine: VirtualMachine, index: Int, id: UInt32) throws(HypervisorError) {
        self.index = index
        self.id = id
        descriptor = try machine.createVCPU(id)
        do {
            area = try MappedRegion(file: descriptor, count: machine.runAreaSize, shared: true)
        } catch {
            throw HypervisorError("mapping the run area of vCPU \(index)", error)
        }
        unsafe run = unsafe area.all.pointer.assumingMemoryBound(to: kvm_run.self)
    }

    /// Makes a request of the vCPU, and answers what the kernel does.
    @unsafe
    @discardableResult
    func request(
        _ name: String, _ number: UInt, _ argument: UnsafeMutableRawPointer?
    ) throws(HypervisorError) -> Int32 {
        do {
            let descriptor = descriptor.rawValue
            return try checked { unsafe host_ioctl_pointer(descriptor, number, argument) }
        } catch {
            throw HypervisorError("\(name) of vCPU \(index)", error)
        }
    }

    /// Makes a request whose argument is a buffer, which lives until it has been made.
    @discardableResult
    func request(_ name: String, _ number: UInt, _ buffer: IOBuffer) throws(HypervisorError) -> Int32 {
        defer { withExtendedLifetime(buffer) {} }
        return try unsafe request(name, number, buffer.all.pointer)
    }

    /// The descriptor, for requests of the architecture's own.
    var rawValue: Int32 { descriptor.rawValue }

    /// Tells the guest's clock that the vCPU stood still on purpose, so that its watchdogs do not bark. Only while it
    /// is not in the guest; a guest without that clock does not mind.
    func announcePause() {
        _ = host_ioctl(descriptor.rawValue, HOST_KVM_KVMCLOCK_CTRL, 0)
    }

    /// Runs the guest until it needs something.
    package func enter() -> VCPUExit {
        guard host_ioctl(descriptor.rawValue, HOST_KVM_RUN, 0) >= 0 else {
            let failure = Errno.current
            if failure == .interrupted || failure == .again {
                unsafe run.pointee.immediate_exit = 0
                // The caller looks for orders next: a kick that comes with one must not be undone after that look.
                host_fence()
                return .interrupted
            }
            return .failed(failure)
        }
        switch Int32(truncatingIfNeeded: unsafe run.pointee.exit_reason) {
        case KVM_EXIT_IO:
            let io = unsafe run.pointee.io
            return .ports(
                isWrite: io.direction == UInt8(KVM_EXIT_IO_OUT), port: io.port, size: io.size, count: io.count)
        case KVM_EXIT_MMIO:
            let mmio = unsafe run.pointee.mmio
            return .memory(
                isWrite: mmio.is_write != 0, address: mmio.phys_addr, size: UInt8(truncatingIfNeeded: mmio.len))
        case KVM_EXIT_INTR: return .interrupted
        case KVM_EXIT_HLT: return .halted
        case KVM_EXIT_SHUTDOWN: return .shutdown
        case KVM_EXIT_SYSTEM_EVENT: return unsafe .systemEvent(SystemEvent(run.pointee.system_event.type))
        case KVM_EXIT_FAIL_ENTRY:
            return unsafe .failedEntry(reason: run.pointee.fail_entry.hardware_entry_failure_reason)
        case KVM_EXIT_INTERNAL_ERROR: return unsafe .internalError(suberror: run.pointee.internal.suberror)
        default: return unsafe .unknown(reason: run.pointee.exit_reason)
        }
    }

    /// The bytes of the element `index` of a port access; nil if the kernel's description does not fit its area.
    package func portData(_ index: UInt32, size: UInt8) -> HostSlice? {
        let offset = unsafe run.pointee.io.data_offset
        guard let start = Int(exactly: offset) else { return nil }
        let (skip, overflow) = Int(index).multipliedReportingOverflow(by: Int(size))
        guard !overflow else { return nil }
        return area.all.dropFirst(start).slice(at: skip, count: Int(size))
    }

    /// The bytes of a memory access.
    package var memoryData: HostSlice {
        unsafe HostSlice(base: UnsafeMutableRawPointer(run) + Self.memoryDataOffset, count: 8)
    }

    // `mmio` begins where the union of exits does; its data follow the address.
    private static let memoryDataOffset = (MemoryLayout<kvm_run>.offset(of: \.mmio) ?? 32) + 8

    /// Makes the next, or the present, stay in the guest end at once. Called by any thread, before a kick.
    package func requestExit() {
        // The thread that sees this request must see the order that it is for.
        host_fence()
        unsafe run.pointee.immediate_exit = 1
    }
}
