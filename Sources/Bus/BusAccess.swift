/// One access of a vCPU to a device.
package struct BusAccess: Equatable, Sendable {
    package var isWrite: Bool
    /// Width in bytes: 1, 2, 4 or 8.
    package var size: UInt8
    /// Distance from the beginning of the device's range.
    package var offset: UInt64
    /// What is written, or the answer to a read; the low `size` bytes count.
    package var value: UInt64

    package init(isWrite: Bool, size: UInt8, offset: UInt64, value: UInt64 = 0) {
        self.isWrite = isWrite
        self.size = size
        self.offset = offset
        self.value = value
    }

    /// Answers a read as a bus does on which no device drives a line: all ones.
    package mutating func floatHigh() {
        if !isWrite { value = UInt64.max >> (64 - 8 * UInt64(min(max(size, 1), 8))) }
    }
}
