package import Backends

/// What a device of one type knows beyond its queues and features, at rest; a fresh device can be made from it.
package enum DeviceState: Equatable, Sendable {
    /// The device keeps nothing of its own.
    case none
    case balloon(BalloonDevice.State)
    case block(BlockDevice.State)
    case console(ConsoleDevice.State)
    /// The limiter of an entropy device, if it has one.
    case entropy(RateLimiter.State?)
    case network(NetDevice.State)
    case unixVsock(UnixVsockDevice.State)
}

extension StateError {
    /// The state is another device type's.
    static let otherType = StateError("the saved state belongs to a device of another type")
}
