import Backends
import EventLoop
import Glibc
import Host
import Testing

/// A front end that takes as much as the test allows.
final class FakeFrontend: ChardevFrontend {
    var received: [UInt8] = []
    var appetite = Int.max
    var opened: [Bool] = []

    func receive(_ bytes: HostSlice) -> Int {
        let taken = bytes.prefix(appetite)
        received += taken.bytes
        if appetite != .max { appetite -= taken.count }
        return taken.count
    }

    func hostEndChanged(isOpen: Bool) { opened.append(isOpen) }
}

/// Runs the reactor until something holds; false if it takes longer than ten seconds.
func run(_ reactor: Reactor, until holds: () throws -> Bool) rethrows -> Bool {
    let deadline = Clock.monotonic + 10_000_000_000
    while try !holds() {
        if Clock.monotonic > deadline { return false }
        reactor.turn(waiting: false)
    }
    return true
}

extension Chardev {
    func send(_ bytes: [UInt8]) {
        let buffer = IOBuffer(capacity: max(bytes.count, 1))
        buffer.all.copy(from: bytes)
        send(buffer.all.prefix(bytes.count))
    }

    func send(_ text: String) { send(Array(text.utf8)) }
}

/// The host's side of a connection, which never blocks the test.
final class Peer {
    private var file: FileDescriptor?
    var received: [UInt8] = []
    /// The other side has ended, or is gone.
    var sawEnd = false

    init(_ file: consuming FileDescriptor) throws {
        try file.setNonBlocking(true)
        self.file = consume file
    }

    convenience init(unix path: String) throws {
        try self.init(Socket.connect(unix: path))
    }

    /// Reads what is there; answers all that has come so far.
    @discardableResult
    func read() -> [UInt8] {
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

    var text: String { String(decoding: read(), as: UTF8.self) }

    /// Writes as much as fits; answers the rest.
    func write(_ bytes: [UInt8]) -> [UInt8] {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = Array(rest.prefix(1024))
            guard (try? file?.write(piece)) != nil else { break }
            rest = rest.dropFirst(piece.count)
        }
        return Array(rest)
    }

    func write(_ text: String) { _ = write(Array(text.utf8)) }

    func shutDownWriting() {
        if let file = file.take() {
            Socket.shutDown(file, reading: false, writing: true)
            self.file = consume file
        }
    }

    func close() { file = nil }
}

/// A path that no other test uses.
func temporaryPath(_ name: String) -> String {
    let random = randomBytes(8).map { String($0, radix: 16) }.joined()
    return "/tmp/apus-test-\(name)-\(random)"
}

/// Bytes of which every stretch tells where it is from.
func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7 &+ $0 / 1021 &* 3) }
}

/// A pipe.
func makePipe() -> (reading: Int32, writing: Int32) {
    signal(SIGPIPE, SIG_IGN)
    var ends: [Int32] = [-1, -1]
    #expect(unsafe pipe(&ends) == 0)
    return (ends[0], ends[1])
}
