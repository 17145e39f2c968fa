/// The Differentiated System Description Table: the board's devices, and how to power it off.
enum DSDT {
    /// `EISAID ("PNP0501")`: a 16550A serial port.
    private static let serialPort: UInt32 = 0x0105_d041
    private static let com1: UInt16 = 0x3f8
    private static let com1Interrupt: UInt32 = 4

    static func table(devices: [VirtioMMIODevice], hasSerial: Bool) -> ACPITable {
        var nodes: [UInt8] = []
        if hasSerial { nodes += serial() }
        nodes += panicPort()
        for (index, device) in devices.enumerated() { nodes += virtio(device, index: index) }
        return ACPITable(signature: "DSDT", revision: 2, body: softOff() + AML.scope("_SB_", nodes))
    }

    /// `_S5`: what to write into the sleep control register as sleep type.
    private static func softOff() -> [UInt8] {
        let type = AML.integer(UInt32(Layout.softOffSleepType))
        let zero = AML.integer(0)
        return AML.name("_S5_", AML.package([type, zero, zero, zero]))
    }

    private static func serial() -> [UInt8] {
        let resources = [ACPIResource.io(port: com1, length: 8), ACPIResource.interrupt(com1Interrupt)]
        return AML.device(
            "COM1",
            AML.name("_HID", AML.integer(serialPort)) + AML.name("_UID", AML.integer(1))
                + AML.name("_CRS", ACPIResource.template(resources)))
    }

    /// The device that Linux's `pvpanic-mmio` looks for.
    private static func panicPort() -> [UInt8] {
        AML.device(
            "PEVT",
            AML.name("_HID", AML.string("QEMU0001"))
                + AML.name("_CRS", ACPIResource.template([ACPIResource.io(port: Layout.panicPort, length: 1)])))
    }

    private static func virtio(_ device: VirtioMMIODevice, index: Int) -> [UInt8] {
        let digits = String(index, radix: 16, uppercase: true)
        let resources = [
            ACPIResource.memory32Fixed(base: device.base, length: device.size), ACPIResource.interrupt(device.irq),
        ]
        return AML.device(
            "V" + String(repeating: "0", count: max(0, 3 - digits.count)) + digits,
            AML.name("_HID", AML.string("LNRO0005")) + AML.name("_UID", AML.integer(UInt32(truncatingIfNeeded: index)))
                + AML.name("_CCA", AML.integer(1)) + AML.name("_CRS", ACPIResource.template(resources)))
    }
}
