import Backends
import EventLoop
import Host

/// How connections begin: the `CONNECT port` line of programs on the host, and the listeners that the guest dials.
///
/// It changes connections; its owner does what comes next.
final class Connect {
    /// The longest line that a program may write before its connection [bytes].
    private static let lineCapacity = 32
    /// Attempts to reach a listener with a full backlog, and the pause between two [ns].
    private static let attempts: UInt8 = 75
    private static let pause: UInt64 = 20_000_000

    /// What was done for a connection that begins.
    private struct Beginning: BitwiseCopyable {
        /// How much of the line was taken, or how long the answer is [bytes].
        var length: UInt8 = 0
        /// A part of the line is being taken; if not, only looked at.
        var isTaking = false
        /// The socket has got more since the last look.
        var hasMore = false
        /// Attempts to reach a listener.
        var attempts: UInt8 = 0
    }

    /// What comes next for a connection that begins.
    enum Next {
        case none
        case submit(Operation, VsockConnection.InFlight)
        /// Watch the socket.
        case watch
        /// End the connection towards the host, since its program has left or written a wrong line.
        case close(complaint: String?)
        /// The program has left; what the guest sends goes nowhere.
        case loseHost
        /// Refuse the guest's connection.
        case reset(complaint: String?)
    }

    private let connections: ConnectionTable
    private let sockets: VsockSockets
    private let beginnings: FixedTable<Beginning>
    private let lines: IOBuffer

    init(_ connections: ConnectionTable, _ sockets: VsockSockets) {
        self.connections = connections
        self.sockets = sockets
        beginnings = FixedTable(repeating: Beginning(), count: connections.capacity)
        lines = IOBuffer(capacity: connections.capacity * Self.lineCapacity)
    }

    /// Accepts one program of the host, now or later.
    func accept(on reactor: Reactor, _ welcome: @escaping (consuming FileDescriptor) -> Void) {
        sockets.accept(on: reactor, welcome)
    }

    /// Accepts no more programs.
    func close() { sockets.close() }

    /// Frees a slot.
    func release(_ slot: Int) { beginnings[slot] = Beginning() }

    // MARK: Connections of the host

    /// Looks at what a program has written, to take its first line and not a byte more.
    func look(_ slot: Int) -> Next {
        let isLooking = connections[slot].inFlight.contains(.line)
        beginnings[slot].hasMore = isLooking
        guard !isLooking, let room = room(slot), room.count > 0 else { return .none }
        beginnings[slot].isTaking = false
        return .submit(.receiveNow(connections.file(slot), room, peeking: true), .line)
    }

    /// A part of a program's line was looked at or taken, or the program was answered.
    func completeLine(_ slot: Int, _ result: Int32) -> Next {
        switch connections[slot].phase {
        case .greeting: completeLook(slot, result)
        // The answer is short and the socket was empty: only a program that has left does not get it whole.
        case .connected: result < Int32(beginnings[slot].length) ? .loseHost : .none
        default: .none
        }
    }

    private func completeLook(_ slot: Int, _ result: Int32) -> Next {
        guard result > 0, let room = room(slot) else {
            switch result {
            case -Errno.interrupted.rawValue: return look(slot)
            case -Errno.again.rawValue: return beginnings[slot].hasMore ? look(slot) : .none
            default: return .close(complaint: nil)
            }
        }
        let newline = UInt8(ascii: "\n")
        guard beginnings[slot].isTaking else {
            let length = (0..<Int(result)).first { room.byte(at: $0) == newline }.map { $0 + 1 } ?? Int(result)
            beginnings[slot].isTaking = true
            return .submit(.receiveNow(connections.file(slot), room.prefix(length)), .line)
        }
        beginnings[slot].length += UInt8(truncatingIfNeeded: result)
        guard room.byte(at: Int(result) - 1) == newline else {
            return Int(beginnings[slot].length) < Self.lineCapacity ? look(slot) : refuseLine()
        }
        let words = line(slot)?.prefix(Int(beginnings[slot].length)).bytes ?? []
        guard let port = Self.port(inLine: words), connections.request(slot, guestPort: port) else {
            return refuseLine()
        }
        return .none
    }

    private func refuseLine() -> Next {
        .close(complaint: "a program that connected to '\(sockets.path)' did not begin with CONNECT and a port")
    }

    /// Answers a program whose connection the guest has accepted.
    func answer(_ slot: Int) -> Next {
        guard let line = line(slot) else { return .none }
        let length = line.copy(from: Array("OK \(connections[slot].ports.host)\n".utf8))
        beginnings[slot].length = UInt8(truncatingIfNeeded: length)
        return .submit(.sendNow(connections.file(slot), line.prefix(length)), .line)
    }

    private func line(_ slot: Int) -> HostSlice? {
        lines.all.slice(at: slot * Self.lineCapacity, count: Self.lineCapacity)
    }

    private func room(_ slot: Int) -> HostSlice? { line(slot)?.dropFirst(Int(beginnings[slot].length)) }

    /// The port of a line `CONNECT port`; nil for any other line.
    static func port(inLine line: [UInt8]) -> UInt32? {
        let words = line.dropLast().split(separator: UInt8(ascii: " "))
        guard words.count == 2, String(decoding: words[0], as: UTF8.self).lowercased() == "connect" else { return nil }
        let digits = words[1].last == UInt8(ascii: "\r") ? words[1].dropLast() : words[1]
        guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return UInt32(String(decoding: digits, as: UTF8.self))
    }

    // MARK: Connections of the guest

    /// Tries to reach the listener for a connection that the guest requests.
    func dial(_ slot: Int) -> Next {
        guard connections[slot].phase == .dialing else { return .none }
        let port = connections[slot].ports.host
        do throws(Errno) {
            let socket = try sockets.connect(port: port)
            connections[slot].reach(socket.release())
            return .watch
        } catch {
            beginnings[slot].attempts += 1
            if error == .again, beginnings[slot].attempts < Self.attempts {
                return .submit(.timeout(at: Clock.monotonic &+ Self.pause), .pause)
            }
            // No program listens, which is for the guest to know.
            if error == .noEntry || error == .connectionRefused { return .reset(complaint: nil) }
            return .reset(complaint: "cannot connect the guest to '\(sockets.path)_\(port)': \(error)")
        }
    }
}
