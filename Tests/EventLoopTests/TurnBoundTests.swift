import Host
import Synchronization
import Testing

@testable import EventLoop

/// What a turn does has a bound, and what fails time and again does not make it spin.
@Suite struct TurnBoundTests {
    @Test func oneTurnRunsSomeMessages() throws {
        let reactor = try Reactor(name: "test")
        let order = Mutex<[Int]>([])
        for index in 0..<1000 { reactor.handle.send { _ in order.withLock { $0.append(index) } } }
        reactor.turn(waiting: true)
        let first = order.withLock { $0.count }
        #expect((1...100).contains(first))
        // The others come before any sleep, and before what was sent later.
        reactor.handle.send { _ in order.withLock { $0.append(1000) } }
        var turns = 1
        while order.withLock({ $0.count }) < 1001 {
            reactor.turn(waiting: true)
            turns += 1
        }
        #expect(order.withLock { $0 } == Array(0...1000))
        #expect(turns == 999 / first + 2)
    }

    @Test func messagesInABatchRunOnceEach() {
        guard let handle = try? ReactorHandle(name: "test") else { return }
        var batch = MessageBatch()
        #expect(batch.isEmpty && batch.pop() == nil)
        handle.send { _ in }
        handle.send { _ in }
        batch.refill(from: handle)
        #expect(!batch.isEmpty && batch.pop() != nil)
        handle.send { _ in }
        batch.refill(from: handle)
        #expect(batch.pop() != nil && batch.pop() == nil && batch.isEmpty)
        batch.refill(from: handle)
        #expect(batch.pop() != nil && batch.isEmpty)
    }

    /// Sets a poll of nothing again, whenever it has failed.
    private final class Stubborn: RingClient {
        let reactor: Reactor
        var failures = 0

        init(_ reactor: Reactor) {
            self.reactor = reactor
            super.init()
            reactor.submit(.poll(IOFile(descriptor: -1), PollEvents.readable), for: self)
        }

        override func operationCompleted(tag: UInt32, result: Int32) {
            failures += 1
            reactor.submit(.poll(IOFile(descriptor: -1), PollEvents.readable), for: self)
        }
    }

    @Test func aPollThatFailsAgainAndAgainSlowsTheReactorDown() throws {
        let reactor = try Reactor(name: "test")
        let stubborn = Stubborn(reactor)
        let start = Clock.monotonic
        while stubborn.failures < 30 { reactor.turn(waiting: true) }
        #expect(Clock.monotonic - start >= 15_000_000)
    }

    @Test func onlyFailuresInARowSlowAReactorDown() {
        let (failure, end, cancellation) = (
            -Errno.noMemory.rawValue, -Errno.timerExpired.rawValue, -Errno.canceled.rawValue
        )
        var waits = WaitFailures()
        for round in 1...3 * WaitFailures.limit {
            waits.note(failure)
            #expect(waits.endTurn() == (round > WaitFailures.limit ? WaitFailures.pause : 0))
        }
        #expect(waits.endTurn() == 0)
        for _ in 0..<3 * WaitFailures.limit {
            waits.note(end)
            waits.note(cancellation)
            #expect(waits.endTurn() == 0)
        }
    }

    @Test func whatFoundNoRoomWaitsOnce() {
        let one = IOBuffer(capacity: 8)
        var queue = UntrackedQueue()
        for _ in 0..<3 {
            queue.append(.signal(7, one.all), userData: UntrackedQueue.userData(ofSignal: 7))
            queue.append(.cancel(5), userData: UntrackedQueue.userDataOfCancellation)
            queue.append(.cancel(6), userData: UntrackedQueue.userDataOfCancellation)
        }
        #expect(queue.first?.operation.file == 7)
        var count = 0
        while queue.first != nil {
            queue.removeFirst()
            count += 1
        }
        #expect(count == 3 && queue.isEmpty)
    }

    @Test(arguments: [-1, 0, 7, .max]) func aSignalIsKnownByItsUserData(descriptor: Int32) {
        let userData = UntrackedQueue.userData(ofSignal: descriptor)
        #expect(UntrackedQueue.descriptor(ofSignal: userData) == (descriptor == -1 ? nil : descriptor))
        #expect(UntrackedQueue.descriptor(ofSignal: userData | 1) == nil)
        #expect(UntrackedQueue.descriptor(ofSignal: UntrackedQueue.userDataOfCancellation) == nil)
    }

    @Test func aSignalThatFailsIsToldOnce() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let reactor = try Reactor(name: "disks")
            // None of a process's descriptors.
            for _ in 0..<3 {
                reactor.signal(1_000_000)
                reactor.turn(waiting: false)
            }
        }
        let text = result.map { String(decoding: $0.standardErrorContent, as: UTF8.self) } ?? ""
        let lines = text.split(separator: "\n").filter { $0.contains("eventfd") }
        #expect(lines.count == 1, "\(text)")
        #expect(
            lines.first?.hasSuffix(
                "ERROR disks: cannot write eventfd 1000000: Bad file descriptor; an interrupt or a notification is lost"
            ) == true)
    }
}
