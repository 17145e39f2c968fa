import CompletionFaults
import Host
import Synchronization
import Testing

@testable import EventLoop

/// Remembers what completed.
private final class Recorder: RingClient {
    var results: [Int32] = []

    override func operationCompleted(tag: UInt32, result: Int32) { results.append(result) }
}

/// `io_uring_enter` fails: a reactor tries again where that helps, and is lost once where it does not.
@Suite struct EnterFaultTests {
    static let transient: [Errno] = [.interrupted, .again, .busy, .noMemory]
    /// Bad descriptor, ring without state, lost completions, ring that goes, bad address, bad argument, other thread.
    static let lasting = [9, 77, 53, 6, 14, 22, 17].map { Errno(rawValue: $0) }

    /// Writes and reads through the ring, as many turns as that takes.
    private func transfer(_ reactor: Reactor) -> Bool {
        guard let file = try? FileDescriptor.memory(name: "test") else { return false }
        let (source, destination) = (IOBuffer(capacity: 64), IOBuffer(capacity: 64))
        source.all.fill(7)
        let recorder = Recorder()
        let target = IOFile(descriptor: file.rawValue)
        for (index, operation) in [
            Operation.write(target, source.all, at: 0), .read(target, destination.all, at: 0),
        ].enumerated() {
            reactor.submit(operation, for: recorder)
            while recorder.results.count <= index, reactor.failure == nil { reactor.turn(waiting: true) }
        }
        return recorder.results == [64, 64] && destination.all.bytes == source.all.bytes
    }

    @Test(arguments: transient, [1, 3, 10])
    func aFailureThatPassesIsSurvived(error: Errno, count: Int) throws {
        for first in 0..<4 {
            let reactor = try Reactor(name: "test")
            var failures = 0
            reactor.onLoss { _ in failures += 1 }
            EnterFaults.inject(error, at: first, count: count) { counted in
                for _ in 0..<4 { #expect(transfer(reactor)) }
                #expect(counted().failed == count)
            }
            #expect(reactor.failure == nil && failures == 0)
        }
    }

    @Test(arguments: lasting) func aFailureThatLastsIsToldOnce(error: Errno) throws {
        for first in 0..<4 {
            let reactor = try Reactor(name: "disks")
            var failures: [RingFailure] = []
            reactor.onLoss { failures.append($0) }
            EnterFaults.inject(error, at: first) { counted in
                for _ in 0..<4 { _ = transfer(reactor) }
                for _ in 0..<10 { reactor.turn(waiting: true) }
                // It does not ask the kernel again, which would answer this time.
                #expect(counted().calls == first + 1 && counted().failed == 1)
            }
            #expect(failures == [RingFailure(reactor: "disks", cause: error)])
            #expect(reactor.failure?.description == "disks: io_uring_enter: \(error)")
        }
    }

    @Test func theLastTryCounts() throws {
        let reactor = try Reactor(name: "test")
        EnterFaults.inject(.noMemory, at: 1, count: EnterRetries.limit - 1) { _ in #expect(transfer(reactor)) }
    }

    @Test func aFailureThatDoesNotPassIsOneThatLasts() throws {
        let reactor = try Reactor(name: "test")
        EnterFaults.inject(.again, at: 0, count: nil) { counted in
            #expect(!transfer(reactor))
            #expect(counted().calls == EnterRetries.limit)
        }
        #expect(reactor.failure?.cause == .again)
    }

    @Test func pausesBetweenTriesGrowAndEnd() {
        var retries = EnterRetries()
        for _ in 0..<2 {
            var pauses: [UInt64] = []
            while let pause = retries.next() { pauses.append(pause) }
            #expect(pauses.count == EnterRetries.limit - 1)
            #expect(pauses == pauses.sorted() && pauses.first == 0 && pauses.last == 64_000_000)
            #expect((500_000_000...1_000_000_000).contains(pauses.reduce(0, +)))
            #expect(retries.next() == nil)
            retries.reset()
        }
    }

    @Test func whatFoundNoRoomComesLater() throws {
        let reactor = try Reactor(name: "test", entries: 8)
        let (timers, writer) = (Recorder(), Recorder())
        let event = try EventFD()
        let file = try FileDescriptor.memory(name: "test")
        let buffer = IOBuffer(capacity: 16)
        EnterFaults.inject(.again, at: 0, count: 5) { counted in
            // The ring is full, with its own read, and stays so: one timer waits outside.
            for _ in 0..<8 { reactor.submit(.timeout(at: Clock.monotonic + 3_600_000_000_000), for: timers) }
            reactor.cancel(tag: 0, of: timers)
            reactor.signal(event.rawValue)
            reactor.signal(event.rawValue)
            reactor.submit(.write(IOFile(descriptor: file.rawValue), buffer.all, at: 0), for: writer)
            #expect(timers.operationsInFlight == 7 && counted().failed > 2)
            while timers.results.count < 8 || writer.results.isEmpty { reactor.turn(waiting: true) }
        }
        #expect(timers.results.allSatisfy { $0 == -Errno.canceled.rawValue })
        #expect(writer.results == [16])
        // One write of an eventfd says as much as two.
        #expect(event.take() == 1)
    }

    @Test func whoHearsLateOfAFailureHearsOfIt() throws {
        let reactor = try Reactor(name: "test")
        EnterFaults.inject(.badDescriptor, at: 0) { _ in #expect(!transfer(reactor)) }
        var failures = 0
        reactor.onLoss { _ in failures += 1 }
        for _ in 0..<3 { reactor.turn(waiting: false) }
        #expect(failures == 1)
    }

    @Test func aLostReactorStillServesOtherThreads() throws {
        let reactor = try Reactor(name: "test")
        EnterFaults.inject(.badDescriptor, at: 0) { _ in #expect(!transfer(reactor)) }
        let handle = reactor.handle
        let order = Mutex<[Int]>([])
        let sender = try HostThread(name: "sender") {
            for index in 0..<300 { handle.send { _ in order.withLock { $0.append(index) } } }
            handle.send { $0.stop() }
        }
        reactor.run()
        sender.join()
        #expect(order.withLock { $0 } == Array(0..<300))
    }

    @Test func aLostReactorTakesOperationsAndDoesNothing() throws {
        let reactor = try Reactor(name: "test", entries: 8)
        EnterFaults.inject(.badDescriptor, at: 0) { _ in #expect(!transfer(reactor)) }
        let recorder = Recorder()
        let event = try EventFD()
        for _ in 0..<100 {
            reactor.submit(.timeout(at: Clock.monotonic), for: recorder)
            reactor.signal(event.rawValue)
        }
        reactor.cancel(tag: 0, of: recorder)
        reactor.turn(waiting: true)
        #expect(event.take() == nil)
    }
}
