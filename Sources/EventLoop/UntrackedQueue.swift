/// Operations without a client that found no room in the ring: cancellations, and writes of eventfds.
///
/// Their `user_data` names no slot: its low half is zero. One that waits already is not added again, so there are no
/// more than slots and eventfds.
struct UntrackedQueue {
    private var waiting: [(operation: Operation, userData: UInt64)] = []
    private var start = 0

    /// Whether none waits.
    var isEmpty: Bool { waiting.isEmpty }

    /// The one that has waited longest.
    var first: (operation: Operation, userData: UInt64)? { isEmpty ? nil : waiting[start] }

    /// Adds an operation behind the others.
    mutating func append(_ operation: Operation, userData: UInt64) {
        let isThere = waiting[start...].contains {
            $0.userData == userData && $0.operation.address == operation.address
        }
        if !isThere { waiting.append((operation, userData)) }
    }

    /// Drops the first.
    mutating func removeFirst() {
        start += 1
        guard start >= waiting.count else { return }
        waiting = []
        start = 0
    }

    // MARK: user_data

    /// The `user_data` of a cancellation, whose end is of no interest.
    static let userDataOfCancellation: UInt64 = 0

    /// The `user_data` of a write of an eventfd.
    static func userData(ofSignal descriptor: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: descriptor &+ 1)) << 32
    }

    /// The eventfd of a write by its `user_data`; nil for any other operation.
    static func descriptor(ofSignal userData: UInt64) -> Int32? {
        guard userData != userDataOfCancellation, UInt32(truncatingIfNeeded: userData) == 0 else { return nil }
        return Int32(truncatingIfNeeded: userData >> 32) &- 1
    }
}
