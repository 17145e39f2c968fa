import EventLoop
import Host
import JSONText
import Options
import TestSupport
import Testing

@testable import Control

@Suite struct QMPServerTests {
    @Test func answersOverASocket() throws {
        let harness = try ServerHarness()
        let client = try harness.connect()
        try client.send(#"{"execute":"qmp_cap"#)
        harness.turn()
        try client.send(#"abilities"}{"execute":"query-name","id":[1]}"# + "\ngarbage\n")
        harness.run { client.lines.count == 3 }
        #expect(client.lines[0] == #"{"return":{}}"#)
        #expect(client.lines[1] == #"{"return":{"name":"vm"},"id":[1]}"#)
        #expect(client.lines[2].hasPrefix(#"{"error":{"class":"GenericError""#))
    }

    @Test func tellsEveryClientOfEvents() throws {
        let harness = try ServerHarness()
        let clients = [try harness.connect(), try harness.connect()]
        for client in clients {
            try client.send(#"{"execute":"qmp_capabilities"}"#)
            harness.run { client.lines.count == 1 }
        }
        let before = Clock.realTime / 1_000_000_000
        harness.server.post(.reset(guest: true))
        for client in clients {
            harness.run { client.lines.count == 2 }
            let event = try JSONValue(parsing: client.lines[1])
            #expect(event["event"] == "RESET")
            guard case .integer(let seconds) = event["timestamp"]?["seconds"] else {
                Issue.record("no time")
                continue
            }
            #expect(seconds >= before && seconds <= before + 60)
        }
    }

    @Test func oneClientsLongCommandHoldsUpNoOther() throws {
        let harness = try ServerHarness()
        harness.machine.defers = true
        let waiting = try harness.connect()
        let other = try harness.connect()
        try waiting.send(#"{"execute":"stop"}{"execute":"query-kvm"}"#)
        try other.send(#"{"execute":"query-status"}"#)
        harness.run { other.lines.count == 1 }
        #expect(other.lines.first?.contains("paused") == true)
        #expect(waiting.lines.isEmpty)
        harness.machine.replies.removeFirst().succeed()
        harness.run { waiting.lines.count == 2 }
        #expect(waiting.lines == [#"{"return":{}}"#, #"{"return":{"enabled":true,"present":true}}"#])
    }

    @Test func givesEachClientItsTurn() throws {
        let harness = try ServerHarness()
        let flooding = try harness.connect()
        let other = try harness.connect()
        let flood = Array(String(repeating: #"{"execute":"system_powerdown"}"#, count: 5000).utf8)
        var offered = 0
        try other.send(#"{"execute":"query-kvm"}"#)
        while offered < flood.count || flooding.lines.count < 5000 {
            offered += flooding.offer(flood[offered...])
            let before = harness.machine.calls.count
            harness.turn()
            #expect(harness.machine.calls.count - before <= 16)
        }
        #expect(other.lines.count == 1)
        #expect(harness.machine.calls.count == 5000)
    }

    /// Fourteen clients ask for much, as fast as they can: no turn gives them more than a bounded piece of it, and a
    /// client that asks for little waits for one piece of each at most.
    @Test func sharesEachTurnBetweenClients() throws {
        let text = JSONValue.string(String(repeating: "x", count: 30_000))
        let large = Command("large", "Returns much.", returns: .string) { call in
            _ = try? call.machine.setBalloon(0)
            return .done(text)
        }
        let small = Command("small", "Returns little.") { _ in .done(.emptyObject) }
        let harness = try ServerHarness(commands: CommandTable([large, small]))
        let flooding = try (0..<14).map { _ in try harness.connect() }
        let other = try harness.connect()
        for client in flooding { try client.send(String(repeating: #"{"execute":"large"}"#, count: 30)) }
        for _ in 0..<10 {
            try other.send(#"{"execute":"small"}"#)
            var turns = 0
            while other.lines.isEmpty, turns < 100 {
                let before = harness.machine.calls.count
                harness.turn()
                turns += 1
                #expect(harness.machine.calls.count - before <= 3)
            }
            #expect(turns <= 20)
            other.lines = []
        }
        #expect(harness.machine.calls.count < 14 * 30)
        harness.run { flooding.allSatisfy { $0.lines.count == 30 } }
    }

    @Test func aClientThatNeverReadsHurtsOnlyItself() throws {
        var limits = QMPServer.Limits()
        limits.session.input = 8 << 10
        limits.session.output = 16 << 10
        let harness = try ServerHarness(limits: limits)
        let stalled = try harness.connect()
        let other = try harness.connect()
        stalled.reads = false
        let command = Array(#"{"execute":"query-commands"}"#.utf8)
        // Until neither the kernel nor the server takes any more of it.
        var sent = 0
        var idleTurns = 0
        var rest = command[...]
        while idleTurns < 1000, sent < 20_000 {
            let taken = stalled.offer(rest)
            rest = rest.dropFirst(taken)
            if rest.isEmpty {
                rest = command[...]
                sent += 1
            }
            idleTurns = taken > 0 ? 0 : idleTurns + 1
            harness.turn()
        }
        #expect(sent < 20_000)
        for _ in 0..<200 { harness.server.post(.stop) }
        try other.send(#"{"execute":"query-kvm"}"#)
        harness.run { other.lines.contains { $0.contains("present") } }
        // It finds all its answers when it reads after all, and of the events as many as are kept.
        stalled.reads = true
        harness.run { stalled.lines.count == sent + 50 }
        #expect(stalled.lines.filter { $0.contains("query-cpus-fast") }.count == sent)
        #expect(stalled.lines.filter { $0.contains("STOP") }.count == 50)
    }

    @Test func answersAClientThatHasEndedItsSide() throws {
        let harness = try ServerHarness()
        harness.machine.defers = true
        let client = try harness.connect()
        try client.send(String(repeating: #"{"execute":"query-kvm"}"#, count: 40) + #"{"execute":"stop"}{"exec"#)
        Socket.shutDown(client.socket, reading: false, writing: true)
        harness.run { client.lines.count == 40 && !harness.machine.replies.isEmpty }
        for _ in 0..<20 { harness.turn() }
        #expect(!client.hasEnded)
        harness.machine.replies.removeFirst().succeed()
        harness.run { client.hasEnded }
        #expect(client.lines.count == 41)
        #expect(harness.server.clientCount == 0)
    }

    @Test func survivesAClientThatVanishes() throws {
        let harness = try ServerHarness()
        harness.machine.defers = true
        do {
            let client = try TestClient(path: harness.path)
            try client.send(#"{"execute":"stop"}{"execute":"query-kvm"}"#)
            harness.run { !harness.machine.replies.isEmpty }
        }
        harness.machine.replies.removeFirst().succeed()
        harness.run { harness.server.clientCount == 0 }
        #expect(try harness.connect().lines.isEmpty)
    }

    @Test func theClientIdleLongestMakesRoom() throws {
        var limits = QMPServer.Limits()
        limits.clients = 3
        let harness = try ServerHarness(limits: limits)
        let clients = try (0..<3).map { _ in try harness.connect() }
        try clients[0].send(#"{"execute":"query-kvm"}"#)
        harness.run { clients[0].lines.count == 1 }
        let fourth = try harness.connect()
        harness.run { clients[1].hasEnded }
        #expect(harness.server.clientCount == 3)
        for client in [clients[0], clients[2], fourth] {
            client.lines = []
            try client.send(#"{"execute":"query-kvm"}"#)
            harness.run { client.lines.count == 1 }
        }
        // They may as well come all at once.
        for _ in 0..<10 { harness.clients.append(try TestClient(path: harness.path)) }
        harness.run { harness.clients.suffix(3).allSatisfy { $0.lines.count == 1 } }
        #expect(harness.server.clientCount == 3)
        harness.run { harness.clients.filter(\.hasEnded).count == 11 }
    }

    @Test func aClientWhoseCommandIsUnfinishedStays() throws {
        var limits = QMPServer.Limits()
        limits.clients = 2
        let harness = try ServerHarness(limits: limits)
        harness.machine.defers = true
        let waiting = try (0..<2).map { _ in try harness.connect() }
        for client in waiting { try client.send(#"{"execute":"stop"}"#) }
        harness.run { harness.machine.replies.count == 2 }
        let refused = try TestClient(path: harness.path)
        harness.clients.append(refused)
        harness.run { refused.hasEnded }
        #expect(refused.lines.isEmpty)
        harness.machine.replies.removeFirst().succeed()
        harness.run { waiting.contains { $0.lines.count == 1 } }
        _ = try harness.connect()
        harness.machine.replies.removeFirst().succeed()
        harness.run { waiting.contains { $0.hasEnded } && waiting.contains { $0.lines.count == 1 && !$0.hasEnded } }
    }

    @Test func keepsTheLastDescriptor() throws {
        let take = Command("take", "Takes the descriptor.") { call in
            guard let descriptor = call.session.takeDescriptor() else { return .done("none") }
            try? descriptor.write([0x41])
            return .done("taken")
        }
        let harness = try ServerHarness(commands: CommandTable([take]))
        let client = try harness.connect()
        let dropped = try Socket.pair()
        let kept = try Socket.pair()
        try client.send(descriptors: [dropped.first.rawValue, kept.first.rawValue])
        try client.send(#"{"execute":"take"}{"execute":"take"}"#)
        harness.run { client.lines.count == 2 }
        #expect(client.lines == [#"{"return":"taken"}"#, #"{"return":"none"}"#])
        #expect(try kept.second.read(count: 8) == [0x41])
        // Both ends that the server was sent are closed: with ours they were the last.
        _ = consume dropped.first
        _ = consume kept.first
        try dropped.second.setNonBlocking(true)
        try kept.second.setNonBlocking(true)
        #expect(try dropped.second.read(count: 8) == [])
        #expect(try kept.second.read(count: 8) == [])
    }

    // MARK: The end

    @Test func sendsWhatIsOwedAndEnds() throws {
        let harness = try ServerHarness()
        let clients = [try harness.connect(), try harness.connect()]
        try clients[1].send(#"{"execute":"qmp_capabilities"}"#)
        try clients[0].send(#"{"execute":"quit"}{"execute":"query-kvm"}"#)
        harness.run { harness.machine.calls == ["quit"] && clients[1].lines.count == 1 }
        var isDone = false
        harness.server.post(.shutdown(guest: false, reason: "host-qmp-quit"))
        harness.server.close(within: 10_000_000_000) { isDone = true }
        harness.run { isDone && clients.allSatisfy(\.hasEnded) }
        #expect(clients[0].lines.first == #"{"return":{}}"#)
        for client in clients { #expect(client.lines.last?.contains(#""reason":"host-qmp-quit""#) == true) }
        #expect((try? FileStatus(at: harness.path)) == nil)
        #expect(throws: Errno.self) { _ = try TestClient(path: harness.path) }
    }

    @Test func waitsForNoClientForEver() throws {
        let harness = try ServerHarness()
        harness.machine.defers = true
        let stalled = try harness.connect()
        stalled.reads = false
        var taken = 1
        while taken > 0 {
            taken = stalled.offer(Array(String(repeating: #"{"execute":"query-commands"}"#, count: 100).utf8)[...])
            for _ in 0..<100 { harness.turn() }
        }
        let waiting = try harness.connect()
        try waiting.send(#"{"execute":"stop"}"#)
        harness.run { !harness.machine.replies.isEmpty }
        var isDone = false
        harness.server.close(within: 20_000_000) { isDone = true }
        harness.run { isDone }
        #expect(harness.server.clientCount == 0)
        harness.machine.replies.removeFirst().succeed()
    }

    @Test func leavesNoSocketBehindWhenItIsDropped() throws {
        let path = ServerHarness.freshPath()
        let reactor = try Reactor(name: "test")
        var server: QMPServer? = QMPServer(reactor: reactor, machine: FakeMachine(), version: testVersion)
        server?.listen(on: try QMPListener.bind(.unix(path: path)))
        reactor.turn(waiting: false)
        _ = try TestClient(path: path)
        server = nil
        #expect((try? FileStatus(at: path)) == nil)
        for _ in 0..<100 { reactor.turn(waiting: false) }
    }

    @Test func letsGoOfTheMachine() throws {
        let reactor = try Reactor(name: "test")
        var machine: FakeMachine? = FakeMachine()
        weak let observed = machine
        let server = QMPServer(reactor: reactor, machine: try #require(machine), version: testVersion)
        machine = nil
        #expect(observed != nil)
        var isDone = false
        server.close(within: 1_000_000_000) { isDone = true }
        #expect(isDone)
        #expect(observed == nil)
    }
}
