/// What a device of one type knows beyond its queues and features, at rest; a fresh device can be made from it.
package enum DeviceState: Equatable, Sendable {
    /// The device keeps nothing of its own.
    case none
}
