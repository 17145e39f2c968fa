import Host

/// The driver's buffers that frames are read into: one window of them for each read that can be under way.
///
/// A window is a row of scatter-gather entries, taken from the front by frames and filled up at the back with the
/// driver's next buffers; it moves through its part of the table and is pushed back when it meets the end. What a frame
/// has too much for a window goes to the overflow, which is one for all: it is used by one read at a time where its
/// contents matter.
final class ReceiveWindows {
    private struct Window: BitwiseCopyable {
        /// The entries in use.
        var first: Int32 = 0
        var end: Int32 = 0
        var chains: Int32 = 0
        var bytes: Int32 = 0
    }

    /// What of an entry is not in the table itself.
    private struct Piece: BitwiseCopyable {
        var count: Int32 = 0
        var head: UInt16 = 0
        var isLast = false
    }

    /// How many windows there are.
    static let count = 16
    /// Entries for each, one of them for the overflow. Of a chain with more buffers the first ones are used.
    private static let entries = 256

    let vectors = IOVectors(capacity: ReceiveWindows.count * ReceiveWindows.entries)
    private let pieces = FixedTable(repeating: Piece(), count: ReceiveWindows.count * ReceiveWindows.entries)
    private let windows = FixedTable(repeating: Window(), count: ReceiveWindows.count)
    private let overflow = IOBuffer(capacity: NetworkHeader.size + Ethernet.largestFrame)
    /// Whether the driver has offered less than the largest frame takes, all of it in the first window. Then that is
    /// read into alone, and what its frame has too much waits in the overflow.
    private(set) var isShort = false
    /// What the first window held when it was short.
    private var bytesRead = 0

    init() {
        empty()
    }

    /// Forgets all buffers.
    func empty() {
        for slot in 0..<Self.count {
            let start = Int32(truncatingIfNeeded: slot * Self.entries)
            windows[slot] = Window(first: start, end: start)
        }
    }

    /// How much a frame in this window can have.
    func byteCount(_ slot: Int) -> Int { Int(windows[slot].bytes) }

    // MARK: Filling

    /// Fills a window up to `reserve` bytes, or with one chain if frames may not take several.
    ///
    /// To be called for one window after the other, when no read is under way. The first one takes what there is, if
    /// that is too little.
    ///
    /// - Returns: the entries to read into; nil if there is nothing to read into.
    func prepare(_ slot: Int, _ queue: Virtqueue, _ reserve: Int, _ isMergeable: Bool) -> Range<Int>? {
        let wanted = isMergeable ? reserve : 1
        while windows[slot].bytes < wanted {
            guard makeRoom(slot), let chain = queue.next() else { break }
            add(chain, slot, queue)
        }
        if slot == 0 {
            if windows[0].bytes < wanted { collect(wanted) }
            isShort = windows[0].bytes < wanted
            bytesRead = Int(windows[0].bytes)
            guard bytesRead > 0 else { return nil }
        } else if isShort || windows[slot].bytes < wanted {
            return nil
        }
        let window = windows[slot]
        var end = Int(window.end)
        if Int(window.bytes) < overflow.capacity {
            vectors.set(end, overflow.all)
            end &+= 1
        }
        return Int(window.first)..<end
    }

    /// Takes what the other windows hold into the first one.
    private func collect(_ wanted: Int) {
        for other in 1..<Self.count {
            while windows[0].bytes < wanted, windows[other].chains > 0 {
                guard makeRoom(0) else { return }
                moveChain(from: other)
            }
        }
    }

    private func moveChain(from other: Int) {
        var isLast = false
        // Of a chain that does not fit any more, the first buffers do.
        var fits = true
        while !isLast, windows[other].first < windows[other].end {
            let from = Int(windows[other].first)
            isLast = pieces[from].isLast
            if fits {
                append(0, vectors.slice(from), head: pieces[from].head)
                fits = makeRoom(0)
            }
            windows[other].first &+= 1
            windows[other].bytes &-= pieces[from].count
        }
        pieces[Int(windows[0].end) &- 1].isLast = true
        windows[0].chains &+= 1
        windows[other].chains &-= 1
    }

    private func add(_ chain: DescriptorChain, _ slot: Int, _ queue: Virtqueue) {
        guard !chain.writable.isEmpty else {
            // Nothing can be written to it.
            queue.complete(chain.head, written: 0)
            return
        }
        for index in 0..<chain.writable.count {
            append(slot, chain.writable[index], head: chain.head)
            guard makeRoom(slot) else { break }
        }
        pieces[Int(windows[slot].end) &- 1].isLast = true
        windows[slot].chains &+= 1
    }

    private func append(_ slot: Int, _ buffer: HostSlice?, head: UInt16) {
        guard let buffer else { return }
        // More than the largest frame is of no use, and would not fit the count.
        let used = buffer.prefix(overflow.capacity)
        let index = Int(windows[slot].end)
        vectors.set(index, used)
        pieces[index] = Piece(count: Int32(truncatingIfNeeded: used.count), head: head, isLast: false)
        windows[slot].end &+= 1
        windows[slot].bytes &+= Int32(truncatingIfNeeded: used.count)
    }

    /// Whether the window can take another entry and leave one for the overflow; pushes it back if that helps.
    private func makeRoom(_ slot: Int) -> Bool {
        let start = slot &* Self.entries
        let last = start &+ Self.entries &- 1
        let window = windows[slot]
        if Int(window.end) < last { return true }
        let shift = Int(window.first) &- start
        guard shift > 0 else { return false }
        for index in Int(window.first)..<Int(window.end) {
            if let slice = vectors.slice(index) { vectors.set(index &- shift, slice) }
            pieces[index &- shift] = pieces[index]
        }
        windows[slot].first = Int32(truncatingIfNeeded: start)
        windows[slot].end = Int32(truncatingIfNeeded: Int(window.end) &- shift)
        return true
    }

    // MARK: A frame

    /// Whether a frame fits the window.
    enum Fit {
        case fits
        /// The driver has to offer more.
        case waits
        /// It would take more buffers than a window can have.
        case neverFits
    }

    /// Adds what the driver has offered since to the short window, and copies the rest of its frame there.
    func complete(_ bytes: Int, _ queue: Virtqueue) -> Fit {
        while windows[0].bytes < bytes {
            guard makeRoom(0) else { return .neverFits }
            guard let chain = queue.next() else { return .waits }
            add(chain, 0, queue)
        }
        var rest = overflow.all.prefix(bytes &- bytesRead)
        var skip = bytesRead
        var index = Int(windows[0].first)
        while rest.count > 0, index < Int(windows[0].end), let entry = vectors.slice(index) {
            rest = rest.dropFirst(entry.dropFirst(skip).copy(from: rest))
            skip = max(0, skip &- entry.count)
            index &+= 1
        }
        return .fits
    }

    /// Gives the driver the buffers that a frame of `bytes` has filled, and says in its header how many these are.
    func give(_ slot: Int, _ bytes: Int, _ queue: Virtqueue) {
        let first = Int(windows[slot].first)
        var left = bytes
        var index = first
        var chains: UInt16 = 0
        var taken: Int32 = 0
        while left > 0, index < Int(windows[slot].end) {
            var written = 0
            var piece: Piece
            repeat {
                piece = pieces[index]
                let used = min(left, Int(piece.count))
                written &+= used
                left &-= used
                taken &+= piece.count
                index &+= 1
            } while !piece.isLast && index < Int(windows[slot].end)
            queue.complete(piece.head, written: UInt32(truncatingIfNeeded: written))
            chains &+= 1
        }
        store(slot, chains, at: NetworkHeader.bufferCount)
        windows[slot].first = Int32(truncatingIfNeeded: index)
        windows[slot].bytes &-= taken
        windows[slot].chains &-= Int32(chains)
    }

    // MARK: Its bytes

    /// An integer of a frame in the window, little-endian; zero where there is none.
    func load<T: FixedWidthInteger & UnsignedInteger>(_ slot: Int, at offset: Int) -> T {
        if let value: T = vectors.slice(Int(windows[slot].first))?.load(at: offset) { return value }
        var value: T = 0
        for position in 0..<MemoryLayout<T>.size {
            guard let (entry, place) = find(slot, offset &+ position), let byte = entry.byte(at: place) else { break }
            value |= T(byte) << T(truncatingIfNeeded: 8 &* position)
        }
        return value
    }

    /// Stores an integer into a frame in the window, as far as there is one.
    func store<T: FixedWidthInteger & UnsignedInteger>(_ slot: Int, _ value: T, at offset: Int) {
        if let entry = vectors.slice(Int(windows[slot].first)), entry.store(value, at: offset) { return }
        for position in 0..<MemoryLayout<T>.size {
            guard let (entry, place) = find(slot, offset &+ position) else { return }
            entry.store(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: 8 &* position)), at: place)
        }
    }

    private func find(_ slot: Int, _ offset: Int) -> (HostSlice, Int)? {
        var left = offset
        var index = Int(windows[slot].first)
        while index < Int(windows[slot].end), let entry = vectors.slice(index) {
            if left < entry.count { return (entry, left) }
            left &-= entry.count
            index &+= 1
        }
        return nil
    }
}
