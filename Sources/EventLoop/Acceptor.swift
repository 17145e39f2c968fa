package import Host

/// Accepts the clients of one listening socket.
package final class Acceptor: RingClient {
    private enum Tag {
        static let accept: UInt32 = 0
        static let pause: UInt32 = 1
    }

    /// Time between a failure and the next attempt, in nanoseconds: descriptors or memory are short, and stay so.
    private static let pause: UInt64 = 100_000_000

    private let reactor: Reactor
    private var socket: ListeningSocket
    private let name: String
    private var onClient: ((consuming FileDescriptor) -> Void)?
    private var isBusy = false
    private var acceptsAll = false
    private var limit = LogLimit(burst: 1)

    /// - Parameters:
    ///   - name: the subject of what is logged.
    ///   - onClient: takes each client.
    package init(
        _ reactor: Reactor, _ socket: consuming ListeningSocket, name: String,
        onClient: @escaping (consuming FileDescriptor) -> Void
    ) {
        self.reactor = reactor
        self.socket = socket
        self.name = name
        self.onClient = onClient
    }

    /// Accepts one client, now or later; further ones wait in the socket's backlog.
    package func accept() {
        guard !isBusy else { return }
        isBusy = reactor.submit(.accept(IOFile(descriptor: socket.descriptor.rawValue)), for: self, tag: Tag.accept)
    }

    /// Accepts clients until `close`.
    package func acceptAll() {
        acceptsAll = true
        accept()
    }

    /// Removes the socket's file at once, and closes the socket when the ring no longer uses it.
    package func close() {
        onClient = nil
        socket.removeFile()
        reactor.retire(self)
    }

    override package func operationCompleted(tag: UInt32, result: Int32) {
        isBusy = false
        let client = tag == Tag.accept && result >= 0 ? FileDescriptor(owning: result) : nil
        guard !isRetiring else { return }
        if let client {
            onClient?(client)
            if acceptsAll { accept() }
        } else if tag == Tag.pause {
            accept()
        } else {
            limit.write(.warn, name, "cannot accept a client: \(Errno(rawValue: -result))")
            isBusy = reactor.submit(.timeout(at: Clock.monotonic &+ Self.pause), for: self, tag: Tag.pause)
        }
    }
}
