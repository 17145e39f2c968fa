import EventLoop
import Host

/// Accepts a chardev's clients, one when there is none.
final class ClientListener: RingClient {
    private enum Tag {
        static let accept: UInt32 = 0
        static let pause: UInt32 = 1
    }

    /// How long to wait after a failure, in nanoseconds: while no descriptor is free, say.
    private static let pause: UInt64 = 100_000_000

    private let reactor: Reactor
    private let socket: FileDescriptor
    private let name: String
    private let onClient: (consuming FileDescriptor) -> Void
    private var isBusy = false
    private var limit = LogLimit(burst: 1)

    init(
        _ reactor: Reactor, _ socket: consuming FileDescriptor, name: String,
        onClient: @escaping (consuming FileDescriptor) -> Void
    ) {
        self.reactor = reactor
        self.socket = socket
        self.name = name
        self.onClient = onClient
    }

    /// Takes the next client; others wait in the socket's backlog.
    func accept() {
        guard !isBusy else { return }
        isBusy = reactor.submit(.accept(IOFile(descriptor: socket.rawValue)), for: self, tag: Tag.accept)
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        isBusy = false
        guard tag == Tag.accept else { return accept() }
        if result >= 0 {
            let client = FileDescriptor(owning: result)
            if !isRetiring { onClient(client) }
        } else if !isRetiring {
            limit.write(.warn, name, "cannot accept a client: \(Errno(rawValue: -result))")
            isBusy = reactor.submit(.timeout(at: Clock.monotonic &+ Self.pause), for: self, tag: Tag.pause)
        }
    }
}
