package import EventLoop
package import Host

/// The requests to a raw image: the state machine behind `DiskRequests`.
///
/// It deals with short and interrupted transfers, with direct I/O on unaligned memory or offsets, and with operations
/// that the file system lacks.
package final class RawRequests {
    /// The memory of all requests: slot `n` owns the entries from `n * segments`.
    private let vectors: IOVectors
    /// The most pieces of memory of one request.
    private let segments: Int
    private let file: IOFile
    private let reactor: Reactor
    private let alignment: DirectAlignment
    private let isDirect: Bool
    private let isBlockDevice: Bool
    private let logicalBlockSize: Int
    private let zeroDetection: ZeroDetection
    private let table: FixedTable<RawRequest>
    private let locks: BlockLocks
    private let bounce: BounceBuffers
    private let zeroes: ZeroBuffer
    // What the file has refused once is not tried again.
    private var canPunch = true
    private var canZero = true
    private var isStopped = false

    /// The most entries of one vectored transfer (`UIO_MAXIOV`).
    private static let longestVector = 1024
    private static let mostRetries: UInt8 = 100

    /// The parameters are those of `DiskRequests`.
    package init(
        _ image: RawImage, on reactor: Reactor, slots: Int, segments: Int, zeroDetection: ZeroDetection = .off
    ) {
        let slots = min(max(slots, 1), 4096)
        // Writing zeroes needs a few of its own.
        self.segments = max(segments, 4)
        self.reactor = reactor
        self.zeroDetection = zeroDetection
        vectors = IOVectors(capacity: slots * self.segments)
        table = FixedTable(repeating: RawRequest(), count: slots)
        file = reactor.register(image.descriptor)
        alignment = image.alignment
        isDirect = image.isDirect
        isBlockDevice = image.isBlockDevice
        logicalBlockSize = image.limits.logicalBlockSize
        locks = BlockLocks(slots: slots, block: image.alignment.offset)
        bounce = BounceBuffers(alignment: image.alignment)
        zeroes = ZeroBuffer(alignment: image.alignment)
    }

    /// As `DiskRequests` says.
    package func setSegment(_ index: Int, of slot: Int, _ memory: HostSlice) -> Bool {
        guard index >= 0, index < segments, slot >= 0, slot < table.count else { return false }
        return vectors.set(slot * segments + index, memory)
    }

    /// As `DiskRequests` says.
    package func begin(
        _ slot: Int, _ kind: DiskRequestKind, at offset: UInt64, count: UInt64, segments segmentCount: Int,
        isDurable: Bool = false
    ) -> DiskStep {
        let first = Int32(truncatingIfNeeded: slot * segments)
        table[slot] = RawRequest()
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
        if kind.modifies, !locks.claim(slot, from: offset, to: offset &+ count, isDiscard: kind == .discard) {
            table[slot].phase = .waitsForBlocks
            return .wait
        }
        return start(slot)
    }

    /// As `DiskRequests` says.
    package func advance(_ slot: Int, result: Int32) -> DiskStep {
        if result == -Errno.interrupted.rawValue || result == -Errno.again.rawValue {
            table[slot].retries += 1
            guard table[slot].retries < Self.mostRetries else { return finish(slot, Errno(rawValue: -result)) }
            return retry(slot)
        }
        table[slot].retries = 0
        switch table[slot].phase {
        case .straight: return transferred(slot, result)
        case .filling: return filled(slot, result)
        case .bouncing: return bounced(slot, result)
        case .punching, .zeroing: return allocated(slot, result)
        case .syncing: return finish(slot, result < 0 ? Errno(rawValue: -result) : nil)
        case .idle, .waitsForBlocks, .waitsForBuffer: return .wait
        }
    }

    /// As `DiskRequests` says.
    package func resume() -> (slot: Int, step: DiskStep)? {
        if isStopped {
            guard let slot = locks.cancel() ?? bounce.cancel() else { return nil }
            return (slot, finish(slot, .canceled))
        }
        if let slot = bounce.next() { return (slot, transfer(slot)) }
        guard let slot = locks.next() else { return nil }
        return (slot, start(slot))
    }

    /// As `DiskRequests` says.
    package func stop() -> (slot: Int, step: DiskStep)? {
        isStopped = true
        return resume()
    }

    /// As `DiskRequests` says.
    package func restart() {
        isStopped = false
    }

    /// As `DiskRequests` says.
    package func unregister() {
        reactor.unregister(file)
    }

    // MARK: Transfers

    private func start(_ slot: Int) -> DiskStep {
        guard !isStopped else { return finish(slot, .canceled) }
        return switch table[slot].kind {
        case .read, .write: transfer(slot)
        case .flush: sync(slot)
        case .discard, .writeZeroes, .unmapZeroes: allocate(slot)
        }
    }

    private func retry(_ slot: Int) -> DiskStep {
        switch table[slot].phase {
        case .straight, .filling, .bouncing: transfer(slot)
        case .syncing: sync(slot)
        default: start(slot)
        }
    }

    /// The next piece of a transfer, or its end.
    private func transfer(_ slot: Int) -> DiskStep {
        guard !isStopped else { return finish(slot, .canceled) }
        if table[slot].remaining == 0 {
            guard table[slot].zeroes > 0 else { return transferEnded(slot) }
            describeZeroes(slot)
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

    private func transferred(_ slot: Int, _ result: Int32) -> DiskStep {
        guard result > 0 else { return finish(slot, result == 0 ? .ioError : Errno(rawValue: -result)) }
        var count = UInt64(UInt32(bitPattern: result))
        if count == table[slot].remaining, table[slot].zeroes == 0 {
            table[slot].remaining = 0
            return transferEnded(slot)
        }
        // A direct transfer must begin at a block, so the rest repeats a block that was done in part.
        if count < table[slot].remaining { count -= count % UInt64(alignment.offset) }
        guard count > 0 else { return finish(slot, .ioError) }
        skip(slot, count)
        return transfer(slot)
    }

    /// Counts `count` bytes as done.
    private func skip(_ slot: Int, _ count: UInt64) {
        let count = min(count, table[slot].remaining)
        let left = vectors.advance(table[slot].vectors, by: Int(truncatingIfNeeded: count))
        table[slot].first = Int32(truncatingIfNeeded: left.lowerBound)
        table[slot].position &+= count
        table[slot].remaining -= count
    }

    /// Makes the changes durable, if that was asked for.
    private func transferEnded(_ slot: Int) -> DiskStep {
        guard table[slot].isDurable, table[slot].kind.modifies else { return finish(slot, nil) }
        return sync(slot)
    }

    private func sync(_ slot: Int) -> DiskStep {
        table[slot].phase = .syncing
        return .submit(.dataSync(file))
    }

    /// Ends a request and gives back what it held.
    private func finish(_ slot: Int, _ error: Errno?) -> DiskStep {
        if table[slot].buffer >= 0 { bounce.giveBack(table[slot].buffer) }
        if table[slot].kind.modifies { locks.release(slot) }
        table[slot].phase = .idle
        return .done(error)
    }

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

    // MARK: Unaligned direct transfers

    /// The next aligned piece of an unaligned transfer.
    private func bounce(_ slot: Int) -> DiskStep {
        if table[slot].buffer < 0 {
            guard let buffer = bounce.take(for: slot) else {
                table[slot].phase = .waitsForBuffer
                return .wait
            }
            table[slot].buffer = buffer
        }
        let block = UInt64(alignment.offset)
        let (position, remaining) = (table[slot].position, table[slot].remaining)
        let skipped = position % block
        let start = position - skipped
        guard table[slot].kind != .read else {
            let wanted = min(UInt64(BounceBuffers.size), skipped &+ remaining)
            let whole = wanted % block == 0 ? wanted : wanted &+ (block - wanted % block)
            return bounceTransfer(slot, .bouncing, at: start, count: whole)
        }
        // A block that is written in part is transferred alone, and read first.
        if skipped != 0 || remaining < block { return bounceTransfer(slot, .filling, at: start, count: block) }
        let count = min(UInt64(BounceBuffers.size), remaining - remaining % block)
        let buffer = bounce.memory(table[slot].buffer).prefix(Int(truncatingIfNeeded: count))
        vectors.gather(table[slot].vectors, into: buffer)
        return bounceTransfer(slot, .bouncing, at: start, count: count)
    }

    private func bounceTransfer(
        _ slot: Int, _ phase: RawRequest.Phase, at start: UInt64, count: UInt64
    ) -> DiskStep {
        table[slot].phase = phase
        table[slot].chunk = Int32(truncatingIfNeeded: count)
        let memory = bounce.memory(table[slot].buffer).prefix(Int(truncatingIfNeeded: count))
        let isRead = phase == .filling || table[slot].kind == .read
        return .submit(isRead ? .read(file, memory, at: start) : .write(file, memory, at: start))
    }

    /// A block was read that the data changes in part.
    private func filled(_ slot: Int, _ result: Int32) -> DiskStep {
        guard result == table[slot].chunk else {
            return finish(slot, result < 0 ? Errno(rawValue: -result) : .ioError)
        }
        let block = UInt64(alignment.offset)
        let skipped = table[slot].position % block
        let count = min(block - skipped, table[slot].remaining)
        if let part = bounce.memory(table[slot].buffer).slice(at: Int(skipped), count: Int(count)) {
            vectors.gather(table[slot].vectors, into: part)
        }
        return bounceTransfer(slot, .bouncing, at: table[slot].position - skipped, count: block)
    }

    /// Whole blocks were read into the buffer or written from it.
    private func bounced(_ slot: Int, _ result: Int32) -> DiskStep {
        guard result > 0 else { return finish(slot, result == 0 ? .ioError : Errno(rawValue: -result)) }
        let skipped = table[slot].position % UInt64(alignment.offset)
        var done = UInt64(UInt32(bitPattern: result))
        if table[slot].kind != .read { done -= done % UInt64(alignment.offset) }
        guard done > skipped else { return finish(slot, .ioError) }
        let count = min(done - skipped, table[slot].remaining)
        if table[slot].kind == .read,
            let part = bounce.memory(table[slot].buffer).slice(at: Int(skipped), count: Int(count))
        {
            vectors.scatter(part, over: table[slot].vectors)
        }
        skip(slot, count)
        return transfer(slot)
    }

    // MARK: Discarding and zeroing

    /// The first operation of a discard or of zeroing that the file has not refused before.
    private func allocate(_ slot: Int) -> DiskStep {
        let kind = table[slot].kind
        if kind == .discard, isBlockDevice { table[slot].trimToBlocks(UInt64(logicalBlockSize)) }
        guard table[slot].remaining > 0 else { return transferEnded(slot) }
        if kind != .writeZeroes, canPunch { return allocate(slot, .punching, [.punchHole, .keepSize]) }
        if kind == .discard { return finish(slot, .notSupported) }
        if canZero { return allocate(slot, .zeroing, [.zeroRange, .keepSize]) }
        return writeZeroes(slot)
    }

    private func allocate(_ slot: Int, _ phase: RawRequest.Phase, _ mode: Operation.AllocateMode) -> DiskStep {
        table[slot].phase = phase
        return .submit(.allocate(file, mode, at: table[slot].position, count: table[slot].remaining))
    }

    /// The file system has zeroed or freed the range, or has refused to.
    private func allocated(_ slot: Int, _ result: Int32) -> DiskStep {
        guard result < 0 else {
            table[slot].remaining = 0
            return transferEnded(slot)
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
    private func writeZeroes(_ slot: Int) -> DiskStep {
        table[slot].zeroes = table[slot].remaining
        table[slot].remaining = 0
        return transfer(slot)
    }

    /// Describes the next zeroes to write as data.
    private func describeZeroes(_ slot: Int) {
        let first = slot * segments
        let (end, count) = zeroes.describe(table[slot].zeroes, in: vectors, first..<first + segments)
        table[slot].first = Int32(truncatingIfNeeded: first)
        table[slot].end = Int32(truncatingIfNeeded: end)
        table[slot].remaining = count
        table[slot].zeroes -= count
    }
}

extension Errno {
    /// Whether a file or device lacks the operation, so that another try is useless.
    package var meansNotSupported: Bool {
        self == .notSupported || self == .noSystemCall || self == .noDevice
    }
}
