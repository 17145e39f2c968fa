import EventLoop
import Host

/// The path from the driver to the host: data packets that wait for their sockets, and the backlogs of slow readers.
///
/// It changes connections and packets; its owner submits the sends that it prepares.
final class TxPath {
    /// A connection's data on its way to the host.
    private struct Outgoing: BitwiseCopyable {
        /// Packets held where the driver put them, or else copies of them: only one of the two has bytes.
        var packets = TransmitPackets.List()
        var backlog = VsockBacklog()
        /// The message and the bytes of the send in flight.
        var message: Int32 = -1
        var length = 0
    }

    /// A packet that was taken, and what it calls for.
    enum Taken {
        /// For a connection.
        case connected(Int, VsockConnection.Outcome, VsockHeader)
        /// For no connection.
        case unconnected(VsockHeader, VsockPorts)
        /// Not a packet of this guest.
        case invalid(VsockViolation)
    }

    private let guestCID: UInt64
    private let connections: ConnectionTable
    private let messages: MessagePool
    private let outgoing: FixedTable<Outgoing>
    /// The memory of each connection's backlog, if it has one.
    private var memory: [IOBuffer?]
    private var packets = TransmitPackets()
    /// Connections that have packets to send.
    private var sendable: SlotQueue
    private var isWaitingForRoom = false

    init(_ connections: ConnectionTable, _ messages: MessagePool, guestCID: UInt64) {
        self.guestCID = guestCID
        self.connections = connections
        self.messages = messages
        outgoing = FixedTable(repeating: Outgoing(), count: connections.capacity)
        memory = Array(repeating: nil, count: connections.capacity)
        sendable = SlotQueue(capacity: connections.capacity)
    }

    // MARK: From the driver

    /// Takes the next packet; nil if there is none, or `takeRoom` tells when there is room for it.
    func takeNext(_ queue: Virtqueue) -> Taken? {
        isWaitingForRoom = !packets.hasRoom
        guard packets.hasRoom, let chain = queue.next() else { return nil }
        var isHeld = false
        let taken = take(chain, queue, &isHeld)
        if !isHeld { queue.complete(chain.head, written: 0) }
        return taken
    }

    private func take(_ chain: DescriptorChain, _ queue: Virtqueue, _ isHeld: inout Bool) -> Taken {
        guard let packet = VsockHeader(chain.readable) else { return .invalid(.noHeader) }
        guard packet.sourceCID == guestCID else { return .invalid(.source(packet.sourceCID, of: guestCID)) }
        let ports = VsockPorts(guest: packet.sourcePort, host: packet.destinationPort)
        guard packet.isForHostStream, let slot = connections.find(ports) else { return .unconnected(packet, ports) }
        let outcome = connections[slot].take(packet, dataCount: chain.readable.byteCount)
        if outcome == .data { isHeld = hold(chain, length: Int(packet.length), slot, queue) }
        return .connected(slot, outcome, packet)
    }

    /// Whether there is room again for packets that wait in the queue.
    func takeRoom() -> Bool {
        guard isWaitingForRoom, packets.hasRoom else { return false }
        isWaitingForRoom = false
        return true
    }

    /// Holds the first `length` bytes that are left of a packet.
    ///
    /// - Returns: whether the chain is needed; if not, the bytes were copied.
    private func hold(_ chain: DescriptorChain, length: Int, _ slot: Int, _ queue: Virtqueue) -> Bool {
        if connections[slot].isBlocked, isCrowded(queue) { spill(slot, queue) }
        if outgoing[slot].backlog.count > 0 || connections[slot].inFlight.contains(.flush) {
            copy(chain, length, slot)
            return false
        }
        packets.append(chain, length: length, to: &outgoing[slot].packets)
        return true
    }

    private func copy(_ chain: DescriptorChain, _ length: Int, _ slot: Int) {
        prepareBacklog(slot)
        var left = length
        while left > 0, let piece = chain.readable.takePiece(upTo: left) {
            outgoing[slot].backlog.append(piece)
            left -= piece.count
        }
    }

    /// Whether so much of the queue is held that packets for slow readers must make room for others.
    private func isCrowded(_ queue: Virtqueue?) -> Bool { packets.count >= Int(queue?.size ?? 0) / 8 }

    /// Copies a slow reader's packets into its backlog, and gives them back to the driver.
    private func spill(_ slot: Int, _ queue: Virtqueue?) {
        guard !outgoing[slot].packets.isEmpty, !connections[slot].inFlight.contains(.send) else { return }
        prepareBacklog(slot)
        var backlog = outgoing[slot].backlog
        packets.empty(&outgoing[slot].packets, on: queue) { backlog.append($0) }
        outgoing[slot].backlog = backlog
    }

    /// Gives a connection's backlog its memory, as much as the guest was promised.
    private func prepareBacklog(_ slot: Int) {
        guard !outgoing[slot].backlog.isReady else { return }
        let buffer = IOBuffer(capacity: Int(connections[slot].credit.window))
        memory[slot] = buffer
        outgoing[slot].backlog.use(buffer.all)
    }

    // MARK: To the host

    /// Whether connections have packets to send.
    var hasSendable: Bool { !sendable.isEmpty }

    /// A connection has data to send, and no send in flight.
    ///
    /// - Returns: the flush of its backlog to submit; nil if it has packets, which `sendNext` sends.
    func enqueue(_ slot: Int) -> Operation? {
        if let front = outgoing[slot].backlog.front {
            outgoing[slot].length = front.count
            return .sendNow(connections.file(slot), front)
        }
        if !outgoing[slot].packets.isEmpty { sendable.append(slot) }
        return nil
    }

    /// A send of a connection's packets from where they lie, to be submitted.
    struct Send {
        let slot: Int
        let operation: Operation
    }

    /// Prepares the next send; nil if there is none, or too many are in flight.
    func sendNext() -> Send? {
        while let slot = sendable.takeFirst() {
            guard connections[slot].canSend, !outgoing[slot].packets.isEmpty else { continue }
            guard let message = messages.take() else {
                sendable.append(slot)
                return nil
            }
            let (bytes, segments) = packets.gather(outgoing[slot].packets, into: messages.vectors, message)
            outgoing[slot].message = Int32(message)
            outgoing[slot].length = bytes
            let file = connections.file(slot)
            return Send(slot: slot, operation: .sendNow(file, messages.vectors, message, count: segments))
        }
        return nil
    }

    /// A send of packets has completed; the socket has taken some, all or none of them.
    ///
    /// - Parameter queue: the transmit queue; nil if the driver has left.
    func completeSend(_ slot: Int, _ result: Int32, on queue: Virtqueue?) {
        messages.release(Int(outgoing[slot].message))
        packets.advance(&outgoing[slot].packets, by: max(0, Int(result)), on: queue)
        complete(slot, result, queue)
    }

    /// A flush of a backlog has completed.
    func completeFlush(_ slot: Int, _ result: Int32, on queue: Virtqueue?) {
        outgoing[slot].backlog.drop(max(0, Int(result)))
        complete(slot, result, queue)
    }

    private func complete(_ slot: Int, _ result: Int32, _ queue: Virtqueue?) {
        switch connections[slot].completeSend(result, of: outgoing[slot].length) {
        case .none: break
        case .discard: discard(slot, on: queue)
        case .blocked: if isCrowded(queue) { spill(slot, queue) }
        }
    }

    // MARK: Ends

    /// Drops a connection's data that is not in flight, as if it had left.
    func discard(_ slot: Int, on queue: Virtqueue?) {
        if !connections[slot].inFlight.contains(.send), !outgoing[slot].packets.isEmpty {
            var count = 0
            packets.empty(&outgoing[slot].packets, on: queue) { count += $0.count }
            connections[slot].forward(count)
        }
        if !connections[slot].inFlight.contains(.flush) {
            let count = outgoing[slot].backlog.count
            outgoing[slot].backlog.drop(count)
            connections[slot].forward(count)
        }
    }

    /// Frees a slot without data or sends in flight.
    func release(_ slot: Int) {
        memory[slot] = nil
        outgoing[slot] = Outgoing()
    }
}
