import Host

/// Where a back end listens, with a first connection to it.
package final class VhostUserEndpoint {
    /// The path of its Unix socket.
    package let path: String
    /// The virtio features that it serves.
    package let features: UInt64
    private var socket: FileDescriptor?

    /// `VIRTIO_F_VERSION_1`
    private static let version1: UInt64 = 1 << 32

    private init(path: String, features: UInt64, socket: consuming FileDescriptor) {
        self.path = path
        self.features = features
        self.socket = consume socket
    }

    /// Connects, and asks for the features; blocking, for start-up.
    ///
    /// - Parameter patience: how long the back end may take for its first answer, in nanoseconds.
    package static func connect(
        _ path: String, patience: UInt64 = 5_000_000_000
    ) throws(VhostUserError) -> VhostUserEndpoint {
        let socket = try open(path)
        let features = try askForFeatures(socket, by: Clock.monotonic &+ patience)
        guard features & version1 != 0 else { throw .lacks("VIRTIO_F_VERSION_1") }
        return VhostUserEndpoint(path: path, features: features, socket: socket)
    }

    /// Gives the connection away, once.
    func takeSocket() -> FileDescriptor? { socket.take() }

    private static func open(_ path: String) throws(VhostUserError) -> FileDescriptor {
        do {
            return try Socket.connectNow(unix: path)
        } catch {
            throw .connection(error)
        }
    }

    private static func askForFeatures(
        _ socket: borrowing FileDescriptor, by deadline: UInt64
    ) throws(VhostUserError) -> UInt64 {
        do {
            try socket.write(VhostUserMessage(.getFeatures).bytes(acknowledged: false))
        } catch {
            throw .connection(error)
        }
        var received: [UInt8] = []
        while true {
            received += try receive(socket, deadline)
            if let reply = try VhostUserMessage.takeReply(to: .getFeatures, from: &received) {
                guard received.isEmpty else { throw .reply("came unasked") }
                return reply.value
            }
        }
    }

    private static func receive(
        _ socket: borrowing FileDescriptor, _ deadline: UInt64
    ) throws(VhostUserError) -> [UInt8] {
        let bytes: [UInt8]
        do {
            try socket.waitUntilReadable(by: deadline)
            bytes = try socket.read(count: 64)
        } catch {
            switch error {
            case .timedOut: throw .silent
            case .connectionReset: throw .closed
            default: throw .connection(error)
            }
        }
        guard !bytes.isEmpty else { throw .closed }
        return bytes
    }
}
