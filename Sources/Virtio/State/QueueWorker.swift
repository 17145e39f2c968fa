import EventLoop
import Host
import Memory

/// Runs a device's queues: listens for doorbells, lets the device take its requests, shows the driver what was used
/// and raises one interrupt for all of it, once a turn.
///
/// It also brings a device to rest: no new requests, then wait for those in flight, then go on. A worker has one device
/// on one reactor; another device gets another worker.
final class QueueWorker: RingClient {
    let device: VirtioDevice
    let memory: GuestMemory
    let reactor: Reactor
    let interrupt: VirtioInterrupt
    let doorbells: Doorbells
    /// Nil once the device has left.
    private weak var state: VirtioState?
    private var queues: [Virtqueue?] = []
    private var offloaded = OffloadedQueues()
    /// Queues to process in this turn, one bit each.
    private var pending: UInt64 = 0
    /// The doorbells that are listened to, one bit each.
    private var listening: UInt64 = 0
    private var isActive = false
    private var isPaused: Bool
    private var isBroken = false
    private var isStopping = false
    private var isLeaving = false
    private var whenAtRest: [() -> Void] = []
    private var logLimit = LogLimit()

    init(
        _ device: VirtioDevice, of state: VirtioState, memory: GuestMemory, reactor: Reactor,
        interrupt: VirtioInterrupt, doorbells: Doorbells, isPaused: Bool
    ) {
        self.device = device
        self.state = state
        self.memory = memory
        self.reactor = reactor
        self.interrupt = interrupt
        self.doorbells = doorbells
        self.isPaused = isPaused
        super.init()
        device.worker = self
    }

    // MARK: Doorbells

    /// Rings a queue's doorbell for a driver whose notification was not turned into an eventfd.
    func ring(_ index: Int) {
        if let descriptor = doorbells.descriptor(index) { reactor.signal(descriptor) }
    }

    private func listen(_ index: Int) {
        guard listening & 1 << UInt64(index) == 0, !offloaded.contains(index) else { return }
        if doorbells.listen(index, on: reactor, for: self) { listening |= 1 << UInt64(index) }
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        guard !isRetiring else { return }
        let index = Int(tag)
        listening &= ~(1 << UInt64(index))
        if result < 0, let error = Errno(ofWait: result) {
            return fail("cannot read the doorbell of queue \(index): \(error)")
        }
        listen(index)
        kick(index)
    }

    /// Lets the device process a queue at the end of this turn.
    func kick(_ index: Int) {
        guard index >= 0, index < Doorbells.maximumCount else { return }
        pending |= 1 << UInt64(index)
        scheduleTurn()
    }

    func scheduleTurn() {
        reactor.schedule(self)
    }

    // MARK: Turns

    override func endOfTurn() {
        if isActive, !isPaused, !isBroken, !isStopping, !isLeaving { processPending() }
        finishTurn()
        if !whenAtRest.isEmpty, isQuiet { cameToRest() }
    }

    private func processPending() {
        var left = pending
        pending = 0
        while left != 0 {
            let index = left.trailingZeroBitCount
            left &= left &- 1
            guard queues.indices.contains(index), let queue = queues[index], !offloaded.contains(index) else {
                continue
            }
            queue.suppressNotifications()
            device.process(queue)
        }
    }

    /// Publishes used buffers, raises the interrupt, and stops a device whose driver broke the rules.
    private func finishTurn() {
        var wanted: UInt64 = 0
        for queue in queues {
            guard let queue else { continue }
            if queue.publish() { wanted |= 1 << UInt64(queue.index) }
            if queue.renewBudget() { kick(queue.index) }
            if let failure = queue.failure, !isBroken { fail("queue \(queue.index): \(failure)") }
        }
        if wanted != 0 { interrupt.raiseUsedBuffers(inQueues: wanted) }
    }

    /// The device's configuration has changed.
    func configChanged() { state?.configurationChanged() }

    // MARK: Life

    /// Whether the driver has the device running.
    var isActivated: Bool { isActive }

    /// Whether a reset has anything to do.
    var hasDriver: Bool { isActive || isBroken }

    /// Whether a reset or a removal still waits for requests in flight.
    var isComingToRest: Bool { isStopping }

    /// Whether requests, or servers, still touch guest memory.
    private var isQuiet: Bool { device.isIdle && offloaded.isAtRest }

    /// Whether nothing is in flight, and no reset under way.
    var isAtRest: Bool { isQuiet && !isStopping }

    /// What keeps the device from being at rest, for errors.
    var workInFlight: String {
        let requests = queues.indices.reduce(0) { offloaded.contains($1) ? $0 : $0 + inFlight($1) }
        guard offloaded.isAtRest else { return "requests that a server of its queues has taken" }
        return requests == 1 ? "1 request" : "\(requests) requests"
    }

    /// Gives the device its queues.
    func activate(_ queues: [Virtqueue?], features: Features) {
        guard !isActive, !isStopping, !isLeaving else { return }
        self.queues = queues
        isActive = true
        setQueuesPaused(isPaused)
        device.activate(DeviceContext(queues: queues, features: features, worker: self))
        for index in device.queueSizes.indices { listen(index) }
        if isPaused { device.pause() } else { offloaded.resume() }
        // Requests may have been made before the worker listened.
        for queue in queues { if let queue { kick(queue.index) } }
    }

    /// Leaves queues to a server, while the device is being activated.
    func offload(_ queues: Range<Int>, to server: any QueueServer) {
        offloaded.add(queues, to: server)
    }

    /// Stops the device until the driver resets it.
    func fail(_ reason: String) {
        logLimit.write(.error, device.id, "the device has stopped: \(reason)")
        guard !isBroken else { return }
        isBroken = true
        stopQueues()
        state?.deviceNeedsReset()
    }

    /// Says in the log what the driver did wrong, unless it does so all the time.
    func complain(_ text: String) {
        logLimit.write(.warn, device.id, text)
    }

    /// Takes no more requests from one queue.
    func disable(_ index: Int) {
        guard queues.indices.contains(index) else { return }
        queues[index]?.stop()
        offloaded.halt()
    }

    /// How many requests of one queue are in flight.
    func inFlight(_ index: Int) -> Int {
        queues.indices.contains(index) ? queues[index]?.inFlight ?? 0 : 0
    }

    private func stopQueues() {
        for index in queues.indices { disable(index) }
    }

    /// Brings the device to rest and forgets the driver; calls `done`, at once if nothing is in flight.
    func reset(_ done: @escaping () -> Void) {
        isStopping = true
        stopQueues()
        // One that failed before it was activated has nothing under way, and is not told of the end of this either.
        cancelRequests()
        afterRest { [self] in
            forgetDriver()
            isBroken = false
            isStopping = false
            done()
        }
    }

    private func cancelRequests() {
        guard isActive else { return }
        device.cancelRequests()
        offloaded.stop()
    }

    private func forgetDriver() {
        if isActive { device.reset() }
        // The driver of a device that leaves sees what this gave back; after a reset it must not.
        if isLeaving { finishTurn() }
        offloaded.forget()
        queues = []
        pending = 0
        isActive = false
    }

    /// Takes no new requests, and calls `done` when none is in flight.
    func pause(_ done: @escaping () -> Void) {
        isPaused = true
        setQueuesPaused(true)
        if isActive {
            device.pause()
            offloaded.stop()
        }
        afterRest(done)
    }

    /// Goes on after a pause.
    func resume() {
        guard isPaused else { return }
        isPaused = false
        setQueuesPaused(false)
        if isActive, !isBroken, !isStopping {
            device.resume()
            offloaded.resume()
        }
        for queue in queues { if let queue { kick(queue.index) } }
    }

    private func setQueuesPaused(_ isPaused: Bool) {
        for queue in queues { queue?.setPaused(isPaused) }
    }

    /// Ends device and worker for good, and leaves the queues as they are; calls `done` when nothing is in flight and
    /// no doorbell is listened to.
    func leave(_ done: @escaping () -> Void) {
        isLeaving = true
        setQueuesPaused(true)
        cancelRequests()
        afterRest { [self] in
            forgetDriver()
            state = nil
            device.worker = nil
            // Either may have the last operation in flight.
            var left = 2
            let step = {
                left -= 1
                if left == 0 { done() }
            }
            reactor.retire(device, step)
            reactor.retire(self, step)
        }
    }

    private func afterRest(_ done: @escaping () -> Void) {
        whenAtRest.append(done)
        if isQuiet { cameToRest() }
    }

    private func cameToRest() {
        finishTurn()
        // The caller may look at the driver's side next, so the interrupts go out first.
        reactor.flush()
        let waiting = whenAtRest
        whenAtRest = []
        for done in waiting { done() }
    }
}
