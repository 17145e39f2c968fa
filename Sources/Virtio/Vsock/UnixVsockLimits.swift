extension UnixVsockDevice {
    /// Bounds of what the device does at once.
    package struct Limits: Sendable {
        /// The most connections at a time, up to 4096.
        package var connections = 1024
        /// The most packets that one connection puts into the guest's buffers by one operation.
        package var packetsPerRead = MessagePool.segments

        package init() {}

        /// The limits, cut to what the device can do.
        var clamped: Limits {
            var limits = self
            limits.connections = max(1, min(connections, 4096))
            limits.packetsPerRead = max(1, min(packetsPerRead, MessagePool.segments))
            return limits
        }
    }
}
