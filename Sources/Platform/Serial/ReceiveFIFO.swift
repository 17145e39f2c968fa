/// The characters that have arrived and that the guest has not read yet: a bounded queue.
struct ReceiveFIFO {
    /// More than a 16550A's 16, as if the line were as fast as the guest reads.
    static let capacity = 256

    private var bytes = InlineArray<256, UInt8>(repeating: 0)
    private var head: UInt8 = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }
    var room: Int { Self.capacity - count }

    /// Adds a character; false if the queue is full.
    mutating func push(_ byte: UInt8) -> Bool {
        guard count < Self.capacity else { return false }
        // The index wraps at 256, which is the capacity.
        bytes[Int(head &+ UInt8(truncatingIfNeeded: count))] = byte
        count += 1
        return true
    }

    /// Takes the oldest character.
    mutating func pop() -> UInt8? {
        guard count > 0 else { return nil }
        let byte = bytes[Int(head)]
        head &+= 1
        count -= 1
        return byte
    }

    mutating func removeAll() {
        count = 0
    }
}
