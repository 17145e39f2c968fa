import EventLoop
import Host

/// A block device without a medium: it has no sectors, and every request fails.
///
/// It keeps the driver of an empty hot-plug slot, until a disk replaces it.
package final class NullBlockDevice: VirtioDevice {
    /// The features that every disk has.
    private static let features: Features = [.splitRing, .blockSegmentMaximum, .blockFlush, .blockMultiqueue]

    /// - Parameter minimumQueues: what the driver has set up with the disk before.
    package init(id: String, minimumQueues: QueueLimits = .none) {
        let (count, size) = (max(minimumQueues.count, 1), max(minimumQueues.size, 256))
        var config = ConfigSpace(size: BlockConfig.size)
        config.set(UInt32(size) &- 2, at: BlockConfig.segmentMaximum)
        config.set(UInt16(clamping: count), at: BlockConfig.queueCount)
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
