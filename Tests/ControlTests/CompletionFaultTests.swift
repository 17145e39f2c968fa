import CompletionFaults
import EventLoop
import Glibc
import Host
import Testing

@testable import Control

/// Every operation of the QMP server ends badly once, in every way there is: a client may be lost, the next one is
/// served, and nothing is left behind.
@Suite struct CompletionFaultTests {
    @Test func clients() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("QMP", atLeast: 12, useServer)
        }
        CompletionFaults.show(result)
    }

    @Test func events() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("events", atLeast: 3, useThrottle)
        }
        CompletionFaults.show(result)
    }
}

private func useServer(_ end: CompletionFaults.End?) throws {
    let harness = try ServerHarness()
    /// Whether a client got its answers, one of them for a descriptor that it sent.
    func ask() throws -> Bool {
        let client = try TestClient(path: harness.path)
        harness.clients = [client]
        defer { harness.clients = [] }
        for (index, line) in [
            "", #"{"execute":"qmp_capabilities"}"#, #"{"execute":"query-status"}"#,
            #"{"execute":"getfd","arguments":{"fdname":"a"}}"#, #"{"execute":"closefd","arguments":{"fdname":"a"}}"#,
        ].enumerated() {
            if index == 3 { try? client.send(descriptors: [0]) }
            // One that is lost cannot be written to.
            if !line.isEmpty, harness.server.clientCount > 0 { try? client.send(line + "\n") }
            harness.run { client.lines.count > index || client.hasEnded }
            if client.hasEnded { return false }
        }
        return true
    }
    let isServed = try ask()
    if end == nil { #expect(isServed) }
    if !isServed { #expect(try ask(), "\(end?.description ?? "")") }
    harness.run { harness.server.clientCount == 0 }
    var isClosed = false
    harness.server.close(within: 1_000_000_000) { isClosed = true }
    harness.run { isClosed }
    #expect(CompletionFaults.isAtRest(harness.reactor), "operations are left in flight")
}

/// The last of several events comes through, whenever that is.
private func useThrottle(_ end: CompletionFaults.End?) throws {
    let reactor = try Reactor(name: "test")
    var posted: [QMPEvent] = []
    let throttle = EventThrottle(interval: 5_000_000, reactor: reactor) { posted.append($0) }
    for pages in 1...3 as ClosedRange<UInt64> { throttle.take(.balloonChanged(actual: pages)) }
    let deadline = Clock.monotonic + 5_000_000_000
    while posted.count < 2, Clock.monotonic < deadline { reactor.turn(waiting: false) }
    #expect(posted == [.balloonChanged(actual: 1), .balloonChanged(actual: 3)], "\(end?.description ?? "")")
    reactor.retire(throttle)
    #expect(CompletionFaults.isAtRest(reactor), "operations are left in flight")
}
