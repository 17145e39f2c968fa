import EventLoop
import Host

/// What becomes of connections: their sockets' events, their ends, and what to do next in each state.
extension UnixVsockDevice {
    // MARK: What happens to the host's end

    /// Looks out for what happens to a connection's socket.
    func watch(_ slot: Int) {
        switch connections[slot].phase {
        case .greeting, .requesting, .connected, .draining:
            submit(.watch(file(slot), PollEvents.readable | PollEvents.ended), slot, .watch)
        case .unused, .dialing, .ending, .closing: break
        }
    }

    /// Looking out for a socket's events has ended: nobody wants it any more, or the kernel wants to be asked again.
    func watchEnded(_ slot: Int, _ result: Int32) {
        if result < 0, result != -Errno.canceled.rawValue {
            switch connections[slot].phase {
            case .greeting: close(slot)
            case .requesting: reset(slot)
            default: lostHost(slot)
            }
        } else {
            if result > 0 { watched(slot, result) }
            watch(slot)
        }
    }

    /// A socket has got data, or its other end has ended.
    func watched(_ slot: Int, _ events: Int32) {
        let events = Int16(truncatingIfNeeded: events)
        let isGone = events & PollEvents.gone != 0
        connections[slot].isReadable = true
        if events & (PollEvents.gone | PollEvents.ended) != 0 { connections[slot].isLast = true }
        switch connections[slot].phase {
        case .greeting: lookAtLine(slot)
        case .requesting: if isGone { reset(slot) }
        case .connected, .draining:
            guard isGone else { break }
            // What the program has sent is still there, if anybody wants it.
            if connections[slot].guestEnds.contains(.receiving) { lostHost(slot) } else { hostTakesNoMore(slot) }
        case .unused, .dialing, .ending, .closing: return
        }
        settle(slot)
    }

    /// The program takes no more data: what there is for it goes nowhere.
    func hostTakesNoMore(_ slot: Int) {
        connections[slot].hostEnds.insert(.receiving)
        discard(slot)
    }

    /// The program is gone, and so is what it has sent.
    func lostHost(_ slot: Int) {
        connections[slot].hostEnds = .both
        discard(slot)
    }

    // MARK: Ends

    /// The guest is gone. What it has sent before still goes to the host.
    func lostGuest(_ slot: Int) {
        directory.remove(slot)
        guard connections[slot].phase == .connected, connections[slot].hasDataForHost else { return close(slot) }
        connections[slot].phase = .draining
        connections[slot].owed = []
        settle(slot)
    }

    /// Ends a connection on both sides at once.
    func reset(_ slot: Int) {
        refuse(connections[slot].ports)
        close(slot)
    }

    /// Ends a connection towards the host, of which the guest knows already or needs not know.
    func close(_ slot: Int) {
        directory.remove(slot)
        connections[slot].phase = .closing
        connections[slot].owed = []
        discard(slot)
        cancelWaiting(slot)
        settle(slot)
    }

    /// Does what a connection's state calls for, after anything has happened to it.
    func settle(_ slot: Int) {
        switch connections[slot].phase {
        case .unused, .greeting, .dialing: return
        case .requesting: break
        case .connected:
            passEnds(slot)
            let connection = connections[slot]
            if connection.hostEnds != connection.toldEnds {
                connections[slot].owed.insert(.shutdown)
            } else if connection.toldEnds == .both {
                connections[slot].phase = .ending
                connections[slot].owed = []
                cancelWaiting(slot)
                return settle(slot)
            }
            settleTraffic(slot)
        case .draining:
            guard connections[slot].hasDataForHost else { return close(slot) }
            settleTraffic(slot)
        case .ending:
            if connections[slot].inFlight.isEmpty { closeSocket(slot) }
            return
        case .closing:
            if connections[slot].inFlight.isEmpty { release(slot) }
            return
        }
        if !connections[slot].owed.isEmpty || connections[slot].hasDataForGuest && connections[slot].credit > 0 {
            ready.append(slot)
            wakeReceive()
        }
    }

    /// Passes on to the program what the guest has ended.
    private func passEnds(_ slot: Int) {
        var ends = connections[slot].guestEnds.subtracting(connections[slot].passedEnds)
        // Not before it has got all.
        if connections[slot].hasDataForHost { ends.remove(.sending) }
        guard !ends.isEmpty else { return }
        connections[slot].passedEnds.formUnion(ends)
        Socket.shutDown(
            connections[slot].socket, reading: ends.contains(.receiving), writing: ends.contains(.sending))
    }

    /// Sends on, and asks for credit, where that is possible and necessary.
    private func settleTraffic(_ slot: Int) {
        let connection = connections[slot]
        if connection.hasDataForGuest, connection.credit == 0, !connection.hasAskedForCredit {
            connections[slot].hasAskedForCredit = true
            connections[slot].owed.insert(.creditRequest)
        }
        guard connection.inFlight.isDisjoint(with: [.send, .flush, .line]) else { return }
        if connection.isBlocked {
            if connection.hasDataForHost, !connection.inFlight.contains(.writable) {
                submit(.poll(file(slot), PollEvents.writable), slot, .writable)
            }
        } else if connection.backlog.count > 0 {
            flush(slot)
        } else if !connection.packets.isEmpty {
            sendable.append(slot)
            wakeTransmit()
        }
    }
}
