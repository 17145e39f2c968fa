/// How many requests a disk has ended, for statistics.
package struct BlockCounters: Equatable, Sendable {
    package internal(set) var reads: UInt64 = 0
    package internal(set) var writes: UInt64 = 0
    package internal(set) var flushes: UInt64 = 0
    /// Discards and zeroing.
    package internal(set) var unmaps: UInt64 = 0
    /// Of requests that succeeded.
    package internal(set) var bytesRead: UInt64 = 0
    package internal(set) var bytesWritten: UInt64 = 0
    /// Requests that ended with an error, whoever made the mistake; they are counted nowhere else.
    package internal(set) var failures: UInt64 = 0

    mutating func add(_ type: BlockRequestType, bytes: UInt32, _ status: BlockStatus) {
        guard status == .ok else {
            failures &+= 1
            return
        }
        switch type {
        case .read:
            reads &+= 1
            bytesRead &+= UInt64(bytes)
        case .write:
            writes &+= 1
            bytesWritten &+= UInt64(bytes)
        case .flush: flushes &+= 1
        case .discard, .writeZeroes: unmaps &+= 1
        default: break
        }
    }
}
