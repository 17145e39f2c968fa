package import EventLoop
package import Host

/// The host's side of a vsock device: a Unix socket for connections from the host, and the paths of sockets that the
/// host's programs listen on for connections from the guest: the same path with `_PORT` after it.
///
/// It belongs to one reactor. Programs may start and stop listening at any time.
package final class VsockSockets {
    package let path: String
    private let id: String
    private var socket: ListeningSocket?
    private var acceptor: Acceptor?

    /// How many programs may wait to be accepted; with more, their `connect` waits.
    private static let backlog: Int32 = 128

    /// Listens at `path`, with mode 0600. A socket on which no process listens is replaced.
    ///
    /// - Parameter id: the device's name in messages.
    package init(path: String, id: String) throws(ChardevError) {
        self.path = path
        self.id = id
        do throws(ListeningError) {
            socket = try ListeningSocket.unix(path, backlog: Self.backlog)
        } catch {
            throw ChardevError(id: id, problem: "cannot listen at '\(path)': \(error)")
        }
    }

    /// Accepts one program, now or later, and hands it over.
    package func accept(on reactor: Reactor, _ welcome: @escaping (consuming FileDescriptor) -> Void) {
        if let socket = socket.take() { acceptor = Acceptor(reactor, socket, name: id, onClient: welcome) }
        acceptor?.accept()
    }

    /// Connects to the program that listens for the guest's connections to `port`.
    ///
    /// - Throws: `ENOENT` or `ECONNREFUSED` if there is none, `EAGAIN` while its backlog is full.
    package func connect(port: UInt32) throws(Errno) -> FileDescriptor {
        try Socket.connectNow(unix: "\(path)_\(port)")
    }

    /// Stops listening, and removes the socket's file.
    package func close() {
        acceptor?.close()
        acceptor = nil
        socket = nil
    }
}
