import EventLoop
import Host

/// A disk without a medium: it has no sectors, and every request fails. In a slot without a disk it keeps the driver
/// until one is plugged in.
package final class NullBlockDevice: VirtioDevice {
    /// What a driver finds: as much as any disk can do.
    private static let features: Features = [.splitRing, .blockSegmentMaximum, .blockFlush, .blockMultiqueue]

    /// - Parameter minimumQueues: what the driver has set up with the disk before.
    package init(id: String, minimumQueues: QueueLimits = .none) {
        let (count, size) = (max(minimumQueues.count, 1), max(minimumQueues.size, 256))
        var config = ConfigSpace(size: 60)
        config.set(UInt32(size) &- 2, at: 12)
        config.set(UInt16(clamping: count), at: 34)
        super.init(
            id: id, type: .block, features: Self.features,
            queueSizes: [UInt16](repeating: size, count: count), config: config)
    }

    override package func process(_ queue: Virtqueue) {
        while let chain = queue.next() {
            let status = chain.writable.takeLastByte()
            status?.store(BlockStatus.ioError.rawValue, at: 0)
            queue.complete(chain.head, written: status == nil ? 0 : 1)
        }
    }
}
