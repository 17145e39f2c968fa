import EventLoop
import Host

/// From the guest to the host.
extension UnixVsockDevice {
    /// Takes the guest's packets, and sends what they carry: a connection's packets by one operation.
    func takePackets(_ queue: Virtqueue) {
        while true {
            guard packets.hasRoom else {
                isWaitingForPacket = true
                break
            }
            guard let chain = queue.next() else { break }
            if !take(chain) { queue.complete(chain.head, written: 0) }
        }
        while let slot = sendable.takeFirst() {
            guard send(slot) else { break }
        }
    }

    /// Does what a packet says; true if its buffers are still needed.
    private func take(_ chain: DescriptorChain) -> Bool {
        guard let packet = VsockHeader(chain.readable) else {
            complain("the guest sent a packet without a whole header")
            return false
        }
        guard packet.sourceCID == guestCID else {
            complain("the guest sent a packet from CID \(packet.sourceCID), and has \(guestCID)")
            return false
        }
        let ports = VsockPorts(guest: packet.sourcePort, host: packet.destinationPort)
        guard packet.destinationCID == VsockCID.host, packet.type == VsockType.stream,
            let slot = directory.find(ports)
        else {
            takeUnconnected(packet, ports)
            return false
        }
        connections[slot].takeCredit(packet)
        switch packet.operation {
        case .data: return takeData(slot, packet, chain)
        case .response where connections[slot].phase == .requesting && !connections[slot].owed.contains(.request):
            accepted(slot)
        case .request where connections[slot].phase == .ending:
            // The guest has forgotten a connection of which this device waits for the end.
            close(slot)
            dial(ports, packet)
            return false
        case .reset:
            lostGuest(slot)
            return false
        case .shutdown where connections[slot].phase == .connected || connections[slot].phase == .ending:
            takeShutdown(slot, packet)
            return false
        case .creditRequest where connections[slot].phase == .connected:
            connections[slot].owed.insert(.creditUpdate)
        case .creditUpdate: break
        default:
            violate(slot, "a packet of operation \(packet.operation.rawValue) out of order")
            return false
        }
        settle(slot)
        return false
    }

    private func takeUnconnected(_ packet: VsockHeader, _ ports: VsockPorts) {
        let isForStream = packet.destinationCID == VsockCID.host && packet.type == VsockType.stream
        if isForStream, packet.operation == .request {
            dial(ports, packet)
        } else if packet.operation != .reset {
            refuse(ports, sourceCID: packet.destinationCID, type: packet.type)
        }
    }

    private func violate(_ slot: Int, _ text: String) {
        complain("the guest sent \(text)")
        reset(slot)
    }

    private func takeShutdown(_ slot: Int, _ packet: VsockHeader) {
        connections[slot].guestEnds.formUnion(VsockEnds(rawValue: packet.flags).intersection(.both))
        guard connections[slot].guestEnds == .both else { return settle(slot) }
        // The guest waits for this before it forgets the connection.
        refuse(connections[slot].ports)
        lostGuest(slot)
    }

    /// Takes data; true if it stays where it is for now.
    private func takeData(_ slot: Int, _ packet: VsockHeader, _ chain: DescriptorChain) -> Bool {
        let connection = connections[slot]
        // The program is gone, and the guest is being told.
        if connection.phase == .ending { return false }
        guard connection.phase == .connected, !connection.owed.contains(.response) else {
            violate(slot, "data before the connection")
            return false
        }
        guard !connection.guestEnds.contains(.sending) else {
            violate(slot, "data after its shutdown")
            return false
        }
        let length = Int(packet.length)
        guard length <= chain.readable.byteCount else {
            violate(slot, "\(length) bytes of data in buffers of \(chain.readable.byteCount)")
            return false
        }
        guard packet.length <= connection.allowance else {
            violate(slot, "\(length) bytes of data with credit for \(connection.allowance)")
            return false
        }
        guard length > 0 else { return false }
        connections[slot].received &+= packet.length
        if connection.hostEnds.contains(.receiving) {
            connections[slot].forward(length)
            settle(slot)
            return false
        }
        if connection.isBlocked, isCrowded { spill(slot) }
        if connections[slot].backlog.count > 0 || connection.inFlight.contains(.flush) {
            copy(chain, length, slot)
            settle(slot)
            return false
        }
        var list = connection.packets
        packets.append(chain, length: length, to: &list)
        connections[slot].packets = list
        settle(slot)
        return true
    }

    private func copy(_ chain: DescriptorChain, _ length: Int, _ slot: Int) {
        prepareBacklog(slot)
        var left = length
        while left > 0, let piece = chain.readable.takePiece(upTo: left) {
            connections[slot].backlog.append(piece)
            left -= piece.count
        }
    }

    /// Whether so much of the guest's queue is held that those who wait for slow readers must make room for others.
    private var isCrowded: Bool { packets.count >= Int(transmitQueue?.size ?? 0) / 8 }

    /// Copies a slow reader's packets into its backlog, so that they do not take others' place.
    private func spill(_ slot: Int) {
        guard !connections[slot].packets.isEmpty, !connections[slot].inFlight.contains(.send) else { return }
        prepareBacklog(slot)
        var (list, backlog) = (connections[slot].packets, connections[slot].backlog)
        packets.empty(&list, on: transmitQueue) { backlog.append($0) }
        connections[slot].packets = list
        connections[slot].backlog = backlog
        packetsLeft()
    }

    private var transmitQueue: Virtqueue? { context?.queue(Queues.transmit) }

    /// Packets have gone back to the guest, and others may be waiting for their places.
    private func packetsLeft() {
        guard isWaitingForPacket, packets.hasRoom else { return }
        isWaitingForPacket = false
        wakeTransmit()
    }

    // MARK: Out

    /// Sends a connection's packets from where they lie; false while too much is in flight.
    private func send(_ slot: Int) -> Bool {
        let connection = connections[slot]
        guard connection.phase == .connected || connection.phase == .draining, !connection.packets.isEmpty,
            !connection.isBlocked, connection.inFlight.isDisjoint(with: [.send, .flush, .line])
        else { return true }
        guard let message = takeMessage() else {
            sendable.append(slot)
            return false
        }
        let (bytes, segments) = packets.gather(connection.packets, into: messages, message)
        connections[slot].sendMessage = Int32(message)
        connections[slot].sendLength = bytes
        submit(.sendNow(file(slot), messages, message, count: segments), slot, .send)
        return true
    }

    /// The socket has taken some, all or nothing of what was sent.
    func sent(_ slot: Int, _ result: Int32) {
        releaseMessage(Int(connections[slot].sendMessage))
        let count = max(0, Int(result))
        var list = connections[slot].packets
        packets.advance(&list, by: count, on: transmitQueue)
        connections[slot].packets = list
        connections[slot].forward(count)
        packetsLeft()
        note(slot, result, of: connections[slot].sendLength)
    }

    /// Sends from the backlog.
    func flush(_ slot: Int) {
        guard let front = connections[slot].backlog.front else { return }
        connections[slot].flushLength = front.count
        submit(.sendNow(file(slot), front), slot, .flush)
    }

    func flushed(_ slot: Int, _ result: Int32) {
        let count = max(0, Int(result))
        connections[slot].backlog.drop(count)
        connections[slot].forward(count)
        note(slot, result, of: connections[slot].flushLength)
    }

    /// What a send's result says about the socket.
    private func note(_ slot: Int, _ result: Int32, of length: Int) {
        if result < 0, result != -Errno.again.rawValue, result != -Errno.interrupted.rawValue {
            hostTakesNoMore(slot)
        } else if connections[slot].hostEnds.contains(.receiving) || connections[slot].phase == .closing {
            discard(slot)
        } else if Int(result) < length, result != -Errno.interrupted.rawValue {
            connections[slot].isBlocked = true
            if isCrowded { spill(slot) }
        }
    }

    /// Drops the guest's data that is not under way, as if it had left.
    func discard(_ slot: Int) {
        if !connections[slot].inFlight.contains(.send), !connections[slot].packets.isEmpty {
            var (list, count) = (connections[slot].packets, 0)
            packets.empty(&list, on: transmitQueue) { count += $0.count }
            connections[slot].packets = list
            connections[slot].forward(count)
            packetsLeft()
        }
        if !connections[slot].inFlight.contains(.flush) {
            let count = connections[slot].backlog.count
            connections[slot].backlog.drop(count)
            connections[slot].forward(count)
        }
    }
}
