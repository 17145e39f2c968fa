import Backends
import CompletionFaults
import EventLoop
import Glibc
import Host
import Testing

/// What the kernel's vhost finds wrong is heard, or that it cannot be heard, whatever the reads of its eventfd end with.
@Suite struct VhostErrorsTests {
    @Test func everyBadEndIsSurvived() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
            CompletionFaults.expectSurvival("vhost errors", atLeast: 4, useErrors)
        }
        CompletionFaults.show(result)
    }
}

private func useErrors(_ end: CompletionFaults.End?) throws {
    let reactor = try Reactor(name: "test")
    var reports: [String] = []
    let errors = VhostErrors(try EventFD())
    let deadline = Clock.monotonic + 5_000_000_000
    /// A device is started, and one of its queues breaks.
    func breakQueue() -> [String] {
        reports = []
        errors.listen(reactor) { reports.append($0) }
        for _ in 0..<4 { reactor.turn(waiting: false) }
        var one: UInt64 = 1
        _ = unsafe write(errors.descriptor, &one, 8)
        while reports.isEmpty, Clock.monotonic < deadline { reactor.turn(waiting: false) }
        return reports
    }
    let found = "the kernel's vhost found a broken queue"
    for _ in 0..<2 {
        let reports = breakQueue()
        #expect(!reports.isEmpty, "\(end?.description ?? "")")
        if end == nil { #expect(reports == [found]) }
    }
    // The one operation that ends badly may have been of either, or of the first of these.
    #expect((0..<2).contains { _ in breakQueue().contains(found) }, "\(end?.description ?? "")")
    reactor.retire(errors)
    #expect(CompletionFaults.isAtRest(reactor), "operations are left in flight")
}
