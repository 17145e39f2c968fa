import Bus

/// The Differentiated System Description Table: the board's devices and the power-off state `_S5`.
enum DSDT {
    /// `EISAID ("PNP0501")`: a 16550A serial port.
    private static let serialPort: UInt32 = 0x0105_d041

    static func table(_ plan: BootPlan) -> ACPITable {
        var nodes: [UInt8] = []
        if plan.hasSerial { nodes += serial(plan.layout.serial) }
        nodes += panicPort(plan.layout.panic)
        for (index, device) in plan.devices.enumerated() { nodes += virtio(device, index: index) }
        return ACPITable(
            signature: "DSDT", revision: 2, body: softOff(plan.layout.power) + AML.scope("_SB_", nodes))
    }

    /// `_S5`: the sleep type for the sleep control register.
    private static func softOff(_ power: BoardLayout.PowerRegisters) -> [UInt8] {
        let type = AML.integer(UInt32(power.softOff))
        let zero = AML.integer(0)
        return AML.name("_S5_", AML.package([type, zero, zero, zero]))
    }

    private static func serial(_ device: BoardLayout.Device) -> [UInt8] {
        let resources = [ACPIResource.io(device.addresses), ACPIResource.interrupt(device.line)]
        return AML.device(
            "COM1",
            AML.name("_HID", AML.integer(serialPort)) + AML.name("_UID", AML.integer(1))
                + AML.name("_CRS", ACPIResource.template(resources)))
    }

    /// The pvpanic device, which Linux's driver `pvpanic-mmio` binds to.
    private static func panicPort(_ port: AddressRange) -> [UInt8] {
        AML.device(
            "PEVT",
            AML.name("_HID", AML.string("QEMU0001"))
                + AML.name("_CRS", ACPIResource.template([ACPIResource.io(port)])))
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
