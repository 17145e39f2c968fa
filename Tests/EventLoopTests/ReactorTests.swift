import EventLoop
import Host
import Synchronization
import Testing

/// Remembers what completed, and may do more on each completion.
private final class Recorder: RingClient {
    var completions: [(tag: UInt32, result: Int32)] = []
    var notices: [(tag: UInt32, result: Int32)] = []
    var turnsEnded = 0
    var retirements = 0
    var hasRetired: Bool { retirements > 0 }
    var onComplete: (() -> Void)?

    override func operationCompleted(tag: UInt32, result: Int32) {
        completions.append((tag, result))
        onComplete?()
    }

    override func multishotEvent(tag: UInt32, result: Int32) { notices.append((tag, result)) }

    override func endOfTurn() { turnsEnded += 1 }

    override func retired() { retirements += 1 }
}

@Suite struct ReactorTests {
    @Test func readsWhatWasWritten() throws {
        let reactor = try Reactor(name: "test")
        let file = try FileDescriptor.memory(name: "test")
        let source = IOBuffer(capacity: 4096)
        source.all.fill(0x5a)
        let destination = IOBuffer(capacity: 4096)
        let recorder = Recorder()
        for target in [IOFile(descriptor: file.rawValue), reactor.register(file.rawValue)] {
            recorder.completions = []
            reactor.submit(.write(target, source.all, at: 512), for: recorder, tag: 1)
            while recorder.completions.count < 1 { reactor.turn(waiting: true) }
            reactor.submit(.read(target, destination.all, at: 512), for: recorder, tag: 2)
            while recorder.completions.count < 2 { reactor.turn(waiting: true) }
            #expect(recorder.completions.map(\.tag) == [1, 2])
            #expect(recorder.completions.map(\.result) == [4096, 4096])
            #expect(destination.all.bytes == source.all.bytes)
            destination.all.fill(0)
        }
    }

    @Test func moreOperationsThanTheRingHoldsAllComplete() throws {
        let reactor = try Reactor(name: "test", entries: 8)
        let file = try FileDescriptor.open("/dev/null", .readWrite)
        let buffer = IOBuffer(capacity: 16)
        let recorder = Recorder()
        for tag in 0..<20_000 as Range<UInt32> {
            reactor.submit(.write(IOFile(descriptor: file.rawValue), buffer.all, at: 0), for: recorder, tag: tag)
        }
        while recorder.completions.count < 20_000 { reactor.turn(waiting: true) }
        #expect(recorder.completions.allSatisfy { $0.result == 16 })
        #expect(Set(recorder.completions.map(\.tag)).count == 20_000)
        #expect(recorder.operationsInFlight == 0)
    }

    @Test func aWatchTellsOfEachChangeUntilItIsCancelled() throws {
        let reactor = try Reactor(name: "test")
        let pair = try Socket.pair()
        let recorder = Recorder()
        let buffer = IOBuffer(capacity: 16)
        let socket = IOFile(descriptor: pair.first.rawValue)
        reactor.submit(.watch(socket, PollEvents.readable), for: recorder, tag: 7)
        for count in 1...3 {
            try pair.second.write([1])
            while recorder.notices.count < count { reactor.turn(waiting: true) }
            #expect(recorder.notices.last?.tag == 7)
            #expect((recorder.notices.last?.result ?? 0) & Int32(PollEvents.readable) != 0)
            reactor.submit(.receiveNow(socket, buffer.all), for: recorder, tag: 8)
            while recorder.completions.count < count { reactor.turn(waiting: true) }
        }
        #expect(recorder.completions.map(\.tag) == [8, 8, 8] && recorder.operationsInFlight == 1)
        reactor.cancel(tag: 7, of: recorder)
        while recorder.operationsInFlight > 0 { reactor.turn(waiting: true) }
        #expect(recorder.completions.last?.tag == 7)
        #expect(recorder.completions.last?.result == -Errno.canceled.rawValue)
        try pair.second.write([1])
        reactor.turn(waiting: false)
        #expect(recorder.notices.count == 3)
    }

    @Test func messagesGoAndComeInPiecesAndNeverWait() throws {
        let reactor = try Reactor(name: "test")
        let pair = try Socket.pair()
        let recorder = Recorder()
        func result(_ operation: consuming Operation) -> Int32? {
            recorder.completions = []
            reactor.submit(operation, for: recorder)
            while recorder.completions.isEmpty { reactor.turn(waiting: true) }
            return recorder.completions.last?.result
        }
        let (sent, received) = (IOBuffer(capacity: 100), IOBuffer(capacity: 100))
        for index in 0..<100 { sent.all.store(UInt8(index), at: index) }
        let vectors = MessageVectors(count: 2, segments: 4)
        for (segment, range) in [0..<1, 1..<40, 40..<100].enumerated() {
            vectors.set(segment, of: 0, sent.all.dropFirst(range.lowerBound).prefix(range.count))
        }
        for (segment, range) in [0..<50, 50..<100].enumerated() {
            vectors.set(segment, of: 1, received.all.dropFirst(range.lowerBound).prefix(range.count))
        }
        #expect(!vectors.set(4, of: 0, sent.all) && !vectors.set(0, of: 2, sent.all))
        let (near, far) = (IOFile(descriptor: pair.first.rawValue), IOFile(descriptor: pair.second.rawValue))
        let nothing = -Errno.again.rawValue
        #expect(result(.receiveNow(far, vectors, 1, count: 2)) == nothing)
        #expect(result(.receiveNow(far, received.all)) == nothing)
        #expect(result(.sendNow(near, vectors, 0, count: 3)) == 100)
        #expect(result(.receiveNow(far, received.all.prefix(10), peeking: true)) == 10)
        #expect(result(.receiveNow(far, vectors, 1, count: 2)) == 100)
        #expect(received.all.bytes == sent.all.bytes)
        // A full socket takes what fits, and then nothing.
        let much = IOBuffer(capacity: 4 << 20)
        #expect((1..<4 << 20).contains(result(.sendNow(near, much.all)) ?? 0))
        while let count = result(.sendNow(near, much.all)), count > 0 {}
        #expect(result(.sendNow(near, vectors, 0, count: 3)) == nothing)
    }

    @Test func timeoutsFireInOrderAndCanBeCancelled() throws {
        let reactor = try Reactor(name: "test")
        let recorder = Recorder()
        let now = Clock.monotonic
        reactor.submit(.timeout(at: now + 20_000_000), for: recorder, tag: 2)
        reactor.submit(.timeout(at: now + 5_000_000), for: recorder, tag: 1)
        reactor.submit(.timeout(at: now + 3_600_000_000_000), for: recorder, tag: 3)
        while recorder.completions.count < 2 { reactor.turn(waiting: true) }
        #expect(recorder.completions.map(\.tag) == [1, 2])
        #expect(Clock.monotonic >= now + 20_000_000)
        reactor.cancel(tag: 3, of: recorder)
        while recorder.completions.count < 3 { reactor.turn(waiting: true) }
        #expect(recorder.completions.last?.result == -Errno.canceled.rawValue)
    }

    @Test func retiringCancelsWhatIsInFlightAndTakesNothingNew() throws {
        let reactor = try Reactor(name: "test")
        let event = try EventFD()
        let buffer = IOBuffer(capacity: 8)
        let recorder = Recorder()
        let read = { Operation.read(IOFile(descriptor: event.rawValue), buffer.all, at: Operation.currentPosition) }
        reactor.submit(read(), for: recorder)
        reactor.submit(read(), for: recorder)
        reactor.turn(waiting: false)
        var isDone = false
        reactor.retire(recorder) { isDone = recorder.hasRetired }
        #expect(!recorder.hasRetired && !isDone)
        #expect(!reactor.submit(read(), for: recorder))
        while !isDone { reactor.turn(waiting: true) }
        #expect(recorder.completions.map(\.result) == [-Errno.canceled.rawValue, -Errno.canceled.rawValue])
    }

    @Test func retiringInTheLastCompletionIsToldOnce() throws {
        let reactor = try Reactor(name: "test")
        let recorder = Recorder()
        recorder.onComplete = { reactor.retire(recorder) }
        reactor.submit(.timeout(at: Clock.monotonic + 1000), for: recorder)
        while recorder.completions.isEmpty { reactor.turn(waiting: true) }
        #expect(recorder.retirements == 1)
    }

    @Test func aTargetInFlightOutlivesItsLastReference() throws {
        let reactor = try Reactor(name: "test")
        weak var seen: Recorder?
        do {
            let recorder = Recorder()
            seen = recorder
            reactor.submit(.timeout(at: Clock.monotonic + 1_000_000), for: recorder)
        }
        #expect(seen != nil)
        while seen?.completions.isEmpty == true { reactor.turn(waiting: true) }
        #expect(seen == nil)
    }

    @Test func messagesRunOnTheReactorInOrder() throws {
        let reactor = try Reactor(name: "test")
        let handle = reactor.handle
        let order = Mutex<[Int]>([])
        let sender = try HostThread(name: "sender") {
            for index in 0..<1000 { handle.send { _ in order.withLock { $0.append(index) } } }
            handle.send { $0.stop() }
        }
        reactor.run()
        sender.join()
        #expect(order.withLock { $0 } == Array(0..<1000))
    }

    @Test func scheduledTargetsEndTheTurnOnce() throws {
        let reactor = try Reactor(name: "test")
        let recorder = Recorder()
        reactor.schedule(recorder)
        reactor.schedule(recorder)
        reactor.turn(waiting: false)
        reactor.turn(waiting: false)
        #expect(recorder.turnsEnded == 1)
    }

    @Test func signalsReachEventFDs() throws {
        let reactor = try Reactor(name: "test")
        let event = try EventFD()
        reactor.signal(event.rawValue)
        reactor.signal(event.rawValue)
        reactor.turn(waiting: false)
        #expect(event.take() == 2)
    }
}

/// Adds up what is posted, and answers each caller with the sum.
private final class Adder: CallServer {
    var sum: UInt64 = 0
    var calls = 0
    let callers: [Caller]

    /// A caller's end: it waits until `isAnswered` is 1.
    final class Caller: Sendable {
        let number: Int
        let isAnswered = Futex(0)
        let answer = Atomic<UInt64>(0)

        init(_ number: Int) {
            self.number = number
        }

        func call(_ handle: ReactorHandle) -> UInt64 {
            isAnswered.store(0)
            handle.announce(caller: number)
            while isAnswered.load() == 0 { isAnswered.wait(while: 0) }
            return answer.load(ordering: .relaxed)
        }
    }

    init(_ numbers: [Int] = []) {
        callers = numbers.map(Caller.init)
    }

    override func serve(caller: Int) {
        guard let caller = callers.first(where: { $0.number == caller }) else { return }
        calls += 1
        caller.answer.store(sum, ordering: .relaxed)
        caller.isAnswered.store(1)
        caller.isAnswered.wake()
    }

    override func takePosted(_ word: UInt64) { sum += word }
}

@Suite struct CallTests {
    @Test func callsOfManyThreadsAreAllServed() throws {
        let reactor = try Reactor(name: "test")
        let handle = reactor.handle
        // In each of the words that announce callers.
        let adder = Adder([0, 63, 64, 130, 255])
        reactor.serve(with: adder)
        let running = Atomic<Int>(adder.callers.count)
        var threads: [Joiner] = []
        for caller in adder.callers {
            let thread = try HostThread(name: "caller") {
                for _ in 0..<2000 { _ = caller.call(handle) }
                if running.wrappingSubtract(1, ordering: .relaxed).newValue == 0 { handle.send { $0.stop() } }
            }
            threads.append(Joiner(thread))
        }
        reactor.run()
        threads.forEach { $0.join() }
        #expect(adder.calls == 10_000)
    }

    @Test func aCallSeesWhatItsThreadPostedBefore() throws {
        let reactor = try Reactor(name: "test")
        let handle = reactor.handle
        let adder = Adder([3])
        reactor.serve(with: adder)
        let mismatches = Atomic<Int>(0)
        let thread = try HostThread(name: "caller") { [caller = adder.callers[0]] in
            var sum: UInt64 = 0
            for round in 0..<3000 as Range<UInt64> {
                if handle.post(round) { sum += round }
                if round % 7 == 0, caller.call(handle) != sum { mismatches.wrappingAdd(1, ordering: .relaxed) }
            }
            handle.send { $0.stop() }
        }
        reactor.run()
        thread.join()
        #expect(mismatches.load(ordering: .relaxed) == 0)
    }

    @Test func postedWordsAreRefusedWhenFull() throws {
        let reactor = try Reactor(name: "test")
        var taken = 0
        while reactor.handle.post(1 << 40) { taken += 1 }
        #expect(taken == 1024)
        let adder = Adder()
        reactor.serve(with: adder)
        reactor.turn(waiting: false)
        #expect(adder.sum == 1024 << 40)
        #expect(reactor.handle.post(1))
    }

    /// One that posts another word for each that is taken does not hold the reactor's thread.
    @Test func aTurnTakesNoMoreWordsThanTheQueueHolds() throws {
        final class Echo: CallServer {
            let handle: ReactorHandle
            var taken = 0

            init(_ handle: ReactorHandle) {
                self.handle = handle
            }

            override func takePosted(_ word: UInt64) {
                taken += 1
                _ = handle.post(word)
            }
        }
        let reactor = try Reactor(name: "test")
        let echo = Echo(reactor.handle)
        reactor.serve(with: echo)
        #expect(reactor.handle.post(1))
        reactor.turn(waiting: false)
        #expect(echo.taken == 1024)
    }
}

/// Holds a thread until it is joined, since a closure cannot own one.
private final class Joiner {
    private var thread: HostThread?

    init(_ thread: consuming HostThread) {
        self.thread = consume thread
    }

    func join() {
        thread.take()?.join()
    }
}
