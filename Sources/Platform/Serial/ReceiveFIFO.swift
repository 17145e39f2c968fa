/// The received characters that the guest has not read yet: a bounded queue.
struct ReceiveFIFO {
    /// More than a 16550A's 16, so that input is as fast as the guest reads.
    static let capacity = 256

    private var storage = InlineArray<256, UInt8>(repeating: 0)
    private var head: UInt8 = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }
    var room: Int { Self.capacity - count }

    /// The characters, the oldest first.
    var bytes: [UInt8] { (0..<count).map { storage[index($0)] } }

    /// Adds a character; false if the queue is full.
    mutating func push(_ byte: UInt8) -> Bool {
        guard count < Self.capacity else { return false }
        storage[index(count)] = byte
        count += 1
        return true
    }

    /// Takes the oldest character.
    mutating func pop() -> UInt8? {
        guard count > 0 else { return nil }
        let byte = storage[index(0)]
        head &+= 1
        count -= 1
        return byte
    }

    mutating func removeAll() {
        count = 0
    }

    /// The index of a character; it wraps at 256, which is the capacity.
    private func index(_ position: Int) -> Int { Int(head &+ UInt8(truncatingIfNeeded: position)) }
}
