import Bus
import Memory

/// The code at F000:FFF0, the entry of a PC's firmware: it resets the VM.
///
/// On a hardware-reduced machine without EFI, Linux reboots by a real-mode jump to this address, unless `reboot=`
/// selects another method. vCPUs do not start here: Apus sets their registers, or they wait for SIPI.
enum ResetVector {
    static func write(to memory: GuestMemory, _ power: BoardLayout.PowerRegisters) throws(BootError) {
        let port = UInt8(truncatingIfNeeded: power.reset)
        let portHigh = UInt8(truncatingIfNeeded: power.reset >> 8)
        let code: [UInt8] = [
            0xba, port, portHigh,  // mov dx, reset register
            0xb0, power.resetValue,  // mov al, reset value
            0xee,  // out dx, al
            0xf4,  // hlt
            0xeb, 0xfd,  // jmp to the hlt
        ]
        try memory.place(code, at: Layout.resetVector, as: "reset vector")
    }
}
