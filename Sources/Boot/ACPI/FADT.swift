import Bus

/// The Fixed ACPI Description Table of a hardware-reduced machine (ACPI 6.5, section 5.2.9): no power management
/// timer, no SCI, no fixed buttons; power-off and reset by one I/O port each.
enum FADT {
    private static let size = 276
    private static let majorVersion: UInt8 = 6
    private static let minorVersion: UInt8 = 5

    private static let writeBackInvalidate: UInt32 = 1 << 0
    private static let noFixedPowerButton: UInt32 = 1 << 4
    private static let noFixedSleepButton: UInt32 = 1 << 5
    private static let resetRegisterSupported: UInt32 = 1 << 10
    private static let hardwareReduced: UInt32 = 1 << 20

    /// IAPC_BOOT_ARCH. The cleared 8042 bit keeps Linux from probing for an i8042.
    private static let noVGA: UInt16 = 1 << 2
    private static let noCMOSClock: UInt16 = 1 << 5

    static func table(dsdt: UInt64, _ power: BoardLayout.PowerRegisters) -> ACPITable {
        var body = [UInt8](repeating: 0, count: size - ACPITable.headerSize)
        func store(_ bytes: [UInt8], at offset: Int) {
            let start = offset - ACPITable.headerSize
            body.replaceSubrange(start..<(start + bytes.count), with: bytes)
        }
        func store<T: FixedWidthInteger>(_ value: T, at offset: Int) {
            body.store(value, at: offset - ACPITable.headerSize)
        }
        store(noVGA | noCMOSClock, at: 109)
        store(
            writeBackInvalidate | noFixedPowerButton | noFixedSleepButton | resetRegisterSupported | hardwareReduced,
            at: 112)
        store(port(power.reset), at: 116)
        store(power.resetValue, at: 128)
        store(minorVersion, at: 131)
        store(dsdt, at: 140)  // X_DSDT
        store(port(power.sleepControl), at: 244)
        store(port(power.sleepStatus), at: 256)
        store(Array("APUS".utf8), at: 268)  // hypervisor vendor identity
        return ACPITable(signature: "FACP", revision: majorVersion, body: body)
    }

    /// A generic address structure: an 8-bit I/O port with byte access.
    private static func port(_ number: UInt16) -> [UInt8] {
        var address: [UInt8] = [1, 8, 0, 1]
        address.append(littleEndian: UInt64(number))
        return address
    }
}
