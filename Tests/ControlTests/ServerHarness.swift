import EventLoop
import Glibc
import Host
import Options
import TestSupport
import Testing

@testable import Control

/// A server on a reactor that the test steps, and the path its socket has.
final class ServerHarness {
    let machine = FakeMachine()
    let path = ServerHarness.freshPath()
    let reactor: Reactor
    let server: QMPServer
    var clients: [TestClient] = []

    /// A path for a socket that nothing else uses.
    static func freshPath() -> String {
        "/tmp/apus-qmp-" + randomBytes(8).map { String($0, radix: 16) }.joined()
    }

    init(limits: QMPServer.Limits = QMPServer.Limits(), commands: CommandTable = .standard) throws {
        let listener = try QMPListener.bind(.unix(path: path))
        reactor = try Reactor(name: "test")
        server = QMPServer(
            reactor: reactor, machine: machine, version: testVersion, commands: commands, limits: limits)
        server.listen(on: listener)
    }

    /// A client whose greeting has been read.
    func connect() throws -> TestClient {
        let client = try TestClient(path: path)
        clients.append(client)
        run { client.lines.count == 1 }
        client.lines.removeAll()
        return client
    }

    /// Steps the reactor until `condition` holds; gives up, and says so, after a minute.
    func run(_ location: SourceLocation = #_sourceLocation, until condition: () -> Bool) {
        let deadline = Clock.monotonic + 60_000_000_000
        while !condition() {
            guard Clock.monotonic < deadline else {
                Issue.record("this did not come about", sourceLocation: location)
                return
            }
            turn()
        }
    }

    func turn() {
        reactor.turn(waiting: false)
        for client in clients { client.read() }
    }
}

/// A client that reads whatever is there whenever it is asked to.
final class TestClient {
    let socket: FileDescriptor
    /// Whole lines received, without their ends.
    var lines: [String] = []
    var hasEnded = false
    /// Whether `read` does anything.
    var reads = true
    private var partial: [UInt8] = []

    init(path: String) throws {
        socket = try Socket.connect(unix: path)
        try socket.setNonBlocking(true)
    }

    init(port: UInt16) throws {
        socket = try Socket.connect(ipv4: "127.0.0.1", port: port)
        try socket.setNonBlocking(true)
    }

    func send(_ text: String) throws {
        try socket.write(Array(text.utf8))
    }

    /// Sends as much of `bytes` as the kernel takes, and answers how much that was.
    func offer(_ bytes: ArraySlice<UInt8>) -> Int {
        let taken = unsafe bytes.withUnsafeBytes {
            unsafe Glibc.send(socket.rawValue, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        return max(0, taken)
    }

    func read() {
        while reads, !hasEnded {
            guard let bytes = try? socket.read(count: 65536) else { return }
            if bytes.isEmpty { hasEnded = true }
            partial += bytes
            while let end = partial.firstIndex(of: 0x0A) {
                let line = String(decoding: partial[..<end], as: UTF8.self)
                #expect(line.hasSuffix("\r"))
                lines.append(String(line.dropLast()))
                partial.removeFirst(end + 1)
            }
        }
    }

    /// Sends one blank together with descriptors.
    func send(descriptors: [Int32]) throws {
        let size = 16 + 4 * descriptors.count
        let control = IOBuffer(capacity: (size + 7) & ~7)
        control.all.store(UInt64(size), at: 0)
        control.all.store(UInt32(SOL_SOCKET), at: 8)
        control.all.store(UInt32(SCM_RIGHTS), at: 12)
        for (index, descriptor) in descriptors.enumerated() { control.all.store(descriptor, at: 16 + 4 * index) }
        let blank = IOBuffer(capacity: 1)
        blank.all.fill(0x20)
        var vector = unsafe iovec(iov_base: blank.all.pointer, iov_len: 1)
        let sent = unsafe withUnsafeMutablePointer(to: &vector) { vector in
            var header = unsafe msghdr()
            unsafe header.msg_iov = vector
            unsafe header.msg_iovlen = 1
            unsafe header.msg_control = control.all.pointer
            unsafe header.msg_controllen = control.capacity
            return unsafe sendmsg(socket.rawValue, &header, 0)
        }
        #expect(sent == 1)
    }
}
