import EventLoop
import Host

/// A network card without a cable: its link is down, what is sent goes nowhere, and nothing arrives. Where a card may be
/// plugged in later, it keeps the driver until then; the card takes it over.
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
    ///   - shape: at least what the driver has set up, if it has met another card here.
    package init(id: String, mac: [UInt8], shape: QueueShape = QueueShape(count: 3, size: 256)) {
        var config = ConfigSpace(size: NetworkConfig.size)
        config.set(bytes: mac, at: NetworkConfig.mac)
        config.set(UInt16(1), at: NetworkConfig.queuePairs)
        // So that a driver of another card's is known by what it uses.
        let several: Features = shape.count > 3 ? [.netMultiqueue, .netControlQueue] : []
        super.init(
            id: id, type: .network, features: Self.features.union(several),
            queueSizes: [UInt16](repeating: max(shape.size, 64), count: max(shape.count, 3)), config: config)
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
