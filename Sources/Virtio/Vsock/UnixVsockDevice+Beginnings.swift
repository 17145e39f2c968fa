import Backends
import EventLoop
import Host

/// How connections begin, on either side.
extension UnixVsockDevice {
    // MARK: Beginnings on the host

    /// Takes the next program that connects; more wait in the socket's backlog.
    func acceptNext() {
        guard let reactor, context != nil else { return }
        sockets.accept(on: reactor) { [weak self] client in self?.welcome(client) }
    }

    private func welcome(_ client: consuming FileDescriptor) {
        if context != nil, let slot = open() {
            connections[slot].phase = .greeting
            connections[slot].socket = client.release()
            watch(slot)
        }
        acceptNext()
    }

    /// Looks at what a program has written so far, to take its first line and not a byte more.
    func lookAtLine(_ slot: Int) {
        guard !connections[slot].inFlight.contains(.line), let room = lineRoom(slot), room.count > 0 else { return }
        connections[slot].isReadable = false
        connections[slot].isTakingLine = false
        submit(.receiveNow(file(slot), room, peeking: true), slot, .line)
    }

    private func line(_ slot: Int) -> HostSlice? {
        lines.all.slice(at: slot * Self.lineCapacity, count: Self.lineCapacity)
    }

    private func lineRoom(_ slot: Int) -> HostSlice? {
        line(slot)?.dropFirst(Int(connections[slot].lineLength))
    }

    /// The words before a connection were looked at, taken, or answered.
    func lineCompleted(_ slot: Int, _ result: Int32) {
        switch connections[slot].phase {
        case .greeting: greetingCompleted(slot, result)
        // The answer is short and the socket was empty: it has arrived whole, or nobody is there.
        case .connected where result < Int32(connections[slot].lineLength): lostHost(slot)
        default: break
        }
    }

    private func greetingCompleted(_ slot: Int, _ result: Int32) {
        guard result > 0, let room = lineRoom(slot) else {
            switch result {
            case -Errno.interrupted.rawValue: lookAtLine(slot)
            case -Errno.again.rawValue: if connections[slot].isReadable { lookAtLine(slot) }
            default: close(slot)
            }
            return
        }
        let newline = UInt8(ascii: "\n")
        guard connections[slot].isTakingLine else {
            let length = (0..<Int(result)).first { room.byte(at: $0) == newline }.map { $0 + 1 } ?? Int(result)
            connections[slot].isTakingLine = true
            return submit(.receiveNow(file(slot), room.prefix(length)), slot, .line)
        }
        connections[slot].lineLength += UInt8(truncatingIfNeeded: result)
        if room.byte(at: Int(result) - 1) == newline {
            request(slot)
        } else if Int(connections[slot].lineLength) < Self.lineCapacity {
            lookAtLine(slot)
        } else {
            refuseLine(slot)
        }
    }

    private func refuseLine(_ slot: Int) {
        complain("a program that connected to '\(sockets.path)' did not begin with CONNECT and a port")
        close(slot)
    }

    /// Asks the guest for the connection that a program wants.
    private func request(_ slot: Int) {
        let words = line(slot)?.prefix(Int(connections[slot].lineLength)).bytes ?? []
        guard let port = Self.port(inLine: words), let ports = choosePorts(guest: port) else {
            return refuseLine(slot)
        }
        connections[slot].ports = ports
        connections[slot].phase = .requesting
        connections[slot].owed = .request
        directory.insert(slot, ports)
    }

    /// The port of a line `CONNECT port`; nil if it says anything else.
    static func port(inLine line: [UInt8]) -> UInt32? {
        let words = line.dropLast().split(separator: UInt8(ascii: " "))
        guard words.count == 2, String(decoding: words[0], as: UTF8.self).lowercased() == "connect" else { return nil }
        let digits = words[1].last == UInt8(ascii: "\r") ? words[1].dropLast() : words[1]
        guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return UInt32(String(decoding: digits, as: UTF8.self))
    }

    /// A port of the host that no connection with this port of the guest has.
    private func choosePorts(guest: UInt32) -> VsockPorts? {
        for _ in 0...connections.count {
            let ports = VsockPorts(guest: guest, host: nextPort)
            nextPort = nextPort < Self.lastPort ? nextPort + 1 : Self.firstPort
            if directory.find(ports) == nil { return ports }
        }
        return nil
    }

    /// The guest has accepted: the program is told, in the words that it waits for.
    func accepted(_ slot: Int) {
        connections[slot].phase = .connected
        connections[slot].isReadable = true
        guard let room = line(slot) else { return }
        let length = room.copy(from: Array("OK \(connections[slot].ports.host)\n".utf8))
        connections[slot].lineLength = UInt8(truncatingIfNeeded: length)
        submit(.sendNow(file(slot), room.prefix(length)), slot, .line)
    }

    // MARK: Beginnings in the guest

    /// How often, and how many nanoseconds after one another, a listener with a full backlog is tried.
    private static let attempts: UInt8 = 75
    private static let pause: UInt64 = 20_000_000

    /// The guest wants a connection.
    func dial(_ ports: VsockPorts, _ packet: VsockHeader) {
        guard let slot = open() else { return refuse(ports) }
        connections[slot].ports = ports
        connections[slot].phase = .dialing
        connections[slot].takeCredit(packet)
        directory.insert(slot, ports)
        dialAgain(slot)
        settle(slot)
    }

    /// Tries to reach who listens on the host.
    func dialAgain(_ slot: Int) {
        guard connections[slot].phase == .dialing else { return }
        do throws(Errno) {
            let socket = try sockets.connect(port: connections[slot].ports.host)
            connections[slot].socket = socket.release()
            connections[slot].phase = .connected
            connections[slot].owed = .response
            watch(slot)
        } catch {
            connections[slot].attempts += 1
            if error == .again, connections[slot].attempts < Self.attempts {
                submit(.timeout(at: Clock.monotonic &+ Self.pause), slot, .pause)
                return
            }
            if error != .noEntry, error != .connectionRefused {
                complain("cannot connect the guest to '\(sockets.path)_\(connections[slot].ports.host)': \(error)")
            }
            reset(slot)
        }
    }

    /// Tells the guest that there is no such connection.
    func refuse(_ ports: VsockPorts, sourceCID: UInt64 = VsockCID.host, type: UInt16 = VsockType.stream) {
        guard resets.append(ResetQueue.Reset(sourceCID: sourceCID, ports: ports, type: type)) else {
            return complain("the guest takes no packets: a reset was dropped")
        }
        wakeReceive()
    }
}
