package import Backends
import EventLoop

/// A socket device (virtio 1.2 section 5.10) whose packets the kernel's vhost-vsock moves.
///
/// The host's programs reach the guest by its address with `AF_VSOCK` sockets. The event queue stays here.
package final class VhostVsockDevice: VirtioDevice {
    private let data: VhostQueues
    private var reactor: Reactor?

    /// `VIRTIO_VSOCK_F_SEQPACKET`
    private static let sequencedPackets = Features(bit: 1)
    /// The queues that the kernel serves: received packets, then sent ones.
    private static let servedQueues = 0..<2
    private static let queueSize: UInt16 = 256

    /// - Parameter cid: the guest's address, which the kernel has accepted.
    package init(id: String, cid: UInt32, _ vhost: KernelVhost) {
        data = VhostQueues(vhost, queues: Self.servedQueues)
        var config = ConfigSpace(size: 8)
        config.set(UInt64(cid), at: 0)
        super.init(
            id: id, type: .socket,
            features: Features.splitRing.union(Self.sequencedPackets)
                .intersection(Features(rawValue: vhost.features)),
            queueSizes: [Self.queueSize, Self.queueSize, Self.queueSize], config: config)
    }

    package override var interruptsDirectly: Bool { true }

    package override var isIdle: Bool { data.isAtRest }

    package override func servesQueue(_ index: Int) -> Bool { !Self.servedQueues.contains(index) }

    package override func activate(_ context: DeviceContext) {
        reactor = context.reactor
        data.start(context)
        data.resume()
    }

    package override func pause() { data.stop() }

    package override func resume() { data.resume() }

    package override func queueStopped(_ index: Int) { data.halt() }

    package override func cancelRequests() { data.stop() }

    package override func reset() { data.forget() }

    package override func retired() {
        if let reactor { data.retire(reactor) }
    }
}
