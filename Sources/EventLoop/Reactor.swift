package import Host

/// A single-threaded event loop over one io_uring, owned by the thread that made it.
///
/// Operations go in, completions come out; other threads reach it through its `handle`. One turn serves what has
/// completed, what vCPUs ask and what other threads sent, and lets the touched targets finish; everything that came of
/// it is submitted in one system call, with which the next turn begins.
package final class Reactor {
    /// What other threads may use.
    package let handle: ReactorHandle
    private let ring: Ring
    private var slots = OperationSlots()
    private var backlog: [Waiting] = []
    private var scheduled: [RingClient] = []
    private var spare: [RingClient] = []
    private var ports: [ExitMailbox] = []
    private var server: AccessServer?
    private var registered: [Bool] = []
    private var isStopped = false
    private var spinning = SpinWindow()
    private let one = IOBuffer(capacity: 8)
    private let wakeCount = IOBuffer(capacity: 8)
    private let wakeTarget = RingClient()

    /// An operation that found no room.
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
        guard let slot = slots.take(target, tag, deadline: operation.deadline) else { return false }
        let userData = slots.userData(slot)
        let deadline = unsafe operation.deadline == 0 ? nil : slots.deadline(slot)
        if unsafe ring.push(operation, userData: userData, deadline: deadline) {
            if ring.unsubmittedCount >= Self.submissionBatch { ring.submitEarly() }
            return true
        }
        ring.submit()
        if unsafe ring.push(operation, userData: userData, deadline: deadline) { return true }
        _ = slots.release(userData)
        return false
    }

    /// Writes an eventfd together with the next submission: raises an interrupt, or wakes somebody.
    package func signal(_ descriptor: Int32) {
        let write = Operation.signal(descriptor, one.all)
        if unsafe ring.push(write, userData: 0, deadline: nil) { return }
        ring.submit()
        if unsafe !ring.push(write, userData: 0, deadline: nil) {
            submit(
                .write(IOFile(descriptor: descriptor), one.all, at: Operation.currentPosition), for: wakeTarget, tag: 1)
        }
    }

    /// Gives the kernel now what would be submitted at the end of this turn: interrupts are raised when it returns.
    package func flush() {
        if ring.hasUnsubmitted { ring.submit() }
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
        let operation = Operation.cancel(userData)
        while unsafe !ring.push(operation, userData: 0, deadline: nil) { ring.submit() }
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

    // MARK: vCPU accesses

    /// Serves the accesses that come through `ports` with `server`.
    package func serve(_ ports: [ExitMailbox], with server: AccessServer) {
        self.ports = ports
        self.server = server
        spinning.isAllowed = HostThread.availableCPUs > 1
    }

    private func serveExits() -> Bool {
        guard let server else { return false }
        var served = false
        while var write = handle.posted.pop() {
            server.serve(&write)
            served = true
        }
        for word in 0..<(ReactorHandle.maximumPorts / 64) {
            var exits = handle.takeExits(word)
            while exits != 0 {
                let index = word * 64 + exits.trailingZeroBitCount
                exits &= exits - 1
                // What this vCPU posted before it asked comes first.
                while var write = handle.posted.pop() { server.serve(&write) }
                if index < ports.count { ports[index].serve(with: server) }
                served = true
            }
        }
        return served
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

    /// Runs one turn; with `waiting`, first sleeps until there is something to do.
    package func turn(waiting: Bool) {
        if !waiting || !scheduled.isEmpty || handle.hasWork || ring.hasWork {
            ring.submit()
        } else if spinning.isWanted {
            if ring.hasUnsubmitted { ring.submit() }
            spinning.spin { handle.hasWork || ring.hasWork }
        } else if handle.prepareToSleep() {
            ring.submitAndWait()
            handle.wokeUp()
        }
        // A bounded number, so that a flood of completions does not keep vCPUs waiting.
        var left = 512
        while left > 0, let completion = ring.pop() {
            deliver(completion)
            left -= 1
        }
        // What a vCPU posted before it sent a message comes before that message.
        let messages = handle.takeMessages()
        if serveExits() { spinning.noteExit() }
        for message in messages { message(self) }
        runScheduled()
        drainBacklog()
    }

    private func deliver(_ completion: Ring.Completion) {
        if completion.hasMore {
            if let (target, tag) = slots.find(completion.userData), !target.isRetiring {
                target.multishotEvent(tag: tag, result: completion.result)
            }
            return
        }
        guard let (target, tag) = slots.release(completion.userData) else { return }
        if target === wakeTarget {
            if tag == 0 { listenForWakeUps() }
            return
        }
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
        guard !backlog.isEmpty else { return }
        var done = 0
        while done < backlog.count, push(backlog[done].operation, backlog[done].target, backlog[done].tag) { done += 1 }
        backlog.removeFirst(done)
    }

    private func listenForWakeUps() {
        let file = IOFile(descriptor: handle.wakeUp.rawValue)
        submit(.read(file, wakeCount.all, at: Operation.currentPosition), for: wakeTarget)
    }
}
