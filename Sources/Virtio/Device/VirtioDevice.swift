public import EventLoop

/// A virtio device without its transport: what a driver can negotiate, and what happens to its requests.
///
/// A device lives on one reactor and only that thread calls it. It takes requests from its queues, submits operations
/// for itself (it is an `RingClient`) and gives requests back when they complete; draining, notifications, interrupts,
/// fairness, pause and reset are its `QueueWorker`'s business. Negotiation is its `VirtioState`'s.
///
///     made ─ restore? ─ activate ─ process … ─┬─ cancelRequests ─ (isIdle) ─ reset ─┬─ activate …
///                         pause ⇄ resume ─────┘                                     └─ retired
///
/// Used buffers become visible to the driver at the end of the turn in which `process` or `ioCompleted` ran.
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
    package var queueLimits: QueueLimits { QueueLimits(count: queueSizes.count, size: queueSizes.max() ?? 0) }

    /// Whether the device can work with this choice of its features; refuses those that need one another.
    open func accepts(_ features: Features) -> Bool { true }

    /// The driver is ready: from now on `process` is called. A device that cannot start calls the context's `fail`.
    open func activate(_ context: DeviceContext) {}

    /// The driver may have put requests into `queue`: take them with `next()` until it answers nil.
    ///
    /// A device that stops earlier, for want of room, is not called again until it asks for it with the context's
    /// `resume(_:)`; a device that waits for something else (a packet to deliver) may as well take nothing now.
    open func process(_ queue: Virtqueue) {}

    /// An operation that the device submitted for itself has ended; the arguments are those of
    /// `RingClient.operationCompleted`.
    open func ioCompleted(tag: UInt32, result: Int32) {}

    /// What an operation of the device watches has happened once more; the arguments are those of
    /// `RingClient.multishotEvent`.
    open func ioEvent(tag: UInt32, result: Int32) {}

    /// Whether nothing of this device touches guest memory. Requests that only wait for the outside world and survive
    /// a pause unharmed do not count. Servers of its queues are asked themselves.
    open var isIdle: Bool { operationsInFlight == 0 }

    /// The machine is being paused: the queues hand out nothing from now on.
    open func pause() {}

    /// The machine goes on after a pause.
    open func resume() {}

    /// The device's counters since it was made.
    open var counters: [DeviceCounter] { [] }

    /// The device is about to be reset or removed: cancel what might never end by itself, such as timers, polls and
    /// receives. File transfers need no help, they end.
    open func cancelRequests() {}

    /// Forget the driver: the queues are no longer valid, nothing is in flight.
    open func reset() {}

    /// Reads `size` (1, 2, 4 or 8) bytes of the configuration at `offset`.
    open func readConfig(at offset: Int, size: Int) -> UInt64 { configSpace.read(at: offset, size: size) }

    /// Writes to the configuration. Few devices have fields for the driver to write; the rest ignore it.
    open func writeConfig(at offset: Int, size: Int, value: UInt64) {}

    /// The device's own state, at rest.
    package var deviceState: DeviceState { .none }

    /// Takes over a state that a device of this type had; called before the device is activated.
    ///
    /// - Throws: for a state that this device cannot have; it then keeps its own.
    package func restore(_ state: DeviceState) throws(StateError) {
        guard case .none = state else { throw StateError("the saved state belongs to a device of another type") }
    }

    public final override func operationCompleted(tag: UInt32, result: Int32) {
        ioCompleted(tag: tag, result: result)
        worker?.scheduleTurn()
    }

    public final override func multishotEvent(tag: UInt32, result: Int32) {
        ioEvent(tag: tag, result: result)
        worker?.scheduleTurn()
    }
}
