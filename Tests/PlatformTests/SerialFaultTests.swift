import CompletionFaults
import EventLoop
import Host
import Testing

/// What the guest writes leaves in its order, whatever the timer of a serial port ends with.
@Suite struct SerialFaultTests {
    @Test func flushTimer() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("serial port", atLeast: 3, usePort)
        }
        CompletionFaults.show(result)
    }
}

private func usePort(_ end: CompletionFaults.End?) throws {
    let rig = try SerialRig()
    let deadline = Clock.monotonic + 5_000_000_000
    var written = ""
    for text in ["one ", "two "] {
        rig.write(text)
        written += text
        while rig.line.sent.count < written.utf8.count, Clock.monotonic < deadline { _ = rig.turn() }
    }
    #expect(String(decoding: rig.line.sent, as: UTF8.self) == written, "\(end?.description ?? "")")
    rig.reactor.retire(rig.port)
    #expect(CompletionFaults.isAtRest(rig.reactor), "operations are left in flight")
}
