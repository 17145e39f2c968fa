import Host

/// The aligned buffers of direct I/O on memory or offsets that are not aligned: few, and allocated on first use.
final class BounceBuffers {
    /// Bytes of one buffer.
    static let size = 256 << 10
    private static let mostBuffers = 4

    private let alignment: Int
    private var buffers: [IOBuffer] = []
    private var free: [Int8] = []
    /// Slots that wait for a buffer, the oldest first.
    private var waiting: [Int32] = []
    private let none = IOBuffer(capacity: 1)

    init(alignment: DirectAlignment) {
        self.alignment = max(alignment.memory, alignment.offset, 4096)
    }

    /// Takes a buffer for a request; if all are in use, the request waits and `next` names it.
    func take(for slot: Int) -> Int8? {
        if let index = free.popLast() { return index }
        guard buffers.count < Self.mostBuffers else {
            waiting.append(Int32(truncatingIfNeeded: slot))
            return nil
        }
        buffers.append(IOBuffer(capacity: Self.size, alignment: alignment))
        return Int8(truncatingIfNeeded: buffers.count - 1)
    }

    func giveBack(_ index: Int8) {
        free.append(index)
    }

    /// The request that has waited longest, if a buffer is free now; it must take one.
    func next() -> Int? { free.isEmpty ? nil : cancel() }

    /// The request that has waited longest; it waits no more.
    func cancel() -> Int? { waiting.isEmpty ? nil : Int(waiting.removeFirst()) }

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
