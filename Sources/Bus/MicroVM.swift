extension BoardLayout {
    /// StratoVirt's light machine.
    package static let microvm = BoardLayout(
        name: "microvm",
        memory: Memory(
            lowEnd: 0xc000_0000, highStart: 0x1_0000_0000, identityMap: 0xfef0_c000, taskState: 0xfef0_d000),
        interrupts: InterruptControllers(localAPIC: 0xfee0_0000, ioAPIC: 0xfec0_0000, lines: 24, isaLines: 16),
        virtio: VirtioWindow(
            start: 0xf010_0000, slotSize: 0x200, firstLine: 5, pluggableDisks: 4, pluggableNICs: 2),
        serial: Device(.ports(0x3f8, count: 8), line: 4),
        keyboard: Device(.ports(0x60, count: 5), line: 1),
        panic: .ports(0x505, count: 1),
        power: PowerRegisters(
            .ports(0x600, count: 3), sleepControl: 0x600, sleepStatus: 0x601, reset: 0x602, resetValue: 1, softOff: 5),
        absentClock: .ports(0x70, count: 2),
        limits: Limits(vcpus: 254, disks: 6, nics: 2, iothreads: 8))
}
