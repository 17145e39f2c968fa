import CompletionFaults
import EventLoop
import Host
import JSONText
import Testing

@testable import Control

/// A server whose reactor has lost its ring still says so to its clients.
@Suite struct LostRingTests {
    @Test func clientsAreSentWhatTheyAreOwed() throws {
        let harness = try ServerHarness()
        let clients = [try harness.connect(), try harness.connect()]
        for client in clients {
            try client.send(#"{"execute":"qmp_capabilities"}"#)
            harness.run { client.lines.count == 1 }
        }
        // The first client's answer is queued when the ring is lost.
        try clients[0].send(#"{"execute":"query-name"}"#)
        var isLost = false
        harness.reactor.onLoss { _ in isLost = true }
        harness.reactor.turn(waiting: false)
        EnterFaults.inject(.badDescriptor, at: 0) { _ in
            while !isLost { harness.reactor.turn(waiting: true) }
        }
        harness.server.post(.shutdown(guest: false, reason: "internal-error"))
        harness.server.closeWithoutRing()
        for client in clients { client.read() }
        #expect(clients[0].lines.count == 3 && clients[1].lines.count == 2)
        #expect(clients[0].lines.dropFirst().first == #"{"return":{"name":"vm"}}"#)
        for client in clients {
            #expect(try JSONValue(parsing: client.lines.last ?? "")["event"] == "SHUTDOWN")
        }
        #expect(throws: Errno.noEntry) { _ = try FileStatus(at: harness.path) }
    }

    @Test func aClientThatDoesNotReadHoldsUpNothing() throws {
        let harness = try ServerHarness()
        let client = try harness.connect()
        client.reads = false
        let flood = Array(String(repeating: #"{"execute":"query-commands"}"#, count: 2000).utf8)
        var offset = 0
        for _ in 0..<1000 {
            offset += client.offer(flood[offset...].prefix(4096))
            harness.turn()
        }
        EnterFaults.inject(.badDescriptor, at: 0) { _ in
            while harness.reactor.failure == nil { harness.turn() }
        }
        harness.server.post(.shutdown(guest: false, reason: "internal-error"))
        harness.server.closeWithoutRing()
        client.reads = true
        client.read()
        // What it got is whole up to where it stopped reading.
        #expect(client.lines.count > 1 && client.lines.allSatisfy { $0.hasPrefix(#"{"return":["#) })
    }
}
