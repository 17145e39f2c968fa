import EventLoop

/// What is asked of an image.
package enum ImageRequestKind: UInt8, Sendable, BitwiseCopyable {
    case read, write
    /// Bring everything written before to stable storage.
    case flush
    /// The bytes are no longer needed; what they read as afterwards is undefined.
    case discard
    /// The bytes read as zeroes from now on, and stay allocated.
    case writeZeroes
    /// The bytes read as zeroes from now on, and the host may free what holds them.
    case unmapZeroes

    var modifies: Bool { self != .read && self != .flush }
}

/// What becomes of writes that are all zeroes.
package enum ZeroDetection: UInt8, Sendable, BitwiseCopyable {
    case off
    /// They become `writeZeroes`.
    case keep
    /// They become `unmapZeroes`.
    case unmap
}

/// One request's place in the table: what is left to do, and which step is under way.
struct ImageRequest: BitwiseCopyable {
    enum Phase: UInt8 {
        case idle
        /// Held back: it and another change parts of the same block.
        case waitsForOthers
        /// Held back: all bounce buffers are in use.
        case waitsForBuffer
        /// The caller's memory is read into or written from as it is.
        case straight
        /// A block is read, into which the bytes to write are put.
        case filling
        /// Aligned bytes go between the file and a bounce buffer.
        case bouncing
        case punching
        case zeroing
        /// The last step of a write that must be on stable storage, and the only one of a flush.
        case syncing
    }

    var kind = ImageRequestKind.read
    var phase = Phase.idle
    /// Whether its changes must be on stable storage when it ends.
    var isDurable = false
    /// Whether it changes parts of blocks, and so must have these blocks for itself.
    var serializes = false
    /// How often in a row the kernel has asked to try again.
    var retries: UInt8 = 0
    /// The bounce buffer it holds, or -1.
    var buffer: Int8 = -1
    /// The entries of the vector table that are left.
    var first: Int32 = 0
    var end: Int32 = 0
    /// Where the next byte goes, and how many are left that the vectors describe.
    var position: UInt64 = 0
    var remaining: UInt64 = 0
    /// Bytes left after those, which are all zeroes.
    var zeroes: UInt64 = 0
    /// How many bytes of the file the bounce buffer's transfer covers.
    var chunk: Int32 = 0
    /// The whole blocks that the request touches.
    var blocksStart: UInt64 = 0
    var blocksEnd: UInt64 = 0
    /// When it was held back, counted in such events; 0 if never.
    var order: UInt64 = 0

    var vectors: Range<Int> { Int(first)..<Int(max(first, end)) }
}
