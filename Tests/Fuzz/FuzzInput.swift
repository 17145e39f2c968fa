/// A fuzzer's bytes, read as choices. At their end everything is 0, which is always the plainest choice.
package struct FuzzInput {
    private let bytes: [UInt8]
    private var offset = 0

    package init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Whether all bytes have been used.
    package var isEmpty: Bool { offset >= bytes.count }

    package mutating func byte() -> UInt8 {
        guard bytes.indices.contains(offset) else { return 0 }
        offset += 1
        return bytes[offset - 1]
    }

    /// A little-endian integer.
    package mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T {
        (0..<MemoryLayout<T>.size).reduce(0) { $0 | T(truncatingIfNeeded: byte()) << T(8 * $1) }
    }

    /// A number from 0 to `limit` - 1.
    package mutating func below(_ limit: Int) -> Int {
        limit <= 256 ? Int(byte()) % max(limit, 1) : Int(integer(UInt32.self)) % limit
    }

    /// True for one in `count` values of a byte: the knob for what shall be rare.
    package mutating func oneIn(_ count: Int) -> Bool { below(count) == count - 1 }

    package mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }

    /// The next bytes, at most `count`.
    package mutating func take(_ count: Int) -> [UInt8] {
        let end = min(bytes.count, offset + max(count, 0))
        defer { offset = end }
        return Array(bytes[offset..<end])
    }

    /// All bytes that are left.
    package mutating func rest() -> [UInt8] { take(bytes.count) }
}

/// A number's bytes, as they lie in memory.
func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
}
