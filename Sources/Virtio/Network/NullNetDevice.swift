import EventLoop
import Host

/// A network device without a tap: its link is down, it drops sent frames and receives none.
///
/// It keeps the driver of an empty hot-plug slot, until a NIC replaces it.
package final class NullNetDevice: VirtioDevice {
    /// The features that every tap supports. Filters are not among them, since the next device would not know them.
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
        // Receive buffers stay in the queue. Commands fail, which a driver of an earlier device may send.
        guard queue.index & 1 == 1 || queue.index == controlQueue else { return }
        while let chain = queue.next() {
            let isAnswered = chain.writable.put(UInt8(1))
            queue.complete(chain.head, written: isAnswered ? 1 : 0)
        }
    }
}
