import CompletionFaults
import EventLoop
import Glibc
import Host
import Testing

@testable import VMM

/// Whatever its reads end with, a machine can be ended. Each test has a process of its own, whose signals it takes.
@Suite struct SignalWatchTests {
    @Test func everyBadEndIsSurvived() async {
        let result = await #expect(
            processExitsWith: .success, observing: [\.standardOutputContent, \.standardErrorContent]
        ) {
            CompletionFaults.expectSurvival("signals", atLeast: 4, logging: .warn, useWatch)
        }
        CompletionFaults.show(result)
        let log = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(log.contains("cannot read signals: \(Errno.ioError)"))
        // The kernel gives up waiting after many signals that are not for this descriptor.
        #expect(!log.contains("\(Errno.again)") && !log.contains("\(Errno.interrupted)"), "\(log)")
    }

    /// A failure that stays costs next to nothing, and one line.
    @Test func aFailureThatRepeats() async throws {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let reactor = try Reactor(name: "test")
            let start = Clock.monotonic
            let watch = SignalWatch(
                try FileDescriptor.open("/dev/null", .writeOnly), reactor: reactor, onSignal: { _ in })
            // A read and a pause in turns.
            for _ in 0..<10 { reactor.turn(waiting: true) }
            #expect(Clock.monotonic - start >= 4 * SignalWatch.pause)
            reactor.retire(watch)
        }
        let log = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        let lines = log.split(separator: "\n").filter { $0.contains("machine: cannot read signals") }
        #expect(lines.count == 1, "\(log)")
    }
}

private func useWatch(_ end: CompletionFaults.End?) throws {
    let reactor = try Reactor(name: "test")
    var seen: [Int32] = []
    let watch = SignalWatch(try Signals.takeOver(), reactor: reactor) { seen.append($0) }
    let sent = [Signals.terminate, Signals.interrupt]
    let deadline = Clock.monotonic + 5_000_000_000
    for (index, number) in sent.enumerated() {
        raise(number)
        while seen.count <= index, Clock.monotonic < deadline { reactor.turn(waiting: false) }
    }
    #expect(seen == sent, "\(end?.description ?? "")")
    reactor.retire(watch)
    #expect(CompletionFaults.isAtRest(reactor), "operations are left in flight")
}
