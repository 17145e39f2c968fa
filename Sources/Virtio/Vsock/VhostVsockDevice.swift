package import Backends
import EventLoop

/// A socket device (virtio 1.2 section 5.10) whose packets the kernel's vhost-vsock moves.
///
/// The host's programs reach the guest by its address with `AF_VSOCK` sockets. The event queue stays here.
package final class VhostVsockDevice: VirtioDevice {
    private let server: KernelQueueServer

    /// `VIRTIO_VSOCK_F_SEQPACKET`
    private static let sequencedPackets = Features(bit: 1)
    /// The queues that the kernel serves: received packets, then sent ones.
    private static let servedQueues = 0..<2
    private static let queueSize: UInt16 = 256

    /// - Parameter cid: the guest's address, which the kernel has accepted.
    package init(id: String, cid: UInt32, _ vhost: KernelVhost) {
        server = KernelQueueServer(vhost)
        var config = ConfigSpace(size: 8)
        config.set(UInt64(cid), at: 0)
        super.init(
            id: id, type: .socket,
            features: Features.splitRing.union(Self.sequencedPackets)
                .intersection(Features(rawValue: vhost.features)),
            queueSizes: [Self.queueSize, Self.queueSize, Self.queueSize], config: config)
    }

    package override func activate(_ context: DeviceContext) { context.offload(Self.servedQueues, to: server) }

    package override func retired() { server.close() }
}
