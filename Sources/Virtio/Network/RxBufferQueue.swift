import Backends
import Host

/// The driver's buffers for the next frames, as a queue of scatter-gather entries.
///
/// The size of the next frame is unknown, so the queue holds room for the largest. Frames take entries from the front,
/// and the driver's next buffers are added at the back. If the driver has offered too little, the rest of a frame goes
/// to the overflow, and is copied when the driver has offered more.
final class RxBufferQueue {
    /// The part of an entry that is not in the table of vectors.
    private struct Piece: BitwiseCopyable {
        var count: Int32 = 0
        var head: UInt16 = 0
        /// Whether the entry ends its chain.
        var isLast = false
    }

    /// Entries of the table, one of them for the overflow. A chain with more buffers is cut to the first ones.
    private static let capacity = 1024

    private let vectors = IOVectors(capacity: RxBufferQueue.capacity)
    private let pieces = FixedTable(repeating: Piece(), count: RxBufferQueue.capacity)
    private let overflow = IOBuffer(capacity: NetworkHeader.size + Ethernet.largestFrame)
    /// The entries in use, and the bytes in them.
    private var first = 0
    private var end = 0
    private var bytes = 0
    /// The bytes of buffers when the last frame was read.
    private var bytesAtRead = 0

    /// The largest frame that fits without the overflow, in bytes.
    var byteCount: Int { bytes }

    /// Gives all buffers back to the queue, unused.
    func empty(into queue: Virtqueue) {
        for index in (first..<end).reversed() where pieces[index].isLast { queue.putBack(pieces[index].head) }
        first = 0
        end = 0
        bytes = 0
    }

    // MARK: Filling

    /// Takes buffers up to `wanted` bytes, as far as the driver has offered them; false if there are none.
    func fill(_ wanted: Int, _ queue: Virtqueue) -> Bool {
        while bytes < wanted, makeRoom(), let chain = queue.next() { add(chain, queue) }
        return bytes > 0
    }

    private func add(_ chain: DescriptorChain, _ queue: Virtqueue) {
        guard !chain.writable.isEmpty else {
            // It has no room for any byte.
            queue.complete(chain.head, written: 0)
            return
        }
        for index in 0..<chain.writable.count where makeRoom() {
            guard let buffer = chain.writable[index] else { break }
            // Bytes beyond the largest frame are never used.
            let used = buffer.prefix(overflow.capacity)
            vectors.set(end, used)
            pieces[end] = Piece(count: Int32(truncatingIfNeeded: used.count), head: chain.head, isLast: false)
            end &+= 1
            bytes &+= used.count
        }
        pieces[end &- 1].isLast = true
    }

    /// Whether the table has room for another entry and the overflow's; moves the entries to its start if that helps.
    private func makeRoom() -> Bool {
        if end < Self.capacity &- 1 { return true }
        guard first > 0 else { return false }
        for index in first..<end {
            if let slice = vectors.slice(index) { vectors.set(index &- first, slice) }
            pieces[index &- first] = pieces[index]
        }
        end &-= first
        first = 0
        return true
    }

    // MARK: A frame

    /// Reads a frame; returns the tap's result.
    func read(_ tap: TapQueue) -> Int {
        bytesAtRead = bytes
        guard bytes < overflow.capacity else { return tap.read(into: vectors, first..<end) }
        vectors.set(end, overflow.all)
        return tap.read(into: vectors, first..<end &+ 1)
    }

    /// Whether a frame fits the buffers.
    enum Fit {
        case fits
        /// Not before the driver offers more.
        case waits
        /// Not at all: it needs more entries than the table has.
        case neverFits
    }

    /// Takes buffers for a frame of `count` bytes that is partly in the overflow, and copies that part.
    func complete(_ count: Int, _ queue: Virtqueue) -> Fit {
        while bytes < count {
            guard makeRoom() else { return .neverFits }
            guard let chain = queue.next() else { return .waits }
            add(chain, queue)
        }
        var rest = overflow.all.prefix(count &- bytesAtRead)
        var skip = bytesAtRead
        var index = first
        while rest.count > 0, index < end, let entry = vectors.slice(index) {
            rest = rest.dropFirst(entry.dropFirst(skip).copy(from: rest))
            skip = max(0, skip &- entry.count)
            index &+= 1
        }
        return .fits
    }

    /// Gives the driver the buffers of a frame of `count` bytes, and stores their number in the frame's header.
    func give(_ count: Int, _ queue: Virtqueue) {
        var left = count
        var index = first
        var chains: UInt16 = 0
        var taken = 0
        while left > 0, index < end {
            var written = 0
            var piece: Piece
            repeat {
                piece = pieces[index]
                let used = min(left, Int(piece.count))
                written &+= used
                left &-= used
                taken &+= Int(piece.count)
                index &+= 1
            } while !piece.isLast && index < end
            queue.complete(piece.head, written: UInt32(truncatingIfNeeded: written))
            chains &+= 1
        }
        store(chains, at: NetworkHeader.bufferCount)
        first = index
        bytes &-= taken
    }

    // MARK: Bytes of a frame

    /// A little-endian integer of the frame; bytes beyond its end are zero.
    func load<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type = T.self, at offset: Int) -> T {
        if let value: T = vectors.slice(first)?.load(at: offset) { return value }
        var value: T = 0
        for position in 0..<MemoryLayout<T>.size {
            guard let (entry, index) = find(offset &+ position), let byte = entry.byte(at: index) else { break }
            value |= T(byte) << T(truncatingIfNeeded: 8 &* position)
        }
        return value
    }

    /// Stores a little-endian integer in the frame; drops bytes beyond its end.
    func store<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at offset: Int) {
        if let entry = vectors.slice(first), entry.store(value, at: offset) { return }
        for position in 0..<MemoryLayout<T>.size {
            guard let (entry, index) = find(offset &+ position) else { return }
            entry.store(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: 8 &* position)), at: index)
        }
    }

    private func find(_ offset: Int) -> (HostSlice, Int)? {
        var left = offset
        var index = first
        while index < end, let entry = vectors.slice(index) {
            if left < entry.count { return (entry, left) }
            left &-= entry.count
            index &+= 1
        }
        return nil
    }
}
