package import Host
package import Memory
import Synchronization
package import Virtio

/// The driver's side of a split virtqueue. It can write any descriptor and any index, sound or not.
///
/// It touches nothing but guest memory and an eventfd, and may run on another thread than the device.
package final class DriverQueue {
    /// Flags of a descriptor (`VIRTQ_DESC_F_*`).
    package enum Flag {
        package static let next: UInt16 = 1
        package static let write: UInt16 = 2
        package static let indirect: UInt16 = 4
    }

    /// One buffer of a request.
    package struct Buffer {
        package var address: GuestAddress
        package var count: UInt32
        package var isWritable: Bool

        package init(_ address: GuestAddress, _ count: UInt32, isWritable: Bool = false) {
            self.address = address
            self.count = count
            self.isWritable = isWritable
        }
    }

    /// What the device gave back.
    package struct Used: Equatable {
        package let head: UInt32
        package let written: UInt32

        package init(head: UInt32, written: UInt32) {
            self.head = head
            self.written = written
        }
    }

    package let index: Int
    package let layout: QueueLayout
    package let descriptors: HostSlice
    package let available: HostSlice
    package let used: HostSlice
    private let doorbell: FileDescriptor
    private let usesEventIndex: Bool
    private static let one: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0]
    private var offered: UInt16 = 0
    private var announced: UInt16 = 0
    private var seen: UInt16 = 0

    /// - Parameter doorbell: the eventfd of the queue's notifications; this side uses a duplicate of it.
    package init(
        _ index: Int, _ layout: QueueLayout, features: Features, memory: GuestMemory, doorbell: Int32
    ) throws {
        self.index = index
        self.layout = layout
        self.doorbell = try FileDescriptor(duplicating: doorbell)
        usesEventIndex = features.contains(.ringEventIndex)
        descriptors = try memory.slice(
            at: layout.descriptorTable, count: QueueLayout.Part.descriptorTable.byteCount(layout.size))
        available = try memory.slice(
            at: layout.availableRing, count: QueueLayout.Part.availableRing.byteCount(layout.size))
        used = try memory.slice(at: layout.usedRing, count: QueueLayout.Part.usedRing.byteCount(layout.size))
    }

    // MARK: Descriptors

    /// Writes one descriptor of `table`, or of the queue's own.
    package func setDescriptor(
        _ index: Int, address: UInt64, count: UInt32, flags: UInt16 = 0, next: UInt16 = 0, in table: HostSlice? = nil
    ) {
        let table = table ?? descriptors
        table.store(address, at: 16 * index)
        table.store(count, at: 16 * index + 8)
        table.store(flags, at: 16 * index + 12)
        table.store(next, at: 16 * index + 14)
    }

    /// Writes `buffers` as a chain of consecutive descriptors from `head` on, in the queue's table or in another one.
    package func setChain(_ buffers: [Buffer], head: UInt16 = 0, in table: HostSlice? = nil) {
        for (position, buffer) in buffers.enumerated() {
            let isLast = position == buffers.count - 1
            let index = Int(head) + position
            setDescriptor(
                index, address: buffer.address.rawValue, count: buffer.count,
                flags: (buffer.isWritable ? Flag.write : 0) | (isLast ? 0 : Flag.next),
                next: isLast ? 0 : UInt16(truncatingIfNeeded: index + 1), in: table)
        }
    }

    // MARK: The available ring

    /// Puts `head` into the available ring; the device sees it after `publish`.
    package func offer(_ head: UInt16) {
        available.store(head, at: 4 + 2 * Int(offered % layout.size))
        offered &+= 1
    }

    /// Shows the device all that was offered.
    package func publish() {
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        available.store(offered, at: 2)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// Shows the device another available index than the true one.
    package func lie(availableIndex: UInt16) {
        available.store(availableIndex, at: 2)
    }

    /// Rings the doorbell, wanted or not.
    package func kick() {
        announced = offered
        ring()
    }

    private func ring() {
        try? doorbell.write(Self.one)
    }

    /// Whether the device wants to hear of what was published since the last time that this was asked.
    package func wantsKick() -> Bool {
        let old = announced
        announced = offered
        guard usesEventIndex else { return (used.load(at: 0) ?? UInt16(0)) & 1 == 0 }
        return offered &- (used.load(at: 4 + 8 * Int(layout.size)) ?? 0) &- 1 < offered &- old
    }

    /// Rings the doorbell if the device wants it.
    ///
    /// - Returns: whether it did.
    @discardableResult
    package func kickIfWanted() -> Bool {
        guard wantsKick() else { return false }
        ring()
        return true
    }

    /// Offers one chain, and rings the doorbell if the device wants it.
    package func submit(_ head: UInt16) {
        offer(head)
        publish()
        kickIfWanted()
    }

    /// Sets the flag that asks for no interrupts (`VIRTQ_AVAIL_F_NO_INTERRUPT`).
    package func suppressInterrupts(_ isSuppressed: Bool) {
        available.store(UInt16(isSuppressed ? 1 : 0), at: 0)
    }

    /// Asks for an interrupt once the used index passes `index` (`used_event`).
    package func askForInterrupt(after index: UInt16) {
        available.store(index, at: 4 + 2 * Int(layout.size))
    }

    // MARK: The used ring

    /// The used index, as the device wrote it.
    package var usedIndex: UInt16 { used.load(at: 2) ?? 0 }

    /// How many used entries wait to be taken.
    package var usedCount: Int { Int(usedIndex &- seen) }

    /// Takes the oldest used entry, if there is one.
    package func takeUsed() -> Used? {
        guard usedIndex != seen else { return nil }
        atomicMemoryFence(ordering: .acquiring)
        guard let entry: UInt64 = used.load(at: 4 + 8 * Int(seen % layout.size)) else { return nil }
        seen &+= 1
        return Used(head: UInt32(truncatingIfNeeded: entry), written: UInt32(truncatingIfNeeded: entry >> 32))
    }
}

extension FileDescriptor {
    /// A second descriptor of a file that somebody else owns.
    package init(duplicating rawValue: Int32) throws {
        let borrowed = FileDescriptor(owning: rawValue)
        let duplicate = Result { () throws(Errno) in try borrowed.duplicate().release() }
        _ = borrowed.release()
        self.init(owning: try duplicate.get())
    }
}
