package import Backends
import EventLoop
import Host

/// A network card whose frames the kernel's vhost-net moves between the driver and the tap. Its control queue stays
/// here; filters have no effect on what the kernel moves, which the specification allows.
package final class VhostNetDevice: NetDevice {
    private let data: [VhostQueues]
    private var reactor: Reactor?
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
        data = vhosts.enumerated().map { VhostQueues($1, queues: 2 * $0..<2 * $0 + 2) }
        super.init(id: id, tap: tap, options: options, features: features)
    }

    package override var interruptsDirectly: Bool { true }

    package override var isIdle: Bool { data.allSatisfy(\.isAtRest) }

    /// Nobody here sees the frames.
    package override var tally: [DeviceCounter] { [] }

    package override func servesQueue(_ index: Int) -> Bool {
        context.map { index == controlQueue($0.features) } ?? false
    }

    override func startData(_ context: DeviceContext) {
        reactor = context.reactor
        let pairs = context.features.contains(.netMultiqueue) ? data.count : 1
        for queues in data.prefix(pairs) { queues.start(context) }
        openPairs()
    }

    override func stopData() {
        for queues in data { queues.forget() }
    }

    override func openPairs() {
        for queues in data {
            if isLinkUp { queues.resume() } else { queues.stop() }
        }
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

    package override func pause() {
        for queues in data { queues.stop() }
    }

    package override func resume() { openPairs() }

    package override func queueStopped(_ index: Int) {
        for queues in data { queues.halt() }
    }

    package override func cancelRequests() {
        for queues in data { queues.stop() }
    }

    package override func retired() {
        super.retired()
        if let reactor { for queues in data { queues.retire(reactor) } }
    }
}
