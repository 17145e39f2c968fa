/// One program header of an ELF file for x86-64.
package struct ELFSegment {
    package var type: UInt32
    package var address: UInt64
    package var offset: UInt64
    package var fileSize: UInt64
    package var memorySize: UInt64
    package var alignment: UInt64

    /// - Parameter type: `PT_LOAD` if nothing is said.
    package init(
        type: UInt32 = 1, address: UInt64, offset: UInt64 = 0x1000, fileSize: UInt64, memorySize: UInt64,
        alignment: UInt64 = 4
    ) {
        self.type = type
        self.address = address
        self.offset = offset
        self.fileSize = fileSize
        self.memorySize = memorySize
        self.alignment = alignment
    }
}

/// The first 0x1000 bytes of an executable ELF file: its header, and from byte 64 on those of up to 70 segments, each of
/// 56 bytes.
package func elfHeaders(entry: UInt64, _ segments: [ELFSegment]) -> [UInt8] {
    var image = [UInt8](repeating: 0, count: 0x1000)
    image.replaceSubrange(0..<7, with: [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
    image.set(16, UInt16(2))
    image.set(18, UInt16(62))
    image.set(20, UInt32(1))
    image.set(24, entry)
    image.set(32, UInt64(64))
    image.set(52, UInt16(64))
    image.set(54, UInt16(56))
    image.set(56, UInt16(segments.count))
    for (index, segment) in segments.enumerated() {
        let header = 64 + 56 * index
        image.set(header, segment.type)
        image.set(header + 8, segment.offset)
        image.set(header + 16, 0xffff_ffff_8000_0000 &+ segment.address)
        image.set(header + 24, segment.address)
        image.set(header + 32, segment.fileSize)
        image.set(header + 40, segment.memorySize)
        image.set(header + 48, segment.alignment)
    }
    return image
}

extension Array where Element == UInt8 {
    /// Stores an integer, little-endian, as far as there is room.
    package mutating func set<T: FixedWidthInteger>(_ offset: Int, _ value: T) {
        for index in 0..<MemoryLayout<T>.size where indices.contains(offset + index) {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> T(8 * index))
        }
    }
}
