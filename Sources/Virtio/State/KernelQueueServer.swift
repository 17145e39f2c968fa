import Backends
import EventLoop
import Host

/// Has the kernel serve queues, by one file of its vhost.
final class KernelQueueServer: QueueServer {
    private let vhost: KernelVhost
    private var queues = 0..<0
    private var context: DeviceContext?
    private var reactor: Reactor?
    private var isResumed = false
    private var isOpen = true

    init(_ vhost: KernelVhost) {
        self.vhost = vhost
    }

    var isAtRest: Bool { !vhost.isRunning }

    func start(_ queues: Range<Int>, _ context: DeviceContext) {
        let rings = queues.compactMap(context.vring)
        guard rings.count == queues.count else {
            return context.fail("the driver started it without its queues")
        }
        do {
            try vhost.setUp(rings, features: context.features.rawValue, memory: context.memory)
        } catch {
            return context.fail("the kernel's vhost cannot serve it: \(error)")
        }
        self.queues = queues
        self.context = context
        reactor = context.reactor
        vhost.errors.listen(context.reactor) { [weak self] problem in self?.context?.fail(problem) }
    }

    func resume() {
        isResumed = true
        follow()
    }

    func stop() {
        isResumed = false
        follow()
    }

    /// Lets requests be served while the device runs, or not: the link of a network card.
    func setOpen(_ isOpen: Bool) {
        self.isOpen = isOpen
        follow()
    }

    private func follow() {
        guard let context else { return }
        guard isResumed, isOpen else {
            for (index, position) in zip(queues, vhost.stop()) { context.queue(index)?.goOn(at: position) }
            return
        }
        do {
            try vhost.resume(context.reactor)
        } catch {
            context.fail("the kernel's vhost does not serve it: \(error)")
        }
    }

    func forget() {
        context = nil
        vhost.forget()
    }

    /// Ends for good.
    func close() { reactor?.retire(vhost.errors) }
}
