package import Backends

extension BlockDevice {
    /// The state of a block device at rest: what the driver knows of the disk. No request is in flight then.
    package struct State: Equatable, Sendable {
        /// The size in sectors of 512 bytes.
        package var capacity: UInt64
        /// Bytes of a logical block.
        package var blockSize: UInt32
        package var isReadOnly: Bool
        /// The answer to GET_ID; at most 20 bytes.
        package var serial: [UInt8]
        /// Nil without a limit.
        package var limiter: RateLimiter.State?

        /// A state with these values.
        package init(
            capacity: UInt64, blockSize: UInt32, isReadOnly: Bool, serial: [UInt8], limiter: RateLimiter.State?
        ) {
            self.capacity = capacity
            self.blockSize = blockSize
            self.isReadOnly = isReadOnly
            self.serial = serial
            self.limiter = limiter
        }
    }
}
