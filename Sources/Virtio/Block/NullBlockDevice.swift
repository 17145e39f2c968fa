import EventLoop
import Host

/// A disk without a medium: it has no sectors, and every request fails. Where a disk may be plugged in later, it keeps
/// the driver until then; the disk takes it over.
package final class NullBlockDevice: VirtioDevice {
    /// What a driver finds: as much as any disk can do.
    private static let features: Features = [.splitRing, .blockSegmentMaximum, .blockFlush, .blockMultiqueue]

    /// - Parameter shape: at least what the driver has set up, if it has met another disk here.
    package init(id: String, shape: QueueShape = QueueShape(count: 1, size: 256)) {
        var config = ConfigSpace(size: 60)
        config.set(UInt32(max(shape.size, 4)) &- 2, at: 12)
        config.set(UInt16(clamping: shape.count), at: 34)
        super.init(
            id: id, type: .block, features: Self.features,
            queueSizes: [UInt16](repeating: max(shape.size, 4), count: max(shape.count, 1)), config: config)
    }

    override package func process(_ queue: Virtqueue) {
        while let chain = queue.next() {
            let status = chain.writable.takeLastByte()
            status?.store(BlockStatus.ioError.rawValue, at: 0)
            queue.complete(chain.head, written: status == nil ? 0 : 1)
        }
    }
}
