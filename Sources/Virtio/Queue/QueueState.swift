extension Virtqueue {
    /// Where a queue is, at rest: with it another queue of the same layout goes on.
    package struct State: Equatable, Sendable {
        /// The next entry of the available ring to take.
        package var nextAvailable: UInt16
        /// The next entry of the used ring to fill; the driver sees all before it.
        package var nextUsed: UInt16
        /// The chains that were taken and not given back, by their heads, the first that was taken first. They are
        /// handed out again.
        package var heldHeads: [UInt16]
        /// Whether the queue hands out nothing until the next reset.
        package var isStopped: Bool

        package init(nextAvailable: UInt16, nextUsed: UInt16, heldHeads: [UInt16] = [], isStopped: Bool = false) {
            self.nextAvailable = nextAvailable
            self.nextUsed = nextUsed
            self.heldHeads = heldHeads
            self.isStopped = isStopped
        }

        /// Throws for a state that no queue of `size` descriptors can have.
        func check(size: UInt16) throws(StateError) {
            guard heldHeads.count <= Int(size) else {
                throw StateError("\(heldHeads.count) chains are held of a queue of \(size)")
            }
            guard nextUsed == nextAvailable &- UInt16(truncatingIfNeeded: heldHeads.count) else {
                throw StateError(
                    "the next used entry is \(nextUsed), not the next available one, \(nextAvailable), less the "
                        + "\(heldHeads.count) chains that are held")
            }
            var seen: Set<UInt16> = []
            for head in heldHeads {
                guard head < size else { throw StateError("descriptor \(head) is held of a queue of \(size)") }
                guard seen.insert(head).inserted else { throw StateError("descriptor \(head) is held twice") }
            }
        }
    }
}
