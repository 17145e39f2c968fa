package import EventLoop
package import Host

/// The requests that one user has on an image: a state machine that says which operation comes next.
///
/// It submits nothing itself. The user puts a request's memory into `vectors`, calls `begin`, submits the operation of
/// each `.submit` with the slot as its tag, and hands the result to `advance`, until the request is `.done`. Whenever a
/// request is done, and `hasHeldBack` says so, others may go on: `resume` names them. Short transfers, interrupted
/// ones, direct I/O on unaligned memory or offsets and operations that the file system lacks are dealt with inside.
///
/// The memory of a request must stay valid until it is done.
package final class ImageRequests {
    /// What to do for a request.
    package enum Step {
        /// Submit this operation, and give its result to `advance`.
        case submit(Operation)
        /// Nothing yet; `resume` will name the request.
        case wait
        /// The request has ended, with an error if there is one, and its slot is free.
        case done(Errno?)
    }

    /// Where the memory of all requests is described: slot `n` owns the entries from `n * segments`.
    package let vectors: IOVectors
    /// The most pieces of memory that one request may have.
    package let segments: Int

    let file: IOFile
    let alignment: DirectAlignment
    let table: FixedTable<ImageRequest>
    private let zeroDetection: ZeroDetection
    private let isDirect: Bool
    var heldBack: [Int32] = []
    var heldBackEver: UInt64 = 0
    var serializing = 0
    let bounce: BouncePool
    let isBlockDevice: Bool
    let logicalBlockSize: Int
    var zeroBuffer: IOBuffer?
    // What the file has refused once is not tried again.
    var canPunch = true
    var canZero = true
    private(set) var isStopped = false

    /// The most entries of one vectored transfer (`UIO_MAXIOV`).
    static let longestVector = 1024
    private static let mostRetries: UInt8 = 100

    /// - Parameters:
    ///   - image: what the requests are about.
    ///   - file: its descriptor as the reactor knows it.
    ///   - slots: how many requests may be under way at once, 1 to 4096.
    ///   - segments: the most pieces of memory of one request.
    package init(_ image: RawImage, file: IOFile, slots: Int, segments: Int, zeroDetection: ZeroDetection = .off) {
        let slots = min(max(slots, 1), 4096)
        // Writing zeroes needs a few of its own.
        self.segments = max(segments, 4)
        vectors = IOVectors(capacity: slots * self.segments)
        table = FixedTable(repeating: ImageRequest(), count: slots)
        self.file = file
        self.zeroDetection = zeroDetection
        alignment = image.alignment
        isDirect = image.isDirect
        isBlockDevice = image.isBlockDevice
        logicalBlockSize = image.logicalBlockSize
        bounce = BouncePool(alignment: image.alignment)
    }

    /// How many requests may be under way at once; slots are numbered from 0.
    package var slots: Int { table.count }

    /// Describes the piece of memory with this index of a request that is about to begin; false if there are too many.
    package func setSegment(_ index: Int, of slot: Int, _ memory: HostSlice) -> Bool {
        guard index >= 0, index < segments, slot >= 0, slot < table.count else { return false }
        return vectors.set(slot * segments + index, memory)
    }

    /// Begins a request in a free slot.
    ///
    /// - Parameters:
    ///   - offset: where in the image, in bytes.
    ///   - count: how many bytes; of a read or write, the sum of its segments.
    ///   - segmentCount: how many pieces of memory were set.
    ///   - isDurable: whether what it writes must be on stable storage before it is done.
    package func begin(
        _ slot: Int, _ kind: ImageRequestKind, at offset: UInt64, count: UInt64, segments segmentCount: Int,
        isDurable: Bool = false
    ) -> Step {
        let first = Int32(truncatingIfNeeded: slot * segments)
        table[slot] = ImageRequest()
        table[slot].kind = kind
        table[slot].isDurable = isDurable
        table[slot].first = first
        table[slot].end = first + Int32(clamping: min(segmentCount, segments))
        table[slot].position = offset
        table[slot].remaining = count
        guard !isStopped else { return .done(.canceled) }
        if kind == .write, zeroDetection != .off, isAllZeroes(slot) {
            table[slot].kind = zeroDetection == .unmap ? .unmapZeroes : .writeZeroes
        }
        if kind.modifies {
            markBlocks(slot)
            if mustWait(slot) { return holdBack(slot, .waitsForOthers) }
            if table[slot].serializes { serializing += 1 }
        }
        return start(slot)
    }

    /// Takes the result of the operation that was submitted for `slot`.
    package func advance(_ slot: Int, result: Int32) -> Step {
        if result == -Errno.interrupted.rawValue || result == -Errno.again.rawValue {
            table[slot].retries += 1
            guard table[slot].retries < Self.mostRetries else { return finish(slot, Errno(rawValue: -result)) }
            return table[slot].phase == .syncing ? sync(slot) : again(slot)
        }
        table[slot].retries = 0
        switch table[slot].phase {
        case .straight: return transferred(slot, result)
        case .filling: return filled(slot, result)
        case .bouncing: return bounced(slot, result)
        case .punching, .zeroing: return allocated(slot, result)
        case .syncing: return finish(slot, result < 0 ? Errno(rawValue: -result) : nil)
        case .idle, .waitsForOthers, .waitsForBuffer: return .wait
        }
    }

    /// Lets nothing go on any more: whatever is under way ends with its next completion, what is held back at once.
    /// Call `resume` until it names nothing, and wait for the completions.
    package func stop() {
        isStopped = true
    }

    /// Takes requests again, when all that `stop` ended are done.
    package func restart() {
        isStopped = false
    }

    // MARK: Steps

    func start(_ slot: Int) -> Step {
        guard !isStopped else { return finish(slot, .canceled) }
        return switch table[slot].kind {
        case .read, .write: transfer(slot)
        case .flush: sync(slot)
        case .discard, .writeZeroes, .unmapZeroes: allocate(slot)
        }
    }

    private func again(_ slot: Int) -> Step {
        switch table[slot].phase {
        case .straight, .filling, .bouncing: transfer(slot)
        default: start(slot)
        }
    }

    /// The next piece of a transfer, or its end.
    func transfer(_ slot: Int) -> Step {
        guard !isStopped else { return finish(slot, .canceled) }
        if table[slot].remaining == 0 {
            guard table[slot].zeroes > 0 else { return changed(slot) }
            refillZeroes(slot)
        }
        guard !isDirect || isAligned(slot) else { return bounce(slot) }
        table[slot].phase = .straight
        let range = table[slot].vectors
        let position = table[slot].position
        let isRead = table[slot].kind == .read
        if range.count == 1, let memory = vectors.slice(range.lowerBound) {
            return .submit(isRead ? .read(file, memory, at: position) : .write(file, memory, at: position))
        }
        let part = range.prefix(Self.longestVector)
        return .submit(
            isRead ? .readv(file, vectors, part, at: position) : .writev(file, vectors, part, at: position))
    }

    private func transferred(_ slot: Int, _ result: Int32) -> Step {
        guard result > 0 else { return finish(slot, result == 0 ? .ioError : Errno(rawValue: -result)) }
        var count = UInt64(UInt32(bitPattern: result))
        if count == table[slot].remaining, table[slot].zeroes == 0 {
            table[slot].remaining = 0
            return changed(slot)
        }
        // What a direct transfer did of a block is done again with the rest of it.
        if count < table[slot].remaining { count -= count % UInt64(alignment.offset) }
        guard count > 0 else { return finish(slot, .ioError) }
        moveOn(slot, by: count)
        return transfer(slot)
    }

    /// Counts `count` bytes as done.
    func moveOn(_ slot: Int, by count: UInt64) {
        let count = min(count, table[slot].remaining)
        let left = vectors.advance(table[slot].vectors, by: Int(truncatingIfNeeded: count))
        table[slot].first = Int32(truncatingIfNeeded: left.lowerBound)
        table[slot].position &+= count
        table[slot].remaining -= count
    }

    /// All bytes are where they belong: what remains is to make them durable, if that was asked.
    func changed(_ slot: Int) -> Step {
        guard table[slot].isDurable, table[slot].kind.modifies else { return finish(slot, nil) }
        return sync(slot)
    }

    private func sync(_ slot: Int) -> Step {
        table[slot].phase = .syncing
        return .submit(.dataSync(file))
    }

    /// Ends a request and gives back what it held.
    func finish(_ slot: Int, _ error: Errno?) -> Step {
        if table[slot].buffer >= 0 { bounce.giveBack(table[slot].buffer) }
        if table[slot].serializes, table[slot].phase != .waitsForOthers { serializing -= 1 }
        table[slot].phase = .idle
        return .done(error)
    }

    // MARK: What a request's memory is like

    private func isAligned(_ slot: Int) -> Bool {
        let offsetMask = UInt64(alignment.offset) &- 1
        guard (table[slot].position | table[slot].remaining) & offsetMask == 0 else { return false }
        let memoryMask = UInt(alignment.memory) &- 1
        for index in table[slot].vectors {
            guard let memory = vectors.slice(index), memory.address & memoryMask == 0,
                UInt64(memory.count) & offsetMask == 0
            else { return false }
        }
        return true
    }

    private func isAllZeroes(_ slot: Int) -> Bool {
        for index in table[slot].vectors {
            guard let memory = vectors.slice(index), memory.isZero else { return false }
        }
        return true
    }
}
