import Bus
import Memory

/// What a guest finds at F000:FFF0, where a PC's firmware begins: code that resets the machine.
///
/// Linux on a hardware-reduced machine without EFI restarts by a jump to this address in real mode, unless `reboot=`
/// says otherwise. vCPUs do not begin here: they are given their registers or wait for SIPI.
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
