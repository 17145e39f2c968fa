import EventLoop
import Host

/// Data packets of the driver that the device holds and sends from where they lie.
struct TransmitPackets: ~Copyable {
    struct Packet: BitwiseCopyable {
        var head: UInt16 = 0
        /// The segments that have bytes left.
        var first: UInt16 = 0
        var end: UInt16 = 0
        /// The connection's next packet.
        var next: Int32 = -1
        var bytes = 0
        var isCopy = false
    }

    /// The packets of one connection, in order.
    struct List: BitwiseCopyable {
        fileprivate(set) var first: Int32 = -1
        fileprivate(set) var last: Int32 = -1

        var isEmpty: Bool { first < 0 }
    }

    static let capacity = 128
    private static let mostSegments = 20

    private let table = FixedTable(repeating: Packet(), count: capacity)
    private let segments = IOVectors(capacity: capacity * mostSegments)
    /// Copies of packets that lie in too many pieces.
    private var copies: [IOBuffer?] = Array(repeating: nil, count: capacity)
    private var free = SlotQueue(allOf: capacity)
    private var used = 0

    /// Whether another packet can be held.
    var hasRoom: Bool { used < Self.capacity }

    /// How many packets are held.
    var count: Int { used }

    /// Holds the first `length` bytes that are left of a chain, as the last of `list`; there must be room.
    mutating func append(_ chain: DescriptorChain, length: Int, to list: inout List) {
        guard let slot = free.takeFirst() else { return }
        used += 1
        var packet = Packet(head: chain.head, bytes: length)
        let base = slot * Self.mostSegments
        if chain.readable.count > Self.mostSegments {
            let copy = IOBuffer(capacity: length)
            chain.readable.copy(to: copy.all)
            copies[slot] = copy
            segments.set(base, copy.all)
            packet.end = 1
            packet.isCopy = true
        } else {
            var left = length
            while left > 0, let piece = chain.readable.takePiece(upTo: left) {
                segments.set(base + Int(packet.end), piece)
                packet.end += 1
                left -= piece.count
            }
        }
        table[slot] = packet
        if list.last >= 0 { table[Int(list.last)].next = Int32(slot) } else { list.first = Int32(slot) }
        list.last = Int32(slot)
    }

    /// Puts what is left of a list into a message, as far as it has segments.
    ///
    /// - Returns: how many bytes these are, and how many segments.
    func gather(_ list: List, into messages: MessageVectors, _ message: Int) -> (bytes: Int, segments: Int) {
        var (bytes, count) = (0, 0)
        var slot = list.first
        while slot >= 0 {
            let packet = table[Int(slot)]
            for position in packet.first..<packet.end {
                guard let piece = segments.slice(Int(slot) * Self.mostSegments + Int(position)),
                    messages.set(count, of: message, piece)
                else { return (bytes, count) }
                bytes += piece.count
                count += 1
            }
            slot = packet.next
        }
        return (bytes, count)
    }

    /// Drops `length` bytes from the front of a list, and gives packets without bytes back to the driver.
    mutating func advance(_ list: inout List, by length: Int, on queue: Virtqueue?) {
        var left = length
        while left > 0, list.first >= 0 {
            let slot = Int(list.first)
            guard left < table[slot].bytes else {
                left -= table[slot].bytes
                removeFirst(&list, on: queue)
                continue
            }
            let base = slot * Self.mostSegments
            let rest = segments.advance(base + Int(table[slot].first)..<base + Int(table[slot].end), by: left)
            table[slot].first = UInt16(truncatingIfNeeded: rest.lowerBound - base)
            table[slot].bytes -= left
            left = 0
        }
    }

    /// Copies a list's bytes to `body`, piece by piece, and gives all its packets back to the driver.
    mutating func empty(_ list: inout List, on queue: Virtqueue?, _ body: (HostSlice) -> Void) {
        while list.first >= 0 {
            let packet = table[Int(list.first)]
            for position in packet.first..<packet.end {
                if let piece = segments.slice(Int(list.first) * Self.mostSegments + Int(position)) { body(piece) }
            }
            removeFirst(&list, on: queue)
        }
    }

    private mutating func removeFirst(_ list: inout List, on queue: Virtqueue?) {
        let slot = Int(list.first)
        list.first = table[slot].next
        if list.first < 0 { list.last = -1 }
        queue?.complete(table[slot].head, written: 0)
        if table[slot].isCopy { copies[slot] = nil }
        free.append(slot)
        used -= 1
    }
}
