/// Feature bits of a virtio device (virtio 1.2 section 2.2). The low bits are each device type's own and are named
/// beside the device.
public struct Features: OptionSet, Sendable {
    public let rawValue: UInt64

    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// A single feature by its bit's number.
    package init(bit: UInt64) {
        self.init(rawValue: bit < 64 ? 1 << bit : 0)
    }

    /// `VIRTIO_F_RING_INDIRECT_DESC`
    package static let ringIndirectDescriptors = Features(bit: 28)
    /// `VIRTIO_F_RING_EVENT_IDX`
    package static let ringEventIndex = Features(bit: 29)
    /// `VIRTIO_F_VERSION_1`: the device is no legacy device; always offered, and required of the driver.
    package static let version1 = Features(bit: 32)

    /// What `Virtqueue` can do; a device whose queues it serves offers these.
    package static let splitRing: Features = [.ringIndirectDescriptors, .ringEventIndex]
}
