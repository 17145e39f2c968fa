import EventLoop
import Host
import TestSupport
import Testing

@testable import Backends

/// The host's side of a vsock device: what it finds where its socket shall be, and what it leaves there.
@Suite struct VsockSocketsTests {
    private let path = temporaryPath("vsock")

    @Test func theSocketIsTheOwnersAloneAndGoesWithTheDevice() throws {
        let sockets = try VsockSockets(path: path, id: "vsock0")
        #expect(try FileStatus(at: path).kind == .socket)
        #expect(try Socket.isListening(unix: path))
        sockets.close()
        #expect(throws: Errno.noEntry) { try FileStatus(at: path) }
        // Closing is for once; and one that nobody closes goes by itself.
        sockets.close()
        _ = try VsockSockets(path: path, id: "vsock0")
        #expect(throws: Errno.noEntry) { try FileStatus(at: path) }
    }

    @Test func aSocketWithoutListenerIsReplaced() throws {
        let stale = try Socket.listen(unix: path)
        _ = consume stale
        let sockets = try VsockSockets(path: path, id: "vsock0")
        #expect(try Socket.isListening(unix: path))
        sockets.close()
    }

    @Test func whatIsInTheWayIsToldAndStays() throws {
        let first = try VsockSockets(path: path, id: "vsock0")
        defer { first.close() }
        #expect(problem(path)?.contains("another process listens there") == true)
        #expect(try Socket.isListening(unix: path))
        let file = path + ".file"
        _ = try FileDescriptor.open(file, [.writeOnly, .create])
        defer { try? removeFile(file) }
        #expect(problem(file)?.contains("not a socket") == true)
        #expect(try FileStatus(at: file).kind == .regular)
        #expect(problem("/nonexistent/v.sock")?.contains("No such file or directory") == true)
        #expect(problem("/tmp/" + String(repeating: "v", count: 103))?.contains("too long") == true)
    }

    private func problem(_ path: String) -> String? {
        do {
            _ = try VsockSockets(path: path, id: "vsock0")
            return nil
        } catch {
            return error.problem
        }
    }

    @Test func programsAreAcceptedOneAfterTheOther() throws {
        let reactor = try Reactor(name: "test")
        let sockets = try VsockSockets(path: path, id: "vsock0")
        defer { sockets.close() }
        let peers = try (0..<3).map { _ in try Peer(unix: path) }
        var accepted = 0
        for count in 1...3 {
            sockets.accept(on: reactor) { _ in accepted += 1 }
            #expect(run(reactor) { accepted == count })
        }
        #expect(run(reactor) { peers.allSatisfy { $0.read().isEmpty && $0.sawEnd } })
    }

    @Test func theGuestReachesWhoListens() throws {
        let sockets = try VsockSockets(path: path, id: "vsock0")
        defer { sockets.close() }
        #expect(throws: Errno.noEntry) { _ = try sockets.connect(port: 7) }
        let listener = try Socket.listen(unix: path + "_7", backlog: 0)
        let taken = try sockets.connect(port: 7)
        #expect(throws: Errno.again) { _ = try sockets.connect(port: 7) }
        _ = consume listener
        #expect(throws: Errno.connectionRefused) { _ = try sockets.connect(port: 7) }
        _ = consume taken
        try removeFile(path + "_7")
    }
}
