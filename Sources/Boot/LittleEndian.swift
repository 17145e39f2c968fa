/// Little-endian integers in byte arrays, the byte order of x86 and of all boot structures.
extension Array<UInt8> {
    /// The integer at `offset`, or nil if it reaches beyond the array.
    func load<T: FixedWidthInteger>(at offset: Int, as type: T.Type = T.self) -> T? {
        let width = T.bitWidth / 8
        guard offset >= 0, width <= count, offset <= count - width else { return nil }
        var value: T = 0
        for index in 0..<width {
            value |= T(truncatingIfNeeded: self[offset + index]) &<< T(truncatingIfNeeded: 8 * index)
        }
        return value
    }

    /// Overwrites the integer at `offset`; does nothing if it reaches beyond the array.
    mutating func store<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        let width = T.bitWidth / 8
        guard offset >= 0, width <= count, offset <= count - width else { return }
        for index in 0..<width {
            self[offset + index] = UInt8(truncatingIfNeeded: value &>> T(truncatingIfNeeded: 8 * index))
        }
    }

    /// Appends `value`.
    mutating func append<T: FixedWidthInteger>(littleEndian value: T) {
        for index in 0..<(T.bitWidth / 8) {
            append(UInt8(truncatingIfNeeded: value &>> T(truncatingIfNeeded: 8 * index)))
        }
    }

    /// Appends `text`, truncated or padded with spaces to `width` bytes, for names in MP and ACPI tables.
    mutating func append(text: StaticString, width: Int) {
        let bytes = Array("\(text)".utf8.prefix(width))
        append(contentsOf: bytes)
        append(contentsOf: repeatElement(0x20, count: width - bytes.count))
    }

    /// The checksum: the byte that makes the sum of all bytes zero when it replaces a zero byte.
    var checksum: UInt8 { 0 &- reduce(0, &+) }
}
