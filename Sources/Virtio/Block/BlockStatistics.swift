/// The finished requests of a block device, by kind and result.
package struct BlockStatistics: Equatable, Sendable {
    package internal(set) var reads: UInt64 = 0
    package internal(set) var writes: UInt64 = 0
    package internal(set) var flushes: UInt64 = 0
    /// Discards and zeroing.
    package internal(set) var unmaps: UInt64 = 0
    /// Bytes of successful requests.
    package internal(set) var bytesRead: UInt64 = 0
    package internal(set) var bytesWritten: UInt64 = 0
    /// Requests that failed on the host; no other counter includes them.
    package internal(set) var failedReads: UInt64 = 0
    package internal(set) var failedWrites: UInt64 = 0
    package internal(set) var failedFlushes: UInt64 = 0
    package internal(set) var failedUnmaps: UInt64 = 0
    /// Requests in which the driver broke the rules.
    package internal(set) var invalid: UInt64 = 0

    /// Requests that ended with an error of the host or of the driver.
    package var failures: UInt64 { failedReads &+ failedWrites &+ failedFlushes &+ failedUnmaps &+ invalid }

    mutating func add(_ type: BlockRequestType, bytes: UInt32, _ status: BlockStatus) {
        guard status == .ok else {
            invalid &+= 1
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

    mutating func addFailure(_ type: BlockRequestType) {
        switch type {
        case .read: failedReads &+= 1
        case .write: failedWrites &+= 1
        case .flush: failedFlushes &+= 1
        default: failedUnmaps &+= 1
        }
    }

    /// All counters, by QEMU's names.
    var counters: [DeviceCounter] {
        [
            DeviceCounter("rd_operations", reads), DeviceCounter("wr_operations", writes),
            DeviceCounter("flush_operations", flushes), DeviceCounter("unmap_operations", unmaps),
            DeviceCounter("rd_bytes", bytesRead, isBytes: true), DeviceCounter("wr_bytes", bytesWritten, isBytes: true),
            DeviceCounter("failed_rd_operations", failedReads), DeviceCounter("failed_wr_operations", failedWrites),
            DeviceCounter("failed_flush_operations", failedFlushes),
            DeviceCounter("failed_unmap_operations", failedUnmaps), DeviceCounter("invalid_operations", invalid),
        ]
    }
}
