import Host

/// Requests that change parts of blocks on a file that takes only whole ones: the blocks are read, changed and written
/// back, and whatever else is written to them meanwhile would be lost. Such a request has its blocks for itself.
extension ImageRequests {
    /// Whether requests are held back that `resume` may let go.
    package var hasHeldBack: Bool { !heldBack.isEmpty }

    /// Lets the oldest request go on that is held back without need; nil if there is none.
    package func resume() -> (slot: Int, step: Step)? {
        for index in heldBack.indices {
            let slot = Int(heldBack[index])
            if !isStopped {
                let mayGo =
                    table[slot].phase == .waitsForBuffer ? bounce.hasFree : !isExcluded(slot)
                guard mayGo else { continue }
            }
            heldBack.remove(at: index)
            if isStopped { return (slot, finish(slot, .canceled)) }
            if table[slot].phase == .waitsForBuffer { return (slot, transfer(slot)) }
            if table[slot].serializes { serializing += 1 }
            table[slot].phase = .idle
            return (slot, start(slot))
        }
        return nil
    }

    func holdBack(_ slot: Int, _ phase: ImageRequest.Phase) -> Step {
        table[slot].phase = phase
        heldBack.append(Int32(truncatingIfNeeded: slot))
        return .wait
    }

    /// Notes which blocks a changing request touches, and whether it touches any in part.
    func markBlocks(_ slot: Int) {
        let block = UInt64(alignment.offset)
        let start = table[slot].position
        let end = start &+ table[slot].remaining
        table[slot].blocksStart = start - start % block
        table[slot].blocksEnd = end % block == 0 ? end : end &+ (block - end % block)
        // Of a discard, the file system takes care.
        table[slot].serializes =
            table[slot].kind != .discard && (start | end) & (block - 1) != 0
    }

    /// Whether a new request must wait for others.
    func mustWait(_ slot: Int) -> Bool {
        guard serializing > 0 || !heldBack.isEmpty || table[slot].serializes else { return false }
        heldBackEver += 1
        table[slot].order = heldBackEver
        return isExcluded(slot)
    }

    /// Whether another request, under way or held back for longer, changes the same blocks, and one of the two changes
    /// them in part.
    private func isExcluded(_ slot: Int) -> Bool {
        let mine = table[slot]
        for other in 0..<table.count where other != slot {
            let its = table[other]
            guard its.phase != .idle, its.kind.modifies, mine.serializes || its.serializes,
                its.blocksStart < mine.blocksEnd, mine.blocksStart < its.blocksEnd
            else { continue }
            if its.phase != .waitsForOthers || its.order < mine.order { return true }
        }
        return false
    }
}
