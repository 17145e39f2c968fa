/// The device-specific configuration that the driver can read (virtio 1.2 section 2.5): little-endian fields at
/// fixed offsets.
package struct ConfigSpace: Equatable {
    package private(set) var bytes: [UInt8]

    /// A space of `size` zero bytes.
    package init(size: Int = 0) {
        bytes = [UInt8](repeating: 0, count: max(0, size))
    }

    /// Sets the field at `offset`; what lies outside the space is left out.
    package mutating func set<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at offset: Int) {
        for position in 0..<MemoryLayout<T>.size {
            set(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: 8 * position)), offset, position)
        }
    }

    /// Sets the bytes from `offset`; what lies outside the space is left out.
    package mutating func set(bytes: [UInt8], at offset: Int) {
        for (position, byte) in bytes.enumerated() { set(byte, offset, position) }
    }

    private mutating func set(_ byte: UInt8, _ offset: Int, _ position: Int) {
        let (index, overflow) = offset.addingReportingOverflow(position)
        if !overflow, bytes.indices.contains(index) { bytes[index] = byte }
    }

    /// The `size` (1 to 8) bytes at `offset` as a little-endian integer; bytes outside the space are zero.
    package func read(at offset: Int, size: Int) -> UInt64 {
        var value: UInt64 = 0
        for position in 0..<max(0, min(size, 8)) {
            let (index, overflow) = offset.addingReportingOverflow(position)
            if !overflow, bytes.indices.contains(index) { value |= UInt64(bytes[index]) << UInt64(8 * position) }
        }
        return value
    }
}
