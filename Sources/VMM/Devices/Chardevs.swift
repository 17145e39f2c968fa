import Backends
import Control
import EventLoop
import Host
import Options

/// The character backends of the machine. Each is opened once, whoever uses it, and closed at the machine's end.
final class Chardevs {
    private let reactor: Reactor
    private var opened: [Chardev] = []
    /// Sockets of the command line that others serve: QMP, and devices whose other half is a process of its own.
    private var others: [CharacterDeviceInfo] = []

    /// Opens the backends of all `-chardev`, and that of `-serial`.
    ///
    /// - Throws: for the first that cannot be opened; none of them is left behind.
    init(_ options: LaunchOptions, reactor: Reactor) throws(MachineError) {
        self.reactor = reactor
        if case .backend(let backend)? = options.serial {
            try open(backend, id: SerialSpec.backendID, for: .console, place: "-serial")
        }
        let users = Self.users(options)
        for spec in options.chardevs {
            let user = users[spec.id]
            if user == .other, case .socket(let socket) = spec.backend {
                let name = "\(socket.endpoint)\(socket.isServer ? ",server=on" : "")"
                others.append(CharacterDeviceInfo(label: spec.id, filename: name, isFrontendOpen: true))
                continue
            }
            if user == nil { Log.warn(spec.id, "no device uses this chardev") }
            try open(spec.backend, id: spec.id, for: user, place: "-chardev id=\(spec.id)")
        }
    }

    /// The backend of this id; nil if there is none, or others serve it.
    subscript(id: String) -> Chardev? { opened.first { $0.id == id } }

    /// What QMP tells about them.
    var infos: [CharacterDeviceInfo] {
        opened.map { chardev in
            CharacterDeviceInfo(
                label: chardev.id, filename: chardev.filename, isFrontendOpen: chardev.isFrontendOpen,
                isSocket: chardev.isSocket)
        } + others
    }

    /// Breaks the connections of the backends of these ids.
    ///
    /// - Throws: if one has none to break; then all are left alone.
    func disconnect(_ ids: [String]) throws(QMPError) {
        for id in ids where self[id]?.isSocket != true {
            throw QMPError("yank: there is no connection of a chardev '\(id)'", class: .deviceNotFound)
        }
        for id in ids { self[id]?.disconnect() }
    }

    /// Sends what guests have written last, for at most `nanoseconds`, and leaves the host's ends as they were found.
    func finish(within nanoseconds: UInt64) {
        let deadline = Clock.monotonic &+ nanoseconds
        for chardev in opened {
            let now = Clock.monotonic
            if now < deadline { chardev.drain(for: deadline - now) }
        }
        for chardev in opened { chardev.close() }
        opened = []
        // What is in flight keeps its file, and a listener its address, until it has been cancelled; that the process
        // ends does it too, but later.
        for _ in 0..<4 { reactor.turn(waiting: false) }
    }

    // MARK: Opening

    /// Who uses a backend.
    private enum User {
        /// Shows what it has said to those who come late.
        case console
        case dataChannel
        case other
    }

    private static func users(_ options: LaunchOptions) -> [String: User] {
        var users: [String: User] = [:]
        if case .chardev(let id)? = options.serial { users[id] = .console }
        if let monitor = options.monitor { users[monitor.chardev] = .other }
        for device in options.devices {
            switch device {
            case .console(let port): users[port.chardev] = .console
            case .serialPort(let port): users[port.chardev] = .dataChannel
            case .fileSystem(let device): users[device.chardev] = .other
            default: break
            }
        }
        for netdev in options.netdevs {
            if case .vhostUser(let id) = netdev.backend { users[id] = .other }
        }
        return users
    }

    private func open(
        _ backend: CharacterBackend, id: String, for user: User?, place: String
    ) throws(MachineError) {
        do {
            opened.append(try Self.chardev(backend, id: id, replays: user == .console, reactor))
        } catch {
            throw MachineError(place, error.problem)
        }
    }

    private static func chardev(
        _ backend: CharacterBackend, id: String, replays: Bool, _ reactor: Reactor
    ) throws(ChardevError) -> Chardev {
        switch backend {
        case .stdio: return try .stdio(id: id, on: reactor)
        case .pty: return try .pty(id: id, on: reactor)
        case .file(let path): return try .file(id: id, path: path, on: reactor)
        case .log: return try .log(id: id, on: reactor)
        case .socket(let socket):
            let replays = socket.replays ?? replays
            switch (socket.endpoint, socket.isServer) {
            case (.unix(let path), true): return try .server(id: id, unix: path, replaying: replays, on: reactor)
            case (.unix(let path), false): return try .client(id: id, unix: path, on: reactor)
            case (.tcp(let host, let port), true):
                return try .server(id: id, ipv4: "\(host)", port: port, replaying: replays, on: reactor)
            case (.tcp(let host, let port), false):
                return try .client(id: id, ipv4: "\(host)", port: port, on: reactor)
            }
        }
    }
}
