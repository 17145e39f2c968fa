/// A range of addresses and what answers there. It never changes: one that moves is another range.
package final class BusRange: Sendable {
    package let addresses: AddressRange
    /// The device; nil where every read gives `constant` and writes are dropped.
    package let cell: DeviceCell?
    let constant: UInt64
    /// The registers that vCPU threads read and acknowledge themselves.
    let published: PublishedRegisters?
    /// Whether a write of one byte to the first address need not be waited for.
    let postsFirst: Bool

    /// A range of a device.
    init(_ addresses: AddressRange, _ cell: DeviceCell, published: PublishedRegisters?, postsFirst: Bool) {
        self.addresses = addresses
        self.cell = cell
        self.published = published
        self.postsFirst = postsFirst
        constant = 0
    }

    /// A range without a device, where every read gives `constant`.
    package init(_ addresses: AddressRange, constant: UInt64) {
        self.addresses = addresses
        self.constant = constant
        cell = nil
        published = nil
        postsFirst = false
    }

    /// The same device at other addresses.
    func moved(to start: UInt64) -> BusRange {
        let addresses = AddressRange(space: addresses.space, start: start, count: addresses.count)
        guard let cell else { return BusRange(addresses, constant: constant) }
        return BusRange(addresses, cell, published: published, postsFirst: postsFirst)
    }
}
