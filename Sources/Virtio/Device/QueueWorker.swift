import EventLoop
import Host
import Memory

/// Runs a device's queues: listens for doorbells, lets the device take its requests, shows the driver what was used
/// and raises one interrupt for all of it, once a turn.
///
/// It also knows how to bring a device to rest: no new requests, then wait for those in flight, then go on.
final class QueueWorker: RingClient {
    let device: VirtioDevice
    let memory: GuestMemory
    let reactor: Reactor
    private weak var transport: (any VirtioTransport)?
    private var doorbells: [Doorbell]
    private var queues: [Virtqueue?] = []
    /// Queues to process in this turn, one bit each.
    private var pending: UInt64 = 0
    /// The doorbells that are listened to, one bit each.
    private var listening: UInt64 = 0
    private var isActive = false
    private var isPaused = false
    private var isBroken = false
    private var isStopping = false
    private var whenIdle: [() -> Void] = []
    private var logLimit = LogLimit()

    /// The most queues one device can have.
    static let maximumQueues = 64

    /// Where the driver's notifications of one queue arrive.
    final class Doorbell {
        let event: EventFD
        let count = IOBuffer(capacity: 8)

        fileprivate init() throws(Errno) {
            event = try EventFD()
        }
    }

    /// - Throws: `EINVAL` for a device with more queues than a worker can serve, or why an eventfd cannot be made.
    init(_ device: VirtioDevice, memory: GuestMemory, reactor: Reactor) throws(Errno) {
        guard device.queueSizes.count <= Self.maximumQueues else { throw .invalidArgument }
        self.device = device
        self.memory = memory
        self.reactor = reactor
        var doorbells: [Doorbell] = []
        for _ in device.queueSizes { doorbells.append(try Doorbell()) }
        self.doorbells = doorbells
        super.init()
    }

    /// Connects the worker with the transport that made it.
    func attach(_ transport: any VirtioTransport) {
        self.transport = transport
        device.worker = self
    }

    // MARK: Doorbells

    /// The eventfd of a queue's doorbell.
    func doorbell(_ index: Int) -> Int32? {
        doorbells.indices.contains(index) ? doorbells[index].event.rawValue : nil
    }

    /// The eventfd of a queue's interrupt.
    func interrupt(_ index: Int) -> Int32? { transport?.interrupt(ofQueue: index) }

    /// Rings a queue's doorbell on behalf of a driver whose notification was not turned into an eventfd.
    func ring(_ index: Int) {
        if let descriptor = doorbell(index) { reactor.signal(descriptor) }
    }

    private func listen(_ index: Int) {
        guard listening & 1 << UInt64(index) == 0 else { return }
        listening |= 1 << UInt64(index)
        let doorbell = doorbells[index]
        let file = IOFile(descriptor: doorbell.event.rawValue)
        reactor.submit(
            .read(file, doorbell.count.all, at: Operation.currentPosition), for: self, tag: UInt32(index))
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        let index = Int(tag)
        guard doorbells.indices.contains(index), !isRetiring else { return }
        listening &= ~(1 << UInt64(index))
        if result < 0, let error = Errno(ofWait: result) {
            return fail("cannot read the doorbell of queue \(index): \(error)")
        }
        if device.servesQueue(index) { listen(index) }
        kick(index)
    }

    /// Lets the device process a queue at the end of this turn.
    func kick(_ index: Int) {
        guard index >= 0, index < Self.maximumQueues else { return }
        pending |= 1 << UInt64(index)
        scheduleTurn()
    }

    func scheduleTurn() {
        reactor.schedule(self)
    }

    // MARK: Turns

    override func endOfTurn() {
        if isActive, !isPaused, !isBroken, !isStopping { processPending() }
        finishTurn()
        if !whenIdle.isEmpty, device.isIdle { becameIdle() }
    }

    private func processPending() {
        var left = pending
        pending = 0
        while left != 0 {
            let index = left.trailingZeroBitCount
            left &= left &- 1
            guard queues.indices.contains(index), let queue = queues[index], device.servesQueue(index) else { continue }
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
        if wanted != 0 { transport?.usedBuffers(inQueues: wanted) }
    }

    /// Tells the driver of used buffers that somebody else has put into a queue.
    func raiseUsed(queue: Int) {
        guard isActive, queue >= 0, queue < Self.maximumQueues else { return }
        transport?.usedBuffers(inQueues: 1 << UInt64(queue))
    }

    func configChanged() {
        transport?.configurationChanged()
    }

    // MARK: Life

    /// Whether the driver has the device running.
    var isActivated: Bool { isActive }

    /// Whether a reset has anything to do.
    var hasDriver: Bool { isActive || isBroken }

    /// Whether a reset or a removal still waits for requests in flight.
    var isComingToRest: Bool { isStopping }

    /// Gives the device its queues.
    func activate(_ queues: [Virtqueue?], features: Features) {
        guard !isActive, !isStopping else { return }
        self.queues = queues
        isActive = true
        holdQueues(isPaused)
        device.activate(DeviceContext(queues: queues, features: features, worker: self))
        for index in doorbells.indices where device.servesQueue(index) { listen(index) }
        if isPaused { device.pause() }
        // Requests may have been made before anybody listened.
        for queue in queues { if let queue { kick(queue.index) } }
    }

    /// Stops the device until the driver resets it.
    func fail(_ reason: String) {
        logLimit.write(.error, device.id, "the device has stopped: \(reason)")
        guard !isBroken else { return }
        isBroken = true
        stopQueues()
        transport?.deviceNeedsReset()
    }

    /// Says in the log what the driver did wrong, unless it does so all the time.
    func complain(_ text: String) {
        logLimit.write(.warn, device.id, text)
    }

    /// Takes no more requests from one queue.
    func disable(_ index: Int) {
        guard queues.indices.contains(index) else { return }
        queues[index]?.stop()
        device.queueStopped(index)
    }

    /// How many requests of one queue are in flight.
    func inFlight(_ index: Int) -> Int {
        queues.indices.contains(index) ? queues[index]?.inFlight ?? 0 : 0
    }

    private func stopQueues() {
        for index in queues.indices { disable(index) }
    }

    /// Leaves the queues, which are at rest, to another device as they are, and its doorbells.
    func giveUpQueues() -> [Doorbell] {
        queues = []
        pending = 0
        return doorbells
    }

    /// Listens to another device's doorbells instead of its own, once it is activated.
    func adopt(_ others: [Doorbell]) {
        guard listening == 0, others.count <= doorbells.count else { return }
        doorbells.replaceSubrange(..<others.count, with: others)
    }

    /// Brings the device to rest and forgets the driver; calls `done`, at once if nothing is in flight.
    func reset(_ done: @escaping () -> Void) {
        isStopping = true
        stopQueues()
        // One that failed before it was activated has nothing under way, and is not told of the end of this either.
        if isActive { device.cancelRequests() }
        afterRest { [self] in
            if isActive { device.reset() }
            queues = []
            pending = 0
            isActive = false
            isBroken = false
            isStopping = false
            done()
        }
    }

    /// Takes no new requests, and calls `done` when none is in flight.
    func pause(_ done: @escaping () -> Void) {
        isPaused = true
        holdQueues(true)
        if isActive { device.pause() }
        afterRest(done)
    }

    /// Goes on after a pause.
    func resume() {
        guard isPaused else { return }
        isPaused = false
        holdQueues(false)
        if isActive, !isBroken, !isStopping { device.resume() }
        for queue in queues { if let queue { kick(queue.index) } }
    }

    private func holdQueues(_ isHeld: Bool) {
        for queue in queues { queue?.hold(isHeld) }
    }

    /// Ends device and worker for good; calls `done` when nothing is in flight and nobody listens any more.
    func retire(_ done: @escaping () -> Void) {
        reset { [self] in
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
        whenIdle.append(done)
        if device.isIdle { becameIdle() }
    }

    private func becameIdle() {
        finishTurn()
        let waiting = whenIdle
        whenIdle = []
        for done in waiting { done() }
    }
}
