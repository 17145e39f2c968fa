package import Backends
package import EventLoop
package import Memory

/// What an activated device works with, from `activate` until `reset`.
public final class DeviceContext {
    package let memory: GuestMemory
    package let reactor: Reactor
    /// What the driver chose and the device has.
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

    /// Calls the device's `process` with the queue once more, in the next turn at the latest.
    package func resume(_ queue: Virtqueue) { worker.kick(queue.index) }

    /// Tells the driver that the configuration has changed.
    package func configChanged() { worker.configChanged() }

    /// Stops the device until the driver resets it (`DEVICE_NEEDS_RESET`), and says why in the log.
    package func fail(_ reason: String) { worker.fail(reason) }

    // MARK: Queues that others serve

    /// Leaves queues to a server until the driver resets the device; call it in `activate`.
    package func offload(_ queues: Range<Int>, to server: any QueueServer) {
        worker.offload(queues, to: server)
        server.start(queues, self)
    }

    /// A server that was stopped leaves guest memory alone now.
    package func serverIsAtRest() { worker.scheduleTurn() }

    /// The eventfd that the driver's notifications of a queue arrive at, for its server.
    package func doorbell(_ index: Int) -> Int32? { worker.doorbells.descriptor(index) }

    /// The eventfd of a queue's interrupt, for its server.
    package func interrupt(_ index: Int) -> Int32 { worker.interrupt.descriptor(ofQueue: index) }

    /// A queue as its server needs to know it.
    ///
    /// - Returns: nil if the driver did not set it up, or for chains held back that the available ring no longer names.
    package func vring(_ index: Int) -> Vring? {
        guard let queue = queue(index), let kick = doorbell(index), let position = queue.leave(),
            let descriptors = try? queue.layout.resolve(.descriptorTable, in: memory),
            let available = try? queue.layout.resolve(.availableRing, in: memory),
            let used = try? queue.layout.resolve(.usedRing, in: memory)
        else { return nil }
        return Vring(
            size: queue.size, base: position, descriptors: descriptors, available: available, used: used,
            kick: kick, call: interrupt(index))
    }
}
