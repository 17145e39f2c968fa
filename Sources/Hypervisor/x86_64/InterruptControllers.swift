import Bus
import CHost
import Host

extension VirtualMachine {
    /// Creates the PIC, the IOAPIC, the local APICs and the PIT in the kernel. KVM puts the APICs where every PC has them.
    func createInterruptControllers(_ layout: BoardLayout.Memory) throws(HypervisorError) {
        var identityMap = layout.identityMap
        try unsafe request("KVM_SET_IDENTITY_MAP_ADDR", HOST_KVM_SET_IDENTITY_MAP_ADDR, &identityMap)
        try request("KVM_SET_TSS_ADDR", HOST_KVM_SET_TSS_ADDR, UInt(layout.taskState))
        try request("KVM_CREATE_IRQCHIP", HOST_KVM_CREATE_IRQCHIP, 0)
        var timer = kvm_pit_config()
        timer.flags = UInt32(KVM_PIT_SPEAKER_DUMMY)
        try unsafe request("KVM_CREATE_PIT2", HOST_KVM_CREATE_PIT2, &timer)
    }
}
