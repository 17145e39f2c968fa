import Backends
import EventLoop
import Host
import Memory
import Synchronization

/// One sending queue of a network device, served by another reactor than the device's. From a start to a stop that
/// reactor has its own view of the queue. The device reaches it by its `Line`.
final class RemoteTxQueue: RingClient {
    /// Everything needed to serve a queue.
    struct Work: Sendable {
        let layout: QueueLayout
        let features: Features
        let memory: GuestMemory
        /// The position in the available ring.
        let position: UInt16
        /// The eventfds of the driver's notifications and of the interrupt.
        let doorbell: Int32
        let interrupt: Int32
    }

    /// A message to the device.
    enum Report: Sendable {
        /// The queue is at rest at this position in the available ring; nil if none was served.
        case stopped(position: UInt16?)
        case tapIsGone
        /// The driver broke the queue's rules, or the queue cannot be served.
        case failed(String)
    }

    private let reactor: Reactor
    private let line: Line
    private let file: IOFile
    private let transmitter: Transmitter
    private let count = IOBuffer(capacity: 8)
    private var queue: Virtqueue?
    private var doorbell = IOFile(descriptor: -1)
    private var interrupt: Int32 = -1
    private var listens = false
    private var polls = false
    private var isStopping = false
    private var hasFailed = false

    private enum Tag {
        static let doorbell: UInt32 = 0
        static let tap: UInt32 = 1
    }

    fileprivate init(_ tap: TapQueue, _ line: Line, _ reactor: Reactor) {
        self.reactor = reactor
        self.line = line
        file = reactor.register(tap.descriptor)
        transmitter = Transmitter(tap)
    }

    fileprivate func start(_ work: Work) {
        do throws(QueueError) {
            let queue = try Virtqueue(
                index: 0, layout: work.layout, maximumSize: work.layout.size, features: work.features,
                memory: work.memory)
            queue.goOn(at: work.position)
            self.queue = queue
            transmitter.start(queue)
        } catch {
            return line.report(.failed("\(error)"))
        }
        doorbell = IOFile(descriptor: work.doorbell)
        interrupt = work.interrupt
        isStopping = false
        hasFailed = false
        listen()
        // The driver may have made requests before this reactor listened.
        reactor.schedule(self)
    }

    fileprivate func setOpen(_ isOpen: Bool) {
        transmitter.isOpen = isOpen
        reactor.schedule(self)
    }

    fileprivate func stop() {
        isStopping = true
        reactor.cancel(tag: Tag.doorbell, of: self)
        reactor.cancel(tag: Tag.tap, of: self)
        reactor.schedule(self)
    }

    fileprivate func retire() { reactor.retire(self) }

    override func retired() { reactor.unregister(file) }

    // MARK: Turns

    private func listen() {
        guard !listens else { return }
        listens = reactor.submit(
            .read(doorbell, count.all, at: Operation.currentPosition), for: self, tag: Tag.doorbell)
    }

    override func operationCompleted(tag: UInt32, result: Int32) {
        if tag == Tag.doorbell { listens = false } else { polls = false }
        if !isStopping, !isRetiring, queue != nil {
            if tag == Tag.doorbell, result < 0, let error = Errno(ofWait: result) {
                fail("cannot read the doorbell: \(error)")
            } else {
                listen()
            }
        }
        reactor.schedule(self)
    }

    override func endOfTurn() {
        guard let queue else {
            if isStopping { finish(at: nil) }
            return
        }
        if !isStopping, !hasFailed { transmit(queue) }
        if queue.publish() { reactor.signal(interrupt) }
        line.publish(transmitter.counters)
        if let failure = queue.failure { fail("\(failure)") }
        if isStopping, operationsInFlight == 0 {
            transmitter.stop()
            self.queue = nil
            finish(at: queue.position)
        } else if queue.renewBudget() {
            reactor.schedule(self)
        }
    }

    private func transmit(_ queue: Virtqueue) {
        queue.suppressNotifications()
        switch transmitter.transmit() {
        case .nothing, .again: break
        case .poll:
            if !polls { polls = reactor.submit(.poll(file, PollEvents.writable), for: self, tag: Tag.tap) }
        case .failed: line.report(.tapIsGone)
        }
    }

    /// Sends nothing until the next start.
    private func fail(_ reason: String) {
        guard !hasFailed else { return }
        hasFailed = true
        line.report(.failed(reason))
    }

    private func finish(at position: UInt16?) {
        isStopping = false
        // The card may be saved next, so the interrupts go out first.
        reactor.flush()
        line.report(.stopped(position: position))
    }
}

extension RemoteTxQueue {
    /// The queue as the device reaches it from its own reactor.
    final class Line: Sendable {
        private let there: ReactorHandle
        private let lane = Mutex<ReactorBound<RemoteTxQueue>?>(nil)
        private let counts = Mutex(NetworkCounters())
        private let listener: @Sendable (Report) -> Void

        /// Makes the queue on the reactor of `there`.
        ///
        /// - Parameter listener: called on that reactor's thread.
        init(_ tap: TapQueue, on there: ReactorHandle, _ listener: @escaping @Sendable (Report) -> Void) {
            self.there = there
            self.listener = listener
            let tap = SendOnce(tap)
            there.send { [self] reactor in
                guard let tap = tap.take() else { return }
                lane.withLock { $0 = ReactorBound(RemoteTxQueue(tap, self, reactor), to: reactor) }
            }
        }

        /// The frames that the driver has sent.
        var counters: NetworkCounters { counts.withLock { $0 } }

        /// Serves a queue until it is stopped.
        func start(_ work: Work) { send { $0.start(work) } }

        /// Passes frames on, or drops them.
        func setOpen(_ isOpen: Bool) { send { $0.setOpen(isOpen) } }

        /// Stops serving the queue; a report follows when it is at rest.
        func stop() { send { $0.stop() } }

        /// Ends the queue for good.
        func retire() {
            send { $0.retire() }
            there.send { [self] _ in lane.withLock { $0 = nil } }
        }

        private func send(_ body: @escaping @Sendable (RemoteTxQueue) -> Void) {
            there.send { [self] reactor in
                if let lane = lane.withLock({ $0 })?.value(on: reactor) { body(lane) }
            }
        }

        fileprivate func report(_ report: Report) { listener(report) }

        fileprivate func publish(_ counters: NetworkCounters) { counts.withLock { $0 = counters } }
    }
}
