import Glibc
package import Host

/// The host's side of a connection, which never blocks the test.
package final class Peer {
    private var file: FileDescriptor?
    package private(set) var received: [UInt8] = []
    /// The other side has ended, or is gone.
    package private(set) var sawEnd = false

    package init(_ file: consuming FileDescriptor) throws {
        try file.setNonBlocking(true)
        self.file = consume file
    }

    package convenience init(unix path: String) throws {
        try self.init(Socket.connect(unix: path))
    }

    /// Reads what is there; answers all that has come so far.
    @discardableResult
    package func read() -> [UInt8] {
        while true {
            do throws(Errno) {
                let bytes = try file?.read(count: 65536) ?? []
                if bytes.isEmpty {
                    sawEnd = true
                    return received
                }
                received += bytes
            } catch {
                if error != .again { sawEnd = true }
                return received
            }
        }
    }

    package var text: String { String(decoding: read(), as: UTF8.self) }

    /// Writes as much as fits; answers the rest.
    package func write(_ bytes: [UInt8]) -> [UInt8] {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = Array(rest.prefix(1024))
            guard let number = file?.rawValue else { break }
            // The other side may be gone, which must not end the process.
            var count = unsafe send(number, piece, piece.count, Int32(MSG_NOSIGNAL))
            if count < 0, errno == ENOTSOCK { count = unsafe Glibc.write(number, piece, piece.count) }
            guard count > 0 else { break }
            rest = rest.dropFirst(count)
        }
        return Array(rest)
    }

    package func write(_ text: String) { _ = write(Array(text.utf8)) }

    package func shutDownWriting() {
        if let file = file.take() {
            Socket.shutDown(file, reading: false, writing: true)
            self.file = consume file
        }
    }

    package func close() { file = nil }
}

/// A path that no other test uses.
package func temporaryPath(_ name: String) -> String {
    let random = randomBytes(8).map { String($0, radix: 16) }.joined()
    return "/tmp/apus-test-\(name)-\(random)"
}

/// Bytes of which every stretch tells where it is from.
package func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7 &+ $0 / 1021 &* 3) }
}
