import EventLoop
import Host

/// Discarding and zeroing, which the file system does without data where it can.
extension ImageRequests {
    private static let zeroBufferSize = 64 << 10
    private static let zeroesAtOnce: UInt64 = 8 << 20

    /// The first operation of a discard or of zeroing that the file has not refused before.
    func allocate(_ slot: Int) -> Step {
        let kind = table[slot].kind
        if kind == .discard, isBlockDevice { trimToBlocks(slot) }
        guard table[slot].remaining > 0 else { return changed(slot) }
        if kind != .writeZeroes, canPunch { return allocate(slot, .punching, [.punchHole, .keepSize]) }
        if kind == .discard { return finish(slot, .notSupported) }
        if canZero { return allocate(slot, .zeroing, [.zeroRange, .keepSize]) }
        return writeZeroes(slot)
    }

    private func allocate(_ slot: Int, _ phase: ImageRequest.Phase, _ mode: Operation.AllocateMode) -> Step {
        table[slot].phase = phase
        return .submit(.allocate(file, mode, at: table[slot].position, count: table[slot].remaining))
    }

    /// The file system has done as asked, or has said why not.
    func allocated(_ slot: Int, _ result: Int32) -> Step {
        guard result < 0 else {
            table[slot].remaining = 0
            return changed(slot)
        }
        let error = Errno(rawValue: -result)
        let isPunch = table[slot].phase == .punching
        if error.meansNotSupported {
            if isPunch { canPunch = false } else { canZero = false }
            return start(slot)
        }
        // A block device refuses ranges that are no multiples of its blocks; data can still be written to them.
        guard error == .invalidArgument, table[slot].kind != .discard else { return finish(slot, error) }
        return writeZeroes(slot)
    }

    /// Writes zeroes as data, the last resort.
    private func writeZeroes(_ slot: Int) -> Step {
        table[slot].zeroes = table[slot].remaining
        table[slot].remaining = 0
        return transfer(slot)
    }

    /// Describes the next of the zeroes that are to be written as data.
    func refillZeroes(_ slot: Int) {
        let buffer = zeroBuffer ?? IOBuffer(capacity: Self.zeroBufferSize, alignment: max(4096, alignment.offset))
        zeroBuffer = buffer
        let most = min(Self.zeroesAtOnce, UInt64(segments * buffer.capacity))
        let count = min(table[slot].zeroes, most)
        let first = slot * segments
        var left = Int(truncatingIfNeeded: count)
        var end = first
        while left > 0, vectors.set(end, buffer.all.prefix(left)) {
            left -= buffer.capacity
            end += 1
        }
        table[slot].first = Int32(truncatingIfNeeded: first)
        table[slot].end = Int32(truncatingIfNeeded: end)
        table[slot].remaining = count
        table[slot].zeroes -= count
    }

    // A discard is a hint: what a block device cannot free in part stays.
    private func trimToBlocks(_ slot: Int) {
        let block = UInt64(logicalBlockSize)
        let start = table[slot].position
        let end = start &+ table[slot].remaining
        let first = start % block == 0 ? start : start &+ (block - start % block)
        let last = end - end % block
        table[slot].position = first
        table[slot].remaining = last > first ? last - first : 0
    }
}

extension Errno {
    /// Whether a file or device lacks the operation, so that asking again is useless.
    package var meansNotSupported: Bool {
        self == .notSupported || self == .noSystemCall || self == .noDevice
    }
}
