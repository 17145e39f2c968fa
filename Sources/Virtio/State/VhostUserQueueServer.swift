import Backends
import Memory

/// Has a process of the host serve queues, such as virtiofsd.
final class VhostUserQueueServer: QueueServer {
    private let backend: VhostUserClient
    private var queues = 0..<0
    private var rings: [Vring] = []
    private var context: DeviceContext?
    private var isStarted = false

    init(_ backend: VhostUserClient) {
        self.backend = backend
        backend.onRest = { [weak self] in self?.cameToRest() }
    }

    var isAtRest: Bool { backend.isAtRest }

    func start(_ queues: Range<Int>, _ context: DeviceContext) {
        rings = queues.compactMap(context.vring)
        guard rings.count == queues.count else {
            return context.fail("the driver started it without its queues")
        }
        guard context.memory.file != nil else {
            return context.fail("the guest's memory cannot be shared with the process that serves it")
        }
        self.queues = queues
        self.context = context
        isStarted = false
    }

    func resume() {
        guard let context else { return }
        if isStarted { return backend.resume() }
        isStarted = true
        backend.start(rings, features: context.features.rawValue, memory: context.memory)
    }

    func stop() { backend.stop() }

    /// What has not been answered is taken once more, by the next server of the queues.
    private func cameToRest() {
        guard let context else { return }
        for (index, ring) in zip(queues, rings) { context.queue(index)?.goOn(at: ring.usedIndex) }
        context.serverIsAtRest()
    }

    func forget() {
        context = nil
        rings = []
        backend.forget()
    }

    /// Leaves the process for good.
    func close() { backend.close() }
}
