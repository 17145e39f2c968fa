import EventLoop
import Host

/// Accepts the clients of one listening socket.
final class QMPAcceptor: RingClient {
    private enum Tag {
        static let accept: UInt32 = 0
        static let pause: UInt32 = 1
    }

    /// How long to wait after a failure, in nanoseconds: it is a lack of descriptors or memory, and lasts.
    private static let pause: UInt64 = 100_000_000

    private var listener: QMPListener?
    private let file: IOFile
    private let reactor: Reactor
    private weak var server: QMPServer?
    private var failures = LogLimit(burst: 1)

    init(_ listener: consuming QMPListener, reactor: Reactor, server: QMPServer) {
        file = IOFile(descriptor: listener.socket.rawValue)
        self.listener = consume listener
        self.reactor = reactor
        self.server = server
    }

    func accept() {
        reactor.submit(.accept(file), for: self, tag: Tag.accept)
    }

    /// Closes the socket and removes its file; clients that have been accepted are not touched.
    func close() {
        listener = nil
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        guard listener != nil else {
            if tag == Tag.accept, result >= 0 { _ = FileDescriptor(owning: result) }
            return
        }
        guard tag == Tag.accept else {
            accept()
            return
        }
        if result >= 0 {
            server?.add(FileDescriptor(owning: result))
            accept()
        } else if !isRetiring {
            failures.write(.warn, "qmp", "cannot accept a client: \(Errno(rawValue: -result))")
            reactor.submit(.timeout(at: Clock.monotonic &+ Self.pause), for: self, tag: Tag.pause)
        }
    }

    override func retired() {
        close()
        server?.remove(self)
    }
}
