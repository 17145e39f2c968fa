import Backends
import Host

/// The driver's buffers that the next frame is read into.
///
/// Nobody knows how large a frame will be, so the window holds room for the largest: a row of scatter-gather entries,
/// taken from the front by frames and filled up at the back with the driver's next buffers. What the driver has offered
/// too little for lands in the overflow, and goes on from there when it has offered more.
final class RxBufferQueue {
    /// What of an entry is not in the table of vectors.
    private struct Piece: BitwiseCopyable {
        var count: Int32 = 0
        var head: UInt16 = 0
        /// Whether it ends its chain.
        var isLast = false
    }

    /// Entries of the table, one of them for the overflow. Of a chain with more buffers the first ones are used.
    private static let capacity = 1024

    private let vectors = IOVectors(capacity: RxBufferQueue.capacity)
    private let pieces = FixedTable(repeating: Piece(), count: RxBufferQueue.capacity)
    private let overflow = IOBuffer(capacity: NetworkHeader.size + Ethernet.largestFrame)
    /// The entries in use, and the bytes in them.
    private var first = 0
    private var end = 0
    private var bytes = 0
    /// How much there was room for when a frame was read.
    private var roomThen = 0

    /// How much a frame can have without the overflow.
    var byteCount: Int { bytes }

    /// Leaves all buffers to who serves the queue next.
    func empty(into queue: Virtqueue) {
        for index in (first..<end).reversed() where pieces[index].isLast { queue.putBack(pieces[index].head) }
        first = 0
        end = 0
        bytes = 0
    }

    // MARK: Filling

    /// Fills the window up to `wanted` bytes as far as the driver has offered buffers; false if it is empty then.
    func fill(_ wanted: Int, _ queue: Virtqueue) -> Bool {
        while bytes < wanted, makeRoom(), let chain = queue.next() { add(chain, queue) }
        return bytes > 0
    }

    private func add(_ chain: DescriptorChain, _ queue: Virtqueue) {
        guard !chain.writable.isEmpty else {
            // Nothing can be written to it.
            queue.complete(chain.head, written: 0)
            return
        }
        for index in 0..<chain.writable.count where makeRoom() {
            guard let buffer = chain.writable[index] else { break }
            // More than the largest frame is of no use.
            let used = buffer.prefix(overflow.capacity)
            vectors.set(end, used)
            pieces[end] = Piece(count: Int32(truncatingIfNeeded: used.count), head: chain.head, isLast: false)
            end &+= 1
            bytes &+= used.count
        }
        pieces[end &- 1].isLast = true
    }

    /// Whether the table takes another entry and then one for the overflow; pushes the window back if that helps.
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

    /// Reads a frame; the result is the tap's.
    func read(_ tap: TapQueue) -> Int {
        roomThen = bytes
        guard bytes < overflow.capacity else { return tap.read(into: vectors, first..<end) }
        vectors.set(end, overflow.all)
        return tap.read(into: vectors, first..<end &+ 1)
    }

    /// Whether a frame fits the window.
    enum Fit {
        case fits
        /// The driver has to offer more.
        case waits
        /// It takes more buffers than the window can have.
        case neverFits
    }

    /// Adds the driver's next buffers for a frame of `count` bytes that is partly in the overflow, and copies that.
    func complete(_ count: Int, _ queue: Virtqueue) -> Fit {
        while bytes < count {
            guard makeRoom() else { return .neverFits }
            guard let chain = queue.next() else { return .waits }
            add(chain, queue)
        }
        var rest = overflow.all.prefix(count &- roomThen)
        var skip = roomThen
        var index = first
        while rest.count > 0, index < end, let entry = vectors.slice(index) {
            rest = rest.dropFirst(entry.dropFirst(skip).copy(from: rest))
            skip = max(0, skip &- entry.count)
            index &+= 1
        }
        return .fits
    }

    /// Gives the driver the buffers that a frame of `count` bytes has filled, and says in its header how many these are.
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

    // MARK: Its bytes

    /// An integer of the frame, little-endian; zero where there is none.
    func load<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type = T.self, at offset: Int) -> T {
        if let value: T = vectors.slice(first)?.load(at: offset) { return value }
        var value: T = 0
        for position in 0..<MemoryLayout<T>.size {
            guard let (entry, place) = find(offset &+ position), let byte = entry.byte(at: place) else { break }
            value |= T(byte) << T(truncatingIfNeeded: 8 &* position)
        }
        return value
    }

    /// Stores an integer into the frame, as far as there is one.
    func store<T: FixedWidthInteger & UnsignedInteger>(_ value: T, at offset: Int) {
        if let entry = vectors.slice(first), entry.store(value, at: offset) { return }
        for position in 0..<MemoryLayout<T>.size {
            guard let (entry, place) = find(offset &+ position) else { return }
            entry.store(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: 8 &* position)), at: place)
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
