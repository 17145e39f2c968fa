package import Memory

/// What is wrong with a virtqueue: the driver broke the rules of virtio 1.2 section 2.7, and the device stops.
package enum QueueError: Error, Equatable {
    /// The queue size is zero, no power of two, or above the device's maximum.
    case size(UInt32, maximum: UInt16)
    /// A part of the queue does not lie in guest memory, or not all in one region.
    case layout(QueueLayout.Part, GuestAddress)
    /// A part of the queue is not aligned as the specification wants it.
    case alignment(QueueLayout.Part, GuestAddress)
    /// The available index is ahead by more than the queue holds, or has gone backwards.
    case availableIndex(UInt16, expected: UInt16)
    /// A head, or the next descriptor of a chain, is outside its table.
    case descriptorIndex(UInt16)
    /// The head belongs to a chain that the device has not given back yet.
    case headInFlight(UInt16)
    /// The chain has more descriptors than the queue: most likely a loop.
    case chainTooLong(head: UInt16)
    /// The buffers of the chain hold 4 GiB or more.
    case tooManyBytes(head: UInt16)
    /// A buffer for the device to read comes after one for it to write.
    case readableAfterWritable(head: UInt16)
    /// A buffer does not lie in guest memory, or not all in one region.
    case buffer(GuestAddress, count: UInt32)
    /// An indirect descriptor, although the feature was not negotiated.
    case indirectNotNegotiated
    /// An indirect descriptor inside an indirect table, or one with a next descriptor.
    case indirectNested
    /// The indirect table is empty, larger than the queue, or no multiple of 16 bytes.
    case indirectSize(UInt32)
}

extension QueueError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .size(let size, let maximum): "queue size \(size) is no power of two from 1 to \(maximum)"
        case .layout(let part, let address): "the \(part.rawValue) at \(address) is not in guest memory"
        case .alignment(let part, let address):
            "the \(part.rawValue) at \(address) is not aligned to \(part.alignment) bytes"
        case .availableIndex(let index, let expected):
            "available index \(index) is not within the queue's size after \(expected)"
        case .descriptorIndex(let index): "descriptor \(index) is outside its table"
        case .headInFlight(let head): "descriptor \(head) was offered again before it was used"
        case .chainTooLong(let head): "the chain at descriptor \(head) is longer than the queue"
        case .tooManyBytes(let head): "the chain at descriptor \(head) holds 4 GiB or more"
        case .readableAfterWritable(let head):
            "the chain at descriptor \(head) has a readable buffer after a writable one"
        case .buffer(let address, let count): "the buffer of \(count) bytes at \(address) is not in guest memory"
        case .indirectNotNegotiated: "an indirect descriptor, but indirect descriptors were not negotiated"
        case .indirectNested: "an indirect descriptor that has a next one or is inside an indirect table"
        case .indirectSize(let size): "an indirect table of \(size) bytes, not 16 bytes for each of 1 to queue size"
        }
    }
}
