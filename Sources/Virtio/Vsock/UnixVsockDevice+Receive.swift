import EventLoop
import Host

/// From the host to the guest.
extension UnixVsockDevice {
    /// Fills the guest's buffers: first with resets, then with what each connection has for it, in turns.
    func serveGuest(_ queue: Virtqueue) {
        var areSound = true
        while true {
            if buffers.count < limits.packetsPerRead {
                areSound = buffers.fill(to: ReceiveBuffers.capacity, from: queue) && areSound
            }
            guard buffers.count > 0 else { break }
            if let reset = resets.takeFirst() {
                let header = VsockHeader(
                    sourceCID: reset.sourceCID, destinationCID: guestCID, sourcePort: reset.ports.host,
                    destinationPort: reset.ports.guest, type: reset.type, operation: .reset)
                emit(header, queue)
            } else if let slot = ready.takeFirst() {
                guard serve(slot, queue) else { break }
            } else {
                break
            }
        }
        if !areSound { complain("the guest offers buffers without room for a packet") }
    }

    /// Gives the guest what a connection has for it; false while too much is in flight.
    private func serve(_ slot: Int, _ queue: Virtqueue) -> Bool {
        while buffers.count > 0, let operation = connections[slot].takeOwed() {
            emit(connections[slot].header(operation, guestCID: guestCID), queue)
        }
        guard connections[slot].owed.isEmpty else {
            ready.append(slot)
            return true
        }
        var isAccepted = true
        if connections[slot].hasDataForGuest, connections[slot].credit > 0 { isAccepted = read(slot) }
        settle(slot)
        return isAccepted
    }

    private func emit(_ packet: VsockHeader, _ queue: Virtqueue) {
        guard let buffer = buffers.take() else { return }
        packet.store(into: header.all)
        buffers.finish(buffer, header.all, length: 0, on: queue)
    }

    /// Reads from a connection's socket into the guest's buffers, as many as it has credit for.
    private func read(_ slot: Int) -> Bool {
        guard buffers.count > 0, let message = takeMessage() else {
            ready.append(slot)
            return buffers.count == 0
        }
        let credit = Int(connections[slot].credit)
        var (bytes, segments, count) = (0, 0, 0)
        while count < limits.packetsPerRead, bytes < credit, let buffer = buffers.take() {
            let added = buffers.addRoom(
                of: buffer, upTo: credit - bytes, to: messages, message, from: segments)
            guard added.bytes > 0 else {
                buffers.putBack(buffer)
                break
            }
            reads[message * messages.segments + count] = Read(
                buffer: Int32(buffer), bytes: Int32(clamping: added.bytes))
            bytes += added.bytes
            segments = added.next
            count += 1
        }
        connections[slot].isReadable = false
        connections[slot].receiveMessage = Int32(message)
        connections[slot].receiveBuffers = count
        connections[slot].receiveLength = bytes
        submit(.receiveNow(file(slot), messages, message, count: segments), slot, .receive)
        return true
    }

    /// The guest's buffers hold what the socket had: each becomes a packet.
    func received(_ slot: Int, _ result: Int32) {
        let message = Int(connections[slot].receiveMessage)
        let wantsData = connections[slot].phase == .connected && !connections[slot].guestEnds.contains(.receiving)
        let queue = wantsData ? context?.queue(Queues.receive) : nil
        var left = max(0, Int(result))
        for index in 0..<connections[slot].receiveBuffers {
            let read = reads[message * messages.segments + index]
            guard left > 0, let queue else {
                buffers.putBack(Int(read.buffer))
                continue
            }
            let length = min(left, Int(read.bytes))
            connections[slot].header(.data, length: length, guestCID: guestCID).store(into: header.all)
            buffers.finish(Int(read.buffer), header.all, length: length, on: queue)
            connections[slot].sent &+= UInt32(truncatingIfNeeded: length)
            left -= length
        }
        releaseMessage(message)
        switch result {
        case 1...:
            // A socket that filled all may have more; one that has ended tells of no more data.
            if Int(result) == connections[slot].receiveLength || connections[slot].isLast {
                connections[slot].isReadable = true
            }
        case 0: connections[slot].hostEnds.insert(.sending)
        case -Errno.again.rawValue: break
        case -Errno.interrupted.rawValue: connections[slot].isReadable = true
        default: lostHost(slot)
        }
    }
}
