import Host
import Memory
import Virtio

extension VirtioDriver {
    /// What came of a request.
    package struct Reply {
        /// How many bytes the device says it wrote.
        package let written: UInt32
        /// What the writable buffers hold, one after the other.
        package let bytes: [UInt8]
    }

    /// Sends one request on a queue that has none under way, and waits until the device has used it.
    ///
    /// - Parameters:
    ///   - readable: the contents of the buffers that the device reads.
    ///   - writable: the sizes of those it writes; they hold 0xee before.
    ///   - isIndirect: puts the chain into a table of its own.
    package func exchange(
        on queue: DriverQueue, readable: [[UInt8]] = [], writable: [Int] = [], isIndirect: Bool = false
    ) throws -> Reply {
        let mark = nextFree
        defer { nextFree = mark }
        var buffers: [DriverQueue.Buffer] = []
        for bytes in readable {
            let address = try allocate(bytes.count)
            try memory.write(bytes, at: address)
            buffers.append(DriverQueue.Buffer(address, UInt32(bytes.count)))
        }
        let firstWritable = buffers.count
        for count in writable {
            let address = try allocate(count)
            try memory.slice(at: address, count: count).fill(0xee)
            buffers.append(DriverQueue.Buffer(address, UInt32(count), isWritable: true))
        }
        if isIndirect {
            let table = try allocate(16 * buffers.count)
            queue.setChain(buffers, in: try memory.slice(at: table, count: 16 * buffers.count))
            queue.setDescriptor(
                0, address: table.rawValue, count: UInt32(16 * buffers.count), flags: DriverQueue.Flag.indirect)
        } else {
            queue.setChain(buffers)
        }
        queue.submit(0)
        try wait { queue.usedCount > 0 || status.contains(.deviceNeedsReset) }
        guard let used = queue.takeUsed() else { throw Failure.stopped }
        let bytes = try buffers[firstWritable...].flatMap {
            try memory.read(count: Int($0.count), at: $0.address)
        }
        return Reply(written: used.written, bytes: bytes)
    }
}
