import Host

/// Which heads the device holds, and how much it may write to each chain.
///
/// A head that is offered twice would make two requests own the same buffers, and the first completion free what the
/// second still uses. Only the memory behind the table changes, so the queue that owns it can hold it as a constant.
struct InFlightTable: ~Copyable {
    private let storage: IOBuffer
    private let entries: HostSlice

    private static let taken = UInt64(1) << 32

    /// A table for heads below `size`.
    init(size: UInt16) {
        storage = IOBuffer(capacity: 8 * Int(size))
        entries = storage.all
    }

    /// Whether the device holds the chain at `head`.
    @inline(__always)
    func contains(_ head: UInt16) -> Bool {
        (entries.load(at: 8 * Int(head), as: UInt64.self) ?? 0) != 0
    }

    /// Notes that the device holds the chain at `head`, with `writable` bytes for it to write.
    @inline(__always)
    func insert(_ head: UInt16, writable: UInt32) {
        entries.store(Self.taken | UInt64(writable), at: 8 * Int(head))
    }

    /// Notes that the device gives `head` back; nil if it did not hold it, else how much it may have written.
    @inline(__always)
    func remove(_ head: UInt16) -> UInt32? {
        guard let entry: UInt64 = entries.load(at: 8 * Int(head)), entry != 0 else { return nil }
        entries.store(UInt64(0), at: 8 * Int(head))
        return UInt32(truncatingIfNeeded: entry)
    }
}
