package import Backends
import EventLoop
import Host

/// A network card whose frames the kernel's vhost-net moves between the driver and the tap. Its control queue stays
/// here; filters have no effect on what the kernel moves, which the specification allows.
package final class VhostNetDevice: NetDevice {
    private let servers: [KernelQueueServer]
    private var attachedPairs = 1

    /// What the kernel has to know of, since it is about the queues that it serves.
    private static let ringFeatures = Features.splitRing.union(.netMergeableBuffers)

    /// - Parameters:
    ///   - id: what the log calls the card.
    ///   - tap: used by this device alone.
    ///   - vhosts: one for each queue of the tap, which it serves.
    package init(id: String, tap: Tap, vhosts: [KernelVhost], options: Options) {
        var features = Self.features(tap)
        for vhost in vhosts { features.subtract(Self.ringFeatures.subtracting(Features(rawValue: vhost.features))) }
        servers = vhosts.map(KernelQueueServer.init)
        super.init(id: id, tap: tap, options: options, features: features)
    }

    /// The kernel does not tell of the frames that it moves.
    package override var counters: [DeviceCounter] { [] }

    override func startData(_ context: DeviceContext) {
        let pairs = context.features.contains(.netMultiqueue) ? servers.count : 1
        for (pair, server) in servers.prefix(pairs).enumerated() {
            context.offload(2 * pair..<2 * pair + 2, to: server)
        }
        openPairs()
    }

    override func openPairs() {
        for server in servers { server.setOpen(isLinkUp) }
    }

    override func setQueuePairs(_ count: Int) throws(Errno) {
        try super.setQueuePairs(count)
        while attachedPairs < count {
            try tap.setQueue(attachedPairs, isAttached: true)
            attachedPairs += 1
        }
        while attachedPairs > count {
            try tap.setQueue(attachedPairs - 1, isAttached: false)
            attachedPairs -= 1
        }
    }

    package override func retired() {
        super.retired()
        for server in servers { server.close() }
    }
}
