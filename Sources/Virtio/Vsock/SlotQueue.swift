import Host

/// A first-in-first-out queue of the slots of a table, in which each slot is at most once.
struct SlotQueue: ~Copyable {
    private let next: FixedTable<Int32>
    private var first: Int32 = -1
    private var last: Int32 = -1

    private static let absent: Int32 = -2
    private static let end: Int32 = -1

    /// An empty queue for slots from 0 to `capacity` - 1.
    init(capacity: Int) {
        next = FixedTable(repeating: Self.absent, count: capacity)
    }

    /// A queue of all slots from 0 to `capacity` - 1, in this order.
    init(allOf capacity: Int) {
        self.init(capacity: capacity)
        for slot in 0..<capacity { append(slot) }
    }

    var isEmpty: Bool { first < 0 }

    /// Puts a slot at the end, unless it is in the queue.
    mutating func append(_ slot: Int) {
        guard next[slot] == Self.absent else { return }
        next[slot] = Self.end
        if last >= 0 { next[Int(last)] = Int32(truncatingIfNeeded: slot) }
        last = Int32(truncatingIfNeeded: slot)
        if first < 0 { first = last }
    }

    /// Takes the first slot; nil if there is none.
    mutating func takeFirst() -> Int? {
        guard first >= 0 else { return nil }
        let slot = Int(first)
        first = next[slot]
        if first < 0 { last = -1 }
        next[slot] = Self.absent
        return slot
    }
}
