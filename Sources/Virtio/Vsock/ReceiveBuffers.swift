import EventLoop
import Host

/// The driver's empty buffers that the device has taken from the receive queue, each for one packet.
struct ReceiveBuffers: ~Copyable {
    struct Buffer: BitwiseCopyable {
        var head: UInt16 = 0
        /// How many segments hold the header; those of the data follow.
        var headerSegments: UInt16 = 0
        var dataSegments: UInt16 = 0
        /// How much data fits.
        var room = 0
    }

    /// How many buffers are held at most.
    static let capacity = 128
    /// A buffer in more pieces than this is used as far as these reach.
    private static let mostSegments = 48

    private let table = FixedTable(repeating: Buffer(), count: capacity)
    private let segments = IOVectors(capacity: capacity * mostSegments)
    private var free = SlotQueue(allOf: capacity)
    private var waiting = SlotQueue(capacity: capacity)
    private var waitingCount = 0

    /// How many buffers wait for packets.
    var count: Int { waitingCount }

    /// Takes buffers from the queue until there are `wanted`, as far as the driver has put any there.
    ///
    /// - Returns: false if one had no room for a header and a byte of data; such a buffer goes back unused.
    mutating func fill(to wanted: Int, from queue: Virtqueue) -> Bool {
        var areSound = true
        while waitingCount < min(wanted, Self.capacity), let slot = free.takeFirst() {
            guard let chain = queue.next() else {
                free.append(slot)
                break
            }
            if set(slot, chain) {
                waiting.append(slot)
                waitingCount += 1
            } else {
                areSound = false
                free.append(slot)
                queue.complete(chain.head, written: 0)
            }
        }
        return areSound
    }

    private func set(_ slot: Int, _ chain: DescriptorChain) -> Bool {
        guard chain.writable.byteCount > VsockHeader.size else { return false }
        var buffer = Buffer(head: chain.head)
        let first = slot * Self.mostSegments
        var header = VsockHeader.size
        var count = 0
        while count < Self.mostSegments, let piece = chain.writable.takePiece(upTo: header > 0 ? header : .max) {
            segments.set(first + count, piece)
            count += 1
            if header > 0 {
                header -= piece.count
                buffer.headerSegments += 1
            } else {
                buffer.dataSegments += 1
                buffer.room += piece.count
            }
        }
        table[slot] = buffer
        return buffer.room > 0
    }

    /// Takes a buffer for a packet; nil if none waits.
    mutating func take() -> Int? {
        guard let slot = waiting.takeFirst() else { return nil }
        waitingCount -= 1
        return slot
    }

    /// Puts back a buffer that was taken and is not needed.
    mutating func putBack(_ slot: Int) {
        waiting.append(slot)
        waitingCount += 1
    }

    /// How much data fits into a buffer.
    func room(_ slot: Int) -> Int { table[slot].room }

    /// Adds the buffer's room for data to a message, from segment `index` on and no more than `limit` bytes.
    ///
    /// - Returns: how many bytes it has added, and the message's next free segment.
    func addRoom(
        of slot: Int, upTo limit: Int, to messages: MessageVectors, _ message: Int, from index: Int
    ) -> (bytes: Int, next: Int) {
        var (bytes, next) = (0, index)
        let first = slot * Self.mostSegments + Int(table[slot].headerSegments)
        for position in 0..<Int(table[slot].dataSegments) {
            guard bytes < limit, let piece = segments.slice(first + position)?.prefix(limit - bytes),
                messages.set(next, of: message, piece)
            else { break }
            bytes += piece.count
            next += 1
        }
        return (bytes, next)
    }

    /// Writes the header of the packet that the buffer now holds, and gives it to the driver.
    mutating func finish(_ slot: Int, _ header: HostSlice, length: Int, on queue: Virtqueue) {
        let first = slot * Self.mostSegments
        var rest = header
        for position in 0..<Int(table[slot].headerSegments) {
            guard let piece = segments.slice(first + position) else { break }
            rest = rest.dropFirst(piece.copy(from: rest))
        }
        queue.complete(table[slot].head, written: UInt32(clamping: VsockHeader.size + length))
        free.append(slot)
    }

    /// Forgets all buffers, of a driver that is gone; none is in use.
    mutating func forget() {
        while let slot = take() { free.append(slot) }
    }
}
