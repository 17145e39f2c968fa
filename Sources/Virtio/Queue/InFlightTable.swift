import Host

/// Which heads the device holds, in which order it took them, and how much it may write to each chain.
///
/// A head that is offered twice would make two requests own the same buffers, and the first completion free what the
/// second still uses. Only the memory behind the table changes, so the queue that owns it can hold it as a constant.
struct InFlightTable: ~Copyable {
    private let storage: IOBuffer
    private let entries: HostSlice
    private let size: UInt16

    /// One head: bits 0 to 31 are the bytes that the device may write, 32 to 61 count the chains taken before it.
    private enum Entry {
        static let orderShift = UInt64(32)
        static let orderMask = UInt64(1) << 30 - 1
        /// The chain came back from a device before, and is no longer in the available ring.
        static let isHeldBack = UInt64(1) << 62
        /// The device holds the chain.
        static let isTaken = UInt64(1) << 63
    }

    /// A table for heads below `size`.
    init(size: UInt16) {
        storage = IOBuffer(capacity: 8 * Int(size))
        entries = storage.all
        self.size = size
    }

    @inline(__always)
    private func entry(_ head: UInt16) -> UInt64 { entries.load(at: 8 * Int(head)) ?? 0 }

    /// Whether the chain at `head` has not been given back to the driver.
    @inline(__always)
    func contains(_ head: UInt16) -> Bool { entry(head) != 0 }

    /// Notes that the device takes the chain at `head`.
    ///
    /// - Parameters:
    ///   - writable: how many bytes of it the device may write.
    ///   - order: the number of chains taken before; heads taken within 2^30 of one another keep their order.
    @inline(__always)
    func insert(_ head: UInt16, writable: UInt32, order: UInt32) {
        let kept = entry(head) & Entry.isHeldBack
        let order = (UInt64(order) & Entry.orderMask) << Entry.orderShift
        entries.store(Entry.isTaken | kept | order | UInt64(writable), at: 8 * Int(head))
    }

    /// Notes that the device gives `head` back; nil if it did not hold it, else how much it may have written.
    @inline(__always)
    func remove(_ head: UInt16) -> UInt32? {
        let entry = entry(head)
        guard entry & Entry.isTaken != 0 else { return nil }
        entries.store(UInt64(0), at: 8 * Int(head))
        return UInt32(truncatingIfNeeded: entry)
    }

    /// Notes that the chain at `head` is held back for the next device.
    func holdBack(_ head: UInt16) {
        entries.store(Entry.isHeldBack, at: 8 * Int(head))
    }

    /// Notes that the chain at `head` is in the available ring again.
    func forget(_ head: UInt16) {
        entries.store(UInt64(0), at: 8 * Int(head))
    }

    /// Whether the device took the chain at `head` as the last one, from the available ring.
    ///
    /// - Parameter count: the number of chains taken so far.
    func isLast(_ head: UInt16, of count: UInt32) -> Bool {
        let entry = entry(head)
        return entry & Entry.isHeldBack == 0
            && entry >> Entry.orderShift & Entry.orderMask == UInt64(count &- 1) & Entry.orderMask
    }

    /// The heads that the device holds, the first that it took first.
    ///
    /// - Parameter count: the number of chains taken so far.
    func taken(of count: UInt32) -> [UInt16] {
        var found: [(age: UInt64, head: UInt16)] = []
        for head in 0..<size {
            let entry = entry(head)
            guard entry & Entry.isTaken != 0 else { continue }
            let age = (UInt64(count) &- entry >> Entry.orderShift) & Entry.orderMask
            found.append((age, head))
        }
        return found.sorted { $0.age > $1.age }.map(\.head)
    }
}
