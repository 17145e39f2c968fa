import EventLoop
import Host
import TestSupport
import Testing

@testable import Control

@Suite struct BalloonCommandTests {
    private let machine = FakeMachine()

    private func answer(_ command: String) -> String {
        let session = QMPSession.forTest(machine)
        _ = session.takeOutput()
        return session.exchange(command)
    }

    private func balloon(_ arguments: String) -> String {
        answer(#"{"execute":"balloon","arguments":\#(arguments)}"#)
    }

    @Test(arguments: [
        (#"{"value":268435456}"#, "balloon 268435456"), (#"{"value":1}"#, "balloon 1"),
        (#"{"value":18446744073709551615}"#, "balloon 18446744073709551615"),
        (#"{"value":4096,"more":"is tolerated"}"#, "balloon 4096"),
    ])
    func passesTheValueOn(arguments: String, call: String) {
        #expect(balloon(arguments) == "{\"return\":{}}\r\n")
        #expect(machine.calls == [call])
    }

    @Test(arguments: [
        (#"{"value":0}"#, "must be an integer from 1 to 18446744073709551615"),
        (#"{"value":-1}"#, "must be an integer from 1 to 18446744073709551615"),
        (#"{"value":1.5}"#, "must be an integer from 1 to 18446744073709551615, not a number"),
        (#"{"value":"1G"}"#, "must be an integer from 1 to 18446744073709551615, not a string"),
        ("{}", "is missing"),
    ])
    func refusesOtherValues(arguments: String, problem: String) {
        let error = #"{"error":{"class":"GenericError","desc":"balloon: argument 'value' \#(problem)"}}"#
        #expect(balloon(arguments) == error + "\r\n")
        #expect(machine.calls.isEmpty)
    }

    @Test func saysWhenThereIsNone() {
        machine.refusal = QMPError("nothing to move", class: .deviceNotActive)
        machine.balloon = nil
        #expect(
            balloon(#"{"value":1}"#) == #"{"error":{"class":"DeviceNotActive","desc":"nothing to move"}}"# + "\r\n")
        #expect(
            answer(#"{"execute":"query-balloon"}"#)
                == #"{"error":{"class":"DeviceNotActive","desc":"no balloon"}}"# + "\r\n")
    }

    @Test func tellsStatistics() {
        machine.balloon?.statistics = .init(values: [("free-memory", 7), ("major-faults", .max)], time: 1_700_000_000)
        #expect(
            answer(#"{"execute":"query-balloon","arguments":{"any":1}}"#).hasPrefix(#"{"error":"#)
                == false)
        #expect(
            answer(#"{"execute":"query-balloon"}"#)
                == #"{"return":{"actual":268435456,"stats":{"stat-free-memory":7,"#
                + #""stat-major-faults":18446744073709551615},"last-update":1700000000}}"# + "\r\n")
    }

    /// As QEMU does: the first at once, of those within a second of it only the last.
    @Test func spacesTheEvents() throws {
        let harness = try ServerHarness()
        let client = try harness.connect()
        try client.send(#"{"execute":"qmp_capabilities"}"#)
        harness.run { client.lines.count == 1 }
        let started = Clock.monotonic
        for actual in 1...100 as ClosedRange<UInt64> { harness.server.post(.balloonChanged(actual: actual)) }
        // Others are not held up.
        harness.server.post(.stop)
        harness.run { client.lines.count == 3 }
        #expect(client.lines[1].hasPrefix(#"{"event":"BALLOON_CHANGED","data":{"actual":1}"#))
        #expect(client.lines[2].hasPrefix(#"{"event":"STOP""#))
        harness.run { client.lines.count == 4 }
        #expect(client.lines[3].hasPrefix(#"{"event":"BALLOON_CHANGED","data":{"actual":100}"#))
        #expect(Clock.monotonic - started >= 1_000_000_000)
    }
}
