import Host

/// A client that sends commands and takes what comes, line by line.
final class QMPClient {
    private let socket: FileDescriptor
    private var rest: [UInt8] = []

    /// Connects, and waits for the greeting: the machine's reactor runs then.
    init(_ path: String) throws(Errno) {
        socket = try Socket.connect(unix: path)
        _ = try line()
        try execute("qmp_capabilities")
    }

    /// Waits for the answer too.
    func execute(_ command: String) throws(Errno) {
        try socket.write(Array("{\"execute\":\"\(command)\"}\n".utf8))
        while try line().contains("\"event\"") {}
    }

    /// Waits until the machine has closed the connection.
    func isClosed() -> Bool {
        while let piece = try? socket.read(count: 4096) {
            if piece.isEmpty { return true }
        }
        return false
    }

    private func line() throws(Errno) -> String {
        while true {
            if let end = rest.firstIndex(of: 10) {
                let line = String(decoding: rest[..<end], as: UTF8.self)
                rest.removeSubrange(...end)
                return line
            }
            let piece = try socket.read(count: 4096)
            if piece.isEmpty { throw .ioError }
            rest += piece
        }
    }
}
