package import Bus

/// pvpanic: a port of one byte by which a guest tells that its kernel has panicked (QEMU, docs/specs/pvpanic). Linux
/// finds it as the ACPI device QEMU0001.
package final class PVPanic: BusDevice {
    private static let panicked: UInt8 = 1 << 0
    private static let crashLoaded: UInt8 = 1 << 1

    package init() {}

    /// What a guest can tell.
    package func read(at offset: UInt64, size: Int) -> UInt64 { UInt64(Self.panicked | Self.crashLoaded) }

    package func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
        let events = UInt8(truncatingIfNeeded: value)
        if events & Self.panicked != 0 { return .panicked }
        return events & Self.crashLoaded != 0 ? .crashLoaded : .none
    }
}
