package import Bus
import CHost
import Host
package import Memory

/// One virtual machine of KVM: its memory slots, its in-kernel interrupt controllers, its doorbells.
package final class VirtualMachine {
    private let descriptor: FileDescriptor
    let runAreaSize: Int
    /// What every vCPU shows the guest, before its own topology is put in.
    let cpuid: CPUID
    private let memory: GuestMemory

    /// Creates a machine over `memory`, with interrupt controllers and a timer in the kernel, where `layout` puts them.
    package init(_ kvm: borrowing KVM, memory: GuestMemory, layout: BoardLayout) throws(HypervisorError) {
        descriptor = try kvm.createMachine()
        runAreaSize = try kvm.runAreaSize()
        cpuid = try CPUID(kvm)
        self.memory = memory
        for (slot, region) in memory.regions.enumerated() {
            try map(region, slot: UInt32(slot))
        }
        try createInterruptControllers(layout.memory)
    }

    private func map(_ region: GuestMemory.Region, slot: UInt32) throws(HypervisorError) {
        var entry = kvm_userspace_memory_region()
        entry.slot = slot
        entry.guest_phys_addr = region.start.rawValue
        entry.memory_size = UInt64(region.memory.count)
        unsafe entry.userspace_addr = UInt64(UInt(bitPattern: region.memory.pointer))
        try unsafe request("KVM_SET_USER_MEMORY_REGION", HOST_KVM_SET_USER_MEMORY_REGION, &entry)
    }

    /// Makes a request of the machine.
    @unsafe
    func request(
        _ name: String, _ number: UInt, _ argument: UnsafeMutableRawPointer?
    ) throws(HypervisorError) {
        do {
            let descriptor = descriptor.rawValue
            _ = try checked { unsafe host_ioctl_pointer(descriptor, number, argument) }
        } catch {
            throw HypervisorError(name, error)
        }
    }

    /// Makes a request whose argument is a number.
    func request(_ name: String, _ number: UInt, _ argument: UInt) throws(HypervisorError) {
        do {
            let descriptor = descriptor.rawValue
            _ = try checked { host_ioctl(descriptor, number, argument) }
        } catch {
            throw HypervisorError(name, error)
        }
    }

    /// Creates a vCPU, which KVM knows by this identifier.
    func createVCPU(_ id: UInt32) throws(HypervisorError) -> FileDescriptor {
        do {
            let descriptor = descriptor.rawValue
            return FileDescriptor(owning: try checked { host_ioctl(descriptor, HOST_KVM_CREATE_VCPU, UInt(id)) })
        } catch {
            throw HypervisorError("KVM_CREATE_VCPU \(id)", error)
        }
    }

    // MARK: Interrupts and doorbells

    /// Makes each write of the eventfd an edge-triggered interrupt on `line` (a GSI), or no longer.
    package func connectInterrupt(_ event: Int32, line: UInt32, _ on: Bool = true) throws(HypervisorError) {
        var entry = kvm_irqfd()
        entry.fd = UInt32(bitPattern: event)
        entry.gsi = line
        entry.flags = on ? 0 : UInt32(KVM_IRQFD_FLAG_DEASSIGN)
        try unsafe request("KVM_IRQFD for line \(line)", HOST_KVM_IRQFD, &entry)
    }

    /// Makes each 4-byte write of `value` at `address` a signal of the eventfd, without an exit, or no longer.
    package func connectDoorbell(
        _ event: Int32, at address: GuestAddress, value: UInt32, _ on: Bool = true
    ) throws(HypervisorError) {
        var entry = kvm_ioeventfd()
        entry.fd = event
        entry.addr = address.rawValue
        entry.len = 4
        entry.datamatch = UInt64(value)
        entry.flags =
            1 << UInt32(kvm_ioeventfd_flag_nr_datamatch)
            | (on ? 0 : 1 << UInt32(kvm_ioeventfd_flag_nr_deassign))
        try unsafe request("KVM_IOEVENTFD at \(address)", HOST_KVM_IOEVENTFD, &entry)
    }
}
