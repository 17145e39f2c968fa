import CompletionFaults
import EventLoop
import Host
import Testing

/// An alarm goes off at its time, and never before, whatever its timer ends with.
@Suite struct AlarmTests {
    @Test func everyBadEndIsSurvived() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("alarm", atLeast: 2, useAlarm)
        }
        CompletionFaults.show(result)
    }

    @Test func oneThatRetiresIsSilent() throws {
        let reactor = try Reactor(name: "test")
        let deadline = Clock.monotonic + 20_000_000
        var calls: [String] = []
        let alarm = Alarm(reactor, at: deadline) { calls.append("retired") }
        Alarm(reactor, at: deadline) { calls.append("other") }
        reactor.turn(waiting: false)
        reactor.retire(alarm)
        while calls.isEmpty { reactor.turn(waiting: true) }
        #expect(calls == ["other"])
    }
}

private func useAlarm(_ end: CompletionFaults.End?) throws {
    let reactor = try Reactor(name: "test")
    let deadline = Clock.monotonic + 10_000_000
    var calls = 0
    Alarm(reactor, at: deadline) {
        calls += 1
        #expect(Clock.monotonic >= deadline, "\(end?.description ?? "")")
    }
    while calls == 0, Clock.monotonic < deadline + 5_000_000_000 { reactor.turn(waiting: false) }
    #expect(calls == 1, "\(end?.description ?? "")")
    #expect(CompletionFaults.isAtRest(reactor), "operations are left in flight")
}
