import EventLoop
import Host

/// Direct I/O on memory or offsets that are not aligned: the bytes go through a buffer that is.
extension ImageRequests {
    /// The next aligned piece of an unaligned transfer.
    func bounce(_ slot: Int) -> Step {
        if table[slot].buffer < 0 {
            guard let buffer = bounce.take() else { return holdBack(slot, .waitsForBuffer) }
            table[slot].buffer = buffer
        }
        let block = UInt64(alignment.offset)
        let (position, remaining) = (table[slot].position, table[slot].remaining)
        let skipped = position % block
        let start = position - skipped
        guard table[slot].kind != .read else {
            let wanted = min(UInt64(BouncePool.bufferSize), skipped &+ remaining)
            let whole = wanted % block == 0 ? wanted : wanted &+ (block - wanted % block)
            return bounceTransfer(slot, .bouncing, at: start, count: whole)
        }
        // A block that is written in part goes alone, and is read first.
        if skipped != 0 || remaining < block { return bounceTransfer(slot, .filling, at: start, count: block) }
        let count = min(UInt64(BouncePool.bufferSize), remaining - remaining % block)
        let buffer = bounce.memory(table[slot].buffer).prefix(Int(truncatingIfNeeded: count))
        vectors.gather(table[slot].vectors, into: buffer)
        return bounceTransfer(slot, .bouncing, at: start, count: count)
    }

    private func bounceTransfer(
        _ slot: Int, _ phase: ImageRequest.Phase, at start: UInt64, count: UInt64
    ) -> Step {
        table[slot].phase = phase
        table[slot].chunk = Int32(truncatingIfNeeded: count)
        let memory = bounce.memory(table[slot].buffer).prefix(Int(truncatingIfNeeded: count))
        let isRead = phase == .filling || table[slot].kind == .read
        return .submit(isRead ? .read(file, memory, at: start) : .write(file, memory, at: start))
    }

    /// A block was read to be changed in part.
    func filled(_ slot: Int, _ result: Int32) -> Step {
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
    func bounced(_ slot: Int, _ result: Int32) -> Step {
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
        moveOn(slot, by: count)
        return transfer(slot)
    }
}

/// The buffers of unaligned direct I/O: few, made when they are first needed.
final class BouncePool {
    static let bufferSize = 256 << 10
    private static let mostBuffers = 4

    private let alignment: Int
    private var buffers: [IOBuffer] = []
    private var free: [Int8] = []
    private let none = IOBuffer(capacity: 1)

    init(alignment: DirectAlignment) {
        self.alignment = max(alignment.memory, alignment.offset, 4096)
    }

    var hasFree: Bool { !free.isEmpty || buffers.count < Self.mostBuffers }

    func take() -> Int8? {
        if let index = free.popLast() { return index }
        guard buffers.count < Self.mostBuffers else { return nil }
        buffers.append(IOBuffer(capacity: Self.bufferSize, alignment: alignment))
        return Int8(truncatingIfNeeded: buffers.count - 1)
    }

    func giveBack(_ index: Int8) {
        free.append(index)
    }

    func memory(_ index: Int8) -> HostSlice {
        buffers.indices.contains(Int(index)) ? buffers[Int(index)].all : none.all
    }
}

extension IOVectors {
    /// Copies from the entries in `range` until `destination` is full.
    func gather(_ range: Range<Int>, into destination: HostSlice) {
        var rest = destination
        for index in range where rest.count > 0 {
            guard let memory = slice(index) else { return }
            rest = rest.dropFirst(rest.copy(from: memory))
        }
    }

    /// Copies all of `source` over the entries in `range`.
    func scatter(_ source: HostSlice, over range: Range<Int>) {
        var rest = source
        for index in range where rest.count > 0 {
            guard let memory = slice(index) else { return }
            rest = rest.dropFirst(memory.copy(from: rest))
        }
    }
}
