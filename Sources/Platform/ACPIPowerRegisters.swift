/// The registers with which a hardware-reduced ACPI guest cuts its power or starts anew: three ports that the FADT
/// names (ACPI 6.5, 4.8.3.7 "Sleep Control and Status Registers", 4.8.3.6 "Reset Register").
package final class ACPIPowerRegisters: BusDevice {
    /// Where the board puts them.
    package static let firstPort: UInt64 = 0x600
    package static let portCount: UInt64 = 3
    /// Offsets of the registers from the first port.
    package static let sleepControl: UInt64 = 0
    package static let sleepStatus: UInt64 = 1
    package static let resetRegister: UInt64 = 2
    /// What the guest writes into the reset register.
    package static let resetValue: UInt8 = 1
    /// SLP_TYP of S5, soft off; the only sleeping state there is.
    package static let softOff: UInt8 = 5

    private static let sleepEnable: UInt8 = 0x20

    package init() {}

    /// Sleeping is never over, since nobody wakes from it here: everything reads as zero.
    package func read(at offset: UInt64, size: Int) -> UInt64 { 0 }

    package func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
        let byte = UInt8(truncatingIfNeeded: value)
        switch offset {
        case Self.sleepControl where byte & Self.sleepEnable != 0 && byte >> 2 & 7 == Self.softOff: return .powerOff
        case Self.resetRegister where byte == Self.resetValue: return .reset
        default: return .none
        }
    }
}
