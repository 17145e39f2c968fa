package import Backends
import EventLoop
import Host
import Memory

/// A socket device (virtio 1.2 section 5.10) whose packets the kernel's vhost-vsock moves.
///
/// The host's programs reach the guest by its address with `AF_VSOCK` sockets. The event queue stays here.
package final class KernelVsock: VirtioDevice {
    private let vhost: KernelVhost
    private var context: DeviceContext?
    private var isHalted = false
    private var listensForErrors = false
    private let errorCount = IOBuffer(capacity: 8)

    /// `VIRTIO_VSOCK_F_SEQPACKET`
    private static let sequencedPackets = Features(bit: 1)
    /// The queues that the kernel serves: received packets, then sent ones.
    private static let servedQueues = 0..<2
    private static let queueSize: UInt16 = 256

    /// - Parameter cid: the guest's address, which the kernel has accepted.
    package init(id: String, cid: UInt32, _ vhost: KernelVhost) {
        self.vhost = vhost
        var config = ConfigSpace(size: 8)
        config.set(UInt64(cid), at: 0)
        super.init(
            id: id, type: .socket,
            features: Features.splitRing.union(Self.sequencedPackets)
                .intersection(Features(rawValue: vhost.features)),
            queueSizes: [Self.queueSize, Self.queueSize, Self.queueSize], config: config)
    }

    package override var interruptsDirectly: Bool { true }

    package override var isIdle: Bool { !vhost.isRunning }

    package override func servesQueue(_ index: Int) -> Bool { !Self.servedQueues.contains(index) }

    package override func activate(_ context: DeviceContext) {
        self.context = context
        isHalted = false
        let rings = Self.servedQueues.compactMap(context.vring)
        guard rings.count == Self.servedQueues.count else {
            return context.fail("the driver started it without its queues")
        }
        listenForErrors(context.reactor)
        do {
            try vhost.start(
                rings, features: context.features.rawValue, memory: context.memory, reactor: context.reactor)
        } catch {
            context.fail("the kernel's vhost cannot serve it: \(error)")
        }
    }

    private func listenForErrors(_ reactor: Reactor) {
        guard !listensForErrors else { return }
        let file = IOFile(descriptor: vhost.errorEvent)
        listensForErrors = reactor.submit(.read(file, errorCount.all, at: Operation.currentPosition), for: self)
    }

    package override func completed(tag: UInt32, result: Int32) {
        listensForErrors = false
        guard result > 0, let context else { return }
        listenForErrors(context.reactor)
        context.fail("the kernel's vhost found a broken queue")
    }

    package override func pause() { vhost.stop() }

    package override func resume() {
        guard let context, !isHalted else { return }
        do {
            try vhost.resume(context.reactor)
        } catch {
            context.fail("the kernel's vhost does not go on: \(error)")
        }
    }

    package override func queueStopped(_ index: Int) {
        isHalted = true
        vhost.stop()
    }

    package override func cancelRequests() { vhost.stop() }

    package override func reset() { context = nil }
}
