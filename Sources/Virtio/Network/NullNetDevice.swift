import EventLoop
import Host

/// A network card without a cable: its link is down, sent frames are dropped, and none arrives. In a slot without a
/// card it keeps the driver until one is plugged in.
package final class NullNetDevice: VirtioDevice {
    /// What a driver finds: what every tap can do. Filters are not among it, since the card that comes would not know
    /// what this one was told.
    private static let features: Features = [
        .splitRing, .netMAC, .netStatus, .netMergeableBuffers, .netChecksum, .netGuestChecksum, .netHostTSO4,
        .netHostTSO6, .netGuestTSO4, .netGuestTSO6, .netHostECN, .netGuestECN,
    ]

    private var controlQueue = 2

    /// - Parameters:
    ///   - mac: six bytes.
    ///   - minimumQueues: what the driver has set up with the card before.
    package init(id: String, mac: [UInt8], minimumQueues: QueueLimits = .none) {
        var config = ConfigSpace(size: NetworkConfig.size)
        config.set(bytes: mac, at: NetworkConfig.mac)
        config.set(UInt16(1), at: NetworkConfig.queuePairs)
        // A driver of several pairs goes on with all of them.
        let several: Features = minimumQueues.count > 3 ? [.netMultiqueue, .netControlQueue] : []
        super.init(
            id: id, type: .network, features: Self.features.union(several),
            queueSizes: [UInt16](repeating: max(minimumQueues.size, 256), count: max(minimumQueues.count, 3)),
            config: config)
    }

    override package func activate(_ context: DeviceContext) {
        controlQueue = context.features.contains(.netMultiqueue) ? queueSizes.count - 1 : 2
    }

    override package func process(_ queue: Virtqueue) {
        // Buffers to receive into stay with the driver. A command, of which another card's driver knows, fails.
        guard queue.index & 1 == 1 || queue.index == controlQueue else { return }
        while let chain = queue.next() {
            let isAnswered = chain.writable.put(UInt8(1))
            queue.complete(chain.head, written: isAnswered ? 1 : 0)
        }
    }
}
