import Backends
import EventLoop
import Host

/// The queues of a device that the kernel serves by one file of its vhost.
final class VhostQueues {
    private let vhost: KernelVhost
    private let queues: Range<Int>
    private var context: DeviceContext?
    /// The device has stopped until the driver resets it.
    private var isHalted = false

    /// - Parameter queues: the device's queues that are the file's rings from 0 on.
    init(_ vhost: KernelVhost, queues: Range<Int>) {
        self.vhost = vhost
        self.queues = queues
    }

    /// Whether the kernel leaves guest memory alone.
    var isAtRest: Bool { !vhost.isRunning }

    /// Takes over a driver's queues, to serve them from `resume` on; fails the device if that cannot be.
    func start(_ context: DeviceContext) {
        let rings = queues.compactMap(context.vring)
        guard rings.count == queues.count else {
            return context.fail("the driver started it without its queues")
        }
        do {
            try vhost.setUp(rings, features: context.features.rawValue, memory: context.memory)
        } catch {
            return context.fail("the kernel's vhost cannot serve it: \(error)")
        }
        self.context = context
        isHalted = false
        vhost.errors.listen(context.reactor) { [weak self] problem in self?.context?.fail(problem) }
    }

    /// Serves the queues, unless they have no driver or the device has stopped.
    func resume() {
        guard let context, !isHalted else { return }
        do {
            try vhost.resume(context.reactor)
        } catch {
            context.fail("the kernel's vhost does not serve it: \(error)")
        }
    }

    /// Takes no more requests, and leaves the queues as somebody else can go on with them.
    func stop() {
        for (index, base) in zip(queues, vhost.stop()) { context?.queue(index)?.goOn(at: base) }
    }

    /// Stops until the next start.
    func halt() {
        isHalted = true
        stop()
    }

    /// Forgets the driver, when at rest.
    func forget() {
        context = nil
        vhost.forget()
    }

    /// Ends for good.
    func retire(_ reactor: Reactor) { reactor.retire(vhost.errors) }
}
