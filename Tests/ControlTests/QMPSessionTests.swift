import JSONText
import TestSupport
import Testing

@testable import Control

private let time = QMPEvent.Timestamp(seconds: 12, microseconds: 34)

@Suite struct QMPSessionTests {
    let machine = FakeMachine()

    /// A session whose greeting has been read.
    private func session(limits: QMPSession.Limits = QMPSession.Limits()) -> QMPSession {
        let session = QMPSession.forTest(machine, limits: limits)
        _ = session.takeOutput()
        return session
    }

    @Test func greets() {
        #expect(
            QMPSession.forTest(machine).takeText()
                == #"{"QMP":{"version":{"qemu":{"micro":1,"minor":0,"major":5},"package":"apus-0.1.0"},"#
                + #""capabilities":["oob"]}}"# + "\r\n")
    }

    @Test(arguments: [
        #""text""#, "17", "-1", "18446744073709551615", "1.5", "null", "true", #"{"a":[1,{}]}"#, "[]", #""\u0000""#,
    ])
    func echoesAnyID(id: String) {
        let session = session()
        let answer = session.exchange(#"{"execute":"qmp_capabilities","id":\#(id)}"#)
        #expect(answer == #"{"return":{},"id":\#(id)}"# + "\r\n")
        #expect(session.exchange(#"{"id":\#(id),"execute":"nope"}"#).hasSuffix(#"},"id":\#(id)}"# + "\r\n"))
        #expect(session.exchange(#"{"id":\#(id)}"#).hasSuffix(#"},"id":\#(id)}"# + "\r\n"))
    }

    @Test(arguments: [
        (#"{"execute":"nope"}"#, "Unknown command 'nope'; 'query-commands' lists those there are"),
        (#"{}"#, "The member 'execute' is missing"),
        (#"{"execute":1}"#, "The member 'execute' must be a string, not a number"),
        (#"[]"#, "A command must be an object with the member 'execute', not an array"),
        ("\"stop\"", "A command must be an object with the member 'execute', not a string"),
        (
            #"{"execute":"stop","control":{}}"#,
            "Unknown member 'control'; a command has 'execute', 'arguments' and 'id'"
        ),
        (
            #"{"exec-oob":"query-yank"}"#,
            "Out-of-band execution has not been agreed on; enable 'oob' by qmp_capabilities"
        ),
        (#"{"execute":"stop","arguments":[]}"#, "The member 'arguments' must be an object, not an array"),
        (#"{"execute":"stop","arguments":null}"#, "The member 'arguments' must be an object, not null"),
        (#"{"execute":"stop","arguments":{"x":1}}"#, "stop: unknown argument 'x'"),
        (
            #"{"execute":"qmp_capabilities","arguments":{"enable":true}}"#,
            "qmp_capabilities: argument 'enable' must be an array, not a boolean"
        ),
        (
            #"{"execute":"qmp_capabilities","arguments":{"enable":["oob","x"]}}"#,
            "qmp_capabilities: capability 'x' is not offered"
        ),
        (#"{"execute":"stop",}"#, "invalid JSON at byte 19: expected a member's name"),
    ])
    func refuses(command: String, because text: String) {
        let session = session()
        #expect(session.exchange(command + "\n") == #"{"error":{"class":"GenericError","desc":"\#(text)"}}"# + "\r\n")
        #expect(machine.calls.isEmpty)
        #expect(session.exchange(#"{"execute":"query-status"}"#).hasPrefix(#"{"return":"#))
    }

    @Test(arguments: ["", #","arguments":{}"#, #","arguments":{"enable":[]}"#])
    func negotiatesLiberally(rest: String) {
        #expect(session().exchange(#"{"execute":"qmp_capabilities"\#(rest)}"#) == "{\"return\":{}}\r\n")
    }

    @Test func acceptsCommandsBeforeNegotiation() {
        #expect(session().exchange(#"{"execute":"stop"}"#) == "{\"return\":{}}\r\n")
        #expect(machine.calls == ["stop"])
    }

    @Test func answersCommandsJoinedAndSplit() {
        let text = #"{"execute":"query-kvm","id":1}{"execute":"query-kvm","id":2}"# + "\n" + #"{"execute":"stop"}"#
        let whole = session().exchange(text)
        #expect(whole.split(separator: "\r\n").count == 3)
        for cut in 0...text.utf8.count {
            let session = session()
            let first = session.exchange(String(decoding: Array(text.utf8)[..<cut], as: UTF8.self))
            let second = session.exchange(String(decoding: Array(text.utf8)[cut...], as: UTF8.self))
            #expect(first + second == whole)
        }
    }

    @Test func keepsOrderWhileACommandIsUnfinished() {
        machine.defers = true
        let session = session()
        let text = #"{"execute":"stop","id":1}{"execute":"query-status","id":2}{"execute":"cont","id":3}"#
        #expect(session.exchange(text) == "")
        #expect(session.isBusy)
        #expect(machine.calls == ["stop"])
        machine.replies.removeFirst().succeed()
        #expect(session.takeText() == "{\"return\":{},\"id\":1}\r\n")
        #expect(session.exchange("").hasSuffix("\"id\":2}\r\n"))
        #expect(machine.calls == ["stop", "cont"])
        machine.replies.removeFirst().fail(QMPError("cont: the disk is gone"))
        #expect(
            session.takeText()
                == #"{"error":{"class":"GenericError","desc":"cont: the disk is gone"},"id":3}"# + "\r\n")
        #expect(!session.isBusy)
    }

    @Test func completesOnlyOnce() {
        machine.defers = true
        let session = session()
        _ = session.exchange(#"{"execute":"stop"}"#)
        let reply = machine.replies.removeFirst()
        reply.succeed()
        reply.fail(QMPError("late"))
        #expect(session.takeText() == "{\"return\":{}}\r\n")
        _ = session.exchange(#"{"execute":"cont"}"#)
        reply.succeed()
        #expect(session.isBusy)
    }

    @Test func answersForWhoeverForgets() {
        machine.defers = true
        let session = session()
        _ = session.exchange(#"{"execute":"stop"}"#)
        machine.replies = []
        #expect(session.takeText().hasPrefix(#"{"error":"#))
        #expect(!session.isBusy)
    }

    @Test func outlivesItsClient() {
        machine.defers = true
        var session: QMPSession? = session()
        weak let observed = session
        _ = session?.exchange(#"{"execute":"stop"}"#)
        session = nil
        #expect(observed == nil)
        machine.replies.removeFirst().succeed()
    }

    @Test func boundsItsInput() {
        machine.defers = true
        var limits = QMPSession.Limits()
        limits.input = 100
        let session = session(limits: limits)
        _ = session.exchange(#"{"execute":"stop"}"#)
        #expect(session.inputRoom == 100)
        session.receive(String(repeating: " ", count: 150))
        #expect(session.inputRoom == 0)
        machine.replies.removeFirst().succeed()
        while session.process(atMost: 1) {}
        #expect(session.inputRoom == 100)
    }

    @Test func waitsForAClientThatDoesNotRead() {
        var limits = QMPSession.Limits()
        limits.output = 200
        let session = session(limits: limits)
        for _ in 0..<100 { session.receive(#"{"execute":"query-status"}"#) }
        while session.process(atMost: 16) {}
        var answers = 0
        while session.hasOutput {
            let text = session.takeText()
            #expect(text.utf8.count < 300)
            answers += text.split(separator: "\r\n").count
            while session.process(atMost: 16) {}
        }
        #expect(answers == 100)
    }

    @Test func takesTurns() {
        let session = session()
        for _ in 0..<10 { session.receive(#"{"execute":"query-status"}"#) }
        #expect(session.process(atMost: 4))
        #expect(session.takeText().split(separator: "\r\n").count == 4)
        #expect(session.process(atMost: 4))
        #expect(!session.process(atMost: 4))
    }

    // MARK: Out-of-band execution

    /// A session with out-of-band execution, and a `stop` that the machine has not finished.
    private func stopping(limits: QMPSession.Limits = QMPSession.Limits()) -> QMPSession {
        let session = session(limits: limits)
        _ = session.exchange(#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#)
        machine.defers = true
        #expect(session.exchange(#"{"execute":"stop","id":"stop"}"#) == "")
        return session
    }

    private static let yank = #"{"exec-oob":"query-yank","id":"yank"}"#

    @Test func overtakesWhatIsUnfinished() {
        let session = stopping()
        #expect(session.exchange(#"{"execute":"query-kvm","id":1}[]"# + Self.yank).hasSuffix(#""id":"yank"}"# + "\r\n"))
        #expect(session.exchange(#"{"execute":"query-kvm","id":2}"#) == "")
        machine.replies.removeFirst().succeed()
        let lines = session.exchange("").split(separator: "\r\n")
        #expect(lines.count == 4)
        #expect(lines.first == #"{"return":{},"id":"stop"}"#)
        #expect(lines[1].hasSuffix(#""id":1}"#))
        #expect(lines[2].hasPrefix(#"{"error":"#))
        #expect(lines[3].hasSuffix(#""id":2}"#))
    }

    @Test func readsNoFurtherThanItMay() {
        let session = stopping()
        let commands = (0..<8).map { #"{"execute":"query-kvm","id":\#($0)}"# }.joined()
        #expect(session.exchange(commands + Self.yank) == "")
        machine.replies.removeFirst().succeed()
        let lines = session.exchange("").split(separator: "\r\n")
        #expect(
            lines.map { $0.split(separator: #""id":"#).last } == ["\"stop\"}"] + (0..<8).map { "\($0)}" } + [
                "\"yank\"}"
            ])
    }

    @Test(arguments: [
        (#"{"exec-oob":"query-kvm"}"#, "The command 'query-kvm' cannot be executed out of band"),
        (#"{"exec-oob":"query-yank","execute":"stop"}"#, "The members 'execute' and 'exec-oob' exclude each other"),
        (#"{"exec-oob":1}"#, "The member 'exec-oob' must be a string, not a number"),
        (#"{"exec-oob":"query-yank","arguments":{"x":1}}"#, "query-yank: unknown argument 'x'"),
    ])
    func refusesOutOfBand(command: String, because text: String) {
        #expect(stopping().exchange(command) == #"{"error":{"class":"GenericError","desc":"\#(text)"}}"# + "\r\n")
    }

    @Test func doesNotReadAheadWithoutOutOfBandExecution() {
        machine.defers = true
        let session = session()
        #expect(session.exchange(#"{"execute":"stop"}{"exec-oob":"query-yank"}"#) == "")
        machine.replies.removeFirst().succeed()
        #expect(session.exchange("").contains("has not been agreed on"))
    }

    @Test func switchesOutOfBandExecutionOff() {
        let session = session()
        _ = session.exchange(#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#)
        #expect(session.exchange(Self.yank).hasPrefix(#"{"return":"#))
        _ = session.exchange(#"{"execute":"qmp_capabilities"}"#)
        #expect(session.exchange(Self.yank).hasPrefix(#"{"error":"#))
    }

    // MARK: Events

    @Test(arguments: [
        (QMPEvent.stop, #"{"event":"STOP","data":{}"#),
        (.resume, #"{"event":"RESUME","data":{}"#),
        (.powerdown, #"{"event":"POWERDOWN","data":{}"#),
        (.guestPanicked, #"{"event":"GUEST_PANICKED","data":{"action":"run"}"#),
        (.guestCrashLoaded, #"{"event":"GUEST_CRASHLOADED","data":{"action":"run"}"#),
        (.reset(guest: true), #"{"event":"RESET","data":{"guest":true}"#),
        (
            .shutdown(guest: false, reason: "host-qmp-quit"),
            #"{"event":"SHUTDOWN","data":{"guest":false,"reason":"host-qmp-quit"}"#
        ),
    ])
    func writesEvents(event: QMPEvent, text: String) {
        let session = session()
        _ = session.exchange(#"{"execute":"qmp_capabilities"}"#)
        session.post(event, at: time)
        #expect(session.takeText() == text + #","timestamp":{"seconds":12,"microseconds":34}}"# + "\r\n")
    }

    @Test func holdsEventsUntilTheFirstAnswer() {
        let session = session()
        session.post(.stop, at: time)
        #expect(!session.hasOutput)
        let lines = session.exchange(#"{"execute":"qmp_capabilities"}"#).split(separator: "\r\n")
        #expect(lines.count == 2)
        #expect(lines.first == #"{"return":{}}"#)
        #expect(lines.last?.contains("STOP") == true)
    }

    /// As StratoVirt orders them; some of its clients drop what comes behind an answer.
    @Test func sendsWhatACommandCausesBeforeItsAnswer() {
        machine.defers = true
        let session = session()
        _ = session.exchange(#"{"execute":"qmp_capabilities"}"#)
        #expect(session.exchange(#"{"execute":"stop"}"#) == "")
        session.post(.stop, at: time)
        machine.replies.removeFirst().succeed()
        session.post(.resume, at: time)
        #expect(kinds(session.takeText()) == ["STOP", "return", "RESUME"])
        // Other sessions have no answer to wait for.
        session.post(.stop, at: time)
        #expect(kinds(session.takeText()) == ["STOP"])
    }

    @Test func sendsWhatTheFirstCommandCausesBeforeItsAnswer() {
        machine.defers = true
        let session = session()
        session.post(.guestPanicked, at: time)
        #expect(session.exchange(#"{"execute":"stop"}"#).contains("GUEST_PANICKED"))
        session.post(.stop, at: time)
        machine.replies.removeFirst().succeed()
        #expect(kinds(session.takeText()) == ["STOP", "return"])
    }

    /// The `event` of each line, or how it answers.
    private func kinds(_ text: String) -> [String] {
        text.split(separator: "\r\n").map { line in
            guard let value = try? JSONValue(parsing: String(line)) else { return "?" }
            if case .string(let name) = value["event"] { return name }
            return value["error"] == nil ? "return" : "error"
        }
    }

    @Test func dropsTheOldestEvents() {
        let session = session()
        _ = session.exchange(#"{"execute":"qmp_capabilities"}"#)
        session.post(.powerdown, at: time)
        for index in 0..<50 { session.post(.stop, at: .init(seconds: UInt64(index), microseconds: 0)) }
        let lines = session.takeText().split(separator: "\r\n")
        #expect(lines.count == 50)
        #expect(lines.allSatisfy { $0.contains("STOP") })
        #expect(lines.last?.contains(#""seconds":49"#) == true)
    }

    @Test func asksForServiceFromOutsideOnly() {
        final class Delegate: QMPSessionDelegate {
            var calls = 0
            func sessionNeedsService(_ session: QMPSession) { calls += 1 }
        }
        let delegate = Delegate()
        let session = session()
        session.delegate = delegate
        _ = session.exchange(#"{"execute":"stop"}"#)
        #expect(delegate.calls == 0)
        session.post(.stop, at: time)
        #expect(delegate.calls == 1)
        machine.defers = true
        _ = session.exchange(#"{"execute":"stop"}"#)
        machine.replies.removeFirst().succeed()
        #expect(delegate.calls == 2)
    }
}
