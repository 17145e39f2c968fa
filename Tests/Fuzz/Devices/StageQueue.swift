import Host
import Memory
import TestSupport
import Virtio

/// One queue as a driver keeps books of it.
final class StageQueue {
    let queue: DriverQueue
    private let size: Int
    /// How many descriptors the chain at each head has, and how many bytes the device may write to it.
    private var chains: [Int: (descriptors: Int, room: UInt32, start: GuestAddress?)] = [:]
    /// Where the last requests begin that have come back with something written.
    private(set) var lately: [GuestAddress] = []
    private var isTaken: [Bool]
    /// Where the next search for descriptors begins.
    private var next = 0

    init(_ queue: DriverQueue) {
        self.queue = queue
        size = Int(queue.layout.size)
        isTaken = [Bool](repeating: false, count: size)
    }

    /// What only the driver writes.
    var driverParts: [HostSlice] { [queue.descriptors, queue.available] }

    /// A head with `count` descriptors behind it that no chain uses; nil if there is none.
    func free(_ count: Int) -> Int? {
        guard count <= size else { return nil }
        for start in [next, 0] where start + count <= size && !isTaken[start..<start + count].contains(true) {
            return start
        }
        return (0...size - count).first { !isTaken[$0..<$0 + count].contains(true) }
    }

    /// Offers a chain, or does nothing if there is no room.
    ///
    /// - Parameters:
    ///   - table: for an indirect chain.
    ///   - again: offers the head twice.
    func offer(_ buffers: [DriverQueue.Buffer], table: HostSlice?, again: Bool, _ input: inout FuzzInput) {
        let count = table == nil ? buffers.count : 1
        guard buffers.count <= size, let head = free(count) else { return }
        if let table {
            queue.setChain(buffers, in: table)
            queue.setDescriptor(
                head, address: address(of: table), count: UInt32(table.count), flags: DriverQueue.Flag.indirect)
        } else {
            queue.setChain(buffers, head: UInt16(head))
        }
        for index in head..<head + count { isTaken[index] = true }
        let room = buffers.filter(\.isWritable).reduce(UInt32(0)) { $0 &+ $1.count }
        chains[head] = (count, room, buffers.first { $0.isWritable }?.address)
        next = head + count
        queue.offer(UInt16(head))
        if again { queue.offer(UInt16(head)) }
        queue.publish()
    }

    /// The guest's memory begins with its first region, in which tables lie.
    private func address(of table: HostSlice) -> UInt64 {
        queue.layout.descriptorTable.rawValue &+ UInt64(table.address &- queue.descriptors.address)
    }

    /// Takes what was used; answers what is wrong with it.
    func collect() -> String? {
        var problem: String?
        var left = size
        while let used = queue.takeUsed(), left >= 0 {
            left -= 1
            guard let chain = chains.removeValue(forKey: Int(used.head)) else {
                problem = "head \(used.head) came back, which was not offered"
                continue
            }
            for index in Int(used.head)..<Int(used.head) + chain.descriptors { isTaken[index] = false }
            if used.written > 0, let start = chain.start { lately = lately.suffix(7) + [start] }
            if used.written > chain.room { problem = "\(used.written) bytes were written into room for \(chain.room)" }
        }
        return left < 0 ? "more came back than was offered" : problem
    }
}
