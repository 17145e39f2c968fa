/// How many queues, and how large ones: what a device offers, or what a driver has set up.
package struct QueueLimits: Equatable, Sendable {
    /// The number of queues.
    package let count: Int
    /// The descriptors of the largest queue.
    package let size: UInt16

    /// No queue.
    package static let none = QueueLimits(count: 0, size: 0)

    package init(count: Int, size: UInt16) {
        self.count = count
        self.size = size
    }

    /// Whether a device with these queues serves a driver that has set up the other ones.
    package func holds(_ other: QueueLimits) -> Bool {
        count >= other.count && size >= other.size
    }
}

extension QueueLimits: CustomStringConvertible {
    package var description: String { "\(count) queues of up to \(size) descriptors" }
}
