/// A vCPU's end of the bus: finds what answers an access, and answers it on the vCPU's own thread if that can be done.
///
/// It belongs to one thread. An access is decoded once, without a lock; what only the device can answer goes through
/// the vCPU's mailbox to the reactor that owns the device.
package struct BusMaster: ~Copyable {
    private var reader: SystemBus.Reader
    private let mailbox: ExitMailbox

    /// The end of the vCPU of this index; nil if the bus has no such vCPU.
    package init?(_ bus: SystemBus, vcpu index: Int) {
        guard bus.mailboxes.indices.contains(index) else { return nil }
        mailbox = bus.mailboxes[index]
        reader = SystemBus.Reader(bus)
    }

    /// Reads `size` (1, 2, 4 or 8) bytes at `address`; only as many of the answer count.
    ///
    /// An access that belongs to no range, or crosses the end of one, reads all ones.
    package mutating func read(_ space: AddressSpace, at address: UInt64, size: UInt8) -> UInt64 {
        reader.refresh()
        guard let range = reader.map.range(at: address, size: size, in: space) else { return .max }
        guard let cell = range.cell else { return range.constant }
        let offset = address - range.addresses.start
        if let value = range.published?.load(at: offset, size: size) { return UInt64(value) }
        return mailbox.forward(BusAccess(isWrite: false, size: size, offset: offset), to: cell)
    }

    /// Writes the low `size` (1, 2, 4 or 8) bytes of `value` at `address`.
    ///
    /// An access that belongs to no range, or crosses the end of one, is dropped.
    package mutating func write(_ space: AddressSpace, at address: UInt64, size: UInt8, value: UInt64) {
        reader.refresh()
        guard let range = reader.map.range(at: address, size: size, in: space), let cell = range.cell else { return }
        let offset = address - range.addresses.start
        if range.published?.acknowledge(UInt32(truncatingIfNeeded: value), at: offset, size: size) == true { return }
        if range.postsFirst, offset == 0, size == 1, cell.post(UInt8(truncatingIfNeeded: value)) { return }
        _ = mailbox.forward(BusAccess(isWrite: true, size: size, offset: offset, value: value), to: cell)
    }
}
