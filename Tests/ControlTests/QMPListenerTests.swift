import CHost
import EventLoop
import Glibc
import Host
import Options
import TestSupport
import Testing

@testable import Control

@Suite struct QMPListenerTests {
    let path = ServerHarness.freshPath()

    private func kind() -> FileStatus.Kind? {
        try? FileStatus(at: path, followLinks: false).kind
    }

    private func create() throws -> FileDescriptor {
        try FileDescriptor.open(path, [.create, .exclusive, .readWrite])
    }

    @Test func acceptsBeforeAnyoneServes() throws {
        let listener = try QMPListener.bind(.unix(path: path))
        let client = try TestClient(path: path)
        try client.send(#"{"execute":"query-kvm"}"#)
        let machine = FakeMachine()
        let reactor = try Reactor(name: "test")
        let server = QMPServer(reactor: reactor, machine: machine, version: testVersion)
        server.listen(on: listener)
        let deadline = Clock.monotonic + 60_000_000_000
        while client.lines.count < 2, Clock.monotonic < deadline {
            reactor.turn(waiting: false)
            client.read()
        }
        #expect(client.lines.first?.hasPrefix(#"{"QMP":"#) == true)
        #expect(client.lines.last == #"{"return":{"enabled":true,"present":true}}"#)
    }

    @Test func isForThisUserOnly() throws {
        let listener = try QMPListener.bind(.unix(path: path))
        var status = stat()
        #expect(unsafe stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        _ = consume listener
    }

    @Test func removesItsFile() throws {
        let listener = try QMPListener.bind(.unix(path: path))
        #expect(kind() == .socket)
        _ = consume listener
        #expect(kind() == nil)
    }

    @Test func replacesAStaleSocket() throws {
        _ = try Socket.listen(unix: path)
        #expect(kind() == .socket)
        let listener = try QMPListener.bind(.unix(path: path))
        _ = try TestClient(path: path)
        _ = consume listener
    }

    @Test func refusesAPathOnWhichAnotherProcessListens() throws {
        let first = try QMPListener.bind(.unix(path: path))
        let before = try FileStatus(at: path, followLinks: false)
        let error = #expect(throws: QMPListenerError.self) { _ = try QMPListener.bind(.unix(path: path)) }
        #expect(
            error?.description
                == "cannot listen at unix:\(path): another process listens there; stop it or pass another address")
        #expect(try FileStatus(at: path, followLinks: false).inode == before.inode)
        _ = try TestClient(path: path)
        _ = consume first
    }

    @Test func leavesOtherFilesAlone() throws {
        _ = try create()
        defer { try? removeFile(path) }
        let error = #expect(throws: QMPListenerError.self) { _ = try QMPListener.bind(.unix(path: path)) }
        #expect(
            error?.description
                == "cannot listen at unix:\(path): a file that is not a socket is there; "
                + "remove it or pass another path")
        #expect(kind() == .regular)
    }

    @Test func leavesASuccessorsSocketAlone() throws {
        let listener = try QMPListener.bind(.unix(path: path))
        try removeFile(path)
        _ = try create()
        _ = consume listener
        #expect(kind() == .regular)
        try removeFile(path)
    }

    @Test func tellsWhyItCannotListen() throws {
        let error = #expect(throws: QMPListenerError.self) {
            _ = try QMPListener.bind(.unix(path: "/nonexistent/qmp.sock"))
        }
        #expect(error?.description == "cannot listen at unix:/nonexistent/qmp.sock: No such file or directory")
        #expect(throws: QMPListenerError.self) {
            _ = try QMPListener.bind(.unix(path: "/tmp/" + String(repeating: "x", count: 200)))
        }
    }

    @Test func listensOnTCP() throws {
        let host = try #require(IPv4Address("127.0.0.1"))
        let listener = try QMPListener.bind(.tcp(host: host, port: 0))
        let port = try Socket.boundPort(listener.socket.descriptor)
        let reactor = try Reactor(name: "test")
        let server = QMPServer(reactor: reactor, machine: FakeMachine(), version: testVersion)
        server.listen(on: listener)
        let client = try TestClient(port: port)
        let deadline = Clock.monotonic + 60_000_000_000
        while client.lines.isEmpty, Clock.monotonic < deadline {
            reactor.turn(waiting: false)
            client.read()
        }
        #expect(client.lines.first?.hasPrefix(#"{"QMP":"#) == true)
        let other = #expect(throws: QMPListenerError.self) { _ = try QMPListener.bind(.tcp(host: host, port: port)) }
        #expect(
            other?.description
                == "cannot listen at tcp:127.0.0.1:\(port): another process listens there; "
                + "stop it or pass another address")
    }
}
