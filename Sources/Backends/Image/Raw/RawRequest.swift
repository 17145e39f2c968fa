import Host

/// One request to a raw image: the rest of its work, and its current step.
struct RawRequest: BitwiseCopyable {
    enum Phase: UInt8 {
        case idle
        /// Waits for a request that changes the same block.
        case waitsForBlocks
        /// Waits for a bounce buffer.
        case waitsForBuffer
        /// Transfers the caller's memory directly.
        case straight
        /// Reads the block that the data will change.
        case filling
        /// Transfers aligned bytes between the file and a bounce buffer.
        case bouncing
        case punching
        case zeroing
        /// Syncs: the last step of a durable write, and the only step of a flush.
        case syncing
    }

    var kind = DiskRequestKind.read
    var phase = Phase.idle
    /// Whether its changes must be on stable storage when it ends.
    var isDurable = false
    /// How often in a row the kernel asked for another try.
    var retries: UInt8 = 0
    /// The bounce buffer that it holds, or -1.
    var buffer: Int8 = -1
    /// The entries of the vector table that are left.
    var first: Int32 = 0
    var end: Int32 = 0
    /// The position of the next byte, and the number of bytes left that the vectors describe.
    var position: UInt64 = 0
    var remaining: UInt64 = 0
    /// Bytes left after those, all zeroes.
    var zeroes: UInt64 = 0
    /// The number of bytes of the bounce buffer's transfer.
    var chunk: Int32 = 0

    var vectors: Range<Int> { Int(first)..<Int(max(first, end)) }

    /// Cuts the range to whole blocks. A discard is a hint: what a block device cannot free in part stays.
    mutating func trimToBlocks(_ block: UInt64) {
        let stop = position &+ remaining
        let start = position % block == 0 ? position : position &+ (block - position % block)
        let last = stop - stop % block
        position = start
        remaining = last > start ? last - start : 0
    }
}
