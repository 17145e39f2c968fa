import CompletionFaults
import EventLoop
import Glibc
import Host
import Testing

private let path = "/tmp/apus-accept-" + randomBytes(8).map { String($0, radix: 16) }.joined()

@Suite(.serialized) struct AcceptorTests {
    @Test func everyBadEndIsSurvived() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("acceptor", atLeast: 2, acceptTwo)
        }
        CompletionFaults.show(result)
    }

    @Test func takesOneClientAtATime() throws {
        let reactor = try Reactor(name: "test")
        var accepted = 0
        let acceptor = Acceptor(reactor, try ListeningSocket.unix(path), name: "test") { _ in accepted += 1 }
        let clients = [try Socket.connect(unix: path).release(), try Socket.connect(unix: path).release()]
        defer { for client in clients { close(client) } }
        acceptor.accept()
        acceptor.accept()
        while accepted == 0 { reactor.turn(waiting: true) }
        for _ in 0..<100 { reactor.turn(waiting: false) }
        #expect(accepted == 1)
        acceptor.accept()
        while accepted == 1 { reactor.turn(waiting: true) }
        acceptor.close()
    }

    @Test func closingRemovesTheFileAtOnce() throws {
        let reactor = try Reactor(name: "test")
        let acceptor = Acceptor(reactor, try ListeningSocket.unix(path), name: "test") { _ in
            Issue.record("a client was accepted")
        }
        acceptor.acceptAll()
        reactor.turn(waiting: false)
        acceptor.close()
        #expect(throws: Errno.noEntry) { try FileStatus(at: path) }
        acceptor.close()
        #expect(CompletionFaults.isAtRest(reactor))
    }
}

/// Two clients come, and both are taken whatever the ring says to the first attempts.
private func acceptTwo(_ end: CompletionFaults.End?) throws {
    let reactor = try Reactor(name: "test")
    var accepted = 0
    let acceptor = Acceptor(reactor, try ListeningSocket.unix(path), name: "test") { _ in accepted += 1 }
    acceptor.acceptAll()
    let deadline = Clock.monotonic + 5_000_000_000
    for count in 1...2 {
        let client = try Socket.connect(unix: path)
        while accepted < count, Clock.monotonic < deadline { reactor.turn(waiting: false) }
        _ = consume client
    }
    #expect(accepted == 2, "\(end?.description ?? "")")
    acceptor.close()
    #expect(CompletionFaults.isAtRest(reactor), "operations are left in flight")
}
