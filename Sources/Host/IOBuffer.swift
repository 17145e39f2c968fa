import CHost
import Glibc

/// Memory of its own for operations in flight: its address never changes while the buffer lives.
@safe
package final class IOBuffer: @unchecked Sendable {
    private let base: UnsafeMutableRawPointer
    /// Length in bytes.
    package let capacity: Int

    /// A zeroed buffer of `capacity` bytes, whose address is a multiple of `alignment` (a power of two).
    package init(capacity: Int, alignment: Int = 16) {
        self.capacity = max(capacity, 1)
        unsafe base = .allocate(byteCount: self.capacity, alignment: alignment)
        unsafe memset(base, 0, self.capacity)
    }

    deinit {
        unsafe base.deallocate()
    }

    /// The whole buffer; valid as long as the buffer lives, which a local variable does only up to its last use.
    package var all: HostSlice { unsafe HostSlice(base: base, count: capacity) }

    /// A copy of the bytes in `range`, cut to the buffer.
    package func bytes(_ range: Range<Int>) -> [UInt8] {
        all.dropFirst(range.lowerBound).prefix(range.count).bytes
    }
}
