import Host

/// Keeps requests apart that change the same blocks of a file that transfers whole blocks only.
///
/// A request that changes part of a block reads the block, changes it and writes it back. What another request wrote
/// to the block meanwhile would be lost, so such a request has its blocks alone. All others share theirs.
final class BlockLocks {
    private enum State: UInt8 {
        case free, waiting, held
    }

    /// The blocks of one request.
    private struct Claim: BitwiseCopyable {
        var state = State.free
        /// Whether the request changes part of a block.
        var isExclusive = false
        var start: UInt64 = 0
        var end: UInt64 = 0
        /// The request's age, as the number of claims before it; 0 if it never had to be compared.
        var order: UInt64 = 0
    }

    private let claims: FixedTable<Claim>
    private let block: UInt64
    /// Slots that wait, the oldest first.
    private var waiting: [Int32] = []
    private var exclusiveCount = 0
    private var lastOrder: UInt64 = 0

    /// - Parameters:
    ///   - slots: the number of requests that can be in flight.
    ///   - block: bytes of a block, a power of two; 1 for a file that transfers any bytes.
    init(slots: Int, block: Int) {
        claims = FixedTable(repeating: Claim(), count: slots)
        self.block = UInt64(max(block, 1))
    }

    /// Claims the blocks of the bytes from `start` to `end`; false if the request must wait for another one.
    ///
    /// - Parameter isDiscard: whether the file system, not Apus, deals with blocks that change in part.
    func claim(_ slot: Int, from start: UInt64, to end: UInt64, isDiscard: Bool) -> Bool {
        guard block > 1 else { return true }
        let mask = block &- 1
        var claim = Claim(state: .held, isExclusive: !isDiscard && (start | end) & mask != 0)
        claim.start = start & ~mask
        claim.end = (end &+ mask) & ~mask
        guard exclusiveCount > 0 || !waiting.isEmpty || claim.isExclusive else {
            claims[slot] = claim
            return true
        }
        lastOrder &+= 1
        claim.order = lastOrder
        claims[slot] = claim
        if isExcluded(slot) {
            claims[slot].state = .waiting
            waiting.append(Int32(truncatingIfNeeded: slot))
            return false
        }
        if claim.isExclusive { exclusiveCount += 1 }
        return true
    }

    /// Gives up the blocks of a request that waits for none.
    func release(_ slot: Int) {
        guard claims[slot].state == .held else { return }
        if claims[slot].isExclusive { exclusiveCount -= 1 }
        claims[slot].state = .free
    }

    /// Grants the oldest claim that waits without need; nil if there is none.
    func next() -> Int? {
        for index in waiting.indices {
            let slot = Int(waiting[index])
            guard !isExcluded(slot) else { continue }
            waiting.remove(at: index)
            claims[slot].state = .held
            if claims[slot].isExclusive { exclusiveCount += 1 }
            return slot
        }
        return nil
    }

    /// Withdraws the oldest claim that waits.
    func cancel() -> Int? {
        guard !waiting.isEmpty else { return nil }
        let slot = Int(waiting.removeFirst())
        claims[slot].state = .free
        return slot
    }

    /// Whether a request that holds its blocks, or has waited for longer, changes the same blocks, and one of the two
    /// changes them in part.
    private func isExcluded(_ slot: Int) -> Bool {
        let mine = claims[slot]
        for other in 0..<claims.count where other != slot {
            let its = claims[other]
            guard its.state != .free, mine.isExclusive || its.isExclusive, its.start < mine.end, mine.start < its.end
            else { continue }
            if its.state == .held || its.order < mine.order { return true }
        }
        return false
    }
}
