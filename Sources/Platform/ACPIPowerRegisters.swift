package import Bus

/// The registers with which a hardware-reduced ACPI guest cuts its power or starts anew: ports that the FADT names
/// (ACPI 6.5, 4.8.3.7 "Sleep Control and Status Registers", 4.8.3.6 "Reset Register").
package final class ACPIPowerRegisters: BusDevice {
    private let sleepControl: UInt64
    private let reset: UInt64
    private let resetValue: UInt8
    private let softOff: UInt8

    private static let sleepEnable: UInt8 = 0x20

    /// The registers that a board has at `layout.addresses`.
    package init(_ layout: BoardLayout.PowerRegisters) {
        sleepControl = UInt64(layout.sleepControl) &- layout.addresses.start
        reset = UInt64(layout.reset) &- layout.addresses.start
        resetValue = layout.resetValue
        softOff = layout.softOff
    }

    /// No sleeping state but the one without return: the status, as all else, reads as zero.
    package func read(at offset: UInt64, size: Int) -> UInt64 { 0 }

    package func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
        let byte = UInt8(truncatingIfNeeded: value)
        switch offset {
        case sleepControl where byte & Self.sleepEnable != 0 && byte >> 2 & 7 == softOff: return .powerOff
        case reset where byte == resetValue: return .reset
        default: return .none
        }
    }
}
