package import EventLoop
package import Host

/// The host's side of a vsock device: a Unix socket that the host's programs connect to, and beside it, at the same path
/// with `_PORT` after it, those that they listen on for the guest's connections.
///
/// It belongs to one reactor. Who listens for the guest may come and go at any time.
package final class VsockSockets {
    package let path: String
    private let id: String
    private var socket: FileDescriptor?
    private var file: SocketFile?
    private var listener: ClientListener?
    private var reactor: Reactor?

    /// Programs that connect sooner than they are accepted wait; this many, and then `connect` waits.
    private static let backlog: Int32 = 128

    /// Listens at `path`, with mode 0600. A socket that nobody listens on any more is replaced.
    ///
    /// - Parameter id: what messages call the device.
    /// - Throws: what is in the way: another process that listens there, a file that is no socket, the path's length.
    package init(path: String, id: String) throws(ChardevError) {
        self.path = path
        self.id = id
        let listening = try ListeningSocket.unix(path, id: id, backlog: Self.backlog)
        file = listening.file
        let socket = listening.socket
        self.socket = consume socket
    }

    /// Accepts one program that connects, now or later, and hands it over; the next one after another call.
    package func accept(on reactor: Reactor, _ welcome: @escaping (consuming FileDescriptor) -> Void) {
        if let socket = socket.take() {
            self.reactor = reactor
            listener = ClientListener(reactor, socket, name: id, onClient: welcome)
        }
        listener?.accept()
    }

    /// Connects to whoever listens for the guest's connections to `port`.
    ///
    /// - Throws: `ENOENT` or `ECONNREFUSED` if nobody does, `EAGAIN` if he must accept others first.
    package func connect(port: UInt32) throws(Errno) -> FileDescriptor {
        try Socket.connectNow(unix: "\(path)_\(port)")
    }

    /// Stops listening, and removes the socket's file.
    package func close() {
        if let listener { reactor?.retire(listener) }
        listener = nil
        socket = nil
        file = nil
    }
}
