package import Host

/// A single-threaded event loop over one io_uring, owned by the thread that made it.
///
/// Operations go in, completions come out; other threads reach it through its `handle`. One turn serves completions,
/// callers and messages, a bounded number of each, and lets the touched clients finish; the next turn begins with
/// one system call that submits all their operations.
///
/// A reactor whose `io_uring_enter` fails for good is lost: it tells its owner once, and from then on serves only other
/// threads, which its owner has to end.
package final class Reactor {
    /// What other threads may use.
    package let handle: ReactorHandle
    private let ring: Ring
    private var slots = OperationSlots()
    private var backlog: [Waiting] = []
    private var scheduled: [RingClient] = []
    private var spare: [RingClient] = []
    private var server: CallServer?
    private var registered: [Bool] = []
    private var isStopped = false
    private var spinning = SpinWindow()
    private let one = IOBuffer(capacity: 8)
    private let wakeCount = IOBuffer(capacity: 8)
    private let wakeTarget = RingClient()
    private var messages = MessageBatch()
    private var untracked = UntrackedQueue()
    private var health = RingHealth()
    private var onLoss: ((RingFailure) -> Void)?
    private var hasLostSignal = false
    private let sleeper = Futex(0)

    /// An operation that found no slot, or no room in the ring.
    private struct Waiting {
        let operation: Operation
        let target: RingClient
        let tag: UInt32
    }

    /// Sets up a ring of the calling thread, with room for `entries` submissions at once, which fails all but
    /// `operations` with `EACCES`.
    package init(name: String, entries: UInt32 = 256, operations: OperationSet = .all) throws(Errno) {
        handle = try ReactorHandle(name: name)
        ring = try Ring(entries: entries, letsThrough: operations)
        one.all.store(UInt64(1), at: 0)
        listenForWakeUps()
    }

    // MARK: Operations

    /// How many operations may wait for the end of the turn. A disk that gets the first of a long row while the rest
    /// is being prepared is up to a quarter faster than one that gets them all at once.
    private static let submissionBatch: UInt32 = 8

    /// Submits an operation at the end of this turn; never refuses for lack of room.
    ///
    /// - Returns: false if the target is retiring, and then nothing was submitted.
    @discardableResult
    package func submit(_ operation: consuming Operation, for target: RingClient, tag: UInt32 = 0) -> Bool {
        guard !target.isRetiring else { return false }
        if !backlog.isEmpty || !push(operation, target, tag) {
            backlog.append(Waiting(operation: operation, target: target, tag: tag))
        }
        return true
    }

    private func push(_ operation: borrowing Operation, _ target: RingClient, _ tag: UInt32) -> Bool {
        guard !health.isLost, let slot = slots.take(target, tag, operation) else { return false }
        let userData = slots.userData(slot)
        let deadline = unsafe operation.deadline == 0 ? nil : slots.deadline(slot)
        if unsafe ring.push(operation, userData: userData, deadline: deadline) {
            if ring.unsubmittedCount >= Self.submissionBatch { note(ring.submitEarly()) }
            return true
        }
        note(ring.submit())
        if unsafe ring.push(operation, userData: userData, deadline: deadline) { return true }
        _ = slots.release(userData)
        return false
    }

    /// Writes an eventfd together with the next submission: raises an interrupt, or notifies a back end.
    package func signal(_ descriptor: Int32) {
        push(untracked: .signal(descriptor, one.all), userData: UntrackedQueue.userData(ofSignal: descriptor))
    }

    /// Queues an operation that has no client and needs no slot.
    private func push(untracked operation: Operation, userData: UInt64) {
        guard !health.isLost else { return }
        if untracked.isEmpty {
            if unsafe ring.push(operation, userData: userData, deadline: nil) { return }
            note(ring.submit())
            if unsafe ring.push(operation, userData: userData, deadline: nil) { return }
        }
        untracked.append(operation, userData: userData)
    }

    /// Gives the kernel now what would be submitted at the end of this turn: interrupts are raised when it returns.
    package func flush() {
        if !untracked.isEmpty { drainUntracked() }
        if ring.hasUnsubmitted { note(ring.submit()) }
    }

    /// Cancels the operations of `target` with this tag; they complete with `ECANCELED`, or with what they did.
    package func cancel(tag: UInt32, of target: RingClient) {
        dropBacklog(of: target, tag: tag)
        slots.forEach(of: target, tag: tag) { cancel($0) }
    }

    /// Ends a target: cancels what it has in flight, and calls its `retired` and then `done` when the last operation has
    /// completed.
    package func retire(_ target: RingClient, _ done: (() -> Void)? = nil) {
        guard !target.isRetiring else { return }
        target.isRetiring = true
        target.whenRetired = done
        dropBacklog(of: target, tag: nil)
        if target.operationsInFlight == 0 {
            target.finishRetiring()
        } else {
            slots.forEach(of: target) { cancel($0) }
        }
    }

    private func cancel(_ userData: UInt64) {
        push(untracked: .cancel(userData), userData: UntrackedQueue.userDataOfCancellation)
    }

    private func dropBacklog(of target: RingClient, tag: UInt32?) {
        guard !backlog.isEmpty else { return }
        let dropped = backlog.filter { $0.target === target && (tag == nil || $0.tag == tag) }
        backlog.removeAll { $0.target === target && (tag == nil || $0.tag == tag) }
        for waiting in dropped { target.operationCompleted(tag: waiting.tag, result: -Errno.canceled.rawValue) }
    }

    /// Registers a descriptor with the ring, so that its operations need not look it up; as good as the
    /// descriptor itself when the table is full.
    package func register(_ descriptor: Int32) -> IOFile {
        let index = registered.firstIndex(of: false) ?? registered.count
        guard index < Int(Ring.registeredFiles) else { return IOFile(descriptor: descriptor) }
        do {
            try ring.setRegisteredFile(UInt32(index), descriptor)
        } catch {
            Log.warn(handle.name, "cannot register a file with the ring: \(error)")
            return IOFile(descriptor: descriptor)
        }
        if index == registered.count { registered.append(true) } else { registered[index] = true }
        return IOFile(registered: Int32(index))
    }

    /// Gives back what `register` made, when no operation uses it any more.
    package func unregister(_ file: IOFile) {
        guard file.isRegistered, registered.indices.contains(Int(file.index)) else { return }
        try? ring.setRegisteredFile(UInt32(file.index), -1)
        registered[Int(file.index)] = false
    }

    // MARK: Callers

    /// Serves callers and posted words with `server` from now on.
    package func serve(with server: CallServer) {
        self.server = server
        spinning.isAllowed = HostThread.availableCPUs > 1
    }

    private func serveCallers() -> Bool {
        guard let server else { return false }
        var served = takePosted(server)
        for word in 0..<(ReactorHandle.maximumCallers / 64) {
            var callers = handle.takeCallers(word)
            while callers != 0 {
                let index = word * 64 + callers.trailingZeroBitCount
                callers &= callers - 1
                // What this caller posted before it called comes first.
                _ = takePosted(server)
                server.serve(caller: index)
                served = true
            }
        }
        return served
    }

    /// Takes all words that were posted before now, and no more than the queue holds: senders that never cease do not
    /// hold the thread.
    private func takePosted(_ server: CallServer) -> Bool {
        var left = PostedWords.capacity
        while left > 0, let word = handle.posted.pop() {
            server.takePosted(word)
            left -= 1
        }
        return left < PostedWords.capacity
    }

    // MARK: Turns

    /// Calls the target's `endOfTurn` once before this turn ends.
    package func schedule(_ target: RingClient) {
        guard !target.isScheduled else { return }
        target.isScheduled = true
        scheduled.append(target)
    }

    /// Runs turns until `stop`.
    package func run() {
        while !isStopped { turn(waiting: true) }
    }

    /// Makes `run` return after this turn.
    package func stop() {
        isStopped = true
    }

    /// Most of each that one turn serves, so that a flood of one does not keep the others waiting.
    private static let completionsPerTurn = 512
    private static let messagesPerTurn = 64
    private static let submissionsPerTurn = 1024

    /// Runs one turn; with `waiting`, first sleeps until there is something to do.
    package func turn(waiting: Bool) {
        sleep(health.takePause())
        if health.isLost { passTime(waiting: waiting) } else { enterKernel(waiting: waiting) }
        var left = Self.completionsPerTurn
        while left > 0, let completion = ring.pop() {
            deliver(completion)
            left -= 1
        }
        if left < Self.completionsPerTurn { health.noteCompletions() }
        // What a thread posted before it sent a message comes before that message.
        messages.refill(from: handle)
        if serveCallers() { spinning.noteCall() }
        left = Self.messagesPerTurn
        while left > 0, let message = messages.pop() {
            message(self)
            left -= 1
        }
        runScheduled()
        drainBacklog()
        if health.isLost { tellLoss() }
    }

    /// Submits what is queued, and sleeps where there is nothing else to do.
    private func enterKernel(waiting: Bool) {
        if !waiting || hasWork || ring.hasWork {
            note(ring.submit())
        } else if spinning.isWanted {
            if ring.hasUnsubmitted { note(ring.submit()) }
            spinning.spin { handle.hasWork || ring.hasWork }
        } else if handle.prepareToSleep() {
            note(ring.submitAndWait())
            handle.wokeUp()
        }
    }

    /// Whether there is something to do without any completion. An operation that found no slot waits for one.
    private var hasWork: Bool {
        !scheduled.isEmpty || handle.hasWork || !messages.isEmpty || !untracked.isEmpty
            || !backlog.isEmpty && slots.hasFree
    }

    // MARK: Failures

    /// Why the ring is lost; nil while it works.
    package var failure: RingFailure? { health.failure }

    /// Calls `handler`, once and in a turn, when the ring is lost.
    package func onLoss(_ handler: @escaping (RingFailure) -> Void) {
        onLoss = handler
    }

    private func tellLoss() {
        if let onLoss, let failure = health.takeUntold() { onLoss(failure) }
    }

    private func note(_ error: Errno?) {
        health.note(error, of: handle.name)
    }

    /// Sleeps whatever happens.
    private func sleep(_ nanoseconds: UInt64) {
        if nanoseconds > 0 { sleeper.wait(while: 0, atMost: nanoseconds) }
    }

    /// Begins a turn of a lost reactor, which can only look from time to time for what other threads ask.
    private func passTime(waiting: Bool) {
        if waiting, !hasWork { sleep(Self.lostSleep) }
        if health.isOver { isStopped = true }
    }

    private static let lostSleep: UInt64 = 1_000_000

    /// A write of an eventfd, which reports only its failure, may have been an interrupt: it is told, once.
    private func noteFailedSignal(_ descriptor: Int32, _ result: Int32) {
        guard !hasLostSignal else { return }
        hasLostSignal = true
        let error = Errno(rawValue: 0 &- result)
        Log.error(handle.name, "cannot write eventfd \(descriptor): \(error); an interrupt or a notification is lost")
    }

    // MARK: Completions

    private func deliver(_ completion: Ring.Completion) {
        if completion.hasMore {
            if let (target, tag) = slots.find(completion.userData), !target.isRetiring {
                target.multishotEvent(tag: tag, result: completion.result)
            }
            return
        }
        if completion.result < 0, slots.isWait(completion.userData) { health.noteFailedWait(completion.result) }
        guard let (target, tag) = slots.release(completion.userData) else {
            if let descriptor = UntrackedQueue.descriptor(ofSignal: completion.userData) {
                noteFailedSignal(descriptor, completion.result)
            }
            return
        }
        if target === wakeTarget { return listenForWakeUps() }
        // One that retires within `complete` with nothing else in flight has been told there.
        let wasRetiring = target.isRetiring
        target.operationCompleted(tag: tag, result: completion.result)
        if wasRetiring, target.operationsInFlight == 0 { target.finishRetiring() }
    }

    private func runScheduled() {
        guard !scheduled.isEmpty else { return }
        // The two arrays take turns, so that no turn allocates one.
        var targets = spare
        spare = []
        swap(&targets, &scheduled)
        for target in targets {
            target.isScheduled = false
            target.endOfTurn()
        }
        targets.removeAll(keepingCapacity: true)
        spare = targets
    }

    private func drainBacklog() {
        if !untracked.isEmpty { drainUntracked() }
        guard !backlog.isEmpty else { return }
        var done = 0
        while done < min(backlog.count, Self.submissionsPerTurn),
            push(backlog[done].operation, backlog[done].target, backlog[done].tag)
        { done += 1 }
        backlog.removeFirst(done)
    }

    private func drainUntracked() {
        var mayEnter = true
        while let (operation, userData) = untracked.first {
            if unsafe !ring.push(operation, userData: userData, deadline: nil) {
                guard mayEnter, !health.isLost else { return }
                mayEnter = false
                note(ring.submit())
                continue
            }
            untracked.removeFirst()
        }
    }

    private func listenForWakeUps() {
        let file = IOFile(descriptor: handle.wakeUp.rawValue)
        submit(.read(file, wakeCount.all, at: Operation.currentPosition), for: wakeTarget)
    }
}
