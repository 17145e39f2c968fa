import CHost
import Host

extension VirtualMachine {
    /// Where KVM keeps what an Intel host needs in real mode, below the local APIC's page.
    private static let identityMap: UInt64 = 0xfef0_c000
    private static let taskState: UInt = 0xfef0_d000

    /// Creates the PIC, the IOAPIC, the local APICs and the PIT in the kernel.
    func createInterruptControllers() throws(HypervisorError) {
        var identityMap = Self.identityMap
        try unsafe request("KVM_SET_IDENTITY_MAP_ADDR", HOST_KVM_SET_IDENTITY_MAP_ADDR, &identityMap)
        try request("KVM_SET_TSS_ADDR", HOST_KVM_SET_TSS_ADDR, Self.taskState)
        try request("KVM_CREATE_IRQCHIP", HOST_KVM_CREATE_IRQCHIP, 0)
        var timer = kvm_pit_config()
        timer.flags = UInt32(KVM_PIT_SPEAKER_DUMMY)
        try unsafe request("KVM_CREATE_PIT2", HOST_KVM_CREATE_PIT2, &timer)
    }
}
