public import EventLoop

/// A virtio device without its transport: what a driver can negotiate, and what happens to its requests.
///
/// A device lives on one reactor and only that thread calls it. It takes requests from its queues, submits operations
/// for itself (it is an `RingClient`) and gives requests back when they complete; draining, notifications, interrupts,
/// fairness, pause and reset are its `QueueWorker`'s business.
///
/// Used buffers become visible to the driver at the end of the turn in which `process` or `completed` ran.
open class VirtioDevice: RingClient {
    /// The device's id on the command line and in the log.
    package let id: String
    package let type: DeviceType
    /// What the driver may choose from. `VERSION_1` is always offered.
    package let offeredFeatures: Features
    /// The most descriptors each queue may have; powers of two.
    package let queueSizes: [UInt16]
    private var configSpace: ConfigSpace
    var worker: QueueWorker?

    package init(
        id: String, type: DeviceType, features: Features, queueSizes: [UInt16], config: ConfigSpace = ConfigSpace()
    ) {
        self.id = id
        self.type = type
        offeredFeatures = features.union(.version1)
        self.queueSizes = queueSizes
        configSpace = config
    }

    /// The configuration that the driver reads. After a change that it must notice, call the context's
    /// `configChanged`.
    package var config: ConfigSpace {
        get { configSpace }
        set { configSpace = newValue }
    }

    /// The queues that a driver can have.
    package var shape: QueueShape { QueueShape(count: queueSizes.count, size: queueSizes.max() ?? 0) }

    /// Whether the device can work with this choice of its features; refuses those that need one another.
    open func accepts(_ features: Features) -> Bool { true }

    /// The driver is ready: from now on `process` is called. A device that cannot start calls the context's `fail`.
    open func activate(_ context: DeviceContext) {}

    /// The driver may have put requests into `queue`: take them with `next()` until it answers nil.
    ///
    /// A device that stops earlier, for want of room, is not called again until it asks for it with the context's
    /// `resume(_:)`; a device that waits for something else (a packet to deliver) may as well take nothing now.
    open func process(_ queue: Virtqueue) {}

    /// An operation that the device submitted for itself has ended; the arguments are those of `RingClient.operationCompleted`.
    open func ioCompleted(tag: UInt32, result: Int32) {}

    /// What an operation of the device watches has happened once more; the arguments are those of `RingClient.multishotEvent`.
    open func ioEvent(tag: UInt32, result: Int32) {}

    /// Whether nothing that touches guest memory is under way. Requests that only wait for the outside world, and
    /// survive a pause unharmed, do not count.
    open var isIdle: Bool { operationsInFlight == 0 }

    /// The machine is being paused: whoever serves queues in this process's place must stop, and `isIdle` tells when
    /// that is done. This process's own queues are looked after.
    open func pause() {}

    /// The machine goes on after a pause.
    open func resume() {}

    /// A queue has stopped until the next reset, since the device failed or the driver gave up.
    open func queueStopped(_ index: Int) {}

    /// What the device has counted since it was made.
    open var tally: [DeviceCounter] { [] }

    /// The device is about to be reset or removed: cancel what might never end by itself, such as timers, polls and
    /// receives. File transfers need no help, they end.
    open func cancelRequests() {}

    /// Forget the driver: the queues are no longer valid, nothing is in flight.
    open func reset() {}

    /// Reads `size` (1, 2, 4 or 8) bytes of the configuration at `offset`.
    open func readConfig(at offset: Int, size: Int) -> UInt64 { configSpace.read(at: offset, size: size) }

    /// Writes to the configuration. Few devices have fields for the driver to write; the rest ignore it.
    open func writeConfig(at offset: Int, size: Int, value: UInt64) {}

    /// Whether this process serves the queue of the driver that is there. If not, its doorbell is left to whoever does,
    /// such as vhost.
    open func servesQueue(_ index: Int) -> Bool { true }

    /// The device's own state, at rest.
    package var deviceState: DeviceState { .none }

    /// Takes over a state that a device of this type had; called before the device is activated.
    ///
    /// - Throws: for a state that this device cannot have; it then keeps its own.
    package func restore(_ state: DeviceState) throws(StateError) {
        guard case .none = state else { throw StateError("the saved state belongs to a device of another type") }
    }

    /// Whether somebody else raises the device's interrupt: the driver is then told with each interrupt to look for
    /// used buffers.
    open var interruptsDirectly: Bool { false }

    /// Has the worker look at the device once more at the end of this turn: it may be idle now.
    func wakeWorker() { worker?.scheduleTurn() }

    public final override func operationCompleted(tag: UInt32, result: Int32) {
        ioCompleted(tag: tag, result: result)
        worker?.scheduleTurn()
    }

    public final override func multishotEvent(tag: UInt32, result: Int32) {
        ioEvent(tag: tag, result: result)
        worker?.scheduleTurn()
    }
}
