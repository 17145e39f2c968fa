import Host

/// Zeroes to write as data, where the file system cannot zero a range; allocated on first use.
final class ZeroBuffer {
    private static let size = 64 << 10
    /// The most bytes of one operation, so that it keeps no other one waiting for long.
    private static let mostBytes: UInt64 = 8 << 20

    private let alignment: Int
    private var buffer: IOBuffer?

    init(alignment: DirectAlignment) {
        self.alignment = max(alignment.offset, 4096)
    }

    /// Describes zeroes in `entries` of `vectors`, at most `count` bytes.
    ///
    /// - Returns: the end of the entries in use, and the number of bytes.
    func describe(_ count: UInt64, in vectors: IOVectors, _ entries: Range<Int>) -> (end: Int, count: UInt64) {
        let buffer = buffer ?? IOBuffer(capacity: Self.size, alignment: alignment)
        self.buffer = buffer
        let count = min(count, Self.mostBytes, UInt64(entries.count * Self.size))
        var left = Int(truncatingIfNeeded: count)
        var end = entries.lowerBound
        while left > 0, vectors.set(end, buffer.all.prefix(left)) {
            left -= Self.size
            end += 1
        }
        return (end, count)
    }
}
