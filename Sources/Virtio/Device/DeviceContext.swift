package import EventLoop
package import Memory

/// What an activated device works with, from `activate` until `reset`.
public final class DeviceContext {
    package let memory: GuestMemory
    package let reactor: Reactor
    /// What the driver chose.
    package let features: Features
    private let queues: [Virtqueue?]
    private let worker: QueueWorker

    init(queues: [Virtqueue?], features: Features, worker: QueueWorker) {
        self.queues = queues
        self.features = features
        self.worker = worker
        memory = worker.memory
        reactor = worker.reactor
    }

    /// The queue of this number; nil if the driver did not set it up.
    package func queue(_ index: Int) -> Virtqueue? {
        queues.indices.contains(index) ? queues[index] : nil
    }

    /// The eventfd that the driver's notifications of a queue arrive at, for whoever serves the queue instead.
    package func doorbell(_ index: Int) -> Int32? { worker.doorbell(index) }

    /// Tells the driver of used buffers in a queue that this process does not serve.
    package func raiseUsed(queue: Int) { worker.raiseUsed(queue: queue) }

    /// The eventfd of a queue's interrupt, for whoever serves the queue instead; the device `interruptsDirectly`.
    package func interrupt(_ index: Int) -> Int32? { worker.interrupt(index) }

    /// Calls the device's `process` with the queue once more, in the next turn at the latest.
    package func resume(_ queue: Virtqueue) { worker.kick(queue.index) }

    /// Tells the driver that the configuration has changed.
    package func configChanged() { worker.configChanged() }

    /// Stops the device until the driver resets it (`DEVICE_NEEDS_RESET`), and says why in the log.
    package func fail(_ reason: String) { worker.fail(reason) }
}
