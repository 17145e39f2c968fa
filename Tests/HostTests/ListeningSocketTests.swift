import CHost
import Glibc
import Testing

@testable import Host

/// Which paths a socket may take, and what it leaves there.
@Suite final class ListeningSocketTests {
    private let path = "/tmp/apus-listen-" + randomBytes(8).map { String($0, radix: 16) }.joined()

    deinit { try? removeFile(path) }

    private var kind: FileStatus.Kind? { try? FileStatus(at: path, followLinks: false).kind }

    private func listen(releaseTime: UInt64 = 0) throws(ListeningError) {
        _ = try ListeningSocket.unix(path, releaseTime: releaseTime)
    }

    @Test func theFileIsForThisUserOnly() throws {
        for mask in [0o000, 0o022, 0o077] as [mode_t] {
            let former = umask(mask)
            defer { _ = umask(former) }
            let socket = try ListeningSocket.unix(path)
            var status = stat()
            #expect(unsafe stat(path, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
            _ = consume socket
        }
    }

    @Test func theFileGoesWithTheSocket() throws {
        var socket = try ListeningSocket.unix(path)
        #expect(kind == .socket)
        socket.removeFile()
        #expect(kind == nil)
        _ = consume socket
        try listen()
        #expect(kind == nil)
    }

    @Test func aFileThatTookThePathStays() throws {
        var socket = try ListeningSocket.unix(path)
        try removeFile(path)
        _ = try FileDescriptor.open(path, [.create, .exclusive, .readWrite])
        socket.removeFile()
        _ = consume socket
        #expect(kind == .regular)
    }

    @Test func aDeadSocketIsReplaced() throws {
        _ = try Socket.listen(unix: path)
        let socket = try ListeningSocket.unix(path)
        _ = try Socket.connect(unix: path)
        _ = consume socket
    }

    @Test func anotherProcessKeepsItsSocket() throws {
        let other = try ListeningSocket.unix(path)
        let inode = try FileStatus(at: path).inode
        #expect(throws: ListeningError.inUse) { try listen() }
        #expect(try FileStatus(at: path).inode == inode)
        _ = consume other
        #expect(kind == nil)
    }

    @Test func aFullBacklogIsAListenerToo() throws {
        let other = try ListeningSocket.unix(path, backlog: 0)
        let waiting = try Socket.connectNow(unix: path)
        #expect(throws: ListeningError.inUse) { try listen() }
        #expect(kind == .socket)
        _ = consume waiting
        _ = consume other
    }

    /// It answers, so that there is nothing to wait for.
    @Test(.timeLimit(.minutes(1))) func aServerThatGreetsIsBelievedAtOnce() throws {
        let other = try ListeningSocket.unix(path)
        let number = other.descriptor.rawValue
        let server = try HostThread(name: "server") {
            guard let client = try? checked({ accept(number, nil, nil) }) else { return }
            try? FileDescriptor(owning: client).write([0x41])
        }
        #expect(throws: ListeningError.inUse) { try listen(releaseTime: .max / 2) }
        server.join()
        _ = consume other
    }

    /// As after a kill: the socket still takes connections, and goes a moment later.
    @Test(.timeLimit(.minutes(1))) func aListenerThatIsEndingIsWaitedFor() throws {
        let number = try Socket.listen(unix: path).release()
        let ending = try HostThread(name: "ending") {
            let socket = FileDescriptor(owning: number)
            // Until the other one has met it.
            try? socket.waitUntilReadable(by: Clock.monotonic + 60_000_000_000)
        }
        let socket = try ListeningSocket.unix(path, releaseTime: 60_000_000_000)
        #expect(kind == .socket)
        _ = try Socket.connect(unix: path)
        ending.join()
        _ = consume socket
    }

    @Test func otherFilesStay() throws {
        _ = try FileDescriptor.open(path, [.create, .exclusive, .readWrite])
        #expect(throws: ListeningError.notSocket) { try listen() }
        #expect(kind == .regular)
        try removeFile(path)
        #expect(unsafe symlink("/dev/null", path) == 0)
        #expect(throws: ListeningError.notSocket) { try listen() }
        #expect(kind == .other)
        try removeFile(path)
        #expect(unsafe mkdir(path, 0o700) == 0)
        #expect(throws: ListeningError.notSocket) { try listen() }
        #expect(kind == .directory)
        unsafe rmdir(path)
    }

    @Test func theReasonIsTold() throws {
        #expect(throws: ListeningError.system(.noEntry)) { _ = try ListeningSocket.unix("/nonexistent/a") }
        let error = #expect(throws: ListeningError.self) {
            _ = try ListeningSocket.unix("/tmp/" + String(repeating: "x", count: 200))
        }
        #expect(error?.description == "File name too long; pass a path of at most 107 bytes")
    }

    @Test func aPortInUseIsRefused() throws {
        let other = try ListeningSocket.tcp("127.0.0.1", 0)
        let port = try Socket.boundPort(other.descriptor)
        #expect(throws: ListeningError.inUse) { _ = try ListeningSocket.tcp("127.0.0.1", port, releaseTime: 0) }
        _ = consume other
        _ = try ListeningSocket.tcp("127.0.0.1", port)
    }
}
