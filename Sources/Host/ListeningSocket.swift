import Glibc

/// A socket that accepts connections, with the file of a Unix socket.
///
/// Connections succeed from its creation on and wait in the kernel until an `Acceptor` takes them. The file is removed
/// with this value, unless another file has taken its path. After a fork only one of the two processes may let this
/// value go: the other ends by `_exit`.
package struct ListeningSocket: ~Copyable {
    /// What `accept` is called on.
    package let descriptor: FileDescriptor
    private var file: SocketFile?

    /// How long a process that ends may keep its socket, in nanoseconds: the kernel releases the ring of a killed
    /// process, and with it the sockets the ring accepts on, some milliseconds after the process.
    package static let releaseTime: UInt64 = 200_000_000

    /// Listens on a Unix socket at `path` that only this user may connect to.
    ///
    /// A socket on which no process listens is replaced. Two processes that find the same one at the same moment may
    /// both replace it; the later one then has the path.
    ///
    /// - Parameters:
    ///   - backlog: connections that wait to be accepted; with more, `connect` waits.
    ///   - releaseTime: how long to wait for a process that listens there and may be ending, in nanoseconds.
    package static func unix(
        _ path: String, backlog: Int32 = 16, releaseTime: UInt64 = Self.releaseTime
    ) throws(ListeningError) -> ListeningSocket {
        let deadline = Clock.monotonic &+ releaseTime
        // Another process may bind between the removal of a dead socket and the next attempt.
        for _ in 0..<3 {
            do throws(Errno) {
                let socket = try Socket.listen(unix: path, backlog: backlog)
                return ListeningSocket(descriptor: socket, file: try SocketFile(path))
            } catch {
                guard error == .addressInUse else { throw ListeningError(error) }
            }
            if let obstacle = removeDeadSocket(path, deadline) { throw obstacle }
        }
        throw .inUse
    }

    /// Listens at an IPv4 address (dotted decimal) and port.
    ///
    /// - Parameter releaseTime: how long to wait for a process that listens there and may be ending, in nanoseconds.
    package static func tcp(
        _ host: String, _ port: UInt16, releaseTime: UInt64 = Self.releaseTime
    ) throws(ListeningError) -> ListeningSocket {
        let deadline = Clock.monotonic &+ releaseTime
        while true {
            do {
                return ListeningSocket(descriptor: try Socket.listen(ipv4: host, port: port), file: nil)
            } catch {
                guard error == .addressInUse, Clock.monotonic < deadline else { throw ListeningError(error) }
            }
            pause()
        }
    }

    private init(descriptor: consuming FileDescriptor, file: SocketFile?) {
        self.descriptor = descriptor
        self.file = file
    }

    deinit {
        // While the socket is open, no other file can have its inode's number.
        try? file?.removeIfUnchanged()
    }

    /// Removes the socket's file at once; the socket stays open.
    package mutating func removeFile() {
        try? file?.removeIfUnchanged()
        file = nil
    }

    // MARK: The path of another process

    /// Removes the socket at `path` if no process listens on it; else returns what is in the way.
    private static func removeDeadSocket(_ path: String, _ deadline: UInt64) -> ListeningError? {
        do throws(Errno) {
            let found = try FileStatus(at: path, followLinks: false)
            guard found.kind == .socket else { return .notSocket }
            guard try !hasListener(path, deadline) else { return .inUse }
            try SocketFile(path, found).removeIfUnchanged()
        } catch {
            // Another process has removed it.
            if error != .noEntry { return ListeningError(error) }
        }
        return nil
    }

    /// Whether a process listens at `path`, and still does after `deadline` or answers before it.
    ///
    /// One connection waits for the outcome, so that a process that serves one client at a time sees one, not many.
    private static func hasListener(_ path: String, _ deadline: UInt64) throws(Errno) -> Bool {
        while true {
            do throws(Errno) {
                let probe = try Socket.connectNow(unix: path)
                // It becomes readable when a server greets, and when the kernel drops it with its listener.
                try probe.waitUntilReadable(by: deadline)
                if let greeting = try? probe.read(count: 1), !greeting.isEmpty { return true }
            } catch {
                switch error {
                case .connectionRefused, .noEntry: return false
                // The backlog is full, or the listener says nothing.
                case .again, .timedOut: break
                default: throw error
                }
            }
            if Clock.monotonic >= deadline { return true }
            pause()
        }
    }

    private static func pause() { _ = poll(nil, 0, 5) }
}

/// The file of a Unix socket, by its identity on this host.
private struct SocketFile {
    private let path: String
    private let device: UInt64
    private let inode: UInt64

    init(_ path: String) throws(Errno) {
        self.init(path, try FileStatus(at: path, followLinks: false))
    }

    init(_ path: String, _ status: FileStatus) {
        self.path = path
        device = status.device
        inode = status.inode
    }

    func removeIfUnchanged() throws(Errno) {
        let found = try FileStatus(at: path, followLinks: false)
        if found.device == device, found.inode == inode { try Host.removeFile(path) }
    }
}

/// Why an address cannot be listened at: the cause and its remedy.
package enum ListeningError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Another process listens there.
    case inUse
    /// Another kind of file is at the path.
    case notSocket
    /// The kernel's reason.
    case system(Errno)

    init(_ error: Errno) {
        self = error == .addressInUse ? .inUse : .system(error)
    }

    package var description: String {
        switch self {
        case .inUse: "another process listens there; stop it or pass another address"
        case .notSocket: "a file that is not a socket is there; remove it or pass another path"
        case .system(.nameTooLong): "\(Errno.nameTooLong); pass a path of at most \(Socket.maximumPathLength) bytes"
        case .system(let error): error.description
        }
    }
}
