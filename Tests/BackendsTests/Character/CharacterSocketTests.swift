import EventLoop
import Host
import TestSupport
import Testing

@testable import Backends

@Suite struct CharacterSocketTests {
    private let reactor: Reactor
    private let path = temporaryPath("chardev")
    private let frontend = FakeFrontend()

    init() throws {
        reactor = try Reactor(name: "test")
    }

    private func server(replaying: Bool = true) throws -> Chardev {
        let chardev = try Chardev.server(id: "con0", unix: path, replaying: replaying, on: reactor)
        chardev.attach(frontend)
        return chardev
    }

    @Test func aClientTalksWithTheGuest() throws {
        let chardev = try server()
        defer { chardev.close() }
        #expect(chardev.filename == "unix:\(path),server=on")
        let peer = try Peer(unix: path)
        peer.write("root\n")
        #expect(run(reactor) { frontend.received == Array("root\n".utf8) })
        chardev.send("Pass")
        chardev.send("word: ")
        #expect(run(reactor) { peer.text == "Password: " })
        #expect(frontend.opened == [false, true])
        peer.close()
        #expect(run(reactor) { frontend.opened == [false, true, false] })
    }

    @Test func tcpClientsToo() throws {
        let probe = try Socket.listen(ipv4: "127.0.0.1", port: 0)
        let port = try Socket.boundPort(probe)
        _ = consume probe
        let chardev = try Chardev.server(id: "con0", ipv4: "127.0.0.1", port: port, on: reactor)
        defer { chardev.close() }
        chardev.attach(frontend)
        let peer = try Peer(Socket.connect(ipv4: "127.0.0.1", port: port))
        peer.write("in")
        chardev.send("out")
        #expect(run(reactor) { frontend.received == Array("in".utf8) && peer.text == "out" })
        #expect(throws: ChardevError.self) {
            try Chardev.server(id: "con1", ipv4: "127.0.0.1", port: port, on: reactor)
        }
    }

    @Test func aLateClientSeesTheLast64KiB() throws {
        let chardev = try server()
        defer { chardev.close() }
        let output = pattern(200_000)
        for start in stride(from: 0, to: output.count, by: 3000) {
            chardev.send(Array(output[start..<min(start + 3000, output.count)]))
        }
        for _ in 0..<2 {
            let peer = try Peer(unix: path)
            #expect(run(reactor) { peer.read().count >= OutputHistory.capacity })
            let isSame = peer.received == output.suffix(OutputHistory.capacity)
            #expect(isSame)
            peer.close()
        }
    }

    @Test func withoutReplayAClientSeesOnlyWhatComes() throws {
        let chardev = try server(replaying: false)
        defer { chardev.close() }
        chardev.send("before")
        let peer = try Peer(unix: path)
        #expect(run(reactor) { frontend.opened.last == true })
        chardev.send("after")
        #expect(run(reactor) { peer.text == "after" })
    }

    @Test func oneClientAtATimeAndTheNextWaits() throws {
        let chardev = try server(replaying: false)
        defer { chardev.close() }
        let first = try Peer(unix: path)
        first.write("1")
        #expect(run(reactor) { frontend.received == Array("1".utf8) })
        let second = try Peer(unix: path)
        second.write("2")
        chardev.send("to the first")
        #expect(run(reactor) { first.text == "to the first" })
        #expect(frontend.received == Array("1".utf8))
        first.close()
        #expect(run(reactor) { frontend.received == Array("12".utf8) })
        chardev.send("to the second")
        #expect(run(reactor) { second.text == "to the second" })
        #expect(frontend.opened == [false, true, false, true])
    }

    @Test func aClientThatOnlyListensKeepsItsPlaceUntilAnotherComes() throws {
        let chardev = try server(replaying: false)
        defer { chardev.close() }
        let first = try Peer(unix: path)
        first.write("uptime\n")
        first.shutDownWriting()
        #expect(run(reactor) { frontend.received == Array("uptime\n".utf8) })
        chardev.send("up 1 min")
        #expect(run(reactor) { first.text == "up 1 min" })
        #expect(frontend.opened == [false, true])
        let second = try Peer(unix: path)
        second.write("w\n")
        #expect(run(reactor) { frontend.received == Array("uptime\nw\n".utf8) })
        first.read()
        #expect(first.sawEnd)
    }

    @Test func aSlowReaderCostsOutputAndNothingElse() throws {
        let chardev = try server()
        defer { chardev.close() }
        let peer = try Peer(unix: path)
        #expect(run(reactor) { frontend.opened.last == true })
        let output = pattern(2 << 20)
        for start in stride(from: 0, to: output.count, by: 4096) {
            chardev.send(Array(output[start..<start + 4096]))
            reactor.turn(waiting: false)
        }
        #expect(chardev.room == 0)
        #expect(run(reactor) { peer.read().suffix(2000) == output.suffix(2000) })
        let isSame = peer.received.suffix(OutputHistory.capacity) == output.suffix(OutputHistory.capacity)
        #expect(isSame)
        #expect(peer.received.count < output.count, "some was lost, and the guest never waited")
        #expect(chardev.room == OutputHistory.capacity)
        peer.write("still here")
        #expect(run(reactor) { frontend.received == Array("still here".utf8) })
    }

    @Test func aClientThatGoesInTheMiddleOfAWriteMakesWayForTheNext() throws {
        let chardev = try server()
        defer { chardev.close() }
        let peer = try Peer(unix: path)
        #expect(run(reactor) { frontend.opened.last == true })
        let output = pattern(1 << 20)
        chardev.send(output)
        while chardev.room > 0 {
            chardev.send(output)
            for _ in 0..<100 { reactor.turn(waiting: false) }
        }
        peer.close()
        let next = try Peer(unix: path)
        #expect(run(reactor) { next.read().count >= OutputHistory.capacity })
        let isSame = next.received == output.suffix(OutputHistory.capacity)
        #expect(isSame)
    }

    @Test func inputWaitsForAGuestThatIsSlow() throws {
        let chardev = try server()
        defer { chardev.close() }
        frontend.appetite = 0
        let peer = try Peer(unix: path)
        let input = pattern(1 << 20)
        var rest = peer.write(input)
        for _ in 0..<100 { reactor.turn(waiting: false) }
        #expect(!rest.isEmpty, "what is not taken stays with its sender")
        #expect(frontend.received.isEmpty)
        #expect(
            run(reactor) {
                frontend.appetite = 777
                chardev.resumeReceiving()
                rest = peer.write(rest)
                return frontend.received.count == input.count
            })
        let isSame = frontend.received == input
        #expect(isSame)
    }

    @Test func whatAClientSentBeforeItWentStillArrives() throws {
        let chardev = try server()
        defer { chardev.close() }
        frontend.appetite = 0
        let peer = try Peer(unix: path)
        let input = pattern(10_000)
        #expect(peer.write(input).isEmpty)
        #expect(run(reactor) { frontend.opened.last == true })
        for _ in 0..<100 { reactor.turn(waiting: false) }
        peer.close()
        #expect(
            run(reactor) {
                frontend.appetite = 100
                chardev.resumeReceiving()
                return frontend.opened.last == false
            })
        let isSame = frontend.received == input
        #expect(isSame)
    }

    @Test func aConnectionThatEndsIsReported() throws {
        let socket = try Socket.listen(unix: path)
        defer { try? removeFile(path) }
        let chardev = try Chardev.client(id: "con0", unix: path, on: reactor)
        chardev.attach(frontend)
        let server = Accepted()
        reactor.submit(.accept(IOFile(descriptor: socket.rawValue)), for: server)
        #expect(run(reactor) { server.descriptor >= 0 })
        let peer = try Peer(FileDescriptor(owning: server.descriptor))
        peer.write("hello")
        chardev.send("world")
        #expect(run(reactor) { frontend.received == Array("hello".utf8) && peer.text == "world" })
        peer.close()
        #expect(run(reactor) { !chardev.isOpen })
        #expect(frontend.opened == [true, false])
        chardev.send("to nobody")
        chardev.close()
    }

    @Test func aFailureToConnectSaysWhere() {
        #expect(throws: ChardevError(id: "con0", problem: "cannot connect to '\(path)': No such file or directory")) {
            try Chardev.client(id: "con0", unix: path, on: reactor)
        }
    }

    // MARK: The socket's file

    @Test func theSocketsFileGoesWithTheChardev() throws {
        try server().close()
        #expect((try? FileStatus(at: path)) == nil)
        // Nor does anything stay when it is never closed.
        do { _ = try server() }
        #expect((try? FileStatus(at: path)) == nil)
    }

    @Test func aStaleSocketIsReplacedAndALivingOneIsNot() throws {
        do { _ = try Socket.listen(unix: path) }
        let chardev = try server()
        #expect(
            throws: ChardevError(
                id: "con1",
                problem: "cannot listen at '\(path)': another process listens there; stop it or pass another address")
        ) {
            try Chardev.server(id: "con1", unix: path, on: reactor)
        }
        #expect((try? FileStatus(at: path))?.kind == .socket)
        chardev.close()
    }

    @Test func aFileThatIsNoSocketIsLeftAlone() throws {
        _ = try FileDescriptor.open(path, [.readWrite, .create])
        defer { try? removeFile(path) }
        #expect(throws: ChardevError.self) { try server() }
        #expect((try? FileStatus(at: path))?.kind == .regular)
    }

    @Test func aFileThatTookTheSocketsPlaceIsLeftAlone() throws {
        let chardev = try server()
        try removeFile(path)
        let other = try Socket.listen(unix: path)
        chardev.close()
        #expect((try? FileStatus(at: path))?.kind == .socket)
        try removeFile(path)
        _ = consume other
    }

    @Test func closingLeavesNothingInFlight() throws {
        weak var seen: Chardev?
        do {
            let chardev = try server()
            seen = chardev
            let peer = try Peer(unix: path)
            #expect(run(reactor) { frontend.opened.last == true })
            chardev.close()
            #expect(
                run(reactor) {
                    peer.read()
                    return peer.sawEnd
                })
        }
        #expect(seen == nil)
    }
}

/// Keeps the descriptor of a connection.
private final class Accepted: RingClient {
    var descriptor: Int32 = -1

    override func operationCompleted(tag: UInt32, result: Int32) { descriptor = result }
}
