import EventLoop
import Host

/// The path from the host to the driver: its buffers, and the packets that fill them.
///
/// It changes connections and buffers; its owner submits the reads that it prepares.
final class RxPath {
    /// A buffer that a part of a read goes to.
    private struct Part: BitwiseCopyable {
        var buffer: Int32 = 0
        var bytes: Int32 = 0
    }

    /// A connection's read in flight.
    private struct Read: BitwiseCopyable {
        var message: Int32 = -1
        var parts: Int32 = 0
        /// Bytes that it may read.
        var room = 0
    }

    private let guestCID: UInt64
    private let packetsPerRead: Int
    private let connections: ConnectionTable
    private let messages: MessagePool
    private let reads: FixedTable<Read>
    private let parts = FixedTable(repeating: Part(), count: MessagePool.capacity * MessagePool.segments)
    private let header = IOBuffer(capacity: VsockHeader.size)
    /// Connections that have packets for the driver.
    private var ready: SlotQueue
    private var resets = ResetQueue()
    private var buffers = ReceiveBuffers()
    private var hasSeenSmallBuffer = false

    /// - Parameter packetsPerRead: the most buffers that one read fills, up to `MessagePool.segments`.
    init(_ connections: ConnectionTable, _ messages: MessagePool, guestCID: UInt64, packetsPerRead: Int) {
        self.connections = connections
        self.messages = messages
        self.guestCID = guestCID
        self.packetsPerRead = packetsPerRead
        reads = FixedTable(repeating: Read(), count: connections.capacity)
        ready = SlotQueue(capacity: connections.capacity)
    }

    // MARK: Work

    /// Whether connections have packets for the driver.
    var hasReadyConnection: Bool { !ready.isEmpty }

    /// Whether there is any packet for the driver.
    var hasPacket: Bool { hasReadyConnection || !resets.isEmpty }

    /// A connection has packets for the driver.
    func enqueue(_ slot: Int) { ready.append(slot) }

    /// Adds a reset; false if too many wait for a driver that takes none.
    func enqueue(_ reset: ResetQueue.Reset) -> Bool { resets.append(reset) }

    /// Whether the driver has offered a buffer without room for a packet since the last call.
    func takeComplaint() -> Bool {
        defer { hasSeenSmallBuffer = false }
        return hasSeenSmallBuffer
    }

    /// Forgets the driver's buffers and resets; none is in use.
    func reset() {
        buffers.forget()
        resets.removeAll()
    }

    // MARK: Packets

    /// A connection that was served.
    struct Served {
        let slot: Int
        /// The read to submit for it.
        let read: Operation?
        /// Too many reads are in flight to serve more.
        let isLast: Bool
    }

    /// Fills buffers with resets and with the packets of one connection; nil if there are no more buffers or packets.
    func serveNext(_ queue: Virtqueue) -> Served? {
        while true {
            if buffers.count < packetsPerRead, !buffers.fill(to: ReceiveBuffers.capacity, from: queue) {
                hasSeenSmallBuffer = true
            }
            guard buffers.count > 0 else { return nil }
            if let reset = resets.takeFirst() {
                emit(reset.header(guestCID: guestCID), queue)
                continue
            }
            guard let slot = ready.takeFirst() else { return nil }
            while buffers.count > 0, let reply = connections[slot].takeReply(guestCID: guestCID) { emit(reply, queue) }
            guard connections[slot].pendingReplies.isEmpty else {
                ready.append(slot)
                continue
            }
            guard connections[slot].canRead else { return Served(slot: slot, read: nil, isLast: false) }
            guard buffers.count > 0, let message = messages.take() else {
                ready.append(slot)
                return Served(slot: slot, read: nil, isLast: buffers.count > 0)
            }
            return Served(slot: slot, read: prepareRead(slot, message), isLast: false)
        }
    }

    private func emit(_ packet: VsockHeader, _ queue: Virtqueue) {
        guard let buffer = buffers.take() else { return }
        packet.store(into: header.all)
        buffers.finish(buffer, header.all, length: 0, on: queue)
    }

    /// A read from a connection's socket into as many buffers as the guest has credit for.
    private func prepareRead(_ slot: Int, _ message: Int) -> Operation {
        let credit = Int(connections[slot].credit.available)
        let first = message * MessagePool.segments
        var (bytes, segments, count) = (0, 0, 0)
        while count < packetsPerRead, bytes < credit, let buffer = buffers.take() {
            let added = buffers.addRoom(
                of: buffer, upTo: credit - bytes, to: messages.vectors, message, from: segments)
            guard added.bytes > 0 else {
                buffers.putBack(buffer)
                break
            }
            parts[first + count] = Part(buffer: Int32(buffer), bytes: Int32(clamping: added.bytes))
            bytes += added.bytes
            segments = added.next
            count += 1
        }
        reads[slot] = Read(message: Int32(message), parts: Int32(count), room: bytes)
        return .receiveNow(
            connections.file(slot), messages.vectors, message, count: segments)
    }

    /// A connection's read has completed: gives each buffer that has got data to the driver, as a packet.
    ///
    /// - Parameter queue: the receive queue; nil if the driver has left.
    /// - Returns: whether the host's program is lost.
    func completeRead(_ slot: Int, _ result: Int32, on queue: Virtqueue?) -> Bool {
        let read = reads[slot]
        let takesData = connections[slot].takesData
        let first = Int(read.message) * MessagePool.segments
        var left = max(0, Int(result))
        for index in first..<first + Int(read.parts) {
            let part = parts[index]
            guard left > 0, takesData, let queue else {
                buffers.putBack(Int(part.buffer))
                continue
            }
            let length = min(left, Int(part.bytes))
            connections[slot].takeData(length: length, guestCID: guestCID).store(into: header.all)
            buffers.finish(Int(part.buffer), header.all, length: length, on: queue)
            left -= length
        }
        messages.release(Int(read.message))
        return connections[slot].completeRead(result, room: read.room)
    }
}
