/// One thing that a device counts, for statistics.
public struct DeviceCounter: Equatable, Sendable {
    /// QEMU's name where it has one: `rd_bytes`, `wr_operations`, …
    package let name: String
    /// How often it has happened, or how many bytes there were, since the device was made.
    package let value: UInt64
    /// Whether it counts bytes, rather than events.
    package let isBytes: Bool

    package init(_ name: String, _ value: UInt64, isBytes: Bool = false) {
        self.name = name
        self.value = value
        self.isBytes = isBytes
    }
}
